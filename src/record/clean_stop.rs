//! What a clean stop says of the files that it leaves: their lengths and hashes.
//!
//! Opening the database needs a copy of it beside it ([`super::safekeeping`]), because what was damaged
//! meanwhile may be wiped with all that lies behind. Files that are to the last bit as a clean stop left
//! them were not damaged. What is said is taken away before the database is opened: nothing is said of
//! files that somebody has written to since.

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use sha2::{Digest as _, Sha256};

use super::{
    data_dir::{DataDir, sync_dir},
    format::Digest,
};

/// Bytes that are hashed together: a large file by all processors.
const TOGETHER: u64 = 16 << 20;

/// Says how the files are.
pub(super) fn put(dir: &DataDir) -> io::Result<()> {
    let draft = dir.clean_stop().with_extension("new");
    fs::write(&draft, text(dir)?)?;
    fs::rename(draft, dir.clean_stop())
}

/// Takes away what was said; whether the files are so.
pub(super) fn lift(dir: &DataDir) -> io::Result<bool> {
    let said = match fs::read(dir.clean_stop()) {
        Ok(said) => said,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(e),
    };
    // What cannot be read is not as it was; whoever opens it says so.
    let same = text(dir).is_ok_and(|text| text.as_bytes() == said);
    fs::remove_file(dir.clean_stop())?;
    sync_dir(dir.path())?;
    Ok(same)
}

/// A line a file: its hash, its length and its name.
fn text(dir: &DataDir) -> io::Result<String> {
    let mut text = String::new();
    for path in [dir.high_water(), dir.tail()].into_iter().chain(files(&dir.journal())?) {
        let file = File::open(&path)?;
        let length = file.metadata()?.len();
        let name = path.strip_prefix(dir.path()).unwrap_or(&path).display();
        text.push_str(&format!("{} {length} {name}\n", hash(&file, length)?));
    }
    Ok(text)
}

/// Every file below, in an order that is the same each time.
fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for file in fs::read_dir(path)? {
        let file = file?;
        match file.file_type()?.is_dir() {
            true => paths.extend(files(&file.path())?),
            false => paths.push(file.path()),
        }
    }
    paths.sort();
    Ok(paths)
}

/// A hash over the hashes of the file's pieces.
fn hash(file: &File, length: u64) -> io::Result<Digest> {
    let pieces = length.div_ceil(TOGETHER) as usize;
    let next = AtomicUsize::new(0);
    let work = || -> io::Result<Vec<(usize, Digest)>> {
        let (mut bytes, mut found) = (Vec::new(), Vec::new());
        loop {
            let piece = next.fetch_add(1, Ordering::Relaxed);
            if piece >= pieces {
                return Ok(found);
            }
            let at = piece as u64 * TOGETHER;
            bytes.resize((length - at).min(TOGETHER) as usize, 0);
            file.read_exact_at(&mut bytes, at)?;
            found.push((piece, Digest(Sha256::digest(&bytes).into())));
        }
    };
    let workers = thread::available_parallelism().map_or(1, usize::from).min(pieces.max(1));
    let mut found = thread::scope(|scope| {
        let others: Vec<_> = (1..workers).map(|_| scope.spawn(work)).collect();
        let mut found = work()?;
        for other in others {
            found.extend(other.join().unwrap_or_else(|_| Err(io::Error::other("a panic")))?);
        }
        Ok::<_, io::Error>(found)
    })?;
    found.sort_by_key(|(piece, _)| *piece);
    let hash = found.iter().fold(Sha256::new(), |hash, (_, digest)| hash.chain_update(digest.0));
    Ok(Digest(hash.finalize().into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{SledStore, Store, conformance::drafts};

    /// A directory as a clean stop leaves it.
    fn stopped() -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        let store = SledStore::open(place.path()).unwrap();
        store.append(1, &drafts(1..=300)).unwrap();
        drop(store);
        place
    }

    fn lifted(place: &Path) -> bool {
        lift(&DataDir::claim(place).unwrap()).unwrap()
    }

    #[test]
    fn a_clean_stop_leaves_one_and_a_start_takes_it_away() {
        let place = stopped();
        assert!(place.path().join("clean-stop").exists());
        assert!(lifted(place.path()));
        assert!(!place.path().join("clean-stop").exists());
        assert!(!lifted(place.path()), "it is good for one start");
        let store = SledStore::open(place.path()).unwrap();
        assert!(
            !place.path().join("clean-stop").exists(),
            "none stands over files that are written to"
        );
        drop(store);
        assert!(lifted(place.path()));
    }

    #[test]
    fn any_change_breaks_it() {
        type Change = fn(&Path);
        let flip = |path: PathBuf, at: usize| {
            let mut bytes = fs::read(&path).unwrap();
            let at = at % bytes.len();
            bytes[at] ^= 1;
            fs::write(path, bytes).unwrap();
        };
        for (name, at) in
            [("journal/db", 0), ("journal/db", 70_000), ("tail", 5), ("high-water", 9)]
        {
            let place = stopped();
            flip(place.path().join(name), at);
            assert!(!lifted(place.path()), "{name}");
        }
        let changes: [Change; 4] = [
            |place| fs::remove_file(place.join("tail")).unwrap(),
            |place| fs::write(place.join("journal/another"), "").unwrap(),
            |place| {
                let db = File::options().write(true).open(place.join("journal/db")).unwrap();
                db.set_len(db.metadata().unwrap().len() - 1).unwrap();
            },
            |place| fs::write(place.join("clean-stop"), "").unwrap(),
        ];
        for change in changes {
            let place = stopped();
            change(place.path());
            assert!(!lifted(place.path()));
        }
    }

    #[test]
    fn pieces_are_hashed_in_their_order() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("large");
        let length = TOGETHER * 2 + 7;
        let hashed = |first: u8, second: u8| {
            let mut bytes = vec![0; length as usize];
            (bytes[0], bytes[TOGETHER as usize]) = (first, second);
            fs::write(&path, bytes).unwrap();
            hash(&File::open(&path).unwrap(), length).unwrap()
        };
        assert_eq!(hashed(1, 2), hashed(1, 2));
        assert_ne!(hashed(1, 2), hashed(2, 1));
    }
}
