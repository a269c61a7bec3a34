//! What is declared across plans: clusters, gates, where all of it comes from, and whom it is told.

use axum::response::Response;

use super::{caller::Visit, extract::ReadHeaders, problem::Problem};
use crate::{
    model::ring::Cluster,
    show::{
        auth::{Reach, Verb},
        view::{self, ChannelView, ClusterRow, FlagView, GateSpecView, Page, SourceView},
    },
};

/// The clusters, and what runs in them.
#[utoipa::path(get, path = "/v1/clusters", tag = "fleet", params(ReadHeaders),
    responses((status = 200, body = Page<ClusterRow>)))]
pub async fn clusters(visit: Visit) -> Result<Response, Problem> {
    visit.may(Verb::Read, &Reach::Common)?;
    let clusters = visit.look(|world, _| {
        view::clusters(world, |plan, cluster: &Cluster| {
            let place = vec![cluster.jurisdiction.clone()];
            visit.may(Verb::Read, &Reach::Plan(plan.clone(), place)).is_ok()
        })
    });
    Ok(visit.list(&Page::whole(clusters)))
}

/// The gates of every ring.
#[utoipa::path(get, path = "/v1/gates", tag = "fleet", params(ReadHeaders),
    responses((status = 200, body = Page<GateSpecView>)))]
pub async fn gates(visit: Visit) -> Result<Response, Problem> {
    visit.may(Verb::Read, &Reach::Common)?;
    let gates = visit.look(|world, _| view::gates(world, |plan| visit.sees(world, plan)));
    Ok(visit.list(&Page::whole(gates)))
}

/// The feature flags that go by plans, and which have served everybody the same for too long.
#[utoipa::path(get, path = "/v1/flags", tag = "fleet", params(ReadHeaders),
    responses((status = 200, body = Page<FlagView>)))]
pub async fn flags(visit: Visit) -> Result<Response, Problem> {
    visit.may(Verb::Read, &Reach::Common)?;
    let flags = visit.look(|world, now| view::flags(world, now, |plan| visit.sees(world, plan)));
    Ok(visit.list(&Page::whole(flags)))
}

/// Where the declarations come from: the commit in force, and a head that was not accepted.
#[utoipa::path(get, path = "/v1/source", tag = "fleet", params(ReadHeaders),
    responses((status = 200, body = SourceView)))]
pub async fn source(visit: Visit) -> Result<Response, Problem> {
    visit.may(Verb::Read, &Reach::Common)?;
    let source = visit.look(|world, _| view::source(world));
    Ok(visit.list(&source))
}

/// The channels that notifiers go over, and how far each has been told.
#[utoipa::path(get, path = "/v1/channels", tag = "fleet", params(ReadHeaders),
    responses((status = 200, body = Page<ChannelView>)))]
pub async fn channels(visit: Visit) -> Result<Response, Problem> {
    visit.may(Verb::Read, &Reach::Common)?;
    let head = visit.api.desk.store().head().seq;
    Ok(visit.list(&Page::whole(visit.api.channels.views(head))))
}
