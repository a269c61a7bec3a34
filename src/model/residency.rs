//! What may go where. Facts come from declarations; a missing fact is unknown, and unknown is denied.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{
    graph::Join,
    plan::Plan,
    policy::{Baseline, Judge},
    ring::{Cluster, Ring},
};
use crate::ids::{DataClass, Jurisdiction, RingName};

/// A jurisdiction with the countries that it is made of, as resolved when the plan was compiled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Territory {
    /// The name that was written: a country code or a bloc.
    pub name: Jurisdiction,
    /// The country codes that belong to it.
    pub members: BTreeSet<Jurisdiction>,
}

impl Territory {
    /// Whether `place`, a country code or this very territory, belongs to it.
    pub fn contains(&self, place: &Jurisdiction) -> bool {
        *place == self.name || self.members.contains(place)
    }
}

/// One rule of a `ResidencyPolicy`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The id that its owner gave it, such as `GDPR-1`.
    pub id: String,
    /// Whether it can be waived.
    pub enforcement: Enforcement,
    /// What it demands.
    pub demand: Demand,
    /// Whether a rule that concerns nothing is what its owner wants.
    pub allow_empty: bool,
    /// `file:line` of its declaration, for diagnostics and explanations.
    pub declared_at: String,
}

/// Whether a rule can be waived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Enforcement {
    /// By nobody; change Git.
    Hard,
    /// By two approvers, for a time, on the record.
    Waivable,
}

/// What a residency rule demands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Demand {
    /// Every cluster of the plan that serves the class lies in the jurisdiction.
    ClassWithin {
        /// The class of data.
        class: DataClass,
        /// Where it must stay.
        jurisdiction: Territory,
    },
    /// Every cluster of the rings lies in the jurisdiction.
    TargetsWithin {
        /// The rings; none named is all of them.
        rings: Vec<RingName>,
        /// Where they must lie.
        jurisdiction: Territory,
    },
    /// No cluster of the rings lies in the jurisdiction.
    TargetsOutside {
        /// The rings; none named is all of them.
        rings: Vec<RingName>,
        /// Where they must not lie.
        jurisdiction: Territory,
    },
    /// A ring spans one jurisdiction only.
    Homogeneous {
        /// The rings; none named is all of them.
        rings: Vec<RingName>,
    },
    /// Every ring in the jurisdiction comes after a ring outside it.
    NotFirstIn {
        /// Where nothing may be tried first.
        jurisdiction: Territory,
    },
    /// Neither ring waits for the other, nor is judged on its evidence.
    Independent {
        /// One ring.
        a: RingName,
        /// The other.
        b: RingName,
    },
    /// At most so many rings of the jurisdiction in motion.
    MaxInFlight {
        /// Where they are counted.
        jurisdiction: Territory,
        /// How many.
        rings: u32,
    },
    /// Failover partners are never in motion together; a ring that holds both is an error.
    PairExclusive,
    /// The metric endpoints of the jurisdiction's clusters lie in it.
    EvidenceWithin {
        /// Where evidence must stay.
        jurisdiction: Territory,
        /// What may leave it.
        disclose: Disclose,
    },
}

/// What of a measurement may leave its jurisdiction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Disclose {
    /// Samples.
    Raw,
    /// The value and its counts.
    Aggregate,
    /// Pass or not, and nothing else.
    Verdict,
}

/// A rule that a plan breaks, with the fact that breaks it: the counterexample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// The rule's id.
    pub rule: String,
    /// Whether it can be waived.
    pub enforcement: Enforcement,
    /// `file:line` of the rule.
    pub declared_at: String,
    /// The ring that breaks it, where it is one ring.
    pub ring: Option<RingName>,
    /// The cluster that breaks it, where it is one cluster.
    pub cluster: Option<crate::ids::ClusterName>,
    /// In words: `serves customer-personal from cluster us-east-1 (jurisdiction US)`.
    pub fact: String,
}

/// Every rule that `plan` breaks; only what concerns `ring`, where one is named.
///
/// Caps (`maxInFlight`) are broken by what is in motion and not by a plan, so they are not here; nor is
/// `pairExclusive`, except for a ring that holds both partners.
pub fn breaches(plan: &Plan, ring: Option<&RingName>) -> Vec<Breach> {
    let concerned = |r: &&Ring| ring.is_none_or(|ring| *ring == r.name);
    let rings: Vec<&Ring> = plan.rings.iter().filter(concerned).collect();
    plan.residency.iter().flat_map(|rule| breaches_of(plan, &rings, rule)).collect()
}

fn breaches_of(plan: &Plan, rings: &[&Ring], rule: &Rule) -> Vec<Breach> {
    let breach = |ring: &Ring, cluster: Option<&Cluster>, fact: String| Breach {
        rule: rule.id.clone(),
        enforcement: rule.enforcement,
        declared_at: rule.declared_at.clone(),
        ring: Some(ring.name.clone()),
        cluster: cluster.map(|c| c.name.clone()),
        fact,
    };
    let named = |names: &[RingName]| {
        let all = names.is_empty();
        let names = names.to_vec();
        rings.iter().copied().filter(move |r| all || names.contains(&r.name))
    };
    let place = |c: &Cluster| format!("cluster {} (jurisdiction {})", c.name, c.jurisdiction);
    match &rule.demand {
        Demand::ClassWithin { class, jurisdiction } => {
            let serves =
                |c: &&Cluster| plan.data_classes.contains(class) && c.data_classes.contains(class);
            let outside = |c: &&Cluster| !jurisdiction.contains(&c.jurisdiction);
            let found = rings.iter().flat_map(|ring| {
                ring.clusters.iter().filter(serves).filter(outside).map(move |c| (*ring, c))
            });
            found
                .map(|(r, c)| breach(r, Some(c), format!("serves {class} from {}", place(c))))
                .collect()
        }
        Demand::TargetsWithin { rings, jurisdiction } => named(rings)
            .flat_map(|ring| ring.clusters.iter().map(move |c| (ring, c)))
            .filter(|(_, c)| !jurisdiction.contains(&c.jurisdiction))
            .map(|(r, c)| {
                breach(r, Some(c), format!("has {} outside {}", place(c), jurisdiction.name))
            })
            .collect(),
        Demand::TargetsOutside { rings, jurisdiction } => named(rings)
            .flat_map(|ring| ring.clusters.iter().map(move |c| (ring, c)))
            .filter(|(_, c)| jurisdiction.contains(&c.jurisdiction))
            .map(|(r, c)| {
                breach(r, Some(c), format!("has {} inside {}", place(c), jurisdiction.name))
            })
            .collect(),
        Demand::Homogeneous { rings } => named(rings)
            .filter_map(|ring| {
                let first = ring.clusters.first()?;
                let other = ring.clusters.iter().find(|c| c.jurisdiction != first.jurisdiction)?;
                let fact = format!("spans {} and {}", place(first), place(other));
                Some(breach(ring, Some(other), fact))
            })
            .collect(),
        Demand::NotFirstIn { jurisdiction } => rings
            .iter()
            .filter(|ring| ring.clusters.iter().any(|c| jurisdiction.contains(&c.jurisdiction)))
            .filter(|ring| !comes_after_one_outside(plan, &ring.name, jurisdiction))
            .map(|ring| {
                let fact = format!("comes after no ring outside {}", jurisdiction.name);
                breach(ring, None, fact)
            })
            .collect(),
        Demand::Independent { a, b } => {
            let waits = |x: &RingName, y: &RingName| plan.graph.descendants(y).contains(&x);
            let pairs = [(a, b), (b, a)];
            pairs
                .into_iter()
                .filter(|(x, y)| waits(x, y) || judged_on(plan, x, y))
                .filter_map(|(x, y)| {
                    let ring = rings.iter().find(|r| r.name == *x)?;
                    let how = if waits(x, y) { "waits for" } else { "is judged on" };
                    Some(breach(ring, None, format!("{how} ring {y}")))
                })
                .collect()
        }
        Demand::PairExclusive => rings
            .iter()
            .filter_map(|ring| {
                let mut members = ring.clusters.iter();
                let (c, partner) = members.find_map(|c| {
                    let partner = c.failover_pair.as_ref()?;
                    ring.cluster(partner).map(|_| (c, partner))
                })?;
                let fact = format!("holds both {} and its failover partner {partner}", c.name);
                Some(breach(ring, Some(c), fact))
            })
            .collect(),
        Demand::EvidenceWithin { jurisdiction, .. } => rings
            .iter()
            .flat_map(|ring| ring.clusters.iter().map(move |c| (*ring, c)))
            .filter(|(_, c)| jurisdiction.contains(&c.jurisdiction))
            .flat_map(|(ring, c)| c.metrics.iter().map(move |source| (ring, c, source)))
            .filter(|(_, _, s)| !s.jurisdiction.as_ref().is_some_and(|j| jurisdiction.contains(j)))
            .map(|(ring, c, source)| {
                let lies = match &source.jurisdiction {
                    Some(place) => format!("lies in {place}"),
                    None => "does not say where it lies".into(),
                };
                let fact = format!("metric source {} of cluster {} {lies}", source.name, c.name);
                breach(ring, Some(c), fact)
            })
            .collect(),
        Demand::MaxInFlight { .. } => Vec::new(),
    }
}

/// Whether, whatever way the joins go, some ring before `ring` has no cluster in `territory`.
fn comes_after_one_outside(plan: &Plan, ring: &RingName, territory: &Territory) -> bool {
    let after = plan.graph.after(ring);
    let outside = |name: &RingName| {
        let clusters = plan.ring(name).map(|r| r.clusters.as_slice()).unwrap_or_default();
        !clusters.iter().any(|c| territory.contains(&c.jurisdiction))
            || comes_after_one_outside(plan, name, territory)
    };
    match after.join {
        Join::All => after.rings.iter().any(outside),
        Join::Any => !after.rings.is_empty() && after.rings.iter().all(outside),
    }
}

fn judged_on(plan: &Plan, ring: &RingName, other: &RingName) -> bool {
    let gates = plan.ring(ring).map(|r| r.policy.gates.as_slice()).unwrap_or_default();
    gates.iter().any(|gate| match &gate.judge {
        Judge::Relative { baseline: Baseline::Ring(name), .. } => name == other,
        Judge::Relative { baseline: Baseline::Before | Baseline::Stable(_), .. }
        | Judge::Threshold { .. } => false,
    })
}
