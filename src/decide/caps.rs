//! Caps: how much may be in motion at once, over all plans.

use std::collections::BTreeMap;

use super::{
    residency::waived,
    waiting::{Full, WaitingOn},
    world::{Cap, Moving, Place, Release, World},
};
use crate::model::{
    residency::{Demand, Rule},
    ring::Ring,
    time::Now,
};

/// A ring in motion, and whose it is.
type Other<'a> = (&'a Place, &'a Moving);

/// The caps that keep `release` from starting on `ring`: those of the settings, those of its own plan,
/// and those of what moves already. A cap that bound its own plan alone would hold or not as chance has
/// it who comes first.
///
/// Who has waited longest for a place of the settings is counted as if it moved already: nobody can take
/// what it needs, whatever that is, and so it is not overtaken for ever.
pub(super) fn in_the_way(
    world: &World,
    release: &Release,
    ring: &Ring,
    now: Now,
) -> Vec<WaitingOn> {
    let own = (release.id.plan.clone(), ring.name.clone());
    let motion = world.shared.motion.iter();
    let mut others: Vec<Other<'_>> = motion.filter(|(at, _)| **at != own).collect();
    let mut found = settings(world, release, ring, &own, &others);
    let first = world.shared.line.ahead_of(&own).next();
    let first =
        first.map(|claim| ((claim.release.plan.clone(), claim.ring.clone()), &claim.moving));
    others.extend(first.iter().map(|(place, moving)| (place, *moving)));
    // What the plan does without does not come back through another plan that has the same rule.
    let (free, rules): (Vec<&Rule>, Vec<&Rule>) = release
        .plan
        .residency
        .iter()
        .filter(|rule| rule.demand.is_cap())
        .partition(|rule| waived(world, release, &ring.name, rule, now));
    let same = |a: &Rule, b: &Rule| a.is_named_as(b) && a.content() == b.content();
    // A cap that many plans have says the same of each: it is counted once.
    let mut counted: Vec<&Demand> = rules.iter().map(|rule| &rule.demand).collect();
    found.extend(counted.iter().flat_map(|demand| cap(demand, ring, &others)));
    for other in &others {
        let (_, moving) = other;
        for rule in moving.caps.iter().filter(|rule| !free.iter().any(|own| same(own, rule))) {
            let demand = &rule.demand;
            let theirs = match demand {
                Demand::MaxInFlight { jurisdiction, .. }
                    if !counted.contains(&demand) && moving.reaches(jurisdiction) =>
                {
                    counted.push(demand);
                    cap(demand, ring, &others)
                }
                // Partners elsewhere are no business of theirs.
                Demand::PairExclusive => cap(demand, ring, std::slice::from_ref(other)),
                Demand::MaxInFlight { .. }
                | Demand::ClassWithin { .. }
                | Demand::TargetsWithin { .. }
                | Demand::TargetsOutside { .. }
                | Demand::Homogeneous { .. }
                | Demand::NotFirstIn { .. }
                | Demand::Independent { .. }
                | Demand::EvidenceWithin { .. }
                | Demand::PullWithin { .. }
                | Demand::ApproverWithin { .. }
                | Demand::StateWithin { .. } => Vec::new(),
            };
            for waiting in theirs {
                if !found.contains(&waiting) {
                    found.push(waiting);
                }
            }
        }
    }
    found
}

/// The caps of the settings that have no place for `ring`, beside what moves and what may start before it.
fn settings(
    world: &World,
    release: &Release,
    ring: &Ring,
    own: &Place,
    others: &[Other<'_>],
) -> Vec<WaitingOn> {
    let (limits, blocs) = (&world.shared.limits, &world.shared.blocs);
    if limits.is_empty() {
        return Vec::new();
    }
    let caps = Cap::of(limits, &Moving::of(&release.plan, ring), blocs);
    let ahead = || world.shared.line.ahead_of(own);
    let full = |(cap, limit): &(Cap, u32)| {
        let moving = others.iter().filter(|(_, moving)| cap.counts(moving, blocs));
        let moving: Vec<Place> = moving.map(|(place, _)| (*place).clone()).collect();
        Full { cap: cap.clone(), limit: *limit, moving, ahead: ahead().count() }
    };
    let all = || caps.iter().map(full);
    let taken: Vec<_> = all().filter(|full| full.moving.len() >= full.limit as usize).collect();
    if !taken.is_empty() || world.shared.line.is_empty() {
        return taken.into_iter().map(WaitingOn::Cap).collect();
    }
    // What is free goes to those that wait longer, as far as they can take it.
    let mut tally: BTreeMap<Cap, u32> = BTreeMap::new();
    let count = |tally: &mut BTreeMap<Cap, u32>, of: Vec<(Cap, u32)>| {
        of.into_iter().for_each(|(cap, _)| *tally.entry(cap).or_default() += 1);
    };
    for (_, moving) in others {
        count(&mut tally, Cap::of(limits, moving, blocs));
    }
    let room = |tally: &BTreeMap<Cap, u32>, (cap, limit): &(Cap, u32)| {
        tally.get(cap).copied().unwrap_or_default() < *limit
    };
    for (n, claim) in ahead().enumerate() {
        let theirs = Cap::of(limits, &claim.moving, blocs);
        if n == 0 || theirs.iter().all(|cap| room(&tally, cap)) {
            count(&mut tally, theirs);
        }
        if !caps.iter().all(|cap| room(&tally, cap)) {
            break;
        }
    }
    let full = caps.iter().filter(|cap| !room(&tally, cap)).map(full);
    full.map(WaitingOn::Cap).collect()
}

/// What a cap says of starting on `ring` beside `others`.
fn cap(demand: &Demand, ring: &Ring, others: &[Other<'_>]) -> Vec<WaitingOn> {
    match demand {
        Demand::MaxInFlight { jurisdiction, rings } => {
            let moving = || others.iter().filter(|(_, moving)| moving.reaches(jurisdiction));
            if jurisdiction.reaches(ring) && moving().count() >= *rings as usize {
                let (cap, limit) = (Cap::Rule(jurisdiction.name.clone()), *rings);
                let moving = moving().map(|(place, _)| (*place).clone()).collect();
                vec![WaitingOn::Cap(Full { cap, limit, moving, ahead: 0 })]
            } else {
                Vec::new()
            }
        }
        Demand::PairExclusive => {
            let paired = ring.clusters.iter().filter_map(|cluster| {
                let partner = cluster.failover_pair.as_ref()?;
                let mut others = others.iter();
                let ((plan, _), _) = others.find(|(_, m)| m.clusters.contains_key(partner))?;
                Some(WaitingOn::Pair {
                    cluster: cluster.name.clone(),
                    partner: partner.clone(),
                    plan: plan.clone(),
                })
            });
            paired.collect()
        }
        Demand::ClassWithin { .. }
        | Demand::TargetsWithin { .. }
        | Demand::TargetsOutside { .. }
        | Demand::Homogeneous { .. }
        | Demand::NotFirstIn { .. }
        | Demand::Independent { .. }
        | Demand::EvidenceWithin { .. }
        | Demand::PullWithin { .. }
        | Demand::ApproverWithin { .. }
        | Demand::StateWithin { .. } => Vec::new(),
    }
}
