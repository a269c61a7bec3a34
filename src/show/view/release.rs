//! A release and its tree of rings.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    earliest::{EarliestView, Expected},
    line::SaidView,
    ring::{RingView, ring},
};
use crate::{
    decide::{
        command::Lane,
        lane,
        phase::{self, ReleasePhase, RingPhase},
        world::{Release, World},
    },
    ids::{Commit, Hash, PlanName, Principal, ReleaseId, RingName, Version},
    model::{ring::Artifact, time::Now},
};

/// A release, with every ring and every hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseView {
    /// `plan@version`.
    pub release: ReleaseId,
    /// Its plan.
    pub plan: PlanName,
    /// Its version.
    pub version: Version,
    /// What is deployed.
    pub artifact: Artifact,
    /// The artifact's digest, shortened for people: `sha256:9f2c4e…`.
    pub digest: String,
    /// The policy snapshot that it started under.
    pub policy: Hash,
    /// The commit of that snapshot.
    pub commit: Commit,
    /// Who made it.
    pub author: Principal,
    /// Who asked for it.
    pub by: Principal,
    /// By which lane it goes.
    pub lane: Lane,
    /// When the hotfix lane is over for rings that it has not started; missing where none is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub lane_ends: Option<Timestamp>,
    /// Why.
    pub reason: Option<String>,
    /// Whether it is never rolled back automatically.
    pub irreversible: bool,
    /// The version that must have passed everywhere first.
    pub requires: Option<Version>,
    /// How far it is.
    pub phase: ReleasePhase,
    /// Whether nothing more will happen to it by itself.
    pub settled: bool,
    /// When it was admitted.
    #[schema(value_type = String, format = DateTime)]
    pub submitted: Timestamp,
    /// How long ago that was, in seconds, by the server's clock.
    pub age_seconds: u64,
    /// Who ended it, if somebody did.
    pub aborted: Option<SaidView>,
    /// The plan's revision; it grows with every change, and the ETag begins with it.
    pub revision: u64,
    /// When it could have passed everywhere; missing where it is settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earliest: Option<EarliestView>,
    /// Its rings, each behind those that it comes after.
    pub rings: Vec<RingView>,
}

impl ReleaseView {
    /// The same without what changes though nothing happens.
    pub fn timeless(&self) -> Self {
        let mut view = self.clone();
        (view.age_seconds, view.earliest) = (0, None);
        view.rings.iter_mut().for_each(|ring| ring.earliest = None);
        view
    }
}

/// A release in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseSummary {
    /// `plan@version`.
    pub release: ReleaseId,
    /// Its plan.
    pub plan: PlanName,
    /// Its version.
    pub version: Version,
    /// What is deployed.
    pub artifact: Artifact,
    /// Who made it.
    pub author: Principal,
    /// By which lane it goes.
    pub lane: Lane,
    /// How far it is.
    pub phase: ReleasePhase,
    /// Whether nothing more will happen to it by itself.
    pub settled: bool,
    /// When it was admitted.
    #[schema(value_type = String, format = DateTime)]
    pub submitted: Timestamp,
    /// Its rings.
    pub rings: Vec<RingSummary>,
}

/// A ring in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RingSummary {
    /// The ring.
    pub name: RingName,
    /// How far the release is on it.
    pub phase: RingPhase,
}

/// A release with everything about it.
pub fn release(world: &World, release: &Release, now: Now) -> ReleaseView {
    let plan = &release.plan;
    let rings = plan.graph.order().iter();
    let expected = Expected::of(world, release, now);
    let age = now.wall.duration_since(release.submitted.wall).as_secs();
    ReleaseView {
        release: release.id.clone(),
        plan: release.id.plan.clone(),
        version: release.id.version.clone(),
        artifact: release.artifact.clone(),
        digest: short_digest(&release.artifact),
        policy: plan.hash.clone(),
        commit: plan.commit.clone(),
        author: release.author.clone(),
        by: release.by.name.clone(),
        lane: release.lane,
        lane_ends: lane::ends(release).filter(|_| lane::is_open(release)).map(|ends| ends.wall),
        reason: release.reason.clone(),
        irreversible: release.irreversible,
        requires: release.requires.clone(),
        phase: phase::of_release(world, release),
        settled: phase::is_settled(release),
        submitted: release.submitted.wall,
        age_seconds: u64::try_from(age).unwrap_or(0),
        aborted: release.aborted.as_ref().map(SaidView::of),
        revision: world.plans.get(&release.id.plan).map_or(0, |plan| plan.revision),
        earliest: expected.whole(),
        rings: rings.filter_map(|name| ring(world, release, name, &expected, now)).collect(),
    }
}

/// A release in short.
pub fn summary(world: &World, release: &Release, now: Now) -> ReleaseSummary {
    let ring = |name: &RingName| RingSummary {
        name: name.clone(),
        phase: phase::of_ring(world, release, name, now),
    };
    ReleaseSummary {
        release: release.id.clone(),
        plan: release.id.plan.clone(),
        version: release.id.version.clone(),
        artifact: release.artifact.clone(),
        author: release.author.clone(),
        lane: release.lane,
        phase: phase::of_release(world, release),
        settled: phase::is_settled(release),
        submitted: release.submitted.wall,
        rings: release.plan.graph.order().iter().map(ring).collect(),
    }
}

/// `sha256:9f2c4e…`; the whole reference where it carries no digest.
fn short_digest(artifact: &Artifact) -> String {
    const SHOWN: usize = "sha256:".len() + 6;
    match artifact.digest().and_then(|digest| digest.get(..SHOWN)) {
        Some(start) => format!("{start}…"),
        None => artifact.to_string(),
    }
}
