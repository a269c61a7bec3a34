//! The statistics themselves are checked against SciPy in `tests/judges.rs`; here is what is made of them.

use super::*;

const CONTROL: [f64; 10] = [10.0, 11.0, 9.0, 10.5, 9.5, 10.2, 9.8, 10.1, 9.9, 10.4];

fn shifted(by: f64) -> Vec<f64> {
    CONTROL.iter().map(|v| v + by).collect()
}

fn class(experiment: &[f64], rules: &Rules) -> Class {
    judge(experiment, &CONTROL, rules).class
}

#[test]
fn a_shift_that_is_certain_fails_in_the_bad_direction_only() {
    let rules = Rules::default();
    assert_eq!(class(&CONTROL, &rules), Class::Pass);
    assert_eq!(class(&shifted(3.0), &rules), Class::High);
    assert_eq!(class(&shifted(-3.0), &rules), Class::Low);
    let increase = Rules { direction: Worse::Increase, ..rules };
    assert_eq!(class(&shifted(3.0), &increase), Class::High);
    assert_eq!(class(&shifted(-3.0), &increase), Class::Pass);
    let decrease = Rules { direction: Worse::Decrease, ..rules };
    assert_eq!(class(&shifted(3.0), &decrease), Class::Pass);
    assert_eq!(class(&shifted(-3.0), &decrease), Class::Low);
    let outcome = judge(&shifted(3.0), &CONTROL, &rules);
    assert_eq!(outcome.ruling.verdict, Verdict::Fail);
    assert_eq!(outcome.ruling.detail, "shift [2.4, 3.6] above the tolerance of 0.75");
}

#[test]
fn a_shift_that_does_no_harm_is_told_with_its_reason() {
    let detail = |by: f64, rules: &Rules| judge(&shifted(by), &CONTROL, rules).ruling.detail;
    let usual = Rules::default();
    assert_eq!(detail(0.0, &usual), "shift [-0.6, 0.6] not significantly off the tolerance of 0");
    assert_eq!(
        detail(-3.0, &Rules { direction: Worse::Increase, ..usual }),
        "shift [-3.6, -2.4] below the tolerance of 0.75, and only higher is worse"
    );
    assert_eq!(
        detail(3.0, &Rules { direction: Worse::Decrease, ..usual }),
        "shift [2.4, 3.6] above the tolerance of 0.75, and only lower is worse"
    );
    let ratio = EffectLimits { allowed_increase: Some(1.5), ..EffectLimits::default() };
    assert_eq!(
        detail(3.0, &Rules { effect: ratio, ..usual }),
        "shift [2.4, 3.6] above the tolerance of 0.75, yet the ratio of means is 1.299 < 1.5"
    );
    let cles = EffectLimits {
        measure: EffectSize::Cles,
        allowed_decrease: Some(-1.0),
        ..EffectLimits::default()
    };
    assert_eq!(
        detail(-3.0, &Rules { effect: cles, ..usual }),
        "shift [-3.6, -2.4] below the tolerance of 0.75, yet the share of higher pairs is 0 > -1"
    );
}

#[test]
fn a_tolerance_of_all_of_the_shift_tolerates_it() {
    let rules = Rules { tolerance: 1.0, ..Rules::default() };
    assert_eq!(class(&shifted(3.0), &rules), Class::Pass);
}

#[test]
fn constants() {
    let rules = Rules::default();
    let outcome = judge(&[5.0; 4], &[3.0; 6], &rules);
    assert_eq!(outcome.test.unwrap().interval, (2.0, 2.0));
    assert_eq!(outcome.class, Class::High);
    let outcome = judge(&[3.0; 4], &[3.0; 6], &rules);
    assert_eq!((outcome.class, outcome.effect), (Class::Pass, Some(1.0)));
    assert_eq!(outcome.test.unwrap().p_value, 1.0);
    assert_eq!(judge(&[0.0; 4], &[0.0; 4], &rules).effect, Some(1.0), "the same samples");
}

#[test]
fn an_empty_side_is_insufficient() {
    for (x, y) in [(&[][..], &[1.0][..]), (&[1.0], &[]), (&[], &[]), (&[f64::NAN], &[1.0])] {
        let outcome = judge(x, y, &Rules::default());
        assert_eq!(outcome.class, Class::Nodata);
        assert_eq!(outcome.ruling.verdict, Verdict::Insufficient);
    }
    let more = Rules { min_samples: 11, ..Rules::default() };
    assert_eq!(class(&shifted(3.0), &more), Class::Nodata);
}

#[test]
fn nan_is_removed_or_nought() {
    let replace = Rules { nan: Nan::Replace, ..Rules::default() };
    let nan = [f64::NAN; 10];
    let outcome = judge(&[4.0, 5.0, 6.0, 5.0, 4.0, 5.0, 6.0, 5.5], &nan, &replace);
    assert_eq!((outcome.class, outcome.effect), (Class::High, None), "the ratio is undefined");
    assert_eq!(judge(&nan, &nan, &replace).class, Class::Pass);
    let outcome = judge(&[f64::NAN, 1.0, 2.0], &CONTROL, &Rules::default());
    assert_eq!(outcome.experiment, Side { count: 2, mean: 1.5 });
}

#[test]
fn outliers_are_kept_or_left_out() {
    let many: Vec<f64> = (0..200).map(|i| f64::from(i % 10)).chain([1e6]).collect();
    let kept = judge(&many, &many, &Rules::default());
    assert_eq!(kept.experiment.count, 201);
    let remove = Rules { outliers: Outliers::Remove { factor: 3.0 }, ..Rules::default() };
    assert_eq!(judge(&many, &many, &remove).experiment.count, 200);
    // Of a few samples the 99th percentile is close to the greatest, yet below it.
    let few = [1.0, 2.0, 3.0, 4.0, 1e6];
    assert_eq!(judge(&few, &few, &remove).experiment.count, 4);
    assert_eq!(judge(&[7.0], &[7.0], &remove).experiment.count, 1);
}

#[test]
fn the_effect_must_reach_its_limit() {
    let limited = |effect| Rules { effect, ..Rules::default() };
    let ratio = EffectLimits { allowed_increase: Some(1.5), ..EffectLimits::default() };
    assert_eq!(class(&shifted(3.0), &limited(ratio)), Class::Pass, "30% higher");
    assert_eq!(class(&shifted(6.0), &limited(ratio)), Class::High, "60% higher");
    assert!(!judge(&shifted(6.0), &CONTROL, &limited(ratio)).critical, "no limit, not critical");
    let critical = EffectLimits { critical_increase: Some(1.55), ..ratio };
    assert!(judge(&shifted(6.0), &CONTROL, &limited(critical)).critical);
    assert!(!judge(&shifted(5.2), &CONTROL, &limited(critical)).critical);
    let cles = EffectLimits {
        measure: EffectSize::Cles,
        allowed_decrease: Some(0.1),
        critical_decrease: Some(0.0),
        ..EffectLimits::default()
    };
    let outcome = judge(&shifted(-3.0), &CONTROL, &limited(cles));
    assert_eq!((outcome.class, outcome.effect, outcome.critical), (Class::Low, Some(0.0), true));
    assert_eq!(judge(&CONTROL, &CONTROL, &limited(cles)).effect, Some(0.5));
}
