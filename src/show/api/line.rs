//! Stopping the line, and who must agree before it moves.

use axum::{
    Json,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Answers, Done,
    caller::{Visit, reach_of},
    extract::{ActionHeaders, At, Body, FreezePath, ReadHeaders},
    problem::{Problem, Violation},
    wrong_text,
};
use crate::{
    decide::{
        event::{Action, End, Scope},
        world::World,
    },
    ids::{FreezeId, IdempotencyKey, Jurisdiction},
    model::time::Span,
    show::{
        auth::{Reach, Verb},
        view::{self, ApprovalView, FreezeView, Page, PauseView, ScopeView},
    },
};

/// A stop of the line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FreezeBody {
    /// What stops: `{}` is everything, or a jurisdiction, or a plan.
    pub scope: ScopeView,
    /// When it ends by itself: then, or after `for`; when it is lifted where neither is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
    /// How long it lasts by the server's clock, such as `2h`.
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub lasting: Option<Span>,
    /// Why.
    pub reason: String,
}

/// When something ends that ends by itself, by `until` or `for`; what cannot be meant is told under `wrong`.
pub(super) fn end(
    until: Option<Timestamp>,
    lasting: Option<Span>,
    wrong: &mut Vec<Violation>,
) -> Option<End> {
    let detail = match (until, lasting) {
        (None, None) => return None,
        (Some(until), None) => return Some(End::At(until)),
        (Some(_), Some(_)) => "it ends at one instant: give `until` or `for`, not both",
        (None, Some(Span::ZERO)) => "it would be over before it begins: say how long it lasts",
        (None, Some(lasting)) => return Some(End::In(lasting)),
    };
    wrong.push(Violation { pointer: "/for".into(), detail: detail.into() });
    None
}

/// What is paused or resumed beyond one plan: everything, or one jurisdiction.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct StopBody {
    /// Everything.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub everything: bool,
    /// Every ring with a cluster in that country or bloc.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jurisdiction: Option<Jurisdiction>,
    /// Why; up to 1000 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl StopBody {
    fn checked(self) -> Result<(Scope, Option<String>), Problem> {
        let mut wrong: Vec<_> = wrong_text("/reason", self.reason.as_deref()).into_iter().collect();
        let scope = match (self.everything, self.jurisdiction) {
            (true, None) => Some(Scope::Everything),
            (false, Some(place)) => Some(Scope::Jurisdiction(place)),
            (true, Some(_)) | (false, None) => {
                let detail = "say what: either `everything: true` or one `jurisdiction`";
                wrong.push(Violation { pointer: "/everything".into(), detail: detail.into() });
                None
            }
        };
        match scope.filter(|_| wrong.is_empty()) {
            Some(scope) => Ok((scope, self.reason)),
            None => Err(Problem::invalid(wrong)),
        }
    }
}

/// The line is stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Frozen {
    /// What the freeze is lifted by.
    pub id: FreezeId,
    /// When it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
    /// Forward effects of the scope that were on their way already and cannot be called back.
    pub in_flight: Vec<IdempotencyKey>,
}

/// The approvals that releases need, and those that were given.
#[utoipa::path(get, path = "/v1/approvals", tag = "line", params(ReadHeaders),
    responses((status = 200, body = Page<ApprovalView>)))]
pub async fn approvals(visit: Visit) -> Result<Response, Problem> {
    visit.may(Verb::Read, &Reach::Common)?;
    let approvals =
        visit.look(|world, now| view::approvals(world, now, |plan| visit.sees(world, plan)));
    Ok(visit.list(&Page::whole(approvals)))
}

/// The pauses in force.
#[utoipa::path(get, path = "/v1/pauses", tag = "line", params(ReadHeaders),
    responses((status = 200, body = Page<PauseView>)))]
pub async fn pauses(visit: Visit) -> Result<Response, Problem> {
    visit.may(Verb::Read, &Reach::Common)?;
    let pauses = visit.look(|world, _| view::pauses(world, |scope| visit.sees_scope(world, scope)));
    Ok(visit.list(&Page::whole(pauses)))
}

/// Pauses everything, or a jurisdiction: nothing goes forward in it until it is resumed.
#[utoipa::path(post, path = "/v1/pause", tag = "line", params(ActionHeaders),
    request_body = StopBody, responses(Answers))]
pub async fn pause(visit: Visit, Body(body): Body<StopBody>) -> Result<Json<Done>, Problem> {
    // Who may stop nothing at all is told nothing about their body.
    visit.may(Verb::Stop, &Reach::Common)?;
    let (scope, reason) = body.checked()?;
    let reach = reach(&visit, &scope);
    visit.done(Verb::Stop, reach, Action::Pause { scope, reason }).await
}

/// Takes the pause of everything, or of a jurisdiction, away; other pauses stay.
#[utoipa::path(post, path = "/v1/resume", tag = "line", params(ActionHeaders),
    request_body = StopBody, responses(Answers))]
pub async fn resume(visit: Visit, Body(body): Body<StopBody>) -> Result<Json<Done>, Problem> {
    visit.may(Verb::Go, &Reach::Common)?;
    let (scope, reason) = body.checked()?;
    let reach = reach(&visit, &scope);
    visit.done(Verb::Go, reach, Action::Resume { scope, reason }).await
}

/// The freezes that were not lifted.
#[utoipa::path(get, path = "/v1/freezes", tag = "line", params(ReadHeaders),
    responses((status = 200, body = Page<FreezeView>)))]
pub async fn freezes(visit: Visit) -> Result<Response, Problem> {
    visit.may(Verb::Read, &Reach::Common)?;
    let freezes =
        visit.look(|world, now| view::freezes(world, now, |scope| visit.sees_scope(world, scope)));
    Ok(visit.list(&Page::whole(freezes)))
}

/// Stops the line: everything, a jurisdiction or a plan.
#[utoipa::path(post, path = "/v1/freezes", tag = "line", params(ActionHeaders),
    request_body = FreezeBody,
    responses((status = 201, body = Frozen, headers(("Location" = String))),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
pub async fn freeze(visit: Visit, Body(body): Body<FreezeBody>) -> Result<Response, Problem> {
    let frozen = freeze_line(&visit, body).await?;
    let place = format!("/v1/freezes/{}", frozen.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, place)], Json(frozen)).into_response())
}

/// The same for whoever asks.
pub async fn freeze_line(visit: &Visit, body: FreezeBody) -> Result<Frozen, Problem> {
    // Who may stop nothing at all is told nothing about their body.
    visit.may(Verb::Stop, &Reach::Common)?;
    let now = visit.look(|_, now| now);
    let mut wrong = Vec::new();
    let scope = scope(body.scope).map_err(|violation| wrong.push(violation)).ok();
    wrong.extend(wrong_text("/reason", Some(&body.reason)));
    if body.until.is_some_and(|until| until <= now.wall) {
        let detail = "it is over before it begins: give an instant to come".into();
        wrong.push(Violation { pointer: "/until".into(), detail });
    }
    let until = end(body.until, body.lasting, &mut wrong);
    let Some(scope) = scope.filter(|_| wrong.is_empty()) else {
        return Err(Problem::invalid(wrong));
    };
    let id: FreezeId = visit.new_id("f")?.into();
    let reach = reach(visit, &scope);
    let action = Action::Freeze { id: id.clone(), scope, until, reason: body.reason };
    let in_flight = visit.ask(Verb::Stop, reach, action).await?;
    let until = visit.look(|world, _| world.shared.freezes.get(&id)?.until);
    Ok(Frozen { id, until, in_flight })
}

/// Ends a freeze.
#[utoipa::path(
    delete,
    path = "/v1/freezes/{id}",
    tag = "line",
    params(FreezePath, ActionHeaders),
    responses(Answers)
)]
pub async fn lift(
    visit: Visit,
    At(FreezePath { id }): At<FreezePath>,
) -> Result<Json<Done>, Problem> {
    let scope = visit.look(|world, _| world.shared.freezes.get(&id).map(|f| f.scope.clone()));
    // One that is gone reaches nothing: the core says so, or repeats its answer to the same key.
    let reach = scope.map_or(Reach::Common, |scope| reach(&visit, &scope));
    visit.done(Verb::Go, reach, Action::Lift { id }).await
}

fn scope(view: ScopeView) -> Result<Scope, Violation> {
    match view {
        ScopeView { release: None, ring: None, jurisdiction: None, plan: None } => {
            Ok(Scope::Everything)
        }
        ScopeView { release: None, ring: None, jurisdiction: Some(place), plan: None } => {
            Ok(Scope::Jurisdiction(place))
        }
        ScopeView { release: None, ring: None, jurisdiction: None, plan: Some(plan) } => {
            Ok(Scope::Plan(plan))
        }
        ScopeView { .. } => Err(Violation {
            pointer: "/scope".into(),
            detail:
                "a freeze stops everything ({}), one jurisdiction or one plan; pause a release \
                     or a ring"
                    .into(),
        }),
    }
}

fn reach(visit: &Visit, scope: &Scope) -> Reach {
    visit.look(|world, _| reach_of_scope(world, scope))
}

/// What a stop of that scope reaches.
pub fn reach_of_scope(world: &World, scope: &Scope) -> Reach {
    match scope {
        Scope::Everything => Reach::Everything,
        Scope::Jurisdiction(place) => Reach::Place(place.clone()),
        Scope::Plan(plan) => reach_of(world, plan, None, None),
        Scope::Ring(plan, ring) => reach_of(world, plan, None, Some(ring)),
        Scope::Release(id) => reach_of(world, &id.plan, Some(&id.version), None),
        Scope::ReleaseRing(id, ring) => reach_of(world, &id.plan, Some(&id.version), Some(ring)),
    }
}
