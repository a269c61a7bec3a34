//! A release ring by ring: attempts, clusters and what the gates said.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::super::{
    view::{
        self, AttemptEvidence, Bounded, ClusterEvidence, FigureView, GateEvidence, Mark,
        MeasuredEvidence, QuestionView, ReleaseView, RingEvidence,
    },
    words,
};
use crate::{
    decide::{
        command::Command,
        fact::{Fact, Judged, Verdict},
    },
    ids::{ClusterName, GateName, IdempotencyKey, ReleaseId, RingName},
    model::{plan::Plan, time::Span},
    record::Entry,
};

/// Measurements of a gate on a cluster that are shown: the first so many,
const FIRST: usize = 5;
/// the last so many,
const LAST: usize = 5;
/// and of those between so many that did not pass,
const FAILING: usize = 20;
/// but no more than this in one document.
const ALL: usize = 20_000;

/// What a release did on its rings so far.
pub(super) struct Rings {
    id: ReleaseId,
    plan: Arc<Plan>,
    attempts: BTreeMap<RingName, Vec<Attempt>>,
    /// What was asked and not answered yet.
    asked: BTreeMap<IdempotencyKey, Vec<QuestionView>>,
    shown: usize,
}

struct Attempt {
    view: AttemptEvidence,
    gates: BTreeMap<(GateName, ClusterName), Series>,
}

struct Series {
    verdicts: BTreeMap<Verdict, u64>,
    least: Option<f64>,
    greatest: Option<f64>,
    withheld: bool,
    asked: Vec<QuestionView>,
    first: Vec<MeasuredEvidence>,
    failing: Vec<MeasuredEvidence>,
    last: VecDeque<MeasuredEvidence>,
    left_out: u64,
}

impl Rings {
    pub(super) fn new(id: &ReleaseId, plan: &Arc<Plan>) -> Self {
        let (attempts, asked) = (BTreeMap::new(), BTreeMap::new());
        Self { id: id.clone(), plan: plan.clone(), attempts, asked, shown: 0 }
    }

    /// Notes what an entry asks about the release; whether it asks anything.
    pub(super) fn ask(&mut self, entry: &Entry) -> bool {
        let mut any = false;
        for command in &entry.commands {
            let release = match command.as_ref() {
                Command::Deploy(write) | Command::Restore(write) => &write.release,
                Command::Promote(promote) => &promote.write.release,
                Command::Measure(measure) => &measure.release,
            };
            if *release != self.id {
                continue;
            }
            any = true;
            if let Command::Measure(measure) = command.as_ref() {
                self.asked.insert(measure.key.clone(), view::questions(measure));
            }
        }
        any
    }

    /// Takes a fact about the release that is told elsewhere no better: whether it was one.
    pub(super) fn take(
        &mut self,
        fact: &Fact,
        mark: &Mark,
        place: impl Fn(&ClusterName) -> Option<String>,
    ) -> bool {
        if let Fact::MeasureDropped { key, .. } = fact {
            return self.asked.remove(key).is_some();
        }
        if let Fact::Measured { release, ring, cluster, gate, key, judged } = fact {
            if *release != self.id {
                return false;
            }
            let asked = self.asked.remove(key);
            self.measured(ring, cluster, gate, judged, asked, mark);
            return true;
        }
        if let Fact::SoakCredited { release, ring, span } = fact {
            let mine = *release == self.id;
            if let Some(attempt) = self.latest(ring).filter(|_| mine) {
                attempt.credited = attempt.credited + *span;
            }
            return mine;
        }
        if let Fact::SoakBackfilled { release, ring, span, .. } = fact
            && let Some(attempt) = self.of(release, ring)
        {
            attempt.credited = attempt.credited + *span;
        }
        if let Fact::BaselineTaken { release, .. } | Fact::HistoryTaken { release, .. } = fact {
            return *release == self.id;
        }
        // These are told in the timeline too.
        self.step(fact, mark, place);
        false
    }

    fn step(&mut self, fact: &Fact, mark: &Mark, place: impl Fn(&ClusterName) -> Option<String>) {
        if let Fact::RingStarted { release, ring, attempt, clusters } = fact
            && *release == self.id
        {
            let cluster = |name: &ClusterName| {
                let declared = self.plan.cluster(name);
                ClusterEvidence {
                    name: name.clone(),
                    region: declared.map(|cluster| cluster.region.clone()),
                    jurisdiction: declared.map(|cluster| cluster.jurisdiction.clone()),
                    place: place(name).unwrap_or_else(|| format!("cluster {name}")),
                    ready: None,
                    failed: None,
                    cause: None,
                    restored: None,
                    stuck: None,
                }
            };
            let required = self.plan.ring(ring).map(|ring| ring.policy.soak.duration);
            let view = AttemptEvidence {
                attempt: *attempt,
                started: mark.clone(),
                soak_started: None,
                credited: Span::ZERO,
                required: required.unwrap_or_default(),
                resets: 0,
                passed: None,
                watch_ended: None,
                failed: None,
                cause: None,
                rollback_started: None,
                rolled_back_by: None,
                rolled_back: None,
                ended: None,
                clusters: clusters.iter().map(cluster).collect(),
                gates: Vec::new(),
            };
            let attempt = Attempt { view, gates: BTreeMap::new() };
            self.attempts.entry(ring.clone()).or_default().push(attempt);
        }
        let mark = || Some(mark.clone());
        if let Fact::SoakStarted { release, ring } = fact
            && let Some(attempt) = self.of(release, ring)
        {
            attempt.soak_started = mark();
            attempt.credited = Span::ZERO;
        }
        if let Fact::SoakReset { release, ring, .. } = fact
            && let Some(attempt) = self.of(release, ring)
        {
            attempt.credited = Span::ZERO;
            attempt.resets += 1;
        }
        if let Fact::RingPassed { release, ring } = fact
            && let Some(attempt) = self.of(release, ring)
        {
            attempt.passed = mark();
        }
        if let Fact::WatchEnded { release, ring } = fact
            && let Some(attempt) = self.of(release, ring)
        {
            attempt.watch_ended = mark();
        }
        if let Fact::RingFailed { release, ring, cause } = fact
            && let Some(attempt) = self.of(release, ring)
        {
            attempt.failed = mark();
            attempt.cause = Some(cause.clone());
        }
        if let Fact::RollbackStarted { release, ring, by, cause, .. } = fact
            && let Some(attempt) = self.of(release, ring)
        {
            attempt.rollback_started = mark();
            attempt.rolled_back_by = Some(by.clone());
            attempt.cause.get_or_insert_with(|| cause.clone());
        }
        if let Fact::RingRolledBack { release, ring } = fact
            && let Some(attempt) = self.of(release, ring)
        {
            attempt.rolled_back = mark();
        }
        if let Fact::RingAborted { release, ring } | Fact::RingSuperseded { release, ring, .. } =
            fact
            && let Some(attempt) = self.of(release, ring)
        {
            attempt.ended = mark();
        }
        if let Fact::ClusterReady { release, ring, cluster } = fact
            && let Some(here) = self.cluster(release, ring, cluster)
        {
            here.ready = here.ready.take().or_else(mark);
        }
        if let Fact::ClusterFailed { release, ring, cluster, cause } = fact
            && let Some(here) = self.cluster(release, ring, cluster)
        {
            here.failed = mark();
            here.cause = Some(cause.clone());
        }
        if let Fact::ClusterRestored { release, ring, cluster } = fact
            && let Some(here) = self.cluster(release, ring, cluster)
        {
            here.restored = mark();
        }
        if let Fact::ClusterStuck { release, ring, cluster, cause } = fact
            && let Some(here) = self.cluster(release, ring, cluster)
        {
            here.stuck = mark();
            here.cause = Some(cause.clone());
        }
    }

    fn latest(&mut self, ring: &RingName) -> Option<&mut AttemptEvidence> {
        self.attempts.get_mut(ring)?.last_mut().map(|attempt| &mut attempt.view)
    }

    fn of(&mut self, release: &ReleaseId, ring: &RingName) -> Option<&mut AttemptEvidence> {
        let mine = *release == self.id;
        self.latest(ring).filter(|_| mine)
    }

    fn cluster(
        &mut self,
        release: &ReleaseId,
        ring: &RingName,
        cluster: &ClusterName,
    ) -> Option<&mut ClusterEvidence> {
        let attempt = self.of(release, ring)?;
        attempt.clusters.iter_mut().find(|here| here.name == *cluster)
    }

    fn measured(
        &mut self,
        ring: &RingName,
        cluster: &ClusterName,
        gate: &GateName,
        judged: &Judged,
        asked: Option<Vec<QuestionView>>,
        mark: &Mark,
    ) {
        let withheld = words::withheld(&self.plan, cluster);
        let full = self.shown >= ALL;
        let Some(attempt) = self.attempts.get_mut(ring).and_then(|all| all.last_mut()) else {
            return;
        };
        let key = (gate.clone(), cluster.clone());
        let series = attempt.gates.entry(key).or_insert_with(|| Series::new(withheld));
        if let Some(asked) = asked {
            series.asked = asked;
        }
        let before = series.held();
        series.take(judged, mark, full);
        self.shown = self.shown + series.held() - before;
    }

    pub(super) fn end(mut self, release: &ReleaseView) -> Vec<RingEvidence> {
        let ring = |ring: &view::RingView| RingEvidence {
            name: ring.name.clone(),
            phase: ring.phase,
            attempts: self
                .attempts
                .remove(&ring.name)
                .unwrap_or_default()
                .into_iter()
                .map(Attempt::end)
                .collect(),
        };
        release.rings.iter().map(ring).collect()
    }
}

impl Attempt {
    fn end(self) -> AttemptEvidence {
        let gates = self.gates.into_iter();
        let gates = gates.map(|((gate, cluster), series)| series.end(gate, cluster)).collect();
        AttemptEvidence { gates, ..self.view }
    }
}

impl Series {
    fn new(withheld: bool) -> Self {
        Self {
            verdicts: BTreeMap::new(),
            least: None,
            greatest: None,
            withheld,
            asked: Vec::new(),
            first: Vec::new(),
            failing: Vec::new(),
            last: VecDeque::new(),
            left_out: 0,
        }
    }

    fn held(&self) -> usize {
        self.first.len() + self.failing.len() + self.last.len()
    }

    fn take(&mut self, judged: &Judged, mark: &Mark, full: bool) {
        *self.verdicts.entry(judged.verdict).or_default() += 1;
        let shown = |figure: Option<f64>| figure.filter(|_| !self.withheld);
        let value = shown(judged.value);
        let measured = MeasuredEvidence {
            seq: mark.seq,
            at: mark.at,
            verdict: judged.verdict,
            value: value.map(FigureView),
            samples: shown(judged.samples).map(FigureView),
            against: shown(judged.against).map(FigureView),
            detail: if self.withheld { words::WITHHELD.into() } else { judged.detail.clone() },
        };
        if let Some(value) = value {
            self.least = Some(self.least.map_or(value, |least| least.min(value)));
            self.greatest = Some(self.greatest.map_or(value, |greatest| greatest.max(value)));
        }
        if self.first.len() < FIRST && !full {
            self.first.push(measured);
            return;
        }
        // The last are kept whatever there is: they are what let it pass, or not.
        self.last.push_back(measured);
        if self.last.len() > LAST
            && let Some(between) = self.last.pop_front()
        {
            let telling = between.verdict != Verdict::Pass && self.failing.len() < FAILING;
            match telling && !full {
                true => self.failing.push(between),
                false => self.left_out += 1,
            }
        }
    }

    fn end(self, gate: GateName, cluster: ClusterName) -> GateEvidence {
        GateEvidence {
            gate,
            cluster,
            verdicts: self.verdicts,
            least: self.least.map(FigureView),
            greatest: self.greatest.map(FigureView),
            withheld: self.withheld,
            asked: self.asked,
            measurements: Bounded {
                items: self.first.into_iter().chain(self.failing).chain(self.last).collect(),
                left_out: self.left_out,
            },
        }
    }
}
