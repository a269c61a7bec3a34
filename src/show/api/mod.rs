//! The HTTP API: axum routes over the views; what operators ask for goes to the core as a request.
//!
//! Every route under `/v1` knows its caller before it looks at anything, and asks [`auth::may`] what
//! they may do; a test walks the OpenAPI document and tries every route with every role.
//!
//! Architecture invariant: a handler changes nothing itself. It reads the world, or it puts a request
//! on the desk and waits until the answer is durable.

mod audit;
mod caller;
mod document;
mod events;
mod evidence;
pub mod extract;
mod fleet;
mod hooks;
mod limit;
mod line;
mod measurements;
mod pages;
mod plans;
pub mod problem;
mod releases;
mod rings;
mod service;
#[cfg(test)]
mod tests;
mod waivers;

pub use hooks::{Flagger, GitHook, Hook, HookBody, ReleaseHooks, look as look_at_hooks};
pub use line::{FreezeBody, Frozen, StopBody};
pub use releases::{AbortBody, ArtifactBody, Created, RollbackBody, SubmitBody, WriteOffBody};
pub use waivers::{AskedFor, WaiverBody};

use std::sync::{Arc, Mutex, OnceLock};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use utoipa::{
    Modify, OpenApi, ToSchema,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{auth::Identities, channels::Channels, desk::Desk, telemetry::Telemetry};
use crate::{
    config::ApiSettings,
    ids::{IdempotencyKey, Mint},
};
use problem::{Problem, Violation};

/// The longest body, in bytes.
const BODY: usize = 64 * 1024;

/// What the API is made of.
pub struct Parts {
    /// The way to the world and to the core.
    pub desk: Arc<Desk>,
    /// Who is known.
    pub identities: Identities,
    /// The figures.
    pub telemetry: Arc<Telemetry>,
    /// How far each channel has been told.
    pub channels: Arc<Channels>,
    /// Whether it is reached by TLS alone.
    pub secure: bool,
    /// How much of it there may be.
    pub settings: ApiSettings,
    /// What webhooks of a Git host come to, where they are taken.
    pub hook: Option<GitHook>,
    /// The hooks of Flagger's Canaries, where they are served.
    pub flagger: Option<Flagger>,
    /// The build systems that may ask for releases.
    pub release_hooks: ReleaseHooks,
}

/// What every handler works with.
pub struct Api {
    desk: Arc<Desk>,
    identities: Identities,
    telemetry: Arc<Telemetry>,
    channels: Arc<Channels>,
    /// Whether it is reached by TLS alone: cookies then are for TLS alone.
    secure: bool,
    hook: Option<GitHook>,
    flagger: Option<Flagger>,
    release_hooks: ReleaseHooks,
    limit: limit::Limit,
    /// Places of those who listen to events: half of all, so that others always get in.
    listeners: Arc<Semaphore>,
    sessions: pages::Sessions,
    mint: Mutex<Mint>,
    /// Generated from the routes, once they are all there.
    document: OnceLock<String>,
}

/// An action was done, and that is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Done {
    /// Forward effects of the scope that were on their way already and cannot be called back.
    pub in_flight: Vec<IdempotencyKey>,
}

/// Why something is done, for the audit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Reason {
    /// In words; up to 1000 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A body that has nothing to say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

impl Reason {
    fn checked(self) -> Result<Option<String>, Problem> {
        let wrong: Vec<_> = wrong_text("/reason", self.reason.as_deref()).into_iter().collect();
        if wrong.is_empty() { Ok(self.reason) } else { Err(Problem::invalid(wrong)) }
    }
}

/// What is wrong with a text for people, if something is.
fn wrong_text(pointer: &str, text: Option<&str>) -> Option<Violation> {
    let detail = crate::model::release::wrong_text(text?)?;
    Some(Violation { pointer: pointer.into(), detail })
}

/// What an action may be answered with.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "it stands in the OpenAPI document for what handlers return")]
enum Answers {
    /// It is done, and that is durable.
    #[response(status = 200)]
    Done(Done),
    /// No such plan, release or ring.
    #[response(status = 404, content_type = "application/problem+json")]
    Unknown(Problem),
    /// It cannot be done as things are.
    #[response(status = 409, content_type = "application/problem+json")]
    Conflict(Problem),
    /// What was seen (`If-Match`) is no longer so.
    #[response(status = 412, content_type = "application/problem+json")]
    Stale(Problem),
    /// The body, or the key with another body, cannot be.
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(Problem),
    /// It could not be recorded, and nothing was done.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(Problem),
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "ringward",
        description = "A multi-region ring deployment scheduler. Errors are \
                       `application/problem+json` (RFC 9457) with a stable `type`."
    ),
    security(("token" = [])),
    components(schemas(Done, hooks::flagger::Confirmed)),
    modifiers(&Bearer)
)]
struct Document;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "A token of ringward's own (`rw_` and 64 hexadecimal digits; see `ringward token`), or \
                 a JWT of the OpenID provider or a token of the cluster that the settings name",
            ))
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(bearer));
    }
}

/// All routes: the API, the probes, the metrics, the OpenAPI document that is generated from them, and
/// the dashboard's pages.
pub fn router(parts: Parts) -> Router {
    let Parts {
        desk,
        identities,
        telemetry,
        channels,
        secure,
        settings,
        hook,
        flagger,
        release_hooks,
    } = parts;
    let api = Arc::new(Api {
        desk,
        identities,
        telemetry,
        channels,
        secure,
        hook,
        flagger,
        release_hooks,
        limit: limit::Limit::of(settings.requests_per_second),
        listeners: Arc::new(Semaphore::new((settings.connections.get() as usize).div_ceil(2))),
        sessions: pages::Sessions::default(),
        mint: Mutex::new(Mint::system()),
        document: OnceLock::new(),
    });
    let (routes, document) = open()
        .merge(known().route_layer(middleware::from_fn_with_state(api.clone(), caller::identify)))
        .split_for_parts();
    // It is set here and nowhere else.
    let document = serde_json::to_value(document).map(document::whole).unwrap_or_default();
    let _ = api.document.set(document.to_string());
    routes
        .route("/", get(pages::look::fleet))
        .route("/releases/{plan}/{version}", get(pages::look::release))
        .route("/releases/{plan}/{version}/rings/{ring}", get(pages::rings::ring))
        .route("/approvals", get(pages::line::approvals))
        .route("/jurisdictions", get(pages::line::jurisdictions))
        .route("/freezes", get(pages::line::freezes))
        .route("/timeline", get(pages::record::timeline))
        .route("/audit", get(pages::record::audit))
        .route("/evidence/{plan}/{version}", get(pages::look::evidence))
        .route("/events", get(pages::look::events))
        .route("/assets/{name}", get(pages::asset))
        .route("/confirm", post(pages::act::confirm))
        .route("/act", post(pages::act::act))
        .route("/login", post(pages::sign_in))
        .route("/login/oidc", get(pages::provider::leave))
        .route("/login/callback", get(pages::provider::back))
        .route("/logout", post(pages::sign_out))
        .with_state(api)
        .layer(DefaultBodyLimit::max(BODY))
        .layer(middleware::from_fn(problem::finish))
}

/// What anybody may ask: whether it lives, and how to ask for more; and what is known by a signature.
fn open() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(service::livez))
        .routes(routes!(service::readyz))
        .routes(routes!(service::openapi))
        .routes(routes!(hooks::release::release))
        .merge(
            OpenApiRouter::default()
                .routes(routes!(hooks::git::git))
                .layer(DefaultBodyLimit::max(hooks::git::BODY)),
        )
        .routes(routes!(hooks::flagger::confirm_rollout))
        .routes(routes!(hooks::flagger::confirm_promotion))
        .routes(routes!(hooks::flagger::rollback))
        .routes(routes!(hooks::flagger::event))
}

/// What only somebody who is known may ask.
fn known() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::default()
        .routes(routes!(service::metrics))
        .routes(routes!(plans::list))
        .routes(routes!(plans::show))
        .routes(routes!(plans::pause))
        .routes(routes!(plans::resume))
        .routes(routes!(plans::show_ring))
        .routes(routes!(plans::pause_ring))
        .routes(routes!(plans::resume_ring))
        .routes(routes!(releases::create))
        .routes(routes!(releases::list))
        .routes(routes!(releases::show))
        .routes(routes!(releases::explain))
        .routes(routes!(evidence::show))
        .routes(routes!(releases::pause))
        .routes(routes!(releases::resume))
        .routes(routes!(releases::abort))
        .routes(routes!(releases::rollback))
        .routes(routes!(releases::retry))
        .routes(routes!(releases::write_off))
        .routes(routes!(releases::debts))
        .routes(routes!(rings::pause))
        .routes(routes!(rings::resume))
        .routes(routes!(rings::approve))
        .routes(routes!(rings::reject))
        .routes(routes!(rings::advance))
        .routes(routes!(rings::retry))
        .routes(routes!(rings::rollback))
        .routes(routes!(measurements::list))
        .routes(routes!(fleet::clusters))
        .routes(routes!(fleet::gates))
        .routes(routes!(fleet::flags))
        .routes(routes!(fleet::source))
        .routes(routes!(fleet::channels))
        .routes(routes!(line::approvals))
        .routes(routes!(line::pauses))
        .routes(routes!(line::pause))
        .routes(routes!(line::resume))
        .routes(routes!(line::freezes, line::freeze))
        .routes(routes!(line::lift))
        .routes(routes!(waivers::list))
        .routes(routes!(waivers::ask))
        .routes(routes!(waivers::approve))
        .routes(routes!(waivers::revoke))
        .routes(routes!(audit::since))
        .routes(routes!(audit::shown))
        .routes(routes!(audit::verify))
        .routes(routes!(audit::head))
        .routes(routes!(audit::backup))
        .routes(routes!(events::listen))
}
