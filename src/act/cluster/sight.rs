//! The watch of one object, which knows whether it still sees.
//!
//! kube's own watcher resumes in silence, so that nobody can tell an object that does not change from
//! an API server that is gone. Here every watch is short, and its renewal is the sign of life; one that
//! broke is not resumed but begun with a new list, whose answer is both the proof that the API server
//! is back and the object as it now is.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures::{StreamExt, stream::BoxStream};
use kube::{
    Api, ResourceExt,
    api::{ListParams, WatchEvent, WatchParams},
    core::{ApiResource, DynamicObject},
    runtime::watcher::DefaultBackoff,
};
use tokio::time::{Sleep, sleep, timeout};

use super::{connection::Link, failure};

/// How long one watch is, in seconds: every object costs its API server one request in that time.
const WATCH: u32 = 10;
/// How long a watch may be silent: its end, which the server owes us, counts as a sound.
const SILENCE: Duration = Duration::from_secs(WATCH as u64 + 5);
/// How long an answer may take to begin.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a cluster may be out of reach before that is told: API servers are restarted.
const GRACE: Duration = Duration::from_secs(10);
/// The longest pause between two tries: the soak stands still until one succeeds.
const PAUSE: Duration = Duration::from_secs(5);

/// What is known of an object.
#[derive(Debug, Clone)]
pub(super) enum Sighting {
    /// It is so.
    Is(Box<DynamicObject>),
    /// It is not there.
    Gone,
    /// It cannot be seen; in words.
    Lost(String),
}

/// Watches one object.
pub(super) struct Sight {
    link: Arc<Link>,
    resource: ApiResource,
    namespace: String,
    name: String,
    phase: Phase,
    pauses: DefaultBackoff,
    dark: Option<Dark>,
}

enum Phase {
    /// Nothing is known.
    List,
    /// All is known up to this version.
    Watch(String),
    /// All is known up to this version, and changes are coming in.
    Watching(String, BoxStream<'static, kube::Result<WatchEvent<DynamicObject>>>),
}

/// A time without sight.
struct Dark {
    grace: Pin<Box<Sleep>>,
    told: bool,
}

impl Sight {
    pub(super) fn new(
        link: Arc<Link>,
        resource: ApiResource,
        namespace: String,
        name: String,
    ) -> Self {
        let pauses = DefaultBackoff::default();
        Self { link, resource, namespace, name, phase: Phase::List, pauses, dark: None }
    }

    /// The next sighting. May be dropped and called again at any time.
    pub(super) async fn next(&mut self) -> Sighting {
        loop {
            let (why, silent) = match self.step().await {
                Ok(sighting) => {
                    self.dark = None;
                    match sighting {
                        Some(sighting) => return sighting,
                        None => continue,
                    }
                }
                Err(Failure { why, silent }) => (why, silent),
            };
            self.phase = Phase::List;
            let dark = self.dark.get_or_insert_with(|| {
                self.pauses = DefaultBackoff::default();
                // Silence has lasted longer than the grace when it is noticed.
                let grace = if silent { Duration::ZERO } else { GRACE };
                Dark { grace: Box::pin(sleep(grace)), told: false }
            });
            let pause = self.pauses.next().unwrap_or(PAUSE).min(PAUSE);
            tokio::select! {
                biased;
                () = &mut dark.grace, if !dark.told => {
                    dark.told = true;
                    return Sighting::Lost(why);
                }
                () = sleep(pause) => {}
            }
        }
    }

    /// One call or one event; nothing where it only showed that the API server is alive.
    async fn step(&mut self) -> Result<Option<Sighting>, Failure> {
        let known = match &self.phase {
            Phase::List => None,
            Phase::Watch(version) => Some(version.clone()),
            Phase::Watching(..) => return self.listen().await,
        };
        let api = api(&self.link, &self.namespace, &self.resource).await?;
        match known {
            None => {
                let one = ListParams::default().fields(&format!("metadata.name={}", self.name));
                let list = answer(&self.link, "list", api.list(&one)).await?;
                let version = list.metadata.resource_version.clone().unwrap_or_default();
                self.phase = Phase::Watch(version);
                Ok(Some(first(list.items)))
            }
            Some(version) => {
                let one = WatchParams::default()
                    .fields(&format!("metadata.name={}", self.name))
                    .timeout(WATCH);
                let events = answer(&self.link, "watch", api.watch(&one, &version)).await?;
                self.phase = Phase::Watching(version, events.boxed());
                Ok(None)
            }
        }
    }

    /// The next event of a watch that is open.
    async fn listen(&mut self) -> Result<Option<Sighting>, Failure> {
        let Phase::Watching(version, events) = &mut self.phase else { return Ok(None) };
        match timeout(SILENCE, events.next()).await {
            Ok(Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)))) => {
                *version = object.resource_version().unwrap_or_default();
                Ok(Some(Sighting::Is(Box::new(object))))
            }
            Ok(Some(Ok(WatchEvent::Deleted(object)))) => {
                *version = object.resource_version().unwrap_or_default();
                Ok(Some(Sighting::Gone))
            }
            Ok(Some(Ok(WatchEvent::Bookmark(mark)))) => {
                *version = mark.metadata.resource_version;
                Ok(None)
            }
            Ok(Some(Ok(WatchEvent::Error(status)))) => {
                Err(Failure::heard(failure::words(&kube::Error::Api(status))))
            }
            Ok(Some(Err(error))) => Err(Failure::heard(failure::words(&error))),
            Ok(None) => {
                let version = std::mem::take(version);
                self.phase = Phase::Watch(version);
                Ok(None)
            }
            Err(_) => {
                let why = format!("the API server was silent for {SILENCE:?}");
                Err(Failure { why, silent: true })
            }
        }
    }
}

async fn api(
    link: &Link,
    namespace: &str,
    resource: &ApiResource,
) -> Result<Api<DynamicObject>, Failure> {
    let client = link.client().await.map_err(Failure::heard)?;
    Ok(Api::namespaced_with(client, namespace, resource))
}

fn first(objects: Vec<DynamicObject>) -> Sighting {
    let first = objects.into_iter().next();
    first.map_or(Sighting::Gone, |object| Sighting::Is(Box::new(object)))
}

/// The answer to a call, in time.
async fn answer<T>(
    link: &Link,
    verb: &str,
    call: impl Future<Output = kube::Result<T>>,
) -> Result<T, Failure> {
    match timeout(ANSWER, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => {
            if failure::is_stranger(&error) {
                link.forget().await;
            }
            Err(Failure::heard(format!("`{verb}` failed: {}", failure::words(&error))))
        }
        Err(_) => Err(Failure::heard(format!("the API server did not answer within {ANSWER:?}"))),
    }
}

struct Failure {
    why: String,
    /// Nothing at all was heard, for [`SILENCE`].
    silent: bool,
}

impl Failure {
    fn heard(why: String) -> Self {
        Self { why, silent: false }
    }
}
