//! The traffic of a cluster's services, and what it is like under the version that serves it.

use std::{collections::BTreeMap, sync::Mutex};

use jiff::Timestamp;

use super::query::{Asked, Figure, Per, Requests};
use crate::{
    ids::{Mint, PlanName},
    model::{
        ring::{Artifact, Target},
        time::Span,
    },
    sim::loopback::{Defect, kubernetes::Cluster},
};

use std::sync::Arc;

/// Requests a second of a service in one cluster, before noise.
const REQUESTS: f64 = 40.0;
/// The share of requests that fail in a good version.
const FAILURES: f64 = 0.000_8;
/// The median duration of a request in seconds.
const MEDIAN: f64 = 0.045;
/// How long the tail of durations is: the quantile q is the median times (q / (1 - q)) to this power.
const TAIL: f64 = 0.3;
/// Orders that come of a request that was served.
const ORDERS: f64 = 0.04;
/// How full replicas are.
const SATURATION: f64 = 0.42;
/// Figures change once in so many seconds, as if they were scraped.
const SCRAPE: i64 = 15;

/// The traffic of one cluster.
pub(in crate::sim::loopback) struct Traffic {
    cluster: Arc<Cluster>,
    services: BTreeMap<PlanName, Target>,
    seed: u64,
    /// By digest: what is wrong with a version here.
    defects: Mutex<BTreeMap<String, Defect>>,
}

impl Traffic {
    /// The traffic of the services that run in `cluster`.
    pub(in crate::sim::loopback) fn new(
        cluster: Arc<Cluster>,
        services: BTreeMap<PlanName, Target>,
        seed: u64,
    ) -> Self {
        Self { cluster, services, seed, defects: Mutex::default() }
    }

    /// Gives a version a defect here.
    pub(in crate::sim::loopback) fn add_defect(&self, artifact: &Artifact, defect: Defect) {
        let mut defects = self.defects.lock().unwrap_or_else(|e| e.into_inner());
        defects.insert(key(artifact), defect);
    }

    /// The services that run here.
    pub(super) fn services(&self) -> impl Iterator<Item = &PlanName> {
        self.services.keys()
    }

    /// The share of a service's requests that failed in the five minutes before an instant.
    pub(super) fn failing(&self, service: &PlanName, at: Timestamp) -> Option<f64> {
        let figure = Figure::Share(Requests::Failed);
        let (service, range) = (service.as_str().to_owned(), Span::minutes(5));
        self.answer(&Asked { service, range, figure, times: 1.0 }, at)
    }

    /// The figure asked for, as of an instant; nothing for a service that does not run here.
    pub(super) fn answer(&self, asked: &Asked, at: Timestamp) -> Option<f64> {
        let target = self.services.get(asked.service.as_str())?;
        let since = at.checked_sub(asked.range.to_signed()).unwrap_or(at);
        let mix = self.mix(&self.cluster.served(target, since, at));
        let noise = |what: &str, breadth: f64| 1.0 + breadth * self.noise(&asked.service, what, at);
        let requests = mix.serves * REQUESTS * noise("requests", 0.05);
        let failed = (mix.failed * noise("failures", 0.3)).clamp(0.0, 1.0);
        let seconds = asked.range.as_seconds();
        let per = |per: Per| match per {
            Per::Second => 1.0,
            Per::Range => seconds,
        };
        let share = |of: Requests| match of {
            Requests::All => 1.0,
            Requests::Failed => failed,
            Requests::Served => 1.0 - failed,
        };
        let value = match asked.figure {
            // Nothing by nothing is NaN, in Prometheus too.
            Figure::Share(of) => requests * share(of) / requests,
            Figure::Requests(of, unit) => requests * share(of) * per(unit),
            Figure::Orders(unit) => {
                requests * (1.0 - failed) * ORDERS * mix.orders * noise("orders", 0.03) * per(unit)
            }
            Figure::Duration(_) if requests == 0.0 => f64::NAN,
            Figure::Duration(q) => {
                MEDIAN * (q / (1.0 - q)).powf(TAIL) * mix.slowness * noise("durations", 0.06)
            }
            Figure::Saturation => (SATURATION * noise("saturation", 0.1)).min(1.0),
            Figure::Up => 1.0,
        };
        Some(value * asked.times)
    }

    /// What the versions that served were like together, each weighed by its replicas and its time.
    fn mix(&self, served: &[(f64, Vec<(Artifact, usize)>)]) -> Mix {
        let defects = self.defects.lock().unwrap_or_else(|e| e.into_inner());
        let length: f64 = served.iter().map(|(length, _)| length).sum();
        let mut mix = Mix::default();
        for (stretch, serving) in served {
            let replicas: usize = serving.iter().map(|(_, replicas)| replicas).sum();
            for (artifact, count) in serving {
                let weight = stretch / length * (*count as f64 / replicas as f64);
                let defect = defects.get(&key(artifact)).copied().unwrap_or_default();
                mix.serves += weight;
                mix.failed += weight * (FAILURES + defect.failures);
                mix.slowness += weight * defect.slowness;
                mix.orders += weight * defect.orders;
            }
        }
        if mix.serves > 0.0 {
            mix.failed /= mix.serves;
            mix.slowness /= mix.serves;
            mix.orders /= mix.serves;
        }
        mix
    }

    /// Between -1 and 1, the same for the same question.
    fn noise(&self, service: &str, what: &str, at: Timestamp) -> f64 {
        let slot = at.as_second().div_euclid(SCRAPE);
        let words = service.bytes().chain([0]).chain(what.bytes()).chain(slot.to_le_bytes());
        let fold = |sum: u64, byte: u8| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let bits = Mint::seeded(words.fold(self.seed, fold)).next_u64() >> 11;
        bits as f64 / (1_u64 << 52) as f64 - 1.0
    }
}

/// What traffic is like.
#[derive(Debug, Default)]
struct Mix {
    /// The share of the time in which anything served at all.
    serves: f64,
    failed: f64,
    slowness: f64,
    orders: f64,
}

fn key(artifact: &Artifact) -> String {
    artifact.digest().unwrap_or(&artifact.0).to_owned()
}
