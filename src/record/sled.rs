//! The journal on disk, over sled 0.34: the only file that names sled.
//!
//! One tree holds everything: the chunks of each record under `e`, number, chunk, and under `head` the
//! last number and hash. A [`Batch`] over one tree is recovered whole or not at all.
//!
//! What is known about sled and guarded against here:
//! - `flush` on Linux calls `sync_file_range`, which makes neither the file's length nor the disk's
//!   cache durable: a handle of our own calls `sync_data` before anything rests on it.
//! - To wait for both is to wait twice: an append is durable in a file of our own first ([`super::tail`]),
//!   and in sled's whenever that one is full.
//! - A `snap.*.generating` that a crash left behind makes it refuse to open: it is deleted first. A real
//!   `snap.*` never is, since recovery without it cannot tell a torn tail from a flipped bit.
//! - It panics on some damage, when opening and when reading: every call is caught.
//! - A full disk leaves it unable to write until it is opened again, and then and when to read: a page's
//!   split may be finished, with a write, by whoever reads the page next.
//! - Its default cache is 1 GiB.
//! - Its lock is free once the last copy of its file's handle is closed: one of its threads, or a child
//!   that is being spawned, may hold one for a moment after it is dropped.

mod compaction;

use std::{
    fs::{self, File, TryLockError},
    io::{self, ErrorKind},
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError, RwLock},
    thread,
};

use sled::{Batch, Db};

use super::{
    audit::Chain,
    clean_stop,
    data_dir::{DataDir, sync_dir, sync_parent},
    format::{CHUNK, Digest, Record, seal_all},
    high_water::HighWater,
    safekeeping,
    seal::{KeyError, SigningKey},
    store::{Draft, Head, PAGE, Store, StoreError, Written},
    tail::Tail,
};

/// Bytes of pages that sled keeps in memory: what is written is read again only by who asks for the audit.
const CACHE: u64 = 16 << 20;

const HEAD: &[u8] = b"head";

/// From so many records on, the database takes them in while the disk is waited for; for fewer, a thread
/// costs more than it saves.
const SIDE_BY_SIDE: usize = 32;

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
    tail: Tail,
    /// How an append failed, since when none is taken.
    poisoned: Option<String>,
}

impl SledStore {
    /// Opens the journal in the data directory `path`, or begins one there, and verifies all of it.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let dir = DataDir::claim(path)?;
        let failed = |doing| move |e| StoreError::from_io(path, doing, e);
        prepare(&dir)?;
        compaction::settle(&dir).map_err(failed("put a rewritten database in its place"))?;
        safekeeping::settle(&dir).map_err(failed("put a copy of the database's files back"))?;
        if !clean_stop::lift(&dir).map_err(failed("see how the files were left"))? {
            safekeeping::keep(&dir).map_err(failed("copy the database's files"))?;
        }
        let opened = Database::open(path, &dir.journal()).and_then(|database| {
            let verified = verify(&database, &dir)?;
            dir.upgrade()?;
            // Before the tail may be written over.
            safekeeping::discard(&dir).map_err(failed("discard the copy of the files"))?;
            Ok((database, verified))
        });
        let (mut database, (Verified { head, live }, writer)) = opened.inspect_err(|_| {
            // Where this fails the copy stays, and the next to open the directory puts it back.
            let _ = safekeeping::put_back(&dir);
        })?;
        if compaction::is_worth_it(&dir, live) {
            database = compact(database, &dir, head)?;
        }
        Ok(Self { database, writer: Mutex::new(writer), head: RwLock::new(head), dir })
    }

    /// Takes records as they were exported, which the caller has found to follow what is there.
    pub(super) fn adopt(&self, records: &[Record]) -> Result<(), StoreError> {
        let Some(last) = records.last() else { return Ok(()) };
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let head = Head { seq: last.seq, hash: last.hash, ..self.head() };
        self.commit(&mut writer, records, head)
    }

    /// Everything that must have happened before an append is acknowledged.
    fn commit(
        &self,
        writer: &mut Writer,
        records: &[Record],
        head: Head,
    ) -> Result<(), StoreError> {
        let failed = |e| StoreError::from_io(self.dir(), "write the high-water mark", e);
        let committed = self.make_durable(&mut writer.tail, records, head);
        let committed =
            committed.and_then(|()| writer.high_water.raise(head.seq, head.hash).map_err(failed));
        match &committed {
            Ok(()) => *self.head.write().unwrap_or_else(PoisonError::into_inner) = head,
            Err(error) => writer.poisoned = Some(with_causes(error)),
        }
        committed
    }

    /// Durable in the tail, and readable in the database, when this returns.
    fn make_durable(
        &self,
        tail: &mut Tail,
        records: &[Record],
        head: Head,
    ) -> Result<(), StoreError> {
        if !tail.has_room(records) {
            self.database.wait_for_the_disk()?;
            tail.begin_anew();
        }
        if !tail.has_room(records) {
            return self.database.commit(records, head);
        }
        let failed = |doing| move |e| StoreError::from_io(self.dir(), doing, e);
        tail.write(records).map_err(failed("write to the journal's tail"))?;
        let wait = || tail.wait_for_the_disk().map_err(failed("wait for the disk"));
        if records.len() < SIDE_BY_SIDE {
            wait()?;
            return self.database.write(records, head);
        }
        // The disk needs no processor, and the database no disk.
        thread::scope(|scope| {
            let waiting = scope.spawn(wait);
            let written = self.database.write(records, head);
            waiting.join().unwrap_or_else(|panic| resume_unwind(panic)).and(written)
        })
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        let writer = self.writer.get_mut().unwrap_or_else(PoisonError::into_inner);
        let sound = writer.poisoned.is_none();
        // Without it the next start takes longer, and nothing else.
        if self.database.close() && sound {
            let _ = clean_stop::put(&self.dir);
        }
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

    fn keep(&self, write: Written<'_>) -> Result<(), StoreError> {
        let failed = |e| StoreError::from_io(self.dir(), "write a checkpoint", e);
        self.dir.keep_checkpoint(write).map_err(failed)
    }

    fn kept(&self) -> Option<Vec<u8>> {
        fs::read(self.dir.checkpoint()).ok()
    }

    fn key(&self) -> Result<SigningKey, KeyError> {
        SigningKey::open(&self.dir.key())
    }
}

/// Writes the database anew. Where that does not work out, the old one is gone on with.
fn compact(old: Database, dir: &DataDir, head: Head) -> Result<Database, StoreError> {
    let before = compaction::size_of(&dir.journal());
    if let Err(error) = compaction::fill(&old, dir, head) {
        compaction::give_up(dir);
        tracing::warn!(error = with_causes(&error), "the journal's database is not made smaller");
        return Ok(old);
    }
    let failed = |e| StoreError::from_io(dir.path(), "put a rewritten database in its place", e);
    compaction::publish(dir).map_err(failed)?;
    drop(old);
    compaction::settle(dir).map_err(failed)?;
    let new = Database::open(dir.path(), &dir.journal())?;
    let after = compaction::size_of(&dir.journal());
    tracing::info!(before, after, "wrote the journal's database anew; sizes are in bytes");
    Ok(new)
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

/// What a walk along all records found.
struct Verified {
    head: Head,
    /// The bytes of all records.
    live: u64,
}

/// The journal is whole, once it has what the tail has beyond it, and it reaches the high-water mark.
fn verify(database: &Database, dir: &DataDir) -> Result<(Verified, Writer), StoreError> {
    let path = dir.path();
    let unusable = || corrupt(path, "its high-water mark cannot be read".into());
    let (high_water, mark, mark_hash) = match HighWater::open(&dir.high_water()) {
        Ok(opened) => opened.ok_or_else(unusable)?,
        Err(e) if e.kind() == ErrorKind::NotFound => return Err(unusable()),
        Err(e) => return Err(StoreError::from_io(path, "open the high-water mark", e)),
    };
    let failed = |e| StoreError::from_io(path, "read the journal's tail", e);
    let (tail, groups) = Tail::open(&dir.tail()).map_err(failed)?;
    let acknowledged = |record: &Record| {
        if record.seq == mark && record.hash != mark_hash {
            let detail = format!("entry {mark}: it is not the one that was acknowledged");
            return Err(corrupt(path, detail));
        }
        Ok(())
    };
    let mut verified = verified(database, path, acknowledged)?;
    for group in groups {
        take_in(database, path, &mut verified, &group)?;
        group.iter().try_for_each(acknowledged)?;
    }
    // What was taken in is durable before the tail may be written over.
    database.wait_for_the_disk()?;
    let head = verified.head;
    if head.seq < mark {
        let detail =
            format!("entry {}: it was acknowledged (up to {mark}) and is gone", head.seq + 1);
        return Err(corrupt(path, detail));
    }
    Ok((verified, Writer { high_water, tail, poisoned: None }))
}

/// Gives the database what it lacks of an append that the tail has; the rest must be the same in both.
fn take_in(
    database: &Database,
    path: &Path,
    verified: &mut Verified,
    group: &[Record],
) -> Result<(), StoreError> {
    let head = verified.head;
    let (known, new): (Vec<_>, Vec<_>) =
        group.iter().cloned().partition(|record| record.seq <= head.seq);
    if let Some(last) = known.last() {
        let there = database.records(last.seq..last.seq + 1)?;
        if there.first() != Some(last) {
            let detail = format!("entry {}: the journal's tail has another", last.seq);
            return Err(corrupt(path, detail));
        }
    }
    let (Some(first), Some(last)) = (new.first(), new.last()) else { return Ok(()) };
    if first.seq != head.seq + 1 || first.prev != head.hash {
        let detail = format!("entry {}: the journal's tail does not follow", head.seq + 1);
        return Err(corrupt(path, detail));
    }
    let unreadable = |source| StoreError::Unreadable { dir: path.into(), seq: last.seq, source };
    let epoch = last.open().map_err(unreadable)?.epoch;
    verified.head = Head { seq: last.seq, hash: last.hash, epoch };
    verified.live += new.iter().map(Record::size).sum::<u64>();
    database.write(&new, verified.head)
}

/// Walks every record: the chain holds from the first to the recorded head, and nothing lies behind it.
/// Only bytes are looked at; no entry but the last is understood.
fn verified(
    database: &Database,
    path: &Path,
    mut see: impl FnMut(&Record) -> Result<(), StoreError>,
) -> Result<Verified, StoreError> {
    let mut head = database.head()?;
    let mut chain = Chain::before(1);
    let mut last = Digest::GENESIS;
    let (mut next, mut live) = (1, 0);
    while next <= head.seq {
        let end = (next + PAGE as u64).min(head.seq + 1);
        for record in database.records(next..end)? {
            chain.follow(&record).map_err(|broken| broken.into_error(path))?;
            see(&record)?;
            last = record.hash;
            live += record.size();
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
    Ok(Verified { head, live })
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
    /// Opens the database in the folder `journal`, or makes it; `path` is the data directory, for
    /// messages.
    fn open(path: &Path, journal: &Path) -> Result<Self, StoreError> {
        let failed = |doing| move |e| StoreError::from_io(path, doing, e);
        let config = sled::Config::new().path(journal).cache_capacity(CACHE);
        let db = guarded(path, "open the database", || config.open())?;
        let file = File::open(journal.join("db")).map_err(failed("open the database's file"))?;
        let database = Self { db: Some(db), file, path: path.into() };
        // sled makes its files without waiting for their names to be durable.
        File::open(journal.join("conf"))
            .and_then(|conf| conf.sync_all())
            .and_then(|()| sync_dir(journal))
            .and_then(|()| sync_parent(journal))
            .map_err(failed("make the database's files durable"))?;
        Ok(database)
    }

    fn db(&self) -> &Db {
        self.db.as_ref().expect("the database is there until it is dropped")
    }

    /// One transaction, durable when this returns.
    fn commit(&self, records: &[Record], head: Head) -> Result<(), StoreError> {
        self.write(records, head)?;
        self.wait_for_the_disk()
    }

    /// One transaction, durable some time.
    fn write(&self, records: &[Record], head: Head) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        for record in records {
            for (chunk, index) in record.to_bytes().chunks(CHUNK).zip(0..) {
                batch.insert(&key(record.seq, index), chunk);
            }
        }
        batch.insert(HEAD, [&head.seq.to_be_bytes()[..], &head.hash.0].concat());
        guarded(&self.path, "write to the database", || self.db().apply_batch(batch))
    }

    /// Everything written is durable when this returns.
    fn wait_for_the_disk(&self) -> Result<(), StoreError> {
        guarded(&self.path, "write to the database", || self.db().flush().map(drop))?;
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

impl Database {
    /// Writes what sled has still in memory, and lets go of its files; whether that went well.
    fn close(&mut self) -> bool {
        let Some(db) = self.db.take() else { return false };
        let close = || db.flush().map(|_| drop(db));
        // Waits until sled's lock is free for whoever opens the directory next, unless sled broke: then
        // its threads may never let go.
        let closed =
            guarded(&self.path, "close the database", close).is_ok() && self.file.lock().is_ok();
        closed && self.file.unlock().is_ok()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.close();
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
