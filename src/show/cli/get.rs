//! `get`: the lists that the server keeps.

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use utoipa::ToSchema;

use super::{
    client::{Answer, Client},
    context::Context,
    failure::Failure,
    measurements::{self, Selection},
    release::{self, List},
    style::Tone,
    table::{Cell, Table},
    tree::joined,
};
use crate::{
    ids::PlanName,
    show::{
        exit::Exit,
        view::{
            ApprovalView, ChannelState, ChannelView, ClusterRow, DebtView, FlagView, FreezeView,
            GateSpecView, Page, PauseView, PlanRingView, PlanView, ScopeView, WaiverView,
        },
    },
};

/// List what the server knows: plans, rings, releases, clusters, gates, measurements, approvals, pauses,
/// freezes, waivers, debts, flags, channels
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES
  ringward get plans
  ringward get approvals                        what waits for somebody's consent
  ringward get clusters -o wide                 what runs where, and what it would go back to
  ringward get flags                            what serves everybody the same, and is to be removed
  ringward get channels                         who is told, how far, and what does not get through
  ringward get measurements checkout@2.14.0 --ring beta -o wide
                                                what its gates were judged by, and what was asked
  ringward get rings -o json | jq -r '.items[] | select(.release == null).ring.name'")]
pub struct Get {
    /// What to list: plans, rings, releases, clusters, gates, measurements, approvals, pauses, freezes,
    /// waivers, debts, flags or channels.
    #[arg(value_name = "WHAT", value_enum, hide_possible_values = true)]
    what: What,
    /// Of this plan only.
    #[arg(long, value_name = "PLAN")]
    plan: Option<PlanName>,
    #[command(flatten)]
    selection: Selection,
}

/// What can be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// The plans.
    #[value(alias = "plan")]
    Plans,
    /// Their rings, and what is on them.
    #[value(alias = "ring")]
    Rings,
    /// The releases.
    #[value(alias = "release")]
    Releases,
    /// The clusters, and what runs in them.
    #[value(alias = "cluster")]
    Clusters,
    /// The gates of every ring.
    #[value(alias = "gate")]
    Gates,
    /// The approvals that releases need.
    #[value(alias = "approval")]
    Approvals,
    /// The pauses in force.
    #[value(alias = "pause")]
    Pauses,
    /// The freezes in force.
    #[value(alias = "freeze")]
    Freezes,
    /// The waivers of residency rules.
    #[value(alias = "waiver")]
    Waivers,
    /// What hotfixes did without.
    #[value(alias = "debt")]
    Debts,
    /// The feature flags that go by plans.
    #[value(alias = "flag")]
    Flags,
    /// What the gates of a release on a ring were judged by.
    #[value(alias = "measurement")]
    Measurements,
    /// The channels that notifiers go over, and how far each has been told.
    #[value(alias = "channel")]
    Channels,
}

/// Something that stands in a list.
pub trait Listed: Serialize + DeserializeOwned + ToSchema {
    /// The headings.
    const COLUMNS: &'static [&'static str];
    /// Further headings on a wide screen.
    const WIDE: &'static [&'static str];

    /// What it is called.
    fn names(&self) -> String;

    /// Whether it concerns that plan.
    fn is_of(&self, plan: &PlanName) -> bool;

    /// Its row.
    fn cells(&self, context: &Context) -> Vec<Cell>;

    /// The rest of its row on a wide screen.
    fn wide(&self) -> Vec<Cell>;
}

/// Runs `get`.
pub async fn run(context: &Context, args: &Get) -> Result<Exit, Failure> {
    if args.selection.is_given() && args.what != What::Measurements {
        return Err(Failure::usage(
            "a release, a ring, a gate or a cluster narrow measurements only",
        )
        .help("narrow the other lists by --plan"));
    }
    let client = context.client()?;
    let plan = args.plan.as_ref();
    match args.what {
        What::Measurements => measurements::list(context, &client, &args.selection).await,
        What::Plans => some::<PlanView>(context, &client, &["plans"], plan).await,
        What::Rings => rings(context, &client, plan).await,
        What::Releases => release::list(context, &client, &List::of(args.plan.clone())).await,
        What::Clusters => some::<ClusterRow>(context, &client, &["clusters"], plan).await,
        What::Gates => some::<GateSpecView>(context, &client, &["gates"], plan).await,
        What::Approvals => some::<ApprovalView>(context, &client, &["approvals"], plan).await,
        What::Flags => some::<FlagView>(context, &client, &["flags"], plan).await,
        What::Debts => some::<DebtView>(context, &client, &["debts"], plan).await,
        What::Waivers => some::<WaiverView>(context, &client, &["waivers"], plan).await,
        What::Pauses => some::<PauseView>(context, &client, &["pauses"], plan).await,
        What::Freezes => some::<FreezeView>(context, &client, &["freezes"], plan).await,
        What::Channels => some::<ChannelView>(context, &client, &["channels"], plan).await,
    }
}

/// A page as it came: its items keep the order of their keys.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    items: Vec<serde_yaml::Value>,
    next_page_token: Option<String>,
}

#[derive(Serialize)]
struct All {
    items: Vec<serde_yaml::Value>,
}

/// Reads every page of a list.
async fn pages(
    client: &Client,
    path: &[&str],
    query: &[(&str, &str)],
) -> Result<Vec<serde_yaml::Value>, Failure> {
    let mut items = Vec::new();
    let mut token: Option<String> = None;
    loop {
        let mut query = query.to_vec();
        query.extend(token.as_deref().map(|token| ("pageToken", token)));
        let page: Raw = client.get(path, &query).await?.read()?;
        items.extend(page.items);
        token = page.next_page_token;
        if token.is_none() {
            return Ok(items);
        }
    }
}

/// Shows a whole list.
///
/// # Errors
/// It cannot be read or shown.
pub async fn listed<T: Listed>(
    context: &Context,
    client: &Client,
    path: &[&str],
    query: &[(&str, &str)],
) -> Result<Exit, Failure> {
    show::<T>(context, pages(client, path, query).await?)
}

/// Shows those of a list that belong to a plan.
async fn some<T: Listed>(
    context: &Context,
    client: &Client,
    path: &[&str],
    plan: Option<&PlanName>,
) -> Result<Exit, Failure> {
    let mut items = pages(client, path, &[]).await?;
    if let Some(plan) = plan {
        let views: Page<T> = Answer::of(&All { items: items.clone() })?.read()?;
        let mut of_plan = views.items.iter().map(|item| item.is_of(plan));
        items.retain(|_| of_plan.next().unwrap_or(true));
    }
    show::<T>(context, items)
}

/// A ring is a document of its own: one for each that the plans declare.
async fn rings(
    context: &Context,
    client: &Client,
    only: Option<&PlanName>,
) -> Result<Exit, Failure> {
    let all = Answer::of(&All { items: pages(client, &["plans"], &[]).await? })?;
    let plans: Page<PlanView> = all.read()?;
    let mut items = Vec::new();
    for plan in plans.items.iter().filter(|plan| only.is_none_or(|only| *only == plan.name)) {
        for ring in &plan.rings {
            let path = ["plans", plan.name.as_str(), "rings", ring.name.as_str()];
            items.push(client.get(&path, &[]).await?.read()?);
        }
    }
    show::<PlanRingView>(context, items)
}

fn show<T: Listed>(context: &Context, items: Vec<serde_yaml::Value>) -> Result<Exit, Failure> {
    let answer = Answer::of(&All { items })?;
    let page: Page<T> = answer.read()?;
    let names = || page.items.iter().map(Listed::names).collect();
    let people = || {
        let wide = if context.is_wide() { T::WIDE } else { &[] };
        let mut table = Table::new(&[T::COLUMNS, wide].concat());
        for item in &page.items {
            let more = if context.is_wide() { item.wide() } else { Vec::new() };
            table.row(item.cells(context).into_iter().chain(more));
        }
        table.render(context.style)
    };
    if page.items.is_empty() && !context.is_document() {
        context.progress("there are none");
        return Ok(Exit::Done);
    }
    context.answer(&answer, names, people)?;
    Ok(Exit::Done)
}

/// An instant in UTC, to the minute.
pub fn instant(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%MZ").to_string()
}

pub(super) fn some_text<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".into(), |value| value.to_string())
}

fn short(text: &str) -> String {
    text.chars().take(12).collect()
}

impl Listed for PlanView {
    const COLUMNS: &'static [&'static str] = &["PLAN", "RINGS", "RELEASE", "PHASE", "PROBLEMS"];
    const WIDE: &'static [&'static str] = &["TARGET", "POLICY", "COMMIT"];

    fn names(&self) -> String {
        self.name.to_string()
    }

    fn is_of(&self, plan: &PlanName) -> bool {
        self.name == *plan
    }

    fn cells(&self, context: &Context) -> Vec<Cell> {
        let open = self.releases.iter().find(|release| !release.settled);
        let release = open.or(self.releases.first());
        let phase = release.map(|release| Cell::toned(context.style.release(release.phase)));
        let problems = match (self.withdrawn, self.problems.len()) {
            (true, _) => "withdrawn".into(),
            (false, 0) => "-".into(),
            (false, n) => n.to_string(),
        };
        vec![
            self.name.to_string().into(),
            self.rings.len().to_string().into(),
            some_text(release.map(|release| &release.version)).into(),
            phase.unwrap_or_else(|| "-".into()),
            problems.into(),
        ]
    }

    fn wide(&self) -> Vec<Cell> {
        vec![
            some_text(self.target.as_ref()).into(),
            some_text(self.policy.as_ref().map(|policy| short(policy.as_str()))).into(),
            some_text(self.commit.as_ref().map(|commit| short(commit.as_str()))).into(),
        ]
    }
}

impl Listed for DebtView {
    const COLUMNS: &'static [&'static str] = &["RELEASE", "RING", "KIND", "OF", "SINCE", "WHAT"];
    const WIDE: &'static [&'static str] = &["ENDED BY"];

    fn names(&self) -> String {
        format!("{}/{}/{}/{}", self.release, self.ring, self.kind.name(), self.of)
    }

    fn is_of(&self, plan: &PlanName) -> bool {
        self.release.plan == *plan
    }

    fn cells(&self, _: &Context) -> Vec<Cell> {
        vec![
            self.release.to_string().into(),
            self.ring.to_string().into(),
            self.kind.name().into(),
            self.of.clone().into(),
            instant(self.since).into(),
            self.message.clone().into(),
        ]
    }

    fn wide(&self) -> Vec<Cell> {
        vec![self.ended_by.clone().into()]
    }
}

impl Listed for PlanRingView {
    const COLUMNS: &'static [&'static str] =
        &["PLAN", "RING", "RELEASE", "STATUS", "WHERE", "SOAK"];
    const WIDE: &'static [&'static str] = &["AFTER", "POLICY", "CLUSTERS"];

    fn names(&self) -> String {
        format!("{}/{}", self.plan, self.ring.name)
    }

    fn is_of(&self, plan: &PlanName) -> bool {
        self.plan == *plan
    }

    fn cells(&self, context: &Context) -> Vec<Cell> {
        let phase = self.state.as_ref().map(|state| Cell::toned(context.style.ring(state.phase)));
        vec![
            self.plan.to_string().into(),
            self.ring.name.to_string().into(),
            some_text(self.release.as_ref().map(|release| &release.version)).into(),
            phase.unwrap_or_else(|| "-".into()),
            joined(&self.ring.jurisdictions).into(),
            self.ring.soak.to_string().into(),
        ]
    }

    fn wide(&self) -> Vec<Cell> {
        let after = joined(&self.ring.after);
        vec![
            if after.is_empty() { "-".into() } else { after.into() },
            self.ring.policy.to_string().into(),
            joined(&self.ring.clusters).into(),
        ]
    }
}

impl Listed for ChannelView {
    const COLUMNS: &'static [&'static str] = &["CHANNEL", "TYPE", "STATE", "BEHIND", "INFO"];
    const WIDE: &'static [&'static str] = &["NOTIFIERS", "TOLD TO", "SINCE", "AGAIN"];

    fn names(&self) -> String {
        self.name.clone()
    }

    /// A channel is of no plan.
    fn is_of(&self, _: &PlanName) -> bool {
        true
    }

    fn cells(&self, _context: &Context) -> Vec<Cell> {
        let tone = match self.state {
            ChannelState::Ready => Tone::Good,
            ChannelState::Retrying | ChannelState::Unused => Tone::Held,
            ChannelState::Gone | ChannelState::Unknown => Tone::Bad,
        };
        let info = match (&self.why, self.state) {
            (Some(why), _) if self.failures > 0 => {
                format!("not taken at attempt {}: {why}", self.failures)
            }
            (Some(why), _) => why.clone(),
            (None, ChannelState::Gone) => {
                "it wants nothing more (410): give it another URL or secret in the settings".into()
            }
            (None, ChannelState::Unknown) => {
                format!("not in the settings; named by {}", self.notifiers.join(", "))
            }
            (None, ChannelState::Unused) => "no Notifier names it".into(),
            (None, ChannelState::Ready | ChannelState::Retrying) => String::new(),
        };
        vec![
            self.name.clone().into(),
            self.kind.as_deref().unwrap_or("-").into(),
            Cell::toned((self.state.name().into(), tone)),
            self.behind.to_string().into(),
            info.into(),
        ]
    }

    fn wide(&self) -> Vec<Cell> {
        let at = |at: Option<Timestamp>| at.map_or_else(|| "-".into(), instant);
        vec![
            self.notifiers.join(" ").into(),
            some_text(self.told_to).into(),
            at(self.since).into(),
            at(self.again).into(),
        ]
    }
}

impl Listed for ClusterRow {
    const COLUMNS: &'static [&'static str] = &["CLUSTER", "REGION", "WHERE", "RUNNING", "STATUS"];
    const WIDE: &'static [&'static str] =
        &["KNOWN GOOD", "DATA", "FAILOVER", "METRICS", "NODES SAY"];

    fn names(&self) -> String {
        self.name.to_string()
    }

    fn is_of(&self, plan: &PlanName) -> bool {
        self.targets.iter().any(|target| target.plan == *plan)
    }

    fn cells(&self, _context: &Context) -> Vec<Cell> {
        let running = self.targets.iter().map(|target| {
            let running = target.running.as_ref().map(|running| running.version.as_ref());
            format!("{}@{}", target.plan, some_text(running.flatten()))
        });
        let status = self.targets.iter().map(|target| target.status.as_str());
        vec![
            self.name.to_string().into(),
            self.region.to_string().into(),
            self.jurisdiction.to_string().into(),
            running.collect::<Vec<_>>().join(" ").into(),
            status.collect::<Vec<_>>().join("; ").into(),
        ]
    }

    fn wide(&self) -> Vec<Cell> {
        let good = self.targets.iter().map(|target| {
            let good = target.known_good.as_ref().map(|good| good.version.as_ref());
            format!("{}@{}", target.plan, some_text(good.flatten()))
        });
        let metrics: Vec<&str> = self.metrics.iter().map(|source| source.name.as_str()).collect();
        vec![
            good.collect::<Vec<_>>().join(" ").into(),
            joined(&self.data_classes).into(),
            some_text(self.failover_pair.as_ref()).into(),
            metrics.join(" ").into(),
            match self.witness.as_ref().map(|witness| joined(&witness.regions)) {
                None => "-".into(),
                Some(regions) if regions.is_empty() => "nothing".into(),
                Some(regions) => regions.into(),
            },
        ]
    }
}

impl Listed for GateSpecView {
    const COLUMNS: &'static [&'static str] =
        &["PLAN", "RING", "GATE", "SIGNAL", "PASSES", "EVERY", "REQUIRED"];
    const WIDE: &'static [&'static str] = &["PROVIDER", "FAILURES", "NO DATA", "QUERY"];

    fn names(&self) -> String {
        format!("{}/{}/{}", self.plan, self.ring, self.name)
    }

    fn is_of(&self, plan: &PlanName) -> bool {
        self.plan == *plan
    }

    fn cells(&self, _context: &Context) -> Vec<Cell> {
        vec![
            self.plan.to_string().into(),
            self.ring.to_string().into(),
            self.name.to_string().into(),
            self.signal.to_string().into(),
            self.judge.clone().into(),
            self.interval.to_string().into(),
            if self.required { "yes" } else { "no" }.into(),
        ]
    }

    fn wide(&self) -> Vec<Cell> {
        use crate::model::policy::OnNoData;
        let no_data = match self.on_no_data {
            OnNoData::Hold => "hold",
            OnNoData::Fail => "fail",
        };
        vec![
            self.provider.clone().into(),
            match (self.failure_limit, self.consecutive_failure_limit) {
                (Some(limit), None) => format!("up to {limit}"),
                (Some(limit), Some(row)) => format!("up to {limit}, {row} in a row"),
                (None, Some(row)) => format!("up to {row} in a row"),
                (None, None) => "any".into(),
            }
            .into(),
            format!("{no_data} after {}", self.no_data_deadline).into(),
            self.query.split_whitespace().collect::<Vec<_>>().join(" ").into(),
        ]
    }
}

impl Listed for ApprovalView {
    const COLUMNS: &'static [&'static str] =
        &["RELEASE", "RING", "STATUS", "GIVEN", "WHO MAY", "BY"];
    const WIDE: &'static [&'static str] = &["AUTHOR", "POLICY"];

    fn names(&self) -> String {
        format!("{} {}", self.release, self.ring)
    }

    fn is_of(&self, plan: &PlanName) -> bool {
        self.release.plan == *plan
    }

    fn cells(&self, context: &Context) -> Vec<Cell> {
        let place = self.jurisdiction.iter().map(ToString::to_string);
        let not = self.exclude_author.then(|| format!("not {}", self.author));
        let who: Vec<String> = self.roles.iter().cloned().chain(place).chain(not).collect();
        vec![
            self.release.to_string().into(),
            self.ring.to_string().into(),
            Cell::toned(context.style.ring(self.phase)),
            format!("{}/{}", self.counting.len(), self.count).into(),
            who.join(", ").into(),
            joined(&self.counting).into(),
        ]
    }

    fn wide(&self) -> Vec<Cell> {
        vec![self.author.to_string().into(), short(self.policy.as_str()).into()]
    }
}

impl Listed for WaiverView {
    const COLUMNS: &'static [&'static str] =
        &["WAIVER", "RULE", "FOR", "STATE", "AGREED", "UNTIL", "BY"];
    const WIDE: &'static [&'static str] = &["POLICY", "WHY", "WHO AGREED", "ENDED"];

    fn names(&self) -> String {
        self.id.to_string()
    }

    fn is_of(&self, plan: &PlanName) -> bool {
        self.plan == *plan
    }

    fn cells(&self, _context: &Context) -> Vec<Cell> {
        vec![
            self.id.to_string().into(),
            self.rule.clone().into(),
            self.covers.clone().into(),
            self.state.name().into(),
            format!("{}/{}", self.agreed.len(), self.count).into(),
            instant(self.until).into(),
            self.said.by.to_string().into(),
        ]
    }

    fn wide(&self) -> Vec<Cell> {
        vec![
            some_text(self.policy.as_ref()).into(),
            some_text(self.said.reason.as_ref()).into(),
            joined(&self.agreed).into(),
            some_text(self.ended_because.as_ref()).into(),
        ]
    }
}

impl Listed for PauseView {
    const COLUMNS: &'static [&'static str] = &["STOPS", "SINCE", "BY", "WHY"];
    const WIDE: &'static [&'static str] = &["ENDED BY"];

    /// As `resume` takes it.
    fn names(&self) -> String {
        let ScopeView { jurisdiction, plan, release, ring } = &self.scope;
        let place = jurisdiction.as_ref().map(|place| format!("--jurisdiction {place}"));
        let what = release.as_ref().map(ToString::to_string);
        let what = what.or_else(|| plan.as_ref().map(ToString::to_string));
        let what = what.or(place).unwrap_or_else(|| "--everything".into());
        ring.as_ref().map_or_else(|| what.clone(), |ring| format!("{what} --ring {ring}"))
    }

    /// What stops everything stops every plan.
    fn is_of(&self, plan: &PlanName) -> bool {
        self.scope.plan.as_ref().is_none_or(|stopped| stopped == plan)
    }

    fn cells(&self, _context: &Context) -> Vec<Cell> {
        vec![
            self.covers.clone().into(),
            instant(self.said.at).into(),
            self.said.by.to_string().into(),
            some_text(self.said.reason.as_ref()).into(),
        ]
    }

    fn wide(&self) -> Vec<Cell> {
        vec![format!("ringward resume {}", self.names()).into()]
    }
}

impl Listed for FreezeView {
    const COLUMNS: &'static [&'static str] = &["FREEZE", "STOPS", "SINCE", "UNTIL", "BY", "WHY"];
    const WIDE: &'static [&'static str] = &["ACTIVE"];

    fn names(&self) -> String {
        self.id.to_string()
    }

    /// What stops everything stops every plan.
    fn is_of(&self, plan: &PlanName) -> bool {
        self.scope.plan.as_ref().is_none_or(|stopped| stopped == plan)
    }

    fn cells(&self, _context: &Context) -> Vec<Cell> {
        vec![
            self.id.to_string().into(),
            self.covers.clone().into(),
            instant(self.said.at).into(),
            some_text(self.until.map(instant)).into(),
            self.said.by.to_string().into(),
            some_text(self.said.reason.as_ref()).into(),
        ]
    }

    fn wide(&self) -> Vec<Cell> {
        vec![if self.active { "yes" } else { "no" }.into()]
    }
}
