//! What Flagger asks of whoever serves its hooks: whether a Canary may go on, and whether it shall go back.
//!
//! Flagger sends no header of its own, so that a hook is known by what its Canary says: a plan, a cluster, and the
//! token of both, which is HMAC-SHA256 over `flagger/PLAN/CLUSTER`. Whoever reads it there can ask about that plan in
//! that cluster, and about nothing else; nobody can change anything by it.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use aws_lc_rs::{constant_time, hmac};
use axum::{
    Json,
    extract::{Request, State},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use utoipa::ToSchema;

use super::{AT_ONCE, secret};
use crate::{
    ids::{ClusterName, PlanName, Principal, hex},
    show::{
        api::{Api, extract::whole, problem::Problem},
        flagger::{self, Canary},
    },
};

/// The hooks of Flagger's Canaries.
#[derive(Debug)]
pub struct Flagger {
    secret: PathBuf,
    turns: Semaphore,
}

impl Flagger {
    /// Those with a token that is made with the secret in that file.
    pub fn new(secret: PathBuf) -> Self {
        Self { secret, turns: Semaphore::new(AT_ONCE) }
    }
}

/// What Flagger sends to every hook.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FlaggerCall {
    /// The Canary's name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its phase, such as `Waiting`.
    #[serde(default)]
    pub phase: String,
    /// Of what it analyses.
    #[serde(default)]
    pub checksum: String,
    /// What its Canary gives as `metadata` of the hook: `plan`, `cluster`, and the `token` of both.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

/// It shall be so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Confirmed {
    /// Always true: whatever else is the case is no answer of 200.
    pub confirmed: bool,
}

/// Whoever asks, once it is known that they may.
struct Known {
    call: FlaggerCall,
    plan: PlanName,
    cluster: ClusterName,
}

impl Known {
    async fn of(api: &Api, request: Request) -> Result<Self, Problem> {
        let Some(hooks) = &api.flagger else {
            let detail = "no hooks of Flagger's are served: hooks.flaggerSecretFile of the settings is not set";
            return Err(Problem::unknown("no-hook", detail));
        };
        let _turn = hooks.turns.try_acquire().map_err(|_| Problem::too_many(1))?;
        let body = whole(request).await?;
        let call: FlaggerCall = serde_json::from_slice(&body)
            .map_err(|_| Problem::bad_request("the body is not what Flagger sends to a hook"))?;
        let said = |name: &str| call.metadata.get(name).map(String::as_str).unwrap_or_default();
        let (plan, cluster) = (said("plan").to_owned(), said("cluster").to_owned());
        let right = token(&secret(&hooks.secret)?, &plan, &cluster);
        if constant_time::verify_slices_are_equal(said("token").as_bytes(), right.as_bytes())
            .is_err()
        {
            return Err(Problem::unauthenticated(
                "the hook's metadata does not have the token of its `plan` and `cluster`",
            ));
        }
        let who = Principal::from(format!("flagger/{plan}/{cluster}"));
        let now = api.desk.clock().now().mono;
        api.limit.take(&who, now).map_err(Problem::too_many)?;
        Ok(Self { plan: plan.into(), cluster: cluster.into(), call })
    }

    fn canary(&self) -> Canary<'_> {
        let Self { call, plan, cluster } = self;
        Canary { plan, cluster, namespace: &call.namespace, name: &call.name }
    }

    fn answer(&self, what: &str, said: Result<(), String>) -> Result<Json<Confirmed>, Problem> {
        let Self { plan, cluster, .. } = self;
        match said {
            Ok(()) => {
                tracing::info!(%plan, %cluster, what, "confirmed to Flagger");
                Ok(Json(Confirmed { confirmed: true }))
            }
            Err(why) => {
                tracing::debug!(%plan, %cluster, what, why, "not confirmed to Flagger");
                Err(Problem::new(StatusCode::FORBIDDEN, "not-confirmed", why))
            }
        }
    }
}

/// What the hooks of a plan's Canary in a cluster are known by, in hexadecimal.
fn token(secret: &[u8], plan: &str, cluster: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let tag = hmac::sign(&key, format!("flagger/{plan}/{cluster}").as_bytes());
    hex(tag.as_ref())
}

/// What a hook may be answered with.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "it stands in the OpenAPI document for what handlers return")]
enum Answers {
    /// It shall be so.
    #[response(status = 200)]
    Confirmed(Confirmed),
    /// That is no hook's body.
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(Problem),
    /// The metadata does not have the token of its plan and cluster.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthenticated(Problem),
    /// Not now: Flagger asks again.
    #[response(status = 403, content_type = "application/problem+json")]
    Held(Problem),
    /// No such hooks are served.
    #[response(status = 404, content_type = "application/problem+json")]
    Unknown(Problem),
    /// Too many at once, or of one Canary.
    #[response(status = 429, content_type = "application/problem+json")]
    TooMany(Problem),
    /// The secret cannot be read.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(Problem),
}

/// Whether a Canary may begin its analysis.
///
/// 200 where a release of the plan is on its way there under what is recorded, and nothing holds its ring; 403 wherever
/// anything does, or it is not known. A way back is never held.
#[utoipa::path(post, path = "/v1/hooks/flagger/confirm-rollout", tag = "hooks", security(()),
    request_body = FlaggerCall, responses(Answers))]
pub async fn confirm_rollout(
    State(api): State<Arc<Api>>,
    request: Request,
) -> Result<Json<Confirmed>, Problem> {
    confirm(&api, request, "confirm-rollout").await
}

/// Whether a Canary may be promoted, by the same rules as whether it may begin.
#[utoipa::path(post, path = "/v1/hooks/flagger/confirm-promotion", tag = "hooks", security(()),
    request_body = FlaggerCall, responses(Answers))]
pub async fn confirm_promotion(
    State(api): State<Arc<Api>>,
    request: Request,
) -> Result<Json<Confirmed>, Problem> {
    confirm(&api, request, "confirm-promotion").await
}

async fn confirm(api: &Api, request: Request, what: &str) -> Result<Json<Confirmed>, Problem> {
    let known = Known::of(api, request).await?;
    let said = api.desk.read(|world, now| flagger::confirm(world, known.canary(), now));
    known.answer(what, said)
}

/// Whether a Canary shall be failed: 200 where its release goes back and nothing was written for that yet.
#[utoipa::path(post, path = "/v1/hooks/flagger/rollback", tag = "hooks", security(()),
    request_body = FlaggerCall, responses(Answers))]
pub async fn rollback(
    State(api): State<Arc<Api>>,
    request: Request,
) -> Result<Json<Confirmed>, Problem> {
    let known = Known::of(&api, request).await?;
    let said = api.desk.read(|world, _| flagger::goes_back(world, known.canary()));
    known.answer("rollback", said)
}

/// What a Canary tells of itself (hooks of the types `event`, `rollout` and `post-rollout`): it is taken, and
/// logged. How it does is seen by watching it.
#[utoipa::path(post, path = "/v1/hooks/flagger/event", tag = "hooks", security(()),
    request_body = FlaggerCall, responses((status = 202, description = "It is logged"), Answers))]
pub async fn event(State(api): State<Arc<Api>>, request: Request) -> Result<StatusCode, Problem> {
    let Known { call, plan, cluster } = Known::of(&api, request).await?;
    let FlaggerCall { name, namespace, phase, checksum, .. } = call;
    tracing::debug!(%plan, %cluster, namespace, name, phase, checksum, "Flagger tells of a Canary");
    Ok(StatusCode::ACCEPTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `printf 'flagger/checkout/eu-1' | openssl dgst -sha256 -hmac s3cret` prints it.
    #[test]
    fn a_token_is_of_one_plan_in_one_cluster() {
        let of = |plan, cluster| token(b"s3cret", plan, cluster);
        assert_eq!(
            of("checkout", "eu-1"),
            "5e6c73e24eb2dfc9d4a6552983200362983bf47caa48e1e535e2cbb94dba66dd"
        );
        assert_ne!(of("checkout", "eu-2"), of("checkout", "eu-1"));
        assert_ne!(of("search", "eu-1"), of("checkout", "eu-1"));
    }
}
