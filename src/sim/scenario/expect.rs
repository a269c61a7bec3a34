//! Holds what is so against what a scenario expects.

use std::collections::BTreeSet;

use super::{
    model::Expect,
    run::Run,
    source::{artifact, version_of},
};
use crate::{
    decide::{
        fact::Debt,
        phase::{self, RingPhase},
        world::{Release, RingRun},
    },
    ids::RingName,
};

/// Checks every part of an expectation.
///
/// # Errors
/// What is otherwise, part by part: expected and actual.
pub fn check(run: &mut Run<'_>, expect: &Expect) -> Result<(), String> {
    let mut wrong = Vec::new();
    of_releases(run, expect, &mut wrong);
    of_clusters(run, expect, &mut wrong);
    of_requests(run, expect, &mut wrong);
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
}

fn of_releases(run: &mut Run<'_>, expect: &Expect, wrong: &mut Vec<String>) {
    let Some(id) = &expect.release else { return };
    let Some(release) = run.world.release(id).cloned() else {
        let known = run.world.plans.get(&id.plan).map(|plan| plan.order.clone());
        let known: Vec<_> = known.iter().flatten().map(|v| format!("{}@{v}", id.plan)).collect();
        let known = if known.is_empty() { "none".into() } else { known.join(", ") };
        wrong.push(format!("there is no release {id} (there is {known})"));
        return;
    };
    if let Some(wanted) = expect.release_phase {
        let actual = phase::of_release(&run.world, &release);
        if actual != wanted {
            wrong.push(format!("expected {id} to be {wanted}, it is {actual}"));
        }
    }
    if !expect.release_never.is_empty() || !expect.never.is_empty() || expect.before.is_some() {
        run.history.read(&run.journal);
    }
    for never in &expect.release_never {
        if run.history.release_was(id, *never) {
            wrong.push(format!("expected {id} never to be {never}, it was"));
        }
    }
    let Some(ring) = &expect.ring else { return };
    let Some(here) = release.ring(ring) else {
        let known: Vec<_> = release.rings.keys().map(RingName::as_str).collect();
        wrong.push(format!("{id} has no ring {ring} (it has {})", known.join(", ")));
        return;
    };
    of_ring(run, expect, &release, (ring, here), wrong);
}

fn of_ring(
    run: &Run<'_>,
    expect: &Expect,
    release: &Release,
    (ring, here): (&RingName, &RingRun),
    wrong: &mut Vec<String>,
) {
    let (id, now) = (&release.id, run.now());
    if let Some(wanted) = expect.phase {
        let actual = phase::of_ring(&run.world, release, ring, now);
        if actual != wanted {
            let holds = phase::holds(&run.world, release, ring, now);
            let holds: Vec<_> = holds.iter().map(|hold| hold.name()).collect();
            let held =
                if holds.is_empty() { String::new() } else { format!(" ({})", holds.join(", ")) };
            let cause = here.cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default();
            wrong.push(format!("expected {ring} to be {wanted}, it is {actual}{held}{cause}"));
        }
    }
    if let Some(wanted) = expect.soak {
        let actual = here.soak.credited;
        if actual < wanted.least || actual > wanted.most {
            wrong.push(format!("expected {ring} to have soaked {wanted}, it is {actual}"));
        }
    }
    if let Some(wanted) = &expect.owes {
        let actual = here.debts.keys().map(|debt| match debt {
            Debt::Gate(gate) => format!("gate {gate}"),
            Debt::Ahead(ring) => format!("ahead of {ring}"),
        });
        let actual: BTreeSet<String> = actual.collect();
        let wanted: BTreeSet<String> = wanted.iter().cloned().collect();
        if actual != wanted {
            wrong.push(format!("expected {ring} to owe {wanted:?}, it owes {actual:?}"));
        }
    }
    if let Some(wanted) = &expect.held_by {
        let names = |kinds: BTreeSet<_>| -> String {
            let names: Vec<_> =
                kinds.into_iter().map(crate::decide::waiting::HoldKind::name).collect();
            if names.is_empty() { "nothing".into() } else { names.join(", ") }
        };
        let wanted: BTreeSet<_> = wanted.iter().copied().collect();
        let actual: BTreeSet<_> =
            phase::holds(&run.world, release, ring, now).into_iter().collect();
        if actual != wanted {
            let (wanted, actual) = (names(wanted), names(actual));
            wrong.push(format!("expected {ring} to be held by {wanted}, it is held by {actual}"));
        }
    }
    if let Some((gate, cluster, wanted)) = &expect.verdict {
        let asked = here.gates.iter().filter(|((on, name), _)| {
            name == gate && cluster.as_ref().is_none_or(|cluster| cluster == on)
        });
        let mut measured = false;
        for ((on, _), state) in asked {
            let Some((judged, _)) = &state.latest else { continue };
            measured = true;
            if judged.verdict != *wanted {
                let (actual, detail) = (judged.verdict, &judged.detail);
                let what = format!("expected {gate} on {on} of {ring} to say {wanted}");
                wrong.push(format!("{what}, it says {actual} ({detail})"));
            }
        }
        if !measured {
            wrong.push(format!("expected {gate} on {ring} to say {wanted}, it was not measured"));
        }
    }
    for never in &expect.never {
        if run.history.was(id, ring, *never) {
            wrong.push(format!("expected {ring} never to be {never}, it was"));
        }
    }
    if let Some(other) = &expect.before {
        let reached = expect.phase.unwrap_or(RingPhase::Deploying);
        let verb = if reached == RingPhase::Deploying { "start" } else { "be there" };
        let first = run.history.first(id, ring, reached);
        let started = run.history.first(id, other, RingPhase::Deploying);
        match (first, started) {
            (Some(first), Some(started)) if first < started => {}
            (Some(_), None) => {}
            (Some(_), Some(_)) => {
                wrong.push(format!(
                    "expected {ring} to {verb} before {other} starts, it came after"
                ));
            }
            (None, _) => {
                wrong.push(format!(
                    "expected {ring} to {verb} before {other} starts, it never was {reached}"
                ));
            }
        }
    }
}

fn of_clusters(run: &Run<'_>, expect: &Expect, wrong: &mut Vec<String>) {
    let Some((cluster, plan, wanted)) = &expect.running else { return };
    let there = run
        .fleet
        .targets()
        .filter(|(p, c)| c == cluster && plan.as_ref().is_none_or(|plan| plan == p));
    let there: Vec<_> = there.collect();
    let [(plan, _)] = there.as_slice() else {
        wrong.push(match there.len() {
            0 => format!("nothing runs in a cluster {cluster}"),
            n => format!("{n} plans run in {cluster}; say which by `plan`"),
        });
        return;
    };
    let Some(actual) = run.fleet.running(plan, cluster) else { return };
    if !actual.same_as(&artifact(plan, wanted)) {
        let known = run.versions(plan);
        let actual = version_of(plan, actual, &known)
            .map_or_else(|| actual.to_string(), |version| version.to_string());
        wrong.push(format!("expected {cluster} to run {wanted} of {plan}, it runs {actual}"));
    } else if let Some(image) = expect.image.as_ref().filter(|i| !actual.0.starts_with(*i)) {
        wrong.push(format!("expected {cluster} to pull from {image}, it pulled {actual}"));
    }
}

fn of_requests(run: &Run<'_>, expect: &Expect, wrong: &mut Vec<String>) {
    if let Some(wanted) = &expect.refused {
        match &run.refused {
            Some((actual, detail)) if wanted.is(*actual, detail) => {}
            Some((actual, detail)) => {
                let actual = actual.name();
                wrong.push(format!("expected a refusal as {wanted}, it was {actual}: {detail}"));
            }
            None if run.asked => {
                wrong.push(format!("expected a refusal as {wanted}, the last request was granted"));
            }
            None => {
                wrong.push(format!("expected a refusal as {wanted}, nothing was asked for yet"))
            }
        }
    }
    if let Some(text) = &expect.audit {
        let facts = run.journal.iter().flat_map(|entry| &entry.decision.facts);
        let mut words = facts.filter_map(|fact| serde_json::to_string(fact).ok());
        if !words.any(|words| words.contains(text)) {
            wrong.push(format!("expected the audit to contain `{text}`, it does not"));
        }
    }
}
