//! Speed and memory, side by side with their goals: `cargo bench --bench speed [-- NAME...]`.
//!
//! Benches: decide, scenarios, check, recovery, memory, durability. README.md beside this file keeps
//! the figures of the last whole run.

mod board;
mod estate;
mod journal;

use std::{
    env,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use board::{Goal, line, rate};
use estate::{MOVING, PLANS, Traffic, compiled, declared};
use ringward::{declare::Snapshot, sim::scenario};

type Bench = (&'static str, fn());

const BENCHES: [Bench; 6] = [
    ("decide", decide),
    ("scenarios", scenarios),
    ("check", check),
    ("recovery", journal::recovery),
    ("memory", journal::memory),
    ("durability", journal::durability),
];

fn main() {
    if let [_, flag, dir] = &env::args().collect::<Vec<_>>()[..]
        && flag == journal::HOLD
    {
        return journal::hold(Path::new(dir));
    }
    let asked: Vec<String> = env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    board::begin();
    for (name, bench) in BENCHES {
        if asked.is_empty() || asked.iter().any(|a| a == name) {
            bench();
        }
    }
}

/// How long `work` took, and what it came to.
#[expect(clippy::disallowed_methods, reason = "what is measured is real time")]
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    let done = work();
    (done, began.elapsed())
}

/// Events a second on one core, and what an event costs where there are fewer plans.
fn decide() {
    for plans in [PLANS / 100, PLANS / 10, PLANS] {
        let estate = compiled(plans);
        let mut traffic = Traffic::new(&estate, plans * MOVING / PLANS, &mut |_, _| {});
        // Until most soak, as an estate at work does.
        for _ in 0..plans * 5 {
            let _ = traffic.turn();
        }
        assert_eq!(traffic.moving(), plans * MOVING / PLANS);
        traffic.forget_times();
        let began = journal::processor();
        let ((), lasted) = timed(|| (0..200_000).for_each(|_| drop(traffic.turn())));
        let busy = journal::processor() - began;
        let (events, took) = traffic
            .spent
            .values()
            .fold((0, Duration::ZERO), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let whole = plans == PLANS;
        let goal = if whole { Goal::AtLeast(200_000.0) } else { Goal::None };
        line(format!("decide, {plans} plans"), "events/s", goal, rate(events, took));
        // What others on the machine took away is part of no event.
        let core = took.mul_f64(busy.as_secs_f64() / lasted.as_secs_f64());
        line("  by the time on a processor", "events/s", goal, rate(events, core));
        for (kind, (count, took)) in traffic.spent.iter().filter(|_| whole) {
            let each = took.as_secs_f64() * 1e6 / *count as f64;
            line(format!("  {kind}, {count} of them"), "us each", Goal::None, each);
        }
    }
}

/// Scenario files a second, as `ringward test` runs them.
fn scenarios() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let run = || scenario::run(&folder).expect("there are scenarios");
    run();
    let rounds = 10;
    let (outcomes, took) = timed(|| (0..rounds).flat_map(|_| run()).collect::<Vec<_>>());
    assert!(outcomes.iter().all(|outcome| outcome.passed));
    let events: u64 = outcomes.iter().map(|outcome| outcome.events).sum();
    line("scenarios", "per second", Goal::AtLeast(1_000.0), rate(outcomes.len(), took));
    line("  their events", "per second", Goal::None, rate(events as usize, took));
}

/// `ringward check`, the program itself.
fn check() {
    let whole = declared(PLANS);
    let thousand = declared(490);
    let documents = ringward::declare::compile(&thousand).counts.documents;
    assert!((990..=1_010).contains(&documents), "{documents} documents");
    line("check of the estate", "s", Goal::AtMost(2.0), checked(&whole));
    line(format!("check of {documents} documents"), "s", Goal::AtMost(1.0), checked(&thousand));
}

fn checked(snapshot: &Snapshot) -> f64 {
    let folder = tempfile::tempdir().expect("a place to write to");
    for (path, bytes) in &snapshot.files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("it has one")).expect("a place to write to");
        std::fs::write(path, bytes).expect("a place to write to");
    }
    let run = || {
        let mut check = Command::new(env!("CARGO_BIN_EXE_ringward"));
        check.arg("check").arg(folder.path()).stdout(Stdio::null());
        check.status().expect("the program is there")
    };
    run();
    let (status, took) = timed(run);
    assert!(status.success(), "{status}");
    took.as_secs_f64()
}
