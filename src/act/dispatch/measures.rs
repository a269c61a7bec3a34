//! Measurements on their way: so many at once, and so many of one endpoint.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use tokio::{
    sync::{Semaphore, mpsc},
    task::AbortHandle,
};

use super::{Limits, lock};
use crate::{
    act::Measurer,
    decide::{
        command::Measure,
        event::{Answer, Event, Reading},
    },
    ids::IdempotencyKey,
};

/// Measurements on their way.
pub(super) struct Measures {
    measurer: Arc<dyn Measurer>,
    events: mpsc::Sender<Event>,
    limits: Limits,
    overall: Semaphore,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: BTreeMap<IdempotencyKey, AbortHandle>,
    endpoints: BTreeMap<String, Arc<Semaphore>>,
}

impl Measures {
    pub(super) fn new(
        measurer: Arc<dyn Measurer>,
        events: mpsc::Sender<Event>,
        limits: Limits,
    ) -> Self {
        let overall = Semaphore::new(limits.measures);
        Self { measurer, events, limits, overall, state: Mutex::default() }
    }

    /// Starts on a measurement. False where there is no room.
    pub(super) fn take(self: &Arc<Self>, measure: Measure) -> bool {
        let mut state = lock(&self.state);
        if state.waiting.contains_key(&measure.key) {
            return true;
        }
        if state.waiting.len() >= self.limits.measures_waiting {
            return false;
        }
        let of_endpoint = || Arc::new(Semaphore::new(self.limits.measures_per_endpoint));
        let endpoint =
            state.endpoints.entry(measure.source.url.clone()).or_insert_with(of_endpoint).clone();
        let key = measure.key.clone();
        // The task takes the lock before it ends, so it cannot end before it is in the map.
        let task = tokio::spawn(self.clone().carry_out(measure, endpoint));
        state.waiting.insert(key, task.abort_handle());
        true
    }

    /// Gives the measurement of that key up.
    pub(super) fn cancel(&self, key: &IdempotencyKey) {
        if let Some(task) = lock(&self.state).waiting.remove(key) {
            task.abort();
        }
    }

    /// Gives all of them up.
    pub(super) fn stop_all(&self) {
        for task in std::mem::take(&mut lock(&self.state).waiting).into_values() {
            task.abort();
        }
    }

    async fn carry_out(self: Arc<Self>, measure: Measure, endpoint: Arc<Semaphore>) {
        let answer = {
            // The endpoint's turn first: what waits for a slow endpoint must not keep others waiting.
            let _turn = endpoint.acquire().await;
            let _place = self.overall.acquire().await;
            tokio::time::timeout(measure.timeout.to_std(), self.measurer.measure(&measure)).await
        };
        let answer = answer.unwrap_or_else(|_| late(&measure));
        lock(&self.state).waiting.remove(&measure.key);
        let event = Event::Measured { plan: measure.release.plan, key: measure.key, answer };
        // Nobody listens any more only when ringward is stopping.
        let _ = self.events.send(event).await;
    }
}

/// The answer to everything that was asked, when none came in time.
fn late(measure: &Measure) -> Answer {
    let late = || Reading::Error(format!("no answer within {}", measure.timeout));
    Answer {
        value: late(),
        samples: measure.samples.is_some().then(late),
        baseline: measure.baseline_at.is_some().then(late),
    }
}
