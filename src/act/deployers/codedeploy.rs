//! AWS CodeDeploy, by its JSON API (version 2014-10-06): a deployment of an application to one of its groups.
//!
//! What is deployed is a bundle in S3 whose key holds the image's digest; for ECS and Lambda that bundle is the AppSpec
//! itself (YAML or JSON), which names what was registered for the image. The note is the deployment's `description`.
//! CodeDeploy knows no idempotency key: what keeps a start whose answer was lost from being made twice is that it is
//! looked for, and that a group takes one deployment at a time.

use reqwest::Url;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Api, Heard, Order, Outgoing, Place, RUNS, Run, Step, Trouble, WORDS, Which, ask, failed,
    trouble, unheard,
};
use crate::{
    act::{metrics::question::Scope, note::Note},
    decide::{event::Status, gate::words::tamed},
    model::bundle::Bundle,
};

/// CodeDeploy of one region.
pub(super) struct CodeDeploy {
    pub(super) region: String,
    pub(super) bundle: Bundle,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    deployments: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Got {
    #[serde(default)]
    deployments_info: Vec<Info>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Info {
    deployment_id: String,
    status: String,
    /// Seconds since 1970, with a fraction.
    create_time: Option<f64>,
    description: Option<String>,
    revision: Option<Revision>,
    error_information: Option<ErrorInformation>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Revision {
    s3_location: Option<Location>,
}

#[derive(Deserialize)]
struct Location {
    bucket: Option<String>,
    key: Option<String>,
}

#[derive(Deserialize)]
struct ErrorInformation {
    code: Option<String>,
    message: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Created {
    deployment_id: String,
}

impl CodeDeploy {
    fn call(&self, base: &Url, action: &str, body: &Value) -> Outgoing {
        let call = Outgoing::post(base.clone(), "application/x-amz-json-1.1", body.to_string())
            .header("x-amz-target", format!("CodeDeploy_20141006.{action}"));
        let scope = Scope { region: self.region.clone(), service: "codedeploy" };
        Outgoing { scope: Some(scope), ..call }
    }

    fn run(&self, info: Info) -> Run {
        let status = match info.status.as_str() {
            "Created" | "Queued" => Status::Pending,
            "InProgress" | "Baking" => Status::Progressing(info.status.clone()),
            "Ready" => Status::Paused,
            "Succeeded" => Status::Succeeded,
            "Failed" | "Stopped" => {
                let error = info.error_information.as_ref();
                let why =
                    error.and_then(|error| error.message.as_deref().or(error.code.as_deref()));
                failed(&info.status, why)
            }
            other => unheard(other),
        };
        let at = info.revision.and_then(|revision| revision.s3_location);
        let image = at.and_then(|at| self.bundle.image(&at.bucket?, &at.key?));
        let note = info.description.as_deref().and_then(Note::read);
        Run { id: info.deployment_id, status, image, note }
    }
}

impl Api for CodeDeploy {
    fn look(
        &self,
        place: Place<'_>,
        which: Which<'_>,
        heard: &[Heard],
    ) -> Result<Step<Vec<Run>>, Trouble> {
        let get = |ids: &[String]| {
            ask(self.call(place.base, "BatchGetDeployments", &json!({"deploymentIds": ids})))
        };
        match (which, heard) {
            (Which::Newest | Which::Last, []) => {
                let Place { base, target } = place;
                let of = json!({"applicationName": target.namespace, "deploymentGroupName": target.name});
                ask(self.call(base, "ListDeployments", &of))
            }
            (Which::Newest | Which::Last, [listed]) => {
                // Nothing says so, but it lists the newest first.
                let Listed { mut deployments } = read(listed)?;
                deployments.truncate(RUNS);
                if deployments.is_empty() { Ok(Step::Done(Vec::new())) } else { get(&deployments) }
            }
            (Which::One(id), []) => get(&[id.to_owned()]),
            (Which::Newest | Which::Last, [_, got, ..]) | (Which::One(_), [got, ..]) => {
                let Got { deployments_info: mut infos } = read(got)?;
                let created = |info: &Info| info.create_time.unwrap_or(0.0);
                infos.sort_by(|a, b| created(b).total_cmp(&created(a)));
                Ok(Step::Done(infos.into_iter().map(|info| self.run(info)).collect()))
            }
        }
    }

    fn start(
        &self,
        place: Place<'_>,
        order: &Order<'_>,
        heard: &[Heard],
    ) -> Result<Step<String>, Trouble> {
        let Some(created) = heard.first() else {
            let location = json!({
                "bucket": self.bundle.bucket(),
                "key": self.bundle.key(order.hex),
                "bundleType": self.bundle.form(),
            });
            let body = json!({
                "applicationName": place.target.namespace,
                "deploymentGroupName": place.target.name,
                "description": order.note.to_string(),
                "revision": {"revisionType": "S3", "s3Location": location},
            });
            return ask(self.call(place.base, "CreateDeployment", &body));
        };
        let Created { deployment_id } = read(created)?;
        Ok(Step::Done(deployment_id))
    }

    fn stop(&self, place: Place<'_>, run: &Run) -> Option<Outgoing> {
        // It would go back by itself, to whatever it takes for good.
        let body = json!({"deploymentId": run.id, "autoRollbackEnabled": false});
        Some(self.call(place.base, "StopDeployment", &body))
    }
}

/// What was answered.
fn read<'b, T: Deserialize<'b>>((status, body): &'b Heard) -> Result<T, Trouble> {
    #[derive(Deserialize)]
    struct Error {
        #[serde(rename = "__type")]
        kind: Option<String>,
    }
    if *status == 200 {
        let none = |_| Trouble::Unreachable("the answer is none of CodeDeploy's".into());
        return serde_json::from_slice(body).map_err(none);
    }
    // With the name of its service before it, or without.
    let kind = serde_json::from_slice(body).ok().and_then(|Error { kind }| kind);
    let word = kind.as_deref().map(|kind| kind.rsplit('#').next().unwrap_or(kind));
    let may_pass =
        |word: &str| Err(Trouble::Unreachable(format!("HTTP {status}, {}", tamed(word, WORDS))));
    match word {
        Some("ApplicationDoesNotExistException" | "DeploymentGroupDoesNotExistException") => {
            Err(Trouble::Gone)
        }
        Some(
            word @ ("DeploymentLimitExceededException"
            | "DeploymentDoesNotExistException"
            | "ThrottlingException"
            | "ExpiredTokenException"
            | "RequestExpired"
            | "InvalidSignatureException"
            | "UnrecognizedClientException"),
        ) => may_pass(word),
        Some("RevisionDoesNotExistException" | "InvalidRevisionException") => {
            Err(Trouble::Refused(
                "is refused by CodeDeploy: there is no bundle of that digest in S3; let the build put it there".into(),
            ))
        }
        Some("DescriptionTooLongException") => Err(Trouble::Refused(
            "is refused by CodeDeploy: plan, ring, cluster and version are too long together for a description".into(),
        )),
        word => Err(trouble(*status, word)),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::*, *};
    use crate::model::ring::{Target, TargetKind};

    const AT: &str = "https://codedeploy.eu-west-1.amazonaws.com/";

    fn codedeploy() -> (CodeDeploy, Url, Target) {
        let bundle: Bundle = "s3://bundles/checkout/{{hex}}.zip".parse().unwrap();
        let api = CodeDeploy { region: "eu-west-1".into(), bundle: bundle.clone() };
        let kind = TargetKind::CodeDeploy { service: "aws".into(), bundle };
        (api, Url::parse(AT).unwrap(), target(kind, "checkout", "production"))
    }

    fn body(outgoing: &Outgoing) -> Value {
        serde_json::from_str(outgoing.body.as_deref().unwrap()).unwrap()
    }

    fn info(id: &str, status: &str, created: f64) -> Value {
        json!({"applicationName": "checkout", "deploymentGroupName": "production", "deploymentId": id,
            "status": status, "createTime": created, "creator": "user", "description": note().to_string(),
            "revision": {"revisionType": "S3", "s3Location": {"bucket": "bundles", "bundleType": "zip",
                "eTag": "\"f2\"", "key": format!("checkout/{HEX}.zip")}},
            "errorInformation": {"code": "HEALTH_CONSTRAINTS", "message": "Too few\nhealthy instances."}})
    }

    #[test]
    fn the_newest_are_listed_and_then_described() {
        let (api, base, target) = codedeploy();
        let place = Place { base: &base, target: &target };
        let look = |heard: &[Heard]| api.look(place, Which::Newest, heard);
        let list = asked(look(&[]));
        assert!(
            list.headers.contains(&("x-amz-target", "CodeDeploy_20141006.ListDeployments".into()))
        );
        assert_eq!(list.scope, Some(Scope { region: "eu-west-1".into(), service: "codedeploy" }));
        assert_eq!(
            body(&list),
            json!({"applicationName": "checkout", "deploymentGroupName": "production"})
        );
        assert_eq!(done(look(&[heard(200, &json!({"deployments": []}))])), []);
        let ids: Vec<String> = (0..30).map(|n| format!("d-{n}")).collect();
        let listed = heard(200, &json!({"deployments": ids, "nextToken": "more"}));
        let get = asked(look(std::slice::from_ref(&listed)));
        assert_eq!(body(&get)["deploymentIds"].as_array().unwrap().len(), RUNS);
        let mut by_hand = info("d-1", "Succeeded", 2.5);
        by_hand["description"] = json!("a fix");
        let got = json!({"deploymentsInfo": [by_hand, info("d-0", "Failed", 3.25)]});
        let runs = done(look(&[listed, heard(200, &got)]));
        assert_eq!(runs.iter().map(|run| run.id.as_str()).collect::<Vec<_>>(), ["d-0", "d-1"]);
        assert_eq!(runs[0].note, Some(note()));
        assert_eq!(
            runs[0].status,
            Status::Failed("its run is Failed: Too few healthy instances.".into())
        );
        assert!(runs[0].image.as_ref().unwrap().same_as(&image()));
        assert_eq!((runs[1].note.as_ref(), &runs[1].status), (None, &Status::Succeeded));
    }

    #[test]
    fn every_status_is_what_it_says() {
        let (api, base, target) = codedeploy();
        let status = |word: &str| {
            let got = heard(200, &json!({"deploymentsInfo": [info("d-1", word, 1.0)]}));
            let place = Place { base: &base, target: &target };
            done(api.look(place, Which::One("d-1"), &[got])).remove(0).status
        };
        assert_eq!((status("Created"), status("Queued")), (Status::Pending, Status::Pending));
        assert!(matches!(status("InProgress"), Status::Progressing(_)));
        assert!(matches!(status("Baking"), Status::Progressing(_)));
        assert_eq!((status("Ready"), status("Succeeded")), (Status::Paused, Status::Succeeded));
        assert!(matches!(status("Stopped"), Status::Failed(_)));
        assert!(matches!(status("Resting"), Status::Unknown(why) if why.contains("Resting")));
    }

    #[test]
    fn a_deployment_is_of_the_bundle_of_that_digest() {
        let (api, base, target) = codedeploy();
        let place = Place { base: &base, target: &target };
        let create = asked(api.start(place, &order(&[]), &[]));
        assert_eq!(
            body(&create),
            json!({"applicationName": "checkout", "deploymentGroupName": "production",
                "description": note().to_string(), "revision": {"revisionType": "S3",
                    "s3Location": {"bucket": "bundles", "key": format!("checkout/{HEX}.zip"), "bundleType": "zip"}}})
        );
        let created = heard(200, &json!({"deploymentId": "d-7"}));
        assert_eq!(done(api.start(place, &order(&[]), &[created])), "d-7");
        let answered = |kind: &str| {
            let error = heard(400, &json!({"__type": kind, "message": "canary-51"}));
            api.start(place, &order(&[]), &[error]).map(|_| ()).unwrap_err()
        };
        assert_eq!(answered("DeploymentGroupDoesNotExistException"), Trouble::Gone);
        for passing in
            ["DeploymentLimitExceededException", "ThrottlingException", "ExpiredTokenException"]
        {
            assert!(
                matches!(answered(passing), Trouble::Unreachable(why) if why.contains(passing))
            );
        }
        for refused in
            ["com.amazonaws.codedeploy#RevisionDoesNotExistException", "AccessDeniedException"]
        {
            assert!(matches!(answered(refused), Trouble::Refused(why) if !why.contains("canary")));
        }
        let run = Run { id: "d-7".into(), status: Status::Paused, image: None, note: None };
        let stop = api.stop(place, &run).unwrap();
        assert_eq!(body(&stop), json!({"deploymentId": "d-7", "autoRollbackEnabled": false}));
    }
}
