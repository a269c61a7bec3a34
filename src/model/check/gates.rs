//! Gates that a ring can never pass: minimums beyond the traffic that is declared, and comparisons with
//! a ring that is not there. Without declared traffic nothing is said: it may be any.

use super::{Note, Rule, Subject};
use crate::model::{
    judge::Traffic,
    plan::Plan,
    policy::{Baseline, Gate, Judge, OnNoData},
    residency::{self, Demand, Disclose, Known, disclosed},
    ring::{Cluster, Ring},
    time::Span,
};

pub(super) fn notes(plan: &Plan) -> Vec<Note> {
    let gates = plan.rings.iter().flat_map(|r| r.policy.gates.iter().map(move |gate| (r, gate)));
    gates
        .flat_map(|(ring, gate)| {
            let mut notes = Vec::new();
            if let Some(traffic) = &gate.traffic
                && gate.required
            {
                notes.extend(one_measurement(ring, gate, traffic));
                notes.extend(whole_soak(ring, gate, traffic));
                notes.extend(sequential(ring, gate, traffic));
            }
            notes.extend(comparison(plan, ring, gate));
            notes.extend(unkept(plan, ring, gate));
            notes
        })
        .collect()
}

fn note(rule: Rule, ring: &Ring, gate: &Gate, message: String, help: &str) -> Note {
    Note {
        rule,
        subject: Subject::Gate(ring.policy.name.clone(), gate.name.clone()),
        message,
        label: format!("ring `{}` could never pass", ring.name),
        facts: Vec::new(),
        help: help.into(),
    }
}

fn one_measurement(ring: &Ring, gate: &Gate, traffic: &Traffic) -> Option<Note> {
    let (least, interval) = (gate.min_samples?, gate.interval);
    // A burn rate's minimum is of its long window.
    let over = match &gate.judge {
        Judge::BurnRate(declared) => declared.windows.iter().map(|pair| pair.long).min()?,
        Judge::Threshold { .. }
        | Judge::Relative { .. }
        | Judge::MannWhitney(_)
        | Judge::Sequential(_)
        | Judge::Alerts(_)
        | Judge::Webhook
        | Judge::Kubernetes(_) => interval,
    };
    let there = expected(traffic.requests, over);
    if there < least {
        let message = format!("minSamples {least} is beyond the {there} requests of {over}");
        let help = "lower minSamples, or measure over a longer interval";
        return Some(note(Rule::Gat013, ring, gate, message, help));
    }
    // Until a long window holds as many, it is Insufficient.
    let patience = patience(gate).filter(|patience| over > interval && *patience < over)?;
    let there = expected(traffic.requests, patience);
    (there < least).then(|| {
        let message = format!(
            "minSamples {least} is beyond the {there} requests of noDataDeadline {patience}, after which \
             `onNoData: fail` fails it"
        );
        note(Rule::Gat013, ring, gate, message, IMPATIENT)
    })
}

fn whole_soak(ring: &Ring, gate: &Gate, traffic: &Traffic) -> Option<Note> {
    let (least, soak) = (gate.min_total_samples?, ring.policy.soak.duration);
    let clusters = ring.clusters.len();
    let there = expected(traffic.requests * clusters as f64, soak);
    (there < least).then(|| {
        let message = format!(
            "minTotalSamples {least} is beyond the {there} requests of {clusters} cluster{} in the soak \
             of {soak}",
            if clusters == 1 { "" } else { "s" },
        );
        let help = "lower minTotalSamples, or lengthen the soak";
        note(Rule::Gat013, ring, gate, message, help)
    })
}

/// The mirror test of `sequential` grows fastest where only the stable side fails, at the grid's
/// furthest point, by ((margin nc + nb) / (margin/32 nc + nb))^(1/phi) an error; it passes at 20.
fn sequential(ring: &Ring, gate: &Gate, traffic: &Traffic) -> Option<Note> {
    let Judge::Sequential(declared) = &gate.judge else { return None };
    let (canary, errors) = (traffic.requests, traffic.errors?);
    let stable = traffic.stable.unwrap_or(canary);
    let growth = (declared.margin * canary + stable) / (declared.margin / 32.0 * canary + stable);
    let needed = (declared.phi.unwrap_or(1.0) * 20.0_f64.ln() / growth.ln()).ceil();
    // What cannot be reached at all is not a number of errors.
    let short = |there: f64| there.is_nan() || needed.is_nan() || there < needed;
    let seen = |over: Span| stable * errors * over.as_seconds();
    let rounded = |there: f64| (there * 10.0).round() / 10.0;
    let earliest = format!(
        "`sequential` passes after {needed} errors of the stable population at the earliest"
    );
    let soak = ring.policy.soak.duration;
    if short(seen(soak)) {
        let message = format!("{earliest}, and the soak of {soak} sees {}", rounded(seen(soak)));
        let help = "lengthen the soak, raise `margin`, or judge by something that is less rare";
        return Some(note(Rule::Gat013, ring, gate, message, help));
    }
    let patience = patience(gate)?;
    short(seen(patience)).then(|| {
        let message = format!(
            "{earliest}, and noDataDeadline {patience}, after which `onNoData: fail` fails it, sees {}",
            rounded(seen(patience))
        );
        note(Rule::Gat013, ring, gate, message, IMPATIENT)
    })
}

/// For how long the gate may be without a usable measurement, where more than that fails it.
fn patience(gate: &Gate) -> Option<Span> {
    (gate.on_no_data == OnNoData::Fail).then_some(gate.no_data_deadline)
}

const IMPATIENT: &str = "lengthen noDataDeadline, or take out `onNoData: fail`";

fn comparison(plan: &Plan, ring: &Ring, gate: &Gate) -> Option<Note> {
    let Judge::Relative { baseline: Baseline::Ring(other), .. } = &gate.judge else { return None };
    let why = match plan.ring(other) {
        None => format!("plan `{}` has no ring `{other}` to compare with", plan.name),
        Some(_) if *other == ring.name => format!("ring `{other}` is compared with itself"),
        Some(other) if !may_leave(plan, ring, other) => {
            format!("evidence of ring `{}` stays in its jurisdiction", other.name)
        }
        Some(other) => {
            let has = |c: &Cluster| c.metrics.iter().any(|source| source.name == gate.provider);
            let missing = other.clusters.iter().find(|cluster| !has(cluster))?;
            format!(
                "cluster `{}` of ring `{}` has no metric source `{}` to compare with",
                missing.name, other.name, gate.provider
            )
        }
    };
    Some(note(Rule::Gat014, ring, gate, why, "name another ring of the plan, or use `before`"))
}

/// A judge that would begin anew with each measurement, because none of its figures may be kept: it would
/// never have enough to judge by, or judge each one by the chances that are meant for all of them.
fn unkept(plan: &Plan, ring: &Ring, gate: &Gate) -> Option<Note> {
    if !gate.judge.rests_on_kept_figures() {
        return None;
    }
    let known = &Known::DECLARED;
    let closed = |c: &&Cluster| disclosed(plan, &c.name, known) == Disclose::Verdict;
    let cluster = ring.clusters.iter().find(closed)?;
    let over = |rule: &&residency::Rule| {
        let evidence = rule.demand.evidence();
        evidence
            .is_some_and(|(place, disclose)| disclose == Disclose::Verdict && place.holds(cluster))
    };
    let rule = plan.residency.iter().find(over)?;
    let judge = gate.judge.name();
    let message = format!(
        "gate `{}` judges by `{judge}`, which rests on figures of cluster `{}` that nobody may keep",
        gate.name, cluster.name
    );
    let help = "judge by `threshold`, `relative` or `burnRate`, which ask for all that they need each \
                time; or let the rule disclose `aggregate`";
    let enforcement = rule.enforcement.name();
    let facts = vec![format!("rule {} ({enforcement}), {}", rule.id, rule.declared_at)];
    Some(Note { facts, ..note(Rule::Res014, ring, gate, message, help) })
}

/// Whether figures of `other` may be compared with in `ring`: where a rule keeps them inside of a
/// jurisdiction, only there.
fn may_leave(plan: &Plan, ring: &Ring, other: &Ring) -> bool {
    plan.residency.iter().all(|rule| {
        let Demand::EvidenceWithin { jurisdiction, .. } = &rule.demand else { return true };
        let inside = |c: &Cluster| jurisdiction.contains(&c.jurisdiction);
        !other.clusters.iter().any(inside) || ring.clusters.iter().all(inside)
    })
}

fn expected(a_second: f64, over: Span) -> f64 {
    (a_second * over.as_seconds()).floor()
}
