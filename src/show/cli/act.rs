//! What operators ask for: to stop, to go on, to go back, to agree.

use clap::{
    Args, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};
use reqwest::Method;
use serde_json::Value;

use super::{
    client::{Answer, Client},
    context::Context,
    failure::Failure,
    follow::{Which, path},
    tree::joined,
};
use crate::{
    ids::{Jurisdiction, ReleaseId, RingName},
    model::policy::RollbackScope,
    show::{
        api::{AbortBody, Done, Reason, RollbackBody, StopBody, WriteOffBody},
        exit::Exit,
        view::{ReleaseView, RingView},
    },
};

/// How often an approval is tried on a state that has changed, but not in what is approved.
const TRIES: u32 = 10;

/// What an operator can ask for.
#[derive(Debug, Subcommand)]
pub enum Act {
    /// Stop a plan, a release or a ring: nothing goes forward until it is resumed
    ///
    /// PLAN stops the plan, whatever release is on its way; PLAN@VERSION that release alone; --ring narrows
    /// either to one ring. --jurisdiction stops every ring of every plan with a cluster there, --everything
    /// all of them. Soaks stand still meanwhile. The answer names the effects that were on their way already
    /// and cannot be called back.
    #[command(after_help = "EXAMPLES
  ringward pause checkout --reason 'checkout is slow, looking'
  ringward pause --jurisdiction EU --reason 'incident 4711'
  ringward pause checkout --ring eu-west       the ring, whatever release is on it
  ringward pause checkout@2.14.0 --ring beta   that release on that ring")]
    Pause(Scoped),
    /// Take a pause away, of exactly the scope that was paused
    ///
    /// PLAN takes the plan's own pause away, PLAN@VERSION the release's, --jurisdiction and --everything
    /// what was paused by them; other pauses stay. `ringward get pauses` lists them.
    #[command(after_help = "EXAMPLES
  ringward resume checkout
  ringward resume --jurisdiction EU
  ringward resume checkout@2.14.0 --ring beta")]
    Resume(Scoped),
    /// End a release everywhere, for good
    ///
    /// Rings where it is on its way go back to what last soaked through there, unless --hold leaves them as
    /// they are. Rings that it had passed keep it until you say `rollback`.
    #[command(after_help = "EXAMPLES
  ringward abort checkout --reason 'wrong build'
  ringward abort checkout@2.14.0 --hold -y     change nothing, and go nowhere")]
    Abort(Abort),
    /// Make a new attempt where a release failed or was rolled back
    ///
    /// On one ring, or on all of them where none is named. Only this brings a version back that was rolled back.
    #[command(after_help = "EXAMPLES
  ringward retry checkout@2.14.0 --ring us-east --reason 'the database was down'")]
    Retry(OfRelease),
    /// Take a release back, from one ring or from more of those where it is out
    ///
    /// --ring takes that ring alone, or with --scope what goes with it. Without --ring it goes back around every
    /// ring that failed and still has it, as far as the ring's policy says (`rollback.scope`) or --scope does;
    /// where none failed, from everywhere. The ring that took it last goes back first, the next once that one is
    /// back or stuck; every cluster goes to what last soaked through there. It waits for no limit on rollbacks,
    /// and takes along what waits for one. A release that is irreversible needs --reason.
    #[command(after_help = "SCOPES
  ring           the ring alone
  descendants    and those that come after it, however far behind
  jurisdiction   and those that share a jurisdiction with it
  exposed        and all others

EXAMPLES
  ringward rollback checkout@2.14.0 --ring us-east --reason 'orders are down'
  ringward rollback checkout@2.14.0 --ring beta --scope descendants
  ringward rollback checkout -y                around what failed, or from everywhere
  ringward rollback checkout --scope exposed   from everywhere")]
    Rollback(Rollback),
    /// Let a newer release take a ring (`onNewer: manual`), or a target go on that waits for a word
    ///
    /// On a ring in motion it ends the pauses of its targets' own controllers that wait for a word: a step of a
    /// Rollout, or the switch of a blue-green one. Never a pause that somebody has made there.
    #[command(after_help = "EXAMPLES
  ringward advance checkout@2.15.0 --ring beta --reason 'supersedes 2.14.0'
  ringward advance checkout@2.15.0 --ring eu-west --reason 'its canary looks well'")]
    Advance(OnRing),
    /// Answer for what a hotfix did without, instead of making up for it
    ///
    /// `ringward get debts` lists what is owed: gates that held nothing, and rings that were run ahead of.
    #[command(after_help = "EXAMPLES
  ringward write-off checkout@2.14.1 --ring eu-west --reason 'orders were counted by hand'")]
    WriteOff(WriteOff),
    /// Agree that a release enters a ring
    ///
    /// Binds to what is shown: this digest, this policy, these clusters, this attempt. If any of it changes in
    /// the meantime nothing is approved, and the exit code is 6. May be given early.
    #[command(after_help = "EXAMPLES
  ringward get approvals                       what waits for one
  ringward approve checkout@2.14.0 --ring eu-west --reason 'the audit agreed'")]
    Approve(Agree),
    /// Refuse that a release enters a ring
    #[command(after_help = "EXAMPLES
  ringward reject checkout@2.14.0 --ring eu-west --reason 'not before the audit'")]
    Reject(Reject),
}

/// A plan or a release, and perhaps a ring; or more than one plan.
#[derive(Debug, Args)]
pub struct Scoped {
    /// PLAN, or PLAN@VERSION.
    #[arg(value_name = "PLAN[@VERSION]", required_unless_present_any = ["everything", "jurisdiction"])]
    which: Option<Which>,
    /// One ring only.
    #[arg(long, value_name = "NAME", requires = "which")]
    ring: Option<RingName>,
    /// Every ring of every plan with a cluster in that country or bloc.
    #[arg(long, value_name = "CODE", conflicts_with = "which")]
    jurisdiction: Option<Jurisdiction>,
    /// Every plan everywhere.
    #[arg(long, conflicts_with_all = ["which", "jurisdiction"])]
    everything: bool,
    /// Why, for the audit.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// A release, and perhaps a ring.
#[derive(Debug, Args)]
pub struct OfRelease {
    /// PLAN@VERSION; PLAN is its newest release that is not over, or else its newest.
    #[arg(value_name = "PLAN[@VERSION]")]
    which: Which,
    /// One ring only.
    #[arg(long, value_name = "NAME")]
    ring: Option<RingName>,
    /// Why, for the audit.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// A release, perhaps a ring, and why.
#[derive(Debug, Args)]
pub struct WriteOff {
    /// PLAN@VERSION.
    #[arg(value_name = "PLAN@VERSION")]
    release: ReleaseId,
    /// What is owed on one ring only.
    #[arg(long, value_name = "NAME")]
    ring: Option<RingName>,
    /// Why that is good enough, for the audit.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// A release to be taken back.
#[derive(Debug, Args)]
pub struct Rollback {
    /// PLAN@VERSION; PLAN is its newest release that is not over, or else its newest.
    #[arg(value_name = "PLAN[@VERSION]")]
    which: Which,
    /// One ring, and what goes with it.
    #[arg(long, value_name = "NAME")]
    ring: Option<RingName>,
    /// Which rings go back with it.
    #[arg(long, value_name = "SCOPE", value_parser = scope(), hide_possible_values = true)]
    scope: Option<RollbackScope>,
    /// Why, for the audit.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Reads the name of a scope, and knows them all.
fn scope() -> impl TypedValueParser<Value = RollbackScope> {
    PossibleValuesParser::new(RollbackScope::ALL.map(RollbackScope::name)).map(|name| {
        let named = RollbackScope::ALL.into_iter().find(|scope| scope.name() == name);
        named.unwrap_or_default()
    })
}

/// A release and a ring.
#[derive(Debug, Args)]
pub struct OnRing {
    /// PLAN@VERSION; PLAN is its newest release that is not over, or else its newest.
    #[arg(value_name = "PLAN[@VERSION]")]
    which: Which,
    /// The ring.
    #[arg(long, value_name = "NAME")]
    ring: RingName,
    /// Why, for the audit.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// A release to be ended.
#[derive(Debug, Args)]
pub struct Abort {
    /// PLAN@VERSION; PLAN is its newest release that is not over, or else its newest.
    #[arg(value_name = "PLAN[@VERSION]")]
    which: Which,
    /// Leave rings where it is on its way as they are.
    #[arg(long)]
    hold: bool,
    /// Why, for the audit.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// A release and the ring that it shall enter.
#[derive(Debug, Args)]
pub struct Agree {
    /// PLAN@VERSION.
    #[arg(value_name = "PLAN@VERSION")]
    release: ReleaseId,
    /// The ring.
    #[arg(long, value_name = "NAME")]
    ring: RingName,
    /// Why, for the audit.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// A release and the ring that it shall not enter.
#[derive(Debug, Args)]
pub struct Reject {
    /// PLAN@VERSION.
    #[arg(value_name = "PLAN@VERSION")]
    release: ReleaseId,
    /// The ring.
    #[arg(long, value_name = "NAME")]
    ring: RingName,
    /// Why, for the audit.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Asks for it.
pub async fn run(context: &Context, act: &Act) -> Result<Exit, Failure> {
    let client = context.client()?;
    match act {
        Act::Pause(args) => scoped(context, &client, args, ("pause", "paused")).await,
        Act::Resume(args) => scoped(context, &client, args, ("resume", "resumed")).await,
        Act::Abort(args) => abort(context, &client, args).await,
        Act::Retry(OfRelease { which, ring, reason }) => {
            let release = which.release(&client).await?;
            let words = ("retry", "a new attempt begins");
            of_release(context, &client, &release, ring.as_ref(), reason.as_ref(), words).await
        }
        Act::Rollback(args) => rollback(context, &client, args).await,
        Act::Advance(OnRing { which, ring, reason }) => {
            let release = which.release(&client).await?;
            let words = ("advance", "may go on there");
            of_release(context, &client, &release, Some(ring), Some(reason), words).await
        }
        Act::WriteOff(WriteOff { release, ring, reason }) => {
            let asked = body(&WriteOffBody { ring: ring.clone(), reason: reason.clone() })?;
            let path = [&path(release)[..], &["write-off"]].concat();
            let answer = client.ask(Method::POST, &path, Some(&asked), None).await?;
            said(context, &answer, &named(&release.to_string(), ring.as_ref()), "written off")
        }
        Act::Approve(args) => approve(context, &client, args).await,
        Act::Reject(Reject { release, ring, reason }) => {
            let words = ("reject", "rejected");
            of_release(context, &client, release, Some(ring), reason.as_ref(), words).await
        }
    }
}

fn because(reason: Option<&String>) -> Result<Value, Failure> {
    body(&Reason { reason: reason.cloned() })
}

fn body(body: &impl serde::Serialize) -> Result<Value, Failure> {
    serde_json::to_value(body).map_err(|error| Failure::of(&error))
}

async fn scoped(
    context: &Context,
    client: &Client,
    args: &Scoped,
    (verb, done): (&str, &str),
) -> Result<Exit, Failure> {
    let Some(which) = &args.which else {
        let (everything, jurisdiction) = (args.everything, args.jurisdiction.clone());
        let what = jurisdiction
            .as_ref()
            .map_or_else(|| "everything".to_owned(), |place| format!("everything in {place}"));
        let asked = body(&StopBody { everything, jurisdiction, reason: args.reason.clone() })?;
        let answer = client.ask(Method::POST, &[verb], Some(&asked), None).await?;
        return said(context, &answer, &what, done);
    };
    let Which { plan, version } = which;
    let mut path = vec!["plans", plan.as_str()];
    path.extend(version.iter().flat_map(|version| ["releases", version.as_str()]));
    path.extend(args.ring.iter().flat_map(|ring| ["rings", ring.as_str()]));
    path.push(verb);
    let answer =
        client.ask(Method::POST, &path, Some(&because(args.reason.as_ref())?), None).await?;
    said(context, &answer, &named(&which.to_string(), args.ring.as_ref()), done)
}

async fn of_release(
    context: &Context,
    client: &Client,
    release: &ReleaseId,
    ring: Option<&RingName>,
    reason: Option<&String>,
    (verb, done): (&str, &str),
) -> Result<Exit, Failure> {
    let mut path = path(release).to_vec();
    path.extend(ring.iter().flat_map(|ring| ["rings", ring.as_str()]));
    path.push(verb);
    let answer = client.ask(Method::POST, &path, Some(&because(reason)?), None).await?;
    said(context, &answer, &named(&release.to_string(), ring), done)
}

async fn rollback(context: &Context, client: &Client, args: &Rollback) -> Result<Exit, Failure> {
    let Rollback { which, ring, scope, reason } = args;
    let release = which.release(client).await?;
    let from = match (ring, scope) {
        (Some(ring), None | Some(RollbackScope::Ring)) => ring.to_string(),
        (Some(ring), Some(scope)) => format!("{ring} and its scope `{}`", scope.name()),
        (None, Some(RollbackScope::Exposed)) => "everywhere it is out".into(),
        (None, Some(scope)) => {
            format!("the rings that failed and their scope `{}`", scope.name())
        }
        (None, None) => {
            "the rings that failed and what their policies say, or where none did from \
                         everywhere it is out"
                .into()
        }
    };
    context.confirm(&format!("Take {release} back from {from}?"))?;
    let mut path = path(&release).to_vec();
    path.extend(ring.iter().flat_map(|ring| ["rings", ring.as_str()]));
    path.push("rollback");
    let asked = body(&RollbackBody { scope: *scope, reason: reason.clone() })?;
    let answer = client.ask(Method::POST, &path, Some(&asked), None).await?;
    said(context, &answer, &named(&release.to_string(), ring.as_ref()), "goes back")
}

async fn abort(context: &Context, client: &Client, args: &Abort) -> Result<Exit, Failure> {
    let release = args.which.release(client).await?;
    let rings = if args.hold { "stay as they are" } else { "go back" };
    context.confirm(&format!("End {release} for good? Rings where it is on its way {rings}."))?;
    let path = [&path(&release)[..], &["abort"]].concat();
    let asked = body(&AbortBody { hold: args.hold, reason: args.reason.clone() })?;
    let answer = client.ask(Method::POST, &path, Some(&asked), None).await?;
    said(context, &answer, &release.to_string(), "aborted")
}

/// What an approval agrees to.
fn agreed<'a>(view: &'a ReleaseView, ring: &'a RingView) -> impl PartialEq + use<'a> {
    let clusters: Vec<_> = ring.clusters.iter().map(|cluster| &cluster.name).collect();
    (&view.artifact, &view.policy, clusters, ring.attempt)
}

async fn approve(
    context: &Context,
    client: &Client,
    Agree { release, ring: name, reason }: &Agree,
) -> Result<Exit, Failure> {
    let look = async || {
        let answer = client.get(&path(release), &[]).await?;
        let view: ReleaseView = answer.read()?;
        Ok::<_, Failure>((answer.etag, view))
    };
    let (mut etag, seen) = look().await?;
    let ring = find(&seen, name)?;
    let clusters: Vec<_> = ring.clusters.iter().map(|cluster| &cluster.name).collect();
    context.progress(&format!(
        "{release} on {name}: {}, policy {}, clusters {}",
        seen.artifact,
        seen.policy,
        joined(&clusters)
    ));
    let action = [&path(release)[..], &["rings", name.as_str(), "approve"]].concat();
    let why = because(reason.as_ref())?;
    for _ in 0..TRIES {
        let asked = client.ask(Method::POST, &action, Some(&why), etag.as_deref()).await;
        let stale = match asked {
            Ok(answer) => {
                return said(
                    context,
                    &answer,
                    &named(&release.to_string(), Some(name)),
                    "approved",
                );
            }
            Err(failure) if failure.is_refusal("stale-state") => failure,
            Err(failure) => return Err(failure),
        };
        // A plan in motion changes all the time; what counts is whether this changed that is approved.
        let (newer, now) = look().await?;
        if agreed(&now, find(&now, name)?) != agreed(&seen, ring) {
            return Err(stale.note("what would have been approved is not what was shown any more"));
        }
        etag = newer;
    }
    Err(Failure::new(format!("{release} changes too fast to be approved on {name}"))
        .help("try again")
        .exit(Exit::Conflict))
}

fn find<'a>(view: &'a ReleaseView, name: &RingName) -> Result<&'a RingView, Failure> {
    view.rings.iter().find(|ring| ring.name == *name).ok_or_else(|| {
        let names: Vec<_> = view.rings.iter().map(|ring| &ring.name).collect();
        Failure::new(format!("{} has no ring {name}", view.release))
            .help(format!("its rings are {}", joined(&names)))
    })
}

fn named(what: &str, ring: Option<&RingName>) -> String {
    ring.map_or_else(|| what.into(), |ring| format!("{what} on {ring}"))
}

fn said(context: &Context, answer: &Answer, what: &str, done: &str) -> Result<Exit, Failure> {
    let Done { in_flight } = answer.read()?;
    context.answer(answer, || vec![what.into()], || format!("{what}: {done}\n"))?;
    if !in_flight.is_empty() && !context.is_document() {
        context.progress("on their way already, and not to be called back:");
        in_flight.iter().for_each(|effect| context.progress(&format!("  {effect}")));
    }
    Ok(Exit::Done)
}
