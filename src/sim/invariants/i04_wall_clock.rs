use std::collections::BTreeMap;

use super::{Invariant, Step};
use crate::{
    decide::{event::Event, fact::Fact},
    ids::PlanName,
    model::time::{Now, Span},
};

/// Where nothing but the wall clock has moved since a plan was last looked at, nothing but what the
/// wall clock rules (calendars, freezes, the age of approvals) may come of looking again.
#[derive(Debug, Default)]
pub(super) struct WallClock {
    looked: BTreeMap<PlanName, Now>,
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
        let Some(before) = self.looked.insert(plan.clone(), step.now) else { return Ok(()) };
        if before.mono != step.now.mono || before.wall == step.now.wall {
            return Ok(());
        }
        for fact in &step.decision.facts {
            let credit = matches!(fact, Fact::SoakCredited { span, .. } if *span > Span::ZERO);
            let step_on = matches!(
                fact,
                Fact::SoakStarted { .. }
                    | Fact::ClusterFailed { .. }
                    | Fact::RingPassed { .. }
                    | Fact::RingFailed { .. }
                    | Fact::RollbackStarted { .. }
            );
            let moved = credit || step_on || self.started_unruled(step, fact)?;
            if moved {
                let (from, to) = (before.wall, step.now.wall);
                return Err(format!("the clock went from {from} to {to}, and so: {fact:?}"));
            }
        }
        Ok(())
    }
}

impl WallClock {
    fn started_unruled(&self, step: &Step<'_>, fact: &Fact) -> Result<bool, String> {
        let Fact::RingStarted { release, ring, .. } = fact else { return Ok(false) };
        let policy = &step.on(release, ring)?.ring.policy;
        let aged = policy.approvals.as_ref().is_some_and(|needed| needed.expires.is_some());
        let ruled = !policy.calendars.is_empty() || !step.before.shared.freezes.is_empty() || aged;
        Ok(!ruled)
    }
}
