//! Measurements as the API tells them, put to other gates.

use super::*;
use crate::{
    declare::{Snapshot, compile},
    model::plan::Plan,
    show::view::QuestionView,
    sim::replay::End,
};

fn plan(gates: &str) -> Plan {
    let text = format!(
        r#"
apiVersion: ringward.dev/v1alpha1
kind: RingPolicy
metadata: {{name: p}}
spec: {{soak: {{duration: 3m}}, gates: [{gates}]}}
---
apiVersion: ringward.dev/v1alpha1
kind: GateTemplate
metadata: {{name: t}}
spec:
  signal: errors
  provider: prometheus
  query: up
  counts:
    requests: a[{{{{interval}}}}]
    errors: b[{{{{interval}}}}]
    stableRequests: c[{{{{interval}}}}]
    stableErrors: d[{{{{interval}}}}]
"#
    );
    let rings = r#"
apiVersion: ringward.dev/v1alpha1
kind: Cluster
metadata: {name: c}
spec: {region: r, jurisdiction: IE, metrics: [{name: prometheus, type: prometheus, url: "http://a"}]}
---
apiVersion: ringward.dev/v1alpha1
kind: RingPlan
metadata: {name: checkout}
spec:
  target: {kind: Deployment, namespace: shop, name: checkout, container: app}
  policy: p
  rings: [{name: beta, clusters: {names: [c]}}]
"#;
    let files = [("policies/p.yaml", text.as_str()), ("rings/r.yaml", rings)];
    let files = files.map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec())).into();
    let compiled = compile(&Snapshot { commit: "c".into(), files });
    assert!(!compiled.has_errors(), "{:#?}", compiled.diagnostics);
    Plan::clone(compiled.plans["checkout"].as_ref().unwrap())
}

/// The `n`-th minute's.
fn item(n: i64, verdict: Verdict, value: Option<f64>, figures: &[(&str, f64)]) -> MeasurementView {
    let at = Timestamp::from_second(1_767_225_600 + 60 * n).unwrap();
    MeasurementView {
        seq: n as u64,
        key: format!("checkout@1/beta/c/1/g/{n}").into(),
        gate: "g".into(),
        cluster: "c".into(),
        asked_at: Some(at),
        at,
        asked: Vec::new(),
        verdict,
        value,
        samples: None,
        against: None,
        detail: "as it was".into(),
        infos: Vec::new(),
        figures: figures.iter().map(|(name, v)| ((*name).into(), FigureView(*v))).collect(),
        control: None,
        taken: None,
        withheld: false,
    }
}

fn judged(plan: &Plan, items: &[MeasurementView]) -> (Vec<Verdict>, End) {
    let version = "1".into();
    let (ring, deployed) = (&plan.rings[0], Timestamp::UNIX_EPOCH);
    let case = Case { plan, ring, gate: &ring.policy.gates[0], version: &version, deployed };
    let (course, was) = judge(case, items, None).unwrap();
    assert_eq!(was.len(), items.len());
    (course.steps.iter().map(|step| step.judged.verdict).collect(), course.end)
}

#[test]
fn another_bound_over_the_same_numbers() {
    let items: Vec<_> = [0.2, 0.3, 0.45, 0.3]
        .into_iter()
        .enumerate()
        .map(|(n, value)| item(n as i64, Verdict::Pass, Some(value), &[]))
        .collect();
    let loose = plan("{name: g, template: t, threshold: {max: 0.5}}");
    let (verdicts, end) = judged(&loose, &items);
    assert_eq!(verdicts, [Verdict::Pass; 4]);
    assert!(matches!(end, End::Passed { .. }), "{end:?}");
    let tight = plan("{name: g, template: t, threshold: {max: 0.4}}");
    let (verdicts, end) = judged(&tight, &items);
    assert_eq!(verdicts[2], Verdict::Fail);
    assert!(matches!(end, End::Failed { at, .. } if at == items[2].at), "{end:?}");
}

#[test]
fn what_was_an_error_or_absent_stays_one() {
    let items = [
        item(0, Verdict::Error, None, &[]),
        item(1, Verdict::Absent, None, &[]),
        item(2, Verdict::Pass, Some(0.1), &[]),
    ];
    let plan = plan("{name: g, template: t, threshold: {max: 0.5}}");
    let (verdicts, _) = judged(&plan, &items);
    assert_eq!(verdicts, [Verdict::Error, Verdict::Absent, Verdict::Pass]);
}

#[test]
fn counts_that_were_recorded_are_judged_by_either_judge_that_counts() {
    let figures = |errors: f64| {
        [
            ("canaryRequests", 1_000.0),
            ("canaryErrors", errors),
            ("stableRequests", 9_000.0),
            ("stableErrors", 45.0),
        ]
    };
    let items: Vec<_> =
        (0..4).map(|n| item(n, Verdict::Insufficient, None, &figures(60.0))).collect();
    let sequential = plan("{name: g, template: t, sequential: {phi: 1}}");
    let (verdicts, _) = judged(&sequential, &items);
    assert_eq!(verdicts.first(), Some(&Verdict::Fail), "{verdicts:?}");
    // Windows are summed up of what was counted.
    let burn = "{name: g, template: t, burnRate: {objective: 99%, windows: [{rate: 5, long: 2m, short: 1m}]}}";
    let (verdicts, _) = judged(&plan(burn), &items);
    assert_eq!(verdicts, [Verdict::Fail; 4]);
    // And nobody counted for a threshold.
    let number = plan("{name: g, template: t, threshold: {max: 1}}");
    assert_eq!(judged(&number, &items).0, [Verdict::Absent; 4]);
}

#[test]
fn alerts_are_judged_by_other_matchers_as_far_as_it_was_recorded_which_fired() {
    let fired = |n: i64, firing: f64| {
        let query = serde_json::json!({"severity": "page"});
        let mut item = item(n, Verdict::Pass, None, &[("firing", firing)]);
        item.asked = vec![QuestionView {
            role: "alerts".into(),
            source: Some("prometheus".into()),
            kind: Some("prometheus".into()),
            query,
            of: None,
            over: None,
            window: None,
        }];
        item
    };
    let items = [fired(0, 0.0), fired(1, 2.0)];
    let verdicts = |matchers: &str| {
        let gate = format!("{{name: g, failureLimit: 9, alerts: {{matchers: {{{matchers}}}}}}}");
        judged(&plan(&gate), &items).0
    };
    assert_eq!(verdicts("severity: page"), [Verdict::Pass, Verdict::Fail]);
    // None of those that fired is none of fewer; which of the two it was, nobody wrote down.
    assert_eq!(verdicts("severity: page, service: x"), [Verdict::Pass, Verdict::Error]);
    assert_eq!(verdicts("service: x"), [Verdict::Error; 2]);
}

#[test]
fn figures_that_stay_in_their_jurisdiction_are_no_evidence() {
    let closed = MeasurementView { withheld: true, ..item(0, Verdict::Pass, None, &[]) };
    let plan = plan("{name: g, template: t, threshold: {max: 1}}");
    let version = "1".into();
    let (ring, deployed) = (&plan.rings[0], Timestamp::UNIX_EPOCH);
    let case = Case { plan: &plan, ring, gate: &ring.policy.gates[0], version: &version, deployed };
    let failure = judge(case, &[closed], None).unwrap_err();
    assert!(failure.message.contains("stay in their jurisdiction"), "{}", failure.message);
}

#[test]
fn a_shorter_interval_takes_no_credit_from_what_was_measured() {
    let often =
        plan("{name: g, template: t, threshold: {max: 1}, interval: 5s, noDataDeadline: 1m}");
    let items: Vec<_> = (0..5).map(|n| item(n, Verdict::Pass, Some(0.5), &[])).collect();
    assert!(matches!(judged(&often, &items).1, End::Passed { .. }));
}

#[test]
fn a_cluster_that_left_the_ring_is_not_waited_for() {
    let plan = plan("{name: g, template: t, threshold: {max: 1}}");
    let mut items: Vec<_> = (0..5).map(|n| item(n, Verdict::Pass, Some(0.5), &[])).collect();
    let gone = MeasurementView { cluster: "gone".into(), ..items[0].clone() };
    items.insert(0, gone);
    let version = "1".into();
    let (ring, deployed) = (&plan.rings[0], Timestamp::UNIX_EPOCH);
    let case = Case { plan: &plan, ring, gate: &ring.policy.gates[0], version: &version, deployed };
    let (course, _) = judge(case, &items, None).unwrap();
    assert!(matches!(course.end, End::Passed { .. }), "{:?}", course.end);
}

#[test]
fn the_attempt_stands_in_the_key() {
    let first = item(7, Verdict::Pass, Some(0.5), &[]);
    assert_eq!(attempt(&first), Some(1));
    let odd = MeasurementView { key: "?".into(), ..first };
    assert_eq!(attempt(&odd), None);
}

#[test]
fn a_ring_that_passed_was_measured_no_more_and_passes_again() {
    let plan = plan("{name: g, template: t, threshold: {max: 1}}");
    let version = "1".into();
    let (ring, deployed) = (&plan.rings[0], Timestamp::UNIX_EPOCH);
    let case = Case { plan: &plan, ring, gate: &ring.policy.gates[0], version: &version, deployed };
    let end = |items: &[MeasurementView], passed| judge(case, items, passed).unwrap().0.end;
    let items: Vec<_> = (0..3).map(|n| item(n, Verdict::Pass, Some(0.5), &[])).collect();
    let third = item(3, Verdict::Pass, None, &[]).at;
    assert_eq!(end(&items, None), End::Open("2m of 3m were soaked".into()));
    assert_eq!(end(&items, Some(third)), End::Passed { at: third });
    let bad: Vec<_> =
        (0..3).map(|n| item(n, Verdict::Pass, Some(f64::from(n as i32)), &[])).collect();
    assert!(matches!(end(&bad, Some(third)), End::Failed { .. }));
    // Much later says nothing about the time between.
    let late = item(30, Verdict::Pass, None, &[]).at;
    assert!(matches!(end(&items, Some(late)), End::Open(_)));
}
