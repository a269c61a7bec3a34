//! The kinds of target, each with what the suites have to know of it.

use std::collections::BTreeMap;

use kube::core::{ApiResource, GroupVersionKind};
use ringward::model::ring::{ArgoImage, Artifact, HelmValues, Target, TargetKind};
use serde_json::{Value, json};

/// A kind of target, in one of the shapes that it comes in.
#[derive(Debug, Clone)]
pub struct Subject {
    /// What the plan and its object are called.
    pub name: &'static str,
    /// What a plan declares beside the namespace and the name.
    pub kind: TargetKind,
    /// The resource of the object that is written to, and the object's name.
    pub written: (&'static str, &'static str, &'static str, &'static str),
    /// The resource of the object that a plan names, where the image is another's.
    pub refers: Option<(&'static str, &'static str, &'static str)>,
    /// How many of its pods are asked for, where it has any.
    pub pods: Option<u32>,
    /// A change of its owner's that stops a rollout, what undoes it, and whether that is known as a pause.
    pub stop: (Value, Value, Stopped),
    /// How a version ends that does not get ready, or that an analysis finds fault with.
    pub broken: Broken,
    /// What its controller could come to say that nobody knows the meaning of, and the word for that; none for those that
    /// speak in numbers alone, of which some are missing then. Nothing for what has no controller.
    pub odd: (Value, Option<&'static str>),
}

/// What a rollout is that its owner stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// Paused.
    Paused,
    /// It is not known whether it ends.
    Unknown(&'static str),
}

/// How a broken version ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// Its controller gives up, in such words.
    Fails(&'static str),
    /// Its controller never gives up: the ring's deadline does.
    Lingers(&'static str),
    /// Nothing runs it that could break.
    Never,
}

impl Subject {
    /// The target in a plan.
    pub fn target(&self) -> Target {
        Target { kind: self.kind.clone(), namespace: "shop".into(), name: self.name.into() }
    }

    /// The resource of what is written to.
    pub fn resource(&self) -> ApiResource {
        let (group, version, kind, _) = self.written;
        ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
    }

    /// The resource of what the plan names.
    pub fn named(&self) -> ApiResource {
        match self.refers {
            Some((group, version, kind)) => {
                ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
            }
            None => self.resource(),
        }
    }

    /// Whether it is data, which is done as soon as it is stored.
    pub fn is_data(&self) -> bool {
        self.kind.is_flag()
    }

    /// An image by a digest of that digit; of a flag, the variant that is called so.
    pub fn image(&self, digit: char) -> Artifact {
        match self.is_data() {
            true => Artifact(digit.into()),
            false => {
                let digits = digit.to_string().repeat(64);
                Artifact(format!("registry.example/shop/app@sha256:{digits}"))
            }
        }
    }

    /// What somebody else would write to make `live` name an image, in one piece.
    pub fn theirs(&self, live: &Value, image: &Artifact) -> Value {
        let (repository, digest) = image.0.split_once('@').unwrap_or((&image.0, ""));
        match &self.kind {
            TargetKind::UnleashFlag { .. }
            | TargetKind::LaunchDarklyFlag { .. }
            | TargetKind::FlagsmithFlag { .. }
            | TargetKind::CodeDeploy { .. }
            | TargetKind::CloudDeploy { .. }
            | TargetKind::Spinnaker { .. }
            | TargetKind::Harness { .. }
            | TargetKind::Webhook { .. } => {
                panic!("no subject is in a service")
            }
            TargetKind::FlagdFlag { file: Some(file), .. } => {
                json!({"data": {(file.clone()): flags("ENABLED", &image.0)}})
            }
            TargetKind::FlagdFlag { flag, file: None, .. } => {
                let theirs = json!({"defaultVariant": image});
                json!({"spec": {"flagSpec": {"flags": {(flag.clone()): theirs}}}})
            }
            TargetKind::FluxKustomization { image: name } => {
                let entry = json!({"name": name, "newName": repository, "digest": digest});
                json!({"spec": {"images": [entry]}})
            }
            TargetKind::FluxOciSource | TargetKind::FluxOciChart => {
                json!({"spec": {"ref": {"digest": digest}}})
            }
            TargetKind::ArgoApplication { .. } => {
                let images = json!([format!("registry.example/shop/app={image}")]);
                json!({"spec": {"source": {"kustomize": {"images": images}}}})
            }
            TargetKind::FluxHelmRelease { .. } => {
                json!({"spec": {"values": {"image": {"digest": digest}}}})
            }
            TargetKind::Deployment { .. }
            | TargetKind::StatefulSet { .. }
            | TargetKind::DaemonSet { .. }
            | TargetKind::ArgoRollout { .. }
            | TargetKind::FlaggerCanary { .. } => {
                let mut containers = live["spec"]["template"]["spec"]["containers"].clone();
                containers[0]["image"] = json!(image);
                json!({"spec": {"template": {"spec": {"containers": containers}}}})
            }
        }
    }

    /// The name of what is written to.
    pub fn object(&self) -> &'static str {
        self.written.3
    }
}

/// A file of flags as its owner writes it.
fn flags(state: &str, serves: &str) -> String {
    let variants = json!({"a": 1, "b": 2, "c": 3});
    let dark = json!({"state": state, "variants": variants, "defaultVariant": serves});
    json!({"flags": {"dark": dark}}).to_string()
}

/// Every kind that ringward drives.
pub fn all() -> Vec<Subject> {
    let container = || "app".to_owned();
    let paused =
        || (json!({"spec": {"paused": true}}), json!({"spec": {"paused": null}}), Stopped::Paused);
    let suspended = || {
        let suspend = |yes: bool| json!({"spec": {"suspend": yes}});
        (suspend(true), suspend(false), Stopped::Paused)
    };
    // A label stands for a project's window.
    let window = || {
        let label = |value: Value| json!({"metadata": {"labels": {"sync-window": value}}});
        (label(json!("closed")), label(Value::Null), Stopped::Paused)
    };
    let flag = |file: Option<&str>| TargetKind::FlagdFlag {
        flag: "dark".into(),
        file: file.map(Into::into),
        only: BTreeMap::new(),
        probe: None,
        cleanup_after: None,
    };
    let by_hand = |name| {
        let strategy = |kind: &str| json!({"spec": {"updateStrategy": {"type": kind}}});
        (strategy("OnDelete"), strategy("RollingUpdate"), Stopped::Unknown(name))
    };
    let numbers = || (json!({"observedGeneration": null}), None);
    let phase = || (json!({"phase": "Marvellous"}), Some("Marvellous"));
    let ready = || {
        let ready = json!([{"type": "Ready", "status": "Marvellous", "observedGeneration": 9}]);
        (json!({"conditions": ready, "observedGeneration": 9}), Some("Marvellous"))
    };
    vec![
        Subject {
            name: "deployment",
            kind: TargetKind::Deployment { container: container() },
            written: ("apps", "v1", "Deployment", "deployment"),
            refers: None,
            pods: Some(3),
            stop: paused(),
            broken: Broken::Fails("CrashLoopBackOff"),
            odd: numbers(),
        },
        Subject {
            name: "statefulset",
            kind: TargetKind::StatefulSet { container: container() },
            written: ("apps", "v1", "StatefulSet", "statefulset"),
            refers: None,
            pods: Some(3),
            stop: by_hand("OnDelete: 3 of 3 pods"),
            broken: Broken::Lingers("CrashLoopBackOff"),
            odd: numbers(),
        },
        Subject {
            name: "daemonset",
            kind: TargetKind::DaemonSet { container: container() },
            written: ("apps", "v1", "DaemonSet", "daemonset"),
            refers: None,
            pods: Some(3),
            stop: by_hand("OnDelete: 3 of 3 pods"),
            broken: Broken::Lingers("CrashLoopBackOff"),
            odd: numbers(),
        },
        Subject {
            name: "rollout",
            kind: TargetKind::ArgoRollout { container: container() },
            written: ("argoproj.io", "v1alpha1", "Rollout", "rollout"),
            refers: None,
            pods: Some(3),
            stop: paused(),
            broken: Broken::Fails("timed out progressing"),
            odd: phase(),
        },
        Subject {
            name: "bluegreen",
            kind: TargetKind::ArgoRollout { container: container() },
            written: ("argoproj.io", "v1alpha1", "Rollout", "bluegreen"),
            refers: None,
            pods: Some(3),
            stop: paused(),
            broken: Broken::Fails("timed out progressing"),
            odd: phase(),
        },
        Subject {
            name: "referring",
            kind: TargetKind::ArgoRollout { container: container() },
            written: ("apps", "v1", "Deployment", "referred"),
            refers: Some(("argoproj.io", "v1alpha1", "Rollout")),
            pods: Some(3),
            stop: paused(),
            broken: Broken::Fails("timed out progressing"),
            odd: phase(),
        },
        Subject {
            name: "canary",
            kind: TargetKind::FlaggerCanary { container: container() },
            written: ("apps", "v1", "Deployment", "canary"),
            refers: Some(("flagger.app", "v1beta1", "Canary")),
            pods: Some(1),
            stop: suspended(),
            broken: Broken::Fails("no replica got ready"),
            odd: phase(),
        },
        Subject {
            name: "application",
            kind: TargetKind::ArgoApplication {
                image: ArgoImage::Kustomize("registry.example/shop/app".into()),
                source: None,
            },
            written: ("argoproj.io", "v1alpha1", "Application", "application"),
            refers: None,
            pods: None,
            stop: window(),
            broken: Broken::Lingers("degraded"),
            odd: (json!({"health": {"status": "Marvellous"}}), Some("Marvellous")),
        },
        Subject {
            name: "kustomization",
            kind: TargetKind::FluxKustomization { image: "registry.example/shop/app".into() },
            written: ("kustomize.toolkit.fluxcd.io", "v1", "Kustomization", "kustomization"),
            refers: None,
            pods: None,
            stop: suspended(),
            broken: Broken::Lingers("timeout waiting"),
            odd: ready(),
        },
        Subject {
            name: "ociartifact",
            kind: TargetKind::FluxOciSource,
            written: ("source.toolkit.fluxcd.io", "v1", "OCIRepository", "ociartifact"),
            refers: Some(("kustomize.toolkit.fluxcd.io", "v1", "Kustomization")),
            pods: None,
            stop: suspended(),
            broken: Broken::Lingers("timeout waiting"),
            odd: ready(),
        },
        Subject {
            name: "ocichart",
            kind: TargetKind::FluxOciChart,
            written: ("source.toolkit.fluxcd.io", "v1", "OCIRepository", "ocichart"),
            refers: Some(("helm.toolkit.fluxcd.io", "v2", "HelmRelease")),
            pods: None,
            stop: suspended(),
            broken: Broken::Fails("remediated"),
            odd: ready(),
        },
        Subject {
            name: "helmrelease",
            kind: TargetKind::FluxHelmRelease {
                values: HelmValues::Parts {
                    repository: "image.repository".into(),
                    digest: "image.digest".into(),
                },
            },
            written: ("helm.toolkit.fluxcd.io", "v2", "HelmRelease", "helmrelease"),
            refers: None,
            pods: None,
            stop: suspended(),
            broken: Broken::Fails("remediated"),
            odd: ready(),
        },
        Subject {
            name: "flagfile",
            kind: flag(Some("flags.json")),
            written: ("", "v1", "ConfigMap", "flagfile"),
            refers: None,
            pods: None,
            stop: {
                // Whoever writes the file owns all of it, and lets it be taken over again.
                let leave = json!({"annotations": {"ringward.dev/take-over": "image"}});
                let file = |state, serves| json!({"data": {"flags.json": flags(state, serves)}});
                let mut disabled = file("DISABLED", "a");
                disabled["metadata"] = leave;
                (disabled, file("ENABLED", "b"), Stopped::Paused)
            },
            broken: Broken::Never,
            odd: (Value::Null, None),
        },
        Subject {
            name: "featureflag",
            kind: flag(None),
            written: ("core.openfeature.dev", "v1beta1", "FeatureFlag", "featureflag"),
            refers: None,
            pods: None,
            stop: {
                let state =
                    |state| json!({"spec": {"flagSpec": {"flags": {"dark": {"state": state}}}}});
                (state("DISABLED"), state("ENABLED"), Stopped::Paused)
            },
            broken: Broken::Never,
            odd: (Value::Null, None),
        },
    ]
}
