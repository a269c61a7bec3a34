use std::sync::Arc;

use super::{Invariant, Step};
use crate::decide::event::{Declared, Event};

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
        match touched {
            Some((name, _)) => Err(format!("{plan} is in error, and {name} has changed")),
            None if step.before.shared != step.after.shared => {
                Err(format!("{plan} is in error, and what plans share has changed"))
            }
            None => Ok(()),
        }
    }
}
