//! What every adapter does alike, asked of each of them over HTTP.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use futures::{StreamExt, future::join_all, stream::BoxStream};
use jiff::Timestamp;
use kube::{
    Api, Client, Config,
    api::{Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::DynamicObject,
};
use ringward::{
    act::{
        Connections, Deployer, Found, WriteError,
        cluster::{Connection, Kubeconfigs},
    },
    clock::{Clock, SystemClock},
    decide::{
        command::{Promote, Write},
        event::{Status, TargetState},
        part::Workload as Pods,
    },
    ids::{PlanName, ReleaseId},
    model::{
        ring::{Artifact, Target, TargetKind},
        time::{Mono, Span},
    },
    sim::loopback::{Fleet, Site, Workload},
};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::subject::{self, Broken, Stopped, Subject};

/// A rollout of 45 s takes some 60 ms.
const SPEED: f64 = 720.0;
const CLUSTER: &str = "corp";

fn image(digit: char) -> Artifact {
    Artifact(format!("registry.example/shop/app@sha256:{}", digit.to_string().repeat(64)))
}

/// A fleet of one cluster, in which every kind runs image `a` in three replicas.
struct World {
    fleet: Fleet,
    deployer: Arc<dyn Deployer>,
    client: Client,
    _folder: tempfile::TempDir,
}

impl World {
    async fn start() -> Self {
        let workloads = subject::all().into_iter().map(|subject| workload(&subject)).collect();
        let site = Site {
            cluster: CLUSTER.into(),
            connection: CLUSTER.into(),
            region: "eu-central-2".into(),
            metrics: ["http://prometheus.monitoring.corp:9090".to_owned()].into(),
            workloads,
            deploy_time: Span::seconds(45),
        };
        let wall: Timestamp = "2026-11-02T08:00:00Z".parse().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::compressed(wall, Mono(0), SPEED));
        let folder = tempfile::tempdir().unwrap();
        let fleet = Fleet::start(&[site], clock, 7, folder.path()).await.unwrap();
        let settings = Connection {
            kubeconfig: Some(fleet.kubeconfig().to_owned()),
            context: Some(CLUSTER.into()),
            ..Connection::default()
        };
        let connections = Kubeconfigs::new(BTreeMap::from([(CLUSTER.to_owned(), settings)]));
        let deployer = connections.deployer(CLUSTER).unwrap();
        let client = client(fleet.kubeconfig()).await;
        let world = Self { fleet, deployer, client, _folder: folder };
        for subject in &subject::all() {
            match subject.name {
                "referring" => world.refer(subject).await,
                "bluegreen" => {
                    let services = json!({"activeService": "app", "previewService": "preview"});
                    let strategy = json!({"canary": null, "blueGreen": services});
                    let change = json!({"spec": {"strategy": strategy}});
                    world.edit(subject, &subject.resource(), &change).await;
                }
                _ => {}
            }
        }
        world
    }

    /// Takes a Rollout's template away, and lets it refer to a Deployment's.
    async fn refer(&self, subject: &Subject) {
        let container = "app".into();
        let kind = TargetKind::Deployment { container };
        let name = subject.object().to_owned();
        let target = Target { kind, name, ..subject.target() };
        let template = Workload { target, ..workload(subject) };
        self.fleet.add_template(&CLUSTER.into(), &template).unwrap();
        let reference =
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": subject.object()});
        let spec = json!({"workloadRef": reference, "template": null, "selector": null});
        let rollout: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), "shop", &subject.named());
        let owner = PatchParams { field_manager: Some("owner".into()), ..PatchParams::default() };
        let patch = Patch::Merge(json!({"spec": spec}));
        rollout.patch(subject.name, &owner, &patch).await.unwrap();
    }

    fn watch(&self, subject: &Subject) -> BoxStream<'static, TargetState> {
        self.deployer.watch(&PlanName::from(subject.name), &subject.target())
    }

    /// A watch of a subject that runs what it ran before everything.
    async fn settled(&self, subject: &Subject) -> BoxStream<'static, TargetState> {
        let mut states = self.watch(subject);
        let ready = |s: &TargetState| s.status == Status::Succeeded && s.intent.is_none();
        let seen = until(subject, &mut states, ready).await;
        assert_eq!(seen.last().unwrap().image, Some(subject.image('a')), "{}", subject.name);
        states
    }

    fn objects(&self, subject: &Subject) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), "shop", &subject.resource())
    }

    async fn object(&self, subject: &Subject) -> DynamicObject {
        self.objects(subject).get(subject.object()).await.unwrap()
    }

    /// Changes what a plan names, as its owner would.
    async fn edit(&self, subject: &Subject, resource: &kube::core::ApiResource, change: &Value) {
        let name = if resource == &subject.named() { subject.name } else { subject.object() };
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), "shop", resource);
        let owner = PatchParams { field_manager: Some("owner".into()), ..PatchParams::default() };
        api.patch(name, &owner, &Patch::Merge(change)).await.unwrap();
    }

    /// Writes as soon as nothing keeps it from that.
    async fn write_once_it_may(&self, write: &Write) {
        let mut last = None;
        let tries = async {
            while let Err(why) = self.write(write, 1).await {
                last = Some(why);
            }
        };
        if timeout(Duration::from_secs(10), tries).await.is_err() {
            panic!("{}: not written within ten seconds: {last:?}", write.target);
        }
    }

    async fn write(&self, write: &Write, epoch: u64) -> Result<Found, WriteError> {
        self.deployer.write(write, epoch).await
    }
}

fn workload(subject: &Subject) -> Workload {
    let (plan, image) = (subject.name.into(), subject.image('a'));
    Workload { plan, target: subject.target(), image, replicas: 3 }
}

async fn client(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let options = KubeConfigOptions { context: Some(CLUSTER.into()), ..Default::default() };
    Client::try_from(Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap()).unwrap()
}

/// A write of the image of that digit; `key` tells two writes apart.
fn write(subject: &Subject, key: &str, digit: char) -> Write {
    Write {
        key: format!("{}@{key}/beta/corp/1/deploy", subject.name).into(),
        release: ReleaseId::new(subject.name, key),
        ring: "beta".into(),
        attempt: 1,
        cluster: CLUSTER.into(),
        connection: CLUSTER.into(),
        target: subject.target(),
        artifact: subject.image(digit),
    }
}

fn refused(subject: &Subject, result: Result<Found, WriteError>) -> String {
    match result {
        Err(WriteError::Refused(why)) => why,
        other => panic!("{}: expected a refusal, got {other:?}", subject.name),
    }
}

/// The states up to and with the first that is wanted.
async fn until(
    subject: &Subject,
    states: &mut BoxStream<'static, TargetState>,
    wanted: impl Fn(&TargetState) -> bool,
) -> Vec<TargetState> {
    let mut seen = Vec::new();
    let all = async {
        loop {
            let state = states.next().await.expect("a watch never ends");
            seen.push(state.clone());
            if wanted(&state) {
                return;
            }
        }
    };
    if timeout(Duration::from_secs(30), all).await.is_err() {
        panic!("{}: not seen within half a minute; seen: {seen:#?}", subject.name);
    }
    seen
}

fn under(write: &Write) -> impl Fn(&TargetState) -> bool {
    move |state| state.intent.as_ref() == Some(&write.key)
}

fn succeeded_under(write: &Write) -> impl Fn(&TargetState) -> bool {
    move |state| state.status == Status::Succeeded && under(write)(state)
}

/// Asks the same of every kind, at once.
async fn each<'w, F: Future<Output = ()>>(world: &'w World, ask: impl Fn(&'w World, Subject) -> F) {
    join_all(subject::all().into_iter().map(|subject| ask(world, subject))).await;
}

#[tokio::test]
async fn a_deploy_is_seen_through_to_the_end_and_taken_back() {
    let world = World::start().await;
    each(&world, async |world, subject| {
        let mut states = world.settled(&subject).await;
        let two = write(&subject, "2", 'b');
        let found = world.write(&two, 7).await.unwrap().expect("what was there was healthy");
        assert_eq!(
            (found.image, found.intent),
            (Some(subject.image('a')), None),
            "{}",
            subject.name
        );

        let seen = until(&subject, &mut states, succeeded_under(&two)).await;
        // Nothing that was said under our intent before the rollout began may pass for its end.
        let ours: Vec<_> = seen.iter().filter(|state| under(&two)(state)).collect();
        assert!(!ours.is_empty() && !seen.iter().rev().skip(1).any(succeeded_under(&two)));
        // Of two objects, the news of the one may come when all is over with the other.
        if subject.refers.is_none() && !subject.is_data() {
            assert_eq!(ours[0].status, Status::Pending, "{}: {seen:#?}", subject.name);
            assert!(ours.iter().any(|s| matches!(s.status, Status::Progressing(_))), "{seen:#?}");
        }
        assert!(ours.iter().all(|state| state.image == Some(subject.image('b'))), "{seen:#?}");
        let serving = world.fleet.serving(&CLUSTER.into(), &subject.target()).unwrap();
        assert_eq!(serving, [(subject.image('b'), 3)], "{}", subject.name);
        let end = seen.last().unwrap();
        assert_eq!(end.ready_since.is_some(), subject.pods.is_some(), "{end:?}");
        let pods = world.deployer.workload(&subject.target()).await;
        match subject.pods {
            Some(wanted) => {
                assert_eq!(pods, Ok(Pods { wanted, ready: 3, restarts: 0, crash_loops: 0 }));
            }
            None => assert!(pods.unwrap_err().contains("no pods of its own")),
        }

        let annotations = world.object(&subject).await.metadata.annotations.unwrap();
        let said = |name: &str| annotations.get(&format!("ringward.dev/{name}")).cloned();
        assert_eq!(said("intent").as_deref(), Some(two.key.as_str()));
        assert_eq!(said("epoch").as_deref(), Some("7"));
        assert_eq!(said("release"), Some(format!("{}@2", subject.name)));
        assert_eq!(said("digest").as_deref(), subject.image('b').digest());
        assert_eq!(said("before"), Some(subject.image('a').0), "{}", subject.name);

        let mut back = write(&subject, "2", 'a');
        back.key = format!("{}@2/beta/corp/1/restore", subject.name).into();
        world.write(&back, 7).await.unwrap();
        let seen = until(&subject, &mut states, succeeded_under(&back)).await;
        assert_eq!(seen.last().unwrap().image, Some(subject.image('a')));
        let annotations = world.object(&subject).await.metadata.annotations.unwrap();
        assert!(!annotations.contains_key("ringward.dev/before"), "{annotations:?}");
    })
    .await;
}

#[tokio::test]
async fn a_repeat_changes_nothing_and_a_newer_writer_is_not_overwritten() {
    let world = World::start().await;
    each(&world, async |world, subject| {
        let mut states = world.settled(&subject).await;
        let two = write(&subject, "2", 'b');
        let found = world.write(&two, 8).await.unwrap();
        until(&subject, &mut states, succeeded_under(&two)).await;

        let before = world.object(&subject).await;
        let again = world.write(&two, 8).await.unwrap();
        assert_eq!(again.and_then(|found| found.image), found.and_then(|found| found.image));
        // Another writer that takes over repeats it too, under its own epoch.
        world.write(&two, 9).await.unwrap();
        let after = world.object(&subject).await;
        assert_eq!(after.metadata.resource_version, before.metadata.resource_version);
        let written = world.fleet.written(&CLUSTER.into()).unwrap();
        assert_eq!(written[two.key.as_str()], 1, "{}", subject.name);

        let three = write(&subject, "3", 'c');
        let why = refused(&subject, world.write(&three, 7).await);
        assert!(why.contains("epoch 8") && why.contains("this writer's is 7"), "{why}");
        let unchanged = world.object(&subject).await;
        assert_eq!(unchanged.metadata.resource_version, before.metadata.resource_version);
        world.write(&three, 8).await.unwrap();
        until(&subject, &mut states, succeeded_under(&three)).await;
    })
    .await;
}

#[tokio::test]
async fn nothing_is_written_without_consent() {
    let world = World::start().await;
    each(&world, async |world, subject| {
        let before = world.settled(&subject).await;
        drop(before);
        let (consent, two) = ("ringward.dev/managed-by", write(&subject, "2", 'b'));
        let say = |value: Value| json!({"metadata": {"annotations": {consent: value}}});
        world.edit(&subject, &subject.resource(), &say(Value::Null)).await;
        let why = refused(&subject, world.write(&two, 1).await);
        let cure = format!("{consent}={}", subject.name);
        assert!(why.contains("has not consented") && why.ends_with(&cure), "{why}");
        world.edit(&subject, &subject.resource(), &say(json!("other"))).await;
        let why = refused(&subject, world.write(&two, 1).await);
        assert!(why.contains("plan `other`") && why.contains("--overwrite"), "{why}");

        world.edit(&subject, &subject.resource(), &say(json!(subject.name))).await;
        let mut nowhere = two.clone();
        nowhere.target.name = "nowhere".into();
        assert!(refused(&subject, world.write(&nowhere, 1).await).contains("does not exist"));
        world.write(&two, 1).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_image_of_somebody_else_is_a_conflict_that_names_them() {
    let world = World::start().await;
    each(&world, async |world, subject| {
        drop(world.settled(&subject).await);
        let api = world.objects(&subject);
        let theirs = PatchParams { field_manager: Some("helm".into()), ..PatchParams::default() };
        let change = subject.theirs(&world.object(&subject).await.data, &subject.image('c'));
        api.patch(subject.object(), &theirs, &Patch::Merge(&change)).await.unwrap();

        let two = write(&subject, "2", 'b');
        let why = refused(&subject, world.write(&two, 1).await);
        let place = if subject.written.2 == "ConfigMap" { ".data." } else { ".spec." };
        assert!(why.contains(place) && why.contains("owned by field manager `helm`"), "{why}");
        let leave = "ringward.dev/take-over";
        assert!(why.ends_with(&format!("{leave}=image")), "{why}");
        let unchanged = world.object(&subject).await;
        assert!(!unchanged.metadata.annotations.unwrap().contains_key("ringward.dev/intent"));

        let say = json!({"metadata": {"annotations": {leave: "image"}}});
        world.edit(&subject, &subject.resource(), &say).await;
        world.write(&two, 1).await.unwrap();
        let annotations = world.object(&subject).await.metadata.annotations.unwrap();
        assert_eq!(annotations[leave], "taken", "{}: the leave is spent", subject.name);
    })
    .await;
}

#[tokio::test]
async fn what_its_owner_stops_never_passes_for_done() {
    let world = World::start().await;
    each(&world, async |world, subject| {
        let mut states = world.settled(&subject).await;
        let (stop, go_on, stopped) = subject.stop.clone();
        world.edit(&subject, &subject.named(), &stop).await;
        let two = write(&subject, "2", 'b');
        world.write(&two, 1).await.unwrap();
        let stands = |state: &TargetState| match (&state.status, stopped) {
            (Status::Paused, Stopped::Paused) => under(&two)(state),
            (Status::Unknown(why), Stopped::Unknown(words)) => why.contains(words),
            _ => false,
        };
        let seen = until(&subject, &mut states, stands).await;
        assert!(!seen.iter().any(succeeded_under(&two)), "{seen:#?}");
        world.edit(&subject, &subject.named(), &go_on).await;
        until(&subject, &mut states, succeeded_under(&two)).await;
    })
    .await;
}

#[tokio::test]
async fn what_is_broken_never_succeeds_and_the_way_back_is_no_failure() {
    let world = World::start().await;
    world.fleet.crash(&CLUSTER.into(), &image('b')).unwrap();
    each(&world, async |world, subject| {
        if subject.broken == Broken::Never {
            return;
        }
        let mut states = world.settled(&subject).await;
        let two = write(&subject, "2", 'b');
        world.write(&two, 1).await.unwrap();
        let ended = |state: &TargetState| match (&state.status, subject.broken) {
            (Status::Failed(why), Broken::Fails(words)) => why.contains(words),
            // What is late may recover.
            (Status::Progressing(why), Broken::Fails(words)) => {
                why.starts_with("degraded") && why.contains(words)
            }
            (Status::Progressing(why), Broken::Lingers(words)) => why.contains(words),
            _ => false,
        };
        let seen = until(&subject, &mut states, ended).await;
        assert!(!seen.iter().any(succeeded_under(&two)), "{seen:#?}");
        if matches!(subject.kind, TargetKind::StatefulSet { .. }) {
            // Somebody has to delete the broken pod first, and it says so.
            let mut back = write(&subject, "2", 'a');
            back.key = format!("{}@2/beta/corp/1/restore", subject.name).into();
            world.write(&back, 1).await.unwrap();
            let stuck = |state: &TargetState| {
                matches!(&state.status, Status::Progressing(why) if why.contains("delete pod"))
            };
            until(&subject, &mut states, stuck).await;
            return;
        }
        let mut back = write(&subject, "2", 'a');
        back.key = format!("{}@2/beta/corp/1/restore", subject.name).into();
        world.write(&back, 1).await.unwrap();
        let seen = until(&subject, &mut states, succeeded_under(&back)).await;
        let failed = |s: &&TargetState| matches!(s.status, Status::Failed(_)) && under(&back)(s);
        assert!(!seen.iter().any(|state| failed(&state)), "{seen:#?}");
    })
    .await;
}

#[tokio::test]
async fn what_is_deleted_on_the_way_is_unknown_and_not_made_anew() {
    let world = World::start().await;
    each(&world, async |world, subject| {
        let mut states = world.settled(&subject).await;
        let two = write(&subject, "2", 'b');
        world.write(&two, 1).await.unwrap();
        world.fleet.delete(&CLUSTER.into(), &subject.target()).unwrap();
        let gone = |state: &TargetState| {
            matches!(&state.status, Status::Unknown(why) if why.contains("was deleted"))
        };
        until(&subject, &mut states, gone).await;
        let three = write(&subject, "3", 'c');
        assert!(refused(&subject, world.write(&three, 1).await).contains("does not exist"));
    })
    .await;
}

#[tokio::test]
async fn a_watch_that_has_expired_begins_anew() {
    let world = World::start().await;
    let mut watches = Vec::new();
    for subject in subject::all() {
        let states = world.settled(&subject).await;
        watches.push((subject, states));
    }
    // More changes in one go than the API server remembers: nobody else runs meanwhile.
    for restarts in 1..600 {
        world.fleet.restart(&CLUSTER.into(), &image('a'), restarts).unwrap();
    }
    for (subject, mut states) in watches {
        let two = write(&subject, "2", 'b');
        world.write(&two, 1).await.unwrap();
        let seen = until(&subject, &mut states, succeeded_under(&two)).await;
        let lost = |state: &&TargetState| matches!(state.status, Status::Unknown(_));
        assert!(!seen.iter().any(|state| lost(&state)), "{seen:#?}");
    }
}

#[tokio::test]
async fn an_api_server_that_is_gone_is_unknown_until_it_is_back() {
    let world = World::start().await;
    let mut watches = Vec::new();
    for subject in subject::all() {
        let states = world.settled(&subject).await;
        watches.push((subject, states));
    }
    world.fleet.cut_kubernetes(&CLUSTER.into(), true).unwrap();
    let lost = |state: &TargetState| matches!(state.status, Status::Unknown(_));
    join_all(watches.iter_mut().map(async |(subject, states)| {
        until(subject, states, lost).await;
        let written = world.write(&write(subject, "2", 'b'), 1).await;
        assert!(matches!(written, Err(WriteError::Unreachable(_))), "{written:?}");
    }))
    .await;
    world.fleet.cut_kubernetes(&CLUSTER.into(), false).unwrap();
    join_all(watches.iter_mut().map(async |(subject, states)| {
        let two = write(subject, "2", 'b');
        world.write(&two, 1).await.unwrap();
        until(subject, states, succeeded_under(&two)).await;
    }))
    .await;
}

/// What only Rollouts have: steps that pause, analyses, and phases.
#[tokio::test]
async fn a_rollout_pauses_at_its_step_and_aborts_in_the_words_of_its_analysis() {
    let world = World::start().await;
    world.fleet.fault(&CLUSTER.into(), &image('c'), "Metric \"errors\" assessed Failed").unwrap();
    let rollouts =
        subject::all().into_iter().filter(|s| matches!(s.kind, TargetKind::ArgoRollout { .. }));
    for subject in rollouts {
        let mut states = world.settled(&subject).await;
        let steps = match subject.name {
            "bluegreen" => json!({"blueGreen": {"autoPromotionEnabled": false}}),
            _ => json!({"canary": {"steps": [{"setWeight": 20}, {"pause": {}}]}}),
        };
        let steps = json!({"spec": {"strategy": steps}});
        world.edit(&subject, &subject.named(), &steps).await;
        let two = write(&subject, "2", 'b');
        world.write(&two, 1).await.unwrap();
        let paused = |s: &TargetState| s.status == Status::Paused && under(&two)(s);
        let seen = until(&subject, &mut states, paused).await;
        assert!(!seen.iter().any(succeeded_under(&two)), "{seen:#?}");
        let pause = seen.last().unwrap().pause.clone().expect("a word ends it");
        let promote = |intent: &Write, pause: &str| Promote {
            write: write(&subject, "2", 'b'),
            intent: intent.key.clone(),
            pause: pause.into(),
        };
        // A word about another write or another pause ends nothing, nor does an older writer's.
        let other =
            world.deployer.promote(&promote(&write(&subject, "9", 'b'), &pause.id), 1).await;
        assert!(matches!(other, Err(WriteError::Refused(why)) if why.contains("another write")));
        let rollout: Api<DynamicObject> =
            Api::namespaced_with(world.client.clone(), "shop", &subject.named());
        let version = async || rollout.get(subject.name).await.unwrap().metadata.resource_version;
        let before = version().await;
        let older = world.deployer.promote(&promote(&two, &pause.id), 0).await;
        assert!(matches!(older, Err(WriteError::Refused(why)) if why.contains("epoch 1")));
        world.deployer.promote(&promote(&two, "5d9/0/"), 1).await.unwrap();
        assert_eq!(version().await, before, "{}", subject.name);
        // As `kubectl argo rollouts promote`: a moment of un-pausing, which is no pause and no success.
        world.deployer.promote(&promote(&two, &pause.id), 1).await.unwrap();
        let after = version().await;
        world.deployer.promote(&promote(&two, &pause.id), 1).await.unwrap();
        assert_ne!(before, after, "{}", subject.name);
        let seen = until(&subject, &mut states, succeeded_under(&two)).await;
        assert!(matches!(seen[0].status, Status::Progressing(_)), "{seen:#?}");

        let three = write(&subject, "3", 'c');
        world.write(&three, 1).await.unwrap();
        let failed = |s: &TargetState| matches!(s.status, Status::Failed(_)) && under(&three)(s);
        let seen = until(&subject, &mut states, failed).await;
        let Status::Failed(why) = &seen.last().unwrap().status else { unreachable!() };
        assert!(why.contains("Metric \"errors\" assessed Failed"), "{why}");
        // What was there is stable again; the specification still names what failed.
        assert_eq!(seen.last().unwrap().image, Some(image('c')));

        // Another attempt at the same is a retry: it aborts again, and is not taken for the first one.
        let mut retry = write(&subject, "3", 'c');
        retry.key = format!("{}@3/beta/corp/2/deploy", subject.name).into();
        world.write(&retry, 1).await.unwrap();
        let started =
            |s: &TargetState| matches!(s.status, Status::Progressing(_)) && under(&retry)(s);
        until(&subject, &mut states, started).await;
        let failed = |s: &TargetState| matches!(s.status, Status::Failed(_)) && under(&retry)(s);
        until(&subject, &mut states, failed).await;

        let mut back = write(&subject, "3", 'b');
        back.key = format!("{}@3/beta/corp/2/restore", subject.name).into();
        world.write(&back, 1).await.unwrap();
        until(&subject, &mut states, succeeded_under(&back)).await;
    }
}

#[tokio::test]
async fn what_nobody_knows_the_meaning_of_is_unknown() {
    let world = World::start().await;
    each(&world, async |world, subject| {
        let mut states = world.settled(&subject).await;
        let (status, word) = subject.odd.clone();
        if status.is_null() {
            return;
        }
        let odd = Patch::Merge(json!({ "status": status }));
        let api: Api<DynamicObject> =
            Api::namespaced_with(world.client.clone(), "shop", &subject.named());
        let params = PatchParams::default();
        let said = match subject.name {
            "application" => api.patch(subject.name, &params, &odd).await,
            _ => api.patch_status(subject.name, &params, &odd).await,
        };
        said.unwrap();
        let unknown = |state: &TargetState| match (&state.status, word) {
            (Status::Unknown(why), Some(word)) => why.contains(word),
            (status, None) => *status == Status::Pending,
            _ => false,
        };
        until(&subject, &mut states, unknown).await;
    })
    .await;
}

/// What Flagger has failed once it leaves alone, unless the template is another one.
#[tokio::test]
async fn a_canary_that_failed_is_tried_again_and_comes_back_without_an_analysis() {
    let world = World::start().await;
    world.fleet.fault(&CLUSTER.into(), &image('c'), "success rate 71% < 99%").unwrap();
    let subjects = subject::all();
    let subject = subjects.iter().find(|subject| subject.name == "canary").unwrap();
    let mut states = world.settled(subject).await;
    for attempt in ["1", "2"] {
        let mut bad = write(subject, "2", 'c');
        bad.key = format!("canary@2/beta/corp/{attempt}/deploy").into();
        world.write(&bad, 1).await.unwrap();
        let failed = |s: &TargetState| matches!(s.status, Status::Failed(_)) && under(&bad)(s);
        let seen = until(subject, &mut states, failed).await;
        let Status::Failed(why) = &seen.last().unwrap().status else { unreachable!() };
        assert!(why.contains("71%"), "{why}");
        let mut back = write(subject, "2", 'a');
        back.key = format!("canary@2/beta/corp/{attempt}/restore").into();
        world.write(&back, 1).await.unwrap();
        let seen = until(subject, &mut states, succeeded_under(&back)).await;
        let analysed = |s: &TargetState| {
            under(&back)(s) && matches!(&s.status, Status::Progressing(why) if why.contains('%'))
        };
        assert!(!seen.iter().any(analysed), "{seen:#?}");
        let serving = world.fleet.serving(&CLUSTER.into(), &subject.target()).unwrap();
        assert_eq!(serving, [(image('a'), 3)]);
    }
}

#[tokio::test]
async fn an_application_is_not_written_to_while_an_operation_of_others_runs() {
    let world = World::start().await;
    let subjects = subject::all();
    let subject = subjects.iter().find(|subject| subject.name == "application").unwrap();
    let mut states = world.settled(subject).await;
    let (close, open, _) = subject.stop.clone();
    world.edit(subject, &subject.resource(), &close).await;
    let theirs =
        json!({"operation": {"initiatedBy": {"username": "ann"}, "sync": {"prune": false}}});
    world.edit(subject, &subject.resource(), &theirs).await;
    let two = write(subject, "2", 'b');
    let busy = world.write(&two, 1).await;
    let Err(WriteError::Unreachable(why)) = busy else { panic!("{busy:?}") };
    assert!(why.contains("one of ann's"), "{why}");
    let object = world.object(subject).await;
    assert!(!object.metadata.annotations.unwrap().contains_key("ringward.dev/intent"));
    world.edit(subject, &subject.resource(), &open).await;
    world.write_once_it_may(&two).await;
    let seen = until(subject, &mut states, succeeded_under(&two)).await;
    assert!(!seen.iter().any(|s| matches!(s.status, Status::Failed(_))), "{seen:#?}");

    // One of our own that a window keeps is ended for the way back.
    world.edit(subject, &subject.resource(), &close).await;
    let three = write(subject, "3", 'c');
    world.write(&three, 1).await.unwrap();
    let paused = |s: &TargetState| s.status == Status::Paused && under(&three)(s);
    until(subject, &mut states, paused).await;
    let mut back = write(subject, "3", 'b');
    back.key = "application@3/beta/corp/1/restore".into();
    world.write_once_it_may(&back).await;
    world.edit(subject, &subject.resource(), &open).await;
    until(subject, &mut states, succeeded_under(&back)).await;
}
