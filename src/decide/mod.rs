//! The core: pure and synchronous. It gets all it needs as borrowed values and answers with facts,
//! commands and a report; it reads no clock, does no I/O and draws no randomness.

pub mod command;
pub mod event;
pub mod fact;
pub mod phase;
pub mod waiting;
pub mod wake;
pub mod world;

use command::Command;
use event::Event;
use fact::{Fact, Reply};
use world::{Illegal, World};

use crate::model::time::Now;

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

/// What follows from `event` in `world` at `now`. The cost is that of the one plan the event is about.
///
/// # Errors
/// A defect of the core, caught before it could be recorded; the event then has no effect.
pub fn decide(world: &World, event: &Event, now: Now) -> Result<Decision, Illegal> {
    let _ = (world, event, now);
    Ok(Decision::default())
}
