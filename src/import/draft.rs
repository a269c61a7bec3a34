//! What becomes of a metric: a template, and a gate that measures by it.

use super::{
    Document,
    remark::{Remarks, Rule},
    spot::Spot,
    yaml::{Map, Tree, lines, map},
};
use crate::{
    declare::schema::{Provider, Signal, word},
    model::time::Span,
};

/// How long a soak is where nothing says it.
const STANDS_IN: Span = Span::minutes(60);
/// The time between two measurements, where a gate does not say.
pub(super) const INTERVAL: Span = Span::minutes(1);

/// A `GateTemplate` on its way.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Template {
    /// What it is called.
    pub name: String,
    /// Whose API it is asked by; the source's name is the same word.
    pub provider: Provider,
    /// By name, each with its default.
    pub args: Vec<(String, Option<String>)>,
    pub query: String,
    /// Where it is from, as in `AnalysisTemplate success-rate, a.yaml:3`.
    pub origin: String,
}

impl Template {
    /// As a document.
    pub(super) fn document(&self) -> Document {
        let args = self.args.iter().map(|(name, default)| {
            map()
                .with("name", Tree::text(name))
                .maybe("default", default.as_ref().map(Tree::text))
                .on_a_line()
        });
        let args: Vec<Tree> = args.collect();
        let signal = signal(&self.name, &self.query);
        let spec = map()
            .with("signal", Tree::text(word(&signal)))
            .noting("by its words: errors, latency, business or saturation")
            .with("provider", Tree::text(word(&self.provider)))
            .maybe("args", (!args.is_empty()).then_some(Tree::List(args)))
            .with("query", lines(&self.query));
        Document {
            kind: "GateTemplate",
            name: self.name.clone(),
            head: head("policies", &self.origin),
            spec: spec.into(),
        }
    }
}

/// What is said above a document.
pub(super) fn head(folder: &str, origin: &str) -> Vec<String> {
    vec![format!("{folder}/: from {origin}")]
}

/// A gate on its way, and what its policy has to be so that it is measured as it was.
#[derive(Debug, Clone)]
pub(super) struct Gate<'a> {
    /// Where it is from.
    pub at: Spot<'a>,
    pub name: String,
    pub template: Template,
    pub args: Vec<(String, String)>,
    pub interval: Option<Span>,
    pub initial_delay: Option<Span>,
    pub min: Option<f64>,
    pub max: Option<f64>,
    /// What the condition was, where a strict bound became the next number.
    pub condition: Option<String>,
    pub failure_limit: u32,
    pub consecutive_error_limit: Option<u32>,
    /// No data for so long fails the ring.
    pub fails_without_data: Option<Span>,
    pub required: bool,
    /// How long it is measured; nothing where that goes on until something else ends it.
    pub lasts: Option<Span>,
    /// Whether the measurements that pass must be in a row.
    pub in_a_row: bool,
}

impl Gate<'_> {
    fn tree(&self) -> Map {
        let mut args = map();
        for (name, value) in &self.args {
            args = args.with(name, Tree::text(value));
        }
        let threshold = map()
            .maybe("min", self.min.map(Tree::Number))
            .maybe("max", self.max.map(Tree::Number))
            .on_a_line();
        let mut gate = map()
            .with("name", Tree::text(&self.name))
            .with("template", Tree::text(&self.template.name))
            .maybe("args", (!self.args.is_empty()).then(|| args.on_a_line()))
            .maybe("interval", self.interval)
            .maybe("initialDelay", self.initial_delay.filter(|d| *d > Span::ZERO))
            .with("threshold", threshold);
        if let Some(condition) = &self.condition {
            gate = gate.noting(condition);
        }
        gate = gate
            .with("failureLimit", self.failure_limit)
            .maybe("consecutiveErrorLimit", self.consecutive_error_limit);
        if let Some(deadline) = self.fails_without_data {
            gate = gate.with("onNoData", Tree::text("fail")).with("noDataDeadline", deadline);
        }
        if self.required { gate } else { gate.with("required", Tree::Bool(false)) }
    }

    /// The time from the start of the soak to the second measurement, before which no soak may end.
    fn least(&self) -> Span {
        self.initial_delay.unwrap_or_default() + self.interval.unwrap_or(INTERVAL)
    }
}

/// A `RingPolicy` on its way.
#[derive(Debug)]
pub(super) struct Policy<'a> {
    /// Where it is from.
    pub at: Spot<'a>,
    pub name: String,
    pub origin: String,
    /// What else is said above it.
    pub notes: Vec<String>,
    pub gates: Vec<Gate<'a>>,
    /// How long the ring was watched for, as far as something else than its gates says so.
    pub lasts: Option<Span>,
    pub deadline: Option<Span>,
}

impl Policy<'_> {
    /// As a document. Where nothing says how long the soak is, an hour stands in, and that is told.
    pub(super) fn document(&self, remarks: &mut Remarks) -> Document {
        let once = |gate: &Gate<'_>| gate.lasts == Some(Span::ZERO);
        let open = self.gates.iter().any(|gate| gate.lasts.is_none());
        let bounded = self.gates.iter().filter_map(|gate| gate.lasts).chain(self.lasts).max();
        let stands_in = self.lasts.is_none() && (open || bounded.is_none());
        let mut soak = bounded.unwrap_or_default();
        if stands_in {
            soak = soak.max(STANDS_IN);
            let help = "say how long a ring has to run healthily, under soak.duration";
            let message = format!(
                "nothing says how long `{}` is measured: a soak of {soak} stands in",
                self.name
            );
            remarks.say(Rule::Imp004, &self.at, message, help);
        }
        // A soak of no time is measured once; any other has two measurements of each gate.
        let required = || self.gates.iter().filter(|gate| gate.required);
        if soak > Span::ZERO || !required().all(once) {
            soak = soak.max(required().map(Gate::least).max().unwrap_or_default());
        }
        let frozen = self.gates.iter().any(|gate| gate.failure_limit > 0 && !gate.in_a_row);
        let frozen = frozen && self.gates.iter().all(|gate| !gate.in_a_row);
        let duration = map()
            .with("duration", soak)
            .maybe("onBreach", frozen.then(|| Tree::text("freeze")))
            .on_a_line();
        let mut spec = map().with("soak", duration);
        if stands_in {
            spec = spec.noting("stands in: nothing says how long");
        }
        spec = spec.maybe("deadline", self.deadline);
        let gates: Vec<Tree> = self.gates.iter().map(|gate| gate.tree().into()).collect();
        spec = match gates.is_empty() {
            true => spec.with("gates", Tree::text("none")),
            false => spec.with("gates", Tree::List(gates)),
        };
        let mut head = head("policies", &self.origin);
        head.extend(self.notes.iter().cloned());
        Document { kind: "RingPolicy", name: self.name.clone(), head, spec: spec.into() }
    }

    /// Whether there is a gate that can hold or fail a ring, without which there is no policy.
    pub(super) fn judges(&self) -> bool {
        self.gates.iter().any(|gate| gate.required)
    }
}

/// What kind of signal it seems to read. It matters to advice only, and stands there to be corrected.
fn signal(name: &str, query: &str) -> Signal {
    let text = format!("{name} {query}").to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if has(&["latency", "duration", "quantile", "p99", "p95", "response_time", "apdex"]) {
        Signal::Latency
    } else if has(&["error", "success", "fail", "5..", "5.*", "status", "code", "exception", "404"])
    {
        Signal::Errors
    } else if has(&["cpu", "memory", "queue", "saturation", "restart", "throttl", "disk"]) {
        Signal::Saturation
    } else {
        Signal::Business
    }
}

/// Names that are taken, so that no two documents of a kind have the same.
#[derive(Debug, Default)]
pub(super) struct Names(std::collections::BTreeSet<(&'static str, String)>);

impl Names {
    /// Takes names that are given without being asked for.
    pub(super) fn reserve(&mut self, kind: &'static str, names: &[&str]) {
        self.0.extend(names.iter().map(|name| (kind, (*name).to_owned())));
    }

    /// A name for what was called `wanted`, as names must be here; told where it is another.
    pub(super) fn take(
        &mut self,
        kind: &'static str,
        wanted: &str,
        at: &Spot<'_>,
        remarks: &mut Remarks,
    ) -> String {
        let label = match super::go::label(wanted) {
            label if label.is_empty() => "imported".to_owned(),
            label => label,
        };
        let mut name = label.clone();
        for n in 2.. {
            if self.0.insert((kind, name.clone())) {
                break;
            }
            let suffix = format!("-{n}");
            let room = label.len().min(63 - suffix.len());
            name = format!("{}{suffix}", label[..room].trim_end_matches('-'));
        }
        if name != wanted {
            let message = format!("`{wanted}` is called `{name}` here");
            let help =
                "names are lower-case letters, digits and hyphens, and each is one of its kind";
            remarks.say(Rule::Imp006, at, message, help);
        }
        name
    }
}
