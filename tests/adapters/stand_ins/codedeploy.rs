use std::path::Path;

use ringward::{
    config::{AwsKey, DeployerSettings, MetricsAuth},
    model::ring::{Target, TargetKind},
};
use serde_json::{Value, json};

use super::{Ask, Ran, Shop, Speaks, Stage, settings};

/// AWS CodeDeploy, by its JSON API.
pub struct CodeDeploy;

impl Speaks for CodeDeploy {
    fn name(&self) -> &'static str {
        "CodeDeploy"
    }

    fn target(&self) -> Target {
        let bundle = "s3://bundles/checkout/{{hex}}.zip".parse().expect("a bundle");
        let kind = TargetKind::CodeDeploy { service: "desk".into(), bundle };
        Target { kind, namespace: "checkout".into(), name: "{{connection}}".into() }
    }

    fn declared(&self) -> String {
        r#"{kind: CodeDeploy, service: desk, application: checkout, group: "{{connection}}",
            bundle: "s3://bundles/checkout/{{hex}}.zip"}"#
            .into()
    }

    fn settings(&self, url: &str) -> DeployerSettings {
        DeployerSettings { region: Some("eu-west-1".into()), ..settings(url) }
    }

    fn auth(&self, folder: &Path) -> MetricsAuth {
        let file = || folder.join("secret");
        let aws = AwsKey {
            access_key_id_file: file(),
            secret_access_key_file: file(),
            session_token_file: None,
        };
        MetricsAuth { aws: Some(aws), ..MetricsAuth::default() }
    }

    fn by_hand(&self, image: &str) -> (Value, Value) {
        let (_, hex) = image.rsplit_once(':').expect("a digest");
        (location(&format!("checkout/{hex}.zip")), json!("a fix by hand"))
    }

    fn answer(&self, shop: &mut Shop, ask: &Ask) -> (u16, Value) {
        let signed = ask.header("authorization");
        assert!(signed.starts_with("AWS4-HMAC-SHA256 "), "every request is signed");
        assert!(signed.contains("/eu-west-1/codedeploy/aws4_request"), "{signed}");
        assert!(signed.contains("x-amz-target"), "{signed}");
        let error = |kind: &str| (400, json!({"__type": kind, "message": "canary-51"}));
        let body = ask.json();
        if body["deploymentGroupName"].as_str().is_some_and(|group| shop.gone || group != "corp") {
            return error("DeploymentGroupDoesNotExistException");
        }
        let id = body["deploymentId"].as_str().unwrap_or_default();
        match ask.header("x-amz-target") {
            "CodeDeploy_20141006.ListDeployments" => {
                let ids: Vec<_> = shop.runs.iter().rev().map(|run| &run.id).collect();
                (200, json!({"deployments": ids}))
            }
            "CodeDeploy_20141006.BatchGetDeployments" => {
                shop.end();
                let asked = body["deploymentIds"].as_array().expect("ids").clone();
                let info = |(n, run): (usize, &Ran)| {
                    let status = match run.stage {
                        Stage::Runs => "InProgress",
                        Stage::Paused => "Ready",
                        Stage::Succeeded => "Succeeded",
                        Stage::Failed => "Failed",
                        Stage::Stopped => "Stopped",
                        Stage::Odd => "Resting",
                    };
                    json!({"deploymentId": run.id, "status": status, "createTime": n as f64 + 0.5,
                        "description": run.carries, "applicationName": "checkout",
                        "deploymentGroupName": "corp",
                        "revision": {"revisionType": "S3", "s3Location": run.brings}})
                };
                let runs = shop.runs.iter().enumerate();
                let runs = runs.filter(|(_, run)| asked.contains(&json!(run.id)));
                (200, json!({"deploymentsInfo": runs.map(info).collect::<Vec<_>>()}))
            }
            "CodeDeploy_20141006.CreateDeployment" => {
                if shop.runs.iter().any(|run| matches!(run.stage, Stage::Runs | Stage::Paused)) {
                    return error("DeploymentLimitExceededException");
                }
                let brings = body["revision"]["s3Location"].clone();
                (200, json!({"deploymentId": shop.start(brings, body["description"].clone())}))
            }
            "CodeDeploy_20141006.StopDeployment" => match shop.stop(id) {
                true => (200, json!({"status": "Succeeded", "statusMessage": "stopped"})),
                false => error("DeploymentAlreadyCompletedException"),
            },
            other => panic!("nobody asks {other}"),
        }
    }
}

fn location(key: &str) -> Value {
    json!({"bucket": "bundles", "key": key, "bundleType": "zip"})
}
