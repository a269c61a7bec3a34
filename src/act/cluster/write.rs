//! One attempt to write: what is the same for every kind of target.
//!
//! The baseline is read, consent, owners and epochs are asked, and the image is written under our intent, only
//! to the object as it was read.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, Error, ResourceExt,
    api::{ApiResource, Patch, PatchParams},
    core::{DynamicObject, Status as ApiStatus},
};
use serde_json::{Value, json};

use super::{
    MANAGER, annotation,
    connection::Link,
    failure, fields,
    kind::{self, Busy, Edit, Kind, Reference, Seen},
    view,
};
use crate::{
    act::{Found, WriteError},
    decide::{
        command::Write,
        event::{Status, TargetState},
    },
    model::ring::Artifact,
};

pub(super) mod promote;

/// How often an object that changes under us is read again within one attempt.
const RACES: usize = 5;

/// Makes one attempt to write.
pub(super) async fn write(link: &Link, write: &Write, epoch: u64) -> Result<Found, WriteError> {
    let kind = kind::of(&write.target.kind)
        .ok_or_else(|| WriteError::Refused(kind::stranger(&write.target)))?;
    let client = link.client().await.map_err(WriteError::Unreachable)?;
    let attempt = Attempt { link, client, write, epoch, kind: &*kind };
    for _ in 0..RACES {
        if let Some(found) = attempt.once().await? {
            return Ok(found);
        }
    }
    let name = &write.target.name;
    Err(WriteError::Unreachable(format!("{name} was changed by others {RACES} times in a row")))
}

struct Attempt<'a> {
    link: &'a Link,
    client: Client,
    write: &'a Write,
    epoch: u64,
    kind: &'a dyn Kind,
}

impl Attempt<'_> {
    /// What there is of the target, and what is to be judged about it.
    async fn look(&self) -> Result<(Reference, Seen, Request<'_>), WriteError> {
        let (write, kind) = (self.write, self.kind);
        let named = Reference { resource: kind.resource(), name: write.target.name.clone() };
        let Some(subject) = self.get(&named).await? else {
            return Err(refuse(write, &named, "does not exist"));
        };
        let other = match kind.carrier(&subject).map_err(|why| refuse(write, &named, why))? {
            Some(reference) => {
                let other = self.get(&reference).await?;
                Some((other.ok_or_else(|| refuse(write, &reference, "does not exist"))?, reference))
            }
            None => None,
        };
        let (other, carrier) = match other {
            Some((other, reference)) => (Some(other), reference),
            None => (None, named.clone()),
        };
        let context = self.link.context();
        let request = Request { write, epoch: self.epoch, context, kind, carrier };
        Ok((named, Seen { subject, other }, request))
    }

    /// What was found, or nothing where the object changed in between.
    async fn once(&self) -> Result<Option<Found>, WriteError> {
        let (write, kind) = (self.write, self.kind);
        let (named, seen, request) = self.look().await?;
        let needed = request.is_needed(&seen)?;
        if needed && let Some(busy) = kind.busy(&seen) {
            return Err(self.make_room(&named, &seen.subject, busy).await);
        }
        let found = self.baseline(&seen).await;
        if needed {
            tracing::info!(
                key = %write.key,
                generation = seen.carrier().metadata.generation,
                from = kind.image(seen.carrier()).ok().map(|image| image.0),
                to = %write.artifact,
                "writing"
            );
            let api = self.api(&request.carrier.resource);
            match request.apply(&api, &seen, found.as_ref()).await {
                Ok(()) => {}
                Err(Failed::Refused(why)) => return Err(why),
                Err(Failed::Api(Error::Api(answer))) if failure::is_race(&answer) => {
                    return Ok(None);
                }
                Err(Failed::Api(Error::Api(answer))) if answer.code == 409 => {
                    return Err(request.owned_by_others(&failure::owners(&answer)));
                }
                Err(Failed::Api(error)) => {
                    return Err(self.fail(&error, "patch", &request.carrier.resource).await);
                }
            }
        }
        // Also where the write is there already: whoever made it may have died before this.
        if let Some(status) = kind.nudge(&seen, &write.artifact) {
            let patch = Patch::Merge(status);
            let api = self.api(&named.resource);
            let patched = api.patch_status(&named.name, &PatchParams::default(), &patch).await;
            if let Err(error) = patched {
                return Err(self.fail(&error, "patch of status", &named.resource).await);
            }
        }
        Ok(Some(found))
    }

    /// Ends what is under way, if it is ours, and says that there is no writing until then.
    async fn make_room(
        &self,
        named: &Reference,
        subject: &DynamicObject,
        busy: Busy,
    ) -> WriteError {
        let Busy { why, clear } = busy;
        if let Some(mut patch) = clear {
            // Only what was looked at: another may have begun.
            patch["metadata"] = json!({"resourceVersion": subject.metadata.resource_version});
            let ours =
                PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
            let (api, patch) = (self.api(&named.resource), Patch::Merge(patch));
            match api.patch(&named.name, &ours, &patch).await {
                Ok(_) => {}
                Err(Error::Api(answer)) if failure::is_race(&answer) => {}
                Err(error) => return self.fail(&error, "patch", &named.resource).await,
            }
        }
        let namespace = &self.write.target.namespace;
        WriteError::Unreachable(format!(
            "{} {namespace}/{}: {why}",
            named.resource.kind, named.name
        ))
    }

    fn api(&self, resource: &ApiResource) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.write.target.namespace, resource)
    }

    async fn get(&self, reference: &Reference) -> Result<Option<DynamicObject>, WriteError> {
        match self.api(&reference.resource).get_opt(&reference.name).await {
            Ok(object) => Ok(object),
            Err(error) => Err(self.fail(&error, "get", &reference.resource).await),
        }
    }

    /// What ran there, healthy and put there by its owner: read now where ringward never wrote, and otherwise
    /// as the write that is there has noted it.
    async fn baseline(&self, seen: &Seen) -> Found {
        let carrier = seen.carrier();
        if fields::annotation(carrier, annotation::INTENT).is_some() {
            let image = fields::annotation(carrier, annotation::BEFORE)?;
            let image = Some(Artifact(image.into()));
            let status = Status::Succeeded;
            return Some(TargetState { status, image, ..TargetState::unknown("") });
        }
        let namespace = &self.write.target.namespace;
        let pods: Vec<Pod> = match kind::asks_pods(self.kind, seen) {
            true => view::pods(self.link, namespace, self.kind, seen).await.ok()?,
            false => Vec::new(),
        };
        let state = kind::read(self.kind, seen, &pods);
        (state.status == Status::Succeeded).then_some(state)
    }

    async fn fail(&self, error: &Error, verb: &str, resource: &ApiResource) -> WriteError {
        if failure::is_stranger(error) {
            self.link.forget().await;
        }
        let ApiResource { plural, group, .. } = resource;
        let namespace = &self.write.target.namespace;
        failure::of_write(error, verb, &format!("{plural}.{group} in namespace {namespace}"))
    }
}

/// Why a patch was not made.
enum Failed {
    Api(Error),
    Refused(WriteError),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Failed::Api(error)
    }
}

fn refuse(write: &Write, object: &Reference, why: impl std::fmt::Display) -> WriteError {
    let (kind, namespace) = (&object.resource.kind, &write.target.namespace);
    WriteError::Refused(format!("{kind} {namespace}/{} {why}", object.name))
}

/// A write, with all that its judgement needs.
struct Request<'a> {
    write: &'a Write,
    epoch: u64,
    context: &'a str,
    kind: &'a dyn Kind,
    /// The object that is written to.
    carrier: Reference,
}

impl Request<'_> {
    /// Whether there is anything to write, or why it must not be written.
    fn is_needed(&self, seen: &Seen) -> Result<bool, WriteError> {
        let Write { key, artifact, .. } = self.write;
        let carrier = seen.carrier();
        self.may_touch(carrier)?;
        let image = self.kind.image(carrier).map_err(|why| self.refuse(why))?;
        if let Some(why) = self.kind.refuses(seen, artifact) {
            return Err(self.refuse(why));
        }
        let written = fields::annotation(carrier, annotation::INTENT) == Some(key.as_str());
        Ok(!(written && &image == artifact))
    }

    /// Whether its owner has consented, and no newer writer has been there.
    fn may_touch(&self, carrier: &DynamicObject) -> Result<(), WriteError> {
        let release = &self.write.release;
        if carrier.metadata.deletion_timestamp.is_some() {
            return Err(self.refuse("is being deleted".into()));
        }
        let plan = release.plan.as_str();
        match fields::annotation(carrier, annotation::MANAGED_BY) {
            Some(consented) if consented == plan => {}
            Some(other) => {
                let cure = self.annotate("--overwrite ", annotation::MANAGED_BY, plan);
                return Err(self.refuse(format!(
                    "is managed by plan `{other}`, not by `{plan}`; if that is over: {cure}"
                )));
            }
            None => {
                let cure = self.annotate("", annotation::MANAGED_BY, plan);
                return Err(self.refuse(format!("has not consented to plan `{plan}`; run: {cure}")));
            }
        }
        if let Some(text) = fields::annotation(carrier, annotation::EPOCH) {
            let Ok(theirs) = text.parse::<u64>() else {
                return Err(self.refuse(format!(
                    "carries `{}: {text}`, which is no number; remove that annotation once no other \
                     ringward writes to it",
                    annotation::EPOCH
                )));
            };
            if theirs > self.epoch {
                return Err(self.refuse(format!(
                    "was written by a newer writer: it carries epoch {theirs}, this writer's is {}; \
                     stop this process, or the newer one. If that one's data directory is lost, hand \
                     what runs there over as known good: {}",
                    self.epoch,
                    self.hand_over()
                )));
            }
        }
        Ok(())
    }

    /// Writes our fields; never by force, unless the object's owner has let us take the image once.
    async fn apply(
        &self,
        api: &Api<DynamicObject>,
        seen: &Seen,
        found: Option<&TargetState>,
    ) -> Result<(), Failed> {
        let (name, carrier) = (&self.carrier.name, seen.carrier());
        match self.kind.edit(seen, &self.write.artifact, self.write.key.as_str()) {
            Edit::Apply { fields, image } => {
                let patch = Patch::Apply(self.fields(seen, found, false, fields.clone()));
                match api.patch(name, &PatchParams::apply(MANAGER), &patch).await {
                    Err(Error::Api(answer)) if lets_take_over(carrier) && only(image, &answer) => {
                        let patch = Patch::Apply(self.fields(seen, found, true, fields));
                        api.patch(name, &PatchParams::apply(MANAGER).force(), &patch).await?;
                    }
                    answer => drop(answer?),
                }
            }
            Edit::Merge { fields, paths } => {
                let owners = self.owners(carrier, &fields, &paths);
                let take_over = !owners.is_empty();
                if take_over && !lets_take_over(carrier) {
                    return Err(Failed::Refused(self.owned_by_others(&owners)));
                }
                let mut patch = self.fields(seen, found, take_over, fields);
                // What is applied no longer goes by itself; what is merged has to be taken out.
                for name in [annotation::BEFORE, annotation::DIGEST, annotation::FENCE] {
                    let annotations = &mut patch["metadata"]["annotations"];
                    if annotations[name].is_null() && fields::annotation(carrier, name).is_some() {
                        annotations[name] = Value::Null;
                    }
                }
                let ours =
                    PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
                api.patch(name, &ours, &Patch::Merge(patch)).await?;
            }
        }
        Ok(())
    }

    /// Who else owns what a merge would change.
    fn owners(
        &self,
        carrier: &DynamicObject,
        fields: &Value,
        paths: &[Vec<String>],
    ) -> Vec<failure::Owner> {
        let Ok(image) = self.kind.image(carrier) else { return Vec::new() };
        if image == self.write.artifact {
            return Vec::new();
        }
        // A file of flags is somebody's as a whole, and has others' flags in it: who changes those has taken
        // nothing back. So it is with whatever else of a flag stands as it was written.
        if fields::annotation(carrier, annotation::SERVES) == Some(image.0.as_str()) {
            return Vec::new();
        }
        let written = fields::annotation(carrier, annotation::DIGEST);
        let stands = written.is_some() && written == image.digest();
        let mut owners = Vec::new();
        for path in paths {
            // What stays as it is nobody has to give up; it stays its owner's, too.
            if let (Some(live), Some(patch)) = (at(&carrier.data, path), at(fields, path))
                && is_there(live, patch)
            {
                continue;
            }
            let steps: Vec<&str> = path.iter().map(String::as_str).collect();
            let managers = fields::owners(carrier, &steps);
            // An older API server leaves a list to whom it was taken from, too (seen with 1.20). As long as it
            // names what we have written there, nobody has taken it back.
            if stands && managers.contains(&MANAGER) {
                continue;
            }
            for manager in managers.into_iter().filter(|manager| *manager != MANAGER) {
                let (field, manager) = (format!(".{}", path.join(".")), manager.to_owned());
                owners.push(failure::Owner { field, manager });
            }
        }
        owners
    }

    /// The fields that we own. With the version that was read: what changed since then is a conflict,
    /// and what was deleted since then is not created anew.
    fn fields(
        &self,
        seen: &Seen,
        found: Option<&TargetState>,
        take_over: bool,
        fields: Value,
    ) -> Value {
        let Write { key, release, target, artifact, .. } = self.write;
        let before = seen.carrier();
        let mut annotations = BTreeMap::from([
            (annotation::RELEASE, release.to_string()),
            (annotation::INTENT, key.to_string()),
            (annotation::EPOCH, self.epoch.to_string()),
        ]);
        if target.kind.is_flag() {
            annotations.insert(annotation::SERVES, artifact.to_string());
        }
        if let Some(digest) = artifact.digest() {
            annotations.insert(annotation::DIGEST, digest.into());
        }
        if let Some(fence) = self.kind.fence(seen, artifact) {
            annotations.insert(annotation::FENCE, fence);
        }
        let earlier = before.annotations().get(annotation::INTENT);
        if let Some(image) = found.and_then(|found| found.image.as_ref())
            && earlier.is_none_or(|earlier| earlier == key.as_str())
        {
            annotations.insert(annotation::BEFORE, image.to_string());
        }
        if take_over {
            // Ours from now on, and no longer a permission: what takes the image from us again is a
            // conflict again.
            annotations.insert(annotation::TAKE_OVER, "taken".into());
        }
        let ApiResource { api_version, kind, .. } = &self.carrier.resource;
        let mut object = json!({
            "apiVersion": api_version,
            "kind": kind,
            "metadata": {
                "name": self.carrier.name,
                "namespace": target.namespace,
                "uid": before.metadata.uid,
                "resourceVersion": before.metadata.resource_version,
                "annotations": annotations,
            },
        });
        add(&mut object, fields);
        object
    }

    fn owned_by_others(&self, owners: &[failure::Owner]) -> WriteError {
        let fields: Vec<String> = owners
            .iter()
            .map(|owner| format!("{} is owned by field manager `{}`", owner.field, owner.manager))
            .collect();
        let what = fields.join(", ");
        if owners.iter().any(|owner| owner.field.starts_with(".metadata.")) || owners.is_empty() {
            return self.refuse(format!("cannot be applied: {what}; make it give that field up"));
        }
        let cure = self.annotate("", annotation::TAKE_OVER, "image");
        self.refuse(format!(
            "cannot be applied: {what}; take the image out of what that manager applies, and let \
             ringward take the field over once: {cure}"
        ))
    }

    /// What makes a target that carries another ringward's marks one that ringward never wrote to.
    fn hand_over(&self) -> String {
        format!(
            "kubectl --context {} --namespace {} annotate {} {}- {}- {}-",
            self.context,
            self.write.target.namespace,
            self.carrier.kubectl(),
            annotation::INTENT,
            annotation::EPOCH,
            annotation::BEFORE
        )
    }

    fn annotate(&self, option: &str, annotation: &str, value: &str) -> String {
        format!(
            "kubectl --context {} --namespace {} annotate {option}{} {annotation}={value}",
            self.context,
            self.write.target.namespace,
            self.carrier.kubectl(),
        )
    }

    fn refuse(&self, why: String) -> WriteError {
        refuse(self.write, &self.carrier, why)
    }
}

/// Adds the fields of `more`; objects are merged.
fn add(object: &mut Value, more: Value) {
    match (object, more) {
        (Value::Object(object), Value::Object(more)) => {
            for (name, value) in more {
                add(object.entry(name).or_insert(Value::Null), value);
            }
        }
        (object, more) => *object = more,
    }
}

fn at<'a>(value: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, step| value.get(step.as_str()))
}

/// Whether a merge patch leaves a value as it is.
fn is_there(live: &Value, patch: &Value) -> bool {
    match (live, patch) {
        (Value::Object(live), Value::Object(patch)) => patch
            .iter()
            .all(|(name, patch)| live.get(name).is_some_and(|live| is_there(live, patch))),
        (live, patch) => live == patch,
    }
}

fn lets_take_over(object: &DynamicObject) -> bool {
    fields::annotation(object, annotation::TAKE_OVER) == Some("image")
}

/// Whether others own the image, and nothing else of what we apply.
fn only((begin, end): (&str, &str), answer: &ApiStatus) -> bool {
    let owners = failure::owners(answer);
    let image = |field: &str| field.starts_with(begin) && field.ends_with(end);
    !owners.is_empty() && owners.iter().all(|owner| image(&owner.field))
}

#[cfg(test)]
mod tests;
