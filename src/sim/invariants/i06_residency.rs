use super::{Invariant, Step};
use crate::{
    decide::command::Command,
    model::residency::{Enforcement, breaches},
};

/// Asks for every write whether a hard rule forbids it.
#[derive(Debug, Default)]
pub(super) struct Residency;

impl Invariant for Residency {
    fn number(&self) -> u8 {
        6
    }

    fn says(&self) -> &'static str {
        "no cluster outside the permitted jurisdictions is sent a release"
    }

    fn check(&mut self, step: &Step<'_>) -> Result<(), String> {
        for command in &step.decision.commands {
            let Command::Deploy(write) = command else { continue };
            let plan = &step.on(&write.release, &write.ring)?.release.plan;
            let mut broken = breaches(plan, Some(&write.ring)).into_iter();
            if let Some(breach) = broken.find(|breach| breach.enforcement == Enforcement::Hard) {
                return Err(format!("{} breaks {}: {}", write.key, breach.rule, breach.fact));
            }
        }
        Ok(())
    }
}
