//! A server that was restored from a backup is the server that was backed up: the same answers to every read,
//! the same chain, and it goes on.

mod common;

use std::{collections::BTreeMap, sync::Arc};

use common::{Client, Declarations};
use jiff::Timestamp;
use ringward::{
    app::{self, Running},
    clock::{Clock, SystemClock},
    model::time::{Mono, Span},
    record::{SledStore, Store, restore::restore},
    sim::loopback::Fleet,
};
use serde_json::Value;

const SPEED: f64 = 20.0;

async fn serve(
    fleet: &Fleet,
    folder: &std::path::Path,
    data: &str,
    clock: &Arc<dyn Clock>,
) -> (Running, Client) {
    let mut settings = common::settings(fleet, folder);
    settings.data = folder.join(data);
    let wall = clock.now().wall;
    let clock = move |base| Arc::new(SystemClock::compressed(wall, base, SPEED)) as Arc<dyn Clock>;
    let running = app::start(settings, clock).await.expect("it starts");
    let client = Client::new(running.address, common::admin_token(&running.data));
    let seen = |clusters: &Value| {
        let items = clusters["items"].as_array().expect("clusters");
        let ready = |target: &Value| target["status"] == "ready";
        items.len() == 2
            && items.iter().all(|cluster| {
                cluster["targets"].as_array().is_some_and(|t| t.len() == 2 && t.iter().all(ready))
            })
    };
    client.until_at("/v1/clusters", "all targets to be seen", seen).await;
    (running, client)
}

/// Takes out what grows by itself, and what a start counts on.
fn steady(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| {
                !["ageSeconds", "revision", "madeAt", "madeFor"].contains(&name.as_str())
            });
            fields.values_mut().for_each(steady);
        }
        Value::Array(items) => items.iter_mut().for_each(steady),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Every read of the API, but for what is about this very process or the journal's end.
async fn reads(client: &Client) -> BTreeMap<String, Value> {
    let document = client.get("/openapi.json").await;
    let mut all = BTreeMap::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        let its_own = ["/v1/events", "/v1/audit", "/v1/backup", "/metrics", "/evidence", "z"];
        let other = its_own.iter().any(|own| path.contains(own) && path != "/v1/freezes");
        if item["get"].is_null() || other || path == "/openapi.json" {
            continue;
        }
        for version in ["1.0", "2.0"] {
            let path = path.replace("{plan}", "checkout").replace("{ring}", "eu");
            let path = path.replace("{version}", version);
            let mut answer = client.get(&path).await;
            steady(&mut answer);
            all.insert(path, answer);
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_server_is_the_same_and_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let wall: Timestamp = "2026-11-02T08:00:00Z".parse().expect("an instant");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::compressed(wall, Mono(0), SPEED));
    let fleet = common::fleet(Span::seconds(3), clock.clone(), folder.path()).await;
    Declarations::of(&fleet).write(&folder.path().join("source"));
    let (running, client) = serve(&fleet, folder.path(), "data", &clock).await;
    client.release("checkout", "1.0", '1').await.good();
    let freeze = serde_json::json!({"scope": {"plan": "search"}, "reason": "year end"});
    client.post("/v1/freezes", &[], freeze).await.good();
    client.until("checkout", "1.0", "a pass", |seen| seen["phase"] == "Succeeded").await;
    client.release("checkout", "2.0", '2').await.good();

    // In the middle of it all: what a backup has is a beginning of what the journal has.
    client.until("checkout", "2.0", "a soak", |seen| common::phase(seen, "eu") == "Soaking").await;
    let busy = client.text("/v1/backup").await;
    let end = restore(&folder.path().join("busy"), &mut busy.as_slice()).expect("a whole backup");
    let record = client.get(&format!("/v1/audit?since={}&limit=1", end.entries - 1)).await;
    assert_eq!(record["entries"][0]["hash"], end.head.to_string());
    let copy = SledStore::open(&folder.path().join("busy")).expect("a journal");
    assert_eq!((copy.head().seq, copy.head().hash), (end.entries, end.head));

    // At rest: nothing that anybody can read differs.
    client.until("checkout", "2.0", "a pass", |seen| seen["phase"] == "Succeeded").await;
    let settled = |seen: &Value| seen["settled"] == true;
    client.until("checkout", "2.0", "the end", settled).await;
    let first_key = client.get("/v1/audit/head").await["key"].clone();
    let before = reads(&client).await;
    assert!(before.len() > 15, "{:?}", before.keys());
    let backup = client.text("/v1/backup").await;
    let end = restore(&folder.path().join("copy"), &mut backup.as_slice()).expect("a whole backup");
    running.stop().await;
    let (running, client) = serve(&fleet, folder.path(), "copy", &clock).await;
    let after = reads(&client).await;
    for (path, answer) in &before {
        assert_eq!(after.get(path), Some(answer), "{path}");
    }
    let record = client.get(&format!("/v1/audit?since={}&limit=1", end.entries - 1)).await;
    assert_eq!(record["entries"][0]["hash"], end.head.to_string());
    let verified = client.get("/v1/audit/verify").await;
    assert_eq!(verified["broken"], Value::Null);
    assert!(verified["entries"].as_u64() > Some(end.entries), "it took over");

    // It goes on, and its chain with it.
    client.release("checkout", "3.0", '3').await.good();
    client.until("checkout", "3.0", "a pass", |seen| seen["phase"] == "Succeeded").await;
    let evidence = client.get("/v1/plans/checkout/releases/1.0/evidence").await;
    assert_eq!(evidence["release"]["phase"], "Succeeded");
    let key = client.get("/v1/audit/head").await["key"].clone();
    assert_ne!(key, first_key, "a key is in no backup");
    running.stop().await;
}
