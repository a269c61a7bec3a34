//! Scalars that mean more than their YAML type: each reads exactly one notation and says which.

use std::{borrow::Cow, fmt};

use jiff::{Timestamp, civil::Date};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{
        Error, MapAccess, SeqAccess, Unexpected, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};

use super::{Gate, Registry};
use crate::model::{self, time::Span};

macro_rules! schema {
    ($name:ident, $($json:tt)+) => {
        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($($json)+)
            }
        }
    };
}

/// Text. A number or a truth value is not taken for it: `1.10` would have become `1.1` on the way.
pub type Text = String;

/// A whole number that is not negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count(pub u32);

schema!(Count, {"type": "integer", "minimum": 0, "maximum": u32::MAX});

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Expected;
        impl Visitor<'_> for Expected {
            type Value = Count;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number from 0")
            }
            fn visit_u64<E: Error>(self, n: u64) -> Result<Count, E> {
                u32::try_from(n)
                    .map(Count)
                    .map_err(|_| E::invalid_value(Unexpected::Unsigned(n), &self))
            }
            fn visit_i64<E: Error>(self, n: i64) -> Result<Count, E> {
                Err(E::invalid_value(Unexpected::Signed(n), &self))
            }
        }
        d.deserialize_any(Expected)
    }
}

/// A value of a template's argument: text or a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Literal(pub String);

schema!(Literal, {"type": ["string", "number"]});

impl<'de> Deserialize<'de> for Literal {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Expected;
        impl Visitor<'_> for Expected {
            type Value = Literal;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text or a number")
            }
            fn visit_u64<E: Error>(self, n: u64) -> Result<Literal, E> {
                Ok(Literal(n.to_string()))
            }
            fn visit_i64<E: Error>(self, n: i64) -> Result<Literal, E> {
                Ok(Literal(n.to_string()))
            }
            fn visit_f64<E: Error>(self, n: f64) -> Result<Literal, E> {
                Ok(Literal(n.to_string()))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Literal, E> {
                Ok(Literal(text.into()))
            }
        }
        d.deserialize_any(Expected)
    }
}

/// A length of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Duration(pub Span);

schema!(Duration, {"type": "string", "pattern": r"^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$", "examples": ["90s", "15m", "4h", "2d", "1h30m"]});

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Expected;
        impl Visitor<'_> for Expected {
            type Value = Duration;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as 90s, 15m, 4h, 2d or 1h30m")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
                text.parse()
                    .map(Duration)
                    .map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
            }
        }
        d.deserialize_any(Expected)
    }
}

/// A share of something, written as a percentage; 50% is 0.5.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share(pub f64);

schema!(Share, {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?%$", "examples": ["25%"]});

fn percentage(text: &str) -> Option<f64> {
    let number = text.strip_suffix('%')?;
    let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let percent: f64 = plain.then(|| number.parse().ok()).flatten()?;
    percent.is_finite().then_some(percent / 100.0)
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Expected;
        impl Visitor<'_> for Expected {
            type Value = Share;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a percentage such as 25%")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Share, E> {
                percentage(text)
                    .map(Share)
                    .ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }
        }
        d.deserialize_any(Expected)
    }
}

/// So many in a length of time, kept as so many a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate(pub f64);

schema!(Rate, {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?/(s|m|h)$", "examples": ["100/s", "30/m"]});

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Expected;
        impl Visitor<'_> for Expected {
            type Value = Rate;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a rate such as 100/s, 30/m or 500/h")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Rate, E> {
                let read = || {
                    let (number, unit) = text.split_once('/')?;
                    let seconds = match unit {
                        "s" => 1.0,
                        "m" => 60.0,
                        "h" => 3_600.0,
                        _ => return None,
                    };
                    let plain = number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
                    let number: f64 = plain.then(|| number.parse().ok()).flatten()?;
                    number.is_finite().then_some(Rate(number / seconds))
                };
                read().ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }
        }
        d.deserialize_any(Expected)
    }
}

/// A number of clusters or a share of the ring.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Concurrency {
    /// So many clusters.
    Clusters(u32),
    /// This share of the ring.
    Share(f64),
}

schema!(Concurrency, {"oneOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?%$"}]});

impl<'de> Deserialize<'de> for Concurrency {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Expected;
        impl Visitor<'_> for Expected {
            type Value = Concurrency;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of clusters from 1, or a percentage from 1% to 100%")
            }
            fn visit_u64<E: Error>(self, n: u64) -> Result<Concurrency, E> {
                match u32::try_from(n) {
                    Ok(n) if n > 0 => Ok(Concurrency::Clusters(n)),
                    Ok(_) | Err(_) => Err(E::invalid_value(Unexpected::Unsigned(n), &self)),
                }
            }
            fn visit_i64<E: Error>(self, n: i64) -> Result<Concurrency, E> {
                Err(E::invalid_value(Unexpected::Signed(n), &self))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Concurrency, E> {
                percentage(text)
                    .filter(|share| (0.01..=1.0).contains(share))
                    .map(Concurrency::Share)
                    .ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }
        }
        d.deserialize_any(Expected)
    }
}

impl From<Concurrency> for model::policy::Concurrency {
    fn from(written: Concurrency) -> Self {
        match written {
            Concurrency::Clusters(n) => Self::Clusters(n),
            Concurrency::Share(share) => Self::Share(share),
        }
    }
}

/// An instant, or a date that is local to its calendar's zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// An instant.
    Instant(Timestamp),
    /// The first instant of that day.
    Date(Date),
}

schema!(Moment, {"type": "string", "examples": ["2026-12-20", "2026-12-20T18:00:00Z"]});

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Expected;
        impl Visitor<'_> for Expected {
            type Value = Moment;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a date such as 2026-12-20, or an instant such as 2026-12-20T18:00:00Z")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Moment, E> {
                let date = || (text.len() == 10).then(|| text.parse().ok()).flatten();
                date()
                    .map(Moment::Date)
                    .or_else(|| text.parse().ok().map(Moment::Instant))
                    .ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }
        }
        d.deserialize_any(Expected)
    }
}

/// What is measured, or that nothing is.
#[derive(Debug)]
pub enum Gates {
    /// `gates: none`, in so many words.
    None,
    /// These.
    Some(Vec<Gate>),
}

impl JsonSchema for Gates {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Gates".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let gate = generator.subschema_for::<Gate>();
        json_schema!({"oneOf": [{"const": "none"}, {"type": "array", "items": gate}]})
    }
}

impl<'de> Deserialize<'de> for Gates {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Expected;
        impl<'de> Visitor<'de> for Expected {
            type Value = Gates;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of gates, or none")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Gates, E> {
                match text {
                    "none" => Ok(Gates::None),
                    _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
                }
            }
            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Gates, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(seq)).map(Gates::Some)
            }
        }
        d.deserialize_any(Expected)
    }
}

/// A registry of a rule.
#[derive(Debug)]
pub enum Mirror {
    /// A host, which the rule's owner says lies where the rule wants it.
    Host(Text),
    /// A host and the country that it lies in.
    Placed(Registry),
}

impl JsonSchema for Mirror {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Mirror".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let placed = generator.subschema_for::<Registry>();
        json_schema!({"oneOf": [{"type": "string"}, placed]})
    }
}

impl<'de> Deserialize<'de> for Mirror {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Expected;
        impl<'de> Visitor<'de> for Expected {
            type Value = Mirror;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a host, or {host: ..., jurisdiction: ...}")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Mirror, E> {
                Ok(Mirror::Host(text.into()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Mirror, A::Error> {
                Registry::deserialize(MapAccessDeserializer::new(map)).map(Mirror::Placed)
            }
        }
        d.deserialize_any(Expected)
    }
}

/// What a relative gate is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Baseline {
    /// The same cluster before the deploy.
    Before,
    /// The stable population that runs beside it.
    Stable,
    /// Another ring, now: `{ring: NAME}`.
    Ring(String),
}

schema!(Baseline, {"oneOf": [
    {"enum": ["before", "stable"]},
    {"type": "object", "required": ["ring"], "additionalProperties": false, "properties": {"ring": {"type": "string"}}}
]});

impl<'de> Deserialize<'de> for Baseline {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Expected;
        impl<'de> Visitor<'de> for Expected {
            type Value = Baseline;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("before, stable or {ring: NAME}")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Baseline, E> {
                match text {
                    "before" => Ok(Baseline::Before),
                    "stable" => Ok(Baseline::Stable),
                    _ => Err(E::unknown_variant(text, &["before", "stable", "ring"])),
                }
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Baseline, A::Error> {
                let mut ring = None;
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "ring" => ring = Some(map.next_value()?),
                        _ => return Err(A::Error::unknown_field(&key, &["ring"])),
                    }
                }
                ring.map(Baseline::Ring)
                    .ok_or_else(|| A::Error::invalid_type(Unexpected::Map, &self))
            }
        }
        d.deserialize_any(Expected)
    }
}
