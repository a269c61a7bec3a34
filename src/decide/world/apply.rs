//! Facts to what is true, one by one.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    ANSWERS, Approval, Back, Claim, ClusterRun, DebtRun, Ended, Freeze, Illegal, KnownGood, Moving,
    Pause, Phase, Said, SoakRun, SourceState, Step, World, changed, ticks,
};
use crate::{
    decide::{fact::Fact, gate::history::History},
    model::time::{Now, Span},
};

impl World {
    /// Makes a fact true. It never decides: it says what follows from the fact, and refuses a fact
    /// that cannot be true.
    pub fn apply(&mut self, fact: &Fact, at: Now) -> Result<(), Illegal> {
        self.reached = self.reached.max(at.mono);
        match ticks(fact) {
            Some(plan) => self.quietly(plan, |world| world.establish(fact, at))?,
            None => {
                self.establish(fact, at)?;
                changed(fact).into_iter().for_each(|release| self.note_open(release));
            }
        }
        self.recorded = Some(at);
        Ok(())
    }

    fn establish(&mut self, fact: &Fact, at: Now) -> Result<(), Illegal> {
        match fact {
            Fact::TookOver { epoch } => self.take_over(*epoch, at),
            Fact::SourceAccepted { commit } => {
                self.source = SourceState {
                    commit: Some(commit.clone()),
                    accepted: Some(at.wall),
                    refused: None,
                };
            }
            Fact::SourceRefused { commit, why } => {
                self.source.refused = Some((commit.clone(), why.clone()));
            }
            Fact::PlanDeclared { plan } => {
                let state = self.plan_mut(&plan.name);
                state.problems.clear();
                state.withdrawn = false;
                state.declared = Some(plan.clone());
            }
            Fact::PlanInError { plan, problems, .. } => {
                self.plan_mut(plan).problems = problems.clone();
            }
            Fact::PlanWithdrawn { plan, .. } => self.plan_mut(plan).withdrawn = true,
            Fact::Submitted { .. } => self.submit(fact, at)?,
            Fact::SnapshotTightened { release, snapshot, .. } => self.tighten(release, snapshot)?,
            Fact::Refused { .. } | Fact::GlassBroken { .. } => {}
            Fact::Answered { key, fingerprint, answer } => {
                let answers = Arc::make_mut(&mut self.answers);
                answers.by_key.insert(key.clone(), (fingerprint.clone(), answer.clone()));
                answers.order.push_back(key.clone());
                if answers.order.len() > ANSWERS
                    && let Some(oldest) = answers.order.pop_front()
                {
                    answers.by_key.remove(&oldest);
                }
            }
            Fact::Paused { scope, by, reason, members } => {
                let said = Said { by: by.clone(), at, reason: reason.clone() };
                let pause = Pause { said, members: members.clone() };
                Arc::make_mut(&mut self.shared).pauses.insert(scope.clone(), pause);
                self.revise(scope, members);
            }
            Fact::Resumed { scope, .. } => {
                let pause = Arc::make_mut(&mut self.shared).pauses.remove(scope);
                self.revise(scope, &pause.map(|pause| pause.members).unwrap_or_default());
            }
            Fact::Frozen { id, scope, until, by, reason, members } => {
                let said = Said { by: by.clone(), at, reason: Some(reason.clone()) };
                let (scope, members) = (scope.clone(), members.clone());
                self.revise(&scope, &members);
                let freeze = Freeze { scope, until: *until, said, members };
                Arc::make_mut(&mut self.shared).freezes.insert(id.clone(), freeze);
            }
            Fact::Lifted { id, .. } => {
                let lifted = Arc::make_mut(&mut self.shared).freezes.remove(id);
                if let Some(Freeze { scope, members, .. }) = lifted {
                    self.revise(&scope, &members);
                }
            }
            Fact::Approved { release, ring, by, binding, .. } => {
                let approval = Approval { by: by.clone(), binding: binding.clone(), at };
                self.run_mut(release, ring)?.approvals.push(approval);
            }
            Fact::Rejected { release, ring, by, reason } => {
                self.enter(release, ring, Phase::Failed, at)?;
                let why = reason.as_deref().map(|r| format!(": {r}")).unwrap_or_default();
                let run = self.run_mut(release, ring)?;
                run.approvals.clear();
                // What an earlier attempt could not take back is there still.
                let stuck = match run.stuck() {
                    stuck if stuck.is_empty() => String::new(),
                    stuck => format!("; stuck: {}", stuck.join("; ")),
                };
                run.cause = Some(format!("rejected by {}{why}{stuck}", by.name));
            }
            Fact::Advanced { release, ring, .. } => self.run_mut(release, ring)?.advanced = true,
            Fact::Promoted { release, ring, cluster, .. } => {
                self.cluster_mut(release, ring, cluster)?.promotes += 1;
            }
            Fact::Adopted { plan, cluster, version, artifact } => {
                let target = self.plan_mut(plan).target_mut(cluster);
                target.known_good =
                    vec![KnownGood { version: version.clone(), artifact: artifact.clone() }];
            }
            Fact::TargetSeen { plan, cluster, state } => self.see(plan, cluster, state, at),
            Fact::EffectSettled { plan, key, .. }
            | Fact::EffectSuperseded { plan, key }
            | Fact::MeasureDropped { plan, key } => {
                self.plan_mut(plan).in_flight.remove(key);
            }
            Fact::RingStarted { release, ring, attempt, clusters } => {
                self.enter(release, ring, Phase::Deploying, at)?;
                let run = self.run_mut(release, ring)?;
                run.attempt = *attempt;
                run.started = Some(at);
                run.cause = None;
                run.back = None;
                run.soak = SoakRun::default();
                run.gates.clear();
                run.debts.clear();
                run.clusters =
                    clusters.iter().map(|c| (c.clone(), ClusterRun::default())).collect();
                self.leave_line(&release.plan, ring);
            }
            Fact::ClusterReady { release, ring, cluster } => {
                let target = self.plans.get(&release.plan).and_then(|p| p.targets.get(cluster));
                let state = target.and_then(|target| target.state.clone());
                let run = self.cluster_mut(release, ring, cluster)?;
                run.step = Step::Ready;
                run.ready_since = state.as_ref().and_then(|state| state.ready_since);
                run.revision = state.and_then(|state| state.revision);
                run.reachable.stop(at.mono);
            }
            Fact::ClusterFailed { release, ring, cluster, cause } => {
                self.cluster_mut(release, ring, cluster)?.step = Step::Failed(cause.clone());
            }
            Fact::SoakStarted { release, ring } => self.start_soak(release, ring, at)?,
            Fact::SoakRunning { release, ring, running, blind } => {
                let run = self.run_mut(release, ring)?;
                if let Some(from) = run.soak.healthy_at.filter(|_| *blind) {
                    run.open_gap(from, Span::ZERO);
                } else if *running {
                    if let Some(gap) = &mut run.soak.gap {
                        gap.to.get_or_insert(at);
                    }
                } else if run.soak.healthy_at.is_some() {
                    // It stands still for a cause that is known: whoever asks history about an earlier
                    // stretch can no longer tell it from this one.
                    run.soak.gap = None;
                }
                run.soak.healthy_at = running.then_some(at.mono);
            }
            Fact::HistoryMeasured { release, ring, cluster, gate, key, verdicts, .. } => {
                self.plan_mut(&release.plan).in_flight.remove(key);
                if let Some(gap) = &mut self.run_mut(release, ring)?.soak.gap {
                    let place = (cluster.clone(), gate.clone());
                    gap.asked.remove(&place);
                    if verdicts.is_empty() {
                        gap.tries += 1;
                    } else {
                        gap.told.insert(place, verdicts.clone());
                    }
                }
            }
            Fact::SoakBackfilled { release, ring, span, .. } => {
                let soak = &mut self.run_mut(release, ring)?.soak;
                soak.credited = soak.credited + *span;
                soak.gap = None;
            }
            Fact::SoakCredited { release, ring, span } => {
                let soak = &mut self.run_mut(release, ring)?.soak;
                soak.credited = soak.credited + *span;
                soak.healthy_at = Some(at.mono);
            }
            Fact::SoakReset { release, ring, .. } => {
                let plan = self.plans.get(&release.plan).cloned();
                let run = self.run_mut(release, ring)?;
                run.soak = SoakRun::default();
                for gate in run.gates.values_mut() {
                    Arc::make_mut(gate).total_samples = 0.0;
                }
                for (cluster, here) in &mut run.clusters {
                    let target = plan.as_ref().and_then(|plan| plan.targets.get(cluster));
                    let seen = target.and_then(|t| t.state.as_ref()?.revision.clone());
                    let Some(seen) = seen else { continue };
                    // What was measured says nothing of what runs now; of the same, it says as much
                    // as before: a reset forgives no evidence.
                    if here.revision.as_ref().is_some_and(|before| *before != seen) {
                        let gates = run.gates.iter_mut().filter(|((c, _), _)| c == cluster);
                        gates.for_each(|(_, gate)| {
                            Arc::make_mut(gate).history = History::default();
                        });
                    }
                    here.revision = Some(seen);
                }
            }
            Fact::Measured { release, ring, cluster, gate, key, judged } => {
                self.measured(release, ring, (cluster, gate), key, judged, at)?;
            }
            Fact::BaselineTaken { release, ring, cluster, gate, value } => {
                let run = self.run_mut(release, ring)?;
                run.gate_mut(cluster, gate).baseline = Some(*value);
            }
            Fact::HistoryTaken { release, ring, cluster, gate, taken } => {
                let run = self.run_mut(release, ring)?;
                run.gate_mut(cluster, gate).history.take(taken);
            }
            Fact::RingPassed { release, ring } => self.pass(release, ring, at)?,
            Fact::WatchEnded { release, ring } => self.run_mut(release, ring)?.watched = false,
            Fact::RingFailed { release, ring, cause } => {
                self.unlearn(release, ring)?;
                self.enter(release, ring, Phase::Failed, at)?;
                self.run_mut(release, ring)?.cause = Some(cause.clone());
            }
            Fact::RollbackStarted { release, ring, cause, automatic, scope, .. } => {
                self.unlearn(release, ring)?;
                self.enter(release, ring, Phase::RollingBack, at)?;
                let aborting = self.release_mut(release)?.aborted.is_some();
                let run = self.run_mut(release, ring)?;
                run.cause = Some(cause.clone());
                run.aborting = aborting;
                run.back = Some(Back { automatic: *automatic, scope: *scope, begun: false });
                // What was stuck is tried again: a try of its own, because targets that have accepted
                // the keys of this one would do nothing about them.
                let mut stuck = false;
                for here in run.clusters.values_mut() {
                    here.denied = None;
                    if let Step::Stuck(cause) = &here.step {
                        here.step = Step::Failed(cause.clone());
                        stuck = true;
                    }
                }
                run.attempt += u32::from(stuck);
            }
            Fact::RollbackQueued { release, ring, queued } => {
                Arc::make_mut(&mut self.shared).rollbacks.wait(release, ring, *queued);
            }
            Fact::RollbackHastened { release, ring, .. } => {
                Arc::make_mut(&mut self.shared).rollbacks.wait(release, ring, false);
                self.run_mut(release, ring)?.back.get_or_insert_default().automatic = false;
            }
            Fact::StartQueued { release, ring, queued: true } => {
                let known = self.release(release).map(|r| r.plan.clone());
                let plan = known.ok_or_else(|| Illegal { what: format!("a wait of {release}") })?;
                let moving = Moving::of(&plan, self.ring(release, ring)?);
                let (release, ring) = (release.clone(), ring.clone());
                self.line_mut().join(Claim { release, ring, moving });
            }
            Fact::StartQueued { release, ring, queued: false } => {
                self.leave_line(&release.plan, ring);
            }
            Fact::LimitsSet { limits } => {
                let shared = Arc::make_mut(&mut self.shared);
                shared.rollbacks.limits = limits.rollbacks;
                shared.limits = Arc::new(limits.in_motion.clone());
            }
            Fact::ClusterRestored { release, ring, cluster } => {
                self.cluster_mut(release, ring, cluster)?.step = Step::Restored;
            }
            Fact::ClusterStuck { release, ring, cluster, cause } => {
                self.cluster_mut(release, ring, cluster)?.step = Step::Stuck(cause.clone());
            }
            Fact::RingRolledBack { release, ring } => {
                self.enter(release, ring, Phase::RolledBack, at)?;
                self.bury(release, ring)?;
            }
            Fact::RingSuperseded { release, ring, .. } => {
                self.enter(release, ring, Phase::Superseded, at)?;
            }
            Fact::Aborted { release, by, reason, .. } => {
                let said = Said { by: by.clone(), at, reason: reason.clone() };
                let release = self.release_mut(release)?;
                release.aborted = Some(said);
                for run in release.rings.values_mut().filter(|run| run.watched) {
                    Arc::make_mut(run).watched = false;
                }
                for run in release.rings.values_mut() {
                    if run.phase == Phase::RollingBack {
                        Arc::make_mut(run).aborting = true;
                    }
                }
            }
            Fact::RingAborted { release, ring } => {
                let touched = self.run_mut(release, ring)?.started.is_some();
                self.enter(release, ring, Phase::Aborted, at)?;
                if touched {
                    self.bury(release, ring)?;
                }
            }
            Fact::Retried { release, ring, .. } => {
                self.enter(release, ring, Phase::Waiting, at)?;
                let run = self.run_mut(release, ring)?;
                run.cause = None;
                run.back = None;
                let plan = self.plan_mut(&release.plan);
                if let Some(buried) = plan.tombstones.get_mut(ring) {
                    buried.remove(&release.version);
                }
            }
            Fact::LaneTaken { release, plan } => self.take_lane(release, plan)?,
            Fact::LaneLapsed { release, rings, plan } => self.leave_lane(release, rings, plan)?,
            Fact::DebtRecorded { release, ring, debt } => {
                let debts = &mut self.run_mut(release, ring)?.debts;
                debts.insert(debt.clone(), DebtRun { since: at, seen: BTreeMap::new() });
            }
            Fact::DebtPaid { release, ring, debt }
            | Fact::DebtDropped { release, ring, debt, .. }
            | Fact::DebtWrittenOff { release, ring, debt, .. } => {
                self.clear_debt(release, ring, debt)?;
            }
            Fact::PlacesDeclared { clusters } => {
                self.facts_mut().declare(clusters);
            }
            Fact::BlocsDeclared { blocs } => {
                Arc::make_mut(&mut Arc::make_mut(&mut self.shared).blocs).declare(blocs);
            }
            Fact::ClusterWitnessed { cluster, witness } => {
                self.facts_mut().witness(cluster.clone(), witness.clone());
            }
            Fact::HomeStated { home } => self.facts_mut().home = home.clone(),
            Fact::DeployRecalled { release, ring, cluster, .. } => {
                // It may have arrived all the same: the intent stays, for whoever takes it back.
                let here = self.cluster_mut(release, ring, cluster)?;
                here.step = Step::Planned;
                here.recalls += 1;
                here.reachable.stop(at.mono);
            }
            Fact::RestoreDenied { release, ring, cluster, why } => {
                let denied = why.as_ref().map(|_| at.mono);
                self.cluster_mut(release, ring, cluster)?.denied = denied;
            }
            Fact::WaiverAsked { plan, id, waiver, by } => {
                self.ask_waiver((plan, id), waiver, by, at)?;
            }
            Fact::WaiverApproved { plan, id, by } => {
                self.waiver_mut(plan, id)?.approvals.push((by.clone(), at));
            }
            Fact::WaiverRevoked { plan, id, by, reason } => {
                let said = Said { by: by.clone(), at, reason: reason.clone() };
                self.end_waiver(plan, id, Ended::Revoked(said))?;
            }
            Fact::WaiverVoided { plan, id, why } => {
                self.end_waiver(plan, id, Ended::Voided { why: why.clone(), at })?;
            }
        }
        Ok(())
    }
}
