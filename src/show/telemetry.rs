//! The figures at `/metrics`: what is true is read from the world when it is asked for, what happens is
//! counted from facts as they are recorded.
//!
//! Labels are names of declarations and words of our own, never a version, a digest or a text of
//! somebody else's: their number is bounded by what is declared.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use opentelemetry::{
    KeyValue,
    metrics::{AsyncInstrument, Counter, Histogram, Meter, MeterProvider as _},
};
use opentelemetry_sdk::metrics::{Instrument, SdkMeterProvider, Stream};
use prometheus::{Registry, TextEncoder};

use super::{desk::Desk, words};
use crate::{
    clock::timed,
    decide::{
        event::Outcome,
        fact::{Fact, Verdict},
        phase::{self, RingPhase},
        waiting::waiting_on,
        world::{Phase, PlanState, Release, RingRun, Step as ClusterStep, World},
    },
    ids::{IdempotencyKey, PlanName, ReleaseId, RingName},
    model::{
        ring::Ring,
        time::{Mono, Now},
    },
    show::{view::WaiverState, words::Ender},
};

/// The most series of one name; the default of 2000 is too few for thousands of plans.
const SERIES: usize = 100_000;

/// Who a transition is attributed to where ringward itself decided it.
const ITSELF: &str = "ringward";

/// Seconds of what takes moments.
const MOMENTS: [f64; 12] =
    [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];

/// Seconds of what takes minutes to days.
const LONG: [f64; 10] =
    [60.0, 300.0, 900.0, 3_600.0, 14_400.0, 43_200.0, 86_400.0, 172_800.0, 604_800.0, 1_209_600.0];

/// Counts, and renders what was counted.
pub struct Telemetry {
    desk: Arc<Desk>,
    registry: Registry,
    /// Where each release is on each ring: a fact says only where it goes.
    journeys: Mutex<BTreeMap<(ReleaseId, RingName), Journey>>,
    /// Instruments live as long as it does.
    _provider: SdkMeterProvider,
    evaluations: Counter<u64>,
    transitions: Counter<u64>,
    effects: Counter<u64>,
    ring_duration: Histogram<f64>,
    decide: Histogram<f64>,
    append: Histogram<f64>,
}

/// A release on a ring.
#[derive(Debug, Clone, Copy, Default)]
struct Journey {
    phase: Phase,
    /// When the attempt started.
    started: Option<Mono>,
}

impl Telemetry {
    /// Sets the meters up over the world behind `desk`; what the journal told of before is not counted.
    pub fn new(desk: &Arc<Desk>) -> Self {
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .scope_info_enabled(false)
            .without_target_info()
            .without_counter_suffixes()
            .build()
            .expect("a new registry takes any collector");
        let roomy = |_: &Instrument| Stream::builder().with_cardinality_limit(SERIES).build().ok();
        let provider = SdkMeterProvider::builder().with_reader(exporter).with_view(roomy).build();
        let meter = provider.meter("ringward");
        watch(&meter, desk);
        let counter = |name, about| meter.u64_counter(name).with_description(about).build();
        let histogram = |name, about, bounds: &[f64]| {
            let histogram = meter.f64_histogram(name).with_description(about);
            histogram.with_boundaries(bounds.to_vec()).build()
        };
        Self {
            desk: desk.clone(),
            journeys: Mutex::new(desk.read(|world, _| journeys(world))),
            evaluations: counter(
                "ringward_gate_evaluations_total",
                "Measurements judged, by verdict",
            ),
            transitions: counter(
                "ringward_transitions_total",
                "Transitions of rings, by phase and by who decided",
            ),
            effects: counter("ringward_effects_total", "Effects that ended, by how"),
            ring_duration: histogram(
                "ringward_ring_duration_seconds",
                "From the start of an attempt on a ring to its end",
                &LONG,
            ),
            decide: histogram("ringward_decide_seconds", "One decision of the core", &MOMENTS),
            append: histogram(
                "ringward_append_seconds",
                "One append to the journal, until it was durable",
                &MOMENTS,
            ),
            registry,
            _provider: provider,
        }
    }

    /// Prometheus' text format.
    ///
    /// # Errors
    /// A figure cannot be written.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// Decides, and notes how long that took.
    pub fn time_decision<R>(&self, decide: impl FnOnce() -> R) -> R {
        let (decided, took) = timed(decide);
        self.decide.record(took.as_secs_f64(), &[]);
        decided
    }

    /// Appends, and notes how long that took.
    pub fn time_append<R>(&self, append: impl FnOnce() -> R) -> R {
        let (appended, took) = timed(append);
        self.append.record(took.as_secs_f64(), &[]);
        appended
    }

    /// Counts what a recorded decision says. It looks at the world, so its writer must have let go.
    pub fn recorded(&self, at: Now, facts: &[Fact]) {
        for fact in facts {
            self.count(fact);
            if let Some(step) = Step::of(fact) {
                self.moved(&step, at);
            }
            if let Fact::RingFailed { release, ring, cause } = fact {
                self.alert(release, ring, cause);
            }
        }
    }

    fn moved(&self, step: &Step<'_>, at: Now) {
        let mut journeys = self.journeys.lock().unwrap_or_else(PoisonError::into_inner);
        let journey = journeys.entry((step.release.clone(), step.ring.clone())).or_default();
        let Journey { phase: from, started } = *journey;
        let begins = step.to == Phase::Deploying;
        *journey =
            Journey { phase: step.to, started: if begins { Some(at.mono) } else { started } };
        drop(journeys);
        let label = |key: &'static str, phase| KeyValue::new(key, name(phase));
        let actor = KeyValue::new("actor", step.actor);
        self.transitions.add(1, &[label("from", from), label("to", step.to), actor]);
        let over = from.in_motion() && !step.to.in_motion();
        if let Some(started) = started.filter(|_| over) {
            let took = at.mono.since(started).as_seconds();
            self.ring_duration.record(took, &[KeyValue::new("phase", name(step.to))]);
        }
    }

    /// Somebody is told of a ring that nothing will be done about without them.
    fn alert(&self, id: &ReleaseId, ring: &RingName, cause: &str) {
        let stranded = self.desk.read(|world, _| {
            let known = world.release(id).and_then(|release| Some((release, release.ring(ring)?)));
            known.is_some_and(|(release, run)| is_stranded(release, run))
        });
        if stranded {
            tracing::error!(release = %id, %ring, cause, "a ring failed and does not go back by itself");
        }
    }

    fn count(&self, fact: &Fact) {
        if let Fact::Measured { key, judged, .. } = fact {
            let verdict = KeyValue::new("verdict", judged.verdict.to_string());
            self.evaluations.add(1, &[verdict]);
            let outcome = match judged.verdict {
                Verdict::Error => "error",
                Verdict::Pass | Verdict::Fail | Verdict::Insufficient | Verdict::Absent => "done",
            };
            self.effect(key, outcome);
        }
        if let Fact::EffectSettled { key, outcome, .. } = fact {
            let outcome = match outcome {
                Outcome::Done => "done",
                Outcome::Refused(_) => "refused",
            };
            self.effect(key, outcome);
        }
        if let Fact::EffectSuperseded { key, .. } | Fact::MeasureDropped { key, .. } = fact {
            self.effect(key, "superseded");
        }
    }

    /// The key of an effect names what it was: `plan@version/ring/cluster/attempt/deploy`, and for a
    /// measurement the gate and a number at its end.
    fn effect(&self, key: &IdempotencyKey, outcome: &'static str) {
        let parts: Vec<&str> = key.as_str().split('/').collect();
        let [release, _, cluster, _, what @ ..] = parts.as_slice() else { return };
        let adapter = match what {
            [_] => {
                let Ok(release) = release.parse::<ReleaseId>() else { return };
                let kind = |world: &World| world.release(&release).map(|r| r.plan.target.kind);
                let Some(kind) = self.desk.read(|world, _| kind(world)) else { return };
                kind.to_string()
            }
            _ => "Prometheus".into(),
        };
        let labels = [
            KeyValue::new("adapter", adapter),
            KeyValue::new("cluster", (*cluster).to_owned()),
            KeyValue::new("outcome", outcome),
        ];
        self.effects.add(1, &labels);
    }
}

/// Where every release is.
fn journeys(world: &World) -> BTreeMap<(ReleaseId, RingName), Journey> {
    let releases = world.plans.values().flat_map(|state| state.releases.values());
    let runs = releases.flat_map(|release| {
        release.rings.iter().map(|(ring, run)| ((release.id.clone(), ring.clone()), run))
    });
    let journey =
        |run: &RingRun| Journey { phase: run.phase, started: run.started.map(|at| at.mono) };
    runs.map(|(place, run)| (place, journey(run))).collect()
}

/// A ring that goes from one phase to another.
struct Step<'a> {
    release: &'a ReleaseId,
    ring: &'a RingName,
    to: Phase,
    actor: &'static str,
}

impl<'a> Step<'a> {
    fn of(fact: &'a Fact) -> Option<Self> {
        const OPERATOR: &str = "operator";
        let (release, ring, to, actor) = match fact {
            Fact::RingStarted { release, ring, .. } => (release, ring, Phase::Deploying, ITSELF),
            Fact::SoakStarted { release, ring } => (release, ring, Phase::Soaking, ITSELF),
            Fact::RingPassed { release, ring } => (release, ring, Phase::Passed, ITSELF),
            Fact::RingFailed { release, ring, .. } => (release, ring, Phase::Failed, ITSELF),
            Fact::Rejected { release, ring, .. } => (release, ring, Phase::Failed, OPERATOR),
            Fact::RollbackStarted { release, ring, by, automatic, .. } => {
                // A journal of an earlier version says it by the name alone.
                let itself = *automatic || by.as_str() == ITSELF;
                let actor = if itself { ITSELF } else { OPERATOR };
                (release, ring, Phase::RollingBack, actor)
            }
            Fact::RingRolledBack { release, ring } => (release, ring, Phase::RolledBack, ITSELF),
            Fact::RingSuperseded { release, ring, .. } => {
                (release, ring, Phase::Superseded, ITSELF)
            }
            Fact::RingAborted { release, ring } => (release, ring, Phase::Aborted, OPERATOR),
            Fact::Retried { release, ring, .. } => (release, ring, Phase::Waiting, OPERATOR),
            Fact::TookOver { .. }
            | Fact::SourceAccepted { .. }
            | Fact::SourceRefused { .. }
            | Fact::PlacesDeclared { .. }
            | Fact::BlocsDeclared { .. }
            | Fact::ClusterWitnessed { .. }
            | Fact::HomeStated { .. }
            | Fact::DeployRecalled { .. }
            | Fact::PlanDeclared { .. }
            | Fact::PlanInError { .. }
            | Fact::PlanWithdrawn { .. }
            | Fact::Submitted { .. }
            | Fact::SnapshotTightened { .. }
            | Fact::Refused { .. }
            | Fact::Answered { .. }
            | Fact::Paused { .. }
            | Fact::Resumed { .. }
            | Fact::Frozen { .. }
            | Fact::Lifted { .. }
            | Fact::Approved { .. }
            | Fact::Advanced { .. }
            | Fact::Adopted { .. }
            | Fact::TargetSeen { .. }
            | Fact::EffectSettled { .. }
            | Fact::EffectSuperseded { .. }
            | Fact::ClusterReady { .. }
            | Fact::ClusterFailed { .. }
            | Fact::SoakRunning { .. }
            | Fact::SoakCredited { .. }
            | Fact::HistoryMeasured { .. }
            | Fact::SoakBackfilled { .. }
            | Fact::SoakReset { .. }
            | Fact::Measured { .. }
            | Fact::MeasureDropped { .. }
            | Fact::BaselineTaken { .. }
            | Fact::WatchEnded { .. }
            | Fact::RollbackQueued { .. }
            | Fact::StartQueued { .. }
            | Fact::RollbackHastened { .. }
            | Fact::LimitsSet { .. }
            | Fact::HistoryTaken { .. }
            | Fact::ClusterRestored { .. }
            | Fact::ClusterStuck { .. }
            | Fact::Aborted { .. }
            | Fact::LaneTaken { .. }
            | Fact::LaneLapsed { .. }
            | Fact::DebtRecorded { .. }
            | Fact::DebtPaid { .. }
            | Fact::DebtDropped { .. }
            | Fact::DebtWrittenOff { .. }
            | Fact::WaiverAsked { .. }
            | Fact::WaiverApproved { .. }
            | Fact::WaiverRevoked { .. }
            | Fact::WaiverVoided { .. } => return None,
        };
        Some(Self { release, ring, to, actor })
    }
}

/// Whether a ring failed that does not go back by itself: its release is irreversible or its policy says
/// so, or a target of it is stuck.
fn is_stranded(release: &Release, run: &RingRun) -> bool {
    let has_it = || {
        run.clusters.values().any(|here| match here.step {
            ClusterStep::Planned | ClusterStep::Restored => false,
            ClusterStep::Deploying
            | ClusterStep::Ready
            | ClusterStep::Failed(_)
            | ClusterStep::Restoring
            | ClusterStep::Stuck(_) => here.intent.is_some(),
        })
    };
    run.phase == Phase::Failed && release.aborted.is_none() && has_it()
}

fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Waiting => "Waiting",
        Phase::Deploying => "Deploying",
        Phase::Soaking => "Soaking",
        Phase::Passed => "Passed",
        Phase::Failed => "Failed",
        Phase::RollingBack => "RollingBack",
        Phase::RolledBack => "RolledBack",
        Phase::Aborted => "Aborted",
        Phase::Superseded => "Superseded",
    }
}

/// What is true, read when it is asked for.
fn watch(meter: &Meter, desk: &Arc<Desk>) {
    type Tell<'a> = &'a dyn Fn(f64, &[KeyValue]);
    let gauge = |name, about, look: fn(&World, Now, Tell<'_>)| {
        let desk = desk.clone();
        let tell = move |observer: &dyn AsyncInstrument<f64>| {
            desk.read(|world, now| {
                look(world, now, &|value, labels| observer.observe(value, labels))
            });
        };
        meter.f64_observable_gauge(name).with_description(about).with_callback(tell).build();
    };
    gauge("ringward_ring_phase", "1 for the phase that a ring is in", |world, now, tell| {
        for place in places(world) {
            let phase = phase::of_ring(world, place.release, &place.ring.name, now);
            tell(1.0, &place.labels([KeyValue::new("phase", phase.name())]));
        }
    });
    gauge("ringward_ring_soak_seconds", "Healthy time credited", |world, _, tell| {
        for place in places(world).filter(Place::has_begun) {
            tell(place.run.soak.credited.as_seconds(), &place.labels([]));
        }
    });
    gauge("ringward_ring_soak_required_seconds", "Healthy time needed", |world, _, tell| {
        for place in places(world) {
            tell(place.ring.policy.soak.duration.as_seconds(), &place.labels([]));
        }
    });
    gauge("ringward_gate_value", "The latest measurement of a gate", |world, _, tell| {
        for place in places(world).filter(Place::has_begun) {
            for ((cluster, gate), run) in &place.run.gates {
                let value = run.latest.as_ref().and_then(|(judged, _)| judged.value);
                let shown = value.filter(|_| !words::withheld(&place.release.plan, cluster));
                let labels = || {
                    place.labels([
                        KeyValue::new("cluster", cluster.to_string()),
                        KeyValue::new("gate", gate.to_string()),
                    ])
                };
                shown.iter().for_each(|value| tell(*value, &labels()));
            }
        }
    });
    gauge(
        "ringward_ring_stranded",
        "1 where a ring failed and does not go back by itself: somebody must say what follows",
        |world, _, tell| {
            for place in places(world).filter(|place| is_stranded(place.release, place.run)) {
                tell(1.0, &place.labels([]));
            }
        },
    );
    gauge(
        "ringward_human_wait_seconds",
        "How long a ring has waited for a person",
        |w, now, tell| {
            for place in places(w) {
                place.human_wait(w, now).iter().for_each(|waited| tell(*waited, &place.labels([])));
            }
        },
    );
    gauge(
        "ringward_waivers",
        "How many residency rules of a plan are waived now",
        |world, now, tell| {
            for (plan, state) in world.plans.iter().filter(|(_, state)| !state.waivers.is_empty()) {
                let waivers = state.waivers.values();
                let waived = waivers.filter(|w| WaiverState::of(w, now) == WaiverState::InForce);
                let plan = KeyValue::new("plan", plan.to_string());
                tell(waived.count() as f64, &[plan]);
            }
        },
    );
    gauge("ringward_source_age_seconds", "Since a commit was accepted", |world, now, tell| {
        if let Some(accepted) = world.source.accepted {
            tell(now.wall.duration_since(accepted).as_secs_f64(), &[]);
        }
    });
    gauge("ringward_writer", "1 where this process writes", |world, _, tell| {
        if world.epoch > 0 {
            tell(1.0, &[KeyValue::new("epoch", world.epoch.to_string())]);
        }
    });
    gauge("ringward_build_info", "1, by version", |_, _, tell| {
        tell(1.0, &[KeyValue::new("version", env!("CARGO_PKG_VERSION"))]);
    });
}

/// A ring with the release that matters on it now.
struct Place<'a> {
    plan: &'a PlanName,
    release: &'a Release,
    ring: &'a Ring,
    run: &'a RingRun,
}

/// Every ring of every plan that has a release.
fn places(world: &World) -> impl Iterator<Item = Place<'_>> {
    world.plans.iter().flat_map(|(plan, state)| {
        let rings = state.declared.iter().flat_map(|declared| &declared.rings);
        rings.filter_map(move |ring| {
            let release = current(state, &ring.name)?;
            Some(Place { plan, release, ring, run: release.ring(&ring.name)? })
        })
    })
}

/// The release in motion on the ring, or else the newest that knows it.
fn current<'a>(state: &'a PlanState, ring: &RingName) -> Option<&'a Release> {
    let newest = || state.in_order().rev().find(|release| release.ring(ring).is_some());
    state.in_motion(ring).or_else(newest).map(Arc::as_ref)
}

impl Place<'_> {
    fn labels<const N: usize>(&self, more: [KeyValue; N]) -> Vec<KeyValue> {
        let own = [
            KeyValue::new("plan", self.plan.to_string()),
            KeyValue::new("ring", self.ring.name.to_string()),
        ];
        own.into_iter().chain(more).collect()
    }

    fn has_begun(&self) -> bool {
        self.run.phase != Phase::Waiting && self.run.started.is_some()
    }

    /// How long the ring could have started but for a person, in seconds.
    fn human_wait(&self, world: &World, now: Now) -> Option<f64> {
        let (release, ring) = (self.release, &self.ring.name);
        if phase::of_ring(world, release, ring, now) != RingPhase::Held {
            return None;
        }
        let waiting = waiting_on(world, release, ring, now);
        let person = |w| words::of(w, world, release, ring, now).ender == Ender::Person;
        if !waiting.iter().all(person) {
            return None;
        }
        let before = release.plan.graph.after(ring).rings.iter();
        let passed = before.filter_map(|before| release.ring(before)).map(|run| run.entered.mono);
        let free = passed.chain([release.submitted.mono, self.run.entered.mono]).max()?;
        Some(now.mono.since(free).as_seconds())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::time::Span,
        show::fixture::{Stage, actor, judged},
    };

    fn tell(stage: &Stage, telemetry: &Telemetry, facts: &[Fact]) {
        stage.put(facts);
        telemetry.recorded(stage.desk.clock().now(), facts);
    }

    fn has(text: &str, line: &str) {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }

    #[test]
    fn what_happens_is_counted_from_facts() {
        let stage = Stage::new();
        let id = stage.submit("2.14.0");
        stage.start(&id, "internal");
        let telemetry = Telemetry::new(&stage.desk);
        let ring: RingName = "internal".into();
        let done = |key: &str| Fact::EffectSettled {
            plan: "checkout".into(),
            key: key.into(),
            outcome: Outcome::Done,
        };
        tell(&stage, &telemetry, &[done("checkout@2.14.0/internal/internal-1/1/deploy")]);
        stage.clock.advance(Span::seconds(30));
        tell(
            &stage,
            &telemetry,
            &[
                Fact::ClusterReady {
                    release: id.clone(),
                    ring: ring.clone(),
                    cluster: "internal-1".into(),
                },
                Fact::SoakStarted { release: id.clone(), ring: ring.clone() },
                Fact::Measured {
                    release: id.clone(),
                    ring: ring.clone(),
                    cluster: "internal-1".into(),
                    gate: "latency-p99".into(),
                    key: "checkout@2.14.0/internal/internal-1/1/latency-p99/1".into(),
                    judged: judged(Verdict::Fail, 0.412, "0.412 > 0.4"),
                },
            ],
        );
        stage.clock.advance(Span::seconds(60));
        let (release, by) = (id.clone(), "ola".into());
        let cause = "asked for".to_owned();
        tell(
            &stage,
            &telemetry,
            &[Fact::RollbackStarted {
                release,
                ring: ring.clone(),
                by,
                cause,
                automatic: false,
                scope: None,
            }],
        );
        stage.clock.advance(Span::seconds(10));
        tell(&stage, &telemetry, &[Fact::RingRolledBack { release: id, ring }]);

        let text = telemetry.render().unwrap();
        let transition = "ringward_transitions_total{actor=";
        has(&text, &format!("{transition}\"ringward\",from=\"Deploying\",to=\"Soaking\"}} 1"));
        has(&text, &format!("{transition}\"operator\",from=\"Soaking\",to=\"RollingBack\"}} 1"));
        has(&text, "ringward_gate_evaluations_total{verdict=\"Fail\"} 1");
        let effect = "ringward_effects_total{adapter=";
        has(&text, &format!("{effect}\"Deployment\",cluster=\"internal-1\",outcome=\"done\"}} 1"));
        has(&text, &format!("{effect}\"Prometheus\",cluster=\"internal-1\",outcome=\"done\"}} 1"));
        // It was under way before this process counted: 30 s, 60 s and 10 s.
        has(&text, "ringward_ring_duration_seconds_sum{phase=\"RolledBack\"} 100");
        let value = "ringward_gate_value{cluster=\"internal-1\",gate=\"latency-p99\"";
        has(&text, &format!("{value},plan=\"checkout\",ring=\"internal\"}} 0.412"));
    }

    #[test]
    fn a_ring_that_nobody_takes_back_is_told_of() {
        let stage = Stage::new();
        let id = stage.submit("2.14.0");
        stage.start(&id, "internal");
        let telemetry = Telemetry::new(&stage.desk);
        let told = || telemetry.render().unwrap().contains("ringward_ring_stranded{");
        assert!(!told());
        let (release, ring) = (id.clone(), RingName::from("internal"));
        tell(&stage, &telemetry, &[Fact::RingFailed { release, ring, cause: "bad".into() }]);
        let line = "ringward_ring_stranded{plan=\"checkout\",ring=\"internal\"} 1";
        has(&telemetry.render().unwrap(), line);
        let (release, ring, by) = (id, "internal".into(), actor("ola"));
        tell(&stage, &telemetry, &[Fact::Retried { release, ring, by, reason: None }]);
        assert!(!told());
    }

    #[test]
    fn a_person_who_is_waited_for_is_timed() {
        let stage = Stage::new();
        let id = stage.submit("2.14.0");
        stage.pass(&id, "internal");
        stage.pass(&id, "beta");
        let telemetry = Telemetry::new(&stage.desk);
        let waited = |text: &str| text.contains("human_wait_seconds{");
        // At 08:00 of a Friday the window is closed in Dublin: the clock holds it too.
        assert_eq!(telemetry.time_decision(|| 7), 7);
        assert!(!waited(&telemetry.render().unwrap()));
        stage.clock.advance(Span::seconds(2 * 3600));
        let text = telemetry.render().unwrap();
        has(&text, "ringward_human_wait_seconds{plan=\"checkout\",ring=\"eu-west\"} 7200");
        has(&text, "ringward_decide_seconds_count 1");
        let scope = crate::decide::event::Scope::Plan("checkout".into());
        stage.put(&[Fact::Paused {
            scope,
            by: actor("ola"),
            reason: None,
            members: Default::default(),
        }]);
        assert!(waited(&telemetry.render().unwrap()));
    }
}
