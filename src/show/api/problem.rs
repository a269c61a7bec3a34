//! Errors as `application/problem+json` (RFC 9457), each of a stable type.

use axum::{
    Json,
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    decide::fact::Refusal,
    show::{auth::Denied, desk::Unavailable},
};

/// What every problem's type begins with; its end is the name that people and programs know it by.
const TYPES: &str = "https://ringward.dev/problems/";

/// Why a request was not answered as asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// A URI that ends in the problem's stable name, such as `…/self-approval`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The same in words, for every problem of that type.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is in the way here, and what to do about it.
    pub detail: String,
    /// The path that was asked.
    #[schema(value_type = String)]
    pub instance: Box<str>,
    /// What is wrong with the body, place by place.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub violations: Vec<Violation>,
    /// Seconds after which to try again.
    #[serde(skip)]
    pub retry_after: Option<u16>,
}

/// Something wrong with one place of a body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Violation {
    /// The place, as a JSON pointer (RFC 6901); empty for the whole body.
    pub pointer: String,
    /// What is wrong there, and what to write instead.
    pub detail: String,
}

impl Problem {
    /// A problem of the type that ends in `name`.
    pub fn new(status: StatusCode, name: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("{TYPES}{name}"),
            title: name.replace('-', " "),
            status: status.as_u16(),
            detail: detail.into(),
            instance: Box::default(),
            violations: Vec::new(),
            retry_after: None,
        }
    }

    /// The stable name, such as `self-approval`.
    pub fn name(&self) -> &str {
        self.kind.strip_prefix(TYPES).unwrap_or(&self.kind)
    }

    /// A body that says what cannot be.
    pub fn invalid(violations: Vec<Violation>) -> Self {
        let detail = "the body has values that cannot be; see violations";
        let problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-body", detail);
        Self { violations, ..problem }
    }

    /// A request that cannot be read.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", detail)
    }

    /// Something that is not there: `unknown-plan` and the like.
    pub fn unknown(name: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, name, detail)
    }

    /// Nobody is known by what was shown.
    pub fn unauthenticated(detail: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail)
    }

    /// Whoever would know who asks cannot be asked.
    pub fn identity_unavailable(detail: &str) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let problem = Self::new(status, "identity-unavailable", detail);
        Self { retry_after: Some(5), ..problem }
    }

    /// What was seen is no longer so.
    pub fn stale(detail: impl Into<String>) -> Self {
        Self::refused(Refusal::StaleState, detail)
    }

    /// More than one caller may ask in a time.
    pub fn too_many(retry_after: u16) -> Self {
        let detail = format!("too many requests; try again in {retry_after} s");
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", detail);
        Self { retry_after: Some(retry_after), ..problem }
    }

    /// As many listen to events as may.
    pub fn too_many_listeners() -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let detail =
            "as many listen to events as may at once: half of api.connections of the settings";
        Self { retry_after: Some(5), ..Self::new(status, "too-many-listeners", detail) }
    }

    /// The core said no.
    pub fn refused(kind: Refusal, detail: impl Into<String>) -> Self {
        let status = match kind {
            Refusal::SelfApproval | Refusal::NotAuthorised => StatusCode::FORBIDDEN,
            Refusal::Tombstoned
            | Refusal::DuplicateRelease
            | Refusal::AlreadyTerminal
            | Refusal::PlanInError
            | Refusal::NothingToDo => StatusCode::CONFLICT,
            Refusal::ResidencyViolation
            | Refusal::IdempotencyConflict
            | Refusal::ImpossibleRequirement
            | Refusal::ReasonMissing
            | Refusal::HardRule
            | Refusal::ExpiryOutOfRange => StatusCode::UNPROCESSABLE_ENTITY,
            Refusal::StaleState => StatusCode::PRECONDITION_FAILED,
            Refusal::UnknownRelease
            | Refusal::UnknownRing
            | Refusal::UnknownRule
            | Refusal::UnknownWaiver => StatusCode::NOT_FOUND,
        };
        Self::new(status, kind.name(), detail)
    }

    /// A journal that cannot be read.
    pub fn journal(error: &dyn std::error::Error) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "journal-unreadable", error.to_string())
    }

    /// For a response that nobody in this room made: no such path, no such method, a body too long.
    fn of_status(status: StatusCode, path: &str) -> Self {
        let reason = status.canonical_reason().unwrap_or("error").to_lowercase();
        let detail = match status {
            StatusCode::NOT_FOUND => format!("there is nothing at {path}"),
            StatusCode::METHOD_NOT_ALLOWED => format!("{path} does not take this method"),
            _ => reason.clone(),
        };
        Self::new(status, &reason.replace(' ', "-"), detail)
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        Self::refused(Refusal::NotAuthorised, denied.to_string())
    }
}

impl From<Unavailable> for Problem {
    fn from(unavailable: Unavailable) -> Self {
        let (name, retry_after) = match unavailable {
            Unavailable::Busy => ("busy", Some(1)),
            Unavailable::Stopping => ("stopping", Some(5)),
            Unavailable::NotRecorded(_) => ("not-recorded", None),
            Unavailable::Unanswered => ("unanswered", None),
        };
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, name, unavailable.to_string());
        Self { retry_after, ..problem }
    }
}

/// The body is written by [`finish`], which knows the path.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Gives every failing response its problem, whoever made it; a page says itself what is wrong.
pub async fn finish(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let mut response = next.run(request).await;
    let status = response.status();
    let nosniff = HeaderValue::from_static("nosniff");
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    let kind = response.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let is_page = kind.is_some_and(|kind| kind.starts_with(b"text/html"));
    if is_page || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let made = response.extensions_mut().remove::<Problem>();
    let mut problem = made.unwrap_or_else(|| Problem::of_status(status, &path));
    problem.instance = path.into();
    let retry_after = problem.retry_after;
    let mut finished = (status, Json(problem)).into_response();
    // What others said about the response (Allow, above all) stays, except for the body's own headers.
    for (name, value) in response.headers() {
        if name != header::CONTENT_TYPE && name != header::CONTENT_LENGTH {
            finished.headers_mut().append(name, value.clone());
        }
    }
    set_headers(finished.headers_mut(), status, retry_after);
    finished
}

fn set_headers(headers: &mut HeaderMap, status: StatusCode, retry_after: Option<u16>) {
    let json = HeaderValue::from_static("application/problem+json");
    headers.insert(header::CONTENT_TYPE, json);
    if status == StatusCode::UNAUTHORIZED {
        let bearer = HeaderValue::from_static("Bearer realm=\"ringward\"");
        headers.insert(header::WWW_AUTHENTICATE, bearer);
    }
    if let Some(seconds) = retry_after {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
}
