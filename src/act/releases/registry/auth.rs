//! What a registry says in headers: what it wants to be shown, and where its next page is.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;

/// What a registry wants to be shown, by `WWW-Authenticate`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A name and a password.
    Basic,
    /// A token that the realm hands out.
    Bearer {
        /// Where.
        realm: String,
        /// Whom it is for.
        service: Option<String>,
    },
}

impl Challenge {
    /// Reads one header; nothing where it asks for something else.
    pub(super) fn read(header: &str) -> Option<Self> {
        let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service) = (None, None);
        let mut rest = rest;
        while let Some((name, value)) = rest.split_once('=') {
            let name = name.trim_matches([' ', ',', '\t']);
            let (value, after) = match value.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => value.split_once(',').unwrap_or((value, "")),
            };
            if name.eq_ignore_ascii_case("realm") {
                realm = Some(value.trim().to_owned());
            } else if name.eq_ignore_ascii_case("service") {
                service = Some(value.trim().to_owned());
            }
            rest = after;
        }
        realm.map(|realm| Self::Bearer { realm, service })
    }
}

/// What a realm hands out: by one name or the other.
#[derive(Deserialize)]
struct Handed {
    token: Option<String>,
    access_token: Option<String>,
}

/// The longest token, in bytes.
const LONGEST: usize = 32 * 1024;

/// The token in a realm's answer, if it is one that a header can carry.
pub(super) fn token(body: &[u8]) -> Option<String> {
    let Handed { token, access_token } = serde_json::from_slice(body).ok()?;
    let token = token.or(access_token)?;
    let visible = token.bytes().all(|b| b.is_ascii_graphic());
    (visible && (1..=LONGEST).contains(&token.len())).then_some(token)
}

/// A name and a password as a header has them.
pub(super) fn basic(username: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
}

/// Where the next page is, by `Link`.
pub(super) fn next(link: &str) -> Option<&str> {
    let mut rest = link;
    while let Some((_, begun)) = rest.split_once('<') {
        let (target, after) = begun.split_once('>')?;
        let end = after.find('<').unwrap_or(after.len());
        let about = |part: &str| {
            let value = part.trim_matches([' ', ',', '\t']).strip_prefix("rel=");
            value.is_some_and(|value| value.trim_matches('"').split(' ').any(|rel| rel == "next"))
        };
        if after[..end].split(';').any(about) {
            return Some(target);
        }
        rest = &after[end..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_read_however_it_is_written() {
        let bearer = |realm: &str, service: Option<&str>| {
            let service = service.map(str::to_owned);
            Some(Challenge::Bearer { realm: realm.into(), service })
        };
        let docker = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#;
        assert_eq!(
            Challenge::read(docker),
            bearer("https://auth.docker.io/token", Some("registry.docker.io"))
        );
        assert_eq!(
            Challenge::read(r#"bearer scope="a=b, c",  Realm="https://r/t?x=y""#),
            bearer("https://r/t?x=y", None)
        );
        assert_eq!(
            Challenge::read("Bearer realm=https://r/t, service=s"),
            bearer("https://r/t", Some("s"))
        );
        assert_eq!(Challenge::read("Basic realm=\"x\""), Some(Challenge::Basic));
        assert_eq!(Challenge::read("BASIC"), Some(Challenge::Basic));
        for none in ["", "Bearer", "Bearer realm=\"x", "Negotiate", "Bearer service=\"s\""] {
            assert_eq!(Challenge::read(none), None, "{none}");
        }
    }

    #[test]
    fn the_next_page_is_the_one_that_says_so() {
        assert_eq!(
            next(r#"</v2/a/tags/list?last=b&n=2>; rel="next""#),
            Some("/v2/a/tags/list?last=b&n=2")
        );
        assert_eq!(next(r#"<x>; rel="prev", <y;z>; title=t; rel=next"#), Some("y;z"));
        for none in ["", "<x", "<x>", r#"<x>; rel="prev""#, "rel=next"] {
            assert_eq!(next(none), None, "{none}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_a_header_says_is_read_without_a_fault(text in ".*") {
            let _ = (Challenge::read(&text), token(text.as_bytes()));
            proptest::prop_assert!(next(&text).is_none_or(|target| text.contains(target)));
        }
    }

    #[test]
    fn a_token_is_what_a_header_can_carry() {
        assert_eq!(token(br#"{"token": "a.b"}"#).as_deref(), Some("a.b"));
        assert_eq!(token(br#"{"access_token": "c", "expires_in": 300}"#).as_deref(), Some("c"));
        for none in ["", "{}", r#"{"token": ""}"#, r#"{"token": "a\r\nb"}"#, r#"{"token": 1}"#] {
            assert_eq!(token(none.as_bytes()), None, "{none}");
        }
    }
}
