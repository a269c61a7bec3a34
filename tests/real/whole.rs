//! The whole service over real components: two API servers, a Prometheus that scrapes what runs in
//! them, and a Git repository behind `git daemon`.

use std::{fs, sync::Arc, time::Duration};

use axum::{Router, routing::get};
use reqwest::StatusCode;
use ringward::{
    app,
    clock::SystemClock,
    config::{ConnectionSettings, Settings, SourceSettings},
    model::time::Span,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    common::{self, Client, Declarations, PLANS, RINGS, phase, ring},
    git::{Author, Daemon},
    prometheus::{Prometheus, free_port, program},
    support::{Namespace, clusters},
};

/// The digit of an image whose requests fail.
const BAD: char = 'b';

/// What each plan runs in a cluster, counted as its requests: served by any image but a bad one.
async fn exporter(space: Arc<Namespace>) -> (u16, JoinHandle<()>) {
    let counts = Arc::new(tokio::sync::Mutex::new([[0_u64; 2]; PLANS.len()]));
    let page = move || {
        let (space, counts) = (space.clone(), counts.clone());
        async move {
            let mut counts = counts.lock().await;
            let mut page = String::new();
            for (plan, [served, failed]) in PLANS.iter().zip(counts.iter_mut()) {
                let bad = image(&space, plan).await == common::image(plan, BAD).0;
                *served += if bad { 50 } else { 100 };
                *failed += if bad { 50 } else { 0 };
                for (code, count) in [(200, *served), (500, *failed)] {
                    let labels = format!("service=\"{plan}\",code=\"{code}\"");
                    page += &format!("http_requests_total{{{labels}}} {count}\n");
                }
            }
            page
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    let routes = Router::new().route("/metrics", get(page));
    let serving = tokio::spawn(async move {
        axum::serve(listener, routes).await.expect("it serves until it is dropped");
    });
    (port, serving)
}

async fn image(space: &Namespace, plan: &str) -> String {
    let deployment = space.get(plan).await;
    let spec = deployment.spec.and_then(|spec| spec.template.spec).expect("a pod's template");
    spec.containers[0].image.clone().expect("an image")
}

fn targets_are_seen(clusters: &Value) -> bool {
    let clusters = clusters["items"].as_array().expect("clusters");
    let ready = |target: &Value| target["status"] == "ready" && !target["knownGood"].is_null();
    clusters.len() == RINGS.len()
        && clusters.iter().all(|cluster| {
            let targets = cluster["targets"].as_array().expect("targets");
            targets.len() == PLANS.len() && targets.iter().all(ready)
        })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_goes_through_real_clusters_and_a_bad_one_comes_back() {
    let (Some(program), Some(clusters)) = (program(), clusters().await) else { return };
    let folder = tempfile::tempdir().expect("a folder");

    // Two clusters in which both plans run, and what is measured of them.
    let mut spaces = Vec::new();
    let mut scrapes = String::new();
    for cluster in clusters {
        let space = Arc::new(cluster.namespace("shop").await);
        for plan in PLANS {
            space.create(plan, &common::image(plan, '0').0, 2, Some(plan)).await;
        }
        let (port, _serving) = exporter(space.clone()).await;
        let name = cluster.context();
        scrapes += &format!(
            "  - job_name: {name}\n    static_configs: [{{targets: ['127.0.0.1:{port}'], labels: \
             {{cluster: {name}}}}}]\n"
        );
        spaces.push(space);
    }
    let config = format!(
        "global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}\nscrape_configs:\n{scrapes}"
    );
    fs::write(folder.path().join("prometheus.yml"), config).expect("a file");
    let metrics = free_port();
    let _prometheus = Prometheus::start(&program, folder.path(), metrics);

    // Declarations in a repository.
    let (service, cluster) = (r#"service="{{plan}}""#, r#"cluster="{{cluster}}""#);
    let requests =
        |code: &str| format!("sum(rate(http_requests_total{{{service},{cluster}{code}}}[2s]))");
    let declarations = Declarations {
        soak: "3s",
        interval: "500ms",
        query: format!("{} / {}", requests(r#",code!~"5..""#), requests("")),
        ..Declarations::over(
            RINGS.map(|name| (name.into(), format!("http://127.0.0.1:{metrics}"))).into(),
        )
    };
    let author = Author::new();
    for (file, text) in declarations.files() {
        author.write(&file, &text);
    }
    let first = author.commit("two plans");
    let base = folder.path().join("repositories");
    let bare = base.join("rings.git").display().to_string();
    author.git(&["init", "--quiet", "--bare", &bare]);
    author.git(&["push", "--quiet", &bare, "main"]);
    let daemon = Daemon::start(&base);

    let connections = clusters.iter().map(|cluster| {
        let kubeconfig = Some(cluster.kubeconfig());
        let context = Some(cluster.context().to_owned());
        (
            cluster.context().to_owned(),
            ConnectionSettings { kubeconfig, context, ..ConnectionSettings::default() },
        )
    });
    let settings = Settings {
        listen: ([127, 0, 0, 1], 0).into(),
        data: folder.path().join("data"),
        source: SourceSettings {
            url: Some(format!("git://127.0.0.1:{}/rings.git", daemon.port)),
            interval: Span(300),
            ..SourceSettings::default()
        },
        connections: connections.collect(),
        ..Settings::default()
    };
    let running = app::start(settings, |base| Arc::new(SystemClock::new(base))).await;
    let running = running.expect("it starts");
    let client = Client::new(running.address, common::admin_token(&running.data));
    client.until_at("/v1/clusters", "what runs to be seen", targets_are_seen).await;
    assert_eq!(client.get("/v1/source").await["commit"], json!(first));

    // A good release goes everywhere.
    client.release("checkout", "1.0", '1').await.good();
    let done = client.until("checkout", "1.0", "success", |r| r["phase"] == "Succeeded").await;
    assert_eq!(done["commit"], json!(first));
    let good = common::image("checkout", '1').0;
    for space in &spaces {
        assert_eq!(image(space, "checkout").await, good);
        assert_eq!(image(space, "search").await, common::image("search", '0').0);
    }

    // A bad one comes back, and never reaches the second ring.
    client.release("checkout", "2.0", BAD).await.good();
    client.until("checkout", "2.0", "its deploy", |r| phase(r, "eu") == "Soaking").await;
    assert_eq!(image(&spaces[0], "checkout").await, common::image("checkout", BAD).0);
    let back = client.until("checkout", "2.0", "the way back", |r| r["phase"] == "RolledBack");
    let back = back.await;
    let why = ring(&back, "eu")["info"].as_str().expect("words");
    assert!(why.contains("success-rate"), "{why}");
    assert_eq!(phase(&back, "us"), "Waiting");
    for space in &spaces {
        assert_eq!(image(space, "checkout").await, good);
    }

    // A rewritten history is refused, and what was accepted stays in force.
    author.git(&["checkout", "--quiet", "--orphan", "rewritten"]);
    author.write("rings/search.yaml", &declarations.plan("search").replace("us", "mars"));
    let rewritten = author.commit("another history");
    author.git(&["push", "--quiet", "--force", &bare, "rewritten:main"]);
    let refused = client
        .until_at("/v1/source", "a refusal", |source| source["refused"] == json!(rewritten))
        .await;
    assert_eq!(refused["commit"], json!(first));
    let words = refused["refusedBecause"].as_str().expect("words");
    assert!(words.contains("does not descend"), "{words}");
    assert_eq!(client.get("/v1/plans/search").await["problems"], json!([]));

    // A broken commit takes only its own plan out of service.
    author.git(&["checkout", "--quiet", "--force", "main"]);
    author
        .write("rings/checkout.yaml", &declarations.plan("checkout").replace("[eu]}}", "[mars]}}"));
    let broken = author.commit("a cluster that nobody has");
    author.git(&["push", "--quiet", "--force", &bare, "main"]);
    let source = client
        .until_at("/v1/source", "its acceptance", |source| source["commit"] == json!(broken))
        .await;
    assert_eq!(source["refused"], Value::Null);
    client
        .until_at("/v1/source", "the plan in error", |s| s["inError"] == json!(["checkout"]))
        .await;
    let refused = client.release("checkout", "3.0", '3').await;
    assert_eq!((refused.status, refused.problem()), (StatusCode::CONFLICT, "plan-in-error"));
    client.release("search", "1.0", '1').await.good();
    client.until("search", "1.0", "success", |r| r["phase"] == "Succeeded").await;
    assert_eq!(client.get("/v1/audit/verify").await["broken"], Value::Null);

    let stopped = tokio::time::timeout(Duration::from_secs(5), running.stop()).await;
    stopped.expect("it stops at once");
}

/// A policy whose one gate asks the cluster how the pods do.
const HEALTHY: &str = "apiVersion: ringward.dev/v1alpha1
kind: RingPolicy
metadata: {name: healthy}
spec:
  soak: {duration: 3s, onBreach: reset}
  deadline: 1m
  gates: [{name: pods, kubernetes: {maxRestarts: 1}, interval: 500ms, failureLimit: 1}]
  rollback: {automatic: true, scope: ring}
";
const CHECKOUT: &str = "apiVersion: ringward.dev/v1alpha1
kind: Cluster
metadata: {name: eu}
spec: {region: eu-west-1, jurisdiction: IE}
---
apiVersion: ringward.dev/v1alpha1
kind: RingPlan
metadata: {name: checkout}
spec:
  target: {kind: Deployment, namespace: restarts, name: checkout, container: app}
  policy: healthy
  rings: [{name: eu, clusters: {names: [eu]}}]
";

#[tokio::test(flavor = "multi_thread")]
async fn a_release_whose_pods_restart_comes_back() {
    let Some([eu, _]) = clusters().await else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let space = eu.namespace("restarts").await;
    space.create("checkout", &common::image("checkout", '0').0, 2, Some("checkout")).await;
    let source = folder.path().join("source");
    for (file, text) in [("rings/checkout.yaml", CHECKOUT), ("policies/healthy.yaml", HEALTHY)] {
        let file = source.join(file);
        fs::create_dir_all(file.parent().expect("it lies in a folder")).expect("a folder");
        fs::write(file, text).expect("a file");
    }
    let kubeconfig = Some(eu.kubeconfig());
    let connection = ConnectionSettings { kubeconfig, ..ConnectionSettings::default() };
    let settings = Settings {
        listen: ([127, 0, 0, 1], 0).into(),
        data: folder.path().join("data"),
        source: SourceSettings { path: Some(source), ..SourceSettings::default() },
        connections: [("eu".into(), connection)].into(),
        ..Settings::default()
    };
    let running = app::start(settings, |base| Arc::new(SystemClock::new(base))).await;
    let running = running.expect("it starts");
    let client = Client::new(running.address, common::admin_token(&running.data));

    client.release("checkout", "1.0", '1').await.good();
    client.until("checkout", "1.0", "success", |r| r["phase"] == "Succeeded").await;

    client.release("checkout", "2.0", '2').await.good();
    client.until("checkout", "2.0", "its deploy", |r| phase(r, "eu") == "Soaking").await;
    space.restart(&common::image("checkout", '2').0, 2).await;
    let back = client.until("checkout", "2.0", "the way back", |r| r["phase"] == "RolledBack");
    let back = back.await;
    let why = ring(&back, "eu")["info"].as_str().expect("words");
    assert!(why.contains("4 restarts > 1"), "{why}");
    assert_eq!(image(&space, "checkout").await, common::image("checkout", '1').0);
    running.stop().await;
}
