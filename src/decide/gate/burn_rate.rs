//! Multi-window burn rates of a service level objective (The Site Reliability Workbook, chapter 5).
//!
//! With an objective of 99.9%, the error budget is 0.1% of the requests, and a burn rate of 1 uses it up
//! exactly at the end of the objective's period. A pair of windows fails when the burn rates over both
//! are above its limit: the long one shows that it matters, the short one that it still goes on.

use super::{
    About, Given, Rule, Ruling, Unusable,
    figures::{Figures, figure},
};
pub use crate::model::judge::{Pair, USUAL_WINDOWS as USUAL};
use crate::{
    decide::{
        fact::Verdict,
        part::{Part, Role},
    },
    model::{judge::BurnRate, time::Span},
};

/// What is judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// The share of good requests that is promised; between 0 and 1.
    pub objective: f64,
    /// The pairs of windows; one that fails is enough.
    pub pairs: Vec<Pair>,
    /// Fewer requests than this in a pair's long window make it Insufficient.
    pub min_samples: f64,
}

/// What was counted over a stretch of time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// How long it was.
    pub length: Span,
    /// Requests in it.
    pub requests: f64,
    /// Those that failed.
    pub errors: f64,
}

/// What a pair came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Burn {
    /// The pair.
    pub pair: Pair,
    /// The burn rate over the long window; none without requests.
    pub long: Option<f64>,
    /// The burn rate over the short window; none without requests.
    pub short: Option<f64>,
    /// Requests in the long window.
    pub requests: f64,
    /// What follows.
    pub verdict: Verdict,
}

/// The verdict, with the burn rates behind it.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The verdict, in words; `against` is the limit of the pair that decided.
    pub ruling: Ruling,
    /// Each pair.
    pub burns: Vec<Burn>,
}

/// Judges a history, oldest interval first: Fail where a pair fails, else Insufficient where a pair
/// cannot tell, else Pass.
///
/// A window reaches back from the end of the history over as many intervals as lie inside of it as a
/// whole; one that is longer than the history is judged over what there is.
pub fn judge(intervals: &[Interval], rules: &Rules) -> Outcome {
    over(|window| counted(intervals, window), rules)
}

/// Judges what was counted over each window, which `counted` says: requests, and errors among them.
fn over(counted: impl Fn(Span) -> (f64, f64), rules: &Rules) -> Outcome {
    let budget = 1.0 - rules.objective;
    let burns: Vec<Burn> = rules
        .pairs
        .iter()
        .map(|pair| {
            let (requests, errors) = counted(pair.long);
            let (recent, recent_errors) = counted(pair.short);
            let rate =
                |errors: f64, requests: f64| (requests > 0.0).then(|| errors / requests / budget);
            let (long, short) = (rate(errors, requests), rate(recent_errors, recent));
            let verdict = match (long, short) {
                (Some(long), Some(short)) if requests >= rules.min_samples => {
                    // 1 - 0.9 is a little less than a tenth in binary: rounding must not decide.
                    let limit = pair.rate * (1.0 + 8.0 * f64::EPSILON / budget);
                    let within = long <= limit || short <= limit;
                    if within { Verdict::Pass } else { Verdict::Fail }
                }
                _ => Verdict::Insufficient,
            };
            Burn { pair: *pair, long, short, requests, verdict }
        })
        .collect();
    let decided = [Verdict::Fail, Verdict::Insufficient, Verdict::Pass]
        .into_iter()
        .find_map(|verdict| burns.iter().find(|burn| burn.verdict == verdict));
    let ruling = match decided {
        Some(burn) => Ruling::new(burn.verdict, Some(burn.pair.rate), tell(burn)),
        None => Ruling::new(Verdict::Error, None, "no windows to judge: give at least one pair"),
    };
    Outcome { ruling, burns }
}

impl Rule for BurnRate {
    /// Each window once, and none further back than the deploy: what was before says nothing about the
    /// release, neither for it nor against it.
    fn asks(&self, about: &About<'_>) -> Vec<Part> {
        let mut parts = Vec::new();
        for window in windows(self) {
            let over = Some(window.min(about.since_deploy().max(about.gate.interval)));
            let counts =
                [(Role::Requests, &self.counts.requests), (Role::Errors, &self.counts.errors)];
            let counts = counts.into_iter();
            parts.extend(counts.filter_map(|(role, query)| about.number(role, query, over)));
        }
        parts
    }

    fn rule(&self, given: &Given<'_>) -> Result<Ruling, Unusable> {
        let mut answers = given.numbers(&[Role::Requests, Role::Errors])?.into_iter();
        let mut counts = Vec::new();
        for window in windows(self) {
            let (Some(requests), Some(errors)) = (answers.next(), answers.next()) else {
                return Err(Unusable::error("a window was not answered"));
            };
            counts.push((window, requests, errors));
        }
        let counted = |wanted: Span| {
            let found = counts.iter().find(|(window, ..)| *window == wanted);
            found.map_or((0.0, 0.0), |(_, requests, errors)| (*requests, *errors))
        };
        let rules = Rules {
            objective: self.objective,
            pairs: self.windows.clone(),
            min_samples: given.gate.min_samples.unwrap_or(0.0),
        };
        let outcome = over(counted, &rules);
        let mut ruling = outcome.ruling;
        for (window, requests, errors) in &counts {
            ruling.figures.push(figure(&format!("requests{window}"), *requests));
            ruling.figures.push(figure(&format!("errors{window}"), *errors));
        }
        for burn in &outcome.burns {
            let rates = [(burn.pair.long, burn.long), (burn.pair.short, burn.short)];
            for (window, rate) in rates {
                ruling.figures.extend(rate.map(|rate| figure(&format!("burn{window}"), rate)));
            }
        }
        Ok(ruling)
    }
}

/// The windows that are asked about, each once, in this order.
fn windows(declared: &BurnRate) -> Vec<Span> {
    let mut windows: Vec<Span> = declared.windows.iter().flat_map(|p| [p.long, p.short]).collect();
    windows.sort_unstable();
    windows.dedup();
    windows
}

/// Requests and errors in the last `window` of the history.
fn counted(intervals: &[Interval], window: Span) -> (f64, f64) {
    let mut covered = Span::ZERO;
    let mut sums = (0.0, 0.0);
    for interval in intervals.iter().rev() {
        covered = covered + interval.length;
        if covered > window {
            break;
        }
        sums = (sums.0 + interval.requests, sums.1 + interval.errors);
    }
    sums
}

fn tell(burn: &Burn) -> String {
    let Pair { long, short, rate } = burn.pair;
    let (Some(over_long), Some(over_short)) = (burn.long, burn.short) else {
        return format!("no requests in the last {long} or {short}");
    };
    // Each is told apart from the limit, and not from the other: they often are the same but for rounding.
    let [over_long, limit] = Figures::new(None).tell([over_long, rate]);
    let [over_short, _] = Figures::new(None).tell([over_short, rate]);
    let rates = format!("burn rate {over_long} over {long} and {over_short} over {short}");
    match burn.verdict {
        Verdict::Fail => format!("{rates}, both above {limit}"),
        Verdict::Pass => format!("{rates}, not both above {limit}"),
        Verdict::Insufficient | Verdict::Absent | Verdict::Error => {
            format!("{rates}, on {} requests only", burn.requests)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Five-minute intervals of 1,000 requests with these errors.
    fn history(errors: &[f64]) -> Vec<Interval> {
        let interval = |errors: &f64| Interval {
            length: Span::minutes(5),
            requests: 1_000.0,
            errors: *errors,
        };
        errors.iter().map(interval).collect()
    }

    fn rules() -> Rules {
        Rules { objective: 0.999, pairs: USUAL.to_vec(), min_samples: 1.0 }
    }

    #[test]
    fn both_windows_of_a_pair_must_burn() {
        // An hour at 1.5% of errors burns at 15.
        let outcome = judge(&history(&[15.0; 12]), &rules());
        assert_eq!(outcome.ruling.verdict, Verdict::Fail);
        assert_eq!(outcome.ruling.against, Some(14.4));
        assert!((outcome.burns[0].long.unwrap() - 15.0).abs() < 1e-9);
        assert_eq!(outcome.ruling.detail, "burn rate 15 over 1h and 15 over 5m, both above 14.4");
        // The same rate over both, but for rounding.
        let pair = Pair { rate: 5.0, long: Span::minutes(15), short: Span::minutes(5) };
        let rules_of_one = Rules { objective: 0.99, pairs: vec![pair], min_samples: 1.0 };
        let uneven = [199.2, 201.9, 198.7].map(|n| Interval {
            length: Span::minutes(5),
            requests: n,
            errors: n * 0.002,
        });
        assert_eq!(
            judge(&uneven, &rules_of_one).ruling.detail,
            "burn rate 0.2 over 15m and 0.2 over 5m, not both above 5"
        );
        // It stopped five minutes ago.
        let mut over = vec![18.0; 12];
        over[11] = 0.0;
        let burns = judge(&history(&over), &rules()).burns;
        assert!(burns[0].long.unwrap() > 14.4);
        assert_eq!(burns[0].short, Some(0.0));
        assert_eq!(burns[0].verdict, Verdict::Pass);
        // It has just begun: the short window burns, the long one does not yet.
        let mut begun = vec![0.0; 72];
        begun[71] = 20.0;
        assert_eq!(judge(&history(&begun), &rules()).ruling.verdict, Verdict::Pass);
        // A slow burn is the other pair's.
        let outcome = judge(&history(&[8.0; 72]), &rules());
        assert_eq!((outcome.ruling.verdict, outcome.ruling.against), (Verdict::Fail, Some(6.0)));
    }

    #[test]
    fn at_the_limit_is_not_above_it() {
        let pair = Pair { rate: 10.0, ..USUAL[0] };
        let rules = Rules { objective: 0.875, pairs: vec![pair], min_samples: 1.0 };
        let exactly = |errors| judge(&history(&[errors; 12]), &rules).ruling.verdict;
        assert_eq!(exactly(1_250.0), Verdict::Pass);
        assert_eq!(exactly(1_251.0), Verdict::Fail);
    }

    #[test]
    fn nor_is_it_by_rounding() {
        for (objective, errors) in [(0.9, 200.0), (0.99, 20.0), (0.999, 2.0), (0.9999, 0.2)] {
            let pair = Pair { rate: 2.0, ..USUAL[0] };
            let rules = Rules { objective, pairs: vec![pair], min_samples: 1.0 };
            let burn = |errors| judge(&history(&[errors; 12]), &rules).ruling.verdict;
            assert_eq!(burn(errors), Verdict::Pass, "{objective}");
            assert_eq!(burn(errors * 1.000_001), Verdict::Fail, "{objective}");
        }
    }

    #[test]
    fn too_little_traffic_is_insufficient() {
        let quiet = Rules { min_samples: 100_000.0, ..rules() };
        assert_eq!(judge(&history(&[500.0; 12]), &quiet).ruling.verdict, Verdict::Insufficient);
        assert_eq!(judge(&[], &rules()).ruling.verdict, Verdict::Insufficient);
        let nothing = Interval { length: Span::minutes(5), requests: 0.0, errors: 0.0 };
        let mut silent = history(&[0.0; 12]);
        silent.push(nothing);
        assert_eq!(judge(&silent, &rules()).ruling.verdict, Verdict::Insufficient);
        let none = Rules { pairs: Vec::new(), ..rules() };
        assert_eq!(judge(&history(&[0.0; 12]), &none).ruling.verdict, Verdict::Error);
    }
}
