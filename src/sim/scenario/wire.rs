//! A scenario as it is written: exactly what may stand there, and nothing of what it means.

use std::{borrow::Cow, collections::BTreeMap, fmt::Display, str::FromStr};

use jiff::{SignedDuration, Timestamp};
use serde::{
    Deserialize, Deserializer,
    de::{Error, IntoDeserializer},
};
use serde_yaml::Value;

use crate::{
    decide::{
        command::Lane,
        fact::{Refusal, Verdict},
        part::{self, Role},
        phase::RingPhase,
        waiting::HoldKind,
    },
    ids::{
        ClusterName, FreezeId, GateName, IdempotencyKey, Jurisdiction, PlanName, PolicyName,
        Principal, Region, ReleaseId, RingName, Version, WaiverId,
    },
    model::{limits::Limits, policy::RollbackScope, residency::Home, time::Span},
    sim::notation::Values,
};

/// What reads itself from text, such as a phase.
#[derive(Debug, Clone)]
pub struct Parsed<T>(pub T);

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Parsed<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(d)?;
        text.parse().map(Parsed).map_err(D::Error::custom)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Document {
    /// Checked before.
    #[serde(rename = "apiVersion")]
    pub _api_version: Value,
    /// Checked before.
    #[serde(rename = "kind")]
    pub _kind: Value,
    pub metadata: Metadata,
    pub spec: Spec,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// What it shows, in words.
    pub name: String,
    #[serde(rename = "labels", default)]
    pub _labels: BTreeMap<String, String>,
    #[serde(rename = "annotations", default)]
    pub _annotations: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// The directory with rings/ and policies/ beneath it, from the scenario's own.
    pub source: String,
    /// What the wall clock says at the beginning.
    pub start: Timestamp,
    /// What runs everywhere, fully soaked.
    #[serde(default)]
    pub known: BTreeMap<PlanName, Version>,
    /// What the server's settings limit.
    #[serde(default)]
    pub limits: Limits,
    #[serde(default)]
    pub fleet: Fleet,
    #[serde(default)]
    pub metrics: Vec<Metric>,
    #[serde(default)]
    pub clusters: Vec<Cluster>,
    /// Where ringward itself stands, as the server's settings would say.
    #[serde(default)]
    pub place: Home,
    pub steps: Vec<Step>,
}

/// Whether the fleet does anything by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Fleet {
    /// It deploys, is seen and is measured.
    #[default]
    Simulated,
    /// It does nothing: only what steps say reaches ringward.
    Scripted,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metric {
    pub gate: GateName,
    pub cluster: Option<ClusterName>,
    pub plan: Option<PlanName>,
    /// What it answers of: the gate's own query where nothing is said, or a part that its judge asks.
    pub series: Option<Role>,
    pub values: Values,
    pub samples: Option<Values>,
    #[serde(default)]
    pub from: Span,
    pub every: Option<Span>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cluster {
    pub name: ClusterName,
    pub deploy_time: Option<Span>,
    #[serde(default)]
    pub unreachable: Vec<Stretch>,
    /// When its targets are not all ready, though nobody deploys.
    #[serde(default)]
    pub unready: Vec<Stretch>,
    /// Whether its targets keep no record of since when they have been ready.
    #[serde(default)]
    pub forgetful: bool,
    /// Versions that never become ready there.
    #[serde(default)]
    pub never_ready: Vec<Version>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Stretch {
    pub from: Span,
    #[serde(rename = "for")]
    pub length: Span,
}

/// One step: when, and one of what follows.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Step {
    pub at: Span,
    /// Makes a repeat of a request recognisable.
    pub key: Option<IdempotencyKey>,
    /// The revision of the plan that the one who asks saw.
    pub seen: Option<u64>,
    pub release: Option<Submit>,
    pub pause: Option<Pause>,
    pub resume: Option<Pause>,
    pub approve: Option<Approve>,
    pub reject: Option<Approve>,
    pub abort: Option<Abort>,
    pub retry: Option<Override>,
    pub rollback: Option<Rollback>,
    pub advance: Option<Override>,
    pub freeze: Option<Freeze>,
    pub lift: Option<Lift>,
    pub write_off: Option<Override>,
    pub waive: Option<Waive>,
    pub revoke: Option<Revoke>,
    pub edit: Option<Edit>,
    pub restart: Option<Restart>,
    pub clock: Option<ClockStep>,
    pub drift: Option<Drift>,
    pub hear: Option<Hear>,
    pub expect: Option<Expect>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Submit {
    pub plan: PlanName,
    pub version: Version,
    /// The version whose content is deployed, where it is not its own.
    pub content: Option<Version>,
    pub author: Option<Principal>,
    pub by: Option<Principal>,
    #[serde(default)]
    pub roles: Vec<String>,
    #[serde(default)]
    pub lane: Lane,
    pub reason: Option<String>,
    #[serde(default)]
    pub irreversible: bool,
    pub requires: Option<Requires>,
}

/// `2.13.0`, or `{release: 2.13.0, rings: all}`.
#[derive(Debug)]
pub struct Requires(pub Version);

impl<'de> Deserialize<'de> for Requires {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        struct Long {
            release: Version,
            #[serde(rename = "rings")]
            _rings: Option<All>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        enum All {
            All,
        }
        let written = Value::deserialize(d)?;
        if let Value::String(version) = written {
            return Ok(Self(version.into()));
        }
        Long::deserialize(written).map(|long| Self(long.release)).map_err(D::Error::custom)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pause {
    pub plan: Option<PlanName>,
    pub ring: Option<RingName>,
    pub release: Option<ReleaseId>,
    pub jurisdiction: Option<Jurisdiction>,
    #[serde(default)]
    pub everything: bool,
    pub by: Option<Principal>,
    #[serde(default)]
    pub roles: Vec<String>,
    pub reason: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Approve {
    /// A release on a ring, or a waiver of a plan.
    pub release: Option<ReleaseId>,
    pub ring: Option<RingName>,
    pub plan: Option<PlanName>,
    pub waiver: Option<WaiverId>,
    pub by: Principal,
    pub jurisdiction: Option<Jurisdiction>,
    #[serde(default)]
    pub roles: Vec<String>,
    pub reason: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Waive {
    pub id: Option<WaiverId>,
    /// For a plan, or for one release of it.
    pub plan: Option<PlanName>,
    pub release: Option<ReleaseId>,
    pub ring: Option<RingName>,
    pub rule: String,
    pub policy: Option<PolicyName>,
    /// How long it lasts.
    #[serde(rename = "for")]
    pub length: Option<Span>,
    /// An instant, or a time of the scenario such as `3h`.
    pub until: Option<String>,
    pub by: Option<Principal>,
    #[serde(default)]
    pub roles: Vec<String>,
    pub reason: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Revoke {
    pub plan: PlanName,
    pub waiver: WaiverId,
    pub by: Option<Principal>,
    #[serde(default)]
    pub roles: Vec<String>,
    pub reason: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Abort {
    pub release: ReleaseId,
    #[serde(default)]
    pub hold: bool,
    pub by: Option<Principal>,
    #[serde(default)]
    pub roles: Vec<String>,
    pub reason: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rollback {
    pub release: ReleaseId,
    pub ring: Option<RingName>,
    pub scope: Option<RollbackScope>,
    pub by: Option<Principal>,
    #[serde(default)]
    pub roles: Vec<String>,
    pub reason: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Override {
    pub release: ReleaseId,
    pub ring: Option<RingName>,
    pub by: Option<Principal>,
    #[serde(default)]
    pub roles: Vec<String>,
    pub reason: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Freeze {
    pub id: Option<FreezeId>,
    pub plan: Option<PlanName>,
    pub jurisdiction: Option<Jurisdiction>,
    #[serde(default)]
    pub everything: bool,
    /// An instant, or a time of the scenario such as `3h`.
    pub until: Option<String>,
    pub by: Option<Principal>,
    #[serde(default)]
    pub roles: Vec<String>,
    pub reason: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Lift {
    pub id: FreezeId,
    pub by: Option<Principal>,
    #[serde(default)]
    pub roles: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Edit {
    /// A file of the source, and all that it now says.
    pub file: Option<String>,
    pub content: Option<String>,
    /// A whole document, in the place of the one of its kind and name.
    pub document: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Restart {
    #[serde(default)]
    pub down: Span,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClockStep {
    pub jump: Parsed<Jump>,
}

/// A length of time with a sign.
#[derive(Debug, Clone, Copy)]
pub struct Jump(pub SignedDuration);

impl FromStr for Jump {
    type Err = crate::model::time::NotASpan;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix('-') {
            Some(back) => back.parse::<Span>().map(|span| Self(-span.to_signed())),
            None => text.trim_start_matches('+').parse::<Span>().map(|s| Self(s.to_signed())),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Drift {
    pub cluster: ClusterName,
    pub plan: Option<PlanName>,
    pub running: Option<Version>,
    /// What its nodes say, against what is declared or with it again.
    pub region: Option<Region>,
    pub jurisdiction: Option<Jurisdiction>,
}

/// Something that ringward hears: of a target, a write or a measurement.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hear {
    pub target: Option<HearTarget>,
    /// What a writer found before the first write.
    pub found: Option<HearTarget>,
    pub write: Option<HearWrite>,
    pub measure: Option<HearMeasure>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HearTarget {
    pub plan: PlanName,
    pub cluster: ClusterName,
    pub status: StatusWord,
    /// How far it is, or why.
    #[serde(default)]
    pub why: String,
    pub running: Option<Version>,
    /// The key of the write that the target carries.
    pub intent: Option<IdempotencyKey>,
    pub revision: Option<String>,
    /// Since when it has been ready, by its own record.
    pub ready_since: Option<Timestamp>,
    /// The pause of its controller's own that it stands at, where it is Paused.
    pub pause: Option<crate::decide::event::Pause>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub enum StatusWord {
    Pending,
    Progressing,
    Paused,
    Succeeded,
    Failed,
    Unknown,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HearWrite {
    /// `plan@version/ring/cluster/attempt/deploy` or `…/restore`.
    pub key: IdempotencyKey,
    pub outcome: OutcomeWord,
    #[serde(default)]
    pub why: String,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OutcomeWord {
    Done,
    Refused,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HearMeasure {
    /// `plan@version/ring/cluster/attempt/gate/n`.
    pub key: IdempotencyKey,
    pub value: Told,
    pub samples: Option<Told>,
    pub baseline: Option<Told>,
    #[serde(default)]
    pub parts: Vec<PartTold>,
}

/// The answer to a part of a measurement, as the core's own notation in JSON has it.
#[derive(Debug, Clone, PartialEq)]
pub struct PartTold(pub part::Told);

impl<'de> Deserialize<'de> for PartTold {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let written = serde_json::Value::deserialize(d)?;
        serde_json::from_value(written).map(Self).map_err(D::Error::custom)
    }
}

/// A number or `_`; `{is: 0.9, at: INSTANT}` where it is true of another instant than now, and
/// `{error: TEXT}`.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    Value { value: f64, at: Option<Timestamp> },
    Absent,
    Error(String),
}

impl<'de> Deserialize<'de> for Told {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        struct Long {
            is: Option<Value>,
            at: Option<Timestamp>,
            error: Option<String>,
        }
        let number = |value: &Value| {
            let text = value.as_str().and_then(|text| text.parse().ok());
            value.as_f64().or(text).filter(|number| !number.is_nan())
        };
        let wrong =
            || D::Error::custom("write a number, `_`, {is: 0.9, at: INSTANT} or {error: TEXT}");
        let written = Value::deserialize(d)?;
        match &written {
            Value::String(text) if text == "_" => Ok(Self::Absent),
            Value::Mapping(_) => {
                let long: Long = serde_yaml::from_value(written).map_err(D::Error::custom)?;
                match (long.is, long.error) {
                    (Some(is), None) => {
                        let value = number(&is).ok_or_else(wrong)?;
                        Ok(Self::Value { value, at: long.at })
                    }
                    (None, Some(error)) if long.at.is_none() => Ok(Self::Error(error)),
                    _ => Err(wrong()),
                }
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Sequence(_)
            | Value::Tagged(_) => {
                let value = number(&written).ok_or_else(wrong)?;
                Ok(Self::Value { value, at: None })
            }
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Expect {
    pub release: Option<ReleaseId>,
    pub ring: Option<RingName>,
    pub phase: Option<Parsed<RingPhase>>,
    pub soak: Option<Parsed<Range>>,
    pub held_by: Option<Vec<HoldKind>>,
    pub verdict: Option<ExpectVerdict>,
    pub cluster: Option<ClusterName>,
    pub plan: Option<PlanName>,
    pub running: Option<Version>,
    /// How the reference begins that it was pulled by.
    pub image: Option<String>,
    pub refused: Option<Parsed<RefusedAs>>,
    pub release_phase: Option<Parsed<crate::decide::phase::ReleasePhase>>,
    /// Phases of the ring, or of the release where no ring is named.
    pub never: Option<Vec<String>>,
    pub before: Option<Before>,
    pub audit: Option<Audit>,
    /// What a hotfix did without on the ring and owes, all of it: `gate orders`, `ahead of beta`.
    pub owes: Option<Vec<String>>,
    pub invariants: Option<Hold>,
}

/// Every invariant, at any time until then.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Hold {
    Hold,
}

/// Why a request is refused: a problem type, or the rule that forbids it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefusedAs {
    /// A problem type, such as `tombstoned`.
    Kind(Refusal),
    /// The id of a rule of a ResidencyPolicy, such as `GDPR-1`, or of a diagnostic, such as `DAG001`.
    Rule(String),
}

impl RefusedAs {
    /// Whether a refusal of that kind, in those words, is what is meant. A rule is told by its id, as a
    /// word of its own: `GDPR-1` is not `GDPR-10`.
    pub fn is(&self, kind: Refusal, detail: &str) -> bool {
        match self {
            RefusedAs::Kind(wanted) => *wanted == kind,
            RefusedAs::Rule(id) => detail.match_indices(id.as_str()).any(|(at, _)| {
                let part = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
                let after = detail[at + id.len()..].chars().next();
                !detail[..at].ends_with(part) && !after.is_some_and(part)
            }),
        }
    }
}

impl FromStr for RefusedAs {
    type Err = String;

    /// Problem types are written small; a rule's id has a capital or a figure in it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let kind = Refusal::deserialize(
            IntoDeserializer::<serde::de::value::Error>::into_deserializer(text),
        );
        match kind {
            Ok(kind) => Ok(Self::Kind(kind)),
            Err(_) if text.contains(|c: char| c.is_uppercase() || c.is_ascii_digit()) => {
                Ok(Self::Rule(text.into()))
            }
            Err(unknown) => Err(unknown.to_string()),
        }
    }
}

impl Display for RefusedAs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RefusedAs::Kind(kind) => f.pad(kind.name()),
            RefusedAs::Rule(id) => f.pad(id),
        }
    }
}

/// A length of time, or the least and the greatest of them, both included.
#[derive(Debug, Clone, Copy)]
pub struct Range {
    pub least: Span,
    pub most: Span,
}

impl FromStr for Range {
    type Err = crate::model::time::NotASpan;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (least, most) = text.split_once("..").unwrap_or((text, text));
        Ok(Self { least: least.trim().parse()?, most: most.trim().parse()? })
    }
}

impl Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.least == self.most {
            write!(f, "{}", self.least)
        } else {
            write!(f, "{}..{}", self.least, self.most)
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExpectVerdict {
    pub gate: GateName,
    pub cluster: Option<ClusterName>,
    pub is: Verdict,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Before {
    pub ring: RingName,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Audit {
    pub contains: String,
}
