//! A scenario as it is run.

use std::{collections::BTreeMap, path::PathBuf};

use jiff::{SignedDuration, Timestamp};

use super::wire::{Range, RefusedAs};
use crate::{
    decide::{
        event::{Action, Event},
        fact::Verdict,
        phase::{ReleasePhase, RingPhase},
        waiting::HoldKind,
    },
    ids::{
        ClusterName, GateName, IdempotencyKey, Jurisdiction, PlanName, Principal, ReleaseId,
        RingName, Version,
    },
    model::{
        limits::Limits,
        residency::{Home, Witness},
        time::Span,
    },
    sim::fleet::{Series, Stretch},
};

/// What happens, and what must come of it.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// What it shows.
    pub name: String,
    /// The file that it stands in.
    pub file: String,
    /// The directory of its declarations.
    pub source: PathBuf,
    /// What the wall clock says at the beginning.
    pub start: Timestamp,
    /// What runs everywhere, fully soaked.
    pub known: BTreeMap<PlanName, Version>,
    /// Whether the fleet does nothing by itself: only what steps say reaches ringward.
    pub scripted: bool,
    /// What the server's settings limit.
    pub limits: Limits,
    /// What the metric sources answer, and the line of each.
    pub series: Vec<(Series, usize)>,
    /// Clusters that behave otherwise than usual.
    pub sites: Vec<Site>,
    /// Where ringward itself stands.
    pub home: Home,
    /// By time; steps of the same time in their order.
    pub steps: Vec<Step>,
}

/// How a cluster behaves otherwise than usual.
#[derive(Debug, Clone)]
pub struct Site {
    /// Which.
    pub name: ClusterName,
    /// Where in the file.
    pub line: usize,
    /// How long a target takes to be ready.
    pub deploy_time: Option<Span>,
    /// When it cannot be reached.
    pub unreachable: Vec<Stretch>,
    /// When not all is ready there.
    pub unready: Vec<Stretch>,
    /// What never becomes ready there.
    pub never_ready: Vec<Version>,
    /// Whether its targets keep no record of since when they have been ready.
    pub forgetful: bool,
}

/// Something at a time.
#[derive(Debug, Clone)]
pub struct Step {
    /// When, from the start.
    pub at: Span,
    /// Where in the file.
    pub line: usize,
    /// What.
    pub what: What,
}

/// What happens, or is looked at.
#[derive(Debug, Clone)]
pub enum What {
    /// Somebody asks for something.
    Ask(Asking),
    /// A file of the source says something else.
    EditFile {
        /// Its path in the source.
        file: String,
        /// All that it says.
        content: String,
    },
    /// A document of the source is replaced, or added.
    EditDocument(serde_yaml::Value),
    /// ringward is killed, and comes back later.
    Restart {
        /// How long it is away.
        down: Span,
    },
    /// The wall clock jumps.
    Jump(SignedDuration),
    /// Somebody else changes what a cluster runs.
    Drift {
        /// Where.
        cluster: ClusterName,
        /// Whose target, where there are several.
        plan: Option<PlanName>,
        /// What it runs now.
        running: Version,
    },
    /// ringward hears of a target, of the end of a write or of a measurement, whether it is true or not.
    Hear(Event),
    /// A cluster says something of itself.
    Witness(ClusterName, Witness),
    /// What must be so.
    Expect(Box<Expect>),
}

/// A request.
#[derive(Debug, Clone)]
pub struct Asking {
    /// Who asks.
    pub by: Principal,
    /// Their roles.
    pub roles: Vec<String>,
    /// Where they belong to.
    pub jurisdiction: Option<Jurisdiction>,
    /// What makes a repeat of it recognisable.
    pub key: Option<IdempotencyKey>,
    /// The revision of the plan that they saw.
    pub seen: Option<u64>,
    /// What they ask for.
    pub action: Action,
}

/// What must be so.
#[derive(Debug, Clone, Default)]
pub struct Expect {
    /// Of which release.
    pub release: Option<ReleaseId>,
    /// On which ring.
    pub ring: Option<RingName>,
    /// Its phase there.
    pub phase: Option<RingPhase>,
    /// What is credited.
    pub soak: Option<Range>,
    /// The kinds of its holds, all of them.
    pub held_by: Option<Vec<HoldKind>>,
    /// What a gate said last; on every cluster where none is named.
    pub verdict: Option<(GateName, Option<ClusterName>, Verdict)>,
    /// What a cluster runs, and for which plan where there are several.
    pub running: Option<(ClusterName, Option<PlanName>, Version)>,
    /// How the reference begins that the cluster pulled it by.
    pub image: Option<String>,
    /// How the last request was refused.
    pub refused: Option<RefusedAs>,
    /// The release's phase.
    pub release_phase: Option<ReleasePhase>,
    /// Phases that the ring was never in.
    pub never: Vec<RingPhase>,
    /// Phases that the release was never in.
    pub release_never: Vec<ReleasePhase>,
    /// The ring that started only after this one had reached `phase` (its start, where none is given).
    pub before: Option<RingName>,
    /// Every invariant held until now. It is checked after each event anyway: this waits for the time.
    pub invariants: bool,
    /// What stands in the journal.
    pub audit: Option<String>,
    /// What the release owes on the ring.
    pub owes: Option<Vec<String>>,
}
