//! Each invariant is broken once: one that nothing can break would say nothing when it holds.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    sync::Arc,
};

use super::*;
use crate::{
    decide::{
        command::{Command, Lane, Measure, Write},
        event::{Actor, Answer, Declared, Outcome, Reading, Scope, TargetState},
        fact::{Fact, Judged, Refusal, Reply},
        wake::Wake,
    },
    declare::{Snapshot, compile},
    ids::{ClusterName, IdempotencyKey},
    model::{
        limits::{Limits, RollbackLimits},
        plan::Plan,
        policy,
        residency::{Demand, Enforcement, Rule, Territory},
        ring::Artifact,
        time::{Mono, Span},
    },
};

const DECLARATIONS: &str = r#"
apiVersion: ringward.dev/v1alpha1
kind: Cluster
metadata: {name: one}
spec:
  region: r1
  jurisdiction: CH
  metrics: [{name: prometheus, type: prometheus, url: "http://one:9090"}]
---
apiVersion: ringward.dev/v1alpha1
kind: Cluster
metadata: {name: two}
spec:
  region: r2
  jurisdiction: CH
  metrics: [{name: prometheus, type: prometheus, url: "http://two:9090"}]
---
apiVersion: ringward.dev/v1alpha1
kind: RingPlan
metadata: {name: shop}
spec:
  target: {kind: Deployment, namespace: shop, name: shop, container: app}
  policy: quick
  rings:
    - {name: first, clusters: {names: [one]}}
    - {name: second, after: [first], clusters: {names: [two]}}
---
apiVersion: ringward.dev/v1alpha1
kind: RingPlan
metadata: {name: wide}
spec:
  target: {kind: Deployment, namespace: shop, name: wide, container: app}
  policy: quick
  rings: [{name: first, clusters: {names: [one, two]}}]
"#;

const POLICIES: &str = r#"
apiVersion: ringward.dev/v1alpha1
kind: GateTemplate
metadata: {name: ratio}
spec: {signal: errors, provider: prometheus, query: up}
---
apiVersion: ringward.dev/v1alpha1
kind: RingPolicy
metadata: {name: quick}
spec:
  soak: {duration: 10m, onBreach: reset}
  deadline: 5m
  concurrency: 1
  failureBudget: {clusters: 0}
  gates: [{name: ratio, template: ratio, interval: 1m, threshold: {min: 0.9}, failureLimit: 2}]
  rollback: {automatic: true, scope: ring}
"#;

fn plan(name: &str) -> Plan {
    let files = [("rings/all.yaml", DECLARATIONS), ("policies/all.yaml", POLICIES)];
    let files = files.map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()));
    let compiled = compile(&Snapshot { commit: "c".into(), files: BTreeMap::from(files) });
    let plan = compiled.plans[&PlanName::from(name)].as_ref();
    plan.unwrap_or_else(|problems| panic!("{problems:?}")).as_ref().clone()
}

fn artifact(version: &str) -> Artifact {
    Artifact(format!("registry.example/shop@sha256:{}", version.repeat(64)))
}

fn ola() -> Actor {
    Actor { name: "ola".into(), roles: vec!["operator".into()], jurisdiction: None }
}

fn wake() -> Event {
    Event::Wake { plan: "shop".into() }
}

fn key(text: &str) -> IdempotencyKey {
    text.into()
}

/// A world of one plan, and its invariants.
struct Bench {
    world: World,
    invariants: Invariants,
    now: Now,
    plan: PlanName,
    id: ReleaseId,
}

impl Bench {
    /// `plan` is declared, 1 is known good everywhere, and 2 is released.
    fn released(plan: Plan) -> Self {
        let wall = "2026-03-09T07:00:00Z".parse().unwrap();
        let name = plan.name.clone();
        let mut bench = Bench {
            world: World::default(),
            invariants: Invariants::default(),
            now: Now { wall, mono: Mono(0) },
            id: ReleaseId { plan: name.clone(), version: "2".into() },
            plan: name.clone(),
        };
        let clusters: Vec<ClusterName> = plan.clusters().map(|c| c.name.clone()).collect();
        let policy = plan.hash.clone();
        let mut facts = vec![Fact::PlanDeclared { plan: Arc::new(plan) }];
        facts.extend(clusters.into_iter().map(|cluster| Fact::Adopted {
            plan: name.clone(),
            cluster,
            version: Some("1".into()),
            artifact: artifact("1"),
        }));
        facts.push(Fact::Submitted {
            release: bench.id.clone(),
            artifact: artifact("2"),
            author: "dana".into(),
            by: ola(),
            lane: Lane::Normal,
            reason: None,
            irreversible: false,
            requires: None,
            policy,
        });
        bench.step(wake(), facts, Vec::new()).unwrap();
        bench
    }

    /// 2 soaks on the first ring of `shop`; its gate has passed once.
    fn soaking() -> Self {
        let mut bench = Bench::released(plan("shop"));
        bench.start().unwrap();
        bench.arrive().unwrap();
        bench.ask();
        let running = bench.running(true);
        bench.measured(Verdict::Pass, 0.95, vec![running]).unwrap();
        bench
    }

    fn pass_time(&mut self, span: Span) {
        self.now.mono = self.now.mono + span;
        self.now.wall = self.now.wall.checked_add(span.to_signed()).unwrap();
    }

    fn step(&mut self, event: Event, facts: Vec<Fact>, commands: Vec<Command>) -> Result<(), u8> {
        let before = self.world.clone();
        let commands: Vec<_> = commands.into_iter().map(Arc::new).collect();
        self.world.fold(self.now, &facts, &commands).unwrap();
        let decision = Decision { facts, commands, reply: None };
        let after = &self.world;
        let (event, decision) = (&event, &decision);
        let step = Step { before: &before, event, now: self.now, decision, after };
        self.invariants.check(&step).map_err(|violation| violation.number)
    }

    /// Facts that the world itself would refuse, told to the invariants alone.
    fn told(&mut self, facts: Vec<Fact>) -> Result<(), u8> {
        let (before, event) = (self.world.clone(), wake());
        let decision = Decision { facts, ..Decision::default() };
        let (event, decision) = (&event, &decision);
        let step = Step { before: &before, event, now: self.now, decision, after: &before };
        self.invariants.check(&step).map_err(|violation| violation.number)
    }

    fn fact(&mut self, fact: Fact) -> Result<(), u8> {
        self.step(wake(), vec![fact], Vec::new())
    }

    fn write(&self, cluster: &str, verb: &str, to: Artifact) -> Write {
        Write {
            key: key(&format!("{}/first/{cluster}/1/{verb}", self.id)),
            release: self.id.clone(),
            ring: "first".into(),
            attempt: 1,
            cluster: cluster.into(),
            connection: cluster.into(),
            target: plan("shop").target,
            artifact: to,
        }
    }

    fn started(&self, ring: &str, clusters: &[&str]) -> Fact {
        let clusters = clusters.iter().map(|c| ClusterName::from(*c)).collect();
        Fact::RingStarted { release: self.id.clone(), ring: ring.into(), attempt: 1, clusters }
    }

    fn start(&mut self) -> Result<(), u8> {
        let deploy = Command::Deploy(self.write("one", "deploy", artifact("2")));
        self.step(wake(), vec![self.started("first", &["one"])], vec![deploy])
    }

    fn ready(&self, cluster: &str) -> Fact {
        let (release, ring) = (self.id.clone(), "first".into());
        Fact::ClusterReady { release, ring, cluster: cluster.into() }
    }

    fn seen(&self, version: &str, intent: &str) -> Fact {
        let state = TargetState {
            status: Status::Succeeded,
            image: Some(artifact(version)),
            intent: Some(key(intent)),
            revision: None,
            ready_since: None,
            pause: None,
        };
        Fact::TargetSeen { plan: self.plan.clone(), cluster: "one".into(), state }
    }

    fn arrive(&mut self) -> Result<(), u8> {
        self.pass_time(Span::seconds(30));
        let sent = self.write("one", "deploy", artifact("2")).key;
        let settled = Fact::EffectSettled {
            plan: self.plan.clone(),
            key: sent.clone(),
            outcome: Outcome::Done,
        };
        let seen = self.seen("2", sent.as_str());
        let soaks = Fact::SoakStarted { release: self.id.clone(), ring: "first".into() };
        self.step(wake(), vec![settled, seen, self.ready("one"), soaks], Vec::new())
    }

    fn ask(&mut self) {
        let declared = plan("shop");
        let measure = Command::Measure(Measure {
            key: key("m"),
            release: self.id.clone(),
            ring: "first".into(),
            attempt: 1,
            cluster: "one".into(),
            gate: "ratio".into(),
            source: declared.rings[0].clusters[0].metrics.first().cloned(),
            query: "up".into(),
            samples: None,
            baseline_at: None,
            due: self.now.mono,
            timeout: Span::seconds(10),
            parts: Vec::new(),
            past: None,
        });
        self.world.fold(self.now, &[], &[Arc::new(measure)]).unwrap();
    }

    fn measured(&mut self, verdict: Verdict, value: f64, more: Vec<Fact>) -> Result<(), u8> {
        let reading = Reading::Value { value, at: self.now.wall };
        self.measured_as(verdict, reading, more)
    }

    fn measured_as(&mut self, verdict: Verdict, value: Reading, more: Vec<Fact>) -> Result<(), u8> {
        let detail = String::new();
        let judged = Judged::new(verdict, detail);
        let mut facts = vec![Fact::Measured {
            release: self.id.clone(),
            ring: "first".into(),
            cluster: "one".into(),
            gate: "ratio".into(),
            key: key("m"),
            judged,
        }];
        facts.extend(more);
        let answer =
            Answer { value, samples: None, baseline: None, parts: Vec::new(), infos: Vec::new() };
        self.step(
            Event::Measured { plan: self.plan.clone(), key: key("m"), answer },
            facts,
            Vec::new(),
        )
    }

    fn running(&self, running: bool) -> Fact {
        Fact::SoakRunning { release: self.id.clone(), ring: "first".into(), running, blind: false }
    }

    fn credited(&self, span: Span) -> Fact {
        Fact::SoakCredited { release: self.id.clone(), ring: "first".into(), span }
    }

    fn passed(&self) -> Fact {
        Fact::RingPassed { release: self.id.clone(), ring: "first".into() }
    }
}

#[test]
fn a_ring_that_soaks_through_breaks_nothing() {
    let mut bench = Bench::soaking();
    for _ in 0..10 {
        bench.pass_time(Span::minutes(1));
        let credited = bench.credited(Span::minutes(1));
        bench.measured(Verdict::Pass, 0.95, vec![credited]).unwrap();
    }
    let second = bench.started("second", &["two"]);
    bench.step(wake(), vec![bench.passed(), second], Vec::new()).unwrap();
}

#[test]
fn i01_a_start_or_a_pass_before_its_time() {
    let mut bench = Bench::soaking();
    assert_eq!(bench.fact(bench.started("second", &["two"])), Err(1));
    let mut bench = Bench::soaking();
    bench.pass_time(Span::minutes(1));
    let credited = bench.credited(Span::minutes(1));
    bench.measured(Verdict::Pass, 0.95, vec![credited]).unwrap();
    assert_eq!(bench.fact(bench.passed()), Err(1));
}

#[test]
fn i02_a_breach_without_a_reset_and_a_soak_that_runs_unhealthy() {
    let mut bench = Bench::soaking();
    bench.pass_time(Span::minutes(1));
    let credited = bench.credited(Span::minutes(1));
    bench.measured(Verdict::Pass, 0.95, vec![credited]).unwrap();
    bench.pass_time(Span::minutes(1));
    let stopped = bench.running(false);
    assert_eq!(bench.measured(Verdict::Fail, 0.5, vec![stopped]), Err(2));

    let mut bench = Bench::soaking();
    assert_eq!(bench.measured_as(Verdict::Absent, Reading::Absent, Vec::new()), Err(2));
    let mut bench = Bench::soaking();
    assert_eq!(bench.fact(bench.seen("2", "somebody/else")), Err(2));
    let mut bench = Bench::soaking();
    assert_eq!(bench.fact(bench.seen("9", "shop@2/first/one/1/deploy")), Err(2));
}

#[test]
fn i03_credit_for_more_than_was_observed() {
    let mut bench = Bench::soaking();
    bench.pass_time(Span::minutes(1));
    assert_eq!(bench.fact(bench.credited(Span::minutes(2))), Err(3));
    let mut bench = Bench::soaking();
    bench.fact(bench.running(false)).unwrap();
    bench.pass_time(Span::minutes(1));
    assert_eq!(bench.fact(bench.credited(Span::minutes(1))), Err(3));
    let mut bench = Bench::soaking();
    bench.fact(Fact::TookOver { epoch: 2 }).unwrap();
    bench.pass_time(Span::minutes(1));
    assert_eq!(bench.told(vec![bench.credited(Span::minutes(1))]), Err(3));
}

#[test]
fn i04_a_transition_by_the_wall_clock() {
    let mut bench = Bench::soaking();
    bench.step(wake(), Vec::new(), Vec::new()).unwrap();
    bench.now.wall = "2026-03-10T07:00:00Z".parse().unwrap();
    let (release, ring) = (bench.id.clone(), "first".into());
    let failed = Fact::RingFailed { release, ring, cause: "late".into() };
    assert_eq!(bench.fact(failed), Err(4));
}

#[test]
fn i05_a_pass_on_nothing_and_on_what_was_before() {
    let mut bench = Bench::soaking();
    assert_eq!(bench.measured_as(Verdict::Pass, Reading::Absent, Vec::new()), Err(5));
    let mut bench = Bench::soaking();
    let before = "2026-03-09T06:59:00Z".parse().unwrap();
    let reading = Reading::Value { value: 1.0, at: before };
    assert_eq!(bench.measured_as(Verdict::Pass, reading, Vec::new()), Err(5));
    let mut bench = Bench::soaking();
    let then = bench.now.wall;
    bench.pass_time(Span::minutes(30));
    let reading = Reading::Value { value: 1.0, at: then };
    assert_eq!(bench.measured_as(Verdict::Pass, reading, Vec::new()), Err(5));
}

#[test]
fn i06_a_write_outside_the_jurisdiction() {
    let mut plan = plan("shop");
    let territory = Territory { name: "IE".into(), members: ["IE".into()].into() };
    plan.residency.push(Rule {
        id: "R-1".into(),
        enforcement: Enforcement::Hard,
        demand: Demand::TargetsWithin { rings: Vec::new(), jurisdiction: territory },
        allow_empty: false,
        policy: None,
        declared_at: "policies/all.yaml:1".into(),
    });
    assert_eq!(Bench::released(plan).start(), Err(6));
}

#[test]
fn i07_two_releases_on_a_ring() {
    let mut bench = Bench::soaking();
    bench.id.version = "3".into();
    let submitted = Fact::Submitted {
        release: bench.id.clone(),
        artifact: artifact("3"),
        author: "dana".into(),
        by: ola(),
        lane: Lane::Normal,
        reason: None,
        irreversible: false,
        requires: None,
        policy: plan("shop").hash,
    };
    bench.fact(submitted).unwrap();
    assert_eq!(bench.fact(bench.started("first", &["one"])), Err(7));
}

#[test]
fn i08_ready_without_being_seen_and_a_key_used_twice() {
    let mut bench = Bench::released(plan("shop"));
    bench.start().unwrap();
    bench.fact(bench.seen("2", "somebody/else")).unwrap();
    assert_eq!(bench.fact(bench.ready("one")), Err(8));
    let mut bench = Bench::released(plan("shop"));
    bench.start().unwrap();
    let mut again = bench.write("one", "deploy", artifact("2"));
    again.connection = "elsewhere".into();
    assert_eq!(bench.step(wake(), Vec::new(), vec![Command::Deploy(again)]), Err(8));
}

#[test]
fn i12_a_write_under_a_pause() {
    let mut bench = Bench::released(plan("shop"));
    let scope = Scope::Everything;
    bench.fact(Fact::Paused { scope, by: ola(), reason: None, members: BTreeSet::new() }).unwrap();
    assert_eq!(bench.start(), Err(12));
}

#[test]
fn i13_soak_after_an_abort() {
    let mut bench = Bench::soaking();
    let release = bench.id.clone();
    let aborted = Fact::Aborted { release, by: ola(), reason: None, hold: true };
    bench.world.fold(bench.now, &[aborted], &[]).unwrap();
    bench.pass_time(Span::minutes(1));
    assert_eq!(bench.fact(bench.credited(Span::minutes(1))), Err(13));
}

#[test]
fn i16_a_start_without_approval_or_on_the_authors_own() {
    let mut plan = plan("shop");
    plan.rings[0].policy.approvals = Some(policy::Approvals {
        count: 1,
        roles: vec!["operator".into()],
        jurisdiction: None,
        exclude_author: true,
        expires: None,
    });
    assert_eq!(Bench::released(plan.clone()).start(), Err(16));
    let approved = |by: &str| {
        let mut bench = Bench::released(plan.clone());
        let release = bench.world.release(&bench.id).unwrap();
        let (ring, run) = (&release.plan.rings[0], release.ring(&"first".into()).unwrap());
        let binding = crate::decide::waiting::binding(release, ring, run);
        let by = Actor { name: by.into(), ..ola() };
        let (release, ring) = (bench.id.clone(), "first".into());
        bench.fact(Fact::Approved { release, ring, by, binding, reason: None }).unwrap();
        bench.start()
    };
    assert_eq!(approved("dana"), Err(16));
    assert_eq!(approved("kim"), Ok(()));
}

#[test]
fn i17_back_from_the_grave() {
    let mut bench = Bench::soaking();
    let (release, ring) = (bench.id.clone(), "first".into());
    bench.told(vec![Fact::RingRolledBack { release, ring }]).unwrap();
    assert_eq!(bench.told(vec![bench.started("first", &["one"])]), Err(17));
}

fn going_back(release: ReleaseId, ring: RingName) -> Fact {
    let (by, cause) = ("ola".into(), "bad".into());
    Fact::RollbackStarted { release, ring, by, cause, automatic: true, scope: None }
}

#[test]
fn i18_back_to_what_never_soaked() {
    let mut bench = Bench::soaking();
    let (release, ring) = (bench.id.clone(), "first".into());
    let back = going_back(release, ring);
    let restore = Command::Restore(bench.write("one", "restore", artifact("7")));
    assert_eq!(bench.step(wake(), vec![back], vec![restore]), Err(18));
}

#[test]
fn i19_back_twice() {
    let mut bench = Bench::soaking();
    let (release, ring) = (bench.id.clone(), "first".into());
    let back = going_back(release, ring);
    assert_eq!(bench.told(vec![back.clone()]), Ok(()));
    assert_eq!(bench.told(vec![back]), Err(19));
}

#[test]
fn i19_more_at_once_than_may() {
    let twice_in_an_hour = |per_hour| {
        let mut bench = Bench::soaking();
        let (release, ring) = (bench.id.clone(), RingName::from("first"));
        let limits =
            Limits { rollbacks: RollbackLimits { at_once: None, per_hour }, ..Limits::default() };
        let back = || vec![going_back(release.clone(), ring.clone())];
        bench.step(wake(), vec![Fact::LimitsSet { limits }], Vec::new()).unwrap();
        let restore = bench.write("one", "restore", artifact("1"));
        bench.step(wake(), back(), vec![Command::Restore(restore.clone())]).unwrap();
        let stuck = Fact::ClusterStuck {
            release: release.clone(),
            ring: ring.clone(),
            cluster: "one".into(),
            cause: "crash loop".into(),
        };
        let (id, at) = (release.clone(), ring.clone());
        let failed = Fact::RingFailed { release: id, ring: at, cause: "stuck".into() };
        bench.step(wake(), vec![stuck, failed], Vec::new()).unwrap();
        let again = Write { key: key("another"), attempt: 2, ..restore };
        bench.step(wake(), back(), vec![Command::Restore(again)])
    };
    assert_eq!(twice_in_an_hour(NonZeroU32::new(2)), Ok(()));
    assert_eq!(twice_in_an_hour(NonZeroU32::new(1)), Err(19));
}

#[test]
fn i33_back_though_nobody_asked() {
    let mut bench = Bench::soaking();
    let state = Arc::make_mut(bench.world.plans.get_mut(&bench.plan).unwrap());
    Arc::make_mut(state.releases.get_mut(&bench.id.version).unwrap()).irreversible = true;
    let (release, ring) = (bench.id.clone(), "first".into());
    assert_eq!(bench.told(vec![going_back(release, ring)]), Err(33));
}

#[test]
fn i20_another_policy_under_a_release() {
    let mut bench = Bench::soaking();
    let before = bench.world.clone();
    let state = Arc::make_mut(bench.world.plans.get_mut(&bench.plan).unwrap());
    let release = Arc::make_mut(state.releases.get_mut(&bench.id.version).unwrap());
    Arc::make_mut(&mut release.plan).hash = "another".into();
    let (event, decision) = (&wake(), &Decision::default());
    let step = Step { before: &before, event, now: bench.now, decision, after: &bench.world };
    assert_eq!(bench.invariants.check(&step).unwrap_err().number, 20);
}

#[test]
fn i21_passed_without_a_cluster() {
    let mut plan = plan("wide");
    plan.rings[0].policy.soak.duration = Span::ZERO;
    plan.rings[0].policy.gates.clear();
    let mut bench = Bench::released(plan);
    bench.start().unwrap();
    bench.arrive().unwrap();
    assert_eq!(bench.fact(bench.passed()), Err(21));
}

#[test]
fn i22_a_write_under_a_freeze() {
    let mut bench = Bench::released(plan("shop"));
    let (id, scope, reason) = ("f".into(), Scope::Everything, "peak".into());
    bench
        .fact(Fact::Frozen { id, scope, until: None, by: ola(), reason, members: BTreeSet::new() })
        .unwrap();
    assert_eq!(bench.start(), Err(22));
}

#[test]
fn i23_more_writes_than_may_be() {
    let mut bench = Bench::released(plan("wide"));
    let writes = ["one", "two"].map(|c| bench.write(c, "deploy", artifact("2")));
    let started = bench.started("first", &["one", "two"]);
    let writes = writes.map(Command::Deploy).to_vec();
    assert_eq!(bench.step(wake(), vec![started], writes), Err(23));
}

#[test]
fn i25_a_journal_that_lacks_something() {
    let plan = Arc::new(plan("shop"));
    let declared = Decision { facts: vec![Fact::PlanDeclared { plan }], ..Decision::default() };
    let now = Now { wall: "2026-03-09T07:00:00Z".parse().unwrap(), mono: Mono(0) };
    let mut world = World::default();
    world.fold(now, &declared.facts, &[]).unwrap();
    assert_eq!(refolded([(now, &declared)].into_iter(), &world).unwrap(), world);
    let violation = refolded(std::iter::empty(), &world).unwrap_err();
    assert_eq!((violation.number, violation.detail.as_str()), (25, "it lacks shop"));
}

#[test]
fn i27_a_secret_in_the_audit_and_in_an_answer() {
    let mut bench = Bench::soaking();
    let said = Reading::Error("HTTP 503".into());
    bench.measured_as(Verdict::Error, said, vec![bench.running(false)]).unwrap();
    let (release, ring) = (bench.id.clone(), "first".into());
    let cause = format!("HTTP 503: {CANARY}");
    assert_eq!(bench.told(vec![Fact::RingFailed { release, ring, cause }]), Err(27));
    let mut bench = Bench::soaking();
    let refused = Reply::Refused { kind: Refusal::NotAuthorised, detail: CANARY.into() };
    let decision = Decision { reply: Some(refused), ..Decision::default() };
    let (before, event) = (bench.world.clone(), wake());
    let step = Step {
        before: &before,
        event: &event,
        now: bench.now,
        decision: &decision,
        after: &before,
    };
    assert_eq!(bench.invariants.check(&step).map_err(|v| v.number), Err(27));
}

#[test]
fn i30_an_abort_that_does_not_end() {
    let aborted = || {
        let mut bench = Bench::soaking();
        let (release, ring) = (bench.id.clone(), RingName::from("first"));
        let adopted = Fact::Adopted {
            plan: bench.plan.clone(),
            cluster: "one".into(),
            version: None,
            artifact: artifact("1"),
        };
        let stops =
            Fact::Aborted { release: release.clone(), by: ola(), reason: None, hold: false };
        let back = going_back(release, ring);
        let restore = Command::Restore(bench.write("one", "restore", artifact("1")));
        bench.step(wake(), vec![adopted, stops, back], vec![restore]).unwrap();
        bench
    };
    let mut bench = aborted();
    bench.pass_time(Span::minutes(4));
    bench.step(wake(), Vec::new(), Vec::new()).unwrap();
    bench.pass_time(Span::minutes(60));
    assert_eq!(bench.step(wake(), Vec::new(), Vec::new()), Err(30));
    let (release, ring) = (aborted().id, RingName::from("first"));
    let over = |cause: &str| {
        let (release, ring, cluster) = (release.clone(), ring.clone(), "one".into());
        let stuck = Fact::ClusterStuck { release, ring, cluster, cause: "late".into() };
        let (release, ring, cause) = (bench.id.clone(), RingName::from("first"), cause.into());
        vec![stuck, Fact::RingFailed { release, ring, cause }]
    };
    assert_eq!(aborted().step(wake(), over("stuck: one"), Vec::new()), Ok(()));
    assert_eq!(aborted().step(wake(), over("stuck"), Vec::new()), Err(30));
    let unfinished = vec![over("").swap_remove(0)];
    assert_eq!(aborted().step(wake(), unfinished, Vec::new()), Err(30));
}

#[test]
fn i28_a_mistake_that_reaches_another_plan() {
    let mut bench = Bench::soaking();
    let event = Event::Declared { plan: "wide".into(), declared: Declared::Invalid(Vec::new()) };
    assert_eq!(bench.step(event, vec![bench.running(false)], Vec::new()), Err(28));
}

#[test]
fn i32_a_ring_that_waits_for_nothing() {
    let mut bench = Bench::released(plan("shop"));
    bench.fact(bench.started("first", &["one"])).unwrap();
    bench.pass_time(Span::minutes(1));
    let look = |wake: &Wake, soon| {
        progress(&bench.world, &bench.plan, (wake, soon), bench.now).map_err(|v| v.number)
    };
    let mut wake = Wake::default();
    assert_eq!(look(&wake, false), Err(32));
    assert_eq!(look(&wake, true), Ok(()));
    wake.at = Some(bench.now.mono + Span::minutes(1));
    assert_eq!(look(&wake, false), Ok(()));
    wake.overdue = Some(Mono(1));
    assert_eq!(look(&wake, true), Err(32), "it was looked at, and is due still");
}
