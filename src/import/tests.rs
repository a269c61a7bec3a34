//! That a condition's range is what the condition says, number by number.

use proptest::prelude::*;

use super::{condition, *};

#[test]
fn nothing_comes_of_nothing() {
    let upstream = Upstream::ArgoRollouts { args: BTreeMap::new() };
    let imported = import(&upstream, &[("a.yaml".into(), Vec::new())]);
    assert!(imported.documents.is_empty() && imported.remarks.is_empty() && imported.read == 0);
}

#[test]
fn every_rule_has_an_id_of_its_own() {
    let ids: std::collections::BTreeSet<_> = Rule::ALL.iter().map(|rule| rule.id()).collect();
    assert_eq!(ids.len(), Rule::ALL.len());
    assert!(Rule::ALL.iter().all(|rule| !rule.summary().is_empty()));
}

/// A condition, and what it says of a number.
#[derive(Debug, Clone)]
enum Said {
    Compare(&'static str, f64),
    Not(Box<Said>),
    And(Box<Said>, Box<Said>),
    Or(Box<Said>, Box<Said>),
}

impl Said {
    fn text(&self) -> String {
        match self {
            Said::Compare(mark, with) => format!("result[0] {mark} {with}"),
            Said::Not(of) => format!("!({})", of.text()),
            Said::And(a, b) => format!("({} && {})", a.text(), b.text()),
            Said::Or(a, b) => format!("({} || {})", a.text(), b.text()),
        }
    }

    fn holds(&self, number: f64) -> bool {
        match self {
            Said::Compare("<", with) => number < *with,
            Said::Compare("<=", with) => number <= *with,
            Said::Compare(">", with) => number > *with,
            Said::Compare(">=", with) => number >= *with,
            Said::Compare("==", with) => number == *with,
            Said::Compare(_, with) => number != *with,
            Said::Not(of) => !of.holds(number),
            Said::And(a, b) => a.holds(number) && b.holds(number),
            Said::Or(a, b) => a.holds(number) || b.holds(number),
        }
    }
}

const BOUNDS: [f64; 5] = [-1.0, 0.0, 0.25, 0.5, 2.0];

fn said() -> impl Strategy<Value = Said> {
    let mark = prop::sample::select(vec!["<", "<=", ">", ">=", "==", "!="]);
    let compare = (mark, prop::sample::select(BOUNDS.to_vec()))
        .prop_map(|(mark, with)| Said::Compare(mark, with));
    compare.prop_recursive(4, 16, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|of| Said::Not(of.into())),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Said::And(a.into(), b.into())),
            (inner.clone(), inner).prop_map(|(a, b)| Said::Or(a.into(), b.into())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_threshold_passes_what_the_conditions_let_succeed(success in said(), failure in proptest::option::of(said())) {
        let texts = (success.text(), failure.as_ref().map(Said::text));
        let passes = |number: f64| success.holds(number) && !failure.as_ref().is_some_and(|f| f.holds(number));
        let around = BOUNDS.iter().flat_map(|bound| [bound.next_down(), *bound, bound.next_up()]);
        let points: Vec<f64> = around.chain([-1e300, -5.0, 0.1, 0.3, 1.0, 3.0, 1e300]).collect();
        match condition::judge(Some(&texts.0), texts.1.as_deref()) {
            Ok(judged) => for point in points {
                let inside = judged.min.is_none_or(|min| point >= min) && judged.max.is_none_or(|max| point <= max);
                prop_assert_eq!(inside, passes(point), "{:?} at {}: {:?}", texts, point, judged);
            },
            // What is no one range has a gap, or nothing, or everything in it.
            Err(_) => {
                let mut points = points;
                points.sort_by(f64::total_cmp);
                let answers: Vec<bool> = points.iter().map(|point| passes(*point)).collect();
                let changes = answers.windows(2).filter(|pair| pair[0] != pair[1]).count();
                let from = usize::from(answers[0]);
                prop_assert!(changes == 0 || changes + from > 2, "{:?}: {:?}", texts, answers);
            }
        }
    }
}
