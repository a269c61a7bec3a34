//! The demo as a process of its own, as whoever reads the README starts it.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use super::chromium::Browser;

/// A demo that runs.
pub struct Demo {
    child: Child,
    server: String,
    data: PathBuf,
}

impl Demo {
    /// Starts it on a port of its own, and reads where it is, until its release is on the way.
    pub fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ringward"))
            .args(["demo", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the demo");
        let out = BufReader::new(child.stdout.take().expect("a pipe"));
        let (mut server, mut data) = (None, None);
        let mut lines = out.lines().map_while(Result::ok);
        for line in lines.by_ref() {
            let mut words = line.split_whitespace();
            match (words.next(), words.next_back()) {
                (Some("server"), Some(url)) => server = Some(url.to_owned()),
                (Some("sign"), Some(file)) => data = PathBuf::from(file).parent().map(Into::into),
                (Some(_), _) | (None, _) => {}
            }
            // What comes before the first of those is said before there is a release.
            if line.starts_with("[+") {
                break;
            }
        }
        // What else it says is read, so that it can go on saying it.
        std::thread::spawn(move || lines.for_each(drop));
        let server = server.expect("it says where it is");
        Self { child, server, data: data.expect("it says where its tokens are") }
    }

    /// The address of a page.
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.server)
    }

    /// The administrator's token.
    pub fn admin(&self) -> String {
        self.token("admin.token")
    }

    /// A token of somebody who may approve, and nothing else.
    pub fn approver(&self) -> String {
        self.token("approver.token")
    }

    fn token(&self, file: &str) -> String {
        fs::read_to_string(self.data.join(file)).expect("a token").trim().to_owned()
    }

    /// Signs in on the page that asks for it.
    pub fn sign_in(&self, browser: &mut Browser, token: &str) {
        browser.fill("#token", token);
        browser.press("main button");
    }

    /// Freezes a country with a reason, and lifts that again.
    pub fn freeze_and_lift(&self, browser: &mut Browser) {
        browser.open(&self.at("/freezes"));
        browser.value("document.querySelector('select[name=over]').value = 'place:DE'");
        browser.press("button[value=freeze]");
        assert!(browser.text("main").contains("The line stops for everything in DE"));
        browser.fill("#reason", "a drill");
        browser.press("form.confirm button");
        browser.told("everything in DE is frozen");
        browser.shoot("frozen", |browser| browser.reads());
        browser.press("button[value=lift]");
        browser.press("form.confirm button");
        browser.told("is lifted");
    }
}

impl Drop for Demo {
    /// By SIGTERM, so that it takes its folder away.
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}
