//! The figures at `/metrics`: what is true is read from the world when it is asked for, what happens is
//! counted from facts as they are recorded.
//!
//! The same figures, and traces of what ended, go to a collector where one is named ([`otlp`]).
//!
//! Labels are names of declarations and words of our own, never a version, a digest or a text of
//! somebody else's: their number is bounded by what is declared.

mod gauges;
pub mod otlp;
mod spans;
mod step;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use opentelemetry::{
    KeyValue,
    metrics::{Counter, Histogram, MeterProvider as _},
};
use opentelemetry_sdk::metrics::{Instrument, SdkMeterProvider, Stream};
use prometheus::{Registry, TextEncoder};

use self::{
    gauges::is_stranded,
    otlp::{Otlp, Spans},
    spans::Attempt,
    step::Step,
};
use super::{channels::Channels, desk::Desk};
use crate::{
    clock::timed,
    decide::{
        event::Outcome,
        fact::{Fact, Verdict},
        phase,
        world::{Phase, RingRun, World},
    },
    ids::{IdempotencyKey, ReleaseId, RingName},
    model::time::Now,
};

/// The most series of one name; the default of 2000 is too few for thousands of plans.
const SERIES: usize = 100_000;

/// How long the last figures may take to the collector, when the server stops.
const LAST_FIGURES: Duration = Duration::from_secs(3);

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
    provider: SdkMeterProvider,
    /// The way to the collector, where there is one.
    spans: Option<Spans>,
    evaluations: Counter<u64>,
    emergencies: Counter<u64>,
    transitions: Counter<u64>,
    effects: Counter<u64>,
    ring_duration: Histogram<f64>,
    decide: Histogram<f64>,
    append: Histogram<f64>,
    notifications: Counter<u64>,
    looks: Counter<u64>,
}

/// A release on a ring.
#[derive(Debug, Clone, Copy, Default)]
struct Journey {
    phase: Phase,
    /// When that began.
    entered: Option<Now>,
    /// When the attempt started.
    started: Option<Now>,
}

impl Telemetry {
    /// Sets the meters up over the world behind `desk`; what the journal told of before is not counted.
    pub fn new(desk: &Arc<Desk>) -> Self {
        Self::told(desk, None)
    }

    /// The same, and tells a collector.
    pub fn told(desk: &Arc<Desk>, collector: Option<Otlp>) -> Self {
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .scope_info_enabled(false)
            .without_target_info()
            .without_counter_suffixes()
            .build()
            .expect("a new registry takes any collector");
        let roomy = |_: &Instrument| Stream::builder().with_cardinality_limit(SERIES).build().ok();
        let provider = SdkMeterProvider::builder().with_reader(exporter).with_view(roomy);
        let (provider, spans) = match collector.map(Otlp::begin) {
            Some((reader, spans)) => {
                (provider.with_reader(reader).with_resource(otlp::resource()), Some(spans))
            }
            None => (provider, None),
        };
        let provider = provider.build();
        let meter = provider.meter("ringward");
        gauges::watch(&meter, desk);
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
            emergencies: {
                let emergencies = counter(
                    "ringward_break_glass_total",
                    "Uses of tokens that are for emergencies",
                );
                // From nothing on: the increase of a counter that was not there is not seen.
                emergencies.add(0, &[]);
                emergencies
            },
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
            notifications: counter(
                "ringward_notifications_total",
                "Attempts to tell a channel, by how they ended",
            ),
            looks: counter(
                "ringward_release_source_looks_total",
                "Looks at sources of releases, by how they ended",
            ),
            append: histogram(
                "ringward_append_seconds",
                "One append to the journal, until it was durable",
                &MOMENTS,
            ),
            registry,
            provider,
            spans,
        }
    }

    /// Tells the collector what it was not told yet, if it takes that soon.
    pub async fn stop(&self) {
        if let Some(spans) = &self.spans {
            spans.stop().await;
            let provider = self.provider.clone();
            // It waits for the collector on its own thread.
            let ended =
                tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(LAST_FIGURES));
            let _ = tokio::time::timeout(LAST_FIGURES, ended).await;
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

    /// Begins to count for a source of releases, from nothing.
    pub fn will_look(&self, source: &str) {
        for outcome in ["looked", "failed"] {
            self.count_look(source, outcome, 0);
        }
    }

    /// Counts a look at a source of releases: `looked` or `failed`.
    pub fn looked(&self, source: &str, outcome: &'static str) {
        self.count_look(source, outcome, 1);
    }

    fn count_look(&self, source: &str, outcome: &'static str, n: u64) {
        let source = KeyValue::new("source", source.to_owned());
        self.looks.add(n, &[source, KeyValue::new("outcome", outcome)]);
    }

    /// Begins to count for a channel, from nothing: the increase of a counter that was not there is not seen.
    pub fn will_notify(&self, channel: &str) {
        for outcome in ["sent", "failed", "refused", "gone", "skipped"] {
            let labels =
                [KeyValue::new("channel", channel.to_owned()), KeyValue::new("outcome", outcome)];
            self.notifications.add(0, &labels);
        }
    }

    /// Counts an attempt to tell a channel: `sent`, `failed`, `refused`, `gone`, or `skipped` for entries that were
    /// left out.
    pub fn notified(&self, channel: &str, outcome: &'static str) {
        let channel = KeyValue::new("channel", channel.to_owned());
        self.notifications.add(1, &[channel, KeyValue::new("outcome", outcome)]);
    }

    /// Shows how old what each channel is still to be told is.
    pub fn watch(&self, channels: &Arc<Channels>) {
        let (channels, desk) = (channels.clone(), self.desk.clone());
        let meter = self.provider.meter("ringward");
        let lag = meter.f64_observable_gauge("ringward_notification_lag_seconds");
        let lag = lag.with_description("How old what a channel is still to be told is");
        lag.with_callback(move |observer| {
            for (channel, seconds) in channels.lags(desk.clock().now().wall) {
                observer.observe(seconds, &[KeyValue::new("channel", channel)]);
            }
        })
        .build();
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
        if let Some(spans) = &self.spans {
            self.settled(spans, at, facts);
        }
    }

    fn moved(&self, step: &Step<'_>, at: Now) {
        let mut journeys = self.journeys.lock().unwrap_or_else(PoisonError::into_inner);
        let journey = journeys.entry((step.release.clone(), step.ring.clone())).or_default();
        let before = *journey;
        let Journey { phase: from, started, .. } = before;
        let started = if step.to == Phase::Deploying { Some(at) } else { started };
        *journey = Journey { phase: step.to, entered: Some(at), started };
        drop(journeys);
        let label = |key: &'static str, phase| KeyValue::new(key, name(phase));
        let actor = KeyValue::new("actor", step.actor);
        self.transitions.add(1, &[label("from", from), label("to", step.to), actor]);
        let over = from.in_motion() && !step.to.in_motion();
        if let Some(started) = started.filter(|_| over) {
            let took = at.mono.since(started.mono).as_seconds();
            self.ring_duration.record(took, &[KeyValue::new("phase", name(step.to))]);
        }
        if let Some(spans) = &self.spans {
            self.trace(spans, step, before, at);
        }
    }

    /// Tells of the stretch of an attempt that ended, and of the attempt, if that did.
    fn trace(&self, spans: &Spans, step: &Step<'_>, before: Journey, at: Now) {
        let ahead = |phase| matches!(phase, Phase::Deploying | Phase::Soaking);
        self.desk.read(|world, _| {
            let Some(release) = world.release(step.release) else { return };
            let Some(run) = release.ring(step.ring) else { return };
            let attempt = Attempt { release, ring: step.ring, number: run.attempt };
            let stretch = before.entered.and_then(|from| attempt.stretch(before.phase, from, at));
            let ended = ahead(before.phase) && !ahead(step.to);
            let whole = before.started.filter(|_| ended);
            let whole = whole.map(|started| attempt.whole(started, at, step.to));
            stretch.into_iter().chain(whole).for_each(|span| spans.tell(span));
        });
    }

    /// Tells of releases that what was recorded has settled.
    fn settled(&self, spans: &Spans, at: Now, facts: &[Fact]) {
        let mut seen: Vec<&ReleaseId> = facts.iter().filter_map(step::may_settle).collect();
        seen.dedup();
        self.desk.read(|world, _| {
            for release in seen.into_iter().filter_map(|id| world.release(id)) {
                if phase::is_settled(release) {
                    spans.tell(spans::whole(release, phase::of_release(world, release), at));
                }
            }
        });
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
        if let Fact::GlassBroken { .. } = fact {
            self.emergencies.add(1, &[]);
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
                let kind =
                    |world: &World| world.release(&release).map(|r| r.plan.target.kind.name());
                let Some(kind) = self.desk.read(|world, _| kind(world)) else { return };
                String::from(kind)
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
    let journey = |run: &RingRun| Journey {
        phase: run.phase,
        entered: Some(run.entered),
        started: run.started,
    };
    runs.map(|(place, run)| (place, journey(run))).collect()
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

#[cfg(test)]
mod tests;
