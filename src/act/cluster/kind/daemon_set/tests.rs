use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::*;
use crate::{
    act::cluster::kind::{
        self,
        sample::{ONE, merge},
    },
    decide::event::TargetState,
};

/// A DaemonSet on two nodes, all updated, ready and pinned to `ONE`, with `change` merged in.
fn read(change: Value) -> TargetState {
    let mut base = json!({
        "metadata": {"name": "agent", "generation": 4,
            "annotations": {"deprecated.daemonset.template.generation": "3"}},
        "spec": {
            "selector": {"matchLabels": {"app": "agent"}},
            "template": {"spec": {"containers": [
                {"name": "app", "image": format!("registry.test/agent@{ONE}")}]}},
        },
        "status": {"observedGeneration": 4, "desiredNumberScheduled": 2, "currentNumberScheduled": 2,
            "updatedNumberScheduled": 2, "numberAvailable": 2, "numberReady": 2},
    });
    merge(&mut base, change);
    let seen = Seen { subject: serde_json::from_value(base).unwrap(), other: None };
    let pods: [Pod; 2] = ["a", "b"].map(|name| {
        let pod = json!({
            "metadata": {"name": name, "ownerReferences": [{"apiVersion": "apps/v1",
                "kind": "DaemonSet", "uid": "u", "name": "agent", "controller": true}]},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{"name": "app", "image": "", "ready": true, "restartCount": 0,
                    "imageID": format!("registry.test/agent@{ONE}")}]},
        });
        serde_json::from_value(pod).unwrap()
    });
    kind::read(&DaemonSet { container: "app".into() }, &seen, &pods)
}

#[test]
fn all_nodes_at_the_digest_are_success() {
    let state = read(json!({}));
    assert_eq!(state.status, Status::Succeeded);
    assert_eq!(state.revision.as_deref(), Some("3"));
}

#[test]
fn the_figures_are_asked_one_after_the_other() {
    assert_eq!(read(json!({"metadata": {"generation": 5}})).status, Status::Pending);
    let words = |status: Value| match read(json!({"status": status})).status {
        Status::Progressing(words) => words,
        other => panic!("expected Progressing, got {other:?}"),
    };
    assert_eq!(words(json!({"updatedNumberScheduled": 1})), "1 of 2 pods updated");
    assert_eq!(words(json!({"numberAvailable": 1})), "1 of 2 updated pods available");
    assert_eq!(words(json!({"desiredNumberScheduled": 3})), "2 of 3 pods updated");
    assert!(words(json!({"desiredNumberScheduled": 0})).contains("no node"));
}

#[test]
fn under_on_delete_nothing_is_known_to_end() {
    let by_hand = json!({"spec": {"updateStrategy": {"type": "OnDelete"}}});
    assert_eq!(read(by_hand.clone()).status, Status::Succeeded);
    let mut waits = by_hand;
    waits["status"]["updatedNumberScheduled"] = json!(1);
    let status = read(waits).status;
    assert!(matches!(&status, Status::Unknown(why) if why.contains("1 of 2 pods")), "{status:?}");
}
