//! The soak: gates are measured, healthy time is credited tick by tick, and only Pass advances.

use std::sync::Arc;

use super::{
    Draft,
    command::{Command, Measure},
    event::{Answer, Reading, Status, TargetState},
    fact::{Fact, Verdict},
    gate::{
        About, Given, judge,
        query::{Vars, render},
        rule_of,
        sequential::tests_of,
    },
    residency,
    rollback::newer_on,
    waiting::waiting_on,
    world::{ClusterRun, GateRun, Illegal, Phase, Release, RingRun, Step},
};
use crate::{
    ids::{ReleaseId, RingName},
    model::{
        policy::{Baseline, Gate, Judge, OnBreach, OnNoData},
        residency::Disclose,
        ring::{Artifact, Cluster, Ring},
        time::{Mono, Now, Span},
    },
};

/// The longest that one measurement may take.
pub(super) const TIMEOUT: Span = Span::seconds(10);

/// What a measurement may be late by, beyond twice its interval, before its verdict is stale: one
/// time-out, and some scheduling.
pub(super) const LATE: Span = Span::seconds(15);

/// How often a ring without required gates is credited.
pub(super) const TICK: Span = Span::minutes(1);

impl Draft {
    /// Takes in a measurement, and lets what follows from it follow.
    pub(super) fn measured(&mut self, asked: &Measure, answer: &Answer) -> Result<(), Illegal> {
        let key = asked.key.clone();
        let (id, ring) = (&asked.release, &asked.ring);
        let (Some(release), Some(run)) = (self.release(id), self.world.run(id, ring)) else {
            return Ok(());
        };
        let declared = release.plan.ring(ring);
        let gate = declared.and_then(|r| r.policy.gates.iter().find(|g| g.name == asked.gate));
        let here = run.clusters.get(&asked.cluster).filter(|c| c.step == Step::Ready);
        let current = run.attempt == asked.attempt
            && match run.phase {
                Phase::Soaking => true,
                Phase::Passed => run.watched || self.is_owed(&release, run, asked),
                Phase::Waiting
                | Phase::Deploying
                | Phase::Failed
                | Phase::RollingBack
                | Phase::RolledBack
                | Phase::Aborted
                | Phase::Superseded => false,
            };
        let (Some(declared), Some(gate), Some(deployed), true) =
            (declared, gate, here.and_then(|c| c.deployed), current)
        else {
            return self.fact(Fact::MeasureDropped { plan: self.plan.clone(), key });
        };
        if let Some(past) = &asked.past {
            return self.recalled(asked, (&release, declared, gate), past, answer);
        }
        let place = (asked.cluster.clone(), asked.gate.clone());
        let unknown = GateRun::default();
        let state = run.gates.get(&place).map_or(&unknown, Arc::as_ref);
        let known = state.baseline;
        let (world, now) = (&self.world, self.now);
        let disclose = residency::may_disclose(world, &release, gate, &asked.cluster, now);
        let closed = disclose == Disclose::Verdict;
        let shares = closed.then(|| residency::in_shares(gate, declared));
        let given = Given {
            baseline: known,
            parts: &asked.parts,
            tests: tests_of(declared),
            ..Given::new(
                shares.as_ref().unwrap_or(gate),
                &state.history,
                deployed.wall,
                self.now.wall,
            )
        };
        let (judged, taken) = judge(&given, answer);
        let (cluster, name) = place;
        // What may not leave is never recorded: a baseline is measured again with each measurement, and
        // a judge that needs what was measured before has nothing to judge by.
        let (judged, taken) = residency::redacted(judged, taken, disclose);
        if let Some(taken) = taken {
            self.fact(Fact::HistoryTaken {
                release: id.clone(),
                ring: ring.clone(),
                cluster: cluster.clone(),
                gate: name.clone(),
                taken,
            })?;
        }
        if let (None, Some(Reading::Value { value, .. }), false) = (known, &answer.baseline, closed)
        {
            self.fact(Fact::BaselineTaken {
                release: id.clone(),
                ring: ring.clone(),
                cluster: cluster.clone(),
                gate: name.clone(),
                value: *value,
            })?;
        }
        let verdict = judged.verdict;
        let (release_id, ring_name) = (id.clone(), ring.clone());
        self.fact(Fact::Measured {
            release: release_id,
            ring: ring_name,
            cluster,
            gate: name,
            key,
            judged,
        })?;
        if verdict == Verdict::Fail && gate.required {
            self.breach(&release, declared, gate, asked)?;
        }
        if self.phase(id, ring) == Some(Phase::Soaking) {
            self.tick(&release, declared)?;
        }
        Ok(())
    }

    /// A required gate failed once more: the ring with it, or the soak as `onBreach` says.
    fn breach(
        &mut self,
        release: &Release,
        ring: &Ring,
        gate: &Gate,
        asked: &Measure,
    ) -> Result<(), Illegal> {
        let Some(run) = release_run(self, &release.id, &ring.name) else { return Ok(()) };
        let place = (asked.cluster.clone(), asked.gate.clone());
        let Some(state) = run.gates.get(&place) else { return Ok(()) };
        let credited = run.soak.credited;
        let detail = state.latest.as_ref().map_or(String::new(), |(j, _)| j.detail.clone());
        let what = format!("{} on {}: {detail}", gate.name, asked.cluster);
        let (failures, in_a_row) = (state.failures, state.failures_in_a_row);
        if let Some(limit) = gate.failure_limit.filter(|limit| failures > *limit) {
            let cause = format!("{what} ({failures} failing, {limit} allowed)");
            return self.fail(release, &ring.name, cause);
        }
        if let Some(limit) = gate.consecutive_failure_limit.filter(|limit| in_a_row > *limit) {
            let cause = format!("{what} ({in_a_row} failing in a row, {limit} allowed)");
            return self.fail(release, &ring.name, cause);
        }
        match ring.policy.soak.on_breach {
            // The soak of a ring that passed is over: only what fails the ring concerns it.
            OnBreach::Reset | OnBreach::Freeze if run.watched => Ok(()),
            OnBreach::Fail => self.fail(release, &ring.name, what),
            OnBreach::Reset if credited > Span::ZERO => self.reset(release, ring, what),
            OnBreach::Reset | OnBreach::Freeze => Ok(()),
        }
    }

    fn reset(&mut self, release: &Release, ring: &Ring, why: String) -> Result<(), Illegal> {
        let (release, ring) = (release.id.clone(), ring.name.clone());
        self.fact(Fact::SoakReset { release, ring, why })
    }

    /// The end of an interval: it is credited if everything was healthy at both its ends.
    fn tick(&mut self, release: &Release, ring: &Ring) -> Result<(), Illegal> {
        let healthy = self.is_healthy(release, ring);
        let Some(run) = release_run(self, &release.id, &ring.name) else { return Ok(()) };
        let (release_id, name) = (release.id.clone(), ring.name.clone());
        let running = |running, blind| {
            let (release, ring) = (release_id, name);
            Fact::SoakRunning { release, ring, running, blind }
        };
        match (run.soak.healthy_at, healthy) {
            (None, false) => Ok(()),
            (Some(_), false) => self.fact(running(false, self.is_blind(release, ring))),
            (None, true) => self.fact(running(true, false)),
            (Some(since), true) => {
                let span = self.now.mono.since(since);
                if span > longest_interval(ring) {
                    // Nothing was heard for too long: that time was not observed.
                    self.fact(running(true, false))
                } else if span > Span::ZERO {
                    let (release, ring) = (release.id.clone(), ring.name.clone());
                    self.fact(Fact::SoakCredited { release, ring, span })
                } else {
                    Ok(())
                }
            }
        }
    }

    /// What else can be done for a ring that soaks: clusters lost, data missing for too long, a soak
    /// to stop or start, measurements that are due, and the pass.
    pub(super) fn soak(&mut self, id: &ReleaseId, ring: &RingName) -> Result<(), Illegal> {
        self.lose_clusters(id, ring)?;
        let Some(release) = self.release(id) else { return Ok(()) };
        let (Some(declared), Some(run)) = (release.plan.ring(ring), release.ring(ring)) else {
            return Ok(());
        };
        if self.fail_over_budget(&release, declared, run)? {
            return Ok(());
        }
        if !run.clusters.values().any(|c| c.step == Step::Ready) {
            return self.fail(&release, ring, "no cluster is left that is ready".into());
        }
        if let Some(cause) = no_data_for_too_long(declared, run, self.now.mono) {
            return self.fail(&release, ring, cause);
        }
        let foreign = run.clusters.iter().find(|(name, here)| {
            let target = self.state().and_then(|s| s.targets.get(*name));
            let state = target.and_then(|t| t.state.as_ref());
            here.step == Step::Ready
                && state.is_some_and(|s| redeployed(here, s, &release.artifact))
        });
        if let Some((cluster, _)) = foreign.filter(|_| run.soak.credited > Span::ZERO) {
            let why = format!("somebody else redeployed or changed the target in {cluster}");
            self.reset(&release, declared, why)?;
        }
        let gateless = !declared.policy.gates.iter().any(|gate| gate.required);
        let since = run.soak.healthy_at;
        let was_healthy = since.is_some();
        let tick_due = since.is_some_and(|since| {
            let left = declared.policy.soak.duration.saturating_sub(run.soak.credited);
            gateless && self.now.mono.since(since) >= left.min(TICK)
        });
        if tick_due || was_healthy != self.is_healthy(&release, declared) {
            self.tick(&release, declared)?;
        }
        self.make_up(id, ring)?;
        self.try_pass(&release, declared)?;
        if self.phase(id, ring) == Some(Phase::Soaking) {
            self.measure_what_is_due(&release, declared, |_| true)?;
        }
        Ok(())
    }

    /// A ring that passed is measured on: a breach takes its pass away, as if it had failed before.
    pub(super) fn watch(&mut self, id: &ReleaseId, ring: &RingName) -> Result<(), Illegal> {
        let (Some(state), Some(release)) = (self.state(), self.release(id)) else { return Ok(()) };
        let (Some(declared), Some(run)) = (release.plan.ring(ring), release.ring(ring)) else {
            return Ok(());
        };
        if !run.watched {
            return Ok(());
        }
        let over = watch_ends(declared, run) <= self.now.mono;
        if over || newer_on(state, &release, ring).is_some() {
            return self.fact(Fact::WatchEnded { release: id.clone(), ring: ring.clone() });
        }
        match no_data_for_too_long(declared, run, self.now.mono) {
            Some(cause) => self.fail(&release, ring, cause),
            None => self.measure_what_is_due(&release, declared, |_| true),
        }
    }

    /// Clusters that were ready and are lost: given up by their controller, or not ready for as long
    /// as a deploy may take.
    fn lose_clusters(&mut self, id: &ReleaseId, ring: &RingName) -> Result<(), Illegal> {
        let Some(release) = self.release(id) else { return Ok(()) };
        let (Some(declared), Some(run)) = (release.plan.ring(ring), release.ring(ring)) else {
            return Ok(());
        };
        let deadline = declared.policy.deadline;
        for (name, here) in run.clusters.iter().filter(|(_, c)| c.step == Step::Ready) {
            let target = self.state().and_then(|s| s.targets.get(name));
            let Some(state) = target.and_then(|t| t.state.as_ref()) else { continue };
            let cause = match &state.status {
                Status::Failed(why) => why.clone(),
                Status::Pending
                | Status::Progressing(_)
                | Status::Paused
                | Status::Succeeded
                | Status::Unknown(_) => {
                    if here.unready.elapsed(self.now.mono) < deadline {
                        continue;
                    }
                    format!("not healthy for {deadline}")
                }
            };
            let (release, ring, cluster) = (id.clone(), ring.clone(), name.clone());
            self.fact(Fact::ClusterFailed { release, ring, cluster, cause })?;
        }
        Ok(())
    }

    /// Whether this instant may be an end of a credited interval.
    fn is_healthy(&self, release: &Release, ring: &Ring) -> bool {
        let mut known = self.healthy.borrow_mut();
        match known.as_ref() {
            Some((id, name, healthy)) if *id == release.id && *name == ring.name => *healthy,
            Some(_) | None => {
                let healthy = self.look_at_health(release, ring);
                *known = Some((release.id.clone(), ring.name.clone(), healthy));
                healthy
            }
        }
    }

    fn look_at_health(&self, release: &Release, ring: &Ring) -> bool {
        let Some(run) = self.world.run(&release.id, &ring.name) else { return false };
        let mut gates = ring.policy.gates.iter().filter(|gate| gate.required);
        let mut ready = run.clusters.iter().filter(|(_, c)| c.step == Step::Ready);
        let passing = |gate: &Gate, run: &GateRun| {
            run.fresh
                && run.latest.as_ref().is_some_and(|(judged, at)| {
                    let age = self.now.mono.since(at.mono);
                    judged.verdict == Verdict::Pass && age <= gate.interval * 2 + LATE
                })
        };
        let current = self.release(&release.id);
        let held = current.is_none_or(|current| {
            let waits = waiting_on(&self.world, &current, &ring.name, self.now);
            waits.iter().any(|w| w.stops_the_soak())
        });
        !held
            && gates.all(|gate| {
                ready.clone().all(|(cluster, _)| {
                    let place = (cluster.clone(), gate.name.clone());
                    run.gates.get(&place).is_some_and(|run| passing(gate, run))
                })
            })
            && ready.next().is_some()
    }

    fn try_pass(&mut self, release: &Release, ring: &Ring) -> Result<(), Illegal> {
        let Some(run) = self.world.run(&release.id, &ring.name) else { return Ok(()) };
        let soaked = run.soak.credited >= ring.policy.soak.duration;
        if !soaked || run.soak.healthy_at.is_none() || !self.is_healthy(release, ring) {
            return Ok(());
        }
        let enough = ring.policy.gates.iter().filter(|gate| gate.required).all(|gate| {
            residency::too_few_samples(&self.world, release, ring, (run, gate), self.now).is_none()
        });
        if !enough {
            return Ok(());
        }
        self.fact(Fact::RingPassed { release: release.id.clone(), ring: ring.name.clone() })
    }

    /// Asks for the measurements that are due of the gates that are `wanted`.
    pub(super) fn measure_what_is_due(
        &mut self,
        release: &Release,
        ring: &Ring,
        wanted: impl Fn(&Gate) -> bool,
    ) -> Result<(), Illegal> {
        let Some(run) = self.world.run(&release.id, &ring.name) else { return Ok(()) };
        let mut due = Vec::new();
        let kept_out = residency::unmeasurable(&self.world, release, ring, self.now);
        for cluster in ring.clusters.iter().filter(|c| !kept_out.contains(&c.name)) {
            let ready = run.clusters.get(&cluster.name).filter(|c| c.step == Step::Ready);
            let Some(here) = ready else { continue };
            for gate in ring.policy.gates.iter().filter(|gate| wanted(gate)) {
                let place = (cluster.name.clone(), gate.name.clone());
                let Some(state) = run.gates.get(&place) else { continue };
                if state.asked.is_none() && state.due <= self.now.mono {
                    let Some(deployed) = here.deployed else { continue };
                    let asking = Asking { release, run, ring, cluster, gate, state, deployed };
                    due.extend(asking.measure(self.now));
                }
            }
        }
        due.into_iter().try_for_each(|measure| self.command(Command::Measure(measure)))
    }
}

fn release_run<'a>(draft: &'a Draft, id: &ReleaseId, ring: &RingName) -> Option<&'a RingRun> {
    draft.world.run(id, ring)
}

/// Whether the target runs something else than when it became ready: another image, or the same one
/// deployed anew.
pub(super) fn redeployed(here: &ClusterRun, seen: &TargetState, artifact: &Artifact) -> bool {
    seen.image.as_ref().is_some_and(|image| !image.same_as(artifact))
        || here.revision.as_ref().zip(seen.revision.as_ref()).is_some_and(|(a, b)| a != b)
}

/// The longest time between two ticks that still counts as observed.
fn longest_interval(ring: &Ring) -> Span {
    let gates = ring.policy.gates.iter().filter(|gate| gate.required);
    gates.map(|gate| gate.interval).max().unwrap_or(TICK) * 2 + LATE
}

/// When the gates of the ring have had no usable measurement for so long that it fails.
pub(super) fn no_data_deadlines(ring: &Ring, run: &RingRun) -> Vec<(Mono, String)> {
    let required =
        ring.policy.gates.iter().filter(|g| g.required && g.on_no_data == OnNoData::Fail);
    required
        .flat_map(|gate| {
            let runs = run.gates.iter().filter(|((_, name), _)| *name == gate.name);
            runs.filter_map(|((cluster, _), state)| {
                let ready = run.clusters.get(cluster)?.step == Step::Ready;
                let since = state.no_data_since.filter(|_| ready)?;
                let deadline = gate.no_data_deadline;
                let name = &gate.name;
                let cause = format!("{name} on {cluster} had no usable data for {deadline}");
                Some((since + deadline, cause))
            })
        })
        .collect()
}

/// When a ring that passed is measured no more.
pub fn watch_ends(ring: &Ring, run: &RingRun) -> Mono {
    run.entered.mono + ring.policy.after_watch
}

fn no_data_for_too_long(ring: &Ring, run: &RingRun, now: Mono) -> Option<String> {
    let over = no_data_deadlines(ring, run).into_iter().find(|(at, _)| *at <= now);
    over.map(|(_, cause)| cause)
}

/// What a query's placeholders stand for; `interval` is the length of time that it looks back over.
pub(super) fn vars<'a>(
    release: &'a Release,
    ring: &'a Ring,
    cluster: &'a Cluster,
    interval: Span,
) -> Vars<'a> {
    Vars {
        plan: &release.id.plan,
        ring: &ring.name,
        cluster: &cluster.name,
        region: &cluster.region,
        jurisdiction: &cluster.jurisdiction,
        version: &release.id.version,
        digest: release.artifact.digest().unwrap_or_default(),
        namespace: &release.plan.target.namespace,
        target: &release.plan.target.name,
        interval,
    }
}

/// A gate that is due on a cluster.
struct Asking<'a> {
    release: &'a Release,
    run: &'a RingRun,
    ring: &'a Ring,
    cluster: &'a Cluster,
    gate: &'a Gate,
    state: &'a GateRun,
    deployed: Now,
}

impl Asking<'_> {
    /// The measurement; nothing where the cluster has no such source, which `check` refuses: the ring
    /// then never passes.
    fn measure(&self, now: Now) -> Option<Measure> {
        let Self { release, run, ring, cluster, gate, state, deployed } = *self;
        let source = cluster.metrics.iter().find(|source| source.name == gate.provider);
        if source.is_none() && gate.judge.reads_source() {
            return None;
        }
        let over = self.since_last(now);
        let vars = vars(release, ring, cluster, over);
        let about = About {
            plan: &release.plan,
            ring,
            cluster,
            gate,
            source,
            vars: &vars,
            over,
            history: &state.history,
            deployed: deployed.wall,
            now: now.wall,
        };
        let before = matches!(gate.judge, Judge::Relative { baseline: Baseline::Before, .. });
        let (attempt, n) = (run.attempt, state.asks + 1);
        let key =
            format!("{}/{}/{}/{attempt}/{}/{n}", release.id, ring.name, cluster.name, gate.name);
        let samples = gate.samples.as_ref().filter(|_| source.is_some());
        Some(Measure {
            key: key.into(),
            release: release.id.clone(),
            ring: ring.name.clone(),
            attempt,
            cluster: cluster.name.clone(),
            gate: gate.name.clone(),
            source: source.filter(|_| gate.judge.reads_value() || samples.is_some()).cloned(),
            query: source.filter(|_| gate.judge.reads_value()).map_or_else(String::new, |source| {
                render(&gate.query, source.kind.language(), &vars)
            }),
            samples: source
                .zip(samples)
                .map(|(source, samples)| render(samples, source.kind.language(), &vars)),
            baseline_at: (before && state.baseline.is_none()).then_some(deployed.wall),
            due: state.due,
            timeout: TIMEOUT,
            parts: rule_of(&gate.judge).asks(&about),
            past: None,
        })
    }

    /// The time since the measurement that counted last, so that nothing is counted twice; an interval
    /// for the first. What lies further back than two intervals was not observed, and is not counted.
    fn since_last(&self, now: Now) -> Span {
        let interval = self.gate.interval;
        let Some(last) = self.state.counted else { return interval };
        let passed = now.mono.since(last).min(interval * 2 + LATE);
        // Whole seconds: the same question at the same time is then the same text.
        match passed.0 < 10_000 {
            true => passed,
            false => Span::seconds((passed.0 + 500) / 1_000),
        }
    }
}
