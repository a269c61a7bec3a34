//! Two rings of one release, measured in turn, between much else.

use super::*;
use crate::{
    decide::fact::Verdict,
    model::time::Span,
    record::{Draft, Memory},
};

/// The `n`-th second of the journal.
fn at(n: u64) -> Now {
    let wall = jiff::Timestamp::from_second(1_767_225_600 + n as i64).unwrap();
    Now { wall, mono: Mono(n * 1_000) }
}

fn measure(ring: &str, gate: &str, n: u64) -> Measure {
    Measure {
        key: format!("checkout@1/{ring}/c/1/{gate}/{n}").into(),
        release: ReleaseId::new("checkout", "1"),
        ring: ring.into(),
        attempt: 1,
        cluster: "c".into(),
        gate: gate.into(),
        source: None,
        query: format!("up{{n=\"{n}\"}}"),
        samples: None,
        baseline_at: None,
        due: Mono(0),
        timeout: Span::seconds(10),
        parts: Vec::new(),
        past: None,
    }
}

fn measured(of: &Measure, value: f64) -> Fact {
    Fact::Measured {
        release: of.release.clone(),
        ring: of.ring.clone(),
        cluster: of.cluster.clone(),
        gate: of.gate.clone(),
        key: of.key.clone(),
        judged: Judged { value: Some(value), ..Judged::new(Verdict::Pass, "fine") },
    }
}

fn noise() -> Fact {
    Fact::SoakRunning {
        release: ReleaseId::new("search", "9"),
        ring: "all".into(),
        running: true,
        blind: false,
    }
}

/// `beta` is measured from second 1,000 on, `n` times, twice a ten seconds in turn with `corp`, and each
/// answer comes two entries after its question; before and after lies what is of no concern.
fn journal(n: u64) -> Memory {
    let store = Memory::new();
    let mut drafts = Vec::new();
    let draft = |second, facts, commands| Draft { at: at(second), facts, commands };
    for second in 0..1_000 {
        drafts.push(draft(second, vec![noise()], Vec::new()));
    }
    for i in 1..=n {
        let second = 1_000 + i * 10;
        for (ring, gate) in [("beta", "latency"), ("corp", "latency"), ("beta", "errors")] {
            let asked = measure(ring, gate, i);
            drafts.push(draft(second, Vec::new(), vec![Command::Measure(asked.clone()).into()]));
            drafts.push(draft(second + 1, vec![noise()], Vec::new()));
            let mut facts = vec![measured(&asked, i as f64)];
            if i == 1 {
                facts.insert(
                    0,
                    Fact::BaselineTaken {
                        release: asked.release.clone(),
                        ring: asked.ring.clone(),
                        cluster: asked.cluster.clone(),
                        gate: asked.gate.clone(),
                        value: 0.5,
                    },
                );
            }
            drafts.push(draft(second + 1, facts, Vec::new()));
        }
    }
    for second in 0..1_000 {
        drafts.push(draft(1_002 + n * 10 + second, vec![noise()], Vec::new()));
    }
    store.append(1, &drafts).unwrap();
    store
}

fn wanted(gate: Option<&str>) -> Wanted {
    Wanted {
        release: ReleaseId::new("checkout", "1"),
        ring: "beta".into(),
        gate: gate.map(Into::into),
        cluster: None,
    }
}

fn values(found: &[Measurement]) -> Vec<f64> {
    found.iter().filter_map(|found| found.judged.value).collect()
}

#[test]
fn it_begins_and_ends_where_the_ring_does() {
    let store = journal(20);
    let entries = between(&store, Mono(1_010_000), Some(Mono(1_201_000))).unwrap();
    assert_eq!(entries, 1_001..1_001 + 20 * 9);
    assert_eq!(between(&store, Mono(0), None).unwrap(), 1..store.head().seq + 1);
    assert_eq!(between(&store, Mono(u64::MAX), None).unwrap().count(), 0);
    assert_eq!(between(&Memory::new(), Mono(0), None).unwrap().count(), 0);
}

#[test]
fn pages_hold_everything_once_and_in_order() {
    let store = journal(300);
    let all = between(&store, Mono(0), None).unwrap();
    for size in [1, 7, 300, 500] {
        let (mut rest, mut found) = (Some(all.clone()), Vec::new());
        while let Some(entries) = rest {
            let page = oldest(&store, &wanted(Some("latency")), entries, size).unwrap();
            assert!(page.items.len() <= size);
            found.extend(page.items);
            rest = page.rest;
        }
        assert_eq!(values(&found), (1..=300).map(f64::from).collect::<Vec<_>>(), "{size}");
        assert!(found.iter().all(|found| found.asked.is_some()), "{size}");
        let (mut rest, mut back) = (Some(all.clone()), Vec::new());
        while let Some(entries) = rest {
            let page = newest(&store, &wanted(Some("latency")), entries, size).unwrap();
            assert!(page.items.len() <= size);
            back.extend(page.items);
            rest = page.rest;
        }
        back.reverse();
        assert_eq!(back, found, "{size}");
    }
}

#[test]
fn a_page_looks_at_so_much_and_no_more() {
    let store = Memory::new();
    let entries = (0..BUDGET + 10)
        .map(|n| Draft { at: at(n), facts: vec![noise()], commands: Vec::new() })
        .collect::<Vec<_>>();
    store.append(1, &entries).unwrap();
    let all = between(&store, Mono(0), None).unwrap();
    let page = oldest(&store, &wanted(None), all.clone(), 10).unwrap();
    assert_eq!((page.items.len(), page.rest), (0, Some(BUDGET + 1..BUDGET + 11)));
    let page = newest(&store, &wanted(None), all, 10).unwrap();
    assert_eq!((page.items.len(), page.rest), (0, Some(1..11)));
}

#[test]
fn a_measurement_has_its_question_and_what_was_taken_along() {
    let store = journal(2);
    let all = between(&store, Mono(0), None).unwrap();
    let found = oldest(&store, &wanted(None), all, 100).unwrap().items;
    let gates: Vec<_> = found.iter().map(|found| found.gate.as_str()).collect();
    assert_eq!(gates, ["latency", "errors", "latency", "errors"]);
    let first = &found[0];
    let (when, asked) = first.asked.as_ref().unwrap();
    assert_eq!((when.mono, first.at.mono), (Mono(1_010_000), Mono(1_011_000)));
    assert_eq!(asked.query, "up{n=\"1\"}");
    assert_eq!((first.baseline, found[2].baseline), (Some(0.5), None));
}
