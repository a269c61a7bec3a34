//! LaunchDarkly's flags, against a server that answers as its REST API is documented.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri, header::AUTHORIZATION},
    response::{IntoResponse, Response},
};
use jiff::{SignedDuration, Timestamp};
use ringward::{
    clock::{Clock, SystemClock},
    model::{ring::TargetKind, time::Mono},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    flags_suite::{CONSENT, Owner, door, suite, write},
    misbehaving::{Faults, misbehaving, unreachable},
};

const TOKEN: &str = "api-a-secret-of-the-tests";
const PROPERTY: &str = "ringward.dev.production";

#[derive(Default)]
struct Server {
    flags: BTreeMap<String, Value>,
    asked: usize,
    guarded: bool,
    broken: bool,
    /// Until when it wants to be left alone.
    crowded: Option<Timestamp>,
    /// What somebody else makes a flag serve at the moment of the next change.
    meddled: Option<String>,
}

type Shared = Arc<Mutex<Server>>;

async fn answer(
    State(server): State<Shared>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut server = server.lock().unwrap();
    server.asked += 1;
    if headers.get(AUTHORIZATION).is_none_or(|token| token != TOKEN) {
        return (StatusCode::UNAUTHORIZED, Json(json!({"code": "unauthorized"}))).into_response();
    }
    if let Some(until) = server.crowded {
        let reset = [("X-Ratelimit-Reset", until.as_millisecond().to_string())];
        let body = Json(json!({"code": "rate_limited", "message": "canary"}));
        return (StatusCode::TOO_MANY_REQUESTS, reset, body).into_response();
    }
    let kind = headers.get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
    let (status, body) = server.answer(&method, &uri, kind.as_deref(), &body);
    (StatusCode::from_u16(status).unwrap(), Json(body)).into_response()
}

/// The default rule that serves `on`, `off` or `on=N%,off`, as LaunchDarkly tells it.
fn rule(serves: &str) -> Value {
    match serves {
        "on" => json!({"variation": 0}),
        "off" => json!({"variation": 1}),
        shares => {
            let on = shares.strip_prefix("on=").and_then(|s| s.strip_suffix("%,off")).unwrap();
            let on = on.parse::<u64>().unwrap() * 1_000;
            json!({"rollout": {"contextKind": "user", "variations": [
                {"variation": 0, "weight": on}, {"variation": 1, "weight": 100_000 - on}]}})
        }
    }
}

impl Server {
    fn answer(
        &mut self,
        method: &Method,
        uri: &Uri,
        kind: Option<&str>,
        body: &[u8],
    ) -> (u16, Value) {
        if self.broken {
            return (503, json!({}));
        }
        let name = uri.path().strip_prefix("/api/v2/flags/shop/").unwrap();
        let Some(flag) = self.flags.get_mut(name) else {
            return (404, json!({"code": "not_found", "message": "Unknown flag"}));
        };
        if method == Method::GET {
            assert_eq!(uri.query(), Some("env=production"));
            return (200, flag.clone());
        }
        assert_eq!(method, Method::PATCH);
        assert_eq!(kind, Some("application/json; domain-model=launchdarkly.semanticpatch"));
        let body: Value = serde_json::from_slice(body).unwrap();
        assert_eq!(body["environmentKey"], "production");
        if self.guarded {
            let why = "Flag configuration updates require approval: canary-77";
            return (405, json!({"code": "method_not_allowed", "message": why}));
        }
        if let Some(theirs) = self.meddled.take() {
            flag["environments"]["production"]["fallthrough"] = rule(&theirs);
            return (409, json!({"code": "conflict", "message": "canary-77"}));
        }
        // All of it or none.
        let mut next = flag.clone();
        for instruction in body["instructions"].as_array().unwrap() {
            if let Err(why) = apply(&mut next, instruction) {
                return (400, json!({"code": "invalid_request", "message": why}));
            }
        }
        *flag = next;
        (200, flag.clone())
    }
}

fn apply(flag: &mut Value, instruction: &Value) -> Result<(), String> {
    match instruction["kind"].as_str().unwrap() {
        "updateFallthroughVariationOrRollout" => {
            let variations = flag["variations"].as_array().unwrap().clone();
            let place = |id: &str| variations.iter().position(|v| v["_id"] == id);
            let here = &mut flag["environments"]["production"];
            if let Some(id) = instruction["variationId"].as_str() {
                here["fallthrough"] = json!({"variation": place(id).ok_or("no variation")?});
                return Ok(());
            }
            let weights = instruction["rolloutWeights"].as_object().ok_or("no weights")?;
            if weights.values().map(|weight| weight.as_u64().unwrap()).sum::<u64>() != 100_000 {
                return Err("weights do not add up".into());
            }
            let mut all = Vec::new();
            for (id, weight) in weights {
                all.push(json!({"variation": place(id).ok_or("no variation")?, "weight": weight}));
            }
            let by = instruction["rolloutContextKind"].as_str().unwrap_or("user");
            here["fallthrough"] = json!({"rollout": {"contextKind": by, "variations": all}});
            Ok(())
        }
        "replaceCustomProperties" => {
            let values = instruction["values"].as_array().ok_or("no values")?;
            if values.iter().any(|value| value.as_str().unwrap().len() > 64) {
                return Err("a value is too long".into());
            }
            // They come back in an order of their own.
            let mut values = values.clone();
            values.reverse();
            let property = json!({"name": instruction["name"], "value": values});
            flag["customProperties"][instruction["key"].as_str().unwrap()] = property;
            Ok(())
        }
        other => Err(format!("unknown instruction {other}")),
    }
}

struct LaunchDarkly {
    url: String,
    server: Shared,
}

async fn start() -> LaunchDarkly {
    let server = Shared::default();
    let routes = Router::new().fallback(answer).with_state(server.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    LaunchDarkly { url, server }
}

impl LaunchDarkly {
    fn with<T>(&self, flag: &str, look: impl FnOnce(&mut Value) -> T) -> T {
        look(self.server.lock().unwrap().flags.get_mut(flag).expect("a flag"))
    }
}

impl Owner for LaunchDarkly {
    fn place(&self) -> (&str, &str, &str) {
        (&self.url, "production", TOKEN)
    }

    fn kind(&self) -> TargetKind {
        TargetKind::LaunchDarklyFlag { service: "flags".into(), cleanup_after: None }
    }

    fn project(&self) -> &str {
        "shop"
    }

    fn odd(&self) -> (&str, &str) {
        ("blue", "has no variant `blue`: it has on, off")
    }

    async fn create(&self, flag: &str, note: &str, serves: &str) {
        let made = json!({
            "name": flag, "kind": "boolean", "key": flag, "_version": 1, "archived": false, "tags": ["ops"],
            "variations": [{"_id": "86208e6e", "value": true, "name": "on"},
                {"_id": "7b32de80", "value": false, "name": "off"}],
            "customProperties": {"jira": {"name": "Jira issues", "value": ["OPS-1"]},
                (PROPERTY): {"name": "Releases", "value": [note]}},
            "environments": {"production": {"on": true, "archived": false, "version": 1, "salt": "YWx0",
                "targets": [{"variation": 0, "values": ["ann", "bob"]}],
                "rules": [{"_id": "r1", "variation": 0, "clauses": []}],
                "prerequisites": [{"key": "night", "variation": 0}],
                "offVariation": 1, "fallthrough": rule(serves)}},
        });
        self.server.lock().unwrap().flags.insert(flag.into(), made);
    }

    async fn delete(&self, flag: &str) {
        self.server.lock().unwrap().flags.remove(flag);
    }

    async fn switch(&self, flag: &str, on: bool) {
        self.with(flag, |flag| flag["environments"]["production"]["on"] = json!(on));
    }

    /// The values in the order in which they were written.
    async fn note(&self, flag: &str) -> String {
        self.with(flag, |flag| {
            let values = flag["customProperties"][PROPERTY]["value"].as_array().unwrap();
            let words: Vec<&str> = values.iter().rev().map(|v| v.as_str().unwrap()).collect();
            words.join(" ")
        })
    }

    async fn set_note(&self, flag: &str, note: &str) {
        self.with(flag, |flag| flag["customProperties"][PROPERTY]["value"] = json!([note]));
    }

    async fn served(&self, flag: &str) -> Value {
        self.with(flag, |flag| flag["environments"]["production"]["fallthrough"].clone())
    }

    async fn serve(&self, flag: &str, serves: &str) {
        self.with(flag, |flag| flag["environments"]["production"]["fallthrough"] = rule(serves));
    }

    async fn rest(&self, flag: &str) -> Value {
        self.with(flag, |flag| {
            let mut rest = flag.clone();
            rest["environments"]["production"]["fallthrough"] = Value::Null;
            rest["customProperties"][PROPERTY]["value"] = Value::Null;
            rest
        })
    }
}

impl Faults for LaunchDarkly {
    fn meddle(&self, serves: &str) {
        self.server.lock().unwrap().meddled = Some(serves.to_owned());
    }

    fn guard(&self, yes: bool) {
        self.server.lock().unwrap().guarded = yes;
    }

    fn break_down(&self, yes: bool) {
        self.server.lock().unwrap().broken = yes;
    }
}

#[tokio::test]
async fn launchdarkly_passes_the_suite() {
    suite(&start().await).await;
}

#[tokio::test]
async fn a_launchdarkly_that_misbehaves_misleads_nobody() {
    let service = start().await;
    misbehaving(&service, &service).await;
}

#[tokio::test]
async fn a_service_that_is_asked_too_often_is_left_alone_for_as_long_as_it_says() {
    let service = start().await;
    service.create("dark", CONSENT, "off").await;
    let now = SystemClock::new(Mono(0)).now().wall;
    let reset = now + SignedDuration::from_hours(1);
    service.server.lock().unwrap().crowded = Some(reset);
    let door = door(&service);
    let one = write(&service, "dark", "1", "on=5%,off");
    let why = unreachable(door.write(&one, 1).await);
    assert!(why.contains("429") && !why.contains("canary"), "{why}");
    // It may say an hour: it is left alone for five minutes at the most, and not asked once until then.
    service.server.lock().unwrap().crowded = None;
    let why = unreachable(door.write(&one, 1).await);
    assert!(why.contains("asked too often, and not again for"), "{why}");
    assert_eq!(service.server.lock().unwrap().asked, 1);
}

#[tokio::test]
async fn a_reset_that_is_over_keeps_nobody_waiting() {
    let service = start().await;
    service.create("dark", CONSENT, "off").await;
    service.server.lock().unwrap().crowded =
        Some(Timestamp::UNIX_EPOCH + SignedDuration::from_hours(300_000));
    let door = door(&service);
    let one = write(&service, "dark", "1", "on=5%,off");
    unreachable(door.write(&one, 1).await);
    service.server.lock().unwrap().crowded = None;
    door.write(&one, 1).await.expect("written");
}
