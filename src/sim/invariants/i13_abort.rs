use super::{Invariant, Step};
use crate::{
    decide::{command::Command, fact::Fact},
    ids::ReleaseId,
};

/// Looks for anything that takes an aborted release forward.
#[derive(Debug, Default)]
pub(super) struct Abort;

impl Invariant for Abort {
    fn number(&self) -> u8 {
        13
    }

    fn says(&self) -> &'static str {
        "after an abort the release never advances again, on any ring"
    }

    fn check(&mut self, step: &Step<'_>) -> Result<(), String> {
        let over = |id: &ReleaseId| step.before.release(id).is_some_and(|r| r.aborted.is_some());
        for command in &step.decision.commands {
            if let Command::Deploy(write) = command.as_ref()
                && over(&write.release)
            {
                return Err(format!("{} is sent after the abort", write.key));
            }
            if let Command::Promote(promote) = command.as_ref()
                && step.goes_forward(promote)
                && over(&promote.write.release)
            {
                return Err(format!("{} is sent after the abort", promote.write.key));
            }
        }
        for fact in &step.decision.facts {
            if let Fact::RingStarted { release, ring, .. }
            | Fact::ClusterReady { release, ring, .. }
            | Fact::SoakStarted { release, ring }
            | Fact::SoakCredited { release, ring, .. }
            | Fact::SoakBackfilled { release, ring, .. }
            | Fact::RingPassed { release, ring }
            | Fact::Retried { release, ring, .. } = fact
                && over(release)
            {
                return Err(format!("{release} moved on {ring} after the abort: {fact:?}"));
            }
        }
        Ok(())
    }
}
