//! What an entry looks like at rest: a versioned JSON envelope, chained by hashes over its stored bytes.
//!
//! A hash covers the bytes as they were written, never a serialisation made anew: a later version that
//! would write the same entry otherwise still verifies what an earlier one wrote.
//!
//! Architecture invariant: no database calls. An envelope's version is its own type; it stays as it is
//! for good, and reading brings it up to [`Entry`] ([`Envelope1::upcast`]).

use std::{fmt, iter};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::store::Draft;
use crate::{
    decide::{command::Command, fact::Fact},
    ids::Hash,
    model::time::Now,
};

/// The newest version of the envelope that this program reads, and the one that it writes.
pub const ENVELOPE: u32 = 1;

/// One decision as recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its number, from 1, without gaps.
    pub seq: u64,
    /// The instant at which it was decided.
    pub at: Now,
    /// The writer's epoch; it never falls from one entry to the next.
    pub epoch: u64,
    /// What became true, in this order.
    pub facts: Vec<Fact>,
    /// What was to be done about it, in this order.
    pub commands: Vec<Command>,
    /// The hash of the entry before; [`Digest::GENESIS`] for the first.
    pub prev: Hash,
    /// The hash of this entry.
    pub hash: Hash,
}

/// SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(into = "Hash")]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// What the first entry follows.
    pub const GENESIS: Digest = Digest([0; 32]);
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Digest> for Hash {
    fn from(digest: Digest) -> Hash {
        Hash::from(digest.to_string())
    }
}

/// An entry at rest: numbered, chained, and still in the bytes that the hash covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its number, from 1, without gaps.
    pub seq: u64,
    /// The hash of the record before.
    pub prev: Digest,
    /// SHA-256 over `prev`, `seq` (eight bytes, big-endian) and `payload`.
    pub hash: Digest,
    /// The envelope: one JSON object without a line break.
    pub payload: Vec<u8>,
}

/// An entry whose bytes are intact and which this program still cannot read, or cannot write.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// A newer version of the envelope.
    #[error("its envelope is version {found}, and this version of ringward reads up to {ENVELOPE}")]
    Newer {
        /// The version that it carries.
        found: u32,
    },
    /// No envelope of its version, such as one with a fact that only a newer program knows.
    #[error("its envelope holds something that this version of ringward does not know")]
    Unknown(#[from] serde_json::Error),
}

#[derive(Deserialize)]
struct Versioned {
    v: u32,
}

/// Version 1.
#[derive(Deserialize)]
struct Envelope1 {
    at: Now,
    epoch: u64,
    facts: Vec<Fact>,
    commands: Vec<Command>,
}

/// What is written: the newest version, over borrowed values.
#[derive(Serialize)]
struct Written<'a> {
    v: u32,
    at: &'a Now,
    epoch: u64,
    facts: &'a [Fact],
    commands: &'a [Command],
}

impl Envelope1 {
    fn upcast(self, record: &Record) -> Entry {
        let Envelope1 { at, epoch, facts, commands } = self;
        let (prev, hash) = (record.prev.into(), record.hash.into());
        Entry { seq: record.seq, at, epoch, facts, commands, prev, hash }
    }
}

impl Record {
    /// Writes `draft` down as the record after `prev`.
    pub fn seal(prev: Digest, seq: u64, epoch: u64, draft: &Draft) -> Result<Self, Unreadable> {
        let Draft { at, facts, commands } = draft;
        let payload = serde_json::to_vec(&Written { v: ENVELOPE, at, epoch, facts, commands })?;
        Ok(Self::chained(prev, seq, payload))
    }

    /// Puts an envelope's bytes behind `prev`.
    pub(super) fn chained(prev: Digest, seq: u64, payload: Vec<u8>) -> Self {
        Self { seq, prev, hash: digest(prev, seq, &payload), payload }
    }

    /// Whether its bytes are the ones that were sealed. That it follows the record before it is the
    /// chain's to say: see [`super::audit::verify`].
    pub fn intact(&self) -> bool {
        self.hash == digest(self.prev, self.seq, &self.payload)
    }

    /// Reads the envelope, whichever known version it is.
    pub fn open(&self) -> Result<Entry, Unreadable> {
        let Versioned { v } = serde_json::from_slice(&self.payload)?;
        match v {
            ENVELOPE => Ok(serde_json::from_slice::<Envelope1>(&self.payload)?.upcast(self)),
            found => Err(Unreadable::Newer { found }),
        }
    }

    /// As one run of bytes: `prev`, `hash`, payload. The number is the key's.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        [&self.prev.0[..], &self.hash.0, &self.payload].concat()
    }

    /// Reads what [`Record::to_bytes`] wrote. Bytes that it never wrote, none at all among them, make a
    /// record that is not intact.
    pub(super) fn from_bytes(seq: u64, bytes: &[u8]) -> Self {
        let mut fields = bytes.iter().copied();
        let mut digest = || Digest(std::array::from_fn(|_| fields.next().unwrap_or(0)));
        let (prev, hash) = (digest(), digest());
        Self { seq, prev, hash, payload: fields.collect() }
    }
}

/// Gathers the records that an append adds behind `prev`, in order.
pub(super) fn seal_all(
    mut prev: Digest,
    first: u64,
    epoch: u64,
    drafts: &[Draft],
) -> Result<Vec<Record>, (u64, Unreadable)> {
    iter::zip(first.., drafts)
        .map(|(seq, draft)| {
            let record = Record::seal(prev, seq, epoch, draft).map_err(|cause| (seq, cause))?;
            prev = record.hash;
            Ok(record)
        })
        .collect()
}

/// The most bytes in one value of a store.
///
/// sled keeps up to seventeen values in a page and moves a page above 128 KiB out of its log into a
/// file of its own, which it may leak. Seventeen values of this size stay below that.
pub(super) const CHUNK: usize = 6 * 1024;

fn digest(prev: Digest, seq: u64, payload: &[u8]) -> Digest {
    let hash = Sha256::new().chain_update(prev.0).chain_update(seq.to_be_bytes());
    Digest(hash.chain_update(payload).finalize().into())
}
