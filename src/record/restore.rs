//! A data directory out of a backup, which is an export from the first entry on.

use std::{
    fs,
    io::{self, BufRead},
    path::{Path, PathBuf},
};

use super::{
    audit::{Break, Chain},
    data_dir::sync_parent,
    export::ExportEnd,
    format::Record,
    sled::SledStore,
    store::{PAGE, StoreError},
};

/// Why a backup was not restored. Nothing is then at the place that it should have been restored to.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// Something is there already.
    #[error(
        "{dir}: there is something in the directory already; restore into one that is empty or not \
         there yet", dir = .0.display()
    )]
    NotEmpty(PathBuf),
    /// Another text than an export has.
    #[error("line {0} of the backup is not one that ringward wrote; use another backup")]
    NotALine(u64),
    /// Entries that do not hold together.
    #[error("line {line} of the backup does not hold: entry {}: {}; use another backup", .broken.seq, .broken.why)]
    Broken {
        /// The line's number, from 1.
        line: u64,
        /// What is wrong.
        broken: Break,
    },
    /// Fewer entries than were exported; how many.
    #[error("the backup was cut short after entry {0}; use another backup")]
    Cut(u64),
    /// A signature that is none.
    #[error("line {0} of the backup is not signed by the key that it names; use another backup")]
    Forged(u64),
    /// Its text could not be read.
    #[error("the backup cannot be read")]
    Read(#[source] io::Error),
    /// The new directory.
    #[error("the data directory cannot be made")]
    Store(#[from] StoreError),
    /// The new directory's place.
    #[error("{dir}: cannot move the restored directory into place", dir = .dir.display())]
    Place {
        /// The data directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Makes the data directory `dir` out of a backup, and answers with how many entries it has and the
/// hash of the last. It is built and verified beside its place: it is there whole or not at all.
pub fn restore(dir: &Path, backup: &mut dyn BufRead) -> Result<ExportEnd, RestoreError> {
    let place = |source| RestoreError::Place { dir: dir.into(), source };
    if dir.exists() && fs::read_dir(dir).map_err(place)?.next().is_some() {
        return Err(RestoreError::NotEmpty(dir.into()));
    }
    let mut draft = dir.as_os_str().to_owned();
    draft.push(".restoring");
    let draft = PathBuf::from(draft);
    // An earlier restoration that was killed is begun again.
    if draft.exists() {
        fs::remove_dir_all(&draft).map_err(place)?;
    }
    let restored = fill(&draft, backup).and_then(|end| {
        // Opening it verifies what lies on the disk, not what was meant to.
        drop(SledStore::open(&draft)?);
        fs::rename(&draft, dir).and_then(|()| sync_parent(dir)).map_err(place)?;
        Ok(end)
    });
    if restored.is_err() {
        let _ = fs::remove_dir_all(&draft);
    }
    restored
}

/// Reads a backup as [`restore`] would, and answers as it would; nothing is made of it.
pub fn verify(backup: &mut dyn BufRead) -> Result<ExportEnd, RestoreError> {
    read(backup, |_| Ok(()))
}

fn fill(draft: &Path, backup: &mut dyn BufRead) -> Result<ExportEnd, RestoreError> {
    let store = SledStore::open(draft)?;
    read(backup, |page| store.adopt(page))
}

/// Follows a backup to its end, page by page.
fn read(
    backup: &mut dyn BufRead,
    mut take: impl FnMut(&[Record]) -> Result<(), StoreError>,
) -> Result<ExportEnd, RestoreError> {
    let mut chain = Chain::before(1);
    let mut so_far = ExportEnd::NOTHING;
    let mut page = Vec::with_capacity(PAGE);
    for (text, line) in backup.lines().zip(1..) {
        let text = text.map_err(RestoreError::Read)?;
        let Some(record) = Record::from_line(&text) else {
            return match serde_json::from_str::<ExportEnd>(&text) {
                Ok(ExportEnd { signed: Some(signed), .. }) if !signed.holds() => {
                    Err(RestoreError::Forged(line))
                }
                Ok(end) if (end.entries, end.head) == (so_far.entries, so_far.head) => {
                    take(&page).map(|()| end).map_err(Into::into)
                }
                Ok(_) => Err(RestoreError::Cut(so_far.entries)),
                Err(_) => Err(RestoreError::NotALine(line)),
            };
        };
        chain.follow(&record).map_err(|broken| RestoreError::Broken { line, broken })?;
        so_far = ExportEnd { entries: record.seq, head: record.hash, ..ExportEnd::NOTHING };
        page.push(record);
        if page.len() == PAGE {
            take(&page)?;
            page.clear();
        }
    }
    Err(RestoreError::Cut(so_far.entries))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{
        Store,
        conformance::{draft, drafts},
        export::export,
    };

    fn backup(origin: &Path) -> String {
        let store = SledStore::open(origin).unwrap();
        store.append(3, &drafts(1..=300)).unwrap();
        let mut text = Vec::new();
        export(&store, 1, jiff::Timestamp::UNIX_EPOCH, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_backup_becomes_the_same_journal() {
        let place = tempfile::tempdir().unwrap();
        let (origin, copy) = (place.path().join("a"), place.path().join("b"));
        let text = backup(&origin);
        fs::create_dir(place.path().join("b.restoring")).unwrap();
        let end = restore(&copy, &mut text.as_bytes()).unwrap();
        assert_eq!(end.entries, 300);
        let (origin, copy) = (SledStore::open(&origin).unwrap(), SledStore::open(&copy).unwrap());
        assert_eq!(origin.head(), copy.head());
        assert_eq!(origin.read(1, 300).unwrap(), copy.read(1, 300).unwrap());
        assert_eq!(copy.append(3, &[draft(301)]).unwrap(), 301..302);
    }

    #[test]
    fn what_is_no_whole_backup_leaves_nothing_behind() {
        let place = tempfile::tempdir().unwrap();
        let text = backup(&place.path().join("a"));
        let lines: Vec<_> = text.split_inclusive('\n').collect();
        let cases = [
            ("cut short after entry 300", lines[..300].concat()),
            ("cut short after entry 0", String::new()),
            (
                "line 200 of the backup does not hold",
                [&lines[..199], &lines[200..]].concat().concat(),
            ),
            ("cut short after entry 299", [&lines[..299], &lines[300..]].concat().concat()),
            (
                "line 7 of the backup does not hold: entry 7: it is missing",
                text.replacen("eu-7", "eu-8", 1),
            ),
            ("line 301 of the backup is not signed", text.replace("1970-01-01", "1970-01-02")),
            ("line 1 of the backup is not one", "{}".into()),
            ("line 2 of the backup is not one", lines[0].to_owned() + "nothing"),
        ];
        for (what, text) in cases {
            let copy = place.path().join("b");
            let error = restore(&copy, &mut text.as_bytes()).unwrap_err();
            assert!(error.to_string().contains(what), "{error} is not {what}");
            assert!(!copy.exists() && !place.path().join("b.restoring").exists());
        }
    }

    #[test]
    fn what_is_there_stays() {
        let place = tempfile::tempdir().unwrap();
        let text = backup(place.path());
        let error = restore(place.path(), &mut text.as_bytes()).unwrap_err();
        assert!(matches!(error, RestoreError::NotEmpty(_)), "{error}");
        assert_eq!(SledStore::open(place.path()).unwrap().head().seq, 300);
    }
}
