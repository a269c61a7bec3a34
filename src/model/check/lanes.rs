//! What the hotfix lane makes of a plan, where that cannot be meant or must not be.

use std::collections::BTreeMap;

use super::{Note, Rule, Subject};
use crate::{
    ids::RingName,
    model::{
        graph::Join,
        lane::{self, Hotfix},
        plan::Plan,
        residency::{Known, breaches},
        ring::Ring,
        time::Span,
    },
};

/// What is wrong with the hotfix lane of a plan.
pub fn notes(plan: &Plan) -> Vec<Note> {
    let (Some(lane), Some(fast)) = (&plan.lanes.hotfix, lane::hotfix(plan)) else {
        return Vec::new();
    };
    let mut notes: Vec<Note> = Vec::new();
    notes.extend(plan.rings.iter().filter_map(|ring| ungated(ring, &fast)));
    notes.extend(plan.rings.iter().filter_map(|ring| unapproved(ring, lane)));
    notes.extend(forbidden(plan, &fast));
    notes.extend(no_shorter(plan, &fast));
    notes.extend(too_short_lived(&fast, lane));
    notes
}

fn note(rule: Rule, message: String, help: String) -> Note {
    let (label, facts) = (String::new(), Vec::new());
    Note { rule, subject: Subject::Hotfix, message, label, facts, help }
}

/// A ring that would be judged by nothing, though its policy does not say `gates: none`.
fn ungated(ring: &Ring, fast: &Plan) -> Option<Note> {
    let required = |ring: &Ring| ring.policy.gates.iter().any(|gate| gate.required);
    let nothing_left = required(ring) && !required(fast.ring(&ring.name)?);
    nothing_left.then(|| {
        let message = format!("the hotfix lane defers every required gate of ring `{}`", ring.name);
        note(Rule::Gat011, message, "leave it one: time alone is no evidence".into())
    })
}

fn unapproved(ring: &Ring, lane: &Hotfix) -> Option<Note> {
    let (asked, more) = (ring.policy.approvals.as_ref()?, lane.approvals.as_ref()?);
    lane::incompatible(asked, more).then(|| {
        let message = format!("nobody can approve a hotfix on ring `{}`", ring.name);
        let help = "let the lane's approvals come from roles and a place that the ring accepts";
        let mut note = note(Rule::App003, message, help.into());
        note.facts = vec![format!(
            "policy `{}` asks for approvals too, and one person must satisfy both",
            ring.policy.name
        )];
        note
    })
}

/// What the plan keeps and its lane does not.
fn forbidden(plan: &Plan, fast: &Plan) -> Vec<Note> {
    let kept = breaches(plan, None, &Known::DECLARED);
    let broken =
        breaches(fast, None, &Known::DECLARED).into_iter().filter(|breach| !kept.contains(breach));
    broken
        .map(|breach| {
            let ring = breach.ring.as_ref().map(|ring| format!("ring `{ring}` "));
            let ring = ring.unwrap_or_default();
            let message = format!("in the hotfix lane {ring}{}", breach.fact);
            let help = "take the rings that it must come after into `mayNotSkip`";
            let mut note = note(Rule::Res011, message, help.into());
            let (id, how) = (&breach.rule, breach.enforcement.name());
            note.facts = vec![format!("rule {id} ({how}), {}", breach.declared_at)];
            note
        })
        .collect()
}

fn no_shorter(plan: &Plan, fast: &Plan) -> Option<Note> {
    let soaks = |plan: &Plan| -> Vec<Span> {
        plan.rings.iter().map(|ring| ring.policy.soak.duration).collect()
    };
    (soaks(plan) == soaks(fast)).then(|| {
        let message = "the hotfix lane shortens no soak".into();
        note(Rule::Adv005, message, "its floor is longer than every soak, or its share all".into())
    })
}

/// The lane is over before the last ring can have it, even if nothing takes any time but the soaks.
fn too_short_lived(fast: &Plan, lane: &Hotfix) -> Option<Note> {
    let mut done: BTreeMap<&RingName, Span> = BTreeMap::new();
    let mut latest: Option<(&RingName, Span)> = None;
    for name in fast.graph.order() {
        let after = fast.graph.after(name);
        let before = after.rings.iter().filter_map(|ring| done.get(ring).copied());
        let start = match after.join {
            Join::All => before.max(),
            Join::Any => before.min(),
        };
        let start = start.unwrap_or_default();
        let soak = fast.ring(name).map(|ring| ring.policy.soak.duration).unwrap_or_default();
        done.insert(name, start + soak);
        if latest.is_none_or(|(_, known)| start > known) {
            latest = Some((name, start));
        }
    }
    let (ring, start) = latest.filter(|(_, start)| *start >= lane.time_to_live)?;
    let message = format!("the hotfix lane is over before ring `{ring}` can start");
    let mut note =
        note(Rule::Adv006, message, "lengthen its timeToLive, or shorten what comes before".into());
    note.facts = vec![format!(
        "it starts after {start} at the earliest, and timeToLive is {}",
        lane.time_to_live
    )];
    Some(note)
}
