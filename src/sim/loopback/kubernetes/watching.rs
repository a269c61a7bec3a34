//! The stream that a watch is answered with.

use std::{collections::VecDeque, convert::Infallible, sync::Arc};

use axum::{
    body::{Body, Bytes},
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use futures::{Stream, future::BoxFuture, stream};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{
    cluster::Cluster,
    failure::Failure,
    selector::Selector,
    store::{Change, Kind},
};
use crate::{
    clock::{Clock, SystemClock},
    model::time::{Mono, Span},
};

/// Between two bookmarks of a watch on which nothing happens.
const BOOKMARK: Span = Span::minutes(1);

/// How long a watch lasts whose client does not say.
const LONGEST: u64 = 3_600;

/// What is watched, and how.
pub(super) struct Watch {
    pub(super) kind: Kind,
    pub(super) namespace: Option<String>,
    pub(super) selector: Selector,
    /// The version to go on from; none, or 0, begins with what is there.
    pub(super) from: Option<u64>,
    /// Whether the beginning with what is there is marked where it ends.
    pub(super) initial_events: bool,
    pub(super) bookmarks: bool,
    pub(super) timeout: Option<u64>,
}

impl Watch {
    /// Answers with the stream. Its time-outs pass in real time, as its connection does.
    pub(super) fn open(self, cluster: Arc<Cluster>) -> Response {
        let clock = SystemClock::new(Mono(0));
        let changed = cluster.subscribe();
        let mut lines = VecDeque::new();
        let version = match self.from {
            Some(version) if version > 0 && !self.initial_events => version,
            Some(_) | None => {
                let (version, objects) = cluster.list(self.kind, self.namespace.as_deref());
                let mine = objects.iter().filter(|object| self.selector.matches(object));
                lines.extend(mine.map(|object| line("ADDED", object)));
                version
            }
        };
        if self.initial_events {
            let mut bookmark = self.bookmark(version);
            bookmark["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
            lines.push_back(line("BOOKMARK", &bookmark));
        }
        let ends = clock.sleep(Span::seconds(self.timeout.unwrap_or(LONGEST).min(LONGEST)));
        let marks = clock.sleep(BOOKMARK);
        let open =
            Open { watch: self, cluster, changed, clock, version, lines, ends, marks, over: false };
        let headers = [(CONTENT_TYPE, "application/json")];
        (headers, Body::from_stream(open.stream())).into_response()
    }

    /// What one change is to this watch: an object that enters or leaves what was selected is added or
    /// deleted to it, whatever happened to it.
    fn event(&self, change: &Change) -> Option<Bytes> {
        let here = change.id.kind == self.kind
            && self.namespace.as_ref().is_none_or(|namespace| *namespace == change.id.namespace);
        let chosen = |object: &&Arc<Value>| here && self.selector.matches(object);
        let before = change.before.as_ref().filter(chosen);
        let after = change.after.as_ref().filter(chosen);
        match (before, after) {
            (None, None) => None,
            (None, Some(after)) => Some(line("ADDED", after)),
            (Some(_), Some(after)) => Some(line("MODIFIED", after)),
            (Some(before), None) => {
                let mut last = (**before).clone();
                last["metadata"]["resourceVersion"] = json!(change.version.to_string());
                Some(line("DELETED", &last))
            }
        }
    }

    fn bookmark(&self, version: u64) -> Value {
        json!({
            "kind": self.kind.name(),
            "apiVersion": self.kind.api_version(),
            "metadata": {"resourceVersion": version.to_string(), "creationTimestamp": null},
        })
    }
}

/// A watch under way.
struct Open {
    watch: Watch,
    cluster: Arc<Cluster>,
    changed: watch::Receiver<u64>,
    clock: SystemClock,
    /// The last version that was looked at.
    version: u64,
    lines: VecDeque<Bytes>,
    ends: BoxFuture<'static, ()>,
    marks: BoxFuture<'static, ()>,
    over: bool,
}

impl Open {
    fn stream(self) -> impl Stream<Item = Result<Bytes, Infallible>> {
        stream::unfold(self, |mut open| async move {
            loop {
                if let Some(line) = open.lines.pop_front() {
                    return Some((Ok(line), open));
                }
                if open.over {
                    return None;
                }
                open.look();
                if open.lines.is_empty() {
                    open.wait().await;
                }
            }
        })
    }

    fn look(&mut self) {
        self.changed.mark_unchanged();
        match self.cluster.since(self.version) {
            Ok(changes) => {
                self.version = changes.last().map_or(self.version, |change| change.version);
                self.lines.extend(changes.iter().filter_map(|change| self.watch.event(change)));
            }
            // A watch that was accepted says so in the stream.
            Err(gone) => {
                self.lines.push_back(line("ERROR", &gone.status()));
                self.over = true;
            }
        }
    }

    async fn wait(&mut self) {
        tokio::select! {
            changed = self.changed.changed() => self.over = changed.is_err(),
            () = &mut self.ends => self.over = true,
            () = &mut self.marks => {
                self.marks = self.clock.sleep(BOOKMARK);
                if self.watch.bookmarks {
                    let bookmark = self.watch.bookmark(self.version);
                    self.lines.push_back(line("BOOKMARK", &bookmark));
                }
            }
        }
    }
}

fn line(kind: &str, object: &Value) -> Bytes {
    Bytes::from(format!("{}\n", json!({"type": kind, "object": object})))
}

/// The version in a query: digits, or a refusal in the API server's words.
pub(super) fn version(text: &str) -> Result<Option<u64>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        Failure::bad_request(format!("resourceVersion: Invalid value: \"{text}\": invalid syntax"))
    })
}
