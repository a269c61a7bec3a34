//! `apps/v1` Deployment: the image of one container, by server-side apply.

mod pods;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{StreamExt, stream, stream::BoxStream};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api, Error, ResourceExt,
    api::{ListParams, Patch, PatchParams},
    core::{Selector, Status as ApiStatus},
};
use serde_json::json;
use tokio::time::timeout;

use super::{
    MANAGER, annotation,
    connection::Link,
    failure,
    sight::{Sight, Sighting},
    status,
};
use crate::{
    act::{Found, WriteError},
    decide::{
        command::Write,
        event::{Status, TargetState},
        part::Workload,
    },
    model::ring::{Artifact, Target},
};

/// How often an object that changes under us is read again within one attempt.
const RACES: usize = 5;
/// How long a list of pods may take.
const PODS: Duration = Duration::from_secs(10);
/// The first and the longest pause before pods are looked at again that alone are waited for.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Makes one attempt to write.
pub(super) async fn write(link: &Link, write: &Write, epoch: u64) -> Result<Found, WriteError> {
    let target = &write.target;
    let resource = format!("deployments.apps in namespace {}", target.namespace);
    let client = link.client().await.map_err(WriteError::Unreachable)?;
    let api: Api<Deployment> = Api::namespaced(client, &target.namespace);
    for _ in 0..RACES {
        let read = match api.get_opt(&target.name).await {
            Ok(read) => read,
            Err(error) => return Err(fail(link, &error, "get", &resource).await),
        };
        let request = Request { write, epoch, context: link.context() };
        let Some(before) = read else { return Err(request.refuse("does not exist".into())) };
        let needed = request.is_needed(&before)?;
        let found = baseline(link, &before, target).await;
        if !needed {
            return Ok(found);
        }
        tracing::info!(
            key = %write.key,
            generation = before.metadata.generation,
            from = status::image(&before, &target.container).map(|image| image.0),
            to = %write.artifact,
            "writing"
        );
        match request.apply(&api, &before, found.as_ref()).await {
            Ok(()) => return Ok(found),
            Err(Error::Api(answer)) if failure::is_race(&answer) => {}
            Err(Error::Api(answer)) if answer.code == 409 => {
                return Err(request.owned_by_others(&answer));
            }
            Err(error) => return Err(fail(link, &error, "patch", &resource).await),
        }
    }
    let name = &target.name;
    Err(WriteError::Unreachable(format!("{name} was changed by others {RACES} times in a row")))
}

/// What ran there, healthy and put there by its owner: read now where ringward never wrote, and otherwise
/// as the write that is there has noted it.
async fn baseline(link: &Link, before: &Deployment, target: &Target) -> Found {
    if before.annotations().contains_key(annotation::INTENT) {
        let image = Artifact(before.annotations().get(annotation::BEFORE)?.clone());
        let status = Status::Succeeded;
        return Some(TargetState {
            status,
            image: Some(image),
            intent: None,
            revision: None,
            ready_since: None,
        });
    }
    let pods = match status::asks_pods(before) {
        true => pods(link, &target.namespace, before).await.ok()?,
        false => Vec::new(),
    };
    let state = status::read(before, &target.container, &pods);
    (state.status == Status::Succeeded).then_some(state)
}

async fn fail(link: &Link, error: &Error, verb: &str, resource: &str) -> WriteError {
    if failure::is_stranger(error) {
        link.forget().await;
    }
    failure::of_write(error, verb, resource)
}

/// A write, with all that its judgement needs.
struct Request<'a> {
    write: &'a Write,
    epoch: u64,
    context: &'a str,
}

impl Request<'_> {
    /// Whether there is anything to write, or why it must not be written.
    fn is_needed(&self, before: &Deployment) -> Result<bool, WriteError> {
        let Write { key, release, target, artifact, .. } = self.write;
        let nothing = BTreeMap::new();
        let annotations = before.metadata.annotations.as_ref().unwrap_or(&nothing);
        if before.metadata.deletion_timestamp.is_some() {
            return Err(self.refuse("is being deleted".into()));
        }
        let plan = release.plan.as_str();
        match annotations.get(annotation::MANAGED_BY).map(String::as_str) {
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
        if let Some(text) = annotations.get(annotation::EPOCH) {
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
        let Some(image) = status::image(before, &target.container) else {
            let spec = before.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
            let names: Vec<&str> =
                spec.iter().flat_map(|spec| &spec.containers).map(|c| c.name.as_str()).collect();
            return Err(self.refuse(format!(
                "has no container `{}`; it has: {}",
                target.container,
                names.join(", ")
            )));
        };
        let written = annotations.get(annotation::INTENT).map(String::as_str) == Some(key.as_str());
        Ok(!(written && &image == artifact))
    }

    /// Applies our fields; never by force, unless the object's owner has let us take the image once.
    async fn apply(
        &self,
        api: &Api<Deployment>,
        before: &Deployment,
        found: Option<&TargetState>,
    ) -> kube::Result<()> {
        let name = &self.write.target.name;
        let patch = Patch::Apply(self.fields(before, found, false));
        match api.patch(name, &PatchParams::apply(MANAGER), &patch).await {
            Err(Error::Api(answer)) if lets_take_over(before) && only_image(&answer) => {
                let patch = Patch::Apply(self.fields(before, found, true));
                api.patch(name, &PatchParams::apply(MANAGER).force(), &patch).await.map(drop)
            }
            answer => answer.map(drop),
        }
    }

    /// The fields that we own. With the version that was read: what changed since then is a conflict,
    /// and what was deleted since then is not created anew.
    fn fields(
        &self,
        before: &Deployment,
        found: Option<&TargetState>,
        take_over: bool,
    ) -> serde_json::Value {
        let Write { key, release, target, artifact, .. } = self.write;
        let mut annotations = BTreeMap::from([
            (annotation::RELEASE, release.to_string()),
            (annotation::INTENT, key.to_string()),
            (annotation::EPOCH, self.epoch.to_string()),
        ]);
        if let Some(digest) = artifact.digest() {
            annotations.insert(annotation::DIGEST, digest.into());
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
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {
                "name": target.name,
                "namespace": target.namespace,
                "uid": before.metadata.uid,
                "resourceVersion": before.metadata.resource_version,
                "annotations": annotations,
            },
            "spec": {"template": {"spec": {"containers": [
                {"name": target.container, "image": artifact.0}
            ]}}},
        })
    }

    fn owned_by_others(&self, answer: &ApiStatus) -> WriteError {
        let owners = failure::owners(answer);
        let fields: Vec<String> = owners
            .iter()
            .map(|owner| format!("{} is owned by field manager `{}`", owner.field, owner.manager))
            .collect();
        let what = fields.join(", ");
        if !only_image(answer) {
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
        let Target { namespace, name, .. } = &self.write.target;
        format!(
            "kubectl --context {} --namespace {namespace} annotate deployment/{name} {}- {}- {}-",
            self.context,
            annotation::INTENT,
            annotation::EPOCH,
            annotation::BEFORE
        )
    }

    fn annotate(&self, option: &str, annotation: &str, value: &str) -> String {
        let Target { namespace, name, .. } = &self.write.target;
        format!(
            "kubectl --context {} --namespace {namespace} annotate {option}deployment/{name} \
             {annotation}={value}",
            self.context
        )
    }

    fn refuse(&self, why: String) -> WriteError {
        let Target { namespace, name, .. } = &self.write.target;
        WriteError::Refused(format!("Deployment {namespace}/{name} {why}"))
    }
}

fn lets_take_over(deployment: &Deployment) -> bool {
    deployment.annotations().get(annotation::TAKE_OVER).is_some_and(|what| what == "image")
}

/// Whether others own the image, and nothing else of what we apply.
fn only_image(answer: &ApiStatus) -> bool {
    let owners = failure::owners(answer);
    let image = |field: &str| {
        field.starts_with(".spec.template.spec.containers[") && field.ends_with("].image")
    };
    !owners.is_empty() && owners.iter().all(|owner| image(owner.field))
}

/// The target's states, each as it changes.
pub(super) fn watch(link: Arc<Link>, target: Target) -> BoxStream<'static, TargetState> {
    let sight = Sight::new(link.clone(), target.namespace.clone(), target.name.clone());
    let view = View { link, target, sight, seen: None, existed: false, again: None, said: None };
    stream::unfold(view, |mut view| async { Some((view.next().await, view)) }).boxed()
}

/// A Deployment as it is seen, with its pods.
///
/// Pods are listed, not watched: the Deployment changes whenever their number or readiness does. Only
/// where nothing but an image id is missing are they listed again after a pause.
struct View {
    link: Arc<Link>,
    target: Target,
    sight: Sight<Deployment>,
    seen: Option<Sighting<Deployment>>,
    existed: bool,
    /// The pause after which the pods are looked at again.
    again: Option<Duration>,
    said: Option<TargetState>,
}

impl View {
    async fn next(&mut self) -> TargetState {
        loop {
            let news = match self.again {
                Some(pause) => timeout(pause, self.sight.next()).await.ok(),
                None => Some(self.sight.next().await),
            };
            let pause = match &news {
                Some(_) => AGAIN.0,
                None => self.again.map_or(AGAIN.0, |pause| (pause * 2).min(AGAIN.1)),
            };
            if let Some(news) = news {
                self.seen = Some(news);
            }
            let (state, look_again) = self.assess().await;
            self.again = look_again.then_some(pause);
            if self.said.as_ref() != Some(&state) {
                self.said = Some(state.clone());
                return state;
            }
        }
    }

    /// The state that follows from what is seen, and whether pods alone may change it.
    async fn assess(&mut self) -> (TargetState, bool) {
        let Target { namespace, name, container, .. } = &self.target;
        let unknown = TargetState::unknown;
        let deployment = match &self.seen {
            Some(Sighting::Is(deployment)) => deployment,
            Some(Sighting::Lost(why)) => return (unknown(why.clone()), false),
            Some(Sighting::Gone) | None => {
                let what = if self.existed { "was deleted" } else { "does not exist" };
                return (unknown(format!("Deployment {namespace}/{name} {what}")), false);
            }
        };
        self.existed = true;
        if !status::asks_pods(deployment) {
            return (status::read(deployment, container, &[]), false);
        }
        match pods(&self.link, namespace, deployment).await {
            Ok(pods) => {
                let state = status::read(deployment, container, &pods);
                let look_again = status::waits_for_pods(deployment, &state);
                (state, look_again)
            }
            Err(why) => (unknown(format!("its pods cannot be listed: {why}")), true),
        }
    }
}

/// How its pods do now.
pub(super) async fn workload(link: &Link, target: &Target) -> Result<Workload, String> {
    let Target { namespace, name, container, .. } = target;
    let api: Api<Deployment> = Api::namespaced(link.client().await?, namespace);
    let deployment = match api.get_opt(name).await {
        Ok(Some(deployment)) => deployment,
        Ok(None) => return Err(format!("Deployment {namespace}/{name} does not exist")),
        Err(error) => {
            if failure::is_stranger(&error) {
                link.forget().await;
            }
            return Err(failure::words(&error));
        }
    };
    let pods = pods(link, namespace, &deployment).await;
    let pods = pods.map_err(|why| format!("its pods cannot be listed: {why}"))?;
    pods::read(&deployment, container, &pods)
}

/// The pods that the Deployment's selector finds.
async fn pods(link: &Link, namespace: &str, deployment: &Deployment) -> Result<Vec<Pod>, String> {
    let selector = deployment.spec.as_ref().map(|spec| spec.selector.clone()).unwrap_or_default();
    let selector: Selector =
        selector.try_into().map_err(|e| format!("the Deployment's selector: {e}"))?;
    let api: Api<Pod> = Api::namespaced(link.client().await?, namespace);
    let selected = ListParams::default().labels_from(&selector);
    match timeout(PODS, api.list(&selected)).await {
        Ok(Ok(list)) => Ok(list.items),
        Ok(Err(error)) => Err(failure::words(&error)),
        Err(_) => Err(format!("the API server did not answer within {PODS:?}")),
    }
}

#[cfg(test)]
mod tests;
