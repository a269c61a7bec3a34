//! A webhook's own word: its endpoint is asked, and rules Pass, Fail or Insufficient.

use super::{About, Given, Rule, Ruling, Unusable};
use crate::decide::part::{Ask, Part, Role, Told};

/// The most characters of a webhook's words that are kept.
const LONGEST: usize = 300;

/// Whoever answers under the gate's provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Webhook;

impl Rule for Webhook {
    fn asks(&self, about: &About<'_>) -> Vec<Part> {
        let ask = Ask::Webhook { name: about.gate.provider.clone(), deployed: about.deployed };
        vec![Part { role: Role::Webhook, ask }]
    }

    fn rule(&self, given: &Given<'_>) -> Result<Ruling, Unusable> {
        let Some(Told::Ruled { verdict, detail }) = given.part(Role::Webhook) else {
            return Err(Unusable::error("the webhook did not rule"));
        };
        // Words from outside: short, and with nothing that could disturb a terminal.
        let detail: String = detail.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
        let name = &given.gate.provider;
        let detail = if detail.is_empty() { format!("{name} says so") } else { detail };
        Ok(Ruling::new(*verdict, None, detail))
    }
}
