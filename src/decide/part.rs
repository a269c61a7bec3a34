//! What a judge needs to know beyond its gate's one number: each part is a question that stands alone,
//! and is answered in its kind.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    event::{Reading, figure},
    fact::Verdict,
};
use crate::{
    ids::{ClusterName, GateName, Jurisdiction, PlanName, Region, RingName, Version},
    model::{
        ring::{MetricSource, Target},
        time::Span,
    },
};

/// One question of a measurement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// What the judge takes the answer for.
    pub role: Role,
    /// What is asked, and whom.
    pub ask: Ask,
}

/// What an answer is to a judge; scenarios name their series by these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// The same figure of the stable population, or of another ring.
    Stable,
    /// Requests to the release.
    Requests,
    /// Those of them that failed.
    Errors,
    /// Requests to the stable population.
    StableRequests,
    /// Those of them that failed.
    StableErrors,
    /// The gate's own figure at instants of the past.
    Past,
    /// The samples behind it then.
    PastSamples,
    /// The control's samples from before the deploy.
    Before,
    /// Errors of the stable population, interval by interval, in the time before now.
    StableHistory,
    /// Alerts.
    Alerts,
    /// The word of a webhook.
    Webhook,
    /// How the target does in its cluster.
    Kubernetes,
}

/// A question, complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ask {
    /// One number, as of now.
    Number {
        /// Whom.
        source: MetricSource,
        /// The cluster whose figure it is: another's, where a ring is compared with a ring.
        cluster: ClusterName,
        /// The query, complete.
        query: String,
        /// The length of time that it looks back over, where the core chose it.
        over: Option<Span>,
    },
    /// Numbers over a stretch of time, one a step.
    Range {
        /// Whom.
        source: MetricSource,
        /// The query, complete.
        query: String,
        /// The first instant.
        from: Timestamp,
        /// The last instant.
        to: Timestamp,
        /// The time between two of them.
        step: Span,
    },
    /// The alerts that fire and have all of these labels.
    Alerts {
        /// Whom.
        source: MetricSource,
        /// By label, its value.
        matchers: BTreeMap<String, String>,
    },
    /// The word of a webhook.
    Webhook {
        /// Whom.
        source: MetricSource,
        /// What is to be judged.
        case: Case,
    },
    /// The target's replicas and pods.
    Workload {
        /// The connection that reaches the cluster.
        connection: String,
        /// The object.
        target: Target,
    },
}

/// What a webhook is told of what it is to judge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Case {
    /// The release's plan.
    pub plan: PlanName,
    /// The version.
    pub version: Version,
    /// The digest of its artifact; empty where it is not pinned.
    pub digest: String,
    /// The ring.
    pub ring: RingName,
    /// The cluster.
    pub cluster: ClusterName,
    /// Its region.
    pub region: Region,
    /// The country whose law it is under.
    pub jurisdiction: Jurisdiction,
    /// The namespace of the object that was changed.
    pub namespace: String,
    /// Its name.
    pub target: String,
    /// The gate.
    pub gate: GateName,
    /// When the target last took the release: what is older says nothing about it.
    pub deployed_at: Timestamp,
}

/// The answer to a part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Told {
    /// One number.
    Number(Reading),
    /// Numbers, oldest first; empty where there is no series.
    Range(Vec<Sample>),
    /// The alerts that fire and match.
    Alerts(Vec<Alert>),
    /// What a webhook ruled: Pass, Fail or Insufficient.
    Ruled {
        /// Its verdict.
        verdict: Verdict,
        /// In its words.
        detail: String,
    },
    /// How a target does.
    Workload(Workload),
    /// No answer that can be used; in words, without the provider's body.
    Error(String),
}

/// A number and its instant.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The instant.
    pub at: Timestamp,
    /// The number; never NaN.
    #[serde(with = "figure")]
    pub value: f64,
}

/// An alert that fires.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Its labels; `alertname` is its name.
    pub labels: BTreeMap<String, String>,
}

impl Alert {
    /// Whether it has each of the labels with exactly that value.
    pub fn matches(&self, matchers: &BTreeMap<String, String>) -> bool {
        matchers.iter().all(|(label, value)| self.labels.get(label) == Some(value))
    }
}

/// How a target's replicas and pods do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// Replicas that are wanted.
    pub wanted: u32,
    /// Those that are ready at the artifact.
    pub ready: u32,
    /// Restarts of containers in its pods, since each was created.
    pub restarts: u32,
    /// Containers that wait because they crash again and again.
    pub crash_loops: u32,
}
