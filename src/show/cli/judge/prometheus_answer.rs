//! `prometheusAnswer`: what a gate reads of an answer of Prometheus.

use jiff::Timestamp;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, json};

use super::{
    JudgeError,
    wire::{instant, shown, span},
};
use crate::{
    decide::{
        event::Reading,
        fact::Verdict,
        gate::{figures::Figures, reading, stale},
    },
    model::time::Span,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Question {
    #[serde(rename = "judge")]
    _judge: IgnoredAny,
    status: u16,
    body: String,
    /// Without it, no age is judged.
    now: Option<f64>,
    /// Without it, nothing is too early.
    deployed_at: Option<f64>,
    /// Without it, nothing is too old.
    max_age: Option<f64>,
}

pub(super) fn answer(question: &Question) -> Result<Value, JudgeError> {
    let Question { status, body, now, deployed_at, max_age, _judge } = question;
    let now = now.map(|s| instant("now", s)).transpose()?;
    let deployed_at = deployed_at.map(|s| instant("deployedAt", s)).transpose()?;
    let max_age = max_age.map(|s| span("maxAge", s)).transpose()?;
    let error = |why: &str| json!({ "reading": { "error": why }, "detail": why });
    let absent = |why: &str| json!({ "reading": "absent", "detail": why });
    Ok(match reading::read(*status, body.as_bytes()) {
        Reading::Error(why) => error(&why),
        Reading::Absent => absent("no series, or not a number"),
        Reading::Value { value, at } => {
            let deployed_at = deployed_at.unwrap_or(Timestamp::MIN);
            let stale =
                stale(at, max_age.unwrap_or(Span(u64::MAX)), deployed_at, now.unwrap_or(at));
            match stale {
                Some((Verdict::Absent, why)) => absent(&why),
                Some((_, why)) => error(&why),
                None => {
                    let [figure] = Figures::new(None).tell([value]);
                    let value = shown(value);
                    json!({ "reading": { "value": value }, "detail": format!("{figure} at {at}") })
                }
            }
        }
    })
}
