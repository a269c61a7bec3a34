//! A branch of a Git repository as the source, through the `git` program.
//!
//! Blobs are read from a bare repository of our own: nothing is checked out, so no path, link,
//! attribute or hook of the repository ever touches the file system. The new head must descend from
//! the last accepted one; rewritten history is refused until somebody puts it right.

mod repository;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use self::repository::{Ran, Repository, Where};
use super::{Polled, Snapshot};
use crate::ids::Commit;

/// The schemes that a repository may be reached by. `ext::` runs programs, and is not among them.
const SCHEMES: [&str; 5] = ["https", "http", "ssh", "git", "file"];
/// Where the fetched head is kept, and the accepted one, so that neither is ever collected.
const HEAD: &str = "refs/ringward/head";
const ACCEPTED: &str = "refs/ringward/accepted";
/// How long one call of git may take on a repository of this machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Which branch of which repository.
#[derive(Debug, Clone)]
pub struct GitSettings {
    /// `https`, `http`, `ssh`, `git` or `file`, or `user@host:path`.
    pub url: String,
    /// The branch whose head is in force.
    pub branch: String,
    /// The folder of the repository that holds `rings/` and `policies/`; the top where none is given.
    pub path: Option<String>,
    /// Where our bare repository is kept.
    pub store: PathBuf,
    /// How long one call of git may take.
    pub timeout: Duration,
}

/// Settings that no repository can be read by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSource {
    /// Not a URL, or of a scheme that is not allowed.
    #[error("`{0}` is no URL of a repository: use https, ssh, git, http or file")]
    Url(String),
    /// Not a branch.
    #[error("`{0}` is no name of a branch")]
    Branch(String),
    /// Not a folder inside of the repository.
    #[error("`{0}` is no folder inside of the repository")]
    Path(String),
}

/// A branch of a Git repository.
#[derive(Debug)]
pub struct GitSource {
    settings: GitSettings,
    /// The last commit that was accepted, in this process or before it.
    accepted: Option<Commit>,
    /// The commit that this process last gave a snapshot of.
    given: Option<Commit>,
}

impl GitSource {
    /// Reads from where `accepted`, the last accepted commit that the journal knows, left off.
    pub fn new(settings: GitSettings, accepted: Option<Commit>) -> Result<Self, BadSource> {
        if !is_url(&settings.url) {
            return Err(BadSource::Url(redacted(&settings.url)));
        }
        if !is_branch(&settings.branch) {
            return Err(BadSource::Branch(settings.branch));
        }
        let mut settings = settings;
        settings.path = match settings.path.as_deref().map(|p| p.trim_matches('/')) {
            None | Some("" | ".") => None,
            Some(path) if path.split('/').all(|s| !matches!(s, "" | "." | "..")) => {
                Some(path.to_owned())
            }
            Some(path) => return Err(BadSource::Path(path.into())),
        };
        // A directory was the source before: its "commits" are none that Git knows.
        let accepted = accepted.filter(|c| is_object(c.as_str()));
        Ok(Self { settings, accepted, given: None })
    }

    /// The repository and the branch, without a password.
    pub fn describe(&self) -> String {
        let GitSettings { url, branch, path, .. } = &self.settings;
        let url = redacted(url);
        match path {
            Some(path) => format!("{url} {branch}:{path}"),
            None => format!("{url} {branch}"),
        }
    }

    /// Fetches the branch, and reads its head where it is new and descends from the accepted one.
    pub async fn poll(&mut self) -> Polled {
        let polled = match self.look().await {
            Ok(polled) => polled,
            Err(why) => Polled::Unreachable(why),
        };
        // The first look must give what is in force, even where the head is refused or out of reach.
        let held = matches!(polled, Polled::Refused { .. } | Polled::Unreachable(_));
        if let Some(accepted) = self.accepted.clone().filter(|_| held && self.given.is_none())
            && let Ok(Polled::New(snapshot)) = self.read(&accepted).await
        {
            self.given = Some(accepted);
            return Polled::New(snapshot);
        }
        polled
    }

    /// Who wrote that line of a file, by the e-mail address of their commit: whoever moved the file, or wrote another
    /// line of it since, did not.
    ///
    /// # Errors
    /// In words: Git cannot tell.
    pub async fn author(&self, commit: &Commit, file: &str, line: usize) -> Result<String, String> {
        let path = match &self.settings.path {
            Some(path) => format!("{path}/{file}"),
            None => file.to_owned(),
        };
        let lines = format!("-L{line},{line}");
        let asked = ["blame", "--porcelain", &lines, commit.as_str(), "--", &path];
        let told = self.git(&asked).await?;
        let mail =
            told.out.split(|b| *b == b'\n').find_map(|line| line.strip_prefix(b"author-mail "));
        let mail = mail.and_then(|mail| mail.strip_prefix(b"<")?.strip_suffix(b">"));
        let mail = mail.and_then(|mail| std::str::from_utf8(mail).ok()).map(str::trim);
        mail.map(str::to_owned).ok_or_else(|| format!("git blame names nobody for {file}:{line}"))
    }

    async fn look(&mut self) -> Result<Polled, String> {
        self.fetch().await?;
        let head =
            self.git(&["rev-parse", "--verify", "--quiet", &format!("{HEAD}^{{commit}}")]).await?;
        let head = String::from_utf8_lossy(&head.out).trim().to_owned();
        if !is_object(&head) {
            return Err(format!("branch {} has no commit", self.settings.branch));
        }
        let commit = Commit::from(head.as_str());
        if self.given.as_ref() == Some(&commit) {
            return Ok(Polled::Unchanged);
        }
        if let Some(accepted) = self.accepted.as_ref().filter(|a| **a != commit) {
            let step =
                self.run(&["merge-base", "--is-ancestor", accepted.as_str(), &head], b"").await?;
            match step.code {
                Some(0) => {}
                // 1: not an ancestor. 128: the accepted commit is not among what the head brought along.
                Some(1 | 128) => {
                    let why = format!(
                        "{head} does not descend from {accepted}, the last accepted commit: the history \
                         of {} was rewritten; push a head that descends from it",
                        self.settings.branch
                    );
                    return Ok(Polled::Refused { commit, why });
                }
                Some(_) | None => return Err(step.why()),
            }
        }
        let polled = self.read(&commit).await?;
        if let Polled::New(_) = &polled {
            self.git(&["update-ref", ACCEPTED, &head]).await?;
            self.accepted = Some(commit.clone());
            self.given = Some(commit);
        }
        Ok(polled)
    }

    async fn fetch(&self) -> Result<(), String> {
        let store = &self.settings.store;
        if !store.join("HEAD").is_file() {
            tokio::fs::create_dir_all(store)
                .await
                .map_err(|e| format!("{}: {e}", store.display()))?;
            // A template could bring hooks along.
            self.git(&["init", "--bare", "--quiet", "--template="]).await?;
        }
        let refspec = format!("+refs/heads/{}:{HEAD}", self.settings.branch);
        let flags = ["--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head"];
        let mut arguments = vec!["fetch"];
        arguments.extend(flags);
        arguments.extend(["--end-of-options", &self.settings.url, &refspec]);
        self.git(&arguments).await.map(|_| ())
    }

    async fn read(&self, commit: &Commit) -> Result<Polled, String> {
        let prefix = self.settings.path.as_deref().map(|p| format!("{p}/")).unwrap_or_default();
        self.store().read(commit, &prefix).await
    }

    async fn git(&self, arguments: &[&str]) -> Result<Ran, String> {
        self.store().git(arguments).await
    }

    async fn run(&self, arguments: &[&str], input: &[u8]) -> Result<Ran, String> {
        self.store().run(arguments, input).await
    }

    fn store(&self) -> Repository<'_> {
        let GitSettings { url, store, timeout, .. } = &self.settings;
        Repository { at: Where::Store { path: store, url }, timeout: *timeout }
    }
}

/// The declarations of a commit of the repository that `folder` lies in, whatever is checked out there.
///
/// # Errors
/// There is no such repository or commit, or it holds no declarations; in words.
pub async fn read_commit(folder: &Path, name: &str) -> Result<Snapshot, String> {
    let repository = Repository { at: Where::Around(folder), timeout: PATIENCE };
    let prefix = repository.run(&["rev-parse", "--show-prefix"], b"").await?;
    if prefix.code != Some(0) {
        return Err(format!("{} lies in no Git repository ({})", folder.display(), prefix.why()));
    }
    let prefix = String::from_utf8_lossy(&prefix.out).trim_end_matches('\n').to_owned();
    let unknown = || format!("the repository has no commit `{name}`");
    if name.is_empty() || name.starts_with('-') || name.chars().any(char::is_control) {
        return Err(unknown());
    }
    let verify = ["rev-parse", "--verify", "--quiet", &format!("{name}^{{commit}}")];
    let found = repository.run(&verify, b"").await?;
    let commit = String::from_utf8_lossy(&found.out).trim().to_owned();
    if found.code != Some(0) || !is_object(&commit) {
        return Err(unknown());
    }
    match repository.read(&commit.as_str().into(), &prefix).await? {
        Polled::New(snapshot) => Ok(snapshot),
        Polled::Refused { why, .. } => Err(format!("at {name}: {why}")),
        Polled::Unchanged | Polled::Unreachable(_) => Err(unknown()),
    }
}

fn is_object(name: &str) -> bool {
    matches!(name.len(), 40 | 64) && name.bytes().all(|b| b.is_ascii_hexdigit())
}

fn is_url(url: &str) -> bool {
    if url.starts_with('-') || url.contains("::") || url.chars().any(|c| c.is_control() || c == ' ')
    {
        return false;
    }
    match url.split_once("://") {
        Some((scheme, rest)) => {
            SCHEMES.contains(&scheme) && !rest.is_empty() && !rest.starts_with('-')
        }
        // user@host:path
        None => url.split_once(':').is_some_and(|(host, path)| {
            let host = host.rsplit('@').next().unwrap_or_default();
            !host.is_empty() && !host.starts_with('-') && !host.contains('/') && !path.is_empty()
        }),
    }
}

fn is_branch(name: &str) -> bool {
    let odd = |c: char| c.is_control() || c.is_whitespace() || "~^:?*[\\".contains(c);
    !name.is_empty()
        && !name.starts_with(['-', '/', '.'])
        && !name.ends_with(['/', '.'])
        && !name.contains("..")
        && !name.contains("//")
        && !name.contains("@{")
        && !name.contains("/.")
        && !name.split('/').any(|part| part.ends_with(".lock"))
        && !name.chars().any(odd)
}

/// A URL without the password that it may carry.
fn redacted(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://***@{host}{path}"),
        None => url.to_owned(),
    }
}

/// Whether the text could be a repository's URL rather than a directory.
pub fn looks_like_a_repository(text: &str) -> bool {
    is_url(text) && !Path::new(text).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_run_programs_or_pass_for_options_are_refused() {
        for good in [
            "https://git.example/r.git",
            "ssh://git@git.example/r",
            "git@git.example:team/r.git",
            "file:///srv/r.git",
            "git://127.0.0.1:9418/r",
        ] {
            assert!(is_url(good), "{good}");
        }
        for bad in [
            "ext::sh -c id",
            "--upload-pack=id",
            "ssh://-oProxyCommand=id/r",
            "-oProxyCommand=id:r",
            "ftp://h/r",
            "/srv/r.git",
            "../r",
            "https://",
            "",
        ] {
            assert!(!is_url(bad), "{bad}");
        }
    }

    #[test]
    fn branches_and_folders_keep_to_themselves() {
        assert!(is_branch("main") && is_branch("release/2026"));
        for bad in ["", "-x", "a..b", "a b", "a:b", "x.lock", "a/.b", "@{u}", "a\n"] {
            assert!(!is_branch(bad), "{bad}");
        }
        let settings = |path: &str| GitSettings {
            url: "https://git.example/r".into(),
            branch: "main".into(),
            path: Some(path.into()),
            store: "/nowhere".into(),
            timeout: Duration::from_secs(1),
        };
        assert!(GitSource::new(settings("deploy/ringward/"), None).is_ok());
        assert_eq!(
            GitSource::new(settings("../other"), None).unwrap_err(),
            BadSource::Path("../other".into())
        );
    }

    #[test]
    fn a_password_is_never_shown() {
        assert_eq!(redacted("https://me:s3cret@git.example/r"), "https://***@git.example/r");
        assert_eq!(redacted("https://git.example/@r"), "https://git.example/@r");
        let why = BadSource::Url(redacted("ftp://me:s3cret@h/r")).to_string();
        assert!(!why.contains("s3cret"), "{why}");
    }
}
