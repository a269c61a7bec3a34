use std::collections::{BTreeMap, BTreeSet};

use super::{Invariant, Step};
use crate::{
    decide::{command::Command, fact::Fact, world::Step as ClusterStep},
    ids::{ClusterName, PlanName, ReleaseId, RingName},
    model::ring::Artifact,
};

/// Books what soaked through where, and holds every way back against it.
#[derive(Debug, Default)]
pub(super) struct KnownGoods {
    good: BTreeMap<(PlanName, ClusterName), Vec<Artifact>>,
    passed: BTreeSet<(ReleaseId, RingName)>,
}

impl KnownGoods {
    /// Where a fact says that what runs there is no good: it is back, or its pass is revoked.
    fn taken_back<'a>(&mut self, fact: &'a Fact) -> Option<(&'a ReleaseId, &'a RingName)> {
        if let Fact::RingRolledBack { release, ring } = fact {
            return Some((release, ring));
        }
        let (Fact::RollbackStarted { release, ring, .. } | Fact::RingFailed { release, ring, .. }) =
            fact
        else {
            return None;
        };
        // What never passed under this release may have soaked through under another, of the same content.
        let passed = self.passed.remove(&(release.clone(), ring.clone()));
        passed.then_some((release, ring))
    }
}

impl Invariant for KnownGoods {
    fn number(&self) -> u8 {
        18
    }

    fn says(&self) -> &'static str {
        "a rollback goes only to what completed its full soak there"
    }

    fn check(&mut self, step: &Step<'_>) -> Result<(), String> {
        for fact in &step.decision.facts {
            if let Fact::Adopted { plan, cluster, artifact, .. } = fact {
                self.good.insert((plan.clone(), cluster.clone()), vec![artifact.clone()]);
            } else if let Fact::RingPassed { release, ring } = fact {
                let on = step.on(release, ring)?;
                self.passed.insert((release.clone(), ring.clone()));
                for (cluster, here) in &on.run.clusters {
                    if here.step == ClusterStep::Ready {
                        let good = self.good.entry((release.plan.clone(), cluster.clone()));
                        good.or_default().push(on.release.artifact.clone());
                    }
                }
            } else if let Some((release, ring)) = self.taken_back(fact) {
                let on = step.on(release, ring)?;
                for cluster in on.run.clusters.keys() {
                    let good = self.good.entry((release.plan.clone(), cluster.clone()));
                    good.or_default().retain(|artifact| !artifact.same_as(&on.release.artifact));
                }
            }
        }
        for command in &step.decision.commands {
            let Command::Restore(write) = command.as_ref() else { continue };
            let on = step.on(&write.release, &write.ring)?;
            let known = self.good.get(&(write.release.plan.clone(), write.cluster.clone()));
            let known = known.is_some_and(|good| good.iter().any(|a| a.same_as(&write.artifact)));
            if !known || write.artifact.same_as(&on.release.artifact) {
                return Err(format!("{} goes to {}", write.key, write.artifact));
            }
        }
        Ok(())
    }
}
