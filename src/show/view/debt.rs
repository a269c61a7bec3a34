//! What hotfixes did without, and was not made up for yet.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    decide::{
        fact::Debt,
        world::{Release, World},
    },
    ids::{PlanName, ReleaseId, RingName},
    show::words,
};

/// Something that a hotfix did without on a ring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DebtView {
    /// The release.
    pub release: ReleaseId,
    /// The ring that owes it.
    pub ring: RingName,
    /// What kind of thing it did without.
    pub kind: DebtKind,
    /// The gate that held nothing, or the ring that it ran ahead of.
    pub of: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// What it is, in words.
    pub message: String,
    /// What would settle it, in words.
    pub ended_by: String,
}

/// What a hotfix can do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum DebtKind {
    /// A gate that holds.
    Gate,
    /// A ring that has passed before.
    Ahead,
}

impl DebtKind {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            DebtKind::Gate => "gate",
            DebtKind::Ahead => "ahead",
        }
    }
}

/// What `release` owes on a ring.
pub fn of_ring(release: &Release, ring: &RingName) -> Vec<DebtView> {
    let debts = release.ring(ring).into_iter().flat_map(|run| &run.debts);
    debts
        .map(|(debt, owed)| {
            let (kind, of) = match debt {
                Debt::Gate(gate) => (DebtKind::Gate, gate.to_string()),
                Debt::Ahead(ring) => (DebtKind::Ahead, ring.to_string()),
            };
            let (message, ended_by) = words::debt(debt, owed, release, ring);
            DebtView {
                release: release.id.clone(),
                ring: ring.clone(),
                kind,
                of,
                since: owed.since.wall,
                message,
                ended_by,
            }
        })
        .collect()
}

/// Everything that is owed, by releases of the plans that `shown` lets through.
pub fn debts(world: &World, shown: impl Fn(&PlanName) -> bool) -> Vec<DebtView> {
    let plans = world.plans.iter().filter(|(name, _)| shown(name));
    let releases = plans.flat_map(|(_, plan)| plan.in_order()).filter(|release| release.owes());
    let rings = releases
        .flat_map(|release| release.rings.keys().flat_map(move |ring| of_ring(release, ring)));
    rings.collect()
}
