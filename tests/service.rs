//! The whole service over a fleet on loopback, in compressed time and asked over HTTP only.

mod common;

use std::{fs, sync::Arc, time::Duration};

use common::{Client, Declarations, PLANS, credited, image, phase, ring, target};
use jiff::Timestamp;
use kube::{
    Api, Config,
    api::{Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use k8s_openapi::api::apps::v1::Deployment;
use reqwest::StatusCode;
use ringward::{
    app::{self, AppError, Running},
    clock::{Clock, SystemClock},
    config::Settings,
    model::{ring::Artifact, time::{Mono, Span}},
    sim::loopback::{Defect, Fleet},
};
use serde_json::{Value, json};

/// A soak of ten seconds takes one.
const SPEED: f64 = 10.0;

struct Service {
    fleet: Fleet,
    clock: Arc<dyn Clock>,
    declarations: Declarations,
    folder: tempfile::TempDir,
    running: Option<Running>,
}

impl Service {
    /// Starts, and waits until the plans are in force and what runs has been seen.
    async fn start() -> (Self, Client) {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Declarations)) -> (Self, Client) {
        let folder = tempfile::tempdir().expect("a folder");
        let wall: Timestamp = "2026-11-02T08:00:00Z".parse().expect("an instant");
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::compressed(wall, Mono(0), SPEED));
        let fleet = common::fleet(Span::seconds(3), clock.clone(), folder.path()).await;
        let mut declarations = Declarations::of(&fleet);
        change(&mut declarations);
        declarations.write(&folder.path().join("source"));
        let mut service = Self { fleet, clock, declarations, folder, running: None };
        let client = service.resume().await;
        for plan in PLANS {
            client.until_at("/v1/clusters", "all targets to be seen", |clusters| all_seen(clusters, plan)).await;
        }
        (service, client)
    }

    fn settings(&self) -> Settings {
        common::settings(&self.fleet, self.folder.path())
    }

    async fn try_start(&self) -> Result<Running, AppError> {
        let wall = self.clock.now().wall;
        app::start(self.settings(), move |base| Arc::new(SystemClock::compressed(wall, base, SPEED))).await
    }

    /// Starts on the same data directory.
    async fn resume(&mut self) -> Client {
        let running = self.try_start().await.expect("it starts");
        let client = Client::new(running.address, common::admin_token(&running.data));
        self.running = Some(running);
        client
    }

    async fn stop(&mut self) {
        let running = self.running.take().expect("it runs");
        tokio::time::timeout(Duration::from_secs(5), running.stop()).await.expect("it stops at once");
    }

    fn serving(&self, cluster: &str, plan: &str) -> Vec<(Artifact, usize)> {
        self.fleet.serving(&cluster.into(), &target(plan)).expect("a cluster of the fleet")
    }

    fn edit(&self, file: &str, text: &str) {
        fs::write(self.folder.path().join("source").join(file), text).expect("a file");
    }

    async fn deployments(&self, cluster: &str) -> Api<Deployment> {
        let kubeconfig = Kubeconfig::read_from(self.fleet.kubeconfig()).expect("a kubeconfig");
        let options = KubeConfigOptions { context: Some(cluster.into()), ..Default::default() };
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
        let client = kube::Client::try_from(config.expect("a context")).expect("a client");
        Api::namespaced(client, "shop")
    }
}

fn all_seen(clusters: &Value, plan: &str) -> bool {
    let clusters = clusters["items"].as_array().expect("clusters");
    clusters.len() == 2
        && clusters.iter().all(|cluster| {
            let targets = cluster["targets"].as_array().expect("targets");
            targets.iter().any(|target| target["plan"] == plan && target["status"] == "ready")
        })
}

fn is(phase: &'static str) -> impl Fn(&Value) -> bool {
    move |release| release["phase"] == phase
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_goes_through_both_rings_and_every_step_is_in_the_audit() {
    let (service, client) = Service::start().await;
    let created = client.release("checkout", "1.0", '1').await;
    assert_eq!(created.status, StatusCode::CREATED, "{created:?}");
    let done = client.until("checkout", "1.0", "success", is("Succeeded")).await;
    for name in common::RINGS {
        assert_eq!(service.serving(name, "checkout"), [(image("checkout", '1'), 2)]);
        assert_eq!(service.serving(name, "search"), [(image("search", '0'), 2)]);
        assert!(credited(&done, name) >= 10.0, "{done:#}");
    }
    let facts = client.facts().await;
    let at = |what: &str, ring: &str| {
        let found = facts.iter().find(|(_, name, with)| name == what && with["ring"] == ring);
        found.unwrap_or_else(|| panic!("no {what} of {ring} in {facts:#?}")).0
    };
    assert!(at("ringStarted", "eu") < at("soakStarted", "eu"));
    assert!(at("soakStarted", "eu") < at("ringPassed", "eu"));
    assert!(at("ringPassed", "eu") <= at("ringStarted", "us"));
    assert!(at("ringStarted", "us") < at("ringPassed", "us"));
    let verified = client.get("/v1/audit/verify").await;
    assert_eq!(verified["broken"], Value::Null, "{verified}");
    assert!(verified["entries"].as_u64() >= facts.last().map(|(seq, ..)| *seq));
}
