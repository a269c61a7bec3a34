//! The reasons why a release does not move, and the kinds of hold that they are.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    decide::{
        event::{Pause, Scope},
        fact::Verdict,
        world::{Cap, Place, RollbackLimit, Said},
    },
    ids::{
        CalendarName, ClusterName, FreezeId, GateName, PlanName, PolicyName, Principal, RingName,
        Version,
    },
    model::{
        policy::Approvals,
        residency::{Breach, Enforcement},
    },
};

/// One reason why a release does not move on a ring.
#[derive(Debug, Clone, PartialEq)]
pub enum WaitingOn {
    /// Rings that it comes after have not passed. No hold: it is simply not its turn.
    Before(Vec<RingName>),
    /// Another release is on the ring, or goes first. No hold either.
    Queue(Version),
    /// Somebody paused it.
    Pause(Scope, Said),
    /// A calendar is closed.
    Calendar {
        /// Which.
        calendar: CalendarName,
        /// In its owner's words.
        why: String,
        /// When it opens.
        opens: Option<Timestamp>,
    },
    /// The line is stopped.
    Freeze {
        /// Which freeze.
        id: FreezeId,
        /// When it ends by itself.
        until: Option<Timestamp>,
        /// Who and why.
        said: Said,
    },
    /// Too few have approved.
    Approval {
        /// Those whose approval counts.
        by: Vec<Principal>,
        /// What is needed.
        needed: Approvals,
    },
    /// An operator must say that the newer release may take the ring (`onNewer: manual`).
    Advance(Version),
    /// As many rings as may be are in motion, or will be before this one.
    Cap(Full),
    /// A failover partner is in motion.
    Pair {
        /// The cluster of this ring.
        cluster: ClusterName,
        /// Its partner.
        partner: ClusterName,
        /// The plan that moves it.
        plan: PlanName,
    },
    /// A residency rule forbids it.
    Residency {
        /// The rule's id.
        rule: String,
        /// The document that declares it.
        policy: Option<PolicyName>,
        /// Whether it can be waived.
        enforcement: Enforcement,
        /// The ring that breaks it, where it is one ring: this one or one before it.
        at: Option<RingName>,
        /// The fact that breaks it.
        fact: String,
    },
    /// A ring that comes after this one is too many versions behind.
    Skew {
        /// That ring.
        ring: RingName,
        /// How many versions may lie between.
        limit: u32,
    },
    /// A version that it requires has not passed everywhere.
    Prerequisite(Version),
    /// The plan's declarations are in error: how many problems, and the first.
    Policy(usize, String),
    /// A gate has no usable measurement: the soak stands still.
    Data {
        /// Where.
        cluster: ClusterName,
        /// Which gate.
        gate: GateName,
        /// What it said last.
        verdict: Verdict,
        /// In words.
        detail: String,
    },
    /// The samples counted over the soak are too few.
    Samples {
        /// Which gate.
        gate: GateName,
        /// How many there are.
        have: f64,
        /// How many are needed.
        need: f64,
    },
    /// A cluster cannot be reached, or its target is not healthy: the soak stands still.
    Target(ClusterName, String),
    /// A target stands at a pause of its controller's own, until an operator's word.
    Promotion(ClusterName, Pause),
    /// A ring before it passed and is watched still, and a gate there does not pass now.
    Watch {
        /// That ring.
        ring: RingName,
        /// Where.
        cluster: ClusterName,
        /// Which gate.
        gate: GateName,
        /// What it said last, if it was measured since ringward started.
        verdict: Option<Verdict>,
    },
    /// Another ring goes back first. No hold.
    Turn(RingName),
    /// That ring failed, and what follows from it is an operator's to say.
    Decision(RingName),
    /// As many rollbacks that nobody asked for as may be are under way, or began lately; how many of
    /// them wait before it.
    Rollbacks(RollbackLimit, usize),
}

/// A cap without a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Full {
    /// What is counted.
    pub cap: Cap,
    /// How many may be in motion.
    pub limit: u32,
    /// Those that are.
    pub moving: Vec<Place>,
    /// How many wait for a place before it, whichever.
    pub ahead: usize,
}

/// The kinds of hold, by which `explain`, the API and scenarios name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "semantics.md lists them, and each WaitingOn says what it is")]
pub enum HoldKind {
    Pause,
    Calendar,
    Freeze,
    Approval,
    Cap,
    Pair,
    Residency,
    Skew,
    Prerequisite,
    Policy,
    Data,
    Target,
}

impl HoldKind {
    /// As people and programs write it.
    pub fn name(self) -> &'static str {
        match self {
            HoldKind::Pause => "pause",
            HoldKind::Calendar => "calendar",
            HoldKind::Freeze => "freeze",
            HoldKind::Approval => "approval",
            HoldKind::Cap => "cap",
            HoldKind::Pair => "pair",
            HoldKind::Residency => "residency",
            HoldKind::Skew => "skew",
            HoldKind::Prerequisite => "prerequisite",
            HoldKind::Policy => "policy",
            HoldKind::Data => "data",
            HoldKind::Target => "target",
        }
    }
}

impl WaitingOn {
    pub(super) fn of(breach: Breach) -> Self {
        let Breach { rule, policy, enforcement, ring: at, fact, .. } = breach;
        Self::Residency { rule, policy, enforcement, at, fact }
    }

    /// Which kind of hold it is; nothing for a ring that merely waits for its turn.
    pub fn hold(&self) -> Option<HoldKind> {
        match self {
            WaitingOn::Before(_) | WaitingOn::Queue(_) | WaitingOn::Turn(_) => None,
            WaitingOn::Pause(..) => Some(HoldKind::Pause),
            WaitingOn::Calendar { .. } => Some(HoldKind::Calendar),
            WaitingOn::Freeze { .. } => Some(HoldKind::Freeze),
            WaitingOn::Approval { .. } | WaitingOn::Advance(_) | WaitingOn::Decision(_) => {
                Some(HoldKind::Approval)
            }
            WaitingOn::Cap(_) | WaitingOn::Rollbacks(..) => Some(HoldKind::Cap),
            WaitingOn::Pair { .. } => Some(HoldKind::Pair),
            WaitingOn::Residency { .. } => Some(HoldKind::Residency),
            WaitingOn::Skew { .. } => Some(HoldKind::Skew),
            WaitingOn::Prerequisite(_) => Some(HoldKind::Prerequisite),
            WaitingOn::Policy(..) => Some(HoldKind::Policy),
            WaitingOn::Data { .. } | WaitingOn::Samples { .. } | WaitingOn::Watch { .. } => {
                Some(HoldKind::Data)
            }
            WaitingOn::Target(..) | WaitingOn::Promotion(..) => Some(HoldKind::Target),
        }
    }

    /// Whether a soak stands still for it. Missing samples do not stop the time, only the pass.
    pub fn stops_the_soak(&self) -> bool {
        self.hold().is_some() && !matches!(self, WaitingOn::Samples { .. })
    }
}
