//! CDEvents 0.5.1 as CloudEvents 1.0, in structured mode: a release is a pipeline run, a release on a ring a
//! task run of it, a cluster an environment that a service is deployed to.
//!
//! Facts of that version: the specification's is `context.specversion`, a subject has no type, and links are
//! `uri`s. <https://github.com/cdevents/spec/tree/v0.5.1>

use jiff::Timestamp;
use reqwest::Url;
use serde_json::{Value, json};

use super::Told;
use crate::{
    act::metrics::question::Outgoing,
    model::{notify::Topic, ring::Artifact},
};

const SPECIFICATION: &str = "0.5.1";

/// What it comes from, as a URI reference.
const SOURCE: &str = "/ringward";

/// The requests, none where there is no CDEvent for what is told.
pub(super) fn requests(told: &Told, url: &Url) -> Vec<Outgoing> {
    let request = |event: Value| {
        Outgoing::post(url.clone(), "application/cloudevents+json", event.to_string())
    };
    let events = events(told);
    let many = events.len() > 1;
    let numbered = events.into_iter().zip(1..).map(|((kind, subject, content), n)| {
        let id = if many { format!("{}-{n}", told.id) } else { told.id.clone() };
        wrapped(&id, kind, told.at, &subject, content)
    });
    numbered.map(request).collect()
}

/// Kind, subject and content of each.
fn events(told: &Told) -> Vec<(&'static str, String, Value)> {
    let Some(release) = &told.release else { return Vec::new() };
    let plan = release.plan.to_string();
    let uri = told.link.clone().unwrap_or_else(|| format!("urn:ringward:{release}"));
    let run = || json!({"pipelineName": plan, "uri": uri});
    let task = || {
        let ring = told.ring.as_ref().map(ToString::to_string).unwrap_or_default();
        let id = format!("{release}/{ring}/{}", told.attempt);
        let content = json!({
            "taskName": ring,
            "uri": uri,
            "pipelineRun": {"id": release, "source": SOURCE},
        });
        (id, content)
    };
    let with = |mut content: Value, outcome: &str| {
        content["outcome"] = outcome.into();
        if outcome != "success" {
            content["errors"] = told.sentence().into();
        }
        content
    };
    let environment = || {
        let place = told.cluster.as_ref().map(ToString::to_string);
        let place = place.or_else(|| told.ring.as_ref().map(ToString::to_string));
        json!({"id": place.unwrap_or_else(|| plan.clone()), "source": SOURCE})
    };
    let service = |kind: &'static str| {
        // It says what runs there, or nothing.
        let artifact = told.artifact.iter().map(purl);
        let content =
            artifact.map(|artifact| json!({"environment": environment(), "artifactId": artifact}));
        content.map(|content| (kind, plan.clone(), content)).collect()
    };
    let incident = || {
        let mut content = json!({
            "description": told.sentence(),
            "environment": environment(),
            "service": {"id": plan, "source": SOURCE},
        });
        if let Some(artifact) = &told.artifact {
            content["artifactId"] = purl(artifact).into();
        }
        // One of each cluster: several of a ring may be stuck.
        let cluster = told.cluster.as_ref().map(|cluster| format!("/{cluster}"));
        let id = format!("{}{}/{}", task().0, cluster.unwrap_or_default(), told.topic);
        ("dev.cdevents.incident.detected.0.3.0", id, content)
    };
    match told.topic {
        Topic::Submitted => {
            vec![("dev.cdevents.pipelinerun.started.0.3.0", release.to_string(), run())]
        }
        Topic::Succeeded => vec![(
            "dev.cdevents.pipelinerun.finished.0.3.0",
            release.to_string(),
            with(run(), "success"),
        )],
        Topic::Aborted if told.ring.is_none() => vec![(
            "dev.cdevents.pipelinerun.finished.0.3.0",
            release.to_string(),
            with(run(), "cancel"),
        )],
        Topic::Started => {
            let (id, content) = task();
            vec![("dev.cdevents.taskrun.started.0.3.0", id, content)]
        }
        Topic::Passed => {
            let (id, content) = task();
            vec![("dev.cdevents.taskrun.finished.0.3.0", id, with(content, "success"))]
        }
        Topic::Failed => {
            let (id, content) = task();
            let finished = ("dev.cdevents.taskrun.finished.0.3.0", id, with(content, "failure"));
            vec![finished, incident()]
        }
        Topic::Stuck => vec![incident()],
        Topic::Deployed if told.replaced => service("dev.cdevents.service.upgraded.0.3.0"),
        Topic::Deployed => service("dev.cdevents.service.deployed.0.3.0"),
        Topic::Restored => service("dev.cdevents.service.rolledback.0.3.0"),
        Topic::RollingBack
        | Topic::RolledBack
        | Topic::Held
        | Topic::ApprovalNeeded
        | Topic::Approved
        | Topic::Rejected
        | Topic::Retried
        | Topic::Aborted
        | Topic::Superseded
        | Topic::Paused
        | Topic::Resumed
        | Topic::Frozen
        | Topic::Lifted
        | Topic::PlanInError
        | Topic::SourceRefused
        | Topic::Refused
        | Topic::Skipped => Vec::new(),
    }
}

fn wrapped(id: &str, kind: &str, at: Timestamp, subject: &str, content: Value) -> Value {
    json!({
        "specversion": "1.0",
        "id": id,
        "source": SOURCE,
        "type": kind,
        "subject": subject,
        "time": at.to_string(),
        "datacontenttype": "application/json",
        "data": {
            "context": {
                "specversion": SPECIFICATION,
                "id": id,
                "source": SOURCE,
                "type": kind,
                "timestamp": at.to_string(),
            },
            "subject": {"id": subject, "source": SOURCE, "content": content},
        },
    })
}

/// An image as a package URL: `pkg:oci/NAME@DIGEST?repository_url=WHERE`.
fn purl(artifact: &Artifact) -> String {
    let (place, digest) = match artifact.0.rsplit_once('@') {
        Some((place, digest)) => (place, Some(digest)),
        None => (artifact.0.as_str(), None),
    };
    let name = place.rsplit('/').next().unwrap_or(place);
    let name = name.split(':').next().unwrap_or(name).to_lowercase();
    let digest = digest.map(|digest| format!("@{}", digest.replace(':', "%3A")));
    format!("pkg:oci/{name}{}?repository_url={place}", digest.unwrap_or_default())
}
