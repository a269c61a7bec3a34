//! What a release is taken to: clusters, rings of clusters, targets and the artifact.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{bundle::Bundle, language::Language, policy::Policy, shared::Shared, time::Span};
use crate::ids::{ClusterName, DataClass, Jurisdiction, Region, RingName};

/// One Kubernetes cluster, as declared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cluster {
    /// Its name.
    pub name: ClusterName,
    /// `metadata.labels`, by which rings may select it.
    pub labels: BTreeMap<String, String>,
    /// The cloud region that it runs in.
    pub region: Region,
    /// The country whose law it is under.
    pub jurisdiction: Jurisdiction,
    /// The classes of data that it may hold.
    pub data_classes: Vec<DataClass>,
    /// The cluster that takes over when this one fails.
    pub failover_pair: Option<ClusterName>,
    /// The connection of the server's settings that reaches it.
    pub connection: String,
    /// Where its gates are measured.
    pub metrics: Vec<MetricSource>,
    /// From when on what is declared of it is unknown, unless somebody says it anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_until: Option<Timestamp>,
}

/// Where gates are measured: named by the platform's owner, never by a policy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MetricSource {
    /// The name that gate templates give as `provider`.
    pub name: String,
    /// Which API it speaks.
    pub kind: ProviderKind,
    /// Its base URL, without the API's path.
    pub url: String,
    /// Where the evidence lies.
    pub jurisdiction: Option<Jurisdiction>,
}

/// Which API a metric source speaks, and what it needs besides its URL and its credentials.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ProviderKind {
    /// Prometheus' HTTP API; Thanos, Mimir and VictoriaMetrics speak it too.
    Prometheus,
    /// Datadog's v1 query API.
    Datadog {
        /// How far back the newest bucket is looked for.
        window: Span,
    },
    /// Amazon CloudWatch.
    #[serde(rename = "cloudwatch")]
    CloudWatch {
        /// The region that requests are signed for.
        region: String,
        /// The length of what is one number.
        period: Span,
        /// How far back the newest period is looked for.
        window: Span,
    },
    /// InfluxDB, asked in Flux.
    #[serde(rename = "influxdb")]
    Flux {
        /// The organisation.
        org: String,
    },
    /// InfluxDB, asked in InfluxQL.
    #[serde(rename = "influxql")]
    InfluxQl {
        /// The database.
        database: String,
    },
    /// Graphite's render API.
    Graphite {
        /// How far back the newest point is looked for.
        window: Span,
    },
    /// New Relic's NerdGraph.
    NewRelic {
        /// The account.
        account: u64,
    },
    /// Any endpoint that answers with JSON.
    Json {
        /// The JSON pointer of the instant that the number is true of.
        timestamp: String,
    },
    /// Alertmanager's v2 API, which tells alerts and no numbers.
    Alertmanager,
    /// Whoever answers a signed question with a verdict.
    Webhook,
}

impl ProviderKind {
    /// The type that a declaration gives.
    pub fn name(&self) -> &'static str {
        match self {
            ProviderKind::Prometheus => "prometheus",
            ProviderKind::Datadog { .. } => "datadog",
            ProviderKind::CloudWatch { .. } => "cloudwatch",
            ProviderKind::Flux { .. } | ProviderKind::InfluxQl { .. } => "influxdb",
            ProviderKind::Graphite { .. } => "graphite",
            ProviderKind::NewRelic { .. } => "newRelic",
            ProviderKind::Json { .. } => "json",
            ProviderKind::Alertmanager => "alertmanager",
            ProviderKind::Webhook => "webhook",
        }
    }

    /// The language that its queries are written in. Nobody puts a query to one that tells no numbers.
    pub fn language(&self) -> Language {
        match self {
            ProviderKind::Prometheus | ProviderKind::Alertmanager | ProviderKind::Webhook => {
                Language::PromQl
            }
            ProviderKind::Datadog { .. } => Language::Datadog,
            ProviderKind::CloudWatch { .. } => Language::CloudWatch,
            ProviderKind::Flux { .. } => Language::Flux,
            ProviderKind::InfluxQl { .. } => Language::InfluxQl,
            ProviderKind::Graphite { .. } => Language::Graphite,
            ProviderKind::NewRelic { .. } => Language::Nrql,
            ProviderKind::Json { .. } => Language::Url,
        }
    }

    /// Whether it can be asked for a number at all.
    pub fn tells_numbers(&self) -> bool {
        !matches!(self, ProviderKind::Alertmanager | ProviderKind::Webhook)
    }

    /// Whether it can be asked for the numbers of a stretch of time.
    pub fn knows_ranges(&self) -> bool {
        match self {
            ProviderKind::Prometheus
            | ProviderKind::Datadog { .. }
            | ProviderKind::CloudWatch { .. }
            | ProviderKind::Flux { .. }
            | ProviderKind::Graphite { .. }
            | ProviderKind::NewRelic { .. } => true,
            ProviderKind::InfluxQl { .. }
            | ProviderKind::Json { .. }
            | ProviderKind::Alertmanager
            | ProviderKind::Webhook => false,
        }
    }

    /// Whether it tells a stretch of time in one answer; what does not is asked instant by instant.
    pub fn tells_ranges_at_once(&self) -> bool {
        let by_instants = matches!(self, ProviderKind::Flux { .. } | ProviderKind::NewRelic { .. });
        self.knows_ranges() && !by_instants
    }

    /// Whether it can be asked what a query would have answered at an earlier instant. One that names a
    /// time of its own has to let it be moved: [`super::nrql`].
    pub fn knows_the_past(&self) -> bool {
        match self {
            ProviderKind::Prometheus
            | ProviderKind::Datadog { .. }
            | ProviderKind::CloudWatch { .. }
            | ProviderKind::Flux { .. }
            | ProviderKind::Graphite { .. }
            | ProviderKind::NewRelic { .. } => true,
            ProviderKind::InfluxQl { .. }
            | ProviderKind::Json { .. }
            | ProviderKind::Alertmanager
            | ProviderKind::Webhook => false,
        }
    }
}

/// A set of clusters that take a release together, and how they are judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ring {
    /// Its name inside the plan. What it comes after is the graph's to know.
    pub name: RingName,
    /// Its clusters, in the order in which they take the release.
    pub clusters: Vec<Cluster>,
    /// The policy, with everything that it extends folded in. Most rings have it from others.
    pub policy: Shared<Policy>,
}

impl Ring {
    /// The cluster of that name, if the ring has it.
    pub fn cluster(&self, name: &ClusterName) -> Option<&Cluster> {
        self.clusters.iter().find(|c| &c.name == name)
    }
}

/// The object that is changed in each cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Which kind of object, and what of it.
    #[serde(flatten)]
    pub kind: TargetKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Target {
    /// The object alone, whatever of it is changed.
    pub fn object(&self) -> (&'static str, &str, &str) {
        (self.kind.name(), &self.namespace, &self.name)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind.name(), self.namespace, self.name)?;
        match &self.kind {
            TargetKind::Deployment { container }
            | TargetKind::StatefulSet { container }
            | TargetKind::DaemonSet { container }
            | TargetKind::ArgoRollout { container }
            | TargetKind::FlaggerCanary { container } => write!(f, " container {container}"),
            TargetKind::ArgoApplication { image, source } => {
                match image {
                    ArgoImage::Kustomize(image) => write!(f, " image {image}")?,
                    ArgoImage::Values(values) => write!(f, " {values}")?,
                    ArgoImage::Revision => f.write_str(" revision")?,
                }
                source.iter().try_for_each(|source| write!(f, " of source {source}"))
            }
            TargetKind::FluxKustomization { image } => write!(f, " image {image}"),
            TargetKind::FluxOciSource | TargetKind::FluxOciChart => f.write_str(" revision"),
            TargetKind::FluxHelmRelease { values } => write!(f, " {values}"),
            TargetKind::FlagdFlag { flag, file, only, .. } => {
                write!(f, " flag {flag}")?;
                file.iter().try_for_each(|file| write!(f, " of {file}"))?;
                only.iter().try_for_each(|(name, value)| write!(f, " where {name} is {value}"))
            }
            TargetKind::UnleashFlag { service, .. }
            | TargetKind::LaunchDarklyFlag { service, .. }
            | TargetKind::FlagsmithFlag { service, .. } => write!(f, " of {service}"),
            TargetKind::CodeDeploy { bundle, .. } => write!(f, " from {bundle}"),
            TargetKind::CloudDeploy { image, .. } => write!(f, " image {image}"),
            TargetKind::Spinnaker { parameter, .. } => write!(f, " parameter {parameter}"),
            TargetKind::Harness { input, .. } => write!(f, " input {input}"),
            TargetKind::Webhook { .. } => Ok(()),
        }
    }
}

/// The kinds of object that ringward can drive, each with what of it a release changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum TargetKind {
    /// `apps/v1` Deployment.
    Deployment {
        /// The container whose image is the release's artifact.
        container: String,
    },
    /// `apps/v1` StatefulSet.
    StatefulSet {
        /// The container whose image is the release's artifact.
        container: String,
    },
    /// `apps/v1` DaemonSet.
    DaemonSet {
        /// The container whose image is the release's artifact.
        container: String,
    },
    /// `argoproj.io/v1alpha1` Rollout, with a template of its own or a Deployment's.
    ArgoRollout {
        /// The container whose image is the release's artifact.
        container: String,
    },
    /// `flagger.app/v1beta1` Canary over a Deployment.
    FlaggerCanary {
        /// The Deployment's container whose image is the release's artifact.
        container: String,
    },
    /// `argoproj.io/v1alpha1` Application.
    ArgoApplication {
        /// What of its source the release's artifact is.
        image: ArgoImage,
        /// The source's name among several, or its place from 1.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<String>,
    },
    /// `kustomize.toolkit.fluxcd.io/v1` Kustomization.
    FluxKustomization {
        /// What the image is called in its manifests.
        image: String,
    },
    /// `kustomize.toolkit.fluxcd.io/v1` Kustomization whose source is an OCIRepository: what that pulls, by its
    /// digest.
    FluxOciSource,
    /// `helm.toolkit.fluxcd.io/v2` HelmRelease whose chart is an OCIRepository's: what that pulls, by its digest.
    FluxOciChart,
    /// `helm.toolkit.fluxcd.io/v2` HelmRelease.
    FluxHelmRelease {
        /// Where its values name the image.
        values: HelmValues,
    },
    /// A feature flag of flagd's, in a ConfigMap or a `core.openfeature.dev/v1beta1` FeatureFlag. A release's
    /// artifact is what it serves: [`Serve`](super::serve::Serve).
    FlagdFlag {
        /// The flag's key.
        flag: String,
        /// The ConfigMap's entry that holds the flags as JSON; none where the object is a FeatureFlag.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file: Option<String>,
        /// Only who asks with all these values in their context is served by releases; none is everybody.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        only: BTreeMap<String, String>,
        /// The probe of the cluster's connection that is asked what is served.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        probe: Option<String>,
        /// How long it may serve everybody the same before it is to be removed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cleanup_after: Option<Span>,
    },
    /// A feature flag of an Unleash: the target's name, in the project that is its namespace.
    UnleashFlag {
        /// The flag service of the cluster's connection.
        service: String,
        /// How long it may serve everybody the same before it is to be removed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cleanup_after: Option<Span>,
    },
    /// A feature flag of a LaunchDarkly: the target's name, in the project that is its namespace.
    LaunchDarklyFlag {
        /// The flag service of the cluster's connection.
        service: String,
        /// How long it may serve everybody the same before it is to be removed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cleanup_after: Option<Span>,
    },
    /// A feature of a Flagsmith: the target's name, in the project whose number is its namespace.
    FlagsmithFlag {
        /// The flag service of the cluster's connection.
        service: String,
        /// How long it may serve everybody the same before it is to be removed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cleanup_after: Option<Span>,
    },
    /// A deployment group of AWS CodeDeploy's: the target's name, of the application that is its namespace.
    CodeDeploy {
        /// The deployer of the cluster's connection.
        service: String,
        /// Where the bundle of an image lies.
        bundle: Bundle,
    },
    /// A target of a delivery pipeline of Google Cloud Deploy's; its namespace is the pipeline.
    CloudDeploy {
        /// The deployer of the cluster's connection.
        service: String,
        /// What the image is called in the manifests.
        image: String,
        /// The archive in Cloud Storage that releases are rendered from.
        source: String,
    },
    /// A pipeline of a Spinnaker's, in the application that is its namespace.
    Spinnaker {
        /// The deployer of the cluster's connection.
        service: String,
        /// The pipeline's parameter that is the image.
        parameter: String,
    },
    /// A pipeline of a Harness', in the project that is its namespace.
    Harness {
        /// The deployer of the cluster's connection.
        service: String,
        /// The project's organisation.
        org: String,
        /// The pipeline's runtime input that is the image.
        input: String,
    },
    /// What somebody's own deployer runs, called like the target; its namespace is the service.
    Webhook {
        /// The deployer of the cluster's connection.
        service: String,
    },
}

/// What of an Application's source is the artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ArgoImage {
    /// The image of that name in `kustomize.images`.
    Kustomize(String),
    /// What its `helm.parameters` name.
    Values(HelmValues),
    /// Its `targetRevision`, of an OCI source: the artifact is `REPOSITORY@sha256:DIGEST`.
    Revision,
}

/// Where a chart's values name an image: paths such as `image.digest`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum HelmValues {
    /// All of it in one.
    Image {
        /// The value that is the whole reference.
        image: String,
    },
    /// In two.
    Parts {
        /// The value that is the repository.
        repository: String,
        /// The value that is the digest.
        digest: String,
    },
}

impl fmt::Display for HelmValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HelmValues::Image { image } => write!(f, "value {image}"),
            HelmValues::Parts { repository, digest } => {
                write!(f, "values {repository} and {digest}")
            }
        }
    }
}

impl TargetKind {
    /// The kind as a declaration names it.
    pub fn name(&self) -> &'static str {
        match self {
            TargetKind::Deployment { .. } => "Deployment",
            TargetKind::StatefulSet { .. } => "StatefulSet",
            TargetKind::DaemonSet { .. } => "DaemonSet",
            TargetKind::ArgoRollout { .. } => "ArgoRollout",
            TargetKind::FlaggerCanary { .. } => "FlaggerCanary",
            TargetKind::ArgoApplication { .. } => "ArgoApplication",
            TargetKind::FluxKustomization { .. } | TargetKind::FluxOciSource => "FluxKustomization",
            TargetKind::FluxHelmRelease { .. } | TargetKind::FluxOciChart => "FluxHelmRelease",
            TargetKind::FlagdFlag { .. } => "FlagdFlag",
            TargetKind::UnleashFlag { .. } => "UnleashFlag",
            TargetKind::LaunchDarklyFlag { .. } => "LaunchDarklyFlag",
            TargetKind::FlagsmithFlag { .. } => "FlagsmithFlag",
            TargetKind::CodeDeploy { .. } => "CodeDeploy",
            TargetKind::CloudDeploy { .. } => "CloudDeploy",
            TargetKind::Spinnaker { .. } => "Spinnaker",
            TargetKind::Harness { .. } => "Harness",
            TargetKind::Webhook { .. } => "Webhook",
        }
    }

    /// What it says as a feature flag's; nothing where its artifact is an image that is pulled.
    pub fn flag(&self) -> Option<FlagTarget<'_>> {
        match self {
            TargetKind::FlagdFlag { cleanup_after, .. } => {
                Some(FlagTarget { service: None, cleanup_after: *cleanup_after })
            }
            TargetKind::UnleashFlag { service, cleanup_after } => {
                let service = Some(FlagService::Unleash(service));
                Some(FlagTarget { service, cleanup_after: *cleanup_after })
            }
            TargetKind::LaunchDarklyFlag { service, cleanup_after } => {
                let service = Some(FlagService::LaunchDarkly(service));
                Some(FlagTarget { service, cleanup_after: *cleanup_after })
            }
            TargetKind::FlagsmithFlag { service, cleanup_after } => {
                let service = Some(FlagService::Flagsmith(service));
                Some(FlagTarget { service, cleanup_after: *cleanup_after })
            }
            TargetKind::Deployment { .. }
            | TargetKind::StatefulSet { .. }
            | TargetKind::DaemonSet { .. }
            | TargetKind::ArgoRollout { .. }
            | TargetKind::FlaggerCanary { .. }
            | TargetKind::ArgoApplication { .. }
            | TargetKind::FluxKustomization { .. }
            | TargetKind::FluxOciSource
            | TargetKind::FluxOciChart
            | TargetKind::FluxHelmRelease { .. }
            | TargetKind::CodeDeploy { .. }
            | TargetKind::CloudDeploy { .. }
            | TargetKind::Spinnaker { .. }
            | TargetKind::Harness { .. }
            | TargetKind::Webhook { .. } => None,
        }
    }

    /// The deployer that it is in, by its name in the settings of the cluster's connection; nothing where it is in the
    /// cluster itself, or in a flag service.
    pub fn deployer(&self) -> Option<&str> {
        match self {
            TargetKind::CodeDeploy { service, .. }
            | TargetKind::CloudDeploy { service, .. }
            | TargetKind::Spinnaker { service, .. }
            | TargetKind::Harness { service, .. }
            | TargetKind::Webhook { service } => Some(service),
            TargetKind::Deployment { .. }
            | TargetKind::StatefulSet { .. }
            | TargetKind::DaemonSet { .. }
            | TargetKind::ArgoRollout { .. }
            | TargetKind::FlaggerCanary { .. }
            | TargetKind::ArgoApplication { .. }
            | TargetKind::FluxKustomization { .. }
            | TargetKind::FluxOciSource
            | TargetKind::FluxOciChart
            | TargetKind::FluxHelmRelease { .. }
            | TargetKind::FlagdFlag { .. }
            | TargetKind::UnleashFlag { .. }
            | TargetKind::LaunchDarklyFlag { .. }
            | TargetKind::FlagsmithFlag { .. } => None,
        }
    }

    /// Whether its artifact is what a feature flag serves.
    pub fn is_flag(&self) -> bool {
        self.flag().is_some()
    }
}

/// What every target that is a feature flag says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlagTarget<'a> {
    /// The service that it is in; nothing where it is in the cluster itself.
    pub service: Option<FlagService<'a>>,
    /// How long it may serve everybody the same before it is to be removed, where that is said.
    pub cleanup_after: Option<Span>,
}

/// A flag service, by its name in the settings of the cluster's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlagService<'a> {
    /// An Unleash.
    Unleash(&'a str),
    /// A LaunchDarkly.
    LaunchDarkly(&'a str),
    /// A Flagsmith.
    Flagsmith(&'a str),
}

impl<'a> FlagService<'a> {
    /// Its name in the settings.
    pub fn name(self) -> &'a str {
        match self {
            FlagService::Unleash(name)
            | FlagService::LaunchDarkly(name)
            | FlagService::Flagsmith(name) => name,
        }
    }
}

/// An image reference; pinned where it carries a digest: `registry/app@sha256:…`. Of a feature flag, what it
/// serves.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Artifact(pub String);

impl Artifact {
    /// The digest that it is pinned by, such as `sha256:9f2c…`.
    pub fn digest(&self) -> Option<&str> {
        let (_, digest) = self.0.rsplit_once('@')?;
        let hex = digest.strip_prefix("sha256:")?;
        (hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit())).then_some(digest)
    }

    /// Whether both are the same content, wherever they are pulled from.
    pub fn same_as(&self, other: &Artifact) -> bool {
        // Most are the same to the letter, which is told sooner than two digests are found.
        self == other || self.digest().is_some_and(|digest| other.digest() == Some(digest))
    }
}

impl fmt::Display for Artifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Artifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Journals and policy hashes hold a target in this form.
    #[test]
    fn a_target_is_written_as_it_was_when_there_were_only_deployments() {
        let written =
            r#"{"kind":"Deployment","namespace":"shop","name":"checkout","container":"app"}"#;
        let target: Target = serde_json::from_str(written).unwrap();
        let kind = TargetKind::Deployment { container: "app".into() };
        assert_eq!(target, Target { kind, namespace: "shop".into(), name: "checkout".into() });
        let sorted = crate::model::canonical::canonical(&target).unwrap();
        let text =
            r#"{"container":"app",,"kind":"Deployment",,"name":"checkout",,"namespace":"shop",}"#;
        assert_eq!(String::from_utf8(sorted).unwrap(), text.replace(",,", ","));
        assert_eq!(target.to_string(), "Deployment shop/checkout container app");
    }
}
