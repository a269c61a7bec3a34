//! Waivers of residency rules: asked for, agreed to, ended.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Answers, Done, Nothing, Reason,
    caller::{Visit, reach_of},
    extract::{self, ActionHeaders, At, Body, PlanPath, ReadHeaders, WaiverPath, is_version},
    line::end,
    problem::{Problem, Violation},
    wrong_text,
};
use crate::{
    decide::{event::Action, world::World},
    ids::{PlanName, PolicyName, RingName, Version, WaiverId},
    model::time::Span,
    show::{
        auth::{Reach, Verb},
        view::{self, Page, WaiverView},
    },
};

/// A rule that shall not bind for a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WaiverBody {
    /// The id of one of the plan's residency rules.
    pub rule: String,
    /// The document that declares it, where several of the plan's have that id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyName>,
    /// For this release only; it may be one to come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Version>,
    /// On this ring only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ring: Option<RingName>,
    /// When it ends by itself: within seven days. This or `for`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
    /// How long it lasts by the server's clock, such as `4h`; seven days at the most.
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub lasting: Option<Span>,
    /// Why.
    pub reason: String,
}

/// It is asked for: the rule binds until two approvers have agreed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AskedFor {
    /// What it is approved and revoked by.
    pub id: WaiverId,
    /// When it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
}

/// The waivers that were asked for, those that have ended included.
#[utoipa::path(get, path = "/v1/waivers", tag = "residency", params(ReadHeaders),
    responses((status = 200, body = Page<WaiverView>)))]
pub async fn list(visit: Visit) -> Result<Response, Problem> {
    visit.may(Verb::Read, &Reach::Common)?;
    let waivers =
        visit.look(|world, now| view::waivers(world, now, |plan| visit.sees(world, plan)));
    Ok(visit.list(&Page::whole(waivers)))
}

/// Asks that a waivable residency rule shall not bind for a time.
#[utoipa::path(post, path = "/v1/plans/{plan}/waivers", tag = "residency",
    params(PlanPath, ActionHeaders), request_body = WaiverBody,
    responses((status = 201, body = AskedFor),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 412, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
pub async fn ask(
    visit: Visit,
    At(PlanPath { plan }): At<PlanPath>,
    Body(body): Body<WaiverBody>,
) -> Result<Response, Problem> {
    let WaiverBody { rule, policy, release, ring, until, lasting, reason } = body;
    let reach = visit.reach(&plan, release.as_ref(), ring.as_ref());
    visit.may(Verb::Go, &reach)?;
    let mut wrong: Vec<_> = wrong_text("/reason", Some(&reason)).into_iter().collect();
    wrong.extend(wrong_text("/rule", Some(&rule)));
    if release.as_ref().is_some_and(|version| !is_version(version.as_str())) {
        wrong.push(Violation { pointer: "/release".into(), detail: extract::VERSION.into() });
    }
    let until = end(until, lasting, &mut wrong);
    if until.is_none() && wrong.is_empty() {
        let detail = "say when it ends: `until` or `for`";
        wrong.push(Violation { pointer: "/until".into(), detail: detail.into() });
    }
    let Some(until) = until.filter(|_| wrong.is_empty()) else {
        return Err(Problem::invalid(wrong));
    };
    let id: WaiverId = visit.new_id("w")?.into();
    let of = plan.clone();
    let action = Action::Waive { id: id.clone(), plan, rule, policy, release, ring, until, reason };
    visit.ask(Verb::Go, reach, action).await?;
    let until = visit.look(|world, _| Some(world.plans.get(&of)?.waivers.get(&id)?.waiver.until));
    Ok((StatusCode::CREATED, Json(AskedFor { id, until })).into_response())
}

/// Agrees to a waiver. It is in force when two have, neither of whom asked for it or made a release that
/// it is for.
#[utoipa::path(post, path = "/v1/plans/{plan}/waivers/{id}/approve", tag = "residency",
    params(WaiverPath, ActionHeaders), request_body = Nothing, responses(Answers))]
pub async fn approve(
    visit: Visit,
    At(path): At<WaiverPath>,
    Body(Nothing {}): Body<Nothing>,
) -> Result<Json<Done>, Problem> {
    let reach = reach(&visit, &path);
    let WaiverPath { plan, id } = path;
    visit.done(Verb::Agree, reach, Action::ApproveWaiver { plan, id }).await
}

/// Ends a waiver, or takes back that it was asked for. The rule binds again at once.
#[utoipa::path(post, path = "/v1/plans/{plan}/waivers/{id}/revoke", tag = "residency",
    params(WaiverPath, ActionHeaders), request_body = Reason, responses(Answers))]
pub async fn revoke(
    visit: Visit,
    At(path): At<WaiverPath>,
    Body(body): Body<Reason>,
) -> Result<Json<Done>, Problem> {
    let reach = reach(&visit, &path);
    let reason = body.checked()?;
    let WaiverPath { plan, id } = path;
    visit.done(Verb::Withdraw, reach, Action::RevokeWaiver { plan, id, reason }).await
}

/// Where a waiver has an effect.
fn reach(visit: &Visit, path: &WaiverPath) -> Reach {
    visit.look(|world, _| reach_of_waiver(world, &path.plan, &path.id))
}

/// Where a waiver of a plan has an effect.
pub fn reach_of_waiver(world: &World, plan: &PlanName, id: &WaiverId) -> Reach {
    let run = world.plans.get(plan).and_then(|state| state.waivers.get(id));
    let waiver = run.map(|run| &run.waiver);
    let (release, ring) = waiver.map(|w| (w.release.as_ref(), w.ring.as_ref())).unwrap_or_default();
    reach_of(world, plan, release, ring)
}
