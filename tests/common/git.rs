//! A Git repository that somebody commits to, and a real `git daemon` that serves it.

#![expect(clippy::disallowed_methods, reason = "real programs live in real time")]

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// A repository with a working tree, in which somebody else commits.
pub struct Author {
    /// Its folder.
    pub dir: tempfile::TempDir,
}

impl Author {
    /// With no commit yet.
    pub fn new() -> Self {
        let author = Author { dir: tempfile::tempdir().unwrap() };
        author.git(&["init", "--quiet", "--initial-branch=main", "."]);
        author
    }

    /// What a git command prints; it must succeed.
    pub fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "user.name=dana", "-c", "user.email=dana@example.com"])
            .args(arguments)
            .current_dir(self.dir.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {arguments:?}: {said}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Writes a file, committed or not.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Commits all there is, and names the commit.
    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }
}

/// A `git daemon` over a folder of repositories, on a port of its own.
pub struct Daemon {
    child: Child,
    /// Where it listens on this machine.
    pub port: u16,
}

impl Daemon {
    /// Starts one over `base`.
    pub fn start(base: &Path) -> Self {
        let exec = Command::new("git").arg("--exec-path").output().unwrap().stdout;
        let exec = String::from_utf8(exec).unwrap();
        // The program itself, so that it and not a wrapper is what is ended.
        let program = Path::new(exec.trim()).join("git-daemon");
        for _ in 0..10 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let mut child = Command::new(&program)
                .args(["--export-all", "--reuseaddr", "--listen=127.0.0.1"])
                .arg(format!("--base-path={}", base.display()))
                .arg(format!("--port={port}"))
                .stderr(Stdio::null())
                .spawn()
                .expect("git daemon is a part of git");
            for _ in 0..100 {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Daemon { child, port };
                }
                if child.try_wait().unwrap().is_some() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("git daemon found no free port");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
