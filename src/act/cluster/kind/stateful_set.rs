//! `apps/v1` StatefulSet.
//!
//! In the order of `kubectl rollout status`, which knows only the strategy RollingUpdate: a partition or
//! OnDelete keeps pods at what they run for as long as somebody likes, which is not known to end.

use k8s_openapi::api::core::v1::Pod;
use kube::core::{ApiResource, DynamicObject};

use super::{Edit, Kind, Owner, Progress, Seen, Workers, fields, pods, resource, template};
use crate::{decide::event::Status, model::ring::Artifact};

/// The image of one container of a StatefulSet.
pub(super) struct StatefulSet {
    pub(super) container: String,
}

impl Kind for StatefulSet {
    fn resource(&self) -> ApiResource {
        resource("apps", "v1", "StatefulSet", "statefulsets")
    }

    fn image(&self, carrier: &DynamicObject) -> Result<Artifact, String> {
        template::image(carrier, &self.container)
    }

    fn edit(&self, _: &Seen, artifact: &Artifact, _: &str) -> Edit {
        template::apply(&self.container, artifact)
    }

    fn progress(&self, seen: &Seen) -> Progress {
        let set = &seen.subject;
        if let Some(why) = fields::deleted(set, "StatefulSet") {
            return Progress::unknown(why);
        }
        if !fields::is_observed(set) {
            return Progress::Other(Status::Pending);
        }
        let wanted = template::replicas(set);
        if wanted == 0 {
            return Progress::progressing("it is scaled to 0 replicas, so nothing runs");
        }
        let count = |field: &str| fields::number(set, field);
        let updated = count("/status/updatedReplicas").unwrap_or(0);
        let total = count("/status/replicas").unwrap_or(0);
        let ready = count("/status/readyReplicas").unwrap_or(0);
        // API servers before 1.22 do not tell it.
        let available = count("/status/availableReplicas").unwrap_or(ready).min(ready);
        let old = (wanted - updated).max(0);
        if old > 0 && on_delete(set) {
            return Progress::unknown(format!(
                "its update strategy is OnDelete: {old} of {wanted} pods keep what they run until \
                 somebody deletes them"
            ));
        }
        let partition = count("/spec/updateStrategy/rollingUpdate/partition").unwrap_or(0);
        let kept = partition.clamp(0, wanted);
        if old > 0 && kept > 0 && old <= kept {
            return Progress::unknown(format!(
                "its update strategy has partition {partition}: {old} of {wanted} pods keep what they \
                 run until somebody lowers it"
            ));
        }
        if old > 0 {
            return Progress::NotReady(format!("{updated} of {wanted} replicas updated"));
        }
        if total > wanted {
            let more = total - wanted;
            return Progress::progressing(format!("{more} replicas more than {wanted} are left"));
        }
        if available < wanted {
            return Progress::NotReady(format!(
                "{available} of {wanted} updated replicas available"
            ));
        }
        let (current, update) = (
            fields::text(set, "/status/currentRevision"),
            fields::text(set, "/status/updateRevision"),
        );
        // Its controller closes a rollout by making the two one; under OnDelete it never does.
        if current != update && !on_delete(set) {
            return Progress::progressing(
                "all replicas updated, and its controller has yet to say so",
            );
        }
        Progress::AllReady
    }

    fn revision(&self, seen: &Seen) -> Option<String> {
        fields::text(&seen.subject, "/status/updateRevision").map(Into::into)
    }

    fn workers(&self, seen: &Seen) -> Option<Workers> {
        let name = seen.subject.metadata.name.clone()?;
        Some(Workers {
            selector: template::selector(&seen.subject),
            container: self.container.clone(),
            wanted: template::replicas(&seen.subject),
            owner: Owner::Itself { kind: "StatefulSet", name },
        })
    }

    /// A pod that never gets ready keeps its StatefulSet from replacing it, even by what was good before
    /// (kubernetes/kubernetes#67250).
    fn advice(&self, seen: &Seen, pods: &[&Pod]) -> Option<String> {
        if fields::text(&seen.subject, "/spec/podManagementPolicy") == Some("Parallel") {
            return None;
        }
        let update = fields::text(&seen.subject, "/status/updateRevision")?;
        let stuck = pods.iter().find(|pod| {
            let revision =
                pod.metadata.labels.as_ref().and_then(|l| l.get("controller-revision-hash"));
            revision.is_some_and(|revision| revision != update) && pods::trouble(pod).is_some()
        })?;
        Some(format!(
            "a StatefulSet does not replace a pod that is not ready: delete pod {}",
            pods::name(stuck)
        ))
    }
}

fn on_delete(set: &DynamicObject) -> bool {
    fields::text(set, "/spec/updateStrategy/type") == Some("OnDelete")
}

#[cfg(test)]
mod tests;
