//! A server that says what it is told to.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    sync::{Arc, Mutex},
    thread,
};

use serde_json::{Value, json};

use super::*;
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

pub enum Say {
    /// A status, an ETag and a body.
    This(u16, &'static str, Value),
    /// The connection is closed without a word.
    Nothing,
}

/// Says for each request, by its number, what is answered; it lives as long as the test.
pub struct Fake {
    pub url: String,
    pub seen: Arc<Mutex<Vec<Seen>>>,
    pub token: PathBuf,
    _dir: tempfile::TempDir,
}

impl Fake {
    pub fn new(say: impl Fn(usize, &Seen) -> Say + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let Some(request) = read(&stream) else { continue };
                let number = {
                    let mut log = log.lock().expect("nobody panicked");
                    log.push(request.clone());
                    log.len() - 1
                };
                if let Say::This(status, etag, body) = say(number, &request) {
                    answer(stream, status, etag, &body);
                }
            }
        });
        let dir = tempfile::tempdir().expect("a directory");
        let token = dir.path().join("token");
        fs::write(&token, "rw_secret\n").expect("written");
        Self { url, seen, token, _dir: dir }
    }

    /// A server that says the same to everything.
    pub fn always(status: u16, body: Value) -> Self {
        Self::new(move |_, _| Say::This(status, "\"1.a\"", body.clone()))
    }

    #[track_caller]
    pub fn run(&self, arguments: &[&str], code: i32) -> Ended {
        let mut command = ringward(arguments);
        command.env("RINGWARD_SERVER", &self.url).env("RINGWARD_TOKEN_FILE", &self.token);
        let ended = ended(command.output().expect("it runs"));
        assert_eq!(ended.code, code, "{arguments:?}\n{}{}", ended.out, ended.err);
        ended
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("nobody panicked").clone()
    }
}

pub fn read(stream: &TcpStream) -> Option<Seen> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut seen = Seen { method, path, headers, body: String::new() };
    let length = seen.header("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    seen.body = String::from_utf8(body).ok()?;
    Some(seen)
}

pub fn answer(mut stream: TcpStream, status: u16, etag: &str, body: &Value) {
    let text = if status == 304 { String::new() } else { body.to_string() };
    let head = format!(
        "HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nETag: {etag}\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        text.len()
    );
    // It fails where the other side has what it wanted.
    let _ = stream.write_all((head + &text).as_bytes());
}

pub fn problem(status: u16, kind: &str, detail: &str) -> Value {
    json!({
        "type": format!("https://ringward.dev/problems/{kind}"),
        "title": kind,
        "status": status,
        "detail": detail,
        "instance": "/v1",
    })
}

pub fn release(phase: &str, settled: bool, rings: &[(&str, &str, Value)]) -> Value {
    let ring = |(name, phase, holds): &(&str, &str, Value)| {
        json!({
            "name": name, "after": [], "join": "all", "phase": phase,
            "since": "2026-11-02T08:00:00Z", "attempt": 1, "startedAt": null, "soak": null,
            "gates": null, "jurisdictions": ["DE"], "clusters": [], "measurements": [],
            "holds": holds, "waits": [], "info": "",
        })
    };
    json!({
        "release": "checkout@2.14.0", "plan": "checkout", "version": "2.14.0",
        "artifact": format!("registry/checkout@sha256:{}", "9f2c4e00".repeat(8)),
        "digest": "sha256:9f2c4e…", "policy": "4e1b7a0c", "commit": "0123", "author": "dana",
        "by": "dana", "lane": "normal", "reason": null, "irreversible": false, "requires": null,
        "phase": phase, "settled": settled, "submitted": "2026-11-02T08:00:00Z", "ageSeconds": 720,
        "aborted": null, "revision": 1, "rings": rings.iter().map(ring).collect::<Vec<_>>(),
    })
}

pub fn going() -> Value {
    release("InProgress", false, &[("beta", "Soaking", json!([]))])
}
