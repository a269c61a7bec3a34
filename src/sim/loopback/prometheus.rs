//! A server that speaks Prometheus' queries for one simulated cluster.
//!
//! What it is: `/api/v1/query` and `/api/v1/query_range` by GET and by POST, and `/api/v1/alerts`, with the
//! real shapes of answers and errors. It
//! recognises what a query is after from the metric it names, its `service` matcher and the functions
//! around it, and answers with the figures that [`Traffic`] has for that service: plausible, gently
//! noisy, the same for the same seed and instant, and true of what the cluster's Deployment ran then.
//!
//! What it is not: it does not evaluate PromQL. Requests by their code, their duration's quantiles,
//! orders, saturation and `up` are all that it knows; any other metric is an empty vector, as it would
//! be in a Prometheus that scrapes no such thing. It has one alert a service, `ErrorsHigh`, which fires
//! while more than 1% of the requests of the last five minutes failed; there are no other rules.

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
use crate::{clock::Clock, model::time::Span};

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
        .route("/api/v1/query_range", get(range).post(range))
        .route("/api/v1/alerts", get(alerts))
        .route("/-/ready", get(|| async { "Prometheus Server is Ready.\n" }))
        .fallback(|| async { (StatusCode::NOT_FOUND, "404 page not found\n") })
        .with_state(Server { traffic, clock })
}

type Asked = Query<BTreeMap<String, String>>;

/// What the URL asks, and what the body does.
fn whole(Query(mut asked): Asked, body: &Bytes) -> BTreeMap<String, String> {
    // A form has the syntax of a URL's query.
    let form = std::str::from_utf8(body).unwrap_or_default();
    if let Ok(uri) = format!("/?{form}").parse::<Uri>()
        && let Ok(Query(form)) = Asked::try_from_uri(&uri)
    {
        asked.extend(form);
    }
    asked
}

/// Points that one range may have, as in Prometheus.
const POINTS: u64 = 11_000;

async fn range(State(server): State<Server>, asked: Asked, body: Bytes) -> Response {
    let asked = whole(asked, &body);
    let text = |name: &str| asked.get(name).map(String::as_str).unwrap_or_default();
    let (Some(from), Some(to)) = (instant_of(text("start")), instant_of(text("end"))) else {
        return bad_data("start", "cannot parse it to a valid timestamp");
    };
    let step = text("step").parse::<f64>().ok().filter(|step| *step > 0.0);
    let Some(step) = step.map(|step| Span((step * 1_000.0) as u64)).filter(|s| *s > Span::ZERO)
    else {
        return bad_data("step", "cannot parse it to a valid duration");
    };
    let length = u64::try_from(to.duration_since(from).as_millis()).unwrap_or(0);
    if length / step.0 >= POINTS {
        return bad_data("step", "exceeded maximum resolution of 11,000 points per timeseries");
    }
    let value = match query::read(text("query")) {
        Ok(asked) => asked,
        Err(why) => return bad_data("query", &why),
    };
    let mut values = Vec::new();
    for n in 0..=length / step.0 {
        let Ok(at) = from.checked_add(Span(step.0 * n).to_signed()) else { break };
        let told = value.as_ref().and_then(|asked| server.traffic.answer(asked, at));
        values.extend(told.map(|value| pair(at, value)));
    }
    let series: Vec<_> =
        (!values.is_empty()).then(|| json!({"metric": {}, "values": values})).into_iter().collect();
    let data = json!({"resultType": "matrix", "result": series});
    Json(json!({"status": "success", "data": data})).into_response()
}

async fn alerts(State(server): State<Server>) -> Response {
    let now = server.clock.now().wall;
    let firing: Vec<_> = server
        .traffic
        .services()
        .filter_map(|service| {
            let failing = server.traffic.failing(service, now).filter(|share| *share > 0.01)?;
            let labels = json!({"alertname": "ErrorsHigh", "service": service, "severity": "page"});
            Some(json!({
                "labels": labels,
                "annotations": {"summary": "more than 1% of the requests fail"},
                "state": "firing",
                "activeAt": now.to_string(),
                "value": failing.to_string(),
            }))
        })
        .collect();
    Json(json!({"status": "success", "data": {"alerts": firing}})).into_response()
}

async fn instant(State(server): State<Server>, asked: Asked, body: Bytes) -> Response {
    let asked = whole(asked, &body);
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
    json!({"metric": {}, "value": pair(at, value)})
}

fn pair(at: Timestamp, value: f64) -> Value {
    let value = match value {
        v if v == f64::INFINITY => "+Inf".into(),
        v if v == f64::NEG_INFINITY => "-Inf".into(),
        v => v.to_string(),
    };
    json!([at.as_millisecond() as f64 / 1_000.0, value])
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
