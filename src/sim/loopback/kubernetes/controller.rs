//! What a controller, the scheduler and the kubelets would do for one object.
//!
//! All of it is a function of time: [`Controller::next`] says when something is due, and
//! [`Controller::step`] does it, so that any clock may drive it. Replicas are replaced one after
//! another: a new one before an old one, as with `maxSurge: 1, maxUnavailable: 0`, but for StatefulSets and
//! DaemonSets, where the old one goes first. A Rollout takes a pause step, and aborts where its analysis fails.

mod argo_cd;
mod origin;
mod pod;
mod report;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    objects::REPLICAS,
    store::{Id, Kind, Store},
};
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
    /// What an analysis has against what an image holds.
    pub(super) faults: &'a dyn Fn(&Artifact) -> Option<String>,
}

/// The controller of one object.
#[derive(Debug)]
pub(super) struct Controller {
    id: Id,
    /// The container whose image counts.
    container: String,
    /// The generation that it has looked at.
    observed: i64,
    /// When it will look at a newer one.
    notices: Option<Mono>,
    /// The generation of the Deployment that a Rollout takes its template from.
    observed_workload: Option<i64>,
    wanted: Wanted,
    /// What was rolled out last.
    stable: Wanted,
    replicas: Vec<Replica>,
    /// When the rollout last got on.
    progressed: Mono,
    gave_up: bool,
    /// Of a Rollout: why its analysis aborted it.
    aborted: Option<String>,
    /// It is at a pause step.
    pausing: bool,
    /// Somebody has said that it shall go on, and its controller has not looked yet.
    resuming: bool,
    retrying: bool,
    /// It has gone past its pause step.
    promoted: bool,
    /// Of a Canary: when its analysis ends.
    analysis_ends: Option<Mono>,
    /// Of a Canary: the hash of the template that it last took up.
    last_applied: String,
    /// The token of the last reconciliation that somebody asked Flux for.
    observed_token: Option<String>,
    /// How many templates it has taken up.
    releases: u32,
    /// Of an Application.
    operation: argo_cd::Operation,
    /// Of an Application: the source that it last looked at.
    compared: Value,
}

/// The specification that the controller works from: the one it has observed.
#[derive(Debug, Clone, Default, PartialEq)]
struct Wanted {
    template: Value,
    hash: String,
    replicas: usize,
    paused: bool,
    deadline: Span,
    /// Of a Rollout: there is a pause among its steps, or before the switch.
    pauses: bool,
    /// Of a Rollout: all new replicas first, then a switch.
    blue_green: bool,
    /// Of a StatefulSet or DaemonSet: nothing is replaced but what somebody deletes.
    on_delete: bool,
    /// Of a StatefulSet: pods below this one keep what they run.
    partition: usize,
}

#[derive(Debug, Clone)]
struct Replica {
    id: Id,
    /// Its place among the others, from 0.
    ordinal: usize,
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
            observed_workload: None,
            wanted: Wanted::default(),
            stable: Wanted::default(),
            replicas: Vec::new(),
            progressed: now.mono,
            gave_up: false,
            aborted: None,
            pausing: false,
            resuming: false,
            retrying: false,
            promoted: false,
            analysis_ends: None,
            last_applied: String::new(),
            observed_token: None,
            releases: 0,
            operation: argo_cd::Operation::default(),
            compared: Value::Null,
        };
        controller.observe(store, now.mono, Span::ZERO);
        controller.stable = controller.wanted.clone();
        controller.analysis_ends = None;
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
        let gives_up = self.could_be_late().then(|| self.progressed + self.wanted.deadline);
        let analysis = self.analysis_ends.filter(|_| !self.wanted.paused);
        starting.map(|r| r.starts).chain(self.notices).chain(gives_up).chain(analysis).min()
    }

    /// Looks whether the object was changed, or somebody has touched a status that is not theirs.
    pub(super) fn notice(&mut self, store: &Store, now: Mono) {
        if let Some(stored) = store.get(&self.id).filter(|_| self.id.kind == Kind::Rollout) {
            let status = &stored.object["status"];
            self.resuming |= self.pausing && status["pauseConditions"].is_null();
            self.retrying |= self.aborted.is_some() && status["abort"] == json!(false);
        }
        if self.id.kind.is_data() {
            // Nobody has to take it up.
            let object = store.get(&self.id).map(|stored| self.template(&stored.object, None));
            if object.is_some_and(|template| pod::hash(&template) != self.wanted.hash) {
                self.notices = Some(now);
            }
            return;
        }
        let news = self.resuming || self.retrying;
        let application = self.id.kind == Kind::Application;
        let stale = (application && self.may_sync(store))
            || (!application && self.observed != self.generation(store))
            || self.observed_token != self.token(store)
            || self.observed_workload != self.workload(store).map(|(_, generation)| generation);
        if self.notices.is_none() && (news || stale) {
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
            if self.id.kind != Kind::Application || self.sync(store, world, now) {
                self.observe(store, now.mono, world.deploy_time);
            }
            if std::mem::take(&mut self.resuming) {
                (self.pausing, self.promoted) = (false, true);
            }
            if std::mem::take(&mut self.retrying) {
                (self.aborted, self.progressed) = (None, now.mono);
            }
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
        self.judge(world);
        self.analyse(world, now.mono);
        self.reconcile(store, mint, world, now);
        let late = now.mono.since(self.progressed) >= self.wanted.deadline;
        self.gave_up |= late && self.could_be_late();
        if self.gave_up && self.id.kind == Kind::HelmRelease && self.aborted.is_none() {
            // Helm goes back by itself.
            (self.aborted, self.gave_up) = (Some("timed out".into()), false);
            self.reconcile(store, mint, world, now);
        }
        if self.complete() && self.aborted.is_none() && self.analysis_ends.is_none() {
            self.stable = self.wanted.clone();
        }
        self.write_all(store, now.wall);
    }

    /// What a Rollout's analysis says of the replicas that are ready, and whether it comes to its pause.
    fn judge(&mut self, world: &Conditions<'_>) {
        if self.id.kind != Kind::Rollout || self.stable.hash == self.wanted.hash {
            return;
        }
        let new =
            self.replicas.iter().find(|r| r.hash == self.wanted.hash && r.state == State::Ready);
        let Some(new) = new else { return };
        if self.wanted.blue_green && self.new_ready() < self.wanted.replicas {
            return;
        }
        if self.aborted.is_none() && !self.retrying {
            self.aborted = (world.faults)(&new.image);
        }
        self.pausing |= self.wanted.pauses && !self.promoted && self.aborted.is_none();
    }

    /// The end of a Canary's analysis.
    fn analyse(&mut self, world: &Conditions<'_>, now: Mono) {
        if self.wanted.paused || self.analysis_ends.is_none_or(|ends| ends > now) {
            return;
        }
        self.analysis_ends = None;
        let images = pod::images(&self.wanted.template);
        let own = images.into_iter().find(|(name, _)| *name == self.container);
        let Some((_, image)) = own else { return };
        let crashes = (world.crashes)(&image).then(|| "no replica got ready".to_owned());
        self.aborted = crashes.or_else(|| (world.faults)(&image));
    }

    /// Whether it counts against its deadline: StatefulSets and DaemonSets have none.
    fn could_be_late(&self) -> bool {
        let has = matches!(
            self.id.kind,
            Kind::Deployment
                | Kind::Rollout
                | Kind::Application
                | Kind::Kustomization
                | Kind::HelmRelease
        );
        let stands = self.wanted.paused || self.pausing || self.aborted.is_some();
        has && !stands && !self.gave_up && !self.complete()
    }

    /// The images of the replicas that serve, each with how many.
    pub(super) fn serving(&self) -> Vec<(Artifact, usize)> {
        let mut found: Vec<(Artifact, usize)> = Vec::new();
        // Green replicas get no requests before the switch.
        let serves =
            |r: &&Replica| !self.wanted.blue_green || r.hash == self.stable.hash || self.complete();
        for replica in self.replicas.iter().filter(|r| r.state == State::Ready).filter(serves) {
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

    /// Deletes its pods.
    pub(super) fn dismiss(self, store: &mut Store) {
        self.replicas.iter().for_each(|replica| store.delete(&replica.id));
    }

    fn observe(&mut self, store: &mut Store, at: Mono, analysis: Span) {
        let Some(stored) = store.get(&self.id) else { return };
        let (spec, workload) = (&stored.object["spec"], self.workload(store));
        let template = self.template(&stored.object, workload.map(|(w, _)| w));
        let seconds = spec["progressDeadlineSeconds"].as_u64().unwrap_or(PROGRESS_DEADLINE);
        let count = |value: &Value| value.as_u64().and_then(|n| n.try_into().ok());
        let steps = spec["strategy"]["canary"]["steps"].as_array();
        // Of what does not say itself how many replicas it brings about.
        let nodes = &stored.object["metadata"]["labels"][REPLICAS];
        let nodes = nodes.as_str().and_then(|text| text.parse().ok());
        let wanted = Wanted {
            hash: pod::hash(&template),
            template,
            replicas: nodes.or_else(|| count(&spec["replicas"])).unwrap_or(1),
            paused: spec["paused"] == true || spec["suspend"] == true,
            deadline: Span::seconds(seconds),
            pauses: steps.into_iter().flatten().any(|step| !step["pause"].is_null())
                || spec["strategy"]["blueGreen"]["autoPromotionEnabled"] == false,
            blue_green: spec["strategy"]["blueGreen"].is_object(),
            on_delete: spec["updateStrategy"]["type"] == "OnDelete",
            partition: count(&spec["updateStrategy"]["rollingUpdate"]["partition"]).unwrap_or(0),
        };
        let generation = workload.map(|(_, generation)| generation);
        if wanted != self.wanted {
            self.progressed = at;
            self.gave_up = false;
        }
        // To Flagger the promoted template again is a rollback by hand, and no news; nor is what failed.
        let known = [&self.stable.hash, &self.last_applied].contains(&&wanted.hash);
        let by_hand = self.id.kind == Kind::Canary && known;
        if wanted.hash != self.wanted.hash && !by_hand {
            self.aborted = None;
            (self.pausing, self.promoted) = (false, false);
            self.releases += 1;
            self.last_applied = wanted.hash.clone();
            self.analysis_ends = (self.id.kind == Kind::Canary).then(|| at + analysis);
        }
        self.observed_token = self.token(store);
        self.compared = spec["source"].clone();
        self.wanted = wanted;
        self.observed = self.generation(store);
        self.observed_workload = generation;
        if let Some(generation) = generation {
            let name = "rollout.argoproj.io/workload-generation";
            store.put_annotation(&self.id, name, &generation.to_string());
        }
    }

    /// What is to run now: what was there before, where an analysis has aborted or is under way.
    fn target(&self) -> &Wanted {
        if self.aborted.is_some() || self.analysis_ends.is_some() {
            &self.stable
        } else {
            &self.wanted
        }
    }

    fn reconcile(&mut self, store: &mut Store, mint: &mut Mint, world: &Conditions<'_>, now: Now) {
        if self.wanted.paused {
            return;
        }
        let each = Span(world.deploy_time.0 / (self.wanted.replicas as u64).max(1));
        match self.id.kind {
            Kind::Deployment
            | Kind::Rollout
            | Kind::Canary
            | Kind::Application
            | Kind::Kustomization
            | Kind::OciRepository
            | Kind::HelmRelease
            | Kind::Pod => {
                if self.wanted.blue_green {
                    return self.switch(store, mint, now, each);
                }
                let most = if self.pausing { 1 } else { usize::MAX };
                self.surge(store, mint, now, each, most);
            }
            Kind::StatefulSet | Kind::DaemonSet => self.replace(store, mint, now, each),
            Kind::ConfigMap | Kind::FeatureFlag => {
                let hash = self.wanted.hash.clone();
                self.retire(store, |r| r.hash != hash, usize::MAX);
                while self.replicas.len() < self.wanted.replicas {
                    self.create(store, mint, now, Span::ZERO);
                }
                self.replicas.iter_mut().for_each(|replica| replica.state = State::Ready);
            }
        }
    }

    /// A new replica before an old one, and no more than `most` new ones.
    fn surge(&mut self, store: &mut Store, mint: &mut Mint, now: Now, each: Span, most: usize) {
        let (hash, wanted) = (self.target().hash.clone(), self.target().replicas);
        let new = |r: &Replica, hash: &str| r.hash == hash;
        // What never got ready serves nobody, and goes first.
        self.retire(store, |r| r.hash != hash && r.state != State::Ready, usize::MAX);
        let ready = self.replicas.iter().filter(|r| r.state == State::Ready).count();
        let surplus = ready.saturating_sub(wanted);
        self.retire(store, |r| r.hash != hash, surplus);
        let excess = self.replicas.iter().filter(|r| new(r, &hash)).count();
        self.retire(store, |r| new(r, &hash), excess.saturating_sub(wanted));

        let have = self.replicas.iter().filter(|r| new(r, &hash)).count();
        let busy = self.replicas.iter().any(|r| r.hash == hash && r.state != State::Ready);
        if have < wanted.min(most) && !busy {
            self.create(store, mint, now, each);
        }
    }

    /// All new replicas beside the old ones, which go at the switch, or the new ones where it is aborted.
    fn switch(&mut self, store: &mut Store, mint: &mut Mint, now: Now, each: Span) {
        let (hash, wanted) = (self.target().hash.clone(), self.target().replicas);
        if self.aborted.is_some() || (self.new_ready() >= wanted && !self.pausing) {
            self.retire(store, |r| r.hash != hash, usize::MAX);
        }
        let own = |r: &&Replica| r.hash == hash;
        let (have, busy) = (
            self.replicas.iter().filter(own).count(),
            self.replicas.iter().filter(own).any(|r| r.state != State::Ready),
        );
        self.retire(store, |r| r.hash == hash, have.saturating_sub(wanted));
        if have < wanted && !busy {
            self.create(store, mint, now, each);
        }
    }

    fn new_ready(&self) -> usize {
        let new = |r: &&Replica| r.hash == self.wanted.hash && r.state == State::Ready;
        self.replicas.iter().filter(new).count()
    }

    /// An old replica goes, and a new one comes in its place. A StatefulSet begins at the end, and waits
    /// for every pod to be ready before it touches the next, a broken one of the old template too.
    fn replace(&mut self, store: &mut Store, mint: &mut Mint, now: Now, each: Span) {
        let (hash, wanted) = (self.wanted.hash.clone(), self.wanted.replicas);
        let ordered = self.id.kind == Kind::StatefulSet;
        if !ordered {
            self.retire(store, |r| r.hash != hash && r.state != State::Ready, usize::MAX);
        }
        let excess = self.replicas.len().saturating_sub(wanted);
        self.retire(store, |_| true, excess);
        let all_ready = self.replicas.iter().all(|r| r.state == State::Ready);
        if self.replicas.len() == wanted && all_ready && !self.wanted.on_delete {
            let partition = self.wanted.partition;
            let fits = |r: &&Replica| r.hash != hash && (!ordered || r.ordinal >= partition);
            let last = self.replicas.iter().filter(fits).map(|r| r.ordinal).max();
            self.retire(store, |r| Some(r.ordinal) == last, 1);
        }
        let all_ready = self.replicas.iter().all(|r| r.state == State::Ready);
        if self.replicas.len() < wanted && (all_ready || !ordered) {
            self.create(store, mint, now, each);
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
        let (hash, template) = (self.target().hash.clone(), self.target().template.clone());
        let taken = |ordinal: &usize| self.replicas.iter().any(|r| r.ordinal == *ordinal);
        let ordinal = (0..).find(|ordinal| !taken(ordinal)).unwrap_or(0);
        let mut chance = || format!("{:05x}", mint.next_u64() & 0xf_ffff);
        let own = &self.id.name;
        let (label, label_value, owner, name) = match self.id.kind {
            Kind::Deployment
            | Kind::Application
            | Kind::Kustomization
            | Kind::OciRepository
            | Kind::HelmRelease
            | Kind::ConfigMap
            | Kind::FeatureFlag
            | Kind::Pod => {
                let set = format!("{own}-{hash}");
                let name = format!("{set}-{}", chance());
                ("pod-template-hash", hash.clone(), ("ReplicaSet", set), name)
            }
            Kind::Canary => {
                let set = format!("{own}-primary-{hash}");
                let name = format!("{set}-{}", chance());
                ("pod-template-hash", hash.clone(), ("ReplicaSet", set), name)
            }
            Kind::Rollout => {
                let set = format!("{own}-{hash}");
                let name = format!("{set}-{}", chance());
                ("rollouts-pod-template-hash", hash.clone(), ("ReplicaSet", set), name)
            }
            Kind::StatefulSet | Kind::DaemonSet => {
                let name = match self.id.kind == Kind::StatefulSet {
                    true => format!("{own}-{ordinal}"),
                    false => format!("{own}-{}", chance()),
                };
                let owner = (self.id.kind.name(), own.clone());
                ("controller-revision-hash", format!("{own}-{hash}"), owner, name)
            }
        };
        let id = Id { kind: Kind::Pod, namespace: self.id.namespace.clone(), name };
        let containers = template["spec"]["containers"].clone();
        let images = pod::images(&template);
        let own = images.iter().find(|(name, _)| *name == self.container).or(images.first());
        let image = own.map_or_else(|| Artifact(String::new()), |(_, image)| image.clone());
        let mut metadata = template["metadata"].clone();
        metadata["labels"][label] = json!(label_value);
        if self.id.kind == Kind::Canary {
            metadata["labels"]["app"] = json!(format!("{}-primary", self.id.name));
        }
        metadata["name"] = json!(id.name);
        metadata["namespace"] = json!(id.namespace);
        metadata["uid"] = json!(uid(mint));
        metadata["creationTimestamp"] = json!(rfc3339(now.wall));
        metadata["ownerReferences"] = json!([{
            "apiVersion": "apps/v1", "kind": owner.0, "name": owner.1,
            "uid": uid(&mut Mint::seeded(pod::short(&owner.1))),
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
        self.replicas.push(Replica {
            id,
            ordinal,
            hash,
            images,
            image,
            starts,
            state,
            restarts: 0,
        });
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
            let status = pod::status(replica, &before.unwrap_or_default(), wall);
            store.put_status(&replica.id, status);
        }
        if let (Kind::Kustomization | Kind::HelmRelease, Some(name)) =
            (self.id.kind, self.source(store))
        {
            let id = Id { kind: Kind::OciRepository, name, ..self.id.clone() };
            let before = store.get(&id).map(|s| s.object["status"].clone());
            store.put_status(&id, self.pulled(&before.unwrap_or_default(), wall));
        }
        let before = store.get(&self.id).map(|s| s.object["status"].clone());
        store.put_status(&self.id, self.status(&before.unwrap_or_default(), wall));
    }
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
