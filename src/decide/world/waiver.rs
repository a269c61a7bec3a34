//! Waivers of a plan's residency rules, as they were asked for and agreed to.

use serde::{Deserialize, Serialize};

use super::{Illegal, Said, World};
use crate::{
    decide::{event::Actor, fact::Waiver},
    ids::{PlanName, RingName, Version, WaiverId},
    model::{
        residency::{Enforcement, Rule},
        time::{Now, Span},
    },
};

/// A waiver, and what has become of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaiverRun {
    /// What it takes out of force, and for how long.
    pub waiver: Waiver,
    /// Who asked for it, when and why.
    pub said: Said,
    /// Who agreed, and when.
    pub approvals: Vec<(Actor, Now)>,
    /// How it ended before its time, if it did.
    pub ended: Option<Ended>,
}

/// How a waiver ended before its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ended {
    /// Somebody ended it.
    Revoked(Said),
    /// Its rule became another.
    Voided {
        /// In words.
        why: String,
        /// When.
        at: Now,
    },
}

impl WaiverRun {
    /// When it ends by itself: the first of both clocks says so, because one stands still while ringward
    /// is away and the other may be set, and being over allows nothing.
    pub fn ends(&self) -> Now {
        let left = self.waiver.until.duration_since(self.said.at.wall).as_millis();
        let left = Span(u64::try_from(left).unwrap_or(0));
        Now { wall: self.waiver.until, mono: self.said.at.mono + left }
    }

    /// Whether it ended, by itself or otherwise.
    pub fn is_over(&self, now: Now) -> bool {
        let ends = self.ends();
        self.ended.is_some() || now.wall >= ends.wall || now.mono >= ends.mono
    }

    /// Whether it speaks of that rule, as the rule is.
    pub fn is_of(&self, rule: &Rule) -> bool {
        let waiver = &self.waiver;
        rule.enforcement == Enforcement::Waivable
            && waiver.rule == rule.id
            && waiver.policy == rule.policy
            && waiver.content == rule.content()
    }

    /// Whether its scope covers a version on a ring.
    pub fn covers(&self, version: &Version, ring: &RingName) -> bool {
        self.waiver.release.as_ref().is_none_or(|of| of == version)
            && self.waiver.ring.as_ref().is_none_or(|on| on == ring)
    }
}

impl World {
    pub(super) fn ask_waiver(
        &mut self,
        (plan, id): (&PlanName, &WaiverId),
        waiver: &Waiver,
        by: &Actor,
        at: Now,
    ) -> Result<(), Illegal> {
        let said = Said { by: by.clone(), at, reason: Some(waiver.reason.clone()) };
        let asked = WaiverRun { waiver: waiver.clone(), said, approvals: Vec::new(), ended: None };
        let known = self.plan_mut(plan).waivers.insert(id.clone(), asked);
        known.map_or(Ok(()), |_| Err(Illegal { what: format!("waiver {id}, asked for again") }))
    }

    pub(super) fn end_waiver(
        &mut self,
        plan: &PlanName,
        id: &WaiverId,
        how: Ended,
    ) -> Result<(), Illegal> {
        self.waiver_mut(plan, id)?.ended = Some(how);
        Ok(())
    }

    /// One that has not ended before its time.
    pub(super) fn waiver_mut(
        &mut self,
        plan: &PlanName,
        id: &WaiverId,
    ) -> Result<&mut WaiverRun, Illegal> {
        let waiver = self.plan_mut(plan).waivers.get_mut(id).filter(|w| w.ended.is_none());
        waiver.ok_or_else(|| Illegal { what: format!("something about waiver {id} of {plan}") })
    }
}
