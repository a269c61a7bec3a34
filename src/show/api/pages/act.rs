//! What is asked for on a page: first what would happen, in words; then, by a word more, that it happens.
//!
//! Architecture invariant: nothing is asked of the core here. Each deed goes to the API's handler of the
//! same thing, with the same conditions, so that a page can do no more than the API and no less.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Redirect, Response},
};
use jiff::{civil::DateTime, tz::TimeZone};

use super::{
    super::{
        AbortBody, Api, ArtifactBody, Done, FreezeBody, Nothing, Reason, RollbackBody, StopBody,
        SubmitBody, WaiverBody, WriteOffBody,
        caller::Visit,
        extract::{
            At, Body, FreezePath, PlanPath, ReleasePath, ReleaseRingPath, RingPath, WaiverPath,
            is_version,
        },
        line, plans,
        problem::{Problem, Violation},
        releases, rings, waivers,
    },
    Guest, mint, offers,
    question::{Look, NAMED},
    read_form,
};
use crate::{
    decide::{
        command::Lane,
        event::Scope,
        world::{PlanState, World},
    },
    ids::{IdempotencyKey, PlanName, ReleaseId, RingName, Version, is_label},
    model::policy::RollbackScope,
    show::{
        dashboard::{
            Place,
            confirm::{self, Bound, Question},
            deed::{Asked, Deed, Form},
        },
        view::ScopeView,
    },
};

/// How often what was seen is looked at again, where the plan changes in between.
const TRIES: u32 = 5;

/// Says what would happen.
pub async fn confirm(
    State(api): State<Arc<Api>>,
    guest: Guest,
    headers: HeaderMap,
    form: String,
) -> Result<Response, Response> {
    let (deed, form) = asked(&guest, &headers, &form)?;
    let question = ask(&guest, deed, &mint(&api))?;
    Ok(page(&guest, StatusCode::OK, &question, &form))
}

/// Does it, unless what was seen is no longer so.
pub async fn act(guest: Guest, headers: HeaderMap, form: String) -> Result<Response, Response> {
    let (deed, form) = asked(&guest, &headers, &form)?;
    let given = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let key: String = given("key").chars().filter(char::is_ascii_alphanumeric).take(64).collect();
    let seen = Bound::read(given("seen"));
    let mut question = ask(&guest, deed.clone(), &key)?;
    if deed.reason() == Asked::Must && reason(&form).is_none() {
        question.put_wrong("reason", "Say why: a reason is asked for.".into());
        return Ok(page(&guest, StatusCode::UNPROCESSABLE_ENTITY, &question, &form));
    }
    for n in 0..TRIES {
        // A repeat is answered as the first was, whatever that has changed since.
        let key = if n == 0 { key.clone() } else { format!("{key}-{n}") };
        let (revision, repeat) = guest.visit.look(|world, _| {
            let own = IdempotencyKey::from(format!("{}/{key}", guest.visit.name()));
            (revision(world, &deed), world.answers.get(&own).is_some())
        });
        question = ask(&guest, deed.clone(), &key)?;
        let changed = question.bound.changed_since(&seen);
        if !changed.is_empty() && !repeat {
            question.changed = changed;
            return Ok(page(&guest, StatusCode::PRECONDITION_FAILED, &question, &form));
        }
        match perform(&guest.visit.under(conditions(&key, revision)), &deed, &form).await {
            Ok(Json(Done { in_flight })) => {
                let notice = notice(&deed, &form, &in_flight);
                guest.visit.api.sessions.notice(&guest.cookie, Some(notice));
                return Ok(Redirect::to(&deed.page_after(&form)).into_response());
            }
            Err(problem) if problem.name() == "stale-state" => {}
            Err(problem) if !problem.violations.is_empty() => {
                for Violation { pointer, detail } in problem.violations {
                    question.put_wrong(pointer.rsplit('/').next().unwrap_or_default(), detail);
                }
                return Ok(page(&guest, StatusCode::UNPROCESSABLE_ENTITY, &question, &form));
            }
            // What was filled in is not lost where it can be mended.
            Err(problem)
                if matches!(deed, Deed::Create(_) | Deed::AskWaiver(..))
                    && [409, 422].contains(&problem.status) =>
            {
                let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::CONFLICT);
                question.wrong = vec![problem.detail];
                return Ok(page(&guest, status, &question, &form));
            }
            Err(problem) => return Err(guest.trouble(&problem, &deed.page())),
        }
    }
    let detail = "it changes too fast to be sure of what was seen; nothing was done: try again";
    Err(guest.trouble(&Problem::stale(detail), &deed.page()))
}

/// The deed that a form of one of the session's own pages asks for.
fn asked(guest: &Guest, headers: &HeaderMap, form: &str) -> Result<(Deed, Form), Response> {
    let form = read_form(form);
    guest.own(headers, &form)?;
    match Deed::read(&form, is_label, is_version) {
        Some(deed) => Ok((deed, form)),
        None => {
            let detail = "the form asks for nothing that can be done";
            Err(guest.trouble(&Problem::bad_request(detail), "/"))
        }
    }
}

fn ask(guest: &Guest, deed: Deed, key: &str) -> Result<Question, Response> {
    let back = deed.page();
    let visit = &guest.visit;
    let question = visit.look(|world, now| {
        let denied = offers::offer(visit, world, deed.clone()).denied;
        match denied {
            Some(why) => Err(Problem::new(StatusCode::FORBIDDEN, "not-authorised", why)),
            None => Look { world, now }.question(deed, key),
        }
    });
    question.map_err(|problem| guest.trouble(&problem, &back))
}

fn page(guest: &Guest, status: StatusCode, question: &Question, form: &Form) -> Response {
    let title = format!("{} {}", question.deed.label(), question.deed.about());
    let main = confirm::page(question, &guest.viewer.csrf, form);
    guest.page_as(status, (Place::Elsewhere, &title, false), &main)
}

fn reason(form: &Form) -> Option<String> {
    let text = form.get("reason")?.replace("\r\n", "\n");
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// As a program would set them.
fn conditions(key: &str, revision: Option<u64>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.extend(
        HeaderValue::from_str(key)
            .ok()
            .map(|key| (Some(header::HeaderName::from_static("idempotency-key")), key)),
    );
    let tag = revision.and_then(|seen| HeaderValue::from_str(&format!("\"{seen}.page\"")).ok());
    headers.extend(tag.map(|tag| (Some(header::IF_MATCH), tag)));
    headers
}

/// The revision of the plan that a deed is about.
fn revision(world: &World, deed: &Deed) -> Option<u64> {
    let of = |plan| world.plans.get(plan).map(|state: &Arc<PlanState>| state.revision);
    match deed {
        Deed::Pause(scope) | Deed::Resume(scope) | Deed::Freeze(scope) => match scope {
            // To stop waits for nothing.
            Scope::Everything
            | Scope::Jurisdiction(_)
            | Scope::Plan(_)
            | Scope::Ring(..)
            | Scope::Release(_)
            | Scope::ReleaseRing(..) => None,
        },
        // What it is bound to, it is held against once more: a plan that moves need not be caught standing still.
        Deed::Create(_) | Deed::AskWaiver(..) => None,
        Deed::Approve(id, _) | Deed::Reject(id, _) | Deed::Advance(id, _) => of(&id.plan),
        Deed::Retry(id, _) | Deed::Rollback(id, _) | Deed::Abort(id) | Deed::WriteOff(id, _) => {
            of(&id.plan)
        }
        Deed::ApproveWaiver(plan, _) | Deed::RevokeWaiver(plan, _) => of(plan),
        Deed::Lift(_) => None,
    }
}

/// Asks for it by the API's own handler.
async fn perform(visit: &Visit, deed: &Deed, form: &Form) -> Result<Json<Done>, Problem> {
    let visit = visit.under(visit.headers().clone());
    let reason = reason(form);
    let why = || Body(Reason { reason: reason.clone() });
    let plan = |plan: &PlanName| At(PlanPath { plan: plan.clone() });
    let ring =
        |plan: &PlanName, ring: &RingName| At(RingPath { plan: plan.clone(), ring: ring.clone() });
    let release =
        |id: &ReleaseId| At(ReleasePath { plan: id.plan.clone(), version: id.version.clone() });
    let on = |id: &ReleaseId, ring: &RingName| {
        let (plan, version) = (id.plan.clone(), id.version.clone());
        At(ReleaseRingPath { plan, version, ring: ring.clone() })
    };
    let stop = |place: Option<&crate::ids::Jurisdiction>| {
        Body(StopBody {
            everything: place.is_none(),
            jurisdiction: place.cloned(),
            reason: reason.clone(),
        })
    };
    match deed {
        Deed::Pause(scope) => match scope {
            Scope::Everything => line::pause(visit, stop(None)).await,
            Scope::Jurisdiction(place) => line::pause(visit, stop(Some(place))).await,
            Scope::Plan(name) => plans::pause(visit, plan(name), why()).await,
            Scope::Ring(name, of) => plans::pause_ring(visit, ring(name, of), why()).await,
            Scope::Release(id) => releases::pause(visit, release(id), why()).await,
            Scope::ReleaseRing(id, ring) => rings::pause(visit, on(id, ring), why()).await,
        },
        Deed::Resume(scope) => match scope {
            Scope::Everything => line::resume(visit, stop(None)).await,
            Scope::Jurisdiction(place) => line::resume(visit, stop(Some(place))).await,
            Scope::Plan(name) => plans::resume(visit, plan(name), why()).await,
            Scope::Ring(name, of) => plans::resume_ring(visit, ring(name, of), why()).await,
            Scope::Release(id) => releases::resume(visit, release(id), why()).await,
            Scope::ReleaseRing(id, ring) => rings::resume(visit, on(id, ring), why()).await,
        },
        Deed::Create(name) => {
            let body = Body(SubmitBody {
                version: text(form, "version").unwrap_or_default(),
                artifact: ArtifactBody { image: text(form, "image"), serve: text(form, "serve") },
                lane: match text(form, "lane").as_deref() {
                    Some("hotfix") => Lane::Hotfix,
                    Some(_) | None => Lane::Normal,
                },
                reason,
                irreversible: text(form, "irreversible").is_some(),
                requires: text(form, "requires"),
                author: None,
            });
            releases::create(visit, plan(name), body).await.map(|_| created())
        }
        Deed::AskWaiver(name, rule, policy) => {
            let lasting = text(form, "for").and_then(|lasting| lasting.parse().ok());
            let body = Body(WaiverBody {
                rule: rule.clone(),
                policy: policy.clone(),
                release: text(form, "release").map(Version::from),
                ring: text(form, "ring").map(RingName::from),
                until: None,
                lasting,
                reason: reason.unwrap_or_default(),
            });
            waivers::ask(visit, plan(name), body).await.map(|_| created())
        }
        Deed::Approve(id, ring) => rings::approve(visit, on(id, ring), why()).await,
        Deed::Reject(id, ring) => rings::reject(visit, on(id, ring), why()).await,
        Deed::Advance(id, ring) => rings::advance(visit, on(id, ring), why()).await,
        Deed::Retry(id, Some(ring)) => rings::retry(visit, on(id, ring), why()).await,
        Deed::Retry(id, None) => releases::retry(visit, release(id), why()).await,
        Deed::Rollback(id, of) => {
            let scope = rollback_scope(form)?;
            let body = Body(RollbackBody { scope, reason: reason.clone() });
            match of {
                Some(ring) => rings::rollback(visit, on(id, ring), body).await,
                None => releases::rollback(visit, release(id), body).await,
            }
        }
        Deed::Abort(id) => {
            let hold = form.get("hold").is_some_and(|hold| !hold.is_empty());
            releases::abort(visit, release(id), Body(AbortBody { hold, reason })).await
        }
        Deed::WriteOff(id, ring) => {
            let (ring, reason) = (Some(ring.clone()), reason.unwrap_or_default());
            releases::write_off(visit, release(id), Body(WriteOffBody { ring, reason })).await
        }
        Deed::Freeze(scope) => {
            let body = FreezeBody {
                scope: ScopeView::of(scope),
                until: until(form)?,
                lasting: None,
                reason: reason.unwrap_or_default(),
            };
            let frozen = line::freeze_line(&visit, body).await?;
            Ok(Json(Done { in_flight: frozen.in_flight }))
        }
        Deed::Lift(id) => line::lift(visit, At(FreezePath { id: id.clone() })).await,
        Deed::ApproveWaiver(plan, id) => {
            let path = At(WaiverPath { plan: plan.clone(), id: id.clone() });
            waivers::approve(visit, path, Body(Nothing {})).await
        }
        Deed::RevokeWaiver(plan, id) => {
            let path = At(WaiverPath { plan: plan.clone(), id: id.clone() });
            waivers::revoke(visit, path, why()).await
        }
    }
}

/// What was filled in, if something was.
fn text(form: &Form, name: &str) -> Option<String> {
    let text = form.get(name)?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn created() -> Json<Done> {
    Json(Done { in_flight: Vec::new() })
}

fn invalid(pointer: &str, detail: &str) -> Problem {
    Problem::invalid(vec![Violation { pointer: pointer.into(), detail: detail.into() }])
}

fn rollback_scope(form: &Form) -> Result<Option<RollbackScope>, Problem> {
    let Some(text) = form.get("scope").filter(|text| !text.is_empty()) else { return Ok(None) };
    let scope = serde_json::from_value(serde_json::Value::String(text.clone()));
    scope.map(Some).map_err(|_| invalid("/scope", "choose what goes back with it"))
}

/// `datetime-local` has no zone: the page says that it is UTC.
fn until(form: &Form) -> Result<Option<jiff::Timestamp>, Problem> {
    let Some(text) = form.get("until").filter(|text| !text.is_empty()) else { return Ok(None) };
    let read = text.parse::<DateTime>().and_then(|at| at.to_zoned(TimeZone::UTC));
    let read =
        read.map_err(|_| invalid("/until", "give a day and a time, in UTC, or leave it empty"));
    read.map(|at| Some(at.timestamp()))
}

/// What was done, to be read on the next page.
fn notice(deed: &Deed, form: &Form, in_flight: &[IdempotencyKey]) -> String {
    let about = match deed {
        Deed::Create(plan) => {
            format!("{plan}@{}", text(form, "version").unwrap_or_default())
        }
        Deed::AskWaiver(..) => format!("a waiver {}", deed.about()),
        Deed::Pause(_)
        | Deed::Resume(_)
        | Deed::Approve(..)
        | Deed::Reject(..)
        | Deed::Advance(..)
        | Deed::Retry(..)
        | Deed::Rollback(..)
        | Deed::Abort(_)
        | Deed::WriteOff(..)
        | Deed::Freeze(_)
        | Deed::Lift(_)
        | Deed::ApproveWaiver(..)
        | Deed::RevokeWaiver(..) => deed.about(),
    };
    let done = match deed {
        Deed::Create(_) => "is created",
        Deed::AskWaiver(..) => "is asked for, and two must agree",
        Deed::Pause(_) => "is paused",
        Deed::Resume(_) => "is resumed",
        Deed::Approve(..) | Deed::ApproveWaiver(..) => "is approved by you",
        Deed::Reject(..) => "is rejected",
        Deed::Advance(..) => "may go on there",
        Deed::Retry(..) => "is tried again",
        Deed::Rollback(..) => "goes back",
        Deed::Abort(_) => "is aborted, for good",
        Deed::WriteOff(..) => "is written off, and you answer for it",
        Deed::Freeze(_) => "is frozen",
        Deed::Lift(_) => "is lifted",
        Deed::RevokeWaiver(..) => "is revoked",
    };
    let flying = match in_flight {
        [] => String::new(),
        keys => {
            let named: Vec<String> =
                keys.iter().take(NAMED).map(|key| format!("`{key}`")).collect();
            format!(" On its way already, and not to be called back: {}.", named.join(", "))
        }
    };
    format!("{about} {done}; it is on record.{flying}")
}
