//! Measurements on their way. Whose turn it is to be asked is the measurer's to know: it sees which
//! questions are the same, and whom they go to.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use tokio::{sync::mpsc, task::AbortHandle};

use super::{Limits, lock};
use crate::{
    act::Measurer,
    decide::{command::Measure, event::Event},
    ids::IdempotencyKey,
};

/// Measurements on their way.
pub(super) struct Measures {
    measurer: Arc<dyn Measurer>,
    events: mpsc::Sender<Event>,
    limits: Limits,
    waiting: Mutex<BTreeMap<IdempotencyKey, AbortHandle>>,
}

impl Measures {
    pub(super) fn new(
        measurer: Arc<dyn Measurer>,
        events: mpsc::Sender<Event>,
        limits: Limits,
    ) -> Self {
        Self { measurer, events, limits, waiting: Mutex::default() }
    }

    /// Starts on a measurement. False where there is no room.
    pub(super) fn take(self: &Arc<Self>, measure: Measure) -> bool {
        let mut waiting = lock(&self.waiting);
        if waiting.contains_key(&measure.key) {
            return true;
        }
        if waiting.len() >= self.limits.measures_waiting {
            return false;
        }
        let key = measure.key.clone();
        // The task takes the lock before it ends, so it cannot end before it is in the map.
        let task = tokio::spawn(self.clone().carry_out(measure));
        waiting.insert(key, task.abort_handle());
        true
    }

    /// Gives the measurement of that key up.
    pub(super) fn cancel(&self, key: &IdempotencyKey) {
        if let Some(task) = lock(&self.waiting).remove(key) {
            task.abort();
        }
    }

    /// Gives all of them up.
    pub(super) fn stop_all(&self) {
        for task in std::mem::take(&mut *lock(&self.waiting)).into_values() {
            task.abort();
        }
    }

    async fn carry_out(self: Arc<Self>, measure: Measure) {
        let answer = self.measurer.measure(&measure).await;
        lock(&self.waiting).remove(&measure.key);
        let event = Event::Measured { plan: measure.release.plan, key: measure.key, answer };
        // Nobody listens any more only when ringward is stopping.
        let _ = self.events.send(event).await;
    }
}
