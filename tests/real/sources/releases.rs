//! A good release through the running service, and a bad one back, by each of these sources.
//!
//! The sources are real, and told what each plan's service does; the cluster is on loopback.

use std::{fmt::Write as _, fs, path::Path, sync::Arc, time::Duration};

use futures::future::join_all;
use ringward::{
    app,
    clock::{Clock, SystemClock},
    model::time::{Mono, Span},
    sim::loopback::{Fleet, Site, Workload},
};
use serde_json::Value;

use super::{
    alertmanager::Alertmanager, graphite::Graphite, influxdb::InfluxDb, now,
    victoria_metrics::VictoriaMetrics,
};
use crate::common::{self, Client, image, phase, ring, target};

/// A plan by the name of each source, and how its one gate is declared.
const SOURCES: [(&str, &str); 4] = [
    ("influxdb", "{name: g, template: influxdb, threshold: {max: 0.1}}"),
    ("graphite", "{name: g, template: graphite, threshold: {max: 0.1}}"),
    ("victoria", "{name: g, template: victoria, threshold: {max: 0.1}}"),
    (
        "alertmanager",
        "{name: g, alerts: {provider: alertmanager, matchers: {severity: page, service: \"{{plan}}\"}}}",
    ),
];

const TEMPLATES: &str = r#"apiVersion: ringward.dev/v1alpha1
kind: GateTemplate
metadata: {name: influxdb}
spec:
  signal: errors
  provider: influxdb
  query: |
    SELECT mean("errors") FROM "shop" WHERE "service" = '{{plan}}' AND time > now() - 10s GROUP BY time(1s)
---
apiVersion: ringward.dev/v1alpha1
kind: GateTemplate
metadata: {name: graphite}
spec:
  signal: errors
  provider: graphite
  query: averageSeries(shop.{{plan}}.errors)
---
apiVersion: ringward.dev/v1alpha1
kind: GateTemplate
metadata: {name: victoria}
spec:
  signal: errors
  provider: victoria
  query: avg(errors{service="{{plan}}"})
"#;

/// The digit of images that are bad.
const BAD: char = 'b';

/// The four servers.
struct Sources {
    influxdb: InfluxDb,
    graphite: Graphite,
    victoria: VictoriaMetrics,
    alertmanager: Alertmanager,
}

impl Sources {
    async fn start(dir: &Path) -> Option<Self> {
        let (influxdb, graphite, victoria, alertmanager) = futures::join!(
            InfluxDb::start(dir),
            Graphite::start(dir),
            VictoriaMetrics::start(dir),
            Alertmanager::start(dir)
        );
        let (influxdb, graphite) = (influxdb?, graphite?);
        let sources = Self { influxdb, graphite, victoria: victoria?, alertmanager: alertmanager? };
        sources.influxdb.order("CREATE DATABASE shop").await;
        Some(sources)
    }

    fn declared(&self) -> String {
        let url = |port: u16| format!("\"http://127.0.0.1:{port}\"");
        format!(
            "    - {{name: influxdb, type: influxdb, database: shop, url: {}}}
    - {{name: graphite, type: graphite, window: 1m, url: {}}}
    - {{name: victoria, type: prometheus, url: {}}}
    - {{name: alertmanager, type: alertmanager, url: {}}}
",
            url(self.influxdb.port),
            url(self.graphite.port),
            url(self.victoria.port),
            url(self.alertmanager.port),
        )
    }

    /// Tells them what share of each service's requests fail; whoever runs a bad image, half of them.
    async fn tell(&self, fleet: &Fleet) {
        let errors = |plan: &str| {
            let serving = fleet.serving(&"eu".into(), &target(plan)).expect("the cluster");
            let bad = serving.iter().any(|(running, _)| *running == image(plan, BAD));
            if bad { 0.5 } else { 0.01 }
        };
        let at = now();
        let millis = at.as_millisecond();
        let influxdb = format!("shop,service=influxdb errors={} {millis}", errors("influxdb"));
        let graphite = format!("shop.graphite.errors {} {}\n", errors("graphite"), at.as_second());
        let victoria = format!("errors{{service=\"victoria\"}} {} {millis}\n", errors("victoria"));
        futures::join!(
            self.influxdb.write(&influxdb),
            self.graphite.write(&graphite),
            self.victoria.write(&victoria)
        );
        if errors("alertmanager") > 0.1 {
            let until = at + Duration::from_secs(2);
            self.alertmanager.fire("ErrorsHigh", "page", "alertmanager", until).await;
        }
    }
}

fn policies() -> String {
    let mut text = TEMPLATES.to_owned();
    for (name, gate) in SOURCES {
        let gate = gate.replacen("{name: g,", "{name: g, interval: 600ms, failureLimit: 1,", 1);
        let _ = write!(
            text,
            "---
apiVersion: ringward.dev/v1alpha1
kind: RingPolicy
metadata: {{name: {name}}}
spec:
  soak: {{duration: 4s, onBreach: reset}}
  deadline: 1m
  gates: [{gate}]
  rollback: {{automatic: true, scope: ring}}
"
        );
    }
    text
}

fn rings(sources: &Sources) -> String {
    let mut text = format!(
        "apiVersion: ringward.dev/v1alpha1
kind: Cluster
metadata: {{name: eu}}
spec:
  region: eu-west-1
  jurisdiction: IE
  metrics:
{}",
        sources.declared()
    );
    for (name, _) in SOURCES {
        let _ = write!(
            text,
            "---
apiVersion: ringward.dev/v1alpha1
kind: RingPlan
metadata: {{name: {name}}}
spec:
  target: {{kind: Deployment, namespace: shop, name: {name}, container: app}}
  policy: {name}
  rings: [{{name: eu, clusters: {{names: [eu]}}}}]
"
        );
    }
    text
}

async fn fleet(folder: &Path) -> Fleet {
    let workloads = SOURCES.map(|(plan, _)| Workload {
        plan: plan.into(),
        target: target(plan),
        image: image(plan, '0'),
        replicas: 2,
    });
    let site = Site {
        cluster: "eu".into(),
        connection: "eu".into(),
        region: "r".into(),
        metrics: ["http://nowhere".to_owned()].into(),
        workloads: workloads.into(),
        deploy_time: Span(400),
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new(Mono(0)));
    Fleet::start(&[site], clock, 7, folder).await.expect("a fleet on loopback")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_source_lets_a_good_release_pass_and_takes_a_bad_one_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(sources) = Sources::start(folder.path()).await else { return };
    let fleet = Arc::new(fleet(folder.path()).await);
    let source = folder.path().join("source");
    for (file, text) in [("policies/p.yaml", policies()), ("rings/r.yaml", rings(&sources))] {
        let file = source.join(file);
        fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        fs::write(file, text).expect("a file");
    }
    sources.tell(&fleet).await;
    sources.victoria.settle().await;
    let sources = Arc::new(sources);
    let telling = tokio::spawn({
        let (sources, fleet) = (sources.clone(), fleet.clone());
        async move {
            loop {
                sources.tell(&fleet).await;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    });
    let settings = common::settings(&fleet, folder.path());
    let running = app::start(settings, |base| Arc::new(SystemClock::new(base))).await;
    let running = running.expect("it starts");
    let client = Client::new(running.address, common::admin_token(&running.data));
    let seen = |clusters: &Value| {
        let targets = clusters["items"][0]["targets"].as_array().map_or(&[][..], Vec::as_slice);
        targets.len() == SOURCES.len() && targets.iter().all(|t| !t["knownGood"].is_null())
    };
    client.until_at("/v1/clusters", "what runs to be seen", seen).await;

    for (version, digit, ends) in [("1.0", '1', "Succeeded"), ("2.0", BAD, "RolledBack")] {
        for (plan, _) in SOURCES {
            client.release(plan, version, digit).await.good();
        }
        join_all(SOURCES.map(|(plan, _)| {
            let client = &client;
            async move {
                let release = client.until(plan, version, ends, |r| r["phase"] == ends).await;
                let why = ring(&release, "eu")["info"].as_str().unwrap_or_default().to_owned();
                println!("{plan}@{version}: {} {why}", phase(&release, "eu"));
            }
        }))
        .await;
    }
    // The evidence: each was judged by what its own source was asked and told.
    for (plan, _) in SOURCES {
        for (version, verdict, bad) in [("1.0", "Pass", false), ("2.0", "Fail", true)] {
            let path =
                format!("/v1/plans/{plan}/releases/{version}/rings/eu/measurements?pageSize=500");
            let page = client.get(&path).await;
            let items = page["items"].as_array().expect("a list");
            let item = items.iter().find(|item| item["verdict"] == verdict);
            let item = item.unwrap_or_else(|| panic!("{plan}@{version}: {page}"));
            let detail = item["detail"].as_str().expect("a sentence");
            println!("{plan}@{version}: {verdict}, {detail}, of {}", items.len());
            let figure = match (plan, bad) {
                ("alertmanager", false) => "no alert that matches fires",
                ("alertmanager", true) => "1 alert fires: ErrorsHigh",
                (_, false) => "0.01",
                // A second of InfluxDB's may have some of both.
                ("influxdb", true) => "0.",
                (_, true) => "0.5",
            };
            assert!(detail.contains(figure), "{plan}@{version}: {item}");
        }
    }
    let stopped = tokio::time::timeout(Duration::from_secs(5), running.stop()).await;
    stopped.expect("it stops at once");
    telling.abort();
}
