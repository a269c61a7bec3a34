//! Services that deploy, as their documentation has them: what is asked of them is answered out of one list of runs.

mod cloud_deploy;
mod codedeploy;
mod harness;
mod spinnaker;
mod webhook;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri},
};
use ringward::{
    act::{Connections, Deployer, deployers::Deployers, metrics::auth::Credentials},
    clock::SystemClock,
    config::{ConnectionSettings, DeployerSettings, MetricsAuth},
    model::{
        ring::Target,
        time::{Mono, Span},
    },
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub use self::{
    cloud_deploy::CloudDeploy, codedeploy::CodeDeploy, harness::Harness, spinnaker::Spinnaker,
    webhook::Webhook,
};

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Runs,
    Paused,
    Succeeded,
    Failed,
    Stopped,
    /// What no documentation has.
    Odd,
}

/// A run.
#[derive(Debug, Clone)]
pub struct Ran {
    pub id: String,
    pub stage: Stage,
    /// What it brings, as the service has it.
    pub brings: Value,
    /// What was started with it, as the service has it.
    pub carries: Value,
}

/// What a service has, and what befalls it.
#[derive(Debug, Default)]
pub struct Shop {
    /// The newest last.
    pub runs: Vec<Ran>,
    /// What it answers whatever it is asked.
    pub broken: Option<u16>,
    /// Whether what runs are of was deleted.
    pub gone: bool,
    /// Whether it starts what it is asked to, and then answers that something went wrong.
    pub loses: bool,
    /// Whether runs end when they are looked at, and those that bring that text by failing.
    pub ends: Option<&'static str>,
    /// What runs are of, where the service has it apart from them, by its name.
    pub releases: BTreeMap<String, Value>,
}

impl Shop {
    /// Starts a run and names it.
    pub fn start(&mut self, brings: Value, carries: Value) -> String {
        let id = format!("run-{}", self.runs.len() + 1);
        self.runs.push(Ran { id: id.clone(), stage: Stage::Runs, brings, carries });
        id
    }

    pub fn run(&mut self, id: &str) -> Option<&mut Ran> {
        self.runs.iter_mut().find(|run| run.id == id)
    }

    fn stop(&mut self, id: &str) -> bool {
        let run = self.run(id).filter(|run| matches!(run.stage, Stage::Runs | Stage::Paused));
        run.map(|run| run.stage = Stage::Stopped).is_some()
    }

    fn end(&mut self) {
        let Some(bad) = self.ends else { return };
        for run in self.runs.iter_mut().filter(|run| run.stage == Stage::Runs) {
            let fails = run.brings.to_string().contains(bad);
            run.stage = if fails { Stage::Failed } else { Stage::Succeeded };
        }
    }
}

/// A request.
pub struct Ask {
    pub method: Method,
    pub path: String,
    pub query: BTreeMap<String, String>,
    pub headers: HeaderMap,
    pub body: String,
}

impl Ask {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// One kind of service.
pub trait Speaks: Send + Sync {
    fn name(&self) -> &'static str;

    /// A target of that name in it.
    fn target(&self) -> Target;

    /// The same as its owner declares it.
    fn declared(&self) -> String;

    fn settings(&self, url: &str) -> DeployerSettings {
        settings(url)
    }

    /// What it is shown, out of that folder.
    fn auth(&self, folder: &Path) -> MetricsAuth;

    fn answer(&self, shop: &mut Shop, ask: &Ask) -> (u16, Value);

    /// What somebody else starts by hand to bring an image.
    fn by_hand(&self, image: &str) -> (Value, Value) {
        (json!(image), Value::Null)
    }
}

fn settings(url: &str) -> DeployerSettings {
    DeployerSettings {
        url: url.into(),
        plans: vec!["checkout".into()],
        interval: Span(20),
        region: None,
        account: None,
    }
}

/// A service that stands on loopback.
pub struct Standing {
    pub speaks: &'static dyn Speaks,
    pub url: String,
    folder: tempfile::TempDir,
    shop: Arc<Mutex<Shop>>,
}

type Shared = (&'static dyn Speaks, Arc<Mutex<Shop>>);

async fn answer(
    State((speaks, shop)): State<Shared>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, Json<Value>) {
    let query = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let unescape = |text: &str| {
        let url = reqwest::Url::parse(&format!("http://x/?k={text}")).expect("a query");
        let (_, value) = url.query_pairs().next().expect("a pair");
        value.into_owned()
    };
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (unescape(name), unescape(value))
    };
    let ask = Ask {
        method,
        path: unescape(&uri.path().replace('+', "%2B")),
        query: query.map(pair).collect(),
        headers,
        body: String::from_utf8(body.to_vec()).expect("text"),
    };
    let mut shop = shop.lock().expect("nobody panicked");
    let answered = match shop.broken {
        Some(status) => (status, json!({})),
        None => {
            let before = shop.runs.len();
            let answered = speaks.answer(&mut shop, &ask);
            match shop.loses && shop.runs.len() > before {
                true => (500, json!({"message": "canary-51"})),
                false => answered,
            }
        }
    };
    (StatusCode::from_u16(answered.0).expect("a status"), Json(answered.1))
}

impl Standing {
    pub async fn start(speaks: &'static dyn Speaks) -> Self {
        let shop = Arc::new(Mutex::new(Shop::default()));
        let routes = Router::new().fallback(answer).with_state((speaks, shop.clone()));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/base", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("secret"), SECRET).expect("a file");
        Self { speaks, url, folder, shop }
    }

    pub fn shop(&self) -> MutexGuard<'_, Shop> {
        self.shop.lock().expect("nobody panicked")
    }

    /// A run that somebody else has started, and that is at that stage.
    pub fn by_hand(&self, image: &str, stage: Stage) -> String {
        let (brings, carries) = self.speaks.by_hand(image);
        let id = self.shop().start(brings, carries);
        self.shop().run(&id).expect("it was started").stage = stage;
        id
    }

    /// The stage of each run, the oldest first.
    pub fn stages(&self) -> Vec<Stage> {
        self.shop().runs.iter().map(|run| run.stage).collect()
    }

    /// Brings the newest run to that stage.
    pub fn bring(&self, stage: Stage) {
        self.shop().runs.last_mut().expect("a run").stage = stage;
    }

    /// The connection's settings: a service called `desk`, and no cluster.
    pub fn connection(&self) -> ConnectionSettings {
        let deployers = [("desk".to_owned(), self.speaks.settings(&self.url))].into();
        ConnectionSettings { deployers, ..ConnectionSettings::default() }
    }

    pub fn metrics(&self) -> BTreeMap<String, MetricsAuth> {
        [(self.url.clone(), self.speaks.auth(self.folder.path()))].into()
    }

    /// The service's door, as the settings of a server make it.
    pub fn door(&self) -> Arc<dyn Deployer> {
        self.door_of(self.connection())
    }

    /// The door by these settings.
    pub fn door_of(&self, connection: ConnectionSettings) -> Arc<dyn Deployer> {
        let credentials = Credentials::new(self.metrics()).expect("credentials");
        let connections = [("corp".to_owned(), connection)].into();
        let clock = Arc::new(SystemClock::new(Mono(0)));
        let clusters = ringward::act::cluster::Kubeconfigs::new([].into());
        let doors = Deployers::new(Arc::new(clusters), &connections, credentials, clock);
        doors.expect("a client").deployer("corp").expect("a deployer")
    }
}

/// 32 bytes; of other services than a webhook it is a token like any other.
const SECRET: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

/// All of them.
pub const ALL: [&dyn Speaks; 5] = [&Webhook, &CodeDeploy, &CloudDeploy, &Spinnaker, &Harness];

/// A token that a service is shown.
fn token(folder: &Path, header: &str) -> MetricsAuth {
    MetricsAuth {
        header_files: [(header.to_owned(), folder.join("secret"))].into(),
        ..MetricsAuth::default()
    }
}
