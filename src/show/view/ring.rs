//! A release on a ring.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    cluster::Running,
    debt::{self, DebtView},
    earliest::{EarliestView, Expected},
};
use crate::{
    decide::{
        event::{Status, TargetState, figure},
        fact::{Judged, Verdict},
        phase::{self, RingPhase},
        waiting::{HoldKind, WaitingOn, waiting_on},
        world::{ClusterRun, GateRun, PlanState, Release, RingRun, Step, World},
    },
    ids::{ClusterName, GateName, Jurisdiction, Region, RingName},
    model::{
        graph::Join,
        policy::{Gate, OnBreach},
        ring::{Cluster, Ring},
        time::{Now, Span},
    },
    show::words::{self, Ender, Words},
};

/// A release on a ring.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RingView {
    /// The ring.
    pub name: RingName,
    /// The rings that it comes after.
    pub after: Vec<RingName>,
    /// Whether all of those must have passed, or any.
    pub join: Join,
    /// How far the release is.
    pub phase: RingPhase,
    /// Since when; a hold begins when the ring became free, which is not recorded.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// The attempt that runs or ran; 0 before the first.
    pub attempt: u32,
    /// When the attempt started.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// The soak; missing where the release has not started.
    pub soak: Option<SoakView>,
    /// The required gates; missing where the release has not started.
    pub gates: Option<GateCount>,
    /// Where its clusters lie, each once.
    pub jurisdictions: Vec<Jurisdiction>,
    /// Its clusters, in the order in which they take the release.
    pub clusters: Vec<ClusterView>,
    /// The latest measurement of each gate on each cluster.
    pub measurements: Vec<GateView>,
    /// Everything that holds it, at once; what somebody can end comes first.
    pub holds: Vec<HoldView>,
    /// What a hotfix did without here, and was not made up for yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub debts: Vec<DebtView>,
    /// What it waits for without being held, in words.
    pub waits: Vec<String>,
    /// When it could start and pass; missing where it has passed, or is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earliest: Option<EarliestView>,
    /// The one sentence to read; empty where there is nothing to say.
    pub info: String,
}

/// How far a soak is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SoakView {
    /// Healthy time credited, in seconds.
    pub credited_seconds: f64,
    /// Healthy time needed, in seconds.
    pub required_seconds: f64,
    /// Whether it runs, or stands still.
    pub running: bool,
}

/// How many of the required gates pass on every cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GateCount {
    /// Whose latest verdict is Pass on every cluster that is measured.
    pub passing: u32,
    /// All of them.
    pub required: u32,
}

/// A cluster of a ring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterView {
    /// The cluster.
    pub name: ClusterName,
    /// Its cloud region.
    pub region: Region,
    /// The country whose law it is under.
    pub jurisdiction: Jurisdiction,
    /// How far the release is there: `planned`, `deploying`, `ready`, `failed`, `restoring`,
    /// `restored` or `stuck`.
    pub step: String,
    /// Why it failed or is stuck.
    pub cause: Option<String>,
    /// How its target is, in words.
    pub status: String,
    /// What runs there, as far as it can be seen.
    pub running: Option<Running>,
}

/// The latest measurement of a gate on a cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GateView {
    /// The gate.
    pub gate: GateName,
    /// The cluster.
    pub cluster: ClusterName,
    /// Whether it can hold or fail the ring.
    pub required: bool,
    /// What it says.
    pub verdict: Verdict,
    /// What was measured; `inf` and `-inf` are text. Missing where there was no number, or where a
    /// residency rule keeps it where it was measured.
    #[serde(with = "figure::option", default)]
    #[schema(value_type = Option<f64>)]
    pub value: Option<f64>,
    /// What it was compared with.
    #[serde(with = "figure::option", default)]
    #[schema(value_type = Option<f64>)]
    pub against: Option<f64>,
    /// The samples behind it.
    #[serde(with = "figure::option", default)]
    #[schema(value_type = Option<f64>)]
    pub samples: Option<f64>,
    /// The unit of `value`, for display.
    pub unit: Option<String>,
    /// One sentence with the figures.
    pub detail: String,
    /// When it was judged.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Failing measurements of this attempt.
    pub failures: u32,
    /// More than this fail the ring; missing where only those in a row do.
    pub failure_limit: Option<u32>,
    /// Errors in a row.
    pub errors_in_a_row: u32,
    /// More than this hold the ring.
    pub consecutive_error_limit: u32,
}

/// Something that holds a ring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HoldView {
    /// Its kind.
    pub kind: HoldKind,
    /// What it is, in words.
    pub message: String,
    /// What would end it, in words.
    pub ended_by: String,
    /// Who or what would.
    pub ender: Ender,
    /// When it ends, where that is known.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ends: Option<Timestamp>,
}

impl HoldView {
    /// A hold with its words.
    pub fn new(kind: HoldKind, words: Words) -> Self {
        let Words { message, ended_by, ends, ender } = words;
        Self { kind, message, ended_by, ender, ends }
    }
}

/// What is shown of `release` on the ring of that name; nothing where its plan has none.
pub fn ring(
    world: &World,
    release: &Release,
    name: &RingName,
    expected: &Expected<'_>,
    now: Now,
) -> Option<RingView> {
    let (declared, run) = (release.plan.ring(name)?, release.ring(name)?);
    let plan = world.plans.get(&release.id.plan)?;
    let phase = phase::of_ring(world, release, name, now);
    let waiting = waiting_on(world, release, name, now);
    let begun = has_begun(phase, run);
    let after = release.plan.graph.after(name);
    let measurements = measurements(release, declared, run);
    let jurisdictions = declared.clusters.iter().map(|c| c.jurisdiction.clone());
    let in_words = |w: &WaitingOn| words::of(w, world, release, name, now);
    let holds = waiting.iter().filter_map(|w| Some(HoldView::new(w.hold()?, in_words(w))));
    let waits = waiting.iter().filter(|w| w.hold().is_none()).map(|w| in_words(w).message);
    let (mut holds, waits) = (holds.collect::<Vec<_>>(), waits.collect::<Vec<_>>());
    holds.sort_by_key(|hold| hold.ender);
    let look = Look { release, ring: declared, run, phase, now };
    let debts = debt::of_ring(release, name);
    let info = match (phase, debts.as_slice()) {
        (RingPhase::Passed, debts) => {
            let owed: Vec<_> = debts.iter().map(|debt| debt.message.as_str()).collect();
            let said = match owed.as_slice() {
                [] => look.info(&holds, &waits, &measurements),
                owed => format!("owes: {}", owed.join("; ")),
            };
            // Nothing of the release waits for it any more; the next one will.
            let pauses = world.shared.paused(release, declared);
            let pauses = pauses.map(|(scope, pause)| words::paused(scope, &pause.said));
            let all = std::iter::once(said).filter(|said| !said.is_empty()).chain(pauses);
            all.collect::<Vec<_>>().join("; ")
        }
        (_, _) => look.info(&holds, &waits, &measurements),
    };
    Some(RingView {
        name: name.clone(),
        after: after.rings.clone(),
        join: after.join,
        phase,
        since: run.entered.wall,
        attempt: run.attempt,
        started_at: run.started.map(|at| at.wall),
        soak: begun.then(|| soak(declared, run)),
        gates: begun.then(|| gate_count(declared, run)),
        jurisdictions: each_once(jurisdictions),
        clusters: clusters(plan, declared, run),
        info,
        earliest: expected.on(name),
        debts,
        measurements,
        holds,
        waits,
    })
}

/// Whether this attempt has started: a retry goes back to before its start.
fn has_begun(phase: RingPhase, run: &RingRun) -> bool {
    !matches!(phase, RingPhase::Waiting | RingPhase::Held) && run.started.is_some()
}

fn soak(ring: &Ring, run: &RingRun) -> SoakView {
    SoakView {
        credited_seconds: run.soak.credited.as_seconds(),
        required_seconds: ring.policy.soak.duration.as_seconds(),
        running: run.soak.healthy_at.is_some(),
    }
}

fn gate_count(ring: &Ring, run: &RingRun) -> GateCount {
    let measured: Vec<&ClusterName> =
        run.clusters.iter().filter(|(_, c)| is_judged(&c.step)).map(|(name, _)| name).collect();
    let passes = |gate: &GateName, cluster: &ClusterName| {
        let run = run.gates.get(&(cluster.clone(), gate.clone()));
        let latest = run.and_then(|run| run.latest.as_ref());
        latest.is_some_and(|(judged, _)| judged.verdict == Verdict::Pass)
    };
    let required = || ring.policy.gates.iter().filter(|gate| gate.required);
    let passing = required()
        .filter(|gate| !measured.is_empty() && measured.iter().all(|c| passes(&gate.name, c)));
    GateCount { passing: passing.count() as u32, required: required().count() as u32 }
}

/// A cluster that failed within the budget is judged no more.
fn is_judged(step: &Step) -> bool {
    match step {
        Step::Planned | Step::Deploying | Step::Ready => true,
        Step::Failed(_) | Step::Restoring | Step::Restored | Step::Stuck(_) => false,
    }
}

fn measurements(release: &Release, ring: &Ring, run: &RingRun) -> Vec<GateView> {
    let gates: BTreeMap<&GateName, &Gate> =
        ring.policy.gates.iter().map(|gate| (&gate.name, gate)).collect();
    let measured = run.gates.iter().filter_map(|((cluster, name), gate_run)| {
        let (judged, at) = gate_run.latest.as_ref()?;
        let withheld = words::withheld(&release.plan, cluster);
        Some(gate_view(gates.get(name)?, cluster, gate_run, judged, at.wall, withheld))
    });
    measured.collect()
}

fn gate_view(
    gate: &Gate,
    cluster: &ClusterName,
    run: &GateRun,
    judged: &Judged,
    at: Timestamp,
    withheld: bool,
) -> GateView {
    let shown = |figure: Option<f64>| figure.filter(|_| !withheld);
    let detail = match withheld {
        true => words::WITHHELD.into(),
        false => judged.detail.clone(),
    };
    GateView {
        gate: gate.name.clone(),
        cluster: cluster.clone(),
        required: gate.required,
        verdict: judged.verdict,
        value: shown(judged.value),
        against: shown(judged.against),
        samples: shown(judged.samples),
        unit: gate.unit.clone(),
        detail,
        at,
        failures: run.failures,
        failure_limit: gate.failure_limit,
        errors_in_a_row: run.errors_in_a_row,
        consecutive_error_limit: gate.consecutive_error_limit,
    }
}

fn clusters(plan: &PlanState, ring: &Ring, run: &RingRun) -> Vec<ClusterView> {
    let view = |cluster: &Cluster| {
        let planned = ClusterRun::default();
        let here = run.clusters.get(&cluster.name).unwrap_or(&planned);
        let state = plan.targets.get(&cluster.name).and_then(|target| target.state.as_ref());
        let (step, cause) = step(&here.step);
        ClusterView {
            name: cluster.name.clone(),
            region: cluster.region.clone(),
            jurisdiction: cluster.jurisdiction.clone(),
            step: step.into(),
            cause: cause.cloned(),
            status: status(state),
            running: Running::of(plan, state),
        }
    };
    ring.clusters.iter().map(view).collect()
}

fn step(step: &Step) -> (&'static str, Option<&String>) {
    match step {
        Step::Planned => ("planned", None),
        Step::Deploying => ("deploying", None),
        Step::Ready => ("ready", None),
        Step::Failed(cause) => ("failed", Some(cause)),
        Step::Restoring => ("restoring", None),
        Step::Restored => ("restored", None),
        Step::Stuck(cause) => ("stuck", Some(cause)),
    }
}

/// How a target is, in words.
pub(super) fn status(state: Option<&TargetState>) -> String {
    match state.map(|state| &state.status) {
        None => "not seen yet".into(),
        Some(Status::Pending) => "taken up by nobody yet".into(),
        Some(Status::Progressing(how)) => how.clone(),
        Some(Status::Paused) => "paused in the cluster".into(),
        Some(Status::Succeeded) => "ready".into(),
        Some(Status::Failed(why)) => format!("failed: {why}"),
        Some(Status::Unknown(why)) => format!("unknown: {why}"),
    }
}

/// What the one sentence is made from.
struct Look<'a> {
    release: &'a Release,
    ring: &'a Ring,
    run: &'a RingRun,
    phase: RingPhase,
    now: Now,
}

impl Look<'_> {
    fn info(&self, holds: &[HoldView], waits: &[String], measurements: &[GateView]) -> String {
        let held = || holds.iter().map(|hold| hold.message.as_str()).collect::<Vec<_>>().join("; ");
        match self.phase {
            RingPhase::Waiting => waits.join("; "),
            RingPhase::Held => held(),
            RingPhase::Deploying if holds.is_empty() => self.deploying(),
            RingPhase::Soaking if holds.is_empty() => self.soaking(measurements),
            RingPhase::Deploying | RingPhase::Soaking => held(),
            RingPhase::RollingBack => {
                let why = [self.run.cause.clone().unwrap_or_default(), held()];
                why.into_iter().filter(|w| !w.is_empty()).collect::<Vec<_>>().join("; ")
            }
            RingPhase::Failed => self.failed(),
            RingPhase::RolledBack => self.run.cause.clone().unwrap_or_default(),
            RingPhase::Aborted => match &self.release.aborted {
                Some(said) => format!("aborted by {}", said.by.name),
                None => String::new(),
            },
            RingPhase::Superseded => "a newer release took its place".into(),
            RingPhase::Passed if self.run.watched => self.watched(measurements),
            RingPhase::Passed => String::new(),
        }
    }

    /// Until when it is watched: later by as long as ringward was away meanwhile.
    fn watched(&self, measurements: &[GateView]) -> String {
        let ends = self.run.entered.wall.saturating_add(self.ring.policy.after_watch.to_signed());
        let until = ends
            .map_or_else(|_| String::new(), |at| format!(" until {}", words::utc(at, self.now)));
        let required = measurements.iter().filter(|m| m.required && m.verdict != Verdict::Pass);
        let worst = required.min_by_key(|m| m.verdict);
        let worst = worst.map(|m| format!("; {} on {} is {}", m.gate, m.cluster, m.verdict));
        format!("watched{until}{}", worst.unwrap_or_default())
    }

    fn deploying(&self) -> String {
        let ready = self.run.clusters.values().filter(|c| c.step == Step::Ready).count();
        format!("{ready} of {} clusters ready", self.run.clusters.len())
    }

    /// The worst of the required gates; a dry run worries nobody.
    fn soaking(&self, measurements: &[GateView]) -> String {
        let required = measurements.iter().filter(|m| m.required);
        let Some(worst) = required.filter(|m| m.verdict != Verdict::Pass).min_by_key(|m| m.verdict)
        else {
            return String::new();
        };
        let GateView { gate, cluster, verdict, detail, .. } = worst;
        let figures = if worst.value.is_some() { detail.clone() } else { verdict.to_string() };
        let place =
            if self.run.clusters.len() > 1 { format!(" on {cluster}") } else { String::new() };
        let soak = match (verdict, self.ring.policy.soak.on_breach) {
            (Verdict::Fail, OnBreach::Reset) => {
                format!(", soak reset {}", words::utc(worst.at, self.now))
            }
            (Verdict::Fail, OnBreach::Freeze | OnBreach::Fail)
            | (Verdict::Insufficient | Verdict::Absent | Verdict::Error, _) => {
                ", soak stands still".into()
            }
            (Verdict::Pass, _) => String::new(),
        };
        format!("{gate}{place} {figures}{soak}")
    }

    fn failed(&self) -> String {
        let stuck = self.run.clusters.iter().filter(|(_, c)| matches!(c.step, Step::Stuck(_)));
        let stuck: Vec<&str> = stuck.map(|(name, _)| name.as_str()).collect();
        let cause = self.run.cause.clone().unwrap_or_default();
        match stuck.as_slice() {
            [] => cause,
            names => format!("{cause}; cannot be taken back: {}", names.join(", ")),
        }
    }
}

/// How long until the soak is over, if it runs on.
pub(super) fn soak_left(ring: &Ring, run: &RingRun) -> Span {
    let left = ring.policy.soak.duration.saturating_sub(run.soak.credited);
    // Whole seconds, rounded up: nobody reads milliseconds of a soak.
    Span::seconds(left.0.div_ceil(1_000))
}

/// Each once, in the order of its first.
pub(super) fn each_once<T: PartialEq>(items: impl Iterator<Item = T>) -> Vec<T> {
    items.fold(Vec::new(), |mut list, item| {
        if !list.contains(&item) {
            list.push(item);
        }
        list
    })
}
