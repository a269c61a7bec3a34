//! Measurements to a verdict, by the rules of gates.md. Never fetches, never counts: how many
//! failures a ring bears is the rollout's to know.
//!
//! Every judge is a [`Rule`]: it says what has to be asked, and judges the answers by a pure function.
//! What the statistical ones know of earlier measurements is the gate's [`History`], which is folded
//! from facts.

pub mod alerts;
pub mod burn_rate;
pub mod figures;
pub mod history;
pub mod kubernetes;
pub mod mann_whitney;
mod normal;

pub mod query;
pub mod reading;

pub mod relative;
pub mod sequential;

pub mod threshold;
pub mod webhook;
pub mod words;

use jiff::Timestamp;

use self::{
    history::History,
    query::{Vars, render},
    relative::Relative,
    threshold::Threshold,
    webhook::Webhook,
    words::tamed,
};
use super::{
    event::{Answer, Reading},
    fact::{Figure, Judged, Kept, Taken, Verdict},
    part::{Ask, Part, Role, Told},
};
use crate::{
    ids::RingName,
    model::{
        plan::Plan,
        policy::{Gate, Judge},
        query::Query,
        ring::{Cluster, MetricSource, Ring},
        time::Span,
    },
};

/// How many remarks of a source are recorded with a judgement.
const INFOS: usize = 3;
/// Characters that are recorded of each.
const INFO: usize = 200;

/// What a judge makes of numbers that are fresh and rest on enough samples.
#[derive(Debug, Clone, PartialEq)]
pub struct Ruling {
    /// The verdict.
    pub verdict: Verdict,
    /// The bound or baseline that it was compared with.
    pub against: Option<f64>,
    /// One sentence with the figures.
    pub detail: String,
    /// The figures on the way to the verdict.
    pub figures: Vec<Figure>,
    /// What later measurements are judged with, too.
    pub kept: Option<Kept>,
    /// What need not be asked again.
    pub taken: Option<Taken>,
}

impl Ruling {
    /// A verdict with its sentence.
    pub fn new(verdict: Verdict, against: Option<f64>, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { verdict, against, detail, figures: Vec::new(), kept: None, taken: None }
    }
}

/// Why there is nothing to judge: a verdict other than Pass and Fail, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable {
    verdict: Verdict,
    detail: String,
}

impl Unusable {
    fn error(detail: impl Into<String>) -> Self {
        Self { verdict: Verdict::Error, detail: detail.into() }
    }

    fn insufficient(detail: impl Into<String>) -> Self {
        Self { verdict: Verdict::Insufficient, detail: detail.into() }
    }

    fn absent(detail: impl Into<String>) -> Self {
        Self { verdict: Verdict::Absent, detail: detail.into() }
    }

    fn of(self, part: &str) -> Self {
        Self { detail: format!("{part}{}", self.detail), ..self }
    }
}

/// A judge: what it needs to know, and what it makes of that. Both are pure.
pub trait Rule {
    /// What has to be asked beyond the gate's own query.
    fn asks(&self, _about: &About<'_>) -> Vec<Part> {
        Vec::new()
    }

    /// The verdict, with the figures that it rests on.
    ///
    /// # Errors
    /// Where what it needs is not there, or not usable.
    fn rule(&self, given: &Given<'_>) -> Result<Ruling, Unusable>;
}

/// The judge that a gate declares.
pub fn rule_of(judge: &Judge) -> Box<dyn Rule + '_> {
    match judge {
        Judge::Threshold { min, max } => Box::new(Threshold { min: *min, max: *max }),
        Judge::Relative { baseline, max_degradation, direction, floor } => {
            let bounds = relative::Bounds {
                max_degradation: *max_degradation,
                direction: *direction,
                floor: *floor,
            };
            Box::new(Relative { baseline, bounds })
        }
        Judge::MannWhitney(declared) => Box::new(Ref(declared)),
        Judge::Sequential(declared) => Box::new(Ref(declared)),
        Judge::BurnRate(declared) => Box::new(Ref(declared)),
        Judge::Alerts(declared) => Box::new(Ref(declared)),
        Judge::Webhook => Box::new(Webhook),
        Judge::Kubernetes(declared) => Box::new(Ref(declared)),
    }
}

/// A rule that somebody else owns.
struct Ref<'a, R>(&'a R);

impl<R: Rule> Rule for Ref<'_, R> {
    fn asks(&self, about: &About<'_>) -> Vec<Part> {
        self.0.asks(about)
    }

    fn rule(&self, given: &Given<'_>) -> Result<Ruling, Unusable> {
        self.0.rule(given)
    }
}

/// A measurement that is about to be taken: of what, where and when.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// The release's plan.
    pub plan: &'a Plan,
    /// The ring.
    pub ring: &'a Ring,
    /// The cluster.
    pub cluster: &'a Cluster,
    /// The gate.
    pub gate: &'a Gate,
    /// Its metric source there, where the cluster has it.
    pub source: Option<&'a MetricSource>,
    /// What placeholders stand for.
    pub vars: &'a Vars<'a>,
    /// The time since the measurement before.
    pub over: Span,
    /// What is known from earlier measurements.
    pub history: &'a History,
    /// When the target last took the release.
    pub deployed: Timestamp,
    /// Now.
    pub now: Timestamp,
}

impl About<'_> {
    /// The time since the deploy.
    pub fn since_deploy(&self) -> Span {
        let passed = self.now.duration_since(self.deployed).as_millis();
        Span(u64::try_from(passed).unwrap_or(0))
    }

    /// Asks for one number; over a length of time, where that is given.
    fn number(&self, role: Role, query: &Query, over: Option<Span>) -> Option<Part> {
        let source = self.source?.clone();
        let vars = Vars { interval: over.unwrap_or(self.vars.interval), ..*self.vars };
        let (cluster, query) =
            (self.cluster.name.clone(), render(query, source.kind.language(), &vars));
        Some(Part { role, ask: Ask::Number { source, cluster, query, over } })
    }

    /// Asks for one number an interval, over a length of time that ends at `to`.
    fn range(&self, role: Role, query: &Query, to: Timestamp, length: Span) -> Option<Part> {
        let source = self.source?.clone();
        let from = to.saturating_sub(length.to_signed()).unwrap_or(to);
        let vars = Vars { interval: self.gate.interval, ..*self.vars };
        let query = render(query, source.kind.language(), &vars);
        let step = self.gate.interval;
        Some(Part { role, ask: Ask::Range { source, query, from, to, step } })
    }

    /// Asks for the gate's own figure on every cluster of another ring.
    fn elsewhere(&self, role: Role, ring: &RingName) -> Vec<Part> {
        let Some(other) = self.plan.ring(ring) else { return Vec::new() };
        let parts = other.clusters.iter().filter_map(|cluster| {
            let source = cluster.metrics.iter().find(|s| s.name == self.gate.provider)?.clone();
            let vars = Vars {
                ring: &other.name,
                cluster: &cluster.name,
                region: &cluster.region,
                jurisdiction: &cluster.jurisdiction,
                ..*self.vars
            };
            let query = render(&self.gate.query, source.kind.language(), &vars);
            let cluster = cluster.name.clone();
            Some(Part { role, ask: Ask::Number { source, cluster, query, over: None } })
        });
        parts.collect()
    }
}

/// What a measurement is judged by.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// The gate.
    pub gate: &'a Gate,
    /// Its own number, where it reads one: fresh, and not NaN.
    pub value: Option<f64>,
    /// The figure from before the deploy, where one is known.
    pub baseline: Option<f64>,
    /// What was asked.
    pub parts: &'a [Part],
    /// What was told of it, each in its place.
    pub told: &'a [Told],
    /// What is known from earlier measurements.
    pub history: &'a History,
    /// The tests that share the ring's chance of a false alarm.
    pub tests: u32,
    /// When the target last took the release: nothing measured up to then says anything about it.
    pub deployed: Timestamp,
    /// Now.
    pub now: Timestamp,
}

impl<'a> Given<'a> {
    /// A gate of which nothing is known but its history.
    pub fn new(gate: &'a Gate, history: &'a History, deployed: Timestamp, now: Timestamp) -> Self {
        let (value, baseline) = (None, None);
        Self { gate, value, baseline, parts: &[], told: &[], history, tests: 1, deployed, now }
    }

    /// The gate's own number.
    fn value(&self) -> Result<f64, Unusable> {
        self.value.ok_or_else(|| Unusable::absent("no number was asked for"))
    }

    /// The answer to the first part of that role.
    fn part(&self, role: Role) -> Option<&'a Told> {
        self.of(&[role]).next().map(|(_, told)| told)
    }

    /// The finite numbers that were told of a stretch of time; none where there are none.
    fn range(&self, role: Role) -> Vec<f64> {
        match self.part(role) {
            Some(Told::Range(samples)) => {
                samples.iter().map(|sample| sample.value).filter(|v| v.is_finite()).collect()
            }
            Some(
                Told::Number(_)
                | Told::Alerts(_)
                | Told::Ruled { .. }
                | Told::Workload(_)
                | Told::Error(_),
            )
            | None => Vec::new(),
        }
    }

    fn of(&self, roles: &[Role]) -> impl Iterator<Item = (Role, &'a Told)> {
        let asked = self.parts.iter().zip(self.told);
        asked.filter(|(part, _)| roles.contains(&part.role)).map(|(part, told)| (part.role, told))
    }

    /// The one number of that role, fresh.
    fn number(&self, role: Role) -> Result<f64, Unusable> {
        self.numbers(&[role])?.first().copied().ok_or_else(|| Unusable::error("it was not asked"))
    }

    /// A number of that role that counts something.
    fn count(&self, role: Role) -> Result<f64, Unusable> {
        let count = self.number(role)?;
        let what = role_name(role);
        match count.is_finite() && count >= 0.0 {
            true => Ok(count),
            false => Err(Unusable::error(format!("{what}: {count} is no count"))),
        }
    }

    /// Every number of those roles, in the order in which they were asked; at least one.
    fn numbers(&self, roles: &[Role]) -> Result<Vec<f64>, Unusable> {
        let mut numbers = Vec::new();
        for (role, told) in self.of(roles) {
            let place = format!("{}: ", role_name(role));
            let Told::Number(reading) = told else {
                return Err(Unusable::error("is no number").of(&place));
            };
            let fresh = fresh(reading, self.gate.max_age, self.deployed, self.now);
            numbers.push(fresh.map_err(|why| why.of(&place))?);
        }
        match numbers.is_empty() {
            true => Err(Unusable::error("there was nobody to ask")),
            false => Ok(numbers),
        }
    }
}

/// A role as sentences and scenarios name it.
pub fn role_name(role: Role) -> &'static str {
    match role {
        Role::Stable => "stable",
        Role::Requests => "requests",
        Role::Errors => "errors",
        Role::StableRequests => "stableRequests",
        Role::StableErrors => "stableErrors",
        Role::Past => "past",
        Role::PastSamples => "pastSamples",
        Role::Before => "before",
        Role::StableHistory => "stableHistory",
        Role::Alerts => "alerts",
        Role::Webhook => "webhook",
        Role::Kubernetes => "kubernetes",
    }
}

/// Judges one measurement; with what need not be asked again.
///
/// `given` is what is known of the gate; its `value`, `parts` and `told` are read from the measurement.
///
/// An error anywhere is an Error, whatever else was answered; then a number that is missing or stale
/// is Absent, too few samples are Insufficient, and only what is left is compared. An answer to the
/// baseline's question counts until one was recorded.
pub fn judge(given: &Given<'_>, answer: &Answer) -> (Judged, Option<Taken>) {
    let mut judged = Judged::new(Verdict::Error, "");
    judged.infos = answer.infos.iter().take(INFOS).map(|info| tamed(info, INFO)).collect();
    let mut taken = None;
    match weigh(given, answer, &mut judged) {
        Ok(ruling) => {
            judged.verdict = ruling.verdict;
            judged.against = ruling.against;
            judged.detail = ruling.detail;
            judged.figures = ruling.figures;
            judged.kept = ruling.kept;
            taken = ruling.taken;
        }
        Err(Unusable { verdict, detail }) => {
            judged.verdict = verdict;
            judged.detail = detail;
        }
    }
    (judged, taken)
}

/// Fills in the figures of `judged` as they are read; stops with the first reason not to compare.
fn weigh(given: &Given<'_>, answer: &Answer, judged: &mut Judged) -> Result<Ruling, Unusable> {
    let Given { gate, deployed, now, .. } = *given;
    let reads_value = gate.judge.reads_value();
    let readings = [
        ("", reads_value.then_some(&answer.value)),
        ("samples: ", answer.samples.as_ref()),
        ("baseline: ", answer.baseline.as_ref()),
    ];
    for (part, reading) in readings {
        if let Some(Reading::Error(why)) = reading {
            return Err(Unusable::error(why.clone()).of(part));
        }
    }
    if given.parts.len() != answer.parts.len() {
        return Err(Unusable::error("not everything that was asked was answered"));
    }
    for (part, told) in given.parts.iter().zip(&answer.parts) {
        if let Told::Error(why) | Told::Number(Reading::Error(why)) = told {
            let place = format!("{}: ", role_name(part.role));
            return Err(Unusable::error(why.clone()).of(&place));
        }
    }

    let mut value = None;
    if reads_value {
        value = Some(fresh(&answer.value, gate.max_age, deployed, now)?);
        judged.value = value;
    }
    if let Some(reading) = &answer.samples {
        match fresh(reading, gate.max_age, deployed, now) {
            Ok(samples) => judged.samples = Some(samples),
            // A count of nothing has no series: that is no samples, and not a missing measurement.
            Err(Unusable { verdict: Verdict::Absent, .. }) => {}
            Err(why) => return Err(why.of("samples: ")),
        }
    }
    // A burn rate's minimum is for each of its long windows, which it counts by itself.
    let counts_itself = matches!(gate.judge, Judge::BurnRate(_));
    if let Some(least) = gate.min_samples.filter(|_| !counts_itself) {
        let samples = judged.samples.unwrap_or(0.0);
        if !(samples.is_finite() && samples >= least) {
            let figures = figures::Figures::new(None);
            let [samples, least] = figures.tell([samples, least]);
            return Err(Unusable::insufficient(format!("{samples} samples < {least}")));
        }
    }

    let beside = match &answer.baseline {
        Some(Reading::Value { value, .. }) => Some(*value),
        Some(Reading::Absent | Reading::Error(_)) | None => None,
    };
    let baseline = given.baseline.or(beside);
    let given = Given { value, baseline, told: &answer.parts, ..*given };
    rule_of(&gate.judge).rule(&given)
}

/// The number of a reading that is neither too old nor from before the deploy.
fn fresh(
    reading: &Reading,
    max_age: Span,
    deployed_at: Timestamp,
    now: Timestamp,
) -> Result<f64, Unusable> {
    match reading {
        Reading::Error(why) => Err(Unusable::error(why.clone())),
        Reading::Absent => Err(Unusable::absent("no series, or not a number")),
        Reading::Value { value, .. } if value.is_nan() => Err(Unusable::absent("not a number")),
        Reading::Value { value, at } => match stale(*at, max_age, deployed_at, now) {
            None => Ok(*value),
            Some((verdict, detail)) => Err(Unusable { verdict, detail }),
        },
    }
}

/// Why a sample of that instant says nothing about the release now, if it does not.
pub fn stale(
    at: Timestamp,
    max_age: Span,
    deployed_at: Timestamp,
    now: Timestamp,
) -> Option<(Verdict, String)> {
    let allowed = max_age.to_signed();
    let age = now.duration_since(at);
    if at <= deployed_at {
        let detail = format!("the newest sample ({at}) is not later than the deploy");
        return Some((Verdict::Absent, detail));
    }
    if age > allowed {
        let age = Span(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        let detail = format!("the newest sample is {age} old, older than {max_age}");
        return Some((Verdict::Absent, detail));
    }
    // A clock that runs that far ahead would make every sample look young for ever.
    (-age > allowed).then(|| {
        let detail = format!(
            "the newest sample ({at}) lies ahead of now by more than {max_age}: the clocks differ"
        );
        (Verdict::Error, detail)
    })
}

#[cfg(test)]
mod tests;
