//! What a controller writes into the status of each kind of object.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Controller, Wanted, pod, rfc3339};
use crate::sim::loopback::kubernetes::store::Kind;

impl Controller {
    /// The status; `before` is the one that is there.
    pub(super) fn status(&self, before: &Value, wall: Timestamp) -> Value {
        match self.id.kind {
            Kind::Deployment | Kind::OciRepository | Kind::Pod => self.deployment(before, wall),
            Kind::StatefulSet => self.stateful_set(),
            Kind::DaemonSet => self.daemon_set(),
            Kind::Rollout => self.rollout(before, wall),
            Kind::Canary => self.canary(before, wall),
            Kind::Application => self.application(wall),
            Kind::Kustomization => self.kustomization(before, wall),
            Kind::HelmRelease => self.helm_release(before, wall),
            Kind::ConfigMap | Kind::FeatureFlag => Value::Null,
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

    /// Flagger's status, which names no generation.
    fn canary(&self, before: &Value, wall: Timestamp) -> Value {
        let (phase, status, why) = match (&self.aborted, self.analysis_ends) {
            (Some(why), _) => ("Failed", "False", format!("Canary analysis failed: {why}")),
            (None, Some(_)) => ("Progressing", "Unknown", "New revision detected".to_owned()),
            (None, None) if !self.complete() => ("Promoting", "Unknown", "Promoting".to_owned()),
            (None, None) if self.releases > 1 => ("Succeeded", "True", "Finished".to_owned()),
            (None, None) => ("Initialized", "True", "Initialized".to_owned()),
        };
        json!({
            "phase": phase,
            "canaryWeight": if self.analysis_ends.is_some() { 10 } else { 0 },
            "failedChecks": 0,
            "iterations": 0,
            "lastAppliedSpec": self.last_applied,
            "lastPromotedSpec": self.stable.hash,
            "conditions": [condition(before, wall, "Promoted", status, phase, &why)],
        })
    }

    /// Flux's condition Ready, of the generation that was observed.
    fn ready(&self, before: &Value, wall: Timestamp, late: &str) -> Value {
        let name = &self.id.name;
        let (status, reason, message) = if self.complete() && self.aborted.is_none() {
            ("True", "ReconciliationSucceeded", "Applied revision: main@sha1:5d9".to_owned())
        } else if self.gave_up || self.aborted.is_some() {
            let message =
                format!("timeout waiting for: [Deployment/shop/{name} status: 'InProgress']");
            ("False", late, message)
        } else {
            ("Unknown", "Progressing", "Reconciliation in progress".to_owned())
        };
        let mut ready = condition(before, wall, "Ready", status, reason, &message);
        ready["observedGeneration"] = json!(self.observed);
        ready
    }

    fn kustomization(&self, before: &Value, wall: Timestamp) -> Value {
        // Of a source by digest the revision ends with it.
        let revision = |template: &Value| match self.observed_workload {
            Some(_) => pulled(template),
            None => "main@sha1:5d9".to_owned(),
        };
        let applied = if self.complete() { &self.wanted } else { &self.stable };
        json!({
            "observedGeneration": self.observed,
            "lastAppliedRevision": revision(&applied.template),
            "lastAttemptedRevision": revision(&self.wanted.template),
            "lastHandledReconcileAt": self.observed_token,
            "conditions": [self.ready(before, wall, "HealthCheckFailed")],
        })
    }

    /// The status of a Kustomization's source.
    pub(super) fn pulled(&self, before: &Value, wall: Timestamp) -> Value {
        let words = "stored artifact";
        let mut ready = condition(before, wall, "Ready", "True", "Succeeded", words);
        ready["observedGeneration"] = json!(self.observed_workload);
        json!({
            "observedGeneration": self.observed_workload,
            "lastHandledReconcileAt": self.observed_token,
            "artifact": {"revision": pulled(&self.wanted.template)},
            "conditions": [ready],
        })
    }

    fn helm_release(&self, before: &Value, wall: Timestamp) -> Value {
        let digest = |hash: &str| format!("sha256:{:016x}", pod::short(hash));
        let mut conditions = vec![self.ready(before, wall, "UpgradeFailed")];
        if self.aborted.is_some() {
            let words = ["Helm rollback to previous release succeeded", "retries exceeded"];
            for (kind, reason, message) in [
                ("Remediated", "RollbackSucceeded", words[0]),
                ("Stalled", "RetriesExceeded", words[1]),
            ] {
                let mut set = condition(before, wall, kind, "True", reason, message);
                set["observedGeneration"] = json!(self.observed);
                conditions.push(set);
            }
        }
        let done = self.complete() && self.aborted.is_none();
        let newest = if done { &self.wanted.hash } else { &self.stable.hash };
        let mut status = json!({
            "observedGeneration": self.observed,
            "lastAttemptedGeneration": self.observed,
            "lastAttemptedConfigDigest": digest(&self.wanted.hash),
            "lastHandledReconcileAt": self.observed_token,
            "history": [{
                "name": self.id.name, "namespace": self.id.namespace, "version": self.releases,
                "status": "deployed", "configDigest": digest(newest),
            }],
            "conditions": conditions,
        });
        // Of a chart by its digest, that.
        if self.observed_workload.is_some() {
            let deployed = if done { &self.wanted } else { &self.stable };
            let chart = |wanted: &Wanted| pulled(&wanted.template).replace("latest@", "");
            status["history"][0]["ociDigest"] = json!(chart(deployed));
            status["lastAttemptedRevisionDigest"] = json!(chart(&self.wanted));
        }
        status
    }

    fn rollout(&self, before: &Value, wall: Timestamp) -> Value {
        let blue_green = self.wanted.blue_green;
        let reason = if blue_green { "BlueGreenPause" } else { "CanaryPauseStep" };
        let steps = self.wanted.pauses.then_some(reason);
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
            let (strategy, run) = match blue_green {
                true => ("blueGreen", "prePromotionAnalysisRunStatus"),
                false => ("canary", "currentStepAnalysisRunStatus"),
            };
            status[strategy][run] = json!({
                "name": format!("{}-{}-2-1", self.id.name, self.wanted.hash),
                "status": "Failed",
                "message": why,
            });
        }
        if blue_green {
            status["blueGreen"]["activeSelector"] = json!(self.stable.hash);
            status["blueGreen"]["previewSelector"] = json!(self.wanted.hash);
        }
        if self.pausing {
            status["controllerPause"] = json!(true);
        }
        if waits {
            let since = before.pointer("/pauseConditions/0/startTime").cloned();
            let since = since.unwrap_or_else(|| json!(rfc3339(wall)));
            status["pauseConditions"] = json!([{"reason": reason, "startTime": since}]);
        }
        counts(&mut status, &self.counted());
        status
    }
}

/// The revision of what is pulled by a digest.
fn pulled(template: &Value) -> String {
    let images = pod::images(template);
    let digest = images.first().and_then(|(_, image)| image.digest());
    format!("latest@{}", digest.unwrap_or_default())
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
