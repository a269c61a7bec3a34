//! A target as it is seen: its object, the one that names its image where that is another, and its pods.

use std::{future::pending, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, stream, stream::BoxStream};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::ListParams,
    core::{DynamicObject, Selector},
};
use tokio::time::{sleep, timeout};

use super::{
    connection::Link,
    informer::{Informers, Seeing, Sighting},
    kind::{self, Again, Kind, Probe, Reference, Seen},
    ofrep::Answered,
    pods,
};
use crate::{
    decide::{
        event::{Status, TargetState},
        part::Workload,
    },
    ids::IdempotencyKey,
    model::{ring::Target, time::Mono},
};

/// How long a list of pods may take, with its turn: whoever waits for it hears nothing else, and does not see.
const PODS: Duration = Duration::from_secs(15);
/// The first and the longest pause before pods are looked at again that alone are waited for.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// The pause before pods are looked at again that were all well: what somebody puts in their place by hand their
/// owner may not say, and a Canary never does.
const LATER: Duration = Duration::from_secs(60);

/// The target's states, each as it changes.
pub(super) fn watch(link: Arc<Link>, target: Target) -> BoxStream<'static, TargetState> {
    let Some(kind) = kind::of(&target.kind) else {
        let state = TargetState::unknown(kind::stranger(&target));
        return stream::once(async move { state }).chain(stream::pending()).boxed();
    };
    let subject = see(&link, &target, &kind.resource(), &target.name);
    let view = View {
        link,
        target,
        kind,
        subject,
        carrier: None,
        seen: None,
        existed: false,
        again: None,
        differs: None,
        said: None,
    };
    stream::unfold(view, |mut view| async { Some((view.next().await, view)) }).boxed()
}

fn see(
    link: &Arc<Link>,
    target: &Target,
    resource: &kube::core::ApiResource,
    name: &str,
) -> Seeing {
    Informers::see(link, resource, &target.namespace, name)
}

/// A target as it is seen, with its pods.
///
/// Pods are listed, not watched: their owner changes whenever their number or readiness does. They are listed again
/// after a pause where they alone are waited for, and once a minute where all is well.
struct View {
    link: Arc<Link>,
    target: Target,
    kind: Arc<dyn Kind>,
    subject: Seeing,
    /// The object that names the image, where it is another.
    carrier: Option<Carrier>,
    seen: Option<Sighting>,
    existed: bool,
    /// The pause after which the pods are looked at again.
    again: Option<Duration>,
    /// Since when a probe has answered otherwise than it is to under an intent.
    differs: Option<(Option<IdempotencyKey>, Mono)>,
    said: Option<TargetState>,
}

struct Carrier {
    reference: Reference,
    seeing: Seeing,
    seen: Option<Sighting>,
}

/// What a view hears of.
enum News {
    Subject(Sighting),
    Carrier(Sighting),
    /// Only time has passed.
    Nothing,
}

impl View {
    async fn next(&mut self) -> TargetState {
        loop {
            let news = self.hear().await;
            let waited = match &news {
                News::Subject(_) | News::Carrier(_) => None,
                News::Nothing => self.again,
            };
            match news {
                News::Subject(sighting) => self.take(sighting),
                News::Carrier(sighting) => {
                    if let Some(carrier) = &mut self.carrier {
                        carrier.seen = Some(sighting);
                    }
                }
                News::Nothing => {}
            }
            // What a look needs is given back when it is over: most of the time there is none.
            let Some((state, again)) = self.assess().boxed().await else { continue };
            self.again = pause(waited, again).map(|pause| match waited {
                // Not all that became well together are looked at together ever after.
                None if pause == LATER => self.link.spread(pause),
                None | Some(_) => pause,
            });
            if self.said.as_ref() != Some(&state) {
                self.said = Some(state.clone());
                return state;
            }
        }
    }

    async fn hear(&mut self) -> News {
        let again = self.again;
        let pause = async move {
            match again {
                Some(pause) => sleep(pause).await,
                None => pending().await,
            }
        };
        let carrier = async {
            match &mut self.carrier {
                Some(carrier) => carrier.seeing.next().await,
                None => pending().await,
            }
        };
        tokio::select! {
            sighting = self.subject.next() => News::Subject(sighting),
            sighting = carrier => News::Carrier(sighting),
            () = pause => News::Nothing,
        }
    }

    /// Takes a sighting in, and watches the object that it names the image by, if that is another.
    fn take(&mut self, sighting: Sighting) {
        if let Sighting::Is(subject) = &sighting
            && let Ok(subject) = subject.object()
        {
            let reference = self.kind.carrier(&subject).ok().flatten();
            if reference.as_ref() != self.carrier.as_ref().map(|carrier| &carrier.reference) {
                self.carrier = reference.map(|reference| Carrier {
                    seeing: see(&self.link, &self.target, &reference.resource, &reference.name),
                    reference,
                    seen: None,
                });
            }
        }
        self.seen = Some(sighting);
    }

    /// The state that follows from what is seen, and when the pods are looked at again; nothing where half
    /// of it was not looked at yet.
    async fn assess(&mut self) -> Option<(TargetState, Again)> {
        let Target { namespace, name, .. } = &self.target;
        let unknown = |why: String| Some((TargetState::unknown(why), Again::Never));
        let called = &self.kind.resource().kind;
        let subject = match &self.seen {
            Some(Sighting::Is(subject)) => match subject.object() {
                Ok(subject) => subject,
                Err(why) => return unknown(why),
            },
            Some(Sighting::Lost(why)) => return unknown(why.to_string()),
            Some(Sighting::Gone) | None => {
                let what = if self.existed { "was deleted" } else { "does not exist" };
                return unknown(format!("{called} {namespace}/{name} {what}"));
            }
        };
        self.existed = true;
        if let Err(why) = self.kind.carrier(&subject) {
            return unknown(format!("{called} {namespace}/{name} {why}"));
        }
        let other = match &self.carrier {
            None => None,
            Some(Carrier { reference, seen, .. }) => match seen {
                None => return None,
                Some(Sighting::Is(other)) => match other.object() {
                    Ok(other) => Some(other),
                    Err(why) => return unknown(why),
                },
                Some(Sighting::Lost(why)) => return unknown(why.to_string()),
                Some(Sighting::Gone) => {
                    let Reference { resource, name } = reference;
                    return unknown(format!("{} {namespace}/{name} does not exist", resource.kind));
                }
            },
        };
        let (seen, kind) = (Seen { subject, other }, &*self.kind);
        if !kind::asks_pods(kind, &seen) {
            let state = kind::read(kind, &seen, &[]);
            let probe = kind.probe(&seen).filter(|_| state.status == Status::Succeeded);
            return Some(match probe {
                Some(probe) => (self.probed(state, &probe).await, Again::Soon),
                None => (state, Again::Never),
            });
        }
        Some(match pods(&self.link, namespace, kind, &seen).await {
            Ok(pods) => {
                let state = kind::read(kind, &seen, &pods);
                let again = kind::again(kind, &seen, &state);
                (state, again)
            }
            Err(why) => {
                (TargetState::unknown(format!("its pods cannot be listed: {why}")), Again::Soon)
            }
        })
    }
}

impl View {
    /// The state of what is stored, by what those see who ask for it. It takes a while to get there: what
    /// differs has failed only when it still does when the time for that is over.
    async fn probed(&mut self, state: TargetState, probe: &Probe) -> TargetState {
        let status = match self.link.probes().ask(probe, self.link.name()).await {
            Err(why) => Status::Unknown(why),
            Ok(Answered::AsIntended) => {
                self.differs = None;
                return state;
            }
            Ok(Answered::Otherwise(now, why)) => {
                let since = match &self.differs {
                    Some((intent, since)) if *intent == state.intent => *since,
                    Some(_) | None => now,
                };
                self.differs = Some((state.intent.clone(), since));
                match now.since(since) < self.link.probes().within(probe) {
                    true => Status::Progressing(why),
                    false => Status::Failed(why),
                }
            }
        };
        TargetState { status, ..state }
    }
}

/// How long until the pods are looked at again; `waited` is how long it was before this look, if nothing else
/// brought it about.
fn pause(waited: Option<Duration>, again: Again) -> Option<Duration> {
    match again {
        Again::Never => None,
        Again::Soon => {
            let longer = waited.filter(|waited| *waited < LATER).map(|waited| waited * 2);
            Some(longer.map_or(AGAIN.0, |longer| longer.min(AGAIN.1)))
        }
        Again::Later => Some(LATER),
    }
}

/// How its pods do now.
pub(super) async fn workload(link: &Link, target: &Target) -> Result<Workload, String> {
    let kind = kind::of(&target.kind).ok_or_else(|| kind::stranger(target))?;
    let called = |reference: &Reference| {
        format!("{} {}/{}", reference.resource.kind, target.namespace, reference.name)
    };
    let get = async |reference: &Reference| -> Result<DynamicObject, String> {
        let asked = link.ask(|client| {
            let api: Api<DynamicObject> =
                Api::namespaced_with(client, &target.namespace, &reference.resource);
            async move { api.get_opt(&reference.name).await }
        });
        match asked.await {
            Ok(Some(object)) => Ok(object),
            Ok(None) => Err(format!("{} does not exist", called(reference))),
            Err(why) => Err(why.words()),
        }
    };
    let named = Reference { resource: kind.resource(), name: target.name.clone() };
    let explain = |why: String| format!("{} {why}", called(&named));
    let subject = get(&named).await?;
    let other = match kind.carrier(&subject).map_err(explain)? {
        Some(reference) => Some(get(&reference).await?),
        None => None,
    };
    let seen = Seen { subject, other };
    let image = kind.image(seen.carrier()).map_err(explain)?;
    let Some(workers) = kind.workers(&seen) else {
        return Err(explain("has no pods of its own".into()));
    };
    let pods = pods(link, &target.namespace, &*kind, &seen).await;
    let pods = pods.map_err(|why| format!("its pods cannot be listed: {why}"))?;
    let own: Vec<&Pod> = pods.iter().filter(|pod| pods::is_of(pod, &workers.owner)).collect();
    Ok(pods::count(&image, &workers.container, workers.wanted, &own))
}

/// The pods that the target's selector finds.
pub(super) async fn pods(
    link: &Link,
    namespace: &str,
    kind: &dyn Kind,
    seen: &Seen,
) -> Result<Vec<Pod>, String> {
    let Some(workers) = kind.workers(seen) else { return Ok(Vec::new()) };
    let selector: Selector =
        workers.selector.try_into().map_err(|e| format!("the object's selector: {e}"))?;
    let selected = ListParams::default().labels_from(&selector);
    let asked = link.ask(|client| {
        let api: Api<Pod> = Api::namespaced(client, namespace);
        async move { api.list(&selected).await }
    });
    match timeout(PODS, asked).await {
        Ok(Ok(list)) => Ok(list.items),
        Ok(Err(why)) => Err(why.words()),
        Err(_) => Err(format!("there was no answer within {PODS:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_for_pods_looks_soon_and_ever_later_and_who_does_not_once_a_minute() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let mut waited = None;
        for expected in [1, 2, 4, 8, 16, 30, 30] {
            waited = pause(waited, Again::Soon);
            assert_eq!(waited, seconds(expected));
        }
        assert_eq!(pause(waited, Again::Later), seconds(60));
        // What was well and is not any more is looked at soon.
        assert_eq!(pause(seconds(60), Again::Soon), seconds(1));
        assert_eq!(pause(seconds(60), Again::Later), seconds(60));
        assert_eq!(pause(waited, Again::Never), None);
    }
}
