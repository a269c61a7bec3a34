//! Why a release is not moving on a ring: every "not yet", typed. Wording belongs to `show`.

mod approval;
mod data;
pub mod earliest;
mod reach;
mod reason;
mod target;

use std::collections::BTreeSet;

use super::{
    caps,
    event::Scope,
    residency,
    rollback::exposed_since,
    world::{ClusterRun, Phase, PlanState, Release, RingRun, Step, World},
};
use crate::{
    ids::{ClusterName, Jurisdiction, Principal, RingName},
    model::{
        blocs::Blocs,
        calendar::{AppliesTo, Calendar, InFlight, Opening},
        graph::Join,
        plan::OnNewer,
        policy::Approvals,
        residency::{Demand, Rule},
        ring::Ring,
        time::{Mono, Now, Span},
    },
};

pub(super) use self::reach::{is_overtaken, open_before, requirements, steps_aside};
pub use self::{
    approval::{approvals_that_count, binding, may_approve},
    reach::{is_next, may_still_reach, stopped_by},
    reason::{Full, HoldKind, WaitingOn},
};
use self::{
    data::unwell,
    reach::{has_passed, rings_before},
};

/// What stands against anything of `release` going on where it has begun on `ring`, whether or not ringward has
/// anything left to write there.
pub fn against_going_on(
    world: &World,
    release: &Release,
    ring: &RingName,
    now: Now,
) -> Vec<WaitingOn> {
    let (Some(run), Some(ring), Some(plan)) =
        (release.ring(ring), release.plan.ring(ring), world.plans.get(&release.id.plan))
    else {
        return Vec::new();
    };
    let look = Look { world, plan, release, ring, run, now };
    let mut found = look.stops(AppliesTo::Advance);
    found.extend(look.residency());
    found
}

/// Everything that `release` waits for on `ring`, all of it at once. Nothing where it moves, or where
/// it is over.
pub fn waiting_on(world: &World, release: &Release, ring: &RingName, now: Now) -> Vec<WaitingOn> {
    let (Some(run), Some(declared), Some(plan)) =
        (release.ring(ring), release.plan.ring(ring), world.plans.get(&release.id.plan))
    else {
        return Vec::new();
    };
    let look = Look { world, plan, release, ring: declared, run, now };
    match run.phase {
        Phase::Waiting => {
            let stopped = stopped_by(release, ring).cloned().map(WaitingOn::Decision);
            match look.turn() {
                Some(turn) => {
                    stopped.into_iter().filter(|_| release.irreversible).chain([turn]).collect()
                }
                None => stopped.into_iter().chain(look.before_start()).collect(),
            }
        }
        Phase::Deploying => look.while_deploying(),
        Phase::Soaking => look.while_soaking(),
        Phase::RollingBack => look.while_going_back(),
        Phase::Passed | Phase::Failed | Phase::RolledBack | Phase::Aborted | Phase::Superseded => {
            Vec::new()
        }
    }
}

/// Whether a scope covers a release on a ring: `members` are the countries of its jurisdiction when it
/// was said, and `blocs` says which belong to it now.
pub fn covers(
    blocs: &Blocs,
    scope: &Scope,
    members: &BTreeSet<Jurisdiction>,
    release: &Release,
    ring: &Ring,
) -> bool {
    match scope {
        Scope::Everything => true,
        Scope::Jurisdiction(name) => {
            let inside =
                |place: &Jurisdiction| members.contains(place) || blocs.contains(name, place);
            ring.clusters.iter().any(|cluster| inside(&cluster.jurisdiction))
        }
        Scope::Plan(plan) => *plan == release.id.plan,
        Scope::Ring(plan, name) => *plan == release.id.plan && *name == ring.name,
        Scope::Release(id) => *id == release.id,
        Scope::ReleaseRing(id, name) => *id == release.id && *name == ring.name,
    }
}

/// What is looked at.
#[derive(Clone, Copy)]
struct Look<'a> {
    world: &'a World,
    plan: &'a PlanState,
    release: &'a Release,
    ring: &'a Ring,
    run: &'a RingRun,
    now: Now,
}

impl Look<'_> {
    /// Why it is not its turn, if it is not.
    fn turn(&self) -> Option<WaitingOn> {
        let before = rings_before(self.release, &self.ring.name);
        if !before.is_empty() {
            return Some(WaitingOn::Before(before));
        }
        let on_it = self.plan.in_motion(&self.ring.name);
        let other = on_it.filter(|other| other.id != self.release.id && !self.replaces(other));
        if let Some(other) = other {
            return Some(WaitingOn::Queue(other.id.version.clone()));
        }
        if self.release.plan.on_newer != OnNewer::FinishThen {
            return None;
        }
        let older = self.plan.in_order().take_while(|r| r.id != self.release.id);
        let mut unfinished = older.filter(|r| {
            let here = r.ring(&self.ring.name).map(|run| run.phase);
            here == Some(Phase::Waiting)
                && r.aborted.is_none()
                && may_still_reach(r, &self.ring.name)
                && !steps_aside(self.plan, r)
                && !is_overtaken(r, self.release, &self.ring.name)
        });
        unfinished.next().map(|r| WaitingOn::Queue(r.id.version.clone()))
    }

    /// Whether this release may take the ring from `other`, which is in motion on it.
    fn replaces(&self, other: &Release) -> bool {
        let Some(run) = other.ring(&self.ring.name) else { return false };
        let newer =
            self.plan.admitted(&self.release.id.version) > self.plan.admitted(&other.id.version);
        let dwelt = dwells_until(self.release, other, &self.ring.name);
        self.release.plan.on_newer == OnNewer::ReplaceIfUnhealthy
            && newer
            && not_yet_healthy(run)
            && dwelt.is_some_and(|dwelt| self.now.mono >= dwelt)
    }

    fn before_start(&self) -> Vec<WaitingOn> {
        let mut found = self.stops(AppliesTo::Start);
        found.extend(self.policy());
        found.extend(self.approval());
        found.extend(self.advance());
        found.extend(self.prerequisite());
        found.extend(self.skew());
        found.extend(self.residency());
        found.extend(self.watched());
        found.extend(caps::in_the_way(self.world, self.release, self.ring, self.now));
        found
    }

    fn while_deploying(&self) -> Vec<WaitingOn> {
        let goes_on = |(name, here): (&ClusterName, &ClusterRun)| {
            here.step == Step::Planned || self.pause(name, here).is_some()
        };
        let mut found = if self.run.clusters.iter().any(goes_on) {
            let mut found = self.stops(AppliesTo::Advance);
            found.extend(self.residency());
            found
        } else {
            self.pauses().chain(self.residency()).collect()
        };
        // What runs where nothing is known to be good is what a first rollback goes back to: a writer
        // looks before it overwrites. What it cannot see, or is not there, it learns by writing.
        found.extend(self.unseen(|name, step| match step {
            Step::Planned => {
                let target = self.plan.targets.get(name);
                target.is_none_or(|t| t.state.is_none() && t.known_good.is_empty())
            }
            Step::Deploying | Step::Ready | Step::Restoring => true,
            Step::Failed(_) | Step::Restored | Step::Stuck(_) => false,
        }));
        found
    }

    fn while_soaking(&self) -> Vec<WaitingOn> {
        let mut found: Vec<_> = self.pauses().collect();
        found.extend(self.calendars(AppliesTo::Advance, |in_flight| in_flight == InFlight::Halt));
        found.extend(self.unseen(under_way));
        found.extend(self.unhealthy());
        let drifted = residency::against_watched(self.world, self.release, self.ring, self.now);
        found.extend(drifted.into_iter().map(WaitingOn::of));
        found.extend(self.data());
        found
    }

    fn while_going_back(&self) -> Vec<WaitingOn> {
        let mut found = self.unseen(under_way);
        let more = self.run.clusters.values().any(|c| c.step != Step::Restored);
        if more {
            found.extend(self.calendars(AppliesTo::Rollback, |_| true));
            found.extend(self.residency_back());
        }
        found.extend(self.before_going_back());
        found
    }

    /// What goes back before it, and the limits on all rollbacks, while nothing is written for it yet.
    /// An abort waits for neither, and who asks waits for no limit.
    fn before_going_back(&self) -> Vec<WaitingOn> {
        let back = self.run.back.unwrap_or_default();
        if back.begun || self.run.aborting || !needs_restoring(self.plan, self.release, self.run) {
            return Vec::new();
        }
        let since = exposed_since(self.release, &self.ring.name);
        let before = self.release.plan.rings.iter().filter(|other| {
            exposed_since(self.release, &other.name) > since && self.waits_behind(other)
        });
        let before = before.max_by_key(|other| exposed_since(self.release, &other.name));
        let mut found: Vec<_> =
            before.map(|other| WaitingOn::Turn(other.name.clone())).into_iter().collect();
        let rollbacks = &self.world.shared.rollbacks;
        let (release, ring) = (&self.release.id, &self.ring.name);
        if back.automatic
            && let Some(limit) = rollbacks.limit(release, ring, self.now)
        {
            found.push(WaitingOn::Rollbacks(limit, rollbacks.ahead(release, ring)));
        }
        found
    }

    /// Whether `other` goes back at the same word and gets on with it. Where a calendar holds it, or all
    /// that is left of it cannot be seen, nobody knows for how long that will be.
    fn waits_behind(&self, other: &Ring) -> bool {
        let Some(run) = self.release.ring(&other.name) else { return false };
        let (own, theirs) = (self.run.back.unwrap_or_default(), run.back.unwrap_or_default());
        let left = || run.clusters.iter().filter(|(_, here)| !is_back(here));
        let blind = |cluster: &ClusterName| {
            let state = self.plan.targets.get(cluster).and_then(|target| target.state.as_ref());
            state.is_some_and(|state| !state.is_visible())
        };
        let look = Look { ring: other, run, ..*self };
        run.phase == Phase::RollingBack
            && !run.aborting
            && own.automatic == theirs.automatic
            && !left().all(|(name, here)| here.step == Step::Restoring && blind(name))
            && (left().all(|(_, here)| here.step == Step::Restoring)
                || look.calendars(AppliesTo::Rollback, |_| true).next().is_none())
    }

    fn stops(&self, what: AppliesTo) -> Vec<WaitingOn> {
        let mut found: Vec<_> = self.pauses().collect();
        found.extend(self.freezes());
        let finish_ring = what == AppliesTo::Advance;
        found.extend(
            self.calendars(what, |in_flight| !(finish_ring && in_flight == InFlight::FinishRing)),
        );
        found
    }

    fn pauses(&self) -> impl Iterator<Item = WaitingOn> {
        let pauses = self.world.shared.paused(self.release, self.ring);
        pauses.map(|(scope, pause)| WaitingOn::Pause(scope.clone(), pause.said.clone()))
    }

    fn freezes(&self) -> impl Iterator<Item = WaitingOn> {
        let freezes = self.world.shared.frozen(self.release, self.ring, self.now.wall);
        freezes.map(|(id, freeze)| WaitingOn::Freeze {
            id: id.clone(),
            until: freeze.until,
            said: freeze.said.clone(),
        })
    }

    /// The calendars that are closed to it, of those that do with what is in flight as is asked for. To
    /// find out whether one is closed is dear.
    fn calendars(
        &self,
        what: AppliesTo,
        does: impl Fn(InFlight) -> bool,
    ) -> impl Iterator<Item = WaitingOn> {
        let calendars = self.ring.policy.calendars.iter();
        let asked = move |c: &&Calendar| c.applies_to.contains(&what) && does(c.in_flight);
        calendars.filter(asked).filter_map(move |calendar| {
            // A start is not made when what is left of the window is shorter than the deadline.
            let deadline = match what {
                AppliesTo::Start => self.ring.policy.deadline,
                AppliesTo::Advance | AppliesTo::Rollback => Span::ZERO,
            };
            let (why, opens) = match calendar.at(self.now.wall) {
                Opening::Closed { why, opens } => {
                    (why, opens.and_then(|opens| calendar.opens_for(opens, deadline)))
                }
                Opening::Open { until: Some(until) }
                    if until.duration_since(self.now.wall) < deadline.to_signed() =>
                {
                    let why = format!("it closes before a deploy of up to {deadline} is over");
                    (why, calendar.opens_for(until, deadline))
                }
                Opening::Open { .. } => return None,
            };
            Some(WaitingOn::Calendar { calendar: calendar.name.clone(), why, opens })
        })
    }

    fn policy(&self) -> Option<WaitingOn> {
        let first = self.plan.problems.first()?;
        // A release in motion goes on under its snapshot; one that has not begun anywhere does not.
        let begun = self.release.rings.values().any(|run| run.started.is_some());
        (!begun).then(|| {
            let first = format!("{}: {}", first.place, first.message);
            WaitingOn::Policy(self.plan.problems.len(), first)
        })
    }

    /// The approvals that the policy asks for, and those of them that a residency rule wants from its
    /// own jurisdiction.
    fn approval(&self) -> Vec<WaitingOn> {
        let Some(asked) = &self.ring.policy.approvals else { return Vec::new() };
        let (release, ring) = (self.release, &self.ring.name);
        let binds = |rule: &&Rule| !residency::waived(self.world, release, ring, rule, self.now);
        let rules = release.plan.residency.iter().filter(binds);
        let within = rules.filter_map(|rule| match &rule.demand {
            Demand::ApproverWithin { jurisdiction, count } if jurisdiction.reaches(self.ring) => {
                let jurisdiction = Some(jurisdiction.clone());
                Some(Approvals { count: *count, jurisdiction, ..asked.clone() })
            }
            Demand::ApproverWithin { .. }
            | Demand::ClassWithin { .. }
            | Demand::TargetsWithin { .. }
            | Demand::TargetsOutside { .. }
            | Demand::Homogeneous { .. }
            | Demand::NotFirstIn { .. }
            | Demand::Independent { .. }
            | Demand::MaxInFlight { .. }
            | Demand::PairExclusive
            | Demand::EvidenceWithin { .. }
            | Demand::PullWithin { .. }
            | Demand::StateWithin { .. } => None,
        });
        let counting = |needed: &Approvals| {
            approvals_that_count(self.release, self.ring, self.run, needed, self.now)
        };
        let given = counting(asked);
        let wanting = std::iter::once(asked.clone()).chain(within).map(|needed| {
            let by = counting(&needed).into_iter().filter(|name| given.contains(name)).collect();
            (by, needed)
        });
        wanting
            .filter(|(by, needed): &(Vec<Principal>, Approvals)| (by.len() as u32) < needed.count)
            .map(|(by, needed)| WaitingOn::Approval { by, needed })
            .collect()
    }

    fn advance(&self) -> Option<WaitingOn> {
        if self.release.plan.on_newer != OnNewer::Manual || self.run.advanced {
            return None;
        }
        let mut older = self.plan.in_order().take_while(|r| r.id != self.release.id);
        let unfinished = older.find(|r| {
            r.ring(&self.ring.name).is_some_and(|run| {
                run.phase == Phase::Waiting && may_still_reach(r, &self.ring.name)
            })
        })?;
        Some(WaitingOn::Advance(unfinished.id.version.clone()))
    }

    fn prerequisite(&self) -> Option<WaitingOn> {
        let required = self.release.requires.as_ref()?;
        let passed = has_passed(self.plan, self.release, required);
        (!passed).then(|| WaitingOn::Prerequisite(required.clone()))
    }

    /// A ring may be so many versions ahead of the rings after it. Versions that will never reach
    /// them (rolled back, superseded) lie between nothing.
    fn skew(&self) -> Option<WaitingOn> {
        let limit = self.release.plan.max_skew?;
        let next = self.release.plan.graph.next(&self.ring.name);
        let behind = next.into_iter().find(|after| {
            let between = self.plan.releases.values().filter(|other| {
                let here = other.ring(&self.ring.name).map(|run| run.phase);
                let there = other.ring(after).map(|run| run.phase);
                let open = match there {
                    Some(Phase::Deploying | Phase::Soaking) => true,
                    Some(Phase::Waiting) => may_still_reach(other, after),
                    Some(
                        Phase::Passed
                        | Phase::Failed
                        | Phase::RollingBack
                        | Phase::RolledBack
                        | Phase::Aborted
                        | Phase::Superseded,
                    )
                    | None => false,
                };
                other.id != self.release.id && here == Some(Phase::Passed) && open
            });
            between.count() as u32 + 1 > limit
        })?;
        Some(WaitingOn::Skew { ring: behind.clone(), limit })
    }

    /// Rings before it that are watched still, and where that does not go well: only Pass advances. Where
    /// any of several will do, one that is well is enough.
    fn watched(&self) -> Vec<WaitingOn> {
        let after = self.release.plan.graph.after(&self.ring.name);
        let mut passed = Vec::new();
        for name in &after.rings {
            let known = self.release.plan.ring(name).zip(self.release.ring(name));
            if let Some((ring, run)) = known.filter(|(_, run)| run.phase == Phase::Passed) {
                passed.push(unwell(ring, run));
            }
        }
        if after.join == Join::Any && passed.iter().any(Vec::is_empty) {
            return Vec::new();
        }
        passed.into_iter().flatten().collect()
    }

    fn residency(&self) -> Vec<WaitingOn> {
        let breaches = residency::against(self.world, self.release, self.ring, self.now);
        breaches.into_iter().map(WaitingOn::of).collect()
    }

    /// What stands against taking clusters back that are still to be taken back.
    fn residency_back(&self) -> Vec<WaitingOn> {
        let mut found = Vec::new();
        for cluster in &self.ring.clusters {
            let here = self.run.clusters.get(&cluster.name);
            let good = self.plan.targets.get(&cluster.name);
            let good = good.and_then(|t| t.back_from(&self.release.artifact));
            let (Some(_), Some(good)) = (here.filter(|here| here.is_to_go_back()), good) else {
                continue;
            };
            let (world, release, ring) = (self.world, self.release, self.ring);
            let way = residency::way_back(world, release, ring, cluster, &good.artifact, self.now);
            found.extend(way.err().map(|breach| WaitingOn::of(*breach)));
        }
        found
    }
}

/// Whether nothing shows yet that a release does well on a ring: it is not ready, or no interval of
/// its soak stands to its credit and none runs.
fn not_yet_healthy(run: &RingRun) -> bool {
    match run.phase {
        Phase::Deploying => true,
        Phase::Soaking => run.soak.credited == Span::ZERO && run.soak.healthy_at.is_none(),
        Phase::Waiting
        | Phase::Passed
        | Phase::Failed
        | Phase::RollingBack
        | Phase::RolledBack
        | Phase::Aborted
        | Phase::Superseded => false,
    }
}

/// Until when `other`, in motion on the ring, is safe from `newer`: the longer dwell of both policies.
pub(super) fn dwells_until(newer: &Release, other: &Release, ring: &RingName) -> Option<Mono> {
    let started = other.ring(ring)?.started?.mono;
    let dwell = |release: &Release| release.plan.ring(ring).map(|r| r.policy.min_dwell);
    Some(started + dwell(newer)?.max(dwell(other).unwrap_or_default()))
}

/// Whether `release` was written to any cluster of the ring and has not been taken back from all.
pub fn is_out(release: &Release, ring: &RingName) -> bool {
    release.ring(ring).is_some_and(|run| match run.phase {
        Phase::Deploying | Phase::Soaking | Phase::Passed => true,
        // It may have failed before this attempt began, by a rejection.
        Phase::Failed => run.clusters.values().any(|here| match here.step {
            Step::Restored => false,
            // A write that was called back may have arrived all the same.
            Step::Planned
            | Step::Deploying
            | Step::Ready
            | Step::Failed(_)
            | Step::Restoring
            | Step::Stuck(_) => here.intent.is_some(),
        }),
        Phase::Waiting
        | Phase::RollingBack
        | Phase::RolledBack
        | Phase::Aborted
        | Phase::Superseded => false,
    })
}

/// Whether there is a cluster that has something to go back to, and was not told to yet.
pub(super) fn needs_restoring(plan: &PlanState, release: &Release, run: &RingRun) -> bool {
    run.clusters.iter().any(|(cluster, here)| {
        let good = || plan.targets.get(cluster)?.back_from(&release.artifact);
        !is_back(here) && here.step != Step::Restoring && good().is_some()
    })
}

/// Whether nothing more is done about a cluster of a ring that goes back.
fn is_back(here: &ClusterRun) -> bool {
    match here.step {
        Step::Restored | Step::Stuck(_) => true,
        Step::Planned | Step::Failed(_) => here.intent.is_none(),
        Step::Deploying | Step::Ready | Step::Restoring => false,
    }
}

/// Whether a cluster is being changed or watched.
fn under_way(_: &ClusterName, step: &Step) -> bool {
    match step {
        Step::Deploying | Step::Ready | Step::Restoring => true,
        Step::Planned | Step::Failed(_) | Step::Restored | Step::Stuck(_) => false,
    }
}
