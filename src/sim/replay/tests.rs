//! One gate of one ring of two clusters, told what a test says.

use std::sync::Arc;

use super::*;
use crate::{
    clock::{Clock, SystemClock},
    decide::part::Told,
    declare::{Snapshot, compile},
    model::{
        ring::{Artifact, ProviderKind, Target, TargetKind},
        time::Mono,
    },
    sim::loopback::{Defect, Fleet, Site, Workload},
};

fn plan(gate: &str) -> Plan {
    let text = format!(
        r#"
apiVersion: ringward.dev/v1alpha1
kind: RingPolicy
metadata: {{name: p}}
spec:
  soak: {{duration: 5m, onBreach: reset}}
  gates:
    - {gate}
---
apiVersion: ringward.dev/v1alpha1
kind: GateTemplate
metadata: {{name: t}}
spec:
  signal: errors
  provider: prometheus
  query: up{{plan="{{{{plan}}}}",cluster="{{{{cluster}}}}"}}
  samples: n{{plan="{{{{plan}}}}"}}
---
apiVersion: ringward.dev/v1alpha1
kind: GateTemplate
metadata: {{name: failing}}
spec:
  signal: errors
  provider: prometheus
  query: |
    sum(rate(http_requests_total{{service="{{{{plan}}}}",code=~"5.."}}[2m]))
      / sum(rate(http_requests_total{{service="{{{{plan}}}}"}}[2m]))
"#
    );
    let rings = r#"
apiVersion: ringward.dev/v1alpha1
kind: Cluster
metadata: {name: a}
spec: {region: r, jurisdiction: IE, metrics: [{name: prometheus, type: prometheus, url: "http://a"}]}
---
apiVersion: ringward.dev/v1alpha1
kind: Cluster
metadata: {name: b}
spec: {region: r, jurisdiction: IE, metrics: [{name: prometheus, type: prometheus, url: "http://b"}]}
---
apiVersion: ringward.dev/v1alpha1
kind: RingPlan
metadata: {name: checkout}
spec:
  target: {kind: Deployment, namespace: shop, name: checkout, container: app}
  policy: p
  rings: [{name: beta, clusters: {names: [a, b]}}]
"#;
    let files = [("policies/p.yaml", text.as_str()), ("rings/r.yaml", rings)];
    let files = files.map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec())).into();
    let compiled = compile(&Snapshot { commit: "c".into(), files });
    assert!(!compiled.has_errors(), "{:#?}", compiled.diagnostics);
    Plan::clone(compiled.plans["checkout"].as_ref().unwrap())
}

fn minute(n: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + 60 * n).unwrap()
}

/// One value a minute for each cluster; nothing where there is none.
fn course(plan: &Plan, a: &[Option<f64>], b: &[Option<f64>]) -> Course {
    let version = "1".into();
    let ring = &plan.rings[0];
    let deployed = minute(0);
    let case = Case { plan, ring, gate: &ring.policy.gates[0], version: &version, deployed };
    let mut replay = Replay::new(case, ["a".into(), "b".into()]);
    for (n, (a, b)) in a.iter().zip(b).enumerate() {
        let at = minute(n as i64 + 1);
        for (cluster, value) in [("a", a), ("b", b)] {
            let told = |value: f64| Reading::Value { value, at };
            let value = value.map_or(Reading::Absent, told);
            let answer = Answer {
                value,
                samples: Some(told(100.0)),
                baseline: None,
                parts: vec![],
                infos: Vec::new(),
            };
            replay.take(&cluster.into(), at, &[], &answer);
        }
    }
    replay.finish()
}

fn some<const N: usize>(values: [f64; N]) -> Vec<Option<f64>> {
    values.into_iter().map(Some).collect()
}

#[test]
fn it_passes_once_every_cluster_was_healthy_for_the_soak() {
    let plan = plan("{name: g, template: t, threshold: {max: 1}}");
    let passed = course(&plan, &some([0.0; 9]), &some([0.0; 9]));
    assert_eq!(passed.end, End::Passed { at: minute(6) });
    assert_eq!(passed.first_fail, None);
    // A gap on one of them stops what both are credited, until it passes again.
    let mut gap = some([0.0; 9]);
    gap[2] = None;
    let later = course(&plan, &some([0.0; 9]), &gap);
    assert_eq!(later.end, End::Passed { at: minute(7) });
    let short = course(&plan, &some([0.0; 4]), &some([0.0; 4]));
    assert_eq!(short.end, End::Open("3m of 5m were soaked".into()));
    let silent = course(&plan, &[], &[]);
    assert_eq!(silent.end, End::Open("nothing was measured".into()));
}

#[test]
fn it_fails_as_the_ring_would_and_what_comes_after_changes_nothing() {
    let one = plan("{name: g, template: t, threshold: {max: 1}}");
    let failed = course(&one, &some([0.0, 2.0, 0.0]), &some([0.0; 3]));
    assert_eq!(failed.first_fail, Some(minute(2)));
    let End::Failed { at, why } = failed.end else { panic!("{:?}", failed.end) };
    assert_eq!((at, why.as_str()), (minute(2), "g on a: 2 > 1 (1 failing, 0 allowed)"));

    let borne = plan("{name: g, template: t, threshold: {max: 1}, failureLimit: 1}");
    let values = some([0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    let reset = course(&borne, &values, &some([0.0; 10]));
    // Two minutes were credited before, and count no more.
    assert_eq!((reset.first_fail, reset.end), (Some(minute(3)), End::Passed { at: minute(9) }));

    let row = plan(
        "{name: g, template: t, threshold: {max: 1}, failureLimit: 9, consecutiveFailureLimit: 1}",
    );
    let twice = course(&row, &some([2.0, 0.0, 2.0, 2.0]), &some([0.0; 4]));
    assert!(matches!(twice.end, End::Failed { at, .. } if at == minute(4)), "{:?}", twice.end);
}

#[test]
fn a_minimum_over_the_soak_is_waited_for() {
    let plan = plan("{name: g, template: t, threshold: {max: 1}, minTotalSamples: 1500}");
    let passed = course(&plan, &some([0.0; 9]), &some([0.0; 9]));
    // 200 a minute.
    assert_eq!(passed.end, End::Passed { at: minute(8) });
}

#[test]
fn what_it_would_wait_for_is_told() {
    let plain = plan("{name: g, template: t, threshold: {max: 1}}");
    let mut gone = some([0.0; 4]);
    gone[3] = None;
    let silent = course(&plain, &some([0.0; 4]), &gone);
    let why = "3m of 5m were soaked, and the last word on b is Absent: no series, or not a number";
    assert_eq!(silent.end, End::Open(why.into()));
    let few = plan("{name: g, template: t, threshold: {max: 1}, minTotalSamples: 5000}");
    let few = course(&few, &some([0.0; 9]), &some([0.0; 9]));
    let why = "8m of 5m were soaked, and 1800 of 5000 samples were counted";
    assert_eq!(few.end, End::Open(why.into()));
}

#[test]
fn no_data_for_too_long_fails_where_the_gate_says_so() {
    let judged = |more: &str, values: &[Option<f64>]| {
        let gate = format!("{{name: g, template: t, threshold: {{max: 1}}, {more}}}");
        course(&plan(&gate), values, &vec![Some(0.0); values.len()]).end
    };
    let mut silent = some([0.0; 9]);
    silent[2..].fill(None);
    let fails = "noDataDeadline: 3m, onNoData: fail";
    let why = "g on a had no usable data for 3m";
    // The third minute's is the first that is missing.
    assert_eq!(judged(fails, &silent), End::Failed { at: minute(6), why: why.into() });
    assert!(matches!(judged("noDataDeadline: 3m", &silent), End::Open(_)));
    assert!(matches!(judged("noDataDeadline: 8m, onNoData: fail", &silent), End::Open(_)));
    let mut back = silent.clone();
    back[4] = Some(0.0);
    assert!(matches!(judged(fails, &back), End::Failed { at, .. } if at == minute(9)));
}

#[test]
fn a_breach_before_anything_is_credited_takes_no_samples_back() {
    let plan =
        plan("{name: g, template: t, threshold: {max: 1}, failureLimit: 1, minTotalSamples: 1400}");
    let values = some([2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    let passed = course(&plan, &values, &some([0.0; 8]));
    assert_eq!(passed.end, End::Passed { at: minute(7) });
}

#[test]
fn a_judge_is_asked_what_it_would_be_asked() {
    let plan = plan("{name: g, alerts: {matchers: {severity: page, service: \"{{plan}}\"}}}");
    let version = "1".into();
    let ring = &plan.rings[0];
    let case = Case {
        plan: &plan,
        ring,
        gate: &ring.policy.gates[0],
        version: &version,
        deployed: minute(0),
    };
    let mut replay = Replay::new(case, ["a".into()]);
    let source = ring.clusters[0].metrics.first();
    for (n, firing) in [false, true].into_iter().enumerate() {
        let at = minute(n as i64 + 1);
        let (parts, _) = replay.asks(&ring.clusters[0], source, at);
        let told = if firing { vec![Default::default()] } else { vec![] };
        let parts_told = vec![Told::Alerts(told)];
        let answer = Answer {
            value: Reading::Absent,
            samples: None,
            baseline: None,
            parts: parts_told,
            infos: Vec::new(),
        };
        replay.take(&"a".into(), at, &parts, &answer);
    }
    let course = replay.finish();
    assert!(matches!(course.end, End::Failed { at, .. } if at == minute(2)), "{:?}", course.end);
}

/// The last hour of a service in a cluster on loopback, which has run one version for long.
async fn last_hour(gate: &str, defect: Option<Defect>) -> Course {
    let folder = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new(Mono(0)));
    let image = Artifact(format!("registry/checkout@sha256:{}", "1".repeat(64)));
    let target = Target {
        kind: TargetKind::Deployment { container: "app".into() },
        namespace: "shop".into(),
        name: "checkout".into(),
    };
    let workload = Workload { plan: "checkout".into(), target, image: image.clone(), replicas: 2 };
    let site = Site {
        cluster: "a".into(),
        connection: "a".into(),
        region: "a".into(),
        metrics: ["http://a".to_owned()].into(),
        workloads: vec![workload],
        deploy_time: Span::seconds(1),
    };
    let fleet = Fleet::start(&[site], clock.clone(), 7, folder.path()).await.unwrap();
    if let Some(defect) = defect {
        fleet.defect(&"a".into(), &image, defect).unwrap();
    }
    let (kind, url) = (ProviderKind::Prometheus, fleet.metrics()["http://a"].clone());
    let source = MetricSource { name: "here".into(), kind, url, jurisdiction: None };
    let to = Timestamp::from_second(clock.now().wall.as_second()).unwrap();
    let from = to.saturating_sub(Span::minutes(60).to_signed()).unwrap();
    let past = Past::new(source, (from, to), BTreeMap::new(), clock).unwrap();
    let plan = plan(gate);
    let version = "1".into();
    let ring = &plan.rings[0];
    let case =
        Case { plan: &plan, ring, gate: &ring.policy.gates[0], version: &version, deployed: from };
    past.judge(case, &[&ring.clusters[0]]).await.unwrap()
}

const FAILING: &str = "{name: g, template: failing, threshold: {max: 0.05}}";

#[tokio::test]
async fn the_past_of_a_source_is_judged_from_its_beginning() {
    let healthy = last_hour(FAILING, None).await;
    assert_eq!(healthy.steps.len(), 60);
    let End::Passed { at } = healthy.end else { panic!("{:?}", healthy.end) };
    // The first of them is a minute after the beginning, and five more are soaked.
    assert_eq!(at, healthy.steps[5].at);

    let late = FAILING.replace("threshold", "initialDelay: 3m, threshold");
    let late = last_hour(&late, None).await;
    // From the third minute to the sixtieth.
    assert_eq!(late.steps.len(), 58);

    let defect = Defect { failures: 0.2, ..Defect::default() };
    let failing = last_hour(FAILING, Some(defect)).await;
    let End::Failed { at, why } = failing.end else { panic!("{:?}", failing.end) };
    assert_eq!(at, failing.steps[0].at);
    assert!(why.contains("> 0.05"), "{why}");
}

#[tokio::test]
async fn what_no_source_keeps_is_not_judged_over_its_past() {
    let plan = plan("{name: g, kubernetes: {}}");
    let kind = ProviderKind::Prometheus;
    let source = MetricSource {
        name: "s".into(),
        kind,
        url: "http://127.0.0.1:1".into(),
        jurisdiction: None,
    };
    let clock = Arc::new(SystemClock::new(Mono(0)));
    let version = "1".into();
    let ring = &plan.rings[0];
    let case = Case {
        plan: &plan,
        ring,
        gate: &ring.policy.gates[0],
        version: &version,
        deployed: minute(0),
    };
    let over = |from, to| {
        let past = Past::new(source.clone(), (from, to), BTreeMap::new(), clock.clone()).unwrap();
        async move { past.judge(case, &[&ring.clusters[0]]).await.unwrap_err().to_string() }
    };
    assert!(over(minute(0), minute(60)).await.contains("recorded nowhere"));
    assert!(over(minute(0), minute(0)).await.contains("nothing between them"));
    let second = minute(0).checked_add(Span::seconds(1).to_signed()).unwrap();
    assert!(over(minute(0), second).await.contains("the first comes at"));
    assert!(over(minute(0), minute(20_000)).await.contains("take a shorter time"));
}
