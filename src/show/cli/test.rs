//! `test`: scenario files, run through the real core in simulated time.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{client::Answer, context::Context, failure::Failure};
use crate::{
    show::exit::Exit,
    sim::scenario::{self, Error, Outcome, Rendered},
};

/// Run scenario files: test ring policies as you test code
///
/// Each scenario takes releases through the declarations that it names, with the real decision core, in
/// simulated time, and checks what it expects along the way. A failing expectation shows the timeline around it.
#[derive(Debug, Args)]
#[command(after_help = "EXIT CODES
  0  all passed
  1  some failed
  2  there is no scenario at a PATH

EXAMPLES
  ringward test scenarios/
  ringward test scenarios/breach.yaml scenarios/residency.yaml")]
pub struct Test {
    /// Scenario files, or directories of them.
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
}

/// Runs `test`.
pub fn run(context: &Context, args: &Test) -> Result<Exit, Failure> {
    let mut outcomes: Vec<Outcome> = Vec::new();
    for path in &args.paths {
        outcomes.extend(scenario::run(path).map_err(|error| match error {
            Error::Nothing { .. } | Error::Unreadable { .. } => {
                Failure::of(&error).exit(Exit::Usage)
            }
        })?);
    }
    let items: Vec<_> = outcomes
        .iter()
        .map(|Outcome { name, file, passed, failure, events }| {
            json!({"name": name, "file": file, "passed": passed, "failure": failure, "events": events})
        })
        .collect();
    let failed = outcomes.iter().filter(|outcome| !outcome.passed);
    let names = || failed.clone().map(|outcome| outcome.name.clone()).collect();
    let people = || format!("{}\n", Rendered(&outcomes));
    context.answer(&Answer::of(&json!({ "items": items }))?, names, people)?;
    Ok(if failed.clone().next().is_none() { Exit::Done } else { Exit::Error })
}
