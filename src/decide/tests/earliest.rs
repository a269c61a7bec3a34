//! The earliest instants: what is shown of what is still to come, and that nothing is sooner.

use super::*;
use crate::{
    decide::waiting::{
        WaitingOn,
        earliest::{Course, Need, Stay, of_plan, of_release},
    },
    ids::RingName,
    model::calendar::{AppliesTo, Calendar, InFlight, Window},
};

impl Bench {
    fn course(&self, version: &str) -> Course {
        let release = self.world.release(&id(version)).expect("the release is there");
        of_release(&self.world, release, self.now).expect("it is not settled")
    }

    /// In seconds from now, when it could start and pass, and how many things somebody must do.
    fn expected(&self, version: &str, ring: &str) -> (Option<i64>, Option<i64>, usize) {
        let Stay { start, pass, needs } =
            self.course(version).on(&ring.into()).cloned().expect("the ring is there");
        let away = |at: Timestamp| at.duration_since(self.now.wall).as_secs();
        (start.map(away), pass.map(away), needs.len())
    }

    fn clock(&self, text: &str) -> Timestamp {
        text.parse().expect("an instant")
    }

    /// One minute with every measurement that is due answered.
    fn minute(&mut self) {
        self.wait(Span::minutes(1));
        self.wake();
        let keys: Vec<_> = self.world.plans["search"].in_flight.keys().cloned().collect();
        for key in keys.iter().filter(|key| key.as_str().contains("/ok/")) {
            self.measure(key.as_str(), 1.0);
        }
    }
}

fn approved_by_one() -> Option<Approvals> {
    Some(Approvals {
        count: 1,
        roles: Vec::new(),
        jurisdiction: None,
        exclude_author: true,
        expires: None,
    })
}

/// The bench begins on Monday 2026-03-09 at 07:00 UTC.
fn office_hours(applies_to: AppliesTo, in_flight: InFlight) -> Calendar {
    Calendar {
        name: "office-hours".into(),
        time_zone: "UTC".into(),
        allow: vec![Window { cron: "0 0 9 * * Mon-Fri".into(), duration: Span::minutes(8 * 60) }],
        deny: Vec::new(),
        applies_to: vec![applies_to],
        in_flight,
    }
}

#[test]
fn what_is_left_of_the_soaks_adds_up_along_the_rings() {
    let mut bench = Bench::new(plan());
    bench.release("2");
    assert_eq!(bench.expected("2", "a"), (None, Some(180), 0), "a deploy may take no time");
    assert_eq!(bench.expected("2", "b"), (Some(180), Some(360), 0));
    let deploy = Some("search@2/a/one/1/deploy");
    bench.done("search@2/a/one/1/deploy");
    bench.wait(Span::seconds(30));
    bench.see("one", Status::Succeeded, Some("2"), deploy);
    bench.minutes("2", 1, &[1.0, 1.0]);
    assert_eq!(bench.expected("2", "a"), (None, Some(120), 0), "a minute is credited");
    bench.wait(Span::seconds(50));
    assert_eq!(bench.expected("2", "a"), (None, Some(70), 0), "what runs will be credited");
    assert_eq!(
        bench.course("2").whole().pass,
        Some(bench.now.wall + Span::seconds(250).to_signed())
    );
    bench.wait(Span::minutes(4));
    assert_eq!(bench.expected("2", "a").1, Some(0), "it is due, and has not passed yet");
}

#[test]
fn what_a_person_must_do_is_named_and_stands_for_the_rings_after() {
    let mut plan = plan();
    plan.rings[1].policy.approvals = approved_by_one();
    let mut bench = Bench::new(plan);
    bench.release("2");
    let needs = |bench: &Bench, ring: &str| {
        bench.course("2").on(&ring.into()).expect("it is there").needs.clone()
    };
    assert!(needs(&bench, "a").is_empty());
    let [Need::Hold(ring, WaitingOn::Approval { .. })] = &needs(&bench, "b")[..] else {
        panic!("{:?}", needs(&bench, "b"))
    };
    assert_eq!(*ring, RingName::from("b"));
    assert_eq!(bench.expected("2", "b"), (Some(180), Some(360), 1), "no sooner, if given at once");
    bench.ask(actor("ola", &["operator"]), pause(Scope::Plan("search".into())));
    // The pause holds both rings, each for itself, and `b` by way of `a` as well.
    assert_eq!((needs(&bench, "a").len(), needs(&bench, "b").len()), (1, 3));
    let resume = Action::Resume { scope: Scope::Plan("search".into()), reason: None };
    bench.ask(actor("ola", &["operator"]), resume);
    bench.ask(
        actor("kim", &[]),
        Action::Approve { release: id("2"), ring: "b".into(), reason: None },
    );
    assert!(needs(&bench, "b").is_empty(), "it was given early");
}

#[test]
fn a_freeze_with_an_end_takes_its_time_and_one_without_needs_somebody() {
    let mut bench = Bench::new(plan());
    let until = bench.now.wall + Span::minutes(60).to_signed();
    let frozen = |until| Fact::Frozen {
        id: "f".into(),
        scope: Scope::Plan("search".into()),
        until,
        by: actor("ola", &[]),
        reason: "elections".into(),
        members: std::collections::BTreeSet::new(),
    };
    let put = |bench: &mut Bench, fact: Fact| {
        bench.world.fold(bench.now, std::slice::from_ref(&fact), &[]).expect("it follows");
        bench.journal.push((bench.now, vec![fact], Vec::new()));
    };
    put(&mut bench, frozen(Some(until)));
    bench.release("2");
    assert_eq!(bench.expected("2", "a"), (Some(3_600), Some(3_780), 0));
    put(&mut bench, frozen(None));
    assert_eq!(bench.expected("2", "a"), (Some(0), Some(180), 1));
    assert_eq!(bench.expected("2", "b"), (Some(180), Some(360), 2));
}

#[test]
fn windows_are_waited_for_and_those_that_are_too_short_are_passed_over() {
    let mut plan = plan();
    plan.rings[0].policy.calendars = vec![office_hours(AppliesTo::Start, InFlight::FinishRing)];
    // From 09:00 a window of four minutes, for a deploy that may take five; then a longer one at 14:00.
    plan.rings[1].policy.calendars = vec![Calendar {
        name: "short".into(),
        allow: vec![
            Window { cron: "0 1 9 * * *".into(), duration: Span::minutes(4) },
            Window { cron: "0 0 14 * * *".into(), duration: Span::minutes(6) },
        ],
        ..office_hours(AppliesTo::Start, InFlight::FinishRing)
    }];
    let mut bench = Bench::new(plan);
    bench.release("2");
    let course = bench.course("2");
    let on = |ring: &str| course.on(&ring.into()).cloned().expect("it is there");
    assert_eq!(on("a").start, Some(bench.clock("2026-03-09T09:00:00Z")));
    assert_eq!(on("b").start, Some(bench.clock("2026-03-09T14:00:00Z")));
    assert_eq!(on("b").pass, Some(bench.clock("2026-03-09T14:03:00Z")));
    // A release of the future is reckoned by the same computation.
    let release = bench.world.release(&id("2")).expect("it is there");
    assert_eq!(of_plan(&release.plan, bench.now.wall, |_| Span::ZERO), course);
    let slow = of_plan(&release.plan, bench.now.wall, |ring| ring.policy.deadline);
    assert_eq!(
        slow.on(&"a".into()).and_then(|a| a.pass),
        Some(bench.clock("2026-03-09T09:08:00Z"))
    );
    // What explain says of the hold is the same instant.
    bench.now.wall = bench.clock("2026-03-09T16:57:00Z");
    let holds = crate::decide::waiting::waiting_on(&bench.world, release, &"a".into(), bench.now);
    let [WaitingOn::Calendar { opens, .. }] = &holds[..] else { panic!("{holds:?}") };
    assert_eq!(*opens, Some(bench.clock("2026-03-10T09:00:00Z")), "three minutes are too few");
    assert_eq!(bench.course("2").on(&"a".into()).and_then(|a| a.start), *opens);
}

#[test]
fn a_calendar_that_halts_takes_its_nights_off_the_soak() {
    let mut plan = plan();
    plan.rings[0].policy.soak.duration = Span::minutes(10 * 60);
    plan.rings[0].policy.calendars = vec![office_hours(AppliesTo::Advance, InFlight::Halt)];
    let course =
        of_plan(&plan, "2026-03-09T12:00:00Z".parse().expect("an instant"), |_| Span::ZERO);
    let pass = course.on(&"a".into()).and_then(|a| a.pass);
    // Five hours of Monday, five of Tuesday.
    assert_eq!(pass, Some("2026-03-10T14:00:00Z".parse().expect("an instant")));
}

#[test]
fn a_join_waits_for_all_of_them_or_for_the_first() {
    let mut plan = plan();
    let after =
        |rings: &[&str], join| After { rings: rings.iter().map(|r| (*r).into()).collect(), join };
    plan.rings = vec![ring("a", &["one"]), ring("b", &["two"]), ring("c", &["three"])];
    plan.rings[1].policy.soak.duration = Span::minutes(9);
    plan.rings[1].policy.approvals = approved_by_one();
    for (join, start, needs) in [(Join::All, 540, 1), (Join::Any, 180, 0)] {
        let rings = vec![
            ("a".into(), after(&[], Join::All)),
            ("b".into(), after(&[], Join::All)),
            ("c".into(), after(&["a", "b"], join)),
        ];
        plan.graph = RingGraph::new(rings).expect("no circle");
        let mut bench = Bench::new(plan.clone());
        bench.release("2");
        assert_eq!(bench.expected("2", "c"), (Some(start), Some(start + 180), needs), "{join:?}");
        assert_eq!(bench.course("2").whole().needs.len(), 1, "all must pass for the whole");
    }
}

#[test]
fn behind_another_release_it_waits_for_its_soak_or_until_it_may_be_replaced() {
    let mut bench = Bench::new(plan());
    bench.soaking_on_a("2");
    bench.release("3");
    assert_eq!(bench.expected("3", "a"), (Some(180), Some(360), 0));
    let mut plan = plan();
    plan.on_newer = OnNewer::ReplaceIfUnhealthy;
    plan.rings[0].policy.min_dwell = Span::minutes(2);
    let mut bench = Bench::new(plan);
    bench.release("2");
    bench.release("3");
    assert_eq!(bench.expected("3", "a"), (Some(120), Some(300), 0), "it dwells");
}

#[test]
fn a_release_waits_for_what_it_requires() {
    let mut bench = Bench::new(plan());
    bench.release("2");
    let Action::Submit { artifact, author, lane, reason, irreversible, .. } = submit("3") else {
        panic!("a release is submitted")
    };
    let (release, requires) = (id("3"), Some("2".into()));
    let third = Action::Submit { release, artifact, author, lane, reason, irreversible, requires };
    bench.ask(actor("dana", &["operator"]), third);
    assert_eq!(bench.expected("3", "a"), (Some(360), Some(540), 0), "two soaks of the other first");
}

#[test]
fn what_failed_needs_a_new_attempt_and_what_is_settled_expects_nothing() {
    let mut bench = Bench::new(plan());
    bench.soaking_on_a("2");
    bench.minutes("2", 1, &[0.5, 0.5]);
    assert_eq!(bench.phase("2", "a"), RingPhase::RollingBack);
    let course = bench.course("2");
    let b = course.on(&"b".into()).expect("it is there");
    assert_eq!((b.start, b.pass, &b.needs[..]), (None, None, &[Need::Attempt("a".into())][..]));
    bench.see("one", Status::Succeeded, Some("1"), Some("search@2/a/one/1/restore"));
    let release = bench.world.release(&id("2")).expect("it is there");
    assert_eq!(of_release(&bench.world, release, bench.now), None);
}

/// Whatever was shown on the way: neither ring passes sooner, and if all goes well hardly later.
#[test]
fn nothing_passes_before_the_earliest_instant() {
    let mut plan = plan();
    plan.rings[1].policy.calendars = vec![Calendar {
        allow: vec![Window { cron: "0 0/20 * * * *".into(), duration: Span::minutes(6) }],
        ..office_hours(AppliesTo::Start, InFlight::FinishRing)
    }];
    let mut bench = Bench::new(plan);
    bench.release("2");
    let mut shown: BTreeMap<&str, Vec<Timestamp>> = BTreeMap::new();
    let mut passed: BTreeMap<&str, Timestamp> = BTreeMap::new();
    for minute in 0..40 {
        for (ring, cluster) in [("a", "one"), ("b", "two")] {
            if minute % 2 == 1 && bench.phase("2", ring) == RingPhase::Deploying {
                let deploy = format!("search@2/{ring}/{cluster}/1/deploy");
                bench.done(&deploy);
                bench.see(cluster, Status::Succeeded, Some("2"), Some(&deploy));
            }
            if bench.phase("2", ring) == RingPhase::Passed {
                passed.entry(ring).or_insert(bench.now.wall);
            } else {
                let course = bench.course("2");
                let pass = course.on(&ring.into()).and_then(|stay| stay.pass);
                shown.entry(ring).or_default().push(pass.expect("nothing stands against it"));
            }
        }
        if passed.len() == 2 {
            break;
        }
        bench.minute();
    }
    for ring in ["a", "b"] {
        let (shown, passed) = (&shown[ring], passed[ring]);
        assert!(
            shown.len() > 3 && shown.iter().all(|at| *at <= passed),
            "{ring}: {shown:?}, {passed}"
        );
        assert_eq!(shown.last(), Some(&passed), "{ring}: known to the minute in the end");
    }
}
