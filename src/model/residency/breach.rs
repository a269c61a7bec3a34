//! Where a plan breaks a rule, as the facts are known: the counterexample.

use std::collections::BTreeSet;

use super::{Breach, Demand, Disclose, Home, Known, Registry, Rule, Sight, Territory};
use crate::{
    ids::{ClusterName, DataClass, Jurisdiction, RingName},
    model::{
        graph::Join,
        plan::Plan,
        ring::{Cluster, Ring},
    },
};

/// Every rule that `plan` breaks; only what concerns `ring`, where one is named.
///
/// What is broken by what is in motion or by who approves, and not by a plan, is not here: `maxInFlight`;
/// `pairExclusive`, except for a ring that holds both partners; `approverWithin`, except for a ring that
/// asks nobody. Neither is what is broken by an image: that is for [`super::pulled`].
pub fn breaches(plan: &Plan, ring: Option<&RingName>, known: &Known<'_>) -> Vec<Breach> {
    plan.residency.iter().flat_map(|rule| rule.breaches(plan, ring, known)).collect()
}

impl Rule {
    /// Where `plan` breaks the rule, ring by ring; only what concerns `ring`, where one is named.
    pub fn breaches(&self, plan: &Plan, ring: Option<&RingName>, known: &Known<'_>) -> Vec<Breach> {
        let concerned = |r: &&Ring| ring.is_none_or(|ring| *ring == r.name);
        let rings: Vec<&Ring> = plan.rings.iter().filter(concerned).collect();
        let clusters = |names: &[RingName]| -> Vec<(&Ring, Sight<'_>)> {
            let named = rings.iter().filter(|r| names.is_empty() || names.contains(&r.name));
            named.flat_map(|ring| ring.clusters.iter().map(|c| (*ring, known.of(c)))).collect()
        };
        let breach = |ring: &Ring, cluster: &Cluster, fact| self.breach(ring, Some(cluster), fact);
        match &self.demand {
            Demand::ClassWithin { class, jurisdiction } => clusters(&[])
                .into_iter()
                .filter(|(_, c)| serves(plan, c, class) && !c.lies_in(jurisdiction))
                .map(|(r, c)| breach(r, c.cluster, format!("serves {class} from {}", c.place())))
                .collect(),
            Demand::TargetsWithin { rings, jurisdiction } => clusters(rings)
                .into_iter()
                .filter(|(_, c)| !c.lies_in(jurisdiction))
                .map(|(r, c)| {
                    let fact = format!("has {} outside {}", c.place(), jurisdiction.name);
                    breach(r, c.cluster, fact)
                })
                .collect(),
            Demand::TargetsOutside { rings, jurisdiction } => clusters(rings)
                .into_iter()
                .filter(|(_, c)| c.may_lie_in(jurisdiction))
                .map(|(r, c)| {
                    let fact = format!("has {} inside {}", c.place(), jurisdiction.name);
                    breach(r, c.cluster, fact)
                })
                .collect(),
            Demand::Homogeneous { rings: names } => rings
                .iter()
                .filter(|ring| names.is_empty() || names.contains(&ring.name))
                .filter_map(|ring| {
                    let (first, others) = ring.clusters.split_first()?;
                    let first = known.of(first);
                    let mut others = others.iter().map(|c| known.of(c));
                    let other = others.find(|c| {
                        let mut all = first.places().chain(c.places());
                        let same = all.all(|place| *place == first.cluster.jurisdiction);
                        !same || c.is_unknown() || first.is_unknown()
                    })?;
                    let fact = format!("spans {} and {}", first.place(), other.place());
                    Some(breach(ring, other.cluster, fact))
                })
                .collect(),
            Demand::NotFirstIn { jurisdiction } => {
                let behind = behind_one_outside(plan, jurisdiction, known);
                rings
                    .iter()
                    .filter(|ring| {
                        jurisdiction.may_reach(ring, known) && !behind.contains(&ring.name)
                    })
                    .map(|ring| {
                        let outside = &jurisdiction.name;
                        let fact =
                            format!("may start before any ring outside {outside} has passed");
                        self.breach(ring, None, fact)
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
                        Some(self.breach(ring, None, format!("{how} ring {y}")))
                    })
                    .collect()
            }
            Demand::PairExclusive => rings
                .iter()
                .filter_map(|ring| {
                    let (c, partner) = ring.clusters.iter().find_map(|c| {
                        let partner = known.of(c).partners().find_map(|name| ring.cluster(name))?;
                        Some((c, partner))
                    })?;
                    let fact =
                        format!("holds both {} and its failover partner {}", c.name, partner.name);
                    Some(breach(ring, c, fact))
                })
                .collect(),
            Demand::EvidenceWithin { jurisdiction, disclose } => {
                let abroad = known.home().and_then(|home| home.judges_outside(jurisdiction));
                let abroad = abroad.filter(|_| *disclose != Disclose::Raw);
                clusters(&[])
                    .into_iter()
                    .filter(|(_, c)| c.may_lie_in(jurisdiction))
                    .filter_map(|(ring, c)| {
                        let fact = leaves(&c, jurisdiction).or_else(|| {
                            let place = abroad?;
                            Some(format!(
                                "this server, which judges {}, runs in {place}",
                                c.place()
                            ))
                        })?;
                        Some(breach(ring, c.cluster, fact))
                    })
                    .collect()
            }
            Demand::PullWithin { jurisdiction, registries } => {
                let Some(why) = no_registry(registries, jurisdiction) else { return Vec::new() };
                clusters(&[])
                    .into_iter()
                    .filter(|(_, c)| c.may_lie_in(jurisdiction))
                    .map(|(r, c)| breach(r, c.cluster, format!("{} pulls, and {why}", c.place())))
                    .collect()
            }
            Demand::ApproverWithin { jurisdiction, .. } => rings
                .iter()
                .filter(|ring| {
                    jurisdiction.may_reach(ring, known) && ring.policy.approvals.is_none()
                })
                .map(|ring| self.breach(ring, None, "starts without anybody's approval".into()))
                .collect(),
            Demand::StateWithin { jurisdiction } => {
                let why = known.home().and_then(|home| home.keeps_outside(jurisdiction));
                let Some(why) = why else { return Vec::new() };
                rings
                    .iter()
                    .filter(|ring| jurisdiction.may_reach(ring, known))
                    .map(|ring| self.breach(ring, None, why.clone()))
                    .collect()
            }
            Demand::MaxInFlight { .. } => Vec::new(),
        }
    }

    pub(super) fn breach(&self, ring: &Ring, cluster: Option<&Cluster>, fact: String) -> Breach {
        Breach {
            rule: self.id.clone(),
            policy: self.policy.clone(),
            enforcement: self.enforcement,
            declared_at: self.declared_at.clone(),
            ring: Some(ring.name.clone()),
            cluster: cluster.map(|c| c.name.clone()),
            fact,
        }
    }

    /// Why the rule concerns nothing in `plan`, where it does not: the set that it speaks of is empty,
    /// and what holds of an empty set holds by accident.
    pub fn concerns_nothing(&self, plan: &Plan) -> Option<String> {
        let known = &Known::DECLARED;
        let missing = |names: &[RingName]| {
            let unknown = !names.is_empty() && names.iter().all(|name| plan.ring(name).is_none());
            unknown.then(|| "the plan has none of the rings that it names".to_owned())
        };
        let nowhere = |jurisdiction: &Territory| {
            let reached = plan.rings.iter().any(|ring| jurisdiction.may_reach(ring, known));
            (!reached)
                .then(|| format!("no ring of the plan has a cluster in {}", jurisdiction.name))
        };
        match &self.demand {
            Demand::ClassWithin { class, .. } => {
                if !plan.data_classes.contains(class) {
                    return Some(format!("the plan does not declare that it handles {class}"));
                }
                let served = plan.clusters().any(|c| serves(plan, &known.of(c), class));
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
            | Demand::PullWithin { jurisdiction, .. }
            | Demand::ApproverWithin { jurisdiction, .. }
            | Demand::StateWithin { jurisdiction } => nowhere(jurisdiction),
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

/// What of `cluster`'s measurements may leave it, by every rule over its evidence: the tightest. A
/// waiver lets evidence be measured, and never lets it be written down: a journal forgets nothing.
pub fn disclosed(plan: &Plan, cluster: &ClusterName, known: &Known<'_>) -> Disclose {
    let Some(cluster) = plan.cluster(cluster) else { return Disclose::Verdict };
    let rules = plan.residency.iter().filter_map(|rule| rule.demand.evidence());
    let sight = known.of(cluster);
    let over = rules.filter(|(jurisdiction, _)| sight.may_lie_in(jurisdiction));
    over.map(|(_, disclose)| disclose).max().unwrap_or(Disclose::Raw)
}

impl Home {
    /// Where evidence is judged, if that is known to be outside a territory. Where the settings do not
    /// say, nobody can know; what leaves this process is then still no more than `disclose` names.
    fn judges_outside(&self, territory: &Territory) -> Option<&Jurisdiction> {
        self.evaluator.as_ref().filter(|place| !territory.contains(place))
    }

    /// What of the state is not known to be kept in a territory.
    fn keeps_outside(&self, territory: &Territory) -> Option<String> {
        let parts = [("its data directory", &self.data), ("its backups", &self.backups)];
        parts.into_iter().find_map(|(part, place)| match place {
            Some(place) if territory.contains(place) => None,
            Some(place) => Some(format!("this server keeps {part} in {place}")),
            None => Some(format!("this server's settings do not say where to find {part}")),
        })
    }
}

fn leaves(cluster: &Sight<'_>, jurisdiction: &Territory) -> Option<String> {
    let name = &cluster.cluster.name;
    cluster.cluster.metrics.iter().find_map(|source| {
        let lies = match cluster.evidence(source) {
            Some(said) => {
                let outside = said.into_iter().find(|place| !jurisdiction.contains(place))?;
                format!("lies in {outside}")
            }
            None => "does not say where it lies".into(),
        };
        Some(format!("metric source {} of cluster {name} {lies}", source.name))
    })
}

/// Why no image can be pulled from inside, where that is so.
fn no_registry(registries: &[Registry], jurisdiction: &Territory) -> Option<String> {
    if registries.iter().any(|registry| registry.lies_in(jurisdiction)) {
        return None;
    }
    Some(match registries.first() {
        None => format!("the rule names no registry of {}", jurisdiction.name),
        Some(Registry { host, jurisdiction: Some(place) }) => {
            format!("registry {host} lies in {place}")
        }
        Some(Registry { host, jurisdiction: None }) => {
            format!("registry {host} does not say where it lies")
        }
    })
}

/// Whether a cluster of the plan serves a class of data: the service handles it, and the cluster holds it.
fn serves(plan: &Plan, cluster: &Sight<'_>, class: &DataClass) -> bool {
    plan.data_classes.contains(class) && cluster.holds(class)
}

/// The rings that start, whatever way the joins go, only after some ring without a cluster in
/// `territory` has passed.
fn behind_one_outside<'a>(
    plan: &'a Plan,
    territory: &Territory,
    known: &Known<'_>,
) -> BTreeSet<&'a RingName> {
    let mut behind = BTreeSet::new();
    for name in plan.graph.order() {
        let covers = |earlier: &RingName| {
            let outside = |ring: &Ring| !territory.may_reach(ring, known);
            plan.ring(earlier).is_some_and(outside) || behind.contains(earlier)
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
    gates.iter().any(|gate| gate.judge.compares_with() == Some(other))
}
