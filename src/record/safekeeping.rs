//! Keeps the database's files as they were until opening them has gone well.
//!
//! Opening is not reading: sled takes damage in the part of its log that no snapshot covers for the
//! end of the log, and wipes what lies behind it, though most of that was sound. So it opens the
//! journal while a copy stands beside it, and the copy takes its place again where it is refused. No
//! copy is made of files that are as a clean stop left them ([`super::clean_stop`]).
//!
//! ```text
//! journal.keeping    a copy being made; worth nothing yet
//! journal.kept       a whole copy: opening has not ended; wins over `journal/`
//! journal.discarded  a copy that is no longer needed
//! ```

use std::{fs, io, path::Path};

use super::data_dir::{DataDir, sync_dir};

/// What a process that was killed while opening had kept is put back, and what else it left goes.
pub(super) fn settle(dir: &DataDir) -> io::Result<()> {
    put_back(dir)?;
    let [keeping, _, discarded] = places(dir);
    remove(&keeping)?;
    remove(&discarded)
}

/// Copies the journal.
pub(super) fn keep(dir: &DataDir) -> io::Result<()> {
    let [keeping, kept, _] = places(dir);
    if dir.journal().exists() {
        copy(&dir.journal(), &keeping)?;
        fs::rename(keeping, kept)?;
        sync_dir(dir.path())?;
    }
    Ok(())
}

/// Opening went well. That the copy is gone is durable when this returns: had it been there after the
/// next append, it would win over what was acknowledged.
pub(super) fn discard(dir: &DataDir) -> io::Result<()> {
    let [_, kept, discarded] = places(dir);
    if kept.exists() {
        fs::rename(kept, &discarded)?;
        sync_dir(dir.path())?;
        fs::remove_dir_all(discarded)?;
    }
    Ok(())
}

/// Opening went wrong: the files are again as they were.
pub(super) fn put_back(dir: &DataDir) -> io::Result<()> {
    let [_, kept, _] = places(dir);
    if kept.exists() {
        remove(&dir.journal())?;
        fs::rename(kept, dir.journal())?;
        sync_dir(dir.path())?;
    }
    Ok(())
}

fn places(dir: &DataDir) -> [std::path::PathBuf; 3] {
    ["keeping", "kept", "discarded"].map(|state| dir.journal().with_extension(state))
}

fn remove(path: &Path) -> io::Result<()> {
    if path.exists() { fs::remove_dir_all(path) } else { Ok(()) }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for file in fs::read_dir(from)? {
        let file = file?;
        let to = to.join(file.file_name());
        if file.file_type()?.is_dir() {
            copy(&file.path(), &to)?;
        } else {
            fs::copy(file.path(), &to)?;
            fs::File::open(to)?.sync_all()?;
        }
    }
    sync_dir(to)
}
