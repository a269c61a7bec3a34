//! What a Deployment's status says of a rollout: a pure function of the object and its pods.
//!
//! The order of the questions is that of `kubectl rollout status`, which never asks for a pause and
//! never looks at what the pods run; both are asked here, since ready pods of the wrong image are how
//! a rollout looks before it has begun.

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{Deployment, DeploymentCondition, DeploymentStatus},
    core::v1::{ContainerStatus, Pod},
};

use super::{MANAGER, annotation};
use crate::{
    decide::event::{Status, TargetState},
    model::ring::Artifact,
};

/// Whether the status depends on the pods: all replicas are there, or the rollout has failed.
pub(super) fn asks_pods(deployment: &Deployment) -> bool {
    match counted(deployment) {
        Counted::AllReady | Counted::NotReady(_) | Counted::Failed(_) => true,
        Counted::Other(_) => false,
    }
}

/// Whether the pods alone keep it from Succeeded: they may change while the Deployment does not.
pub(super) fn waits_for_pods(deployment: &Deployment, state: &TargetState) -> bool {
    matches!(counted(deployment), Counted::AllReady) && state.status != Status::Succeeded
}

/// The state of the container's rollout. `pods` are those that the Deployment's selector finds; they
/// are looked at where [`asks_pods`] says so.
pub(super) fn read(deployment: &Deployment, container: &str, pods: &[Pod]) -> TargetState {
    let intent = deployment.metadata.annotations.as_ref().and_then(|a| a.get(annotation::INTENT));
    let intent = intent.map(|key| key.as_str().into());
    let Some(image) = image(deployment, container) else {
        let why = format!("the Deployment has no container `{container}` with an image");
        return TargetState { intent, ..TargetState::unknown(why) };
    };
    let annotations = deployment.metadata.annotations.as_ref();
    let revision = annotations.and_then(|a| a.get("deployment.kubernetes.io/revision")).cloned();
    let pods: Vec<&Pod> = pods.iter().filter(|pod| is_of(pod, deployment)).collect();
    let (status, image) = match counted(deployment) {
        Counted::Other(status) => (status, image),
        Counted::NotReady(words) => (Status::Progressing(with_trouble(words, &pods)), image),
        Counted::Failed(words) => (Status::Failed(with_trouble(words, &pods)), image),
        Counted::AllReady => confirm(image, container, wanted(deployment), &pods),
    };
    let ready_since = (status == Status::Succeeded).then(|| ready_since(&pods)).flatten();
    TargetState { status, image: Some(image), intent, revision, ready_since }
}

/// When the last of the pods became ready. A container that restarts and a pod that is replaced become
/// ready later, and one that is gone is missed: where the instant is the same, none of that happened.
fn ready_since(pods: &[&Pod]) -> Option<Timestamp> {
    let ready = |pod: &&Pod| {
        let mut conditions = pod.status.as_ref()?.conditions.iter().flatten();
        let ready = conditions.find(|c| c.type_ == "Ready" && c.status == "True")?;
        ready.last_transition_time.as_ref().map(|at| at.0)
    };
    let all: Option<Vec<Timestamp>> = pods.iter().map(ready).collect();
    all?.into_iter().max()
}

/// The image that the specification names for the container.
pub(super) fn image(deployment: &Deployment, container: &str) -> Option<Artifact> {
    let containers = &deployment.spec.as_ref()?.template.spec.as_ref()?.containers;
    containers.iter().find(|c| c.name == container)?.image.clone().map(Artifact)
}

fn wanted(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// What the Deployment's own figures say.
enum Counted {
    /// The pods can add nothing.
    Other(Status),
    /// All replicas are there, some of them not ready.
    NotReady(String),
    /// Its controller gave up.
    Failed(String),
    /// All replicas are there and ready.
    AllReady,
}

fn counted(deployment: &Deployment) -> Counted {
    let unseen = DeploymentStatus::default();
    let status = deployment.status.as_ref().unwrap_or(&unseen);
    let condition = |kind: &str, value: &str| {
        status.conditions.iter().flatten().find(|c| c.type_ == kind && c.status == value)
    };
    if deployment.metadata.deletion_timestamp.is_some() {
        return Counted::Other(Status::Unknown("the Deployment is being deleted".into()));
    }
    if deployment.spec.as_ref().is_some_and(|spec| spec.paused == Some(true)) {
        return Counted::Other(Status::Paused);
    }
    // A generation that nobody has observed is not yet at work, whatever the figures say.
    if status.observed_generation.unwrap_or(0) < deployment.metadata.generation.unwrap_or(i64::MAX)
    {
        return Counted::Other(Status::Pending);
    }
    let gave_up = condition("Progressing", "False")
        .filter(|c| c.reason.as_deref() == Some(DEADLINE) && !is_of_before(c, deployment));
    if let Some(gave_up) = gave_up {
        let words = gave_up.message.clone().unwrap_or_else(|| DEADLINE.into());
        return Counted::Failed(words);
    }
    let wanted = wanted(deployment);
    let progressing = |words: String| Counted::Other(Status::Progressing(words));
    if wanted == 0 {
        // Nothing that runs is nothing that was seen healthy: a ring must not pass on it.
        return progressing("it is scaled to 0 replicas, so nothing runs".into());
    }
    let updated = status.updated_replicas.unwrap_or(0);
    let total = status.replicas.unwrap_or(0);
    let available = status.available_replicas.unwrap_or(0);
    if updated < wanted {
        let words = format!("{updated} of {wanted} replicas updated");
        return progressing(match condition("ReplicaFailure", "True") {
            Some(failure) => {
                let why = failure.message.as_deref().or(failure.reason.as_deref());
                format!("{words}: {}", why.unwrap_or("replicas cannot be created"))
            }
            None => words,
        });
    }
    if total > updated {
        let old = total - updated;
        return progressing(format!("{updated} of {wanted} replicas updated, {old} old ones left"));
    }
    if available < updated {
        return Counted::NotReady(format!("{available} of {updated} updated replicas available"));
    }
    Counted::AllReady
}

const DEADLINE: &str = "ProgressDeadlineExceeded";

/// Whether the condition was last updated before we wrote.
///
/// A missed deadline outlives the generation that missed it: when a Deployment goes back to a
/// ReplicaSet that it still has, its controller observes the new generation first and clears the
/// condition only once the rollout moves. Taken for news, that would fail every restore.
fn is_of_before(condition: &DeploymentCondition, deployment: &Deployment) -> bool {
    let managers = deployment.metadata.managed_fields.iter().flatten();
    let ours = managers.filter(|entry| entry.manager.as_deref() == Some(MANAGER));
    let written = ours.filter_map(|entry| entry.time.as_ref()).max();
    // Both are in whole seconds, and no deadline is missed in the second in which it begins.
    matches!((&condition.last_update_time, written), (Some(at), Some(written)) if at <= written)
}

/// Whether the pod belongs to a ReplicaSet of the Deployment, is there to stay and has not ended.
///
/// The selector alone would also find pods that somebody else made with the same labels.
fn is_of(pod: &Pod, deployment: &Deployment) -> bool {
    let hash = pod.metadata.labels.as_ref().and_then(|labels| labels.get("pod-template-hash"));
    let (Some(hash), Some(name)) = (hash, &deployment.metadata.name) else { return false };
    let owner = format!("{name}-{hash}");
    let owned = pod.metadata.owner_references.iter().flatten().any(|reference| {
        reference.controller == Some(true)
            && reference.kind == "ReplicaSet"
            && reference.name == owner
    });
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    owned
        && pod.metadata.deletion_timestamp.is_none()
        && !matches!(phase, Some("Failed" | "Succeeded"))
}

/// Compares what the pods run with what the specification names.
fn confirm(image: Artifact, container: &str, wanted: i32, pods: &[&Pod]) -> (Status, Artifact) {
    let progressing = |words: String| Status::Progressing(words);
    if pods.len() < usize::try_from(wanted).unwrap_or(0) {
        let words = format!("{} of {wanted} pods found", pods.len());
        return (progressing(words), image);
    }
    let mut ids = Vec::with_capacity(pods.len());
    for pod in pods {
        match container_of(pod, container).map(|c| c.image_id.as_str()) {
            None | Some("") => {
                let words = format!("pod {} does not report its image id yet", name(pod));
                return (progressing(words), image);
            }
            Some(id) => ids.push((name(pod), Artifact(id.into()))),
        }
    }
    let Some(pinned) = image.digest() else { return derive(image, &ids) };
    let other = ids.iter().find(|(_, id)| id.digest() != Some(pinned));
    let status = match other {
        None => Status::Succeeded,
        Some((pod, id)) => progressing(format!("pod {pod} runs {id}, which is not {pinned}")),
    };
    (status, image)
}

/// Pins an image that is named by its tag to the digest that all pods run. A tag may have been moved
/// while pods were started: then they disagree, and it is no one thing that runs.
fn derive(image: Artifact, ids: &[(&str, Artifact)]) -> (Status, Artifact) {
    let digest = |id: &(&str, Artifact)| id.1.digest().map(str::to_owned);
    let Some(first) = ids.first() else { return (Status::Succeeded, image) };
    if ids.iter().any(|id| digest(id) != digest(first)) {
        let words = format!("its pods run different contents of {image}");
        return (Status::Progressing(words), image);
    }
    match digest(first) {
        Some(digest) => {
            let pinned = Artifact(format!("{}@{digest}", repository(&image.0)));
            (Status::Succeeded, pinned)
        }
        None => (Status::Succeeded, image),
    }
}

/// The reference without its tag; a colon before the last slash belongs to a port.
fn repository(image: &str) -> &str {
    let image = image.split('@').next().unwrap_or(image);
    match image.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        Some(_) | None => image,
    }
}

/// Adds what keeps a pod from being ready, where the kubelet or the scheduler says so.
fn with_trouble(words: String, pods: &[&Pod]) -> String {
    let trouble = pods.iter().find_map(|pod| Some((name(pod), trouble(pod)?)));
    match trouble {
        Some((pod, reason)) => format!("{words}; pod {pod}: {reason}"),
        None => words,
    }
}

fn trouble(pod: &Pod) -> Option<&str> {
    let status = pod.status.as_ref()?;
    let waiting = status.container_statuses.iter().flatten().find_map(|container| {
        let reason = container.state.as_ref()?.waiting.as_ref()?.reason.as_deref()?;
        (!matches!(reason, "ContainerCreating" | "PodInitializing")).then_some(reason)
    });
    waiting.or_else(|| {
        let unscheduled = status.conditions.iter().flatten();
        let mut unscheduled =
            unscheduled.filter(|c| c.type_ == "PodScheduled" && c.status == "False");
        unscheduled.next()?.reason.as_deref()
    })
}

fn container_of<'a>(pod: &'a Pod, container: &str) -> Option<&'a ContainerStatus> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    statuses.iter().find(|status| status.name == container)
}

fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or("without a name")
}

#[cfg(test)]
mod tests;
