//! A plan's releases and targets, as they are.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{LaneRun, Said, WaiverRun, run::RingRun};
use crate::{
    decide::{
        command::{Command, Lane},
        event::{Actor, Problem, TargetState},
        phase::is_settled,
    },
    ids::{ClusterName, IdempotencyKey, Principal, ReleaseId, RingName, Version, WaiverId},
    model::{plan::Plan, ring::Artifact, time::Now},
};

/// A plan, its releases and its targets.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PlanState {
    /// Grows with every change but those of a mere tick: it tells whether a plan is still as somebody
    /// saw it, and they cannot read faster than gates are measured.
    pub revision: u64,
    /// The last good declaration.
    pub declared: Option<Arc<Plan>>,
    /// What is wrong with the current one; while there is something, no release is admitted.
    pub problems: Vec<Problem>,
    /// Whether it is declared no more.
    pub withdrawn: bool,
    /// Every release that was admitted.
    pub releases: BTreeMap<Version, Arc<Release>>,
    /// Their versions, oldest first.
    pub order: Vec<Version>,
    /// Those of them that something may still come of: on their way, or owing. Follows from the releases,
    /// and is kept so that what is over for good costs nobody a look.
    pub open: Vec<Version>,
    /// What runs where, and what is known to be good there.
    pub targets: Arc<BTreeMap<ClusterName, TargetRun>>,
    /// What was rolled back where, and may not come again by itself.
    pub tombstones: BTreeMap<RingName, BTreeMap<Version, Artifact>>,
    /// Waivers of its residency rules, those that have ended included.
    pub waivers: BTreeMap<WaiverId, WaiverRun>,
    /// Effects without an outcome: issued again after a crash.
    pub in_flight: BTreeMap<IdempotencyKey, Arc<Command>>,
}

impl PlanState {
    /// The releases, oldest first.
    pub fn in_order(&self) -> impl DoubleEndedIterator<Item = &Arc<Release>> {
        self.order.iter().filter_map(|v| self.releases.get(v))
    }

    /// Those that are on their way or owe something, oldest first.
    pub fn open(&self) -> impl DoubleEndedIterator<Item = &Arc<Release>> {
        self.open.iter().filter_map(|v| self.releases.get(v))
    }

    /// A target, to be changed.
    pub(super) fn target_mut(&mut self, cluster: &ClusterName) -> &mut TargetRun {
        Arc::make_mut(&mut self.targets).entry(cluster.clone()).or_default()
    }

    /// The place of a version in the order of admission; nothing where it was not admitted.
    pub fn admitted(&self, version: &Version) -> Option<usize> {
        self.order.iter().rposition(|v| v == version)
    }

    /// The release in motion on the ring, of which there is at most one (invariant 7).
    pub fn in_motion(&self, ring: &RingName) -> Option<&Arc<Release>> {
        self.open().find(|r| r.ring(ring).is_some_and(|run| run.phase.in_motion()))
    }
}

/// What runs in a plan's target on one cluster.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TargetRun {
    /// The last state seen by this writer; nothing after a take-over until it is seen again.
    pub state: Option<TargetState>,
    /// What completed its full soak there, the latest last.
    pub known_good: Vec<KnownGood>,
}

impl TargetRun {
    /// Where a rollback of `artifact` goes: the latest known good that is something else.
    pub fn back_from(&self, artifact: &Artifact) -> Option<&KnownGood> {
        self.known_good.iter().rev().find(|good| !good.artifact.same_as(artifact))
    }
}

/// An artifact that may be gone back to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownGood {
    /// Its version, where it came by a release.
    pub version: Option<Version>,
    /// What ran.
    pub artifact: Artifact,
}

/// One version on its way.
#[derive(Debug, Clone, PartialEq)]
pub struct Release {
    /// Which.
    pub id: ReleaseId,
    /// What is deployed.
    pub artifact: Artifact,
    /// Who made it.
    pub author: Principal,
    /// Who asked for it.
    pub by: Actor,
    /// By which lane it goes.
    pub lane: Lane,
    /// Why.
    pub reason: Option<String>,
    /// Whether it can never be rolled back automatically.
    pub irreversible: bool,
    /// What must have passed everywhere first.
    pub requires: Option<Version>,
    /// The policy snapshot that it started under.
    pub plan: Arc<Plan>,
    /// When it was admitted.
    pub submitted: Now,
    /// Who ended it, if somebody did.
    pub aborted: Option<Said>,
    /// Its hotfix lane, where it took one.
    pub hotfix: Option<LaneRun>,
    /// By ring; every ring of the snapshot is there.
    pub rings: BTreeMap<RingName, Arc<RingRun>>,
}

impl Release {
    /// Whether it did without something on a ring that was not made up for yet.
    pub fn owes(&self) -> bool {
        self.rings.values().any(|run| !run.debts.is_empty())
    }

    /// Whether something may still come of it.
    pub(super) fn is_open(&self) -> bool {
        !is_settled(self) || self.owes()
    }

    /// How far it is on a ring.
    pub fn ring(&self, ring: &RingName) -> Option<&RingRun> {
        self.rings.get(ring).map(Arc::as_ref)
    }
}
