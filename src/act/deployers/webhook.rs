//! Whoever deploys and speaks this protocol: everything at one URL, beneath the service's own, named like the target.
//! All requests are signed by the rules of Standard Webhooks, as those of a judge are.
//!
//! `GET` tells the newest runs, the newest first: `{"runs": [{"id", "status", "image", "plan", "release", "intent",
//! "epoch", "detail"}]}`. `POST` starts one, with the same fields in `data`, and `Idempotency-Key`: what was started
//! under a key is not started again. It is refused (409) to an `epoch` lower than the newest run's, and takes the place
//! of those that `insteadOf` names, by their keys. What it answers beside its status is `{"id"}`.

use reqwest::Url;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{
    Api, Heard, Order, Outgoing, Place, RUNS, Run, Step, Trouble, Which, ask, failed, refused,
    trouble, unheard,
};
use crate::{act::note::Note, decide::event::Status, ids::hex, model::ring::Artifact};

/// A service that speaks the protocol above.
pub(super) struct Webhook;

#[derive(Deserialize)]
struct Told {
    runs: Vec<Said>,
}

#[derive(Deserialize)]
struct Said {
    id: String,
    status: String,
    image: Option<String>,
    plan: Option<String>,
    release: Option<String>,
    intent: Option<String>,
    epoch: Option<u64>,
    detail: Option<String>,
}

#[derive(Deserialize)]
struct Started {
    id: String,
}

impl From<Said> for Run {
    fn from(said: Said) -> Self {
        let Said { id, status, image, plan, release, intent, epoch, detail } = said;
        let status = match status.as_str() {
            "pending" => Status::Pending,
            "running" => Status::Progressing("it is running".into()),
            "paused" => Status::Paused,
            "succeeded" => Status::Succeeded,
            "failed" => failed("failed", detail.as_deref()),
            other => unheard(other),
        };
        let note = plan.map(|plan| Note { release, intent, epoch, ..Note::of(&plan.into()) });
        Self { id, status, image: image.map(Artifact), note }
    }
}

impl Api for Webhook {
    fn look(
        &self,
        place: Place<'_>,
        which: Which<'_>,
        heard: &[Heard],
    ) -> Result<Step<Vec<Run>>, Trouble> {
        let Some((status, body)) = heard.first() else {
            let look = Outgoing::get(here(place)).header("accept", "application/json");
            return ask(signed(look, &format!("look/{}", place.target.name)));
        };
        if *status != 200 {
            return Err(trouble(*status, None));
        }
        let none = |_| Trouble::Unreachable("the answer is no list of runs".into());
        let Told { runs } = serde_json::from_slice(body).map_err(none)?;
        let mut runs: Vec<Run> = runs.into_iter().take(RUNS).map(Run::from).collect();
        if let Which::One(id) = which {
            runs.retain(|run| run.id == id);
        }
        Ok(Step::Done(runs))
    }

    fn start(
        &self,
        place: Place<'_>,
        order: &Order<'_>,
        heard: &[Heard],
    ) -> Result<Step<String>, Trouble> {
        let Some((status, body)) = heard.first() else {
            let Order { image, note, intent, epoch, instead_of, .. } = order;
            let data = json!({
                "target": place.target.name,
                "image": image,
                "digest": image.digest(),
                "plan": note.plan,
                "release": note.release,
                "intent": intent,
                "epoch": epoch,
                "insteadOf": instead_of,
            });
            let body = json!({"type": "ringward.run", "data": data}).to_string();
            let start = Outgoing::post(here(place), "application/json", body)
                .header("accept", "application/json")
                .header("idempotency-key", *intent)
                .header("ringward-epoch", epoch.to_string());
            return ask(signed(start, intent));
        };
        match status {
            200..=202 => {
                let none = |_| Trouble::Unreachable("the answer names no run".into());
                let Started { id } = serde_json::from_slice(body).map_err(none)?;
                Ok(Step::Done(id))
            }
            409 => Err(Trouble::Refused(format!(
                "is refused by its service ({}): its newest run is of a newer writer",
                refused(409, None)
            ))),
            status => Err(trouble(*status, None)),
        }
    }

    fn stop(&self, _: Place<'_>, _: &Run) -> Option<Outgoing> {
        None
    }
}

fn here(place: Place<'_>) -> Url {
    let mut url = place.base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().push(&place.target.name);
    }
    url
}

/// A full stop may not be in a message's id, since the signature joins by it.
fn signed(mut outgoing: Outgoing, of: &str) -> Outgoing {
    outgoing.message = Some(format!("run_{}", hex(&Sha256::digest(of)[..16])));
    outgoing
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{super::tests::*, *};

    const BASE: &str = "https://deploy.test/ringward/";

    fn look(status: u16, body: &Value) -> Result<Step<Vec<Run>>, Trouble> {
        let base = Url::parse(BASE).unwrap();
        let place = Place { base: &base, target: &target(webhook(), "desk", "check/out") };
        Webhook.look(place, Which::Newest, &[heard(status, body)])
    }

    fn statuses(words: &[&str]) -> Vec<Status> {
        let runs: Vec<Value> = words
            .iter()
            .map(|word| json!({"id": "1", "status": word, "detail": "no room\u{1b}"}))
            .collect();
        done(look(200, &json!({"runs": runs}))).into_iter().map(|run| run.status).collect()
    }

    #[test]
    fn a_run_is_read_as_it_is_told() {
        let run = json!({"id": "7", "status": "succeeded", "image": IMAGE, "plan": "checkout",
            "release": "checkout@2", "intent": INTENT, "epoch": 7, "more": {}});
        let by_hand = json!({"id": "6", "status": "succeeded", "image": "registry.example/app:1"});
        let runs = done(look(200, &json!({"runs": [run, by_hand]})));
        assert_eq!(
            (runs[0].note.as_ref(), runs[0].image.as_ref()),
            (Some(&note()), Some(&image()))
        );
        assert_eq!(runs[1].note, None);
        let read = statuses(&["pending", "running", "paused", "succeeded", "failed", "thinking"]);
        assert_eq!(read[0], Status::Pending);
        assert!(matches!(read[1], Status::Progressing(_)));
        assert_eq!((&read[2], &read[3]), (&Status::Paused, &Status::Succeeded));
        assert_eq!(read[4], Status::Failed("its run is failed: no room".into()));
        assert!(matches!(&read[5], Status::Unknown(why) if why.contains("thinking")));
    }

    #[test]
    fn what_may_pass_is_tried_again_and_what_will_not_is_refused() {
        assert_eq!(look(404, &json!({})).unwrap_err(), Trouble::Gone);
        for passing in [401, 408, 429, 500, 503] {
            assert!(matches!(look(passing, &json!({})), Err(Trouble::Unreachable(_))), "{passing}");
        }
        assert!(matches!(look(403, &json!({})), Err(Trouble::Refused(_))));
        assert!(matches!(look(200, &json!([])), Err(Trouble::Unreachable(_))));
    }

    #[test]
    fn a_start_carries_all_of_it() {
        let base = Url::parse(BASE).unwrap();
        let target = target(webhook(), "desk", "check/out");
        let place = Place { base: &base, target: &target };
        let start =
            asked(Webhook.start(place, &order(&["checkout@1/eu/corp/1/deploy".into()]), &[]));
        assert_eq!(start.url.as_str(), "https://deploy.test/ringward/check%2Fout");
        assert!(start.headers.contains(&("idempotency-key", INTENT.into())));
        assert!(start.headers.contains(&("ringward-epoch", "7".into())));
        assert!(start.message.is_some_and(|id| !id.contains('.')));
        let body: Value = serde_json::from_str(&start.body.unwrap()).unwrap();
        let data = json!({"target": "check/out", "image": IMAGE, "digest": image().digest(), "plan": "checkout",
            "release": "checkout@2", "intent": INTENT, "epoch": 7, "insteadOf": ["checkout@1/eu/corp/1/deploy"]});
        assert_eq!(body, json!({"type": "ringward.run", "data": data}));
        let answered = |status, body| Webhook.start(place, &order(&[]), &[heard(status, &body)]);
        assert_eq!(done(answered(202, json!({"id": "7"}))), "7");
        let Err(Trouble::Refused(why)) = answered(409, json!({"why": "canary-31ab"})) else {
            panic!()
        };
        assert!(why.contains("newer writer") && !why.contains("canary"), "{why}");
        assert!(matches!(answered(503, json!({})), Err(Trouble::Unreachable(_))));
    }
}
