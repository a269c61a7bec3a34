//! One seed from its beginning to rest: ringward's process, its clock and its journal, between a
//! courier and operators.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use jiff::{SignedDuration, Timestamp};

use super::{
    Failure, Options, Outcome,
    chance::Chance,
    courier::{Courier, Delivered},
    landscape::{BEFORE, Landscape, OUTAGES_END, artifact},
    meddle::Meddle,
    operators::{Deed, Operators, shifted},
    tale::{Tale, event_in_words},
    trace::Trace,
    trouble::{Trouble, Troubles},
};
use crate::{
    decide::{
        Decision, advance,
        command::Command,
        decide,
        event::{Declared, Event, News},
        fact::Fact,
        wake::{self, Parts, Wake},
        world::{Illegal, World},
    },
    ids::{ClusterName, PlanName},
    model::{
        limits::Limits,
        residency::Home,
        time::{Mono, Now, Span},
    },
    record::{Draft, Memory, Store, StoreError, checkpoint, memory::Fault, recover},
    sim::invariants::{
        self, Acknowledged, Epochs, Invariants, Journal, Repeats, Step, Violation, broken_journal,
    },
};

/// Events in one second beyond which the core is taken to go round in circles.
const SPIN: u32 = 600;

/// How long everything may take to come to rest once nothing goes wrong any more.
const PATIENCE: Span = Span::minutes(24 * 60);

/// How often people look whether anything waits for them, once nothing goes wrong any more.
const HELP: Span = Span::seconds(30);

/// How often commands that found no room are handed in again.
const HEAL: Span = Span::minutes(1);

/// Why a run cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// An invariant does not hold.
    #[error(transparent)]
    Invariant(#[from] Violation),
    /// The core contradicted itself.
    #[error("the core is defective at `{event}`: {source}")]
    Core {
        /// The event that it answered.
        event: String,
        /// What does not follow.
        source: Illegal,
    },
    /// The core wants to be woken again and again.
    #[error("{SPIN} events in a second; the last is `{0}`")]
    Spin(String),
}

/// ringward's clock: what it shows goes on while ringward is away, its own time does not.
#[derive(Debug)]
struct Clock {
    start: Timestamp,
    /// By how much somebody set it wrongly.
    off: SignedDuration,
    /// When this process began, in the simulation's time and in ringward's own.
    since: (Span, Mono),
}

impl Clock {
    fn now(&self, at: Span) -> Now {
        let (since, mono) = self.since;
        let wall = shifted(shifted(self.start, at.to_signed()), self.off);
        Now { wall, mono: mono + at.saturating_sub(since) }
    }

    /// When ringward's own time will be `mono`.
    fn when(&self, mono: Mono) -> Span {
        let (since, began) = self.since;
        since + mono.since(began)
    }
}

/// An event and what came of it, on its way into the journal.
struct Decided {
    step: u64,
    event: Event,
    now: Now,
    before: World,
    decision: Decision,
    after: World,
}

/// A world on its way.
pub(super) struct Run<'m> {
    seed: u64,
    meddle: &'m mut dyn Meddle,
    chance: Chance,
    clock: Clock,
    /// What the settings limit.
    limits: Limits,
    /// Where the settings say that the server stands.
    home: Home,
    at: Span,
    steps: u64,
    crashes: u64,
    /// The entry that the last checkpoint stands at.
    kept: u64,
    troubles: Troubles,
    /// Whether ringward has died and nobody has started it again.
    down: bool,
    /// Whether things go wrong.
    faulty: bool,
    world: World,
    /// The world as of the last append.
    durable: World,
    /// What the journal tells, read up to `read`.
    told: World,
    read: u64,
    store: Memory,
    courier: Courier,
    /// Targets that do not exist yet.
    missing: Vec<(PlanName, ClusterName)>,
    operators: Operators,
    wakes: BTreeMap<PlanName, Wake>,
    /// Plans that look again because what all share has changed.
    again: BTreeSet<PlanName>,
    healed: (Span, u64),
    second: (u64, u32),
    invariants: Invariants,
    repeats: Repeats,
    epochs: Epochs,
    acknowledged: Acknowledged,
    journal: Journal,
    tale: Tale,
    /// What reached ringward, where somebody wants to know.
    trace: Option<Trace>,
}

impl fmt::Debug for Run<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("seed", &self.seed)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl<'m> Run<'m> {
    pub(super) fn new(seed: u64, meddle: &'m mut dyn Meddle) -> Self {
        let mut chance = Chance::new(seed);
        let landscape = Landscape::new(&mut chance);
        let mut courier = Courier::new(&landscape, Chance::new(chance.below(u64::MAX)));
        let targets = landscape.plans.iter().flat_map(|plan| {
            plan.clusters().map(|cluster| (plan.name.clone(), cluster.name.clone()))
        });
        let (missing, there): (Vec<_>, Vec<_>) =
            targets.partition(|target| landscape.missing.contains(target));
        for (plan, cluster) in there {
            courier.settle(&plan, &cluster, &artifact(&plan, &BEFORE.into()));
        }
        let operators = Operators::new(&landscape, Chance::new(chance.below(u64::MAX)));
        let clock = Clock {
            start: landscape.start,
            off: SignedDuration::ZERO,
            since: (Span::ZERO, Mono::default()),
        };
        Self {
            seed,
            meddle,
            chance,
            clock,
            limits: landscape.limits,
            home: landscape.home,
            at: Span::ZERO,
            steps: 0,
            crashes: 0,
            kept: 0,
            troubles: Troubles::new(),
            down: true,
            faulty: true,
            world: World::default(),
            durable: World::default(),
            told: World::default(),
            read: 0,
            store: Memory::new(),
            courier,
            missing,
            operators,
            wakes: BTreeMap::new(),
            again: BTreeSet::new(),
            healed: (Span::ZERO, 0),
            second: (0, 0),
            invariants: Invariants::default(),
            repeats: Repeats::default(),
            epochs: Epochs::default(),
            acknowledged: Acknowledged::default(),
            journal: Journal::default(),
            tale: Tale::new(Options::default().tale),
            trace: None,
        }
    }

    /// Lets things go wrong for so many steps, then comes to rest.
    pub(super) fn all(mut self, steps: u64) -> Outcome {
        let result = self.go_wrong(steps).and_then(|()| self.come_to_rest());
        let failure = result.err().map(|broken| Failure {
            seed: self.seed,
            steps,
            step: self.steps,
            at: self.at,
            broken,
            tale: self.tale.lines(),
        });
        let (seed, events, crashes, time) = (self.seed, self.steps, self.crashes, self.at);
        let mut troubles = self.troubles;
        for (trouble, count) in self.courier.troubles() {
            *troubles.entry(*trouble).or_default() += count;
        }
        Outcome { seed, events, crashes, troubles, time, failure }
    }

    /// A failure is told with so many of the events before it.
    pub(super) fn tell(mut self, events: usize) -> Self {
        self.tale = Tale::new(events);
        self
    }

    /// From now on what reaches ringward is kept.
    pub(super) fn record(&mut self) {
        let plans = self.operators.declared().values().filter_map(|declared| match declared {
            Declared::Valid(plan) => Some(plan.as_ref()),
            Declared::Invalid(_) | Declared::Withdrawn => None,
        });
        self.trace = Some(Trace::new(plans));
    }

    /// Runs as [`Run::all`] does; with what reached ringward, where it failed and that was recorded.
    pub(super) fn told(mut self, steps: u64) -> Option<(Timestamp, Trace)> {
        let result = self.go_wrong(steps).and_then(|()| self.come_to_rest());
        result.err()?;
        Some((self.clock.start, self.trace?))
    }

    fn go_wrong(&mut self, steps: u64) -> Result<(), Broken> {
        while self.steps < steps {
            if self.down {
                self.take_over()?;
            } else if self.chance.below(1_000) < 5 {
                // Whatever was sent and has not come back yet: the seam between effect and outcome.
                self.count(Trouble::KilledAtRest);
                self.crash("at rest")?;
            } else {
                self.advance(None)?;
            }
        }
        Ok(())
    }

    /// All faults are removed, everybody helps: everything must come to an end in bounded time.
    fn come_to_rest(&mut self) -> Result<(), Broken> {
        self.tale.aside(self.at, "from here on nothing goes wrong");
        self.faulty = false;
        self.courier.calm_down();
        for (plan, cluster) in std::mem::take(&mut self.missing) {
            self.courier.settle(&plan, &cluster, &artifact(&plan, &BEFORE.into()));
        }
        let truths = self.operators.correct_everything();
        if self.down {
            self.take_over()?;
        } else {
            self.declare()?;
        }
        for truth in truths {
            self.feed(vec![truth])?;
        }
        self.set_clock(SignedDuration::ZERO)?;
        self.courier.list(self.at);
        self.heal();
        let end = self.at.max(OUTAGES_END) + PATIENCE;
        loop {
            let asks = self.operators.help(&self.world, self.clock.now(self.at));
            for request in asks {
                self.feed(vec![Event::Operator(request)])?;
            }
            if invariants::at_rest(&self.world) && invariants::dangling(&self.world).is_ok() {
                break;
            }
            if self.at >= end {
                invariants::settled(&self.world, self.clock.now(self.at))?;
                invariants::dangling(&self.world)?;
            }
            let until = self.at + HELP;
            while self.advance(Some(until))? {}
            self.at = until;
        }
        self.read_back()?;
        self.journal.holds(&self.store)?;
        Ok(())
    }

    /// ringward starts, for the first time or again.
    fn take_over(&mut self) -> Result<(), Broken> {
        self.down = false;
        self.clock.since = (self.at, self.world.reached);
        let epoch = self.world.epoch;
        let home = Event::Learned(News::Home(self.home.clone()));
        self.feed(vec![Event::TookOver, Event::Limits(self.limits.clone()), home])?;
        if self.down {
            return Ok(());
        }
        let outdated = if self.meddle.admits_old_writers() { self.world.epoch } else { epoch };
        invariants::outdated(&self.store, outdated, self.clock.now(self.at))?;
        self.declare()?;
        self.courier.list(self.at);
        // Every plan is looked at before what is out is sent again: what a rule forbids by now is called
        // back first.
        for plan in self.world.plans.keys().cloned().collect::<Vec<_>>() {
            if !self.down {
                self.feed(vec![Event::Wake { plan }])?;
            }
        }
        if !self.down && !self.meddle.forgets_dangling() {
            self.send_in_flight();
        }
        Ok(())
    }

    fn declare(&mut self) -> Result<(), Broken> {
        let declared = self.operators.declared().iter();
        let declared = declared.map(|(plan, declared)| Event::Declared {
            plan: plan.clone(),
            declared: declared.clone(),
        });
        let declared: Vec<_> = declared.collect();
        for event in std::iter::once(self.operators.places()).chain(declared) {
            if !self.down {
                self.feed(vec![event])?;
            }
        }
        Ok(())
    }

    fn send_in_flight(&mut self) {
        let plans = self.durable.plans.values();
        let dangling: Vec<_> = plans.flat_map(|plan| plan.in_flight.values().cloned()).collect();
        for command in dangling {
            self.send(&command);
        }
    }

    fn send(&mut self, command: &Command) {
        let interval = match command {
            Command::Measure(measure) => {
                let release = self.world.release(&measure.release);
                let ring = release.and_then(|release| release.plan.ring(&measure.ring));
                let gate =
                    ring.and_then(|r| r.policy.gates.iter().find(|g| g.name == measure.gate));
                gate.map_or(HEAL, |gate| gate.interval)
            }
            Command::Deploy(_) | Command::Restore(_) | Command::Promote(_) => HEAL,
        };
        self.courier.send(command, self.world.epoch, interval, self.at);
    }

    /// Hands in again what found no room.
    fn heal(&mut self) {
        let dropped = self.courier.dropped();
        if dropped > self.healed.1 && !self.meddle.forgets_dangling() {
            self.send_in_flight();
        }
        self.healed = (self.at, dropped);
    }

    /// Lets the next thing happen, if it does by `until`. Whether one did.
    fn advance(&mut self, until: Option<Span>) -> Result<bool, Broken> {
        let wake = self.next_wake().map(|(at, _)| at);
        let again = self.again.first().map(|_| self.at);
        let people = self.faulty.then_some(self.operators.next);
        let heal = (self.courier.dropped() > self.healed.1).then(|| self.healed.0 + HEAL);
        let times = [self.courier.next(), wake, again, people, heal];
        let next = times.into_iter().flatten().min();
        let Some(next) = next.filter(|next| until.is_none_or(|until| *next <= until)) else {
            return Ok(false);
        };
        self.at = self.at.max(next);
        if heal.is_some_and(|heal| heal <= self.at) {
            self.heal();
        }
        // What arrives together is recorded together.
        let mut events = self.due()?;
        while self.faulty && self.chance.percent(25) && events.len() < 4 {
            events.extend(self.due()?);
        }
        if !events.is_empty() && !self.down {
            self.feed(events)?;
        }
        Ok(true)
    }

    fn next_wake(&self) -> Option<(Span, PlanName)> {
        let wakes = self.wakes.iter();
        wakes.filter_map(|(plan, wake)| Some((self.clock.when(wake.at?), plan.clone()))).min()
    }

    /// What is due by now, of one source.
    fn due(&mut self) -> Result<Vec<Event>, Broken> {
        if self.courier.next().is_some_and(|at| at <= self.at) {
            return self.deliver(self.at);
        }
        if let Some(plan) = self.again.pop_first() {
            return Ok(vec![Event::Wake { plan }]);
        }
        if let Some((_, plan)) = self.next_wake().filter(|(at, _)| *at <= self.at) {
            if let Some(wake) = self.wakes.get_mut(&plan) {
                wake.at = None;
            }
            return Ok(vec![Event::Wake { plan }]);
        }
        if self.faulty && self.operators.next <= self.at {
            let now = self.clock.now(self.at);
            return match self.operators.act(&self.durable, now, self.at) {
                Some(Deed::Ask(request)) => Ok(vec![Event::Operator(*request)]),
                Some(Deed::Declare(events)) => Ok(events),
                Some(Deed::Witness(cluster, says)) => {
                    self.count(Trouble::Contradiction);
                    Ok(vec![Event::Learned(News::Witness(cluster, says))])
                }
                Some(Deed::SetClock(by)) => {
                    self.count(Trouble::ClockJump);
                    self.set_clock(by).map(|()| Vec::new())
                }
                Some(Deed::Drift(plan, cluster, to)) => {
                    let text = format!("somebody changes {plan} on {cluster} by hand");
                    self.tale.aside(self.at, text);
                    self.count(Trouble::Drift);
                    self.courier.drift(&plan, &cluster, &to, self.at);
                    Ok(Vec::new())
                }
                None => Ok(Vec::new()),
            };
        }
        Ok(Vec::new())
    }

    /// The next thing that the courier does, by `at`.
    fn deliver(&mut self, at: Span) -> Result<Vec<Event>, Broken> {
        let wall = self.clock.now(at).wall;
        let clock = &self.clock;
        // The fleet's time is the simulation's: an instant of a clock that was set since is off by that.
        let when = |instant: Timestamp| {
            let since = instant.duration_since(shifted(clock.start, clock.off));
            Span(u64::try_from(since.as_millis()).unwrap_or(0)).min(at)
        };
        let step = self.courier.step(at, wall, &when, self.meddle);
        let Delivered { events, landings } = step.unwrap_or_default();
        for landing in &landings {
            self.repeats.check(landing)?;
            self.epochs.check(landing)?;
        }
        Ok(events)
    }

    /// The wall clock jumps. A look before and a look after, between which nothing else moves.
    fn set_clock(&mut self, off: SignedDuration) -> Result<(), Broken> {
        self.look_around()?;
        self.tale.aside(self.at, format!("the clock is off by {off:#}"));
        self.clock.off = off;
        if let Some(trace) = &mut self.trace {
            trace.clock(self.at, off);
        }
        self.look_around()
    }

    fn look_around(&mut self) -> Result<(), Broken> {
        self.again.extend(self.world.plans.keys().cloned());
        while let Some(plan) = self.again.pop_first() {
            if self.down {
                break;
            }
            self.feed(vec![Event::Wake { plan }])?;
        }
        Ok(())
    }

    /// Decides, records, checks, and only then acts on what comes together.
    fn feed(&mut self, events: Vec<Event>) -> Result<(), Broken> {
        let batch: Vec<_> =
            events.into_iter().map(|event| self.decide(event)).collect::<Result<_, _>>()?;
        if self.meddle.answers_early() {
            self.answer(&batch, false)?;
        }
        if self.dies() {
            self.count(Trouble::KilledBeforeAppend);
            return self.lose(batch, "before the append");
        }
        let drafts: Vec<_> = batch
            .iter()
            .filter(|decided| !decided.decision.is_empty())
            .map(|Decided { now, decision, .. }| Draft {
                at: *now,
                facts: decision.facts.clone(),
                commands: decision.commands.clone(),
            })
            .collect();
        let fault = match self.faulty && !drafts.is_empty() && self.chance.below(1_000) < 6 {
            true => Some(self.chance.one([Fault::Full, Fault::Unanswered])),
            false => None,
        };
        fault.into_iter().for_each(|fault| self.store.fail_next(fault));
        match self.store.append(self.world.epoch, &drafts) {
            Ok(numbers) => {
                self.journal.appended(&numbers, drafts.len())?;
                self.durable = self.world.clone();
            }
            Err(error) => {
                if self.meddle.acts_unrecorded() {
                    self.dispatch(&batch)?;
                    self.answer(&batch, true)?;
                }
                return match fault {
                    Some(Fault::Unanswered) => {
                        self.count(Trouble::DiskUnanswered);
                        let first = self.store.head().seq + 1;
                        let numbers = first..first + drafts.len() as u64;
                        self.journal.appended(&numbers, drafts.len())?;
                        self.durable = self.world.clone();
                        self.check(&batch)?;
                        self.leave(batch, &format!("without an answer of the disk: {error}"))
                    }
                    Some(Fault::Full) | None => {
                        self.count(Trouble::DiskFull);
                        // Until somebody has made room nothing is taken, and what is durable is read.
                        invariants::nothing_more(&self.store, self.world.epoch, &drafts)?;
                        self.read_back()?;
                        self.lose(batch, &error.to_string())
                    }
                };
            }
        }
        self.check(&batch)?;
        if self.dies() {
            self.count(Trouble::KilledAfterAppend);
            return self.leave(batch, "after the append, before anything was done");
        }
        self.look_ahead(&batch)?;
        self.dispatch(&batch)?;
        if self.dies() {
            self.count(Trouble::KilledAfterEffects);
            return self.leave(batch, "after the effects, before the answers");
        }
        self.answer(&batch, false)?;
        for decided in batch {
            self.tale.step(decided.step, self.at, decided.event, decided.decision);
        }
        Ok(())
    }

    fn decide(&mut self, event: Event) -> Result<Decided, Broken> {
        self.steps += 1;
        let second = self.at.0 / 1_000;
        self.second = match self.second {
            (same, count) if same == second => (same, count + 1),
            _ => (second, 1),
        };
        if self.second.1 > SPIN {
            return Err(Broken::Spin(event_in_words(&event)));
        }
        let now = self.clock.now(self.at);
        let core = |source| Broken::Core { event: event_in_words(&event), source };
        let before = self.world.clone();
        let decision = if self.meddle.is_nobody() {
            advance(&mut self.world, &event, now).map_err(core)?
        } else {
            let view = self.meddle.view(&self.world, &event);
            let mut decision =
                decide(view.as_ref().unwrap_or(&self.world), &event, now).map_err(core)?;
            self.meddle.decided(&self.world, &event, now, &mut decision);
            self.world.fold(now, &decision.facts, &decision.commands).map_err(core)?;
            self.meddle.folded(&mut self.world);
            decision
        };
        let (step, after) = (self.steps, self.world.clone());
        Ok(Decided { step, event, now, before, decision, after })
    }

    fn check(&mut self, batch: &[Decided]) -> Result<(), Broken> {
        for decided in batch {
            let Decided { event, now, before, decision, after, .. } = decided;
            if let Some(trace) = &mut self.trace {
                trace.event(self.at, event);
            }
            let step = Step { before, event, now: *now, decision, after };
            let found = self.invariants.check(&step);
            found.inspect_err(|_| {
                self.tale.step(decided.step, self.at, event.clone(), decision.clone());
            })?;
        }
        Ok(())
    }

    /// When each plan that the batch touched is to be looked at again.
    fn look_ahead(&mut self, batch: &[Decided]) -> Result<(), Broken> {
        let now = self.clock.now(self.at);
        let mut touched = BTreeSet::new();
        let mut shared = Parts::default();
        for Decided { event, before, after, decision, .. } in batch {
            shared |= Parts::changed(&before.shared, &after.shared);
            match event {
                // Whoever takes over wakes every plan at once.
                Event::TookOver | Event::Limits(_) | Event::Source { .. } | Event::Learned(_) => {}
                Event::Declared { plan, .. }
                | Event::Observed { plan, .. }
                | Event::Found { plan, .. }
                | Event::Outcome { plan, .. }
                | Event::Measured { plan, .. }
                | Event::Submitted { plan, .. }
                | Event::Wake { plan } => {
                    touched.insert(plan.clone());
                }
                // Who repeats a request is told what was decided then, and nothing is looked at.
                Event::Operator(_) if decision.is_empty() => {}
                Event::Operator(request) => touched.extend(request.action.plan().cloned()),
            }
        }
        if shared.any() {
            // A plan of this very batch may have come to wait for what changed behind it.
            let wanting = self.wakes.iter().filter(|(_, wake)| wake.shared.meet(shared));
            self.again.extend(wanting.map(|(plan, _)| plan.clone()));
            self.again.extend(touched.iter().cloned());
        }
        for plan in touched {
            let wake = match self.meddle.forgets_wakes() {
                true => Wake::default(),
                false => wake::next(&self.world, &plan, now),
            };
            let soon = self.again.contains(&plan);
            let found = invariants::progress(&self.world, &plan, (&wake, soon), now);
            found.inspect_err(|_| {
                for Decided { step, event, decision, .. } in batch {
                    self.tale.step(*step, self.at, event.clone(), decision.clone());
                }
            })?;
            self.wakes.insert(plan, wake);
        }
        Ok(())
    }

    /// What is durable is done.
    fn dispatch(&mut self, batch: &[Decided]) -> Result<(), Broken> {
        for Decided { decision, .. } in batch {
            for fact in &decision.facts {
                if let Fact::EffectSuperseded { key, .. } = fact {
                    self.courier.cancel(key);
                }
            }
            for command in &decision.commands {
                let gone = !self
                    .world
                    .plans
                    .get(command.plan())
                    .is_some_and(|plan| plan.in_flight.contains_key(command.key()));
                // Something later in the same batch has overtaken it.
                if !gone {
                    invariants::recorded(&self.durable, command)?;
                }
                self.send(command);
            }
        }
        Ok(())
    }

    /// What is durable is acknowledged.
    fn answer(&mut self, batch: &[Decided], unrecorded: bool) -> Result<(), Broken> {
        for decided in batch {
            let reply = decided.decision.reply.as_ref();
            if let (Event::Operator(request), Some(reply)) = (&decided.event, reply) {
                invariants::acknowledged(reply, unrecorded)?;
                // A key that is used for two things answers for the first only.
                let first = request.key.as_ref().filter(|key| {
                    let known = decided.before.answers.get(key);
                    known.is_none_or(|(_, recorded)| recorded == reply)
                });
                self.acknowledged.told(first, reply);
                self.operators.answered(request);
            }
        }
        Ok(())
    }

    fn count(&mut self, trouble: Trouble) {
        *self.troubles.entry(trouble).or_default() += 1;
    }

    fn dies(&mut self) -> bool {
        self.faulty && self.chance.below(1_000) < 4
    }

    /// ringward dies, and what it had just decided is as if it had never been.
    fn lose(&mut self, batch: Vec<Decided>, when: &str) -> Result<(), Broken> {
        for decided in &batch {
            let event = event_in_words(&decided.event);
            self.tale.aside(self.at, format!("(lost) {event}"));
        }
        self.leave_unanswered(&batch);
        self.crash(when)
    }

    /// ringward dies, and what it had just decided is durable.
    fn leave(&mut self, batch: Vec<Decided>, when: &str) -> Result<(), Broken> {
        self.leave_unanswered(&batch);
        for decided in batch {
            self.tale.step(decided.step, self.at, decided.event, decided.decision);
        }
        self.crash(when)
    }

    fn leave_unanswered(&mut self, batch: &[Decided]) {
        for decided in batch {
            if let Event::Operator(request) = &decided.event {
                self.operators.left_unanswered(request, self.at);
            }
        }
    }

    /// ringward is killed: the world is what the journal tells.
    fn crash(&mut self, when: &str) -> Result<(), Broken> {
        self.crashes += 1;
        self.tale.aside(self.at, format!("ringward is killed {when}"));
        self.down = true;
        self.courier.forget_ringward();
        self.wakes.clear();
        self.again.clear();
        if self.meddle.loses_an_entry() {
            self.store.truncate(self.store.head().seq.saturating_sub(1));
        }
        self.store.reopen().map_err(|error: StoreError| broken_journal(error.to_string()))?;
        self.read_back()?;
        self.go_on_from_the_checkpoint()?;
        self.world = self.told.clone();
        self.meddle.recovered(&mut self.world);
        invariants::same(&self.world, &self.durable)?;
        self.acknowledged.survived(&self.world)?;
        // While it is away, whatever it would have heard is lost.
        let back = self.at + self.chance.seconds(0, 240);
        if let Some(trace) = &mut self.trace {
            trace.killed(self.at, back);
        }
        while self.courier.next().is_some_and(|at| at <= back) {
            self.at = self.at.max(self.courier.next().unwrap_or(back));
            self.deliver(self.at)?;
        }
        self.at = back;
        Ok(())
    }

    /// From the checkpoint that was kept at the crash before, a start comes to the same as from the
    /// journal alone (invariant 25). Then another is kept.
    fn go_on_from_the_checkpoint(&mut self) -> Result<(), Broken> {
        let broken = |error: &dyn std::error::Error| broken_journal(error.to_string());
        let recovered = recover(&self.store).map_err(|error| broken(&error))?;
        if recovered.checkpoint != self.kept {
            let why = format!("the checkpoint at entry {} does not count", self.kept);
            return Err(broken_journal(why).into());
        }
        invariants::same(&recovered.world, &self.durable)?;
        let head = self.store.head();
        if head.seq > 0 {
            checkpoint::keep(&self.store, head, &self.told).map_err(|error| broken(&error))?;
            self.kept = head.seq;
        }
        Ok(())
    }

    /// Folds what the journal tells beyond what was read before: it must give the world as of the last
    /// append (invariant 25).
    fn read_back(&mut self) -> Result<(), Broken> {
        let store: &dyn Store = &self.store;
        for entry in store.entries(self.read + 1) {
            let entry = entry.map_err(|error| broken_journal(error.to_string()))?;
            let folded = self.told.fold(entry.at, &entry.facts, &entry.commands);
            folded
                .map_err(|source| Broken::Core { event: format!("entry {}", entry.seq), source })?;
            self.read = entry.seq;
        }
        invariants::same(&self.told, &self.durable)?;
        Ok(())
    }
}
