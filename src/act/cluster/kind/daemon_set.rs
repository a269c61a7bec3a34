//! `apps/v1` DaemonSet.
//!
//! In the order of `kubectl rollout status`, which knows only the strategy RollingUpdate: under OnDelete
//! pods keep what they run until somebody deletes them.

use kube::core::{ApiResource, DynamicObject};

use super::{Edit, Kind, Owner, Progress, Seen, Workers, fields, resource, template};
use crate::{decide::event::Status, model::ring::Artifact};

/// The image of one container of a DaemonSet.
pub(super) struct DaemonSet {
    pub(super) container: String,
}

impl Kind for DaemonSet {
    fn resource(&self) -> ApiResource {
        resource("apps", "v1", "DaemonSet", "daemonsets")
    }

    fn image(&self, carrier: &DynamicObject) -> Result<Artifact, String> {
        template::image(carrier, &self.container)
    }

    fn edit(&self, _: &Seen, artifact: &Artifact, _: &str) -> Edit {
        template::apply(&self.container, artifact)
    }

    fn progress(&self, seen: &Seen) -> Progress {
        let set = &seen.subject;
        if let Some(why) = fields::deleted(set, "DaemonSet") {
            return Progress::unknown(why);
        }
        if !fields::is_observed(set) {
            return Progress::Other(Status::Pending);
        }
        let count = |field: &str| fields::number(set, field).unwrap_or(0);
        let wanted = scheduled(set);
        if wanted == 0 {
            return Progress::progressing("no node takes it, so nothing runs");
        }
        let updated = count("/status/updatedNumberScheduled");
        let available = count("/status/numberAvailable");
        let old = wanted - updated;
        if old > 0 && fields::text(set, "/spec/updateStrategy/type") == Some("OnDelete") {
            return Progress::unknown(format!(
                "its update strategy is OnDelete: {old} of {wanted} pods keep what they run until \
                 somebody deletes them"
            ));
        }
        if old > 0 {
            return Progress::NotReady(format!("{updated} of {wanted} pods updated"));
        }
        if available < wanted {
            return Progress::NotReady(format!("{available} of {wanted} updated pods available"));
        }
        Progress::AllReady
    }

    /// The API server still counts what changes the template, in the annotation that replaced the field.
    fn revision(&self, seen: &Seen) -> Option<String> {
        fields::annotation(&seen.subject, "deprecated.daemonset.template.generation")
            .map(Into::into)
    }

    fn workers(&self, seen: &Seen) -> Option<Workers> {
        let name = seen.subject.metadata.name.clone()?;
        Some(Workers {
            selector: template::selector(&seen.subject),
            container: self.container.clone(),
            wanted: scheduled(&seen.subject),
            owner: Owner::Itself { kind: "DaemonSet", name },
        })
    }
}

/// How many nodes are to run it.
fn scheduled(set: &DynamicObject) -> i64 {
    fields::number(set, "/status/desiredNumberScheduled").unwrap_or(0)
}

#[cfg(test)]
mod tests;
