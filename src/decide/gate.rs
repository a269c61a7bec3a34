//! Measurements to a verdict, by the rules of gates.md. Never fetches, never counts: how many
//! failures a ring bears is the rollout's to know.
//!
//! The core judges one measurement at a time ([`judge`]). The statistical judges beside it are pure
//! functions over a history of samples, which the core does not keep yet; `ringward judge` offers
//! them.

pub mod burn_rate;
pub mod figures;
pub mod mann_whitney;
mod normal;

pub mod query;
pub mod reading;

pub mod relative;
pub mod sequential;

pub mod threshold;

use jiff::Timestamp;

use self::figures::Figures;
use super::{
    event::{Answer, Reading},
    fact::{Judged, Verdict},
};
use crate::model::{
    policy::{Gate, Judge},
    time::Span,
};

/// What a judge makes of a number that is fresh and rests on enough samples.
#[derive(Debug, Clone, PartialEq)]
pub struct Ruling {
    /// Pass, Fail or Insufficient; a judge never sees what is Absent or in error.
    pub verdict: Verdict,
    /// The bound or baseline that it was compared with.
    pub against: Option<f64>,
    /// One sentence with the figures.
    pub detail: String,
}

/// Judges one measurement of `gate`.
///
/// `baseline` is the figure that was recorded for a relative gate; where none was recorded yet, the
/// one that came with the answer is taken. `deployed_at` is when the target last took the release:
/// nothing measured up to then says anything about it.
///
/// An error anywhere is an Error, whatever else was answered; then a number that is missing or stale
/// is Absent, too few samples are Insufficient, and only what is left is compared.
pub fn judge(
    gate: &Gate,
    answer: &Answer,
    baseline: Option<f64>,
    deployed_at: Timestamp,
    now: Timestamp,
) -> Judged {
    let mut judged = Judged {
        verdict: Verdict::Error,
        value: None,
        samples: None,
        against: None,
        detail: String::new(),
    };
    match weigh(gate, answer, baseline, deployed_at, now, &mut judged) {
        Ok(ruling) => {
            judged.verdict = ruling.verdict;
            judged.against = ruling.against;
            judged.detail = ruling.detail;
        }
        Err((verdict, detail)) => {
            judged.verdict = verdict;
            judged.detail = detail;
        }
    }
    judged
}

/// Fills in the figures of `judged` as they are read; stops with the first reason not to compare.
fn weigh(
    gate: &Gate,
    answer: &Answer,
    baseline: Option<f64>,
    deployed_at: Timestamp,
    now: Timestamp,
    judged: &mut Judged,
) -> Result<Ruling, (Verdict, String)> {
    let parts = [
        ("", Some(&answer.value)),
        ("samples: ", answer.samples.as_ref()),
        ("baseline: ", answer.baseline.as_ref()),
    ];
    for (part, reading) in parts {
        if let Some(Reading::Error(why)) = reading {
            return Err((Verdict::Error, format!("{part}{why}")));
        }
    }

    let value = fresh(&answer.value, gate.max_age, deployed_at, now)?;
    judged.value = Some(value);
    if let Some(reading) = &answer.samples {
        match fresh(reading, gate.max_age, deployed_at, now) {
            Ok(samples) => judged.samples = Some(samples),
            // A count of nothing has no series: that is no samples, and not a missing measurement.
            Err((Verdict::Absent, _)) => {}
            Err((verdict, why)) => return Err((verdict, format!("samples: {why}"))),
        }
    }
    if let Some(least) = gate.min_samples {
        let samples = judged.samples.unwrap_or(0.0);
        if !(samples.is_finite() && samples >= least) {
            let [samples, least] = Figures::new(None).tell([samples, least]);
            return Err((Verdict::Insufficient, format!("{samples} samples < {least}")));
        }
    }

    let figures = Figures::new(gate.unit.as_deref());
    Ok(match &gate.judge {
        Judge::Threshold { min, max } => threshold::judge(value, *min, *max, figures),
        Judge::Relative { baseline: _, max_degradation, direction, floor } => {
            let beside = match &answer.baseline {
                Some(Reading::Value { value, .. }) => Some(*value),
                Some(Reading::Absent | Reading::Error(_)) | None => None,
            };
            let bounds = relative::Bounds {
                max_degradation: *max_degradation,
                direction: *direction,
                floor: *floor,
            };
            relative::judge(value, baseline.or(beside), bounds, figures)
        }
    })
}

/// The number of a reading that is neither too old nor from before the deploy.
fn fresh(
    reading: &Reading,
    max_age: Span,
    deployed_at: Timestamp,
    now: Timestamp,
) -> Result<f64, (Verdict, String)> {
    match reading {
        Reading::Error(why) => Err((Verdict::Error, why.clone())),
        Reading::Absent => Err((Verdict::Absent, "no series, or not a number".into())),
        Reading::Value { value, .. } if value.is_nan() => {
            Err((Verdict::Absent, "not a number".into()))
        }
        Reading::Value { value, at } => match stale(*at, max_age, deployed_at, now) {
            None => Ok(*value),
            Some(stale) => Err(stale),
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
