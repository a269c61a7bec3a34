//! The objects of one simulated cluster, their versions, and what changed lately.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use serde_json::{Value, json};

use super::{
    failure::Failure,
    ownership::Manager,
    patch::{Patch, Style, merge},
};

/// Changes that a watch may still ask for; before that it is told that they are gone.
const REMEMBERED: usize = 512;

/// The kinds of object that a simulated cluster has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Deployment,
    StatefulSet,
    DaemonSet,
    Rollout,
    Canary,
    Application,
    Kustomization,
    OciRepository,
    HelmRelease,
    ConfigMap,
    FeatureFlag,
    Pod,
}

impl Kind {
    pub(super) const ALL: [Kind; 12] = [
        Kind::Deployment,
        Kind::StatefulSet,
        Kind::DaemonSet,
        Kind::Rollout,
        Kind::Canary,
        Kind::Application,
        Kind::Kustomization,
        Kind::OciRepository,
        Kind::HelmRelease,
        Kind::ConfigMap,
        Kind::FeatureFlag,
        Kind::Pod,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Deployment => "Deployment",
            Kind::StatefulSet => "StatefulSet",
            Kind::DaemonSet => "DaemonSet",
            Kind::Rollout => "Rollout",
            Kind::Canary => "Canary",
            Kind::Application => "Application",
            Kind::Kustomization => "Kustomization",
            Kind::OciRepository => "OCIRepository",
            Kind::HelmRelease => "HelmRelease",
            Kind::ConfigMap => "ConfigMap",
            Kind::FeatureFlag => "FeatureFlag",
            Kind::Pod => "Pod",
        }
    }

    pub(super) fn plural(self) -> &'static str {
        match self {
            Kind::Deployment => "deployments",
            Kind::StatefulSet => "statefulsets",
            Kind::DaemonSet => "daemonsets",
            Kind::Rollout => "rollouts",
            Kind::Canary => "canaries",
            Kind::Application => "applications",
            Kind::Kustomization => "kustomizations",
            Kind::OciRepository => "ocirepositories",
            Kind::HelmRelease => "helmreleases",
            Kind::ConfigMap => "configmaps",
            Kind::FeatureFlag => "featureflags",
            Kind::Pod => "pods",
        }
    }

    /// The short name that kubectl takes.
    pub(super) fn short(self) -> &'static str {
        match self {
            Kind::Deployment => "deploy",
            Kind::StatefulSet => "sts",
            Kind::DaemonSet => "ds",
            Kind::Rollout => "ro",
            Kind::Canary => "canary",
            Kind::Application => "app",
            Kind::Kustomization => "ks",
            Kind::OciRepository => "ocirepo",
            Kind::HelmRelease => "hr",
            Kind::ConfigMap => "cm",
            Kind::FeatureFlag => "ff",
            Kind::Pod => "po",
        }
    }

    pub(super) fn group(self) -> &'static str {
        match self {
            Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet => "apps",
            Kind::Rollout | Kind::Application => "argoproj.io",
            Kind::Canary => "flagger.app",
            Kind::Kustomization => "kustomize.toolkit.fluxcd.io",
            Kind::OciRepository => "source.toolkit.fluxcd.io",
            Kind::HelmRelease => "helm.toolkit.fluxcd.io",
            Kind::FeatureFlag => "core.openfeature.dev",
            Kind::ConfigMap | Kind::Pod => "",
        }
    }

    pub(super) fn api_version(self) -> &'static str {
        match self {
            Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet => "apps/v1",
            Kind::Rollout | Kind::Application => "argoproj.io/v1alpha1",
            Kind::Canary => "flagger.app/v1beta1",
            Kind::Kustomization => "kustomize.toolkit.fluxcd.io/v1",
            Kind::OciRepository => "source.toolkit.fluxcd.io/v1",
            Kind::HelmRelease => "helm.toolkit.fluxcd.io/v2",
            Kind::FeatureFlag => "core.openfeature.dev/v1beta1",
            Kind::ConfigMap | Kind::Pod => "v1",
        }
    }

    /// Whether a client may write to it.
    pub(super) fn is_written(self) -> bool {
        self != Kind::Pod
    }

    /// Whether it is data that nothing runs: what it says is served at once.
    pub(super) fn is_data(self) -> bool {
        matches!(self, Kind::ConfigMap | Kind::FeatureFlag)
    }

    /// As messages name it: `deployments.apps`.
    pub(super) fn qualified(self) -> String {
        match self.group() {
            "" => self.plural().into(),
            group => format!("{}.{group}", self.plural()),
        }
    }
}

/// Names one object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    pub(super) kind: Kind,
    pub(super) namespace: String,
    pub(super) name: String,
}

/// An object and who owns its fields.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) object: Arc<Value>,
    pub(super) managers: Vec<Manager>,
}

/// One change; `before` and `after` are the object as it was and as it is.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) version: u64,
    pub(super) id: Id,
    pub(super) before: Option<Arc<Value>>,
    pub(super) after: Option<Arc<Value>>,
}

/// The objects.
#[derive(Debug, Default)]
pub(super) struct Store {
    version: u64,
    objects: BTreeMap<Id, Stored>,
    changes: VecDeque<Change>,
    /// The last change that is no longer remembered.
    forgotten: u64,
}

impl Store {
    /// The version of the last change.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn get(&self, id: &Id) -> Option<&Stored> {
        self.objects.get(id)
    }

    /// The objects of a kind, in one namespace or in all.
    pub(super) fn list(
        &self,
        kind: Kind,
        namespace: Option<&str>,
    ) -> impl Iterator<Item = &Arc<Value>> {
        let objects = self.objects.iter().filter(move |(id, _)| {
            id.kind == kind && namespace.is_none_or(|namespace| id.namespace == namespace)
        });
        objects.map(|(_, stored)| &stored.object)
    }

    /// The changes after `version`.
    pub(super) fn since(&self, version: u64) -> Result<Vec<Change>, Failure> {
        if version < self.forgotten {
            return Err(Failure::expired(version, self.forgotten));
        }
        let from = self.changes.partition_point(|change| change.version <= version);
        Ok(self.changes.range(from..).cloned().collect())
    }

    /// Stores an object as it is, under a version of its own.
    pub(super) fn put(&mut self, id: Id, mut object: Value, managers: Vec<Manager>) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let object = Arc::new(object);
        let stored = Stored { object: object.clone(), managers };
        let before = self.objects.insert(id.clone(), stored).map(|old| old.object);
        self.remember(Change { version: self.version, id, before, after: Some(object) });
    }

    /// Writes a status; nothing happens where it is the same.
    pub(super) fn put_status(&mut self, id: &Id, status: Value) {
        let Some(stored) = self.objects.get(id).filter(|s| s.object["status"] != status) else {
            return;
        };
        let mut object = (*stored.object).clone();
        object["status"] = status;
        let managers = stored.managers.clone();
        self.put(id.clone(), object, managers);
    }

    /// Merges a patch into a status, whosever it is.
    pub(super) fn patch_status(&mut self, id: &Id, patch: &Value) -> Result<Arc<Value>, Failure> {
        let missing = || Failure::not_found(id.kind, &id.name);
        let live = &self.get(id).ok_or_else(missing)?.object;
        let asked = &patch["metadata"]["resourceVersion"];
        if asked.is_string() && *asked != live["metadata"]["resourceVersion"] {
            return Err(Failure::modified(id.kind, &id.name));
        }
        let mut status = live["status"].clone();
        merge(&mut status, &patch["status"], "", Style::Merge);
        self.put_status(id, status);
        self.get(id).map(|stored| stored.object.clone()).ok_or_else(missing)
    }

    /// Writes an annotation as a controller does, which is no change of the specification.
    pub(super) fn put_annotation(&mut self, id: &Id, name: &str, value: &str) {
        let Some(stored) = self.objects.get(id) else { return };
        if stored.object["metadata"]["annotations"][name] != value {
            let mut object = (*stored.object).clone();
            object["metadata"]["annotations"][name] = json!(value);
            let managers = stored.managers.clone();
            self.put(id.clone(), object, managers);
        }
    }

    /// Takes an annotation away, as a controller does.
    pub(super) fn take_annotation(&mut self, id: &Id, name: &str) {
        self.take(id, |object| object["metadata"]["annotations"].as_object_mut()?.remove(name));
    }

    /// Takes a field of the object away, as a controller does.
    pub(super) fn take_field(&mut self, id: &Id, name: &str) {
        self.take(id, |object| object.as_object_mut()?.remove(name));
    }

    fn take(&mut self, id: &Id, take: impl Fn(&mut Value) -> Option<Value>) {
        let Some(stored) = self.objects.get(id) else { return };
        let mut object = (*stored.object).clone();
        if take(&mut object).is_some() {
            let managers = stored.managers.clone();
            self.put(id.clone(), object, managers);
        }
    }

    pub(super) fn delete(&mut self, id: &Id) {
        if let Some(stored) = self.objects.remove(id) {
            self.version += 1;
            let mut last = (*stored.object).clone();
            last["metadata"]["resourceVersion"] = json!(self.version.to_string());
            // What a deletion shows is the object as it last was, under the deletion's version.
            let before = Some(Arc::new(last));
            self.remember(Change { version: self.version, id: id.clone(), before, after: None });
        }
    }

    /// Patches an object, and stores it unless `dry`. A patch that changes nothing leaves its version.
    pub(super) fn patch(
        &mut self,
        id: &Id,
        patch: &Patch,
        time: &str,
        dry: bool,
    ) -> Result<Arc<Value>, Failure> {
        let Some(live) = self.objects.get(id) else {
            return Err(match patch.style {
                Style::Apply => Failure::no_creation(id.kind, &id.name),
                Style::Merge | Style::Strategic => Failure::not_found(id.kind, &id.name),
            });
        };
        let (mut object, managers) = patch.apply(id.kind, live, time)?;
        let same = |field: &str| object[field] == live.object[field];
        // An Application has no status of its own: whoever writes to it may write that too.
        let open = id.kind == Kind::Application && !(same("status") && same("operation"));
        if !open && same("spec") && same("data") && same("metadata") && managers == live.managers {
            return Ok(live.object.clone());
        }
        validate(id, &live.object, &object)?;
        // Kubernetes counts a Deployment's annotations as part of what its controller must look at.
        let annotations = "/metadata/annotations";
        let counted = id.kind == Kind::Deployment
            && object.pointer(annotations) != live.object.pointer(annotations);
        if !same("spec") || counted {
            let generation = live.object["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
            object["metadata"]["generation"] = json!(generation);
        }
        object["metadata"]["managedFields"] = managers.iter().map(Manager::to_json).collect();
        if dry {
            return Ok(Arc::new(object));
        }
        self.put(id.clone(), object, managers);
        self.objects
            .get(id)
            .map(|stored| stored.object.clone())
            .ok_or_else(|| Failure::not_found(id.kind, &id.name))
    }

    fn remember(&mut self, change: Change) {
        self.changes.push_back(change);
        while self.changes.len() > REMEMBERED {
            self.forgotten = self.changes.pop_front().map_or(self.forgotten, |c| c.version);
        }
    }
}

/// The little of a Deployment's validation that a client of ours could run into.
fn validate(id: &Id, live: &Value, new: &Value) -> Result<(), Failure> {
    let invalid = |field: &str, why: &str| {
        Err(Failure::invalid((id.kind.group(), id.kind.name(), &id.name), field, why))
    };
    if id.kind != Kind::Deployment {
        return Ok(());
    }
    if live["spec"]["selector"] != new["spec"]["selector"] {
        return invalid("spec.selector", "Invalid value: field is immutable");
    }
    let replicas = &new["spec"]["replicas"];
    if replicas.as_u64().is_none() {
        return invalid(
            "spec.replicas",
            &format!("Invalid value: {replicas}: must be greater than or equal to 0"),
        );
    }
    let containers = new.pointer("/spec/template/spec/containers").and_then(Value::as_array);
    let Some(containers) = containers.filter(|list| !list.is_empty()) else {
        return invalid("spec.template.spec.containers", "Required value");
    };
    for (at, container) in containers.iter().enumerate() {
        for field in ["name", "image"] {
            if container[field].as_str().is_none_or(str::is_empty) {
                let field = format!("spec.template.spec.containers[{at}].{field}");
                return invalid(&field, "Required value");
            }
        }
    }
    Ok(())
}
