//! Writes the database anew where its files hold much more than what lives in them: sled gives a file
//! no room back, and reuses what is free in it only in part.
//!
//! It happens at a start, when the journal has just been verified and nobody writes. The new database is
//! filled and verified beside the old one, and takes its place by a rename:
//!
//! ```text
//! journal.compacting  being filled; worth nothing yet
//! journal.compacted   whole; wins over `journal/`, which holds the same entries
//! ```

use std::{fs, io, path::Path};

use super::{Database, Head, verified};
use crate::record::{
    data_dir::{DataDir, sync_dir},
    store::StoreError,
};

/// Files that are smaller than this are left alone.
const SMALL: u64 = 64 << 20;

/// Entries that are written anew together.
const TOGETHER: u64 = 1_024;

/// Whether the files hold so much more than what lives that they are worth being written anew.
pub(super) fn is_worth_it(dir: &DataDir, live: u64) -> bool {
    // A fresh database takes up to one and a half times what it holds.
    let size = size_of(&dir.journal());
    size > SMALL && size > live.saturating_mul(3)
}

/// Ends what a process that was killed had begun: a whole new database takes its place, any other goes.
pub(super) fn settle(dir: &DataDir) -> io::Result<()> {
    let [compacting, compacted] = places(dir);
    remove(&compacting)?;
    if compacted.exists() {
        remove(&dir.journal())?;
        fs::rename(compacted, dir.journal())?;
        sync_dir(dir.path())?;
    }
    Ok(())
}

/// Fills a new database with the entries up to `head`, and reads all of it again.
pub(super) fn fill(old: &Database, dir: &DataDir, head: Head) -> Result<(), StoreError> {
    let [compacting, _] = places(dir);
    let failed = |doing| move |e| StoreError::from_io(dir.path(), doing, e);
    remove(&compacting).map_err(failed("remove a half-made database"))?;
    let new = Database::open(dir.path(), &compacting)?;
    let mut next = 1;
    while next <= head.seq {
        let end = (next + TOGETHER).min(head.seq + 1);
        let records = old.records(next..end)?;
        let Some(last) = records.last() else { break };
        new.write(&records, Head { seq: last.seq, hash: last.hash, ..head })?;
        next = end;
    }
    new.wait_for_the_disk()?;
    drop(new);
    // What lies on the disk, and not what was meant to.
    let new = Database::open(dir.path(), &compacting)?;
    let read = verified(&new, dir.path(), |_| Ok(()))?;
    if (read.head.seq, read.head.hash) != (head.seq, head.hash) {
        let detail = "a database that was just written does not hold what it should".into();
        return Err(super::corrupt(dir.path(), detail));
    }
    Ok(())
}

/// From here on the new database is the journal, whatever happens.
pub(super) fn publish(dir: &DataDir) -> io::Result<()> {
    let [compacting, compacted] = places(dir);
    fs::rename(compacting, compacted)?;
    sync_dir(dir.path())
}

/// Nothing came of it.
pub(super) fn give_up(dir: &DataDir) {
    let [compacting, _] = places(dir);
    let _ = remove(&compacting);
}

/// The bytes of all files below.
pub(super) fn size_of(path: &Path) -> u64 {
    let Ok(files) = fs::read_dir(path) else { return path.metadata().map_or(0, |m| m.len()) };
    files.filter_map(|file| Some(size_of(&file.ok()?.path()))).sum()
}

fn places(dir: &DataDir) -> [std::path::PathBuf; 2] {
    ["compacting", "compacted"].map(|state| dir.journal().with_extension(state))
}

fn remove(path: &Path) -> io::Result<()> {
    if path.exists() { fs::remove_dir_all(path) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{SledStore, Store, audit, conformance::drafts};

    const ENTRIES: u64 = 300;

    /// A journal whose database is mostly garbage, and its data directory.
    fn worn() -> (tempfile::TempDir, Vec<crate::record::Entry>) {
        let place = tempfile::tempdir().unwrap();
        let store = SledStore::open(place.path()).unwrap();
        store.append(1, &drafts(1..=ENTRIES)).unwrap();
        for round in 0..200u32 {
            let bytes = round.to_be_bytes().repeat(20_000);
            store.database.db().insert("garbage", bytes).unwrap();
            store.database.db().flush().unwrap();
        }
        store.database.db().remove("garbage").unwrap();
        let entries = store.read(1, usize::MAX).unwrap();
        (place, entries)
    }

    /// The directory as a process has it that opened the journal and is about to write it anew.
    fn at_a_start(place: &Path) -> (DataDir, Database, Head) {
        let dir = DataDir::claim(place).unwrap();
        let database = Database::open(place, &dir.journal()).unwrap();
        let head = verified(&database, place, |_| Ok(())).unwrap().head;
        (dir, database, head)
    }

    fn whole(place: &Path, entries: &[crate::record::Entry]) {
        let store = SledStore::open(place).unwrap();
        assert_eq!(audit::verify(&store).unwrap().broken, None);
        assert_eq!(store.read(1, usize::MAX).unwrap(), entries);
        let next = store.head().seq + 1;
        assert_eq!(store.append(1, &drafts(next..=next)).unwrap(), next..next + 1);
        drop(store);
        let mut names: Vec<_> =
            fs::read_dir(place).unwrap().map(|f| f.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["clean-stop", "format", "high-water", "journal", "lock", "tail"]);
    }

    #[test]
    fn it_holds_the_same_in_less_room() {
        let (place, entries) = worn();
        let (dir, database, head) = at_a_start(place.path());
        let before = size_of(&dir.journal());
        let database = super::super::compact(database, &dir, head).unwrap();
        let after = size_of(&dir.journal());
        assert!(after < before / 2, "{before} bytes, then {after}");
        drop((database, dir));
        whole(place.path(), &entries);
    }

    /// A process may be killed behind any step; each leaves a directory with all entries.
    #[test]
    fn it_may_be_killed_anywhere() {
        type Step = fn(&DataDir);
        let steps: [(&str, Step); 5] = [
            ("half filled", |dir| {
                fs::write(dir.path().join("journal.compacting/db"), "half").unwrap();
            }),
            ("filled", |_| {}),
            ("published", |dir| publish(dir).unwrap()),
            ("the old one half removed", |dir| {
                publish(dir).unwrap();
                fs::remove_file(dir.journal().join("db")).unwrap();
            }),
            ("the old one removed", |dir| {
                publish(dir).unwrap();
                fs::remove_dir_all(dir.journal()).unwrap();
            }),
        ];
        for (what, killed_behind) in steps {
            println!("{what}");
            let (place, entries) = worn();
            let (dir, database, head) = at_a_start(place.path());
            fill(&database, &dir, head).unwrap();
            drop(database);
            killed_behind(&dir);
            drop(dir);
            whole(place.path(), &entries);
        }
    }

    #[test]
    fn what_cannot_be_read_is_not_written_anew() {
        let (place, entries) = worn();
        let (dir, database, head) = at_a_start(place.path());
        // The new one would lack what the head promises.
        let beyond = Head { seq: head.seq + 1, ..head };
        assert!(fill(&database, &dir, beyond).is_err());
        let database = super::super::compact(database, &dir, beyond).unwrap();
        drop((database, dir));
        whole(place.path(), &entries);
    }

    #[test]
    fn a_small_journal_is_left_alone() {
        let (place, _) = worn();
        let (dir, database, _) = at_a_start(place.path());
        assert!(size_of(&dir.journal()) < SMALL);
        assert!(!is_worth_it(&dir, 1));
        drop(database);
    }
}
