//! The whole service over a fleet on loopback, in compressed time and asked over HTTP only.

mod common;

use std::{fs, sync::Arc, time::Duration};

use common::{Client, Declarations, PLANS, credited, image, phase, ring, target};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, Config,
    api::{Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use reqwest::{Method, StatusCode};
use ringward::{
    app::{self, AppError, Running},
    clock::{Clock, SystemClock},
    config::{Settings, SourceSettings},
    ids::Mint,
    model::{
        ring::Artifact,
        time::{Mono, Span},
    },
    show::auth::{ADMIN_TOKEN, NewToken, Tokens},
    sim::loopback::{Defect, Fleet},
};
use serde_json::{Value, json};

/// A soak of ten seconds takes half of one.
const SPEED: f64 = 20.0;

/// Agrees that search@1.0 enters its second ring.
const APPROVE: &str = "/v1/plans/search/releases/1.0/rings/us/approve";

struct Service {
    fleet: Fleet,
    clock: Arc<dyn Clock>,
    declarations: Declarations,
    folder: tempfile::TempDir,
    running: Option<Running>,
}

impl Service {
    /// A fleet and its declarations, with nothing that serves them yet.
    async fn prepare() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let wall: Timestamp = "2026-11-02T08:00:00Z".parse().expect("an instant");
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::compressed(wall, Mono(0), SPEED));
        let fleet = common::fleet(Span::seconds(3), clock.clone(), folder.path()).await;
        let declarations = Declarations { approved: vec!["search"], ..Declarations::of(&fleet) };
        declarations.write(&folder.path().join("source"));
        Self { fleet, clock, declarations, folder, running: None }
    }

    /// Starts, and waits until the plans are in force and what runs has been seen.
    async fn start() -> (Self, Client) {
        let mut service = Self::prepare().await;
        let client = service.resume().await;
        for plan in PLANS {
            client
                .until_at("/v1/clusters", "all targets to be seen", |clusters| {
                    all_seen(clusters, plan)
                })
                .await;
        }
        (service, client)
    }

    fn settings(&self) -> Settings {
        common::settings(&self.fleet, self.folder.path())
    }

    async fn try_start(&self) -> Result<Running, AppError> {
        let wall = self.clock.now().wall;
        app::start(self.settings(), move |base| {
            Arc::new(SystemClock::compressed(wall, base, SPEED))
        })
        .await
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
        tokio::time::timeout(Duration::from_secs(5), running.stop())
            .await
            .expect("it stops at once");
    }

    /// Somebody who may approve, and nothing else.
    fn approver(&self) -> Client {
        let running = self.running.as_ref().expect("it runs");
        let tokens = Tokens::open(&running.data).expect("tokens");
        let roles = vec!["approver".into()];
        let kim = NewToken { name: "kim".into(), roles, ..NewToken::default() };
        let made = tokens.create(kim, &mut Mint::system(), self.clock.now().wall);
        Client::new(running.address, made.expect("a token").1)
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

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_version_is_taken_back_to_what_ran_before() {
    let (service, client) = Service::start().await;
    let defect = Defect { failures: 0.5, ..Defect::default() };
    service.fleet.defect(&"us".into(), &image("checkout", '2'), defect).expect("a cluster");
    client.release("checkout", "1.0", '1').await.good();
    client.until("checkout", "1.0", "success", is("Succeeded")).await;

    client.release("checkout", "2.0", '2').await.good();
    let back = client.until("checkout", "2.0", "the way back", is("RolledBack")).await;
    assert_eq!(phase(&back, "eu"), "Passed", "it is bad in the other cluster only");
    let why = ring(&back, "us")["info"].as_str().expect("words");
    assert!(why.contains("success-rate") && why.contains("us"), "{why}");
    assert_eq!(service.serving("us", "checkout"), [(image("checkout", '1'), 2)]);
    assert_eq!(service.serving("eu", "checkout"), [(image("checkout", '2'), 2)]);

    let again = client.release("checkout", "2.0", '2').await;
    assert_eq!((again.status, again.problem()), (StatusCode::CONFLICT, "tombstoned"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_version_that_is_bad_goes_back_to_what_its_owner_ran() {
    let (service, client) = Service::start().await;
    service.fleet.crash(&"eu".into(), &image("search", '1')).expect("a cluster");
    client.release("search", "1.0", '1').await.good();
    client.until("search", "1.0", "the way back", is("RolledBack")).await;
    assert_eq!(service.serving("eu", "search"), [(image("search", '0'), 2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_paused_stands_still_and_what_is_aborted_goes_back() {
    let (service, client) = Service::start().await;
    client.release("checkout", "1.0", '1').await.good();
    client.until("checkout", "1.0", "some soak", |r| credited(r, "eu") > 2.0).await;
    client.act("checkout", "1.0", "pause").await.good();
    let paused = client.show("checkout", "1.0").await;
    assert_eq!(paused["phase"], "Paused");
    let holds = ring(&paused, "eu")["holds"].as_array().expect("holds").clone();
    assert!(holds.iter().any(|hold| hold["kind"] == "pause"), "{holds:?}");
    // Longer than the rest of the soak.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let still = client.show("checkout", "1.0").await;
    assert_eq!(credited(&still, "eu"), credited(&paused, "eu"));
    assert_eq!(phase(&still, "eu"), "Soaking");
    let again = client.act("checkout", "1.0", "pause").await;
    assert_eq!((again.status, again.problem()), (StatusCode::CONFLICT, "nothing-to-do"));

    client.act("checkout", "1.0", "resume").await.good();
    client.until("checkout", "1.0", "the next ring", |r| phase(r, "us") == "Soaking").await;
    client.act("checkout", "1.0", "abort").await.good();
    let over =
        client.until("checkout", "1.0", "its end", |r| phase(r, "us") != "RollingBack").await;
    assert_eq!((over["phase"].as_str(), phase(&over, "us")), (Some("Aborted"), "Aborted"));
    assert_eq!(phase(&over, "eu"), "Passed", "what has passed stays");
    assert_eq!(service.serving("us", "checkout"), [(image("checkout", '0'), 2)]);
    assert_eq!(service.serving("eu", "checkout"), [(image("checkout", '1'), 2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_soak_goes_on_where_a_stop_left_it() {
    let (mut service, client) = Service::start().await;
    client.release("checkout", "1.0", '1').await.good();
    client.until("checkout", "1.0", "some soak", |r| credited(r, "eu") > 3.0).await;
    let before = credited(&client.show("checkout", "1.0").await, "eu");
    service.stop().await;
    // Longer than the rest of the soak.
    tokio::time::sleep(Duration::from_millis(1_200)).await;

    let client = service.resume().await;
    let after = credited(&client.show("checkout", "1.0").await, "eu");
    assert!(after >= before, "{before} before, {after} after");
    client.until("checkout", "1.0", "success", is("Succeeded")).await;
    assert_eq!(client.get("/v1/audit/verify").await["broken"], Value::Null);
    let facts = client.facts().await;
    assert!(facts.iter().all(|(_, what, _)| what != "soakReset"), "{facts:#?}");
    // Nothing is credited for the time away: the soak first runs again.
    let resumed = facts.iter().rposition(|(_, what, _)| what == "tookOver").expect("two lives");
    let soak = |what: &str| matches!(what, "soakRunning" | "soakCredited");
    let first = facts[resumed..].iter().find(|(_, what, with)| soak(what) && with["ring"] == "eu");
    assert_eq!(first.map(|(_, what, _)| what.as_str()), Some("soakRunning"), "{facts:#?}");
}

/// Runs the binary against the service, as its administrator.
async fn ringward(running: &Running, arguments: &[&str]) -> std::process::Output {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_ringward"));
    let server = format!("http://{}", running.address);
    command.args(arguments).args(["--server", &server, "--token"]);
    command.arg(running.data.join(ADMIN_TOKEN)).output().await.expect("it runs")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_out_of_a_backup_goes_on_where_the_backup_was_taken() {
    let (mut service, client) = Service::start().await;
    client.release("checkout", "1.0", '1').await.good();
    client.until("checkout", "1.0", "some soak", |r| credited(r, "eu") > 3.0).await;
    let backup = service.folder.path().join("backup.jsonl");
    let file = backup.to_str().expect("a path");
    let before = credited(&client.show("checkout", "1.0").await, "eu");
    let taken = ringward(service.running.as_ref().expect("it runs"), &["backup", file]).await;
    assert!(taken.status.success(), "{taken:?}");
    assert!(String::from_utf8_lossy(&taken.stderr).contains("entries, verified"), "{taken:?}");
    service.stop().await;

    // What happened since is lost with the disk; half a backup makes no directory.
    let data = service.settings().data;
    fs::remove_dir_all(&data).expect("a lost disk");
    let whole = fs::read_to_string(&backup).expect("a backup");
    let half = service.folder.path().join("half.jsonl");
    let lines = whole.lines().count();
    let some: Vec<&str> = whole.lines().take(lines - 1).collect();
    fs::write(&half, some.join("\n")).expect("a file");
    let restore = |file: &std::path::Path| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ringward"));
        command.arg("restore").arg(file).arg("--data").arg(&data).output().expect("it runs")
    };
    let refused = restore(&half);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("cut short"), "{refused:?}");
    assert!(!data.exists());
    let restored = restore(&backup);
    assert!(restored.status.success(), "{restored:?}");

    let client = service.resume().await;
    let after = credited(&client.show("checkout", "1.0").await, "eu");
    assert!(after >= before, "{before} before, {after} after");
    client.until("checkout", "1.0", "success", is("Succeeded")).await;
    assert_eq!(client.get("/v1/audit/verify").await["broken"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_service_on_the_same_data_is_refused_and_a_later_one_is_not() {
    let (mut service, client) = Service::start().await;
    let refused = service.try_start().await.err().expect("it is refused");
    let words = format!("{refused}: {}", std::error::Error::source(&refused).expect("a cause"));
    assert!(words.contains("in use by process"), "{words}");
    let events = client.ask(Method::GET, "/readyz", &[], None).await.expect("an answer");
    assert_eq!(events.status, StatusCode::OK, "the first goes on");
    service.stop().await;
    service.resume().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_document_takes_only_its_own_plan_out() {
    let (service, client) = Service::start().await;
    client.release("checkout", "1.0", '1').await.good();
    let broken = service.declarations.plan("checkout").replace("after: [eu]", "after: [mars]");
    service.edit("rings/checkout.yaml", &broken);
    let plan =
        client.until_at("/v1/plans/checkout", "its problems", |p| p["problems"] != json!([])).await;
    let problem = &plan["problems"][0];
    assert!(
        problem["place"].as_str().is_some_and(|p| p.starts_with("rings/checkout.yaml:")),
        "{problem}"
    );
    let refused = client.release("checkout", "2.0", '2').await;
    assert_eq!((refused.status, refused.problem()), (StatusCode::CONFLICT, "plan-in-error"));
    assert!(refused.body["detail"].as_str().is_some_and(|d| d.contains("mars")), "{refused:?}");

    assert_eq!(client.get("/v1/source").await["inError"], json!(["checkout"]));
    client.release("search", "1.0", '1').await.good();
    service.approver().post(APPROVE, &[], json!({})).await.good();
    client.until("checkout", "1.0", "success: it began before", is("Succeeded")).await;
    client.until("search", "1.0", "success: another plan", is("Succeeded")).await;

    service.edit("rings/checkout.yaml", &service.declarations.plan("checkout"));
    client.until_at("/v1/plans/checkout", "no problems", |p| p["problems"] == json!([])).await;
    client.release("checkout", "2.0", '2').await.good();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_policy_does_not_touch_a_release_in_motion() {
    let (service, client) = Service::start().await;
    client.release("checkout", "1.0", '1').await.good();
    let started =
        client.until("checkout", "1.0", "its start", |r| phase(r, "eu") == "Soaking").await;
    let edited = Declarations { soak: "1s", ..service.declarations.clone() };
    service.edit("policies/all.yaml", &edited.policies());
    let policy = started["policy"].clone();
    client.until_at("/v1/plans/checkout", "the new policy", |p| p["policy"] != policy).await;
    let done = client.until("checkout", "1.0", "success", is("Succeeded")).await;
    assert_eq!(done["policy"], policy);
    for name in common::RINGS {
        assert!(credited(&done, name) >= 10.0, "{done:#}");
    }
    client.release("checkout", "2.0", '2').await.good();
    let next = client.until("checkout", "2.0", "success", is("Succeeded")).await;
    assert_eq!(ring(&next, "us")["soak"]["requiredSeconds"], 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_has_not_consented_fails_the_ring_and_says_how_to() {
    let (service, client) = Service::start().await;
    let withdrawn = json!({"metadata": {"annotations": {"ringward.dev/managed-by": null}}});
    let owner = PatchParams { field_manager: Some("platform".into()), ..Default::default() };
    let deployments = service.deployments("eu").await;
    deployments.patch("checkout", &owner, &Patch::Merge(withdrawn)).await.expect("an edit");
    client.release("checkout", "1.0", '1').await.good();
    let failed = client.until("checkout", "1.0", "failure", |r| {
        ["Failed", "RolledBack"].contains(&phase(r, "eu"))
    });
    let failed = failed.await;
    let why = ring(&failed, "eu")["info"].as_str().expect("words");
    assert!(why.contains("kubectl") && why.contains("ringward.dev/managed-by=checkout"), "{why}");
    assert_eq!(service.serving("eu", "checkout"), [(image("checkout", '0'), 2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn actions_are_bound_to_what_was_seen_and_repeats_are_recognised() {
    let (_service, client) = Service::start().await;
    let path = "/v1/plans/checkout/releases/1.0";
    client.release("checkout", "1.0", '1').await.good();
    let seen = client.ask(Method::GET, path, &[], None).await.expect("an answer");
    let tag = seen.etag.expect("an ETag");
    client.until("checkout", "1.0", "some change", |r| phase(r, "eu") == "Soaking").await;
    let pause = format!("{path}/pause");
    let stale = client.post(&pause, &[("if-match", &tag)], json!({})).await;
    assert_eq!((stale.status, stale.problem()), (StatusCode::PRECONDITION_FAILED, "stale-state"));
    assert_ne!(client.show("checkout", "1.0").await["phase"], "Paused");

    let key = [("idempotency-key", "first")];
    let first = client.post(&pause, &key, json!({"reason": "lunch"})).await;
    assert_eq!(first.status, StatusCode::OK, "{first:?}");
    let repeat = client.post(&pause, &key, json!({"reason": "lunch"})).await;
    assert_eq!(repeat, first);
    let other = client.post(&pause, &key, json!({"reason": "dinner"})).await;
    assert_eq!(other.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(other.problem(), "idempotency-conflict");
    let facts = client.facts().await;
    assert_eq!(facts.iter().filter(|(_, what, _)| what == "paused").count(), 1);

    // What somebody else has paused is no longer what was seen, though nothing else happens there.
    let plan = client.ask(Method::GET, "/v1/plans/search", &[], None).await.expect("an answer");
    let tag = plan.etag.expect("an ETag");
    client.post("/v1/plans/search/pause", &[], json!({})).await.good();
    let stale = client.post("/v1/plans/search/resume", &[("if-match", &tag)], json!({})).await;
    assert_eq!(stale.status, StatusCode::PRECONDITION_FAILED, "{stale:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_that_was_cut_short_locks_nobody_out() {
    let mut service = Service::prepare().await;
    let token = service.folder.path().join("data").join(ADMIN_TOKEN);
    fs::create_dir_all(&token).expect("something in its place");
    let failed = service.try_start().await.err().expect("the token cannot be written");
    assert!(matches!(failed, AppError::Tokens(_)), "{failed}");
    fs::remove_dir(&token).expect("it goes");
    let client = service.resume().await;
    client.get("/v1/plans").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_stays_bound_to_what_was_seen_while_gates_are_measured() {
    let (service, client) = Service::start().await;
    let kim = service.approver();
    client.release("search", "1.0", '1').await.good();
    let path = "/v1/plans/search/releases/1.0";
    client.until("search", "1.0", "some soak", |r| credited(r, "eu") > 1.0).await;
    let seen = kim.ask(Method::GET, path, &[], None).await.expect("an answer");
    let then = credited(&seen.body, "eu");
    client.until("search", "1.0", "more soak", |r| credited(r, "eu") > then + 3.0).await;
    let tag = seen.etag.expect("an ETag");
    let approved = kim.post(APPROVE, &[("if-match", &tag)], json!({})).await;
    assert_eq!(approved.status, StatusCode::OK, "only time has passed: {approved:?}");
    client.until("search", "1.0", "success", is("Succeeded")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_listens_hears_what_happens_and_is_let_go_at_the_end() {
    let (mut service, client) = Service::start().await;
    let mut events = client.listen().await;
    client.release("checkout", "1.0", '1').await.good();
    let mut heard = String::new();
    while !heard.contains("ringStarted") {
        let chunk = events.chunk().await.expect("a stream").expect("it goes on");
        heard.push_str(&String::from_utf8_lossy(&chunk));
    }
    assert!(heard.contains("submitted") && heard.contains("checkout@1.0"), "{heard}");
    service.stop().await;
    while let Ok(Some(_)) = events.chunk().await {}
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_before_what_runs_has_been_seen() {
    let mut service = Service::prepare().await;
    let eu = "eu".into();
    service.fleet.cut_kubernetes(&eu, true).expect("a cluster");
    service.fleet.crash(&eu, &image("checkout", '1')).expect("a cluster");
    let client = service.resume().await;
    client.until_at("/v1/plans/checkout", "the plan", |p| p["rings"] != json!([])).await;
    client.release("checkout", "1.0", '1').await.good();
    let held = client.show("checkout", "1.0").await;
    let holds = ring(&held, "eu")["holds"].as_array().expect("holds").clone();
    assert!(holds.iter().any(|hold| hold["kind"] == "target"), "{held:#}");
    service.fleet.cut_kubernetes(&eu, false).expect("a cluster");
    let back = client.until("checkout", "1.0", "the way back", |r| {
        ["RolledBack", "Failed"].contains(&phase(r, "eu"))
    });
    assert_eq!(phase(&back.await, "eu"), "RolledBack");
    assert_eq!(service.serving("eu", "checkout"), [(image("checkout", '0'), 2)]);
}

/// What a cluster's nodes say is heard at the start, and again and again; what they said last stays where
/// they may not be seen.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_contradicts_its_declaration_takes_no_release() {
    let mut service = Service::prepare().await;
    let rules = "apiVersion: ringward.dev/v1alpha1
kind: ResidencyPolicy
metadata: {name: law}
spec: {rules: [{id: L-1, enforcement: hard, targetsWithin: {rings: [eu], jurisdiction: EU}}]}
";
    service.edit("policies/law.yaml", rules);
    let bound =
        service.declarations.plan("checkout").replace("  rings:", "  residency: [law]\n  rings:");
    service.edit("rings/checkout.yaml", &bound);
    let (eu, moved) = ("eu".into(), "us-east-1".into());
    service.fleet.label_nodes(&eu, &[Some(&moved)]).expect("a cluster of the fleet");
    let client = service.resume().await;
    let says = |region: &'static str| {
        move |clusters: &Value| clusters["items"][0]["witness"]["regions"] == json!([region])
    };
    client.until_at("/v1/clusters", "its nodes to be heard", says("us-east-1")).await;
    let refused = client.release("checkout", "1.0", '1').await;
    assert_eq!(refused.problem(), "residency-violation");
    let why = refused.body["detail"].as_str().expect("a detail");
    assert!(why.contains("declared in region eu-west-1, and a node of it says us-east-1"), "{why}");

    service.stop().await;
    service.fleet.hide_nodes(&eu, true).expect("a cluster of the fleet");
    let client = service.resume().await;
    client.until_at("/v1/clusters", "its targets to be seen", |c| all_seen(c, "checkout")).await;
    assert_eq!(client.release("checkout", "1.0", '1').await.problem(), "residency-violation");

    service.stop().await;
    let home = "eu-west-1".into();
    service.fleet.hide_nodes(&eu, false).expect("a cluster of the fleet");
    service.fleet.label_nodes(&eu, &[Some(&home)]).expect("a cluster of the fleet");
    let client = service.resume().await;
    client.until_at("/v1/clusters", "its nodes to be heard", says("eu-west-1")).await;
    client.release("checkout", "1.0", '1').await.good();
    service.stop().await;
}

#[tokio::test]
async fn who_has_stopped_has_let_go_of_the_data_directory() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir_all(folder.path().join("source/rings")).expect("a folder");
    for _ in 0..3 {
        let settings = Settings {
            listen: ([127, 0, 0, 1], 0).into(),
            data: folder.path().join("data"),
            source: SourceSettings {
                path: Some(folder.path().join("source")),
                ..SourceSettings::default()
            },
            ..Settings::default()
        };
        let running = app::start(settings, |base| Arc::new(SystemClock::new(base))).await;
        running.expect("nobody has it").stop().await;
    }
}
