//! The notation of promtool's rule tests for a series of values, with words for what is no number.
//!
//! `0.999`, `0.999x60` (sixty of them), `1+0.5x4` (1, 1.5, 2, 2.5), `_` and `_x3` (absent), `NaN`,
//! `error`. One thing is not promtool's: there `axN` stands for N + 1 values, here for N, so that a
//! series as long as a soak is written as what it is.

use std::str::FromStr;

use serde::Deserialize;

/// What a metric source would answer at an instant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Point {
    /// A number, finite or infinite.
    Value(f64),
    /// No series, or NaN.
    Absent,
    /// No answer.
    Error,
}

/// Values one behind the other; after the last there is nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Values {
    runs: Vec<Run>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Run {
    first: Point,
    step: f64,
    count: u64,
}

impl Values {
    /// The n-th value, from 0; Absent after the last.
    pub fn get(&self, n: u64) -> Point {
        let mut before = 0;
        for run in &self.runs {
            let here = n - before;
            if here < run.count {
                return match run.first {
                    Point::Value(first) => Point::Value(first + run.step * here as f64),
                    Point::Absent => Point::Absent,
                    Point::Error => Point::Error,
                };
            }
            before += run.count;
        }
        Point::Absent
    }
}

/// A text that is no series of values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no series of values such as `0.999x60 0.5 _x3 NaN error 1+0.5x4`")]
pub struct NotValues(String);

impl FromStr for Values {
    type Err = NotValues;

    fn from_str(text: &str) -> Result<Self, NotValues> {
        let runs: Option<Vec<Run>> = text.split_whitespace().map(run).collect();
        match runs {
            Some(runs) if !runs.is_empty() => Ok(Self { runs }),
            Some(_) | None => Err(NotValues(text.into())),
        }
    }
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Expected;
        impl serde::de::Visitor<'_> for Expected {
            type Value = Values;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a series of values such as \"0.999x60 0.5 _x3 NaN error\"")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Values, E> {
                text.parse().map_err(E::custom)
            }
            // A lone value needs no quotes.
            fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Values, E> {
                self.visit_str(&value.to_string())
            }
            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Values, E> {
                self.visit_str(&value.to_string())
            }
            fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Values, E> {
                self.visit_str(&value.to_string())
            }
        }
        d.deserialize_any(Expected)
    }
}

fn run(token: &str) -> Option<Run> {
    let counted = token.rsplit_once('x').and_then(|(head, count)| {
        let count = count.parse::<u32>().ok()?;
        (!head.is_empty()).then_some((head, u64::from(count)))
    });
    let (head, count) = counted.unwrap_or((token, 1));
    if let Some(first) = point(head) {
        return Some(Run { first, step: 0.0, count });
    }
    // Only what is repeated can grow, and the sign that starts the step is not that of an exponent.
    counted?;
    let signs = head.char_indices().skip(1).filter(|(_, c)| matches!(c, '+' | '-'));
    signs.into_iter().find_map(|(at, _)| {
        let (first, step) = head.split_at(at);
        let (Point::Value(_), Some(step)) = (point(first)?, number(step)) else { return None };
        Some(Run { first: point(first)?, step, count })
    })
}

fn point(text: &str) -> Option<Point> {
    match text {
        "_" | "NaN" => Some(Point::Absent),
        "error" => Some(Point::Error),
        _ => number(text).map(Point::Value),
    }
}

fn number(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|value| !value.is_nan())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(text: &str, count: u64) -> Vec<Point> {
        let values: Values = text.parse().unwrap();
        (0..count).map(|n| values.get(n)).collect()
    }

    #[test]
    fn what_is_written_is_laid_out() {
        use Point::{Absent, Error, Value};
        assert_eq!(first("0.9x2 _ error", 5), [Value(0.9), Value(0.9), Absent, Error, Absent]);
        assert_eq!(first("1+0.5x3 2", 4), [Value(1.0), Value(1.5), Value(2.0), Value(2.0)]);
        assert_eq!(first("5-2x3", 3), [Value(5.0), Value(3.0), Value(1.0)]);
        assert_eq!(first("-2+4x2", 2), [Value(-2.0), Value(2.0)]);
        assert_eq!(first("1e-3+1e-3x2", 2), [Value(0.001), Value(0.002)]);
        assert_eq!(first("NaN _x2 errorx2", 5), [Absent, Absent, Absent, Error, Error]);
        assert_eq!(first("+Inf", 1), [Value(f64::INFINITY)]);
        assert_eq!(first("1x0 2", 1), [Value(2.0)]);
    }

    #[test]
    fn what_is_no_series_is_refused() {
        for text in ["", "x3", "1x", "1xx2", "1+x2", "1+2", "a", "1,2", "1x-2", "_+1x2"] {
            assert!(text.parse::<Values>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_long_series_takes_no_room() {
        let values: Values = "1x4000000000 2".parse().unwrap();
        assert_eq!(values.get(4_000_000_000), Point::Value(2.0));
        assert_eq!(values.get(u64::MAX), Point::Absent);
    }
}
