//! `GateTemplate` documents, and the gates of a policy that measure by them.

use std::collections::BTreeMap;

use super::{
    At, Diagnostic, Doc, Kind, Rule, Units, World, nearest,
    query::{Fault, Query},
    units,
};
use crate::{
    declare::schema::{self, scalar},
    model::{
        language::Language,
        policy::{Baseline, Gate, Judge, Signal},
        time::Span,
    },
};

/// The time between two measurements, where a gate does not say.
pub(super) const INTERVAL: Span = Span::minutes(1);
/// The scrape interval that the default `maxAge` allows for on top of two intervals.
pub(super) const SCRAPE: Span = Span::seconds(15);
/// How long a gate may go without a usable measurement, where it does not say.
pub(super) const NO_DATA_DEADLINE: Span = Span::minutes(30);
/// More failing measurements than this fail the ring, where a gate does not say.
pub(super) const FAILURE_LIMIT: u32 = 0;
/// More errors in a row than this hold the ring, where a gate does not say.
pub(super) const CONSECUTIVE_ERROR_LIMIT: u32 = 4;

/// A measurement with its parameters still open.
#[derive(Debug)]
pub(super) struct Template<'a> {
    signal: Signal,
    provider: String,
    /// By name, each with its default.
    arguments: BTreeMap<&'a str, Option<&'a str>>,
    query: Query,
    samples: Option<Query>,
}

pub(super) fn lower<'a>(world: &World<'a>) -> Units<Template<'a>> {
    units(world, Kind::GateTemplate, |_, doc, problems| template(world, doc, problems))
}

fn template<'a>(
    world: &World<'_>,
    doc: &'a Doc<'a>,
    problems: &mut Vec<Diagnostic>,
) -> Option<Template<'a>> {
    let spec: &schema::GateTemplate = doc.spec_as()?;
    let at = doc.spec();
    let signal = at.require(spec.signal, "signal", problems);
    let provider = at.require(spec.provider.as_deref(), "provider", problems);
    let text = at.require(spec.query.as_deref(), "query", problems);
    let list = at.field("args");
    let mut arguments = BTreeMap::new();
    for (i, argument) in spec.args.iter().enumerate() {
        let Some(name) = list.item(i).require(argument.name.as_deref(), "name", problems) else {
            continue;
        };
        let place = list.item(i).field("name");
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || !name.chars().all(fits) {
            let message = format!("`{name}` cannot name an argument");
            let help = "use letters, digits, hyphens and underscores";
            problems.push(place.problem(Rule::Gat004, message).help(help));
        } else if crate::model::policy::BUILT_IN.contains(&name) {
            let message = format!("`{name}` is built in, and filled in by ringward itself");
            problems.push(place.problem(Rule::Gat004, message).help("choose another name"));
        }
        let default = argument.default.as_ref().map(|d| d.0.as_str());
        if arguments.insert(name, default).is_some() {
            let message = format!("argument `{name}` is declared twice");
            problems.push(place.problem(Rule::Gat004, message).help("keep one of them"));
        }
    }
    let names: Vec<&str> = arguments.keys().copied().collect();
    let language = provider.map_or(Language::PromQl, |name| language_of(world, name));
    let mut parse = |text: &str, at: At<'_>| {
        let (query, faults) = Query::parse(text, &names, language);
        problems.extend(faults.into_iter().map(|fault| located(fault, at)));
        if language == Language::Url && !text.contains('#') {
            let message = "the query does not say where in the answer the number is";
            let help = "end it with a JSON pointer, such as /errors?service={{plan}}#/data/rate";
            problems.push(at.problem(Rule::Sch004, message).help(help));
        }
        query
    };
    let query = text.map(|text| parse(text, at.field("query")));
    let samples = spec.samples.as_deref().map(|text| parse(text, at.field("samples")));
    for (i, declared) in spec.args.iter().enumerate() {
        let (Some(name), Some(default)) = (declared.name.as_deref(), &declared.default) else {
            continue;
        };
        let place = list.item(i).field("default");
        problems.extend(unfit(query.iter().chain(&samples), name, &default.0, place));
    }
    Some(Template {
        signal: signal?.into(),
        provider: provider?.into(),
        arguments,
        query: query?,
        samples,
    })
}

fn located(fault: Fault, at: At<'_>) -> Diagnostic {
    at.inside(&fault.part).problem(Rule::Gat005, fault.message).help(fault.help)
}

/// The language of the metric sources of that name: that of most of them. A cluster that gives the name
/// to a source of another kind puts out of service only the plans that take it in.
pub(super) fn language_of(world: &World<'_>, provider: &str) -> Language {
    let clusters = world.clusters.values().filter_map(|unit| Some(&unit.value.as_ref()?.cluster));
    let mut spoken: BTreeMap<Language, usize> = BTreeMap::new();
    for source in clusters.flat_map(|c| &c.metrics).filter(|source| source.name == provider) {
        *spoken.entry(source.kind.language()).or_default() += 1;
    }
    // Of as many, the one that was there first: PromQL.
    let most = spoken.into_iter().rev().max_by_key(|(_, clusters)| *clusters);
    most.map_or(Language::PromQl, |(language, _)| language)
}

/// Why a value cannot be put where its argument stands.
fn unfit<'q>(
    queries: impl IntoIterator<Item = &'q Query>,
    name: &str,
    value: &str,
    at: At<'_>,
) -> Option<Diagnostic> {
    if value.contains("{{") {
        let message = format!("the value of `{name}` holds a placeholder");
        let help = "put the placeholder into the template's query";
        return Some(at.problem(Rule::Gat004, message).help(help));
    }
    let (message, help) = queries.into_iter().find_map(|query| query.misfit(name, value))?;
    Some(at.problem(Rule::Gat004, message).help(help))
}

/// One gate of a policy; `soak` is the policy's, where it is known.
pub(super) fn one(
    world: &World<'_>,
    spec: &schema::Gate,
    soak: Option<Span>,
    at: At<'_>,
    problems: &mut Vec<Diagnostic>,
) -> Option<Gate> {
    let name = at.require(spec.name.as_deref(), "name", problems);
    if let Some(name) = name.filter(|n| !super::is_label(n)) {
        problems.push(super::bad_name(at.field("name"), name));
    }
    let judge = judge(spec, at, problems);
    let template = at.require(spec.template.as_deref(), "template", problems).and_then(|name| {
        world.find(&world.templates, Kind::GateTemplate, name, at.field("template"), problems)
    });
    let values = template.map(|template| values(template, spec, at, problems)).unwrap_or_default();
    let interval = spec.interval.map_or(INTERVAL, |d| d.0);
    let span = |written: Option<scalar::Duration>, or: Span| written.map_or(or, |d| d.0);
    let times = Times {
        interval,
        initial_delay: span(spec.initial_delay, Span::ZERO),
        no_data_deadline: span(spec.no_data_deadline, NO_DATA_DEADLINE.max(interval * 2)),
        soak,
    };
    let required = spec.required.unwrap_or(true);
    times.check(required, at, problems);
    let counted = template.is_some_and(|t| t.samples.is_some());
    for (field, minimum) in
        [("minSamples", spec.min_samples), ("minTotalSamples", spec.min_total_samples)]
    {
        let Some(minimum) = minimum else { continue };
        let place = at.field(field);
        if !minimum.is_finite() || minimum < 0.0 {
            let problem = place.problem(Rule::Sch004, format!("`{field}` is not a number from 0"));
            problems.push(problem);
        } else if template.is_some() && !counted {
            let message =
                format!("`{field}` cannot be counted: the template has no `samples` query");
            let help = "add a `samples` query that counts requests over [{{interval}}]";
            problems.push(place.key().problem(Rule::Gat006, message).help(help));
        }
    }
    let template = template?;
    Some(Gate {
        name: name?.into(),
        signal: template.signal,
        provider: template.provider.clone(),
        query: template.query.render(&values),
        samples: template.samples.as_ref().map(|q| q.render(&values)),
        interval,
        initial_delay: times.initial_delay,
        judge: judge?,
        min_samples: spec.min_samples,
        min_total_samples: spec.min_total_samples,
        failure_limit: spec.failure_limit.map_or(FAILURE_LIMIT, |n| n.0),
        consecutive_failure_limit: spec.consecutive_failure_limit.map(|n| n.0),
        consecutive_error_limit: spec
            .consecutive_error_limit
            .map_or(CONSECUTIVE_ERROR_LIMIT, |n| n.0),
        on_no_data: spec.on_no_data.map(Into::into).unwrap_or_default(),
        no_data_deadline: times.no_data_deadline,
        max_age: span(spec.max_age, interval * 2 + SCRAPE),
        required,
        unit: spec.unit.clone(),
        traffic: None,
    })
}

/// The values of the template's arguments: the gate's, or else their defaults.
fn values<'v>(
    template: &Template<'v>,
    spec: &'v schema::Gate,
    at: At<'_>,
    problems: &mut Vec<Diagnostic>,
) -> BTreeMap<&'v str, &'v str> {
    let list = at.field("args");
    for (name, value) in &spec.args {
        match template.arguments.get(name.as_str()) {
            Some(_) => {
                let queries = [&template.query].into_iter().chain(&template.samples);
                problems.extend(unfit(queries, name, &value.0, list.field(name)));
            }
            None => {
                let message = format!("the template has no argument `{name}`");
                let help = match nearest(name, template.arguments.keys().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "declare it under the template's `args`".to_owned(),
                };
                problems.push(list.field(name).key().problem(Rule::Gat004, message).help(help));
            }
        }
    }
    let mut values = BTreeMap::new();
    for (name, default) in &template.arguments {
        match spec.args.get(*name).map(|v| v.0.as_str()).or(*default) {
            Some(value) => {
                values.insert(*name, value);
            }
            None => {
                let message = format!("argument `{name}` of the template has no value");
                let problem = at.field("template").problem(Rule::Gat004, message);
                problems.push(
                    problem.help(format!("give it under `args`, as in args: {{{name}: ...}}")),
                );
            }
        }
    }
    values
}

/// The lengths of time that have to fit each other.
struct Times {
    interval: Span,
    initial_delay: Span,
    no_data_deadline: Span,
    soak: Option<Span>,
}

impl Times {
    fn check(&self, required: bool, at: At<'_>, problems: &mut Vec<Diagnostic>) {
        let Times { interval, initial_delay, no_data_deadline, soak } = *self;
        if interval == Span::ZERO {
            let problem = at.field("interval").problem(Rule::Sch004, "an interval of no time");
            problems.push(problem.help("such as 1m"));
            return;
        }
        if no_data_deadline < interval {
            let message =
                format!("noDataDeadline {no_data_deadline} ends before the next measurement");
            let help =
                format!("make it at least the interval ({interval}), better several of them");
            problems.push(at.field("noDataDeadline").problem(Rule::Gat007, message).help(help));
        }
        // A soak of no time is measured once and passes; a soak of some time counts between two.
        let Some(soak) = soak.filter(|s| required && *s > Span::ZERO) else { return };
        if soak < initial_delay + interval {
            let message = format!(
                "the soak of {soak} ends before the second measurement, {} after its start",
                initial_delay + interval
            );
            let help = "lengthen the soak, or shorten `interval` or `initialDelay`";
            problems.push(at.field("interval").problem(Rule::Gat007, message).help(help));
        }
    }
}

fn judge(spec: &schema::Gate, at: At<'_>, problems: &mut Vec<Diagnostic>) -> Option<Judge> {
    // A judge that is built moves from this list to the match below.
    let not_built = [
        ("mannWhitney", spec.mann_whitney.is_some()),
        ("sequential", spec.sequential.is_some()),
        ("burnRate", spec.burn_rate.is_some()),
        ("alerts", spec.alerts.is_some()),
        ("webhook", spec.webhook.is_some()),
        ("kubernetes", spec.kubernetes.is_some()),
    ];
    let mut named: Vec<&str> =
        not_built.iter().filter(|(_, there)| *there).map(|(name, _)| *name).collect();
    for name in &named {
        let message = format!("this version cannot evaluate the judge `{name}`");
        let help =
            "use `threshold` or `relative`; a gate that is never evaluated would pass nothing";
        problems.push(at.field(name).key().problem(Rule::Gat008, message).help(help));
    }
    let built = [("threshold", spec.threshold.is_some()), ("relative", spec.relative.is_some())];
    named.extend(built.iter().filter(|(_, there)| *there).map(|(name, _)| *name));
    if named.len() > 1 {
        let message = format!("a gate has one judge, and this one has {}", named.join(", "));
        let help = "make a gate of each, on the same template";
        problems.push(at.field("name").problem(Rule::Gat002, message).help(help));
        return None;
    }
    match (&spec.threshold, &spec.relative) {
        (Some(threshold), _) => bounds(threshold, at.field("threshold"), problems),
        (None, Some(relative)) => comparison(relative, at.field("relative"), problems),
        (None, None) => {
            let lost = |name: &&str| at.lost(name);
            let all = not_built.iter().chain(&built).map(|(name, _)| *name);
            if named.is_empty() && !all.clone().any(|name| lost(&name)) {
                let message = "a gate without a pass condition";
                let help = "add threshold: {min: ...} or relative: {baseline: before, ...}";
                problems.push(at.field("name").problem(Rule::Gat001, message).help(help));
            }
            None
        }
    }
}

fn bounds(spec: &schema::Threshold, at: At<'_>, problems: &mut Vec<Diagnostic>) -> Option<Judge> {
    for (field, bound) in [("min", spec.min), ("max", spec.max)] {
        if bound.is_some_and(|b| !b.is_finite()) {
            let message = format!("`{field}` is not a finite number");
            problems.push(at.field(field).problem(Rule::Sch004, message).help("give a number"));
            return None;
        }
    }
    match (spec.min, spec.max) {
        (None, None) if at.lost("min") || at.lost("max") => None,
        (None, None) => {
            let message = "a threshold without a bound passes everything";
            problems
                .push(at.key().problem(Rule::Gat001, message).help("give `min`, `max` or both"));
            None
        }
        (Some(min), Some(max)) if min > max => {
            let message = format!("nothing is at least {min} and at most {max}");
            problems.push(at.key().problem(Rule::Gat001, message).help("swap `min` and `max`"));
            None
        }
        (min, max) => Some(Judge::Threshold { min, max }),
    }
}

fn comparison(
    spec: &schema::Relative,
    at: At<'_>,
    problems: &mut Vec<Diagnostic>,
) -> Option<Judge> {
    let baseline = at.require(spec.baseline.as_ref(), "baseline", problems);
    let max_degradation = at.require(spec.max_degradation, "maxDegradation", problems);
    let direction = at.require(spec.direction, "direction", problems);
    let floor = spec.floor.unwrap_or(0.0);
    if !floor.is_finite() || floor < 0.0 {
        problems.push(at.field("floor").problem(Rule::Sch004, "`floor` is not a number from 0"));
        return None;
    }
    let baseline = match baseline? {
        scalar::Baseline::Before => Baseline::Before,
        other @ (scalar::Baseline::Stable | scalar::Baseline::Ring(_)) => {
            let what = match other {
                scalar::Baseline::Ring(_) => "another ring",
                scalar::Baseline::Before | scalar::Baseline::Stable => "a stable population",
            };
            let message = format!("this version cannot compare with {what}");
            let help = "use `baseline: before`: the same cluster before the deploy";
            problems.push(at.field("baseline").problem(Rule::Gat008, message).help(help));
            return None;
        }
    };
    Some(Judge::Relative {
        baseline,
        max_degradation: max_degradation?.0,
        direction: direction?.into(),
        floor,
    })
}
