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
        let text = |field: &str| {
            fields::text(kustomization, &format!("/spec/sourceRef/{field}")).unwrap_or_default()
        };
        if text("kind") != "OCIRepository" {
            return Err(format!(
                "takes its manifests from a {}, whose revision ringward does not drive: let its \
                 `sourceRef` name an OCIRepository, or drive an `image`",
                text("kind")
            ));
        }
        let own = kustomization.metadata.namespace.as_deref().unwrap_or_default();
        if !["", own].contains(&text("namespace")) {
            return Err(format!(
                "takes its manifests from namespace {}: ringward writes in the target's own only",
                text("namespace")
            ));
        }
        let name = text("name").to_owned();
        let kind = "OCIRepository";
        let resource = resource("source.toolkit.fluxcd.io", "v1", kind, "ocirepositories");
        Ok(Some(Reference { resource, name }))
    }

    fn refuses(&self, seen: &Seen, artifact: &Artifact) -> Option<String> {
        let of = repository(seen.carrier());
        let pinned = artifact.digest().and_then(|_| artifact.0.rsplit_once('@'));
        if pinned.map(|(repository, _)| repository) != Some(of) {
            return Some(format!(
                "pulls {of} by digest, and {artifact} is none of it: release {of}@sha256:..."
            ));
        }
        flux_kustomization::is_silent(&seen.subject)
    }

    fn image(&self, source: &DynamicObject) -> Result<Artifact, String> {
        match wanted(source) {
            Some(digest) => Ok(Artifact(format!("{}@{digest}", repository(source)))),
            None => {
                Err("names no `spec.ref.digest`, and has pulled nothing: add what runs there now"
                    .into())
            }
        }
    }

    fn edit(&self, _: &Seen, artifact: &Artifact, token: &str) -> Edit {
        let mut fields = flux::request(token);
        // A digest wins over a tag and a range of versions, which may stay.
        fields["spec"] = json!({"ref": {"digest": artifact.digest()}});
        let path = ["spec", "ref", "digest"].map(String::from);
        Edit::Merge { fields, paths: vec![path[..2].to_vec(), path.to_vec()] }
    }

    fn progress(&self, seen: &Seen) -> Progress {
        let (source, kustomization) = (seen.carrier(), &seen.subject);
        if let Some(why) = flux_kustomization::is_silent(kustomization) {
            return Progress::unknown(format!("the Kustomization {why}"));
        }
        let wanted = wanted(source);
        let is_wanted = |object: &DynamicObject, pointer: &str| {
            wanted.is_some() && fields::text(object, pointer).and_then(digest) == wanted
        };
        let pulled = flux::progress(source, "OCIRepository", None, || {
            match is_wanted(source, "/status/artifact/revision") {
                true => Progress::AllReady,
                false => Progress::progressing("it has pulled another digest than it is to"),
            }
        });
        if pulled != Progress::AllReady {
            return pulled;
        }
        let applied = flux::progress(kustomization, "Kustomization", None, || {
            match is_wanted(kustomization, "/status/lastAppliedRevision") {
                true => Progress::AllReady,
                false => Progress::progressing("it has yet to apply what its source has pulled"),
            }
        });
        // What it says of an older revision is no news of this one.
        let tried = is_wanted(kustomization, "/status/lastAttemptedRevision");
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

/// The digest that the source is to pull; where it is told none, the one that it has pulled.
fn wanted(source: &DynamicObject) -> Option<&str> {
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
