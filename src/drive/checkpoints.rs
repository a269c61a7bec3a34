//! Keeps checkpoints of the world while the loop goes on.

use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::{
    decide::world::World,
    record::{Head, Store, checkpoint},
};

/// A start folds what was recorded since the last checkpoint: so many entries take about a second. To write
/// one takes about as long, beside the loop.
const EVERY: u64 = 50_000;

/// When the last checkpoint was kept, and whether one is being written.
pub(super) struct Checkpoints {
    store: Arc<dyn Store>,
    /// The entry that the last one stands at.
    last: u64,
    writing: Option<JoinHandle<()>>,
}

impl Checkpoints {
    /// The last one stands at entry `last`; 0 where there is none.
    pub(super) fn since(store: Arc<dyn Store>, last: u64) -> Self {
        Self { store, last, writing: None }
    }

    /// `world` is what the journal comes to now: where enough was recorded, it is written down elsewhere.
    /// What it shares with the live world is copied there before it changes.
    pub(super) fn consider(&mut self, world: &World) {
        let head = self.store.head();
        let writing = self.writing.as_ref().is_some_and(|writing| !writing.is_finished());
        if writing || head.seq < self.last + EVERY {
            return;
        }
        self.last = head.seq;
        let (store, world) = (self.store.clone(), world.clone());
        self.writing = Some(tokio::task::spawn_blocking(move || keep(&*store, head, &world)));
    }

    /// At a clean stop, so that the next start has nothing to fold.
    pub(super) async fn end(self, world: World) {
        if let Some(writing) = self.writing {
            // It fails where it panicked, and what it was to keep is only a cache.
            let _ = writing.await;
        }
        let head = self.store.head();
        if head.seq > self.last {
            let _ = tokio::task::spawn_blocking(move || keep(&*self.store, head, &world)).await;
        }
    }
}

fn keep(store: &dyn Store, head: Head, world: &World) {
    match checkpoint::keep(store, head, world) {
        Ok(()) => tracing::debug!(entry = head.seq, "kept a checkpoint of the journal"),
        Err(error) => tracing::warn!(
            %error, "a checkpoint of the journal cannot be kept: the next start takes longer"
        ),
    }
}
