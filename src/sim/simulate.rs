//! Random worlds, each from a seed: the real core, a journal that fails, a network that loses, metric
//! sources that lie, operators who change their minds, and a process that is killed at every seam.
//!
//! After every event every invariant is checked; at the end all faults are removed, and everything must
//! come to rest. Nothing here waits, and nothing is random but what the seed says, so that any failure
//! is replayed by its seed.
//!
//! The steps of a run are the events that ringward answers while things go wrong. What is deliberately
//! absent: the adapters. A network and a fleet stand in for them that keep what they promise.

mod chance;
mod courier;
mod landscape;
pub(super) mod meddle;
mod operators;
mod run;
mod shrink;
mod tale;
#[cfg(test)]
mod tests;
mod trace;
mod trouble;
mod write;
mod written;

use std::{
    collections::BTreeMap,
    fmt,
    num::NonZeroUsize,
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
};

use self::{meddle::Honest, run::Run};
pub use self::{
    run::Broken,
    shrink::{Shrunk, Written},
    trouble::{Trouble, Troubles},
};
use crate::model::time::Span;

/// What is to be simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The first seed.
    pub seed: u64,
    /// How many.
    pub seeds: u64,
    /// How many events of each go wrong, before all faults are removed.
    pub steps: u64,
    /// How many of them run at once, each on a thread of its own.
    pub jobs: NonZeroUsize,
    /// How many of the last events a failure is told with.
    pub tale: usize,
}

impl Default for Options {
    fn default() -> Self {
        let jobs = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self { seed: 1, seeds: 100, steps: 300, jobs, tale: 30 }
    }
}

/// What a run of one seed came to.
#[derive(Debug)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// Events that ringward answered, the way to rest included.
    pub events: u64,
    /// How often it was killed.
    pub crashes: u64,
    /// What went wrong around it, and how often.
    pub troubles: Troubles,
    /// The time that passed in it.
    pub time: Span,
    /// What went wrong, if something did.
    pub failure: Option<Failure>,
}

/// Something that must not be.
#[derive(Debug)]
pub struct Failure {
    /// The seed that it comes from.
    pub seed: u64,
    /// How many steps were asked for.
    pub steps: u64,
    /// The event after which it showed.
    pub step: u64,
    /// When.
    pub at: Span,
    /// What.
    pub broken: Broken,
    /// The last events before it and what came of each, the oldest first.
    pub tale: Vec<String>,
}

impl Failure {
    /// What shows it again.
    pub fn command(&self) -> String {
        format!("ringward simulate --seed {} --seeds 1 --steps {}", self.seed, self.steps)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} failed at step {}, after {}", self.seed, self.step, self.at)?;
        for line in &self.tale {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "{}", self.broken)?;
        write!(f, "again: {}", self.command())
    }
}

/// What all of them came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Seeds that nothing went wrong with.
    pub passed: u64,
    /// The others.
    pub failed: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// Outcomes that wait to be reported before those that run wait for it.
const AHEAD: usize = 64;

/// Runs every seed; `report` hears of each when it is done, in their order.
pub fn simulate(options: Options, report: &mut dyn FnMut(&Outcome)) -> Summary {
    let Options { seed, seeds, steps, jobs, tale } = options;
    let mut summary = Summary::default();
    let next = AtomicU64::new(0);
    let (done, outcomes) = mpsc::sync_channel(AHEAD);
    let work = |done: mpsc::SyncSender<(u64, Outcome)>| {
        while let n = next.fetch_add(1, Ordering::Relaxed)
            && n < seeds
        {
            let outcome = Run::new(seed.wrapping_add(n), &mut Honest).tell(tale).all(steps);
            if done.send((n, outcome)).is_err() {
                break;
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.get() {
            let (work, done) = (&work, done.clone());
            scope.spawn(move || work(done));
        }
        drop(done);
        let (mut early, mut reported) = (BTreeMap::new(), 0);
        for (n, outcome) in outcomes {
            early.insert(n, outcome);
            while let Some(outcome) = early.remove(&reported) {
                match outcome.failure {
                    None => summary.passed += 1,
                    Some(_) => summary.failed += 1,
                }
                report(&outcome);
                reported += 1;
            }
        }
    });
    summary
}

/// Makes a scenario of a seed that fails, with nothing in it that the failure does not need. Nothing
/// where the seed does not fail, or where no scenario can say why: what a journal or a target breaks of
/// its own promises is replayed by the seed alone, and so is what comes to no end.
pub fn shrink(seed: u64, steps: u64) -> Option<Shrunk> {
    shrink::shrink((seed, steps), &mut || Box::new(Honest))
}
