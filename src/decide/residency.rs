//! Residency as the facts are now: asked before a release is admitted, before each effect, and again
//! whenever something is looked at.
//!
//! What binds a release is its snapshot's rules over its snapshot's facts and over the current ones,
//! whichever is worse. A ring in breach holds itself and every ring after it.

use super::{
    fact::{Judged, Taken, Verdict},
    waiver::{self, Subject},
    world::{Release, RingRun, World},
};
use crate::{
    ids::{ClusterName, RingName},
    model::{
        plan::Plan,
        policy::Gate,
        residency::{Breach, Disclose, Enforcement, Known, Rule, disclosed, pulled},
        ring::{Artifact, Cluster, Ring},
        time::Now,
    },
};

/// What stands against `release` on `ring`: breaches of the ring itself and of those that it comes
/// after, and images that no registry may serve there.
pub(super) fn against(world: &World, release: &Release, ring: &Ring, now: Now) -> Vec<Breach> {
    let plan = &release.plan;
    if plan.residency.is_empty() {
        return Vec::new();
    }
    let known = world.known(now);
    let mut found = Vec::new();
    let before = plan.graph.ancestors(&ring.name);
    for name in before.into_iter().chain([&ring.name]) {
        for rule in plan.residency.iter().filter(|r| !waived(world, release, name, r, now)) {
            for breach in rule.breaches(plan, Some(name), &known) {
                if !found.contains(&breach) {
                    found.push(breach);
                }
            }
        }
    }
    let binds = |rule: &Rule| !waived(world, release, &ring.name, rule, now);
    for cluster in &ring.clusters {
        let image = pulled(plan, ring, cluster, &release.artifact, &known, binds);
        let new = image.err().filter(|breach| !found.iter().any(|b| b.rule == breach.rule));
        found.extend(new.map(|breach| *breach));
    }
    found
}

/// The same for a ring that is watched, where nothing has changed since it was last asked: then nothing
/// stands against it. A soaking ring is looked at with every measurement.
pub(super) fn against_watched(
    world: &World,
    release: &Release,
    ring: &Ring,
    now: Now,
) -> Vec<Breach> {
    let declared = world.plans.get(&release.id.plan).and_then(|state| state.declared.as_ref());
    let as_declared = declared.is_some_and(|declared| declared.hash == release.plan.hash);
    let problems = world.plans.get(&release.id.plan).is_some_and(|s| !s.problems.is_empty());
    // What it was let past once binds it again when the waiver ends.
    let waived = world.plans.get(&release.id.plan).is_some_and(|s| waiver::may_rest_on(s, release));
    // The server's own place is no plan's to declare.
    let homely = release.plan.residency.iter().any(|rule| rule.demand.state().is_some());
    let facts = &world.shared.facts;
    if as_declared && !problems && !waived && !homely && facts.is_calm(now.wall) {
        return Vec::new();
    }
    against(world, release, ring, now)
}

/// What stands against taking `cluster` back to `good`, or the reference that it is to pull. Rules that
/// nobody can waive bind the way back too, as far as they speak of where a payload is.
pub(super) fn way_back(
    world: &World,
    release: &Release,
    ring: &Ring,
    cluster: &Cluster,
    good: &Artifact,
    now: Now,
) -> Result<Artifact, Box<Breach>> {
    let known = world.known(now);
    let binds =
        |rule: &Rule| rule.enforcement == Enforcement::Hard && rule.demand.binds_the_way_back();
    for rule in release.plan.residency.iter().filter(|rule| binds(rule)) {
        let here = |breach: &Breach| breach.cluster.as_ref().is_none_or(|c| *c == cluster.name);
        let mut breaches = rule.breaches(&release.plan, Some(&ring.name), &known).into_iter();
        if let Some(breach) = breaches.find(here) {
            return Err(Box::new(breach));
        }
    }
    pulled(&release.plan, ring, cluster, good, &known, binds)
}

/// The release's artifact as `cluster` is to pull it; nothing where a rule stands against it, which
/// [`against`] names.
pub(super) fn image(
    world: &World,
    release: &Release,
    ring: &Ring,
    cluster: &Cluster,
    now: Now,
) -> Option<Artifact> {
    let binds = |rule: &Rule| !waived(world, release, &ring.name, rule, now);
    pulled(&release.plan, ring, cluster, &release.artifact, &world.known(now), binds).ok()
}

/// The clusters of the ring that may not be measured: their evidence would leave.
pub(super) fn unmeasurable(
    world: &World,
    release: &Release,
    ring: &Ring,
    now: Now,
) -> Vec<ClusterName> {
    let known = world.known(now);
    let rules = release.plan.residency.iter().filter(|rule| rule.demand.evidence().is_some());
    rules
        .filter(|rule| !waived(world, release, &ring.name, rule, now))
        .flat_map(|rule| rule.breaches(&release.plan, Some(&ring.name), &known))
        .filter_map(|breach| breach.cluster)
        .collect()
}

/// What of a gate's measurements on a cluster may be recorded: the tighter of what the release started
/// under and what is declared now, and of what holds for every cluster whose figures it is judged with.
pub(super) fn may_disclose(
    world: &World,
    release: &Release,
    gate: &Gate,
    cluster: &ClusterName,
    now: Now,
) -> Disclose {
    let known: Known<'_> = world.known(now);
    let declared = world.plans.get(&release.id.plan).and_then(|state| state.declared.as_deref());
    let other = gate.judge.compares_with().and_then(|name| release.plan.ring(name));
    let others = other.into_iter().flat_map(|ring| ring.clusters.iter().map(|c| &c.name));
    let of = |cluster: &ClusterName| {
        let current = declared.filter(|plan| plan.cluster(cluster).is_some());
        let now = current.map_or(Disclose::Raw, |plan| disclosed(plan, cluster, &known));
        disclosed(&release.plan, cluster, &known).max(now)
    };
    others.map(of).fold(of(cluster), Ord::max)
}

/// What of a judgement may be recorded: it is what the journal, the audit, the API and the metrics show.
///
/// Under `aggregate` a value stays with its counts; a series of samples is asked for again each time. Under
/// `verdict` no word of the judge is kept either: it holds the figures, and an error may hold what
/// a metric source answered. Nor is what later measurements would be judged with, for those are figures.
pub(super) fn redacted(
    judged: Judged,
    taken: Option<Taken>,
    disclose: Disclose,
) -> (Judged, Option<Taken>) {
    let words = match disclose {
        Disclose::Raw => return (judged, taken),
        Disclose::Aggregate => return (judged, taken.filter(|taken| !taken.is_a_series())),
        Disclose::Verdict => match judged.verdict {
            Verdict::Pass => "inside its bounds",
            Verdict::Fail => "outside its bounds",
            Verdict::Insufficient => "too little to judge by",
            Verdict::Absent => "no measurement",
            Verdict::Error => "no usable answer",
        },
    };
    (judged.without_figures(format!("{words}; its figures stay in their jurisdiction")), None)
}

/// The gate as a cluster is judged by it whose sample counts are not recorded. The minimum over the soak
/// cannot be added up then, so each measurement is asked for its share of it: a soak of passing
/// measurements has it all.
pub(super) fn in_shares(gate: &Gate, ring: &Ring) -> Gate {
    let Some(total) = gate.min_total_samples else { return gate.clone() };
    let clusters = ring.clusters.len().saturating_sub(ring.policy.failure_budget as usize).max(1);
    let measurements = (ring.policy.soak.duration.0 / gate.interval.0.max(1)).max(1);
    let share = (total / (clusters as f64 * measurements as f64)).ceil();
    let least = gate.min_samples.map_or(share, |least| least.max(share));
    Gate { min_samples: Some(least), ..gate.clone() }
}

/// How many samples a gate has over the soak and how many it needs, where it has too few. Clusters that
/// are judged by shares have theirs.
pub(super) fn too_few_samples(
    world: &World,
    release: &Release,
    ring: &Ring,
    (run, gate): (&RingRun, &Gate),
    now: Now,
) -> Option<(f64, f64)> {
    let total = gate.min_total_samples?;
    let open = |cluster: &ClusterName| {
        may_disclose(world, release, gate, cluster, now) < Disclose::Verdict
    };
    let counted = ring.clusters.iter().filter(|cluster| open(&cluster.name)).count();
    let need = total * counted as f64 / ring.clusters.len().max(1) as f64;
    let runs = run.gates.iter().filter(|((cluster, name), _)| *name == gate.name && open(cluster));
    let have: f64 = runs.map(|(_, run)| run.total_samples).sum();
    (have < need).then_some((have, need))
}

/// Whether two approvers took a rule out of force for a release on a ring, for now.
pub(super) fn waived(
    world: &World,
    release: &Release,
    ring: &RingName,
    rule: &Rule,
    now: Now,
) -> bool {
    let plan = world.plans.get(&release.id.plan).filter(|plan| !plan.waivers.is_empty());
    plan.is_some_and(|plan| waiver::in_force(plan, release.into(), ring, rule, now).is_some())
}

/// What stands against a release that is about to be admitted, as its plan is declared.
pub(super) fn against_admission(
    world: &World,
    plan: &Plan,
    subject: Subject<'_>,
    now: Now,
) -> Option<Breach> {
    let known = world.known(now);
    let state = world.plans.get(&plan.name);
    let waived = |rule: &Rule, breach: &Breach| {
        let found = state
            .zip(breach.ring.as_ref())
            .and_then(|(state, ring)| waiver::in_force(state, subject, ring, rule, now));
        found.is_some()
    };
    plan.residency.iter().find_map(|rule| {
        let mut breaches = rule.breaches(plan, None, &known).into_iter();
        breaches.find(|breach| !waived(rule, breach))
    })
}
