//! `plan`: what a release of a plan would go through, from the declarations alone.

mod against;

use std::path::{Path, PathBuf};

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{
    check,
    client::Answer,
    context::Context,
    failure::Failure,
    get::instant,
    layout::layout,
    table::Table,
    tree::{age, gathers, joined},
};
use crate::{
    clock::Clock as _,
    decide::waiting::earliest::{Course, of_plan},
    declare::{Compiled, Diagnostic, nearest, report},
    ids::{PlanName, RingName},
    model::{plan::Plan, policy::Approvals, ring::Ring, time::Span},
    show::exit::Exit,
};

/// Show what a release of a plan would go through
///
/// Reads the declarations in PATH and shows the rings in their order: what each soaks for, its gates, who must
/// agree, its calendars, its clusters, and when a release made now could start there at the earliest. Nothing is
/// contacted. Approvals, caps and pauses take time that nobody can know.
///
/// With --against it shows instead what the plan here says otherwise than the one of another commit: ring by ring
/// and field by field, whether it is tighter, looser or neither, whether releases in motion would take it
/// (onPolicyChange), and which diagnostics appear or vanish.
#[derive(Debug, Args)]
#[command(
    override_usage = "ringward plan [OPTIONS] [PATH] PLAN",
    after_help = "EXAMPLES
  ringward plan checkout
  ringward plan deploy checkout
  ringward plan checkout --at 2026-12-18T16:00:00Z     as if released then
  ringward plan checkout --against origin/main         what this branch would change"
)]
pub struct PlanArgs {
    /// The directory that holds rings/ and policies/ [default: .], and the plan.
    #[arg(value_names = ["PATH", "PLAN"], num_args = 1..=2, required = true)]
    path_and_plan: Vec<String>,
    /// As if the release were made at that instant [default: now].
    #[arg(long, value_name = "INSTANT")]
    at: Option<Timestamp>,
    /// What differs from another commit of the repository: a branch, a tag or a commit. Nothing is checked out.
    #[arg(long, value_name = "REF", conflicts_with = "at")]
    against: Option<String>,
}

/// Runs `plan`.
pub async fn run(context: &Context, args: &PlanArgs) -> Result<Exit, Failure> {
    let (path, name) = match args.path_and_plan.as_slice() {
        [path, plan] => (PathBuf::from(path), plan),
        [plan] => (PathBuf::from("."), plan),
        _ => return Err(Failure::usage("name one plan, and a directory before it if you like")),
    };
    if let Some(reference) = &args.against {
        return against::run(context, &path, name, reference).await;
    }
    let Compiled { plans, .. } = check::read(&path).await?;
    let plan = match plans.get(name.as_str()) {
        Some(Ok(plan)) => plan,
        Some(Err(problems)) => return Err(in_error(context, name, problems, &path)),
        None => return Err(unknown(name, plans.keys())),
    };
    let from = args.at.unwrap_or_else(|| context.clock.now().wall);
    let courses = Courses::of(plan, from);
    let names = || plan.graph.order().iter().map(ToString::to_string).collect();
    context
        .answer(&Answer::of(&document(plan, &courses))?, names, || text(plan, &courses, context))?;
    Ok(Exit::Done)
}

/// Why a plan that is in error cannot be shown; its problems are told at once.
fn in_error(context: &Context, name: &str, problems: &[Diagnostic], path: &Path) -> Failure {
    let mut problems = problems.to_vec();
    check::place(&mut problems, path);
    context.progress(report::text(&problems, context.style.colour).trim_end());
    Failure::new(format!("plan {name} is in error"))
        .help("`ringward check` shows every problem")
        .exit(check::verdict(&problems))
}

fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a PlanName> + Clone) -> Failure {
    let failure = Failure::new(format!("no plan `{name}` is declared"));
    let names: Vec<&PlanName> = known.clone().collect();
    match nearest(name, known.map(PlanName::as_str)) {
        Some(near) => failure.help(format!("did you mean `{near}`?")),
        None if names.is_empty() => failure.help("no plan is: a RingPlan document declares one"),
        None => failure.help(format!("the plans are {}", joined(&names))),
    }
}

/// When a release could be where, if nothing holds it but calendars.
#[derive(Debug)]
struct Courses {
    from: Timestamp,
    /// If every deploy were done at once.
    early: Course,
    /// If every deploy took its whole deadline.
    late: Course,
}

impl Courses {
    fn of(plan: &Plan, from: Timestamp) -> Self {
        let whole = |ring: &Ring| {
            let at_once = ring.policy.concurrency.of(ring.clusters.len());
            ring.policy.deadline * ring.clusters.len().div_ceil(at_once) as u64
        };
        let (early, late) = (of_plan(plan, from, |_| Span::ZERO), of_plan(plan, from, whole));
        Self { from, early, late }
    }
}

fn text(plan: &Plan, courses: &Courses, context: &Context) -> String {
    let rings: Vec<(&RingName, &[RingName])> = plan
        .graph
        .order()
        .iter()
        .map(|name| (name, plan.graph.after(name).rings.as_slice()))
        .collect();
    let columns =
        ["RING", "STARTS", "SOAK", "GATES", "APPROVALS", "CALENDARS", "WHERE", "CLUSTERS"];
    let mut table = Table::new(&columns);
    for (index, prefix) in layout(&rings, context.style.unicode) {
        let (name, after) = rings[index];
        let Some(ring) = plan.ring(name) else { continue };
        let clusters: Vec<_> = ring.clusters.iter().map(|cluster| &cluster.name).collect();
        let mut clusters = joined(&clusters);
        if let Some(gathers) = gathers(after, plan.graph.after(name).join) {
            clusters.push_str(&format!("  ({gathers})"));
        }
        let gates: Vec<_> = ring.policy.gates.iter().map(|gate| &gate.name).collect();
        let calendars: Vec<_> =
            ring.policy.calendars.iter().map(|calendar| &calendar.name).collect();
        let mut places: Vec<_> =
            ring.clusters.iter().map(|cluster| &cluster.jurisdiction).collect();
        places.dedup();
        let cells = [
            format!("{prefix}{name}"),
            courses.early.on(name).map_or_else(String::new, |stay| since(courses.from, stay.start)),
            ring.policy.soak.duration.to_string(),
            dash(joined(&gates)),
            ring.policy.approvals.as_ref().map_or("-".into(), approvals),
            dash(joined(&calendars)),
            joined(&places),
            clusters,
        ];
        table.row(cells.map(Into::into));
    }
    let policy: String = plan.hash.as_str().chars().take(7).collect();
    let rules: Vec<&str> = plan.residency.iter().map(|rule| rule.id.as_str()).collect();
    let mut text = format!("{}   policy {policy}   {}\n\n", plan.name, plan.commit);
    text.push_str(&table.render(context.style));
    if !rules.is_empty() {
        text.push_str(&format!("\nresidency  {}\n", rules.join(" ")));
    }
    let through = |end: Option<Timestamp>| match end {
        Some(end) => format!("{}, at {}", since(courses.from, Some(end)), instant(end)),
        None => "never: a calendar does not open".into(),
    };
    text.push_str(&format!(
        "\nthrough    {} at the earliest\n",
        through(courses.early.whole().pass)
    ));
    text.push_str(&format!(
        "           {} if every deploy takes its whole deadline\n",
        through(courses.late.whole().pass)
    ));
    text
}

/// `now`, `+4 h 10 min`
fn since(from: Timestamp, at: Option<Timestamp>) -> String {
    let Some(at) = at else { return "never".into() };
    match at.duration_since(from) {
        passed if passed <= SignedDuration::ZERO => "now".into(),
        passed => format!("+{}", age(u64::try_from(passed.as_secs()).unwrap_or(0))),
    }
}

/// `2 (approver, EU)`
fn approvals(needed: &Approvals) -> String {
    let place = needed.jurisdiction.iter().map(|territory| territory.name.to_string());
    let who: Vec<String> = needed.roles.iter().cloned().chain(place).collect();
    match who.is_empty() {
        true => needed.count.to_string(),
        false => format!("{} ({})", needed.count, who.join(", ")),
    }
}

fn dash(text: String) -> String {
    if text.is_empty() { "-".into() } else { text }
}

fn document(plan: &Plan, courses: &Courses) -> serde_json::Value {
    let rings = plan.graph.order().iter().filter_map(|name| {
        let ring = plan.ring(name)?;
        let after = plan.graph.after(name);
        let stay = |course: &Course| {
            let stay = course.on(name);
            json!({"start": stay.and_then(|s| s.start), "pass": stay.and_then(|s| s.pass)})
        };
        Some(json!({
            "name": name,
            "after": after.rings,
            "join": after.join,
            "policy": ring.policy.name,
            "soak": ring.policy.soak.duration,
            "deadline": ring.policy.deadline,
            "gates": ring.policy.gates.iter().map(|gate| &gate.name).collect::<Vec<_>>(),
            "approvals": ring.policy.approvals.as_ref().map(|needed| json!({
                "count": needed.count,
                "roles": needed.roles,
                "jurisdiction": needed.jurisdiction.as_ref().map(|place| &place.name),
            })),
            "calendars": ring.policy.calendars.iter().map(|c| &c.name).collect::<Vec<_>>(),
            "clusters": ring.clusters.iter().map(|cluster| &cluster.name).collect::<Vec<_>>(),
            "earliest": stay(&courses.early),
            "byDeadlines": stay(&courses.late),
        }))
    });
    json!({
        "plan": plan.name,
        "policy": plan.hash,
        "commit": plan.commit,
        "from": courses.from,
        "residency": plan.residency.iter().map(|rule| &rule.id).collect::<Vec<_>>(),
        "rings": rings.collect::<Vec<_>>(),
    })
}
