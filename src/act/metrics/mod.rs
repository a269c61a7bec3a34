//! One file per provider: a query -> samples with their timestamps. No thresholds.
//!
//! A provider turns a question into a request and an answer into samples, and does no more; one
//! [`client`] asks for all of them, and the [`asker`] says whose turn it is.

mod address;
pub mod alerts;
mod asker;
pub mod auth;
pub(in crate::act) mod client;
pub mod cloudwatch;
pub mod datadog;
pub mod graphite;
pub mod influxdb;
pub mod json;
pub mod newrelic;
pub mod prometheus;
pub mod question;
mod sigv4;
pub mod webhook;

use std::{fmt, sync::Arc};

use futures::{
    FutureExt, StreamExt, TryFutureExt, TryStreamExt,
    future::{BoxFuture, join_all},
    stream,
};
use jiff::Timestamp;

use self::{
    alerts::{Alertmanager, Firing},
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
    question::{Heard, Question, Speaks, Topic},
    webhook::Webhook,
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
        self.remarked(source, query, when, timeout).map(|(reading, _)| reading)
    }

    /// As [`Self::ask`], with what the source remarked of its answer.
    fn remarked(
        &self,
        source: &MetricSource,
        query: &str,
        when: When,
        timeout: Span,
    ) -> impl Future<Output = (Reading, Vec<String>)> + Send + use<> {
        let asked = self.put(source, query, when, timeout);
        async move {
            match asked.await {
                Ok((samples, infos)) => match samples.last() {
                    Some(&Sample { at, value }) => (Reading::Value { value, at }, infos),
                    None => (Reading::Absent, infos),
                },
                Err(why) => (Reading::Error(why), Vec::new()),
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
        if !source.kind.knows_ranges() || source.kind.tells_ranges_at_once() {
            let at_once = self.put(source, query, When::During { from, to, step }, timeout);
            return at_once.map_ok(|(samples, _)| samples).left_future();
        }
        // What each instant answered is true of that instant, as in a range of Prometheus.
        let asked = instants(from, to, step).map(|instants| {
            let (metrics, source) = (Self { asker: self.asker.clone() }, source.clone());
            let query = query.to_owned();
            let asked = instants.into_iter().map(move |at| {
                let asked = metrics.put(&source, &query, When::At(at), timeout);
                async move {
                    let newest = asked.await?.0.pop();
                    Ok(newest.map(|sample| Sample { at, value: sample.value }))
                }
            });
            stream::iter(asked).buffered(AT_ONCE)
        });
        async move { asked?.try_filter_map(|sample| async move { Ok(sample) }).try_collect().await }
            .right_future()
    }
}

/// Instants of one range that wait at once, where a range is asked instant by instant.
const AT_ONCE: usize = 8;
/// The most instants of one range that are asked like this: as many as a judge keeps of a side.
const INSTANTS: usize = 500;

/// Every `step` from the one instant to the other.
fn instants(from: Timestamp, to: Timestamp, step: Span) -> Result<Vec<Timestamp>, String> {
    let step = Span(step.0.max(1));
    let next = |at: &Timestamp| at.checked_add(step.to_signed()).ok();
    let instants = std::iter::successors(Some(from), next).take_while(|at| *at <= to);
    let instants: Vec<_> = instants.take(INSTANTS + 1).collect();
    match instants.len() {
        n if n > INSTANTS => Err(format!(
            "more than {INSTANTS} instants, and this source is asked one by one; take a shorter time"
        )),
        _ => Ok(instants),
    }
}

impl Metrics {
    fn put(
        &self,
        source: &MetricSource,
        query: &str,
        when: When,
        timeout: Span,
    ) -> impl Future<Output = Result<(Vec<Sample>, Vec<String>), String>> + Send + use<> {
        let heard = self.hear(source, Topic::Numbers, query.to_owned(), when, timeout);
        async move {
            match heard.await? {
                Heard::Samples { samples, infos } => Ok((samples, infos)),
                Heard::Alerts(_) | Heard::Ruled { .. } => Err(MIXED_UP.into()),
            }
        }
    }

    fn hear(
        &self,
        source: &MetricSource,
        topic: Topic,
        query: String,
        when: When,
        timeout: Span,
    ) -> impl Future<Output = Result<Heard, String>> + Send + use<> {
        let (kind, url) = (source.kind.clone(), source.url.clone());
        let answer = self.asker.board(Question { kind, url, topic, query, when, timeout });
        let name = source.name.clone();
        async move { answer.await.map_err(|why| format!("metric source {name}: {why}")) }
    }
}

/// No API tells anything else than it is asked for.
const MIXED_UP: &str = "something else was answered than was asked for";

/// What speaks the API of the source, and knows what is wanted of it.
fn speaker(question: &Question) -> Result<Box<dyn Speaks + '_>, String> {
    let kind = &question.kind;
    Ok(match (&question.topic, kind) {
        (Topic::Numbers, kind) => numbers(kind)?,
        (Topic::Alerts, ProviderKind::Prometheus) => Box::new(Firing),
        (Topic::Alerts, ProviderKind::Alertmanager) => Box::new(Alertmanager),
        (Topic::Verdict { id }, ProviderKind::Webhook) => Box::new(Webhook { id }),
        (Topic::Alerts, _) => return Err(format!("type {} tells no alerts", kind.name())),
        (Topic::Verdict { .. }, _) => {
            return Err(format!("type {} gives no verdicts", kind.name()));
        }
    })
}

/// What asks a source of that kind for numbers.
fn numbers(kind: &ProviderKind) -> Result<Box<dyn Speaks + '_>, String> {
    Ok(match kind {
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
        ProviderKind::Alertmanager | ProviderKind::Webhook => {
            return Err(format!("type {} tells no numbers", kind.name()));
        }
    })
}

impl Measurer for Metrics {
    fn measure(&self, measure: &Measure) -> BoxFuture<'_, Answer> {
        let Measure { source, query, samples, baseline_at, timeout, .. } = measure;
        let ask = |query: &str, when| Some(self.remarked(source.as_ref()?, query, when, *timeout));
        let asked = Some(query).filter(|query| !query.is_empty());
        let value = asked.and_then(|query| ask(query, When::Now));
        let samples = samples.as_deref().and_then(|samples| ask(samples, When::Now));
        let baseline = baseline_at.and_then(|at| ask(query, When::At(at)));
        let parts: Vec<_> = measure.parts.iter().map(|part| self.part(measure, part)).collect();
        async move {
            let (value, samples, baseline, parts) = futures::join!(
                optional(value),
                optional(samples),
                optional(baseline),
                join_all(parts)
            );
            let mut infos = Vec::new();
            let mut heard = |(reading, remarks)| {
                infos.extend(remarks);
                reading
            };
            // Where no number is asked for, none is there.
            let value = value.map_or(Reading::Absent, &mut heard);
            let (samples, baseline) = (samples.map(&mut heard), baseline.map(&mut heard));
            let (parts, remarks): (_, Vec<_>) = parts.into_iter().unzip();
            infos.extend(remarks.into_iter().flatten());
            infos.dedup();
            Answer { value, samples, baseline, parts, infos }
        }
        .boxed()
    }
}

impl Metrics {
    fn part(&self, measure: &Measure, part: &Part) -> BoxFuture<'static, (Told, Vec<String>)> {
        let timeout = measure.timeout;
        let told = match &part.ask {
            Ask::Number { source, query, .. } => {
                let asked = self.remarked(source, query, When::Now, timeout);
                return asked.map(|(reading, infos)| (Told::Number(reading), infos)).boxed();
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
            Ask::Alerts { source, matchers } => {
                // All who ask Prometheus ask the same, whichever alerts they are after.
                let filters = source.kind == ProviderKind::Alertmanager;
                let query = if filters { alerts::filters(matchers) } else { String::new() };
                let asked = self.hear(source, Topic::Alerts, query, When::Now, timeout);
                let matchers = matchers.clone();
                async move {
                    match asked.await {
                        Ok(Heard::Alerts(mut firing)) => {
                            firing.retain(|alert| alert.matches(&matchers));
                            Told::Alerts(firing)
                        }
                        Ok(Heard::Samples { .. } | Heard::Ruled { .. }) => {
                            Told::Error(MIXED_UP.into())
                        }
                        Err(why) => Told::Error(why),
                    }
                }
                .boxed()
            }
            Ask::Webhook { source, case } => {
                let topic = Topic::Verdict { id: webhook::id(&measure.key) };
                let asked = self.hear(source, topic, webhook::text(case), When::Now, timeout);
                async move {
                    match asked.await {
                        Ok(Heard::Ruled { verdict, detail }) => Told::Ruled { verdict, detail },
                        Ok(Heard::Samples { .. } | Heard::Alerts(_)) => {
                            Told::Error(MIXED_UP.into())
                        }
                        Err(why) => Told::Error(why),
                    }
                }
                .boxed()
            }
            Ask::Workload { .. } => {
                async { Told::Error("it is a question for a cluster".into()) }.boxed()
            }
        };
        told.map(|told| (told, Vec::new())).boxed()
    }
}

async fn optional<T>(asked: Option<impl Future<Output = T>>) -> Option<T> {
    match asked {
        Some(asked) => Some(asked.await),
        None => None,
    }
}

#[cfg(test)]
mod tests;
