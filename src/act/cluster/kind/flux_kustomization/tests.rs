use serde_json::{Value, json};

use super::*;
use crate::{
    act::cluster::kind::{
        self,
        sample::{ONE, merge},
    },
    decide::event::{Status, TargetState},
};

const NAME: &str = "registry.test/checkout";

fn kind() -> FluxKustomization {
    FluxKustomization { image: NAME.into() }
}

/// A Kustomization that is ready at `ONE`, as it was asked for, with `change` merged in.
fn object(change: Value) -> Seen {
    let mut base = json!({
        "metadata": {"name": "checkout", "generation": 4,
            "annotations": {"reconcile.fluxcd.io/requestedAt": "t-1"}},
        "spec": {"wait": true, "images": [
            {"name": "proxy", "newTag": "1"},
            {"name": NAME, "newName": "mirror.test/checkout", "digest": ONE}]},
        "status": {"observedGeneration": 4, "lastHandledReconcileAt": "t-1",
            "lastAppliedRevision": "main@sha1:5d9", "lastAttemptedRevision": "main@sha1:5d9",
            "conditions": [{"type": "Ready", "status": "True", "observedGeneration": 4}]},
    });
    merge(&mut base, change);
    Seen { subject: serde_json::from_value(base).unwrap(), other: None }
}

fn read(change: Value) -> TargetState {
    kind::read(&kind(), &object(change), &[])
}

fn ready(status: &str, generation: u32) -> Value {
    json!([{"type": "Ready", "status": status, "reason": "r", "message": "m",
        "observedGeneration": generation}])
}

#[test]
fn ready_for_this_generation_and_as_asked_for_is_success() {
    let state = read(json!({}));
    assert_eq!(state.status, Status::Succeeded);
    assert_eq!(state.image, Some(Artifact(format!("mirror.test/checkout@{ONE}"))));
    assert_eq!(read(json!({"metadata": {"generation": 5}})).status, Status::Pending);
    let stale = json!({"status": {"conditions": ready("True", 3)}});
    assert_eq!(read(stale).status, Status::Pending);
    let asked = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "t-2"}}});
    assert_eq!(read(asked).status, Status::Pending, "nobody has answered that");
    let behind = json!({"status": {"lastAppliedRevision": "main@sha1:4c8"}});
    assert!(matches!(read(behind).status, Status::Progressing(_)));
}

#[test]
fn what_is_not_ready_may_recover_and_what_is_stalled_does_not() {
    let not_ready = json!({"status": {"conditions": ready("False", 4)}});
    assert_eq!(read(not_ready).status, Status::Progressing("m".into()));
    let moving = json!({"status": {"conditions": ready("Unknown", 4)}});
    assert_eq!(read(moving).status, Status::Progressing("m".into()));
    let stalled = json!({"status": {"conditions": [{"type": "Stalled", "status": "True",
        "message": "invalid path", "observedGeneration": 4}]}});
    assert_eq!(read(stalled).status, Status::Failed("stalled: invalid path".into()));
    assert_eq!(read(json!({"spec": {"suspend": true}})).status, Status::Paused);
    assert_eq!(read(json!({"status": null})).status, Status::Pending);
}

#[test]
fn the_list_is_written_as_it_is_but_for_one_entry() {
    let artifact = Artifact(format!("other.test:5000/checkout:2@{ONE}"));
    let Edit::Merge { fields, paths } = kind().edit(&object(json!({})), &artifact, "t-2") else {
        panic!("a list without keys is merged")
    };
    let ours = json!({"name": NAME, "newName": "other.test:5000/checkout", "digest": ONE});
    assert_eq!(fields["spec"]["images"], json!([{"name": "proxy", "newTag": "1"}, ours]));
    assert_eq!(fields["metadata"]["annotations"]["reconcile.fluxcd.io/requestedAt"], "t-2");
    assert_eq!(paths, [["spec", "images"]]);
}

#[test]
fn what_says_nothing_of_what_runs_is_not_written_to() {
    let artifact = Artifact("a:1".into());
    let silent = object(json!({"spec": {"wait": false}}));
    assert!(kind().refuses(&silent, &artifact).unwrap().contains("spec.wait: true"));
    // Nor is what it says taken for anything, whoever has written what is there.
    let Status::Unknown(why) = read(json!({"spec": {"wait": false}})).status else { panic!() };
    assert!(why.starts_with("the Kustomization") && why.contains("spec.wait: true"), "{why}");
    let checks = json!({"spec": {"wait": false, "healthChecks": [{"kind": "Deployment"}]}});
    assert_eq!(kind().refuses(&object(checks.clone()), &artifact), None);
    assert_eq!(read(checks).status, Status::Succeeded);
    let nothing = read(json!({"spec": {"images": []}})).status;
    assert!(matches!(&nothing, Status::Unknown(why) if why.contains(NAME)), "{nothing:?}");
    let tagged = json!({"spec": {"images": [{"name": NAME, "newTag": "2.14"}]}});
    assert_eq!(read(tagged).image, Some(Artifact(format!("{NAME}:2.14"))));
}
