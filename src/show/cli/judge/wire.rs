//! Numbers on the wire of `ringward judge`, in both directions.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, de};
use serde_json::{Value, json};

use super::{JudgeError, refuse};
use crate::model::time::Span;

/// A number on the wire: JSON's, or a text such as `NaN` and `-Inf`; null is NaN.
#[derive(Debug, Clone, Copy)]
pub(super) struct Number(pub(super) f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Number;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, \"NaN\", \"+Inf\" or \"-Inf\"")
            }
            fn visit_f64<E>(self, v: f64) -> Result<Number, E> {
                Ok(Number(v))
            }
            fn visit_i64<E>(self, v: i64) -> Result<Number, E> {
                Ok(Number(v as f64))
            }
            fn visit_u64<E>(self, v: u64) -> Result<Number, E> {
                Ok(Number(v as f64))
            }
            fn visit_unit<E>(self) -> Result<Number, E> {
                Ok(Number(f64::NAN))
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<Number, E> {
                v.parse().map(Number).map_err(|_| E::invalid_value(de::Unexpected::Str(v), &self))
            }
        }
        d.deserialize_any(Visitor)
    }
}

pub(super) fn plain(numbers: &[Number]) -> Vec<f64> {
    numbers.iter().map(|n| n.0).collect()
}

/// A number for the answer.
pub(super) fn shown(value: f64) -> Value {
    match value {
        v if v.is_finite() => json!(v),
        v if v.is_nan() => Value::Null,
        v if v > 0.0 => json!("+Inf"),
        _ => json!("-Inf"),
    }
}

pub(super) fn maybe(value: Option<f64>) -> Value {
    value.map_or(Value::Null, shown)
}

/// A duration in seconds.
pub(super) fn span(place: &str, seconds: f64) -> Result<Span, JudgeError> {
    let millis = (seconds * 1_000.0).round();
    if !(0.0..1e15).contains(&millis) {
        return Err(refuse(place, "must be a duration in seconds, not negative"));
    }
    Ok(Span(millis as u64))
}

/// An instant in seconds of Unix time.
pub(super) fn instant(place: &str, seconds: f64) -> Result<Timestamp, JudgeError> {
    let millis = Some((seconds * 1_000.0).round()).filter(|m| m.abs() < 1e15);
    millis
        .and_then(|millis| Timestamp::from_millisecond(millis as i64).ok())
        .ok_or_else(|| refuse(place, "must be an instant in seconds of Unix time"))
}

/// 0.5, or `50%` as policies have it.
pub(super) struct Share(pub(super) f64);

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let wrong = || de::Error::custom("expected a share such as 0.5 or \"50%\"");
        match Value::deserialize(d)? {
            Value::Number(n) => n.as_f64().map(Share).ok_or_else(wrong),
            Value::String(text) => {
                let percent = text.strip_suffix('%').and_then(|t| t.trim().parse::<f64>().ok());
                percent.map(|p| Share(p / 100.0)).ok_or_else(wrong)
            }
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => Err(wrong()),
        }
    }
}
