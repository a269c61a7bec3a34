//! The data directory: who has it, and which format it is in.
//!
//! ```text
//! lock        held by the process that has the directory; names it
//! format      `ringward journal 2`; there once the directory is whole
//! high-water  how far the journal had come
//! tail        what was recorded last; the database may not have it yet
//! clean-stop  how a clean stop left the files; there while nobody has them open
//! checkpoint  the world as of an entry, so that a start need not fold all of them; see `super::checkpoint`
//! audit.key   what heads of the journal are signed with, once one was
//! journal/    the database's own files; `super::safekeeping` and `super::sled` name what may lie beside
//!             them while they are opened or written anew
//! ```

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, BufWriter, ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, FileExt},
    path::{Path, PathBuf},
};

use super::{
    high_water::HighWater,
    store::{StoreError, Written},
};

/// The format that this program writes, and the newest that it knows. A directory of format 1 has no
/// `tail`: whoever knows of none must not open one that has.
pub(super) const FORMAT: u32 = 2;

const MARKER: &str = "ringward journal ";

/// A directory that this process has for itself until the value is dropped.
#[derive(Debug)]
pub(super) struct DataDir {
    path: PathBuf,
    lock: File,
}

impl DataDir {
    /// Takes the directory at `path`, which is made where there is none.
    pub(super) fn claim(path: &Path) -> Result<Self, StoreError> {
        // Before the lock file is made: what a newer version wrote is left exactly as it is.
        let failed = |doing| move |e| StoreError::from_io(path, doing, e);
        read_format(path)?;
        make_private(path).map_err(failed("make the data directory"))?;
        let lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join("lock"))
            .map_err(failed("open the lock file"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::InUse { dir: path.into(), holder: holder(path) });
            }
            Err(TryLockError::Error(e)) => return Err(failed("lock the data directory")(e)),
        }
        let dir = Self { path: path.into(), lock };
        dir.sign().map_err(failed("write the lock file"))?;
        match read_format(path)? {
            Some(_) => {}
            None if dir.journal().exists() => {
                let detail = "there is a journal, but no `format` file beside it".into();
                return Err(StoreError::Corrupt { dir: path.into(), detail });
            }
            None => dir.found().map_err(failed("write the format file"))?,
        }
        Ok(dir)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the database's own files are.
    pub(super) fn journal(&self) -> PathBuf {
        self.path.join("journal")
    }

    pub(super) fn high_water(&self) -> PathBuf {
        self.path.join("high-water")
    }

    pub(super) fn tail(&self) -> PathBuf {
        self.path.join("tail")
    }

    pub(super) fn clean_stop(&self) -> PathBuf {
        self.path.join("clean-stop")
    }

    pub(super) fn checkpoint(&self) -> PathBuf {
        self.path.join("checkpoint")
    }

    pub(super) fn key(&self) -> PathBuf {
        self.path.join("audit.key")
    }

    /// Puts another checkpoint in the place of the last, whole or not at all.
    pub(super) fn keep_checkpoint(&self, write: Written<'_>) -> io::Result<()> {
        let draft = self.path.join("checkpoint.new");
        let kept = File::create(&draft)
            .and_then(|file| {
                let mut file = BufWriter::with_capacity(1 << 16, file);
                write(&mut file)?;
                file.into_inner()?.sync_all()
            })
            .and_then(|()| fs::rename(&draft, self.checkpoint()))
            .and_then(|()| sync_dir(&self.path));
        if kept.is_err() {
            let _ = fs::remove_file(draft);
        }
        kept
    }

    fn sign(&self) -> io::Result<()> {
        let name = format!("process {}", std::process::id());
        self.lock.set_len(0)?;
        self.lock.write_all_at(name.as_bytes(), 0)
    }

    /// The format file comes last: a directory without it and without a journal was never used.
    fn found(&self) -> io::Result<()> {
        HighWater::create(&self.high_water())?;
        self.mark()
    }

    /// Says that the directory is in the newest format: all that an earlier one has, it has too.
    pub(super) fn upgrade(&self) -> Result<(), StoreError> {
        let failed = |e| StoreError::from_io(&self.path, "write the format file", e);
        match read_format(&self.path)? {
            Some(FORMAT) => Ok(()),
            Some(_) | None => self.mark().map_err(failed),
        }
    }

    fn mark(&self) -> io::Result<()> {
        let (draft, marker) = (self.path.join("format.new"), self.path.join("format"));
        let mut file = File::create(&draft)?;
        writeln!(file, "{MARKER}{FORMAT}")?;
        file.sync_all()?;
        fs::rename(draft, marker)?;
        sync_dir(&self.path)
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        // Explicitly: a child that is being spawned may hold a copy of the handle for a moment longer.
        let _ = self.lock.unlock();
    }
}

/// Makes a directory's entries durable.
pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Makes a directory's own name durable.
pub(super) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        Some(_) => sync_dir(Path::new(".")),
        None => Ok(()),
    }
}

/// The journal is not for everybody on the machine to read.
fn make_private(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    sync_parent(path)
}

fn holder(path: &Path) -> String {
    let name = fs::read_to_string(path.join("lock")).unwrap_or_default();
    if name.starts_with("process ") { name } else { "another process".into() }
}

/// The directory's format; nothing where it has no format file.
fn read_format(dir: &Path) -> Result<Option<u32>, StoreError> {
    let text = match fs::read(dir.join("format")) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(StoreError::from_io(dir, "read the format file", e)),
    };
    match text.trim_end().strip_prefix(MARKER).and_then(|n| n.parse().ok()) {
        Some(found) if found > FORMAT => {
            Err(StoreError::NewerFormat { dir: dir.into(), found, known: FORMAT })
        }
        Some(found) if found > 0 => Ok(Some(found)),
        Some(_) | None => {
            let detail = format!("its `format` file does not say `{MARKER}{FORMAT}`");
            Err(StoreError::Corrupt { dir: dir.into(), detail })
        }
    }
}
