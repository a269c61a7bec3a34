//! Against Debian's Graphite: carbon takes what is written, graphite-web answers.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use ringward::{
    decide::{event::Reading, fact::Verdict},
    model::{
        policy::{Baseline, Direction, Judge},
        ring::ProviderKind,
        time::Span,
    },
};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::{DAY, day, now, program, ready, whole_second};
use crate::{
    prometheus::{Asker, at, gate, is, judge},
    support::{Program, free_ports},
};

/// A carbon and a graphite-web over one folder.
pub struct Graphite {
    pub port: u16,
    line_port: u16,
    dir: PathBuf,
    web: Option<Program>,
    _carbon: Program,
}

impl Graphite {
    /// Where both are installed.
    pub async fn start(dir: &Path) -> Option<Self> {
        let (carbon, _) = (program("carbon-cache")?, program("graphite-manage")?);
        let dir = dir.join("graphite");
        let [port, line_port, pickle_port, query_port] = free_ports();
        let whisper = dir.join("storage/whisper");
        for folder in [&whisper, &dir.join("log"), &dir.join("run")] {
            fs::create_dir_all(folder).expect("a folder");
        }
        let here = dir.display();
        let config = format!(
            "[cache]
STORAGE_DIR = {here}/storage
LOCAL_DATA_DIR = {here}/storage/whisper
CONF_DIR = {here}
LOG_DIR = {here}/log
PID_DIR = {here}/run
DATABASE = whisper
MAX_CREATES_PER_MINUTE = inf
LINE_RECEIVER_INTERFACE = 127.0.0.1
LINE_RECEIVER_PORT = {line_port}
PICKLE_RECEIVER_INTERFACE = 127.0.0.1
PICKLE_RECEIVER_PORT = {pickle_port}
CACHE_QUERY_INTERFACE = 127.0.0.1
CACHE_QUERY_PORT = {query_port}
CARBON_METRIC_INTERVAL = 0
"
        );
        let schemas = "[days]
pattern = ^days\\.
retentions = 1d:1y
[default]
pattern = .*
retentions = 1s:1h
";
        let settings = format!(
            "SECRET_KEY = 'of a test'
CONF_DIR = STORAGE_DIR = LOG_DIR = '{here}'
WHISPER_DIR = '{here}/storage/whisper'
STANDARD_DIRS = [WHISPER_DIR]
INDEX_FILE = '{here}/index'
CARBONLINK_HOSTS = ['127.0.0.1:{query_port}']
DATABASES = {{'default': {{'ENGINE': 'django.db.backends.sqlite3', 'NAME': '{here}/graphite.db'}}}}
"
        );
        for (file, text) in [
            ("carbon.conf", config.as_str()),
            ("storage-schemas.conf", schemas),
            ("graphite_of_a_test.py", &settings),
        ] {
            fs::write(dir.join(file), text).expect("a file");
        }
        let config = format!("--config={here}/carbon.conf");
        let arguments = [config, "--nodaemon".into(), "start".into()];
        let carbon = Program::start(&dir, &carbon, &arguments);
        let mut new = Self { port, line_port, dir, web: None, _carbon: carbon };
        new.run().await;
        for _ in 0..600 {
            if TcpStream::connect(("127.0.0.1", line_port)).await.is_ok() {
                return Some(new);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("carbon is not ready after half a minute");
    }

    async fn run(&mut self) {
        let arguments = [
            format!("PYTHONPATH={}", self.dir.display()),
            "PYTHONDONTWRITEBYTECODE=1".into(),
            "GRAPHITE_SETTINGS_MODULE=graphite_of_a_test".into(),
            "graphite-manage".into(),
            "runserver".into(),
            "--noreload".into(),
            format!("127.0.0.1:{}", self.port),
        ];
        self.web = Some(Program::start(&self.dir, "env".as_ref(), &arguments));
        ready("graphite-web", &format!("http://127.0.0.1:{}/render?format=json", self.port)).await;
    }

    /// Writes points, each a line of a name, a number and a second.
    pub async fn write(&self, lines: &str) {
        let mut carbon = TcpStream::connect(("127.0.0.1", self.line_port)).await.expect("carbon");
        carbon.write_all(lines.as_bytes()).await.expect("it takes them");
        carbon.shutdown().await.expect("it takes them");
    }

    fn asker(&self, window: Span) -> Asker {
        Asker::of(ProviderKind::Graphite { window }, self.port, None)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn graphite_is_read_as_it_is() {
    let dir = tempfile::tempdir().expect("a folder");
    let Some(mut graphite) = Graphite::start(dir.path()).await else { return };
    let asker = graphite.asker(Span::minutes(10));
    assert_eq!(asker.ask("shop.latency").await, Reading::Absent);

    // 0.9 for ten seconds, after 0.1 for ten.
    let last = whole_second(now() - Duration::from_secs(2));
    let (first, changed) = (last - Duration::from_secs(19), last - Duration::from_secs(9));
    let mut lines = String::new();
    for ago in 0..20 {
        let second = last.as_second() - ago;
        let latency = if ago < 10 { 0.9 } else { 0.1 };
        for (name, value) in
            [("latency", latency), ("errors.canary", 1.0), ("errors.b", 2.0), ("nothing", 0.0)]
        {
            let _ = writeln!(lines, "shop.{name} {value} {second}");
        }
    }
    let (yesterday, today) = (day(1), day(0));
    for (name, value, at) in [
        ("days.both", "4", yesterday),
        ("days.both", "0", today),
        ("days.today", "0", today),
        ("shop.nan", "nan", last),
        ("shop.infinite", "-inf", last),
    ] {
        let _ = writeln!(lines, "{name} {value} {}", at.as_second());
    }
    graphite.write(&lines).await;

    // One number, of the beginning of its time.
    let reading = asker.until("shop.latency", |r| matches!(r, Reading::Value { .. })).await;
    assert_eq!(reading, Reading::Value { value: 0.9, at: last });
    assert!(is(3.0)(&asker.ask("sumSeries(shop.errors.*)").await));
    asker.until("shop.infinite", is(f64::NEG_INFINITY)).await;

    // A point counts once its time is over: the one of today is not, alone or behind another.
    let days = graphite.asker(Span(3 * 86_400_000));
    let reading = days.until("days.both", |r| matches!(r, Reading::Value { .. })).await;
    assert_eq!(reading, Reading::Value { value: 4.0, at: yesterday });
    assert_eq!(days.ask("days.today").await, Reading::Absent);
    assert_eq!(graphite.asker(Span(86_400_000)).ask("days.both").await, Reading::Absent);

    // No number. A target that cannot be read is none to Graphite, which says nothing of it.
    for query in [
        "nothing.there",
        "sumSeries(nothing.*)",
        "shop.nan",
        "divideSeries(shop.latency,nothing.there)",
        "divideSeries(shop.latency,shop.nothing)",
        "sumSeries(shop",
    ] {
        assert_eq!(asker.ask(query).await, Reading::Absent, "{query}");
    }
    // What cannot be used.
    for (query, part) in [
        ("shop.errors.*", "2 series"),
        ("canary(shop.latency)", "HTTP 400"),
        ("movingAverage(shop.latency,\"canary\")", "HTTP 500"),
    ] {
        let why = asker.error(query).await;
        assert!(why.contains(part) && !why.contains("canary"), "{query}: {why}");
    }

    // As of before, and what a relative gate makes of both.
    let answer = asker.measure("shop.latency", None, Some(changed)).await;
    assert!(is(0.9)(&answer.value) && answer.baseline.as_ref().is_some_and(is(0.1)), "{answer:?}");
    let mut relative = gate(Judge::Relative {
        baseline: Baseline::Before,
        max_degradation: 0.5,
        direction: Direction::Increase,
        floor: 0.02,
    });
    relative.min_samples = None;
    relative.max_age = Span::minutes(1);
    assert_eq!(judge(&relative, &answer, changed, now()).verdict, Verdict::Fail);
    // What is older than it may be, or not of this deploy, is no data.
    relative.max_age = Span::seconds(1);
    let later = last + Duration::from_secs(5);
    let judged = judge(&relative, &answer, changed, later);
    assert_eq!(judged.verdict, Verdict::Absent, "{judged:?}");
    assert_eq!(judge(&relative, &answer, at(&answer.value), now()).verdict, Verdict::Absent);

    // A stretch of time: what was, then what is.
    let range = async |query: &str, from, to| {
        let during = (from, to, Span::seconds(1));
        asker.metrics.range(&asker.source, query, during, Span::seconds(5)).await
    };
    let samples =
        range("shop.latency", first - Duration::from_secs(1), last).await.expect("samples");
    let values: Vec<_> = samples.iter().map(|sample| sample.value).collect();
    // The last second ends after the end that is asked for.
    assert_eq!(values, [[0.1; 10].as_slice(), &[0.9; 9]].concat());
    assert_eq!(samples[0].at, first);
    assert_eq!(range("shop.latency", last - DAY, last - DAY).await, Ok(vec![]));
    assert!(range("shop.errors.*", first, last).await.unwrap_err().contains("2 series"));

    // A server that is gone is an error, and one that is back is read again.
    graphite.web = None;
    let why = asker.gone("shop.latency").await;
    assert!(why.starts_with("metric source graphite: cannot connect"), "{why}");
    graphite.run().await;
    assert_eq!(asker.ask("shop.latency").await, Reading::Value { value: 0.9, at: last });
}
