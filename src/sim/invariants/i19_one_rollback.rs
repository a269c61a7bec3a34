use std::collections::BTreeSet;

use super::{Invariant, Step};
use crate::{
    decide::fact::Fact,
    ids::{ReleaseId, RingName},
};

/// Counts the rollbacks of each attempt; what an operator tries again because it got stuck is an attempt
/// of its own. No cap is declared yet that could be exceeded.
#[derive(Debug, Default)]
pub(super) struct OneRollback {
    started: BTreeSet<(ReleaseId, RingName, u32)>,
}

impl Invariant for OneRollback {
    fn number(&self) -> u8 {
        19
    }

    fn says(&self) -> &'static str {
        "at most one rollback per release, ring and attempt"
    }

    fn check(&mut self, step: &Step<'_>) -> Result<(), String> {
        for fact in &step.decision.facts {
            let Fact::RollbackStarted { release, ring, .. } = fact else { continue };
            let attempt = step.on(release, ring)?.run.attempt;
            if !self.started.insert((release.clone(), ring.clone(), attempt)) {
                return Err(format!("{release} goes back again on {ring}, attempt {attempt}"));
            }
        }
        Ok(())
    }
}
