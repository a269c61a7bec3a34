//! The one contract that every journal keeps; [`super`] says in words what a crash means at each call.

use std::{
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    vec,
};

use super::{
    audit::Chain,
    format::{Digest, Entry, Record, Unreadable},
    seal::{KeyError, SigningKey},
};
use crate::{
    decide::{command::Command, fact::Fact},
    model::time::Now,
};

/// A decision as handed in; the store numbers and chains it.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// The instant at which it was decided.
    pub at: Now,
    /// What becomes true, in this order.
    pub facts: Vec<Fact>,
    /// What is to be done once it is durable, in this order.
    pub commands: Vec<Arc<Command>>,
}

/// How far a journal has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The number of the last entry; 0 before the first.
    pub seq: u64,
    /// Its hash; [`Digest::GENESIS`] before the first.
    pub hash: Digest,
    /// The highest epoch recorded; 0 before the first.
    pub epoch: u64,
}

impl Head {
    /// Of a journal without entries.
    pub const EMPTY: Head = Head { seq: 0, hash: Digest::GENESIS, epoch: 0 };
}

/// Writes a text that is kept.
pub type Written<'a> = &'a mut dyn FnMut(&mut dyn io::Write) -> io::Result<()>;

/// An append-only journal with one writer and any number of readers.
pub trait Store: Send + Sync {
    /// Records all drafts in one transaction and returns their numbers once they are durable: several
    /// decisions in one call share one wait for the disk.
    fn append(&self, epoch: u64, drafts: &[Draft]) -> Result<Range<u64>, StoreError>;

    /// Acknowledged records from number `from` on, at most `limit`: every number is there, and what the
    /// store has lost is a record that is not intact.
    fn records(&self, from: u64, limit: usize) -> Result<Vec<Record>, StoreError>;

    /// The last acknowledged entry.
    fn head(&self) -> Head;

    /// Where the journal lies, for messages.
    fn dir(&self) -> &Path;

    /// Keeps a text beside the journal in place of the one kept before. It is there whole or not at
    /// all, and nothing rests on it: whoever reads it back finds out what it is worth.
    fn keep(&self, write: Written<'_>) -> Result<(), StoreError>;

    /// What was kept last; nothing where nothing was, or where it cannot be read.
    fn kept(&self) -> Option<Vec<u8>>;

    /// The key that heads of this journal are signed with; it is made at its first use.
    fn key(&self) -> Result<SigningKey, KeyError>;

    /// Acknowledged entries from number `from` on, at most `limit`, each intact and behind the one
    /// before it.
    fn read(&self, from: u64, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let mut chain = Chain::before(from.max(1));
        let open = |record: &Record| {
            chain.follow(record).map_err(|broken| broken.into_error(self.dir()))?;
            let seq = record.seq;
            let unreadable =
                |source| StoreError::Unreadable { dir: self.dir().into(), seq, source };
            record.open().map_err(unreadable)
        };
        self.records(from, limit)?.iter().map(open).collect()
    }
}

impl dyn Store + '_ {
    /// Every acknowledged entry from number `from` on, a page in memory at a time: for recovery's fold.
    /// It ends after the first error.
    pub fn entries(&self, from: u64) -> Entries<'_> {
        Entries { store: self, next: Some(from.max(1)), page: Vec::new().into_iter() }
    }
}

/// An iterator over entries; see `entries`.
pub struct Entries<'a> {
    store: &'a dyn Store,
    /// The number that the next page starts at; none once an error was met.
    next: Option<u64>,
    page: vec::IntoIter<Entry>,
}

/// Small, because a single entry may hold a whole plan.
pub(super) const PAGE: usize = 128;

impl Iterator for Entries<'_> {
    type Item = Result<Entry, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(entry) = self.page.next() {
            return Some(Ok(entry));
        }
        match self.store.read(self.next?, PAGE) {
            Ok(page) => {
                self.next = Some(page.last()?.seq + 1);
                self.page = page.into_iter();
                self.page.next().map(Ok)
            }
            Err(error) => {
                self.next = None;
                Some(Err(error))
            }
        }
    }
}

/// Why a journal cannot be opened, read or appended to. Each names the directory and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it.
    #[error(
        "{dir}: the data directory is in use by {holder}; stop that process, or give this one a \
         directory of its own", dir = .dir.display()
    )]
    InUse {
        /// The data directory.
        dir: PathBuf,
        /// Who has it, such as `process 4711`.
        holder: String,
    },
    /// A newer version of ringward wrote it. It was left as it is.
    #[error(
        "{dir}: the data directory has format {found}, and this version of ringward knows up to \
         {known}; it was left as it is: start the version that wrote it, or a newer one",
        dir = .dir.display()
    )]
    NewerFormat {
        /// The data directory.
        dir: PathBuf,
        /// The format that it has.
        found: u32,
        /// The newest format that this program knows.
        known: u32,
    },
    /// What is stored is not what was written.
    #[error(
        "{dir}: the journal is corrupt: {detail}; keep the directory for inspection, and restore a \
         backup into an empty one", dir = .dir.display()
    )]
    Corrupt {
        /// The data directory.
        dir: PathBuf,
        /// What is wrong, with the first entry concerned.
        detail: String,
    },
    /// An entry is intact, and this program does not understand it.
    #[error(
        "{dir}: entry {seq} cannot be read, though its bytes are intact; start the version of ringward \
         that wrote it, or a newer one", dir = .dir.display()
    )]
    Unreadable {
        /// The data directory.
        dir: PathBuf,
        /// The entry's number.
        seq: u64,
        /// What is not understood.
        source: Unreadable,
    },
    /// A draft could not have been read back; nothing was recorded.
    #[error(
        "{dir}: entry {seq} was not recorded, because it could not be read back; this is a defect of \
         ringward: please report it", dir = .dir.display()
    )]
    Unwritable {
        /// The data directory.
        dir: PathBuf,
        /// The number that it would have had.
        seq: u64,
        /// What cannot be read back.
        source: Unreadable,
    },
    /// No room.
    #[error(
        "{dir}: the disk is full, or a quota is used up, and nothing more can be recorded; free some \
         space, then restart ringward", dir = .dir.display()
    )]
    Full {
        /// The data directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system refused something else.
    #[error("{dir}: cannot {doing}; see to the cause, then restart ringward", dir = .dir.display())]
    Io {
        /// The data directory.
        dir: PathBuf,
        /// What was being done, as a verb and its object.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// An earlier append failed, and what the disk holds is unknown until it is read again.
    #[error(
        "{dir}: nothing is recorded any more since an append failed; restart ringward once the cause is \
         gone: {cause}", dir = .dir.display()
    )]
    Poisoned {
        /// The data directory.
        dir: PathBuf,
        /// How the earlier append failed.
        cause: String,
    },
    /// A writer of a higher epoch has taken over.
    #[error(
        "{dir}: this writer's epoch {offered} is over, the journal has reached {recorded}; stop this \
         process, another has taken over", dir = .dir.display()
    )]
    StaleEpoch {
        /// The data directory.
        dir: PathBuf,
        /// The epoch of the append.
        offered: u64,
        /// The highest epoch recorded.
        recorded: u64,
    },
}

impl StoreError {
    /// Tells a full disk from other failures of the system.
    pub(super) fn from_io(dir: &Path, doing: &'static str, source: io::Error) -> Self {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        let full = [StorageFull, QuotaExceeded, FileTooLarge].contains(&source.kind());
        let dir = dir.into();
        if full { StoreError::Full { dir, source } } else { StoreError::Io { dir, doing, source } }
    }
}
