use super::{Violation, is_open};
use crate::{
    decide::{
        fact::Debt,
        phase,
        waiting::waiting_on,
        wake::Wake,
        world::{Phase, RingRun, Step, World},
    },
    ids::PlanName,
    model::time::{Now, Span},
};

const SAYS: &str =
    "every unfinished ring has a command in flight, a wake or a typed reason to wait";

/// Whether everything that is unfinished in a plan has something to wait for: a command in flight, a
/// wake (its own, or `soon` because of something else), or a typed reason; and whether all that was due
/// when it was looked at was judged then.
///
/// # Errors
/// A ring that nothing will ever move, or a plan that would be woken for ever.
pub fn progress(
    world: &World,
    plan: &PlanName,
    (wake, soon): (&Wake, bool),
    now: Now,
) -> Result<(), Violation> {
    let Some(state) = world.plans.get(plan) else { return Ok(()) };
    // The very instant at which something is due may still be judged either way.
    let late = wake.overdue.map(|due| now.mono.since(due)).filter(|late| *late > Span::ZERO);
    if let Some(late) = late {
        let detail = format!("{plan} was looked at, and what was due {late} ago is due still");
        return Err(Violation { number: 32, says: SAYS, detail });
    }
    if soon || wake.at.is_some() || wake.shared.any() {
        return Ok(());
    }
    let measured = |run: &RingRun| {
        let owed = run.gates.iter().filter(|((_, gate), _)| {
            run.phase == Phase::Passed && run.debts.contains_key(&Debt::Gate(gate.clone()))
        });
        owed.filter(|((cluster, _), _)| {
            run.clusters.get(cluster).is_some_and(|here| here.step == Step::Ready)
        })
        .all(|(_, gate)| gate.asked.is_some())
    };
    for release in state.in_order().filter(|release| release.owes()) {
        if let Some((ring, _)) = release.rings.iter().find(|(_, run)| !measured(run)) {
            let detail = format!("{} owes a gate on {ring} and nobody looks at it", release.id);
            return Err(Violation { number: 32, says: SAYS, detail });
        }
    }
    for release in state.in_order().filter(|release| !phase::is_settled(release)) {
        for (ring, run) in release.rings.iter().filter(|(_, run)| is_open(run.phase) || run.watched)
        {
            let sent = state.in_flight.keys();
            let prefix = format!("{}/{ring}/", release.id);
            let in_flight = sent.into_iter().any(|key| key.as_str().starts_with(&prefix));
            if !in_flight && waiting_on(world, release, ring, now).is_empty() {
                let steps: Vec<_> = run.clusters.iter().map(|(c, run)| (c, &run.step)).collect();
                let detail = format!(
                    "{} on {ring}, {:?}, waits for nothing: {steps:?}",
                    release.id, run.phase
                );
                return Err(Violation { number: 32, says: SAYS, detail });
            }
        }
    }
    Ok(())
}
