//! What a Deployment's pods say of how it does: a pure function of the objects.

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ContainerStatus, Pod},
};

use super::status;
use crate::{decide::part::Workload, model::ring::Artifact};

/// The reason of a container that waits because it crashes again and again.
const CRASH_LOOP: &str = "CrashLoopBackOff";

/// How the Deployment's replicas and pods do. Only pods that run the image which its specification names
/// count: what an older one does says nothing about it. So does nobody count that is being deleted, or
/// has ended.
///
/// # Errors
/// Where the container is not there.
pub(super) fn read(
    deployment: &Deployment,
    container: &str,
    pods: &[Pod],
) -> Result<Workload, String> {
    let image = status::image(deployment, container)
        .ok_or_else(|| format!("the Deployment has no container `{container}` with an image"))?;
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let mut seen = Workload { wanted: count(wanted), ..Workload::default() };
    for pod in pods.iter().filter(|pod| lives(pod) && runs(pod, container, &image)) {
        seen.ready += u32::from(is_ready(pod));
        for container in containers(pod) {
            seen.restarts = seen.restarts.saturating_add(count(container.restart_count));
            seen.crash_loops += u32::from(crashes(container));
        }
    }
    Ok(seen)
}

fn count(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

fn lives(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    pod.metadata.deletion_timestamp.is_none() && !matches!(phase, Some("Succeeded" | "Failed"))
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn deployment() -> Deployment {
        let object = json!({"spec": {
            "replicas": 3, "selector": {},
            "template": {"spec": {"containers": [{"name": "app", "image": "shop:2"}]}},
        }});
        serde_json::from_value(object).unwrap()
    }

    fn pod(image: &str, ready: bool, restarts: i32, state: Value) -> Pod {
        let object = json!({
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

    fn running() -> Value {
        json!({"running": {}})
    }

    #[test]
    fn only_what_runs_the_image_counts() {
        let looping = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        let mut going = pod("shop:2", true, 9, running());
        going.metadata.deletion_timestamp =
            serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        let mut evicted = pod("shop:2", true, 9, running());
        evicted.status.as_mut().unwrap().phase = Some("Failed".into());
        let pods = [
            pod("shop:2", true, 1, running()),
            pod("shop:2", false, 4, looping.clone()),
            pod("shop:1", true, 70, looping),
            going,
            evicted,
        ];
        let seen = read(&deployment(), "app", &pods).unwrap();
        assert_eq!(seen, Workload { wanted: 3, ready: 1, restarts: 5, crash_loops: 1 });
        assert!(read(&deployment(), "web", &pods).unwrap_err().contains("`web`"));
    }

    #[test]
    fn nothing_is_nothing() {
        let seen = read(&deployment(), "app", &[]).unwrap();
        assert_eq!(seen, Workload { wanted: 3, ..Workload::default() });
    }
}
