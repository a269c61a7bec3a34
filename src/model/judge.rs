//! What the judges of a gate are told: parameters and queries, as declared. How they judge is the
//! core's.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::{query::Query, time::Span};

/// Queries that count over the length of time that `{{interval}}` stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Requests.
    pub requests: Query,
    /// Those that failed, or were too slow.
    pub errors: Query,
}

/// The Mann-Whitney test of samples of the release against samples of a control.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MannWhitney {
    /// Where the control's samples are from.
    pub control: Control,
    /// How the two sides are compared.
    pub rules: MannWhitneyRules,
}

/// Where the samples of a control are from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Control {
    /// The same query over as long a time before the deploy as the ring soaks.
    Before,
    /// A query for the stable population beside it, asked with each measurement.
    Stable(Query),
}

/// How two sides are compared.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MannWhitneyRules {
    /// Which class fails.
    pub direction: Worse,
    /// The share of the estimated shift that the whole interval must exceed.
    pub tolerance: f64,
    /// The confidence of the interval, between 0 and 1.
    pub confidence: f64,
    /// How large the difference must be, however certain it is.
    pub effect: EffectLimits,
    /// What becomes of samples that are not a number.
    pub nan: Nan,
    /// What becomes of samples far from the others.
    pub outliers: Outliers,
    /// Fewer samples than this on either side are Insufficient; never less than one.
    pub min_samples: usize,
}

impl Default for MannWhitneyRules {
    fn default() -> Self {
        Self {
            direction: Worse::Either,
            tolerance: 0.25,
            confidence: 0.98,
            effect: EffectLimits::default(),
            nan: Nan::Remove,
            outliers: Outliers::Keep,
            min_samples: 1,
        }
    }
}

impl MannWhitneyRules {
    /// The least samples of each side with which any difference can be that certain: all of one side
    /// above all of the other has the chance 2 / C(2n, n), were both the same.
    pub fn least_samples(confidence: f64) -> usize {
        let mut chance = 1.0;
        let mut n = 0;
        while chance > 1.0 - confidence && n < 500 {
            n += 1;
            let n = n as f64;
            // C(2n, n) is C(2n - 2, n - 1) times this.
            chance /= 2.0 * (2.0 * n - 1.0) / n;
            if n == 1.0 {
                chance *= 2.0;
            }
        }
        n
    }
}

/// Which way of differing from the control is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Worse {
    /// Higher.
    Increase,
    /// Lower.
    Decrease,
    /// Both.
    Either,
}

/// How large an effect must be; each limit is inclusive, and skipped where the effect is undefined.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EffectLimits {
    /// How it is measured.
    pub measure: EffectSize,
    /// The least that is High; by default that of no effect.
    pub allowed_increase: Option<f64>,
    /// The most that is Low; by default that of no effect.
    pub allowed_decrease: Option<f64>,
    /// The least that makes a High critical; by default none does.
    pub critical_increase: Option<f64>,
    /// The most that makes a Low critical; by default none does.
    pub critical_decrease: Option<f64>,
}

/// A measure of the effect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EffectSize {
    /// The experiment's mean over the control's; undefined where either is 0.
    #[default]
    MeanRatio,
    /// The share of pairs in which the experiment is higher, ties counting half
    /// (common language effect size; Vargha and Delaney 2000).
    Cles,
}

impl EffectSize {
    /// What it is where both sides are the same.
    pub fn none(self) -> f64 {
        match self {
            EffectSize::MeanRatio => 1.0,
            EffectSize::Cles => 0.5,
        }
    }
}

/// What becomes of samples that are not a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Nan {
    /// They are left out.
    Remove,
    /// They are 0: for counts that have no series while they are 0.
    Replace,
}

/// What becomes of samples far from the others.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outliers {
    /// They stay.
    Keep,
    /// Those outside of both Tukey's fences, `factor` interquartile ranges beyond the quartiles, and
    /// the 1st to 99th percentiles are left out.
    Remove {
        /// 3 is usual.
        factor: f64,
    },
}

/// Errors out of requests, the release against the stable population, judged at every peek.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sequential {
    /// Of the release.
    pub canary: Counts,
    /// Of the stable population beside it, over the same time.
    pub stable: Counts,
    /// The chance of ever failing a healthy release, shared over the ring's tests; between 0 and 1.
    pub alpha: f64,
    /// The ratio of error rates that is tolerated; above 0.
    pub r0: f64,
    /// Overdispersion, at least 1; estimated from the stable side's history where it is not given.
    pub phi: Option<f64>,
    /// The ratio that a release must be shown to stay below before it passes; above `r0`.
    pub margin: f64,
}

/// Multi-window burn rates of a service level objective.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BurnRate {
    /// Of the service.
    pub counts: Counts,
    /// The share of good requests that is promised; between 0 and 1.
    pub objective: f64,
    /// The pairs of windows; one that fails is enough.
    pub windows: Vec<Pair>,
}

/// Two windows and the burn rate that fails them, when exceeded in both.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// The burn rate.
    pub rate: f64,
    /// The long window.
    pub long: Span,
    /// The short window.
    pub short: Span,
}

/// For 99.9% over 30 days: 2% of the budget in an hour, 5% in six.
pub const USUAL_WINDOWS: [Pair; 2] = [
    Pair { rate: 14.4, long: Span::minutes(60), short: Span::minutes(5) },
    Pair { rate: 6.0, long: Span::minutes(360), short: Span::minutes(30) },
];

/// Alerts that must not fire: those that carry each of these labels, of which there is at least one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alerts {
    /// By label, the value that it has; built-in placeholders are still open in it.
    pub matchers: BTreeMap<String, String>,
}

/// How the targets of the ring do in their clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kubernetes {
    /// More restarts of containers than this fail.
    pub max_restarts: u32,
}

/// The traffic that a gate may count on in one cluster, by which `check` finds what can never be met.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Traffic {
    /// Requests to what the release runs on, a second.
    pub requests: f64,
    /// Requests to the stable population beside it, a second.
    pub stable: Option<f64>,
    /// The share of requests that usually fails.
    pub errors: Option<f64>,
}

impl fmt::Display for EffectSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            EffectSize::MeanRatio => "ratio of means",
            EffectSize::Cles => "share of higher pairs",
        })
    }
}

impl fmt::Display for Worse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Worse::Increase => "higher",
            Worse::Decrease => "lower",
            Worse::Either => "different",
        })
    }
}
