use std::sync::Arc;

use super::Violation;
use crate::{
    decide::{
        phase::is_settled,
        waiting::waiting_on,
        world::{Phase, Release, World},
    },
    model::time::Now,
};

/// Whether no release is on its way any more.
pub fn at_rest(world: &World) -> bool {
    on_its_way(world).is_none()
}

/// Looks at a world in which nothing has gone wrong for long enough.
///
/// # Errors
/// A release is still on its way (29); one that was aborted is (30).
pub fn settled(world: &World, now: Now) -> Result<(), Violation> {
    let Some(release) = on_its_way(world) else { return Ok(()) };
    let rings = release
        .rings
        .iter()
        .filter(|(_, run)| run.phase == Phase::Waiting || run.phase.in_motion());
    let rings: Vec<_> = rings
        .map(|(ring, run)| {
            let waits = waiting_on(world, release, ring, now);
            format!("{ring} is {:?}, waiting on {waits:?}", run.phase)
        })
        .collect();
    let detail = format!("{} is not settled: {}", release.id, rings.join("; "));
    Err(match release.aborted.is_some() {
        true => Violation { number: 30, says: super::i30_aborts::SAYS, detail },
        false => Violation {
            number: 29,
            says: "once faults stop, a release gets everywhere or settles in bounded time",
            detail,
        },
    })
}

fn on_its_way(world: &World) -> Option<&Release> {
    let mut releases = world.plans.values().flat_map(|plan| plan.in_order().map(Arc::as_ref));
    releases.find(|release| {
        let aborted = release.aborted.is_some();
        let open = |phase: Phase| phase.in_motion() || (aborted && phase == Phase::Waiting);
        !is_settled(release) || release.rings.values().any(|run| open(run.phase))
    })
}
