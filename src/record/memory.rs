//! The same contract in memory: for simulation and for scenario runs.
//!
//! It keeps the bytes that a disk would keep, so that a simulated recovery reads what a real one reads.
//! Unlike the one on disk it does not read each draft back before it takes it: a scenario has no use
//! for that, and it would take longer than all the rest.

use std::{
    ops::Range,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{
    audit::Chain,
    format::{Record, seal_all},
    seal::{KeyError, SigningKey},
    store::{Draft, Head, Store, StoreError, Written},
};

/// A journal that lasts as long as the value; [`Memory::reopen`] stands for a restart of the process.
#[derive(Debug, Default)]
pub struct Memory(Mutex<Inner>);

/// What the next append meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No room: it fails, and nothing of it is kept.
    Full,
    /// The power goes after the disk has taken it and before the answer: it fails, and all of it is kept.
    Unanswered,
}

#[derive(Debug)]
struct Inner {
    records: Vec<Record>,
    /// What is acknowledged.
    head: Head,
    /// How far it had come; outlives the records, as the mark of a data directory does.
    high_water: u64,
    kept: Option<Vec<u8>>,
    /// The signing key, as it would be kept.
    key: Option<String>,
    fault: Option<Fault>,
    poisoned: Option<String>,
    /// How far the records were verified by now: what is in memory stays as it was.
    verified: Chain,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            records: Vec::new(),
            head: Head::EMPTY,
            high_water: 0,
            kept: None,
            key: None,
            fault: None,
            poisoned: None,
            verified: Chain::before(1),
        }
    }
}

impl Memory {
    /// An empty journal.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the next append fail that way.
    pub fn fail_next(&self, fault: Fault) {
        self.inner().fault = Some(fault);
    }

    /// Loses every record behind number `seq`, as a damaged disk does; [`Memory::reopen`] notices.
    pub fn truncate(&self, seq: u64) {
        let mut inner = self.inner();
        inner.records.retain(|record| record.seq <= seq);
        inner.verified = Chain::before(1);
    }

    /// Reads again what is kept and verifies it, as the next process would; appends are taken again.
    pub fn reopen(&self) -> Result<(), StoreError> {
        let mut inner = self.inner();
        let mut chain = inner.verified;
        let from = chain.next;
        for record in inner.records.iter().filter(|record| record.seq >= from) {
            chain.follow(record).map_err(|broken| broken.into_error(DIR.as_ref()))?;
        }
        inner.verified = chain;
        let head = match inner.records.last() {
            None => Head::EMPTY,
            Some(last) => {
                let unreadable =
                    |source| StoreError::Unreadable { dir: DIR.into(), seq: last.seq, source };
                let epoch = last.open().map_err(unreadable)?.epoch;
                Head { seq: last.seq, hash: last.hash, epoch }
            }
        };
        let mark = inner.high_water;
        if head.seq < mark {
            let lost = head.seq + 1;
            let detail = format!("entry {lost}: it was acknowledged (up to {mark}) and is gone");
            return Err(StoreError::Corrupt { dir: DIR.into(), detail });
        }
        (inner.head, inner.fault, inner.poisoned) = (head, None, None);
        Ok(())
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stands in messages where a data directory would.
const DIR: &str = "(in memory)";

impl Store for Memory {
    fn append(&self, epoch: u64, drafts: &[Draft]) -> Result<Range<u64>, StoreError> {
        let mut inner = self.inner();
        let dir = || DIR.into();
        if let Some(cause) = &inner.poisoned {
            return Err(StoreError::Poisoned { dir: dir(), cause: cause.clone() });
        }
        let head = inner.head;
        if epoch < head.epoch {
            return Err(StoreError::StaleEpoch {
                dir: dir(),
                offered: epoch,
                recorded: head.epoch,
            });
        }
        let first = head.seq + 1;
        let unwritable = |(seq, source)| StoreError::Unwritable { dir: dir(), seq, source };
        let records = seal_all(head.hash, first, epoch, drafts).map_err(unwritable)?;
        let Some(last) = records.last() else { return Ok(first..first) };
        let head = Head { seq: last.seq, hash: last.hash, epoch };
        let fault = inner.fault.take();
        if fault != Some(Fault::Full) {
            inner.records.extend(records);
        }
        if let Some(fault) = fault {
            inner.poisoned = Some(format!("{fault:?}"));
            return Err(fault.error());
        }
        inner.head = head;
        inner.high_water = head.seq;
        Ok(first..head.seq + 1)
    }

    fn records(&self, from: u64, limit: usize) -> Result<Vec<Record>, StoreError> {
        let inner = self.inner();
        let from = from.max(1);
        let end = from.saturating_add(limit as u64).min(inner.head.seq + 1);
        let at = |seq: u64| {
            let kept = usize::try_from(seq - 1).ok().and_then(|i| inner.records.get(i)).cloned();
            kept.unwrap_or_else(|| Record::from_bytes(seq, &[]))
        };
        Ok((from..end).map(at).collect())
    }

    fn head(&self) -> Head {
        self.inner().head
    }

    fn dir(&self) -> &Path {
        DIR.as_ref()
    }

    fn keep(&self, write: Written<'_>) -> Result<(), StoreError> {
        let mut text = Vec::new();
        write(&mut text).map_err(|e| StoreError::from_io(DIR.as_ref(), "keep a text", e))?;
        self.inner().kept = Some(text);
        Ok(())
    }

    fn kept(&self) -> Option<Vec<u8>> {
        self.inner().kept.clone()
    }

    fn key(&self) -> Result<SigningKey, KeyError> {
        let failed = |source| KeyError::File { path: DIR.into(), source };
        let mut inner = self.inner();
        if inner.key.is_none() {
            inner.key = Some(SigningKey::generate().map_err(failed)?.1);
        }
        let key = inner.key.as_deref().and_then(SigningKey::read);
        key.ok_or_else(|| KeyError::NoKey(DIR.into()))
    }
}

impl Fault {
    fn error(self) -> StoreError {
        use std::io::{Error, ErrorKind};
        let dir = DIR.as_ref();
        match self {
            Fault::Full => StoreError::from_io(dir, "write", ErrorKind::StorageFull.into()),
            Fault::Unanswered => StoreError::from_io(dir, "write", Error::other("the power went")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::conformance::drafts;

    fn three() -> Memory {
        let memory = Memory::new();
        memory.append(1, &drafts(1..=3)).unwrap();
        memory
    }

    #[test]
    fn after_a_full_disk_nothing_is_taken_until_it_is_reopened() {
        let memory = three();
        memory.fail_next(Fault::Full);
        assert!(matches!(memory.append(1, &drafts(4..=5)), Err(StoreError::Full { .. })));
        assert!(matches!(memory.append(1, &drafts(4..=5)), Err(StoreError::Poisoned { .. })));
        assert_eq!(memory.read(1, 10).unwrap().len(), 3);
        memory.reopen().unwrap();
        assert_eq!(memory.append(1, &drafts(4..=5)).unwrap(), 4..6);
    }

    #[test]
    fn what_was_kept_without_an_answer_is_there_after_reopening_only() {
        let memory = three();
        memory.fail_next(Fault::Unanswered);
        assert!(matches!(memory.append(2, &drafts(4..=5)), Err(StoreError::Io { .. })));
        assert_eq!((memory.head().seq, memory.read(1, 10).unwrap().len()), (3, 3));
        memory.reopen().unwrap();
        assert_eq!((memory.head().seq, memory.head().epoch), (5, 2));
        assert_eq!(memory.append(2, &drafts(6..=6)).unwrap(), 6..7);
    }

    #[test]
    fn a_lost_tail_is_noticed() {
        let memory = three();
        memory.truncate(1);
        let error = memory.read(1, 10).unwrap_err();
        assert!(error.to_string().contains("entry 2: it is missing"), "{error}");
        let error = memory.reopen().unwrap_err();
        assert!(error.to_string().contains("entry 2: it was acknowledged"), "{error}");
    }
}
