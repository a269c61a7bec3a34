//! What was measured of a release on a ring: the evidence behind its gates.

use std::ops::Range;

use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    audit::blocking,
    caller::Visit,
    extract::{Asked, At, ReadHeaders, ReleaseRingPath},
    problem::Problem,
    releases::{unknown_release, unknown_ring},
};
use crate::{
    ids::{ClusterName, GateName},
    model::time::Mono,
    show::{
        measured::{self, Found, Wanted},
        view::{self, MeasurementView, Page},
    },
};

/// Which measurements are shown.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub struct MeasurementsQuery {
    /// Of this gate only.
    gate: Option<GateName>,
    /// Of this cluster only.
    cluster: Option<ClusterName>,
    /// `oldest` first, as it is where nothing is said, or `newest` first.
    order: Option<String>,
    /// At most so many, 1 to 500; 100 where it is missing.
    page_size: Option<usize>,
    /// What the page before gave as the next.
    page_token: Option<String>,
}

/// The measurements of a release's gates on a ring, from the journal, of all its attempts: each with what
/// was asked, what was told and what was made of it. A page may hold fewer than `pageSize`, and none at
/// all; it is the last only where there is no `nextPageToken`.
#[utoipa::path(get, path = "/v1/plans/{plan}/releases/{version}/rings/{ring}/measurements",
    tag = "rings", params(ReleaseRingPath, MeasurementsQuery, ReadHeaders),
    responses((status = 200, body = Page<MeasurementView>),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
pub async fn list(
    visit: Visit,
    At(path): At<ReleaseRingPath>,
    Asked(query): Asked<MeasurementsQuery>,
) -> Result<Response, Problem> {
    let newest = match query.order.as_deref() {
        None | Some("oldest") => false,
        Some("newest") => true,
        Some(_) => return Err(Problem::bad_request("order is oldest or newest")),
    };
    let size = query.page_size.unwrap_or(100);
    if !(1..=500).contains(&size) {
        return Err(Problem::bad_request("pageSize is 1 to 500"));
    }
    let rest = query.page_token.as_deref().map(token).transpose()?;
    let (release, ring) = (path.id(), path.ring);
    let wanted = Wanted { release, ring, gate: query.gate, cluster: query.cluster };
    Ok(visit.list(&read(&visit, wanted, Part { newest, size, rest }).await?))
}

/// Which part of what was measured is read.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// The newest first, or the oldest.
    pub newest: bool,
    /// How many at most.
    pub size: usize,
    /// Where the part before ended.
    pub rest: Option<u64>,
}

/// Reads what was measured, for somebody who may see the plan.
///
/// # Errors
/// 403, 404 and 503.
pub async fn read(
    visit: &Visit,
    wanted: Wanted,
    part: Part,
) -> Result<Page<MeasurementView>, Problem> {
    let Part { newest, size, rest } = part;
    let (id, ring) = (&wanted.release, &wanted.ring);
    let (plan, times) = visit.look_at(&id.plan, |world, _| {
        let release = world.release(id).ok_or_else(|| unknown_release(id))?;
        let run = release.ring(ring).ok_or_else(|| unknown_ring(id, ring))?;
        // An attempt before the last began at any time since the release came.
        let started = run.started.filter(|_| run.attempt == 1).unwrap_or(release.submitted);
        let latest = run.gates.values().filter_map(|gate| Some(gate.latest.as_ref()?.1.mono)).max();
        let times = (run.attempt > 0).then_some((started.mono, latest));
        Ok::<_, Problem>((release.plan.clone(), times))
    })??;
    let Some(times) = times else { return Ok(Page::whole(vec![])) };
    let store = visit.api.desk.store().clone();
    let found = blocking(move || {
        let (from, to): (Mono, Option<Mono>) = times;
        let entries = measured::between(&*store, from, to)?;
        let entries = match rest {
            // A token says how far one is; where it all lies is not its to say.
            Some(rest) if newest => entries.start..rest.clamp(entries.start, entries.end),
            Some(rest) => rest.clamp(entries.start, entries.end)..entries.end,
            None => entries,
        };
        match newest {
            true => measured::newest(&*store, &wanted, entries, size),
            false => measured::oldest(&*store, &wanted, entries, size),
        }
    });
    let Found { items, rest } = found.await.map_err(|error| Problem::journal(&error))?;
    let next = rest.map(|Range { start, end }| if newest { end } else { start }.to_string());
    let items = items.iter().map(|found| view::measurement(&plan, found)).collect();
    Ok(Page { items, next_page_token: next })
}

fn token(text: &str) -> Result<u64, Problem> {
    text.parse().map_err(|_| Problem::bad_request("pageToken is not one that a page before gave"))
}
