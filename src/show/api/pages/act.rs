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
        AbortBody, Api, Done, FreezeBody, Nothing, Reason, RollbackBody, StopBody,
        caller::Visit,
        extract::{
            At, Body, FreezePath, PlanPath, ReleasePath, ReleaseRingPath, RingPath, WaiverPath,
            is_label, is_version,
        },
        line, plans,
        problem::{Problem, Violation},
        releases, rings, waivers,
    },
    Guest, mint, offers, read_form,
};
use crate::{
    decide::{
        command::Command,
        event::Scope,
        phase,
        waiting::{approvals_that_count, binding, covers},
        world::{Phase, PlanState, Release, World},
    },
    ids::{IdempotencyKey, ReleaseId, RingName},
    model::{policy::RollbackScope, ring::Ring, time::Now},
    show::{
        dashboard::{
            Place,
            confirm::{self, Bound, Choice, Question},
            deed::{Asked, Deed, Form},
        },
        view::ScopeView,
        words,
    },
};

/// How often what was seen is looked at again, where the plan changes in between.
const TRIES: u32 = 5;

/// Rings and effects that are named one by one; more are counted.
const NAMED: usize = 12;

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
    if let Some(wrong) = wrong(&deed, &form) {
        question.wrong = wrong;
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
                let notice = notice(&deed, &in_flight);
                guest.visit.api.sessions.notice(&guest.cookie, Some(notice));
                return Ok(Redirect::to(&deed.page()).into_response());
            }
            Err(problem) if problem.name() == "stale-state" => {}
            Err(problem) if !problem.violations.is_empty() => {
                let wrong = problem.violations.into_iter();
                question.wrong = wrong.map(|v| v.detail).collect();
                return Ok(page(&guest, StatusCode::UNPROCESSABLE_ENTITY, &question, &form));
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

/// What is wrong with what was filled in, if something is.
fn wrong(deed: &Deed, form: &Form) -> Option<Vec<String>> {
    let reason = reason(form);
    match (deed.reason(), reason) {
        (Asked::Must, None) => Some(vec!["Say why: a reason is asked for.".into()]),
        (Asked::Must | Asked::May | Asked::Not, _) => None,
    }
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
        Deed::Approve(id, _) | Deed::Reject(id, _) | Deed::Advance(id, _) => of(&id.plan),
        Deed::Retry(id, _) | Deed::Rollback(id, _) | Deed::Abort(id) => of(&id.plan),
        Deed::ApproveWaiver(plan, _) | Deed::RevokeWaiver(plan, _) => of(plan),
        Deed::Lift(_) => None,
    }
}

/// Asks for it by the API's own handler.
async fn perform(visit: &Visit, deed: &Deed, form: &Form) -> Result<Json<Done>, Problem> {
    let visit = visit.under(visit.headers().clone());
    let reason = reason(form);
    let why = || Body(Reason { reason: reason.clone() });
    let plan = |plan: &crate::ids::PlanName| At(PlanPath { plan: plan.clone() });
    let ring = |plan: &crate::ids::PlanName, ring: &RingName| {
        At(RingPath { plan: plan.clone(), ring: ring.clone() })
    };
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
        Deed::Approve(id, ring) => rings::approve(visit, on(id, ring), Body(Nothing {})).await,
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
        Deed::Freeze(scope) => {
            let body = FreezeBody {
                scope: ScopeView::of(scope),
                until: until(form)?,
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
fn notice(deed: &Deed, in_flight: &[IdempotencyKey]) -> String {
    let done = match deed {
        Deed::Pause(_) => "is paused",
        Deed::Resume(_) => "is resumed",
        Deed::Approve(..) | Deed::ApproveWaiver(..) => "is approved by you",
        Deed::Reject(..) => "is rejected",
        Deed::Advance(..) => "may take the ring",
        Deed::Retry(..) => "is tried again",
        Deed::Rollback(..) => "goes back",
        Deed::Abort(_) => "is aborted, for good",
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
    format!("{} {done}; it is on record.{flying}", deed.about())
}

/// What there is to say before something is done.
struct Look<'a> {
    world: &'a World,
    now: Now,
}

impl Look<'_> {
    fn question(&self, deed: Deed, key: &str) -> Result<Question, Problem> {
        let mut question = Question {
            deed: deed.clone(),
            will: Vec::new(),
            in_flight: Vec::new(),
            bound: Bound::default(),
            choices: Vec::new(),
            wrong: Vec::new(),
            changed: Vec::new(),
            key: key.to_owned(),
        };
        match &deed {
            Deed::Pause(scope) => self.pause(scope, &mut question),
            Deed::Freeze(scope) => {
                self.freeze(scope, &mut question);
                question.choices.push(Choice::Until);
            }
            Deed::Resume(scope) => self.resume(scope, &mut question),
            Deed::Lift(id) => {
                let freeze = self.world.shared.freezes.get(id);
                let freeze = freeze.ok_or_else(|| {
                    Problem::unknown("unknown-freeze", format!("there is no freeze {id} any more"))
                })?;
                let covered = words::covered(&freeze.scope);
                let held = self.covered(&freeze.scope);
                question.will = vec![
                    format!("The freeze of {covered} ends, and what it held goes on at once."),
                    on_rings(&held, "is covered by it", "are covered by it"),
                ];
                question.bound.0 = vec![
                    ("frozen".into(), covered),
                    ("by".into(), freeze.said.by.name.to_string()),
                    ("since".into(), freeze.said.at.wall.to_string()),
                ];
            }
            Deed::Approve(id, ring) | Deed::Reject(id, ring) => {
                self.agree(&deed, id, ring, &mut question)?;
            }
            Deed::Advance(id, ring) => {
                let (release, _) = self.on(id, ring)?;
                question.will = vec![format!(
                    "{id} takes {ring} as soon as nothing else holds it; an older release in motion there \
                     is superseded."
                )];
                question.bound = self.courses(release, std::slice::from_ref(ring));
            }
            Deed::Retry(id, ring) => self.retry(id, ring.as_ref(), &mut question)?,
            Deed::Rollback(id, ring) => self.rollback(id, ring.as_ref(), &mut question)?,
            Deed::Abort(id) => self.abort(id, &mut question)?,
            Deed::ApproveWaiver(plan, id) | Deed::RevokeWaiver(plan, id) => {
                let run = self.world.plans.get(plan).and_then(|state| state.waivers.get(id));
                let run = run.ok_or_else(|| {
                    Problem::unknown("unknown-waiver", format!("plan {plan} has no waiver {id}"))
                })?;
                let covers = words::waived(plan, &run.waiver);
                let until = words::utc(run.waiver.until, self.now);
                question.will = if let Deed::RevokeWaiver(..) = deed {
                    vec![format!(
                        "Rule {} binds {covers} again at once; what it holds stands still.",
                        run.waiver.rule
                    )]
                } else {
                    vec![
                        format!("You agree that rule {} does not bind {covers} until {until}.", run.waiver.rule),
                        "It is in force when two have agreed, neither of whom asked for it or made the \
                         release."
                            .into(),
                    ]
                };
                question.bound.0 = vec![
                    ("rule".into(), run.waiver.rule.clone()),
                    ("for".into(), covers),
                    ("until".into(), until),
                    ("asked for by".into(), run.said.by.name.to_string()),
                    ("content of the rule".into(), run.waiver.content.to_string()),
                ];
            }
        }
        question.will.retain(|line| !line.is_empty());
        Ok(question)
    }

    fn release(&self, id: &ReleaseId) -> Result<&Release, Problem> {
        self.world.release(id).map(Arc::as_ref).ok_or_else(|| releases::unknown_release(id))
    }

    fn on(&self, id: &ReleaseId, ring: &RingName) -> Result<(&Release, &Ring), Problem> {
        let release = self.release(id)?;
        let declared = release.plan.ring(ring).filter(|_| release.ring(ring).is_some());
        let declared = declared.ok_or_else(|| releases::unknown_ring(id, ring))?;
        Ok((release, declared))
    }

    /// The rings that a scope covers, of releases that are not over.
    fn covered(&self, scope: &Scope) -> Vec<String> {
        let none = Default::default();
        let states = self.world.plans.values();
        let open = states.flat_map(|state| state.in_order()).filter(|r| !phase::is_settled(r));
        let rings =
            open.flat_map(|release| release.plan.rings.iter().map(move |ring| (release, ring)));
        let covered = rings.filter(|(release, ring)| {
            let run = release.ring(&ring.name);
            let open = run.is_some_and(|run| {
                matches!(run.phase, Phase::Waiting | Phase::Deploying | Phase::Soaking)
            });
            open && covers(&self.world.shared.blocs, scope, &none, release, ring)
        });
        covered
            .map(|(release, ring)| {
                let phase = phase::of_ring(self.world, release, &ring.name, self.now);
                format!("{} on {} ({phase})", release.id, ring.name)
            })
            .collect()
    }

    /// Deploys of the scope that are on their way: a stop does not reach them.
    fn flying(&self, scope: &Scope) -> Vec<String> {
        let none = Default::default();
        let out = self.world.plans.values().flat_map(|state| {
            state.in_flight.values().filter_map(|command| match command.as_ref() {
                Command::Deploy(write) => {
                    let release = state.releases.get(&write.release.version)?;
                    let ring = release.plan.ring(&write.ring)?;
                    covers(&self.world.shared.blocs, scope, &none, release, ring)
                        .then(|| write.key.to_string())
                }
                Command::Restore(_) | Command::Measure(_) => None,
            })
        });
        out.take(NAMED).collect()
    }

    fn pause(&self, scope: &Scope, question: &mut Question) {
        let covered = words::covered(scope);
        question.will = vec![
            format!("Nothing new is deployed for {covered} until somebody resumes it."),
            "Soak stands still: paused time does not count, and what is credited stays.".into(),
            "Gates are measured on, and a breach still takes a ring back.".into(),
            on_rings(&self.covered(scope), "is held by it", "are held by it"),
        ];
        question.in_flight = self.flying(scope);
    }

    fn freeze(&self, scope: &Scope, question: &mut Question) {
        let covered = words::covered(scope);
        question.will = vec![
            format!(
                "The line stops for {covered}: no ring starts, until the time is over or somebody lifts it."
            ),
            "Rings that go back go on going back.".into(),
            on_rings(&self.covered(scope), "is covered by it", "are covered by it"),
        ];
        question.in_flight = self.flying(scope);
    }

    fn resume(&self, scope: &Scope, question: &mut Question) {
        let covered = words::covered(scope);
        question.will = vec![
            format!(
                "What the pause of {covered} held goes on at once; soak goes on from where it stood."
            ),
            "Other pauses, freezes and holds stay.".into(),
            on_rings(&self.covered(scope), "is covered by it", "are covered by it"),
        ];
        question.bound.0 = match self.world.shared.pauses.get(scope) {
            None => vec![("pause".into(), "there is none".into())],
            Some(pause) => vec![
                ("paused".into(), covered),
                ("by".into(), pause.said.by.name.to_string()),
                ("since".into(), pause.said.at.wall.to_string()),
            ],
        };
    }

    fn agree(
        &self,
        deed: &Deed,
        id: &ReleaseId,
        ring: &RingName,
        question: &mut Question,
    ) -> Result<(), Problem> {
        let (release, declared) = self.on(id, ring)?;
        let Some((run, needed)) = release.ring(ring).zip(declared.policy.approvals.as_ref()) else {
            let detail = format!("ring {ring} needs no approval");
            return Err(Problem::new(StatusCode::CONFLICT, "nothing-to-do", detail));
        };
        let bound = binding(release, declared, run);
        let given = approvals_that_count(release, declared, run, needed, self.now);
        if matches!(deed, Deed::Reject(..)) {
            question.will = vec![format!(
                "{id} does not start on {ring}: the ring fails there, and needs a new attempt (`ringward \
                 retry {id} --ring {ring}`)."
            )];
        } else {
            let enough = given.len() + 1 >= needed.count as usize;
            let others = crate::decide::waiting::waiting_on(self.world, release, ring, self.now);
            let others: Vec<String> = others
                .iter()
                .filter(|w| !matches!(w, crate::decide::waiting::WaitingOn::Approval { .. }))
                .map(|w| words::of(w, self.world, release, ring, self.now).message)
                .collect();
            let then = match (enough, others.as_slice()) {
                (false, _) => format!(
                    "It is approval {} of {}: more are needed.",
                    given.len() + 1,
                    needed.count
                ),
                (true, []) => format!(
                    "It is the last that is needed, and nothing else holds it: {ring} starts at once."
                ),
                (true, others) => format!(
                    "It is the last that is needed; {ring} starts once this is over too: {}.",
                    others.join("; ")
                ),
            };
            let expires = needed.expires.map(|span| {
                format!("It is good for {span}, for one attempt, and is void if anything that it is bound to changes.")
            });
            question.will = vec![
                format!("You agree that {id} enters {ring}."),
                then,
                expires.unwrap_or_else(|| {
                    "It is good for one attempt, and void if anything that it is bound to changes.".into()
                }),
            ];
        }
        let clusters: Vec<&str> = bound.clusters.iter().map(|c| c.as_str()).collect();
        question.bound.0 = vec![
            ("image".into(), bound.artifact.to_string()),
            ("policy".into(), bound.policy.to_string()),
            ("ring".into(), ring.to_string()),
            ("clusters".into(), clusters.join(", ")),
            ("attempt".into(), bound.attempt.to_string()),
        ];
        Ok(())
    }

    fn retry(
        &self,
        id: &ReleaseId,
        ring: Option<&RingName>,
        question: &mut Question,
    ) -> Result<(), Problem> {
        let release = self.release(id)?;
        let over = |phase: Phase| matches!(phase, Phase::Failed | Phase::RolledBack);
        let rings = rings_in(release, ring, over);
        question.will = vec![
            match rings.as_slice() {
                [] => "No ring of it has failed or was rolled back: there is nothing to try again."
                    .into(),
                rings => format!(
                    "A new attempt on {}: it starts once nothing holds it, and soaks from zero.",
                    joined(rings)
                ),
            },
            "Approvals of the attempt before do not count.".into(),
        ];
        question.bound = self.courses(release, &rings);
        Ok(())
    }

    fn rollback(
        &self,
        id: &ReleaseId,
        ring: Option<&RingName>,
        question: &mut Question,
    ) -> Result<(), Problem> {
        let release = self.release(id)?;
        let has = |phase: Phase| {
            matches!(phase, Phase::Deploying | Phase::Soaking | Phase::Passed | Phase::Failed)
        };
        let failed = rings_in(release, ring, |phase| phase == Phase::Failed);
        let all = rings_in(release, ring, has);
        let rings = if ring.is_none() && !failed.is_empty() { &failed } else { &all };
        question.will = vec![match rings.as_slice() {
            [] => "It is out on no such ring: there is nothing to take back.".into(),
            rings => format!("{} goes back on {}.", id, joined(rings)),
        }];
        question.will.extend(self.ways_back(release, rings));
        question.will.push(
            "It never comes again there by itself: somebody has to retry it by name. What goes back at an \
             operator's word waits for no limit."
                .into(),
        );
        if release.irreversible {
            question
                .will
                .push(format!("{id} is irreversible: it is your word alone that takes it back."));
        }
        if ring.is_some() {
            question.choices.push(Choice::One {
                name: "scope",
                label: "What goes back with it",
                of: vec![
                    ("", "This ring alone"),
                    ("descendants", "The rings that come after it too"),
                    ("jurisdiction", "The rings that share a jurisdiction with it too"),
                    ("exposed", "Every ring that has it"),
                ],
            });
        }
        question.bound = self.courses(release, &all);
        Ok(())
    }

    /// Where each cluster of the rings goes back to.
    fn ways_back(&self, release: &Release, rings: &[RingName]) -> Vec<String> {
        let state = self.world.plans.get(&release.id.plan);
        let declared = rings.iter().filter_map(|name| release.plan.ring(name));
        let clusters = declared.flat_map(|ring| &ring.clusters).take(NAMED);
        clusters
            .map(|cluster| {
                let target = state.and_then(|state| state.targets.get(&cluster.name));
                match target.and_then(|target| target.back_from(&release.artifact)) {
                    Some(good) => {
                        let version = good.version.as_ref().map_or_else(
                            || good.artifact.to_string(),
                            |version| version.to_string(),
                        );
                        format!("{} goes back to {version}, its last known good.", cluster.name)
                    }
                    None => format!("{} has no known good: it cannot be taken back, and will be named as stuck.", cluster.name),
                }
            })
            .collect()
    }

    fn abort(&self, id: &ReleaseId, question: &mut Question) -> Result<(), Problem> {
        let release = self.release(id)?;
        let rings = |phases: fn(Phase) -> bool| rings_in(release, None, phases);
        let moving = rings(|phase| matches!(phase, Phase::Deploying | Phase::Soaking));
        let passed = rings(|phase| phase == Phase::Passed);
        let waiting = rings(|phase| phase == Phase::Waiting);
        question.will = vec![
            format!("{id} ends everywhere, for good: it never goes forward again, on any ring."),
            match moving.as_slice() {
                [] => "No ring is in motion with it.".into(),
                rings => format!(
                    "In motion: {}. What is in motion goes back to each cluster's last known good, unless \
                     you say below that it stays.",
                    joined(rings)
                ),
            },
            match passed.as_slice() {
                [] => String::new(),
                rings => format!(
                    "Passed: {}. Those keep it; roll them back if they should not.",
                    joined(rings)
                ),
            },
            match waiting.as_slice() {
                [] => String::new(),
                rings => format!("Not started: {}. Those never start.", joined(rings)),
            },
        ];
        question.choices.push(Choice::Box {
            name: "hold",
            label: "Leave rings in motion as they are, instead of taking them back",
        });
        let every: Vec<RingName> = release.plan.graph.order().to_vec();
        question.bound = self.courses(release, &every);
        question.in_flight = self.flying(&Scope::Release(id.clone()));
        Ok(())
    }

    /// How far a release is on rings, as far as it makes a difference to what would be done.
    fn courses(&self, release: &Release, rings: &[RingName]) -> Bound {
        let course = |ring: &RingName| {
            let run = release.ring(ring)?;
            let course = match run.phase {
                Phase::Waiting => "not started",
                Phase::Deploying | Phase::Soaking => "in motion",
                Phase::Passed => "passed",
                Phase::Failed => "failed",
                Phase::RollingBack => "going back",
                Phase::RolledBack => "gone back",
                Phase::Aborted => "aborted",
                Phase::Superseded => "superseded",
            };
            Some((ring.to_string(), format!("{course}, attempt {}", run.attempt)))
        };
        Bound(rings.iter().filter_map(course).collect())
    }
}

fn rings_in(
    release: &Release,
    ring: Option<&RingName>,
    phases: impl Fn(Phase) -> bool,
) -> Vec<RingName> {
    let all = release.plan.graph.order().iter();
    let named = all.filter(|name| ring.is_none_or(|ring| ring == *name));
    named.filter(|name| release.ring(name).is_some_and(|run| phases(run.phase))).cloned().collect()
}

fn joined(rings: &[RingName]) -> String {
    rings.iter().map(|ring| ring.as_str()).collect::<Vec<_>>().join(", ")
}

/// `2 rings are held by it: a, b`.
fn on_rings(rings: &[String], one: &str, many: &str) -> String {
    let named = rings.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    match rings.len() {
        0 => "No release is on its way there now.".into(),
        1 => format!("1 ring {one}: {named}."),
        n if n > NAMED => format!("{n} rings {many}: {named} and {} more.", n - NAMED),
        n => format!("{n} rings {many}: {named}."),
    }
}
