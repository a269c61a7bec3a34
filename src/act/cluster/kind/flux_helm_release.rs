//! `helm.toolkit.fluxcd.io/v2` HelmRelease: the image among its values.

use kube::core::{ApiResource, DynamicObject};
use serde_json::{Value, json};

use super::{
    Edit, Kind, Progress, Seen, Workers, fields,
    flux::{self, current},
    values,
};
use crate::model::ring::{Artifact, HelmValues};

/// Lets it begin anew with what it has given up; it counts only beside a request of the same token.
const RESET: &str = "reconcile.fluxcd.io/resetAt";

/// The image among a HelmRelease's values.
pub(super) struct FluxHelmRelease {
    pub(super) values: HelmValues,
}

impl Kind for FluxHelmRelease {
    fn resource(&self) -> ApiResource {
        resource()
    }

    fn image(&self, carrier: &DynamicObject) -> Result<Artifact, String> {
        values::read(&self.values, |path| value(carrier, path))
    }

    fn refuses(&self, seen: &Seen, artifact: &Artifact) -> Option<String> {
        is_silent(&seen.subject).or_else(|| values::refuses(&self.values, artifact))
    }

    fn edit(&self, _: &Seen, artifact: &Artifact, token: &str) -> Edit {
        let mut fields = flux::request(token);
        // Without it nothing comes of the same values again once it has given them up.
        fields["metadata"]["annotations"][RESET] = json!(token);
        let mut paths = Vec::new();
        let mut set = |path: &str, text: &str| {
            let steps: Vec<&str> = ["spec", "values"].into_iter().chain(path.split('.')).collect();
            put(&mut fields, &steps, text);
            // Whoever owns the value, or what it is in as one.
            let above = (2..=steps.len()).filter_map(|n| steps.get(..n));
            paths.extend(above.map(|steps| steps.iter().map(|s| (*s).to_owned()).collect()));
        };
        for (path, text) in values::of(&self.values, artifact) {
            set(path, text);
        }
        paths.sort();
        paths.dedup();
        Edit::Merge { fields, paths }
    }

    fn progress(&self, seen: &Seen) -> Progress {
        let object = &seen.subject;
        if let Some(why) = is_silent(object) {
            return Progress::unknown(format!("the HelmRelease {why}"));
        }
        flux::progress(object, "HelmRelease", remediated(object), || {
            let text = |pointer: &str| fields::text(object, pointer);
            let newest = text("/status/history/0/configDigest");
            let attempted = text("/status/lastAttemptedConfigDigest");
            let deployed = text("/status/history/0/status") == Some("deployed");
            match deployed && (attempted.is_none() || newest == attempted) {
                true => Progress::AllReady,
                false => Progress::progressing("its newest release is not what was asked for"),
            }
        })
    }

    /// The number of Helm's release: another one with the same values is another deploy.
    fn revision(&self, seen: &Seen) -> Option<String> {
        number(&seen.subject)
    }

    fn workers(&self, _: &Seen) -> Option<Workers> {
        None
    }
}

/// The resource of HelmReleases.
pub(super) fn resource() -> ApiResource {
    super::resource("helm.toolkit.fluxcd.io", "v2", "HelmRelease", "helmreleases")
}

/// That it has taken an upgrade back, for good: between two tries it is remediated too.
pub(super) fn remediated(release: &DynamicObject) -> Option<String> {
    let tries = current(release, "Reconciling").is_some_and(|condition| condition.is("True"));
    let remediated = current(release, "Remediated").filter(|_| !tries);
    remediated.map(|condition| format!("remediated: {}", condition.words()))
}

/// The number of Helm's newest release.
pub(super) fn number(release: &DynamicObject) -> Option<String> {
    Some(fields::number(release, "/status/history/0/version")?.to_string())
}

/// Why a HelmRelease says nothing of what it upgrades, in words that begin with a verb.
pub(super) fn is_silent(release: &DynamicObject) -> Option<String> {
    fields::yes(release, "/spec/upgrade/disableWait").then(|| {
        "does not say how what it upgrades does: take `disableWait` out of its `spec.upgrade`"
            .to_owned()
    })
}

/// The value at a path, through objects alone.
fn value<'a>(release: &'a DynamicObject, path: &str) -> Result<&'a str, String> {
    let missing = || format!("has no `{path}` in `spec.values`: add what runs there now");
    let mut at = release.data.pointer("/spec/values").ok_or_else(missing)?;
    for step in path.split('.') {
        if at.is_array() {
            // A merge patch knows no items: an object would take the place of the whole list.
            return Err(format!(
                "has a list on the way to `{path}` in `spec.values`, which cannot be written through: \
                 let `values` name a path of objects"
            ));
        }
        at = at.get(step).ok_or_else(missing)?;
    }
    at.as_str().filter(|text| !text.is_empty()).ok_or_else(missing)
}

fn put(object: &mut Value, path: &[&str], text: &str) {
    match path.split_first() {
        None => *object = json!(text),
        Some((step, rest)) => put(&mut object[*step], rest, text),
    }
}

#[cfg(test)]
mod tests;
