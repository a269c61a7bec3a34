//! Notes on a whole plan, by severity. Repairs nothing.
//!
//! A note names what it is about, not where that stands: places in text are for the room that read
//! it. Each family of rules is one pass over the plan, and [`notes`] is the list of them.

mod calendars;
mod gates;
pub mod lanes;
mod residency;

use std::collections::BTreeSet;

use super::{
    plan::{OnNewer, Plan},
    policy::Policy,
    ring::Ring,
    time::Span,
};
use crate::ids::{CalendarName, ClusterName, GateName, PolicyName, RingName};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The plan is out of service.
    Error,
    /// It works, and is probably not what was meant.
    Warning,
    /// Advice.
    Note,
}

/// A table of rules: its documentation, then of each rule its variant, its id, how bad a breach is, and what it is about.
macro_rules! rules {
    ($doc:literal $($variant:ident $id:literal $severity:ident $summary:literal,)*) => {
        #[doc = $doc]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Rule {
            $(#[doc = $summary] $variant,)*
        }

        impl Rule {
            /// Every rule, in the order of the ids.
            pub const ALL: &[Rule] = &[$(Rule::$variant),*];

            /// The stable id, such as `ADV001`.
            pub fn id(self) -> &'static str {
                match self { $(Rule::$variant => $id),* }
            }

            /// What the rule is about, in one line.
            pub fn summary(self) -> &'static str {
                match self { $(Rule::$variant => $summary),* }
            }

            /// How bad a breach is.
            pub fn severity(self) -> Severity {
                match self { $(Rule::$variant => Severity::$severity),* }
            }
        }
    };
}
pub(crate) use rules;

rules! {
    "The rules of a plan as a whole. Their ids are stable."
    Adv001 "ADV001" Note "a policy with fewer than three kinds of signal",
    Adv002 "ADV002" Note "a soak that is shorter than a gate's noDataDeadline",
    Adv003 "ADV003" Warning "a first ring without soak",
    Adv004 "ADV004" Warning "releases that may replace each other before any can be ready",
    Adv005 "ADV005" Warning "a hotfix lane that shortens no soak",
    Adv006 "ADV006" Warning "a hotfix lane that is over before its last ring can start",
    App003 "APP003" Error "a hotfix lane that nobody can approve",
    Gat011 "GAT011" Error "a hotfix lane that defers every required gate of a ring",
    Res011 "RES011" Error "a hotfix lane that breaks a residency rule",
    App002 "APP002" Error "approvals that must come from two places at once",
    Cal001 "CAL001" Error "a calendar that never opens",
    Cal002 "CAL002" Error "a calendar that never opens for as long as a deploy may take",
    Cal003 "CAL003" Error "calendars that are never open together for as long as a deploy may take",
    Cal004 "CAL004" Warning "a calendar that closes for good",
    Gat013 "GAT013" Error "a minimum that the declared traffic does not reach",
    Gat014 "GAT014" Error "a gate that compares with a ring that it cannot be compared with",
    Res001 "RES001" Error "a class of data outside its jurisdiction",
    Res002 "RES002" Error "a ring outside the jurisdiction that it must stay in",
    Res003 "RES003" Error "a ring inside a jurisdiction that it must stay out of",
    Res004 "RES004" Error "a ring that spans jurisdictions",
    Res005 "RES005" Error "a ring that may be the first to take a release into a jurisdiction",
    Res006 "RES006" Error "a ring that depends on one that it must not depend on",
    Res007 "RES007" Error "a ring that holds both failover partners",
    Res008 "RES008" Error "evidence outside its jurisdiction",
    Res009 "RES009" Error "a ring that nobody of its jurisdiction approves",
    Res010 "RES010" Error "a residency rule that concerns nothing",
    Res012 "RES012" Error "images pulled from outside their jurisdiction",
    Res013 "RES013" Note "a rule about the server's own state, which a check cannot see",
    Res014 "RES014" Error "a judge that rests on figures that a residency rule lets nobody keep",
}

/// What a note is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The plan itself.
    Plan,
    /// Its hotfix lane.
    Hotfix,
    /// One of its rings.
    Ring(RingName),
    /// A cluster of one of its rings.
    Cluster(ClusterName),
    /// The soak of a policy.
    Soak(PolicyName),
    /// The gates of a policy.
    Gates(PolicyName),
    /// One gate of a policy.
    Gate(PolicyName, GateName),
    /// The approvals of a policy.
    Approvals(PolicyName),
    /// A calendar.
    Calendar(CalendarName),
    /// The residency rule that is declared there, as `Rule::declared_at` has it.
    Residency(String),
}

/// Something to say about a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The rule that says it.
    pub rule: Rule,
    /// What it is about.
    pub subject: Subject,
    /// What is wrong, in one line.
    pub message: String,
    /// What is said of the subject itself; may be empty.
    pub label: String,
    /// What else belongs to it.
    pub facts: Vec<String>,
    /// What to do; may be empty.
    pub help: String,
}

/// Everything there is to say about a plan.
pub fn notes(plan: &Plan) -> Vec<Note> {
    let mut notes = residency::notes(plan);
    notes.extend(calendars::notes(plan));
    notes.extend(lanes::notes(plan));
    notes.extend(gates::notes(plan));
    notes.extend(advice(plan));
    notes
}

/// The least kinds of signal that a production ring is expected to be judged by.
const SIGNALS: usize = 3;

fn advice(plan: &Plan) -> Vec<Note> {
    let mut notes = Vec::new();
    let mut seen = BTreeSet::new();
    for ring in &plan.rings {
        if plan.graph.after(&ring.name).rings.is_empty() && ring.policy.soak.duration == Span::ZERO
        {
            notes.push(Note {
                rule: Rule::Adv003,
                subject: Subject::Ring(ring.name.clone()),
                message: format!("first ring `{}` does not soak", ring.name),
                label: "the next ring follows at once".into(),
                facts: Vec::new(),
                help:
                    "give its policy a soak: what the first ring does not show, the next one meets"
                        .into(),
            });
        }
        if seen.insert(&ring.policy.name) {
            notes.extend(starved(plan, ring));
            notes.extend(of_policy(&ring.policy));
        }
    }
    notes
}

/// Releases that come faster than a target gets ready would replace each other for ever.
fn starved(plan: &Plan, ring: &Ring) -> Option<Note> {
    let policy = &ring.policy;
    let starves =
        plan.on_newer == OnNewer::ReplaceIfUnhealthy && policy.min_dwell < policy.deadline;
    starves.then(|| Note {
        rule: Rule::Adv004,
        subject: Subject::Ring(ring.name.clone()),
        message: format!("a stream of releases can starve ring `{}`", ring.name),
        label: format!(
            "replaced after {}, and not ready for up to {}",
            policy.min_dwell, policy.deadline
        ),
        facts: vec!["the plan says onNewer: replaceIfUnhealthy".into()],
        help: format!(
            "give policy `{}` a minDwell that a deploy fits into, such as its deadline",
            policy.name
        ),
    })
}

fn of_policy(policy: &Policy) -> Vec<Note> {
    let mut notes = Vec::new();
    let required = || policy.gates.iter().filter(|g| g.required);
    let signals: BTreeSet<_> = required().map(|g| g.signal).collect();
    // `gates: none` was said in so many words; there is nothing to add.
    if !policy.gates.is_empty() && signals.len() < SIGNALS {
        let named: Vec<_> = signals.iter().map(ToString::to_string).collect();
        notes.push(Note {
            rule: Rule::Adv001,
            subject: Subject::Gates(policy.name.clone()),
            message: format!(
                "policy `{}` is judged by {} kind{} of signal: {}",
                policy.name,
                signals.len(),
                if signals.len() == 1 { "" } else { "s" },
                named.join(", "),
            ),
            label: String::new(),
            facts: Vec::new(),
            help: "a production ring is expected to watch errors, latency and business".into(),
        });
    }
    for gate in required().filter(|g| policy.soak.duration < g.no_data_deadline) {
        notes.push(Note {
            rule: Rule::Adv002,
            subject: Subject::Gate(policy.name.clone(), gate.name.clone()),
            message: format!(
                "policy `{}` soaks for {}, and gate `{}` may be silent for {}",
                policy.name, policy.soak.duration, gate.name, gate.no_data_deadline,
            ),
            label: String::new(),
            facts: Vec::new(),
            help: "shorten noDataDeadline, or lengthen the soak".into(),
        });
    }
    notes
}
