//! What stops things, and who may let them go: pauses, freezes, approvals, the source.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    decide::{
        event::Scope,
        phase::{self, RingPhase},
        waiting::approvals_that_count,
        world::{Approval, Pause, Phase, Release, RingRun, Said, World},
    },
    ids::{Commit, FreezeId, Hash, Jurisdiction, PlanName, Principal, ReleaseId, RingName},
    model::{policy::Approvals, ring::Ring, time::Now},
    show::words,
};

/// Who said it, when and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SaidView {
    /// Who.
    pub by: Principal,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Why.
    pub reason: Option<String>,
}

impl SaidView {
    /// Without the clock that only ringward knows.
    pub fn of(said: &Said) -> Self {
        Self { by: said.by.name.clone(), at: said.at.wall, reason: said.reason.clone() }
    }
}

/// What a pause or a freeze covers; all that is missing covers everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScopeView {
    /// One jurisdiction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jurisdiction: Option<Jurisdiction>,
    /// One plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanName>,
    /// One release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseId>,
    /// One ring of the plan or release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ring: Option<RingName>,
}

impl ScopeView {
    /// A scope by its parts.
    pub fn of(scope: &Scope) -> Self {
        let nothing = Self::default();
        match scope.clone() {
            Scope::Everything => nothing,
            Scope::Jurisdiction(place) => Self { jurisdiction: Some(place), ..nothing },
            Scope::Plan(plan) => Self { plan: Some(plan), ..nothing },
            Scope::Ring(plan, ring) => Self { plan: Some(plan), ring: Some(ring), ..nothing },
            Scope::Release(id) => {
                Self { plan: Some(id.plan.clone()), release: Some(id), ..nothing }
            }
            Scope::ReleaseRing(id, ring) => {
                Self { plan: Some(id.plan.clone()), release: Some(id), ring: Some(ring), ..nothing }
            }
        }
    }
}

/// A pause in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PauseView {
    /// What it covers.
    pub scope: ScopeView,
    /// What it covers, in words.
    pub covers: String,
    /// Who paused, when and why.
    pub said: SaidView,
}

/// A freeze that was not lifted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FreezeView {
    /// Its id.
    pub id: FreezeId,
    /// What it covers.
    pub scope: ScopeView,
    /// What it covers, in words.
    pub covers: String,
    /// When it ends by itself.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
    /// Whether it still stops anything.
    pub active: bool,
    /// Who froze, when and why.
    pub said: SaidView,
}

/// A ring that needs approvals before it starts, and those that were given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalView {
    /// The release.
    pub release: ReleaseId,
    /// The ring.
    pub ring: RingName,
    /// How far the release is there: an approval may be given early.
    pub phase: RingPhase,
    /// How many people must agree.
    pub count: u32,
    /// Any of these roles.
    pub roles: Vec<String>,
    /// Where they must belong to.
    pub jurisdiction: Option<Jurisdiction>,
    /// Whether the author is excluded.
    pub exclude_author: bool,
    /// Who made the release.
    pub author: Principal,
    /// The policy that an approval is bound to.
    pub policy: Hash,
    /// Whose approval counts now.
    pub counting: Vec<Principal>,
    /// All that were given for it.
    pub given: Vec<GivenApproval>,
}

/// An approval that somebody gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GivenApproval {
    /// Who.
    pub by: Principal,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The attempt that it agrees to.
    pub attempt: u32,
}

/// Where the declarations come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceView {
    /// The commit in force.
    pub commit: Option<Commit>,
    /// Since when.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub accepted: Option<Timestamp>,
    /// A head that was not accepted since.
    pub refused: Option<Commit>,
    /// Why it was not.
    pub refused_because: Option<String>,
    /// Plans whose declarations are in error there.
    pub in_error: Vec<PlanName>,
}

/// The pauses in force that `shown` lets through.
pub fn pauses(world: &World, shown: impl Fn(&Scope) -> bool) -> Vec<PauseView> {
    let view = |(scope, pause): (&Scope, &Pause)| PauseView {
        scope: ScopeView::of(scope),
        covers: words::covered(scope),
        said: SaidView::of(&pause.said),
    };
    world.shared.pauses.iter().filter(|(scope, _)| shown(scope)).map(view).collect()
}

/// The freezes that were not lifted and that `shown` lets through.
pub fn freezes(world: &World, now: Now, shown: impl Fn(&Scope) -> bool) -> Vec<FreezeView> {
    let all = world.shared.freezes.iter().filter(|(_, freeze)| shown(&freeze.scope));
    all.map(|(id, freeze)| FreezeView {
        id: id.clone(),
        scope: ScopeView::of(&freeze.scope),
        covers: words::covered(&freeze.scope),
        until: freeze.until,
        active: freeze.until.is_none_or(|until| now.wall < until),
        said: SaidView::of(&freeze.said),
    })
    .collect()
}

/// The approvals that releases need and have not used up, of the plans that `shown` lets through.
pub fn approvals(world: &World, now: Now, shown: impl Fn(&PlanName) -> bool) -> Vec<ApprovalView> {
    let plans = world.plans.iter().filter(|(name, _)| shown(name));
    let releases = plans.flat_map(|(_, plan)| plan.in_order());
    let open = releases.filter(|release| !phase::is_settled(release));
    open.flat_map(|release| {
        release.plan.rings.iter().filter_map(move |ring| {
            let needed = ring.policy.approvals.as_ref()?;
            let run = release.ring(&ring.name).filter(|run| run.phase == Phase::Waiting)?;
            Some(approval(world, release, ring, run, needed, now))
        })
    })
    .collect()
}

fn approval(
    world: &World,
    release: &Release,
    ring: &Ring,
    run: &RingRun,
    needed: &Approvals,
    now: Now,
) -> ApprovalView {
    let given = |approval: &Approval| GivenApproval {
        by: approval.by.name.clone(),
        at: approval.at.wall,
        attempt: approval.binding.attempt,
    };
    ApprovalView {
        release: release.id.clone(),
        ring: ring.name.clone(),
        phase: phase::of_ring(world, release, &ring.name, now),
        count: needed.count,
        roles: needed.roles.clone(),
        jurisdiction: needed.jurisdiction.as_ref().map(|territory| territory.name.clone()),
        exclude_author: needed.exclude_author,
        author: release.author.clone(),
        policy: release.plan.hash.clone(),
        counting: approvals_that_count(release, ring, run, needed, now),
        given: run.approvals.iter().map(given).collect(),
    }
}

/// Where the declarations come from.
pub fn source(world: &World) -> SourceView {
    let (refused, refused_because) = world.source.refused.clone().unzip();
    let in_error = world.plans.iter().filter(|(_, plan)| !plan.problems.is_empty());
    SourceView {
        commit: world.source.commit.clone(),
        accepted: world.source.accepted,
        refused,
        refused_because,
        in_error: in_error.map(|(name, _)| name.clone()).collect(),
    }
}
