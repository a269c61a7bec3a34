//! A release as somebody asks for it, whichever way that comes in; and what names and images may look like.

use std::cmp::Ordering;

use serde::Serialize;

use super::{ring::Artifact, semver::Semver};
use crate::ids::{PlanName, Version};

/// What a release is asked for by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Wanted {
    /// The plan.
    pub plan: PlanName,
    /// Its version; one that [`is_version`].
    pub version: Version,
    /// What is deployed.
    pub artifact: Artifact,
    /// Whether it goes by the hotfix lane.
    pub hotfix: bool,
    /// Why.
    pub reason: Option<String>,
    /// Whether it is never to be rolled back automatically.
    pub irreversible: bool,
    /// The version of the same plan that must have passed everywhere first.
    pub requires: Option<Version>,
}

/// What a version looks like, for people.
pub const VERSION: &str =
    "a version has 1 to 100 letters, digits and . _ + -, and begins with a letter or digit";

/// A version that can stand in a path and in a key.
pub fn is_version(text: &str) -> bool {
    let inside = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    text.len() <= 100
        && text.chars().next().is_some_and(|c| c.is_ascii_alphanumeric())
        && text.chars().all(inside)
}

/// The longest reason, in characters.
const REASON: usize = 1_000;

/// What is wrong with a text for people, if something is.
pub fn wrong_text(text: &str) -> Option<String> {
    let odd = |c: char| c.is_control() && c != '\n' && c != '\t';
    if text.trim().is_empty() {
        Some("it is empty: say it in words, or leave it out".into())
    } else if text.chars().count() > REASON {
        Some(format!("it is longer than {REASON} characters"))
    } else if text.chars().any(odd) {
        Some("it has control characters".into())
    } else {
        None
    }
}

/// The longest name of a principal, in bytes: that of a ServiceAccount has its namespace in it.
pub const LONGEST_NAME: usize = 100;

/// Whether a principal can have that name: it stands in keys, which slashes divide.
pub fn is_name(name: &str) -> bool {
    let end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let inside = |c: char| c.is_ascii_alphanumeric() || "._@+-".contains(c);
    name.len() <= LONGEST_NAME
        && end(name.chars().next())
        && end(name.chars().last())
        && name.chars().all(inside)
}

/// What is wrong with an image that a release deploys, if something is.
pub fn wrong_image(image: &str) -> Option<&'static str> {
    let pinned = "the image must be pinned by digest: REF@sha256: and 64 hexadecimal digits";
    let artifact = Artifact(image.into());
    let Some((reference, _)) = artifact.digest().and_then(|_| image.rsplit_once('@')) else {
        return Some(pinned);
    };
    let odd = |c: char| !c.is_ascii_graphic() || c == '@';
    (reference.is_empty() || image.len() > 500 || reference.contains(odd))
        .then_some("this is no image reference: registry/name, then @sha256: and the digest")
}

/// Which of two versions is the newer by their names: as semantic versions where both are, and otherwise as people
/// read them, numbers as numbers. Versions that semver takes for one are told apart by their letters.
pub fn newer(a: &str, b: &str) -> Ordering {
    let by_letters = || parts(a).cmp(parts(b)).then_with(|| a.cmp(b));
    match (Semver::read(a), Semver::read(b)) {
        (Some(first), Some(second)) => first.cmp(&second).then_with(by_letters),
        (Some(_), None) | (None, Some(_)) | (None, None) => by_letters(),
    }
}

/// A text in turns of digits and of all else; digits without zeros before them, by length first.
fn parts(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let digits = rest.chars().next()?.is_ascii_digit();
        let end = rest.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(rest.len());
        let (part, after) = rest.split_at(end);
        rest = after;
        let part = if digits { part.trim_start_matches('0') } else { part };
        Some((if digits { part.len() + 1 } else { 0 }, part))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newer_of_two_versions_is_told_by_their_names() {
        for (older, later) in [
            ("1.9.0", "1.10.0"),
            ("v1.0.0-rc.1", "1.0.0"),
            ("main-9", "main-10"),
            ("2026.11.9", "2026.11.27"),
            ("20261109-1", "20261127-1"),
            ("a", "b"),
            ("build7", "build7a"),
            ("1.0.0+a", "1.0.0+b"),
        ] {
            assert_eq!(newer(older, later), Ordering::Less, "{older} {later}");
            assert_eq!(newer(later, older), Ordering::Greater, "{older} {later}");
        }
        assert_eq!(newer("1.0", "1.0"), Ordering::Equal);
    }
}
