//! Which approvals count, and who may give one.

use std::collections::BTreeSet;

use crate::{
    decide::{
        event::Actor,
        fact::{Binding, Refusal},
        world::{Release, RingRun},
    },
    ids::Principal,
    model::{policy::Approvals, ring::Ring, time::Now},
};

/// The approvals that count now: bound to exactly what would start, unexpired, by distinct people who
/// may give them (invariant 16).
pub fn approvals_that_count(
    release: &Release,
    ring: &Ring,
    run: &RingRun,
    needed: &Approvals,
    now: Now,
) -> Vec<Principal> {
    let binding = binding(release, ring, run);
    let counts = run.approvals.iter().filter(|approval| {
        let by = &approval.by;
        let fresh = needed.expires.is_none_or(|expires| {
            now.wall.duration_since(approval.at.wall) < expires.to_signed()
                && now.mono.since(approval.at.mono) < expires
        });
        approval.binding == binding && fresh && may_approve(release, by, needed).is_ok()
    });
    let people: BTreeSet<_> = counts.map(|approval| approval.by.name.clone()).collect();
    people.into_iter().collect()
}

/// Why somebody may not approve, if they may not.
pub fn may_approve(
    release: &Release,
    by: &Actor,
    needed: &Approvals,
) -> Result<(), (Refusal, String)> {
    if needed.exclude_author && (by.name == release.author || by.name == release.by.name) {
        let detail = format!("{} made this release; somebody else must approve it", by.name);
        return Err((Refusal::SelfApproval, detail));
    }
    if !needed.roles.is_empty() && !by.roles.iter().any(|role| needed.roles.contains(role)) {
        let detail =
            format!("{} has none of the roles asked for: {}", by.name, needed.roles.join(", "));
        return Err((Refusal::NotAuthorised, detail));
    }
    if let Some(territory) = &needed.jurisdiction
        && !by.jurisdiction.as_ref().is_some_and(|j| territory.contains(j))
    {
        let detail = format!("the approver must belong to {}", territory.name);
        return Err((Refusal::NotAuthorised, detail));
    }
    Ok(())
}

/// What an approval given now would agree to.
pub fn binding(release: &Release, ring: &Ring, run: &RingRun) -> Binding {
    Binding {
        artifact: release.artifact.clone(),
        policy: release.plan.hash.clone(),
        clusters: ring.clusters.iter().map(|c| c.name.clone()).collect(),
        attempt: run.attempt + 1,
    }
}
