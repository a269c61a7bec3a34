use std::collections::BTreeMap;

use super::*;
use crate::model::{
    calendar::{Deny, Window},
    graph::{After, RingGraph},
    plan::OnNewer,
    policy::{Concurrency, Gate, Judge, OnNoData, Signal},
    residency::{Demand, Enforcement, Rule, Territory},
    ring::{Cluster, Target, TargetKind},
    time::Span,
};

fn territory(members: &[&str]) -> Territory {
    let name = members.join("+");
    let members = members.iter().map(|m| (*m).into()).collect();
    Territory { name: name.as_str().into(), members }
}

fn gate(name: &str) -> Gate {
    Gate {
        name: name.into(),
        signal: Signal::Errors,
        provider: "prometheus".into(),
        query: "up".into(),
        samples: Some("count".into()),
        interval: Span::minutes(1),
        initial_delay: Span::ZERO,
        judge: Judge::Threshold { min: Some(0.9), max: None },
        min_samples: Some(100.0),
        min_total_samples: None,
        failure_limit: Some(2),
        consecutive_failure_limit: None,
        consecutive_error_limit: 4,
        on_no_data: OnNoData::Hold,
        no_data_deadline: Span::minutes(30),
        max_age: Span::minutes(5),
        required: true,
        unit: None,
        traffic: None,
    }
}

fn rule(id: &str, demand: Demand) -> Rule {
    Rule {
        id: id.into(),
        enforcement: Enforcement::Waivable,
        demand,
        allow_empty: false,
        policy: None,
        declared_at: "policies/residency.yaml:1".into(),
    }
}

fn in_flight(rings: u32) -> Demand {
    Demand::MaxInFlight { jurisdiction: territory(&["DE", "IE"]), rings }
}

fn calendar(name: &str) -> Calendar {
    Calendar {
        name: name.into(),
        time_zone: "Europe/Dublin".into(),
        allow: vec![Window { cron: "0 0 9 * * *".into(), duration: Span::minutes(60) }],
        deny: Vec::new(),
        applies_to: vec![AppliesTo::Start],
        in_flight: InFlight::FinishCluster,
    }
}

/// `first` -> `second`, each of four clusters under the same policy.
fn plan() -> Plan {
    let cluster = |name: String| Cluster {
        name: name.as_str().into(),
        labels: BTreeMap::new(),
        region: "r".into(),
        jurisdiction: "IE".into(),
        data_classes: Vec::new(),
        failover_pair: None,
        connection: name,
        metrics: Vec::new(),
        verified_until: None,
    };
    let ring = |name: &str| Ring {
        name: name.into(),
        clusters: (1..=4).map(|n| cluster(format!("{name}-{n}"))).collect(),
        policy: Policy {
            name: "p".into(),
            soak: Soak { duration: Span::minutes(60), on_breach: OnBreach::Reset, backfill: false },
            deadline: Span::minutes(15),
            concurrency: Concurrency::Clusters(2),
            failure_budget: 1,
            gates: vec![gate("errors")],
            rollback: Rollback::default(),
            approvals: Some(Approvals {
                count: 1,
                roles: vec!["approver".into(), "lead".into()],
                jurisdiction: Some(territory(&["DE", "IE"])),
                exclude_author: false,
                expires: Some(Span::minutes(60)),
            }),
            calendars: vec![calendar("hours")],
            min_dwell: Span::minutes(1),
            after_watch: Span::ZERO,
        }
        .into(),
    };
    let first = After::default();
    let second = After { rings: vec!["first".into()], ..After::default() };
    let graph = RingGraph::new(vec![("first".into(), first), ("second".into(), second)]).unwrap();
    let mut plan = Plan {
        name: "checkout".into(),
        hash: "".into(),
        commit: "1".into(),
        target: Target {
            kind: TargetKind::Deployment { container: "app".into() },
            namespace: "shop".into(),
            name: "checkout".into(),
        },
        data_classes: Vec::new(),
        on_newer: OnNewer::QueueLatest,
        on_policy_change: Default::default(),
        max_skew: Some(2),
        lanes: Default::default(),
        graph,
        rings: vec![ring("first"), ring("second")],
        residency: vec![rule("R1", in_flight(2))],
    };
    plan.hash = plan.fingerprint();
    plan
}

type Edit = fn(&mut Plan);

/// An edit of the second ring's policy, gate, approvals or calendar.
macro_rules! edit {
    (policy: $p:ident => $body:expr) => {
        |plan| {
            let $p = &mut plan.rings[1].policy;
            $body;
        }
    };
    (gate: $p:ident => $body:expr) => {
        edit!(policy: policy => { let $p = &mut policy.gates[0]; $body })
    };
    (approvals: $p:ident => $body:expr) => {
        edit!(policy: policy => { let $p = policy.approvals.as_mut().unwrap(); $body })
    };
    (calendar: $p:ident => $body:expr) => {
        edit!(policy: policy => { let $p = &mut policy.calendars[0]; $body })
    };
}

/// Each is tighter done, and looser undone.
const TIGHTER: &[(&str, Edit)] = &[
    ("maxSkew", |plan| plan.max_skew = Some(1)),
    ("residency", |plan| plan.residency.push(rule("R2", Demand::PairExclusive))),
    ("residency.R1", |plan| plan.residency[0].demand = in_flight(1)),
    ("residency.R1.enforcement", |plan| plan.residency[0].enforcement = Enforcement::Hard),
    ("soak.duration", edit!(policy: p => p.soak.duration = Span::minutes(90))),
    ("soak.onBreach", edit!(policy: p => p.soak.on_breach = OnBreach::Fail)),
    ("concurrency", edit!(policy: p => p.concurrency = Concurrency::Share(0.25))),
    ("failureBudget", edit!(policy: p => p.failure_budget = 0)),
    ("rollback.automatic", edit!(policy: p => p.rollback.automatic = true)),
    ("rollback.scope", edit!(policy: p => p.rollback.scope = RollbackScope::Exposed)),
    ("afterWatch", edit!(policy: p => p.after_watch = Span::minutes(10))),
    ("minDwell", edit!(policy: p => p.min_dwell = Span::minutes(2))),
    ("gates", edit!(policy: p => p.gates.push(gate("latency")))),
    (
        "gates.errors.threshold.min",
        edit!(gate: g => g.judge = Judge::Threshold { min: Some(0.95), max: None }),
    ),
    (
        "gates.errors.threshold.max",
        edit!(gate: g => g.judge = Judge::Threshold { min: Some(0.9), max: Some(2.0) }),
    ),
    ("gates.errors.minSamples", edit!(gate: g => g.min_samples = Some(200.0))),
    ("gates.errors.minTotalSamples", edit!(gate: g => g.min_total_samples = Some(1.0))),
    ("gates.errors.failureLimit", edit!(gate: g => g.failure_limit = Some(0))),
    (
        "gates.errors.consecutiveFailureLimit",
        edit!(gate: g => g.consecutive_failure_limit = Some(1)),
    ),
    ("gates.errors.consecutiveErrorLimit", edit!(gate: g => g.consecutive_error_limit = 3)),
    ("gates.errors.onNoData", edit!(gate: g => g.on_no_data = OnNoData::Fail)),
    ("gates.errors.noDataDeadline", edit!(gate: g => g.no_data_deadline = Span::minutes(5))),
    ("gates.errors.maxAge", edit!(gate: g => g.max_age = Span::minutes(1))),
    ("approvals.count", edit!(approvals: a => a.count = 2)),
    ("approvals.roles", edit!(approvals: a => a.roles = vec!["lead".into()])),
    ("approvals.jurisdiction", edit!(approvals: a => a.jurisdiction = Some(territory(&["IE"])))),
    ("approvals.excludeAuthor", edit!(approvals: a => a.exclude_author = true)),
    ("approvals.expires", edit!(approvals: a => a.expires = Some(Span::minutes(30)))),
    ("calendars", edit!(policy: p => p.calendars.push(calendar("peak")))),
    ("calendars.hours.allow", edit!(calendar: c => c.allow[0].duration = Span::minutes(30))),
    ("calendars.hours.inFlight", edit!(calendar: c => c.in_flight = InFlight::Halt)),
    ("calendars.hours.appliesTo", edit!(calendar: c => c.applies_to.push(AppliesTo::Advance))),
    (
        "calendars.hours.deny",
        edit!(calendar: c => c.deny.push(Deny {
            from: "2026-12-20T00:00:00Z".parse().unwrap(),
            to: "2027-01-04T00:00:00Z".parse().unwrap(),
            reason: "year end".into(),
        })),
    ),
];

/// Each is neither, done and undone.
const OTHER: &[(&str, Edit)] = &[
    ("target", |plan| plan.target.name = "till".into()),
    ("dataClasses", |plan| plan.data_classes.push("customer-personal".into())),
    ("onNewer", |plan| plan.on_newer = OnNewer::Manual),
    ("deadline", edit!(policy: p => p.deadline = Span::minutes(5))),
    ("gates.errors.query", edit!(gate: g => g.query = "down".into())),
    ("gates.errors.interval", edit!(gate: g => g.interval = Span::seconds(30))),
    ("gates", edit!(policy: p => p.gates.push(Gate { required: false, ..gate("shadow") }))),
    ("approvals.roles", edit!(approvals: a => a.roles = vec!["lead".into(), "chief".into()])),
    ("calendars.hours.allow", edit!(calendar: c => c.time_zone = "UTC".into())),
    ("calendars.hours.appliesTo", edit!(calendar: c => c.applies_to.push(AppliesTo::Rollback))),
    ("clusters", |plan| _ = plan.rings[1].clusters.pop()),
];

fn one(former: &Plan, later: &Plan) -> (String, Way) {
    let found = differences(former, later);
    let [found] = found.as_slice() else { panic!("{found:?}") };
    (found.field.clone(), found.way)
}

fn edited(edit: Edit) -> Plan {
    let mut plan = plan();
    edit(&mut plan);
    plan
}

fn policy_of(plan: Plan) -> Plan {
    Plan { hash: "".into(), commit: "".into(), ..plan }
}

#[test]
fn what_is_the_same_differs_in_nothing() {
    assert_eq!(differences(&plan(), &plan()), []);
    assert_eq!(tightest(&plan(), &plan(), |_| true), None);
}

#[test]
fn what_is_tighter_is_taken_and_looser_the_other_way_round() {
    for (field, edit) in TIGHTER {
        let (before, after) = (plan(), edited(*edit));
        assert_eq!(one(&before, &after), ((*field).into(), Way::Tighter));
        assert_eq!(one(&after, &before), ((*field).into(), Way::Looser));
        let taken = tightest(&before, &after, |_| true).unwrap_or_else(|| panic!("{field}"));
        assert_eq!(taken.hash, taken.fingerprint());
        assert_ne!(taken.hash, before.hash, "{field}: an approval of the former must not hold");
        assert_eq!(policy_of(taken.clone()), policy_of(after.clone()), "{field}");
        assert_eq!(tightest(&taken, &after, |_| true), None, "{field}: it is taken once");
        assert_eq!(tightest(&after, &before, |_| true), None, "{field}: looser is not taken");
    }
}

#[test]
fn what_is_neither_is_not_taken() {
    for (field, edit) in OTHER {
        let (before, after) = (plan(), edited(*edit));
        assert_eq!(one(&before, &after), ((*field).into(), Way::Other));
        assert_eq!(one(&after, &before), ((*field).into(), Way::Other));
        assert_eq!(tightest(&before, &after, |_| true), None, "{field}");
    }
}

/// Every two edits at once, one forward and one back: what is tighter is taken without the other.
#[test]
fn tighter_and_looser_at_once() {
    for (i, (_, tighter)) in TIGHTER.iter().enumerate() {
        for (j, (_, looser)) in TIGHTER.iter().enumerate().filter(|(j, _)| *j != i) {
            let (before, after) = (edited(*looser), edited(*tighter));
            let Some(taken) = tightest(&before, &after, |_| true) else {
                panic!("{i} {j}: {:?}", differences(&before, &after))
            };
            let found = differences(&before, &taken);
            assert!(found.iter().all(|found| found.way == Way::Tighter), "{i} {j}: {found:?}");
        }
    }
}

#[test]
fn a_ring_that_takes_nothing_keeps_all_that_it_had() {
    let mut later = plan();
    for ring in &mut later.rings {
        ring.policy.soak.duration = Span::minutes(120);
    }
    let taken = tightest(&plan(), &later, |ring| ring.as_str() == "second").unwrap();
    assert_eq!(taken.rings[0], plan().rings[0]);
    assert_eq!(taken.rings[1].policy.soak.duration, Span::minutes(120));
    assert_eq!(tightest(&plan(), &later, |_| false), None);
}

#[test]
fn a_rule_that_became_another_binds_beside_the_former() {
    let mut later = plan();
    later.residency[0].demand = Demand::NotFirstIn { jurisdiction: territory(&["IE"]) };
    assert_eq!(one(&plan(), &later), ("residency.R1".into(), Way::Other));
    let taken = tightest(&plan(), &later, |_| true).unwrap();
    let both = [plan().residency[0].clone(), later.residency[0].clone()];
    assert_eq!(taken.residency, both);
    assert_eq!(tightest(&taken, &later, |_| true), None);
}

#[test]
fn a_minimum_of_what_is_not_counted_is_not_taken() {
    let uncounted = edited(edit!(gate: g => {
        g.samples = None;
        g.min_samples = None;
    }));
    let later = edited(edit!(gate: g => g.min_total_samples = Some(1.0)));
    let found = differences(&uncounted, &later);
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found.iter().all(|found| found.way == Way::Other), "{found:?}");
    assert_eq!(tightest(&uncounted, &later, |_| true), None);
}

#[test]
fn rings_that_come_and_go_are_for_new_releases() {
    let mut later = plan();
    later.rings.remove(0);
    later.graph = RingGraph::new(vec![("second".into(), After::default())]).unwrap();
    let found = differences(&plan(), &later);
    let said: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert_eq!(said, ["second: after first -> none", "first: ring first -> none"]);
    assert!(found.iter().all(|found| found.way == Way::Other));
    assert_eq!(tightest(&plan(), &later, |_| true), None);
}
