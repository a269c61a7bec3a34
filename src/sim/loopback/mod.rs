//! A fleet that is not there, on loopback ports: for each cluster a Kubernetes API and a Prometheus.
//!
//! Whoever talks to it over HTTP cannot tell, as far as [`kubernetes`] and [`prometheus`] go; both say
//! in their own words how far that is. Everything that happens inside happens in the injected clock's
//! time, so that a compressed clock compresses rollouts and traffic too. That clock must run by itself:
//! a [`crate::clock::ManualClock`], on which a sleep moves the time, would race ahead.

mod kubernetes;
mod line;
mod listener;
mod prometheus;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::json;
use tokio::task::AbortHandle;

pub use self::listener::Listener;
use self::{kubernetes::Cluster, line::Line, prometheus::Traffic};
use crate::{
    clock::Clock,
    ids::{ClusterName, Mint, PlanName, Region},
    model::{
        plan::Plan,
        ring::{Artifact, Target},
        time::Span,
    },
};

/// How long a rollout of all replicas takes, unless told otherwise.
pub const DEPLOY_TIME: Span = Span::seconds(45);

/// One cluster to simulate.
#[derive(Debug, Clone, PartialEq)]
pub struct Site {
    /// Its name.
    pub cluster: ClusterName,
    /// The name of its context in the kubeconfig.
    pub connection: String,
    /// The region that its nodes say they are in.
    pub region: Region,
    /// The URLs by which its Prometheus is declared.
    pub metrics: BTreeSet<String>,
    /// What runs in it.
    pub workloads: Vec<Workload>,
    /// How long a rollout of all replicas takes.
    pub deploy_time: Span,
}

/// A target that a simulated cluster begins with.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    /// The plan that may manage it, and the `service` label of its metrics.
    pub plan: PlanName,
    /// The object.
    pub target: Target,
    /// What it runs.
    pub image: Artifact,
    /// How many replicas it has.
    pub replicas: u32,
}

impl Site {
    /// Every cluster of the plans, with what each plan's target runs there: two replicas or three.
    pub fn of_plans<'a>(
        plans: impl IntoIterator<Item = &'a Plan>,
        running: impl Fn(&Plan) -> Artifact,
    ) -> Vec<Site> {
        let mut sites: BTreeMap<ClusterName, Site> = BTreeMap::new();
        for plan in plans {
            for cluster in plan.clusters() {
                let many = sites.len() as u32;
                let site = sites.entry(cluster.name.clone()).or_insert_with(|| Site {
                    cluster: cluster.name.clone(),
                    connection: cluster.connection.clone(),
                    region: cluster.region.clone(),
                    metrics: BTreeSet::new(),
                    workloads: Vec::new(),
                    deploy_time: DEPLOY_TIME,
                });
                site.metrics.extend(cluster.metrics.iter().map(|source| source.url.clone()));
                site.workloads.push(Workload {
                    plan: plan.name.clone(),
                    target: plan.target.clone(),
                    image: running(plan),
                    replicas: 2 + many % 2,
                });
            }
        }
        sites.into_values().collect()
    }
}

/// What is wrong with a version's traffic. The default is nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Defect {
    /// The share of requests that fails beside the usual ones, from 0 to 1.
    pub failures: f64,
    /// By what durations are multiplied.
    pub slowness: f64,
    /// By what orders are multiplied.
    pub orders: f64,
}

impl Default for Defect {
    fn default() -> Self {
        Self { failures: 0.0, slowness: 1.0, orders: 1.0 }
    }
}

/// Why a fleet did not start.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// No port was to be had.
    #[error("cluster {0}: cannot open a port on 127.0.0.1")]
    Port(ClusterName, #[source] io::Error),
    /// The kubeconfig could not be written.
    #[error("cannot write {0}")]
    Kubeconfig(PathBuf, #[source] io::Error),
    /// Two clusters that one name leads to.
    #[error("clusters {0} and {1} share {2}; each needs its own")]
    Shared(ClusterName, ClusterName, String),
    /// A cluster that is not in the fleet.
    #[error("there is no cluster {0} in the fleet; its clusters are {1}")]
    Unknown(ClusterName, String),
}

/// The servers of a fleet; dropping it ends them.
pub struct Fleet {
    kubeconfig: PathBuf,
    clusters: BTreeMap<ClusterName, Simulated>,
    metrics: BTreeMap<String, String>,
}

struct Simulated {
    connection: String,
    cluster: Arc<Cluster>,
    traffic: Arc<Traffic>,
    kubernetes: Line,
    prometheus: Line,
    controllers: AbortHandle,
}

impl Drop for Simulated {
    fn drop(&mut self) {
        self.controllers.abort();
    }
}

impl Fleet {
    /// Starts the servers of all sites, and writes `kubeconfig` into `folder`. Must be called inside a
    /// tokio runtime.
    ///
    /// # Errors
    /// No port, a folder that cannot be written, or two clusters behind one connection or URL.
    pub async fn start(
        sites: &[Site],
        clock: Arc<dyn Clock>,
        seed: u64,
        folder: &Path,
    ) -> Result<Self, FleetError> {
        disjoint(sites)?;
        let token = Mint::system().secret();
        let mut seeds = Mint::seeded(seed);
        let mut clusters = BTreeMap::new();
        let mut metrics = BTreeMap::new();
        for site in sites {
            let port = |error| FleetError::Port(site.cluster.clone(), error);
            let cluster =
                Cluster::new(&site.workloads, site.deploy_time, clock.clone(), seeds.next_u64());
            cluster.label_nodes(&[Some(&site.region), Some(&site.region)]);
            let cluster = Arc::new(cluster);
            let services = site.workloads.iter().map(|w| (w.plan.clone(), w.target.clone()));
            let traffic = Traffic::new(cluster.clone(), services.collect(), seeds.next_u64());
            let traffic = Arc::new(traffic);
            let kubernetes =
                Line::open(kubernetes::router(cluster.clone(), &token)).await.map_err(port)?;
            let prometheus = Line::open(prometheus::router(traffic.clone(), clock.clone()));
            let prometheus = prometheus.await.map_err(port)?;
            metrics.extend(site.metrics.iter().map(|url| (url.clone(), prometheus.url())));
            let controllers = tokio::spawn(cluster.clone().run()).abort_handle();
            let connection = site.connection.clone();
            let simulated =
                Simulated { connection, cluster, traffic, kubernetes, prometheus, controllers };
            clusters.insert(site.cluster.clone(), simulated);
        }
        let kubeconfig = folder.join("kubeconfig");
        write_kubeconfig(&kubeconfig, &clusters, &token)
            .map_err(|error| FleetError::Kubeconfig(kubeconfig.clone(), error))?;
        Ok(Self { kubeconfig, clusters, metrics })
    }

    /// The kubeconfig, with a context for each connection.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Where each declared metric source really is.
    pub fn metrics(&self) -> &BTreeMap<String, String> {
        &self.metrics
    }

    /// The clusters.
    pub fn clusters(&self) -> impl Iterator<Item = &ClusterName> {
        self.clusters.keys()
    }

    /// What serves a target's requests in a cluster: each image with its ready replicas.
    ///
    /// # Errors
    /// No such cluster.
    pub fn serving(
        &self,
        cluster: &ClusterName,
        target: &Target,
    ) -> Result<Vec<(Artifact, usize)>, FleetError> {
        Ok(self.simulated(cluster)?.cluster.serving(target))
    }

    /// How often a write under each of ringward's intents changed an object in a cluster; more than
    /// once is an effect that was doubled.
    ///
    /// # Errors
    /// No such cluster.
    pub fn written(&self, cluster: &ClusterName) -> Result<BTreeMap<String, u64>, FleetError> {
        Ok(self.simulated(cluster)?.cluster.written())
    }

    /// Gives a version a defect in a cluster.
    ///
    /// # Errors
    /// No such cluster.
    pub fn defect(
        &self,
        cluster: &ClusterName,
        artifact: &Artifact,
        defect: Defect,
    ) -> Result<(), FleetError> {
        self.simulated(cluster)?.traffic.add_defect(artifact, defect);
        Ok(())
    }

    /// Makes a version fall over at its start in a cluster.
    ///
    /// # Errors
    /// No such cluster.
    pub fn crash(&self, cluster: &ClusterName, artifact: &Artifact) -> Result<(), FleetError> {
        self.simulated(cluster)?.cluster.crash(artifact);
        Ok(())
    }

    /// Gives the analyses that a cluster's own rollouts make something against a version.
    ///
    /// # Errors
    /// No such cluster.
    pub fn fault(
        &self,
        cluster: &ClusterName,
        artifact: &Artifact,
        why: &str,
    ) -> Result<(), FleetError> {
        self.simulated(cluster)?.cluster.fault(artifact, why);
        Ok(())
    }

    /// Deletes a target's object from a cluster, with its pods.
    ///
    /// # Errors
    /// No such cluster.
    pub fn delete(&self, cluster: &ClusterName, target: &Target) -> Result<(), FleetError> {
        self.simulated(cluster)?.cluster.delete(target);
        Ok(())
    }

    /// Adds a Deployment of no replicas, from which something else takes its template.
    ///
    /// # Errors
    /// No such cluster.
    pub fn add_template(
        &self,
        cluster: &ClusterName,
        workload: &Workload,
    ) -> Result<(), FleetError> {
        self.simulated(cluster)?.cluster.add_template(workload);
        Ok(())
    }

    /// Gives the containers of a version so many restarts in a cluster; it serves all the same.
    ///
    /// # Errors
    /// No such cluster.
    pub fn restart(
        &self,
        cluster: &ClusterName,
        artifact: &Artifact,
        times: u32,
    ) -> Result<(), FleetError> {
        self.simulated(cluster)?.cluster.restart(artifact, times);
        Ok(())
    }

    /// Sets how long rollouts in a cluster take from now on.
    ///
    /// # Errors
    /// No such cluster.
    pub fn set_deploy_time(&self, cluster: &ClusterName, span: Span) -> Result<(), FleetError> {
        self.simulated(cluster)?.cluster.set_deploy_time(span);
        Ok(())
    }

    /// Gives a cluster as many nodes, each with the region that its label names, if it has one.
    ///
    /// # Errors
    /// No such cluster.
    pub fn label_nodes(
        &self,
        cluster: &ClusterName,
        regions: &[Option<&Region>],
    ) -> Result<(), FleetError> {
        self.simulated(cluster)?.cluster.label_nodes(regions);
        Ok(())
    }

    /// Forbids everybody to list a cluster's nodes, or allows it again.
    ///
    /// # Errors
    /// No such cluster.
    pub fn hide_nodes(&self, cluster: &ClusterName, hidden: bool) -> Result<(), FleetError> {
        self.simulated(cluster)?.cluster.hide_nodes(hidden);
        Ok(())
    }

    /// Cuts a cluster's Kubernetes API off, or mends it: it lives on, and nobody can reach it.
    ///
    /// # Errors
    /// No such cluster.
    pub fn cut_kubernetes(&self, cluster: &ClusterName, cut: bool) -> Result<(), FleetError> {
        self.simulated(cluster)?.kubernetes.set_cut(cut);
        Ok(())
    }

    /// Cuts a cluster's Prometheus off, or mends it.
    ///
    /// # Errors
    /// No such cluster.
    pub fn cut_prometheus(&self, cluster: &ClusterName, cut: bool) -> Result<(), FleetError> {
        self.simulated(cluster)?.prometheus.set_cut(cut);
        Ok(())
    }

    fn simulated(&self, name: &ClusterName) -> Result<&Simulated, FleetError> {
        self.clusters.get(name).ok_or_else(|| {
            let known: Vec<_> = self.clusters.keys().map(ClusterName::as_str).collect();
            FleetError::Unknown(name.clone(), known.join(", "))
        })
    }
}

/// One connection or one URL cannot lead to two clusters.
fn disjoint(sites: &[Site]) -> Result<(), FleetError> {
    let mut seen: BTreeMap<&str, &ClusterName> = BTreeMap::new();
    for site in sites {
        for name in site.metrics.iter().chain([&site.connection]) {
            if let Some(other) = seen.insert(name, &site.cluster) {
                let (a, b) = (other.clone(), site.cluster.clone());
                return Err(FleetError::Shared(a, b, name.clone()));
            }
        }
    }
    Ok(())
}

fn write_kubeconfig(
    path: &Path,
    clusters: &BTreeMap<ClusterName, Simulated>,
    token: &str,
) -> io::Result<()> {
    let servers = clusters.values().map(|s| {
        json!({"name": s.connection, "cluster": {
            "server": format!("{}{}", s.kubernetes.url(), kubernetes::path(token)),
        }})
    });
    let contexts = clusters.values().map(
        |s| json!({"name": s.connection, "context": {"cluster": s.connection, "user": "ringward"}}),
    );
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": servers.collect::<Vec<_>>(),
        "contexts": contexts.collect::<Vec<_>>(),
        "users": [{"name": "ringward", "user": {"token": token}}],
    });
    // JSON is YAML. It holds a token: nobody else may read it.
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    serde_json::to_writer_pretty(file, &config)?;
    Ok(())
}
