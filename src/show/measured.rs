//! What was measured on a ring, read out of the journal: the question as it was sent, what was judged, and
//! by which figures.
//!
//! Nothing of it is kept in memory. The journal is in the order of time, so where a ring's measurements
//! begin and end is found by halving; from there a page is read at a time, and a page looks at no more than
//! [`BUDGET`] entries: where other plans' entries lie between, it may hold less than was asked for, and says
//! where to go on.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use crate::{
    decide::{
        command::{Command, Measure},
        fact::{Fact, Judged, Taken},
    },
    ids::{ClusterName, GateName, IdempotencyKey, ReleaseId, RingName},
    model::time::{Mono, Now},
    record::{Entry, Store, StoreError},
};

/// Entries that one page looks at.
const BUDGET: u64 = 16_384;
/// Entries that are read at a time where they are read from the end.
const STRIDE: u64 = 512;
/// Entries before a page that are looked through for what was asked: an answer comes seconds after its
/// question.
const LOOKBACK: u64 = 512;
/// Entries in memory at a time.
const AT_ONCE: u64 = 128;

/// Whose measurements are wanted.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The release.
    pub release: ReleaseId,
    /// The ring.
    pub ring: RingName,
    /// Of this gate only.
    pub gate: Option<GateName>,
    /// Of this cluster only.
    pub cluster: Option<ClusterName>,
}

/// A measurement as recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurement {
    /// The journal's entry in which it was judged.
    pub seq: u64,
    /// When.
    pub at: Now,
    /// The gate.
    pub gate: GateName,
    /// The cluster.
    pub cluster: ClusterName,
    /// Its key.
    pub key: IdempotencyKey,
    /// When it was asked for, and what; nothing where that lies too far back.
    pub asked: Option<(Now, Measure)>,
    /// The verdict and its figures.
    pub judged: Judged,
    /// The baseline that was taken with it.
    pub baseline: Option<f64>,
    /// What else was taken with it, to be judged with from then on.
    pub taken: Option<Taken>,
}

/// Part of what was measured, in the order that was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The measurements.
    pub items: Vec<Measurement>,
    /// What is still to be looked through, if anything is.
    pub rest: Option<Range<u64>>,
}

/// The entries from the first at `from` or later up to the last at `to` or before.
///
/// # Errors
/// The journal cannot be read.
pub fn between(store: &dyn Store, from: Mono, to: Option<Mono>) -> Result<Range<u64>, StoreError> {
    let end = store.head().seq + 1;
    let first = halved(store, end, |entry| entry.at.mono >= from)?;
    let last = match to {
        Some(to) => halved(store, end, |entry| entry.at.mono > to)?,
        None => end,
    };
    Ok(first..last.max(first))
}

/// The number of the first entry of which it is so, as it is of all after it; `end` where it is of none.
fn halved(store: &dyn Store, end: u64, so: impl Fn(&Entry) -> bool) -> Result<u64, StoreError> {
    let (mut low, mut high) = (1, end);
    while low < high {
        let middle = low + (high - low) / 2;
        match store.read(middle, 1)?.first() {
            Some(entry) if so(entry) => high = middle,
            Some(_) => low = middle + 1,
            None => high = middle,
        }
    }
    Ok(low)
}

/// The first `limit` of what was measured in those entries, oldest first.
///
/// # Errors
/// The journal cannot be read.
pub fn oldest(
    store: &dyn Store,
    wanted: &Wanted,
    entries: Range<u64>,
    limit: usize,
) -> Result<Found, StoreError> {
    let end = entries.end.min(entries.start.saturating_add(BUDGET));
    let mut items = collect(store, wanted, entries.start..end, limit)?;
    // What is left out is what comes after the last.
    let next = match items.len() > limit {
        true => {
            items.truncate(limit);
            items.last().map_or(end, |last| last.seq + 1)
        }
        false => end,
    };
    Ok(Found { items, rest: (next < entries.end).then_some(next..entries.end) })
}

/// The last `limit` of what was measured in those entries, newest first.
///
/// # Errors
/// The journal cannot be read.
pub fn newest(
    store: &dyn Store,
    wanted: &Wanted,
    entries: Range<u64>,
    limit: usize,
) -> Result<Found, StoreError> {
    let floor = entries.start.max(entries.end.saturating_sub(BUDGET));
    let mut items: Vec<Measurement> = Vec::new();
    let mut end = entries.end;
    while items.len() < limit && end > floor {
        let start = floor.max(end.saturating_sub(STRIDE));
        let found = collect(store, wanted, start..end, usize::MAX)?;
        items.extend(found.into_iter().rev());
        end = start;
    }
    if items.len() > limit {
        items.truncate(limit);
        end = items.last().map_or(end, |last| last.seq);
    }
    Ok(Found { items, rest: (end > entries.start).then_some(entries.start..end) })
}

/// What was measured in those entries, oldest first; it ends once it has more than `limit`.
fn collect(
    store: &dyn Store,
    wanted: &Wanted,
    entries: Range<u64>,
    limit: usize,
) -> Result<Vec<Measurement>, StoreError> {
    let mut asked: BTreeMap<IdempotencyKey, (Now, Measure)> = BTreeMap::new();
    let mut items = Vec::new();
    let mut next = entries.start.saturating_sub(LOOKBACK).max(1);
    while next < entries.end && items.len() <= limit {
        let size = AT_ONCE.min(entries.end - next);
        let page = store.read(next, usize::try_from(size).unwrap_or(usize::MAX))?;
        let Some(last) = page.last() else { break };
        next = last.seq + 1;
        for entry in page {
            let seen = wanted.judged(&entry, &mut asked);
            items.extend(seen.into_iter().filter(|_| entry.seq >= entries.start));
            for command in entry.commands {
                if let Command::Measure(measure) = Arc::unwrap_or_clone(command)
                    && wanted.is(&measure.release, &measure.ring, &measure.cluster, &measure.gate)
                {
                    asked.insert(measure.key.clone(), (entry.at, measure));
                }
            }
        }
    }
    Ok(items)
}

impl Wanted {
    fn is(
        &self,
        release: &ReleaseId,
        ring: &RingName,
        cluster: &ClusterName,
        gate: &GateName,
    ) -> bool {
        self.release == *release
            && self.ring == *ring
            && self.gate.as_ref().is_none_or(|wanted| wanted == gate)
            && self.cluster.as_ref().is_none_or(|wanted| wanted == cluster)
    }

    /// What an entry judged, with what was taken along.
    fn judged(
        &self,
        entry: &Entry,
        asked: &mut BTreeMap<IdempotencyKey, (Now, Measure)>,
    ) -> Option<Measurement> {
        let (mut baseline, mut once) = (None, None);
        for fact in &entry.facts {
            if let Fact::MeasureDropped { key, .. } = fact {
                asked.remove(key);
            }
            if let Fact::BaselineTaken { value, .. } = fact {
                baseline = Some(*value);
            }
            if let Fact::HistoryTaken { taken, .. } = fact {
                once = Some(taken.clone());
            }
            // One event is one answer: what else the entry took is of this measurement.
            if let Fact::Measured { release, ring, cluster, gate, key, judged } = fact
                && self.is(release, ring, cluster, gate)
            {
                return Some(Measurement {
                    seq: entry.seq,
                    at: entry.at,
                    gate: gate.clone(),
                    cluster: cluster.clone(),
                    key: key.clone(),
                    asked: asked.remove(key),
                    judged: judged.clone(),
                    baseline,
                    taken: once,
                });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
