use std::collections::BTreeMap;

use super::{Invariant, Step};

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
        Ok(())
    }
}
