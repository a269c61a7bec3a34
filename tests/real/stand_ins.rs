//! Stand-ins for the controllers of the published custom resources, on a real API server: they write, one step
//! after another, the status that is documented for those. What needs pods is done by ReplicaSets and
//! Deployments, whose real controllers run.

use std::{collections::BTreeMap, time::Duration};

use ::kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    core::DynamicObject,
};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use ringward::{
    clock::{Clock, SystemClock},
    model::time::Mono,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::{task::JoinHandle, time::sleep};

use crate::crds::objects;

/// The digit of an image that their checks, analyses and syncs find fault with.
pub const BAD: char = 'b';
/// What they say of it.
pub const FAULT: &str = "success rate 71% < 99%";

/// The kinds of object that they play the controllers of.
const KINDS: [&str; 6] =
    ["Rollout", "Application", "Canary", "OCIRepository", "Kustomization", "HelmRelease"];

/// Steps until a change is looked at, and until it has come about: what is there before is of before the write.
const NOTICED: u32 = 3;
const DONE: u32 = 7;

/// The stand-ins of one namespace, for as long as the value lives.
pub struct StandIns(JoinHandle<()>);

impl Drop for StandIns {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a stand-in remembers of an object.
#[derive(Default)]
struct Memory {
    /// What it works on: a generation, a hash, a request.
    on: String,
    steps: u32,
}

impl Memory {
    /// Steps since it has been working on that.
    fn steps(&mut self, on: String) -> u32 {
        if self.on != on {
            (self.on, self.steps) = (on, 0);
        }
        self.steps += 1;
        self.steps
    }
}

struct Place {
    client: Client,
    namespace: String,
}

/// Starts them.
pub fn start(client: Client, namespace: &str) -> StandIns {
    let place = Place { client, namespace: namespace.into() };
    StandIns(tokio::spawn(async move {
        let mut memories: BTreeMap<(&str, String), Memory> = BTreeMap::new();
        loop {
            for kind in KINDS {
                let api = objects(&place.client, &place.namespace, kind);
                let Ok(list) = api.list(&ListParams::default()).await else { continue };
                for object in list.items {
                    let name = object.metadata.name.clone().expect("a name");
                    let memory = memories.entry((kind, name.clone())).or_default();
                    let patch = match kind {
                        "Rollout" => place.rollout(&object, memory).await,
                        "Application" => application(&object, memory),
                        "Canary" => place.canary(&object, memory).await,
                        "OCIRepository" => oci_repository(&object, memory),
                        "Kustomization" => place.kustomization(&object, memory).await,
                        _ => helm_release(&object, memory),
                    };
                    let Some(mut patch) = patch else { continue };
                    let now = serde_json::to_value(&object).expect("JSON");
                    without_nothings(&mut patch, &now);
                    let params = PatchParams::default();
                    // Whoever was first wins, and it is tried again.
                    let patched = match kind {
                        "Application" => api.patch(&name, &params, &Patch::Merge(patch)).await,
                        _ => api.patch_status(&name, &params, &Patch::Merge(patch)).await,
                    };
                    let _ = patched.map_err(say);
                }
            }
            sleep(Duration::from_millis(50)).await;
        }
    }))
}

/// Takes out what would only take away what is not there: the older API servers keep such nulls, and make nulls
/// of empty texts, which controllers leave out anyway.
fn without_nothings(patch: &mut Value, now: &Value) {
    if patch == "" {
        *patch = Value::Null;
    }
    if let Some(fields) = patch.as_object_mut() {
        for (name, value) in fields.iter_mut() {
            without_nothings(value, &now[name.as_str()]);
        }
        fields.retain(|name, value| !value.is_null() || !now[name.as_str()].is_null());
    }
}

/// What went wrong, for whoever reads why a test failed: it is tried again.
fn say(error: ::kube::Error) {
    println!("stand-in: {error}");
}

fn text<'a>(object: &'a DynamicObject, pointer: &str) -> &'a str {
    object.data.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn generation(object: &DynamicObject) -> i64 {
    object.metadata.generation.expect("a generation")
}

fn is_bad(what: &Value) -> bool {
    what.to_string().contains(&BAD.to_string().repeat(64))
}

fn hash(what: &Value) -> String {
    Sha256::digest(what.to_string()).iter().take(5).map(|byte| format!("{byte:02x}")).collect()
}

fn now() -> String {
    SystemClock::new(Mono(0)).now().wall.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

impl Place {
    async fn rollout(&self, rollout: &DynamicObject, memory: &mut Memory) -> Option<Value> {
        let name = rollout.metadata.name.as_deref()?;
        let template = rollout.data.pointer("/spec/template")?;
        let (hash, bad) = (hash(template), is_bad(template));
        let stable = text(rollout, "/status/stableRS");
        let generation = generation(rollout);
        let steps = memory.steps(generation.to_string());
        if steps < NOTICED && !stable.is_empty() {
            return None;
        }
        let sets: Api<ReplicaSet> = Api::namespaced(self.client.clone(), &self.namespace);
        let own = format!("{name}-{hash}");
        let aborted = bad && steps >= DONE;
        let set = sets.get_opt(&own).await.map_err(say).ok()?;
        if aborted {
            if set.is_some() {
                sets.delete(&own, &DeleteParams::background()).await.ok()?;
            }
        } else if set.is_none() {
            let labels = json!({"app": name, "rollouts-pod-template-hash": hash});
            let mut made = template.clone();
            made["metadata"]["labels"] = labels.clone();
            let replicas = rollout.data.pointer("/spec/replicas")?;
            let set = json!({
                "metadata": {"name": own, "labels": {"rollout": name}},
                "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": made},
            });
            let set: ReplicaSet = serde_json::from_value(set).expect("a ReplicaSet");
            sets.create(&PostParams::default(), &set).await.map_err(say).ok()?;
        }
        let ready = set.and_then(|set| set.status).and_then(|status| status.ready_replicas);
        let complete = ready.map(i64::from) == rollout.data.pointer("/spec/replicas")?.as_i64();
        let complete = complete && !bad;
        if complete && stable != hash {
            let others = ListParams::default().labels(&format!("rollout={name}"));
            for other in sets.list(&others).await.ok()?.items {
                let other = other.metadata.name.unwrap_or_default();
                if other != own {
                    sets.delete(&other, &DeleteParams::background()).await.ok()?;
                }
            }
        }
        let (phase, message) = match (aborted, complete) {
            (true, _) => ("Degraded", format!("RolloutAborted: metric assessed Failed: {FAULT}")),
            (false, true) => ("Healthy", String::new()),
            (false, false) => ("Progressing", "more replicas need to be updated".to_owned()),
        };
        Some(json!({"status": {
            "observedGeneration": generation.to_string(),
            "currentPodHash": hash,
            "stableRS": if complete { &hash } else { stable },
            "abort": aborted.then_some(true),
            "phase": phase,
            "message": message,
        }}))
    }

    async fn canary(&self, canary: &DynamicObject, memory: &mut Memory) -> Option<Value> {
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), &self.namespace);
        let target = deployments.get(text(canary, "/spec/targetRef/name")).await.ok()?;
        let template = serde_json::to_value(&target.spec.as_ref()?.template).expect("JSON");
        let primary_name = format!("{}-primary", target.metadata.name.as_deref()?);
        let primary = deployments.get(&primary_name).await.ok()?;
        let (hash, bad) = (hash(&template), is_bad(&template));
        let (applied, promoted) =
            (text(canary, "/status/lastAppliedSpec"), text(canary, "/status/lastPromotedSpec"));
        let phase = text(canary, "/status/phase");
        let steps = memory.steps(format!("{phase} {hash}"));
        if steps < NOTICED {
            return None;
        }
        let phase_of = |phase: &str, more: Value| {
            let message = if phase == "Failed" { FAULT } else { phase };
            let mut status = json!({"phase": phase, "lastTransitionTime": now(), "conditions": [
                {"type": "Promoted", "status": "Unknown", "reason": phase, "message": message}]});
            for (name, value) in more.as_object().into_iter().flatten() {
                status[name] = value.clone();
            }
            Some(json!({"status": status}))
        };
        match phase {
            "" => {
                phase_of("Initialized", json!({"lastAppliedSpec": hash, "lastPromotedSpec": hash}))
            }
            // What was promoted, and what has failed, is no news.
            "Initialized" | "Succeeded" | "Failed" if ![applied, promoted].contains(&&*hash) => {
                phase_of("Progressing", json!({"lastAppliedSpec": hash, "canaryWeight": 10}))
            }
            "Progressing" if bad => phase_of("Failed", json!({"canaryWeight": 0})),
            "Progressing" => {
                let image = &template["spec"]["containers"][0]["image"];
                let containers = json!([{"name": "app", "image": image}]);
                let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
                let patch = Patch::Strategic(patch);
                deployments.patch(&primary_name, &PatchParams::default(), &patch).await.ok()?;
                phase_of("Promoting", json!({}))
            }
            "Promoting" => {
                let status = primary.status.unwrap_or_default();
                let wanted = primary.spec?.replicas;
                let complete = status.observed_generation == primary.metadata.generation
                    && [status.updated_replicas, status.replicas, status.available_replicas]
                        .iter()
                        .all(|count| *count == wanted);
                complete.then(|| phase_of("Finalising", json!({"canaryWeight": 0})))?
            }
            "Finalising" => phase_of("Succeeded", json!({"lastPromotedSpec": applied})),
            _ => None,
        }
    }
}

impl Place {
    async fn kustomization(&self, object: &DynamicObject, memory: &mut Memory) -> Option<Value> {
        let generation = generation(object);
        let revision = match text(object, "/spec/sourceRef/kind") {
            "OCIRepository" => {
                let sources = objects(&self.client, &self.namespace, "OCIRepository");
                let source = sources.get(text(object, "/spec/sourceRef/name")).await.ok()?;
                text(&source, "/status/artifact/revision").to_owned()
            }
            _ => format!("main@sha1:{generation:040x}"),
        };
        kustomization(object, memory, &revision)
    }
}

fn application(application: &DynamicObject, memory: &mut Memory) -> Option<Value> {
    let operation = application.data.get("operation").filter(|operation| operation.is_object());
    let Some(operation) = operation else {
        let steps = memory
            .steps(format!("after {}", text(application, "/status/operationState/finishedAt")));
        let fresh = application.data.pointer("/status/health").is_none();
        let looks =
            fresh || (steps == NOTICED && text(application, "/status/health/status") != "Healthy");
        return looks.then(|| {
            let compared = json!({"source": application.data.pointer("/spec/source")});
            json!({"metadata": {"annotations": {"argocd.argoproj.io/refresh": null}}, "status": {
                "sync": {"status": "Synced", "revision": "5d9", "comparedTo": compared},
                "health": {"status": "Healthy"}, "reconciledAt": now()}})
        });
    };
    let source = application.data.pointer("/spec/source")?;
    let steps = memory.steps(operation.to_string());
    let mut state = json!({"operation": operation, "phase": "Running", "startedAt": now(),
        "finishedAt": null, "message": "waiting for healthy state of apps/Deployment/app",
        "syncResult": null});
    if steps == NOTICED {
        return Some(json!({"status": {"operationState": state}}));
    }
    if steps < DONE {
        return None;
    }
    let bad = is_bad(source);
    state["phase"] = json!(if bad { "Failed" } else { "Succeeded" });
    state["message"] = json!(if bad { FAULT } else { "successfully synced" });
    state["startedAt"] = application.data.pointer("/status/operationState/startedAt")?.clone();
    state["finishedAt"] = json!(now());
    state["syncResult"] = json!({"revision": "5d9", "source": source});
    let health = json!({"status": "Progressing", "message": "Waiting for rollout to finish"});
    Some(json!({"operation": null, "status": {"operationState": state, "health": health}}))
}

/// Of both of Flux's: what is asked for, by generation and token.
fn asked(object: &DynamicObject) -> (String, Option<String>) {
    let annotations = object.metadata.annotations.as_ref();
    let token = annotations.and_then(|a| a.get("reconcile.fluxcd.io/requestedAt")).cloned();
    (format!("{} {token:?}", generation(object)), token)
}

fn ready(status: &str, reason: &str, message: &str, observed: i64) -> Value {
    json!({"type": "Ready", "status": status, "reason": reason, "message": message,
        "lastTransitionTime": now(), "observedGeneration": observed})
}

/// What a source has pulled, by its digest.
fn oci_repository(object: &DynamicObject, memory: &mut Memory) -> Option<Value> {
    let (asked, token) = asked(object);
    if memory.steps(asked) != DONE {
        return None;
    }
    let generation = generation(object);
    let done = ready("True", "Succeeded", "stored artifact", generation);
    let revision = format!("latest@{}", text(object, "/spec/ref/digest"));
    Some(json!({"status": {"conditions": [done], "lastHandledReconcileAt": token,
        "artifact": {"revision": revision}, "observedGeneration": generation}}))
}

fn kustomization(object: &DynamicObject, memory: &mut Memory, revision: &str) -> Option<Value> {
    let (asked, token) = asked(object);
    let generation = generation(object);
    let steps = memory.steps(format!("{asked} {revision}"));
    if steps == NOTICED {
        let moves = ready("Unknown", "Progressing", "Reconciliation in progress", generation);
        return Some(json!({"status": {"conditions": [moves], "lastAttemptedRevision": revision}}));
    }
    if steps != DONE {
        return None;
    }
    if is_bad(&json!([object.data.pointer("/spec/images"), revision])) {
        let failed = ready("False", "HealthCheckFailed", FAULT, generation);
        return Some(json!({"status": {"conditions": [failed], "lastHandledReconcileAt": token}}));
    }
    let done = ready("True", "ReconciliationSucceeded", "Applied revision", generation);
    Some(json!({"status": {"conditions": [done], "lastHandledReconcileAt": token,
        "lastAppliedRevision": revision, "lastAttemptedRevision": revision,
        "observedGeneration": generation}}))
}

fn helm_release(object: &DynamicObject, memory: &mut Memory) -> Option<Value> {
    let (asked, token) = asked(object);
    let (steps, generation) = (memory.steps(asked), generation(object));
    let values = object.data.pointer("/spec/values")?;
    let digest = format!("sha256:{}", hash(values));
    if steps == NOTICED {
        // Its own generation is nothing: that of the status counts, which is an older one.
        let moves = ready("Unknown", "Progressing", "Running 'upgrade' action", 0);
        return Some(
            json!({"status": {"conditions": [moves], "lastAttemptedConfigDigest": digest}}),
        );
    }
    if steps != DONE {
        return None;
    }
    let mut status = json!({"lastHandledReconcileAt": token, "observedGeneration": generation,
        "lastAttemptedGeneration": generation, "lastAttemptedConfigDigest": digest});
    if is_bad(values) {
        let condition = |kind: &str, reason: &str| {
            let mut condition = ready("True", reason, FAULT, generation);
            condition["type"] = json!(kind);
            condition
        };
        status["conditions"] = json!([
            ready("False", "RollbackSucceeded", FAULT, generation),
            condition("Remediated", "RollbackSucceeded"),
            condition("Stalled", "RetriesExceeded"),
        ]);
    } else {
        status["conditions"] =
            json!([ready("True", "UpgradeSucceeded", "Helm upgrade succeeded", 0)]);
        status["history"] = json!([{"name": "app", "namespace": "shop", "version": generation,
            "status": "deployed", "configDigest": digest, "chartVersion": "1.0.0"}]);
    }
    Some(json!({"status": status}))
}
