//! What a collector of OpenTelemetry's is told, read by OTLP's published messages.

mod common;

use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, routing::post};
use common::{Client, Declarations};
use opentelemetry_proto::tonic::{
    collector::{metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{KeyValue, any_value::Value},
    metrics::v1::Metric,
    trace::v1::{Span, status::StatusCode},
};
use prost::Message as _;
use ringward::{
    app,
    clock::{Clock, SystemClock},
    config::{OtlpSettings, Settings},
    model::time::{Mono, Span as Length},
    sim::loopback::Fleet,
};

/// Everything that was told.
#[derive(Default)]
struct Told {
    spans: Vec<Span>,
    metrics: BTreeMap<String, Metric>,
    services: Vec<Vec<KeyValue>>,
    headers: Vec<HeaderMap>,
}

type Shared = Arc<Mutex<Told>>;

async fn traces(State(told): State<Shared>, headers: HeaderMap, body: Bytes) {
    let request = ExportTraceServiceRequest::decode(body).expect("OTLP's message");
    let mut told = told.lock().unwrap();
    told.headers.push(headers);
    for resource in request.resource_spans {
        told.services.push(resource.resource.expect("a resource").attributes);
        for scope in resource.scope_spans {
            assert_eq!(scope.scope.expect("a scope").name, "ringward");
            told.spans.extend(scope.spans);
        }
    }
}

async fn metrics(State(told): State<Shared>, headers: HeaderMap, body: Bytes) {
    let request = ExportMetricsServiceRequest::decode(body).expect("OTLP's message");
    let mut told = told.lock().unwrap();
    told.headers.push(headers);
    for resource in request.resource_metrics {
        told.services.push(resource.resource.expect("a resource").attributes);
        let found = resource.scope_metrics.into_iter().flat_map(|scope| scope.metrics);
        told.metrics.extend(found.map(|metric| (metric.name.clone(), metric)));
    }
}

async fn collector() -> (String, Shared) {
    let told = Shared::default();
    let routes = Router::new()
        .route("/v1/traces", post(traces))
        .route("/v1/metrics", post(metrics))
        .with_state(told.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (url, told)
}

fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    let value = found.value.as_ref()?.value.as_ref()?;
    let Value::StringValue(text) = value else { panic!("{key}: {value:?}") };
    Some(text)
}

async fn start(fleet: &Fleet, settings: Settings) -> (app::Running, Client) {
    let running = app::start(settings, |base| Arc::new(SystemClock::new(base))).await.unwrap();
    let client = Client::new(running.address, common::admin_token(&running.data));
    let seen = |clusters: &serde_json::Value| {
        let items = clusters["items"].as_array().map_or(&[][..], Vec::as_slice);
        items.len() == fleet.clusters().count()
            && items.iter().all(|item| item["targets"][0]["status"] == "ready")
    };
    client.until_at("/v1/clusters", "what runs to be seen", seen).await;
    (running, client)
}

async fn fleet(folder: &std::path::Path) -> Fleet {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new(Mono(0)));
    let fleet = common::fleet(Length(200), clock, folder).await;
    Declarations { soak: "1s", ..Declarations::of(&fleet) }.write(&folder.join("source"));
    fleet
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_told_as_traces_that_are_joined_and_figures_as_metrics() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = fleet(folder.path()).await;
    let (endpoint, told) = collector().await;
    let headers = folder.path().join("headers");
    fs::write(&headers, "x-tenant: shop\nauthorization: Bearer secret\n").unwrap();
    let mut settings = common::settings(&fleet, folder.path());
    settings.telemetry.otlp =
        Some(OtlpSettings { endpoint, headers_file: Some(headers), interval: Length(300) });
    let (running, client) = start(&fleet, settings).await;
    client.release("checkout", "1.0", '1').await.good();
    client.until("checkout", "1.0", "success", |seen| seen["phase"] == "Succeeded").await;
    client.release("search", "1.0", '1').await.good();
    client.act("search", "1.0", "abort").await.good();
    client.until("search", "1.0", "an end", |seen| seen["settled"] == true).await;
    running.stop().await;

    let told = told.lock().unwrap();
    for headers in &told.headers {
        assert_eq!(headers["x-tenant"], "shop");
        assert_eq!(headers["authorization"], "Bearer secret");
        assert_eq!(headers["content-type"], "application/x-protobuf");
    }
    assert!(told.services.iter().all(|s| text(s, "service.name") == Some("ringward")));
    assert!(told.services.iter().all(|s| text(s, "service.version").is_some()));

    let of = |plan: &str| -> Vec<&Span> {
        let of_plan = |span: &&Span| text(&span.attributes, "cicd.pipeline.name") == Some(plan);
        told.spans.iter().filter(of_plan).collect()
    };
    let checkout = of("checkout");
    let named = |name: &str| -> Vec<&Span> {
        checkout.iter().filter(|span| span.name == name).copied().collect()
    };
    let [release] = named("RUN checkout")[..] else { panic!("{checkout:#?}") };
    assert_eq!(text(&release.attributes, "cicd.pipeline.run.id"), Some("checkout@1.0"));
    assert_eq!(text(&release.attributes, "cicd.pipeline.result"), Some("success"));
    assert_eq!(text(&release.attributes, "artifact.version"), Some("1.0"));
    let digest = text(&release.attributes, "artifact.hash").expect("a digest");
    assert_eq!(digest, format!("sha256:{}", "1".repeat(64)));
    assert!(text(&release.attributes, "vcs.ref.head.revision").is_some());
    assert_eq!(release.links.len(), 2);
    for ring in ["eu", "us"] {
        let [attempt] = named(&format!("RUN {ring}"))[..] else { panic!("{checkout:#?}") };
        assert_eq!(text(&attempt.attributes, "cicd.pipeline.task.run.result"), Some("success"));
        assert_eq!(text(&attempt.attributes, "deployment.environment.name"), Some(ring));
        assert_eq!(text(&attempt.attributes, "deployment.status"), Some("succeeded"));
        assert!(attempt.parent_span_id.is_empty());
        // Each a trace of its own, joined by links in both directions.
        assert_ne!(attempt.trace_id, release.trace_id);
        assert_eq!(attempt.links[0].span_id, release.span_id);
        assert_eq!(attempt.links[0].trace_id, release.trace_id);
        let back = release.links.iter().any(|link| link.span_id == attempt.span_id);
        assert!(back, "{release:#?}");
        let within = |name: &str| {
            let mine = |span: &&&Span| span.trace_id == attempt.trace_id && span.name == name;
            checkout.iter().filter(mine).count()
        };
        assert_eq!((within("deploy"), within("soak")), (1, 1), "{checkout:#?}");
        for span in checkout.iter().filter(|span| span.trace_id == attempt.trace_id) {
            assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
            assert!(span.start_time_unix_nano >= attempt.start_time_unix_nano);
            assert!(span.end_time_unix_nano <= attempt.end_time_unix_nano);
            let parent = if span.name.starts_with("RUN") { &[][..] } else { &attempt.span_id };
            assert_eq!(span.parent_span_id, parent);
        }
        let soaked = attempt.end_time_unix_nano - attempt.start_time_unix_nano;
        assert!(soaked >= 1_000_000_000, "{soaked}");
    }
    // No two spans are one, but for what was told again.
    let aborted = of("search").into_iter().find(|span| span.name == "RUN search");
    let aborted = aborted.expect("the aborted release");
    assert_eq!(text(&aborted.attributes, "cicd.pipeline.result"), Some("cancellation"));
    let failed = |span: &Span| span.status.as_ref().is_some_and(|s| s.code() == StatusCode::Error);
    assert!(!told.spans.iter().any(failed), "an abort is no failure");

    for name in [
        "ringward_ring_phase",
        "ringward_gate_value",
        "ringward_transitions_total",
        "ringward_ring_duration_seconds",
        "ringward_append_seconds",
        "ringward_writer",
    ] {
        let names: Vec<_> = told.metrics.keys().collect();
        assert!(told.metrics.contains_key(name), "no {name} among {names:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_harms_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = fleet(folder.path()).await;
    // It takes connections, and answers nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let mut settings = common::settings(&fleet, folder.path());
    settings.telemetry.otlp =
        Some(OtlpSettings { endpoint, headers_file: None, interval: Length(100) });
    let (running, client) = start(&fleet, settings).await;
    client.release("checkout", "1.0", '1').await.good();
    client.until("checkout", "1.0", "success", |seen| seen["phase"] == "Succeeded").await;
    let metrics = client.text("/metrics").await;
    assert!(String::from_utf8_lossy(&metrics).contains("ringward_ring_phase"));
    let stopped = tokio::time::timeout(Duration::from_secs(20), running.stop()).await;
    stopped.expect("it stops without the collector");
}

#[tokio::test]
async fn a_file_of_headers_that_is_none_is_said_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("headers");
    let otlp = |file: &std::path::Path| OtlpSettings {
        endpoint: "http://127.0.0.1:1".into(),
        headers_file: Some(file.into()),
        interval: Length(1_000),
    };
    let why = |settings: &OtlpSettings| {
        ringward::show::telemetry::otlp::Otlp::new(Some(settings))
            .err()
            .expect("refused")
            .to_string()
    };
    assert!(why(&otlp(&file)).contains("cannot be read"));
    fs::write(&file, "no header, and a secret\n").unwrap();
    let said = why(&otlp(&file));
    assert!(said.contains("no `Name: value`") && !said.contains("secret"), "{said}");
}
