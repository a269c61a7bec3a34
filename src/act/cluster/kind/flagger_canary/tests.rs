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

fn kind() -> FlaggerCanary {
    FlaggerCanary { container: "app".into() }
}

/// A Canary that has promoted `ONE`, over a Deployment that carries the fence `before`.
fn canary(before: Option<&str>, change: Value) -> Seen {
    let mut base = json!({
        "metadata": {"name": "checkout"},
        "spec": {"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "checkout"}},
        "status": {"phase": "Succeeded", "lastAppliedSpec": "b", "lastPromotedSpec": "b"},
    });
    merge(&mut base, change);
    let mut deployment = json!({
        "metadata": {"name": "checkout", "annotations": {}},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "checkout"}},
            "template": {"spec": {"containers": [
                {"name": "app", "image": format!("registry.test/checkout@{ONE}")}]}}},
    });
    if let Some(before) = before {
        deployment["metadata"]["annotations"]["ringward.dev/fence"] = json!(before);
    }
    let parse = |object: Value| serde_json::from_value(object).unwrap();
    Seen { subject: parse(base), other: Some(parse(deployment)) }
}

fn pod(digest: &str, ready: bool) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "p", "labels": {"app": "checkout-primary", "pod-template-hash": "5d9"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "uid": "u",
                "name": "checkout-primary-5d9", "controller": true}]},
        "status": {"phase": "Running",
            "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}],
            "containerStatuses": [{"name": "app", "image": "", "ready": ready, "restartCount": 0,
                "imageID": format!("registry.test/checkout@{digest}")}]},
    }))
    .unwrap()
}

fn read(seen: &Seen, digest: &str) -> TargetState {
    kind::read(&kind(), seen, &[pod(digest, true)])
}

fn status(before: Option<&str>, change: Value) -> Status {
    read(&canary(before, change), ONE).status
}

#[test]
fn what_was_promoted_is_success_where_the_primary_runs_it() {
    assert_eq!(status(Some("a"), json!({})), Status::Succeeded);
    assert_eq!(status(None, json!({})), Status::Succeeded);
    let other = "sha256:2222222222222222222222222222222222222222222222222222222222222222";
    let stale = read(&canary(Some("b"), json!({})), other).status;
    assert!(matches!(stale, Status::Progressing(_)), "the status of before our write: {stale:?}");
    // What somebody puts in the primary's place is seen, though nothing of the Canary's says so.
    let seen = canary(Some("a"), json!({}));
    assert_eq!(kind::again(&kind(), &seen, &read(&seen, ONE)), kind::Again::Later);
    let swapped = read(&seen, other);
    assert!(matches!(&swapped.status, Status::Progressing(why) if why.contains("runs")));
    assert_eq!(kind::again(&kind(), &seen, &swapped), kind::Again::Soon);
    let applied = json!({"status": {"lastAppliedSpec": "c"}});
    assert!(matches!(status(Some("a"), applied), Status::Progressing(_)));
}

#[test]
fn what_was_promoted_once_is_no_success_where_none_of_it_is_ready() {
    let seen = canary(Some("a"), json!({}));
    let state = kind::read(&kind(), &seen, &[pod(ONE, false)]);
    assert_eq!(state.status, Status::Progressing("0 of 1 pods are ready".into()));
    let state = kind::read(&kind(), &seen, &[pod(ONE, false), pod(ONE, true)]);
    assert_eq!(state.status, Status::Succeeded);
}

#[test]
fn a_failure_is_of_our_write_only_if_it_was_taken_up() {
    let failed = json!({"status": {"phase": "Failed", "lastAppliedSpec": "c", "conditions": [
        {"type": "Promoted", "status": "False", "reason": "Failed", "message": "Canary analysis failed"}]}});
    let Status::Failed(words) = status(Some("b"), failed.clone()) else {
        panic!("expected Failed")
    };
    assert!(words.contains("analysis failed"), "{words}");
    // Back to what was promoted: Flagger does nothing about it, and the primary never ran anything else.
    assert_eq!(status(Some("c"), failed.clone()), Status::Succeeded);
    // The same again is no news to Flagger: it failed, and nothing comes of it.
    assert!(matches!(status(None, failed), Status::Failed(_)));
}

#[test]
fn phases_are_read_as_they_are_documented() {
    let phase = |phase: &str| status(Some("a"), json!({"status": {"phase": phase}}));
    for waits in ["Waiting", "WaitingPromotion"] {
        assert_eq!(phase(waits), Status::Paused, "{waits}");
    }
    for moves in ["Initializing", "Progressing", "Promoting", "Finalising"] {
        assert!(matches!(phase(moves), Status::Progressing(_)), "{moves}");
    }
    for unclear in ["Terminating", "Terminated", "Marvellous"] {
        assert!(matches!(phase(unclear), Status::Unknown(_)), "{unclear}");
    }
    assert_eq!(phase("Initialized"), Status::Succeeded);
    assert_eq!(phase(""), Status::Pending);
    assert_eq!(status(None, json!({"spec": {"suspend": true}})), Status::Paused);
}

#[test]
fn a_write_is_fenced_unless_it_changes_nothing() {
    let seen = canary(None, json!({}));
    let other = Artifact("registry.test/checkout:2".into());
    assert_eq!(kind().fence(&seen, &other).as_deref(), Some("b"));
    let same = Artifact(format!("registry.test/checkout@{ONE}"));
    assert_eq!(kind().fence(&seen, &same), None);
    let daemons = canary(None, json!({"spec": {"targetRef": {"kind": "Service"}}}));
    assert!(kind().carrier(&daemons.subject).unwrap_err().contains("Service"));
}

#[test]
fn the_way_back_written_again_is_no_failure() {
    let one = Artifact(format!("registry.test/checkout@{ONE}"));
    let failed = json!({"status": {"phase": "Failed", "lastAppliedSpec": "c"}});
    let back = canary(Some("c"), failed.clone());
    let fence = kind().fence(&back, &one);
    assert_eq!(fence.as_deref(), Some("c"));
    assert_eq!(status(fence.as_deref(), failed), Status::Succeeded);
}

#[test]
fn the_way_back_from_an_attempt_that_nobody_took_up_is_not_marked() {
    let (one, two) = (format!("registry.test/checkout@{ONE}"), "registry.test/checkout:2");
    let failed = json!({"status": {"phase": "Failed", "lastAppliedSpec": "c"}});
    let mut seen = canary(Some("c"), failed);
    let template = &mut seen.other.as_mut().unwrap().data["spec"]["template"];
    template["metadata"] = json!({"annotations": {ATTEMPT: "t-1"}});
    template["spec"]["containers"][0]["image"] = json!(two);
    let marked = |image: &str| {
        let Edit::Apply { fields, .. } = kind().edit(&seen, &Artifact(image.into()), "t-2") else {
            panic!("a Deployment is applied")
        };
        fields.pointer("/spec/template/metadata/annotations").is_some()
    };
    assert!(!marked(&one), "the promoted template comes back to the letter");
    assert!(marked(two), "another attempt at the same");
    assert_eq!(kind().fence(&seen, &Artifact(one)).as_deref(), Some("c"));
}

#[test]
fn a_template_that_has_failed_is_made_another_one_for_another_attempt() {
    let two = Artifact("registry.test/checkout:2".into());
    let one = Artifact(format!("registry.test/checkout@{ONE}"));
    let marked = |seen: &Seen, artifact: &Artifact| {
        let Edit::Apply { fields, .. } = kind().edit(seen, artifact, "t") else {
            panic!("a Deployment is applied")
        };
        fields.pointer("/spec/template/metadata/annotations").is_some()
    };
    let failed = json!({"status": {"phase": "Failed", "lastAppliedSpec": "c"}});
    // What failed is there still: the same again is marked, the way back is not.
    let there = canary(Some("b"), failed.clone());
    assert!(marked(&there, &one) && !marked(&there, &two));
    assert_eq!(kind().fence(&there, &one).as_deref(), Some("c"));
    // What was promoted is back: anything else may be what failed.
    let back = canary(Some("c"), failed);
    assert!(marked(&back, &two) && !marked(&back, &one));
    assert!(!marked(&canary(Some("a"), json!({})), &two));
}
