use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::*;
use crate::{
    act::cluster::kind::{
        self,
        sample::{ONE, merge},
    },
    decide::event::TargetState,
};

fn kind() -> ArgoRollout {
    ArgoRollout { container: "app".into() }
}

/// A Rollout of two replicas, healthy and pinned to `ONE`, with `change` merged in.
fn rollout(change: Value) -> Seen {
    let mut base = json!({
        "metadata": {"name": "checkout", "generation": 4},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "checkout"}},
            "template": {"spec": {"containers": [
                {"name": "app", "image": format!("registry.test/checkout@{ONE}")}]}},
        },
        "status": {"observedGeneration": "4", "phase": "Healthy", "currentPodHash": "5d9",
            "stableRS": "5d9"},
    });
    merge(&mut base, change);
    Seen { subject: serde_json::from_value(base).unwrap(), other: None }
}

fn pod(name: &str, hash: &str, image_id: &str) -> Pod {
    let pod = json!({
        "metadata": {"name": name, "labels": {"rollouts-pod-template-hash": hash},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "uid": "u",
                "name": format!("checkout-{hash}"), "controller": true}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "app", "image": "", "imageID": image_id, "ready": true,
                "restartCount": 0}]},
    });
    serde_json::from_value(pod).unwrap()
}

fn read(seen: &Seen) -> TargetState {
    let new = format!("registry.test/checkout@{ONE}");
    // A blue pod that waits to be scaled down runs something else.
    let pods =
        [pod("a", "5d9", &new), pod("b", "5d9", &new), pod("blue", "77a", "registry.test/old")];
    kind::read(&kind(), seen, &pods)
}

fn status(change: Value) -> Status {
    read(&rollout(change)).status
}

#[test]
fn healthy_with_the_new_pods_stable_is_success() {
    let state = read(&rollout(json!({})));
    assert_eq!(state.status, Status::Succeeded);
    assert_eq!(state.revision.as_deref(), Some("5d9"));
    let restarted = rollout(json!({"status": {"restartedAt": "2026-01-01T00:00:00Z"}}));
    assert_ne!(read(&restarted).revision, state.revision);
    // Healthy before it has switched says nothing of the new pods.
    assert!(matches!(status(json!({"status": {"stableRS": "77a"}})), Status::Progressing(_)));
}

#[test]
fn a_status_of_an_older_generation_is_none() {
    for observed in [json!("3"), json!(null), json!("d41d8cd9"), json!("")] {
        let old = json!({"status": {"observedGeneration": observed, "abort": true}});
        assert_eq!(status(old), Status::Pending);
    }
}

#[test]
fn pauses_are_seen_and_their_end_is_none() {
    assert_eq!(status(json!({"spec": {"paused": true}})), Status::Paused);
    let at_step = json!({"status": {"phase": "Paused", "controllerPause": true,
        "pauseConditions": [{"reason": "CanaryPauseStep"}]}});
    assert_eq!(status(at_step.clone()), Status::Paused);
    // Promoted: the phase still says Paused until its controller looks again.
    let mut going_on = at_step;
    going_on["status"]["pauseConditions"] = json!(null);
    assert!(
        matches!(status(going_on), Status::Progressing(words) if words.contains("pause has ended"))
    );
}

#[test]
fn a_pause_that_ends_by_itself_waits_for_nobody() {
    let at = |index: u64, more: Value| {
        let mut at = json!({
            "spec": {"strategy": {"canary": {"steps": [{"setWeight": 20}, {"pause": {}},
                {"setWeight": 60}, {"pause": {"duration": "10m"}}, {"pause": {"duration": 30}}]}}},
            "status": {"phase": "Paused", "controllerPause": true, "currentStepIndex": index,
                "pauseConditions": [
                    {"reason": "CanaryPauseStep", "startTime": "2026-01-01T00:00:00Z"}]}});
        merge(&mut at, more);
        rollout(at)
    };
    let state = read(&at(1, json!({})));
    let id = "5d9/1/CanaryPauseStep@2026-01-01T00:00:00Z";
    let pause = Pause { id: id.into(), at: "step 2 of 5".into() };
    assert_eq!((state.status, state.pause), (Status::Paused, Some(pause)));
    for (index, words) in [(3, "step 4 of 5, for 10m"), (4, "step 5 of 5, for 30 s")] {
        let state = read(&at(index, json!({})));
        assert!(matches!(state.status, Status::Progressing(how) if how.contains(words)));
        assert_eq!(state.pause, None);
    }
    // Somebody's own pause is theirs to end, and what was aborted is not promoted.
    for theirs in [json!({"spec": {"paused": true}}), json!({"status": {"abort": true}})] {
        assert_eq!(read(&at(1, theirs)).pause, None);
    }
    let mut two = at(3, json!({}));
    let pauses = json!([{"reason": "CanaryPauseStep"}, {"reason": "InconclusiveAnalysisRun"}]);
    two.subject.data["status"]["pauseConditions"] = pauses;
    assert_eq!(read(&two).status, Status::Paused, "the analysis has still to be looked at");
}

#[test]
fn before_its_switch_a_blue_green_one_waits_unless_it_switches_by_itself() {
    let at = |blue_green: Value| {
        rollout(json!({"spec": {"strategy": {"blueGreen": blue_green}}, "status": {
            "phase": "Paused", "stableRS": "77a",
            "pauseConditions": [{"reason": "BlueGreenPause", "startTime": "t"}]}}))
    };
    let state = read(&at(json!({"autoPromotionEnabled": false})));
    assert_eq!(state.pause.unwrap().id, "5d9/-/BlueGreenPause@t");
    let timed = json!({"autoPromotionEnabled": false, "autoPromotionSeconds": 300});
    let state = read(&at(timed));
    assert!(matches!(state.status, Status::Progressing(how) if how.contains("for 300 s")));
}

#[test]
fn an_abort_fails_in_the_words_of_its_analysis() {
    let aborted = json!({"status": {"phase": "Degraded", "abort": true, "stableRS": "77a",
    "message": "RolloutAborted: Rollout aborted update to revision 2",
    "canary": {
        "currentStepAnalysisRunStatus": {"name": "checkout-5d9-2-1", "status": "Failed",
            "message": "Metric \"success-rate\" assessed Failed due to failed (3) > failureLimit (2)"},
        "currentBackgroundAnalysisRunStatus": {"name": "bg", "status": "Running", "message": "m"},
    }}});
    let Status::Failed(words) = status(aborted) else { panic!("expected Failed") };
    assert!(words.contains("checkout-5d9-2-1 Failed: Metric \"success-rate\""), "{words}");
    assert!(!words.contains("bg"), "{words}");
    let invalid = json!({"status": {"phase": "Degraded", "conditions": [
        {"type": "InvalidSpec", "status": "True", "message": "no strategy"}]}});
    assert!(matches!(status(invalid), Status::Failed(words) if words.contains("no strategy")));
}

#[test]
fn what_timed_out_can_recover_and_what_is_not_known_is_unknown() {
    let late = json!({"status": {"phase": "Degraded", "message": "ProgressDeadlineExceeded: x"}});
    assert!(matches!(status(late), Status::Progressing(words) if words.contains("Deadline")));
    let odd = json!({"status": {"phase": "Marvellous"}});
    assert!(matches!(status(odd), Status::Unknown(words) if words.contains("Marvellous")));
    let nothing = json!({"spec": {"replicas": 0}});
    assert!(matches!(status(nothing), Status::Progressing(words) if words.contains("0 replicas")));
}

#[test]
fn a_template_that_is_a_deployments_is_fenced_by_both_generations() {
    let reference = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "checkout-app"});
    let with = |annotation: &str, observed: &str| {
        let mut seen = rollout(json!({
            "metadata": {"annotations": {"rollout.argoproj.io/workload-generation": annotation}},
            "spec": {"workloadRef": reference, "template": null, "selector": null},
            "status": {"workloadObservedGeneration": observed},
        }));
        let deployment = json!({
            "metadata": {"name": "checkout-app", "generation": 7},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "checkout"}},
                "template": {"spec": {"containers": [
                    {"name": "app", "image": format!("registry.test/checkout@{ONE}")}]}}},
        });
        seen.other = Some(serde_json::from_value(deployment).unwrap());
        seen
    };
    assert_eq!(read(&with("7", "7")).status, Status::Succeeded);
    assert_eq!(read(&with("6", "6")).status, Status::Pending);
    assert_eq!(read(&with("7", "6")).status, Status::Pending);
    let seen = with("7", "7");
    let carrier = kind().carrier(&seen.subject).unwrap().unwrap();
    assert_eq!(carrier.kubectl(), "deployment/checkout-app");
    assert_eq!(kind().workers(&seen).unwrap().selector.match_labels.unwrap()["app"], "checkout");
    let other =
        rollout(json!({"spec": {"workloadRef": {"apiVersion": "v1", "kind": "PodTemplate"}}}));
    assert!(kind().carrier(&other.subject).unwrap_err().contains("PodTemplate"));
}

#[test]
fn the_same_image_again_after_an_abort_is_a_retry() {
    let artifact = |digest: &str| Artifact(format!("registry.test/checkout@{digest}"));
    let aborted = rollout(json!({"status": {"abort": true}}));
    assert_eq!(kind().nudge(&aborted, &artifact(ONE)), Some(json!({"status": {"abort": false}})));
    assert_eq!(kind().nudge(&aborted, &artifact("sha256:2")), None);
    assert_eq!(kind().nudge(&rollout(json!({})), &artifact(ONE)), None);
}
