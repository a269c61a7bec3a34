//! `argoproj.io/v1alpha1` Application: what a source of it names is written together with the operation that
//! syncs it.
//!
//! Its resource has no status subresource, so that its generation says nothing. A write is fenced by the
//! operation's own words: Argo CD repeats the information that a request carries in the state of the operation.

use jiff::Timestamp;
use kube::core::{ApiResource, DynamicObject};
use serde_json::{Map, Value, json};

use super::{
    Busy, Edit, Kind, Progress, Seen, Workers,
    fields::{self, Condition},
    kustomize, resource, values,
};
use crate::{
    act::cluster::{MANAGER, annotation},
    decide::event::Status,
    model::ring::{ArgoImage, Artifact},
};

/// Asks Argo CD to look at the Application now; it takes the annotation away once it has.
const REFRESH: &str = "argocd.argoproj.io/refresh";
/// What a sync window leaves in the message of an operation that it keeps.
const BLOCKED: &str = "blocked by sync window";

/// What a source of an Application names.
pub(super) struct ArgoApplication {
    pub(super) image: ArgoImage,
    /// The name of the source among several, or its place from 1.
    pub(super) source: Option<String>,
}

impl Kind for ArgoApplication {
    fn resource(&self) -> ApiResource {
        resource("argoproj.io", "v1alpha1", "Application", "applications")
    }

    fn refuses(&self, seen: &Seen, artifact: &Artifact) -> Option<String> {
        let owners = seen.subject.metadata.owner_references.iter().flatten();
        if let Some(set) = owners.into_iter().find(|owner| owner.kind == "ApplicationSet") {
            return Some(format!(
                "belongs to ApplicationSet `{}`, which writes it anew: give it an Application of its own",
                set.name
            ));
        }
        match &self.image {
            ArgoImage::Values(values) => values::refuses(values, artifact),
            ArgoImage::Kustomize(_) => None,
            ArgoImage::Revision => {
                let source = self.find(&seen.subject).ok()?.1;
                let (repository, wanted) = (repository(source), artifact.0.rsplit_once('@'));
                (wanted.map(|(of, _)| of) != Some(repository)).then(|| {
                    format!(
                        "takes a revision of {repository}, and {artifact} is none: release \
                             {repository}@sha256:..."
                    )
                })
            }
        }
    }

    fn busy(&self, seen: &Seen) -> Option<Busy> {
        let application = &seen.subject;
        let phase = fields::text(application, "/status/operationState/phase").unwrap_or_default();
        let runs = matches!(phase, "Running" | "Terminating");
        let requested = application.data.get("operation").is_some_and(Value::is_object);
        if !runs && !requested {
            return None;
        }
        let operation = match runs {
            true => application.data.pointer("/status/operationState/operation"),
            false => application.data.get("operation"),
        };
        let by = operation.and_then(id).is_some();
        // What we have asked for ourselves is not waited for: it may wait for what it broke.
        let clear = (by && phase == "Running")
            .then(|| json!({"status": {"operationState": {"phase": "Terminating"}}}));
        let name = operation.and_then(|operation| operation["initiatedBy"]["username"].as_str());
        let whose = match (by, name) {
            (true, _) => "an earlier one of ringward's".to_owned(),
            (false, Some(name)) if !name.is_empty() => format!("one of {name}'s"),
            (false, _) => "an automated one".to_owned(),
        };
        let said = match runs {
            true => fields::text(application, "/status/operationState/message").unwrap_or_default(),
            false => "it has yet to begin",
        };
        Some(Busy { why: format!("an operation runs, {whose}: {said}"), clear })
    }

    fn image(&self, application: &DynamicObject) -> Result<Artifact, String> {
        let (_, source) = self.find(application)?;
        match &self.image {
            ArgoImage::Revision => {
                let revision = source["targetRevision"].as_str().filter(|text| !text.is_empty());
                let revision =
                    revision.ok_or("names no `targetRevision`: add what runs there now")?;
                Ok(Artifact(format!("{}@{revision}", repository(source))))
            }
            ArgoImage::Kustomize(name) => {
                let own = images(source).find(|one| kustomize::name(one) == name);
                own.and_then(kustomize::parse).ok_or_else(|| {
                    format!(
                        "has no `{name}` in `kustomize.images` of its source: add what runs there now, as \
                         in {name}@sha256:..."
                    )
                })
            }
            ArgoImage::Values(values) => {
                let value = |path: &str| {
                    let own = parameters(source).iter().find(|one| one["name"] == path);
                    let text = own.and_then(|own| own["value"].as_str());
                    text.filter(|text| !text.is_empty()).ok_or_else(|| {
                        format!("has no `{path}` in `helm.parameters` of its source: add what runs there now")
                    })
                };
                values::read(values, value)
            }
        }
    }

    fn edit(&self, seen: &Seen, artifact: &Artifact, token: &str) -> Edit {
        let application = &seen.subject;
        let mut source = Value::Null;
        let mut at = None;
        if let Ok((place, found)) = self.find(application) {
            (at, source) = (place, found.clone());
        }
        let path: &[&str] = match &self.image {
            ArgoImage::Revision => {
                let revision = artifact.0.rsplit_once('@').map(|(_, revision)| revision);
                source["targetRevision"] = json!(revision);
                &["targetRevision"]
            }
            ArgoImage::Kustomize(name) => {
                let ours = kustomize::text(name, artifact);
                let list = images(&source);
                let list: Vec<&str> = list
                    .map(|one| if kustomize::name(one) == name { ours.as_str() } else { one })
                    .collect();
                source["kustomize"]["images"] = json!(list);
                &["kustomize", "images"]
            }
            ArgoImage::Values(values) => {
                let mut list = parameters(&source).to_vec();
                for (name, value) in values::of(values, artifact) {
                    for own in list.iter_mut().filter(|one| one["name"] == name) {
                        own["value"] = json!(value);
                    }
                }
                source["helm"]["parameters"] = json!(list);
                &["helm", "parameters"]
            }
        };
        let steps =
            |steps: &[&str]| steps.iter().map(|step| (*step).to_owned()).collect::<Vec<_>>();
        let (spec, paths) = match at {
            // A list has no keys here: it is written as it was read, but for one field.
            Some(place) => {
                let mut all = sources(application).to_vec();
                if let Some(own) = all.get_mut(place) {
                    *own = source;
                }
                (json!({"sources": all}), vec![steps(&["spec", "sources"])])
            }
            None => {
                let changed = path
                    .iter()
                    .rev()
                    .fold(at_path(&source, path).clone(), |value, step| json!({*step: value}));
                let whole = [&["spec", "source"], path].concat();
                let above = (2..=whole.len()).filter_map(|n| whole.get(..n)).map(steps).collect();
                (json!({"source": changed}), above)
            }
        };
        let fields = json!({
            "metadata": {"annotations": {REFRESH: "normal"}},
            "spec": spec,
            "operation": operation(application, token),
        });
        Edit::Merge { fields, paths }
    }

    fn progress(&self, seen: &Seen) -> Progress {
        let application = &seen.subject;
        if let Some(why) = fields::deleted(application, "Application") {
            return Progress::unknown(why);
        }
        let text = |pointer: &str| fields::text(application, pointer).unwrap_or_default();
        let Some(run) = fields::annotation(application, annotation::INTENT) else {
            // The status is of the source that it was compared with, which may be an older one.
            if !self.is_repeated(application, "/status/sync/comparedTo") {
                return Progress::Other(Status::Pending);
            }
            return match text("/status/sync/status") {
                "Synced" => health(application),
                other => Progress::progressing(format!(
                    "its sync status is `{other}`: what it names is not what was synced"
                )),
            };
        };
        let state = application.data.pointer("/status/operationState");
        let ran = state.and_then(|state| id(&state["operation"]));
        if ran != Some(run) {
            return self.others(application, run);
        }
        let message = text("/status/operationState/message");
        match text("/status/operationState/phase") {
            "Succeeded" => self.succeeded(application),
            "Failed" | "Error" => Progress::Failed(format!("its sync failed: {message}")),
            "Running" if message.contains(BLOCKED) => Progress::Other(Status::Paused),
            "Running" | "Terminating" => Progress::NotReady(format!("it syncs: {message}")),
            other => Progress::unknown(format!(
                "its operation's phase `{other}` is none that ringward knows"
            )),
        }
    }

    /// The newest entry of its history: another sync of the same is another deploy.
    fn revision(&self, seen: &Seen) -> Option<String> {
        let history = seen.subject.data.pointer("/status/history").and_then(Value::as_array)?;
        Some(history.last()?["id"].as_i64()?.to_string())
    }

    fn workers(&self, _: &Seen) -> Option<Workers> {
        None
    }
}

impl ArgoApplication {
    /// The source, with its place where there are several.
    fn find<'a>(
        &self,
        application: &'a DynamicObject,
    ) -> Result<(Option<usize>, &'a Value), String> {
        let several = sources(application);
        if several.is_empty() {
            let one = application.data.pointer("/spec/source").filter(|source| source.is_object());
            return one.map(|one| (None, one)).ok_or_else(|| "has no source".into());
        }
        let Some(name) = &self.source else {
            return Err(format!(
                "has {} sources: say by `source` which one names the image, by its name or its place from 1",
                several.len()
            ));
        };
        let place = several.iter().position(|one| one["name"] == name.as_str());
        let place = place.or_else(|| name.parse::<usize>().ok()?.checked_sub(1));
        let found = place.and_then(|place| Some((Some(place), several.get(place)?)));
        found.ok_or_else(|| format!("has no source `{name}` among its {}", several.len()))
    }

    /// Whether the source, as it is, is repeated at a pointer of the status.
    fn is_repeated(&self, application: &DynamicObject, pointer: &str) -> bool {
        let Ok((place, source)) = self.find(application) else { return false };
        let Some(there) = application.data.pointer(pointer) else { return false };
        let said = match place {
            Some(place) => there["sources"].get(place),
            None => there.get("source"),
        };
        said.is_some_and(|said| plain(said) == plain(source))
    }

    /// Our operation has ended well: what Argo CD has seen of it since.
    fn succeeded(&self, application: &DynamicObject) -> Progress {
        if let Some(why) = self.other_revision(application) {
            return Progress::unknown(why);
        }
        let error = ["ComparisonError", "InvalidSpecError"]
            .iter()
            .find_map(|kind| Condition::of(application, kind));
        if let Some(error) = error {
            return Progress::unknown(format!("Argo CD cannot look at it: {}", error.words()));
        }
        let at = |field: &str| fields::text(application, field)?.parse::<Timestamp>().ok();
        let (looked, ended) = (at("/status/reconciledAt"), at("/status/operationState/finishedAt"));
        if looked.is_none() || looked < ended {
            return Progress::progressing("synced, and its health was not looked at since");
        }
        health(application)
    }

    /// What was synced, where it is not the revision that is wanted. A branch or a tag is no one revision.
    fn other_revision(&self, application: &DynamicObject) -> Option<String> {
        let ArgoImage::Revision = self.image else { return None };
        let (place, source) = self.find(application).ok()?;
        let wanted = source["targetRevision"].as_str()?;
        let hex = wanted.strip_prefix("sha256:").unwrap_or(wanted);
        let fixed = hex.len() >= 40 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        let pointer = match place {
            Some(place) => format!("/status/operationState/syncResult/revisions/{place}"),
            None => "/status/operationState/syncResult/revision".into(),
        };
        let synced = fields::text(application, &pointer).unwrap_or_default();
        (fixed && synced != wanted).then(|| format!("it synced revision `{synced}`, not {wanted}"))
    }

    /// Our operation is not the one whose state is told: it has yet to begin, or another came after it.
    fn others(&self, application: &DynamicObject, run: &str) -> Progress {
        if application.data.get("operation").and_then(id) == Some(run) {
            return Progress::Other(Status::Pending);
        }
        let text = |pointer: &str| fields::text(application, pointer).unwrap_or_default();
        let managers = application.metadata.managed_fields.iter().flatten();
        let ours = managers.filter(|entry| entry.manager.as_deref() == Some(MANAGER));
        let written = ours.filter_map(|entry| entry.time.as_ref().map(|time| time.0)).max();
        let began = text("/status/operationState/startedAt").parse::<Timestamp>().ok();
        if !matches!((began, written), (Some(began), Some(written)) if began > written) {
            return Progress::Other(Status::Pending);
        }
        // The same source, with what was written: whoever synced it has synced that.
        let same = self.is_repeated(application, "/status/operationState/syncResult");
        let message = text("/status/operationState/message");
        match text("/status/operationState/phase") {
            "Succeeded" if same => self.succeeded(application),
            "Running" | "Terminating" => {
                Progress::progressing(format!("another operation came after: {message}"))
            }
            phase => Progress::unknown(format!(
                "another operation came after, and is {phase}: {message}"
            )),
        }
    }
}

/// What Argo CD says of the health of all that it has applied.
fn health(application: &DynamicObject) -> Progress {
    let message = fields::text(application, "/status/health/message").unwrap_or_default();
    match fields::text(application, "/status/health/status").unwrap_or_default() {
        "Healthy" => Progress::AllReady,
        "Suspended" => Progress::Other(Status::Paused),
        "Progressing" | "Missing" => {
            Progress::NotReady(format!("synced, and not healthy yet: {message}"))
        }
        // What is degraded can recover; the ring's own deadline says for how long.
        "Degraded" => Progress::NotReady(format!("degraded: {message}")),
        "" | "Unknown" => Progress::unknown(format!("Argo CD does not know its health: {message}")),
        other => Progress::unknown(format!("its health `{other}` is none that ringward knows")),
    }
}

/// A sync as a person would ask for it, so that sync windows count, by the Application's own options.
fn operation(application: &DynamicObject, token: &str) -> Value {
    let policy = |path: &str| application.data.pointer(&format!("/spec/syncPolicy/{path}"));
    let mut sync = json!({"prune": policy("automated/prune") == Some(&json!(true))});
    if let Some(options) = policy("syncOptions") {
        sync["syncOptions"] = options.clone();
    }
    let mut operation = json!({
        "initiatedBy": {"username": MANAGER, "automated": false},
        "info": [{"name": annotation::INTENT, "value": token}],
        "sync": sync,
    });
    if let Some(retry) = policy("retry") {
        operation["retry"] = retry.clone();
    }
    operation
}

/// The intent that an operation was asked for with.
fn id(operation: &Value) -> Option<&str> {
    let info = operation["info"].as_array()?;
    info.iter().find(|one| one["name"] == annotation::INTENT)?["value"].as_str()
}

fn sources(application: &DynamicObject) -> &[Value] {
    list(application.data.pointer("/spec/sources"))
}

fn images(source: &Value) -> impl Iterator<Item = &str> {
    list(source.pointer("/kustomize/images")).iter().filter_map(Value::as_str)
}

fn parameters(source: &Value) -> &[Value] {
    list(source.pointer("/helm/parameters"))
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// A source without what says nothing: of that Argo CD leaves out some and puts in some as it repeats one.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (name.clone(), plain(value)));
            let fields: Map<String, Value> = fields.filter(|(_, value)| !value.is_null()).collect();
            if fields.is_empty() { Value::Null } else { Value::Object(fields) }
        }
        Value::Array(items) if items.is_empty() => Value::Null,
        Value::Array(items) => Value::Array(items.iter().map(plain).collect()),
        Value::String(text) if text.is_empty() => Value::Null,
        Value::Bool(false) => Value::Null,
        Value::Null | Value::Bool(true) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn at_path<'a>(value: &'a Value, path: &[&str]) -> &'a Value {
    path.iter().fold(value, |value, step| &value[*step])
}

/// Where a source is from; an OCI registry as images name it.
fn repository(source: &Value) -> &str {
    let url = source["repoURL"].as_str().unwrap_or_default();
    url.strip_prefix("oci://").unwrap_or(url)
}

#[cfg(test)]
mod tests;
