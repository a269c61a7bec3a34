//! A plan as compiled: everything that a release needs to know, in one value that stands alone.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};

use super::{
    canonical::canonical,
    graph::RingGraph,
    lane::Lanes,
    policy::RollbackScope,
    residency::Rule,
    ring::{Cluster, Ring, Target},
};
use crate::ids::{ClusterName, Commit, DataClass, Hash, PlanName, RingName, hex};

/// One service's rings with their policies, clusters and rules resolved. A release keeps the one that
/// it started under: it is the policy snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Its name.
    pub name: PlanName,
    /// Of all the fields below except `commit` and the lines that rules are declared at: what is meant
    /// the same has the same hash.
    pub hash: Hash,
    /// The commit it was compiled from.
    pub commit: Commit,
    /// What is changed in each cluster.
    pub target: Target,
    /// The classes of data that the service handles.
    pub data_classes: Vec<DataClass>,
    /// What a newer release does to one in motion.
    pub on_newer: OnNewer,
    /// What a change of policy does to releases in motion. Left out where it is the default, so that a
    /// plan that never said it keeps its hash.
    #[serde(default, skip_serializing_if = "OnPolicyChange::is_default")]
    pub on_policy_change: OnPolicyChange,
    /// The most distinct versions between a ring and the ones it comes after.
    pub max_skew: Option<u32>,
    /// Other rules for releases that cannot wait. Left out where there are none, so that such a plan keeps
    /// its hash.
    #[serde(default, skip_serializing_if = "Lanes::is_empty")]
    pub lanes: Lanes,
    /// Which ring comes after which.
    pub graph: RingGraph,
    /// The rings, in the graph's order.
    #[serde(deserialize_with = "rings")]
    pub rings: Vec<Ring>,
    /// The residency rules that bind it.
    pub residency: Vec<Rule>,
}

impl Plan {
    /// The ring of that name.
    pub fn ring(&self, name: &RingName) -> Option<&Ring> {
        self.rings.iter().find(|r| &r.name == name)
    }

    /// The hash of the plan as it is meant: without the commit, and without the lines that its rules
    /// stand in, so that an edit elsewhere in a file voids no approval.
    pub fn fingerprint(&self) -> Hash {
        let Plan {
            name,
            hash: _,
            commit: _,
            target,
            data_classes,
            on_newer,
            on_policy_change,
            max_skew,
            lanes,
            graph,
            rings,
            residency,
        } = self;
        let mut residency = residency.clone();
        residency.iter_mut().for_each(|rule| rule.declared_at.clear());
        let meant = Meant {
            name,
            hash: "",
            commit: "",
            target,
            data_classes,
            on_newer,
            on_policy_change: Some(on_policy_change).filter(|change| !change.is_default()),
            max_skew,
            lanes: Some(lanes).filter(|lanes| !lanes.is_empty()),
            graph,
            rings,
            residency,
        };
        digest(&meant)
    }

    /// Every cluster of every ring, each once.
    pub fn clusters(&self) -> impl Iterator<Item = &Cluster> {
        let mut seen = BTreeSet::new();
        self.rings.iter().flat_map(|r| &r.clusters).filter(move |c| seen.insert(&c.name))
    }

    /// Whether `ring` goes back when `origin` does by that scope, if the release is out there.
    pub fn goes_back_with(&self, origin: &RingName, scope: RollbackScope, ring: &RingName) -> bool {
        let places = |ring: &RingName| {
            let clusters = self.ring(ring).into_iter().flat_map(|ring| &ring.clusters);
            clusters.map(|cluster| &cluster.jurisdiction).collect::<BTreeSet<_>>()
        };
        ring == origin
            || match scope {
                RollbackScope::Ring => false,
                RollbackScope::Descendants => self.graph.descendants(origin).contains(&ring),
                RollbackScope::Jurisdiction => !places(origin).is_disjoint(&places(ring)),
                RollbackScope::Exposed => self.ring(ring).is_some(),
            }
    }

    /// The cluster of that name, in whichever ring it is.
    pub fn cluster(&self, name: &ClusterName) -> Option<&Cluster> {
        self.rings.iter().find_map(|r| r.cluster(name))
    }
}

/// Rings that go by the same policy hold it once, as they did when it was written.
fn rings<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Ring>, D::Error> {
    let mut rings = Vec::<Ring>::deserialize(d)?;
    for at in 1..rings.len() {
        let (before, rest) = rings.split_at_mut(at);
        if let Some(ring) = rest.first_mut() {
            let _ = before.iter().rev().any(|other| ring.policy.join(&other.policy));
        }
    }
    rings.shrink_to_fit();
    Ok(rings)
}

/// What a change of policy does to releases that are in motion. A looser policy never applies to them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnPolicyChange {
    /// They keep what they started under.
    #[default]
    Keep,
    /// They take what is tighter, on rings that they have not started.
    Tighten,
}

impl OnPolicyChange {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What a newer release does to one in motion on the same ring.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnNewer {
    /// The newest waits until the ring is done; those in between are superseded.
    #[default]
    QueueLatest,
    /// Strict order, all of them.
    FinishThen,
    /// Replaces at once only where the current one has failed or is not yet healthy.
    ReplaceIfUnhealthy,
    /// An operator decides.
    Manual,
}

/// The hash of a value as JSON, whatever the order of its fields.
pub(super) fn digest<T: Serialize>(value: &T) -> Hash {
    // What is declared is text, lists, maps with text keys and finite numbers: nothing that JSON cannot hold.
    let digest = Sha256::digest(canonical(value).unwrap_or_default());
    hex(&digest).into()
}

/// What a plan's hash is taken over: as the plan is written, without copying it.
#[derive(Serialize)]
struct Meant<'a> {
    name: &'a PlanName,
    hash: &'static str,
    commit: &'static str,
    target: &'a Target,
    data_classes: &'a [DataClass],
    on_newer: &'a OnNewer,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_policy_change: Option<&'a OnPolicyChange>,
    max_skew: &'a Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lanes: Option<&'a Lanes>,
    graph: &'a RingGraph,
    rings: &'a [Ring],
    residency: Vec<Rule>,
}
