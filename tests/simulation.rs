//! Random worlds under every fault that the simulator knows: no invariant may break, and everything
//! must come to rest.

use ringward::sim::simulate::{Options, Summary, simulate};

#[test]
fn no_world_breaks_an_invariant() {
    run(100);
}

/// As many seeds as `RINGWARD_SEEDS` says, 10 000 where it says nothing.
#[test]
#[ignore = "it takes minutes: RINGWARD_SEEDS=10000 cargo test --test simulation -- --ignored"]
fn no_world_of_many_breaks_an_invariant() {
    let seeds = std::env::var("RINGWARD_SEEDS").ok();
    run(seeds.map_or(10_000, |seeds| seeds.parse().expect("RINGWARD_SEEDS is a number")));
}

/// Runs seeds from 1 on, on two threads.
fn run(seeds: u64) {
    let half = seeds / 2;
    let parts = [(1, half), (half + 1, seeds - half)];
    let summaries = std::thread::scope(|scope| {
        let part = |(seed, seeds)| {
            scope.spawn(move || {
                let mut first = None;
                let options = Options { seed, seeds, ..Options::default() };
                let summary = simulate(options, &mut |outcome| {
                    if let Some(failure) = &outcome.failure
                        && first.is_none()
                    {
                        first = Some(failure.to_string());
                    }
                });
                (summary, first)
            })
        };
        let threads = parts.map(part);
        threads.map(|thread| thread.join().expect("the simulator does not panic"))
    });
    let mut total = Summary::default();
    for (summary, first) in &summaries {
        total.passed += summary.passed;
        total.failed += summary.failed;
        if let Some(first) = first {
            println!("{first}\n");
        }
    }
    assert_eq!((total.passed, total.failed), (seeds, 0), "{total}");
}
