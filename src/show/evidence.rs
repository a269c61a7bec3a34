//! The evidence of a release, read out of the journal in one walk over it.
//!
//! The walk verifies every entry of the journal, and opens only those that may concern the release. It
//! folds them into a world of its own, of that one plan and of what all plans share: so it knows what held
//! the release at each entry, which nobody recorded, because holds are derived. Of other plans it knows
//! nothing; that as many rings are in motion as may be is told by the facts that say so.
//!
//! Architecture invariant: what is kept in memory is bounded whatever the journal holds; what is left out
//! is counted.

mod holds;
mod page;
mod rings;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};

use jiff::Timestamp;
use serde_json::Value;
use utoipa::ToSchema;

use self::{holds::Holds, rings::Rings};
use super::{
    change::About,
    story,
    view::{
        self, BindingEvidence, Bounded, ChainEvidence, DecisionEvidence, EventEvidence,
        EvidenceView, Mark, PolicyEvidence, RefusalEvidence, ReleaseView, ResidencyEvidence,
        RuleEvidence,
    },
};
use crate::{
    decide::{
        event::{Action, Scope},
        fact::Fact,
        world::{Release, World},
    },
    ids::{FreezeId, Hash, Principal, ReleaseId},
    model::{plan::Plan, residency::Rule, time::Now},
    record::{
        Digest, Entry, Record, Store, StoreError,
        audit::{Chain, Verification},
    },
};

pub use page::page;

/// What the document calls itself.
pub const FORMAT: &str = "ringward.dev/evidence/v1";

/// Decisions, holds and refusals that are shown, of each.
const SHOWN: usize = 500;
/// Events that are shown.
const EVENTS: usize = 2_000;
/// Records in memory at a time.
const AT_ONCE: usize = 128;

/// Facts that name no plan and concern every one.
const SHARED: [&str; 11] = [
    r#"{"tookOver""#,
    r#"{"sourceAccepted""#,
    r#"{"paused""#,
    r#"{"resumed""#,
    r#"{"frozen""#,
    r#"{"lifted""#,
    r#"{"limitsSet""#,
    r#"{"placesDeclared""#,
    r#"{"blocsDeclared""#,
    r#"{"clusterWitnessed""#,
    r#"{"homeStated""#,
];

/// What the live world says, for the document to begin with.
pub struct Asked {
    /// For whom it is made.
    pub by: Principal,
    /// When.
    pub at: Now,
    /// The release as it stands.
    pub release: ReleaseView,
    /// Its policy snapshot.
    pub plan: std::sync::Arc<Plan>,
}

impl Asked {
    /// What is to be known of a release before its evidence is gathered.
    pub fn of(world: &World, release: &Release, by: &Principal, at: Now) -> Self {
        let plan = release.plan.clone();
        Self { by: by.clone(), at, release: view::release(world, release, at), plan }
    }
}

/// Gathers the evidence.
///
/// # Errors
/// The journal cannot be read. Where its chain does not hold, that is no error: the document says so, and
/// goes as far as it holds.
pub fn gather(store: &dyn Store, asked: Asked) -> Result<EvidenceView, StoreError> {
    let end = store.head();
    let mut gatherer = Gatherer::new(&asked.release.release, &asked.plan);
    let mut chain = Chain::before(1);
    let mut found = Verification { entries: 0, head: Digest::GENESIS.into(), broken: None };
    'walk: while found.entries < end.seq {
        let left = usize::try_from(end.seq - found.entries).unwrap_or(AT_ONCE);
        for record in store.records(found.entries + 1, AT_ONCE.min(left))? {
            if let Err(broken) = chain.follow(&record) {
                found.broken = Some(broken);
                break 'walk;
            }
            found.entries = record.seq;
            found.head = record.hash.into();
            if gatherer.may_concern(&record) {
                let seq = record.seq;
                let unreadable =
                    |source| StoreError::Unreadable { dir: store.dir().into(), seq, source };
                gatherer.take(&record.open().map_err(unreadable)?);
            }
        }
    }
    Ok(gatherer.end(asked, found))
}

/// What was gathered so far.
struct Gatherer {
    id: ReleaseId,
    plan: std::sync::Arc<Plan>,
    /// How the plan's name, and the release's, stand in a record.
    names: [String; 2],
    /// The fold of what was opened; nothing once something could not be folded.
    world: Option<World>,
    admitted_under: Option<Hash>,
    declared_in: Option<Mark>,
    first: Option<Mark>,
    last: Option<Mark>,
    entries: u64,
    residency: ResidencyEvidence,
    rings: Rings,
    holds: Holds,
    decisions: List<DecisionEvidence>,
    refusals: List<RefusalEvidence>,
    events: List<EventEvidence>,
    freezes: BTreeSet<FreezeId>,
}

impl Gatherer {
    fn new(id: &ReleaseId, plan: &std::sync::Arc<Plan>) -> Self {
        let rule = |rule: &Rule| RuleEvidence {
            id: rule.id.clone(),
            policy: rule.policy.clone(),
            enforcement: rule.enforcement,
            demand: serde_json::to_value(&rule.demand).unwrap_or_default(),
            declared_at: rule.declared_at.clone(),
        };
        Self {
            id: id.clone(),
            plan: plan.clone(),
            names: [format!("\"{}", id.plan), format!("{id}")],
            world: Some(World::default()),
            admitted_under: None,
            declared_in: None,
            first: None,
            last: None,
            entries: 0,
            residency: ResidencyEvidence {
                rules: plan.residency.iter().map(rule).collect(),
                admitted: Default::default(),
                now: Default::default(),
                home: Default::default(),
                waivers: Vec::new(),
            },
            rings: Rings::new(id, plan),
            holds: Holds::new(id),
            decisions: List::new(SHOWN),
            refusals: List::new(SHOWN),
            events: List::new(EVENTS),
            freezes: BTreeSet::new(),
        }
    }

    /// Whether a record has to be opened: it names the plan, or something that every plan heeds.
    fn may_concern(&self, record: &Record) -> bool {
        let Ok(text) = std::str::from_utf8(&record.payload) else { return true };
        self.names.iter().any(|name| text.contains(name.as_str()))
            || SHARED.iter().any(|name| text.contains(name))
    }

    fn take(&mut self, entry: &Entry) {
        let mark = Mark { seq: entry.seq, at: entry.at.wall, hash: entry.hash.clone() };
        self.fold(entry);
        for fact in &entry.facts {
            if let Fact::PlanDeclared { plan } = fact
                && plan.name == self.id.plan
                && self.admitted_under.is_none()
            {
                self.declared_in = Some(mark.clone());
            }
            if let Fact::Submitted { release, policy, .. } = fact
                && *release == self.id
            {
                self.admitted_under = Some(policy.clone());
                self.admit(entry.at);
            }
        }
        // What was before its time is not about it, but for where it began.
        if self.admitted_under.is_none() {
            return;
        }
        let mut concerned = self.rings.ask(entry);
        for fact in &entry.facts {
            concerned |= self.tell(fact, &mark, entry.at);
        }
        if let Some(world) = &self.world {
            self.holds.look(world, &entry.facts, &mark, entry.at);
        }
        if concerned {
            self.entries += 1;
            self.first.get_or_insert_with(|| mark.clone());
            self.last = Some(mark);
        }
    }

    /// Folds what an entry says of this plan and of what all share: a name in somebody else's query opens
    /// an entry too.
    fn fold(&mut self, entry: &Entry) {
        let Some(world) = &mut self.world else { return };
        let plan = &self.id.plan;
        let mine = |fact: &&Fact| About::of(fact).plan.is_none_or(|of| of == plan);
        let facts: Vec<Fact> = entry.facts.iter().filter(mine).cloned().collect();
        let commands = entry.commands.iter().filter(|command| command.plan() == plan);
        let commands: Vec<_> = commands.cloned().collect();
        if world.fold(entry.at, &facts, &commands).is_err() {
            self.world = None;
        }
    }

    /// What was known of places when it was admitted.
    fn admit(&mut self, at: Now) {
        let Some(world) = &self.world else { return };
        let known = world.known(at);
        let place = |cluster| known.of(cluster).place();
        self.residency.admitted =
            self.plan.clusters().map(|cluster| (cluster.name.clone(), place(cluster))).collect();
        self.residency.home = world.shared.facts.home.clone();
    }

    /// Takes what a fact says of the release; whether it says anything.
    fn tell(&mut self, fact: &Fact, mark: &Mark, at: Now) -> bool {
        if let Fact::Refused { by, asked, kind, detail } = fact {
            let action = serde_json::from_str::<Action>(asked).ok();
            let about = action.as_ref().is_some_and(|action| self.is_asked(action));
            if about {
                self.refusals.push(RefusalEvidence {
                    mark: mark.clone(),
                    by: by.name.clone(),
                    asked: serde_json::from_str(asked).unwrap_or(Value::Null),
                    kind: kind.name().into(),
                    detail: detail.clone(),
                });
            }
            return about;
        }
        let known = self.world.as_ref().map(|world| world.known(at));
        let place = |name: &crate::ids::ClusterName| {
            let cluster = self.plan.cluster(name)?;
            Some(known.as_ref().map_or_else(|| name.to_string(), |known| known.of(cluster).place()))
        };
        if self.rings.take(fact, mark, place) {
            return true;
        }
        let about = About::of(fact);
        if !self.concerns(fact, &about) {
            return false;
        }
        let said = story::of(fact);
        if let Some(by) = about.by {
            let mut decision =
                DecisionEvidence::new(mark.clone(), about.name, about.ring, by, said.clone());
            if let Fact::Approved { binding, .. } = fact {
                decision.bound_to = Some(BindingEvidence {
                    artifact: binding.artifact.clone(),
                    policy: binding.policy.clone(),
                    clusters: binding.clusters.clone(),
                    attempt: binding.attempt,
                });
            }
            self.decisions.push(decision);
        }
        self.events.push(EventEvidence {
            mark: mark.clone(),
            what: about.name.into(),
            ring: about.ring.cloned(),
            said,
        });
        true
    }

    /// Whether a fact is about the release, or about something that covers it.
    fn concerns(&mut self, fact: &Fact, about: &About<'_>) -> bool {
        if let Fact::Lifted { id, .. } = fact {
            return self.freezes.remove(id);
        }
        if let Fact::Paused { scope, .. } | Fact::Resumed { scope, .. } = fact {
            return self.covers(scope);
        }
        if let Fact::Frozen { id, scope, .. } = fact {
            let covers = self.covers(scope);
            if covers {
                self.freezes.insert(id.clone());
            }
            return covers;
        }
        if let Fact::WaiverAsked { plan, waiver, .. } = fact {
            let other = |version: &crate::ids::Version| *version != self.id.version;
            return *plan == self.id.plan && !waiver.release.as_ref().is_some_and(other);
        }
        if let Fact::WaiverApproved { plan, .. }
        | Fact::WaiverRevoked { plan, .. }
        | Fact::WaiverVoided { plan, .. }
        | Fact::PlanInError { plan, .. }
        | Fact::PlanWithdrawn { plan, .. } = fact
        {
            return *plan == self.id.plan;
        }
        about.kind.is_some() && about.release == Some(&self.id)
    }

    fn covers(&self, scope: &Scope) -> bool {
        match scope {
            Scope::Everything => true,
            Scope::Jurisdiction(place) => self.plan.clusters().any(|cluster| {
                let bloc = self.world.as_ref().map(|world| &world.shared.blocs);
                cluster.jurisdiction == *place
                    || bloc.is_some_and(|blocs| blocs.contains(place, &cluster.jurisdiction))
            }),
            Scope::Plan(plan) | Scope::Ring(plan, _) => *plan == self.id.plan,
            Scope::Release(id) | Scope::ReleaseRing(id, _) => *id == self.id,
        }
    }

    fn is_asked(&self, action: &Action) -> bool {
        match action {
            Action::Submit { release, .. }
            | Action::Approve { release, .. }
            | Action::Reject { release, .. }
            | Action::Abort { release, .. }
            | Action::Retry { release, .. }
            | Action::Rollback { release, .. }
            | Action::Advance { release, .. }
            | Action::WriteOff { release, .. } => *release == self.id,
            Action::Pause { scope, .. }
            | Action::Resume { scope, .. }
            | Action::Freeze { scope, .. } => self.covers(scope),
            Action::Waive { plan, .. }
            | Action::ApproveWaiver { plan, .. }
            | Action::RevokeWaiver { plan, .. } => *plan == self.id.plan,
            Action::Lift { .. } | Action::BreakGlass { .. } => false,
        }
    }

    fn end(self, asked: Asked, found: Verification) -> EvidenceView {
        let Asked { by, at, release, plan } = asked;
        let mut residency = self.residency;
        if let Some(world) = &self.world {
            let known = world.known(at);
            let place = |cluster| known.of(cluster).place();
            residency.now =
                plan.clusters().map(|cluster| (cluster.name.clone(), place(cluster))).collect();
            let mut waivers = view::waivers(world, at, |name| *name == plan.name);
            waivers.retain(|w| w.release.as_ref().is_none_or(|of| *of == release.version));
            residency.waivers = waivers;
        }
        let declared = self.declared_in.filter(|_| {
            let admitted = self.admitted_under.as_ref();
            admitted.is_some_and(|hash| *hash == plan.hash)
        });
        let rings = self.rings.end(&release);
        EvidenceView {
            format: FORMAT.into(),
            made_at: at.wall,
            made_by: concat!("ringward ", env!("CARGO_PKG_VERSION")).into(),
            made_for: by,
            policy: PolicyEvidence {
                commit: plan.commit.clone(),
                hash: plan.hash.clone(),
                admitted_under: self.admitted_under,
                declared_in: declared,
                rings: view::ring_specs(&plan),
                gates: view::gate_specs(&plan),
                snapshot: view::without_addresses(&*plan),
            },
            rings,
            decisions: self.decisions.into(),
            holds: self.holds.end(),
            refusals: self.refusals.into(),
            residency,
            timeline: self.events.into(),
            chain: ChainEvidence {
                first: self.first,
                last: self.last,
                entries: self.entries,
                verified: found.into(),
                holds_known: self.world.is_some(),
                how: HOW.map(Into::into).to_vec(),
            },
            release,
        }
    }
}

/// How anybody can see for themselves.
const HOW: [&str; 4] = [
    "`ringward audit verify` walks the whole journal of the running server again; its last hash must be \
     the head above, or an entry behind it",
    "`ringward audit show --since N` shows the entries that are named here by their numbers; each carries \
     its hash and the hash of the one before",
    "`ringward audit export --records` writes the records as they are stored with a signed head behind them, and \
     `ringward audit verify --file FILE --key KEY` verifies that without the server, by the key that \
     `ringward audit key` shows",
    "for each record, hash = SHA-256(prev as 32 bytes, seq as eight big-endian bytes, record); the first \
     record's prev is all zeros",
];

/// The first and the last of many, half of each; what lies between is counted.
struct List<T> {
    first: Vec<T>,
    last: VecDeque<T>,
    half: usize,
    left_out: u64,
}

impl<T> List<T> {
    fn new(most: usize) -> Self {
        Self { first: Vec::new(), last: VecDeque::new(), half: most / 2, left_out: 0 }
    }

    fn push(&mut self, item: T) {
        if self.first.len() < self.half {
            self.first.push(item);
            return;
        }
        self.last.push_back(item);
        if self.last.len() > self.half {
            self.last.pop_front();
            self.left_out += 1;
        }
    }
}

impl<T: ToSchema> From<List<T>> for Bounded<T> {
    fn from(list: List<T>) -> Self {
        let items = list.first.into_iter().chain(list.last).collect();
        Self { items, left_out: list.left_out }
    }
}

/// An instant as people read it: seconds are enough.
fn utc(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}
