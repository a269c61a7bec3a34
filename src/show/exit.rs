//! The exit codes of the command line: part of the contract with scripts.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Done, or the state that was waited for.
    Done = 0,
    /// Something went wrong.
    Error = 1,
    /// The command line is not one.
    Usage = 2,
    /// The release failed, was aborted or rolled back.
    Failed = 3,
    /// Held, and only a person or a window can end it.
    Held = 4,
    /// Time ran out, and it still moves.
    TimedOut = 5,
    /// Somebody was faster: the state is newer than what was seen.
    Conflict = 6,
    /// A policy or a residency rule is violated.
    Violation = 7,
}

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}
