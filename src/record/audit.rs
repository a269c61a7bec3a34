//! The hash chain and its verification.

use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use super::{
    format::{Digest, Entry, Record},
    store::{PAGE, Store, StoreError},
};
use crate::{ids::Hash, model::time::Now};

/// A walk along the chain that stops where it does not hold.
#[derive(Debug, Clone, Copy)]
pub struct Chain {
    pub(super) next: u64,
    /// Not known where the walk starts in the middle.
    prev: Option<Digest>,
}

impl Chain {
    /// A walk that starts at entry `from`, and before which nothing is known unless it is the first.
    pub fn before(from: u64) -> Self {
        Self { next: from, prev: (from == 1).then_some(Digest::GENESIS) }
    }

    /// Takes the next record.
    pub fn follow(&mut self, record: &Record) -> Result<(), Break> {
        let broken = |why: &str| Err(Break { seq: self.next, why: why.into() });
        if record.seq != self.next {
            return broken(&format!("entry {} stands in its place", record.seq));
        }
        if !record.intact() {
            return broken("it is missing, or its bytes are not the ones that were recorded");
        }
        if self.prev.is_some_and(|prev| prev != record.prev) {
            return broken("it does not follow the entry before it");
        }
        *self = Self { next: record.seq + 1, prev: Some(record.hash) };
        Ok(())
    }
}

/// The first place where a chain does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Break {
    /// The entry's number.
    pub seq: u64,
    /// What is wrong with it, as a clause about `it`.
    pub why: String,
}

impl Break {
    pub(super) fn into_error(self, dir: &Path) -> StoreError {
        let Break { seq, why } = self;
        StoreError::Corrupt { dir: dir.into(), detail: format!("entry {seq}: {why}") }
    }
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// How many entries hold, from the first.
    pub entries: u64,
    /// The hash of the last entry that holds.
    pub head: Hash,
    /// Where it ceases to hold, if it does.
    pub broken: Option<Break>,
}

/// Walks the whole journal, over its stored bytes. An error says that it could not be read at all.
pub fn verify(store: &dyn Store) -> Result<Verification, StoreError> {
    let end = store.head();
    let mut chain = Chain::before(1);
    let (mut entries, mut head) = (0, Digest::GENESIS);
    let found = |entries, head: Digest, broken| Verification { entries, head: head.into(), broken };
    while entries < end.seq {
        // Entries recorded since the walk began are not this walk's.
        let left = usize::try_from(end.seq - entries).unwrap_or(PAGE);
        for record in store.records(entries + 1, PAGE.min(left))? {
            if let Err(broken) = chain.follow(&record) {
                return Ok(found(entries, head, Some(broken)));
            }
            (entries, head) = (record.seq, record.hash);
        }
    }
    let broken = (head != end.hash).then(|| Break {
        seq: end.seq,
        why: "it is not the entry that the journal ends with".into(),
    });
    Ok(found(entries, head, broken))
}

/// An entry as people and programs read it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    /// Its number; the next page starts behind the last one.
    pub seq: u64,
    /// The instant at which it was decided.
    pub at: Now,
    /// The writer's epoch.
    pub epoch: u64,
    /// What became true.
    pub facts: Vec<Happened>,
    /// What was to be done about it.
    pub commands: Vec<Happened>,
    /// The hash of the entry before.
    pub prev: Hash,
    /// Its hash.
    pub hash: Hash,
}

/// One fact or command in a stable form for machines.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Happened {
    /// Its name in camel case, such as `ringStarted`.
    pub what: String,
    /// Its fields, as the journal has them.
    pub with: Value,
}

/// The entries behind number `since`, at most `limit`.
pub fn since(store: &dyn Store, since: u64, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
    let entries = store.read(since.saturating_add(1), limit)?;
    let view = |entry: Entry| {
        let Entry { seq, at, epoch, facts, commands, prev, hash } = entry;
        let (facts, commands) = (happened(&facts), happened(&commands));
        AuditEntry { seq, at, epoch, facts, commands, prev, hash }
    };
    Ok(entries.into_iter().map(view).collect())
}

/// Facts and commands are tagged by their names in the journal; the view takes name and fields apart.
fn happened<T: Serialize>(items: &[T]) -> Vec<Happened> {
    let parts = |item: &T| match serde_json::to_value(item).unwrap_or(Value::Null) {
        Value::Object(tagged) => tagged.into_iter().next(),
        Value::String(name) => Some((name, Value::Null)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
    };
    let named = |(what, with)| Happened { what, with };
    items.iter().filter_map(parts).map(named).collect()
}
