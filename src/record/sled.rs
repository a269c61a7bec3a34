//! The journal on disk, over sled 0.34: the only file that names sled.
//!
//! One tree holds everything: the chunks of each record under `e`, number, chunk, and under `head` the
//! last number and hash. A [`Batch`] over one tree is recovered whole or not at all.
//!
//! What is known about sled and guarded against here:
//! - `flush` on Linux calls `sync_file_range`, which makes neither the file's length nor the disk's
//!   cache durable: a handle of our own calls `sync_data` before anything is acknowledged.
//! - A `snap.*.generating` that a crash left behind makes it refuse to open: it is deleted first. A real
//!   `snap.*` never is, since recovery without it cannot tell a torn tail from a flipped bit.
//! - It panics on some damage, when opening and when reading: every call is caught.
//! - A full disk leaves it unable to write until it is opened again, and then and when to read: a page's
//!   split may be finished, with a write, by whoever reads the page next.
//! - Its default cache is 1 GiB.
//! - Its threads may hold its lock for a moment after it is dropped.

use std::{
    fs::{self, File, TryLockError},
    io::{self, ErrorKind},
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Mutex, PoisonError, RwLock},
};

use sled::{Batch, Db};

use super::{
    audit::Chain,
    data_dir::{DataDir, sync_dir},
    format::{CHUNK, Digest, Record, seal_all},
    high_water::HighWater,
    safekeeping,
    store::{Draft, Head, PAGE, Store, StoreError},
};

/// Bytes of pages that sled keeps in memory.
const CACHE: u64 = 64 << 20;

const HEAD: &[u8] = b"head";

/// A journal in a data directory that this process has for itself.
#[derive(Debug)]
pub struct SledStore {
    /// None only while it is being dropped.
    db: Option<Db>,
    /// sled's own data file, to wait for the disk.
    file: File,
    writer: Mutex<Writer>,
    /// What is acknowledged; written by the writer, read by everybody.
    head: RwLock<Head>,
    dir: DataDir,
}

#[derive(Debug)]
struct Writer {
    high_water: HighWater,
    /// How an append failed, since when none is taken.
    poisoned: Option<String>,
}

impl SledStore {
    /// Opens the journal in the data directory `path`, or begins one there, and verifies all of it.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let dir = DataDir::claim(path)?;
        let failed = |doing| move |e| StoreError::from_io(path, doing, e);
        prepare(&dir)?;
        safekeeping::keep(&dir).map_err(failed("copy the database's files"))?;
        let opened = Self::open_journal(&dir).and_then(|opened| {
            safekeeping::discard(&dir)
                .map_err(failed("discard the copy of the database's files"))?;
            Ok(opened)
        });
        let (db, file, head, high_water) = opened.inspect_err(|_| {
            // Where this fails the copy stays, and the next to open the directory puts it back.
            let _ = safekeeping::put_back(&dir);
        })?;
        let writer = Mutex::new(Writer { high_water, poisoned: None });
        Ok(Self { db: Some(db), file, writer, head: RwLock::new(head), dir })
    }

    fn open_journal(dir: &DataDir) -> Result<(Db, File, Head, HighWater), StoreError> {
        let (path, journal) = (dir.path(), dir.journal());
        let failed = |doing| move |e| StoreError::from_io(path, doing, e);
        let config = sled::Config::new().path(&journal).cache_capacity(CACHE);
        let db = guarded(path, "open the database", || config.open())?;
        let file = File::open(journal.join("db")).map_err(failed("open the database's file"))?;
        // sled makes its files without waiting for their names to be durable.
        File::open(journal.join("conf"))
            .and_then(|conf| conf.sync_all())
            .and_then(|()| sync_dir(&journal))
            .and_then(|()| sync_dir(path))
            .map_err(failed("make the database's files durable"))?;
        let (head, high_water) = verify(&db, dir)?;
        Ok((db, file, head, high_water))
    }

    /// Takes records as they were exported, which the caller has found to follow what is there.
    pub(super) fn adopt(&self, records: &[Record]) -> Result<(), StoreError> {
        let Some(last) = records.last() else { return Ok(()) };
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let head = Head { seq: last.seq, hash: last.hash, ..self.head() };
        self.commit(&mut writer, records, head)?;
        *self.head.write().unwrap_or_else(PoisonError::into_inner) = head;
        Ok(())
    }

    fn db(&self) -> &Db {
        self.db.as_ref().expect("the database is there until the store is dropped")
    }

    /// Everything that must have happened before an append is acknowledged.
    fn commit(
        &self,
        writer: &mut Writer,
        records: &[Record],
        head: Head,
    ) -> Result<(), StoreError> {
        let path = self.dir.path();
        let mut batch = Batch::default();
        for record in records {
            for (chunk, index) in record.to_bytes().chunks(CHUNK).zip(0..) {
                batch.insert(&key(record.seq, index), chunk);
            }
        }
        batch.insert(HEAD, [&head.seq.to_be_bytes()[..], &head.hash.0].concat());
        guarded(path, "write to the database", || {
            self.db().apply_batch(batch)?;
            self.db().flush().map(drop)
        })?;
        let failed = |doing| move |e| StoreError::from_io(path, doing, e);
        self.file.sync_data().map_err(failed("wait for the disk"))?;
        writer.high_water.raise(head.seq, head.hash).map_err(failed("write the high-water mark"))
    }
}

impl Store for SledStore {
    fn append(&self, epoch: u64, drafts: &[Draft]) -> Result<Range<u64>, StoreError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = || self.dir.path().to_owned();
        if let Some(cause) = &writer.poisoned {
            return Err(StoreError::Poisoned { dir: dir(), cause: cause.clone() });
        }
        let head = self.head();
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
        // What cannot be read back would stop every recovery from now on.
        for record in &records {
            record.open().map_err(|cause| unwritable((record.seq, cause)))?;
        }
        let head = Head { seq: last.seq, hash: last.hash, epoch };
        if let Err(error) = self.commit(&mut writer, &records, head) {
            writer.poisoned = Some(with_causes(&error));
            return Err(error);
        }
        *self.head.write().unwrap_or_else(PoisonError::into_inner) = head;
        Ok(first..head.seq + 1)
    }

    fn records(&self, from: u64, limit: usize) -> Result<Vec<Record>, StoreError> {
        let from = from.max(1);
        let end = from.saturating_add(limit as u64).min(self.head().seq + 1);
        stored(self.db(), self.dir.path(), from..end)
    }

    fn head(&self) -> Head {
        *self.head.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        let db = self.db.take();
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(db)));
        let writer = self.writer.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Whoever opens the directory next finds sled's lock free, unless sled broke: then its threads
        // may never let go, and neither would this.
        if dropped.is_ok() && writer.poisoned.is_none() && self.file.lock().is_ok() {
            let _ = self.file.unlock();
        }
    }
}

/// Makes room for sled to open, without touching anything that another process may be using.
fn prepare(dir: &DataDir) -> Result<(), StoreError> {
    let failed = |doing| move |e| StoreError::from_io(dir.path(), doing, e);
    match File::open(dir.journal().join("db")) {
        Ok(file) => match file.try_lock() {
            Ok(()) => file.unlock().map_err(failed("unlock the database"))?,
            Err(TryLockError::WouldBlock) => {
                let holder = "a process that opened the database by itself".into();
                return Err(StoreError::InUse { dir: dir.path().into(), holder });
            }
            Err(TryLockError::Error(e)) => return Err(failed("lock the database")(e)),
        },
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        Err(e) => return Err(failed("open the database's file")(e)),
    }
    delete_half_made_snapshots(&dir.journal()).map_err(failed("delete a half-made snapshot"))
}

fn delete_half_made_snapshots(journal: &Path) -> io::Result<()> {
    let files = match fs::read_dir(journal) {
        Ok(files) => files,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    for file in files {
        let file = file?;
        let name = file.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(file.path())?;
        }
    }
    Ok(())
}

/// The head that the last transaction recorded, before the first epoch.
fn recorded_head(db: &Db, path: &Path) -> Result<Head, StoreError> {
    let Some(bytes) = guarded(path, "read the head", || db.get(HEAD))? else {
        return Ok(Head::EMPTY);
    };
    let parse = |bytes: &[u8]| {
        let (seq, hash) = bytes.split_first_chunk()?;
        let hash = Digest(hash.try_into().ok()?);
        Some(Head { seq: u64::from_be_bytes(*seq), hash, epoch: 0 })
    };
    parse(&bytes).ok_or_else(|| corrupt(path, "the recorded head is not one".into()))
}

/// Walks every record: the chain holds from the first to the recorded head, nothing lies behind it, and
/// it reaches the high-water mark, which is returned open for writing.
fn verify(db: &Db, dir: &DataDir) -> Result<(Head, HighWater), StoreError> {
    let path = dir.path();
    let mut head = recorded_head(db, path)?;
    let unusable = || corrupt(path, "its high-water mark cannot be read".into());
    let (high_water, mark, mark_hash) = match HighWater::open(&dir.high_water()) {
        Ok(opened) => opened.ok_or_else(unusable)?,
        Err(e) if e.kind() == ErrorKind::NotFound => return Err(unusable()),
        Err(e) => return Err(StoreError::from_io(path, "open the high-water mark", e)),
    };
    let mut chain = Chain::before(1);
    let mut last = Digest::GENESIS;
    let mut next = 1;
    while next <= head.seq {
        let end = (next + PAGE as u64).min(head.seq + 1);
        for record in stored(db, path, next..end)? {
            chain.follow(&record).map_err(|broken| broken.into_error(path))?;
            if record.seq == mark && record.hash != mark_hash {
                let detail = format!("entry {mark}: it is not the one that was acknowledged");
                return Err(corrupt(path, detail));
            }
            last = record.hash;
            if record.seq == head.seq {
                let unreadable =
                    |source| StoreError::Unreadable { dir: path.into(), seq: head.seq, source };
                head.epoch = record.open().map_err(unreadable)?.epoch;
            }
        }
        next = end;
    }
    if last != head.hash {
        let detail = format!("entry {}: it is not the recorded head", head.seq);
        return Err(corrupt(path, detail));
    }
    let behind = key(head.seq + 1, 0)..key(u64::MAX, u32::MAX);
    if guarded(path, "read the database", || db.range(behind).next().transpose())?.is_some() {
        let detail = format!("entry {}: it lies behind the recorded head", head.seq + 1);
        return Err(corrupt(path, detail));
    }
    if head.seq < mark {
        let detail =
            format!("entry {}: it was acknowledged (up to {mark}) and is gone", head.seq + 1);
        return Err(corrupt(path, detail));
    }
    Ok((head, high_water))
}

/// The records of these numbers, each there: what is missing is not intact.
fn stored(db: &Db, path: &Path, seqs: Range<u64>) -> Result<Vec<Record>, StoreError> {
    if seqs.is_empty() {
        return Ok(Vec::new());
    }
    let mut chunks = db.range(key(seqs.start, 0)..key(seqs.end, 0));
    guarded(path, "read the database", || {
        let mut ahead = chunks.next().transpose()?;
        let mut records = Vec::new();
        for seq in seqs {
            let mut bytes = Vec::new();
            let mut index = 0;
            while let Some((_, chunk)) = ahead.take_if(|(k, _)| **k == key(seq, index)) {
                bytes.extend_from_slice(&chunk);
                index += 1;
                ahead = chunks.next().transpose()?;
            }
            records.push(Record::from_bytes(seq, &bytes));
        }
        Ok(records)
    })
}

fn key(seq: u64, chunk: u32) -> [u8; 13] {
    let mut key = [b'e'; 13];
    key[1..9].copy_from_slice(&seq.to_be_bytes());
    key[9..].copy_from_slice(&chunk.to_be_bytes());
    key
}

/// Calls sled; a panic in it becomes an error like any other.
fn guarded<T>(
    path: &Path,
    doing: &'static str,
    call: impl FnOnce() -> sled::Result<T>,
) -> Result<T, StoreError> {
    let error = match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(answer)) => return Ok(answer),
        Ok(Err(error)) => error,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text =
                text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
            return Err(corrupt(path, format!("cannot {doing}: the database panicked: {text}")));
        }
    };
    Err(match error {
        sled::Error::Io(error) => StoreError::from_io(path, doing, error),
        sled::Error::Corruption { at, .. } => {
            let place = at.map(|at| format!(" at {at}")).unwrap_or_default();
            corrupt(path, format!("cannot {doing}: the database found damage{place}"))
        }
        sled::Error::Unsupported(why) | sled::Error::ReportableBug(why) => {
            corrupt(path, format!("cannot {doing}: {why}"))
        }
        sled::Error::CollectionNotFound(name) => {
            corrupt(path, format!("cannot {doing}: no collection {name:?}"))
        }
    })
}

fn corrupt(path: &Path, detail: String) -> StoreError {
    StoreError::Corrupt { dir: path.into(), detail }
}

/// An error with what led to it, as one line: it is kept as text for the refusals that follow.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |e| e.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests;
