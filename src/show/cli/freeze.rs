//! `freeze`: stop the line, see what stops it, let it go.

use clap::{Args, Subcommand};
use jiff::Timestamp;
use reqwest::Method;

use super::{context::Context, failure::Failure, get};
use crate::{
    ids::{FreezeId, Jurisdiction, PlanName},
    model::time::Span,
    show::{
        api::{Done, FreezeBody, Frozen},
        exit::Exit,
        view::{FreezeView, ScopeView},
    },
};

/// Stop the line: everything, a jurisdiction or a plan
#[derive(Debug, Subcommand)]
#[command(after_help = "EXAMPLES
  ringward freeze add --reason 'incident 4711'                    everything, until it is lifted
  ringward freeze add --jurisdiction DE --for 2h --reason 'power cut in Frankfurt'
  ringward freeze list
  ringward freeze lift f-3f9a01c2")]
pub enum Freezes {
    /// Stop everything, or one jurisdiction, or one plan
    ///
    /// No ring starts and no further cluster is deployed to in what is frozen; rolling back is not held. It
    /// ends when it is lifted, or at the instant that --until or --for gives.
    #[command(after_help = "EXAMPLES
  ringward freeze add --reason 'incident 4711'
  ringward freeze add --plan checkout --until 2026-12-27T08:00:00Z --reason 'peak trading'
  ringward freeze add --jurisdiction DE --for 2h --reason 'power cut in Frankfurt'")]
    Add(Add),
    /// List the freezes that were not lifted
    #[command(after_help = "EXAMPLES
  ringward freeze list
  ringward freeze list -o name | xargs -n1 ringward freeze lift")]
    List,
    /// End a freeze
    #[command(after_help = "EXAMPLES
  ringward freeze lift f-3f9a01c2")]
    Lift(Lift),
}

/// What stops.
#[derive(Debug, Args)]
pub struct Add {
    /// This plan only.
    #[arg(long, value_name = "PLAN", conflicts_with = "jurisdiction")]
    plan: Option<PlanName>,
    /// Every ring with a cluster there only.
    #[arg(long, value_name = "CODE")]
    jurisdiction: Option<Jurisdiction>,
    /// Why, for everybody whom it stops.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// The instant at which it ends by itself, such as 2026-12-27T08:00:00Z.
    #[arg(long, value_name = "INSTANT", conflicts_with = "duration")]
    until: Option<Timestamp>,
    /// How long it lasts, such as 2h.
    #[arg(long = "for", id = "duration", value_name = "DURATION")]
    duration: Option<Span>,
}

/// Which freeze.
#[derive(Debug, Args)]
pub struct Lift {
    /// The freeze, as `freeze list` names it.
    #[arg(value_name = "ID")]
    id: FreezeId,
}

/// Runs `freeze`.
pub async fn run(context: &Context, command: &Freezes) -> Result<Exit, Failure> {
    let client = context.client()?;
    match command {
        Freezes::Add(args) => {
            let scope = ScopeView {
                plan: args.plan.clone(),
                jurisdiction: args.jurisdiction.clone(),
                ..ScopeView::default()
            };
            let body = FreezeBody {
                scope,
                until: args.until,
                lasting: args.duration,
                reason: args.reason.clone(),
            };
            let body = serde_json::to_value(&body).map_err(|error| Failure::of(&error))?;
            let answer = client.ask(Method::POST, &["freezes"], Some(&body), None).await?;
            let Frozen { id, until, in_flight } = answer.read()?;
            let until = until.or(args.until);
            let until = until
                .map_or("until it is lifted".into(), |at| format!("until {}", get::instant(at)));
            context.answer(
                &answer,
                || vec![id.to_string()],
                || format!("{id}: frozen {until}\n"),
            )?;
            if !in_flight.is_empty() && !context.is_document() {
                context.progress("on their way already, and not to be called back:");
                in_flight.iter().for_each(|effect| context.progress(&format!("  {effect}")));
            }
            Ok(Exit::Done)
        }
        Freezes::List => get::listed::<FreezeView>(context, &client, &["freezes"], &[]).await,
        Freezes::Lift(Lift { id }) => {
            let answer = client.ask(Method::DELETE, &["freezes", id.as_str()], None, None).await?;
            let _: Done = answer.read()?;
            context.answer(&answer, || vec![id.to_string()], || format!("{id}: lifted\n"))?;
            Ok(Exit::Done)
        }
    }
}
