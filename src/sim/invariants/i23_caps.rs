use super::{Invariant, Step, waived::Waivers};
use crate::{
    decide::{
        command::Command,
        fact::Fact,
        world::{Moving, Step as ClusterStep, World},
    },
    ids::{PlanName, ReleaseId, RingName},
    model::{
        limits::{MotionLimits, PerPlace},
        residency::{Demand, Rule},
        ring::Ring,
    },
};

type Place = (PlanName, RingName);

/// Counts what is in motion at every start and every write; by the settings over all plans, ring by
/// ring, and with who has waited longest for a place as if it moved already.
#[derive(Debug, Default)]
pub(super) struct Caps {
    waivers: Waivers,
    limits: MotionLimits,
    /// Who waits for a place, the longest first.
    line: Vec<(Place, ReleaseId)>,
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
            let Command::Deploy(write) = command.as_ref() else { continue };
            let on = step.on(&write.release, &write.ring)?;
            let deploying = on.run.clusters.values().filter(|c| c.step == ClusterStep::Deploying);
            let (count, cap) =
                (deploying.count(), on.ring.policy.concurrency.of(on.ring.clusters.len()));
            if count > cap {
                return Err(format!("{count} clusters of {} deploy, {cap} may", write.ring));
            }
        }
        // As it was at that very fact: in one decision a ring may pass, and others start one after another.
        let mut world = None;
        if step.decision.facts.iter().any(|fact| matches!(fact, Fact::RingStarted { .. })) {
            world = Some(step.before.clone());
        }
        for fact in &step.decision.facts {
            if let Some(world) = &mut world {
                world.apply(fact, step.now).map_err(|illegal| illegal.to_string())?;
            }
            if let Fact::LimitsSet { limits } = fact {
                self.limits = limits.in_motion.clone();
            } else if let Fact::StartQueued { release, ring, queued } = fact {
                let place = (release.plan.clone(), ring.clone());
                let known = self.line.iter().position(|(other, _)| *other == place);
                match (known, queued) {
                    (Some(at), true) => self.line[at].1 = release.clone(),
                    (None, true) => self.line.push((place, release.clone())),
                    (Some(at), false) => _ = self.line.remove(at),
                    (None, false) => {}
                }
            } else if let Fact::RingStarted { release, ring, .. } = fact {
                let own = (release.plan.clone(), ring.clone());
                self.within_rules(step, release, &own)?;
                self.within_settings(step, world.as_ref().unwrap_or(step.after), release, &own)?;
                self.line.retain(|(place, _)| *place != own);
            }
        }
        Ok(())
    }
}

impl Caps {
    /// The caps of whatever moves, this ring included: they hold whoever came first.
    fn within_rules(&self, step: &Step<'_>, id: &ReleaseId, own: &Place) -> Result<(), String> {
        let on = step.on(id, &own.1)?;
        let motion = &step.after.shared.motion;
        let binds = |rule: &&Rule| self.waivers.binds(rule, &on, step.now);
        for (at, moving) in motion {
            for rule in moving.caps.iter().filter(binds) {
                if let Demand::MaxInFlight { jurisdiction, rings } = &rule.demand {
                    let concerned = jurisdiction.reaches(on.ring) && moving.reaches(jurisdiction);
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
            let bound = exclusive(moving) || motion.get(own).is_some_and(exclusive);
            let pair = on.ring.clusters.iter().find_map(|cluster| {
                let partner = cluster.failover_pair.as_ref()?;
                moving.clusters.contains_key(partner).then_some((&cluster.name, partner))
            });
            if let Some((cluster, partner)) = pair.filter(|_| bound && at != own) {
                let (plan, other) = at;
                return Err(format!("{cluster} starts while {plan} moves {partner} in {other}"));
            }
        }
        Ok(())
    }

    fn within_settings(
        &self,
        step: &Step<'_>,
        world: &World,
        id: &ReleaseId,
        own: &Place,
    ) -> Result<(), String> {
        let on = step.on(id, &own.1)?;
        let longest = self.line.first().filter(|(place, _)| place != own);
        let longest = longest.and_then(|((_, ring), release)| {
            let declared = world.release(release)?.plan.ring(ring)?;
            Some(((release.plan.clone(), ring.clone()), declared))
        });
        let mut moving: Vec<(Place, &Ring)> = rings_in_motion(world);
        if let Some((place, ring)) = longest {
            moving.retain(|(other, _)| *other != place);
            moving.push((place, ring));
        }
        let over = |limit: u32, what: &str, counts: &dyn Fn(&Ring) -> bool| {
            let moving: Vec<_> = moving.iter().filter(|(_, ring)| counts(ring)).collect();
            match counts(on.ring) && moving.len() > limit as usize {
                true => {
                    let places: Vec<_> = moving.iter().map(|(place, _)| place).collect();
                    Err(format!("{own:?} starts{what} beside {places:?}, {limit} may move"))
                }
                false => Ok(()),
            }
        };
        if let Some(limit) = self.limits.rings {
            over(limit.get(), "", &|_| true)?;
        }
        for cluster in &on.ring.clusters {
            let region = &cluster.region;
            let limit = match &self.limits.per_region {
                PerPlace::Each(limit) => Some(*limit),
                PerPlace::Named(named) => named.get(region).copied(),
            };
            if let Some(limit) = limit {
                let here = |ring: &Ring| ring.clusters.iter().any(|c| c.region == *region);
                over(limit.get(), &format!(" in {region}"), &here)?;
            }
            if let PerPlace::Each(limit) = &self.limits.per_jurisdiction {
                let country = &cluster.jurisdiction;
                let here = |ring: &Ring| ring.clusters.iter().any(|c| c.jurisdiction == *country);
                over(limit.get(), &format!(" in {country}"), &here)?;
            }
        }
        if let PerPlace::Named(named) = &self.limits.per_jurisdiction {
            for (name, limit) in named {
                let members = world.shared.blocs.members(name);
                let here =
                    |ring: &Ring| ring.clusters.iter().any(|c| members.contains(&c.jurisdiction));
                over(limit.get(), &format!(" in {name}"), &here)?;
            }
        }
        Ok(())
    }
}

/// Every ring that moves, from the releases themselves.
fn rings_in_motion(world: &World) -> Vec<(Place, &Ring)> {
    let mut found = Vec::new();
    for (plan, state) in &world.plans {
        for release in state.releases.values() {
            for (name, run) in &release.rings {
                let place = (plan.clone(), name.clone());
                let counted = found.iter().any(|(other, _)| *other == place);
                if let Some(ring) = release.plan.ring(name)
                    && run.phase.in_motion()
                    && !counted
                {
                    found.push((place, ring));
                }
            }
        }
    }
    found
}
