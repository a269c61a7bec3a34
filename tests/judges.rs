//! The statistical judges against references that others computed.

use ringward::decide::gate::mann_whitney::{Class, EffectLimits, EffectSize, Rules, judge};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    experiment: Vec<f64>,
    control: Vec<f64>,
    confidence: f64,
    u: f64,
    p_value: Option<f64>,
    interval: (f64, f64),
    estimate: f64,
    cles: f64,
    mean_ratio: Option<f64>,
    class: String,
}

fn close(ours: f64, theirs: f64) -> bool {
    (ours - theirs).abs() <= 1e-9 * theirs.abs().max(1.0)
}

#[test]
fn mann_whitney_is_as_scipy_and_the_inverted_test_have_it() {
    let cases: Vec<Case> =
        serde_json::from_str(include_str!("judges/mann_whitney.json")).expect("the fixture");
    assert!(cases.len() >= 200);
    let mut classes = std::collections::BTreeSet::new();
    for (i, case) in cases.iter().enumerate() {
        let rules = Rules { confidence: case.confidence, ..Rules::default() };
        let outcome = judge(&case.experiment, &case.control, &rules);
        let test = outcome.test.expect("both sides have samples");
        assert!(close(test.u, case.u), "case {i}: U {} is not {}", test.u, case.u);
        let p = case.p_value.unwrap_or(1.0);
        // Relative, since what matters of a p-value is how small it is.
        assert!((test.p_value / p - 1.0).abs() < 1e-9, "case {i}: p {} is not {p}", test.p_value);
        assert!(
            close(test.interval.0, case.interval.0) && close(test.interval.1, case.interval.1),
            "case {i}: {:?} is not {:?}",
            test.interval,
            case.interval
        );
        assert!(close(test.estimate, case.estimate), "case {i}: estimate {}", test.estimate);
        match (outcome.effect, case.mean_ratio) {
            (Some(ours), Some(theirs)) => assert!(close(ours, theirs), "case {i}: ratio {ours}"),
            (ours, theirs) => assert_eq!(ours, theirs, "case {i}"),
        }
        let class = match outcome.class {
            Class::Pass => "Pass",
            Class::High => "High",
            Class::Low => "Low",
            Class::Nodata => "Nodata",
        };
        assert_eq!(class, case.class, "case {i}");
        classes.insert(class);
        let effect = EffectLimits { measure: EffectSize::Cles, ..EffectLimits::default() };
        let cles = judge(&case.experiment, &case.control, &Rules { effect, ..rules }).effect;
        assert!(close(cles.expect("always defined"), case.cles), "case {i}: cles {cles:?}");
    }
    assert_eq!(classes.len(), 3, "the cases are of every class: {classes:?}");
}
