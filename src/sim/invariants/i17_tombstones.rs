use std::collections::BTreeSet;

use super::{Invariant, Step};
use crate::{
    decide::{
        event::{Action, Event},
        fact::Fact,
    },
    ids::{ReleaseId, RingName},
};

/// Remembers what was rolled back where, until somebody names it again.
#[derive(Debug, Default)]
pub(super) struct Tombstones {
    buried: BTreeSet<(ReleaseId, RingName)>,
}

impl Invariant for Tombstones {
    fn number(&self) -> u8 {
        17
    }

    fn says(&self) -> &'static str {
        "a release rolled back on a ring never comes back without an operator who names it"
    }

    fn check(&mut self, step: &Step<'_>) -> Result<(), String> {
        for fact in &step.decision.facts {
            if let Fact::RingRolledBack { release, ring } = fact {
                self.buried.insert((release.clone(), ring.clone()));
            } else if let Fact::Retried { release, ring, .. } = fact {
                if named(step.event, release) {
                    self.buried.remove(&(release.clone(), ring.clone()));
                }
            } else if let Fact::RingStarted { release, ring, .. } = fact
                && self.buried.contains(&(release.clone(), ring.clone()))
            {
                return Err(format!("{release} is back on {ring}"));
            }
        }
        Ok(())
    }
}

/// Whether an operator asks for that release to be tried again.
fn named(event: &Event, id: &ReleaseId) -> bool {
    let Event::Operator(request) = event else { return false };
    matches!(&request.action, Action::Retry { release, .. } if release == id)
}
