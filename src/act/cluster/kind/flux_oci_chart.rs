//! `source.toolkit.fluxcd.io/v1` OCIRepository as the chart of a `helm.toolkit.fluxcd.io/v2` HelmRelease: the
//! artifact is the chart that the source pulls, by its digest.
//!
//! The plan names the HelmRelease, and the source that its `chartRef` names is written to. What Helm has deployed is
//! told by the digest in the newest entry of its history.

use kube::core::{ApiResource, DynamicObject};

use super::{
    Edit, Kind, Progress, Reference, Seen, Workers, fields, flux,
    flux_helm_release::{self, remediated},
    flux_oci_source::{self, wanted},
};
use crate::model::ring::Artifact;

/// The chart of a HelmRelease.
pub(super) struct FluxOciChart;

impl Kind for FluxOciChart {
    fn resource(&self) -> ApiResource {
        flux_helm_release::resource()
    }

    fn carrier(&self, release: &DynamicObject) -> Result<Option<Reference>, String> {
        let instead = "let its `chartRef` name an OCIRepository, or drive `values`: the version of a chart in a \
                       repository of another kind can be moved, and is no digest";
        flux_oci_source::carrier(release, "/spec/chartRef", "its chart", instead).map(Some)
    }

    fn refuses(&self, seen: &Seen, artifact: &Artifact) -> Option<String> {
        flux_oci_source::refuses(seen.carrier(), artifact)
            .or_else(|| flux_helm_release::is_silent(&seen.subject))
    }

    fn image(&self, source: &DynamicObject) -> Result<Artifact, String> {
        flux_oci_source::image(source)
    }

    fn edit(&self, _: &Seen, artifact: &Artifact, token: &str) -> Edit {
        flux_oci_source::edit(artifact, token)
    }

    fn progress(&self, seen: &Seen) -> Progress {
        let (source, release) = (seen.carrier(), &seen.subject);
        if let Some(why) = flux_helm_release::is_silent(release) {
            return Progress::unknown(format!("the HelmRelease {why}"));
        }
        let pulled = flux_oci_source::pulled(source);
        if pulled != Progress::AllReady {
            return pulled;
        }
        let is_wanted = |pointer: &str| {
            let digest = fields::text(release, pointer);
            digest.is_some() && digest == wanted(source)
        };
        let upgraded = flux::progress(release, "HelmRelease", remediated(release), || {
            let deployed = fields::text(release, "/status/history/0/status") == Some("deployed");
            match deployed && is_wanted("/status/history/0/ociDigest") {
                true => Progress::AllReady,
                false => Progress::progressing("its newest release is not of that chart"),
            }
        });
        // What it says of an older chart is no news of this one.
        let tried = is_wanted("/status/lastAttemptedRevisionDigest");
        if !tried && matches!(upgraded, Progress::Failed(_) | Progress::NotReady(_)) {
            return Progress::progressing("it has yet to try the chart that its source has pulled");
        }
        upgraded
    }

    /// The number of Helm's release: another one of the same chart is another deploy.
    fn revision(&self, seen: &Seen) -> Option<String> {
        flux_helm_release::number(&seen.subject)
    }

    fn workers(&self, _: &Seen) -> Option<Workers> {
        None
    }
}

#[cfg(test)]
mod tests;
