use std::path::Path;

use ringward::{
    config::{DeployerSettings, MetricsAuth},
    model::ring::{Target, TargetKind},
};
use serde_json::{Value, json};

use super::{Ask, Ran, Shop, Speaks, Stage, settings, token};

/// Harness, by its NextGen API.
pub struct Harness;

impl Speaks for Harness {
    fn name(&self) -> &'static str {
        "Harness"
    }

    fn target(&self) -> Target {
        let (org, input) = ("default".into(), "image".into());
        let kind = TargetKind::Harness { service: "desk".into(), org, input };
        Target { kind, namespace: "shop".into(), name: "deploy_{{connection}}".into() }
    }

    fn declared(&self) -> String {
        r#"{kind: Harness, service: desk, org: default, project: shop, pipeline: "deploy_{{connection}}",
            input: image}"#
            .into()
    }

    fn settings(&self, url: &str) -> DeployerSettings {
        DeployerSettings { account: Some("acc".into()), ..settings(url) }
    }

    fn auth(&self, folder: &Path) -> MetricsAuth {
        token(folder, "x-api-key")
    }

    fn answer(&self, shop: &mut Shop, ask: &Ask) -> (u16, Value) {
        assert!(!ask.header("x-api-key").is_empty(), "every request has a key");
        let place = ["accountIdentifier", "orgIdentifier", "projectIdentifier"];
        assert_eq!(place.map(|name| ask.query[name].as_str()), ["acc", "default", "shop"]);
        let missing = || {
            (404, json!({"status": "ERROR", "code": "ENTITY_NOT_FOUND", "message": "canary-51"}))
        };
        let good =
            |data: Value| (200, json!({"status": "SUCCESS", "data": data, "metaData": null}));
        let told = |run: &Ran| {
            let status = match run.stage {
                Stage::Runs => "Running",
                Stage::Paused => "ApprovalWaiting",
                Stage::Succeeded => "Success",
                Stage::Failed => "Failed",
                Stage::Stopped => "Aborted",
                Stage::Odd => "IgnoreFailed",
            };
            json!({"planExecutionId": run.id, "status": status, "pipelineIdentifier": "deploy_corp"})
        };
        let path = ask.path.trim_start_matches("/base/pipeline/api/");
        match (ask.method.as_str(), path.split('/').collect::<Vec<_>>().as_slice()) {
            ("POST", ["pipelines", "execution", "summary"]) => {
                assert_eq!(
                    (ask.query["sort"].as_str(), &ask.json()["filterType"]),
                    ("startTs,DESC", &json!("PipelineExecution"))
                );
                shop.end();
                let size = ask.query["size"].parse().expect("a number");
                let there = !shop.gone && ask.query["pipelineIdentifier"] == "deploy_corp";
                let runs = shop.runs.iter().rev().filter(|_| there).take(size).map(told);
                good(json!({"content": runs.collect::<Vec<_>>()}))
            }
            ("GET", ["pipelines", "summary", "deploy_corp"]) => {
                if shop.gone {
                    missing()
                } else {
                    good(json!({"identifier": "deploy_corp"}))
                }
            }
            ("GET", ["pipelines", "execution", "v2", id]) => match shop.run(id) {
                Some(run) => good(json!({"pipelineExecutionSummary": told(run)})),
                None => missing(),
            },
            ("GET", ["pipelines", "execution", id, "inputsetV2"]) => {
                let run = shop.run(id).expect("an execution");
                let mut yaml = format!(
                    "pipeline:\n  identifier: deploy_corp\n  variables:\n    - name: image\n      type: String\n      value: {}\n",
                    run.brings.as_str().expect("text")
                );
                if let Some(said) = run.carries.as_str() {
                    yaml.push_str("    - name: ringward\n      type: String\n      value: ");
                    yaml.push_str(said);
                    yaml.push('\n');
                }
                good(json!({"inputSetYaml": yaml, "inputSetTemplateYaml": ""}))
            }
            ("POST", ["pipeline", "execute", "deploy_corp"]) => {
                if shop.gone {
                    return missing();
                }
                assert_eq!(ask.header("content-type"), "application/yaml");
                let body = ask.json();
                let value = |name: &str| {
                    let all = body["pipeline"]["variables"].as_array().expect("variables");
                    all.iter().find(|variable| variable["name"] == name).expect(name)["value"]
                        .clone()
                };
                let id = shop.start(value("image"), value("ringward"));
                good(json!({"planExecution": {"uuid": id, "status": "RUNNING"}}))
            }
            ("PUT", ["pipeline", "execute", "interrupt", id]) => {
                assert_eq!(ask.query["interruptType"], "AbortAll");
                shop.stop(id);
                good(json!({"id": "i"}))
            }
            other => panic!("nobody asks {other:?}"),
        }
    }
}
