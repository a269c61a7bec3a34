//! `ringward judge`: one gate's judge over given samples, with every figure on the way to the verdict.
//!
//! Only the wire lives here, in both directions; what is computed is the core's. Instants and durations
//! are seconds as numbers. Infinities, which JSON cannot hold as numbers, are the texts `+Inf` and
//! `-Inf`; what is undefined is null.

mod prometheus_answer;
mod wire;

use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::{Value, json};

use self::wire::{Number, Share, maybe, plain, shown, span};
use crate::{
    decide::{
        fact::Verdict,
        gate::{
            Ruling, burn_rate, figures::Figures, mann_whitney, relative, sequential, threshold,
            words::tamed,
        },
    },
    declare::nearest,
    model::{policy::Direction, time::Span},
};

/// Why a question cannot be judged.
#[derive(Debug, thiserror::Error)]
pub enum JudgeError {
    /// It does not say which judge.
    #[error("`judge` must be one of {}{}", JUDGES.join(", "), meant(.0.as_deref()))]
    WhichJudge(Option<String>),
    /// A judge that judges no samples.
    #[error(
        "`{0}` judges what it is told at the moment, and no samples: declare it with `required: false` to see \
         what it would say"
    )]
    NoSamples(String),
    /// A field is missing, unknown or of the wrong kind.
    #[error("{place}: {problem}")]
    Field {
        /// The path of the field.
        place: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A value that the judge cannot work with.
    #[error("`{place}` {problem}")]
    Value {
        /// The path of the field.
        place: String,
        /// What it must be.
        problem: String,
    },
}

/// The judges that can be asked here.
const JUDGES: [&str; 6] =
    ["threshold", "relative", "mannWhitney", "sequential", "burnRate", "prometheusAnswer"];

fn meant(name: Option<&str>) -> String {
    match name.map(|name| (name, nearest(name, JUDGES.into_iter()))) {
        None => String::new(),
        Some((name, None)) => format!(", and is `{name}`"),
        Some((name, Some(near))) => format!(", and is `{name}`: did you mean `{near}`?"),
    }
}

/// Answers one question; `input` and the answer are as the manual of `ringward judge` has them.
pub fn judge_json(input: Value) -> Result<Value, JudgeError> {
    let judge = input.get("judge").and_then(Value::as_str).ok_or(JudgeError::WhichJudge(None))?;
    match judge {
        "threshold" => threshold(&read(input)?),
        "relative" => relative(&read(input)?),
        "mannWhitney" => mann_whitney(&read(input)?),
        "sequential" => sequential(&read(input)?),
        "burnRate" => burn_rate(&read(input)?),
        "prometheusAnswer" => prometheus_answer::answer(&read(input)?),
        "alerts" | "webhook" | "kubernetes" => Err(JudgeError::NoSamples(judge.to_owned())),
        _ => Err(JudgeError::WhichJudge(Some(tamed(judge, 40)))),
    }
}

fn read<T: DeserializeOwned>(input: Value) -> Result<T, JudgeError> {
    serde_path_to_error::deserialize(input).map_err(|error| JudgeError::Field {
        place: match error.path().to_string() {
            top if top == "." => "the question".into(),
            path => format!("`{path}`"),
        },
        problem: in_words(&error.into_inner().to_string()),
    })
}

/// What serde says, with the names of Rust's types put into words.
fn in_words(problem: &str) -> String {
    let types = [
        ("expected f64", "expected a number"),
        ("expected u16", "expected a whole number"),
        ("expected u32", "expected a whole number from 0"),
        ("expected usize", "expected a whole number from 0"),
        ("expected struct ", "expected an object, "),
    ];
    types.iter().fold(problem.to_owned(), |text, (name, words)| text.replace(name, words))
}

fn refuse(place: impl Into<String>, problem: impl Into<String>) -> JudgeError {
    JudgeError::Value { place: place.into(), problem: problem.into() }
}

/// Refuses a parameter that is outside of its range, NaN included.
fn within(place: &str, ok: bool, range: &str) -> Result<(), JudgeError> {
    if ok { Ok(()) } else { Err(refuse(format!("parameters.{place}"), format!("must be {range}"))) }
}

// --- threshold and relative -------------------------------------------------------------------------

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ThresholdQuestion {
    #[serde(rename = "judge")]
    _judge: IgnoredAny,
    parameters: ThresholdParameters,
    samples: Vec<Number>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ThresholdParameters {
    min: Option<f64>,
    max: Option<f64>,
    unit: Option<String>,
}

fn threshold(question: &ThresholdQuestion) -> Result<Value, JudgeError> {
    let ThresholdParameters { min, max, unit } = &question.parameters;
    if min.is_none() && max.is_none() {
        return Err(refuse("parameters", "needs min, max or both"));
    }
    if min.zip(*max).is_some_and(|(min, max)| min > max) {
        return Err(refuse("parameters.min", "is above max: nothing would pass"));
    }
    let figures = Figures::new(unit.as_deref());
    Ok(measurements(&question.samples, |value| threshold::judge(value, *min, *max, figures)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RelativeQuestion {
    #[serde(rename = "judge")]
    _judge: IgnoredAny,
    parameters: RelativeParameters,
    samples: Vec<Number>,
    #[serde(default)]
    control: Vec<Number>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RelativeParameters {
    /// The figure itself, or where a policy has it from, which is then in `control`.
    baseline: Option<Value>,
    max_degradation: Share,
    direction: Direction,
    #[serde(default)]
    floor: f64,
    unit: Option<String>,
}

/// Compares with the figure that `baseline` gives, or else with the mean of the numbers in `control`: a
/// baseline is one figure, and several of it are averaged. Without any, nothing can be judged.
fn relative(question: &RelativeQuestion) -> Result<Value, JudgeError> {
    let RelativeParameters { baseline, max_degradation, direction, floor, unit } =
        &question.parameters;
    let share = max_degradation.0;
    within("maxDegradation", share >= 0.0 && share.is_finite(), "a share of 0 or more")?;
    within("floor", *floor >= 0.0 && floor.is_finite(), "0 or more")?;
    let given = baseline.as_ref().and_then(Value::as_f64);
    if given.is_some() && !question.control.is_empty() {
        return Err(refuse(
            "parameters.baseline",
            "is a figure, and so is control: give one of them",
        ));
    }
    let numbers: Vec<f64> = question.control.iter().map(|n| n.0).filter(|n| !n.is_nan()).collect();
    let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
    let baseline = given.or((!numbers.is_empty()).then_some(mean));
    let bounds = relative::Bounds { max_degradation: share, direction: *direction, floor: *floor };
    let figures = Figures::new(unit.as_deref());
    let judge = |value| relative::judge(value, baseline, bounds, figures);
    let mut answer = measurements(&question.samples, judge);
    answer["baseline"] = maybe(baseline);
    Ok(answer)
}

/// Each sample is a measurement of its own. Over all of them a Fail counts most (`failureLimit` is 0
/// unless a policy says otherwise), and only where every one passed is it a Pass; no sample is Absent.
fn measurements(samples: &[Number], judge: impl Fn(f64) -> Ruling) -> Value {
    let rulings: Vec<(f64, Ruling)> = samples
        .iter()
        .map(|Number(value)| {
            let ruling = if value.is_nan() {
                Ruling::new(Verdict::Absent, None, "not a number")
            } else {
                judge(*value)
            };
            (*value, ruling)
        })
        .collect();
    let order = [Verdict::Fail, Verdict::Error, Verdict::Absent, Verdict::Insufficient];
    let decisive = order
        .into_iter()
        .find_map(|verdict| rulings.iter().find(|(_, r)| r.verdict == verdict))
        .or(rulings.last());
    let (verdict, detail) =
        decisive.map_or((Verdict::Absent, "no samples"), |(_, r)| (r.verdict, r.detail.as_str()));
    let measurements: Vec<Value> = rulings
        .iter()
        .map(|(value, ruling)| {
            json!({
                "value": shown(*value),
                "verdict": ruling.verdict,
                "against": maybe(ruling.against),
                "detail": ruling.detail,
            })
        })
        .collect();
    json!({ "verdict": verdict, "detail": detail, "measurements": measurements })
}

// --- mannWhitney ------------------------------------------------------------------------------------

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MannWhitneyQuestion {
    #[serde(rename = "judge")]
    _judge: IgnoredAny,
    #[serde(default)]
    parameters: MannWhitneyParameters,
    samples: Vec<Number>,
    control: Vec<Number>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct MannWhitneyParameters {
    direction: WorseName,
    tolerance: Option<f64>,
    confidence: Option<f64>,
    effect_size: EffectParameters,
    nan: NanName,
    outliers: OutlierParameters,
    min_samples: Option<usize>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
enum WorseName {
    Increase,
    Decrease,
    #[default]
    Either,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct EffectParameters {
    measure: MeasureName,
    allowed_increase: Option<f64>,
    allowed_decrease: Option<f64>,
    critical_increase: Option<f64>,
    critical_decrease: Option<f64>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
enum MeasureName {
    #[default]
    MeanRatio,
    Cles,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
enum NanName {
    #[default]
    Remove,
    Replace,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct OutlierParameters {
    strategy: OutlierName,
    factor: Option<f64>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
enum OutlierName {
    #[default]
    Keep,
    Remove,
}

impl MannWhitneyParameters {
    fn rules(&self) -> Result<mann_whitney::Rules, JudgeError> {
        use mann_whitney::{EffectLimits, EffectSize, Nan, Outliers, Rules, Worse};
        let usual = Rules::default();
        let tolerance = self.tolerance.unwrap_or(usual.tolerance);
        let confidence = self.confidence.unwrap_or(usual.confidence);
        let factor = self.outliers.factor.unwrap_or(3.0);
        within("tolerance", tolerance >= 0.0, "0 or more")?;
        within("confidence", confidence > 0.0 && confidence < 1.0, "between 0 and 1")?;
        within("outliers.factor", factor > 0.0, "above 0")?;
        let effect = &self.effect_size;
        Ok(Rules {
            direction: match self.direction {
                WorseName::Increase => Worse::Increase,
                WorseName::Decrease => Worse::Decrease,
                WorseName::Either => Worse::Either,
            },
            tolerance,
            confidence,
            effect: EffectLimits {
                measure: match effect.measure {
                    MeasureName::MeanRatio => EffectSize::MeanRatio,
                    MeasureName::Cles => EffectSize::Cles,
                },
                allowed_increase: effect.allowed_increase,
                allowed_decrease: effect.allowed_decrease,
                critical_increase: effect.critical_increase,
                critical_decrease: effect.critical_decrease,
            },
            nan: match self.nan {
                NanName::Remove => Nan::Remove,
                NanName::Replace => Nan::Replace,
            },
            outliers: match self.outliers.strategy {
                OutlierName::Keep => Outliers::Keep,
                OutlierName::Remove => Outliers::Remove { factor },
            },
            min_samples: self.min_samples.unwrap_or(usual.min_samples),
        })
    }
}

fn mann_whitney(question: &MannWhitneyQuestion) -> Result<Value, JudgeError> {
    let rules = question.parameters.rules()?;
    let (experiment, control) = (plain(&question.samples), plain(&question.control));
    for (place, side) in [("samples", &experiment), ("control", &control)] {
        if let Some(i) = side.iter().position(|v| v.is_infinite()) {
            return Err(refuse(format!("{place}[{i}]"), "is infinite: its rank has no distance"));
        }
    }
    if experiment.len().saturating_mul(control.len()) > mann_whitney::MOST_PAIRS {
        let most = mann_whitney::MOST_PAIRS;
        return Err(refuse(
            "samples",
            format!("times control are more than {most} pairs: thin them"),
        ));
    }
    let outcome = mann_whitney::judge(&experiment, &control, &rules);
    let class = match outcome.class {
        mann_whitney::Class::Pass => "Pass",
        mann_whitney::Class::High => "High",
        mann_whitney::Class::Low => "Low",
        mann_whitney::Class::Nodata => "Nodata",
    };
    let side = |s: mann_whitney::Side| json!({ "count": s.count, "mean": shown(s.mean) });
    let test = outcome.test;
    let figure = |of: fn(&mann_whitney::Test) -> f64| maybe(test.as_ref().map(of));
    Ok(json!({
        "verdict": outcome.ruling.verdict,
        "detail": outcome.ruling.detail,
        "class": class,
        "critical": outcome.critical,
        "interval": test.map(|t| [shown(t.interval.0), shown(t.interval.1)]),
        "estimate": figure(|t| t.estimate),
        "tolerance": maybe(test.map(|t| rules.tolerance * t.estimate.abs())),
        "effect": maybe(outcome.effect),
        "u": figure(|t| t.u),
        "sigma": figure(|t| t.sigma),
        "z": figure(|t| t.z),
        "pValue": figure(|t| t.p_value),
        "experiment": side(outcome.experiment),
        "control": side(outcome.control),
    }))
}

// --- sequential -------------------------------------------------------------------------------------

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SequentialQuestion {
    #[serde(rename = "judge")]
    _judge: IgnoredAny,
    #[serde(default)]
    parameters: SequentialParameters,
    intervals: Vec<SequentialInterval>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct SequentialParameters {
    alpha: Option<f64>,
    r0: Option<f64>,
    phi: Option<f64>,
    margin: Option<f64>,
    gates: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SequentialInterval {
    canary_requests: f64,
    canary_errors: f64,
    stable_requests: f64,
    stable_errors: f64,
}

fn sequential(question: &SequentialQuestion) -> Result<Value, JudgeError> {
    let (given, usual) = (&question.parameters, sequential::Rules::default());
    let rules = sequential::Rules {
        alpha: given.alpha.unwrap_or(usual.alpha),
        r0: given.r0.unwrap_or(usual.r0),
        phi: given.phi.unwrap_or(usual.phi),
        margin: given.margin.unwrap_or(usual.margin),
        gates: given.gates.unwrap_or(usual.gates),
    };
    within("alpha", rules.alpha > 0.0 && rules.alpha < 1.0, "between 0 and 1")?;
    within("r0", (1e-6..=1e6).contains(&rules.r0), "above 0, and at most a million")?;
    within("phi", (1.0..=1e6).contains(&rules.phi), "1 or more")?;
    let above = rules.margin > rules.r0 && rules.margin <= 1e6;
    within("margin", above, "above r0, and at most a million")?;
    within("gates", rules.gates > 0, "at least 1")?;
    let intervals = question
        .intervals
        .iter()
        .enumerate()
        .map(|(i, at)| {
            count(i, "canaryRequests", at.canary_requests)?;
            count(i, "canaryErrors", at.canary_errors)?;
            count(i, "stableRequests", at.stable_requests)?;
            count(i, "stableErrors", at.stable_errors)?;
            Ok(sequential::Interval {
                canary_requests: at.canary_requests,
                canary_errors: at.canary_errors,
                stable_requests: at.stable_requests,
                stable_errors: at.stable_errors,
            })
        })
        .collect::<Result<Vec<_>, JudgeError>>()?;
    let outcome = sequential::judge(&intervals, rules);
    let last = outcome.path.last();
    let step = |step: &sequential::Step| {
        json!({
            "logE": shown(step.log_e),
            "logEMirror": shown(step.log_e_mirror),
            "verdict": step.verdict,
        })
    };
    Ok(json!({
        "verdict": outcome.ruling.verdict,
        "detail": outcome.ruling.detail,
        // Nothing seen: E is 1.
        "logE": shown(last.map_or(0.0, |s| s.log_e)),
        "logEMirror": shown(last.map_or(0.0, |s| s.log_e_mirror)),
        "lowerBound": shown(outcome.lower_bound),
        "failedAt": outcome.failed_at,
        "path": outcome.path.iter().map(step).collect::<Vec<_>>(),
    }))
}

/// Counts may have fractions: a provider extrapolates them. Errors beyond the requests are let be for
/// the same reason.
fn count(i: usize, field: &str, value: f64) -> Result<(), JudgeError> {
    if (0.0..=1e15).contains(&value) {
        return Ok(());
    }
    Err(refuse(format!("intervals[{i}].{field}"), "must be a count of 0 to 10^15"))
}

// --- burnRate ---------------------------------------------------------------------------------------

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BurnRateQuestion {
    #[serde(rename = "judge")]
    _judge: IgnoredAny,
    parameters: BurnRateParameters,
    intervals: Vec<BurnRateInterval>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct BurnRateParameters {
    objective: Share,
    windows: Option<Vec<WindowPair>>,
    #[serde(default)]
    min_samples: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WindowPair {
    rate: f64,
    long: f64,
    short: f64,
}

/// Oldest first.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BurnRateInterval {
    seconds: f64,
    requests: f64,
    errors: f64,
}

fn burn_rate(question: &BurnRateQuestion) -> Result<Value, JudgeError> {
    let BurnRateParameters { objective, windows, min_samples } = &question.parameters;
    let objective = objective.0;
    let promised = objective > 0.0 && objective < 1.0;
    within("objective", promised, "between 0 and 1, such as 0.999 or \"99.9%\"")?;
    within("minSamples", *min_samples >= 0.0, "0 or more")?;
    let pairs = match windows {
        None => burn_rate::USUAL.to_vec(),
        Some(windows) => windows.iter().enumerate().map(pair).collect::<Result<_, _>>()?,
    };
    within("windows", !pairs.is_empty(), "one pair or more")?;
    let intervals = question
        .intervals
        .iter()
        .enumerate()
        .map(|(i, at)| {
            count(i, "requests", at.requests)?;
            count(i, "errors", at.errors)?;
            let place = format!("intervals[{i}].seconds");
            let length = span(&place, at.seconds)?;
            if length == Span::ZERO {
                return Err(refuse(place, "must be above 0: an interval has a length"));
            }
            Ok(burn_rate::Interval { length, requests: at.requests, errors: at.errors })
        })
        .collect::<Result<Vec<_>, JudgeError>>()?;
    let rules = burn_rate::Rules { objective, pairs, min_samples: *min_samples };
    let outcome = burn_rate::judge(&intervals, &rules);
    let burn = |burn: &burn_rate::Burn| {
        json!({
            "rate": shown(burn.pair.rate),
            "long": burn.pair.long.as_seconds(),
            "short": burn.pair.short.as_seconds(),
            "longBurn": maybe(burn.long),
            "shortBurn": maybe(burn.short),
            "requests": shown(burn.requests),
            "verdict": burn.verdict,
        })
    };
    Ok(json!({
        "verdict": outcome.ruling.verdict,
        "detail": outcome.ruling.detail,
        "windows": outcome.burns.iter().map(burn).collect::<Vec<_>>(),
    }))
}

fn pair((i, window): (usize, &WindowPair)) -> Result<burn_rate::Pair, JudgeError> {
    let place = |field: &str| format!("parameters.windows[{i}].{field}");
    let long = span(&place("long"), window.long)?;
    let short = span(&place("short"), window.short)?;
    if short > long || short == Span::ZERO {
        return Err(refuse(place("short"), "must be above 0 and no longer than long"));
    }
    if !(window.rate > 0.0 && window.rate.is_finite()) {
        return Err(refuse(place("rate"), "must be above 0"));
    }
    Ok(burn_rate::Pair { rate: window.rate, long, short })
}

#[cfg(test)]
mod tests;
