//! When a release could be where, at the earliest.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    decide::{
        waiting::earliest::{self, Course, Stay},
        world::{Release, World},
    },
    model::time::Now,
    show::words,
};

/// The earliest instants, if everything goes well from here: a deploy takes no time, no soak is interrupted,
/// and whoever must act does so at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EarliestView {
    /// When it could start; missing where it has, or never does by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub starts: Option<Timestamp>,
    /// When it could have passed; missing where it never does by itself.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub passes: Option<Timestamp>,
    /// What somebody has to do first, in words: it passes no sooner than all of that is done.
    pub not_before: Vec<String>,
}

impl EarliestView {
    fn of(stay: &Stay, world: &World, release: &Release, now: Now) -> Self {
        let not_before = stay.needs.iter().fold(Vec::new(), |mut said: Vec<String>, need| {
            let need = words::need(need, world, release, now);
            if !said.contains(&need) {
                said.push(need);
            }
            said
        });
        Self { starts: stay.start, passes: stay.pass, not_before }
    }

    /// In words: `2026-11-09 13:00Z, not before approval 1 of 2 on eu-west`.
    pub fn in_words(&self, say: impl Fn(Timestamp) -> String) -> String {
        let when = match (self.passes, self.not_before.is_empty()) {
            (Some(at), _) => say(at),
            (None, false) => "nobody knows".into(),
            (None, true) => "never".into(),
        };
        match self.not_before.as_slice() {
            [] => when,
            needs => format!("{when}, not before {}", needs.join("; ")),
        }
    }
}

/// What is expected of a release: of the rings that are not over, and of the whole. Nothing of one that is
/// settled.
pub struct Expected<'a> {
    course: Option<Course>,
    world: &'a World,
    release: &'a Release,
    now: Now,
}

impl<'a> Expected<'a> {
    /// Looks ahead from `now`.
    pub fn of(world: &'a World, release: &'a Release, now: Now) -> Self {
        Self { course: earliest::of_release(world, release, now), world, release, now }
    }

    /// On a ring that it has not passed.
    pub fn on(&self, ring: &crate::ids::RingName) -> Option<EarliestView> {
        use crate::decide::world::Phase;
        let stay = self.course.as_ref()?.on(ring)?;
        match self.release.ring(ring)?.phase {
            Phase::Waiting | Phase::Deploying | Phase::Soaking => {
                Some(EarliestView::of(stay, self.world, self.release, self.now))
            }
            Phase::Passed
            | Phase::Failed
            | Phase::RollingBack
            | Phase::RolledBack
            | Phase::Aborted
            | Phase::Superseded => None,
        }
    }

    /// Everywhere.
    pub fn whole(&self) -> Option<EarliestView> {
        let whole = self.course.as_ref()?.whole();
        Some(EarliestView::of(&whole, self.world, self.release, self.now))
    }
}
