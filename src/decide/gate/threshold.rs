//! Inside bounds: Argo Rollouts' `successCondition` and Flagger's `thresholdRange`, with no expression to write and
//! both ends inside.

use super::{Given, Rule, Ruling, Unusable, figures::Figures};
use crate::decide::fact::Verdict;

/// Bounds, both inclusive.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Threshold {
    /// The least value that passes.
    pub min: Option<f64>,
    /// The greatest value that passes.
    pub max: Option<f64>,
}

impl Rule for Threshold {
    fn rule(&self, given: &Given<'_>) -> Result<Ruling, Unusable> {
        let figures = Figures::new(given.gate.unit.as_deref());
        Ok(judge(given.value()?, self.min, self.max, figures))
    }
}

/// Passes where `min <= value <= max`, both inclusive; a bound that is not given binds nothing.
///
/// Each comparison must hold, so that NaN, on either side of it, never passes; an infinity is outside
/// every bound on its side. A threshold with no bound at all judges nothing and is an Error: it must
/// not become a gate that passes whatever happens.
pub fn judge(value: f64, min: Option<f64>, max: Option<f64>, figures: Figures<'_>) -> Ruling {
    let (above, below) = (|min| value >= min, |max| value <= max);
    let ruling = |verdict, against, detail: String| Ruling::new(verdict, Some(against), detail);
    match (min, max) {
        (None, None) => {
            Ruling::new(Verdict::Error, None, "the threshold has neither min nor max: give one")
        }
        (Some(min), _) if !above(min) => {
            let [v, bound] = figures.tell([value, min]);
            ruling(Verdict::Fail, min, format!("{v} < {bound}"))
        }
        (_, Some(max)) if !below(max) => {
            let [v, bound] = figures.tell([value, max]);
            ruling(Verdict::Fail, max, format!("{v} > {bound}"))
        }
        (Some(min), Some(max)) => {
            let [low, v, high] = figures.tell([min, value, max]);
            let nearer = if value - min < max - value { min } else { max };
            ruling(Verdict::Pass, nearer, format!("{low} <= {v} <= {high}"))
        }
        (Some(min), None) => {
            let [v, bound] = figures.tell([value, min]);
            ruling(Verdict::Pass, min, format!("{v} >= {bound}"))
        }
        (None, Some(max)) => {
            let [v, bound] = figures.tell([value, max]);
            ruling(Verdict::Pass, max, format!("{v} <= {bound}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(value: f64, min: Option<f64>, max: Option<f64>) -> (Verdict, String) {
        let ruling = judge(value, min, max, Figures::new(None));
        (ruling.verdict, ruling.detail)
    }

    #[test]
    fn bounds_are_inclusive() {
        let cases = [
            (0.4, None, Some(0.4), Verdict::Pass, "0.4 <= 0.4"),
            (0.412, None, Some(0.4), Verdict::Fail, "0.412 > 0.4"),
            (0.995, Some(0.995), None, Verdict::Pass, "0.995 >= 0.995"),
            (0.991, Some(0.995), None, Verdict::Fail, "0.991 < 0.995"),
            (3.0, Some(2.0), Some(4.0), Verdict::Pass, "2 <= 3 <= 4"),
            (1.0, Some(2.0), Some(4.0), Verdict::Fail, "1 < 2"),
            (5.0, Some(2.0), Some(4.0), Verdict::Fail, "5 > 4"),
        ];
        for (value, min, max, verdict, detail) in cases {
            assert_eq!(at(value, min, max), (verdict, detail.to_owned()));
        }
    }

    #[test]
    fn what_is_no_number_never_passes() {
        for (min, max) in [(Some(0.0), None), (None, Some(0.0)), (Some(0.0), Some(1.0))] {
            assert_eq!(at(f64::NAN, min, max).0, Verdict::Fail);
            assert_eq!(at(0.5, min.map(|_| f64::NAN), max.map(|_| f64::NAN)).0, Verdict::Fail);
        }
        assert_eq!(at(0.5, None, None).0, Verdict::Error);
    }

    #[test]
    fn an_infinity_is_outside_any_bound_on_its_side() {
        assert_eq!(at(f64::INFINITY, None, Some(f64::MAX)).0, Verdict::Fail);
        assert_eq!(at(f64::NEG_INFINITY, Some(f64::MIN), None).0, Verdict::Fail);
        assert_eq!(at(f64::INFINITY, Some(0.0), None).0, Verdict::Pass);
    }
}
