//! The dashboard's pages and their sessions: the same tokens, or a sign-in at the OpenID provider, by a cookie that
//! other sites cannot send.
//!
//! Architecture invariant: a session opens these pages and nothing else. The API knows bearer tokens
//! only. What a page asks for is asked by the API's own handlers, so that the two cannot differ; and it
//! is taken only from the dashboard's own forms: the cookie is not sent from elsewhere, the browser must
//! not say that it comes from elsewhere, and a form carries what only a page of that session knows.

pub mod act;
pub mod line;
pub mod look;
mod offers;
pub mod provider;
mod question;
pub mod record;
pub mod rings;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    extract::{FromRequestParts, Path, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Redirect, Response},
};
use jiff::Timestamp;

use super::{Api, caller::Visit, problem::Problem};
use crate::{
    model::time::{Now, Span},
    show::{
        auth::{Caller, CodeFlow, Reach, Unknown, Verb, digest},
        dashboard::{self, Frame, Place, Viewer, deed::Form},
        view,
    },
};

/// How long a session lasts.
const SESSION: Span = Span::seconds(8 * 3600);

/// Sessions that are kept; the one that ends first makes room.
const SESSIONS: usize = 1_000;

const COOKIE: &str = "ringward_session";

/// What the script says when it looks again, so that a notice waits for somebody to come by themselves.
const LIVE: &str = "x-ringward-live";

/// Who is signed in, by the digest of their cookie.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<BTreeMap<String, Session>>);

#[derive(Debug)]
struct Session {
    by: By,
    until: Timestamp,
    /// What was done last, until it was said.
    notice: Option<String>,
}

/// What a session was opened with.
#[derive(Debug, Clone)]
enum By {
    /// A token of our own, which must still be good; its digest.
    Token(String),
    /// A token that somebody else vouches for, who is asked again.
    Foreign(Credential),
    /// A sign-in at the provider, by its secret's digest, and whom that vouched for.
    Provider(String, Caller),
}

/// What somebody shows to be known; never shown to anybody.
#[derive(Clone)]
struct Credential(String);

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential")
    }
}

impl Sessions {
    fn open(&self, cookie: &str, by: By, lasting: Span, now: Timestamp) {
        let until = now.saturating_add(lasting.to_signed()).unwrap_or(Timestamp::MAX);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, session| now < session.until);
        if all.len() >= SESSIONS
            && let Some(first) = all.iter().min_by_key(|(_, s)| s.until).map(|(id, _)| id.clone())
        {
            all.remove(&first);
        }
        all.insert(digest(cookie), Session { by, until, notice: None });
    }

    /// Opens one for whom the provider vouched for at that sign-in.
    fn open_for(
        &self,
        cookie: &str,
        (secret, caller): (&str, Caller),
        lasting: Span,
        now: Timestamp,
    ) {
        self.open(cookie, By::Provider(digest(secret), caller), lasting, now);
    }

    /// Whether that sign-in has opened one already: it is good for one alone.
    fn was_opened_by(&self, secret: &str) -> bool {
        let secret = digest(secret);
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.values().any(|session| matches!(&session.by, By::Provider(of, _) if *of == secret))
    }

    /// What opened it, while it lasts.
    fn by(&self, cookie: &str, now: Timestamp) -> Option<By> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let session = all.get(&digest(cookie)).filter(|session| now < session.until)?;
        Some(session.by.clone())
    }

    /// Leaves a notice for the next page, or takes it.
    fn notice(&self, cookie: &str, new: Option<String>) -> Option<String> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let session = all.get_mut(&digest(cookie))?;
        std::mem::replace(&mut session.notice, new)
    }

    fn close(&self, cookie: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest(cookie));
    }
}

/// Whose session that is, while it and the token that opened it are good.
///
/// # Errors
/// Nobody's, or it cannot be told now.
pub async fn caller(api: &Api, cookie: &str, now: Now) -> Result<Caller, Unknown> {
    let nobody = Unknown::Nobody("the session is over");
    match api.sessions.by(cookie, now.wall).ok_or(nobody.clone())? {
        By::Token(token) => {
            api.identities.tokens().caller_by_digest(&token, now.wall).ok_or(nobody)
        }
        By::Foreign(Credential(token)) => api.identities.caller(&token, now).await,
        By::Provider(_, caller) => Ok(caller),
    }
}

/// The page to sign in on.
fn sign_in_page(api: &Api, wrong: Option<&str>, next: &str) -> String {
    let provider = api.identities.browsers().map(CodeFlow::provider);
    dashboard::sign_in::page(wrong, next, provider.as_deref())
}

/// Somebody with a session. Whoever has none is shown the form to sign in with, and comes back.
pub struct Guest {
    visit: Visit,
    viewer: Viewer,
    cookie: String,
    live: bool,
}

impl FromRequestParts<Arc<Api>> for Guest {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Response> {
        let now = api.desk.clock().now();
        let next = match parts.method == axum::http::Method::GET {
            true => parts.uri.path_and_query().map_or("/", |path| path.as_str()),
            false => "/",
        };
        let form = |status, wrong| html(status, sign_in_page(api, wrong, next));
        let Some(cookie) = cookie(&parts.headers, COOKIE).map(str::to_owned) else {
            return Err(form(StatusCode::OK, None));
        };
        let caller = caller(api, &cookie, now).await.map_err(|unknown| match unknown {
            Unknown::Nobody(_) => form(StatusCode::OK, None),
            Unknown::Unavailable(why) => form(StatusCode::SERVICE_UNAVAILABLE, Some(why)),
        })?;
        let guest = Self::new(api.clone(), caller, cookie, parts.headers.contains_key(LIVE));
        if let Err(after) = api.limit.take(guest.visit.name(), now.mono) {
            return Err(guest.trouble(&Problem::too_many(after), "/"));
        }
        match guest.visit.may(Verb::Read, &Reach::Common) {
            Ok(()) => Ok(guest),
            Err(problem) => Err(guest.trouble(&problem, "/")),
        }
    }
}

impl Guest {
    fn new(api: Arc<Api>, caller: Caller, cookie: String, live: bool) -> Self {
        let viewer = Viewer {
            name: caller.name.clone(),
            roles: caller.roles(),
            // Whoever knows it has the cookie, or a page of its session.
            csrf: digest(&format!("{cookie} form")),
        };
        let visit = Visit::of(api, caller, cookie.clone());
        Self { visit, viewer, cookie, live }
    }

    /// A page around `main`.
    fn page(&self, place: Place, title: &str, live: bool, main: &str) -> Response {
        self.page_as(StatusCode::OK, (place, title, live), main)
    }

    fn page_as(
        &self,
        status: StatusCode,
        (place, title, live): (Place, &str, bool),
        main: &str,
    ) -> Response {
        let notice = match self.live {
            true => None,
            false => self.visit.api.sessions.notice(&self.cookie, None),
        };
        let (source, now) = self.visit.look(|world, now| (view::source(world), now));
        let frame = Frame {
            viewer: &self.viewer,
            place,
            title,
            live,
            notice: notice.as_deref(),
            source: &source,
            now,
        };
        html(status, dashboard::document(&frame, main))
    }

    /// A page that says why there is no other.
    fn trouble(&self, problem: &Problem, back: &str) -> Response {
        let status =
            StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let more: Vec<String> =
            problem.violations.iter().map(|v| format!("{}: {}", v.pointer, v.detail)).collect();
        let title = match status {
            StatusCode::NOT_FOUND => "Not found",
            StatusCode::FORBIDDEN => "Not yours to do",
            StatusCode::TOO_MANY_REQUESTS => "Too many requests",
            StatusCode::PRECONDITION_FAILED => "It has changed since",
            _ => "That did not work",
        };
        let main = dashboard::trouble(title, &problem.detail, &more, back);
        self.page_as(status, (Place::Elsewhere, title, false), &main)
    }

    /// Whether a form is of one of this session's own pages.
    fn own(&self, headers: &HeaderMap, form: &Form) -> Result<(), Response> {
        let back = |problem: Problem| self.trouble(&problem, "/");
        same_site(headers).map_err(back)?;
        match form.get("csrf").is_some_and(|csrf| digest(csrf) == digest(&self.viewer.csrf)) {
            true => Ok(()),
            false => {
                let detail =
                    "the form is not of this session: go back, load the page again, and repeat";
                Err(back(Problem::new(StatusCode::FORBIDDEN, "foreign-form", detail)))
            }
        }
    }
}

/// Takes a token and opens a session.
pub async fn sign_in(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    form: String,
) -> Result<Response, Problem> {
    same_site(&headers)?;
    let form = read_form(&form);
    let token = form.get("token").map(|token| token.trim()).unwrap_or_default();
    let next = form.get("next").filter(|next| is_own_path(next)).map_or("/", String::as_str);
    let now = api.desk.clock().now();
    let refused = |status, wrong| Ok(html(status, sign_in_page(&api, Some(wrong), next)));
    match api.identities.caller(token, now).await {
        Ok(caller) if caller.emergency.is_some() => {
            let wrong =
                "This opens to no token for emergencies: use that one with the command line.";
            return refused(StatusCode::UNAUTHORIZED, wrong);
        }
        Ok(_) => {}
        Err(Unknown::Nobody(why)) => return refused(StatusCode::UNAUTHORIZED, why),
        Err(Unknown::Unavailable(why)) => return refused(StatusCode::SERVICE_UNAVAILABLE, why),
    }
    let by = match api.identities.tokens().caller(token, now.wall) {
        Some(_) => By::Token(digest(token)),
        None => By::Foreign(Credential(token.to_owned())),
    };
    let cookie = mint(&api);
    api.sessions.open(&cookie, by, SESSION, now.wall);
    Ok(moved(&api, &cookie, SESSION.0 / 1_000, next))
}

/// Ends the session.
pub async fn sign_out(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    same_site(&headers)?;
    if let Some(cookie) = cookie(&headers, COOKIE) {
        api.sessions.close(cookie);
    }
    Ok(moved(&api, "", 0, "/"))
}

/// The style sheet, the script and the icon: the same for everybody, and kept until there are others.
pub async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let (kind, text) = match name.as_str() {
        "style.css" => ("text/css; charset=utf-8", dashboard::STYLE),
        "live.js" => ("text/javascript; charset=utf-8", dashboard::SCRIPT),
        "icon.svg" => ("image/svg+xml", dashboard::ICON),
        _ => {
            return Err(Problem::unknown(
                "not-found",
                format!("there is nothing at /assets/{name}"),
            ));
        }
    };
    let tag = format!("\"{}\"", dashboard::EDITION.as_str());
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|known| *known == *tag);
    let kept = [
        (header::ETAG, tag),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable".into()),
        (header::CONTENT_TYPE, kind.into()),
    ];
    Ok(match known {
        true => (StatusCode::NOT_MODIFIED, kept).into_response(),
        false => (kept, text).into_response(),
    })
}

fn mint(api: &Api) -> String {
    api.mint.lock().unwrap_or_else(PoisonError::into_inner).secret()
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
    let mut each = all.flat_map(|cookies| cookies.split(';'));
    each.find_map(|cookie| cookie.trim().strip_prefix(name)?.strip_prefix('='))
}

/// Browsers say where a request comes from; what another site sends is refused.
fn same_site(headers: &HeaderMap) -> Result<(), Problem> {
    let fetched = match headers.get("sec-fetch-site").map(HeaderValue::as_bytes) {
        None | Some(b"same-origin" | b"none") => true,
        Some(_) => false,
    };
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let origin = match (text(header::ORIGIN), text(header::HOST)) {
        (None, _) => true,
        (Some(origin), host) => origin.split_once("://").map(|(_, from)| from) == host,
    };
    match fetched && origin {
        true => Ok(()),
        false => {
            let detail = "another site sent this; sign in on the dashboard's own page";
            Err(Problem::new(StatusCode::FORBIDDEN, "cross-site", detail))
        }
    }
}

/// Whether a path leads to one of our own pages, and nowhere else.
fn is_own_path(path: &str) -> bool {
    let mut chars = path.chars();
    chars.next() == Some('/')
        && !matches!(chars.next(), Some('/' | '\\'))
        && path.chars().all(|c| c.is_ascii_graphic() && c != '\\')
}

/// To another page, with a cookie that lasts so many seconds.
fn moved(api: &Api, cookie: &str, age: u64, to: &str) -> Response {
    let cookie = session_cookie(cookie, age, api.secure);
    ([(header::SET_COOKIE, cookie)], Redirect::to(to)).into_response()
}

fn session_cookie(cookie: &str, age: u64, secure: bool) -> String {
    let secure = if secure { "; Secure" } else { "" };
    format!("{COOKIE}={cookie}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age}{secure}")
}

/// A form as browsers send it (`application/x-www-form-urlencoded`, WHATWG URL 5.1).
pub fn read_form(text: &str) -> Form {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.map(|(name, value)| (decoded(name), decoded(value))).collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let digit = |at: usize| char::from(*after.get(at)?).to_digit(16);
        let escaped = match first {
            b'%' => digit(0).zip(digit(1)).map(|(high, low)| (high * 16 + low) as u8),
            _ => None,
        };
        rest = if escaped.is_some() { &after[2..] } else { after };
        bytes.push(escaped.unwrap_or(if *first == b'+' { b' ' } else { *first }));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn html(status: StatusCode, html: String) -> Response {
    const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
                          img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
    let text = |text: &'static str| HeaderValue::from_static(text);
    let headers: [(HeaderName, HeaderValue); 4] = [
        (header::CONTENT_TYPE, text("text/html; charset=utf-8")),
        (header::CACHE_CONTROL, text("no-store")),
        // A form of our own says where it comes from; nobody else hears of our addresses.
        (header::REFERRER_POLICY, text("same-origin")),
        (header::CONTENT_SECURITY_POLICY, text(POLICY)),
    ];
    (status, headers, html).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_read_as_browsers_send_them() {
        let form = read_form("deed=pause&reason=a+b%0D%0A%C3%A9%26&odd=%zz%4&empty=&bare");
        let wanted = [
            ("bare", ""),
            ("deed", "pause"),
            ("empty", ""),
            ("odd", "%zz%4"),
            ("reason", "a b\r\né&"),
        ];
        let found: Vec<_> = form.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn what_comes_from_elsewhere_is_refused() {
        let from = |headers: &[(&'static str, &str)]| {
            let headers = headers.iter().map(|(name, value)| {
                (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
            });
            same_site(&HeaderMap::from_iter(headers)).is_ok()
        };
        let host = ("host", "127.0.0.1:7474");
        assert!(from(&[host]));
        assert!(from(&[
            host,
            ("origin", "http://127.0.0.1:7474"),
            ("sec-fetch-site", "same-origin")
        ]));
        assert!(!from(&[host, ("origin", "http://evil.example")]));
        assert!(!from(&[host, ("origin", "null")]));
        assert!(!from(&[host, ("sec-fetch-site", "same-site")]));
        for own in ["/", "/releases/a/1?x=y"] {
            assert!(is_own_path(own), "{own}");
        }
        for foreign in
            ["", "x", "//evil.example", "/\\evil.example", "https://evil.example", "/a\nb"]
        {
            assert!(!is_own_path(foreign), "{foreign}");
        }
    }
}
