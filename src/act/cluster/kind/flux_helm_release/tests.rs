use serde_json::{Value, json};

use super::*;
use crate::{
    act::cluster::kind::{
        self,
        sample::{ONE, merge},
    },
    decide::event::{Status, TargetState},
};

fn kind() -> FluxHelmRelease {
    let (repository, digest) = ("image.repository".into(), "image.digest".into());
    FluxHelmRelease { values: HelmValues::Parts { repository, digest } }
}

/// A HelmRelease that has deployed `ONE`, with `change` merged in.
fn object(change: Value) -> Seen {
    let mut base = json!({
        "metadata": {"name": "checkout", "generation": 4},
        "spec": {"values": {"image": {"repository": "registry.test/checkout", "digest": ONE}}},
        "status": {"observedGeneration": 4, "lastAttemptedConfigDigest": "sha256:aa",
            "history": [{"version": 7, "status": "deployed", "configDigest": "sha256:aa"}],
            "conditions": [{"type": "Ready", "status": "True", "observedGeneration": 4}]},
    });
    merge(&mut base, change);
    Seen { subject: serde_json::from_value(base).unwrap(), other: None }
}

fn read(change: Value) -> TargetState {
    kind::read(&kind(), &object(change), &[])
}

#[test]
fn the_newest_release_as_it_was_attempted_is_success() {
    let state = read(json!({}));
    assert_eq!(state.status, Status::Succeeded);
    assert_eq!(state.image, Some(Artifact(format!("registry.test/checkout@{ONE}"))));
    assert_eq!(state.revision.as_deref(), Some("7"));
    let older = json!({"status": {"lastAttemptedConfigDigest": "sha256:bb"}});
    assert!(matches!(read(older).status, Status::Progressing(_)));
    assert_eq!(read(json!({"metadata": {"generation": 5}})).status, Status::Pending);
    // A condition of generation 0 is of the status' generation.
    let untold = json!([{"type": "Ready", "status": "True", "observedGeneration": 0}]);
    assert_eq!(read(json!({"status": {"conditions": untold}})).status, Status::Succeeded);
    let stale = json!({"metadata": {"generation": 5}, "status": {"conditions": untold}});
    assert_eq!(read(stale).status, Status::Pending);
}

#[test]
fn what_went_back_by_itself_has_failed_for_this_generation_only() {
    let remediated = |generation: u32| {
        json!({"status": {"conditions": [
            {"type": "Ready", "status": "False", "message": "m", "observedGeneration": 4},
            {"type": "Remediated", "status": "True", "message": "rolled back",
                "observedGeneration": generation}]}})
    };
    assert_eq!(read(remediated(4)).status, Status::Failed("remediated: rolled back".into()));
    assert_eq!(read(remediated(3)).status, Status::Progressing("m".into()));
}

#[test]
fn what_does_not_wait_for_what_it_upgrades_says_nothing() {
    let silent = json!({"spec": {"upgrade": {"disableWait": true}}});
    let artifact = Artifact(format!("registry.test/checkout@{ONE}"));
    assert!(kind().refuses(&object(silent.clone()), &artifact).unwrap().contains("disableWait"));
    let Status::Unknown(why) = read(silent).status else { panic!("expected Unknown") };
    assert!(why.starts_with("the HelmRelease") && why.contains("disableWait"), "{why}");
    let waits = json!({"spec": {"upgrade": {"disableWait": false}}});
    assert_eq!(kind().refuses(&object(waits.clone()), &artifact), None);
    assert_eq!(read(waits).status, Status::Succeeded);
}

#[test]
fn a_path_through_a_list_is_no_place_to_write() {
    let image = format!("registry.test/checkout@{ONE}");
    let listed =
        json!({"spec": {"values": {"containers": [{"image": image}], "deep": {"image": image}}}});
    let of = |path: &str| {
        let kind = FluxHelmRelease { values: HelmValues::Image { image: path.into() } };
        kind.image(&object(listed.clone()).subject)
    };
    let why = of("containers.0.image").unwrap_err();
    assert!(why.contains("a list on the way to `containers.0.image`"), "{why}");
    assert_eq!(of("deep.image"), Ok(Artifact(image.clone())));
    assert!(of("deep.image.tag").unwrap_err().contains("has no `deep.image.tag`"));
}

#[test]
fn only_the_values_that_name_the_image_are_written() {
    let artifact = Artifact(format!("registry.test/checkout@{ONE}"));
    let Edit::Merge { fields, paths } = kind().edit(&object(json!({})), &artifact, "t") else {
        panic!("values are merged")
    };
    let image = json!({"repository": "registry.test/checkout", "digest": ONE});
    assert_eq!(fields["spec"], json!({"values": {"image": image}}));
    assert!(paths.contains(&vec!["spec".into(), "values".into()]), "{paths:?}");
    let digest = ["spec", "values", "image", "digest"].map(String::from).to_vec();
    assert!(paths.contains(&digest), "{paths:?}");
    let tag = Artifact("registry.test/checkout:2".into());
    assert!(kind().refuses(&object(json!({})), &tag).unwrap().contains("pin the release"));
    let whole = FluxHelmRelease { values: HelmValues::Image { image: "ref".into() } };
    assert_eq!(whole.refuses(&object(json!({})), &tag), None);
    let missing = whole.image(&object(json!({})).subject).unwrap_err();
    assert!(missing.contains("`ref`"), "{missing}");
}
