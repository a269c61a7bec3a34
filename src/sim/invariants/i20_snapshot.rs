use super::{Invariant, Step};

/// Compares each release's snapshot with the one it had.
#[derive(Debug, Default)]
pub(super) struct Snapshot;

impl Invariant for Snapshot {
    fn number(&self) -> u8 {
        20
    }

    fn says(&self) -> &'static str {
        "the policy in force on a release is the snapshot taken at its start"
    }

    fn check(&mut self, step: &Step<'_>) -> Result<(), String> {
        for (name, plan) in step.changed() {
            let Some(before) = step.before.plans.get(name) else { continue };
            for (version, release) in &plan.releases {
                let was = before.releases.get(version).map(|release| &release.plan.hash);
                if was.is_some_and(|was| *was != release.plan.hash) {
                    return Err(format!("{} is under another policy", release.id));
                }
            }
        }
        Ok(())
    }
}
