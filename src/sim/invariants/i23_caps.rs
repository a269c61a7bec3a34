use super::{Invariant, Step};
use crate::{
    decide::{command::Command, fact::Fact, world::Step as ClusterStep},
    model::residency::Demand,
};

/// Counts what is in motion at every start and every write.
#[derive(Debug, Default)]
pub(super) struct Caps;

impl Invariant for Caps {
    fn number(&self) -> u8 {
        23
    }

    fn says(&self) -> &'static str {
        "rings and clusters in motion never exceed their caps"
    }

    fn check(&mut self, step: &Step<'_>) -> Result<(), String> {
        for command in &step.decision.commands {
            let Command::Deploy(write) = command else { continue };
            let on = step.on(&write.release, &write.ring)?;
            let deploying = on.run.clusters.values().filter(|c| c.step == ClusterStep::Deploying);
            let (count, cap) =
                (deploying.count(), on.ring.policy.concurrency.of(on.ring.clusters.len()));
            if count > cap {
                return Err(format!("{count} clusters of {} deploy, {cap} may", write.ring));
            }
        }
        for fact in &step.decision.facts {
            let Fact::RingStarted { release, ring, .. } = fact else { continue };
            let on = step.on(release, ring)?;
            let motion = &step.after.shared.motion;
            for rule in &on.release.plan.residency {
                if let Demand::MaxInFlight { jurisdiction, rings } = &rule.demand {
                    let inside =
                        on.ring.clusters.iter().any(|c| jurisdiction.contains(&c.jurisdiction));
                    let moving =
                        motion.values().filter(|c| c.values().any(|j| jurisdiction.contains(j)));
                    let moving = moving.count();
                    if inside && moving > *rings as usize {
                        let place = &jurisdiction.name;
                        return Err(format!("{moving} rings move in {place}, {rings} may"));
                    }
                } else if let Demand::PairExclusive = &rule.demand {
                    let own = (release.plan.clone(), ring.clone());
                    for cluster in &on.ring.clusters {
                        let Some(partner) = &cluster.failover_pair else { continue };
                        let other =
                            motion.iter().find(|(at, c)| **at != own && c.contains_key(partner));
                        if let Some(((plan, other), _)) = other {
                            let cluster = &cluster.name;
                            return Err(format!(
                                "{cluster} starts while {plan} moves {partner} in {other}"
                            ));
                        }
                    }
                }
            }
        }
        Ok(())
    }
}
