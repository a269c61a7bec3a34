//! Where and when: residency rules and calendars.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    scalar::{Count, Duration, Mirror, Moment, Text},
    words::{AppliesTo, Disclose, Enforcement, InFlight},
};

/// Residency rules.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResidencyPolicy {
    /// The rules.
    #[schemars(required)]
    pub rules: Option<Vec<ResidencyRule>>,
}

/// One residency rule: an id, how it is enforced, and exactly one demand.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResidencyRule {
    /// The id that its owner gives it, such as GDPR-1.
    #[schemars(required)]
    pub id: Option<Text>,
    /// Whether it can be waived.
    #[schemars(required)]
    pub enforcement: Option<Enforcement>,
    /// Whether a rule that concerns nothing is what is wanted (false).
    pub allow_empty: Option<bool>,
    /// Every cluster of the plan that serves the class lies in the jurisdiction.
    pub class_within: Option<ClassWithin>,
    /// Every cluster of the rings lies in the jurisdiction.
    pub targets_within: Option<Targets>,
    /// No cluster of the rings lies in the jurisdiction.
    pub targets_outside: Option<Targets>,
    /// A ring spans one jurisdiction only.
    pub homogeneous: Option<Homogeneous>,
    /// Every ring in the jurisdiction comes after a ring outside it.
    pub not_first_in: Option<Within>,
    /// Neither ring waits for the other, nor is judged on its evidence.
    pub independent: Option<Independent>,
    /// At most so many rings of the jurisdiction in motion.
    pub max_in_flight: Option<MaxInFlight>,
    /// Failover partners are never in motion together.
    pub pair_exclusive: Option<PairExclusive>,
    /// Metric endpoints lie in the jurisdiction.
    pub evidence_within: Option<EvidenceWithin>,
    /// Clusters of the jurisdiction pull images from registries in it.
    pub pull_within: Option<PullWithin>,
    /// Of those who approve a ring of the jurisdiction, so many belong to it.
    pub approver_within: Option<ApproverWithin>,
    /// What the server keeps about the jurisdiction's rings lies in it.
    pub state_within: Option<Within>,
}

/// A class of data and where it must stay.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClassWithin {
    /// The class of data.
    #[schemars(required)]
    pub class: Option<Text>,
    /// A country or a bloc.
    #[schemars(required)]
    pub jurisdiction: Option<Text>,
}

/// Rings and where their clusters lie.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Targets {
    /// The rings; all of them unless given.
    #[serde(default)]
    pub rings: Vec<Text>,
    /// A country or a bloc.
    #[schemars(required)]
    pub jurisdiction: Option<Text>,
}

/// Rings of one jurisdiction each.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Homogeneous {
    /// The rings; all of them unless given.
    #[serde(default)]
    pub rings: Vec<Text>,
}

/// A jurisdiction.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Within {
    /// A country or a bloc.
    #[schemars(required)]
    pub jurisdiction: Option<Text>,
}

/// Two rings that must not depend on each other.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Independent {
    /// One ring.
    #[schemars(required)]
    pub a: Option<Text>,
    /// The other.
    #[schemars(required)]
    pub b: Option<Text>,
}

/// A cap on rings in motion.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MaxInFlight {
    /// A country or a bloc.
    #[schemars(required)]
    pub jurisdiction: Option<Text>,
    /// How many.
    #[schemars(required)]
    pub rings: Option<Count>,
}

/// It has no parameters; written `{}`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PairExclusive {}

/// Where evidence stays, and what may leave.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EvidenceWithin {
    /// A country or a bloc.
    #[schemars(required)]
    pub jurisdiction: Option<Text>,
    /// What may leave it.
    #[schemars(required)]
    pub disclose: Option<Disclose>,
}

/// Where those who approve belong to.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApproverWithin {
    /// A country or a bloc.
    #[schemars(required)]
    pub jurisdiction: Option<Text>,
    /// How many of them.
    #[schemars(required)]
    pub count: Option<Count>,
}

/// Where images are pulled from.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PullWithin {
    /// A country or a bloc.
    #[schemars(required)]
    pub jurisdiction: Option<Text>,
    /// The registries: an image of another is rewritten to the first of these that lies there. A mere
    /// host is one that the rule's owner vouches for.
    #[schemars(required)]
    pub registries: Option<Vec<Mirror>>,
}

/// A registry and where it lies.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Registry {
    /// Its host, and the path that it mirrors under, such as registry.eu.example/mirror.
    #[schemars(required)]
    pub host: Option<Text>,
    /// The country that it lies in: an ISO 3166-1 alpha-2 code. Not said is not known.
    pub jurisdiction: Option<Text>,
}

/// Windows and freezes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Calendar {
    /// An IANA time zone, such as Europe/Dublin.
    #[schemars(required)]
    pub time_zone: Option<Text>,
    /// Where there are any, it is open only while one of them is.
    #[serde(default)]
    pub allow: Vec<Allow>,
    /// While one of them holds, it is closed.
    #[serde(default)]
    pub deny: Vec<Deny>,
    /// What is held while it is closed (start, advance).
    pub applies_to: Option<Vec<AppliesTo>>,
    /// What happens to a ring that is under way when it closes (finishCluster).
    pub in_flight: Option<InFlight>,
}

/// A window that opens again and again.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Allow {
    /// When it opens: six fields, seconds first, or five.
    #[schemars(required)]
    pub cron: Option<Text>,
    /// How long it stays open.
    #[schemars(required)]
    pub duration: Option<Duration>,
}

/// A stretch of time in which nothing goes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Deny {
    /// Its first instant.
    #[schemars(required)]
    pub from: Option<Moment>,
    /// The first instant after it.
    #[schemars(required)]
    pub to: Option<Moment>,
    /// Why, for people.
    pub reason: Option<Text>,
}
