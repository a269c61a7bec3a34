//! Clusters and metric sources that are not there, in simulated time: what they accept, how long they
//! take, when they cannot be reached, and what they would answer.
//!
//! Time here is the scenario's own: it goes on while ringward is down. The fleet tells the truth as of
//! the instant at which it is looked at, and never sees a phase, a verdict or a hold.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::notation::{Point, Values};
use crate::{
    decide::{
        command::{Measure, Write},
        event::{Answer, Event, Outcome, Reading, Status, TargetState},
        fact::Verdict,
        part::{Alert, Ask, Part, Role, Sample, Told, Workload},
    },
    ids::{ClusterName, GateName, IdempotencyKey, PlanName},
    model::{ring::Artifact, time::Span},
};

/// Samples behind a measurement where a scenario says nothing about them.
const PLENTY: f64 = 1_000_000.0;

/// How long a target takes to be ready where a scenario says nothing about it.
const DEPLOY_TIME: Span = Span::seconds(30);

/// A stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Its first instant.
    pub from: Span,
    /// How long it lasts.
    pub length: Span,
}

impl Stretch {
    fn covers(self, at: Span) -> bool {
        at >= self.from && at < self.end()
    }

    fn end(self) -> Span {
        self.from + self.length
    }
}

/// How a cluster behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// How long a target takes from the write to ready.
    pub deploy_time: Span,
    /// When neither its API nor its metrics can be reached.
    pub unreachable: Vec<Stretch>,
    /// When its targets are not all ready, though nobody deploys.
    pub unready: Vec<Stretch>,
    /// Whether its targets keep no record of since when they have been ready.
    pub forgetful: bool,
    /// What never becomes ready there.
    pub never_ready: Vec<Artifact>,
}

impl Default for Site {
    fn default() -> Self {
        Self {
            deploy_time: DEPLOY_TIME,
            unreachable: Vec::new(),
            unready: Vec::new(),
            forgetful: false,
            never_ready: Vec::new(),
        }
    }
}

/// What a gate's query answers over time.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// The gate.
    pub gate: GateName,
    /// On which cluster; on all where none is named. A series that names one goes before one that does
    /// not.
    pub cluster: Option<ClusterName>,
    /// For which plan; for all where none is named.
    pub plan: Option<PlanName>,
    /// What it answers of: the gate's own query, or a part of what its judge asks.
    pub role: Option<Role>,
    /// What the query answers.
    pub values: Values,
    /// What the samples query answers; plenty where nothing is said.
    pub samples: Option<Values>,
    /// When its first value holds.
    pub from: Span,
    /// How long each value holds; the gate's interval where nothing is said.
    pub every: Option<Span>,
}

impl Series {
    fn at(&self, values: &Values, at: Span, interval: Span) -> Point {
        let every = self.every.unwrap_or(interval).0.max(1);
        match at.0.checked_sub(self.from.0) {
            Some(passed) => values.get(passed / every),
            None => Point::Absent,
        }
    }
}

/// Targets and what is on its way to and from them.
#[derive(Debug, Default)]
pub struct Fleet {
    sites: BTreeMap<ClusterName, Site>,
    series: Vec<Series>,
    targets: BTreeMap<(PlanName, ClusterName), Target>,
    due: BTreeMap<(Span, u64), Due>,
    scheduled: u64,
}

#[derive(Debug)]
struct Target {
    /// What was last ready in full.
    running: Artifact,
    /// What its specification names.
    image: Artifact,
    intent: Option<IdempotencyKey>,
    /// What ran before the first write, if it ran well; it stays with that write.
    found: Option<(IdempotencyKey, Artifact)>,
    /// Whether its replicas run the specification.
    rolled_out: bool,
    /// Since when.
    rolled_out_at: Span,
    /// Grows with every change of the specification, so that what an earlier one set off is ignored.
    generation: u64,
    accepted: BTreeSet<IdempotencyKey>,
}

#[derive(Debug)]
enum Due {
    Say(Event),
    Look(PlanName, ClusterName),
    /// Everything in a cluster may look otherwise from now on.
    LookAround(ClusterName),
    RolledOut(PlanName, ClusterName, u64),
    /// A write that could not be sent is tried again.
    Retry(Write),
}

impl Fleet {
    /// Clusters that behave as `sites` says, and as usual where it says nothing.
    pub fn new(sites: BTreeMap<ClusterName, Site>, series: Vec<Series>) -> Self {
        let mut fleet = Self { sites, series, ..Self::default() };
        let mut turns = Vec::new();
        for (cluster, site) in &fleet.sites {
            for stretch in site.unreachable.iter().chain(&site.unready) {
                turns.push((stretch.from, cluster.clone()));
                turns.push((stretch.end(), cluster.clone()));
            }
        }
        for (at, cluster) in turns {
            fleet.schedule(at, Due::LookAround(cluster));
        }
        fleet
    }

    /// Puts a target there, ready at `artifact` and never written by ringward. Whether there was none.
    pub fn settle(&mut self, plan: &PlanName, cluster: &ClusterName, artifact: &Artifact) -> bool {
        let key = (plan.clone(), cluster.clone());
        let new = !self.targets.contains_key(&key);
        self.targets.entry(key).or_insert_with(|| Target {
            running: artifact.clone(),
            image: artifact.clone(),
            intent: None,
            found: None,
            rolled_out: true,
            rolled_out_at: Span::ZERO,
            generation: 0,
            accepted: BTreeSet::new(),
        });
        new
    }

    /// What was last ready in full; nothing where there is no such target.
    pub fn running(&self, plan: &PlanName, cluster: &ClusterName) -> Option<&Artifact> {
        self.targets.get(&(plan.clone(), cluster.clone())).map(|target| &target.running)
    }

    /// The targets that are there.
    pub fn targets(&self) -> impl Iterator<Item = &(PlanName, ClusterName)> {
        self.targets.keys()
    }

    /// When something happens next.
    pub fn next(&self) -> Option<Span> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// Lets the next thing happen, if it is due by `now`; with what ringward would hear of it.
    pub fn step(&mut self, now: Span) -> Option<Vec<Event>> {
        let first = self.due.first_entry().filter(|entry| entry.key().0 <= now)?;
        let ((at, _), due) = first.remove_entry();
        Some(match due {
            Due::Say(event) => vec![event],
            Due::Look(plan, cluster) => self.look(&plan, &cluster, at).into_iter().collect(),
            Due::LookAround(cluster) => {
                let there = self.targets.keys().filter(|(_, c)| *c == cluster).cloned();
                let there: Vec<_> = there.collect();
                there.iter().filter_map(|(plan, cluster)| self.look(plan, cluster, at)).collect()
            }
            Due::RolledOut(plan, cluster, generation) => {
                let target = self.targets.get_mut(&(plan.clone(), cluster.clone()));
                match target.filter(|target| target.generation == generation) {
                    Some(target) => {
                        target.rolled_out = true;
                        target.rolled_out_at = at;
                        target.running = target.image.clone();
                        self.look(&plan, &cluster, at).into_iter().collect()
                    }
                    None => Vec::new(),
                }
            }
            Due::Retry(write) => {
                self.write(&write, at);
                Vec::new()
            }
        })
    }

    /// What ringward sees of a target now; nothing where there is none.
    pub fn look(&self, plan: &PlanName, cluster: &ClusterName, at: Span) -> Option<Event> {
        let target = self.targets.get(&(plan.clone(), cluster.clone()))?;
        let shaky = || self.site(cluster, |site| site.unready.iter().any(|s| s.covers(at)));
        let state = if self.unreachable_until(cluster, at).is_some() {
            TargetState::unknown(UNREACHABLE)
        } else {
            let status = if !target.rolled_out {
                Status::Progressing("1 of 2 replicas are at the image".into())
            } else if shaky() {
                Status::Progressing("1 of 2 replicas are ready".into())
            } else {
                Status::Succeeded
            };
            let ready_since = (status == Status::Succeeded)
                .then(|| self.ready_since(cluster, target.rolled_out_at, at))
                .flatten();
            TargetState {
                status,
                image: Some(target.image.clone()),
                intent: target.intent.clone(),
                revision: Some(target.generation.to_string()),
                ready_since,
                pause: None,
            }
        };
        Some(Event::Observed { plan: plan.clone(), cluster: cluster.clone(), state })
    }

    /// The record that a target's pods keep of when the last of them became ready, by the fleet's own clock.
    fn ready_since(&self, cluster: &ClusterName, rolled_out: Span, at: Span) -> Option<Timestamp> {
        self.site(cluster, |site| {
            let shaken = site.unready.iter().map(|stretch| stretch.end()).filter(|end| *end <= at);
            let since = shaken.chain([rolled_out]).max().filter(|_| !site.forgetful)?;
            Timestamp::from_millisecond(i64::try_from(since.0).ok()?).ok()
        })
    }

    /// Sends a write. A repeat of one that was accepted changes nothing (invariant 9); one that cannot
    /// be sent is tried again once the cluster can be reached.
    pub fn write(&mut self, write: &Write, now: Span) {
        let (plan, cluster) = (write.release.plan.clone(), write.cluster.clone());
        if let Some(end) = self.unreachable_until(&cluster, now) {
            self.schedule(end, Due::Retry(write.clone()));
            return;
        }
        let shaky = self.site(&cluster, |site| site.unready.iter().any(|s| s.covers(now)));
        let mut found = None;
        let accepted = match self.targets.get_mut(&(plan.clone(), cluster.clone())) {
            Some(target) => {
                let new = target.accepted.insert(write.key.clone());
                if new {
                    let first = target.intent.is_none() && target.rolled_out && !shaky;
                    target.found = first.then(|| (write.key.clone(), target.image.clone()));
                    target.intent = Some(write.key.clone());
                }
                found = target.found.clone().filter(|(key, _)| *key == write.key);
                Ok(new)
            }
            None => {
                Err(format!("{cluster} has no {}/{}", write.target.namespace, write.target.name))
            }
        };
        if let Some((_, image)) = found {
            let status = Status::Succeeded;
            let state = TargetState {
                status,
                image: Some(image),
                intent: None,
                revision: None,
                ready_since: None,
                pause: None,
            };
            let (plan, cluster) = (plan.clone(), cluster.clone());
            self.schedule(now, Due::Say(Event::Found { plan, cluster, state }));
        }
        let outcome = match &accepted {
            Ok(_) => Outcome::Done,
            Err(why) => Outcome::Refused(why.clone()),
        };
        let settled = Event::Outcome { plan: plan.clone(), key: write.key.clone(), outcome };
        self.schedule(now, Due::Say(settled));
        match accepted {
            Ok(true) => self.roll_out(&plan, &cluster, &write.artifact, now),
            Ok(false) => self.schedule(now, Due::Look(plan, cluster)),
            Err(_) => {}
        }
    }

    /// Gives up a write that was not sent yet.
    pub fn cancel(&mut self, key: &IdempotencyKey) {
        self.due.retain(|_, due| match due {
            Due::Retry(write) => write.key != *key,
            Due::Say(_) | Due::Look(..) | Due::LookAround(_) | Due::RolledOut(..) => true,
        });
    }

    /// Somebody other than ringward changes what a target runs; the annotation of the last write stays.
    /// Whether there is such a target.
    pub fn drift(
        &mut self,
        plan: &PlanName,
        cluster: &ClusterName,
        artifact: &Artifact,
        now: Span,
    ) -> bool {
        let there = self.targets.contains_key(&(plan.clone(), cluster.clone()));
        if there {
            self.roll_out(plan, cluster, artifact, now);
        }
        there
    }

    /// ringward is gone: what it had yet to send or to hear is lost with it.
    pub fn forget_ringward(&mut self) {
        self.due.retain(|_, due| match due {
            Due::Say(_) | Due::Look(..) | Due::Retry(_) => false,
            Due::LookAround(_) | Due::RolledOut(..) => true,
        });
    }

    /// Answers a measurement as of now. `baseline` is the instant of the baseline in the fleet's time;
    /// before the beginning everything was as it is at the beginning.
    pub fn measure(
        &mut self,
        measure: &Measure,
        interval: Span,
        (now, wall): (Span, Timestamp),
        baseline: Option<Span>,
    ) {
        let (gate, cluster) = (&measure.gate, &measure.cluster);
        let unreachable = self.unreachable_until(cluster, now).is_some();
        let plan = &measure.release.plan;
        let read = |at: Span, true_of: Timestamp, which: Which| {
            if unreachable {
                return Reading::Error(UNREACHABLE.into());
            }
            let series = self.series_for(plan, gate, None, cluster, at);
            let point = match (series, which) {
                (Some(series), Which::Value) => series.at(&series.values, at, interval),
                (None, Which::Value) => Point::Absent,
                (series, Which::Samples) => {
                    let values = series.and_then(|s| s.samples.as_ref().map(|v| (s, v)));
                    values.map_or(Point::Value(PLENTY), |(s, values)| s.at(values, at, interval))
                }
            };
            reading(point, true_of)
        };
        let value = measure.source.as_ref().filter(|_| !measure.query.is_empty());
        let answer = Answer {
            value: value.map_or(Reading::Absent, |_| read(now, wall, Which::Value)),
            samples: measure.samples.as_ref().map(|_| read(now, wall, Which::Samples)),
            baseline: baseline
                .zip(measure.baseline_at)
                .map(|(at, true_of)| read(at, true_of, Which::Value)),
            infos: Vec::new(),
            parts: measure
                .parts
                .iter()
                .map(|part| match unreachable {
                    true => Told::Error(UNREACHABLE.into()),
                    false => self.tell(measure, part, interval, (now, wall)),
                })
                .collect(),
        };
        let (plan, key) = (plan.clone(), measure.key.clone());
        self.schedule(now, Due::Say(Event::Measured { plan, key, answer }));
    }

    /// What is told of a part. Counts are summed over the time that they look back over; a webhook's
    /// series is 1 for Pass and 0 for Fail, an alerts' series how many fire that match, and one of
    /// `kubernetes` how often containers restarted.
    fn tell(
        &self,
        measure: &Measure,
        part: &Part,
        interval: Span,
        (now, wall): (Span, Timestamp),
    ) -> Told {
        let (plan, gate) = (&measure.release.plan, &measure.gate);
        let point = |role, cluster: &ClusterName, at: Span| match self
            .series_for(plan, gate, role, cluster, at)
        {
            Some(series) => series.at(&series.values, at, interval),
            None => Point::Absent,
        };
        let here = &measure.cluster;
        match (&part.ask, part.role) {
            // Another ring is asked the gate's own query; a stable population one of its own.
            (Ask::Number { cluster, .. }, Role::Stable) => {
                let role = (cluster == here).then_some(Role::Stable);
                Told::Number(reading(point(role, cluster, now), wall))
            }
            (Ask::Number { cluster, over, .. }, role) => {
                let series = self.series_for(plan, gate, Some(role), cluster, now);
                let every = series.and_then(|s| s.every).unwrap_or(interval).0.max(1);
                let steps = over.map_or(1, |over| (over.0 / every).max(1));
                let mut sum = Point::Absent;
                for step in 0..steps {
                    let Some(at) = now.0.checked_sub(step * every) else { break };
                    sum = match (sum, point(Some(role), cluster, Span(at))) {
                        (Point::Error, _) | (_, Point::Error) => Point::Error,
                        (Point::Value(sum), Point::Value(value)) => Point::Value(sum + value),
                        (Point::Absent, other) | (other, Point::Absent) => other,
                    };
                }
                Told::Number(reading(sum, wall))
            }
            (Ask::Range { from, to, step, .. }, role) => {
                let series = match role {
                    Role::StableHistory => Some(Role::StableErrors),
                    Role::Stable => Some(Role::Stable),
                    Role::Past
                    | Role::PastSamples
                    | Role::Before
                    | Role::Requests
                    | Role::Errors
                    | Role::StableRequests
                    | Role::StableErrors
                    | Role::Alerts
                    | Role::Webhook
                    | Role::Kubernetes => None,
                };
                let counted = |at: Span| {
                    let series = self.series_for(plan, gate, None, here, at);
                    let values = series.and_then(|s| s.samples.as_ref().map(|v| (s, v)));
                    values.map_or(Point::Value(PLENTY), |(s, values)| s.at(values, at, interval))
                };
                let mut samples = Vec::new();
                let mut at = *from;
                while at <= *to {
                    let ago = u64::try_from(wall.duration_since(at).as_millis()).unwrap_or(0);
                    // Before the beginning everything was as it is at the beginning.
                    let then = now.saturating_sub(Span(ago));
                    let found = match role == Role::PastSamples {
                        true => counted(then),
                        false => point(series, here, then),
                    };
                    match found {
                        Point::Value(value) => samples.push(Sample { at, value }),
                        Point::Absent => {}
                        Point::Error => return Told::Error(SILENT.into()),
                    }
                    let Ok(next) = at.checked_add(step.to_signed()) else { break };
                    at = next;
                }
                Told::Range(samples)
            }
            (Ask::Alerts { matchers, .. }, role) => match point(Some(role), here, now) {
                Point::Value(firing) => {
                    let labels = matchers.clone();
                    Told::Alerts(vec![Alert { labels }; firing.max(0.0) as usize])
                }
                Point::Absent => Told::Alerts(Vec::new()),
                Point::Error => Told::Error(SILENT.into()),
            },
            (Ask::Webhook { .. }, role) => match point(Some(role), here, now) {
                Point::Value(word) => {
                    let verdict = if word > 0.0 { Verdict::Pass } else { Verdict::Fail };
                    Told::Ruled { verdict, detail: String::new() }
                }
                Point::Absent => {
                    Told::Ruled { verdict: Verdict::Insufficient, detail: String::new() }
                }
                Point::Error => Told::Error(SILENT.into()),
            },
            (Ask::Workload { .. }, role) => {
                let Some(target) = self.targets.get(&(plan.clone(), here.clone())) else {
                    return Told::Error("it does not exist".into());
                };
                let shaky = self.site(here, |site| site.unready.iter().any(|s| s.covers(now)));
                let restarts = match point(Some(role), here, now) {
                    Point::Value(restarts) => restarts.max(0.0) as u32,
                    Point::Absent => 0,
                    Point::Error => return Told::Error(SILENT.into()),
                };
                let ready = if target.rolled_out && !shaky { 2 } else { 1 };
                Told::Workload(Workload { wanted: 2, ready, restarts, crash_loops: 0 })
            }
        }
    }

    fn series_for(
        &self,
        plan: &PlanName,
        gate: &GateName,
        role: Option<Role>,
        cluster: &ClusterName,
        at: Span,
    ) -> Option<&Series> {
        let begun = self.series.iter().filter(|s| {
            s.gate == *gate
                && s.role == role
                && s.from <= at
                && s.cluster.as_ref().is_none_or(|c| c == cluster)
                && s.plan.as_ref().is_none_or(|p| p == plan)
        });
        begun.max_by_key(|s| (s.cluster.is_some(), s.plan.is_some(), s.from))
    }

    fn roll_out(&mut self, plan: &PlanName, cluster: &ClusterName, to: &Artifact, now: Span) {
        let (takes, ever) = self.site(cluster, |site| {
            (site.deploy_time, !site.never_ready.iter().any(|never| never.same_as(to)))
        });
        let Some(target) = self.targets.get_mut(&(plan.clone(), cluster.clone())) else { return };
        target.image = to.clone();
        target.rolled_out = false;
        target.generation += 1;
        let generation = target.generation;
        self.schedule(now, Due::Look(plan.clone(), cluster.clone()));
        if ever {
            let ready = Due::RolledOut(plan.clone(), cluster.clone(), generation);
            self.schedule(now + takes, ready);
        }
    }

    fn unreachable_until(&self, cluster: &ClusterName, at: Span) -> Option<Span> {
        self.site(cluster, |site| {
            site.unreachable.iter().filter(|s| s.covers(at)).map(|s| s.end()).max()
        })
    }

    fn site<T>(&self, cluster: &ClusterName, ask: impl FnOnce(&Site) -> T) -> T {
        match self.sites.get(cluster) {
            Some(site) => ask(site),
            None => ask(&Site::default()),
        }
    }

    fn schedule(&mut self, at: Span, due: Due) {
        self.due.insert((at, self.scheduled), due);
        self.scheduled += 1;
    }
}

fn reading(point: Point, at: Timestamp) -> Reading {
    match point {
        Point::Value(value) => Reading::Value { value, at },
        Point::Absent => Reading::Absent,
        Point::Error => Reading::Error(SILENT.into()),
    }
}

const SILENT: &str = "the metric source did not answer";
const UNREACHABLE: &str = "the cluster cannot be reached";

#[derive(Clone, Copy)]
enum Which {
    Value,
    Samples,
}
