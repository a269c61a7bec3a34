//! What only a disk can go through: other processes, damage, full disks and kill -9.

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use super::*;
use crate::{
    decide::fact::Fact,
    record::{
        audit,
        conformance::{draft, drafts},
    },
};

fn filled(dir: &Path, entries: u64) {
    let store = SledStore::open(dir).unwrap();
    for n in 1..=entries {
        store.append(1, &[draft(n)]).unwrap();
    }
}

fn refusal(dir: &Path) -> StoreError {
    let error = SledStore::open(dir).map(|store| store.head()).unwrap_err();
    assert!(error.to_string().starts_with(&dir.display().to_string()), "{error}");
    error
}

fn corruption(dir: &Path) -> String {
    let error = refusal(dir);
    let StoreError::Corrupt { detail, .. } = error else { panic!("{error}") };
    detail
}

/// Every file below, with its bytes.
fn files(dir: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for file in fs::read_dir(dir).unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    for (path, bytes) in files(from) {
        let to = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, bytes).unwrap();
    }
}

#[test]
fn a_directory_has_one_owner() {
    let dir = tempfile::tempdir().unwrap();
    let store = SledStore::open(dir.path()).unwrap();
    store.append(1, &drafts(1..=3)).unwrap();
    let error = refusal(dir.path());
    let StoreError::InUse { holder, .. } = &error else { panic!("{error}") };
    assert_eq!(*holder, format!("process {}", std::process::id()));
    assert_eq!(store.append(1, &drafts(4..=4)).unwrap(), 4..5);
    drop(store);
    assert_eq!(SledStore::open(dir.path()).unwrap().head().seq, 4);
}

#[test]
fn a_database_that_somebody_opened_by_itself_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 1);
    let journal = dir.path().join("journal");
    let stray = journal.join("snap.0000000000000001.generating");
    let foreign = ::sled::open(&journal).unwrap();
    fs::write(&stray, "theirs").unwrap();
    assert!(matches!(refusal(dir.path()), StoreError::InUse { .. }));
    assert_eq!(fs::read(&stray).unwrap(), b"theirs");
    drop(foreign);
}

#[test]
fn a_newer_format_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 3);
    fs::write(dir.path().join("format"), "ringward journal 3\n").unwrap();
    let before = files(dir.path());
    let error = refusal(dir.path());
    assert!(matches!(error, StoreError::NewerFormat { found: 3, known: 2, .. }), "{error}");
    assert_eq!(files(dir.path()), before);
}

#[test]
fn an_earlier_format_has_no_tail_and_gets_one() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 3);
    fs::write(dir.path().join("format"), "ringward journal 1\n").unwrap();
    fs::remove_file(dir.path().join("tail")).unwrap();
    let store = SledStore::open(dir.path()).unwrap();
    assert_eq!(store.append(1, &drafts(4..=4)).unwrap(), 4..5);
    assert_eq!(fs::read(dir.path().join("format")).unwrap(), b"ringward journal 2\n");
    assert!(dir.path().join("tail").exists());
}

/// A copy of a directory, as a kill leaves it while the database has some of its entries in memory.
fn killed(store: &SledStore) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    copy(store.dir(), dir.path());
    dir
}

#[test]
fn what_the_database_lacks_is_taken_from_the_tail() {
    let origin = tempfile::tempdir().unwrap();
    let store = SledStore::open(origin.path()).unwrap();
    // An append that is more than the tail holds, and as many as make it begin anew.
    let why = "much ".repeat(300_000);
    let big = Draft { facts: vec![Fact::SourceRefused { commit: "c".into(), why }], ..draft(1) };
    store.append(1, &[draft(1), big]).unwrap();
    let mut last = 2;
    for size in (1..=40).cycle().take(150) {
        store.append(1, &drafts(last + 1..=last + size)).unwrap();
        last += size;
        if size % 8 != 0 {
            continue;
        }
        let dir = killed(&store);
        let reopened = SledStore::open(dir.path()).unwrap();
        assert_eq!(reopened.head(), store.head());
        assert_eq!(audit::verify(&reopened).unwrap().broken, None);
        assert_eq!(reopened.append(1, &[draft(0)]).unwrap(), last + 1..last + 2);
        drop(reopened);
        assert_eq!(SledStore::open(dir.path()).unwrap().head().seq, last + 1);
    }
}

#[test]
fn a_tail_that_does_not_belong_to_the_journal_is_refused() {
    let [one, other] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    filled(one.path(), 3);
    let store = SledStore::open(other.path()).unwrap();
    store.append(1, &[draft(7)]).unwrap();
    drop(store);
    fs::copy(other.path().join("tail"), one.path().join("tail")).unwrap();
    assert!(corruption(one.path()).contains("entry 1: the journal's tail has another"));
    let store = SledStore::open(other.path()).unwrap();
    for n in 2..=7 {
        store.append(1, &[draft(n)]).unwrap();
    }
    drop(store);
    // The last append there begins beyond what is here.
    let store = SledStore::open(other.path()).unwrap();
    store.append(1, &[draft(8)]).unwrap();
    drop(store);
    fs::copy(other.path().join("tail"), one.path().join("tail")).unwrap();
    assert!(corruption(one.path()).contains("entry 4: the journal's tail does not follow"));
}

#[test]
fn a_directory_that_is_not_whole_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 3);
    let keep = fs::read(dir.path().join("format")).unwrap();
    fs::remove_file(dir.path().join("format")).unwrap();
    assert!(corruption(dir.path()).contains("no `format` file"));
    fs::write(dir.path().join("format"), "something else").unwrap();
    assert!(corruption(dir.path()).contains("does not say"));
    fs::write(dir.path().join("format"), keep).unwrap();
    fs::write(dir.path().join("high-water"), [7; 96]).unwrap();
    assert!(corruption(dir.path()).contains("high-water"));
    fs::remove_file(dir.path().join("high-water")).unwrap();
    assert!(corruption(dir.path()).contains("high-water"));
}

#[test]
fn a_start_that_was_interrupted_is_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("format.new"), "ringw").unwrap();
    fs::write(dir.path().join("high-water"), "torn").unwrap();
    filled(dir.path(), 2);
    assert_eq!(SledStore::open(dir.path()).unwrap().head().seq, 2);
}

#[test]
fn a_half_made_snapshot_goes_and_a_real_one_stays() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 20);
    drop(SledStore::open(dir.path()).unwrap());
    let journal = dir.path().join("journal");
    let snapshots = || -> Vec<_> {
        let names = fs::read_dir(&journal).unwrap().map(|f| f.unwrap().file_name());
        names.filter(|n| n.to_string_lossy().starts_with("snap.")).collect()
    };
    let real = snapshots();
    assert!(!real.is_empty(), "the test is about nothing");
    let stray = journal.join("snap.00000000FFFFFFFF.generating");
    fs::write(&stray, "half").unwrap();
    prepare(&DataDir::claim(dir.path()).unwrap()).unwrap();
    assert_eq!(snapshots(), real);
    fs::write(&stray, "half").unwrap();
    assert_eq!(SledStore::open(dir.path()).unwrap().head().seq, 20);
    assert!(!stray.exists());
}

#[test]
fn a_copy_that_a_killed_process_left_is_put_back() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 20);
    let [journal, kept] = ["journal", "journal.kept"].map(|name| dir.path().join(name));
    copy(&journal, &kept);
    fs::write(journal.join("db"), "half wiped").unwrap();
    copy(&journal, &dir.path().join("journal.keeping"));
    copy(&journal, &dir.path().join("journal.discarded"));
    assert_eq!(SledStore::open(dir.path()).unwrap().head().seq, 20);
    let mut names: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|f| f.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["clean-stop", "format", "high-water", "journal", "lock", "tail"]);
}

/// What somebody with the database in hand could do to entry 5 of 10, and where it is noticed.
#[test]
fn a_record_that_was_tampered_with_is_found() {
    type Tamper = fn(&Database);
    fn forged(database: &Database, seq: u64, change: fn(&mut Record)) {
        let mut record = database.records(seq..seq + 1).unwrap().remove(0);
        change(&mut record);
        database.db().insert(key(seq, 0), record.to_bytes()).unwrap();
    }
    let cases: [(Tamper, &str); 6] = [
        (|db| forged(db, 5, |r| r.payload[40] ^= 1), "entry 5"),
        (|db| forged(db, 5, |r| r.hash.0[0] ^= 1), "entry 5"),
        (
            |db| {
                forged(db, 5, |r| {
                    let forged = Record::seal(r.prev, r.seq, 1, &draft(77)).unwrap();
                    *r = forged;
                });
            },
            "entry 6: it does not follow",
        ),
        (|db| drop(db.db().remove(key(5, 0)).unwrap()), "entry 5"),
        (|db| drop(db.db().insert(key(11, 0), "more").unwrap()), "entry 11: it lies behind"),
        (
            |db| {
                // The tail is cut off, and the head made to fit: the chain itself is sound.
                let last = db.records(8..9).unwrap().remove(0);
                let db = db.db();
                db.insert(HEAD, [&8u64.to_be_bytes()[..], &last.hash.0].concat()).unwrap();
                db.remove(key(9, 0)).unwrap();
                db.remove(key(10, 0)).unwrap();
            },
            "entry 9: it was acknowledged",
        ),
    ];
    for (tamper, place) in cases {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path(), 10);
        let store = SledStore::open(dir.path()).unwrap();
        assert_eq!(audit::verify(&store).unwrap().broken, None);
        tamper(&store.database);
        let live = audit::verify(&store).unwrap().broken;
        if !place.contains("behind") {
            let broken = live.expect(place);
            let error = store.read(1, 10).unwrap_err();
            assert!(error.to_string().contains(&format!("entry {}", broken.seq)), "{error}");
        }
        drop(store);
        // It has all ten still, and would give back what was cut off.
        fs::remove_file(dir.path().join("tail")).unwrap();
        let detail = corruption(dir.path());
        assert!(detail.contains(place), "{detail} is not about {place}");
    }
}

#[test]
fn an_entry_of_a_newer_version_is_no_corruption() {
    for payload in [
        r#"{"v":2,"anything":[]}"#,
        r#"{"v":1,"at":{"wall":"2026-01-01T00:00:00Z","mono":1},"epoch":1,"facts":[{"unheardOf":{}}],"commands":[]}"#,
    ] {
        let dir = tempfile::tempdir().unwrap();
        let store = SledStore::open(dir.path()).unwrap();
        store.append(1, &[draft(1)]).unwrap();
        let next = Record::chained(store.head().hash, 2, payload.into());
        let (hash, head) = (next.hash, Head { seq: 2, hash: next.hash, epoch: 1 });
        store.commit(&mut store.writer.lock().unwrap(), &[next], head).unwrap();
        drop(store);
        let error = refusal(dir.path());
        assert!(matches!(error, StoreError::Unreadable { seq: 2, .. }), "{error} {hash}");
        assert!(error.to_string().contains("or a newer one"));
    }
}

/// JSON has no NaN: the plan would be written, and no recovery could ever read it.
#[test]
fn what_could_not_be_read_back_is_not_recorded() {
    use crate::model::{plan, policy, ring, time::Span};
    let policy = policy::Policy {
        name: "default".into(),
        soak: policy::Soak {
            duration: Span::ZERO,
            on_breach: policy::OnBreach::Reset,
            backfill: false,
        },
        deadline: Span::ZERO,
        concurrency: policy::Concurrency::Share(f64::NAN),
        failure_budget: 0,
        gates: vec![],
        rollback: policy::Rollback { automatic: true, ..Default::default() },
        approvals: None,
        calendars: vec![],
        min_dwell: Span::ZERO,
        after_watch: Span::ZERO,
    };
    let command = draft(1).commands.remove(0);
    let crate::decide::command::Command::Deploy(write) = command.as_ref() else { unreachable!() };
    let plan = plan::Plan {
        name: "checkout".into(),
        hash: "h".into(),
        commit: "c".into(),
        target: write.target.clone(),
        data_classes: vec![],
        on_newer: plan::OnNewer::QueueLatest,
        on_policy_change: Default::default(),
        max_skew: None,
        lanes: Default::default(),
        graph: crate::model::graph::RingGraph::new(vec![]).unwrap(),
        rings: vec![ring::Ring { name: "beta".into(), clusters: vec![], policy: policy.into() }],
        residency: vec![],
    };
    let dir = tempfile::tempdir().unwrap();
    let store = SledStore::open(dir.path()).unwrap();
    let bad = Draft { facts: vec![Fact::PlanDeclared { plan: plan.into() }], ..draft(2) };
    let error = store.append(1, &[draft(1), bad, draft(3)]).unwrap_err();
    assert!(matches!(error, StoreError::Unwritable { seq: 2, .. }), "{error}");
    assert_eq!(store.head(), Head::EMPTY);
    assert_eq!(store.append(1, &[draft(1)]).unwrap(), 1..2);
}

/// Whatever byte goes bad while ringward is down: the journal is refused, or it is whole.
#[test]
fn a_flipped_bit_on_the_disk_is_never_silent() {
    // What recovery has to go by decides what it notices: no snapshot, an old one, one of the very end.
    let [first, killed, closed] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let store = SledStore::open(closed.path()).unwrap();
    store.append(1, &drafts(1..=300)).unwrap();
    store.append(1, &drafts(301..=400)).unwrap();
    store.database.wait_for_the_disk().unwrap();
    copy(closed.path(), first.path());
    drop(store);
    let store = SledStore::open(closed.path()).unwrap();
    store.append(1, &drafts(401..=500)).unwrap();
    store.database.wait_for_the_disk().unwrap();
    copy(closed.path(), killed.path());
    drop(store);
    drop(SledStore::open(closed.path()).unwrap());

    let origins = [("none", &first, 400), ("old", &killed, 500), ("of the end", &closed, 500)];
    // Most of what the database loses the tail has still; what that is worth by itself, too.
    for ((name, origin, entries), tail) in origins.iter().flat_map(|o| [(*o, false), (*o, true)]) {
        let snapshots = files(origin.path()).into_iter().filter(|(path, _)| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("snap."))
        });
        assert_eq!(snapshots.count() == 0, name == "none");
        let bytes = fs::read(origin.path().join("journal/db")).unwrap();
        let written = bytes.iter().rposition(|b| *b != 0).unwrap();
        let (mut refused, mut whole) = (0, 0);
        for n in 0..40 {
            let mut bytes = bytes.clone();
            let at = written * n / 40 + 11;
            if n % 10 == 9 {
                bytes.truncate(at);
            } else {
                bytes[at] ^= 1 << (n % 8);
            }
            let dir = tempfile::tempdir().unwrap();
            copy(origin.path(), dir.path());
            fs::write(dir.path().join("journal/db"), bytes).unwrap();
            if !tail {
                fs::remove_file(dir.path().join("tail")).unwrap();
            }
            let before = files(&dir.path().join("journal"));
            match SledStore::open(dir.path()) {
                Ok(store) => {
                    assert_eq!(store.head().seq, entries, "byte {at}");
                    assert_eq!(audit::verify(&store).unwrap().broken, None);
                    whole += 1;
                }
                Err(StoreError::Corrupt { detail, .. }) => {
                    let after = files(&dir.path().join("journal"));
                    assert!(before == after, "byte {at}: {detail}, and it is not as it was");
                    refused += 1;
                }
                Err(other) => panic!("byte {at}: {other}"),
            }
        }
        println!("snapshot {name}, tail {tail}: {refused} refused, {whole} whole");
        assert!(refused > 0 || tail, "the test is about nothing");
    }
}

/// The same for what was recorded last, of which the database may have nothing yet.
#[test]
fn a_flipped_bit_in_the_tail_is_never_silent() {
    let origin = tempfile::tempdir().unwrap();
    let store = SledStore::open(origin.path()).unwrap();
    for n in 0..20 {
        store.append(1, &drafts(n * 5 + 1..=n * 5 + 5)).unwrap();
    }
    let origin = killed(&store);
    let bytes = fs::read(origin.path().join("tail")).unwrap();
    let written = bytes.iter().rposition(|b| *b != 0).unwrap();
    let mut refused = 0;
    for n in 0..40 {
        let mut bytes = bytes.clone();
        bytes[written * n / 40] ^= 1 << (n % 8);
        let dir = tempfile::tempdir().unwrap();
        copy(origin.path(), dir.path());
        fs::write(dir.path().join("tail"), bytes).unwrap();
        match SledStore::open(dir.path()) {
            Ok(store) => assert_eq!(store.head().seq, 100, "{n}"),
            Err(StoreError::Corrupt { .. }) => refused += 1,
            Err(other) => panic!("{n}: {other}"),
        }
    }
    assert!(refused > 0, "the test is about nothing");
}

#[test]
fn values_stay_in_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let store = SledStore::open(dir.path()).unwrap();
    for n in 0..40 {
        let why = format!("{n} ").repeat(20_000);
        let facts = vec![Fact::SourceRefused { commit: "c".into(), why }];
        store.append(1, &[Draft { facts, ..draft(n) }, draft(n)]).unwrap();
    }
    drop(store);
    let blobs = fs::read_dir(dir.path().join("journal/blobs")).unwrap().count();
    assert_eq!(blobs, 0);
}

#[test]
fn it_can_be_opened_again_at_once() {
    let dir = tempfile::tempdir().unwrap();
    for n in 1..=50 {
        let store = SledStore::open(dir.path()).unwrap();
        assert_eq!(store.append(n, &[draft(n)]).unwrap(), n..n + 1);
    }
}

/// The name of the data directory that a child of these tests works in.
const CHILD: &str = "RINGWARD_TEST_CHILD";

/// Runs the test `name` of this very binary in another process, which prints one line an append.
fn child(name: &str, dir: &Path, shell: &str) -> Child {
    Command::new("sh")
        .args(["-c", &format!(r#"{shell} exec "$0" "$@""#)])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .arg(format!("record::sled::tests::{name}"))
        .env(CHILD, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// What the child said, reading `enough` of it and then the rest that it had said until it was killed.
fn listen(mut child: Child, enough: usize) -> Vec<String> {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let said = |line: &String| line.contains(": ");
    let mut heard: Vec<_> = lines.by_ref().filter(said).take(enough).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    heard.extend(lines.filter(said));
    heard
}

/// Appends without end: `n` appends of one to five entries, each of which says the append's size.
#[test]
#[ignore = "the child of the tests below"]
fn child_appends() {
    let Some(dir) = env::var_os(CHILD) else { return };
    // The test harness has begun a line of its own.
    println!("\nopening: now");
    let store = SledStore::open(Path::new(&dir)).unwrap();
    let mut refused = 0;
    for n in 1.. {
        let size = n % 5 + 1;
        let first = store.head().seq + 1;
        let drafts: Vec<_> = (0..size)
            .map(|i| {
                let why =
                    format!("{} {size} ", first + i).repeat(if n % 7 == 0 { 1_000 } else { 30 });
                let facts = vec![Fact::SourceRefused { commit: format!("{i}/{size}").into(), why }];
                Draft { facts, ..draft(first + i) }
            })
            .collect();
        match store.append(1, &drafts) {
            Ok(seqs) => println!("acknowledged: {}", seqs.end - 1),
            Err(error) => {
                println!("refused: {}", with_causes(&error));
                // sled finishes the splitting of a page when it next reads it: then reads fail, too.
                match store.read(1, usize::MAX) {
                    Ok(entries) => assert_eq!(entries.len() as u64, store.head().seq),
                    Err(StoreError::Full { .. }) => {}
                    Err(other) => panic!("{other}"),
                }
                refused += 1;
                if refused == 3 {
                    return;
                }
            }
        }
    }
}

/// Opens the journal that a child left and checks it against what the child had acknowledged.
fn check_after(dir: &Path, heard: &[String]) -> u64 {
    let mut acknowledged = heard.iter().filter_map(|l| l.strip_prefix("acknowledged: "));
    let acknowledged = acknowledged.next_back().map_or(0, |n| n.parse().unwrap());
    let store = SledStore::open(dir).unwrap();
    let head = store.head().seq;
    assert!(head >= acknowledged, "{acknowledged} were acknowledged and {head} are there");
    assert_eq!(audit::verify(&store).unwrap().broken, None);
    // An append is there wholly or not at all: every entry says which of how many it is.
    let mut due = 0;
    for entry in (&store as &dyn Store).entries(1) {
        let entry = entry.unwrap();
        let Fact::SourceRefused { commit, why } = &entry.facts[0] else { panic!("{entry:?}") };
        let (i, size) = commit.as_str().split_once('/').unwrap();
        assert_eq!(i.parse::<u64>().unwrap(), due, "{entry:?}");
        assert!(why.starts_with(&format!("{} {size} ", entry.seq)));
        due = (due + 1) % size.parse::<u64>().unwrap();
    }
    assert_eq!(due, 0, "the last append is there in part");
    head
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let mut before = 0;
    for round in 0..24 {
        // Every fourth child is killed while it opens the journal.
        let enough = if round % 4 == 3 { 1 } else { 2 + round * 13 % 40 };
        let heard = listen(child("child_appends", dir.path(), ""), enough);
        assert!(heard.len() >= enough && heard.iter().all(|line| !line.contains("refused")));
        let head = check_after(dir.path(), &heard);
        assert!(head >= before);
        before = head;
    }
    assert!(before > 500, "the test is about little: {before}");
}

#[test]
fn a_full_disk_stops_appends_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    // A limit on the size of a file, in blocks of 512 bytes, is the disk that anybody can fill.
    let full = child("child_appends", dir.path(), r#"trap "" XFSZ; ulimit -f 3000;"#);
    let heard = listen(full, usize::MAX);
    let refused: Vec<_> = heard.iter().filter_map(|l| l.strip_prefix("refused: ")).collect();
    assert_eq!(refused.len(), 3, "{heard:?}");
    assert!(refused[0].contains("the disk is full"), "{refused:?}");
    assert!(refused[1].contains("since an append failed") && refused[1].contains("disk is full"));
    check_after(dir.path(), &heard);
    let store = SledStore::open(dir.path()).unwrap();
    let next = store.head().seq + 1;
    assert_eq!(store.append(1, &[draft(next)]).unwrap(), next..next + 1);
}

#[test]
fn another_process_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = SledStore::open(dir.path()).unwrap();
    let output = child("child_appends", dir.path(), "").wait_with_output().unwrap();
    assert!(!output.status.success());
    assert!(!String::from_utf8_lossy(&output.stdout).contains("acknowledged"));
    assert_eq!(store.append(1, &[draft(1)]).unwrap(), 1..2);
}
