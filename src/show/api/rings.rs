//! A release on a ring.

use axum::Json;

use super::{
    Answers, Done, Reason, RollbackBody,
    caller::Visit,
    extract::{ActionHeaders, At, Body, ReleaseRingPath},
    problem::Problem,
    releases::unless_irreversible,
};
use crate::{
    decide::event::{Action, Scope},
    model::policy::RollbackScope,
    show::auth::{Reach, Verb},
};

fn reach(visit: &Visit, path: &ReleaseRingPath) -> Reach {
    visit.reach(&path.plan, Some(&path.version), Some(&path.ring))
}

/// Pauses a release on a ring.
#[utoipa::path(post, path = "/v1/plans/{plan}/releases/{version}/rings/{ring}/pause",
    tag = "rings", params(ReleaseRingPath, ActionHeaders), request_body = Reason,
    responses(Answers))]
pub async fn pause(
    visit: Visit,
    At(path): At<ReleaseRingPath>,
    Body(body): Body<Reason>,
) -> Result<Json<Done>, Problem> {
    let reach = reach(&visit, &path);
    let scope = Scope::ReleaseRing(path.id(), path.ring);
    let action = Action::Pause { scope, reason: body.checked()? };
    visit.done(Verb::Stop, reach, action).await
}

/// Takes the pause of a release on a ring away.
#[utoipa::path(post, path = "/v1/plans/{plan}/releases/{version}/rings/{ring}/resume",
    tag = "rings", params(ReleaseRingPath, ActionHeaders), request_body = Reason,
    responses(Answers))]
pub async fn resume(
    visit: Visit,
    At(path): At<ReleaseRingPath>,
    Body(body): Body<Reason>,
) -> Result<Json<Done>, Problem> {
    let reach = reach(&visit, &path);
    let scope = Scope::ReleaseRing(path.id(), path.ring);
    let action = Action::Resume { scope, reason: body.checked()? };
    visit.done(Verb::Go, reach, action).await
}

/// Agrees that a release enters a ring: exactly the digest, policy, clusters and attempt that the ETag
/// in `If-Match` was shown with.
#[utoipa::path(post, path = "/v1/plans/{plan}/releases/{version}/rings/{ring}/approve",
    tag = "rings", params(ReleaseRingPath, ActionHeaders), request_body = Reason,
    responses(Answers))]
pub async fn approve(
    visit: Visit,
    At(path): At<ReleaseRingPath>,
    Body(body): Body<Reason>,
) -> Result<Json<Done>, Problem> {
    let reach = reach(&visit, &path);
    let reason = body.checked()?;
    let action = Action::Approve { release: path.id(), ring: path.ring, reason };
    visit.done(Verb::Agree, reach, action).await
}

/// Refuses that a release enters a ring; it needs a new attempt then.
#[utoipa::path(post, path = "/v1/plans/{plan}/releases/{version}/rings/{ring}/reject",
    tag = "rings", params(ReleaseRingPath, ActionHeaders), request_body = Reason,
    responses(Answers))]
pub async fn reject(
    visit: Visit,
    At(path): At<ReleaseRingPath>,
    Body(body): Body<Reason>,
) -> Result<Json<Done>, Problem> {
    let reach = reach(&visit, &path);
    let reason = body.checked()?;
    let action = Action::Reject { release: path.id(), ring: path.ring, reason };
    visit.done(Verb::Agree, reach, action).await
}

/// Lets a newer release take a ring, where the plan leaves that to an operator; on a ring in motion, lets its
/// targets go on that stand at a pause of their controllers' own, such as a step of a Rollout.
#[utoipa::path(post, path = "/v1/plans/{plan}/releases/{version}/rings/{ring}/advance",
    tag = "rings", params(ReleaseRingPath, ActionHeaders), request_body = Reason,
    responses(Answers))]
pub async fn advance(
    visit: Visit,
    At(path): At<ReleaseRingPath>,
    Body(body): Body<Reason>,
) -> Result<Json<Done>, Problem> {
    let reach = reach(&visit, &path);
    let reason = body.checked()?;
    let action = Action::Advance { release: path.id(), ring: path.ring, reason };
    visit.done(Verb::Go, reach, action).await
}

/// A new attempt on a ring that failed or was rolled back.
#[utoipa::path(post, path = "/v1/plans/{plan}/releases/{version}/rings/{ring}/retry",
    tag = "rings", params(ReleaseRingPath, ActionHeaders), request_body = Reason,
    responses(Answers))]
pub async fn retry(
    visit: Visit,
    At(path): At<ReleaseRingPath>,
    Body(body): Body<Reason>,
) -> Result<Json<Done>, Problem> {
    let reach = reach(&visit, &path);
    let reason = body.checked()?;
    let action = Action::Retry { release: path.id(), ring: Some(path.ring), reason };
    visit.done(Verb::Go, reach, action).await
}

/// Takes a release back from a ring, and with it from what the scope says.
#[utoipa::path(post, path = "/v1/plans/{plan}/releases/{version}/rings/{ring}/rollback",
    tag = "rings", params(ReleaseRingPath, ActionHeaders), request_body = RollbackBody,
    responses(Answers))]
pub async fn rollback(
    visit: Visit,
    At(path): At<ReleaseRingPath>,
    Body(RollbackBody { scope, reason }): Body<RollbackBody>,
) -> Result<Json<Done>, Problem> {
    // Who may act on the ring alone may not take others with it.
    let reach = match scope {
        None | Some(RollbackScope::Ring) => reach(&visit, &path),
        Some(RollbackScope::Descendants | RollbackScope::Jurisdiction | RollbackScope::Exposed) => {
            visit.reach(&path.plan, Some(&path.version), None)
        }
    };
    let reason = Reason { reason }.checked()?;
    visit.may(Verb::Go, &reach)?;
    unless_irreversible(&visit, &path.id(), reason.as_deref())?;
    let action = Action::Rollback { release: path.id(), ring: Some(path.ring), scope, reason };
    visit.done(Verb::Go, reach, action).await
}
