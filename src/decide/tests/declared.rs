//! Releases that the source declares, several at once.

use super::*;

fn asked(version: &str, key: &str) -> Request {
    let by = Actor { name: "source:git".into(), roles: Vec::new(), jurisdiction: None };
    let Action::Submit { release, artifact, lane, reason, irreversible, requires, .. } =
        submit(version)
    else {
        panic!("a submission");
    };
    let author = Some("dana@example.com".into());
    let action = Action::Submit { release, artifact, author, lane, reason, irreversible, requires };
    Request { by, key: Some(key.into()), seen: None, action }
}

fn declare(bench: &mut Bench, requests: Vec<Request>) -> Vec<String> {
    bench.tell(Event::Submitted { plan: "search".into(), requests })
}

#[test]
fn of_several_that_come_at_once_only_the_newest_is_deployed() {
    let mut bench = Bench::new(plan());
    let both = vec![asked("2", "k-2"), asked("3", "k-3")];
    assert_eq!(
        declare(&mut bench, both.clone()),
        [
            "submitted",
            "answered",
            "submitted",
            "answered",
            "ringSuperseded",
            "ringSuperseded",
            "ringStarted",
            "> search@3/a/one/1/deploy",
        ]
    );
    assert_eq!(bench.phase("2", "a"), RingPhase::Superseded);
    let release = bench.world.release(&id("3")).expect("it is there");
    assert_eq!(release.author, "dana@example.com".into());
    // The same again is a repeat, however it comes.
    assert!(declare(&mut bench, both.clone()).is_empty());
    assert!(declare(&mut bench, both[1..].to_vec()).is_empty());
}

#[test]
fn where_each_has_its_turn_all_of_them_wait_in_their_order() {
    let mut plan = plan();
    plan.on_newer = OnNewer::FinishThen;
    let mut bench = Bench::new(plan);
    let said = declare(&mut bench, vec![asked("2", "k-2"), asked("3", "k-3")]);
    assert_eq!(said.last().map(String::as_str), Some("> search@2/a/one/1/deploy"));
    assert_eq!(bench.phase("3", "a"), RingPhase::Waiting);
}

#[test]
fn what_is_refused_names_both_and_keeps_nobody_else_out() {
    let mut bench = Bench::new(plan());
    bench.release("2");
    let mut other = asked("2", "k-2");
    if let Action::Submit { artifact: changed, .. } = &mut other.action {
        *changed = artifact("9");
    }
    let said = declare(&mut bench, vec![other, asked("3", "k-3")]);
    assert_eq!(said[..4], ["refused", "answered", "submitted", "answered"]);
    let refused = bench.journal.last().and_then(|(_, facts, _)| facts.first());
    let Some(Fact::Refused { by, kind, detail, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!((by.name.as_str(), *kind), ("source:git", Refusal::DuplicateRelease));
    assert!(detail.contains(&artifact("2").0) && detail.contains(&artifact("9").0), "{detail}");
    // It stays refused, and is told once.
    let mut again = asked("2", "k-2");
    if let Action::Submit { artifact: changed, .. } = &mut again.action {
        *changed = artifact("9");
    }
    assert!(declare(&mut bench, vec![again]).is_empty());
}
