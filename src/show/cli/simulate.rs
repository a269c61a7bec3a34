//! `simulate`: random worlds against the real core, every invariant after every event.

use std::{
    io::IsTerminal as _,
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    show::exit::Exit,
    sim::simulate::{Failure, Options, shrink, simulate},
};

/// Simulate random worlds: plans, fleets, operators and faults against the real core
///
/// Checks every invariant after every event, kills ringward at every seam, then removes all faults and demands
/// that everything comes to rest. The same seed is the same world; a failure prints the command that shows it again,
/// and is shrunk to a scenario file that `ringward test` runs.
#[derive(Debug, Args)]
#[command(after_help = "EXIT CODES
  0  nothing went wrong
  1  something did

EXAMPLES
  ringward simulate --seeds 1000
  ringward simulate --seed 4711 --seeds 1")]
pub struct Simulate {
    /// The first seed.
    #[arg(long, value_name = "N", default_value_t = Options::default().seed)]
    seed: u64,
    /// How many seeds.
    #[arg(long, value_name = "N", default_value_t = Options::default().seeds)]
    seeds: u64,
    /// How many events of each world go wrong before all faults are removed.
    #[arg(long, value_name = "N", default_value_t = Options::default().steps)]
    steps: u64,
    /// How many worlds run at once [default: as many as there are processors].
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// How many of the last events a failure is told with.
    #[arg(long, value_name = "N", default_value_t = Options::default().tale)]
    tale: usize,
    /// Where a failure is written as a scenario, in a folder of its seed.
    #[arg(long, value_name = "DIR", default_value = "shrunk")]
    shrunk: PathBuf,
}

/// Makes a failure small and writes it; in words, how that went.
fn retold(failure: &Failure, folder: &Path) -> String {
    match shrink(failure.seed, failure.steps).map(|shrunk| shrunk.write(folder)) {
        Some(Ok(written)) => written.to_string(),
        Some(Err(error)) => {
            format!("its scenario cannot be written to {}: {error}", folder.display())
        }
        None => "no scenario shows it: it is the journal's or a target's doing, or comes to no end"
            .into(),
    }
}

/// Seeds after which somebody who has no terminal is told how far it is.
const REPORT: u64 = 10_000;

/// Runs `simulate`.
pub fn run(args: &Simulate) -> Exit {
    let bar = ProgressBar::new(args.seeds);
    let seen = std::io::stderr().is_terminal();
    if !seen {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} seeds, {eta} to go") {
        bar.set_style(style);
    }
    let (mut events, mut crashes, mut done, mut failed) = (0, 0, 0, 0);
    let usual = Options::default();
    let jobs = args.jobs.unwrap_or(usual.jobs);
    let Simulate { seed, seeds, steps, tale, .. } = *args;
    let options = Options { seed, seeds, steps, jobs, tale };
    let summary = simulate(options, &mut |outcome| {
        events += outcome.events;
        crashes += outcome.crashes;
        done += 1;
        if let Some(failure) = &outcome.failure {
            failed += 1;
            bar.suspend(|| println!("{failure}\n{}\n", retold(failure, &args.shrunk)));
        }
        bar.inc(1);
        if !seen && done % REPORT == 0 {
            eprintln!("{done}/{} seeds, {failed} failed", args.seeds);
        }
    });
    bar.finish_and_clear();
    println!("{done} seeds, {events} events, {crashes} crashes");
    println!("{summary}");
    if summary.failed == 0 { Exit::Done } else { Exit::Error }
}
