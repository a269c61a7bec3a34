//! Kubeconfig files, each read once for all connections that are made of it at about the same time: a fleet's has
//! hundreds of contexts, and to read it for each of them anew would take minutes.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use kube::config::{Kubeconfig, KubeconfigError};

/// The files that are in use just now. None is kept for longer: they hold secrets.
#[derive(Default)]
pub(super) struct Files {
    known: Mutex<BTreeMap<PathBuf, Arc<Mutex<Known>>>>,
}

#[derive(Default)]
struct Known {
    mark: Mark,
    content: Weak<Kubeconfig>,
}

/// What tells one state of a file from another: its time, its length and its place on the disk.
type Mark = Option<(i64, i64, u64, u64)>;

impl Files {
    /// What the file holds; as it was read for somebody else, if they still have it and the file is the same. Blocks.
    pub(super) fn read(&self, path: &Path) -> Result<Arc<Kubeconfig>, KubeconfigError> {
        let known = lock(&self.known).entry(path.to_owned()).or_default().clone();
        // Held while the file is read, so that those who come meanwhile wait for it.
        let mut known = lock(&known);
        let mark = mark(path);
        if let Some(content) = known.content.upgrade().filter(|_| known.mark == mark) {
            return Ok(content);
        }
        let content = Arc::new(Kubeconfig::read_from(path)?);
        *known = Known { mark, content: Arc::downgrade(&content) };
        Ok(content)
    }
}

/// The part of a kubeconfig that a context needs; the current context's where none is named.
pub(super) fn part(whole: &Kubeconfig, context: Option<&str>) -> Kubeconfig {
    let context = context.or(whole.current_context.as_deref());
    let of = |name: &str| Some(name) == context;
    let contexts: Vec<_> = whole.contexts.iter().filter(|c| of(&c.name)).cloned().collect();
    let named = contexts.iter().filter_map(|named| named.context.as_ref());
    let (mut clusters, mut users) = (Vec::new(), Vec::new());
    for context in named {
        clusters.extend(whole.clusters.iter().filter(|c| c.name == context.cluster).cloned());
        let user = context.user.as_ref();
        users.extend(whole.auth_infos.iter().filter(|u| Some(&u.name) == user).cloned());
    }
    Kubeconfig {
        clusters,
        auth_infos: users,
        contexts,
        current_context: whole.current_context.clone(),
        ..Kubeconfig::default()
    }
}

fn mark(path: &Path) -> Mark {
    let found = fs::metadata(path).ok()?;
    Some((found.mtime(), found.mtime_nsec(), found.len(), found.ino()))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(token: &str) -> String {
        format!(
            "current-context: eu
clusters: [{{name: c, cluster: {{server: 'http://127.0.0.1:1'}}}}, {{name: d, cluster: {{server: 'http://127.0.0.1:2'}}}}]
users: [{{name: u, user: {{token: {token}}}}}, {{name: v, user: {{token: other}}}}]
contexts: [{{name: eu, context: {{cluster: c, user: u}}}}, {{name: us, context: {{cluster: d, user: v}}}}]
"
        )
    }

    #[test]
    fn a_file_is_read_once_while_somebody_has_it_and_again_when_it_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        fs::write(&path, text("one")).unwrap();
        let files = Files::default();
        let first = files.read(&path).unwrap();
        assert!(Arc::ptr_eq(&first, &files.read(&path).unwrap()));
        fs::write(&path, text("another")).unwrap();
        let second = files.read(&path).unwrap();
        assert!(!Arc::ptr_eq(&first, &second));
        let weak = Arc::downgrade(&second);
        drop((first, second));
        assert!(weak.upgrade().is_none(), "secrets are kept by nobody");
    }

    #[test]
    fn a_part_is_what_its_context_names() {
        let whole = Kubeconfig::from_yaml(&text("one")).unwrap();
        let names = |part: &Kubeconfig| {
            let clusters = part.clusters.iter().map(|c| c.name.clone());
            clusters.chain(part.auth_infos.iter().map(|u| u.name.clone())).collect::<Vec<_>>()
        };
        assert_eq!(names(&part(&whole, Some("us"))), ["d", "v"]);
        assert_eq!(names(&part(&whole, None)), ["c", "u"]);
        assert_eq!(names(&part(&whole, Some("mars"))), [""; 0]);
    }
}
