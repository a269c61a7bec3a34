//! `GateTemplate` documents, and the gates of a policy that measure by them.

use std::collections::BTreeMap;

use super::{
    At, Diagnostic, Doc, Kind, Rule, Units, World, cluster,
    judge::{asks_no_query, judge, looks_back, measurements, provider, usual_signal},
    nearest,
    query::{Fault, Query},
    units,
};
use crate::{
    declare::schema::{self, scalar},
    model::{
        influxql,
        judge::Traffic,
        language::Language,
        policy::{Gate, OnNoData, Signal},
        time::Span,
    },
};

/// The time between two measurements, where a gate does not say.
pub(super) const INTERVAL: Span = Span::minutes(1);
/// The scrape interval that the default `maxAge` allows for on top of two intervals.
pub(super) const SCRAPE: Span = Span::seconds(15);
/// How long a gate may go without a usable measurement, where it does not say.
pub(super) const NO_DATA_DEADLINE: Span = Span::minutes(30);
/// More failing measurements than this fail the ring, where a gate says neither this nor how many in a row.
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
    /// None where there are counts alone.
    pub(super) query: Option<Query>,
    samples: Option<Query>,
    pub(super) stable: Option<Query>,
    pub(super) counts: Option<Counted>,
}

/// Queries that count.
#[derive(Debug)]
pub(super) struct Counted {
    pub(super) requests: Query,
    pub(super) errors: Query,
    pub(super) stable: Option<(Query, Query)>,
}

impl Template<'_> {
    fn samples(&self) -> Option<&Query> {
        self.samples.as_ref().or_else(|| Some(&self.counts.as_ref()?.requests))
    }

    fn queries(&self) -> impl Iterator<Item = &Query> {
        let counts = self.counts.iter().flat_map(|counted| {
            let stable = counted.stable.iter().flat_map(|(requests, errors)| [requests, errors]);
            [&counted.requests, &counted.errors].into_iter().chain(stable)
        });
        [&self.query, &self.samples, &self.stable].into_iter().flatten().chain(counts)
    }
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
    let text = match spec.counts {
        Some(_) => spec.query.as_deref(),
        None => at.require(spec.query.as_deref(), "query", problems),
    };
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
    let language = provider.map_or(Language::PromQl, |name| world.languages.spoken_by(name));
    let mut parse = |text: &str, at: At<'_>| {
        let (query, faults) = Query::parse(text, &names, language);
        problems.extend(faults.into_iter().map(|fault| located(fault, at)));
        if language == Language::Url && !text.contains('#') {
            let message = "the query does not say where in the answer the number is";
            let help = "end it with a JSON pointer, such as /errors?service={{plan}}#/data/rate";
            problems.push(at.problem(Rule::Sch004, message).help(help));
        }
        if language == Language::InfluxQl
            && let Err(why) = influxql::Select::of(text)
        {
            problems.push(at.problem(Rule::Sch004, why).help(influxql::READING));
        }
        query
    };
    let query = text.map(|text| parse(text, at.field("query")));
    let samples = spec.samples.as_deref().map(|text| parse(text, at.field("samples")));
    let stable = spec.stable.as_deref().map(|text| parse(text, at.field("stable")));
    let place = at.field("counts");
    let mut count = |text: Option<&str>, field| text.map(|text| parse(text, place.field(field)));
    let counted = spec.counts.as_ref().map(|counts| {
        (
            count(counts.requests.as_deref(), "requests"),
            count(counts.errors.as_deref(), "errors"),
            count(counts.stable_requests.as_deref(), "stableRequests"),
            count(counts.stable_errors.as_deref(), "stableErrors"),
        )
    });
    let mut queries: Vec<&Query> = [&query, &samples, &stable].into_iter().flatten().collect();
    if let Some((requests, errors, stable_requests, stable_errors)) = &counted {
        queries.extend([requests, errors, stable_requests, stable_errors].into_iter().flatten());
    }
    for (i, declared) in spec.args.iter().enumerate() {
        let (Some(name), Some(default)) = (declared.name.as_deref(), &declared.default) else {
            continue;
        };
        let place = list.item(i).field("default");
        problems.extend(unfit(queries.iter().copied(), name, &default.0, place));
    }
    if spec.counts.is_none() {
        query.as_ref()?;
    }
    Some(Template {
        signal: signal?.into(),
        provider: provider?.into(),
        arguments,
        query,
        samples,
        stable,
        counts: match counted {
            None => None,
            Some((requests, errors, stable_requests, stable_errors)) => {
                let written = spec.counts.as_ref();
                for (field, there) in
                    [("requests", requests.is_some()), ("errors", errors.is_some())]
                {
                    place.require(there.then_some(()), field, problems);
                }
                if let Some(counts) = written
                    && counts.stable_requests.is_some() != counts.stable_errors.is_some()
                {
                    let message =
                        "`stableRequests` and `stableErrors` are given together, or not at all";
                    problems.push(place.key().problem(Rule::Sch007, message).help("give both"));
                }
                Some(Counted {
                    requests: requests?,
                    errors: errors?,
                    stable: stable_requests.zip(stable_errors),
                })
            }
        },
    })
}

fn located(fault: Fault, at: At<'_>) -> Diagnostic {
    at.inside(&fault.part).problem(Rule::Gat005, fault.message).help(fault.help)
}

/// The languages of the metric sources, by their name.
#[derive(Debug, Default)]
pub(super) struct Languages(BTreeMap<String, Language>);

impl Languages {
    /// Of each name, that of most of its sources. A cluster that gives the name to a source of another
    /// kind puts out of service only the plans that take it in.
    pub(super) fn of(clusters: &Units<cluster::Placed<'_>>) -> Self {
        let mut spoken: BTreeMap<&str, BTreeMap<Language, usize>> = BTreeMap::new();
        let clusters = clusters.values().filter_map(|unit| Some(&unit.value.as_ref()?.cluster));
        for source in clusters.flat_map(|cluster| &cluster.metrics) {
            let spoken = spoken.entry(source.name.as_str()).or_default();
            *spoken.entry(source.kind.language()).or_default() += 1;
        }
        // Of as many, the one that was there first: PromQL.
        let most = |spoken: BTreeMap<Language, usize>| {
            spoken.into_iter().rev().max_by_key(|(_, clusters)| *clusters).map(|(most, _)| most)
        };
        let most =
            spoken.into_iter().filter_map(|(name, spoken)| Some((name.to_owned(), most(spoken)?)));
        Self(most.collect())
    }

    /// The language of the sources of that name; PromQL where there are none.
    pub(super) fn spoken_by(&self, provider: &str) -> Language {
        self.0.get(provider).copied().unwrap_or(Language::PromQl)
    }
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
    let named = match asks_no_query(spec) {
        true => spec.template.as_deref(),
        false => at.require(spec.template.as_deref(), "template", problems),
    };
    let template = named.and_then(|name| {
        world.find(&world.templates, Kind::GateTemplate, name, at.field("template"), problems)
    });
    if let (Some(_), Some(_)) = (spec.signal, named) {
        let message = "the template says which kind of signal the gate reads";
        let problem = at.field("signal").key().problem(Rule::Sch007, message);
        problems.push(problem.help("take `signal` out, or `template`"));
    }
    let values = template.map(|template| values(template, spec, at, problems)).unwrap_or_default();
    let judge = judge(spec, template.map(|template| (template, &values)), at, problems);
    let interval = spec.interval.map_or(INTERVAL, |d| d.0);
    let span = |written: Option<scalar::Duration>, or: Span| written.map_or(or, |d| d.0);
    let times = Times {
        interval,
        initial_delay: span(spec.initial_delay, Span::ZERO),
        no_data_deadline: span(spec.no_data_deadline, NO_DATA_DEADLINE.max(interval * 2)),
        soak,
        needs: judge.as_ref().map_or(2, measurements),
        fails_without: spec.on_no_data.map(OnNoData::from) == Some(OnNoData::Fail),
    };
    let required = spec.required.unwrap_or(true);
    times.check(required, at, problems);
    if let (Some(soak), Some(back)) = (soak, judge.as_ref().and_then(looks_back))
        && required
        && soak < back
    {
        let message = format!("the soak of {soak} ends before a window of {back} is full");
        let help = "lengthen the soak, or give `windows` that fit into it: a window that is not full is \
                    judged by what is there";
        problems.push(at.field("burnRate").key().problem(Rule::Gat019, message).help(help));
    }
    let provider = provider(spec, template.map(|t| t.provider.as_str()), at, problems);
    // Whom a template's queries are for is the template's to say.
    let counting = template.filter(|t| provider.as_ref() == Some(&t.provider));
    let samples = counting.and_then(Template::samples);
    let may_count = template.is_some() || named.is_none() && asks_no_query(spec);
    for (field, minimum) in
        [("minSamples", spec.min_samples), ("minTotalSamples", spec.min_total_samples)]
    {
        let Some(minimum) = minimum else { continue };
        let place = at.field(field);
        if !minimum.is_finite() || minimum < 0.0 {
            let problem = place.problem(Rule::Sch004, format!("`{field}` is not a number from 0"));
            problems.push(problem);
        } else if may_count && samples.is_none() {
            let why = match template {
                Some(template) if template.samples().is_some() => {
                    "the template counts at another source"
                }
                Some(_) => "the template has no `samples` query",
                None => "there is no template with a `samples` query",
            };
            let message = format!("`{field}` cannot be counted: {why}");
            let help = "add a `samples` query that counts requests over [{{interval}}]";
            problems.push(place.key().problem(Rule::Gat006, message).help(help));
        } else if let Some(query) = samples.filter(|_| field == "minTotalSamples" && minimum > 0.0)
            && !query.names("interval")
        {
            let message = "the template's `samples` do not look back over {{interval}}: what two measurements \
                           see is counted twice, and the minimum reached too early";
            let help = "put {{interval}} where a length of time stands: it is the time since the last \
                        measurement";
            problems.push(place.key().problem(Rule::Gat020, message).help(help));
        }
    }
    if named.is_some() {
        template?;
    }
    let judge = judge?;
    let query = template.and_then(|t| t.query.as_ref()).filter(|_| judge.reads_value());
    Some(Gate {
        name: name?.into(),
        signal: match (template, spec.signal) {
            (Some(template), _) => template.signal,
            (None, Some(signal)) => signal.into(),
            (None, None) => usual_signal(&judge),
        },
        provider: provider?,
        query: query.map(|q| q.render(&values).into()).unwrap_or_default(),
        samples: samples.map(|q| q.render(&values).into()),
        interval,
        initial_delay: times.initial_delay,
        judge,
        min_samples: spec.min_samples,
        min_total_samples: spec.min_total_samples,
        failure_limit: match (spec.failure_limit, spec.consecutive_failure_limit) {
            (Some(limit), _) => Some(limit.0),
            // It is the other way to say it.
            (None, Some(_)) => None,
            (None, None) => Some(FAILURE_LIMIT),
        },
        consecutive_failure_limit: spec.consecutive_failure_limit.map(|n| n.0),
        consecutive_error_limit: spec
            .consecutive_error_limit
            .map_or(CONSECUTIVE_ERROR_LIMIT, |n| n.0),
        on_no_data: spec.on_no_data.map(Into::into).unwrap_or_default(),
        no_data_deadline: times.no_data_deadline,
        max_age: span(spec.max_age, interval * 2 + SCRAPE),
        required,
        unit: spec.unit.clone(),
        traffic: spec.traffic.as_ref().and_then(|t| traffic(t, at.field("traffic"), problems)),
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
                problems.extend(unfit(template.queries(), name, &value.0, list.field(name)));
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
    /// The measurements without which its judge cannot tell.
    needs: u32,
    /// Whether to be without usable data for that long fails.
    fails_without: bool,
}

impl Times {
    fn check(&self, required: bool, at: At<'_>, problems: &mut Vec<Diagnostic>) {
        let Times { interval, initial_delay, no_data_deadline, soak, needs, fails_without } = *self;
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
        let can_tell = interval * u64::from(needs.saturating_sub(1));
        if required && fails_without && needs > 2 && no_data_deadline <= can_tell {
            let message = format!(
                "noDataDeadline {no_data_deadline} ends before measurement {needs}, without which its judge \
                 cannot tell, {can_tell} after the first: `onNoData: fail` would fail every release"
            );
            let help = "lengthen noDataDeadline, shorten `interval`, or take out `onNoData: fail`";
            problems.push(at.field("onNoData").problem(Rule::Gat007, message).help(help));
        }
        // A soak of no time is measured once and passes; a soak of some time counts between two.
        let Some(soak) = soak.filter(|s| required && *s > Span::ZERO) else { return };
        let last = initial_delay + interval * u64::from(needs.max(2) - 1);
        if soak < last {
            let which = match needs {
                0..=2 => "the second measurement".to_owned(),
                n => format!("measurement {n}, without which its judge cannot tell"),
            };
            let message = format!("the soak of {soak} ends before {which}, {last} after its start");
            let help = "lengthen the soak, or shorten `interval` or `initialDelay`";
            problems.push(at.field("interval").problem(Rule::Gat007, message).help(help));
        }
    }
}

fn traffic(spec: &schema::Traffic, at: At<'_>, problems: &mut Vec<Diagnostic>) -> Option<Traffic> {
    Some(Traffic {
        requests: at.require(spec.requests, "requests", problems)?.0,
        stable: spec.stable.map(|rate| rate.0),
        errors: spec.errors.map(|share| share.0),
    })
}
