//! Runs one scenario through the real core: the earlier of the next wake, the next thing that the
//! fleet does and the next step; one event, its facts folded, its commands handed to the fleet, every
//! invariant checked.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};

use super::{
    expect,
    history::History,
    model::{Asking, Scenario, What},
    source::{Source, artifact},
};
use crate::{
    decide::{
        Decision,
        command::{Command, Measure},
        decide,
        event::{Actor, Declared, Event, News, Problem, Request},
        fact::{Fact, Refusal, Reply},
        wake::{self, Wake},
        world::{Illegal, World},
    },
    declare::Diagnostic,
    ids::{ClusterName, PlanName, Principal, Version},
    model::time::{Mono, Now, Span},
    sim::{
        fleet::{Fleet, Site},
        invariants::{self, Invariants, Step, Violation},
        simulate::meddle::{Honest, Meddle},
    },
};

/// Events at one instant beyond which the core is taken to go round in circles.
const SPIN: u32 = 10_000;

/// One event's facts and commands, as a journal keeps them.
#[derive(Debug)]
pub struct Entry {
    /// When, by the scenario's time.
    pub at: Span,
    /// When, by ringward's clocks.
    pub now: Now,
    /// The plan that it was about, where it was about one.
    pub plan: Option<PlanName>,
    /// What became true, and what was to be done.
    pub decision: Decision,
}

/// Why a run cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The core contradicted itself.
    #[error("the core is defective at {event}")]
    Core {
        /// The event that it answered.
        event: String,
        /// What does not follow.
        source: Illegal,
    },
    /// An invariant does not hold.
    #[error("after {event}: {violation}")]
    Invariant {
        /// The event that broke it.
        event: String,
        /// Which one.
        violation: Violation,
    },
    /// The core asks for the same instant again and again.
    #[error("{SPIN} events at one instant; the last is {event}")]
    Spin {
        /// The last of them.
        event: String,
    },
    /// A step that cannot be taken.
    #[error("line {line}: {why}")]
    Step {
        /// Its line.
        line: usize,
        /// Why.
        why: String,
    },
}

/// A world on its way through a scenario.
pub struct Run<'s> {
    scenario: &'s Scenario,
    source: Arc<Source>,
    pub(super) world: World,
    pub(super) journal: Vec<Entry>,
    pub(super) fleet: Fleet,
    pub(super) history: History,
    /// How the last request was refused, if it was.
    pub(super) refused: Option<(Refusal, String)>,
    /// Whether anything was asked for yet.
    pub(super) asked: bool,
    meddle: &'s mut dyn Meddle,
    invariants: Invariants,
    wakes: BTreeMap<PlanName, Wake>,
    /// Plans that look again because what all share has changed.
    again: BTreeSet<PlanName>,
    at: Span,
    /// How long ringward was away so far.
    away: Span,
    /// When it was killed and when it comes back, while it is away.
    down: Option<(Span, Span)>,
    /// What the wall clock said, from when on.
    walls: Vec<(Span, Timestamp)>,
    events: u64,
    spin: u32,
}

/// What a run came to.
#[derive(Debug)]
pub struct Report {
    /// What failed, in words; nothing where all is as expected.
    pub failures: Vec<String>,
    /// How many events the core answered.
    pub events: u64,
    /// How it broke and when, where it could not go on.
    pub broken: Option<(Symptom, Span)>,
}

/// What broke, whatever the words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Symptom {
    /// An invariant, by its number, and what should hold.
    Invariant(u8, &'static str),
    /// The core contradicts itself.
    Core,
    /// The core goes round in circles.
    Spin,
}

impl std::fmt::Display for Symptom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Symptom::Invariant(number, says) => write!(f, "invariant {number}: {says}"),
            Symptom::Core => f.write_str("the core contradicts itself"),
            Symptom::Spin => f.write_str("the core goes round in circles"),
        }
    }
}

impl Broken {
    /// Nothing where a step cannot be taken: that is the scenario's own mistake.
    fn symptom(&self) -> Option<Symptom> {
        match self {
            Broken::Core { .. } => Some(Symptom::Core),
            Broken::Invariant { violation, .. } => {
                Some(Symptom::Invariant(violation.number, violation.says))
            }
            Broken::Spin { .. } => Some(Symptom::Spin),
            Broken::Step { .. } => None,
        }
    }
}

/// Runs `scenario` over its declarations.
pub fn run(scenario: &Scenario, source: &Arc<Source>) -> Report {
    run_with(scenario, source, &mut Honest)
}

/// The same with somebody who meddles.
pub(in crate::sim) fn run_with(
    scenario: &Scenario,
    source: &Arc<Source>,
    meddle: &mut dyn Meddle,
) -> Report {
    let mut run = Run::new(scenario, source.clone(), meddle);
    let mut failures = Vec::new();
    let mut symptom = None;
    if let Err(broken) = run.all(&mut failures) {
        symptom = broken.symptom().map(|symptom| (symptom, run.at));
        let chain = match &broken {
            Broken::Core { source, .. } => format!("{broken}: {source}"),
            Broken::Invariant { .. } | Broken::Spin { .. } | Broken::Step { .. } => {
                broken.to_string()
            }
        };
        run.history.read(&run.journal);
        let timeline = run.history.timeline(None, 30);
        failures.push(format!("at {}: {chain}\n{timeline}", run.at));
    }
    if !failures.is_empty() {
        failures.extend(run.source.errors().map(|error| format!("the source has an {error}")));
    }
    Report { failures, events: run.events, broken: symptom }
}

impl<'s> Run<'s> {
    fn new(scenario: &'s Scenario, source: Arc<Source>, meddle: &'s mut dyn Meddle) -> Self {
        let mut sites: BTreeMap<ClusterName, Site> = BTreeMap::new();
        for site in &scenario.sites {
            let versions = &site.never_ready;
            let plans = source.compiled.plans.keys();
            let never_ready =
                plans.flat_map(|plan| versions.iter().map(|v| artifact(plan, v))).collect();
            let usual = Site::default();
            let behaviour = Site {
                deploy_time: site.deploy_time.unwrap_or(usual.deploy_time),
                unreachable: site.unreachable.clone(),
                unready: site.unready.clone(),
                forgetful: site.forgetful,
                never_ready,
            };
            sites.insert(site.name.clone(), behaviour);
        }
        let series = scenario.series.iter().map(|(series, _)| series.clone()).collect();
        Self {
            scenario,
            source,
            world: World::default(),
            journal: Vec::new(),
            fleet: Fleet::new(sites, series),
            history: History::default(),
            refused: None,
            asked: false,
            meddle,
            invariants: Invariants::default(),
            wakes: BTreeMap::new(),
            again: BTreeSet::new(),
            at: Span::ZERO,
            away: Span::ZERO,
            down: None,
            walls: vec![(Span::ZERO, scenario.start)],
            events: 0,
            spin: 0,
        }
    }

    /// The instant on ringward's clocks. While it is away, its own stands still.
    pub(super) fn now(&self) -> Now {
        let (since, wall) = self.walls[self.walls.len() - 1];
        let passed = Span(self.at.0 - since.0);
        let wall = wall.saturating_add(passed.to_signed()).unwrap_or(wall);
        let awake = self.down.map_or(self.at, |(killed, _)| killed);
        Now { wall, mono: Mono(awake.0.saturating_sub(self.away.0)) }
    }

    fn all(&mut self, failures: &mut Vec<String>) -> Result<(), Broken> {
        self.take_over()?;
        for step in &self.scenario.steps {
            self.reach(step.at)?;
            if let What::Expect(expect) = &step.what {
                if let Err(mismatch) = expect::check(self, expect) {
                    self.history.read(&self.journal);
                    let timeline = self.history.timeline(expect.release.as_ref(), 24);
                    let (at, line) = (step.at, step.line);
                    failures.push(format!("line {line}, at {at}: {mismatch}\n{timeline}"));
                }
            } else if self.down.is_some() {
                let why = "ringward is down at that time".into();
                return Err(Broken::Step { line: step.line, why });
            } else {
                self.act(&step.what, step.line)?;
            }
            self.reach(step.at)?;
        }
        self.refold()
    }

    fn act(&mut self, action: &What, line: usize) -> Result<(), Broken> {
        let broken = |why| Broken::Step { line, why };
        match action {
            What::Ask(asking) => self.ask(asking),
            What::EditFile { file, content } => {
                self.source = Arc::new(self.source.with_file(file, content));
                self.declare()
            }
            What::EditDocument(document) => {
                let edited = self.source.with_document(document).map_err(broken)?;
                self.source = Arc::new(edited);
                self.declare()
            }
            What::Restart { down } => {
                self.refold()?;
                let told = self.world.clone();
                self.meddle.recovered(&mut self.world);
                invariants::same(&self.world, &told).map_err(|violation| Broken::Invariant {
                    event: "ringward was killed".into(),
                    violation,
                })?;
                self.fleet.forget_ringward();
                self.wakes.clear();
                self.again.clear();
                self.down = Some((self.at, self.at + *down));
                Ok(())
            }
            What::Jump(by) => {
                // A look before and a look after, between which nothing but the wall clock moves.
                self.wake_all()?;
                let wall = self.now().wall;
                self.walls.push((self.at, wall.saturating_add(*by).unwrap_or(wall)));
                self.wake_all()
            }
            What::Drift { cluster, plan, running } => {
                let there = self
                    .fleet
                    .targets()
                    .filter(|(p, c)| c == cluster && plan.as_ref().is_none_or(|plan| plan == p));
                let there: Vec<_> = there.map(|(plan, _)| plan.clone()).collect();
                let [plan] = there.as_slice() else {
                    return Err(broken(match there.len() {
                        0 => format!("nothing runs in a cluster {cluster}"),
                        n => format!("{n} plans run in {cluster}; say which by `plan`"),
                    }));
                };
                self.fleet.drift(plan, cluster, &artifact(plan, running), self.at);
                Ok(())
            }
            What::Hear(event) => self.feed(event.clone()),
            What::Witness(cluster, witness) => {
                let (cluster, witness) = (cluster.clone(), witness.clone());
                self.feed(Event::Learned(News::Witness(cluster, witness)))
            }
            What::Expect(_) => Ok(()),
        }
    }

    fn wake_all(&mut self) -> Result<(), Broken> {
        let plans: Vec<_> = self.world.plans.keys().cloned().collect();
        plans.into_iter().try_for_each(|plan| self.feed(Event::Wake { plan }))
    }

    fn ask(&mut self, asking: &Asking) -> Result<(), Broken> {
        let by = Actor {
            name: asking.by.clone(),
            roles: asking.roles.clone(),
            jurisdiction: asking.jurisdiction.clone(),
        };
        self.asked = true;
        let action = asking.action.clone();
        let (key, seen) = (asking.key.clone(), asking.seen);
        self.feed(Event::Operator(Request { by, key, seen, action }))
    }

    /// ringward starts, for the first time or again.
    fn take_over(&mut self) -> Result<(), Broken> {
        self.feed(Event::TookOver)?;
        self.feed(Event::Limits(self.scenario.limits.clone()))?;
        self.feed(Event::Learned(News::Home(self.scenario.home.clone())))?;
        self.declare()?;
        let targets: Vec<_> = self.fleet.targets().cloned().collect();
        for (plan, cluster) in targets {
            let seen = self.fleet.look(&plan, &cluster, self.at);
            seen.map_or(Ok(()), |seen| self.feed(seen))?;
        }
        let writes: Vec<Arc<Command>> =
            self.world.plans.values().flat_map(|plan| plan.in_flight.values().cloned()).collect();
        for command in writes.into_iter().filter(|_| !self.scenario.scripted) {
            // Measurements of a predecessor are asked for anew by the core itself.
            if let Command::Deploy(write) | Command::Restore(write) = command.as_ref() {
                self.fleet.write(write, self.at);
            }
        }
        Ok(())
    }

    /// The versions of a plan that anybody has spoken of.
    pub(super) fn versions(&self, plan: &PlanName) -> Vec<Version> {
        let known = self.scenario.known.get(plan).into_iter().cloned();
        let released = self.world.plans.get(plan).into_iter().flat_map(|p| p.order.iter().cloned());
        let drifted = self.scenario.steps.iter().filter_map(|step| match &step.what {
            What::Drift { running, .. } => Some(running.clone()),
            What::Ask(_)
            | What::EditFile { .. }
            | What::EditDocument(_)
            | What::Restart { .. }
            | What::Jump(_)
            | What::Hear(_)
            | What::Witness(..)
            | What::Expect(_) => None,
        });
        known.chain(released).chain(drifted).collect()
    }

    /// What the source says, to the core; and targets that it names for the first time, to the fleet.
    fn declare(&mut self) -> Result<(), Broken> {
        let source = self.source.clone();
        let commit = source.compiled.commit.clone();
        self.feed(Event::Source { commit, refused: None })?;
        self.feed(Event::Learned(News::Clusters(source.compiled.places.clone())))?;
        if let Some(blocs) = source.compiled.blocs.clone() {
            self.feed(Event::Learned(News::Blocs(blocs)))?;
        }
        let known = self.world.plans.keys().cloned();
        let plans: BTreeSet<_> = known.chain(source.compiled.plans.keys().cloned()).collect();
        for plan in plans {
            let declared = match source.compiled.plans.get(&plan) {
                Some(Ok(valid)) => Declared::Valid(valid.clone()),
                Some(Err(problems)) => Declared::Invalid(problems.iter().map(brief).collect()),
                None => Declared::Withdrawn,
            };
            self.feed(Event::Declared { plan, declared })?;
        }
        let simulated =
            source.compiled.plans.values().flatten().filter(|_| !self.scenario.scripted);
        for plan in simulated {
            let version = self.scenario.known.get(&plan.name);
            for cluster in plan.clusters() {
                // Where nothing is known, something runs all the same.
                let unknown = "before".into();
                let runs = artifact(&plan.name, version.unwrap_or(&unknown));
                if !self.fleet.settle(&plan.name, &cluster.name, &runs) {
                    continue;
                }
                let (name, cluster) = (plan.name.clone(), cluster.name.clone());
                if version.is_some() {
                    let adopted = Fact::Adopted {
                        plan: name.clone(),
                        cluster: cluster.clone(),
                        version: version.cloned(),
                        artifact: runs,
                    };
                    let decision = Decision { facts: vec![adopted], ..Decision::default() };
                    self.record(Event::Wake { plan: name.clone() }, decision)?;
                }
                let seen = self.fleet.look(&name, &cluster, self.at);
                seen.map_or(Ok(()), |seen| self.feed(seen))?;
            }
        }
        Ok(())
    }

    /// Goes on to `at`: everything due by then happens.
    fn reach(&mut self, at: Span) -> Result<(), Broken> {
        if let Some((killed, back)) = self.down {
            // While nobody listens, what the fleet says is lost.
            while self.fleet.step(back.min(at)).is_some() {}
            if at < back {
                self.at = at;
                return Ok(());
            }
            self.at = back;
            self.down = None;
            self.away = self.away + back.saturating_sub(killed);
            self.take_over()?;
        }
        loop {
            let away = self.away;
            let wakes = self.wakes.iter();
            let wakes = wakes.filter_map(|(plan, w)| Some((Span(w.at?.0) + away, plan.clone())));
            let wake = wakes.min();
            let again = self.again.first().map(|_| self.at);
            let fleet = self.fleet.next();
            let times = [fleet, again, wake.as_ref().map(|(at, _)| *at)];
            let Some(next) = times.into_iter().flatten().min().filter(|next| *next <= at) else {
                break;
            };
            if next > self.at {
                self.spin = 0;
                self.at = next;
            }
            if fleet.is_some_and(|due| due <= self.at) {
                for event in self.fleet.step(self.at).into_iter().flatten() {
                    self.feed(event)?;
                }
            } else if let Some(plan) = self.again.pop_first() {
                self.feed(Event::Wake { plan })?;
            } else if let Some((_, plan)) = wake {
                self.feed(Event::Wake { plan })?;
            }
        }
        self.at = self.at.max(at);
        Ok(())
    }

    fn feed(&mut self, event: Event) -> Result<(), Broken> {
        let now = self.now();
        let view = self.meddle.view(&self.world, &event);
        let mut decision = decide(view.as_ref().unwrap_or(&self.world), &event, now)
            .map_err(|source| Broken::Core { event: name_of(&event), source })?;
        self.meddle.decided(&self.world, &event, now, &mut decision);
        self.record(event, decision)
    }

    fn record(&mut self, event: Event, decision: Decision) -> Result<(), Broken> {
        self.events += 1;
        self.spin += 1;
        if self.spin > SPIN {
            return Err(Broken::Spin { event: name_of(&event) });
        }
        let (now, before) = (self.now(), self.world.clone());
        self.world
            .fold(now, &decision.facts, &decision.commands)
            .map_err(|source| Broken::Core { event: name_of(&event), source })?;
        self.meddle.folded(&mut self.world);
        let plan = plan_of(&event).cloned();
        self.journal.push(Entry { at: self.at, now, plan, decision });
        let decision = &self.journal[self.journal.len() - 1].decision;
        let step = Step { before: &before, event: &event, now, decision, after: &self.world };
        let broken = |violation| Broken::Invariant { event: name_of(&event), violation };
        self.invariants.check(&step).map_err(broken)?;
        if let Event::Operator(_) = event {
            self.refused = match &decision.reply {
                Some(Reply::Refused { kind, detail }) => Some((*kind, detail.clone())),
                Some(Reply::Done { .. }) | None => None,
            };
        }
        for fact in &decision.facts {
            if let Fact::EffectSuperseded { key, .. } = fact {
                self.fleet.cancel(key);
            }
        }
        let commands = match self.scenario.scripted {
            true => Vec::new(),
            false => decision.commands.clone(),
        };
        for command in commands {
            match command.as_ref() {
                Command::Deploy(write) | Command::Restore(write) => {
                    self.fleet.write(write, self.at);
                }
                // The fleet has no controllers that pause.
                Command::Promote(_) => {}
                Command::Measure(measure) => self.measure(measure),
            }
        }
        self.look_ahead(&before, &event).map_err(broken)
    }

    /// When each plan that the event touched is to be looked at again. Other plans keep the wake that
    /// they have, which may be due at this very instant.
    fn look_ahead(&mut self, before: &World, event: &Event) -> Result<(), Violation> {
        let now = self.now();
        let about = plan_of(event);
        let last = self.journal.last();
        // Who repeats a request is told what was decided then, and nothing is looked at.
        let repeated =
            matches!(event, Event::Operator(_)) && last.is_some_and(|e| e.decision.is_empty());
        let shared = wake::Parts::changed(&before.shared, &self.world.shared);
        for (plan, state) in &self.world.plans {
            let same = before.plans.get(plan).is_some_and(|was| Arc::ptr_eq(was, state));
            let concerned = self.wakes.get(plan).is_some_and(|wake| wake.shared.meet(shared));
            if concerned && about != Some(plan) {
                self.again.insert(plan.clone());
            }
            if !same || about == Some(plan) {
                let wake = match self.meddle.forgets_wakes() {
                    true => Wake::default(),
                    false => wake::next(&self.world, plan, now),
                };
                // Only what an event is about was gone through to the end.
                if about == Some(plan) && !repeated {
                    invariants::progress(&self.world, plan, (&wake, false), now)?;
                }
                self.wakes.insert(plan.clone(), wake);
            }
        }
        Ok(())
    }

    fn measure(&mut self, measure: &Measure) {
        let release = self.world.release(&measure.release);
        let ring = release.and_then(|release| release.plan.ring(&measure.ring));
        let gate = ring.and_then(|r| r.policy.gates.iter().find(|g| g.name == measure.gate));
        let interval = gate.map_or(Span::minutes(1), |gate| gate.interval);
        let baseline = measure.baseline_at.map(|wall| self.when(wall));
        self.fleet.measure(measure, interval, (self.at, self.now().wall), baseline);
    }

    /// The scenario's time at which the wall clock said that; the beginning where it never did.
    fn when(&self, wall: Timestamp) -> Span {
        let mut walls = self.walls.iter().rev();
        let from = walls.find(|(_, from)| *from <= wall);
        from.map_or(Span::ZERO, |(at, from)| {
            let passed: SignedDuration = wall.duration_since(*from);
            let passed = Span(u64::try_from(passed.as_millis()).unwrap_or(0));
            (*at + passed).min(self.at)
        })
    }

    /// Folds the journal again: it must give this very world (invariant 25), which the run goes on with.
    fn refold(&mut self) -> Result<(), Broken> {
        let entries = self.journal.iter();
        let entries = entries.map(|e| (e.now, &e.decision));
        self.world = invariants::refolded(entries, &self.world).map_err(|violation| {
            Broken::Invariant { event: "the journal was folded again".into(), violation }
        })?;
        Ok(())
    }
}

/// Who asks where a scenario names nobody.
pub fn somebody() -> Principal {
    "operator".into()
}

fn brief(problem: &Diagnostic) -> Problem {
    Problem { rule: problem.rule.into(), place: problem.location(), message: problem.in_brief() }
}

fn plan_of(event: &Event) -> Option<&PlanName> {
    match event {
        Event::TookOver | Event::Limits(_) | Event::Source { .. } | Event::Learned(_) => None,
        Event::Declared { plan, .. }
        | Event::Observed { plan, .. }
        | Event::Found { plan, .. }
        | Event::Outcome { plan, .. }
        | Event::Measured { plan, .. }
        | Event::Submitted { plan, .. }
        | Event::Wake { plan } => Some(plan),
        Event::Operator(request) => request.action.plan(),
    }
}

/// An event in a few words.
fn name_of(event: &Event) -> String {
    match event {
        Event::TookOver => "the take-over".into(),
        Event::Limits(_) => "the settings' limits".into(),
        Event::Source { commit, .. } => format!("the source at {commit}"),
        Event::Learned(news) => format!("the news {news:?}"),
        Event::Declared { plan, .. } => format!("the declaration of {plan}"),
        Event::Observed { plan, cluster, state } => {
            format!("{plan} on {cluster} was seen {:?}", state.status)
        }
        Event::Found { plan, cluster, state } => {
            format!("{plan} on {cluster} was found at {:?}", state.image)
        }
        Event::Outcome { key, outcome, .. } => format!("{key} ended: {outcome:?}"),
        Event::Measured { key, answer, .. } => format!("{key} answered {:?}", answer.value),
        Event::Operator(request) => format!("{} asked: {:?}", request.by.name, request.action),
        Event::Submitted { plan, requests } => format!("{} releases of {plan}", requests.len()),
        Event::Wake { plan } => format!("a wake of {plan}"),
    }
}
