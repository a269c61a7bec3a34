//! Kubernetes Deployments: what ringward writes, refuses and sees, on real API servers.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ::kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use futures::{StreamExt, stream::BoxStream};
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::Node,
    rbac::v1::{ClusterRole, ClusterRoleBinding},
};
use ringward::{
    act::{
        Connections, Deployer, Found, Measurer, WriteError,
        cluster::{Connection, Kubeconfigs},
        dispatch::{Dispatch, Limits},
    },
    clock::{Clock, SystemClock},
    decide::{
        command::{Command, Measure, Write},
        event::{Answer, Event, Outcome, Reading, Status, TargetState},
        fact::{Judged, Verdict},
        gate::{self, Given, history::History},
        part::{Ask, Part, Role, Told, Workload},
    },
    ids::{PlanName, ReleaseId},
    model::{
        judge,
        policy::{Gate, Judge},
        residency::Witness,
        ring::{Artifact, Target, TargetKind},
        time::Mono,
    },
};
use serde_json::json;
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use crate::support::{self, ADMIN_TOKEN, Cluster, Namespace, clusters, deployment, pinned};

const PLAN: &str = "checkout";

/// Each cluster as its administrator and as nobody, by their contexts.
pub fn connections(clusters: &[&Cluster]) -> Kubeconfigs {
    let connect = |cluster: &Cluster, context: String| Connection {
        kubeconfig: Some(cluster.kubeconfig()),
        context: Some(context),
        ..Connection::default()
    };
    let settings = clusters.iter().flat_map(|cluster| {
        [cluster.context().to_owned(), cluster.nobody()]
            .map(|context| (context.clone(), connect(cluster, context)))
    });
    Kubeconfigs::new(settings.collect())
}

/// What writes to a cluster as its administrator.
pub fn deployer(cluster: &Cluster) -> Arc<dyn Deployer> {
    connections(&[cluster]).deployer(cluster.context()).expect("a deployer")
}

fn target(namespace: &Namespace) -> Target {
    Target {
        kind: TargetKind::Deployment { container: "app".into() },
        namespace: namespace.name().into(),
        name: "checkout".into(),
    }
}

/// A write to the namespace's Deployment `checkout`; `key` tells two writes apart.
fn write(cluster: &Cluster, namespace: &Namespace, key: &str, image: &str) -> Write {
    Write {
        key: format!("{PLAN}@{key}/beta/{}/1/deploy", cluster.context()).into(),
        release: ReleaseId::new(PLAN, key),
        ring: "beta".into(),
        attempt: 1,
        cluster: cluster.context().into(),
        connection: cluster.context().into(),
        target: target(namespace),
        artifact: Artifact(image.into()),
    }
}

fn refused(result: Result<Found, WriteError>) -> String {
    match result {
        Err(WriteError::Refused(why)) => {
            assert!(!why.contains(ADMIN_TOKEN), "a secret in: {why}");
            why
        }
        other => panic!("expected a refusal, got {other:?}"),
    }
}

/// The states up to and with the first that is wanted.
async fn until(
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
    if timeout(Duration::from_secs(60), all).await.is_err() {
        panic!("not seen within a minute; seen: {seen:#?}");
    }
    seen
}

fn succeeded_under(write: &Write) -> impl Fn(&TargetState) -> bool {
    move |state| state.status == Status::Succeeded && state.intent.as_ref() == Some(&write.key)
}

fn version(deployment: &Deployment) -> String {
    deployment.metadata.resource_version.clone().expect("a stored object has a version")
}

fn annotation<'a>(deployment: &'a Deployment, name: &str) -> Option<&'a str> {
    deployment.metadata.annotations.as_ref()?.get(name).map(String::as_str)
}

fn image(deployment: &Deployment) -> Option<&str> {
    let spec = deployment.spec.as_ref()?.template.spec.as_ref()?;
    spec.containers[0].image.as_deref()
}

fn watch(cluster: &Cluster, namespace: &Namespace) -> BoxStream<'static, TargetState> {
    deployer(cluster).watch(&PlanName::from(PLAN), &target(namespace))
}

#[tokio::test]
async fn a_deploy_is_seen_through_to_the_end_under_its_own_intent() {
    let Some([eu, _]) = clusters().await else { return };
    let space = eu.namespace("deploy").await;
    let (old, new) = (pinned("registry.test/checkout", "1"), pinned("registry.test/checkout", "2"));
    space.create("checkout", &old, 3, Some(PLAN)).await;

    let mut states = watch(eu, &space);
    let before = until(&mut states, |s| s.status == Status::Succeeded).await;
    let last = before.last().unwrap();
    assert_eq!((last.image.clone(), last.intent.clone()), (Some(Artifact(old.clone())), None));

    let two = write(eu, &space, "2", &new);
    deployer(eu).write(&two, 7).await.unwrap();
    let seen = until(&mut states, succeeded_under(&two)).await;
    // Nothing that was said under our intent before the rollout began may pass for its end.
    let ours: Vec<_> = seen.iter().filter(|s| s.intent.as_ref() == Some(&two.key)).collect();
    assert_eq!(ours[0].status, Status::Pending, "{seen:#?}");
    assert!(ours.iter().all(|s| s.image == Some(Artifact(new.clone()))), "{seen:#?}");
    assert!(ours.iter().any(|s| matches!(s.status, Status::Progressing(_))), "{seen:#?}");

    let written = space.get("checkout").await;
    assert_eq!(annotation(&written, "ringward.dev/intent"), Some(two.key.as_str()));
    assert_eq!(annotation(&written, "ringward.dev/epoch"), Some("7"));
    assert_eq!(annotation(&written, "ringward.dev/release"), Some("checkout@2"));
    assert_eq!(annotation(&written, "ringward.dev/digest"), new.split('@').nth(1));

    // Back again: a restore is a write like any other.
    let mut back = write(eu, &space, "2", &old);
    back.key = "checkout@2/beta/eu/1/restore".into();
    deployer(eu).write(&back, 7).await.unwrap();
    until(&mut states, succeeded_under(&back)).await;
    assert_eq!(image(&space.get("checkout").await), Some(old.as_str()));
}

#[tokio::test]
async fn a_repeat_changes_nothing() {
    let Some([eu, _]) = clusters().await else { return };
    let space = eu.namespace("repeat").await;
    space.create("checkout", &pinned("registry.test/checkout", "1"), 1, Some(PLAN)).await;
    let two = write(eu, &space, "2", &pinned("registry.test/checkout", "2"));
    deployer(eu).write(&two, 1).await.unwrap();
    until(&mut watch(eu, &space), succeeded_under(&two)).await;

    let before = space.get("checkout").await;
    deployer(eu).write(&two, 1).await.unwrap();
    // Another writer that takes over repeats it too, under its own epoch.
    deployer(eu).write(&two, 2).await.unwrap();
    assert_eq!(version(&space.get("checkout").await), version(&before));
}

#[tokio::test]
async fn a_newer_writer_is_not_overwritten() {
    let Some([eu, _]) = clusters().await else { return };
    let space = eu.namespace("epoch").await;
    space.create("checkout", &pinned("registry.test/checkout", "1"), 1, Some(PLAN)).await;
    let two = write(eu, &space, "2", &pinned("registry.test/checkout", "2"));
    deployer(eu).write(&two, 9).await.unwrap();

    let before = space.get("checkout").await;
    let three = write(eu, &space, "3", &pinned("registry.test/checkout", "3"));
    let why = refused(deployer(eu).write(&three, 8).await);
    assert!(why.contains("epoch 9") && why.contains('8'), "{why}");
    let after = space.get("checkout").await;
    assert_eq!(image(&after), image(&before));
    deployer(eu).write(&three, 9).await.unwrap();
}

#[tokio::test]
async fn a_field_of_another_manager_is_taken_only_with_leave_and_once() {
    let Some([eu, _]) = clusters().await else { return };
    let space = eu.namespace("owners").await;
    let helm = PatchParams::apply("helm");
    let mut theirs = deployment("checkout", &pinned("registry.test/checkout", "1"), 1);
    theirs["metadata"]["annotations"] = json!({"ringward.dev/managed-by": PLAN});
    space.deployments().patch("checkout", &helm, &Patch::Apply(&theirs)).await.unwrap();

    let two = write(eu, &space, "2", &pinned("registry.test/checkout", "2"));
    let why = refused(deployer(eu).write(&two, 1).await);
    assert!(why.contains("`helm`") && why.contains(".image"), "{why}");
    let command = "kubectl --context eu --namespace owners annotate deployment/checkout \
                   ringward.dev/take-over=image";
    assert!(why.contains(command), "{why}");

    space
        .edit("checkout", json!({"metadata": {"annotations": {"ringward.dev/take-over": "image"}}}))
        .await;
    deployer(eu).write(&two, 1).await.unwrap();
    let taken = space.get("checkout").await;
    assert_eq!(image(&taken), Some(two.artifact.0.as_str()));
    assert_eq!(annotation(&taken, "ringward.dev/take-over"), Some("taken"));

    // The leave is spent: helm takes the field back by force, and we do not.
    space
        .deployments()
        .patch("checkout", &helm.clone().force(), &Patch::Apply(&theirs))
        .await
        .unwrap();
    let three = write(eu, &space, "3", &pinned("registry.test/checkout", "3"));
    let why = refused(deployer(eu).write(&three, 1).await);
    assert!(why.contains("`helm`"), "{why}");
}

#[tokio::test]
async fn nothing_is_written_without_consent() {
    let Some([eu, _]) = clusters().await else { return };
    let space = eu.namespace("consent").await;
    let old = pinned("registry.test/checkout", "1");
    space.create("checkout", &old, 1, None).await;
    let two = write(eu, &space, "2", &pinned("registry.test/checkout", "2"));

    let why = refused(deployer(eu).write(&two, 1).await);
    let command = "kubectl --context eu --namespace consent annotate deployment/checkout \
                   ringward.dev/managed-by=checkout";
    assert!(why.contains(command), "{why}");
    space
        .edit(
            "checkout",
            json!({"metadata": {"annotations": {"ringward.dev/managed-by": "other"}}}),
        )
        .await;
    let why = refused(deployer(eu).write(&two, 1).await);
    assert!(why.contains("plan `other`") && why.contains("--overwrite"), "{why}");
    assert_eq!(image(&space.get("checkout").await), Some(old.as_str()));

    let mut nowhere = two.clone();
    nowhere.target.name = "basket".into();
    assert!(refused(deployer(eu).write(&nowhere, 1).await).contains("basket does not exist"));
    space
        .edit("checkout", json!({"metadata": {"annotations": {"ringward.dev/managed-by": PLAN}}}))
        .await;
    let mut nothing = two;
    nothing.target.kind = TargetKind::Deployment { container: "web".into() };
    let why = refused(deployer(eu).write(&nothing, 1).await);
    assert!(why.contains("no container `web`; it has: app"), "{why}");
}

#[tokio::test]
async fn what_is_forbidden_is_named() {
    let Some([eu, _]) = clusters().await else { return };
    let space = eu.namespace("forbidden").await;
    space.create("checkout", &pinned("registry.test/checkout", "1"), 1, Some(PLAN)).await;
    let nobody = connections(&[eu]).deployer(&eu.nobody()).unwrap();

    let two = write(eu, &space, "2", &pinned("registry.test/checkout", "2"));
    let why = refused(nobody.write(&two, 1).await);
    assert!(why.contains("`get` of deployments.apps in namespace forbidden"), "{why}");
    let mut states = nobody.watch(&PlanName::from(PLAN), &target(&space));
    let seen = until(&mut states, |s| matches!(s.status, Status::Unknown(_))).await;
    let Status::Unknown(why) = &seen[0].status else { panic!("{seen:#?}") };
    assert!(why.contains("403") && why.contains("list"), "{why}");
}

#[tokio::test]
async fn a_target_that_is_deleted_is_unknown_and_not_made_anew() {
    let Some([eu, _]) = clusters().await else { return };
    let space = eu.namespace("deleted").await;
    space.create("checkout", &pinned("registry.test/checkout", "1"), 1, Some(PLAN)).await;
    let mut states = watch(eu, &space);
    until(&mut states, |s| s.status == Status::Succeeded).await;

    space.deployments().delete("checkout", &DeleteParams::default()).await.unwrap();
    let gone =
        |s: &TargetState| matches!(&s.status, Status::Unknown(why) if why.contains("was deleted"));
    until(&mut states, gone).await;
    let two = write(eu, &space, "2", &pinned("registry.test/checkout", "2"));
    assert!(refused(deployer(eu).write(&two, 1).await).contains("does not exist"));
    assert!(space.deployments().get_opt("checkout").await.unwrap().is_none());

    space.create("checkout", &pinned("registry.test/checkout", "1"), 1, Some(PLAN)).await;
    until(&mut states, |s| s.status == Status::Succeeded).await;
}

#[tokio::test]
async fn pods_that_crash_never_succeed_and_fail_at_the_progress_deadline() {
    let Some([eu, _]) = clusters().await else { return };
    let space = eu.namespace("crash").await;
    space.create("checkout", &pinned("registry.test/checkout", "1"), 1, Some(PLAN)).await;
    space.edit("checkout", json!({"spec": {"progressDeadlineSeconds": 4}})).await;
    let mut states = watch(eu, &space);
    until(&mut states, |s| s.status == Status::Succeeded).await;

    let bad = pinned("registry.test/checkout", "bad");
    space.crash(&bad);
    let two = write(eu, &space, "2", &bad);
    deployer(eu).write(&two, 1).await.unwrap();
    let seen = until(&mut states, |s| matches!(s.status, Status::Failed(_))).await;
    assert!(!seen.iter().any(succeeded_under(&two)), "{seen:#?}");
    let Status::Failed(why) = &seen.last().unwrap().status else { unreachable!() };
    assert!(why.contains("CrashLoopBackOff"), "{why}");

    let mut back = write(eu, &space, "2", &pinned("registry.test/checkout", "1"));
    back.key = "checkout@2/beta/eu/1/restore".into();
    deployer(eu).write(&back, 1).await.unwrap();
    let seen = until(&mut states, succeeded_under(&back)).await;
    // The missed deadline belongs to the write before, and outlives it in the status for a moment.
    let failed = |s: &TargetState| matches!(s.status, Status::Failed(_));
    let ours = |s: &&TargetState| s.intent.as_ref() == Some(&back.key);
    assert!(!seen.iter().filter(ours).any(failed), "{seen:#?}");
}

/// What the judge of that name makes of a cluster's word.
fn judged(target: &Target, told: Workload) -> Judged {
    let judge = Judge::Kubernetes(judge::Kubernetes { max_restarts: 0 });
    let gate = Gate { min_samples: None, ..crate::prometheus::gate(judge) };
    let ask = Ask::Workload { connection: "eu".into(), target: target.clone() };
    let parts = [Part { role: Role::Kubernetes, ask }];
    let value = Reading::Absent;
    let answer = Answer {
        value,
        samples: None,
        baseline: None,
        parts: vec![Told::Workload(told)],
        infos: Vec::new(),
    };
    let (history, now) = (History::default(), Timestamp::UNIX_EPOCH);
    gate::judge(&Given { parts: &parts, ..Given::new(&gate, &history, now, now) }, &answer).0
}

#[tokio::test]
async fn pods_tell_how_they_do() {
    let Some([eu, _]) = clusters().await else { return };
    let space = eu.namespace("health").await;
    let good = pinned("registry.test/checkout", "1");
    space.create("checkout", &good, 2, Some(PLAN)).await;
    let mut states = watch(eu, &space);
    until(&mut states, |s| s.status == Status::Succeeded).await;
    let deployer = deployer(eu);
    let target = write(eu, &space, "1", &good).target;
    let seen = deployer.workload(&target).await;
    let healthy = Workload { wanted: 2, ready: 2, restarts: 0, crash_loops: 0 };
    assert_eq!(seen, Ok(healthy));
    let good = judged(&target, healthy);
    assert_eq!(good.verdict, Verdict::Pass);
    println!("kubernetes: {}, {}", good.verdict, good.detail);

    // Of the new image one pod is there, and crashes; those of the old one count no more.
    let bad = pinned("registry.test/checkout", "2");
    space.crash(&bad);
    deployer.write(&write(eu, &space, "2", &bad), 1).await.unwrap();
    let crashing = Workload { wanted: 2, ready: 0, restarts: 3, crash_loops: 1 };
    let mut seen = deployer.workload(&target).await;
    for _ in 0..300 {
        if seen == Ok(crashing) {
            break;
        }
        sleep(Duration::from_millis(100)).await;
        seen = deployer.workload(&target).await;
    }
    assert_eq!(seen, Ok(crashing));
    let bad = judged(&target, crashing);
    assert_eq!(bad.verdict, Verdict::Fail);
    println!("kubernetes: {}, {}", bad.verdict, bad.detail);

    let nowhere = Target { name: "nowhere".into(), ..target };
    let why = deployer.workload(&nowhere).await.unwrap_err();
    assert!(why.contains("nowhere does not exist"), "{why}");
}

#[tokio::test]
async fn a_pause_in_the_cluster_is_seen() {
    let Some([eu, _]) = clusters().await else { return };
    let space = eu.namespace("paused").await;
    space.create("checkout", &pinned("registry.test/checkout", "1"), 1, Some(PLAN)).await;
    let mut states = watch(eu, &space);
    until(&mut states, |s| s.status == Status::Succeeded).await;
    space.edit("checkout", json!({"spec": {"paused": true}})).await;
    until(&mut states, |s| s.status == Status::Paused).await;

    let two = write(eu, &space, "2", &pinned("registry.test/checkout", "2"));
    deployer(eu).write(&two, 1).await.unwrap();
    let ours = |s: &TargetState| s.intent.as_ref() == Some(&two.key);
    assert_eq!(until(&mut states, ours).await.last().unwrap().status, Status::Paused);
    space.edit("checkout", json!({"spec": {"paused": false}})).await;
    until(&mut states, succeeded_under(&two)).await;
}

#[tokio::test]
async fn a_tag_is_pinned_by_what_the_pods_run() {
    let Some([eu, _]) = clusters().await else { return };
    let space = eu.namespace("tag").await;
    let tag = "registry.test:5000/checkout:1.0";
    space.create("checkout", tag, 2, None).await;
    let seen = until(&mut watch(eu, &space), |s| s.status == Status::Succeeded).await;
    assert_eq!(seen.last().unwrap().image, Some(Artifact(support::image_id(tag))));
}

#[tokio::test]
async fn a_change_of_somebody_else_in_between_is_kept() {
    let Some([eu, _]) = clusters().await else { return };
    let space = eu.namespace("race").await;
    space.create("checkout", &pinned("registry.test/checkout", "1"), 1, Some(PLAN)).await;
    let busy = async {
        for n in 0..20 {
            space.edit("checkout", json!({"metadata": {"labels": {format!("n{n}"): "x"}}})).await;
        }
    };
    let eu_deployer = deployer(eu);
    let ours = async {
        let mut last = String::new();
        for n in 2..8 {
            last = pinned("registry.test/checkout", &n.to_string());
            let write = write(eu, &space, &n.to_string(), &last);
            while let Err(error) = eu_deployer.write(&write, 1).await {
                assert!(matches!(error, WriteError::Unreachable(_)), "{error:?}");
            }
        }
        last
    };
    let ((), last) = tokio::join!(busy, ours);
    let after = space.get("checkout").await;
    assert_eq!(image(&after), Some(last.as_str()));
    assert_eq!(after.metadata.labels.unwrap_or_default().len(), 20);
}

struct NoMeasurer;

impl Measurer for NoMeasurer {
    fn measure(&self, _: &Measure) -> futures::future::BoxFuture<'_, Answer> {
        unreachable!("nothing is measured here")
    }
}

#[tokio::test]
async fn two_clusters_take_a_release_through_the_dispatcher() {
    let Some([eu, us]) = clusters().await else { return };
    let (in_eu, in_us) = (eu.namespace("both").await, us.namespace("both").await);
    let (old, new) = (pinned("registry.test/checkout", "1"), pinned("registry.test/checkout", "2"));
    in_eu.create("checkout", &old, 2, Some(PLAN)).await;
    in_us.create("checkout", &old, 2, Some(PLAN)).await;

    let (events, mut hear) = mpsc::channel(64);
    let connections = Arc::new(connections(&[eu, us]));
    let dispatch = Dispatch::new(connections, Arc::new(NoMeasurer), events, Limits::default());
    let writes = [write(eu, &in_eu, "2", &new), write(us, &in_us, "2", &new)];
    let commands = || writes.iter().cloned().map(Command::Deploy);
    dispatch.dispatch(1, commands());
    dispatch.dispatch(1, commands());

    let mut outcomes = BTreeMap::new();
    let mut arrived = BTreeMap::new();
    let all = async {
        while outcomes.len() < 2 || arrived.len() < 2 {
            let event = hear.recv().await.expect("the dispatcher lives");
            if let Event::Outcome { key, outcome, .. } = event {
                assert_eq!(outcomes.insert(key, outcome), None, "an outcome comes once");
            } else if let Event::Observed { cluster, state, .. } = event
                && writes.iter().any(|w| w.cluster == cluster && succeeded_under(w)(&state))
            {
                arrived.insert(cluster, state.image);
            }
        }
    };
    timeout(Duration::from_secs(60), all).await.expect("both clusters within a minute");
    assert!(outcomes.values().all(|outcome| *outcome == Outcome::Done), "{outcomes:?}");
    assert!(arrived.values().all(|image| *image == Some(Artifact(new.clone()))), "{arrived:?}");
}

#[tokio::test]
async fn an_api_server_that_is_gone_is_unknown_until_it_is_back() {
    let Some(assets) = support::assets() else { return };
    let cluster = Cluster::start(&assets, "ap").await;
    let space = cluster.namespace("outage").await;
    space.create("checkout", &pinned("registry.test/checkout", "1"), 1, Some(PLAN)).await;
    let mut states = watch(&cluster, &space);
    until(&mut states, |s| s.status == Status::Succeeded).await;

    cluster.kill_api();
    let two = write(&cluster, &space, "2", &pinned("registry.test/checkout", "2"));
    let answer = deployer(&cluster).write(&two, 1).await;
    assert!(matches!(answer, Err(WriteError::Unreachable(_))), "{answer:?}");
    until(&mut states, |s| matches!(s.status, Status::Unknown(_))).await;

    cluster.start_api().await;
    until(&mut states, |s| s.status == Status::Succeeded).await;

    // Now it says nothing at all, and keeps every connection open.
    cluster.freeze_api(true);
    let seen = until(&mut states, |s| matches!(s.status, Status::Unknown(_))).await;
    assert_eq!(seen.len(), 1, "{seen:#?}");
    cluster.freeze_api(false);
    until(&mut states, |s| s.status == Status::Succeeded).await;
    deployer(&cluster).write(&two, 1).await.unwrap();
    until(&mut states, succeeded_under(&two)).await;
}

/// What nodes say, by the very role that users are told to grant.
#[tokio::test]
async fn nodes_say_where_they_are_to_whom_the_role_lets_see_them() {
    let Some(assets) = support::assets() else { return };
    let cluster = Cluster::start(&assets, "nodes").await;
    let client = cluster.client().await;
    let granted = connections(&[&cluster]).deployer(&cluster.nobody()).expect("a deployer");
    let denied = granted.witness().await.expect_err("nobody may see nodes yet");
    assert!(denied.contains("403") && denied.contains("nodes"), "{denied}");

    let documents = include_str!("../../deploy/target-rbac.yaml").split("---\n");
    let role = documents.into_iter().find(|document| document.contains("kind: ClusterRole\n"));
    let role: ClusterRole = serde_yaml::from_str(role.expect("the role")).expect("a role");
    let binding: ClusterRoleBinding = serde_json::from_value(json!({
        "metadata": {"name": "ringward-target"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role.metadata.name},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "nobody"}],
    }))
    .expect("a binding");
    let once = PostParams::default();
    let roles: Api<ClusterRole> = Api::all(client.clone());
    roles.create(&once, &role).await.expect("a new role");
    let bindings: Api<ClusterRoleBinding> = Api::all(client.clone());
    bindings.create(&once, &binding).await.expect("a new binding");

    let nodes: Api<Node> = Api::all(client);
    let mut heard = Err("nothing yet".to_owned());
    // The authorizer learns of a role a moment after it is stored.
    for _ in 0..100 {
        heard = granted.witness().await;
        if heard.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(heard, Ok(None), "a cluster without nodes says nothing");
    let place = |name: String, labels: serde_json::Value| {
        let node = json!({"metadata": {"name": name, "labels": labels}});
        let node: Node = serde_json::from_value(node).expect("a node");
        let (nodes, once) = (nodes.clone(), once.clone());
        async move { nodes.create(&once, &node).await.expect("a new node") }
    };
    place("bare".into(), json!({})).await;
    assert_eq!(granted.witness().await, Ok(Some(Witness::default())));
    let region = "topology.kubernetes.io/region";
    place("a".into(), json!({region: "eu-west-1", "ringward.dev/jurisdiction": "IE"})).await;
    let one = Witness { regions: ["eu-west-1".into()].into(), jurisdictions: ["IE".into()].into() };
    assert_eq!(granted.witness().await, Ok(Some(one.clone())));
    // More than a page of them, the last of which lies elsewhere.
    futures::future::join_all(
        (0..520).map(|n| place(format!("m-{n:03}"), json!({region: "eu-west-1"}))),
    )
    .await;
    assert_eq!(granted.witness().await, Ok(Some(one.clone())));
    place("z".into(), json!({region: "us-east-1"})).await;
    let regions = ["eu-west-1".into(), "us-east-1".into()].into();
    assert_eq!(granted.witness().await, Ok(Some(Witness { regions, ..one })));

    cluster.kill_api();
    assert!(granted.witness().await.is_err(), "silence is no word of anything");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkup_says_who_answers_and_what_one_may_do_there() {
    let Some([eu, _]) = clusters().await else { return };
    let connections = connections(&[eu]);
    let container = || "app".to_owned();
    let targets = [
        (TargetKind::Deployment { container: container() }, "shop"),
        (TargetKind::StatefulSet { container: container() }, "shop"),
        (TargetKind::ArgoRollout { container: container() }, "other"),
        (TargetKind::ArgoRollout { container: container() }, "other"),
    ];
    let targets = targets.map(|(kind, namespace)| Target {
        kind,
        namespace: namespace.into(),
        name: "checkout".into(),
    });
    let found = connections.checkup(eu.context(), &targets).await.expect("an answer");
    assert!(found.version.starts_with("v1."), "{}", found.version);
    let here = SystemClock::new(Mono(0)).now().wall;
    let apart = here.duration_since(found.date.expect("a date")).as_secs_f64().abs();
    assert!(apart < 5.0, "{apart}");
    assert_eq!(found.permissions.len(), 4 + 4 + 5 + 2 + 1, "{found:?}");
    assert!(found.permissions.iter().all(|permission| permission.allowed), "{found:?}");

    let found = connections.checkup(&eu.nobody(), &targets).await.expect("an answer");
    let namespaced = found.permissions.iter().filter(|permission| permission.namespace.is_some());
    assert!(
        namespaced.clone().count() == 15 && namespaced.clone().all(|p| !p.allowed),
        "{found:?}"
    );

    let gone = Connection {
        kubeconfig: Some("/nowhere/config".into()),
        context: None,
        ..Connection::default()
    };
    let gone = Kubeconfigs::new([("gone".to_owned(), gone)].into());
    let why = gone.checkup("gone", &targets).await.expect_err("no kubeconfig");
    assert!(why.contains("/nowhere/config"), "{why}");
}
