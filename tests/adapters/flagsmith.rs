//! Flagsmith's features, against a server that answers as its admin API is documented.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri, header::AUTHORIZATION},
};
use ringward::{
    decide::event::{Status, TargetState},
    model::ring::TargetKind,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    flags_suite::{CONSENT, Owner, door, refused, suite, target, until, write},
    misbehaving::{Faults, misbehaving, unreachable},
};

const TOKEN: &str = "Api-Key a-secret.of-the-tests";
const KEY: &str = "4vfqhypYjcPoGGu8ByrBaj";

struct Feature {
    id: u64,
    description: String,
    enabled: bool,
    /// The percentages of `on` and of `blue`; all others are served `off`.
    shares: [f64; 2],
}

#[derive(Default)]
struct Server {
    features: BTreeMap<String, Feature>,
    next: u64,
    guarded: bool,
    broken: bool,
    /// After how many changes more it answers none.
    left: Option<usize>,
    /// The share of `on` that somebody else sets right after the next change of shares.
    meddled: Option<f64>,
}

type Shared = Arc<Mutex<Server>>;

async fn answer(
    State(server): State<Shared>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, Json<Value>) {
    if headers.get(AUTHORIZATION).is_none_or(|token| token != TOKEN) {
        return (StatusCode::UNAUTHORIZED, Json(json!({"detail": "Invalid token."})));
    }
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let (status, body) = server.lock().unwrap().answer(&method, &uri, &body);
    (StatusCode::from_u16(status).unwrap(), Json(body))
}

impl Feature {
    fn state(&self) -> Value {
        let value = |id: u64, option: u64, share: f64| {
            json!({"id": self.id * 100 + id, "multivariate_feature_option": option,
                "percentage_allocation": share})
        };
        json!({"id": self.id * 10, "feature": self.id, "environment": 7, "identity": null,
            "feature_segment": null, "enabled": self.enabled, "feature_state_value": "off", "version": 1,
            "multivariate_feature_state_values":
                [value(1, 3, self.shares[0]), value(2, 4, self.shares[1])]})
    }

    fn told(&self, name: &str) -> Value {
        let option = |id: u64, value: &str| {
            json!({"id": id, "type": "unicode", "string_value": value, "integer_value": null,
                "boolean_value": null, "default_percentage_allocation": 0.0})
        };
        json!({"id": self.id, "name": name, "type": "MULTIVARIATE", "description": self.description,
            "tags": [], "is_archived": false, "multivariate_options": [option(3, "on"), option(4, "blue")]})
    }
}

impl Server {
    fn answer(&mut self, method: &Method, uri: &Uri, body: &Value) -> (u16, Value) {
        let none = || (404, json!({"detail": "Not found."}));
        if self.broken {
            return (503, json!({}));
        }
        if method != Method::GET {
            match &mut self.left {
                Some(0) => return (502, json!({})),
                Some(left) => *left -= 1,
                None => {}
            }
        }
        let path: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
        match (method.as_str(), path.as_slice()) {
            ("GET", ["api", "v1", "environments", KEY]) => {
                let approvals = self.guarded.then_some(1);
                (
                    200,
                    json!({"id": 7, "name": "Production", "api_key": KEY, "project": 42,
                    "minimum_change_request_approvals": approvals, "use_v2_feature_versioning": false}),
                )
            }
            ("GET", ["api", "v1", "environments", KEY, "featurestates"]) => {
                let name =
                    uri.query().and_then(|query| query.strip_prefix("feature_name=")).unwrap();
                let found: Vec<Value> = self.features.get(name).iter().map(|f| f.state()).collect();
                (
                    200,
                    json!({"count": found.len(), "next": null, "previous": null, "results": found}),
                )
            }
            ("PUT", ["api", "v1", "environments", KEY, "featurestates", id]) => {
                let feature = self.features.values_mut().find(|f| (f.id * 10).to_string() == *id);
                let Some(feature) = feature else { return none() };
                let shares = body["multivariate_feature_state_values"].as_array().unwrap();
                feature.shares = [3, 4].map(|option| {
                    let share = shares.iter().find(|s| s["multivariate_feature_option"] == option);
                    share.unwrap()["percentage_allocation"].as_f64().unwrap()
                });
                let told = feature.state();
                if let Some(theirs) = self.meddled.take() {
                    feature.shares[0] = theirs;
                }
                (200, told)
            }
            (method, ["api", "v1", "projects", "42", "features", id]) => {
                let feature = self.features.iter_mut().find(|(_, f)| f.id.to_string() == *id);
                let Some((name, feature)) = feature else { return none() };
                if method == "PATCH" {
                    feature.description = body["description"].as_str().unwrap().to_owned();
                }
                (200, feature.told(name))
            }
            _ => none(),
        }
    }
}

struct Flagsmith {
    url: String,
    server: Shared,
}

async fn start() -> Flagsmith {
    let server = Shared::default();
    let routes = Router::new().fallback(answer).with_state(server.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    Flagsmith { url, server }
}

impl Flagsmith {
    fn with<T>(&self, feature: &str, look: impl FnOnce(&mut Feature) -> T) -> T {
        look(self.server.lock().unwrap().features.get_mut(feature).expect("a feature"))
    }

    /// After so many changes it answers none; nothing is for ever.
    fn leave(&self, changes: Option<usize>) {
        self.server.lock().unwrap().left = changes;
    }
}

/// The share of `on` where `on`, `off` or `on=N%,off` is served.
fn share(serves: &str) -> f64 {
    crate::unleash_owner::rollout(serves).parse().expect("a percentage")
}

fn described(note: &str) -> String {
    format!("For the night.\n{CONSENT} in=another\n{note} in={KEY}\nAsk Ann.")
}

impl Owner for Flagsmith {
    fn place(&self) -> (&str, &str, &str) {
        (&self.url, KEY, TOKEN)
    }

    fn kind(&self) -> TargetKind {
        TargetKind::FlagsmithFlag { service: "flags".into(), cleanup_after: None }
    }

    fn project(&self) -> &str {
        "42"
    }

    fn odd(&self) -> (&str, &str) {
        ("green", "has no variant `green`: it has off, on, blue")
    }

    async fn create(&self, flag: &str, note: &str, serves: &str) {
        let mut server = self.server.lock().unwrap();
        server.next += 1;
        let (id, description) = (server.next, described(note));
        let made = Feature { id, description, enabled: true, shares: [share(serves), 0.0] };
        server.features.insert(flag.into(), made);
    }

    async fn delete(&self, flag: &str) {
        self.server.lock().unwrap().features.remove(flag);
    }

    async fn switch(&self, flag: &str, on: bool) {
        self.with(flag, |feature| feature.enabled = on);
    }

    async fn note(&self, flag: &str) -> String {
        self.with(flag, |feature| {
            let suffix = format!(" in={KEY}");
            let line = feature.description.lines().find_map(|line| line.strip_suffix(&suffix));
            line.expect("a line of the environment's").to_owned()
        })
    }

    async fn set_note(&self, flag: &str, note: &str) {
        self.with(flag, |feature| feature.description = described(note));
    }

    async fn served(&self, flag: &str) -> Value {
        self.with(flag, |feature| json!(feature.shares))
    }

    async fn serve(&self, flag: &str, serves: &str) {
        self.with(flag, |feature| feature.shares[0] = share(serves));
    }

    async fn rest(&self, flag: &str) -> Value {
        self.with(flag, |feature| {
            let other = |line: &&str| !line.contains(KEY);
            let lines: Vec<&str> = feature.description.split('\n').filter(other).collect();
            json!({"enabled": feature.enabled, "description": lines})
        })
    }
}

impl Faults for Flagsmith {
    fn meddle(&self, serves: &str) {
        self.server.lock().unwrap().meddled = Some(share(serves));
    }

    fn guard(&self, yes: bool) {
        self.server.lock().unwrap().guarded = yes;
    }

    fn break_down(&self, yes: bool) {
        self.server.lock().unwrap().broken = yes;
    }
}

#[tokio::test]
async fn flagsmith_passes_the_suite() {
    suite(&start().await).await;
}

#[tokio::test]
async fn a_flagsmith_that_misbehaves_misleads_nobody() {
    let service = start().await;
    misbehaving(&service, &service).await;
}

#[tokio::test]
async fn a_change_that_broke_off_is_gone_on_with_wherever_it_did() {
    let service = start().await;
    let door = door(&service);
    for (flag, changes) in [("noted", 1), ("changed", 2)] {
        service.create(flag, CONSENT, "on=5%,off").await;
        let one = write(&service, flag, "1", "on=25%,off");
        service.leave(Some(changes));
        unreachable(door.write(&one, 1).await);
        let note = service.note(flag).await;
        assert!(note.ends_with("serves=on=25%,off before=on=5%,off from=on=5%,off"), "{note}");
        let mut states = door.watch(&"dark".into(), &target(&service, flag));
        let ours = |s: &TargetState| s.intent.as_ref() == Some(&one.key);
        let state = until(&mut states, ours).await;
        let status = match changes {
            1 => Status::Progressing("noted, and not written yet".into()),
            _ => Status::Succeeded,
        };
        assert_eq!(state.status, status, "{flag}");
        service.leave(None);
        let found = door.write(&one, 1).await.expect("written").expect("what was there");
        assert_eq!(found.image.map(|image| image.0).as_deref(), Some("on=5%,off"));
        assert_eq!(service.served(flag).await, json!([25.0, 0.0]));
        if changes == 1 {
            until(&mut states, |s| ours(s) && s.status == Status::Succeeded).await;
        }
        // It is through: what is put back by hand now is somebody's change.
        service.serve(flag, "on=5%,off").await;
        let why = refused(door.write(&write(&service, flag, "2", "on"), 1).await);
        assert!(why.contains("somebody else has changed it"), "{why}");
    }
}

#[tokio::test]
async fn another_way_back_takes_up_what_broke_off() {
    let service = start().await;
    service.create("dark", CONSENT, "on=5%,off").await;
    let door = door(&service);
    service.leave(Some(1));
    unreachable(door.write(&write(&service, "dark", "1", "on=25%,off"), 1).await);
    service.leave(None);
    let mut back = write(&service, "dark", "1", "on=5%,off");
    back.key = "dark@1/eu/corp/1/restore".into();
    door.write(&back, 2).await.expect("written");
    assert_eq!(service.served("dark").await, json!([5.0, 0.0]));
    let note = service.note("dark").await;
    assert!(note.ends_with("epoch=2 serves=on=5%,off"), "{note}");
}
