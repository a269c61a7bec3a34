use serde_json::Value;

use super::*;
use crate::{
    ids::ReleaseId,
    model::ring::{HelmValues, Target, TargetKind},
};

const IMAGE: &str = "registry.test/checkout@sha256:1111111111111111111111111111111111111111111111111111111111111111";

fn a_write() -> Write {
    Write {
        key: "checkout@2/beta/eu/1/deploy".into(),
        release: ReleaseId::new("checkout", "2"),
        ring: "beta".into(),
        attempt: 1,
        cluster: "eu".into(),
        connection: "eu".into(),
        target: Target {
            kind: TargetKind::Deployment { container: "app".into() },
            namespace: "shop".into(),
            name: "checkout".into(),
        },
        artifact: Artifact(IMAGE.into()),
    }
}

fn deployment(annotations: Value) -> Seen {
    let subject = serde_json::from_value(json!({
        "metadata": {"name": "checkout", "uid": "u-1", "resourceVersion": "17",
            "annotations": annotations},
        "spec": {"selector": {}, "template": {"spec": {"containers": [
            {"name": "app", "image": IMAGE}]}}},
    }));
    Seen { subject: subject.unwrap(), other: None }
}

/// What a plan's Deployment is driven by.
fn kind() -> std::sync::Arc<dyn Kind> {
    kind::of(&a_write().target.kind).unwrap()
}

fn request<'a>(write: &'a Write, kind: &'a dyn Kind, epoch: u64) -> Request<'a> {
    let carrier = Reference { resource: kind.resource(), name: write.target.name.clone() };
    Request { write, epoch, context: "prod-eu", kind, carrier }
}

/// The fields that are applied.
fn applied(write: &Write, before: &Seen, found: Option<&TargetState>) -> Value {
    let kind = kind();
    let Edit::Apply { fields, .. } = kind.edit(before, &write.artifact, "t") else {
        panic!("a Deployment is applied")
    };
    request(write, &*kind, 3).fields(before, found, false, fields)
}

fn judged(annotations: Value, epoch: u64) -> Result<bool, String> {
    let write = a_write();
    let kind = kind();
    request(&write, &*kind, epoch).is_needed(&deployment(annotations)).map_err(
        |error| match error {
            WriteError::Refused(why) => why,
            WriteError::Unreachable(why) => panic!("a judgement of what was read is final: {why}"),
        },
    )
}

#[test]
fn what_carries_our_intent_and_image_is_left_alone() {
    let ours = json!({"ringward.dev/managed-by": "checkout", "ringward.dev/epoch": "3",
        "ringward.dev/intent": "checkout@2/beta/eu/1/deploy"});
    assert_eq!(judged(ours.clone(), 3), Ok(false));
    let mut older = ours.clone();
    older["ringward.dev/intent"] = "checkout@2/alpha/eu/1/deploy".into();
    assert_eq!(judged(older, 3), Ok(true), "the same image under another intent is not ours yet");

    // Our intent with another image: somebody changed it after us, and our write says what it shall be.
    let mut write = a_write();
    write.artifact = Artifact("registry.test/checkout:3".into());
    assert_eq!(request(&write, &*kind(), 3).is_needed(&deployment(ours)), Ok(true));
}

#[test]
fn consent_comes_first_and_then_the_epoch() {
    assert!(judged(json!({"ringward.dev/epoch": "9"}), 1).unwrap_err().contains("consented"));
    let consented =
        |epoch: &str| json!({"ringward.dev/managed-by": "checkout", "ringward.dev/epoch": epoch});
    assert_eq!(judged(consented("1"), 1), Ok(true));
    assert_eq!(judged(consented("1"), 2), Ok(true));
    assert!(judged(consented("3"), 2).unwrap_err().contains("epoch 3"));
    assert!(judged(consented("three"), 2).unwrap_err().contains("no number"));
    // Even what we wrote ourselves is not ours any more once a newer writer was there.
    let mut newer = consented("3");
    newer["ringward.dev/intent"] = "checkout@2/beta/eu/1/deploy".into();
    assert!(judged(newer, 2).is_err());
}

#[test]
fn the_cure_is_a_command_that_can_be_run_as_it_stands() {
    let why = judged(json!({}), 1).unwrap_err();
    let command = "kubectl --context prod-eu --namespace shop annotate deployment/checkout \
                   ringward.dev/managed-by=checkout";
    assert!(why.starts_with("Deployment shop/checkout") && why.ends_with(command), "{why}");
}

#[test]
fn only_our_fields_are_applied_and_only_to_what_was_read() {
    let write = a_write();
    let fields = applied(&write, &deployment(json!({})), None);
    assert_eq!(fields["metadata"]["resourceVersion"], "17");
    assert_eq!(fields["metadata"]["uid"], "u-1");
    assert_eq!(
        fields["metadata"]["annotations"],
        json!({
            "ringward.dev/release": "checkout@2",
            "ringward.dev/intent": "checkout@2/beta/eu/1/deploy",
            "ringward.dev/epoch": "3",
            "ringward.dev/digest": IMAGE.split('@').nth(1),
        })
    );
    let spec = json!({"template": {"spec": {"containers": [{"name": "app", "image": IMAGE}]}}});
    assert_eq!(fields["spec"], spec);
}

#[test]
fn the_first_write_notes_what_it_found_and_the_next_drops_it() {
    let write = a_write();
    let image = Artifact("registry.test/checkout:1".into());
    let found = TargetState {
        status: Status::Succeeded,
        image: Some(image),
        intent: None,
        revision: None,
        ready_since: None,
        pause: None,
    };
    let noted = |annotations: Value| {
        let fields = applied(&write, &deployment(annotations), Some(&found));
        fields["metadata"]["annotations"]["ringward.dev/before"].clone()
    };
    assert_eq!(noted(json!({})), "registry.test/checkout:1");
    assert_eq!(
        noted(json!({"ringward.dev/intent": write.key.as_str()})),
        "registry.test/checkout:1"
    );
    assert_eq!(noted(json!({"ringward.dev/intent": "checkout@1/beta/eu/1/deploy"})), Value::Null);
}

#[test]
fn a_newer_writers_marks_are_handed_over_by_a_command() {
    let newer = json!({"ringward.dev/managed-by": "checkout", "ringward.dev/epoch": "9"});
    let why = judged(newer, 1).unwrap_err();
    let command = "kubectl --context prod-eu --namespace shop annotate deployment/checkout \
                   ringward.dev/intent- ringward.dev/epoch- ringward.dev/before-";
    assert!(why.ends_with(command), "{why}");
}

#[test]
fn leave_to_take_the_image_covers_the_image_alone() {
    let conflict = |fields: &[&str]| -> ApiStatus {
        let cause = |field: &&str| {
            json!({"reason": "FieldManagerConflict", "field": field,
            "message": "conflict with \"helm\" using apps/v1"})
        };
        serde_json::from_value(json!({"code": 409,
            "details": {"causes": fields.iter().map(cause).collect::<Vec<_>>()}}))
        .unwrap()
    };
    let image = ".spec.template.spec.containers[name=\"app\"].image";
    let write = a_write();
    let Edit::Apply { image: ends, .. } = kind().edit(&deployment(json!({})), &write.artifact, "t")
    else {
        panic!("a Deployment is applied")
    };
    assert!(only(ends, &conflict(&[image])));
    assert!(!only(ends, &conflict(&[image, ".metadata.annotations.ringward.dev/epoch"])));
    assert!(!only(ends, &conflict(&[])));

    let theirs = conflict(&[".metadata.annotations.ringward.dev/epoch"]);
    let theirs = failure::owners(&theirs);
    let WriteError::Refused(why) = request(&write, &*kind(), 3).owned_by_others(&theirs) else {
        panic!("a conflict is final")
    };
    assert!(why.contains("`helm`") && !why.contains("take-over"), "{why}");
}

#[test]
fn a_list_that_is_owned_whole_is_merged_as_it_is_but_for_the_image() {
    let mut write = a_write();
    write.target.kind = TargetKind::ArgoRollout { container: "app".into() };
    write.artifact = Artifact("registry.test/checkout:3".into());
    let kind = kind::of(&write.target.kind).unwrap();
    let rollout = |owner: &str| -> Seen {
        let subject = serde_json::from_value(json!({
            "metadata": {"name": "checkout", "managedFields": [{"manager": owner, "fieldsV1": {
                "f:spec": {"f:template": {"f:spec": {"f:containers": {}}}}}}]},
            "spec": {"template": {"spec": {"containers": [
                {"name": "proxy", "image": "p"},
                {"name": "app", "image": IMAGE, "env": [{"name": "A", "value": "b"}]}]}}},
        }));
        Seen { subject: subject.unwrap(), other: None }
    };
    let Edit::Merge { fields, paths } = kind.edit(&rollout("helm"), &write.artifact, "t") else {
        panic!("a Rollout's own template is merged")
    };
    assert_eq!(
        fields["spec"]["template"]["spec"]["containers"],
        json!([{"name": "proxy", "image": "p"},
            {"name": "app", "image": "registry.test/checkout:3", "env": [{"name": "A", "value": "b"}]}])
    );
    let request = request(&write, &*kind, 3);
    let owners = |seen: &Seen| request.owners(&seen.subject, &fields, &paths);
    assert_eq!(owners(&rollout("helm"))[0].manager, "helm");
    assert_eq!(owners(&rollout("helm"))[0].field, ".spec.template.spec.containers");
    assert!(owners(&rollout("ringward")).is_empty());
    // Both own it, and what stands there is what we wrote, or is not any more.
    let both = |digest: &str| -> Seen {
        let mut seen = rollout("helm");
        let more = rollout("ringward").subject.metadata.managed_fields.unwrap();
        seen.subject.metadata.managed_fields.as_mut().unwrap().extend(more);
        let annotations = [("ringward.dev/digest".to_owned(), digest.to_owned())];
        seen.subject.metadata.annotations = Some(annotations.into());
        seen
    };
    assert!(owners(&both(IMAGE.split('@').nth(1).unwrap())).is_empty());
    assert_eq!(owners(&both("sha256:2"))[0].manager, "helm");
    // What nobody has to give up is nobody's business.
    write.artifact = Artifact(IMAGE.into());
    let same = super::tests::request(&write, &*kind, 3);
    assert!(same.owners(&rollout("helm").subject, &fields, &paths).is_empty());
}

#[test]
fn whoever_owns_one_of_two_values_is_not_passed_over_for_the_other() {
    let mut write = a_write();
    let (repository, digest) = ("image.repository".into(), "image.digest".into());
    let values = HelmValues::Parts { repository, digest };
    write.target.kind = TargetKind::FluxHelmRelease { values };
    let two = format!("registry.test/checkout@sha256:{}", "2".repeat(64));
    write.artifact = Artifact(two);
    let kind = kind::of(&write.target.kind).unwrap();
    let one = IMAGE.split('@').nth(1).unwrap();
    let owners = |repository: &str, annotated: &str| {
        // Helm's digest is ours too, as an older API server leaves it.
        let subject = serde_json::from_value(json!({
            "metadata": {"name": "checkout", "annotations": {"ringward.dev/digest": annotated},
                "managedFields": [
                    {"manager": "helm", "fieldsV1": {"f:spec": {"f:values": {"f:image": {
                        "f:repository": {}, "f:digest": {}}}}}},
                    {"manager": "ringward", "fieldsV1": {"f:spec": {"f:values": {"f:image": {
                        "f:digest": {}}}}}}]},
            "spec": {"values": {"image": {"repository": repository, "digest": one}}},
        }));
        let seen = Seen { subject: subject.unwrap(), other: None };
        let Edit::Merge { fields, paths } = kind.edit(&seen, &write.artifact, "t") else {
            panic!("values are merged")
        };
        let owners = request(&write, &*kind, 3).owners(&seen.subject, &fields, &paths);
        owners.into_iter().map(|owner| (owner.field, owner.manager)).collect::<Vec<_>>()
    };
    let of_helm = |value: &str| (format!(".spec.values.image.{value}"), "helm".to_owned());
    assert_eq!(owners("old.test/checkout", one), [of_helm("repository")]);
    // What stays as it is takes nothing from anybody.
    assert!(owners("registry.test/checkout", one).is_empty());
    assert_eq!(owners("registry.test/checkout", "sha256:2"), [of_helm("digest")]);
}
