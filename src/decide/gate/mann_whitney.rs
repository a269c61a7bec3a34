//! The experiment's samples against the control's: the Mann-Whitney test, judged as Kayenta's
//! NetflixACAJudge judges it.
//!
//! With n and m samples, N = n + m, U the sum of the experiment's midranks less n(n + 1)/2, and ties t:
//!
//! ```text
//! sigma^2 = n m / 12 * ((N + 1) - sum(t^3 - t) / (N (N - 1)))
//! z       = (|U - n m / 2| - 1/2) / sigma           (continuity correction)
//! ```
//!
//! The interval for the shift comes from inverting that test (Hodges and Lehmann 1963; what R's
//! `wilcox.test(conf.int = TRUE)` finds by search). U as a function of the shift steps only at the n m
//! differences D, where no sample of one side ties with one of the other, so it has a closed form:
//!
//! ```text
//! k = clamp(ceil(n m / 2 - 1/2 - z_c * sigma_w), 1, floor((n m + 1) / 2))
//! interval = [D(k), D(n m + 1 - k)],   estimate = median(D)
//! ```
//!
//! with sigma_w from the ties inside each side only. It is High where the interval lies above
//! tolerance * |estimate|, and Low where it lies below the opposite, provided that the effect reaches
//! its limit too.
//!
//! Known weakness: error counts that are mostly zero (spinnaker#6278, kayenta#426). One sample out of
//! line can be significant there, and many small ones never; use the sequential judge for those.

use super::{
    About, Given, Rule, Ruling, Unusable,
    figures::{Figures, figure},
    history::{History, MOST},
    normal::{quantile_of_upper_tail, upper_tail},
};
pub use crate::model::judge::{
    EffectLimits, EffectSize, MannWhitneyRules as Rules, Nan, Outliers, Worse,
};
use crate::{
    decide::{
        fact::{Kept, Taken, Verdict},
        part::{Part, Role},
    },
    model::{
        judge::{Control, MannWhitney},
        time::Span,
    },
};

/// More differences than this are refused: they are held in memory all at once.
pub const MOST_PAIRS: usize = 10_000_000;

/// How the experiment compares with the control.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// No difference that counts.
    Pass,
    /// The experiment is higher.
    High,
    /// The experiment is lower.
    Low,
    /// A side is too small to tell.
    Nodata,
}

/// The verdict, with every figure on the way to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The verdict, in words.
    pub ruling: Ruling,
    /// How the sides compare.
    pub class: Class,
    /// Whether the effect reached its critical limit too.
    pub critical: bool,
    /// Samples and mean of the experiment, after NaN and outliers.
    pub experiment: Side,
    /// Samples and mean of the control, after NaN and outliers.
    pub control: Side,
    /// The test itself; none where there is no data.
    pub test: Option<Test>,
    /// The size of the effect; none where it is undefined.
    pub effect: Option<f64>,
}

/// One side, in short.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Side {
    /// How many samples.
    pub count: usize,
    /// Their mean; NaN where there are none.
    pub mean: f64,
}

/// The Mann-Whitney test of two sides that both have samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Test {
    /// The experiment's rank sum less its least: the pairs in which it is higher.
    pub u: f64,
    /// The standard deviation of U, corrected for ties; 0 where all samples are the same.
    pub sigma: f64,
    /// |U - nm/2| less the continuity correction, in standard deviations; NaN where sigma is 0.
    pub z: f64,
    /// The two-sided p-value; 1 where all samples are the same.
    pub p_value: f64,
    /// The confidence interval of the shift from the control to the experiment.
    pub interval: (f64, f64),
    /// The Hodges-Lehmann estimate of the shift.
    pub estimate: f64,
}

/// Judges the experiment's samples against the control's. Infinities are the caller's to refuse, as
/// are more than [`MOST_PAIRS`] pairs.
pub fn judge(experiment: &[f64], control: &[f64], rules: &Rules) -> Outcome {
    let x = prepared(experiment, rules);
    let y = prepared(control, rules);
    let (experiment, control) = (side(&x), side(&y));
    let least = rules.min_samples.max(1);
    if x.len() < least || y.len() < least {
        let noun = if x.len() == 1 { "sample" } else { "samples" };
        let detail = format!("{} {noun} against {}, fewer than {least}", x.len(), y.len());
        return Outcome {
            ruling: Ruling::new(Verdict::Insufficient, None, detail),
            class: Class::Nodata,
            critical: false,
            experiment,
            control,
            test: None,
            effect: None,
        };
    }

    let test = test(&x, &y, rules.confidence);
    let limits = rules.effect;
    // Both prepared sides are sorted, so this is whether they hold the same samples.
    let effect = if x == y {
        Some(limits.measure.none())
    } else {
        match limits.measure {
            EffectSize::Cles => Some(test.u / (x.len() as f64 * y.len() as f64)),
            EffectSize::MeanRatio if experiment.mean == 0.0 || control.mean == 0.0 => None,
            EffectSize::MeanRatio => Some(experiment.mean / control.mean),
        }
    };
    let at_least = |limit: f64| effect.is_none_or(|effect| effect >= limit);
    let at_most = |limit: f64| effect.is_none_or(|effect| effect <= limit);
    let none = limits.measure.none();
    let band = rules.tolerance * test.estimate.abs();
    let (low, high) = test.interval;
    let class = if matches!(rules.direction, Worse::Increase | Worse::Either)
        && low > band
        && at_least(limits.allowed_increase.unwrap_or(none))
    {
        Class::High
    } else if matches!(rules.direction, Worse::Decrease | Worse::Either)
        && high < -band
        && at_most(limits.allowed_decrease.unwrap_or(none))
    {
        Class::Low
    } else {
        Class::Pass
    };
    let (verdict, critical) = match class {
        Class::High => (Verdict::Fail, limits.critical_increase.is_some_and(at_least)),
        Class::Low => (Verdict::Fail, limits.critical_decrease.is_some_and(at_most)),
        Class::Pass => (Verdict::Pass, false),
        Class::Nodata => (Verdict::Insufficient, false),
    };
    let detail = tell(class, &test, effect, rules);
    Outcome {
        ruling: Ruling::new(verdict, Some(control.mean), detail),
        class,
        critical,
        experiment,
        control,
        test: Some(test),
        effect,
    }
}

/// The interval beside the tolerance, and, where it lies outside of that and does no harm, why not.
fn tell(class: Class, test: &Test, effect: Option<f64>, rules: &Rules) -> String {
    let limits = rules.effect;
    let none = limits.measure.none();
    let (low, high) = test.interval;
    let band = rules.tolerance * test.estimate.abs();
    let (word, limit, sign, other) = if low > band {
        ("above", limits.allowed_increase.unwrap_or(none), "<", Worse::Decrease)
    } else if high < -band {
        ("below", limits.allowed_decrease.unwrap_or(none), ">", Worse::Increase)
    } else {
        ("not significantly off", none, "", Worse::Either)
    };
    let [low, high, band] = Figures::new(None).tell([low, high, band]);
    let shift = format!("shift [{low}, {high}] {word} the tolerance of {band}");
    match (class, effect) {
        (Class::High | Class::Low | Class::Nodata, _) => shift,
        (Class::Pass, _) if other == Worse::Either => shift,
        (Class::Pass, _) if rules.direction == other => {
            format!("{shift}, and only {other} is worse")
        }
        (Class::Pass, effect) => {
            let measure = limits.measure;
            let effect = effect.unwrap_or(none);
            let [effect, limit] = Figures::new(None).tell([effect, limit]);
            format!("{shift}, yet the {measure} is {effect} {sign} {limit}")
        }
    }
}

impl Rule for MannWhitney {
    fn asks(&self, about: &About<'_>) -> Vec<Part> {
        match &self.control {
            Control::Stable(query) => about.number(Role::Stable, query, None).into_iter().collect(),
            Control::Before if about.history.control.is_empty() => {
                let steps = about.ring.policy.soak.duration.0 / about.gate.interval.0.max(1) + 1;
                let steps = steps.clamp(self.rules.min_samples as u64, MOST as u64);
                let length = Span(about.gate.interval.0 * steps.saturating_sub(1));
                let before = about.range(Role::Before, &about.gate.query, about.deployed, length);
                before.into_iter().collect()
            }
            Control::Before => Vec::new(),
        }
    }

    /// The samples of all measurements since the deploy, this one's included, against the control's of
    /// the same instants or from before the deploy; of each side the newest 500.
    fn rule(&self, given: &Given<'_>) -> Result<Ruling, Unusable> {
        let experiment = given.value.filter(|v| v.is_finite());
        let experiment = experiment.ok_or_else(|| Unusable::error("an infinity has no rank"))?;
        let mut history = History::clone(given.history);
        let (mut control, mut taken) = (None, None);
        match &self.control {
            Control::Stable(_) => {
                let beside = given.number(Role::Stable)?;
                if beside.is_infinite() {
                    return Err(Unusable::error("stable: an infinity has no rank"));
                }
                control = Some(beside);
            }
            Control::Before if history.control.is_empty() => {
                let before = given.range(Role::Before);
                if before.is_empty() {
                    return Err(Unusable::insufficient("nothing was measured before the deploy"));
                }
                history.take(&Taken::Control(before.clone()));
                taken = Some(Taken::Control(before));
            }
            Control::Before => {}
        }
        let kept = Kept::Sample { experiment, control };
        history.keep_sample(experiment, control);
        let (x, y) = (history.experiment.make_contiguous(), history.control.make_contiguous());
        let outcome = judge(x, y, &self.rules);
        let mut ruling = outcome.ruling;
        let side = |name: &'static str, side: Side| {
            [
                figure(&format!("{name}Samples"), side.count as f64),
                figure(&format!("{name}Mean"), side.mean),
            ]
        };
        ruling.figures.extend(side("experiment", outcome.experiment));
        ruling.figures.extend(side("control", outcome.control));
        if let Some(test) = outcome.test {
            ruling.figures.extend([
                figure("low", test.interval.0),
                figure("high", test.interval.1),
                figure("estimate", test.estimate),
                figure("u", test.u),
                figure("pValue", test.p_value),
            ]);
        }
        ruling.figures.extend(outcome.effect.map(|effect| figure("effect", effect)));
        ruling.figures.retain(|figure| !figure.value.is_nan());
        ruling.kept = Some(kept);
        ruling.taken = taken;
        Ok(ruling)
    }
}

/// The test of two sides, neither of them empty and both sorted.
pub fn test(x: &[f64], y: &[f64], confidence: f64) -> Test {
    let (n, m) = (x.len() as f64, y.len() as f64);
    let pairs = n * m;
    let sigma = |ties: f64| {
        let all = n + m;
        // The factor of the ties is 0/0 only for N = 1, which two sides never are.
        (pairs / 12.0 * ((all + 1.0) - ties / (all * (all - 1.0)))).max(0.0).sqrt()
    };

    let mut both: Vec<(f64, bool)> =
        x.iter().map(|v| (*v, true)).chain(y.iter().map(|v| (*v, false))).collect();
    both.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut rank_sum, mut ties, mut below) = (0.0, 0.0, 0.0);
    for group in both.chunk_by(|a, b| a.0 == b.0) {
        let t = group.len() as f64;
        let midrank = below + (t + 1.0) / 2.0;
        rank_sum += midrank * group.iter().filter(|(_, of_x)| *of_x).count() as f64;
        ties += t * t * t - t;
        below += t;
    }
    let u = rank_sum - n * (n + 1.0) / 2.0;
    let spread = sigma(ties);
    let z = ((u - pairs / 2.0).abs() - 0.5) / spread;
    let p_value = if spread > 0.0 { (2.0 * upper_tail(z)).min(1.0) } else { 1.0 };

    let mut differences: Vec<f64> = x.iter().flat_map(|x| y.iter().map(move |y| x - y)).collect();
    let within = sigma(ties_of(x) + ties_of(y));
    let z_c = quantile_of_upper_tail((1.0 - confidence) / 2.0);
    let last = ((pairs + 1.0) / 2.0).floor();
    // `clamp` leaves a whole number between 1 and the number of pairs, which is far below 2^53.
    let k = (pairs / 2.0 - 0.5 - z_c * within).ceil().clamp(1.0, last) as usize;
    let count = differences.len();
    // Four places of the order are wanted, and to find each takes less than to sort them all.
    let mut at = |place: usize| *differences.select_nth_unstable_by(place, f64::total_cmp).1;
    let estimate = f64::midpoint(at((count - 1) / 2), at(count / 2));
    let interval = (at(k - 1), at(count - k));
    Test {
        u,
        sigma: spread,
        z: if spread > 0.0 { z } else { f64::NAN },
        p_value,
        interval,
        estimate,
    }
}

/// The sum of t^3 - t over the ties of one sorted side.
fn ties_of(sorted: &[f64]) -> f64 {
    let sizes = sorted.chunk_by(|a, b| a == b).map(|group| group.len() as f64);
    sizes.map(|t| t * t * t - t).sum()
}

/// The samples that count, sorted.
fn prepared(samples: &[f64], rules: &Rules) -> Vec<f64> {
    let mut kept: Vec<f64> = match rules.nan {
        Nan::Remove => samples.iter().copied().filter(|v| !v.is_nan()).collect(),
        Nan::Replace => samples.iter().map(|v| if v.is_nan() { 0.0 } else { *v }).collect(),
    };
    kept.sort_by(f64::total_cmp);
    if let Outliers::Remove { factor } = rules.outliers
        && !kept.is_empty()
    {
        let at = |share| percentile(&kept, share);
        let reach = factor * (at(0.75) - at(0.25));
        let low = at(0.01).min(at(0.25) - reach);
        let high = at(0.99).max(at(0.75) + reach);
        kept.retain(|v| (low..=high).contains(v));
    }
    kept
}

/// Of sorted samples, interpolated linearly between neighbours (Hyndman and Fan's type 7).
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let below = place.floor();
    let (low, high) = (sorted[below as usize], sorted[place.ceil() as usize]);
    low + (high - low) * (place - below)
}

fn side(samples: &[f64]) -> Side {
    let count = samples.len();
    Side { count, mean: samples.iter().sum::<f64>() / count as f64 }
}

#[cfg(test)]
mod tests;
