//! The journal of an estate in motion: how fast it is read back, how much memory its world takes, and
//! how its appends compare with what the disk allows.

use std::{
    env,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use ringward::{
    decide::{Decision, world::World},
    model::time::Now,
    record::{Draft, SledStore, Store, checkpoint, recover},
};
use tempfile::TempDir;

use crate::{
    board::{Goal, line, rate},
    estate::{MOVING, PLANS, Traffic, compiled},
    timed,
};

/// The facts of the journal that is recovered.
const FACTS: usize = 1_000_000;

/// Drafts that are appended together where an estate's journal is written.
const BATCH: usize = 256;

/// The argument by which the bench starts itself anew, to hold a world in a process of its own.
pub const HOLD: &str = "--hold-world-of";

/// How many entries before the end the last checkpoint stands, as a server keeps them.
const BEHIND: u64 = 50_000;

/// What the estate does goes into a journal, until it has so many facts or so many events happened. A
/// checkpoint is kept on the way.
fn written(dir: &Path, facts: usize, events: usize) -> usize {
    let store = SledStore::open(dir).expect("a fresh directory");
    let mut writer = Writer { store: &store, drafts: Vec::new(), facts: 0 };
    let estate = compiled(PLANS);
    let mut traffic = Traffic::new(&estate, MOVING, &mut |at, decision| writer.take(at, decision));
    let mut kept = None;
    for _ in 0..events {
        if writer.facts >= facts {
            break;
        }
        // An entry of this traffic has about a fact and a half.
        if kept.is_none() && writer.facts as u64 + BEHIND * 3 / 2 >= facts as u64 {
            writer.flush();
            let keep = || checkpoint::keep(&store, store.head(), &traffic.world);
            let (done, took) = timed(keep);
            done.expect("the disk takes it");
            line("a checkpoint is kept", "s", Goal::None, took.as_secs_f64());
            kept = Some(store.head().seq);
        }
        let (at, decision) = traffic.turn();
        writer.take(at, decision);
    }
    writer.flush();
    if let Some(kept) = kept {
        let behind = (store.head().seq - kept) as f64;
        line("  entries behind it in the end", "", Goal::None, behind);
        line("  entries in all", "", Goal::None, store.head().seq as f64);
    }
    writer.facts
}

struct Writer<'a> {
    store: &'a SledStore,
    drafts: Vec<Draft>,
    facts: usize,
}

impl Writer<'_> {
    fn take(&mut self, at: Now, decision: Decision) {
        if decision.is_empty() {
            return;
        }
        self.facts += decision.facts.len();
        self.drafts.push(Draft { at, facts: decision.facts, commands: decision.commands });
        if self.drafts.len() == BATCH {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.store.append(1, &self.drafts).expect("the disk takes it");
        self.drafts.clear();
    }
}

/// A start on a journal of a million facts.
pub fn recovery() {
    let place = place();
    let dir = place.path().join("data");
    let (facts, wrote) = timed(|| written(&dir, FACTS, usize::MAX));
    assert!(facts >= FACTS);
    line("a journal is written, facts", "per second", Goal::None, rate(facts, wrote));
    line("  its files", "MiB", Goal::None, mib(size_of(&dir)));
    line("  its checkpoint", "MiB", Goal::None, mib(size_of(&dir.join("checkpoint"))));
    start("a start on it", &dir);
    fs::remove_file(dir.join("checkpoint")).expect("it is there");
    start("a start without its checkpoint", &dir);
    wear_out(&dir.join("journal"), 4 * size_of(&dir.join("journal")));
    line("the same, worn out: its files", "MiB", Goal::None, mib(size_of(&dir)));
    start("a start that writes it anew", &dir);
    line("  its files", "MiB", Goal::None, mib(size_of(&dir)));
}

fn start(what: &str, dir: &Path) {
    let began = processor();
    let (store, opening) = timed(|| SledStore::open(dir).expect("it is whole"));
    let (recovered, folding) = timed(|| recover(&store).expect("it adds up"));
    let busy = processor() - began;
    assert_eq!(recovered.world.plans.len(), PLANS);
    let took = opening + folding;
    line(what, "s", Goal::AtMost(10.0), took.as_secs_f64());
    line("    opening and verifying it", "s", Goal::None, opening.as_secs_f64());
    line("    its world", "s", Goal::None, folding.as_secs_f64());
    line("    of all that, on a processor", "s", Goal::None, busy.as_secs_f64());
}

/// Garbage in the database's files, as years of splits and moves leave it, until they have that size.
fn wear_out(journal: &Path, size: u64) {
    let database = sled::Config::new().path(journal).cache_capacity(16 << 20);
    let database = database.open().expect("nobody else has it");
    let mut round = 0u64;
    while size_of(journal) < size {
        round += 1;
        // Each page is moved as a whole for a few bytes of it.
        for key in 0..4_096u64 {
            let value = round.to_be_bytes().repeat(256);
            database.insert(format!("garbage {key}"), value).expect("the disk takes it");
        }
    }
    for key in 0..4_096u64 {
        database.remove(format!("garbage {key}")).expect("the disk takes it");
    }
}

/// The time that this thread had a processor: what a shared machine leaves out of account.
pub fn processor() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells");
    let spent = text.split_whitespace().next().and_then(|n| n.parse().ok()).expect("a number");
    Duration::from_nanos(spent)
}

/// Resident memory of a process that has recovered an estate in motion, and its journal open.
pub fn memory() {
    let place = place();
    let dir = place.path().join("data");
    // Until most soak.
    written(&dir, usize::MAX, PLANS * 100);
    let program = env::current_exe().expect("the system knows what runs");
    let output = Command::new(program).arg(HOLD).arg(&dir).output().expect("it starts again");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("it prints text");
    let figures: Vec<f64> = text.split_whitespace().filter_map(|n| n.parse().ok()).collect();
    let [held, peak] = figures[..] else { panic!("{text}") };
    line("resident with the estate in motion", "MiB", Goal::AtMost(300.0), held / 1024.0);
    line("  at most, while it recovered", "MiB", Goal::None, peak / 1024.0);
}

/// Prints what is resident in KiB with the world of the journal in `dir` in hand, and its peak.
pub fn hold(dir: &Path) {
    let store = SledStore::open(dir).expect("it is whole");
    let world = recover(&store).expect("it adds up").world;
    println!("{} {}", status("VmRSS:"), status("VmHWM:"));
    assert!(moving(&world) > MOVING * 9 / 10);
}

fn moving(world: &World) -> usize {
    let plans = world.plans.values();
    let moving = plans.filter(|plan| {
        plan.releases.values().any(|r| r.rings.values().any(|run| run.phase.in_motion()))
    });
    moving.count()
}

fn status(field: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/status").expect("Linux tells");
    let value = text.lines().find_map(|line| line.strip_prefix(field)).expect("it is there");
    value.split_whitespace().next().and_then(|n| n.parse().ok()).expect("a number of KiB")
}

/// Appends beside a plain file's, of the same bytes, each waiting for the disk.
pub fn durability() {
    let estate = compiled(PLANS / 10);
    let mut drafts = Vec::new();
    let mut take = |at, decision: Decision| {
        if !decision.is_empty() {
            drafts.push(Draft { at, facts: decision.facts, commands: decision.commands });
        }
    };
    let mut traffic = Traffic::new(&estate, MOVING / 10, &mut |_, _| {});
    for _ in 0..PLANS * 20 {
        let (at, decision) = traffic.turn();
        take(at, decision);
    }
    for batch in [1, 16, 256] {
        let place = place();
        let rounds = if batch == 256 { 100 } else { 500 };
        let store = SledStore::open(&place.path().join("data")).expect("a fresh directory");
        let mut file = File::create(place.path().join("raw")).expect("a fresh directory");
        let (mut ours, mut raw) = (Duration::ZERO, Duration::ZERO);
        let mut batches = drafts.chunks_exact(batch).cycle();
        // In turns, so that neither has the better hour of a shared disk.
        for round in 0..rounds {
            let drafts = batches.next().expect("it goes round");
            let (numbers, took) = timed(|| store.append(1, drafts).expect("the disk takes it"));
            let first = usize::try_from(numbers.start).unwrap_or_default();
            assert_eq!(first, round * batch + 1);
            ours += took;
            let records = store.records(numbers.start, batch).expect("they are there");
            let bytes: Vec<u8> = records
                .iter()
                .flat_map(|record| [&record.prev.0[..], &record.hash.0, &record.payload].concat())
                .collect();
            let append = || -> io::Result<()> {
                file.write_all(&bytes)?;
                file.sync_data()
            };
            let (done, took) = timed(append);
            done.expect("the disk takes it");
            raw += took;
        }
        let all = rounds * batch;
        let allowed = rate(all, raw);
        line(format!("a plain file, {batch} at once"), "entries/s", Goal::None, allowed);
        let what = format!("the journal, {batch} at once");
        line(what, "entries/s", Goal::AtLeast(0.8 * allowed), rate(all, ours));
    }
}

/// On the disk that the build is on: a folder for temporary files may lie in memory.
fn place() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a place to write to")
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn size_of(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else { return path.metadata().map_or(0, |m| m.len()) };
    let paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.iter().map(|path| size_of(path)).sum()
}
