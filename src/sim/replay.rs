//! A gate over what was measured before: when it would have failed, or passed.
//!
//! The judge is the core's, and so is the order of things: a measurement is judged with what those before
//! it left, failures are counted as a ring counts them, and the time between two instants is credited where
//! every cluster's latest measurement passed at both. Of a ring there is only this gate: what other gates,
//! targets or people would have done is not asked.

mod past;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

pub use self::past::{Past, PastError};
use crate::{
    decide::{
        event::{Answer, Reading},
        fact::{Judged, Taken, Verdict},
        gate::{
            About, Given,
            figures::Figures,
            history::History,
            judge,
            query::Vars,
            rule_of,
            sequential::{rules, tests_of},
        },
        part::Part,
    },
    ids::{ClusterName, Version},
    model::{
        plan::Plan,
        policy::{Gate, Judge, OnBreach, OnNoData},
        ring::{Cluster, MetricSource, Ring},
        time::Span,
    },
};

/// What a measurement may be late by before its verdict is stale, as in a soak.
const LATE: Span = Span::seconds(15);

/// A gate that is judged anew, and where.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// The plan that it is declared in.
    pub plan: &'a Plan,
    /// The ring.
    pub ring: &'a Ring,
    /// The gate, as it is to be.
    pub gate: &'a Gate,
    /// The version that queries name.
    pub version: &'a Version,
    /// When the targets took the release.
    pub deployed: Timestamp,
}

/// One measurement, judged anew.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// When.
    pub at: Timestamp,
    /// On which cluster.
    pub cluster: ClusterName,
    /// What the gate makes of it.
    pub judged: Judged,
    /// What is credited after it.
    pub soaked: Span,
    /// Failing measurements of the cluster so far.
    pub failures: u32,
}

/// What becomes of the ring by this gate alone; the first of them counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It fails.
    Failed {
        /// When.
        at: Timestamp,
        /// Why.
        why: String,
    },
    /// It has soaked through.
    Passed {
        /// When.
        at: Timestamp,
    },
    /// Neither; why, as far as that can be said.
    Open(String),
}

/// The whole course.
#[derive(Debug, Clone, PartialEq)]
pub struct Course {
    /// Every measurement, in the order of time.
    pub steps: Vec<Step>,
    /// The first that failed.
    pub first_fail: Option<Timestamp>,
    /// What became of the ring.
    pub end: End,
}

/// Judges one measurement after another; they must come in the order of time.
#[derive(Debug)]
pub struct Replay<'a> {
    case: Case<'a>,
    tracks: BTreeMap<ClusterName, Track>,
    /// Whose word is awaited before anything is credited.
    clusters: BTreeSet<ClusterName>,
    healthy_at: Option<Timestamp>,
    soaked: Span,
    steps: Vec<Step>,
    end: Option<End>,
}

#[derive(Debug, Default)]
struct Track {
    history: History,
    baseline: Option<f64>,
    latest: Option<(Verdict, Timestamp)>,
    failures: u32,
    in_a_row: u32,
    errors: u32,
    samples: f64,
    /// Since when nothing usable was measured.
    no_data_since: Option<Timestamp>,
}

impl<'a> Replay<'a> {
    /// Nothing judged yet; `clusters` are those of which anything will be told.
    pub fn new(case: Case<'a>, clusters: impl IntoIterator<Item = ClusterName>) -> Self {
        let clusters: BTreeSet<_> = clusters.into_iter().collect();
        let tracks = clusters.iter().map(|name| (name.clone(), Track::default())).collect();
        let (healthy_at, soaked, steps, end) = (None, Span::ZERO, Vec::new(), None);
        Self { case, tracks, clusters, healthy_at, soaked, steps, end }
    }

    /// What the gate's judge asks on a cluster at an instant, beside the gate's own queries; and what the
    /// placeholders of those stand for.
    pub fn asks<'c>(
        &self,
        cluster: &'c Cluster,
        source: Option<&MetricSource>,
        at: Timestamp,
    ) -> (Vec<Part>, Vars<'c>)
    where
        'a: 'c,
    {
        let Case { plan, ring, gate, version, deployed } = self.case;
        let vars = Vars {
            plan: &plan.name,
            ring: &ring.name,
            cluster: &cluster.name,
            region: &cluster.region,
            jurisdiction: &cluster.jurisdiction,
            version,
            digest: "",
            namespace: &plan.target.namespace,
            target: &plan.target.name,
            interval: gate.interval,
        };
        let fresh = History::default();
        let history = self.tracks.get(&cluster.name).map_or(&fresh, |track| &track.history);
        let about = About {
            plan,
            ring,
            cluster,
            gate,
            source,
            vars: &vars,
            over: gate.interval,
            history,
            deployed,
            now: at,
        };
        (rule_of(&gate.judge).asks(&about), vars)
    }

    /// What is known of a cluster's baseline, which is then not asked for again.
    pub fn baseline(&self, cluster: &ClusterName) -> Option<f64> {
        self.tracks.get(cluster)?.baseline
    }

    /// What was asked once, and is known of a cluster.
    pub fn remember(&mut self, cluster: &ClusterName, taken: &Taken) {
        if let Some(track) = self.tracks.get_mut(cluster) {
            track.history.take(taken);
        }
    }

    /// Judges what was told on a cluster at an instant.
    pub fn take(&mut self, cluster: &ClusterName, at: Timestamp, parts: &[Part], answer: &Answer) {
        let Case { ring, gate, deployed, .. } = self.case;
        self.end = self.end.take().or_else(|| self.silence(at));
        let Some(track) = self.tracks.get_mut(cluster) else { return };
        let tests = tests_of(ring);
        let given = Given {
            baseline: track.baseline,
            parts,
            tests,
            ..Given::new(gate, &track.history, deployed, at)
        };
        let (judged, taken) = judge(&given, answer);
        if let Some(taken) = taken {
            track.history.take(&taken);
        }
        if let (None, Some(Reading::Value { value, .. })) = (track.baseline, &answer.baseline) {
            track.baseline = Some(*value);
        }
        track.see(gate, tests, &judged, at);
        let failures = track.failures;
        if self.end.is_none() {
            self.end = match judged.verdict {
                Verdict::Fail => self.breach(cluster, at, &judged),
                Verdict::Pass | Verdict::Insufficient | Verdict::Absent | Verdict::Error => None,
            };
            self.credit(at);
        }
        let cluster = cluster.clone();
        self.steps.push(Step { at, cluster, judged, soaked: self.soaked, failures });
    }

    /// Goes on to an instant at which nothing of this gate was measured: what was said last holds for as long as it
    /// would in a soak.
    pub fn reach(&mut self, at: Timestamp) {
        self.end = self.end.take().or_else(|| self.silence(at));
        if self.end.is_none() {
            self.credit(at);
        }
    }

    /// The end of a gate that may not be without data for long, where it was by now.
    fn silence(&self, now: Timestamp) -> Option<End> {
        let gate = self.case.gate;
        if gate.on_no_data != OnNoData::Fail {
            return None;
        }
        let over = self.tracks.iter().filter_map(|(cluster, track)| {
            let deadline = gate.no_data_deadline.to_signed();
            let ends = track.no_data_since?.checked_add(deadline).ok()?;
            (ends <= now).then_some((ends, cluster))
        });
        let (at, cluster) = over.min()?;
        let deadline = gate.no_data_deadline;
        let why = format!("{} on {cluster} had no usable data for {deadline}", gate.name);
        Some(End::Failed { at, why })
    }

    /// What a failing measurement does, as the policy has it.
    fn breach(&mut self, cluster: &ClusterName, at: Timestamp, judged: &Judged) -> Option<End> {
        let Case { gate, ring, .. } = self.case;
        let Track { failures, in_a_row, .. } = self.tracks.get(cluster)?;
        let what = format!("{} on {cluster}: {}", gate.name, judged.detail);
        let failed = |why| Some(End::Failed { at, why });
        if let Some(limit) = gate.failure_limit.filter(|limit| failures > limit) {
            return failed(format!("{what} ({failures} failing, {limit} allowed)"));
        }
        if let Some(limit) = gate.consecutive_failure_limit.filter(|limit| in_a_row > limit) {
            return failed(format!("{what} ({in_a_row} failing in a row, {limit} allowed)"));
        }
        match ring.policy.soak.on_breach {
            OnBreach::Fail => failed(what),
            OnBreach::Reset if self.soaked > Span::ZERO => {
                self.soaked = Span::ZERO;
                self.tracks.values_mut().for_each(|track| track.samples = 0.0);
                None
            }
            OnBreach::Reset | OnBreach::Freeze => None,
        }
    }

    /// The end of an interval: it is credited if every cluster was healthy at both its ends.
    fn credit(&mut self, at: Timestamp) {
        let Case { gate, ring, .. } = self.case;
        let longest = gate.interval * 2 + LATE;
        let healthy = self.clusters.iter().all(|name| {
            let latest = self.tracks.get(name).and_then(|track| track.latest);
            latest.is_some_and(|(verdict, then)| {
                verdict == Verdict::Pass && between(then, at) <= longest
            })
        });
        if let (Some(since), true) = (self.healthy_at, healthy) {
            let passed = between(since, at);
            if passed <= longest {
                self.soaked = self.soaked + passed;
            }
        }
        self.healthy_at = healthy.then_some(at);
        let samples: f64 = self.tracks.values().map(|track| track.samples).sum();
        let enough = gate.min_total_samples.is_none_or(|least| samples >= least);
        if healthy && enough && self.end.is_none() && self.soaked >= ring.policy.soak.duration {
            self.end = Some(End::Passed { at });
        }
    }

    /// What a ring would have waited for at the end of what was told.
    fn why_open(&self, soak: Span) -> String {
        if self.steps.is_empty() {
            return "nothing was measured".into();
        }
        let soaked = format!("{} of {soak} were soaked", self.soaked);
        let last = |name: &ClusterName| self.steps.iter().rfind(|step| step.cluster == *name);
        let unwell = self.clusters.iter().find_map(|name| match last(name) {
            None => Some(format!("nothing was measured on {name}")),
            Some(step) if step.judged.verdict == Verdict::Pass => None,
            Some(Step { judged, .. }) => {
                Some(format!("the last word on {name} is {}: {}", judged.verdict, judged.detail))
            }
        });
        let samples: f64 = self.tracks.values().map(|track| track.samples).sum();
        let few = self.case.gate.min_total_samples.filter(|least| samples < *least);
        let few = few.map(|least| {
            let [samples, least] = Figures::new(None).tell([samples, least]);
            format!("{samples} of {least} samples were counted")
        });
        match unwell.or(few) {
            Some(why) => format!("{soaked}, and {why}"),
            None => soaked,
        }
    }

    /// What came of it.
    pub fn finish(self) -> Course {
        let soak = self.case.ring.policy.soak.duration;
        let fails = |step: &&Step| step.judged.verdict == Verdict::Fail;
        let first_fail = self.steps.iter().find(fails).map(|step| step.at);
        let end = self.end.clone().unwrap_or_else(|| End::Open(self.why_open(soak)));
        Course { steps: self.steps, first_fail, end }
    }
}

impl Track {
    fn see(&mut self, gate: &Gate, tests: u32, judged: &Judged, at: Timestamp) {
        if let Some(kept) = &judged.kept {
            self.history.keep(kept, |history| {
                let Judge::Sequential(declared) = &gate.judge else { return None };
                Some(rules(declared, declared.phi.or(history.phi)?, tests))
            });
        }
        self.samples += judged.samples.unwrap_or(0.0);
        match judged.verdict {
            Verdict::Pass => (self.in_a_row, self.errors) = (0, 0),
            Verdict::Fail => {
                self.failures += 1;
                self.in_a_row += 1;
                self.errors = 0;
            }
            Verdict::Error => self.errors += 1,
            Verdict::Insufficient | Verdict::Absent => self.errors = 0,
        }
        match judged.verdict {
            Verdict::Pass | Verdict::Fail => self.no_data_since = None,
            Verdict::Insufficient | Verdict::Absent | Verdict::Error => {
                self.no_data_since.get_or_insert(at);
            }
        }
        self.latest = Some((judged.verdict, at));
    }
}

fn between(from: Timestamp, to: Timestamp) -> Span {
    Span(u64::try_from(to.duration_since(from).as_millis()).unwrap_or(0))
}

#[cfg(test)]
mod tests;
