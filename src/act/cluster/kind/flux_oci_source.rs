//! `source.toolkit.fluxcd.io/v1` OCIRepository as the source of a `kustomize.toolkit.fluxcd.io/v1`
//! Kustomization: the artifact is what the source pulls, by its digest.
//!
//! The plan names the Kustomization, and the source that it names is written to. What the Kustomization has
//! applied is told by a revision that ends with the digest.

use kube::core::{ApiResource, DynamicObject};
use serde_json::json;

use super::{
    Edit, Kind, Progress, Reference, Seen, Workers, fields, flux, flux_kustomization, resource,
};
use crate::model::ring::Artifact;

/// What a Kustomization's source pulls.
pub(super) struct FluxOciSource;

impl Kind for FluxOciSource {
    fn resource(&self) -> ApiResource {
        flux_kustomization::resource()
    }

    fn carrier(&self, kustomization: &DynamicObject) -> Result<Option<Reference>, String> {
        let instead = "let its `sourceRef` name an OCIRepository, or drive an `image`";
        carrier(kustomization, "/spec/sourceRef", "its manifests", instead).map(Some)
    }

    fn refuses(&self, seen: &Seen, artifact: &Artifact) -> Option<String> {
        refuses(seen.carrier(), artifact).or_else(|| flux_kustomization::is_silent(&seen.subject))
    }

    fn image(&self, source: &DynamicObject) -> Result<Artifact, String> {
        image(source)
    }

    fn edit(&self, _: &Seen, artifact: &Artifact, token: &str) -> Edit {
        edit(artifact, token)
    }

    fn progress(&self, seen: &Seen) -> Progress {
        let (source, kustomization) = (seen.carrier(), &seen.subject);
        if let Some(why) = flux_kustomization::is_silent(kustomization) {
            return Progress::unknown(format!("the Kustomization {why}"));
        }
        let wanted = wanted(source);
        let is_wanted = |pointer: &str| {
            wanted.is_some() && fields::text(kustomization, pointer).and_then(digest) == wanted
        };
        let pulled = pulled(source);
        if pulled != Progress::AllReady {
            return pulled;
        }
        let applied = flux::progress(kustomization, "Kustomization", None, || {
            match is_wanted("/status/lastAppliedRevision") {
                true => Progress::AllReady,
                false => Progress::progressing("it has yet to apply what its source has pulled"),
            }
        });
        // What it says of an older revision is no news of this one.
        let tried = is_wanted("/status/lastAttemptedRevision");
        if !tried && matches!(applied, Progress::Failed(_) | Progress::NotReady(_)) {
            return Progress::progressing("it has yet to try what its source has pulled");
        }
        applied
    }

    /// A revision is the digest, which the image says.
    fn revision(&self, _: &Seen) -> Option<String> {
        None
    }

    fn workers(&self, _: &Seen) -> Option<Workers> {
        None
    }
}

/// The OCIRepository that an object names at `pointer` as where it takes `what` from. `instead` is what to do where it
/// names none.
pub(super) fn carrier(
    object: &DynamicObject,
    pointer: &str,
    what: &str,
    instead: &str,
) -> Result<Reference, String> {
    let text =
        |field: &str| fields::text(object, &format!("{pointer}/{field}")).unwrap_or_default();
    if text("kind") != "OCIRepository" {
        let from = match text("kind") {
            "" => "no source of its own".to_owned(),
            kind => format!("a {kind}, whose revision ringward does not drive"),
        };
        return Err(format!("takes {what} from {from}: {instead}"));
    }
    let own = object.metadata.namespace.as_deref().unwrap_or_default();
    if !["", own].contains(&text("namespace")) {
        return Err(format!(
            "takes {what} from namespace {}: ringward writes in the target's own only",
            text("namespace")
        ));
    }
    let kind = "OCIRepository";
    let resource = resource("source.toolkit.fluxcd.io", "v1", kind, "ocirepositories");
    Ok(Reference { resource, name: text("name").to_owned() })
}

/// Why a source cannot pull that.
pub(super) fn refuses(source: &DynamicObject, artifact: &Artifact) -> Option<String> {
    let of = repository(source);
    let pinned = artifact.digest().and_then(|_| artifact.0.rsplit_once('@'));
    (pinned.map(|(repository, _)| repository) != Some(of)).then(|| {
        format!("pulls {of} by digest, and {artifact} is none of it: release {of}@sha256:...")
    })
}

/// What a source is to pull.
pub(super) fn image(source: &DynamicObject) -> Result<Artifact, String> {
    match wanted(source) {
        Some(digest) => Ok(Artifact(format!("{}@{digest}", repository(source)))),
        None => {
            Err("names no `spec.ref.digest`, and has pulled nothing: add what runs there now"
                .into())
        }
    }
}

/// What makes a source pull that.
pub(super) fn edit(artifact: &Artifact, token: &str) -> Edit {
    let mut fields = flux::request(token);
    // A digest wins over a tag and a range of versions, which may stay.
    fields["spec"] = json!({"ref": {"digest": artifact.digest()}});
    let path = ["spec", "ref", "digest"].map(String::from);
    Edit::Merge { fields, paths: vec![path[..2].to_vec(), path.to_vec()] }
}

/// How far a source is with what it is to pull.
pub(super) fn pulled(source: &DynamicObject) -> Progress {
    flux::progress(source, "OCIRepository", None, || {
        let pulled = fields::text(source, "/status/artifact/revision").and_then(digest);
        match pulled.is_some() && pulled == wanted(source) {
            true => Progress::AllReady,
            false => Progress::progressing("it has pulled another digest than it is to"),
        }
    })
}

/// The digest that the source is to pull; where it is told none, the one that it has pulled.
pub(super) fn wanted(source: &DynamicObject) -> Option<&str> {
    let told = fields::text(source, "/spec/ref/digest").filter(|digest| !digest.is_empty());
    told.or_else(|| fields::text(source, "/status/artifact/revision").and_then(digest))
}

fn repository(source: &DynamicObject) -> &str {
    let url = fields::text(source, "/spec/url").unwrap_or_default();
    url.strip_prefix("oci://").unwrap_or(url)
}

/// The digest that a revision ends with: `latest@sha256:…`, or the digest alone.
fn digest(revision: &str) -> Option<&str> {
    let digest = revision.rsplit('@').next().unwrap_or(revision);
    digest.starts_with("sha256:").then_some(digest)
}

#[cfg(test)]
mod tests;
