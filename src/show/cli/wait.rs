//! `wait`: until a release is where it was waited for.

use clap::Args;

use super::{
    context::Context,
    failure::Failure,
    follow::Follow,
    goal::{Goal, Progress},
};
use crate::{ids::ReleaseId, model::time::Span, show::exit::Exit};

/// How long is waited without `--timeout`.
const PATIENCE: Span = Span::minutes(30);

/// Wait until a release is where you want it
///
/// Ends as soon as the state is reached, cannot be reached any more, or nothing but a person or a window can
/// bring it about. What is waited for is `succeeded`, `phase=PHASE` of the release, or `ring=NAME:PHASE`; a
/// ring that is further than Deploying or Soaking has been there.
#[derive(Debug, Args)]
#[command(after_help = "EXIT CODES
  0  the state is reached
  3  it cannot be reached any more: the release failed, was aborted or rolled back
  4  held, and only a person or a window can end it; standard error says what holds it
  5  the time is over (--timeout, 30m unless given), and it still moves
  6  a newer release took its place

EXAMPLES
  ringward wait checkout@2.14.0 --for succeeded --timeout 2d
  ringward wait checkout@2.14.0 --for ring=beta:passed && ./announce-beta
  ringward wait checkout@2.14.0 --for phase=rolledback")]
pub struct Wait {
    /// PLAN@VERSION.
    #[arg(value_name = "PLAN@VERSION")]
    release: ReleaseId,
    /// What to wait for: succeeded, phase=PHASE or ring=NAME:PHASE.
    #[arg(long = "for", value_name = "STATE")]
    goal: Goal,
}

/// Runs `wait`.
pub async fn run(context: &Context, args: &Wait) -> Result<Exit, Failure> {
    let client = context.client()?;
    let patience = context.shared.timeout.unwrap_or(PATIENCE);
    let (release, goal) = (&args.release, &args.goal);
    let mut last = String::new();
    let waiting = async {
        let mut follow = Follow::new(&client, context, release);
        loop {
            let (answer, view) = follow.next().await?;
            match goal.progress(&view) {
                Progress::Reached => {
                    let name = || vec![release.to_string()];
                    context.answer(&answer, name, || format!("{release}: {goal}\n"))?;
                    return Ok(Exit::Done);
                }
                Progress::Never { exit, why } => {
                    let message = format!("{goal} cannot be reached any more: {why}");
                    return Err(Failure::new(message).exit(exit));
                }
                Progress::Held { by } => return Err(held(release, goal, by)),
                Progress::Moving { doing } if doing != last => {
                    context.progress(&format!("{release}: {doing}"));
                    last = doing;
                }
                Progress::Moving { .. } => {}
            }
        }
    };
    match tokio::time::timeout(patience.to_std(), waiting).await {
        Ok(ended) => ended,
        Err(_) => {
            Err(Failure::new(format!("{goal} is not reached after {patience}, and it still moves"))
                .help(format!(
                    "wait longer with --timeout, or look with `ringward status {release}`"
                ))
                .exit(Exit::TimedOut))
        }
    }
}

fn held(release: &ReleaseId, goal: &Goal, by: Vec<String>) -> Failure {
    let failure =
        Failure::new(format!("{goal} waits for a person or a window, and nothing else moves"))
            .help(format!("`ringward explain {release}` says all of it"))
            .exit(Exit::Held);
    by.into_iter().fold(failure, Failure::note)
}
