//! What a controller reads in its object, and in the one that this takes its template or its manifests from.

use serde_json::{Value, json};

use super::Controller;
use crate::sim::loopback::kubernetes::store::{Id, Kind, Store};

impl Controller {
    pub(super) fn generation(&self, store: &Store) -> i64 {
        let stored = store.get(&self.id);
        stored.and_then(|s| s.object["metadata"]["generation"].as_i64()).unwrap_or(0)
    }

    /// What somebody asked Flux by for a reconciliation.
    pub(super) fn token(&self, store: &Store) -> Option<String> {
        let asked = self.workload(store).map(|(other, _)| other);
        let asked = asked.or_else(|| Some(&*store.get(&self.id)?.object))?;
        let annotations = &asked["metadata"]["annotations"];
        annotations["reconcile.fluxcd.io/requestedAt"].as_str().map(str::to_owned)
    }

    /// The Deployment that a Rollout or a Canary takes its template from, or the source of a Kustomization's
    /// manifests or a HelmRelease's chart, with its generation.
    pub(super) fn workload<'a>(&self, store: &'a Store) -> Option<(&'a Value, i64)> {
        let spec = &store.get(&self.id)?.object["spec"];
        let (kind, reference) = match self.id.kind {
            Kind::Canary => (Kind::Deployment, &spec["targetRef"]),
            Kind::Kustomization => (Kind::OciRepository, &spec["sourceRef"]),
            Kind::HelmRelease => (Kind::OciRepository, &spec["chartRef"]),
            Kind::Deployment
            | Kind::StatefulSet
            | Kind::DaemonSet
            | Kind::Rollout
            | Kind::Application
            | Kind::OciRepository
            | Kind::ConfigMap
            | Kind::FeatureFlag
            | Kind::Pod => (Kind::Deployment, &spec["workloadRef"]),
        };
        let namespace = self.id.namespace.clone();
        let id = Id { kind, namespace, name: reference["name"].as_str()?.to_owned() };
        let object = &store.get(&id)?.object;
        Some((object, object["metadata"]["generation"].as_i64()?))
    }

    /// The name of the source that manifests or a chart are pulled by.
    pub(super) fn source(&self, store: &Store) -> Option<String> {
        Some(self.workload(store)?.0["metadata"]["name"].as_str()?.to_owned())
    }

    /// What an object makes its pods of.
    pub(super) fn template(&self, object: &Value, workload: Option<&Value>) -> Value {
        let spec = &object["spec"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let image = match self.id.kind {
            Kind::Application => {
                let image = text(&spec["source"]["kustomize"]["images"][0]);
                image.rsplit('=').next().unwrap_or_default().to_owned()
            }
            Kind::Kustomization | Kind::HelmRelease if let Some(source) = workload => {
                let repository = text(&source["spec"]["url"]).replace("oci://", "");
                format!("{repository}@{}", text(&source["spec"]["ref"]["digest"]))
            }
            Kind::Kustomization => {
                let image = &spec["images"][0];
                format!("{}@{}", text(&image["newName"]), text(&image["digest"]))
            }
            Kind::HelmRelease => {
                let image = &spec["values"]["image"];
                format!("{}@{}", text(&image["repository"]), text(&image["digest"]))
            }
            Kind::FeatureFlag => served(&spec["flagSpec"]["flags"][&self.container]),
            Kind::ConfigMap => {
                let files = object["data"].as_object().into_iter().flat_map(|data| data.values());
                let mut files =
                    files.filter_map(|file| serde_json::from_str::<Value>(file.as_str()?).ok());
                files.next().map(|file| served(&file["flags"][&self.container])).unwrap_or_default()
            }
            Kind::Deployment
            | Kind::StatefulSet
            | Kind::DaemonSet
            | Kind::Rollout
            | Kind::Canary
            | Kind::OciRepository
            | Kind::Pod => {
                return workload.map_or(&spec["template"], |w| &w["spec"]["template"]).clone();
            }
        };
        let labels = json!({"app": self.id.name});
        let containers = json!([{"name": self.container, "image": image}]);
        json!({"metadata": {"labels": labels}, "spec": {"containers": containers}})
    }
}

/// What a flag serves, in the words of a release.
fn served(flag: &Value) -> String {
    let default = flag["defaultVariant"].as_str().unwrap_or_default();
    let buckets = flag["targeting"]["fractional"].as_array().into_iter().flatten();
    let others = buckets.filter(|bucket| bucket[0] != default);
    let shares: String =
        others.map(|b| format!("{}={}%,", b[0].as_str().unwrap_or_default(), b[1])).collect();
    shares + default
}
