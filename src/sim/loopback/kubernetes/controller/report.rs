//! What a controller writes into the status of each kind of object.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Controller, rfc3339};
use crate::sim::loopback::kubernetes::store::Kind;

impl Controller {
    /// The status; `before` is the one that is there.
    pub(super) fn status(&self, before: &Value, wall: Timestamp) -> Value {
        match self.id.kind {
            Kind::Deployment | Kind::Pod => self.deployment(before, wall),
            Kind::StatefulSet => self.stateful_set(),
            Kind::DaemonSet => self.daemon_set(),
            Kind::Rollout => self.rollout(before, wall),
        }
    }

    fn counted(&self) -> [(&'static str, usize); 4] {
        [
            ("replicas", self.replicas.len()),
            ("updatedReplicas", self.updated()),
            ("readyReplicas", self.available()),
            ("availableReplicas", self.available()),
        ]
    }

    fn deployment(&self, before: &Value, wall: Timestamp) -> Value {
        let (available, total) = (self.available(), self.replicas.len());
        let set = format!("{}-{}", self.id.name, self.wanted.hash);
        let serves = available >= self.wanted.replicas;
        let (progress, reason, message) = if self.wanted.paused {
            ("Unknown", "DeploymentPaused", "Deployment is paused".to_owned())
        } else if self.gave_up {
            let message = format!("ReplicaSet \"{set}\" has timed out progressing.");
            ("False", "ProgressDeadlineExceeded", message)
        } else if self.complete() {
            let message = format!("ReplicaSet \"{set}\" has successfully progressed.");
            ("True", "NewReplicaSetAvailable", message)
        } else {
            ("True", "ReplicaSetUpdated", format!("ReplicaSet \"{set}\" is progressing."))
        };
        let (answer, why, words) = if serves {
            ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        } else {
            let words = "Deployment does not have minimum availability.";
            ("False", "MinimumReplicasUnavailable", words)
        };
        let mut status = json!({
            "observedGeneration": self.observed,
            "conditions": [
                condition(before, wall, "Available", answer, why, words),
                condition(before, wall, "Progressing", progress, reason, &message),
            ],
        });
        let missing = total.max(self.wanted.replicas).saturating_sub(available);
        counts(&mut status, &self.counted());
        counts(&mut status, &[("unavailableReplicas", missing)]);
        status
    }
    fn stateful_set(&self) -> Value {
        let revision = |hash: &str| format!("{}-{hash}", self.id.name);
        let update = revision(&self.wanted.hash);
        // Under OnDelete the two never become one.
        let current = if self.complete() && !self.wanted.on_delete {
            update.clone()
        } else {
            revision(&self.stable.hash)
        };
        let old = self.replicas.len() - self.updated();
        let mut status = json!({
            "observedGeneration": self.observed,
            "availableReplicas": 0,
            "currentRevision": current,
            "updateRevision": update,
            "collisionCount": 0,
        });
        counts(&mut status, &self.counted());
        counts(&mut status, &[("currentReplicas", old)]);
        status
    }

    fn daemon_set(&self) -> Value {
        let wanted = self.wanted.replicas;
        let mut status = json!({
            "observedGeneration": self.observed,
            "currentNumberScheduled": self.replicas.len(),
            "desiredNumberScheduled": wanted,
            "numberMisscheduled": 0,
            "numberReady": self.available(),
        });
        counts(
            &mut status,
            &[
                ("updatedNumberScheduled", self.updated()),
                ("numberAvailable", self.available()),
                ("numberUnavailable", wanted.saturating_sub(self.available())),
            ],
        );
        status
    }

    fn rollout(&self, before: &Value, wall: Timestamp) -> Value {
        let steps = self.wanted.pauses.then_some("CanaryPauseStep");
        let waits = self.pausing && !self.resuming;
        let (phase, message) = match (&self.aborted, self.gave_up) {
            (Some(why), _) if !self.retrying => {
                ("Degraded", format!("RolloutAborted: Rollout aborted update to revision 2: {why}"))
            }
            (_, true) => {
                let set = format!("{}-{}", self.id.name, self.wanted.hash);
                let why = format!("ReplicaSet \"{set}\" has timed out progressing.");
                ("Degraded", format!("ProgressDeadlineExceeded: {why}"))
            }
            _ if waits => ("Paused", steps.unwrap_or_default().to_owned()),
            _ if self.complete() => ("Healthy", String::new()),
            _ => ("Progressing", "more replicas need to be updated".to_owned()),
        };
        let mut status = json!({
            // A text, as the real one has it.
            "observedGeneration": self.observed.to_string(),
            "currentPodHash": self.wanted.hash,
            "stableRS": self.stable.hash,
            "phase": phase,
            "message": message,
            "selector": "",
        });
        if let Some(generation) = self.observed_workload {
            status["workloadObservedGeneration"] = json!(generation.to_string());
        }
        if let Some(why) = &self.aborted {
            status["abort"] = json!(!self.retrying);
            status["canary"]["currentStepAnalysisRunStatus"] = json!({
                "name": format!("{}-{}-2-1", self.id.name, self.wanted.hash),
                "status": "Failed",
                "message": why,
            });
        }
        if self.pausing {
            status["controllerPause"] = json!(true);
        }
        if waits {
            let since = before.pointer("/pauseConditions/0/startTime").cloned();
            let since = since.unwrap_or_else(|| json!(rfc3339(wall)));
            status["pauseConditions"] = json!([{"reason": "CanaryPauseStep", "startTime": since}]);
        }
        counts(&mut status, &self.counted());
        status
    }
}

/// The real API leaves a count of zero out.
fn counts(status: &mut Value, counts: &[(&str, usize)]) {
    for (name, count) in counts.iter().filter(|(_, count)| *count > 0) {
        status[*name] = json!(count);
    }
}

pub(super) fn condition(
    before: &Value,
    wall: Timestamp,
    kind: &str,
    status: &str,
    reason: &str,
    message: &str,
) -> Value {
    let old = before["conditions"].as_array().and_then(|c| c.iter().find(|c| c["type"] == kind));
    let same = old.filter(|c| c["status"] == status);
    let since = same.map_or_else(|| json!(rfc3339(wall)), |c| c["lastTransitionTime"].clone());
    let updated = same.filter(|c| c["reason"] == reason && c["message"] == message);
    let updated = updated.map_or_else(|| json!(rfc3339(wall)), |c| c["lastUpdateTime"].clone());
    json!({
        "type": kind, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": since, "lastUpdateTime": updated,
    })
}
