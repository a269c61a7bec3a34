//! Instants and lengths of time as the core knows them.
//!
//! Two clocks, on purpose: the wall clock places things in calendars and in the audit; the monotonic
//! one measures soak, deadlines and intervals, so that a wall clock that jumps enables nothing.

use std::{fmt, ops, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Milliseconds of ringward's own running time since its journal began.
///
/// It stands still while ringward is down: time away is never credited to anything.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Mono(pub u64);

impl Mono {
    /// How long after `earlier` this is; nothing where it is not after it.
    pub fn since(self, earlier: Mono) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl ops::Add<Span> for Mono {
    type Output = Mono;

    fn add(self, span: Span) -> Mono {
        Mono(self.0.saturating_add(span.0))
    }
}

/// The instant at which something is decided, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Now {
    /// What the wall clock says, in UTC.
    pub wall: Timestamp,
    /// What the monotonic clock says.
    pub mono: Mono,
}

/// A length of time in milliseconds; written `90s`, `15m`, `1h30m`, `2d`.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub u64);

impl Span {
    /// No time at all.
    pub const ZERO: Span = Span(0);

    /// So many seconds.
    pub const fn seconds(n: u64) -> Span {
        Span(n * 1_000)
    }

    /// So many minutes.
    pub const fn minutes(n: u64) -> Span {
        Span(n * 60_000)
    }

    /// As the standard library has it.
    pub const fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0)
    }

    /// Seconds, with their fraction.
    pub fn as_seconds(self) -> f64 {
        self.0 as f64 / 1_000.0
    }

    /// As a signed span that instants of the wall clock take.
    pub fn to_signed(self) -> jiff::SignedDuration {
        jiff::SignedDuration::from_millis(i64::try_from(self.0).unwrap_or(i64::MAX))
    }

    /// This much less, or nothing.
    pub fn saturating_sub(self, other: Span) -> Span {
        Span(self.0.saturating_sub(other.0))
    }
}

impl ops::Add for Span {
    type Output = Span;

    fn add(self, other: Span) -> Span {
        Span(self.0.saturating_add(other.0))
    }
}

impl ops::Mul<u64> for Span {
    type Output = Span;

    fn mul(self, n: u64) -> Span {
        Span(self.0.saturating_mul(n))
    }
}

const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.pad("0s");
        }
        let mut rest = self.0;
        let mut text = String::new();
        for (unit, size) in UNITS {
            // Hours stay hours up to two days: `24h` reads better than `1d` in a soak.
            if unit == "d" && (rest < 2 * size || !rest.is_multiple_of(size)) {
                continue;
            }
            if rest >= size {
                text.push_str(&format!("{}{unit}", rest / size));
                rest %= size;
            }
        }
        f.pad(&text)
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not a length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a duration such as 90s, 15m, 4h, 2d or 1h30m")]
pub struct NotASpan(String);

impl FromStr for Span {
    type Err = NotASpan;

    fn from_str(text: &str) -> Result<Self, NotASpan> {
        let refuse = || NotASpan(text.into());
        let mut rest = text;
        let mut total = 0u64;
        let mut coarser = u64::MAX;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(refuse)?;
            let (number, tail) = rest.split_at(digits);
            let end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(end);
            let size = UNITS.iter().find(|(u, _)| *u == unit).ok_or_else(refuse)?.1;
            if size >= coarser {
                return Err(refuse());
            }
            coarser = size;
            let part = number.parse::<u64>().ok().and_then(|n| n.checked_mul(size));
            total = part.and_then(|n| n.checked_add(total)).ok_or_else(refuse)?;
            rest = tail;
        }
        if coarser == u64::MAX { Err(refuse()) } else { Ok(Span(total)) }
    }
}

impl Serialize for Span {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for text in ["0s", "90ms", "1m30s", "15m", "4h", "24h", "36h", "2d", "1h30m", "3d"] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.to_string(), text);
        }
        assert_eq!("90s".parse::<Span>().unwrap().to_string(), "1m30s");
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "5", "m", "1m1h", "1x", "-1s", "1.5h", "99999999999999999999s", "1m2m"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
