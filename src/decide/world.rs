//! What is true: the fold of all facts. [`World::apply`] is the only mutation and decides nothing;
//! recovery replays the journal through it and never runs the core again.
//!
//! Plans, releases and ring runs are shared by reference count and copied on write, so that the core
//! can work on a draft of the one plan that an event touches ([`World::draft`]) at the price of what
//! the event changes.

mod gap;
mod image;
mod lane;
mod motion;
mod plan;
mod rollbacks;
mod run;
mod waiver;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    command::{Command, Measure, Write},
    event::{Actor, Scope, TargetState},
    fact::{Debt, Fact, Judged, Reply, Verdict},
    gate::{history::History, sequential},
    soak::LATE,
    waiting::covers,
};
use crate::{
    ids::{
        ClusterName, Commit, FreezeId, GateName, Hash, IdempotencyKey, Jurisdiction, PlanName,
        ReleaseId, RingName,
    },
    model::{
        blocs::Blocs,
        limits::MotionLimits,
        plan::Plan,
        policy::{Gate, Judge},
        residency::{Facts, Known},
        ring::{Artifact, Ring},
        time::{Mono, Now, Span},
    },
};

pub use self::{
    gap::Gap,
    lane::{DebtRun, LaneRun, Seen},
    motion::{Cap, Claim, Line, Moving, Place},
    plan::{KnownGood, PlanState, Release, TargetRun},
    rollbacks::{RollbackLimit, Rollbacks},
    run::{Approval, Back, ClusterRun, GateRun, Phase, RingRun, SoakRun, Step, Stopwatch},
    waiver::{Ended, WaiverRun},
};

/// Known goods that are kept a target: the last may itself turn out bad.
const KNOWN_GOODS: usize = 5;

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

/// What concerns more than one plan: small, and read by every decision.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shared {
    /// Pauses in force.
    #[serde(with = "image::pairs")]
    pub pauses: BTreeMap<Scope, Pause>,
    /// Freezes in force, those that ended by themselves included until they are lifted.
    pub freezes: BTreeMap<FreezeId, Freeze>,
    /// What is known of places, for residency rules.
    pub facts: Arc<Facts>,
    /// The blocs as they are declared.
    pub blocs: Arc<Blocs>,
    /// The rings in motion: what caps are counted over.
    #[serde(with = "image::pairs")]
    pub motion: BTreeMap<Place, Moving>,
    /// How many there may be, by the server's settings.
    pub limits: Arc<MotionLimits>,
    /// Those that wait for a place by these limits.
    pub line: Arc<Line>,
    /// The rollbacks of all plans, and what limits them.
    pub rollbacks: Rollbacks,
}

impl Shared {
    /// The pauses that cover a release on a ring.
    pub fn paused(&self, release: &Release, ring: &Ring) -> impl Iterator<Item = (&Scope, &Pause)> {
        let covers = |scope: &Scope, members| covers(&self.blocs, scope, members, release, ring);
        self.pauses.iter().filter(move |(scope, pause)| covers(scope, &pause.members))
    }

    /// The freezes in force at an instant that cover a release on a ring.
    pub fn frozen(
        &self,
        release: &Release,
        ring: &Ring,
        now: Timestamp,
    ) -> impl Iterator<Item = (&FreezeId, &Freeze)> {
        let covers = |scope: &Scope, members| covers(&self.blocs, scope, members, release, ring);
        self.freezes
            .iter()
            .filter(move |(_, freeze)| freeze.until.is_none_or(|until| now < until))
            .filter(move |(_, freeze)| covers(&freeze.scope, &freeze.members))
    }
}

/// A stop of forward effects, until somebody resumes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Who, when, why.
    pub said: Said,
    /// The countries of the scope's jurisdiction when it was said: they stay stopped whatever is declared
    /// of it later.
    pub members: BTreeSet<Jurisdiction>,
}

/// Who said it, when and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Who.
    pub by: Actor,
    /// When.
    pub at: Now,
    /// Why.
    pub reason: Option<String>,
}

/// A stop of the line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// What it covers.
    pub scope: Scope,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
    /// Who, when, why.
    pub said: Said,
    /// As of a pause.
    pub members: BTreeSet<Jurisdiction>,
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

    /// Makes a fact true. It never decides: it says what follows from the fact, and refuses a fact
    /// that cannot be true.
    pub fn apply(&mut self, fact: &Fact, at: Now) -> Result<(), Illegal> {
        self.reached = self.reached.max(at.mono);
        match ticks(fact) {
            Some(plan) => self.quietly(plan, |world| world.establish(fact, at))?,
            None => self.establish(fact, at)?,
        }
        self.recorded = Some(at);
        Ok(())
    }

    fn establish(&mut self, fact: &Fact, at: Now) -> Result<(), Illegal> {
        match fact {
            Fact::TookOver { epoch } => self.take_over(*epoch, at),
            Fact::SourceAccepted { commit } => {
                self.source = SourceState {
                    commit: Some(commit.clone()),
                    accepted: Some(at.wall),
                    refused: None,
                };
            }
            Fact::SourceRefused { commit, why } => {
                self.source.refused = Some((commit.clone(), why.clone()));
            }
            Fact::PlanDeclared { plan } => {
                let state = self.plan_mut(&plan.name);
                state.problems.clear();
                state.withdrawn = false;
                state.declared = Some(plan.clone());
            }
            Fact::PlanInError { plan, problems, .. } => {
                self.plan_mut(plan).problems = problems.clone();
            }
            Fact::PlanWithdrawn { plan, .. } => self.plan_mut(plan).withdrawn = true,
            Fact::Submitted { .. } => self.submit(fact, at)?,
            Fact::SnapshotTightened { release, snapshot, .. } => self.tighten(release, snapshot)?,
            Fact::Refused { .. } | Fact::GlassBroken { .. } => {}
            Fact::Answered { key, fingerprint, answer } => {
                let answers = Arc::make_mut(&mut self.answers);
                answers.by_key.insert(key.clone(), (fingerprint.clone(), answer.clone()));
                answers.order.push_back(key.clone());
                if answers.order.len() > ANSWERS
                    && let Some(oldest) = answers.order.pop_front()
                {
                    answers.by_key.remove(&oldest);
                }
            }
            Fact::Paused { scope, by, reason, members } => {
                let said = Said { by: by.clone(), at, reason: reason.clone() };
                let pause = Pause { said, members: members.clone() };
                Arc::make_mut(&mut self.shared).pauses.insert(scope.clone(), pause);
                self.revise(scope, members);
            }
            Fact::Resumed { scope, .. } => {
                let pause = Arc::make_mut(&mut self.shared).pauses.remove(scope);
                self.revise(scope, &pause.map(|pause| pause.members).unwrap_or_default());
            }
            Fact::Frozen { id, scope, until, by, reason, members } => {
                let said = Said { by: by.clone(), at, reason: Some(reason.clone()) };
                let (scope, members) = (scope.clone(), members.clone());
                self.revise(&scope, &members);
                let freeze = Freeze { scope, until: *until, said, members };
                Arc::make_mut(&mut self.shared).freezes.insert(id.clone(), freeze);
            }
            Fact::Lifted { id, .. } => {
                let lifted = Arc::make_mut(&mut self.shared).freezes.remove(id);
                if let Some(Freeze { scope, members, .. }) = lifted {
                    self.revise(&scope, &members);
                }
            }
            Fact::Approved { release, ring, by, binding, .. } => {
                let approval = Approval { by: by.clone(), binding: binding.clone(), at };
                self.run_mut(release, ring)?.approvals.push(approval);
            }
            Fact::Rejected { release, ring, by, reason } => {
                self.enter(release, ring, Phase::Failed, at)?;
                let why = reason.as_deref().map(|r| format!(": {r}")).unwrap_or_default();
                let run = self.run_mut(release, ring)?;
                run.approvals.clear();
                // What an earlier attempt could not take back is there still.
                let stuck = match run.stuck() {
                    stuck if stuck.is_empty() => String::new(),
                    stuck => format!("; stuck: {}", stuck.join("; ")),
                };
                run.cause = Some(format!("rejected by {}{why}{stuck}", by.name));
            }
            Fact::Advanced { release, ring, .. } => self.run_mut(release, ring)?.advanced = true,
            Fact::Adopted { plan, cluster, version, artifact } => {
                let target = self.plan_mut(plan).target_mut(cluster);
                target.known_good =
                    vec![KnownGood { version: version.clone(), artifact: artifact.clone() }];
            }
            Fact::TargetSeen { plan, cluster, state } => self.see(plan, cluster, state, at),
            Fact::EffectSettled { plan, key, .. }
            | Fact::EffectSuperseded { plan, key }
            | Fact::MeasureDropped { plan, key } => {
                self.plan_mut(plan).in_flight.remove(key);
            }
            Fact::RingStarted { release, ring, attempt, clusters } => {
                self.enter(release, ring, Phase::Deploying, at)?;
                let run = self.run_mut(release, ring)?;
                run.attempt = *attempt;
                run.started = Some(at);
                run.cause = None;
                run.back = None;
                run.soak = SoakRun::default();
                run.gates.clear();
                run.debts.clear();
                run.clusters =
                    clusters.iter().map(|c| (c.clone(), ClusterRun::default())).collect();
                self.leave_line(&release.plan, ring);
            }
            Fact::ClusterReady { release, ring, cluster } => {
                let target = self.plans.get(&release.plan).and_then(|p| p.targets.get(cluster));
                let state = target.and_then(|target| target.state.clone());
                let run = self.cluster_mut(release, ring, cluster)?;
                run.step = Step::Ready;
                run.ready_since = state.as_ref().and_then(|state| state.ready_since);
                run.revision = state.and_then(|state| state.revision);
                run.reachable.stop(at.mono);
            }
            Fact::ClusterFailed { release, ring, cluster, cause } => {
                self.cluster_mut(release, ring, cluster)?.step = Step::Failed(cause.clone());
            }
            Fact::SoakStarted { release, ring } => self.start_soak(release, ring, at)?,
            Fact::SoakRunning { release, ring, running, blind } => {
                let run = self.run_mut(release, ring)?;
                if let Some(from) = run.soak.healthy_at.filter(|_| *blind) {
                    run.open_gap(from, Span::ZERO);
                } else if *running {
                    if let Some(gap) = &mut run.soak.gap {
                        gap.to.get_or_insert(at);
                    }
                } else if run.soak.healthy_at.is_some() {
                    // It stands still for a cause that is known: whoever asks history about an earlier
                    // stretch can no longer tell it from this one.
                    run.soak.gap = None;
                }
                run.soak.healthy_at = running.then_some(at.mono);
            }
            Fact::HistoryMeasured { release, ring, cluster, gate, key, verdicts, .. } => {
                self.plan_mut(&release.plan).in_flight.remove(key);
                if let Some(gap) = &mut self.run_mut(release, ring)?.soak.gap {
                    let place = (cluster.clone(), gate.clone());
                    gap.asked.remove(&place);
                    if verdicts.is_empty() {
                        gap.tries += 1;
                    } else {
                        gap.told.insert(place, verdicts.clone());
                    }
                }
            }
            Fact::SoakBackfilled { release, ring, span, .. } => {
                let soak = &mut self.run_mut(release, ring)?.soak;
                soak.credited = soak.credited + *span;
                soak.gap = None;
            }
            Fact::SoakCredited { release, ring, span } => {
                let soak = &mut self.run_mut(release, ring)?.soak;
                soak.credited = soak.credited + *span;
                soak.healthy_at = Some(at.mono);
            }
            Fact::SoakReset { release, ring, .. } => {
                let plan = self.plans.get(&release.plan).cloned();
                let run = self.run_mut(release, ring)?;
                run.soak = SoakRun::default();
                for gate in run.gates.values_mut() {
                    Arc::make_mut(gate).total_samples = 0.0;
                }
                for (cluster, here) in &mut run.clusters {
                    let target = plan.as_ref().and_then(|plan| plan.targets.get(cluster));
                    let seen = target.and_then(|t| t.state.as_ref()?.revision.clone());
                    let Some(seen) = seen else { continue };
                    // What was measured says nothing of what runs now; of the same, it says as much
                    // as before: a reset forgives no evidence.
                    if here.revision.as_ref().is_some_and(|before| *before != seen) {
                        let gates = run.gates.iter_mut().filter(|((c, _), _)| c == cluster);
                        gates.for_each(|(_, gate)| {
                            Arc::make_mut(gate).history = History::default();
                        });
                    }
                    here.revision = Some(seen);
                }
            }
            Fact::Measured { release, ring, cluster, gate, key, judged } => {
                self.measured(release, ring, (cluster, gate), key, judged, at)?;
            }
            Fact::BaselineTaken { release, ring, cluster, gate, value } => {
                let run = self.run_mut(release, ring)?;
                run.gate_mut(cluster, gate).baseline = Some(*value);
            }
            Fact::HistoryTaken { release, ring, cluster, gate, taken } => {
                let run = self.run_mut(release, ring)?;
                run.gate_mut(cluster, gate).history.take(taken);
            }
            Fact::RingPassed { release, ring } => self.pass(release, ring, at)?,
            Fact::WatchEnded { release, ring } => self.run_mut(release, ring)?.watched = false,
            Fact::RingFailed { release, ring, cause } => {
                self.unlearn(release, ring)?;
                self.enter(release, ring, Phase::Failed, at)?;
                self.run_mut(release, ring)?.cause = Some(cause.clone());
            }
            Fact::RollbackStarted { release, ring, cause, automatic, scope, .. } => {
                self.unlearn(release, ring)?;
                self.enter(release, ring, Phase::RollingBack, at)?;
                let aborting = self.release_mut(release)?.aborted.is_some();
                let run = self.run_mut(release, ring)?;
                run.cause = Some(cause.clone());
                run.aborting = aborting;
                run.back = Some(Back { automatic: *automatic, scope: *scope, begun: false });
                // What was stuck is tried again: a try of its own, because targets that have accepted
                // the keys of this one would do nothing about them.
                let mut stuck = false;
                for here in run.clusters.values_mut() {
                    here.denied = None;
                    if let Step::Stuck(cause) = &here.step {
                        here.step = Step::Failed(cause.clone());
                        stuck = true;
                    }
                }
                run.attempt += u32::from(stuck);
            }
            Fact::RollbackQueued { release, ring, queued } => {
                Arc::make_mut(&mut self.shared).rollbacks.wait(release, ring, *queued);
            }
            Fact::RollbackHastened { release, ring, .. } => {
                Arc::make_mut(&mut self.shared).rollbacks.wait(release, ring, false);
                self.run_mut(release, ring)?.back.get_or_insert_default().automatic = false;
            }
            Fact::StartQueued { release, ring, queued: true } => {
                let known = self.release(release).map(|r| r.plan.clone());
                let plan = known.ok_or_else(|| Illegal { what: format!("a wait of {release}") })?;
                let moving = Moving::of(&plan, self.ring(release, ring)?);
                let (release, ring) = (release.clone(), ring.clone());
                self.line_mut().join(Claim { release, ring, moving });
            }
            Fact::StartQueued { release, ring, queued: false } => {
                self.leave_line(&release.plan, ring);
            }
            Fact::LimitsSet { limits } => {
                let shared = Arc::make_mut(&mut self.shared);
                shared.rollbacks.limits = limits.rollbacks;
                shared.limits = Arc::new(limits.in_motion.clone());
            }
            Fact::ClusterRestored { release, ring, cluster } => {
                self.cluster_mut(release, ring, cluster)?.step = Step::Restored;
            }
            Fact::ClusterStuck { release, ring, cluster, cause } => {
                self.cluster_mut(release, ring, cluster)?.step = Step::Stuck(cause.clone());
            }
            Fact::RingRolledBack { release, ring } => {
                self.enter(release, ring, Phase::RolledBack, at)?;
                self.bury(release, ring)?;
            }
            Fact::RingSuperseded { release, ring, .. } => {
                self.enter(release, ring, Phase::Superseded, at)?;
            }
            Fact::Aborted { release, by, reason, .. } => {
                let said = Said { by: by.clone(), at, reason: reason.clone() };
                let release = self.release_mut(release)?;
                release.aborted = Some(said);
                for run in release.rings.values_mut().filter(|run| run.watched) {
                    Arc::make_mut(run).watched = false;
                }
                for run in release.rings.values_mut() {
                    if run.phase == Phase::RollingBack {
                        Arc::make_mut(run).aborting = true;
                    }
                }
            }
            Fact::RingAborted { release, ring } => {
                let touched = self.run_mut(release, ring)?.started.is_some();
                self.enter(release, ring, Phase::Aborted, at)?;
                if touched {
                    self.bury(release, ring)?;
                }
            }
            Fact::Retried { release, ring, .. } => {
                self.enter(release, ring, Phase::Waiting, at)?;
                let run = self.run_mut(release, ring)?;
                run.cause = None;
                run.back = None;
                let plan = self.plan_mut(&release.plan);
                if let Some(buried) = plan.tombstones.get_mut(ring) {
                    buried.remove(&release.version);
                }
            }
            Fact::LaneTaken { release, plan } => self.take_lane(release, plan)?,
            Fact::LaneLapsed { release, rings, plan } => self.leave_lane(release, rings, plan)?,
            Fact::DebtRecorded { release, ring, debt } => {
                let debts = &mut self.run_mut(release, ring)?.debts;
                debts.insert(debt.clone(), DebtRun { since: at, seen: BTreeMap::new() });
            }
            Fact::DebtPaid { release, ring, debt }
            | Fact::DebtDropped { release, ring, debt, .. }
            | Fact::DebtWrittenOff { release, ring, debt, .. } => {
                self.clear_debt(release, ring, debt)?;
            }
            Fact::PlacesDeclared { clusters } => {
                self.facts_mut().declare(clusters);
            }
            Fact::BlocsDeclared { blocs } => {
                Arc::make_mut(&mut Arc::make_mut(&mut self.shared).blocs).declare(blocs);
            }
            Fact::ClusterWitnessed { cluster, witness } => {
                self.facts_mut().witness(cluster.clone(), witness.clone());
            }
            Fact::HomeStated { home } => self.facts_mut().home = home.clone(),
            Fact::DeployRecalled { release, ring, cluster, .. } => {
                // It may have arrived all the same: the intent stays, for whoever takes it back.
                let here = self.cluster_mut(release, ring, cluster)?;
                here.step = Step::Planned;
                here.recalls += 1;
                here.reachable.stop(at.mono);
            }
            Fact::RestoreDenied { release, ring, cluster, why } => {
                let denied = why.as_ref().map(|_| at.mono);
                self.cluster_mut(release, ring, cluster)?.denied = denied;
            }
            Fact::WaiverAsked { plan, id, waiver, by } => {
                self.ask_waiver((plan, id), waiver, by, at)?;
            }
            Fact::WaiverApproved { plan, id, by } => {
                self.waiver_mut(plan, id)?.approvals.push((by.clone(), at));
            }
            Fact::WaiverRevoked { plan, id, by, reason } => {
                let said = Said { by: by.clone(), at, reason: reason.clone() };
                self.end_waiver(plan, id, Ended::Revoked(said))?;
            }
            Fact::WaiverVoided { plan, id, why } => {
                self.end_waiver(plan, id, Ended::Voided { why: why.clone(), at })?;
            }
        }
        Ok(())
    }

    /// Everything that a predecessor saw may have changed: nothing is healthy until it is seen again,
    /// and measurements that were out are asked for anew.
    fn take_over(&mut self, epoch: u64, at: Now) {
        self.epoch = epoch;
        let away = self.away(at);
        for plan in self.plans.values_mut() {
            let plan = Arc::make_mut(plan);
            plan.in_flight.retain(|_, c| !matches!(**c, Command::Measure(_)));
            for target in Arc::make_mut(&mut plan.targets).values_mut() {
                target.state = None;
            }
            for release in plan.releases.values_mut() {
                let measured =
                    |run: &RingRun| run.phase.in_motion() || run.watched || !run.debts.is_empty();
                if !release.rings.values().any(|run| measured(run)) {
                    continue;
                }
                let release = Arc::make_mut(release);
                for (name, run) in &mut release.rings {
                    if !measured(run) {
                        continue;
                    }
                    let run = Arc::make_mut(run);
                    let backfill = release.plan.ring(name).is_some_and(|r| r.policy.soak.backfill);
                    if let Some(from) = run.soak.healthy_at.filter(|_| backfill) {
                        run.open_gap(from, away);
                    } else if let Some(gap) = &mut run.soak.gap {
                        gap.asked.clear();
                        if gap.to.is_none() {
                            gap.away = gap.away + away;
                        }
                    }
                    run.debts.values_mut().for_each(DebtRun::look_away);
                    run.soak.healthy_at = None;
                    for cluster in run.clusters.values_mut() {
                        cluster.reachable.stop(at.mono);
                        cluster.unready.stop(at.mono);
                        cluster.denied = None;
                    }
                    for gate in run.gates.values_mut() {
                        let gate = Arc::make_mut(gate);
                        gate.asked = None;
                        gate.fresh = false;
                        // A first measurement that was not due yet keeps its delay.
                        if gate.latest.is_some() {
                            gate.due = gate.due.min(at.mono);
                        }
                        gate.no_data_since = gate.no_data_since.map(|_| at.mono);
                    }
                }
            }
        }
    }

    /// How long nobody was there before a take-over, by the wall clock: less what its own clock has
    /// counted since the last entry.
    fn away(&self, at: Now) -> Span {
        let Some(last) = self.recorded else { return Span::ZERO };
        let passed = at.wall.duration_since(last.wall).as_millis();
        let passed = Span(u64::try_from(passed).unwrap_or(0));
        passed.saturating_sub(at.mono.since(last.mono))
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

    fn see(&mut self, plan: &PlanName, cluster: &ClusterName, seen: &TargetState, at: Now) {
        let state = self.plan_mut(plan);
        state.target_mut(cluster).state = Some(seen.clone());
        let visible = seen.is_visible();
        for release in state.releases.values_mut() {
            let on = |r: &Arc<RingRun>| r.phase.in_motion() && r.clusters.contains_key(cluster);
            if !release.rings.values().any(on) {
                continue;
            }
            let artifact = release.artifact.clone();
            for run in Arc::make_mut(release).rings.values_mut().filter(|r| on(r)) {
                let run = Arc::make_mut(run);
                let Some(here) = run.clusters.get_mut(cluster) else { continue };
                let moving = matches!(here.step, Step::Deploying | Step::Restoring);
                match visible && moving {
                    true => here.reachable.run(at.mono),
                    false => here.reachable.stop(at.mono),
                }
                let healthy = seen.is_healthy(&artifact, here.intent.as_ref());
                if let Some(gap) = run.soak.gap.as_mut().filter(|_| visible) {
                    let known = gap.ready_since.get(cluster);
                    if !healthy
                        || known != seen.ready_since.as_ref()
                        || here.revision != seen.revision
                    {
                        gap.ready_since.remove(cluster);
                    }
                }
                if healthy {
                    here.ready_since = seen.ready_since;
                }
                if here.step == Step::Ready && visible && !healthy {
                    here.unready.run(at.mono);
                } else if healthy {
                    here.unready = Stopwatch::default();
                } else {
                    here.unready.stop(at.mono);
                }
            }
        }
    }

    fn start_soak(&mut self, release: &ReleaseId, ring: &RingName, at: Now) -> Result<(), Illegal> {
        self.enter(release, ring, Phase::Soaking, at)?;
        let gates = self.ring(release, ring)?.policy.gates.clone();
        let run = self.run_mut(release, ring)?;
        let ready = run.clusters.iter().filter(|(_, c)| c.step == Step::Ready);
        let ready: Vec<ClusterName> = ready.map(|(name, _)| name.clone()).collect();
        for cluster in ready {
            for gate in &gates {
                run.gate_mut(&cluster, &gate.name).due = at.mono + gate.initial_delay;
            }
        }
        Ok(())
    }

    fn measured(
        &mut self,
        release: &ReleaseId,
        ring: &RingName,
        (cluster, name): (&ClusterName, &GateName),
        key: &IdempotencyKey,
        judged: &Judged,
        at: Now,
    ) -> Result<(), Illegal> {
        let asked = self.plan_mut(&release.plan).in_flight.remove(key);
        let snapshot = self.release(release).map(|release| release.plan.clone());
        let declared = snapshot.as_ref().and_then(|plan| plan.ring(ring));
        let gate =
            declared.and_then(|r| Some((r, r.policy.gates.iter().find(|g| g.name == *name)?)));
        let (declared, gate) =
            gate.ok_or_else(|| Illegal { what: format!("a measurement of {name}") })?;
        let due = match asked.as_deref() {
            Some(Command::Measure(measure)) => measure.due,
            _ => at.mono,
        };
        let run = self.run_mut(release, ring)?;
        let state = run.gate_mut(cluster, name);
        state.asked = None;
        state.fresh = true;
        state.due = match judged.verdict {
            Verdict::Error => at.mono + retry_delay(gate, key),
            Verdict::Pass | Verdict::Fail | Verdict::Insufficient | Verdict::Absent => {
                // The next point of the grid that is still to come: what was missed is not made up.
                let missed = at.mono.since(due).0 / gate.interval.0.max(1);
                due + gate.interval * (missed + 1)
            }
        };
        state.count(judged.verdict, due.min(at.mono));
        state.total_samples += judged.samples.unwrap_or(0.0);
        if judged.samples.is_some() || judged.kept.is_some() {
            state.counted = Some(state.asked_at);
        }
        if let Some(kept) = &judged.kept {
            state.history.keep(kept, |history| match &gate.judge {
                Judge::Sequential(rules) => {
                    let phi = rules.phi.or(history.phi)?;
                    Some(sequential::rules(rules, phi, sequential::tests_of(declared)))
                }
                Judge::Threshold { .. }
                | Judge::Relative { .. }
                | Judge::MannWhitney(_)
                | Judge::BurnRate(_)
                | Judge::Alerts(_)
                | Judge::Webhook
                | Judge::Kubernetes(_) => None,
            });
        }
        state.latest = Some((judged.clone(), at));
        if let Some(debt) = run.debts.get_mut(&Debt::Gate(name.clone())) {
            debt.see(cluster, judged.verdict, gate.interval * 2 + LATE, at.mono);
        }
        Ok(())
    }

    fn pass(&mut self, release: &ReleaseId, ring: &RingName, at: Now) -> Result<(), Illegal> {
        self.enter(release, ring, Phase::Passed, at)?;
        let watched = self.ring(release, ring)?.policy.after_watch > Span::ZERO;
        let artifact = self.release_mut(release)?.artifact.clone();
        let run = self.run_mut(release, ring)?;
        run.watched = watched;
        if watched {
            run.gates.values_mut().for_each(|gate| Arc::make_mut(gate).forgive());
        }
        let ready = run.clusters.iter().filter(|(_, c)| c.step == Step::Ready);
        let ready: Vec<ClusterName> = ready.map(|(name, _)| name.clone()).collect();
        let plan = self.plan_mut(&release.plan);
        for cluster in ready {
            let goods = &mut plan.target_mut(&cluster).known_good;
            goods.retain(|good| !good.artifact.same_as(&artifact));
            let version = Some(release.version.clone());
            goods.push(KnownGood { version, artifact: artifact.clone() });
            if goods.len() > KNOWN_GOODS {
                goods.remove(0);
            }
        }
        Ok(())
    }

    fn bury(&mut self, release: &ReleaseId, ring: &RingName) -> Result<(), Illegal> {
        let artifact = self.release_mut(release)?.artifact.clone();
        let clusters = self.run_mut(release, ring)?.clusters.clone();
        let plan = self.plan_mut(&release.plan);
        plan.tombstones
            .entry(ring.clone())
            .or_default()
            .insert(release.version.clone(), artifact.clone());
        forget(plan, clusters.keys(), &artifact);
        Ok(())
    }

    /// A pass that counts no more makes nothing known to be good.
    fn unlearn(&mut self, release: &ReleaseId, ring: &RingName) -> Result<(), Illegal> {
        if self.run(release, ring).is_none_or(|run| run.phase != Phase::Passed) {
            return Ok(());
        }
        let artifact = self.release_mut(release)?.artifact.clone();
        let clusters = self.run_mut(release, ring)?.clusters.clone();
        forget(self.plan_mut(&release.plan), clusters.keys(), &artifact);
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
        self.note_motion(&release.plan, ring);
        Ok(())
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

/// What had to be taken back is no place to go back to, even if it once soaked there.
fn forget<'a>(
    plan: &mut PlanState,
    clusters: impl Iterator<Item = &'a ClusterName>,
    artifact: &Artifact,
) {
    for cluster in clusters {
        if let Some(target) = Arc::make_mut(&mut plan.targets).get_mut(cluster) {
            target.known_good.retain(|good| !good.artifact.same_as(artifact));
        }
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

/// 90% to 100% of the interval, by the measurement's own key: spread, and the same on replay.
fn retry_delay(gate: &Gate, key: &IdempotencyKey) -> Span {
    let hash = key.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let tenth = gate.interval.0 / 10;
    Span(gate.interval.0 - (hash >> 32) % tenth.max(1))
}
