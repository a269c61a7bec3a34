//! Whose turn it is to be asked.
//!
//! - Identical questions that wait or are on their way are one question, with one answer for all.
//! - So many questions are on their way to one endpoint, and so many over all.
//! - An endpoint that has gone silent is asked one thing at a time, in places of its own; whoever waits
//!   behind that question shares its silence. So a dead endpoint costs one place, and holds up no other.
//! - An endpoint that asks to be left alone is left alone.
//!
//! Deliberately absent: any memory of answers. A question asked later is asked again.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use jiff::Timestamp;
use reqwest::Url;
use tokio::sync::Semaphore;

use super::{
    client::{Answered, Client, base},
    question::{Heard, Question, Speaks},
    speaker,
};
use crate::{
    clock::Clock,
    model::time::{Mono, Span},
};

/// The longest that an answer may take, whatever a measurement asks for.
pub(super) const LONGEST_WAIT: Span = Span::seconds(10);
/// The longest that an endpoint is left alone because it asks for that.
const LONGEST_QUIET: Span = Span::minutes(5);

/// How much is asked at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Questions on their way, over all endpoints that answer.
    pub overall: usize,
    /// Questions on their way to one endpoint.
    pub per_endpoint: usize,
    /// Questions on their way, over all endpoints that have gone silent; at most one to each.
    pub silent: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { overall: 256, per_endpoint: 8, silent: 256 }
    }
}

/// What was answered, or why there is no answer.
type Told = Result<Heard, String>;
type Flight = Shared<BoxFuture<'static, Told>>;
type Grounded = WeakShared<BoxFuture<'static, Told>>;

/// Asks every source, each in its turn.
pub(super) struct Asker {
    client: Client,
    clock: Arc<dyn Clock>,
    limits: Limits,
    overall: Semaphore,
    silent: Semaphore,
    endpoints: Mutex<BTreeMap<String, Arc<Endpoint>>>,
    /// What waits or is on its way, and the number of its flight.
    pub(super) in_flight: Mutex<BTreeMap<Question, (u64, Grounded)>>,
    flights: AtomicU64,
}

/// Scheme, host and port: what connections are kept to.
#[derive(Debug)]
struct Endpoint {
    turns: Semaphore,
    /// The one place while it is silent.
    probe: Semaphore,
    /// Answers that came, of whatever kind.
    answers: AtomicU64,
    /// Questions that ran out of time while nothing else was answered, since the last answer.
    silences: AtomicU64,
    quiet_until: Mutex<Mono>,
}

impl Asker {
    pub(super) fn new(client: Client, clock: Arc<dyn Clock>, limits: Limits) -> Self {
        Self {
            client,
            clock,
            limits,
            overall: Semaphore::new(limits.overall),
            silent: Semaphore::new(limits.silent),
            endpoints: Mutex::default(),
            in_flight: Mutex::default(),
            flights: AtomicU64::new(0),
        }
    }

    /// Joins the flight of an equal question, or starts one. Dropping it takes the question back,
    /// unless another waits for the same.
    pub(super) fn board(self: &Arc<Self>, mut question: Question) -> Flight {
        question.timeout = question.timeout.min(LONGEST_WAIT);
        let mut in_flight = lock(&self.in_flight);
        if let Some(flight) = in_flight.get(&question).and_then(|(_, weak)| weak.upgrade()) {
            return flight;
        }
        let number = self.flights.fetch_add(1, Ordering::Relaxed);
        let landing = Landing { asker: self.clone(), question: question.clone(), number };
        let flight = async move {
            let Landing { asker, question, .. } = &landing;
            let speaker = speaker(question)?;
            let (now, Answered { status, body, .. }) = asker.turn(question, &*speaker).await?;
            speaker.heard(question, now, (status, &body))
        };
        let flight = flight.boxed().shared();
        if let Some(weak) = flight.downgrade() {
            in_flight.insert(question, (number, weak));
        }
        flight
    }

    /// Waits for the question's turn, and asks it.
    async fn turn(
        &self,
        question: &Question,
        speaker: &dyn Speaks,
    ) -> Result<(Timestamp, Answered), String> {
        let base = base(&question.url)?;
        let endpoint = self.endpoint(&base);
        loop {
            let silences = endpoint.silences.load(Ordering::SeqCst);
            if silences == 0 {
                let _turn = endpoint.turns.acquire().await;
                if endpoint.silences.load(Ordering::SeqCst) == 0 {
                    let _place = self.overall.acquire().await;
                    return self.ask(question, speaker, &base, &endpoint).await;
                }
            } else {
                let _turn = endpoint.probe.acquire().await;
                match endpoint.silences.load(Ordering::SeqCst) {
                    now if now == silences => {
                        let _place = self.silent.acquire().await;
                        return self.ask(question, speaker, &base, &endpoint).await;
                    }
                    0 => {}
                    _ => return Err("it answers nothing; another question ran out of time".into()),
                }
            }
        }
    }

    async fn ask(
        &self,
        question: &Question,
        speaker: &dyn Speaks,
        base: &Url,
        endpoint: &Endpoint,
    ) -> Result<(Timestamp, Answered), String> {
        let now = self.clock.now();
        let quiet = lock(&endpoint.quiet_until).since(now.mono);
        if quiet > Span::ZERO {
            return Err(format!("it asked to be left alone for another {}", whole(quiet)));
        }
        let outgoing = speaker.request(question, now.wall)?;
        let before = endpoint.answers.load(Ordering::SeqCst);
        let exchange = self.client.exchange(base, outgoing, now.wall);
        match tokio::time::timeout(question.timeout.to_std(), exchange).await {
            Ok(answered) => {
                endpoint.answers.fetch_add(1, Ordering::SeqCst);
                endpoint.silences.store(0, Ordering::SeqCst);
                if let Ok(Answered { status: 429 | 503, retry_after: Some(wait), .. }) = &answered {
                    *lock(&endpoint.quiet_until) = now.mono + (*wait).min(LONGEST_QUIET);
                }
                answered.map(|answered| (now.wall, answered))
            }
            Err(_) => {
                // A slow query does not make a silent endpoint, as long as others are answered.
                if endpoint.answers.load(Ordering::SeqCst) == before {
                    endpoint.silences.fetch_add(1, Ordering::SeqCst);
                }
                Err(format!("no answer within {}", question.timeout))
            }
        }
    }

    fn endpoint(&self, base: &Url) -> Arc<Endpoint> {
        let made = || {
            Arc::new(Endpoint {
                turns: Semaphore::new(self.limits.per_endpoint),
                probe: Semaphore::new(1),
                answers: AtomicU64::new(0),
                silences: AtomicU64::new(0),
                quiet_until: Mutex::new(Mono(0)),
            })
        };
        let origin = base.origin().ascii_serialization();
        lock(&self.endpoints).entry(origin).or_insert_with(made).clone()
    }
}

/// Takes a flight off the board, whichever way it ends.
struct Landing {
    asker: Arc<Asker>,
    question: Question,
    number: u64,
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut in_flight = lock(&self.asker.in_flight);
        // A later flight of the same question may have taken its place.
        if in_flight.get(&self.question).is_some_and(|(number, _)| *number == self.number) {
            in_flight.remove(&self.question);
        }
    }
}

/// In whole seconds, and not less than there is.
fn whole(span: Span) -> Span {
    Span::seconds(span.0.div_ceil(1_000))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
