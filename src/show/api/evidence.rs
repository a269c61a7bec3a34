//! The evidence of a release, for somebody who was not there.

use axum::{
    Json,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use tokio::sync::Semaphore;
use utoipa::IntoParams;

use super::{
    audit::blocking,
    caller::Visit,
    extract::{Asked, At, ReleasePath},
    problem::Problem,
    releases::unknown_release,
};
use crate::{
    ids::ReleaseId,
    show::{
        evidence::{self, gather},
        view::EvidenceView,
    },
};

/// Walks over the whole journal that are made at a time; who comes later waits for their turn.
static WALKS: Semaphore = Semaphore::const_new(2);

/// What a browser may do with the page: show it, and nothing else.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; \
                      base-uri 'none'; form-action 'none'";

/// How the evidence is written.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EvidenceQuery {
    /// `json` or `html`; where it is missing, what `Accept` prefers, and JSON where it says nothing.
    format: Option<String>,
}

impl EvidenceQuery {
    /// The same, for somebody with a browser.
    pub fn or_html(self) -> Self {
        Self { format: self.format.or_else(|| Some("html".into())) }
    }
}

/// The evidence of a release: all that the journal says about it, in one document that stands alone, as JSON
/// or as a page to be read and filed. The whole journal is verified on the way.
#[utoipa::path(get, path = "/v1/plans/{plan}/releases/{version}/evidence", tag = "releases",
    params(ReleasePath, EvidenceQuery),
    responses((status = 200, content(
            (EvidenceView = "application/json"), (String = "text/html"))),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
pub async fn show(
    visit: Visit,
    headers: HeaderMap,
    At(path): At<ReleasePath>,
    Asked(query): Asked<EvidenceQuery>,
) -> Result<Response, Problem> {
    let html = match query.format.as_deref() {
        Some("html") => true,
        Some("json") => false,
        None => prefers_html(&headers),
        Some(_) => return Err(Problem::bad_request("format is json or html")),
    };
    let evidence = of(&visit, &path.id()).await?;
    Ok(if html { page(&evidence) } else { uncached(Json(evidence).into_response()) })
}

/// Gathers the evidence of a release that the visitor may read.
///
/// # Errors
/// 403, 404 and 503.
pub async fn of(visit: &Visit, id: &ReleaseId) -> Result<EvidenceView, Problem> {
    let asked = visit.look_at(&id.plan, |world, now| {
        let release = world.release(id).ok_or_else(|| unknown_release(id))?;
        Ok::<_, Problem>(evidence::Asked::of(world, release, visit.name(), now))
    })??;
    let store = visit.api.desk.store().clone();
    // Nobody closes it.
    let _turn = WALKS.acquire().await;
    let gathered = blocking(move || gather(&*store, asked)).await;
    gathered.map_err(|error| Problem::journal(&error))
}

/// The evidence as a page.
pub fn page(evidence: &EvidenceView) -> Response {
    let mut response = evidence::page(evidence).into_response();
    let headers = response.headers_mut();
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, html);
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    uncached(response)
}

/// It is another one each time.
fn uncached(mut response: Response) -> Response {
    let private = HeaderValue::from_static("private, no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, private);
    response
}

/// Whether `Accept` names HTML before JSON.
fn prefers_html(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT).and_then(|accepted| accepted.to_str().ok());
    let kinds = accepted.unwrap_or_default().split(',');
    let mut kinds = kinds.map(|kind| kind.split(';').next().unwrap_or_default().trim());
    kinds.find(|kind| ["text/html", "application/json"].contains(kind)) == Some("text/html")
}
