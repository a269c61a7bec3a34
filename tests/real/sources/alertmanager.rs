//! Against Debian's Alertmanager 0.25.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use ringward::{
    act::Measurer,
    decide::{
        command::Measure,
        part::{Ask, Part, Role, Told},
    },
    ids::ReleaseId,
    model::{
        ring::ProviderKind,
        time::{Mono, Span},
    },
};
use serde_json::{Value, json};

use super::{HTTP, basic, now, program, ready, take};
use crate::{
    prometheus::{Asker, PASSWORD, free_port},
    support::Program,
};

/// Who is out takes along whatever pages for the same service.
const CONFIG: &str = "route: {receiver: nobody}
receivers: [{name: nobody}]
inhibit_rules:
- source_matchers: ['severity=\"outage\"']
  target_matchers: ['severity=\"page\"']
  equal: [service]
";

/// An Alertmanager in a folder.
pub struct Alertmanager {
    pub port: u16,
    dir: PathBuf,
    program: PathBuf,
    running: Option<Program>,
}

impl Alertmanager {
    /// Where it is installed.
    pub async fn start(dir: &Path) -> Option<Self> {
        let program = program("prometheus-alertmanager")?;
        let dir = dir.join("alertmanager");
        fs::create_dir_all(&dir).expect("a folder");
        fs::write(dir.join("alertmanager.yml"), CONFIG).expect("a file");
        fs::write(dir.join("web.yml"), format!("basic_auth_users: {{reader: '{PASSWORD}'}}\n"))
            .expect("a file");
        let mut new = Self { port: free_port(), dir, program, running: None };
        new.run(false);
        ready("alertmanager", &format!("http://127.0.0.1:{}/-/ready", new.port)).await;
        Some(new)
    }

    fn run(&mut self, asks: bool) {
        let here = self.dir.display();
        let mut arguments = vec![
            format!("--config.file={here}/alertmanager.yml"),
            format!("--storage.path={here}/data"),
            format!("--web.listen-address=127.0.0.1:{}", self.port),
            "--cluster.listen-address=".into(),
            "--log.level=error".into(),
        ];
        arguments.extend(asks.then(|| format!("--web.config.file={here}/web.yml")));
        self.running = Some(Program::start(&self.dir, &self.program, &arguments));
    }

    async fn post(&self, what: &str, body: &Value) -> String {
        let url = format!("http://127.0.0.1:{}/api/v2/{what}", self.port);
        take(HTTP.post(url).json(body)).await
    }

    /// An alert of that name and severity for a service fires until then.
    pub async fn fire(&self, name: &str, severity: &str, service: &str, until: Timestamp) {
        let labels =
            json!({"alertname": name, "severity": severity, "service": service, "path": PATH});
        self.post("alerts", &json!([{"labels": labels, "endsAt": until.to_string()}])).await;
    }
}

/// The value of a label that must be quoted well.
const PATH: &str = "a\"b\\c\nd ü";

fn matchers(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(label, value)| ((*label).into(), (*value).into())).collect()
}

async fn told(asker: &Asker, pairs: &[(&str, &str)]) -> Result<Vec<String>, String> {
    let ask = Ask::Alerts { source: asker.source.clone(), matchers: matchers(pairs) };
    let measure = Measure {
        key: "shop@1/beta/c/1/gate/1".into(),
        release: ReleaseId::new("shop", "1"),
        ring: "beta".into(),
        attempt: 1,
        cluster: "c".into(),
        gate: "gate".into(),
        source: None,
        query: String::new(),
        samples: None,
        baseline_at: None,
        due: Mono(0),
        timeout: Span::seconds(5),
        parts: vec![Part { role: Role::Alerts, ask }],
        past: None,
    };
    match asker.metrics.measure(&measure).await.parts.pop() {
        Some(Told::Alerts(alerts)) => {
            let mut names: Vec<_> =
                alerts.iter().map(|alert| alert.labels["alertname"].clone()).collect();
            names.sort_unstable();
            Ok(names)
        }
        Some(Told::Error(why)) => Err(why),
        other => panic!("{other:?}"),
    }
}

/// Asks until those fire, for half a minute at the most.
async fn until(asker: &Asker, pairs: &[(&str, &str)], names: &[&str]) {
    let mut last = Ok(Vec::new());
    for _ in 0..300 {
        last = told(asker, pairs).await;
        if last.as_ref().is_ok_and(|last| last == names) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{pairs:?}: {last:?}, and not {names:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alertmanager_tells_what_reaches_somebody() {
    let dir = tempfile::tempdir().expect("a folder");
    let Some(mut server) = Alertmanager::start(dir.path()).await else { return };
    let asker = Asker::of(ProviderKind::Alertmanager, server.port, None);
    let page = [("severity", "page"), ("service", "checkout")];
    assert_eq!(told(&asker, &page).await, Ok(vec![]));

    // What fires, by labels of any value.
    let later = now() + Duration::from_secs(600);
    server.fire("Slow", "page", "checkout", later).await;
    server.fire("Full", "ticket", "checkout", later).await;
    server.fire("Slow", "page", "search", later).await;
    until(&asker, &page, &["Slow"]).await;
    until(&asker, &[("service", "checkout")], &["Full", "Slow"]).await;
    until(&asker, &[("path", PATH), ("alertname", "Full")], &["Full"]).await;
    assert_eq!(told(&asker, &[("severity", "page\"")]).await, Ok(vec![]));
    assert_eq!(told(&asker, &[("canary", "page")]).await, Ok(vec![]));
    let why = told(&asker, &[("no-label", "canary")]).await.unwrap_err();
    assert!(why.ends_with("HTTP 400") && !why.contains("canary"), "{why}");

    // What another alert inhibits reaches nobody, as long as that fires.
    server.fire("Down", "outage", "checkout", later).await;
    until(&asker, &page, &[]).await;
    until(&asker, &[("service", "checkout")], &["Down", "Full"]).await;
    until(&asker, &[("severity", "page")], &["Slow"]).await;
    server.fire("Down", "outage", "checkout", now()).await;
    until(&asker, &page, &["Slow"]).await;

    // What is silenced reaches nobody, until the silence is taken away.
    let matcher =
        json!({"name": "service", "value": "checkout", "isRegex": false, "isEqual": true});
    let silence = json!({
        "matchers": [matcher], "startsAt": now().to_string(), "endsAt": later.to_string(),
        "createdBy": "somebody", "comment": "known",
    });
    let silence: Value =
        serde_json::from_str(&server.post("silences", &silence).await).expect("an id");
    until(&asker, &[("service", "checkout")], &[]).await;
    let id = silence["silenceID"].as_str().expect("an id");
    let url = format!("http://127.0.0.1:{}/api/v2/silence/{id}", server.port);
    take(HTTP.delete(url)).await;
    until(&asker, &page, &["Slow"]).await;

    // What is resolved fires no more, and what nobody repeats ends by itself.
    server.fire("Slow", "page", "checkout", now()).await;
    until(&asker, &page, &[]).await;
    server.fire("Brief", "page", "checkout", now() + Duration::from_secs(2)).await;
    until(&asker, &page, &["Brief"]).await;
    until(&asker, &page, &[]).await;

    // A server that is gone is an error, and one that is back asks who it is.
    server.running = None;
    let mut why = told(&asker, &page).await.unwrap_err();
    while why.contains("the answer broke off") {
        why = told(&asker, &page).await.unwrap_err();
    }
    assert!(why.starts_with("metric source alertmanager: cannot connect"), "{why}");
    server.run(true);
    let shown = |password: &str| {
        let auth = basic(dir.path(), "reader", password);
        Asker::of(ProviderKind::Alertmanager, server.port, Some(auth))
    };
    // It begins with nothing: who fires tells it again.
    until(&shown("open sesame"), &page, &[]).await;
    for asker in [asker, shown("canary")] {
        let why = told(&asker, &page).await.unwrap_err();
        assert!(
            why.contains("HTTP 401: check the credentials") && !why.contains("canary"),
            "{why}"
        );
    }
}
