use std::ops::Range;

use super::{Invariant, Step, Violation};
use crate::{
    decide::{
        event::Event,
        fact::{Fact, Reply},
    },
    record::{Store, audit},
};

/// What the audit chain promises, in words.
const SAYS: &str = "the audit chain is append-only and gap-free, refusals included";

/// Looks for refusals that nobody could read of later.
#[derive(Debug, Default)]
pub(super) struct Refusals;

impl Invariant for Refusals {
    fn number(&self) -> u8 {
        24
    }

    fn says(&self) -> &'static str {
        SAYS
    }

    fn check(&mut self, step: &Step<'_>) -> Result<(), String> {
        let Event::Operator(request) = step.event else { return Ok(()) };
        let Some(reply @ Reply::Refused { kind, .. }) = &step.decision.reply else { return Ok(()) };
        // A repeat is told what was recorded the first time.
        let known = request.key.as_ref().and_then(|key| step.before.answers.get(key));
        if known.is_some_and(|(_, recorded)| recorded == reply) {
            return Ok(());
        }
        let entries = step.decision.facts.iter().filter(|f| matches!(f, Fact::Refused { .. }));
        match entries.count() {
            1 => Ok(()),
            n => Err(format!("a refusal ({}) has {n} entries", kind.name())),
        }
    }
}

/// Counts the journal's entries.
#[derive(Debug, Default)]
pub struct Journal {
    entries: u64,
}

impl Journal {
    /// `count` decisions were recorded under these numbers.
    ///
    /// # Errors
    /// A number is missing, or there is one too many.
    pub fn appended(&mut self, numbers: &Range<u64>, count: usize) -> Result<(), Violation> {
        let expected = self.entries + 1..self.entries + 1 + count as u64;
        self.entries = expected.end - 1;
        match *numbers == expected {
            true => Ok(()),
            false => Err(broken(format!("entries {numbers:?} were expected as {expected:?}"))),
        }
    }

    /// Looks at the whole journal.
    ///
    /// # Errors
    /// An entry is missing, or is not the one that was recorded.
    pub fn holds(&self, store: &dyn Store) -> Result<(), Violation> {
        let found = audit::verify(store).map_err(|error| broken(error.to_string()))?;
        match (found.broken, found.entries == self.entries) {
            (None, true) => Ok(()),
            (None, false) => {
                Err(broken(format!("{} entries of {} are there", found.entries, self.entries)))
            }
            (Some(place), _) => Err(broken(format!("entry {}: {}", place.seq, place.why))),
        }
    }
}

/// The journal could not be read back as it was written.
pub fn broken(detail: String) -> Violation {
    Violation { number: 24, says: SAYS, detail }
}
