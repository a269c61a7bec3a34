//! Every judge over real scrapes: each takes a good release through the running service and a bad one back.
//!
//! Prometheus is real, with a rule that fires; the cluster is on loopback, and so is the desk that rules. The
//! evidence is then read back and put to other gates, both as it was recorded and as Prometheus has it.

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Json, Router, http::HeaderMap, routing::get, routing::post};
use futures::future::join_all;
use jiff::Timestamp;
use ringward::{
    app,
    clock::{Clock, SystemClock},
    config::MetricsAuth,
    model::time::{Mono, Span},
    sim::loopback::{Fleet, Site, Workload},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    common::{self, Client, image, phase, ring, target},
    prometheus::{Prometheus, free_port, program},
};

/// A plan of each judge's name, and how its one gate is declared.
const JUDGES: [(&str, &str); 8] = [
    ("threshold", "{name: g, template: success, threshold: {min: 0.9}}"),
    (
        "relative",
        "{name: g, template: latency, relative: {baseline: stable, maxDegradation: 50%, direction: increase}}",
    ),
    (
        "mannwhitney",
        "{name: g, template: latency, mannWhitney: {baseline: stable, direction: increase}}",
    ),
    ("sequential", "{name: g, template: counted, sequential: {phi: 1}}"),
    (
        "burnrate",
        "{name: g, template: counted, burnRate: {objective: 90%, windows: [{rate: 2, long: 2s, short: 1s}]}}",
    ),
    ("alerts", "{name: g, alerts: {matchers: {severity: page, service: \"{{plan}}\"}}}"),
    ("webhook", "{name: g, webhook: {provider: desk}}"),
    ("kubernetes", "{name: g, kubernetes: {maxRestarts: 1}}"),
];

/// The digit of images that are bad.
const BAD: char = 'b';

const RULES: &str = r#"groups:
- name: shop
  rules:
  - alert: ErrorsHigh
    expr: |
      sum by (service) (rate(http_requests_total{track="canary",code="500"}[2s]))
        / sum by (service) (rate(http_requests_total{track="canary"}[2s])) > 0.3
    labels: {severity: page}
"#;

fn policies() -> String {
    let of = |what: &str, track: &str, code: &str, over: &str| {
        format!(
            r#"{what}(http_requests_total{{service="{{{{plan}}}}",track="{track}"{code}}}[{over}])"#
        )
    };
    let failed = r#",code="500""#;
    let over = "{{interval}}";
    let mut text = format!(
        "apiVersion: ringward.dev/v1alpha1
kind: GateTemplate
metadata: {{name: success}}
spec:
  signal: errors
  provider: prometheus
  query: 1 - sum({}) / sum({})
---
apiVersion: ringward.dev/v1alpha1
kind: GateTemplate
metadata: {{name: latency}}
spec:
  signal: latency
  provider: prometheus
  query: latency_seconds{{service=\"{{{{plan}}}}\",track=\"canary\"}}
  stable: latency_seconds{{service=\"{{{{plan}}}}\",track=\"stable\"}}
---
apiVersion: ringward.dev/v1alpha1
kind: GateTemplate
metadata: {{name: counted}}
spec:
  signal: errors
  provider: prometheus
  counts:
    requests: sum({})
    errors: sum({})
    stableRequests: sum({})
    stableErrors: sum({})
",
        of("rate", "canary", failed, "2s"),
        of("rate", "canary", "", "2s"),
        of("increase", "canary", "", over),
        of("increase", "canary", failed, over),
        of("increase", "stable", "", over),
        of("increase", "stable", failed, over),
    );
    for (name, gate) in JUDGES {
        let gate = gate.replacen("{name: g,", "{name: g, interval: 600ms, failureLimit: 1,", 1);
        let _ = write!(
            text,
            "---
apiVersion: ringward.dev/v1alpha1
kind: RingPolicy
metadata: {{name: {name}}}
spec:
  soak: {{duration: 4s, onBreach: reset}}
  deadline: 1m
  gates: [{gate}]
  rollback: {{automatic: true, scope: ring}}
"
        );
    }
    text
}

fn rings(prometheus: u16, desk: u16) -> String {
    let mut text = format!(
        "apiVersion: ringward.dev/v1alpha1
kind: Cluster
metadata: {{name: eu}}
spec:
  region: eu-west-1
  jurisdiction: IE
  metrics:
    - {{name: prometheus, type: prometheus, url: \"http://127.0.0.1:{prometheus}\"}}
    - {{name: desk, type: webhook, url: \"http://127.0.0.1:{desk}/rule\"}}
"
    );
    for (name, _) in JUDGES {
        let _ = write!(
            text,
            "---
apiVersion: ringward.dev/v1alpha1
kind: RingPlan
metadata: {{name: {name}}}
spec:
  target: {{kind: Deployment, namespace: shop, name: {name}, container: app}}
  policy: {name}
  rings: [{{name: eu, clusters: {{names: [eu]}}}}]
"
        );
    }
    text
}

/// A page of what every plan's service has counted; one that runs a bad image fails half, and is slow.
async fn exporter(fleet: Arc<Fleet>) -> u16 {
    let scrapes = Arc::new(AtomicUsize::new(0));
    let counts = Arc::new(tokio::sync::Mutex::new([[0_u64; 2]; JUDGES.len()]));
    let page = move || {
        let (fleet, scrapes, counts) = (fleet.clone(), scrapes.clone(), counts.clone());
        async move {
            let scrape = scrapes.fetch_add(1, Ordering::SeqCst) + 1;
            let mut counts = counts.lock().await;
            let mut page = String::new();
            for (i, ((plan, _), counted)) in JUDGES.iter().zip(counts.iter_mut()).enumerate() {
                let serving = fleet.serving(&"eu".into(), &target(plan)).expect("the cluster");
                let bad = serving.iter().any(|(running, _)| *running == image(plan, BAD));
                counted[0] += if bad { 50 } else { 95 };
                counted[1] += if bad { 50 } else { 5 };
                let stable = [95 * scrape as u64, 5 * scrape as u64];
                for (track, [good, failed]) in [("canary", *counted), ("stable", stable)] {
                    let labels = format!("service=\"{plan}\",track=\"{track}\"");
                    let _ = writeln!(page, "http_requests_total{{{labels},code=\"200\"}} {good}");
                    let _ = writeln!(page, "http_requests_total{{{labels},code=\"500\"}} {failed}");
                    // It scatters a little, and otherwise on either side.
                    let spread = (scrape * 7_919 + i * 31 + track.len() * 101) % 97;
                    let usual = if bad && track == "canary" { 0.5 } else { 0.1 };
                    let latency = usual + spread as f64 / 10_000.0;
                    let _ = writeln!(page, "latency_seconds{{{labels}}} {latency}");
                }
            }
            page
        }
    };
    serve(Router::new().route("/metrics", get(page))).await
}

async fn serve(routes: Router) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    port
}

/// Rules by the digest, and not at once.
async fn desk() -> u16 {
    let asked = Arc::new(AtomicUsize::new(0));
    let rule = move |headers: HeaderMap, Json(body): Json<Value>| {
        let nth = asked.fetch_add(1, Ordering::SeqCst);
        async move {
            let signed = headers.get("webhook-signature").and_then(|value| value.to_str().ok());
            assert!(signed.is_some_and(|signed| signed.starts_with("v1,")), "{headers:?}");
            let bad = body["data"]["digest"].as_str().is_some_and(|digest| digest.ends_with(BAD));
            let verdict = match (nth < 3, bad) {
                (true, _) => "insufficient",
                (false, true) => "fail",
                (false, false) => "pass",
            };
            Json(json!({"verdict": verdict, "detail": format!("question {nth}")}))
        }
    };
    serve(Router::new().route("/rule", post(rule))).await
}

async fn fleet(folder: &Path) -> Fleet {
    let workloads = JUDGES.map(|(plan, _)| Workload {
        plan: plan.into(),
        target: target(plan),
        image: image(plan, '0'),
        replicas: 2,
    });
    let site = Site {
        cluster: "eu".into(),
        connection: "eu".into(),
        region: "r".into(),
        metrics: ["http://nowhere".to_owned()].into(),
        workloads: workloads.into(),
        deploy_time: Span(400),
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new(Mono(0)));
    let fleet = Fleet::start(&[site], clock, 7, folder).await.expect("a fleet on loopback");
    fleet.restart(&"eu".into(), &image("kubernetes", BAD), 5).expect("the cluster");
    fleet
}

#[tokio::test(flavor = "multi_thread")]
async fn every_judge_lets_a_good_release_pass_and_takes_a_bad_one_back() {
    let Some(program) = program() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let fleet = Arc::new(fleet(folder.path()).await);
    let (exporter, desk, prometheus) = (exporter(fleet.clone()).await, desk().await, free_port());
    let config = format!(
        "global: {{scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms}}
rule_files: [rules.yml]
scrape_configs:
  - job_name: shop
    static_configs: [{{targets: ['127.0.0.1:{exporter}']}}]
"
    );
    fs::write(folder.path().join("rules.yml"), RULES).expect("a file");
    fs::write(folder.path().join("prometheus.yml"), config).expect("a file");
    let _prometheus = Prometheus::start(&program, folder.path(), prometheus);
    let source = folder.path().join("source");
    for (file, text) in [("policies/p.yaml", policies()), ("rings/r.yaml", rings(prometheus, desk))]
    {
        let file = source.join(file);
        fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        fs::write(file, text).expect("a file");
    }
    let mut settings = common::settings(&fleet, folder.path());
    let secret = folder.path().join("secret");
    fs::write(&secret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").expect("a file");
    let auth = MetricsAuth { webhook_secret_file: Some(secret), ..Default::default() };
    settings.metrics.insert(format!("http://127.0.0.1:{desk}"), auth);
    let running = app::start(settings, |base| Arc::new(SystemClock::new(base))).await;
    let running = running.expect("it starts");
    let client = Client::new(running.address, common::admin_token(&running.data));
    let seen = |clusters: &Value| {
        let targets = clusters["items"][0]["targets"].as_array().map_or(&[][..], Vec::as_slice);
        targets.len() == JUDGES.len() && targets.iter().all(|t| !t["knownGood"].is_null())
    };
    client.until_at("/v1/clusters", "what runs to be seen", seen).await;

    for (plan, _) in JUDGES {
        client.release(plan, "1.0", '1').await.good();
    }
    join_all(JUDGES.map(|(plan, _)| {
        let client = &client;
        async move {
            client.until(plan, "1.0", "success", |r| r["phase"] == "Succeeded").await;
        }
    }))
    .await;
    let begun = SystemClock::new(Mono(0)).now().wall;
    for (plan, _) in JUDGES {
        client.release(plan, "2.0", BAD).await.good();
    }
    join_all(JUDGES.map(|(plan, _)| {
        let client = &client;
        async move {
            let back = client.until(plan, "2.0", "the way back", |r| r["phase"] == "RolledBack");
            let back = back.await;
            let why = ring(&back, "eu")["info"].as_str().unwrap_or_default().to_owned();
            println!("{plan}: {} {why}", phase(&back, "eu"));
        }
    }))
    .await;
    let ended = SystemClock::new(Mono(0)).now().wall;

    // The evidence: each measurement with its question and its figures.
    for (plan, _) in JUDGES {
        for (version, verdict) in [("1.0", "Pass"), ("2.0", "Fail")] {
            let path =
                format!("/v1/plans/{plan}/releases/{version}/rings/eu/measurements?pageSize=500");
            let page = client.get(&path).await;
            let items = page["items"].as_array().expect("a list");
            let of = |item: &&Value| item["verdict"] == verdict;
            let item = items.iter().find(of).unwrap_or_else(|| panic!("{plan}@{version}: {page}"));
            assert!(!item["asked"].as_array().expect("questions").is_empty(), "{item}");
            println!("{plan}@{version}: {verdict}, {}, of {}", item["detail"], items.len());
        }
    }
    replays(&running, &source, (begun, ended), prometheus).await;
    let stopped = tokio::time::timeout(Duration::from_secs(5), running.stop()).await;
    stopped.expect("it stops at once");
}

/// The command line's replays of the bad releases.
async fn replays(
    running: &app::Running,
    source: &Path,
    (from, to): (Timestamp, Timestamp),
    prometheus: u16,
) {
    let token = running.data.join(ringward::show::auth::ADMIN_TOKEN);
    let server = format!("http://{}", running.address);
    let replay = |plan: &str, policy: &Path, more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringward"));
        command
            .args(["gate", "replay", &format!("{plan}@2.0"), "--ring", "eu", "--gate", "g"])
            .args(["-o", "json", "--server", &server, "--policy"])
            .arg(policy)
            .arg("--token")
            .arg(&token)
            .args(more);
        tokio::task::spawn_blocking(move || {
            let output = command.output().expect("it runs");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let document: Value = serde_json::from_str(&text).unwrap_or_else(|_| {
                panic!("{text}{}", String::from_utf8_lossy(&output.stderr));
            });
            (output.status.code(), document)
        })
    };
    // As it is declared: every one that asks for numbers or keeps its figures would have failed again.
    for (plan, _) in JUDGES {
        let (code, document) = replay(plan, source, &[]).await.expect("it ends");
        assert_eq!((code, &document["outcome"]), (Some(3), &json!("failed")), "{plan}: {document}");
    }
    // A gate that bears half of the requests failing would not have.
    let loose = source.join("loose");
    for folder in ["rings", "policies"] {
        fs::create_dir_all(loose.join(folder)).expect("a folder");
    }
    fs::copy(source.join("rings/r.yaml"), loose.join("rings/r.yaml")).expect("a file");
    let text = policies().replace("threshold: {min: 0.9}", "threshold: {min: 0.1}");
    fs::write(loose.join("policies/p.yaml"), text).expect("a file");
    let (code, document) = replay("threshold", &loose, &[]).await.expect("it ends");
    assert_eq!((code, &document["firstFail"]), (Some(4), &Value::Null), "{document}");

    // The same over what Prometheus itself knows of that time.
    let url = format!("http://127.0.0.1:{prometheus}");
    let (from, to) = (from.to_string(), to.to_string());
    let past = ["--source", url.as_str(), "--from", from.as_str(), "--to", to.as_str()];
    for plan in ["threshold", "relative", "mannwhitney", "sequential", "burnrate", "alerts"] {
        let (_, document) = replay(plan, source, &past).await.expect("it ends");
        let steps = document["measurements"].as_array().map_or(0, Vec::len);
        println!(
            "{plan} over the past: {}, first fail {}",
            document["outcome"], document["firstFail"]
        );
        assert!(steps > 3, "{plan}: {document}");
        // The time around the bad release is good: of ranks there may be too few bad ones to tell.
        assert!(plan == "mannwhitney" || !document["firstFail"].is_null(), "{plan}: {document}");
    }
    let (code, _) = replay("threshold", &loose, &past).await.expect("it ends");
    assert_ne!(code, Some(3));
}
