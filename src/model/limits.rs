//! What the server's settings limit, over all plans.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

/// What the server's settings limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// Rollbacks that nobody asked for.
    pub rollbacks: RollbackLimits,
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
