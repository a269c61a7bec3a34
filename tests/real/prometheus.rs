//! Against Debian's Prometheus, which scrapes a small exporter of ours.

use std::{
    env,
    fmt::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use ringward::{
    act::{
        Measurer,
        metrics::{Limits, Metrics, auth::Credentials},
    },
    clock::{Clock, SystemClock},
    config::{BasicAuth, MetricsAuth},
    decide::{
        command::Measure,
        event::{Answer, Reading},
        fact::{Judged, Verdict},
        gate::{self, Given, history::History},
    },
    ids::ReleaseId,
    model::{
        policy::{Baseline, Direction, Gate, Judge, OnNoData, Signal},
        ring::{MetricSource, ProviderKind},
        time::{Mono, Span},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};

/// Where the program is: `PROMETHEUS`, or the PATH; None where the test is to be skipped.
pub fn program() -> Option<PathBuf> {
    let named = env::var_os("PROMETHEUS").map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    let found = named.or_else(|| {
        env::split_paths(&path).map(|dir| dir.join("prometheus")).find(|file| file.is_file())
    });
    if found.is_none() {
        let required = env::var("RINGWARD_REAL").is_ok_and(|v| v == "required");
        assert!(!required, "prometheus is not installed, and RINGWARD_REAL=required");
        eprintln!("skipped: prometheus is not installed");
    }
    found
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// What the exporter shows: a shop with requests that may fail.
#[derive(Default)]
struct Shop {
    good: f64,
    bad: f64,
    latency: f64,
    /// Of a hundred requests, which come with each scrape, so many fail.
    failing: f64,
}

impl Shop {
    fn page(&mut self) -> String {
        self.good += 100.0 - self.failing;
        self.bad += self.failing;
        let mut page = String::new();
        for (code, count) in [("200", self.good), ("500", self.bad)] {
            let _ = writeln!(page, "shop_requests_total{{code=\"{code}\"}} {count}");
        }
        let _ = writeln!(page, "shop_latency_seconds {}", self.latency);
        page
    }
}

/// Serves the shop's page to whoever connects.
struct Exporter {
    serving: JoinHandle<()>,
}

impl Exporter {
    async fn start(address: SocketAddr, shop: Arc<Mutex<Shop>>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let serving = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let page = shop.lock().unwrap().page();
                let mut request = [0; 4_096];
                let _ = stream.read(&mut request).await;
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close";
                let answer = format!("{head}\r\nContent-Length: {}\r\n\r\n{page}", page.len());
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self { serving }
    }

    async fn stop(self) {
        self.serving.abort();
        let _ = self.serving.await;
    }
}

/// A running Prometheus; dropping it kills it.
pub struct Prometheus(Child);

impl Prometheus {
    /// Starts it with `prometheus.yml` of that folder.
    pub fn start(program: &Path, dir: &Path, port: u16) -> Self {
        Self::start_with(program, dir, port, &[])
    }

    /// The same, with further flags.
    fn start_with(program: &Path, dir: &Path, port: u16, flags: &[String]) -> Self {
        let child = Command::new(program)
            .args(flags)
            .arg(format!("--config.file={}", dir.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", dir.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--log.level=error")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("prometheus starts");
        Self(child)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks one source.
pub struct Asker {
    /// As ringward asks it.
    pub metrics: Metrics,
    /// Whom.
    pub source: MetricSource,
}

impl Asker {
    fn new(port: u16) -> Self {
        Self::of(ProviderKind::Prometheus, port, None)
    }

    /// Of a source of that kind on that port, named as its kind is, and shown that.
    pub fn of(kind: ProviderKind, port: u16, auth: Option<MetricsAuth>) -> Self {
        let url = format!("http://127.0.0.1:{port}");
        let auth = auth.map(|auth| (url.clone(), auth)).into_iter().collect();
        let clock = Arc::new(SystemClock::new(Mono(0)));
        let metrics = Metrics::new(Credentials::new(auth).unwrap(), clock, Limits::default());
        let source = MetricSource { name: kind.name().into(), kind, url, jurisdiction: None };
        Self { metrics: metrics.unwrap(), source }
    }

    /// Asks for a number, for a count of samples and for the number as of an earlier instant.
    pub async fn measure(
        &self,
        query: &str,
        samples: Option<&str>,
        at: Option<Timestamp>,
    ) -> Answer {
        let measure = Measure {
            key: "shop@1/beta/c/1/gate/1".into(),
            release: ReleaseId::new("shop", "1"),
            ring: "beta".into(),
            attempt: 1,
            cluster: "c".into(),
            gate: "gate".into(),
            source: Some(self.source.clone()),
            query: query.into(),
            samples: samples.map(Into::into),
            baseline_at: at,
            due: Mono(0),
            timeout: Span::seconds(5),
            parts: Vec::new(),
            past: None,
        };
        self.metrics.measure(&measure).await
    }

    /// Asks for a number.
    pub async fn ask(&self, query: &str) -> Reading {
        self.measure(query, None, None).await.value
    }

    /// Asks until the reading is as wanted, for half a minute at the most.
    pub async fn until(&self, query: &str, wanted: impl Fn(&Reading) -> bool) -> Reading {
        let mut last = Reading::Absent;
        for _ in 0..300 {
            last = self.ask(query).await;
            if wanted(&last) {
                return last;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{query} is still {last:?}");
    }

    /// Why a query has no answer that can be used.
    pub async fn error(&self, query: &str) -> String {
        match self.ask(query).await {
            Reading::Error(why) => why,
            other @ (Reading::Value { .. } | Reading::Absent) => panic!("{query}: {other:?}"),
        }
    }

    /// Why there is no answer once the server is gone.
    pub async fn gone(&self, query: &str) -> String {
        let mut why = self.error(query).await;
        // Connections that were kept may not know yet: each breaks off once, and there are few of them.
        for _ in 0..IDLE {
            if why.contains(": the answer broke off") {
                why = self.error(query).await;
            }
        }
        why
    }
}

/// Whether a reading is that number.
pub fn is(wanted: f64) -> impl Fn(&Reading) -> bool {
    move |reading| matches!(reading, Reading::Value { value, .. } if *value == wanted)
}

/// The instant that a number is true of.
pub fn at(reading: &Reading) -> Timestamp {
    match reading {
        Reading::Value { at, .. } => *at,
        other @ (Reading::Absent | Reading::Error(_)) => panic!("{other:?}"),
    }
}

/// One measurement of a gate of which nothing is known.
pub fn judge(gate: &Gate, answer: &Answer, deployed: Timestamp, now: Timestamp) -> Judged {
    let history = History::default();
    gate::judge(&Given::new(gate, &history, deployed, now), answer).0
}

/// A gate of that judge, with a minimum of samples.
pub fn gate(judge: Judge) -> Gate {
    Gate {
        name: "gate".into(),
        signal: Signal::Errors,
        provider: "prometheus".into(),
        query: "".into(),
        samples: None,
        interval: Span::seconds(1),
        initial_delay: Span::ZERO,
        judge,
        min_samples: Some(100.0),
        min_total_samples: None,
        failure_limit: Some(0),
        consecutive_failure_limit: None,
        consecutive_error_limit: 4,
        on_no_data: OnNoData::Hold,
        no_data_deadline: Span::minutes(30),
        max_age: Span::seconds(10),
        required: true,
        unit: None,
        traffic: None,
    }
}

/// Connections to one source that are kept while nobody asks.
const IDLE: usize = 8;
const LATENCY: &str = "shop_latency_seconds";
const FAILING: &str =
    "sum(rate(shop_requests_total{code=\"500\"}[2s])) / sum(rate(shop_requests_total[2s]))";
const SAMPLES: &str = "sum(increase(shop_requests_total[2s]))";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_is_read_as_it_is() {
    let Some(program) = program() else { return };
    let dir = tempfile::tempdir().unwrap();
    let shop = Arc::new(Mutex::new(Shop { latency: 0.1, ..Shop::default() }));
    let shows = |latency: f64| shop.lock().unwrap().latency = latency;
    let exports: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    let exporter = Exporter::start(exports, shop.clone()).await;
    let config = format!(
        "global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}\n\
         scrape_configs: [{{job_name: shop, static_configs: [{{targets: ['{exports}']}}]}}]\n"
    );
    std::fs::write(dir.path().join("prometheus.yml"), config).unwrap();
    let port = free_port();
    let server = Prometheus::start(&program, dir.path(), port);
    let asker = Asker::new(port);
    let clock = SystemClock::new(Mono(0));

    // A number, true of now.
    let before = asker.until(LATENCY, is(0.1)).await;
    let age = clock.now().wall.duration_since(at(&before)).as_secs_f64();
    assert!((-1.0..5.0).contains(&age), "{age}");
    assert!(is(3.0)(&asker.ask("scalar(vector(3))").await));

    // No number.
    assert_eq!(asker.ask("no_such_metric").await, Reading::Absent);
    assert_eq!(asker.ask("vector(0) / vector(0)").await, Reading::Absent);
    assert_eq!(asker.ask("0 / 0").await, Reading::Absent);
    assert_eq!(asker.ask(&format!("{LATENCY} > 1000")).await, Reading::Absent);

    // Infinities of both kinds of answer.
    assert!(is(f64::INFINITY)(&asker.ask("vector(1) / 0").await));
    assert!(is(f64::NEG_INFINITY)(&asker.ask("-1 / 0").await));

    // What cannot be used.
    let several = asker.error("shop_requests_total").await;
    assert!(several.contains("2 series") && several.contains("code=\"500\""), "{several}");
    for (query, part) in [
        ("sum(", "HTTP 400, bad_data"),
        ("shop_requests_total * on() shop_requests_total", "HTTP 422, execution"),
        ("shop_latency_seconds[1m]", "range"),
        ("\"text\"", "string"),
    ] {
        let why = asker.error(query).await;
        assert!(why.contains(part) && !why.contains("shop"), "{query}: {why}");
    }

    // A query too long for a URL is answered all the same.
    let long = format!("vector(1){}", " + 0".repeat(3_000));
    assert!(is(1.0)(&asker.ask(&long).await));

    // The same query at an earlier instant, and what a relative gate makes of both.
    shows(0.9);
    let after = asker.until(LATENCY, is(0.9)).await;
    let answer = asker.measure(LATENCY, Some(SAMPLES), Some(at(&before))).await;
    assert!(is(0.9)(&answer.value), "{answer:?}");
    assert!(answer.baseline.as_ref().is_some_and(is(0.1)), "{answer:?}");
    let relative = gate(Judge::Relative {
        baseline: Baseline::Before,
        max_degradation: 0.5,
        direction: Direction::Increase,
        floor: 0.02,
    });
    let judged = judge(&relative, &answer, at(&before), at(&after));
    assert_eq!(judged.verdict, Verdict::Fail, "{judged:?}");
    assert_eq!(judged.detail, "0.9 against 0.1, worse by 800% > 50%");

    // Errors rise, and a threshold gate that passed fails.
    let threshold = gate(Judge::Threshold { min: None, max: Some(0.05) });
    let verdict = async || {
        let answer = asker.measure(FAILING, Some(SAMPLES), None).await;
        judge(&threshold, &answer, at(&before), clock.now().wall)
    };
    asker.until(SAMPLES, |r| matches!(r, Reading::Value { value, .. } if *value > 100.0)).await;
    let healthy = verdict().await;
    assert_eq!(healthy.verdict, Verdict::Pass, "{healthy:?}");
    shop.lock().unwrap().failing = 20.0;
    asker.until(FAILING, |r| matches!(r, Reading::Value { value, .. } if *value > 0.15)).await;
    let failing = verdict().await;
    assert_eq!(failing.verdict, Verdict::Fail, "{failing:?}");

    // Before the deploy, everything is Absent.
    let later = clock.now().wall + Duration::from_secs(5);
    let answer = asker.measure(FAILING, Some(SAMPLES), None).await;
    assert_eq!(judge(&threshold, &answer, later, later).verdict, Verdict::Absent);

    // An exporter that stops leaves no stale numbers behind.
    exporter.stop().await;
    assert_eq!(asker.until(LATENCY, |r| *r == Reading::Absent).await, Reading::Absent);
    assert!(is(0.0)(&asker.ask("up").await));

    // A server that is gone is an error, and one that is back is read again.
    drop(server);
    let why = asker.gone(LATENCY).await;
    assert!(why.starts_with("metric source prometheus: cannot connect"), "{why}");
    let exporter = Exporter::start(exports, shop.clone()).await;
    let server = Prometheus::start(&program, dir.path(), port);
    shows(0.3);
    asker.until(LATENCY, is(0.3)).await;
    // What it knew before it was killed, it knows still.
    let answer = asker.measure(LATENCY, None, Some(at(&before))).await;
    assert!(answer.baseline.as_ref().is_some_and(is(0.1)), "{answer:?}");
    drop(server);
    exporter.stop().await;
}

/// Half of what it knows lies with another store, which is away: it answers from what it has, and warns.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_prometheus_knows_in_part_is_an_error() {
    let Some(program) = program() else { return };
    let dir = tempfile::tempdir().unwrap();
    let shop = Arc::new(Mutex::new(Shop { latency: 0.1, ..Shop::default() }));
    let exports: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    let exporter = Exporter::start(exports, shop.clone()).await;
    let scrapes = format!(
        "global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}\n\
         scrape_configs: [{{job_name: shop, static_configs: [{{targets: ['{exports}']}}]}}]\n"
    );
    let config = dir.path().join("prometheus.yml");
    std::fs::write(&config, &scrapes).unwrap();
    let port = free_port();
    let server = Prometheus::start(&program, dir.path(), port);
    let asker = Asker::new(port);
    let whole = at(&asker.until(LATENCY, is(0.1)).await);

    // The counters of an exporter that starts again start from nothing: no count becomes negative.
    exporter.stop().await;
    *shop.lock().unwrap() = Shop { latency: 0.2, ..Shop::default() };
    let exporter = Exporter::start(exports, shop.clone()).await;
    asker.until(LATENCY, is(0.2)).await;
    let positive = |r: &Reading| matches!(r, Reading::Value { value, .. } if *value >= 0.0);
    for _ in 0..10 {
        asker.until(SAMPLES, positive).await;
    }
    drop(server);

    let remote = format!(
        "{scrapes}remote_read: [{{url: 'http://127.0.0.1:{}/read', read_recent: true}}]\n",
        free_port()
    );
    std::fs::write(&config, remote).unwrap();
    let server = Prometheus::start(&program, dir.path(), port);
    let partial = |r: &Reading| matches!(r, Reading::Error(why) if why.contains("partial data"));
    asker.until(LATENCY, partial).await;
    let during = (whole, whole + Duration::from_secs(2), Span(500));
    let range = asker.metrics.range(&asker.source, LATENCY, during, Span::seconds(5)).await;
    assert!(range.as_ref().is_err_and(|why| why.contains("partial data")), "{range:?}");
    drop(server);

    std::fs::write(&config, scrapes).unwrap();
    let server = Prometheus::start(&program, dir.path(), port);
    asker.until(LATENCY, is(0.2)).await;
    drop(server);
    exporter.stop().await;
}

/// `open sesame`, by bcrypt.
pub const PASSWORD: &str = "$2b$04$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_behind_tls_and_a_password_is_asked_about_a_range() {
    let Some(program) = program() else { return };
    let dir = tempfile::tempdir().unwrap();
    let tls = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/providers/tls");
    let shop = Arc::new(Mutex::new(Shop { latency: 0.25, ..Shop::default() }));
    let exports: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    let exporter = Exporter::start(exports, shop.clone()).await;
    let config = format!(
        "global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}\n\
         scrape_configs: [{{job_name: shop, static_configs: [{{targets: ['{exports}']}}]}}]\n"
    );
    std::fs::write(dir.path().join("prometheus.yml"), config).unwrap();
    let (cert, key) = (tls.join("good.pem"), tls.join("good.key"));
    let web = format!(
        "tls_server_config: {{cert_file: {}, key_file: {}}}\nbasic_auth_users: {{ringward: '{PASSWORD}'}}\n",
        cert.display(),
        key.display()
    );
    let web_config = dir.path().join("web.yml");
    std::fs::write(&web_config, web).unwrap();
    let port = free_port();
    let flag = format!("--web.config.file={}", web_config.display());
    let server = Prometheus::start_with(&program, dir.path(), port, &[flag]);

    let password_file = dir.path().join("password");
    std::fs::write(&password_file, "open sesame\n").unwrap();
    let url = format!("https://localhost:{port}");
    let asker = |ca: Option<&str>, password: bool| {
        let auth = MetricsAuth {
            ca_file: ca.map(|name| tls.join(name)),
            basic: password.then(|| BasicAuth {
                username: "ringward".into(),
                password_file: password_file.clone(),
            }),
            ..MetricsAuth::default()
        };
        let credentials = Credentials::new([(url.clone(), auth)].into()).unwrap();
        let clock = Arc::new(SystemClock::new(Mono(0)));
        let metrics = Metrics::new(credentials, clock, Limits::default()).unwrap();
        let source = MetricSource {
            name: "prometheus".into(),
            kind: ProviderKind::Prometheus,
            url: url.clone(),
            jurisdiction: None,
        };
        Asker { metrics, source }
    };
    let known = asker(Some("ca.pem"), true);
    let first = at(&known.until(LATENCY, is(0.25)).await);
    let why = asker(Some("ca.pem"), false).error(LATENCY).await;
    assert!(why.contains("HTTP 401: check the credentials"), "{why}");
    let why = asker(None, true).error(LATENCY).await;
    assert!(why.contains("cannot connect: ") && !why.contains("sesame"), "{why}");
    std::fs::write(&password_file, "close sesame\n").unwrap();
    let why = known.error(LATENCY).await;
    assert!(why.contains("HTTP 401") && !why.contains("sesame"), "{why}");
    // It is read anew at each question.
    std::fs::write(&password_file, "open sesame\n").unwrap();

    // A range of real scrapes: what was, then what is, and nothing from before the first of them.
    shop.lock().unwrap().latency = 0.75;
    let last = at(&known.until(LATENCY, is(0.75)).await);
    let step = Span(200);
    let range = async |query: &str, from: Timestamp, to: Timestamp| {
        let timeout = Span::seconds(5);
        known.metrics.range(&known.source, query, (from, to, step), timeout).await
    };
    // One step more: the last of them may fall just before the newest scrape otherwise.
    let samples = range(LATENCY, first, last + step.to_std()).await.unwrap();
    assert!(samples.is_sorted_by(|a, b| a.at < b.at), "{samples:?}");
    assert_eq!(samples.first().map(|s| s.value), Some(0.25), "{samples:?}");
    assert_eq!(samples.last().map(|s| s.value), Some(0.75), "{samples:?}");
    let long_ago = first - Duration::from_secs(3_600);
    assert_eq!(range(LATENCY, long_ago, long_ago + Duration::from_secs(1)).await, Ok(vec![]));
    assert_eq!(range("no_such_metric", first, last).await, Ok(vec![]));
    let several = range("shop_requests_total", first, last).await.unwrap_err();
    assert!(several.contains("2 series"), "{several}");
    let malformed = range("sum(", first, last).await.unwrap_err();
    assert!(malformed.contains("HTTP 400, bad_data"), "{malformed}");
    // More steps than Prometheus gives at once are refused by it, and told as such.
    let much = range(LATENCY, first - Duration::from_secs(90_000), last).await.unwrap_err();
    assert!(much.contains("HTTP 400, bad_data"), "{much}");
    drop(server);
    exporter.stop().await;
}
