//! The desk between the people who look and ask, and the one loop that decides.
//!
//! One side ([`Desk`]) is shared by every request: it reads the live world and hands requests in. The
//! other ([`Clerk`]) belongs to the drive loop: it takes the requests, and says what was recorded.
//!
//! Architecture invariant: nobody on the reading side can change the world, and an answer is given
//! only after it is durable (invariants 14 and 26): the loop answers an [`Ask`] after its append.

use std::{
    sync::{Arc, OnceLock, PoisonError, RwLock},
    time::Duration,
};

use tokio::sync::{broadcast, mpsc, oneshot};

use super::change::Change;
use crate::{
    clock::Clock,
    decide::{event::Request, fact::Reply, world::World},
    model::time::Now,
    record::Store,
};

/// Requests that may wait for the loop; more are turned away at once.
const WAITING: usize = 256;

/// Changes that a slow listener may lag behind before it is told to list again.
const CHANGES: usize = 1024;

/// The longest that a request waits for its answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request on its way to the core, and where its answer goes.
#[derive(Debug)]
pub struct Ask {
    /// What is asked, authenticated and authorised.
    pub request: Request,
    /// Takes the answer once it is durable, or why there is none.
    pub reply: oneshot::Sender<Result<Reply, Unavailable>>,
}

/// Why a request was not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// Too many requests wait already; nothing was done about this one.
    #[error("too many requests are waiting; nothing was done: try again in a moment")]
    Busy,
    /// The writer is stopping; nothing was done.
    #[error("ringward is stopping; nothing was done: try again once it is back")]
    Stopping,
    /// It could not be recorded, so nothing is done about it (invariant 26).
    #[error("nothing can be recorded, so nothing was done: {0}")]
    NotRecorded(String),
    /// The answer did not come in time.
    #[error(
        "there was no answer in time, and whether it was recorded is not known: look, or repeat it \
         with the same Idempotency-Key"
    )]
    Unanswered,
}

/// Reads the live world and hands requests in.
pub struct Desk {
    world: Arc<RwLock<World>>,
    clock: Arc<dyn Clock>,
    store: Arc<dyn Store>,
    asks: mpsc::Sender<Ask>,
    /// Nobody listens to it: it is what listeners start from, and it lets them end with the loop.
    changes: broadcast::Receiver<Change>,
    broken: Arc<OnceLock<String>>,
}

/// The loop's side of the desk.
#[derive(Debug)]
pub struct Clerk {
    /// The requests, in the order in which they came.
    pub asks: mpsc::Receiver<Ask>,
    changes: broadcast::Sender<Change>,
    broken: Arc<OnceLock<String>>,
}

impl Desk {
    /// Both sides of a desk over `world`, which the loop goes on writing.
    pub fn new(
        world: Arc<RwLock<World>>,
        clock: Arc<dyn Clock>,
        store: Arc<dyn Store>,
    ) -> (Self, Clerk) {
        let (asks, taken) = mpsc::channel(WAITING);
        let (tell, changes) = broadcast::channel(CHANGES);
        let broken = Arc::new(OnceLock::new());
        let clerk = Clerk { asks: taken, changes: tell, broken: broken.clone() };
        (Self { world, clock, store, asks, changes, broken }, clerk)
    }

    /// Looks at the world as it is now. The loop waits meanwhile: look, and leave.
    pub fn read<R>(&self, look: impl FnOnce(&World, Now) -> R) -> R {
        // A panic of the writer leaves a world that its next step replaces; reading goes on.
        let world = self.world.read().unwrap_or_else(PoisonError::into_inner);
        look(&world, self.clock.now())
    }

    /// The journal, for the audit and for events that a listener missed.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The clock that the core is asked by.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// What is recorded from now on; it ends with the loop.
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.resubscribe()
    }

    /// Asks the core, and returns its answer once that is durable.
    ///
    /// # Errors
    /// Nothing was done, or (for [`Unavailable::Unanswered`]) it is not known whether it was.
    pub async fn ask(&self, request: Request) -> Result<Reply, Unavailable> {
        if let Some(cause) = self.broken.get() {
            return Err(Unavailable::NotRecorded(cause.clone()));
        }
        let (reply, answer) = oneshot::channel();
        self.asks.try_send(Ask { request, reply }).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => Unavailable::Busy,
            mpsc::error::TrySendError::Closed(_) => Unavailable::Stopping,
        })?;
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(Ok(answer)) => answer,
            // The loop took it and went away: it may have been recorded.
            Ok(Err(_)) | Err(_) => Err(Unavailable::Unanswered),
        }
    }

    /// Whether requests can be answered: this process is the writer, and its journal takes entries.
    ///
    /// # Errors
    /// Says in words why they cannot.
    pub fn ready(&self) -> Result<(), String> {
        if let Some(cause) = self.broken.get() {
            return Err(cause.clone());
        }
        if self.asks.is_closed() {
            return Err("the loop that decides has stopped".into());
        }
        match self.read(|world, _| world.epoch) {
            0 => Err("the journal is being read".into()),
            _ => Ok(()),
        }
    }
}

impl Clerk {
    /// Says what was recorded, to whoever listens. Nobody is told of a mere tick of a clock.
    pub fn tell(&self, change: Change) {
        // It fails where nobody listens, and then there is nobody to tell.
        let _ = self.changes.send(change);
    }

    /// From now on nothing can be recorded; requests are turned away with the cause.
    pub fn broken(&self, cause: String) {
        // The first cause is the one to repair.
        let _ = self.broken.set(cause);
    }
}
