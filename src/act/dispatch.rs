//! Carries commands out: bounded queues, deadlines, retries, supersession.
//!
//! The dispatcher is handed commands after they are durable, and answers with events. It never blocks
//! its caller, and it may be handed the same command again: what is on its way already is ignored, and
//! an adapter that meets its own write changes nothing. That is what makes room for bounded queues:
//! what found no room is dropped and counted, and whoever keeps the unsettled commands hands them in
//! again.
//!
//! Deliberately absent: any judgement of whether a command is still wanted. A newer write to the same
//! target takes the place of an older one, because the core does not decide for one before it has done
//! with the other; apart from that, only [`Dispatch::cancel`] stops anything.

mod measures;
mod watches;
mod witnesses;
mod writes;

use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::mpsc;

use self::{measures::Measures, watches::Watches, witnesses::Witnesses, writes::Writes};
use super::{Connections, Measurer};
use crate::{
    decide::{
        command::Command,
        event::{Event, TargetState},
    },
    ids::{IdempotencyKey, PlanName},
    model::plan::Plan,
};

/// How much the dispatcher does at once, and how patient it is; real time throughout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// How long one attempt to write may take.
    pub attempt: Duration,
    /// The pause after the first attempt that did not reach its target; each one after is twice as long.
    pub first_pause: Duration,
    /// The longest pause between two attempts.
    pub longest_pause: Duration,
    /// Attempts to write to one cluster at once.
    pub writes_per_cluster: usize,
    /// Targets of one cluster with a write that has not ended; a write to one more is dropped.
    pub targets_per_cluster: usize,
    /// Measurements that have not ended, waiting ones included; one more is dropped.
    pub measures_waiting: usize,
    /// How often a cluster is asked what its nodes say of where they are.
    pub witness_every: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            attempt: Duration::from_secs(30),
            first_pause: Duration::from_millis(200),
            longest_pause: Duration::from_secs(30),
            writes_per_cluster: 4,
            targets_per_cluster: 1_024,
            measures_waiting: 16_384,
            witness_every: Duration::from_secs(60),
        }
    }
}

/// The dispatcher; dropping it ends its watches, and its writes once their attempt is over.
pub struct Dispatch {
    writes: Arc<Writes>,
    measures: Arc<Measures>,
    watches: Arc<Watches>,
    witnesses: Witnesses,
    dropped: AtomicU64,
}

impl Dispatch {
    /// A dispatcher that works through these adapters and reports to `events`.
    pub fn new(
        connections: Arc<dyn Connections>,
        measurer: Arc<dyn Measurer>,
        events: mpsc::Sender<Event>,
        limits: Limits,
    ) -> Self {
        let watches = Arc::new(Watches::new(connections.clone(), events.clone()));
        let witnesses = Witnesses::new(connections.clone(), events.clone(), limits.witness_every);
        Self {
            writes: Arc::new(Writes::new(
                connections,
                events.clone(),
                watches.clone(),
                limits.clone(),
            )),
            measures: Arc::new(Measures::new(measurer, events, limits)),
            watches,
            witnesses,
            dropped: AtomicU64::new(0),
        }
    }

    /// Starts on the commands, in this order; `epoch` is the writer's whose they are. Must be called
    /// inside a tokio runtime.
    ///
    /// Each ends in one [`Event::Outcome`] or [`Event::Measured`], except where it is dropped for want
    /// of room, overtaken by a newer write to its target, or cancelled.
    pub fn dispatch(
        &self,
        epoch: u64,
        commands: impl IntoIterator<Item = impl Into<Arc<Command>>>,
    ) {
        for command in commands {
            let taken = match Arc::unwrap_or_clone(command.into()) {
                Command::Deploy(write) | Command::Restore(write) => self.writes.take(epoch, write),
                Command::Promote(promote) => self.writes.promote(epoch, promote),
                Command::Measure(measure) => self.measures.take(measure),
            };
            if !taken {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Gives a command up before its next attempt; one that was made already may still end and report.
    pub fn cancel(&self, key: &IdempotencyKey) {
        self.writes.cancel(key);
        self.measures.cancel(key);
    }

    /// Watches the plan's target in every one of its clusters, and asks those what they say of
    /// themselves; and nothing else for that plan.
    ///
    /// A target that is written to without being watched is watched from then on, so that a release
    /// under an older snapshot of the plan is seen too.
    pub fn watch(&self, plan: &Plan) {
        self.watches.reconcile(plan);
        self.witnesses.reconcile(plan);
    }

    /// Watches nothing for the plan any more.
    pub fn unwatch(&self, plan: &PlanName) {
        self.watches.stop(plan);
        self.witnesses.stop(plan);
    }

    /// Commands that found no room, since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for Dispatch {
    fn drop(&mut self) {
        self.writes.stop_all();
        self.measures.stop_all();
        self.watches.stop_all();
        self.witnesses.stop_all();
    }
}

/// A target that cannot be seen.
fn unknown(why: impl Into<String>) -> TargetState {
    TargetState::unknown(why)
}

/// The lock's content. No code panics while it holds one of these locks, so a poisoned one is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(test)]
mod tests;
