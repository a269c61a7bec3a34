//! Effects at the edge: a command goes out, an outcome comes back as an event. Never decides, never
//! writes the store.
//!
//! [`dispatch`] queues, retries and gives up; what is behind it are adapters, each of one kind:
//! a [`Deployer`] for a cluster and the services beside it ([`flags`], [`deployers`]), a [`Measurer`] for metric sources;
//! [`sources`] puts both behind one for gates that ask the clusters themselves; [`releases`] looks where releases come
//! from by themselves. An adapter makes one attempt and
//! says how it ended; patience is the dispatcher's alone.

pub mod cluster;
pub mod deployers;
pub mod dispatch;
pub mod flags;
mod glance;
mod jitter;
pub mod metrics;
mod note;
pub mod notify;
pub mod releases;
pub mod sources;

use std::sync::Arc;

use futures::{future::BoxFuture, stream::BoxStream};

use crate::{
    decide::{
        command::{Measure, Promote, Write},
        event::{Answer, TargetState},
        part::Workload,
    },
    ids::PlanName,
    model::{residency::Witness, ring::Target},
};

/// Asks a metric source.
pub trait Measurer: Send + Sync {
    /// Asks once, when its turn has come, and waits no longer than the measurement says from then on. A
    /// source that does not answer, or not usably, is a reading of Error.
    fn measure(&self, measure: &Measure) -> BoxFuture<'_, Answer>;
}

/// Writes to and watches targets in one cluster.
pub trait Deployer: Send + Sync {
    /// Makes one attempt to write; a repeat of what the target already carries changes nothing.
    ///
    /// `epoch` says which writer decided it: a target that carries a higher one refuses.
    fn write(&self, write: &Write, epoch: u64) -> BoxFuture<'_, Result<Found, WriteError>>;

    /// Makes one attempt to end the pause of its controller's own that a target stands at. Where it stands there no
    /// more, nothing is done.
    ///
    /// # Errors
    /// As of a write; it is refused, too, where the target carries another intent by now.
    fn promote(&self, promote: &Promote, epoch: u64) -> BoxFuture<'_, Result<(), WriteError>>;

    /// The target's states, each as it changes; Unknown while the cluster cannot be seen. Never ends.
    fn watch(&self, plan: &PlanName, target: &Target) -> BoxStream<'static, TargetState>;

    /// How the target's replicas and pods do now, or why nobody can tell; in words.
    fn workload(&self, target: &Target) -> BoxFuture<'_, Result<Workload, String>>;

    /// What the cluster's nodes say of where they are; nothing where it has none.
    ///
    /// # Errors
    /// Why they cannot be seen, in words.
    fn witness(&self) -> BoxFuture<'_, Result<Option<Witness>, String>>;
}

/// What ran in a target, healthy and under no intent of ringward's, before the write that was made or
/// repeated; nothing where something else was there, or nobody knows any more.
pub type Found = Option<TargetState>;

/// Why a write did not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// It never will, until somebody does what the words say.
    #[error("refused: {0}")]
    Refused(String),
    /// Whether it did is not known, or the cluster could not take it now; the same write may be tried
    /// again.
    #[error("unreachable: {0}")]
    Unreachable(String),
}

/// Finds the deployer behind the name that a cluster's declaration gives as its connection.
pub trait Connections: Send + Sync {
    /// The deployer, or why there is none of that name.
    fn deployer(&self, connection: &str) -> Result<Arc<dyn Deployer>, String>;
}
