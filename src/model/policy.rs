//! How a ring is judged: soak, gates, windows, approvals, budgets. Evaluates nothing.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    calendar::Calendar,
    judge::{Alerts, BurnRate, Control, Kubernetes, MannWhitney, Sequential, Traffic},
    query::Query,
    residency::Territory,
    ring::ProviderKind,
    time::Span,
};
use crate::ids::{GateName, PolicyName, RingName};

/// A `RingPolicy` with all that it extends folded in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// The name it was declared under.
    pub name: PolicyName,
    /// How long the ring must run healthily before the rings after it.
    pub soak: Soak,
    /// How long a target may take to be ready at the digest; unreachable time is not counted.
    pub deadline: Span,
    /// Clusters of the ring that deploy at once.
    pub concurrency: Concurrency,
    /// How many clusters of the ring may fail without failing it.
    pub failure_budget: u32,
    /// What is measured on each cluster; empty only where the policy says `gates: none`.
    pub gates: Vec<Gate>,
    /// What happens when the ring fails.
    pub rollback: Rollback,
    /// Who must agree before the ring starts.
    pub approvals: Option<Approvals>,
    /// When the ring may start.
    pub calendars: Vec<Calendar>,
    /// How long a release in motion is safe from being replaced by a newer one.
    pub min_dwell: Span,
    /// How long a ring that passed is still measured: a breach takes its pass away.
    #[serde(default)]
    pub after_watch: Span,
}

/// The soak of a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Soak {
    /// Healthy time to be credited.
    pub duration: Span,
    /// What a failing measurement within its limit does.
    pub on_breach: OnBreach,
    /// Whether time that nobody observed is made up for from history.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub backfill: bool,
}

/// What a failing measurement within its limit does to the soak.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnBreach {
    /// Back to zero.
    #[default]
    Reset,
    /// Stands still until the gate passes again.
    Freeze,
    /// Fails the ring at once.
    Fail,
}

/// How many clusters of a ring deploy at once.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Concurrency {
    /// This many.
    Clusters(u32),
    /// This share of the ring (0 to 1), rounded down.
    Share(f64),
}

impl Concurrency {
    /// How many of `ring_size` clusters may deploy at once; at least one.
    pub fn of(self, ring_size: usize) -> usize {
        match self {
            Concurrency::Clusters(n) => (n as usize).max(1),
            // The tiny term keeps 29% of 100 from being 28 in binary fractions.
            Concurrency::Share(share) => ((ring_size as f64 * share + 1e-9) as usize).max(1),
        }
    }
}

/// What happens when a ring fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Rollback {
    /// Whether the ring goes back by itself.
    pub automatic: bool,
    /// Which rings go back with it.
    #[serde(default)]
    pub scope: RollbackScope,
    /// Clusters of the ring that go back at once; all of them where nothing is said.
    #[serde(default)]
    pub concurrency: Option<Concurrency>,
}

/// Which rings go back when one fails: that one, and of those where the release is out, these.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "camelCase")]
pub enum RollbackScope {
    /// None.
    #[default]
    Ring,
    /// Those that come after it, however far behind.
    Descendants,
    /// Those that share a jurisdiction with it.
    Jurisdiction,
    /// All.
    Exposed,
}

impl RollbackScope {
    /// Every scope, the narrowest first.
    pub const ALL: [RollbackScope; 4] = [
        RollbackScope::Ring,
        RollbackScope::Descendants,
        RollbackScope::Jurisdiction,
        RollbackScope::Exposed,
    ];

    /// As people and programs write it.
    pub fn name(self) -> &'static str {
        match self {
            RollbackScope::Ring => "ring",
            RollbackScope::Descendants => "descendants",
            RollbackScope::Jurisdiction => "jurisdiction",
            RollbackScope::Exposed => "exposed",
        }
    }
}

/// Who must agree before a ring starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Approvals {
    /// How many distinct people.
    pub count: u32,
    /// Any of these roles.
    pub roles: Vec<String>,
    /// Where they must belong to.
    pub jurisdiction: Option<Territory>,
    /// Whether the release's author is excluded.
    pub exclude_author: bool,
    /// How long an approval is good for.
    pub expires: Option<Span>,
}

/// A measurement taken on each cluster of a ring, and how it is judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    /// Its name inside the policy.
    pub name: GateName,
    /// What kind of signal it reads.
    pub signal: Signal,
    /// The metric source of that name on each cluster; empty where its judge asks none.
    pub provider: String,
    /// The query, with the template's arguments put in and the built-in ones still open; empty where
    /// its judge reads no such number.
    pub query: Query,
    /// The query for the number of samples behind one measurement.
    pub samples: Option<Query>,
    /// The time between two measurements.
    pub interval: Span,
    /// The time from the start of the soak to the first measurement.
    pub initial_delay: Span,
    /// How a measurement is judged.
    pub judge: Judge,
    /// Fewer samples than this make a single measurement Insufficient.
    pub min_samples: Option<f64>,
    /// The samples needed over the whole soak before the ring may pass.
    pub min_total_samples: Option<f64>,
    /// More failing measurements than this fail the ring; nothing where only those in a row count.
    pub failure_limit: Option<u32>,
    /// More failing measurements in a row than this fail the ring.
    pub consecutive_failure_limit: Option<u32>,
    /// More errors in a row than this hold the ring and alert.
    pub consecutive_error_limit: u32,
    /// What happens when there was no usable measurement for `no_data_deadline`.
    pub on_no_data: OnNoData,
    /// How long a gate may go without a usable measurement.
    pub no_data_deadline: Span,
    /// The age beyond which a sample is Absent.
    pub max_age: Span,
    /// Whether it can hold or fail the ring, or is a dry run.
    pub required: bool,
    /// For display only.
    pub unit: Option<String>,
    /// The traffic that it may count on in one cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<Traffic>,
}

/// The placeholders of a query that the core fills in when it measures; a template's own arguments are
/// in by then.
pub const BUILT_IN: [&str; 10] = [
    "plan",
    "ring",
    "cluster",
    "region",
    "jurisdiction",
    "version",
    "digest",
    "namespace",
    "target",
    "interval",
];

/// What kind of signal a gate reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Signal {
    /// Failed requests.
    Errors,
    /// Slow requests.
    Latency,
    /// What the business counts: orders, sign-ups.
    Business,
    /// How full something is.
    Saturation,
}

/// What happens to a ring that had no usable measurement for too long. No value passes it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnNoData {
    /// It stays, and somebody is told.
    #[default]
    Hold,
    /// It fails.
    Fail,
}

/// How a measurement is judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Judge {
    /// Inside bounds, both inclusive.
    Threshold {
        /// The least value that passes.
        min: Option<f64>,
        /// The greatest value that passes.
        max: Option<f64>,
    },
    /// Not much worse than a baseline.
    Relative {
        /// What it is compared with.
        baseline: Baseline,
        /// The share (0.5 is 50%) by which it may be worse.
        max_degradation: f64,
        /// Which way is worse.
        direction: Direction,
        /// Differences up to this, in the unit of the measurement, are ignored.
        floor: f64,
    },
    /// Samples of the release against samples of a control.
    MannWhitney(MannWhitney),
    /// Errors out of requests against the stable population's, at every peek.
    Sequential(Sequential),
    /// Burn rates of a service level objective.
    BurnRate(BurnRate),
    /// No alert that matches fires.
    Alerts(Alerts),
    /// A webhook says so: a metric source of that kind.
    Webhook,
    /// The targets' pods do well.
    Kubernetes(Kubernetes),
}

impl Judge {
    /// Whether it judges the one number that its gate's query gives.
    pub fn reads_value(&self) -> bool {
        match self {
            Judge::Threshold { .. } | Judge::Relative { .. } | Judge::MannWhitney(_) => true,
            Judge::Sequential(_)
            | Judge::BurnRate(_)
            | Judge::Alerts(_)
            | Judge::Webhook
            | Judge::Kubernetes(_) => false,
        }
    }

    /// The ring that it compares with.
    pub fn compares_with(&self) -> Option<&RingName> {
        match self {
            Judge::Relative { baseline: Baseline::Ring(name), .. } => Some(name),
            Judge::Relative { baseline: Baseline::Before | Baseline::Stable(_), .. }
            | Judge::Threshold { .. }
            | Judge::MannWhitney(_)
            | Judge::Sequential(_)
            | Judge::BurnRate(_)
            | Judge::Alerts(_)
            | Judge::Webhook
            | Judge::Kubernetes(_) => None,
        }
    }

    /// Whether it judges by what earlier measurements read, and not by the latest alone.
    pub fn rests_on_kept_figures(&self) -> bool {
        match self {
            Judge::MannWhitney(_) | Judge::Sequential(_) => true,
            // A baseline is asked for again where none may be kept.
            Judge::Relative { .. }
            | Judge::Threshold { .. }
            | Judge::BurnRate(_)
            | Judge::Alerts(_)
            | Judge::Webhook
            | Judge::Kubernetes { .. } => false,
        }
    }

    /// Whether it can judge an instant of the past by what a metric source knows of it: nothing that it
    /// needs is of now alone, of another ring, or of its own earlier measurements.
    pub fn knows_the_past(&self) -> bool {
        match self {
            Judge::Threshold { .. }
            | Judge::Relative { baseline: Baseline::Before | Baseline::Stable(_), .. } => true,
            Judge::Relative { baseline: Baseline::Ring(_), .. }
            | Judge::MannWhitney(_)
            | Judge::Sequential(_)
            | Judge::BurnRate(_)
            | Judge::Alerts(_)
            | Judge::Webhook
            | Judge::Kubernetes(_) => false,
        }
    }

    /// Whether it asks a metric source that each cluster must have.
    pub fn reads_source(&self) -> bool {
        match self {
            Judge::Threshold { .. }
            | Judge::Relative { .. }
            | Judge::MannWhitney(_)
            | Judge::Sequential(_)
            | Judge::BurnRate(_)
            | Judge::Alerts(_)
            | Judge::Webhook => true,
            Judge::Kubernetes(_) => false,
        }
    }

    /// Whether it judges numbers that queries give.
    pub fn reads_numbers(&self) -> bool {
        match self {
            Judge::Threshold { .. }
            | Judge::Relative { .. }
            | Judge::MannWhitney(_)
            | Judge::Sequential(_)
            | Judge::BurnRate(_) => true,
            Judge::Alerts(_) | Judge::Webhook | Judge::Kubernetes(_) => false,
        }
    }

    /// Whether a metric source of that kind can tell what it asks for.
    pub fn can_ask(&self, kind: &ProviderKind) -> bool {
        match self {
            Judge::Threshold { .. }
            | Judge::Relative { .. }
            | Judge::MannWhitney(_)
            | Judge::Sequential(_)
            | Judge::BurnRate(_) => kind.tells_numbers(),
            Judge::Alerts(_) => {
                matches!(kind, ProviderKind::Prometheus | ProviderKind::Alertmanager)
            }
            Judge::Webhook => matches!(kind, ProviderKind::Webhook),
            Judge::Kubernetes(_) => false,
        }
    }

    /// What it asks a source for of the time before, which not every kind can tell.
    pub fn asks_of_the_past(&self) -> Option<Past> {
        match self {
            Judge::Relative { baseline: Baseline::Before, .. } => Some(Past::Instant),
            Judge::MannWhitney(MannWhitney { control: Control::Before, .. })
            | Judge::Sequential(Sequential { phi: None, .. }) => Some(Past::Range),
            Judge::Relative { baseline: Baseline::Stable(_) | Baseline::Ring(_), .. }
            | Judge::MannWhitney(MannWhitney { control: Control::Stable(_), .. })
            | Judge::Sequential(Sequential { phi: Some(_), .. })
            | Judge::Threshold { .. }
            | Judge::BurnRate(_)
            | Judge::Alerts(_)
            | Judge::Webhook
            | Judge::Kubernetes(_) => None,
        }
    }

    /// Its name in a declaration.
    pub fn name(&self) -> &'static str {
        match self {
            Judge::Threshold { .. } => "threshold",
            Judge::Relative { .. } => "relative",
            Judge::MannWhitney(_) => "mannWhitney",
            Judge::Sequential(_) => "sequential",
            Judge::BurnRate(_) => "burnRate",
            Judge::Alerts(_) => "alerts",
            Judge::Webhook => "webhook",
            Judge::Kubernetes(_) => "kubernetes",
        }
    }
}

/// What a judge asks of the time before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Past {
    /// What its query would have answered at an instant.
    Instant,
    /// The numbers of a stretch of time.
    Range,
}

/// What a relative gate is compared with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Baseline {
    /// The same cluster before the deploy.
    Before,
    /// The stable population that runs beside it, by a query of its own.
    Stable(Query),
    /// Another ring, now.
    Ring(RingName),
}

/// Which way of moving is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Direction {
    /// More is worse: latency, errors.
    Increase,
    /// Less is worse: orders, success rate.
    Decrease,
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Signal::Errors => "errors",
            Signal::Latency => "latency",
            Signal::Business => "business",
            Signal::Saturation => "saturation",
        })
    }
}
