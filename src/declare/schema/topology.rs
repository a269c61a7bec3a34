//! What lies under `rings/`: clusters, blocs and plans.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    judgement::Approvals,
    scalar::{Count, Duration, Moment, Share, Text},
    words::{OnNewer, OnPolicyChange, Provider, TargetKind},
};

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
    /// Until when somebody vouches for these facts: a date (its first instant, UTC) or an instant. From
    /// then on they are unknown.
    pub verified_until: Option<Moment>,
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
    /// Its base URL, without the API's path; of webhook, where messages go.
    #[schemars(required)]
    pub url: Option<Text>,
    /// The country that the evidence lies in.
    pub jurisdiction: Option<Text>,
    /// The region that requests are signed for; of cloudwatch.
    pub region: Option<Text>,
    /// The length of what is one number, 1m where it is not given; of cloudwatch.
    pub period: Option<Duration>,
    /// How far back the newest number is looked for, 10m where it is not given; of datadog, cloudwatch and
    /// graphite.
    pub window: Option<Duration>,
    /// The organisation; of influxdb, which is asked in Flux then.
    pub org: Option<Text>,
    /// The database; of influxdb, which is asked in InfluxQL then.
    pub database: Option<Text>,
    /// The account's number; of newRelic.
    pub account: Option<u64>,
    /// The JSON pointer of the instant that the number is true of, such as /data/at; of json.
    pub timestamp: Option<Text>,
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
    /// What a change of policy does to releases in motion: they keep what they started under, or take
    /// what is tighter on rings that they have not started. What is looser never applies to them.
    pub on_policy_change: Option<OnPolicyChange>,
    /// The most distinct versions between a ring and the ones it comes after.
    pub max_skew: Option<Count>,
    /// The rings.
    #[schemars(required)]
    pub rings: Option<Vec<Ring>>,
    /// Other rules for releases that cannot wait.
    pub lanes: Option<Lanes>,
}

/// Other rules for releases that cannot wait, by lane.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Lanes {
    /// For a fix that cannot wait: `ringward release create --lane hotfix --reason ...`.
    pub hotfix: Option<Hotfix>,
}

/// The rules of the hotfix lane. It never crosses a hard residency rule.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hotfix {
    /// What is left of each ring's soak.
    #[schemars(required)]
    pub soak: Option<HotfixSoak>,
    /// Rings that must have passed before the rings after them start. All others are run ahead of: they
    /// take the release too, and that they pass is owed.
    #[serde(default)]
    pub may_not_skip: Vec<Text>,
    /// Gates that are measured and hold nothing: that they pass for the ring's own soak is owed.
    #[serde(default)]
    pub defer_gates: Vec<Text>,
    /// Who must agree before each ring, beside those whom its policy asks.
    pub approvals: Option<Approvals>,
    /// How long a release has the lane; rings that it has not started by then go the normal way.
    #[schemars(required)]
    pub time_to_live: Option<Duration>,
}

/// What is left of a soak.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HotfixSoak {
    /// This share of it.
    #[schemars(required)]
    pub share: Option<Share>,
    /// Never less than this; a shorter soak stays as it is.
    #[schemars(required)]
    pub floor: Option<Duration>,
}

/// The object that is changed in each cluster.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Target {
    /// Which kind of object.
    #[schemars(required)]
    pub kind: Option<TargetKind>,
    /// Its namespace; of every kind that is in the cluster.
    pub namespace: Option<Text>,
    /// Its name; of every kind that is in the cluster, and of Webhook.
    pub name: Option<Text>,
    /// The container whose image is the release's artifact; of every kind that has a pod's template.
    pub container: Option<Text>,
    /// What the image is called in the manifests; of FluxKustomization, ArgoApplication and CloudDeploy.
    pub image: Option<Text>,
    /// Where the values name the image; of FluxHelmRelease and, among helm.parameters, ArgoApplication.
    pub values: Option<HelmValues>,
    /// Whether the artifact is what its source pulls: targetRevision of ArgoApplication, the OCIRepository's digest
    /// of FluxKustomization, and of FluxHelmRelease (its chart).
    pub revision: Option<bool>,
    /// Which of several sources, by its name or its place from 1; of ArgoApplication. The archive in Cloud Storage that
    /// releases are rendered from, such as gs://shop/checkout.tar.gz; of CloudDeploy.
    pub source: Option<Text>,
    /// The feature flag's key; a release's artifact is what it serves. Of FlagdFlag and every flag of a service.
    pub flag: Option<Text>,
    /// The ConfigMap's entry that holds the flags as JSON; without it the object is a FeatureFlag. Of FlagdFlag.
    pub file: Option<Text>,
    /// Whom releases are served to: what their context must hold, such as a region. All others keep what the flag
    /// says. Of FlagdFlag.
    pub only: Option<BTreeMap<String, Text>>,
    /// The probe of each cluster's connection, in the server's settings, that is asked what is served. Of FlagdFlag.
    pub probe: Option<Text>,
    /// The flag service or the deployer of each cluster's connection, in the server's settings. Of every kind that is in
    /// no cluster.
    pub service: Option<Text>,
    /// How long a flag may serve everybody the same before it is reported for removal. Of every flag.
    pub cleanup_after: Option<Duration>,
    /// The flag's or the pipeline's project there; of FlagsmithFlag its number. Of every flag of a service, and of Harness.
    pub project: Option<Text>,
    /// The application there. Of CodeDeploy and Spinnaker.
    pub application: Option<Text>,
    /// The application's deployment group. Of CodeDeploy.
    pub group: Option<Text>,
    /// The file in S3 that a build makes for each image, such as s3://bundles/checkout/{{hex}}.zip, with the digits of the
    /// image's digest in the place of {{hex}}. Of CodeDeploy.
    pub bundle: Option<Text>,
    /// The pipeline there. Of CloudDeploy, Spinnaker and Harness.
    pub pipeline: Option<Text>,
    /// The pipeline's target. Of CloudDeploy.
    pub target: Option<Text>,
    /// The pipeline's parameter that is the image. Of Spinnaker.
    pub parameter: Option<Text>,
    /// The project's organisation. Of Harness.
    pub org: Option<Text>,
    /// The pipeline's runtime input that is the image. Of Harness.
    pub input: Option<Text>,
}

/// Where a chart's values name an image: all of it in one value, or in two.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HelmValues {
    /// The path of the value that is the whole reference, such as image.ref.
    pub image: Option<Text>,
    /// The path of the value that is the repository, such as image.repository.
    pub repository: Option<Text>,
    /// The path of the value that is the digest, such as image.digest.
    pub digest: Option<Text>,
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
