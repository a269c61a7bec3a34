use serde_json::{Value, json};

use super::*;
use crate::{
    act::cluster::kind::{
        self,
        sample::{ONE, merge},
    },
    decide::event::{Status, TargetState},
};

const TWO: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";

/// A Kustomization that has applied `ONE`, which its source has pulled as it was asked to.
fn seen(source: Value, kustomization: Value) -> Seen {
    let ready = json!([{"type": "Ready", "status": "True", "observedGeneration": 4}]);
    let mut pulls = json!({
        "metadata": {"name": "shop", "generation": 4,
            "annotations": {"reconcile.fluxcd.io/requestedAt": "t-1"}},
        "spec": {"url": "oci://registry.test/manifests/shop", "ref": {"tag": "latest", "digest": ONE}},
        "status": {"observedGeneration": 4, "lastHandledReconcileAt": "t-1", "conditions": ready,
            "artifact": {"revision": format!("latest@{ONE}")}},
    });
    let mut applies = json!({
        "metadata": {"name": "shop", "namespace": "flux", "generation": 4},
        "spec": {"wait": true, "sourceRef": {"kind": "OCIRepository", "name": "shop"}},
        "status": {"observedGeneration": 4, "conditions": ready,
            "lastAppliedRevision": format!("latest@{ONE}"),
            "lastAttemptedRevision": format!("latest@{ONE}")},
    });
    merge(&mut pulls, source);
    merge(&mut applies, kustomization);
    let parse = |object: Value| serde_json::from_value(object).unwrap();
    Seen { subject: parse(applies), other: Some(parse(pulls)) }
}

fn read(source: Value, kustomization: Value) -> TargetState {
    kind::read(&FluxOciSource, &seen(source, kustomization), &[])
}

fn artifact(digest: &str) -> Artifact {
    Artifact(format!("registry.test/manifests/shop@{digest}"))
}

#[test]
fn what_is_pulled_and_applied_is_success() {
    let state = read(json!({}), json!({}));
    assert_eq!((state.status, state.image), (Status::Succeeded, Some(artifact(ONE))));
    let wanted = json!({"spec": {"ref": {"digest": TWO}}});
    let Status::Progressing(why) = read(wanted.clone(), json!({})).status else { panic!() };
    assert!(why.contains("pulled another"), "{why}");
    let mut pulled = wanted;
    merge(&mut pulled, json!({"status": {"artifact": {"revision": TWO}}}));
    let Status::Progressing(why) = read(pulled.clone(), json!({})).status else { panic!() };
    assert!(why.contains("yet to apply"), "{why}");
    // That it is not ready with the older one says nothing of this one.
    let ready = |status: &str| json!([{"type": "Ready", "status": status, "message": "m", "observedGeneration": 4}]);
    let older = json!({"status": {"conditions": ready("False")}});
    let Status::Progressing(why) = read(pulled.clone(), older).status else { panic!() };
    assert!(why.contains("yet to try"), "{why}");
    let tried = json!({"status": {"conditions": ready("False"), "lastAttemptedRevision": TWO}});
    assert_eq!(read(pulled.clone(), tried).status, Status::Progressing("m".into()));
    let asked = json!({"metadata": {"generation": 5}});
    assert_eq!(read(asked, json!({})).status, Status::Pending);
    let stands = json!({"spec": {"suspend": true}});
    assert_eq!(read(stands.clone(), json!({})).status, Status::Paused);
    assert_eq!(read(json!({}), stands).status, Status::Paused);
}

#[test]
fn a_source_without_a_digest_runs_what_it_has_pulled() {
    let untold = json!({"spec": {"ref": {"digest": ""}}});
    let state = read(untold.clone(), json!({}));
    assert_eq!((state.status, state.image), (Status::Succeeded, Some(artifact(ONE))));
    // What it has pulled since is not what runs before it is applied.
    let mut newer = untold;
    merge(&mut newer, json!({"status": {"artifact": {"revision": format!("latest@{TWO}")}}}));
    let state = read(newer.clone(), json!({}));
    let Status::Progressing(why) = state.status else { panic!("expected Progressing") };
    assert!(why.contains("yet to apply"), "{why}");
    assert_eq!(state.image, Some(artifact(TWO)));
    let applied = json!({"status": {"lastAppliedRevision": format!("latest@{TWO}")}});
    assert_eq!(read(newer, applied).status, Status::Succeeded);
    let nothing = json!({"spec": {"ref": {"digest": ""}}, "status": {"artifact": null}});
    assert!(matches!(read(nothing, json!({})).status, Status::Unknown(_)));
}

#[test]
fn what_says_nothing_of_what_runs_is_unknown() {
    let silent = json!({"spec": {"wait": false}});
    let Status::Unknown(why) = read(json!({}), silent).status else { panic!("expected Unknown") };
    assert!(why.contains("spec.wait: true"), "{why}");
    let checks = json!({"spec": {"wait": false, "healthChecks": [{"kind": "Deployment"}]}});
    assert_eq!(read(json!({}), checks).status, Status::Succeeded);
}

#[test]
fn only_a_digest_of_what_it_pulls_is_written() {
    let seen = seen(json!({}), json!({}));
    let Edit::Merge { fields, paths } = FluxOciSource.edit(&seen, &artifact(TWO), "t-2") else {
        panic!("a source is merged")
    };
    assert_eq!(fields["spec"], json!({"ref": {"digest": TWO}}));
    assert_eq!(fields["metadata"]["annotations"]["reconcile.fluxcd.io/requestedAt"], "t-2");
    assert_eq!(paths.len(), 2);
    assert_eq!(FluxOciSource.refuses(&seen, &artifact(TWO)), None);
    for other in [format!("registry.test/other@{TWO}"), "registry.test/manifests/shop:2".into()] {
        assert!(FluxOciSource.refuses(&seen, &Artifact(other)).unwrap().contains("manifests/shop"));
    }
    let git = json!({"spec": {"sourceRef": {"kind": "GitRepository"}}});
    let git = super::tests::seen(json!({}), git);
    assert!(FluxOciSource.carrier(&git.subject).unwrap_err().contains("GitRepository"));
    let away =
        super::tests::seen(json!({}), json!({"spec": {"sourceRef": {"namespace": "other"}}}));
    assert!(FluxOciSource.carrier(&away.subject).unwrap_err().contains("namespace other"));
}
