//! Feature flag services, which are in no cluster: one file a service, over HTTP.
//!
//! What a service's file answers for is pure: which request looks at a flag, how the answer is read, and which
//! request changes it. What is common to all is in [`service`]: consent, epochs, repeats, who else has changed it, and
//! that what was written is read back. Where services are, and what they are shown, is the server's settings'
//! to say, for each cluster's connection: a declaration gives a name.
//!
//! These services have no annotations. What ringward notes stands in one text that the service keeps with what
//! is written ([`note`]), and that is written in the same request.

mod note;
mod service;
mod services;
#[cfg(test)]
mod tests;
mod unleash;

use reqwest::Url;

use self::note::Note;
pub use self::services::FlagServices;
use super::metrics::question::{Outgoing, refused};
use crate::model::{ring::Target, serve::Serve};

/// A service's API: pure throughout.
trait Api: Send + Sync {
    /// The request that looks at a flag.
    fn look(&self, base: &Url, target: &Target) -> Outgoing;

    /// The flag that was answered, by status and body.
    ///
    /// # Errors
    /// There is none, or nobody can say what it serves.
    fn read(&self, target: &Target, answer: (u16, &[u8])) -> Result<Flag, Trouble>;

    /// The request that makes what was read serve something else, and keep a note.
    ///
    /// # Errors
    /// A service of this kind cannot serve that; in words that begin with a verb.
    fn change(
        &self,
        base: &Url,
        target: &Target,
        seen: &Flag,
        change: (&Serve, &str),
    ) -> Result<Outgoing, String>;

    /// Whether it was changed, by status and body.
    ///
    /// # Errors
    /// It was not.
    fn changed(&self, answer: (u16, &[u8])) -> Result<(), Trouble>;

    /// How its owner lets a plan have it: what to do, with the text to keep.
    fn consent(&self, text: &str) -> String;
}

/// A flag as its service has it.
#[derive(Debug, Clone, PartialEq)]
struct Flag {
    /// What it serves.
    serves: Serve,
    /// Whether its owner has switched it off.
    off: bool,
    /// The note, where its owner has let a plan have it.
    note: Option<Note>,
    /// By what the service knows what is changed.
    handle: String,
    /// What it must still be like when it is changed, as the service has it: the note's text and the value.
    was: (String, String),
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
