//! Amazon CloudWatch: `GetMetricData`, with a metric math expression or a Metrics Insights query.
//!
//! The request is the JSON form of "Making API requests" in CloudWatch's guide, the answer that of
//! `MetricDataResult` in its API reference. CloudWatch takes signed requests only. A period counts once
//! it is over, from its beginning on: the end of what is asked for is the end of a period.

use jiff::Timestamp;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::json;

use super::{
    client::base,
    question::{
        Outgoing, Provider, Question, Sample, Scope, When, beneath, instant, refused, several,
    },
};
use crate::model::time::Span;

/// CloudWatch.
pub(super) struct CloudWatch<'s> {
    pub(super) region: &'s str,
    /// The length of what is one number.
    pub(super) period: Span,
    /// How far back a question about an instant looks for the newest period.
    pub(super) window: Span,
}

impl Provider for CloudWatch<'_> {
    fn request(&self, question: &Question, now: Timestamp) -> Result<Outgoing, String> {
        let period = match question.when {
            When::Now | When::At(_) => self.period,
            // CloudWatch keeps whole minutes of the past.
            When::During { step, .. } => Span::seconds(step.0.div_ceil(60_000).max(1) * 60),
        };
        let seconds = i64::try_from(period.0 / 1_000).unwrap_or(60).max(1);
        let (from, to) = question.when.window(now, self.window);
        let whole = |at: Timestamp| at.as_second().div_euclid(seconds) * seconds;
        let body = json!({
            "StartTime": whole(from),
            "EndTime": whole(to),
            "ScanBy": "TimestampAscending",
            "MetricDataQueries": [{
                "Id": "q",
                "Expression": question.query,
                "Period": seconds,
                "ReturnData": true,
            }],
        });
        let url = beneath(&base(&question.url)?, "");
        let mut outgoing = Outgoing::post(url, "application/json", body.to_string())
            .header("accept", "application/json")
            .header("content-encoding", "amz-1.0")
            .header("x-amz-target", "GraniteServiceVersion20100801.GetMetricData");
        outgoing.scope = Some(Scope { region: self.region.to_owned(), service: "monitoring" });
        Ok(outgoing)
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
#[serde(rename_all = "PascalCase")]
struct Answer {
    metric_data_results: Vec<Series>,
    #[serde(default)]
    messages: Vec<IgnoredAny>,
    next_token: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Series {
    #[serde(default)]
    timestamps: Vec<f64>,
    #[serde(default)]
    values: Vec<f64>,
    status_code: String,
    #[serde(default)]
    messages: Vec<IgnoredAny>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(rename = "__type")]
    kind: Option<String>,
}

/// Reads an answer of that status.
///
/// # Errors
/// As [`Provider::samples`] has them.
pub fn read(status: u16, body: &[u8]) -> Result<Vec<Sample>, String> {
    if status != 200 {
        let kind = serde_json::from_slice(body).ok().and_then(|Refusal { kind }| kind);
        // `com.amazonaws.…#Throttling`: the word is what comes last.
        let word = kind.as_deref().and_then(|kind| kind.rsplit('#').next());
        return Err(refused(status, word));
    }
    let answer: Answer =
        serde_json::from_slice(body).map_err(|_| "the answer is none of GetMetricData")?;
    if answer.next_token.is_some() {
        return Err("partial data: there is more of it than one answer takes".into());
    }
    let messages = answer.messages.len()
        + answer.metric_data_results.iter().map(|r| r.messages.len()).sum::<usize>();
    if messages > 0 {
        return Err(format!("partial data: the answer carries {messages} messages"));
    }
    let series = match answer.metric_data_results.as_slice() {
        [] => return Ok(Vec::new()),
        [one] => one,
        many => return Err(several(many.len())),
    };
    match series.status_code.as_str() {
        "Complete" => {}
        "PartialData" => return Err("partial data".into()),
        "Forbidden" => return Err("the key may not read this metric".into()),
        _ => return Err("CloudWatch could not answer this".into()),
    }
    if series.timestamps.len() != series.values.len() {
        return Err("the answer has not as many instants as numbers".into());
    }
    let pairs = series.timestamps.iter().zip(&series.values).filter(|(_, v)| !v.is_nan());
    let samples = pairs.map(|(at, &value)| Ok(Sample { at: instant(at * 1_000.0)?, value }));
    let mut samples: Vec<Sample> = samples.collect::<Result<_, String>>()?;
    samples.sort_by_key(|sample| sample.at);
    Ok(samples)
}
