//! What the tests of the whole service share: small declarations over two clusters, a fleet on
//! loopback that runs them, and a client of the API.

#![allow(dead_code, reason = "each test uses its part of it")]

use std::{fmt::Write as _, fs, path::Path, sync::Arc, time::Duration};

use reqwest::{Method, StatusCode};
use ringward::{
    clock::Clock,
    config::{ConnectionSettings, Settings, SourceSettings},
    ids::ClusterName,
    model::{
        ring::{Artifact, Target, TargetKind},
        time::Span,
    },
    show::auth::ADMIN_TOKEN,
    sim::loopback::{Fleet, Site, Workload},
};
use serde_json::{Value, json};

/// The rings of every plan, in their order, each with its one cluster of the same name.
pub const RINGS: [&str; 2] = ["eu", "us"];
/// The plans.
pub const PLANS: [&str; 2] = ["checkout", "search"];

/// An image of a plan, pinned by a digest of that digit.
pub fn image(plan: &str, digit: char) -> Artifact {
    Artifact(format!("registry.example/shop/{plan}@sha256:{}", digit.to_string().repeat(64)))
}

/// Where a cluster's nodes say that they are.
fn region(cluster: &str) -> &'static str {
    if cluster == "eu" { "eu-west-1" } else { "us-east-1" }
}

/// A plan's target.
pub fn target(plan: &str) -> Target {
    Target {
        kind: TargetKind::Deployment { container: "app".into() },
        namespace: "shop".into(),
        name: plan.into(),
    }
}

/// Two clusters, in which both plans run the image of digit `0`.
pub fn sites(deploy_time: Span) -> Vec<Site> {
    let workload = |plan: &&str| Workload {
        plan: (*plan).into(),
        target: target(plan),
        image: image(plan, '0'),
        replicas: 2,
    };
    let site = |cluster: &str| Site {
        cluster: cluster.into(),
        connection: cluster.into(),
        region: region(cluster).into(),
        metrics: [format!("http://prometheus.{cluster}:9090")].into(),
        workloads: PLANS.iter().map(workload).collect(),
        deploy_time,
    };
    RINGS.map(site).into()
}

/// A fleet of those clusters.
pub async fn fleet(deploy_time: Span, clock: Arc<dyn Clock>, folder: &Path) -> Fleet {
    Fleet::start(&sites(deploy_time), clock, 7, folder).await.expect("a fleet on loopback")
}

/// Declarations in the making; [`Declarations::write`] puts them into a folder.
#[derive(Debug, Clone)]
pub struct Declarations {
    /// Each cluster with the URL of its Prometheus.
    pub clusters: Vec<(String, String)>,
    /// The soak of every ring.
    pub soak: &'static str,
    /// The time between two measurements.
    pub interval: &'static str,
    /// The deadline of a deploy.
    pub deadline: &'static str,
    /// The plans whose second ring needs an approval.
    pub approved: Vec<&'static str>,
    /// The gate's query.
    pub query: String,
}

impl Declarations {
    /// Of a fleet's clusters.
    pub fn of(fleet: &Fleet) -> Self {
        let url =
            |cluster: &str| fleet.metrics()[&format!("http://prometheus.{cluster}:9090")].clone();
        Self::over(RINGS.map(|cluster| (cluster.to_owned(), url(cluster))).into())
    }

    /// Of clusters with these metric sources.
    pub fn over(clusters: Vec<(String, String)>) -> Self {
        let query = r#"sum(rate(http_requests_total{service="{{plan}}",code!~"5.."}[{{interval}}]))
      / sum(rate(http_requests_total{service="{{plan}}"}[{{interval}}]))"#;
        Self {
            clusters,
            soak: "10s",
            interval: "1s",
            deadline: "1m",
            approved: Vec::new(),
            query: query.into(),
        }
    }

    /// The file of a plan.
    pub fn plan(&self, plan: &str) -> String {
        let policy = if self.approved.contains(&plan) { ", policy: approved" } else { "" };
        format!(
            "apiVersion: ringward.dev/v1alpha1
kind: RingPlan
metadata: {{name: {plan}}}
spec:
  target: {{kind: Deployment, namespace: shop, name: {plan}, container: app}}
  policy: quick
  rings:
    - {{name: eu, clusters: {{names: [eu]}}}}
    - {{name: us, after: [eu], clusters: {{names: [us]}}{policy}}}
"
        )
    }

    /// The file of the policies.
    pub fn policies(&self) -> String {
        let Self { soak, interval, deadline, query, .. } = self;
        format!(
            "apiVersion: ringward.dev/v1alpha1
kind: GateTemplate
metadata: {{name: http-success-rate}}
spec:
  signal: errors
  provider: prometheus
  query: |
    {query}
---
apiVersion: ringward.dev/v1alpha1
kind: RingPolicy
metadata: {{name: quick}}
spec:
  soak: {{duration: {soak}, onBreach: reset}}
  deadline: {deadline}
  gates:
    - name: success-rate
      template: http-success-rate
      interval: {interval}
      threshold: {{min: 0.9}}
      failureLimit: 1
      onNoData: hold
      noDataDeadline: 5m
  rollback: {{automatic: true, scope: ring}}
---
apiVersion: ringward.dev/v1alpha1
kind: RingPolicy
metadata: {{name: approved}}
spec:
  extends: quick
  approvals: {{count: 1, roles: [approver], excludeAuthor: true, expires: 1h}}
"
        )
    }

    /// The file of the clusters.
    pub fn clusters(&self) -> String {
        let places = [("eu-west-1", "IE"), ("us-east-1", "US")];
        let mut text = String::new();
        for ((name, url), (region, jurisdiction)) in self.clusters.iter().zip(places) {
            let _ = write!(
                text,
                "---
apiVersion: ringward.dev/v1alpha1
kind: Cluster
metadata: {{name: {name}}}
spec:
  region: {region}
  jurisdiction: {jurisdiction}
  metrics: [{{name: prometheus, type: prometheus, url: \"{url}\", jurisdiction: {jurisdiction}}}]
"
            );
        }
        text
    }

    /// Writes all of it into a folder.
    pub fn write(&self, folder: &Path) {
        for (file, text) in self.files() {
            let file = folder.join(file);
            fs::create_dir_all(file.parent().expect("it lies in a folder")).expect("a folder");
            fs::write(file, text).expect("a file");
        }
    }

    /// Every file with its text.
    pub fn files(&self) -> Vec<(String, String)> {
        let mut files = vec![
            ("policies/all.yaml".into(), self.policies()),
            ("rings/clusters.yaml".into(), self.clusters()),
        ];
        files.extend(PLANS.map(|plan| (format!("rings/{plan}.yaml"), self.plan(plan))));
        files
    }
}

/// The settings of a service over a fleet, with `folder`/source and `folder`/data.
pub fn settings(fleet: &Fleet, folder: &Path) -> Settings {
    let connection = |name: &ClusterName| {
        let kubeconfig = Some(fleet.kubeconfig().to_owned());
        let context = Some(name.to_string());
        let settings = ConnectionSettings { kubeconfig, context, ..ConnectionSettings::default() };
        (name.to_string(), settings)
    };
    Settings {
        listen: ([127, 0, 0, 1], 0).into(),
        data: folder.join("data"),
        source: SourceSettings { path: Some(folder.join("source")), ..SourceSettings::default() },
        connections: fleet.clusters().map(connection).collect(),
        ..Settings::default()
    }
}

/// The administrator's token of a data directory.
pub fn admin_token(data: &Path) -> String {
    fs::read_to_string(data.join(ADMIN_TOKEN)).expect("the first start left it").trim().to_owned()
}

/// What the API answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The ETag, where there is one.
    pub etag: Option<String>,
    /// The body; null where there is none.
    pub body: Value,
}

impl Answer {
    /// The body of a success.
    #[track_caller]
    pub fn good(self) -> Value {
        assert!(self.status.is_success(), "{self:#?}");
        self.body
    }

    /// The name of the problem that it is.
    pub fn problem(&self) -> &str {
        let kind = self.body["type"].as_str().unwrap_or_default();
        kind.rsplit('/').next().unwrap_or_default()
    }
}

/// Somebody who uses the API.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Client {
    /// At that address, with that token.
    pub fn new(address: impl std::fmt::Display, token: impl Into<String>) -> Self {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(20));
        let http = http.build().expect("an HTTP client");
        Self { http, base: format!("http://{address}"), token: token.into() }
    }

    /// Asks; an error is that of the connection.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> reqwest::Result<Answer> {
        let url = format!("{}{path}", self.base);
        let mut request = self.http.request(method, url).bearer_auth(&self.token);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = match &body {
            Some(body) => request.json(body),
            None => request,
        };
        // Whoever watches many releases at once uses up what one principal may ask, and waits as it is told.
        let again = || request.try_clone().expect("a body that is there");
        let mut answer = again().send().await?;
        while answer.status() == StatusCode::TOO_MANY_REQUESTS {
            tokio::time::sleep(Duration::from_secs(1)).await;
            answer = again().send().await?;
        }
        let status = answer.status();
        let etag = answer.headers().get("etag").and_then(|tag| tag.to_str().ok());
        let etag = etag.map(str::to_owned);
        let text = answer.text().await?;
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Answer { status, etag, body })
    }

    /// Reads what must be there.
    #[track_caller]
    pub fn get(&self, path: &str) -> impl Future<Output = Value> {
        let (client, path) = (self.clone(), path.to_owned());
        async move { client.ask(Method::GET, &path, &[], None).await.expect("an answer").good() }
    }

    /// The body of an answer as it came.
    pub async fn text(&self, path: &str) -> Vec<u8> {
        let request = self.http.get(format!("{}{path}", self.base)).bearer_auth(&self.token);
        let answer = request.send().await.expect("an answer");
        answer.bytes().await.expect("a body").to_vec()
    }

    /// Pages of the dashboard, signed in.
    pub async fn pages(&self, paths: &[&str]) -> Vec<Vec<u8>> {
        let browser = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        let browser = browser.build().expect("an HTTP client");
        let sign_in = browser.post(format!("{}/login", self.base));
        let signed = sign_in.body(format!("token={}", self.token)).send().await;
        let signed = signed.and_then(|answer| answer.error_for_status()).expect("a session");
        let cookie = signed.headers()["set-cookie"].to_str().expect("text");
        let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        let mut pages = Vec::new();
        for path in paths {
            let page = browser.get(format!("{}{path}", self.base)).header("cookie", &cookie);
            let page = page.send().await.expect("a page");
            pages.push(page.bytes().await.expect("a body").to_vec());
        }
        pages
    }

    /// Opens the stream of events.
    pub async fn listen(&self) -> reqwest::Response {
        let request = self.http.get(format!("{}/v1/events", self.base)).bearer_auth(&self.token);
        request.send().await.and_then(|answer| answer.error_for_status()).expect("a stream")
    }

    /// Acts.
    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: Value) -> Answer {
        self.ask(Method::POST, path, headers, Some(body)).await.expect("an answer")
    }

    /// Acts on a release, such as `pause`.
    pub async fn act(&self, plan: &str, version: &str, action: &str) -> Answer {
        self.post(&format!("/v1/plans/{plan}/releases/{version}/{action}"), &[], json!({})).await
    }

    /// Creates a release of the image of that digit.
    pub async fn release(&self, plan: &str, version: &str, digit: char) -> Answer {
        let path = format!("/v1/plans/{plan}/releases");
        self.post(&path, &[], release_body(plan, version, digit)).await
    }

    /// A release as it is.
    pub async fn show(&self, plan: &str, version: &str) -> Value {
        self.get(&format!("/v1/plans/{plan}/releases/{version}")).await
    }

    /// A release once it is as wanted.
    pub async fn until(
        &self,
        plan: &str,
        version: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let path = format!("/v1/plans/{plan}/releases/{version}");
        self.until_at(&path, what, wanted).await
    }

    /// What a path shows, once it is as wanted; half a minute at the most.
    pub async fn until_at(&self, path: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = None;
        let looking = async {
            loop {
                let answer = self.ask(Method::GET, path, &[], None).await;
                let answer = answer.expect("an answer");
                if answer.status.is_success() && wanted(&answer.body) {
                    return answer.body;
                }
                last = Some(answer);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        match tokio::time::timeout(Duration::from_secs(30), looking).await {
            Ok(found) => found,
            Err(_) => panic!("waited in vain for {what} at {path}: {last:#?}"),
        }
    }

    /// Every entry of the audit.
    pub async fn audit(&self) -> Vec<Value> {
        let mut entries = Vec::new();
        let mut since = 0;
        loop {
            let page = self.get(&format!("/v1/audit?limit=1000&since={since}")).await;
            entries.extend(page["entries"].as_array().expect("entries").iter().cloned());
            match page["next"].as_u64() {
                Some(next) => since = next,
                None => return entries,
            }
        }
    }

    /// Every fact of the audit with the number of its entry, as `(seq, name, fields)`.
    pub async fn facts(&self) -> Vec<(u64, String, Value)> {
        let entries = self.audit().await;
        let facts = entries.iter().flat_map(|entry| {
            let seq = entry["seq"].as_u64().expect("a number");
            entry["facts"].as_array().expect("facts").iter().map(move |fact| {
                let what = fact["what"].as_str().expect("a name").to_owned();
                (seq, what, fact["with"].clone())
            })
        });
        facts.collect()
    }
}

/// The body that creates a release of the image of that digit.
pub fn release_body(plan: &str, version: &str, digit: char) -> Value {
    json!({"version": version, "artifact": {"image": image(plan, digit)}})
}

/// A ring of a release's view.
#[track_caller]
pub fn ring<'a>(release: &'a Value, name: &str) -> &'a Value {
    let rings = release["rings"].as_array().expect("rings");
    rings.iter().find(|ring| ring["name"] == name).expect("a ring of that name")
}

/// The phase of a ring.
#[track_caller]
pub fn phase<'a>(release: &'a Value, name: &str) -> &'a str {
    ring(release, name)["phase"].as_str().expect("a phase")
}

/// The soak that a ring has been credited, in seconds.
#[track_caller]
pub fn credited(release: &Value, name: &str) -> f64 {
    ring(release, name)["soak"]["creditedSeconds"].as_f64().unwrap_or(0.0)
}
