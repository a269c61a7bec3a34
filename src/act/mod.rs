//! Effects at the edge: a command goes out, an outcome comes back as an event. Never decides, never
//! writes the store.

pub mod cluster;
pub mod metrics;

use futures::future::BoxFuture;

use crate::decide::{command::Measure, event::Answer};

/// Asks metric sources.
pub trait Measurer: Send + Sync {
    /// One measurement; whatever goes wrong is a [`crate::decide::event::Reading::Error`] in the answer.
    fn measure(&self, measure: &Measure) -> BoxFuture<'_, Answer>;
}
