//! What ringward notes with what it writes in a service that keeps a text with it, in one line that people can read:
//! `ringward.dev/managed-by=dark-mode release=…`.

use std::fmt;

use crate::ids::PlanName;

/// What a note begins with. With a flag people write this much, which is their consent; ringward all the rest.
const MANAGED_BY: &str = "ringward.dev/managed-by=";

/// A note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    /// The plan that may write.
    pub(super) plan: PlanName,
    /// The release on whose behalf it was written.
    pub(super) release: Option<String>,
    /// The write's idempotency key.
    pub(super) intent: Option<String>,
    /// The writer's epoch.
    pub(super) epoch: Option<u64>,
    /// What was written.
    pub(super) serves: Option<String>,
    /// What was served before the first write; the next drops it.
    pub(super) before: Option<String>,
    /// What is served until the write that was noted is through, where a service takes more than one request to that.
    pub(super) from: Option<String>,
}

impl Note {
    /// Nothing but a plan's consent.
    pub(super) fn of(plan: &PlanName) -> Self {
        let plan = plan.clone();
        Self {
            plan,
            release: None,
            intent: None,
            epoch: None,
            serves: None,
            before: None,
            from: None,
        }
    }

    /// The note that a text is; nothing where it is none.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut words = text.strip_prefix(MANAGED_BY)?.split_whitespace();
        let mut note = Self::of(&words.next()?.into());
        for (name, value) in words.filter_map(|word| word.split_once('=')) {
            let value = Some(value.to_owned());
            match name {
                "release" => note.release = value,
                "intent" => note.intent = value,
                // What is no number is of no writer that we could be newer than.
                "epoch" => note.epoch = value.map(|text| text.parse().unwrap_or(u64::MAX)),
                "serves" => note.serves = value,
                "before" => note.before = value,
                "from" => note.from = value,
                _ => {}
            }
        }
        Some(note)
    }

    /// Whether what was noted is not written yet, where this is served.
    pub(super) fn is_ahead_of(&self, serves: &str) -> bool {
        self.from.as_deref() == Some(serves) && self.serves.as_deref() != Some(serves)
    }

    /// What may be served as it says it: a share can be told in more ways than one.
    pub(super) fn told(&self) -> impl Iterator<Item = &str> {
        [&self.serves, &self.from].into_iter().flatten().map(String::as_str)
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{MANAGED_BY}{}", self.plan)?;
        let epoch = self.epoch.map(|epoch| epoch.to_string());
        for (name, value) in [
            ("release", &self.release),
            ("intent", &self.intent),
            ("epoch", &epoch),
            ("serves", &self.serves),
            ("before", &self.before),
            ("from", &self.from),
        ] {
            value.iter().try_for_each(|value| write!(f, " {name}={value}"))?;
        }
        Ok(())
    }
}
