//! Random worlds under every fault that the simulator knows: no invariant may break, and everything
//! must come to rest.

use ringward::sim::simulate::{Options, simulate};

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

/// Runs seeds from 1 on, on every processor.
fn run(seeds: u64) {
    let mut first = None;
    let options = Options { seed: 1, seeds, ..Options::default() };
    let summary = simulate(options, &mut |outcome| {
        if let Some(failure) = &outcome.failure {
            first.get_or_insert_with(|| failure.to_string());
        }
    });
    let first = first.unwrap_or_default();
    assert_eq!((summary.passed, summary.failed), (seeds, 0), "{summary}\n{first}");
}
