use super::{Invariant, Step};
use crate::{
    decide::{command::Command, world::Phase},
    model::calendar::{AppliesTo, InFlight, Opening},
};

/// Asks the calendars and the freezes again for every write.
#[derive(Debug, Default)]
pub(super) struct Windows;

impl Invariant for Windows {
    fn number(&self) -> u8 {
        22
    }

    fn says(&self) -> &'static str {
        "a forward effect is issued only inside an open window, judged at the instant of issue"
    }

    fn check(&mut self, step: &Step<'_>) -> Result<(), String> {
        for command in &step.decision.commands {
            let write = match command.as_ref() {
                Command::Deploy(write) => write,
                Command::Promote(promote) if step.goes_forward(promote) => &promote.write,
                Command::Promote(_) | Command::Restore(_) | Command::Measure(_) => continue,
            };
            let on = step.on(&write.release, &write.ring)?;
            let before = step.before.run(&write.release, &write.ring).map(|run| run.phase);
            let starts = before == Some(Phase::Waiting);
            let what = if starts { AppliesTo::Start } else { AppliesTo::Advance };
            for calendar in on.ring.policy.calendars.iter().filter(|c| c.applies_to.contains(&what))
            {
                let finishes = !starts && calendar.in_flight == InFlight::FinishRing;
                if let Opening::Closed { why, .. } = calendar.at(step.now.wall)
                    && !finishes
                {
                    return Err(format!("{} under {}: {why}", write.key, calendar.name));
                }
            }
            let shared = &step.after.shared;
            if let Some((id, _)) = shared.frozen(on.release, on.ring, step.now.wall).next() {
                return Err(format!("{} under the freeze {id}", write.key));
            }
        }
        Ok(())
    }
}
