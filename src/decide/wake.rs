//! When the core wants to look at a plan again, though nothing has happened.

use std::{ops, sync::Arc};

use jiff::Timestamp;

use super::{
    fact::Debt,
    lane,
    phase::is_settled,
    residency,
    soak::{TICK, no_data_deadlines, watch_ends},
    waiting::{HoldKind, WaitingOn, dwells_until, is_next, waiting_on},
    world::{Phase, Release, RingRun, RollbackLimit, Shared, Step, World},
};
use crate::{
    ids::{ClusterName, GateName, PlanName},
    model::{
        plan::OnNewer,
        ring::Ring,
        time::{Mono, Now, Span},
    },
};

/// A wait for the wall clock is looked at this often: the clock may jump.
const WALL_CHECK: Span = Span::minutes(1);

/// When to look again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wake {
    /// At this time at the latest.
    pub at: Option<Mono>,
    /// As soon as one of these has changed.
    pub shared: Parts,
    /// What was due when the plan was looked at, and is due still: nobody judges it, which is a defect.
    pub overdue: Option<Mono>,
    /// When the plan was looked at last.
    looked: Mono,
}

/// Parts of what plans share. Whoever waits for one of them has no use for a change of another: where
/// hundreds of rings soak, each ring that starts or ends would otherwise wake them all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Parts {
    /// Pauses and freezes.
    pub stops: bool,
    /// What is in motion, and what may be.
    pub motion: bool,
    /// How many rollbacks there are, and may be.
    pub rollbacks: bool,
    /// What residency rules are asked by: what is known of places.
    pub rules: bool,
}

impl Parts {
    /// What has changed from one to the other.
    pub fn changed(before: &Arc<Shared>, after: &Arc<Shared>) -> Self {
        if Arc::ptr_eq(before, after) {
            return Self::default();
        }
        let blocs = before.blocs != after.blocs;
        let stops = before.pauses != after.pauses || before.freezes != after.freezes || blocs;
        let rollbacks = before.rollbacks != after.rollbacks;
        let rules = before.facts != after.facts;
        // Who joins the line stands behind everybody: it is nobody's business until one leaves.
        let line = before.line.left != after.line.left || before.limits != after.limits;
        Self { stops, motion: line || blocs || before.motion != after.motion, rollbacks, rules }
    }

    /// Whether there is any.
    pub fn any(self) -> bool {
        self.stops || self.motion || self.rollbacks || self.rules
    }

    /// Whether any is in both.
    pub fn meet(self, other: Self) -> bool {
        (self.stops && other.stops)
            || (self.motion && other.motion)
            || (self.rollbacks && other.rollbacks)
            || (self.rules && other.rules)
    }
}

impl ops::BitOrAssign for Parts {
    fn bitor_assign(&mut self, other: Self) {
        self.stops |= other.stops;
        self.motion |= other.motion;
        self.rollbacks |= other.rollbacks;
        self.rules |= other.rules;
    }
}

impl Wake {
    /// A look that left something due is not repeated at once: it would be for ever.
    fn at(&mut self, mono: Mono) {
        let mut next = mono;
        if mono <= self.looked {
            self.overdue = Some(self.overdue.map_or(mono, |at| at.min(mono)));
            next = self.looked + WALL_CHECK;
        }
        self.at = Some(self.at.map_or(next, |at| at.min(next)));
    }

    fn at_wall(&mut self, wall: Timestamp, now: Now) {
        // What is past already was looked at just now.
        let Ok(millis) = u64::try_from(wall.duration_since(now.wall).as_millis()) else { return };
        let away = Span(millis.saturating_add(1));
        self.at(now.mono + away.min(WALL_CHECK));
    }
}

/// When to look at `plan` again, as things are. It was looked at last at `now`, by a decision that went
/// through all that was due then: what is due since is looked at as soon as may be.
pub fn next(world: &World, plan: &PlanName, now: Now) -> Wake {
    let mut wake = Wake { looked: now.mono, ..Wake::default() };
    let Some(state) = world.plans.get(plan) else { return wake };
    for release in state.open() {
        if is_settled(release) {
            // All that is left of it is what it owes: nothing else of it is looked at.
            settled(&mut wake, world, release, now);
            continue;
        }
        if let Some(ends) = lane::ends(release).filter(|_| lane::is_open(release)) {
            wake.at(ends.mono);
            wake.at_wall(ends.wall, now);
        }
        let mut on_its_way = false;
        for ring in &release.plan.rings {
            let Some(run) = release.ring(&ring.name) else { continue };
            on_its_way |= run.phase == Phase::Waiting || run.phase.in_motion();
            match run.phase {
                // Whoever waits for the rings before it is woken by what happens to those.
                Phase::Waiting if !is_next(release, &ring.name) => {}
                Phase::Waiting => {
                    held(&mut wake, world, release, ring, now);
                    let other = state.in_motion(&ring.name);
                    let other =
                        other.filter(|_| release.plan.on_newer == OnNewer::ReplaceIfUnhealthy);
                    let dwelt = other.and_then(|other| dwells_until(release, other, &ring.name));
                    dwelt.filter(|at| *at > now.mono).into_iter().for_each(|at| wake.at(at));
                }
                Phase::Deploying | Phase::RollingBack => {
                    held(&mut wake, world, release, ring, now);
                    // A ring that goes back and has to wait for that judges its deploys no more.
                    let goes_back = run.phase == Phase::RollingBack;
                    let out = if goes_back { Step::Restoring } else { Step::Deploying };
                    for here in run.clusters.values() {
                        let arrives = here.reachable.reaches(ring.policy.deadline);
                        let arrives = arrives.filter(|_| here.step == out);
                        let allowed = here.denied.map(|since| since + ring.policy.deadline);
                        let allowed = allowed.filter(|_| goes_back && here.is_to_go_back());
                        arrives.into_iter().chain(allowed).for_each(|at| wake.at(at));
                    }
                }
                Phase::Soaking => {
                    held(&mut wake, world, release, ring, now);
                    // What may not be measured is never due; the facts that say so wake it.
                    let kept_out = residency::unmeasurable(world, release, ring, now);
                    soaking(&mut wake, ring, run, &kept_out);
                }
                Phase::Passed => {
                    let kept_out = residency::unmeasurable(world, release, ring, now);
                    owing(&mut wake, run, &kept_out);
                    if run.watched {
                        measuring(&mut wake, ring, run, &kept_out);
                        wake.at(watch_ends(ring, run));
                    }
                }
                Phase::Failed | Phase::RolledBack | Phase::Aborted | Phase::Superseded => {}
            }
        }
        if on_its_way && !release.plan.residency.is_empty() {
            // What a ring in motion rests on may come to be contradicted, or expire.
            wake.shared.rules = true;
            let known = world.known(now);
            let expire = release.plan.clusters().filter_map(|cluster| known.expires(cluster));
            expire.min().into_iter().for_each(|at| wake.at_wall(at, now));
            for (_, waiver) in state.waivers.iter().filter(|(_, waiver)| !waiver.is_over(now)) {
                let ends = waiver.ends();
                wake.at(ends.mono);
                wake.at_wall(ends.wall, now);
            }
        }
    }
    wake
}

fn settled(wake: &mut Wake, world: &World, release: &Release, now: Now) {
    for ring in release.plan.rings.iter().filter(|_| release.owes()) {
        let passed = release.ring(&ring.name).filter(|run| run.phase == Phase::Passed);
        let Some(run) = passed.filter(|run| !run.debts.is_empty()) else { continue };
        owing(wake, run, &residency::unmeasurable(world, release, ring, now));
    }
}

fn held(wake: &mut Wake, world: &World, release: &Release, ring: &Ring, now: Now) {
    for waiting in waiting_on(world, release, &ring.name, now) {
        match &waiting {
            WaitingOn::Calendar { opens, .. } => {
                opens.iter().for_each(|opens| wake.at_wall(*opens, now));
            }
            WaitingOn::Freeze { until, .. } => {
                until.iter().for_each(|until| wake.at_wall(*until, now));
            }
            WaitingOn::Rollbacks(limit, _) => {
                wake.shared.rollbacks = true;
                if let RollbackLimit::PerHour { free: Some(free), .. } = limit {
                    wake.at(*free);
                }
            }
            WaitingOn::Turn(_)
            | WaitingOn::Decision(_)
            | WaitingOn::Watch { .. }
            | WaitingOn::Before(_)
            | WaitingOn::Queue(_)
            | WaitingOn::Pause(..)
            | WaitingOn::Approval { .. }
            | WaitingOn::Advance(_)
            | WaitingOn::Cap(_)
            | WaitingOn::Pair { .. }
            | WaitingOn::Residency { .. }
            | WaitingOn::Skew { .. }
            | WaitingOn::Prerequisite(_)
            | WaitingOn::Policy(..)
            | WaitingOn::Data { .. }
            | WaitingOn::Samples { .. }
            | WaitingOn::Promotion(..)
            | WaitingOn::Target(..) => {}
        }
        match waiting.hold() {
            Some(HoldKind::Pause | HoldKind::Freeze) => wake.shared.stops = true,
            Some(HoldKind::Cap) if matches!(waiting, WaitingOn::Rollbacks(..)) => {}
            Some(HoldKind::Cap | HoldKind::Pair) => wake.shared.motion = true,
            Some(HoldKind::Residency) => wake.shared.rules = true,
            Some(
                HoldKind::Calendar
                | HoldKind::Approval
                | HoldKind::Skew
                | HoldKind::Prerequisite
                | HoldKind::Policy
                | HoldKind::Data
                | HoldKind::Target,
            )
            | None => {}
        }
    }
    // Whoever has a place in the line gives it back when a window closes or an approval expires.
    let place = (release.id.plan.clone(), ring.name.clone());
    let aging = ring.policy.approvals.as_ref().is_some_and(|needed| needed.expires.is_some());
    if (aging || !ring.policy.calendars.is_empty()) && world.shared.line.claim(&place).is_some() {
        wake.at(now.mono + WALL_CHECK);
    }
    // A pause of more than this plan must be seen by what it stops, as well as its end.
    wake.shared.stops |= release.ring(&ring.name).is_some_and(|run| run.phase == Phase::Soaking);
}

/// Gates that a hotfix owes are measured on.
fn owing(wake: &mut Wake, run: &RingRun, kept_out: &[ClusterName]) {
    let owed = |gate: &GateName| run.debts.contains_key(&Debt::Gate(gate.clone()));
    let ready = |name| {
        !kept_out.contains(name) && run.clusters.get(name).is_some_and(|c| c.step == Step::Ready)
    };
    let gates = run.gates.iter().filter(|((cluster, gate), _)| ready(cluster) && owed(gate));
    gates.filter(|(_, gate)| gate.asked.is_none()).for_each(|(_, gate)| wake.at(gate.due));
}

fn measuring(wake: &mut Wake, ring: &Ring, run: &RingRun, kept_out: &[ClusterName]) {
    let ready = |name| {
        !kept_out.contains(name) && run.clusters.get(name).is_some_and(|c| c.step == Step::Ready)
    };
    for ((cluster, _), gate) in &run.gates {
        if gate.asked.is_none() && ready(cluster) {
            wake.at(gate.due);
        }
    }
    for (at, _) in no_data_deadlines(ring, run) {
        wake.at(at);
    }
}

fn soaking(wake: &mut Wake, ring: &Ring, run: &RingRun, kept_out: &[ClusterName]) {
    measuring(wake, ring, run, kept_out);
    for here in run.clusters.values().filter(|c| c.step == Step::Ready) {
        here.unready.reaches(ring.policy.deadline).into_iter().for_each(|at| wake.at(at));
    }
    let gateless = !ring.policy.gates.iter().any(|gate| gate.required);
    if let Some(since) = run.soak.healthy_at.filter(|_| gateless) {
        let left = ring.policy.soak.duration.saturating_sub(run.soak.credited);
        wake.at(since + left.min(TICK));
    }
}
