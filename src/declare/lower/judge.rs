//! The judges of gates, by what is declared of each.

use std::collections::BTreeMap;

use super::{At, Diagnostic, Rule, gate::Template, query::Query};
use crate::{
    declare::schema::{self, OutlierStrategy, scalar},
    model::{
        judge::{
            Alerts, BurnRate, Control, Counts, EffectLimits, Kubernetes, MannWhitney,
            MannWhitneyRules, Nan, Outliers, Pair, Sequential, USUAL_WINDOWS,
        },
        policy::{BUILT_IN, Baseline, Judge, Signal},
        time::Span,
    },
};

/// A template with the values of its arguments.
pub(super) type Filled<'v, 't> = (&'t Template<'v>, &'t BTreeMap<&'v str, &'v str>);

/// The judges, each with whether a gate declares it.
fn declared(spec: &schema::Gate) -> [(&'static str, bool); 8] {
    [
        ("threshold", spec.threshold.is_some()),
        ("relative", spec.relative.is_some()),
        ("mannWhitney", spec.mann_whitney.is_some()),
        ("sequential", spec.sequential.is_some()),
        ("burnRate", spec.burn_rate.is_some()),
        ("alerts", spec.alerts.is_some()),
        ("webhook", spec.webhook.is_some()),
        ("kubernetes", spec.kubernetes.is_some()),
    ]
}

/// Whether the gate's judge measures by no query, so that a template has little to tell it.
pub(super) fn asks_no_query(spec: &schema::Gate) -> bool {
    spec.alerts.is_some() || spec.webhook.is_some() || spec.kubernetes.is_some()
}

/// What a gate without a template reads, where it does not say.
pub(super) fn usual_signal(judge: &Judge) -> Signal {
    match judge {
        Judge::Threshold { .. }
        | Judge::Relative { .. }
        | Judge::MannWhitney(_)
        | Judge::Sequential(_)
        | Judge::BurnRate(_)
        | Judge::Alerts(_) => Signal::Errors,
        Judge::Webhook => Signal::Business,
        Judge::Kubernetes(_) => Signal::Saturation,
    }
}

/// The metric source that a gate asks: the one that its judge names, or else its template's; none where
/// the clusters themselves are asked.
pub(super) fn provider(
    spec: &schema::Gate,
    template: Option<&str>,
    at: At<'_>,
    problems: &mut Vec<Diagnostic>,
) -> Option<String> {
    if spec.kubernetes.is_some() {
        return Some(String::new());
    }
    let named = spec.alerts.as_ref().map(|alerts| (alerts.provider.as_deref(), "alerts"));
    let named = named.or(spec.webhook.as_ref().map(|w| (w.provider.as_deref(), "webhook")));
    match named {
        None => template.map(str::to_owned),
        Some((Some(provider), _)) => Some(provider.to_owned()),
        Some((None, "alerts")) => Some(template.unwrap_or(USUAL_ALERTS).to_owned()),
        Some((None, judge)) => {
            at.field(judge).require(template, "provider", problems).map(str::to_owned)
        }
    }
}

/// Where alerts are asked for, where nobody says.
const USUAL_ALERTS: &str = "prometheus";

/// The judge that a gate declares.
pub(super) fn judge(
    spec: &schema::Gate,
    template: Option<Filled<'_, '_>>,
    at: At<'_>,
    problems: &mut Vec<Diagnostic>,
) -> Option<Judge> {
    let judges = declared(spec);
    let named: Vec<&str> =
        judges.iter().filter(|(_, there)| *there).map(|(name, _)| *name).collect();
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
    } else if let Some(declared) = &spec.alerts {
        alerts(declared, &reads, problems)
    } else if spec.webhook.is_some() {
        Some(Judge::Webhook)
    } else if let Some(declared) = &spec.kubernetes {
        let max_restarts = declared.max_restarts.map_or(0, |n| n.0);
        Some(Judge::Kubernetes(Kubernetes { max_restarts }))
    } else {
        if !judges.iter().any(|(name, _)| at.lost(name)) {
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
        let stable = counted.stable.iter().flat_map(|(requests, errors)| {
            [("stableRequests", requests), ("stableErrors", errors)]
        });
        let own = [("requests", &counted.requests), ("errors", &counted.errors)];
        let fixed = own.into_iter().chain(stable).filter(|(_, query)| !query.names("interval"));
        let fixed: Vec<_> = fixed.map(|(field, _)| format!("`{field}`")).collect();
        if !fixed.is_empty() {
            let message = format!(
                "the template's counts do not look back over {{{{interval}}}}: {}",
                fixed.join(", ")
            );
            let help = match self.name {
                "burnRate" => {
                    "put {{interval}} where a length of time stands: it is each window in turn"
                }
                _ => "put {{interval}} where a length of time stands, so that nothing counts twice",
            };
            let place = self.at.field("template");
            problems.push(place.problem(Rule::Gat017, message).help(help));
        }
        let counts = |requests: &Query, errors: &Query| Counts {
            requests: requests.render(values).into(),
            errors: errors.render(values).into(),
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

/// How far back a judge looks, where it looks further than to the measurement before.
pub(super) fn looks_back(judge: &Judge) -> Option<Span> {
    match judge {
        Judge::BurnRate(declared) => declared.windows.iter().map(|pair| pair.long).max(),
        Judge::Threshold { .. }
        | Judge::Relative { .. }
        | Judge::MannWhitney(_)
        | Judge::Sequential(_)
        | Judge::Alerts(_)
        | Judge::Webhook
        | Judge::Kubernetes(_) => None,
    }
}

/// The measurements without which a judge cannot tell.
pub(super) fn measurements(judge: &Judge) -> u32 {
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

fn alerts(
    spec: &schema::Alerts,
    reads: &Reads<'_, '_, '_>,
    problems: &mut Vec<Diagnostic>,
) -> Option<Judge> {
    let at = reads.place();
    let matchers = at.require(spec.matchers.as_ref(), "matchers", problems)?;
    let list = at.field("matchers");
    if matchers.is_empty() {
        let message = "no matcher fits every alert, and one that always fires is usual";
        let help =
            "say which alerts count, as in matchers: {severity: page, service: \"{{plan}}\"}";
        problems.push(list.key().problem(Rule::Gat001, message).help(help));
        return None;
    }
    let mut sound = BTreeMap::new();
    for (label, value) in matchers {
        let place = list.field(label);
        let mut letters = label.chars();
        let begins = letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        if !begins || !letters.all(|c| c.is_ascii_alphanumeric() || c == '_') {
            let message = format!("`{label}` is no label of an alert");
            let help = "a label is made of letters, digits and underscores";
            problems.push(place.key().problem(Rule::Sch004, message).help(help));
        }
        let value = value.0.as_str();
        for written in placeholders(value) {
            // A length of time is no label's value.
            if !BUILT_IN.contains(&written.trim()) || written.trim() == "interval" {
                let message =
                    format!("`{{{{{written}}}}}` cannot be filled in, and would never match");
                let names = BUILT_IN.iter().filter(|name| **name != "interval");
                let names: Vec<_> = names.copied().collect();
                let problem = place.problem(Rule::Gat005, message);
                problems.push(problem.help(format!("there are {}", names.join(", "))));
            }
        }
        if value.is_empty() {
            let message = format!("an alert whose `{label}` is empty does not have it");
            problems.push(place.problem(Rule::Sch004, message).help("give the value that it has"));
        }
        sound.insert(label.clone(), value.to_owned());
    }
    Some(Judge::Alerts(Alerts { matchers: sound }))
}

/// What stands in double braces.
fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    text.split("{{").skip(1).map(|open| open.split("}}").next().unwrap_or(open))
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
        scalar::Baseline::Stable => Control::Stable(reads.stable(problems)?.into()),
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
    let nan = spec.nan.map_or(usual.nan, Into::into);
    if nan == Nan::Replace {
        let message =
            "`nan: replace` changes nothing in a gate: what is no number is Absent, and no sample";
        let help = "let the query say 0 where there is no series, as in ... or vector(0)";
        problems.push(at.field("nan").key().problem(Rule::Gat021, message).help(help));
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
        nan,
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
        scalar::Baseline::Stable => Baseline::Stable(reads.stable(problems)?.into()),
        scalar::Baseline::Ring(ring) => Baseline::Ring(ring.as_str().into()),
    };
    Some(Judge::Relative {
        baseline,
        max_degradation: max_degradation?.0,
        direction: direction?.into(),
        floor,
    })
}
