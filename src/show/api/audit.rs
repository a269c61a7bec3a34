//! The journal, whether it holds, and a copy of it.

use std::io;

use axum::{
    Json,
    body::{Body, Bytes},
    http::header,
    response::{IntoResponse, Response},
};
use futures::stream;
use serde::Deserialize;
use tokio::sync::mpsc;
use utoipa::IntoParams;

use super::{caller::Visit, extract::Asked, problem::Problem};
use crate::{
    record::{
        self,
        export::{ExportError, Showing, export},
        format::Digest,
    },
    show::{
        auth::{Reach, Verb},
        view::{self, AuditPage, SignedHeadView, VerificationView},
    },
};

/// Which entries are shown.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Those behind this number; from the first where it is missing.
    since: Option<u64>,
    /// At most so many, 1 to 1000; 100 where it is missing.
    limit: Option<usize>,
}

/// The entries of the journal, oldest first.
#[utoipa::path(get, path = "/v1/audit", tag = "audit", params(AuditQuery),
    responses((status = 200, body = AuditPage),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
pub async fn since(visit: Visit, Asked(query): Asked<AuditQuery>) -> Result<Response, Problem> {
    visit.may(Verb::Read, &Reach::Common)?;
    let limit = query.limit.unwrap_or(100);
    if !(1..=1000).contains(&limit) {
        return Err(Problem::bad_request("limit is 1 to 1000"));
    }
    let since = behind(query.since)?;
    let store = visit.api.desk.store().clone();
    let read = blocking(move || store.read(since.saturating_add(1), limit)).await;
    let entries = read.map_err(|error| Problem::journal(&error))?;
    let head = visit.api.desk.store().head().seq;
    let next = entries.last().map(|last| last.seq).filter(|last| *last < head);
    let page = visit
        .look(|world, _| view::audit_page(world, &entries, next, |plan| visit.sees(world, plan)));
    Ok(visit.list(&page))
}

/// Walks the whole journal and says whether every entry is as it was recorded and follows the one
/// before it.
#[utoipa::path(get, path = "/v1/audit/verify", tag = "audit",
    responses((status = 200, body = VerificationView),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
pub async fn verify(visit: Visit) -> Result<Json<VerificationView>, Problem> {
    visit.may(Verb::Read, &Reach::Common)?;
    let store = visit.api.desk.store().clone();
    let found = blocking(move || record::audit::verify(&*store)).await;
    found.map(|found| Json(found.into())).map_err(|error| Problem::journal(&error))
}

/// How far the journal has come, signed with the server's key: whoever keeps it can prove later that it had come
/// so far, and with which hash.
#[utoipa::path(get, path = "/v1/audit/head", tag = "audit",
    responses((status = 200, body = SignedHeadView),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
pub async fn head(visit: Visit) -> Result<Json<SignedHeadView>, Problem> {
    visit.may(Verb::Read, &Reach::Common)?;
    let (store, at) = (visit.api.desk.store().clone(), visit.look(|_, now| now.wall));
    let signed = blocking(move || {
        let head = store.head();
        store.key().map(|key| key.sign(head.seq, head.hash, at))
    });
    let signed = signed.await.map_err(|error| Problem::journal(&error))?;
    Ok(Json(signed.into()))
}

/// The entry that is begun behind; numbers end where the document says, at the most of 64 bits with a sign.
fn behind(since: Option<u64>) -> Result<u64, Problem> {
    let since = since.unwrap_or(0);
    match i64::try_from(since) {
        Ok(_) => Ok(since),
        Err(_) => Err(Problem::bad_request("since is the number of an entry")),
    }
}

/// Entries that are shown at once.
const PAGE: usize = 256;

/// From where on.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct BackupQuery {
    /// Records behind this number; from the first where it is missing, as `ringward restore` needs them.
    since: Option<u64>,
}

/// The whole journal as it is stored, a line a record and one that says that it is all of it, signed: what
/// `ringward restore` makes a data directory of. It takes an admin whose token is good for everything.
#[utoipa::path(get, path = "/v1/backup", tag = "audit", params(BackupQuery),
    responses((status = 200, body = String, content_type = "application/x-ndjson"),
        (status = 403, body = Problem, content_type = "application/problem+json")))]
pub async fn backup(
    visit: Visit,
    Asked(BackupQuery { since }): Asked<BackupQuery>,
) -> Result<Response, Problem> {
    visit.may(Verb::Backup, &Reach::Everything)?;
    let (store, at) = (visit.api.desk.store().clone(), visit.look(|_, now| now.wall));
    let from = behind(since)?.saturating_add(1);
    Ok(written(move |to| export(&*store, from, at, to).map(|_| ())))
}

/// What `/v1/audit` shows, all of it: a line an entry, and one that says that it is all of it, with a signature
/// over every byte before it. `ringward audit verify --file` verifies it.
#[utoipa::path(get, path = "/v1/audit/export", tag = "audit", params(BackupQuery),
    responses((status = 200, body = String, content_type = "application/x-ndjson")))]
pub async fn shown(
    visit: Visit,
    Asked(BackupQuery { since }): Asked<BackupQuery>,
) -> Result<Response, Problem> {
    visit.may(Verb::Read, &Reach::Common)?;
    let since = behind(since)?;
    Ok(written(move |to| show(&visit, since, to)))
}

fn show(visit: &Visit, since: u64, to: &mut dyn io::Write) -> Result<(), ExportError> {
    let (store, at) = (visit.api.desk.store(), visit.look(|_, now| now.wall));
    let (key, last) = (store.key()?, store.head());
    let mut showing = Showing::to(to);
    let mut after = since;
    while after < last.seq {
        let mut entries = store.read(after + 1, PAGE)?;
        // What was recorded since it began is not part of it.
        entries.retain(|entry| entry.seq <= last.seq);
        let Some(end) = entries.last().map(|entry| entry.seq) else { break };
        let page = visit.look(|world, _| {
            view::audit_page(world, &entries, None, |plan| visit.sees(world, plan))
        });
        for entry in page.entries {
            let line = serde_json::to_string(&entry).map_err(io::Error::from)?;
            let hash = Digest::try_from(entry.hash).map_err(io::Error::other)?;
            showing.line(hash, &line)?;
        }
        after = end;
    }
    Ok(showing.end(&key, &last, at)?)
}

/// Answers by what is written on a thread of its own, as far as the reader takes it.
fn written(
    write: impl FnOnce(&mut dyn io::Write) -> Result<(), ExportError> + Send + 'static,
) -> Response {
    let (to, mut lines) = mpsc::channel(4);
    tokio::task::spawn_blocking(move || {
        let mut pipe = io::BufWriter::with_capacity(CHUNK, Pipe(to.clone()));
        // A listener that went away wants no more of it; one that is there must not take half for all.
        match write(&mut pipe) {
            Ok(()) | Err(ExportError::Write(_)) => {}
            Err(error @ (ExportError::Store(_) | ExportError::Key(_))) => {
                let _ = to.blocking_send(Err(io::Error::other(error)));
            }
        }
    });
    let body = Body::from_stream(stream::poll_fn(move |context| lines.poll_recv(context)));
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

/// Bytes of a backup that are sent at once.
const CHUNK: usize = 64 * 1024;

/// From a thread that writes to the body of an answer: it waits for a slow reader.
struct Pipe(mpsc::Sender<io::Result<Bytes>>);

impl io::Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
        sent.map(|()| bytes.len()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads the disk where that holds up no other request.
pub async fn blocking<R: Send + 'static>(read: impl FnOnce() -> R + Send + 'static) -> R {
    match tokio::task::spawn_blocking(read).await {
        Ok(read) => read,
        // Nobody cancels it, so it can only have panicked.
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}
