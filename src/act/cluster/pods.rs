//! What the pods of a target say: a pure function of the objects.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::kind::Owner;
use crate::{
    decide::{event::Status, part::Workload},
    model::ring::Artifact,
};

/// The reason of a container that waits because it crashes again and again.
const CRASH_LOOP: &str = "CrashLoopBackOff";

/// Whether the pod is the owner's, is there to stay and has not ended.
pub(super) fn is_of(pod: &Pod, owner: &Owner) -> bool {
    let is_owner = |kind: &str, name: &str| {
        pod.metadata.owner_references.iter().flatten().any(|reference| {
            reference.controller == Some(true) && reference.kind == kind && reference.name == name
        })
    };
    let owned = match owner {
        Owner::Itself { kind, name } => is_owner(kind, name),
        Owner::ReplicaSet { of, label, hash: only } => {
            let hash = pod.metadata.labels.as_ref().and_then(|labels| labels.get(*label));
            hash.is_some_and(|hash| {
                only.as_ref().is_none_or(|only| only == hash)
                    && is_owner("ReplicaSet", &format!("{of}-{hash}"))
            })
        }
    };
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    owned
        && pod.metadata.deletion_timestamp.is_none()
        && !matches!(phase, Some("Failed" | "Succeeded"))
}

/// When the last of the pods became ready. A container that restarts and a pod that is replaced become
/// ready later, and one that is gone is missed: where the instant is the same, none of that happened.
pub(super) fn ready_since(pods: &[&Pod]) -> Option<Timestamp> {
    let ready = |pod: &&Pod| {
        let mut conditions = pod.status.as_ref()?.conditions.iter().flatten();
        let ready = conditions.find(|c| c.type_ == "Ready" && c.status == "True")?;
        ready.last_transition_time.as_ref().map(|at| at.0)
    };
    let all: Option<Vec<Timestamp>> = pods.iter().map(ready).collect();
    all?.into_iter().max()
}

/// How replicas and pods do. Only pods that run the image which the specification names count: what an
/// older one does says nothing about it.
pub(super) fn count(image: &Artifact, container: &str, wanted: i64, pods: &[&Pod]) -> Workload {
    let wanted = u32::try_from(wanted).unwrap_or(0);
    let mut seen = Workload { wanted, ..Workload::default() };
    for pod in pods.iter().filter(|pod| runs(pod, container, image)) {
        seen.ready += u32::from(is_ready(pod));
        for container in containers(pod) {
            let restarts = u32::try_from(container.restart_count).unwrap_or(0);
            seen.restarts = seen.restarts.saturating_add(restarts);
            seen.crash_loops += u32::from(crashes(container));
        }
    }
    seen
}

fn runs(pod: &Pod, container: &str, image: &Artifact) -> bool {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let mut own = containers.filter(|c| c.name == container);
    own.any(|c| c.image.as_ref().is_some_and(|own| Artifact(own.clone()).same_as(image)))
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True")
}

fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    pod.status.iter().flat_map(|status| {
        let init = status.init_container_statuses.iter().flatten();
        status.container_statuses.iter().flatten().chain(init)
    })
}

fn crashes(container: &ContainerStatus) -> bool {
    let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
    waiting.is_some_and(|waiting| waiting.reason.as_deref() == Some(CRASH_LOOP))
}

/// Compares what the pods run with what the specification names.
pub(super) fn confirm(
    image: Artifact,
    container: &str,
    wanted: i64,
    pods: &[&Pod],
) -> (Status, Artifact) {
    let progressing = |words: String| Status::Progressing(words);
    if pods.len() < usize::try_from(wanted).unwrap_or(0) {
        let words = format!("{} of {wanted} pods found", pods.len());
        return (progressing(words), image);
    }
    // Its controller may have said once for all that it is done.
    let ready = pods.iter().filter(|pod| is_ready(pod)).count();
    if ready < usize::try_from(wanted).unwrap_or(0) {
        let words = with_trouble(format!("{ready} of {wanted} pods are ready"), pods);
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
pub(super) fn with_trouble(words: String, pods: &[&Pod]) -> String {
    let trouble = pods.iter().find_map(|pod| Some((name(pod), trouble(pod)?)));
    match trouble {
        Some((pod, reason)) => format!("{words}; pod {pod}: {reason}"),
        None => words,
    }
}

pub(super) fn trouble(pod: &Pod) -> Option<&str> {
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

pub(super) fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or("without a name")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(image: &str, ready: bool, restarts: i32, state: Value) -> Pod {
        let object = json!({
            "metadata": {"labels": {"pod-template-hash": "5d9"}, "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "uid": "u", "name": "shop-5d9",
                    "controller": true}]},
            "spec": {"containers": [{"name": "app", "image": image}, {"name": "proxy", "image": "p"}]},
            "status": {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}],
                "containerStatuses": [{
                    "name": "app", "image": image, "imageID": "", "ready": ready,
                    "restartCount": restarts, "state": state,
                }],
            },
        });
        serde_json::from_value(object).unwrap()
    }

    fn owner() -> Owner {
        Owner::ReplicaSet { of: "shop".into(), label: "pod-template-hash", hash: None }
    }

    fn running() -> Value {
        json!({"running": {}})
    }

    #[test]
    fn only_what_runs_the_image_counts() {
        let looping = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        let pods = [
            pod("shop:2", true, 1, running()),
            pod("shop:2", false, 4, looping.clone()),
            pod("shop:1", true, 70, looping),
        ];
        let pods: Vec<&Pod> = pods.iter().collect();
        let seen = count(&Artifact("shop:2".into()), "app", 3, &pods);
        assert_eq!(seen, Workload { wanted: 3, ready: 1, restarts: 5, crash_loops: 1 });
        let nothing = count(&Artifact("shop:2".into()), "app", 3, &[]);
        assert_eq!(nothing, Workload { wanted: 3, ..Workload::default() });
    }

    #[test]
    fn what_goes_and_what_is_somebody_elses_is_none_of_its_pods() {
        let good = pod("shop:2", true, 0, running());
        assert!(is_of(&good, &owner()));
        let mut going = good.clone();
        going.metadata.deletion_timestamp =
            serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        let mut evicted = good.clone();
        evicted.status.as_mut().unwrap().phase = Some("Failed".into());
        assert!(!is_of(&going, &owner()) && !is_of(&evicted, &owner()));
        let hash = |hash: &str| Owner::ReplicaSet {
            of: "shop".into(),
            label: "pod-template-hash",
            hash: Some(hash.into()),
        };
        assert!(is_of(&good, &hash("5d9")) && !is_of(&good, &hash("77a")));
        let set = Owner::Itself { kind: "StatefulSet", name: "shop".into() };
        assert!(!is_of(&good, &set));
    }
}
