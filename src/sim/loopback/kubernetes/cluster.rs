//! One simulated cluster: its objects, the controllers that move them, and the clock they live by.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};

use super::{
    controller::{Conditions, Controller, rfc3339},
    failure::Failure,
    objects::{self, container, id_of},
    ownership::Manager,
    patch::Patch,
    store::{Change, Id, Kind, Store},
};
use crate::{
    clock::Clock,
    ids::{Mint, Region},
    model::{
        ring::{Artifact, Target},
        time::{Mono, Now, Span},
    },
    sim::loopback::Workload,
};

/// Rollouts of one Deployment that are remembered.
const REMEMBERED: usize = 4_096;

/// Which images served from when on, each with how many replicas.
type Serving = Vec<(Artifact, usize)>;

/// A simulated cluster. Whatever is asked of it first does all that was due by then, so that no answer
/// depends on how late a task was woken.
pub(in crate::sim::loopback) struct Cluster {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// The version of the last change.
    changed: watch::Sender<u64>,
    written: Notify,
}

struct State {
    store: Store,
    controllers: Vec<Controller>,
    mint: Mint,
    deploy_time: Span,
    /// Digests that fall over at their start.
    crashing: BTreeSet<String>,
    /// By digest, what an analysis has against it.
    faults: BTreeMap<String, String>,
    /// By digest, how often each container restarts once it is ready.
    restarts: BTreeMap<String, u32>,
    history: BTreeMap<Id, Vec<(Timestamp, Serving)>>,
    /// The region that each node's label names, if it has one; nothing where nobody may see them.
    nodes: Vec<Option<Region>>,
    nodes_are_hidden: bool,
    /// By the intent that a write carried: how often one changed its object.
    written: BTreeMap<String, u64>,
}

impl Cluster {
    /// A cluster in which `workloads` have been running for long.
    pub(in crate::sim::loopback) fn new(
        workloads: &[Workload],
        deploy_time: Span,
        clock: Arc<dyn Clock>,
        seed: u64,
    ) -> Self {
        let now = clock.now();
        let mut state = State {
            store: Store::default(),
            controllers: Vec::new(),
            mint: Mint::seeded(seed),
            deploy_time,
            crashing: BTreeSet::new(),
            faults: BTreeMap::new(),
            restarts: BTreeMap::new(),
            history: BTreeMap::new(),
            nodes: Vec::new(),
            nodes_are_hidden: false,
            written: BTreeMap::new(),
        };
        for workload in workloads {
            state.seed(workload, now);
        }
        let changed = watch::Sender::new(state.store.version());
        Self { clock, state: Mutex::new(state), changed, written: Notify::new() }
    }

    /// Moves the cluster on, for as long as it is polled.
    pub(in crate::sim::loopback) async fn run(self: Arc<Self>) {
        loop {
            let (next, now) = self.locked(|state, now| (state.next(), now));
            let due = async {
                match next {
                    Some(at) => self.clock.sleep(at.since(now.mono)).await,
                    None => futures::future::pending().await,
                }
            };
            tokio::select! {
                () = due => {}
                () = self.written.notified() => {}
            }
        }
    }

    /// Gives what an image holds a start that it does not survive.
    pub(in crate::sim::loopback) fn crash(&self, artifact: &Artifact) {
        let key = artifact.digest().unwrap_or(&artifact.0).to_owned();
        self.locked(|state, _| state.crashing.insert(key));
    }

    /// Gives the analyses of rollouts something against what an image holds.
    pub(in crate::sim::loopback) fn fault(&self, artifact: &Artifact, why: &str) {
        let key = artifact.digest().unwrap_or(&artifact.0).to_owned();
        self.locked(|state, _| state.faults.insert(key, why.to_owned()));
    }

    /// Deletes an object and what its controller made of it.
    pub(in crate::sim::loopback) fn delete(&self, target: &Target) {
        let id = id_of(target);
        self.locked(|state, _| {
            state.store.delete(&id);
            let store = &mut state.store;
            for controller in state.controllers.extract_if(.., |c| *c.id() == id) {
                controller.dismiss(store);
            }
        });
    }

    /// Adds a Deployment that nothing runs: one that something else takes its template from.
    pub(in crate::sim::loopback) fn add_template(&self, workload: &Workload) {
        self.locked(|state, now| {
            state.add_template(id_of(&workload.target).kind, workload, now);
        });
    }

    /// Gives what an image holds so many restarts once it is ready; it serves all the same.
    pub(in crate::sim::loopback) fn restart(&self, artifact: &Artifact, times: u32) {
        let key = artifact.digest().unwrap_or(&artifact.0).to_owned();
        self.locked(|state, now| {
            state.restarts.insert(key, times);
            state.step(now, |_| true);
        });
    }

    /// Rollouts that begin from now on take this long.
    pub(in crate::sim::loopback) fn set_deploy_time(&self, span: Span) {
        self.locked(|state, _| state.deploy_time = span);
    }

    /// What served a Deployment's requests between two instants: each stretch with its length in
    /// seconds. Nothing where there is no such Deployment.
    pub(in crate::sim::loopback) fn served(
        &self,
        target: &Target,
        from: Timestamp,
        to: Timestamp,
    ) -> Vec<(f64, Serving)> {
        let id = id_of(target);
        self.locked(|state, _| {
            let history = state.history.get(&id).map(Vec::as_slice).unwrap_or_default();
            let mut found = Vec::new();
            for (at, (since, serving)) in history.iter().enumerate() {
                // What ran first had been running for long.
                let begins = if at == 0 { from } else { (*since).max(from) };
                let ends = history.get(at + 1).map_or(to, |(next, _)| (*next).min(to));
                let length = ends.duration_since(begins).as_secs_f64();
                if length > 0.0 || (from == to && begins <= to && ends >= to) {
                    found.push((length.max(f64::EPSILON), serving.clone()));
                }
            }
            found
        })
    }

    /// The images that a Deployment's ready replicas run now.
    pub(in crate::sim::loopback) fn serving(&self, target: &Target) -> Serving {
        let id = id_of(target);
        self.locked(|state, _| {
            let controller = state.controllers.iter().find(|c| *c.id() == id);
            controller.map(Controller::serving).unwrap_or_default()
        })
    }

    /// How often a write under each intent changed its object.
    pub(in crate::sim::loopback) fn written(&self) -> BTreeMap<String, u64> {
        self.locked(|state, _| state.written.clone())
    }

    /// Gives the cluster these nodes, and no others.
    pub(in crate::sim::loopback) fn label_nodes(&self, regions: &[Option<&Region>]) {
        let regions = regions.iter().map(|region| region.cloned()).collect();
        self.locked(|state, _| state.nodes = regions);
    }

    /// Forbids everybody to list the nodes, or allows it again.
    pub(in crate::sim::loopback) fn hide_nodes(&self, hidden: bool) {
        self.locked(|state, _| state.nodes_are_hidden = hidden);
    }

    /// The regions of all nodes, each as its label names it.
    pub(super) fn nodes(&self) -> Result<Vec<Option<Region>>, Failure> {
        self.locked(|state, _| match state.nodes_are_hidden {
            true => Err(Failure::no_permission("list", "nodes")),
            false => Ok(state.nodes.clone()),
        })
    }

    pub(super) fn get(&self, id: &Id) -> Result<Arc<Value>, Failure> {
        let found = self.locked(|state, _| state.store.get(id).map(|s| s.object.clone()));
        found.ok_or_else(|| Failure::not_found(id.kind, &id.name))
    }

    /// The objects of a kind, and the version that they are all at.
    pub(super) fn list(&self, kind: Kind, namespace: Option<&str>) -> (u64, Vec<Arc<Value>>) {
        self.locked(|state, _| {
            let objects = state.store.list(kind, namespace).cloned().collect();
            (state.store.version(), objects)
        })
    }

    pub(super) fn since(&self, version: u64) -> Result<Vec<Change>, Failure> {
        self.locked(|state, _| state.store.since(version))
    }

    /// Tells of every change from now on.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub(super) fn patch(&self, id: &Id, patch: &Patch, dry: bool) -> Result<Arc<Value>, Failure> {
        let patched = self.locked(|state, now| {
            let before = state.store.version();
            let patched = state.store.patch(id, patch, &rfc3339(now.wall), dry);
            if let Some(intent) = patch.intent().filter(|_| state.store.version() != before) {
                *state.written.entry(intent.to_owned()).or_default() += 1;
            }
            for controller in &mut state.controllers {
                controller.notice(&state.store, now.mono);
            }
            patched
        });
        self.written.notify_one();
        patched
    }

    pub(super) fn patch_status(&self, id: &Id, patch: &Value) -> Result<Arc<Value>, Failure> {
        let patched = self.locked(|state, now| {
            let patched = state.store.patch_status(id, patch);
            for controller in &mut state.controllers {
                controller.notice(&state.store, now.mono);
            }
            patched
        });
        self.written.notify_one();
        patched
    }

    fn locked<T>(&self, act: impl FnOnce(&mut State, Now) -> T) -> T {
        // Nothing panics while it holds the lock, so a poisoned state is whole.
        let mut state = self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let now = self.clock.now();
        state.catch_up(now);
        let answer = act(&mut state, now);
        let version = state.store.version();
        self.changed.send_if_modified(|seen| std::mem::replace(seen, version) != version);
        answer
    }
}

impl State {
    fn seed(&mut self, workload: &Workload, now: Now) {
        let target = &workload.target;
        let id = id_of(target);
        if let Some(kind) = objects::other(target) {
            self.add_template(kind, workload, now);
        }
        let (mut object, managers) = objects::object(id.kind, workload, &mut self.mint, now.wall);
        object["metadata"]["managedFields"] = managers.iter().map(Manager::to_json).collect();
        self.store.put(id.clone(), object, managers);
        let controller = Controller::settled(
            id.clone(),
            container(target),
            &mut self.store,
            &mut self.mint,
            now,
        );
        self.history.insert(id, vec![(now.wall, controller.serving())]);
        self.controllers.push(controller);
    }

    /// Adds what a target takes its template or its manifests from, which runs nothing itself.
    fn add_template(&mut self, kind: Kind, workload: &Workload, now: Now) {
        let id = Id { kind, ..id_of(&workload.target) };
        let (mut object, managers) = objects::object(kind, workload, &mut self.mint, now.wall);
        if kind == Kind::Deployment {
            object["spec"]["replicas"] = json!(0);
        }
        object["metadata"]["managedFields"] = managers.iter().map(Manager::to_json).collect();
        self.store.put(id, object, managers);
    }

    fn next(&self) -> Option<Mono> {
        self.controllers.iter().filter_map(Controller::next).min()
    }

    /// Does everything that was due by now, each thing at its time.
    fn catch_up(&mut self, now: Now) {
        while let Some(at) = self.next().filter(|at| *at <= now.mono) {
            let late = now.mono.since(at).to_signed();
            let wall = now.wall.checked_sub(late).unwrap_or(now.wall);
            self.step(Now { wall, mono: at }, |next| next.is_some_and(|due| due <= at));
        }
    }

    /// Lets those controllers do what is due, of which that is wanted by when they will next be.
    fn step(&mut self, now: Now, wanted: impl Fn(Option<Mono>) -> bool) {
        let (crashing, restarts) = (&self.crashing, &self.restarts);
        let crashes = |image: &Artifact| crashing.contains(image.digest().unwrap_or(&image.0));
        let restarts = |image: &Artifact| {
            restarts.get(image.digest().unwrap_or(&image.0)).copied().unwrap_or(0)
        };
        let faults =
            |image: &Artifact| self.faults.get(image.digest().unwrap_or(&image.0)).cloned();
        let world = Conditions {
            deploy_time: self.deploy_time,
            crashes: &crashes,
            restarts: &restarts,
            faults: &faults,
        };
        for controller in self.controllers.iter_mut().filter(|c| wanted(c.next())) {
            controller.step(&mut self.store, &mut self.mint, &world, now);
            let serving = controller.serving();
            let history = self.history.entry(controller.id().clone()).or_default();
            if history.last().is_none_or(|(_, last)| *last != serving) {
                history.push((now.wall, serving));
            }
            if history.len() > REMEMBERED {
                history.remove(0);
            }
        }
    }
}
