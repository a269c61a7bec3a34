//! When the core wants to look at a plan again, though nothing has happened.

use super::world::World;
use crate::{
    ids::PlanName,
    model::time::{Mono, Now},
};

/// When to look again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wake {
    /// At this time at the latest.
    pub at: Option<Mono>,
    /// As soon as what plans share (pauses, freezes, what is in motion) has changed.
    pub shared: bool,
}

/// When to look at `plan` again, as things are.
pub fn next(world: &World, plan: &PlanName, now: Now) -> Wake {
    let _ = (world, plan, now);
    Wake::default()
}
