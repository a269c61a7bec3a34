//! The core by exact lists: what is decided, and what is commanded, event by event.

mod caps;
mod counting;
mod declared;
mod earliest;
mod promotion;
mod simulated;
mod waivers;

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;

use super::{
    advance,
    command::{Command, Lane},
    decide,
    event::{
        Action, Actor, Answer, Declared, Event, Outcome, Reading, Request, Scope, Status,
        TargetState,
    },
    fact::{Fact, Refusal, Reply, Verdict},
    phase::{self, ReleasePhase, RingPhase},
    waiting::HoldKind,
    wake,
    world::{Phase, World},
};
use crate::{
    ids::{IdempotencyKey, ReleaseId},
    model::{
        graph::{After, Join, RingGraph},
        lane::{Hotfix, Shortened},
        plan::{OnNewer, Plan},
        policy::{
            Approvals, Concurrency, Gate, Judge, OnBreach, OnNoData, Policy, Rollback,
            RollbackScope, Signal, Soak,
        },
        ring::{Artifact, Cluster, MetricSource, ProviderKind, Ring, Target, TargetKind},
        time::{Mono, Now, Span},
    },
};

fn gate() -> Gate {
    Gate {
        name: "ok".into(),
        signal: Signal::Errors,
        provider: "prometheus".into(),
        query: "up{service=\"{{plan}}\"}".into(),
        samples: None,
        interval: Span::minutes(1),
        initial_delay: Span::ZERO,
        judge: Judge::Threshold { min: Some(0.99), max: None },
        min_samples: None,
        min_total_samples: None,
        failure_limit: Some(1),
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

fn policy() -> Policy {
    Policy {
        name: "quick".into(),
        soak: Soak { duration: Span::minutes(3), on_breach: OnBreach::Reset, backfill: false },
        deadline: Span::minutes(5),
        concurrency: Concurrency::Clusters(1),
        failure_budget: 0,
        gates: vec![gate()],
        rollback: Rollback { automatic: true, ..Rollback::default() },
        approvals: None,
        calendars: Vec::new(),
        min_dwell: Span::ZERO,
        after_watch: Span::ZERO,
    }
}

fn cluster(name: &str) -> Cluster {
    Cluster {
        name: name.into(),
        labels: BTreeMap::new(),
        region: "r".into(),
        jurisdiction: "CH".into(),
        data_classes: Vec::new(),
        failover_pair: None,
        verified_until: None,
        connection: name.into(),
        metrics: vec![MetricSource {
            name: "prometheus".into(),
            kind: ProviderKind::Prometheus,
            url: "http://prometheus".into(),
            jurisdiction: None,
        }],
    }
}

fn ring(name: &str, clusters: &[&str]) -> Ring {
    let clusters = clusters.iter().map(|c| cluster(c)).collect();
    Ring { name: name.into(), clusters, policy: policy().into() }
}

/// `a -> b`, each a ring of one cluster, unless a test changes it.
fn plan() -> Plan {
    let after = |rings: &[&str]| After {
        rings: rings.iter().map(|r| (*r).into()).collect(),
        join: Join::All,
    };
    Plan {
        name: "search".into(),
        hash: "h1".into(),
        commit: "c1".into(),
        target: Target {
            kind: TargetKind::Deployment { container: "app".into() },
            namespace: "shop".into(),
            name: "search".into(),
        },
        data_classes: Vec::new(),
        on_newer: OnNewer::QueueLatest,
        on_policy_change: Default::default(),
        max_skew: None,
        lanes: Default::default(),
        graph: RingGraph::new(vec![("a".into(), after(&[])), ("b".into(), after(&["a"]))])
            .expect("a chain"),
        rings: vec![ring("a", &["one"]), ring("b", &["two"])],
        residency: Vec::new(),
    }
}

fn artifact(version: &str) -> Artifact {
    let digit = version.bytes().last().unwrap_or(b'0') as char;
    Artifact(format!("registry/search@sha256:{}", digit.to_string().repeat(64)))
}

fn actor(name: &str, roles: &[&str]) -> Actor {
    let roles = roles.iter().map(|r| (*r).into()).collect();
    Actor { name: name.into(), roles, jurisdiction: Some("CH".into()) }
}

fn id(version: &str) -> ReleaseId {
    ReleaseId::new("search", version)
}

/// A world that is told events, minute by minute.
struct Bench {
    world: World,
    now: Now,
    /// Every entry, to be folded again.
    journal: Vec<(Now, Vec<Fact>, Vec<Arc<Command>>)>,
    reply: Option<Reply>,
}

impl Bench {
    /// `plan` is declared, and version 1 is known to be good in every cluster.
    fn new(plan: Plan) -> Self {
        let clusters: Vec<_> = plan.clusters().map(|c| c.name.clone()).collect();
        let mut bench = Self::unseen(plan);
        for cluster in clusters {
            bench.see(cluster.as_str(), Status::Succeeded, Some("1"), None);
        }
        bench
    }

    /// `plan` is declared, and no cluster was seen yet.
    fn unseen(plan: Plan) -> Self {
        let wall: Timestamp = "2026-03-09T07:00:00Z".parse().expect("an instant");
        let now = Now { wall, mono: Mono(0) };
        let mut bench = Self { world: World::default(), now, journal: Vec::new(), reply: None };
        bench.tell(Event::TookOver);
        let declared = Declared::Valid(Arc::new(plan));
        bench.tell(Event::Declared { plan: "search".into(), declared });
        bench
    }

    /// The decision in short: each fact's name, then each command's key.
    fn tell(&mut self, event: Event) -> Vec<String> {
        let decision = decide(&self.world, &event, self.now).expect("nothing illegal");
        let mut advanced = self.world.clone();
        let again = advance(&mut advanced, &event, self.now).expect("nothing illegal");
        self.world.fold(self.now, &decision.facts, &decision.commands).expect("nothing illegal");
        assert_eq!(again, decision);
        assert_eq!(advanced, self.world, "what is made at once is what the facts come to");
        for state in self.world.plans.values() {
            let open = state.in_order().filter(|r| !phase::is_settled(r) || r.owes());
            let open: Vec<_> = open.map(|r| r.id.version.clone()).collect();
            assert_eq!(
                state.open, open,
                "who is over for good is looked at no more, and nobody else"
            );
        }
        let name = |fact: &Fact| match serde_json::to_value(fact) {
            Ok(serde_json::Value::Object(fact)) => fact.keys().next().cloned().unwrap_or_default(),
            other => panic!("a fact is an object: {other:?}"),
        };
        let facts = decision.facts.iter().map(name);
        let commands = decision.commands.iter().map(|c| format!("> {}", c.key()));
        let short = facts.chain(commands).collect();
        self.reply = decision.reply;
        if !decision.facts.is_empty() || !decision.commands.is_empty() {
            self.journal.push((self.now, decision.facts, decision.commands));
        }
        short
    }

    fn wait(&mut self, span: Span) {
        self.now.mono = self.now.mono + span;
        self.now.wall = self.now.wall.saturating_add(span.to_signed()).expect("no overflow");
    }

    fn wake(&mut self) -> Vec<String> {
        self.tell(Event::Wake { plan: "search".into() })
    }

    fn see(
        &mut self,
        cluster: &str,
        status: Status,
        version: Option<&str>,
        intent: Option<&str>,
    ) -> Vec<String> {
        let (image, intent) = (version.map(artifact), intent.map(Into::into));
        let state =
            TargetState { status, image, intent, revision: None, ready_since: None, pause: None };
        self.tell(Event::Observed { plan: "search".into(), cluster: cluster.into(), state })
    }

    fn done(&mut self, key: &str) -> Vec<String> {
        let (plan, outcome) = ("search".into(), Outcome::Done);
        self.tell(Event::Outcome { plan, key: key.into(), outcome })
    }

    fn measure(&mut self, key: &str, value: f64) -> Vec<String> {
        let value = Reading::Value { value, at: self.now.wall };
        self.answer(key, value)
    }

    fn answer(&mut self, key: &str, value: Reading) -> Vec<String> {
        let answer =
            Answer { value, samples: None, baseline: None, parts: Vec::new(), infos: Vec::new() };
        self.tell(Event::Measured { plan: "search".into(), key: key.into(), answer })
    }

    fn ask(&mut self, by: Actor, action: Action) -> Vec<String> {
        self.tell(Event::Operator(Request { by, key: None, seen: None, action }))
    }

    fn release(&mut self, version: &str) -> Vec<String> {
        self.ask(actor("dana", &["operator"]), submit(version))
    }

    fn refusal(&self) -> Option<Refusal> {
        match &self.reply {
            Some(Reply::Refused { kind, .. }) => Some(*kind),
            Some(Reply::Done { .. }) | None => None,
        }
    }

    /// From a release to the start of its soak on ring `a`: the first measurement is asked for.
    fn soaking_on_a(&mut self, version: &str) {
        self.release(version);
        let deploy = format!("search@{version}/a/one/1/deploy");
        self.done(&deploy);
        self.wait(Span::seconds(30));
        self.see("one", Status::Succeeded, Some(version), Some(&deploy));
        assert_eq!(self.phase(version, "a"), RingPhase::Soaking);
    }

    /// Takes `n` measurements of ring `a`, a minute apart.
    fn minutes(&mut self, version: &str, from: u32, values: &[f64]) -> Vec<String> {
        let mut last = Vec::new();
        for (i, value) in values.iter().enumerate() {
            if i > 0 {
                self.wait(Span::minutes(1));
                self.wake();
            }
            last =
                self.measure(&format!("search@{version}/a/one/1/ok/{}", from + i as u32), *value);
        }
        last
    }

    fn phase(&self, version: &str, ring: &str) -> RingPhase {
        let release = self.world.release(&id(version)).expect("the release is there");
        phase::of_ring(&self.world, release, &ring.into(), self.now)
    }

    fn release_phase(&self, version: &str) -> ReleasePhase {
        phase::of_release(&self.world, self.world.release(&id(version)).expect("it is there"))
    }

    fn holds(&self, version: &str, ring: &str) -> Vec<HoldKind> {
        let release = self.world.release(&id(version)).expect("the release is there");
        phase::holds(&self.world, release, &ring.into(), self.now)
    }

    fn credited(&self, version: &str, ring: &str) -> Span {
        self.world.run(&id(version), &ring.into()).expect("it is there").soak.credited
    }
}

/// Every test ends by folding its journal again: it must give the live world (invariant 25).
impl Drop for Bench {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let mut again = World::default();
        for (at, facts, commands) in &self.journal {
            again.fold(*at, facts, commands).expect("nothing illegal");
        }
        assert!(again == self.world, "the folded journal is not the live world");
    }
}

fn submit(version: &str) -> Action {
    Action::Submit {
        release: id(version),
        artifact: artifact(version),
        author: None,
        lane: Lane::Normal,
        reason: None,
        irreversible: false,
        requires: None,
    }
}

fn pause(scope: Scope) -> Action {
    Action::Pause { scope, reason: None }
}

#[test]
fn a_release_goes_ring_by_ring() {
    let mut bench = Bench::new(plan());
    assert_eq!(bench.release("2"), ["submitted", "ringStarted", "> search@2/a/one/1/deploy"]);
    assert_eq!(bench.done("search@2/a/one/1/deploy"), ["effectSettled"]);
    let deploy = Some("search@2/a/one/1/deploy");
    let progress = Status::Progressing("1 of 2 updated".into());
    assert_eq!(bench.see("one", progress, Some("2"), deploy), ["targetSeen"]);
    bench.wait(Span::seconds(30));
    assert_eq!(
        bench.see("one", Status::Succeeded, Some("2"), deploy),
        ["targetSeen", "clusterReady", "soakStarted", "> search@2/a/one/1/ok/1"]
    );
    assert_eq!(bench.measure("search@2/a/one/1/ok/1", 1.0), ["measured", "soakRunning"]);
    bench.wait(Span::minutes(1));
    assert_eq!(bench.wake(), ["> search@2/a/one/1/ok/2"]);
    assert_eq!(bench.measure("search@2/a/one/1/ok/2", 1.0), ["measured", "soakCredited"]);
    bench.wait(Span::minutes(1));
    bench.wake();
    bench.measure("search@2/a/one/1/ok/3", 1.0);
    assert_eq!(bench.credited("2", "a"), Span::minutes(2));
    assert_eq!(bench.phase("2", "b"), RingPhase::Waiting);
    bench.wait(Span::minutes(1));
    bench.wake();
    assert_eq!(
        bench.measure("search@2/a/one/1/ok/4", 1.0),
        ["measured", "soakCredited", "ringPassed", "ringStarted", "> search@2/b/two/1/deploy"]
    );
    let good = bench.world.plans["search"].targets["one"].known_good.last().cloned();
    assert_eq!(good.map(|g| g.artifact), Some(artifact("2")));
}

#[test]
fn a_status_under_another_intent_says_nothing_about_our_write() {
    let mut bench = Bench::new(plan());
    bench.release("2");
    assert_eq!(bench.see("one", Status::Succeeded, Some("2"), Some("older")), ["targetSeen"]);
    assert_eq!(bench.phase("2", "a"), RingPhase::Deploying);
}

#[test]
fn a_breach_within_the_limit_resets_and_beyond_it_rolls_back() {
    let mut bench = Bench::new(plan());
    bench.soaking_on_a("2");
    bench.minutes("2", 1, &[1.0, 1.0]);
    assert_eq!(bench.credited("2", "a"), Span::minutes(1));
    bench.wait(Span::minutes(1));
    bench.wake();
    assert_eq!(
        bench.measure("search@2/a/one/1/ok/3", 0.5),
        ["measured", "soakReset"],
        "one failing measurement is allowed"
    );
    assert_eq!(bench.credited("2", "a"), Span::ZERO);
    bench.wait(Span::minutes(1));
    bench.wake();
    assert_eq!(
        bench.measure("search@2/a/one/1/ok/4", 0.5),
        ["measured", "ringFailed", "rollbackStarted", "> search@2/a/one/1/restore"]
    );
    let restore = Some("search@2/a/one/1/restore");
    assert_eq!(
        bench.see("one", Status::Succeeded, Some("1"), restore),
        ["targetSeen", "clusterRestored", "ringRolledBack"]
    );
    assert_eq!(bench.release_phase("2"), ReleasePhase::RolledBack);
    assert_eq!(bench.phase("2", "b"), RingPhase::Waiting);
    bench.release("2");
    assert_eq!(bench.refusal(), Some(Refusal::Tombstoned));
    let retry = Action::Retry { release: id("2"), ring: None, reason: None };
    assert_eq!(
        bench.ask(actor("ola", &["operator"]), retry),
        ["retried", "ringStarted", "effectSuperseded", "> search@2/a/one/2/deploy"]
    );
}

#[test]
fn a_breach_freezes_where_the_policy_says_so() {
    let mut plan = plan();
    plan.rings[0].policy.soak.on_breach = OnBreach::Freeze;
    let mut bench = Bench::new(plan);
    bench.soaking_on_a("2");
    bench.minutes("2", 1, &[1.0, 1.0, 0.5]);
    assert_eq!(bench.credited("2", "a"), Span::minutes(1));
    bench.wait(Span::minutes(1));
    bench.wake();
    bench.minutes("2", 4, &[1.0, 1.0]);
    assert_eq!(bench.credited("2", "a"), Span::minutes(2));
}

#[test]
fn a_restart_of_the_deploy_sets_the_soak_to_zero() {
    let mut bench = Bench::new(plan());
    bench.release("2");
    bench.done("search@2/a/one/1/deploy");
    bench.wait(Span::seconds(30));
    let state = |status, revision: &str| TargetState {
        status,
        image: Some(artifact("2")),
        intent: Some("search@2/a/one/1/deploy".into()),
        revision: Some(revision.into()),
        ready_since: None,
        pause: None,
    };
    let seen = |state| Event::Observed { plan: "search".into(), cluster: "one".into(), state };
    bench.tell(seen(state(Status::Succeeded, "7")));
    bench.minutes("2", 1, &[1.0, 1.0]);
    assert_eq!(bench.credited("2", "a"), Span::minutes(1));
    let restarting = Status::Progressing("1 of 2 updated".into());
    assert_eq!(bench.tell(seen(state(restarting, "8"))), ["targetSeen", "soakReset"]);
    assert_eq!(bench.tell(seen(state(Status::Succeeded, "8"))), ["targetSeen", "soakRunning"]);
    assert_eq!(bench.credited("2", "a"), Span::ZERO);
}

#[test]
fn paused_time_is_not_soak_and_nothing_new_starts() {
    let mut bench = Bench::new(plan());
    bench.soaking_on_a("2");
    bench.minutes("2", 1, &[1.0, 1.0]);
    let ring = Scope::Ring("search".into(), "a".into());
    assert_eq!(
        bench.ask(actor("ola", &["operator"]), pause(ring.clone())),
        ["paused", "soakRunning"]
    );
    bench.wait(Span::minutes(60));
    bench.wake();
    assert_eq!(bench.measure("search@2/a/one/1/ok/3", 1.0), ["measured"]);
    assert_eq!(bench.credited("2", "a"), Span::minutes(1));
    assert_eq!(bench.holds("2", "a"), [HoldKind::Pause]);
    let resume = Action::Resume { scope: ring, reason: None };
    assert_eq!(bench.ask(actor("ola", &["operator"]), resume.clone()), ["resumed", "soakRunning"]);
    bench.ask(actor("ola", &["operator"]), resume);
    assert_eq!(bench.refusal(), Some(Refusal::NothingToDo));
}

#[test]
fn a_pause_answers_with_what_is_on_its_way() {
    let mut bench = Bench::new(plan());
    bench.release("2");
    bench.ask(actor("ola", &["operator"]), pause(Scope::Plan("search".into())));
    let deploy = IdempotencyKey::from("search@2/a/one/1/deploy");
    assert_eq!(bench.reply, Some(Reply::Done { in_flight: vec![deploy] }));
    assert_eq!(bench.release_phase("2"), ReleasePhase::Paused);
}

#[test]
fn no_data_never_advances_and_fails_only_where_the_policy_says_so() {
    let mut plan = plan();
    plan.rings[0].policy.gates[0].on_no_data = OnNoData::Fail;
    let mut bench = Bench::new(plan);
    bench.soaking_on_a("2");
    for n in 1..=5 {
        let key = format!("search@2/a/one/1/ok/{n}");
        assert_eq!(bench.answer(&key, Reading::Absent), ["measured"]);
        assert_eq!(bench.holds("2", "a"), [HoldKind::Data]);
        bench.wait(Span::minutes(1));
        if n < 5 {
            bench.wake();
        }
    }
    assert_eq!(
        bench.wake(),
        ["ringFailed", "rollbackStarted", "> search@2/a/one/1/restore"],
        "five minutes without data"
    );
}

#[test]
fn errors_hold_only_after_their_limit_and_count_as_nothing_else() {
    let mut bench = Bench::new(plan());
    bench.soaking_on_a("2");
    for n in 1..=4 {
        bench.answer(&format!("search@2/a/one/1/ok/{n}"), Reading::Error("down".into()));
        assert_eq!(bench.holds("2", "a"), [], "{n} errors are within the limit");
        bench.wait(Span::minutes(1));
        bench.wake();
    }
    bench.answer("search@2/a/one/1/ok/5", Reading::Error("down".into()));
    assert_eq!(bench.holds("2", "a"), [HoldKind::Data]);
    let place = ("one".into(), "ok".into());
    let run = bench.world.run(&id("2"), &"a".into()).expect("it is there");
    assert_eq!((run.gates[&place].failures, run.soak.credited), (0, Span::ZERO));
    assert_eq!(run.gates[&place].latest.as_ref().map(|(j, _)| j.verdict), Some(Verdict::Error));
}

#[test]
fn clusters_go_one_after_another_and_the_budget_bears_its_failures() {
    let mut plan = plan();
    plan.rings[0] = ring("a", &["one", "uno", "eins"]);
    plan.rings[0].policy.failure_budget = 1;
    let mut bench = Bench::new(plan);
    assert_eq!(bench.release("2"), ["submitted", "ringStarted", "> search@2/a/one/1/deploy"]);
    let ready = Some("search@2/a/one/1/deploy");
    assert_eq!(
        bench.see("one", Status::Succeeded, Some("2"), ready),
        ["targetSeen", "clusterReady", "> search@2/a/uno/1/deploy"]
    );
    let failed = Status::Failed("progress deadline exceeded".into());
    assert_eq!(
        bench.see("uno", failed.clone(), Some("2"), Some("search@2/a/uno/1/deploy")),
        ["targetSeen", "clusterFailed", "> search@2/a/eins/1/deploy"]
    );
    for cluster in ["one", "uno", "eins"] {
        bench.done(&format!("search@2/a/{cluster}/1/deploy"));
    }
    assert_eq!(
        bench.see("eins", failed, Some("2"), Some("search@2/a/eins/1/deploy")),
        [
            "targetSeen",
            "clusterFailed",
            "ringFailed",
            "rollbackStarted",
            "> search@2/a/eins/1/restore",
            "> search@2/a/uno/1/restore",
            "> search@2/a/one/1/restore"
        ]
    );
}

#[test]
fn a_deploy_has_a_deadline_that_stands_still_while_nobody_can_see() {
    let mut bench = Bench::new(plan());
    bench.release("2");
    let deploy = Some("search@2/a/one/1/deploy");
    bench.wait(Span::minutes(4));
    bench.see("one", Status::Unknown("no route".into()), Some("2"), deploy);
    assert_eq!(bench.holds("2", "a"), [HoldKind::Target]);
    bench.wait(Span::minutes(60));
    assert_eq!(bench.wake(), Vec::<String>::new());
    bench.see("one", Status::Progressing("0 of 2".into()), Some("2"), deploy);
    let due = wake::next(&bench.world, &"search".into(), bench.now).at;
    assert_eq!(due, Some(bench.now.mono + Span::minutes(1)));
    bench.wait(Span::minutes(1));
    let decided = bench.wake();
    assert_eq!(decided.first().map(String::as_str), Some("clusterFailed"));
    assert_eq!(bench.phase("2", "a"), RingPhase::RollingBack);
}

#[test]
fn without_a_known_good_a_rollback_says_which_targets_are_stuck() {
    let mut bench = Bench::new(plan());
    bench.release("1");
    let deploy = Some("search@1/a/one/1/deploy");
    let failed = Status::Failed("crash loop".into());
    let decided = bench.see("one", failed, Some("1"), deploy);
    assert!(decided.contains(&"clusterStuck".to_owned()), "{decided:?}");
    let run = bench.world.run(&id("1"), &"a".into()).expect("it is there");
    assert_eq!(run.phase, Phase::Failed);
    assert!(run.cause.as_ref().is_some_and(|c| c.contains("stuck: one")), "{:?}", run.cause);
}

#[test]
fn an_abort_ends_it_and_takes_back_what_moves() {
    let mut bench = Bench::new(plan());
    bench.soaking_on_a("2");
    let abort = |hold| Action::Abort { release: id("2"), hold, reason: Some("wrong".into()) };
    assert_eq!(
        bench.ask(actor("ola", &["operator"]), abort(false)),
        ["aborted", "ringAborted", "rollbackStarted", "> search@2/a/one/1/restore"]
    );
    assert_eq!(bench.release_phase("2"), ReleasePhase::Aborted);
    let restore = Some("search@2/a/one/1/restore");
    assert_eq!(
        bench.see("one", Status::Succeeded, Some("1"), restore),
        ["targetSeen", "clusterRestored", "ringAborted"]
    );
    bench.ask(actor("ola", &["operator"]), abort(false));
    assert_eq!(bench.refusal(), Some(Refusal::AlreadyTerminal));

    let mut bench = Bench::new(plan());
    bench.soaking_on_a("2");
    let held = bench.ask(actor("ola", &["operator"]), abort(true));
    assert_eq!(held, ["aborted", "ringAborted", "ringAborted"]);
}

#[test]
fn approvals_count_once_a_person_and_never_the_authors_own() {
    let mut plan = plan();
    plan.rings[0].policy.approvals = Some(Approvals {
        count: 2,
        roles: vec!["approver".into()],
        jurisdiction: None,
        exclude_author: true,
        expires: Some(Span::minutes(30)),
    });
    let mut bench = Bench::new(plan);
    assert_eq!(bench.release("2"), ["submitted"]);
    assert_eq!(bench.holds("2", "a"), [HoldKind::Approval]);
    assert_eq!(bench.phase("2", "a"), RingPhase::Held);
    let approve = || Action::Approve { release: id("2"), ring: "a".into(), reason: None };
    bench.ask(actor("dana", &["approver"]), approve());
    assert_eq!(bench.refusal(), Some(Refusal::SelfApproval));
    bench.ask(actor("ola", &["operator"]), approve());
    assert_eq!(bench.refusal(), Some(Refusal::NotAuthorised));
    assert_eq!(bench.ask(actor("kim", &["approver"]), approve()), ["approved"]);
    bench.ask(actor("kim", &["approver"]), approve());
    assert_eq!(bench.refusal(), Some(Refusal::NothingToDo));
    bench.wait(Span::minutes(31));
    assert_eq!(bench.ask(actor("lee", &["approver"]), approve()), ["approved"], "kim's expired");
    assert_eq!(
        bench.ask(actor("kim", &["approver"]), approve()),
        ["approved", "ringStarted", "> search@2/a/one/1/deploy"]
    );
}

#[test]
fn the_newest_of_those_that_wait_goes_next() {
    let mut bench = Bench::new(plan());
    bench.soaking_on_a("2");
    assert_eq!(bench.release("3"), ["submitted"]);
    assert_eq!(bench.release("4"), ["submitted", "ringSuperseded", "ringSuperseded"]);
    assert_eq!(bench.release_phase("3"), ReleasePhase::Superseded);
    let decided = bench.minutes("2", 1, &[1.0, 1.0, 1.0, 1.0]);
    assert!(decided.contains(&"> search@4/a/one/1/deploy".to_owned()), "{decided:?}");
    assert!(decided.contains(&"> search@2/b/two/1/deploy".to_owned()), "{decided:?}");
}

#[test]
fn the_same_key_is_the_same_request() {
    let mut bench = Bench::new(plan());
    let request = |action| Request {
        by: actor("dana", &["operator"]),
        key: Some("k".into()),
        seen: None,
        action,
    };
    bench.tell(Event::Operator(request(submit("2"))));
    let first = bench.reply.clone();
    assert_eq!(bench.tell(Event::Operator(request(submit("2")))), Vec::<String>::new());
    assert_eq!(bench.reply, first);
    bench.tell(Event::Operator(request(submit("3"))));
    assert_eq!(bench.refusal(), Some(Refusal::IdempotencyConflict));
}

#[test]
fn what_is_no_longer_as_it_was_seen_is_refused() {
    let mut bench = Bench::new(plan());
    let seen = bench.world.plans["search"].revision;
    bench.release("2");
    let action = pause(Scope::Plan("search".into()));
    let by = actor("ola", &["operator"]);
    bench.tell(Event::Operator(Request { by, key: None, seen: Some(seen), action }));
    assert_eq!(bench.refusal(), Some(Refusal::StaleState));
}

#[test]
fn a_take_over_credits_nothing_until_everything_is_seen_again() {
    let mut bench = Bench::new(plan());
    bench.soaking_on_a("2");
    bench.minutes("2", 1, &[1.0, 1.0]);
    bench.wait(Span::seconds(20));
    assert_eq!(bench.tell(Event::TookOver), ["tookOver"]);
    assert_eq!(bench.holds("2", "a"), [HoldKind::Target]);
    assert_eq!(bench.wake(), ["> search@2/a/one/1/ok/3"], "a fresh measurement, at once");
    let deploy = Some("search@2/a/one/1/deploy");
    bench.see("one", Status::Succeeded, Some("2"), deploy);
    assert_eq!(bench.measure("search@2/a/one/1/ok/3", 1.0), ["measured", "soakRunning"]);
    assert_eq!(bench.credited("2", "a"), Span::minutes(1));
}

#[test]
fn a_jump_of_the_wall_clock_credits_nothing() {
    let mut bench = Bench::new(plan());
    bench.soaking_on_a("2");
    bench.minutes("2", 1, &[1.0]);
    bench.now.wall = bench.now.wall.saturating_add(Span::minutes(600).to_signed()).expect("time");
    bench.wait(Span::minutes(1));
    bench.wake();
    bench.measure("search@2/a/one/1/ok/2", 1.0);
    assert_eq!(bench.credited("2", "a"), Span::minutes(1));
}

#[test]
fn a_plan_in_error_admits_nothing_and_leaves_what_moves_alone() {
    let mut bench = Bench::new(plan());
    bench.soaking_on_a("2");
    let problem = super::event::Problem {
        rule: "DAG001".into(),
        place: "rings/search.yaml:3:1".into(),
        message: "rings wait for each other: a -> b -> a".into(),
    };
    let declared = Declared::Invalid(vec![problem]);
    assert_eq!(bench.tell(Event::Declared { plan: "search".into(), declared }), ["planInError"]);
    assert_eq!(bench.holds("2", "a"), []);
    bench.release("3");
    assert_eq!(bench.refusal(), Some(Refusal::PlanInError));
}

#[test]
fn a_refused_write_fails_its_cluster() {
    let mut bench = Bench::new(plan());
    bench.release("2");
    let key: IdempotencyKey = "search@2/a/one/1/deploy".into();
    let outcome = Outcome::Refused("no consent".into());
    let decided = bench.tell(Event::Outcome { plan: "search".into(), key, outcome });
    assert_eq!(
        decided,
        [
            "effectSettled",
            "clusterFailed",
            "ringFailed",
            "rollbackStarted",
            "> search@2/a/one/1/restore"
        ]
    );
}
