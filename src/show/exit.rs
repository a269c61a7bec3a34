//! The exit codes of the command line: part of the contract with scripts.

use std::process::ExitCode;

use crate::decide::{fact::Refusal, phase::ReleasePhase};

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

    /// How a command ends that followed a release to this phase.
    pub fn of_release(phase: ReleasePhase) -> Self {
        match phase {
            ReleasePhase::Pending
            | ReleasePhase::InProgress
            | ReleasePhase::Paused
            | ReleasePhase::Succeeded => Exit::Done,
            ReleasePhase::Failed | ReleasePhase::RolledBack | ReleasePhase::Aborted => Exit::Failed,
            // A newer one took its place.
            ReleasePhase::Superseded => Exit::Conflict,
        }
    }

    /// How a command ends that was refused.
    ///
    /// A conflict is what somebody who had looked a moment ago would not have asked; a violation is what
    /// a rule forbids whenever it is asked. Declarations in error are an error, as `check` has it.
    pub fn of_refusal(refusal: Refusal) -> Self {
        match refusal {
            Refusal::StaleState
            | Refusal::DuplicateRelease
            | Refusal::Tombstoned
            | Refusal::AlreadyTerminal
            | Refusal::IdempotencyConflict => Exit::Conflict,
            Refusal::ResidencyViolation | Refusal::SelfApproval | Refusal::HardRule => {
                Exit::Violation
            }
            Refusal::NotAuthorised
            | Refusal::UnknownRelease
            | Refusal::UnknownRing
            | Refusal::PlanInError
            | Refusal::NothingToDo
            | Refusal::ImpossibleRequirement
            | Refusal::ReasonMissing
            | Refusal::UnknownRule
            | Refusal::UnknownWaiver
            | Refusal::ExpiryOutOfRange => Exit::Error,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}
