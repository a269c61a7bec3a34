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

/// The same as Argo CD writes it: `NAME=REPOSITORY@DIGEST`, and without what is before the equals sign where
/// it is the same.
pub(super) fn text(name: &str, artifact: &Artifact) -> String {
    let (repository, tag) = split(artifact);
    let image = match (artifact.digest(), tag) {
        (Some(digest), _) => format!("{repository}@{digest}"),
        (None, Some(tag)) => format!("{repository}:{tag}"),
        (None, None) => repository.to_owned(),
    };
    if repository == name { image } else { format!("{name}={image}") }
}

/// The image in such a text; nothing where it says neither a tag nor a digest.
pub(super) fn parse(text: &str) -> Option<Artifact> {
    let image = text.split_once('=').map_or(text, |(_, image)| image);
    let artifact = Artifact(image.into());
    let says = image.contains('@') || split(&artifact).1.is_some();
    says.then_some(artifact)
}

/// What such a text says that the image is called in the manifests.
pub(super) fn name(text: &str) -> &str {
    let image = || text.split('@').next().unwrap_or(text);
    match text.split_once('=') {
        Some((name, _)) => name,
        None => match image().rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => repository,
            Some(_) | None => image(),
        },
    }
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
