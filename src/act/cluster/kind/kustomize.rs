//! An image as kustomize names it: what it is called in the manifests, and what takes its place.

use serde_json::{Value, json};

use crate::model::ring::Artifact;

/// The entry that puts the artifact in the place of `name`.
pub(super) fn entry(name: &str, artifact: &Artifact) -> Value {
    let (repository, tag) = split(artifact);
    match (artifact.digest(), tag) {
        (Some(digest), _) => json!({"name": name, "newName": repository, "digest": digest}),
        (None, Some(tag)) => json!({"name": name, "newName": repository, "newTag": tag}),
        (None, None) => json!({"name": name, "newName": repository}),
    }
}

/// What an entry puts in the place of `name`; nothing where it says neither a tag nor a digest.
pub(super) fn read(entry: Option<&Value>, name: &str) -> Option<Artifact> {
    let text = |field: &str| entry?[field].as_str().filter(|text| !text.is_empty());
    let repository = text("newName").unwrap_or(name);
    let digest = text("digest").map(|digest| format!("{repository}@{digest}"));
    digest.or_else(|| Some(format!("{repository}:{}", text("newTag")?))).map(Artifact)
}

/// The repository alone.
pub(super) fn repository(artifact: &Artifact) -> &str {
    split(artifact).0
}

/// The repository, and the tag if there is one; a colon before the last slash belongs to a port.
fn split(artifact: &Artifact) -> (&str, Option<&str>) {
    let image = artifact.0.split('@').next().unwrap_or(&artifact.0);
    match image.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        Some(_) | None => (image, None),
    }
}
