//! Flagger's own metrics, over what a mesh documents of its own.
//!
//! The success rate is a percentage of the requests to the workload that did not end in an error; the duration is the
//! 99th percentile in milliseconds. Istio documents `istio_requests_total` and
//! `istio_request_duration_milliseconds` with `reporter`, `destination_workload`, `destination_workload_namespace` and
//! `response_code`; Linkerd documents `response_total` and `response_latency_ms` with `direction`, `deployment`,
//! `namespace` and `classification`.

use super::super::{Mesh, draft::Template};
use crate::declare::schema::Provider;

/// The share of requests without an error, in percent.
pub(super) const SUCCESS_RATE: &str = "request-success-rate";
/// The 99th percentile of durations, in milliseconds.
const DURATION: &str = "request-duration";

/// What their templates are called.
pub(super) const NAMES: [&str; 4] = [
    "istio-request-success-rate",
    "istio-request-duration",
    "linkerd-request-success-rate",
    "linkerd-request-duration",
];

/// The template of one of them.
///
/// # Errors
/// It is none of them, or nobody says which mesh it is of; and what to do.
pub(super) fn template(name: &str, mesh: Option<Mesh>) -> Result<Template, (String, &'static str)> {
    if name != SUCCESS_RATE && name != DURATION {
        return Err((
            "it has neither a templateRef nor a query, and is none of Flagger's own".into(),
            "name its MetricTemplate, under templateRef",
        ));
    }
    let Some(mesh) = mesh else {
        return Err((
            "Flagger's own metrics are another query for each mesh, and nothing says whose it is"
                .into(),
            "give --mesh istio or --mesh linkerd; for another, write a GateTemplate of its own metrics",
        ));
    };
    let (word, selector, requests, good, buckets) = match mesh {
        Mesh::Istio => (
            "istio",
            "reporter=\"destination\",destination_workload_namespace=\"{{namespace}}\",destination_workload=\"{{target}}\"",
            "istio_requests_total",
            "response_code!~\"5..\"",
            "istio_request_duration_milliseconds_bucket",
        ),
        Mesh::Linkerd => (
            "linkerd",
            "direction=\"inbound\",namespace=\"{{namespace}}\",deployment=\"{{target}}\"",
            "response_total",
            "classification!=\"failure\"",
            "response_latency_ms_bucket",
        ),
    };
    let query = match name {
        SUCCESS_RATE => format!(
            "100 *\n  sum(rate({requests}{{{selector},{good}}}[{{{{window}}}}]))\n  \
             / sum(rate({requests}{{{selector}}}[{{{{window}}}}]))"
        ),
        _ => format!(
            "histogram_quantile(0.99,\n  sum by (le) (rate({buckets}{{{selector}}}[{{{{window}}}}])))"
        ),
    };
    Ok(Template {
        name: format!("{word}-{name}"),
        provider: Provider::Prometheus,
        args: vec![("window".into(), None)],
        query,
        origin: format!(
            "Flagger's {name}, by the metrics of {}",
            if word == "istio" { "Istio" } else { "Linkerd" }
        ),
    })
}
