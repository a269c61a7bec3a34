//! One file per provider: a query -> readings. No thresholds.

mod address;
pub mod auth;
pub mod prometheus;

use futures::{FutureExt, future::BoxFuture};

use self::{auth::Credentials, prometheus::Prometheus};
use super::Measurer;
use crate::{
    decide::{
        command::Measure,
        event::{Answer, Reading},
    },
    model::ring::ProviderKind,
};

/// Every kind of metric source behind one door.
#[derive(Debug)]
pub struct Metrics {
    prometheus: Prometheus,
}

impl Metrics {
    /// Asks with these credentials, which come from the server's settings and never from Git.
    pub fn new(credentials: Credentials) -> Result<Self, prometheus::NoClient> {
        Ok(Self { prometheus: Prometheus::new(credentials)? })
    }
}

impl Measurer for Metrics {
    fn measure(&self, measure: &Measure) -> BoxFuture<'_, Answer> {
        let Measure { source, query, samples, baseline_at, timeout, .. } = measure;
        let ask = |query: &str, at| match source.kind {
            ProviderKind::Prometheus => self.prometheus.ask(source, query, at, *timeout),
        };
        let value = ask(query, None);
        let samples = samples.as_deref().map(|samples| ask(samples, None));
        let baseline = baseline_at.map(|at| ask(query, Some(at)));
        async move {
            let (value, samples, baseline) =
                futures::join!(value, optional(samples), optional(baseline));
            Answer { value, samples, baseline }
        }
        .boxed()
    }
}

async fn optional(asked: Option<impl Future<Output = Reading>>) -> Option<Reading> {
    match asked {
        Some(asked) => Some(asked.await),
        None => None,
    }
}
