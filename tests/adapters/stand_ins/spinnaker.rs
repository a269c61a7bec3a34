use std::path::Path;

use ringward::{
    config::MetricsAuth,
    model::ring::{Target, TargetKind},
};
use serde_json::{Value, json};

use super::{Ask, Ran, Shop, Speaks, Stage, token};

/// Spinnaker, by Gate.
pub struct Spinnaker;

impl Speaks for Spinnaker {
    fn name(&self) -> &'static str {
        "Spinnaker"
    }

    fn target(&self) -> Target {
        let kind = TargetKind::Spinnaker { service: "desk".into(), parameter: "image".into() };
        Target { kind, namespace: "checkout".into(), name: "Deploy to {{connection}}".into() }
    }

    fn declared(&self) -> String {
        r#"{kind: Spinnaker, service: desk, application: checkout, pipeline: "Deploy to {{connection}}",
            parameter: image}"#
            .into()
    }

    fn auth(&self, folder: &Path) -> MetricsAuth {
        token(folder, "X-SPINNAKER-TOKEN")
    }

    fn answer(&self, shop: &mut Shop, ask: &Ask) -> (u16, Value) {
        assert!(!ask.header("x-spinnaker-token").is_empty(), "every request has a token");
        let missing =
            || (404, json!({"status": 404, "error": "Not Found", "message": "canary-51"}));
        let told = |run: &Ran| {
            let status = match run.stage {
                Stage::Runs => "RUNNING",
                Stage::Paused => "PAUSED",
                Stage::Succeeded => "SUCCEEDED",
                Stage::Failed => "TERMINAL",
                Stage::Stopped => "CANCELED",
                Stage::Odd => "SUSPENDED",
            };
            json!({"id": run.id, "status": status, "application": "checkout",
                "name": "Deploy to corp", "trigger": {"type": "manual",
                    "parameters": {"image": run.brings, "ringward": run.carries}}})
        };
        let path: Vec<&str> = ask.path.trim_start_matches("/base/").split('/').collect();
        match (ask.method.as_str(), path.as_slice()) {
            ("GET", ["applications", "checkout", "executions", "search"]) => {
                if shop.gone || ask.query["pipelineName"] != "Deploy to corp" {
                    return (200, json!([]));
                }
                shop.end();
                let size = ask.query["size"].parse().expect("a number");
                (200, json!(shop.runs.iter().rev().take(size).map(told).collect::<Vec<_>>()))
            }
            ("GET", ["applications", "checkout", "pipelineConfigs", "Deploy to corp"]) => {
                if shop.gone { missing() } else { (200, json!({"name": "Deploy to corp"})) }
            }
            ("GET", ["pipelines", id]) => shop.run(id).map_or_else(missing, |run| (200, told(run))),
            ("POST", ["pipelines", "checkout", "Deploy to corp"]) => {
                let body = ask.json();
                if shop.gone {
                    return missing();
                }
                let parameters = &body["parameters"];
                let said = parameters["ringward"].as_str().expect("a note");
                assert!(said.contains(body["correlationId"].as_str().expect("an id")));
                let id = shop.start(parameters["image"].clone(), parameters["ringward"].clone());
                (202, json!({"ref": format!("/pipelines/{id}")}))
            }
            ("PUT", ["pipelines", id, "cancel"]) => {
                shop.stop(id);
                (200, Value::Null)
            }
            other => panic!("nobody asks {other:?}"),
        }
    }
}
