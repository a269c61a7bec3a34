//! Any endpoint that answers with JSON: the query is a path beneath the source's URL, with a query of
//! its own and, as its fragment, the JSON pointer of the number (RFC 6901, section 6). The pointer of
//! the instant that it is true of belongs to the source: a number without one could be of any age.

use jiff::Timestamp;
use serde_json::Value;

use super::{
    client::base,
    question::{Outgoing, Provider, Question, Sample, When, instant, refused},
};

/// A JSON endpoint.
pub(super) struct Json<'s> {
    /// The pointer of the instant.
    pub(super) timestamp: &'s str,
}

impl Provider for Json<'_> {
    fn request(&self, question: &Question, _: Timestamp) -> Result<Outgoing, String> {
        let When::Now = question.when else {
            return Err("a JSON endpoint can be asked about now only".into());
        };
        let (place, _) = cut(&question.query)?;
        let base = base(&question.url)?;
        let root = base.path().trim_end_matches('/');
        let mut url = base.clone();
        url.set_path("");
        let place = place.trim_start_matches('/');
        let text = format!("{}{root}/{place}", url.as_str().trim_end_matches('/'));
        let url = text.parse::<reqwest::Url>().map_err(|_| "the query is no path of a URL")?;
        // Dots lead upwards, and backslashes are slashes to some.
        let beneath = url.path().strip_prefix(root).is_some_and(|rest| rest.starts_with('/'));
        if !beneath || url.origin() != base.origin() {
            return Err("the query leads out of the source's URL".into());
        }
        Ok(Outgoing::get(url).header("accept", "application/json"))
    }

    fn samples(
        &self,
        question: &Question,
        _: Timestamp,
        (status, body): (u16, &[u8]),
    ) -> Result<Vec<Sample>, String> {
        let (_, value) = cut(&question.query)?;
        read(status, body, value, self.timestamp)
    }
}

/// The path and query, and the pointer of the number.
fn cut(query: &str) -> Result<(&str, &str), String> {
    let cut = query.trim().split_once('#');
    cut.filter(|(_, pointer)| pointer.is_empty() || pointer.starts_with('/')).ok_or_else(|| {
        "the query does not end with the JSON pointer of the number, as in /errors#/rate".into()
    })
}

/// Reads an answer of that status: the number and its instant at those pointers.
///
/// # Errors
/// As [`Provider::samples`] has them.
pub fn read(status: u16, body: &[u8], value: &str, timestamp: &str) -> Result<Vec<Sample>, String> {
    if status != 200 {
        return Err(refused(status, None));
    }
    let answer: Value = serde_json::from_slice(body).map_err(|_| "the answer is not JSON")?;
    let at = |pointer: &str, what| {
        answer.pointer(pointer).ok_or_else(|| format!("the answer has no {what} at {pointer}"))
    };
    let value = match at(value, "number")? {
        Value::Null => return Ok(Vec::new()),
        Value::Number(number) => number.as_f64().ok_or("the number is out of range")?,
        Value::Array(_) | Value::Object(_) => {
            return Err("where the number should be are several values".into());
        }
        Value::Bool(_) | Value::String(_) => return Err("the number is none".into()),
    };
    let at = match at(timestamp, "instant")? {
        // No instant in seconds that matters here reaches this, and none in milliseconds is below.
        Value::Number(n) => n.as_f64().map(|n| if n.abs() < 1e11 { n * 1_000.0 } else { n }),
        Value::String(text) => text.parse::<Timestamp>().ok().map(|at| at.as_millisecond() as f64),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    Ok(vec![Sample {
        at: instant(at.ok_or("the instant is neither RFC 3339 nor a number")?)?,
        value,
    }])
}
