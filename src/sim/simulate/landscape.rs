//! What there is before anything happens: clusters, plans, and how the fleet behaves.
//!
//! Plans are valid as declarations are: no cluster stands in two rings of a plan, every gate has a
//! source, every calendar opens again. What is random is everything else.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    sync::Arc,
};

use jiff::Timestamp;

use super::chance::Chance;
use crate::{
    ids::{ClusterName, PlanName, RingName, Version},
    model::{
        blocs,
        calendar::{AppliesTo, Calendar, Deny, InFlight, Window},
        check,
        graph::{After, Join, RingGraph},
        judge::{Control, MannWhitney, MannWhitneyRules, Worse},
        lane::{Hotfix, Lanes, Shortened},
        limits::{Limits, MotionLimits, PerPlace, RollbackLimits},
        plan::{OnNewer, OnPolicyChange, Plan},
        policy::{
            Approvals, Baseline, Concurrency, Direction, Gate, Judge, OnBreach, OnNoData, Policy,
            Rollback, RollbackScope, Signal, Soak,
        },
        residency::{Demand, Enforcement, Home, Registry, Rule, Territory},
        ring::{Artifact, Cluster, MetricSource, ProviderKind, Ring, Target, TargetKind},
        time::Span,
    },
    sim::{
        fleet::{Series, Site, Stretch},
        notation::Values,
        scenario,
    },
};

/// What every gate's query answers while nobody lies.
pub(super) const HEALTHY: f64 = 1.0;

/// Every outage of the fleet's own ends before this.
pub(super) const OUTAGES_END: Span = Span::minutes(90);

/// Releases of a plan that the fleet knows an end for; none is released beyond them.
const VERSIONS: u64 = 40;

/// Things that somebody may put there by hand.
const BY_HAND: u64 = 10;

/// The version that runs before any release.
pub(super) const BEFORE: &str = "before";

/// A world before anything happens.
#[derive(Debug)]
pub(super) struct Landscape {
    pub(super) start: Timestamp,
    /// Every cluster that is declared, whether or not a plan has it.
    pub(super) clusters: Vec<Cluster>,
    /// Where the server stands, by its settings.
    pub(super) home: Home,
    pub(super) plans: Vec<Arc<Plan>>,
    pub(super) sites: BTreeMap<ClusterName, Site>,
    pub(super) series: Vec<Series>,
    /// What its controller gives up in a cluster, instead of trying for ever.
    pub(super) given_up: BTreeSet<(ClusterName, Artifact)>,
    /// What the settings limit.
    pub(super) limits: Limits,
    /// Targets that do not exist, though a plan names them.
    pub(super) missing: BTreeSet<(PlanName, ClusterName)>,
}

impl Landscape {
    pub(super) fn new(chance: &mut Chance) -> Self {
        let start = Timestamp::from_second(1_772_000_000 + chance.below(30_000_000) as i64);
        let start = start.unwrap_or(Timestamp::UNIX_EPOCH);
        let clusters = clusters(chance);
        let count = chance.between(1, 3);
        let names = ["search", "checkout", "mail"];
        let plans: Vec<_> = names
            .iter()
            .take(count as usize)
            .map(|name| Arc::new(plan(chance, name, &clusters, start)))
            .collect();
        let mut given_up = BTreeSet::new();
        let mut sites = BTreeMap::new();
        for cluster in &clusters {
            let mut site = Site {
                deploy_time: chance.seconds(1, 90),
                unreachable: outages(chance, 25),
                unready: outages(chance, 20),
                forgetful: chance.percent(10),
                never_ready: Vec::new(),
            };
            for plan in &plans {
                for n in 1..=VERSIONS {
                    if !chance.percent(4) {
                        continue;
                    }
                    let artifact = artifact(&plan.name, &version(n));
                    if chance.percent(50) {
                        given_up.insert((cluster.name.clone(), artifact.clone()));
                    }
                    site.never_ready.push(artifact);
                }
            }
            sites.insert(cluster.name.clone(), site);
        }
        let mut missing = BTreeSet::new();
        for plan in &plans {
            for cluster in plan.clusters() {
                if chance.percent(2) {
                    missing.insert((plan.name.clone(), cluster.name.clone()));
                }
            }
        }
        let limits = limits(chance);
        let home = home(chance);
        Self { start, clusters, home, plans, sites, series: series(), given_up, limits, missing }
    }
}

/// The n-th version that is released.
pub(super) fn version(n: u64) -> Version {
    format!("{n}").into()
}

/// Whether there may be an n-th version.
pub(super) fn is_known(n: u64) -> bool {
    n <= VERSIONS
}

/// Every version that may run somewhere.
pub(super) fn known_versions() -> impl Iterator<Item = Version> {
    let by_hand = (0..BY_HAND).map(by_hand);
    (1..=VERSIONS).map(version).chain(by_hand).chain([BEFORE.into()])
}

/// What somebody puts there by hand.
pub(super) fn by_hand(n: u64) -> Version {
    format!("hand-{}", n % BY_HAND).as_str().into()
}

/// What a version deploys; the version `before` is what ran before ringward came.
pub(super) fn artifact(plan: &PlanName, version: &Version) -> Artifact {
    scenario::artifact(plan, version)
}

/// Now and then few enough that rollbacks wait, and never so few that they wait for days.
fn limits(chance: &mut Chance) -> Limits {
    let mut few = |least, most| {
        let n = chance.between(least, most) as u32;
        NonZeroU32::new(n).filter(|_| chance.percent(50))
    };
    let rollbacks = RollbackLimits { at_once: few(1, 1), per_hour: few(1, 4) };
    let (rings, each) = (few(1, 3), few(1, 2));
    let place = few(1, 2);
    let per_region = match each.filter(|_| chance.percent(50)) {
        Some(each) => PerPlace::Each(each),
        None => PerPlace::default(),
    };
    let per_jurisdiction = match place.filter(|_| chance.percent(50)) {
        Some(most) => PerPlace::Named([("EU".into(), most)].into()),
        None => PerPlace::default(),
    };
    let rings = rings.filter(|_| chance.percent(50));
    Limits { rollbacks, in_motion: MotionLimits { rings, per_region, per_jurisdiction } }
}

/// Mostly where every rule wants its state to be.
fn home(chance: &mut Chance) -> Home {
    let place = |abroad: bool| if abroad { "US" } else { "DE" };
    let at = |chance: &mut Chance| Some(place(chance.percent(8)).into());
    Home { evaluator: Some("DE".into()), data: at(chance), backups: at(chance) }
}

fn outages(chance: &mut Chance, percent: u64) -> Vec<Stretch> {
    let count = if chance.percent(percent) { chance.between(1, 3) } else { 0 };
    let last = OUTAGES_END.0 / 1_000 - 600;
    (0..count)
        .map(|_| Stretch { from: chance.seconds(0, last), length: chance.seconds(5, 600) })
        .collect()
}

fn series() -> Vec<Series> {
    // A series ends; this one outlasts every simulated run.
    let healthy: Values = format!("{HEALTHY}x1000000000").parse().unwrap_or_default();
    GATES
        .iter()
        .map(|gate| Series {
            gate: (*gate).into(),
            cluster: None,
            plan: None,
            role: None,
            values: healthy.clone(),
            samples: None,
            from: Span::ZERO,
            every: None,
        })
        .collect()
}

const PLACES: [(&str, &str); 5] = [
    ("eu-central", "DE"),
    ("eu-west", "IE"),
    ("us-east", "US"),
    ("us-west", "US"),
    ("zurich", "CH"),
];

fn clusters(chance: &mut Chance) -> Vec<Cluster> {
    let count = chance.between(3, 9);
    let mut clusters: Vec<_> = (0..count)
        .map(|n| {
            let (region, jurisdiction) = chance.one(PLACES);
            let name = format!("{region}-{n}");
            Cluster {
                name: name.as_str().into(),
                labels: BTreeMap::new(),
                region: region.into(),
                jurisdiction: jurisdiction.into(),
                data_classes: Vec::new(),
                failover_pair: None,
                verified_until: None,
                connection: name,
                metrics: vec![MetricSource {
                    name: "prometheus".into(),
                    kind: ProviderKind::Prometheus,
                    url: "http://prometheus".into(),
                    jurisdiction: Some(jurisdiction.into()),
                }],
            }
        })
        .collect();
    for pair in clusters.chunks_exact_mut(2) {
        if let [one, other] = pair
            && chance.percent(40)
        {
            one.failover_pair = Some(other.name.clone());
            other.failover_pair = Some(one.name.clone());
        }
    }
    clusters
}

const RINGS: [&str; 6] = ["internal", "beta", "west", "east", "central", "rest"];

fn plan(chance: &mut Chance, name: &str, clusters: &[Cluster], start: Timestamp) -> Plan {
    let mut pool = clusters.to_vec();
    chance.shuffle(&mut pool);
    let mut rings = Vec::new();
    let mut graph = Vec::new();
    let count = chance.between(1, 5);
    for ring in RINGS.iter().take(count as usize) {
        let wanted = chance.between(1, 3) as usize;
        let members: Vec<_> = pool.drain(..wanted.min(pool.len())).collect();
        if members.is_empty() {
            break;
        }
        graph.push(((*ring).into(), after(chance, &rings)));
        let policy = policy(chance, members.len(), start);
        rings.push(Ring { name: (*ring).into(), clusters: members, policy: policy.into() });
    }
    let graph = RingGraph::new(graph).expect("each ring comes after rings before it only");
    let on_newer = chance.one([
        OnNewer::QueueLatest,
        OnNewer::QueueLatest,
        OnNewer::FinishThen,
        OnNewer::ReplaceIfUnhealthy,
        OnNewer::Manual,
    ]);
    sound(Plan {
        name: name.into(),
        hash: format!("{name}-1").into(),
        commit: "1".into(),
        target: Target {
            kind: TargetKind::Deployment { container: "app".into() },
            namespace: "shop".into(),
            name: name.into(),
        },
        data_classes: Vec::new(),
        on_newer,
        on_policy_change: on_policy_change(chance),
        max_skew: chance.percent(25).then(|| chance.between(1, 3) as u32),
        lanes: Lanes { hotfix: chance.percent(50).then(|| hotfix(chance, &rings)) },
        graph,
        residency: residency(chance, &rings),
        rings,
    })
}

/// The plan, without a lane that no declaration could give it.
fn sound(mut plan: Plan) -> Plan {
    let gates = plan.rings.iter().flat_map(|ring| &ring.policy.gates);
    let gates: BTreeSet<_> = gates.map(|gate| gate.name.clone()).collect();
    if let Some(lane) = &mut plan.lanes.hotfix {
        lane.defer_gates.retain(|gate| gates.contains(gate));
    }
    for ring in &mut plan.rings {
        let Policy { soak, gates, .. } = &mut *ring.policy;
        let mut required = gates.iter().filter(|gate| gate.required).peekable();
        soak.backfill &= required.peek().is_some() && required.all(|g| g.judge.knows_the_past());
    }
    let mut wrong = check::lanes::notes(&plan).into_iter();
    if wrong.any(|note| note.rule.severity() == check::Severity::Error) {
        plan.lanes = Lanes::default();
    }
    plan
}

fn hotfix(chance: &mut Chance, rings: &[Ring]) -> Hotfix {
    let mut may_not_skip: Vec<_> = rings.iter().map(|ring| ring.name.clone()).collect();
    may_not_skip.retain(|_| chance.percent(30));
    // `ok` is what a ring is judged by where it is judged at all.
    let mut defer_gates = GATES.to_vec();
    defer_gates.retain(|gate| *gate != "ok" && chance.percent(70));
    Hotfix {
        soak: Shortened {
            share: chance.one([0.25, 0.5, 1.0]),
            floor: Span::seconds(chance.one([0, 30, 100])),
        },
        may_not_skip,
        defer_gates: defer_gates.into_iter().map(Into::into).collect(),
        approvals: chance.percent(20).then(|| approvals(chance)),
        time_to_live: Span::minutes(chance.between(1, 40)),
    }
}

fn on_policy_change(chance: &mut Chance) -> OnPolicyChange {
    if chance.percent(60) { OnPolicyChange::Tighten } else { OnPolicyChange::Keep }
}

/// A chain, a branch or a join: any of the rings declared so far.
fn after(chance: &mut Chance, rings: &[Ring]) -> After {
    let mut names: Vec<RingName> = rings.iter().map(|ring| ring.name.clone()).collect();
    let join = if chance.percent(25) { Join::Any } else { Join::All };
    if chance.percent(60) {
        let last = names.pop();
        return After {
            join: if last.is_some() { join } else { Join::All },
            rings: last.into_iter().collect(),
        };
    }
    chance.shuffle(&mut names);
    names.truncate(chance.between(0, 3) as usize);
    let join = if names.is_empty() { Join::All } else { join };
    After { rings: names, join }
}

fn residency(chance: &mut Chance, rings: &[Ring]) -> Vec<Rule> {
    let mut rules = Vec::new();
    let mut rule = |id: &str, enforcement, demand| {
        rules.push(Rule {
            id: id.into(),
            enforcement,
            demand,
            allow_empty: true,
            policy: None,
            declared_at: "policies/residency.yaml:1".into(),
        });
    };
    if chance.percent(50) {
        let jurisdiction = if chance.percent(50) { everywhere() } else { eu() };
        let rings = chance.between(1, 2) as u32;
        rule("CAP", Enforcement::Hard, Demand::MaxInFlight { jurisdiction, rings });
    }
    let both = |ring: &Ring| {
        let mut pairs = ring.clusters.iter().filter_map(|c| c.failover_pair.as_ref());
        pairs.any(|partner| ring.cluster(partner).is_some())
    };
    if chance.percent(60) && !rings.iter().any(both) {
        rule("PAIR", Enforcement::Hard, Demand::PairExclusive);
    }
    let binding = |chance: &mut Chance| {
        if chance.percent(60) { Enforcement::Waivable } else { Enforcement::Hard }
    };
    // Kept as declared; a place that is unknown breaks it.
    if chance.percent(35) {
        let demand = Demand::TargetsWithin { rings: Vec::new(), jurisdiction: everywhere() };
        rule("WITHIN", binding(chance), demand);
    }
    let abroad = rings.iter().find(|ring| !eu().reaches(ring));
    if let Some(ring) = abroad.filter(|_| chance.percent(18)) {
        let rings = vec![ring.name.clone()];
        rule("OUTSIDE", binding(chance), Demand::TargetsOutside { rings, jurisdiction: eu() });
    }
    if chance.percent(15) {
        let registry =
            Registry { host: "registry.eu.example".into(), jurisdiction: Some("DE".into()) };
        let demand = Demand::PullWithin { jurisdiction: eu(), registries: vec![registry] };
        rule("PULL", binding(chance), demand);
    }
    if chance.percent(12) {
        rule("STATE", binding(chance), Demand::StateWithin { jurisdiction: eu() });
    }
    // Such a plan takes no release, unless somebody waives that: all that is asked of it must be refused.
    if chance.percent(10) {
        let demand =
            Demand::TargetsWithin { rings: Vec::new(), jurisdiction: territory("CH", &["CH"]) };
        rule("CH", binding(chance), demand);
    }
    rules
}

fn territory(name: &str, members: &[&str]) -> Territory {
    Territory { name: name.into(), members: members.iter().map(|m| (*m).into()).collect() }
}

fn everywhere() -> Territory {
    territory("EVERYWHERE", &["CH", "DE", "IE", "US"])
}

fn eu() -> Territory {
    Territory {
        name: "EU".into(),
        members: blocs::blocs()
            .filter(|(name, _)| *name == "EU")
            .flat_map(|(_, members)| members.map(Into::into))
            .collect(),
    }
}

fn policy(chance: &mut Chance, size: usize, start: Timestamp) -> Policy {
    let required = chance.percent(85);
    let gates = GATES.iter().filter_map(|name| {
        chance.percent(if *name == "ok" && required { 100 } else { 20 }).then_some(*name)
    });
    let mut gates: Vec<_> = gates.collect();
    // Where nothing is required, `gates: none` is all that may be said.
    if gates.iter().all(|name| *name == "shadow") {
        gates.clear();
    }
    let mut policy = Policy {
        name: "p".into(),
        soak: Soak {
            duration: Span::seconds(chance.one([0, 60, 120, 150, 300])),
            on_breach: chance.one([
                OnBreach::Reset,
                OnBreach::Reset,
                OnBreach::Freeze,
                OnBreach::Fail,
            ]),
            backfill: chance.percent(40),
        },
        deadline: Span::minutes(chance.between(2, 5)),
        concurrency: match chance.below(3) {
            0 => Concurrency::Share(0.5),
            n => Concurrency::Clusters(n as u32),
        },
        failure_budget: if chance.percent(30) { chance.below(size as u64) as u32 } else { 0 },
        gates: gates.into_iter().map(|name| gate(chance, name)).collect(),
        rollback: Rollback {
            automatic: chance.percent(70),
            scope: chance.one([
                RollbackScope::Ring,
                RollbackScope::Ring,
                RollbackScope::Descendants,
                RollbackScope::Jurisdiction,
                RollbackScope::Exposed,
            ]),
            concurrency: chance.percent(40).then_some(Concurrency::Clusters(1)),
        },
        approvals: chance.percent(30).then(|| approvals(chance)),
        calendars: if chance.percent(20) { vec![calendar(chance, start)] } else { Vec::new() },
        after_watch: match required && chance.percent(40) {
            true => chance.seconds(30, 600),
            false => Span::ZERO,
        },
        min_dwell: if chance.percent(30) { chance.seconds(1, 120) } else { Span::ZERO },
    };
    soak_over_gates(&mut policy);
    policy
}

/// A soak that is any lasts until every required gate was measured twice.
fn soak_over_gates(policy: &mut Policy) {
    let required = policy.gates.iter().filter(|gate| gate.required);
    let least = required.map(|gate| gate.initial_delay + gate.interval).max();
    if policy.soak.duration > Span::ZERO {
        policy.soak.duration = policy.soak.duration.max(least.unwrap_or_default());
    }
}

const GATES: [&str; 3] = ["ok", "latency", "shadow"];

fn gate(chance: &mut Chance, name: &str) -> Gate {
    let interval = Span::seconds(chance.one([30, 60, 90]));
    let judge = match chance.below(5) {
        0 => Judge::Relative {
            baseline: Baseline::Before,
            max_degradation: 0.5,
            direction: Direction::Decrease,
            floor: 0.01,
        },
        1 => Judge::Threshold { min: None, max: Some(HEALTHY) },
        2 => Judge::MannWhitney(MannWhitney {
            control: Control::Before,
            rules: MannWhitneyRules {
                direction: Worse::Decrease,
                // All that two samples a side can show.
                confidence: 0.6,
                min_samples: MannWhitneyRules::least_samples(0.6),
                ..MannWhitneyRules::default()
            },
        }),
        _ => Judge::Threshold { min: Some(0.9), max: Some(1.5) },
    };
    let samples = chance.percent(40);
    Gate {
        name: name.into(),
        signal: Signal::Errors,
        provider: "prometheus".into(),
        query: "up{plan=\"{{plan}}\"}".into(),
        samples: samples.then(|| "count{plan=\"{{plan}}\"}".into()),
        interval,
        initial_delay: if chance.percent(25) { chance.seconds(1, 120) } else { Span::ZERO },
        judge,
        min_samples: (samples && chance.percent(60)).then_some(100.0),
        min_total_samples: (samples && chance.percent(40)).then_some(3_000_000.0),
        failure_limit: Some(chance.between(0, 2) as u32),
        consecutive_failure_limit: chance.percent(20).then(|| chance.between(0, 1) as u32),
        consecutive_error_limit: chance.between(0, 4) as u32,
        on_no_data: if chance.percent(60) { OnNoData::Hold } else { OnNoData::Fail },
        no_data_deadline: Span::minutes(chance.between(2, 6)),
        max_age: Span::minutes(chance.between(1, 3)),
        required: name != "shadow",
        unit: None,
        traffic: None,
    }
}

fn approvals(chance: &mut Chance) -> Approvals {
    Approvals {
        count: chance.between(1, 2) as u32,
        roles: match chance.percent(80) {
            true => vec!["approver".into()],
            false => vec!["approver".into(), "operator".into()],
        },
        jurisdiction: chance.percent(30).then(eu),
        exclude_author: true,
        expires: chance.percent(50).then(|| Span::minutes(chance.between(5, 60))),
    }
}

fn calendar(chance: &mut Chance, start: Timestamp) -> Calendar {
    let mut applies_to = vec![AppliesTo::Start];
    if chance.percent(60) {
        applies_to.push(AppliesTo::Advance);
    }
    if chance.percent(20) {
        applies_to.push(AppliesTo::Rollback);
    }
    let from = start.saturating_add(chance.seconds(0, 5_400).to_signed()).unwrap_or(start);
    let to = from.saturating_add(chance.seconds(60, 1_800).to_signed()).unwrap_or(from);
    Calendar {
        name: "hours".into(),
        time_zone: "Europe/Dublin".into(),
        allow: match chance.percent(40) {
            true => vec![Window { cron: "0 0 * * * *".into(), duration: Span::minutes(40) }],
            false => Vec::new(),
        },
        deny: vec![Deny { from, to, reason: "year end".into() }],
        applies_to,
        in_flight: chance.one([InFlight::FinishCluster, InFlight::FinishRing, InFlight::Halt]),
    }
}

/// The plan with what is declared of a cluster now.
pub(super) fn with_cluster(plan: &Plan, cluster: &Cluster, edition: u64) -> Plan {
    let mut plan = plan.clone();
    plan.hash = format!("{}-{edition}", plan.name).into();
    plan.commit = format!("{edition}").into();
    let clusters = plan.rings.iter_mut().flat_map(|ring| &mut ring.clusters);
    for known in clusters.filter(|known| known.name == cluster.name) {
        *known = cluster.clone();
    }
    plan
}

/// The plan with rules that nobody can waive any more.
pub(super) fn hardened(plan: &Plan, edition: u64) -> Plan {
    let mut plan = plan.clone();
    plan.hash = format!("{}-{edition}", plan.name).into();
    plan.commit = format!("{edition}").into();
    plan.residency.iter_mut().for_each(|rule| rule.enforcement = Enforcement::Hard);
    plan
}

/// The plan as somebody edits it: under another hash, and as valid as before.
pub(super) fn edited(chance: &mut Chance, plan: &Plan, edition: u64, now: Timestamp) -> Plan {
    let mut plan = plan.clone();
    plan.hash = format!("{}-{edition}", plan.name).into();
    plan.commit = format!("{edition}").into();
    let at = chance.below(plan.rings.len() as u64) as usize;
    let next = (at + 1) % plan.rings.len();
    let partner = |ring: &Ring, moved: &Cluster| {
        moved.failover_pair.as_ref().is_some_and(|partner| ring.cluster(partner).is_some())
    };
    let ring = &mut plan.rings[at];
    match chance.below(9) {
        0 => ring.policy.soak.duration = chance.seconds(30, 300),
        1 | 2 if ring.clusters.len() > 1 => {
            // It leaves the plan, or joins another ring.
            if let Some(moved) = ring.clusters.pop().filter(|_| next != at && chance.percent(60))
                && !partner(&plan.rings[next], &moved)
            {
                plan.rings[next].clusters.push(moved);
            }
        }
        1..=3 => ring.policy.approvals = chance.percent(80).then(|| approvals(chance)),
        4 => {
            ring.policy.gates.retain(|gate| gate.name.as_str() != "latency");
            ring.policy.gates.push(gate(chance, "latency"));
        }
        5 => {
            // The whole policy, tighter here and looser there.
            let (size, gates) = (ring.clusters.len(), ring.policy.gates.clone());
            ring.policy = policy(chance, size, now).into();
            if chance.percent(50) {
                ring.policy.gates = gates;
            }
        }
        6 => {
            plan.max_skew = chance.percent(70).then(|| chance.between(1, 4) as u32);
        }
        7 => plan.on_policy_change = on_policy_change(chance),
        _ => {
            let rules = residency(chance, &plan.rings);
            plan.residency.retain(|_| chance.percent(70));
            plan.residency.extend(rules.into_iter().filter(|rule| rule.demand.is_cap()));
            plan.residency.dedup_by(|a, b| a.id == b.id);
        }
    }
    soak_over_gates(&mut plan.rings[at].policy);
    sound(plan)
}
