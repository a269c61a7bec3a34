use std::collections::{BTreeMap, BTreeSet};

use super::{Invariant, Step};
use crate::{
    decide::{
        event::Actor,
        fact::{Binding, Fact},
    },
    ids::{ReleaseId, RingName},
    model::time::Now,
};

/// Keeps every approval, and counts again at each start which of them carry it.
#[derive(Debug, Default)]
pub(super) struct Approvals {
    given: BTreeMap<(ReleaseId, RingName), Vec<Given>>,
}

/// By whom, to what, when.
type Given = (Actor, Binding, Now);

impl Invariant for Approvals {
    fn number(&self) -> u8 {
        16
    }

    fn says(&self) -> &'static str {
        "every required approval is a distinct, authorised person's, not the author's, bound and fresh"
    }

    fn check(&mut self, step: &Step<'_>) -> Result<(), String> {
        for fact in &step.decision.facts {
            if let Fact::Approved { release, ring, by, binding, .. } = fact {
                let given = self.given.entry((release.clone(), ring.clone())).or_default();
                given.push((by.clone(), binding.clone(), step.now));
            } else if let Fact::Rejected { release, ring, .. } = fact {
                self.given.remove(&(release.clone(), ring.clone()));
            } else if let Fact::RingStarted { release, ring, attempt, clusters } = fact {
                let on = step.on(release, ring)?;
                let Some(needed) = &on.ring.policy.approvals else { continue };
                let given = self.given.get(&(release.clone(), ring.clone()));
                let counting = given.into_iter().flatten().filter(|(by, binding, at)| {
                    let author = by.name == on.release.author || by.name == on.release.by.name;
                    let role = needed.roles.is_empty()
                        || needed.roles.iter().any(|role| by.roles.contains(role));
                    let place = needed.jurisdiction.as_ref().is_none_or(|territory| {
                        by.jurisdiction.as_ref().is_some_and(|place| territory.contains(place))
                    });
                    let age = step.now.mono.since(at.mono);
                    let bound = binding.artifact == on.release.artifact
                        && binding.policy == on.release.plan.hash
                        && binding.clusters == *clusters
                        && binding.attempt == *attempt;
                    !(needed.exclude_author && author)
                        && role
                        && place
                        && needed.expires.is_none_or(|expires| age < expires)
                        && bound
                });
                let people: BTreeSet<_> = counting.map(|(by, ..)| &by.name).collect();
                if (people.len() as u32) < needed.count {
                    let count = needed.count;
                    return Err(format!("{release} on {ring} has {people:?} of {count}"));
                }
            }
        }
        Ok(())
    }
}
