//! What was seen of targets, and what a writer that takes over has not seen.

use std::sync::Arc;

use super::{DebtRun, PlanState, RingRun, Step, Stopwatch, World};
use crate::{
    decide::{command::Command, event::TargetState},
    ids::{ClusterName, PlanName},
    model::time::{Now, Span},
};

impl World {
    /// Everything that a predecessor saw may have changed: nothing is healthy until it is seen again,
    /// and measurements that were out are asked for anew.
    pub(super) fn take_over(&mut self, epoch: u64, at: Now) {
        self.epoch = epoch;
        let away = self.away(at);
        for plan in self.plans.values_mut() {
            let plan = Arc::make_mut(plan);
            plan.in_flight.retain(|_, c| !matches!(**c, Command::Measure(_)));
            for target in Arc::make_mut(&mut plan.targets).values_mut() {
                target.state = None;
            }
            for release in plan.releases.values_mut() {
                let measured =
                    |run: &RingRun| run.phase.in_motion() || run.watched || !run.debts.is_empty();
                if !release.rings.values().any(|run| measured(run)) {
                    continue;
                }
                let release = Arc::make_mut(release);
                for (name, run) in &mut release.rings {
                    if !measured(run) {
                        continue;
                    }
                    let run = Arc::make_mut(run);
                    let backfill = release.plan.ring(name).is_some_and(|r| r.policy.soak.backfill);
                    if let Some(from) = run.soak.healthy_at.filter(|_| backfill) {
                        run.open_gap(from, away);
                    } else if let Some(gap) = &mut run.soak.gap {
                        gap.asked.clear();
                        if gap.to.is_none() {
                            gap.away = gap.away + away;
                        }
                    }
                    run.debts.values_mut().for_each(DebtRun::look_away);
                    run.soak.healthy_at = None;
                    for cluster in run.clusters.values_mut() {
                        cluster.reachable.stop(at.mono);
                        cluster.unready.stop(at.mono);
                        cluster.denied = None;
                    }
                    for gate in run.gates.values_mut() {
                        let gate = Arc::make_mut(gate);
                        gate.asked = None;
                        gate.fresh = false;
                        // A first measurement that was not due yet keeps its delay.
                        if gate.latest.is_some() {
                            gate.due = gate.due.min(at.mono);
                        }
                        gate.no_data_since = gate.no_data_since.map(|_| at.mono);
                    }
                }
            }
        }
    }

    /// How long nobody was there before a take-over, by the wall clock: less what its own clock has
    /// counted since the last entry.
    fn away(&self, at: Now) -> Span {
        let Some(last) = self.recorded else { return Span::ZERO };
        let passed = at.wall.duration_since(last.wall).as_millis();
        let passed = Span(u64::try_from(passed).unwrap_or(0));
        passed.saturating_sub(at.mono.since(last.mono))
    }

    pub(super) fn see(
        &mut self,
        plan: &PlanName,
        cluster: &ClusterName,
        seen: &TargetState,
        at: Now,
    ) {
        let state = self.plan_mut(plan);
        state.target_mut(cluster).state = Some(seen.clone());
        let visible = seen.is_visible();
        let PlanState { open, releases, .. } = state;
        for version in open.iter() {
            let Some(release) = releases.get_mut(version) else { continue };
            let on = |r: &Arc<RingRun>| r.phase.in_motion() && r.clusters.contains_key(cluster);
            if !release.rings.values().any(on) {
                continue;
            }
            let artifact = release.artifact.clone();
            for run in Arc::make_mut(release).rings.values_mut().filter(|r| on(r)) {
                let run = Arc::make_mut(run);
                let Some(here) = run.clusters.get_mut(cluster) else { continue };
                let moving = matches!(here.step, Step::Deploying | Step::Restoring);
                match visible && moving {
                    true => here.reachable.run(at.mono),
                    false => here.reachable.stop(at.mono),
                }
                let healthy = seen.is_healthy(&artifact, here.intent.as_ref());
                if let Some(gap) = run.soak.gap.as_mut().filter(|_| visible) {
                    let known = gap.ready_since.get(cluster);
                    if !healthy
                        || known != seen.ready_since.as_ref()
                        || here.revision != seen.revision
                    {
                        gap.ready_since.remove(cluster);
                    }
                }
                if healthy {
                    here.ready_since = seen.ready_since;
                }
                if here.step == Step::Ready && visible && !healthy {
                    here.unready.run(at.mono);
                } else if healthy {
                    here.unready = Stopwatch::default();
                } else {
                    here.unready.stop(at.mono);
                }
            }
        }
    }
}
