//! The world as of an entry, kept beside the journal so that a start need not fold all of it.
//!
//! ```text
//! {"checkpoint":1,"fold":"9f3c…","seq":48210,"hash":"77ab…"}
//! {"epoch":7,…}                     the world
//! 5c1d…                             SHA-256 of everything before
//! ```
//!
//! Architecture invariant: a checkpoint is a cache of the fold, and never the truth. It counts only
//! where the entry that it names is in the journal by its hash and where the very same fold wrote it
//! ([`FOLD`]); what does not fit is passed over, and the journal is folded from its beginning.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    format::Digest,
    store::{Head, Store, StoreError},
};
use crate::decide::world::World;

/// The version of the text around the world.
const FORMAT: u32 = 1;

/// Names the fold: a hash over the sources that say what follows from a fact, taken by `build.rs`. A
/// number that somebody has to raise would one day not be raised.
const FOLD: &str = env!("RINGWARD_FOLD");

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    checkpoint: u32,
    fold: String,
    seq: u64,
    hash: Digest,
}

/// Why a checkpoint does not count.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// Its bytes are not the ones that were written, or it was never whole.
    #[error("it is damaged")]
    Damaged,
    /// Another version of the program wrote it, whose fold may have been another.
    #[error("another version of ringward wrote it")]
    OtherFold,
    /// The entry that it stands at is not in this journal.
    #[error("the journal has no such entry {0}")]
    OtherJournal(u64),
}

/// Keeps `world` as what the entries up to `head` come to.
///
/// # Errors
/// Where the text cannot be written; the checkpoint before it is then still there, or none is.
pub fn keep(store: &dyn Store, head: Head, world: &World) -> Result<(), StoreError> {
    let Head { seq, hash, epoch: _ } = head;
    let header = Header { checkpoint: FORMAT, fold: FOLD.into(), seq, hash };
    store.keep(&mut |to| {
        let mut to = Hashing { to, hash: Sha256::new() };
        for part in [&header as &dyn Part, world] {
            part.write(&mut to)?;
            to.write_all(b"\n")?;
        }
        let hash = Digest(to.hash.finalize().into());
        write!(to.to, "{hash}")?;
        to.to.flush()
    })
}

/// The world as of the last checkpoint, and the number of the entry that it stands at; nothing where
/// none was kept.
pub fn read(store: &dyn Store) -> Result<Option<(u64, World)>, Misfit> {
    let Some(text) = store.kept() else { return Ok(None) };
    let (header, world) = open(&text)?;
    if (header.checkpoint, header.fold.as_str()) != (FORMAT, FOLD) {
        return Err(Misfit::OtherFold);
    }
    // It is read without the entries before it: those are verified when the journal is opened.
    let record = store.records(header.seq, 1).ok().and_then(|records| records.into_iter().next());
    if record.is_none_or(|record| record.seq != header.seq || record.hash != header.hash) {
        return Err(Misfit::OtherJournal(header.seq));
    }
    let world = serde_json::from_slice(world).map_err(|_| Misfit::Damaged)?;
    Ok(Some((header.seq, world)))
}

/// Takes the text apart, if its bytes are the ones that were written.
fn open(text: &[u8]) -> Result<(Header, &[u8]), Misfit> {
    const HEX: usize = 64;
    let (text, check) =
        text.split_at_checked(text.len().wrapping_sub(HEX)).ok_or(Misfit::Damaged)?;
    let hash = Digest(Sha256::digest(text).into());
    if hash.to_string().as_bytes() != check {
        return Err(Misfit::Damaged);
    }
    let end = text.iter().position(|byte| *byte == b'\n').ok_or(Misfit::Damaged)?;
    let (header, world) = text.split_at(end);
    // A header that is whole and still not one of ours is a later format's.
    let header = serde_json::from_slice(header).map_err(|_| Misfit::OtherFold)?;
    Ok((header, world))
}

/// What can be written as a line of JSON.
trait Part {
    fn write(&self, to: &mut dyn Write) -> io::Result<()>;
}

impl<T: Serialize> Part for T {
    fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        serde_json::to_writer(to, self).map_err(io::Error::from)
    }
}

/// Hashes what goes through.
struct Hashing<'a> {
    to: &'a mut dyn Write,
    hash: Sha256,
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.to.write(bytes)?;
        self.hash.update(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests;
