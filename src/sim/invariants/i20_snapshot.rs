use super::{Invariant, Step};
use crate::decide::{fact::Fact, world::Release};

/// Compares each release's snapshot with the one it had.
#[derive(Debug, Default)]
pub(super) struct Snapshot;

impl Invariant for Snapshot {
    fn number(&self) -> u8 {
        20
    }

    fn says(&self) -> &'static str {
        "the policy in force on a release is the snapshot taken at its start"
    }

    fn check(&mut self, step: &Step<'_>) -> Result<(), String> {
        for (name, plan) in step.changed() {
            let Some(before) = step.before.plans.get(name) else { continue };
            for (version, release) in &plan.releases {
                let Some(was) = before.releases.get(version) else { continue };
                if was.plan.hash == release.plan.hash {
                    continue;
                }
                let lapsed = step.decision.facts.iter().any(
                    |fact| matches!(fact, Fact::LaneLapsed { release: id, .. } if *id == release.id),
                );
                if !lapsed {
                    return Err(format!("{} is under another policy", release.id));
                }
                lapse(was, release)?;
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
