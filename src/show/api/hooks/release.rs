//! Releases that a build system asks for by itself, known by its signature.
//!
//! Messages are signed by the rules of Standard Webhooks: the id makes a repeat recognisable, the instant bounds how
//! long a message is good for, and both are signed with the body. What is asked goes the way of every request.

use std::{collections::BTreeMap, fmt, path::Path, sync::Arc};

use aws_lc_rs::hmac;
use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use utoipa::{IntoParams, ToSchema};

use super::{AT_ONCE, read, unusable};
use crate::{
    config::ReleaseHook,
    decide::{
        command::Lane,
        event::{Actor, Request as Wanted},
        fact::Reply,
    },
    ids::{IdempotencyKey, PlanName, Principal, ReleaseId, is_label},
    show::api::{
        Api, SubmitBody,
        extract::{At, parse, whole},
        problem::{Problem, Violation},
        releases::{self, ArtifactBody, Created, is_flag, sound},
    },
};

/// How far the instant of a message may be from ours, in seconds: Standard Webhooks' own tolerance.
const TOLERANCE: u64 = 300;
/// The shortest secret, in bytes; Standard Webhooks' own.
const SHORTEST: usize = 24;

/// The build systems that may ask for releases.
pub struct ReleaseHooks {
    hooks: BTreeMap<String, ReleaseHook>,
    turns: Semaphore,
}

impl fmt::Debug for ReleaseHooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReleaseHooks").field("hooks", &self.hooks).finish_non_exhaustive()
    }
}

impl ReleaseHooks {
    /// Those of the settings, by their names.
    pub fn new(hooks: BTreeMap<String, ReleaseHook>) -> Self {
        Self { hooks, turns: Semaphore::new(AT_ONCE) }
    }
}

/// `{hook}`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct HookPath {
    /// Its name in the settings.
    hook: String,
}

/// A release that a build system asks for. It goes by the normal lane: a hotfix is for people to ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HookBody {
    /// The plan; one of those that the hook may release.
    pub plan: String,
    /// Its version: 1 to 100 letters, digits and `. _ + -`.
    pub version: String,
    /// What is deployed.
    pub artifact: ArtifactBody,
    /// Who made it, so that they do not approve it themselves; the hook itself where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether it is never to be rolled back automatically.
    #[serde(default)]
    pub irreversible: bool,
    /// The version of the same plan that must have passed everywhere first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requires: Option<String>,
}

/// Creates a release for a build system.
///
/// Signed by the rules of Standard Webhooks with the secret of `hooks.releases` in the server's settings. The same
/// `webhook-id` is answered as it was the first time; a message is good for five minutes.
#[utoipa::path(post, path = "/v1/hooks/release/{hook}", tag = "hooks", security(()),
    params(HookPath,
        ("webhook-id" = String, Header, description = "What makes a repeat recognisable"),
        ("webhook-timestamp" = String, Header, description = "Seconds since 1970"),
        ("webhook-signature" = String, Header, description = "`v1,` and HMAC-SHA256 over id, timestamp and body")),
    request_body = HookBody,
    responses((status = 201, body = Created, headers(("Location" = String))),
        (status = 401, description = "Not signed with the secret, or too long ago", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "Not a plan of this hook", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such hook, or no such plan", body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many at once", body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
pub async fn release(
    State(api): State<Arc<Api>>,
    At(HookPath { hook: name }): At<HookPath>,
    request: Request,
) -> Result<Response, Problem> {
    let Some(hook) = api.release_hooks.hooks.get(&name) else {
        let detail = "no hook of that name is under hooks.releases of the settings";
        return Err(Problem::unknown("no-hook", detail));
    };
    let _turn = api.release_hooks.turns.try_acquire().map_err(|_| Problem::too_many(1))?;
    let headers = request.headers().clone();
    let bytes = whole(request).await?;
    let now = api.desk.clock().now();
    let Some(id) = signed(&headers, &bytes, &secret(&hook.secret_file)?, now.wall) else {
        let detail = "the message is not signed with the hook's secret, or its instant is more than five minutes from ours";
        return Err(Problem::unauthenticated(detail));
    };
    // No name of a caller holds a colon, so nobody else is called so or has a key of it.
    let who = Principal::from(format!("hook:{name}"));
    api.limit.take(&who, now.mono).map_err(Problem::too_many)?;
    let key = IdempotencyKey::from(format!("{who}/{id}"));
    let body: HookBody = parse(&bytes)?;
    if !is_label(&body.plan) {
        let detail = "this is no plan's name: lower-case letters, digits and hyphens".into();
        return Err(Problem::invalid(vec![Violation { pointer: "/plan".into(), detail }]));
    }
    let (plan, body) = body.asked();
    if !hook.plans.contains(&plan) {
        let detail =
            format!("hook {name} may not release {plan}: the settings name the plans that it may");
        return Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", detail));
    }
    let flag = api.desk.read(|world, _| is_flag(world, &plan));
    let artifact = sound(&body, flag).map_err(Problem::invalid)?;
    let release = ReleaseId { plan, version: body.version.clone().into() };
    let action = releases::submission(release.clone(), artifact, body);
    let by = Actor { name: who, roles: Vec::new(), jurisdiction: None };
    match api.desk.ask(Wanted { by, key: Some(key), seen: None, action }).await? {
        Reply::Refused { kind, detail } => Err(Problem::refused(kind, detail)),
        Reply::Done { in_flight } => Ok(releases::created(release, in_flight)),
    }
}

impl HookBody {
    /// The plan, and what an operator would ask for.
    fn asked(self) -> (PlanName, SubmitBody) {
        let Self { plan, version, artifact, author, reason, irreversible, requires } = self;
        let lane = Lane::Normal;
        let body = SubmitBody { version, artifact, lane, reason, irreversible, requires, author };
        (plan.into(), body)
    }
}

fn secret(path: &Path) -> Result<Vec<u8>, Problem> {
    key(path).map_err(|error| unusable(path, &error))
}

/// The secret that stands in that file, as Standard Webhooks writes it; in words, why there is none.
pub(super) fn key(path: &Path) -> Result<Vec<u8>, String> {
    let text = read(path)?;
    let key = STANDARD.decode(text.strip_prefix(b"whsec_").unwrap_or(&text));
    key.ok()
        .filter(|key| key.len() >= SHORTEST)
        .ok_or_else(|| "it is no base64 of 24 bytes or more, with whsec_ before it".into())
}

/// The id of a message that is signed with the secret, and not long ago.
fn signed(headers: &HeaderMap, body: &[u8], secret: &[u8], now: Timestamp) -> Option<String> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let (id, at, signatures) =
        (text("webhook-id")?, text("webhook-timestamp")?, text("webhook-signature")?);
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let message = [id.as_bytes(), b".", at.as_bytes(), b".", body].concat();
    let is_ours = |signature: &str| {
        let tag = signature.strip_prefix("v1,").and_then(|tag| STANDARD.decode(tag).ok());
        tag.is_some_and(|tag| hmac::verify(&key, &message, &tag).is_ok())
    };
    // While a secret is replaced there may be several.
    if !signatures.split(' ').take(AT_ONCE).any(is_ours) {
        return None;
    }
    let at: i64 = at.parse().ok()?;
    let fits = (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
    (fits && now.as_second().abs_diff(at) <= TOLERANCE).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"012345678901234567890123";

    fn headers(id: &str, at: i64, signature: &str) -> HeaderMap {
        let all = [
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", at.to_string()),
            ("webhook-signature", signature.to_owned()),
        ];
        let one = |(name, value): (&'static str, String)| {
            (axum::http::HeaderName::from_static(name), value.parse().unwrap())
        };
        all.into_iter().map(one).collect()
    }

    /// The example of the Standard Webhooks specification's own libraries.
    #[test]
    fn a_signature_is_that_of_the_specification() {
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let (id, at, body) =
            ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        let with = |signature: &str, late: i64| {
            let now = Timestamp::from_second(at + late).unwrap();
            signed(&headers(id, at, signature), body, &secret, now)
        };
        for late in [0, 300, -300] {
            assert_eq!(with(signature, late).as_deref(), Some(id), "{late}");
        }
        assert!(with(signature, 301).is_none() && with(signature, -301).is_none());
        assert!(with(&format!("v1,AAAA {signature}"), 0).is_some());
        for wrong in ["", "v1,", "v1,AAAA", &signature[3..], &signature.replace("v1", "v2")] {
            assert!(with(wrong, 0).is_none(), "{wrong}");
        }
        let now = Timestamp::from_second(at).unwrap();
        let of = |id: &str, at: i64, body: &[u8], secret: &[u8]| {
            signed(&headers(id, at, signature), body, secret, now)
        };
        assert!(of("another", at, body, &secret).is_none());
        assert!(of(id, at + 1, body, &secret).is_none());
        assert!(of(id, at, b"{}", &secret).is_none());
        assert!(of(id, at, body, SECRET).is_none());
        assert!(signed(&HeaderMap::new(), body, &secret, now).is_none());
    }
}
