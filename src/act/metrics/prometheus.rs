//! Prometheus' HTTP API: instant queries. Thanos, Mimir and VictoriaMetrics speak it too.
//!
//! Everything about the other side is taken to be hostile: it may be slow, endless, or lead elsewhere.
//! Each question has one deadline for all of it, a cap on what is read, and follows nothing.

use std::{collections::BTreeMap, error::Error, sync::Mutex};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use jiff::Timestamp;
use reqwest::{Client, Url, header::CONTENT_TYPE, redirect};

use super::{
    address::{Forbidden, Resolver, permit},
    auth::{Credentials, is_plain},
};
pub use crate::decide::gate::reading::read;
use crate::{
    decide::event::Reading,
    model::{ring::MetricSource, time::Span},
};

/// The most that is read of an answer, in bytes.
const LONGEST_ANSWER: usize = 1_024 * 1_024;
/// The longest that an answer may take, whatever a measurement asks for.
const LONGEST_WAIT: Span = Span::seconds(10);
/// Beyond this many bytes a query goes in the body: servers cap the length of a URL.
const LONGEST_URL: usize = 4_096;

type Flight = Shared<BoxFuture<'static, Reading>>;

/// A client for all sources of this kind; it keeps connections open per host.
#[derive(Debug)]
pub struct Prometheus {
    client: Client,
    credentials: Credentials,
    in_flight: Mutex<BTreeMap<Question, WeakShared<BoxFuture<'static, Reading>>>>,
}

/// What is asked; two that are equal have one answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Question {
    url: String,
    query: String,
    at: Option<Timestamp>,
    timeout: Span,
}

/// The HTTP client cannot be set up: no TLS, or no certificates to trust.
#[derive(Debug, thiserror::Error)]
#[error("the client for metric sources cannot be set up")]
pub struct NoClient(#[source] reqwest::Error);

impl Prometheus {
    /// Asks with these credentials.
    pub fn new(credentials: Credentials) -> Result<Self, NoClient> {
        let client = Client::builder()
            .user_agent(concat!("ringward/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            // A proxy would resolve names for us, past the check of what they resolve to.
            .no_proxy()
            .dns_resolver(Resolver)
            .build()
            .map_err(NoClient)?;
        Ok(Self { client, credentials, in_flight: Mutex::default() })
    }

    /// Asks `source` for `query` as of `at`, or as of now by its own clock. An identical question that
    /// is on its way already is not asked again. Dropping the future takes the question back.
    pub fn ask(
        &self,
        source: &MetricSource,
        query: &str,
        at: Option<Timestamp>,
        timeout: Span,
    ) -> impl Future<Output = Reading> + Send + use<> {
        let question = Question {
            url: source.url.clone(),
            query: query.into(),
            at,
            timeout: timeout.min(LONGEST_WAIT),
        };
        let answer = self.board(question);
        let name = source.name.clone();
        async move {
            match answer.await {
                Reading::Error(why) => Reading::Error(format!("metric source {name}: {why}")),
                reading @ (Reading::Value { .. } | Reading::Absent) => reading,
            }
        }
    }

    /// Joins the flight of an equal question, or starts one.
    fn board(&self, question: Question) -> Flight {
        let mut in_flight = self.in_flight.lock().unwrap_or_else(|e| e.into_inner());
        in_flight.retain(|_, flight| flight.upgrade().is_some_and(|f| f.peek().is_none()));
        if let Some(flight) = in_flight.get(&question).and_then(WeakShared::upgrade) {
            return flight;
        }
        let (client, credentials) = (self.client.clone(), self.credentials.clone());
        let key = question.clone();
        let flight = async move {
            let deadline = question.timeout;
            let answer = exchange(&client, &credentials, &question);
            match tokio::time::timeout(deadline.to_std(), answer).await {
                Ok(Ok((status, body))) => read(status, &body),
                Ok(Err(why)) => Reading::Error(why),
                Err(_) => Reading::Error(format!("no answer within {deadline}")),
            }
        };
        let flight = flight.boxed().shared();
        if let Some(weak) = flight.downgrade() {
            in_flight.insert(key, weak);
        }
        flight
    }
}

/// Sends the question and reads the status and the capped body.
async fn exchange(
    client: &Client,
    credentials: &Credentials,
    question: &Question,
) -> Result<(u16, Vec<u8>), String> {
    let base = base(&question.url)?;
    let request = request(client, &base, question);
    let request = credentials.sign(&base, request).await.map_err(|e| e.to_string())?;
    let mut response = request.send().await.map_err(|e| explain(&e))?;

    let too_long = || format!("the answer is longer than {} KiB", LONGEST_ANSWER / 1_024);
    if response.content_length().is_some_and(|n| n > LONGEST_ANSWER as u64) {
        return Err(too_long());
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| explain(&e))? {
        if body.len() + chunk.len() > LONGEST_ANSWER {
            return Err(too_long());
        }
        body.extend_from_slice(&chunk);
    }
    Ok((response.status().as_u16(), body))
}

/// A source's URL, checked: HTTP, nothing secret in it, and not an address that is never asked.
fn base(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|e| format!("its URL cannot be read: {e}"))?;
    if !is_plain(&url) {
        return Err(
            "its URL must be http or https, with credentials in the server's settings only".into(),
        );
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("its URL must end with its path: no ? and no #".into());
    }
    // A name's addresses are checked when it is resolved; an address in the URL never is.
    let address = url.host_str().map(|h| h.trim_start_matches('[').trim_end_matches(']'));
    match address.and_then(|a| a.parse().ok()).map(permit) {
        Some(Err(forbidden)) => Err(forbidden.to_string()),
        Some(Ok(())) | None => Ok(url),
    }
}

fn request(client: &Client, base: &Url, question: &Question) -> reqwest::RequestBuilder {
    let mut url = base.clone();
    url.set_path(&format!("{}/api/v1/query", base.path().trim_end_matches('/')));
    let mut full = url.clone();
    full.query_pairs_mut()
        .append_pair("query", &question.query)
        .append_pair("timeout", &question.timeout.as_seconds().to_string());
    if let Some(at) = question.at {
        let millis = at.as_millisecond();
        let time = format!("{}.{:03}", millis.div_euclid(1_000), millis.rem_euclid(1_000));
        full.query_pairs_mut().append_pair("time", &time);
    }
    if full.as_str().len() <= LONGEST_URL {
        return client.get(full);
    }
    let form = full.query().unwrap_or_default().to_owned();
    client.post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form)
}

/// Why there was no answer, without the URL: it carries the query.
fn explain(error: &reqwest::Error) -> String {
    let what = if error.is_connect() { "cannot connect" } else { "the answer broke off" };
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    while let Some(error) = cause {
        if let Some(forbidden) = error.downcast_ref::<Forbidden>() {
            return forbidden.to_string();
        }
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            // An io::Error may wrap one of ours; only the kind of any other is told.
            if let Some(forbidden) = io.get_ref().and_then(|e| e.downcast_ref::<Forbidden>()) {
                return forbidden.to_string();
            }
            return format!("{what}: {}", io.kind());
        }
        cause = error.source();
    }
    what.into()
}

#[cfg(test)]
mod tests;
