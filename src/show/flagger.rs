//! What Flagger is answered when it asks whether a Canary may go on, or shall go back.
//!
//! Architecture invariant: an answer follows from what is recorded, and an answer changes nothing. What is not
//! known is never confirmed, and no Canary is failed for it either.

use crate::{
    decide::{
        event::Status,
        waiting::against_going_on,
        world::{ClusterRun, Phase, Release, Step, World},
    },
    ids::{ClusterName, PlanName},
    model::{
        ring::{Ring, Target, TargetKind},
        time::Now,
    },
};

/// Which Canary asks.
#[derive(Debug, Clone, Copy)]
pub struct Canary<'a> {
    /// The plan that drives it.
    pub plan: &'a PlanName,
    /// Where it is.
    pub cluster: &'a ClusterName,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
}

/// Whether it may go on, to its analysis or to its promotion.
///
/// # Errors
/// What stands against it, or why nobody knows.
pub fn confirm(world: &World, canary: Canary<'_>, now: Now) -> Result<(), String> {
    let There { release, ring, phase, here } = there(world, canary)?;
    let id = &release.id;
    match here.step {
        // A way back was decided where it may go.
        Step::Restoring => return Ok(()),
        Step::Deploying if phase == Phase::Deploying && release.aborted.is_none() => {}
        Step::Planned
        | Step::Deploying
        | Step::Ready
        | Step::Failed(_)
        | Step::Restored
        | Step::Stuck(_) => return Err(format!("{id} is not on its way there any more")),
    }
    let against = against_going_on(world, release, &ring.name, now);
    let kinds = against.iter().filter_map(|waiting| waiting.hold());
    let mut kinds: Vec<_> = kinds.map(|kind| kind.name()).collect();
    kinds.dedup();
    match kinds.is_empty() {
        true => Ok(()),
        false => Err(format!("{id} is held on {}: {}", ring.name, kinds.join(", "))),
    }
}

/// Whether it shall be failed: what it analyses is to go back, and nothing was written for that yet.
///
/// # Errors
/// Why not.
pub fn goes_back(world: &World, canary: Canary<'_>) -> Result<(), String> {
    let There { release, ring, phase, here } = there(world, canary)?;
    let is_out = match here.step {
        Step::Deploying | Step::Ready | Step::Failed(_) => true,
        Step::Planned | Step::Restoring | Step::Restored | Step::Stuck(_) => false,
    };
    match is_out && phase == Phase::RollingBack {
        true => Ok(()),
        false => Err(format!("nobody has said that {} goes back on {}", release.id, ring.name)),
    }
}

/// The release whose write the Canary's template carries.
struct There<'a> {
    release: &'a Release,
    ring: &'a Ring,
    phase: Phase,
    here: &'a ClusterRun,
}

fn there<'a>(world: &'a World, canary: Canary<'_>) -> Result<There<'a>, String> {
    let Canary { plan, cluster, namespace, name } = canary;
    let state = world.plans.get(plan).ok_or_else(|| format!("there is no plan {plan}"))?;
    let seen = state.targets.get(cluster).and_then(|target| target.state.as_ref());
    let seen = seen.ok_or_else(|| format!("nothing was seen of {plan} in {cluster} yet"))?;
    if let Status::Unknown(why) = &seen.status {
        return Err(format!("it is not known how {plan} is in {cluster}: {why}"));
    }
    let intent = seen.intent.as_ref().ok_or("what it names was not put there by a release")?;
    for release in state.in_order() {
        for (ring, run) in &release.rings {
            let here = run.clusters.get(cluster);
            let Some(here) = here.filter(|here| here.intent.as_ref() == Some(intent)) else {
                continue;
            };
            let Some(ring) = release.plan.ring(ring) else { continue };
            let Target { kind, namespace: its, name: called } = &release.plan.target;
            let same = matches!(kind, TargetKind::FlaggerCanary { .. })
                && (its.as_str(), called.as_str()) == (namespace, name);
            return match same {
                true => Ok(There { release, ring, phase: run.phase, here }),
                false => Err(format!("Canary {namespace}/{name} is no target of plan {plan}")),
            };
        }
    }
    Err(format!("what it names was put there by {intent}, which nothing is known of"))
}

#[cfg(test)]
mod tests;
