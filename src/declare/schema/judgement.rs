//! How a ring is judged: policies, gates and their templates.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Unread,
    scalar::{Baseline, Concurrency, Count, Duration, Gates, Literal, Share, Text},
    words::{Direction, OnBreach, OnNoData, RollbackScope, Signal},
};

/// How a ring is judged.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RingPolicy {
    /// The policy whose fields stand where this one has none.
    pub extends: Option<Text>,
    /// How long the ring must run healthily.
    pub soak: Option<Soak>,
    /// How long a target may take to be ready (15m).
    pub deadline: Option<Duration>,
    /// Clusters that deploy at once: a number or a percentage (1).
    pub concurrency: Option<Concurrency>,
    /// How many clusters may fail without failing the ring.
    pub failure_budget: Option<FailureBudget>,
    /// What is measured, or `none`.
    pub gates: Option<Gates>,
    /// What happens when the ring fails.
    pub rollback: Option<Rollback>,
    /// When the ring may start: names of Calendars, all of which must be open.
    pub calendars: Option<Vec<Text>>,
    /// Who must agree before the ring starts.
    pub approvals: Option<Approvals>,
    /// How long a release in motion is safe from being replaced.
    pub min_dwell: Option<Duration>,
    /// How long a ring that passed is still measured: a breach takes its pass away (0s).
    pub after_watch: Option<Duration>,
    /// Whether time away is measured from history; not done by this version.
    pub backfill: Option<bool>,
}

/// The soak of a ring.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Soak {
    /// Healthy time to be credited.
    pub duration: Option<Duration>,
    /// What a failing measurement within its limit does (reset).
    pub on_breach: Option<OnBreach>,
}

/// How much may fail.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FailureBudget {
    /// So many clusters of the ring (0).
    pub clusters: Option<Count>,
}

/// What happens when a ring fails.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rollback {
    /// Whether it goes back by itself (true).
    pub automatic: Option<bool>,
    /// Which rings go back with it, of those where the release is out (ring: none but itself).
    pub scope: Option<RollbackScope>,
    /// Clusters of the ring that go back at once: a number or a percentage (all of them).
    pub concurrency: Option<Concurrency>,
}

/// Who must agree before a ring starts.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Approvals {
    /// How many distinct people (1).
    pub count: Option<Count>,
    /// Any of these roles (approver).
    pub roles: Option<Vec<Text>>,
    /// Where they must belong to: a country or a bloc.
    pub jurisdiction: Option<Text>,
    /// Whether the release's author is excluded (true).
    pub exclude_author: Option<bool>,
    /// How long an approval is good for.
    pub expires: Option<Duration>,
}

/// A measurement on each cluster of a ring, and how it is judged.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gate {
    /// Its name inside the policy.
    #[schemars(required)]
    pub name: Option<Text>,
    /// The GateTemplate that it measures.
    #[schemars(required)]
    pub template: Option<Text>,
    /// Values for the template's arguments.
    #[serde(default)]
    pub args: BTreeMap<String, Literal>,
    /// The time between two measurements (1m).
    pub interval: Option<Duration>,
    /// The time from the start of the soak to the first measurement (0s).
    pub initial_delay: Option<Duration>,
    /// Inside bounds.
    pub threshold: Option<Threshold>,
    /// Not much worse than a baseline.
    pub relative: Option<Relative>,
    /// Fewer samples than this make a single measurement Insufficient.
    pub min_samples: Option<f64>,
    /// The samples needed over the whole soak.
    pub min_total_samples: Option<f64>,
    /// The age beyond which a sample is Absent (2 x interval + 15s).
    pub max_age: Option<Duration>,
    /// More failing measurements than this fail the ring (0).
    pub failure_limit: Option<Count>,
    /// More failing measurements in a row than this fail the ring.
    pub consecutive_failure_limit: Option<Count>,
    /// More errors in a row than this hold the ring and alert (4).
    pub consecutive_error_limit: Option<Count>,
    /// What happens after noDataDeadline without a usable measurement (hold).
    pub on_no_data: Option<OnNoData>,
    /// How long a gate may go without a usable measurement (30m).
    pub no_data_deadline: Option<Duration>,
    /// Whether it can hold or fail the ring (true), or is a dry run.
    pub required: Option<bool>,
    /// For display only.
    pub unit: Option<Text>,
    /// A judge that this version cannot evaluate.
    #[schemars(with = "Option<serde_json::Value>")]
    pub mann_whitney: Unread,
    /// A judge that this version cannot evaluate.
    #[schemars(with = "Option<serde_json::Value>")]
    pub sequential: Unread,
    /// A judge that this version cannot evaluate.
    #[schemars(with = "Option<serde_json::Value>")]
    pub burn_rate: Unread,
    /// A judge that this version cannot evaluate.
    #[schemars(with = "Option<serde_json::Value>")]
    pub alerts: Unread,
    /// A judge that this version cannot evaluate.
    #[schemars(with = "Option<serde_json::Value>")]
    pub webhook: Unread,
    /// A judge that this version cannot evaluate.
    #[schemars(with = "Option<serde_json::Value>")]
    pub kubernetes: Unread,
}

/// Bounds, both inclusive.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Threshold {
    /// The least value that passes.
    pub min: Option<f64>,
    /// The greatest value that passes.
    pub max: Option<f64>,
}

/// A comparison with a baseline.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Relative {
    /// What it is compared with.
    #[schemars(required)]
    pub baseline: Option<Baseline>,
    /// By how much it may be worse.
    #[schemars(required)]
    pub max_degradation: Option<Share>,
    /// Which way is worse.
    #[schemars(required)]
    pub direction: Option<Direction>,
    /// Differences up to this, in the unit of the measurement, are ignored (0).
    pub floor: Option<f64>,
}

/// A named, parameterised measurement.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GateTemplate {
    /// What kind of signal it reads.
    #[schemars(required)]
    pub signal: Option<Signal>,
    /// The metric source of that name on each cluster.
    #[schemars(required)]
    pub provider: Option<Text>,
    /// The arguments that its queries name as `{{name}}`.
    #[serde(default)]
    pub args: Vec<Argument>,
    /// The query that answers with one number.
    #[schemars(required)]
    pub query: Option<Text>,
    /// The query that counts the samples behind it since the last measurement.
    pub samples: Option<Text>,
}

/// An argument of a template.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Argument {
    /// Its name.
    #[schemars(required)]
    pub name: Option<Text>,
    /// Its value where a gate gives none; without one, every gate must.
    pub default: Option<Literal>,
}
