//! A metric of an AnalysisTemplate, as a template and a gate.

use super::{
    super::{
        condition::{self, Phase},
        draft::{Gate, INTERVAL, Names, Template},
        go,
        query::{self, Slot},
        remark::{Remarks, Rule},
        spot::Spot,
    },
    Args, REPLACE, Value, provider,
};
use crate::model::time::Span;

const FIELDS: [&str; 12] = [
    "name",
    "interval",
    "initialDelay",
    "count",
    "successCondition",
    "failureCondition",
    "failureLimit",
    "inconclusiveLimit",
    "consecutiveErrorLimit",
    "consecutiveSuccessLimit",
    "provider",
    "dryRun",
];

/// A metric whose query is one of ours already.
pub(super) struct Measured<'a> {
    at: Spot<'a>,
    name: String,
    template: Template,
    /// By the name that an argument has here, the name that it had.
    args: Vec<(String, String)>,
    /// What has to be declared beside it.
    source: String,
    dry: bool,
}

/// The metrics of a template, each with its `GateTemplate`; those that are asked in another way than gates are told.
pub(super) fn read<'a>(
    kind: &str,
    analysis: &str,
    spec: &Spot<'a>,
    args: &Args,
    names: &mut Names,
    remarks: &mut Remarks,
) -> Vec<Measured<'a>> {
    let metrics = spec.list("metrics");
    if metrics.is_empty() {
        let help = "list its metrics in it: what is taken from other templates is not followed";
        remarks.say(
            Rule::Imp002,
            spec,
            format!("{kind} `{analysis}` has no metrics of its own"),
            help,
        );
    }
    let mut dry = Vec::new();
    for wanted in spec.list("dryRun").iter().filter_map(|item| item.get("metricName")) {
        let name = wanted.text().unwrap_or_default();
        if name != ".*" && name.contains(|c: char| !c.is_ascii_alphanumeric() && !"-_ ".contains(c))
        {
            let help = "name the metrics one by one";
            remarks.say(Rule::Imp002, &wanted, format!("`{name}` is a pattern of names"), help);
        }
        dry.push(name);
    }
    let mut found = Vec::new();
    for at in &metrics {
        let Some(metric) = at.word("name") else {
            remarks.say(Rule::Imp009, at, "a metric without a name", "give it one");
            continue;
        };
        let asked = match provider::read(at, remarks) {
            Ok(asked) => asked,
            Err(refused) => {
                let message = format!("`{metric}` is not carried over: {}", refused.message);
                remarks.say(Rule::Imp003, at, message, refused.help);
                continue;
            }
        };
        remarks.others(at, &FIELDS);
        let mut known = Vec::new();
        let rewritten = query::rewrite(&asked.query, |inner| {
            let Some(name) = inner.strip_prefix("args.") else {
                return Err(format!("nothing here is `{{{{{inner}}}}}`"));
            };
            if let Some(Value::Unknowable(what)) = args.get(name) {
                return Err(format!("argument `{name}` is {what}"));
            }
            let here = query::argument(name)?;
            known.push((here.clone(), name.to_owned()));
            Ok(Slot::Argument(here))
        });
        let rewritten = match rewritten {
            Ok(rewritten) => rewritten,
            Err(why) => {
                let help = "ask by what is known before a run, or by a built-in such as {{version}} or {{digest}}";
                remarks.say(
                    Rule::Imp003,
                    at,
                    format!("`{metric}` is not carried over: {why}"),
                    help,
                );
                continue;
            }
        };
        known.sort();
        known.dedup();
        let default = |here: &String| {
            let (_, name) = known.iter().find(|(known, _)| known == here)?;
            match args.get(name)? {
                Value::Known(value) => Some(value.clone()),
                Value::Unknowable(_) | Value::Missing => None,
            }
        };
        let wanted = match metrics.len() {
            1 => analysis.to_owned(),
            _ => format!("{analysis}-{metric}"),
        };
        let template = Template {
            name: names.take("GateTemplate", &wanted, at, remarks),
            provider: asked.provider,
            args: rewritten.args.iter().map(|here| (here.clone(), default(here))).collect(),
            query: rewritten.query,
            origin: format!("{kind} {analysis}, {}", at.location()),
        };
        let dry = dry.iter().any(|name| *name == ".*" || *name == metric);
        found.push(Measured {
            at: at.clone(),
            name: metric.to_owned(),
            template,
            args: known,
            source: asked.source,
            dry,
        });
    }
    found
}

impl<'a> Measured<'a> {
    /// Its gate, with these values of its arguments; told and nothing where its conditions or limits mean what no gate
    /// can.
    pub(super) fn gate(
        &self,
        args: &Args,
        use_at: Option<&Spot<'a>>,
        remarks: &mut Remarks,
    ) -> Option<Gate<'a>> {
        let mut refuse = |field: &str, why: String, help: &str| {
            let at = self.at.get(field).unwrap_or_else(|| self.at.clone());
            let message = format!("`{}` is not carried over: {why}", self.name);
            remarks.say(Rule::Imp003, &at, message, help);
        };
        // A field may hold arguments in every place.
        let field = |name: &'static str| -> Result<Option<String>, (&'static str, String)> {
            match self.at.get(name).and_then(|field| field.text()) {
                Some(text) => fill(text, args).map(Some).map_err(|why| (name, why)),
                None => Ok(None),
            }
        };
        let limits = || -> Result<_, (&'static str, String)> {
            let time = |name| match field(name)? {
                None => Ok(None),
                Some(text) => match go::duration(&text) {
                    Some(span) => Ok(Some(span)),
                    None => Err((name, format!("`{text}` is no length of time"))),
                },
            };
            let count = |name| match field(name)? {
                None => Ok(None),
                Some(text) => match text.parse::<i64>() {
                    Ok(n) if n <= i64::from(u32::MAX) => Ok(Some(n)),
                    Ok(_) | Err(_) => Err((name, format!("`{text}` is no number of times"))),
                },
            };
            Ok(Limits {
                interval: time("interval")?,
                delay: time("initialDelay")?,
                count: count("count")?.filter(|n| *n != 0),
                failures: count("failureLimit")?.unwrap_or(0),
                errors: count("consecutiveErrorLimit")?,
                successes: count("consecutiveSuccessLimit")?.filter(|n| *n != 0),
                success: field("successCondition")?,
                failure: field("failureCondition")?,
            })
        };
        let limits = match limits() {
            Ok(limits) => limits,
            Err((field, why)) => {
                refuse(field, why, "give a value that is known before a run");
                return None;
            }
        };
        let judged = match condition::judge(limits.success.as_deref(), limits.failure.as_deref()) {
            Ok(judged) => judged,
            Err((field, why)) => {
                let help = "compare the result with numbers, so that what passes is a range; or let the query do the rest";
                refuse(field, why, help);
                return None;
            }
        };
        let Ok(failure_limit) = u32::try_from(limits.failures) else {
            let help = "give the number of failing measurements that are too many, less one";
            refuse("failureLimit", "it may fail without limit".into(), help);
            return None;
        };
        let lasts = match limits.lasts() {
            Ok(lasts) => lasts,
            Err((field, why)) => {
                refuse(field, why, "give a whole number from 1, and an interval where it is more");
                return None;
            }
        };
        for (here, name) in &self.args {
            if let Some(Value::Unknowable(what)) = args.get(name) {
                let at = use_at.unwrap_or(&self.at);
                let message =
                    format!("`{}` is not carried over: argument `{name}` is {what}", self.name);
                let help = "ask by what is known before a run, or by a built-in such as {{version}} or {{digest}}";
                remarks.say(Rule::Imp003, at, message, help);
                return None;
            }
            if matches!(args.get(name), None | Some(Value::Missing)) {
                let at = use_at.unwrap_or(&self.at);
                let message = format!(
                    "nothing says the value of `{name}`: {REPLACE} stands in, which matches nothing"
                );
                let help =
                    format!("give it with --arg {name}=VALUE, or under args.{here} of the gate");
                remarks.say(Rule::Imp004, at, message, help);
            }
        }
        let every = limits.interval.unwrap_or(INTERVAL);
        let fails_without_data = match judged.nothing {
            Phase::Failed => Some(every * (u64::from(failure_limit) + 1)),
            _ if judged.names_nan && judged.nan == Phase::Failed => {
                Some(every * (u64::from(failure_limit) + 1))
            }
            Phase::Successful | Phase::Inconclusive | Phase::Error => None,
        };
        self.differences(&judged, &limits, fails_without_data, remarks);
        let message = "gates ask a metric source of each cluster";
        remarks.say_once(Rule::Imp007, &self.at, message, &self.source);
        let value = |(here, name): &(String, String)| {
            let value = match args.get(name) {
                Some(Value::Known(value)) => value.clone(),
                Some(Value::Unknowable(_) | Value::Missing) | None => REPLACE.to_owned(),
            };
            (here.clone(), value)
        };
        let default = |(here, value): &(String, String)| {
            self.template
                .args
                .iter()
                .any(|(name, default)| name == here && default.as_ref() == Some(value))
        };
        let strict = [judged.min, judged.max]
            .into_iter()
            .flatten()
            .any(|bound| bound.to_string().len() > 12);
        let condition = [&limits.success, &limits.failure].into_iter().flatten().next();
        Some(Gate {
            at: self.at.clone(),
            name: match go::label(&self.name) {
                label if label.is_empty() => self.template.name.clone(),
                label => label,
            },
            template: self.template.clone(),
            args: self.args.iter().map(value).filter(|pair| !default(pair)).collect(),
            interval: limits.interval,
            initial_delay: limits.delay,
            min: judged.min,
            max: judged.max,
            condition: condition.filter(|_| strict).map(|text| one_line(text)),
            failure_limit,
            consecutive_error_limit: limits.errors.and_then(|n| u32::try_from(n).ok()),
            fails_without_data,
            required: !self.dry,
            lasts,
            in_a_row: limits.successes.is_some(),
        })
    }

    /// Says what is judged otherwise here than there.
    fn differences(
        &self,
        judged: &condition::Judged,
        limits: &Limits,
        fails_without_data: Option<Span>,
        remarks: &mut Remarks,
    ) {
        let field = |name: &str| self.at.get(name).unwrap_or_else(|| self.at.clone());
        let condition =
            field(if limits.success.is_some() { "successCondition" } else { "failureCondition" });
        let mut differs = |at: &Spot<'_>, message: String, help: &str| {
            remarks.say(Rule::Imp005, at, format!("`{}`: {message}", self.name), help);
        };
        if judged.nothing == Phase::Successful
            || judged.names_nan && judged.nan == Phase::Successful
        {
            let message = "no data succeeds there, and never passes here: the ring is held until there is some";
            let help = "let the query answer with a number where there is nothing, as in `... or vector(0)`";
            differs(&condition, message.into(), help);
        }
        if let Some(deadline) = fails_without_data {
            let message = format!(
                "no data is a failing measurement there; here the ring fails after {deadline} without any"
            );
            differs(&condition, message, "set noDataDeadline, or onNoData: hold to wait for it");
        }
        if judged.undecided {
            let message = "values between both conditions are inconclusive there, and too many of them pause the Rollout; here they \
                           fail the measurement";
            let help = "widen the threshold where such values may pass, or make the gate `required: false`";
            differs(&field("failureCondition"), message.into(), help);
        }
        if limits.successes.is_some() && limits.count.is_some() {
            let message = "there either of `count` and `consecutiveSuccessLimit` ends it; here the soak is as long as \
                           the longer needs";
            differs(&field("consecutiveSuccessLimit"), message.into(), "set soak.duration");
        }
        if limits.errors.is_some_and(|n| n < 0) {
            let message = "errors are without limit there; here more than 4 in a row hold the ring";
            differs(&field("consecutiveErrorLimit"), message.into(), "set consecutiveErrorLimit");
        }
    }
}

/// What a metric says of how often it is measured, and of what it makes of that.
struct Limits {
    interval: Option<Span>,
    delay: Option<Span>,
    count: Option<i64>,
    failures: i64,
    errors: Option<i64>,
    successes: Option<i64>,
    success: Option<String>,
    failure: Option<String>,
}

impl Limits {
    /// The time from the start to the last measurement: nothing where it goes on until something else ends it.
    fn lasts(&self) -> Result<Option<Span>, (&'static str, String)> {
        let many = |field, n: i64| match (u64::try_from(n), self.interval) {
            (Ok(n), Some(interval)) => Ok(interval * (n - 1)),
            (Ok(1), None) => Ok(Span::ZERO),
            (Ok(n), None) => Err((field, format!("it is measured {n} times and has no interval"))),
            (Err(_), _) => Err((field, format!("it is measured {n} times"))),
        };
        let counted = self.count.map(|n| many("count", n)).transpose()?;
        let in_a_row = self.successes.map(|n| many("consecutiveSuccessLimit", n)).transpose()?;
        let length = match (counted.max(in_a_row), self.interval) {
            (None, Some(_)) => return Ok(None),
            (None, None) => Span::ZERO,
            (Some(length), _) => length,
        };
        // A single measurement is taken once, however late.
        let delay = self.delay.filter(|_| length > Span::ZERO).unwrap_or_default();
        Ok(Some(length + delay))
    }
}

/// Text with the values of the arguments that it names.
fn fill(text: &str, args: &Args) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, inner)) = rest.split_once("{{") {
        let (inner, after) = inner.split_once("}}").ok_or("a placeholder is not closed")?;
        let name = inner.trim();
        let value = name.strip_prefix("args.").and_then(|name| args.get(name));
        let Some(Value::Known(value)) = value else {
            return Err(format!("nothing says what `{{{{{name}}}}}` is"));
        };
        out.push_str(before);
        out.push_str(value);
        rest = after;
    }
    out.push_str(rest);
    Ok(out.trim().to_owned())
}

/// Fit for a comment.
fn one_line(text: &str) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .filter(|c| !c.is_control())
        .take(100)
        .collect()
}
