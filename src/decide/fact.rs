//! What was decided and is now true: the vocabulary that the journal keeps for good.
//!
//! A variant or field may be added; none may change its meaning. Facts are applied by
//! [`super::world::World::apply`] and by nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    command::{Lane, Stretch},
    event::{Actor, Outcome, Pause, Problem, Scope, TargetState, figure},
    gate::sequential::Interval,
};
use crate::{
    ids::{
        ClusterName, Commit, FreezeId, GateName, Hash, IdempotencyKey, Jurisdiction, PlanName,
        PolicyName, Principal, ReleaseId, RingName, Version, WaiverId,
    },
    model::{
        limits::Limits,
        plan::Plan,
        policy::RollbackScope,
        residency::{Home, Place, Witness},
        ring::Artifact,
        time::Span,
    },
};

/// Something that is true from now on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "a fact's fields are its sentence's words")]
pub enum Fact {
    /// A writer took over; every effect of an earlier epoch is stale.
    TookOver { epoch: u64 },
    /// The source is in force at this commit.
    SourceAccepted { commit: Commit },
    /// The source's head was not accepted; the last accepted commit stays in force.
    SourceRefused { commit: Commit, why: String },
    /// A plan is in force for new releases.
    PlanDeclared { plan: Arc<Plan> },
    /// A plan's declarations are in error; what was in force before stays so for releases in motion.
    PlanInError { plan: PlanName, commit: Commit, problems: Vec<Problem> },
    /// A plan is no longer declared.
    PlanWithdrawn { plan: PlanName, commit: Commit },

    /// A release was admitted under the plan that is in force.
    Submitted {
        release: ReleaseId,
        artifact: Artifact,
        author: Principal,
        by: Actor,
        lane: Lane,
        reason: Option<String>,
        irreversible: bool,
        requires: Option<Version>,
        policy: Hash,
    },
    /// A release in motion took what is tighter in a later plan, for the rings that it had still to
    /// start: its policy snapshot from now on.
    SnapshotTightened { release: ReleaseId, snapshot: Arc<Plan>, changes: Vec<String> },
    /// A request was refused.
    Refused { by: Actor, asked: String, kind: Refusal, detail: String },
    /// A token for emergencies was shown.
    GlassBroken { by: Actor, token: String, reason: String, asked: String },
    /// A request with an idempotency key was answered.
    Answered { key: IdempotencyKey, fingerprint: Hash, answer: Reply },
    /// Nothing goes forward in the scope.
    Paused {
        scope: Scope,
        by: Actor,
        reason: Option<String>,
        /// The countries of the scope's jurisdiction at that time: they stay stopped whatever is declared
        /// of it later.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        members: BTreeSet<Jurisdiction>,
    },
    /// The pause of that scope is over.
    Resumed { scope: Scope, by: Actor, reason: Option<String> },
    /// The line is stopped.
    Frozen {
        id: FreezeId,
        scope: Scope,
        until: Option<Timestamp>,
        by: Actor,
        reason: String,
        /// As of a pause.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        members: BTreeSet<Jurisdiction>,
    },
    /// A freeze is over.
    Lifted { id: FreezeId, by: Actor },
    /// Somebody agreed, to exactly what is named.
    Approved {
        release: ReleaseId,
        ring: RingName,
        by: Actor,
        binding: Binding,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Somebody refused.
    Rejected { release: ReleaseId, ring: RingName, by: Actor, reason: Option<String> },
    /// A newer release may take the ring.
    Advanced { release: ReleaseId, ring: RingName, by: Actor, reason: Option<String> },
    /// A target may go on from the pause of its controller's own that it stands at.
    Promoted {
        release: ReleaseId,
        ring: RingName,
        cluster: ClusterName,
        pause: Pause,
        by: Actor,
        reason: Option<String>,
    },

    /// What a target runs was taken as its known good: it ran there, healthy, before any release.
    Adopted { plan: PlanName, cluster: ClusterName, version: Option<Version>, artifact: Artifact },
    /// A target's state changed.
    TargetSeen { plan: PlanName, cluster: ClusterName, state: TargetState },
    /// An effect ended.
    EffectSettled { plan: PlanName, key: IdempotencyKey, outcome: Outcome },
    /// A dangling effect was overtaken by another decision.
    EffectSuperseded { plan: PlanName, key: IdempotencyKey },

    /// A release entered a ring, which has exactly these clusters.
    RingStarted { release: ReleaseId, ring: RingName, attempt: u32, clusters: Vec<ClusterName> },
    /// A cluster of the ring was observed at the artifact, ready, under our own write.
    ClusterReady { release: ReleaseId, ring: RingName, cluster: ClusterName },
    /// A cluster of the ring failed.
    ClusterFailed { release: ReleaseId, ring: RingName, cluster: ClusterName, cause: String },
    /// Every required cluster is ready: the soak begins, at zero.
    SoakStarted { release: ReleaseId, ring: RingName },
    /// From now on the soak runs, or stands still.
    SoakRunning {
        release: ReleaseId,
        ring: RingName,
        running: bool,
        /// It stands still for want of knowledge alone, and its policy makes up for that from history.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        blind: bool,
    },
    /// This much healthy time was credited.
    SoakCredited { release: ReleaseId, ring: RingName, span: Span },
    /// What history says of a gate at each instant of a stretch that nobody observed; nothing where it
    /// did not answer.
    HistoryMeasured {
        release: ReleaseId,
        ring: RingName,
        cluster: ClusterName,
        gate: GateName,
        key: IdempotencyKey,
        past: Stretch,
        verdicts: Vec<Verdict>,
    },
    /// So much of a stretch that nobody observed was credited, for its steps pass by history; perhaps
    /// nothing, and the stretch is over with.
    SoakBackfilled { release: ReleaseId, ring: RingName, span: Span, why: String },
    /// Back to zero.
    SoakReset { release: ReleaseId, ring: RingName, why: String },
    /// A gate was measured and judged.
    Measured {
        release: ReleaseId,
        ring: RingName,
        cluster: ClusterName,
        gate: GateName,
        key: IdempotencyKey,
        judged: Judged,
    },
    /// A gate's measurement that a later decision made pointless; nothing is counted.
    MeasureDropped { plan: PlanName, key: IdempotencyKey },
    /// What a relative gate compares with.
    BaselineTaken {
        release: ReleaseId,
        ring: RingName,
        cluster: ClusterName,
        gate: GateName,
        #[serde(with = "figure")]
        value: f64,
    },
    /// What a statistical gate compares with, or takes for granted of the stable population.
    HistoryTaken {
        release: ReleaseId,
        ring: RingName,
        cluster: ClusterName,
        gate: GateName,
        taken: Taken,
    },
    /// The ring soaked through: what it runs is the known good of each of its healthy clusters.
    RingPassed { release: ReleaseId, ring: RingName },
    /// The ring that passed is measured no more: its time is over, or something newer is there.
    WatchEnded { release: ReleaseId, ring: RingName },
    /// The ring failed; where it had passed, its pass counts no more.
    RingFailed { release: ReleaseId, ring: RingName, cause: String },
    /// The clusters that took the release go back.
    RollbackStarted {
        release: ReleaseId,
        ring: RingName,
        by: Principal,
        cause: String,
        /// Nobody asked for it: it is held to the limits.
        #[serde(default)]
        automatic: bool,
        /// What goes back with the ring, where it is the one that failed.
        #[serde(default)]
        scope: Option<RollbackScope>,
    },
    /// A rollback would begin now but for the limits, and waits for its place; or it waits no more.
    RollbackQueued { release: ReleaseId, ring: RingName, queued: bool },
    /// Somebody asked for what was to go back by itself: the limits hold it no more.
    RollbackHastened { release: ReleaseId, ring: RingName, by: Actor, reason: Option<String> },
    /// A ring would start now but for the limits on what is in motion, and waits for its place; or it
    /// waits no more.
    StartQueued { release: ReleaseId, ring: RingName, queued: bool },
    /// What the server's settings limit from now on.
    LimitsSet { limits: Limits },
    /// A cluster is back at its known good.
    ClusterRestored { release: ReleaseId, ring: RingName, cluster: ClusterName },
    /// A rule that nobody can waive stands against taking a cluster back; without a `why`, no more.
    RestoreDenied { release: ReleaseId, ring: RingName, cluster: ClusterName, why: Option<String> },
    /// A cluster cannot be taken back by ringward; somebody must.
    ClusterStuck { release: ReleaseId, ring: RingName, cluster: ClusterName, cause: String },
    /// The ring is back; the version may not come again by itself.
    RingRolledBack { release: ReleaseId, ring: RingName },
    /// A newer release took the ring before this one started there.
    RingSuperseded { release: ReleaseId, ring: RingName, by: Version },
    /// The release was ended.
    Aborted { release: ReleaseId, by: Actor, reason: Option<String>, hold: bool },
    /// The release is over on the ring.
    RingAborted { release: ReleaseId, ring: RingName },
    /// A new attempt was asked for.
    Retried { release: ReleaseId, ring: RingName, by: Actor, reason: Option<String> },

    /// A release goes by its plan's hotfix lane: by this, from its admission on.
    LaneTaken { release: ReleaseId, plan: Arc<Plan> },
    /// The lane is over for these rings, which the release had not started: it goes by this now.
    LaneLapsed { release: ReleaseId, rings: Vec<RingName>, plan: Arc<Plan> },
    /// What the lane leaves out on a ring, to be made up for.
    DebtRecorded { release: ReleaseId, ring: RingName, debt: Debt },
    /// It was made up for.
    DebtPaid { release: ReleaseId, ring: RingName, debt: Debt },
    /// There is nothing left to make up for: the release is not what runs there any more.
    DebtDropped { release: ReleaseId, ring: RingName, debt: Debt, why: String },
    /// Somebody answers for it instead.
    DebtWrittenOff { release: ReleaseId, ring: RingName, debt: Debt, by: Actor, reason: String },
    /// What is declared of these clusters from now on; nothing for one that is declared no more.
    PlacesDeclared { clusters: BTreeMap<ClusterName, Option<Place>> },
    /// The members of these blocs from now on; nothing for one that is declared no more.
    BlocsDeclared { blocs: BTreeMap<Jurisdiction, Option<BTreeSet<Jurisdiction>>> },
    /// What a cluster says of itself.
    ClusterWitnessed { cluster: ClusterName, witness: Witness },
    /// Where the server stands, by its settings.
    HomeStated { home: Home },
    /// A deploy that is out and not known to have arrived was called back: a rule forbids it now.
    DeployRecalled { release: ReleaseId, ring: RingName, cluster: ClusterName, why: String },

    /// Somebody asked that a residency rule shall not bind for a time.
    WaiverAsked { plan: PlanName, id: WaiverId, waiver: Waiver, by: Actor },
    /// Somebody agreed to it.
    WaiverApproved { plan: PlanName, id: WaiverId, by: Actor },
    /// Somebody ended it.
    WaiverRevoked { plan: PlanName, id: WaiverId, by: Actor, reason: Option<String> },
    /// Its rule is another one now: nobody has agreed to do without that.
    WaiverVoided { plan: PlanName, id: WaiverId, why: String },
}

/// What a waiver takes out of force, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiver {
    /// The rule's id.
    pub rule: String,
    /// The document that declares it.
    pub policy: Option<PolicyName>,
    /// What the rule said: no other is waived.
    pub content: Hash,
    /// For this release only.
    pub release: Option<Version>,
    /// On this ring only.
    pub ring: Option<RingName>,
    /// When it ends by itself.
    pub until: Timestamp,
    /// Why.
    pub reason: String,
}

/// What a hotfix did without on a ring.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Debt {
    /// The gate held nothing. It is measured until it has passed for as long as the ring's own soak asks.
    Gate(GateName),
    /// The ring was started before this one had passed.
    Ahead(RingName),
}

/// What an approval agrees to; it counts only while all of it is still so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// What is deployed.
    pub artifact: Artifact,
    /// The policy snapshot.
    pub policy: Hash,
    /// The ring's clusters.
    pub clusters: Vec<ClusterName>,
    /// The attempt that it lets start.
    pub attempt: u32,
}

/// A measurement with its verdict and the figures behind it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// The verdict.
    pub verdict: Verdict,
    /// What was measured, where there was a number.
    #[serde(with = "figure::option", default)]
    pub value: Option<f64>,
    /// The samples behind it.
    #[serde(with = "figure::option", default)]
    pub samples: Option<f64>,
    /// What it was compared with: the bound, or the baseline.
    #[serde(with = "figure::option", default)]
    pub against: Option<f64>,
    /// One sentence with the figures, such as `0.412 > 0.4`.
    pub detail: String,
    /// The figures on the way to the verdict, each under its name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub figures: Vec<Figure>,
    /// What later measurements are judged with, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Kept>,
    /// What the metric source remarked of its answer, in its own words: the first three, each cut. No verdict rests
    /// on it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub infos: Vec<String>,
}

impl Judged {
    /// A verdict without a figure.
    pub fn new(verdict: Verdict, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        let (value, samples, against) = (None, None, None);
        let (figures, infos) = (Vec::new(), Vec::new());
        Self { verdict, value, samples, against, detail, figures, kept: None, infos }
    }

    /// The verdict alone, for where figures must not go; in these words.
    pub fn without_figures(&self, detail: impl Into<String>) -> Self {
        Self::new(self.verdict, detail)
    }
}

/// A figure that a verdict rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// What it is, such as `logE`.
    pub name: String,
    /// The number.
    #[serde(with = "figure")]
    pub value: f64,
}

/// What one measurement leaves to the judgement of later ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Kept {
    /// A sample of the release, and the control's of the same instant where it is measured beside it.
    Sample {
        /// The release's.
        #[serde(with = "figure")]
        experiment: f64,
        /// The control's.
        #[serde(with = "figure::option", default)]
        control: Option<f64>,
    },
    /// What was counted since the measurement before.
    Counted(Interval),
}

/// What is asked once, and judged with from then on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Taken {
    /// The control's samples from before the deploy.
    Control(Vec<f64>),
    /// The overdispersion of the stable population's errors.
    Phi(f64),
}

impl Taken {
    /// Whether it is made of samples, one by one.
    pub fn is_a_series(&self) -> bool {
        match self {
            Taken::Control(_) => true,
            Taken::Phi(_) => false,
        }
    }

    /// What kind of thing it is, without its figures.
    pub fn without_figures(&self) -> Self {
        match self {
            Taken::Control(_) => Taken::Control(Vec::new()),
            Taken::Phi(_) => Taken::Phi(f64::NAN),
        }
    }
}

/// What a gate says. Only Pass advances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Verdict {
    /// Measured, enough samples, inside its bounds.
    Pass,
    /// Measured, enough samples, outside its bounds.
    Fail,
    /// Measured, too little for the judge.
    Insufficient,
    /// No series, NaN, or too old.
    Absent,
    /// No usable answer.
    Error,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Verdict::Pass => "Pass",
            Verdict::Fail => "Fail",
            Verdict::Insufficient => "Insufficient",
            Verdict::Absent => "Absent",
            Verdict::Error => "Error",
        })
    }
}

/// Why a request is refused; the API's problem types and the scenarios' `refused` use these names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// The author approves their own release.
    SelfApproval,
    /// Not theirs to ask for.
    NotAuthorised,
    /// The version was rolled back there.
    Tombstoned,
    /// A residency rule forbids it.
    ResidencyViolation,
    /// The version exists.
    DuplicateRelease,
    /// It is over.
    AlreadyTerminal,
    /// It is no longer as the one who asks saw it.
    StaleState,
    /// No such plan or release.
    UnknownRelease,
    /// No such ring.
    UnknownRing,
    /// The key was used for something else.
    IdempotencyConflict,
    /// The plan's declarations are in error, or it is not declared.
    PlanInError,
    /// Nothing would change.
    NothingToDo,
    /// It requires what can never have passed.
    ImpossibleRequirement,
    /// It asks for a reason, and none was given.
    ReasonMissing,
    /// Nobody can waive the rule.
    HardRule,
    /// The plan has no such residency rule.
    UnknownRule,
    /// No such waiver.
    UnknownWaiver,
    /// It would end too late, or has ended.
    ExpiryOutOfRange,
}

impl Refusal {
    /// The name that people and programs read, in kebab case.
    pub fn name(self) -> &'static str {
        match self {
            Refusal::SelfApproval => "self-approval",
            Refusal::NotAuthorised => "not-authorised",
            Refusal::Tombstoned => "tombstoned",
            Refusal::ResidencyViolation => "residency-violation",
            Refusal::DuplicateRelease => "duplicate-release",
            Refusal::AlreadyTerminal => "already-terminal",
            Refusal::StaleState => "stale-state",
            Refusal::UnknownRelease => "unknown-release",
            Refusal::UnknownRing => "unknown-ring",
            Refusal::IdempotencyConflict => "idempotency-conflict",
            Refusal::PlanInError => "plan-in-error",
            Refusal::NothingToDo => "nothing-to-do",
            Refusal::ImpossibleRequirement => "impossible-requirement",
            Refusal::ReasonMissing => "reason-missing",
            Refusal::HardRule => "hard-rule",
            Refusal::UnknownRule => "unknown-rule",
            Refusal::UnknownWaiver => "unknown-waiver",
            Refusal::ExpiryOutOfRange => "expiry-out-of-range",
        }
    }
}

/// What an operator is answered, after it is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reply {
    /// It is so.
    Done {
        /// Forward effects of the scope that are already on their way and cannot be called back.
        in_flight: Vec<IdempotencyKey>,
    },
    /// It is not so, and why.
    Refused {
        /// The type of refusal.
        kind: Refusal,
        /// What is in the way, and what to do.
        detail: String,
    },
}
