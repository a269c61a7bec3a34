//! What can be done, and why not by this viewer.
//!
//! Architecture invariant: whether a deed is offered is asked of the same function, with the same reach,
//! as the API's handler asks when it is done.

use super::super::{
    caller::{Visit, reach_of},
    line, waivers,
};
use crate::{
    decide::{
        event::Scope,
        phase::{self, RingPhase},
        waiting::{WaitingOn, approvals_that_count, covers, may_approve, waiting_on},
        world::{Pause, Phase, PlanState, Release, World},
    },
    ids::{PlanName, RingName},
    model::{ring::Ring, time::Now},
    show::{
        auth::{Reach, Verb},
        dashboard::deed::{Deed, Offer},
        view::{self, PauseView},
        words,
    },
};

/// Offers a deed, or says why it is not this viewer's.
pub fn offer(visit: &Visit, world: &World, deed: Deed) -> Offer {
    let may = |reach: &Reach| visit.may(deed.verb(), reach);
    let mut denied = may(&deed_reach(world, &deed)).err();
    // Whoever does not reach the whole plan may ask for one of its rings.
    if let Deed::AskWaiver(plan, ..) = &deed
        && rings_of(world, plan).any(|ring| may(&reach_of(world, plan, None, Some(ring))).is_ok())
    {
        denied = None;
    }
    Offer { deed, denied: denied.map(|problem| problem.detail) }
}

fn rings_of<'a>(world: &'a World, plan: &PlanName) -> impl Iterator<Item = &'a RingName> {
    let declared = world.plans.get(plan).and_then(|state| state.declared.as_ref());
    declared.into_iter().flat_map(|plan| plan.rings.iter().map(|ring| &ring.name))
}

/// What a deed would reach: the same as the API's handler of it asks for.
fn deed_reach(world: &World, deed: &Deed) -> Reach {
    match deed {
        Deed::Pause(scope) | Deed::Resume(scope) | Deed::Freeze(scope) => {
            line::reach_of_scope(world, scope)
        }
        Deed::Create(plan) | Deed::AskWaiver(plan, ..) => reach_of(world, plan, None, None),
        Deed::Approve(id, ring)
        | Deed::Reject(id, ring)
        | Deed::Advance(id, ring)
        | Deed::WriteOff(id, ring) => reach_of(world, &id.plan, Some(&id.version), Some(ring)),
        Deed::Retry(id, ring) | Deed::Rollback(id, ring) => {
            reach_of(world, &id.plan, Some(&id.version), ring.as_ref())
        }
        Deed::Abort(id) => reach_of(world, &id.plan, Some(&id.version), None),
        Deed::Lift(id) => match world.shared.freezes.get(id) {
            Some(freeze) => line::reach_of_scope(world, &freeze.scope),
            None => Reach::Common,
        },
        Deed::ApproveWaiver(plan, id) | Deed::RevokeWaiver(plan, id) => {
            waivers::reach_of_waiver(world, plan, id)
        }
    }
}

/// What can be done to a plan.
pub fn plan_offers(visit: &Visit, world: &World, name: &PlanName, state: &PlanState) -> Vec<Offer> {
    let scope = Scope::Plan(name.clone());
    let stop = match world.shared.pauses.contains_key(&scope) {
        true => Some(Deed::Resume(scope)),
        false => (!state.withdrawn).then_some(Deed::Pause(scope)),
    };
    let create = (!state.withdrawn).then(|| Deed::Create(name.clone()));
    let deeds = [create, stop].into_iter().flatten();
    // Who may not is told on the release's page; here it would stand once for each plan.
    deeds.map(|deed| offer(visit, world, deed)).filter(|offer| offer.denied.is_none()).collect()
}

/// The pauses in force that cover a ring of the release, each with what ends it.
pub fn pauses(visit: &Visit, world: &World, release: &Release) -> Vec<(PauseView, Offer)> {
    pauses_over(visit, world, release, &release.plan.rings)
}

/// The same of one ring.
pub fn pauses_on(
    visit: &Visit,
    world: &World,
    release: &Release,
    ring: &Ring,
) -> Vec<(PauseView, Offer)> {
    pauses_over(visit, world, release, std::slice::from_ref(ring))
}

fn pauses_over(
    visit: &Visit,
    world: &World,
    release: &Release,
    rings: &[Ring],
) -> Vec<(PauseView, Offer)> {
    let covering = world.shared.pauses.iter().filter(|(scope, pause)| {
        let blocs = &world.shared.blocs;
        rings.iter().any(|ring| covers(blocs, scope, &pause.members, release, ring))
    });
    covering.map(|(scope, said)| pause(visit, world, scope, said)).collect()
}

/// A pause with what ends it.
pub fn pause(visit: &Visit, world: &World, scope: &Scope, pause: &Pause) -> (PauseView, Offer) {
    let view = PauseView {
        scope: view::ScopeView::of(scope),
        covers: words::covered(scope),
        said: view::SaidView::of(&pause.said),
    };
    (view, offer(visit, world, Deed::Resume(scope.clone())))
}

/// What can be done about all of a release.
pub fn release_offers(visit: &Visit, world: &World, release: &Release) -> Vec<Offer> {
    let id = &release.id;
    let any = |phase: fn(Phase) -> bool| release.rings.values().any(|run| phase(run.phase));
    let settled = phase::is_settled(release);
    let scope = Scope::Release(id.clone());
    let paused = world.shared.pauses.contains_key(&scope);
    let has_it = any(|phase| {
        matches!(phase, Phase::Deploying | Phase::Soaking | Phase::Passed | Phase::Failed)
    });
    let failed = any(|phase| matches!(phase, Phase::Failed | Phase::RolledBack));
    let deeds = [
        (!settled && !paused).then_some(Deed::Pause(scope)),
        (failed && release.aborted.is_none()).then(|| Deed::Retry(id.clone(), None)),
        has_it.then(|| Deed::Rollback(id.clone(), None)),
        (!settled && release.aborted.is_none()).then(|| Deed::Abort(id.clone())),
    ];
    deeds.into_iter().flatten().map(|deed| offer(visit, world, deed)).collect()
}

/// What can be done about a release on a ring.
pub fn ring_offers(
    visit: &Visit,
    world: &World,
    release: &Release,
    ring: &RingName,
    now: Now,
) -> Vec<Offer> {
    let id = &release.id;
    let Some((declared, run)) = release.plan.ring(ring).zip(release.ring(ring)) else {
        return Vec::new();
    };
    let scope = Scope::ReleaseRing(id.clone(), ring.clone());
    let paused = world.shared.pauses.contains_key(&scope);
    let phase = phase::of_ring(world, release, ring, now);
    let may_start = !matches!(run.phase, Phase::Waiting) || release.aborted.is_none();
    let here = || (id.clone(), ring.clone());
    let mut offers = Vec::new();
    if let Some(needed) = declared.policy.approvals.as_ref()
        && run.phase == Phase::Waiting
        && release.aborted.is_none()
    {
        let (id, ring) = here();
        let mut approve = offer(visit, world, Deed::Approve(id.clone(), ring.clone()));
        let mut reject = offer(visit, world, Deed::Reject(id, ring));
        let given = approvals_that_count(release, declared, run, needed, now);
        let done = given.contains(visit.name());
        let full = given.len() >= needed.count as usize;
        let reach =
            reach_of(world, &release.id.plan, Some(&release.id.version), Some(&declared.name));
        let by = visit.actor(Verb::Agree, &reach);
        let not = may_approve(release, &by, needed).err().map(|(_, why)| why);
        for offer in [&mut approve, &mut reject] {
            offer.denied = offer.denied.take().or_else(|| not.clone());
        }
        if !done && !full {
            offers.push(approve);
        }
        offers.push(reject);
    }
    let waits = waiting_on(world, release, ring, now);
    let asked = |w: &WaitingOn| matches!(w, WaitingOn::Advance(_) | WaitingOn::Promotion(..));
    let (move_on, go_back) = match phase {
        RingPhase::Waiting | RingPhase::Held => (may_start, false),
        RingPhase::Deploying | RingPhase::Soaking => (true, true),
        RingPhase::Passed | RingPhase::Failed => (false, true),
        RingPhase::RollingBack
        | RingPhase::RolledBack
        | RingPhase::Aborted
        | RingPhase::Superseded => (false, false),
    };
    let again = matches!(run.phase, Phase::Failed | Phase::RolledBack) && release.aborted.is_none();
    let deeds = [
        waits.iter().any(asked).then(|| Deed::Advance(id.clone(), ring.clone())),
        (move_on && !paused).then_some(Deed::Pause(scope)),
        again.then(|| Deed::Retry(id.clone(), Some(ring.clone()))),
        go_back.then(|| Deed::Rollback(id.clone(), Some(ring.clone()))),
        (!run.debts.is_empty()).then(|| Deed::WriteOff(id.clone(), ring.clone())),
    ];
    offers.extend(deeds.into_iter().flatten().map(|deed| offer(visit, world, deed)));
    offers
}
