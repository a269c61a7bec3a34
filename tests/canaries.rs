//! Figures that a residency rule keeps in their jurisdiction are nowhere outside it (invariant 6): the
//! real binary is told figures that nothing else says, on passing, failing and broken measurements, and
//! whatever it then says, shows, keeps or backs up is searched for them.
//!
//! That such a search finds what is there, the same release shows under a rule that discloses all.

mod common;

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::Query,
    http::StatusCode,
    routing::{get, post},
};
use common::{Client, phase};
use reqwest::Method;
use ringward::{
    clock::{Clock, SystemClock},
    model::time::{Mono, Span},
    sim::loopback::Fleet,
};
use serde_json::{Value, json};

/// What a passing measurement reads.
const PASSING: f64 = 0.987654321;
/// What a failing one reads.
const FAILING: f64 = 0.345678912;
/// What was read before the deploy.
const BEFORE: f64 = 0.876543219;
/// How many requests were counted.
const COUNTED: f64 = 765432198.0;
/// The first of the figures that a stretch of time before the deploy is told by.
const SERIES: f64 = 0.654321987;
/// What a source says that has no answer.
const TROUBLE: &str = "shard-5551212-has-no-leader";

/// What the source says to whoever asks for the latest figure.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mood {
    Passing,
    Failing,
    Broken,
}

#[derive(Debug, serde::Deserialize)]
struct Asked {
    query: String,
    time: Option<String>,
    start: Option<f64>,
    end: Option<f64>,
    step: Option<f64>,
}

/// A Prometheus in the EU, and the way to change its mood.
async fn source() -> (String, Arc<Mutex<Mood>>) {
    let mood = Arc::new(Mutex::new(Mood::Passing));
    let told = mood.clone();
    let answer = |kind: &str, result: Value| {
        let data = json!({"resultType": kind, "result": [result]});
        (StatusCode::OK, Json(json!({"status": "success", "data": data})))
    };
    let clock = Arc::new(SystemClock::new(Mono(0)));
    let instant = move |Query(asked): Query<Asked>| {
        let (clock, told) = (clock.clone(), told.clone());
        async move {
            let now = clock.now().wall.as_millisecond() as f64 / 1000.0;
            let mood = *told.lock().expect("nobody panicked");
            let value = match mood {
                _ if asked.time.is_some() => BEFORE,
                _ if asked.query.contains("count") => COUNTED,
                Mood::Passing => PASSING,
                Mood::Failing => FAILING,
                Mood::Broken => {
                    let why =
                        json!({"status": "error", "errorType": "execution", "error": TROUBLE});
                    return (StatusCode::UNPROCESSABLE_ENTITY, Json(why));
                }
            };
            answer("vector", json!({"metric": {}, "value": [now, value.to_string()]}))
        }
    };
    let range = move |Query(asked): Query<Asked>| async move {
        let (start, end) = (asked.start.unwrap_or(0.0), asked.end.unwrap_or(0.0));
        let steps = ((end - start) / asked.step.unwrap_or(1.0)).floor() as usize;
        let at = |i: usize| start + i as f64 * asked.step.unwrap_or(1.0);
        let values =
            (0..=steps).map(|i| json!([at(i), (SERIES + 0.1 * (i * i) as f64).to_string()]));
        answer("matrix", json!({"metric": {}, "values": values.collect::<Vec<_>>()}))
    };
    let routes =
        Router::new().route("/api/v1/query", get(instant)).route("/api/v1/query_range", get(range));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (url, mood)
}

/// What a collector was told: each request's path and body.
type Told = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// A collector of OpenTelemetry's, which takes whatever it is told.
async fn collector() -> (String, Told) {
    let told = Told::default();
    let heard = told.clone();
    let take = move |uri: axum::http::Uri, body: axum::body::Bytes| {
        let heard = heard.clone();
        async move {
            heard.lock().expect("nobody panicked").push((uri.path().to_owned(), body.to_vec()));
        }
    };
    let routes = Router::new().fallback(take);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (url, told)
}

/// Somebody outside who is told of everything, and all that they were told.
async fn listener() -> (String, Arc<Mutex<Vec<u8>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = told.clone();
    let hear = move |body: String| async move {
        heard.lock().expect("nobody panicked").extend_from_slice(body.as_bytes());
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let routes = Router::new().route("/", post(hear));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (url, told)
}

/// One ring in the EU, judged by its own latest figures and by those from before; and, where figures may
/// be kept, by all of them.
fn declarations(url: &str, disclose: &str) -> String {
    let ranks = match disclose {
        "verdict" => "",
        _ => {
            "- {name: ranks, template: level, interval: 1s, mannWhitney: {baseline: before, \
              direction: decrease}, failureLimit: 100, required: false, noDataDeadline: 1h}"
        }
    };
    format!(
        r#"apiVersion: ringward.dev/v1alpha1
kind: ResidencyPolicy
metadata: {{name: law}}
spec:
  rules:
    - {{id: L-1, enforcement: hard, evidenceWithin: {{jurisdiction: EU, disclose: {disclose}}}}}
---
apiVersion: ringward.dev/v1alpha1
kind: Notifier
metadata: {{name: everything}}
spec:
  channel: outside
  on: [submitted, started, deployed, passed, succeeded, failed, rollingBack, restored, rolledBack, stuck, held, approvalNeeded]
---
apiVersion: ringward.dev/v1alpha1
kind: GateTemplate
metadata: {{name: level}}
spec: {{signal: errors, provider: prometheus, query: canary_level, samples: canary_count}}
---
apiVersion: ringward.dev/v1alpha1
kind: RingPolicy
metadata: {{name: quick}}
spec:
  soak: {{duration: 3s}}
  deadline: 1m
  gates:
    - {{name: level, template: level, interval: 1s, threshold: {{min: 0.9}}, minSamples: 10, consecutiveErrorLimit: 0, noDataDeadline: 1h}}
    - {{name: drift, template: level, interval: 1s, relative: {{baseline: before, maxDegradation: 50%, direction: increase}}, consecutiveErrorLimit: 0, noDataDeadline: 1h}}
    {ranks}
  rollback: {{automatic: true, scope: ring}}
---
apiVersion: ringward.dev/v1alpha1
kind: Cluster
metadata: {{name: eu}}
spec:
  region: eu-west-1
  jurisdiction: IE
  metrics: [{{name: prometheus, type: prometheus, url: "{url}", jurisdiction: IE}}]
---
apiVersion: ringward.dev/v1alpha1
kind: RingPlan
metadata: {{name: checkout}}
spec:
  target: {{kind: Deployment, namespace: shop, name: checkout, container: app}}
  policy: quick
  residency: [law]
  rings:
    - {{name: eu, clusters: {{names: [eu]}}}}
"#
    )
}

/// A binary that serves; it ends with this.
struct Served {
    child: Child,
    server: String,
    folder: PathBuf,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.end();
    }
}

impl Served {
    fn start(fleet: &Fleet, folder: &Path, collector: &str, outside: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let server = port.expect("a port").to_string();
        let kubeconfig = fleet.kubeconfig();
        let settings = json!({
            "listen": server,
            "data": folder.join("data"),
            "source": {"path": folder.join("source")},
            "connections": {"eu": {"kubeconfig": kubeconfig, "context": "eu"}},
            "channels": {
                "outside": {"type": "webhook", "url": outside, "secretFile": folder.join("secret")},
            },
        });
        let secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
        fs::write(folder.join("secret"), secret).expect("a secret");
        fs::write(folder.join("ringward.yaml"), settings.to_string()).expect("settings");
        let log = fs::File::create(folder.join("log")).expect("a log");
        let child = Command::new(env!("CARGO_BIN_EXE_ringward"))
            .args(["serve", "--config"])
            .arg(folder.join("ringward.yaml"))
            .env("RUST_LOG", "trace")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector)
            .env("OTEL_METRIC_EXPORT_INTERVAL", "300")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        Self { child, server, folder: folder.into() }
    }

    /// Once it takes requests.
    async fn client(&self) -> Client {
        let ready = async {
            loop {
                let token = fs::read_to_string(self.folder.join("data/admin.token"));
                let client = Client::new(&self.server, token.unwrap_or_default().trim());
                // Who has no token yet is not known.
                let answer = client.ask(Method::GET, "/v1/source", &[], None).await;
                let known = answer.is_ok_and(|answer| answer.status.is_success());
                let answer = client.ask(Method::GET, "/readyz", &[], None).await;
                if known && answer.is_ok_and(|answer| answer.status.is_success()) {
                    return client;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), ready).await.expect("it starts")
    }

    /// What a command of the command line says.
    fn says(&self, arguments: &[&str]) -> Vec<u8> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringward"));
        command.args(arguments).env("RINGWARD_SERVER", format!("http://{}", self.server));
        command.env("RINGWARD_TOKEN_FILE", self.folder.join("data/admin.token"));
        let said = command.current_dir(&self.folder).output().expect("it runs");
        [said.stdout, said.stderr].concat()
    }

    fn end(&mut self) {
        // It fails where the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The dashboard's pages on which a figure could stand.
const PAGES: [&str; 11] = [
    "/",
    "/releases/checkout/1.0",
    "/releases/checkout/2.0",
    "/releases/checkout/3.0",
    "/releases/checkout/1.0/rings/eu",
    "/releases/checkout/2.0/rings/eu",
    "/releases/checkout/3.0/rings/eu",
    "/approvals",
    "/jurisdictions",
    "/timeline?all=yes",
    "/audit",
];

/// Everything that left the jurisdiction, each under the name of where it was found.
type Found = Vec<(String, Vec<u8>)>;

/// Takes releases through a pass, a failure and a hold, and gathers whatever can be gathered.
async fn everything(disclose: &str) -> Found {
    let folder = tempfile::tempdir().expect("a folder");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new(Mono(0)));
    let fleet = common::fleet(Span::seconds(1), clock, folder.path()).await;
    let (url, mood) = source().await;
    for part in ["rings", "policies"] {
        fs::create_dir_all(folder.path().join("source").join(part)).expect("a folder");
    }
    for document in declarations(&url, disclose).split("---\n") {
        let name = document.lines().nth(2).expect("it has a name").replace([' ', ':'], "");
        let rings = document.contains("kind: Cluster") || document.contains("kind: RingPlan");
        let part = if rings { "rings" } else { "policies" };
        let path = folder.path().join("source").join(part).join(format!("{name}.yaml"));
        fs::write(path, document).expect("a declaration");
    }
    let (collector, told) = collector().await;
    let (outside, messages) = listener().await;
    let mut served = Served::start(&fleet, folder.path(), &collector, &outside);
    let client = served.client().await;
    let ready = |clusters: &Value| clusters["items"][0]["targets"][0]["status"] == "ready";
    client.until_at("/v1/clusters", "the target to be seen", ready).await;
    let (heard, mut events) = (Arc::new(Mutex::new(Vec::new())), client.listen().await);
    let listening = heard.clone();
    let listener = tokio::spawn(async move {
        while let Ok(Some(chunk)) = events.chunk().await {
            listening.lock().expect("nobody panicked").extend_from_slice(&chunk);
        }
    });

    client.release("checkout", "1.0", '1').await.good();
    client.until("checkout", "1.0", "a pass", |seen| seen["phase"] == "Succeeded").await;
    *mood.lock().expect("nobody panicked") = Mood::Failing;
    client.release("checkout", "2.0", '2').await.good();
    client.until("checkout", "2.0", "a failure", |seen| phase(seen, "eu") == "RolledBack").await;
    *mood.lock().expect("nobody panicked") = Mood::Broken;
    client.release("checkout", "3.0", '3').await.good();
    let held = |seen: &Value| {
        let holds = common::ring(seen, "eu")["holds"].as_array().cloned().unwrap_or_default();
        holds.iter().any(|hold| hold["kind"] == "data")
    };
    client.until("checkout", "3.0", "a hold", held).await;

    let mut found = Found::new();
    let document = client.get("/openapi.json").await;
    for (path, item) in document["paths"].as_object().expect("paths") {
        if item["get"].is_null() || path == "/v1/events" {
            continue;
        }
        for version in ["1.0", "2.0", "3.0"] {
            let path = path.replace("{plan}", "checkout").replace("{ring}", "eu");
            let path = path.replace("{version}", version);
            found.push((format!("GET {path}"), client.text(&path).await));
        }
    }
    found.push(("the audit".into(), serde_json::to_vec(&client.audit().await).expect("JSON")));
    let pages = client.pages(&PAGES).await;
    found.extend(PAGES.iter().map(|path| format!("the page {path}")).zip(pages));
    for arguments in [
        &["status", "checkout@1.0", "-o", "json"][..],
        &["status", "checkout@2.0", "-o", "json"],
        &["status", "checkout@2.0"],
        &["status", "checkout@3.0", "-o", "yaml"],
        &["explain", "checkout@3.0"],
        &["explain", "checkout@2.0", "eu", "-o", "json"],
        &["get", "gates", "-o", "json"],
        &["audit", "show"],
        &["audit", "export"],
        &["audit", "evidence", "checkout@1.0"],
        &["audit", "evidence", "checkout@2.0"],
        &["audit", "evidence", "checkout@3.0", "-o", "json"],
        &["backup", "backup.jsonl"],
    ] {
        found.push((format!("ringward {}", arguments.join(" ")), served.says(arguments)));
    }
    served.end();
    listener.abort();
    for (path, body) in told.lock().expect("nobody panicked").iter() {
        found.push((format!("the collector's {path}"), body.clone()));
    }
    let messages = messages.lock().expect("nobody panicked").clone();
    assert!(contains(&messages, b"ringward.rolledBack"), "they were told of the failure");
    found.push(("what listeners are told".into(), messages));
    found.push(("the events".into(), heard.lock().expect("nobody panicked").clone()));
    for file in ["log", "backup.jsonl"] {
        found.push((file.into(), fs::read(folder.path().join(file)).expect("a file")));
    }
    files(&folder.path().join("data"), &mut found);
    for (place, _) in found.iter().filter(|(_, text)| text.is_empty()) {
        assert!(place.contains("data"), "{place} said nothing");
    }
    found
}

/// Every file of a folder.
fn files(folder: &Path, found: &mut Found) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push((path.display().to_string(), fs::read(&path).expect("a file")));
        }
    }
}

/// Where a figure is found: in full, rounded as sentences round it, or as a journal might store it.
fn places(found: &Found, figure: f64) -> Vec<&str> {
    let digits = figure.to_string().replace("0.", "");
    let rounded = format!("{:.4}", figure);
    let bytes = [figure.to_be_bytes(), figure.to_le_bytes()];
    let holds = |text: &[u8]| {
        contains(text, digits.as_bytes())
            || bytes.iter().any(|shape| contains(text, shape))
            || figure < 1.0 && stands_alone(text, rounded.as_bytes())
    };
    found.iter().filter(|(_, text)| holds(text)).map(|(place, _)| place.as_str()).collect()
}

/// Whether the number is somewhere in the text, and not as the end of a longer one, such as the seconds of a
/// time.
fn stands_alone(text: &[u8], number: &[u8]) -> bool {
    let mut before = None;
    text.windows(number.len()).any(|window| {
        let alone = window == number && !before.is_some_and(|byte: u8| byte.is_ascii_digit());
        before = window.first().copied();
        alone
    })
}

fn contains(text: &[u8], shape: &[u8]) -> bool {
    text.windows(shape.len()).any(|window| window == shape)
}

fn words<'a>(found: &'a Found, words: &str) -> Vec<&'a str> {
    let holds = |text: &[u8]| contains(text, words.as_bytes());
    found.iter().filter(|(_, text)| holds(text)).map(|(place, _)| place.as_str()).collect()
}

fn is_in(places: &[&str], wanted: &[&str], what: impl std::fmt::Debug) {
    for place in wanted {
        assert!(
            places.iter().any(|found| found.contains(place)),
            "{what:?}: {place} in {places:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn under_verdict_no_figure_is_anywhere() {
    let found = everything("verdict").await;
    for figure in [PASSING, FAILING, BEFORE, COUNTED, SERIES] {
        assert_eq!(places(&found, figure), Vec::<&str>::new(), "{figure}");
    }
    assert_eq!(words(&found, TROUBLE), Vec::<&str>::new());
    let told = words(&found, "its figures stay in their jurisdiction");
    is_in(&told, &["the audit", "GET /v1/backup", "/data/", "explain"], "it was measured");
}

/// What the search above is worth: where figures may leave, it finds them all over.
#[tokio::test(flavor = "multi_thread")]
async fn under_raw_the_same_search_finds_them() {
    let found = everything("raw").await;
    is_in(
        &places(&found, PASSING),
        &["the audit", "GET /v1/backup", "/data/", "backup.jsonl", "status checkout@1.0"],
        PASSING,
    );
    is_in(&places(&found, PASSING), &["the collector's /v1/metrics"], PASSING);
    assert!(found.iter().any(|(place, _)| place.ends_with("/v1/traces")), "no trace was told");
    is_in(&places(&found, FAILING), &["the audit", "explain", "/data/"], FAILING);
    is_in(&places(&found, BEFORE), &["the audit", "/data/"], BEFORE);
    is_in(&places(&found, COUNTED), &["the audit", "/data/"], COUNTED);
    is_in(&places(&found, SERIES), &["the audit", "/data/"], SERIES);
    // What a source says beside its figures is repeated to nobody.
    assert_eq!(words(&found, TROUBLE), Vec::<&str>::new());
}

/// A value with its counts may leave; the samples of a stretch of time may not.
#[tokio::test(flavor = "multi_thread")]
async fn under_aggregate_no_series_is_anywhere() {
    let found = everything("aggregate").await;
    assert_eq!(places(&found, SERIES), Vec::<&str>::new());
    is_in(&places(&found, PASSING), &["the audit", "/data/"], PASSING);
    is_in(&places(&found, COUNTED), &["the audit", "/data/"], COUNTED);
}
