use std::sync::Arc;

use super::{Invariant, Step};
use crate::decide::{
    event::{Declared, Event},
    world::Shared,
};

/// Looks at the other plans when one is declared in error.
#[derive(Debug, Default)]
pub(super) struct OtherPlans;

impl Invariant for OtherPlans {
    fn number(&self) -> u8 {
        28
    }

    fn says(&self) -> &'static str {
        "one plan's malformed input changes no other plan's decisions"
    }

    fn check(&mut self, step: &Step<'_>) -> Result<(), String> {
        let Event::Declared { plan, declared: Declared::Invalid(_) } = step.event else {
            return Ok(());
        };
        let mut others = step.before.plans.iter().filter(|(name, _)| *name != plan);
        let touched = others.find(|(name, state)| {
            step.after.plans.get(*name).is_none_or(|after| !Arc::ptr_eq(after, state))
        });
        // The plan's own rings go on, whatever is wrong with what is declared now.
        let foreign = |shared: &Shared| {
            let motion = shared.motion.iter().filter(|((moving, _), _)| moving != plan);
            motion.map(|(ring, clusters)| (ring.clone(), clusters.clone())).collect::<Vec<_>>()
        };
        let (before, after) = (&step.before.shared, &step.after.shared);
        let stops = before.pauses == after.pauses && before.freezes == after.freezes;
        match touched {
            Some((name, _)) => Err(format!("{plan} is in error, and {name} has changed")),
            None if !stops || foreign(before) != foreign(after) => {
                Err(format!("{plan} is in error, and what plans share has changed"))
            }
            None => Ok(()),
        }
    }
}
