//! Unleash's flags, against a server that answers as Unleash 8.2 was seen to.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri, header::AUTHORIZATION},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    flags_suite::suite,
    misbehaving::{Faults, misbehaving},
    unleash_owner::{Unleash, rollout},
};

const TOKEN: &str = "*:*.a-secret-of-the-tests";

#[derive(Default)]
struct Server {
    archived: BTreeSet<String>,
    /// By the flag's name: whether it is on in production, and its strategies there.
    flags: BTreeMap<String, (bool, Vec<Value>)>,
    strategies: usize,
    /// Whether production wants change requests.
    guarded: bool,
    broken: bool,
    /// The rollout that somebody else sets before the next change of a strategy.
    meddled: Option<String>,
}

type Shared = Arc<Mutex<Server>>;

async fn answer(
    State(server): State<Shared>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, Json<Value>) {
    let mut server = server.lock().unwrap();
    if headers.get(AUTHORIZATION).is_none_or(|token| token != TOKEN) {
        return (StatusCode::UNAUTHORIZED, Json(json!({"name": "AuthenticationRequired"})));
    }
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let (status, body) = server.answer(&method, uri.path(), body);
    (StatusCode::from_u16(status).unwrap(), Json(body))
}

impl Server {
    fn answer(&mut self, method: &Method, path: &str, body: Value) -> (u16, Value) {
        if self.broken {
            return (503, json!({}));
        }
        let path: Vec<&str> =
            path.trim_start_matches("/api/admin/projects/default/").split('/').collect();
        let next = self.strategies;
        match (method.as_str(), path.as_slice()) {
            ("POST", ["features"]) => {
                self.flags.insert(body["name"].as_str().unwrap().into(), Default::default());
                return (201, body);
            }
            ("DELETE", ["features", flag]) => {
                self.archived.insert((*flag).to_owned());
                return (202, Value::Null);
            }
            ("GET", ["features", flag]) => {
                let archived = self.archived.contains(*flag);
                let Some((on, strategies)) = self.flags.get(*flag).filter(|_| !archived) else {
                    return (404, json!({"name": "NotFoundError"}));
                };
                let other = json!({"name": "development", "enabled": false, "strategies": []});
                let here = json!({"name": "production", "enabled": on, "strategies": strategies});
                return (
                    200,
                    json!({"name": flag, "archived": false, "environments": [other, here]}),
                );
            }
            _ => {}
        }
        let ["features", name, "environments", "production", rest @ ..] = path.as_slice() else {
            return (404, json!({"name": "NotFoundError"}));
        };
        let Some((on, strategies)) = self.flags.get_mut(*name) else {
            return (404, json!({"name": "NotFoundError"}));
        };
        match (method.as_str(), rest) {
            ("POST", [switch @ ("on" | "off")]) => {
                *on = *switch == "on";
                (200, Value::Null)
            }
            ("POST", ["strategies"]) => {
                let mut strategy = body;
                strategy["id"] = json!(format!("01M8-{next}"));
                strategy["disabled"] = json!(false);
                strategies.push(strategy.clone());
                self.strategies += 1;
                (200, strategy)
            }
            ("PATCH", ["strategies", id]) => {
                if self.guarded {
                    return (403, json!({"name": "PermissionError", "message": "canary-77"}));
                }
                let strategy = strategies.iter_mut().find(|s| s["id"] == *id).unwrap();
                if let Some(theirs) = self.meddled.take() {
                    strategy["parameters"]["rollout"] = json!(theirs);
                }
                for (i, operation) in body.as_array().unwrap().iter().enumerate() {
                    let place = strategy.pointer_mut(operation["path"].as_str().unwrap()).unwrap();
                    match operation["op"].as_str().unwrap() {
                        "test" if *place != operation["value"] => {
                            let why = format!(
                                "Test operation failed\nname: TEST_OPERATION_FAILED\nindex: {i}"
                            );
                            return (500, json!({"name": "UnknownError", "message": why}));
                        }
                        "replace" => *place = operation["value"].clone(),
                        _ => {}
                    }
                }
                (200, strategy.clone())
            }
            _ => (404, json!({"name": "NotFoundError"})),
        }
    }
}

async fn start() -> (Unleash, Shared) {
    let shared = Shared::default();
    let routes = Router::new().fallback(answer).with_state(shared.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    (Unleash { url, token: TOKEN.into() }, shared)
}

impl Faults for Shared {
    fn meddle(&self, serves: &str) {
        self.lock().unwrap().meddled = Some(rollout(serves).to_owned());
    }

    fn guard(&self, yes: bool) {
        self.lock().unwrap().guarded = yes;
    }

    fn break_down(&self, yes: bool) {
        self.lock().unwrap().broken = yes;
    }
}

#[tokio::test]
async fn unleash_passes_the_suite() {
    suite(&start().await.0).await;
}

#[tokio::test]
async fn an_unleash_that_misbehaves_misleads_nobody() {
    let (unleash, shared) = start().await;
    misbehaving(&unleash, &shared).await;
}
