use super::{Invariant, Step};
use crate::decide::{fact::Fact, world::Step as ClusterStep};

/// Counts the clusters of every ring that passes.
#[derive(Debug, Default)]
pub(super) struct Membership;

impl Invariant for Membership {
    fn number(&self) -> u8 {
        21
    }

    fn says(&self) -> &'static str {
        "a ring is complete only when every declared target was seen at the exact digest"
    }

    fn check(&mut self, step: &Step<'_>) -> Result<(), String> {
        for fact in &step.decision.facts {
            let Fact::RingPassed { release, ring } = fact else { continue };
            let on = step.on(release, ring)?;
            let declared = on.ring.clusters.iter().map(|cluster| &cluster.name);
            if let Some(lost) = declared.clone().find(|name| !on.run.clusters.contains_key(*name)) {
                return Err(format!("{release} passed {ring} without {lost}"));
            }
            let (mut ready, mut failed) = (0, 0);
            for (cluster, here) in &on.run.clusters {
                match &here.step {
                    ClusterStep::Ready => ready += 1,
                    ClusterStep::Failed(_) => failed += 1,
                    ClusterStep::Planned
                    | ClusterStep::Deploying
                    | ClusterStep::Restoring
                    | ClusterStep::Restored
                    | ClusterStep::Stuck(_) => {
                        return Err(format!("{release} passed {ring}, {cluster}: {:?}", here.step));
                    }
                }
            }
            if ready == 0 || failed > on.ring.policy.failure_budget {
                return Err(format!("{release} passed {ring}: {ready} ready, {failed} failed"));
            }
        }
        Ok(())
    }
}
