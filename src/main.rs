//! Parses, starts, and turns the outcome into an exit code.

use std::process::ExitCode;

use clap::Parser as _;
use ringward::show::cli::{self, Cli};

#[tokio::main]
async fn main() -> ExitCode {
    cli::run(Cli::parse()).await.into()
}
