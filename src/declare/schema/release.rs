//! What lies under `releases/`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    scalar::{Duration, Text},
    words::{Ascent, Lane},
};

/// A release declared in Git: it is created once, by the commit that brings it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Release {
    /// The RingPlan that is released.
    #[schemars(required)]
    pub plan: Option<Text>,
    /// Its version: 1 to 100 letters, digits and `. _ + -`. A document that changes what an existing version
    /// deploys changes nothing.
    #[schemars(required)]
    pub version: Option<Text>,
    /// What is deployed.
    #[schemars(required)]
    pub artifact: Option<Deployed>,
    /// By which lane it goes.
    pub lane: Option<Lane>,
    /// Why; the hotfix lane needs it.
    pub reason: Option<Text>,
    /// Whether it is never to be rolled back automatically.
    #[serde(default)]
    pub irreversible: bool,
    /// The version of the same plan that must have passed everywhere first.
    pub requires: Option<Text>,
}

/// What is deployed: one of both.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Deployed {
    /// An image pinned by digest: `registry/app@sha256:` and 64 hexadecimal digits.
    pub image: Option<Text>,
    /// Of a plan whose target is a feature flag, what it serves: `on`, or `on=25%,off`.
    pub serve: Option<Text>,
}

/// Where releases come from by themselves: one of both places.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReleaseSource {
    /// The RingPlan that is released.
    #[schemars(required)]
    pub plan: Option<Text>,
    /// The tags of a repository, by a registry of the server's settings.
    pub registry: Option<RegistryTags>,
    /// A Flux ImagePolicy, which tells the digest of what it has chosen.
    pub image_policy: Option<ImagePolicy>,
    /// The time between two looks: 5m at a registry and 1m at an ImagePolicy, unless given; 10s at the least.
    pub interval: Option<Duration>,
}

/// Which tag of a repository is released.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RegistryTags {
    /// The repository, with its registry and without a tag: `registry.example.com/shop/checkout`.
    #[schemars(required)]
    pub image: Option<Text>,
    /// Tags that count; all of them where it is not given.
    pub filter_tags: Option<FilterTags>,
    /// Which of them is the newest.
    #[schemars(required)]
    pub policy: Option<TagPolicy>,
}

/// Tags that count.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FilterTags {
    /// A regular expression that finds something in them.
    #[schemars(required)]
    pub pattern: Option<Text>,
    /// What of them is compared, by the groups of the pattern: `$version`.
    pub extract: Option<Text>,
}

/// Which of two tags is the newer: one of these.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TagPolicy {
    /// By semantic versions.
    pub semver: Option<SemverPolicy>,
    /// By letters.
    pub alphabetical: Option<OrderPolicy>,
    /// By numbers.
    pub numerical: Option<OrderPolicy>,
}

/// Semantic versions of a range.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SemverPolicy {
    /// Such as `>=1.4.0 <2`, `^1.4` or `1.4.x`; versions before a release only where it names one (`>=1.4.0-0`).
    #[schemars(required)]
    pub range: Option<Text>,
}

/// The last one, or the first one.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OrderPolicy {
    /// asc takes the last one (the default), desc the first one.
    pub order: Option<Ascent>,
}

/// A Flux ImagePolicy of a cluster.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImagePolicy {
    /// The Cluster that it is in.
    #[schemars(required)]
    pub cluster: Option<Text>,
    /// Its namespace.
    #[schemars(required)]
    pub namespace: Option<Text>,
    /// Its name.
    #[schemars(required)]
    pub name: Option<Text>,
}
