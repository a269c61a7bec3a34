//! Views over hand-built worlds, word for word.

use super::*;
use crate::{
    decide::{
        event::{Pause, Scope, Status},
        fact::{Fact, Verdict},
        phase::{ReleasePhase, RingPhase},
        waiting::{Full, HoldKind, WaitingOn},
        world::{Cap, RollbackLimit, Said, World},
    },
    ids::{ReleaseId, RingName},
    model::{
        residency::{Demand, Disclose, Enforcement, Rule, Territory},
        time::{Mono, Now, Span},
    },
    show::{
        fixture::{CANARY, Stage, actor, artifact, judged, plan as declared},
        words::Ender,
    },
};

fn look<R>(stage: &Stage, look: impl FnOnce(&World, Now) -> R) -> R {
    stage.desk.read(look)
}

fn tree(stage: &Stage, id: &ReleaseId) -> ReleaseView {
    look(stage, |world, now| release(world, world.release(id).unwrap(), now))
}

fn on<'a>(view: &'a ReleaseView, ring: &str) -> &'a RingView {
    view.rings.iter().find(|r| r.name == RingName::from(ring)).unwrap()
}

/// The world of the tree in the documentation: two rings passed, us-east soaks, eu-west is held.
fn documented() -> (Stage, ReleaseId) {
    let stage = Stage::new();
    let id = stage.submit("2.14.0");
    stage.pass(&id, "internal");
    stage.pass(&id, "beta");
    stage.soak(&id, "us-east");
    (stage, id)
}

#[test]
fn the_documented_tree() {
    let (stage, id) = documented();
    stage.clock.advance(Span::seconds(12 * 3600));
    let (release, ring) = (id.clone(), RingName::from("us-east"));
    stage.put(&[Fact::SoakCredited {
        release: release.clone(),
        ring: ring.clone(),
        span: Span::seconds(7800),
    }]);
    let breach = judged(Verdict::Fail, 0.412, "0.412 > 0.4");
    stage.measure(&id, "us-east", ("us-east-1", "latency-p99"), breach);
    stage.measure(&id, "us-east", ("us-east-1", "saturation"), judged(Verdict::Pass, 0.5, "0.5"));
    let binding = look(&stage, |world, _| {
        let known = world.release(&id).unwrap();
        let ring = RingName::from("eu-west");
        crate::decide::waiting::binding(
            known,
            known.plan.ring(&ring).unwrap(),
            known.ring(&ring).unwrap(),
        )
    });
    let by = actor("kim");
    stage.put(&[Fact::Approved { release, ring: "eu-west".into(), by, binding, reason: None }]);

    let view = tree(&stage, &id);
    assert_eq!(view.phase, ReleasePhase::InProgress);
    assert!(!view.settled);
    assert_eq!(view.digest, "sha256:888888…");
    assert_eq!((view.author.as_str(), view.age_seconds), ("dana", 12 * 3600));
    let lines: Vec<_> = view.rings.iter().map(|r| (r.name.as_str(), r.phase, &*r.info)).collect();
    assert_eq!(
        lines,
        [
            ("internal", RingPhase::Passed, ""),
            ("beta", RingPhase::Passed, ""),
            ("us-east", RingPhase::Soaking, "latency-p99 0.412 > 0.4, soak reset 20:00Z"),
            (
                "eu-west",
                RingPhase::Held,
                "approval 1 of 2 (approver, EU); window opens Mon 09:00 Europe/Dublin"
            ),
            ("eu-central", RingPhase::Waiting, "after eu-west"),
        ]
    );

    let us_east = on(&view, "us-east");
    let soak = us_east.soak.unwrap();
    assert_eq!((soak.credited_seconds, soak.required_seconds), (7800.0, 14400.0));
    assert!(soak.running);
    assert_eq!(us_east.gates, Some(GateCount { passing: 1, required: 2 }));
    let running = us_east.clusters[0].running.as_ref().unwrap();
    assert_eq!(running.version, Some("2.14.0".into()));
    assert_eq!(us_east.clusters[0].step, "ready");

    let eu_west = on(&view, "eu-west");
    assert_eq!((eu_west.soak, eu_west.gates), (None, None));
    let holds: Vec<_> = eu_west.holds.iter().map(|h| (h.kind, h.ender, h.ends)).collect();
    let monday = "2026-11-02T09:00:00Z".parse().unwrap();
    assert_eq!(
        holds,
        [
            (HoldKind::Approval, Ender::Person, None),
            (HoldKind::Calendar, Ender::Clock, Some(monday)),
        ]
    );
    assert_eq!(
        eu_west.holds[0].ended_by,
        "1 more by somebody with role approver from EU, not its author: \
         `ringward approve checkout@2.14.0 --ring eu-west`"
    );
    let given = look(&stage, |world, now| approvals(world, now, |_| true));
    assert_eq!(given.len(), 1);
    assert_eq!(given[0].counting, ["kim".into()]);
}

/// 2026-10-30 is a Friday: us-east soaks from 08:00Z, eu-west may start from 09:00 of Dublin.
#[test]
fn what_can_be_expected_is_told_ring_by_ring() {
    let (stage, id) = documented();
    let view = tree(&stage, &id);
    let on = |ring: &str| on(&view, ring).earliest.clone();
    let say = |at: jiff::Timestamp| at.strftime("%a %H:%M").to_string();
    let told = |ring: &str| on(ring).map(|earliest| earliest.in_words(say));
    assert_eq!(on("beta"), None, "it has passed");
    assert_eq!(told("us-east").as_deref(), Some("Fri 12:00"));
    let starts = on("eu-west").and_then(|earliest| earliest.starts).map(say);
    assert_eq!(starts.as_deref(), Some("Fri 09:00"), "winter: local time is UTC");
    let needs = "not before 2 more approvals on eu-west (approver, EU)";
    assert_eq!(told("eu-west"), Some(format!("Fri 13:00, {needs}")));
    assert_eq!(told("eu-central"), Some(format!("Fri 17:00, {needs}")));
    let whole = view.earliest.as_ref().map(|earliest| earliest.in_words(say));
    assert_eq!(whole, told("eu-central"));
    let why = look(&stage, |world, now| explain(world, world.release(&id).unwrap(), None, now));
    assert_eq!(why.earliest, view.earliest);
    for ring in &why.rings {
        assert_eq!(ring.earliest, on(ring.name.as_str()), "{}", ring.name);
    }
    // What moves though nothing happens makes no new ETag.
    stage.clock.advance(Span::minutes(5));
    let later = tree(&stage, &id);
    assert_ne!(later.rings[2].earliest, on("us-east"), "it has not begun to be credited");
    assert_eq!(later.timeless(), view.timeless());
}

/// One of each kind; a new variant must be put here, or this does not compile.
fn every_reason() -> Vec<WaitingOn> {
    let said = || Said {
        by: actor("ola"),
        at: Now { wall: "2026-10-30T08:00:00Z".parse().unwrap(), mono: Mono(0) },
        reason: Some("because".into()),
    };
    let until = "2026-10-31T08:00:00Z".parse().ok();
    let (ring, gate, cluster) = ("us-east", "latency-p99", "us-east-1");
    let needed = declared().rings[3].policy.approvals.clone().unwrap();
    let per_hour = RollbackLimit::PerHour { limit: 1, free: Some(Mono(60_000)) };
    let (verdict, detail) = (Verdict::Absent, "no series".into());
    let all = vec![
        WaitingOn::Before(vec![ring.into()]),
        WaitingOn::Queue("2.13.0".into()),
        WaitingOn::Pause(Scope::Everything, said()),
        WaitingOn::Calendar { calendar: "dublin-hours".into(), why: "night".into(), opens: until },
        WaitingOn::Freeze { id: "f-1".into(), until, said: said() },
        WaitingOn::Approval { by: Vec::new(), needed },
        WaitingOn::Advance("2.13.0".into()),
        WaitingOn::Cap(Full {
            cap: Cap::Rule("EU".into()),
            limit: 1,
            moving: Vec::new(),
            ahead: 0,
        }),
        WaitingOn::Pair { cluster: cluster.into(), partner: "b".into(), plan: "search".into() },
        WaitingOn::Residency {
            rule: "GDPR-1".into(),
            policy: None,
            enforcement: Enforcement::Waivable,
            at: None,
            fact: "serves it from there".into(),
        },
        WaitingOn::Skew { ring: ring.into(), limit: 1 },
        WaitingOn::Prerequisite("2.13.0".into()),
        WaitingOn::Policy(1, "rings/a.yaml:1: wrong".into()),
        WaitingOn::Data { cluster: cluster.into(), gate: gate.into(), verdict, detail },
        WaitingOn::Samples { gate: gate.into(), have: 1.0, need: 2.0 },
        WaitingOn::Target(cluster.into(), "connection refused".into()),
        WaitingOn::Promotion(
            cluster.into(),
            Pause { id: "5d9/1/".into(), at: "step 2 of 5".into() },
        ),
        WaitingOn::Watch {
            ring: ring.into(),
            cluster: cluster.into(),
            gate: gate.into(),
            verdict: None,
        },
        WaitingOn::Turn(ring.into()),
        WaitingOn::Decision(ring.into()),
        WaitingOn::Rollbacks(per_hour, 1),
        WaitingOn::Rollbacks(RollbackLimit::AtOnce(1), 0),
    ];
    let kinds: std::collections::BTreeSet<u8> = all.iter().map(kind).collect();
    assert_eq!(kinds.len(), 21, "one of each");
    all
}

fn kind(reason: &WaitingOn) -> u8 {
    match reason {
        WaitingOn::Before(_) => 0,
        WaitingOn::Queue(_) => 1,
        WaitingOn::Pause(..) => 2,
        WaitingOn::Calendar { .. } => 3,
        WaitingOn::Freeze { .. } => 4,
        WaitingOn::Approval { .. } => 5,
        WaitingOn::Advance(_) => 6,
        WaitingOn::Cap { .. } => 7,
        WaitingOn::Pair { .. } => 8,
        WaitingOn::Residency { .. } => 9,
        WaitingOn::Skew { .. } => 10,
        WaitingOn::Prerequisite(_) => 11,
        WaitingOn::Policy(..) => 12,
        WaitingOn::Data { .. } => 13,
        WaitingOn::Samples { .. } => 14,
        WaitingOn::Target(..) => 15,
        WaitingOn::Watch { .. } => 16,
        WaitingOn::Turn(_) => 17,
        WaitingOn::Decision(_) => 18,
        WaitingOn::Rollbacks(..) => 19,
        WaitingOn::Promotion(..) => 20,
    }
}

#[test]
fn every_reason_says_what_it_is_and_what_would_end_it_and_the_clock_says_when() {
    let (stage, id) = documented();
    for reason in every_reason() {
        let words = look(&stage, |world, now| {
            let release = world.release(&id).unwrap();
            crate::show::words::of(&reason, world, release, &"eu-west".into(), now)
        });
        assert!(!words.message.is_empty() && !words.ended_by.is_empty(), "{reason:?}");
        assert_ne!(words.message, words.ended_by, "{reason:?}");
        assert_eq!(words.ender == Ender::Clock, words.ends.is_some(), "{reason:?}: {words:?}");
    }
}

#[test]
fn a_pause_and_a_freeze_say_who_why_and_until_when() {
    let (stage, id) = documented();
    let scope = Scope::Ring("checkout".into(), "us-east".into());
    stage.put(&[
        Fact::Paused {
            scope,
            by: actor("ola"),
            reason: Some("a look at the logs".into()),
            members: Default::default(),
        },
        Fact::Frozen {
            id: "f-1".into(),
            scope: Scope::Jurisdiction("IE".into()),
            until: Some("2026-11-01T06:30:00Z".parse().unwrap()),
            by: actor("kim"),
            reason: "elections".into(),
            members: Default::default(),
        },
    ]);
    let view = tree(&stage, &id);
    let us_east = on(&view, "us-east");
    assert_eq!(us_east.phase, RingPhase::Soaking);
    assert_eq!(us_east.info, "ring us-east of checkout paused by ola: a look at the logs");
    assert_eq!(us_east.holds[0].ended_by, "`ringward resume checkout --ring us-east`");
    let held = &on(&view, "eu-west").holds;
    let freeze = held.iter().find(|hold| hold.kind == HoldKind::Freeze).unwrap();
    assert_eq!(freeze.message, "frozen by kim: elections, until 2026-11-01 06:30Z");
    assert_eq!(freeze.ended_by, "it runs out by itself, or `ringward freeze lift f-1`");

    let own = look(&stage, |world, now| {
        plan(world, &"checkout".into(), &world.plans["checkout"], now).pauses
    });
    assert_eq!(own.len(), 1);
    let frozen = look(&stage, |world, now| freezes(world, now, |_| true));
    assert_eq!((frozen.len(), frozen[0].active), (1, true));
    stage.clock.advance(Span::seconds(48 * 3600));
    assert!(!look(&stage, |world, now| freezes(world, now, |_| true))[0].active);
}

#[test]
fn what_comes_after_a_failure_waits_for_a_person() {
    let (stage, id) = documented();
    let cause = "latency-p99 failed 4 times, more than 3".to_owned();
    stage.put(&[Fact::RingFailed { release: id.clone(), ring: "us-east".into(), cause }]);
    let by = actor("kim");
    let reason = Some("not today".into());
    stage.put(&[Fact::Rejected { release: id.clone(), ring: "eu-west".into(), by, reason }]);
    let view = tree(&stage, &id);
    assert_eq!(view.phase, ReleasePhase::Failed);
    assert!(view.settled);
    assert_eq!(on(&view, "us-east").info, "latency-p99 failed 4 times, more than 3");
    assert_eq!(on(&view, "eu-west").info, "rejected by kim: not today");
    assert_eq!(on(&view, "eu-west").soak, None);
    assert_eq!(on(&view, "eu-central").info, "after eu-west, which is Failed");

    let why = look(&stage, |world, now| explain(world, world.release(&id).unwrap(), None, now));
    let rings: Vec<_> = why.rings.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(rings, ["us-east", "eu-west", "eu-central"]);
    let ended: Vec<_> =
        why.rings.iter().map(|r| (&*r.waits[0].ended_by, r.waits[0].ender)).collect();
    assert_eq!(
        ended,
        [
            ("a new attempt: `ringward retry checkout@2.14.0 --ring us-east`", Ender::Person),
            ("a new attempt: `ringward retry checkout@2.14.0 --ring eu-west`", Ender::Person),
            ("it passes", Ender::Person),
        ]
    );
}

#[test]
fn explain_says_what_goes_on() {
    let (stage, id) = documented();
    let only = RingName::from("us-east");
    let explained = |stage: &Stage| {
        look(stage, |world, now| explain(world, world.release(&id).unwrap(), Some(&only), now))
    };
    let pass = || judged(Verdict::Pass, 0.3, "0.3 <= 0.4");
    stage.measure(&id, "us-east", ("us-east-1", "latency-p99"), pass());
    stage.put(&[Fact::SoakRunning {
        release: id.clone(),
        ring: only.clone(),
        running: true,
        blind: false,
    }]);
    let why = explained(&stage);
    assert_eq!(why.rings.len(), 1);
    assert_eq!(why.rings[0].doing, "soaking, 4h to go; 1 of 2 gates pass");
    let absent = judged(Verdict::Absent, 0.0, "no series");
    stage.measure(&id, "us-east", ("us-east-1", "saturation"), absent);
    stage.put(&[Fact::SoakRunning {
        release: id.clone(),
        ring: only.clone(),
        running: false,
        blind: false,
    }]);
    let why = explained(&stage);
    assert_eq!(why.rings[0].doing, "the soak stands still, 4h to go; 1 of 2 gates pass");
    assert_eq!(why.rings[0].holds[0].message, "saturation on us-east-1 is Absent, no series");
}

#[test]
fn a_deploy_says_how_far_it_is() {
    let stage = Stage::new();
    let id = stage.submit("2.14.0");
    stage.pass(&id, "internal");
    stage.start(&id, "beta");
    stage.see(&id, "beta", "beta-de-1", Status::Succeeded);
    stage.put(&[Fact::ClusterReady {
        release: id.clone(),
        ring: "beta".into(),
        cluster: "beta-de-1".into(),
    }]);
    let slow = Status::Progressing("1 of 3 replicas ready".into());
    stage.see(&id, "beta", "beta-us-1", slow);
    let view = tree(&stage, &id);
    assert_eq!(on(&view, "beta").info, "1 of 2 clusters ready");
    assert_eq!(on(&view, "beta").jurisdictions, ["DE".into(), "US".into()]);
    let why = look(&stage, |world, now| explain(world, world.release(&id).unwrap(), None, now));
    assert_eq!(why.rings[0].doing, "1 of 2 clusters ready; beta-us-1: 1 of 3 replicas ready");
    let unseen = Status::Unknown("connection refused".into());
    stage.see(&id, "beta", "beta-us-1", unseen);
    assert_eq!(on(&tree(&stage, &id), "beta").info, "beta-us-1: connection refused");
}

#[test]
fn a_queue_a_retry_and_an_abort() {
    let stage = Stage::new();
    let (first, second) = (stage.submit("2.14.0"), stage.submit("2.15.1"));
    stage.soak(&first, "internal");
    assert_eq!(on(&tree(&stage, &second), "internal").info, "behind 2.14.0");
    let ring = RingName::from("internal");
    let cause = "deadline passed".to_owned();
    stage.put(&[
        Fact::RingFailed { release: first.clone(), ring: ring.clone(), cause },
        Fact::Retried { release: first.clone(), ring, by: actor("ola"), reason: None },
    ]);
    let retried = tree(&stage, &first);
    let internal = on(&retried, "internal");
    assert_eq!((internal.attempt, internal.soak), (1, None), "the attempt before is over");
    stage.put(&[Fact::Aborted {
        release: first.clone(),
        by: actor("ola"),
        reason: None,
        hold: false,
    }]);
    let aborted = tree(&stage, &first);
    assert_eq!(aborted.phase, ReleasePhase::Aborted);
    assert_eq!(aborted.aborted.unwrap().by, "ola".into());
}

/// Invariant 6: what a rule keeps in its jurisdiction is shown nowhere.
#[test]
fn figures_that_stay_in_their_jurisdiction() {
    let mut kept = declared();
    kept.residency = vec![Rule {
        id: "US-1".into(),
        enforcement: Enforcement::Hard,
        demand: Demand::EvidenceWithin {
            jurisdiction: Territory { name: "US".into(), members: ["US".into()].into() },
            disclose: Disclose::Verdict,
        },
        allow_empty: false,
        policy: None,
        declared_at: "rules.yaml:3".into(),
    }];
    let stage = Stage::with(kept);
    let id = stage.submit("2.14.0");
    stage.pass(&id, "internal");
    stage.soak(&id, "beta");
    for on in ["beta-de-1", "beta-us-1"] {
        let figures = judged(Verdict::Fail, 0.771, "0.771 > 0.4");
        stage.measure(&id, "beta", (on, "latency-p99"), figures);
        let figures = judged(Verdict::Absent, 0.772, "0.772 is too old");
        stage.measure(&id, "beta", (on, "saturation"), figures);
    }
    let (release, ring) = (id.clone(), RingName::from("beta"));
    let (cluster, gate) = ("beta-us-1".into(), "latency-p99".into());
    stage.put(&[Fact::BaselineTaken { release, ring, cluster, gate, value: 0.773 }]);
    let view = tree(&stage, &id);
    let shown: Vec<_> = on(&view, "beta").measurements.iter().map(|m| m.value).collect();
    assert_eq!(shown, [Some(0.771), Some(0.772), None, None]);

    let entries = stage.desk.store().read(1, 100).unwrap();
    let us_only: Vec<_> =
        entries.into_iter().filter(|e| format!("{e:?}").contains("beta-us-1")).collect();
    let audited = look(&stage, |world, _| audit_page(world, &us_only, None, |_| true));
    assert!(audited.entries.len() >= 3);
    let audited = serde_json::to_string(&audited).unwrap();
    let beta = serde_json::to_value(on(&view, "beta")).unwrap();
    let us: Vec<_> = beta["measurements"].as_array().unwrap()[2..].iter().collect();
    let holds = &beta["holds"].as_array().unwrap()[1];
    let text = format!("{us:?} {holds} {audited}");
    for figure in ["0.771", "0.772", "0.773"] {
        assert!(!text.contains(figure), "{figure} in {text}");
    }
}

/// Invariant 27: a canary that stands where a secret might be is in no view.
#[test]
fn no_view_shows_a_metric_sources_url() {
    let (stage, id) = documented();
    let all = look(&stage, |world, now| {
        let clusters = clusters(world, |_, _| true);
        assert_eq!(clusters.len(), 6);
        let checkout = "checkout".into();
        serde_json::to_string(&(
            plans(world, now, |_| true),
            gates(world, |_| true),
            clusters,
            release(world, world.release(&id).unwrap(), now),
            plan_ring(world, &checkout, &world.plans["checkout"], &"us-east".into(), now),
            source(world),
        ))
        .unwrap()
    });
    assert!(all.contains("us-east-1"));
    let entries = stage.desk.store().read(1, 1_000).unwrap();
    assert!(
        serde_json::to_string(&entries[0].facts).unwrap().contains(CANARY),
        "the journal has it"
    );
    let journal = look(&stage, |world, _| audit_page(world, &entries, None, |_| true));
    let journal = serde_json::to_string(&journal).unwrap();
    assert!(journal.contains("us-east-1"));
    for shown in [all, journal] {
        assert!(!shown.contains(CANARY) && !shown.contains("s3cret"));
    }
}

#[test]
fn a_view_is_read_back_as_it_was_written() {
    let (stage, id) = documented();
    let infinite = judged(Verdict::Fail, f64::INFINITY, "inf > 0.4");
    stage.measure(&id, "us-east", ("us-east-1", "latency-p99"), infinite);
    let view = tree(&stage, &id);
    let text = serde_json::to_string(&view).unwrap();
    assert_eq!(serde_json::from_str::<ReleaseView>(&text).unwrap(), view);
    assert_eq!(on(&view, "us-east").measurements[0].value, Some(f64::INFINITY));
    let (plan, gates) = look(&stage, |world, now| {
        (plan(world, &"checkout".into(), &world.plans["checkout"], now), gates(world, |_| true))
    });
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<PlanView>(&text).unwrap(), plan);
    assert_eq!(gates[0].judge, "at most 0.4 s");
    assert_eq!(plan.rings[3].approvals.as_ref().unwrap().jurisdiction, Some("EU".into()));
    assert_eq!(plan.releases[0].artifact, artifact("2.14.0"));
}
