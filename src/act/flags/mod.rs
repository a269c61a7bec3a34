//! Feature flag services, which are in no cluster: one file a service, over HTTP.
//!
//! What a service's file answers for is pure: which requests look at a flag, how the answers are read, and which
//! requests change it. What is common to all is in [`service`]: consent, epochs, repeats, who else has changed it, and
//! that what was written is read back. Where services are, and what they are shown, is the server's settings'
//! to say, for each cluster's connection: a declaration gives a name.
//!
//! These services have no annotations. What ringward notes stands in one text that the service keeps with what
//! is written ([`super::note`]), and that is written in the same request. Where a service has no such text, the note is
//! written first and says what it means to replace (`from`): a crash between both is then told from somebody's change.

mod flagsmith;
mod launchdarkly;
mod service;
mod services;
#[cfg(test)]
mod tests;
mod unleash;
mod variants;

use std::fmt;

use reqwest::Url;

pub use self::services::FlagServices;
use super::{
    metrics::question::{Outgoing, refused},
    note::Note,
};
use crate::model::{ring::Target, serve::Serve};

/// A service's API: pure throughout.
trait Api: Send + Sync {
    /// What comes next in a look at a flag, after these answers to what was asked so far, in order.
    ///
    /// # Errors
    /// There is none, or nobody can say what it serves.
    fn look(&self, base: &Url, target: &Target, answers: &[Answer]) -> Result<Step, Trouble>;

    /// Whether it was changed, by status and body.
    ///
    /// # Errors
    /// It was not.
    fn changed(&self, answer: (u16, &[u8])) -> Result<(), Trouble>;

    /// How its owner lets a plan have it: what to do, with the text to keep.
    fn consent(&self, text: &str) -> String;
}

/// What was answered: the status and the body.
type Answer = (u16, Vec<u8>);

/// What comes next in a look at a flag.
#[derive(Debug)]
enum Step {
    /// A further request.
    Ask(Outgoing),
    /// Nothing: this is it.
    Seen(Flag),
}

/// What a service's file keeps of a flag that it has read: how that is changed.
trait Change: fmt::Debug + Send + Sync {
    /// The requests, in order, that make it serve something else and keep a note. Each may be the last that is made.
    ///
    /// # Errors
    /// The flag cannot serve that, or may not be changed; in words that begin with a verb.
    fn to(&self, serve: &Serve, note: &Note) -> Result<Vec<Outgoing>, String>;
}

/// A flag as its service has it.
#[derive(Debug)]
struct Flag {
    /// What it serves.
    serves: Serve,
    /// Whether its owner has switched it off.
    off: bool,
    /// The note, where its owner has let a plan have it.
    note: Option<Note>,
    /// How it is changed.
    change: Box<dyn Change>,
}

/// Why there is no flag, or no change.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Trouble {
    /// It is not there.
    Gone,
    /// Nothing but a person can help; in words that begin with a verb.
    Refused(String),
    /// It may pass; in words.
    Unreachable(String),
    /// It was changed since it was read.
    Race,
}

/// The trouble that any service has, by its status.
fn trouble(status: u16) -> Trouble {
    match status {
        404 => Trouble::Gone,
        401 | 408 | 429 | 500.. => Trouble::Unreachable(refused(status, None)),
        _ => Trouble::Refused(format!("is refused by its service: {}", refused(status, None))),
    }
}
