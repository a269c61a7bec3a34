use std::collections::{BTreeMap, BTreeSet};

use super::{Invariant, Step};
use crate::{
    decide::{
        command::{Command, Write},
        fact::Fact,
        world::{Phase, Step as ClusterStep},
    },
    ids::{ClusterName, ReleaseId, RingName},
    model::{
        limits::RollbackLimits,
        time::{Mono, Span},
    },
};

/// What the rate is counted over.
const HOUR: Span = Span::minutes(60);

type Place = (ReleaseId, RingName);

/// Counts the rollbacks of each attempt, and those that go on at once; what an operator tries again
/// because it got stuck is an attempt of its own. A rollback goes on from its first write.
#[derive(Debug, Default)]
pub(super) struct OneRollback {
    started: BTreeSet<(ReleaseId, RingName, u32)>,
    /// Whether nobody asked for it.
    automatic: BTreeMap<Place, bool>,
    under_way: BTreeSet<Place>,
    begun: Vec<Mono>,
    limits: RollbackLimits,
}

impl Invariant for OneRollback {
    fn number(&self) -> u8 {
        19
    }

    fn says(&self) -> &'static str {
        "at most one rollback per release, ring and attempt, and no more at once than their cap"
    }

    fn check(&mut self, step: &Step<'_>) -> Result<(), String> {
        for fact in &step.decision.facts {
            if let Fact::RollbackStarted { release, ring, automatic, .. } = fact {
                let attempt = step.on(release, ring)?.run.attempt;
                if !self.started.insert((release.clone(), ring.clone(), attempt)) {
                    return Err(format!("{release} goes back again on {ring}, attempt {attempt}"));
                }
                self.automatic.insert((release.clone(), ring.clone()), *automatic);
            } else if let Fact::RollbackHastened { release, ring, .. } = fact {
                self.automatic.insert((release.clone(), ring.clone()), false);
            } else if let Fact::Aborted { release, .. } = fact {
                let of_it = self.automatic.iter_mut().filter(|((id, _), _)| id == release);
                of_it.for_each(|(_, automatic)| *automatic = false);
            } else if let Fact::RingRolledBack { release, ring }
            | Fact::RingAborted { release, ring }
            | Fact::RingFailed { release, ring, .. } = fact
            {
                self.under_way.remove(&(release.clone(), ring.clone()));
            } else if let Fact::LimitsSet { limits } = fact {
                self.limits = limits.rollbacks;
            }
        }
        for command in &step.decision.commands {
            if let Command::Restore(write) = command.as_ref() {
                self.begins(write, step.now.mono)?;
                within_its_ring(step, write)?;
            }
            // What waits for its turn to go back stays where it stands.
            if let Command::Promote(promote) = command.as_ref()
                && step.goes_forward(promote)
            {
                let (write, run) =
                    (&promote.write, step.on(&promote.write.release, &promote.write.ring)?.run);
                if run.phase != Phase::Deploying {
                    return Err(format!(
                        "{} goes forward, and {} is {:?}",
                        write.key, write.ring, run.phase
                    ));
                }
            }
        }
        Ok(())
    }
}

impl OneRollback {
    fn begins(&mut self, write: &Write, now: Mono) -> Result<(), String> {
        let place = (write.release.clone(), write.ring.clone());
        if self.under_way.contains(&place) {
            return Ok(());
        }
        self.begun.retain(|begun| *begun + HOUR > now);
        let full = |limit: Option<std::num::NonZeroU32>, taken: usize| {
            limit.is_some_and(|limit| taken >= limit.get() as usize)
        };
        if self.automatic.get(&place) == Some(&true)
            && (full(self.limits.at_once, self.under_way.len())
                || full(self.limits.per_hour, self.begun.len()))
        {
            return Err(format!(
                "{} goes back beside {:?}, {} within the hour, of {:?}",
                write.key,
                self.under_way,
                self.begun.len(),
                self.limits
            ));
        }
        self.begun.push(now);
        self.under_way.insert(place);
        Ok(())
    }
}

/// Clusters that cannot be seen take no place of their ring's own cap.
fn within_its_ring(step: &Step<'_>, write: &Write) -> Result<(), String> {
    let on = step.on(&write.release, &write.ring)?;
    let plan = step.after.plans.get(&write.release.plan);
    let seen = |cluster: &ClusterName| {
        let target = plan.and_then(|plan| plan.targets.get(cluster)?.state.as_ref());
        target.is_none_or(|target| target.is_visible())
    };
    let restoring = on.run.clusters.iter().filter(|(_, c)| c.step == ClusterStep::Restoring);
    let count = restoring.filter(|(cluster, _)| seen(cluster)).count();
    let cap = on.ring.policy.rollback.concurrency.map(|c| c.of(on.ring.clusters.len()));
    match cap.filter(|cap| seen(&write.cluster) && count > *cap) {
        Some(cap) => Err(format!("{count} clusters of {} go back, {cap} may", write.ring)),
        None => Ok(()),
    }
}
