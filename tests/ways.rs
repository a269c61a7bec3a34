//! The ways that releases come in beside the API, each through the whole service over a fleet on loopback.

mod common;
#[path = "ways/documents.rs"]
mod documents;
#[path = "common/git.rs"]
#[allow(dead_code, reason = "not every way needs a daemon")]
mod git;
#[path = "ways/image_policy.rs"]
mod image_policy;
#[path = "ways/registry.rs"]
mod registry;

use std::{path::Path, sync::Arc, time::Duration};

use common::{Client, Declarations, PLANS};
use jiff::Timestamp;
use ringward::{
    app::{self, Running},
    clock::{Clock, SystemClock},
    config::Settings,
    ids::Mint,
    model::time::{Mono, Span},
    show::auth::{NewToken, Tokens},
    sim::loopback::Fleet,
};
use serde_json::Value;

/// A soak of ten seconds takes half of one.
const SPEED: f64 = 20.0;

/// A service, and the fleet and the clock beneath it.
struct Service {
    fleet: Fleet,
    clock: Arc<dyn Clock>,
    declarations: Declarations,
    folder: tempfile::TempDir,
    running: Option<Running>,
}

impl Service {
    /// A fleet, with nothing that serves it yet.
    async fn prepare() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let wall: Timestamp = "2026-11-02T08:00:00Z".parse().expect("an instant");
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::compressed(wall, Mono(0), SPEED));
        let fleet = common::fleet(Span::seconds(3), clock.clone(), folder.path()).await;
        let declarations = Declarations { approved: vec!["search"], ..Declarations::of(&fleet) };
        declarations.write(&folder.path().join("source"));
        Self { fleet, clock, declarations, folder, running: None }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn settings(&self) -> Settings {
        common::settings(&self.fleet, self.path())
    }

    /// Starts on the data directory that is there, and waits until what runs has been seen.
    async fn start(&mut self, settings: Settings) -> Client {
        let wall = self.clock.now().wall;
        let clock =
            move |base| -> Arc<dyn Clock> { Arc::new(SystemClock::compressed(wall, base, SPEED)) };
        let running = app::start(settings, clock).await.expect("it starts");
        let client = Client::new(running.address, common::admin_token(&running.data));
        self.running = Some(running);
        for plan in PLANS {
            let seen = |clusters: &Value| all_seen(clusters, plan);
            client.until_at("/v1/clusters", "all targets to be seen", seen).await;
        }
        client
    }

    async fn stop(&mut self) {
        let running = self.running.take().expect("it runs");
        let stopped = tokio::time::timeout(Duration::from_secs(5), running.stop()).await;
        stopped.expect("it stops at once");
    }

    /// Somebody who may approve, and nothing else.
    fn approver(&self, name: &str) -> Client {
        let running = self.running.as_ref().expect("it runs");
        let tokens = Tokens::open(&running.data).expect("tokens");
        let roles = vec!["approver".into()];
        let token = NewToken { name: name.into(), roles, ..NewToken::default() };
        let made = tokens.create(token, &mut Mint::system(), self.clock.now().wall);
        Client::new(running.address, made.expect("a token").1)
    }
}

fn all_seen(clusters: &Value, plan: &str) -> bool {
    let clusters = clusters["items"].as_array().expect("clusters");
    clusters.len() == 2
        && clusters.iter().all(|cluster| {
            let targets = cluster["targets"].as_array().expect("targets");
            targets.iter().any(|target| target["plan"] == plan && target["status"] == "ready")
        })
}

/// Every fact of that name in the audit.
async fn facts(client: &Client, name: &str) -> Vec<Value> {
    let facts = client.facts().await.into_iter();
    facts.filter(|(_, what, _)| what == name).map(|(.., with)| with).collect()
}

/// A release once it is there.
async fn there(client: &Client, plan: &str, version: &str) -> Value {
    client.until(plan, version, "it to be there", |_| true).await
}
