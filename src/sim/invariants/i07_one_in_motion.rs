use std::collections::BTreeMap;

use super::{Invariant, Step};
use crate::{
    decide::{fact::Fact, world::Phase},
    ids::ReleaseId,
    model::{plan::OnNewer, time::Span},
};

/// Counts the releases in motion on each ring.
#[derive(Debug, Default)]
pub(super) struct OneInMotion;

impl Invariant for OneInMotion {
    fn number(&self) -> u8 {
        7
    }

    fn says(&self) -> &'static str {
        "at most one release is in motion per plan and ring"
    }

    fn check(&mut self, step: &Step<'_>) -> Result<(), String> {
        for (plan, state) in step.changed() {
            let mut moving = BTreeMap::new();
            for release in state.releases.values() {
                for (ring, _) in release.rings.iter().filter(|(_, run)| run.phase.in_motion()) {
                    if let Some(other) = moving.insert(ring, &release.id) {
                        return Err(format!("{other} and {} on {ring}", release.id));
                    }
                    let counted = (plan.clone(), ring.clone());
                    if !step.after.shared.motion.contains_key(&counted) {
                        return Err(format!("{} on {ring} is in motion, uncounted", release.id));
                    }
                }
            }
        }
        step.decision.facts.iter().try_for_each(|fact| replaced(step, fact))
    }
}

/// Who is in motion gives way only to a newer one whose plan says so, only while nothing shows that it
/// does well, and not before it has dwelt: a stream of releases would starve the last rings.
fn replaced(step: &Step<'_>, fact: &Fact) -> Result<(), String> {
    let Fact::RingSuperseded { release, ring, by } = fact else { return Ok(()) };
    let Some(run) = step.before.run(release, ring).filter(|run| run.phase.in_motion()) else {
        return Ok(());
    };
    let says = |what: &str| Err(format!("{by} took {ring} from {release}, {what}"));
    let newer = step.on(&ReleaseId::new(release.plan.clone(), by.clone()), ring)?;
    if newer.release.plan.on_newer != OnNewer::ReplaceIfUnhealthy {
        return says("which nobody allows");
    }
    // Both may have become so at the same instant.
    let reset = step.decision.facts.iter().any(
        |fact| matches!(fact, Fact::SoakReset { release: id, ring: on, .. } if id == release && on == ring),
    );
    let failed = step.decision.facts.iter().any(
        |fact| matches!(fact, Fact::RingFailed { release: id, ring: on, .. } if id == release && on == ring),
    );
    if failed {
        return Ok(());
    }
    if run.phase == Phase::RollingBack || (run.soak.credited > Span::ZERO && !reset) {
        return says("which is not to be replaced");
    }
    let dwelt = run.started.map(|at| step.now.mono.since(at.mono));
    let dwell = step.on(release, ring)?.ring.policy.min_dwell.max(newer.ring.policy.min_dwell);
    if dwelt.is_none_or(|dwelt| dwelt < dwell) {
        return says(&format!("after {dwelt:?} of {dwell}"));
    }
    Ok(())
}
