//! Where everything is: clusters by country, what moves there, and the rules that bind.

use super::{
    deed::{Offer, acts},
    freezes::table,
    html::{Text, chip, ring_path, scroll},
    signs::Sign,
};
use crate::{
    decide::phase::RingPhase,
    ids::{Jurisdiction, PlanName, ReleaseId, RingName},
    model::residency::Enforcement,
    show::view::{ClusterRow, ResidencyRuleView},
};

/// A country.
pub struct Country {
    /// Its code.
    pub code: Jurisdiction,
    /// The blocs that it belongs to.
    pub blocs: Vec<Jurisdiction>,
    /// Its clusters.
    pub clusters: Vec<ClusterRow>,
    /// Releases that are on their way there.
    pub moving: Vec<(ReleaseId, RingName, RingPhase)>,
    /// What can be done.
    pub offers: Vec<Offer>,
    /// What stops it, in words.
    pub stopped: Vec<String>,
}

/// What the page shows.
pub struct Atlas {
    /// The countries with clusters.
    pub countries: Vec<Country>,
    /// The rules, by plan, and what can be done about those that can be waived.
    pub rules: Vec<(PlanName, ResidencyRuleView, Option<Offer>)>,
}

/// The page.
pub fn page(atlas: &Atlas, csrf: &str) -> String {
    let mut said = Vec::new();
    let mut countries = String::new();
    for country in &atlas.countries {
        countries.push_str(&section(country, csrf, &said));
        // Once is enough.
        said.extend(country.offers.iter().filter_map(|offer| offer.denied.clone()));
    }
    let mut said = Vec::new();
    let rules: String = atlas
        .rules
        .iter()
        .map(|(plan, rule, offer)| {
            let asked = acts(csrf, offer.as_slice(), &said);
            said.extend(offer.iter().filter_map(|offer| offer.denied.clone()));
            let kind = match rule.enforcement {
                Enforcement::Hard => "hard",
                Enforcement::Waivable => "waivable",
            };
            let policy = rule.policy.as_ref().map(|policy| Text(policy).to_string());
            format!(
                "<tr><th scope=\"row\">{}</th><td>{}</td><td>{kind}</td><td>{}</td>\
                 <td><code>{}</code></td><td>{asked}</td></tr>",
                Text(&rule.id),
                Text(plan),
                policy.unwrap_or_else(|| "-".into()),
                Text(&rule.declared_at)
            )
        })
        .collect();
    let none = match countries.is_empty() {
        true => "<p class=\"empty\">No plan that you may see has clusters.</p>",
        false => "",
    };
    format!(
        "<div class=\"head\"><h1>Jurisdictions</h1></div>{none}{countries}\
         <section aria-labelledby=\"h-rules\"><h2 id=\"h-rules\">Residency rules</h2>{}</section>",
        table(
            "rules",
            "Residency rules",
            &["Rule", "Plan", "Enforcement", "Policy", "Declared at", "Action"],
            &rules,
            "No residency rule binds a plan."
        )
    )
}

fn section(country: &Country, csrf: &str, said: &[String]) -> String {
    let blocs: Vec<&str> = country.blocs.iter().map(|bloc| bloc.as_str()).collect();
    let blocs = match blocs.as_slice() {
        [] => "in no bloc".to_owned(),
        blocs => format!("in {}", blocs.join(", ")),
    };
    let moving: String = country
        .moving
        .iter()
        .map(|(id, ring, phase)| {
            format!(
                "<li><a href=\"{}\">{} on {}</a> {}</li>",
                ring_path(id, ring),
                Text(id),
                Text(ring),
                chip(Sign::ring(*phase))
            )
        })
        .collect();
    let moving = match moving.is_empty() {
        true => "<p class=\"dim\">Nothing moves here.</p>".to_owned(),
        false => format!("<ul class=\"clusters\">{moving}</ul>"),
    };
    let stopped: String = country
        .stopped
        .iter()
        .map(|what| format!("<div class=\"alarm\"><p>‖ {}</p></div>", Text(what)))
        .collect();
    let rows: String = country.clusters.iter().map(row).collect();
    let name = format!("Clusters in {}", country.code);
    let table = format!(
        "<table><caption class=\"unseen\">{}</caption><thead><tr><th scope=\"col\">Cluster</th>\
         <th scope=\"col\">Region</th><th scope=\"col\">Nodes say</th><th scope=\"col\">Data</th>\
         <th scope=\"col\">Evidence</th><th scope=\"col\">Runs</th></tr></thead><tbody>{rows}</tbody></table>",
        Text(&name)
    );
    let code = Text(&country.code);
    format!(
        "<section id=\"j-{code}\" aria-labelledby=\"h-{code}\"><div class=\"head\"><h2 id=\"h-{code}\">\
         <a href=\"/?jurisdiction={code}\">{code}</a></h2><span class=\"dim\">{}</span>{}</div>{stopped}{moving}{}\
         </section>",
        Text(blocs),
        acts(csrf, &country.offers, said),
        scroll(&format!("c-{}", country.code), &name, &table)
    )
}

fn row(cluster: &ClusterRow) -> String {
    let witness = cluster.witness.as_ref().map_or_else(
        || "never seen".to_owned(),
        |witness| {
            let regions = witness.regions.iter().map(ToString::to_string);
            let said: Vec<String> =
                regions.chain(witness.jurisdictions.iter().map(ToString::to_string)).collect();
            if said.is_empty() { "nothing".into() } else { said.join(", ") }
        },
    );
    let classes: Vec<&str> = cluster.data_classes.iter().map(|class| class.as_str()).collect();
    let sources: Vec<String> = cluster
        .metrics
        .iter()
        .map(|source| {
            let place = source.jurisdiction.as_ref().map_or("not said", |place| place.as_str());
            format!("{} in {place}", source.name)
        })
        .collect();
    let runs: String = cluster
        .targets
        .iter()
        .map(|target| {
            let version = target.running.as_ref().map(|running| match &running.version {
                Some(version) => format!("<b>{}</b>", Text(version)),
                None => "<span class=\"dim\">what was there before,</span>".into(),
            });
            format!(
                "<li>{} {} <span class=\"dim\">{}</span></li>",
                Text(&target.plan),
                version.unwrap_or_default(),
                Text(&target.status)
            )
        })
        .collect();
    let pair = cluster.failover_pair.as_ref().map_or_else(String::new, |pair| {
        format!("<br><span class=\"dim\">failover partner {}</span>", Text(pair))
    });
    format!(
        "<tr><th scope=\"row\">{}{pair}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
         <td><ul class=\"plain\">{runs}</ul></td></tr>",
        Text(&cluster.name),
        Text(&cluster.region),
        Text(witness),
        Text(if classes.is_empty() { "-".into() } else { classes.join(", ") }),
        Text(if sources.is_empty() { "-".into() } else { sources.join(", ") }),
    )
}
