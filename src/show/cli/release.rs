//! `release`: create one, list them, show one.

use clap::{Args, Subcommand};
use reqwest::Method;

use super::{
    client::{Answer, Client},
    context::Context,
    failure::Failure,
    follow::{Which, path},
    get::{self, Listed},
    table::Cell,
    tree,
};
use crate::{
    decide::{command::Lane, phase::ReleasePhase},
    ids::PlanName,
    show::{
        api::{ArtifactBody, Created, SubmitBody},
        exit::Exit,
        view::{ReleaseSummary, ReleaseView},
    },
};

/// Create, list and show releases
#[derive(Debug, Subcommand)]
#[command(after_help = "EXAMPLES
  ringward release create checkout 2.14.0 --image registry.example.com/checkout@sha256:9f2c…
  ringward release list --plan checkout")]
pub enum Releases {
    /// Create a release; it starts on its first rings at once
    ///
    /// The image must be pinned by digest: what soaks in one ring is what enters the next. The release keeps
    /// the policies that are in force now.
    #[command(after_help = "EXAMPLES
  ringward release create checkout 2.14.0 --image registry.example.com/checkout@sha256:9f2c…
  ringward release create dark-mode 3 --serve on=25%,off
  ringward release create checkout 2.15.0 --image … --requires 2.14.0    the contract step of a schema change
  ringward release create checkout 2.16.0 --image … --irreversible --reason 'moves the data'")]
    Create(Create),
    /// List releases, the newest first
    #[command(after_help = "EXAMPLES
  ringward release list
  ringward release list --plan checkout --phase failed -o name")]
    List(List),
    /// Show everything about one release
    #[command(after_help = "EXAMPLES
  ringward release show checkout@2.14.0
  ringward release show checkout@2.14.0 -o yaml")]
    Show(Show),
}

/// A new release.
#[derive(Debug, Args)]
pub struct Create {
    /// The plan.
    #[arg(value_name = "PLAN")]
    plan: PlanName,
    /// The version: letters, digits and . _ + -
    #[arg(value_name = "VERSION")]
    version: String,
    /// The image, pinned by digest.
    #[arg(long, value_name = "REF@DIGEST", required_unless_present = "serve")]
    image: Option<String>,
    /// Of a plan whose target is a feature flag, what it serves: `on`, or shares with the rest last, as in `on=25%,off`.
    #[arg(long, value_name = "VARIANTS", conflicts_with = "image")]
    serve: Option<String>,
    /// Who made it, where that is not you; only an administrator may say so.
    #[arg(long, value_name = "NAME")]
    author: Option<String>,
    /// Why, for the audit.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// It is never rolled back automatically.
    #[arg(long)]
    irreversible: bool,
    /// The version that must have passed on every ring first.
    #[arg(long, value_name = "VERSION")]
    requires: Option<String>,
}

/// Which releases.
#[derive(Debug, Args)]
pub struct List {
    /// Of this plan only.
    #[arg(long, value_name = "PLAN")]
    plan: Option<PlanName>,
    /// In this phase only.
    #[arg(long, value_name = "PHASE")]
    phase: Option<ReleasePhase>,
}

impl List {
    /// Those of a plan, or all.
    pub fn of(plan: Option<PlanName>) -> Self {
        Self { plan, phase: None }
    }
}

/// Which release.
#[derive(Debug, Args)]
pub struct Show {
    /// PLAN@VERSION; PLAN is its newest release that is not over, or else its newest.
    #[arg(value_name = "PLAN@VERSION")]
    which: Which,
}

/// Runs `release`.
pub async fn run(context: &Context, command: &Releases) -> Result<Exit, Failure> {
    let client = context.client()?;
    match command {
        Releases::Create(args) => create(context, &client, args).await,
        Releases::List(args) => list(context, &client, args).await,
        Releases::Show(args) => show(context, &client, args).await,
    }
}

async fn create(context: &Context, client: &Client, args: &Create) -> Result<Exit, Failure> {
    let body = SubmitBody {
        version: args.version.clone(),
        artifact: ArtifactBody { image: args.image.clone(), serve: args.serve.clone() },
        lane: Lane::Normal,
        reason: args.reason.clone(),
        irreversible: args.irreversible,
        requires: args.requires.clone(),
        author: args.author.clone(),
    };
    let body = serde_json::to_value(&body).map_err(|error| Failure::of(&error))?;
    let path = ["plans", args.plan.as_str(), "releases"];
    let answer = client.ask(Method::POST, &path, Some(&body), None).await?;
    let Created { release, .. } = answer.read()?;
    let name = release.to_string();
    context.answer(&answer, || vec![name.clone()], || format!("{name}: created\n"))?;
    if context.is_live() {
        context.progress(&format!("follow it with `ringward status {name} -w`"));
    }
    Ok(Exit::Done)
}

/// Lists releases, also for `get releases`.
pub async fn list(context: &Context, client: &Client, args: &List) -> Result<Exit, Failure> {
    let phase = args.phase.map(ReleasePhase::name);
    let plan = args.plan.as_ref().map(PlanName::as_str);
    let query: Vec<(&str, &str)> =
        [("plan", plan), ("phase", phase)].into_iter().filter_map(|(k, v)| Some((k, v?))).collect();
    get::listed::<ReleaseSummary>(context, client, &["releases"], &query).await
}

async fn show(context: &Context, client: &Client, args: &Show) -> Result<Exit, Failure> {
    let release = args.which.release(client).await?;
    let answer: Answer = client.get(&path(&release), &[]).await?;
    let view: ReleaseView = answer.read()?;
    context.answer(&answer, || vec![release.to_string()], || text(&view, context))?;
    Ok(Exit::Done)
}

fn text(view: &ReleaseView, context: &Context) -> String {
    let mut facts = vec![
        ("image", view.artifact.to_string()),
        ("policy", format!("{} (commit {})", view.policy, view.commit)),
        ("author", view.author.to_string()),
        ("submitted", format!("{} by {}", view.submitted, view.by)),
        ("phase", view.phase.to_string()),
    ];
    facts.extend(view.reason.clone().map(|reason| ("reason", reason)));
    facts.extend(view.requires.as_ref().map(|version| ("requires", version.to_string())));
    if view.irreversible {
        facts.push(("irreversible", "yes: it is never rolled back automatically".into()));
    }
    if let Some(said) = &view.aborted {
        let why = said.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
        facts.push(("aborted", format!("{} by {}{why}", said.at, said.by)));
    }
    let facts = facts.iter().map(|(name, value)| format!("{name:<14}{value}\n"));
    let tree = tree::table(view, context.is_wide(), context.style).render(context.style);
    format!("{:<14}{}\n{}\n{tree}", "release", view.release, facts.collect::<String>())
}

impl Listed for ReleaseSummary {
    const COLUMNS: &'static [&'static str] = &["RELEASE", "PHASE", "RINGS", "AUTHOR", "SUBMITTED"];
    const WIDE: &'static [&'static str] = &["IMAGE"];

    fn names(&self) -> String {
        self.release.to_string()
    }

    fn is_of(&self, plan: &PlanName) -> bool {
        self.plan == *plan
    }

    fn cells(&self, context: &Context) -> Vec<Cell> {
        use crate::decide::phase::RingPhase;
        let passed = self.rings.iter().filter(|ring| ring.phase == RingPhase::Passed).count();
        vec![
            self.release.to_string().into(),
            Cell::toned(context.style.release(self.phase)),
            format!("{passed}/{}", self.rings.len()).into(),
            self.author.to_string().into(),
            get::instant(self.submitted).into(),
        ]
    }

    fn wide(&self) -> Vec<Cell> {
        vec![self.artifact.to_string().into()]
    }
}
