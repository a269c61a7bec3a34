//! A fault of the simulator, and who plants it.

use std::collections::BTreeMap;

use super::{
    super::{Failure, meddle::Meddle, run::Run},
    STEPS,
    planted::late,
};
use crate::{
    decide::{Decision, event::Event, world::World},
    ids::PlanName,
    model::time::Now,
};

pub(super) type View = fn(&World, &Event) -> Option<World>;
pub(super) type Decided = fn(&World, &Event, &mut Decision);

/// A fault: what it does wrong, and what that breaks.
#[derive(Clone, Copy)]
pub(super) struct Fault {
    pub what: &'static str,
    pub breaks: &'static [u8],
    pub planted: Planted,
}

#[derive(Clone, Copy)]
pub(super) enum Planted {
    View(View),
    Decided(Decided),
    Folded(fn(&mut World)),
    Recovered(fn(&mut World)),
    /// A deadline that is measured by the wall clock.
    WallClock,
    Flag(Flag),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flag {
    Epochs,
    Doubles,
    Unrecorded,
    Early,
    Loses,
    Wakes,
    Dangling,
    OldWriters,
    Bodies,
}

impl Fault {
    pub(super) fn run(&self, seed: u64) -> Option<Failure> {
        Run::new(seed, &mut self.meddler()).all(STEPS).failure
    }

    pub(super) fn meddler(&self) -> Meddler {
        Meddler { planted: self.planted, looked: BTreeMap::new() }
    }

    /// Why no scenario can show it, where none can: what reaches ringward is all that a scenario says.
    pub(super) fn untold(&self) -> Option<&'static str> {
        match self.planted {
            Planted::Flag(flag) => match flag {
                Flag::Epochs | Flag::Doubles => Some("a target breaks its own promise"),
                Flag::Unrecorded | Flag::Early | Flag::Loses | Flag::OldWriters => {
                    Some("the journal, or who waits for it, breaks its own promise")
                }
                Flag::Dangling => Some("nothing is heard of it, and it comes to no end"),
                Flag::Bodies | Flag::Wakes => None,
            },
            Planted::Decided(_) if self.breaks == [31] => Some("it comes to no end"),
            Planted::View(_)
            | Planted::Decided(_)
            | Planted::Folded(_)
            | Planted::Recovered(_)
            | Planted::WallClock => None,
        }
    }
}

pub(super) struct Meddler {
    planted: Planted,
    looked: BTreeMap<PlanName, Now>,
}

impl std::fmt::Debug for Meddler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a fault")
    }
}

impl Meddler {
    fn has(&self, flag: Flag) -> bool {
        matches!(self.planted, Planted::Flag(planted) if planted == flag)
    }
}

impl Meddle for Meddler {
    fn view(&mut self, world: &World, event: &Event) -> Option<World> {
        if let Planted::View(view) = self.planted { view(world, event) } else { None }
    }

    fn decided(&mut self, world: &World, event: &Event, now: Now, decision: &mut Decision) {
        if let Planted::Decided(decided) = self.planted {
            decided(world, event, decision);
        } else if let (Planted::WallClock, Event::Wake { plan }) = (self.planted, event) {
            let before = self.looked.insert(plan.clone(), now);
            if before.is_some_and(|before| before.mono == now.mono && before.wall != now.wall) {
                decision.facts.extend(late(world, plan));
            }
        }
    }

    fn folded(&mut self, world: &mut World) {
        if let Planted::Folded(folded) = self.planted {
            folded(world);
        }
    }

    fn recovered(&mut self, world: &mut World) {
        if let Planted::Recovered(recovered) = self.planted {
            recovered(world);
        }
    }

    fn forgets_epochs(&self) -> bool {
        self.has(Flag::Epochs)
    }

    fn doubles_effects(&self) -> bool {
        self.has(Flag::Doubles)
    }

    fn acts_unrecorded(&self) -> bool {
        self.has(Flag::Unrecorded)
    }

    fn answers_early(&self) -> bool {
        self.has(Flag::Early)
    }

    fn loses_an_entry(&mut self) -> bool {
        self.has(Flag::Loses)
    }

    fn forgets_wakes(&self) -> bool {
        self.has(Flag::Wakes)
    }

    fn forgets_dangling(&self) -> bool {
        self.has(Flag::Dangling)
    }

    fn repeats_bodies(&self) -> bool {
        self.has(Flag::Bodies)
    }

    fn admits_old_writers(&self) -> bool {
        self.has(Flag::OldWriters)
    }
}
