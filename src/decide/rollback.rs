//! The way back: which rings take it, in which order, and cluster by cluster.

use std::collections::BTreeMap;

use super::{
    Draft,
    command::Command,
    event::Actor,
    fact::Fact,
    residency,
    rollout::{Arrival, ringward, write},
    waiting::{WaitingOn, is_out, needs_restoring, waiting_on},
    world::{Illegal, Phase, PlanState, Release, Step},
};
use crate::{
    ids::{ClusterName, Principal, ReleaseId, RingName},
    model::{
        policy::RollbackScope,
        residency::Breach,
        ring::Ring,
        time::{Mono, Now, Span},
    },
};

/// At whose word a ring goes back, and why.
#[derive(Clone)]
pub(super) struct Word {
    by: Principal,
    cause: String,
    automatic: bool,
    scope: Option<RollbackScope>,
}

impl Word {
    /// Somebody asked for it.
    pub(super) fn of(by: &Actor, cause: String, scope: Option<RollbackScope>) -> Self {
        Self { by: by.name.clone(), cause, automatic: false, scope }
    }
}

impl Draft {
    /// A ring failed, and its policy says that it goes back: it does, with all that its scope takes. A
    /// ring whose own policy says that it never does by itself stays as it is.
    pub(super) fn go_back_from(
        &mut self,
        id: &ReleaseId,
        origin: &RingName,
        cause: String,
    ) -> Result<(), Illegal> {
        let (Some(state), Some(release)) = (self.state(), self.release(id)) else { return Ok(()) };
        let Some(scope) = release.plan.ring(origin).map(|ring| ring.policy.rollback.scope) else {
            return Ok(());
        };
        let goes_too = |ring: &RingName| {
            let healthy = release.ring(ring).is_some_and(|run| {
                matches!(run.phase, Phase::Deploying | Phase::Soaking | Phase::Passed)
            });
            let declared = release.plan.ring(ring);
            healthy
                && declared.is_some_and(|ring| ring.policy.rollback.automatic)
                && release.plan.goes_back_with(origin, scope, ring)
                && newer_on(state, &release, ring).is_none()
        };
        let rings = last_first(&release, |ring| ring == origin || goes_too(ring));
        for ring in &rings {
            let (cause, scope) = match ring == origin {
                true => (cause.clone(), Some(scope)),
                false => (format!("goes back with {origin}, which failed: {cause}"), None),
            };
            let word = Word { by: ringward(), cause, automatic: true, scope };
            self.turn_round(id, ring, word)?;
        }
        rings.iter().try_for_each(|ring| self.go_back(id, ring))
    }

    /// Somebody asks for what is `asked` to go back.
    pub(super) fn take_back(
        &mut self,
        id: &ReleaseId,
        asked: &AskedFor,
        by: &Actor,
        reason: Option<&str>,
    ) -> Result<(), Illegal> {
        let cause = reason.map_or_else(|| format!("asked for by {}", by.name), Into::into);
        let rings = &asked.rings;
        for ring in rings {
            if self.phase(id, ring) == Some(Phase::RollingBack) {
                let (release, ring, by) = (id.clone(), ring.clone(), by.clone());
                let reason = reason.map(Into::into);
                self.fact(Fact::RollbackHastened { release, ring, by, reason })?;
            } else {
                let scope = asked.around.get(ring).copied();
                self.turn_round(id, ring, Word::of(by, cause.clone(), scope))?;
            }
        }
        rings.iter().try_for_each(|ring| self.go_back(id, ring))
    }

    /// Starts the way back: every forward effect that is out is overtaken.
    pub(super) fn start_rollback(
        &mut self,
        id: &ReleaseId,
        ring: &RingName,
        word: Word,
    ) -> Result<(), Illegal> {
        self.turn_round(id, ring, word)?;
        self.go_back(id, ring)
    }

    fn turn_round(&mut self, id: &ReleaseId, ring: &RingName, word: Word) -> Result<(), Illegal> {
        self.overtake_effects(id, ring)?;
        let (release, ring) = (id.clone(), ring.clone());
        let Word { by, cause, automatic, scope } = word;
        self.fact(Fact::RollbackStarted { release, ring, by, cause, automatic, scope })
    }

    /// Each cluster that the release touched goes back to its own last known good, the last first.
    pub(super) fn go_back(&mut self, id: &ReleaseId, ring: &RingName) -> Result<(), Illegal> {
        let Some(release) = self.release(id) else { return Ok(()) };
        let (Some(declared), Some(run)) = (release.plan.ring(ring), release.ring(ring)) else {
            return Ok(());
        };
        if run.phase != Phase::RollingBack {
            return Ok(());
        }
        let held = self.is_held_back(&release, ring)?;
        let Some(state) = self.state() else { return Ok(()) };
        let mut free = declared.policy.rollback.concurrency.map_or(usize::MAX, |concurrency| {
            concurrency.of(run.clusters.len()).saturating_sub(going_back(state, &release, ring))
        });
        for cluster in declared.clusters.iter().rev() {
            let Some(here) = run.clusters.get(&cluster.name) else { continue };
            let (id, name, at) = (id.clone(), ring.clone(), cluster.name.clone());
            let good = self.state().and_then(|s| s.targets.get(&at));
            let good = good.and_then(|t| t.back_from(&release.artifact)).cloned();
            match (&here.step, good) {
                (Step::Restored | Step::Stuck(_), _) => {}
                (Step::Planned | Step::Failed(_), _) if here.intent.is_none() => {}
                (Step::Planned | Step::Deploying | Step::Ready | Step::Failed(_), Some(good)) => {
                    let good = &good.artifact;
                    let (world, now) = (&self.world, self.now);
                    match residency::way_back(world, &release, declared, cluster, good, now) {
                        Err(breach) => {
                            let deadline = declared.policy.deadline;
                            self.deny_way_back((id, name, at), here.denied, &breach, deadline)?;
                        }
                        Ok(image) if !held && free > 0 => {
                            free -= 1;
                            self.overtake(|write| write.cluster == cluster.name)?;
                            let write = write(&release, ring, run, cluster, image, "restore");
                            self.command(Command::Restore(write))?;
                        }
                        Ok(_) if here.denied.is_some() => {
                            let (release, ring, cluster) = (id, name, at);
                            let why = None;
                            self.fact(Fact::RestoreDenied { release, ring, cluster, why })?;
                        }
                        Ok(_) => {}
                    }
                }
                (
                    Step::Planned
                    | Step::Deploying
                    | Step::Ready
                    | Step::Failed(_)
                    | Step::Restoring,
                    None,
                ) => {
                    let cause = "it has no known good to go back to".into();
                    self.fact(Fact::ClusterStuck { release: id, ring: name, cluster: at, cause })?;
                }
                (Step::Restoring, Some(good)) => match self.arrival(&at, here, &good.artifact) {
                    Arrival::There => {
                        self.fact(Fact::ClusterRestored { release: id, ring: name, cluster: at })?;
                    }
                    Arrival::Failed(cause) => {
                        let (release, ring) = (id, name);
                        self.fact(Fact::ClusterStuck { release, ring, cluster: at, cause })?;
                    }
                    Arrival::Underway(how) => {
                        let deadline = declared.policy.deadline;
                        if here.reachable.elapsed(self.now.mono) >= deadline {
                            let cause = format!("not back within {deadline}: {how}");
                            let (release, ring) = (id, name);
                            self.fact(Fact::ClusterStuck { release, ring, cluster: at, cause })?;
                        }
                    }
                },
            }
        }
        self.finish_rollback(id, ring)
    }

    /// A rule stands against taking a cluster back. It may end: a fact that had expired is stated anew, a
    /// cluster moves back. Nobody is left to wait for that longer than for a restore that does not arrive.
    fn deny_way_back(
        &mut self,
        (release, ring, cluster): (ReleaseId, RingName, ClusterName),
        since: Option<Mono>,
        breach: &Breach,
        deadline: Span,
    ) -> Result<(), Illegal> {
        let why = format!("rule {}: {}", breach.rule, breach.fact);
        match since {
            None => {
                let why = Some(why);
                self.fact(Fact::RestoreDenied { release, ring, cluster, why })
            }
            Some(since) if self.now.mono.since(since) >= deadline => {
                let cause = format!("not allowed back within {deadline}: {why}");
                self.fact(Fact::ClusterStuck { release, ring, cluster, cause })
            }
            Some(_) => Ok(()),
        }
    }

    /// Whether the ring may write nothing yet. It waits in line where nothing but the limits on all
    /// rollbacks hold it, and leaves the line where something else does.
    fn is_held_back(&mut self, release: &Release, ring: &RingName) -> Result<bool, Illegal> {
        let (mut otherwise, mut limited) = (false, false);
        for waiting in waiting_on(&self.world, release, ring, self.now) {
            otherwise |= matches!(waiting, WaitingOn::Calendar { .. } | WaitingOn::Turn(_));
            limited |= matches!(waiting, WaitingOn::Rollbacks(..));
        }
        let waits = &self.world.shared.rollbacks.waiting;
        let in_line = waits.iter().any(|(r, name)| *r == release.id && name == ring);
        let queued = limited && !otherwise;
        if queued != in_line && (queued || otherwise) {
            let (release, ring) = (release.id.clone(), ring.clone());
            self.fact(Fact::RollbackQueued { release, ring, queued })?;
        }
        Ok(otherwise || limited)
    }

    fn finish_rollback(&mut self, id: &ReleaseId, ring: &RingName) -> Result<(), Illegal> {
        let Some(run) = self.world.run(id, ring) else { return Ok(()) };
        let under_way = run.clusters.values().any(|here| match &here.step {
            Step::Deploying | Step::Ready | Step::Restoring => true,
            Step::Planned | Step::Failed(_) => here.intent.is_some(),
            Step::Restored | Step::Stuck(_) => false,
        });
        if under_way {
            return Ok(());
        }
        let stuck = run.stuck();
        let (release, ring, aborting) = (id.clone(), ring.clone(), run.aborting);
        if !stuck.is_empty() {
            let cause = format!("could not go back; stuck: {}", stuck.join("; "));
            self.fact(Fact::RingFailed { release, ring, cause })
        } else if aborting {
            self.fact(Fact::RingAborted { release, ring })
        } else {
            self.fact(Fact::RingRolledBack { release, ring })
        }
    }
}

/// The clusters that are on their way back. One that cannot be seen takes nobody's place: nobody knows
/// for how long.
fn going_back(state: &PlanState, release: &Release, ring: &RingName) -> usize {
    let clusters = release.ring(ring).into_iter().flat_map(|run| &run.clusters);
    let restoring = clusters.filter(|(_, here)| here.step == Step::Restoring);
    let seen = restoring.filter(|(name, _)| {
        let target = state.targets.get(*name).and_then(|target| target.state.as_ref());
        target.is_none_or(|target| target.is_visible())
    });
    seen.count()
}

/// What somebody asks to go back.
pub(super) struct AskedFor {
    /// The rings, the last to have started first. Those that wait for their turn to go back, or for the
    /// limits, are among them.
    pub(super) rings: Vec<RingName>,
    /// The rings around which they lie, and what goes back with each.
    around: BTreeMap<RingName, RollbackScope>,
}

impl AskedFor {
    pub(super) fn new(
        state: &PlanState,
        release: &Release,
        ring: Option<&RingName>,
        scope: Option<RollbackScope>,
    ) -> Self {
        let has_it = |ring: &RingName| is_out(release, ring) || is_about_to(state, release, ring);
        let all = || release.plan.rings.iter().filter(|ring| has_it(&ring.name));
        let failed =
            |ring: &&Ring| release.ring(&ring.name).is_some_and(|run| run.phase == Phase::Failed);
        let around: BTreeMap<_, _> = match ring {
            Some(ring) => BTreeMap::from([(ring.clone(), scope.unwrap_or_default())]),
            None if all().any(|ring| failed(&ring)) => all()
                .filter(failed)
                .map(|ring| (ring.name.clone(), scope.unwrap_or(ring.policy.rollback.scope)))
                .collect(),
            None => all().map(|ring| (ring.name.clone(), RollbackScope::Exposed)).collect(),
        };
        let rings = last_first(release, |ring| {
            let mut around = around.iter();
            has_it(ring) && around.any(|(at, scope)| release.plan.goes_back_with(at, *scope, ring))
        });
        Self { rings, around }
    }
}

/// Whether a ring is to go back by itself, and has not begun to.
fn is_about_to(state: &PlanState, release: &Release, ring: &RingName) -> bool {
    release.ring(ring).is_some_and(|run| {
        run.phase == Phase::RollingBack
            && run.back.is_some_and(|back| back.automatic && !back.begun)
            && needs_restoring(state, release, run)
    })
}

/// A release that was let into `ring` after `release`, and is out there or on its way back.
pub(super) fn newer_on(state: &PlanState, release: &Release, ring: &RingName) -> Option<ReleaseId> {
    let started = |r: &Release| r.ring(ring).and_then(|run| run.started).map(|at| at.mono);
    let since = started(release);
    // Two that came at the same instant came in their order.
    let after = state.in_order().skip_while(|r| r.id != release.id).skip(1);
    let before = state.in_order().take_while(|r| r.id != release.id);
    let mut newer =
        after.filter(|r| started(r) >= since).chain(before.filter(|r| started(r) > since));
    newer.find(|r| is_out(r, ring) || is_going_back(r, ring)).map(|r| r.id.clone())
}

fn is_going_back(release: &Release, ring: &RingName) -> bool {
    release.ring(ring).is_some_and(|run| run.phase == Phase::RollingBack)
}

/// The rings of `release` that are chosen, the last to have started first.
fn last_first(release: &Release, chosen: impl Fn(&RingName) -> bool) -> Vec<RingName> {
    let mut rings: Vec<_> =
        release.plan.graph.order().iter().filter(|ring| chosen(ring)).cloned().collect();
    rings.sort_by_key(|ring| exposed_since(release, ring));
    rings.reverse();
    rings
}

/// What tells which of two rings took the release first.
pub(super) fn exposed_since(release: &Release, ring: &RingName) -> (Option<Mono>, usize) {
    let started = release.ring(ring).and_then(|run| run.started).map(|at: Now| at.mono);
    let place = release.plan.graph.order().iter().position(|name| name == ring);
    (started, place.unwrap_or_default())
}
