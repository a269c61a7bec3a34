//! One file per provider: a query -> samples with their timestamps. No thresholds.
//!
//! A provider turns a question into a request and an answer into samples, and does no more; one
//! [`client`] asks for all of them, and the [`asker`] says whose turn it is.

mod address;
mod asker;
pub mod auth;
mod client;
pub mod cloudwatch;
pub mod datadog;
pub mod graphite;
pub mod influxdb;
pub mod json;
pub mod newrelic;
pub mod prometheus;
pub mod question;
mod sigv4;

use std::{fmt, sync::Arc};

use futures::{FutureExt, future::BoxFuture};
use jiff::Timestamp;

use self::{
    asker::Asker,
    auth::Credentials,
    client::Client,
    cloudwatch::CloudWatch,
    datadog::Datadog,
    graphite::Graphite,
    influxdb::{Flux, InfluxQl},
    json::Json,
    newrelic::NewRelic,
    prometheus::Prometheus,
    question::{Provider, Question},
};
pub use self::{
    asker::Limits,
    client::NoClient,
    question::{Sample, When},
};
use super::Measurer;
use crate::{
    clock::Clock,
    decide::{
        command::Measure,
        event::{Answer, Reading},
        part::{self, Ask, Part, Told},
    },
    model::{
        ring::{MetricSource, ProviderKind},
        time::Span,
    },
};

/// Every kind of metric source behind one door.
pub struct Metrics {
    asker: Arc<Asker>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Asks with these credentials, which come from the server's settings and never from Git.
    ///
    /// # Errors
    /// Where the certificates that a source is trusted by cannot be read.
    pub fn new(
        credentials: Credentials,
        clock: Arc<dyn Clock>,
        limits: Limits,
    ) -> Result<Self, NoClient> {
        Ok(Self { asker: Arc::new(Asker::new(Client::new(credentials)?, clock, limits)) })
    }

    /// Asks `source` for one number. Dropping the future takes the question back.
    pub fn ask(
        &self,
        source: &MetricSource,
        query: &str,
        when: When,
        timeout: Span,
    ) -> impl Future<Output = Reading> + Send + use<> {
        let asked = self.put(source, query, when, timeout);
        async move {
            match asked.await {
                Ok(samples) => match samples.last() {
                    Some(&Sample { at, value }) => Reading::Value { value, at },
                    None => Reading::Absent,
                },
                Err(why) => Reading::Error(why),
            }
        }
    }

    /// Asks `source` for the samples every `step` from the one instant to the other, oldest first.
    ///
    /// # Errors
    /// In words, where there is no answer that can be used.
    pub fn range(
        &self,
        source: &MetricSource,
        query: &str,
        during: (Timestamp, Timestamp, Span),
        timeout: Span,
    ) -> impl Future<Output = Result<Vec<Sample>, String>> + Send + use<> {
        let (from, to, step) = during;
        self.put(source, query, When::During { from, to, step }, timeout)
    }
}

impl Metrics {
    fn put(
        &self,
        source: &MetricSource,
        query: &str,
        when: When,
        timeout: Span,
    ) -> impl Future<Output = Result<Vec<Sample>, String>> + Send + use<> {
        let (kind, url, query) = (source.kind.clone(), source.url.clone(), query.to_owned());
        let answer = self.asker.board(Question { kind, url, query, when, timeout });
        let name = source.name.clone();
        async move { answer.await.map_err(|why| format!("metric source {name}: {why}")) }
    }
}

/// What speaks the API of that kind.
fn provider(kind: &ProviderKind) -> Box<dyn Provider + '_> {
    match kind {
        ProviderKind::Prometheus => Box::new(Prometheus),
        ProviderKind::Datadog { window } => Box::new(Datadog { window: *window }),
        ProviderKind::CloudWatch { region, period, window } => {
            Box::new(CloudWatch { region, period: *period, window: *window })
        }
        ProviderKind::Flux { org } => Box::new(Flux { org }),
        ProviderKind::InfluxQl { database } => Box::new(InfluxQl { database }),
        ProviderKind::Graphite { window } => Box::new(Graphite { window: *window }),
        ProviderKind::NewRelic { account } => Box::new(NewRelic { account: *account }),
        ProviderKind::Json { timestamp } => Box::new(Json { timestamp }),
    }
}

impl Measurer for Metrics {
    fn measure(&self, measure: &Measure) -> BoxFuture<'_, Answer> {
        let Measure { source, query, samples, baseline_at, timeout, .. } = measure;
        let ask = |query: &str, when| Some(self.ask(source.as_ref()?, query, when, *timeout));
        let asked = Some(query).filter(|query| !query.is_empty());
        let value = asked.and_then(|query| ask(query, When::Now));
        let samples = samples.as_deref().and_then(|samples| ask(samples, When::Now));
        let baseline = baseline_at.and_then(|at| ask(query, When::At(at)));
        let parts: Vec<_> = measure.parts.iter().map(|part| self.part(part, *timeout)).collect();
        async move {
            let (value, samples, baseline, parts) = futures::join!(
                optional(value),
                optional(samples),
                optional(baseline),
                futures::future::join_all(parts)
            );
            // Where no number is asked for, none is there.
            Answer { value: value.unwrap_or(Reading::Absent), samples, baseline, parts }
        }
        .boxed()
    }
}

impl Metrics {
    fn part(&self, part: &Part, timeout: Span) -> BoxFuture<'static, Told> {
        match &part.ask {
            Ask::Number { source, query, .. } => {
                let asked = self.ask(source, query, When::Now, timeout);
                async move { Told::Number(asked.await) }.boxed()
            }
            Ask::Range { source, query, from, to, step } => {
                let asked = self.range(source, query, (*from, *to, *step), timeout);
                async move {
                    match asked.await {
                        Ok(samples) => Told::Range(
                            samples
                                .into_iter()
                                .map(|Sample { at, value }| part::Sample { at, value })
                                .collect(),
                        ),
                        Err(why) => Told::Error(why),
                    }
                }
                .boxed()
            }
            Ask::Alerts { .. } | Ask::Webhook { .. } | Ask::Workload { .. } => {
                async { Told::Error("it is no question for this kind of source".into()) }.boxed()
            }
        }
    }
}

async fn optional(asked: Option<impl Future<Output = Reading>>) -> Option<Reading> {
    match asked {
        Some(asked) => Some(asked.await),
        None => None,
    }
}

#[cfg(test)]
mod tests;
