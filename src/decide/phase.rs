//! The phases that people read, derived from what is true and never stored apart.

use std::{fmt, str::FromStr};

use super::{
    waiting::{WaitingOn, is_next, waiting_on},
    world::{Phase, Release, World},
};
use crate::{ids::RingName, model::time::Now};

/// The phase of a release on a ring, Held told from Waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "semantics.md defines them; Phase repeats all but Held")]
pub enum RingPhase {
    Waiting,
    /// Something other than the rings before it holds it.
    Held,
    Deploying,
    Soaking,
    Passed,
    Failed,
    RollingBack,
    RolledBack,
    Aborted,
    Superseded,
}

impl RingPhase {
    /// Every phase, in the order in which a ring goes through them.
    pub const ALL: [RingPhase; 10] = [
        RingPhase::Waiting,
        RingPhase::Held,
        RingPhase::Deploying,
        RingPhase::Soaking,
        RingPhase::Passed,
        RingPhase::Failed,
        RingPhase::RollingBack,
        RingPhase::RolledBack,
        RingPhase::Aborted,
        RingPhase::Superseded,
    ];

    /// As people and programs write it.
    pub fn name(self) -> &'static str {
        match self {
            RingPhase::Waiting => "Waiting",
            RingPhase::Held => "Held",
            RingPhase::Deploying => "Deploying",
            RingPhase::Soaking => "Soaking",
            RingPhase::Passed => "Passed",
            RingPhase::Failed => "Failed",
            RingPhase::RollingBack => "RollingBack",
            RingPhase::RolledBack => "RolledBack",
            RingPhase::Aborted => "Aborted",
            RingPhase::Superseded => "Superseded",
        }
    }
}

/// The phase of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReleasePhase {
    /// It has started nowhere.
    Pending,
    /// It is on its way.
    InProgress,
    /// The whole of it is paused.
    Paused,
    /// Every ring passed.
    Succeeded,
    /// A ring failed, or goes back.
    Failed,
    /// Every ring that failed is back.
    RolledBack,
    /// An operator ended it.
    Aborted,
    /// A newer release took its place before it was through.
    Superseded,
}

impl ReleasePhase {
    /// Every phase.
    pub const ALL: [ReleasePhase; 8] = [
        ReleasePhase::Pending,
        ReleasePhase::InProgress,
        ReleasePhase::Paused,
        ReleasePhase::Succeeded,
        ReleasePhase::Failed,
        ReleasePhase::RolledBack,
        ReleasePhase::Aborted,
        ReleasePhase::Superseded,
    ];

    /// As people and programs write it.
    pub fn name(self) -> &'static str {
        match self {
            ReleasePhase::Pending => "Pending",
            ReleasePhase::InProgress => "InProgress",
            ReleasePhase::Paused => "Paused",
            ReleasePhase::Succeeded => "Succeeded",
            ReleasePhase::Failed => "Failed",
            ReleasePhase::RolledBack => "RolledBack",
            ReleasePhase::Aborted => "Aborted",
            ReleasePhase::Superseded => "Superseded",
        }
    }
}

/// A text that names no phase.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is no phase; the phases are {known}")]
pub struct NoPhase {
    found: String,
    known: String,
}

macro_rules! by_name {
    ($phase:ident) => {
        impl fmt::Display for $phase {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }

        impl FromStr for $phase {
            type Err = NoPhase;

            /// Upper and lower case are the same: command lines say `passed`.
            fn from_str(text: &str) -> Result<Self, NoPhase> {
                let found = Self::ALL.into_iter().find(|p| p.name().eq_ignore_ascii_case(text));
                found.ok_or_else(|| NoPhase {
                    found: text.into(),
                    known: Self::ALL.map(Self::name).join(", "),
                })
            }
        }
    };
}

by_name!(RingPhase);
by_name!(ReleasePhase);

/// The phase of `release` on `ring` at an instant.
pub fn of_ring(world: &World, release: &Release, ring: &RingName, now: Now) -> RingPhase {
    match release.ring(ring).map_or(Phase::Waiting, |run| run.phase) {
        Phase::Waiting => {
            let waits = waiting_on(world, release, ring, now);
            let held = waits.iter().any(|waiting| waiting.hold().is_some());
            if held { RingPhase::Held } else { RingPhase::Waiting }
        }
        Phase::Deploying => RingPhase::Deploying,
        Phase::Soaking => RingPhase::Soaking,
        Phase::Passed => RingPhase::Passed,
        Phase::Failed => RingPhase::Failed,
        Phase::RollingBack => RingPhase::RollingBack,
        Phase::RolledBack => RingPhase::RolledBack,
        Phase::Aborted => RingPhase::Aborted,
        Phase::Superseded => RingPhase::Superseded,
    }
}

/// The phase of `release`: the worst that its rings say. Bad news outlives what other branches do.
pub fn of_release(world: &World, release: &Release) -> ReleasePhase {
    let any = |phase: Phase| release.rings.values().any(|run| run.phase == phase);
    let all = |phase: Phase| release.rings.values().all(|run| run.phase == phase);
    if release.aborted.is_some() {
        ReleasePhase::Aborted
    } else if any(Phase::Failed) || any(Phase::RollingBack) {
        ReleasePhase::Failed
    } else if any(Phase::RolledBack) {
        ReleasePhase::RolledBack
    } else if all(Phase::Passed) {
        ReleasePhase::Succeeded
    } else if any(Phase::Superseded) && !release.rings.values().any(|run| run.phase.in_motion()) {
        ReleasePhase::Superseded
    } else if is_paused(world, release) {
        ReleasePhase::Paused
    } else if release.rings.values().all(|run| run.started.is_none()) {
        ReleasePhase::Pending
    } else {
        ReleasePhase::InProgress
    }
}

/// Whether nothing more will happen to `release` by itself: each ring is over, or behind one that is
/// over without having passed.
pub fn is_settled(release: &Release) -> bool {
    // Most that are asked are on their way: whether a ring can still be reached is dear to say.
    if release.rings.values().any(|run| run.phase.in_motion()) {
        return false;
    }
    release.rings.iter().all(|(ring, run)| match run.phase {
        Phase::Passed => !run.watched,
        Phase::Failed | Phase::RolledBack | Phase::Aborted | Phase::Superseded => true,
        Phase::Waiting => {
            release.aborted.is_some() || !super::waiting::may_still_reach(release, ring)
        }
        Phase::Deploying | Phase::Soaking | Phase::RollingBack => false,
    })
}

/// The holds of `release` on `ring`, by kind, each once and in a fixed order.
pub fn holds(
    world: &World,
    release: &Release,
    ring: &RingName,
    now: Now,
) -> Vec<super::waiting::HoldKind> {
    let mut kinds: Vec<_> =
        waiting_on(world, release, ring, now).iter().filter_map(WaitingOn::hold).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

/// Whether a pause covers all that is left of the release.
fn is_paused(world: &World, release: &Release) -> bool {
    let mut open = release
        .plan
        .rings
        .iter()
        .filter(|ring| {
            release.ring(&ring.name).is_some_and(|run| {
                run.phase.in_motion()
                    || (run.phase == Phase::Waiting && is_next(release, &ring.name))
            })
        })
        .peekable();
    open.peek().is_some() && open.all(|ring| world.shared.paused(release, ring).next().is_some())
}
