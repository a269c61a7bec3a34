use crate::{
    decide::{Decision, event::Event, world::World},
    model::time::Now,
};

/// Where the simulator can be made to do wrong, so that a test can see each wrong be found.
///
/// Architecture invariant: the hooks are the simulator's; the core and the journal have none. All do
/// nothing unless a test says otherwise.
pub(in crate::sim) trait Meddle: std::fmt::Debug {
    /// Whether nobody meddles: ringward then decides and makes true in one, as its loop does, and what its
    /// journal folds to is compared with that.
    fn is_nobody(&self) -> bool {
        false
    }

    /// What the core is shown instead of the world.
    fn view(&mut self, _world: &World, _event: &Event) -> Option<World> {
        None
    }

    /// Changes what the core decided, before it becomes true.
    fn decided(&mut self, _world: &World, _event: &Event, _now: Now, _decision: &mut Decision) {}

    /// Changes the world behind the journal's back.
    fn folded(&mut self, _world: &mut World) {}

    /// Changes what was recovered from the journal.
    fn recovered(&mut self, _world: &mut World) {}

    /// Whether targets let repeats and older writers change them.
    fn forgets_epochs(&self) -> bool {
        false
    }

    /// Whether a target rolls out again for an effect that it had accepted.
    fn doubles_effects(&self) -> bool {
        false
    }

    /// Whether effects are sent and requests answered though the append has failed.
    fn acts_unrecorded(&self) -> bool {
        false
    }

    /// Whether a request is answered before the append.
    fn answers_early(&self) -> bool {
        false
    }

    /// Whether the journal loses its last entry now.
    fn loses_an_entry(&mut self) -> bool {
        false
    }

    /// Whether the times at which the core wants to be woken are forgotten.
    fn forgets_wakes(&self) -> bool {
        false
    }

    /// Whether dangling effects are left alone after a restart and whatever found no room is forgotten.
    fn forgets_dangling(&self) -> bool {
        false
    }

    /// Whether errors of a metric source repeat what it answered.
    fn repeats_bodies(&self) -> bool {
        false
    }

    /// Whether writers of an earlier epoch may still record.
    fn admits_old_writers(&self) -> bool {
        false
    }
}

/// Nobody meddles.
#[derive(Debug)]
pub(in crate::sim) struct Honest;

impl Meddle for Honest {
    fn is_nobody(&self) -> bool {
        true
    }
}
