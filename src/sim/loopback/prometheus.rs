//! A server that speaks Prometheus' instant queries for one simulated cluster.
//!
//! What it is: `/api/v1/query` by GET and by POST with the real shapes of answers and errors. It
//! recognises what a query is after from the metric it names, its `service` matcher and the functions
//! around it, and answers with the figures that [`Traffic`] has for that service: plausible, gently
//! noisy, the same for the same seed and instant, and true of what the cluster's Deployment ran then.
//!
//! What it is not: it does not evaluate PromQL. Requests by their code, their duration's quantiles,
//! orders, saturation and `up` are all that it knows; any other metric is an empty vector, as it would
//! be in a Prometheus that scrapes no such thing. There are no range queries, rules or alerts.

mod query;
mod traffic;

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Query, State},
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::get,
};
use jiff::Timestamp;
use serde_json::{Value, json};

pub(super) use self::traffic::Traffic;
use crate::clock::Clock;

/// What every route is handed.
#[derive(Clone)]
struct Server {
    traffic: Arc<Traffic>,
    clock: Arc<dyn Clock>,
}

/// The API of one cluster's Prometheus.
pub(super) fn router(traffic: Arc<Traffic>, clock: Arc<dyn Clock>) -> Router {
    Router::new()
        .route("/api/v1/query", get(instant).post(instant))
        .route("/-/ready", get(|| async { "Prometheus Server is Ready.\n" }))
        .fallback(|| async { (StatusCode::NOT_FOUND, "404 page not found\n") })
        .with_state(Server { traffic, clock })
}

type Asked = Query<BTreeMap<String, String>>;

async fn instant(State(server): State<Server>, Query(mut asked): Asked, body: Bytes) -> Response {
    // A form has the syntax of a URL's query.
    let form = std::str::from_utf8(&body).unwrap_or_default();
    if let Ok(uri) = format!("/?{form}").parse::<Uri>()
        && let Ok(Query(form)) = Asked::try_from_uri(&uri)
    {
        asked.extend(form);
    }
    let at = match asked.get("time").filter(|text| !text.is_empty()) {
        None => server.clock.now().wall,
        Some(text) => match instant_of(text) {
            Some(at) => at,
            None => {
                let why = format!("cannot parse \"{text}\" to a valid timestamp");
                return bad_data("time", &why);
            }
        },
    };
    let asked = asked.get("query").map(String::as_str).unwrap_or_default();
    let value = match query::read(asked) {
        Ok(asked) => asked.and_then(|asked| server.traffic.answer(&asked, at)),
        Err(why) => return bad_data("query", &why),
    };
    let result: Vec<_> = value.map(|value| sample(at, value)).into_iter().collect();
    let data = json!({"resultType": "vector", "result": result});
    Json(json!({"status": "success", "data": data})).into_response()
}

fn sample(at: Timestamp, value: f64) -> Value {
    let value = match value {
        v if v == f64::INFINITY => "+Inf".into(),
        v if v == f64::NEG_INFINITY => "-Inf".into(),
        v => v.to_string(),
    };
    json!({"metric": {}, "value": [at.as_millisecond() as f64 / 1_000.0, value]})
}

fn bad_data(parameter: &str, why: &str) -> Response {
    let error = format!("invalid parameter \"{parameter}\": {why}");
    let body = json!({"status": "error", "errorType": "bad_data", "error": error});
    (StatusCode::BAD_REQUEST, Json(body)).into_response()
}

/// RFC 3339, or seconds since 1970 with a fraction.
fn instant_of(text: &str) -> Option<Timestamp> {
    if let Ok(seconds) = text.parse::<f64>() {
        let millis = (seconds * 1_000.0).round();
        return (millis.abs() < 1e15)
            .then(|| Timestamp::from_millisecond(millis as i64).ok())
            .flatten();
    }
    text.parse().ok()
}
