//! A release on a ring, with what was measured there.

use std::collections::BTreeMap;

use axum::response::Response;
use jiff::Timestamp;
use serde::Deserialize;

use super::{
    super::{
        extract::{Asked, At, ReleaseRingPath},
        measurements::{self, Part},
        problem::Problem,
        releases::{unknown_release, unknown_ring},
    },
    Guest, offers,
};
use crate::{
    decide::world::{Release, World},
    ids::{ClusterName, GateName, RingName},
    model::{
        policy::{Direction, Gate, Judge},
        time::Now,
    },
    show::{
        dashboard::{
            Place,
            chart::Point,
            ring::{self, DRAWN, Sheet},
        },
        measured::Wanted,
        view::{self, GateSpecView, MeasurementView},
        words,
    },
};

/// Measurements of a ring that are read for its page.
const READ: usize = 500;

/// Which gate is looked at.
#[derive(Debug, Default, Deserialize)]
pub struct RingQuery {
    gate: Option<GateName>,
    cluster: Option<ClusterName>,
}

/// A release on a ring.
pub async fn ring(
    guest: Guest,
    path: Result<At<ReleaseRingPath>, Problem>,
    query: Result<Asked<RingQuery>, Problem>,
) -> Result<Response, Response> {
    let found = async {
        let (At(path), Asked(query)) = (path?, query?);
        let (visit, id) = (&guest.visit, path.id());
        let wanted = Wanted {
            release: id.clone(),
            ring: path.ring.clone(),
            gate: query.gate.clone(),
            cluster: query.cluster.clone(),
        };
        let part = Part { newest: true, size: READ, rest: None };
        let measured = measurements::read(visit, wanted, part).await?.items;
        visit.look_at(&id.plan, |world, now| {
            let release = world.release(&id).ok_or_else(|| unknown_release(&id))?;
            let look = Look { guest: &guest, world, release, name: &path.ring, now };
            look.sheet(&query, &measured).ok_or_else(|| unknown_ring(&id, &path.ring))
        })?
    };
    let sheet = found.await.map_err(|problem| guest.trouble(&problem, "/"))?;
    let title = format!("{} on {}", sheet.ring.name, sheet.release);
    let main = ring::page(&sheet, &guest.viewer.csrf);
    Ok(guest.page(Place::Fleet, &title, true, &main))
}

struct Look<'a> {
    guest: &'a Guest,
    world: &'a World,
    release: &'a Release,
    name: &'a RingName,
    now: Now,
}

impl Look<'_> {
    fn sheet(&self, query: &RingQuery, measured: &[MeasurementView]) -> Option<Sheet> {
        let Self { guest, world, release, name, now } = *self;
        let (declared, run) = release.plan.ring(name).zip(release.ring(name))?;
        let whole = view::release(world, release, now);
        let view = whole.rings.into_iter().find(|ring| ring.name == *name)?;
        let spec = view::ring_specs(&release.plan).into_iter().find(|ring| ring.name == *name)?;
        let specs: BTreeMap<GateName, GateSpecView> = view::gate_specs(&release.plan)
            .into_iter()
            .filter(|gate| gate.ring == *name)
            .map(|gate| (gate.name.clone(), gate))
            .collect();
        let deployed = |cluster: &ClusterName| {
            run.clusters.get(cluster).and_then(|here| here.deployed).map(|at| at.wall)
        };
        let wanted = |gate: &&Gate| query.gate.as_ref().is_none_or(|name| *name == gate.name);
        let mut gates = Vec::new();
        for gate in declared.policy.gates.iter().filter(wanted) {
            let Some(spec) = specs.get(&gate.name) else { continue };
            let clusters = declared.clusters.iter().map(|cluster| &cluster.name);
            for cluster in clusters.filter(|c| query.cluster.as_ref().is_none_or(|name| name == *c))
            {
                gates.push(self.gate(gate, spec, cluster, deployed(cluster), measured));
            }
        }
        Some(Sheet {
            release: release.id.clone(),
            ring: view,
            spec,
            offers: offers::ring_offers(&guest.visit, world, release, name, now),
            pauses: offers::pauses_on(&guest.visit, world, release, declared),
            gates,
            one: query.gate.is_some() || query.cluster.is_some(),
            now,
        })
    }

    fn gate(
        &self,
        gate: &Gate,
        spec: &GateSpecView,
        cluster: &ClusterName,
        deployed: Option<Timestamp>,
        measured: &[MeasurementView],
    ) -> ring::Gate {
        let of = measured.iter().filter(|m| m.gate == gate.name && m.cluster == *cluster);
        let newest: Vec<&MeasurementView> = of.take(DRAWN).collect();
        let asked = newest.iter().find(|m| !m.asked.is_empty()).map(|m| m.asked.clone());
        ring::Gate {
            spec: spec.clone(),
            cluster: cluster.clone(),
            deployed,
            points: newest.iter().rev().map(|m| (point(gate, m), m.why())).collect(),
            asked: asked.unwrap_or_default(),
            withheld: words::withheld(&self.release.plan, cluster),
        }
    }
}

/// A measurement with the limits that its judge held it against, where those are in its own unit.
fn point(gate: &Gate, measured: &MeasurementView) -> Point {
    let baseline = measured.against.filter(|_| !measured.withheld);
    let (limits, against) = match &gate.judge {
        _ if measured.withheld => (Vec::new(), None),
        Judge::Threshold { min, max } => (min.iter().chain(max).copied().collect(), None),
        Judge::Relative { max_degradation, direction, floor, .. } => {
            // A difference passes that either bound lets through (see decide/gate/relative.rs).
            let limit = baseline.map(|b| {
                let room = (max_degradation * b.abs()).max(*floor);
                match direction {
                    Direction::Increase => b + room,
                    Direction::Decrease => b - room,
                }
            });
            (limit.into_iter().collect(), baseline)
        }
        Judge::MannWhitney(_)
        | Judge::Sequential(_)
        | Judge::BurnRate(_)
        | Judge::Alerts(_)
        | Judge::Webhook
        | Judge::Kubernetes(_) => (Vec::new(), baseline),
    };
    Point {
        at: measured.at,
        verdict: measured.verdict,
        value: measured.value,
        samples: measured.samples,
        against,
        limits,
    }
}
