//! The dashboard's page and its sessions: the same tokens, by a cookie that other sites cannot send.
//!
//! Architecture invariant: a session opens these pages and nothing else. The API knows bearer tokens
//! only, so no other site can make a browser act.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use jiff::Timestamp;

use super::{
    Api,
    caller::Visit,
    evidence,
    extract::{At, ReleasePath},
    problem::Problem,
};
use crate::{
    decide::phase,
    model::time::Span,
    show::{
        auth::{Caller, Reach, Verb, digest},
        dashboard::{self, Board},
        view,
    },
};

/// How long a session lasts.
const SESSION: Span = Span::seconds(8 * 3600);

/// Sessions that are kept; the one that ends first makes room.
const SESSIONS: usize = 1_000;

/// Releases of a plan that the page shows: those on their way, and the latest others up to this many.
const LATEST: usize = 5;

const COOKIE: &str = "ringward_session";

/// Who is signed in, by the digest of their cookie.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<BTreeMap<String, Session>>);

#[derive(Debug)]
struct Session {
    /// The digest of the token that it was opened with, which must still be good.
    token: String,
    until: Timestamp,
}

impl Sessions {
    fn open(&self, cookie: &str, token: &str, now: Timestamp) {
        let until = now.saturating_add(SESSION.to_signed()).unwrap_or(Timestamp::MAX);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, session| now < session.until);
        if all.len() >= SESSIONS
            && let Some(first) = all.iter().min_by_key(|(_, s)| s.until).map(|(id, _)| id.clone())
        {
            all.remove(&first);
        }
        all.insert(digest(cookie), Session { token: digest(token), until });
    }

    /// The digest of the token that opened it.
    fn token(&self, cookie: &str, now: Timestamp) -> Option<String> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let session = all.get(&digest(cookie)).filter(|session| now < session.until)?;
        Some(session.token.clone())
    }

    fn close(&self, cookie: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest(cookie));
    }
}

/// The board, or the form to sign in with.
pub async fn show(State(api): State<Arc<Api>>, headers: HeaderMap) -> Result<Response, Problem> {
    let nonce = mint(&api);
    let Some(caller) = signed_in(&api, &headers) else {
        return Ok(page(StatusCode::OK, dashboard::sign_in(None, &nonce), &nonce));
    };
    let now = api.desk.clock().now();
    api.limit.take(&caller.name, now.mono).map_err(Problem::too_many)?;
    let visit = Visit::of(api, caller);
    visit.may(Verb::Read, &Reach::Common)?;
    Ok(page(StatusCode::OK, dashboard::board(&board(&visit), &nonce), &nonce))
}

/// The evidence of a release, as a page.
pub async fn evidence(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    At(path): At<ReleasePath>,
) -> Result<Response, Problem> {
    let Some(caller) = signed_in(&api, &headers) else {
        return Ok(Redirect::to("/").into_response());
    };
    let now = api.desk.clock().now();
    api.limit.take(&caller.name, now.mono).map_err(Problem::too_many)?;
    let visit = Visit::of(api, caller);
    Ok(evidence::page(&evidence::of(&visit, &path.id()).await?))
}

/// Takes a token and opens a session.
pub async fn sign_in(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    form: String,
) -> Result<Response, Problem> {
    same_site(&headers)?;
    // A token needs no escaping in a form.
    let token = form.strip_prefix("token=").unwrap_or_default().trim();
    let now = api.desk.clock().now().wall;
    if api.tokens.caller(token, now).is_none() {
        let nonce = mint(&api);
        let wrong = "The token is unknown, was revoked or has expired.";
        let form = dashboard::sign_in(Some(wrong), &nonce);
        return Ok(page(StatusCode::UNAUTHORIZED, form, &nonce));
    }
    let cookie = mint(&api);
    api.sessions.open(&cookie, token, now);
    let age = SESSION.0 / 1_000;
    Ok(moved(&api, &cookie, age))
}

/// Ends the session.
pub async fn sign_out(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    same_site(&headers)?;
    if let Some(cookie) = cookie(&headers) {
        api.sessions.close(cookie);
    }
    Ok(moved(&api, "", 0))
}

fn board(visit: &Visit) -> Board {
    visit.look(|world, now| {
        let sees = |plan: &_| visit.sees(world, plan);
        let seen = world.plans.iter().filter(|(name, _)| sees(name));
        let plans = seen.map(|(name, state)| {
            let newest = state.in_order().rev().enumerate();
            let shown = newest.filter(|(n, r)| *n < LATEST || !phase::is_settled(r));
            let releases = shown.map(|(_, release)| view::release(world, release, now));
            (view::plan(world, name, state, now), releases.collect())
        });
        Board {
            who: visit.name().clone(),
            plans: plans.collect(),
            freezes: view::freezes(world, now, |scope| visit.sees_scope(world, scope)),
            source: view::source(world),
        }
    })
}

fn mint(api: &Api) -> String {
    api.mint.lock().unwrap_or_else(PoisonError::into_inner).secret()
}

fn signed_in(api: &Api, headers: &HeaderMap) -> Option<Caller> {
    let now = api.desk.clock().now().wall;
    let token = api.sessions.token(cookie(headers)?, now)?;
    api.tokens.caller_by_digest(&token, now)
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
    let mut each = all.flat_map(|cookies| cookies.split(';'));
    each.find_map(|cookie| cookie.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

/// Browsers say where a request comes from; what another site sends is refused.
fn same_site(headers: &HeaderMap) -> Result<(), Problem> {
    match headers.get("sec-fetch-site").map(HeaderValue::as_bytes) {
        None | Some(b"same-origin" | b"none") => Ok(()),
        Some(_) => {
            let detail = "another site sent this; sign in on the dashboard's own page";
            Err(Problem::new(StatusCode::FORBIDDEN, "cross-site", detail))
        }
    }
}

/// To the page, with a cookie that lasts so many seconds.
fn moved(api: &Api, cookie: &str, age: u64) -> Response {
    let secure = if api.secure { "; Secure" } else { "" };
    let cookie =
        format!("{COOKIE}={cookie}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age}{secure}");
    ([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response()
}

fn page(status: StatusCode, html: String, nonce: &str) -> Response {
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; form-action 'self'; base-uri 'none'; \
         frame-ancestors 'none'"
    );
    let text = |text: &'static str| HeaderValue::from_static(text);
    let headers: [(HeaderName, HeaderValue); 4] = [
        (header::CONTENT_TYPE, text("text/html; charset=utf-8")),
        (header::CACHE_CONTROL, text("no-store")),
        (header::REFERRER_POLICY, text("no-referrer")),
        // A nonce is hexadecimal.
        (
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_str(&policy).unwrap_or_else(|_| text("default-src 'none'")),
        ),
    ];
    (status, headers, html).into_response()
}
