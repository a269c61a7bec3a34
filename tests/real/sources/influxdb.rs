//! Against Debian's InfluxDB 1.6, asked in InfluxQL.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use jsonwebtoken::{EncodingKey, Header, encode};
use ringward::{
    config::MetricsAuth,
    decide::{event::Reading, fact::Verdict},
    model::{policy::Judge, ring::ProviderKind, time::Span},
};
use serde_json::json;

use super::{HTTP, age, basic, day, now, program, ready, take};
use crate::{
    prometheus::{Asker, at, free_port, gate, is, judge},
    support::Program,
};

/// What its bearer tokens are signed by.
const SHARED: &str = "canary-shared-secret";

/// An InfluxDB in a folder; started again, it has what it had.
pub struct InfluxDb {
    pub port: u16,
    dir: PathBuf,
    program: PathBuf,
    running: Option<Program>,
    admin: Option<(&'static str, &'static str)>,
}

impl InfluxDb {
    /// Where it is installed.
    pub async fn start(dir: &Path) -> Option<Self> {
        let program = program("influxd")?;
        let dir = dir.join("influxdb");
        fs::create_dir_all(&dir).expect("a folder");
        let mut new = Self { port: free_port(), dir, program, running: None, admin: None };
        new.run("").await;
        Some(new)
    }

    async fn run(&mut self, http: &str) {
        let Self { port, dir, .. } = self;
        let config = format!(
            "reporting-disabled = true
bind-address = \"127.0.0.1:{rpc}\"
[meta]
  dir = \"{dir}/meta\"
[data]
  dir = \"{dir}/data\"
  wal-dir = \"{dir}/wal\"
[monitor]
  store-enabled = false
[http]
  bind-address = \"127.0.0.1:{port}\"
  log-enabled = false
  max-row-limit = 20
  {http}
",
            rpc = free_port(),
            dir = dir.display()
        );
        let file = self.dir.join("influxdb.conf");
        fs::write(&file, config).expect("a file");
        let arguments = ["-config".to_owned(), file.display().to_string()];
        self.running = Some(Program::start(&self.dir, &self.program, &arguments));
        ready("influxd", &format!("http://127.0.0.1:{}/ping", self.port)).await;
    }

    /// Carries a statement out.
    pub async fn order(&self, statement: &str) -> String {
        let url = format!("http://127.0.0.1:{}/query", self.port);
        let mut request = HTTP.post(url).query(&[("db", "shop"), ("q", statement)]);
        if let Some((user, password)) = self.admin {
            request = request.basic_auth(user, Some(password));
        }
        let answer = take(request).await;
        assert!(!answer.contains("\"error\""), "{statement}: {answer}");
        answer
    }

    /// Writes points in its line protocol, with milliseconds.
    pub async fn write(&self, lines: &str) {
        let url = format!("http://127.0.0.1:{}/write?db=shop&precision=ms", self.port);
        take(HTTP.post(url).body(lines.to_owned())).await;
    }

    fn asker(&self, database: &str, auth: Option<MetricsAuth>) -> Asker {
        Asker::of(ProviderKind::InfluxQl { database: database.into() }, self.port, auth)
    }
}

const LATENCY: &str = r#"SELECT last("latency") FROM "shop" WHERE "host" = 'a'"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn influxdb_is_read_as_it_is() {
    let dir = tempfile::tempdir().expect("a folder");
    let Some(mut influxdb) = InfluxDb::start(dir.path()).await else { return };
    let asker = influxdb.asker("shop", None);

    // Before there is anything.
    let why = asker.error(LATENCY).await;
    assert!(why.ends_with("it has no such database; check `database`"), "{why}");
    influxdb.order("CREATE DATABASE shop").await;
    assert_eq!(asker.ask(LATENCY).await, Reading::Absent);

    // A number, of the instant that it was written with.
    let written = now();
    let millis = written.as_millisecond();
    let (yesterday, today) = (day(1), day(0));
    let lines = [
        format!("shop,host=a latency=0.25,errors=0i,requests=0i {millis}"),
        format!("shop,host=b latency=0.5,word=\"canary\" {millis}"),
        format!("days value=4 {}", yesterday.as_millisecond() + 1),
        format!("days value=0 {millis}"),
    ];
    influxdb.write(&lines.join("\n")).await;
    let reading = asker.ask(LATENCY).await;
    let wanted = Timestamp::from_millisecond(millis).expect("an instant");
    assert_eq!(reading, Reading::Value { value: 0.25, at: wanted });

    // A bucket counts once it is over: the one of today is not.
    let days = "SELECT mean(value) FROM days WHERE time > now() - 47h GROUP BY time(1d)";
    assert_eq!(asker.ask(days).await, Reading::Value { value: 4.0, at: yesterday });
    let only_today =
        format!("SELECT mean(value) FROM days WHERE time >= '{today}' GROUP BY time(1d)");
    assert_eq!(asker.ask(&only_today).await, Reading::Absent);
    // Empty buckets have no number, and what has none is no data.
    let none = "SELECT mean(latency) FROM shop WHERE time > now() - 47h AND \"host\" = 'a' GROUP BY time(1d)";
    assert_eq!(asker.ask(none).await, Reading::Absent);
    assert_eq!(asker.ask("SELECT mean(nothing) FROM shop").await, Reading::Absent);
    assert_eq!(asker.ask("SELECT mean(latency) FROM nothing").await, Reading::Absent);

    // Without buckets an aggregate is of the beginning of the time that it looks at.
    let mean = r#"SELECT mean("latency") FROM "shop" WHERE time > now() - 5m"#;
    let answer = asker.measure(mean, None, None).await;
    assert!(is(0.375)(&answer.value), "{answer:?}");
    let told = age(at(&answer.value));
    assert!((299.0..330.0).contains(&told), "{told}");
    let mut threshold = gate(Judge::Threshold { min: None, max: Some(1.0) });
    threshold.min_samples = None;
    let long_ago = written - Duration::from_secs(3_600);
    let judged = judge(&threshold, &answer, long_ago, now());
    assert_eq!(judged.verdict, Verdict::Absent, "{judged:?}");
    assert!(judged.detail.contains("older than 10s"), "{judged:?}");
    threshold.max_age = Span::minutes(10);
    assert_eq!(judge(&threshold, &answer, long_ago, now()).verdict, Verdict::Pass);
    // As long as it looks back to before the deploy, it says nothing of the release.
    assert_eq!(judge(&threshold, &answer, written, now()).verdict, Verdict::Absent);
    // What was divided by nothing is 0 to InfluxDB, which is no reader's to tell from none.
    let rate = "SELECT sum(errors) / sum(requests) FROM shop WHERE time > now() - 5m";
    assert!(is(0.0)(&asker.ask(rate).await));
    assert!(is(0.0)(&asker.ask("SELECT last(requests) FROM shop").await));

    // What cannot be used.
    for (query, part) in [
        ("SELECT mean(latency) FROM shop GROUP BY host", "2 series"),
        ("SELECT mean(latency), max(latency) FROM shop", "2 columns"),
        ("SELECT last(word) FROM shop", "no numbers"),
        ("SELECT FROM", "HTTP 400"),
        ("SELECT canary(latency) FROM shop", "an error in the answer"),
        // More rows than it gives at once.
        ("SELECT mean(value) FROM days WHERE time > now() - 90d GROUP BY time(1d)", "partial data"),
        // What it would carry out, though it was asked by a GET.
        ("DROP MEASUREMENT shop", "one SELECT"),
        ("SELECT last(latency) FROM shop; DROP MEASUREMENT shop", "one SELECT"),
        ("SELECT * INTO canary FROM shop", "by INTO"),
    ] {
        let why = asker.error(query).await;
        assert!(why.contains(part) && !why.contains("canary"), "{query}: {why}");
    }
    let measurements = influxdb.order("SHOW MEASUREMENTS").await;
    assert!(measurements.contains("shop") && !measurements.contains("canary"), "{measurements}");
    // A query says itself which time it is about.
    let past = asker.measure(LATENCY, None, Some(written)).await.baseline;
    assert!(matches!(&past, Some(Reading::Error(why)) if why.contains("only now")), "{past:?}");
    // Version 1.6 has no Flux.
    let flux = Asker::of(ProviderKind::Flux { org: "shop".into() }, influxdb.port, None);
    let why = flux.error("from(bucket: \"shop\")").await;
    assert!(why.contains("HTTP 404: check the source's URL"), "{why}");

    // A server that is gone is an error, and one that is back is read again.
    influxdb.running = None;
    let why = asker.gone(LATENCY).await;
    assert!(why.starts_with("metric source influxdb: cannot connect"), "{why}");
    influxdb.run("").await;
    assert_eq!(asker.ask(LATENCY).await, Reading::Value { value: 0.25, at: wanted });
    credentials(&mut influxdb, dir.path()).await;
}

/// The same server, which now asks who it is.
async fn credentials(influxdb: &mut InfluxDb, dir: &Path) {
    influxdb.running = None;
    influxdb.run(&format!("auth-enabled = true\n  shared-secret = \"{SHARED}\"")).await;
    influxdb.order("CREATE USER admin WITH PASSWORD 'open sesame' WITH ALL PRIVILEGES").await;
    influxdb.admin = Some(("admin", "open sesame"));
    influxdb.order("CREATE USER reader WITH PASSWORD 'canary-reader'").await;
    influxdb.order("CREATE USER other WITH PASSWORD 'canary-others'").await;
    influxdb.order("GRANT READ ON shop TO reader").await;
    let token = |user: &str, secret: &str| {
        let claims = json!({"username": user, "exp": now().as_second() + 600});
        let key = EncodingKey::from_secret(secret.as_bytes());
        let file = dir.join(format!("token-{user}-{}", secret.len()));
        fs::write(&file, encode(&Header::default(), &claims, &key).expect("a token"))
            .expect("a file");
        MetricsAuth { bearer_token_file: Some(file), ..MetricsAuth::default() }
    };
    for auth in [basic(dir, "reader", "canary-reader"), token("reader", SHARED)] {
        assert!(is(0.25)(&influxdb.asker("shop", Some(auth)).ask(LATENCY).await));
    }
    for (auth, part) in [
        (None, "HTTP 401: check the credentials"),
        (Some(basic(dir, "reader", "canary-wrong")), "HTTP 401: check the credentials"),
        (Some(token("reader", "canary-other-secret")), "HTTP 401: check the credentials"),
        (Some(basic(dir, "other", "canary-others")), "HTTP 403: check the credentials"),
    ] {
        let why = influxdb.asker("shop", auth).error(LATENCY).await;
        assert!(why.contains(part) && !why.contains("canary"), "{why}");
    }
}
