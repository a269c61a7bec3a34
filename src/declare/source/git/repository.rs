//! A repository on this machine, asked through the `git` program. Nothing is checked out.

use std::{collections::BTreeMap, path::Path, process::Stdio, time::Duration};

use tokio::{io::AsyncWriteExt, process::Command};

use super::{
    super::{FOLDERS, MAX_FILES, MAX_READ, MAX_TOTAL, Polled, Snapshot, is_declaration},
    SCHEMES, redacted,
};
use crate::ids::Commit;

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

/// Where a repository is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Where<'a> {
    /// A bare one of our own, and the URL that it is filled from: nobody's settings apply.
    Store { path: &'a Path, url: &'a str },
    /// Whichever a folder lies in: its owner's settings apply, such as which folders are safe.
    Around(&'a Path),
}

/// A repository.
#[derive(Debug, Clone, Copy)]
pub(super) struct Repository<'a> {
    /// Where it is.
    pub at: Where<'a>,
    /// How long one call of git may take.
    pub timeout: Duration,
}

impl Repository<'_> {
    /// The declarations of a commit that is there, under the folder `prefix` (`deploy/`; empty for the top).
    pub(super) async fn read(&self, commit: &Commit, prefix: &str) -> Result<Polled, String> {
        let refuse = |why: String| Ok(Polled::Refused { commit: commit.clone(), why });
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
            let path = path.strip_prefix(prefix).unwrap_or(path);
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

    /// A call that must succeed.
    pub(super) async fn git(&self, arguments: &[&str]) -> Result<Ran, String> {
        self.run(arguments, b"").await?.succeeded()
    }

    /// A call, however it ends.
    pub(super) async fn run(&self, arguments: &[&str], input: &[u8]) -> Result<Ran, String> {
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
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        match self.at {
            Where::Store { path, .. } => {
                command.arg("--git-dir").arg(path);
                command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
            }
            Where::Around(folder) => {
                command.arg("-C").arg(folder);
            }
        }
        command.args(arguments);
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
        match tokio::time::timeout(self.timeout, work).await {
            Err(_) => Err(format!("git {verb} took longer than {:?}", self.timeout)),
            Ok(Err(e)) => Err(format!("git {verb}: {e}")),
            Ok(Ok(output)) => {
                let said = String::from_utf8_lossy(&output.stderr);
                let said = match self.at {
                    Where::Store { url, .. } => said.replace(url, &redacted(url)),
                    Where::Around(_) => said.into_owned(),
                };
                let lines: Vec<_> = said.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
                let said = format!("git {verb}: {}", lines.join("; "));
                Ok(Ran { code: output.status.code(), out: output.stdout, said })
            }
        }
    }
}

/// How a call of git ended.
pub(super) struct Ran {
    /// Its exit code, if it had one.
    pub code: Option<i32>,
    /// What it wrote.
    pub out: Vec<u8>,
    said: String,
}

impl Ran {
    /// What it said of its failure.
    pub(super) fn why(self) -> String {
        // Cut, because a remote writes into it what it likes.
        self.said.chars().filter(|c| !c.is_control()).take(500).collect()
    }

    /// Itself, if it succeeded.
    pub(super) fn succeeded(self) -> Result<Ran, String> {
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
