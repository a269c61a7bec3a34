//! A folder of the demo's own, or of another command, which is gone when that is.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use crate::ids::Mint;

/// A folder that nobody else can read, removed with all that is in it when this is dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes one among the machine's temporary files, whose name begins so.
    ///
    /// # Errors
    /// There cannot be one.
    pub fn new(prefix: &str) -> io::Result<Self> {
        let name = Mint::system().short(prefix);
        let path = std::env::temp_dir().join(name);
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It lies among temporary files: what cannot be removed now, the machine removes some day.
        let _ = fs::remove_dir_all(&self.0);
    }
}
