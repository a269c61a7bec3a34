//! `GateTemplate` documents, and the gates of a policy that measure by them.

use std::collections::BTreeMap;

use super::{
    At, Diagnostic, Doc, Kind, Rule, Units, World, nearest,
    query::{Fault, Query},
    units,
};
use crate::{
    declare::schema::{self, OutlierStrategy, scalar},
    model::{
        judge::{
            BurnRate, Control, Counts, EffectLimits, MannWhitney, MannWhitneyRules, Outliers, Pair,
            Sequential, Traffic, USUAL_WINDOWS,
        },
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
    /// None where there are counts alone.
    query: Option<Query>,
    samples: Option<Query>,
    stable: Option<Query>,
    counts: Option<Counted>,
}

/// Queries that count.
#[derive(Debug)]
struct Counted {
    requests: Query,
    errors: Query,
    stable: Option<(Query, Query)>,
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
    let template = at.require(spec.template.as_deref(), "template", problems).and_then(|name| {
        world.find(&world.templates, Kind::GateTemplate, name, at.field("template"), problems)
    });
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
    };
    let required = spec.required.unwrap_or(true);
    times.check(required, at, problems);
    let counted = template.is_some_and(|t| t.samples().is_some());
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
        query: template.query.as_ref().map(|q| q.render(&values)).unwrap_or_default(),
        samples: template.samples().map(|q| q.render(&values)),
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
}

impl Times {
    fn check(&self, required: bool, at: At<'_>, problems: &mut Vec<Diagnostic>) {
        let Times { interval, initial_delay, no_data_deadline, soak, needs } = *self;
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

/// A template with the values of its arguments.
type Filled<'v, 't> = (&'t Template<'v>, &'t BTreeMap<&'v str, &'v str>);

fn judge(
    spec: &schema::Gate,
    template: Option<Filled<'_, '_>>,
    at: At<'_>,
    problems: &mut Vec<Diagnostic>,
) -> Option<Judge> {
    // A judge that is built moves from this list to those below.
    let not_built = [
        ("alerts", spec.alerts.is_some()),
        ("webhook", spec.webhook.is_some()),
        ("kubernetes", spec.kubernetes.is_some()),
    ];
    let mut named: Vec<&str> =
        not_built.iter().filter(|(_, there)| *there).map(|(name, _)| *name).collect();
    for name in &named {
        let message = format!("this version cannot evaluate the judge `{name}`");
        let help = "use another judge; a gate that is never evaluated would pass nothing";
        problems.push(at.field(name).key().problem(Rule::Gat008, message).help(help));
    }
    let built = [
        ("threshold", spec.threshold.is_some()),
        ("relative", spec.relative.is_some()),
        ("mannWhitney", spec.mann_whitney.is_some()),
        ("sequential", spec.sequential.is_some()),
        ("burnRate", spec.burn_rate.is_some()),
    ];
    named.extend(built.iter().filter(|(_, there)| *there).map(|(name, _)| *name));
    if named.len() > 1 {
        let message = format!("a gate has one judge, and this one has {}", named.join(", "));
        let help = "make a gate of each, on the same template";
        problems.push(at.field("name").problem(Rule::Gat002, message).help(help));
        return None;
    }
    let reads = Reads { template, at, name: named.first().copied().unwrap_or_default() };
    let judge = if let Some(threshold) = &spec.threshold {
        bounds(threshold, at.field("threshold"), problems)
    } else if let Some(relative) = &spec.relative {
        comparison(relative, &reads, problems)
    } else if let Some(declared) = &spec.mann_whitney {
        mann_whitney(declared, &reads, problems)
    } else if let Some(declared) = &spec.sequential {
        sequential(declared, &reads, problems)
    } else if let Some(declared) = &spec.burn_rate {
        burn_rate(declared, &reads, problems)
    } else {
        let lost = |name: &&str| at.lost(name);
        let all = not_built.iter().chain(&built).map(|(name, _)| *name);
        if named.is_empty() && !all.clone().any(|name| lost(&name)) {
            let message = "a gate without a pass condition";
            let help = "add threshold: {min: ...} or relative: {baseline: before, ...}";
            problems.push(at.field("name").problem(Rule::Gat001, message).help(help));
        }
        None
    };
    let judge = judge?;
    if judge.reads_value() && template.is_some_and(|(template, _)| template.query.is_none()) {
        reads.lacks("query", "the one number that it judges", problems);
        return None;
    }
    Some(judge)
}

/// What a judge reads of its template.
struct Reads<'v, 't, 'a> {
    template: Option<Filled<'v, 't>>,
    at: At<'a>,
    name: &'static str,
}

impl Reads<'_, '_, '_> {
    /// Where the judge is declared.
    fn place(&self) -> At<'_> {
        self.at.field(self.name)
    }

    fn lacks(&self, field: &str, what: &str, problems: &mut Vec<Diagnostic>) {
        let message = format!("the template has no `{field}`, which `{}` needs", self.name);
        let problem = self.at.field("template").problem(Rule::Gat012, message);
        problems.push(problem.help(format!("give the template `{field}`: {what}")));
    }

    /// The template's query for the stable population.
    fn stable(&self, problems: &mut Vec<Diagnostic>) -> Option<String> {
        let (template, values) = self.template?;
        if template.stable.is_none() {
            self.lacks("stable", "the same figure of the population beside the release", problems);
        }
        Some(template.stable.as_ref()?.render(values))
    }

    /// The template's counts, of the release and, where it has them, of the stable population.
    fn counts(&self, problems: &mut Vec<Diagnostic>) -> Option<(Counts, Option<Counts>)> {
        let (template, values) = self.template?;
        let Some(counted) = &template.counts else {
            self.lacks("counts", "requests and errors over [{{interval}}]", problems);
            return None;
        };
        let counts = |requests: &Query, errors: &Query| Counts {
            requests: requests.render(values),
            errors: errors.render(values),
        };
        let stable = counted.stable.as_ref().map(|(requests, errors)| counts(requests, errors));
        Some((counts(&counted.requests, &counted.errors), stable))
    }

    /// Refuses a parameter that is outside of its range, NaN included.
    fn within(&self, field: &str, ok: bool, range: &str, problems: &mut Vec<Diagnostic>) -> bool {
        if !ok {
            let message = format!("`{field}` is not {range}");
            problems.push(self.place().field(field).problem(Rule::Sch004, message));
        }
        ok
    }
}

/// The measurements without which a judge cannot tell.
fn measurements(judge: &Judge) -> u32 {
    match judge {
        Judge::MannWhitney(declared) => u32::try_from(declared.rules.min_samples).unwrap_or(2),
        Judge::Threshold { .. }
        | Judge::Relative { .. }
        | Judge::Sequential(_)
        | Judge::BurnRate(_)
        | Judge::Alerts(_)
        | Judge::Webhook
        | Judge::Kubernetes(_) => 2,
    }
}

fn traffic(spec: &schema::Traffic, at: At<'_>, problems: &mut Vec<Diagnostic>) -> Option<Traffic> {
    Some(Traffic {
        requests: at.require(spec.requests, "requests", problems)?.0,
        stable: spec.stable.map(|rate| rate.0),
        errors: spec.errors.map(|share| share.0),
    })
}

fn mann_whitney(
    spec: &schema::MannWhitney,
    reads: &Reads<'_, '_, '_>,
    problems: &mut Vec<Diagnostic>,
) -> Option<Judge> {
    let at = reads.place();
    let usual = MannWhitneyRules::default();
    let control = match at.require(spec.baseline.as_ref(), "baseline", problems)? {
        scalar::Baseline::Before => Control::Before,
        scalar::Baseline::Stable => Control::Stable(reads.stable(problems)?),
        scalar::Baseline::Ring(_) => {
            let message = "`mannWhitney` compares with samples of the same cluster";
            let help = "use `before` or `stable`; `relative` compares with another ring";
            problems.push(at.field("baseline").problem(Rule::Sch005, message).help(help));
            return None;
        }
    };
    let tolerance = spec.tolerance.unwrap_or(usual.tolerance);
    let confidence = spec.confidence.unwrap_or(usual.confidence);
    let outliers = spec.outliers.as_ref();
    let factor = outliers.and_then(|o| o.factor).unwrap_or(3.0);
    let finite = |x: f64| x.is_finite() && x >= 0.0;
    let sound = [
        reads.within("tolerance", finite(tolerance), "a number from 0", problems),
        reads.within(
            "confidence",
            (0.5..=0.9999).contains(&confidence),
            "between 0.5 and 0.9999",
            problems,
        ),
        reads.within("outliers", finite(factor) && factor > 0.0, "above 0", problems),
    ];
    if sound.contains(&false) {
        return None;
    }
    let effect = spec.effect_size.as_ref();
    let least = MannWhitneyRules::least_samples(confidence);
    let min_samples = spec.min_samples.map_or(least, |n| n.0 as usize);
    reads
        .within(
            "minSamples",
            (least..=500).contains(&min_samples),
            &format!("from {least}, which that confidence needs, to 500"),
            problems,
        )
        .then_some(())?;
    let rules = MannWhitneyRules {
        direction: spec.direction.map_or(usual.direction, Into::into),
        tolerance,
        confidence,
        effect: EffectLimits {
            measure: effect.and_then(|e| e.measure).map(Into::into).unwrap_or_default(),
            allowed_increase: effect.and_then(|e| e.allowed_increase),
            allowed_decrease: effect.and_then(|e| e.allowed_decrease),
            critical_increase: effect.and_then(|e| e.critical_increase),
            critical_decrease: effect.and_then(|e| e.critical_decrease),
        },
        nan: spec.nan.map_or(usual.nan, Into::into),
        outliers: match outliers.and_then(|o| o.strategy) {
            Some(OutlierStrategy::Remove) => Outliers::Remove { factor },
            Some(OutlierStrategy::Keep) | None => Outliers::Keep,
        },
        min_samples,
    };
    Some(Judge::MannWhitney(MannWhitney { control, rules }))
}

fn sequential(
    spec: &schema::Sequential,
    reads: &Reads<'_, '_, '_>,
    problems: &mut Vec<Diagnostic>,
) -> Option<Judge> {
    let alpha = spec.alpha.unwrap_or(0.01);
    let (r0, margin) = (spec.r0.unwrap_or(1.0), spec.margin.unwrap_or(2.0));
    let phi = spec.phi;
    let sound = [
        reads.within("alpha", alpha > 0.0 && alpha < 1.0, "between 0 and 1", problems),
        reads.within("r0", (1e-6..=1e6).contains(&r0), "above 0, and at most a million", problems),
        reads.within(
            "margin",
            margin > r0 && margin <= 1e6,
            "above r0, and at most a million",
            problems,
        ),
        reads.within(
            "phi",
            phi.is_none_or(|phi| (1.0..=1e6).contains(&phi)),
            "a number from 1",
            problems,
        ),
    ];
    let (canary, stable) = reads.counts(problems)?;
    if stable.is_none() {
        reads.lacks("counts.stableRequests", "and stableErrors, over [{{interval}}]", problems);
    }
    let stable = stable?;
    (!sound.contains(&false)).then_some(Judge::Sequential(Sequential {
        canary,
        stable,
        alpha,
        r0,
        phi,
        margin,
    }))
}

fn burn_rate(
    spec: &schema::BurnRate,
    reads: &Reads<'_, '_, '_>,
    problems: &mut Vec<Diagnostic>,
) -> Option<Judge> {
    let at = reads.place();
    let objective = at.require(spec.objective, "objective", problems)?.0;
    if !reads.within(
        "objective",
        objective > 0.0 && objective < 1.0,
        "above 0% and below 100%: what is promised without a failure has no budget to burn",
        problems,
    ) {
        return None;
    }
    let list = at.field("windows");
    let mut windows = Vec::new();
    for (i, written) in spec.windows.iter().flatten().enumerate() {
        let place = list.item(i);
        let rate = place.require(written.rate, "rate", problems);
        let long = place.require(written.long, "long", problems);
        let short = place.require(written.short, "short", problems);
        let (Some(rate), Some(long), Some(short)) = (rate, long, short) else { return None };
        let (long, short) = (long.0, short.0);
        if !(rate.is_finite() && rate > 0.0) || short == Span::ZERO || long <= short {
            let message =
                "a pair of windows has a rate above 0, and a long window beyond the short";
            let help = "as in {rate: 14.4, long: 1h, short: 5m}";
            problems.push(place.problem(Rule::Sch004, message).help(help));
            return None;
        }
        windows.push(Pair { rate, long, short });
    }
    if spec.windows.as_ref().is_some_and(Vec::is_empty) {
        let message = "no windows pass everything";
        let problem = list.key().problem(Rule::Gat001, message);
        problems.push(problem.help("leave `windows` out for the usual ones"));
        return None;
    }
    if windows.is_empty() {
        windows = USUAL_WINDOWS.to_vec();
    }
    let (counts, _) = reads.counts(problems)?;
    Some(Judge::BurnRate(BurnRate { counts, objective, windows }))
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
    reads: &Reads<'_, '_, '_>,
    problems: &mut Vec<Diagnostic>,
) -> Option<Judge> {
    let at = reads.place();
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
        scalar::Baseline::Stable => Baseline::Stable(reads.stable(problems)?),
        scalar::Baseline::Ring(ring) => Baseline::Ring(ring.as_str().into()),
    };
    Some(Judge::Relative {
        baseline,
        max_degradation: max_degradation?.0,
        direction: direction?.into(),
        floor,
    })
}
