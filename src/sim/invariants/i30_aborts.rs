use std::collections::BTreeMap;

use super::{Invariant, Step};
use crate::{
    decide::{
        command::Command,
        event::Event,
        fact::Fact,
        world::{Phase, PlanState, Release, RingRun, Step as ClusterStep},
    },
    ids::{ClusterName, PlanName, ReleaseId, RingName},
    model::time::{Mono, Now, Span},
};

pub(super) const SAYS: &str =
    "an abort reaches a terminal state, or a named list of stuck targets, within its deadline";

/// Times the way back of every ring of an aborted release, target by target.
#[derive(Debug, Default)]
pub(super) struct Aborts {
    back: BTreeMap<(ReleaseId, RingName, ClusterName), Watch>,
}

/// How long a write has been out while its target could be seen.
#[derive(Debug, Clone, Copy, Default)]
struct Watch {
    used: Span,
    since: Option<Mono>,
}

impl Watch {
    fn look(&mut self, visible: bool, now: Mono) -> Span {
        self.used = self.used + self.since.map_or(Span::ZERO, |since| now.since(since));
        self.since = visible.then_some(now);
        self.used
    }
}

impl Invariant for Aborts {
    fn number(&self) -> u8 {
        30
    }

    fn says(&self) -> &'static str {
        SAYS
    }

    fn check(&mut self, step: &Step<'_>) -> Result<(), String> {
        for fact in &step.decision.facts {
            // Time that no process of ringward saw counts for nobody.
            if let Fact::TookOver { .. } = fact {
                self.back.values_mut().for_each(|watch| *watch = Watch::default());
            }
        }
        for command in &step.decision.commands {
            if let Command::Restore(write) = command.as_ref() {
                let of = (write.release.clone(), write.ring.clone(), write.cluster.clone());
                self.back.insert(of, Watch::default());
            }
        }
        let changed = step.changed().map(|(name, _)| name);
        let plans: std::collections::BTreeSet<_> = changed.chain(about(step.event)).collect();
        for plan in plans.into_iter().filter_map(|name| step.after.plans.get(name)) {
            for release in plan.releases.values().filter(|release| release.aborted.is_some()) {
                for (ring, run) in &release.rings {
                    self.ends(plan, release, (ring, run), step.now)?;
                }
            }
        }
        Ok(())
    }
}

impl Aborts {
    fn ends(
        &mut self,
        plan: &PlanState,
        release: &Release,
        (ring, run): (&RingName, &RingRun),
        now: Now,
    ) -> Result<(), String> {
        let id = &release.id;
        match run.phase {
            Phase::Deploying | Phase::Soaking => {
                return Err(format!("{id} is aborted, and {:?} on {ring}", run.phase));
            }
            Phase::Failed => return names_the_stuck(id, ring, run),
            Phase::RollingBack => {}
            Phase::Waiting
            | Phase::Passed
            | Phase::RolledBack
            | Phase::Aborted
            | Phase::Superseded => return Ok(()),
        }
        let deadline = release.plan.ring(ring).map(|ring| ring.policy.deadline);
        let mut under_way = false;
        for (cluster, here) in &run.clusters {
            under_way |= match &here.step {
                ClusterStep::Restored | ClusterStep::Stuck(_) => false,
                // A write that was called back may have arrived all the same.
                ClusterStep::Planned | ClusterStep::Failed(_) => here.intent.is_some(),
                ClusterStep::Deploying | ClusterStep::Ready | ClusterStep::Restoring => true,
            };
            if here.step != ClusterStep::Restoring {
                continue;
            }
            let state = plan.targets.get(cluster).and_then(|target| target.state.as_ref());
            let visible = state.is_some_and(|state| state.is_visible());
            let watch = self.back.entry((id.clone(), ring.clone(), cluster.clone())).or_default();
            let used = watch.look(visible, now.mono);
            if deadline.is_some_and(|deadline| used > deadline) {
                return Err(format!(
                    "{id} is aborted, and {cluster} of {ring} goes back since {used}, of {deadline:?}"
                ));
            }
        }
        match under_way {
            true => Ok(()),
            false => Err(format!("{id} is aborted, every target of {ring} is done, and it is not")),
        }
    }
}

/// A ring that could not go back says which targets are stuck, by name.
fn names_the_stuck(id: &ReleaseId, ring: &RingName, run: &RingRun) -> Result<(), String> {
    let cause = run.cause.as_deref().unwrap_or_default();
    let stuck = run.clusters.iter().filter(|(_, here)| matches!(here.step, ClusterStep::Stuck(_)));
    match stuck.map(|(name, _)| name).find(|name| !cause.contains(name.as_str())) {
        Some(name) => Err(format!("{name} is stuck after {id} was aborted on {ring}: `{cause}`")),
        None => Ok(()),
    }
}

fn about(event: &Event) -> Option<&PlanName> {
    match event {
        Event::TookOver | Event::Limits(_) | Event::Source { .. } | Event::Learned(_) => None,
        Event::Declared { plan, .. }
        | Event::Observed { plan, .. }
        | Event::Found { plan, .. }
        | Event::Outcome { plan, .. }
        | Event::Measured { plan, .. }
        | Event::Submitted { plan, .. }
        | Event::Wake { plan } => Some(plan),
        Event::Operator(request) => request.action.plan(),
    }
}
