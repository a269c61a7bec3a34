//! Signing in at the OpenID provider: a browser goes there with a secret of its own, and comes back.
//!
//! The secret lies in a cookie that comes along when the provider sends the browser back (`SameSite=Lax`);
//! the session's own does not (`Strict`). Hence who has signed in is led on by a page instead of a
//! redirect: what a page of ours asks for comes from our own site.

use std::sync::Arc;

use axum::{
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Redirect, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    super::{Api, problem::Problem},
    cookie, html, is_own_path, mint, read_form, session_cookie, sign_in_page,
};
use crate::show::{
    auth::{CodeFlow, NotSignedIn},
    dashboard,
};

const AWAY: &str = "ringward_sign_in";

/// How long somebody may be away at the provider, in seconds.
const LONGEST_AWAY: u64 = 10 * 60;

/// The longest path that somebody is led back to, in bytes.
const LONGEST_PATH: usize = 1_000;

/// Leaves for the provider.
pub async fn leave(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let flow = flow(&api)?;
    let query = read_form(&query.unwrap_or_default());
    let next = query.get("next").filter(|next| is_own_path(next) && next.len() <= LONGEST_PATH);
    let next = next.map_or("/", String::as_str);
    let secret = mint(&api);
    let now = api.desk.clock().now().mono;
    Ok(match flow.leave(&secret, now).await {
        Ok(url) => {
            let kept = format!("{secret}.{}", URL_SAFE_NO_PAD.encode(next));
            let kept = away(flow, &kept, LONGEST_AWAY);
            ([(header::SET_COOKIE, kept)], Redirect::to(url.as_str())).into_response()
        }
        Err(why) => failed(&api, flow, &why, next),
    })
}

/// Comes back from the provider.
pub async fn back(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let flow = flow(&api)?;
    let kept = cookie(&headers, AWAY).and_then(|kept| kept.split_once('.'));
    let Some((secret, next)) = kept.filter(|(secret, _)| secret.len() == 64) else {
        return Ok(failed(&api, flow, &NotSignedIn::Foreign, "/"));
    };
    let next = URL_SAFE_NO_PAD.decode(next).ok().and_then(|next| String::from_utf8(next).ok());
    let next = next.filter(|next| is_own_path(next)).unwrap_or_else(|| "/".into());
    let now = api.desk.clock().now();
    let answer = read_form(&query.unwrap_or_default());
    let known = match api.sessions.was_opened_by(secret) {
        true => Err(NotSignedIn::Foreign),
        false => flow.back(secret, &answer, now).await,
    };
    Ok(match known {
        Ok(caller) => {
            let session = mint(&api);
            let lasting = flow.session();
            tracing::info!(who = %caller.name, "somebody signs in at the OpenID provider");
            api.sessions.open_for(&session, (secret, caller), lasting, now.wall);
            let opened = session_cookie(&session, lasting.0 / 1_000, flow.is_secure());
            let mut led = html(StatusCode::OK, dashboard::sign_in::onward(&next));
            set(&mut led, &[opened, away(flow, "", 0)]);
            led
        }
        Err(why) => failed(&api, flow, &why, &next),
    })
}

fn flow(api: &Api) -> Result<&CodeFlow, Problem> {
    let detail = "nobody signs in at a provider here: auth.oidc.browser of the settings is not set";
    api.identities.browsers().ok_or_else(|| Problem::unknown("no-provider", detail))
}

/// The form to sign in with, over why nobody is signed in.
fn failed(api: &Api, flow: &CodeFlow, why: &NotSignedIn, next: &str) -> Response {
    tracing::info!(%why, "somebody could not sign in at the OpenID provider");
    let status = match why {
        NotSignedIn::Foreign | NotSignedIn::MixedUp => StatusCode::BAD_REQUEST,
        NotSignedIn::Refused(_) | NotSignedIn::Doubtful(_) => StatusCode::UNAUTHORIZED,
        NotSignedIn::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut response = html(status, sign_in_page(api, Some(&why.to_string()), next));
    set(&mut response, &[away(flow, "", 0)]);
    response
}

/// The cookie of somebody who is away.
fn away(flow: &CodeFlow, value: &str, age: u64) -> String {
    let secure = if flow.is_secure() { "; Secure" } else { "" };
    format!("{AWAY}={value}; Path=/login; HttpOnly; SameSite=Lax; Max-Age={age}{secure}")
}

fn set(response: &mut Response, cookies: &[String]) {
    for cookie in cookies {
        // Made of letters, digits and what divides them.
        if let Ok(cookie) = cookie.parse() {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
    }
}
