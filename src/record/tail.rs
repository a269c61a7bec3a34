//! What was recorded last, in a file of its own that one write and one wait for the disk make durable.
//!
//! sled waits twice for an append, and writes more than was asked for. So an append is durable here
//! first, and sled takes it in without waiting; whoever opens the journal gives sled what it lacks.
//! When this file is full, sled's own are made durable and it is written from its beginning again: it
//! has all that sled may not have yet, at any moment.
//!
//! The file has its whole size from the start, so that a write changes nothing but data.
//!
//! ```text
//! group:  "rwtl", first number (8 bytes), records (4), hash of the last (32)
//! record: length of its payload (4), prev (32), hash (32), payload
//! ```
//!
//! Where groups end the chain says: what follows in the file was written before, or not wholly, and is
//! no record that is intact and links to the one before it.

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::FileExt,
    path::Path,
};

use super::{
    audit::Chain,
    format::{Digest, Record},
};

/// The file's size in bytes: about a thousand decisions.
const SIZE: usize = 1 << 20;

/// The most groups in it. sled writes over what it has moved elsewhere, and trusts the system with the
/// order: the less it has written since its files were last made durable, the less a loss of power can
/// take from under older entries.
const MOST: usize = 64;

const MAGIC: &[u8; 4] = b"rwtl";

/// The file, open for writing.
#[derive(Debug)]
pub(super) struct Tail {
    file: File,
    /// Where the next group goes.
    at: usize,
    /// How many stand before it.
    groups: usize,
}

impl Tail {
    /// Opens the file, or makes it, and reads the groups in it, the oldest first: each is an append. They
    /// stay until something is written.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Vec<Vec<Record>>)> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut bytes = vec![0; SIZE];
        let there = read_all(&file, &mut bytes)?;
        if there < SIZE {
            file.write_all_at(&vec![0; SIZE - there], there as u64)?;
            file.sync_all()?;
        }
        Ok((Self { file, at: 0, groups: 0 }, groups(&bytes)))
    }

    /// Whether a group of these records finds room behind those before it.
    pub(super) fn has_room(&self, records: &[Record]) -> bool {
        self.groups < MOST && SIZE - self.at >= size(records)
    }

    /// Everything in it is durable elsewhere: the next group is written over the first.
    pub(super) fn begin_anew(&mut self) {
        (self.at, self.groups) = (0, 0);
    }

    /// Writes a group; there must be room for it.
    pub(super) fn write(&mut self, records: &[Record]) -> io::Result<()> {
        let group = group(records);
        self.file.write_all_at(&group, self.at as u64)?;
        self.at += group.len();
        self.groups += 1;
        Ok(())
    }

    /// What was written is durable when this returns.
    pub(super) fn wait_for_the_disk(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// Reads from the start; how many bytes were there.
fn read_all(file: &File, bytes: &mut [u8]) -> io::Result<usize> {
    let mut there = 0;
    while there < bytes.len() {
        match file.read_at(&mut bytes[there..], there as u64) {
            Ok(0) => break,
            Ok(read) => there += read,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(there)
}

const HEADER: usize = MAGIC.len() + 8 + 4 + 32;

/// What stands before a record's payload: its length and two hashes.
const BEFORE: usize = 4 + 32 + 32;

fn size(records: &[Record]) -> usize {
    HEADER + records.iter().map(|record| BEFORE + record.payload.len()).sum::<usize>()
}

fn group(records: &[Record]) -> Vec<u8> {
    let mut group = Vec::with_capacity(size(records));
    let (Some(first), Some(last)) = (records.first(), records.last()) else { return group };
    group.extend_from_slice(MAGIC);
    group.extend_from_slice(&first.seq.to_be_bytes());
    group.extend_from_slice(&(records.len() as u32).to_be_bytes());
    group.extend_from_slice(&last.hash.0);
    for Record { seq: _, prev, hash, payload } in records {
        group.extend_from_slice(&(payload.len() as u32).to_be_bytes());
        group.extend_from_slice(&prev.0);
        group.extend_from_slice(&hash.0);
        group.extend_from_slice(payload);
    }
    group
}

/// The groups from the start on, as far as one follows the other.
fn groups(mut bytes: &[u8]) -> Vec<Vec<Record>> {
    let mut found = Vec::new();
    let mut chain = None;
    while let Some(records) = next_group(&mut bytes, &mut chain) {
        found.push(records);
    }
    found
}

/// Takes a group off the bytes, if all of it is there and follows what was taken before.
fn next_group(bytes: &mut &[u8], chain: &mut Option<Chain>) -> Option<Vec<Record>> {
    let mut rest = *bytes;
    let magic: [u8; 4] = take(&mut rest)?;
    let (first, many) = (take(&mut rest)?, take(&mut rest)?);
    let (first, many) = (u64::from_be_bytes(first), u32::from_be_bytes(many));
    let last = Digest(take(&mut rest)?);
    if magic != *MAGIC {
        return None;
    }
    let mut follows = chain.unwrap_or(Chain::before(first));
    let mut records = Vec::new();
    for seq in (first..).take(many as usize) {
        let length: [u8; 4] = take(&mut rest)?;
        let (prev, hash) = (Digest(take(&mut rest)?), Digest(take(&mut rest)?));
        let (payload, behind) = rest.split_at_checked(u32::from_be_bytes(length) as usize)?;
        rest = behind;
        let record = Record { seq, prev, hash, payload: payload.into() };
        follows.follow(&record).ok()?;
        records.push(record);
    }
    records.last().filter(|record| record.hash == last)?;
    *bytes = rest;
    *chain = Some(follows);
    Some(records)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{conformance::drafts, format::seal_all};

    fn records(numbers: std::ops::RangeInclusive<u64>) -> Vec<Record> {
        let all = seal_all(Digest::GENESIS, 1, 1, &drafts(1..=*numbers.end())).unwrap();
        all.into_iter().filter(|record| numbers.contains(&record.seq)).collect()
    }

    fn reopened(path: &Path) -> Vec<Vec<Record>> {
        Tail::open(path).unwrap().1
    }

    #[test]
    fn what_is_written_is_read_back_append_by_append() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("tail");
        let (mut tail, groups) = Tail::open(&path).unwrap();
        assert!(groups.is_empty());
        for numbers in [1..=3, 4..=4, 5..=9] {
            tail.write(&records(numbers)).unwrap();
        }
        tail.wait_for_the_disk().unwrap();
        assert_eq!(reopened(&path), [records(1..=3), records(4..=4), records(5..=9)]);
        assert_eq!(reopened(&path).len(), 3, "reading changes nothing");
    }

    #[test]
    fn what_was_written_before_is_no_part_of_it() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("tail");
        let (mut tail, _) = Tail::open(&path).unwrap();
        for numbers in [1..=3, 4..=6, 7..=9] {
            tail.write(&records(numbers)).unwrap();
        }
        tail.begin_anew();
        // It is as long as the one that it is written over: the next one that is there is whole.
        tail.write(&records(10..=12)).unwrap();
        assert_eq!(reopened(&path)[..], [records(10..=12)]);
    }

    #[test]
    fn a_group_is_there_wholly_or_not_at_all() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("tail");
        let whole = [group(&records(1..=2)), group(&records(3..=5))].concat();
        let first = group(&records(1..=2)).len();
        for cut in 0..whole.len() {
            let mut torn = whole.clone();
            torn[cut..].fill(0);
            std::fs::write(&path, torn).unwrap();
            let expected = usize::from(cut >= first);
            assert_eq!(reopened(&path).len(), expected, "cut at {cut}");
            let mut flipped = whole.clone();
            flipped[cut] ^= 1;
            std::fs::write(&path, flipped).unwrap();
            assert_eq!(reopened(&path).len(), expected, "flipped at {cut}");
        }
    }

    #[test]
    fn room_is_counted_to_the_byte() {
        let place = tempfile::tempdir().unwrap();
        let (mut tail, _) = Tail::open(&place.path().join("tail")).unwrap();
        let one = records(1..=1);
        tail.at = SIZE - size(&one);
        assert!(tail.has_room(&one));
        tail.write(&one).unwrap();
        assert_eq!((tail.at, tail.has_room(&one)), (SIZE, false));
        tail.begin_anew();
        for _ in 0..MOST {
            assert!(tail.has_room(&one));
            tail.write(&one).unwrap();
        }
        assert!(!tail.has_room(&one));
    }
}
