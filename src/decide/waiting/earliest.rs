//! When a release could be where, at the earliest: if everything goes well from here.
//!
//! A deploy takes no time, no soak is interrupted, and whoever must act does so at once; calendars, freezes
//! that end, soaks, and the rings before take the time that they take. So nothing passes before the instant
//! that is given here, and what somebody must do first is named beside it.

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;

use super::{Look, WaitingOn, dwells_until, may_still_reach, steps_aside, stopped_by};
use crate::{
    decide::{
        phase::is_settled,
        world::{Phase, PlanState, Release, World},
    },
    ids::{RingName, Version},
    model::{
        calendar::{AppliesTo, Calendar, InFlight, Opening},
        graph::Join,
        plan::{OnNewer, Plan},
        policy::Policy,
        ring::Ring,
        time::{Mono, Now, Span},
    },
};

/// How many openings are looked at: calendars that keep each other closed for longer never open together.
const TURNS: usize = 1_000;

/// When a release could start on a ring and pass it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stay {
    /// When it could start; nothing where it has, or never does by itself.
    pub start: Option<Timestamp>,
    /// When it could pass; nothing where it never does by itself.
    pub pass: Option<Timestamp>,
    /// What nobody but a person brings about, here or on a ring before it: it passes no sooner than that.
    pub needs: Vec<Need>,
}

/// Something that only a person can bring about.
#[derive(Debug, Clone, PartialEq)]
pub enum Need {
    /// The end of what holds the ring.
    Hold(RingName, WaitingOn),
    /// A new attempt on a ring that is over without having passed.
    Attempt(RingName),
}

/// When a release could be where, ring by ring.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Course(BTreeMap<RingName, Stay>);

impl Course {
    /// On one ring; nothing where the plan has none of that name.
    pub fn on(&self, ring: &RingName) -> Option<&Stay> {
        self.0.get(ring)
    }

    /// When it could have passed everywhere, and what that needs.
    pub fn whole(&self) -> Stay {
        let pass = self.0.values().map(|stay| stay.pass).reduce(|a, b| Some(a?.max(b?))).flatten();
        Stay { start: None, pass, needs: needs_of(self.0.values()) }
    }
}

/// How a release stands on a ring.
enum Stand {
    /// It has passed.
    Passed(Timestamp),
    /// It starts then at the earliest, and deploys for so long.
    Starts(Timestamp, Span),
    /// It is under way, and so much of its soak is left from then on.
    Soaks(Timestamp, Span),
    /// It is over without having passed.
    Over,
}

/// A release that is made at `from`, where nothing but calendars holds it and each ring takes as long as
/// `deploys` says.
pub fn of_plan(plan: &Plan, from: Timestamp, deploys: impl Fn(&Ring) -> Span) -> Course {
    course(plan, |ring| (Stand::Starts(from, deploys(ring)), Vec::new()))
}

/// A release as it stands. Of one that is settled nothing is expected: nothing.
pub fn of_release(world: &World, release: &Release, now: Now) -> Option<Course> {
    let state = world.plans.get(&release.id.plan).filter(|_| !is_settled(release))?;
    let mut ahead: BTreeMap<&Version, Course> = BTreeMap::new();
    for other in state.in_order().take_while(|other| other.id != release.id) {
        if !is_settled(other) {
            let course = View { world, state, ahead: &ahead, now }.course(other);
            ahead.insert(&other.id.version, course);
        }
    }
    Some(View { world, state, ahead: &ahead, now }.course(release))
}

/// What a release is looked at in.
struct View<'a> {
    world: &'a World,
    state: &'a PlanState,
    /// The releases that were admitted before it and are not settled.
    ahead: &'a BTreeMap<&'a Version, Course>,
    now: Now,
}

impl View<'_> {
    fn course(&self, release: &Release) -> Course {
        course(&release.plan, |ring| self.stand(release, ring))
    }

    fn stand(&self, release: &Release, ring: &Ring) -> (Stand, Vec<Need>) {
        let name = &ring.name;
        let now = self.now.wall;
        let Some(run) = release.ring(name) else { return (Stand::Over, Vec::new()) };
        let look = Look { world: self.world, plan: self.state, release, ring, run, now: self.now };
        let over = || (Stand::Over, vec![Need::Attempt(name.clone())]);
        match run.phase {
            Phase::Passed => (Stand::Passed(run.entered.wall), Vec::new()),
            Phase::Failed | Phase::RollingBack | Phase::RolledBack => over(),
            Phase::Aborted | Phase::Superseded => (Stand::Over, Vec::new()),
            Phase::Waiting if release.aborted.is_some() => (Stand::Over, Vec::new()),
            Phase::Waiting => {
                let stopped = stopped_by(release, name).cloned().map(WaitingOn::Decision);
                let holds = stopped.into_iter().chain(look.before_start());
                let (from, needs) = self.bear(name, holds);
                let from = from.max(self.free(release, ring));
                (Stand::Starts(from, Span::ZERO), needs)
            }
            Phase::Deploying => {
                let (from, needs) = self.bear(name, look.while_deploying());
                let more = run.clusters.values().any(|c| c.step == super::Step::Planned);
                let from = match more {
                    true => together(continuing(&ring.policy), from, Span::ZERO),
                    false => Some(from),
                };
                match from {
                    Some(from) => (Stand::Soaks(from, ring.policy.soak.duration), needs),
                    None => (Stand::Over, needs),
                }
            }
            Phase::Soaking => {
                let (held, needs) = self.bear(name, look.while_soaking());
                // What has passed since the last tick is credited by the next one, if all is well.
                let since = run.soak.healthy_at.map_or(Span::ZERO, |at| self.now.mono.since(at));
                let since = now.checked_sub(since.to_signed()).unwrap_or(now);
                let left = ring.policy.soak.duration.saturating_sub(run.soak.credited);
                // It has not passed yet, however long ago its soak was over.
                let over = now.checked_sub(left.to_signed()).unwrap_or(now);
                let from = if held > now { held } else { since.max(over) };
                (Stand::Soaks(from, left), needs)
            }
        }
    }

    /// Until when `holds` last by themselves, and what of them only a person ends. Of what is under way
    /// elsewhere nobody knows how long it takes: it may be over at once.
    fn bear(
        &self,
        ring: &RingName,
        holds: impl IntoIterator<Item = WaitingOn>,
    ) -> (Timestamp, Vec<Need>) {
        let (mut until, mut needs) = (self.now.wall, Vec::new());
        for hold in holds {
            match &hold {
                WaitingOn::Freeze { until: Some(ends), .. } => until = until.max(*ends),
                WaitingOn::Freeze { until: None, .. }
                | WaitingOn::Pause(..)
                | WaitingOn::Approval { .. }
                | WaitingOn::Advance(_)
                | WaitingOn::Residency { .. }
                | WaitingOn::Policy(..)
                | WaitingOn::Decision(_) => needs.push(Need::Hold(ring.clone(), hold)),
                WaitingOn::Prerequisite(required) => match self.ahead.get(required) {
                    Some(course) => {
                        let Stay { pass, needs: theirs, .. } = course.whole();
                        until = pass.map_or(until, |pass| until.max(pass));
                        needs.extend(theirs);
                    }
                    // It is over, still to come, or came later.
                    None => needs.push(Need::Hold(ring.clone(), hold)),
                },
                // Calendars are asked of the instant at which it is their turn.
                WaitingOn::Calendar { .. }
                | WaitingOn::Before(_)
                | WaitingOn::Queue(_)
                | WaitingOn::Turn(_)
                | WaitingOn::Cap { .. }
                | WaitingOn::Pair { .. }
                | WaitingOn::Skew { .. }
                | WaitingOn::Data { .. }
                | WaitingOn::Samples { .. }
                | WaitingOn::Target(..)
                | WaitingOn::Promotion(..)
                | WaitingOn::Watch { .. }
                | WaitingOn::Rollbacks(..) => {}
            }
        }
        (until, needs)
    }

    /// When the ring is free of the releases that go first there.
    fn free(&self, release: &Release, ring: &Ring) -> Timestamp {
        let done = |other: &Release| {
            let stay = self.ahead.get(&other.id.version)?.on(&ring.name)?;
            // What needs somebody may as well be ended by them.
            stay.pass.filter(|_| stay.needs.is_empty())
        };
        let mut free = self.now.wall;
        if let Some(other) = self.state.in_motion(&ring.name).filter(|o| o.id != release.id) {
            let replaced = (release.plan.on_newer == OnNewer::ReplaceIfUnhealthy)
                .then(|| dwells_until(release, other, &ring.name))
                .flatten();
            let replaced = replaced.map(|at: Mono| {
                let away = at.since(self.now.mono).to_signed();
                self.now.wall.checked_add(away).unwrap_or(self.now.wall)
            });
            let done = done(other).into_iter().chain(replaced).min();
            free = done.map_or(free, |done| free.max(done));
        }
        if release.plan.on_newer == OnNewer::FinishThen {
            let older = self.state.in_order().take_while(|other| other.id != release.id);
            let goes_first = |other: &&Arc<Release>| {
                other.ring(&ring.name).is_some_and(|run| run.phase == Phase::Waiting)
                    && other.aborted.is_none()
                    && may_still_reach(other, &ring.name)
                    && !steps_aside(self.state, other)
            };
            let done = older.filter(goes_first).filter_map(|other| done(other)).max();
            free = done.map_or(free, |done| free.max(done));
        }
        free
    }
}

/// The one computation: ring by ring, each behind what it comes after.
fn course(plan: &Plan, stand: impl Fn(&Ring) -> (Stand, Vec<Need>)) -> Course {
    let mut stays: BTreeMap<RingName, Stay> = BTreeMap::new();
    for name in plan.graph.order() {
        let Some(ring) = plan.ring(name) else { continue };
        let (here, needs) = stand(ring);
        let stay = match here {
            Stand::Passed(at) => Stay { start: None, pass: Some(at), needs },
            Stand::Over => Stay { start: None, pass: None, needs },
            Stand::Soaks(from, left) => {
                Stay { start: None, pass: soaked(&ring.policy, from, left), needs }
            }
            Stand::Starts(from, deploys) => {
                let after = plan.graph.after(name);
                let before: Vec<&Stay> =
                    after.rings.iter().filter_map(|ring| stays.get(ring)).collect();
                let (free, earlier) = joined(after.join, &before, from);
                let start = free.and_then(|free| {
                    let starts = applying(&ring.policy, AppliesTo::Start);
                    together(starts, free.max(from), ring.policy.deadline)
                });
                let pass = start.and_then(|start| {
                    let ready = start.checked_add(deploys.to_signed()).ok()?;
                    soaked(&ring.policy, ready, ring.policy.soak.duration)
                });
                Stay { start, pass, needs: each_once(earlier.into_iter().chain(needs)) }
            }
        };
        stays.insert(name.clone(), stay);
    }
    Course(stays)
}

/// When a ring is free of those before it, and what that needs.
fn joined(join: Join, before: &[&Stay], from: Timestamp) -> (Option<Timestamp>, Vec<Need>) {
    let all = || needs_of(before.iter().copied());
    match join {
        _ if before.is_empty() => (Some(from), Vec::new()),
        Join::All => {
            let passes = before.iter().map(|stay| stay.pass);
            (passes.reduce(|a, b| Some(a?.max(b?))).flatten(), all())
        }
        Join::Any => {
            let passing = before.iter().filter_map(|stay| Some((stay.pass?, stay)));
            match passing.min_by_key(|(pass, stay)| (*pass, !stay.needs.is_empty())) {
                Some((pass, first)) => (Some(pass), first.needs.clone()),
                None => (None, all()),
            }
        }
    }
}

fn needs_of<'a>(stays: impl Iterator<Item = &'a Stay>) -> Vec<Need> {
    each_once(stays.flat_map(|stay| stay.needs.iter().cloned()))
}

fn each_once(needs: impl Iterator<Item = Need>) -> Vec<Need> {
    needs.fold(Vec::new(), |mut once, need| {
        if !once.contains(&need) {
            once.push(need);
        }
        once
    })
}

/// When so much of a soak is over that goes on from an instant: it stands still while a calendar that halts
/// it is closed.
fn soaked(policy: &Policy, from: Timestamp, left: Span) -> Option<Timestamp> {
    let halting = || applying(policy, AppliesTo::Advance).filter(|c| c.in_flight == InFlight::Halt);
    let (mut at, mut left) = (from, left.to_signed());
    for _ in 0..TURNS {
        at = together(halting(), at, Span::ZERO)?;
        let closes = halting().filter_map(|calendar| match calendar.at(at) {
            Opening::Open { until } => until,
            Opening::Closed { .. } => Some(at),
        });
        match closes.min() {
            Some(until) if until.duration_since(at) < left => {
                left = left.saturating_sub(until.duration_since(at));
                at = until;
            }
            Some(_) | None => return at.checked_add(left).ok(),
        }
    }
    None
}

fn applying(policy: &Policy, what: AppliesTo) -> impl Iterator<Item = &Calendar> + Clone {
    policy.calendars.iter().filter(move |calendar| calendar.applies_to.contains(&what))
}

/// The calendars that a ring under way waits for before its next cluster.
fn continuing(policy: &Policy) -> impl Iterator<Item = &Calendar> + Clone {
    applying(policy, AppliesTo::Advance).filter(|c| c.in_flight != InFlight::FinishRing)
}

/// The first instant from `at` on at which all the calendars are open, and stay so for `wanted`.
fn together<'a>(
    calendars: impl Iterator<Item = &'a Calendar> + Clone,
    at: Timestamp,
    wanted: Span,
) -> Option<Timestamp> {
    let mut at = at;
    for _ in 0..TURNS {
        let opens = calendars.clone().map(|calendar| calendar.opens_for(at, wanted));
        let open = opens.into_iter().try_fold(at, |latest, opens| Some(latest.max(opens?)))?;
        if open == at {
            return Some(at);
        }
        at = open;
    }
    None
}
