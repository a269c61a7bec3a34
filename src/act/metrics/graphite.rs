//! Graphite's render API: `/render?format=json`.
//!
//! The shape of its answers: "The Render URL API" of Graphite's documentation, and what graphite-web 1.1
//! answers. A point stands for the time up to the next one; it counts once that is over, from its beginning
//! on. A time has the points after its beginning up to its end, the end included: of a point that is alone
//! in it, the next one is past the end, so that it is not over.

use jiff::Timestamp;
use serde::Deserialize;

use super::{
    client::base,
    question::{Outgoing, Provider, Question, Sample, beneath, instant, refused, several},
};
use crate::model::time::Span;

/// Graphite, and what speaks its API.
pub(super) struct Graphite {
    /// How far back a question about an instant looks for the newest point.
    pub(super) window: Span,
}

impl Provider for Graphite {
    fn request(&self, question: &Question, now: Timestamp) -> Result<Outgoing, String> {
        let (from, to) = question.when.window(now, self.window);
        let (from, to) = (from.as_second(), to.as_second());
        let mut url = beneath(&base(&question.url)?, "render");
        url.query_pairs_mut()
            .append_pair("target", &question.query)
            .append_pair("from", &from.to_string())
            // No time at all is refused.
            .append_pair("until", &to.max(from + 1).to_string())
            .append_pair("format", "json")
            .append_pair("noCache", "1");
        Ok(Outgoing::get(url))
    }

    fn samples(
        &self,
        question: &Question,
        now: Timestamp,
        (status, body): (u16, &[u8]),
    ) -> Result<Vec<Sample>, String> {
        let (_, until) = question.when.window(now, self.window);
        read(status, body, until)
    }
}

#[derive(Deserialize)]
struct Series {
    /// The number, and seconds.
    datapoints: Vec<(Option<f64>, f64)>,
}

/// How graphite-web writes an infinity, and the largest number that can be read instead.
const INFINITE: [(&str, &str); 2] =
    [("[1e9999,", "[1.7976931348623157e308,"), ("[-1e9999,", "[-1.7976931348623157e308,")];

/// Reads an answer of that status to a question about the time until then: the points whose time is
/// over.
///
/// # Errors
/// As [`Provider::samples`] has them.
pub fn read(status: u16, body: &[u8], until: Timestamp) -> Result<Vec<Sample>, String> {
    if status != 200 {
        return Err(refused(status, None));
    }
    let strange = "the answer is none of Graphite's render API";
    let mut text = std::str::from_utf8(body).map_err(|_| strange)?.to_owned();
    for (written, readable) in INFINITE {
        text = text.replace(written, readable);
    }
    let answer: Vec<Series> = serde_json::from_str(&text).map_err(|_| strange)?;
    let points = match answer.as_slice() {
        [] => return Ok(Vec::new()),
        [one] => &one.datapoints,
        many => return Err(several(many.len())),
    };
    if !points.is_sorted_by(|a, b| a.1 < b.1) {
        return Err("the points are not in the order of their time".into());
    }
    let [first, second, ..] = points.as_slice() else { return Ok(Vec::new()) };
    let step = second.1 - first.1;
    let end = until.as_millisecond() as f64 / 1_000.0;
    let over = points.iter().filter(|(_, at)| at + step <= end);
    let samples = over.filter_map(|&(value, at)| Some((value.filter(|v| !v.is_nan())?, at)));
    let whole = |value: f64| {
        if value.abs() == f64::MAX { f64::INFINITY.copysign(value) } else { value }
    };
    samples.map(|(v, at)| Ok(Sample { at: instant(at * 1_000.0)?, value: whole(v) })).collect()
}
