//! Chromium by its DevTools protocol over a pair of pipes: nothing but the browser itself is needed.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Write as _},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{DESK, PHONE};

/// How long a page may take to become what it is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// The same where a whole soak lies between.
const LONG: Duration = Duration::from_secs(240);

/// A browser with one page.
pub struct Browser {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    session: Option<String>,
    last: u64,
    /// What the browser had to say against the page.
    complaints: Vec<String>,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts it; nothing where there is none and none is required.
    pub fn start() -> Option<Self> {
        let program = env::var("CHROMIUM").unwrap_or_else(|_| "chromium".into());
        let known = Command::new(&program).arg("--version").stdout(Stdio::null()).status();
        if !known.is_ok_and(|status| status.success()) {
            let required = env::var("RINGWARD_REAL").is_ok_and(|real| real == "required");
            assert!(!required, "{program} cannot be run; install it, or name another by CHROMIUM");
            eprintln!("skipped: {program} cannot be run");
            return None;
        }
        let profile = tempfile::tempdir().expect("a folder");
        // It reads commands from descriptor 3 and answers on 4.
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1", "sh", &program])
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic"])
            .args(["--no-first-run", "--disable-background-networking"])
            .args(["--disable-component-update", "--disable-sync", "--remote-debugging-pipe"])
            // Nothing is had from anywhere else.
            .arg("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost")
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a browser");
        let to = child.stdin.take().expect("a pipe");
        let from = BufReader::new(child.stdout.take().expect("a pipe"));
        let (session, complaints) = (None, Vec::new());
        let mut browser = Self { child, to, from, session, last: 0, complaints, _profile: profile };
        let targets = browser.ask("Target.getTargets", json!({}));
        let pages = targets["targetInfos"].as_array().expect("targets");
        let page = pages.iter().find(|target| target["type"] == "page").expect("a page");
        let page = json!({"targetId": page["targetId"], "flatten": true});
        let attached = browser.ask("Target.attachToTarget", page);
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.ask(&format!("{domain}.enable"), json!({}));
        }
        Some(browser)
    }

    /// Asks, and waits for the answer.
    fn ask(&mut self, method: &str, params: Value) -> Value {
        match self.try_ask(method, params) {
            Ok(answer) => answer,
            Err(error) => panic!("{method}: {error}"),
        }
    }

    fn try_ask(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        self.last += 1;
        let mut message = json!({"id": self.last, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.to.write_all(format!("{message}\0").as_bytes()).expect("the browser lives");
        self.to.flush().expect("the browser lives");
        loop {
            let mut text = Vec::new();
            let read = self.from.read_until(0, &mut text).expect("the browser lives");
            assert!(read > 0, "the browser is gone");
            text.pop();
            let answer: Value = serde_json::from_slice(&text).expect("an answer");
            if answer["id"] == self.last {
                return match answer.get("error") {
                    Some(error) => Err(error.clone()),
                    None => Ok(answer["result"].clone()),
                };
            }
            self.hear(&answer);
        }
    }

    /// Keeps what is said against the page: errors of the console, of scripts and of the policy.
    fn hear(&mut self, event: &Value) {
        let params = &event["params"];
        let complaint = match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => Some(params["exceptionDetails"].to_string()),
            Some("Log.entryAdded") if params["entry"]["level"] == "error" => {
                Some(params["entry"].to_string())
            }
            Some("Runtime.consoleAPICalled") if params["type"] == "error" => {
                Some(params["args"].to_string())
            }
            Some(_) | None => None,
        };
        self.complaints.extend(complaint);
    }

    /// What an expression is, if the page can say so now.
    fn try_value(&mut self, expression: &str) -> Option<Value> {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.try_ask("Runtime.evaluate", params).ok()?;
        match answer.get("exceptionDetails") {
            Some(_) => None,
            None => Some(answer["result"]["value"].clone()),
        }
    }

    /// What an expression is.
    pub fn value(&mut self, expression: &str) -> Value {
        self.try_value(expression).unwrap_or_else(|| panic!("{expression} cannot be told"))
    }

    /// Waits until an expression is true.
    pub fn until(&mut self, what: &str, expression: &str) {
        self.wait(what, expression, PATIENCE);
    }

    /// The same where a whole soak lies between.
    pub fn until_long(&mut self, what: &str, expression: &str) {
        self.wait(what, expression, LONG);
    }

    fn wait(&mut self, what: &str, expression: &str, patience: Duration) {
        let end = Instant::now() + patience;
        while self.try_value(&format!("!!({expression})")) != Some(json!(true)) {
            if Instant::now() > end {
                let text = self.try_value("document.body.innerText").unwrap_or_default();
                panic!("waited in vain until {what}\n{}", text.as_str().unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Does something that leads to another page, and waits until that is there.
    fn leads(&mut self, act: impl FnOnce(&mut Self)) {
        let before = self.value("performance.timeOrigin");
        act(self);
        let there =
            format!("document.readyState == 'complete' && performance.timeOrigin != {before}");
        self.until("the next page is there", &there);
    }

    /// Goes to an address.
    pub fn open(&mut self, address: &str) {
        self.leads(|browser| {
            browser.ask("Page.navigate", json!({"url": address}));
        });
    }

    /// Presses a button or a link that leads to another page, by the keyboard: where it is on the screen may
    /// change at any moment.
    pub fn press(&mut self, selector: &str) {
        let selector = json!(selector);
        let focus = format!(
            "(e => {{ e?.focus(); return e && document.activeElement == e; }})(document.querySelector({selector}))"
        );
        self.until(&format!("{selector} has the focus"), &focus);
        self.leads(|browser| browser.key("Enter"));
    }

    /// Types into a field.
    pub fn fill(&mut self, selector: &str, text: &str) {
        self.value(&format!("document.querySelector({}).focus()", json!(selector)));
        self.ask("Input.insertText", json!({"text": text}));
    }

    /// Presses a key.
    pub fn key(&mut self, key: &str) {
        let text = if key == "Enter" { "\r" } else { "" };
        let code = if key == "Enter" { 13 } else { 9 };
        for kind in ["keyDown", "keyUp"] {
            let event = json!({"type": kind, "key": key, "code": key, "text": text,
                "windowsVirtualKeyCode": code});
            self.ask("Input.dispatchKeyEvent", event);
        }
    }

    /// What stands in an element.
    pub fn text(&mut self, selector: &str) -> String {
        let text = self.value(&format!("document.querySelector({}).innerText", json!(selector)));
        text.as_str().unwrap_or_default().to_owned()
    }

    /// That the page says what was done.
    pub fn told(&mut self, what: &str) {
        let page = self.text("body");
        assert!(self.text("#notice").contains(what), "{what}: {page}");
    }

    /// How many there are.
    pub fn count(&mut self, selector: &str) -> u64 {
        let count = format!("document.querySelectorAll({}).length", json!(selector));
        self.value(&count).as_u64().unwrap_or_default()
    }

    /// No page has a script from now on.
    pub fn without_script(&mut self) {
        self.ask("Emulation.setScriptExecutionDisabled", json!({"value": true}));
    }

    /// The size of the window.
    pub fn size(&mut self, (width, height): (u32, u32)) {
        let mobile = width < 500;
        let metrics =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile});
        self.ask("Emulation.setDeviceMetricsOverride", metrics);
    }

    fn theme(&mut self, theme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": theme}]);
        self.ask("Emulation.setEmulatedMedia", json!({"features": features}));
    }

    /// Takes pictures of the page in both themes and on a phone's width, and looks at it in each.
    pub fn shoot(&mut self, name: &str, check: impl Fn(&mut Self)) {
        for (theme, size) in [("light", DESK), ("dark", DESK), ("light", PHONE), ("dark", PHONE)] {
            self.theme(theme);
            self.size(size);
            // A phone's window grows with a page that is too wide for it.
            let wide = format!("document.documentElement.scrollWidth - {}", size.0);
            let over = self.value(&wide).as_i64().unwrap_or_default();
            assert!(over <= 0, "{name} is {over} px too wide at {} px", size.0);
            check(self);
            self.picture(&format!("{name}-{theme}-{}", size.0));
        }
        self.theme("light");
        self.size(DESK);
    }

    fn picture(&mut self, name: &str) {
        let metrics = self.ask("Page.getLayoutMetrics", json!({}));
        let size = &metrics["cssContentSize"];
        let height = size["height"].as_f64().unwrap_or(900.0).min(4_000.0);
        let clip = json!({"x": 0, "y": 0, "width": size["width"], "height": height, "scale": 1});
        let how = json!({"captureBeyondViewport": true, "clip": clip});
        let picture = self.ask("Page.captureScreenshot", how);
        let bytes = STANDARD.decode(picture["data"].as_str().expect("a picture")).expect("bytes");
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join(format!("{name}.png")), bytes).expect("a file");
    }

    /// That the page can be read by somebody who does not see it, and well by somebody who does.
    pub fn reads(&mut self) {
        let wrong = self.value(include_str!("reads.js"));
        let wrong = wrong.as_array().expect("a list");
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    /// That the browser had nothing to say against any page but what is expected.
    pub fn clean(&mut self, expected: &[&str]) {
        let odd = |complaint: &&String| !expected.iter().any(|known| complaint.contains(known));
        let odd: Vec<&String> = self.complaints.iter().filter(odd).collect();
        assert!(odd.is_empty(), "{odd:#?}");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
