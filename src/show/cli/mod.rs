//! Commands over the API, and the offline ones.
//!
//! Data goes to standard output, progress to standard error. A command that talks to the server knows
//! nothing that the API does not tell: it shows the API's own documents, or what it makes of them.

mod about;
mod act;
mod audit;
mod backup;
mod check;
mod client;
mod context;
mod doctor;
mod explain;
mod failure;
mod flags;
mod follow;
mod freeze;
mod get;
mod goal;
mod import;
pub mod judge;
pub mod layout;
mod measurements;
mod plan;
mod release;
mod replay;
mod run;
#[cfg(test)]
mod samples;
mod simulate;
mod status;
pub mod style;
mod table;
mod test;
mod token;
mod tree;
mod wait;
mod waive;

use clap::{Parser, Subcommand};

use self::{
    context::{Context, Shared},
    failure::{Cause, Failure},
};
use super::exit::Exit;

/// Take releases through rings of regions, only as fast as they prove healthy
///
/// A release enters the next ring only after the clusters of the ring before ran it healthily, with their metric
/// gates passing, for the whole soak time, and only where data residency allows it. Rings, gates and rules are
/// declared in Git.
#[derive(Debug, Parser)]
#[command(
    name = "ringward",
    version,
    max_term_width = 110,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "EXIT CODES
  0  done, or the state that was waited for       4  held, and only a person or a window can end it
  1  error                                        5  time-out, still moving
  2  usage                                        6  conflict with a newer state
  3  the release failed, was aborted or           7  policy or residency violation
     rolled back

EXAMPLES
  ringward demo                                   all of it, over a fleet that is not there
  ringward check && ringward plan checkout        before you merge
  ringward release create checkout 2.14.0 --image registry.example.com/checkout@sha256:9f2c…
  ringward status checkout -w                     follow it
  ringward explain checkout eu-west               why it is not moving
  ringward doctor --config /etc/ringward.yaml     what is in the way before a first release

Installed as kubectl-ringward, it is a kubectl plugin."
)]
pub struct Cli {
    #[command(flatten)]
    shared: Shared,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(run::Serve),
    Demo(run::Demo),
    Check(check::Check),
    Plan(plan::PlanArgs),
    #[command(subcommand)]
    Import(import::Import),
    Test(test::Test),
    Simulate(simulate::Simulate),
    /// Judge samples as a gate would, and show every figure on the way
    ///
    /// Reads one question as JSON from standard input: `judge` is threshold, relative, mannWhitney, sequential,
    /// burnRate or prometheusAnswer, with its `parameters` and `samples` (and `control` or `intervals`). Writes
    /// the verdict with its figures, as the core computes them.
    ///
    /// Ends with 0 whatever the verdict is, and with 2 where the question cannot be judged.
    #[command(
        after_help = r#"EXAMPLES
  echo '{"judge": "threshold", "parameters": {"max": 0.4}, "samples": [0.412]}' | ringward judge"#,
        after_long_help = about::QUESTIONS
    )]
    Judge,
    #[command(subcommand)]
    Gate(replay::GateCommand),
    #[command(subcommand)]
    Release(release::Releases),
    Status(status::Status),
    Explain(explain::Explain),
    Wait(wait::Wait),
    #[command(flatten)]
    Act(act::Act),
    #[command(subcommand)]
    Freeze(freeze::Freezes),
    Waive(waive::Waive),
    #[command(subcommand)]
    Audit(audit::Audit),
    Backup(backup::Backup),
    Restore(backup::Restore),
    #[command(subcommand)]
    Token(token::TokenCommand),
    Get(get::Get),
    Doctor(doctor::Doctor),
    /// Write the JSON Schema of the declarations, for editors and CI
    #[command(after_help = "EXAMPLES
  ringward schema > ringward.schema.json
  # yaml-language-server: $schema=ringward.schema.json     at the top of a declaration")]
    Schema,
    /// Write a completion script for a shell
    #[command(after_help = "EXAMPLES
  ringward completion bash > /etc/bash_completion.d/ringward
  ringward completion zsh > ~/.zfunc/_ringward
  source <(ringward completion bash)")]
    Completion(about::Completion),
    /// Say which version this is
    #[command(after_help = "EXAMPLES
  ringward version
  ringward version -o json")]
    Version,
}

/// Runs what the command line asks for, says what went wrong, and tells how the process ends.
pub async fn run(cli: Cli) -> Exit {
    let context = Context::new(cli.shared);
    match dispatch(&context, &cli.command).await {
        Ok(exit) => exit,
        Err(failure) => {
            if failure.cause != Cause::NobodyReads {
                context.progress(&failure.to_string());
            }
            failure.exit
        }
    }
}

async fn dispatch(context: &Context, command: &Command) -> Result<Exit, Failure> {
    match command {
        Command::Serve(args) => run::serve(context, args).await,
        Command::Demo(args) => run::demo(context, args).await,
        Command::Check(args) => check::run(context, args).await,
        Command::Plan(args) => plan::run(context, args).await,
        Command::Import(command) => import::run(context, command),
        Command::Test(args) => test::run(context, args),
        Command::Simulate(args) => simulate::run(context, args),
        Command::Judge => about::judge(context),
        Command::Gate(command) => replay::run(context, command).await,
        Command::Release(command) => release::run(context, command).await,
        Command::Status(args) => status::run(context, args).await,
        Command::Explain(args) => explain::run(context, args).await,
        Command::Wait(args) => wait::run(context, args).await,
        Command::Act(act) => act::run(context, act).await,
        Command::Freeze(command) => freeze::run(context, command).await,
        Command::Waive(args) => waive::run(context, args).await,
        Command::Audit(command) => audit::run(context, command).await,
        Command::Backup(args) => backup::backup(context, args).await,
        Command::Restore(args) => backup::restore(context, args),
        Command::Token(command) => token::run(context, command),
        Command::Get(args) => get::run(context, args).await,
        Command::Doctor(args) => doctor::run(context, args).await,
        Command::Schema => about::schema(context),
        Command::Completion(args) => about::completion(context, args),
        Command::Version => about::version(context),
    }
}
