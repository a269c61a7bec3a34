//! What may go where. Facts come from declarations; a missing fact is unknown, and unknown is denied.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{
    graph::Join,
    plan::Plan,
    policy::{Baseline, Judge},
    ring::{Cluster, Ring},
};
use crate::ids::{ClusterName, DataClass, Jurisdiction, RingName};

#[cfg(test)]
mod tests;

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

    /// Whether a cluster lies in it.
    pub fn holds(&self, cluster: &Cluster) -> bool {
        self.contains(&cluster.jurisdiction)
    }

    /// Whether any cluster of a ring lies in it.
    pub fn reaches(&self, ring: &Ring) -> bool {
        ring.clusters.iter().any(|cluster| self.holds(cluster))
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
    /// Of those who approve a ring of the jurisdiction, so many belong to it.
    ApproverWithin {
        /// Whose rings, and where the approvers must belong to.
        jurisdiction: Territory,
        /// How many.
        count: u32,
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
    pub cluster: Option<ClusterName>,
    /// In words: `serves customer-personal from cluster us-east-1 (jurisdiction US)`.
    pub fact: String,
}

impl Enforcement {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Enforcement::Hard => "hard",
            Enforcement::Waivable => "waivable",
        }
    }
}

/// Every rule that `plan` breaks; only what concerns `ring`, where one is named.
///
/// What is broken by what is in motion or by who approves, and not by a plan, is not here: `maxInFlight`;
/// `pairExclusive`, except for a ring that holds both partners; `approverWithin`, except for a ring that
/// asks nobody.
pub fn breaches(plan: &Plan, ring: Option<&RingName>) -> Vec<Breach> {
    plan.residency.iter().flat_map(|rule| rule.breaches(plan, ring)).collect()
}

impl Rule {
    /// Where `plan` breaks the rule, ring by ring; only what concerns `ring`, where one is named.
    pub fn breaches(&self, plan: &Plan, ring: Option<&RingName>) -> Vec<Breach> {
        let concerned = |r: &&Ring| ring.is_none_or(|ring| *ring == r.name);
        let rings: Vec<&Ring> = plan.rings.iter().filter(concerned).collect();
        let breach = |ring: &Ring, cluster: Option<&Cluster>, fact: String| Breach {
            rule: self.id.clone(),
            enforcement: self.enforcement,
            declared_at: self.declared_at.clone(),
            ring: Some(ring.name.clone()),
            cluster: cluster.map(|c| c.name.clone()),
            fact,
        };
        let clusters = |names: &[RingName]| -> Vec<(&Ring, &Cluster)> {
            let named = rings.iter().filter(|r| names.is_empty() || names.contains(&r.name));
            named.flat_map(|ring| ring.clusters.iter().map(|c| (*ring, c))).collect()
        };
        match &self.demand {
            Demand::ClassWithin { class, jurisdiction } => clusters(&[])
                .into_iter()
                .filter(|(_, c)| serves(plan, c, class) && !jurisdiction.holds(c))
                .map(|(r, c)| breach(r, Some(c), format!("serves {class} from {}", place(c))))
                .collect(),
            Demand::TargetsWithin { rings, jurisdiction } => clusters(rings)
                .into_iter()
                .filter(|(_, c)| !jurisdiction.holds(c))
                .map(|(r, c)| {
                    breach(r, Some(c), format!("has {} outside {}", place(c), jurisdiction.name))
                })
                .collect(),
            Demand::TargetsOutside { rings, jurisdiction } => clusters(rings)
                .into_iter()
                .filter(|(_, c)| jurisdiction.holds(c))
                .map(|(r, c)| {
                    breach(r, Some(c), format!("has {} inside {}", place(c), jurisdiction.name))
                })
                .collect(),
            Demand::Homogeneous { rings: names } => rings
                .iter()
                .filter(|ring| names.is_empty() || names.contains(&ring.name))
                .filter_map(|ring| {
                    let first = ring.clusters.first()?;
                    let other =
                        ring.clusters.iter().find(|c| c.jurisdiction != first.jurisdiction)?;
                    let fact = format!("spans {} and {}", place(first), place(other));
                    Some(breach(ring, Some(other), fact))
                })
                .collect(),
            Demand::NotFirstIn { jurisdiction } => {
                let behind = behind_one_outside(plan, jurisdiction);
                rings
                    .iter()
                    .filter(|ring| jurisdiction.reaches(ring) && !behind.contains(&ring.name))
                    .map(|ring| {
                        let outside = &jurisdiction.name;
                        let fact =
                            format!("may start before any ring outside {outside} has passed");
                        breach(ring, None, fact)
                    })
                    .collect()
            }
            Demand::Independent { a, b } => {
                let waits = |x: &RingName, y: &RingName| plan.graph.descendants(y).contains(&x);
                [(a, b), (b, a)]
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
                    let (c, partner) = ring.clusters.iter().find_map(|c| {
                        let partner = ring.cluster(c.failover_pair.as_ref()?)?;
                        Some((c, partner))
                    })?;
                    let fact =
                        format!("holds both {} and its failover partner {}", c.name, partner.name);
                    Some(breach(ring, Some(c), fact))
                })
                .collect(),
            Demand::EvidenceWithin { jurisdiction, .. } => clusters(&[])
                .into_iter()
                .filter(|(_, c)| jurisdiction.holds(c))
                .flat_map(|(ring, c)| c.metrics.iter().map(move |source| (ring, c, source)))
                .filter(|(.., s)| {
                    !s.jurisdiction.as_ref().is_some_and(|j| jurisdiction.contains(j))
                })
                .map(|(ring, c, source)| {
                    let lies = match &source.jurisdiction {
                        Some(place) => format!("lies in {place}"),
                        None => "does not say where it lies".into(),
                    };
                    let fact =
                        format!("metric source {} of cluster {} {lies}", source.name, c.name);
                    breach(ring, Some(c), fact)
                })
                .collect(),
            Demand::ApproverWithin { jurisdiction, .. } => rings
                .iter()
                .filter(|ring| jurisdiction.reaches(ring) && ring.policy.approvals.is_none())
                .map(|ring| breach(ring, None, "starts without anybody's approval".into()))
                .collect(),
            Demand::MaxInFlight { .. } => Vec::new(),
        }
    }

    /// Why the rule concerns nothing in `plan`, where it does not: the set that it speaks of is empty,
    /// and what holds of an empty set holds by accident.
    pub fn concerns_nothing(&self, plan: &Plan) -> Option<String> {
        let missing = |names: &[RingName]| {
            let unknown = !names.is_empty() && names.iter().all(|name| plan.ring(name).is_none());
            unknown.then(|| "the plan has none of the rings that it names".to_owned())
        };
        let nowhere = |jurisdiction: &Territory| {
            let reached = plan.rings.iter().any(|ring| jurisdiction.reaches(ring));
            (!reached)
                .then(|| format!("no ring of the plan has a cluster in {}", jurisdiction.name))
        };
        match &self.demand {
            Demand::ClassWithin { class, .. } => {
                if !plan.data_classes.contains(class) {
                    return Some(format!("the plan does not declare that it handles {class}"));
                }
                let served = plan.clusters().any(|c| serves(plan, c, class));
                (!served).then(|| format!("no cluster of the plan serves {class}"))
            }
            Demand::TargetsOutside { rings, jurisdiction } => missing(rings).or_else(|| {
                let nobody = jurisdiction.members.is_empty();
                nobody.then(|| format!("no country belongs to {}", jurisdiction.name))
            }),
            Demand::TargetsWithin { rings, .. } | Demand::Homogeneous { rings } => missing(rings),
            Demand::NotFirstIn { jurisdiction }
            | Demand::MaxInFlight { jurisdiction, .. }
            | Demand::EvidenceWithin { jurisdiction, .. }
            | Demand::ApproverWithin { jurisdiction, .. } => nowhere(jurisdiction),
            Demand::Independent { a, b } => {
                let unknown = [a, b].into_iter().find(|name| plan.ring(name).is_none())?;
                Some(format!("the plan has no ring {unknown}"))
            }
            Demand::PairExclusive => {
                let paired = plan.clusters().any(|c| c.failover_pair.is_some());
                (!paired).then(|| "no cluster of the plan has a failover partner".to_owned())
            }
        }
    }
}

impl Demand {
    /// Whether it limits what moves at once: whoever would start keeps it, and not a plan as such.
    pub fn is_cap(&self) -> bool {
        match self {
            Demand::MaxInFlight { .. } | Demand::PairExclusive => true,
            Demand::ClassWithin { .. }
            | Demand::TargetsWithin { .. }
            | Demand::TargetsOutside { .. }
            | Demand::Homogeneous { .. }
            | Demand::NotFirstIn { .. }
            | Demand::Independent { .. }
            | Demand::EvidenceWithin { .. }
            | Demand::ApproverWithin { .. } => false,
        }
    }

    /// The rings that it names, as far as it does.
    pub fn rings(&self) -> Vec<&RingName> {
        match self {
            Demand::TargetsWithin { rings, .. }
            | Demand::TargetsOutside { rings, .. }
            | Demand::Homogeneous { rings } => rings.iter().collect(),
            Demand::Independent { a, b } => vec![a, b],
            Demand::ClassWithin { .. }
            | Demand::NotFirstIn { .. }
            | Demand::MaxInFlight { .. }
            | Demand::PairExclusive
            | Demand::EvidenceWithin { .. }
            | Demand::ApproverWithin { .. } => Vec::new(),
        }
    }
}

fn place(cluster: &Cluster) -> String {
    format!("cluster {} (jurisdiction {})", cluster.name, cluster.jurisdiction)
}

/// Whether a cluster of the plan serves a class of data: the service handles it, and the cluster holds it.
fn serves(plan: &Plan, cluster: &Cluster, class: &DataClass) -> bool {
    plan.data_classes.contains(class) && cluster.data_classes.contains(class)
}

/// The rings that start, whatever way the joins go, only after some ring without a cluster in
/// `territory` has passed.
fn behind_one_outside<'a>(plan: &'a Plan, territory: &Territory) -> BTreeSet<&'a RingName> {
    let mut behind = BTreeSet::new();
    for name in plan.graph.order() {
        let covers = |earlier: &RingName| {
            plan.ring(earlier).is_some_and(|r| !territory.reaches(r)) || behind.contains(earlier)
        };
        let after = plan.graph.after(name);
        let covered = match after.join {
            Join::All => after.rings.iter().any(covers),
            Join::Any => !after.rings.is_empty() && after.rings.iter().all(covers),
        };
        if covered {
            behind.insert(name);
        }
    }
    behind
}

fn judged_on(plan: &Plan, ring: &RingName, other: &RingName) -> bool {
    let gates = plan.ring(ring).map(|r| r.policy.gates.as_slice()).unwrap_or_default();
    gates.iter().any(|gate| match &gate.judge {
        Judge::Relative { baseline: Baseline::Ring(name), .. } => name == other,
        Judge::Relative { baseline: Baseline::Before | Baseline::Stable(_), .. }
        | Judge::Threshold { .. }
        | Judge::MannWhitney(_)
        | Judge::Sequential(_)
        | Judge::BurnRate(_)
        | Judge::Alerts(_)
        | Judge::Webhook
        | Judge::Kubernetes(_) => false,
    })
}
