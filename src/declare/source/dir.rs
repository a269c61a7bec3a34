//! A directory as the source: for a laptop, a mounted volume, a checkout that something else keeps.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    time::SystemTime,
};

use sha2::{Digest, Sha256};

use super::{FOLDERS, MAX_FILES, MAX_READ, MAX_TOTAL, Polled, Snapshot, is_declaration};
use crate::ids::{Commit, hex};

/// Folders may be nested so deep.
const MAX_DEPTH: usize = 16;

/// What tells that a file was changed, without reading it.
type Stamp = BTreeMap<String, (u64, Option<SystemTime>)>;

/// A directory that holds `rings/` and `policies/`.
#[derive(Debug)]
pub struct DirSource {
    root: PathBuf,
    stamp: Option<Stamp>,
    commit: Option<Commit>,
    /// Whether the files were read once more after their stamps had come to rest: a file that is
    /// written twice within one tick of the file system's clock has one stamp and two contents.
    settled: bool,
}

impl DirSource {
    /// Nothing is read until the first look.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), stamp: None, commit: None, settled: false }
    }

    /// The directory.
    pub fn describe(&self) -> String {
        self.root.display().to_string()
    }

    /// Compares sizes and times; reads only where one of them is new.
    pub async fn poll(&mut self) -> Polled {
        let root = self.root.clone();
        let before = self.stamp.take();
        let settled = self.settled;
        let look = tokio::task::spawn_blocking(move || look(&root, before, settled));
        let unreadable = |why: String| Polled::Unreachable(format!("the source directory: {why}"));
        match look.await {
            Ok(Ok((stamp, read))) => {
                self.stamp = Some(stamp);
                let Some((snapshot, changed)) = read else { return Polled::Unchanged };
                self.settled = !changed;
                if self.commit.as_ref() == Some(&snapshot.commit) {
                    return Polled::Unchanged;
                }
                self.commit = Some(snapshot.commit.clone());
                Polled::New(snapshot)
            }
            Ok(Err(why)) => unreadable(why),
            Err(_) => unreadable("the look at it was cut short".into()),
        }
    }
}

/// Reads a directory once, as it is now.
///
/// # Errors
/// It, or something in it, cannot be read, or is no source; in words.
pub fn read_dir(root: &Path) -> Result<Snapshot, String> {
    match look(root, None, false)? {
        (_, Some((snapshot, _))) => Ok(snapshot),
        (_, None) => Err(format!("{} was not read", root.display())),
    }
}

/// The stamps, and where they are new or not at rest, the files and whether the stamps had changed.
type Look = (Stamp, Option<(Snapshot, bool)>);

fn look(root: &Path, before: Option<Stamp>, settled: bool) -> Result<Look, String> {
    let whole = root.canonicalize().map_err(|e| format!("{}: {e}", root.display()))?;
    let mut found = BTreeMap::new();
    let mut any = false;
    for folder in FOLDERS {
        let path = whole.join(folder);
        if path.is_dir() {
            any = true;
            walk(&whole, &path, folder, 0, &mut found)?;
        }
    }
    if !any {
        // Taken for an empty source, a wrong path would withdraw every plan.
        return Err(format!("{} has no folder rings/ or policies/", root.display()));
    }
    let stamp: Stamp = found.iter().map(|(name, (_, stamp))| (name.clone(), *stamp)).collect();
    let changed = before.as_ref() != Some(&stamp);
    if !changed && settled {
        return Ok((stamp, None));
    }
    let mut files = BTreeMap::new();
    for (name, (path, _)) in found {
        let mut bytes = Vec::new();
        let file = fs::File::open(&path).map_err(|e| format!("{name}: {e}"))?;
        file.take(MAX_READ as u64).read_to_end(&mut bytes).map_err(|e| format!("{name}: {e}"))?;
        files.insert(name, bytes);
    }
    Ok((stamp, Some((Snapshot { commit: content_hash(&files), files }, changed))))
}

type Found = BTreeMap<String, (PathBuf, (u64, Option<SystemTime>))>;

fn walk(root: &Path, at: &Path, name: &str, depth: usize, found: &mut Found) -> Result<(), String> {
    let whole = |e: io::Error| format!("{name}: {e}");
    if depth > MAX_DEPTH {
        return Err(format!("{name}: folders are nested deeper than {MAX_DEPTH}"));
    }
    for entry in fs::read_dir(at).map_err(whole)? {
        let entry = entry.map_err(whole)?;
        let Ok(file) = entry.file_name().into_string() else { continue };
        let name = format!("{name}/{file}");
        let mut kind = entry.file_type().map_err(whole)?;
        let mut path = entry.path();
        if kind.is_symlink() && is_declaration(&name) {
            path = path.canonicalize().map_err(|e| format!("{name}: {e}"))?;
            if !path.starts_with(root) {
                return Err(format!("{name} is a symbolic link that leads out of the source"));
            }
            kind = fs::metadata(&path).map_err(|e| format!("{name}: {e}"))?.file_type();
        }
        // A link to a folder is not followed: it would only lead to files a second time, or in circles.
        if kind.is_dir() && !file.starts_with('.') {
            walk(root, &path, &name, depth + 1, found)?;
        } else if kind.is_file() && is_declaration(&name) {
            let metadata = fs::metadata(&path).map_err(|e| format!("{name}: {e}"))?;
            found.insert(name, (path, (metadata.len(), metadata.modified().ok())));
        }
    }
    let total: u64 = found.values().map(|(_, (len, _))| len).sum();
    if found.len() > MAX_FILES || total > MAX_TOTAL {
        return Err(format!("more than {MAX_FILES} files or {MAX_TOTAL} bytes of declarations"));
    }
    Ok(())
}

/// Names the contents: the same files have the same name.
pub fn content_hash(files: &BTreeMap<String, Vec<u8>>) -> Commit {
    let mut hash = Sha256::new();
    for (name, bytes) in files {
        for part in [name.as_bytes(), bytes] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    }
    format!("dir:{}", hex(&hash.finalize()[..6])).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn poll(source: &mut DirSource) -> Polled {
        source.poll().await
    }

    fn files(polled: Polled) -> Vec<String> {
        let Polled::New(snapshot) = polled else { panic!("expected files, got {polled:?}") };
        snapshot.files.into_keys().collect()
    }

    #[tokio::test]
    async fn a_change_is_seen_and_nothing_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir_all(path("rings/more/.hidden")).unwrap();
        fs::write(path("rings/a.yaml"), "a").unwrap();
        fs::write(path("rings/more/b.yml"), "b").unwrap();
        for other in ["rings/more/.hidden/c.yaml", "rings/notes.md", "d.yaml"] {
            fs::write(path(other), "x").unwrap();
        }
        let mut source = DirSource::new(dir.path());
        let first = poll(&mut source).await;
        assert!(matches!(&first, Polled::New(s) if s.commit.as_str().starts_with("dir:")));
        assert_eq!(files(first), ["rings/a.yaml", "rings/more/b.yml"]);
        assert_eq!(poll(&mut source).await, Polled::Unchanged);
        // The same size; and twice, whatever the file system's clock makes of it. The first of them
        // comes a tick of that clock later, as any write does that is not on the heels of a look.
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
        fs::write(path("rings/a.yaml"), "b").unwrap();
        assert_eq!(files(poll(&mut source).await).len(), 2);
        fs::write(path("rings/a.yaml"), "c").unwrap();
        assert_eq!(files(poll(&mut source).await).len(), 2);
        assert_eq!(poll(&mut source).await, Polled::Unchanged);
        assert_eq!(poll(&mut source).await, Polled::Unchanged);
        fs::remove_file(path("rings/a.yaml")).unwrap();
        assert_eq!(files(poll(&mut source).await), ["rings/more/b.yml"]);
    }

    #[tokio::test]
    async fn a_link_that_leads_out_is_refused_and_one_inside_is_followed() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret.yaml"), "x").unwrap();
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("rings/..data")).unwrap();
        fs::write(dir.path().join("rings/..data/a.yaml"), "a").unwrap();
        let link = |target: &Path, name: &str| {
            std::os::unix::fs::symlink(target, dir.path().join(name)).unwrap();
        };
        link(Path::new("..data/a.yaml"), "rings/a.yaml");
        let mut source = DirSource::new(dir.path());
        assert_eq!(files(poll(&mut source).await), ["rings/a.yaml"]);
        link(&outside.path().join("secret.yaml"), "rings/b.yaml");
        let Polled::Unreachable(why) = poll(&mut source).await else { panic!("followed") };
        assert!(why.contains("rings/b.yaml"), "{why}");
    }

    #[tokio::test]
    async fn what_is_no_source_withdraws_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(poll(&mut DirSource::new(dir.path())).await, Polled::Unreachable(_)));
        let gone = dir.path().join("gone");
        assert!(matches!(poll(&mut DirSource::new(gone)).await, Polled::Unreachable(_)));
    }
}
