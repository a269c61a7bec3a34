//! A branch of a Git repository as the source, through the `git` program.
//!
//! Blobs are read from a bare repository of our own: nothing is checked out, so no path, link,
//! attribute or hook of the repository ever touches the file system. The new head must descend from
//! the last accepted one; rewritten history is refused until somebody puts it right.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{io::AsyncWriteExt, process::Command};

use super::{FOLDERS, MAX_FILES, MAX_READ, MAX_TOTAL, Polled, Snapshot, is_declaration};
use crate::ids::Commit;

/// The schemes that a repository may be reached by. `ext::` runs programs, and is not among them.
const SCHEMES: [&str; 5] = ["https", "http", "ssh", "git", "file"];
/// Where the fetched head is kept, and the accepted one, so that neither is ever collected.
const HEAD: &str = "refs/ringward/head";
const ACCEPTED: &str = "refs/ringward/accepted";
/// Variables of a surrounding git process that would lead ours elsewhere.
const FOREIGN: [&str; 8] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_CONFIG_PARAMETERS",
    "GIT_CONFIG_COUNT",
    "GIT_NAMESPACE",
];

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

    /// The declarations of a commit that is in the store.
    async fn read(&self, commit: &Commit) -> Result<Polled, String> {
        let refuse = |why: String| Ok(Polled::Refused { commit: commit.clone(), why });
        let prefix = self.settings.path.as_deref().map(|p| format!("{p}/")).unwrap_or_default();
        let folders = FOLDERS.map(|folder| format!("{prefix}{folder}/"));
        let mut arguments = vec!["ls-tree", "-r", "-z", "-l", "--full-tree", commit.as_str(), "--"];
        arguments.extend(folders.iter().map(String::as_str));
        let listed = self.git(&arguments).await?;
        let mut wanted: Vec<(String, String)> = Vec::new();
        let mut total = 0;
        for entry in listed.out.split(|b| *b == 0).filter(|e| !e.is_empty()) {
            // A name that is not UTF-8 names no declaration.
            let Ok(entry) = std::str::from_utf8(entry) else { continue };
            let Some((meta, path)) = entry.split_once('\t') else { continue };
            let path = path.strip_prefix(&prefix).unwrap_or(path);
            if !is_declaration(path) || path.split('/').any(|s| s.starts_with('.')) {
                continue;
            }
            let fields: Vec<&str> = meta.split_whitespace().collect();
            let [mode, "blob", object, size] = fields[..] else { continue };
            if mode == "120000" {
                return refuse(format!("{path} is a symbolic link; put the file itself there"));
            }
            total += size.parse::<u64>().unwrap_or(0);
            wanted.push((path.to_owned(), object.to_owned()));
        }
        if wanted.len() > MAX_FILES || total > MAX_TOTAL {
            return refuse(format!(
                "more than {MAX_FILES} files or {MAX_TOTAL} bytes of declarations"
            ));
        }
        if wanted.is_empty() {
            // Taken for an empty source, a wrong path would withdraw every plan.
            let why = format!("no declarations under {}", folders.join(", "));
            return refuse(why);
        }
        let objects: String = wanted.iter().map(|(_, object)| format!("{object}\n")).collect();
        let batch = self.run(&["cat-file", "--batch"], objects.as_bytes()).await?.succeeded()?;
        let mut rest = batch.out.as_slice();
        let mut files = BTreeMap::new();
        for (path, object) in wanted {
            let (bytes, after) =
                blob(rest, &object).ok_or("git gave an object in no known form")?;
            rest = after;
            files.insert(path, bytes[..bytes.len().min(MAX_READ)].to_vec());
        }
        Ok(Polled::New(Snapshot { commit: commit.clone(), files }))
    }

    async fn git(&self, arguments: &[&str]) -> Result<Ran, String> {
        self.run(arguments, b"").await?.succeeded()
    }

    async fn run(&self, arguments: &[&str], input: &[u8]) -> Result<Ran, String> {
        let mut command = Command::new("git");
        command.args(["-c", "core.hooksPath=/dev/null", "-c", "protocol.allow=never"]);
        for scheme in SCHEMES {
            command.arg("-c").arg(format!("protocol.{scheme}.allow=always"));
        }
        command
            .args([
                "-c",
                "transfer.fsckObjects=true",
                "-c",
                "gc.auto=0",
                "-c",
                "maintenance.auto=false",
            ])
            .args(["-c", "http.lowSpeedLimit=1", "-c", "http.lowSpeedTime=30"])
            .arg("--git-dir")
            .arg(&self.settings.store)
            .args(arguments)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        for name in FOREIGN {
            command.env_remove(name);
        }
        if std::env::var_os("GIT_SSH_COMMAND").is_none() {
            command.env("GIT_SSH_COMMAND", "ssh -oBatchMode=yes");
        }
        let verb = arguments.first().copied().unwrap_or_default();
        let mut child = command.spawn().map_err(|e| format!("the git program: {e}"))?;
        let stdin = child.stdin.take();
        let feed = async {
            if let Some(mut stdin) = stdin {
                // A reader that stops early says why on its own; the end of its input tells it nothing.
                let _ = stdin.write_all(input).await;
            }
        };
        let work = async { tokio::join!(feed, child.wait_with_output()).1 };
        match tokio::time::timeout(self.settings.timeout, work).await {
            Err(_) => Err(format!("git {verb} took longer than {:?}", self.settings.timeout)),
            Ok(Err(e)) => Err(format!("git {verb}: {e}")),
            Ok(Ok(output)) => {
                let said = String::from_utf8_lossy(&output.stderr);
                let said = said.replace(&self.settings.url, &redacted(&self.settings.url));
                let lines: Vec<_> = said.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
                let said = format!("git {verb}: {}", lines.join("; "));
                Ok(Ran { code: output.status.code(), out: output.stdout, said })
            }
        }
    }
}

/// How a call of git ended.
struct Ran {
    code: Option<i32>,
    out: Vec<u8>,
    said: String,
}

impl Ran {
    fn why(self) -> String {
        // Cut, because a remote writes into it what it likes.
        self.said.chars().filter(|c| !c.is_control()).take(500).collect()
    }

    fn succeeded(self) -> Result<Ran, String> {
        if self.code == Some(0) { Ok(self) } else { Err(self.why()) }
    }
}

/// One answer of `cat-file --batch`: `<object> blob <size>\n<bytes>\n`.
fn blob<'a>(answer: &'a [u8], object: &str) -> Option<(&'a [u8], &'a [u8])> {
    let end = answer.iter().position(|b| *b == b'\n')?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let size: usize = head.strip_prefix(object)?.strip_prefix(" blob ")?.parse().ok()?;
    let body = answer.get(end + 1..)?;
    let (bytes, after) = (body.get(..size)?, body.get(size..)?);
    Some((bytes, after.strip_prefix(b"\n")?))
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
