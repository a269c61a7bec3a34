//! How a ring is judged: policies, gates and their templates.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    scalar::{Baseline, Concurrency, Count, Duration, Gates, Literal, Rate, Share, Text},
    words::{
        Direction, EffectMeasure, Nan, OnBreach, OnNoData, OutlierStrategy, RollbackScope, Signal,
        Worse,
    },
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
    /// Whether time that nobody observed, for ringward or a metric source was away, is made up for from
    /// history (false).
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
    /// The GateTemplate that it measures; alerts, webhook and kubernetes need none.
    pub template: Option<Text>,
    /// What kind of signal it reads, where it has no template to say so (errors for alerts, business for a
    /// webhook, saturation for kubernetes).
    pub signal: Option<Signal>,
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
    /// More failing measurements than this fail the ring (0, or any number where consecutiveFailureLimit is given).
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
    /// The traffic that it may count on in one cluster: `check` finds minimums that it never meets.
    pub traffic: Option<Traffic>,
    /// Samples of the release against samples of a control.
    pub mann_whitney: Option<MannWhitney>,
    /// Errors out of requests against the stable population's, at every peek.
    pub sequential: Option<Sequential>,
    /// Burn rates of a service level objective.
    pub burn_rate: Option<BurnRate>,
    /// No alert that matches fires.
    pub alerts: Option<Alerts>,
    /// A webhook says so.
    pub webhook: Option<Webhook>,
    /// The target's pods do well.
    pub kubernetes: Option<Kubernetes>,
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

/// The Mann-Whitney test of the release's measurements against a control's.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MannWhitney {
    /// Where the control is from: before, or stable by the template's query of that name.
    #[schemars(required)]
    pub baseline: Option<Baseline>,
    /// Which way is worse (either).
    pub direction: Option<Worse>,
    /// The share of the estimated shift that the interval must exceed (0.25).
    pub tolerance: Option<f64>,
    /// The confidence of the interval, between 0 and 1 (0.98).
    pub confidence: Option<f64>,
    /// How large the difference must be, however certain it is.
    pub effect_size: Option<Effect>,
    /// What becomes of samples that are not a number (remove).
    pub nan: Option<Nan>,
    /// What becomes of samples far from the others.
    pub outliers: Option<Outliers>,
    /// Fewer samples than this on either side are Insufficient (as many as the confidence needs).
    pub min_samples: Option<Count>,
}

/// How large an effect must be.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Effect {
    /// How it is measured (meanRatio).
    pub measure: Option<EffectMeasure>,
    /// The least increase that fails; by default any does.
    pub allowed_increase: Option<f64>,
    /// The most that fails as a decrease; by default any does.
    pub allowed_decrease: Option<f64>,
    /// The least increase that is critical.
    pub critical_increase: Option<f64>,
    /// The most that is critical as a decrease.
    pub critical_decrease: Option<f64>,
}

/// What becomes of samples far from the others.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Outliers {
    /// Whether they are kept (keep).
    pub strategy: Option<OutlierStrategy>,
    /// How many interquartile ranges away is far (3).
    pub factor: Option<f64>,
}

/// The sequential test of the release's error rate against the stable population's.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sequential {
    /// The chance of ever failing a healthy release, shared over the ring (0.01).
    pub alpha: Option<f64>,
    /// The ratio of error rates that is tolerated (1).
    pub r0: Option<f64>,
    /// Overdispersion, at least 1; by default it is estimated from the stable side's history.
    pub phi: Option<f64>,
    /// The ratio that a release must be shown to stay below before it passes (2).
    pub margin: Option<f64>,
}

/// Multi-window burn rates.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BurnRate {
    /// The share of good requests that is promised, such as 99.9%.
    #[schemars(required)]
    pub objective: Option<Share>,
    /// The pairs of windows (14.4 over 1h and 5m, 6 over 6h and 30m).
    pub windows: Option<Vec<Windows>>,
}

/// Two windows and the burn rate that fails them, when exceeded in both.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Windows {
    /// The burn rate.
    #[schemars(required)]
    pub rate: Option<f64>,
    /// The long window.
    #[schemars(required)]
    pub long: Option<Duration>,
    /// The short window.
    #[schemars(required)]
    pub short: Option<Duration>,
}

/// Alerts that must not fire, of Prometheus or of Alertmanager.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Alerts {
    /// The metric source of that name on each cluster (the template's, or else prometheus).
    pub provider: Option<Text>,
    /// By label, the value that an alert must have to count; names such as {{plan}} may stand in it.
    #[schemars(required)]
    pub matchers: Option<BTreeMap<String, Literal>>,
}

/// An endpoint that rules.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Webhook {
    /// The metric source of that name on each cluster, of type webhook (the template's).
    pub provider: Option<Text>,
}

/// The target's pods, as each cluster itself tells: every replica ready, none in a crash loop.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Kubernetes {
    /// More restarts of containers than this fail (0).
    pub max_restarts: Option<Count>,
}

/// The traffic that a gate may count on in one cluster.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Traffic {
    /// Requests to what the release runs on, such as 100/s.
    #[schemars(required)]
    pub requests: Option<Rate>,
    /// Requests to the stable population beside it.
    pub stable: Option<Rate>,
    /// The share of requests that usually fails, such as 0.1%.
    pub errors: Option<Share>,
}

/// Queries that count over the length of time that `{{interval}}` stands for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Counts {
    /// Requests to the release.
    #[schemars(required)]
    pub requests: Option<Text>,
    /// Those of them that failed, or were too slow.
    #[schemars(required)]
    pub errors: Option<Text>,
    /// Requests to the stable population beside it.
    pub stable_requests: Option<Text>,
    /// Those of them that failed, or were too slow.
    pub stable_errors: Option<Text>,
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
    /// The query that answers with one number; not needed where there are `counts`.
    pub query: Option<Text>,
    /// The query that counts the samples behind it since the last measurement; `counts.requests` where
    /// there are counts.
    pub samples: Option<Text>,
    /// The same figure of the stable population that runs beside the release.
    pub stable: Option<Text>,
    /// Requests and errors, for `sequential` and `burnRate`.
    pub counts: Option<Counts>,
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
