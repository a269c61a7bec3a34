//! What keeps a ring from starting beside others, and for whom a place is kept.

use super::*;
use crate::{
    decide::{
        waiting::{Full, WaitingOn, waiting_on},
        world::Cap,
    },
    model::limits::{Limits, MotionLimits},
};

fn limits(text: &str) -> Limits {
    let in_motion: MotionLimits = serde_yaml::from_str(text).unwrap();
    Limits { in_motion, ..Limits::default() }
}

/// Another plan moves a ring.
fn elsewhere(bench: &mut Bench, name: &str, region: &str, country: &str) {
    let mut ring = ring("all", &[&format!("{name}-1")]);
    ring.clusters[0].region = region.into();
    ring.clusters[0].jurisdiction = country.into();
    let first = After { rings: Vec::new(), join: Join::All };
    let graph = RingGraph::new(vec![("all".into(), first)]).unwrap();
    let moving = Plan { name: name.into(), rings: vec![ring], graph, ..plan() };
    let declared = Declared::Valid(Arc::new(moving));
    bench.tell(Event::Declared { plan: name.into(), declared });
    let release = Action::Submit {
        release: ReleaseId::new(name, "1"),
        artifact: artifact("1"),
        author: None,
        lane: Lane::Normal,
        reason: None,
        irreversible: false,
        requires: None,
    };
    assert!(bench.ask(ola(), release).contains(&"ringStarted".into()));
}

fn ola() -> Actor {
    actor("ola", &["operator"])
}

fn full(bench: &Bench, version: &str) -> Vec<(Cap, u32, usize)> {
    let release = bench.world.release(&id(version)).unwrap();
    let waiting = waiting_on(&bench.world, release, &"a".into(), bench.now);
    let caps = waiting.into_iter().map(|waiting| match waiting {
        WaitingOn::Cap(Full { cap, limit, moving, .. }) => (cap, limit, moving.len()),
        other => panic!("{other:?}"),
    });
    caps.collect()
}

#[test]
fn every_cap_that_is_full_is_named_at_once_and_a_place_that_is_free_is_taken() {
    let mut bench = Bench::new(plan());
    let declared = bench.world.plans["search"].declared.clone().unwrap();
    let cluster = declared.ring(&"a".into()).unwrap().clusters[0].clone();
    let (region, country) = (cluster.region.as_str(), cluster.jurisdiction.as_str());
    elsewhere(&mut bench, "mail", region, country);
    elsewhere(&mut bench, "pay", "far-away", country);
    let told = format!("{{rings: 2, perRegion: {{{region}: 1}}, perJurisdiction: 3}}");
    assert_eq!(bench.tell(Event::Limits(limits(&told))), ["limitsSet"]);
    assert_eq!(bench.tell(Event::Limits(limits(&told))), Vec::<String>::new());
    let facts = bench.release("2");
    assert_eq!(facts.last().map(String::as_str), Some("startQueued"), "{facts:?}");
    let region = Cap::Region(cluster.region.clone());
    assert_eq!(full(&bench, "2"), [(Cap::Everywhere, 2, 2), (region, 1, 1)]);

    let release = ReleaseId::new("mail", "1");
    bench.ask(ola(), Action::Abort { release, hold: true, reason: None });
    let facts = bench.tell(Event::Wake { plan: "search".into() });
    assert!(facts.contains(&"ringStarted".into()), "{facts:?}");
    assert!(bench.world.shared.line.is_empty());
}

#[test]
fn a_stop_of_the_plan_gives_the_place_back() {
    let mut bench = Bench::new(plan());
    elsewhere(&mut bench, "mail", "far-away", "US");
    bench.tell(Event::Limits(limits("{rings: 1}")));
    bench.release("2");
    let left = bench.world.shared.line.left;
    assert!(!bench.world.shared.line.is_empty());
    let pause = Action::Pause { scope: Scope::Plan("search".into()), reason: None };
    assert_eq!(bench.ask(ola(), pause), ["paused", "startQueued"]);
    assert!(bench.world.shared.line.is_empty());
    assert!(bench.world.shared.line.left > left, "others are to look again");
}

#[test]
fn two_releases_that_wait_on_a_ring_have_one_place() {
    let mut plan = plan();
    plan.on_newer = OnNewer::Manual;
    let mut bench = Bench::new(plan);
    elsewhere(&mut bench, "mail", "far-away", "US");
    bench.tell(Event::Limits(limits("{rings: 1}")));
    bench.release("2");
    bench.release("3");
    let advance = Action::Advance { release: id("3"), ring: "a".into(), reason: None };
    assert_eq!(bench.ask(ola(), advance), ["advanced"]);
    let place = ("search".into(), "a".into());
    assert_eq!(bench.world.shared.line.claim(&place).unwrap().release, id("2"));
    bench.ask(ola(), Action::Abort { release: id("2"), hold: false, reason: None });
    assert_eq!(bench.world.shared.line.claim(&place).unwrap().release, id("3"));
}

#[test]
fn a_release_that_is_settled_keeps_no_place_in_the_line() {
    let mut plan = plan();
    plan.rings[0].policy.rollback.automatic = false;
    plan.lanes.hotfix = Some(Hotfix {
        soak: Shortened { share: 0.25, floor: Span::ZERO },
        may_not_skip: Vec::new(),
        defer_gates: Vec::new(),
        approvals: None,
        time_to_live: Span::minutes(60),
    });
    let mut bench = Bench::new(plan);
    bench.tell(Event::Limits(limits("{rings: 1}")));
    let hotfix = Action::Submit {
        release: id("2"),
        artifact: artifact("2"),
        author: None,
        lane: Lane::Hotfix,
        reason: Some("it cannot wait".into()),
        irreversible: false,
        requires: None,
    };
    let begun = bench.ask(ola(), hotfix);
    assert!(begun.contains(&"startQueued".into()), "b would run ahead of a: {begun:?}");
    let crash = Status::Failed("crash loop".into());
    bench.see("one", crash, Some("2"), Some("search@2/a/one/1/deploy"));
    assert_eq!(bench.phase("2", "a"), RingPhase::Failed);
    assert!(bench.world.shared.line.is_empty(), "it comes nowhere any more");
}
