//! What held a release, and what ended each hold: derived at every entry, as it was derived then.

use std::collections::BTreeMap;

use super::super::{
    change::About,
    story,
    view::{Bounded, HoldEvidence, Mark},
    words,
};
use crate::{
    decide::{
        fact::Fact,
        phase,
        waiting::{HoldKind, WaitingOn, waiting_on},
        world::World,
    },
    ids::{ReleaseId, RingName},
    model::time::Now,
};

/// Holds that are shown.
const SHOWN: usize = 500;

/// What a hold is known again by: the ring, its kind and what it is about.
type Key = (RingName, HoldKind, String);

/// The holds so far.
pub(super) struct Holds {
    id: ReleaseId,
    /// The open ones, each with its place in the list.
    open: BTreeMap<Key, Option<usize>>,
    all: Vec<HoldEvidence>,
    left_out: u64,
    settled: bool,
}

impl Holds {
    pub(super) fn new(id: &ReleaseId) -> Self {
        let (open, all) = (BTreeMap::new(), Vec::new());
        Self { id: id.clone(), open, all, left_out: 0, settled: false }
    }

    /// Looks at the world as it was behind an entry.
    pub(super) fn look(&mut self, world: &World, facts: &[Fact], mark: &Mark, at: Now) {
        // A measurement that changes nothing about what runs is followed by nothing that does.
        let moves = |fact: &Fact| match About::of(fact) {
            About { kind: None, .. } => false,
            about => !["measured", "baselineTaken", "historyTaken"].contains(&about.name),
        };
        if !facts.iter().any(moves) {
            return;
        }
        let Some(release) = world.release(&self.id) else { return };
        let settled = phase::is_settled(release);
        if settled && self.settled {
            return;
        }
        self.settled = settled;
        let mut held: BTreeMap<Key, String> = BTreeMap::new();
        for ring in release.rings.keys() {
            for waiting in waiting_on(world, release, ring, at) {
                let Some(kind) = waiting.hold() else { continue };
                let key = (ring.clone(), kind, subject(&waiting));
                held.entry(key)
                    .or_insert_with(|| words::of(&waiting, world, release, ring, at).message);
            }
        }
        let ended: Vec<_> =
            self.open.keys().filter(|key| !held.contains_key(key)).cloned().collect();
        for key in ended {
            let Some(Some(place)) = self.open.remove(&key) else { continue };
            if let Some(hold) = self.all.get_mut(place) {
                hold.until = Some(mark.clone());
                let about = facts.iter().filter(|fact| About::of(fact).kind.is_some());
                hold.ended_by = about.take(3).map(story::of).collect();
            }
        }
        for (key, message) in held {
            if self.open.contains_key(&key) {
                continue;
            }
            let place = (self.all.len() < SHOWN).then_some(self.all.len());
            match place {
                Some(_) => self.all.push(HoldEvidence {
                    ring: key.0.clone(),
                    kind: key.1,
                    message,
                    from: mark.clone(),
                    until: None,
                    ended_by: Vec::new(),
                }),
                None => self.left_out += 1,
            }
            self.open.insert(key, place);
        }
    }

    pub(super) fn end(self) -> Bounded<HoldEvidence> {
        Bounded { items: self.all, left_out: self.left_out }
    }
}

/// What a hold is about: the same as long as it is the same hold.
fn subject(waiting: &WaitingOn) -> String {
    match waiting {
        WaitingOn::Before(_) | WaitingOn::Queue(_) | WaitingOn::Turn(_) => String::new(),
        WaitingOn::Pause(scope, _) => words::covered(scope),
        WaitingOn::Calendar { calendar, .. } => calendar.to_string(),
        WaitingOn::Freeze { id, .. } => id.to_string(),
        WaitingOn::Approval { .. } => "approval".into(),
        WaitingOn::Advance(version) => format!("advance {version}"),
        WaitingOn::Decision(ring) => format!("decision {ring}"),
        WaitingOn::Cap(full) => format!("{:?}", full.cap),
        WaitingOn::Pair { partner, .. } => partner.to_string(),
        WaitingOn::Residency { rule, fact, .. } => format!("{rule} {fact}"),
        WaitingOn::Skew { ring, .. } => ring.to_string(),
        WaitingOn::Prerequisite(version) => version.to_string(),
        WaitingOn::Policy(..) => "policy".into(),
        WaitingOn::Data { cluster, gate, .. } => format!("{gate} {cluster}"),
        WaitingOn::Samples { gate, .. } => format!("samples {gate}"),
        WaitingOn::Target(cluster, _) => cluster.to_string(),
        WaitingOn::Promotion(cluster, pause) => format!("{cluster} {}", pause.id),
        WaitingOn::Watch { ring, cluster, gate, .. } => format!("{ring} {gate} {cluster}"),
        WaitingOn::Rollbacks(limit, _) => format!("{limit:?}"),
    }
}
