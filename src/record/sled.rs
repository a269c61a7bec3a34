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
//! - Its lock is free once the last copy of its file's handle is closed: one of its threads, or a child
//!   that is being spawned, may hold one for a moment after it is dropped.

use std::{
    fs::{self, File, TryLockError},
    io::{self, ErrorKind},
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
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
    // Dropped in this order: the directory is given up once the database is closed.
    database: Database,
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
        let opened = Database::open(&dir).and_then(|database| {
            let (head, high_water) = verify(&database, &dir)?;
            safekeeping::discard(&dir).map_err(failed("discard the copy of the files"))?;
            Ok((database, head, high_water))
        });
        let (database, head, high_water) = opened.inspect_err(|_| {
            // Where this fails the copy stays, and the next to open the directory puts it back.
            let _ = safekeeping::put_back(&dir);
        })?;
        let writer = Mutex::new(Writer { high_water, poisoned: None });
        Ok(Self { database, writer, head: RwLock::new(head), dir })
    }

    /// Takes records as they were exported, which the caller has found to follow what is there.
    pub(super) fn adopt(&self, records: &[Record]) -> Result<(), StoreError> {
        let Some(last) = records.last() else { return Ok(()) };
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.commit(&mut writer, records, Head { seq: last.seq, hash: last.hash, ..self.head() })
    }

    /// Everything that must have happened before an append is acknowledged.
    fn commit(
        &self,
        writer: &mut Writer,
        records: &[Record],
        head: Head,
    ) -> Result<(), StoreError> {
        let failed = |e| StoreError::from_io(self.dir(), "write the high-water mark", e);
        let committed = self.database.commit(records, head);
        let committed =
            committed.and_then(|()| writer.high_water.raise(head.seq, head.hash).map_err(failed));
        match &committed {
            Ok(()) => *self.head.write().unwrap_or_else(PoisonError::into_inner) = head,
            Err(error) => writer.poisoned = Some(with_causes(error)),
        }
        committed
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
        self.commit(&mut writer, &records, head)?;
        Ok(first..head.seq + 1)
    }

    fn records(&self, from: u64, limit: usize) -> Result<Vec<Record>, StoreError> {
        let from = from.max(1);
        let end = from.saturating_add(limit as u64).min(self.head().seq + 1);
        self.database.records(from..end)
    }

    fn head(&self) -> Head {
        *self.head.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn dir(&self) -> &Path {
        self.dir.path()
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

/// Walks every record: the chain holds from the first to the recorded head, nothing lies behind it, and
/// it reaches the high-water mark, which is returned open for writing.
fn verify(database: &Database, dir: &DataDir) -> Result<(Head, HighWater), StoreError> {
    let path = dir.path();
    let mut head = database.head()?;
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
        for record in database.records(next..end)? {
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
    if database.goes_beyond(head.seq)? {
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

/// sled with its lock, its file and its surprises.
#[derive(Debug)]
struct Database {
    /// None only while it is being dropped.
    db: Option<Db>,
    /// sled's own data file, to wait for the disk.
    file: File,
    path: PathBuf,
}

impl Database {
    fn open(dir: &DataDir) -> Result<Self, StoreError> {
        let (path, journal) = (dir.path(), dir.journal());
        let failed = |doing| move |e| StoreError::from_io(path, doing, e);
        let config = sled::Config::new().path(&journal).cache_capacity(CACHE);
        let db = guarded(path, "open the database", || config.open())?;
        let file = File::open(journal.join("db")).map_err(failed("open the database's file"))?;
        let database = Self { db: Some(db), file, path: path.into() };
        // sled makes its files without waiting for their names to be durable.
        File::open(journal.join("conf"))
            .and_then(|conf| conf.sync_all())
            .and_then(|()| sync_dir(&journal))
            .and_then(|()| sync_dir(path))
            .map_err(failed("make the database's files durable"))?;
        Ok(database)
    }

    fn db(&self) -> &Db {
        self.db.as_ref().expect("the database is there until it is dropped")
    }

    /// One transaction, durable when this returns.
    fn commit(&self, records: &[Record], head: Head) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        for record in records {
            for (chunk, index) in record.to_bytes().chunks(CHUNK).zip(0..) {
                batch.insert(&key(record.seq, index), chunk);
            }
        }
        batch.insert(HEAD, [&head.seq.to_be_bytes()[..], &head.hash.0].concat());
        guarded(&self.path, "write to the database", || {
            self.db().apply_batch(batch)?;
            self.db().flush().map(drop)
        })?;
        let failed = |e| StoreError::from_io(&self.path, "wait for the disk", e);
        self.file.sync_data().map_err(failed)
    }

    /// The head that the last transaction recorded, with the epoch still to be read from its entry.
    fn head(&self) -> Result<Head, StoreError> {
        let Some(bytes) = guarded(&self.path, "read the head", || self.db().get(HEAD))? else {
            return Ok(Head::EMPTY);
        };
        let parse = |bytes: &[u8]| {
            let (seq, hash) = bytes.split_first_chunk()?;
            let hash = Digest(hash.try_into().ok()?);
            Some(Head { seq: u64::from_be_bytes(*seq), hash, epoch: 0 })
        };
        parse(&bytes).ok_or_else(|| corrupt(&self.path, "the recorded head is not one".into()))
    }

    /// The records of these numbers, each there: what is missing is not intact.
    fn records(&self, seqs: Range<u64>) -> Result<Vec<Record>, StoreError> {
        if seqs.is_empty() {
            return Ok(Vec::new());
        }
        let mut chunks = self.db().range(key(seqs.start, 0)..key(seqs.end, 0));
        guarded(&self.path, "read the database", || {
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

    /// Whether anything is stored behind entry `seq`.
    fn goes_beyond(&self, seq: u64) -> Result<bool, StoreError> {
        let beyond = key(seq + 1, 0)..key(u64::MAX, u32::MAX);
        let next = || self.db().range(beyond).next().transpose();
        Ok(guarded(&self.path, "read the database", next)?.is_some())
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let Some(db) = self.db.take() else { return };
        let close = || db.flush().map(|_| drop(db));
        // Waits until sled's lock is free for whoever opens the directory next, unless sled broke: then
        // its threads may never let go.
        if guarded(&self.path, "close the database", close).is_ok() && self.file.lock().is_ok() {
            let _ = self.file.unlock();
        }
    }
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
