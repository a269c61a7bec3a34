//! How far each channel has been told: the journal is the queue, and this is a place in it.
//!
//! A file a channel beside the journal, and one for who is told what. Each is there whole or not at all, and
//! behind what was done rather than ahead of it: a message may be sent twice, under the same id, and none is
//! forgotten. They are no part of a backup: a restored server begins to tell from where it begins.

use crate::ids::hex;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, DirBuilder, File},
    io::{self, ErrorKind, Write},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::data_dir::sync_dir;

/// The folder in the data directory.
const FOLDER: &str = "notify";
/// What the names of channels' files begin with.
const CHANNEL: &str = "channel-";

/// How far a channel has been told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Place {
    /// The last entry that it was told of, or had no use for.
    pub seq: u64,
    /// Holds that it was told of, or is being told of, each with its message's id and whether that has arrived.
    pub held: BTreeMap<String, (String, bool)>,
    /// Entries that were left out and not told of: from the first to the last. From 0 where nobody knows which
    /// was the first.
    pub skipped: Option<(u64, u64)>,
    /// Which channel asked to be left alone (410).
    pub gone: Option<String>,
}

/// The places of all channels.
#[derive(Debug, Clone)]
pub struct Outbox {
    folder: PathBuf,
}

impl Outbox {
    /// In the data directory `dir`.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let folder = dir.join(FOLDER);
        match DirBuilder::new().mode(0o700).create(&folder) {
            Ok(()) => sync_dir(dir)?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        Ok(Self { folder })
    }

    /// The place of a channel; nothing where it has none yet.
    ///
    /// # Errors
    /// Its file cannot be read, or holds something else.
    pub fn place(&self, channel: &str) -> io::Result<Option<Place>> {
        self.read(&file(channel))
    }

    /// Keeps a channel's place. It is durable when this returns.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn keep(&self, channel: &str, place: &Place) -> io::Result<()> {
        self.write(&file(channel), place)
    }

    /// Forgets the places of channels that are none of these: one that comes back is a new one.
    ///
    /// # Errors
    /// The folder cannot be read, or a file in it not be removed; the others are all the same.
    pub fn forget_others<'a>(&self, channels: impl Iterator<Item = &'a String>) -> io::Result<()> {
        let known: BTreeSet<String> = channels.map(|channel| file(channel)).collect();
        let mut done = Ok(());
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(CHANNEL) && !known.contains(name.as_ref()) {
                done = done.and(fs::remove_file(entry.path()));
            }
        }
        done
    }

    /// Who was told what when that was last known.
    ///
    /// # Errors
    /// As of a place.
    pub fn told<T: DeserializeOwned>(&self) -> io::Result<Option<T>> {
        self.read("who.json")
    }

    /// Keeps who is told what.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn keep_told<T: Serialize>(&self, told: &T) -> io::Result<()> {
        self.write("who.json", told)
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> io::Result<Option<T>> {
        match fs::read(self.folder.join(name)) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn write<T: Serialize>(&self, name: &str, value: &T) -> io::Result<()> {
        let draft = self.folder.join(format!("{name}.new"));
        let mut file = File::create(&draft)?;
        file.write_all(&serde_json::to_vec(value)?)?;
        file.sync_all()?;
        fs::rename(&draft, self.folder.join(name))?;
        sync_dir(&self.folder)
    }
}

/// A channel's name is the settings' and may hold anything.
fn file(channel: &str) -> String {
    format!("{CHANNEL}{}.json", hex(channel.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_kept_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let outbox = Outbox::open(dir.path()).unwrap();
        assert_eq!(outbox.place("../ops").unwrap(), None);
        let held = [("a".to_owned(), ("id".to_owned(), false))].into();
        let place = Place { seq: 7, held, skipped: Some((3, 5)), gone: None };
        outbox.keep("../ops", &place).unwrap();
        let again = Outbox::open(dir.path()).unwrap();
        assert_eq!(again.place("../ops").unwrap(), Some(place));
        assert_eq!(again.place("ops").unwrap(), None);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        outbox.keep_told(&7).unwrap();
        outbox.keep("gone", &Place::default()).unwrap();
        outbox.forget_others(["../ops".to_owned()].iter()).unwrap();
        assert_eq!(outbox.place("gone").unwrap(), None);
        assert!(outbox.place("../ops").unwrap().is_some());
        assert_eq!(outbox.told().unwrap(), Some(7));
        // What cannot be removed saves none of the others.
        fs::create_dir(outbox.folder.join("channel-00.json")).unwrap();
        for name in ["a", "b", "c"] {
            outbox.keep(name, &Place::default()).unwrap();
        }
        outbox.forget_others([].iter()).unwrap_err();
        assert!(["a", "b", "c"].iter().all(|name| outbox.place(name).unwrap().is_none()));
    }
}
