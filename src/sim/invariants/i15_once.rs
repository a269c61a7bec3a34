use std::collections::BTreeMap;

use super::{Invariant, Step};
use crate::{
    decide::{
        event::{Action, Event},
        fact::{Fact, Refusal, Reply},
    },
    ids::{IdempotencyKey, Principal},
};

/// Remembers every request that came under a key.
#[derive(Debug, Default)]
pub(super) struct Once {
    asked: BTreeMap<IdempotencyKey, (Principal, Action, Reply)>,
}

impl Invariant for Once {
    fn number(&self) -> u8 {
        15
    }

    fn says(&self) -> &'static str {
        "a command applies at most once per key, and the key with another body is refused"
    }

    fn check(&mut self, step: &Step<'_>) -> Result<(), String> {
        let Event::Operator(request) = step.event else { return Ok(()) };
        let (Some(key), Some(reply)) = (&request.key, &step.decision.reply) else { return Ok(()) };
        let Some((by, action, first)) = self.asked.get(key) else {
            let asked = (request.by.name.clone(), request.action.clone(), reply.clone());
            self.asked.insert(key.clone(), asked);
            return Ok(());
        };
        if (by, action) == (&request.by.name, &request.action) {
            return match step.decision.is_empty() && reply == first {
                true => Ok(()),
                false => Err(format!("{key} came again, and so: {:?}", step.decision.facts)),
            };
        }
        let conflict = matches!(reply, Reply::Refused { kind: Refusal::IdempotencyConflict, .. });
        let nothing = step.decision.facts.iter().all(|fact| matches!(fact, Fact::Refused { .. }));
        match conflict && nothing && step.decision.commands.is_empty() {
            true => Ok(()),
            false => Err(format!("{key} came with another body and was answered {reply:?}")),
        }
    }
}
