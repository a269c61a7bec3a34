//! Datadog's HTTP API: `GET /api/v1/query`, the one that takes a query as its users write it.
//!
//! The shape of its answers: "Query timeseries points" of Datadog's API reference. The two keys are
//! headers of the server's settings. What Datadog rolls up is true of a whole bucket, so that a bucket
//! counts once it is over, from its beginning on.

use jiff::Timestamp;
use serde::Deserialize;

use super::{
    client::base,
    question::{Outgoing, Provider, Question, Sample, beneath, instant, refused, several},
};
use crate::model::time::Span;

/// Datadog.
pub(super) struct Datadog {
    /// How far back a question about an instant looks for the newest bucket.
    pub(super) window: Span,
}

impl Provider for Datadog {
    fn request(&self, question: &Question, now: Timestamp) -> Result<Outgoing, String> {
        let (from, to) = question.when.window(now, self.window);
        let mut url = beneath(&base(&question.url)?, "api/v1/query");
        url.query_pairs_mut()
            .append_pair("from", &from.as_second().to_string())
            .append_pair("to", &to.as_second().to_string())
            .append_pair("query", &question.query);
        Ok(Outgoing::get(url))
    }

    fn samples(
        &self,
        _: &Question,
        _: Timestamp,
        (status, body): (u16, &[u8]),
    ) -> Result<Vec<Sample>, String> {
        read(status, body)
    }
}

#[derive(Deserialize)]
struct Answer {
    status: Option<String>,
    #[serde(default)]
    series: Vec<Series>,
    /// The end of what was asked for, in milliseconds.
    to_date: Option<f64>,
}

#[derive(Deserialize)]
struct Series {
    /// The length of a bucket, in seconds.
    interval: f64,
    /// Milliseconds, and the number.
    pointlist: Vec<(f64, Option<f64>)>,
}

/// Reads an answer of that status: the buckets that are over.
///
/// # Errors
/// As [`Provider::samples`] has them.
pub fn read(status: u16, body: &[u8]) -> Result<Vec<Sample>, String> {
    if status != 200 {
        return Err(refused(status, None));
    }
    let answer: Answer =
        serde_json::from_slice(body).map_err(|_| "the answer is none of Datadog's query API")?;
    if answer.status.as_deref() != Some("ok") {
        return Err("HTTP 200, and no `status: ok` in the answer".into());
    }
    let series = match answer.series.as_slice() {
        [] => return Ok(Vec::new()),
        [one] => one,
        many => return Err(several(many.len())),
    };
    let end = answer.to_date.ok_or("the answer does not say which time it is about")?;
    let over = series.pointlist.iter().filter(|(at, _)| at + series.interval * 1_000.0 <= end);
    let samples = over.filter_map(|&(at, value)| Some((at, value.filter(|v| !v.is_nan())?)));
    let samples = samples.map(|(at, value)| Ok(Sample { at: instant(at)?, value }));
    let mut samples: Vec<Sample> = samples.collect::<Result<_, String>>()?;
    samples.sort_by_key(|sample| sample.at);
    Ok(samples)
}
