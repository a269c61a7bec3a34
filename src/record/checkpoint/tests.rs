use super::*;
use crate::{
    decide::fact::Fact,
    model::time::{Mono, Now},
    record::{Draft, Memory, recover},
};

fn draft(n: u64) -> Draft {
    let at = Now { wall: jiff::Timestamp::from_second(1_760_000_000).unwrap(), mono: Mono(n) };
    let facts = vec![Fact::SourceAccepted { commit: n.to_string().into() }];
    Draft { at, facts, commands: Vec::new() }
}

fn journal(entries: u64) -> (Memory, World) {
    let store = Memory::new();
    let mut world = World::default();
    for n in 1..=entries {
        let draft = draft(n);
        world.fold(draft.at, &draft.facts, &[]).unwrap();
        store.append(1, &[draft]).unwrap();
    }
    (store, world)
}

/// A journal of six entries whose checkpoint stands at the fourth.
fn kept() -> (Memory, World) {
    let (store, world) = journal(4);
    keep(&store, store.head(), &world).unwrap();
    store.append(1, &[draft(5), draft(6)]).unwrap();
    (store, world)
}

fn put(store: &Memory, text: &[u8]) {
    store.keep(&mut |to| to.write_all(text)).unwrap();
}

/// The same text with another header, and the checksum that belongs to it.
fn with_header(text: &[u8], change: impl FnOnce(&mut Header)) -> Vec<u8> {
    let (mut header, world) = open(text).unwrap();
    change(&mut header);
    let text = [&serde_json::to_vec(&header).unwrap(), world].concat();
    let hash = Digest(Sha256::digest(&text).into()).to_string();
    [&text, hash.as_bytes()].concat()
}

#[test]
fn a_start_goes_on_from_what_was_kept() {
    let (store, world) = kept();
    assert_eq!(read(&store), Ok(Some((4, world))));
    let recovered = recover(&store).unwrap();
    assert_eq!((recovered.checkpoint, recovered.world), (4, journal(6).1));
}

#[test]
fn the_world_is_taken_from_the_text_and_not_folded_again() {
    let (store, mut world) = journal(4);
    world.epoch = 77;
    keep(&store, store.head(), &world).unwrap();
    assert_eq!(recover(&store).unwrap().world.epoch, 77);
}

#[test]
fn without_a_checkpoint_all_is_folded() {
    let (store, world) = journal(4);
    assert_eq!(read(&store), Ok(None));
    let recovered = recover(&store).unwrap();
    assert_eq!((recovered.checkpoint, recovered.world), (0, world));
}

#[test]
fn what_is_damaged_does_not_count() {
    let (store, _) = kept();
    let text = store.kept().unwrap();
    for at in 0..text.len() {
        let mut damaged = text.clone();
        damaged[at] ^= 1;
        for damaged in [&damaged, &text[..at]] {
            put(&store, damaged);
            assert_eq!(read(&store), Err(Misfit::Damaged), "{at}");
        }
    }
    let recovered = recover(&store).unwrap();
    assert_eq!((recovered.checkpoint, recovered.world), (0, journal(6).1));
}

#[test]
fn what_another_version_wrote_does_not_count() {
    let (store, _) = kept();
    let text = store.kept().unwrap();
    put(&store, &with_header(&text, |header| header.fold = "0123456789abcdef".into()));
    assert_eq!(read(&store), Err(Misfit::OtherFold));
    put(&store, &with_header(&text, |header| header.checkpoint += 1));
    assert_eq!(read(&store), Err(Misfit::OtherFold));
    let recovered = recover(&store).unwrap();
    assert_eq!((recovered.checkpoint, recovered.world), (0, journal(6).1));
}

#[test]
fn what_another_journal_left_does_not_count() {
    let (store, _) = kept();
    let text = store.kept().unwrap();
    for (seq, change) in [(0, 0), (7, 0), (4, 1)] {
        let other = with_header(&text, |header| {
            header.seq = seq;
            header.hash.0[0] ^= change;
        });
        put(&store, &other);
        assert_eq!(read(&store), Err(Misfit::OtherJournal(seq)));
    }
    assert_eq!(recover(&store).unwrap().world, journal(6).1);
}

#[test]
fn what_cannot_be_written_leaves_what_was_there() {
    let place = tempfile::tempdir().unwrap();
    let store = crate::record::SledStore::open(place.path()).unwrap();
    store.append(1, &[draft(1)]).unwrap();
    let mut world = World::default();
    world.fold(draft(1).at, &draft(1).facts, &[]).unwrap();
    keep(&store, store.head(), &world).unwrap();
    let full = |_: &mut dyn Write| Err(io::ErrorKind::StorageFull.into());
    assert!(matches!(store.keep(&mut { full }), Err(StoreError::Full { .. })));
    assert!(!place.path().join("checkpoint.new").exists());
    assert_eq!(read(&store), Ok(Some((1, world))));
}
