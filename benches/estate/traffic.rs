//! What happens to an estate in motion: writes arrive, targets become ready, gates answer, times come.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use ringward::{
    decide::{
        Decision, advance,
        command::{Command, Lane},
        event::{
            Action, Actor, Answer, Declared, Event, Outcome, Reading, Request, Status, TargetState,
        },
        fact::Fact,
        wake::{self, Parts},
        world::{Phase, World},
    },
    declare::Compiled,
    ids::{IdempotencyKey, PlanName, ReleaseId},
    model::{
        ring::Artifact,
        time::{Mono, Now, Span},
    },
};

/// The ring that no other comes after.
const LAST_RING: &str = "ring-9";

/// An estate and its surroundings, in simulated time.
pub struct Traffic {
    pub world: World,
    now: Now,
    queue: VecDeque<Event>,
    later: BTreeMap<(Mono, u64), Event>,
    alarms: BTreeSet<(Mono, PlanName)>,
    alarm_of: BTreeMap<PlanName, Mono>,
    shared: BTreeMap<PlanName, Parts>,
    numbered: u64,
    /// The time that the core took, and for how many events of which kind.
    pub spent: BTreeMap<&'static str, (usize, Duration)>,
}

impl Traffic {
    /// Declares everything, sees every target, and submits so many releases.
    pub fn new(estate: &Compiled, moving: usize, record: &mut dyn FnMut(Now, Decision)) -> Self {
        let wall = Timestamp::from_second(1_772_000_000).expect("a time of this century");
        let mut traffic = Self {
            world: World::default(),
            now: Now { wall, mono: Mono::default() },
            queue: VecDeque::from([
                Event::TookOver,
                Event::Source { commit: estate.commit.clone(), refused: None },
            ]),
            later: BTreeMap::new(),
            alarms: BTreeSet::new(),
            alarm_of: BTreeMap::new(),
            shared: BTreeMap::new(),
            numbered: 0,
            spent: BTreeMap::new(),
        };
        for (name, plan) in &estate.plans {
            let plan = plan.clone().expect("the estate has no errors");
            let declared = Declared::Valid(plan.clone());
            traffic.queue.push_back(Event::Declared { plan: name.clone(), declared });
            traffic.queue.extend(plan.clusters().map(|cluster| Event::Observed {
                plan: name.clone(),
                cluster: cluster.name.clone(),
                state: ready(&artifact(name, "1.0.0"), None),
            }));
        }
        let released = estate.plans.keys().take(moving);
        traffic.queue.extend(released.map(|plan| submitted(plan, 2)));
        while !traffic.queue.is_empty() {
            let (now, decision) = traffic.turn();
            record(now, decision);
        }
        traffic
    }

    /// Rings in motion.
    pub fn moving(&self) -> usize {
        let plans = self.world.plans.values();
        let runs = plans.flat_map(|plan| plan.releases.values()).flat_map(|r| r.rings.values());
        runs.filter(|run| matches!(run.phase, Phase::Deploying | Phase::Soaking)).count()
    }

    /// Forgets what the core has taken so far.
    pub fn forget_times(&mut self) {
        self.spent.clear();
    }

    /// Lets the next thing happen: decided, made true, and looked ahead of, as the loop does it.
    pub fn turn(&mut self) -> (Now, Decision) {
        let event = self.next();
        let plan = plan_of(&event);
        let before = self.world.shared.clone();
        let began = clock();
        let decision = advance(&mut self.world, &event, self.now).expect("the core is sound");
        let wake = plan.as_ref().map(|plan| wake::next(&self.world, plan, self.now));
        let took = clock() - began;
        let spent = self.spent.entry(kind(&event)).or_default();
        *spent = (spent.0 + 1, spent.1 + took);
        if let (Some(plan), Some(wake)) = (plan, wake) {
            self.set_alarm(plan, wake);
        }
        let changed = Parts::changed(&before, &self.world.shared);
        let woken = self.shared.iter().filter(|(_, parts)| parts.meet(changed));
        self.queue.extend(woken.map(|(plan, _)| Event::Wake { plan: plan.clone() }));
        for command in &decision.commands {
            self.carry_out(command);
        }
        // Whoever is through is followed by the next version, so that as many stay in motion.
        for fact in &decision.facts {
            let Fact::RingPassed { release, ring } = fact else { continue };
            if ring.as_str() != LAST_RING {
                continue;
            }
            let next = self.world.plans[&release.plan].order.len() + 2;
            self.queue.push_back(submitted(&release.plan, next));
        }
        (self.now, decision)
    }

    fn next(&mut self) -> Event {
        if let Some(event) = self.queue.pop_front() {
            return event;
        }
        let alarm = self.alarms.first().map(|(at, _)| *at);
        let later = self.later.first_key_value().map(|((at, _), _)| *at);
        let woken = match (alarm, later) {
            (Some(alarm), Some(later)) => alarm < later,
            (alarm, _) => alarm.is_some(),
        };
        let (at, event) = if woken {
            let (at, plan) = self.alarms.pop_first().expect("an estate in motion goes on");
            self.alarm_of.remove(&plan);
            (at, Event::Wake { plan })
        } else {
            let ((at, _), event) = self.later.pop_first().expect("an estate in motion goes on");
            (at, event)
        };
        if at > self.now.mono {
            let passed = at.since(self.now.mono);
            let wall = self.now.wall.checked_add(passed.to_signed()).expect("it is not that late");
            self.now = Now { wall, mono: at };
        }
        event
    }

    fn set_alarm(&mut self, plan: PlanName, wake: wake::Wake) {
        if let Some(at) = self.alarm_of.remove(&plan) {
            self.alarms.remove(&(at, plan.clone()));
        }
        if let Some(at) = wake.at {
            self.alarms.insert((at, plan.clone()));
            self.alarm_of.insert(plan.clone(), at);
        }
        match wake.shared.any() {
            true => _ = self.shared.insert(plan, wake.shared),
            false => _ = self.shared.remove(&plan),
        }
    }

    fn after(&mut self, span: Span, event: Event) {
        self.numbered += 1;
        self.later.insert((self.now.mono + span, self.numbered), event);
    }

    fn carry_out(&mut self, command: &Command) {
        let (plan, key) = (command.plan().clone(), command.key().clone());
        // A little apart, so that not everything falls on one instant.
        let late = Span(20 + (self.numbered * 7_919) % 900);
        match command {
            Command::Deploy(write) | Command::Restore(write) => {
                let (cluster, outcome) = (write.cluster.clone(), Outcome::Done);
                let seen =
                    |state| Event::Observed { plan: plan.clone(), cluster: cluster.clone(), state };
                let at = ready(&write.artifact, Some(key.clone()));
                let status = Status::Progressing("1 of 3 ready".into());
                let on_its_way = seen(TargetState { status, ..at.clone() });
                let there = seen(at);
                self.after(late, Event::Outcome { plan: plan.clone(), key, outcome });
                self.after(late + Span::seconds(1), on_its_way);
                self.after(late + Span::seconds(20), there);
            }
            Command::Promote(_) => {
                let event = Event::Outcome { plan, key, outcome: Outcome::Done };
                self.after(late, event);
            }
            Command::Measure(measure) => {
                let reads = |value| Reading::Value { value, at: self.now.wall };
                let value = match measure.gate.as_str() {
                    "latency-p99" => 0.18,
                    "orders" => 120.0,
                    _ => 0.999,
                };
                let answer = Answer {
                    value: reads(value),
                    samples: measure.samples.as_ref().map(|_| reads(1_500.0)),
                    baseline: measure.baseline_at.map(|_| reads(0.17)),
                    parts: Vec::new(),
                    infos: Vec::new(),
                };
                self.after(late, Event::Measured { plan, key, answer });
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "what is measured is real time")]
fn clock() -> Instant {
    Instant::now()
}

fn submitted(plan: &PlanName, n: usize) -> Event {
    let version = format!("{n}.0.0");
    Event::Operator(Request {
        by: Actor { name: "ola".into(), roles: Vec::new(), jurisdiction: None },
        key: None,
        seen: None,
        action: Action::Submit {
            release: ReleaseId::new(plan.clone(), version.as_str()),
            artifact: artifact(plan, &version),
            author: Some("dana".into()),
            lane: Lane::Normal,
            reason: None,
            irreversible: false,
            requires: None,
        },
    })
}

fn ready(artifact: &Artifact, intent: Option<IdempotencyKey>) -> TargetState {
    TargetState {
        status: Status::Succeeded,
        image: Some(artifact.clone()),
        intent,
        revision: None,
        ready_since: None,
        pause: None,
    }
}

fn artifact(plan: &PlanName, version: &str) -> Artifact {
    let seed = plan
        .as_str()
        .bytes()
        .chain(version.bytes())
        .fold(7u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    Artifact(format!("registry.example/{plan}@sha256:{}", format!("{seed:016x}").repeat(4)))
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

fn kind(event: &Event) -> &'static str {
    match event {
        Event::TookOver => "took over",
        Event::Limits(_) => "limits",
        Event::Source { .. } => "source",
        Event::Learned(_) => "learned",
        Event::Declared { .. } => "declared",
        Event::Observed { .. } => "observed",
        Event::Found { .. } => "found",
        Event::Outcome { .. } => "outcome",
        Event::Measured { .. } => "measured",
        Event::Operator(_) => "operator",
        Event::Submitted { .. } => "submitted",
        Event::Wake { .. } => "wake",
    }
}
