//! What a request says: its path, its query, its body and its conditions, each checked before use.

use std::time::Duration;

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Query, Request, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, header, request::Parts},
};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_path_to_error::Segment;
use tokio::time::timeout;
use utoipa::IntoParams;

use super::problem::{Problem, Violation};
use crate::ids::{
    FreezeId, IdempotencyKey, PlanName, Principal, ReleaseId, RingName, Version, WaiverId, is_label,
};
pub use crate::model::release::{VERSION, is_version};

/// How long a body may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// `{plan}`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct PlanPath {
    /// The plan.
    #[serde(deserialize_with = "label")]
    pub plan: PlanName,
}

/// `{plan}/rings/{ring}`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct RingPath {
    /// The plan.
    #[serde(deserialize_with = "label")]
    pub plan: PlanName,
    /// The ring.
    #[serde(deserialize_with = "label")]
    pub ring: RingName,
}

/// `{plan}/releases/{version}`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct ReleasePath {
    /// The plan.
    #[serde(deserialize_with = "label")]
    pub plan: PlanName,
    /// The version.
    #[serde(deserialize_with = "version")]
    pub version: Version,
}

impl ReleasePath {
    /// The release that it names.
    pub fn id(&self) -> ReleaseId {
        ReleaseId { plan: self.plan.clone(), version: self.version.clone() }
    }
}

/// `{plan}/releases/{version}/rings/{ring}`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct ReleaseRingPath {
    /// The plan.
    #[serde(deserialize_with = "label")]
    pub plan: PlanName,
    /// The version.
    #[serde(deserialize_with = "version")]
    pub version: Version,
    /// The ring.
    #[serde(deserialize_with = "label")]
    pub ring: RingName,
}

impl ReleaseRingPath {
    /// The release that it names.
    pub fn id(&self) -> ReleaseId {
        ReleaseId { plan: self.plan.clone(), version: self.version.clone() }
    }
}

/// `{plan}/waivers/{id}`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct WaiverPath {
    /// The plan.
    #[serde(deserialize_with = "label")]
    pub plan: PlanName,
    /// The waiver.
    #[serde(deserialize_with = "label")]
    pub id: WaiverId,
}

/// `{id}` of a freeze.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct FreezePath {
    /// The freeze.
    #[serde(deserialize_with = "label")]
    pub id: FreezeId,
}

/// The headers that an action takes.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "it documents what Conditions reads")]
pub struct ActionHeaders {
    /// Makes a repeat recognisable: it is answered as the first was. The same key with another body is
    /// refused. 1 to 128 printable characters.
    #[param(rename = "Idempotency-Key")]
    idempotency_key: Option<String>,
    /// The ETag of what was seen: the action is refused where that is no longer so.
    #[param(rename = "If-Match")]
    if_match: Option<String>,
}

/// The headers that a read takes.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "it documents what a read looks at")]
pub struct ReadHeaders {
    /// The ETag of what is known already: 304 where it is still so.
    #[param(rename = "If-None-Match")]
    if_none_match: Option<String>,
}

fn label<'de, T: From<String>, D: Deserializer<'de>>(d: D) -> Result<T, D::Error> {
    let text = String::deserialize(d)?;
    is_label(&text).then(|| T::from(text)).ok_or_else(|| {
        serde::de::Error::custom(
            "a name has 1 to 63 lower-case letters, digits and -, and begins and ends with a letter \
             or digit",
        )
    })
}

fn version<'de, D: Deserializer<'de>>(d: D) -> Result<Version, D::Error> {
    let text = String::deserialize(d)?;
    match is_version(&text) {
        true => Ok(text.into()),
        false => Err(serde::de::Error::custom(VERSION)),
    }
}

/// The path, checked.
#[derive(Debug)]
pub struct At<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for At<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|Path(path)| At(path))
            .map_err(|rejected| Problem::bad_request(rejected.body_text()))
    }
}

/// The query, checked.
#[derive(Debug)]
pub struct Asked<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query
            .map(|Query(query)| Asked(query))
            .map_err(|rejected| Problem::bad_request(rejected.body_text()))
    }
}

/// A JSON body; none at all stands for `{}`.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let json = is_json(request.headers());
        let bytes = whole(request).await?;
        if bytes.is_empty() {
            return parse(b"{}").map(Body);
        }
        if !json {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "the body must be JSON: send Content-Type: application/json",
            ));
        }
        parse(&bytes).map(Body)
    }
}

/// Reads a body to its end, which must come soon.
///
/// # Errors
/// It is too long, or takes too long.
pub async fn whole(request: Request) -> Result<Bytes, Problem> {
    match timeout(PATIENCE, Bytes::from_request(request, &())).await {
        Ok(read) => read.map_err(unread),
        Err(_) => {
            let detail = format!("the body took longer than {} s", PATIENCE.as_secs());
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "request-timeout", detail))
        }
    }
}

fn unread(rejected: BytesRejection) -> Problem {
    let status = axum::response::IntoResponse::into_response(rejected).status();
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new(status, "payload-too-large", "a body may have 64 KiB, a webhook 1 MiB")
        }
        _ => Problem::bad_request("the body ended early"),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    let kind = kind.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

/// Reads a JSON body.
///
/// # Errors
/// It is not JSON, or holds values that cannot be, each told by its pointer.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let parsed = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let (path, error) = (error.path().clone(), error.into_inner());
        if error.is_syntax() || error.is_eof() {
            Problem::bad_request(format!("the body is not JSON: {error}"))
        } else {
            let pointer = path.iter().filter_map(segment).map(|s| format!("/{s}")).collect();
            Problem::invalid(vec![Violation { pointer, detail: error.to_string() }])
        }
    })?;
    json.end().map_err(|error| Problem::bad_request(format!("the body is not JSON: {error}")))?;
    // A list of a structure's fields is as good as an object to serde, and to nobody else.
    if bytes.trim_ascii_start().starts_with(b"[") {
        let detail = "a body is an object".into();
        return Err(Problem::invalid(vec![Violation { pointer: String::new(), detail }]));
    }
    Ok(parsed)
}

fn segment(segment: &Segment) -> Option<String> {
    match segment {
        Segment::Seq { index } => Some(index.to_string()),
        Segment::Map { key } => Some(key.replace('~', "~0").replace('/', "~1")),
        Segment::Enum { .. } | Segment::Unknown => None,
    }
}

/// The conditions under which an action shall happen.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// `Idempotency-Key`, made the caller's own.
    pub key: Option<IdempotencyKey>,
    /// `If-Match`: the revision that was seen.
    pub seen: Option<u64>,
}

impl Conditions {
    /// Reads the headers of `who`'s request.
    ///
    /// # Errors
    /// A key that cannot be, or an ETag that no state ever had.
    pub fn read(headers: &HeaderMap, who: &Principal) -> Result<Self, Problem> {
        let key = match headers.get("idempotency-key") {
            None => None,
            Some(key) => Some(
                // No name of a caller holds a slash, so no two callers share a key.
                key.to_str()
                    .ok()
                    .filter(|key| (1..=128).contains(&key.len()) && !key.contains(' '))
                    .map(|key| IdempotencyKey::from(format!("{who}/{key}")))
                    .ok_or_else(|| {
                        Problem::bad_request(
                            "Idempotency-Key has 1 to 128 printable characters without spaces",
                        )
                    })?,
            ),
        };
        let seen = match headers.get(header::IF_MATCH).map(|tag| tag.to_str()) {
            None | Some(Ok("*")) => None,
            Some(Ok(tag)) => Some(revision(tag).ok_or_else(|| {
                Problem::stale(format!("{tag} is no ETag of this; look again, and send its ETag"))
            })?),
            Some(Err(_)) => return Err(Problem::stale("If-Match is no ETag of this")),
        };
        Ok(Self { key, seen })
    }
}

/// The revision that an ETag begins with.
fn revision(tag: &str) -> Option<u64> {
    let inside = tag.trim().strip_prefix('"')?.strip_suffix('"')?;
    inside.split_once('.')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_versions() {
        for good in ["a", "eu-west", "7"] {
            assert!(is_label(good), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a/b", "a@b", "a.b", "é", &"a".repeat(64)] {
            assert!(!is_label(bad), "{bad}");
        }
        for good in ["2.14.0", "1.0.0-rc.1+build.5", "v1", &"1".repeat(100)] {
            assert!(is_version(good), "{good}");
        }
        for bad in ["", ".1", "1/2", "1@2", "1 2", "1\n", &"1".repeat(101)] {
            assert!(!is_version(bad), "{bad}");
        }
    }

    #[test]
    fn an_etag_says_which_revision_was_seen() {
        let read = |name: &'static str, value: &str| {
            let headers = [(axum::http::HeaderName::from_static(name), value.parse().unwrap())];
            Conditions::read(&HeaderMap::from_iter(headers), &"dana".into())
        };
        let seen = |tag: &str| read("if-match", tag).map(|c| c.seen).map_err(|p| p.status);
        assert_eq!(seen("\"17.9f2c\""), Ok(Some(17)));
        assert_eq!(seen("*"), Ok(None));
        for foreign in ["\"9f2c\"", "17.9f2c", "W/\"17.9f2c\"", "\"-1.a\"", ""] {
            assert_eq!(seen(foreign), Err(412), "{foreign}");
        }
        let key = |key: &str| read("idempotency-key", key).map(|c| c.key).map_err(|p| p.status);
        assert_eq!(key("k1"), Ok(Some("dana/k1".into())));
        assert_eq!(key(""), Err(400));
        assert_eq!(key("a b"), Err(400));
        assert_eq!(key(&"k".repeat(129)), Err(400));
    }
}
