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

/// A HelmRelease of the chart `ONE`, which its source has pulled as it was asked to.
fn seen(source: Value, release: Value) -> Seen {
    let ready = json!([{"type": "Ready", "status": "True", "observedGeneration": 4}]);
    let mut pulls = json!({
        "metadata": {"name": "shop", "generation": 4,
            "annotations": {"reconcile.fluxcd.io/requestedAt": "t-1"}},
        "spec": {"url": "oci://registry.test/charts/shop", "ref": {"tag": "latest", "digest": ONE}},
        "status": {"observedGeneration": 4, "lastHandledReconcileAt": "t-1", "conditions": ready,
            "artifact": {"revision": format!("latest@{ONE}")}},
    });
    let mut upgrades = json!({
        "metadata": {"name": "shop", "namespace": "flux", "generation": 4},
        "spec": {"chartRef": {"kind": "OCIRepository", "name": "shop"}},
        "status": {"observedGeneration": 4, "conditions": ready,
            "lastAttemptedRevisionDigest": ONE,
            "history": [{"version": 7, "status": "deployed", "ociDigest": ONE}]},
    });
    merge(&mut pulls, source);
    merge(&mut upgrades, release);
    let parse = |object: Value| serde_json::from_value(object).unwrap();
    Seen { subject: parse(upgrades), other: Some(parse(pulls)) }
}

fn read(source: Value, release: Value) -> TargetState {
    kind::read(&FluxOciChart, &seen(source, release), &[])
}

fn artifact(digest: &str) -> Artifact {
    Artifact(format!("registry.test/charts/shop@{digest}"))
}

#[test]
fn a_chart_that_is_pulled_and_deployed_is_success() {
    let state = read(json!({}), json!({}));
    assert_eq!((state.status, state.image), (Status::Succeeded, Some(artifact(ONE))));
    assert_eq!(state.revision.as_deref(), Some("7"));
    let pulled =
        json!({"spec": {"ref": {"digest": TWO}}, "status": {"artifact": {"revision": TWO}}});
    let Status::Progressing(why) = read(pulled.clone(), json!({})).status else { panic!() };
    assert!(why.contains("not of that chart"), "{why}");
    // That it took the older one back says nothing of this one.
    let back = json!([
        {"type": "Ready", "status": "False", "message": "m", "observedGeneration": 4},
        {"type": "Remediated", "status": "True", "message": "rolled back", "observedGeneration": 4}]);
    let older = json!({"status": {"conditions": back}});
    let Status::Progressing(why) = read(pulled.clone(), older).status else { panic!() };
    assert!(why.contains("yet to try"), "{why}");
    let tried = json!({"status": {"conditions": back, "lastAttemptedRevisionDigest": TWO}});
    assert_eq!(
        read(pulled.clone(), tried).status,
        Status::Failed("remediated: rolled back".into())
    );
    let deployed = json!({"status": {"lastAttemptedRevisionDigest": TWO,
        "history": [{"version": 8, "status": "deployed", "ociDigest": TWO}]}});
    assert_eq!(read(pulled, deployed).status, Status::Succeeded);
    let silent = json!({"spec": {"upgrade": {"disableWait": true}}});
    assert!(matches!(read(json!({}), silent).status, Status::Unknown(_)));
    let stands = json!({"spec": {"suspend": true}});
    assert_eq!(read(json!({}), stands.clone()).status, Status::Paused);
    assert_eq!(read(stands, json!({})).status, Status::Paused);
}

#[test]
fn a_chart_that_is_named_by_a_version_is_not_driven() {
    let named = json!({"spec": {"chartRef": null, "chart": {"spec": {"version": "1.x"}}}});
    let why = FluxOciChart.carrier(&seen(json!({}), named).subject).unwrap_err();
    assert!(why.contains("`chartRef`") && why.contains("is no digest"), "{why}");
    let seen = seen(json!({}), json!({}));
    let carrier = FluxOciChart.carrier(&seen.subject).unwrap().unwrap();
    assert_eq!(carrier.kubectl(), "ocirepositories.source.toolkit.fluxcd.io/shop");
    assert_eq!(FluxOciChart.refuses(&seen, &artifact(TWO)), None);
    let other = Artifact(format!("registry.test/charts/other@{TWO}"));
    assert!(FluxOciChart.refuses(&seen, &other).unwrap().contains("charts/shop"));
}
