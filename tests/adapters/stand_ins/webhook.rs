use std::path::Path;

use axum::http::Method;
use ringward::{
    config::MetricsAuth,
    model::ring::{Target, TargetKind},
};
use serde_json::{Value, json};

use super::{Ask, Ran, Shop, Speaks, Stage};

/// Whoever speaks the protocol of README.md.
pub struct Webhook;

impl Speaks for Webhook {
    fn name(&self) -> &'static str {
        "Webhook"
    }

    fn target(&self) -> Target {
        let kind = TargetKind::Webhook { service: "desk".into() };
        Target { kind, namespace: "desk".into(), name: "checkout-{{connection}}".into() }
    }

    fn declared(&self) -> String {
        r#"{kind: Webhook, service: desk, name: "checkout-{{connection}}"}"#.into()
    }

    fn auth(&self, folder: &Path) -> MetricsAuth {
        MetricsAuth { webhook_secret_file: Some(folder.join("secret")), ..MetricsAuth::default() }
    }

    fn answer(&self, shop: &mut Shop, ask: &Ask) -> (u16, Value) {
        assert!(ask.header("webhook-signature").starts_with("v1,"), "every request is signed");
        if shop.gone || ask.path != "/base/checkout-corp" {
            return (404, json!({}));
        }
        if ask.method == Method::GET {
            shop.end();
            let told = |run: &Ran| {
                let status = match run.stage {
                    Stage::Runs => "running",
                    Stage::Paused => "paused",
                    Stage::Succeeded => "succeeded",
                    Stage::Failed | Stage::Stopped => "failed",
                    Stage::Odd => "thinking",
                };
                let mut told = run.carries.clone();
                if told.is_null() {
                    told = json!({});
                }
                told["id"] = json!(run.id);
                told["status"] = json!(status);
                told["image"] = run.brings.clone();
                told
            };
            return (200, json!({"runs": shop.runs.iter().rev().map(told).collect::<Vec<_>>()}));
        }
        let data = ask.json()["data"].clone();
        assert_eq!(ask.header("idempotency-key"), data["intent"]);
        if let Some(run) = shop.runs.iter().find(|run| run.carries["intent"] == data["intent"]) {
            return (200, json!({"id": run.id}));
        }
        let newer = |run: &Ran| run.carries["epoch"].as_u64() > data["epoch"].as_u64();
        if shop.runs.last().is_some_and(newer) {
            return (409, json!({"why": "canary-51"}));
        }
        for instead in data["insteadOf"].as_array().expect("a list") {
            let run = shop.runs.iter_mut().find(|run| run.carries["intent"] == *instead);
            run.expect("it was told of that one").stage = Stage::Stopped;
        }
        let carries = json!({"plan": data["plan"], "release": data["release"],
            "intent": data["intent"], "epoch": data["epoch"]});
        (202, json!({"id": shop.start(data["image"].clone(), carries)}))
    }
}
