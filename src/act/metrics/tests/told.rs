//! Alerts and verdicts: what is asked for them, and what comes of the answers.

use std::{collections::BTreeMap, sync::Mutex};

use super::*;
use crate::decide::part::{Ask, Case, Part, Role, Told};

const FIRING: &str = r#"{"status":"success","data":{"alerts":[
    {"labels":{"alertname":"Slow","severity":"page","service":"checkout"},"annotations":{},"state":"firing"},
    {"labels":{"alertname":"Full","severity":"ticket","service":"checkout"},"annotations":{},"state":"firing"},
    {"labels":{"alertname":"Soon","severity":"page","service":"checkout"},"annotations":{},"state":"pending"}]}}"#;

fn case() -> Case {
    Case {
        plan: "checkout".into(),
        version: "1".into(),
        digest: "sha256:9f2c".into(),
        ring: "beta".into(),
        cluster: "c".into(),
        region: "eu-west-1".into(),
        jurisdiction: "IE".into(),
        namespace: "shop".into(),
        target: "checkout".into(),
        gate: "desk".into(),
        deployed_at: Timestamp::from_second(1_767_225_600).unwrap(),
    }
}

fn source(kind: ProviderKind, url: &str) -> MetricSource {
    MetricSource { name: "here".into(), kind, url: url.into(), jurisdiction: None }
}

fn matchers(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(label, value)| ((*label).into(), (*value).into())).collect()
}

/// A server that says that, and remembers what it was asked.
async fn remembering(says: String) -> (String, Arc<Mutex<Vec<String>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let tell = heard.clone();
    let serve = move |mut stream: TcpStream, request: String| {
        tell.lock().unwrap().push(request);
        let text = says.clone();
        async move {
            let _ = stream.write_all(text.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    };
    (format!("http://{}", server(serve).await.0), heard)
}

async fn told(metrics: &Metrics, parts: Vec<Ask>) -> Vec<Told> {
    let mut measure = measure("http://127.0.0.1:1".into(), Span::seconds(5));
    measure.source = None;
    measure.query = String::new();
    measure.parts = parts.into_iter().map(|ask| Part { role: Role::Alerts, ask }).collect();
    metrics.measure(&measure).await.parts
}

fn names(told: &Told) -> Vec<&str> {
    let Told::Alerts(alerts) = told else { panic!("{told:?}") };
    alerts.iter().map(|alert| alert.labels["alertname"].as_str()).collect()
}

fn error(told: &Told) -> &str {
    let Told::Error(why) = told else { panic!("{told:?}") };
    why
}

#[tokio::test]
async fn prometheus_is_asked_once_for_all_alerts_and_each_gate_takes_its_own() {
    let (url, heard) = remembering(ok(FIRING)).await;
    let ask = |pairs: &[(&str, &str)]| Ask::Alerts {
        source: source(ProviderKind::Prometheus, &url),
        matchers: matchers(pairs),
    };
    let told = told(
        &metrics(),
        vec![
            ask(&[("severity", "page"), ("service", "checkout")]),
            ask(&[("service", "checkout")]),
            ask(&[("service", "search")]),
        ],
    )
    .await;
    assert_eq!(names(&told[0]), ["Slow"]);
    assert_eq!(names(&told[1]), ["Slow", "Full"]);
    assert_eq!(names(&told[2]), [""; 0]);
    let heard = heard.lock().unwrap();
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert!(heard[0].starts_with("GET /api/v1/alerts HTTP/1.1"), "{}", heard[0]);
}

#[tokio::test]
async fn alertmanager_leaves_out_what_is_silenced_and_what_does_not_match() {
    let body = r#"[{"labels":{"alertname":"Slow","severity":"page"},"status":{"state":"active"}},
        {"labels":{"alertname":"Other","severity":"ticket"},"status":{"state":"active"}}]"#;
    let (url, heard) = remembering(ok(body)).await;
    let source = source(ProviderKind::Alertmanager, &url);
    let ask = Ask::Alerts { source, matchers: matchers(&[("severity", "page")]) };
    // One that does not know of filters tells too much: that does not count.
    assert_eq!(names(&told(&metrics(), vec![ask]).await[0]), ["Slow"]);
    let request = heard.lock().unwrap()[0].clone();
    let line = request.lines().next().unwrap().to_owned();
    assert!(
        line.starts_with("GET /api/v2/alerts?active=true&silenced=false&inhibited=false"),
        "{line}"
    );
    assert!(line.contains("filter=severity%3D%22page%22"), "{line}");
}

#[tokio::test]
async fn a_webhook_is_sent_a_signed_case_and_its_word_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    std::fs::write(&file, format!("{secret}\n")).unwrap();
    let body = r#"{"verdict":"fail","detail":"2 of 9\nchecks"}"#;
    let (url, heard) = remembering(ok(body)).await;
    let auth = MetricsAuth { webhook_secret_file: Some(file), ..Default::default() };
    let metrics = with(Credentials::new([(url.clone(), auth)].into()).unwrap());
    let source = source(ProviderKind::Webhook, &format!("{url}/rule"));
    let told = told(&metrics, vec![Ask::Webhook { source, case: case() }]).await;
    let Told::Ruled { verdict, detail } = &told[0] else { panic!("{told:?}") };
    assert_eq!((*verdict, detail.as_str()), (crate::decide::fact::Verdict::Fail, "2 of 9\nchecks"));

    let request = heard.lock().unwrap()[0].clone();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /rule HTTP/1.1"), "{head}");
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    };
    let at: i64 = header("webhook-timestamp").unwrap().parse().unwrap();
    let id = header("webhook-id").unwrap();
    let signed = webhook::sign(secret, &id, body, Timestamp::from_second(at).unwrap()).unwrap();
    assert_eq!(header("webhook-signature"), Some(signed[2].1.clone()));
    assert!(!request.contains("MfKQ9r8"), "{request}");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["type"], "ringward.gate");
    assert_eq!(body["data"]["plan"], "checkout");
    assert_eq!(body["data"]["deployedAt"], "2026-01-01T00:00:00Z");
}

#[tokio::test]
async fn nothing_is_sent_unsigned_and_no_secret_goes_to_whom_it_is_not_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, "whsec_canary\n").unwrap();
    let (url, heard) = remembering(ok(r#"{"verdict":"pass"}"#)).await;
    let auth = MetricsAuth { webhook_secret_file: Some(file), ..Default::default() };
    let desk = Ask::Webhook { source: source(ProviderKind::Webhook, &url), case: case() };
    let alerts =
        Ask::Alerts { source: source(ProviderKind::Prometheus, &url), matchers: matchers(&[]) };
    let why = told(&metrics(), vec![desk.clone()]).await;
    assert!(error(&why[0]).contains("give webhookSecretFile"), "{why:?}");
    let metrics = with(Credentials::new([(url, auth)].into()).unwrap());
    let why = told(&metrics, vec![desk, alerts]).await;
    assert!(error(&why[0]).contains("holds no secret of a webhook"), "{why:?}");
    assert!(error(&why[1]).contains("it is no webhook"), "{why:?}");
    assert!(!format!("{why:?}").contains("canary"), "{why:?}");
    assert_eq!(*heard.lock().unwrap(), [""; 0]);
}

#[tokio::test]
async fn a_source_is_not_asked_what_its_kind_does_not_tell() {
    let (url, heard) = remembering(ok("[]")).await;
    let metrics = metrics();
    let desk = Ask::Webhook { source: source(ProviderKind::Prometheus, &url), case: case() };
    let window = Span::minutes(10);
    let alerts = Ask::Alerts {
        source: source(ProviderKind::Graphite { window }, &url),
        matchers: matchers(&[]),
    };
    let why = told(&metrics, vec![desk, alerts]).await;
    assert!(error(&why[0]).contains("gives no verdicts"), "{why:?}");
    assert!(error(&why[1]).contains("tells no alerts"), "{why:?}");
    for kind in [ProviderKind::Alertmanager, ProviderKind::Webhook] {
        let number = metrics.ask(&source(kind, &url), "up", When::Now, Span::seconds(5)).await;
        let Reading::Error(why) = number else { panic!("{number:?}") };
        assert!(why.contains("tells no numbers"), "{why}");
    }
    assert_eq!(*heard.lock().unwrap(), [""; 0]);
}
