//! What the adapter of Unleash's flags is asked, of whoever speaks its admin API.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream::BoxStream};
use reqwest::Method;
use ringward::{
    act::{
        Connections, Deployer, Found, WriteError, cluster::Kubeconfigs, flags::FlagServices,
        metrics::auth::Credentials,
    },
    clock::SystemClock,
    config::{FlagServiceSettings, MetricsAuth},
    decide::{
        command::Write,
        event::{Status, TargetState},
    },
    ids::ReleaseId,
    model::{
        ring::{Artifact, Target, TargetKind},
        time::{Mono, Span},
    },
};
use serde_json::{Value, json};
use tokio::time::timeout;

/// An Unleash with what its administrator shows it.
pub struct Unleash {
    pub url: String,
    pub token: String,
    folder: tempfile::TempDir,
}

impl Unleash {
    pub fn new(url: String, token: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("token"), token).expect("a file");
        Self { url, token: token.into(), folder }
    }

    /// As its owner; the status and the body.
    pub async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let url = format!("{}/api/admin/projects/default/{path}", self.url);
        let mut request = reqwest::Client::new().request(method, url);
        request = request.header("Authorization", &self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }

    async fn good(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let (status, answer) = self.ask(method, path, body).await;
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        answer
    }

    /// A flag whose rollout a plan may have where `title` says so; beside it a strategy for staff.
    pub async fn create(&self, flag: &str, title: &str, rollout: &str) {
        let body = json!({"name": flag, "type": "release"});
        self.good(Method::POST, "features", Some(body)).await;
        let place = format!("features/{flag}/environments/production");
        let staff = json!({"name": "default", "title": "staff", "constraints": [
            {"contextName": "userId", "operator": "IN", "values": ["ann", "bob"]}], "parameters": {}});
        self.good(Method::POST, &format!("{place}/strategies"), Some(staff)).await;
        let ours = json!({"name": "flexibleRollout", "title": title, "constraints": [],
            "parameters": {"rollout": rollout, "stickiness": "default", "groupId": flag}});
        self.good(Method::POST, &format!("{place}/strategies"), Some(ours)).await;
        self.good(Method::POST, &format!("{place}/on"), None).await;
    }

    /// The environment's strategies: the staff's and ours.
    async fn strategies(&self, flag: &str) -> [Value; 2] {
        let answer = self.good(Method::GET, &format!("features/{flag}"), None).await;
        let environments = answer["environments"].as_array().expect("environments");
        let here = environments.iter().find(|here| here["name"] == "production");
        let all = here.expect("production")["strategies"].as_array().expect("strategies").clone();
        let (staff, ours): (Vec<_>, Vec<_>) = all.into_iter().partition(|s| s["title"] == "staff");
        [staff[0].clone(), ours[0].clone()]
    }

    async fn ours(&self, flag: &str) -> (String, String) {
        let [_, ours] = self.strategies(flag).await;
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        (text(&ours["title"]), text(&ours["parameters"]["rollout"]))
    }

    /// Changes our strategy as its owner would.
    async fn edit(&self, flag: &str, path: &str, value: &str) {
        let [_, ours] = self.strategies(flag).await;
        let id = ours["id"].as_str().expect("an id");
        let place = format!("features/{flag}/environments/production/strategies/{id}");
        let patch = json!([{"op": "replace", "path": path, "value": value}]);
        self.good(Method::PATCH, &place, Some(patch)).await;
    }

    /// The service's door, as the settings of a server make it.
    pub fn door(&self) -> Arc<dyn Deployer> {
        let service = FlagServiceSettings {
            url: self.url.clone(),
            environment: "production".into(),
            interval: Span(20),
        };
        let auth = MetricsAuth {
            header_files: [("Authorization".to_owned(), self.folder.path().join("token"))].into(),
            ..MetricsAuth::default()
        };
        let credentials = Credentials::new([(self.url.clone(), auth)].into()).expect("credentials");
        let services = [("corp".to_owned(), [("unleash".to_owned(), service)].into())].into();
        let clusters = Kubeconfigs::new([].into());
        let doors =
            FlagServices::new(clusters, services, credentials, Arc::new(SystemClock::new(Mono(0))))
                .expect("a client");
        doors.deployer("corp").expect("a deployer")
    }
}

fn target(flag: &str) -> Target {
    let kind = TargetKind::UnleashFlag { service: "unleash".into(), cleanup_after: None };
    Target { kind, namespace: "default".into(), name: flag.into() }
}

pub fn write(flag: &str, key: &str, serves: &str) -> Write {
    Write {
        key: format!("dark@{key}/eu/corp/1/deploy").into(),
        release: ReleaseId::new("dark", key),
        ring: "eu".into(),
        attempt: 1,
        cluster: "corp".into(),
        connection: "corp".into(),
        target: target(flag),
        artifact: Artifact(serves.into()),
    }
}

fn refused(result: Result<Found, WriteError>) -> String {
    match result {
        Err(WriteError::Refused(why)) => why,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

async fn until(
    states: &mut BoxStream<'static, TargetState>,
    wanted: impl Fn(&TargetState) -> bool,
) -> TargetState {
    let found = async {
        loop {
            let state = states.next().await.expect("a watch never ends");
            if wanted(&state) {
                return state;
            }
        }
    };
    timeout(Duration::from_secs(20), found).await.expect("it is seen within 20 s")
}

const CONSENT: &str = "ringward.dev/managed-by=dark";

/// Everything that every adapter does alike.
pub async fn suite(unleash: &Unleash) {
    a_release_is_seen_through_and_taken_back(unleash).await;
    nothing_is_written_without_consent_nor_over_a_newer_writer(unleash).await;
    what_others_change_is_a_conflict(unleash).await;
    what_is_off_or_gone_is_no_success(unleash).await;
}

async fn a_release_is_seen_through_and_taken_back(unleash: &Unleash) {
    unleash.create("seen", CONSENT, "0").await;
    let [staff, _] = unleash.strategies("seen").await;
    let door = unleash.door();
    let mut states = door.watch(&"dark".into(), &target("seen"));
    let before = until(&mut states, |s| s.status == Status::Succeeded).await;
    assert_eq!((before.image, before.intent), (Some(Artifact("off".into())), None));

    let one = write("seen", "1", "on=25%,off");
    let found = door.write(&one, 7).await.expect("written").expect("what was there");
    assert_eq!(found.image, Some(Artifact("off".into())));
    let state = until(&mut states, |s| s.intent.as_ref() == Some(&one.key)).await;
    assert_eq!((state.status, state.image), (Status::Succeeded, Some(one.artifact.clone())));
    let (title, rollout) = unleash.ours("seen").await;
    assert_eq!(rollout, "25");
    assert_eq!(
        title,
        format!("{CONSENT} release=dark@1 intent={} epoch=7 serves=on=25%,off before=off", one.key)
    );
    // A repeat changes nothing, under a newer epoch neither, and still knows what was there.
    let again = door.write(&one, 8).await.expect("written").expect("what was there");
    assert_eq!(again.image, Some(Artifact("off".into())));
    assert_eq!(unleash.ours("seen").await.0, title);

    let two = write("seen", "2", "on");
    door.write(&two, 8).await.expect("written");
    until(&mut states, |s| s.intent.as_ref() == Some(&two.key)).await;
    let mut back = write("seen", "2", "off");
    back.key = "dark@2/eu/corp/1/restore".into();
    door.write(&back, 8).await.expect("written");
    let state = until(&mut states, |s| s.intent.as_ref() == Some(&back.key)).await;
    assert_eq!(state.image, Some(Artifact("off".into())));
    let (title, rollout) = unleash.ours("seen").await;
    assert!(rollout == "0" && !title.contains("before="), "{title}");
    assert_eq!(unleash.strategies("seen").await[0], staff, "the others' strategy is as it was");
    let why = door.workload(&target("seen")).await.expect_err("a flag has none");
    assert!(why.contains("no pods of its own"), "{why}");
}

async fn nothing_is_written_without_consent_nor_over_a_newer_writer(unleash: &Unleash) {
    unleash.create("asked", "gradual", "0").await;
    let door = unleash.door();
    let one = write("asked", "1", "on=5%,off");
    let why = refused(door.write(&one, 3).await);
    assert!(why.contains("has not consented to plan `dark`") && why.ends_with(CONSENT), "{why}");
    unleash.edit("asked", "/title", "ringward.dev/managed-by=other").await;
    let why = refused(door.write(&one, 3).await);
    assert!(why.contains("managed by plan `other`"), "{why}");
    unleash.edit("asked", "/title", CONSENT).await;
    door.write(&one, 3).await.expect("written");
    let why = refused(door.write(&write("asked", "2", "on"), 2).await);
    assert!(why.contains("epoch 3, this writer's is 2"), "{why}");
    let why = refused(door.write(&write("asked", "2", "blue"), 3).await);
    assert!(why.contains("on or off"), "{why}");
    assert_eq!(unleash.ours("asked").await.1, "5");
}

async fn what_others_change_is_a_conflict(unleash: &Unleash) {
    unleash.create("shared", CONSENT, "0").await;
    let door = unleash.door();
    door.write(&write("shared", "1", "on=5%,off"), 1).await.expect("written");
    unleash.edit("shared", "/parameters/rollout", "60").await;
    let why = refused(door.write(&write("shared", "2", "on=10%,off"), 1).await);
    assert!(why.contains("serves on=60%,off, and ringward wrote on=5%,off"), "{why}");
    assert_eq!(unleash.ours("shared").await.1, "60");
    // Handed over, it is what there is to go back to.
    unleash.edit("shared", "/title", CONSENT).await;
    let found = door.write(&write("shared", "2", "on=10%,off"), 1).await.expect("written");
    assert_eq!(found.and_then(|found| found.image), Some(Artifact("on=60%,off".into())));
}

async fn what_is_off_or_gone_is_no_success(unleash: &Unleash) {
    unleash.create("off", CONSENT, "0").await;
    let door = unleash.door();
    let place = "features/off/environments/production";
    unleash.good(Method::POST, &format!("{place}/off"), None).await;
    let mut states = door.watch(&"dark".into(), &target("off"));
    until(&mut states, |s| s.status == Status::Paused).await;
    let one = write("off", "1", "on");
    assert_eq!(door.write(&one, 1).await, Ok(None), "what is off is nothing to go back to");
    let state = until(&mut states, |s| s.intent.as_ref() == Some(&one.key)).await;
    assert_eq!(state.status, Status::Paused);
    unleash.good(Method::POST, &format!("{place}/on"), None).await;
    until(&mut states, |s| s.status == Status::Succeeded).await;

    unleash.good(Method::DELETE, "features/off", None).await;
    let gone =
        |s: &TargetState| matches!(&s.status, Status::Unknown(why) if why.contains("was deleted"));
    until(&mut states, gone).await;
    let why = refused(door.write(&write("off", "2", "off"), 1).await);
    assert!(why.contains("does not exist"), "{why}");
}
