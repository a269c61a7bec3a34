//! `simulate`: random worlds against the real core, every invariant after every event.

use std::{
    io::IsTerminal as _,
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::{
    client::Answer,
    context::{Context, Format},
    failure::Failure as Fault,
};
use crate::{
    clock::timed,
    show::exit::Exit,
    sim::simulate::{Broken, Failure, Options, Outcome, Written, shrink, simulate},
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
  ringward simulate --seed 4711 --seeds 1
  ringward simulate --seeds 1000 -o json | jq -r '.failures[].scenario'")]
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

/// A failure made small and written, where a scenario can show it; in words, why there is none.
fn scenario(failure: &Failure, folder: &Path) -> Result<Written, String> {
    match shrink(failure.seed, failure.steps).map(|shrunk| shrunk.write(folder)) {
        Some(Ok(written)) => Ok(written),
        Some(Err(error)) => {
            Err(format!("its scenario cannot be written to {}: {error}", folder.display()))
        }
        None => {
            let why =
                "no scenario shows it: it is the journal's or a target's doing, or comes to no end";
            Err(why.into())
        }
    }
}

/// A failure as a document.
fn document(failure: &Failure, scenario: &Result<Written, String>) -> Value {
    let invariant = match &failure.broken {
        Broken::Invariant(violation) => Some(violation.number),
        Broken::Core { .. } | Broken::Spin(_) => None,
    };
    json!({
        "seed": failure.seed,
        "step": failure.step,
        "after": failure.at,
        "invariant": invariant,
        "detail": failure.broken.to_string(),
        "again": failure.command(),
        "scenario": scenario.as_ref().ok().map(|written| &written.file),
        "unwritten": scenario.as_ref().err(),
    })
}

/// Seeds after which somebody who has no terminal is told how far it is.
const REPORT: u64 = 10_000;

/// Runs `simulate`.
///
/// # Errors
/// What came of it cannot be shown.
pub fn run(context: &Context, args: &Simulate) -> Result<Exit, Fault> {
    let bar = ProgressBar::new(args.seeds);
    let seen = std::io::stderr().is_terminal();
    if !seen {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} seeds, {eta} to go") {
        bar.set_style(style);
    }
    let (mut events, mut crashes, mut done, mut failures) = (0, 0, 0, Vec::new());
    let mut unshown = Ok(());
    let usual = Options::default();
    let jobs = args.jobs.unwrap_or(usual.jobs);
    let Simulate { seed, seeds, steps, tale, .. } = *args;
    let options = Options { seed, seeds, steps, jobs, tale };
    let people = matches!(context.shared.output, Format::Table | Format::Wide);
    let mut report = |outcome: &Outcome| {
        events += outcome.events;
        crashes += outcome.crashes;
        done += 1;
        if let Some(failure) = &outcome.failure {
            let scenario = scenario(failure, &args.shrunk);
            if people {
                let retold = match &scenario {
                    Ok(written) => written.to_string(),
                    Err(why) => why.clone(),
                };
                let told = bar.suspend(|| context.print(&format!("{failure}\n{retold}\n\n")));
                unshown = std::mem::replace(&mut unshown, Ok(())).and(told);
            }
            failures.push(document(failure, &scenario));
        }
        bar.inc(1);
        if !seen && done % REPORT == 0 {
            context.progress(&format!("{done}/{} seeds, {} failed", args.seeds, failures.len()));
        }
    };
    let (summary, elapsed) = timed(|| simulate(options, &mut report));
    bar.finish_and_clear();
    unshown?;
    let all = json!({
        "seed": seed,
        "seeds": seeds,
        "steps": steps,
        "events": events,
        "crashes": crashes,
        "passed": summary.passed,
        "failed": summary.failed,
        "elapsedSeconds": elapsed.as_secs_f64(),
        "failures": failures,
    });
    let names = || failures.iter().map(|failure| failure["seed"].to_string()).collect();
    let people = || format!("{done} seeds, {events} events, {crashes} crashes\n{summary}\n");
    context.answer(&Answer::of(&all)?, names, people)?;
    Ok(if summary.failed == 0 { Exit::Done } else { Exit::Error })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::time::Span, sim::invariants::Violation};

    #[test]
    fn a_failure_is_a_document_that_leads_to_its_scenario() {
        let broken =
            Broken::Invariant(Violation { number: 7, says: "one at a time", detail: "two".into() });
        let at = Span::seconds(90);
        let failure = Failure { seed: 41, steps: 300, step: 12, at, broken, tale: Vec::new() };
        let written = Written { file: "shrunk/41/scenario.yaml".into(), steps: 3, bytes: 900 };
        let told = document(&failure, &Ok(written));
        assert_eq!(told["seed"], 41);
        assert_eq!((&told["step"], &told["invariant"]), (&json!(12), &json!(7)));
        assert_eq!(told["after"], "1m30s");
        assert_eq!(told["scenario"], "shrunk/41/scenario.yaml");
        assert_eq!(told["again"], "ringward simulate --seed 41 --seeds 1 --steps 300");
        assert!(told["unwritten"].is_null());
        let none = document(&failure, &Err("no scenario shows it".into()));
        assert!(none["scenario"].is_null());
        assert_eq!(none["unwritten"], "no scenario shows it");
    }
}
