//! The objects of a simulated cluster, as their owners would have written them.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    controller::{rfc3339, uid},
    ownership::{Fields, Manager},
    patch::{Style, merge},
    store::{Id, Kind},
};
use crate::{
    ids::Mint,
    model::ring::{ArgoImage, Target, TargetKind},
    sim::loopback::Workload,
};

/// The label by which an object says how many replicas it brings about, where its specification does not: in truth that is
/// up to nodes, manifests and charts.
pub(super) const REPLICAS: &str = "fleet.example/replicas";

/// The object that a target names.
pub(super) fn id_of(target: &Target) -> Id {
    let (namespace, name) = (target.namespace.clone(), target.name.clone());
    let kind = match target.kind {
        TargetKind::Deployment { .. } => Kind::Deployment,
        TargetKind::StatefulSet { .. } => Kind::StatefulSet,
        TargetKind::DaemonSet { .. } => Kind::DaemonSet,
        TargetKind::ArgoRollout { .. } => Kind::Rollout,
        TargetKind::FlaggerCanary { .. } => Kind::Canary,
        TargetKind::ArgoApplication { .. } => Kind::Application,
        TargetKind::FluxKustomization { .. } | TargetKind::FluxOciSource => Kind::Kustomization,
        TargetKind::FluxHelmRelease { .. } | TargetKind::FluxOciChart => Kind::HelmRelease,
        TargetKind::FlagdFlag { file: Some(_), .. } => Kind::ConfigMap,
        // What a service would have stands here as one; nobody drives it.
        TargetKind::FlagdFlag { file: None, .. }
        | TargetKind::UnleashFlag { .. }
        | TargetKind::LaunchDarklyFlag { .. }
        | TargetKind::FlagsmithFlag { .. }
        | TargetKind::CodeDeploy { .. }
        | TargetKind::CloudDeploy { .. }
        | TargetKind::Spinnaker { .. }
        | TargetKind::Harness { .. }
        | TargetKind::Webhook { .. } => Kind::FeatureFlag,
    };
    Id { kind, namespace, name }
}

/// The container whose image counts, of the pods that the target brings about; of a flag, its key.
pub(super) fn container(target: &Target) -> &str {
    match &target.kind {
        TargetKind::Deployment { container }
        | TargetKind::StatefulSet { container }
        | TargetKind::DaemonSet { container }
        | TargetKind::ArgoRollout { container }
        | TargetKind::FlaggerCanary { container } => container,
        TargetKind::ArgoApplication { .. }
        | TargetKind::FluxKustomization { .. }
        | TargetKind::FluxOciSource
        | TargetKind::FluxOciChart
        | TargetKind::FluxHelmRelease { .. } => "app",
        TargetKind::FlagdFlag { flag, .. } => flag,
        TargetKind::UnleashFlag { .. }
        | TargetKind::LaunchDarklyFlag { .. }
        | TargetKind::FlagsmithFlag { .. }
        | TargetKind::CodeDeploy { .. }
        | TargetKind::CloudDeploy { .. }
        | TargetKind::Spinnaker { .. }
        | TargetKind::Harness { .. }
        | TargetKind::Webhook { .. } => &target.name,
    }
}

/// What a target's own object takes its template or its manifests from, where it is another object.
pub(super) fn other(target: &Target) -> Option<Kind> {
    match target.kind {
        TargetKind::FlaggerCanary { .. } => Some(Kind::Deployment),
        TargetKind::FluxOciSource | TargetKind::FluxOciChart => Some(Kind::OciRepository),
        TargetKind::Deployment { .. }
        | TargetKind::StatefulSet { .. }
        | TargetKind::DaemonSet { .. }
        | TargetKind::ArgoRollout { .. }
        | TargetKind::ArgoApplication { .. }
        | TargetKind::FluxKustomization { .. }
        | TargetKind::FluxHelmRelease { .. }
        | TargetKind::FlagdFlag { .. }
        | TargetKind::UnleashFlag { .. }
        | TargetKind::LaunchDarklyFlag { .. }
        | TargetKind::FlagsmithFlag { .. }
        | TargetKind::CodeDeploy { .. }
        | TargetKind::CloudDeploy { .. }
        | TargetKind::Spinnaker { .. }
        | TargetKind::Harness { .. }
        | TargetKind::Webhook { .. } => None,
    }
}

/// An object of that kind for a workload: its owners own all of it but the image, which was handed over to
/// ringward, and they consented.
pub(super) fn object(
    kind: Kind,
    workload: &Workload,
    mint: &mut Mint,
    wall: Timestamp,
) -> (Value, Vec<Manager>) {
    let Workload { plan, target, image, replicas } = workload;
    let labels = json!({"app": target.name});
    let mut applied = json!({
        "metadata": {"labels": labels, "annotations": {"ringward.dev/managed-by": plan}},
    });
    if !matches!(kind, Kind::Deployment | Kind::StatefulSet | Kind::Rollout) {
        // What it brings about has so many replicas, which it does not say itself.
        applied["metadata"]["labels"][REPLICAS] = json!(replicas.to_string());
    }
    let (repository, digest) = image.0.split_once('@').unwrap_or((&image.0, ""));
    let own = |more: Value| {
        let containers = json!([{"name": container(target), "image": image}]);
        let image = json!({"template": {"spec": {"containers": containers}}});
        (with_template(target, more), image)
    };
    let (spec, image) = match kind {
        Kind::Deployment | Kind::Pod => {
            let surge = json!({"maxSurge": 1, "maxUnavailable": 0});
            let strategy = json!({"type": "RollingUpdate", "rollingUpdate": surge});
            own(json!({"replicas": replicas, "progressDeadlineSeconds": 600, "strategy": strategy}))
        }
        Kind::StatefulSet => {
            let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}});
            own(json!({"replicas": replicas, "podManagementPolicy": "OrderedReady",
                "serviceName": target.name, "updateStrategy": rolling}))
        }
        Kind::DaemonSet => {
            let rolling = json!({"maxSurge": 0, "maxUnavailable": 1});
            let strategy = json!({"type": "RollingUpdate", "rollingUpdate": rolling});
            own(json!({"updateStrategy": strategy}))
        }
        Kind::Rollout => {
            let strategy = json!({"canary": {"steps": [{"setWeight": 50}]}});
            own(json!({"replicas": replicas, "progressDeadlineSeconds": 600, "strategy": strategy}))
        }
        Kind::Canary => {
            let reference =
                json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": target.name});
            let analysis =
                json!({"interval": "1m", "threshold": 5, "maxWeight": 50, "stepWeight": 10});
            let service = json!({"port": 80});
            (json!({"targetRef": reference, "service": service, "analysis": analysis}), json!({}))
        }
        Kind::Application => {
            let source = json!({"repoURL": "https://git.example/fleet.git", "path": "shop"});
            let images = json!([format!("{}={image}", name(target))]);
            (
                json!({"project": "default", "source": source}),
                json!({"source": {"kustomize": {"images": images}}}),
            )
        }
        Kind::Kustomization => {
            let own = other(target).is_some();
            let source = match own {
                true => json!({"kind": "OCIRepository", "name": target.name}),
                false => json!({"kind": "GitRepository", "name": "fleet"}),
            };
            let images = json!([{"name": name(target), "newName": repository, "digest": digest}]);
            (
                json!({"interval": "10m", "path": "./shop", "prune": true, "wait": true,
                    "sourceRef": source}),
                if own { json!({}) } else { json!({"images": images}) },
            )
        }
        Kind::OciRepository => (
            json!({"interval": "10m", "url": format!("oci://{repository}"), "ref": {"tag": "latest"}}),
            json!({"ref": {"digest": digest}}),
        ),
        Kind::HelmRelease => {
            let chart =
                json!({"chart": "shop", "sourceRef": {"kind": "HelmRepository", "name": "c"}});
            let values = json!({"image": {"repository": repository, "digest": digest}});
            let pulled = json!({"kind": "OCIRepository", "name": target.name});
            match other(target).is_some() {
                true => (json!({"interval": "10m", "chartRef": pulled}), json!({})),
                false => (
                    json!({"interval": "10m", "chart": {"spec": chart}}),
                    json!({"values": values}),
                ),
            }
        }
        Kind::ConfigMap => (Value::Null, Value::Null),
        Kind::FeatureFlag => {
            let flag =
                |fields: Value| json!({"flagSpec": {"flags": {(container(target)): fields}}});
            let owned = json!({"state": "ENABLED", "variants": variants()});
            (flag(owned), flag(json!({"defaultVariant": image})))
        }
    };
    if !spec.is_null() {
        applied["spec"] = spec;
    }
    let manager = |name: &str, fields: &Value| Manager {
        name: name.into(),
        applied: true,
        time: rfc3339(wall),
        fields: Fields::of(fields),
    };
    let image = if let TargetKind::FlagdFlag { flag, file: Some(file), .. } = &target.kind {
        json!({"data": {(file.clone()): flags(flag, &workload.image.0)}})
    } else {
        json!({"spec": image})
    };
    let managers = vec![manager("ringward", &image), manager("platform", &applied)];
    merge(&mut applied, &image, "", Style::Apply);
    applied["kind"] = json!(kind.name());
    applied["apiVersion"] = json!(kind.api_version());
    applied["metadata"]["name"] = json!(target.name);
    applied["metadata"]["namespace"] = json!(target.namespace);
    applied["metadata"]["uid"] = json!(uid(mint));
    applied["metadata"]["generation"] = json!(1);
    applied["metadata"]["creationTimestamp"] = json!(rfc3339(wall));
    (applied, managers)
}

/// The variants of every flag here.
fn variants() -> Value {
    let names = ["a", "b", "c", "off", "on", "v0", "v1", "v2", "v3"];
    names
        .into_iter()
        .map(|name| (name.to_owned(), json!(name)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// A file of flags, of which one serves a variant.
fn flags(flag: &str, serves: &str) -> String {
    let other = json!({"state": "ENABLED", "variants": {"x": 1.5}, "defaultVariant": "x"});
    let own = json!({"state": "ENABLED", "variants": variants(), "defaultVariant": serves});
    let flags = json!({"$schema": "https://flagd.dev/schema/v0/flags.json",
        "flags": {"another": other, flag: own}});
    format!("{flags:#}")
}

/// What the image is called in manifests.
fn name(target: &Target) -> &str {
    match &target.kind {
        TargetKind::FluxKustomization { image }
        | TargetKind::ArgoApplication { image: ArgoImage::Kustomize(image), .. } => image,
        TargetKind::Deployment { .. }
        | TargetKind::StatefulSet { .. }
        | TargetKind::DaemonSet { .. }
        | TargetKind::ArgoRollout { .. }
        | TargetKind::FlaggerCanary { .. }
        | TargetKind::ArgoApplication { .. }
        | TargetKind::FluxOciSource
        | TargetKind::FluxOciChart
        | TargetKind::FluxHelmRelease { .. }
        | TargetKind::FlagdFlag { .. }
        | TargetKind::UnleashFlag { .. }
        | TargetKind::LaunchDarklyFlag { .. }
        | TargetKind::FlagsmithFlag { .. }
        | TargetKind::CodeDeploy { .. }
        | TargetKind::CloudDeploy { .. }
        | TargetKind::Spinnaker { .. }
        | TargetKind::Harness { .. }
        | TargetKind::Webhook { .. } => "app",
    }
}

/// The specification of what has a pod's template, without the image; `more` is what its kind has beside.
fn with_template(target: &Target, more: Value) -> Value {
    let labels = json!({"app": target.name});
    let mut spec = json!({
        "revisionHistoryLimit": 10,
        "selector": {"matchLabels": labels},
        "template": {
            "metadata": {"labels": labels},
            "spec": {
                "restartPolicy": "Always",
                "terminationGracePeriodSeconds": 30,
                "containers": [{
                    "name": container(target),
                    "imagePullPolicy": "IfNotPresent",
                    "ports": [{"containerPort": 8080, "protocol": "TCP"}],
                }],
            },
        },
    });
    merge(&mut spec, &more, "", Style::Merge);
    spec
}
