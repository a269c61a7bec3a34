//! How far the journal had come, kept outside the database.
//!
//! The database drops from the end of its log what it cannot read: after a crash that is right, after
//! a flipped bit it takes acknowledged entries away and leaves a journal that is whole in itself. This
//! mark is what such a journal falls short of.
//!
//! It is written after the entries are durable, and not waited for: it survives kill -9, and a loss
//! of power can only leave an older mark, which a sound journal is never behind.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::FileExt,
    path::Path,
};

use sha2::{Digest as _, Sha256};

use super::format::Digest;

/// Two slots, written in turn, so that a torn write leaves the other.
#[derive(Debug)]
pub(super) struct HighWater {
    file: File,
    slot: u64,
}

/// A number, that entry's hash, and a checksum.
const SLOT: usize = 8 + 32 + 8;

impl HighWater {
    /// Makes one that says nothing was recorded yet.
    pub(super) fn create(path: &Path) -> io::Result<()> {
        let mut file = File::create(path)?;
        file.write_all(&slot(0, Digest::GENESIS).repeat(2))?;
        file.sync_all()
    }

    /// Opens one with what it says; nothing where neither slot can be read.
    pub(super) fn open(path: &Path) -> io::Result<Option<(Self, u64, Digest)>> {
        let bytes = fs::read(path)?;
        let marks = bytes.chunks_exact(SLOT).zip(0..).filter_map(|(b, i)| Some((read(b)?, i)));
        let Some(((seq, hash), last)) = marks.max_by_key(|((seq, _), _)| *seq) else {
            return Ok(None);
        };
        let file = OpenOptions::new().write(true).open(path)?;
        Ok(Some((Self { file, slot: 1 - last }, seq, hash)))
    }

    /// Says that everything up to `seq` is durable.
    pub(super) fn raise(&mut self, seq: u64, hash: Digest) -> io::Result<()> {
        self.file.write_all_at(&slot(seq, hash), self.slot * SLOT as u64)?;
        self.slot = 1 - self.slot;
        Ok(())
    }
}

fn slot(seq: u64, hash: Digest) -> Vec<u8> {
    let mark = [&seq.to_be_bytes()[..], &hash.0].concat();
    let check = Sha256::digest(&mark);
    [&mark[..], &check[..8]].concat()
}

fn read(bytes: &[u8]) -> Option<(u64, Digest)> {
    let (seq, rest) = bytes.split_first_chunk()?;
    let (hash, _) = rest.split_first_chunk()?;
    let mark = (u64::from_be_bytes(*seq), Digest(*hash));
    (slot(mark.0, mark.1) == bytes).then_some(mark)
}
