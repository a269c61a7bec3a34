//! The real binary is killed with SIGKILL again and again, in the middle of rollouts and of requests,
//! and asked each time what it still knows.
//!
//! The fleet lives in the test, so that it goes on while the service is dead. A client keeps creating
//! releases, pausing, resuming, approving and aborting, remembers every answer that it got, and repeats
//! what it got none for, under the same key. `RINGWARD_KILLS` says how often it is killed, and
//! `RINGWARD_SEED` when: the same seed gives the same plan of deaths, though not the same microsecond.

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fs::{self, File},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use common::{Answer, Client, Declarations, PLANS, RINGS, credited, phase};
use jiff::Timestamp;
use reqwest::Method;
use ringward::{
    clock::{Clock, SystemClock},
    ids::Mint,
    model::time::{Mono, Span},
    show::auth::{NewToken, Tokens},
    sim::loopback::Fleet,
};
use serde_json::{Value, json};

/// What two clocks that are read one after the other may differ by.
const TOLERANCE: Span = Span(20);

#[tokio::test(flavor = "multi_thread")]
async fn kills() {
    survive(number("RINGWARD_KILLS", 8)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes; RINGWARD_KILLS says how many"]
async fn kills_many() {
    survive(number("RINGWARD_KILLS", 200)).await;
}

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}: {text}")))
}

async fn survive(kills: u64) {
    let seed = number("RINGWARD_SEED", 20);
    println!("RINGWARD_KILLS={kills} RINGWARD_SEED={seed}");
    let mut trial = Trial::prepare(seed).await;
    for _ in 0..kills {
        // One in four dies before it can do much; the others live long enough to get somewhere.
        let life = match trial.chance(4) {
            0 => Duration::from_millis(trial.chance(300)),
            _ => Duration::from_millis(400 + trial.chance(1_600)),
        };
        let mut service = trial.spawn();
        let killer = service.kill_after(life);
        // It ends when the service does not answer any more, at whatever point that is.
        let _: Result<(), Dead> = trial.disturb(&service).await;
        killer.await.expect("it kills");
        service.killed(&mut trial);
    }
    let mut service = trial.spawn();
    trial.converge(&service).await.expect("nobody kills it any more");
    service.child.lock().expect("not poisoned").kill().expect("it can be killed");
    service.killed(&mut trial);
    trial.summary();
}

/// The service does not answer any more.
type Dead = reqwest::Error;

/// A request, whether or not it was answered.
#[derive(Debug)]
struct Op {
    key: String,
    path: String,
    body: Value,
    /// By the approver, not by the administrator.
    approver: bool,
    /// The fact that it leads to where it is admitted.
    fact: &'static str,
    answer: Option<Answer>,
}

/// How long a process was alive.
#[derive(Debug)]
struct Life {
    from: Timestamp,
    to: Timestamp,
}

/// Everything that outlives the service.
struct Trial {
    folder: tempfile::TempDir,
    fleet: Fleet,
    clock: SystemClock,
    mint: Mint,
    port: u16,
    approver: Option<String>,
    ops: Vec<Op>,
    lives: Vec<Life>,
    /// The audit, as far as it was read.
    audit: Vec<Value>,
    /// By plan: how many releases were asked for.
    versions: BTreeMap<&'static str, u64>,
    /// What was paused, by its path.
    paused: BTreeSet<String>,
    /// The most that each ring of a release, in an attempt, was seen credited with.
    seen: BTreeMap<(String, String, u64), f64>,
}

/// A process that serves.
struct Service {
    child: Arc<Mutex<Child>>,
    doomed: Arc<AtomicBool>,
    from: Timestamp,
    admin: Client,
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Ok(mut child) = self.child.lock() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Service {
    fn kill_after(&mut self, life: Duration) -> tokio::task::JoinHandle<()> {
        let (child, doomed) = (self.child.clone(), self.doomed.clone());
        tokio::spawn(async move {
            tokio::time::sleep(life).await;
            doomed.store(true, Ordering::SeqCst);
            child.lock().expect("not poisoned").kill().expect("it is alive");
        })
    }

    fn killed(&mut self, trial: &mut Trial) {
        self.child.lock().expect("not poisoned").wait().expect("it ends");
        trial.lives.push(Life { from: self.from, to: trial.clock.now().wall });
    }
}

impl Trial {
    async fn prepare(seed: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new(Mono(0)));
        let fleet = common::fleet(Span(300), clock, folder.path()).await;
        let declarations = Declarations {
            soak: "1500ms",
            interval: "250ms",
            approved: vec!["search"],
            ..Declarations::of(&fleet)
        };
        declarations.write(&folder.path().join("source"));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let settings = common::settings(&fleet, folder.path());
        let connections = settings.connections.iter().map(|(name, connection)| {
            let context =
                json!({"kubeconfig": connection.kubeconfig, "context": connection.context});
            (name.clone(), context)
        });
        let config = json!({
            "listen": format!("127.0.0.1:{port}"),
            "data": settings.data,
            "source": {"path": settings.source.path},
            "connections": connections.collect::<serde_json::Map<_, _>>(),
        });
        // JSON is YAML.
        fs::write(folder.path().join("ringward.yaml"), config.to_string()).expect("a file");
        Self {
            folder,
            fleet,
            clock: SystemClock::new(Mono(0)),
            mint: Mint::seeded(seed),
            port,
            approver: None,
            ops: Vec::new(),
            lives: Vec::new(),
            audit: Vec::new(),
            versions: BTreeMap::new(),
            paused: BTreeSet::new(),
            seen: BTreeMap::new(),
        }
    }

    /// Below `n`.
    fn chance(&mut self, n: u64) -> u64 {
        self.mint.next_u64() % n
    }

    fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> std::path::PathBuf {
        self.folder.path().join("log")
    }

    fn spawn(&mut self) -> Service {
        let log = File::options().create(true).append(true).open(self.log()).expect("a log");
        let from = self.clock.now().wall;
        let child = Command::new(env!("CARGO_BIN_EXE_ringward"))
            .args(["serve", "--config"])
            .arg(self.folder.path().join("ringward.yaml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        let admin = fs::read_to_string(self.data().join("admin.token")).unwrap_or_default();
        let admin = Client::new(format!("127.0.0.1:{}", self.port), admin.trim());
        let child = Arc::new(Mutex::new(child));
        Service { child, doomed: Arc::default(), from, admin }
    }

    /// Waits until the service takes requests; the administrator's client.
    async fn ready(&mut self, service: &Service) -> Result<Client, Dead> {
        let started = self.clock.now().mono;
        loop {
            let answer = service.admin.ask(Method::GET, "/readyz", &[], None).await;
            let error = match answer {
                Ok(answer) if answer.status.is_success() => break,
                Ok(_) => None,
                Err(error) => Some(error),
            };
            if service.doomed.load(Ordering::SeqCst)
                && let Some(error) = error
            {
                return Err(error);
            }
            let ended = service.child.lock().expect("not poisoned").try_wait().expect("a child");
            let doomed = service.doomed.load(Ordering::SeqCst);
            if let Some(status) = ended.filter(|_| !doomed) {
                panic!("it ended by itself, {status}: {}", tail(&self.log()));
            }
            let waited = self.clock.now().mono.since(started);
            assert!(waited < Span::seconds(20), "not ready in {waited}: {}", tail(&self.log()));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // A first start makes it before it listens.
        let address = format!("127.0.0.1:{}", self.port);
        let admin = Client::new(address, common::admin_token(&self.data()));
        if self.approver.is_none() {
            let tokens = Tokens::open(&self.data()).expect("tokens");
            let roles = vec!["approver".into()];
            let kim = NewToken { name: "kim".into(), roles, ..NewToken::default() };
            let made = tokens.create(kim, &mut Mint::system(), self.clock.now().wall);
            self.approver = Some(made.expect("a token").1);
        }
        Ok(admin)
    }

    /// Checks what the service knows, then keeps it busy until it is dead.
    async fn disturb(&mut self, service: &Service) -> Result<(), Dead> {
        let admin = self.ready(service).await?;
        let worked = self.work(&admin).await;
        let doomed = service.doomed.load(Ordering::SeqCst);
        assert!(doomed, "it went away by itself: {worked:?}: {}", tail(&self.log()));
        worked
    }

    async fn work(&mut self, admin: &Client) -> Result<(), Dead> {
        self.check(admin).await?;
        self.repeat_what_was_not_answered(admin).await?;
        loop {
            let plan = PLANS[self.chance(2) as usize];
            self.step(admin, plan).await?;
            let pause = 10 + self.chance(80);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    /// Does one thing to a plan or its newest release.
    async fn step(&mut self, admin: &Client, plan: &'static str) -> Result<(), Dead> {
        if self.chance(10) == 0 {
            return self.repeat_something(admin).await;
        }
        if let Some(path) = self.paused.first().cloned()
            && self.chance(3) > 0
        {
            self.paused.remove(&path);
            return self.act(admin, format!("{path}/resume"), "resumed").await;
        }
        let Some(version) = self.newest(plan) else { return self.create(admin, plan).await };
        let path = format!("/v1/plans/{plan}/releases/{version}");
        let release = admin.ask(Method::GET, &path, &[], None).await?;
        if !release.status.is_success() {
            return self.create(admin, plan).await;
        }
        self.look(&release.body, &format!("{plan}@{version}"));
        match self.chance(20) {
            _ if release.body["settled"] == true => self.create(admin, plan).await,
            0 => self.act(admin, format!("{path}/abort"), "aborted").await,
            1 => self.create(admin, plan).await,
            2..5 => {
                let scopes = [
                    path,
                    format!("/v1/plans/{plan}"),
                    format!("/v1/plans/{plan}/rings/us"),
                    format!("/v1/plans/{plan}/releases/{version}/rings/eu"),
                ];
                let scope = scopes[self.chance(4) as usize].clone();
                self.paused.insert(scope.clone());
                self.act(admin, format!("{scope}/pause"), "paused").await
            }
            5..10 if plan == "search" => {
                self.act(admin, format!("{path}/rings/us/approve"), "approved").await
            }
            _ => Ok(()),
        }
    }

    fn newest(&self, plan: &str) -> Option<String> {
        self.versions.get(plan).map(|version| format!("v{version}"))
    }

    /// Credited time never shrinks, but where the audit says that it was reset.
    fn look(&mut self, release: &Value, id: &str) {
        for ring in RINGS {
            let attempt = common::ring(release, ring)["attempt"].as_u64().expect("a number");
            if phase(release, ring) == "Soaking" {
                let place = (id.to_owned(), ring.to_owned(), attempt);
                let now = credited(release, ring);
                let seen = self.seen.insert(place, now).unwrap_or(0.0);
                assert!(now >= seen, "{id} on {ring}: {seen} s, then {now} s: {release:#}");
            }
        }
    }

    async fn create(&mut self, admin: &Client, plan: &'static str) -> Result<(), Dead> {
        let next = self.versions.entry(plan).or_default();
        *next += 1;
        let (version, digest) = (format!("v{next}"), format!("{next:064x}"));
        let image = format!("registry.example/shop/{plan}@sha256:{digest}");
        let body = json!({"version": version, "artifact": {"image": image}});
        self.send(admin, format!("/v1/plans/{plan}/releases"), body, "submitted").await
    }

    async fn act(&mut self, admin: &Client, path: String, fact: &'static str) -> Result<(), Dead> {
        self.send(admin, path, json!({}), fact).await
    }

    async fn send(
        &mut self,
        admin: &Client,
        path: String,
        body: Value,
        fact: &'static str,
    ) -> Result<(), Dead> {
        let key = format!("op-{}", self.ops.len());
        let approver = fact == "approved";
        self.ops.push(Op { key, path, body, approver, fact, answer: None });
        let answer = self.say(admin, self.ops.len() - 1).await?;
        self.ops.last_mut().expect("it was just put there").answer = Some(answer);
        Ok(())
    }

    async fn say(&self, admin: &Client, op: usize) -> Result<Answer, Dead> {
        let Op { key, path, body, approver, .. } = &self.ops[op];
        let client = match (approver, &self.approver) {
            (true, Some(token)) => Client::new(format!("127.0.0.1:{}", self.port), token.clone()),
            _ => admin.clone(),
        };
        let headers = [("idempotency-key", key.as_str())];
        let answer = client.ask(Method::POST, path, &headers, Some(body.clone())).await?;
        assert!(!answer.status.is_server_error(), "{path}: {answer:?}");
        Ok(answer)
    }

    async fn repeat_what_was_not_answered(&mut self, admin: &Client) -> Result<(), Dead> {
        for op in 0..self.ops.len() {
            if self.ops[op].answer.is_none() {
                let answer = self.say(admin, op).await?;
                self.ops[op].answer = Some(answer);
            }
        }
        Ok(())
    }

    /// The same key is answered as it was the first time.
    async fn repeat_something(&mut self, admin: &Client) -> Result<(), Dead> {
        let answered: Vec<usize> =
            (0..self.ops.len()).filter(|op| self.ops[*op].answer.is_some()).collect();
        if answered.is_empty() {
            return Ok(());
        }
        let op = answered[self.chance(answered.len() as u64) as usize];
        let again = self.say(admin, op).await?;
        assert_eq!(Some(&again), self.ops[op].answer.as_ref(), "{:?}", self.ops[op]);
        Ok(())
    }

    /// Reads what is new in the audit, and holds everything against it.
    async fn check(&mut self, admin: &Client) -> Result<(), Dead> {
        // Before the audit, which must hold all of them: an intent is recorded before it is sent.
        let written = RINGS.map(|ring| self.fleet.written(&ring.into()).expect("a cluster"));
        let verified = admin.ask(Method::GET, "/v1/audit/verify", &[], None).await?.good();
        assert_eq!(verified["broken"], Value::Null, "{verified}");
        loop {
            let since = self.audit.len();
            let path = format!("/v1/audit?limit=1000&since={since}");
            let page = admin.ask(Method::GET, &path, &[], None).await?.good();
            for entry in page["entries"].as_array().expect("entries") {
                // What was read in an earlier life is still there, unchanged.
                let before = self.audit.last().map(|entry| entry["hash"].clone());
                assert!(before.is_none_or(|hash| hash == entry["prev"]), "{entry:#}");
                assert_eq!(entry["seq"].as_u64(), Some(self.audit.len() as u64 + 1));
                self.audit.push(entry.clone());
            }
            if page["next"].is_null() {
                break;
            }
        }
        let audit = Audit::of(&self.audit);
        audit.holds_every_answer(&self.ops);
        audit.starts_no_ring_early();
        audit.credits_no_more_than_was_lived(&self.lives, self.clock.now().wall);
        for (intent, times) in written.into_iter().flatten() {
            assert_eq!(times, 1, "{intent} changed its object more than once");
            assert!(audit.intents.contains(intent.as_str()), "{intent} was not recorded");
        }
        for (plan, version) in self.versions.clone() {
            let path = format!("/v1/plans/{plan}/releases/v{version}");
            let release = admin.ask(Method::GET, &path, &[], None).await?;
            if release.status.is_success() {
                self.look(&release.body, &format!("{plan}@v{version}"));
            }
        }
        Ok(())
    }

    /// Lets everything go, and waits until a last release of each plan is everywhere.
    async fn converge(&mut self, service: &Service) -> Result<(), Dead> {
        let admin = self.ready(service).await?;
        self.repeat_what_was_not_answered(&admin).await?;
        self.check(&admin).await?;
        for path in std::mem::take(&mut self.paused) {
            self.act(&admin, format!("{path}/resume"), "resumed").await?;
        }
        for plan in PLANS {
            self.create(&admin, plan).await?;
        }
        for plan in PLANS {
            let version = self.newest(plan).expect("it was just created");
            if plan == "search" {
                let path = format!("/v1/plans/{plan}/releases/{version}/rings/us/approve");
                self.act(&admin, path, "approved").await?;
            }
            let done = |release: &Value| release["phase"] == "Succeeded";
            admin.until(plan, &version, "success", done).await;
            let digest = format!("{:064x}", self.versions[plan]);
            for ring in RINGS {
                let serving = self.fleet.serving(&ring.into(), &common::target(plan));
                let serving = serving.expect("a cluster");
                assert!(serving.len() == 1 && serving[0].0.0.ends_with(&digest), "{serving:?}");
            }
        }
        self.check(&admin).await?;
        Audit::of(&self.audit).leaves_nothing_dangling();
        Ok(())
    }

    fn summary(&self) {
        let audit = Audit::of(&self.audit);
        let count = |fact: &str| audit.facts.iter().filter(|fact_| fact_.what == fact).count();
        println!(
            "{} lives, {} requests answered, {} entries, {} releases, {} ring starts, {} passes, \
             {} effects; all of it held",
            self.lives.len(),
            self.ops.iter().filter(|op| op.answer.is_some()).count(),
            self.audit.len(),
            count("submitted"),
            count("ringStarted"),
            count("ringPassed"),
            audit.intents.len(),
        );
    }
}

/// The last words of a log.
fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(20).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// The audit, taken apart.
struct Audit<'a> {
    facts: Vec<Happened<'a>>,
    /// The keys of all writes.
    intents: BTreeSet<&'a str>,
}

/// A fact of the audit.
struct Happened<'a> {
    entry: &'a Value,
    at: Timestamp,
    what: &'a str,
    with: &'a Value,
}

impl<'a> Audit<'a> {
    fn of(entries: &'a [Value]) -> Self {
        let list = |entry: &'a Value, name: &str| entry[name].as_array().expect("a list");
        let mut facts = Vec::new();
        let mut intents = BTreeSet::new();
        for entry in entries {
            let at = entry["at"].as_str().and_then(|at| at.parse().ok()).expect("an instant");
            facts.extend(list(entry, "facts").iter().map(|fact| {
                let what = fact["what"].as_str().expect("a name");
                Happened { entry, at, what, with: &fact["with"] }
            }));
            let writes = list(entry, "commands").iter();
            let writes = writes.filter(|command| command["what"] != "measure");
            for key in writes.map(|write| write["with"]["key"].as_str().expect("a key")) {
                assert!(intents.insert(key), "{key} was intended twice");
            }
        }
        Self { facts, intents }
    }

    /// What was answered is there exactly once, and what was not, at most once (invariants 14, 15).
    fn holds_every_answer(&self, ops: &[Op]) {
        let mut answered: BTreeMap<&str, Vec<&Happened>> = BTreeMap::new();
        for fact in self.facts.iter().filter(|fact| fact.what == "answered") {
            let key = fact.with["key"].as_str().expect("a key");
            let (_, key) = key.split_once('/').expect("a name and a key");
            answered.entry(key).or_default().push(fact);
        }
        for op in ops {
            let found = answered.get(op.key.as_str()).map_or(&[][..], Vec::as_slice);
            assert!(found.len() <= 1, "{op:?} was done {} times", found.len());
            let Some(answer) = &op.answer else { continue };
            let [kept] = found else { panic!("{op:?} was answered and is lost") };
            let done = kept.with["answer"].get("done").is_some();
            assert_eq!(answer.status.is_success(), done, "{op:?}: {}", kept.entry);
            let facts = kept.entry["facts"].as_array().expect("facts");
            let effect = facts.iter().filter(|fact| fact["what"] == op.fact).count();
            assert_eq!(effect, usize::from(done), "{op:?}: {}", kept.entry);
        }
    }

    /// A ring starts a release only behind those before it (invariant 1).
    fn starts_no_ring_early(&self) {
        let mut passed = BTreeSet::new();
        for Happened { what, with, entry, .. } in &self.facts {
            let (release, ring) = (with["release"].as_str(), with["ring"].as_str());
            match *what {
                "ringPassed" => _ = passed.insert((release, ring)),
                "ringStarted" if ring == Some("us") => {
                    assert!(passed.contains(&(release, Some("eu"))), "too early: {entry:#}");
                }
                _ => {}
            }
        }
    }

    /// Time is credited only where the ring soaked and one process was alive all the while, and no
    /// time twice (invariant 3).
    fn credits_no_more_than_was_lived(&self, lives: &[Life], now: Timestamp) {
        let mut credited_up_to = BTreeMap::new();
        let current = lives.last().map_or(Timestamp::MIN, |life| life.to);
        for Happened { what, with, entry, at, .. } in &self.facts {
            let place = (with["release"].as_str(), with["ring"].as_str());
            match *what {
                "soakStarted" => _ = credited_up_to.insert(place, *at),
                "soakCredited" => {
                    let span: Span =
                        with["span"].as_str().and_then(|s| s.parse().ok()).expect("a span");
                    let from = *at - span.to_signed() + TOLERANCE.to_signed();
                    let inside = |from_: Timestamp, to: Timestamp| from_ <= from && *at <= to;
                    let lived = lives.iter().any(|life| inside(life.from, life.to));
                    assert!(lived || inside(current, now), "credited for the dead: {entry:#}");
                    let before = credited_up_to.insert(place, *at);
                    assert!(
                        before.is_some_and(|before| before <= from),
                        "credited twice: {entry:#}"
                    );
                }
                _ => {}
            }
        }
    }

    /// Every write was done, or was overtaken (invariant 31).
    fn leaves_nothing_dangling(&self) {
        let ends = ["effectSettled", "effectSuperseded"];
        let ended = self.facts.iter().filter(|fact| ends.contains(&fact.what));
        let ended: BTreeSet<_> = ended.filter_map(|fact| fact.with["key"].as_str()).collect();
        let dangling: Vec<_> = self.intents.difference(&ended).collect();
        assert!(dangling.is_empty(), "{dangling:?}");
    }
}
