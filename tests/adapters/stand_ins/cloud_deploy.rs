use std::path::Path;

use ringward::{
    config::{DeployerSettings, MetricsAuth},
    model::ring::{Target, TargetKind},
};
use serde_json::{Value, json};

use super::{Ask, Ran, Shop, Speaks, Stage, settings};

/// Google Cloud Deploy, by its REST API.
pub struct CloudDeploy;

const SOURCE: &str = "gs://shop/checkout.tar.gz";

impl Speaks for CloudDeploy {
    fn name(&self) -> &'static str {
        "CloudDeploy"
    }

    fn target(&self) -> Target {
        let service = "desk".into();
        let kind = TargetKind::CloudDeploy { service, image: "app".into(), source: SOURCE.into() };
        Target { kind, namespace: "checkout".into(), name: "{{connection}}".into() }
    }

    fn declared(&self) -> String {
        format!(
            r#"{{kind: CloudDeploy, service: desk, pipeline: checkout, target: "{{{{connection}}}}", image: app,
            source: "{SOURCE}"}}"#
        )
    }

    fn settings(&self, url: &str) -> DeployerSettings {
        settings(&format!("{url}/v1/projects/shop/locations/europe-west1"))
    }

    fn auth(&self, folder: &Path) -> MetricsAuth {
        MetricsAuth { bearer_token_file: Some(folder.join("secret")), ..MetricsAuth::default() }
    }

    fn by_hand(&self, image: &str) -> (Value, Value) {
        (json!(image), json!({}))
    }

    fn answer(&self, shop: &mut Shop, ask: &Ask) -> (u16, Value) {
        assert!(ask.header("authorization").starts_with("Bearer "), "every request has a token");
        let error = |code: u16, status: &str| {
            (code, json!({"error": {"code": code, "message": "canary-51", "status": status}}))
        };
        let names = "projects/1234/locations/europe-west1/deliveryPipelines/checkout/releases";
        let under = "/base/v1/projects/shop/locations/europe-west1/deliveryPipelines/checkout";
        let Some(path) = ask.path.strip_prefix(under).filter(|_| !shop.gone) else {
            // A list over all releases of no pipeline is empty.
            return match ask.path.ends_with("/releases/-/rollouts") {
                true => (200, json!({})),
                false => error(404, "NOT_FOUND"),
            };
        };
        let told = |run: &Ran| {
            let state = match run.stage {
                Stage::Runs => "IN_PROGRESS",
                Stage::Paused => "PENDING_APPROVAL",
                Stage::Succeeded => "SUCCEEDED",
                Stage::Failed => "FAILED",
                Stage::Stopped => "CANCELLED",
                Stage::Odd => "HALTED",
            };
            let release = match run.carries["release"].as_str() {
                Some(release) => release.to_owned(),
                None => format!("by-hand-{}", run.id),
            };
            let rollout = run.carries["rollout"].as_str().unwrap_or("by-hand");
            json!({"name": format!("{names}/{release}/rollouts/{rollout}"), "state": state,
                "targetId": "corp", "annotations": run.carries["annotations"]})
        };
        let path: Vec<&str> = path.split('/').skip(1).collect();
        match (ask.method.as_str(), path.as_slice()) {
            ("GET", []) => (200, json!({"name": "checkout"})),
            ("GET", ["releases", "-", "rollouts"]) => {
                assert_eq!(ask.query["filter"], "targetId=\"corp\"");
                assert_eq!(ask.query["orderBy"], "createTime desc");
                shop.end();
                let mut rollouts: Vec<_> = shop.runs.iter().rev().map(told).collect();
                for rollout in &mut rollouts {
                    // What is empty is left out.
                    let rollout = rollout.as_object_mut().expect("an object");
                    rollout.retain(|_, value| !value.is_null());
                }
                (200, json!({"rollouts": rollouts}))
            }
            ("GET", ["releases", release]) => {
                let by_hand = release.strip_prefix("by-hand-").and_then(|id| shop.run(id));
                let tag = by_hand.map(|run| run.brings.clone());
                match tag.or_else(|| shop.releases.get(*release).cloned()) {
                    Some(tag) => (200, json!({"buildArtifacts": [{"image": "app", "tag": tag}]})),
                    None => error(404, "NOT_FOUND"),
                }
            }
            ("GET", ["releases", _, "rollouts", rollout]) => {
                let run = shop.runs.iter().find(|run| run.carries["rollout"] == *rollout);
                run.map_or_else(|| error(404, "NOT_FOUND"), |run| (200, told(run)))
            }
            ("POST", ["releases"]) => {
                let body = ask.json();
                assert_eq!(body["skaffoldConfigUri"], SOURCE);
                let id = ask.query["releaseId"].clone();
                if shop.releases.contains_key(&id) {
                    return error(409, "ALREADY_EXISTS");
                }
                shop.releases.insert(id, body["buildArtifacts"][0]["tag"].clone());
                (200, json!({"name": "operations/1"}))
            }
            ("POST", ["releases", release, "rollouts"]) => {
                let body = ask.json();
                let rollout = ask.query["rolloutId"].clone();
                if shop.runs.iter().any(|run| run.carries["rollout"] == *rollout) {
                    return error(409, "ALREADY_EXISTS");
                }
                assert_eq!(body["targetId"], "corp");
                let carries = json!({"release": release, "rollout": rollout,
                    "annotations": body["annotations"]});
                let tag = shop.releases[*release].clone();
                shop.start(tag, carries);
                (200, json!({"name": "operations/2"}))
            }
            ("POST", ["releases", _, "rollouts", cancel]) => {
                let rollout = cancel.strip_suffix(":cancel").expect("nothing else is asked");
                let run = shop.runs.iter().find(|run| run.carries["rollout"] == *rollout);
                let id = run.expect("a rollout").id.clone();
                match shop.stop(&id) {
                    true => (200, json!({})),
                    false => error(400, "FAILED_PRECONDITION"),
                }
            }
            other => panic!("nobody asks {other:?}"),
        }
    }
}
