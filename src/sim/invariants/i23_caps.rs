use super::{Invariant, Step, waived::Waivers};
use crate::{
    decide::{
        command::Command,
        fact::Fact,
        world::{Moving, Step as ClusterStep},
    },
    model::residency::{Demand, Rule},
};

/// Counts what is in motion at every start and every write.
#[derive(Debug, Default)]
pub(super) struct Caps {
    waivers: Waivers,
}

impl Invariant for Caps {
    fn number(&self) -> u8 {
        23
    }

    fn says(&self) -> &'static str {
        "rings and clusters in motion never exceed their caps"
    }

    fn check(&mut self, step: &Step<'_>) -> Result<(), String> {
        self.waivers.hear(step);
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
            let own = (release.plan.clone(), ring.clone());
            // The caps of whatever moves, this ring included: they hold whoever came first.
            let binds = |rule: &&Rule| self.waivers.binds(rule, &on, step.now);
            for (at, moving) in motion {
                for rule in moving.caps.iter().filter(binds) {
                    if let Demand::MaxInFlight { jurisdiction, rings } = &rule.demand {
                        let concerned =
                            jurisdiction.reaches(on.ring) && moving.reaches(jurisdiction);
                        let count = motion.values().filter(|m| m.reaches(jurisdiction)).count();
                        if concerned && count > *rings as usize {
                            let place = &jurisdiction.name;
                            return Err(format!("{count} rings move in {place}, {rings} may"));
                        }
                    }
                }
                let exclusive = |m: &Moving| {
                    m.caps.iter().filter(binds).any(|rule| rule.demand == Demand::PairExclusive)
                };
                let bound = exclusive(moving) || motion.get(&own).is_some_and(exclusive);
                let pair = on.ring.clusters.iter().find_map(|cluster| {
                    let partner = cluster.failover_pair.as_ref()?;
                    moving.clusters.contains_key(partner).then_some((&cluster.name, partner))
                });
                if let Some((cluster, partner)) = pair.filter(|_| bound && *at != own) {
                    let (plan, other) = at;
                    return Err(format!(
                        "{cluster} starts while {plan} moves {partner} in {other}"
                    ));
                }
            }
        }
        Ok(())
    }
}
