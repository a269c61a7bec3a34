//! An image among a chart's values.

use crate::model::ring::{Artifact, HelmValues};

use super::kustomize;

/// The image that the values name; `value` reads the one at a path.
///
/// # Errors
/// Those of `value`.
pub(super) fn read<'a>(
    values: &HelmValues,
    value: impl Fn(&str) -> Result<&'a str, String>,
) -> Result<Artifact, String> {
    Ok(Artifact(match values {
        HelmValues::Image { image } => value(image)?.to_owned(),
        HelmValues::Parts { repository, digest } => {
            format!("{}@{}", value(repository)?, value(digest)?)
        }
    }))
}

/// What each of the values has to be for the artifact.
pub(super) fn of<'a>(values: &'a HelmValues, artifact: &'a Artifact) -> Vec<(&'a str, &'a str)> {
    match values {
        HelmValues::Image { image } => vec![(image, &artifact.0)],
        HelmValues::Parts { repository, digest } => vec![
            (repository, kustomize::repository(artifact)),
            (digest, artifact.digest().unwrap_or_default()),
        ],
    }
}

/// Why the values cannot name the artifact.
pub(super) fn refuses(values: &HelmValues, artifact: &Artifact) -> Option<String> {
    match values {
        HelmValues::Parts { .. } if artifact.digest().is_none() => {
            Some(format!("takes a digest, and {artifact} has none: pin the release by its digest"))
        }
        HelmValues::Parts { .. } | HelmValues::Image { .. } => None,
    }
}
