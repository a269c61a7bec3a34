//! One watch, of one object or of a namespace's objects of a kind, which knows whether it still sees.
//!
//! kube's own watcher resumes in silence, so that nobody can tell an object that does not change from
//! an API server that is gone. Here every watch is short, and its renewal is the sign of life; one that
//! broke is not resumed but begun with a new list, whose answer is both the proof that the API server
//! is back and the objects as they now are.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, stream::BoxStream};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, WatchEvent, WatchParams},
    core::{ApiResource, DynamicObject},
};
use tokio::time::{Sleep, sleep, timeout};

use super::{
    connection::{Link, Unanswered},
    failure,
};

/// How long one watch is at most, in seconds, and half of that at least: each costs its API server one request in that
/// time. The lengths differ, so that those of a fleet that began together are not renewed together ever after.
const WATCH: u64 = 10;
/// How long a watch may be silent: its end, which the server owes us, counts as a sound.
const SILENCE: Duration = Duration::from_secs(WATCH + 5);
/// A watch that ends sooner than this was not ended by its time, and is not begun again at once.
const SHORT: Duration = Duration::from_secs(1);
/// How long a cluster may be out of reach before that is told: API servers are restarted.
const GRACE: Duration = Duration::from_secs(10);
/// The first and the longest pause between two tries: the soak stands still until one succeeds.
const PAUSE: (Duration, Duration) = (Duration::from_millis(800), Duration::from_secs(5));
/// The most objects that are seen together: of a namespace that holds more, those that are wanted are watched one by one.
const TOGETHER: u32 = 200;

/// What one watch is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scope {
    /// One object.
    One(String),
    /// All that there are in the namespace.
    All,
}

/// What a watch says.
#[derive(Debug)]
pub(super) enum News {
    /// This is all that there is.
    All(Vec<DynamicObject>),
    /// It is so.
    Is(Box<DynamicObject>),
    /// The object of this name was deleted.
    Gone(String),
    /// Nothing can be seen; in words.
    Lost(String),
    /// They cannot be watched together; in words.
    Apart(String),
}

/// One watch.
pub(super) struct Sight {
    look: Look,
    dark: Option<Dark>,
}

/// Where it looks, and how far it is.
struct Look {
    link: Arc<Link>,
    resource: ApiResource,
    namespace: String,
    scope: Scope,
    phase: Phase,
}

enum Phase {
    /// Nothing is known.
    List,
    /// All is known up to this version.
    Watch(String),
    /// All is known up to this version, and changes are coming in.
    Watching(Watching),
}

struct Watching {
    version: String,
    events: BoxStream<'static, kube::Result<WatchEvent<DynamicObject>>>,
    /// Until it is no longer too young to end; nothing once it is not.
    young: Option<Pin<Box<Sleep>>>,
}

/// A time without sight.
struct Dark {
    why: String,
    grace: Pin<Box<Sleep>>,
    told: bool,
    /// The next pause, before it is spread.
    pause: Duration,
}

impl Sight {
    pub(super) fn new(
        link: Arc<Link>,
        resource: ApiResource,
        namespace: String,
        scope: Scope,
    ) -> Self {
        let look = Look { link, resource, namespace, scope, phase: Phase::List };
        Self { look, dark: None }
    }

    /// The next news. May be dropped and called again at any time.
    pub(super) async fn next(&mut self) -> News {
        loop {
            let stepped = match &mut self.dark {
                // Who waits for a turn, or for an answer, does not see either.
                Some(dark) if !dark.told => tokio::select! {
                    biased;
                    () = &mut dark.grace => {
                        dark.told = true;
                        return News::Lost(dark.why.clone());
                    }
                    stepped = self.look.step() => stepped,
                },
                Some(_) | None => self.look.step().await,
            };
            let Failure { why, silent } = match stepped {
                Ok(news) => {
                    self.dark = None;
                    match news {
                        Some(news) => return news,
                        None => continue,
                    }
                }
                Err(failure) => failure,
            };
            self.look.phase = Phase::List;
            let dark = self.dark.get_or_insert_with(|| Dark {
                why: String::new(),
                // Silence has lasted longer than the grace when it is noticed.
                grace: Box::pin(sleep(if silent { Duration::ZERO } else { GRACE })),
                told: false,
                pause: PAUSE.0,
            });
            dark.why = why;
            let pause = self.look.link.spread(dark.pause);
            dark.pause = (dark.pause * 2).min(PAUSE.1);
            tokio::select! {
                biased;
                () = &mut dark.grace, if !dark.told => {
                    dark.told = true;
                    return News::Lost(dark.why.clone());
                }
                () = sleep(pause) => {}
            }
        }
    }
}

impl Look {
    /// One call or one event; nothing where it only showed that the API server is alive.
    async fn step(&mut self) -> Result<Option<News>, Failure> {
        match &mut self.phase {
            Phase::List => self.list().await,
            Phase::Watch(version) => {
                let version = version.clone();
                self.open(version).await
            }
            Phase::Watching(watching) => match watching.listen(&self.link).await? {
                Heard::News(news) => Ok(Some(news)),
                Heard::Alive => Ok(None),
                Heard::Ended => {
                    let version = std::mem::take(&mut watching.version);
                    self.phase = Phase::Watch(version);
                    Ok(None)
                }
            },
        }
    }

    async fn list(&mut self) -> Result<Option<News>, Failure> {
        let params = match &self.scope {
            Scope::One(name) => ListParams::default().fields(&format!("metadata.name={name}")),
            Scope::All => ListParams::default().limit(TOGETHER),
        };
        // What a request needs on its way is given back with its answer: most of the time there is none.
        let Self { link, resource, namespace, .. } = &*self;
        let asked = link.ask(|client| {
            let api = api(client, namespace, resource);
            async move { api.list(&params).await }
        });
        let list = match asked.boxed().await {
            Ok(list) => list,
            Err(Unanswered::Error(kube::Error::Api(status)))
                if status.code == 403 && self.scope == Scope::All =>
            {
                return Ok(Some(News::Apart(status.message.clone())));
            }
            Err(why) => return Err(Failure::heard(format!("`list` failed: {}", why.words()))),
        };
        let more = list.metadata.continue_.as_ref().is_some_and(|token| !token.is_empty());
        if more && self.scope == Scope::All {
            let why = format!("the namespace holds more than {TOGETHER}");
            return Ok(Some(News::Apart(why)));
        }
        self.phase = Phase::Watch(list.metadata.resource_version.unwrap_or_default());
        Ok(Some(News::All(list.items)))
    }

    async fn open(&mut self, version: String) -> Result<Option<News>, Failure> {
        let length = self.link.spread(Duration::from_secs(WATCH)).as_secs_f64().ceil() as u32;
        let params = WatchParams::default().timeout(length);
        let params = match &self.scope {
            Scope::One(name) => params.fields(&format!("metadata.name={name}")),
            Scope::All => params,
        };
        let Self { link, resource, namespace, .. } = &*self;
        let asked = link.ask(|client| {
            let (api, version) = (api(client, namespace, resource), version.clone());
            async move { Ok(api.watch(&params, &version).await?.boxed()) }
        });
        // Its turn is waited for as long as a watch may be silent: that, too, is not to see.
        let events = match timeout(SILENCE, asked.boxed()).await {
            Ok(Ok(events)) => events,
            Ok(Err(why)) => return Err(Failure::heard(format!("`watch` failed: {}", why.words()))),
            Err(_) => {
                let why = format!("no watch came about within {SILENCE:?}");
                return Err(Failure { why, silent: true });
            }
        };
        let young = Some(Box::pin(sleep(SHORT)));
        self.phase = Phase::Watching(Watching { version, events, young });
        Ok(None)
    }
}

fn api(client: Client, namespace: &str, resource: &ApiResource) -> Api<DynamicObject> {
    Api::namespaced_with(client, namespace, resource)
}

/// What comes of listening.
enum Heard {
    News(News),
    Alive,
    Ended,
}

impl Watching {
    /// The next event.
    async fn listen(&mut self, link: &Link) -> Result<Heard, Failure> {
        if let Some(young) = &mut self.young {
            tokio::select! {
                biased;
                event = self.events.next() => {
                    let event = event.ok_or_else(|| {
                        Failure::heard(format!("the watch was ended within {SHORT:?}"))
                    })?;
                    return self.take(event);
                }
                () = young => self.young = None,
            }
        }
        match timeout(SILENCE, self.events.next()).await {
            Ok(Some(event)) => self.take(event),
            Ok(None) => Ok(Heard::Ended),
            Err(_) => {
                link.doubt();
                let why = format!("the API server was silent for {SILENCE:?}");
                Err(Failure { why, silent: true })
            }
        }
    }

    fn take(&mut self, event: kube::Result<WatchEvent<DynamicObject>>) -> Result<Heard, Failure> {
        match event {
            Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                self.version = object.resource_version().unwrap_or_default();
                Ok(Heard::News(News::Is(Box::new(object))))
            }
            Ok(WatchEvent::Deleted(object)) => {
                self.version = object.resource_version().unwrap_or_default();
                Ok(Heard::News(News::Gone(object.name_any())))
            }
            Ok(WatchEvent::Bookmark(mark)) => {
                self.version = mark.metadata.resource_version;
                Ok(Heard::Alive)
            }
            Ok(WatchEvent::Error(status)) => {
                Err(Failure::heard(failure::words(&kube::Error::Api(status))))
            }
            Err(error) => Err(Failure::heard(failure::words(&error))),
        }
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
