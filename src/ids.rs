//! Typed identifiers, and the only place that mints one.
//!
//! A name that users write is a newtype over text, so that a ring can never be taken for a cluster. Most
//! names are short, and lie where they are used: to compare or copy one looks nowhere else. Longer ones
//! are shared, and a clone costs a reference count. Identifiers that nobody wrote (operator requests,
//! freezes, tokens) come from [`Mint`], which is seeded in simulation so that a run can be replayed.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(SmolStr);

        impl $name {
            /// The text as it was written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }
        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(/// A `RingPlan`'s name.
    PlanName);
name!(/// A ring's name inside its plan.
    RingName);
name!(/// A `Cluster`'s name.
    ClusterName);
name!(/// A gate's name inside its policy.
    GateName);
name!(/// A `RingPolicy`'s or a `ResidencyPolicy`'s name.
    PolicyName);
name!(/// A `Calendar`'s name.
    CalendarName);
name!(/// A release's version inside its plan.
    Version);
name!(/// A cloud region, as the cluster declares it.
    Region);
name!(/// An ISO 3166-1 alpha-2 code or a bloc's name.
    Jurisdiction);
name!(/// A class of data, such as `customer-personal`.
    DataClass);
name!(/// Somebody or something that asks: a person, a token, `ringward` itself.
    Principal);
name!(/// A content hash in hexadecimal: of a policy snapshot or of a journal entry.
    Hash);
name!(/// A Git commit (or `dir:` and a content hash where the source is a plain directory).
    Commit);
name!(/// Names one freeze.
    FreezeId);
name!(/// Names one waiver of a residency rule.
    WaiverId);
name!(/// What makes a repeated effect or request recognisable as a repeat.
    IdempotencyKey);

/// One version of one plan; written `checkout@2.14.0`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReleaseId {
    /// The plan that is released.
    pub plan: PlanName,
    /// The version it is taken to.
    pub version: Version,
}

impl ReleaseId {
    /// Joins a plan and a version.
    pub fn new(plan: impl Into<PlanName>, version: impl Into<Version>) -> Self {
        Self { plan: plan.into(), version: version.into() }
    }
}

impl fmt::Display for ReleaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plan, version } = self;
        match f.width().is_some() || f.precision().is_some() {
            true => f.pad(&format!("{plan}@{version}")),
            false => [plan.as_str(), "@", version.as_str()].iter().try_for_each(|s| f.write_str(s)),
        }
    }
}

impl fmt::Debug for ReleaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A text that is not `PLAN@VERSION`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not PLAN@VERSION, such as checkout@2.14.0")]
pub struct NotARelease(String);

impl FromStr for ReleaseId {
    type Err = NotARelease;

    fn from_str(text: &str) -> Result<Self, NotARelease> {
        match text.split_once('@') {
            Some((plan, version)) if !plan.is_empty() && !version.is_empty() => {
                Ok(Self::new(plan, version))
            }
            _ => Err(NotARelease(text.into())),
        }
    }
}

impl Serialize for ReleaseId {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ReleaseId {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Whether that is a DNS label, as every name of a plan, a ring or a cluster is: 1 to 63 lower-case letters, digits and
/// hyphens, with no hyphen at either end.
pub fn is_label(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// Bytes in hexadecimal, two digits each.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Mints identifiers and secrets: from the operating system, or from a seed in simulation.
#[derive(Debug)]
pub struct Mint {
    seed: Option<u64>,
}

impl Mint {
    /// Identifiers that nobody can guess.
    pub fn system() -> Self {
        Self { seed: None }
    }

    /// The same identifiers in the same order for the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self { seed: Some(seed) }
    }

    /// 64 bits: from the operating system, or the next of a SplitMix64 sequence.
    #[expect(clippy::disallowed_methods, reason = "the one place that draws randomness")]
    pub fn next_u64(&mut self) -> u64 {
        match &mut self.seed {
            None => getrandom::u64().expect("the operating system gives randomness"),
            Some(state) => {
                *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
                let mut z = *state;
                z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
                z ^ (z >> 31)
            }
        }
    }

    /// A short identifier such as `f-3f9a01c2`, for things that people name on a command line.
    pub fn short(&mut self, prefix: &str) -> String {
        format!("{prefix}-{:08x}", self.next_u64() >> 32)
    }

    /// 256 bits in hexadecimal, for bearer tokens and idempotency keys.
    pub fn secret(&mut self) -> String {
        (0..4).map(|_| format!("{:016x}", self.next_u64())).collect()
    }
}
