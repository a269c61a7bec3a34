//! What each kind of source is asked, and what is read of its answers: `tests/providers/`.

use serde::Deserialize;

use super::*;
use crate::{clock::ManualClock, model::time::Now};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recorded {
    #[serde(with = "serde_yaml::with::singleton_map")]
    kind: ProviderKind,
    query: String,
    request: Vec<String>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// Another query than the file's.
    query: Option<String>,
    #[serde(default = "success")]
    status: u16,
    body: String,
    reads: Reads,
    #[serde(default)]
    infos: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Reads {
    Value { value: f64, at: f64 },
    Error { error: String },
    Word(String),
}

fn success() -> u16 {
    200
}

/// A client whose clock stands, and that has a key of AWS' for that source.
fn at_new_year(url: &str, folder: &std::path::Path, aws: bool) -> Metrics {
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let key = crate::config::AwsKey {
        access_key_id_file: file("id", "AKIDEXAMPLE\n"),
        secret_access_key_file: file("secret", "canary-key\n"),
        session_token_file: None,
    };
    let auth = MetricsAuth { aws: aws.then_some(key), ..Default::default() };
    let credentials = Credentials::new([(url.to_owned(), auth)].into()).unwrap();
    let wall = Timestamp::from_second(1_767_225_600).unwrap();
    let clock = Arc::new(ManualClock::new(Now { wall, mono: Mono(0) }));
    Metrics::new(credentials, clock, Limits::default()).unwrap()
}

async fn read(text: &str) {
    let recorded: Recorded = serde_yaml::from_str(text).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for case in recorded.cases {
        let (status, body) = (case.status, case.body.clone());
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let serve = move |mut stream: TcpStream, request: String| {
            let _ = tell.send(request);
            let text = ok(&body).replacen("200 OK", &format!("{status} Said"), 1);
            async move {
                let _ = stream.write_all(text.as_bytes()).await;
            }
        };
        let url = format!("http://{}/base", server(serve).await.0);
        let aws = matches!(recorded.kind, ProviderKind::CloudWatch { .. });
        let metrics = at_new_year(&url, folder.path(), aws);
        let mut measure = measure(url, Span::seconds(5));
        measure.source.as_mut().expect("a source").kind = recorded.kind.clone();
        measure.query = case.query.unwrap_or_else(|| recorded.query.clone());
        let name = format!("{}: {}", recorded.kind.name(), case.name);
        let Answer { value: reading, infos, .. } = metrics.measure(&measure).await;
        assert_eq!(infos, case.infos, "{name}");
        match (&case.reads, &reading) {
            (Reads::Value { value, at }, Reading::Value { value: read, at: when }) => {
                assert_eq!(value, read, "{name}");
                assert_eq!((at * 1_000.0).round() as i64, when.as_millisecond(), "{name}");
            }
            (Reads::Word(word), Reading::Absent) => assert_eq!(word, "absent", "{name}"),
            (Reads::Error { error }, Reading::Error(why)) => {
                assert!(why.contains(error.as_str()), "{name}: {why}");
                assert!(!why.contains("canary"), "{name}: {why}");
            }
            (reads, reading) => panic!("{name}: {reads:?}, but {reading:?}"),
        }
        let request = told.recv().await.unwrap();
        let plain = request.replace(r#"\""#, "\"");
        for part in &recorded.request {
            assert!(plain.contains(part.replace(r#"\""#, "\"").as_str()), "{part}: {request}");
        }
        assert!(!request.contains("canary-key"), "{request}");
    }
}

macro_rules! recorded {
    ($($name:ident)*) => { $(
        #[tokio::test]
        async fn $name() {
            read(include_str!(concat!("../../../../tests/providers/", stringify!($name), ".yaml"))).await;
        }
    )* };
}

recorded! { prometheus datadog cloudwatch influxdb influxql graphite newrelic json }

#[tokio::test]
async fn some_can_be_asked_about_the_past_and_some_over_a_range() {
    let url =
        format!("http://{}", saying("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n".into()).await);
    let metrics = metrics();
    let now = Timestamp::from_second(1_767_225_600).unwrap();
    let window = Span::minutes(10);
    let kinds = [
        (ProviderKind::Prometheus, true, true),
        (ProviderKind::Datadog { window }, true, true),
        (ProviderKind::Graphite { window }, true, true),
        (ProviderKind::Flux { org: "o".into() }, true, true),
        (ProviderKind::InfluxQl { database: "d".into() }, false, false),
        (ProviderKind::NewRelic { account: 1 }, true, true),
        (ProviderKind::Json { timestamp: "/at".into() }, false, false),
    ];
    for (kind, past, range) in kinds {
        assert_eq!(kind.knows_the_past(), past, "{kind:?}");
        let source =
            MetricSource { kind, ..measure(url.clone(), window).source.expect("a source") };
        let at = metrics.ask(&source, "q#", When::At(now), Span::seconds(5)).await;
        let Reading::Error(why) = at else { panic!("{at:?}") };
        assert_eq!(why.contains("HTTP 500"), past, "{source:?}: {why}");
        let during = (now, now, Span::minutes(1));
        let why = metrics.range(&source, "q#", during, Span::seconds(5)).await.unwrap_err();
        assert_eq!(why.contains("HTTP 500"), range, "{source:?}: {why}");
    }
}

#[tokio::test]
async fn a_range_is_asked_instant_by_instant_where_no_answer_holds_a_whole_one() {
    let flux = ok(
        "#datatype,string,long,dateTime:RFC3339,dateTime:RFC3339,double\r\n,result,table,_start,_stop,_value\r\n\
         ,_result,0,2025-12-31T23:50:00Z,2026-01-01T00:00:00Z,0.25\r\n",
    );
    let nrql = ok(
        r#"{"data":{"actor":{"account":{"nrql":{"metadata":{"timeWindow":{"end":1767225600000}},"results":[{"count":7}]}}}}}"#,
    );
    let from = Timestamp::from_second(1_767_225_600).unwrap();
    let (step, timeout) = (Span::minutes(1), Span::seconds(5));
    let to = from + step.to_std() * 2;
    for (kind, says, query, value, parts) in [
        (
            ProviderKind::Flux { org: "o".into() },
            flux,
            "from(bucket: \"b\") |> range(start: -5m) |> mean()",
            0.25,
            ["\"now\":\"2026-01-01T00:00:00Z\"", "\"now\":\"2026-01-01T00:02:00Z\""],
        ),
        (
            ProviderKind::NewRelic { account: 1 },
            nrql,
            "SELECT count(*) FROM T SINCE 5 minutes ago",
            7.0,
            ["SINCE 1767225300000 UNTIL 1767225600000", "SINCE 1767225420000 UNTIL 1767225720000"],
        ),
    ] {
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let serve = move |mut stream: TcpStream, request: String| {
            let _ = tell.send(request);
            let text = says.clone();
            async move {
                let _ = stream.write_all(text.as_bytes()).await;
            }
        };
        let url = format!("http://{}", server(serve).await.0);
        let metrics = metrics();
        let source = MetricSource { kind, ..measure(url, timeout).source.expect("a source") };
        let samples = metrics.range(&source, query, (from, to, step), timeout).await.unwrap();
        let wanted: Vec<_> =
            (0..3).map(|n| Sample { at: from + step.to_std() * n, value }).collect();
        assert_eq!(samples, wanted);
        let mut asked = String::new();
        for _ in 0..3 {
            asked += &told.recv().await.unwrap();
        }
        assert!(parts.iter().all(|part| asked.contains(part)), "{asked}");
        let far = from + Span::minutes(600).to_std();
        let why = metrics.range(&source, query, (from, far, step), timeout).await.unwrap_err();
        assert!(why.contains("more than 500 instants"), "{why}");
    }
}

#[tokio::test]
async fn a_json_query_stays_beneath_its_source() {
    let metrics = metrics();
    for query in ["../secret#/a", "x/../../secret#/a", "%2e%2e/secret#/a", "..\\secret#/a", "x"] {
        let mut measure = measure("http://127.0.0.1:1/base".into(), Span::seconds(5));
        measure.source.as_mut().expect("a source").kind =
            ProviderKind::Json { timestamp: "/at".into() };
        measure.query = query.into();
        let why = why(&metrics.measure(&measure).await).to_owned();
        assert!(why.contains("leads out") || why.contains("JSON pointer"), "{query}: {why}");
    }
    let mut other = measure("http://127.0.0.1:1/base".into(), Span::seconds(5));
    other.source.as_mut().expect("a source").kind = ProviderKind::Json { timestamp: "/at".into() };
    other.query = "//169.254.169.254/x#/a".into();
    assert!(why(&metrics.measure(&other).await).contains("connection refused"));
}

#[tokio::test]
async fn a_signature_is_made_where_it_is_due_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let window = Span::minutes(10);
    let region = "eu-west-1".to_owned();
    let aws = ProviderKind::CloudWatch { region, period: Span::minutes(1), window };
    for (kind, key, part) in [
        (aws, false, "takes signed requests only"),
        (ProviderKind::Prometheus, true, "no source of AWS'"),
    ] {
        let mut measure = measure("http://127.0.0.1:1".into(), Span::seconds(5));
        measure.source.as_mut().expect("a source").kind = kind;
        let metrics = at_new_year("http://127.0.0.1:1", folder.path(), key);
        let answer = metrics.measure(&measure).await;
        assert!(why(&answer).contains(part), "{answer:?}");
    }
}
