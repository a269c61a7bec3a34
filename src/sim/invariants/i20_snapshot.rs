use std::sync::Arc;

use super::{Invariant, Step};
use crate::{
    decide::{
        fact::Fact,
        world::{Phase, Release},
    },
    model::{
        calendar::{AppliesTo, Calendar},
        plan::{OnPolicyChange, Plan},
        policy::{Approvals, Gate, Judge, OnBreach, OnNoData, Policy, RollbackScope},
        residency::{Demand, Rule},
    },
};

/// Compares each release's snapshot with the one it had: it may only have become tighter, on the
/// record, where the plan says so, and nowhere that the release has been already. What is tighter is
/// judged here by what it may not do, apart from the core's own comparison.
#[derive(Debug, Default)]
pub(super) struct Snapshot;

impl Invariant for Snapshot {
    fn number(&self) -> u8 {
        20
    }

    fn says(&self) -> &'static str {
        "the policy in force on a release is the snapshot taken at its start, or a tighter one"
    }

    fn check(&mut self, step: &Step<'_>) -> Result<(), String> {
        for (name, plan) in step.changed() {
            let Some(before) = step.before.plans.get(name) else { continue };
            for (version, release) in &plan.releases {
                let Some(was) = before.releases.get(version) else { continue };
                if Arc::ptr_eq(&was.plan, &release.plan) || was.plan == release.plan {
                    continue;
                }
                let id = &release.id;
                let lapsed =
                    step.decision.facts.iter().any(
                        |fact| matches!(fact, Fact::LaneLapsed { release, .. } if release == id),
                    );
                if lapsed {
                    lapse(was, release)?;
                    continue;
                }
                let said = step.decision.facts.iter().any(
                    |fact| matches!(fact, Fact::SnapshotTightened { release, .. } if release == id),
                );
                let asked = plan.declared.as_ref().map(|declared| declared.on_policy_change);
                if !said || release.hotfix.is_some() || asked != Some(OnPolicyChange::Tighten) {
                    return Err(format!("{id} is under another policy"));
                }
                // Approvals are bound to the hash: it must be that of exactly this plan.
                if release.plan.hash != release.plan.fingerprint() {
                    return Err(format!("{id} is under a policy whose hash is another's"));
                }
                if let Some(what) = loosened(was, &release.plan) {
                    return Err(format!("{id} is under a looser policy: {what}"));
                }
            }
        }
        Ok(())
    }
}

/// The end of a hotfix lane gives every ring what it had, or what the plan asks of any release.
fn lapse(was: &Release, is: &Release) -> Result<(), String> {
    let wrong = |what: String| Err(format!("the lane of {} is over, and {what}", is.id));
    let Some(lane) = &is.hotfix else { return wrong("it had none".into()) };
    for ring in &is.plan.rings {
        let name = &ring.name;
        let (Some(had), Some(normal)) = (was.plan.ring(name), lane.normal.ring(name)) else {
            return wrong(format!("{name} is new"));
        };
        let after = is.plan.graph.after(name);
        if ring == had && after == was.plan.graph.after(name) {
            continue;
        }
        let started = was.ring(name).is_some_and(|run| run.phase.in_motion());
        let (soak, whole) = (ring.policy.soak.duration, normal.policy.soak.duration);
        let gates = ring.policy.gates == normal.policy.gates;
        let asked = |ring: &crate::model::ring::Ring| {
            ring.policy.approvals.as_ref().map_or(0, |approvals| approvals.count)
        };
        let waits = after == lane.normal.graph.after(name);
        if started || soak != whole || !gates || !waits || asked(ring) < asked(had) {
            return wrong(format!("{name} is under what is neither"));
        }
    }
    Ok(())
}

/// What `release` was under before and is not under now.
fn loosened(release: &Release, is: &Plan) -> Option<String> {
    let was = &release.plan;
    let same = was.name == is.name
        && was.target == is.target
        && was.data_classes == is.data_classes
        && was.on_newer == is.on_newer
        && was.lanes == is.lanes
        && was.graph.order() == is.graph.order()
        && was.graph.order().iter().all(|ring| was.graph.after(ring) == is.graph.after(ring));
    if !same {
        return Some("its shape".into());
    }
    if !no_more(was.max_skew, is.max_skew) {
        return Some("maxSkew".into());
    }
    if let Some(rule) =
        was.residency.iter().find(|rule| !is.residency.iter().any(|now| implies(now, rule)))
    {
        return Some(format!("rule {}", rule.id));
    }
    for ring in &was.rings {
        let now = is.ring(&ring.name).filter(|now| now.clusters == ring.clusters);
        let Some(now) = now else { return Some(format!("the clusters of {}", ring.name)) };
        let begun = release.ring(&ring.name).is_none_or(|run| match run.phase {
            Phase::Waiting | Phase::Failed | Phase::RolledBack => false,
            Phase::Deploying
            | Phase::Soaking
            | Phase::Passed
            | Phase::RollingBack
            | Phase::Aborted
            | Phase::Superseded => true,
        });
        if begun && now.policy != ring.policy {
            return Some(format!("{}, where the release has been", ring.name));
        }
        let looser = of_policy(&ring.policy, &now.policy, ring.clusters.len());
        if let Some((what, _)) = looser.into_iter().find(|(_, kept)| !kept) {
            return Some(format!("{what} of {}", ring.name));
        }
    }
    None
}

type Kept = (&'static str, bool);

fn of_policy(was: &Policy, is: &Policy, size: usize) -> Vec<Kept> {
    let calendar = |calendar: &Calendar| {
        is.calendars.iter().any(|now| now.name == calendar.name && no_wider(calendar, now))
    };
    let gate = |gate: &Gate| {
        let now = is.gates.iter().find(|now| now.name == gate.name);
        now.is_some_and(|now| measured_alike(gate, now) && stricter(gate, now))
    };
    vec![
        ("the soak", is.soak.duration >= was.soak.duration),
        ("onBreach", {
            let hard = |b| b == OnBreach::Fail;
            let soft = |b| b == OnBreach::Freeze;
            let (was, is) = (was.soak.on_breach, is.soak.on_breach);
            was == is || hard(is) || soft(was)
        }),
        ("the deadline", is.deadline == was.deadline),
        ("the concurrency", is.concurrency.of(size) <= was.concurrency.of(size)),
        ("the failure budget", is.failure_budget <= was.failure_budget),
        ("the gates", was.gates.iter().all(gate)),
        ("the rollback", is.rollback.automatic || !was.rollback.automatic),
        (
            "the approvals",
            match (&was.approvals, &is.approvals) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some(was), Some(is)) => no_fewer(was, is),
            },
        ),
        ("the calendars", was.calendars.iter().all(calendar)),
        ("minDwell", is.min_dwell >= was.min_dwell),
        ("afterWatch", is.after_watch >= was.after_watch),
        ("the rollback's scope", {
            let (was, is) = (was.rollback.scope, is.rollback.scope);
            was == is || was == RollbackScope::Ring || is == RollbackScope::Exposed
        }),
        ("the rollback's pace", is.rollback.concurrency == was.rollback.concurrency),
    ]
}

/// A limit that is there stays, and does not grow.
fn no_more<T: PartialOrd>(was: Option<T>, is: Option<T>) -> bool {
    was.is_none_or(|was| is.is_some_and(|is| is <= was))
}

/// A minimum that is there stays, and does not shrink.
fn no_less<T: PartialOrd>(was: Option<T>, is: Option<T>) -> bool {
    was.is_none_or(|was| is.is_some_and(|is| is >= was))
}

/// Whoever could approve now could before, and no fewer are needed.
fn no_fewer(was: &Approvals, is: &Approvals) -> bool {
    let roles = was.roles.is_empty()
        || (!is.roles.is_empty() && is.roles.iter().all(|role| was.roles.contains(role)));
    let place = was.jurisdiction.as_ref().is_none_or(|was| {
        is.jurisdiction
            .as_ref()
            .is_some_and(|is| is.members.iter().all(|m| was.members.contains(m)))
    });
    is.count >= was.count
        && roles
        && place
        && (is.exclude_author || !was.exclude_author)
        && no_more(was.expires, is.expires)
}

/// Whatever is open now was open before, and the way back is no more held than it was.
fn no_wider(was: &Calendar, is: &Calendar) -> bool {
    let inside = was.allow.is_empty()
        || (!is.allow.is_empty()
            && is.time_zone == was.time_zone
            && is.allow.iter().all(|now| {
                was.allow.iter().any(|was| was.cron == now.cron && was.duration >= now.duration)
            }));
    let denied = was
        .deny
        .iter()
        .all(|was| is.deny.iter().any(|now| now.from <= was.from && now.to >= was.to));
    let back = |calendar: &Calendar| calendar.applies_to.contains(&AppliesTo::Rollback);
    inside
        && denied
        && back(was) == back(is)
        && was.applies_to.iter().all(|what| is.applies_to.contains(what))
}

fn measured_alike(was: &Gate, is: &Gate) -> bool {
    (&was.provider, &was.query, &was.samples, was.interval, was.initial_delay)
        == (&is.provider, &is.query, &is.samples, is.interval, is.initial_delay)
}

fn stricter(was: &Gate, is: &Gate) -> bool {
    let judged = was.judge == is.judge
        || if let (
            Judge::Threshold { min: least, max: most },
            Judge::Threshold { min: now_least, max: now_most },
        ) = (&was.judge, &is.judge)
        {
            no_less(*least, *now_least) && no_more(*most, *now_most)
        } else if let (
            Judge::Relative { baseline, max_degradation, direction, floor },
            Judge::Relative {
                baseline: now_baseline,
                max_degradation: now_degradation,
                direction: now_direction,
                floor: now_floor,
            },
        ) = (&was.judge, &is.judge)
        {
            (baseline, direction) == (now_baseline, now_direction)
                && now_degradation <= max_degradation
                && now_floor <= floor
        } else {
            false
        };
    judged
        && no_less(was.min_samples, is.min_samples)
        && no_less(was.min_total_samples, is.min_total_samples)
        && no_more(was.failure_limit, is.failure_limit)
        && no_more(was.consecutive_failure_limit, is.consecutive_failure_limit)
        && is.consecutive_error_limit <= was.consecutive_error_limit
        && (is.on_no_data == OnNoData::Fail || was.on_no_data == OnNoData::Hold)
        && is.no_data_deadline <= was.no_data_deadline
        && is.max_age <= was.max_age
        && (is.required || !was.required)
}

/// Whether a plan that keeps `now` keeps `was`.
fn implies(now: &Rule, was: &Rule) -> bool {
    let fewer = match (&was.demand, &now.demand) {
        (
            Demand::MaxInFlight { jurisdiction, rings },
            Demand::MaxInFlight { jurisdiction: there, rings: now },
        ) => jurisdiction == there && now <= rings,
        (was, now) => was == now,
    };
    // What only became harder to waive is held to as before.
    fewer && now.id == was.id
}
