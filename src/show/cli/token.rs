//! `token`: who may ask the server, kept in its data directory.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{client::Answer, context::Context, failure::Failure, get, table::Table, tree::joined};
use crate::{
    clock::Clock as _,
    config,
    ids::{Jurisdiction, Mint, PlanName},
    model::time::Span,
    show::{
        auth::{NewToken, Token, Tokens},
        exit::Exit,
    },
};

/// Make, list and revoke tokens, on the server's own machine
///
/// Works on the data directory itself, whether the server runs or not; a running server sees what changed at
/// once. Only the hashes of tokens are kept.
#[derive(Debug, Subcommand)]
#[command(after_help = "EXAMPLES
  ringward token create kim --role approver --jurisdiction EU > kim.token
  ringward token list
  ringward token revoke kim")]
pub enum TokenCommand {
    /// Make a token and write it to standard output, once
    ///
    /// Roles: viewer looks; operator also stops, starts and goes back; approver agrees that releases enter
    /// rings; admin does what an operator does, and may name others as authors. An admin is no approver.
    #[command(after_help = "EXAMPLES
  ringward token create kim --role approver --jurisdiction EU > kim.token
  ringward token create ci --role operator --plan checkout --ttl 90d > ci.token
  ringward token create night-watch --role viewer --within DE --within IE
  ringward token create ola --role operator --break-glass --reason 'the OpenID provider is down' > ola.token")]
    Create(Create),
    /// List the tokens, without their texts, which are kept nowhere
    #[command(after_help = "EXAMPLES
  ringward token list
  ringward token list -o json | jq '.items[] | select(.expires == null).name'")]
    List(Data),
    /// End a token by its id, or all tokens of a name
    #[command(after_help = "EXAMPLES
  ringward token revoke t-3f9a01c2
  ringward token revoke kim")]
    Revoke(Revoke),
}

/// Where tokens are kept.
#[derive(Debug, Args)]
pub struct Data {
    /// The server's data directory [default: the one that `serve` takes].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// A token to be made.
#[derive(Debug, Args)]
pub struct Create {
    /// Whom it stands for; approvals and the audit carry this name.
    #[arg(value_name = "NAME")]
    name: String,
    /// What they may do: viewer, operator, approver, admin, or a role that a policy's approvals ask for.
    #[arg(long = "role", value_name = "ROLE", required = true)]
    roles: Vec<String>,
    /// Where they belong to, for approvals that ask for it: a country code or a bloc.
    #[arg(long, value_name = "CODE")]
    jurisdiction: Option<Jurisdiction>,
    /// The plans that the roles reach [default: all].
    #[arg(long = "plan", value_name = "PLAN")]
    plans: Vec<PlanName>,
    /// The jurisdictions of clusters that the roles reach [default: all].
    #[arg(long, value_name = "CODE")]
    within: Vec<Jurisdiction>,
    /// How long it is good for, such as 90d [default: until it is revoked; with --break-glass 1h, and 24h at
    /// the most].
    #[arg(long, value_name = "DURATION")]
    ttl: Option<Span>,
    /// For an emergency, when nobody else can vouch for you: each use of it is in the audit and in the log.
    #[arg(long, requires = "reason")]
    break_glass: bool,
    /// Why it is needed, for the audit.
    #[arg(long, value_name = "TEXT", requires = "break_glass")]
    reason: Option<String>,
    #[command(flatten)]
    data: Data,
}

/// Tokens to be ended.
#[derive(Debug, Args)]
pub struct Revoke {
    /// An id as `token list` shows it, or a name.
    #[arg(value_name = "ID|NAME")]
    which: String,
    #[command(flatten)]
    data: Data,
}

/// Runs `token`.
pub fn run(context: &Context, command: &TokenCommand) -> Result<Exit, Failure> {
    match command {
        TokenCommand::Create(args) => create(context, args),
        TokenCommand::List(data) => list(context, &open(data)?.list()),
        TokenCommand::Revoke(Revoke { which, data }) => {
            let ended = open(data)?.revoke(which).map_err(|error| Failure::of(&error))?;
            for Token { id, name, .. } in &ended {
                context.progress(&format!("{id} of {name}: revoked"));
            }
            Ok(Exit::Done)
        }
    }
}

fn open(data: &Data) -> Result<Tokens, Failure> {
    let dir = data.data.clone().unwrap_or_else(config::default_data);
    if !dir.is_dir() {
        return Err(Failure::new(format!("there is no data directory at {}", dir.display())).help(
            "a first `ringward serve` makes it; --data names another, and this runs on the server's machine",
        ));
    }
    Tokens::open(&dir).map_err(|error| Failure::of(&error))
}

fn create(context: &Context, args: &Create) -> Result<Exit, Failure> {
    let new = NewToken {
        name: args.name.clone(),
        roles: args.roles.clone(),
        jurisdiction: args.jurisdiction.clone(),
        plans: args.plans.clone(),
        within: args.within.clone(),
        ttl: args.ttl,
        break_glass: args.reason.clone().filter(|_| args.break_glass),
    };
    let now = context.clock.now().wall;
    let made = open(&args.data)?.create(new, &mut Mint::system(), now);
    let (token, text) = made.map_err(|error| Failure::of(&error))?;
    let mut document = shown(&token);
    document["token"] = text.clone().into();
    context.answer(&Answer::of(&document)?, || vec![token.id.clone()], || format!("{text}\n"))?;
    let until = token
        .expires
        .map_or("until it is revoked".into(), |at| format!("until {}", get::instant(at)));
    context.progress(&format!(
        "{} for {}, good {until}. Keep it in a file; it is shown only now.",
        token.id, token.name
    ));
    Ok(Exit::Done)
}

fn list(context: &Context, tokens: &[Token]) -> Result<Exit, Failure> {
    let items: Vec<_> = tokens.iter().map(shown).collect();
    let people = || {
        let all = |list: String| if list.is_empty() { "all".into() } else { list };
        let mut table = Table::new(&["ID", "NAME", "ROLES", "FROM", "PLANS", "WITHIN", "EXPIRES"]);
        for token in tokens {
            let from = token.jurisdiction.as_ref().map_or("-".into(), ToString::to_string);
            let expires = token.expires.map_or("-".into(), get::instant);
            let kind = if token.break_glass.is_some() { " (break-glass)" } else { "" };
            let expires = format!("{expires}{kind}");
            let cells = [
                token.id.clone(),
                token.name.to_string(),
                token.roles.join(" "),
                from,
                all(joined(&token.plans)),
                all(joined(&token.within)),
                expires,
            ];
            table.row(cells.map(Into::into));
        }
        table.render(context.style)
    };
    let names = || tokens.iter().map(|token| token.id.clone()).collect();
    context.answer(&Answer::of(&json!({ "items": items }))?, names, people)?;
    Ok(Exit::Done)
}

/// Without its hash: who has it could try guesses at leisure.
fn shown(token: &Token) -> serde_json::Value {
    json!({
        "id": token.id,
        "name": token.name,
        "roles": token.roles,
        "jurisdiction": token.jurisdiction,
        "plans": token.plans,
        "within": token.within,
        "created": token.created,
        "expires": token.expires,
        "breakGlass": token.break_glass,
    })
}
