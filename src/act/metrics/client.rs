//! The one way out to metric sources and to channels, whatever their kind.
//!
//! Everything about the other side is taken to be hostile: it may be slow, endless, or lead elsewhere.
//! There is a cap on what is read, nothing is followed, and nothing is unpacked: what it packs to a
//! kilobyte may be a gigabyte.

use std::{collections::BTreeMap, error::Error, path::PathBuf, time::Duration};

use jiff::Timestamp;
use reqwest::{
    Certificate, ClientBuilder, Response, Url,
    header::{CONTENT_ENCODING, HeaderMap, HeaderValue, RETRY_AFTER},
    redirect,
};
use rustls::CertificateError;

use super::{
    address::{Forbidden, Resolver, permit},
    auth::{AuthError, Credentials, is_plain, sign},
    question::Outgoing,
};
use crate::model::time::Span;

/// The most that is read of an answer, in bytes.
const LONGEST_ANSWER: usize = 1_024 * 1_024;
/// The most headers that an answer may have.
const MOST_HEADERS: usize = 100;
/// Connections to one source that are kept for the next question.
const KEPT: usize = 8;
/// The longest answer to a message that is read to its end, in bytes, so that the connection can be kept,
const SHORT_ANSWER: u64 = 4_096;
/// and how long that may take.
const REST: Duration = Duration::from_secs(1);

/// What came back.
#[derive(Debug)]
pub(in crate::act) struct Answered {
    pub(in crate::act) status: u16,
    pub(in crate::act) body: Vec<u8>,
    pub(in crate::act) headers: HeaderMap,
    /// For how long the source asks to be left alone.
    pub(in crate::act) retry_after: Option<Span>,
}

/// A client for every other side; it keeps connections open per host.
#[derive(Debug)]
pub(in crate::act) struct Client {
    /// By the file of certificates that is trusted; none is the system's.
    by_trust: BTreeMap<Option<PathBuf>, reqwest::Client>,
    credentials: Credentials,
}

/// The HTTP client cannot be set up.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "a variant's fields are its sentence's words")]
pub enum NoClient {
    /// No TLS, or no certificates to trust.
    #[error("the HTTP client cannot be set up")]
    Client(#[source] reqwest::Error),
    /// Trust that cannot be read.
    #[error("{} cannot be read: it is a caFile of the settings", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    /// Trust that is none.
    #[error("{} holds no certificate in PEM: it is a caFile of the settings", .0.display())]
    NoCertificate(PathBuf),
}

impl Client {
    pub(in crate::act) fn new(credentials: Credentials) -> Result<Self, NoClient> {
        let mut by_trust = BTreeMap::from([(None, client(|b| b)?)]);
        for path in credentials.trusted() {
            let pem = std::fs::read(path)
                .map_err(|source| NoClient::Unreadable { path: path.clone(), source })?;
            let certificates = Certificate::from_pem_bundle(&pem).ok().filter(|c| !c.is_empty());
            let certificates = certificates.ok_or_else(|| NoClient::NoCertificate(path.clone()))?;
            let client = client(|builder| builder.tls_certs_only(certificates))?;
            by_trust.insert(Some(path.clone()), client);
        }
        Ok(Self { by_trust, credentials })
    }

    /// Sends the request with what belongs to the source, and reads the status and the capped body.
    pub(in crate::act) async fn exchange(
        &self,
        base: &Url,
        outgoing: Outgoing,
        now: Timestamp,
    ) -> Result<Answered, String> {
        let mut response = self.send(base, outgoing, now).await?;
        let encoding = response.headers().get(CONTENT_ENCODING);
        // AWS names its JSON there.
        let plain = |e: &HeaderValue| [&b"identity"[..], b"amz-1.0"].contains(&e.as_bytes());
        if encoding.is_some_and(|e| !plain(e)) {
            return Err("the answer is compressed, which was not asked for".into());
        }
        let retry_after = retry_after(&response, now);
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
        let status = response.status().as_u16();
        Ok(Answered { status, body, headers: std::mem::take(response.headers_mut()), retry_after })
    }

    /// Sends the request with what belongs to it, and returns the status and for how long the other side asks to
    /// be left alone. What else it answers is nobody's, and takes nothing back: it is not read, but for the few
    /// bytes after which the connection can be used again.
    pub(in crate::act) async fn deliver(
        &self,
        base: &Url,
        outgoing: Outgoing,
        now: Timestamp,
    ) -> Result<(u16, Option<Span>), String> {
        let mut response = self.send(base, outgoing, now).await?;
        let answered = (response.status().as_u16(), retry_after(&response, now));
        if response.content_length().is_some_and(|n| n <= SHORT_ANSWER) {
            let rest = async { while let Ok(Some(_)) = response.chunk().await {} };
            // Who is slow with it has said what counts.
            let _ = tokio::time::timeout(REST, rest).await;
        }
        Ok(answered)
    }

    async fn send(
        &self,
        base: &Url,
        outgoing: Outgoing,
        now: Timestamp,
    ) -> Result<Response, String> {
        let auth = self.credentials.of(base);
        let trust = auth.and_then(|auth| auth.ca_file.clone());
        let client = self.by_trust.get(&trust).ok_or("its caFile was not read at the start")?;
        let mut request = client.request(outgoing.method.clone(), outgoing.url.clone());
        if let Some(body) = &outgoing.body {
            request = request.body(body.clone());
        }
        for (name, value) in &outgoing.headers {
            request = request.header(*name, value);
        }
        if let Some(auth) = auth {
            request = sign(auth, request, &outgoing, now).await.map_err(|e| e.to_string())?;
        } else if outgoing.scope.is_some() {
            return Err(AuthError::Unsigned.to_string());
        } else if outgoing.message.is_some() {
            return Err(AuthError::Unsealed.to_string());
        }
        request.send().await.map_err(|e| explain(&e))
    }
}

/// For how long the other side asks to be left alone.
fn retry_after(response: &Response, now: Timestamp) -> Option<Span> {
    let said = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    said(RETRY_AFTER.as_str())
        .and_then(seconds)
        .or_else(|| said("x-ratelimit-reset").and_then(|text| until(text, now)))
}

/// How long it is until an instant in milliseconds of the epoch, as LaunchDarkly gives it. Others give seconds there, of
/// the epoch or from now: what is too small to be milliseconds says nothing.
fn until(text: &str, now: Timestamp) -> Option<Span> {
    const SMALLEST: i64 = 1_000_000_000_000;
    let at = text.trim().parse::<i64>().ok().filter(|at| *at >= SMALLEST)?;
    Some(Span(u64::try_from(at.saturating_sub(now.as_millisecond())).unwrap_or(0)))
}

/// So many seconds, however absurd: the number is the other side's.
fn seconds(text: &str) -> Option<Span> {
    text.trim().parse().ok().map(|n: u64| Span::seconds(1) * n)
}

fn client(more: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Result<reqwest::Client, NoClient> {
    let builder = reqwest::Client::builder()
        .user_agent(concat!("ringward/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        // A proxy would resolve names for us, past the check of what they resolve to.
        .no_proxy()
        .dns_resolver(Resolver)
        .http1_max_headers(MOST_HEADERS)
        .pool_max_idle_per_host(KEPT);
    more(builder).build().map_err(NoClient::Client)
}

/// A source's URL, checked: HTTP, nothing secret in it, and not an address that is never asked.
pub(in crate::act) fn base(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|e| format!("its URL cannot be read: {e}"))?;
    if !is_plain(&url) {
        return Err(
            "its URL must be http or https, with credentials in the server's settings only".into(),
        );
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("its URL must end with its path: no ? and no #".into());
    }
    permitted(&url).map(|()| url)
}

/// Whether a URL's address may be asked. A name's addresses are checked when it is resolved; an address in the
/// URL never is.
pub(in crate::act) fn permitted(url: &Url) -> Result<(), String> {
    let address = url.host_str().map(|h| h.trim_start_matches('[').trim_end_matches(']'));
    match address.and_then(|a| a.parse().ok()).map(permit) {
        Some(Err(forbidden)) => Err(forbidden.to_string()),
        Some(Ok(())) | None => Ok(()),
    }
}

/// Why there was no answer, without the URL: it carries the query.
fn explain(error: &reqwest::Error) -> String {
    let what = if error.is_connect() { "cannot connect" } else { "the answer broke off" };
    let mut kind = None;
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    while let Some(error) = cause {
        if let Some(forbidden) = error.downcast_ref::<Forbidden>() {
            return forbidden.to_string();
        }
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return format!("{what}: {}", distrust(tls));
        }
        // What an io::Error wraps is not its source; of one that is not known, only the kind is told.
        cause = match error.downcast_ref::<std::io::Error>() {
            Some(io) => {
                kind = Some(io.kind());
                io.get_ref().map(|wrapped| wrapped as &(dyn Error + 'static))
            }
            None => error.source(),
        };
    }
    kind.map_or_else(|| what.into(), |kind| format!("{what}: {kind}"))
}

/// Why there is no TLS, without anything that the other side's certificate says.
fn distrust(error: &rustls::Error) -> &'static str {
    use CertificateError as Why;
    let rustls::Error::InvalidCertificate(why) = error else { return "no TLS with it" };
    if matches!(why, Why::Expired | Why::ExpiredContext { .. }) {
        "its certificate has expired"
    } else if matches!(why, Why::NotValidYet | Why::NotValidYetContext { .. }) {
        "its certificate is not valid yet"
    } else if matches!(why, Why::NotValidForName | Why::NotValidForNameContext { .. }) {
        "its certificate is for another host"
    } else if *why == Why::UnknownIssuer {
        "its certificate is of an unknown authority; give that one's as caFile in the server's settings"
    } else {
        "its certificate is not valid"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_of_seconds_is_too_large() {
        assert_eq!(seconds(" 7 "), Some(Span::seconds(7)));
        assert_eq!(seconds(&u64::MAX.to_string()), Some(Span(u64::MAX)));
        assert_eq!(seconds("Wed, 21 Oct 2026 07:28:00 GMT"), None);
    }

    #[test]
    fn a_reset_in_milliseconds_is_so_far_away() {
        let now = Timestamp::from_millisecond(1_790_000_000_000).expect("an instant");
        assert_eq!(until("1790000007500", now), Some(Span(7_500)));
        assert_eq!(until("1789999999999", now), Some(Span(0)), "it is over");
        assert_eq!(until("1790000007", now), None, "seconds of the epoch");
        assert_eq!(until("30", now), None, "seconds from now");
    }
}
