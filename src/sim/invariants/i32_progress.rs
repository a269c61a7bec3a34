use super::{Violation, is_open};
use crate::{
    decide::{
        fact::Debt,
        phase,
        waiting::waiting_on,
        world::{Phase, RingRun, Step, World},
    },
    ids::PlanName,
    model::time::Now,
};

const SAYS: &str =
    "every unfinished ring has a command in flight, a wake or a typed reason to wait";

/// Whether everything that is unfinished in a plan has something to wait for: a command in flight, a
/// wake (where it is to be `woken`), or a typed reason.
///
/// # Errors
/// A ring that nothing will ever move.
pub fn progress(world: &World, plan: &PlanName, woken: bool, now: Now) -> Result<(), Violation> {
    let Some(state) = world.plans.get(plan) else { return Ok(()) };
    if woken {
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
