//! Worlds that the simulator found, each cut down to what it takes.

use super::*;

fn retry(version: &str) -> Action {
    Action::Retry { release: id(version), ring: None, reason: None }
}

fn rollback(version: &str) -> Action {
    Action::Rollback { release: id(version), ring: None, scope: None, reason: None }
}

fn ola() -> Actor {
    actor("ola", &["operator"])
}

/// A ring of one cluster without gates or soak: it passes as soon as it is there.
fn instant(plan: &mut Plan) {
    for ring in &mut plan.rings {
        ring.policy.gates.clear();
        ring.policy.soak.duration = Span::ZERO;
    }
}

impl Bench {
    /// The deploy of an attempt on ring `a` arrives.
    fn arrives(&mut self, version: &str, attempt: u32) -> Vec<String> {
        let deploy = format!("search@{version}/a/one/{attempt}/deploy");
        self.see("one", Status::Succeeded, Some(version), Some(&deploy))
    }

    /// The deploy of an attempt on ring `a` is given up by its controller.
    fn crashes(&mut self, version: &str, attempt: u32) -> Vec<String> {
        let deploy = format!("search@{version}/a/one/{attempt}/deploy");
        self.see("one", Status::Failed("crash loop".into()), Some(version), Some(&deploy))
    }
}

#[test]
fn a_ring_stays_in_motion_though_another_release_gives_way_on_it() {
    let mut bench = Bench::new(plan());
    bench.soaking_on_a("2");
    bench.release("3");
    bench.release("4");
    assert_eq!(bench.release_phase("3"), ReleasePhase::Superseded);
    let ring = ("search".into(), "a".into());
    assert!(bench.world.shared.motion.contains_key(&ring), "version 2 still soaks there");
}

#[test]
fn a_key_used_for_something_else_leaves_a_refusal_on_record() {
    let mut bench = Bench::new(plan());
    let request =
        |action| Event::Operator(Request { by: ola(), key: Some("k".into()), seen: None, action });
    bench.tell(request(submit("2")));
    assert_eq!(bench.tell(request(submit("3"))), ["refused"]);
    assert_eq!(bench.refusal(), Some(Refusal::IdempotencyConflict));
    assert_eq!(bench.tell(request(submit("2"))), Vec::<String>::new(), "the first still counts");
    assert_eq!(bench.refusal(), None);
}

#[test]
fn a_ring_that_is_back_is_not_taken_back_again_for_a_rejection() {
    let mut plan = plan();
    plan.rings[0].policy.approvals = Some(Approvals {
        count: 1,
        roles: Vec::new(),
        jurisdiction: None,
        exclude_author: true,
        expires: None,
    });
    let mut bench = Bench::new(plan);
    bench.release("2");
    bench.ask(ola(), Action::Approve { release: id("2"), ring: "a".into(), reason: None });
    bench.crashes("2", 1);
    bench.see("one", Status::Succeeded, Some("1"), Some("search@2/a/one/1/restore"));
    assert_eq!(bench.phase("2", "a"), RingPhase::RolledBack);
    bench.ask(ola(), retry("2"));
    bench.ask(ola(), Action::Reject { release: id("2"), ring: "a".into(), reason: None });
    assert_eq!(bench.phase("2", "a"), RingPhase::Failed);
    bench.ask(ola(), rollback("2"));
    assert_eq!(bench.refusal(), Some(Refusal::NothingToDo), "it is out nowhere");
}

#[test]
fn what_was_stuck_is_taken_back_under_keys_of_its_own() {
    let mut bench = Bench::new(plan());
    bench.release("2");
    bench.crashes("2", 1);
    let restore = |attempt| format!("search@2/a/one/{attempt}/restore");
    let stuck = Status::Failed("crash loop".into());
    bench.see("one", stuck, Some("1"), Some(&restore(1)));
    assert_eq!(bench.phase("2", "a"), RingPhase::Failed);
    // The target has accepted the first key: the same again would change nothing there.
    let again = bench.ask(ola(), rollback("2"));
    assert_eq!(again, ["effectSuperseded", "rollbackStarted", "> search@2/a/one/2/restore"]);
    bench.see("one", Status::Succeeded, Some("1"), Some(&restore(2)));
    assert_eq!(bench.phase("2", "a"), RingPhase::RolledBack);
}

#[test]
fn a_target_that_runs_something_else_under_our_intent_is_not_healthy() {
    let mut plan = plan();
    plan.rings[0].policy.soak.duration = Span::minutes(3);
    let mut bench = Bench::new(plan);
    bench.soaking_on_a("2");
    bench.minutes("2", 1, &[1.0, 1.0]);
    let deploy = Some("search@2/a/one/1/deploy");
    // Somebody set another image by hand, and left our annotations there.
    let seen = bench.see("one", Status::Succeeded, Some("9"), deploy);
    assert_eq!(seen, ["targetSeen", "soakReset"]);
    assert_eq!(bench.holds("2", "a"), [HoldKind::Target]);
    bench.wait(Span::minutes(1));
    bench.wake();
    assert_eq!(bench.measure("search@2/a/one/1/ok/3", 1.0), ["measured"], "nothing runs");
    bench.wait(Span::minutes(4));
    let lost = bench.wake();
    assert_eq!(lost.first().map(String::as_str), Some("clusterFailed"), "not ours for a deadline");
}

#[test]
fn a_cluster_that_was_lost_within_the_budget_wakes_nobody() {
    let mut plan = plan();
    plan.rings[0] = ring("a", &["one", "uno"]);
    plan.rings[0].policy.failure_budget = 1;
    let mut bench = Bench::new(plan);
    bench.release("2");
    bench.arrives("2", 1);
    let uno = Some("search@2/a/uno/1/deploy");
    bench.see("uno", Status::Succeeded, Some("2"), uno);
    for cluster in ["one", "uno"] {
        bench.measure(&format!("search@2/a/{cluster}/1/ok/1"), 1.0);
    }
    bench.see("uno", Status::Failed("crash loop".into()), Some("2"), uno);
    bench.wait(Span::minutes(1));
    assert_eq!(bench.wake(), ["> search@2/a/one/1/ok/2"]);
    bench.measure("search@2/a/one/1/ok/2", 1.0);
    let next = wake::next(&bench.world, &"search".into(), bench.now).at;
    assert_eq!(next, Some(bench.now.mono + Span::minutes(1)), "when one is measured again");
}

#[test]
fn one_release_goes_back_on_a_ring_at_a_time() {
    let mut plan = plan();
    instant(&mut plan);
    plan.rings[0].policy.rollback.automatic = false;
    let mut bench = Bench::new(plan);
    bench.release("2");
    bench.arrives("2", 1);
    assert_eq!(bench.phase("2", "a"), RingPhase::Passed);
    bench.release("3");
    bench.crashes("3", 1);
    assert_eq!(bench.phase("3", "a"), RingPhase::Failed);
    let back = |version| Action::Rollback {
        release: id(version),
        ring: Some("a".into()),
        scope: None,
        reason: None,
    };
    bench.ask(ola(), back("2"));
    assert_eq!(bench.refusal(), Some(Refusal::NothingToDo), "version 3 is what is out there");
    bench.ask(ola(), back("3"));
    assert_eq!(bench.phase("3", "a"), RingPhase::RollingBack);
    bench.ask(ola(), back("2"));
    assert_eq!(bench.refusal(), Some(Refusal::NothingToDo), "version 3 is still on its way back");
    bench.see("one", Status::Succeeded, Some("2"), Some("search@3/a/one/1/restore"));
    assert_eq!(bench.ask(ola(), back("2")).first().map(String::as_str), Some("rollbackStarted"));
}

#[test]
fn an_older_release_that_was_tried_again_can_be_taken_back() {
    let mut plan = plan();
    instant(&mut plan);
    let mut bench = Bench::new(plan);
    bench.release("2");
    bench.crashes("2", 1);
    bench.see("one", Status::Succeeded, Some("1"), Some("search@2/a/one/1/restore"));
    bench.release("3");
    bench.arrives("3", 1);
    assert_eq!(bench.phase("3", "a"), RingPhase::Passed);
    bench.wait(Span::minutes(1));
    bench.ask(ola(), retry("2"));
    assert_eq!(bench.phase("2", "a"), RingPhase::Deploying);
    let back = bench.ask(ola(), rollback("2"));
    assert_eq!(back, ["effectSuperseded", "rollbackStarted", "> search@2/a/one/2/restore"]);
}

#[test]
fn the_end_of_an_earlier_attempts_write_says_nothing_of_this_one() {
    let mut plan = plan();
    plan.rings[0] = ring("a", &["one", "uno"]);
    plan.rings[0].policy.rollback.automatic = false;
    let mut bench = Bench::new(plan);
    bench.release("2");
    bench.arrives("2", 1);
    bench.wait(Span::minutes(5));
    bench.wake();
    assert_eq!(bench.phase("2", "a"), RingPhase::Failed, "uno had not taken its write in time");
    bench.ask(ola(), retry("2"));
    let outcome = Outcome::Refused("no consent".into());
    let key = IdempotencyKey::from("search@2/a/uno/1/deploy");
    let ended = bench.tell(Event::Outcome { plan: "search".into(), key, outcome });
    assert_eq!(ended, ["effectSettled"]);
}

#[test]
fn a_take_over_brings_no_first_measurement_forward() {
    let mut plan = plan();
    plan.rings[0].policy.gates[0].initial_delay = Span::minutes(2);
    let mut bench = Bench::new(plan);
    bench.soaking_on_a("2");
    bench.wait(Span::minutes(1));
    bench.tell(Event::TookOver);
    assert_eq!(bench.wake(), Vec::<String>::new(), "the release is still warming up");
    bench.wait(Span::minutes(1));
    assert_eq!(bench.wake(), ["> search@2/a/one/1/ok/1"]);
}

#[test]
fn a_version_that_cannot_come_to_the_next_ring_leaves_no_skew() {
    let mut plan = plan();
    instant(&mut plan);
    let after = |rings: &[&str]| After {
        rings: rings.iter().map(|r| (*r).into()).collect(),
        join: Join::All,
    };
    let rings =
        vec![("a".into(), after(&[])), ("c".into(), after(&[])), ("b".into(), after(&["a", "c"]))];
    plan.graph = RingGraph::new(rings).expect("a join");
    plan.rings.push(ring("c", &["three"]));
    plan.max_skew = Some(1);
    let mut bench = Bench::new(plan);
    bench.release("2");
    bench.arrives("2", 1);
    let failed = Status::Failed("crash loop".into());
    bench.see("three", failed, Some("2"), Some("search@2/c/three/1/deploy"));
    bench.see("three", Status::Succeeded, Some("1"), Some("search@2/c/three/1/restore"));
    assert_eq!(bench.release_phase("2"), ReleasePhase::RolledBack);
    bench.release("3");
    assert_eq!(bench.holds("3", "a"), []);
    assert_eq!(bench.phase("3", "a"), RingPhase::Deploying);
}

#[test]
fn what_a_lost_cluster_measured_last_holds_nobody() {
    let mut plan = plan();
    plan.rings[0] = ring("a", &["one", "uno"]);
    plan.rings[0].policy.failure_budget = 1;
    let mut bench = Bench::new(plan);
    bench.release("2");
    bench.arrives("2", 1);
    let uno = Some("search@2/a/uno/1/deploy");
    bench.see("uno", Status::Succeeded, Some("2"), uno);
    bench.wait(Span::seconds(1));
    bench.measure("search@2/a/one/1/ok/1", 1.0);
    bench.answer("search@2/a/uno/1/ok/1", Reading::Absent);
    assert_eq!(bench.holds("2", "a"), [HoldKind::Data]);
    bench.see("uno", Status::Failed("crash loop".into()), Some("2"), uno);
    assert_eq!(bench.holds("2", "a"), []);
    bench.wait(Span::minutes(1));
    bench.wake();
    assert_eq!(bench.measure("search@2/a/one/1/ok/2", 1.0), ["measured", "soakCredited"]);
}

#[test]
fn what_a_blind_write_found_is_what_the_way_back_goes_to() {
    let mut bench = Bench::unseen(plan());
    bench.see("one", Status::Unknown("no route".into()), None, None);
    bench.release("2");
    let found = |bench: &mut Bench, version: &str, intent: Option<&str>| {
        let state = TargetState {
            status: Status::Succeeded,
            image: Some(artifact(version)),
            intent: intent.map(Into::into),
            revision: None,
            ready_since: None,
            pause: None,
        };
        bench.tell(Event::Found { plan: "search".into(), cluster: "one".into(), state })
    };
    assert_eq!(found(&mut bench, "7", Some("another's")), Vec::<String>::new(), "not its owner's");
    assert_eq!(found(&mut bench, "1", None), ["adopted"]);
    assert_eq!(found(&mut bench, "5", None), Vec::<String>::new(), "the first is the first");
    bench.crashes("2", 1);
    bench.see("one", Status::Succeeded, Some("1"), Some("search@2/a/one/1/restore"));
    assert_eq!(bench.phase("2", "a"), RingPhase::RolledBack);
}

#[test]
fn the_end_of_its_lane_wakes_nobody_for_a_release_that_is_settled() {
    let mut plan = plan();
    let after = |rings: &[&str]| After {
        rings: rings.iter().map(|r| (*r).into()).collect(),
        join: Join::All,
    };
    let rings =
        vec![("a".into(), after(&[])), ("b".into(), after(&["a"])), ("c".into(), after(&["b"]))];
    plan.graph = RingGraph::new(rings).expect("a chain");
    plan.rings.push(ring("c", &["three"]));
    plan.lanes.hotfix = Some(Hotfix {
        soak: Shortened { share: 0.25, floor: Span::ZERO },
        may_not_skip: vec!["a".into(), "b".into()],
        defer_gates: vec!["ok".into()],
        approvals: None,
        time_to_live: Span::minutes(10),
    });
    let mut bench = Bench::new(plan);
    let Action::Submit { release, artifact, author, irreversible, requires, .. } = submit("2")
    else {
        panic!("it is a release");
    };
    let (lane, reason) = (Lane::Hotfix, Some("it cannot wait".into()));
    let hotfix = Action::Submit { release, artifact, author, lane, reason, irreversible, requires };
    bench.ask(ola(), hotfix);
    bench.arrives("2", 1);
    bench.wait(Span::minutes(1));
    bench.wake();
    assert_eq!(bench.phase("2", "a"), RingPhase::Passed);
    let crash = Status::Failed("crash loop".into());
    bench.see("two", crash, Some("2"), Some("search@2/b/two/1/deploy"));
    bench.see("two", Status::Succeeded, Some("1"), Some("search@2/b/two/1/restore"));
    assert_eq!(bench.release_phase("2"), ReleasePhase::RolledBack);
    assert_eq!(bench.phase("2", "c"), RingPhase::Waiting, "and will not start by the lane's rules");
    bench.wait(Span::minutes(10));
    bench.wake();
    let next = wake::next(&bench.world, &"search".into(), bench.now);
    assert_eq!(next.overdue, None, "the lane is over, and nobody has to say so");
    assert!(bench.world.release(&id("2")).expect("it is there").owes(), "its gate is measured on");
}

/// Who must agree to a start: anybody but the author.
fn one_approver() -> Approvals {
    Approvals {
        count: 1,
        roles: Vec::new(),
        jurisdiction: None,
        exclude_author: true,
        expires: None,
    }
}

#[test]
fn a_rejection_forgets_no_target_that_is_stuck() {
    let mut plan = plan();
    plan.rings[0].policy.approvals = Some(one_approver());
    let mut bench = Bench::new(plan);
    bench.release("2");
    bench.ask(ola(), Action::Approve { release: id("2"), ring: "a".into(), reason: None });
    bench.crashes("2", 1);
    let stuck = Status::Failed("crash loop".into());
    bench.see("one", stuck, Some("1"), Some("search@2/a/one/1/restore"));
    assert_eq!(bench.phase("2", "a"), RingPhase::Failed);
    bench.ask(ola(), retry("2"));
    bench.ask(ola(), Action::Reject { release: id("2"), ring: "a".into(), reason: None });
    let run = bench.world.run(&id("2"), &"a".into()).expect("it is there");
    assert_eq!(run.cause.as_deref(), Some("rejected by ola; stuck: one: crash loop"));
}

#[test]
fn in_strict_order_what_is_tried_again_and_what_has_overtaken_it_do_not_wait_for_each_other() {
    let mut plan = plan();
    instant(&mut plan);
    plan.on_newer = OnNewer::FinishThen;
    plan.max_skew = Some(1);
    let mut bench = Bench::new(plan);
    bench.release("2");
    bench.crashes("2", 1);
    bench.see("one", Status::Succeeded, Some("1"), Some("search@2/a/one/1/restore"));
    bench.ask(ola(), pause(Scope::Ring("search".into(), "b".into())));
    bench.release("3");
    bench.arrives("3", 1);
    assert_eq!(bench.phase("3", "a"), RingPhase::Passed);
    bench.ask(ola(), retry("2"));
    assert_eq!(bench.holds("2", "a"), [HoldKind::Skew]);
    bench.ask(
        ola(),
        Action::Resume { scope: Scope::Ring("search".into(), "b".into()), reason: None },
    );
    assert_eq!(bench.phase("3", "b"), RingPhase::Deploying);
    let deploy = Some("search@3/b/two/1/deploy");
    bench.see("two", Status::Succeeded, Some("3"), deploy);
    assert_eq!(bench.phase("3", "b"), RingPhase::Passed);
    assert_eq!(bench.phase("2", "a"), RingPhase::Deploying);
}

#[test]
fn a_deploy_that_loses_its_point_in_the_decision_that_makes_it_is_not_made() {
    let mut plan = plan();
    let first = || After { rings: Vec::new(), join: Join::All };
    plan.graph = RingGraph::new(vec![("a".into(), first()), ("b".into(), first())]).expect("two");
    plan.rings[1].policy.rollback.scope = RollbackScope::Exposed;
    let mut bench = Bench::new(plan);
    let a = || Scope::Ring("search".into(), "a".into());
    bench.ask(ola(), pause(a()));
    bench.release("2");
    let deploy = "search@2/b/two/1/deploy";
    bench.done(deploy);
    bench.see("two", Status::Progressing("1 of 2".into()), Some("2"), Some(deploy));
    // Nobody has looked at its deadline yet when ring a may start.
    bench.wait(Span::minutes(6));
    let decided = bench.ask(ola(), Action::Resume { scope: a(), reason: None });
    assert!(decided.contains(&"ringStarted".into()), "{decided:?}");
    let commands: Vec<_> = decided.iter().filter(|what| what.starts_with('>')).collect();
    assert_eq!(commands, ["> search@2/b/two/1/restore"]);
    assert_eq!(bench.phase("2", "a"), RingPhase::RolledBack, "nothing of it went out");
    let state = bench.world.plans.get("search").expect("it is there");
    assert_eq!(state.in_flight.len(), 1);
}
