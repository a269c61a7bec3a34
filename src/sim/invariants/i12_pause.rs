use super::{Invariant, Step};
use crate::{
    decide::{command::Command, fact::Fact, waiting::covers},
    ids::{ReleaseId, RingName},
    model::time::Span,
};

/// Holds every forward step against the pauses that were in force before it.
#[derive(Debug, Default)]
pub(super) struct Pause;

impl Invariant for Pause {
    fn number(&self) -> u8 {
        12
    }

    fn says(&self) -> &'static str {
        "after a pause nothing new goes forward in its scope until it is resumed"
    }

    fn check(&mut self, step: &Step<'_>) -> Result<(), String> {
        for command in &step.decision.commands {
            if let Command::Deploy(write) = command.as_ref() {
                not_paused(step, &write.release, &write.ring, "a deploy")?;
            } else if let Command::Promote(promote) = command.as_ref()
                && step.goes_forward(promote)
            {
                not_paused(step, &promote.write.release, &promote.write.ring, "a promotion")?;
            }
        }
        for fact in &step.decision.facts {
            if let Fact::RingStarted { release, ring, .. } = fact {
                not_paused(step, release, ring, "a start")?;
            } else if let Fact::SoakCredited { release, ring, .. } = fact {
                not_paused(step, release, ring, "soak")?;
            } else if let Fact::SoakBackfilled { release, ring, span, .. } = fact
                && *span > Span::ZERO
            {
                not_paused(step, release, ring, "soak")?;
            }
        }
        Ok(())
    }
}

fn not_paused(
    step: &Step<'_>,
    release: &ReleaseId,
    ring: &RingName,
    what: &str,
) -> Result<(), String> {
    let on = step.on(release, ring)?;
    // A pause that this very event took away no longer counts, and one that it made does not yet.
    let pauses = step.before.shared.pauses.iter();
    let mut still = pauses.filter(|(scope, _)| step.after.shared.pauses.contains_key(scope));
    let blocs = &step.before.shared.blocs;
    match still.find(|(scope, p)| covers(blocs, scope, &p.members, on.release, on.ring)) {
        Some((scope, _)) => {
            Err(format!("{what} for {release} on {ring} under a pause of {scope:?}"))
        }
        None => Ok(()),
    }
}
