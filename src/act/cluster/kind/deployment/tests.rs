use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::*;
use crate::{
    act::cluster::kind::{
        self, Again,
        sample::{ONE, merge},
    },
    decide::event::TargetState,
};

const TWO: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";

/// A Deployment of three replicas, all updated, ready and pinned to `ONE`, with `change` merged in.
fn deployment(change: Value) -> Seen {
    let mut base = json!({
        "metadata": {"name": "checkout", "generation": 4,
            "annotations": {"ringward.dev/intent": "checkout@2/beta/eu/1/deploy"}},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": "checkout"}},
            "template": {"spec": {"containers": [
                {"name": "proxy", "image": "registry.test/proxy:1"},
                {"name": "app", "image": format!("registry.test/checkout@{ONE}")},
            ]}},
        },
        "status": {"observedGeneration": 4, "replicas": 3, "updatedReplicas": 3,
            "readyReplicas": 3, "availableReplicas": 3},
    });
    merge(&mut base, change);
    Seen { subject: serde_json::from_value(base).unwrap(), other: None }
}

fn read(seen: &Seen, container: &str, pods: &[Pod]) -> TargetState {
    kind::read(&Deployment { container: container.into() }, seen, pods)
}

fn pod(name: &str, image_id: &str, change: Value) -> Pod {
    let mut base = json!({
        "metadata": {"name": name, "labels": {"app": "checkout", "pod-template-hash": "5d9"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "uid": "u",
                "name": "checkout-5d9", "controller": true}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [
                {"name": "proxy", "image": "", "imageID": format!("registry.test/proxy@{TWO}"),
                    "ready": true, "restartCount": 0},
                {"name": "app", "image": "", "imageID": image_id, "ready": true, "restartCount": 0},
            ]},
    });
    merge(&mut base, change);
    serde_json::from_value(base).unwrap()
}

fn at_one(name: &str) -> Pod {
    pod(name, &format!("registry.test/checkout@{ONE}"), json!({}))
}

fn three() -> Vec<Pod> {
    ["a", "b", "c"].map(at_one).into()
}

fn status(change: Value) -> Status {
    read(&deployment(change), "app", &three()).status
}

fn progressing(status: Status) -> String {
    let Status::Progressing(words) = status else { panic!("expected Progressing, got {status:?}") };
    words
}

#[test]
fn all_replicas_at_the_digest_are_success_under_the_intent_that_was_written() {
    let state = read(&deployment(json!({})), "app", &three());
    assert_eq!(state.status, Status::Succeeded);
    assert_eq!(state.image, Some(Artifact(format!("registry.test/checkout@{ONE}"))));
    assert_eq!(state.intent, Some("checkout@2/beta/eu/1/deploy".into()));
}

#[test]
fn what_its_controller_has_not_taken_up_is_pending_whatever_the_figures_say() {
    assert_eq!(status(json!({"metadata": {"generation": 5}})), Status::Pending);
    assert_eq!(status(json!({"status": null})), Status::Pending);
    assert_eq!(status(json!({"status": {"observedGeneration": null}})), Status::Pending);
    assert_eq!(status(json!({"metadata": {"generation": null}})), Status::Pending);
    // An old deadline is not the new generation's.
    let late = json!([{"type": "Progressing", "status": "False", "reason": DEADLINE}]);
    let stale = json!({"metadata": {"generation": 5}, "status": {"conditions": late}});
    assert_eq!(status(stale), Status::Pending);
}

#[test]
fn a_pause_is_seen_before_anything_else() {
    assert_eq!(status(json!({"spec": {"paused": true}})), Status::Paused);
    let paused = json!({"spec": {"paused": true}, "metadata": {"generation": 5}});
    assert_eq!(status(paused), Status::Paused);
    assert_eq!(status(json!({"spec": {"paused": false}})), Status::Succeeded);
}

#[test]
fn the_figures_are_asked_in_kubectls_order() {
    let words = |change| progressing(status(json!({"status": change})));
    assert_eq!(words(json!({"updatedReplicas": 2})), "2 of 3 replicas updated");
    assert_eq!(words(json!({"updatedReplicas": null})), "0 of 3 replicas updated");
    assert_eq!(words(json!({"replicas": 4})), "3 of 3 replicas updated, 1 old ones left");
    assert_eq!(words(json!({"availableReplicas": 1})), "1 of 3 updated replicas available");
    assert_eq!(words(json!({"availableReplicas": null})), "0 of 3 updated replicas available");
    assert_eq!(words(json!({"updatedReplicas": 1, "replicas": 4})), "1 of 3 replicas updated");
    let none = json!({"updatedReplicas": 0, "conditions": [
        {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: pods"}]});
    assert_eq!(words(none), "0 of 3 replicas updated: exceeded quota: pods");
}

#[test]
fn a_missed_progress_deadline_is_failure_and_says_what_ails_a_pod() {
    let late = json!({"status": {"availableReplicas": 2, "conditions": [{"type": "Progressing",
        "status": "False", "reason": "ProgressDeadlineExceeded", "message": "has timed out"}]}});
    assert_eq!(status(late.clone()), Status::Failed("has timed out".into()));
    let waiting = json!({"status": {"containerStatuses": [{"name": "app", "image": "", "imageID": "",
        "ready": false, "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}});
    let pods = [at_one("a"), pod("b", "", waiting)];
    let failed = read(&deployment(late), "app", &pods).status;
    assert_eq!(failed, Status::Failed("has timed out; pod b: CrashLoopBackOff".into()));

    // Any other reason for Progressing=False is no verdict of its controller.
    let other = json!({"status": {"conditions": [{"type": "Progressing", "status": "False",
        "reason": "FailedCreate"}]}});
    assert_eq!(status(other), Status::Succeeded);
    let on_time = json!({"status": {"conditions": [{"type": "Progressing", "status": "True",
        "reason": "NewReplicaSetAvailable"}]}});
    assert_eq!(status(on_time), Status::Succeeded);
}

#[test]
fn a_deadline_that_was_missed_before_our_write_is_not_of_our_write() {
    let missed = |at: &str| {
        let ours = json!([{"manager": "ringward", "operation": "Apply", "time": "2026-01-01T10:00:30Z"},
            {"manager": "kube-controller-manager", "operation": "Update",
                "time": "2026-01-01T10:00:50Z"}]);
        let late = json!([{"type": "Progressing", "status": "False", "message": "has timed out",
            "reason": DEADLINE, "lastUpdateTime": at}]);
        status(json!({"metadata": {"managedFields": ours},
            "status": {"conditions": late, "replicas": 4}}))
    };
    assert_eq!(
        progressing(missed("2026-01-01T10:00:29Z")),
        "3 of 3 replicas updated, 1 old ones left"
    );
    progressing(missed("2026-01-01T10:00:30Z"));
    assert_eq!(missed("2026-01-01T10:00:31Z"), Status::Failed("has timed out".into()));
}

#[test]
fn nothing_that_runs_never_succeeds() {
    let none = json!({"spec": {"replicas": 0}, "status": {"replicas": 0, "updatedReplicas": 0,
        "availableReplicas": 0}});
    assert!(progressing(status(none)).contains("0 replicas"));
    // The API server's default is one.
    let one = json!({"spec": {"replicas": null}, "status": {"replicas": 1, "updatedReplicas": 1,
        "availableReplicas": 1}});
    let one = deployment(one);
    assert_eq!(read(&one, "app", &[at_one("a")]).status, Status::Succeeded);
    assert_eq!(progressing(read(&one, "app", &[]).status), "0 of 1 pods found");
}

#[test]
fn ready_replicas_of_another_image_are_no_success() {
    let mut pods = three();
    pods[1] = pod("b", &format!("registry.test/checkout@{TWO}"), json!({}));
    let words = progressing(read(&deployment(json!({})), "app", &pods).status);
    assert!(words.contains("pod b") && words.contains(TWO) && words.contains(ONE), "{words}");

    pods[1] = pod("b", "", json!({}));
    let words = progressing(read(&deployment(json!({})), "app", &pods).status);
    assert_eq!(words, "pod b does not report its image id yet");
    pods[1] = pod("b", "", json!({"status": {"containerStatuses": null}}));
    let words = progressing(read(&deployment(json!({})), "app", &pods).status);
    assert_eq!(words, "pod b does not report its image id yet");
    // A local image id is no digest of a manifest, and cannot confirm one.
    pods[1] = pod("b", &format!("docker://{ONE}"), json!({}));
    progressing(read(&deployment(json!({})), "app", &pods).status);
    pods[1] = pod("b", &format!("docker-pullable://mirror.test/checkout@{ONE}"), json!({}));
    assert_eq!(read(&deployment(json!({})), "app", &pods).status, Status::Succeeded);
}

#[test]
fn only_the_deployments_own_pods_that_are_there_to_stay_are_counted() {
    let wrong = format!("registry.test/checkout@{TWO}");
    let mut pods = three();
    pods.push(pod(
        "gone",
        &wrong,
        json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}),
    ));
    pods.push(pod("evicted", &wrong, json!({"status": {"phase": "Failed"}})));
    pods.push(pod("stranger", &wrong, json!({"metadata": {"ownerReferences": null}})));
    let job = json!([{"apiVersion": "batch/v1", "kind": "Job", "uid": "u", "name": "checkout-5d9",
        "controller": true}]);
    pods.push(pod("job", &wrong, json!({"metadata": {"ownerReferences": job}})));
    let neighbour = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "uid": "u",
        "name": "checkout-canary-5d9", "controller": true}]);
    pods.push(pod("neighbour", &wrong, json!({"metadata": {"ownerReferences": neighbour}})));
    assert_eq!(read(&deployment(json!({})), "app", &pods).status, Status::Succeeded);
    pods.remove(0);
    assert_eq!(progressing(read(&deployment(json!({})), "app", &pods).status), "2 of 3 pods found");
}

#[test]
fn a_tag_is_pinned_by_what_all_pods_run() {
    let tagged = |image: &str| {
        deployment(json!({"spec": {"template": {"spec": {"containers": [
            {"name": "app", "image": image}]}}}}))
    };
    let pinned = |image: &str| read(&tagged(image), "app", &three());
    let state = pinned("registry.test:5000/checkout:2.14");
    assert_eq!(state.status, Status::Succeeded);
    assert_eq!(state.image, Some(Artifact(format!("registry.test:5000/checkout@{ONE}"))));
    let state = pinned("registry.test:5000/checkout");
    assert_eq!(state.image, Some(Artifact(format!("registry.test:5000/checkout@{ONE}"))));

    let mut pods = three();
    pods[2] = pod("c", &format!("registry.test/checkout@{TWO}"), json!({}));
    let state = read(&tagged("registry.test/checkout:2.14"), "app", &pods);
    assert!(progressing(state.status).contains("different contents"));
    assert_eq!(state.image, Some(Artifact("registry.test/checkout:2.14".into())));

    let local: Vec<Pod> = ["a", "b", "c"].map(|n| pod(n, "docker://sha256:33", json!({}))).into();
    let state = read(&tagged("checkout:dev"), "app", &local);
    assert_eq!(state.status, Status::Succeeded);
    assert_eq!(state.image, Some(Artifact("checkout:dev".into())));
}

#[test]
fn what_cannot_be_understood_is_unknown() {
    let state = read(&deployment(json!({})), "web", &three());
    assert!(matches!(&state.status, Status::Unknown(why) if why.contains("`web`")), "{state:?}");
    assert_eq!(state.image, None);
    let going = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
    assert!(matches!(status(going), Status::Unknown(_)));
}

#[test]
fn pods_are_asked_for_only_where_they_can_add_something() {
    let kind = Deployment { container: "app".into() };
    let asks = |change: Value| kind::asks_pods(&kind, &deployment(change));
    assert!(asks(json!({})));
    assert!(asks(json!({"status": {"availableReplicas": 2}})));
    assert!(!asks(json!({"status": {"updatedReplicas": 2}})));
    assert!(!asks(json!({"spec": {"paused": true}})));
    let again = |seen: &Seen, pods: &[Pod]| kind::again(&kind, seen, &read(seen, "app", pods));
    let ready = deployment(json!({}));
    assert_eq!(again(&ready, &three()), Again::Later, "one of them may be exchanged by hand");
    assert_eq!(again(&ready, &[]), Again::Soon);
    let unready = deployment(json!({"status": {"availableReplicas": 2}}));
    assert_eq!(again(&unready, &three()), Again::Soon, "one of them may say why");
    assert_eq!(again(&deployment(json!({"spec": {"paused": true}})), &three()), Again::Never);
}

#[test]
fn it_has_been_ready_since_the_last_of_its_pods_became_so() {
    let ready = |name: &str, at: &str| {
        let condition = json!({"type": "Ready", "status": "True", "lastTransitionTime": at});
        let change = json!({"status": {"conditions": [condition]}});
        pod(name, &format!("registry.test/checkout@{ONE}"), change)
    };
    let since = |pods: &[Pod]| read(&deployment(json!({})), "app", pods).ready_since;
    let (early, late) = ("2026-03-09T07:00:00Z", "2026-03-09T07:20:00Z");
    let three = [ready("a", early), ready("b", late), ready("c", early)];
    assert_eq!(since(&three), Some(late.parse().unwrap()));
    let restarted = [ready("a", "2026-03-09T09:00:00Z"), ready("b", late), ready("c", early)];
    assert_ne!(since(&restarted), since(&three));
    let untold = [ready("a", early), ready("b", late), at_one("c")];
    assert_eq!(since(&untold), None, "a pod that does not say shows nothing");
    let waits = json!({"status": {"availableReplicas": 2}});
    assert_eq!(read(&deployment(waits), "app", &three).ready_since, None);
}
