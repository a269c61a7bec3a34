//! The service itself: whether it lives, whether it can be asked, its figures, its document.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{Api, caller::Visit, problem::Problem};
use crate::show::auth::{Reach, Verb};

/// Whether the process lives.
#[utoipa::path(get, path = "/livez", tag = "service", security(()),
    responses((status = 200, description = "It lives", body = String)))]
pub async fn livez() -> &'static str {
    "ok\n"
}

/// Whether requests can be answered: this process writes, and its journal takes entries.
#[utoipa::path(get, path = "/readyz", tag = "service", security(()), responses(
    (status = 200, description = "They can", body = String),
    (status = 503, description = "They cannot", body = Problem,
        content_type = "application/problem+json"),
))]
pub async fn readyz(State(api): State<Arc<Api>>) -> Result<&'static str, Problem> {
    match api.desk.ready() {
        Ok(()) => Ok("ok\n"),
        Err(why) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", why)),
    }
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "service", security(()),
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json")))]
pub async fn openapi(State(api): State<Arc<Api>>) -> Response {
    let document = api.document.get().cloned().unwrap_or_default();
    ([(header::CONTENT_TYPE, "application/json")], document).into_response()
}

/// Figures for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "service",
    responses((status = 200, description = "Prometheus' text format", body = String)))]
pub async fn metrics(visit: Visit) -> Result<Response, Problem> {
    visit.may(Verb::Read, &Reach::Common)?;
    match visit.api.telemetry.render() {
        Ok(text) => {
            let kind = "text/plain; version=0.0.4; charset=utf-8";
            Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
        }
        Err(error) => {
            let detail = format!("the figures cannot be written: {error}");
            Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "no-figures", detail))
        }
    }
}
