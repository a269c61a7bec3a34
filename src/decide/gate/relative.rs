//! Not much worse than a baseline: what a canary analysis asks where there are too few samples for a test (Google's
//! SRE Workbook, chapter 16, compares canary and control; 50% is the usual start).

use super::{
    About, Given, Rule, Ruling, Unusable,
    figures::{Figures, figure},
};
use crate::{
    decide::{
        fact::Verdict,
        part::{Part, Role},
    },
    model::policy::{Baseline, Direction},
};

/// A comparison, and what with.
#[derive(Debug, Clone, PartialEq)]
pub struct Relative<'a> {
    /// What it is compared with.
    pub baseline: &'a Baseline,
    /// How much worse it may be.
    pub bounds: Bounds,
}

impl Rule for Relative<'_> {
    fn asks(&self, about: &About<'_>) -> Vec<Part> {
        match self.baseline {
            // It is the gate's own query, as of the deploy: the measurement asks it by itself.
            Baseline::Before => Vec::new(),
            Baseline::Stable(query) => {
                about.number(Role::Stable, query, None).into_iter().collect()
            }
            Baseline::Ring(ring) => about.elsewhere(Role::Stable, ring),
        }
    }

    /// Of another ring, the mean over its clusters is compared with.
    fn rule(&self, given: &Given<'_>) -> Result<Ruling, Unusable> {
        let value = given.value()?;
        let baseline = match self.baseline {
            Baseline::Before => given.baseline,
            Baseline::Stable(_) | Baseline::Ring(_) => {
                let beside = given.numbers(&[Role::Stable])?;
                Some(beside.iter().sum::<f64>() / beside.len() as f64)
            }
        };
        let mut ruling =
            judge(value, baseline, self.bounds, Figures::new(given.gate.unit.as_deref()));
        ruling.figures.extend(baseline.map(|baseline| figure("baseline", baseline)));
        ruling.figures.retain(|figure| !figure.value.is_nan());
        Ok(ruling)
    }
}

/// How much worse than its baseline a measurement may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// The share of the baseline, 0.5 for 50%.
    pub max_degradation: f64,
    /// Which way is worse.
    pub direction: Direction,
    /// In the unit of the measurement: a difference up to this is too small to matter.
    pub floor: f64,
}

/// With `worse` = value - baseline where more is worse, and baseline - value where less is, fails when
///
/// ```text
/// worse > maxDegradation * |baseline|   and   worse > floor
/// ```
///
/// The product, and not the quotient, so that a baseline of 0 needs no case of its own: any change for
/// the worse is then infinitely much worse, and only the floor forgives it. No baseline, or one that is
/// not finite, is Insufficient.
pub fn judge(value: f64, baseline: Option<f64>, bounds: Bounds, figures: Figures<'_>) -> Ruling {
    let Some(baseline) = baseline.filter(|b| b.is_finite()) else {
        return Ruling::new(Verdict::Insufficient, None, "no usable baseline to compare with");
    };
    let worse = match bounds.direction {
        Direction::Increase => value - baseline,
        Direction::Decrease => baseline - value,
    };
    let allowed = bounds.max_degradation * baseline.abs();
    // 0.45 is 50% more than 0.3, and in binary a little more than that: rounding must not decide.
    let rounding = 8.0 * f64::EPSILON * (baseline.abs() + allowed.abs() + bounds.floor.abs());
    let within = |limit: f64| worse <= limit + rounding;
    let verdict =
        if within(allowed) || within(bounds.floor) { Verdict::Pass } else { Verdict::Fail };

    let [now, then] = figures.tell([value, baseline]);
    let [limit] = figures.tell([bounds.floor]);
    let detail = match (worse > 0.0, within(allowed), verdict) {
        (false, _, Verdict::Pass) => format!("{now}, no worse than {then}"),
        (_, false, Verdict::Pass) => {
            format!("{now} against {then}, a difference of no more than {limit}")
        }
        _ if baseline == 0.0 => format!("{now} against 0, a difference of more than {limit}"),
        (_, _, Verdict::Pass) => {
            let by = (worse / baseline.abs()).min(bounds.max_degradation);
            let [by, at_most] = percent([by, bounds.max_degradation]);
            format!("{now} against {then}, worse by {by} <= {at_most}")
        }
        _ => {
            let [by, at_most] = percent([worse / baseline.abs(), bounds.max_degradation]);
            format!("{now} against {then}, worse by {by} > {at_most}")
        }
    };
    Ruling::new(verdict, Some(baseline), detail)
}

fn percent(shares: [f64; 2]) -> [String; 2] {
    Figures::new(Some("%")).tell(shares.map(|share| share * 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(value: f64, baseline: f64, direction: Direction, floor: f64) -> (Verdict, String) {
        let bounds = Bounds { max_degradation: 0.5, direction, floor };
        let ruling = judge(value, Some(baseline), bounds, Figures::new(None));
        (ruling.verdict, ruling.detail)
    }

    #[test]
    fn worse_by_more_than_both_limits_fails() {
        use Direction::{Decrease, Increase};
        use Verdict::{Fail, Pass};
        let cases = [
            (0.2, 0.2, Increase, 0.0, Pass, "0.2, no worse than 0.2"),
            (0.1, 0.2, Increase, 0.0, Pass, "0.1, no worse than 0.2"),
            (0.25, 0.2, Increase, 0.0, Pass, "0.25 against 0.2, worse by 25% <= 50%"),
            (0.45, 0.3, Increase, 0.0, Pass, "0.45 against 0.3, worse by 50% <= 50%"),
            (0.4, 0.2, Increase, 0.0, Fail, "0.4 against 0.2, worse by 100% > 50%"),
            (0.4, 0.2, Increase, 0.25, Pass, "0.4 against 0.2, a difference of no more than 0.25"),
            (0.4, 0.2, Decrease, 0.0, Pass, "0.4, no worse than 0.2"),
            (40.0, 100.0, Decrease, 0.0, Fail, "40 against 100, worse by 60% > 50%"),
            (60.0, 100.0, Decrease, 0.0, Pass, "60 against 100, worse by 40% <= 50%"),
            // Three below -2 is worse than half of 2 where less is worse.
            (-5.0, -2.0, Decrease, 0.0, Fail, "-5 against -2, worse by 150% > 50%"),
        ];
        for (value, baseline, direction, floor, verdict, detail) in cases {
            assert_eq!(at(value, baseline, direction, floor), (verdict, detail.to_owned()));
        }
    }

    #[test]
    fn from_a_baseline_of_nought_only_the_floor_forgives() {
        use Direction::{Decrease, Increase};
        assert_eq!(at(0.0, 0.0, Increase, 0.0).0, Verdict::Pass);
        assert_eq!(at(0.01, 0.0, Increase, 0.02).0, Verdict::Pass);
        let (verdict, detail) = at(0.03, 0.0, Increase, 0.02);
        assert_eq!(verdict, Verdict::Fail);
        assert_eq!(detail, "0.03 against 0, a difference of more than 0.02");
        assert_eq!(at(1e-300, 0.0, Increase, 0.0).0, Verdict::Fail);
        assert_eq!(at(5.0, 0.0, Decrease, 0.0).0, Verdict::Pass);
    }

    #[test]
    fn what_is_no_number_never_passes() {
        assert_eq!(at(f64::NAN, 1.0, Direction::Increase, 1.0).0, Verdict::Fail);
        let nowhere =
            Bounds { max_degradation: f64::NAN, direction: Direction::Increase, floor: f64::NAN };
        assert_eq!(judge(1.0, Some(1.0), nowhere, Figures::new(None)).verdict, Verdict::Fail);
        assert_eq!(at(f64::INFINITY, 1.0, Direction::Increase, 0.0).0, Verdict::Fail);
        assert_eq!(at(f64::NEG_INFINITY, 1.0, Direction::Decrease, 0.0).0, Verdict::Fail);
        for useless in [None, Some(f64::NAN), Some(f64::INFINITY)] {
            let bounds =
                Bounds { max_degradation: 0.5, direction: Direction::Increase, floor: 0.0 };
            let ruling = judge(1.0, useless, bounds, Figures::new(None));
            assert_eq!(ruling.verdict, Verdict::Insufficient);
        }
    }
}
