//! A release: its rings as a drawing and as a list that says the same, and what can be done about it.

use super::{
    dag,
    deed::{Offer, acts},
    html::{InUrl, Text, ago, bar, chip, prose, ring_path, scroll, span, terms, time},
    signs::Sign,
};
use crate::{
    decide::{command::Lane, phase::RingPhase},
    ids::RingName,
    model::{graph::Join, time::Now},
    show::{
        view::{ClusterView, EarliestView, HoldView, PauseView, ReleaseView, RingView},
        words,
    },
};

/// What the page shows.
pub struct Sheet {
    /// The release.
    pub release: ReleaseView,
    /// What can be done to all of it.
    pub offers: Vec<Offer>,
    /// What can be done on each ring.
    pub on: Vec<(RingName, Vec<Offer>)>,
    /// The pauses that cover any of its rings, each with what would end it.
    pub pauses: Vec<(PauseView, Offer)>,
    /// The instant.
    pub now: Now,
}

/// The page.
pub fn page(sheet: &Sheet, csrf: &str) -> String {
    let Sheet { release, offers, on, pauses, now } = sheet;
    let said: Vec<String> = offers.iter().filter_map(|offer| offer.denied.clone()).collect();
    let rings: String = release
        .rings
        .iter()
        .map(|ring| {
            let offers = on.iter().find(|(name, _)| *name == ring.name);
            let offers = offers.map_or(&[][..], |(_, offers)| offers);
            item(release, ring, &acts(csrf, offers, &said), *now)
        })
        .collect();
    format!(
        "<nav aria-label=\"Path\" class=\"path\"><a href=\"/\">Fleet</a> / \
         <a href=\"/?plan={plan}\">{plan}</a></nav>\
         <div class=\"head\"><h1>{}</h1>{}{}</div>{}{}{}\
         <section aria-labelledby=\"h-rings\"><h2 id=\"h-rings\">Rings</h2>{}\
         <ol class=\"rings\">{rings}</ol></section>",
        Text(&release.release),
        chip(Sign::release(release.phase)),
        acts(csrf, offers, &[]),
        paused(pauses, csrf),
        what(release, *now),
        links(release),
        scroll("dag", "Rings, drawn", &dag::drawing(&release.release, &release.rings)),
        plan = Text(&release.plan),
    )
}

/// What it is made of.
fn what(release: &ReleaseView, now: Now) -> String {
    let lane = match (release.lane, release.lane_ends) {
        (Lane::Normal, _) => String::new(),
        (Lane::Hotfix, None) => "hotfix".into(),
        (Lane::Hotfix, Some(ends)) => format!("hotfix, until {}", time(ends, now)),
    };
    let by = match release.by == release.author {
        true => Text(&release.author).to_string(),
        false => format!("{}, released by {}", Text(&release.author), Text(&release.by)),
    };
    let aborted = release.aborted.as_ref().map_or_else(String::new, |said| {
        let why = said.reason.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
        format!("{} by {}{}", time(said.at, now), Text(&said.by), Text(why))
    });
    let policy: String = release.policy.as_str().chars().take(12).collect();
    let commit: String = release.commit.as_str().chars().take(12).collect();
    let earliest = release.earliest.as_ref().map(|earliest| through(earliest, now));
    terms(&[
        ("Through at the earliest", earliest.unwrap_or_default()),
        ("Made by", by),
        ("Admitted", format!("{}, {}", time(release.submitted, now), ago(release.submitted, now))),
        ("Image", format!("<code class=\"long\">{}</code>", Text(&release.artifact))),
        (
            "Policy",
            format!("<code>{}</code> of commit <code>{}</code>", Text(policy), Text(commit)),
        ),
        ("Lane", lane),
        ("Reason", release.reason.as_deref().map(|r| Text(r).to_string()).unwrap_or_default()),
        ("Requires", release.requires.as_ref().map(|r| Text(r).to_string()).unwrap_or_default()),
        (
            "Irreversible",
            if release.irreversible {
                "it never goes back by itself".into()
            } else {
                String::new()
            },
        ),
        ("Aborted", aborted),
    ])
}

/// When, and what somebody has to do first.
pub fn through(earliest: &EarliestView, now: Now) -> String {
    Text(earliest.in_words(|at| words::utc(at, now))).to_string()
}

fn links(release: &ReleaseView) -> String {
    let (plan, version) = (InUrl(&release.plan), InUrl(&release.version));
    format!(
        "<p class=\"links\"><a href=\"/evidence/{plan}/{version}\">Evidence</a>\
         <a href=\"/evidence/{plan}/{version}?format=json\" download=\"evidence-{plan}-{version}.json\">\
         Evidence as JSON</a><a href=\"/timeline?plan={plan}&amp;version={version}\">Timeline</a></p>"
    )
}

/// The pauses in force on it.
pub fn paused(pauses: &[(PauseView, Offer)], csrf: &str) -> String {
    let all: String = pauses
        .iter()
        .map(|(pause, offer)| {
            let why =
                pause.said.reason.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
            format!(
                "<div class=\"alarm\"><p>‖ <b>Paused</b>: {} by {}{}</p>{}</div>",
                Text(&pause.covers),
                Text(&pause.said.by),
                Text(why),
                acts(csrf, std::slice::from_ref(offer), &[])
            )
        })
        .collect();
    all
}

/// A ring in the list.
fn item(release: &ReleaseView, ring: &RingView, acts: &str, now: Now) -> String {
    let name = Text(&ring.name);
    let sign = Sign::ring(ring.phase);
    format!(
        "<li id=\"ring-{name}\" class=\"{}\" data-say=\"{name}: {}\"><div class=\"head\">\
         <h3><a href=\"{}\">{name}</a></h3>{}<span class=\"dim\">{}</span>{acts}</div>{}</li>",
        sign.tone.class(),
        sign.word,
        ring_path(&release.release, &ring.name),
        chip(sign),
        after(ring),
        state(ring, now),
    )
}

/// The rings that it comes after, in words.
pub fn after(ring: &RingView) -> String {
    let names: Vec<String> = ring.after.iter().map(|name| Text(name).to_string()).collect();
    match (ring.join, names.as_slice()) {
        (_, []) => "first".into(),
        (Join::Any, [_, _, ..]) => format!("after any of {}", names.join(", ")),
        (Join::All | Join::Any, names) => format!("after {}", names.join(", ")),
    }
}

/// How a ring is: its soak, its gates, its holds, its clusters.
pub fn state(ring: &RingView, now: Now) -> String {
    let soak = ring.soak.filter(|_| ring.phase == RingPhase::Soaking).map(|soak| {
        let (credited, required) = (soak.credited_seconds, soak.required_seconds);
        let still = if soak.running { "" } else { ", stands still" };
        let gates = ring
            .gates
            .map(|gates| format!(" · {} of {} gates pass", gates.passing, gates.required));
        format!(
            "<p class=\"soak\">{}<span>{} of {}{still}{}</span></p>",
            bar(credited, required, &format!("Soak on {}", ring.name)),
            span(credited),
            span(required),
            gates.unwrap_or_default()
        )
    });
    let soaked = ring.soak.filter(|_| ring.phase == RingPhase::Passed).map(|soak| {
        format!("<p class=\"dim\">Soaked {} healthily</p>", span(soak.credited_seconds))
    });
    let info = match ring.info.is_empty() || !ring.holds.is_empty() {
        true => String::new(),
        false => format!("<p>{}</p>", prose(&ring.info)),
    };
    let earliest = ring.earliest.as_ref().map(|earliest| {
        format!("<p class=\"dim\">Passes at the earliest {}</p>", through(earliest, now))
    });
    format!(
        "{}{}{}{info}{}{}{}",
        soak.unwrap_or_default(),
        soaked.unwrap_or_default(),
        holds(&ring.holds, now),
        debts(ring),
        clusters(&ring.clusters),
        earliest.unwrap_or_default(),
    )
}

/// Everything that holds it, and what would end each.
pub fn holds(holds: &[HoldView], now: Now) -> String {
    let all: String = holds
        .iter()
        .map(|hold| {
            let ends = hold.ends.map(|at| format!(" ({})", time(at, now))).unwrap_or_default();
            format!(
                "<li><b>{}</b>{ends}<br><span class=\"dim\">Ends by: {}</span></li>",
                prose(&hold.message),
                prose(&hold.ended_by)
            )
        })
        .collect();
    if all.is_empty() { all } else { format!("<ul class=\"holds\">{all}</ul>") }
}

fn debts(ring: &RingView) -> String {
    let all: String = ring
        .debts
        .iter()
        .map(|debt| {
            format!(
                "<li>Owes: {} <span class=\"dim\">{}</span></li>",
                prose(&debt.message),
                prose(&debt.ended_by)
            )
        })
        .collect();
    if all.is_empty() { all } else { format!("<ul class=\"holds\">{all}</ul>") }
}

/// Where its clusters are, in a line each.
fn clusters(clusters: &[ClusterView]) -> String {
    let all: String = clusters
        .iter()
        .map(|cluster| {
            let runs = cluster.running.as_ref().and_then(|running| running.version.as_ref());
            let runs = runs.map(|version| format!(", runs {}", Text(version))).unwrap_or_default();
            let cause = cluster.cause.as_deref().map(|why| format!(": {}", Text(why)));
            format!(
                "<li><b>{}</b> <span class=\"dim\">{} {}</span> {}{}{runs}</li>",
                Text(&cluster.name),
                Text(&cluster.jurisdiction),
                Text(&cluster.region),
                Text(&cluster.step),
                cause.unwrap_or_default()
            )
        })
        .collect();
    format!("<ul class=\"clusters\">{all}</ul>")
}
