//! Everything that can happen to the core, whatever its source.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{command::Lane, part::Told};
use crate::{
    ids::{
        ClusterName, Commit, FreezeId, IdempotencyKey, Jurisdiction, PlanName, PolicyName,
        Principal, ReleaseId, RingName, Version, WaiverId,
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

/// Something that happened. The core answers each with a [`super::Decision`].
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// This process became the writer; it is said once, before anything else.
    TookOver,
    /// The server's settings say so much of limits; it is said at every start.
    Limits(Limits),
    /// The source was read: at which commit, or why its head was not accepted.
    Source {
        /// The commit that was looked at.
        commit: Commit,
        /// Why it stays out of force, if it does.
        refused: Option<String>,
    },
    /// Something became known that residency rules ask for.
    Learned(News),
    /// What the accepted commit says of one plan.
    Declared {
        /// The plan.
        plan: PlanName,
        /// What is declared.
        declared: Declared,
    },
    /// The state of a plan's target in a cluster, as its adapter sees it now.
    Observed {
        /// The plan whose target it is.
        plan: PlanName,
        /// Where.
        cluster: ClusterName,
        /// What was seen.
        state: TargetState,
    },
    /// What ran in a target, healthy and under no intent, before the first write to it; a writer says so
    /// that wrote where nobody had looked.
    Found {
        /// The plan whose target it is.
        plan: PlanName,
        /// Where.
        cluster: ClusterName,
        /// What was there.
        state: TargetState,
    },
    /// How an effect ended; it comes once a command, unless ringward was killed in between.
    Outcome {
        /// The plan that the command was for.
        plan: PlanName,
        /// The command's key.
        key: IdempotencyKey,
        /// How it ended.
        outcome: Outcome,
    },
    /// The answer to a [`super::command::Measure`].
    Measured {
        /// The plan that the command was for.
        plan: PlanName,
        /// The command's key.
        key: IdempotencyKey,
        /// What was read.
        answer: Answer,
    },
    /// Somebody asks for something.
    Operator(Request),
    /// The source declares these releases of one plan. All of them are answered before any of them starts, so that
    /// of several that come at once nobody deploys one that another supersedes.
    Submitted {
        /// The plan.
        plan: PlanName,
        /// What is asked, the oldest version first.
        requests: Vec<Request>,
    },
    /// A time that the core had asked for has come.
    Wake {
        /// The plan that asked for it.
        plan: PlanName,
    },
}

/// What became known of places. The rules are asked anew: what a release started under was true then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// What the accepted commit says of every cluster that it declares; nothing for one that is in
    /// error, of which the last good declaration stays.
    Clusters(BTreeMap<ClusterName, Option<Place>>),
    /// What the accepted commit says of every bloc that it declares; nothing for one that is in error, of
    /// which the last good declaration stays.
    Blocs(BTreeMap<Jurisdiction, Option<BTreeSet<Jurisdiction>>>),
    /// What a cluster says of itself.
    Witness(ClusterName, Witness),
    /// What the server's settings say of itself.
    Home(Home),
}

/// What a commit says of a plan.
#[derive(Debug, Clone, PartialEq)]
pub enum Declared {
    /// It is valid.
    Valid(Arc<Plan>),
    /// It is in error: releases in motion go on, new ones are refused.
    Invalid(Vec<Problem>),
    /// It is no longer there.
    Withdrawn,
}

/// A diagnostic in the short form that the journal keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Its rule, such as `DAG001`.
    pub rule: String,
    /// `file:line:column`.
    pub place: String,
    /// What is wrong.
    pub message: String,
}

/// A target as its adapter sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetState {
    /// How far it is.
    pub status: Status,
    /// The image that its specification names, pinned by digest where the adapter could tell.
    pub image: Option<Artifact>,
    /// The intent that was last written to it: the fence. A status under another intent than ours
    /// says nothing about our write.
    pub intent: Option<IdempotencyKey>,
    /// What tells one deploy of the same image from the next, where the adapter can: a restart of the
    /// deploy changes it, and scaling does not.
    #[serde(default)]
    pub revision: Option<String>,
    /// Since when it has been ready without a break, by the target's own record, where the adapter can
    /// tell: any restart and any replacement of what runs there changes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_since: Option<Timestamp>,
    /// Where it is paused by its controller's own steps, and somebody's word ends that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
}

/// A pause of a controller's own, which ends at somebody's word and not by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// What tells it from every other pause of the target.
    pub id: String,
    /// Where it is, in words: `step 2 of 5`.
    pub at: String,
}

impl TargetState {
    /// The state of a target that cannot be seen, or not understood.
    pub fn unknown(why: impl Into<String>) -> Self {
        let status = Status::Unknown(why.into());
        Self { status, image: None, intent: None, revision: None, ready_since: None, pause: None }
    }

    /// Whether it is ready at `artifact`, written by `intent` and by nobody since.
    pub fn is_healthy(&self, artifact: &Artifact, intent: Option<&IdempotencyKey>) -> bool {
        self.status == Status::Succeeded
            && self.intent.as_ref() == intent
            && self.image.as_ref().is_some_and(|image| image.same_as(artifact))
    }

    /// Whether the target could be seen at all.
    pub fn is_visible(&self) -> bool {
        !matches!(self.status, Status::Unknown(_))
    }
}

/// How far a target is, for the generation that its specification has now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    /// Written, and its controller has not taken it up.
    Pending,
    /// Under way, or not all of it ready; in words.
    Progressing(String),
    /// Somebody paused it in the cluster.
    Paused,
    /// Every replica is ready at the image, and nothing of another image is left.
    Succeeded,
    /// Its controller gave up; in words.
    Failed(String),
    /// The cluster could not be asked, or its answer could not be understood; in words.
    Unknown(String),
}

/// How an effect ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// The target accepted it.
    Done,
    /// The target will never accept it: no consent, a field owned by another, a higher epoch, no such
    /// object; in words that say what to do.
    Refused(String),
}

/// What a metric source answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The gate's query.
    pub value: Reading,
    /// The samples query, where the gate has one.
    pub samples: Option<Reading>,
    /// The gate's query at the instant of the deploy, where it was asked for.
    pub baseline: Option<Reading>,
    /// What was told of the measurement's parts, each in its place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Told>,
    /// What the sources remarked of all that, in their own words; it changes no verdict.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub infos: Vec<String>,
}

/// One answer, read by the rules of gates.md.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reading {
    /// One finite or infinite number; never NaN.
    Value {
        /// The number.
        #[serde(with = "figure")]
        value: f64,
        /// The instant that it is true of.
        at: Timestamp,
    },
    /// No series, or NaN.
    Absent,
    /// No answer that can be used; in words, without the provider's body.
    Error(String),
}

/// Infinities survive JSON as text.
pub mod figure {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// Writes a finite number as a number and any other as text.
    pub fn serialize<S: Serializer>(value: &f64, s: S) -> Result<S::Ok, S::Error> {
        if value.is_finite() { s.serialize_f64(*value) } else { s.collect_str(value) }
    }

    /// Reads what [`serialize`] writes.
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<f64, D::Error> {
        struct Figure;
        impl serde::de::Visitor<'_> for Figure {
            type Value = f64;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number, `inf` or `-inf`")
            }
            fn visit_f64<E>(self, v: f64) -> Result<f64, E> {
                Ok(v)
            }
            fn visit_i64<E>(self, v: i64) -> Result<f64, E> {
                Ok(v as f64)
            }
            fn visit_u64<E>(self, v: u64) -> Result<f64, E> {
                Ok(v as f64)
            }
            fn visit_str<E: serde::de::Error>(self, v: &str) -> Result<f64, E> {
                v.parse().map_err(E::custom)
            }
        }
        d.deserialize_any(Figure)
    }

    /// The same for a number that may be missing.
    pub mod option {
        use super::{Deserialize, Deserializer, Serializer};

        /// Writes null where there is none.
        pub fn serialize<S: Serializer>(value: &Option<f64>, s: S) -> Result<S::Ok, S::Error> {
            match value {
                Some(value) => super::serialize(value, s),
                None => s.serialize_none(),
            }
        }

        /// Reads what [`serialize`] writes.
        pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<f64>, D::Error> {
            #[derive(Deserialize)]
            struct Wrapped(#[serde(with = "super")] f64);
            Ok(Option::<Wrapped>::deserialize(d)?.map(|w| w.0))
        }
    }

    /// The same for many numbers.
    pub mod list {
        use std::collections::VecDeque;

        use super::{Deserialize, Deserializer, Serialize, Serializer};

        #[derive(Serialize, Deserialize)]
        struct Wrapped(#[serde(with = "super")] f64);

        /// Writes one behind the other.
        pub fn serialize<'a, S: Serializer>(
            values: impl IntoIterator<Item = &'a f64>,
            s: S,
        ) -> Result<S::Ok, S::Error> {
            s.collect_seq(values.into_iter().map(|value| Wrapped(*value)))
        }

        /// Reads what [`serialize`] writes.
        pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<VecDeque<f64>, D::Error> {
            let values = Vec::<Wrapped>::deserialize(d)?;
            Ok(values.into_iter().map(|value| value.0).collect())
        }
    }

    /// The same for as many numbers as the type says.
    pub mod array {
        pub use super::list::serialize;
        use super::{Deserializer, list};

        /// Reads what [`serialize`] writes.
        pub fn deserialize<'de, const N: usize, D: Deserializer<'de>>(
            d: D,
        ) -> Result<[f64; N], D::Error> {
            let values: Vec<f64> = list::deserialize(d)?.into();
            let many = values.len();
            let wrong = |_| serde::de::Error::invalid_length(many, &"as many as were written");
            values.try_into().map_err(wrong)
        }
    }
}

/// A request of an operator, authenticated and authorised at the edge.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Who asks.
    pub by: Actor,
    /// What makes a repeat recognisable.
    pub key: Option<IdempotencyKey>,
    /// The revision of the plan's state that the one who asks saw: if it is no longer that, the
    /// request is refused as stale.
    pub seen: Option<u64>,
    /// What is asked for.
    pub action: Action,
}

/// Who asks, with what the edge knows about them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// Their name.
    pub name: Principal,
    /// Their roles.
    pub roles: Vec<String>,
    /// Where they belong to, if that is known.
    pub jurisdiction: Option<Jurisdiction>,
}

impl Actor {
    /// Whether nobody waits for what it is answered: a document of the source, or a source of releases. No name of a
    /// caller holds a colon.
    pub fn is_unheard(&self) -> bool {
        ["source:", "watch:"].iter().any(|kind| self.name.as_str().starts_with(kind))
    }
}

/// When something ends by itself: then, or so long from when it is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum End {
    /// At that instant.
    At(Timestamp),
    /// After that time, by the clock of who decides.
    In(Span),
}

impl End {
    /// The instant, where it is decided now.
    pub fn at(self, now: Timestamp) -> Timestamp {
        match self {
            End::At(at) => at,
            End::In(span) => now.saturating_add(span.to_signed()).unwrap_or(Timestamp::MAX),
        }
    }
}

/// What an operator can ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// A new release.
    Submit {
        /// Which.
        release: ReleaseId,
        /// What is deployed.
        artifact: Artifact,
        /// Who made it; the one who asks, where nobody else is named.
        author: Option<Principal>,
        /// By which lane it goes.
        lane: Lane,
        /// Why, for the audit.
        reason: Option<String>,
        /// Whether it can never be rolled back automatically.
        irreversible: bool,
        /// The version of the same plan that must have passed everywhere first.
        requires: Option<Version>,
    },
    /// No new forward effect in the scope.
    Pause {
        /// What stops.
        scope: Scope,
        /// Why.
        reason: Option<String>,
    },
    /// Takes a pause of exactly that scope away.
    Resume {
        /// What goes on.
        scope: Scope,
        /// Why.
        reason: Option<String>,
    },
    /// Agrees that a release enters a ring.
    Approve {
        /// Which release.
        release: ReleaseId,
        /// Which ring.
        ring: RingName,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Refuses that a release enters a ring.
    Reject {
        /// Which release.
        release: ReleaseId,
        /// Which ring.
        ring: RingName,
        /// Why.
        reason: Option<String>,
    },
    /// Ends a release everywhere, for good.
    Abort {
        /// Which release.
        release: ReleaseId,
        /// Leaves rings in motion as they are instead of taking them back.
        hold: bool,
        /// Why.
        reason: Option<String>,
    },
    /// A new attempt on a ring that failed or was rolled back; on all of them where none is named.
    Retry {
        /// Which release.
        release: ReleaseId,
        /// Which ring.
        ring: Option<RingName>,
        /// Why.
        reason: Option<String>,
    },
    /// Takes a release back: from a ring, or around the rings that failed.
    Rollback {
        /// Which release.
        release: ReleaseId,
        /// Which ring; where none is named, those that failed and still have it, and where none did,
        /// all that have it.
        ring: Option<RingName>,
        /// What goes back with it; where nothing is said, nothing with a ring that is named, and what
        /// its policy says with one that failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scope: Option<RollbackScope>,
        /// Why.
        reason: Option<String>,
    },
    /// Lets a newer release take a ring where the plan says `onNewer: manual`; on a ring in motion, lets
    /// targets go on that stand at a pause of their controllers' own.
    Advance {
        /// Which release.
        release: ReleaseId,
        /// Which ring.
        ring: RingName,
        /// Why.
        reason: Option<String>,
    },
    /// Stops the line.
    Freeze {
        /// Its id.
        id: FreezeId,
        /// What stops: everything, a jurisdiction or a plan.
        scope: Scope,
        /// When it ends by itself.
        until: Option<End>,
        /// Why.
        reason: String,
    },
    /// Ends a freeze.
    Lift {
        /// Which.
        id: FreezeId,
    },
    /// A token for emergencies is shown; what is asked with it is decided by itself.
    BreakGlass {
        /// The token's id.
        token: String,
        /// Why it was made.
        reason: String,
        /// What is asked with it: a method and a path.
        asked: String,
    },
    /// Answers for what a hotfix left out: on a ring, or everywhere where none is named.
    WriteOff {
        /// Which release.
        release: ReleaseId,
        /// Which ring.
        ring: Option<RingName>,
        /// Why that is good enough.
        reason: String,
    },
    /// That a residency rule shall not bind for a time. It does until enough others agree.
    Waive {
        /// Its id.
        id: WaiverId,
        /// Whose rule.
        plan: PlanName,
        /// The rule's id.
        rule: String,
        /// The document that declares it, where several of the plan's have that id.
        policy: Option<PolicyName>,
        /// For this release only; it may be one to come.
        release: Option<Version>,
        /// On this ring only.
        ring: Option<RingName>,
        /// When it ends by itself.
        until: End,
        /// Why.
        reason: String,
    },
    /// Agrees to a waiver.
    ApproveWaiver {
        /// Whose.
        plan: PlanName,
        /// Which.
        id: WaiverId,
    },
    /// Ends a waiver, or takes back that it was asked for.
    RevokeWaiver {
        /// Whose.
        plan: PlanName,
        /// Which.
        id: WaiverId,
        /// Why.
        reason: Option<String>,
    },
}

impl Action {
    /// The one plan that it is about, where it is about one.
    pub fn plan(&self) -> Option<&PlanName> {
        match self {
            Action::Submit { release, .. }
            | Action::Approve { release, .. }
            | Action::Reject { release, .. }
            | Action::Abort { release, .. }
            | Action::Retry { release, .. }
            | Action::Rollback { release, .. }
            | Action::Advance { release, .. }
            | Action::WriteOff { release, .. } => Some(&release.plan),
            Action::Pause { scope, .. }
            | Action::Resume { scope, .. }
            | Action::Freeze { scope, .. } => match scope {
                Scope::Everything | Scope::Jurisdiction(_) => None,
                Scope::Plan(plan) | Scope::Ring(plan, _) => Some(plan),
                Scope::Release(id) | Scope::ReleaseRing(id, _) => Some(&id.plan),
            },
            Action::Waive { plan, .. }
            | Action::ApproveWaiver { plan, .. }
            | Action::RevokeWaiver { plan, .. } => Some(plan),
            Action::Lift { .. } | Action::BreakGlass { .. } => None,
        }
    }
}

/// What a pause or a freeze covers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Scope {
    /// Every plan everywhere.
    Everything,
    /// Every ring with a cluster in that jurisdiction.
    Jurisdiction(Jurisdiction),
    /// One plan.
    Plan(PlanName),
    /// One ring of a plan, whatever release is on it.
    Ring(PlanName, RingName),
    /// One release.
    Release(ReleaseId),
    /// One release on one ring.
    ReleaseRing(ReleaseId, RingName),
}
