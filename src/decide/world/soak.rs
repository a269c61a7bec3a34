//! What follows from the facts of a soak: what is due next, what is known to be good, what is buried.

use std::sync::Arc;

use super::{Illegal, KnownGood, Phase, PlanState, Step, World};
use crate::{
    decide::{
        command::Command,
        fact::{Debt, Judged, Verdict},
        gate::sequential,
        soak::LATE,
    },
    ids::{ClusterName, GateName, IdempotencyKey, ReleaseId, RingName},
    model::{
        policy::{Gate, Judge},
        ring::Artifact,
        time::{Now, Span},
    },
};

impl World {
    pub(super) fn start_soak(
        &mut self,
        release: &ReleaseId,
        ring: &RingName,
        at: Now,
    ) -> Result<(), Illegal> {
        self.enter(release, ring, Phase::Soaking, at)?;
        let gates = self.ring(release, ring)?.policy.gates.clone();
        let run = self.run_mut(release, ring)?;
        let ready = run.clusters.iter().filter(|(_, c)| c.step == Step::Ready);
        let ready: Vec<ClusterName> = ready.map(|(name, _)| name.clone()).collect();
        for cluster in ready {
            for gate in &gates {
                run.gate_mut(&cluster, &gate.name).due = at.mono + gate.initial_delay;
            }
        }
        Ok(())
    }

    pub(super) fn measured(
        &mut self,
        release: &ReleaseId,
        ring: &RingName,
        (cluster, name): (&ClusterName, &GateName),
        key: &IdempotencyKey,
        judged: &Judged,
        at: Now,
    ) -> Result<(), Illegal> {
        let asked = self.plan_mut(&release.plan).in_flight.remove(key);
        let snapshot = self.release(release).map(|release| release.plan.clone());
        let declared = snapshot.as_ref().and_then(|plan| plan.ring(ring));
        let gate =
            declared.and_then(|r| Some((r, r.policy.gates.iter().find(|g| g.name == *name)?)));
        let (declared, gate) =
            gate.ok_or_else(|| Illegal { what: format!("a measurement of {name}") })?;
        let due = match asked.as_deref() {
            Some(Command::Measure(measure)) => measure.due,
            _ => at.mono,
        };
        let run = self.run_mut(release, ring)?;
        let state = run.gate_mut(cluster, name);
        state.asked = None;
        state.fresh = true;
        state.due = match judged.verdict {
            Verdict::Error => at.mono + retry_delay(gate, key),
            Verdict::Pass | Verdict::Fail | Verdict::Insufficient | Verdict::Absent => {
                // The next point of the grid that is still to come: what was missed is not made up.
                let missed = at.mono.since(due).0 / gate.interval.0.max(1);
                due + gate.interval * (missed + 1)
            }
        };
        state.count(judged.verdict, due.min(at.mono));
        state.total_samples += judged.samples.unwrap_or(0.0);
        if judged.samples.is_some() || judged.kept.is_some() {
            state.counted = Some(state.asked_at);
        }
        if let Some(kept) = &judged.kept {
            state.history.keep(kept, |history| match &gate.judge {
                Judge::Sequential(rules) => {
                    let phi = rules.phi.or(history.phi)?;
                    Some(sequential::rules(rules, phi, sequential::tests_of(declared)))
                }
                Judge::Threshold { .. }
                | Judge::Relative { .. }
                | Judge::MannWhitney(_)
                | Judge::BurnRate(_)
                | Judge::Alerts(_)
                | Judge::Webhook
                | Judge::Kubernetes(_) => None,
            });
        }
        state.latest = Some((judged.clone(), at));
        if let Some(debt) = run.debts.get_mut(&Debt::Gate(name.clone())) {
            debt.see(cluster, judged.verdict, gate.interval * 2 + LATE, at.mono);
        }
        Ok(())
    }

    pub(super) fn pass(
        &mut self,
        release: &ReleaseId,
        ring: &RingName,
        at: Now,
    ) -> Result<(), Illegal> {
        self.enter(release, ring, Phase::Passed, at)?;
        let watched = self.ring(release, ring)?.policy.after_watch > Span::ZERO;
        let artifact = self.release_mut(release)?.artifact.clone();
        let run = self.run_mut(release, ring)?;
        run.watched = watched;
        if watched {
            run.gates.values_mut().for_each(|gate| Arc::make_mut(gate).forgive());
        }
        let ready = run.clusters.iter().filter(|(_, c)| c.step == Step::Ready);
        let ready: Vec<ClusterName> = ready.map(|(name, _)| name.clone()).collect();
        let plan = self.plan_mut(&release.plan);
        for cluster in ready {
            let goods = &mut plan.target_mut(&cluster).known_good;
            goods.retain(|good| !good.artifact.same_as(&artifact));
            let version = Some(release.version.clone());
            goods.push(KnownGood { version, artifact: artifact.clone() });
            if goods.len() > KNOWN_GOODS {
                goods.remove(0);
            }
        }
        Ok(())
    }

    pub(super) fn bury(&mut self, release: &ReleaseId, ring: &RingName) -> Result<(), Illegal> {
        let artifact = self.release_mut(release)?.artifact.clone();
        let clusters = self.run_mut(release, ring)?.clusters.clone();
        let plan = self.plan_mut(&release.plan);
        plan.tombstones
            .entry(ring.clone())
            .or_default()
            .insert(release.version.clone(), artifact.clone());
        forget(plan, clusters.keys(), &artifact);
        Ok(())
    }

    /// A pass that counts no more makes nothing known to be good.
    pub(super) fn unlearn(&mut self, release: &ReleaseId, ring: &RingName) -> Result<(), Illegal> {
        if self.run(release, ring).is_none_or(|run| run.phase != Phase::Passed) {
            return Ok(());
        }
        let artifact = self.release_mut(release)?.artifact.clone();
        let clusters = self.run_mut(release, ring)?.clusters.clone();
        forget(self.plan_mut(&release.plan), clusters.keys(), &artifact);
        Ok(())
    }
}

/// Known goods that are kept a target: the last may itself turn out bad.
const KNOWN_GOODS: usize = 5;

/// What had to be taken back is no place to go back to, even if it once soaked there.
fn forget<'a>(
    plan: &mut PlanState,
    clusters: impl Iterator<Item = &'a ClusterName>,
    artifact: &Artifact,
) {
    for cluster in clusters {
        if let Some(target) = Arc::make_mut(&mut plan.targets).get_mut(cluster) {
            target.known_good.retain(|good| !good.artifact.same_as(artifact));
        }
    }
}

/// 90% to 100% of the interval, by the measurement's own key: spread, and the same on replay.
fn retry_delay(gate: &Gate, key: &IdempotencyKey) -> Span {
    let hash = key.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let tenth = gate.interval.0 / 10;
    Span(gate.interval.0 - (hash >> 32) % tenth.max(1))
}
