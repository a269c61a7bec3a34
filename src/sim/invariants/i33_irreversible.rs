use super::{Invariant, Step};
use crate::decide::{
    event::{Action, Event},
    fact::Fact,
};

/// Holds every way back of an irreversible release against somebody's word for it.
#[derive(Debug, Default)]
pub(super) struct Irreversible;

impl Invariant for Irreversible {
    fn number(&self) -> u8 {
        33
    }

    fn says(&self) -> &'static str {
        "an irreversible release goes back only where an operator says so"
    }

    fn check(&mut self, step: &Step<'_>) -> Result<(), String> {
        for fact in &step.decision.facts {
            let Fact::RollbackStarted { release, ring, .. } = fact else { continue };
            if !step.on(release, ring)?.release.irreversible {
                continue;
            }
            let asked = matches!(step.event, Event::Operator(request) if matches!(
                &request.action,
                Action::Rollback { release: id, .. } | Action::Abort { release: id, .. } if id == release
            ));
            if !asked {
                return Err(format!("{release} goes back on {ring}, and nobody asked for it"));
            }
        }
        Ok(())
    }
}
