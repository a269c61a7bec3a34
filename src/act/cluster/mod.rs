//! Kubernetes clusters: one file per kind of target, over kube.
//!
//! What a kind's file ([`kind`]) answers for is pure: what is written into an object, and how its controller's
//! status is read. What is common to all kinds is here and in its neighbours: the connection, consent,
//! ownership and epochs ([`write`]), the watch ([`view`] over [`informer`] over
//! [`sight`]), whose turn it is ([`turns`]), what the pods say ([`pods`]), and what a failed call means.

mod checkup;
mod connection;
mod failure;
mod fields;
mod image_policy;
mod informer;
mod kind;
mod kubeconfig;
mod nodes;
mod ofrep;
mod pods;
mod reviews;
mod sight;
mod turns;
mod view;
mod write;

use std::sync::Arc;

use futures::{FutureExt, future::BoxFuture, stream::BoxStream};

use self::connection::Link;
pub use self::{
    checkup::{Checkup, Permission},
    connection::{Connection, Kubeconfigs},
    reviews::TokenReviews,
};
use super::{Deployer, Found, WriteError};
use crate::{
    decide::{
        command::{Promote, Write},
        event::TargetState,
        part::Workload,
    },
    ids::PlanName,
    model::{residency::Witness, ring::Target},
};

/// The field manager under which everything is written, and the prefix of every annotation.
const MANAGER: &str = "ringward";

/// The annotations on a target. People write the first two, ringward all the others.
mod annotation {
    /// The plan that may write to the object: its owner's consent.
    pub(super) const MANAGED_BY: &str = "ringward.dev/managed-by";
    /// `image` lets ringward take the image from another field manager, once; it makes it `taken`.
    pub(super) const TAKE_OVER: &str = "ringward.dev/take-over";
    /// The release on whose behalf it was written.
    pub(super) const RELEASE: &str = "ringward.dev/release";
    /// The write's idempotency key.
    pub(super) const INTENT: &str = "ringward.dev/intent";
    /// The writer's epoch.
    pub(super) const EPOCH: &str = "ringward.dev/epoch";
    /// The image that ran before the first write; with the write itself, so that a crash between the
    /// write and its record does not lose what there is to go back to. The next write drops it.
    pub(super) const BEFORE: &str = "ringward.dev/before";
    /// What a status without a generation said before the write.
    pub(super) const FENCE: &str = "ringward.dev/fence";
    /// What a feature flag serves by the write.
    pub(super) const SERVES: &str = "ringward.dev/serves";
    /// The digest, where the artifact is pinned by one.
    pub(super) const DIGEST: &str = "ringward.dev/digest";
}

/// One cluster, reached through one connection.
#[derive(Debug)]
struct Cluster {
    link: Arc<Link>,
}

impl Deployer for Cluster {
    fn write(&self, write: &Write, epoch: u64) -> BoxFuture<'_, Result<Found, WriteError>> {
        let write = write.clone();
        async move { write::write(&self.link, &write, epoch).await }.boxed()
    }

    fn promote(&self, promote: &Promote, epoch: u64) -> BoxFuture<'_, Result<(), WriteError>> {
        let promote = promote.clone();
        async move { write::promote::promote(&self.link, &promote, epoch).await }.boxed()
    }

    fn watch(&self, plan: &PlanName, target: &Target) -> BoxStream<'static, TargetState> {
        tracing::debug!(%plan, link = self.link.name(), object = %target.name, "watching");
        view::watch(self.link.clone(), target.clone())
    }

    fn workload(&self, target: &Target) -> BoxFuture<'_, Result<Workload, String>> {
        let target = target.clone();
        async move { view::workload(&self.link, &target).await }.boxed()
    }

    fn witness(&self) -> BoxFuture<'_, Result<Option<Witness>, String>> {
        nodes::witness(&self.link).boxed()
    }
}
