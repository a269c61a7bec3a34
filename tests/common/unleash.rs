//! An Unleash as its administrator has it, by its admin API.

use reqwest::Method;
use ringward::model::ring::TargetKind;
use serde_json::{Value, json};

use crate::flags_suite::Owner;

/// An Unleash with what its administrator shows it.
pub struct Unleash {
    pub url: String,
    pub token: String,
}

impl Unleash {
    /// As its owner; the status and the body.
    pub async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let url = format!("{}/api/admin/projects/default/{path}", self.url);
        let mut request = reqwest::Client::new().request(method, url);
        request = request.header("Authorization", &self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }

    async fn good(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let (status, answer) = self.ask(method, path, body).await;
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        answer
    }

    /// The environment's strategies: the staff's and ours.
    async fn strategies(&self, flag: &str) -> [Value; 2] {
        let answer = self.good(Method::GET, &format!("features/{flag}"), None).await;
        let environments = answer["environments"].as_array().expect("environments");
        let here = environments.iter().find(|here| here["name"] == "production");
        let all = here.expect("production")["strategies"].as_array().expect("strategies").clone();
        let (staff, ours): (Vec<_>, Vec<_>) = all.into_iter().partition(|s| s["title"] == "staff");
        [staff[0].clone(), ours[0].clone()]
    }

    /// Changes our strategy as its owner would.
    async fn edit(&self, flag: &str, path: &str, value: &str) {
        let [_, ours] = self.strategies(flag).await;
        let id = ours["id"].as_str().expect("an id");
        let place = format!("features/{flag}/environments/production/strategies/{id}");
        let patch = json!([{"op": "replace", "path": path, "value": value}]);
        self.good(Method::PATCH, &place, Some(patch)).await;
    }
}

/// The rollout of a strategy that serves `on`, `off` or `on=N%,off`.
pub fn rollout(serves: &str) -> &str {
    match serves {
        "on" => "100",
        "off" => "0",
        shares => shares.strip_prefix("on=").and_then(|s| s.strip_suffix("%,off")).expect("shares"),
    }
}

impl Owner for Unleash {
    fn place(&self) -> (&str, &str, &str) {
        (&self.url, "production", &self.token)
    }

    fn kind(&self) -> TargetKind {
        TargetKind::UnleashFlag { service: "flags".into(), cleanup_after: None }
    }

    fn project(&self) -> &str {
        "default"
    }

    fn odd(&self) -> (&str, &str) {
        ("blue", "on or off")
    }

    async fn create(&self, flag: &str, title: &str, serves: &str) {
        let body = json!({"name": flag, "type": "release"});
        self.good(Method::POST, "features", Some(body)).await;
        let place = format!("features/{flag}/environments/production");
        let staff = json!({"name": "default", "title": "staff", "constraints": [
            {"contextName": "userId", "operator": "IN", "values": ["ann", "bob"]}], "parameters": {}});
        self.good(Method::POST, &format!("{place}/strategies"), Some(staff)).await;
        let ours = json!({"name": "flexibleRollout", "title": title, "constraints": [],
            "parameters": {"rollout": rollout(serves), "stickiness": "default", "groupId": flag}});
        self.good(Method::POST, &format!("{place}/strategies"), Some(ours)).await;
        self.good(Method::POST, &format!("{place}/on"), None).await;
    }

    async fn delete(&self, flag: &str) {
        self.good(Method::DELETE, &format!("features/{flag}"), None).await;
    }

    async fn switch(&self, flag: &str, on: bool) {
        let switch = if on { "on" } else { "off" };
        let place = format!("features/{flag}/environments/production/{switch}");
        self.good(Method::POST, &place, None).await;
    }

    async fn note(&self, flag: &str) -> String {
        let [_, ours] = self.strategies(flag).await;
        ours["title"].as_str().expect("a title").to_owned()
    }

    async fn set_note(&self, flag: &str, note: &str) {
        self.edit(flag, "/title", note).await;
    }

    async fn served(&self, flag: &str) -> Value {
        let [_, ours] = self.strategies(flag).await;
        ours["parameters"].clone()
    }

    async fn serve(&self, flag: &str, serves: &str) {
        self.edit(flag, "/parameters/rollout", rollout(serves)).await;
    }

    async fn rest(&self, flag: &str) -> Value {
        self.strategies(flag).await[0].clone()
    }
}
