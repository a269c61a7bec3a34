//! What an entry looks like at rest: a versioned JSON envelope, chained by hashes over its stored bytes.
//!
//! A hash covers the bytes as they were written, never a serialisation made anew: a later version that
//! would write the same entry otherwise still verifies what an earlier one wrote.
//!
//! Architecture invariant: no database calls. An envelope's version is its own type; it stays as it is
//! for good, and reading brings it up to [`Entry`].

use std::{fmt, iter, sync::Arc};

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
    pub commands: Vec<Arc<Command>>,
    /// The hash of the entry before; [`Digest::GENESIS`] for the first.
    pub prev: Hash,
    /// The hash of this entry.
    pub hash: Hash,
}

/// SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Hash", try_from = "Hash")]
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

impl TryFrom<Hash> for Digest {
    type Error = &'static str;

    fn try_from(hash: Hash) -> Result<Self, Self::Error> {
        let digits = hash.as_str().as_bytes();
        let hex: Option<Vec<_>> = digits.iter().map(|d| char::from(*d).to_digit(16)).collect();
        let hex = hex.filter(|hex| hex.len() == 64).ok_or("not 64 hexadecimal digits")?;
        Ok(Self(std::array::from_fn(|i| (hex[2 * i] << 4 | hex[2 * i + 1]) as u8)))
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
    commands: Vec<Arc<Command>>,
}

/// What is written: the newest version, over borrowed values.
#[derive(Serialize)]
struct Written<'a> {
    v: u32,
    at: &'a Now,
    epoch: u64,
    facts: &'a [Fact],
    commands: &'a [Arc<Command>],
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
        // As it is written, the version comes first: then nothing is read twice.
        let current = format!(r#"{{"v":{ENVELOPE},"#);
        let v = match self.payload.starts_with(current.as_bytes()) {
            true => ENVELOPE,
            false => serde_json::from_slice::<Versioned>(&self.payload)?.v,
        };
        match v {
            ENVELOPE => Ok(serde_json::from_slice::<Envelope1>(&self.payload)?.upcast(self)),
            found => Err(Unreadable::Newer { found }),
        }
    }

    /// As a line of JSON: `{"seq":1,"prev":"…","hash":"…","record":{…}}`, where `record` is the stored
    /// bytes as they are, so that anybody can check the hash.
    pub fn to_line(&self) -> Vec<u8> {
        let Record { seq, prev, hash, payload } = self;
        let mut line =
            format!(r#"{{"seq":{seq},"prev":"{prev}","hash":"{hash}"{RECORD}"#).into_bytes();
        line.extend_from_slice(payload);
        line.extend_from_slice(b"}\n");
        line
    }

    /// Reads what [`Record::to_line`] wrote; nothing where it is something else.
    pub fn from_line(line: &str) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Header {
            seq: u64,
            prev: Digest,
            hash: Digest,
        }
        let (header, payload) = line.trim_end().strip_suffix('}')?.split_once(RECORD)?;
        let Header { seq, prev, hash } = serde_json::from_str(&format!("{header}}}")).ok()?;
        Some(Self { seq, prev, hash, payload: payload.into() })
    }

    /// How many bytes [`Record::to_bytes`] writes.
    pub(super) fn size(&self) -> u64 {
        (self.prev.0.len() + self.hash.0.len() + self.payload.len()) as u64
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

/// What stands in an exported line between the header and the stored bytes.
const RECORD: &str = r#","record":"#;

/// The most bytes in one value of a store.
///
/// sled keeps up to seventeen values in a page and moves a page above 128 KiB out of its log into a
/// file of its own, which it may leak. Seventeen values of this size stay below that.
pub(super) const CHUNK: usize = 6 * 1024;

fn digest(prev: Digest, seq: u64, payload: &[u8]) -> Digest {
    let hash = Sha256::new().chain_update(prev.0).chain_update(seq.to_be_bytes());
    Digest(hash.chain_update(payload).finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::conformance::draft;

    /// A record as version 1 wrote it. It stays as it is, whatever is written today.
    const VERSION_1: &str = r#"{"seq":1,"prev":"0000000000000000000000000000000000000000000000000000000000000000","hash":"4576b99a3b0eb5973779e69b27de28a305ab78d4d606ef15eb3d4a1637444247","record":{"v":1,"at":{"wall":"2025-10-09T08:53:20Z","mono":1},"epoch":4,"facts":[{"tookOver":{"epoch":4}},{"soakCredited":{"release":"checkout@2.14.0","ring":"beta","span":"1m30s"}}],"commands":[{"deploy":{"key":"k","release":"checkout@2.14.0","ring":"beta","attempt":1,"cluster":"eu-1","connection":"c","target":{"kind":"Deployment","namespace":"shop","name":"checkout","container":"app"},"artifact":"app@sha256:0"}}]}}"#;

    #[test]
    fn what_version_1_wrote_is_read() {
        let record = Record::from_line(VERSION_1).unwrap();
        assert!(record.intact());
        let entry = record.open().unwrap();
        assert_eq!((entry.seq, entry.epoch, entry.at), (1, 4, draft(1).at));
        let credited = Fact::SoakCredited {
            release: "checkout@2.14.0".parse().unwrap(),
            ring: "beta".into(),
            span: crate::model::time::Span::seconds(90),
        };
        assert_eq!(entry.facts, [Fact::TookOver { epoch: 4 }, credited]);
        let [command] = &entry.commands[..] else { panic!("{entry:?}") };
        let Command::Deploy(write) = command.as_ref() else { panic!("{entry:?}") };
        assert_eq!((write.key.as_str(), write.cluster.as_str()), ("k", "eu-1"));
    }

    #[test]
    fn a_line_and_a_run_of_bytes_are_the_record() {
        let record = Record::seal(Digest([0xab; 32]), 7, 2, &draft(7)).unwrap();
        let line = String::from_utf8(record.to_line()).unwrap();
        assert_eq!(Record::from_line(&line), Some(record.clone()));
        assert_eq!(Record::from_bytes(7, &record.to_bytes()), record);
        for short in 0..record.to_bytes().len() {
            assert!(!Record::from_bytes(7, &record.to_bytes()[..short]).intact(), "{short}");
        }
        for line in ["", "{}", &line[..40], &line.replace("\"hash\":\"", "\"hash\":\"x")] {
            assert_eq!(Record::from_line(line), None);
        }
    }

    #[test]
    fn the_number_is_part_of_what_is_hashed() {
        let record = Record::seal(Digest::GENESIS, 1, 1, &draft(1)).unwrap();
        assert!(record.intact());
        assert!(!Record { seq: 2, ..record }.intact());
    }
}
