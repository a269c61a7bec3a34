//! The watches that are running: one task for each target of a plan, which alone speaks of it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use futures::{StreamExt, stream};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use super::{lock, unknown};
use crate::{
    act::Connections,
    decide::{
        command::Write,
        event::{Event, Status, TargetState},
    },
    ids::{ClusterName, PlanName},
    model::{plan::Plan, ring::Target},
};

/// The watches that are running.
///
/// What a watch sees and what a failing write learns both make a state, and they must not overtake
/// each other; so a write tells of its outage here, and the watch's task says what follows from both.
pub(super) struct Watches {
    connections: Arc<dyn Connections>,
    events: mpsc::Sender<Event>,
    running: Mutex<BTreeMap<PlanName, BTreeMap<ClusterName, Running>>>,
}

struct Running {
    connection: String,
    target: Target,
    /// Why a write cannot reach the target, while it cannot; dropping it ends the task.
    outage: watch::Sender<Option<String>>,
    task: JoinHandle<()>,
}

impl Watches {
    pub(super) fn new(connections: Arc<dyn Connections>, events: mpsc::Sender<Event>) -> Self {
        Self { connections, events, running: Mutex::default() }
    }

    /// Watches exactly the targets of the plan.
    pub(super) fn reconcile(&self, plan: &Plan) {
        let mut running = lock(&self.running);
        let watches = running.entry(plan.name.clone()).or_default();
        watches.retain(|name, _| plan.cluster(name).is_some());
        for cluster in plan.clusters() {
            self.ensure(watches, &plan.name, &cluster.name, &cluster.connection, &plan.target);
        }
    }

    /// Watches what is written to.
    pub(super) fn follow(&self, write: &Write) {
        let plan = &write.release.plan;
        let mut running = lock(&self.running);
        let watches = running.entry(plan.clone()).or_default();
        self.ensure(watches, plan, &write.cluster, &write.connection, &write.target);
    }

    /// Watches nothing for the plan.
    pub(super) fn stop(&self, plan: &PlanName) {
        lock(&self.running).remove(plan);
    }

    /// Watches nothing.
    pub(super) fn stop_all(&self) {
        lock(&self.running).clear();
    }

    /// A write to the plan's target does not get through, or does again. Only the first reason of an
    /// outage is told.
    pub(super) fn outage(&self, plan: &PlanName, cluster: &ClusterName, why: Option<String>) {
        if let Some(watch) = lock(&self.running).get(plan).and_then(|all| all.get(cluster)) {
            watch.outage.send_if_modified(|now| {
                let begins_or_ends = now.is_some() != why.is_some();
                if begins_or_ends {
                    *now = why;
                }
                begins_or_ends
            });
        }
    }

    fn ensure(
        &self,
        watches: &mut BTreeMap<ClusterName, Running>,
        plan: &PlanName,
        cluster: &ClusterName,
        connection: &str,
        target: &Target,
    ) {
        let same = |w: &Running| w.connection == connection && &w.target == target;
        if watches.get(cluster).is_some_and(same) {
            return;
        }
        // Dropping the old one's sender ends it; the new one waits for its last word.
        let before = watches.remove(cluster).map(|old| old.task);
        let (outage, hear) = watch::channel(None);
        let speaker = Speaker {
            plan: plan.clone(),
            cluster: cluster.clone(),
            said: None,
            events: self.events.clone(),
        };
        let connections = self.connections.clone();
        let (name, object) = (connection.to_owned(), target.clone());
        let task = tokio::spawn(async move {
            if let Some(before) = before {
                // It was not aborted; had it panicked, there would be nothing left to wait for.
                let _ = before.await;
            }
            speaker.run(connections, name, object, hear).await;
        });
        let connection = connection.to_owned();
        watches
            .insert(cluster.clone(), Running { connection, target: target.clone(), outage, task });
    }
}

/// Says each state of one target once.
struct Speaker {
    plan: PlanName,
    cluster: ClusterName,
    said: Option<TargetState>,
    events: mpsc::Sender<Event>,
}

impl Speaker {
    async fn run(
        mut self,
        connections: Arc<dyn Connections>,
        connection: String,
        target: Target,
        mut outage: watch::Receiver<Option<String>>,
    ) {
        let states = match connections.deployer(&connection) {
            Ok(deployer) => deployer.watch(&self.plan, &target),
            Err(why) => stream::iter([unknown(why)]).boxed(),
        };
        let mut states = states.chain(stream::pending());
        let mut seen = None;
        loop {
            tokio::select! {
                state = states.next() => seen = state,
                changed = outage.changed() => if changed.is_err() { break },
            }
            let why = outage.borrow_and_update().clone();
            if let Some(state) = why.map(unknown).or_else(|| seen.clone()) {
                self.say(state).await;
            }
        }
        // What was seen last must not pass for what is there now.
        if !matches!(&self.said, None | Some(TargetState { status: Status::Unknown(_), .. })) {
            self.say(unknown("it is no longer watched")).await;
        }
    }

    async fn say(&mut self, state: TargetState) {
        if self.said.as_ref() == Some(&state) {
            return;
        }
        self.said = Some(state.clone());
        let (plan, cluster) = (self.plan.clone(), self.cluster.clone());
        // Nobody listens any more only when ringward is stopping.
        let _ = self.events.send(Event::Observed { plan, cluster, state }).await;
    }
}
