//! `argoproj.io/v1alpha1` Rollout, canary or blue-green, with a template of its own or a Deployment's.
//!
//! Its own template's containers are a list that published CRDs leave untyped or atomic, so that they are
//! merged and not applied.

use kube::core::{ApiResource, DynamicObject};
use serde_json::{Value, json};

use super::{
    Edit, Kind, Owner, Progress, Reference, Seen, Standing, Workers,
    fields::{self, Condition},
    resource, template,
};
use crate::{
    decide::event::{Pause, Status},
    model::ring::Artifact,
};

/// The image of one container of a Rollout, or of the Deployment that it takes its template from.
pub(super) struct ArgoRollout {
    pub(super) container: String,
}

impl Kind for ArgoRollout {
    fn resource(&self) -> ApiResource {
        resource("argoproj.io", "v1alpha1", "Rollout", "rollouts")
    }

    fn carrier(&self, rollout: &DynamicObject) -> Result<Option<Reference>, String> {
        let reference = rollout.data.pointer("/spec/workloadRef").filter(|r| r.is_object());
        let Some(reference) = reference else { return Ok(None) };
        let text = |field: &str| reference[field].as_str().unwrap_or_default();
        if (text("apiVersion"), text("kind")) != ("apps/v1", "Deployment") {
            return Err(format!(
                "takes its template from a {}, which ringward does not drive: let its `workloadRef` name \
                 a Deployment",
                text("kind")
            ));
        }
        let name = text("name").to_owned();
        Ok(Some(Reference { resource: resource("apps", "v1", "Deployment", "deployments"), name }))
    }

    fn image(&self, carrier: &DynamicObject) -> Result<Artifact, String> {
        template::image(carrier, &self.container)
    }

    fn edit(&self, seen: &Seen, artifact: &Artifact, _: &str) -> Edit {
        match seen.other {
            None => template::merge(&seen.subject, &self.container, artifact),
            Some(_) => template::apply(&self.container, artifact),
        }
    }

    /// A Rollout that was aborted stays so while its template is the same: another attempt at the same
    /// image is its retry.
    fn nudge(&self, seen: &Seen, artifact: &Artifact) -> Option<Value> {
        let same = self.image(seen.carrier()).is_ok_and(|image| &image == artifact);
        let aborted = fields::yes(&seen.subject, "/status/abort");
        (same && aborted).then(|| json!({"status": {"abort": false}}))
    }

    fn progress(&self, seen: &Seen) -> Progress {
        let rollout = &seen.subject;
        if let Some(why) = fields::deleted(rollout, "Rollout") {
            return Progress::unknown(why);
        }
        if fields::yes(rollout, "/spec/paused") {
            return Progress::Other(Status::Paused);
        }
        if !is_taken_up(seen) {
            return Progress::Other(Status::Pending);
        }
        let invalid =
            Condition::of(rollout, "InvalidSpec").filter(|condition| condition.is("True"));
        if let Some(invalid) = invalid {
            return Progress::Failed(format!("its specification is invalid: {}", invalid.words()));
        }
        let message = fields::text(rollout, "/status/message").unwrap_or_default();
        if fields::yes(rollout, "/status/abort") {
            return Progress::Failed(aborted(rollout, message));
        }
        match stop(rollout) {
            Some(Stop { ends: None, .. }) => return Progress::Other(Status::Paused),
            Some(Stop { at, ends: Some(ends), .. }) => {
                return Progress::progressing(format!("paused at {at}, {ends}"));
            }
            None => {}
        }
        if fields::yes(rollout, "/status/controllerPause") {
            return Progress::progressing("its pause has ended, and it has yet to go on");
        }
        if template::replicas(rollout) == 0 {
            return Progress::progressing("it is scaled to 0 replicas, so nothing runs");
        }
        let said = |otherwise: &str| match message {
            "" => otherwise.to_owned(),
            message => message.to_owned(),
        };
        match fields::text(rollout, "/status/phase").unwrap_or_default() {
            "Healthy" => {
                let (stable, current) = hashes(rollout);
                match stable.is_some() && stable == current {
                    true => Progress::AllReady,
                    false => Progress::progressing("its new pods are not the stable ones yet"),
                }
            }
            "Paused" => Progress::Other(Status::Paused),
            "Progressing" | "" => Progress::NotReady(said("its controller moves it on")),
            // What timed out can recover; the ring's own deadline says for how long.
            "Degraded" => Progress::NotReady(format!("degraded: {}", said("without a word why"))),
            other => Progress::unknown(format!("its phase `{other}` is none that ringward knows")),
        }
    }

    /// What `kubectl argo rollouts promote` ends. Who says `spec.paused` has to take it back.
    fn pause(&self, seen: &Seen) -> Option<Standing> {
        let rollout = &seen.subject;
        let over = fields::yes(rollout, "/spec/paused") || fields::yes(rollout, "/status/abort");
        if over || rollout.metadata.deletion_timestamp.is_some() || !is_taken_up(seen) {
            return None;
        }
        let Stop { at, id, .. } = stop(rollout).filter(|stop| stop.ends.is_none())?;
        let word = json!({"status": {"pauseConditions": null}});
        Some(Standing { pause: Pause { id, at }, word })
    }

    fn revision(&self, seen: &Seen) -> Option<String> {
        let hash = fields::text(&seen.subject, "/status/currentPodHash")?;
        // A restart replaces pods and keeps the hash.
        Some(match fields::text(&seen.subject, "/status/restartedAt") {
            Some(at) => format!("{hash}, restarted at {at}"),
            None => hash.into(),
        })
    }

    fn workers(&self, seen: &Seen) -> Option<Workers> {
        let rollout = &seen.subject;
        let own = rollout.data.pointer("/spec/selector").is_some_and(Value::is_object);
        Some(Workers {
            // A Rollout without a selector takes the Deployment's.
            selector: template::selector(if own { rollout } else { seen.carrier() }),
            container: self.container.clone(),
            wanted: template::replicas(rollout),
            owner: Owner::ReplicaSet {
                of: rollout.metadata.name.clone()?,
                label: "rollouts-pod-template-hash",
                // Blue pods stay for a while after the switch to green ones.
                hash: hashes(rollout).1.map(Into::into),
            },
        })
    }
}

/// The hashes of the pods that are stable, and of those that the template makes.
fn hashes(rollout: &DynamicObject) -> (Option<&str>, Option<&str>) {
    let hash = |field: &str| fields::text(rollout, field).filter(|hash| !hash.is_empty());
    (hash("/status/stableRS"), hash("/status/currentPodHash"))
}

/// A pause of its controller's own.
struct Stop {
    /// Of this template, at this step, since then.
    id: String,
    /// Where, in words.
    at: String,
    /// How it ends by itself, if it does.
    ends: Option<String>,
}

/// Where its controller has stopped: at a step, before a switch, or because an analysis came to no conclusion.
fn stop(rollout: &DynamicObject) -> Option<Stop> {
    let pauses = rollout.data.pointer("/status/pauseConditions")?.as_array()?;
    let reason = |pause: &Value| pause["reason"].as_str().unwrap_or_default().to_owned();
    let first = reason(pauses.first()?);
    let alone = pauses.iter().all(|pause| reason(pause) == first);
    let index = fields::number(rollout, "/status/currentStepIndex");
    let steps = rollout.data.pointer("/spec/strategy/canary/steps").and_then(Value::as_array);
    let step = index.and_then(|index| steps?.get(usize::try_from(index).ok()?));
    let at = match (first.as_str(), index, steps) {
        ("CanaryPauseStep", Some(index), Some(steps)) => {
            format!("step {} of {}", index + 1, steps.len())
        }
        ("BlueGreenPause", ..) => "the switch of its active Service".into(),
        ("InconclusiveAnalysisRun", ..) => "an analysis that came to no conclusion".into(),
        (other, ..) => format!("`{other}`"),
    };
    let after = match first.as_str() {
        "CanaryPauseStep" => step.map(|step| &step["pause"]["duration"]),
        "BlueGreenPause" => rollout.data.pointer("/spec/strategy/blueGreen/autoPromotionSeconds"),
        _ => None,
    };
    let ends = after.filter(|_| alone).and_then(|after| match after {
        Value::Number(seconds) if seconds.as_u64() != Some(0) => Some(format!("for {seconds} s")),
        Value::String(span) if !span.is_empty() => Some(format!("for {span}")),
        Value::Number(_)
        | Value::String(_)
        | Value::Null
        | Value::Bool(_)
        | Value::Array(_)
        | Value::Object(_) => None,
    });
    let since = pauses.iter().map(|pause| {
        format!("{}@{}", reason(pause), pause["startTime"].as_str().unwrap_or_default())
    });
    let since: Vec<String> = since.collect();
    let hash = hashes(rollout).1.unwrap_or_default();
    let index = index.map_or_else(|| "-".into(), |index| index.to_string());
    Some(Stop { id: format!("{hash}/{index}/{}", since.join(",")), at, ends })
}

/// Whether its controller has looked at the specification as it is, and at the Deployment's.
fn is_taken_up(seen: &Seen) -> bool {
    let rollout = &seen.subject;
    // Generations are texts here.
    let is = |text: Option<&str>, generation: Option<i64>| {
        text.and_then(|text| text.parse::<i64>().ok()).is_some_and(|seen| Some(seen) == generation)
    };
    let observed =
        is(fields::text(rollout, "/status/observedGeneration"), rollout.metadata.generation);
    observed
        && seen.other.as_ref().is_none_or(|deployment| {
            let generation = deployment.metadata.generation;
            is(fields::annotation(rollout, "rollout.argoproj.io/workload-generation"), generation)
                && is(fields::text(rollout, "/status/workloadObservedGeneration"), generation)
        })
}

/// Why a Rollout was aborted, with what its analysis says: which runs, of the step or of the background, or
/// before and after the promotion.
fn aborted(rollout: &DynamicObject, message: &str) -> String {
    let runs = [
        "/status/canary/currentStepAnalysisRunStatus",
        "/status/canary/currentBackgroundAnalysisRunStatus",
        "/status/blueGreen/prePromotionAnalysisRunStatus",
        "/status/blueGreen/postPromotionAnalysisRunStatus",
    ];
    let runs = runs.iter().filter_map(|run| rollout.data.pointer(run));
    let said = runs.filter(|run| !matches!(run["status"].as_str(), Some("Successful" | "Running")));
    let mut words = match message {
        "" => "aborted".to_owned(),
        message => format!("aborted: {message}"),
    };
    for run in said {
        let text = |field: &str| run[field].as_str().unwrap_or_default();
        let why = text("message");
        if !why.is_empty() && !words.contains(why) {
            words.push_str(&format!("; analysis {} {}: {why}", text("name"), text("status")));
        }
    }
    words
}

#[cfg(test)]
mod tests;
