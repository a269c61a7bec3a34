//! `gate replay`: a changed gate over what was measured before.

mod evidence;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use super::{
    check,
    client::{Answer, Client},
    context::Context,
    failure::Failure,
    measurements::Of,
    table::{Cell, Table},
};
use crate::{
    clock::SystemClock,
    config::{MetricsAuth, Settings},
    decide::{fact::Verdict, phase::RingPhase},
    declare::{Compiled, Snapshot, compile, nearest, report, source::read_dir},
    ids::{ClusterName, GateName, ReleaseId, RingName},
    model::{
        plan::Plan,
        policy::Gate,
        ring::{Cluster, MetricSource, ProviderKind, Ring},
        time::Mono,
    },
    show::{
        exit::Exit,
        view::{MeasurementView, ReleaseView},
    },
    sim::replay::{Case, Course, End, Past, PastError},
};

/// Try a gate before it is in force
#[derive(Debug, Subcommand)]
#[command(after_help = "EXAMPLES
  ringward gate replay checkout@2.14.0 --ring beta --gate latency-p99")]
pub enum GateCommand {
    /// Say when a changed gate would have passed or failed
    ///
    /// Judges by the gate as it is declared in --policy, with the core's own judges: over what the server recorded
    /// of a release on a ring or, with --source, over a past stretch of a Prometheus as if the ring had taken the
    /// release at its beginning. Recorded measurements stand where they were taken: another `interval` or
    /// `initialDelay` shows with --source only. Nothing is changed. Ends with 3 where the gate would have failed the ring, and
    /// with 4 where it would neither have failed nor let it pass.
    #[command(after_help = "EXAMPLES
  ringward gate replay checkout@2.14.0 --ring beta --gate latency-p99
                                          the gate as it is declared here, over what was measured there
  ringward gate replay checkout@2.14.0 --ring beta --gate latency-p99 --policy drafts/standard.yaml
  ringward gate replay checkout@2.14.0 --ring beta --gate errors \\
      --source http://prometheus:9090 --from 2026-11-01T08:00:00Z --to 2026-11-01T12:00:00Z")]
    Replay(Replay),
}

/// What is replayed.
#[derive(Debug, Args)]
pub struct Replay {
    /// The release, as PLAN@VERSION.
    #[arg(value_name = "PLAN@VERSION")]
    release: ReleaseId,
    /// The ring.
    #[arg(long, value_name = "NAME")]
    ring: RingName,
    /// The gate, as --policy declares it.
    #[arg(long, value_name = "NAME")]
    gate: GateName,
    /// The recorded gate whose measurements are judged [default: that of the same name].
    #[arg(long, value_name = "NAME")]
    recorded: Option<GateName>,
    /// The directory that holds rings/ and policies/, or a file that takes the place of the one of its name in
    /// ./policies.
    #[arg(long, value_name = "PATH", default_value = ".")]
    policy: PathBuf,
    /// On this cluster only.
    #[arg(long, value_name = "NAME")]
    cluster: Option<ClusterName>,
    /// The attempt whose measurements are judged [default: the last].
    #[arg(long, value_name = "N", conflicts_with = "source")]
    attempt: Option<u32>,
    /// A Prometheus whose past is judged.
    #[arg(long, value_name = "URL", requires_all = ["from", "to"])]
    source: Option<String>,
    /// The beginning of that past.
    #[arg(long, value_name = "INSTANT", value_parser = moment, requires = "source")]
    from: Option<Timestamp>,
    /// Its end.
    #[arg(long, value_name = "INSTANT", value_parser = moment, requires = "source")]
    to: Option<Timestamp>,
    /// The server's settings, for the credentials of that Prometheus.
    #[arg(long, value_name = "FILE", requires = "source")]
    config: Option<PathBuf>,
}

/// Runs `gate`.
pub async fn run(context: &Context, command: &GateCommand) -> Result<Exit, Failure> {
    match command {
        GateCommand::Replay(args) => replay(context, args).await,
    }
}

async fn replay(context: &Context, args: &Replay) -> Result<Exit, Failure> {
    let Compiled { plans, .. } = compiled(args).await?;
    let name = &args.release.plan;
    let plan = match plans.get(name) {
        Some(Ok(plan)) => plan,
        Some(Err(problems)) => {
            context.progress(report::text(problems, context.style.colour).trim_end());
            return Err(Failure::new(format!("plan {name} is in error"))
                .help("`ringward check` shows every problem")
                .exit(check::verdict(problems)));
        }
        None => {
            return Err(unknown("plan", name.as_str(), plans.keys().map(|name| name.as_str())));
        }
    };
    let (ring, gate) = found(plan, args)?;
    let clusters: Vec<&Cluster> = ring
        .clusters
        .iter()
        .filter(|cluster| args.cluster.as_ref().is_none_or(|only| *only == cluster.name))
        .collect();
    if let (true, Some(only)) = (clusters.is_empty(), &args.cluster) {
        let known = ring.clusters.iter().map(|cluster| cluster.name.as_str());
        return Err(unknown("cluster", only.as_str(), known));
    }
    let version = &args.release.version;
    let deployed = args.from.unwrap_or(Timestamp::UNIX_EPOCH);
    let case = Case { plan, ring, gate, version, deployed };
    if !gate.required {
        context.progress(
            "the gate is declared `required: false`, and would hold and fail nothing: this is what it would do if it \
             were required",
        );
    }
    let (course, was) = match (&args.source, args.from, args.to) {
        (Some(url), Some(from), Some(to)) => {
            let course = past(args, url, (from, to))?.judge(case, &clusters).await;
            (course.map_err(|error| unanswered(&error))?, BTreeMap::new())
        }
        _ => {
            let recorded = args.recorded.as_ref().unwrap_or(&args.gate);
            let of = Of {
                release: &args.release,
                ring: &args.ring,
                gate: Some(recorded),
                cluster: args.cluster.as_ref(),
            };
            let client = context.client()?;
            let items = of.read(&client, "oldest", usize::MAX).await?;
            if items.is_empty() {
                let message = format!("nothing of {recorded} was measured there");
                return Err(Failure::new(message).help("see `ringward get measurements`"));
            }
            let items = of_one_attempt(context, args, items)?;
            let passed = passed_at(&client, args, &items).await?;
            evidence::judge(case, &items, passed)?
        }
    };
    answer(context, args, case, &course, &was)?;
    Ok(match course.end {
        End::Passed { .. } => Exit::Done,
        End::Failed { .. } => Exit::Failed,
        End::Open(_) => Exit::Held,
    })
}

/// Why the past cannot be judged; with what was asked, since whoever asks may see it.
fn unanswered(error: &PastError) -> Failure {
    let failure = Failure::of(error);
    match error {
        PastError::Source { query, .. } => failure.note(format!("asked: {}", query.trim())),
        PastError::Credentials(_)
        | PastError::Client(_)
        | PastError::Backwards { .. }
        | PastError::Empty { .. }
        | PastError::TooLong { .. }
        | PastError::NotRecorded(_) => failure,
    }
}

/// An instant of the command line.
fn moment(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|_| "give an instant with its zone, such as 2026-11-01T08:00:00Z".into())
}

/// An instant in UTC, to the second: gates may be measured often.
fn instant(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// The measurements of the attempt that is asked for, or of the last: each begins to soak anew.
fn of_one_attempt(
    context: &Context,
    args: &Replay,
    mut items: Vec<MeasurementView>,
) -> Result<Vec<MeasurementView>, Failure> {
    let attempts: BTreeSet<u32> = items.iter().filter_map(evidence::attempt).collect();
    let Some(last) = attempts.last() else { return Ok(items) };
    let wanted = args.attempt.unwrap_or(*last);
    if !attempts.contains(&wanted) {
        let known: Vec<_> = attempts.iter().map(u32::to_string).collect();
        let message = format!("nothing was measured in attempt {wanted}");
        return Err(Failure::new(message).help(format!("there are {}", known.join(", "))));
    }
    if attempts.len() > 1 && args.attempt.is_none() {
        context.progress(&format!("attempt {wanted}, the last; --attempt names another"));
    }
    items.retain(|item| evidence::attempt(item) == Some(wanted));
    Ok(items)
}

/// When the ring passed in the attempt of these measurements, if it did.
async fn passed_at(
    client: &Client,
    args: &Replay,
    items: &[MeasurementView],
) -> Result<Option<Timestamp>, Failure> {
    let (plan, version) = (args.release.plan.as_str(), args.release.version.as_str());
    let view: ReleaseView = client.get(&["plans", plan, "releases", version], &[]).await?.read()?;
    let ring = view.rings.iter().find(|ring| ring.name == args.ring);
    let attempt = items.first().and_then(evidence::attempt);
    let ring = ring.filter(|ring| ring.phase == RingPhase::Passed && Some(ring.attempt) == attempt);
    Ok(ring.map(|ring| ring.since))
}

/// The declarations, with a file of --policy in its place.
async fn compiled(args: &Replay) -> Result<Compiled, Failure> {
    if args.policy.is_dir() {
        return check::read(&args.policy).await;
    }
    let path = args.policy.display();
    let name = args.policy.file_name().and_then(|name| name.to_str());
    let name =
        name.ok_or_else(|| Failure::usage(format!("{path} is neither a file nor a directory")))?;
    let text = std::fs::read(&args.policy)
        .map_err(|error| Failure::new(format!("{path} cannot be read: {error}")))?;
    let help = "run it where rings/ and policies/ are, or name a directory with --policy";
    let Snapshot { commit, mut files } =
        read_dir(std::path::Path::new(".")).map_err(|why| Failure::usage(why).help(help))?;
    files.insert(format!("policies/{name}"), text);
    Ok(compile(&Snapshot { commit, files }))
}

/// What nothing of that name is declared for, with what is.
fn unknown<'k>(what: &str, name: &str, known: impl Iterator<Item = &'k str> + Clone) -> Failure {
    let failure = Failure::new(format!("there is no {what} `{name}`"));
    match nearest(name, known.clone()) {
        Some(near) => failure.help(format!("did you mean `{near}`?")),
        None => failure.help(match known.collect::<Vec<_>>().as_slice() {
            [] => "run it where rings/ and policies/ are, or name a directory with --policy".into(),
            known => format!("there are {}", known.join(", ")),
        }),
    }
}

fn found<'p>(plan: &'p Plan, args: &Replay) -> Result<(&'p Ring, &'p Gate), Failure> {
    let rings = || plan.rings.iter().map(|ring| ring.name.as_str());
    let ring = plan.ring(&args.ring).ok_or_else(|| unknown("ring", args.ring.as_str(), rings()))?;
    let gates = || ring.policy.gates.iter().map(|gate| gate.name.as_str());
    let gate = ring.policy.gates.iter().find(|gate| gate.name == args.gate);
    Ok((ring, gate.ok_or_else(|| unknown("gate", args.gate.as_str(), gates()))?))
}

fn past(args: &Replay, url: &str, (from, to): (Timestamp, Timestamp)) -> Result<Past, Failure> {
    let kind = ProviderKind::Prometheus;
    let source =
        MetricSource { name: "of --source".into(), kind, url: url.into(), jurisdiction: None };
    let credentials: BTreeMap<String, MetricsAuth> = match &args.config {
        Some(path) => Settings::read(path).map_err(|error| Failure::of(&error))?.metrics,
        None => BTreeMap::new(),
    };
    let whole = |at: Timestamp| Timestamp::from_second(at.as_second()).unwrap_or(at);
    let clock = Arc::new(SystemClock::new(Mono(0)));
    let past = Past::new(source, (whole(from), whole(to)), credentials, clock);
    past.map_err(|error| Failure::of(&error))
}

/// What the recorded gate said, by cluster and instant.
type Was = BTreeMap<(ClusterName, Timestamp), Verdict>;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StepView<'a> {
    at: Timestamp,
    cluster: &'a ClusterName,
    verdict: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    was: Option<Verdict>,
    value: Option<f64>,
    detail: &'a str,
    soaked: String,
}

fn answer(
    context: &Context,
    args: &Replay,
    case: Case<'_>,
    course: &Course,
    was: &Was,
) -> Result<(), Failure> {
    let before =
        |step: &crate::sim::replay::Step| was.get(&(step.cluster.clone(), step.at)).copied();
    let (outcome, at, why) = match &course.end {
        End::Passed { at } => ("passed", Some(*at), None),
        End::Failed { at, why } => ("failed", Some(*at), Some(why.as_str())),
        End::Open(why) => ("open", None, Some(why.as_str())),
    };
    let steps: Vec<_> = course
        .steps
        .iter()
        .map(|step| StepView {
            at: step.at,
            cluster: &step.cluster,
            verdict: step.judged.verdict,
            was: before(step),
            value: step.judged.value.filter(|value| value.is_finite()),
            detail: &step.judged.detail,
            soaked: step.soaked.to_string(),
        })
        .collect();
    let document = json!({
        "release": args.release,
        "ring": args.ring,
        "gate": args.gate,
        "judge": case.gate.judge.name(),
        "soak": case.ring.policy.soak.duration,
        "outcome": outcome,
        "at": at,
        "why": why,
        "firstFail": course.first_fail,
        "measurements": steps,
    });
    let people = || {
        let mut table = Table::new(&["AT", "CLUSTER", "VERDICT", "WAS", "SOAK", "WHY"]);
        let mut last: BTreeMap<&ClusterName, (Verdict, Option<Verdict>)> = BTreeMap::new();
        let mut like = 0;
        for (step, row) in course.steps.iter().zip(&steps) {
            // What changes nothing is told on a wide screen only.
            let said = (row.verdict, row.was);
            let new = last.insert(row.cluster, said) != Some(said) || Some(step.at) == at;
            if !new && !context.is_wide() {
                like += 1;
                continue;
            }
            table.row([
                instant(row.at).into(),
                row.cluster.to_string().into(),
                row.verdict.to_string().into(),
                row.was.map_or_else(|| "-".into(), |was| was.to_string()).into(),
                row.soaked.clone().into(),
                Cell::from(row.detail),
            ]);
        }
        let alike = match like {
            0 => String::new(),
            n => format!(
                "{n} measurements that say the same as before are left out; -o wide has them\n"
            ),
        };
        let later = course.first_fail.filter(|failed| at.is_some_and(|at| *failed > at));
        let later = later.map_or_else(String::new, |failed| {
            format!(
                "; of what came later, the measurement of {} is the first that fails",
                instant(failed)
            )
        });
        let end = match (&course.end, at.map(instant)) {
            (End::Passed { .. }, Some(at)) => {
                format!("it would have let the ring pass at {at}{later}\n")
            }
            (End::Failed { why, .. }, Some(at)) => {
                format!("it would have failed the ring at {at}: {why}\n")
            }
            (end, _) => {
                let why = if let End::Open(why) = end { why.as_str() } else { "" };
                format!("it would neither have failed the ring nor let it pass: {why}\n")
            }
        };
        format!("{}{alike}{end}", table.render(context.style))
    };
    let names = || vec![outcome.to_owned()];
    context.answer(&Answer::of(&document)?, names, people)
}
