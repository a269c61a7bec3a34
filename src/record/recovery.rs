//! The world that a journal tells of.

use super::{
    checkpoint,
    store::{Store, StoreError},
};
use crate::decide::world::{Illegal, World};

/// Why a journal gives no world.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The journal could not be read.
    #[error("the journal could not be read")]
    Journal(#[from] StoreError),
    /// The journal does not add up.
    #[error("entry {seq} of the journal cannot be true; another version of ringward wrote it")]
    Illegal {
        /// The entry's number.
        seq: u64,
        /// What is wrong with it.
        #[source]
        source: Illegal,
    },
}

/// What a start goes on from.
#[derive(Debug)]
pub struct Recovered {
    /// What the journal comes to.
    pub world: World,
    /// The entry that its checkpoint stands at; 0 where all of it was folded.
    pub checkpoint: u64,
}

/// The world that a journal tells of: its facts, folded from the last checkpoint on. Nothing is decided
/// again.
///
/// # Errors
/// Where the journal cannot be read, or holds something that does not follow.
pub fn recover(store: &dyn Store) -> Result<Recovered, RecoveryError> {
    let (checkpoint, world) = match checkpoint::read(store) {
        Ok(read) => read.unwrap_or_default(),
        Err(misfit) => {
            tracing::info!(
                why = %misfit,
                "the checkpoint beside the journal does not count: all of the journal is folded"
            );
            Default::default()
        }
    };
    Ok(Recovered { world: fold(store, checkpoint, world)?, checkpoint })
}

/// The same from the first entry on, whatever checkpoint there is.
///
/// # Errors
/// As for [`recover`].
pub fn fold_all(store: &dyn Store) -> Result<World, RecoveryError> {
    fold(store, 0, World::default())
}

/// Folds what comes behind entry `seq`, as of which `world` is.
fn fold(store: &dyn Store, seq: u64, mut world: World) -> Result<World, RecoveryError> {
    for entry in store.entries(seq + 1) {
        let entry = entry?;
        world
            .fold(entry.at, &entry.facts, &entry.commands)
            .map_err(|source| RecoveryError::Illegal { seq: entry.seq, source })?;
    }
    Ok(world)
}
