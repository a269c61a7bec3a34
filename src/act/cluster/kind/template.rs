//! The image of one container in a pod's template.

use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::Edit;
use crate::model::ring::Artifact;

/// The image that the template names for the container.
pub(super) fn image(object: &DynamicObject, container: &str) -> Result<Artifact, String> {
    let containers = containers(object);
    let own = containers.iter().find(|one| one["name"] == container);
    match own.map(|one| one["image"].as_str().filter(|image| !image.is_empty())) {
        Some(Some(image)) => Ok(Artifact(image.into())),
        Some(None) => Err(format!("names no image for container `{container}`")),
        None => {
            let names: Vec<&str> =
                containers.iter().filter_map(|one| one["name"].as_str()).collect();
            Err(format!("has no container `{container}`; it has: {}", names.join(", ")))
        }
    }
}

/// Applies the container's image and nothing else: the API server knows containers by their names.
pub(super) fn apply(container: &str, artifact: &Artifact) -> Edit {
    let containers = json!([{"name": container, "image": artifact}]);
    Edit::Apply {
        fields: json!({"spec": {"template": {"spec": {"containers": containers}}}}),
        image: (".spec.template.spec.containers[", "].image"),
    }
}

/// Puts the image into the list of containers as it is.
pub(super) fn merge(object: &DynamicObject, container: &str, artifact: &Artifact) -> Edit {
    let mut list = containers(object).to_vec();
    for own in list.iter_mut().filter(|one| one["name"] == container) {
        own["image"] = json!(artifact);
    }
    let path = |steps: &[&str]| -> Vec<String> {
        let template = ["spec", "template", "spec", "containers"];
        template.iter().chain(steps).map(|step| (*step).to_owned()).collect()
    };
    let key = json!({"name": container}).to_string();
    Edit::Merge {
        fields: json!({"spec": {"template": {"spec": {"containers": list}}}}),
        paths: vec![path(&[]), path(&[&key, "image"])],
    }
}

fn containers(object: &DynamicObject) -> &[Value] {
    let list = object.data.pointer("/spec/template/spec/containers").and_then(Value::as_array);
    list.map(Vec::as_slice).unwrap_or_default()
}

/// `spec.replicas`, which is one where it is not given.
pub(super) fn replicas(object: &DynamicObject) -> i64 {
    super::fields::number(object, "/spec/replicas").unwrap_or(1)
}

/// The label selector at a pointer.
pub(super) fn selector(
    object: &DynamicObject,
) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector {
    let selector = object.data.pointer("/spec/selector").cloned();
    selector.and_then(|selector| serde_json::from_value(selector).ok()).unwrap_or_default()
}
