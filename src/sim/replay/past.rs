//! The past of a metric source: every query of a gate over a whole stretch of time, asked once and then read
//! instant by instant.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;

use super::{Case, Course, Replay};
use crate::{
    act::metrics::{
        Limits, Metrics, NoClient, Sample, When,
        auth::{AuthError, Credentials},
    },
    clock::Clock,
    config::MetricsAuth,
    decide::{
        event::{Answer, Reading},
        gate::query::render,
        part::{self, Alert, Ask, Part, Told},
    },
    model::{
        language::Language,
        policy::{Baseline, Gate, Judge},
        query::Query,
        ring::{Cluster, MetricSource},
        time::Span,
    },
};

/// The longest that one query may take.
const PATIENCE: Span = Span::seconds(10);
/// Instants that one stretch of time may have: as many as Prometheus tells at once.
const INSTANTS: u64 = 11_000;
/// Stretches of time that are kept of one query after another: a query that changes with time has many.
const SERIES: usize = 4_096;

/// A stretch of the past of a source.
pub struct Past {
    metrics: Metrics,
    source: MetricSource,
    from: Timestamp,
    to: Timestamp,
}

/// Why the past cannot be had.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each is its sentence")]
pub enum PastError {
    #[error("the credentials of the metric source cannot be used")]
    Credentials(#[from] AuthError),
    #[error("no HTTP client can be made")]
    Client(#[from] NoClient),
    #[error("{why}")]
    Source { why: String, query: String },
    #[error("{to} is not later than {from}: there is nothing between them")]
    Backwards { from: Timestamp, to: Timestamp },
    #[error(
        "from {from} to {to} there is no measurement, since the first comes at {first}; take a longer time"
    )]
    Empty { from: Timestamp, to: Timestamp, first: Timestamp },
    #[error(
        "from {from} to {to} are more than {INSTANTS} measurements every {interval}; take a shorter time"
    )]
    TooLong { from: Timestamp, to: Timestamp, interval: Span },
    #[error(
        "what {0} say of the past is recorded nowhere; replay it over a release's own measurements"
    )]
    NotRecorded(&'static str),
}

impl Past {
    /// The time from the one instant to the other of `source`, whose credentials are among these.
    ///
    /// # Errors
    /// The credentials cannot be used.
    pub fn new(
        source: MetricSource,
        (from, to): (Timestamp, Timestamp),
        credentials: BTreeMap<String, MetricsAuth>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, PastError> {
        let metrics = Metrics::new(Credentials::new(credentials)?, clock, Limits::default())?;
        Ok(Self { metrics, source, from, to })
    }

    /// Judges the gate as if its ring had taken a release at the beginning, on each of these clusters.
    ///
    /// A judge that looks back over long windows finds them full from the beginning on.
    ///
    /// # Errors
    /// A query that the source does not answer, or a judge that it cannot answer.
    pub async fn judge(&self, case: Case<'_>, clusters: &[&Cluster]) -> Result<Course, PastError> {
        let Self { from, to, .. } = *self;
        let Gate { interval, initial_delay, .. } = *case.gate;
        // What is true of the very beginning says nothing about what came with it.
        let first = if initial_delay > Span::ZERO { initial_delay } else { interval };
        let first = from.saturating_add(first.to_signed()).unwrap_or(to);
        if to <= from {
            return Err(PastError::Backwards { from, to });
        }
        if first > to {
            return Err(PastError::Empty { from, to, first });
        }
        let length = to.duration_since(first).as_millis();
        let many = u64::try_from(length).unwrap_or(0) / interval.0.max(1) + 1;
        if many >= INSTANTS {
            return Err(PastError::TooLong { from, to, interval });
        }
        let deployed = match &case.gate.judge {
            Judge::BurnRate(declared) => {
                let longest = declared.windows.iter().map(|pair| pair.long).max();
                before(from, longest.unwrap_or(Span::ZERO))
            }
            Judge::Webhook => return Err(PastError::NotRecorded("webhooks")),
            Judge::Kubernetes(_) => return Err(PastError::NotRecorded("pods")),
            Judge::Threshold { .. }
            | Judge::Relative { .. }
            | Judge::MannWhitney(_)
            | Judge::Sequential(_)
            | Judge::Alerts(_) => from,
        };
        let case = Case { deployed, ..case };
        let names = clusters.iter().map(|cluster| cluster.name.clone());
        let mut replay = Replay::new(case, names);
        let mut series = Series { past: self, first, interval, known: BTreeMap::new() };
        for n in 0..many {
            let at = first.saturating_add((interval * n).to_signed()).unwrap_or(to);
            for cluster in clusters {
                let (parts, vars) = replay.asks(cluster, Some(&self.source), at);
                let write = |query: &Query| render(query, Language::PromQl, &vars);
                let Gate { query, samples, judge, .. } = case.gate;
                let value = match judge.reads_value() {
                    true => series.at(&write(query), at).await?,
                    false => Reading::Absent,
                };
                let samples = match samples {
                    Some(samples) => Some(series.at(&write(samples), at).await?),
                    None => None,
                };
                let before = matches!(judge, Judge::Relative { baseline: Baseline::Before, .. });
                let baseline = match before && replay.baseline(&cluster.name).is_none() {
                    true => Some(self.instant(&write(query), from).await?),
                    false => None,
                };
                let mut told = Vec::with_capacity(parts.len());
                for part in &parts {
                    told.push(series.tell(part, at).await?);
                }
                let answer = Answer { value, samples, baseline, parts: told, infos: Vec::new() };
                replay.take(&cluster.name, at, &parts, &answer);
            }
        }
        Ok(replay.finish())
    }

    async fn instant(&self, query: &str, at: Timestamp) -> Result<Reading, PastError> {
        match self.metrics.ask(&self.source, query, When::At(at), PATIENCE).await {
            Reading::Error(why) => Err(PastError::Source { why, query: query.to_owned() }),
            reading @ (Reading::Value { .. } | Reading::Absent) => Ok(reading),
        }
    }

    async fn range(
        &self,
        query: &str,
        during: (Timestamp, Timestamp, Span),
    ) -> Result<Vec<Sample>, PastError> {
        let asked = self.metrics.range(&self.source, query, during, PATIENCE).await;
        asked.map_err(|why| PastError::Source { why, query: query.to_owned() })
    }
}

/// What each query answered at each instant.
struct Series<'p> {
    past: &'p Past,
    first: Timestamp,
    interval: Span,
    known: BTreeMap<String, BTreeMap<Timestamp, f64>>,
}

impl Series<'_> {
    /// What a query answered at an instant. It is asked for the whole time at once.
    async fn at(&mut self, query: &str, at: Timestamp) -> Result<Reading, PastError> {
        if !self.known.contains_key(query) {
            let during = (self.first, self.past.to, self.interval);
            let told = self.past.range(query, during).await?;
            if self.known.len() >= SERIES {
                self.known.clear();
            }
            let told = told.into_iter().map(|sample| (sample.at, sample.value)).collect();
            self.known.insert(query.to_owned(), told);
        }
        let found = self.known.get(query).and_then(|series| series.get(&at));
        Ok(found.map_or(Reading::Absent, |value| Reading::Value { value: *value, at }))
    }

    async fn tell(&mut self, part: &Part, at: Timestamp) -> Result<Told, PastError> {
        match &part.ask {
            Ask::Number { query, .. } => self.at(query, at).await.map(Told::Number),
            Ask::Range { query, from, to, step, .. } => {
                let told = self.past.range(query, (*from, *to, *step)).await?;
                let sample = |Sample { at, value }| part::Sample { at, value };
                Ok(Told::Range(told.into_iter().map(sample).collect()))
            }
            // Prometheus keeps its own alerts as a metric.
            Ask::Alerts { matchers, .. } => {
                let labels = matchers.iter().map(|(label, value)| {
                    format!(",{label}=\"{}\"", Language::PromQl.fill(QUOTED, value).0)
                });
                let labels: String = labels.collect();
                let query = format!("count(ALERTS{{alertstate=\"firing\"{labels}}})");
                Ok(match self.at(&query, at).await? {
                    Reading::Value { value, .. } => {
                        let alert = Alert { labels: matchers.clone() };
                        // As many as fire; each says the same.
                        Told::Alerts(vec![alert; value.clamp(0.0, 1_000.0) as usize])
                    }
                    Reading::Absent | Reading::Error(_) => Told::Alerts(Vec::new()),
                })
            }
            Ask::Webhook { .. } => Err(PastError::NotRecorded("webhooks")),
            Ask::Workload { .. } => Err(PastError::NotRecorded("pods")),
        }
    }
}

const QUOTED: crate::model::language::Place = crate::model::language::Place::Quoted('"');

fn before(at: Timestamp, span: Span) -> Timestamp {
    at.saturating_sub(span.to_signed()).unwrap_or(at)
}
