use std::collections::BTreeSet;

use super::{Landing, Violation};
use crate::ids::{ClusterName, IdempotencyKey, PlanName};

/// Remembers what each target has accepted.
#[derive(Debug, Default)]
pub struct Repeats {
    accepted: BTreeSet<(PlanName, ClusterName, IdempotencyKey)>,
}

impl Repeats {
    /// Looks at a write that has reached its target.
    ///
    /// # Errors
    /// The target had accepted it before, and has changed all the same.
    pub fn check(&mut self, landing: &Landing) -> Result<(), Violation> {
        let Landing { plan, cluster, key, changed, .. } = landing;
        let new = self.accepted.insert((plan.clone(), cluster.clone(), key.clone()));
        if new || !changed {
            return Ok(());
        }
        Err(Violation {
            number: 9,
            says: "repeating an effect with the same key leaves its target unchanged",
            detail: format!("{key} came again and changed {plan} on {cluster}"),
        })
    }
}
