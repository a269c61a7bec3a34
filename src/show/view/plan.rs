//! What is declared: plans, their rings, gates and rules.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    earliest::Expected,
    line::{PauseView, pauses},
    release::{ReleaseSummary, summary},
    ring::{RingView, each_once, ring},
};
use crate::{
    decide::{
        event::{Problem, Scope},
        world::{PlanState, World},
    },
    ids::{
        CalendarName, ClusterName, Commit, DataClass, GateName, Hash, Jurisdiction, PlanName,
        PolicyName, ReleaseId, RingName,
    },
    model::{
        graph::Join,
        judge::{Control, Pair},
        plan::{OnNewer, Plan},
        policy::{
            Approvals, Baseline, Direction, Gate, Judge, OnBreach, OnNoData, RollbackScope, Signal,
        },
        residency::{Enforcement, Rule},
        ring::Ring,
        time::{Now, Span},
    },
};

/// A plan as declared, with its releases.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanView {
    /// Its name.
    pub name: PlanName,
    /// The hash of the last good declaration.
    pub policy: Option<Hash>,
    /// The commit of that declaration.
    pub commit: Option<Commit>,
    /// What is changed in each cluster, such as `Deployment shop/checkout container app`.
    pub target: Option<String>,
    /// The classes of data that the service handles.
    pub data_classes: Vec<DataClass>,
    /// What a newer release does to one in motion.
    pub on_newer: Option<OnNewer>,
    /// The most distinct versions between a ring and those that it comes after.
    pub max_skew: Option<u32>,
    /// Its rings, each behind those that it comes after.
    pub rings: Vec<RingSpecView>,
    /// The residency rules that bind it.
    pub residency: Vec<ResidencyRuleView>,
    /// What is wrong with its declarations; while there is something, no release is admitted.
    pub problems: Vec<ProblemView>,
    /// Whether it is declared no more.
    pub withdrawn: bool,
    /// The pauses that concern it alone.
    pub pauses: Vec<PauseView>,
    /// Its releases, newest first.
    pub releases: Vec<ReleaseSummary>,
    /// It grows with every change, and the ETag begins with it.
    pub revision: u64,
}

/// A ring as declared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RingSpecView {
    /// The ring.
    pub name: RingName,
    /// The rings that it comes after.
    pub after: Vec<RingName>,
    /// Whether all of those must have passed, or any.
    pub join: Join,
    /// Its policy.
    pub policy: PolicyName,
    /// Its clusters, in the order in which they take a release.
    pub clusters: Vec<ClusterName>,
    /// Where they lie, each once.
    pub jurisdictions: Vec<Jurisdiction>,
    /// The healthy time to be credited.
    pub soak: Span,
    /// What a failing measurement does to it.
    pub on_breach: OnBreach,
    /// How long a target may take.
    pub deadline: Span,
    /// How many of its clusters deploy at once.
    pub concurrency: u32,
    /// How many of them may fail.
    pub failure_budget: u32,
    /// Whether it goes back by itself when it fails.
    pub automatic_rollback: bool,
    /// Which rings go back with it.
    pub rollback_scope: RollbackScope,
    /// How many of its clusters go back at once.
    pub rollback_concurrency: u32,
    /// Its gates.
    pub gates: Vec<GateName>,
    /// Who must agree before it starts.
    pub approvals: Option<ApprovalsView>,
    /// When it may start.
    pub calendars: Vec<CalendarName>,
    /// How long a release in motion is safe from a newer one.
    pub min_dwell: Span,
    /// How long it is measured still after it has passed.
    pub after_watch: Span,
}

/// Who must agree before a ring starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalsView {
    /// How many distinct people.
    pub count: u32,
    /// Any of these roles.
    pub roles: Vec<String>,
    /// Where they must belong to.
    pub jurisdiction: Option<Jurisdiction>,
    /// Whether the author is excluded.
    pub exclude_author: bool,
    /// How long an approval is good for.
    pub expires: Option<Span>,
}

/// A residency rule that binds a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResidencyRuleView {
    /// Its id.
    pub id: String,
    /// The document that declares it.
    pub policy: Option<PolicyName>,
    /// Whether it can be waived.
    pub enforcement: Enforcement,
    /// Where it is declared.
    pub declared_at: String,
}

/// Something wrong with a declaration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProblemView {
    /// Its rule, such as `DAG001`.
    pub rule: String,
    /// `file:line:column`.
    pub place: String,
    /// What is wrong.
    pub message: String,
}

/// A ring of a plan, with the release that matters on it now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanRingView {
    /// The plan.
    pub plan: PlanName,
    /// The ring as declared.
    pub ring: RingSpecView,
    /// The release in motion on it, or else the last that passed.
    pub release: Option<ReleaseId>,
    /// How far that release is.
    pub state: Option<RingView>,
    /// The plan's revision.
    pub revision: u64,
}

/// A gate as declared for a ring.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GateSpecView {
    /// The plan.
    pub plan: PlanName,
    /// The ring.
    pub ring: RingName,
    /// The gate.
    pub name: GateName,
    /// What kind of signal it reads.
    pub signal: Signal,
    /// The metric source of that name on each cluster.
    pub provider: String,
    /// The query.
    pub query: String,
    /// The query for the number of samples.
    pub samples: Option<String>,
    /// How a measurement is judged, in words: `at most 0.4 s`.
    pub judge: String,
    /// The time between two measurements.
    pub interval: Span,
    /// The time from the start of the soak to the first.
    pub initial_delay: Span,
    /// Fewer samples make a measurement Insufficient.
    pub min_samples: Option<f64>,
    /// The samples needed over the whole soak.
    pub min_total_samples: Option<f64>,
    /// More failing measurements fail the ring; missing where only those in a row do.
    pub failure_limit: Option<u32>,
    /// More failing measurements in a row fail the ring.
    #[serde(default)]
    pub consecutive_failure_limit: Option<u32>,
    /// More errors in a row hold the ring.
    pub consecutive_error_limit: u32,
    /// What happens without usable measurements.
    pub on_no_data: OnNoData,
    /// After how long without one.
    pub no_data_deadline: Span,
    /// Whether it can hold or fail the ring.
    pub required: bool,
    /// The unit of a measurement, for display.
    pub unit: Option<String>,
}

/// A plan with everything about it.
pub fn plan(world: &World, name: &PlanName, state: &PlanState, now: Now) -> PlanView {
    PlanView {
        releases: state.in_order().rev().map(|release| summary(world, release, now)).collect(),
        ..plan_alone(world, name, state)
    }
}

/// The same without its releases, of which there may be many.
pub fn plan_alone(world: &World, name: &PlanName, state: &PlanState) -> PlanView {
    let declared = state.declared.as_deref();
    let own = |scope: &Scope| match scope {
        Scope::Everything | Scope::Jurisdiction(_) => false,
        Scope::Plan(plan) | Scope::Ring(plan, _) => plan == name,
        Scope::Release(id) | Scope::ReleaseRing(id, _) => id.plan == *name,
    };
    PlanView {
        name: name.clone(),
        policy: declared.map(|plan| plan.hash.clone()),
        commit: declared.map(|plan| plan.commit.clone()),
        target: declared.map(|plan| plan.target.to_string()),
        data_classes: declared.map_or_else(Vec::new, |plan| plan.data_classes.clone()),
        on_newer: declared.map(|plan| plan.on_newer),
        max_skew: declared.and_then(|plan| plan.max_skew),
        rings: declared.map_or_else(Vec::new, ring_specs),
        residency: declared.map_or_else(Vec::new, |plan| plan.residency.iter().map(rule).collect()),
        problems: state.problems.iter().map(problem).collect(),
        withdrawn: state.withdrawn,
        pauses: pauses(world, own),
        releases: Vec::new(),
        revision: state.revision,
    }
}

/// The plans that `shown` lets through.
pub fn plans(world: &World, now: Now, shown: impl Fn(&PlanName) -> bool) -> Vec<PlanView> {
    let all = world.plans.iter().filter(|(name, _)| shown(name));
    all.map(|(name, state)| plan(world, name, state, now)).collect()
}

/// A ring as declared and what is on it; nothing where the plan declares no such ring.
pub fn plan_ring(
    world: &World,
    name: &PlanName,
    state: &PlanState,
    wanted: &RingName,
    now: Now,
) -> Option<PlanRingView> {
    use crate::decide::world::Phase;
    let declared = state.declared.as_deref()?;
    let passed = || {
        let here = |phase: Option<Phase>| phase == Some(Phase::Passed);
        state.in_order().rev().find(|r| here(r.ring(wanted).map(|run| run.phase)))
    };
    let release = state.in_motion(wanted).or_else(passed);
    Some(PlanRingView {
        plan: name.clone(),
        ring: ring_spec(declared, declared.ring(wanted)?),
        release: release.map(|release| release.id.clone()),
        state: release.and_then(|release| {
            ring(world, release, wanted, &Expected::of(world, release, now), now)
        }),
        revision: state.revision,
    })
}

/// The gates of the plans that `shown` lets through.
pub fn gates(world: &World, shown: impl Fn(&PlanName) -> bool) -> Vec<GateSpecView> {
    let plans = world.plans.iter().filter(|(name, _)| shown(name));
    plans.filter_map(|(_, state)| state.declared.as_deref()).flat_map(gate_specs).collect()
}

/// The gates of a plan as declared.
pub fn gate_specs(plan: &Plan) -> Vec<GateSpecView> {
    let of = |ring: &Ring| {
        let gates = ring.policy.gates.iter();
        gates.map(|gate| spec(&plan.name, ring, gate)).collect::<Vec<_>>()
    };
    plan.rings.iter().flat_map(of).collect()
}

/// The rings of a plan as declared.
pub fn ring_specs(plan: &Plan) -> Vec<RingSpecView> {
    plan.rings.iter().map(|ring| ring_spec(plan, ring)).collect()
}

fn ring_spec(plan: &Plan, ring: &Ring) -> RingSpecView {
    let (after, policy) = (plan.graph.after(&ring.name), &ring.policy);
    let size = ring.clusters.len();
    let at_once = policy.concurrency.of(size);
    let back_at_once = policy.rollback.concurrency.map_or(size, |at_once| at_once.of(size));
    RingSpecView {
        name: ring.name.clone(),
        after: after.rings.clone(),
        join: after.join,
        policy: policy.name.clone(),
        clusters: ring.clusters.iter().map(|cluster| cluster.name.clone()).collect(),
        jurisdictions: each_once(ring.clusters.iter().map(|c| c.jurisdiction.clone())),
        soak: policy.soak.duration,
        on_breach: policy.soak.on_breach,
        deadline: policy.deadline,
        concurrency: u32::try_from(at_once).unwrap_or(u32::MAX),
        failure_budget: policy.failure_budget,
        automatic_rollback: policy.rollback.automatic,
        rollback_scope: policy.rollback.scope,
        rollback_concurrency: u32::try_from(back_at_once.min(size)).unwrap_or(u32::MAX),
        gates: policy.gates.iter().map(|gate| gate.name.clone()).collect(),
        approvals: policy.approvals.as_ref().map(approvals),
        calendars: policy.calendars.iter().map(|calendar| calendar.name.clone()).collect(),
        min_dwell: policy.min_dwell,
        after_watch: policy.after_watch,
    }
}

fn approvals(needed: &Approvals) -> ApprovalsView {
    ApprovalsView {
        count: needed.count,
        roles: needed.roles.clone(),
        jurisdiction: needed.jurisdiction.as_ref().map(|territory| territory.name.clone()),
        exclude_author: needed.exclude_author,
        expires: needed.expires,
    }
}

fn rule(rule: &Rule) -> ResidencyRuleView {
    ResidencyRuleView {
        id: rule.id.clone(),
        policy: rule.policy.clone(),
        enforcement: rule.enforcement,
        declared_at: rule.declared_at.clone(),
    }
}

fn problem(problem: &Problem) -> ProblemView {
    let Problem { rule, place, message } = problem.clone();
    ProblemView { rule, place, message }
}

fn spec(plan: &PlanName, ring: &Ring, gate: &Gate) -> GateSpecView {
    GateSpecView {
        plan: plan.clone(),
        ring: ring.name.clone(),
        name: gate.name.clone(),
        signal: gate.signal,
        provider: gate.provider.clone(),
        query: gate.query.to_string(),
        samples: gate.samples.as_ref().map(ToString::to_string),
        judge: judge(gate),
        interval: gate.interval,
        initial_delay: gate.initial_delay,
        min_samples: gate.min_samples,
        min_total_samples: gate.min_total_samples,
        failure_limit: gate.failure_limit,
        consecutive_failure_limit: gate.consecutive_failure_limit,
        consecutive_error_limit: gate.consecutive_error_limit,
        on_no_data: gate.on_no_data,
        no_data_deadline: gate.no_data_deadline,
        required: gate.required,
        unit: gate.unit.clone(),
    }
}

fn judge(gate: &Gate) -> String {
    let unit = gate.unit.as_deref().map(|unit| format!(" {unit}")).unwrap_or_default();
    match &gate.judge {
        Judge::Threshold { min: Some(min), max: Some(max) } => format!("{min} to {max}{unit}"),
        Judge::Threshold { min: Some(min), max: None } => format!("at least {min}{unit}"),
        Judge::Threshold { min: None, max: Some(max) } => format!("at most {max}{unit}"),
        Judge::Threshold { min: None, max: None } => "any number".into(),
        Judge::Relative { baseline, max_degradation, direction, floor } => {
            let way = match direction {
                Direction::Increase => "more",
                Direction::Decrease => "less",
            };
            let than = match baseline {
                Baseline::Before => "before the deploy".into(),
                Baseline::Stable(_) => "the stable population".into(),
                Baseline::Ring(ring) => format!("ring {ring}"),
            };
            let beyond = if *floor > 0.0 { format!(" and {floor}{unit}") } else { String::new() };
            format!("at most {}%{beyond} {way} than {than}", max_degradation * 100.0)
        }
        Judge::MannWhitney(declared) => {
            let control = match &declared.control {
                Control::Before => "before the deploy",
                Control::Stable(_) => "the stable population",
            };
            let (sure, way) = (declared.rules.confidence * 100.0, declared.rules.direction);
            format!("with {sure}% confidence not {way} than {control} (Mann-Whitney)")
        }
        Judge::Sequential(declared) => {
            let (alpha, r0) = (declared.alpha * 100.0, declared.r0);
            let margin = declared.margin;
            format!(
                "errors below {margin} times the stable population's, and failing above {r0} times \
                 with at most {alpha}% false alarms (sequential)"
            )
        }
        Judge::BurnRate(declared) => {
            let pair = |pair: &Pair| format!("{} over {} and {}", pair.rate, pair.long, pair.short);
            let pairs: Vec<_> = declared.windows.iter().map(pair).collect();
            let objective = declared.objective * 100.0;
            format!("burns the error budget of {objective}% no faster than {}", pairs.join(", or "))
        }
        Judge::Alerts(declared) => {
            let matchers = declared.matchers.iter();
            let matchers: Vec<_> = matchers.map(|(l, value)| format!("{l}={value:?}")).collect();
            format!("no alert with {} fires", matchers.join(", "))
        }
        Judge::Webhook => format!("webhook {} says so", gate.provider),
        Judge::Kubernetes(declared) => format!(
            "every replica ready, no crash loop, at most {} restarts",
            declared.max_restarts
        ),
    }
}
