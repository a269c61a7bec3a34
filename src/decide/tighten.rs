//! What a change of policy means for releases that are in motion: what is tighter, where the plan says
//! so, and never what is looser.
//!
//! A ring that is under way, or has passed, keeps what it started under: a gate that changed beneath a
//! soak would make the time that is credited mean two things.

use std::sync::Arc;

use super::{
    Draft,
    fact::Fact,
    phase::is_settled,
    world::{Illegal, Phase, Release},
};
use crate::{
    ids::{ReleaseId, RingName},
    model::{
        plan::{OnPolicyChange, Plan},
        tighten::{Way, differences, tightest},
    },
};

impl Draft {
    /// A plan was declared anew: every release in motion takes what is tighter in it.
    pub(super) fn tighten_all(&mut self) -> Result<(), Illegal> {
        let Some(state) = self.state() else { return Ok(()) };
        let open = state.open().filter(|release| !is_settled(release));
        let open: Vec<ReleaseId> = open.map(|release| release.id.clone()).collect();
        open.iter().try_for_each(|id| self.tighten(id))
    }

    /// A release takes what is tighter in the plan as it is declared now.
    pub(super) fn tighten(&mut self, id: &ReleaseId) -> Result<(), Illegal> {
        let sound = self.state().filter(|state| state.problems.is_empty() && !state.withdrawn);
        let declared = sound.and_then(|state| state.declared.clone());
        let declared = declared.filter(|d| d.on_policy_change == OnPolicyChange::Tighten);
        let (Some(declared), Some(release)) = (declared, self.release(id)) else { return Ok(()) };
        let Some(snapshot) = tightened(&release, &declared) else { return Ok(()) };
        let found = differences(&release.plan, &snapshot).into_iter();
        let changes = found.filter(|found| found.way != Way::Looser).map(|f| f.to_string());
        self.fact(Fact::SnapshotTightened {
            release: id.clone(),
            changes: changes.collect(),
            snapshot: Arc::new(snapshot),
        })
    }
}

/// The snapshot that `release` would take from `declared`; nothing where nothing is tighter for it. One
/// in a hotfix lane keeps what it has: the lane is a looser way on purpose, with an end of its own.
pub fn tightened(release: &Release, declared: &Plan) -> Option<Plan> {
    if release.hotfix.is_some() {
        return None;
    }
    tightest(&release.plan, declared, |ring| may_change(release, ring))
}

/// Whether a release has still to start on a ring, at first or again.
fn may_change(release: &Release, ring: &RingName) -> bool {
    release.ring(ring).is_some_and(|run| match run.phase {
        Phase::Waiting | Phase::Failed | Phase::RolledBack => true,
        Phase::Deploying
        | Phase::Soaking
        | Phase::RollingBack
        | Phase::Passed
        | Phase::Aborted
        | Phase::Superseded => false,
    })
}
