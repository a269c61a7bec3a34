//! What kube-controller-manager, the scheduler and the kubelets would do for one Deployment.
//!
//! All of it is a function of time: [`Controller::next`] says when something is due, and
//! [`Controller::step`] does it, so that any clock may drive it. Replicas are replaced one after
//! another, a new one before an old one, as with `maxSurge: 1, maxUnavailable: 0`.

use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::store::{Id, Kind, Store};
use crate::{
    ids::Mint,
    model::{
        ring::Artifact,
        time::{Mono, Now, Span},
    },
};

/// How long a change goes unnoticed by its controller.
const NOTICE: Span = Span(400);

/// Kubernetes' default of `spec.progressDeadlineSeconds`.
const PROGRESS_DEADLINE: u64 = 600;

/// What the simulated world has to say about replicas.
pub(super) struct Conditions<'a> {
    /// How long a rollout of all replicas takes.
    pub(super) deploy_time: Span,
    /// Whether what an image holds falls over at its start.
    pub(super) crashes: &'a dyn Fn(&Artifact) -> bool,
    /// How often what an image holds restarts once it is ready.
    pub(super) restarts: &'a dyn Fn(&Artifact) -> u32,
}

/// The controller of one Deployment.
#[derive(Debug)]
pub(super) struct Controller {
    id: Id,
    /// The container whose image counts.
    container: String,
    /// The generation that it has looked at.
    observed: i64,
    /// When it will look at a newer one.
    notices: Option<Mono>,
    wanted: Wanted,
    replicas: Vec<Replica>,
    /// When the rollout last got on.
    progressed: Mono,
    gave_up: bool,
}

/// The specification that the controller works from: the one it has observed.
#[derive(Debug, Clone, Default, PartialEq)]
struct Wanted {
    template: Value,
    hash: String,
    replicas: usize,
    paused: bool,
    deadline: Span,
}

#[derive(Debug, Clone)]
struct Replica {
    id: Id,
    hash: String,
    /// Of every container, by its name.
    images: Vec<(String, Artifact)>,
    /// Of the container that counts.
    image: Artifact,
    /// When its start ends, well or not.
    starts: Mono,
    state: State,
    /// Restarts since it was ready.
    restarts: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Starting,
    Ready,
    Crashing,
}

impl Controller {
    /// The controller of a Deployment in the store, whose replicas all run.
    pub(super) fn settled(
        id: Id,
        container: &str,
        store: &mut Store,
        mint: &mut Mint,
        now: Now,
    ) -> Self {
        let mut controller = Self {
            id,
            container: container.into(),
            observed: 0,
            notices: None,
            wanted: Wanted::default(),
            replicas: Vec::new(),
            progressed: now.mono,
            gave_up: false,
        };
        controller.observe(store, now.mono);
        for _ in 0..controller.wanted.replicas {
            controller.create(store, mint, now, Span::ZERO);
        }
        for replica in &mut controller.replicas {
            replica.state = State::Ready;
        }
        controller.write_all(store, now.wall);
        controller
    }

    /// When it will do something next, if nobody writes.
    pub(super) fn next(&self) -> Option<Mono> {
        let starting = self.replicas.iter().filter(|r| r.state == State::Starting);
        let gives_up = (!self.complete() && !self.gave_up && !self.wanted.paused)
            .then(|| self.progressed + self.wanted.deadline);
        starting.map(|r| r.starts).chain(self.notices).chain(gives_up).min()
    }

    /// Looks whether the Deployment was changed.
    pub(super) fn notice(&mut self, store: &Store, now: Mono) {
        if self.notices.is_none() && self.observed != self.generation(store) {
            self.notices = Some(now + NOTICE);
        }
    }

    /// Does what is due at `now`; a later call does what is due later.
    pub(super) fn step(
        &mut self,
        store: &mut Store,
        mint: &mut Mint,
        world: &Conditions<'_>,
        now: Now,
    ) {
        if self.notices.is_some_and(|at| at <= now.mono) {
            self.notices = None;
            self.observe(store, now.mono);
        }
        for replica in self.replicas.iter_mut().filter(|r| r.state == State::Starting) {
            if replica.starts <= now.mono {
                let crashes = (world.crashes)(&replica.image);
                replica.state = if crashes { State::Crashing } else { State::Ready };
                if !crashes {
                    self.progressed = now.mono;
                }
            }
        }
        for replica in self.replicas.iter_mut().filter(|r| r.state == State::Ready) {
            replica.restarts = (world.restarts)(&replica.image);
        }
        self.reconcile(store, mint, world, now);
        let late = now.mono.since(self.progressed) >= self.wanted.deadline;
        self.gave_up |= late && !self.complete() && !self.wanted.paused;
        self.write_all(store, now.wall);
    }

    /// The images of the replicas that serve, each with how many.
    pub(super) fn serving(&self) -> Vec<(Artifact, usize)> {
        let mut found: Vec<(Artifact, usize)> = Vec::new();
        for replica in self.replicas.iter().filter(|r| r.state == State::Ready) {
            match found.iter_mut().find(|(image, _)| *image == replica.image) {
                Some((_, count)) => *count += 1,
                None => found.push((replica.image.clone(), 1)),
            }
        }
        found
    }

    pub(super) fn id(&self) -> &Id {
        &self.id
    }

    fn generation(&self, store: &Store) -> i64 {
        let stored = store.get(&self.id);
        stored.and_then(|s| s.object["metadata"]["generation"].as_i64()).unwrap_or(0)
    }

    fn observe(&mut self, store: &Store, at: Mono) {
        let Some(stored) = store.get(&self.id) else { return };
        let spec = &stored.object["spec"];
        let template = spec["template"].clone();
        let seconds = spec["progressDeadlineSeconds"].as_u64().unwrap_or(PROGRESS_DEADLINE);
        let wanted = Wanted {
            hash: hash(&template),
            template,
            replicas: spec["replicas"].as_u64().and_then(|n| n.try_into().ok()).unwrap_or(1),
            paused: spec["paused"].as_bool().unwrap_or(false),
            deadline: Span::seconds(seconds),
        };
        if wanted != self.wanted {
            self.progressed = at;
            self.gave_up = false;
        }
        self.wanted = wanted;
        self.observed = self.generation(store);
    }

    fn reconcile(&mut self, store: &mut Store, mint: &mut Mint, world: &Conditions<'_>, now: Now) {
        if self.wanted.paused {
            return;
        }
        let new = |r: &Replica, hash: &str| r.hash == hash;
        let hash = self.wanted.hash.clone();
        // What never got ready serves nobody, and goes first.
        self.retire(store, |r| r.hash != hash && r.state != State::Ready, usize::MAX);
        let ready = self.replicas.iter().filter(|r| r.state == State::Ready).count();
        let surplus = ready.saturating_sub(self.wanted.replicas);
        self.retire(store, |r| r.hash != hash, surplus);
        let excess = self.replicas.iter().filter(|r| new(r, &hash)).count();
        self.retire(store, |r| new(r, &hash), excess.saturating_sub(self.wanted.replicas));

        let have = self.replicas.iter().filter(|r| new(r, &hash)).count();
        let busy = self.replicas.iter().any(|r| r.hash == hash && r.state != State::Ready);
        if have < self.wanted.replicas && !busy {
            let each = world.deploy_time.0 / (self.wanted.replicas as u64).max(1);
            self.create(store, mint, now, Span(each));
        }
    }

    /// Deletes up to `most` replicas that fit.
    fn retire(&mut self, store: &mut Store, fits: impl Fn(&Replica) -> bool, most: usize) {
        let mut left = most;
        self.replicas.retain(|replica| {
            let goes = left > 0 && fits(replica);
            if goes {
                left -= 1;
                store.delete(&replica.id);
            }
            !goes
        });
    }

    fn create(&mut self, store: &mut Store, mint: &mut Mint, now: Now, takes: Span) {
        let hash = &self.wanted.hash;
        let set = format!("{}-{hash}", self.id.name);
        let name = format!("{set}-{:05x}", mint.next_u64() & 0xf_ffff);
        let id = Id { kind: Kind::Pod, namespace: self.id.namespace.clone(), name };
        let containers = self.wanted.template["spec"]["containers"].clone();
        let images: Vec<_> = containers.as_array().into_iter().flatten().map(container).collect();
        let own = images.iter().find(|(name, _)| *name == self.container).or(images.first());
        let image = own.map_or_else(|| Artifact(String::new()), |(_, image)| image.clone());
        let mut metadata = self.wanted.template["metadata"].clone();
        metadata["labels"]["pod-template-hash"] = json!(hash);
        metadata["name"] = json!(id.name);
        metadata["namespace"] = json!(id.namespace);
        metadata["uid"] = json!(uid(mint));
        metadata["creationTimestamp"] = json!(rfc3339(now.wall));
        metadata["ownerReferences"] = json!([{
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": set,
            "uid": uid(&mut Mint::seeded(short(&set))),
            "controller": true, "blockOwnerDeletion": true,
        }]);
        let pod = json!({
            "kind": "Pod",
            "apiVersion": "v1",
            "metadata": metadata,
            "spec": {"containers": containers, "nodeName": "node-1", "restartPolicy": "Always"},
        });
        store.put(id.clone(), pod, Vec::new());
        let (starts, state) = (now.mono + takes, State::Starting);
        let hash = hash.clone();
        self.replicas.push(Replica { id, hash, images, image, starts, state, restarts: 0 });
    }

    fn updated(&self) -> usize {
        self.replicas.iter().filter(|r| r.hash == self.wanted.hash).count()
    }

    fn available(&self) -> usize {
        self.replicas.iter().filter(|r| r.state == State::Ready).count()
    }

    fn complete(&self) -> bool {
        let wanted = self.wanted.replicas;
        self.updated() == wanted && self.replicas.len() == wanted && self.available() == wanted
    }

    fn write_all(&self, store: &mut Store, wall: Timestamp) {
        for replica in &self.replicas {
            let before = store.get(&replica.id).map(|s| s.object["status"].clone());
            let status = pod_status(replica, &before.unwrap_or_default(), wall);
            store.put_status(&replica.id, status);
        }
        let before = store.get(&self.id).map(|s| s.object["status"].clone());
        store.put_status(&self.id, self.status(&before.unwrap_or_default(), wall));
    }

    fn status(&self, before: &Value, wall: Timestamp) -> Value {
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
        // The real API leaves a count of zero out.
        for (name, count) in [
            ("replicas", total),
            ("updatedReplicas", self.updated()),
            ("readyReplicas", available),
            ("availableReplicas", available),
            ("unavailableReplicas", total.max(self.wanted.replicas).saturating_sub(available)),
        ] {
            if count > 0 {
                status[name] = json!(count);
            }
        }
        status
    }
}

fn condition(
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

fn pod_status(replica: &Replica, before: &Value, wall: Timestamp) -> Value {
    let ready = replica.state == State::Ready;
    let phase = if replica.state == State::Starting { "Pending" } else { "Running" };
    let (answer, why) = if ready { ("True", "") } else { ("False", "ContainersNotReady") };
    let since = before.pointer("/containerStatuses/0/state/running/startedAt").cloned();
    let since = since.unwrap_or_else(|| json!(rfc3339(wall)));
    let state = match replica.state {
        State::Starting => json!({"waiting": {"reason": "ContainerCreating"}}),
        State::Ready => json!({"running": {"startedAt": since}}),
        State::Crashing => json!({"waiting": {
            "reason": "CrashLoopBackOff",
            "message": "back-off 10s restarting failed container",
        }}),
    };
    let containers = replica.images.iter().map(|(name, image)| {
        json!({
            "name": name,
            "image": image,
            // The kubelet knows the image once it has pulled it.
            "imageID": if replica.state == State::Starting { String::new() } else { pulled(image) },
            "ready": ready,
            "started": ready,
            "restartCount": replica.restarts + u32::from(replica.state == State::Crashing),
            "state": state,
        })
    });
    json!({
        "phase": phase,
        "conditions": [condition(before, wall, "Ready", answer, why, "")],
        "containerStatuses": containers.collect::<Value>(),
    })
}

fn container(container: &Value) -> (String, Artifact) {
    let text = |field: &str| container[field].as_str().unwrap_or_default().to_owned();
    (text("name"), Artifact(text("image")))
}

/// What a kubelet reports of an image: its repository, pinned.
fn pulled(image: &Artifact) -> String {
    let Artifact(text) = image;
    if image.digest().is_some() {
        return text.clone();
    }
    // What a tag stands for here, as long as nobody moves it.
    let digest = Sha256::digest(text.as_bytes());
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let repository = text.rsplit_once(':').map_or(text.as_str(), |(repository, _)| repository);
    format!("{repository}@sha256:{digest}")
}

fn hash(template: &Value) -> String {
    format!("{:010x}", short(&template.to_string()) >> 24)
}

fn short(text: &str) -> u64 {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(8).fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
}

/// A UUID of version 4's form.
pub(super) fn uid(mint: &mut Mint) -> String {
    let (a, b) = (mint.next_u64(), mint.next_u64());
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        a >> 32,
        (a >> 16) & 0xffff,
        a & 0xfff,
        0x8000 | (b >> 50),
        b & 0xffff_ffff_ffff
    )
}

/// To the second, as Kubernetes writes times.
pub(super) fn rfc3339(wall: Timestamp) -> String {
    wall.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
