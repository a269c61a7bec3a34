use std::{collections::BTreeMap, sync::Arc};

use super::{Invariant, Step};
use crate::{
    decide::{command::Command, event::Status, fact::Fact},
    ids::IdempotencyKey,
};

/// Every command is on the books before it is sent, under a key of its own; and a cluster is ready
/// only where its status carries the key of our write.
#[derive(Debug, Default)]
pub(super) struct Intents {
    issued: BTreeMap<IdempotencyKey, Arc<Command>>,
}

impl Invariant for Intents {
    fn number(&self) -> u8 {
        8
    }

    fn says(&self) -> &'static str {
        "every effect has an intent before it is sent, and an outcome before anything rests on it"
    }

    fn check(&mut self, step: &Step<'_>) -> Result<(), String> {
        for command in &step.decision.commands {
            let key = command.key();
            let plan = step.after.plans.get(command.plan());
            let intent = plan.and_then(|plan| plan.in_flight.get(key));
            let intent = intent.ok_or_else(|| format!("{key} is sent and not recorded"))?;
            match self.issued.get(key) {
                Some(earlier) if earlier != command => {
                    return Err(format!("{key} is sent as {command:?} and was {earlier:?}"));
                }
                Some(_) => {}
                None => {
                    self.issued.insert(key.clone(), intent.clone());
                }
            }
        }
        for fact in &step.decision.facts {
            let Fact::ClusterReady { release, ring, cluster } = fact else { continue };
            let on = step.on(release, ring)?;
            // What is ready now was written before, even if it is taken back at once.
            let before = step.before.run(release, ring);
            let before = before.and_then(|run| run.clusters.get(cluster));
            let intent = before.and_then(|here| here.intent.as_ref());
            let plan = step.after.plans.get(&release.plan);
            let state = plan.and_then(|p| p.targets.get(cluster)).and_then(|t| t.state.as_ref());
            let ours = state.is_some_and(|state| {
                state.status == Status::Succeeded
                    && intent.is_some()
                    && state.intent.as_ref() == intent
                    && state.image.as_ref().is_some_and(|i| i.same_as(&on.release.artifact))
            });
            if !ours {
                return Err(format!("{cluster} counts as ready on {ring}: {state:?}, {intent:?}"));
            }
        }
        Ok(())
    }
}
