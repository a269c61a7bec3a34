//! What clusters say of themselves, asked again and again while a plan has anything there.
//!
//! A cluster that cannot be asked says nothing: what it said last stays, and nobody takes its silence for
//! consent or for contradiction.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{sync::mpsc, task::AbortHandle, time::sleep};

use super::lock;
use crate::{
    act::{Connections, jitter::Jitter},
    decide::event::{Event, News},
    ids::{ClusterName, Mint, PlanName},
    model::{plan::Plan, residency::Witness},
};

/// One task for each cluster, which alone speaks of it.
pub(super) struct Witnesses {
    connections: Arc<dyn Connections>,
    events: mpsc::Sender<Event>,
    every: Duration,
    jitter: Jitter,
    running: Mutex<BTreeMap<ClusterName, Running>>,
}

struct Running {
    connection: String,
    /// The plans that have something there.
    plans: BTreeSet<PlanName>,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Witnesses {
    pub(super) fn new(
        connections: Arc<dyn Connections>,
        events: mpsc::Sender<Event>,
        every: Duration,
    ) -> Self {
        let jitter = Jitter::new(Mint::system());
        Self { connections, events, every, jitter, running: Mutex::default() }
    }

    /// Asks every cluster of the plan, and for its sake no other.
    pub(super) fn reconcile(&self, plan: &Plan) {
        let mut running = lock(&self.running);
        release(&mut running, &plan.name, |cluster| plan.cluster(cluster).is_some());
        for cluster in plan.clusters() {
            let known = running.get(&cluster.name).filter(|r| r.connection == cluster.connection);
            if known.is_none() {
                let plans = running.remove(&cluster.name).map(|old| old.plans.clone());
                let task = tokio::spawn(attend(
                    self.connections.clone(),
                    self.events.clone(),
                    (cluster.name.clone(), cluster.connection.clone()),
                    (self.jitter.spread(self.every), self.every),
                ));
                let (connection, task) = (cluster.connection.clone(), task.abort_handle());
                let plans = plans.unwrap_or_default();
                running.insert(cluster.name.clone(), Running { connection, plans, task });
            }
            if let Some(known) = running.get_mut(&cluster.name) {
                known.plans.insert(plan.name.clone());
            }
        }
    }

    /// Asks nothing more for the plan's sake.
    pub(super) fn stop(&self, plan: &PlanName) {
        release(&mut lock(&self.running), plan, |_| false);
    }

    /// Asks nothing more.
    pub(super) fn stop_all(&self) {
        lock(&self.running).clear();
    }
}

/// Clusters that the plan has left, and no other plan has anything in, are asked no more.
fn release(
    running: &mut BTreeMap<ClusterName, Running>,
    plan: &PlanName,
    stays: impl Fn(&ClusterName) -> bool,
) {
    running.retain(|cluster, known| {
        if !stays(cluster) {
            known.plans.remove(plan);
        }
        !known.plans.is_empty()
    });
}

async fn attend(
    connections: Arc<dyn Connections>,
    events: mpsc::Sender<Event>,
    (cluster, connection): (ClusterName, String),
    (mut pause, every): (Duration, Duration),
) {
    let mut said: Option<Witness> = None;
    let mut trouble: Option<String> = None;
    loop {
        let answer = match connections.deployer(&connection) {
            Ok(deployer) => deployer.witness().await,
            Err(why) => Err(why),
        };
        match answer {
            Ok(None) => trouble = None,
            Ok(Some(witness)) => {
                trouble = None;
                if said.as_ref() != Some(&witness) {
                    let news = News::Witness(cluster.clone(), witness.clone());
                    // Nobody listens any more only when ringward is stopping.
                    let _ = events.send(Event::Learned(news)).await;
                    said = Some(witness);
                }
            }
            Err(why) => {
                if trouble.as_ref() != Some(&why) {
                    tracing::warn!(
                        %cluster,
                        %why,
                        "what the cluster says of itself is not known; what it said last stays"
                    );
                    trouble = Some(why);
                }
            }
        }
        // The first pause differs from cluster to cluster, so that not all are asked at once ever after.
        sleep(std::mem::replace(&mut pause, every)).await;
    }
}
