use std::collections::BTreeMap;

use super::Violation;
use crate::{
    decide::{fact::Reply, world::World},
    ids::IdempotencyKey,
};

/// Keeps what operators were told.
#[derive(Debug, Default)]
pub struct Acknowledged {
    answers: BTreeMap<IdempotencyKey, Reply>,
}

impl Acknowledged {
    /// Somebody was answered.
    pub fn told(&mut self, key: Option<&IdempotencyKey>, reply: &Reply) {
        if let Some(key) = key {
            self.answers.insert(key.clone(), reply.clone());
        }
    }

    /// Looks at the world that a new process begins with.
    ///
    /// # Errors
    /// Something that was acknowledged is gone, or is told otherwise.
    pub fn survived(&self, world: &World) -> Result<(), Violation> {
        let lost = self.answers.iter().find(|(key, reply)| {
            world.answers.get(key).is_none_or(|(_, recorded)| recorded != *reply)
        });
        let Some((key, reply)) = lost else { return Ok(()) };
        Err(Violation {
            number: 14,
            says: "an acknowledged command survives the death of the process",
            detail: format!("{key} was answered {reply:?}, and nothing is known of it"),
        })
    }
}
