//! Plans and their rings, whatever release is on them.

use axum::{Json, response::Response};

use super::{
    Answers, Done, Reason,
    caller::Visit,
    extract::{ActionHeaders, At, Body, PlanPath, ReadHeaders, RingPath},
    problem::Problem,
};
use crate::{
    decide::event::{Action, Scope},
    ids::PlanName,
    show::{
        auth::{Reach, Verb},
        view::{self, Page, PlanRingView, PlanView},
    },
};

/// The plans.
#[utoipa::path(get, path = "/v1/plans", tag = "plans", params(ReadHeaders),
    responses((status = 200, body = Page<PlanView>)))]
pub async fn list(visit: Visit) -> Result<Response, Problem> {
    visit.may(Verb::Read, &Reach::Common)?;
    let plans = visit.look(|world, now| view::plans(world, now, |plan| visit.sees(world, plan)));
    Ok(visit.list(&Page::whole(plans)))
}

/// A plan as declared, and its releases.
#[utoipa::path(get, path = "/v1/plans/{plan}", tag = "plans", params(PlanPath, ReadHeaders),
    responses((status = 200, body = PlanView),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub async fn show(visit: Visit, At(PlanPath { plan }): At<PlanPath>) -> Result<Response, Problem> {
    let found = visit.look_at(&plan, |world, now| {
        world.plans.get(&plan).map(|state| view::plan(world, &plan, state, now))
    })?;
    let found = found.ok_or_else(|| unknown_plan(&plan))?;
    Ok(visit.answer(Some(found.revision), &found, &found))
}

/// A ring as declared, and the release that matters on it now.
#[utoipa::path(get, path = "/v1/plans/{plan}/rings/{ring}", tag = "plans",
    params(RingPath, ReadHeaders),
    responses((status = 200, body = PlanRingView),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub async fn show_ring(visit: Visit, At(path): At<RingPath>) -> Result<Response, Problem> {
    let RingPath { plan, ring } = path;
    let found = visit.look_at(&plan, |world, now| {
        let state = world.plans.get(&plan).ok_or_else(|| unknown_plan(&plan))?;
        let found = view::plan_ring(world, &plan, state, &ring, now);
        found.ok_or_else(|| {
            Problem::unknown("unknown-ring", format!("plan {plan} declares no ring {ring}"))
        })
    })??;
    Ok(visit.answer(Some(found.revision), &found, &found))
}

/// Pauses a plan: nothing goes forward in it until it is resumed.
#[utoipa::path(post, path = "/v1/plans/{plan}/pause", tag = "plans",
    params(PlanPath, ActionHeaders), request_body = Reason, responses(Answers))]
pub async fn pause(
    visit: Visit,
    At(PlanPath { plan }): At<PlanPath>,
    Body(body): Body<Reason>,
) -> Result<Json<Done>, Problem> {
    let reach = visit.reach(&plan, None, None);
    let action = Action::Pause { scope: Scope::Plan(plan), reason: body.checked()? };
    visit.done(Verb::Stop, reach, action).await
}

/// Takes a plan's pause away.
#[utoipa::path(post, path = "/v1/plans/{plan}/resume", tag = "plans",
    params(PlanPath, ActionHeaders), request_body = Reason, responses(Answers))]
pub async fn resume(
    visit: Visit,
    At(PlanPath { plan }): At<PlanPath>,
    Body(body): Body<Reason>,
) -> Result<Json<Done>, Problem> {
    let reach = visit.reach(&plan, None, None);
    let action = Action::Resume { scope: Scope::Plan(plan), reason: body.checked()? };
    visit.done(Verb::Go, reach, action).await
}

/// Pauses a ring, whatever release is on it.
#[utoipa::path(post, path = "/v1/plans/{plan}/rings/{ring}/pause", tag = "plans",
    params(RingPath, ActionHeaders), request_body = Reason, responses(Answers))]
pub async fn pause_ring(
    visit: Visit,
    At(RingPath { plan, ring }): At<RingPath>,
    Body(body): Body<Reason>,
) -> Result<Json<Done>, Problem> {
    let reach = visit.reach(&plan, None, Some(&ring));
    let action = Action::Pause { scope: Scope::Ring(plan, ring), reason: body.checked()? };
    visit.done(Verb::Stop, reach, action).await
}

/// Takes a ring's pause away.
#[utoipa::path(post, path = "/v1/plans/{plan}/rings/{ring}/resume", tag = "plans",
    params(RingPath, ActionHeaders), request_body = Reason, responses(Answers))]
pub async fn resume_ring(
    visit: Visit,
    At(RingPath { plan, ring }): At<RingPath>,
    Body(body): Body<Reason>,
) -> Result<Json<Done>, Problem> {
    let reach = visit.reach(&plan, None, Some(&ring));
    let action = Action::Resume { scope: Scope::Ring(plan, ring), reason: body.checked()? };
    visit.done(Verb::Go, reach, action).await
}

/// A plan that nobody declared.
pub fn unknown_plan(plan: &PlanName) -> Problem {
    Problem::unknown("unknown-plan", format!("there is no plan {plan}; GET /v1/plans lists them"))
}
