use super::Violation;
use crate::{
    decide::{
        phase::is_settled,
        waiting::waiting_on,
        world::{Phase, World},
    },
    model::time::Now,
};

/// Looks at a world in which nothing has gone wrong for long enough.
///
/// # Errors
/// A release is still on its way (29); one that was aborted is (30).
pub fn settled(world: &World, now: Now) -> Result<(), Violation> {
    let releases = world.plans.values().flat_map(|plan| plan.in_order());
    for release in releases {
        let aborted = release.aborted.is_some();
        let open = |phase: Phase| phase.in_motion() || (aborted && phase == Phase::Waiting);
        if is_settled(release) && !release.rings.values().any(|run| open(run.phase)) {
            continue;
        }
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
        return Err(match aborted {
            true => Violation { number: 30, says: super::i30_aborts::SAYS, detail },
            false => Violation {
                number: 29,
                says: "once faults stop, a release gets everywhere or settles in bounded time",
                detail,
            },
        });
    }
    Ok(())
}
