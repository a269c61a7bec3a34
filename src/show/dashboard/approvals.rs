//! What waits for somebody to agree, with the evidence to decide by.

use super::{
    deed::{Offer, acts},
    html::{Text, chip, release_path, ring_path, scroll, span, terms, time},
    release,
    signs::Sign,
};
use crate::{
    decide::phase::RingPhase,
    model::time::Now,
    show::view::{ApprovalView, ReleaseView, RingView, WaiverState, WaiverView},
};

/// An approval that is asked for.
pub struct Item {
    /// What is asked.
    pub approval: ApprovalView,
    /// The release as it is.
    pub release: ReleaseView,
    /// What an approval would be bound to.
    pub clusters: Vec<String>,
    /// The attempt that it would agree to.
    pub attempt: u32,
    /// Approve and reject, or why not.
    pub offers: Vec<Offer>,
}

/// The inbox.
pub struct Inbox {
    /// What is asked for.
    pub items: Vec<Item>,
    /// Waivers that were asked for or are in force.
    pub waivers: Vec<(WaiverView, Vec<Offer>)>,
    /// Whether the viewer may approve at all.
    pub approver: bool,
    /// The instant.
    pub now: Now,
}

/// The page.
pub fn page(inbox: &Inbox, csrf: &str) -> String {
    let waits = |item: &&Item| {
        item.approval.phase == RingPhase::Held
            && (item.approval.counting.len() as u32) < item.approval.count
    };
    let list = |items: Vec<&Item>, none: &str| match items.is_empty() {
        true => format!("<p class=\"empty\">{none}</p>"),
        false => {
            let all: String = items.into_iter().map(|item| card(item, inbox.now, csrf)).collect();
            format!("<div class=\"cards\">{all}</div>")
        }
    };
    let how = match inbox.approver {
        true => "",
        false => {
            "<div class=\"alarm\"><p>‖ Your token has no role <code>approver</code>, so you cannot agree to \
             anything here; an administrator is no approver. On the server's machine, \
             <code>ringward token create NAME --role approver --jurisdiction EU</code> makes a token that \
             can: sign in with it. The demo prints where its approver's token is.</p></div>"
        }
    };
    let early: Vec<&Item> = inbox.items.iter().filter(|item| !waits(item)).collect();
    let waivers: String =
        inbox.waivers.iter().map(|(w, offers)| waiver(w, offers, inbox.now, csrf)).collect();
    let waivers = match waivers.is_empty() {
        true => "<p class=\"empty\">No residency rule is waived, and none is asked to be.</p>"
            .to_owned(),
        false => format!("<div class=\"cards\">{waivers}</div>"),
    };
    format!(
        "<div class=\"head\"><h1>Approvals</h1></div>{how}\
         <section aria-labelledby=\"h-now\"><h2 id=\"h-now\">Waiting for somebody</h2>{}</section>\
         <section aria-labelledby=\"h-early\"><h2 id=\"h-early\">Asked for later, or given</h2>{}</section>\
         <section aria-labelledby=\"h-waivers\"><h2 id=\"h-waivers\">Waivers of residency rules</h2>{waivers}\
         </section>",
        list(inbox.items.iter().filter(waits).collect(), "Nothing waits for an approval."),
        list(early, "No release on its way needs another approval."),
    )
}

fn card(item: &Item, now: Now, csrf: &str) -> String {
    let Item { approval, release, clusters, attempt, offers } = item;
    let (id, name) = (&approval.release, &approval.ring);
    let place = approval.jurisdiction.iter().map(ToString::to_string);
    let who: Vec<String> = approval.roles.iter().cloned().chain(place).collect();
    let author = if approval.exclude_author { ", not its author" } else { "" };
    let given: Vec<String> = approval
        .given
        .iter()
        .map(|given| {
            let counts = match approval.counting.contains(&given.by) {
                true => "",
                false => ", counts no more",
            };
            format!("{} {}{counts}", Text(&given.by), time(given.at, now))
        })
        .collect();
    let policy: String = approval.policy.as_str().chars().take(12).collect();
    let ring = release.rings.iter().find(|ring| ring.name == *name);
    let holds = ring.map_or_else(String::new, |ring| {
        let others: Vec<_> = ring
            .holds
            .iter()
            .filter(|hold| hold.kind != crate::decide::waiting::HoldKind::Approval)
            .cloned()
            .collect();
        match others.is_empty() {
            true => String::new(),
            false => {
                format!("<p class=\"dim\">Held besides by</p>{}", release::holds(&others, now))
            }
        }
    });
    format!(
        "<section class=\"card\" id=\"a-{key}\" data-say=\"{key}: approval {} of {}\"><div class=\"head\"><h3>\
         <a href=\"{}\">{}</a> on <a href=\"{}\">{}</a></h3>{}{}</div>\
         <p><b>{} of {}</b> by {}{author}</p>{}{}{holds}</section>",
        approval.counting.len(),
        approval.count,
        release_path(id),
        Text(id),
        ring_path(id, name),
        Text(name),
        chip(Sign::ring(approval.phase)),
        acts(csrf, offers, &[]),
        approval.counting.len(),
        approval.count,
        Text(if who.is_empty() { "anybody who approves".into() } else { who.join(", ") }),
        terms(&[
            ("Made by", Text(&approval.author).to_string()),
            ("Given", given.join("; ")),
            ("Attempt", attempt.to_string()),
            ("Clusters", Text(clusters.join(", ")).to_string()),
            (
                "Policy",
                format!("<code title=\"{}\">{}</code>", Text(&approval.policy), Text(&policy))
            ),
            ("Image", format!("<code class=\"long\">{}</code>", Text(&release.artifact))),
        ]),
        evidence(item),
        key = Text(format!("{id}-{name}")),
    )
}

/// How the rings before it went.
fn evidence(item: &Item) -> String {
    let id = &item.approval.release;
    let before = before(&item.release, item.approval.ring.as_str());
    let rows: String = before
        .iter()
        .map(|ring| {
            let soak = ring.soak.map_or_else(
                || "-".to_owned(),
                |soak| format!("{} of {}", span(soak.credited_seconds), span(soak.required_seconds)),
            );
            let gates = ring.gates.map_or_else(
                || "-".to_owned(),
                |gates| format!("{} of {} pass", gates.passing, gates.required),
            );
            let latest: Vec<String> = ring
                .measurements
                .iter()
                .map(|m| format!("{} on {}: {}", m.gate, m.cluster, m.detail))
                .collect();
            format!(
                "<tr><th scope=\"row\"><a href=\"{}\">{}</a></th><td>{}</td><td class=\"short\">{soak}</td><td class=\"short\">{gates}</td>\
                 <td class=\"words\">{}</td></tr>",
                ring_path(id, &ring.name),
                Text(&ring.name),
                chip(Sign::ring(ring.phase)),
                Text(latest.join("; ")),
            )
        })
        .collect();
    if rows.is_empty() {
        return "<p class=\"dim\">No ring comes before it.</p>".into();
    }
    let name = format!("How {id} did on the rings before {}", item.approval.ring);
    let table = format!(
        "<table><caption class=\"unseen\">{}</caption><thead><tr><th scope=\"col\">Ring before</th>\
         <th scope=\"col\">Phase</th><th scope=\"col\">Soaked</th><th scope=\"col\">Gates</th>\
         <th scope=\"col\">Latest measurements</th></tr></thead><tbody>{rows}</tbody></table>",
        Text(&name)
    );
    scroll(&format!("e-{id}-{}", item.approval.ring), &name, &table)
}

/// The rings that it comes after, however far before.
fn before<'a>(release: &'a ReleaseView, ring: &str) -> Vec<&'a RingView> {
    let mut wanted: Vec<&str> = vec![ring];
    let mut found = Vec::new();
    // They stand each behind those that they come after.
    for view in release.rings.iter().rev() {
        if wanted.contains(&view.name.as_str()) {
            wanted.extend(view.after.iter().map(|name| name.as_str()));
            if view.name.as_str() != ring {
                found.push(view);
            }
        }
    }
    found.reverse();
    found
}

fn waiver(waiver: &WaiverView, offers: &[Offer], now: Now, csrf: &str) -> String {
    let (glyph, class, word) = match waiver.state {
        WaiverState::Asked => ("‖", "hold", "Asked for"),
        WaiverState::InForce => ("!", "bad", "In force"),
        WaiverState::Expired => ("■", "idle", "Expired"),
        WaiverState::Revoked => ("■", "idle", "Revoked"),
        WaiverState::Voided => ("■", "idle", "Void"),
    };
    let agreed: Vec<&str> = waiver.agreed.iter().map(|who| who.as_str()).collect();
    let reason = waiver.said.reason.as_deref().unwrap_or_default();
    format!(
        "<section class=\"card\" id=\"w-{id}\"><div class=\"head\"><h3>Rule {} for {}</h3>\
         <span class=\"chip {class}\"><span aria-hidden=\"true\">{glyph}</span> {word}</span>{}</div>{}</section>",
        Text(&waiver.rule),
        Text(&waiver.covers),
        acts(csrf, offers, &[]),
        terms(&[
            ("Waiver", Text(&waiver.id).to_string()),
            ("Asked for by", format!("{} {}", Text(&waiver.said.by), time(waiver.said.at, now))),
            ("Reason", Text(reason).to_string()),
            (
                "Agreed to by",
                format!("{} of {} {}", agreed.len(), waiver.count, Text(agreed.join(", ")))
            ),
            ("Until", time(waiver.until, now)),
            (
                "Ended",
                waiver
                    .ended_because
                    .as_deref()
                    .map(|why| Text(why).to_string())
                    .unwrap_or_default()
            ),
        ]),
        id = Text(&waiver.id),
    )
}
