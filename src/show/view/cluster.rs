//! Clusters, and what runs in them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ring::status;
use crate::{
    decide::{
        event::TargetState,
        world::{PlanState, World},
    },
    ids::{ClusterName, DataClass, Jurisdiction, PlanName, Region, Version},
    model::ring::{Artifact, Cluster, MetricSource},
};

/// A cluster, as the plans that use it declare it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterRow {
    /// The cluster.
    pub name: ClusterName,
    /// Its cloud region.
    pub region: Region,
    /// The country whose law it is under.
    pub jurisdiction: Jurisdiction,
    /// The classes of data that it may hold.
    pub data_classes: Vec<DataClass>,
    /// The cluster that takes over when it fails.
    pub failover_pair: Option<ClusterName>,
    /// What its nodes say of where they are; nothing where they were never seen.
    pub witness: Option<WitnessView>,
    /// Where its gates are measured.
    pub metrics: Vec<MetricSourceView>,
    /// What runs there, by plan.
    pub targets: Vec<ClusterTarget>,
}

/// What a cluster's nodes say of where they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WitnessView {
    /// Their `topology.kubernetes.io/region`, each once.
    pub regions: Vec<Region>,
    /// Their `ringward.dev/jurisdiction`, each once.
    pub jurisdictions: Vec<Jurisdiction>,
}

/// A metric source. Its URL is not shown: it may name what only the server should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetricSourceView {
    /// The name that gates give as their provider.
    pub name: String,
    /// Which API it speaks.
    pub kind: String,
    /// Where the evidence lies.
    pub jurisdiction: Option<Jurisdiction>,
}

/// A plan's target in a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterTarget {
    /// The plan.
    pub plan: PlanName,
    /// How it is, in words.
    pub status: String,
    /// What runs there, as far as it can be seen.
    pub running: Option<Running>,
    /// What a rollback would go to: the latest that soaked through there.
    pub known_good: Option<Running>,
}

/// Something that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Running {
    /// The image.
    pub artifact: Artifact,
    /// Its version, where ringward knows it.
    pub version: Option<Version>,
}

impl Running {
    /// What a target runs, with the version that it came by.
    pub(super) fn of(plan: &PlanState, state: Option<&TargetState>) -> Option<Self> {
        let artifact = state?.image.clone()?;
        let released = plan.in_order().rev().find(|r| r.artifact.same_as(&artifact));
        let adopted = || {
            let goods = plan.targets.values().flat_map(|target| &target.known_good);
            goods.filter(|good| good.artifact.same_as(&artifact)).find_map(|g| g.version.clone())
        };
        let version = released.map(|r| r.id.version.clone()).or_else(adopted);
        Some(Self { artifact, version })
    }
}

/// Every cluster of the plans that `shown` lets through, by name.
pub fn clusters(world: &World, shown: impl Fn(&PlanName, &Cluster) -> bool) -> Vec<ClusterRow> {
    let mut rows: BTreeMap<ClusterName, ClusterRow> = BTreeMap::new();
    for (name, plan) in &world.plans {
        let Some(declared) = &plan.declared else { continue };
        for cluster in declared.clusters().filter(|cluster| shown(name, cluster)) {
            let row = rows.entry(cluster.name.clone()).or_insert_with(|| row(world, cluster));
            row.targets.push(target(name, plan, cluster));
        }
    }
    rows.into_values().collect()
}

fn row(world: &World, cluster: &Cluster) -> ClusterRow {
    let witness = world.shared.facts.witnesses.get(&cluster.name);
    let source = |source: &MetricSource| MetricSourceView {
        name: source.name.clone(),
        kind: source.kind.name().into(),
        jurisdiction: source.jurisdiction.clone(),
    };
    ClusterRow {
        name: cluster.name.clone(),
        region: cluster.region.clone(),
        jurisdiction: cluster.jurisdiction.clone(),
        data_classes: cluster.data_classes.clone(),
        failover_pair: cluster.failover_pair.clone(),
        witness: witness.map(|witness| WitnessView {
            regions: witness.regions.iter().cloned().collect(),
            jurisdictions: witness.jurisdictions.iter().cloned().collect(),
        }),
        metrics: cluster.metrics.iter().map(source).collect(),
        targets: Vec::new(),
    }
}

fn target(name: &PlanName, plan: &PlanState, cluster: &Cluster) -> ClusterTarget {
    let run = plan.targets.get(&cluster.name);
    let state = run.and_then(|run| run.state.as_ref());
    let good = run.and_then(|run| run.known_good.last());
    ClusterTarget {
        plan: name.clone(),
        status: status(state),
        running: Running::of(plan, state),
        known_good: good
            .map(|good| Running { artifact: good.artifact.clone(), version: good.version.clone() }),
    }
}
