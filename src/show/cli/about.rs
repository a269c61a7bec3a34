//! `schema`, `completion`, `version` and `judge`: what needs neither a server nor declarations.

use std::io::{self, IsTerminal, Read};

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use serde_json::{Value, json};

use super::{Cli, client::Answer, context::Context, failure::Failure, judge::judge_json};
use crate::{declare::schema, show::exit::Exit};

/// For which shell.
#[derive(Debug, Args)]
pub struct Completion {
    /// bash, zsh, fish, elvish or powershell.
    #[arg(value_name = "SHELL", value_enum, hide_possible_values = true)]
    shell: Shell,
}

/// Runs `schema`.
pub fn schema(context: &Context) -> Result<Exit, Failure> {
    let schema = serde_json::to_string_pretty(&schema::json_schema());
    context.print(&format!("{}\n", schema.map_err(|error| Failure::of(&error))?))?;
    Ok(Exit::Done)
}

/// Runs `completion`.
pub fn completion(context: &Context, args: &Completion) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "ringward", &mut script);
    context.print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}

/// Runs `version`.
pub fn version(context: &Context) -> Result<Exit, Failure> {
    let version = env!("CARGO_PKG_VERSION");
    let people = || format!("ringward {version}\n");
    context.answer(&Answer::of(&json!({"version": version}))?, || vec![version.into()], people)?;
    Ok(Exit::Done)
}

/// A question of each judge, as `judge --help` shows them.
pub const QUESTIONS: &str = r#"EXAMPLES
  echo '{"judge": "threshold", "parameters": {"max": 0.4}, "samples": [0.412]}' | ringward judge

A QUESTION OF EACH JUDGE
  {"judge": "threshold", "parameters": {"min": 99, "unit": "%"}, "samples": [99.5, "NaN"]}

  {"judge": "relative",
   "parameters": {"maxDegradation": "50%", "direction": "increase", "floor": 0.02},
   "samples": [0.31], "control": [0.2, 0.22]}

  {"judge": "mannWhitney",
   "parameters": {"direction": "either", "tolerance": 0.25, "confidence": 0.98,
                  "effectSize": {"measure": "meanRatio"}},
   "samples": [5.1, 4.9, 5.3, 5.2, 5], "control": [3, 3.1, 2.9, 3, 3.2]}

  {"judge": "sequential",
   "parameters": {"alpha": 0.01, "r0": 1, "phi": 1, "margin": 2, "gates": 1},
   "intervals": [{"canaryRequests": 1000, "canaryErrors": 12,
                  "stableRequests": 9000, "stableErrors": 90}]}

  {"judge": "burnRate",
   "parameters": {"objective": "99.9%", "minSamples": 0,
                  "windows": [{"rate": 14.4, "long": 3600, "short": 300},
                              {"rate": 6, "long": 21600, "short": 1800}]},
   "intervals": [{"seconds": 300, "requests": 1000, "errors": 20}]}

  {"judge": "prometheusAnswer", "status": 200, "now": 1767225600, "maxAge": 135,
   "body": "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[]}}"}

The parameters of mannWhitney, sequential and burnRate are the defaults there. Instants and
durations are in seconds; intervals come oldest first. A sample may be "NaN", "+Inf" or "-Inf".
Each sample of threshold and relative is a measurement of its own; control is averaged."#;

/// The longest question that is read.
const LONGEST: usize = 16 * 1_024 * 1_024;

/// Runs `judge`.
pub fn judge(context: &Context) -> Result<Exit, Failure> {
    let input = io::stdin();
    if input.is_terminal() {
        context.progress("reading a question from here, up to its end (Ctrl-D)");
    }
    let mut question = Vec::new();
    let read = input.take(LONGEST as u64 + 1).read_to_end(&mut question);
    read.map_err(|error| Failure::new(format!("standard input cannot be read: {error}")))?;
    let wrong = |message: String| {
        Failure::usage(message).help("`ringward judge --help` shows a question of each judge")
    };
    if question.len() > LONGEST {
        let message = format!("standard input is longer than {} MiB", LONGEST / 1_024 / 1_024);
        return Err(Failure::usage(message)
            .help("give fewer samples: a gate keeps the newest 500 of a side"));
    }
    if question.trim_ascii().is_empty() {
        return Err(wrong("standard input is empty: it holds the question, as JSON".into()));
    }
    let question = serde_json::from_slice(&question)
        .map_err(|error| wrong(format!("standard input is no JSON: {error}")))?;
    let answer = judge_json(question).map_err(|error| wrong(error.to_string()))?;
    let text = serde_json::to_string_pretty(&answer).map_err(|error| Failure::of(&error))?;
    let verdict = || answer.get("verdict").and_then(Value::as_str).unwrap_or_default().to_owned();
    context.answer(&Answer::of(&answer)?, || vec![verdict()], || format!("{text}\n"))?;
    Ok(Exit::Done)
}
