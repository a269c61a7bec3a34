//! Why a release is not moving: every reason, and what would end each.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    debt::{DebtKind, DebtView},
    earliest::{EarliestView, Expected},
    ring::{ClusterView, HoldView, RingView, ring, soak_left},
};
use crate::{
    decide::{
        phase::{self, ReleasePhase, RingPhase},
        waiting::{WaitingOn, waiting_on},
        world::{Release, World},
    },
    ids::{ReleaseId, RingName},
    model::time::Now,
    show::words::{self, Ender},
};

/// Why a release is not further.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExplainView {
    /// The release.
    pub release: ReleaseId,
    /// How far it is.
    pub phase: ReleasePhase,
    /// Whether nothing more will happen to it by itself.
    pub settled: bool,
    /// When it could have passed everywhere; missing where it is settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earliest: Option<EarliestView>,
    /// Every ring that it has not passed, or that is watched still, each behind those that it comes after.
    pub rings: Vec<RingReasons>,
}

impl ExplainView {
    /// The same without what changes though nothing happens.
    pub fn timeless(&self) -> Self {
        let mut view = self.clone();
        view.earliest = None;
        view.rings.iter_mut().for_each(|ring| ring.earliest = None);
        view
    }
}

/// Why a release has not passed a ring, or may lose its pass.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RingReasons {
    /// The ring.
    pub name: RingName,
    /// How far the release is on it.
    pub phase: RingPhase,
    /// What goes on there; empty where nothing does.
    pub doing: String,
    /// Everything that holds it.
    pub holds: Vec<HoldView>,
    /// What it waits for without being held.
    pub waits: Vec<WaitView>,
    /// When it could start and pass; missing where it has passed, or is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earliest: Option<EarliestView>,
    /// What a hotfix did without here, and was not made up for yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owes: Vec<WaitView>,
}

/// Something that a ring waits for without being held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WaitView {
    /// What it is, in words.
    pub message: String,
    /// What would end it, in words.
    pub ended_by: String,
    /// Who or what would.
    pub ender: Ender,
}

/// Explains `release`, on one ring or on all that it has not passed.
pub fn explain(world: &World, release: &Release, only: Option<&RingName>, now: Now) -> ExplainView {
    let rings = release.plan.graph.order().iter();
    let rings = rings.filter(|name| only.is_none_or(|only| only == *name));
    let expected = Expected::of(world, release, now);
    ExplainView {
        release: release.id.clone(),
        phase: phase::of_release(world, release),
        settled: phase::is_settled(release),
        earliest: expected.whole(),
        rings: rings.filter_map(|name| reasons(world, release, name, &expected, now)).collect(),
    }
}

fn reasons(
    world: &World,
    release: &Release,
    name: &RingName,
    expected: &Expected<'_>,
    now: Now,
) -> Option<RingReasons> {
    let view = ring(world, release, name, expected, now)?;
    let waits = match view.phase {
        RingPhase::Passed if view.debts.is_empty() && !is_watched(release, name) => return None,
        RingPhase::Passed => Vec::new(),
        RingPhase::Waiting
        | RingPhase::Held
        | RingPhase::Deploying
        | RingPhase::Soaking
        | RingPhase::RollingBack => waiting(world, release, name, now),
        RingPhase::Failed | RingPhase::RolledBack => vec![over(release, &view)],
        RingPhase::Aborted | RingPhase::Superseded => vec![WaitView {
            message: view.info.clone(),
            ended_by: "nothing: it is over; create a new release".into(),
            ender: Ender::Person,
        }],
    };
    let doing = doing(release, &view);
    let owed = |debt: DebtView| WaitView {
        message: debt.message,
        ended_by: debt.ended_by,
        ender: match debt.kind {
            DebtKind::Gate | DebtKind::Ahead => Ender::Progress,
        },
    };
    let owes = view.debts.into_iter().map(owed).collect();
    let RingView { name, phase, holds, earliest, .. } = view;
    Some(RingReasons { name, phase, doing, holds, waits, earliest, owes })
}

fn is_watched(release: &Release, ring: &RingName) -> bool {
    release.ring(ring).is_some_and(|run| run.watched)
}

fn waiting(world: &World, release: &Release, name: &RingName, now: Now) -> Vec<WaitView> {
    let all = waiting_on(world, release, name, now);
    let waits = all.iter().filter(|waiting| waiting.hold().is_none());
    let view = |waiting: &WaitingOn| {
        let words = words::of(waiting, world, release, name, now);
        WaitView { message: words.message, ended_by: words.ended_by, ender: words.ender }
    };
    waits.map(view).collect()
}

fn over(release: &Release, view: &RingView) -> WaitView {
    let (id, name) = (&release.id, &view.name);
    let info = if view.info.is_empty() { view.phase.name().to_owned() } else { view.info.clone() };
    let retry = format!("a new attempt: `ringward retry {id} --ring {name}`");
    let stays = release.irreversible && view.phase == RingPhase::Failed;
    WaitView {
        message: if stays { format!("{info}; {id} is irreversible, and stays") } else { info },
        ended_by: match stays {
            true => format!("{retry}, or `ringward rollback {id} --ring {name} --reason ...`"),
            false => retry,
        },
        ender: Ender::Person,
    }
}

/// What goes on by itself on a ring.
fn doing(release: &Release, view: &RingView) -> String {
    let count = |step: &str| view.clusters.iter().filter(|c| c.step == step).count();
    let of_all = |step: &str| format!("{} of {} clusters {step}", count(step), view.clusters.len());
    match view.phase {
        RingPhase::Deploying => {
            let moving: Vec<String> = view
                .clusters
                .iter()
                .filter(|cluster| cluster.step == "deploying")
                .map(|ClusterView { name, status, .. }| format!("{name}: {status}"))
                .collect();
            [vec![of_all("ready")], moving].concat().join("; ")
        }
        RingPhase::Soaking => {
            let ring = release.plan.ring(&view.name).zip(release.ring(&view.name));
            let left = ring.map(|(ring, run)| soak_left(ring, run)).unwrap_or_default();
            let running = view.soak.is_some_and(|soak| soak.running);
            let how = if running { "soaking" } else { "the soak stands still" };
            let gates = view.gates.map_or_else(String::new, |gates| {
                format!("; {} of {} gates pass", gates.passing, gates.required)
            });
            let info = if view.info.is_empty() || !view.holds.is_empty() {
                String::new()
            } else {
                format!("; {}", view.info)
            };
            format!("{how}, {left} to go{gates}{info}")
        }
        RingPhase::RollingBack => of_all("restored"),
        RingPhase::Passed => view.info.clone(),
        RingPhase::Waiting
        | RingPhase::Held
        | RingPhase::Failed
        | RingPhase::RolledBack
        | RingPhase::Aborted
        | RingPhase::Superseded => String::new(),
    }
}
