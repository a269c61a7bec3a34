//! What lies between ringward and the fleet: a network that delays, loses, repeats and reorders, and
//! metric sources that lie.
//!
//! It keeps what the dispatcher promises: one write to a target at a time, the newest of those that
//! wait wins, one that was lost is tried again unless it was superseded, and whatever was said wrongly
//! about a target is said rightly a little later. A request that is on its way when ringward dies still
//! arrives.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::Timestamp;

use super::{
    chance::Chance,
    landscape::Landscape,
    meddle::Meddle,
    trouble::{Trouble, Troubles},
};
use crate::{
    decide::{
        command::{Command, Measure, Write},
        event::{Answer, Event, Outcome, Pause, Reading, Status, TargetState},
        gate::reading::read,
    },
    ids::{ClusterName, IdempotencyKey, PlanName},
    model::{ring::Artifact, time::Span},
    sim::{
        fleet::Fleet,
        invariants::{CANARY, Landing},
    },
};

/// States of a target that a stale read may show again.
const REMEMBERED: usize = 4;

type Object = (PlanName, ClusterName);

/// The network and what travels on it.
#[derive(Debug)]
pub(super) struct Courier {
    fleet: Fleet,
    chance: Chance,
    /// Once it is honest, it delivers everything at once and in order.
    honest: bool,
    /// How many processes of ringward there were: what belongs to one dies with it.
    process: u64,
    due: BTreeMap<(Span, u64), Parcel>,
    sent: u64,
    lanes: BTreeMap<Object, Lane>,
    targets: BTreeMap<Object, AtTarget>,
    /// Measurements that are on their way.
    measuring: BTreeSet<IdempotencyKey>,
    /// Commands that found no room.
    dropped: u64,
    given_up: BTreeSet<(ClusterName, Artifact)>,
    /// Targets that are declared and are not there.
    missing: BTreeSet<Object>,
    moods: BTreeMap<Object, (Span, Mood)>,
    troubles: Troubles,
}

/// A write on its way to a target, and the newest that waits for it.
#[derive(Debug)]
struct Lane {
    running: IdempotencyKey,
    cancelled: bool,
    next: Option<(u64, Write)>,
}

/// What a target remembers of writes, and its readers of it.
#[derive(Debug, Default)]
struct AtTarget {
    epoch: u64,
    /// Stands for the object's resource version.
    generation: u64,
    accepted: BTreeSet<IdempotencyKey>,
    states: VecDeque<TargetState>,
}

#[derive(Debug)]
enum Parcel {
    /// A write arrives. It was prepared on the target's `generation`.
    Land { write: Write, epoch: u64, generation: u64, process: u64 },
    /// A write is sent again.
    Send { write: Write, epoch: u64 },
    /// The answer to a write arrives.
    Settled { write: Write, outcome: Outcome },
    /// A measurement is taken, on this query's interval.
    Ask { measure: Measure, interval: Span },
    /// ringward hears of it.
    Say(Event),
    /// ringward reads a target as it is.
    Look(Object),
}

/// How a metric source answers for a while.
#[derive(Debug, Clone, Copy)]
enum Mood {
    Truthful,
    Failing,
    Silent,
    Broken,
    Sparse,
    Stale,
    Ahead,
    Fickle,
}

/// What a step of the courier comes to.
#[derive(Debug, Default)]
pub(super) struct Delivered {
    /// What ringward hears.
    pub(super) events: Vec<Event>,
    /// Writes that reached their target.
    pub(super) landings: Vec<Landing>,
}

impl Courier {
    pub(super) fn new(landscape: &Landscape, chance: Chance) -> Self {
        Self {
            fleet: Fleet::new(landscape.sites.clone(), landscape.series.clone()),
            chance,
            honest: false,
            process: 0,
            due: BTreeMap::new(),
            sent: 0,
            lanes: BTreeMap::new(),
            targets: BTreeMap::new(),
            measuring: BTreeSet::new(),
            dropped: 0,
            given_up: landscape.given_up.clone(),
            missing: landscape.missing.clone(),
            moods: BTreeMap::new(),
            troubles: Troubles::new(),
        }
    }

    /// Puts a target there, as it ran before ringward came.
    pub(super) fn settle(&mut self, plan: &PlanName, cluster: &ClusterName, artifact: &Artifact) {
        self.fleet.settle(plan, cluster, artifact);
    }

    /// Somebody other than ringward changes a target.
    pub(super) fn drift(
        &mut self,
        plan: &PlanName,
        cluster: &ClusterName,
        to: &Artifact,
        at: Span,
    ) {
        self.fleet.drift(plan, cluster, to, at);
    }

    /// From now on nothing is lost, late or a lie.
    pub(super) fn calm_down(&mut self) {
        self.honest = true;
    }

    /// What went wrong so far, and how often.
    pub(super) fn troubles(&self) -> &Troubles {
        &self.troubles
    }

    fn count(&mut self, trouble: Trouble) {
        *self.troubles.entry(trouble).or_default() += 1;
    }

    /// When something happens next.
    pub(super) fn next(&self) -> Option<Span> {
        let parcel = self.due.first_key_value().map(|((at, _), _)| *at);
        [parcel, self.fleet.next()].into_iter().flatten().min()
    }

    /// Commands that found no room so far: whoever keeps them hands them in again.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Nobody listens any more: what ringward had yet to hear or to send is lost, and what it had sent
    /// is still on its way.
    pub(super) fn forget_ringward(&mut self) {
        self.process += 1;
        self.due.retain(|_, parcel| match parcel {
            Parcel::Land { .. } => true,
            Parcel::Send { .. }
            | Parcel::Settled { .. }
            | Parcel::Ask { .. }
            | Parcel::Say(_)
            | Parcel::Look(_) => false,
        });
        // Some of what is under way is held up by whatever killed ringward.
        let late: Vec<_> = self.due.keys().copied().collect();
        for key in late {
            if self.chance.percent(50)
                && let Some(parcel) = self.due.remove(&key)
            {
                let pause = self.chance.seconds(1, 300);
                self.post(key.0 + pause, parcel);
            }
        }
        self.fleet.forget_ringward();
        self.lanes.clear();
        self.measuring.clear();
    }

    /// A new process lists all targets.
    pub(super) fn list(&mut self, at: Span) {
        let targets: Vec<_> = self.fleet.targets().chain(&self.missing).cloned().collect();
        for object in targets {
            let late = if self.honest { Span::ZERO } else { self.chance.seconds(0, 20) };
            self.post(at + late, Parcel::Look(object));
        }
    }

    /// A command, durable by now.
    pub(super) fn send(&mut self, command: &Command, epoch: u64, interval: Span, at: Span) {
        if !self.honest && self.chance.percent(1) {
            self.dropped += 1;
            self.count(Trouble::NoRoom);
            return;
        }
        match command {
            Command::Deploy(write) | Command::Restore(write) => {
                self.take(write.clone(), epoch, at);
            }
            // What it ends was a pause that passes anyway.
            Command::Promote(promote) => {
                let late = self.lateness(30);
                let (plan, key) = (command.plan().clone(), promote.write.key.clone());
                let event = Event::Outcome { plan, key, outcome: Outcome::Done };
                self.post(at + late, Parcel::Say(event));
            }
            Command::Measure(measure) => {
                if self.measuring.insert(measure.key.clone()) {
                    let measure = measure.clone();
                    let late = self.lateness(10);
                    self.post(at + late, Parcel::Ask { measure, interval });
                }
            }
        }
    }

    /// No further attempt at a write, if it is not too late.
    pub(super) fn cancel(&mut self, key: &IdempotencyKey) {
        for lane in self.lanes.values_mut() {
            lane.cancelled |= lane.running == *key;
            lane.next.take_if(|(_, next)| next.key == *key);
        }
    }

    fn take(&mut self, write: Write, epoch: u64, at: Span) {
        let object = (write.release.plan.clone(), write.cluster.clone());
        match self.lanes.get_mut(&object) {
            Some(lane) if lane.running == write.key => {}
            Some(lane) => {
                lane.cancelled = true;
                lane.next = Some((epoch, write));
            }
            None => {
                let running = write.key.clone();
                self.lanes.insert(object, Lane { running, cancelled: false, next: None });
                self.attempt(write, epoch, at);
            }
        }
    }

    fn attempt(&mut self, write: Write, epoch: u64, at: Span) {
        let object = (write.release.plan.clone(), write.cluster.clone());
        if !self.honest && self.chance.percent(8) {
            // Lost on its way, and tried again.
            self.count(Trouble::Loss);
            let pause = self.chance.seconds(1, 30);
            self.post(at + pause, Parcel::Send { write, epoch });
            return;
        }
        let generation = self.targets.entry(object).or_default().generation;
        let late = self.lateness(15);
        let process = self.process;
        self.post(at + late, Parcel::Land { write, epoch, generation, process });
    }

    /// Lets the next thing happen, if it is due by `now`.
    pub(super) fn step(
        &mut self,
        now: Span,
        wall: Timestamp,
        baseline_of: &dyn Fn(Timestamp) -> Span,
        meddle: &mut dyn Meddle,
    ) -> Option<Delivered> {
        let mut delivered = Delivered::default();
        let fleet_first = match (self.fleet.next(), self.due.first_key_value()) {
            (Some(fleet), Some(((parcel, _), _))) => fleet <= *parcel,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if fleet_first {
            for event in self.fleet.step(now)? {
                self.heard(event, (now, wall), meddle, &mut delivered);
            }
            return Some(delivered);
        }
        let first = self.due.first_entry().filter(|entry| entry.key().0 <= now)?;
        match first.remove() {
            Parcel::Land { write, epoch, generation, process } => {
                self.land(write, epoch, generation, process, now, meddle, &mut delivered);
            }
            Parcel::Send { write, epoch } => self.again(write, epoch, now),
            Parcel::Settled { write, outcome } => self.settled(write, outcome, now, &mut delivered),
            Parcel::Ask { measure, interval } => {
                let baseline = measure.baseline_at.map(baseline_of);
                self.fleet.measure(&measure, interval, (now, wall), baseline);
            }
            Parcel::Say(event) => {
                if let Event::Measured { key, .. } = &event {
                    self.measuring.remove(key);
                }
                delivered.events.push(event);
            }
            Parcel::Look((plan, cluster)) => {
                let seen = self.fleet.look(&plan, &cluster, now).unwrap_or_else(|| {
                    let state = TargetState::unknown("it does not exist");
                    Event::Observed { plan, cluster, state }
                });
                delivered.events.push(self.as_controller(seen));
            }
        }
        Some(delivered)
    }

    /// A request reaches its target, which may take it, know it already, or refuse it.
    #[expect(clippy::too_many_arguments, reason = "a request with what it carries and meets")]
    fn land(
        &mut self,
        write: Write,
        epoch: u64,
        generation: u64,
        process: u64,
        now: Span,
        meddle: &mut dyn Meddle,
        delivered: &mut Delivered,
    ) {
        let (plan, cluster) = (write.release.plan.clone(), write.cluster.clone());
        let ours = process == self.process;
        let before = self.fleet.look(&plan, &cluster, now);
        if let Some(Event::Observed { state, .. }) = &before
            && matches!(state.status, Status::Unknown(_))
        {
            self.count(Trouble::Unreachable);
            if ours {
                let pause = self.lateness(30) + Span::seconds(1);
                self.post(now + pause, Parcel::Send { write, epoch });
            }
            return;
        }
        let target = self.targets.entry((plan.clone(), cluster.clone())).or_default();
        if epoch < target.epoch && !meddle.forgets_epochs() {
            let outcome = Outcome::Refused("it was written by a newer writer".into());
            if ours {
                self.post(now, Parcel::Settled { write, outcome });
            }
            return;
        }
        let known = target.accepted.contains(&write.key);
        if !known && generation != target.generation && !meddle.forgets_epochs() {
            // Somebody else's write came first: it is prepared anew, unless it lost its point.
            if ours {
                self.again(write, epoch, now);
            }
            return;
        }
        if !known && !self.honest && self.chance.percent(2) {
            self.count(Trouble::Refusal);
            let outcome = Outcome::Refused("its owner has not consented".into());
            if ours {
                self.post(now, Parcel::Settled { write, outcome });
            }
            return;
        }
        if known && meddle.doubles_effects() {
            self.fleet.drift(&plan, &cluster, &write.artifact, now);
        }
        self.fleet.write(&write, now);
        let after = self.fleet.look(&plan, &cluster, now);
        let changed = before != after;
        if before.is_some() {
            let target = self.targets.entry((plan.clone(), cluster.clone())).or_default();
            target.epoch = target.epoch.max(epoch);
            target.generation += u64::from(!known);
            target.accepted.insert(write.key.clone());
            let key = write.key.clone();
            delivered.landings.push(Landing { plan, cluster, key, epoch, changed });
        }
        if ours && !self.honest && self.chance.percent(6) {
            // Its answer is lost: it is sent again, and must change nothing.
            self.count(Trouble::Loss);
            let pause = self.chance.seconds(1, 30);
            self.post(now + pause, Parcel::Send { write, epoch });
        } else if ours {
            let outcome = match before {
                Some(_) => Outcome::Done,
                None => Outcome::Refused("there is no such object".into()),
            };
            let late = self.lateness(10);
            self.post(now + late, Parcel::Settled { write, outcome });
        }
    }

    /// Another attempt, or the next of the lane where this one was cancelled.
    fn again(&mut self, write: Write, epoch: u64, now: Span) {
        let object = (write.release.plan.clone(), write.cluster.clone());
        if self.lanes.get(&object).is_some_and(|lane| lane.cancelled) {
            self.close(&object, now);
        } else {
            self.attempt(write, epoch, now);
        }
    }

    fn settled(&mut self, write: Write, outcome: Outcome, now: Span, delivered: &mut Delivered) {
        let object = (write.release.plan.clone(), write.cluster.clone());
        let event = Event::Outcome { plan: object.0.clone(), key: write.key, outcome };
        if !self.honest && self.chance.percent(5) {
            self.count(Trouble::Repetition);
            let late = self.chance.seconds(0, 60);
            self.post(now + late, Parcel::Say(event.clone()));
        }
        delivered.events.push(event);
        self.close(&object, now);
    }

    /// A write has ended: the one that waits for it goes next.
    fn close(&mut self, object: &Object, now: Span) {
        let next = self.lanes.remove(object).and_then(|lane| lane.next);
        if let Some((epoch, write)) = next {
            self.take(write, epoch, now);
        }
    }

    /// What the fleet says, on its way to ringward.
    fn heard(
        &mut self,
        event: Event,
        (now, wall): (Span, Timestamp),
        meddle: &dyn Meddle,
        delivered: &mut Delivered,
    ) {
        match event {
            Event::Observed { plan, cluster, state } => {
                self.observed((plan, cluster), state, now, delivered);
            }
            Event::Measured { plan, key, answer } => {
                let answer = self.spoilt((&plan, &key), answer, (now, wall), meddle);
                let event = Event::Measured { plan, key, answer };
                if !self.honest && self.chance.percent(4) {
                    self.count(Trouble::Repetition);
                    let late = self.chance.seconds(0, 60);
                    self.post(now + late, Parcel::Say(event.clone()));
                }
                let late = self.lateness(10);
                self.post(now + late, Parcel::Say(event));
            }
            found @ Event::Found { .. } => delivered.events.push(found),
            // The courier tells how a write ended, once its answer has come through.
            Event::Outcome { .. } => {}
            Event::TookOver
            | Event::Limits(_)
            | Event::Source { .. }
            | Event::Learned(_)
            | Event::Declared { .. }
            | Event::Operator(_)
            | Event::Submitted { .. }
            | Event::Wake { .. } => {}
        }
    }

    fn observed(
        &mut self,
        object: Object,
        state: TargetState,
        now: Span,
        delivered: &mut Delivered,
    ) {
        let say =
            |state| Event::Observed { plan: object.0.clone(), cluster: object.1.clone(), state };
        let target = self.targets.entry(object.clone()).or_default();
        let old = self.chance.pick(target.states.make_contiguous()).cloned();
        target.states.push_back(state.clone());
        if target.states.len() > REMEMBERED {
            target.states.pop_front();
        }
        let event = self.as_controller(say(state.clone()));
        if self.honest {
            delivered.events.push(event);
            return;
        }
        let turn = self.chance.below(20);
        let trouble = match turn {
            0 => Some(Trouble::Loss),
            1 | 2 => Some(Trouble::Reordering),
            3 => Some(Trouble::Repetition),
            4 | 5 => old.is_some().then_some(Trouble::StaleRead),
            6 | 7 => Some(Trouble::Flapping),
            _ => None,
        };
        trouble.into_iter().for_each(|trouble| self.count(trouble));
        match turn {
            // Lost.
            0 => {}
            // Late, so that later ones may come before it.
            1 | 2 => {
                let late = self.chance.seconds(1, 60);
                self.post(now + late, Parcel::Say(event));
            }
            // Twice.
            3 => delivered.events.extend([event.clone(), event]),
            // Followed by an older one, read from a replica that lags behind.
            4 | 5 => {
                delivered.events.push(event);
                delivered.events.extend(old.map(say));
            }
            // It is paused in the cluster for a moment: by somebody, or by its own controller.
            6 => {
                let at = || Pause { id: now.to_string(), at: "step 2 of 5".into() };
                let pause = now.0.is_multiple_of(2).then(at);
                delivered.events.push(say(TargetState { status: Status::Paused, pause, ..state }));
            }
            // Its controller has not taken it up.
            7 => delivered.events.push(say(TargetState { status: Status::Pending, ..state })),
            _ => {
                delivered.events.push(event);
                return;
            }
        }
        let later = now + self.chance.seconds(61, 120);
        self.post(later, Parcel::Look(object));
    }

    /// A controller says at last that it has given up, where it does.
    fn as_controller(&self, event: Event) -> Event {
        let Event::Observed { plan, cluster, mut state } = event else { return event };
        if let (Status::Progressing(_), Some(image)) = (&state.status, &state.image)
            && self.given_up.contains(&(cluster.clone(), image.clone()))
        {
            state.status = Status::Failed("its replicas crash again and again".into());
        }
        Event::Observed { plan, cluster, state }
    }

    /// What a metric source makes of the truth.
    fn spoilt(
        &mut self,
        (plan, key): (&PlanName, &IdempotencyKey),
        mut answer: Answer,
        (now, wall): (Span, Timestamp),
        meddle: &dyn Meddle,
    ) -> Answer {
        if self.honest {
            return answer;
        }
        // A mood is a cluster's: the key names it in its third part.
        let cluster = key.as_str().split('/').nth(2).unwrap_or_default();
        let place = (plan.clone(), cluster.into());
        let mood = match self.moods.get(&place) {
            Some((until, mood)) if now < *until => *mood,
            Some(_) | None => {
                let mood = match self.chance.below(100) {
                    0..70 => Mood::Truthful,
                    70..75 => Mood::Failing,
                    75..80 => Mood::Silent,
                    80..85 => Mood::Broken,
                    85..88 => Mood::Sparse,
                    88..91 => Mood::Stale,
                    91..93 => Mood::Ahead,
                    _ => Mood::Fickle,
                };
                let until = now + self.chance.seconds(10, 600);
                self.moods.insert(place, (until, mood));
                mood
            }
        };
        match mood {
            Mood::Truthful => {}
            Mood::Silent | Mood::Broken => self.count(Trouble::NoAnswer),
            Mood::Failing | Mood::Sparse | Mood::Stale | Mood::Ahead | Mood::Fickle => {
                self.count(Trouble::Lie);
            }
        }
        let value = |value, at| Reading::Value { value, at };
        let shifted = |by: Span, ahead: bool| {
            let by = by.to_signed();
            if ahead { wall.saturating_add(by) } else { wall.saturating_sub(by) }.unwrap_or(wall)
        };
        match mood {
            Mood::Truthful => {}
            Mood::Failing => answer.value = value(0.1, wall),
            Mood::Silent => answer.value = Reading::Absent,
            Mood::Broken => answer.value = refused(503, meddle),
            Mood::Sparse => {
                answer.samples = answer.samples.map(|_| value(0.0, wall));
            }
            Mood::Stale => answer.value = value(1.0, shifted(self.chance.seconds(0, 600), false)),
            Mood::Ahead => answer.value = value(1.0, shifted(self.chance.seconds(0, 600), true)),
            Mood::Fickle => {
                answer.value = match self.chance.below(6) {
                    0 => value(f64::INFINITY, wall),
                    1 => value(0.2, wall),
                    2 => Reading::Absent,
                    3 => refused(200, meddle),
                    _ => answer.value,
                };
            }
        }
        answer
    }

    /// Up to so many seconds, mostly few.
    fn lateness(&mut self, most: u64) -> Span {
        if self.honest || self.chance.percent(60) {
            return Span::ZERO;
        }
        self.count(Trouble::Delay);
        Span(self.chance.below(most * 1_000))
    }

    fn post(&mut self, at: Span, parcel: Parcel) {
        self.due.insert((at, self.sent), parcel);
        self.sent += 1;
    }
}

/// What ringward reads where the source answers with a page, and a credential on it.
fn refused(status: u16, meddle: &dyn Meddle) -> Reading {
    let body = format!("<html>Authorization: Bearer {CANARY}</html>");
    match meddle.repeats_bodies() {
        true => Reading::Error(format!("HTTP {status}: {body}")),
        false => read(status, body.as_bytes()),
    }
}
