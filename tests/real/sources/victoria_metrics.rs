//! Against Debian's VictoriaMetrics 1.79, which speaks Prometheus' API.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use ringward::{
    decide::event::Reading,
    model::{ring::ProviderKind, time::Span},
};
use serde_json::Value;

use super::{HTTP, age, basic, now, program, ready, take, whole_second};
use crate::{
    prometheus::{Asker, at, free_port, is},
    support::Program,
};

/// A VictoriaMetrics in a folder.
pub struct VictoriaMetrics {
    pub port: u16,
    dir: PathBuf,
    program: PathBuf,
    running: Option<Program>,
}

impl VictoriaMetrics {
    /// Where it is installed.
    pub async fn start(dir: &Path) -> Option<Self> {
        let program = program("victoria-metrics")?;
        let dir = dir.join("victoria-metrics");
        std::fs::create_dir_all(&dir).expect("a folder");
        let mut new = Self { port: free_port(), dir, program, running: None };
        new.run(&[]).await;
        Some(new)
    }

    async fn run(&mut self, flags: &[&str]) {
        let mut arguments = vec![
            format!("-storageDataPath={}", self.dir.join("data").display()),
            format!("-httpListenAddr=127.0.0.1:{}", self.port),
            "-loggerLevel=ERROR".into(),
        ];
        arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
        self.running = Some(Program::start(&self.dir, &self.program, &arguments));
        ready("victoria-metrics", &format!("http://127.0.0.1:{}/health", self.port)).await;
    }

    /// Writes samples in Prometheus' text format, with milliseconds.
    pub async fn write(&self, lines: &str) {
        self.post("api/v1/import/prometheus", lines).await;
    }

    /// Makes what was written known. A series that is asked for before is not found for another ten seconds.
    pub async fn settle(&self) {
        self.post("internal/force_flush", "").await;
    }

    async fn post(&self, path: &str, body: &str) {
        let url = format!("http://127.0.0.1:{}/{path}", self.port);
        // Who does not ask for a password takes any.
        let request = HTTP.post(url).basic_auth("reader", Some("open sesame"));
        take(request.body(body.to_owned())).await;
    }

    /// What it answers to a query of nobody in particular.
    async fn plain(&self, query: &str) -> Value {
        let url = format!("http://127.0.0.1:{}/api/v1/query", self.port);
        let text = take(HTTP.get(url).query(&[("query", query)])).await;
        let answer: Value = serde_json::from_str(&text).expect("JSON");
        answer["data"]["result"][0]["value"].clone()
    }
}

const LATENCY: &str = r#"shop_latency{host="a"}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn victoria_metrics_is_read_as_prometheus_is() {
    let dir = tempfile::tempdir().expect("a folder");
    let Some(mut server) = VictoriaMetrics::start(dir.path()).await else { return };
    let asker = Asker::of(ProviderKind::Prometheus, server.port, None);

    // What it was before is a second's number; what is now, a minus: nobody can take the one for the other.
    let last = whole_second(now());
    let mut lines = String::new();
    for ago in 0..300 {
        let millis = last.as_millisecond() - ago * 1_000;
        let value = if ago < 20 { -1 } else { ago };
        let _ = writeln!(lines, "shop_latency{{host=\"a\"}} {value} {millis}");
        let _ = writeln!(lines, "shop_latency{{host=\"b\"}} 0 {millis}");
    }
    let old = last.as_millisecond() - 3_600_000;
    let _ = writeln!(lines, "shop_old 1 {old}");
    server.write(&lines).await;
    server.settle().await;

    // As of now, though others are answered as of half a minute ago and told that it is of now.
    let reading = asker.until(LATENCY, is(-1.0)).await;
    let told = age(at(&reading));
    assert!((-1.0..5.0).contains(&told), "{told}");
    let plain = server.plain(LATENCY).await;
    let (stamp, value) =
        (plain[0].as_i64().expect("a second"), plain[1].as_str().expect("a number"));
    assert!(value.parse::<i64>().is_ok_and(|value| value >= 20), "{plain}");
    assert!((now().as_second() - stamp).abs() < 5, "{plain}");

    // Other numbers, and none.
    for (query, value) in [
        ("scalar(vector(3))", 3.0),
        ("vector(1) / 0", f64::INFINITY),
        ("-1 / 0", f64::NEG_INFINITY),
        ("sum(shop_latency)", -1.0),
    ] {
        assert!(is(value)(&asker.ask(query).await), "{query}");
    }
    for query in
        ["nothing", "0 / 0", "vector(0) / vector(0)", "\"text\"", "shop_latency > 9000", "shop_old"]
    {
        assert_eq!(asker.ask(query).await, Reading::Absent, "{query}");
    }
    for (query, part) in [
        ("shop_latency", "2 series"),
        ("shop_latency[1m]", "a range of samples"),
        ("sum(canary", "HTTP 422"),
        ("canary(shop_latency)", "HTTP 422"),
        ("shop_latency * on() shop_latency", "HTTP 422"),
    ] {
        let why = asker.error(query).await;
        assert!(why.contains(part) && !why.contains("canary"), "{query}: {why}");
    }

    // As of an instant.
    let before = last - Duration::from_secs(100);
    let answer = asker.measure(LATENCY, None, Some(before)).await;
    assert!(answer.baseline.as_ref().is_some_and(is(100.0)), "{answer:?}");

    // A stretch of time: exact where it lies half a minute back, and with steps of a minute.
    let range = async |ago: (u64, u64), step: u64| {
        let (from, to) = (last - Duration::from_secs(ago.0), last - Duration::from_secs(ago.1));
        let during = (from, to, Span::seconds(1) * step);
        let asked = asker.metrics.range(&asker.source, LATENCY, during, Span::seconds(5));
        let samples = asked.await.expect("samples");
        samples.iter().map(|sample| sample.value).collect::<Vec<_>>()
    };
    assert_eq!(range((100, 60), 10).await, [100.0, 90.0, 80.0, 70.0, 60.0]);
    assert_eq!(range((240, 0), 60).await, [240.0, 180.0, 120.0, 60.0, -1.0]);
    // With shorter ones this version repeats up to now what was half a minute ago, whoever asks.
    let repeated = range((60, 0), 5).await;
    assert!(repeated.len() > 9 && repeated.iter().all(|value| *value >= 20.0), "{repeated:?}");
    let several = asker
        .metrics
        .range(&asker.source, "shop_latency", (before, last, Span::minutes(1)), Span::seconds(5))
        .await;
    assert!(several.unwrap_err().contains("2 series"));

    // A server that is gone is an error; one that is back asks who it is now, and is read again.
    server.running = None;
    let why = asker.gone("vector(1)").await;
    assert!(why.starts_with("metric source prometheus: cannot connect"), "{why}");
    let password = ["-httpAuth.username=reader", "-httpAuth.password=open sesame"];
    server.run(&[password[0], password[1], "-search.latencyOffset=1ms"]).await;
    let shown = |password| {
        let auth = basic(dir.path(), "reader", password);
        Asker::of(ProviderKind::Prometheus, server.port, Some(auth))
    };
    let known = shown("open sesame");
    assert!(is(1.0)(&known.ask("vector(1)").await));
    // One that is told to hold nothing back repeats no more than the last second.
    let last = whole_second(now());
    let line = |ago: i64| format!("shop_fresh {ago} {}\n", last.as_millisecond() - ago * 1_000);
    server.write(&(0..60).map(line).collect::<String>()).await;
    server.settle().await;
    known.until("shop_fresh", is(0.0)).await;
    let (from, to) = (last - Duration::from_secs(25), last - Duration::from_secs(5));
    let during = (from, to, Span::seconds(5));
    let samples = known.metrics.range(&known.source, "shop_fresh", during, Span::seconds(5)).await;
    let values: Vec<_> = samples.expect("samples").iter().map(|sample| sample.value).collect();
    assert_eq!(values, [25.0, 20.0, 15.0, 10.0, 5.0]);
    for asker in [asker, shown("canary")] {
        let why = asker.error("vector(1)").await;
        assert!(
            why.contains("HTTP 401: check the credentials") && !why.contains("canary"),
            "{why}"
        );
    }
}
