//! A release's hotfix lane, and what it owes for having taken it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{Illegal, World};
use crate::{
    decide::fact::{Debt, Verdict},
    ids::{ClusterName, ReleaseId, RingName},
    model::{
        plan::Plan,
        time::{Mono, Now, Span},
    },
};

/// The lane that a release took.
#[derive(Debug, Clone, PartialEq)]
pub struct LaneRun {
    /// What it would have gone by, and goes by again when the lane is over.
    pub normal: Arc<Plan>,
    /// The rings that have the lane's rules still.
    pub rings: BTreeSet<RingName>,
}

/// What is known of a debt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DebtRun {
    /// Since when it is owed.
    pub since: Now,
    /// For how long its gate was seen to pass, by cluster.
    pub seen: BTreeMap<ClusterName, Seen>,
}

/// For how long a gate was seen to pass without a break.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// So long, seen at both ends of each interval.
    pub credited: Span,
    /// When it passed last, if that was the last that was heard.
    pub passing: Option<Mono>,
}

impl DebtRun {
    /// Takes in a measurement; what lies further apart than `longest` was not observed.
    pub(super) fn see(&mut self, cluster: &ClusterName, verdict: Verdict, longest: Span, at: Mono) {
        let seen = self.seen.entry(cluster.clone()).or_default();
        match verdict {
            Verdict::Pass => {
                let span = seen.passing.map(|since| at.since(since));
                let span = span.filter(|span| *span <= longest).unwrap_or_default();
                *seen = Seen { credited: seen.credited + span, passing: Some(at) };
            }
            Verdict::Fail => *seen = Seen::default(),
            Verdict::Insufficient | Verdict::Absent | Verdict::Error => seen.passing = None,
        }
    }

    /// What comes next is not known to follow what was seen last.
    pub(super) fn look_away(&mut self) {
        self.seen.values_mut().for_each(|seen| seen.passing = None);
    }
}

impl World {
    pub(super) fn take_lane(&mut self, id: &ReleaseId, plan: &Arc<Plan>) -> Result<(), Illegal> {
        let release = self.release_mut(id)?;
        let rings = plan.rings.iter().map(|ring| ring.name.clone()).collect();
        let normal = std::mem::replace(&mut release.plan, plan.clone());
        release.hotfix = Some(LaneRun { normal, rings });
        Ok(())
    }

    pub(super) fn leave_lane(
        &mut self,
        id: &ReleaseId,
        rings: &[RingName],
        plan: &Arc<Plan>,
    ) -> Result<(), Illegal> {
        let release = self.release_mut(id)?;
        let lane = release.hotfix.as_mut();
        let lane = lane.ok_or_else(|| Illegal { what: format!("the end of a lane of {id}") })?;
        lane.rings.retain(|ring| !rings.contains(ring));
        release.plan = plan.clone();
        Ok(())
    }

    pub(super) fn clear_debt(
        &mut self,
        id: &ReleaseId,
        ring: &RingName,
        debt: &Debt,
    ) -> Result<(), Illegal> {
        let cleared = self.run_mut(id, ring)?.debts.remove(debt).map(|_| ());
        cleared.ok_or_else(|| Illegal { what: format!("the end of a debt of {id} on {ring}") })
    }
}
