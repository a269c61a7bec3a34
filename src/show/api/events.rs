//! What happens, as it happens: server-sent events that a listener can take up where it left off.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    http::HeaderMap,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures::{Stream, stream};
use serde_json::json;
use tokio::{
    sync::{
        OwnedSemaphorePermit,
        broadcast::{self, error::RecvError},
    },
    time::timeout,
};

use super::{audit::blocking, caller::Visit, problem::Problem};
use crate::{
    model::time::{Mono, Span},
    record::{Store, StoreError},
    show::{
        auth::{Reach, Verb},
        change::Change,
        view::ChangeView,
    },
};

/// How far back the journal is read for a listener that was away; who was away longer lists again.
const BACKLOG: u64 = 10_000;

/// Entries that are read from the journal at once.
const PAGE: usize = 256;

const HEARTBEAT: Duration = Duration::from_secs(15);

/// How long a listener may go on without being asked again for what they came with: a token may have been
/// revoked, or may have expired.
const KNOWN: Span = Span::seconds(5);

/// What happens from now on, or from behind `Last-Event-ID`. Each event is `{type, object}`, its id the
/// number of the journal's entry. An `error` event says that something was missed: list again. It ends within
/// seconds of the token that it was asked for with.
#[utoipa::path(get, path = "/v1/events", tag = "events",
    params(("Last-Event-ID" = Option<u64>, Header, description = "The last event that was seen")),
    responses((status = 200, body = ChangeView, content_type = "text/event-stream"),
        (status = 400, body = Problem, content_type = "application/problem+json")))]
pub async fn listen(visit: Visit, headers: HeaderMap) -> Result<Response, Problem> {
    visit.may(Verb::Read, &Reach::Common)?;
    let last = match headers.get("last-event-id").map(|id| id.to_str().map(str::parse::<u64>)) {
        None => None,
        Some(Ok(Ok(id))) => Some(id),
        Some(Ok(Err(_)) | Err(_)) => {
            return Err(Problem::bad_request("Last-Event-ID is the id of an event: a number"));
        }
    };
    let Ok(place) = visit.api.listeners.clone().try_acquire_owned() else {
        return Err(Problem::too_many_listeners());
    };
    // Live changes are collected before the journal's head is read, so that none falls in between.
    let live = visit.api.desk.changes();
    let head = visit.api.desk.store().head().seq;
    let seen = last.unwrap_or(head);
    let all = visit.may(Verb::Read, &Reach::Everything).is_ok();
    let feed = Feed {
        known: visit.api.desk.clock().now().mono,
        visit,
        all,
        _place: place,
        live,
        seen,
        head,
        ready: VecDeque::new(),
        over: false,
    };
    let events = Sse::new(feed.into_stream()).keep_alive(KeepAlive::new().interval(HEARTBEAT));
    Ok(events.into_response())
}

struct Feed {
    visit: Visit,
    /// When it was last seen that they are known.
    known: Mono,
    /// Whether they may read of every plan: the world is then not asked where each lies.
    all: bool,
    _place: OwnedSemaphorePermit,
    live: broadcast::Receiver<Change>,
    /// The last entry that was told or looked at.
    seen: u64,
    /// The last entry that is read from the journal; those behind it come live.
    head: u64,
    ready: VecDeque<Change>,
    over: bool,
}

impl Feed {
    fn into_stream(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(self, |mut feed| async move {
            let event = feed.next().await?;
            Some((Ok(event), feed))
        })
    }

    async fn next(&mut self) -> Option<Event> {
        if self.over {
            return None;
        }
        if self.seen > self.head || self.head - self.seen > BACKLOG {
            return Some(self.lost("that id is not one of the latest events"));
        }
        loop {
            let change = match self.ready.pop_front() {
                Some(change) => Some(change),
                None if self.seen < self.head => match self.read().await {
                    Ok(()) => continue,
                    Err(error) => return Some(self.lost(&error.to_string())),
                },
                None => match timeout(KNOWN.to_std(), self.live.recv()).await {
                    Ok(Ok(change)) if change.id > self.head => Some(change),
                    Ok(Ok(_)) => continue,
                    Ok(Err(RecvError::Lagged(_))) => {
                        return Some(self.lost("too much happened at once"));
                    }
                    Ok(Err(RecvError::Closed)) => return None,
                    Err(_) => None,
                },
            };
            if !self.is_known().await {
                return None;
            }
            if let Some(change) = change.filter(|change| self.shows(change)) {
                return Some(event(&change));
            }
        }
    }

    /// Whether they are let in still, as far as that was asked lately.
    async fn is_known(&mut self) -> bool {
        let now = self.visit.api.desk.clock().now().mono;
        if now.since(self.known) < KNOWN {
            return true;
        }
        self.known = now;
        self.visit.is_known_still().await
    }

    /// Reads the next entries of the journal that the listener has not seen.
    async fn read(&mut self) -> Result<(), StoreError> {
        let store: Arc<dyn Store> = self.visit.api.desk.store().clone();
        let (from, left) = (self.seen + 1, self.head - self.seen);
        let limit = usize::try_from(left).unwrap_or(PAGE).min(PAGE);
        let entries = blocking(move || store.read(from, limit)).await?;
        // A journal that ends before its head has nothing more to tell.
        self.seen = entries.last().map_or(self.head, |last| last.seq);
        let changes = entries.iter().filter_map(|e| Change::of(e.seq, e.at, &e.facts));
        self.ready.extend(changes);
        Ok(())
    }

    fn shows(&self, change: &Change) -> bool {
        let Some(plan) = change.plan.as_ref().filter(|_| !self.all) else { return true };
        self.visit.look(|world, _| self.visit.sees(world, plan))
    }

    fn lost(&mut self, why: &str) -> Event {
        self.over = true;
        let detail = format!("{why}; list again, and listen from there");
        Event::default().event("error").data(json!({"type": "error", "object": detail}).to_string())
    }
}

fn event(change: &Change) -> Event {
    let (kind, object) = ChangeView::of(change);
    let data = json!({"type": kind.name(), "object": object});
    Event::default().id(change.id.to_string()).data(data.to_string())
}
