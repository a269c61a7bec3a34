//! What reached ringward in a run, as the steps of a scenario whose fleet does nothing by itself.
//!
//! Whatever went wrong on the way (delay, loss, repetition, another order, a stale read, a lie) is in
//! what was heard and when. What was decided and lost with the process was never heard. What the steps
//! cannot say is what a journal or a target breaks of its own promises: those are replayed by the seed.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde_json::Value;

use super::written::{documents, identity, in_error, partners};
use crate::{
    decide::event::{Action, Declared, Event, News, Request, Scope},
    ids::{ClusterName, PlanName},
    model::{
        limits::Limits,
        plan::Plan,
        residency::{Home, Place},
        time::Span,
    },
    sim::scenario::model::{Asking, Step, What},
};

/// A run as it is told.
#[derive(Debug, Clone, Default)]
pub(super) struct Trace {
    /// The declarations at the beginning.
    pub(super) base: Vec<Value>,
    pub(super) steps: Vec<Step>,
    /// What the settings limit.
    pub(super) limits: Limits,
    /// Where they say that the server stands.
    pub(super) home: Home,
    /// What the source says by now.
    source: BTreeMap<(String, String), Value>,
    off: SignedDuration,
}

impl Trace {
    pub(super) fn new<'p>(plans: impl IntoIterator<Item = &'p Plan>) -> Self {
        let mut trace = Self::default();
        for document in plans.into_iter().flat_map(documents) {
            if trace.source.insert(identity(&document), document.clone()).is_none() {
                trace.base.push(document);
            }
        }
        trace.base.extend(partners(&trace.base));
        trace
    }

    /// An event that the core has answered, and that is durable.
    pub(super) fn event(&mut self, at: Span, event: &Event) {
        match event {
            Event::Observed { .. }
            | Event::Found { .. }
            | Event::Outcome { .. }
            | Event::Measured { .. } => {
                self.step(at, What::Hear(event.clone()));
            }
            Event::Limits(limits) => self.limits = limits.clone(),
            Event::Operator(request) => {
                self.steps.extend(ask(request).map(|asking| step(at, What::Ask(asking))));
            }
            Event::Declared { plan, declared } => self.declared(at, plan, declared),
            // These come by themselves.
            Event::Learned(News::Witness(cluster, witness)) => {
                self.step(at, What::Witness(cluster.clone(), witness.clone()));
            }
            // What is declared of clusters follows from the documents.
            Event::Learned(News::Clusters(places)) => self.gone(at, places),
            Event::Learned(News::Home(home)) => self.home = home.clone(),
            Event::Learned(News::Blocs(_)) => {}
            // No source of the simulator's declares any.
            Event::Submitted { .. } => {}
            Event::TookOver | Event::Source { .. } | Event::Wake { .. } => {}
        }
    }

    /// ringward was killed, and came back.
    pub(super) fn killed(&mut self, at: Span, back: Span) {
        self.step(at, What::Restart { down: back.saturating_sub(at) });
    }

    /// The wall clock is off by this much from now on.
    pub(super) fn clock(&mut self, at: Span, off: SignedDuration) {
        let by = off - self.off;
        self.off = off;
        self.step(at, What::Jump(by));
    }

    /// The documents of clusters that are declared no more.
    fn gone(&mut self, at: Span, places: &BTreeMap<ClusterName, Option<Place>>) {
        let known = self.source.keys().filter(|(kind, _)| kind == "Cluster");
        let gone = known.filter(|(_, name)| !places.contains_key(name.as_str()));
        for identity in gone.cloned().collect::<Vec<_>>() {
            self.source.remove(&identity);
            let (file, content) = (file_of(&identity), String::new());
            self.step(at, What::EditFile { file, content });
        }
    }

    fn declared(&mut self, at: Span, plan: &PlanName, declared: &Declared) {
        let of_plan = ("RingPlan".to_owned(), plan.to_string());
        let wanted = match declared {
            Declared::Valid(plan) => documents(plan),
            Declared::Invalid(_) => self.source.get(&of_plan).map(in_error).into_iter().collect(),
            Declared::Withdrawn => {
                if self.source.remove(&of_plan).is_some() {
                    let (file, content) = (file_of(&of_plan), String::new());
                    self.step(at, What::EditFile { file, content });
                }
                return;
            }
        };
        for document in wanted {
            let identity = identity(&document);
            if self.source.get(&identity) != Some(&document) {
                let edited = serde_yaml::to_value(&document).unwrap_or_default();
                self.step(at, What::EditDocument(edited));
                self.source.insert(identity, document);
            }
        }
    }

    fn step(&mut self, at: Span, what: What) {
        self.steps.push(step(at, what));
    }
}

/// Where a document stands: each in a file of its own.
pub(super) fn file_of((kind, name): &(String, String)) -> String {
    let rings = ["Cluster", "Jurisdiction", "RingPlan"].contains(&kind.as_str());
    let folder = if rings { "rings" } else { "policies" };
    format!("{folder}/{}-{name}.yaml", kind.to_lowercase())
}

fn step(at: Span, what: What) -> Step {
    Step { at, line: 0, what }
}

/// A request as a scenario asks it: everybody is an operator, and only who approves comes from somewhere.
fn ask(request: &Request) -> Option<Asking> {
    let Request { by, key, seen, action } = request;
    let jurisdiction = match action {
        Action::Approve { .. } | Action::Reject { .. } | Action::ApproveWaiver { .. } => {
            by.jurisdiction.clone()
        }
        // A freeze of anything smaller is refused, and cannot be written.
        Action::Freeze {
            scope: Scope::Ring(..) | Scope::Release(_) | Scope::ReleaseRing(..),
            ..
        } => {
            return None;
        }
        Action::Submit { .. }
        | Action::Pause { .. }
        | Action::Resume { .. }
        | Action::Abort { .. }
        | Action::Retry { .. }
        | Action::Rollback { .. }
        | Action::Advance { .. }
        | Action::Freeze { .. }
        | Action::Lift { .. }
        | Action::BreakGlass { .. }
        | Action::WriteOff { .. }
        | Action::Waive { .. }
        | Action::RevokeWaiver { .. } => None,
    };
    let mut roles = by.roles.clone();
    if !roles.iter().any(|role| role == "operator") {
        roles.insert(0, "operator".into());
    }
    Some(Asking {
        by: by.name.clone(),
        roles,
        jurisdiction,
        key: key.clone(),
        seen: *seen,
        action: action.clone(),
    })
}
