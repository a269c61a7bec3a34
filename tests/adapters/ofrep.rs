//! Whether a flag serves what is stored, asked over OFREP by its documented exchange.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Json, Router, extract::Path, http::StatusCode, routing::post};
use futures::{StreamExt, stream::BoxStream};
use jiff::Timestamp;
use ringward::{
    act::{
        Connections, Deployer,
        cluster::{Connection, Kubeconfigs},
        metrics::auth::Credentials,
    },
    clock::{Clock, SystemClock},
    config::ProbeSettings,
    decide::{
        command::Write,
        event::{Status, TargetState},
    },
    ids::ReleaseId,
    model::{
        ring::{Artifact, Target, TargetKind},
        time::{Mono, Span},
    },
    sim::loopback::{Fleet, Site, Workload},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::timeout};

/// What a service answers: by the targeting key, or nothing at all.
type Answers = Arc<Mutex<Box<dyn Fn(usize) -> Option<&'static str> + Send>>>;

/// A service that speaks OFREP; what it was asked is kept.
struct Service {
    url: String,
    answers: Answers,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Service {
    async fn start() -> Self {
        let answers: Answers = Arc::new(Mutex::new(Box::new(|_| None)));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (told, kept) = (answers.clone(), asked.clone());
        let evaluate = move |Path(key): Path<String>, Json(body): Json<Value>| {
            kept.lock().unwrap().push((key.clone(), body["context"].clone()));
            let who = body["context"]["targetingKey"].as_str().unwrap_or_default();
            let who = who.rsplit('-').next().and_then(|n| n.parse().ok()).unwrap_or(0);
            let answer = match (told.lock().unwrap())(who) {
                Some(variant) => {
                    let found =
                        json!({"key": key, "value": true, "variant": variant, "reason": "STATIC"});
                    (StatusCode::OK, Json(found))
                }
                None => (
                    StatusCode::INTERNAL_SERVER_ERROR,
                    Json(json!({"errorDetails": "canary-9c1e"})),
                ),
            };
            async move { answer }
        };
        let routes = Router::new().route("/flags/ofrep/v1/evaluate/flags/{key}", post(evaluate));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/flags", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { url, answers, asked, serving }
    }

    fn answer(&self, answer: impl Fn(usize) -> Option<&'static str> + Send + 'static) {
        *self.answers.lock().unwrap() = Box::new(answer);
    }
}

fn target() -> Target {
    let kind = TargetKind::FlagdFlag {
        flag: "dark".into(),
        file: Some("flags.json".into()),
        only: BTreeMap::new(),
        probe: Some("flagd".into()),
        cleanup_after: None,
    };
    Target { kind, namespace: "shop".into(), name: "flags".into() }
}

struct World {
    _fleet: Fleet,
    deployer: Arc<dyn Deployer>,
    service: Service,
    _folder: tempfile::TempDir,
}

impl World {
    async fn start(within: Span, probe: &str) -> Self {
        let image = Artifact("a".into());
        let workload = Workload { plan: "dark".into(), target: target(), image, replicas: 2 };
        let site = Site {
            cluster: "corp".into(),
            connection: "corp".into(),
            region: "eu-central-2".into(),
            metrics: ["http://prometheus.corp:9090".to_owned()].into(),
            workloads: vec![workload],
            deploy_time: Span::seconds(1),
        };
        let wall: Timestamp = "2026-11-02T08:00:00Z".parse().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::compressed(wall, Mono(0), 10.0));
        let folder = tempfile::tempdir().unwrap();
        let fleet = Fleet::start(&[site], clock.clone(), 7, folder.path()).await.unwrap();
        let service = Service::start().await;
        let known = ProbeSettings { url: service.url.clone(), within };
        let settings = Connection {
            kubeconfig: Some(fleet.kubeconfig().to_owned()),
            context: Some("corp".into()),
            probes: [(probe.to_owned(), known)].into(),
        };
        let connections = Kubeconfigs::new([("corp".to_owned(), settings)].into());
        let connections = connections.with_probes(Credentials::default(), clock).unwrap();
        let deployer = connections.deployer("corp").unwrap();
        Self { _fleet: fleet, deployer, service, _folder: folder }
    }

    fn watch(&self) -> BoxStream<'static, TargetState> {
        self.deployer.watch(&"dark".into(), &target())
    }

    async fn write(&self, serves: &str) {
        let write = Write {
            key: format!("dark@{serves}/beta/corp/1/deploy").into(),
            release: ReleaseId::new("dark", "2"),
            ring: "beta".into(),
            attempt: 1,
            cluster: "corp".into(),
            connection: "corp".into(),
            target: target(),
            artifact: Artifact(serves.into()),
        };
        self.deployer.write(&write, 1).await.unwrap();
    }
}

async fn until(
    states: &mut BoxStream<'static, TargetState>,
    wanted: impl Fn(&Status) -> bool,
) -> TargetState {
    let found = async {
        loop {
            let state = states.next().await.expect("a watch never ends");
            if wanted(&state.status) {
                return state;
            }
        }
    };
    timeout(Duration::from_secs(20), found).await.expect("it is seen within 20 s")
}

#[tokio::test]
async fn what_is_stored_succeeds_when_it_is_served() {
    let world = World::start(Span::minutes(60), "flagd").await;
    let mut states = world.watch();
    let state = until(&mut states, |status| matches!(status, Status::Unknown(_))).await;
    let Status::Unknown(why) = state.status else { unreachable!() };
    assert!(why.contains("probe `flagd`: HTTP 500") && !why.contains("canary"), "{why}");
    world.service.answer(|_| Some("a"));
    until(&mut states, |status| *status == Status::Succeeded).await;

    world.write("b=25%,a").await;
    // Some are served the one, some the other, and nobody a third.
    world.service.answer(|who| Some(if who % 3 == 0 { "b" } else { "c" }));
    let late = until(&mut states, |status| matches!(status, Status::Progressing(_))).await;
    let Status::Progressing(why) = late.status else { unreachable!() };
    assert_eq!(why, "probe `flagd` is served c, not a or b");
    assert_eq!(late.image, Some(Artifact("b=25%,a".into())));
    world.service.answer(|who| Some(if who % 3 == 0 { "b" } else { "a" }));
    until(&mut states, |status| *status == Status::Succeeded).await;
    let asked = world.service.asked.lock().unwrap();
    let (key, context) = asked.last().unwrap();
    assert_eq!(key, "dark");
    assert!(context["targetingKey"].as_str().unwrap().starts_with("ringward-probe-"), "{context}");
}

#[tokio::test]
async fn what_is_served_otherwise_for_too_long_has_failed() {
    let world = World::start(Span::ZERO, "flagd").await;
    world.service.answer(|_| Some("a"));
    let mut states = world.watch();
    until(&mut states, |status| *status == Status::Succeeded).await;
    world.write("b").await;
    let failed = until(&mut states, |status| matches!(status, Status::Failed(_))).await;
    assert_eq!(failed.status, Status::Failed("probe `flagd` is served a, not b".into()));
}

#[tokio::test]
async fn a_probe_that_the_settings_lack_is_unknown_and_says_where_it_belongs() {
    let world = World::start(Span::ZERO, "another").await;
    let state = until(&mut world.watch(), |status| matches!(status, Status::Unknown(_))).await;
    let Status::Unknown(why) = state.status else { unreachable!() };
    assert!(why.contains("connections.corp.probes.flagd"), "{why}");
}
