//! Where releases come from by themselves: one file a kind of place, all of them asked for the same: what is the newest,
//! by tag and digest.
//!
//! Nothing is kept here and nothing is decided: what was found before is known by the releases that were made of it.

mod image_policy;
mod registry;

use std::{collections::BTreeMap, fmt, sync::Arc};

use futures::{FutureExt as _, future::BoxFuture};

use self::registry::Registry;
use super::{
    cluster::Kubeconfigs,
    metrics::{NoClient, auth::AuthError},
};
use crate::{
    clock::Clock,
    config::RegistrySettings,
    model::{
        ring::Artifact,
        source::{From, ReleaseSource},
        time::Span,
    },
};

/// What a source has found: the newest by its own rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    /// How it is tagged.
    pub tag: String,
    /// What it is, pinned by digest.
    pub artifact: Artifact,
}

/// Why a source found nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// In words, without a word of the other side's.
    pub why: String,
    /// For how long the other side asks to be left alone.
    pub wait: Option<Span>,
}

impl Trouble {
    fn of(why: impl Into<String>) -> Self {
        Self { why: why.into(), wait: None }
    }
}

/// Looks at a source once.
pub trait Look: Send + Sync {
    /// The newest; nothing where nothing there counts.
    fn look<'a>(
        &'a self,
        source: &'a ReleaseSource,
    ) -> BoxFuture<'a, Result<Option<Newest>, Trouble>>;
}

/// Looks at registries and clusters by the server's settings.
pub struct Places {
    registries: BTreeMap<String, Registry>,
    clusters: Arc<Kubeconfigs>,
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Places")
            .field("registries", &self.registries.keys())
            .finish_non_exhaustive()
    }
}

/// Why the settings' registries cannot be asked.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "a variant's fields are its sentence's words")]
pub enum NoRegistry {
    /// A registry that is nowhere.
    #[error("registries of the settings: {registry}: {why}")]
    Url { registry: String, why: String },
    /// Its credentials cannot be used.
    #[error("registry `{registry}` of the settings cannot be used")]
    Credentials { registry: String, source: AuthError },
    /// Its trust cannot be read.
    #[error("registry `{registry}` of the settings cannot be used")]
    Client { registry: String, source: NoClient },
}

impl Places {
    /// The registries of the settings, and the clusters behind its connections.
    ///
    /// # Errors
    /// Names the registry that cannot be used.
    pub fn new(
        registries: BTreeMap<String, RegistrySettings>,
        clusters: Arc<Kubeconfigs>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, NoRegistry> {
        let open = |(name, settings): (String, RegistrySettings)| {
            Registry::open(&name, settings, clock.clone()).map(|registry| (name, registry))
        };
        let registries = registries.into_iter().map(open).collect::<Result<_, _>>()?;
        Ok(Self { registries, clusters })
    }
}

impl Look for Places {
    fn look<'a>(
        &'a self,
        source: &'a ReleaseSource,
    ) -> BoxFuture<'a, Result<Option<Newest>, Trouble>> {
        async move {
            match &source.from {
                From::Registry(tags) => match self.registries.get(&tags.image.registry) {
                    Some(registry) => registry.newest(tags).await,
                    None => Err(Trouble::of(format!(
                        "the settings name no registry {}: give it under `registries`",
                        tags.image.registry
                    ))),
                },
                From::ImagePolicy(place) => {
                    let object = self.clusters.image_policy(place).await.map_err(Trouble::of)?;
                    image_policy::newest(&object).map_err(|why| {
                        Trouble::of(format!(
                            "ImagePolicy {}/{} in {}: {why}",
                            place.namespace, place.name, place.cluster
                        ))
                    })
                }
            }
        }
        .boxed()
    }
}
