use std::collections::BTreeMap;

use super::{Landing, Violation};
use crate::ids::{ClusterName, PlanName};

/// Remembers the newest writer of each target.
#[derive(Debug, Default)]
pub struct Epochs {
    newest: BTreeMap<(PlanName, ClusterName), u64>,
}

impl Epochs {
    /// Looks at a write that its target has accepted.
    ///
    /// # Errors
    /// The target had accepted one of a newer writer before.
    pub fn check(&mut self, landing: &Landing) -> Result<(), Violation> {
        let Landing { plan, cluster, key, epoch, .. } = landing;
        let newest = self.newest.entry((plan.clone(), cluster.clone())).or_default();
        if *epoch >= *newest {
            *newest = *epoch;
            return Ok(());
        }
        Err(Violation {
            number: 10,
            says: "a target that accepted an effect of an epoch accepts none of an earlier one",
            detail: format!("{key} of epoch {epoch} was accepted after one of {newest}"),
        })
    }
}
