//! Writes on their way: one lane for each target, so that two writes to it never overlap.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use futures::{FutureExt, TryFutureExt};
use tokio::sync::{Notify, Semaphore, mpsc};

use super::{Limits, lock, watches::Watches};
use crate::{
    act::{Connections, Found, WriteError, jitter::Jitter},
    decide::{
        command::{Promote, Write},
        event::{Event, Outcome},
    },
    ids::{ClusterName, IdempotencyKey, Mint},
};

/// Writes on their way.
pub(super) struct Writes {
    connections: Arc<dyn Connections>,
    events: mpsc::Sender<Event>,
    watches: Arc<Watches>,
    limits: Limits,
    clusters: Mutex<BTreeMap<ClusterName, Cluster>>,
    jitter: Jitter,
}

/// What one cluster is written at once: one slow cluster must not hold up another.
struct Cluster {
    permits: Arc<Semaphore>,
    lanes: BTreeMap<Object, Lane>,
}

/// Kind, namespace and name.
type Object = (&'static str, String, String);

/// The writes to one target: the one on its way, and the newest that waits for it to end.
struct Lane {
    running: Arc<Job>,
    next: Option<Arc<Job>>,
}

struct Job {
    epoch: u64,
    write: Write,
    /// It writes nothing: it ends a pause.
    promote: Option<Promote>,
    /// Notified once at the most: no further attempt shall be made.
    stop: Notify,
}

impl Job {
    fn object(&self) -> Object {
        let (kind, namespace, name) = self.write.target.object();
        (kind, namespace.to_owned(), name.to_owned())
    }
}

impl Writes {
    pub(super) fn new(
        connections: Arc<dyn Connections>,
        events: mpsc::Sender<Event>,
        watches: Arc<Watches>,
        limits: Limits,
    ) -> Self {
        let jitter = Jitter::new(Mint::system());
        Self { connections, events, watches, limits, clusters: Mutex::default(), jitter }
    }

    /// Starts on a write, or puts it in the place of what its target waits for. False where there is
    /// no room.
    pub(super) fn take(self: &Arc<Self>, epoch: u64, write: Write) -> bool {
        self.line_up(Job { epoch, write, promote: None, stop: Notify::new() })
    }

    /// The same of the end of a pause.
    pub(super) fn promote(self: &Arc<Self>, epoch: u64, promote: Promote) -> bool {
        let write = promote.write.clone();
        self.line_up(Job { epoch, write, promote: Some(promote), stop: Notify::new() })
    }

    fn line_up(self: &Arc<Self>, job: Job) -> bool {
        let job = Arc::new(job);
        let mut clusters = lock(&self.clusters);
        let cluster = clusters.entry(job.write.cluster.clone()).or_insert_with(|| Cluster {
            permits: Arc::new(Semaphore::new(self.limits.writes_per_cluster)),
            lanes: BTreeMap::new(),
        });
        if let Some(lane) = cluster.lanes.get_mut(&job.object()) {
            let same = |other: &Arc<Job>| other.write.key == job.write.key;
            // A newer one that waits wins over a repeat of the one that it overtakes.
            if !same(&lane.running) && !lane.next.as_ref().is_some_and(same) {
                lane.running.stop.notify_one();
                lane.next = Some(job);
            }
            return true;
        }
        if cluster.lanes.len() >= self.limits.targets_per_cluster {
            return false;
        }
        cluster.lanes.insert(job.object(), Lane { running: job.clone(), next: None });
        tokio::spawn(self.clone().drive(job, cluster.permits.clone()));
        true
    }

    /// No further attempt at the write of that key.
    pub(super) fn cancel(&self, key: &IdempotencyKey) {
        for lane in lock(&self.clusters).values_mut().flat_map(|c| c.lanes.values_mut()) {
            if &lane.running.write.key == key {
                lane.running.stop.notify_one();
            }
            if lane.next.as_ref().is_some_and(|next| &next.write.key == key) {
                lane.next = None;
            }
        }
    }

    /// No further attempt at anything.
    pub(super) fn stop_all(&self) {
        for lane in lock(&self.clusters).values_mut().flat_map(|c| c.lanes.values_mut()) {
            lane.running.stop.notify_one();
            lane.next = None;
        }
    }

    /// Carries out one write to a target after another, until none is waiting.
    async fn drive(self: Arc<Self>, first: Arc<Job>, permits: Arc<Semaphore>) {
        let mut job = first;
        loop {
            let write = &job.write;
            self.watches.follow(write);
            let ended = self.carry_out(&job, &permits).await;
            self.watches.outage(&write.release.plan, &write.cluster, None);
            if let Some((outcome, found)) = ended {
                let (plan, key) = (write.release.plan.clone(), write.key.clone());
                if let Some(state) = found {
                    let (plan, cluster) = (plan.clone(), write.cluster.clone());
                    let _ = self.events.send(Event::Found { plan, cluster, state }).await;
                }
                // Nobody listens any more only when ringward is stopping.
                let _ = self.events.send(Event::Outcome { plan, key, outcome }).await;
            }
            match self.next_after(&job) {
                Some(next) => job = next,
                None => return,
            }
        }
    }

    /// The write that waits for this one's end; where there is none, the lane is closed.
    fn next_after(&self, job: &Job) -> Option<Arc<Job>> {
        let mut clusters = lock(&self.clusters);
        let lanes = &mut clusters.get_mut(&job.write.cluster)?.lanes;
        let object = job.object();
        let lane = lanes.get_mut(&object)?;
        match lane.next.take() {
            Some(next) => {
                lane.running = next.clone();
                Some(next)
            }
            None => {
                lanes.remove(&object);
                None
            }
        }
    }

    /// Tries until the write has ended, and says what it found; none where it was overtaken or cancelled
    /// before.
    async fn carry_out(&self, job: &Job, permits: &Semaphore) -> Option<(Outcome, Found)> {
        let write = &job.write;
        let mut pause = self.limits.first_pause;
        loop {
            let attempt = {
                let _permit = tokio::select! {
                    biased;
                    () = job.stop.notified() => return None,
                    permit = permits.acquire() => permit,
                };
                self.attempt(job).await
            };
            let why = match attempt {
                Ok(found) => return Some((Outcome::Done, found)),
                Err(WriteError::Refused(why)) => return Some((Outcome::Refused(why), None)),
                Err(WriteError::Unreachable(why)) => why,
            };
            tracing::warn!(key = %write.key, cluster = %write.cluster, why, "a write did not get through");
            self.watches.outage(&write.release.plan, &write.cluster, Some(why));
            tokio::select! {
                biased;
                () = job.stop.notified() => return None,
                () = tokio::time::sleep(self.jitter.spread(pause)) => {}
            }
            pause = (pause * 2).min(self.limits.longest_pause);
        }
    }

    async fn attempt(&self, job: &Job) -> Result<Found, WriteError> {
        // A connection that is not there may be put into the settings later: that is no refusal.
        let deployer =
            self.connections.deployer(&job.write.connection).map_err(WriteError::Unreachable)?;
        let attempt = match &job.promote {
            Some(promote) => deployer.promote(promote, job.epoch).map_ok(|()| None).boxed(),
            None => deployer.write(&job.write, job.epoch),
        };
        tokio::time::timeout(self.limits.attempt, attempt).await.unwrap_or_else(|_| {
            let cluster = &job.write.cluster;
            let after = self.limits.attempt;
            Err(WriteError::Unreachable(format!("{cluster} did not answer within {after:?}")))
        })
    }
}
