//! The whole server over 500 clusters of 10 targets each, all watched: `cargo bench --bench fleet [-- NAME...]`.
//!
//! Benches: `together` (a cluster's targets are in one namespace) and `apart` (each is in its own). The API servers are
//! another process, which this one starts from itself, so that the figures are ringward's alone: HTTP/1.1 over TLS, each
//! on a port of its own, which keeps 500 separate hosts to connect to.

#[path = "../tests/common/api_servers.rs"]
mod api_servers;
mod board;

use std::{
    env,
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use api_servers::{Layout, Manner, Servers, name};
use base64::Engine as _;
use board::{Goal, line};
use ringward::{
    app,
    clock::SystemClock,
    config::{ApiSettings, ConnectionSettings, Settings, SourceSettings},
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::{Child, ChildStdin, ChildStdout},
    time::{sleep, timeout},
};

const CLUSTERS: usize = 500;
/// Targets of each cluster.
const TARGETS: usize = 10;
/// Clusters of each plan.
const SPREAD: usize = 10;
const PODS: usize = 2;
/// Status changes that are timed.
const CHANGES: usize = 500;
/// How long nothing changes.
const REST: Duration = Duration::from_secs(60);
/// How long the API servers are away.
const OUTAGE: Duration = Duration::from_secs(20);
/// What begins the arguments of the process that plays them.
const SERVE: &str = "serve-the-fleet";

fn main() {
    let arguments: Vec<String> = env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    if let [first, folder, apart] = &arguments[..]
        && first == SERVE
    {
        return runtime().block_on(serve(Path::new(folder), apart == "apart"));
    }
    assert!(open_files() >= 16_384, "first `ulimit -n 20000`: a watch is a connection");
    board::begin();
    for (name, apart) in [("together", false), ("apart", true)] {
        if arguments.is_empty() && !apart || arguments.iter().any(|a| a == name) {
            runtime().block_on(measure(apart));
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime")
}

// ---- the API servers --------------------------------------------------------------------------

/// Plays the API servers: does what is said line by line, and answers each with a line.
async fn serve(folder: &Path, apart: bool) {
    let read = |name: &str| fs::read(folder.join(name)).expect("a file");
    let chain =
        CertificateDer::pem_slice_iter(&read("leaf.pem")).map(|c| c.expect("PEM")).collect();
    let key = PrivateKeyDer::from_pem_slice(&read("leaf.key")).expect("PEM");
    let tls = rustls::ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::aws_lc_rs::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .expect("protocols")
    .with_no_client_auth()
    .with_single_cert(chain, key)
    .expect("a certificate");
    let layout = Layout { deployments: TARGETS, pods: PODS, apart, others: 0, forbidden: false };
    let servers = Servers::start(CLUSTERS, layout, Some(Arc::new(tls))).await;
    let authority = base64::engine::general_purpose::STANDARD.encode(read("ca.pem"));
    servers.kubeconfig(folder, Some(&authority));
    println!("ready");
    let mut lines = std::io::stdin().lines();
    while let Some(Ok(asked)) = tokio::task::block_in_place(|| lines.next()) {
        let words: Vec<&str> = asked.split(' ').collect();
        match words[..] {
            ["turn", server, deployment] => {
                let number = |word: &str| word.parse().expect("a number");
                let at = wall();
                servers.turn(number(server), number(deployment));
                println!("{at}");
            }
            ["be", manner] => {
                servers.counts.most();
                let manner = match manner {
                    "away" => Manner::Away,
                    "mute" => Manner::Mute,
                    _ => Manner::Serving,
                };
                servers.set(0..CLUSTERS, manner);
                println!("so be it");
            }
            _ => {
                let [lists, watches, pods, open] = servers.counts.all();
                println!("{} {lists} {watches} {pods} {open}", servers.counts.most());
            }
        }
    }
}

/// The process that plays them.
struct Fleet {
    child: Child,
    say: ChildStdin,
    hear: tokio::io::Lines<BufReader<ChildStdout>>,
}

impl Fleet {
    async fn start(folder: &Path, apart: bool) -> Self {
        certificates(folder);
        let mut child = tokio::process::Command::new(env::current_exe().expect("it runs"))
            .arg(SERVE)
            .arg(folder)
            .arg(if apart { "apart" } else { "together" })
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("it starts");
        let say = child.stdin.take().expect("a pipe");
        let hear = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut fleet = Self { child, say, hear };
        assert_eq!(fleet.heard().await, "ready");
        fleet
    }

    async fn heard(&mut self) -> String {
        self.hear.next_line().await.expect("a pipe").expect("it lives")
    }

    async fn ask(&mut self, words: &str) -> String {
        self.say.write_all(format!("{words}\n").as_bytes()).await.expect("a pipe");
        self.heard().await
    }

    /// The most that was on its way, then lists, watches, lists of pods and open connections.
    async fn counts(&mut self) -> [u64; 5] {
        let said = self.ask("count").await;
        let numbers: Vec<u64> = said.split(' ').map(|n| n.parse().expect("a number")).collect();
        numbers.try_into().expect("five of them")
    }
}

/// An authority, and a certificate of its for 127.0.0.1.
fn certificates(folder: &Path) {
    let openssl = |arguments: &str| {
        let made = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output();
        let made = made.expect("openssl is installed");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!("req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=fleet"));
    openssl(&format!(
        "req {key} -keyout leaf.key -out leaf.csr -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    ));
    openssl(
        "x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -copy_extensions copy -out leaf.pem",
    );
}

// ---- the figures ------------------------------------------------------------------------------

async fn measure(apart: bool) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut fleet = Fleet::start(folder.path(), apart).await;
    declare(&folder.path().join("source"), apart);
    let checked = Command::new(env!("CARGO_BIN_EXE_ringward"))
        .args(["check", &folder.path().join("source").display().to_string()])
        .output()
        .expect("the program is there");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    let where_they_are = if apart { "each in its own namespace" } else { "in one namespace" };
    println!(
        "{CLUSTERS} clusters, {TARGETS} targets in each, {where_they_are}, {PODS} pods of each"
    );

    let begun = now();
    let before = processor();
    let running = app::start(settings(folder.path()), |base| Arc::new(SystemClock::new(base)));
    let running = running.await.expect("it starts");
    let token = folder.path().join("data/admin.token");
    let secret = fs::read_to_string(&token).expect("a token").trim().to_owned();
    let api = Api { address: running.address, secret };
    api.until_all_are("ready").await;
    line("start until all are seen", "s", Goal::None, begun.elapsed().as_secs_f64());
    line("  by the time on a processor", "s", Goal::None, processor() - before);
    line("  requests in flight", "at most", Goal::AtMost(50.0), fleet.counts().await[0] as f64);

    sleep(REST / 2).await;
    let ([_, lists, watches, pods, _], before) = (fleet.counts().await, processor());
    let rest = now();
    sleep(REST).await;
    let lasted = rest.elapsed().as_secs_f64();
    let busy = (processor() - before) / lasted * 100.0;
    let after = fleet.counts().await;
    line("resident at rest", "MiB", Goal::AtMost(150.0), resident());
    line(format!("processor at rest over {REST:?}"), "% of a core", Goal::AtMost(5.0), busy);
    for (what, count) in [
        ("  lists", after[1] - lists),
        ("  watches", after[2] - watches),
        ("  lists of pods", after[3] - pods),
    ] {
        line(what, "a second", Goal::None, count as f64 / lasted);
    }
    line("  connections", "open", Goal::None, after[4] as f64);

    changes(&mut fleet, &api).await;

    for manner in ["away", "mute"] {
        fleet.ask(&format!("be {manner}")).await;
        let dark = now();
        api.until_all_are("unknown").await;
        let dark = dark.elapsed();
        line(format!("{manner}: until all are unknown"), "s", Goal::None, dark.as_secs_f64());
        sleep(OUTAGE.saturating_sub(dark)).await;
        let most = fleet.counts().await[0] as f64;
        line("  requests in flight meanwhile", "at most", Goal::AtMost(50.0), most);
        fleet.ask("be serving").await;
        let (back, before) = (now(), processor());
        api.until_all_are("ready").await;
        let goal = Goal::AtMost(60.0);
        line("  back until all are seen", "s", goal, back.elapsed().as_secs_f64());
        line("  by the time on a processor", "s", Goal::None, processor() - before);
        let most = fleet.counts().await[0] as f64;
        line("  requests in flight", "at most", Goal::AtMost(50.0), most);
    }
    line("resident after both", "MiB", Goal::None, resident());
    running.stop().await;
    let _ = fleet.child.kill().await;
}

/// From a change that an API server sends to the fact that is told to whoever listens.
async fn changes(fleet: &mut Fleet, api: &Api) {
    let mut events = api.connect("/v1/events").await;
    let mut heard = Vec::with_capacity(64 * 1024);
    // The answer's head.
    events.read_buf(&mut heard).await.expect("an answer");
    let mut all = Vec::new();
    for n in 0..CHANGES {
        let (cluster, target) = (n * 7 % CLUSTERS, n % TARGETS);
        // At no fixed distance to what else happens.
        sleep(Duration::from_millis(20 + n as u64 * 13 % 37)).await;
        heard.clear();
        let sent: u128 =
            fleet.ask(&format!("turn {cluster} {target}")).await.parse().expect("a number");
        let wanted = format!("\"plan\":\"{}\"", plan(cluster, target));
        let hearing = async {
            while !String::from_utf8_lossy(&heard).contains(&wanted) {
                events.read_buf(&mut heard).await.expect("it goes on");
            }
        };
        timeout(Duration::from_secs(10), hearing).await.expect("a change is told");
        all.push((wall() - sent) as f64 / 1e6);
    }
    all.sort_by(f64::total_cmp);
    let what = format!("{CHANGES} status changes until each is a fact");
    line(&what, "ms in the middle", Goal::None, all[all.len() / 2]);
    line("  the same", "ms at the 99th percentile", Goal::AtMost(20.0), all[all.len() * 99 / 100]);
    line("  the same", "ms the longest", Goal::None, all[all.len() - 1]);
    // Back to what it was.
    for n in 0..CHANGES {
        fleet.ask(&format!("turn {} {}", n * 7 % CLUSTERS, n % TARGETS)).await;
    }
    api.until_all_are("ready").await;
}

struct Api {
    address: SocketAddr,
    secret: String,
}

impl Api {
    async fn connect(&self, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.expect("a connection");
        let Self { secret, .. } = self;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {secret}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("it is sent");
        stream
    }

    /// Waits until every target has that status.
    async fn until_all_are(&self, status: &str) {
        let http = reqwest::Client::new();
        let url = format!("http://{}/v1/clusters", self.address);
        let begun = now();
        loop {
            let answer = http.get(&url).bearer_auth(&self.secret).send().await.expect("an answer");
            let clusters: Value = answer.json().await.expect("JSON");
            let items = clusters["items"].as_array().into_iter().flatten();
            let targets = items.flat_map(|c| c["targets"].as_array().into_iter().flatten());
            let is = |target: &&Value| {
                target["status"].as_str().is_some_and(|said| said.starts_with(status))
            };
            let so = targets.filter(is).count();
            if so == CLUSTERS * TARGETS {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(300), "only {so} are {status}");
            sleep(Duration::from_millis(500)).await;
        }
    }
}

// ---- what is declared -------------------------------------------------------------------------

/// The plan of a target in a cluster.
fn plan(cluster: usize, target: usize) -> String {
    format!("plan-{target}-{:02}", cluster / SPREAD)
}

fn declare(folder: &Path, apart: bool) {
    let head = "apiVersion: ringward.dev/v1alpha1\n";
    let mut clusters = String::new();
    for n in 0..CLUSTERS {
        let _ = write!(
            clusters,
            "---\n{head}kind: Cluster\nmetadata: {{name: c{n}}}\nspec:\n  region: eu-west-1\n  jurisdiction: IE\n"
        );
    }
    let layout = Layout { deployments: TARGETS, pods: PODS, apart, others: 0, forbidden: false };
    let mut files = vec![("rings/clusters.yaml".to_owned(), clusters)];
    for target in 0..TARGETS {
        let mut plans = String::new();
        for group in 0..CLUSTERS / SPREAD {
            let ring = |half: usize| {
                let first = group * SPREAD + half * SPREAD / 2;
                let names: Vec<String> =
                    (first..first + SPREAD / 2).map(|n| format!("c{n}")).collect();
                format!("clusters: {{names: [{}]}}", names.join(", "))
            };
            let _ = write!(
                plans,
                "---\n{head}kind: RingPlan\nmetadata: {{name: {}}}\nspec:\n  target: {{kind: Deployment, namespace: {}, \
                 name: {}, container: app}}\n  policy: plain\n  rings:\n    - {{name: first, {}}}\n    - {{name: second, \
                 after: [first], {}}}\n",
                plan(group * SPREAD, target),
                layout.namespace(target),
                name(target),
                ring(0),
                ring(1),
            );
        }
        files.push((format!("rings/plans-{target}.yaml"), plans));
    }
    let policy = format!(
        "{head}kind: RingPolicy\nmetadata: {{name: plain}}\nspec: {{soak: {{duration: 30m}}, deadline: 10m, gates: none}}\n"
    );
    files.push(("policies/all.yaml".into(), policy));
    for (file, text) in files {
        let path = folder.join(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }
}

fn settings(folder: &Path) -> Settings {
    let kubeconfig: PathBuf = folder.join("kubeconfig");
    let connection = |n: usize| {
        let kubeconfig = Some(kubeconfig.clone());
        (format!("c{n}"), ConnectionSettings { kubeconfig, ..ConnectionSettings::default() })
    };
    Settings {
        listen: ([127, 0, 0, 1], 0).into(),
        data: folder.join("data"),
        source: SourceSettings { path: Some(folder.join("source")), ..SourceSettings::default() },
        connections: (0..CLUSTERS).map(connection).collect(),
        api: ApiSettings {
            requests_per_second: 1_000_000.try_into().expect("a number"),
            ..ApiSettings::default()
        },
        ..Settings::default()
    }
}

// ---- the machine ------------------------------------------------------------------------------

#[expect(clippy::disallowed_methods, reason = "what is measured is real time")]
fn now() -> Instant {
    Instant::now()
}

/// Nanoseconds on the clock that both processes read.
#[expect(clippy::disallowed_methods, reason = "what is measured is real time")]
fn wall() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970").as_nanos()
}

/// Seconds of processors that this process has had.
fn processor() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> =
        stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |n: usize| fields[n].parse::<f64>().expect("a number");
    (ticks(11) + ticks(12)) / 100.0
}

/// MiB of memory that this process has.
fn resident() -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.expect("a number") / 1024.0
}

/// How many files may be open.
fn open_files() -> u64 {
    let limits = fs::read_to_string("/proc/self/limits").expect("Linux");
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next()).unwrap_or_default();
    soft.parse().unwrap_or(u64::MAX)
}
