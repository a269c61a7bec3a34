//! The journal: what was decided is on disk before anything is done about it.
//!
//! # The crash contract
//!
//! - **One append is one transaction.** The facts and commands of all its drafts become durable
//!   together or not at all, whatever kills the process. Numbers run from 1 without a gap, and each entry
//!   is linked to the one before it.
//! - **`Ok` means durable.** When [`Store::append`] returns `Ok`, the entries survive kill -9 and loss
//!   of power. Only then may an operator be answered or a command be sent.
//! - **`Err` means nothing may be done about it.** The entries are then absent, or, where the failure
//!   came after the disk had taken them, wholly present: whoever reopens reads what is there and folds
//!   that. A store that failed refuses every later append ([`StoreError::Poisoned`]) until it is
//!   reopened, because what the disk holds is unknown until it is read again. Reads show acknowledged
//!   entries only, before and after; after a failure they may fail as well.
//! - **One writer.** A directory has one process, and an append under an epoch lower than the highest
//!   recorded one is refused ([`StoreError::StaleEpoch`]).
//! - **Nothing acknowledged disappears in silence.** Each entry carries a hash over its own stored bytes
//!   and the hash before it; a mark outside the database says how far the journal had come. Opening
//!   verifies all of it, so that a flipped bit, a hole or a lost tail is an error that names the place.
//! - **What is refused stays as it is.** A directory that is in use or that a newer version wrote is not
//!   written to at all; where the journal turns out to be corrupt, its files are put back as they were.
//!
//! Architecture invariant: there is no call that acknowledges a command. How an effect ended is itself a
//! fact (`EffectSettled`, `EffectSuperseded`, `Measured`, `MeasureDropped`), so folding the journal says
//! which commands dangle, and those are issued again under the same key.
//!
//! Architecture invariant: this room decides nothing and interprets no fact. It reads no clock: an
//! entry's instant is the one at which the core decided. Nothing of the database shows through [`Store`].

pub mod audit;
pub mod checkpoint;
mod clean_stop;
mod data_dir;
pub mod export;
pub mod format;
mod high_water;
pub mod memory;
pub mod outbox;
pub mod recovery;
pub mod restore;
mod safekeeping;
pub mod seal;
pub mod sled;
pub mod store;
mod tail;

#[cfg(test)]
mod conformance;

pub use self::sled::SledStore;
pub use format::{Digest, Entry, Record};
pub use memory::Memory;
pub use recovery::{Recovered, RecoveryError, recover};
pub use store::{Draft, Entries, Head, Store, StoreError};
