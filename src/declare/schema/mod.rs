//! The versioned types of the wire: exactly what may be written, and nothing of what it means.
//!
//! Every field may be absent here, because what must be there and what stands in for it is for
//! [`super::lower`] to say, with a place and a reason. No `untagged` and no `flatten`: they would turn
//! a precise mistake into "matches no variant".

pub mod scalar;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_yaml::Value;

use self::scalar::{Baseline, Count, Duration, Gates, Literal, Moment, Share, Text};
use crate::model;

/// The only version there is.
pub const API_VERSION: &str = "ringward.dev/v1alpha1";

/// A field whose content this version only recognises.
type Unread = Option<Value>;

macro_rules! kinds {
    ($($kind:ident in $folder:literal),* $(,)?) => {
        /// The kinds of document.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[expect(missing_docs, reason = "each is the wire type of its name")]
        pub enum Kind { $($kind),* }

        impl Kind {
            /// Every kind.
            pub const ALL: &[Kind] = &[$(Kind::$kind),*];

            /// As `kind:` has it.
            pub fn name(self) -> &'static str {
                match self { $(Kind::$kind => stringify!($kind)),* }
            }

            /// The folder that documents of this kind belong in.
            pub fn folder(self) -> &'static str {
                match self { $(Kind::$kind => $folder),* }
            }
        }

        /// A decoded document's `spec`.
        #[derive(Debug)]
        #[expect(missing_docs, reason = "each is the wire type of its name")]
        pub enum Spec { $($kind(Box<$kind>)),* }

        $(impl OfKind for $kind {
            fn of(spec: &Spec) -> Option<&Self> {
                if let Spec::$kind(spec) = spec { Some(spec) } else { None }
            }
        })*

        /// Takes a document of any kind to the wire type that belongs to it.
        pub(super) fn decode_as(
            kind: Kind,
            decode: &mut impl Decode,
        ) -> Option<(Metadata, Spec)> {
            match kind {
                $(Kind::$kind => {
                    let document = decode.decode::<Document<$kind>>()?;
                    let spec = Spec::$kind(Box::new(document.spec?));
                    Some((document.metadata.unwrap_or_default(), spec))
                }),*
            }
        }

        /// The JSON Schema of every document that a file may hold.
        pub fn json_schema() -> serde_json::Value {
            let mut generator = schemars::generate::SchemaSettings::draft2020_12().into_generator();
            let metadata = generator.subschema_for::<Metadata>();
            let kinds = [$({
                let spec = generator.subschema_for::<$kind>();
                serde_json::json!({
                    "title": stringify!($kind),
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["apiVersion", "kind", "metadata", "spec"],
                    "properties": {
                        "apiVersion": {"const": API_VERSION},
                        "kind": {"const": stringify!($kind)},
                        "metadata": &metadata,
                        "spec": spec,
                    },
                })
            }),*];
            serde_json::json!({
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "$id": "https://ringward.dev/schemas/v1alpha1.json",
                "title": "ringward declarations",
                "oneOf": kinds,
                "$defs": generator.take_definitions(true),
            })
        }
    };
}

kinds! {
    Cluster in "rings",
    Jurisdiction in "rings",
    RingPlan in "rings",
    RingPolicy in "policies",
    GateTemplate in "policies",
    ResidencyPolicy in "policies",
    Calendar in "policies",
    Notifier in "policies",
    Release in "releases",
}

/// A wire type among those that a document can be.
pub(super) trait OfKind: Sized {
    /// The spec, where it is of this type.
    fn of(spec: &Spec) -> Option<&Self>;
}

/// Takes a value to a wire type and keeps the problems to itself.
pub(super) trait Decode {
    /// The value, without the parts that could not be decoded; none where nothing is left.
    fn decode<T: DeserializeOwned>(&mut self) -> Option<T>;
}

/// What every document has.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Document<S> {
    /// Checked before.
    #[serde(rename = "apiVersion")]
    _api_version: Option<Value>,
    /// Checked before.
    #[serde(rename = "kind")]
    _kind: Option<Value>,
    metadata: Option<Metadata>,
    spec: Option<S>,
}

/// What a document is called.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// A DNS label; for a Jurisdiction also the name of a bloc, such as EU.
    #[schemars(required)]
    pub name: Option<Text>,
    /// By which rings may select clusters.
    #[serde(default)]
    pub labels: BTreeMap<String, Text>,
    /// For people and other programs; ringward reads none.
    #[serde(default)]
    pub annotations: BTreeMap<String, Text>,
}

/// One Kubernetes cluster.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cluster {
    /// The cloud region that it runs in.
    #[schemars(required)]
    pub region: Option<Text>,
    /// The country whose law it is under: an ISO 3166-1 alpha-2 code.
    #[schemars(required)]
    pub jurisdiction: Option<Text>,
    /// The classes of data that it may hold.
    #[serde(default)]
    pub data_classes: Vec<Text>,
    /// The cluster that takes over when this one fails.
    pub failover_pair: Option<Text>,
    /// The connection of the server's settings that reaches it; its own name unless given.
    pub connection: Option<Text>,
    /// Where its gates are measured.
    #[serde(default)]
    pub metrics: Vec<MetricSource>,
}

/// Where gates are measured.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MetricSource {
    /// The name that gate templates give as `provider`.
    #[schemars(required)]
    pub name: Option<Text>,
    /// Which API it speaks.
    #[serde(rename = "type")]
    #[schemars(required)]
    pub kind: Option<Provider>,
    /// Its base URL, without the API's path.
    #[schemars(required)]
    pub url: Option<Text>,
    /// The country that the evidence lies in.
    pub jurisdiction: Option<Text>,
}

/// A bloc of countries: a new one by `members`, a built-in one by what is added and removed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Jurisdiction {
    /// Exactly these ISO 3166-1 alpha-2 codes.
    pub members: Option<Vec<Text>>,
    /// Codes that the built-in bloc of this name lacks.
    #[serde(default)]
    pub add: Vec<Text>,
    /// Codes that the built-in bloc of this name should not have.
    #[serde(default)]
    pub remove: Vec<Text>,
}

/// A service's rings as a DAG, its target and its policies.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RingPlan {
    /// The classes of data that the service handles.
    #[serde(default)]
    pub data_classes: Vec<Text>,
    /// The ResidencyPolicies that bind it.
    #[serde(default)]
    pub residency: Vec<Text>,
    /// What is changed in each cluster.
    #[schemars(required)]
    pub target: Option<Target>,
    /// The RingPolicy of rings that name none.
    pub policy: Option<Text>,
    /// What a newer release does to one in motion.
    pub on_newer: Option<OnNewer>,
    /// The most distinct versions between a ring and the ones it comes after.
    pub max_skew: Option<Count>,
    /// The rings.
    #[schemars(required)]
    pub rings: Option<Vec<Ring>>,
    /// Rules of the hotfix lane; not done by this version.
    #[schemars(with = "Option<serde_json::Value>")]
    pub lanes: Unread,
}

/// The object that is changed in each cluster.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Target {
    /// Which kind of object.
    #[schemars(required)]
    pub kind: Option<TargetKind>,
    /// Its namespace.
    #[schemars(required)]
    pub namespace: Option<Text>,
    /// Its name.
    #[schemars(required)]
    pub name: Option<Text>,
    /// The container whose image is the release's artifact.
    #[schemars(required)]
    pub container: Option<Text>,
}

/// A set of clusters that take a release together.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ring {
    /// Its name inside the plan.
    #[schemars(required)]
    pub name: Option<Text>,
    /// The rings that must all have passed.
    pub after: Option<Vec<Text>>,
    /// The rings of which one must have passed.
    pub after_any: Option<Vec<Text>>,
    /// Its clusters.
    #[schemars(required)]
    pub clusters: Option<Selector>,
    /// Its RingPolicy; the plan's, unless given.
    pub policy: Option<Text>,
}

/// Clusters by name, in this order, or by labels, in the order of their names.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Selector {
    /// These clusters.
    pub names: Option<Vec<Text>>,
    /// Every cluster that has all these labels.
    pub labels: Option<BTreeMap<String, Text>>,
}

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
    pub concurrency: Option<scalar::Concurrency>,
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
    /// How long a ring that passed is still watched; not done by this version.
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
    /// What goes back (ring).
    pub scope: Option<RollbackScope>,
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
    /// Not enforced by this version.
    #[schemars(with = "Option<serde_json::Value>")]
    pub pull_within: Unread,
    /// Not enforced by this version.
    #[schemars(with = "Option<serde_json::Value>")]
    pub approver_within: Unread,
    /// Not enforced by this version.
    #[schemars(with = "Option<serde_json::Value>")]
    pub state_within: Unread,
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

/// Who is told what; not done by this version.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Notifier {
    #[schemars(with = "serde_json::Value")]
    _unread: Value,
}

/// A release declared in Git; not done by this version.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Release {
    #[schemars(with = "serde_json::Value")]
    _unread: Value,
}

/// A wire enum; with `=>`, one whose variants are those of a model's enum.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident $case:literal { $($(#[$rename:meta])* $variant:ident,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = $case)]
        #[expect(missing_docs, reason = "the name says it, or the model does")]
        pub enum $name { $($(#[$rename])* $variant,)* }
    };
    ($(#[$doc:meta])* $name:ident $case:literal => $model:path { $($variant:ident,)* }) => {
        words! { $(#[$doc])* $name $case { $($variant,)* } }

        impl From<$name> for $model {
            fn from(word: $name) -> Self {
                match word { $($name::$variant => Self::$variant,)* }
            }
        }
    };
}

words! {
    /// Which API a metric source speaks.
    Provider "camelCase" {
        Prometheus, Datadog, #[serde(rename = "cloudwatch")] CloudWatch, #[serde(rename = "influxdb")] InfluxDb, Graphite, NewRelic, Json,
    }
}
words! {
    /// The kinds of object that a release can change.
    TargetKind "PascalCase" {
        Deployment, StatefulSet, DaemonSet, ArgoRollout, FlaggerCanary, ArgoApplication, FluxKustomization, FluxHelmRelease,
        #[serde(rename = "HTTPRoute")] HttpRoute, Service, Ingress, FlagdFlag, UnleashFlag, LaunchDarklyFlag, FlagsmithFlag,
        CodeDeploy, CloudDeploy, Spinnaker, Harness, Webhook,
    }
}
words! {
    /// What goes back when a ring fails.
    RollbackScope "camelCase" { Ring, Descendants, Jurisdiction, Exposed, }
}
words! {
    /// What a newer release does to one in motion.
    OnNewer "camelCase" => model::plan::OnNewer { QueueLatest, FinishThen, ReplaceIfUnhealthy, Manual, }
}
words! {
    /// What a failing measurement within its limit does to the soak.
    OnBreach "camelCase" => model::policy::OnBreach { Reset, Freeze, Fail, }
}
words! {
    /// What happens to a ring that had no usable measurement for too long.
    OnNoData "camelCase" => model::policy::OnNoData { Hold, Fail, }
}
words! {
    /// Which way is worse.
    Direction "camelCase" => model::policy::Direction { Increase, Decrease, }
}
words! {
    /// What kind of signal a gate reads.
    Signal "camelCase" => model::policy::Signal { Errors, Latency, Business, Saturation, }
}
words! {
    /// Whether a rule can be waived.
    Enforcement "camelCase" => model::residency::Enforcement { Hard, Waivable, }
}
words! {
    /// What of a measurement may leave its jurisdiction.
    Disclose "camelCase" => model::residency::Disclose { Raw, Aggregate, Verdict, }
}
words! {
    /// What a closed calendar holds.
    AppliesTo "camelCase" => model::calendar::AppliesTo { Start, Advance, Rollback, }
}
words! {
    /// What happens to a ring that is under way when its calendar closes.
    InFlight "camelCase" => model::calendar::InFlight { FinishCluster, FinishRing, Halt, }
}

/// A wire enum's value as it is written.
pub fn word<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        Ok(_) | Err(_) => String::new(),
    }
}
