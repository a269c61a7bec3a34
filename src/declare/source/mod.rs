//! Where declarations come from: a directory or a Git repository -> [`Snapshot`]. Knows no YAML.

mod dir;
mod git;

pub use self::{
    dir::{DirSource, content_hash, read_dir},
    git::{BadSource, GitSettings, GitSource, looks_like_a_repository, read_commit},
};
use super::{Snapshot, text::MAX_BYTES};
use crate::ids::Commit;

/// The folders that declarations are read from.
const FOLDERS: [&str; 3] = ["rings", "policies", "releases"];
/// More files than this are no source of declarations.
const MAX_FILES: usize = 10_000;
/// More bytes than this in all are none either.
const MAX_TOTAL: u64 = 256 * 1024 * 1024;
/// A file is read so far: one byte more than a file may have, so that the checks see it is too large.
const MAX_READ: usize = MAX_BYTES + 1;

/// Whether a path names a file of declarations.
fn is_declaration(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    !name.starts_with('.') && (name.ends_with(".yaml") || name.ends_with(".yml"))
}

/// A place that declarations are read from.
#[derive(Debug)]
pub enum Source {
    /// A directory on this machine.
    Dir(DirSource),
    /// A branch of a Git repository.
    Git(GitSource),
}

/// What a look at the source found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Polled {
    /// Nothing that was not known.
    Unchanged,
    /// A commit that is accepted, with its files.
    New(Snapshot),
    /// The head is not accepted; the last accepted commit stays in force. Said at every look for as
    /// long as it is so.
    Refused {
        /// The head.
        commit: Commit,
        /// Why, and what to do.
        why: String,
    },
    /// The source could not be read.
    Unreachable(String),
}

impl Source {
    /// Looks at the source. The first look gives a snapshot, whatever commit was accepted before.
    pub async fn poll(&mut self) -> Polled {
        match self {
            Source::Dir(dir) => dir.poll().await,
            Source::Git(git) => git.poll().await,
        }
    }

    /// Who wrote that line of a file of the commit, by the e-mail address that Git has; nothing where the source
    /// does not know of people.
    ///
    /// # Errors
    /// It knows of them and could not be asked; in words.
    pub async fn author(
        &self,
        commit: &Commit,
        file: &str,
        line: usize,
    ) -> Result<Option<String>, String> {
        match self {
            Source::Dir(_) => Ok(None),
            Source::Git(git) => git.author(commit, file, line).await.map(Some),
        }
    }

    /// What is read, for people: without a password.
    pub fn describe(&self) -> String {
        match self {
            Source::Dir(dir) => dir.describe(),
            Source::Git(git) => git.describe(),
        }
    }
}
