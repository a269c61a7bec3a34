use serde_json::{Value, json};

use super::*;
use crate::{
    act::cluster::kind::{
        self,
        sample::{ONE, merge},
    },
    decide::event::TargetState,
};

/// A StatefulSet of three replicas, all updated, ready and pinned to `ONE`, with `change` merged in.
fn set(change: Value) -> Seen {
    let mut base = json!({
        "metadata": {"name": "ledger", "generation": 4},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": "ledger"}},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
            "template": {"spec": {"containers": [
                {"name": "app", "image": format!("registry.test/ledger@{ONE}")}]}},
        },
        "status": {"observedGeneration": 4, "replicas": 3, "readyReplicas": 3, "updatedReplicas": 3,
            "availableReplicas": 3, "currentRevision": "ledger-b", "updateRevision": "ledger-b"},
    });
    merge(&mut base, change);
    Seen { subject: serde_json::from_value(base).unwrap(), other: None }
}

fn pod(name: &str, revision: &str, waits: Option<&str>) -> Pod {
    let state = waits.map_or(json!({"running": {}}), |why| json!({"waiting": {"reason": why}}));
    let ready = if waits.is_none() { "True" } else { "False" };
    let pod = json!({
        "metadata": {"name": name, "labels": {"controller-revision-hash": revision},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "uid": "u",
                "name": "ledger", "controller": true}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}],
            "containerStatuses": [{"name": "app", "image": "", "ready": waits.is_none(),
                "imageID": format!("registry.test/ledger@{ONE}"), "restartCount": 0,
                "state": state}]},
    });
    serde_json::from_value(pod).unwrap()
}

fn read(change: Value) -> TargetState {
    let pods = ["ledger-0", "ledger-1", "ledger-2"].map(|name| pod(name, "ledger-b", None));
    kind::read(&StatefulSet { container: "app".into() }, &set(change), &pods)
}

fn progressing(change: Value) -> String {
    let status = read(change).status;
    let Status::Progressing(words) = status else { panic!("expected Progressing, got {status:?}") };
    words
}

fn unknown(change: Value) -> String {
    let status = read(change).status;
    let Status::Unknown(words) = status else { panic!("expected Unknown, got {status:?}") };
    words
}

#[test]
fn all_replicas_at_the_digest_are_success_and_its_revision_is_the_updates() {
    let state = read(json!({}));
    assert_eq!(state.status, Status::Succeeded);
    assert_eq!(state.revision.as_deref(), Some("ledger-b"));
}

#[test]
fn the_figures_are_asked_one_after_the_other() {
    assert_eq!(read(json!({"metadata": {"generation": 5}})).status, Status::Pending);
    let words = |status: Value| progressing(json!({"status": status}));
    assert_eq!(words(json!({"updatedReplicas": 1})), "1 of 3 replicas updated");
    assert_eq!(words(json!({"readyReplicas": 2})), "2 of 3 updated replicas available");
    assert_eq!(words(json!({"availableReplicas": 1})), "1 of 3 updated replicas available");
    assert_eq!(words(json!({"replicas": 4})), "1 replicas more than 3 are left");
    let closing = words(json!({"currentRevision": "ledger-a"}));
    assert!(closing.contains("yet to say so"), "{closing}");
    // API servers before 1.22 tell no available replicas.
    assert_eq!(read(json!({"status": {"availableReplicas": null}})).status, Status::Succeeded);
    assert!(progressing(json!({"spec": {"replicas": 0}})).contains("0 replicas"));
}

#[test]
fn what_its_strategy_keeps_back_is_not_known_to_end() {
    let part = |partition: u32, updated: u32| {
        json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": partition}}},
            "status": {"updatedReplicas": updated}})
    };
    assert_eq!(progressing(part(1, 1)), "1 of 3 replicas updated");
    assert!(unknown(part(1, 2)).contains("partition 1: 1 of 3 pods"));
    assert!(unknown(part(9, 0)).contains("partition 9: 3 of 3 pods"));
    // Once all of them run it, the partition keeps nothing back.
    assert_eq!(read(part(2, 3)).status, Status::Succeeded);

    let by_hand = |updated: u32| {
        json!({"spec": {"updateStrategy": {"type": "OnDelete"}},
            "status": {"updatedReplicas": updated, "currentRevision": "ledger-a"}})
    };
    assert!(unknown(by_hand(1)).contains("OnDelete: 2 of 3 pods"));
    // Its controller never makes the two revisions one.
    assert_eq!(read(by_hand(3)).status, Status::Succeeded);
}

#[test]
fn a_broken_pod_of_before_has_to_be_deleted_by_hand() {
    let pods =
        [pod("ledger-0", "ledger-b", None), pod("ledger-2", "ledger-a", Some("CrashLoopBackOff"))];
    let read = |change: Value| {
        let change = set(change);
        let state = kind::read(&StatefulSet { container: "app".into() }, &change, &pods);
        let Status::Progressing(words) = state.status else { panic!("{state:?}") };
        words
    };
    let words = read(json!({"status": {"updatedReplicas": 2}}));
    assert!(
        words.contains("CrashLoopBackOff") && words.ends_with("delete pod ledger-2"),
        "{words}"
    );
    let parallel =
        json!({"status": {"updatedReplicas": 2}, "spec": {"podManagementPolicy": "Parallel"}});
    assert!(!read(parallel).contains("delete"));
}
