//! Puts what the settings have for a metric source into a request for it. Never logged, never part of
//! an error.

use std::{collections::BTreeMap, path::PathBuf};

use jiff::Timestamp;
use reqwest::{
    RequestBuilder, Url,
    header::{HeaderName, HeaderValue},
};
use tokio::io::AsyncReadExt;

use super::{
    question::Outgoing,
    sigv4::{self, Keys},
    webhook,
};
use crate::config::{BasicAuth, MetricsAuth};

/// The longest secret that is read from a file, in bytes.
const LONGEST: u64 = 64 * 1_024;

/// Why credentials cannot be used; names files and headers, never what is in them.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "a variant's fields are its sentence's words")]
pub enum AuthError {
    /// A key of the settings is no URL.
    #[error("`{0}` is not an http or https URL without credentials in it")]
    NotAUrl(String),
    /// Two ways to say who asks.
    #[error("give one of bearerTokenFile, basic and aws for {0}")]
    Both(Url),
    /// A signature that is not asked for is not made, so that the question would go out unsigned.
    #[error("aws is given for it in the server's settings, and it is no source of AWS'")]
    NotOfAws,
    /// A source of AWS' without a key.
    #[error("it takes signed requests only: give aws for it in the server's settings")]
    Unsigned,
    /// A secret of a webhook, where there is none to sign for.
    #[error("webhookSecretFile is given for it in the server's settings, and it is no webhook")]
    NotAWebhook,
    /// A webhook without a secret.
    #[error(
        "it is sent signed messages only: give webhookSecretFile for it in the server's settings"
    )]
    Unsealed,
    /// A webhook's secret that is none.
    #[error("{} holds no secret of a webhook: base64 of 24 bytes or more, with whsec_ before it", .0.display())]
    NoSecret(PathBuf),
    /// A header that HTTP cannot carry, or that is not the settings' to set.
    #[error("the header `{0}` cannot be set")]
    Header(String),
    /// A secret's file cannot be read.
    #[error("{} cannot be read ({kind})", path.display())]
    Unreadable { path: PathBuf, kind: std::io::ErrorKind },
    /// A secret's file does not hold one line of text that HTTP can carry.
    #[error("{} holds no usable secret: one line of visible text, at most 64 KiB", .0.display())]
    Unusable(PathBuf),
}

/// The credentials of all sources, by URL prefix.
#[derive(Debug, Clone, Default)]
pub struct Credentials(Vec<(Url, MetricsAuth)>);

impl Credentials {
    /// Each key is a source's URL or a prefix of one that ends at a `/` of its path.
    pub fn new(sources: BTreeMap<String, MetricsAuth>) -> Result<Self, AuthError> {
        let mut prefixes = Vec::with_capacity(sources.len());
        for (text, auth) in sources {
            let url = Url::parse(&text).ok().filter(is_plain);
            let url = url.ok_or(AuthError::NotAUrl(text))?;
            let ways = [auth.bearer_token_file.is_some(), auth.basic.is_some(), auth.aws.is_some()];
            if ways.iter().filter(|given| **given).count() > 1 {
                return Err(AuthError::Both(url));
            }
            for (name, value) in &auth.headers {
                header(name, value)?;
            }
            for name in auth.header_files.keys() {
                header(name, "")?;
            }
            prefixes.push((url, auth));
        }
        Ok(Self(prefixes))
    }

    /// Those of the longest prefix of `url`. Scheme, host and port must be the same, and a path counts
    /// by whole segments: `http://prom` is no prefix of `http://prom.example`.
    pub(super) fn of(&self, url: &Url) -> Option<&MetricsAuth> {
        let covers = |prefix: &Url| {
            let path = prefix.path().trim_end_matches('/');
            prefix.origin() == url.origin()
                && url.path().strip_prefix(path).is_some_and(|r| r.is_empty() || r.starts_with('/'))
        };
        let found = self.0.iter().filter(|(prefix, _)| covers(prefix));
        found.max_by_key(|(prefix, _)| prefix.path().len()).map(|(_, auth)| auth)
    }

    /// The files of certificates that sources are trusted by.
    pub(super) fn trusted(&self) -> impl Iterator<Item = &PathBuf> {
        self.0.iter().filter_map(|(_, auth)| auth.ca_file.as_ref())
    }
}

/// Puts what belongs to the source into a request that was made of `outgoing`.
pub(super) async fn sign(
    auth: &MetricsAuth,
    mut request: RequestBuilder,
    outgoing: &Outgoing,
    now: Timestamp,
) -> Result<RequestBuilder, AuthError> {
    for (name, value) in &auth.headers {
        let (name, value) = header(name, value)?;
        request = request.header(name, value);
    }
    for (name, path) in &auth.header_files {
        let (name, value) = header(name, &secret(path).await?)?;
        request = request.header(name, value);
    }
    if let Some(path) = &auth.bearer_token_file {
        request = request.bearer_auth(secret(path).await?);
    }
    if let Some(BasicAuth { username, password_file }) = &auth.basic {
        request = request.basic_auth(username, Some(secret(password_file).await?));
    }
    match (&auth.webhook_secret_file, &outgoing.message) {
        (None, None) => {}
        (Some(_), None) => return Err(AuthError::NotAWebhook),
        (None, Some(_)) => return Err(AuthError::Unsealed),
        (Some(path), Some(id)) => {
            let body = outgoing.body.as_deref().unwrap_or_default();
            let signed = webhook::sign(&secret(path).await?, id, body, now);
            for (name, value) in signed.ok_or_else(|| AuthError::NoSecret(path.clone()))? {
                let (name, value) = header(name, &value)?;
                request = request.header(name, value);
            }
        }
    }
    let (aws, scope) = match (&auth.aws, &outgoing.scope) {
        (None, None) => return Ok(request),
        (Some(_), None) => return Err(AuthError::NotOfAws),
        (None, Some(_)) => return Err(AuthError::Unsigned),
        (Some(aws), Some(scope)) => (aws, scope),
    };
    let id = secret(&aws.access_key_id_file).await?;
    let key = secret(&aws.secret_access_key_file).await?;
    let session = match &aws.session_token_file {
        Some(path) => Some(secret(path).await?),
        None => None,
    };
    let keys = Keys { id: &id, secret: &key, session: session.as_deref() };
    let Outgoing { url, headers, body, .. } = outgoing;
    for (name, value) in sigv4::sign(&keys, scope, url, headers, body.as_deref(), now) {
        let (name, value) = header(name, &value)?;
        request = request.header(name, value);
    }
    Ok(request)
}

/// Whether a URL is one that a source may have: HTTP, and nothing secret in it.
pub(in crate::act) fn is_plain(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
        && url.username().is_empty()
        && url.password().is_none()
}

fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), AuthError> {
    use reqwest::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
    let refuse = || AuthError::Header(name.into());
    let parsed = HeaderName::try_from(name).map_err(|_| refuse())?;
    // Those that frame the request are HTTP's own.
    if [HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING].contains(&parsed) {
        return Err(refuse());
    }
    let mut value = HeaderValue::from_str(value).map_err(|_| refuse())?;
    value.set_sensitive(true);
    Ok((parsed, value))
}

pub(in crate::act) async fn secret(path: &PathBuf) -> Result<String, AuthError> {
    let unreadable =
        |e: std::io::Error| AuthError::Unreadable { path: path.clone(), kind: e.kind() };
    let mut text = Vec::new();
    let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
    file.take(LONGEST + 1).read_to_end(&mut text).await.map_err(unreadable)?;
    let usable = text.len() as u64 <= LONGEST;
    let text = String::from_utf8(text).ok().filter(|_| usable);
    let text = text.map(|t| t.trim().to_owned());
    text.filter(|t| !t.is_empty() && t.bytes().all(|b| (b' '..=b'~').contains(&b)))
        .ok_or_else(|| AuthError::Unusable(path.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> MetricsAuth {
        MetricsAuth {
            headers: [("x-scope-orgid".into(), name.into())].into(),
            ..Default::default()
        }
    }

    fn credentials(urls: &[&str]) -> Result<Credentials, AuthError> {
        Credentials::new(urls.iter().map(|u| ((*u).into(), tenant(u))).collect())
    }

    #[test]
    fn the_longest_prefix_of_whole_segments_counts() {
        let all = credentials(&["http://prom", "http://prom/a", "https://prom/a/b/"]).unwrap();
        let of = |url: &str| {
            let auth = all.of(&Url::parse(url).unwrap());
            auth.map(|auth| auth.headers["x-scope-orgid"].as_str())
        };
        assert_eq!(of("http://prom/"), Some("http://prom"));
        assert_eq!(of("http://prom:80/api"), Some("http://prom"));
        assert_eq!(of("http://prom/a/api"), Some("http://prom/a"));
        assert_eq!(of("http://prom/ab"), Some("http://prom"));
        assert_eq!(of("https://prom/a/b"), Some("https://prom/a/b/"));
        for other in ["http://prom.example/", "http://prom:81/", "https://prom/", "https://prom/a"]
        {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn settings_that_cannot_be_used_are_refused_at_once() {
        for url in ["prom:9090", "ftp://prom", "http://u:p@prom", ""] {
            assert!(matches!(credentials(&[url]), Err(AuthError::NotAUrl(_))), "{url}");
        }
        let both = MetricsAuth {
            bearer_token_file: Some("t".into()),
            basic: Some(BasicAuth { username: "u".into(), password_file: "p".into() }),
            ..Default::default()
        };
        let both = Credentials::new([("http://prom".into(), both)].into());
        assert!(matches!(both, Err(AuthError::Both(_))));
        for (name, value) in [("a b", "x"), ("a", "x\r\nb: y"), ("Host", "x")] {
            let auth =
                MetricsAuth { headers: [(name.into(), value.into())].into(), ..Default::default() };
            let refused = Credentials::new([("http://prom".into(), auth)].into());
            assert!(matches!(refused, Err(AuthError::Header(_))), "{name}");
        }
    }

    #[test]
    fn nothing_secret_is_shown() {
        let auth = MetricsAuth {
            basic: Some(BasicAuth { username: "canary-user".into(), password_file: "p".into() }),
            ..tenant("canary-tenant")
        };
        let all = Credentials::new([("http://prom".into(), auth)].into()).unwrap();
        assert!(!format!("{all:?}").contains("canary"), "{all:?}");
    }
}
