//! Who asks, what they may do, and how they are answered.

use std::sync::{Arc, PoisonError};

use axum::{
    Json,
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{Api, Done, extract::Conditions, pages, problem::Problem};
use crate::{
    decide::{
        event::{Action, Actor, Request as Wanted, Scope},
        fact::Reply,
        world::World,
    },
    ids::{IdempotencyKey, Jurisdiction, PlanName, Principal, RingName, Version, hex},
    model::{plan::Plan, time::Now},
    show::auth::{self, Caller, Emergency, Reach, Unknown, Verb},
};

/// Lets nobody in whom no token makes known, and nobody who asks too much.
///
/// # Errors
/// 401 and 429.
pub async fn identify(
    State(api): State<Arc<Api>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let now = api.desk.clock().now();
    let Some(token) = bearer(request.headers()) else {
        return Err(Problem::unauthenticated("send `Authorization: Bearer` and a token"));
    };
    let caller = api.identities.caller(token, now).await.map_err(|unknown| match unknown {
        Unknown::Nobody(why) => Problem::unauthenticated(why),
        Unknown::Unavailable(why) => Problem::identity_unavailable(why),
    })?;
    api.limit.take(&caller.name, now.mono).map_err(Problem::too_many)?;
    if let Some(emergency) = &caller.emergency {
        let asked = format!("{} {}", request.method(), request.uri().path());
        record(&api, &caller, emergency, asked).await?;
    }
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

/// Logs that a token for emergencies is used, twice: in the journal, and for whoever watches the log.
///
/// # Errors
/// It cannot be recorded, and then it opens nothing.
async fn record(
    api: &Api,
    caller: &Caller,
    emergency: &Emergency,
    asked: String,
) -> Result<(), Problem> {
    let Emergency { token, reason } = emergency;
    tracing::warn!(
        target: "ringward::break_glass",
        who = %caller.name, token, reason, asked,
        "a token for emergencies is used"
    );
    let action = Action::BreakGlass { token: token.clone(), reason: reason.clone(), asked };
    let by = caller.actor(Verb::Read, &Reach::Common);
    match api.desk.ask(Wanted { by, key: None, seen: None, action }).await? {
        Reply::Done { .. } => Ok(()),
        Reply::Refused { kind, detail } => Err(Problem::refused(kind, detail)),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// Somebody who is known, what they know already, and what they work with.
pub struct Visit {
    /// What every handler works with.
    pub api: Arc<Api>,
    caller: Caller,
    headers: HeaderMap,
    /// The cookie of the session that they are known by, where it is not by a bearer token.
    session: Option<String>,
}

impl FromRequestParts<Arc<Api>> for Visit {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        // A route outside `known` that takes a visit lets nobody in.
        let caller = parts.extensions.get::<Caller>().cloned();
        let caller = caller.ok_or_else(|| Problem::unauthenticated("nobody is known here"))?;
        Ok(Self { api: api.clone(), caller, headers: parts.headers.clone(), session: None })
    }
}

impl Visit {
    /// A visit of somebody who is known by the cookie of a session.
    pub fn of(api: Arc<Api>, caller: Caller, cookie: String) -> Self {
        Self { api, caller, headers: HeaderMap::new(), session: Some(cookie) }
    }

    /// Whether they would be let in again as who they are, by what they came with.
    pub async fn is_known_still(&self) -> bool {
        let now = self.api.desk.clock().now();
        let known = match (&self.session, bearer(&self.headers)) {
            (Some(cookie), _) => pages::caller(&self.api, cookie, now).await.ok(),
            (None, Some(token)) => self.api.identities.caller(token, now).await.ok(),
            (None, None) => None,
        };
        known.is_some_and(|known| known == self.caller)
    }

    /// The same visit under these conditions, as headers would set them.
    pub fn under(&self, headers: HeaderMap) -> Self {
        let (api, caller, session) = (self.api.clone(), self.caller.clone(), self.session.clone());
        Self { api, caller, headers, session }
    }

    /// What they sent of conditions.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// What the core is told of them who do that.
    pub fn actor(&self, verb: Verb, reach: &Reach) -> Actor {
        self.caller.actor(verb, reach)
    }

    /// Whether they may do it.
    ///
    /// # Errors
    /// 403.
    pub fn may(&self, verb: Verb, reach: &Reach) -> Result<(), Problem> {
        Ok(auth::may(&self.caller, verb, reach)?)
    }

    /// Looks at the world.
    pub fn look<R>(&self, look: impl FnOnce(&World, Now) -> R) -> R {
        self.api.desk.read(look)
    }

    /// Looks at a plan that they may read.
    ///
    /// # Errors
    /// 403.
    pub fn look_at<R>(
        &self,
        plan: &PlanName,
        look: impl FnOnce(&World, Now) -> R,
    ) -> Result<R, Problem> {
        self.look(|world, now| {
            self.may(Verb::Read, &reach_of(world, plan, None, None))?;
            Ok(look(world, now))
        })
    }

    /// Whether they may read what belongs to a plan.
    pub fn sees(&self, world: &World, plan: &PlanName) -> bool {
        self.may(Verb::Read, &reach_of(world, plan, None, None)).is_ok()
    }

    /// What an action on the plan, its release or its ring would reach.
    pub fn reach(
        &self,
        plan: &PlanName,
        version: Option<&Version>,
        ring: Option<&RingName>,
    ) -> Reach {
        self.look(|world, _| reach_of(world, plan, version, ring))
    }

    /// Whether they may read of a pause or a freeze. What stops everything concerns everybody.
    pub fn sees_scope(&self, world: &World, scope: &Scope) -> bool {
        match scope {
            Scope::Everything | Scope::Jurisdiction(_) => true,
            Scope::Plan(plan) | Scope::Ring(plan, _) => self.sees(world, plan),
            Scope::Release(id) | Scope::ReleaseRing(id, _) => self.sees(world, &id.plan),
        }
    }

    /// Their name.
    pub fn name(&self) -> &Principal {
        &self.caller.name
    }

    /// Asks the core, if they may, and answers once it is durable.
    ///
    /// # Errors
    /// 403, whatever the core refuses, and 503.
    pub async fn ask(
        &self,
        verb: Verb,
        reach: Reach,
        action: Action,
    ) -> Result<Vec<IdempotencyKey>, Problem> {
        self.may(verb, &reach)?;
        let Conditions { key, seen } = self.conditions()?;
        let by = self.caller.actor(verb, &reach);
        let request = Wanted { by, key, seen, action };
        match self.api.desk.ask(request).await? {
            Reply::Done { in_flight } => Ok(in_flight),
            Reply::Refused { kind, detail } => Err(Problem::refused(kind, detail)),
        }
    }

    /// The same, answered by what is in flight.
    ///
    /// # Errors
    /// As [`Visit::ask`].
    pub async fn done(
        &self,
        verb: Verb,
        reach: Reach,
        action: Action,
    ) -> Result<Json<Done>, Problem> {
        let in_flight = self.ask(verb, reach, action).await?;
        Ok(Json(Done { in_flight }))
    }

    /// The conditions that they set for their action.
    ///
    /// # Errors
    /// 400 and 412.
    pub fn conditions(&self) -> Result<Conditions, Problem> {
        Conditions::read(&self.headers, &self.caller.name)
    }

    /// An id for what they ask for. A repeat under the same key names the same; otherwise nobody can
    /// guess it.
    ///
    /// # Errors
    /// 400 and 412.
    pub fn new_id(&self, prefix: &str) -> Result<String, Problem> {
        Ok(match self.conditions()?.key {
            Some(key) => {
                let digest = Sha256::digest(key.as_str().as_bytes());
                format!("{prefix}-{}", hex(&digest[..4]))
            }
            None => {
                let mut mint = self.api.mint.lock().unwrap_or_else(PoisonError::into_inner);
                mint.short(prefix)
            }
        })
    }

    /// What they read, or 304 where they know it already. `timeless` is the same without what grows by
    /// itself: the ETag is made from it and begins with the revision that an action can be bound to.
    pub fn answer<T: Serialize>(&self, revision: Option<u64>, body: &T, timeless: &T) -> Response {
        let text = serde_json::to_vec(timeless).unwrap_or_default();
        let digest = hex(&Sha256::digest(&text)[..8]);
        let tag = match revision {
            Some(revision) => format!("\"{revision}.{digest}\""),
            None => format!("\"{digest}\""),
        };
        let mut response = if self.knows(&tag) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            Json(body).into_response()
        };
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        // It is made of digits and quotes.
        headers.extend(HeaderValue::from_str(&tag).ok().map(|tag| (header::ETAG, tag)));
        response
    }

    /// What they read, all of which changes only when something happens.
    pub fn list<T: Serialize>(&self, body: &T) -> Response {
        self.answer(None, body, body)
    }

    fn knows(&self, tag: &str) -> bool {
        let known = self.headers.get_all(header::IF_NONE_MATCH).iter();
        let known = known.filter_map(|known| known.to_str().ok()).flat_map(|all| all.split(','));
        // If-None-Match compares weakly.
        known.map(|known| known.trim().trim_start_matches("W/")).any(|k| k == "*" || k == tag)
    }
}

/// Where the clusters lie that something on the plan, its release or its ring concerns.
pub fn reach_of(
    world: &World,
    plan: &PlanName,
    version: Option<&Version>,
    ring: Option<&RingName>,
) -> Reach {
    let state = world.plans.get(plan);
    let release = state.zip(version).and_then(|(state, version)| state.releases.get(version));
    let declared = || state.and_then(|state| state.declared.as_ref());
    let compiled = release.map(|release| &release.plan).or_else(declared);
    let places = compiled.map_or_else(Vec::new, |compiled| places(compiled, ring));
    Reach::Plan(plan.clone(), places)
}

fn places(plan: &Plan, ring: Option<&RingName>) -> Vec<Jurisdiction> {
    let rings = plan.rings.iter().filter(|r| ring.is_none_or(|ring| r.name == *ring));
    let places = rings.flat_map(|ring| &ring.clusters).map(|cluster| cluster.jurisdiction.clone());
    places.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}
