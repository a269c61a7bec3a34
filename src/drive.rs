//! The one loop: an event comes, the core decides, the decision is recorded, and only then acted on.
//!
//! Architecture invariant: there is no policy here. What arrives together is recorded together: one
//! wait for the disk serves a whole batch. The world is written only while a batch is decided and
//! recorded, so that nobody reads what is not durable.

mod checkpoints;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    mem,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use checkpoints::Checkpoints;
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    act::dispatch::Dispatch,
    clock::Clock,
    decide::{
        Decision, advance,
        event::{Event, News},
        fact::{Fact, Reply},
        wake,
        world::World,
    },
    ids::PlanName,
    model::{
        limits::Limits,
        residency::Home,
        time::{Mono, Now, Span},
    },
    record::{Draft, Store, StoreError, recover},
    show::{
        change::Change,
        desk::{Ask, Clerk, Unavailable},
        telemetry::Telemetry,
    },
};

/// The most events that share one wait for the disk.
const BATCH: usize = 256;

/// How often dropped commands are looked for, in the clock's time.
const HEAL: Span = Span::minutes(1);

/// The loop and what it works with.
pub struct Drive {
    /// The live world; the desk reads it.
    pub world: Arc<RwLock<World>>,
    /// The journal.
    pub store: Arc<dyn Store>,
    /// The entry that its last checkpoint stands at.
    pub checkpoint: u64,
    /// The clock that everything is decided by.
    pub clock: Arc<dyn Clock>,
    /// Carries commands out.
    pub dispatch: Dispatch,
    /// What happens outside.
    pub events: mpsc::Receiver<Event>,
    /// What people ask.
    pub clerk: Clerk,
    /// Counters.
    pub telemetry: Arc<Telemetry>,
    /// What the settings limit.
    pub limits: Limits,
    /// Where this process stands, by its settings.
    pub home: Home,
}

/// An event, and who waits for what comes of it.
type Input = (Event, Option<oneshot::Sender<Result<Reply, Unavailable>>>);

/// One decision of a batch.
struct Decided {
    at: Now,
    decision: Decision,
    answer: Option<oneshot::Sender<Result<Reply, Unavailable>>>,
    /// The number of its entry, once it has one.
    seq: Option<u64>,
}

impl Drive {
    /// Runs until `stop` says so. On the way in it takes over from whoever wrote before: effects
    /// without an outcome are issued again, with the same keys. It ends where nothing can be recorded.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut alarms = Alarms::default();
        let mut checkpoints = Checkpoints::since(self.store.clone(), self.checkpoint);
        let home = News::Home(self.home.clone());
        let begun = [Event::TookOver, Event::Limits(self.limits.clone()), Event::Learned(home)];
        let mut waiting: VecDeque<Input> = begun.into_iter().map(|event| (event, None)).collect();
        if !self.step(&mut waiting, &mut alarms) {
            return;
        }
        // Every plan is looked at before what is out is sent again: what a rule forbids by now, by facts
        // that expired meanwhile, is called back first.
        self.take_up(&mut waiting);
        if !self.step(&mut waiting, &mut alarms) {
            return;
        }
        self.dispatch_all_in_flight();
        let mut dropped = 0;
        let mut healed = self.clock.now().mono;
        loop {
            let now = self.clock.now().mono;
            if now.since(healed) >= HEAL {
                healed = now;
                if self.dispatch.dropped() > dropped {
                    dropped = self.dispatch.dropped();
                    self.dispatch_all_in_flight();
                }
            }
            waiting.extend(alarms.due(now).map(|plan| (Event::Wake { plan }, None)));
            // People first: a flood of measurements must not keep a pause waiting.
            while waiting.len() < BATCH {
                match self.clerk.asks.try_recv() {
                    Ok(ask) => waiting.push_back(input(ask)),
                    Err(_) => break,
                }
            }
            while waiting.len() < BATCH {
                match self.events.try_recv() {
                    Ok(event) => waiting.push_back((event, None)),
                    Err(_) => break,
                }
            }
            if !waiting.is_empty() {
                if !self.step(&mut waiting, &mut alarms) {
                    return;
                }
                checkpoints.consider(&self.world());
                tokio::task::yield_now().await;
                continue;
            }
            let pause = alarms.next().map_or(HEAL, |at| at.since(self.clock.now().mono).min(HEAL));
            let slept = self.clock.sleep(pause);
            tokio::select! {
                event = self.events.recv() => match event {
                    Some(event) => waiting.push_back((event, None)),
                    None => break,
                },
                ask = self.clerk.asks.recv() => match ask {
                    Some(ask) => waiting.push_back(input(ask)),
                    None => break,
                },
                () = slept => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        let world = self.world().clone();
        checkpoints.end(world).await;
    }

    fn world(&self) -> RwLockReadGuard<'_, World> {
        self.world.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides, records and acts on a batch; false where nothing can be recorded any more.
    fn step(&mut self, waiting: &mut VecDeque<Input>, alarms: &mut Alarms) -> bool {
        let mut looked = BTreeMap::new();
        let mut shared = wake::Parts::default();
        let mut batch = Vec::new();
        let world = self.world.clone();
        let mut world = write(&world);
        let epoch_before = world.epoch;
        while let Some((event, answer)) = waiting.pop_front() {
            let now = self.clock.now();
            let before = world.shared.clone();
            let decided = self.telemetry.time_decision(|| advance(&mut world, &event, now));
            // Who repeats a request is told what was decided then, and nothing is looked at.
            let repeated = matches!(event, Event::Operator(_))
                && decided.as_ref().is_ok_and(Decision::is_empty);
            looked.extend(plan_of(&event).filter(|_| !repeated).map(|plan| (plan, now)));
            match decided {
                Ok(decision) => batch.push(Decided { at: now, decision, answer, seq: None }),
                Err(illegal) => {
                    // A defect of ours: the event has no effect, and somebody must hear of it.
                    tracing::error!(error = %illegal, "an event led to nothing that can be true");
                    if let Some(answer) = answer {
                        let _ = answer.send(Err(Unavailable::NotRecorded(illegal.to_string())));
                    }
                }
            }
            shared |= wake::Parts::changed(&before, &world.shared);
        }
        let epoch = world.epoch.max(epoch_before);
        if let Err(error) = self.record(epoch, &mut batch) {
            self.stop_recording(world, batch, &error);
            return false;
        }
        if shared.any() {
            // A plan of this very batch may have come to wait for what changed behind it.
            let concerned: BTreeSet<_> =
                alarms.concerned(shared).chain(looked.keys().cloned()).collect();
            waiting.extend(concerned.into_iter().map(|plan| (Event::Wake { plan }, None)));
        }
        for (plan, now) in looked {
            alarms.set(&plan, wake::next(&world, &plan, now));
        }
        drop(world);
        batch.into_iter().for_each(|decided| self.act(epoch, decided));
        true
    }

    /// Records the batch, and numbers each decision that has an entry.
    fn record(&self, epoch: u64, batch: &mut [Decided]) -> Result<(), StoreError> {
        let mut recorded: Vec<_> =
            batch.iter_mut().filter(|decided| !decided.decision.is_empty()).collect();
        if recorded.is_empty() {
            return Ok(());
        }
        let lend =
            |Decided { at, decision: Decision { facts, commands, .. }, .. }: &mut Decided| Draft {
                at: *at,
                facts: mem::take(facts),
                commands: mem::take(commands),
            };
        let drafts: Vec<_> = recorded.iter_mut().map(|decided| lend(decided)).collect();
        let append = || self.store.append(epoch, &drafts);
        let numbers = self.telemetry.time_append(|| tokio::task::block_in_place(append))?;
        for ((decided, draft), seq) in recorded.into_iter().zip(drafts).zip(numbers) {
            let Draft { at: _, facts, commands } = draft;
            (decided.decision.facts, decided.decision.commands) = (facts, commands);
            decided.seq = Some(seq);
        }
        Ok(())
    }

    /// What is durable is acted on, answered and told.
    fn act(&self, epoch: u64, decided: Decided) {
        let Decided { at, decision, answer, seq } = decided;
        for fact in &decision.facts {
            if let Fact::EffectSuperseded { key, .. } = fact {
                self.dispatch.cancel(key);
            } else if let Fact::PlanDeclared { plan } = fact {
                self.dispatch.watch(plan);
            } else if let Fact::PlanWithdrawn { plan, .. } = fact {
                self.dispatch.unwatch(plan);
            } else if let Fact::Refused { by, asked, kind, detail } = fact
                && answer.is_none()
            {
                // Whoever asked waits for no answer: a document of the source.
                let (by, kind) = (&by.name, kind.name());
                tracing::error!(%by, kind, detail, asked, "a release is refused");
            }
        }
        self.telemetry.recorded(at, &decision.facts);
        self.dispatch.dispatch(epoch, decision.commands);
        if let (Some(answer), Some(reply)) = (answer, decision.reply) {
            // It fails where whoever asked has gone; what was decided stands.
            let _ = answer.send(Ok(reply));
        }
        if let Some(change) = seq.and_then(|seq| Change::of(seq, at, &decision.facts)) {
            self.clerk.tell(change);
        }
    }

    /// Nothing can be recorded: nothing is acknowledged and nothing is done (invariant 26). Readers
    /// see what is durable.
    fn stop_recording(
        &self,
        mut world: RwLockWriteGuard<'_, World>,
        batch: Vec<Decided>,
        error: &StoreError,
    ) {
        tracing::error!(%error, "nothing can be recorded: nothing is decided or done from here on");
        self.clerk.broken(error.to_string());
        match recover(self.store.as_ref()) {
            Ok(durable) => *world = durable.world,
            Err(error) => tracing::error!(%error, "the journal cannot be read back either"),
        }
        drop(world);
        for answer in batch.into_iter().filter_map(|decided| decided.answer) {
            let _ = answer.send(Err(Unavailable::NotRecorded(error.to_string())));
        }
    }

    /// After a take-over: watches what is declared, and has every plan looked at.
    fn take_up(&self, waiting: &mut VecDeque<Input>) {
        let plans: Vec<_> = {
            let world = self.world();
            let declared = |state: &Arc<crate::decide::world::PlanState>| state.declared.clone();
            world.plans.iter().map(|(name, state)| (name.clone(), declared(state))).collect()
        };
        for (name, declared) in plans {
            if let Some(plan) = declared {
                self.dispatch.watch(&plan);
            }
            waiting.push_back((Event::Wake { plan: name }, None));
        }
    }

    fn dispatch_all_in_flight(&self) {
        let world = self.world();
        let out = world.plans.values().flat_map(|state| state.in_flight.values());
        self.dispatch.dispatch(world.epoch, out.cloned());
    }
}

fn write(world: &RwLock<World>) -> RwLockWriteGuard<'_, World> {
    world.write().unwrap_or_else(PoisonError::into_inner)
}

fn input(ask: Ask) -> Input {
    (Event::Operator(ask.request), Some(ask.reply))
}

fn plan_of(event: &Event) -> Option<PlanName> {
    match event {
        Event::TookOver | Event::Limits(_) | Event::Source { .. } | Event::Learned(_) => None,
        Event::Declared { plan, .. }
        | Event::Observed { plan, .. }
        | Event::Found { plan, .. }
        | Event::Outcome { plan, .. }
        | Event::Measured { plan, .. }
        | Event::Submitted { plan, .. }
        | Event::Wake { plan } => Some(plan.clone()),
        Event::Operator(request) => request.action.plan().cloned(),
    }
}

/// When each plan is to be looked at again.
#[derive(Debug, Default)]
struct Alarms {
    at: BTreeSet<(Mono, PlanName)>,
    of: BTreeMap<PlanName, Mono>,
    /// Plans that a change of what plans share may concern, and of which part of it.
    shared: BTreeMap<PlanName, wake::Parts>,
}

impl Alarms {
    fn set(&mut self, plan: &PlanName, wake: wake::Wake) {
        if let Some(at) = self.of.remove(plan) {
            self.at.remove(&(at, plan.clone()));
        }
        if let Some(at) = wake.at {
            self.at.insert((at, plan.clone()));
            self.of.insert(plan.clone(), at);
        }
        if wake.shared.any() {
            self.shared.insert(plan.clone(), wake.shared);
        } else {
            self.shared.remove(plan);
        }
    }

    /// The plans that a change of these parts concerns.
    fn concerned(&self, changed: wake::Parts) -> impl Iterator<Item = PlanName> {
        let concerned = self.shared.iter().filter(move |(_, parts)| parts.meet(changed));
        concerned.map(|(plan, _)| plan.clone())
    }

    /// The plans whose time has come.
    fn due(&mut self, now: Mono) -> impl Iterator<Item = PlanName> + use<> {
        let mut due = Vec::new();
        while let Some((at, plan)) = self.at.first().cloned() {
            if at > now {
                break;
            }
            self.at.remove(&(at, plan.clone()));
            self.of.remove(&plan);
            due.push(plan);
        }
        due.into_iter()
    }

    fn next(&self) -> Option<Mono> {
        self.at.first().map(|(at, _)| *at)
    }
}
