//! What is worth a line: the difference between two looks at a release.

use crate::{
    decide::phase::RingPhase,
    ids::RingName,
    model::time::Span,
    show::view::{ReleaseView, RingView},
};

/// Something that happened to a release on a ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) ring: RingName,
    pub(super) phase: RingPhase,
    /// In words; may be empty.
    pub(super) info: String,
}

/// What happened between two looks, in the order of the rings: each change of phase, each change of
/// what holds a ring, and each soak that went back.
pub(super) fn between(before: Option<&ReleaseView>, after: &ReleaseView) -> Vec<Note> {
    let note = |ring: &RingView| {
        let old = before.and_then(|view| view.rings.iter().find(|old| old.name == ring.name));
        let news = match old {
            // What merely waits for its turn is no news.
            None => ring.phase != RingPhase::Waiting,
            Some(old) => {
                old.phase != ring.phase || holds(old) != holds(ring) || went_back(old, ring)
            }
        };
        let info = match ring.phase {
            RingPhase::Deploying => clusters(ring),
            RingPhase::Soaking if ring.info.is_empty() => soak(ring),
            RingPhase::Soaking
            | RingPhase::Waiting
            | RingPhase::Held
            | RingPhase::Passed
            | RingPhase::Failed
            | RingPhase::RollingBack
            | RingPhase::RolledBack
            | RingPhase::Aborted
            | RingPhase::Superseded => ring.info.clone(),
        };
        news.then(|| Note { ring: ring.name.clone(), phase: ring.phase, info })
    };
    after.rings.iter().filter_map(note).collect()
}

/// What holds a ring, in words.
fn holds(ring: &RingView) -> Vec<&str> {
    ring.holds.iter().map(|hold| hold.message.as_str()).collect()
}

fn went_back(old: &RingView, new: &RingView) -> bool {
    match (&old.soak, &new.soak) {
        (Some(old), Some(new)) => new.credited_seconds < old.credited_seconds,
        (Some(_), None) | (None, _) => false,
    }
}

fn clusters(ring: &RingView) -> String {
    let names: Vec<_> = ring.clusters.iter().map(|cluster| cluster.name.as_str()).collect();
    names.join(", ")
}

fn soak(ring: &RingView) -> String {
    let required = ring.soak.map_or(0.0, |soak| soak.required_seconds);
    format!("{} to go healthily", Span::seconds(required as u64))
}

/// A length of simulated time, as the lines show it: `45s`, `12m`, `2h31m`.
pub(super) fn rough(span: Span) -> String {
    let minutes = span.0 / 60_000;
    if minutes == 0 { Span(span.0 / 1_000 * 1_000) } else { Span::minutes(minutes) }.to_string()
}
