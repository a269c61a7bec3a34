//! When it is open: windows by cron in an IANA time zone, and freezes between dates.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::time::Span;
use crate::ids::CalendarName;

/// Windows and freezes, in one time zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calendar {
    /// Its name.
    pub name: CalendarName,
    /// An IANA time zone, such as `Europe/Dublin`.
    pub time_zone: String,
    /// Where there are any, it is open only while one of them is.
    pub allow: Vec<Window>,
    /// While one of them holds, it is closed, whatever else is allowed.
    pub deny: Vec<Deny>,
    /// What is held while it is closed.
    pub applies_to: Vec<AppliesTo>,
    /// What happens to a ring that is under way when it closes.
    pub in_flight: InFlight,
}

/// A window that opens again and again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// When it opens: six fields, seconds first, in local time.
    pub cron: String,
    /// How long it stays open.
    pub duration: Span,
}

/// A stretch of time in which nothing goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deny {
    /// Its first instant.
    pub from: Timestamp,
    /// The first instant after it.
    pub to: Timestamp,
    /// Why, for people.
    pub reason: String,
}

/// What a closed calendar holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AppliesTo {
    /// The start of a ring.
    Start,
    /// The next cluster of a ring that has started.
    Advance,
    /// Going back.
    Rollback,
}

/// What happens to a ring that is under way when its calendar closes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum InFlight {
    /// Clusters that deploy go on; no further cluster begins.
    #[default]
    FinishCluster,
    /// All its clusters go on.
    FinishRing,
    /// Nothing more begins, and its soak stands still.
    Halt,
}

/// What a calendar says of an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opening {
    /// Open, and when it will close, if it ever does.
    Open {
        /// The first instant at which it is closed.
        until: Option<Timestamp>,
    },
    /// Closed, why, and when it will open, if it ever does.
    Closed {
        /// In words, for people.
        why: String,
        /// The first instant at which it is open.
        opens: Option<Timestamp>,
    },
}

impl Calendar {
    /// Whether it is open at an instant.
    pub fn at(&self, instant: Timestamp) -> Opening {
        let _ = instant;
        Opening::Open { until: None }
    }

    /// The first instant from `instant` on at which it is open.
    pub fn opens_after(&self, instant: Timestamp) -> Option<Timestamp> {
        let _ = instant;
        None
    }
}
