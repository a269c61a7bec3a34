//! Flux' `ImagePolicy`: its controller has chosen a tag, and says which digest that is.

use kube::api::DynamicObject;
use serde_json::Value;

use super::Newest;
use crate::model::{release::wrong_image, ring::Artifact};

/// What the policy has chosen; nothing where it has not chosen yet.
///
/// # Errors
/// In words: it does not say which digest that is, or what it says is no image.
pub(super) fn newest(object: &DynamicObject) -> Result<Option<Newest>, String> {
    let status = object.data.get("status").unwrap_or(&Value::Null);
    let text = |value: &Value, key: &str| {
        value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    // Since image-reflector-controller 0.35 the parts are there by themselves; before, and beside them, in one text.
    let latest = status.get("latestRef").unwrap_or(&Value::Null);
    let parts = match (text(latest, "name"), text(latest, "tag")) {
        (Some(name), Some(tag)) => Some((name, tag, text(latest, "digest"))),
        (Some(_) | None, Some(_) | None) => text(status, "latestImage").and_then(|image| {
            let (image, digest) = match image.split_once('@') {
                Some((image, digest)) => (image.to_owned(), Some(digest.to_owned())),
                None => (image, None),
            };
            // A port is no tag: what follows it has a slash.
            let (name, tag) = image.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'))?;
            Some((name.to_owned(), tag.to_owned(), digest))
        }),
    };
    let Some((name, tag, digest)) = parts else { return Ok(None) };
    let digest = digest.ok_or(
        "it has chosen a tag and tells no digest: set spec.digestReflectionPolicy to IfNotPresent or Always",
    )?;
    let image = format!("{name}@{digest}");
    match wrong_image(&image) {
        Some(_) => Err("what it has chosen is no image with a digest".into()),
        None => Ok(Some(Newest { tag, artifact: Artifact(image) })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(status: Value) -> Result<Option<Newest>, String> {
        let object = json!({
            "apiVersion": "image.toolkit.fluxcd.io/v1", "kind": "ImagePolicy",
            "metadata": {"name": "checkout", "namespace": "flux-system"}, "status": status,
        });
        newest(&serde_json::from_value(object).expect("an object"))
    }

    #[test]
    fn what_was_chosen_counts_only_with_its_digest() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let image = Artifact(format!("registry.example:5000/shop/checkout@{digest}"));
        let expected = Ok(Some(Newest { tag: "2.14.0".into(), artifact: image }));
        let name = "registry.example:5000/shop/checkout";
        // v1, v1beta2 as it is now, and as it was before latestRef.
        let parts = json!({"name": name, "tag": "2.14.0", "digest": digest});
        assert_eq!(read(json!({"latestRef": parts})), expected);
        assert_eq!(read(json!({"latestImage": format!("{name}:2.14.0@{digest}")})), expected);
        assert_eq!(
            read(json!({"latestRef": parts, "latestImage": format!("{name}:2.13.0@{digest}")})),
            expected
        );
        for nothing in [
            json!(null),
            json!({}),
            json!({"latestRef": {}}),
            json!({"latestImage": ""}),
            json!({"latestImage": "registry.example:5000/shop/checkout"}),
        ] {
            assert_eq!(read(nothing.clone()), Ok(None), "{nothing}");
        }
        for bare in [
            json!({"latestRef": {"name": name, "tag": "2.14.0"}}),
            json!({"latestImage": format!("{name}:2.14.0")}),
        ] {
            let why = read(bare).expect_err("no digest");
            assert!(why.contains("digestReflectionPolicy"), "{why}");
        }
        for digest in ["sha256:1", "sha512:1", "x"] {
            let odd = json!({"latestRef": {"name": name, "tag": "2.14.0", "digest": digest}});
            assert!(read(odd).is_err(), "{digest}");
        }
    }
}
