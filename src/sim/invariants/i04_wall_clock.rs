use std::collections::BTreeMap;

use super::{Invariant, On, Step};
use crate::{
    decide::{
        event::Event,
        fact::Fact,
        waiting::{WaitingOn, waiting_on},
        world::World,
    },
    ids::PlanName,
    model::time::{Now, Span},
};

/// Where nothing but the wall clock has moved since a plan was last looked at, nothing but what the
/// wall clock rules (calendars, freezes, the age of approvals, until when somebody vouches for a cluster) may come
/// of looking again.
#[derive(Debug, Default)]
pub(super) struct WallClock {
    /// When, and how the world was then: others may have moved since.
    looked: BTreeMap<PlanName, (Now, World)>,
}

impl Invariant for WallClock {
    fn number(&self) -> u8 {
        4
    }

    fn says(&self) -> &'static str {
        "movement of the wall clock alone never enables a transition"
    }

    fn check(&mut self, step: &Step<'_>) -> Result<(), String> {
        if let Event::TookOver = step.event {
            // Another process has its own look at everything.
            self.looked.clear();
        }
        let Event::Wake { plan } = step.event else { return Ok(()) };
        let looked = self.looked.insert(plan.clone(), (step.now, step.after.clone()));
        let Some(then) = looked else { return Ok(()) };
        let (before, _) = then;
        if before.mono != step.now.mono || before.wall == step.now.wall {
            return Ok(());
        }
        // What held the last of a soak may have been the clock's to hold; what follows from a pass that it
        // let through does not follow from the clock alone.
        let mut passed = false;
        for fact in &step.decision.facts {
            let credit = matches!(
                fact,
                Fact::SoakCredited { span, .. } | Fact::SoakBackfilled { span, .. }
                    if *span > Span::ZERO
            );
            let step_on = if let Fact::RingPassed { release, ring } = fact {
                let on = step.on(release, ring)?;
                let held = !on.ring.policy.calendars.is_empty() || vouched_for(step, on);
                passed |= held;
                !held
            } else {
                matches!(
                    fact,
                    Fact::SoakStarted { .. }
                        | Fact::ClusterFailed { .. }
                        | Fact::RingFailed { .. }
                        | Fact::RollbackStarted { .. }
                )
            };
            let moved = credit || step_on || (!passed && started_unruled(step, &then, fact)?);
            if moved {
                let (from, to) = (before.wall, step.now.wall);
                return Err(format!("the clock went from {from} to {to}, and so: {fact:?}"));
            }
        }
        Ok(())
    }
}

fn started_unruled(
    step: &Step<'_>,
    (then, world): &(Now, World),
    fact: &Fact,
) -> Result<bool, String> {
    let Fact::RingStarted { release, ring, .. } = fact else { return Ok(false) };
    let on = step.on(release, ring)?;
    let policy = &on.ring.policy;
    let aged = policy.approvals.as_ref().is_some_and(|needed| needed.expires.is_some());
    let expires = vouched_for(step, on);
    // A place in the line is no permission: whoever stood before it, and was counted as if it moved already, may be
    // held by the clock, and may have left the line by now.
    let lined_up = [world, step.before].into_iter().any(|world| {
        let was = world.release(release);
        let waits = was.map_or_else(Vec::new, |was| waiting_on(world, was, ring, *then));
        let in_line = |wait: &WaitingOn| {
            // A partner that moves is let go by no clock; one that only stands in line is.
            let moves = |partner| {
                world.shared.motion.values().any(|moving| moving.clusters.contains_key(partner))
            };
            matches!(wait, WaitingOn::Cap(_))
                || matches!(wait, WaitingOn::Pair { partner, .. } if !moves(partner))
        };
        waits.iter().all(in_line) && !waits.is_empty() && !world.shared.limits.is_empty()
    });
    let ruled = !policy.calendars.is_empty()
        || !step.before.shared.freezes.is_empty()
        || aged
        || expires
        || lined_up;
    Ok(!ruled)
}

/// Whether somebody vouches only until then for a place that a rule over the release may ask for.
fn vouched_for(step: &Step<'_>, on: On<'_>) -> bool {
    let mut places = step.before.shared.facts.clusters.values().flatten();
    !on.release.plan.residency.is_empty() && places.any(|place| place.verified_until.is_some())
}
