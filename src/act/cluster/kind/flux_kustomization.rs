//! `kustomize.toolkit.fluxcd.io/v1` Kustomization: one image of `spec.images`, by its digest.
//!
//! The list has no keys for the API server: it is merged as a whole, and whose it is is read from
//! `managedFields`.

use kube::core::{ApiResource, DynamicObject};
use serde_json::{Value, json};

use super::{Edit, Kind, Progress, Seen, Workers, fields, flux, kustomize};
use crate::model::ring::Artifact;

/// One image of a Kustomization.
pub(super) struct FluxKustomization {
    /// Its name in the manifests.
    pub(super) image: String,
}

impl Kind for FluxKustomization {
    fn resource(&self) -> ApiResource {
        resource()
    }

    fn refuses(&self, seen: &Seen, _: &Artifact) -> Option<String> {
        is_silent(&seen.subject)
    }

    fn image(&self, carrier: &DynamicObject) -> Result<Artifact, String> {
        let entry = images(carrier).iter().find(|entry| entry["name"] == self.image.as_str());
        kustomize::read(entry, &self.image).ok_or_else(|| {
            format!(
                "has no entry `{0}` in `spec.images`: add what runs there now, as in {{name: {0}, digest: \
                 ...}}",
                self.image
            )
        })
    }

    fn edit(&self, seen: &Seen, artifact: &Artifact, token: &str) -> Edit {
        let ours = kustomize::entry(&self.image, artifact);
        let mut list = images(&seen.subject).to_vec();
        match list.iter_mut().find(|entry| entry["name"] == self.image.as_str()) {
            Some(entry) => *entry = ours,
            None => list.push(ours),
        }
        let mut fields = flux::request(token);
        fields["spec"] = json!({"images": list});
        Edit::Merge { fields, paths: vec![vec!["spec".into(), "images".into()]] }
    }

    fn progress(&self, seen: &Seen) -> Progress {
        let object = &seen.subject;
        if let Some(why) = is_silent(object) {
            return Progress::unknown(format!("the Kustomization {why}"));
        }
        flux::progress(object, "Kustomization", None, || {
            let revision = |field: &str| fields::text(object, field);
            let applied = revision("/status/lastAppliedRevision");
            match applied.is_some() && applied == revision("/status/lastAttemptedRevision") {
                true => Progress::AllReady,
                false => Progress::progressing("ready at an older revision than it tries"),
            }
        })
    }

    /// A revision is of the whole repository, and says nothing of this image's deploys.
    fn revision(&self, _: &Seen) -> Option<String> {
        None
    }

    fn workers(&self, _: &Seen) -> Option<Workers> {
        None
    }
}

/// The resource of Kustomizations.
pub(super) fn resource() -> ApiResource {
    super::resource("kustomize.toolkit.fluxcd.io", "v1", "Kustomization", "kustomizations")
}

/// Why a Kustomization says nothing of what it applies, in words that begin with a verb.
pub(super) fn is_silent(kustomization: &DynamicObject) -> Option<String> {
    let checks = kustomization.data.pointer("/spec/healthChecks").and_then(Value::as_array);
    let waits =
        fields::yes(kustomization, "/spec/wait") || checks.is_some_and(|checks| !checks.is_empty());
    (!waits).then(|| {
        "does not say how what it applies does: set its `spec.wait: true`, or give it \
         `spec.healthChecks`"
            .to_owned()
    })
}

fn images(object: &DynamicObject) -> &[Value] {
    let list = object.data.pointer("/spec/images").and_then(Value::as_array);
    list.map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests;
