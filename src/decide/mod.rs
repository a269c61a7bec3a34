//! The core: pure and synchronous. It gets all it needs as borrowed values and answers with facts,
//! commands and a reply; it reads no clock, does no I/O and draws no randomness.

mod backfill;
mod caps;
pub mod command;
pub mod event;
pub mod fact;
pub mod gate;
pub mod lane;
mod operator;
pub mod part;
pub mod phase;
mod residency;
mod rollback;
mod rollout;
mod soak;
#[cfg(test)]
mod tests;
pub mod tighten;
pub mod waiting;
pub mod waiver;
pub mod wake;
pub mod world;

use std::{cell::RefCell, collections::BTreeMap, sync::Arc};

use command::Command;
use event::{Declared, Event, News, Outcome, Status, TargetState};
use fact::{Fact, Reply};
use world::{ClusterRun, Illegal, Phase, PlanState, Release, Shared, World};

use crate::{
    ids::{ClusterName, IdempotencyKey, PlanName, ReleaseId, RingName},
    model::time::Now,
};

/// The core's answer to an event.
#[derive(Debug, Clone, Default, PartialEq)]
#[must_use = "facts must be recorded before anything is done about them"]
pub struct Decision {
    /// What is now true, in this order.
    pub facts: Vec<Fact>,
    /// What shall be done, once the facts are durable.
    pub commands: Vec<Arc<Command>>,
    /// What a request is answered, once the facts are durable.
    pub reply: Option<Reply>,
}

impl Decision {
    /// Whether there is nothing to record.
    pub fn is_empty(&self) -> bool {
        self.facts.is_empty() && self.commands.is_empty()
    }
}

/// What follows from `event` in `world` at `now`. The cost is that of the one plan the event is about.
///
/// # Errors
/// A defect of the core, caught before it could be recorded; the event then has no effect.
pub fn decide(world: &World, event: &Event, now: Now) -> Result<Decision, Illegal> {
    match event {
        Event::Operator(request) => operator::decide(world, request, now),
        Event::Submitted { plan, requests } => operator::together(world, plan, requests, now),
        Event::TookOver | Event::Limits(_) | Event::Source { .. } | Event::Learned(_) => {
            let facts = of_no_plan(world, event).into_iter().collect();
            Ok(Decision { facts, ..Decision::default() })
        }
        Event::Declared { plan, .. }
        | Event::Observed { plan, .. }
        | Event::Found { plan, .. }
        | Event::Outcome { plan, .. }
        | Event::Measured { plan, .. }
        | Event::Wake { plan } => Ok(Draft::of(world, plan, event, now)?.decision),
    }
}

/// Decides and makes it true at once: what [`decide`] and [`World::fold`] come to, without following
/// every fact twice.
///
/// # Errors
/// As for [`decide`]; the world is then as it was.
pub fn advance(world: &mut World, event: &Event, now: Now) -> Result<Decision, Illegal> {
    let plan = match event {
        Event::Declared { plan, .. }
        | Event::Observed { plan, .. }
        | Event::Found { plan, .. }
        | Event::Outcome { plan, .. }
        | Event::Measured { plan, .. }
        | Event::Wake { plan } => plan,
        // What is asked may concern every plan.
        Event::Operator(_)
        | Event::Submitted { .. }
        | Event::TookOver
        | Event::Limits(_)
        | Event::Source { .. }
        | Event::Learned(_) => {
            let decision = decide(world, event, now)?;
            return world.fold(now, &decision.facts, &decision.commands).map(|()| decision);
        }
    };
    let Draft { world: made, decision, as_told, .. } = Draft::of(world, plan, event, now)?;
    if as_told {
        world.adopt(made);
    } else {
        world.fold(now, &decision.facts, &decision.commands)?;
    }
    Ok(decision)
}

/// What follows from an event that is about no plan.
fn of_no_plan(world: &World, event: &Event) -> Option<Fact> {
    match event {
        Event::TookOver => Some(Fact::TookOver { epoch: world.epoch + 1 }),
        Event::Limits(limits) => {
            let shared = &world.shared;
            let known =
                shared.rollbacks.limits == limits.rollbacks && *shared.limits == limits.in_motion;
            (!known).then(|| Fact::LimitsSet { limits: limits.clone() })
        }
        Event::Source { commit, refused } => {
            let known = &world.source;
            match refused {
                Some(why) if known.refused.as_ref() != Some(&(commit.clone(), why.clone())) => {
                    Some(Fact::SourceRefused { commit: commit.clone(), why: why.clone() })
                }
                None if known.commit.as_ref() != Some(commit) || known.refused.is_some() => {
                    Some(Fact::SourceAccepted { commit: commit.clone() })
                }
                Some(_) | None => None,
            }
        }
        Event::Learned(news) => learned(&world.shared, news),
        Event::Declared { .. }
        | Event::Observed { .. }
        | Event::Found { .. }
        | Event::Outcome { .. }
        | Event::Measured { .. }
        | Event::Operator(_)
        | Event::Submitted { .. }
        | Event::Wake { .. } => None,
    }
}

/// What of some news is new.
fn learned(shared: &Shared, news: &News) -> Option<Fact> {
    let known = &shared.facts;
    match news {
        News::Blocs(declared) => {
            let known = shared.blocs.declared();
            let new = declared.iter().filter(|(name, members)| {
                members.is_some() && known.get(*name) != members.as_ref()
            });
            let gone = known.keys().filter(|name| !declared.contains_key(*name));
            let blocs: BTreeMap<_, _> = new
                .map(|(name, members)| (name.clone(), members.clone()))
                .chain(gone.map(|name| (name.clone(), None)))
                .collect();
            (!blocs.is_empty()).then_some(Fact::BlocsDeclared { blocs })
        }
        News::Clusters(declared) => {
            let mut clusters: BTreeMap<_, _> = declared
                .iter()
                .filter(|(name, place)| {
                    place.is_some() && known.clusters.get(*name) != Some(*place)
                })
                .map(|(name, place)| (name.clone(), place.clone()))
                .collect();
            let there = known.clusters.iter().filter(|(_, place)| place.is_some());
            let gone = there.filter(|(name, _)| !declared.contains_key(*name));
            clusters.extend(gone.map(|(name, _)| (name.clone(), None)));
            (!clusters.is_empty()).then_some(Fact::PlacesDeclared { clusters })
        }
        News::Witness(cluster, witness) => {
            let new = known.witnesses.get(cluster) != Some(witness);
            new.then(|| Fact::ClusterWitnessed {
                cluster: cluster.clone(),
                witness: witness.clone(),
            })
        }
        News::Home(home) => (known.home != *home).then(|| Fact::HomeStated { home: home.clone() }),
    }
}

/// A decision in the making: a private copy of the one plan that it is about, which every fact is
/// applied to as it is decided.
struct Draft {
    world: World,
    plan: PlanName,
    now: Now,
    decision: Decision,
    /// What a cluster was before a deploy of this very decision.
    before: BTreeMap<IdempotencyKey, ClusterRun>,
    /// Whether its world is what the decision folds to: facts are folded first, then commands.
    as_told: bool,
    /// Whether a release was healthy on a ring when that was asked last, if nothing that bears on it has
    /// changed since: it is asked several times of one ring.
    healthy: RefCell<Option<(ReleaseId, RingName, bool)>>,
}

impl Draft {
    fn new(world: &World, plan: &PlanName, now: Now) -> Self {
        let decision = Decision::default();
        let before = BTreeMap::new();
        let world = world.draft(plan);
        let (plan, healthy) = (plan.clone(), RefCell::default());
        Self { world, plan, now, decision, before, as_told: true, healthy }
    }

    /// What follows from an event that is about that plan.
    fn of(world: &World, plan: &PlanName, event: &Event, now: Now) -> Result<Self, Illegal> {
        let mut draft = Self::new(world, plan, now);
        match event {
            Event::Declared { declared, .. } => draft.declared(declared)?,
            Event::Observed { cluster, state, .. } => draft.observed(cluster, state)?,
            Event::Found { cluster, state, .. } => draft.adopt(cluster, state)?,
            Event::Outcome { key, outcome, .. } => draft.ended(key, outcome)?,
            Event::Measured { key, answer, .. } => {
                let asked = draft.state().and_then(|state| state.in_flight.get(key)).cloned();
                if let Some(Command::Measure(measure)) = asked.as_deref() {
                    draft.measured(measure, answer)?;
                }
            }
            Event::Wake { .. }
            | Event::Operator(_)
            | Event::Submitted { .. }
            | Event::TookOver
            | Event::Limits(_)
            | Event::Source { .. }
            | Event::Learned(_) => {}
        }
        draft.settle()?;
        Ok(draft)
    }

    fn fact(&mut self, fact: Fact) -> Result<(), Illegal> {
        self.world.apply(&fact, self.now)?;
        self.as_told &= self.decision.commands.is_empty();
        if !matches!(fact, Fact::SoakCredited { .. } | Fact::SoakRunning { .. }) {
            self.healthy.take();
        }
        self.decision.facts.push(fact);
        Ok(())
    }

    fn command(&mut self, command: Command) -> Result<(), Illegal> {
        if let Command::Deploy(write) = &command
            && let Some(run) = self.world.run(&write.release, &write.ring)
        {
            let was = run.clusters.get(&write.cluster).cloned().unwrap_or_default();
            self.before.insert(write.key.clone(), was);
        }
        if !matches!(command, Command::Measure(_)) {
            self.healthy.take();
        }
        let command = Arc::new(command);
        self.world.intend(&command, self.now)?;
        self.decision.commands.push(command);
        Ok(())
    }

    /// A write that is out loses its point. One that this very decision makes is not made: its facts are
    /// true before its commands are out, so none of them could supersede it.
    fn drop_write(&mut self, key: IdempotencyKey) -> Result<(), Illegal> {
        let Some(was) = self.before.remove(&key) else {
            return self.fact(Fact::EffectSuperseded { plan: self.plan.clone(), key });
        };
        let commands = &mut self.decision.commands;
        let Some(at) = commands.iter().position(|command| *command.key() == key) else {
            return Ok(());
        };
        if let Command::Deploy(write) = commands.remove(at).as_ref() {
            self.as_told = false;
            self.healthy.take();
            self.world.unwrite(write, was)?;
        }
        Ok(())
    }

    fn state(&self) -> Option<&PlanState> {
        self.world.plans.get(&self.plan).map(Arc::as_ref)
    }

    fn release(&self, id: &ReleaseId) -> Option<Arc<Release>> {
        self.world.release(id).cloned()
    }

    fn phase(&self, id: &ReleaseId, ring: &RingName) -> Option<Phase> {
        self.world.run(id, ring).map(|run| run.phase)
    }

    fn declared(&mut self, declared: &Declared) -> Result<(), Illegal> {
        let known = self.state().map(|s| (s.declared.clone(), s.problems.clone(), s.withdrawn));
        let (in_force, problems, withdrawn) = known.unwrap_or_default();
        let commit = self.world.source.commit.clone().unwrap_or_else(|| "unknown".into());
        match declared {
            Declared::Valid(plan) => {
                let same = in_force.is_some_and(|known| known.hash == plan.hash);
                if !same || !problems.is_empty() || withdrawn {
                    self.fact(Fact::PlanDeclared { plan: plan.clone() })?;
                    self.void_waivers()?;
                    self.tighten_all()?;
                }
            }
            Declared::Invalid(found) => {
                if *found != problems {
                    let plan = self.plan.clone();
                    self.fact(Fact::PlanInError { plan, commit, problems: found.clone() })?;
                }
            }
            Declared::Withdrawn => {
                if in_force.is_some() && !withdrawn {
                    self.fact(Fact::PlanWithdrawn { plan: self.plan.clone(), commit })?;
                }
            }
        }
        Ok(())
    }

    fn observed(&mut self, cluster: &ClusterName, seen: &TargetState) -> Result<(), Illegal> {
        let Some(state) = self.state() else { return Ok(()) };
        let known = state.targets.get(cluster);
        if known.and_then(|t| t.state.as_ref()) == Some(seen) {
            return Ok(());
        }
        let untouched = !state.in_flight.values().any(|c| c.cluster() == cluster);
        let (plan, at) = (self.plan.clone(), cluster.clone());
        self.fact(Fact::TargetSeen { plan, cluster: at, state: seen.clone() })?;
        if untouched { self.adopt(cluster, seen) } else { Ok(()) }
    }

    /// What runs healthily under nobody's intent before the first release is what its owner put there and
    /// consented to hand over: the only thing that a first rollback can go back to.
    fn adopt(&mut self, cluster: &ClusterName, seen: &TargetState) -> Result<(), Illegal> {
        let Some(state) = self.state() else { return Ok(()) };
        let first = state.targets.get(cluster).is_none_or(|t| t.known_good.is_empty());
        let (Status::Succeeded, Some(artifact), None) = (&seen.status, &seen.image, &seen.intent)
        else {
            return Ok(());
        };
        if !first {
            return Ok(());
        }
        let (plan, cluster, artifact) = (self.plan.clone(), cluster.clone(), artifact.clone());
        self.fact(Fact::Adopted { plan, cluster, version: None, artifact })
    }

    fn ended(&mut self, key: &IdempotencyKey, outcome: &Outcome) -> Result<(), Illegal> {
        let command = self.state().and_then(|s| s.in_flight.get(key)).cloned();
        // An outcome of something superseded, or settled before a crash, changes nothing.
        let Some(command) = command else { return Ok(()) };
        let (plan, outcome) = (self.plan.clone(), outcome.clone());
        let refused = match &outcome {
            Outcome::Refused(why) => Some(why.clone()),
            Outcome::Done => None,
        };
        self.fact(Fact::EffectSettled { plan, key: key.clone(), outcome })?;
        let Some(cause) = refused else { return Ok(()) };
        // A later attempt has a write of its own; how an earlier one's ended says nothing of it.
        let current = match command.as_ref() {
            Command::Deploy(write) | Command::Restore(write) => {
                let run = self.world.run(&write.release, &write.ring);
                let here = run.and_then(|run| run.clusters.get(&write.cluster));
                here.is_some_and(|here| here.intent.as_ref() == Some(key))
            }
            Command::Promote(_) | Command::Measure(_) => false,
        };
        if !current {
            return Ok(());
        }
        match command.as_ref() {
            Command::Deploy(write) => self.fact(Fact::ClusterFailed {
                release: write.release.clone(),
                ring: write.ring.clone(),
                cluster: write.cluster.clone(),
                cause,
            }),
            Command::Restore(write) => self.fact(Fact::ClusterStuck {
                release: write.release.clone(),
                ring: write.ring.clone(),
                cluster: write.cluster.clone(),
                cause,
            }),
            // It stands where it stood: its ring's deadline says for how long.
            Command::Promote(_) | Command::Measure(_) => Ok(()),
        }
    }
}
