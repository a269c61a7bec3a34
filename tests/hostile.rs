//! Sources that do all that a source should not, asked by every kind of client: an Error in bounded
//! time and memory each, and a source beside them that answers well is heard all the same.

use std::{
    collections::BTreeMap, fmt::Write as _, fs, net::SocketAddr, path::Path, sync::Arc,
    time::Duration,
};

use futures::future::{BoxFuture, join, join_all};
use jiff::Timestamp;
use ringward::{
    act::{
        Measurer as _,
        metrics::{Limits, Metrics, When, auth::Credentials},
    },
    clock::{Clock, SystemClock},
    config::MetricsAuth,
    decide::{
        command::Measure,
        event::Reading,
        part::{Ask, Case, Part, Role, Told},
    },
    ids::ReleaseId,
    model::{
        ring::{MetricSource, ProviderKind},
        time::{Mono, Span},
    },
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

/// The longest that a question may take here.
const PATIENCE: Span = Span::seconds(1);
/// What all of it together may take beside that: a loaded machine is slow, an endless answer is endless.
const SLACK: Duration = Duration::from_secs(8);
/// What answers may take in memory at once: eight of them are read, of 1 MiB each.
const MEMORY_KIB: u64 = 96 * 1_024;

trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

type Serve = Arc<dyn Fn(Box<dyn Wire>) -> BoxFuture<'static, ()> + Send + Sync>;

async fn serve(behaviour: Serve, tls: Option<TlsAcceptor>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (behaviour, tls) = (behaviour.clone(), tls.clone());
            tokio::spawn(async move {
                let mut wire: Box<dyn Wire> = match tls {
                    None => Box::new(stream),
                    Some(tls) => match tls.accept(stream).await {
                        Ok(stream) => Box::new(stream),
                        Err(_) => return,
                    },
                };
                let mut request = [0; 16 * 1_024];
                let _ = wire.read(&mut request).await;
                behaviour(wire).await;
            });
        }
    });
    address
}

/// Sends `head`, then `chunk` so many times, with a pause after each.
fn stream(head: &str, chunk: Vec<u8>, times: u64, pause: Duration) -> Serve {
    let (head, chunk) = (Arc::new(head.to_owned()), Arc::new(chunk));
    Arc::new(move |mut wire| {
        let (head, chunk) = (head.clone(), chunk.clone());
        Box::pin(async move {
            let mut sent = wire.write_all(head.as_bytes()).await;
            for _ in 0..times {
                if sent.is_err() {
                    return;
                }
                if !pause.is_zero() {
                    let _ = wire.flush().await;
                    tokio::time::sleep(pause).await;
                }
                sent = wire.write_all(&chunk).await;
            }
            let _ = wire.shutdown().await;
        })
    })
}

fn answer(head: &str, body: &str) -> Serve {
    let length = body.len();
    let text = format!("HTTP/1.1 {head}\r\nContent-Length: {length}\r\n\r\n{body}");
    stream("", text.into_bytes(), 1, Duration::ZERO)
}

fn kinds() -> Vec<ProviderKind> {
    let window = Span::minutes(10);
    vec![
        ProviderKind::Prometheus,
        ProviderKind::Datadog { window },
        ProviderKind::Flux { org: "o".into() },
        ProviderKind::InfluxQl { database: "d".into() },
        ProviderKind::Graphite { window },
        ProviderKind::NewRelic { account: 1 },
        ProviderKind::Json { timestamp: "/at".into() },
        ProviderKind::CloudWatch { region: "r".into(), period: Span::minutes(1), window },
    ]
}

fn source(kind: ProviderKind, url: &str) -> MetricSource {
    MetricSource { name: "here".into(), kind, url: url.into(), jurisdiction: None }
}

/// A client with a key of AWS' for CloudWatch's place on each of these.
fn metrics(folder: &Path, urls: &[&str], ca: Option<&str>) -> Metrics {
    let key = folder.join("key");
    fs::write(&key, "canary-key\n").unwrap();
    let aws = ringward::config::AwsKey {
        access_key_id_file: key.clone(),
        secret_access_key_file: key,
        session_token_file: None,
    };
    let ca_file = ca.map(|name| tls_folder().join(name));
    let mut settings = std::collections::BTreeMap::new();
    for url in urls {
        let plain = MetricsAuth { ca_file: ca_file.clone(), ..Default::default() };
        settings
            .insert(format!("{url}/aws"), MetricsAuth { aws: Some(aws.clone()), ..plain.clone() });
        let secret = folder.join("secret");
        fs::write(&secret, "whsec_Y2FuYXJ5LXNlY3JldC1vZi10d2VudHktZm91cg==\n").unwrap();
        let desk = MetricsAuth { webhook_secret_file: Some(secret), ..plain.clone() };
        settings.insert(format!("{url}/desk"), desk);
        settings.insert((*url).to_owned(), plain);
    }
    let clock = Arc::new(SystemClock::new(Mono(0)));
    Metrics::new(Credentials::new(settings).unwrap(), clock, Limits::default()).unwrap()
}

/// Every kind of source asked at once, and what each was told.
async fn ask_all(metrics: &Metrics, url: &str) -> Vec<(&'static str, Reading)> {
    let asked = kinds().into_iter().map(|kind| {
        let aws = matches!(kind, ProviderKind::CloudWatch { .. });
        let url = if aws { format!("{url}/aws") } else { url.to_owned() };
        let name = kind.name();
        let select = matches!(kind, ProviderKind::InfluxQl { .. });
        let query = if select { "SELECT q" } else { "q#/value" };
        let answer = metrics.ask(&source(kind, &url), query, When::Now, PATIENCE);
        async move { (name, answer.await) }
    });
    // Those that tell something else than numbers.
    let mut measure = nothing_of(url);
    let desk = format!("{url}/desk");
    let alertmanager = source(ProviderKind::Alertmanager, url);
    let parts = [
        ("alerts", Ask::Alerts { source: source(ProviderKind::Prometheus, url), matchers: page() }),
        ("alertmanager", Ask::Alerts { source: alertmanager, matchers: page() }),
        ("webhook", Ask::Webhook { source: source(ProviderKind::Webhook, &desk), case: case() }),
    ];
    measure.parts =
        parts.iter().map(|(_, ask)| Part { role: Role::Alerts, ask: ask.clone() }).collect();
    let (mut answers, told) = join(join_all(asked), metrics.measure(&measure)).await;
    answers.extend(parts.iter().zip(told.parts).map(|((name, _), told)| match told {
        Told::Error(why) => (*name, Reading::Error(why)),
        told @ (Told::Number(_)
        | Told::Range(_)
        | Told::Alerts(_)
        | Told::Ruled { .. }
        | Told::Workload(_)) => panic!("{name}: {told:?}"),
    }));
    answers
}

fn page() -> BTreeMap<String, String> {
    [("severity".to_owned(), "page".to_owned())].into()
}

fn case() -> Case {
    Case {
        plan: "checkout".into(),
        version: "1".into(),
        digest: String::new(),
        ring: "beta".into(),
        cluster: "c".into(),
        region: "r".into(),
        jurisdiction: "IE".into(),
        namespace: "shop".into(),
        target: "checkout".into(),
        gate: "desk".into(),
        deployed_at: Timestamp::UNIX_EPOCH,
    }
}

fn nothing_of(url: &str) -> Measure {
    Measure {
        key: format!("checkout@1/beta/c/1/{url}/1").into(),
        release: ReleaseId::new("checkout", "1"),
        ring: "beta".into(),
        attempt: 1,
        cluster: "c".into(),
        gate: "gate".into(),
        source: None,
        query: String::new(),
        samples: None,
        baseline_at: None,
        due: Mono(0),
        timeout: PATIENCE,
        parts: Vec::new(),
        past: None,
    }
}

/// The most memory that the process had, in KiB, since this was last asked.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak = peak.trim().trim_end_matches(" kB").parse().unwrap();
    // 5 sets the peak to what is had now.
    fs::write("/proc/self/clear_refs", "5").unwrap();
    peak
}

const HEALTHY: &str = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1700000000,"0.25"]}]}}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_bears_every_one_of_them() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let ok = "200 OK\r\nContent-Type: application/json";
    let block = |fill: &str| format!("10000\r\n{}\r\n", fill.repeat(0x10000)).into_bytes();
    let none = Duration::ZERO;
    let many = |one: &str, n: usize| format!("[{}]", vec![one; n].join(","));
    let vector = |n: usize| {
        let series = many(r#"{"metric":{"a":"b"},"value":[1,"1"]}"#, n);
        format!(r#"{{"status":"success","data":{{"resultType":"vector","result":{series}}}}}"#)
    };
    let deep = |open: &str| open.repeat(1_000_000 / open.len());
    let mut page = String::from("<html>");
    let _ = write!(page, "canary-secret {}</html>", "x".repeat(100_000));
    let behaviours: Vec<(&str, Serve)> = vec![
        ("ten gibibytes", stream(chunked, block(" "), 163_840, none)),
        (
            "ten gibibytes announced",
            stream(
                "HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n",
                vec![b' '; 0x10000],
                163_840,
                none,
            ),
        ),
        (
            "a byte a second",
            stream(
                "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",
                b"[".to_vec(),
                100,
                Duration::from_secs(1),
            ),
        ),
        ("silence", stream("", Vec::new(), 1, Duration::from_secs(30))),
        (
            "headers without end",
            stream("HTTP/1.1 200 OK\r\n", b"X-More: of it\r\n".to_vec(), u64::MAX, none),
        ),
        (
            "slow headers without end",
            stream(
                "HTTP/1.1 200 OK\r\n",
                b"X-More: of it\r\n".to_vec(),
                1_000,
                Duration::from_millis(20),
            ),
        ),
        (
            "a header without end",
            stream("HTTP/1.1 200 OK\r\nX-Long: ", vec![b'x'; 0x10000], u64::MAX, none),
        ),
        (
            "a redirect to a metadata service",
            answer(
                "302 Found\r\nLocation: http://169.254.169.254/latest/meta-data/",
                "canary-secret",
            ),
        ),
        ("deep arrays", answer(ok, &deep("["))),
        ("deep objects", answer(ok, &deep("{\"a\":"))),
        (
            "a million series",
            stream(
                chunked,
                {
                    let series = vector(1_000_000);
                    format!("{:x}\r\n{series}\r\n0\r\n\r\n", series.len()).into_bytes()
                },
                1,
                none,
            ),
        ),
        ("as many series as fit", answer(ok, &vector(25_000))),
        ("as many numbers as fit", answer(ok, &many("1", 500_000))),
        ("as many strings as fit", answer(ok, &many("\"\"", 340_000))),
        ("as many empty lists as fit", answer(ok, &many("[]", 340_000))),
        ("a page", answer("200 OK\r\nContent-Type: text/html", &page)),
        ("commas", answer(ok, &",".repeat(1_000_000))),
        ("lines", answer(ok, &"\n".repeat(1_000_000))),
        ("packed", answer("200 OK\r\nContent-Encoding: gzip", "\u{1f}canary-secret")),
        ("too often", answer("429 Too Many Requests", "canary-secret")),
        ("no HTTP", stream("", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), 1, none)),
        (
            "broken off",
            stream("HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n", b"{\"sta".to_vec(), 1, none),
        ),
        (
            "two lengths",
            stream(
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 900\r\n\r\n",
                b"{\"sta".to_vec(),
                1,
                none,
            ),
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    let healthy = format!("http://{}", serve(answer(ok, HEALTHY), None).await);
    peak();
    let mut table = String::new();
    for (name, behaviour) in behaviours {
        let url = format!("http://{}", serve(behaviour, None).await);
        let metrics = metrics(folder.path(), &[&url], None);
        let good = source(ProviderKind::Prometheus, &healthy);
        let good = metrics.ask(&good, "up", When::Now, Span::seconds(8));
        let before = resident();
        let ((answers, good), took) = measured(join(ask_all(&metrics, &url), good)).await;
        let most = peak().saturating_sub(before);
        let _ = writeln!(table, "{name:34} {:5} ms {:6} KiB", took.as_millis(), most);
        assert!(matches!(good, Reading::Value { value: 0.25, .. }), "{name}: {good:?}");
        assert!(took < PATIENCE.to_std() + SLACK, "{name} took {took:?}");
        assert!(most < MEMORY_KIB, "{name} took {most} KiB");
        for (kind, reading) in answers {
            match reading {
                Reading::Error(why) => {
                    assert!(!why.contains("canary"), "{name}, {kind}: {why}");
                    assert!(why.len() < 500, "{name}, {kind}: {why}");
                }
                // No lines are no rows.
                Reading::Absent if (name, kind) == ("lines", "influxdb") => {}
                other @ (Reading::Value { .. } | Reading::Absent) => {
                    panic!("{name}, {kind}: {other:?}")
                }
            }
        }
    }
    println!("{table}");
}

/// The memory that the process has now, in KiB.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let now = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    now.trim().trim_end_matches(" kB").parse().unwrap()
}

async fn measured<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let clock = SystemClock::new(Mono(0));
    let before = clock.now().mono;
    let done = work.await;
    let took = clock.now().mono.since(before);
    (done, took.to_std())
}

fn tls_folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/providers/tls")
}

/// A server with that certificate of `tests/providers/tls`.
fn tls(name: &str) -> TlsAcceptor {
    let folder = tls_folder();
    let certificate = CertificateDer::from_pem_file(folder.join(format!("{name}.pem"))).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join(format!("{name}.key"))).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_held_to_what_is_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let healthy = || answer("200 OK\r\nContent-Type: application/json", HEALTHY);
    let plain = serve(healthy(), None).await;
    for (certificate, ca, part) in [
        ("good", Some("ca.pem"), None),
        ("good", None, Some("cannot connect: ")),
        ("good", Some("good.pem"), Some("cannot connect: ")),
        ("expired", Some("ca.pem"), Some("has expired")),
        ("elsewhere", Some("ca.pem"), Some("for another host")),
        ("none", Some("ca.pem"), Some("no TLS with it")),
    ] {
        let address = match certificate {
            "none" => plain,
            name => serve(healthy(), Some(tls(name))).await,
        };
        let url = format!("https://localhost:{}", address.port());
        let metrics = metrics(folder.path(), &[&url], ca);
        let source = source(ProviderKind::Prometheus, &url);
        let reading = metrics.ask(&source, "up", When::Now, Span::seconds(5)).await;
        match (&reading, part) {
            (Reading::Value { value, .. }, None) => assert_eq!(*value, 0.25),
            (Reading::Error(why), Some(part)) => {
                assert!(why.contains(part), "{certificate}, {ca:?}: {why}");
                assert!(!why.contains("elsewhere.example"), "{why}");
            }
            (other, _) => panic!("{certificate}, {ca:?}: {other:?}"),
        }
    }
    // And HTTP where TLS is spoken.
    let address = serve(healthy(), Some(tls("good"))).await;
    let url = format!("http://{address}");
    let metrics = metrics(folder.path(), &[&url], None);
    let source = source(ProviderKind::Prometheus, &url);
    let reading = metrics.ask(&source, "up", When::Now, Span::seconds(5)).await;
    assert!(matches!(&reading, Reading::Error(why) if why.contains("broke off")), "{reading:?}");
}

#[test]
fn a_ca_file_that_is_none_is_said_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    let start = || {
        let auth = MetricsAuth { ca_file: Some(path.clone()), ..Default::default() };
        let credentials = Credentials::new([("https://p".to_owned(), auth)].into()).unwrap();
        let clock = Arc::new(SystemClock::new(Mono(0)));
        Metrics::new(credentials, clock, Limits::default()).map(|_| ()).unwrap_err().to_string()
    };
    assert!(start().contains("cannot be read"));
    fs::write(&path, "no certificate").unwrap();
    assert!(start().contains("holds no certificate in PEM"));
}
