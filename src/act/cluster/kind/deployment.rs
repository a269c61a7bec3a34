//! `apps/v1` Deployment.
//!
//! The order of the questions is that of `kubectl rollout status`, which never asks for a pause and
//! never looks at what the pods run; both are asked here, since ready pods of the wrong image are how
//! a rollout looks before it has begun.

use kube::core::{ApiResource, DynamicObject};

use super::{
    Edit, Kind, Owner, Progress, Seen, Workers,
    fields::{self, Condition},
    resource, template,
};
use crate::{act::cluster::MANAGER, decide::event::Status, model::ring::Artifact};

const DEADLINE: &str = "ProgressDeadlineExceeded";

/// The image of one container of a Deployment.
pub(super) struct Deployment {
    pub(super) container: String,
}

impl Kind for Deployment {
    fn resource(&self) -> ApiResource {
        resource("apps", "v1", "Deployment", "deployments")
    }

    fn image(&self, carrier: &DynamicObject) -> Result<Artifact, String> {
        template::image(carrier, &self.container)
    }

    fn edit(&self, _: &Seen, artifact: &Artifact, _: &str) -> Edit {
        template::apply(&self.container, artifact)
    }

    fn progress(&self, seen: &Seen) -> Progress {
        let deployment = &seen.subject;
        if let Some(why) = fields::deleted(deployment, "Deployment") {
            return Progress::unknown(why);
        }
        if fields::yes(deployment, "/spec/paused") {
            return Progress::Other(Status::Paused);
        }
        if !fields::is_observed(deployment) {
            return Progress::Other(Status::Pending);
        }
        let gave_up = Condition::of(deployment, "Progressing").filter(|condition| {
            condition.is("False")
                && condition.reason() == DEADLINE
                && !is_of_before(*condition, deployment)
        });
        if let Some(gave_up) = gave_up {
            return Progress::Failed(gave_up.words());
        }
        let wanted = template::replicas(deployment);
        if wanted == 0 {
            // Nothing that runs is nothing that was seen healthy: a ring must not pass on it.
            return Progress::progressing("it is scaled to 0 replicas, so nothing runs");
        }
        let count = |field: &str| fields::number(deployment, field).unwrap_or(0);
        let updated = count("/status/updatedReplicas");
        let total = count("/status/replicas");
        let available = count("/status/availableReplicas");
        if updated < wanted {
            let words = format!("{updated} of {wanted} replicas updated");
            let failure = Condition::of(deployment, "ReplicaFailure").filter(|c| c.is("True"));
            return Progress::progressing(match failure {
                Some(failure) => format!("{words}: {}", failure.words()),
                None => words,
            });
        }
        if total > updated {
            let old = total - updated;
            return Progress::progressing(format!(
                "{updated} of {wanted} replicas updated, {old} old ones left"
            ));
        }
        if available < updated {
            return Progress::NotReady(format!(
                "{available} of {updated} updated replicas available"
            ));
        }
        Progress::AllReady
    }

    fn revision(&self, seen: &Seen) -> Option<String> {
        fields::annotation(&seen.subject, "deployment.kubernetes.io/revision").map(Into::into)
    }

    fn workers(&self, seen: &Seen) -> Option<Workers> {
        Some(Workers {
            selector: template::selector(&seen.subject),
            container: self.container.clone(),
            wanted: template::replicas(&seen.subject),
            owner: Owner::ReplicaSet {
                of: seen.subject.metadata.name.clone()?,
                label: "pod-template-hash",
                hash: None,
            },
        })
    }
}

/// Whether the condition was last updated before we wrote.
///
/// A missed deadline outlives the generation that missed it: when a Deployment goes back to a
/// ReplicaSet that it still has, its controller observes the new generation first and clears the
/// condition only once the rollout moves. Taken for news, that would fail every restore.
fn is_of_before(condition: Condition<'_>, deployment: &DynamicObject) -> bool {
    let managers = deployment.metadata.managed_fields.iter().flatten();
    let ours = managers.filter(|entry| entry.manager.as_deref() == Some(MANAGER));
    let written = ours.filter_map(|entry| entry.time.as_ref().map(|time| time.0)).max();
    // Both are in whole seconds, and no deadline is missed in the second in which it begins.
    matches!((condition.last_update(), written), (Some(at), Some(written)) if at <= written)
}

#[cfg(test)]
mod tests;
