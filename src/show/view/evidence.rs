//! The evidence of a release: what it rests on, for somebody who was not there and trusts nobody's word.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    FigureView, GateSpecView, QuestionView, ReleaseView, RingSpecView, VerificationView, WaiverView,
};
use crate::{
    decide::{event::Actor, fact::Verdict, phase::RingPhase, waiting::HoldKind},
    ids::{
        ClusterName, Commit, GateName, Hash, Jurisdiction, PolicyName, Principal, Region, RingName,
    },
    model::{
        residency::{Enforcement, Home},
        ring::Artifact,
        time::Span,
    },
};

/// All that the journal says about one release, in one document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EvidenceView {
    /// `ringward.dev/evidence/v1`
    pub format: String,
    /// When this document was made.
    #[schema(value_type = String, format = DateTime)]
    pub made_at: Timestamp,
    /// The version of ringward that made it.
    pub made_by: String,
    /// For whom it was made.
    pub made_for: Principal,
    /// The release as it stood then.
    pub release: ReleaseView,
    /// What it went by.
    pub policy: PolicyEvidence,
    /// Ring by ring, in the plan's order.
    pub rings: Vec<RingEvidence>,
    /// What people decided: approvals, rejections, pauses, freezes, overrides, waivers.
    pub decisions: Bounded<DecisionEvidence>,
    /// Everything that held it, and what ended each.
    pub holds: Bounded<HoldEvidence>,
    /// What was asked about it and refused.
    pub refusals: Bounded<RefusalEvidence>,
    /// What was known of places.
    pub residency: ResidencyEvidence,
    /// Everything recorded about it but measurements and the ticks of the soak.
    pub timeline: Bounded<EventEvidence>,
    /// Why this can be believed.
    pub chain: ChainEvidence,
}

/// A list that is not longer than it may be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Bounded<T: ToSchema> {
    /// The items, oldest first.
    pub items: Vec<T>,
    /// How many stand in the journal and not here.
    pub left_out: u64,
}

/// A place in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Mark {
    /// The entry's number.
    pub seq: u64,
    /// When it was decided.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The entry's hash.
    pub hash: Hash,
}

/// What a release went by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyEvidence {
    /// The commit that it was compiled from.
    pub commit: Commit,
    /// The hash that approvals are bound to.
    pub hash: Hash,
    /// The hash that it was admitted under; another one where the rules were tightened on the way, or a
    /// hotfix lane made its own of them.
    pub admitted_under: Option<Hash>,
    /// The entry that declared it, where it is still told apart.
    pub declared_in: Option<Mark>,
    /// The rings as declared.
    pub rings: Vec<RingSpecView>,
    /// The gates as declared.
    pub gates: Vec<GateSpecView>,
    /// The whole snapshot as the journal has it, but for the addresses of metric sources.
    #[schema(value_type = Object)]
    pub snapshot: Value,
}

/// A release on a ring.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RingEvidence {
    /// The ring.
    pub name: RingName,
    /// How far the release is there.
    pub phase: RingPhase,
    /// Its attempts, the first first.
    pub attempts: Vec<AttemptEvidence>,
}

/// One attempt on a ring.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttemptEvidence {
    /// Its number, from 1.
    pub attempt: u32,
    /// When it began.
    pub started: Mark,
    /// When every target was ready.
    pub soak_started: Option<Mark>,
    /// The healthy time that was credited since the soak last was at zero.
    pub credited: Span,
    /// The healthy time that was asked for.
    pub required: Span,
    /// How often the soak went back to zero.
    pub resets: u64,
    /// When it passed.
    pub passed: Option<Mark>,
    /// When the watch over it ended.
    pub watch_ended: Option<Mark>,
    /// When it failed.
    pub failed: Option<Mark>,
    /// Why it failed or went back.
    pub cause: Option<String>,
    /// When it began to go back.
    pub rollback_started: Option<Mark>,
    /// Who or what took it back.
    pub rolled_back_by: Option<Principal>,
    /// When it was back.
    pub rolled_back: Option<Mark>,
    /// When it was ended by an abort or a newer release.
    pub ended: Option<Mark>,
    /// Its clusters.
    pub clusters: Vec<ClusterEvidence>,
    /// Its gates, by cluster.
    pub gates: Vec<GateEvidence>,
}

/// A cluster in an attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterEvidence {
    /// The cluster.
    pub name: ClusterName,
    /// Its region, as the release was admitted.
    pub region: Option<Region>,
    /// The country whose law it is under, as the release was admitted.
    pub jurisdiction: Option<Jurisdiction>,
    /// Where it was known to lie when the attempt began, in words.
    pub place: String,
    /// When it was first ready at the artifact.
    pub ready: Option<Mark>,
    /// When it failed.
    pub failed: Option<Mark>,
    /// Why it failed or is stuck.
    pub cause: Option<String>,
    /// When it was back at its known good.
    pub restored: Option<Mark>,
    /// When it was found that it cannot be taken back.
    pub stuck: Option<Mark>,
}

/// What a gate said on a cluster during an attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GateEvidence {
    /// The gate.
    pub gate: GateName,
    /// The cluster.
    pub cluster: ClusterName,
    /// How many measurements there were, by verdict.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub verdicts: BTreeMap<Verdict, u64>,
    /// The least that was measured; missing where there was no number, or where it may not leave.
    #[schema(value_type = Option<f64>)]
    pub least: Option<FigureView>,
    /// The greatest that was measured.
    #[schema(value_type = Option<f64>)]
    pub greatest: Option<FigureView>,
    /// A residency rule keeps everything but the verdicts where they were measured.
    pub withheld: bool,
    /// What was asked the last time, as it was sent.
    pub asked: Vec<QuestionView>,
    /// The first and last measurements, and those that did not pass.
    pub measurements: Bounded<MeasuredEvidence>,
}

/// One measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MeasuredEvidence {
    /// The entry in which it was judged.
    pub seq: u64,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The verdict.
    pub verdict: Verdict,
    /// What was measured.
    #[schema(value_type = Option<f64>)]
    pub value: Option<FigureView>,
    /// The samples behind it.
    #[schema(value_type = Option<f64>)]
    pub samples: Option<FigureView>,
    /// What it was compared with.
    #[schema(value_type = Option<f64>)]
    pub against: Option<FigureView>,
    /// One sentence.
    pub detail: String,
}

/// Something that somebody decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecisionEvidence {
    /// Where it is recorded.
    pub mark: Mark,
    /// Its name, such as `approved`.
    pub what: String,
    /// The ring that it is about.
    pub ring: Option<RingName>,
    /// Who.
    pub by: Principal,
    /// Their roles then.
    pub roles: Vec<String>,
    /// Where they belonged to then.
    pub jurisdiction: Option<Jurisdiction>,
    /// In words, with the reason that was given.
    pub said: String,
    /// What an approval was bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound_to: Option<BindingEvidence>,
}

/// What an approval agrees to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BindingEvidence {
    /// What is deployed.
    pub artifact: Artifact,
    /// The policy's hash.
    pub policy: Hash,
    /// The ring's clusters.
    pub clusters: Vec<ClusterName>,
    /// The attempt.
    pub attempt: u32,
}

/// Something that held the release on a ring.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HoldEvidence {
    /// The ring.
    pub ring: RingName,
    /// Its kind.
    pub kind: HoldKind,
    /// What it was, in words, as it was first seen.
    pub message: String,
    /// The first entry at which it was so.
    pub from: Mark,
    /// The first entry at which it was so no more; missing where it holds still.
    pub until: Option<Mark>,
    /// What that entry says, in words; empty where time alone ended it.
    pub ended_by: Vec<String>,
}

/// Something that was asked and refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RefusalEvidence {
    /// Where it is recorded.
    pub mark: Mark,
    /// Who asked.
    pub by: Principal,
    /// What was asked.
    #[schema(value_type = Object)]
    pub asked: Value,
    /// The type of refusal.
    pub kind: String,
    /// Why.
    pub detail: String,
}

/// What was known of places.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResidencyEvidence {
    /// The rules that bind the release.
    pub rules: Vec<RuleEvidence>,
    /// Where each cluster of the plan was known to lie when the release was admitted, in words.
    #[schema(value_type = BTreeMap<String, String>)]
    pub admitted: BTreeMap<ClusterName, String>,
    /// The same by all that the journal says now.
    #[schema(value_type = BTreeMap<String, String>)]
    pub now: BTreeMap<ClusterName, String>,
    /// Where the server stood when the release was admitted, by its settings.
    #[schema(value_type = Object)]
    pub home: Home,
    /// Waivers that cover the release, those that ended included.
    pub waivers: Vec<WaiverView>,
}

/// A residency rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuleEvidence {
    /// Its id.
    pub id: String,
    /// The document that declares it.
    pub policy: Option<PolicyName>,
    /// Whether it can be waived.
    pub enforcement: Enforcement,
    /// What it demands.
    #[schema(value_type = Value)]
    pub demand: Value,
    /// Where it is declared.
    pub declared_at: String,
}

/// Something that is recorded about the release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventEvidence {
    /// Where.
    pub mark: Mark,
    /// Its name, such as `ringStarted`.
    pub what: String,
    /// The ring that it is about.
    pub ring: Option<RingName>,
    /// In words.
    pub said: String,
}

/// Why it can be believed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChainEvidence {
    /// The first entry about the release.
    pub first: Option<Mark>,
    /// The last entry about it.
    pub last: Option<Mark>,
    /// How many entries about it, or about what covers it, were read.
    pub entries: u64,
    /// What a walk over the whole journal found while this document was made.
    pub verified: VerificationView,
    /// Whether the holds could be told from the journal.
    pub holds_known: bool,
    /// How to verify it again.
    pub how: Vec<String>,
}

impl<T: ToSchema> Bounded<T> {
    /// Nothing.
    pub fn empty() -> Self {
        Self { items: Vec::new(), left_out: 0 }
    }
}

impl DecisionEvidence {
    /// What `by` decided.
    pub fn new(mark: Mark, what: &str, ring: Option<&RingName>, by: &Actor, said: String) -> Self {
        Self {
            mark,
            what: what.into(),
            ring: ring.cloned(),
            by: by.name.clone(),
            roles: by.roles.clone(),
            jurisdiction: by.jurisdiction.clone(),
            said,
            bound_to: None,
        }
    }
}
