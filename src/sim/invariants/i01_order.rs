use std::collections::BTreeMap;

use super::{Invariant, On, Step};
use crate::{
    decide::{
        fact::{Fact, Verdict},
        world::{Phase, Step as ClusterStep},
    },
    ids::{ReleaseId, RingName},
    model::{graph::Join, time::Span},
};

/// Books the soak of each ring by itself, and holds every pass and every start against the books.
#[derive(Debug, Default)]
pub(super) struct Order {
    credited: BTreeMap<(ReleaseId, RingName), Span>,
}

impl Invariant for Order {
    fn number(&self) -> u8 {
        1
    }

    fn says(&self) -> &'static str {
        "a ring starts a release only after the rings before it have soaked it through"
    }

    fn check(&mut self, step: &Step<'_>) -> Result<(), String> {
        for fact in &step.decision.facts {
            if let Fact::SoakCredited { release, ring, span } = fact {
                let soak = self.credited.entry((release.clone(), ring.clone())).or_default();
                *soak = *soak + *span;
            } else if let Fact::RingStarted { release, ring, .. }
            | Fact::SoakStarted { release, ring }
            | Fact::SoakReset { release, ring, .. } = fact
            {
                self.credited.insert((release.clone(), ring.clone()), Span::ZERO);
            }
            if let Fact::RingPassed { release, ring } = fact {
                self.soaked(step, release, ring)?;
            } else if let Fact::RingStarted { release, ring, .. } = fact {
                self.may_start(step, release, ring)?;
            }
        }
        Ok(())
    }
}

impl Order {
    fn may_start(&self, step: &Step<'_>, id: &ReleaseId, ring: &RingName) -> Result<(), String> {
        let after = step.on(id, ring)?.release.plan.graph.after(ring);
        let mut each = after.rings.iter().map(|before| self.soaked(step, id, before));
        match after.join {
            Join::All => each.collect(),
            Join::Any if after.rings.is_empty() => Ok(()),
            Join::Any => each
                .find(Result::is_ok)
                .unwrap_or_else(|| Err(format!("{ring} started before any of {:?}", after.rings))),
        }
    }

    fn soaked(&self, step: &Step<'_>, id: &ReleaseId, ring: &RingName) -> Result<(), String> {
        let On { run, ring: declared, .. } = step.on(id, ring)?;
        if run.phase != Phase::Passed {
            return Err(format!("{id} is {:?} on {ring}", run.phase));
        }
        let needed = declared.policy.soak.duration;
        let have = self.credited.get(&(id.clone(), ring.clone())).copied().unwrap_or_default();
        if have < needed {
            return Err(format!("{id} has soaked {have} of {needed} on {ring}"));
        }
        let ready = run.clusters.iter().filter(|(_, here)| here.step == ClusterStep::Ready);
        for (cluster, _) in ready {
            for gate in declared.policy.gates.iter().filter(|gate| gate.required) {
                let latest = run.gates.get(&(cluster.clone(), gate.name.clone()));
                let latest = latest.and_then(|run| run.latest.as_ref());
                let verdict = latest.map(|(judged, _)| judged.verdict);
                if verdict != Some(Verdict::Pass) {
                    let gate = &gate.name;
                    return Err(format!("{gate} last said {verdict:?} on {cluster} of {ring}"));
                }
            }
        }
        Ok(())
    }
}
