//! Services in no cluster that make runs (a deployment, a rollout, an execution of a pipeline): one file a service, over
//! HTTP.
//!
//! What a service's file answers for is pure: which requests look at the runs of a target and how the answers are
//! read, which start one, and which stops one. What is common to all is in [`service`]: consent, epochs, repeats, what
//! ran before, what goes on still, and that what was started is read back. Where services are, and which plans may
//! use them, is the server's settings' to say, for each cluster's connection: a declaration gives a name.
//!
//! A run is never changed: each write is another one, and so is the way back. What ringward notes is one text that is
//! started with it and that it carries for good ([`super::note`]).

mod cloud_deploy;
mod codedeploy;
mod harness;
mod service;
mod services;
mod spinnaker;
#[cfg(test)]
mod tests;
mod webhook;

use reqwest::Url;

pub use self::services::Deployers;
use super::{
    metrics::question::{Outgoing, refused},
    note::Note,
};
use crate::{
    decide::{event::Status, gate::words::tamed},
    model::ring::{Artifact, Target},
};

/// The runs that are looked at: what came before them is nobody's concern any more.
const RUNS: usize = 20;
/// The most characters that are told of what a service says of a failure.
const WORDS: usize = 200;

/// A service's API: pure throughout.
trait Api: Send + Sync {
    /// What to ask next about runs, by what was answered so far; or the runs, the newest first.
    ///
    /// # Errors
    /// There is no such target, or nobody can say what ran.
    fn look(
        &self,
        place: Place<'_>,
        which: Which<'_>,
        heard: &[Heard],
    ) -> Result<Step<Vec<Run>>, Trouble>;

    /// What to send next to start a run, by what was answered so far; or the run's id.
    ///
    /// # Errors
    /// It is not started.
    fn start(
        &self,
        place: Place<'_>,
        order: &Order<'_>,
        heard: &[Heard],
    ) -> Result<Step<String>, Trouble>;

    /// The request that stops a run; nothing where the service does so itself when the next is started.
    fn stop(&self, place: Place<'_>, run: &Run) -> Option<Outgoing>;
}

/// Where something is asked.
#[derive(Clone, Copy)]
struct Place<'a> {
    /// The service's URL.
    base: &'a Url,
    /// The target, with nothing left to fill in.
    target: &'a Target,
}

/// Which runs are looked at.
#[derive(Clone, Copy)]
enum Which<'a> {
    /// The target's newest, with all that a write has to know of them.
    Newest,
    /// The newest of all, whatever comes with it.
    Last,
    /// The one of that id.
    One(&'a str),
}

/// An answer: its status and body.
type Heard = (u16, Vec<u8>);

/// What comes next.
#[derive(Debug)]
enum Step<T> {
    /// Another request.
    Ask(Box<Outgoing>),
    /// Nothing: this is what came of it.
    Done(T),
}

/// Asks for more.
fn ask<T>(outgoing: Outgoing) -> Result<Step<T>, Trouble> {
    Ok(Step::Ask(Box::new(outgoing)))
}

/// A run as its service has it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Run {
    /// By what the service knows it.
    id: String,
    /// How far it is.
    status: Status,
    /// What it brings, where it says.
    image: Option<Artifact>,
    /// What ringward noted with it; nothing where somebody else has started it.
    note: Option<Note>,
}

impl Run {
    /// Whether it may still change anything.
    fn goes_on(&self) -> bool {
        matches!(self.status, Status::Pending | Status::Progressing(_) | Status::Paused)
    }

    /// Whether it is known to have ended.
    fn has_ended(&self) -> bool {
        matches!(self.status, Status::Succeeded | Status::Failed(_))
    }

    /// The write that started it.
    fn intent(&self) -> Option<&str> {
        self.note.as_ref()?.intent.as_deref()
    }
}

/// A run that is to be started.
struct Order<'a> {
    /// What it brings, pinned by a digest.
    image: &'a Artifact,
    /// The 64 digits of that digest.
    hex: &'a str,
    /// What is noted with it.
    note: &'a Note,
    /// The write's idempotency key.
    intent: &'a str,
    /// The writer's epoch.
    epoch: u64,
    /// Runs of ours that go on still and that this one takes the place of.
    instead_of: &'a [String],
}

/// Why there is no answer, or no run.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Trouble {
    /// The target is not there.
    Gone,
    /// Nothing but a person can help; in words that begin with a verb.
    Refused(String),
    /// It may pass; in words.
    Unreachable(String),
}

/// The trouble that any service has, by its status and a word that names the kind of error.
fn trouble(status: u16, word: Option<&str>) -> Trouble {
    match status {
        404 => Trouble::Gone,
        401 | 408 | 423 | 425 | 429 | 500.. => Trouble::Unreachable(refused(status, word)),
        _ => Trouble::Refused(format!("is refused by its service: {}", refused(status, word))),
    }
}

/// A run that failed, by its service's word and whatever it says of it.
fn failed(word: &str, why: Option<&str>) -> Status {
    let is = format!("its run is {}", tamed(word, WORDS));
    let why = why.map(|why| tamed(why, WORDS)).filter(|why| !why.is_empty());
    Status::Failed(why.map_or_else(|| is.clone(), |why| format!("{is}: {why}")))
}

/// A run whose status this version does not know.
fn unheard(word: &str) -> Status {
    Status::Unknown(format!("its status is {}, which ringward does not know", tamed(word, WORDS)))
}
