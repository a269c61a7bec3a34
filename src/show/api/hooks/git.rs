//! What a Git host says by itself: that there is news.
//!
//! Architecture invariant: such a webhook changes nothing. It makes the source be looked at sooner, so that one
//! that is sent again, or out of order, does no harm; what is there decides.

use std::{fmt, path::PathBuf, sync::Arc};

use aws_lc_rs::{constant_time, hmac};
use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
};
use tokio::sync::{Notify, Semaphore};

use super::{AT_ONCE, secret};
use crate::{
    ids::hex,
    show::api::{Api, extract::whole, problem::Problem},
};

/// The longest webhook, in bytes: of one push with its commits.
pub(in crate::show::api) const BODY: usize = 1024 * 1024;

/// The headers in which hosts give HMAC-SHA256 over the body, in hexadecimal behind `sha256=`.
const SIGNATURES: [&str; 2] = ["x-hub-signature-256", "x-hub-signature"];

/// The header in which GitLab gives the secret itself.
const TOKEN: &str = "x-gitlab-token";

/// Webhooks of a Git host.
pub struct GitHook {
    secret: PathBuf,
    news: Arc<Notify>,
    turns: Semaphore,
}

impl fmt::Debug for GitHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GitHook").field("secret", &self.secret).finish_non_exhaustive()
    }
}

impl GitHook {
    /// Those that are signed with the secret in that file; each wakes who waits for `news`.
    pub fn new(secret: PathBuf, news: Arc<Notify>) -> Self {
        Self { secret, news, turns: Semaphore::new(AT_ONCE) }
    }
}

/// That there is news at the source of declarations: it is looked at, at once.
///
/// For GitHub, Gitea, Forgejo and Bitbucket, which sign the body (`X-Hub-Signature-256` or
/// `X-Hub-Signature`: `sha256=` and HMAC-SHA256), and for GitLab, which sends the secret
/// (`X-Gitlab-Token`). The body is not looked at.
#[utoipa::path(post, path = "/v1/hooks/git", tag = "hooks", security(()),
    params(
        ("X-Hub-Signature-256" = Option<String>, Header, description = "`sha256=` and HMAC-SHA256 over the body"),
        ("X-Gitlab-Token" = Option<String>, Header, description = "The secret itself")),
    request_body(content = String, content_type = "application/json"),
    responses(
        (status = 202, description = "It is looked at"),
        (status = 401, description = "Not signed with the secret", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No webhooks are taken", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "Too long", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many at once", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The secret cannot be read", body = Problem, content_type = "application/problem+json")))]
pub async fn git(State(api): State<Arc<Api>>, request: Request) -> Result<StatusCode, Problem> {
    let Some(hook) = &api.hook else {
        let detail = "no webhooks are taken: source.hookSecretFile of the settings is not set";
        return Err(Problem::unknown("no-hook", detail));
    };
    let _turn = hook.turns.try_acquire().map_err(|_| Problem::too_many(1))?;
    let headers = request.headers().clone();
    let body = whole(request).await?;
    if !is_signed(&headers, &body, &secret(&hook.secret)?) {
        return Err(Problem::unauthenticated("the webhook is not signed with the secret"));
    }
    hook.news.notify_one();
    Ok(StatusCode::ACCEPTED)
}

fn is_signed(headers: &HeaderMap, body: &[u8], secret: &[u8]) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let tag = hmac::sign(&key, body);
    let right = hex(tag.as_ref());
    let signed = |name| {
        let text = headers.get(name)?.as_bytes().strip_prefix(b"sha256=").unwrap_or_default();
        Some(constant_time::verify_slices_are_equal(text, right.as_bytes()).is_ok())
    };
    let told = || {
        let token = headers.get(TOKEN)?;
        Some(constant_time::verify_slices_are_equal(token.as_bytes(), secret).is_ok())
    };
    SIGNATURES.into_iter().find_map(signed).or_else(told).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of GitHub's documentation.
    #[test]
    fn a_signature_is_that_of_github() {
        let secret = b"It's a Secret to Everybody";
        let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let with = |name: &'static str, value: &str| {
            HeaderMap::from_iter([(
                axum::http::HeaderName::from_static(name),
                value.parse().unwrap(),
            )])
        };
        let body = b"Hello, World!";
        for name in SIGNATURES {
            assert!(is_signed(&with(name, signature), body, secret), "{name}");
            assert!(!is_signed(&with(name, signature), b"Hello, World", secret));
            assert!(!is_signed(&with(name, signature), body, b"another"));
            for other in [
                "",
                "sha256=",
                "sha256=7",
                "sha1=757107ea",
                &signature[..70],
                &signature.replace("75", "zz"),
            ] {
                assert!(!is_signed(&with(name, other), body, secret), "{other}");
            }
        }
        assert!(is_signed(&with(TOKEN, "It's a Secret to Everybody"), body, secret));
        assert!(!is_signed(&with(TOKEN, "It's a Secret to Everyone"), body, secret));
        assert!(!is_signed(&HeaderMap::new(), body, secret));
        // A wrong signature is not made up for by anything else.
        let mut both = with(TOKEN, "It's a Secret to Everybody");
        for wrong in ["sha256=00", "sha256=zz", "757107ea", ""] {
            both.insert(SIGNATURES[0], wrong.parse().unwrap());
            assert!(!is_signed(&both, body, secret), "{wrong}");
        }
    }
}
