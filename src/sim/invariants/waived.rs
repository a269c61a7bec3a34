//! Which waivable rules do not bind now, from the facts alone.

use std::collections::{BTreeMap, BTreeSet};

use super::{On, Step};
use crate::{
    decide::{
        event::Actor,
        fact::{Fact, Waiver},
    },
    ids::{PlanName, WaiverId},
    model::{
        residency::{Enforcement, Rule},
        time::Now,
    },
};

/// The waivers that were neither revoked nor voided.
#[derive(Debug, Default)]
pub(super) struct Waivers {
    open: BTreeMap<(PlanName, WaiverId), Asked>,
}

#[derive(Debug)]
struct Asked {
    waiver: Waiver,
    by: Actor,
    at: Now,
    approvals: Vec<Actor>,
}

impl Waivers {
    /// Takes in what a decision says of waivers.
    pub(super) fn hear(&mut self, step: &Step<'_>) {
        for fact in &step.decision.facts {
            if let Fact::WaiverAsked { plan, id, waiver, by } = fact {
                let (waiver, by, at) = (waiver.clone(), by.clone(), step.now);
                let asked = Asked { waiver, by, at, approvals: Vec::new() };
                self.open.insert((plan.clone(), id.clone()), asked);
            } else if let Fact::WaiverApproved { plan, id, by } = fact {
                let asked = self.open.get_mut(&(plan.clone(), id.clone()));
                asked.into_iter().for_each(|asked| asked.approvals.push(by.clone()));
            } else if let Fact::WaiverRevoked { plan, id, .. }
            | Fact::WaiverVoided { plan, id, .. } = fact
            {
                self.open.remove(&(plan.clone(), id.clone()));
            }
        }
    }

    /// Whether a rule binds a release on its ring.
    pub(super) fn binds(&self, rule: &Rule, on: &On<'_>, now: Now) -> bool {
        rule.enforcement == Enforcement::Hard
            || !self.open.iter().any(|((plan, _), asked)| {
                let Asked { waiver, by, at, approvals } = asked;
                let release = on.release;
                let named = waiver.rule == rule.id && waiver.policy == rule.policy;
                let covers = waiver.release.as_ref().is_none_or(|v| *v == release.id.version)
                    && waiver.ring.as_ref().is_none_or(|ring| *ring == on.ring.name);
                let lasts = waiver.until.duration_since(at.wall);
                let age = now.mono.since(at.mono).to_signed();
                let people: BTreeSet<_> = approvals
                    .iter()
                    .filter(|who| who.roles.iter().any(|role| role == "approver"))
                    .map(|who| &who.name)
                    .filter(|who| **who != by.name)
                    .filter(|who| **who != release.author && **who != release.by.name)
                    .collect();
                *plan == release.id.plan
                    && named
                    && waiver.content == rule.content()
                    && covers
                    && now.wall < waiver.until
                    && age < lasts
                    && people.len() >= 2
            })
    }
}
