//! What every store keeps, run against each of them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use proptest::prelude::*;

use super::{audit, *};
use crate::{
    decide::{
        command::{Command, Write},
        fact::{Fact, Judged, Verdict},
    },
    ids::ReleaseId,
    model::{
        ring::{Artifact, Target, TargetKind},
        time::{Mono, Now},
    },
};

/// A decision that differs from every other by `n`, with a fact and a command.
pub(super) fn draft(n: u64) -> Draft {
    let write = Write {
        key: format!("checkout@2.14.0/beta/eu-{n}/1/deploy").as_str().into(),
        release: ReleaseId::new("checkout", "2.14.0"),
        ring: "beta".into(),
        attempt: 1,
        cluster: format!("eu-{n}").as_str().into(),
        connection: "loopback".into(),
        target: Target {
            kind: TargetKind::Deployment { container: "app".into() },
            namespace: "shop".into(),
            name: "checkout".into(),
        },
        artifact: Artifact("registry/checkout@sha256:0".into()),
    };
    Draft {
        at: Now { wall: jiff::Timestamp::from_second(1_760_000_000).unwrap(), mono: Mono(n) },
        facts: vec![Fact::SourceAccepted { commit: n.to_string().into() }],
        commands: vec![Arc::new(Command::Deploy(write))],
    }
}

pub(super) fn drafts(numbers: std::ops::RangeInclusive<u64>) -> Vec<Draft> {
    numbers.map(draft).collect()
}

fn big(bytes: usize) -> Draft {
    // No two stretches alike, so that chunks in a wrong order cannot pass.
    let why = (0..).map(|n: u32| format!("{n} ")).take(bytes / 5).collect();
    let facts = vec![Fact::SourceRefused { commit: "big".into(), why }];
    Draft { facts, commands: vec![], ..draft(0) }
}

fn same(entry: &Entry, draft: &Draft) -> bool {
    (entry.at, &entry.facts, &entry.commands) == (draft.at, &draft.facts, &draft.commands)
}

/// A place that a store can be opened at, again and again.
trait Place {
    fn open(&self) -> Arc<dyn Store>;
}

struct InMemory(Arc<Memory>);

impl Place for InMemory {
    fn open(&self) -> Arc<dyn Store> {
        self.0.reopen().unwrap();
        self.0.clone()
    }
}

struct OnDisk(tempfile::TempDir);

impl Place for OnDisk {
    fn open(&self) -> Arc<dyn Store> {
        Arc::new(SledStore::open(self.0.path()).unwrap())
    }
}

macro_rules! conformance {
    ($($test:ident),* $(,)?) => {
        mod memory {
            $(#[test] fn $test() { super::$test(&super::InMemory(Default::default())) })*
        }
        mod sled {
            $(#[test] fn $test() { super::$test(&super::OnDisk(tempfile::tempdir().unwrap())) })*
        }
    };
}

conformance!(
    an_empty_journal_has_no_entries,
    what_is_appended_is_read_back_in_order,
    a_reopened_journal_goes_on_with_the_chain,
    an_empty_append_changes_nothing,
    an_earlier_epoch_is_refused,
    a_big_entry_is_whole,
    ten_thousand_entries,
    readers_see_whole_appends_only,
    every_figure_survives_to_the_last_bit,
    an_export_can_be_checked_by_anybody,
    the_audit_pages_and_names_what_happened,
);

fn an_empty_journal_has_no_entries(place: &dyn Place) {
    for _ in 0..2 {
        let store = place.open();
        assert_eq!(store.head(), Head::EMPTY);
        assert!(store.read(0, 10).unwrap().is_empty());
        let found = audit::verify(&*store).unwrap();
        assert_eq!((found.entries, found.broken), (0, None));
    }
}

fn what_is_appended_is_read_back_in_order(place: &dyn Place) {
    let store = place.open();
    assert_eq!(store.append(1, &drafts(1..=1)).unwrap(), 1..2);
    assert_eq!(store.append(1, &drafts(2..=6)).unwrap(), 2..7);
    let entries = store.read(1, 100).unwrap();
    assert_eq!(entries.len(), 6);
    let mut prev = Digest::GENESIS.into();
    for (entry, n) in entries.iter().zip(1..) {
        assert!(same(entry, &draft(n)), "{entry:?}");
        assert_eq!((entry.seq, entry.epoch, &entry.prev), (n, 1, &prev));
        prev = entry.hash.clone();
    }
    assert_eq!((store.head().seq, store.head().hash.into()), (6, prev));
    let numbers = |from, limit| -> Vec<u64> {
        store.read(from, limit).unwrap().iter().map(|e| e.seq).collect()
    };
    assert_eq!(numbers(0, 2), [1, 2]);
    assert_eq!(numbers(4, 2), [4, 5]);
    assert_eq!(numbers(6, usize::MAX), [6]);
    assert!(numbers(7, 1).is_empty());
    assert!(numbers(u64::MAX, usize::MAX).is_empty());
    assert!(numbers(1, 0).is_empty());
}

fn a_reopened_journal_goes_on_with_the_chain(place: &dyn Place) {
    let mut heads = Vec::new();
    for round in 0..5 {
        let store = place.open();
        assert_eq!(heads.last().copied().unwrap_or(Head::EMPTY), store.head());
        store.append(round, &drafts(2 * round + 1..=2 * round + 2)).unwrap();
        heads.push(store.head());
    }
    let store = place.open();
    let entries: Vec<_> = store.entries(1).collect::<Result<_, _>>().unwrap();
    assert!(entries.iter().zip(1..).all(|(entry, n)| entry.seq == n && same(entry, &draft(n))));
    assert_eq!((entries.len(), store.head().epoch), (10, 4));
    let found = audit::verify(&*store).unwrap();
    assert_eq!((found.entries, found.head, found.broken), (10, store.head().hash.into(), None));
}

fn an_empty_append_changes_nothing(place: &dyn Place) {
    let store = place.open();
    store.append(3, &drafts(1..=1)).unwrap();
    let head = store.head();
    assert_eq!(store.append(9, &[]).unwrap(), 2..2);
    assert_eq!(store.head(), head);
}

fn an_earlier_epoch_is_refused(place: &dyn Place) {
    let store = place.open();
    store.append(2, &drafts(1..=1)).unwrap();
    for drafts in [drafts(2..=3), vec![]] {
        let error = store.append(1, &drafts).unwrap_err();
        assert!(matches!(error, StoreError::StaleEpoch { offered: 1, recorded: 2, .. }), "{error}");
    }
    drop(store);
    let store = place.open();
    assert!(matches!(store.append(1, &drafts(2..=2)), Err(StoreError::StaleEpoch { .. })));
    assert_eq!(store.append(2, &drafts(2..=2)).unwrap(), 2..3);
    assert_eq!(store.append(5, &drafts(3..=3)).unwrap(), 3..4);
}

fn a_big_entry_is_whole(place: &dyn Place) {
    let all = [draft(1), big(200 << 10), draft(3), big(format::CHUNK), big(1 << 20)];
    place.open().append(1, &all).unwrap();
    let entries = place.open().read(1, 10).unwrap();
    assert_eq!(entries.len(), 5);
    assert!(entries.iter().zip(&all).all(|(entry, draft)| same(entry, draft)));
}

fn ten_thousand_entries(place: &dyn Place) {
    let store = place.open();
    for first in (1..=10_000).step_by(250) {
        store.append(1, &drafts(first..=first + 249)).unwrap();
    }
    drop(store);
    let store = place.open();
    let mut next = 1;
    for entry in store.entries(1) {
        let entry = entry.unwrap();
        assert!(entry.seq == next && same(&entry, &draft(next)));
        next += 1;
    }
    assert_eq!(next, 10_001);
}

fn readers_see_whole_appends_only(place: &dyn Place) {
    const BATCH: u64 = 7;
    let store = place.open();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = || {
            let mut seen = 0;
            while !done.load(Ordering::Acquire) {
                let head = store.head().seq;
                assert!(head >= seen && head.is_multiple_of(BATCH), "{head} after {seen}");
                let entries = store.read(seen.saturating_sub(20), 1_000).unwrap();
                assert!(entries.last().map_or(0, |e| e.seq) >= head);
                assert!((entries.len() as u64).is_multiple_of(BATCH) || seen >= 20);
                seen = head;
            }
            seen
        };
        let readers = [scope.spawn(reader), scope.spawn(reader)];
        for batch in 0..100 {
            store.append(1, &drafts(batch * BATCH + 1..=(batch + 1) * BATCH)).unwrap();
        }
        done.store(true, Ordering::Release);
        assert!(readers.into_iter().all(|reader| reader.join().unwrap() > 0));
    });
}

fn every_figure_survives_to_the_last_bit(place: &dyn Place) {
    let store = place.open();
    let figures = prop::collection::vec(any::<f64>().prop_filter("NaN", |f| !f.is_nan()), 200);
    let mut config = ProptestConfig::with_cases(20);
    config.failure_persistence = None;
    proptest!(config, |(figures in figures)| {
        let judged = |value: &f64| Judged {
            value: Some(*value),
            against: Some(-value),
            ..Judged::new(Verdict::Pass, "")
        };
        let facts = figures.iter().map(judged).map(|judged| Fact::Measured {
            release: ReleaseId::new("checkout", "2.14.0"),
            ring: "beta".into(),
            cluster: "eu-1".into(),
            gate: "latency".into(),
            key: "k".into(),
            judged,
        });
        let draft = Draft { facts: facts.collect(), ..draft(1) };
        let at = store.append(1, std::slice::from_ref(&draft)).unwrap().start;
        prop_assert_eq!(&store.read(at, 1).unwrap()[0].facts, &draft.facts);
    });
}

fn an_export_can_be_checked_by_anybody(place: &dyn Place) {
    use sha2::{Digest as _, Sha256};
    let store = place.open();
    store.append(1, &[drafts(1..=2), vec![big(100_000)]].concat()).unwrap();
    let mut text = Vec::new();
    let end = export::export(&*store, 1, jiff::Timestamp::UNIX_EPOCH, &mut text).unwrap();
    assert_eq!((end.entries, end.head), (3, store.head().hash));
    let text = String::from_utf8(text).unwrap();
    assert_eq!(text.lines().count(), 4);
    let mut prev = [0; 32];
    for (line, seq) in text.lines().take(3).zip(1u64..) {
        let json: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(json["seq"], seq);
        let (_, record) = line.split_once(r#""record":"#).unwrap();
        let record = record.strip_suffix('}').unwrap();
        let sum = Sha256::new().chain_update(prev).chain_update(seq.to_be_bytes());
        prev = sum.chain_update(record).finalize().into();
        assert_eq!(json["hash"], Digest(prev).to_string());
    }
    assert_eq!(prev, store.head().hash.0);
    let end = export::export(&*store, 3, jiff::Timestamp::UNIX_EPOCH, &mut Vec::new());
    assert_eq!(end.unwrap().entries, 1);
}

fn the_audit_pages_and_names_what_happened(place: &dyn Place) {
    let store = place.open();
    store.append(4, &drafts(1..=5)).unwrap();
    let page = audit::since(&*store, 3, 10).unwrap();
    assert_eq!(page.iter().map(|e| e.seq).collect::<Vec<_>>(), [4, 5]);
    assert_eq!(audit::since(&*store, 0, 2).unwrap()[1].seq, 2);
    assert!(audit::since(&*store, 5, 10).unwrap().is_empty());
    assert!(audit::since(&*store, u64::MAX, 10).unwrap().is_empty());
    let json = serde_json::to_value(&page[0]).unwrap();
    assert_eq!(json["facts"][0]["what"], "sourceAccepted");
    assert_eq!(json["facts"][0]["with"]["commit"], "4");
    assert_eq!(json["commands"][0]["what"], "deploy");
    assert_eq!(json["commands"][0]["with"]["ring"], "beta");
    assert_eq!((&json["epoch"], &json["at"]["mono"]), (&4.into(), &4.into()));
}
