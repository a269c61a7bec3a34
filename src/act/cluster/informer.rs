//! The watches of one cluster, shared by all who want to see something there.
//!
//! Two or more objects of a kind in a namespace are watched by one watch of all of them, so that an API server has
//! one connection and one request in ten seconds for them, and not one for each. One alone is watched by its name, and
//! so is each where they may not be watched together, where there are too many that nobody wants, and where they
//! are ConfigMaps: those hold anybody's things, and change all the time.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use futures::{
    StreamExt,
    stream::{self, BoxStream, SelectAll},
};
use kube::{
    ResourceExt,
    core::{ApiResource, DynamicObject},
};
use tokio::{sync::Notify, task::AbortHandle, time::sleep};

use super::{
    connection::Link,
    sight::{News, Scope, Sight},
};

/// How long it is waited for more to come when somebody comes: those who come together are listed together.
const GATHER: Duration = Duration::from_millis(20);
/// Sightings that wait for whoever looks: of more, the oldest are not told.
const WAITING: usize = 32;
/// What `kubectl apply` notes, which is the whole object once more.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What is known of an object.
#[derive(Debug, Clone)]
pub(super) enum Sighting {
    /// It is so.
    Is(Arc<Kept>),
    /// It is not there.
    Gone,
    /// It cannot be seen; in words.
    Lost(Arc<str>),
}

/// An object as it was seen, as text: as values it takes ten times the room, and there are thousands. Of who manages
/// which field, only who and when is kept.
#[derive(Debug)]
pub(super) struct Kept(Box<[u8]>);

impl Kept {
    fn of(mut object: DynamicObject) -> Result<Self, serde_json::Error> {
        for entry in object.metadata.managed_fields.iter_mut().flatten() {
            entry.fields_v1 = None;
        }
        if let Some(annotations) = &mut object.metadata.annotations {
            annotations.remove(LAST_APPLIED);
        }
        serde_json::to_vec(&object).map(|text| Self(text.into()))
    }

    /// The object.
    ///
    /// # Errors
    /// In words: what was written is not read again, which is a defect.
    pub(super) fn object(&self) -> Result<DynamicObject, String> {
        serde_json::from_slice(&self.0)
            .map_err(|why| format!("what was seen is not legible: {why}"))
    }
}

/// One object, as it is seen; the watch behind it ends with the last who looks.
pub(super) struct Seeing {
    name: String,
    looker: Arc<Looker>,
    informer: Arc<Informer>,
}

/// Somebody who looks at an object, with what they have not heard yet.
#[derive(Default)]
struct Looker {
    waiting: Mutex<VecDeque<Sighting>>,
    told: Notify,
}

impl Looker {
    fn tell(&self, sighting: Sighting) {
        let mut waiting = lock(&self.waiting);
        if waiting.len() == WAITING {
            waiting.pop_front();
        }
        waiting.push_back(sighting);
        self.told.notify_one();
    }
}

impl Seeing {
    /// The next sighting. May be dropped and called again at any time.
    pub(super) async fn next(&mut self) -> Sighting {
        loop {
            if let Some(sighting) = lock(&self.looker.waiting).pop_front() {
                return sighting;
            }
            self.looker.told.notified().await;
        }
    }
}

impl Drop for Seeing {
    fn drop(&mut self) {
        let board = &self.informer.board;
        let mut wanted = lock(&board.wanted);
        let Some(known) = wanted.get_mut(&self.name) else { return };
        known.lookers.retain(|looker| !Arc::ptr_eq(looker, &self.looker));
        if known.lookers.is_empty() {
            wanted.remove(&self.name);
            board.changed.notify_one();
        }
    }
}

/// The informers of a cluster: one for a kind's objects in a namespace.
#[derive(Default)]
pub(super) struct Informers(Mutex<BTreeMap<Key, Weak<Informer>>>);

/// API version, plural and namespace.
type Key = (String, String, String);

impl Informers {
    /// Looks at an object. Must be called inside a tokio runtime.
    pub(super) fn see(
        link: &Arc<Link>,
        resource: &ApiResource,
        namespace: &str,
        name: &str,
    ) -> Seeing {
        let key = (resource.api_version.clone(), resource.plural.clone(), namespace.to_owned());
        let mut all = lock(&link.informers().0);
        let informer = all.get(&key).and_then(Weak::upgrade).unwrap_or_else(|| {
            all.retain(|_, informer| informer.strong_count() > 0);
            let informer = Arc::new(Informer::start(link, resource, namespace));
            all.insert(key, Arc::downgrade(&informer));
            informer
        });
        let looker = informer.board.add(name);
        Seeing { name: name.to_owned(), looker, informer }
    }
}

struct Informer {
    board: Arc<Board>,
    task: AbortHandle,
}

impl Informer {
    fn start(link: &Arc<Link>, resource: &ApiResource, namespace: &str) -> Self {
        let board = Arc::new(Board::default());
        let watches = Watches {
            link: link.clone(),
            // Objects of the core group are ConfigMaps.
            together: !resource.group.is_empty(),
            resource: resource.clone(),
            namespace: namespace.to_owned(),
            board: board.clone(),
            scopes: Vec::new(),
            listed: false,
            asked_for: BTreeSet::new(),
            streams: SelectAll::new(),
        };
        let task = tokio::spawn(watches.run()).abort_handle();
        Self { board, task }
    }
}

impl Drop for Informer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What is wanted, and what was seen of it.
#[derive(Default)]
struct Board {
    wanted: Mutex<BTreeMap<String, Known>>,
    /// Somebody came or went.
    changed: Notify,
}

/// An object that somebody looks at.
#[derive(Default)]
struct Known {
    last: Option<Sighting>,
    lookers: Vec<Arc<Looker>>,
}

impl Board {
    fn add(&self, name: &str) -> Arc<Looker> {
        let mut wanted = lock(&self.wanted);
        let known = wanted.entry(name.to_owned()).or_default();
        let looker = Arc::new(Looker::default());
        match &known.last {
            Some(last) => looker.tell(last.clone()),
            None => self.changed.notify_one(),
        }
        known.lookers.push(looker.clone());
        looker
    }

    fn names(&self) -> Vec<String> {
        lock(&self.wanted).keys().cloned().collect()
    }

    /// Those of which nothing was told yet.
    fn owed(&self) -> Vec<String> {
        let wanted = lock(&self.wanted);
        let owed = wanted.iter().filter(|(_, known)| known.last.is_none());
        owed.map(|(name, _)| name.clone()).collect()
    }

    /// Tells what was asked for a newcomer's sake, unless they know by now.
    fn introduce(&self, name: &str, sighting: Sighting) {
        let knows = lock(&self.wanted)
            .get(name)
            .is_none_or(|known| matches!(known.last, Some(Sighting::Is(_) | Sighting::Gone)));
        if !knows {
            self.tell(name, || sighting);
        }
    }

    fn tell(&self, name: &str, sighting: impl FnOnce() -> Sighting) {
        if let Some(known) = lock(&self.wanted).get_mut(name) {
            let sighting = sighting();
            known.lookers.iter().for_each(|looker| looker.tell(sighting.clone()));
            known.last = Some(sighting);
        }
    }
}

/// The watches behind a board.
struct Watches {
    link: Arc<Link>,
    resource: ApiResource,
    namespace: String,
    board: Arc<Board>,
    /// Whether objects may be watched together.
    together: bool,
    scopes: Vec<Scope>,
    /// Whether the watch of all has said what there is.
    listed: bool,
    /// Those who came to it later, of whom it will say nothing until they change.
    asked_for: BTreeSet<String>,
    streams: SelectAll<BoxStream<'static, (Scope, News)>>,
}

impl Watches {
    async fn run(mut self) {
        loop {
            tokio::select! {
                () = self.board.changed.notified() => {
                    sleep(GATHER).await;
                    self.arrange();
                }
                Some((scope, news)) = self.streams.next() => self.pass_on(&scope, news),
            }
        }
    }

    /// Watches what is wanted, and nothing else.
    fn arrange(&mut self) {
        let names = self.board.names();
        let all = vec![Scope::All];
        let scopes: Vec<Scope> = match names.len() {
            2.. if self.together => all,
            // One that is left is no reason to begin anew.
            1 if self.together && self.scopes == all => all,
            _ => names.into_iter().map(Scope::One).collect(),
        };
        if !self.scopes.iter().all(|scope| scopes.contains(scope)) {
            self.scopes.clear();
            self.streams.clear();
            self.asked_for.clear();
            self.listed = false;
        }
        for scope in &scopes {
            if !self.scopes.contains(scope) {
                let watch = self.watch(scope.clone(), false);
                self.streams.push(watch);
            }
        }
        self.scopes = scopes;
        if self.listed {
            // A list of them alone is asked for after they came: what the watch said before is part of it. Those who
            // are there hear every change meanwhile, as they would not if all were listed anew.
            for name in self.board.owed() {
                if self.asked_for.insert(name.clone()) {
                    let look = self.watch(Scope::One(name), true);
                    self.streams.push(look);
                }
            }
        }
    }

    /// A watch; where it is `once`, until it has said what there is.
    fn watch(&self, scope: Scope, once: bool) -> BoxStream<'static, (Scope, News)> {
        let (link, resource) = (self.link.clone(), self.resource.clone());
        let sight = Sight::new(link, resource, self.namespace.clone(), scope.clone());
        let news = stream::unfold(Some((scope, sight)), move |watch| async move {
            let (scope, mut sight) = watch?;
            let news = sight.next().await;
            let over = once && matches!(news, News::All(_));
            Some(((scope.clone(), news), (!over).then_some((scope, sight))))
        });
        news.boxed()
    }

    fn pass_on(&mut self, scope: &Scope, news: News) {
        let names = match scope {
            Scope::One(name) if self.asked_for.contains(name) => {
                let sighting = match news {
                    News::All(objects) => {
                        self.asked_for.remove(name);
                        objects.into_iter().next().map_or(Sighting::Gone, seen)
                    }
                    News::Lost(why) => Sighting::Lost(why.into()),
                    News::Is(_) | News::Gone(_) | News::Apart(_) => return,
                };
                return self.board.introduce(name, sighting);
            }
            Scope::One(name) => vec![name.clone()],
            Scope::All => self.board.names(),
        };
        match news {
            News::All(objects) => {
                self.listed = *scope == Scope::All;
                let mut found: BTreeMap<String, DynamicObject> =
                    objects.into_iter().map(|object| (object.name_any(), object)).collect();
                for name in names {
                    let found = found.remove(&name);
                    self.board.tell(&name, || found.map_or(Sighting::Gone, seen));
                }
            }
            News::Is(object) => self.board.tell(&object.name_any(), || seen(*object)),
            News::Gone(name) => self.board.tell(&name, || Sighting::Gone),
            News::Lost(why) => {
                let why: Arc<str> = why.into();
                for name in names {
                    self.board.tell(&name, || Sighting::Lost(why.clone()));
                }
            }
            News::Apart(why) => {
                let (resource, namespace) = (&self.resource.plural, &self.namespace);
                tracing::info!(
                    connection = self.link.name(),
                    %resource,
                    %namespace,
                    why,
                    "watched one by one: together they cannot be"
                );
                self.together = false;
                self.arrange();
            }
        }
    }
}

fn seen(object: DynamicObject) -> Sighting {
    match Kept::of(object) {
        Ok(kept) => Sighting::Is(Arc::new(kept)),
        Err(why) => Sighting::Lost(format!("what was seen cannot be kept: {why}").into()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_kept_of_an_object_is_all_but_what_its_managers_own() {
        let mut object = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {
                "name": "checkout",
                "annotations": {"team": "web", LAST_APPLIED: "{}"},
                "managedFields": [{"manager": "ringward", "time": "2026-01-01T00:00:00Z",
                    "fieldsV1": {"f:spec": {}}}],
            },
            "spec": {"replicas": 3},
            "status": {"observedGeneration": 7},
        });
        let kept = Kept::of(serde_json::from_value(object.clone()).unwrap()).unwrap();
        object["metadata"]["annotations"].as_object_mut().unwrap().remove(LAST_APPLIED);
        object["metadata"]["managedFields"][0].as_object_mut().unwrap().remove("fieldsV1");
        assert_eq!(serde_json::to_value(kept.object().unwrap()).unwrap(), object);
    }

    #[test]
    fn who_is_slow_hears_the_latest() {
        let board = Board::default();
        let looker = board.add("checkout");
        for n in 0..WAITING + 5 {
            board.tell("checkout", || Sighting::Lost(n.to_string().into()));
        }
        let waiting = lock(&looker.waiting);
        let said = |sighting: Option<&Sighting>| match sighting {
            Some(Sighting::Lost(why)) => why.to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(said(waiting.front()), "5");
        assert_eq!((said(waiting.back()), waiting.len()), ((WAITING + 4).to_string(), WAITING));
        // Who comes later hears the last.
        let late = board.add("checkout");
        assert_eq!(said(lock(&late.waiting).front()), (WAITING + 4).to_string());
        assert_eq!(board.owed(), [""; 0]);
    }
}
