use std::collections::{BTreeMap, BTreeSet};

use super::{Invariant, On, Step};
use crate::{
    decide::{
        fact::{Debt, Fact, Verdict},
        world::{Phase, Release, Step as ClusterStep},
    },
    ids::{ReleaseId, RingName},
    model::{graph::Join, time::Span},
};

/// Books the soak of each ring by itself, and holds every pass and every start against the books; and
/// what a hotfix does without is on record when it does so.
#[derive(Debug, Default)]
pub(super) struct Order {
    credited: BTreeMap<(ReleaseId, RingName), Span>,
    /// What was owed on a ring since its attempt began, whatever became of it.
    owed: BTreeMap<(ReleaseId, RingName), BTreeSet<Debt>>,
    passed: BTreeSet<(ReleaseId, RingName)>,
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
            if let Fact::SoakCredited { release, ring, span }
            | Fact::SoakBackfilled { release, ring, span, .. } = fact
            {
                let soak = self.credited.entry((release.clone(), ring.clone())).or_default();
                *soak = *soak + *span;
            } else if let Fact::RingStarted { release, ring, .. }
            | Fact::SoakStarted { release, ring }
            | Fact::SoakReset { release, ring, .. } = fact
            {
                self.credited.insert((release.clone(), ring.clone()), Span::ZERO);
            }
            if let Fact::RingStarted { release, ring, .. } = fact {
                self.owed.insert((release.clone(), ring.clone()), BTreeSet::new());
            } else if let Fact::DebtRecorded { release, ring, debt } = fact {
                let owed = self.owed.entry((release.clone(), ring.clone())).or_default();
                owed.insert(debt.clone());
            }
        }
        for fact in &step.decision.facts {
            if let Fact::RingPassed { release, ring } = fact {
                self.soaked(step, release, ring)?;
                self.passed.insert((release.clone(), ring.clone()));
            } else if let Fact::RingFailed { release, ring, .. }
            | Fact::RollbackStarted { release, ring, .. } = fact
            {
                self.passed.remove(&(release.clone(), ring.clone()));
            } else if let Fact::RingStarted { release, ring, .. } = fact {
                self.may_start(step, release, ring)?;
            }
        }
        Ok(())
    }
}

impl Order {
    fn may_start(&self, step: &Step<'_>, id: &ReleaseId, ring: &RingName) -> Result<(), String> {
        let release = step.on(id, ring)?.release;
        self.ran_ahead(release, ring)?;
        let after = release.plan.graph.after(ring);
        // What a ring that passed measures since then does not undo that: only a revoked pass does.
        let mut each = after.rings.iter().map(|before| {
            let passed = self.passed.contains(&(id.clone(), before.clone()));
            if passed { Ok(()) } else { Err(format!("{id} has not passed {before}")) }
        });
        match after.join {
            Join::All => each.collect(),
            Join::Any if after.rings.is_empty() => Ok(()),
            Join::Any => each
                .find(Result::is_ok)
                .unwrap_or_else(|| Err(format!("{ring} started before any of {:?}", after.rings))),
        }
    }

    /// A hotfix waits for the rings that may not be skipped, and owes the others that it did not wait for.
    fn ran_ahead(&self, release: &Release, ring: &RingName) -> Result<(), String> {
        let Some(lane) = &release.hotfix else { return Ok(()) };
        let rules = lane.normal.lanes.hotfix.as_ref();
        let owed = self.owed.get(&(release.id.clone(), ring.clone()));
        let after = lane.normal.graph.after(ring);
        let passed = |ring: &RingName| self.passed.contains(&(release.id.clone(), ring.clone()));
        if after.join == Join::Any && (after.rings.is_empty() || after.rings.iter().any(passed)) {
            return Ok(());
        }
        for before in after.rings.iter().filter(|before| !passed(before)) {
            let fixed = rules.is_some_and(|rules| rules.may_not_skip.contains(before));
            if fixed && after.join == Join::All {
                return Err(format!("{ring} started before {before}, which may not be skipped"));
            }
            if !owed.is_some_and(|owed| owed.contains(&Debt::Ahead(before.clone()))) {
                return Err(format!("{ring} started before {before}, and owes nothing for it"));
            }
        }
        Ok(())
    }

    fn soaked(&self, step: &Step<'_>, id: &ReleaseId, ring: &RingName) -> Result<(), String> {
        let On { run, ring: declared, .. } = step.on(id, ring)?;
        if run.phase != Phase::Passed {
            return Err(format!("{id} is {:?} on {ring}", run.phase));
        }
        let needed = self.needed(step.on(id, ring)?)?;
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

    /// The soak that a ring asks of a release, which may be a part of the whole in a hotfix's lane; the
    /// gates that hold nothing there are owed.
    fn needed(&self, on: On<'_>) -> Result<Span, String> {
        let On { release, ring, .. } = on;
        let asked = ring.policy.soak.duration;
        let Some(lane) = &release.hotfix else { return Ok(asked) };
        let normal = lane.normal.ring(&ring.name);
        let rules = lane.normal.lanes.hotfix.as_ref();
        let (Some(normal), Some(rules)) = (normal, rules) else {
            return Err(format!("{} is in a lane that its plan has not", release.id));
        };
        let owed = self.owed.get(&(release.id.clone(), ring.name.clone()));
        for gate in normal.policy.gates.iter().filter(|gate| gate.required) {
            let held = ring.policy.gates.iter().any(|g| g.name == gate.name && g.required);
            if !held && !owed.is_some_and(|owed| owed.contains(&Debt::Gate(gate.name.clone()))) {
                return Err(format!("{} holds nothing on {}, unowed", gate.name, ring.name));
            }
        }
        Ok(asked.max(rules.soak.floor.min(normal.policy.soak.duration)))
    }
}
