//! What concerns more than one plan.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Line, Moving, Place, Release, Rollbacks, image};
use crate::{
    decide::{
        event::{Actor, Scope},
        waiting::covers,
    },
    ids::{FreezeId, Jurisdiction},
    model::{blocs::Blocs, limits::MotionLimits, residency::Facts, ring::Ring, time::Now},
};

/// What concerns more than one plan: small, and read by every decision.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shared {
    /// Pauses in force.
    #[serde(with = "image::pairs")]
    pub pauses: BTreeMap<Scope, Pause>,
    /// Freezes in force, those that ended by themselves included until they are lifted.
    pub freezes: BTreeMap<FreezeId, Freeze>,
    /// What is known of places, for residency rules.
    pub facts: Arc<Facts>,
    /// The blocs as they are declared.
    pub blocs: Arc<Blocs>,
    /// The rings in motion: what caps are counted over.
    #[serde(with = "image::pairs")]
    pub motion: BTreeMap<Place, Moving>,
    /// How many there may be, by the server's settings.
    pub limits: Arc<MotionLimits>,
    /// Those that wait for a place by these limits.
    pub line: Arc<Line>,
    /// The rollbacks of all plans, and what limits them.
    pub rollbacks: Rollbacks,
}

impl Shared {
    /// The pauses that cover a release on a ring.
    pub fn paused(&self, release: &Release, ring: &Ring) -> impl Iterator<Item = (&Scope, &Pause)> {
        let covers = |scope: &Scope, members| covers(&self.blocs, scope, members, release, ring);
        self.pauses.iter().filter(move |(scope, pause)| covers(scope, &pause.members))
    }

    /// The freezes in force at an instant that cover a release on a ring.
    pub fn frozen(
        &self,
        release: &Release,
        ring: &Ring,
        now: Timestamp,
    ) -> impl Iterator<Item = (&FreezeId, &Freeze)> {
        let covers = |scope: &Scope, members| covers(&self.blocs, scope, members, release, ring);
        self.freezes
            .iter()
            .filter(move |(_, freeze)| freeze.until.is_none_or(|until| now < until))
            .filter(move |(_, freeze)| covers(&freeze.scope, &freeze.members))
    }
}

/// A stop of forward effects, until somebody resumes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Who, when, why.
    pub said: Said,
    /// The countries of the scope's jurisdiction when it was said: they stay stopped whatever is declared
    /// of it later.
    pub members: BTreeSet<Jurisdiction>,
}

/// Who said it, when and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Who.
    pub by: Actor,
    /// When.
    pub at: Now,
    /// Why.
    pub reason: Option<String>,
}

/// A stop of the line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// What it covers.
    pub scope: Scope,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
    /// Who, when, why.
    pub said: Said,
    /// As of a pause.
    pub members: BTreeSet<Jurisdiction>,
}
