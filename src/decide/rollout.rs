//! The state machine of a ring: who goes next, deploys and failures.

use std::sync::Arc;

use super::{
    Draft,
    command::{Command, Promote, Write},
    event::Status,
    fact::Fact,
    lane,
    phase::is_settled,
    residency,
    waiting::{HoldKind, WaitingOn, is_next, is_overtaken, steps_aside, waiting_on},
    world::{ClusterRun, Illegal, Phase, PlanState, Release, RingRun, Step},
};
use crate::{
    ids::{ClusterName, IdempotencyKey, Principal, ReleaseId, RingName},
    model::{
        plan::OnNewer,
        ring::{Artifact, Cluster, Ring},
    },
};

/// Who decides where nobody asked.
pub(super) fn ringward() -> Principal {
    "ringward".into()
}

impl Draft {
    /// Takes every step that is possible, until none is left.
    pub(super) fn settle(&mut self) -> Result<(), Illegal> {
        loop {
            let before = self.steps();
            let active: Vec<_> = match self.state() {
                Some(state) => {
                    state.open().filter(|r| !is_settled(r)).map(|r| r.id.clone()).collect()
                }
                None => break,
            };
            let owing: Vec<_> = self.state().map_or(Vec::new(), |state| {
                state.open().filter(|r| r.owes()).map(|r| r.id.clone()).collect()
            });
            owing.iter().try_for_each(|id| self.reckon(id))?;
            active.iter().try_for_each(|id| self.leave_lane(id))?;
            self.supersede(&active)?;
            for id in &active {
                let Some(plan) = self.release(id).map(|r| r.plan.clone()) else { continue };
                plan.graph.order().iter().try_for_each(|ring| self.step(id, ring))?;
            }
            self.leave_the_line()?;
            if before == self.steps() {
                break;
            }
        }
        Ok(())
    }

    /// How many steps were taken so far. A measurement that was asked for is none: nothing follows
    /// from that alone.
    fn steps(&self) -> usize {
        let writes = |command: &&Arc<Command>| !matches!(***command, Command::Measure(_));
        self.decision.facts.len() + self.decision.commands.iter().filter(writes).count()
    }

    fn step(&mut self, id: &ReleaseId, ring: &RingName) -> Result<(), Illegal> {
        let Some(release) = self.world.release(id) else { return Ok(()) };
        let Some(run) = release.ring(ring) else { return Ok(()) };
        // Whoever waits for the rings before it has a place in that line to give back.
        let nobody_in_line = self.world.shared.line.is_empty();
        match run.phase {
            // Most rings of most releases, at most looks.
            Phase::Waiting if nobody_in_line && !is_next(release, ring) => Ok(()),
            Phase::Passed if !run.watched => Ok(()),
            Phase::Waiting => self.try_start(id, ring),
            Phase::Deploying => self.deploy(id, ring),
            Phase::Soaking => self.soak(id, ring),
            Phase::RollingBack => self.go_back(id, ring),
            Phase::Passed => self.watch(id, ring),
            Phase::Failed | Phase::RolledBack | Phase::Aborted | Phase::Superseded => Ok(()),
        }
    }

    /// Where several releases could enter a ring, the newest does (`onNewer`); those before it are
    /// superseded there and on everything after it.
    fn supersede(&mut self, active: &[ReleaseId]) -> Result<(), Illegal> {
        let releases: Vec<_> = active.iter().filter_map(|id| self.release(id)).collect();
        let Some(newest) = releases.last() else { return Ok(()) };
        match newest.plan.on_newer {
            OnNewer::QueueLatest | OnNewer::ReplaceIfUnhealthy => {}
            OnNewer::FinishThen | OnNewer::Manual => return Ok(()),
        }
        // A release alone is superseded by nobody.
        if releases.len() < 2 {
            return Ok(());
        }
        for ring in newest.plan.graph.order() {
            let next = |r: &&Arc<Release>| {
                r.ring(ring).is_some_and(|run| run.phase == Phase::Waiting) && is_next(r, ring)
            };
            let queue: Vec<_> = releases.iter().filter(next).map(|r| r.id.clone()).collect();
            if let Some((newest, older)) = queue.split_last() {
                for id in older {
                    self.give_way(id, ring, newest)?;
                }
            }
        }
        Ok(())
    }

    /// `id` has not started on `ring` and never will, or failed there: `newer` takes its place.
    fn give_way(
        &mut self,
        id: &ReleaseId,
        ring: &RingName,
        newer: &ReleaseId,
    ) -> Result<(), Illegal> {
        let Some(release) = self.release(id) else { return Ok(()) };
        let after = release.plan.graph.descendants(ring).into_iter().cloned();
        let rings: Vec<_> = std::iter::once(ring.clone()).chain(after).collect();
        drop(release);
        let first = ring;
        for ring in rings {
            let phase = self.phase(id, &ring);
            if phase == Some(Phase::Waiting) || (phase == Some(Phase::Failed) && ring == *first) {
                let by = newer.version.clone();
                self.fact(Fact::RingSuperseded { release: id.clone(), ring, by })?;
            }
        }
        Ok(())
    }

    fn try_start(&mut self, id: &ReleaseId, ring: &RingName) -> Result<(), Illegal> {
        let Some(release) = self.release(id) else { return Ok(()) };
        let (Some(declared), Some(run)) = (release.plan.ring(ring), release.ring(ring)) else {
            return Ok(());
        };
        if release.aborted.is_some() {
            return Ok(());
        }
        let waiting = waiting_on(&self.world, &release, ring, self.now);
        self.line_up(id, ring, &waiting)?;
        if !waiting.is_empty() {
            return Ok(());
        }
        let replaced = self.state().and_then(|s| s.in_motion(ring)).map(|r| r.id.clone());
        if let Some(replaced) = replaced {
            self.overtake_effects(&replaced, ring)?;
            let (ring, by) = (ring.clone(), id.version.clone());
            self.fact(Fact::RingSuperseded { release: replaced, ring, by })?;
        }
        let strict = release.plan.on_newer == OnNewer::FinishThen;
        let gives_way = |plan: &PlanState, other: &Release, phase: Phase| match phase {
            // In strict order nobody does; whom nothing can bring here any more is put out of the way.
            Phase::Waiting => {
                !strict || !(steps_aside(plan, other) || is_overtaken(other, &release, ring))
            }
            // It is out there still, and will not be any more: a retry of it has nothing to take up.
            Phase::Failed => release.plan.on_newer == OnNewer::ReplaceIfUnhealthy,
            Phase::Deploying
            | Phase::Soaking
            | Phase::Passed
            | Phase::RollingBack
            | Phase::RolledBack
            | Phase::Aborted
            | Phase::Superseded => false,
        };
        let older: Vec<_> = match self.state() {
            Some(state) => state
                .in_order()
                .take_while(|r| r.id != *id)
                .filter(|r| r.ring(ring).is_some_and(|run| gives_way(state, r, run.phase)))
                .map(|r| r.id.clone())
                .collect(),
            None => Vec::new(),
        };
        for older in older {
            self.give_way(&older, ring, id)?;
        }
        self.fact(Fact::RingStarted {
            release: id.clone(),
            ring: ring.clone(),
            attempt: run.attempt + 1,
            clusters: declared.clusters.iter().map(|c| c.name.clone()).collect(),
        })?;
        for debt in lane::debts(&release, ring) {
            let (release, ring) = (id.clone(), ring.clone());
            self.fact(Fact::DebtRecorded { release, ring, debt })?;
        }
        self.deploy(id, ring)
    }

    /// A ring that nothing but caps holds, and one of the settings among them, waits in line. It leaves
    /// where something else comes to hold it: what is kept for it is kept from others.
    fn line_up(
        &mut self,
        id: &ReleaseId,
        ring: &RingName,
        waiting: &[WaitingOn],
    ) -> Result<(), Illegal> {
        let (mut capped, mut otherwise) = (false, false);
        for waiting in waiting {
            if let WaitingOn::Cap(full) = waiting {
                capped |= full.cap.is_settings();
            } else {
                otherwise |= waiting.hold() != Some(HoldKind::Pair);
            }
        }
        let place = (id.plan.clone(), ring.clone());
        let claim = self.world.shared.line.claim(&place);
        let stands = claim.is_some_and(|claim| claim.release == *id);
        // One place is enough for a ring: another release that waits on it has it for both.
        let shared = claim.is_some_and(|claim| {
            self.phase(&claim.release, ring) == Some(Phase::Waiting) && !stands
        });
        if shared {
            return Ok(());
        }
        let queued = if otherwise { false } else { stands || capped };
        if queued != stands {
            let (release, ring) = (id.clone(), ring.clone());
            self.fact(Fact::StartQueued { release, ring, queued })?;
        }
        Ok(())
    }

    /// Those that will not start any more, and whose place no successor took. What is settled is looked at
    /// no more: it would stand in the line for ever.
    fn leave_the_line(&mut self) -> Result<(), Illegal> {
        let over = self.world.shared.line.of_plan(&self.plan).filter(|claim| {
            let run = self.world.run(&claim.release, &claim.ring);
            let settled = self.world.release(&claim.release).is_none_or(|r| is_settled(r));
            settled || run.is_none_or(|run| run.phase != Phase::Waiting)
        });
        let over: Vec<_> = over.map(|claim| (claim.release.clone(), claim.ring.clone())).collect();
        for (release, ring) in over {
            self.fact(Fact::StartQueued { release, ring, queued: false })?;
        }
        Ok(())
    }

    fn deploy(&mut self, id: &ReleaseId, ring: &RingName) -> Result<(), Illegal> {
        self.judge_deploys(id, ring)?;
        self.recall_forbidden(id, ring)?;
        let Some(release) = self.release(id) else { return Ok(()) };
        let (Some(declared), Some(run)) = (release.plan.ring(ring), release.ring(ring)) else {
            return Ok(());
        };
        if self.fail_over_budget(&release, declared, run)? {
            return Ok(());
        }
        let of = |step: Step| run.clusters.values().filter(|c| c.step == step).count();
        let (planned, out, ready) = (of(Step::Planned), of(Step::Deploying), of(Step::Ready));
        if planned == 0 && out == 0 {
            return match ready {
                0 => self.fail(&release, ring, "no cluster became ready".into()),
                _ => self.fact(Fact::SoakStarted { release: id.clone(), ring: ring.clone() }),
            };
        }
        let free = declared.policy.concurrency.of(run.clusters.len()).saturating_sub(out);
        if planned == 0
            || free == 0
            || !waiting_on(&self.world, &release, ring, self.now).is_empty()
        {
            return Ok(());
        }
        let next = declared.clusters.iter().filter(|cluster| {
            run.clusters.get(&cluster.name).is_some_and(|run| run.step == Step::Planned)
        });
        for cluster in next.take(free) {
            let image = residency::image(&self.world, &release, declared, cluster, self.now);
            let Some(image) = image else { continue };
            self.overtake(|write| write.cluster == cluster.name)?;
            let write = write(&release, ring, run, cluster, image, "deploy");
            self.command(Command::Deploy(write))?;
        }
        Ok(())
    }

    /// A write that is out and has not been answered may still be on its way: where a rule forbids it
    /// now, it is called back, and made again once the rule lets it.
    fn recall_forbidden(&mut self, id: &ReleaseId, ring: &RingName) -> Result<(), Illegal> {
        let Some(release) = self.release(id) else { return Ok(()) };
        let (Some(declared), Some(state)) = (release.plan.ring(ring), self.state()) else {
            return Ok(());
        };
        let out = state.in_flight.values().filter_map(|command| match command.as_ref() {
            Command::Deploy(write) if write.release == *id && write.ring == *ring => {
                Some((write.key.clone(), Some(write.cluster.clone())))
            }
            Command::Promote(Promote { write, .. })
                if write.release == *id && write.ring == *ring =>
            {
                Some((write.key.clone(), None))
            }
            Command::Deploy(_)
            | Command::Restore(_)
            | Command::Promote(_)
            | Command::Measure(_) => None,
        });
        let out: Vec<(IdempotencyKey, Option<ClusterName>)> = out.collect();
        if out.is_empty() {
            return Ok(());
        }
        let against = residency::against(&self.world, &release, declared, self.now);
        let Some(breach) = against.first() else { return Ok(()) };
        for (key, cluster) in out {
            self.fact(Fact::EffectSuperseded { plan: self.plan.clone(), key })?;
            // Whoever would have it go on says so again, once the rule lets it.
            let Some(cluster) = cluster else { continue };
            let (release, ring) = (id.clone(), ring.clone());
            let why = format!("rule {}: {}", breach.rule, breach.fact);
            self.fact(Fact::DeployRecalled { release, ring, cluster, why })?;
        }
        Ok(())
    }

    /// Which of the deploys that are out have come to an end.
    fn judge_deploys(&mut self, id: &ReleaseId, ring: &RingName) -> Result<(), Illegal> {
        let Some(release) = self.release(id) else { return Ok(()) };
        let (Some(declared), Some(run)) = (release.plan.ring(ring), release.ring(ring)) else {
            return Ok(());
        };
        let artifact = release.artifact.clone();
        for (name, here) in run.clusters.iter().filter(|(_, c)| c.step == Step::Deploying) {
            let (release, ring, cluster) = (id.clone(), ring.clone(), name.clone());
            match self.arrival(name, here, &artifact) {
                Arrival::There => self.fact(Fact::ClusterReady { release, ring, cluster })?,
                Arrival::Failed(cause) => {
                    self.fact(Fact::ClusterFailed { release, ring, cluster, cause })?;
                }
                Arrival::Underway(how) => {
                    let deadline = declared.policy.deadline;
                    if here.reachable.elapsed(self.now.mono) >= deadline {
                        let cause = format!("not ready within {deadline}: {how}");
                        self.fact(Fact::ClusterFailed { release, ring, cluster, cause })?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether a write has arrived: a status counts only under the intent of our own last write.
    pub(super) fn arrival(
        &self,
        cluster: &ClusterName,
        here: &ClusterRun,
        wanted: &Artifact,
    ) -> Arrival {
        let target = self.state().and_then(|s| s.targets.get(cluster));
        let Some(state) = target.and_then(|t| t.state.as_ref()) else {
            return Arrival::Underway("not seen yet".into());
        };
        if state.intent != here.intent {
            return Arrival::Underway("the write has not arrived".into());
        }
        match &state.status {
            Status::Succeeded => match &state.image {
                Some(image) if image.same_as(wanted) => Arrival::There,
                Some(image) => Arrival::Underway(format!("it runs {image}")),
                None => Arrival::Underway("its image is unknown".into()),
            },
            Status::Failed(why) => Arrival::Failed(why.clone()),
            Status::Progressing(how) | Status::Unknown(how) => Arrival::Underway(how.clone()),
            Status::Pending => Arrival::Underway("not taken up by its controller".into()),
            Status::Paused => Arrival::Underway("paused in the cluster".into()),
        }
    }

    /// Fails the ring where more clusters failed than its budget allows.
    pub(super) fn fail_over_budget(
        &mut self,
        release: &Arc<Release>,
        ring: &Ring,
        run: &RingRun,
    ) -> Result<bool, Illegal> {
        let failed: Vec<_> = run
            .clusters
            .iter()
            .filter_map(|(name, here)| match &here.step {
                Step::Failed(cause) => Some(format!("{name}: {cause}")),
                Step::Planned
                | Step::Deploying
                | Step::Ready
                | Step::Restoring
                | Step::Restored
                | Step::Stuck(_) => None,
            })
            .collect();
        let over = failed.len() > ring.policy.failure_budget as usize;
        if over {
            self.fail(release, &ring.name, failed.join("; "))?;
        }
        Ok(over)
    }

    /// The ring failed; it goes back where the policy says so and the release can.
    pub(super) fn fail(
        &mut self,
        release: &Release,
        ring: &RingName,
        cause: String,
    ) -> Result<(), Illegal> {
        let (id, name) = (release.id.clone(), ring.clone());
        self.fact(Fact::RingFailed { release: id.clone(), ring: name, cause: cause.clone() })?;
        let automatic = release.plan.ring(ring).is_some_and(|r| r.policy.rollback.automatic);
        if automatic && !release.irreversible {
            self.go_back_from(&id, ring, cause)?;
        }
        Ok(())
    }

    /// Writes that are out for `id` on `ring` lost their point.
    pub(super) fn overtake_effects(
        &mut self,
        id: &ReleaseId,
        ring: &RingName,
    ) -> Result<(), Illegal> {
        self.overtake(|write| write.release == *id && write.ring == *ring)
    }

    /// A target takes one write at a time: those that are out give way to what comes now.
    pub(super) fn overtake(&mut self, which: impl Fn(&Write) -> bool) -> Result<(), Illegal> {
        let Some(state) = self.state() else { return Ok(()) };
        let out = state.in_flight.values().filter_map(|command| match command.as_ref() {
            Command::Deploy(write)
            | Command::Restore(write)
            | Command::Promote(Promote { write, .. })
                if which(write) =>
            {
                Some(write.key.clone())
            }
            Command::Deploy(_)
            | Command::Restore(_)
            | Command::Promote(_)
            | Command::Measure(_) => None,
        });
        let out: Vec<IdempotencyKey> = out.collect();
        out.into_iter().try_for_each(|key| self.drop_write(key))
    }
}

impl Draft {
    /// Has targets go on that this decision says may.
    pub(super) fn promote(&mut self) -> Result<(), Illegal> {
        let mut due = Vec::new();
        for fact in &self.decision.facts {
            if let Fact::Promoted { release, ring, cluster, pause, .. } = fact {
                due.push((release.clone(), ring.clone(), cluster.clone(), pause.id.clone()));
            }
        }
        for (id, ring, name, pause) in due {
            let Some(release) = self.release(&id) else { continue };
            let (Some(declared), Some(run)) = (release.plan.ring(&ring), release.ring(&ring))
            else {
                continue;
            };
            let (Some(cluster), Some(here)) = (declared.cluster(&name), run.clusters.get(&name))
            else {
                continue;
            };
            let seen = self.state().and_then(|s| s.targets.get(&name)?.state.as_ref());
            let (Some(image), Some(intent)) = (seen.and_then(|s| s.image.clone()), &here.intent)
            else {
                continue;
            };
            // What this very decision has made of the ring comes first.
            if !run.is_on_its_way(here) {
                continue;
            }
            let mut write = write(&release, &ring, run, cluster, image, "promote");
            write.key =
                format!("{id}/{ring}/{name}/{}/promote/{}", run.attempt, here.promotes).into();
            let intent = intent.clone();
            self.command(Command::Promote(Promote { write, intent, pause }))?;
        }
        Ok(())
    }
}

/// What a write has come to.
pub(super) enum Arrival {
    /// Observed at the artifact, ready, under our own intent.
    There,
    /// Given up by its controller.
    Failed(String),
    /// Neither, and how far it is.
    Underway(String),
}

pub(super) fn write(
    release: &Release,
    ring: &RingName,
    run: &RingRun,
    cluster: &Cluster,
    artifact: Artifact,
    verb: &str,
) -> Write {
    let attempt = run.attempt;
    // What was called back may arrive all the same, and be pulled from elsewhere.
    let again = match run.clusters.get(&cluster.name).map_or(0, |here| here.recalls) {
        0 => String::new(),
        recalls => format!(".{}", recalls + 1),
    };
    Write {
        key: format!("{}/{ring}/{}/{attempt}/{verb}{again}", release.id, cluster.name).into(),
        release: release.id.clone(),
        ring: ring.clone(),
        attempt,
        cluster: cluster.name.clone(),
        connection: cluster.connection.clone(),
        target: release.plan.target.clone(),
        artifact,
    }
}
