//! The shapes of the published custom resources, as far as they matter to whoever writes to them: groups,
//! versions, what has a status of its own, and that no list of theirs has keys.

use std::time::Duration;

use ::kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams},
    core::DynamicObject,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Map, Value, json};

/// A custom resource.
pub struct Shape {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    /// Whether its status is a subresource.
    status: bool,
    schema: fn() -> Value,
}

/// All of them.
pub const SHAPES: [Shape; 8] = [
    Shape {
        group: "argoproj.io",
        version: "v1alpha1",
        kind: "Rollout",
        plural: "rollouts",
        status: true,
        schema: rollout,
    },
    Shape {
        group: "argoproj.io",
        version: "v1alpha1",
        kind: "Application",
        plural: "applications",
        status: false,
        schema: application,
    },
    Shape {
        group: "flagger.app",
        version: "v1beta1",
        kind: "Canary",
        plural: "canaries",
        status: true,
        schema: canary,
    },
    Shape {
        group: "kustomize.toolkit.fluxcd.io",
        version: "v1",
        kind: "Kustomization",
        plural: "kustomizations",
        status: true,
        schema: kustomization,
    },
    Shape {
        group: "helm.toolkit.fluxcd.io",
        version: "v2",
        kind: "HelmRelease",
        plural: "helmreleases",
        status: true,
        schema: helm_release,
    },
    Shape {
        group: "source.toolkit.fluxcd.io",
        version: "v1",
        kind: "OCIRepository",
        plural: "ocirepositories",
        status: true,
        schema: oci_repository,
    },
    Shape {
        group: "image.toolkit.fluxcd.io",
        version: "v1",
        kind: "ImagePolicy",
        plural: "imagepolicies",
        status: true,
        schema: image_policy,
    },
    Shape {
        group: "core.openfeature.dev",
        version: "v1beta1",
        kind: "FeatureFlag",
        plural: "featureflags",
        status: true,
        schema: feature_flag,
    },
];

/// The API version of a kind of those.
pub fn api_version(kind: &str) -> String {
    let shape = SHAPES.iter().find(|shape| shape.kind == kind).expect("one of the shapes");
    format!("{}/{}", shape.group, shape.version)
}

/// The objects of a kind of those.
pub fn objects(client: &Client, namespace: &str, kind: &str) -> Api<DynamicObject> {
    let shape = SHAPES.iter().find(|shape| shape.kind == kind).expect("one of the shapes");
    let kind = GroupVersionKind::gvk(shape.group, shape.version, shape.kind);
    let resource = ApiResource::from_gvk_with_plural(&kind, shape.plural);
    Api::namespaced_with(client.clone(), namespace, &resource)
}

/// Makes the API server know them all.
pub async fn install(client: &Client) {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for shape in &SHAPES {
        let definition = shape.definition();
        let name = definition.meta().name.clone().expect("a name");
        let ours = PatchParams::apply("tests").force();
        api.patch(&name, &ours, &Patch::Apply(&definition)).await.expect("a definition");
    }
    for shape in &SHAPES {
        let known = objects(client, "default", shape.kind);
        let mut tries = 0;
        while known.list(&Default::default()).await.is_err() {
            tries += 1;
            assert!(tries < 200, "{} is not served", shape.kind);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Shape {
    fn definition(&self) -> CustomResourceDefinition {
        let Self { group, version, kind, plural, status, schema } = self;
        let mut served = json!({
            "name": version, "served": true, "storage": true,
            "schema": {"openAPIV3Schema": schema()},
        });
        if *status {
            served["subresources"] = json!({"status": {}});
        }
        serde_json::from_value(json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.{group}")},
            "spec": {
                "group": group,
                "scope": "Namespaced",
                "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase(),
                    "listKind": format!("{kind}List")},
                "versions": [served],
            },
        }))
        .expect("a definition")
    }
}

fn text() -> Value {
    json!({"type": "string"})
}

fn number() -> Value {
    json!({"type": "integer", "format": "int64"})
}

fn yes() -> Value {
    json!({"type": "boolean"})
}

fn list(items: Value) -> Value {
    json!({"type": "array", "items": items})
}

fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    let fields: Map<String, Value> =
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    json!({"type": "object", "properties": fields})
}

/// An object whose fields nobody has listed.
fn open() -> Value {
    json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

fn conditions() -> Value {
    list(object([
        ("type", text()),
        ("status", text()),
        ("reason", text()),
        ("message", text()),
        ("lastTransitionTime", text()),
        ("lastUpdateTime", text()),
        ("observedGeneration", number()),
    ]))
}

fn feature_flag() -> Value {
    let mut flag = object([
        ("state", json!({"type": "string", "enum": ["ENABLED", "DISABLED"]})),
        ("variants", open()),
        ("defaultVariant", text()),
        ("targeting", open()),
    ]);
    flag["required"] = json!(["defaultVariant", "state", "variants"]);
    let flags = json!({"type": "object", "additionalProperties": flag});
    let spec = object([("flags", flags), ("$evaluators", open())]);
    object([("spec", object([("flagSpec", spec)])), ("status", open())])
}

fn rollout() -> Value {
    let container = object([
        ("name", text()),
        ("image", text()),
        ("env", list(object([("name", text()), ("value", text())]))),
    ]);
    let template =
        object([("metadata", open()), ("spec", object([("containers", list(container))]))]);
    let pauses = list(object([("reason", text()), ("startTime", text())]));
    object([
        (
            "spec",
            object([
                ("replicas", number()),
                ("paused", yes()),
                ("selector", open()),
                ("template", template),
                ("workloadRef", open()),
                ("strategy", object([("canary", open()), ("blueGreen", open())])),
            ]),
        ),
        (
            "status",
            object([
                ("observedGeneration", text()),
                ("currentPodHash", text()),
                ("stableRS", text()),
                ("phase", text()),
                ("message", text()),
                ("abort", yes()),
                ("promoteFull", yes()),
                ("controllerPause", yes()),
                ("currentStepIndex", number()),
                ("workloadObservedGeneration", text()),
                ("pauseConditions", pauses),
                ("replicas", number()),
                ("updatedReplicas", number()),
                ("readyReplicas", number()),
                ("availableReplicas", number()),
                ("conditions", conditions()),
                ("canary", open()),
                ("blueGreen", open()),
            ]),
        ),
    ])
}

fn application() -> Value {
    let parameter = object([("name", text()), ("value", text()), ("forceString", yes())]);
    let source = || {
        object([
            ("name", text()),
            ("repoURL", text()),
            ("path", text()),
            ("targetRevision", text()),
            ("kustomize", object([("images", list(text()))])),
            ("helm", object([("parameters", list(parameter.clone())), ("values", text())])),
        ])
    };
    let pair = object([("name", text()), ("value", text())]);
    let retry = object([("limit", number())]);
    let operation = || {
        object([
            ("initiatedBy", object([("username", text()), ("automated", yes())])),
            ("info", list(pair.clone())),
            ("retry", retry.clone()),
            ("sync", object([("prune", yes()), ("syncOptions", list(text()))])),
        ])
    };
    let result = object([
        ("revision", text()),
        ("revisions", list(text())),
        ("source", source()),
        ("sources", list(source())),
    ]);
    let compared = object([("source", source()), ("sources", list(source()))]);
    let sync = object([("status", text()), ("revision", text()), ("comparedTo", compared)]);
    object([
        (
            "spec",
            object([
                ("project", text()),
                ("destination", object([("server", text()), ("namespace", text())])),
                ("source", source()),
                ("sources", list(source())),
                ("syncPolicy", open()),
            ]),
        ),
        ("operation", operation()),
        (
            "status",
            object([
                ("sync", sync),
                ("health", object([("status", text()), ("message", text())])),
                ("reconciledAt", text()),
                ("history", list(object([("id", number()), ("revision", text())]))),
                ("conditions", conditions()),
                (
                    "operationState",
                    object([
                        ("operation", operation()),
                        ("phase", text()),
                        ("message", text()),
                        ("startedAt", text()),
                        ("finishedAt", text()),
                        ("syncResult", result),
                    ]),
                ),
            ]),
        ),
    ])
}

fn canary() -> Value {
    let reference = object([("apiVersion", text()), ("kind", text()), ("name", text())]);
    object([
        (
            "spec",
            object([
                ("targetRef", reference),
                ("suspend", yes()),
                ("service", open()),
                ("analysis", open()),
            ]),
        ),
        (
            "status",
            object([
                ("phase", text()),
                ("canaryWeight", number()),
                ("failedChecks", number()),
                ("iterations", number()),
                ("lastAppliedSpec", text()),
                ("lastPromotedSpec", text()),
                ("lastTransitionTime", text()),
                ("conditions", conditions()),
            ]),
        ),
    ])
}

fn kustomization() -> Value {
    let image =
        object([("name", text()), ("newName", text()), ("newTag", text()), ("digest", text())]);
    object([
        (
            "spec",
            object([
                ("interval", text()),
                ("path", text()),
                ("prune", yes()),
                ("wait", yes()),
                ("suspend", yes()),
                ("sourceRef", object([("kind", text()), ("name", text())])),
                ("images", list(image)),
                ("healthChecks", list(open())),
            ]),
        ),
        ("status", flux_status([("lastAppliedRevision", text())])),
    ])
}

fn helm_release() -> Value {
    let entry = object([
        ("name", text()),
        ("namespace", text()),
        ("version", number()),
        ("status", text()),
        ("configDigest", text()),
        ("chartVersion", text()),
        ("ociDigest", text()),
    ]);
    object([
        (
            "spec",
            object([
                ("interval", text()),
                ("chart", open()),
                ("chartRef", object([("kind", text()), ("name", text()), ("namespace", text())])),
                ("suspend", yes()),
                ("upgrade", object([("disableWait", yes())])),
                // Without a type, as published.
                ("values", json!({"x-kubernetes-preserve-unknown-fields": true})),
            ]),
        ),
        (
            "status",
            flux_status([
                ("lastAttemptedGeneration", number()),
                ("lastAttemptedConfigDigest", text()),
                ("lastAttemptedRevisionDigest", text()),
                ("lastHandledResetAt", text()),
                ("upgradeFailures", number()),
                ("history", list(entry)),
            ]),
        ),
    ])
}

fn oci_repository() -> Value {
    let reference = object([("tag", text()), ("digest", text()), ("semver", text())]);
    let spec = [("url", text()), ("interval", text()), ("suspend", yes()), ("ref", reference)];
    object([("spec", object(spec)), ("status", flux_status([("artifact", open())]))])
}

fn image_policy() -> Value {
    let order = || object([("order", text())]);
    let policy = [
        ("semver", object([("range", text())])),
        ("alphabetical", order()),
        ("numerical", order()),
    ];
    let spec = [
        ("imageRepositoryRef", object([("name", text()), ("namespace", text())])),
        ("filterTags", object([("pattern", text()), ("extract", text())])),
        ("policy", object(policy)),
        ("digestReflectionPolicy", text()),
        ("interval", text()),
    ];
    let reference = || object([("name", text()), ("tag", text()), ("digest", text())]);
    let status = [("latestRef", reference()), ("observedPreviousRef", reference())];
    object([("spec", object(spec)), ("status", flux_status(status))])
}

fn flux_status<const N: usize>(more: [(&str, Value); N]) -> Value {
    let mut status = object([
        ("observedGeneration", number()),
        ("lastHandledReconcileAt", text()),
        ("lastAttemptedRevision", text()),
        ("conditions", conditions()),
    ]);
    for (name, value) in more {
        status["properties"][name] = value;
    }
    status
}
