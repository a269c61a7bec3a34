//! The clusters: who answers, by which clock, and whether ringward may there what it has to.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, stream};

use super::{Health, Report, SET_CLOCKS, skew};
use crate::{
    act::cluster::{Checkup, Connection, Kubeconfigs, Permission},
    clock::Clock as _,
    config::Settings,
    declare::Compiled,
    model::ring::Target,
    show::cli::context::Context,
};

/// Clusters that are looked at at once.
const AT_ONCE: usize = 16;

/// The connections of the settings, reached as the server reaches them.
pub(super) fn kubeconfigs(settings: &Settings) -> Kubeconfigs {
    let connections = settings.connections.iter().map(|(name, c)| {
        let connection = Connection {
            kubeconfig: c.kubeconfig.clone(),
            context: c.context.clone(),
            probes: c.probes.clone(),
        };
        (name.clone(), connection)
    });
    Kubeconfigs::new(connections.collect())
}

pub(super) async fn look(
    context: &Context,
    settings: &Settings,
    compiled: &Compiled,
    report: &mut Report,
) {
    // What each connection is used for: by which clusters, and for which targets.
    let mut used: BTreeMap<&str, (BTreeSet<&str>, Vec<Target>)> = BTreeMap::new();
    for cluster in compiled.clusters.values() {
        used.entry(&cluster.connection).or_default().0.insert(cluster.name.as_str());
    }
    for plan in compiled.plans.values().flatten() {
        for cluster in plan.clusters() {
            let targets = &mut used.entry(&cluster.connection).or_default().1;
            targets.push(plan.target.clone());
        }
    }
    let kubeconfigs = kubeconfigs(settings);
    // What has deployers alone has nobody who could be asked.
    let known = |name: &str| settings.connections.get(name).is_none_or(|c| c.has_cluster());
    let used = used.into_iter().filter(|(connection, _)| known(connection));
    let looks = used.map(|(connection, (names, targets))| {
        let kubeconfigs = &kubeconfigs;
        async move {
            let found = kubeconfigs.checkup(connection, &targets).await;
            (names, connection, found, context.clock.now().wall)
        }
    });
    let found: Vec<_> = stream::iter(looks).buffered(AT_ONCE).collect().await;
    for (names, connection, found, here) in found {
        let which = names.into_iter().collect::<Vec<_>>().join(", ");
        match found {
            Err(why) => {
                let cure = format!(
                    "see that the context for connection `{connection}` is in the kubeconfig, and that this \
                     machine reaches its API server"
                );
                report.add(Health::Fail, "cluster", which, why, cure);
            }
            Ok(Checkup { version, date, permissions }) => {
                let (health, clock) = skew(here, date);
                let cure = if health == Health::Ok { "" } else { SET_CLOCKS };
                report.add(
                    health,
                    "cluster",
                    &which,
                    format!("Kubernetes {version}, {clock}"),
                    cure,
                );
                permitted(&which, &permissions, report);
            }
        }
    }
}

/// What ringward may not do, resource by resource.
fn permitted(which: &str, permissions: &[Permission], report: &mut Report) {
    let mut denied: BTreeMap<(&str, Option<&str>), Vec<&str>> = BTreeMap::new();
    for permission in permissions.iter().filter(|permission| !permission.allowed) {
        let place = (permission.resource.as_str(), permission.namespace.as_deref());
        denied.entry(place).or_default().push(permission.verb);
    }
    if denied.is_empty() {
        let verbs = permissions.len();
        return report.ok("permissions", which, format!("all {verbs} that are needed"));
    }
    for ((resource, namespace), verbs) in denied {
        let place =
            namespace.map_or(String::new(), |namespace| format!(" in namespace {namespace}"));
        let found = format!("may not {} {resource}{place}", verbs.join(", "));
        match resource {
            "nodes" => {
                let cure = "grant it (deploy/target-rbac.yaml), or the cluster is taken for where it is declared";
                report.add(Health::Warn, "permissions", which, found, cure);
            }
            _ => report.add(
                Health::Fail,
                "permissions",
                which,
                found,
                "apply deploy/target-rbac.yaml there",
            ),
        }
    }
}
