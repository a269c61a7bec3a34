//! The core: pure and synchronous. It gets all it needs as borrowed values and answers with facts,
//! commands and a report; it reads no clock, does no I/O and draws no randomness.

pub mod command;
pub mod event;
pub mod fact;
pub mod gate;

use command::Command;
use fact::{Fact, Reply};

/// The core's answer to an event.
#[derive(Debug, Clone, Default, PartialEq)]
#[must_use = "facts must be recorded before anything is done about them"]
pub struct Decision {
    /// What is now true, in this order.
    pub facts: Vec<Fact>,
    /// What shall be done, once the facts are durable.
    pub commands: Vec<Command>,
    /// What a request is answered, once the facts are durable.
    pub reply: Option<Reply>,
}
