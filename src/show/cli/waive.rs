//! `waive`: let a residency rule not bind for a time, with two others' consent.

use clap::{Args, Subcommand};
use jiff::Timestamp;
use reqwest::Method;
use serde_json::json;

use super::{
    client::Client,
    context::Context,
    failure::Failure,
    follow::Which,
    get::{self, Listed as _},
};
use crate::{
    ids::{PolicyName, RingName, WaiverId},
    model::time::Span,
    show::{
        api::{AskedFor, Done, Reason, WaiverBody},
        exit::Exit,
        view::{Page, WaiverView},
    },
};

/// Let a waivable residency rule not bind for a time, once two approvers agree
///
/// PLAN waives it for the plan, PLAN@VERSION for that release alone, which may be one to come; --ring narrows
/// either to one ring. It is in force when two approvers have agreed, neither of whom asked for it or made a
/// release that it is for; and it is over after its time, when somebody revokes it, or when the rule changes
/// in Git. Then the rule binds again at once. A hard rule cannot be waived (exit code 7).
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "EXAMPLES
  ringward waive checkout@2.14.0 --ring eu-west --rule GDPR-4 --for 4h --reason 'mirror is down, INC-4711'
  ringward waive list
  ringward waive approve w-3f9a01c2
  ringward waive revoke w-3f9a01c2 --reason 'mirror is back'"
)]
pub struct Waive {
    /// PLAN, or PLAN@VERSION.
    #[arg(value_name = "PLAN[@VERSION]", required = true)]
    which: Option<Which>,
    /// The rule, by the id that its policy gives it.
    #[arg(long, value_name = "ID", required = true)]
    rule: Option<String>,
    /// The ResidencyPolicy that declares it, where several of the plan's have a rule of that id.
    #[arg(long, value_name = "NAME")]
    policy: Option<PolicyName>,
    /// One ring only.
    #[arg(long, value_name = "NAME")]
    ring: Option<RingName>,
    /// How long it lasts from now, such as 4h; at most 7d.
    #[arg(
        long = "for",
        id = "duration",
        value_name = "DURATION",
        required_unless_present = "until"
    )]
    duration: Option<Span>,
    /// The instant at which it ends by itself, such as 2026-12-27T08:00:00Z.
    #[arg(long, value_name = "INSTANT", conflicts_with = "duration")]
    until: Option<Timestamp>,
    /// Why, for who agrees and for the audit.
    #[arg(long, value_name = "TEXT", required = true)]
    reason: Option<String>,
    #[command(subcommand)]
    command: Option<Waivers>,
}

/// What becomes of a waiver that was asked for.
#[derive(Debug, Subcommand)]
pub enum Waivers {
    /// List waivers: those that were asked for, are in force, or have ended
    #[command(after_help = "EXAMPLES
  ringward waive list
  ringward waive list -o wide                 and why")]
    List,
    /// Agree to a waiver
    ///
    /// Shows what is agreed to. It is in force when two have agreed.
    #[command(after_help = "EXAMPLES
  ringward waive approve w-3f9a01c2")]
    Approve(Approve),
    /// End a waiver, or take back that it was asked for
    #[command(after_help = "EXAMPLES
  ringward waive revoke w-3f9a01c2 --reason 'mirror is back'")]
    Revoke(Revoke),
}

/// Which waiver.
#[derive(Debug, Args)]
pub struct Approve {
    /// The waiver, as `waive list` names it.
    #[arg(value_name = "ID")]
    id: WaiverId,
}

/// Which waiver, and why.
#[derive(Debug, Args)]
pub struct Revoke {
    /// The waiver, as `waive list` names it.
    #[arg(value_name = "ID")]
    id: WaiverId,
    /// Why, for the audit.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Runs `waive`.
pub async fn run(context: &Context, args: &Waive) -> Result<Exit, Failure> {
    let client = context.client()?;
    match &args.command {
        None => ask(context, &client, args).await,
        Some(Waivers::List) => get::listed::<WaiverView>(context, &client, &["waivers"], &[]).await,
        Some(Waivers::Approve(Approve { id })) => {
            let waiver = find(&client, id).await?;
            context.progress(&format!(
                "{}: rule {} for {}, until {}, asked for by {}: {}",
                waiver.names(),
                waiver.rule,
                waiver.covers,
                get::instant(waiver.until),
                waiver.said.by,
                waiver.said.reason.as_deref().unwrap_or("no reason given"),
            ));
            act(context, &client, &waiver, ("approve", "approved"), &json!({})).await
        }
        Some(Waivers::Revoke(Revoke { id, reason })) => {
            let waiver = find(&client, id).await?;
            let body = serde_json::to_value(Reason { reason: reason.clone() });
            let body = body.map_err(|error| Failure::of(&error))?;
            act(context, &client, &waiver, ("revoke", "revoked"), &body).await
        }
    }
}

async fn ask(context: &Context, client: &Client, args: &Waive) -> Result<Exit, Failure> {
    let (Some(which), Some(rule), Some(reason)) = (&args.which, &args.rule, &args.reason) else {
        return Err(Failure::usage("say PLAN[@VERSION], --rule, --for and --reason"));
    };
    let body = WaiverBody {
        rule: rule.clone(),
        policy: args.policy.clone(),
        release: which.version.clone(),
        ring: args.ring.clone(),
        until: args.until,
        lasting: args.duration,
        reason: reason.clone(),
    };
    let body = serde_json::to_value(&body).map_err(|error| Failure::of(&error))?;
    let path = ["plans", which.plan.as_str(), "waivers"];
    let answer = client.ask(Method::POST, &path, Some(&body), None).await?;
    let AskedFor { id, until } = answer.read()?;
    let until =
        until.or(args.until).map(|at| format!(", until {}", get::instant(at))).unwrap_or_default();
    context.answer(
        &answer,
        || vec![id.to_string()],
        || format!("{id}: asked for{until}; two others agree by `ringward waive approve {id}`\n"),
    )?;
    Ok(Exit::Done)
}

/// An id says nothing of the plan that the waiver is of.
async fn find(client: &Client, id: &WaiverId) -> Result<WaiverView, Failure> {
    let page: Page<WaiverView> = client.get(&["waivers"], &[]).await?.read()?;
    let found = page.items.into_iter().find(|waiver| waiver.id == *id);
    found.ok_or_else(|| {
        Failure::new(format!("there is no waiver {id}")).help("`ringward waive list` shows them")
    })
}

async fn act(
    context: &Context,
    client: &Client,
    waiver: &WaiverView,
    (verb, done): (&str, &str),
    body: &serde_json::Value,
) -> Result<Exit, Failure> {
    let id = &waiver.id;
    let path = ["plans", waiver.plan.as_str(), "waivers", id.as_str(), verb];
    let answer = client.ask(Method::POST, &path, Some(body), None).await?;
    let _: Done = answer.read()?;
    context.answer(&answer, || vec![id.to_string()], || format!("{id}: {done}\n"))?;
    Ok(Exit::Done)
}
