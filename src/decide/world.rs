//! What is true: the fold of all facts. [`World::apply`] is the only mutation and decides nothing;
//! recovery replays the journal through it and never runs the core again.
//!
//! Plans, releases and ring runs are shared by reference count and copied on write, so that the core
//! can work on a draft of the one plan that an event touches ([`World::draft`]) at the price of what
//! the event changes.

mod apply;
mod gap;
mod image;
mod lane;
mod motion;
mod plan;
mod rollbacks;
mod run;
mod shared;
mod sight;
mod soak;
mod waiver;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    command::{Command, Measure, Write},
    event::{Scope, TargetState},
    fact::{Fact, Reply},
};
use crate::{
    ids::{ClusterName, Commit, Hash, IdempotencyKey, Jurisdiction, PlanName, ReleaseId, RingName},
    model::{
        plan::Plan,
        residency::{Facts, Known},
        ring::Ring,
        time::{Mono, Now},
    },
};

pub use self::{
    gap::Gap,
    lane::{DebtRun, LaneRun, Seen},
    motion::{Cap, Claim, Line, Moving, Place},
    plan::{KnownGood, PlanState, Release, TargetRun},
    rollbacks::{RollbackLimit, Rollbacks},
    run::{Approval, Back, ClusterRun, GateRun, Phase, RingRun, SoakRun, Step, Stopwatch},
    shared::{Freeze, Pause, Said, Shared},
    waiver::{Ended, WaiverRun},
};

/// Answers that are kept for repeats of a request.
const ANSWERS: usize = 10_000;

/// Everything that is true.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct World {
    /// The writer's epoch; it grows with every take-over.
    pub epoch: u64,
    /// The monotonic time reached, from which a successor's clock goes on.
    pub reached: Mono,
    /// When the last entry was recorded.
    pub recorded: Option<Now>,
    /// Where the source is.
    pub source: SourceState,
    /// By plan.
    pub plans: BTreeMap<PlanName, Arc<PlanState>>,
    /// What concerns more than one plan.
    pub shared: Arc<Shared>,
    /// What requests with a key were answered, in the order of their answers.
    pub answers: Arc<Answers>,
}

/// Where the source of declarations is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceState {
    /// The commit in force.
    pub commit: Option<Commit>,
    /// Since when.
    pub accepted: Option<Timestamp>,
    /// A head that was not accepted since, and why.
    pub refused: Option<(Commit, String)>,
}

/// What requests with a key were answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers {
    by_key: BTreeMap<IdempotencyKey, (Hash, Reply)>,
    order: std::collections::VecDeque<IdempotencyKey>,
}

impl Answers {
    /// The fingerprint of the request that used the key, and its answer.
    pub fn get(&self, key: &IdempotencyKey) -> Option<&(Hash, Reply)> {
        self.by_key.get(key)
    }
}

/// A fact that does not follow from those before it: a defect of the core, or a journal that is not
/// this program's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} does not follow from what was recorded before it")]
pub struct Illegal {
    what: String,
}

impl World {
    /// A world of one plan and of what is shared, for a decision to work on.
    pub fn draft(&self, plan: &PlanName) -> World {
        let state = self.plans.get(plan).map(|p| (plan.clone(), p.clone()));
        World {
            epoch: self.epoch,
            reached: self.reached,
            recorded: self.recorded,
            source: self.source.clone(),
            plans: state.into_iter().collect(),
            shared: self.shared.clone(),
            answers: Arc::default(),
        }
    }

    /// Takes over what a decision has made of a draft: its plan, and what is shared.
    pub(super) fn adopt(&mut self, draft: World) {
        let World { epoch, reached, recorded, source, plans, shared, answers: _ } = draft;
        (self.epoch, self.reached, self.recorded) = (epoch, reached, recorded);
        (self.source, self.shared) = (source, shared);
        for (name, state) in plans {
            match self.plans.get_mut(&name) {
                Some(place) => *place = state,
                None => _ = self.plans.insert(name, state),
            }
        }
    }

    /// What is known of places at an instant.
    pub fn known(&self, now: Now) -> Known<'_> {
        Known::at(&self.shared.facts, now.wall)
    }

    /// A release.
    pub fn release(&self, id: &ReleaseId) -> Option<&Arc<Release>> {
        self.plans.get(&id.plan)?.releases.get(&id.version)
    }

    /// A release on a ring.
    pub fn run(&self, id: &ReleaseId, ring: &RingName) -> Option<&RingRun> {
        self.release(id)?.ring(ring)
    }

    /// Makes a recorded decision true: its facts in order, then its commands.
    pub fn fold(
        &mut self,
        at: Now,
        facts: &[Fact],
        commands: &[Arc<Command>],
    ) -> Result<(), Illegal> {
        // Most decisions are about one plan. It is looked for among thousands once, and not for each of
        // the many steps that follow.
        let plan = of_one_plan(facts, commands).cloned();
        let Some((plan, place)) = plan.and_then(|plan| {
            let place = self.plans.get_mut(&plan)?;
            Some((plan, place))
        }) else {
            return self.fold_each(at, facts, commands);
        };
        let alone = BTreeMap::from([(plan.clone(), std::mem::take(place))]);
        let others = std::mem::replace(&mut self.plans, alone);
        let folded = self.fold_each(at, facts, commands);
        let alone = std::mem::replace(&mut self.plans, others);
        self.plans.extend(alone);
        folded
    }

    fn fold_each(
        &mut self,
        at: Now,
        facts: &[Fact],
        commands: &[Arc<Command>],
    ) -> Result<(), Illegal> {
        facts.iter().try_for_each(|fact| self.apply(fact, at))?;
        commands.iter().try_for_each(|command| self.intend(command, at))
    }

    /// A command was recorded: it is in flight until a fact says how it ended.
    pub fn intend(&mut self, command: &Arc<Command>, at: Now) -> Result<(), Illegal> {
        self.reached = self.reached.max(at.mono);
        self.recorded = Some(at);
        let intended = |world: &mut Self| {
            let plan = world.plan_mut(command.plan());
            plan.in_flight.insert(command.key().clone(), command.clone());
        };
        match command.as_ref() {
            Command::Deploy(write) => {
                intended(self);
                self.intend_write(write, Step::Deploying, at)
            }
            Command::Restore(write) => {
                intended(self);
                self.intend_write(write, Step::Restoring, at)?;
                self.begin_rollback(&write.release, &write.ring, at)
            }
            Command::Promote(_) => {
                intended(self);
                Ok(())
            }
            Command::Measure(measure) => self.quietly(command.plan(), |world| {
                intended(world);
                world.intend_measure(measure, at)
            }),
        }
    }

    /// Changes a plan, and leaves it at its revision.
    fn quietly<T>(&mut self, plan: &PlanName, change: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.plans.get(plan).map(|state| state.revision);
        let changed = change(self);
        if let (Some(before), Some(state)) = (before, self.plans.get_mut(plan)) {
            Arc::make_mut(state).revision = before;
        }
        changed
    }

    fn intend_write(&mut self, write: &Write, step: Step, at: Now) -> Result<(), Illegal> {
        let target = self.plan_mut(&write.release.plan).targets.get(&write.cluster);
        let visible = target.and_then(|t| t.state.as_ref()).is_some_and(TargetState::is_visible);
        let run = self.run_mut(&write.release, &write.ring)?;
        let cluster = run.clusters.entry(write.cluster.clone()).or_default();
        if step == Step::Deploying {
            cluster.deployed = Some(at);
        }
        cluster.step = step;
        cluster.intent = Some(write.key.clone());
        cluster.reachable = Stopwatch::default();
        cluster.denied = None;
        if visible {
            cluster.reachable.run(at.mono);
        }
        Ok(())
    }

    /// In a draft: a write that was decided will not be made after all, and its cluster is as it `was`.
    pub(super) fn unwrite(&mut self, write: &Write, was: ClusterRun) -> Result<(), Illegal> {
        self.plan_mut(&write.release.plan).in_flight.remove(&write.key);
        let run = self.run_mut(&write.release, &write.ring)?;
        run.clusters.insert(write.cluster.clone(), was);
        Ok(())
    }

    /// A rollback begins with its first write.
    fn begin_rollback(&mut self, id: &ReleaseId, ring: &RingName, at: Now) -> Result<(), Illegal> {
        let back = self.run_mut(id, ring)?.back.get_or_insert_default();
        if !back.begun {
            back.begun = true;
            Arc::make_mut(&mut self.shared).rollbacks.begin(id, ring, at.mono);
        }
        Ok(())
    }

    fn intend_measure(&mut self, measure: &Measure, at: Now) -> Result<(), Illegal> {
        let run = self.run_mut(&measure.release, &measure.ring)?;
        if measure.past.is_some() {
            if let Some(gap) = &mut run.soak.gap {
                let place = (measure.cluster.clone(), measure.gate.clone());
                gap.asked.insert(place, measure.key.clone());
            }
            return Ok(());
        }
        let gate = run.gate_mut(&measure.cluster, &measure.gate);
        gate.asked = Some(measure.key.clone());
        gate.asks += 1;
        gate.asked_at = at.mono;
        Ok(())
    }

    fn submit(&mut self, fact: &Fact, at: Now) -> Result<(), Illegal> {
        let Fact::Submitted {
            release,
            artifact,
            author,
            by,
            lane,
            reason,
            irreversible,
            requires,
            policy,
        } = fact
        else {
            return Ok(());
        };
        let state = self.plan_mut(&release.plan);
        let plan = state.declared.clone().filter(|p| p.hash == *policy);
        let plan = plan.ok_or_else(|| Illegal { what: format!("release {release}") })?;
        let waiting = || {
            Arc::new(RingRun {
                phase: Phase::Waiting,
                entered: at,
                attempt: 0,
                started: None,
                clusters: BTreeMap::new(),
                soak: SoakRun::default(),
                gates: BTreeMap::new(),
                approvals: Vec::new(),
                advanced: false,
                cause: None,
                aborting: false,
                debts: BTreeMap::new(),
                watched: false,
                back: None,
            })
        };
        let rings = plan.rings.iter().map(|r| (r.name.clone(), waiting())).collect();
        let admitted = Release {
            id: release.clone(),
            artifact: artifact.clone(),
            author: author.clone(),
            by: by.clone(),
            lane: *lane,
            reason: reason.clone(),
            irreversible: *irreversible,
            requires: requires.clone(),
            plan,
            submitted: at,
            aborted: None,
            hotfix: None,
            rings,
        };
        state.order.push(release.version.clone());
        state.releases.insert(release.version.clone(), Arc::new(admitted));
        Ok(())
    }

    fn enter(
        &mut self,
        release: &ReleaseId,
        ring: &RingName,
        next: Phase,
        at: Now,
    ) -> Result<(), Illegal> {
        let run = self.run_mut(release, ring)?;
        if !run.phase.leads_to(next) {
            let what = format!("{release} on {ring} from {:?} to {next:?}", run.phase);
            return Err(Illegal { what });
        }
        let was = std::mem::replace(&mut run.phase, next);
        run.entered = at;
        run.soak.healthy_at = None;
        run.soak.gap = None;
        run.watched = false;
        if was == Phase::RollingBack {
            Arc::make_mut(&mut self.shared).rollbacks.end(release, ring);
        }
        self.note_open(release);
        self.note_motion(&release.plan, ring);
        Ok(())
    }

    /// Something changed of a release: whether anything may still come of it.
    fn note_open(&mut self, id: &ReleaseId) {
        let Some(state) = self.plans.get_mut(&id.plan) else { return };
        let Some(release) = state.releases.get(&id.version) else { return };
        let known = state.open.iter().position(|version| *version == id.version);
        if release.is_open() == known.is_some() {
            return;
        }
        let PlanState { open, order, .. } = Arc::make_mut(state);
        match known {
            Some(at) => _ = open.remove(at),
            None => {
                open.push(id.version.clone());
                open.sort_by_cached_key(|version| order.iter().rposition(|known| known == version));
            }
        }
    }

    /// What moves on a ring, for other plans to see. It may be another release than the one that
    /// changed there.
    fn note_motion(&mut self, plan: &PlanName, ring: &RingName) {
        let moving = self.plans.get(plan).and_then(|plan| plan.in_motion(ring));
        let moving =
            moving.and_then(|moving| Some(Moving::of(&moving.plan, moving.plan.ring(ring)?)));
        let key = (plan.clone(), ring.clone());
        if self.shared.motion.get(&key) != moving.as_ref() {
            let motion = &mut Arc::make_mut(&mut self.shared).motion;
            match moving {
                Some(moving) => motion.insert(key, moving),
                None => motion.remove(&key),
            };
        }
    }

    /// The rings and their order stay as the release was admitted to them.
    fn tighten(&mut self, id: &ReleaseId, snapshot: &Arc<Plan>) -> Result<(), Illegal> {
        let release = self.release_mut(id)?;
        let names = |plan: &Plan| plan.rings.iter().map(|r| r.name.clone()).collect::<Vec<_>>();
        if snapshot.name != id.plan || names(snapshot) != names(&release.plan) {
            return Err(Illegal { what: format!("a tightened snapshot of {id}") });
        }
        release.plan = snapshot.clone();
        for ring in &snapshot.rings {
            self.note_motion(&id.plan, &ring.name);
            let place = (id.plan.clone(), ring.name.clone());
            if self.shared.line.claim(&place).is_some_and(|claim| claim.release == *id) {
                self.line_mut().amend(&place, Moving::of(snapshot, ring));
            }
        }
        Ok(())
    }

    /// A pause or freeze is kept with those of other plans, and changes each plan that it covers for
    /// whoever looks at it.
    fn revise(&mut self, scope: &Scope, members: &BTreeSet<Jurisdiction>) {
        let touched: Vec<PlanName> = match scope {
            Scope::Everything => self.plans.keys().cloned().collect(),
            Scope::Jurisdiction(name) => {
                let blocs = &self.shared.blocs;
                let inside =
                    |place: &Jurisdiction| members.contains(place) || blocs.contains(name, place);
                let lies = |plan: &Arc<Plan>| plan.clusters().any(|c| inside(&c.jurisdiction));
                let plans = self.plans.iter().filter(|(_, state)| {
                    let released = state.releases.values().map(|release| &release.plan);
                    state.declared.iter().chain(released).any(lies)
                });
                plans.map(|(name, _)| name.clone()).collect()
            }
            Scope::Plan(plan) | Scope::Ring(plan, _) => vec![plan.clone()],
            Scope::Release(id) | Scope::ReleaseRing(id, _) => vec![id.plan.clone()],
        };
        touched.iter().for_each(|plan| _ = self.plan_mut(plan));
    }

    fn line_mut(&mut self) -> &mut Line {
        Arc::make_mut(&mut Arc::make_mut(&mut self.shared).line)
    }

    fn leave_line(&mut self, plan: &PlanName, ring: &RingName) {
        let place = (plan.clone(), ring.clone());
        if self.shared.line.claim(&place).is_some() {
            self.line_mut().leave(&place);
        }
    }

    fn facts_mut(&mut self) -> &mut Facts {
        Arc::make_mut(&mut Arc::make_mut(&mut self.shared).facts)
    }

    fn plan_mut(&mut self, plan: &PlanName) -> &mut PlanState {
        if !self.plans.contains_key(plan) {
            self.plans.insert(plan.clone(), Arc::default());
        }
        let state = Arc::make_mut(self.plans.get_mut(plan).expect("it was just put there"));
        state.revision += 1;
        state
    }

    fn release_mut(&mut self, id: &ReleaseId) -> Result<&mut Release, Illegal> {
        let plan = self.plan_mut(&id.plan);
        let release = plan.releases.get_mut(&id.version).map(Arc::make_mut);
        release.ok_or_else(|| Illegal { what: format!("something about {id}") })
    }

    fn run_mut(&mut self, id: &ReleaseId, ring: &RingName) -> Result<&mut RingRun, Illegal> {
        let release = self.release_mut(id)?;
        let run = release.rings.get_mut(ring).map(Arc::make_mut);
        run.ok_or_else(|| Illegal { what: format!("something about {id} on {ring}") })
    }

    fn cluster_mut(
        &mut self,
        id: &ReleaseId,
        ring: &RingName,
        cluster: &ClusterName,
    ) -> Result<&mut ClusterRun, Illegal> {
        let run = self.run_mut(id, ring)?.clusters.get_mut(cluster);
        run.ok_or_else(|| Illegal { what: format!("something about {id} on {ring} in {cluster}") })
    }

    fn ring(&self, id: &ReleaseId, ring: &RingName) -> Result<&Ring, Illegal> {
        let declared = self.release(id).and_then(|r| r.plan.ring(ring));
        declared.ok_or_else(|| Illegal { what: format!("something about {id} on {ring}") })
    }
}

/// The plan that all of it is about, if it is a kind of decision that is made often.
fn of_one_plan<'a>(facts: &'a [Fact], commands: &'a [Arc<Command>]) -> Option<&'a PlanName> {
    let plan = |fact: &'a Fact| {
        if let Fact::TargetSeen { plan, .. } | Fact::EffectSettled { plan, .. } = fact {
            Some(plan)
        } else if let Fact::SoakRunning { release, .. } | Fact::ClusterReady { release, .. } = fact
        {
            Some(&release.plan)
        } else {
            ticks(fact)
        }
    };
    let mut plans = facts.iter().map(plan).chain(commands.iter().map(|c| Some(c.plan())));
    let first = plans.next()??;
    plans.all(|plan| plan == Some(first)).then_some(first)
}

/// The release that a fact may bring to rest, or take out of it, otherwise than by entering a phase.
fn changed(fact: &Fact) -> Option<&ReleaseId> {
    if let Fact::Submitted { release, .. }
    | Fact::SnapshotTightened { release, .. }
    | Fact::LaneTaken { release, .. }
    | Fact::LaneLapsed { release, .. }
    | Fact::RingStarted { release, .. }
    | Fact::RingPassed { release, .. }
    | Fact::WatchEnded { release, .. }
    | Fact::DebtRecorded { release, .. }
    | Fact::DebtPaid { release, .. }
    | Fact::DebtDropped { release, .. }
    | Fact::DebtWrittenOff { release, .. }
    | Fact::Aborted { release, .. } = fact
    {
        Some(release)
    } else {
        None
    }
}

/// The plan that a fact is about that says no more than that time goes by.
fn ticks(fact: &Fact) -> Option<&PlanName> {
    if let Fact::Measured { release, .. }
    | Fact::BaselineTaken { release, .. }
    | Fact::HistoryTaken { release, .. }
    | Fact::SoakCredited { release, .. }
    | Fact::HistoryMeasured { release, .. }
    | Fact::SoakBackfilled { release, .. } = fact
    {
        Some(&release.plan)
    } else if let Fact::MeasureDropped { plan, .. } = fact {
        Some(plan)
    } else {
        None
    }
}
