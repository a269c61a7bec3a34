//! The pages that are looked at.

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    http::HeaderMap,
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;

use super::{
    super::{
        caller::Visit,
        events, evidence,
        extract::{Asked, At, ReleasePath},
        problem::Problem,
        releases::unknown_release,
    },
    Guest, offers,
};
use crate::{
    decide::{
        phase::{self, ReleasePhase},
        world::{Release, World},
    },
    ids::{Jurisdiction, PlanName, RingName},
    model::{blocs, ring::Ring, time::Now},
    show::{
        dashboard::{
            Place,
            fleet::{Board, Filter, Matrix, Part},
            release::{self, Sheet},
        },
        view,
    },
};

/// Releases of a plan that the fleet shows: those on their way, and the latest others up to this many.
const LATEST: usize = 5;

/// The same where only one plan is looked at.
const LATEST_OF_ONE: usize = 50;

/// What the fleet is filtered by; a browser sends fields that nobody filled in.
#[derive(Debug, Default, Deserialize)]
pub struct FleetQuery {
    plan: Option<String>,
    phase: Option<String>,
    jurisdiction: Option<String>,
    from: Option<String>,
}

/// The matrix.
pub async fn fleet(
    guest: Guest,
    query: Result<Asked<FleetQuery>, Problem>,
) -> Result<Response, Response> {
    let filter = query
        .and_then(|Asked(query)| {
            let given = |text: Option<String>| text.filter(|text| !text.is_empty());
            let phase = given(query.phase).map(|text| text.parse::<ReleasePhase>()).transpose();
            Ok(Filter {
                plan: given(query.plan).map(PlanName::from),
                phase: phase.map_err(|unknown| Problem::bad_request(unknown.to_string()))?,
                jurisdiction: given(query.jurisdiction).map(Jurisdiction::from),
                from: given(query.from).map(PlanName::from),
            })
        })
        .map_err(|problem| guest.trouble(&problem, "/"))?;
    let visit = &guest.visit;
    let board = visit.look(|world, now| board(visit, filter, world, now));
    let mut matrix = Matrix::new(&board, &guest.viewer.csrf);
    let mut next = None;
    // A look for each plan: the loop need not wait for all of them.
    for name in board.names.iter().filter(|name| board.filter.from.as_ref() <= Some(*name)) {
        let part = visit.look(|world, now| part(visit, &board.filter, world, name, now));
        let Some(part) = part else { continue };
        if !matrix.put(&part) {
            next = Some(name);
            break;
        }
    }
    Ok(guest.page(Place::Fleet, "Fleet", true, &matrix.page(next)))
}

fn board(visit: &Visit, filter: Filter, world: &World, now: Now) -> Board {
    let plans = || world.plans.iter().filter(|(name, _)| visit.sees(world, name));
    let open = || plans().flat_map(|(_, s)| s.releases.values()).filter(|r| !phase::is_settled(r));
    let phases: Vec<ReleasePhase> = open().map(|r| phase::of_release(world, r)).collect();
    let count = |phase: ReleasePhase| phases.iter().filter(|p| **p == phase).count();
    let declared = plans().filter_map(|(_, state)| state.declared.as_ref());
    let places: BTreeSet<Jurisdiction> =
        declared.flat_map(|plan| plan.clusters()).map(|c| c.jurisdiction.clone()).collect();
    Board {
        filter,
        names: plans().map(|(name, _)| name.clone()).collect(),
        places: places.into_iter().collect(),
        counts: ReleasePhase::ALL.iter().map(|phase| (*phase, count(*phase))).collect(),
        freezes: view::freezes(world, now, |scope| visit.sees_scope(world, scope)),
        source: view::source(world),
        now,
    }
}

/// A plan as far as the filter lets it through.
fn part(visit: &Visit, filter: &Filter, world: &World, name: &PlanName, now: Now) -> Option<Part> {
    let state = world.plans.get(name)?;
    if filter.plan.as_ref().is_some_and(|plan| plan != name) {
        return None;
    }
    let lies = |ring: &Ring| {
        let inside = |place: &Jurisdiction| {
            let wanted = filter.jurisdiction.as_ref();
            wanted.is_none_or(|w| w == place || blocs::contains(w.as_str(), place.as_str()))
        };
        ring.clusters.iter().any(|cluster| inside(&cluster.jurisdiction))
    };
    let wanted = |release: &&Arc<Release>| {
        filter.phase.is_none_or(|phase| phase::of_release(world, release) == phase)
            && release.plan.rings.iter().any(lies)
    };
    let declared = state.declared.as_ref();
    let filtered = filter.phase.is_some() || filter.jurisdiction.is_some();
    let found: Vec<&Arc<Release>> = state.in_order().rev().filter(wanted).collect();
    if filtered && found.is_empty() {
        return None;
    }
    let latest = if filter.plan.is_some() { LATEST_OF_ONE } else { LATEST };
    let shown = found
        .iter()
        .enumerate()
        .filter(|(n, release)| *n < latest || !phase::is_settled(release))
        .map(|(_, release)| view::release(world, release, now));
    let offers = match declared {
        Some(_) => offers::plan_offers(visit, world, name, state),
        None => Vec::new(),
    };
    let mut plan = view::plan_alone(world, name, state);
    if filter.jurisdiction.is_some() {
        let inside: BTreeSet<RingName> = declared
            .iter()
            .flat_map(|plan| &plan.rings)
            .filter(|ring| lies(ring))
            .map(|ring| ring.name.clone())
            .collect();
        plan.rings.retain(|ring| inside.contains(&ring.name));
    }
    Some(Part { plan, releases: shown.collect(), of: found.len(), offers })
}

/// A release.
pub async fn release(
    guest: Guest,
    path: Result<At<ReleasePath>, Problem>,
) -> Result<Response, Response> {
    let sheet = path.and_then(|At(path)| {
        let (visit, id) = (&guest.visit, path.id());
        visit.look_at(&id.plan, |world, now| {
            let release = world.release(&id).ok_or_else(|| unknown_release(&id))?;
            Ok(sheet(visit, world, release, now))
        })?
    });
    let sheet = sheet.map_err(|problem| guest.trouble(&problem, "/"))?;
    let title = sheet.release.release.to_string();
    Ok(guest.page(Place::Fleet, &title, true, &release::page(&sheet, &guest.viewer.csrf)))
}

fn sheet(visit: &Visit, world: &World, release: &Release, now: Now) -> Sheet {
    let on = release.plan.graph.order().iter();
    let on = on.map(|ring| (ring.clone(), offers::ring_offers(visit, world, release, ring, now)));
    Sheet {
        release: view::release(world, release, now),
        offers: offers::release_offers(visit, world, release),
        on: on.collect(),
        pauses: offers::pauses(visit, world, release),
        now,
    }
}

/// The evidence of a release: as a page, or as a document to be kept.
pub async fn evidence(
    guest: Guest,
    path: Result<At<ReleasePath>, Problem>,
    headers: HeaderMap,
    query: Result<Asked<evidence::EvidenceQuery>, Problem>,
) -> Result<Response, Response> {
    let found = async {
        let (path, Asked(query)) = (path?, query?);
        let query = query.or_html();
        evidence::show(guest.visit.under(HeaderMap::new()), headers, path, Asked(query)).await
    };
    found.await.map_err(|problem| guest.trouble(&problem, "/"))
}

/// What happens, for the script: the same as the API's, by the session.
pub async fn events(guest: Guest, headers: HeaderMap) -> Response {
    match events::listen(guest.visit, headers).await {
        Ok(stream) => stream,
        Err(problem) => problem.into_response(),
    }
}
