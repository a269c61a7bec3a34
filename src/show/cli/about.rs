//! `schema`, `completion`, `version` and `judge`: what needs neither a server nor declarations.

use std::io::{self, Read};

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use serde_json::json;

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

/// Runs `judge`.
pub fn judge(context: &Context) -> Result<Exit, Failure> {
    let mut question = String::new();
    let read = io::stdin().read_to_string(&mut question);
    read.map_err(|error| Failure::new(format!("standard input cannot be read: {error}")))?;
    let question = serde_json::from_str(&question).map_err(|error| {
        Failure::usage(format!("standard input is no JSON: {error}"))
            .help("`ringward judge --help` shows a question")
    })?;
    let answer = judge_json(question).map_err(|error| {
        Failure::of(&error).exit(Exit::Usage).help("`ringward judge --help` shows a question")
    })?;
    let text = serde_json::to_string_pretty(&answer).map_err(|error| Failure::of(&error))?;
    context.print(&format!("{text}\n"))?;
    Ok(Exit::Done)
}
