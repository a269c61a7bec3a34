//! What is true, read from the world when it is asked for.

use std::sync::Arc;

use opentelemetry::{
    KeyValue,
    metrics::{AsyncInstrument, Meter},
};

use crate::{
    decide::{
        phase::{self, RingPhase},
        waiting::waiting_on,
        world::{Phase, PlanState, Release, RingRun, Step as ClusterStep, World},
    },
    ids::{PlanName, RingName},
    model::{ring::Ring, time::Now},
    show::{
        desk::Desk,
        view::{self, WaiverState},
        words::{self, Ender},
    },
};

/// Sets the gauges up over the world behind `desk`.
pub(super) fn watch(meter: &Meter, desk: &Arc<Desk>) {
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
    gauge(
        "ringward_flag_overdue",
        "1 where a feature flag has served everybody the same for longer than its cleanupAfter",
        |world, now, tell| {
            for flag in view::flags(world, now, |_| true).into_iter().filter(|flag| flag.overdue) {
                tell(1.0, &[KeyValue::new("plan", flag.plan.to_string())]);
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

/// Whether a ring failed that does not go back by itself: its release is irreversible or its policy says
/// so, or a target of it is stuck.
pub(super) fn is_stranded(release: &Release, run: &RingRun) -> bool {
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
