//! What the server's settings limit, over all plans.

use std::{collections::BTreeMap, fmt, marker::PhantomData, num::NonZeroU32};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, IntoDeserializer, MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::ids::{Jurisdiction, Region};

/// What the server's settings limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// Rollbacks that nobody asked for.
    pub rollbacks: RollbackLimits,
    /// Rings in motion.
    #[serde(skip_serializing_if = "MotionLimits::is_empty")]
    pub in_motion: MotionLimits,
}

/// How many rollbacks may begin that nobody asked for. Those that somebody did ask for are counted, and
/// never kept waiting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RollbackLimits {
    /// Only while fewer than so many rings go back.
    pub at_once: Option<NonZeroU32>,
    /// Only so many within an hour.
    pub per_hour: Option<NonZeroU32>,
}

/// How many rings of all plans may be in motion at once. One that spans several places counts in each.
/// Those that go back are counted, and never kept waiting.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct MotionLimits {
    /// Wherever they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rings: Option<NonZeroU32>,
    /// By the region of their clusters.
    pub per_region: PerPlace<Region>,
    /// By the country or bloc of their clusters; a number alone is for each country.
    pub per_jurisdiction: PerPlace<Jurisdiction>,
}

impl MotionLimits {
    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// `2` for every place, or a number for some by their names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum PerPlace<Name: Ord> {
    /// For every place by itself.
    Each(NonZeroU32),
    /// For these; what is not named is not limited.
    Named(BTreeMap<Name, NonZeroU32>),
}

impl<Name: Ord> Default for PerPlace<Name> {
    fn default() -> Self {
        Self::Named(BTreeMap::new())
    }
}

impl<'de, Name: Ord + Deserialize<'de>> Deserialize<'de> for PerPlace<Name> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Either<Name>(PhantomData<Name>);
        impl<'de, Name: Ord + Deserialize<'de>> Visitor<'de> for Either<Name> {
            type Value = PerPlace<Name>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number for every place, or a number for each place by its name")
            }
            fn visit_u64<E: Error>(self, each: u64) -> Result<Self::Value, E> {
                NonZeroU32::deserialize(each.into_deserializer()).map(PerPlace::Each)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                BTreeMap::deserialize(MapAccessDeserializer::new(map)).map(PerPlace::Named)
            }
        }
        d.deserialize_any(Either(PhantomData))
    }
}
