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
use futures::StreamExt;
use ringward::{act::WriteError, decide::event::Status};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::unleash_suite::{Unleash, suite};

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
    (Unleash::new(url, TOKEN), shared)
}

#[tokio::test]
async fn unleash_passes_the_suite() {
    let (unleash, _) = start().await;
    suite(&unleash).await;
}

#[tokio::test]
async fn a_change_request_refuses_and_a_broken_service_is_unknown_until_it_is_back() {
    let (unleash, shared) = start().await;
    unleash.create("dark", "ringward.dev/managed-by=dark", "0").await;
    let door = unleash.door();
    let write = crate::unleash_suite::write("dark", "1", "on=5%,off");
    shared.lock().unwrap().guarded = true;
    let Err(WriteError::Refused(why)) = door.write(&write, 1).await else { panic!() };
    assert!(why.contains("change request") && !why.contains("canary"), "{why}");
    shared.lock().unwrap().guarded = false;

    let mut states = door.watch(&"dark".into(), &write.target);
    assert_eq!(states.next().await.unwrap().status, Status::Succeeded);
    shared.lock().unwrap().broken = true;
    let state = states.next().await.unwrap();
    assert!(matches!(&state.status, Status::Unknown(why) if why.contains("503")), "{state:?}");
    let written = door.write(&write, 1).await;
    assert!(matches!(written, Err(WriteError::Unreachable(_))), "{written:?}");
    shared.lock().unwrap().broken = false;
    assert_eq!(states.next().await.unwrap().status, Status::Succeeded);
    door.write(&write, 1).await.expect("written");
    assert_eq!(states.next().await.unwrap().intent, Some(write.key));
}
