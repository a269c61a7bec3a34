//! The evidence of a hand-written journal.

use std::sync::Arc;

use super::*;
use crate::{
    decide::{
        event::Actor,
        fact::{Refusal, Verdict},
    },
    ids::RingName,
    model::{
        residency::{Demand, Disclose, Enforcement, Territory},
        time::Span,
    },
    show::fixture::{CANARY, Stage, actor, artifact, judged, plan},
};

fn of(stage: &Stage, id: &ReleaseId) -> EvidenceView {
    let asked = stage
        .desk
        .read(|world, now| Asked::of(world, world.release(id).unwrap(), &"vera".into(), now));
    gather(&*stage.store, asked).unwrap()
}

fn ring<'a>(found: &'a EvidenceView, name: &str) -> &'a view::RingEvidence {
    found.rings.iter().find(|ring| ring.name == RingName::from(name)).unwrap()
}

fn approve(stage: &Stage, id: &ReleaseId, ring: &str, by: &str) {
    let ring = RingName::from(ring);
    let binding = stage.desk.read(|world, _| {
        let release = world.release(id).unwrap();
        let declared = release.plan.ring(&ring).unwrap();
        crate::decide::waiting::binding(release, declared, release.ring(&ring).unwrap())
    });
    stage.put(&[Fact::Approved {
        release: id.clone(),
        ring,
        by: actor(by),
        binding,
        reason: None,
    }]);
}

/// Two rings passed, us-east failed and went back, and eu-west waits for a second approval.
fn story() -> (Stage, ReleaseId) {
    let stage = Stage::new();
    stage.submit("2.13.0");
    let id = stage.submit("2.14.0");
    stage.pass(&id, "internal");
    stage.clock.advance(Span::minutes(1));
    stage.soak(&id, "beta");
    let beta = || RingName::from("beta");
    for minute in 0..40_u32 {
        stage.clock.advance(Span::minutes(1));
        let judged = match minute {
            20 => judged(Verdict::Fail, 0.412, "0.412 > 0.4"),
            _ => judged(Verdict::Pass, 0.1 + f64::from(minute) / 1000.0, "fine"),
        };
        stage.measure(&id, "beta", ("beta-de-1", "latency-p99"), judged);
        let span = Span::minutes(1);
        stage.put(&[Fact::SoakCredited { release: id.clone(), ring: beta(), span }]);
    }
    stage.put(&[Fact::RingPassed { release: id.clone(), ring: beta() }]);
    stage.put(&[Fact::Paused {
        scope: Scope::Plan("checkout".into()),
        by: actor("ola"),
        reason: Some("<b>lunch</b>".into()),
        members: Default::default(),
    }]);
    stage.clock.advance(Span::minutes(5));
    let resumed =
        Fact::Resumed { scope: Scope::Plan("checkout".into()), by: actor("ola"), reason: None };
    stage.put(&[resumed]);
    approve(&stage, &id, "eu-west", "kim");
    let asked = Action::Approve { release: id.clone(), ring: "eu-west".into(), reason: None };
    stage.put(&[Fact::Refused {
        by: Actor { name: "dana".into(), ..actor("dana") },
        asked: serde_json::to_string(&asked).unwrap(),
        kind: Refusal::SelfApproval,
        detail: "dana made this release".into(),
    }]);
    let other = Action::Approve {
        release: ReleaseId::new("checkout", "2.13.0"),
        ring: "eu-west".into(),
        reason: None,
    };
    stage.put(&[Fact::Refused {
        by: actor("dana"),
        asked: serde_json::to_string(&other).unwrap(),
        kind: Refusal::SelfApproval,
        detail: "of another release".into(),
    }]);
    stage.soak(&id, "us-east");
    stage.put(&[
        Fact::RingFailed {
            release: id.clone(),
            ring: "us-east".into(),
            cause: "latency-p99 failed 4 times".into(),
        },
        Fact::RollbackStarted {
            release: id.clone(),
            ring: "us-east".into(),
            by: "ringward".into(),
            cause: "latency-p99 failed 4 times".into(),
            automatic: true,
            scope: None,
        },
    ]);
    (stage, id)
}

#[test]
fn it_tells_every_ring_decision_hold_and_refusal() {
    let (stage, id) = story();
    let found = of(&stage, &id);
    assert_eq!((found.format.as_str(), found.made_for.as_str()), (FORMAT, "vera"));
    assert_eq!(found.policy.hash, Hash::from("4e1b7a0cafe"));
    assert_eq!(found.policy.declared_in.as_ref().map(|mark| mark.seq), Some(1));

    let beta = ring(&found, "beta");
    let [attempt] = beta.attempts.as_slice() else { panic!("{beta:?}") };
    assert_eq!((attempt.credited, attempt.required), (Span::minutes(40), Span::minutes(240)));
    assert!(attempt.passed.is_some() && attempt.clusters.iter().all(|c| c.ready.is_some()));
    assert_eq!(attempt.clusters[0].place, "cluster beta-de-1 (jurisdiction DE)");
    let [gate] = attempt.gates.as_slice() else { panic!("{:?}", attempt.gates) };
    assert_eq!(gate.verdicts[&Verdict::Pass], 39);
    assert_eq!(gate.measurements.left_out, 29, "the ten outermost and the one that failed stay");
    assert_eq!(gate.measurements.items.len(), 11);
    assert_eq!(gate.measurements.items[5].detail, "0.412 > 0.4");
    assert_eq!(gate.greatest.map(|figure| figure.0), Some(0.412));
    let back = &ring(&found, "us-east").attempts[0];
    assert_eq!(back.cause.as_deref(), Some("latency-p99 failed 4 times"));
    assert!(back.failed.is_some() && back.rollback_started.is_some() && back.passed.is_none());
    assert!(ring(&found, "eu-central").attempts.is_empty());

    let decided: Vec<_> =
        found.decisions.items.iter().map(|d| (d.what.as_str(), d.by.as_str())).collect();
    let wanted =
        [("submitted", "dana"), ("paused", "ola"), ("resumed", "ola"), ("approved", "kim")];
    assert_eq!(decided, wanted);
    let bound = found.decisions.items[3].bound_to.as_ref().unwrap();
    assert_eq!((&bound.artifact, bound.attempt), (&artifact("2.14.0"), 1));
    let refused: Vec<_> = found.refusals.items.iter().map(|r| r.detail.as_str()).collect();
    assert_eq!(refused, ["dana made this release"]);

    assert!(found.chain.holds_known);
    let pause = |hold: &&view::HoldEvidence| hold.kind.name() == "pause";
    let pause = found.holds.items.iter().find(|hold| pause(hold)).unwrap();
    assert_eq!(pause.ended_by, ["plan checkout was resumed by ola"]);
    assert_eq!(
        pause.until.as_ref().unwrap().at.duration_since(pause.from.at),
        jiff::SignedDuration::from_mins(5)
    );
    let open: Vec<_> = found.holds.items.iter().filter(|hold| hold.until.is_none()).collect();
    assert!(open.iter().any(|hold| hold.kind.name() == "approval"), "{open:?}");

    let head = stage.store.head();
    assert_eq!((found.chain.verified.entries, &found.chain.verified.broken), (head.seq, &None));
    assert_eq!(found.chain.verified.head, head.hash.into());
}

#[test]
fn the_page_stands_alone_and_holds_nobody_elses_markup() {
    let (stage, id) = story();
    let found = of(&stage, &id);
    let html = page(&found);
    for told in [
        "Evidence of checkout@2.14.0",
        "chain holds",
        "plan checkout was resumed by ola",
        "self-approval",
        "&lt;b&gt;lunch&lt;/b&gt;",
        "0.412 &gt; 0.4",
        "29 more stand in the journal",
        &found.chain.verified.head.to_string(),
    ] {
        assert!(html.contains(told), "{told}");
    }
    for banned in ["<script", "<link", "<img", "src=", "href=", "<b>lunch", "@import", "url("] {
        assert!(!html.contains(banned), "{banned}");
    }
    for text in [html, serde_json::to_string(&found).unwrap()] {
        assert!(!text.contains(CANARY) && !text.contains("s3cret"));
    }
}

#[test]
fn figures_that_stay_in_their_jurisdiction_stay_there() {
    let mut declared = plan();
    let territory = Territory { name: "EU".into(), members: ["DE".into(), "IE".into()].into() };
    declared.residency = vec![Rule {
        id: "GDPR-2".into(),
        policy: None,
        enforcement: Enforcement::Hard,
        demand: Demand::EvidenceWithin { jurisdiction: territory, disclose: Disclose::Verdict },
        allow_empty: false,
        declared_at: "policies/residency.yaml:8".into(),
    }];
    let stage = Stage::with(declared);
    let id = stage.submit("2.14.0");
    stage.soak(&id, "internal");
    let said = judged(Verdict::Fail, 0.412, "0.412 > 0.4");
    stage.measure(&id, "internal", ("internal-1", "latency-p99"), said);
    let found = of(&stage, &id);
    let gate = &ring(&found, "internal").attempts[0].gates[0];
    assert!(gate.withheld);
    assert_eq!(gate.verdicts[&Verdict::Fail], 1);
    for text in [page(&found), serde_json::to_string(&found).unwrap()] {
        assert!(!text.contains("0.412"), "{text}");
    }
}

#[test]
fn a_chain_that_does_not_hold_is_told_and_followed_as_far_as_it_holds() {
    let (stage, id) = story();
    let before = of(&stage, &id);
    stage.store.truncate(29);
    let found = of(&stage, &id);
    let broken = found.chain.verified.broken.as_ref().unwrap();
    assert_eq!((broken.seq, found.chain.verified.entries), (30, 29));
    assert!(found.timeline.items.len() < before.timeline.items.len());
    assert!(page(&found).contains("does not hold</strong> at entry 30"));
}

#[test]
fn other_plans_are_not_in_it() {
    let (stage, id) = story();
    let mut other = plan();
    other.name = "payments".into();
    // A query that names this plan is nothing about it.
    other.rings[0].policy.gates[0].query = "sum(x{service=\"checkout\"})".into();
    stage.put(&[Fact::PlanDeclared { plan: Arc::new(other) }]);
    stage.put(&[Fact::Paused {
        scope: Scope::Plan("payments".into()),
        by: actor("ola"),
        reason: Some("elsewhere".into()),
        members: Default::default(),
    }]);
    let found = of(&stage, &id);
    assert!(found.chain.holds_known);
    assert!(!serde_json::to_string(&found).unwrap().contains("elsewhere"));
    assert_eq!(found.policy.declared_in.map(|mark| mark.seq), Some(1));
}

#[test]
fn a_long_list_keeps_its_ends() {
    let mut list = List::new(4);
    (0..10).for_each(|n| list.push(n));
    assert_eq!((list.first, list.last.into(), list.left_out), (vec![0, 1], vec![8, 9], 6));
}
