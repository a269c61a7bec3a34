//! Traces and metrics by OTLP over HTTP, in protobuf, to a collector that the settings or the standard
//! `OTEL_EXPORTER_OTLP_*` variables name. Without either, nobody is told anything.
//!
//! Whatever becomes of the collector, ringward goes on: what is told waits in a queue that may overflow, each
//! request has its time, and what could not be told is forgotten.

use std::{
    collections::HashMap, env, fs, io, path::PathBuf, pin::Pin, sync::Mutex, time::Duration,
};

use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{
    ExporterBuildError, MetricExporter, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::{
    Resource,
    metrics::PeriodicReader,
    trace::{SpanData, SpanExporter as _},
};
use tokio::{runtime::Handle, sync::mpsc, task::JoinHandle};

use crate::config::OtlpSettings;

/// Spans that may wait for the collector; more are dropped.
const WAITING: usize = 4_096;
/// Spans of one request.
const BATCH: usize = 512;
/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most of an answer that is read.
const LONGEST: usize = 64 * 1024;
/// How long the last request may take, when the server stops.
const LAST: Duration = Duration::from_secs(3);

/// Why nobody can be told.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each is its sentence")]
pub enum OtlpError {
    #[error("telemetry.otlp.headersFile {}: it cannot be read", .0.display())]
    Unreadable(PathBuf, #[source] io::Error),
    #[error("telemetry.otlp.headersFile {}: a line is no `Name: value`", .0.display())]
    NoHeader(PathBuf),
    #[error("telemetry.otlp: no HTTP client can be made")]
    Client(#[source] reqwest::Error),
    #[error("telemetry.otlp: the collector cannot be told anything")]
    Exporter(#[from] ExporterBuildError),
}

/// The way to a collector.
pub struct Otlp {
    pub(super) reader: PeriodicReader<MetricExporter>,
    exporter: SpanExporter,
}

impl Otlp {
    /// By the settings, or else by the environment; nothing where neither says anything. Must be called
    /// inside a tokio runtime.
    ///
    /// # Errors
    /// What is said cannot be used.
    pub fn new(settings: Option<&OtlpSettings>) -> Result<Option<Self>, OtlpError> {
        let said = |name: &str| env::var(name).is_ok_and(|value| !value.is_empty());
        let off =
            env::var("OTEL_SDK_DISABLED").is_ok_and(|value| value.eq_ignore_ascii_case("true"));
        let surroundings = ENDPOINTS.iter().any(|name| said(name));
        if off || settings.is_none() && !surroundings {
            return Ok(None);
        }
        let headers = settings.map(headers).transpose()?.unwrap_or_default();
        let client = Carrier::new()?;
        let at = |signal: &str| {
            settings.map(|s| format!("{}/v1/{signal}", s.endpoint.trim_end_matches('/')))
        };
        let mut spans = SpanExporter::builder().with_http().with_http_client(client.clone());
        let mut metrics = MetricExporter::builder().with_http().with_http_client(client);
        if let (Some(traces), Some(figures)) = (at("traces"), at("metrics")) {
            spans = spans.with_endpoint(traces).with_headers(headers.clone());
            metrics = metrics.with_endpoint(figures).with_headers(headers);
        }
        let mut exporter = spans.with_timeout(PATIENCE).build()?;
        exporter.set_resource(&resource());
        let mut reader = PeriodicReader::builder(metrics.with_timeout(PATIENCE).build()?);
        if let Some(settings) = settings {
            reader = reader.with_interval(settings.interval.to_std());
        }
        Ok(Some(Self { reader: reader.build(), exporter }))
    }

    /// Begins to carry spans; the reader is the meters' to take.
    pub(super) fn begin(self) -> (PeriodicReader<MetricExporter>, Spans) {
        let (send, waiting) = mpsc::channel(WAITING);
        let carried = tokio::spawn(carry(waiting, self.exporter));
        let spans = Spans { send: Mutex::new(Some(send)), carried: Mutex::new(Some(carried)) };
        (self.reader, spans)
    }
}

/// The variables that switch it on.
const ENDPOINTS: [&str; 3] = [
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
];

/// Who tells; `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME` may say more.
pub(super) fn resource() -> Resource {
    let version = opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let named = env::var("OTEL_SERVICE_NAME").is_ok_and(|name| !name.is_empty());
    let resource = Resource::builder().with_attribute(version);
    if named { resource.build() } else { resource.with_service_name("ringward").build() }
}

/// One `Name: value` a line; secrets among them.
fn headers(settings: &OtlpSettings) -> Result<HashMap<String, String>, OtlpError> {
    let Some(path) = &settings.headers_file else { return Ok(HashMap::new()) };
    let text = fs::read_to_string(path).map_err(|e| OtlpError::Unreadable(path.clone(), e))?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        let name = name.trim();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        (!name.is_empty() && name.chars().all(plain))
            .then(|| (name.to_owned(), value.trim().to_owned()))
    };
    let read: Option<HashMap<_, _>> = lines.map(header).collect();
    read.ok_or_else(|| OtlpError::NoHeader(path.clone()))
}

/// What is on its way to the collector.
pub(super) struct Spans {
    send: Mutex<Option<mpsc::Sender<SpanData>>>,
    carried: Mutex<Option<JoinHandle<()>>>,
}

impl Spans {
    /// Hands a span over; one for which there is no room is dropped.
    pub(super) fn tell(&self, span: SpanData) {
        if let Some(send) = &*lock(&self.send) {
            let _ = send.try_send(span);
        }
    }

    /// Tells what waits, if the collector takes it soon.
    pub(super) async fn stop(&self) {
        drop(lock(&self.send).take());
        let carried = lock(&self.carried).take();
        if let Some(carried) = carried {
            let _ = tokio::time::timeout(LAST, carried).await;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

async fn carry(mut waiting: mpsc::Receiver<SpanData>, exporter: SpanExporter) {
    let mut well = true;
    let mut batch = Vec::new();
    while waiting.recv_many(&mut batch, BATCH).await > 0 {
        match exporter.export(std::mem::take(&mut batch)).await {
            Ok(()) if !well => {
                well = true;
                tracing::info!("the collector takes traces again");
            }
            Ok(()) => {}
            Err(error) if well => {
                well = false;
                tracing::warn!(%error, "the collector takes no traces: what it should have had is dropped");
            }
            Err(_) => {}
        }
    }
}

/// The HTTP client that there is anyway, for whoever asks from whatever thread.
#[derive(Debug, Clone)]
struct Carrier {
    http: reqwest::Client,
    runtime: Handle,
}

impl Carrier {
    fn new() -> Result<Self, OtlpError> {
        let http = reqwest::Client::builder()
            .user_agent(concat!("ringward/", env!("CARGO_PKG_VERSION")))
            // Headers may hold a secret, which is for the collector that was named.
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE);
        let http = http.build().map_err(OtlpError::Client)?;
        Ok(Self { http, runtime: Handle::current() })
    }
}

impl HttpClient for Carrier {
    fn send_bytes<'s, 'f>(
        &'s self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'f>>
    where
        's: 'f,
        Self: 'f,
    {
        let http = self.http.clone();
        let sent = self.runtime.spawn(async move {
            let mut answer = http.execute(request.try_into()?).await?;
            let mut body = Vec::new();
            while let Some(chunk) = answer.chunk().await? {
                body.extend_from_slice(&chunk);
                if body.len() > LONGEST {
                    return Err("the collector's answer is too long".into());
                }
            }
            let mut response = Response::new(Bytes::from(body));
            *response.status_mut() = answer.status();
            *response.headers_mut() = std::mem::take(answer.headers_mut());
            Ok::<_, HttpError>(response)
        });
        Box::pin(async move { sent.await? })
    }
}
