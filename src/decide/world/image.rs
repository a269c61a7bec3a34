//! A plan's state as it is written down and read back whole, for checkpoints of the fold.
//!
//! A policy snapshot is written once and named by its place in a list wherever it is meant, so that what
//! is shared in memory is written once, and shared again when it is read.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::{LaneRun, PlanState, Release, RingRun, Said, TargetRun, WaiverRun};
use crate::{
    decide::{
        command::{Command, Lane},
        event::{Actor, Problem},
    },
    ids::{ClusterName, IdempotencyKey, Principal, ReleaseId, RingName, Version, WaiverId},
    model::{plan::Plan, ring::Artifact, time::Now},
};

#[derive(Serialize, Deserialize)]
struct PlanImage<'a> {
    revision: u64,
    snapshots: Cow<'a, [Arc<Plan>]>,
    declared: Option<usize>,
    problems: Cow<'a, [Problem]>,
    withdrawn: bool,
    /// Oldest first.
    releases: Vec<ReleaseImage<'a>>,
    order: Cow<'a, [Version]>,
    targets: Cow<'a, BTreeMap<ClusterName, TargetRun>>,
    tombstones: Cow<'a, BTreeMap<RingName, BTreeMap<Version, Artifact>>>,
    waivers: Cow<'a, BTreeMap<WaiverId, WaiverRun>>,
    in_flight: Cow<'a, BTreeMap<IdempotencyKey, Arc<Command>>>,
}

#[derive(Serialize, Deserialize)]
struct ReleaseImage<'a> {
    id: Cow<'a, ReleaseId>,
    artifact: Cow<'a, Artifact>,
    author: Cow<'a, Principal>,
    by: Cow<'a, Actor>,
    lane: Lane,
    reason: Cow<'a, Option<String>>,
    irreversible: bool,
    requires: Cow<'a, Option<Version>>,
    plan: usize,
    submitted: Now,
    aborted: Cow<'a, Option<Said>>,
    hotfix: Option<LaneImage<'a>>,
    rings: Cow<'a, BTreeMap<RingName, Arc<RingRun>>>,
}

#[derive(Serialize, Deserialize)]
struct LaneImage<'a> {
    normal: usize,
    rings: Cow<'a, BTreeSet<RingName>>,
}

/// The snapshots that a plan's state shares, each once.
#[derive(Default)]
struct Snapshots(Vec<Arc<Plan>>);

impl Snapshots {
    /// Few share a plan's state, and most of them the latest.
    fn place(&mut self, plan: &Arc<Plan>) -> usize {
        self.0.iter().rposition(|known| Arc::ptr_eq(known, plan)).unwrap_or_else(|| {
            self.0.push(plan.clone());
            self.0.len() - 1
        })
    }
}

impl Serialize for PlanState {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let PlanState {
            revision,
            declared,
            problems,
            withdrawn,
            releases,
            order,
            // It follows from the releases.
            open: _,
            targets,
            tombstones,
            waivers,
            in_flight,
        } = self;
        let mut snapshots = Snapshots::default();
        let releases = releases.values().map(|r| ReleaseImage::of(r, &mut snapshots)).collect();
        let declared = declared.as_ref().map(|plan| snapshots.place(plan));
        PlanImage {
            revision: *revision,
            snapshots: snapshots.0.into(),
            declared,
            problems: problems.into(),
            withdrawn: *withdrawn,
            releases,
            order: order.into(),
            targets: Cow::Borrowed(targets.as_ref()),
            tombstones: Cow::Borrowed(tombstones),
            waivers: Cow::Borrowed(waivers),
            in_flight: Cow::Borrowed(in_flight),
        }
        .serialize(s)
    }
}

impl<'de> Deserialize<'de> for PlanState {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let image = PlanImage::deserialize(d)?;
        let snapshot = |place: usize| -> Result<Arc<Plan>, D::Error> {
            let snapshot = image.snapshots.get(place).cloned();
            snapshot.ok_or_else(|| D::Error::custom(format!("there is no snapshot {place}")))
        };
        let declared = image.declared.map(snapshot).transpose()?;
        let releases = image.releases.into_iter().map(|image| {
            let plan = snapshot(image.plan)?;
            let normal = image.hotfix.as_ref().map(|lane| snapshot(lane.normal)).transpose()?;
            let release = image.into_release(plan, normal);
            Ok((release.id.version.clone(), Arc::new(release)))
        });
        let releases: BTreeMap<Version, Arc<Release>> =
            releases.collect::<Result<_, D::Error>>()?;
        let open = image.order.iter().filter(|v| releases.get(*v).is_some_and(|r| r.is_open()));
        Ok(PlanState {
            open: open.cloned().collect(),
            revision: image.revision,
            declared,
            problems: image.problems.into_owned(),
            withdrawn: image.withdrawn,
            releases,
            order: image.order.into_owned(),
            targets: Arc::new(image.targets.into_owned()),
            tombstones: image.tombstones.into_owned(),
            waivers: image.waivers.into_owned(),
            in_flight: image.in_flight.into_owned(),
        })
    }
}

impl<'a> ReleaseImage<'a> {
    fn of(release: &'a Release, snapshots: &mut Snapshots) -> Self {
        let Release {
            id,
            artifact,
            author,
            by,
            lane,
            reason,
            irreversible,
            requires,
            plan,
            submitted,
            aborted,
            hotfix,
            rings,
        } = release;
        let hotfix = hotfix.as_ref().map(|LaneRun { normal, rings }| LaneImage {
            normal: snapshots.place(normal),
            rings: Cow::Borrowed(rings),
        });
        Self {
            id: Cow::Borrowed(id),
            artifact: Cow::Borrowed(artifact),
            author: Cow::Borrowed(author),
            by: Cow::Borrowed(by),
            lane: *lane,
            reason: Cow::Borrowed(reason),
            irreversible: *irreversible,
            requires: Cow::Borrowed(requires),
            plan: snapshots.place(plan),
            submitted: *submitted,
            aborted: Cow::Borrowed(aborted),
            hotfix,
            rings: Cow::Borrowed(rings),
        }
    }

    fn into_release(self, plan: Arc<Plan>, normal: Option<Arc<Plan>>) -> Release {
        let lane =
            |(lane, normal): (LaneImage<'_>, _)| LaneRun { normal, rings: lane.rings.into_owned() };
        Release {
            id: self.id.into_owned(),
            artifact: self.artifact.into_owned(),
            author: self.author.into_owned(),
            by: self.by.into_owned(),
            lane: self.lane,
            reason: self.reason.into_owned(),
            irreversible: self.irreversible,
            requires: self.requires.into_owned(),
            plan,
            submitted: self.submitted,
            aborted: self.aborted.into_owned(),
            hotfix: self.hotfix.zip(normal).map(lane),
            rings: self.rings.into_owned(),
        }
    }
}

/// A map whose keys are no text, as a list of pairs.
pub(super) mod pairs {
    use super::{BTreeMap, Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        s: S,
    ) -> Result<S::Ok, S::Error> {
        s.collect_seq(map)
    }

    pub fn deserialize<'de, K, V, D>(d: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        K: Deserialize<'de> + Ord,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        Ok(Vec::deserialize(d)?.into_iter().collect())
    }
}
