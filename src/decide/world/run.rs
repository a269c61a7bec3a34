//! A release on a ring: how far it is, cluster by cluster and gate by gate.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{DebtRun, Gap, image};
use crate::{
    decide::{
        event::{Actor, figure},
        fact::{Binding, Debt, Judged, Verdict},
        gate::history::History,
    },
    ids::{ClusterName, GateName, IdempotencyKey},
    model::{
        policy::RollbackScope,
        time::{Mono, Now, Span},
    },
};

/// The phases of a ring for a release. Held is no phase of its own here: a ring that has not started
/// is Held where something other than the rings before it holds it, which is derived when asked.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Phase {
    /// Not started.
    #[default]
    Waiting,
    /// Effects are out.
    Deploying,
    /// Every target ready; gates are measured; soak is credited.
    Soaking,
    /// Soaked through.
    Passed,
    /// A limit was exceeded.
    Failed,
    /// Going back.
    RollingBack,
    /// Back.
    RolledBack,
    /// Ended by an operator.
    Aborted,
    /// A newer release took its place.
    Superseded,
}

impl Phase {
    /// Whether targets are being changed or watched for it: what caps and invariant 7 count.
    pub fn in_motion(self) -> bool {
        matches!(self, Phase::Deploying | Phase::Soaking | Phase::RollingBack)
    }

    /// Whether `next` may follow. Recovery goes through it too.
    pub(super) fn leads_to(self, next: Phase) -> bool {
        use Phase::*;
        match self {
            Waiting => matches!(next, Deploying | Failed | Aborted | Superseded),
            Deploying => matches!(next, Soaking | Failed | RollingBack | Aborted | Superseded),
            Soaking => matches!(next, Passed | Failed | RollingBack | Aborted | Superseded),
            Passed => matches!(next, Failed | RollingBack | Aborted),
            Failed => matches!(next, RollingBack | Waiting | Aborted | Superseded),
            RollingBack => matches!(next, RolledBack | Failed | Aborted),
            RolledBack => matches!(next, Waiting),
            Aborted | Superseded => false,
        }
    }
}

/// A release on a ring.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RingRun {
    /// How far it is.
    pub phase: Phase,
    /// Since when.
    pub entered: Now,
    /// The attempt that runs or ran; 0 before the first.
    pub attempt: u32,
    /// When this attempt started.
    pub started: Option<Now>,
    /// The clusters it was planned with: membership never shrinks silently (invariant 21).
    pub clusters: BTreeMap<ClusterName, ClusterRun>,
    /// The soak.
    pub soak: SoakRun,
    /// The gates, by cluster and name.
    #[serde(with = "image::pairs")]
    pub gates: BTreeMap<(ClusterName, GateName), Arc<GateRun>>,
    /// Approvals given, whether or not they still count.
    pub approvals: Vec<Approval>,
    /// A newer release may take the ring by an operator's word.
    pub advanced: bool,
    /// Why it failed or goes back.
    pub cause: Option<String>,
    /// An abort ends the rollback that is under way as Aborted.
    pub aborting: bool,
    /// What the hotfix lane left out in this attempt, and was not made up for yet.
    #[serde(with = "image::pairs")]
    pub debts: BTreeMap<Debt, DebtRun>,
    /// It has passed, and is measured still.
    pub watched: bool,
    /// The way back of this attempt, once there is one.
    pub back: Option<Back>,
}

impl RingRun {
    /// A gate on a cluster, to be changed.
    pub(super) fn gate_mut(&mut self, cluster: &ClusterName, gate: &GateName) -> &mut GateRun {
        Arc::make_mut(self.gates.entry((cluster.clone(), gate.clone())).or_default())
    }

    /// Whether that cluster was written to on the way that the ring is on, and is not there yet. A ring that goes
    /// back may still have clusters that were to go forward, and wait for their turn.
    pub(in crate::decide) fn is_on_its_way(&self, here: &ClusterRun) -> bool {
        match self.phase {
            Phase::Deploying => here.step == Step::Deploying,
            Phase::RollingBack => here.step == Step::Restoring,
            Phase::Waiting
            | Phase::Soaking
            | Phase::Passed
            | Phase::Failed
            | Phase::RolledBack
            | Phase::Aborted
            | Phase::Superseded => false,
        }
    }

    /// Targets that could not be taken back, each with why.
    pub(in crate::decide) fn stuck(&self) -> Vec<String> {
        let stuck = self.clusters.iter().filter_map(|(name, here)| match &here.step {
            Step::Stuck(cause) => Some(format!("{name}: {cause}")),
            Step::Planned
            | Step::Deploying
            | Step::Ready
            | Step::Failed(_)
            | Step::Restoring
            | Step::Restored => None,
        });
        stuck.collect()
    }
}

/// A way back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Back {
    /// Nobody asked for it: it is held to the limits.
    pub automatic: bool,
    /// What goes back with the ring, where it is the one that failed.
    pub scope: Option<RollbackScope>,
    /// Whether anything was written for it.
    pub begun: bool,
}

/// Somebody's approval and what it agrees to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Who.
    pub by: Actor,
    /// To what.
    pub binding: Binding,
    /// When.
    pub at: Now,
}

/// A ring's soak.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SoakRun {
    /// Healthy time credited.
    pub credited: Span,
    /// The end of the last interval, if everything was healthy then; nothing while it stands still.
    pub healthy_at: Option<Mono>,
    /// A stretch that nobody observed, until history was asked or it is given up.
    pub gap: Option<Gap>,
}

impl RingRun {
    /// The soak stands still from here on for want of knowledge alone.
    pub(super) fn open_gap(&mut self, from: Mono, away: Span) {
        let ready = self.clusters.iter().filter(|(_, here)| here.step == Step::Ready);
        let since = ready.filter_map(|(name, here)| Some((name.clone(), here.ready_since?)));
        let ready_since = since.collect();
        self.soak.gap = Some(Gap { from, away, ready_since, ..Gap::default() });
    }
}

/// A cluster of a ring that a release is on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ClusterRun {
    /// How far it is.
    pub step: Step,
    /// The key of the last write: the fence that a status must carry.
    pub intent: Option<IdempotencyKey>,
    /// The target's revision when it was last ready or the soak last went back to zero.
    pub revision: Option<String>,
    /// When the deploy was intended; a baseline is measured as of then.
    pub deployed: Option<Now>,
    /// How many of its deploys were called back: each is followed by a write of its own.
    pub recalls: u32,
    /// How many pauses of its controller's own somebody's word has ended.
    pub promotes: u32,
    /// Since when the target had been ready by its own record, when it was last seen healthy.
    pub ready_since: Option<Timestamp>,
    /// How long the present step has taken while the target could be seen.
    pub reachable: Stopwatch,
    /// How long a target that had been ready has not been.
    pub unready: Stopwatch,
    /// Since when a rule has stood against taking it back, as far as this process knows.
    pub denied: Option<Mono>,
}

impl ClusterRun {
    /// Whether it took the release, or may have, and nothing was done about it yet.
    pub fn is_to_go_back(&self) -> bool {
        match self.step {
            Step::Deploying | Step::Ready => true,
            // A write that was called back may have arrived all the same.
            Step::Planned | Step::Failed(_) => self.intent.is_some(),
            Step::Restoring | Step::Restored | Step::Stuck(_) => false,
        }
    }
}

/// How far a cluster of a ring is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Not begun.
    #[default]
    Planned,
    /// A write is out, and the target is not ready at the artifact.
    Deploying,
    /// It was ready at the artifact.
    Ready,
    /// It failed; why.
    Failed(String),
    /// It goes back.
    Restoring,
    /// It is back.
    Restored,
    /// It cannot be taken back; why.
    Stuck(String),
}

/// Counts monotonic time while it runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopwatch {
    used: Span,
    since: Option<Mono>,
}

impl Stopwatch {
    /// Runs from `now`, if it does not run.
    pub fn run(&mut self, now: Mono) {
        self.since.get_or_insert(now);
    }

    /// Stands still from `now`.
    pub fn stop(&mut self, now: Mono) {
        self.used = self.elapsed(now);
        self.since = None;
    }

    /// What it has counted.
    pub fn elapsed(&self, now: Mono) -> Span {
        self.used + self.since.map_or(Span::ZERO, |since| now.since(since))
    }

    /// When it will have counted `span`, if it runs on.
    pub fn reaches(&self, span: Span) -> Option<Mono> {
        self.since.map(|since| since + span.saturating_sub(self.used))
    }
}

/// A gate on one cluster, since the attempt began to soak.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GateRun {
    /// When the next measurement is due.
    pub due: Mono,
    /// The measurement that is out.
    pub asked: Option<IdempotencyKey>,
    /// How many were asked for.
    pub asks: u32,
    /// The latest measurement, and when it was judged.
    pub latest: Option<(Judged, Now)>,
    /// Whether the latest was taken by this writer: a predecessor's observes nothing now.
    pub fresh: bool,
    /// Failing measurements; a reset of the soak does not forgive them.
    pub failures: u32,
    /// Failing measurements in a row.
    pub failures_in_a_row: u32,
    /// Errors in a row.
    pub errors_in_a_row: u32,
    /// Samples since the soak was last at zero.
    #[serde(with = "figure")]
    pub total_samples: f64,
    /// Since when there has been no usable measurement.
    pub no_data_since: Option<Mono>,
    /// What a relative gate compares with.
    #[serde(with = "figure::option")]
    pub baseline: Option<f64>,
    /// When the last measurement was asked for.
    pub asked_at: Mono,
    /// Up to when samples are counted.
    pub counted: Option<Mono>,
    /// What the statistical judges know of earlier measurements.
    pub history: History,
}

impl GateRun {
    /// What failed in the soak is settled by the pass: a watch counts for itself.
    pub(super) fn forgive(&mut self) {
        (self.failures, self.failures_in_a_row, self.errors_in_a_row) = (0, 0, 0);
        self.no_data_since = None;
    }

    /// The counters of gates.md: each separate; a success resets only those of things in a row.
    pub(super) fn count(&mut self, verdict: Verdict, since: Mono) {
        match verdict {
            Verdict::Pass => {
                self.failures_in_a_row = 0;
                self.errors_in_a_row = 0;
            }
            Verdict::Fail => {
                self.failures += 1;
                self.failures_in_a_row += 1;
                self.errors_in_a_row = 0;
            }
            Verdict::Error => self.errors_in_a_row += 1,
            Verdict::Insufficient | Verdict::Absent => self.errors_in_a_row = 0,
        }
        match verdict {
            Verdict::Pass | Verdict::Fail => self.no_data_since = None,
            Verdict::Insufficient | Verdict::Absent | Verdict::Error => {
                self.no_data_since.get_or_insert(since);
            }
        }
    }
}
