//! Facts that take a ring from one phase to another.

use super::ITSELF;
use crate::{
    decide::{fact::Fact, world::Phase},
    ids::{ReleaseId, RingName},
};

/// A ring that goes from one phase to another.
pub(super) struct Step<'a> {
    pub(super) release: &'a ReleaseId,
    pub(super) ring: &'a RingName,
    pub(super) to: Phase,
    pub(super) actor: &'static str,
}

impl<'a> Step<'a> {
    pub(super) fn of(fact: &'a Fact) -> Option<Self> {
        const OPERATOR: &str = "operator";
        let (release, ring, to, actor) = match fact {
            Fact::RingStarted { release, ring, .. } => (release, ring, Phase::Deploying, ITSELF),
            Fact::SoakStarted { release, ring } => (release, ring, Phase::Soaking, ITSELF),
            Fact::RingPassed { release, ring } => (release, ring, Phase::Passed, ITSELF),
            Fact::RingFailed { release, ring, .. } => (release, ring, Phase::Failed, ITSELF),
            Fact::Rejected { release, ring, .. } => (release, ring, Phase::Failed, OPERATOR),
            Fact::RollbackStarted { release, ring, by, automatic, .. } => {
                // A journal of an earlier version says it by the name alone.
                let itself = *automatic || by.as_str() == ITSELF;
                let actor = if itself { ITSELF } else { OPERATOR };
                (release, ring, Phase::RollingBack, actor)
            }
            Fact::RingRolledBack { release, ring } => (release, ring, Phase::RolledBack, ITSELF),
            Fact::RingSuperseded { release, ring, .. } => {
                (release, ring, Phase::Superseded, ITSELF)
            }
            Fact::RingAborted { release, ring } => (release, ring, Phase::Aborted, OPERATOR),
            Fact::Retried { release, ring, .. } => (release, ring, Phase::Waiting, OPERATOR),
            Fact::TookOver { .. }
            | Fact::SourceAccepted { .. }
            | Fact::SourceRefused { .. }
            | Fact::PlacesDeclared { .. }
            | Fact::BlocsDeclared { .. }
            | Fact::ClusterWitnessed { .. }
            | Fact::HomeStated { .. }
            | Fact::DeployRecalled { .. }
            | Fact::RestoreDenied { .. }
            | Fact::PlanDeclared { .. }
            | Fact::PlanInError { .. }
            | Fact::PlanWithdrawn { .. }
            | Fact::Submitted { .. }
            | Fact::SnapshotTightened { .. }
            | Fact::Refused { .. }
            | Fact::Answered { .. }
            | Fact::GlassBroken { .. }
            | Fact::Paused { .. }
            | Fact::Resumed { .. }
            | Fact::Frozen { .. }
            | Fact::Lifted { .. }
            | Fact::Approved { .. }
            | Fact::Advanced { .. }
            | Fact::Promoted { .. }
            | Fact::Adopted { .. }
            | Fact::TargetSeen { .. }
            | Fact::EffectSettled { .. }
            | Fact::EffectSuperseded { .. }
            | Fact::ClusterReady { .. }
            | Fact::ClusterFailed { .. }
            | Fact::SoakRunning { .. }
            | Fact::SoakCredited { .. }
            | Fact::HistoryMeasured { .. }
            | Fact::SoakBackfilled { .. }
            | Fact::SoakReset { .. }
            | Fact::Measured { .. }
            | Fact::MeasureDropped { .. }
            | Fact::BaselineTaken { .. }
            | Fact::WatchEnded { .. }
            | Fact::RollbackQueued { .. }
            | Fact::StartQueued { .. }
            | Fact::RollbackHastened { .. }
            | Fact::LimitsSet { .. }
            | Fact::HistoryTaken { .. }
            | Fact::ClusterRestored { .. }
            | Fact::ClusterStuck { .. }
            | Fact::Aborted { .. }
            | Fact::LaneTaken { .. }
            | Fact::LaneLapsed { .. }
            | Fact::DebtRecorded { .. }
            | Fact::DebtPaid { .. }
            | Fact::DebtDropped { .. }
            | Fact::DebtWrittenOff { .. }
            | Fact::WaiverAsked { .. }
            | Fact::WaiverApproved { .. }
            | Fact::WaiverRevoked { .. }
            | Fact::WaiverVoided { .. } => return None,
        };
        Some(Self { release, ring, to, actor })
    }
}

/// The release that a fact may have settled: one of its rings is over, or it is itself.
pub(super) fn may_settle(fact: &Fact) -> Option<&ReleaseId> {
    if let Fact::WatchEnded { release, .. } | Fact::Aborted { release, .. } = fact {
        return Some(release);
    }
    let step = Step::of(fact)?;
    (!step.to.in_motion()).then_some(step.release)
}
