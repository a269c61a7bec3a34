//! The only place that asks what time it is, or sleeps.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use jiff::Timestamp;

use crate::model::time::{Mono, Now, Span};

/// Tells the time on both clocks, and waits for it to pass.
pub trait Clock: Send + Sync {
    /// The instant.
    fn now(&self) -> Now;

    /// Returns once that much of this clock's time has passed.
    fn sleep(&self, span: Span) -> BoxFuture<'static, ()>;
}

/// The machine's clocks; the monotonic one goes on from where the journal left it.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
    base: Mono,
    /// The wall time of the start, and by how much time is compressed: for the demo only.
    compressed: Option<(Timestamp, f64)>,
}

impl SystemClock {
    /// Real time, monotonic from `base`.
    #[expect(clippy::disallowed_methods, reason = "the clock")]
    pub fn new(base: Mono) -> Self {
        Self { started: Instant::now(), base, compressed: None }
    }

    /// Both clocks run `speed` times as fast as the machine's, from `wall` and `base`.
    #[expect(clippy::disallowed_methods, reason = "the clock")]
    pub fn compressed(wall: Timestamp, base: Mono, speed: f64) -> Self {
        Self { started: Instant::now(), base, compressed: Some((wall, speed.max(0.001))) }
    }

    fn speed(&self) -> f64 {
        self.compressed.map_or(1.0, |(_, speed)| speed)
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the clock")]
    fn now(&self) -> Now {
        let passed = self.started.elapsed().mul_f64(self.speed());
        let passed = Span(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX));
        let wall = match self.compressed {
            None => Timestamp::now(),
            Some((start, _)) => start.saturating_add(passed.to_signed()).unwrap_or(start),
        };
        Now { wall, mono: self.base + passed }
    }

    fn sleep(&self, span: Span) -> BoxFuture<'static, ()> {
        // One real millisecond at the least, so that a compressed clock cannot spin.
        let real = span.to_std().div_f64(self.speed()).max(Duration::from_millis(1));
        Box::pin(tokio::time::sleep(real))
    }
}

/// Does `work`, and says how long that took in the machine's time: for figures, never for decisions.
#[expect(clippy::disallowed_methods, reason = "the clock")]
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let started = Instant::now();
    let done = work();
    (done, started.elapsed())
}

/// A clock that stands still until it is moved; sleeping on it returns at once.
#[derive(Debug)]
pub struct ManualClock(Mutex<Now>);

impl ManualClock {
    /// Stands at `now`.
    pub fn new(now: Now) -> Self {
        Self(Mutex::new(now))
    }

    /// Moves both clocks on.
    pub fn advance(&self, span: Span) {
        let mut now = self.0.lock().unwrap_or_else(|e| e.into_inner());
        now.mono = now.mono + span;
        now.wall = now.wall.saturating_add(span.to_signed()).unwrap_or(now.wall);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Now {
        *self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn sleep(&self, span: Span) -> BoxFuture<'static, ()> {
        self.advance(span);
        Box::pin(futures::future::ready(()))
    }
}
