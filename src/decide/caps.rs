//! Caps: how much may be in motion at once, over all plans.

use super::{
    residency::waived,
    waiting::WaitingOn,
    world::{Moving, Release, World},
};
use crate::{
    ids::{PlanName, RingName},
    model::{
        residency::{Demand, Rule},
        ring::Ring,
        time::Now,
    },
};

/// A ring in motion, and whose it is.
type Other<'a> = (&'a (PlanName, RingName), &'a Moving);

/// The caps that keep `release` from starting on `ring`: those of its own plan, and those of what moves
/// already. A cap that bound its own plan alone would hold or not as chance has it who comes first.
pub(super) fn in_the_way(
    world: &World,
    release: &Release,
    ring: &Ring,
    now: Now,
) -> Vec<WaitingOn> {
    let own = (release.id.plan.clone(), ring.name.clone());
    let motion = world.shared.motion.iter();
    let others: Vec<Other<'_>> = motion.filter(|(at, _)| **at != own).collect();
    // What the plan does without does not come back through another plan that has the same rule.
    let (free, rules): (Vec<&Rule>, Vec<&Rule>) = release
        .plan
        .residency
        .iter()
        .filter(|rule| rule.demand.is_cap())
        .partition(|rule| waived(world, release, &ring.name, rule, now));
    let same = |a: &Rule, b: &Rule| a.is_named_as(b) && a.content() == b.content();
    let mut found: Vec<_> =
        rules.into_iter().flat_map(|rule| cap(&rule.demand, ring, &others)).collect();
    for other in &others {
        let (_, moving) = other;
        for rule in moving.caps.iter().filter(|rule| !free.iter().any(|own| same(own, rule))) {
            let demand = &rule.demand;
            let theirs = match demand {
                Demand::MaxInFlight { jurisdiction, .. } if moving.reaches(jurisdiction) => {
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

/// What a cap says of starting on `ring` beside `others`.
fn cap(demand: &Demand, ring: &Ring, others: &[Other<'_>]) -> Vec<WaitingOn> {
    match demand {
        Demand::MaxInFlight { jurisdiction, rings } => {
            let moving = others.iter().filter(|(_, moving)| moving.reaches(jurisdiction)).count();
            if jurisdiction.reaches(ring) && moving >= *rings as usize {
                vec![WaitingOn::Cap { jurisdiction: jurisdiction.name.clone(), limit: *rings }]
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
