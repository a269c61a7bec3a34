//! Releases.

use axum::{
    Json,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Answers, Done, Reason,
    caller::Visit,
    extract::{
        self, ActionHeaders, Asked, At, Body, PlanPath, ReadHeaders, ReleasePath, is_version,
    },
    problem::{Problem, Violation},
    wrong_text,
};
use crate::{
    decide::{
        command::Lane,
        event::{Action, Scope},
        phase::{self, ReleasePhase},
        world::{Release, World},
    },
    ids::{IdempotencyKey, PlanName, Principal, ReleaseId, RingName, Version, hex},
    model::{policy::RollbackScope, release::wrong_image, ring::Artifact, serve::Serve},
    show::{
        auth::{Reach, Verb},
        view::{self, DebtView, ExplainView, Page, ReleaseSummary, ReleaseView},
    },
};

/// A new release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SubmitBody {
    /// Its version: 1 to 100 letters, digits and `. _ + -`.
    pub version: String,
    /// What is deployed.
    pub artifact: ArtifactBody,
    /// By which lane it goes.
    #[serde(default)]
    pub lane: Lane,
    /// Why; the hotfix lane needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether it is never to be rolled back automatically.
    #[serde(default)]
    pub irreversible: bool,
    /// The version of the same plan that must have passed everywhere first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requires: Option<String>,
    /// Who made it, where that is not the caller; only an administrator may say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
}

/// What is deployed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArtifactBody {
    /// An image pinned by digest: `registry/app@sha256:` and 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Of a plan whose target is a feature flag, what it serves: a variant, as in `on`, or shares with the rest
    /// last, as in `on=25%,off`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serve: Option<String>,
}

/// A release was admitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Created {
    /// Which.
    pub release: ReleaseId,
    /// Effects of its plan that were on their way already.
    pub in_flight: Vec<IdempotencyKey>,
}

/// Ends a release.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AbortBody {
    /// Leaves rings in motion as they are, instead of taking them back.
    pub hold: bool,
    /// Why; an irreversible release needs it where it is not held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Takes a release back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RollbackBody {
    /// What goes back with the ring that is named (nothing else), or with each that failed (what its
    /// policy says).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<RollbackScope>,
    /// Why; an irreversible release needs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Which releases are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// Of this plan only.
    plan: Option<PlanName>,
    /// In this phase only.
    #[param(value_type = Option<ReleasePhase>)]
    phase: Option<String>,
    /// Where the page before said that this one begins.
    page_token: Option<String>,
    /// 1 to 500; 50 where it is missing.
    page_size: Option<usize>,
}

/// Which ring is explained.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExplainQuery {
    /// This ring only.
    ring: Option<RingName>,
}

/// Creates a release.
#[utoipa::path(post, path = "/v1/plans/{plan}/releases", tag = "releases",
    params(PlanPath, ActionHeaders), request_body = SubmitBody,
    responses((status = 201, body = Created, headers(("Location" = String))),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
pub async fn create(
    visit: Visit,
    At(PlanPath { plan }): At<PlanPath>,
    Body(body): Body<SubmitBody>,
) -> Result<Response, Problem> {
    let reach = visit.reach(&plan, None, None);
    visit.may(Verb::Go, &reach)?;
    let flag = visit.look(|world, _| is_flag(world, &plan));
    let artifact = sound(&body, flag).map_err(Problem::invalid)?;
    if body.author.as_deref().is_some_and(|author| visit.name().as_str() != author) {
        visit.may(Verb::Attribute, &reach)?;
    }
    let release = ReleaseId { plan, version: body.version.clone().into() };
    let action = submission(release.clone(), artifact, body);
    let in_flight = visit.ask(Verb::Go, reach, action).await?;
    Ok(created(release, in_flight))
}

/// What is asked for, once it is known to be sound.
pub(super) fn submission(release: ReleaseId, artifact: Artifact, body: SubmitBody) -> Action {
    Action::Submit {
        release,
        artifact,
        author: body.author.map(Principal::from),
        lane: body.lane,
        reason: body.reason,
        irreversible: body.irreversible,
        requires: body.requires.map(Version::from),
    }
}

/// That it was admitted, and where it is.
pub(super) fn created(release: ReleaseId, in_flight: Vec<IdempotencyKey>) -> Response {
    let place = format!("/v1/plans/{}/releases/{}", release.plan, release.version);
    let created = Json(Created { release, in_flight });
    (StatusCode::CREATED, [(header::LOCATION, place)], created).into_response()
}

/// Whether a plan's target is a feature flag, as far as that is known.
pub(super) fn is_flag(world: &World, plan: &PlanName) -> Option<bool> {
    let declared = world.plans.get(plan)?.declared.as_ref()?;
    Some(declared.target.kind.is_flag())
}

/// What a new release deploys, or everything that is wrong with it in the order of its body; `flag` as of
/// [`is_flag`].
pub(super) fn sound(body: &SubmitBody, flag: Option<bool>) -> Result<Artifact, Vec<Violation>> {
    let mut wrong = wrong(body);
    match artifact(&body.artifact, flag) {
        Ok(artifact) if wrong.is_empty() => Ok(artifact),
        Ok(_) => Err(wrong),
        Err(violation) => {
            let at = wrong.iter().take_while(|other| other.pointer == "/version").count();
            wrong.insert(at, violation);
            Err(wrong)
        }
    }
}

/// What is wrong with a new release besides its artifact.
fn wrong(body: &SubmitBody) -> Vec<Violation> {
    let violation =
        |pointer: &str, detail: &str| Violation { pointer: pointer.into(), detail: detail.into() };
    let mut found = Vec::new();
    if !is_version(&body.version) {
        found.push(violation("/version", extract::VERSION));
    }
    if body.requires.as_deref().is_some_and(|requires| !is_version(requires)) {
        found.push(violation("/requires", extract::VERSION));
    }
    if body.requires.as_ref() == Some(&body.version) {
        found.push(violation("/requires", "a release cannot require itself"));
    }
    if body.lane == Lane::Hotfix && body.reason.is_none() {
        found.push(violation("/reason", "the hotfix lane needs a reason"));
    }
    found.extend(wrong_text("/reason", body.reason.as_deref()));
    if body.author.as_deref().is_some_and(|name| !crate::show::auth::is_name(name)) {
        found.push(violation("/author", "a name has 1 to 100 letters, digits and . _ @ + -"));
    }
    found
}

/// What is deployed, or what is wrong with it.
fn artifact(body: &ArtifactBody, flag: Option<bool>) -> Result<Artifact, Violation> {
    let violation = |pointer: &str, detail: String| Violation { pointer: pointer.into(), detail };
    match (&body.image, &body.serve) {
        (Some(_), Some(_)) | (None, None) => {
            let detail = "say what is deployed by `image`, or of a feature flag by `serve`".into();
            Err(violation("/artifact", detail))
        }
        (Some(_), None) if flag == Some(true) => {
            let detail =
                "the plan's target is a feature flag: say by `serve` what it serves".into();
            Err(violation("/artifact/image", detail))
        }
        (None, Some(_)) if flag == Some(false) => {
            let detail = "the plan's target is no feature flag: give its `image`".into();
            Err(violation("/artifact/serve", detail))
        }
        (Some(image), None) => match wrong_image(image) {
            Some(detail) => Err(violation("/artifact/image", detail.into())),
            None => Ok(Artifact(image.clone())),
        },
        (None, Some(serve)) => match serve.parse::<Serve>() {
            Ok(serve) => Ok(Artifact(serve.to_string())),
            Err(why) => Err(violation("/artifact/serve", why.to_string())),
        },
    }
}

/// The releases, newest first.
#[utoipa::path(get, path = "/v1/releases", tag = "releases", params(ListQuery, ReadHeaders),
    responses((status = 200, body = Page<ReleaseSummary>),
        (status = 400, body = Problem, content_type = "application/problem+json")))]
pub async fn list(visit: Visit, Asked(query): Asked<ListQuery>) -> Result<Response, Problem> {
    visit.may(Verb::Read, &Reach::Common)?;
    let phase = query.phase.as_deref().map(str::parse::<ReleasePhase>).transpose();
    let phase = phase.map_err(|unknown| Problem::bad_request(unknown.to_string()))?;
    let size = query.page_size.unwrap_or(50);
    if !(1..=500).contains(&size) {
        return Err(Problem::bad_request("pageSize is 1 to 500"));
    }
    let from = query.page_token.as_deref().map(Cursor::read).transpose()?;
    let page = visit.look(|world, now| {
        let plans = world.plans.iter().filter(|(name, _)| {
            query.plan.as_ref().is_none_or(|plan| plan == *name) && visit.sees(world, name)
        });
        let mut all: Vec<(Cursor, &Release)> = plans
            .flat_map(|(_, state)| state.releases.values())
            .map(|release| (Cursor::of(release), release.as_ref()))
            .filter(|(at, _)| from.as_ref().is_none_or(|from| at < from))
            .filter(|(_, r)| phase.is_none_or(|phase| phase::of_release(world, r) == phase))
            .collect();
        all.sort_by(|(a, _), (b, _)| b.cmp(a));
        let more = all.len() > size;
        let shown = &all[..all.len().min(size)];
        let next = shown.last().filter(|_| more).map(|(cursor, _)| cursor.write());
        let items = shown.iter().map(|(_, r)| view::summary(world, r, now)).collect();
        Page { items, next_page_token: next }
    });
    Ok(visit.list(&page))
}

/// Where a page begins: behind the release that was admitted then.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Cursor {
    submitted: i64,
    release: ReleaseId,
}

impl Cursor {
    fn of(release: &Release) -> Self {
        let submitted = release.submitted.wall.as_millisecond();
        Self { submitted, release: release.id.clone() }
    }

    fn write(&self) -> String {
        hex(format!("{} {}", self.submitted, self.release).as_bytes())
    }

    fn read(token: &str) -> Result<Self, Problem> {
        let byte = |at: usize| u8::from_str_radix(token.get(at..at + 2)?, 16).ok();
        let bytes: Option<Vec<u8>> = (0..token.len()).step_by(2).map(byte).collect();
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        let read = text.as_deref().and_then(|text| {
            let (submitted, release) = text.split_once(' ')?;
            Some(Self { submitted: submitted.parse().ok()?, release: release.parse().ok()? })
        });
        read.ok_or_else(|| Problem::bad_request("pageToken is not one that a page before gave"))
    }
}

/// A release: the tree of its rings, with every hold.
#[utoipa::path(get, path = "/v1/plans/{plan}/releases/{version}", tag = "releases",
    params(ReleasePath, ReadHeaders),
    responses((status = 200, body = ReleaseView),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub async fn show(visit: Visit, At(path): At<ReleasePath>) -> Result<Response, Problem> {
    let id = path.id();
    let found = visit.look_at(&id.plan, |world, now| {
        world.release(&id).map(|release| view::release(world, release, now))
    })?;
    let found = found.ok_or_else(|| unknown_release(&id))?;
    // It grows older by itself, which is no change.
    Ok(visit.answer(Some(found.revision), &found, &found.timeless()))
}

/// Why a release is not further: every reason, and what would end each.
#[utoipa::path(get, path = "/v1/plans/{plan}/releases/{version}/explain", tag = "releases",
    params(ReleasePath, ExplainQuery, ReadHeaders),
    responses((status = 200, body = ExplainView),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub async fn explain(
    visit: Visit,
    At(path): At<ReleasePath>,
    Asked(ExplainQuery { ring }): Asked<ExplainQuery>,
) -> Result<Response, Problem> {
    let id = path.id();
    let found = visit.look_at(&id.plan, |world, now| {
        let release = world.release(&id).ok_or_else(|| unknown_release(&id))?;
        if let Some(ring) = ring.as_ref().filter(|ring| release.ring(ring).is_none()) {
            return Err(unknown_ring(&id, ring));
        }
        Ok(view::explain(world, release, ring.as_ref(), now))
    })??;
    Ok(visit.answer(None, &found, &found.timeless()))
}

/// Pauses a release everywhere.
#[utoipa::path(post, path = "/v1/plans/{plan}/releases/{version}/pause", tag = "releases",
    params(ReleasePath, ActionHeaders), request_body = Reason, responses(Answers))]
pub async fn pause(
    visit: Visit,
    At(path): At<ReleasePath>,
    Body(body): Body<Reason>,
) -> Result<Json<Done>, Problem> {
    let reach = visit.reach(&path.plan, Some(&path.version), None);
    let action = Action::Pause { scope: Scope::Release(path.id()), reason: body.checked()? };
    visit.done(Verb::Stop, reach, action).await
}

/// Takes a release's pause away.
#[utoipa::path(post, path = "/v1/plans/{plan}/releases/{version}/resume", tag = "releases",
    params(ReleasePath, ActionHeaders), request_body = Reason, responses(Answers))]
pub async fn resume(
    visit: Visit,
    At(path): At<ReleasePath>,
    Body(body): Body<Reason>,
) -> Result<Json<Done>, Problem> {
    let reach = visit.reach(&path.plan, Some(&path.version), None);
    let action = Action::Resume { scope: Scope::Release(path.id()), reason: body.checked()? };
    visit.done(Verb::Go, reach, action).await
}

/// Ends a release everywhere, for good.
#[utoipa::path(post, path = "/v1/plans/{plan}/releases/{version}/abort", tag = "releases",
    params(ReleasePath, ActionHeaders), request_body = AbortBody, responses(Answers))]
pub async fn abort(
    visit: Visit,
    At(path): At<ReleasePath>,
    Body(AbortBody { hold, reason }): Body<AbortBody>,
) -> Result<Json<Done>, Problem> {
    let reach = visit.reach(&path.plan, Some(&path.version), None);
    let reason = Reason { reason }.checked()?;
    visit.may(Verb::Stop, &reach)?;
    if !hold {
        unless_irreversible(&visit, &path.id(), reason.as_deref())?;
    }
    let action = Action::Abort { release: path.id(), hold, reason };
    visit.done(Verb::Stop, reach, action).await
}

/// Takes a release back: around the rings that failed and still have it as their policies say, and where
/// none did from every ring that has it.
#[utoipa::path(post, path = "/v1/plans/{plan}/releases/{version}/rollback", tag = "releases",
    params(ReleasePath, ActionHeaders), request_body = RollbackBody, responses(Answers))]
pub async fn rollback(
    visit: Visit,
    At(path): At<ReleasePath>,
    Body(body): Body<RollbackBody>,
) -> Result<Json<Done>, Problem> {
    let reach = visit.reach(&path.plan, Some(&path.version), None);
    let (release, scope) = (path.id(), body.scope);
    let reason = Reason { reason: body.reason }.checked()?;
    visit.may(Verb::Go, &reach)?;
    unless_irreversible(&visit, &release, reason.as_deref())?;
    let action = Action::Rollback { release, ring: None, scope, reason };
    visit.done(Verb::Go, reach, action).await
}

/// What cannot be taken back lightly is not taken back without a word of why.
pub(super) fn unless_irreversible(
    visit: &Visit,
    id: &ReleaseId,
    reason: Option<&str>,
) -> Result<(), Problem> {
    let irreversible = visit.look(|world, _| world.release(id).is_some_and(|r| r.irreversible));
    if !irreversible || reason.is_some() {
        return Ok(());
    }
    let detail = format!("{id} is irreversible: say why it goes back all the same");
    Err(Problem::invalid(vec![Violation { pointer: "/reason".into(), detail }]))
}

/// A new attempt on every ring that failed or was rolled back.
#[utoipa::path(post, path = "/v1/plans/{plan}/releases/{version}/retry", tag = "releases",
    params(ReleasePath, ActionHeaders), request_body = Reason, responses(Answers))]
pub async fn retry(
    visit: Visit,
    At(path): At<ReleasePath>,
    Body(body): Body<Reason>,
) -> Result<Json<Done>, Problem> {
    let reach = visit.reach(&path.plan, Some(&path.version), None);
    let action = Action::Retry { release: path.id(), ring: None, reason: body.checked()? };
    visit.done(Verb::Go, reach, action).await
}

/// What somebody answers for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WriteOffBody {
    /// On this ring; on all where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ring: Option<RingName>,
    /// Why that is good enough.
    pub reason: String,
}

/// Answers for what a hotfix did without, instead of making up for it.
#[utoipa::path(post, path = "/v1/plans/{plan}/releases/{version}/write-off", tag = "releases",
    params(ReleasePath, ActionHeaders), request_body = WriteOffBody, responses(Answers))]
pub async fn write_off(
    visit: Visit,
    At(path): At<ReleasePath>,
    Body(WriteOffBody { ring, reason }): Body<WriteOffBody>,
) -> Result<Json<Done>, Problem> {
    let reach = visit.reach(&path.plan, Some(&path.version), ring.as_ref());
    let wrong: Vec<_> = wrong_text("/reason", Some(&reason)).into_iter().collect();
    if !wrong.is_empty() {
        return Err(Problem::invalid(wrong));
    }
    let action = Action::WriteOff { release: path.id(), ring, reason };
    visit.done(Verb::Go, reach, action).await
}

/// What hotfixes did without, and was not made up for yet.
#[utoipa::path(get, path = "/v1/debts", tag = "releases", params(ReadHeaders),
    responses((status = 200, body = Page<DebtView>)))]
pub async fn debts(visit: Visit) -> Result<Response, Problem> {
    visit.may(Verb::Read, &Reach::Common)?;
    let debts = visit.look(|world, _| view::debts(world, |plan| visit.sees(world, plan)));
    Ok(visit.list(&Page::whole(debts)))
}

pub(super) fn unknown_release(id: &ReleaseId) -> Problem {
    let detail = format!("there is no release {id}; GET /v1/releases lists them");
    Problem::unknown("unknown-release", detail)
}

pub(super) fn unknown_ring(id: &ReleaseId, ring: &RingName) -> Problem {
    Problem::unknown("unknown-ring", format!("{id} has no ring {ring}"))
}
