//! What stops the line, who must agree before it moves, and where it all is.

use std::collections::{BTreeMap, BTreeSet};

use axum::response::Response;

use super::{super::caller::Visit, Guest, offers};
use crate::{
    decide::{
        event::Scope,
        phase,
        waiting::binding,
        world::{Phase, World},
    },
    ids::{Jurisdiction, PlanName},
    model::{blocs, residency::Enforcement, ring::Ring, time::Now},
    show::{
        auth::{Reach, Verb},
        dashboard::{
            Place,
            approvals::{self, Inbox, Item},
            deed::Deed,
            freezes::{self, Line},
            jurisdictions::{self, Atlas, Country},
        },
        view::{self, ApprovalView, WaiverState},
        words,
    },
};

/// Releases on their way that a country names; more are counted by the fleet's own page.
const NAMED: usize = 30;

/// The inbox.
pub async fn approvals(guest: Guest) -> Response {
    let visit = &guest.visit;
    let inbox = visit.look(|world, now| inbox(visit, world, now));
    let main = approvals::page(&inbox, &guest.viewer.csrf);
    guest.page(Place::Approvals, "Approvals", true, &main)
}

fn inbox(visit: &Visit, world: &World, now: Now) -> Inbox {
    let asked = view::approvals(world, now, |plan| visit.sees(world, plan));
    let waivers = view::waivers(world, now, |plan| visit.sees(world, plan));
    let waivers = waivers.into_iter().take(20).map(|waiver| {
        let (plan, id) = (waiver.plan.clone(), waiver.id.clone());
        let approve = || Deed::ApproveWaiver(plan.clone(), id.clone());
        let revoke = || Deed::RevokeWaiver(plan.clone(), id.clone());
        let deeds = match waiver.state {
            WaiverState::Asked if waiver.agreed.contains(visit.name()) => vec![revoke()],
            WaiverState::Asked => vec![approve(), revoke()],
            WaiverState::InForce => vec![revoke()],
            WaiverState::Expired | WaiverState::Revoked | WaiverState::Voided => Vec::new(),
        };
        let offers = deeds.into_iter().map(|deed| offers::offer(visit, world, deed)).collect();
        (waiver, offers)
    });
    Inbox {
        items: asked.into_iter().filter_map(|a| item(visit, world, a, now)).collect(),
        waivers: waivers.collect(),
        approver: visit.may(Verb::Agree, &Reach::Common).is_ok(),
        now,
    }
}

fn item(visit: &Visit, world: &World, approval: ApprovalView, now: Now) -> Option<Item> {
    let release = world.release(&approval.release)?;
    let (declared, run) = release.plan.ring(&approval.ring).zip(release.ring(&approval.ring))?;
    let bound = binding(release, declared, run);
    let mut offers = offers::ring_offers(visit, world, release, &approval.ring, now);
    offers.retain(|offer| matches!(offer.deed, Deed::Approve(..) | Deed::Reject(..)));
    Some(Item {
        release: view::release(world, release, now),
        clusters: bound.clusters.iter().map(ToString::to_string).collect(),
        attempt: bound.attempt,
        offers,
        approval,
    })
}

/// Freezes and pauses.
pub async fn freezes(guest: Guest) -> Response {
    let visit = &guest.visit;
    let line = visit.look(|world, now| line(visit, world, now));
    let main = freezes::page(&line, &guest.viewer.csrf);
    guest.page(Place::Freezes, "Freezes", true, &main)
}

fn line(visit: &Visit, world: &World, now: Now) -> Line {
    let sees = |scope: &Scope| visit.sees_scope(world, scope);
    let frozen = view::freezes(world, now, sees).into_iter();
    let paused = world.shared.pauses.iter().filter(|(scope, _)| sees(scope));
    let plans: Vec<&PlanName> = world.plans.keys().filter(|plan| visit.sees(world, plan)).collect();
    let countries = countries(world, visit);
    let holds_one = |bloc: &str| countries.iter().any(|c| blocs::contains(bloc, c.as_str()));
    let blocs: Vec<Jurisdiction> = blocs::blocs()
        .map(|(name, _)| name)
        .filter(|name| holds_one(name))
        .map(Into::into)
        .collect();
    Line {
        freezes: frozen
            .map(|freeze| {
                let lift = offers::offer(visit, world, Deed::Lift(freeze.id.clone()));
                (freeze, lift)
            })
            .collect(),
        pauses: paused.map(|(scope, pause)| offers::pause(visit, world, scope, pause)).collect(),
        plans: plans.into_iter().cloned().collect(),
        places: blocs.into_iter().chain(countries).collect(),
        denied: visit.may(Verb::Stop, &Reach::Common).err().map(|problem| problem.detail),
        now,
    }
}

/// Where clusters lie of plans that the viewer sees.
fn countries(world: &World, visit: &Visit) -> BTreeSet<Jurisdiction> {
    let seen = world.plans.iter().filter(|(name, _)| visit.sees(world, name));
    let declared = seen.filter_map(|(_, state)| state.declared.as_ref());
    declared.flat_map(|plan| plan.clusters()).map(|c| c.jurisdiction.clone()).collect()
}

/// Clusters by country.
pub async fn jurisdictions(guest: Guest) -> Response {
    let visit = &guest.visit;
    let atlas = visit.look(|world, now| atlas(visit, world, now));
    let main = jurisdictions::page(&atlas, &guest.viewer.csrf);
    guest.page(Place::Jurisdictions, "Jurisdictions", true, &main)
}

fn atlas(visit: &Visit, world: &World, now: Now) -> Atlas {
    let mut clusters: BTreeMap<Jurisdiction, Vec<view::ClusterRow>> = BTreeMap::new();
    for row in view::clusters(world, |plan, _| visit.sees(world, plan)) {
        clusters.entry(row.jurisdiction.clone()).or_default().push(row);
    }
    let country = |(code, clusters): (Jurisdiction, Vec<view::ClusterRow>)| {
        let here = |ring: &Ring| ring.clusters.iter().any(|c| c.jurisdiction == code);
        let states = world.plans.iter().filter(|(name, _)| visit.sees(world, name));
        let open = states.flat_map(|(_, state)| state.in_order()).filter(|r| !phase::is_settled(r));
        let rings = open.flat_map(|release| {
            release.plan.rings.iter().filter(|ring| here(ring)).map(move |ring| (release, ring))
        });
        let moving = rings.filter(|(release, ring)| {
            release.ring(&ring.name).is_some_and(|run| run.phase != Phase::Passed)
        });
        let moving = moving.take(NAMED).map(|(release, ring)| {
            let phase = phase::of_ring(world, release, &ring.name, now);
            (release.id.clone(), ring.name.clone(), phase)
        });
        let scope = Scope::Jurisdiction(code.clone());
        let pause = match world.shared.pauses.contains_key(&scope) {
            true => Deed::Resume(scope.clone()),
            false => Deed::Pause(scope.clone()),
        };
        let deeds = [pause, Deed::Freeze(scope)];
        Country {
            blocs: blocs_of(&code),
            moving: moving.collect(),
            offers: deeds.into_iter().map(|deed| offers::offer(visit, world, deed)).collect(),
            stopped: stopped(world, &code, now),
            code,
            clusters,
        }
    };
    let rules = world.plans.iter().filter(|(name, _)| visit.sees(world, name));
    let rules = rules.flat_map(|(name, state)| {
        let view = view::plan_alone(world, name, state);
        view.residency.into_iter().map(move |rule| {
            let waivable = rule.enforcement == Enforcement::Waivable;
            let asked = || Deed::AskWaiver(name.clone(), rule.id.clone(), rule.policy.clone());
            let offer = waivable.then(|| offers::offer(visit, world, asked()));
            (name.clone(), rule, offer)
        })
    });
    Atlas { rules: rules.collect(), countries: clusters.into_iter().map(country).collect() }
}

fn blocs_of(code: &Jurisdiction) -> Vec<Jurisdiction> {
    let all = blocs::blocs().filter(|(name, _)| blocs::contains(name, code.as_str()));
    all.map(|(name, _)| name.into()).collect()
}

/// What stops a whole country, in words.
fn stopped(world: &World, code: &Jurisdiction, now: Now) -> Vec<String> {
    let covers = |scope: &Scope, members: &BTreeSet<Jurisdiction>| match scope {
        Scope::Everything => true,
        Scope::Jurisdiction(name) => {
            members.contains(code) || world.shared.blocs.contains(name, code)
        }
        Scope::Plan(_) | Scope::Ring(..) | Scope::Release(_) | Scope::ReleaseRing(..) => false,
    };
    let shared = &world.shared;
    let pauses = shared.pauses.iter().filter(|(scope, pause)| covers(scope, &pause.members));
    let pauses = pauses.map(|(scope, pause)| words::paused(scope, &pause.said));
    let freezes = shared.freezes.values().filter(|freeze| {
        covers(&freeze.scope, &freeze.members) && freeze.until.is_none_or(|until| now.wall < until)
    });
    let freezes = freezes.map(|freeze| {
        let reason = freeze.said.reason.as_deref().unwrap_or_default();
        format!("{} frozen by {}: {reason}", words::covered(&freeze.scope), freeze.said.by.name)
    });
    pauses.chain(freezes).collect()
}
