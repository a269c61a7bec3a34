//! Harness, by its NextGen API: an execution of a pipeline, whose runtime inputs bring the image and the note.
//!
//! A pipeline takes two variables as runtime inputs (`<+input>`): the one that its target names for the image, and
//! `ringward` for the note. They are read back as the inputs that an execution was started with, which is a request for
//! each. Harness knows no idempotency key: a start whose answer was lost is looked for before there is another.

use reqwest::Url;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Api, Heard, Order, Outgoing, Place, Run, Step, Trouble, Which, ask, failed, trouble, unheard,
};
use crate::{act::note::Note, decide::event::Status, model::ring::Artifact};

/// A Harness, for a pipeline that takes the image by that input.
pub(super) struct Harness {
    pub(super) account: String,
    pub(super) org: String,
    pub(super) input: String,
}

/// The input that carries the note.
const NOTE: &str = "ringward";
/// The executions that are looked at, each with its inputs.
const EXECUTIONS: usize = 6;

/// What every answer is wrapped in.
#[derive(Deserialize)]
struct Wrapped<T> {
    data: T,
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    content: Vec<Summary>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Detail {
    pipeline_execution_summary: Summary,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    plan_execution_id: String,
    status: String,
    failure_info: Option<FailureInfo>,
}

#[derive(Deserialize)]
struct FailureInfo {
    message: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Inputs {
    input_set_yaml: Option<String>,
}

/// Runtime inputs, as a pipeline's YAML has them.
#[derive(Deserialize)]
struct Given {
    pipeline: Pipeline,
}

#[derive(Deserialize)]
struct Pipeline {
    #[serde(default)]
    variables: Vec<Variable>,
}

#[derive(Deserialize)]
struct Variable {
    name: String,
    value: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Started {
    plan_execution: PlanExecution,
}

#[derive(Deserialize)]
struct PlanExecution {
    uuid: String,
}

impl Harness {
    fn at(&self, place: Place<'_>, names: &[&str], more: &[(&str, &str)]) -> Url {
        let mut url = place.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["pipeline", "api"]).extend(names);
        }
        url.query_pairs_mut()
            .append_pair("accountIdentifier", &self.account)
            .append_pair("orgIdentifier", &self.org)
            .append_pair("projectIdentifier", &place.target.namespace)
            .extend_pairs(more);
        url
    }

    fn run(&self, summary: Summary, inputs: &Heard) -> Result<Run, Trouble> {
        let Summary { plan_execution_id: id, status: word, failure_info } = summary;
        let status = match word.as_str() {
            "NotStarted"
            | "Queued"
            | "QueuedLicenseLimitReached"
            | "QueuedExecutionConcurrencyReached"
            | "QueuedGlobalInfraCapacityReached" => Status::Pending,
            "Running" | "AsyncWaiting" | "TaskWaiting" | "TimedWaiting" | "ResourceWaiting"
            | "WaitStepRunning" | "UploadWaiting" | "Pausing" | "Discontinuing" => {
                Status::Progressing(word)
            }
            "ApprovalWaiting" | "InterventionWaiting" | "InputWaiting" | "Paused" => Status::Paused,
            "Success" => Status::Succeeded,
            "Failed" | "Errored" | "Aborted" | "Expired" | "ApprovalRejected"
            | "AbortedByFreeze" => {
                failed(&word, failure_info.and_then(|info| info.message).as_deref())
            }
            other => unheard(other),
        };
        let Inputs { input_set_yaml } = read(inputs)?;
        let given = input_set_yaml.and_then(|text| serde_yaml::from_str::<Given>(&text).ok());
        let variables = given.map(|given| given.pipeline.variables).unwrap_or_default();
        let said =
            |name: &str| variables.iter().find(|variable| variable.name == name)?.value.as_deref();
        let image = said(&self.input).map(|image| Artifact(image.to_owned()));
        Ok(Run { id, status, image, note: said(NOTE).and_then(Note::read) })
    }
}

impl Api for Harness {
    fn look(
        &self,
        place: Place<'_>,
        which: Which<'_>,
        heard: &[Heard],
    ) -> Result<Step<Vec<Run>>, Trouble> {
        let pipeline = place.target.name.as_str();
        let Some((first, more)) = heard.split_first() else {
            let size = if matches!(which, Which::Last) { 1 } else { EXECUTIONS };
            return ask(match which {
                Which::One(id) => get(self.at(place, &["pipelines", "execution", "v2", id], &[])),
                Which::Newest | Which::Last => {
                    let page = [
                        ("pipelineIdentifier", pipeline),
                        ("page", "0"),
                        ("size", &size.to_string()),
                        ("sort", "startTs,DESC"),
                    ];
                    let url = self.at(place, &["pipelines", "execution", "summary"], &page);
                    let filter = json!({"filterType": "PipelineExecution"});
                    Outgoing::post(url, "application/json", filter.to_string())
                }
            });
        };
        let summaries = match which {
            Which::One(_) => vec![read::<Detail>(first)?.pipeline_execution_summary],
            Which::Newest | Which::Last => read::<Page>(first)?.content,
        };
        if summaries.is_empty() {
            // Of a pipeline that is not there, none are listed.
            return match more.first() {
                None => {
                    let url = self.at(place, &["pipelines", "summary", pipeline], &[]);
                    ask(get(url))
                }
                Some(there) => read::<Value>(there).map(|_| Step::Done(Vec::new())),
            };
        }
        if let Some(next) = summaries.get(more.len()) {
            let names = ["pipelines", "execution", next.plan_execution_id.as_str(), "inputsetV2"];
            return ask(get(self.at(place, &names, &[])));
        }
        let runs =
            summaries.into_iter().zip(more).map(|(summary, inputs)| self.run(summary, inputs));
        Ok(Step::Done(runs.collect::<Result<_, _>>()?))
    }

    fn start(
        &self,
        place: Place<'_>,
        order: &Order<'_>,
        heard: &[Heard],
    ) -> Result<Step<String>, Trouble> {
        let Some(started) = heard.first() else {
            let pipeline = place.target.name.as_str();
            let note = order.note.to_string();
            let inputs = json!({"pipeline": {"identifier": pipeline, "variables": [
                {"name": self.input, "type": "String", "value": order.image},
                {"name": NOTE, "type": "String", "value": note},
            ]}});
            let notes = [("notesForPipelineExecution", note.as_str())];
            let url = self.at(place, &["pipeline", "execute", pipeline], &notes);
            // JSON is YAML.
            return ask(Outgoing::post(url, "application/yaml", inputs.to_string()));
        };
        let Started { plan_execution } = read(started)?;
        Ok(Step::Done(plan_execution.uuid))
    }

    fn stop(&self, place: Place<'_>, run: &Run) -> Option<Outgoing> {
        let names = ["pipeline", "execute", "interrupt", run.id.as_str()];
        let url = self.at(place, &names, &[("interruptType", "AbortAll")]);
        Some(Outgoing::put(url, "application/json", String::new()))
    }
}

fn get(url: Url) -> Outgoing {
    Outgoing::get(url).header("accept", "application/json")
}

/// What was answered, out of what it is wrapped in.
fn read<T: for<'b> Deserialize<'b>>((status, body): &Heard) -> Result<T, Trouble> {
    #[derive(Deserialize)]
    struct Error {
        code: Option<String>,
    }
    if *status == 200 {
        let none = |_| Trouble::Unreachable("the answer is none of Harness'".into());
        return serde_json::from_slice(body).map(|Wrapped { data }| data).map_err(none);
    }
    let code = serde_json::from_slice(body).ok().and_then(|Error { code }| code);
    match code.as_deref() {
        Some("ENTITY_NOT_FOUND" | "RESOURCE_NOT_FOUND_EXCEPTION") => Err(Trouble::Gone),
        word => Err(trouble(*status, word)),
    }
}

#[cfg(test)]
mod tests {
    use reqwest::Method;

    use super::{super::tests::*, *};
    use crate::model::ring::{Target, TargetKind};

    const AT: &str = "https://app.harness.test/gateway";
    const WHERE: &str = "accountIdentifier=acc&orgIdentifier=default&projectIdentifier=shop";

    fn harness() -> (Harness, Url, Target) {
        let (org, input) = ("default".to_owned(), "image".to_owned());
        let api = Harness { account: "acc".into(), org: org.clone(), input: input.clone() };
        let kind = TargetKind::Harness { service: "harness".into(), org, input };
        (api, Url::parse(AT).unwrap(), target(kind, "shop", "deploy_checkout"))
    }

    fn summary(id: &str, status: &str) -> Value {
        json!({"pipelineIdentifier": "deploy_checkout", "planExecutionId": id, "name": "Deploy", "status": status,
            "startTs": 1_762_070_400_000_u64, "failureInfo": {"message": "Step\nfailed", "failureTypeList": []}})
    }

    fn wrapped(data: &Value) -> Heard {
        heard(
            200,
            &json!({"status": "SUCCESS", "data": data, "metaData": null, "correlationId": "c"}),
        )
    }

    fn inputs(image: &str, note: Option<&str>) -> Heard {
        let mut yaml = format!(
            "pipeline:\n  identifier: deploy_checkout\n  variables:\n    - name: image\n      type: String\n      value: {image}\n"
        );
        if let Some(note) = note {
            yaml.push_str(&format!(
                "    - name: ringward\n      type: String\n      value: {note}\n"
            ));
        }
        wrapped(&json!({"inputSetYaml": yaml, "inputSetTemplateYaml": "pipeline: {}"}))
    }

    #[test]
    fn executions_are_read_with_the_inputs_of_each() {
        let (api, base, target) = harness();
        let look =
            |which, heard: &[Heard]| api.look(Place { base: &base, target: &target }, which, heard);
        let list = asked(look(Which::Newest, &[]));
        assert_eq!(
            list.url.as_str(),
            format!(
                "{AT}/pipeline/api/pipelines/execution/summary?{WHERE}&pipelineIdentifier=deploy_checkout&page=0&size=6\
                 &sort=startTs%2CDESC"
            )
        );
        let page = wrapped(&json!({"content": [summary("b", "Running"), summary("a", "Success")]}));
        let next = asked(look(Which::Newest, std::slice::from_ref(&page)));
        assert_eq!(
            next.url.as_str(),
            format!("{AT}/pipeline/api/pipelines/execution/b/inputsetV2?{WHERE}")
        );
        let ours = inputs(IMAGE, Some(&note().to_string()));
        let next = asked(look(Which::Newest, &[page.clone(), ours.clone()]));
        assert!(next.url.path().ends_with("/execution/a/inputsetV2"));
        let runs = done(look(Which::Newest, &[page, ours.clone(), inputs("app:1", None)]));
        assert_eq!(
            (runs[0].note.as_ref(), runs[0].image.as_ref()),
            (Some(&note()), Some(&image()))
        );
        assert_eq!((&runs[1].note, &runs[1].image), (&None, &Some(Artifact("app:1".into()))));
        let one = wrapped(&json!({"pipelineExecutionSummary": summary("b", "Success")}));
        assert!(asked(look(Which::One("b"), &[])).url.path().ends_with("/execution/v2/b"));
        assert_eq!(done(look(Which::One("b"), &[one, ours]))[0].status, Status::Succeeded);
    }

    #[test]
    fn a_pipeline_without_executions_is_one_that_is_there() {
        let (api, base, target) = harness();
        let look =
            |heard: &[Heard]| api.look(Place { base: &base, target: &target }, Which::Last, heard);
        let none = wrapped(&json!({"content": [], "totalPages": 0}));
        let ask = asked(look(std::slice::from_ref(&none)));
        assert!(ask.url.path().ends_with("/pipelines/summary/deploy_checkout"));
        assert_eq!(done(look(&[none.clone(), wrapped(&json!({"name": "x"}))])), []);
        for (status, code) in [(404, "ENTITY_NOT_FOUND"), (400, "RESOURCE_NOT_FOUND_EXCEPTION")] {
            let gone = json!({"status": "ERROR", "code": code, "message": "canary-51"});
            assert_eq!(look(&[none.clone(), heard(status, &gone)]).unwrap_err(), Trouble::Gone);
        }
    }

    #[test]
    fn every_status_is_what_it_says() {
        let (api, ..) = harness();
        let read = |status: &str| {
            let summary = serde_json::from_value(summary("a", status)).unwrap();
            api.run(summary, &inputs(IMAGE, None)).unwrap().status
        };
        assert_eq!((read("NotStarted"), read("Queued")), (Status::Pending, Status::Pending));
        for goes_on in ["Running", "AsyncWaiting", "ResourceWaiting", "Discontinuing"] {
            assert!(matches!(read(goes_on), Status::Progressing(_)), "{goes_on}");
        }
        for waits in ["ApprovalWaiting", "InterventionWaiting", "InputWaiting", "Paused"] {
            assert_eq!(read(waits), Status::Paused, "{waits}");
        }
        assert_eq!(read("Success"), Status::Succeeded);
        assert_eq!(read("Failed"), Status::Failed("its run is Failed: Step failed".into()));
        for over in ["Errored", "Aborted", "Expired", "ApprovalRejected", "AbortedByFreeze"] {
            assert!(matches!(read(over), Status::Failed(_)), "{over}");
        }
        for odd in ["IgnoreFailed", "Suspended", "Skipped", "New"] {
            assert!(matches!(read(odd), Status::Unknown(_)), "{odd}");
        }
    }

    #[test]
    fn an_execution_is_started_with_image_and_note() {
        let (api, base, target) = harness();
        let place = Place { base: &base, target: &target };
        let start = asked(api.start(place, &order(&[]), &[]));
        assert!(
            start.url.path().ends_with("/gateway/pipeline/api/pipeline/execute/deploy_checkout")
        );
        assert!(start.url.query().unwrap().contains("notesForPipelineExecution=ringward.dev"));
        let body: Value = serde_json::from_str(&start.body.unwrap()).unwrap();
        assert_eq!(body["pipeline"]["identifier"], "deploy_checkout");
        assert_eq!(
            body["pipeline"]["variables"],
            json!([{"name": "image", "type": "String", "value": IMAGE},
                {"name": "ringward", "type": "String", "value": note().to_string()}])
        );
        let started = wrapped(&json!({"planExecution": {"uuid": "x7", "status": "RUNNING"}}));
        assert_eq!(done(api.start(place, &order(&[]), &[started])), "x7");
        let answered = |status, code: &str| {
            let error = json!({"status": "ERROR", "code": code, "message": "canary-51"});
            api.start(place, &order(&[]), &[heard(status, &error)]).map(|_| ()).unwrap_err()
        };
        assert!(matches!(answered(429, "TOO_MANY_REQUESTS"), Trouble::Unreachable(_)));
        let Trouble::Refused(why) = answered(400, "INVALID_REQUEST") else { panic!() };
        assert!(why.contains("INVALID_REQUEST") && !why.contains("canary"), "{why}");
        let run = Run { id: "x7".into(), status: Status::Paused, image: None, note: None };
        let stop = api.stop(place, &run).unwrap();
        assert_eq!(stop.method, Method::PUT);
        assert!(stop.url.path().ends_with("/pipeline/execute/interrupt/x7"));
        assert!(stop.url.query().unwrap().ends_with("interruptType=AbortAll"));
    }
}
