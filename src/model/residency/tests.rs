//! Every rule with a plan that keeps it and one that breaks it.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::model::{
    graph::{After, Join, RingGraph},
    plan::{OnNewer, Plan},
    policy::{
        Approvals, Baseline, Concurrency, Direction, Gate, Judge, OnBreach, OnNoData, Policy,
        Rollback, Signal, Soak,
    },
    ring::{Artifact, MetricSource, ProviderKind, Target, TargetKind},
    time::Span,
};

fn territory(name: &str, members: &[&str]) -> Territory {
    Territory { name: name.into(), members: members.iter().map(|m| (*m).into()).collect() }
}

fn eu() -> Territory {
    territory("EU", &["DE", "IE"])
}

/// `corp` (CH) -> `east` (us-east-1) -> `eu` (eu-west-1, IE, customer-personal) -> `rest` (eu-central-1, DE).
fn plan() -> Plan {
    let cluster = |name: &str, jurisdiction: &str| Cluster {
        name: name.into(),
        labels: BTreeMap::new(),
        region: name.into(),
        jurisdiction: jurisdiction.into(),
        data_classes: Vec::new(),
        failover_pair: None,
        verified_until: None,
        connection: name.into(),
        metrics: vec![MetricSource {
            name: "prometheus".into(),
            kind: ProviderKind::Prometheus,
            url: "http://prometheus".into(),
            jurisdiction: Some(jurisdiction.into()),
        }],
    };
    let policy = Policy {
        name: "quick".into(),
        soak: Soak { duration: Span::minutes(10), on_breach: OnBreach::Reset, backfill: false },
        deadline: Span::minutes(5),
        concurrency: Concurrency::Clusters(1),
        failure_budget: 0,
        gates: Vec::new(),
        rollback: Rollback { automatic: true, ..Rollback::default() },
        approvals: None,
        calendars: Vec::new(),
        min_dwell: Span::ZERO,
        after_watch: Span::ZERO,
    };
    let ring = |name: &str, clusters: Vec<Cluster>| Ring {
        name: name.into(),
        clusters,
        policy: policy.clone().into(),
    };
    let mut west = cluster("eu-west-1", "IE");
    west.data_classes = vec!["customer-personal".into()];
    let mut plan = Plan {
        name: "checkout".into(),
        hash: "h".into(),
        commit: "c".into(),
        target: Target {
            kind: TargetKind::Deployment { container: "app".into() },
            namespace: "shop".into(),
            name: "checkout".into(),
        },
        data_classes: vec!["customer-personal".into()],
        on_newer: OnNewer::QueueLatest,
        on_policy_change: Default::default(),
        max_skew: None,
        lanes: Default::default(),
        graph: RingGraph::new(Vec::new()).expect("no ring"),
        rings: vec![
            ring("corp", vec![cluster("corp", "CH")]),
            ring("east", vec![cluster("us-east-1", "US")]),
            ring("eu", vec![west]),
            ring("rest", vec![cluster("eu-central-1", "DE")]),
        ],
        residency: Vec::new(),
    };
    wire(&mut plan, &[("east", &["corp"]), ("eu", &["east"]), ("rest", &["eu"])], Join::All);
    plan
}

/// Puts the rings after one another anew; those that are not named come after none.
fn wire(plan: &mut Plan, edges: &[(&str, &[&str])], join: Join) {
    let after = |ring: &Ring| {
        let found = edges.iter().find(|(name, _)| *name == ring.name.as_str());
        let rings = found.map(|(_, after)| after.iter().map(|r| (*r).into()).collect());
        After { rings: rings.unwrap_or_default(), join }
    };
    let rings = plan.rings.iter().map(|r| (r.name.clone(), after(r))).collect();
    plan.graph = RingGraph::new(rings).expect("a DAG");
}

fn cluster<'a>(plan: &'a mut Plan, name: &str) -> &'a mut Cluster {
    let mut clusters = plan.rings.iter_mut().flat_map(|r| &mut r.clusters);
    clusters.find(|c| c.name.as_str() == name).expect("a cluster")
}

fn ring<'a>(plan: &'a mut Plan, name: &str) -> &'a mut Ring {
    plan.rings.iter_mut().find(|r| r.name.as_str() == name).expect("a ring")
}

fn rule(demand: Demand) -> Rule {
    Rule {
        id: "R-1".into(),
        enforcement: Enforcement::Hard,
        demand,
        allow_empty: false,
        policy: None,
        declared_at: "policies/residency.yaml:8".into(),
    }
}

/// What is said of the plan after a change: the ring, the cluster and the fact of each breach.
fn said(demand: &Demand, change: impl FnOnce(&mut Plan)) -> Vec<String> {
    let mut plan = plan();
    change(&mut plan);
    let name = |name: Option<&str>| name.unwrap_or("-").to_owned();
    rule(demand.clone())
        .breaches(&plan, None, &Known::DECLARED)
        .iter()
        .map(|b| {
            let ring = name(b.ring.as_ref().map(|r| r.as_str()));
            let cluster = name(b.cluster.as_ref().map(|c| c.as_str()));
            format!("{ring} {cluster}: {}", b.fact)
        })
        .collect()
}

fn approvals() -> Approvals {
    Approvals {
        count: 1,
        roles: vec!["approver".into()],
        jurisdiction: None,
        exclude_author: true,
        expires: None,
    }
}

fn judged_against(ring: &str) -> Gate {
    Gate {
        name: "latency".into(),
        signal: Signal::Latency,
        provider: "prometheus".into(),
        query: "p99".into(),
        samples: None,
        interval: Span::minutes(1),
        initial_delay: Span::ZERO,
        judge: Judge::Relative {
            baseline: Baseline::Ring(ring.into()),
            max_degradation: 0.5,
            direction: Direction::Increase,
            floor: 0.0,
        },
        min_samples: None,
        min_total_samples: None,
        failure_limit: Some(0),
        consecutive_failure_limit: None,
        consecutive_error_limit: 4,
        on_no_data: OnNoData::Hold,
        no_data_deadline: Span::minutes(5),
        max_age: Span::minutes(3),
        required: true,
        unit: None,
        traffic: None,
    }
}

fn registry(host: &str, jurisdiction: &str) -> Registry {
    Registry { host: host.into(), jurisdiction: Some(jurisdiction.into()) }
}

type Change = fn(&mut Plan);

const KEPT: Change = |_| {};

#[test]
fn every_rule_is_kept_and_broken() {
    let class = "customer-personal";
    let cases: Vec<(&str, Demand, Change, Change, &[&str])> = vec![
        (
            "classWithin",
            Demand::ClassWithin { class: class.into(), jurisdiction: eu() },
            KEPT,
            |p| cluster(p, "us-east-1").data_classes = vec!["customer-personal".into()],
            &["east us-east-1: serves customer-personal from cluster us-east-1 (jurisdiction US)"],
        ),
        (
            "targetsWithin, of the rings named",
            Demand::TargetsWithin { rings: vec!["eu".into(), "rest".into()], jurisdiction: eu() },
            KEPT,
            |p| cluster(p, "eu-central-1").jurisdiction = "GB".into(),
            &["rest eu-central-1: has cluster eu-central-1 (jurisdiction GB) outside EU"],
        ),
        (
            "targetsWithin, of all",
            Demand::TargetsWithin {
                rings: vec![],
                jurisdiction: territory("W", &["CH", "US", "IE", "DE"]),
            },
            KEPT,
            |p| cluster(p, "corp").jurisdiction = "LI".into(),
            &["corp corp: has cluster corp (jurisdiction LI) outside W"],
        ),
        (
            "targetsOutside",
            Demand::TargetsOutside {
                rings: vec!["corp".into(), "east".into()],
                jurisdiction: eu(),
            },
            KEPT,
            |p| cluster(p, "corp").jurisdiction = "DE".into(),
            &["corp corp: has cluster corp (jurisdiction DE) inside EU"],
        ),
        (
            "homogeneous",
            Demand::Homogeneous { rings: vec![] },
            KEPT,
            |p| {
                let moved = ring(p, "rest").clusters.remove(0);
                ring(p, "eu").clusters.push(moved);
            },
            &[
                "eu eu-central-1: spans cluster eu-west-1 (jurisdiction IE) and cluster eu-central-1 \
               (jurisdiction DE)",
            ],
        ),
        (
            "homogeneous, of other rings",
            Demand::Homogeneous { rings: vec!["east".into()] },
            |p| {
                let moved = ring(p, "rest").clusters.remove(0);
                ring(p, "eu").clusters.push(moved);
            },
            |p| {
                let moved = ring(p, "rest").clusters.remove(0);
                ring(p, "east").clusters.push(moved);
            },
            &["east eu-central-1: spans cluster us-east-1 (jurisdiction US) and cluster \
               eu-central-1 (jurisdiction DE)"],
        ),
        (
            "notFirstIn",
            Demand::NotFirstIn { jurisdiction: eu() },
            KEPT,
            |p| wire(p, &[("rest", &["eu"])], Join::All),
            &[
                "eu -: may start before any ring outside EU has passed",
                "rest -: may start before any ring outside EU has passed",
            ],
        ),
        (
            "notFirstIn, where all of several must pass",
            Demand::NotFirstIn { jurisdiction: eu() },
            |p| wire(p, &[("eu", &["corp"]), ("rest", &["eu", "east"])], Join::All),
            |p| {
                // In the first ring there is a cluster of the EU among others: it is no ring outside it.
                let moved = cluster(p, "eu-west-1").clone();
                ring(p, "corp").clusters.push(moved);
                ring(p, "eu").clusters[0].jurisdiction = "US".into();
                wire(p, &[("rest", &["corp"])], Join::All);
            },
            &[
                "corp -: may start before any ring outside EU has passed",
                "rest -: may start before any ring outside EU has passed",
            ],
        ),
        (
            "notFirstIn, where the first of several will do",
            Demand::NotFirstIn { jurisdiction: eu() },
            |p| wire(p, &[("eu", &["corp", "east"]), ("rest", &["eu", "east"])], Join::Any),
            |p| {
                cluster(p, "corp").jurisdiction = "DE".into();
                wire(p, &[("eu", &["east"]), ("rest", &["corp", "east"])], Join::Any);
            },
            &[
                "corp -: may start before any ring outside EU has passed",
                "rest -: may start before any ring outside EU has passed",
            ],
        ),
        (
            "independent, by waiting",
            Demand::Independent { a: "east".into(), b: "rest".into() },
            |p| wire(p, &[("east", &["corp"]), ("rest", &["corp"])], Join::All),
            KEPT,
            &["rest -: waits for ring east"],
        ),
        (
            "independent, by evidence",
            Demand::Independent { a: "east".into(), b: "rest".into() },
            |p| {
                wire(p, &[], Join::All);
                ring(p, "east").policy.gates = vec![judged_against("corp")];
            },
            |p| {
                wire(p, &[], Join::All);
                ring(p, "east").policy.gates = vec![judged_against("rest")];
            },
            &["east -: is judged on ring rest"],
        ),
        (
            "pairExclusive",
            Demand::PairExclusive,
            |p| {
                cluster(p, "eu-west-1").failover_pair = Some("eu-central-1".into());
                cluster(p, "eu-central-1").failover_pair = Some("eu-west-1".into());
            },
            |p| {
                let mut moved = ring(p, "rest").clusters.remove(0);
                moved.failover_pair = Some("eu-west-1".into());
                ring(p, "eu").clusters.push(moved);
            },
            &["eu eu-central-1: holds both eu-central-1 and its failover partner eu-west-1"],
        ),
        (
            "evidenceWithin",
            Demand::EvidenceWithin { jurisdiction: eu(), disclose: Disclose::Verdict },
            |p| cluster(p, "us-east-1").metrics[0].jurisdiction = None,
            |p| {
                cluster(p, "eu-west-1").metrics[0].jurisdiction = Some("US".into());
                cluster(p, "eu-central-1").metrics[0].jurisdiction = None;
            },
            &[
                "eu eu-west-1: metric source prometheus of cluster eu-west-1 lies in US",
                "rest eu-central-1: metric source prometheus of cluster eu-central-1 does not say \
                 where it lies",
            ],
        ),
        (
            "pullWithin",
            Demand::PullWithin { jurisdiction: eu(), registries: vec![registry("eu.test", "IE")] },
            KEPT,
            |p| cluster(p, "us-east-1").jurisdiction = "US".into(),
            &[],
        ),
        (
            "pullWithin, from a registry elsewhere",
            Demand::PullWithin {
                jurisdiction: territory("IE", &["IE"]),
                registries: vec![registry("us.test", "US")],
            },
            |p| cluster(p, "eu-west-1").jurisdiction = "DE".into(),
            KEPT,
            &[
                "eu eu-west-1: cluster eu-west-1 (jurisdiction IE) pulls, and registry us.test lies in US",
            ],
        ),
        (
            "approverWithin",
            Demand::ApproverWithin { jurisdiction: eu(), count: 1 },
            |p| {
                ring(p, "eu").policy.approvals = Some(approvals());
                ring(p, "rest").policy.approvals = Some(approvals());
            },
            |p| ring(p, "eu").policy.approvals = Some(approvals()),
            &["rest -: starts without anybody's approval"],
        ),
        (
            "maxInFlight is broken by what moves, and never by a plan",
            Demand::MaxInFlight { jurisdiction: eu(), rings: 1 },
            KEPT,
            KEPT,
            &[],
        ),
    ];
    for (name, demand, kept, broken, facts) in cases {
        assert_eq!(said(&demand, kept), [""; 0], "{name}, kept");
        assert_eq!(said(&demand, broken), facts, "{name}, broken");
    }
}

#[test]
fn a_class_that_the_plan_does_not_handle_is_no_business_of_it() {
    let demand = Demand::ClassWithin { class: "customer-personal".into(), jurisdiction: eu() };
    let change = |p: &mut Plan| {
        p.data_classes.clear();
        cluster(p, "us-east-1").data_classes = vec!["customer-personal".into()];
    };
    assert_eq!(said(&demand, change), [""; 0]);
    let mut without = plan();
    change(&mut without);
    let why = rule(demand).concerns_nothing(&without);
    assert_eq!(why.as_deref(), Some("the plan does not declare that it handles customer-personal"));
}

#[test]
fn one_ring_hears_only_of_itself() {
    let mut plan = plan();
    wire(&mut plan, &[("rest", &["eu"])], Join::All);
    plan.residency = vec![
        rule(Demand::NotFirstIn { jurisdiction: eu() }),
        rule(Demand::TargetsOutside { rings: vec![], jurisdiction: territory("US", &["US"]) }),
    ];
    let rings = |ring: Option<&str>| -> Vec<String> {
        let ring = ring.map(RingName::from);
        let found = breaches(&plan, ring.as_ref(), &Known::DECLARED);
        found.iter().filter_map(|b| Some(b.ring.as_ref()?.to_string())).collect()
    };
    assert_eq!(rings(None), ["eu", "rest", "east"]);
    assert_eq!(rings(Some("rest")), ["rest"]);
    assert_eq!(rings(Some("corp")), [""; 0]);
}

#[test]
fn a_rule_over_an_empty_set_says_so() {
    let nowhere = || territory("AU", &["AU"]);
    let cases: Vec<(Demand, &str)> = vec![
        (
            Demand::ClassWithin { class: "health".into(), jurisdiction: eu() },
            "the plan does not declare that it handles health",
        ),
        (
            Demand::TargetsWithin { rings: vec!["x".into()], jurisdiction: eu() },
            "the plan has none of the rings that it names",
        ),
        (
            Demand::TargetsOutside { rings: vec!["x".into()], jurisdiction: eu() },
            "the plan has none of the rings that it names",
        ),
        (
            Demand::TargetsOutside { rings: vec![], jurisdiction: territory("NONE", &[]) },
            "no country belongs to NONE",
        ),
        (
            Demand::Homogeneous { rings: vec!["x".into(), "y".into()] },
            "the plan has none of the rings that it names",
        ),
        (Demand::NotFirstIn { jurisdiction: nowhere() }, "no ring of the plan has a cluster in AU"),
        (
            Demand::MaxInFlight { jurisdiction: nowhere(), rings: 1 },
            "no ring of the plan has a cluster in AU",
        ),
        (
            Demand::EvidenceWithin { jurisdiction: nowhere(), disclose: Disclose::Raw },
            "no ring of the plan has a cluster in AU",
        ),
        (
            Demand::ApproverWithin { jurisdiction: nowhere(), count: 1 },
            "no ring of the plan has a cluster in AU",
        ),
        (
            Demand::PullWithin { jurisdiction: nowhere(), registries: Vec::new() },
            "no ring of the plan has a cluster in AU",
        ),
        (
            Demand::StateWithin { jurisdiction: nowhere() },
            "no ring of the plan has a cluster in AU",
        ),
        (Demand::Independent { a: "eu".into(), b: "x".into() }, "the plan has no ring x"),
        (Demand::PairExclusive, "no cluster of the plan has a failover partner"),
    ];
    let kinds: BTreeSet<&str> = cases.iter().map(|(demand, _)| demand.name()).collect();
    assert_eq!(kinds.len(), Demand::NAMES.len(), "each kind has its empty set: {kinds:?}");
    let plan = plan();
    for (demand, why) in cases {
        let said = rule(demand.clone()).concerns_nothing(&plan);
        assert_eq!(said.as_deref(), Some(why), "{demand:?}");
    }
    let mut unserved = plan.clone();
    cluster(&mut unserved, "eu-west-1").data_classes.clear();
    let demand = Demand::ClassWithin { class: "customer-personal".into(), jurisdiction: eu() };
    assert_eq!(
        rule(demand).concerns_nothing(&unserved).as_deref(),
        Some("no cluster of the plan serves customer-personal")
    );
    let mut paired = plan.clone();
    cluster(&mut paired, "eu-west-1").failover_pair = Some("elsewhere".into());
    for (plan, demand) in [
        (&plan, Demand::TargetsWithin { rings: vec![], jurisdiction: nowhere() }),
        (&plan, Demand::TargetsWithin { rings: vec!["x".into(), "eu".into()], jurisdiction: eu() }),
        (&plan, Demand::TargetsOutside { rings: vec![], jurisdiction: nowhere() }),
        (&plan, Demand::Homogeneous { rings: vec![] }),
        (&plan, Demand::NotFirstIn { jurisdiction: eu() }),
        (&plan, Demand::Independent { a: "eu".into(), b: "rest".into() }),
        (&paired, Demand::PairExclusive),
    ] {
        assert_eq!(rule(demand.clone()).concerns_nothing(plan), None, "{demand:?}");
    }
}

/// Thirty-two layers of two rings, each after both of the layer before: 2^32 ways to the top, none of
/// which must be walked.
#[test]
fn a_broad_and_deep_plan_is_judged_at_once() {
    let mut plan = plan();
    let model = plan.rings[2].clone();
    let name = |layer: usize, side: usize| format!("r{layer}-{side}");
    plan.rings.clear();
    let mut edges = Vec::new();
    for layer in 0..32 {
        for side in 0..2 {
            let ring_name: RingName = name(layer, side).as_str().into();
            plan.rings.push(Ring { name: ring_name.clone(), ..model.clone() });
            let before = (0..2).filter(|_| layer > 0).map(|s| name(layer - 1, s).as_str().into());
            edges.push((ring_name, After { rings: before.collect(), join: Join::All }));
        }
    }
    plan.graph = RingGraph::new(edges).expect("a DAG");
    let rule = rule(Demand::NotFirstIn { jurisdiction: eu() });
    assert_eq!(rule.breaches(&plan, None, &Known::DECLARED).len(), 64, "all of it lies in the EU");
    plan.rings[0].clusters[0].jurisdiction = "CH".into();
    assert_eq!(
        rule.breaches(&plan, None, &Known::DECLARED).len(),
        1,
        "all but the first come after the one in CH"
    );
}

#[test]
fn a_territory_holds_its_members_and_itself() {
    let eu = eu();
    assert!(eu.contains(&"IE".into()) && eu.contains(&"EU".into()));
    assert!(!eu.contains(&"US".into()) && !eu.contains(&"".into()) && !eu.contains(&"ie".into()));
}

fn facts(change: impl FnOnce(&mut BTreeMap<ClusterName, Option<Place>>)) -> Facts {
    let plan = plan();
    let mut places = plan.clusters().map(|c| (c.name.clone(), Some(Place::from(c)))).collect();
    change(&mut places);
    let mut facts = Facts::default();
    facts.declare(&places);
    facts
}

/// What is said of the plan where these facts are known, at noon.
fn said_now(demand: &Demand, facts: &Facts) -> Vec<String> {
    let now = "2026-03-09T12:00:00Z".parse().unwrap();
    let found = rule(demand.clone()).breaches(&plan(), None, &Known::at(facts, now));
    found.into_iter().map(|breach| breach.fact).collect()
}

#[test]
fn a_fact_that_is_missing_expired_or_contradicted_is_unknown_and_denied() {
    let within = Demand::TargetsWithin { rings: vec!["eu".into()], jurisdiction: eu() };
    let outside = Demand::TargetsOutside { rings: vec!["east".into()], jurisdiction: eu() };
    let place = |name: &str, change: fn(&mut Place)| {
        let name = ClusterName::from(name);
        facts(|all| change(all.get_mut(&name).unwrap().as_mut().unwrap()))
    };
    assert_eq!(said_now(&within, &facts(|_| {})), [""; 0]);

    let gone = facts(|all| *all.get_mut(&ClusterName::from("eu-west-1")).unwrap() = None);
    let words = "has cluster eu-west-1 (jurisdiction unknown: it is declared no more) outside EU";
    assert_eq!(said_now(&within, &gone), [words]);

    let until = |p: &mut Place, at: &str| p.verified_until = Some(at.parse().unwrap());
    let expired =
        place("eu-west-1", |p| p.verified_until = Some("2026-03-09T12:00:00Z".parse().unwrap()));
    let words = "has cluster eu-west-1 (jurisdiction unknown: verified only until \
                 2026-03-09T12:00:00Z) outside EU";
    assert_eq!(said_now(&within, &expired), [words]);
    let mut fresh = facts(|_| {});
    let mut renewed = Place::from(plan().cluster(&"eu-west-1".into()).unwrap());
    until(&mut renewed, "2026-03-09T12:00:01Z");
    fresh.declare(&[("eu-west-1".into(), Some(renewed))].into());
    assert_eq!(said_now(&within, &fresh), [""; 0]);
    assert!(fresh.is_calm("2026-03-09T12:00:00Z".parse().unwrap()));
    assert!(!fresh.is_calm("2026-03-09T12:00:01Z".parse().unwrap()));

    for (cluster, demand, side) in
        [("eu-west-1", &within, "outside"), ("us-east-1", &outside, "inside")]
    {
        let mut contradicted = facts(|_| {});
        let regions = ["af-south-1".into()].into();
        let witness = Witness { regions, ..Witness::default() };
        contradicted.witness(cluster.into(), witness);
        assert!(!contradicted.is_calm("2026-03-09T12:00:00Z".parse().unwrap()));
        let words = format!(
            "has cluster {cluster} (jurisdiction unknown: declared in region {cluster}, and a node \
             of it says af-south-1) {side} EU"
        );
        assert_eq!(said_now(demand, &contradicted), [words]);
        contradicted.witness(cluster.into(), Witness::default());
        assert_eq!(
            said_now(demand, &contradicted),
            [""; 0],
            "what is not said contradicts nothing"
        );
    }
}

#[test]
fn the_worse_of_what_was_declared_and_what_is_declared_counts() {
    let within = Demand::TargetsWithin { rings: vec!["eu".into()], jurisdiction: eu() };
    let outside = Demand::TargetsOutside { rings: vec!["east".into()], jurisdiction: eu() };
    let moved = |name: &str, to: &str| {
        let name = ClusterName::from(name);
        facts(|all| all.get_mut(&name).unwrap().as_mut().unwrap().jurisdiction = to.into())
    };
    let words = "has cluster eu-west-1 (jurisdiction GB, IE at the release) outside EU";
    assert_eq!(said_now(&within, &moved("eu-west-1", "GB")), [words]);
    let words = "has cluster us-east-1 (jurisdiction IE, US at the release) inside EU";
    assert_eq!(said_now(&outside, &moved("us-east-1", "IE")), [words]);
    let us = Demand::TargetsWithin { rings: vec!["east".into()], jurisdiction: eu() };
    let words = "has cluster us-east-1 (jurisdiction IE, US at the release) outside EU";
    assert_eq!(said_now(&us, &moved("us-east-1", "IE")), [words], "better facts loosen nothing");
    let class = Demand::ClassWithin { class: "customer-personal".into(), jurisdiction: eu() };
    let name = ClusterName::from("us-east-1");
    let served = facts(|all| {
        let place = all.get_mut(&name).unwrap().as_mut().unwrap();
        place.data_classes = vec!["customer-personal".into()];
    });
    let words = "serves customer-personal from cluster us-east-1 (jurisdiction US)";
    assert_eq!(said_now(&class, &served), [words]);
}

#[test]
fn the_server_keeps_its_state_where_its_settings_say() {
    let state = Demand::StateWithin { jurisdiction: eu() };
    assert_eq!(said(&state, KEPT), [""; 0], "a check cannot know");
    let at = |data: Option<&str>, backups: Option<&str>| {
        let home =
            Home { evaluator: None, data: data.map(Into::into), backups: backups.map(Into::into) };
        let mut facts = facts(|_| {});
        facts.home = home;
        facts
    };
    let silent = "this server's settings do not say where to find its data directory";
    for (data, backups, words) in [
        (Some("IE"), Some("DE"), None),
        (Some("US"), Some("DE"), Some("this server keeps its data directory in US")),
        (Some("IE"), Some("US"), Some("this server keeps its backups in US")),
        (None, Some("DE"), Some(silent)),
    ] {
        let found = said_now(&state, &at(data, backups));
        assert_eq!(found.first().map(String::as_str), words, "{data:?} {backups:?}");
    }
    let evidence = Demand::EvidenceWithin { jurisdiction: eu(), disclose: Disclose::Aggregate };
    let judged = |place: &str| {
        let mut facts = facts(|_| {});
        facts.home.evaluator = Some(place.into());
        facts
    };
    assert_eq!(said_now(&evidence, &judged("DE")), [""; 0]);
    assert_eq!(said_now(&evidence, &judged("US")).len(), 2, "of both clusters in the EU");
}

#[test]
fn an_image_is_pulled_from_the_first_registry_that_may_serve_it_and_keeps_its_digest() {
    let digest = format!("sha256:{}", "9f".repeat(32));
    let mut plan = plan();
    let demand = |registries: Vec<Registry>| Demand::PullWithin { jurisdiction: eu(), registries };
    let unplaced = Registry { host: "any.test".into(), jurisdiction: None };
    plan.residency = vec![rule(demand(vec![
        registry("us.test", "US"),
        unplaced,
        registry("eu.test:5000/mirror", "IE"),
        registry("de.test", "DE"),
    ]))];
    let known = &Known::DECLARED;
    let of = |plan: &Plan, ring: &str, image: &str| {
        let ring = plan.ring(&ring.into()).unwrap();
        pulled(plan, ring, &ring.clusters[0], &Artifact(image.into()), known, |_| true)
    };
    let pinned = |path: &str| format!("{path}@{digest}");
    for (image, pulled) in [
        ("registry.test/shop/app", "eu.test:5000/mirror/shop/app"),
        ("registry.test:443/app:2.14.0", "eu.test:5000/mirror/app:2.14.0"),
        ("localhost/app", "eu.test:5000/mirror/app"),
        ("library/app", "eu.test:5000/mirror/library/app"),
        ("app", "eu.test:5000/mirror/app"),
        ("de.test/shop/app", "de.test/shop/app"),
        ("de.test.evil/shop/app", "eu.test:5000/mirror/shop/app"),
    ] {
        let (image, pulled) = (pinned(image), pinned(pulled));
        let found = of(&plan, "eu", &image).unwrap();
        assert_eq!(found.0, pulled);
        assert!(found.same_as(&Artifact(image.clone())), "{image}");
        assert_eq!(of(&plan, "east", &image).unwrap().0, image, "no business of the US");
    }
    let tagged = of(&plan, "eu", "registry.test/app:2").unwrap_err();
    assert!(tagged.fact.contains("pinned by no digest"), "{}", tagged.fact);
    assert_eq!(of(&plan, "eu", "de.test/app:2").unwrap().0, "de.test/app:2", "it is there already");
    plan.residency.push(rule(demand(vec![registry("de.test", "DE")])));
    assert_eq!(
        of(&plan, "eu", &pinned("r.test/app")).unwrap().0,
        pinned("de.test/app"),
        "both rules"
    );
    plan.residency.push(rule(demand(vec![registry("fr.test", "FR")])));
    assert!(of(&plan, "eu", &pinned("r.test/app")).is_err(), "no registry keeps all three");
}
