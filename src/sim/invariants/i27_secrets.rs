use super::{Invariant, Step};
use crate::decide::{fact::Fact, fact::Reply};

/// Stands for every secret of a simulated world: a credential that a metric source or a cluster
/// repeats in its answers.
pub const CANARY: &str = "canary-5f1c0e77";

/// Looks for the canary in all that outlives an event: facts, commands and replies. What people are
/// shown is made of nothing else.
#[derive(Debug, Default)]
pub(super) struct Secrets;

impl Invariant for Secrets {
    fn number(&self) -> u8 {
        27
    }

    fn says(&self) -> &'static str {
        "no secret appears in a log, an error, a response or the audit"
    }

    fn check(&mut self, step: &Step<'_>) -> Result<(), String> {
        let decision = step.decision;
        // What is declared has no secret in it by its types, and is long.
        let facts = decision.facts.iter().filter(|fact| !matches!(fact, Fact::PlanDeclared { .. }));
        if let Some(fact) = facts.map(serde_json::to_string).find(leaks) {
            return Err(format!("the audit says {}", fact.unwrap_or_default()));
        }
        if let Some(command) = decision.commands.iter().map(serde_json::to_string).find(leaks) {
            return Err(format!("a command says {}", command.unwrap_or_default()));
        }
        match &decision.reply {
            Some(Reply::Refused { detail, .. }) if detail.contains(CANARY) => {
                Err(format!("somebody is answered: {detail}"))
            }
            Some(Reply::Refused { .. } | Reply::Done { .. }) | None => Ok(()),
        }
    }
}

fn leaks(written: &serde_json::Result<String>) -> bool {
    written.as_ref().is_ok_and(|text| text.contains(CANARY))
}
