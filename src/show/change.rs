//! What a recorded decision is about: for events, for the audit's filters and for counters.

use serde::{Deserialize, Serialize};

use crate::{
    decide::{
        event::{Actor, Scope},
        fact::Fact,
    },
    ids::{PlanName, ReleaseId, RingName},
    model::time::Now,
};

/// Something that changed, small enough to tell everybody; who wants to know more asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The number of the journal's entry.
    pub id: u64,
    /// When it was decided.
    pub at: Now,
    /// What kind of thing changed.
    pub kind: ChangeKind,
    /// The plan, where it is about one.
    pub plan: Option<PlanName>,
    /// The releases that it is about, each once.
    pub releases: Vec<ReleaseId>,
    /// The rings that it is about, each once.
    pub rings: Vec<RingName>,
    /// The names of what happened, as the audit has them, each once.
    pub what: Vec<&'static str>,
}

/// What kind of thing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ChangeKind {
    /// A release, on its way.
    Release,
    /// A plan's declarations or its targets.
    Plan,
    /// A pause, a freeze or a waiver.
    Line,
    /// Where the declarations come from.
    Source,
    /// Another process writes.
    Writer,
    /// A request was refused.
    Refusal,
}

impl ChangeKind {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            ChangeKind::Release => "release",
            ChangeKind::Plan => "plan",
            ChangeKind::Line => "line",
            ChangeKind::Source => "source",
            ChangeKind::Writer => "writer",
            ChangeKind::Refusal => "refusal",
        }
    }
}

impl Change {
    /// What entry `id` changed; nothing where it only says that time was credited, or kept an answer.
    pub fn of(id: u64, at: Now, facts: &[Fact]) -> Option<Self> {
        let mut change = Self {
            id,
            at,
            kind: ChangeKind::Release,
            plan: None,
            releases: Vec::new(),
            rings: Vec::new(),
            what: Vec::new(),
        };
        for fact in facts {
            let about = About::of(fact);
            let Some(kind) = about.kind else { continue };
            if change.what.is_empty() {
                change.kind = kind;
            }
            once(&mut change.what, &about.name);
            change.plan = change.plan.or_else(|| about.plan.cloned());
            about.release.iter().for_each(|release| once(&mut change.releases, release));
            about.ring.iter().for_each(|ring| once(&mut change.rings, ring));
        }
        (!change.what.is_empty()).then_some(change)
    }
}

fn once<T: Clone + PartialEq>(list: &mut Vec<T>, item: &T) {
    if !list.contains(item) {
        list.push(item.clone());
    }
}

/// What one fact is about.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// Its name, as the journal writes it.
    pub name: &'static str,
    /// What kind of change it is; nothing for a tick of a clock or a note for later.
    pub kind: Option<ChangeKind>,
    /// The plan.
    pub plan: Option<&'a PlanName>,
    /// The release.
    pub release: Option<&'a ReleaseId>,
    /// The ring.
    pub ring: Option<&'a RingName>,
    /// Who asked for it.
    pub by: Option<&'a Actor>,
}

impl<'a> About<'a> {
    fn new(name: &'static str, kind: ChangeKind) -> Self {
        Self { name, kind: Some(kind), plan: None, release: None, ring: None, by: None }
    }

    fn plan(name: &'static str, plan: &'a PlanName) -> Self {
        Self { plan: Some(plan), ..Self::new(name, ChangeKind::Plan) }
    }

    fn release(name: &'static str, release: &'a ReleaseId) -> Self {
        let plan = Some(&release.plan);
        Self { plan, release: Some(release), ..Self::new(name, ChangeKind::Release) }
    }

    fn ring(name: &'static str, release: &'a ReleaseId, ring: &'a RingName) -> Self {
        Self { ring: Some(ring), ..Self::release(name, release) }
    }

    fn line(name: &'static str, scope: &'a Scope) -> Self {
        let line = Self::new(name, ChangeKind::Line);
        match scope {
            Scope::Everything | Scope::Jurisdiction(_) => line,
            Scope::Plan(plan) => Self { plan: Some(plan), ..line },
            Scope::Ring(plan, ring) => Self { plan: Some(plan), ring: Some(ring), ..line },
            Scope::Release(id) => Self { plan: Some(&id.plan), release: Some(id), ..line },
            Scope::ReleaseRing(id, ring) => {
                Self { plan: Some(&id.plan), release: Some(id), ring: Some(ring), ..line }
            }
        }
    }

    fn waiver(name: &'static str, plan: &'a PlanName) -> Self {
        Self { kind: Some(ChangeKind::Line), ..Self::plan(name, plan) }
    }

    fn by(self, by: &'a Actor) -> Self {
        Self { by: Some(by), ..self }
    }

    /// Not worth telling anybody at once.
    fn quiet(self) -> Self {
        Self { kind: None, ..self }
    }

    /// What `fact` is about.
    pub fn of(fact: &'a Fact) -> Self {
        match fact {
            Fact::TookOver { .. } => Self::new("tookOver", ChangeKind::Writer),
            Fact::SourceAccepted { .. } => Self::new("sourceAccepted", ChangeKind::Source),
            Fact::PlacesDeclared { .. } => Self::new("placesDeclared", ChangeKind::Source),
            Fact::BlocsDeclared { .. } => Self::new("blocsDeclared", ChangeKind::Source),
            Fact::ClusterWitnessed { .. } => Self::new("clusterWitnessed", ChangeKind::Source),
            Fact::HomeStated { .. } => Self::new("homeStated", ChangeKind::Writer),
            Fact::DeployRecalled { release, ring, .. } => {
                Self::ring("deployRecalled", release, ring)
            }
            Fact::RestoreDenied { release, ring, .. } => Self::ring("restoreDenied", release, ring),
            Fact::SourceRefused { .. } => Self::new("sourceRefused", ChangeKind::Source),
            Fact::PlanDeclared { plan } => Self::plan("planDeclared", &plan.name),
            Fact::PlanInError { plan, .. } => Self::plan("planInError", plan),
            Fact::PlanWithdrawn { plan, .. } => Self::plan("planWithdrawn", plan),
            Fact::Submitted { release, by, .. } => Self::release("submitted", release).by(by),
            Fact::SnapshotTightened { release, .. } => Self::release("snapshotTightened", release),
            Fact::Refused { by, .. } => Self::new("refused", ChangeKind::Refusal).by(by),
            Fact::GlassBroken { by, .. } => Self::new("glassBroken", ChangeKind::Refusal).by(by),
            Fact::Answered { .. } => Self::new("answered", ChangeKind::Release).quiet(),
            Fact::Paused { scope, by, .. } => Self::line("paused", scope).by(by),
            Fact::Resumed { scope, by, .. } => Self::line("resumed", scope).by(by),
            Fact::Frozen { scope, by, .. } => Self::line("frozen", scope).by(by),
            Fact::Lifted { by, .. } => Self::new("lifted", ChangeKind::Line).by(by),
            Fact::Approved { release, ring, by, .. } => {
                Self::ring("approved", release, ring).by(by)
            }
            Fact::Rejected { release, ring, by, .. } => {
                Self::ring("rejected", release, ring).by(by)
            }
            Fact::Advanced { release, ring, by, .. } => {
                Self::ring("advanced", release, ring).by(by)
            }
            Fact::Promoted { release, ring, by, .. } => {
                Self::ring("promoted", release, ring).by(by)
            }
            Fact::Adopted { plan, .. } => Self::plan("adopted", plan),
            Fact::TargetSeen { plan, .. } => Self::plan("targetSeen", plan),
            Fact::EffectSettled { plan, .. } => Self::plan("effectSettled", plan),
            Fact::EffectSuperseded { plan, .. } => Self::plan("effectSuperseded", plan),
            Fact::RingStarted { release, ring, .. } => Self::ring("ringStarted", release, ring),
            Fact::ClusterReady { release, ring, .. } => Self::ring("clusterReady", release, ring),
            Fact::ClusterFailed { release, ring, .. } => Self::ring("clusterFailed", release, ring),
            Fact::SoakStarted { release, ring } => Self::ring("soakStarted", release, ring),
            Fact::SoakRunning { release, ring, .. } => Self::ring("soakRunning", release, ring),
            Fact::SoakCredited { release, ring, .. } => {
                Self::ring("soakCredited", release, ring).quiet()
            }
            Fact::HistoryMeasured { release, ring, .. } => {
                Self::ring("historyMeasured", release, ring)
            }
            Fact::SoakBackfilled { release, ring, .. } => {
                Self::ring("soakBackfilled", release, ring)
            }
            Fact::SoakReset { release, ring, .. } => Self::ring("soakReset", release, ring),
            Fact::Measured { release, ring, .. } => Self::ring("measured", release, ring),
            Fact::MeasureDropped { plan, .. } => Self::plan("measureDropped", plan).quiet(),
            Fact::BaselineTaken { release, ring, .. } => Self::ring("baselineTaken", release, ring),
            Fact::HistoryTaken { release, ring, .. } => Self::ring("historyTaken", release, ring),
            Fact::RingPassed { release, ring } => Self::ring("ringPassed", release, ring),
            Fact::WatchEnded { release, ring } => Self::ring("watchEnded", release, ring),
            Fact::RingFailed { release, ring, .. } => Self::ring("ringFailed", release, ring),
            Fact::RollbackStarted { release, ring, .. } => {
                Self::ring("rollbackStarted", release, ring)
            }
            Fact::RollbackQueued { release, ring, .. } => {
                Self::ring("rollbackQueued", release, ring)
            }
            Fact::RollbackHastened { release, ring, by, .. } => {
                Self::ring("rollbackHastened", release, ring).by(by)
            }
            Fact::StartQueued { release, ring, .. } => Self::ring("startQueued", release, ring),
            Fact::LimitsSet { .. } => Self::new("limitsSet", ChangeKind::Writer),
            Fact::ClusterRestored { release, ring, .. } => {
                Self::ring("clusterRestored", release, ring)
            }
            Fact::ClusterStuck { release, ring, .. } => Self::ring("clusterStuck", release, ring),
            Fact::RingRolledBack { release, ring } => Self::ring("ringRolledBack", release, ring),
            Fact::RingSuperseded { release, ring, .. } => {
                Self::ring("ringSuperseded", release, ring)
            }
            Fact::Aborted { release, by, .. } => Self::release("aborted", release).by(by),
            Fact::RingAborted { release, ring } => Self::ring("ringAborted", release, ring),
            Fact::Retried { release, ring, by, .. } => Self::ring("retried", release, ring).by(by),
            Fact::LaneTaken { release, .. } => Self::release("laneTaken", release),
            Fact::LaneLapsed { release, .. } => Self::release("laneLapsed", release),
            Fact::DebtRecorded { release, ring, .. } => Self::ring("debtRecorded", release, ring),
            Fact::DebtPaid { release, ring, .. } => Self::ring("debtPaid", release, ring),
            Fact::DebtDropped { release, ring, .. } => Self::ring("debtDropped", release, ring),
            Fact::DebtWrittenOff { release, ring, by, .. } => {
                Self::ring("debtWrittenOff", release, ring).by(by)
            }
            Fact::WaiverAsked { plan, by, waiver, .. } => {
                Self { ring: waiver.ring.as_ref(), ..Self::waiver("waiverAsked", plan).by(by) }
            }
            Fact::WaiverApproved { plan, by, .. } => Self::waiver("waiverApproved", plan).by(by),
            Fact::WaiverRevoked { plan, by, .. } => Self::waiver("waiverRevoked", plan).by(by),
            Fact::WaiverVoided { plan, .. } => Self::waiver("waiverVoided", plan),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::time::{Mono, Span},
        show::fixture::actor,
    };

    #[test]
    fn a_tick_of_a_clock_tells_nobody_anything() {
        let at = Now { wall: jiff::Timestamp::UNIX_EPOCH, mono: Mono(0) };
        let (release, ring) = (ReleaseId::new("checkout", "1.0.0"), RingName::from("beta"));
        let credited = Fact::SoakCredited {
            release: release.clone(),
            ring: ring.clone(),
            span: Span::seconds(60),
        };
        assert_eq!(Change::of(1, at, std::slice::from_ref(&credited)), None);
        let passed = Fact::RingPassed { release: release.clone(), ring: ring.clone() };
        let change = Change::of(2, at, &[credited, passed]).unwrap();
        assert_eq!(
            (change.kind, change.what.as_slice()),
            (ChangeKind::Release, &["ringPassed"][..])
        );
        assert_eq!((change.releases, change.rings), (vec![release], vec![ring]));
        assert_eq!(change.plan, Some("checkout".into()));
    }

    /// The names are the journal's own: events, audit and journal agree.
    #[test]
    fn facts_have_the_names_that_the_journal_writes() {
        let release = ReleaseId::new("checkout", "1.0.0");
        let facts = [
            Fact::TookOver { epoch: 1 },
            Fact::Lifted { id: "f-1".into(), by: actor("ola") },
            Fact::MeasureDropped { plan: "checkout".into(), key: "k".into() },
            Fact::RingRolledBack { release: release.clone(), ring: "beta".into() },
            Fact::SoakRunning { release, ring: "beta".into(), running: true, blind: false },
        ];
        for fact in facts {
            let written = serde_json::to_value(&fact).unwrap();
            let name = written.as_object().and_then(|tagged| tagged.keys().next());
            assert_eq!(name.map(String::as_str), Some(About::of(&fact).name));
        }
    }
}
