//! Spinnaker, by Gate: an execution of a pipeline, whose parameters bring the image and the note.
//!
//! A pipeline takes whatever parameters it is started with. `correlationId` keeps Orca from starting another execution
//! while one of that id runs.

use std::collections::BTreeMap;

use reqwest::Url;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Api, Heard, Order, Outgoing, Place, RUNS, Run, Step, Trouble, Which, ask, failed, trouble,
    unheard,
};
use crate::{act::note::Note, decide::event::Status, model::ring::Artifact};

/// A Spinnaker, for a pipeline that takes the image by that parameter.
pub(super) struct Spinnaker {
    pub(super) parameter: String,
}

/// The parameter that carries the note.
const NOTE: &str = "ringward";

#[derive(Deserialize)]
struct Execution {
    id: String,
    status: String,
    #[serde(default)]
    trigger: Trigger,
}

#[derive(Default, Deserialize)]
struct Trigger {
    #[serde(default)]
    parameters: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct Started {
    /// `/pipelines/ID`.
    #[serde(rename = "ref")]
    at: String,
}

impl Spinnaker {
    fn run(&self, execution: Execution) -> Run {
        let Execution { id, status, trigger } = execution;
        let status = match status.as_str() {
            "NOT_STARTED" | "BUFFERED" => Status::Pending,
            "RUNNING" => Status::Progressing(status),
            "PAUSED" => Status::Paused,
            "SUCCEEDED" => Status::Succeeded,
            "TERMINAL" | "CANCELED" => failed(&status, None),
            other => unheard(other),
        };
        let said = |name: &str| trigger.parameters.get(name).and_then(Value::as_str);
        let image = said(&self.parameter).map(|image| Artifact(image.to_owned()));
        Run { id, status, image, note: said(NOTE).and_then(Note::read) }
    }
}

impl Api for Spinnaker {
    fn look(
        &self,
        place: Place<'_>,
        which: Which<'_>,
        heard: &[Heard],
    ) -> Result<Step<Vec<Run>>, Trouble> {
        let Place { base, target } = place;
        match (which, heard) {
            (Which::One(id), []) => ask(get(beneath(base, &["pipelines", id]))),
            (Which::One(_), [one, ..]) => Ok(Step::Done(vec![self.run(read(one)?)])),
            (Which::Newest | Which::Last, []) => {
                let mut url =
                    beneath(base, &["applications", &target.namespace, "executions", "search"]);
                let runs = if matches!(which, Which::Last) { 1 } else { RUNS };
                url.query_pairs_mut()
                    .append_pair("pipelineName", &target.name)
                    .append_pair("size", &runs.to_string());
                ask(get(url))
            }
            (Which::Newest | Which::Last, [listed, more @ ..]) => {
                let found: Vec<Execution> = read(listed)?;
                match more.first() {
                    // Of a pipeline that is not there, none are found.
                    None if found.is_empty() => {
                        let names =
                            ["applications", &target.namespace, "pipelineConfigs", &target.name];
                        ask(get(beneath(base, &names)))
                    }
                    Some(config) => read::<Value>(config).map(|_| Step::Done(Vec::new())),
                    None => {
                        Ok(Step::Done(found.into_iter().map(|found| self.run(found)).collect()))
                    }
                }
            }
        }
    }

    fn start(
        &self,
        place: Place<'_>,
        order: &Order<'_>,
        heard: &[Heard],
    ) -> Result<Step<String>, Trouble> {
        let Some((status, body)) = heard.first() else {
            let Place { base, target } = place;
            let parameters = BTreeMap::from([
                (self.parameter.as_str(), order.image.0.clone()),
                (NOTE, order.note.to_string()),
            ]);
            let body =
                json!({"type": "manual", "correlationId": order.intent, "parameters": parameters});
            let url = beneath(base, &["pipelines", &target.namespace, &target.name]);
            return ask(Outgoing::post(url, "application/json", body.to_string()));
        };
        if !(200..=202).contains(status) {
            return Err(trouble(*status, None));
        }
        let none = |_| Trouble::Unreachable("the answer names no execution".into());
        let Started { at } = serde_json::from_slice(body).map_err(none)?;
        Ok(Step::Done(at.rsplit('/').next().unwrap_or_default().to_owned()))
    }

    fn stop(&self, place: Place<'_>, run: &Run) -> Option<Outgoing> {
        let mut url = beneath(place.base, &["pipelines", &run.id, "cancel"]);
        url.query_pairs_mut().append_pair("reason", "ringward runs another in its place");
        Some(Outgoing::put(url, "application/json", String::new()))
    }
}

fn beneath(base: &Url, names: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(names);
    }
    url
}

fn get(url: Url) -> Outgoing {
    Outgoing::get(url).header("accept", "application/json")
}

/// What was answered.
fn read<'b, T: Deserialize<'b>>((status, body): &'b Heard) -> Result<T, Trouble> {
    if *status != 200 {
        return Err(trouble(*status, None));
    }
    let none = |_| Trouble::Unreachable("the answer is none of Gate's".into());
    serde_json::from_slice(body).map_err(none)
}

#[cfg(test)]
mod tests {
    use reqwest::Method;

    use super::{super::tests::*, *};
    use crate::model::ring::{Target, TargetKind};

    const AT: &str = "https://gate.test/";

    fn spinnaker() -> (Spinnaker, Url, Target) {
        let api = Spinnaker { parameter: "image".into() };
        let kind = TargetKind::Spinnaker { service: "gate".into(), parameter: "image".into() };
        (api, Url::parse(AT).unwrap(), target(kind, "checkout", "Deploy to production"))
    }

    fn execution(status: &str) -> Value {
        json!({"type": "PIPELINE", "id": "01H", "application": "checkout", "name": "Deploy to production",
            "buildTime": 1_762_070_400_000_u64, "status": status, "stages": [], "trigger": {"type": "manual",
                "user": "release@example.com", "correlationId": INTENT,
                "parameters": {"image": IMAGE, "ringward": note().to_string(), "replicas": 3}}})
    }

    #[test]
    fn executions_are_read_by_their_parameters() {
        let (api, base, target) = spinnaker();
        let look =
            |which, heard: &[Heard]| api.look(Place { base: &base, target: &target }, which, heard);
        let search = asked(look(Which::Newest, &[]));
        assert_eq!(
            search.url.as_str(),
            "https://gate.test/applications/checkout/executions/search?pipelineName=Deploy+to+production&size=20"
        );
        let mut by_hand = execution("SUCCEEDED");
        by_hand["trigger"]["parameters"] = json!({"image": "app:1"});
        let found =
            heard(200, &json!([execution("RUNNING"), by_hand, {"id": "1", "status": "NEW"}]));
        let runs = done(look(Which::Newest, &[found]));
        assert_eq!(
            (runs[0].note.as_ref(), runs[0].image.as_ref()),
            (Some(&note()), Some(&image()))
        );
        assert_eq!((&runs[1].note, &runs[1].image), (&None, &Some(Artifact("app:1".into()))));
        assert_eq!(runs[2].image, None);
        let one = done(look(Which::One("01H"), &[heard(200, &execution("SUCCEEDED"))]));
        assert_eq!(one[0].status, Status::Succeeded);
    }

    #[test]
    fn a_pipeline_without_executions_is_one_that_is_there() {
        let (api, base, target) = spinnaker();
        let look = |heard: &[Heard]| {
            api.look(Place { base: &base, target: &target }, Which::Newest, heard)
        };
        let none = heard(200, &json!([]));
        let ask = asked(look(std::slice::from_ref(&none)));
        assert!(
            ask.url.path().ends_with("/pipelineConfigs/Deploy%20to%20production"),
            "{}",
            ask.url
        );
        assert_eq!(done(look(&[none.clone(), heard(200, &json!({"name": "x"}))])), []);
        let gone = json!({"status": 404, "error": "Not Found", "message": "canary-51"});
        assert_eq!(look(&[none, heard(404, &gone)]).unwrap_err(), Trouble::Gone);
    }

    #[test]
    fn every_status_is_what_it_says() {
        let (api, ..) = spinnaker();
        let read =
            |status: &str| api.run(serde_json::from_value(execution(status)).unwrap()).status;
        assert_eq!((read("NOT_STARTED"), read("BUFFERED")), (Status::Pending, Status::Pending));
        assert!(matches!(read("RUNNING"), Status::Progressing(_)));
        assert_eq!((read("PAUSED"), read("SUCCEEDED")), (Status::Paused, Status::Succeeded));
        assert_eq!(read("TERMINAL"), Status::Failed("its run is TERMINAL".into()));
        assert!(matches!(read("CANCELED"), Status::Failed(_)));
        for odd in ["SUSPENDED", "STOPPED", "SKIPPED", "FAILED_CONTINUE", "REDIRECT", "NEW"] {
            assert!(matches!(read(odd), Status::Unknown(_)), "{odd}");
        }
    }

    #[test]
    fn an_execution_is_started_with_image_and_note() {
        let (api, base, target) = spinnaker();
        let place = Place { base: &base, target: &target };
        let start = asked(api.start(place, &order(&[]), &[]));
        assert_eq!(
            start.url.as_str(),
            "https://gate.test/pipelines/checkout/Deploy%20to%20production"
        );
        let body: Value = serde_json::from_str(&start.body.unwrap()).unwrap();
        assert_eq!(
            body,
            json!({"type": "manual", "correlationId": INTENT,
                "parameters": {"image": IMAGE, "ringward": note().to_string()}})
        );
        let answered = |status, body| api.start(place, &order(&[]), &[heard(status, &body)]);
        assert_eq!(done(answered(202, json!({"ref": "/pipelines/01H"}))), "01H");
        assert_eq!(answered(404, json!({})).map(|_| ()).unwrap_err(), Trouble::Gone);
        assert!(matches!(answered(502, json!({})), Err(Trouble::Unreachable(_))));
        assert!(matches!(answered(400, json!({})), Err(Trouble::Refused(_))));
        let run = api.run(serde_json::from_value(execution("RUNNING")).unwrap());
        let stop = api.stop(place, &run).unwrap();
        assert_eq!((stop.method, stop.url.path()), (Method::PUT, "/pipelines/01H/cancel"));
    }
}
