//! Who comes next by the graph and the order of releases, and who can still be reached.

use std::collections::BTreeSet;

use super::is_out;
use crate::{
    decide::world::{Phase, PlanState, Release, RingRun},
    ids::{RingName, Version},
    model::graph::{Join, RingGraph},
};

/// Whether the rings before it have passed.
pub fn is_next(release: &Release, ring: &RingName) -> bool {
    if is_behind(&release.plan.graph, release, ring) {
        return false;
    }
    match &release.hotfix {
        Some(lane) if !reaches(&lane.normal.graph, release, ring) => {
            !is_behind(&lane.normal.graph, release, ring)
        }
        Some(_) | None => true,
    }
}

pub(super) fn rings_before(release: &Release, ring: &RingName) -> Vec<RingName> {
    let open = open_before(&release.plan.graph, release, ring);
    match &release.hotfix {
        // It runs ahead of rings that are on their way, and never past one that failed.
        Some(lane) if open.is_empty() && !reaches(&lane.normal.graph, release, ring) => {
            open_before(&lane.normal.graph, release, ring)
        }
        Some(_) | None => open,
    }
}

/// Whether there are any of [`open_before`]: asked of every ring at every look, so that it names none.
fn is_behind(graph: &RingGraph, release: &Release, ring: &RingName) -> bool {
    let after = graph.after(ring);
    let mut passed = after.rings.iter().map(|r| release.ring(r).map(|run| run.phase));
    match after.join {
        Join::All => passed.any(|phase| phase != Some(Phase::Passed)),
        Join::Any => !after.rings.is_empty() && passed.all(|phase| phase != Some(Phase::Passed)),
    }
}

/// The rings that have still to pass before `ring` may start by that graph.
pub(in crate::decide) fn open_before(
    graph: &RingGraph,
    release: &Release,
    ring: &RingName,
) -> Vec<RingName> {
    let after = graph.after(ring);
    let passed = |r: &RingName| release.ring(r).is_some_and(|run| run.phase == Phase::Passed);
    let open: Vec<_> = after.rings.iter().filter(|r| !passed(r)).cloned().collect();
    match after.join {
        Join::All => open,
        Join::Any if open.len() < after.rings.len() => Vec::new(),
        Join::Any => open,
    }
}

/// Whether what `release` requires has passed everywhere, by its release or by what is known to run.
pub(super) fn has_passed(plan: &PlanState, release: &Release, required: &Version) -> bool {
    match plan.releases.get(required) {
        Some(release) => release.rings.values().all(|run| run.phase == Phase::Passed),
        None => release.plan.clusters().all(|cluster| {
            let target = plan.targets.get(&cluster.name);
            let goods = target.map(|target| target.known_good.as_slice()).unwrap_or_default();
            goods.iter().any(|good| good.version.as_ref() == Some(required))
        }),
    }
}

/// What `release` requires, what that requires, and so on, as far as it was released.
pub(in crate::decide) fn requirements<'a>(
    plan: &'a PlanState,
    release: &'a Release,
) -> impl Iterator<Item = &'a Version> {
    let next = |required: &&'a Version| plan.releases.get(*required)?.requires.as_ref();
    // A circle is refused when it would be closed; a journal of an older program may hold one.
    std::iter::successors(release.requires.as_ref(), next).take(plan.order.len() + 1)
}

/// In strict order nobody goes before a release, but what it requires: where that came later, or has
/// still to come, the release lets the others pass instead of waiting for them while they wait for it.
pub(in crate::decide) fn steps_aside(plan: &PlanState, release: &Release) -> bool {
    let since = plan.admitted(&release.id.version);
    let later = |required: &Version| plan.admitted(required).is_none_or(|at| Some(at) > since);
    release.requires.as_ref().is_some_and(|required| !has_passed(plan, release, required))
        && requirements(plan, release).any(later)
}

/// Whether `older` waits for a ring before `ring` that `newer` has passed: it was tried again there, and
/// the order is broken. To keep to it all the same would have each wait for the other where the skew is
/// limited.
pub(in crate::decide) fn is_overtaken(older: &Release, newer: &Release, ring: &RingName) -> bool {
    let graph = &newer.plan.graph;
    graph.ancestors(ring).into_iter().any(|before| {
        let phase = |release: &Release| release.ring(before).map(|run| run.phase);
        phase(newer) == Some(Phase::Passed) && phase(older) == Some(Phase::Waiting)
    })
}

/// The ring whose failure keeps `release` from starting on `ring` until an operator says what follows:
/// it went back with all that its scope takes, and `ring` would be of that; or nothing goes back because
/// the release is irreversible, and `ring` comes after it. Where an operator has said that `ring` shall
/// be tried again, nothing does.
pub fn stopped_by<'a>(release: &'a Release, ring: &RingName) -> Option<&'a RingName> {
    if release.ring(ring).is_none_or(|run| run.attempt > 0) {
        return None;
    }
    let stops = |failed: &RingName, run: &RingRun| match run.phase {
        Phase::Failed | Phase::RollingBack | Phase::RolledBack => {
            let scope = run.back.and_then(|back| back.scope);
            scope.is_some_and(|scope| release.plan.goes_back_with(failed, scope, ring))
                || (release.irreversible
                    && run.phase == Phase::Failed
                    && is_out(release, failed)
                    && release.plan.graph.descendants(failed).contains(&ring))
        }
        Phase::Waiting
        | Phase::Deploying
        | Phase::Soaking
        | Phase::Passed
        | Phase::Aborted
        | Phase::Superseded => false,
    };
    let mut rings = release.plan.graph.order().iter();
    rings.find(|failed| release.ring(failed).is_some_and(|run| stops(failed, run)))
}

/// Whether a release that has not started on a ring may still come there by itself: nothing before
/// the ring is over without having passed.
pub fn may_still_reach(release: &Release, ring: &RingName) -> bool {
    let normal = release.hotfix.as_ref().map(|lane| &lane.normal.graph);
    let mut graphs = normal.into_iter().chain([&release.plan.graph]);
    graphs.all(|graph| reaches(graph, release, ring))
}

fn reaches(graph: &RingGraph, release: &Release, ring: &RingName) -> bool {
    let mut open = BTreeSet::new();
    for name in graph.order() {
        let after = graph.after(name);
        let reached = match after.join {
            Join::All => after.rings.iter().all(|r| open.contains(r)),
            Join::Any => after.rings.is_empty() || after.rings.iter().any(|r| open.contains(r)),
        };
        let reached = reached && stopped_by(release, name).is_none();
        if name == ring {
            return reached;
        }
        let goes_on = match release.ring(name).map(|run| run.phase) {
            Some(Phase::Passed | Phase::Deploying | Phase::Soaking) => true,
            Some(Phase::Waiting) => reached,
            Some(
                Phase::Failed
                | Phase::RollingBack
                | Phase::RolledBack
                | Phase::Aborted
                | Phase::Superseded,
            )
            | None => false,
        };
        if goes_on {
            open.insert(name);
        }
    }
    false
}
