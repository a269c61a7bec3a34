//! Reads of the API while 500 releases are in motion, what they cost the core, the first page, `ringward status`,
//! and what 1,000 listeners do. The service, its fleet and whoever asks share one process and its processors.

mod board;

use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use board::{Goal, line, rate};
use ringward::{
    app,
    clock::{Clock, SystemClock},
    config::{ApiSettings, ConnectionSettings, Settings, SourceSettings},
    model::{
        ring::{Artifact, Target, TargetKind},
        time::{Mono, Span},
    },
    sim::loopback::{Fleet, Site, Workload},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};

/// Plans, each with one release in motion on its one ring.
const MOVING: usize = 500;
const CLUSTERS: usize = 5;
/// Connections that read at once.
const READERS: usize = 16;
const LISTENERS: usize = 1_000;
/// How long each figure is measured.
const WINDOW: Duration = Duration::from_secs(20);

#[tokio::main]
async fn main() {
    assert!(
        open_files() >= 4_096,
        "first `ulimit -n 8192`: both ends of every connection are here"
    );
    let folder = tempfile::tempdir().expect("a folder");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new(Mono(0)));
    let sites: Vec<Site> = (0..CLUSTERS).map(site).collect();
    let fleet = Fleet::start(&sites, clock, 7, folder.path()).await.expect("a fleet");
    declare(&fleet, &folder.path().join("source"));
    let running =
        app::start(settings(&fleet, folder.path()), |base| Arc::new(SystemClock::new(base)));
    let running = running.await.expect("it starts");
    let token = folder.path().join("data/admin.token");
    let secret = fs::read_to_string(&token).expect("a token");
    let api = Api { address: running.address, secret: secret.trim().into() };
    set_in_motion(&api).await;

    board::begin();
    api.decided_during(sleep(WINDOW)).await.show("with nobody reading");

    let enough = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> =
        (0..READERS).map(|n| tokio::spawn(read(api.clone(), n, enough.clone()))).collect();
    let started = now();
    let busy = api.decided_during(sleep(WINDOW)).await;
    enough.store(true, Ordering::Relaxed);
    let took = started.elapsed();
    let mut all: Vec<Duration> = Vec::new();
    for reader in readers {
        all.extend(reader.await.expect("it reads"));
    }
    all.sort();
    let what = format!("reads over {READERS} connections");
    line(&what, "a second", Goal::AtLeast(5_000.0), rate(all.len(), took));
    line(&what, "ms in the middle", Goal::None, millis(all[all.len() / 2]));
    line(&what, "ms at the 99th percentile", Goal::AtMost(50.0), millis(all[all.len() * 99 / 100]));
    busy.show("with them");

    first_page(&api).await;
    status(&api, &token);

    let before = processor();
    let _ = api.decided_during(sleep(WINDOW)).await;
    let without = processor() - before;
    let told = Arc::new(AtomicU64::new(0));
    let mut listeners = Vec::new();
    for _ in 0..LISTENERS {
        listeners.push(tokio::spawn(listen(api.connect("/v1/events").await, told.clone())));
    }
    let before = processor();
    let heard = api.decided_during(sleep(WINDOW)).await;
    let with = processor() - before;
    heard.show(&format!("with {LISTENERS} listeners"));
    let told = told.load(Ordering::Relaxed) as f64 / WINDOW.as_secs_f64();
    line("told to listeners", "bytes a second", Goal::None, told);
    let of = |seconds: f64| seconds / WINDOW.as_secs_f64() * 100.0;
    line("processor of all this without listeners", "%", Goal::None, of(without));
    line("the same with them", "%", Goal::None, of(with));
    for listener in listeners {
        listener.abort();
    }
    running.stop().await;
}

#[derive(Clone)]
struct Api {
    address: SocketAddr,
    secret: String,
}

impl Api {
    async fn connect(&self, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.expect("a connection");
        stream.set_nodelay(true).expect("an option");
        stream.write_all(self.request(path).as_bytes()).await.expect("it is sent");
        stream
    }

    fn request(&self, path: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n", self.secret)
    }

    async fn get(&self, path: &str) -> String {
        let mut stream = self.connect(path).await;
        let mut buffer = Vec::new();
        String::from_utf8(answer(&mut stream, &mut buffer).await).expect("text")
    }

    /// The core's decisions while something else happens.
    async fn decided_during(&self, other: impl Future<Output = ()>) -> Decided {
        let before = Decided::of(&self.get("/metrics").await);
        other.await;
        let after = Decided::of(&self.get("/metrics").await);
        after.since(&before)
    }
}

/// The histogram of decisions.
struct Decided {
    count: f64,
    sum: f64,
    /// Each bound with how many took no longer.
    buckets: Vec<(f64, f64)>,
}

impl Decided {
    fn of(figures: &str) -> Self {
        let value =
            |line: &str| line.rsplit(' ').next().and_then(|v| v.parse().ok()).unwrap_or(0.0);
        let of =
            |name: &str| figures.lines().find(|line| line.starts_with(name)).map_or(0.0, value);
        let bucket = |line: &str| {
            let bound = line.split('"').nth(1)?;
            Some((bound.parse().unwrap_or(f64::INFINITY), value(line)))
        };
        let name = "ringward_decide_seconds_bucket";
        let buckets = figures.lines().filter(|line| line.starts_with(name)).filter_map(bucket);
        Self {
            count: of("ringward_decide_seconds_count"),
            sum: of("ringward_decide_seconds_sum"),
            buckets: buckets.collect(),
        }
    }

    fn since(self, before: &Self) -> Self {
        let pairs = self.buckets.iter().zip(&before.buckets);
        Self {
            count: self.count - before.count,
            sum: self.sum - before.sum,
            buckets: pairs.map(|((bound, now), (_, then))| (*bound, now - then)).collect(),
        }
    }

    fn show(&self, when: &str) {
        let within = |(_, within): &&(f64, f64)| *within >= self.count * 0.99;
        let p99 = self.buckets.iter().find(within).map_or(f64::INFINITY, |(bound, _)| *bound);
        let what = format!("decisions {when}");
        line(&what, "in all", Goal::None, self.count);
        line(&what, "ms in the mean", Goal::None, self.sum / self.count * 1e3);
        line(&what, "ms within which 99% are", Goal::None, p99 * 1e3);
    }
}

#[expect(clippy::disallowed_methods, reason = "what is measured is real time")]
fn now() -> Instant {
    Instant::now()
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

/// Seconds of processors that this process has had.
fn processor() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> =
        stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |n: usize| fields[n].parse::<f64>().expect("a number");
    (ticks(11) + ticks(12)) / 100.0
}

/// How many files may be open.
fn open_files() -> u64 {
    let limits = fs::read_to_string("/proc/self/limits").expect("Linux");
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next()).unwrap_or_default();
    soft.parse().unwrap_or(u64::MAX)
}

/// Reads one answer of a connection that is kept.
async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Vec<u8> {
    buffer.clear();
    let (head, length) = loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).to_lowercase();
            assert!(head.starts_with("http/1.1 200"), "{head}");
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            break (end + 4, length.and_then(|n| n.parse::<usize>().ok()).expect("a length"));
        }
        assert!(stream.read_buf(buffer).await.expect("an answer") > 0, "it went away");
    };
    while buffer.len() < head + length {
        assert!(stream.read_buf(buffer).await.expect("an answer") > 0, "it went away");
    }
    buffer[head..head + length].to_vec()
}

/// Reads one release's tree after the other, and now and then a plan and the list.
async fn read(api: Api, n: usize, enough: Arc<AtomicBool>) -> Vec<Duration> {
    let mut stream = TcpStream::connect(api.address).await.expect("a connection");
    stream.set_nodelay(true).expect("an option");
    let (mut buffer, mut took, mut turn) = (Vec::with_capacity(64 * 1024), Vec::new(), n * 31);
    while !enough.load(Ordering::Relaxed) {
        turn += 1;
        let plan = turn % MOVING;
        let path = match turn % 50 {
            0 => "/v1/releases?pageSize=50".to_owned(),
            1..5 => format!("/v1/plans/service-{plan:04}"),
            _ => format!("/v1/plans/service-{plan:04}/releases/1.0"),
        };
        let started = now();
        stream.write_all(api.request(&path).as_bytes()).await.expect("it is sent");
        answer(&mut stream, &mut buffer).await;
        took.push(started.elapsed());
    }
    took
}

async fn listen(mut stream: TcpStream, told: Arc<AtomicU64>) {
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        told.fetch_add(read as u64, Ordering::Relaxed);
    }
}

/// `ringward status`, from its start to its end.
fn status(api: &Api, token: &Path) {
    let mut all: Vec<Duration> = (0..50)
        .map(|n| {
            let started = now();
            let said = Command::new(env!("CARGO_BIN_EXE_ringward"))
                .args(["status", &format!("service-{n:04}")])
                .env("RINGWARD_SERVER", format!("http://{}", api.address))
                .env("RINGWARD_TOKEN_FILE", token)
                .output()
                .expect("it runs");
            assert!(said.status.success(), "{said:?}");
            started.elapsed()
        })
        .collect();
    all.sort();
    line("ringward status", "ms in the middle", Goal::AtMost(50.0), millis(all[all.len() / 2]));
    line("ringward status", "ms the longest", Goal::None, millis(all[all.len() - 1]));
}

/// The dashboard's first page with all that belongs to it, as a browser has it that was never there.
async fn first_page(api: &Api) {
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build();
    let http = http.expect("a client");
    let base = format!("http://{}", api.address);
    let signed = http.post(format!("{base}/login")).body(format!("token={}", api.secret)).send();
    let signed = signed.await.expect("an answer");
    let cookie = signed.headers()["set-cookie"].to_str().expect("text").to_owned();
    let cookie = cookie.split(';').next().unwrap_or_default();
    let (mut all, mut weight) = (Vec::new(), 0);
    for _ in 0..50 {
        let started = now();
        weight = 0;
        for path in ["/", "/assets/style.css", "/assets/live.js", "/assets/icon.svg"] {
            let answer = http.get(format!("{base}{path}")).header("cookie", cookie).send().await;
            let answer = answer.and_then(reqwest::Response::error_for_status).expect("a page");
            weight += answer.bytes().await.expect("a page").len();
        }
        all.push(started.elapsed());
    }
    all.sort();
    line("first page with its assets", "KiB", Goal::AtMost(100.0), weight as f64 / 1024.0);
    line("first page with its assets", "ms in the middle", Goal::AtMost(200.0), millis(all[25]));
    line("first page with its assets", "ms the longest", Goal::None, millis(all[49]));
}

async fn set_in_motion(api: &Api) {
    let http = reqwest::Client::new();
    let base = format!("http://{}/v1", api.address);
    let until = async |path: &str, wanted: &dyn Fn(&Value) -> bool| loop {
        let answer = http.get(format!("{base}{path}")).bearer_auth(&api.secret).send().await;
        let answer: Value = answer.expect("an answer").json().await.expect("JSON");
        if wanted(&answer) {
            return;
        }
        sleep(Duration::from_millis(200)).await;
    };
    until("/clusters", &|clusters| {
        let items = clusters["items"].as_array().expect("clusters");
        let targets = items.iter().flat_map(|c| c["targets"].as_array().into_iter().flatten());
        targets.filter(|target| target["status"] == "ready").count() == MOVING
    })
    .await;
    for plan in 0..MOVING {
        let body = json!({"version": "1.0", "artifact": {"image": image(plan, '1').0}});
        let path = format!("{base}/plans/service-{plan:04}/releases");
        let created = http.post(path).bearer_auth(&api.secret).json(&body).send().await;
        let created = created.expect("an answer");
        assert_eq!(created.status(), 201, "{}", created.text().await.unwrap_or_default());
    }
    for plan in 0..MOVING {
        until(&format!("/plans/service-{plan:04}/releases/1.0"), &|release| {
            release["rings"][0]["phase"] == "Soaking"
        })
        .await;
    }
    println!("{MOVING} releases in motion, each measured every 5 s");
}

fn image(plan: usize, digit: char) -> Artifact {
    let digest = digit.to_string().repeat(64);
    Artifact(format!("registry.example/shop/service-{plan:04}@sha256:{digest}"))
}

fn site(n: usize) -> Site {
    let workload = |plan: usize| Workload {
        plan: format!("service-{plan:04}").into(),
        target: Target {
            kind: TargetKind::Deployment { container: "app".into() },
            namespace: "shop".into(),
            name: format!("service-{plan:04}"),
        },
        image: image(plan, '0'),
        replicas: 1,
    };
    Site {
        cluster: format!("c{n}").into(),
        connection: format!("c{n}"),
        region: "eu-west-1".into(),
        metrics: [format!("http://prometheus.c{n}:9090")].into(),
        workloads: (0..MOVING).filter(|plan| plan % CLUSTERS == n).map(workload).collect(),
        deploy_time: Span::seconds(2),
    }
}

fn declare(fleet: &Fleet, folder: &Path) {
    let head = "apiVersion: ringward.dev/v1alpha1\n";
    let mut clusters = String::new();
    for n in 0..CLUSTERS {
        let url = &fleet.metrics()[&format!("http://prometheus.c{n}:9090")];
        let _ = write!(
            clusters,
            "---\n{head}kind: Cluster\nmetadata: {{name: c{n}}}\nspec:\n  region: eu-west-1\n  jurisdiction: IE\n  \
             metrics: [{{name: prometheus, type: prometheus, url: \"{url}\", jurisdiction: IE}}]\n"
        );
    }
    let mut plans = String::new();
    for plan in 0..MOVING {
        let _ = write!(
            plans,
            "---\n{head}kind: RingPlan\nmetadata: {{name: service-{plan:04}}}\nspec:\n  target: {{kind: Deployment, \
             namespace: shop, name: service-{plan:04}, container: app}}\n  policy: quick\n  rings: [{{name: only, \
             clusters: {{names: [c{}]}}}}]\n",
            plan % CLUSTERS
        );
    }
    let policies = format!(
        "{head}kind: GateTemplate\nmetadata: {{name: http-success-rate}}\nspec:\n  signal: errors\n  provider: \
         prometheus\n  query: |\n    sum(rate(http_requests_total{{service=\"{{{{plan}}}}\",code!~\"5..\"}}[{{{{interval}}}}]))\n      \
         / sum(rate(http_requests_total{{service=\"{{{{plan}}}}\"}}[{{{{interval}}}}]))\n---\n{head}kind: RingPolicy\n\
         metadata: {{name: quick}}\nspec:\n  soak: {{duration: 12h, onBreach: reset}}\n  deadline: 10m\n  gates:\n    - \
         {{name: success-rate, template: http-success-rate, interval: 5s, threshold: {{min: 0.9}}, onNoData: hold, \
         noDataDeadline: 5m}}\n"
    );
    for (file, text) in [
        ("rings/clusters.yaml", clusters),
        ("rings/plans.yaml", plans),
        ("policies/all.yaml", policies),
    ] {
        let path = folder.join(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }
}

fn settings(fleet: &Fleet, folder: &Path) -> Settings {
    let connection = |n: usize| {
        let kubeconfig = Some(fleet.kubeconfig().to_owned());
        let context = Some(format!("c{n}"));
        let settings = ConnectionSettings { kubeconfig, context, ..ConnectionSettings::default() };
        (format!("c{n}"), settings)
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
