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

/// Two of R's own data sets, which have ties, and what `wilcox.test` is shown to print of them in many a text:
/// `wilcox.test(mpg ~ am, data = mtcars)` and `wilcox.test(Ozone ~ Month, data = airquality, subset = Month %in%
/// c(5, 8))`, W and the p-value with all the digits that it prints.
#[test]
fn mann_whitney_is_as_r_prints_it() {
    let automatic = [
        21.4, 18.7, 18.1, 14.3, 24.4, 22.8, 19.2, 17.8, 16.4, 17.3, 15.2, 10.4, 10.4, 14.7, 21.5,
        15.5, 15.2, 13.3, 19.2,
    ];
    let manual = [21.0, 21.0, 22.8, 32.4, 30.4, 33.9, 27.3, 26.0, 30.4, 15.8, 19.7, 15.0, 21.4];
    let may = [
        41.0, 36.0, 12.0, 18.0, 28.0, 23.0, 19.0, 8.0, 7.0, 16.0, 11.0, 14.0, 18.0, 14.0, 34.0,
        6.0, 30.0, 11.0, 1.0, 11.0, 4.0, 32.0, 23.0, 45.0, 115.0, 37.0,
    ];
    let august = [
        39.0, 9.0, 16.0, 78.0, 35.0, 66.0, 122.0, 89.0, 110.0, 44.0, 28.0, 65.0, 22.0, 59.0, 23.0,
        31.0, 44.0, 21.0, 9.0, 45.0, 168.0, 73.0, 76.0, 118.0, 84.0, 85.0,
    ];
    let cases: [(&[f64], &[f64], f64, &str); 2] =
        [(&automatic, &manual, 42.0, "1.871e-3"), (&may, &august, 127.5, "1.208e-4")];
    for (experiment, control, w, p_value) in cases {
        let test = judge(experiment, control, &Rules::default()).test.expect("both have samples");
        assert_eq!(test.u, w);
        assert_eq!(format!("{:.3e}", test.p_value), p_value);
    }
}
