//! What a controller and a kubelet write about one pod.

use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Replica, State, report::condition, rfc3339};
use crate::ids::hex;
use crate::model::ring::Artifact;

pub(super) fn status(replica: &Replica, before: &Value, wall: Timestamp) -> Value {
    let ready = replica.state == State::Ready;
    let phase = if replica.state == State::Starting { "Pending" } else { "Running" };
    let (answer, why) = if ready { ("True", "") } else { ("False", "ContainersNotReady") };
    let since = before.pointer("/containerStatuses/0/state/running/startedAt").cloned();
    let since = since.unwrap_or_else(|| json!(rfc3339(wall)));
    let state = match replica.state {
        State::Starting => json!({"waiting": {"reason": "ContainerCreating"}}),
        State::Ready => json!({"running": {"startedAt": since}}),
        State::Crashing => json!({"waiting": {
            "reason": "CrashLoopBackOff",
            "message": "back-off 10s restarting failed container",
        }}),
    };
    let containers = replica.images.iter().map(|(name, image)| {
        json!({
            "name": name,
            "image": image,
            // The kubelet knows the image once it has pulled it.
            "imageID": if replica.state == State::Starting { String::new() } else { pulled(image) },
            "ready": ready,
            "started": ready,
            "restartCount": replica.restarts + u32::from(replica.state == State::Crashing),
            "state": state,
        })
    });
    json!({
        "phase": phase,
        "conditions": [condition(before, wall, "Ready", answer, why, "")],
        "containerStatuses": containers.collect::<Value>(),
    })
}

/// The images of a template's containers, each by its container's name.
pub(super) fn images(template: &Value) -> Vec<(String, Artifact)> {
    let containers = template["spec"]["containers"].as_array();
    containers.into_iter().flatten().map(container).collect()
}

fn container(container: &Value) -> (String, Artifact) {
    let text = |field: &str| container[field].as_str().unwrap_or_default().to_owned();
    (text("name"), Artifact(text("image")))
}

/// What a kubelet reports of an image: its repository, pinned.
fn pulled(image: &Artifact) -> String {
    let Artifact(text) = image;
    if image.digest().is_some() {
        return text.clone();
    }
    // What a tag stands for here, as long as nobody moves it.
    let digest = hex(&Sha256::digest(text.as_bytes()));
    let repository = text.rsplit_once(':').map_or(text.as_str(), |(repository, _)| repository);
    format!("{repository}@sha256:{digest}")
}

pub(super) fn hash(template: &Value) -> String {
    format!("{:010x}", short(&template.to_string()) >> 24)
}

pub(super) fn short(text: &str) -> u64 {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(8).fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
}
