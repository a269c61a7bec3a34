//! One measurement, by every rule that can stand between it and a Pass.

use super::*;
use crate::model::policy::{Baseline, Direction, OnNoData, Signal};

fn gate(judge: Judge) -> Gate {
    Gate {
        name: "latency".into(),
        signal: Signal::Latency,
        provider: "prometheus".into(),
        query: "q".into(),
        samples: None,
        interval: Span::minutes(1),
        initial_delay: Span::ZERO,
        judge,
        min_samples: None,
        min_total_samples: None,
        failure_limit: Some(0),
        consecutive_failure_limit: None,
        consecutive_error_limit: 4,
        on_no_data: OnNoData::Hold,
        no_data_deadline: Span::minutes(30),
        max_age: Span::minutes(2),
        required: true,
        unit: Some("s".into()),
        traffic: None,
    }
}

fn threshold() -> Gate {
    gate(Judge::Threshold { min: None, max: Some(0.4) })
}

fn relative() -> Gate {
    gate(Judge::Relative {
        baseline: Baseline::Before,
        max_degradation: 0.5,
        direction: Direction::Increase,
        floor: 0.02,
    })
}

fn second(s: i64) -> Timestamp {
    Timestamp::from_second(s).unwrap()
}

fn value(value: f64, at: i64) -> Reading {
    Reading::Value { value, at: second(at) }
}

fn answer(value: Reading) -> Answer {
    Answer { value, samples: None, baseline: None, parts: Vec::new(), infos: Vec::new() }
}

/// Judged at 1,000 s, deployed at 500 s.
fn judged(gate: &Gate, answer: &Answer, baseline: Option<f64>) -> Judged {
    let history = History::default();
    judge(&Given { baseline, ..Given::new(gate, &history, second(500), second(1_000)) }, answer).0
}

#[test]
fn inside_and_outside_of_a_bound() {
    let pass = judged(&threshold(), &answer(value(0.39, 1_000)), None);
    assert_eq!((pass.verdict, pass.detail.as_str()), (Verdict::Pass, "0.39 s <= 0.4 s"));
    let fail = judged(&threshold(), &answer(value(0.412, 1_000)), None);
    assert_eq!((fail.verdict, fail.detail.as_str()), (Verdict::Fail, "0.412 s > 0.4 s"));
    assert_eq!((fail.value, fail.against), (Some(0.412), Some(0.4)));
}

#[test]
fn what_a_source_remarks_is_kept_and_changes_no_verdict() {
    let infos =
        ["might be\n no \u{1b}counter", &"x".repeat(300), "c", "d"].map(Into::into).to_vec();
    let remarked = Answer { infos, ..answer(value(0.39, 1_000)) };
    let judged = |answer| judged(&threshold(), answer, None);
    let (with, without) = (judged(&remarked), judged(&answer(value(0.39, 1_000))));
    assert_eq!(with.infos, ["might be no counter", &format!("{}…", "x".repeat(200)), "c"]);
    assert_eq!(Judged { infos: Vec::new(), ..with.clone() }, without);
    assert!(with.without_figures("withheld").infos.is_empty(), "they speak of what was measured");
}

#[test]
fn only_a_fresh_sample_counts() {
    let verdict = |at| judged(&threshold(), &answer(value(0.1, at)), None).verdict;
    assert_eq!(verdict(880), Verdict::Pass, "as old as maxAge");
    assert_eq!(verdict(879), Verdict::Absent, "older");
    assert_eq!(verdict(1_060), Verdict::Pass, "a clock a little ahead");
    assert_eq!(verdict(1_121), Verdict::Error, "a clock far ahead");
    let just_deployed = |at| {
        let (gate, history) = (threshold(), History::default());
        let given = Given::new(&gate, &history, second(990), second(1_000));
        judge(&given, &answer(value(0.1, at))).0.verdict
    };
    assert_eq!(just_deployed(990), Verdict::Absent, "the instant of the deploy");
    assert_eq!(just_deployed(991), Verdict::Pass);
}

#[test]
fn no_number_never_passes() {
    assert_eq!(judged(&threshold(), &answer(Reading::Absent), None).verdict, Verdict::Absent);
    for gate in [threshold(), relative()] {
        let nan = judged(&gate, &answer(value(f64::NAN, 1_000)), Some(1.0));
        assert_eq!(nan.verdict, Verdict::Absent);
        assert_eq!(nan.value, None);
    }
    let infinite = judged(&threshold(), &answer(value(f64::INFINITY, 1_000)), None);
    assert_eq!((infinite.verdict, infinite.detail.as_str()), (Verdict::Fail, "inf s > 0.4 s"));
}

#[test]
fn an_error_anywhere_is_an_error() {
    let broken = || Reading::Error("HTTP 503".into());
    let good = || value(0.1, 1_000);
    let answers = [
        Answer {
            value: broken(),
            samples: Some(good()),
            baseline: Some(good()),
            parts: Vec::new(),
            infos: Vec::new(),
        },
        Answer {
            value: good(),
            samples: Some(broken()),
            baseline: None,
            parts: Vec::new(),
            infos: Vec::new(),
        },
        Answer {
            value: good(),
            samples: None,
            baseline: Some(broken()),
            parts: Vec::new(),
            infos: Vec::new(),
        },
        Answer {
            value: Reading::Absent,
            samples: None,
            baseline: Some(broken()),
            parts: Vec::new(),
            infos: Vec::new(),
        },
    ];
    for answer in &answers {
        for gate in [threshold(), relative()] {
            let judged = judged(&gate, answer, Some(0.1));
            assert_eq!(judged.verdict, Verdict::Error);
            assert!(judged.detail.ends_with("HTTP 503"), "{}", judged.detail);
        }
    }
}

#[test]
fn too_few_samples_are_insufficient() {
    let gate = Gate { min_samples: Some(100.0), ..threshold() };
    let with = |samples| {
        let answer = Answer {
            value: value(0.1, 1_000),
            samples,
            baseline: None,
            parts: Vec::new(),
            infos: Vec::new(),
        };
        judged(&gate, &answer, None)
    };
    assert_eq!(with(Some(value(100.0, 1_000))).verdict, Verdict::Pass);
    assert_eq!(with(Some(value(100.0, 1_000))).samples, Some(100.0));
    let few = with(Some(value(99.0, 1_000)));
    assert_eq!((few.verdict, few.detail.as_str()), (Verdict::Insufficient, "99 samples < 100"));
    assert_eq!(few.value, Some(0.1), "what was measured is kept all the same");
    for none in [
        None,
        Some(Reading::Absent),
        Some(value(1e9, 400)),
        Some(value(f64::NAN, 1_000)),
        Some(value(f64::INFINITY, 1_000)),
    ] {
        assert_eq!(with(none.clone()).verdict, Verdict::Insufficient, "{none:?}");
    }
    // A value out of its bounds on too few samples is no failure either.
    let answer = Answer {
        value: value(9.0, 1_000),
        samples: None,
        baseline: None,
        parts: Vec::new(),
        infos: Vec::new(),
    };
    assert_eq!(judged(&gate, &answer, None).verdict, Verdict::Insufficient);
}

#[test]
fn a_relative_gate_needs_a_baseline() {
    let verdict = |baseline, recorded| {
        let answer = Answer {
            value: value(0.4, 1_000),
            samples: None,
            baseline,
            parts: Vec::new(),
            infos: Vec::new(),
        };
        judged(&relative(), &answer, recorded).verdict
    };
    assert_eq!(verdict(None, Some(0.3)), Verdict::Pass);
    assert_eq!(verdict(None, Some(0.2)), Verdict::Fail);
    assert_eq!(verdict(None, None), Verdict::Insufficient);
    assert_eq!(verdict(Some(Reading::Absent), None), Verdict::Insufficient);
    assert_eq!(verdict(None, Some(f64::NAN)), Verdict::Insufficient);
    // The first measurement brings its baseline, from before the deploy, along.
    assert_eq!(verdict(Some(value(0.3, 500)), None), Verdict::Pass);
    assert_eq!(verdict(Some(value(0.2, 500)), None), Verdict::Fail);
    // What was recorded comes first.
    assert_eq!(verdict(Some(value(0.3, 500)), Some(0.2)), Verdict::Fail);
}
