//! The rollbacks of all plans: how many there are, and how many more there may be.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    ids::{ReleaseId, RingName},
    model::{
        limits::RollbackLimits,
        time::{Mono, Now, Span},
    },
};

/// What the rate is counted over.
const HOUR: Span = Span::minutes(60);

/// The rollbacks of all plans. One begins with its first write and ends with its ring's phase.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollbacks {
    /// How many there may be that nobody asked for.
    pub limits: RollbackLimits,
    /// Those that began and are not over, whoever asked for them.
    pub under_way: BTreeSet<(ReleaseId, RingName)>,
    /// Those that would begin now but for the limits, in the order in which they will.
    pub waiting: Vec<(ReleaseId, RingName)>,
    /// When those of the last hour began, the oldest first.
    pub begun: Vec<Mono>,
}

impl Rollbacks {
    /// Which limit keeps a rollback that nobody asked for from beginning, if one does: there are fewer
    /// places than wait before it.
    pub fn limit(&self, release: &ReleaseId, ring: &RingName, now: Now) -> Option<RollbackLimit> {
        let ahead = self.ahead(release, ring);
        let full = |limit: u32, taken: usize| (limit as usize).saturating_sub(taken) <= ahead;
        if let Some(at_once) = self.limits.at_once
            && full(at_once.get(), self.under_way.len())
        {
            return Some(RollbackLimit::AtOnce(at_once.get()));
        }
        let per_hour = self.limits.per_hour?.get();
        let lately: Vec<_> = self.begun.iter().filter(|at| **at + HOUR > now.mono).collect();
        if !full(per_hour, lately.len()) {
            return None;
        }
        // As many must be an hour old as are too many, with those that wait before it.
        let over = (lately.len() + ahead).saturating_sub(per_hour as usize);
        let free = lately.get(over).map(|at| **at + HOUR);
        Some(RollbackLimit::PerHour { limit: per_hour, free })
    }

    /// How many wait before it.
    pub fn ahead(&self, release: &ReleaseId, ring: &RingName) -> usize {
        let own = |(r, name): &(ReleaseId, RingName)| r == release && name == ring;
        self.waiting.iter().position(own).unwrap_or(self.waiting.len())
    }

    /// One began.
    pub(super) fn begin(&mut self, release: &ReleaseId, ring: &RingName, at: Mono) {
        if self.under_way.insert((release.clone(), ring.clone())) {
            self.begun.retain(|begun| *begun + HOUR > at);
            self.begun.push(at);
        }
        self.wait(release, ring, false);
    }

    /// One joins those that wait, as the last; or waits no more.
    pub(super) fn wait(&mut self, release: &ReleaseId, ring: &RingName, waits: bool) {
        self.waiting.retain(|(r, name)| r != release || name != ring);
        if waits {
            self.waiting.push((release.clone(), ring.clone()));
        }
    }

    /// One is over, whatever came of it.
    pub(super) fn end(&mut self, release: &ReleaseId, ring: &RingName) {
        self.under_way.remove(&(release.clone(), ring.clone()));
        self.wait(release, ring, false);
    }
}

/// Why a rollback that nobody asked for cannot begin yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RollbackLimit {
    /// As many are under way as may be.
    AtOnce(u32),
    /// As many began within an hour as may.
    PerHour {
        /// How many may.
        limit: u32,
        /// When it may begin by the rate alone.
        free: Option<Mono>,
    },
}
