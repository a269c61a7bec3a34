//! Waivers of residency rules: who asked, who agreed, until when.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::SaidView;
use crate::{
    decide::{
        waiver::{APPROVERS, agreed},
        world::{Ended, WaiverRun, World},
    },
    ids::{PlanName, PolicyName, Principal, RingName, Version, WaiverId},
    model::time::Now,
    show::words,
};

/// A waiver of a residency rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WaiverView {
    /// Its id.
    pub id: WaiverId,
    /// Whose rule it is of.
    pub plan: PlanName,
    /// The rule's id.
    pub rule: String,
    /// The document that declares the rule.
    pub policy: Option<PolicyName>,
    /// The release that it is for; all where none is named.
    pub release: Option<Version>,
    /// The ring that it is for; all where none is named.
    pub ring: Option<RingName>,
    /// What it covers, in words.
    pub covers: String,
    /// How far it is.
    pub state: WaiverState,
    /// How many must agree.
    pub count: u32,
    /// Who has agreed and may; who made a release does not count for that release.
    pub agreed: Vec<Principal>,
    /// When it ends by itself.
    #[schema(value_type = String, format = DateTime)]
    pub until: Timestamp,
    /// Who asked for it, when and why.
    pub said: SaidView,
    /// Why it ended before its time, if it did.
    pub ended_because: Option<String>,
}

/// How far a waiver is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum WaiverState {
    /// Too few have agreed.
    Asked,
    /// The rule does not bind where it covers.
    InForce,
    /// Its time is over.
    Expired,
    /// Somebody ended it.
    Revoked,
    /// Its rule became another.
    Voided,
}

impl WaiverState {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            WaiverState::Asked => "asked",
            WaiverState::InForce => "inForce",
            WaiverState::Expired => "expired",
            WaiverState::Revoked => "revoked",
            WaiverState::Voided => "voided",
        }
    }

    /// How far `run` is.
    pub fn of(run: &WaiverRun, now: Now) -> Self {
        match &run.ended {
            Some(Ended::Revoked(_)) => WaiverState::Revoked,
            Some(Ended::Voided { .. }) => WaiverState::Voided,
            None if run.is_over(now) => WaiverState::Expired,
            None if agreed(run, None).len() >= APPROVERS => WaiverState::InForce,
            None => WaiverState::Asked,
        }
    }
}

/// The waivers of the plans that `shown` lets through: those that may still end first, then the newest.
pub fn waivers(world: &World, now: Now, shown: impl Fn(&PlanName) -> bool) -> Vec<WaiverView> {
    let plans = world.plans.iter().filter(|(name, _)| shown(name));
    let mut all: Vec<_> = plans
        .flat_map(|(plan, state)| state.waivers.iter().map(move |(id, run)| (plan, id, run)))
        .collect();
    all.sort_by_key(|(_, _, run)| (run.is_over(now), std::cmp::Reverse(run.said.at.wall)));
    all.into_iter().map(|(plan, id, run)| view(plan, id, run, now)).collect()
}

fn view(plan: &PlanName, id: &WaiverId, run: &WaiverRun, now: Now) -> WaiverView {
    let waiver = run.waiver.clone();
    let ended_because = run.ended.as_ref().map(|ended| match ended {
        Ended::Revoked(said) => {
            let why = said.reason.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
            format!("revoked by {}{why}", said.by.name)
        }
        Ended::Voided { why, .. } => why.clone(),
    });
    WaiverView {
        id: id.clone(),
        plan: plan.clone(),
        covers: words::waived(plan, &waiver),
        rule: waiver.rule,
        policy: waiver.policy,
        release: waiver.release,
        ring: waiver.ring,
        state: WaiverState::of(run, now),
        count: APPROVERS as u32,
        agreed: agreed(run, None).into_iter().cloned().collect(),
        until: waiver.until,
        said: SaidView::of(&run.said),
        ended_because,
    }
}
