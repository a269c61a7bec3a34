//! Stand-ins for the controllers of the published custom resources, on a real API server: they write, one step
//! after another, the status that is documented for those. What needs pods is done by ReplicaSets and
//! Deployments, whose real controllers run.

use std::{collections::BTreeMap, time::Duration};

use ::kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    core::DynamicObject,
};
use aws_lc_rs::hmac;
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
    /// How long it stands at a pause.
    pauses: u32,
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

/// Whom Canaries ask before they go on.
#[derive(Debug, Clone)]
pub struct Hooks {
    /// The server's address.
    pub server: String,
    /// What it calls their cluster.
    pub cluster: String,
}

/// What the tokens of those hooks are made with.
pub const SECRET: &str = "canary-hooks-3f9a";

struct Place {
    client: Client,
    namespace: String,
    hooks: Hooks,
}

/// Starts them.
pub fn start(client: Client, namespace: &str, hooks: Hooks) -> StandIns {
    let place = Place { client, namespace: namespace.into(), hooks };
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
                        _ => place.helm_release(&object, memory).await,
                    };
                    let Some(mut patch) = patch else { continue };
                    let now = serde_json::to_value(&object).expect("JSON");
                    // Whoever was first wins, and it is looked at again.
                    patch["metadata"]["resourceVersion"] =
                        now["metadata"]["resourceVersion"].clone();
                    without_nothings(&mut patch, &now);
                    let params = PatchParams::default();
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
    /// Of a canary with or without steps, a blue-green one, and one that takes a Deployment's template.
    async fn rollout(&self, rollout: &DynamicObject, memory: &mut Memory) -> Option<Value> {
        let name = rollout.metadata.name.as_deref()?;
        let (template, workload) = self.template_of(rollout).await?;
        let (hash, bad) = (hash(&template), is_bad(&template));
        let stable = text(rollout, "/status/stableRS");
        let generation = generation(rollout);
        let steps = memory.steps(format!("{generation} {workload:?}"));
        if steps < NOTICED && !stable.is_empty() {
            return None;
        }
        let aborted = bad && steps >= DONE;
        let own = format!("{name}-{hash}");
        let replicas = rollout.data.pointer("/spec/replicas")?.as_i64()?;
        let ready =
            self.replica_set(name, &hash, (!aborted).then_some((&template, replicas))).await?;
        let at = Pause::of(rollout, &hash, stable, memory);
        let complete = ready == Some(replicas) && !bad && at.is_over;
        if complete && stable != hash {
            let sets: Api<ReplicaSet> = Api::namespaced(self.client.clone(), &self.namespace);
            let others = ListParams::default().labels(&format!("rollout={name}"));
            for other in sets.list(&others).await.ok()?.items {
                let other = other.metadata.name.unwrap_or_default();
                if other != own {
                    sets.delete(&other, &DeleteParams::background()).await.ok()?;
                }
            }
        }
        let analysis = json!({"name": format!("{own}-2-1"), "status": "Failed",
            "message": format!("Metric \"errors\" assessed Failed: {FAULT}")});
        let (phase, message) = match (aborted, complete) {
            (true, _) => {
                ("Degraded", "RolloutAborted: Rollout aborted update to revision 2".to_owned())
            }
            (false, true) => ("Healthy", String::new()),
            (false, false) if at.reason.is_some() => {
                ("Paused", at.reason.unwrap_or_default().to_owned())
            }
            (false, false) => ("Progressing", "more replicas need to be updated".to_owned()),
        };
        let blue_green = rollout.data.pointer("/spec/strategy/blueGreen").is_some();
        let paused = at.reason.filter(|_| !aborted);
        let mut status = json!({
            "observedGeneration": generation.to_string(),
            "workloadObservedGeneration": workload.map(|generation| generation.to_string()),
            "currentPodHash": hash,
            "stableRS": if complete { &hash } else { stable },
            "abort": aborted.then_some(true),
            "phase": phase,
            "message": message,
            "currentStepIndex": at.index,
            "controllerPause": paused.map(|_| true),
            "pauseConditions": paused.map(|reason| json!([{"reason": reason, "startTime": at.since}])),
            "canary": {"currentBackgroundAnalysisRunStatus": null},
            "blueGreen": {"prePromotionAnalysisRunStatus": null, "activeSelector": null},
        });
        if aborted {
            let (strategy, run) = match blue_green {
                true => ("blueGreen", "prePromotionAnalysisRunStatus"),
                false => ("canary", "currentBackgroundAnalysisRunStatus"),
            };
            status[strategy][run] = analysis;
        }
        if blue_green {
            let active = if at.is_over { &hash } else { stable };
            status["blueGreen"]["activeSelector"] = json!(active);
        }
        Some(json!({ "status": status }))
    }

    /// Its own template, or a Deployment's with its generation: that one is noted on the Rollout first.
    async fn template_of(&self, rollout: &DynamicObject) -> Option<(Value, Option<i64>)> {
        let referred = text(rollout, "/spec/workloadRef/name");
        if referred.is_empty() {
            return Some((rollout.data.pointer("/spec/template")?.clone(), None));
        }
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), &self.namespace);
        let deployment = deployments.get(referred).await.ok()?;
        let generation = deployment.metadata.generation?;
        let noted = "rollout.argoproj.io/workload-generation";
        let annotations = rollout.metadata.annotations.as_ref();
        if annotations.and_then(|all| all.get(noted)) != Some(&generation.to_string()) {
            let note = json!({"metadata": {"annotations": {noted: generation.to_string()}}});
            let api = objects(&self.client, &self.namespace, "Rollout");
            let name = rollout.metadata.name.as_deref()?;
            let patched = api.patch(name, &PatchParams::default(), &Patch::Merge(note)).await;
            patched.map_err(say).ok()?;
            return None;
        }
        Some((serde_json::to_value(&deployment.spec?.template).expect("JSON"), Some(generation)))
    }

    /// Makes the ReplicaSet of a hash, or takes it away; how many of its replicas are ready, where it is there.
    async fn replica_set(
        &self,
        rollout: &str,
        hash: &str,
        wanted: Option<(&Value, i64)>,
    ) -> Option<Option<i64>> {
        let sets: Api<ReplicaSet> = Api::namespaced(self.client.clone(), &self.namespace);
        let own = format!("{rollout}-{hash}");
        let set = sets.get_opt(&own).await.map_err(say).ok()?;
        match (wanted, &set) {
            (None, Some(_)) => {
                sets.delete(&own, &DeleteParams::background()).await.ok()?;
            }
            (Some((template, replicas)), None) => {
                let labels = json!({"app": rollout, "rollouts-pod-template-hash": hash});
                let mut made = template.clone();
                made["metadata"]["labels"] = labels.clone();
                let set = json!({
                    "metadata": {"name": own, "labels": {"rollout": rollout}},
                    "spec": {"replicas": replicas, "selector": {"matchLabels": labels},
                        "template": made},
                });
                let set: ReplicaSet = serde_json::from_value(set).expect("a ReplicaSet");
                sets.create(&PostParams::default(), &set).await.map_err(say).ok()?;
            }
            (None, None) | (Some(_), Some(_)) => {}
        }
        Some(set.and_then(|set| set.status?.ready_replicas).map(i64::from))
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
                phase_of("Waiting", json!({"lastAppliedSpec": hash, "canaryWeight": 0}))
            }
            "Waiting" if self.is_confirmed(canary, "confirm-rollout").await => {
                phase_of("Progressing", json!({"canaryWeight": 10}))
            }
            "Progressing" if bad => phase_of("Failed", json!({"canaryWeight": 0})),
            "Progressing" => phase_of("WaitingPromotion", json!({})),
            "WaitingPromotion" if self.is_confirmed(canary, "confirm-promotion").await => {
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

    /// Whether ringward lets the Canary go on: asked as Flagger asks, and any answer but a good one is none.
    async fn is_confirmed(&self, canary: &DynamicObject, hook: &str) -> bool {
        let Hooks { server, cluster } = &self.hooks;
        let plan = canary.metadata.name.as_deref().expect("a name");
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        let tag = hmac::sign(&key, format!("flagger/{plan}/{cluster}").as_bytes());
        let token: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let body = json!({"name": plan, "namespace": self.namespace, "phase": "Waiting",
            "checksum": "85d557f47b",
            "metadata": {"plan": plan, "cluster": cluster, "token": token}});
        let url = format!("http://{server}/v1/hooks/flagger/{hook}");
        let answer = reqwest::Client::new().post(url).json(&body).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }
}

/// Where a Rollout stands among its pauses.
struct Pause {
    /// Of a canary: its step.
    index: Option<usize>,
    /// Why it stands there, if it does.
    reason: Option<&'static str>,
    since: String,
    /// It is past all of them.
    is_over: bool,
}

impl Pause {
    /// One step on from what its status says: who takes the pause's condition away has promoted it.
    fn of(rollout: &DynamicObject, hash: &str, stable: &str, memory: &mut Memory) -> Self {
        let status = |pointer: &str| rollout.data.pointer(&format!("/status/{pointer}"));
        let same = text(rollout, "/status/currentPodHash") == hash;
        let stood = same && status("controllerPause") == Some(&json!(true));
        let since = status("pauseConditions/0/startTime").and_then(Value::as_str);
        let stands = stood && since.is_some();
        let since = since.filter(|_| stands).map_or_else(now, str::to_owned);
        let promoted = stood && !stands;
        // To what is stable it goes without a step; the first version too.
        let back = stable.is_empty() || stable == hash;
        if let Some(switch) = rollout.data.pointer("/spec/strategy/blueGreen") {
            let switched =
                promoted || (same && text(rollout, "/status/blueGreen/activeSelector") == hash);
            let is_over = back || switched || switch["autoPromotionEnabled"] != false;
            return Self {
                index: None,
                reason: (!is_over).then_some("BlueGreenPause"),
                since,
                is_over,
            };
        }
        let none = Vec::new();
        let steps = rollout.data.pointer("/spec/strategy/canary/steps");
        let steps = steps.and_then(Value::as_array).unwrap_or(&none);
        let before = status("currentStepIndex").and_then(Value::as_u64).filter(|_| same);
        let mut index = if back { steps.len() } else { before.unwrap_or(0) as usize };
        let ends = steps.get(index).is_some_and(|step| step["pause"]["duration"].is_string());
        let over = stands && ends && memory.pauses > DONE;
        if over || promoted || steps.get(index).is_some_and(|step| step["pause"].is_null()) {
            index += 1;
            memory.pauses = 0;
        } else {
            memory.pauses += 1;
        }
        let pauses = steps.get(index).is_some_and(|step| !step["pause"].is_null());
        let reason = pauses.then_some("CanaryPauseStep");
        Self { index: Some(index), reason, since, is_over: index >= steps.len() }
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
            let compared = sources(application);
            json!({"metadata": {"annotations": {"argocd.argoproj.io/refresh": null}}, "status": {
                "sync": {"status": "Synced", "revision": "5d9", "comparedTo": compared},
                "health": {"status": "Healthy"}, "reconciledAt": now()}})
        });
    };
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
    let source = sources(application);
    let bad = is_bad(&source);
    state["phase"] = json!(if bad { "Failed" } else { "Succeeded" });
    state["message"] = json!(if bad { FAULT } else { "successfully synced" });
    state["startedAt"] = application.data.pointer("/status/operationState/startedAt")?.clone();
    state["finishedAt"] = json!(now());
    let revision = application.data.pointer("/spec/source/targetRevision");
    state["syncResult"] = source;
    state["syncResult"]["revision"] = json!(revision);
    let health = json!({"status": "Progressing", "message": "Waiting for rollout to finish"});
    Some(json!({"operation": null, "status": {"operationState": state, "health": health}}))
}

/// What Argo CD repeats of an Application: its source, or all of them.
fn sources(application: &DynamicObject) -> Value {
    let spec = |name: &str| application.data.pointer(&format!("/spec/{name}"));
    match spec("sources") {
        Some(sources) => json!({ "sources": sources }),
        None => json!({"source": spec("source")}),
    }
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

impl Place {
    async fn helm_release(&self, object: &DynamicObject, memory: &mut Memory) -> Option<Value> {
        let source = text(object, "/spec/chartRef/name");
        if source.is_empty() {
            return helm_release(object, memory, "");
        }
        let sources = objects(&self.client, &self.namespace, "OCIRepository");
        let source = sources.get(source).await.ok()?;
        let revision = text(&source, "/status/artifact/revision");
        // Of a source that has pulled nothing there is nothing to say.
        helm_release(object, memory, revision.split_once('@')?.1)
    }
}

/// `chart` is the digest of what its `chartRef` has pulled, where it has one.
fn helm_release(object: &DynamicObject, memory: &mut Memory, chart: &str) -> Option<Value> {
    let (asked, token) = asked(object);
    let (steps, generation) = (memory.steps(format!("{asked} {chart}")), generation(object));
    let values = json!([object.data.pointer("/spec/values"), chart]);
    let digest = format!("sha256:{}", hash(&values));
    let chart = (!chart.is_empty()).then_some(chart);
    if steps == NOTICED {
        // Its own generation is nothing: that of the status counts, which is an older one.
        let moves = ready("Unknown", "Progressing", "Running 'upgrade' action", 0);
        return Some(json!({"status": {"conditions": [moves],
            "lastAttemptedConfigDigest": digest, "lastAttemptedRevisionDigest": chart}}));
    }
    if steps != DONE {
        return None;
    }
    let mut status = json!({"lastHandledReconcileAt": token, "observedGeneration": generation,
        "lastAttemptedGeneration": generation, "lastAttemptedConfigDigest": digest,
        "lastAttemptedRevisionDigest": chart});
    if is_bad(&values) {
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
            "status": "deployed", "configDigest": digest, "chartVersion": "1.0.0", "ociDigest": chart}]);
    }
    Some(json!({"status": status}))
}
