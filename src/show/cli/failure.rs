//! Why a command did not do what it was asked to: in words, with what to do, and the exit code.

use std::{fmt, io};

use crate::show::exit::Exit;

/// A command's bad end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// How the process ends.
    pub exit: Exit,
    /// What went wrong.
    pub message: String,
    /// What belongs to it, a line each.
    pub notes: Vec<String>,
    /// What to do; may be empty.
    pub help: String,
    /// What a caller can do something about.
    pub cause: Cause,
}

/// The causes that a caller can do something about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The server did not answer.
    Unreachable,
    /// The server refused, with a problem of this type.
    Refused(String),
    /// Whoever reads our output has gone.
    NobodyReads,
    /// Anything else.
    Other,
}

impl Failure {
    /// An error.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Error,
            message: message.into(),
            notes: Vec::new(),
            help: String::new(),
            cause: Cause::Other,
        }
    }

    /// An error with everything that caused it.
    pub fn of(error: &dyn std::error::Error) -> Self {
        Self::new(chain(error))
    }

    /// The command line asks for what cannot be.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, ..Self::new(message) }
    }

    /// Ends the process in another way.
    pub fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// Adds a line.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Says what to do.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }

    /// Says what caused it.
    pub fn cause(mut self, cause: Cause) -> Self {
        self.cause = cause;
        self
    }

    /// Whoever reads our output has gone: nothing is left to say, and nothing is wrong.
    pub fn nobody_reads() -> Self {
        Self::new("").exit(Exit::Done).cause(Cause::NobodyReads)
    }

    /// Standard output takes no more: nobody reads it, or it has no room, or worse.
    pub fn unwritten(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::nobody_reads();
        }
        Self::new(format!("standard output cannot be written: {error}"))
            .help("what was written is not whole; make room, or write it elsewhere")
    }

    /// Whether the server refused with a problem of that type.
    pub fn is_refusal(&self, kind: &str) -> bool {
        matches!(&self.cause, Cause::Refused(found) if found == kind)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        for note in &self.notes {
            write!(f, "\n  {note}")?;
        }
        match self.help.as_str() {
            "" => Ok(()),
            help => write!(f, "\nhelp: {help}"),
        }
    }
}

/// An error and what caused it, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    text
}
