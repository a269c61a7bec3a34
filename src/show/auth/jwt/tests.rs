use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;
use tokio::sync::Notify;

use super::*;
use crate::show::auth::{Reach, Verb, may};

const AUDIENCE: &str = "ringward";

/// A provider on loopback that publishes what it is told to.
struct Provider {
    issuer: String,
    said: Arc<std::sync::Mutex<Said>>,
    asked: Arc<AtomicUsize>,
}

#[derive(Clone)]
enum Said {
    Keys(Vec<Jwk>),
    Status(u16),
    Elsewhere,
    Endless,
    /// Nothing, until it is told to go on.
    Later(Arc<Notify>),
}

type Shared = (Arc<std::sync::Mutex<Said>>, Arc<AtomicUsize>);

async fn keys(State((said, asked)): State<Shared>) -> Response {
    asked.fetch_add(1, Ordering::Relaxed);
    let said = said.lock().unwrap().clone();
    match said {
        Said::Keys(keys) => {
            let odd = json!({"kty": "quantum", "kid": "odd"});
            let mut keys: Vec<Value> =
                keys.iter().map(|key| serde_json::to_value(key).unwrap()).collect();
            keys.insert(0, odd);
            Json(json!({"keys": keys})).into_response()
        }
        Said::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
        Said::Elsewhere => (StatusCode::FOUND, [(header::LOCATION, "/other")]).into_response(),
        Said::Endless => vec![b' '; 2 * LONGEST_ANSWER].into_response(),
        Said::Later(go_on) => {
            go_on.notified().await;
            Json(json!({"keys": [published("ec", Signed::ES256, "k1")]})).into_response()
        }
    }
}

impl Provider {
    async fn start(said: Said) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let (said, asked) = (Arc::new(std::sync::Mutex::new(said)), Arc::new(AtomicUsize::new(0)));
        let found = json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys")});
        let lying = json!({"issuer": "https://elsewhere", "jwks_uri": format!("{issuer}/keys")});
        let good = json!({"keys": [published("ec", Signed::ES256, "k1")]});
        let routes = Router::new()
            .route("/.well-known/openid-configuration", get(async move || Json(found)))
            .route("/lying/.well-known/openid-configuration", get(async move || Json(lying)))
            .route("/other", get(async move || Json(good)))
            .route("/keys", get(keys))
            .with_state((said.clone(), asked.clone()));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { issuer, said, asked }
    }

    fn says(&self, said: Said) {
        *self.said.lock().unwrap() = said;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    fn settings(&self) -> OidcSettings {
        let text = json!({
            "issuer": self.issuer, "audience": AUDIENCE, "algorithms": ["ES256", "RS256"],
            "jurisdictionClaim": "country",
            "bindings": [
                {"group": "eu-operators", "roles": ["operator"], "within": ["EU"]},
                {"group": "checkout", "roles": ["operator"], "plans": ["checkout"]},
                {"user": "kim@example.com", "roles": ["approver"]},
            ],
        });
        serde_json::from_value(text).unwrap()
    }

    fn claims(&self) -> Value {
        json!({
            "iss": self.issuer, "aud": AUDIENCE, "sub": "kim@example.com", "exp": at(600),
            "iat": at(0), "nbf": at(0), "groups": ["eu-operators", "others"], "country": "IE",
        })
    }
}

fn secret(name: &str, signed: Signed) -> EncodingKey {
    let der = std::fs::read(format!("tests/jwt/{name}.der")).unwrap();
    match signed {
        Signed::RS256 => EncodingKey::from_rsa_der(&der),
        _ => EncodingKey::from_ec_der(&der),
    }
}

fn published(name: &str, signed: Signed, kid: &str) -> Jwk {
    let mut key = Jwk::from_encoding_key(&secret(name, signed), signed).unwrap();
    key.common.key_id = Some(kid.into());
    key
}

fn header(signed: Signed, kid: &str) -> Header {
    Header { kid: Some(kid.into()), ..Header::new(signed) }
}

fn signed(claims: &Value) -> String {
    encode(&header(Signed::ES256, "k1"), claims, &secret("ec", Signed::ES256)).unwrap()
}

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

const START: i64 = 1_793_000_000;

fn at(seconds: i64) -> i64 {
    START + seconds
}

fn now(seconds: i64) -> Now {
    let mono = u64::try_from(seconds).unwrap() * 1_000;
    Now { wall: Timestamp::from_second(at(seconds)).unwrap(), mono: Mono(mono) }
}

async fn provider() -> (Provider, Arc<Oidc>) {
    let provider = Provider::start(Said::Keys(vec![published("ec", Signed::ES256, "k1")])).await;
    let oidc = Oidc::new(provider.settings()).unwrap();
    (provider, oidc)
}

fn because(told: Result<Caller, Unknown>) -> &'static str {
    match told {
        Err(Unknown::Nobody(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn who_a_provider_vouches_for_has_the_roles_that_are_bound_to_them() {
    let (provider, oidc) = provider().await;
    let token = signed(&provider.claims());
    assert!(oidc.issued(&token));
    let kim = oidc.caller(&token, now(0)).await.unwrap();
    assert_eq!(
        (kim.name.as_str(), kim.jurisdiction.clone()),
        ("kim@example.com", Some("IE".into()))
    );
    let plan = |name: &str, place: &str| Reach::Plan(name.into(), vec![place.into()]);
    assert_eq!(may(&kim, Verb::Go, &plan("checkout", "DE")), Ok(()));
    assert_eq!(may(&kim, Verb::Agree, &plan("checkout", "US")), Ok(()), "an approver everywhere");
    assert!(may(&kim, Verb::Go, &plan("checkout", "US")).is_err(), "an operator in the EU only");
    // Each binding keeps its own scope: to operate checkout anywhere is not to operate all of the EU.
    let claims = with(provider.claims(), "groups", json!("checkout"));
    let kim = oidc.caller(&signed(&claims), now(0)).await.unwrap();
    assert_eq!(may(&kim, Verb::Go, &plan("checkout", "US")), Ok(()));
    assert!(may(&kim, Verb::Go, &plan("search", "DE")).is_err());
    // Nobody's binding.
    let claims = with(with(provider.claims(), "sub", json!("lee")), "groups", json!([]));
    let lee = oidc.caller(&signed(&claims), now(0)).await.unwrap();
    assert!(may(&lee, Verb::Read, &Reach::Common).is_err());
}

#[tokio::test]
async fn what_is_not_so_here_and_now_is_refused() {
    let (provider, oidc) = provider().await;
    let claims = || provider.claims();
    for (claims, at, why) in [
        (with(claims(), "iss", json!("https://elsewhere")), 0, "another issuer"),
        (with(claims(), "aud", json!("other")), 0, "another audience"),
        (with(claims(), "aud", json!(["a", "b"])), 0, "another audience"),
        (with(claims(), "aud", Value::Null), 0, "another audience"),
        (claims(), 630, "expired"),
        (with(claims(), "exp", Value::Null), 0, "expired"),
        (with(claims(), "exp", json!("9999999999")), 0, "expired"),
        (with(claims(), "nbf", json!(at(31))), 0, "not good yet"),
        (with(claims(), "nbf", json!("soon")), 0, "not good yet"),
        (with(claims(), "iat", json!(at(3_600))), 0, "not good yet"),
        (with(claims(), "sub", Value::Null), 0, "does not name"),
        (with(claims(), "sub", json!("a/b")), 0, "no name is given here"),
    ] {
        let told = because(oidc.caller(&signed(&claims), now(at)).await);
        assert!(told.contains(why), "{claims}: {told}");
    }
    // The leeway is for clocks that differ, both ways.
    assert!(oidc.caller(&signed(&claims()), now(629)).await.is_ok());
    let early = with(claims(), "nbf", json!(at(30)));
    assert!(oidc.caller(&signed(&early), now(0)).await.is_ok());
    let many = with(claims(), "aud", json!(["a", AUDIENCE]));
    assert!(oidc.caller(&signed(&many), now(0)).await.is_ok());
}

#[tokio::test]
async fn what_is_not_signed_as_was_pinned_is_refused() {
    let (provider, oidc) = provider().await;
    let claims = provider.claims();
    let good = signed(&claims);
    let [_, body, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("{good}") };
    let raw = |header: Value, rest: &str| {
        format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()))
    };
    let own = secret("ec", Signed::ES256);
    let kinds = |typ: &str| {
        let header = Header { typ: Some(typ.into()), ..header(Signed::ES256, "k1") };
        encode(&header, &claims, &own).unwrap()
    };
    let public = serde_json::to_vec(&published("ec", Signed::ES256, "k1")).unwrap();
    let hmac = encode(&header(Signed::HS256, "k1"), &claims, &EncodingKey::from_secret(&public));
    let other = encode(&header(Signed::ES256, "k1"), &claims, &secret("other", Signed::ES256));
    let richer = with(claims.clone(), "sub", json!("admin")).to_string();
    for (token, why) in [
        (raw(json!({"alg": "none", "typ": "JWT"}), &format!("{body}.")), "not signed"),
        (raw(json!({"alg": "nOnE", "kid": "k1"}), &format!("{body}.{signature}")), "not signed"),
        (hmac.unwrap(), "not signed"),
        // Pinned, and not what the key is for.
        (
            raw(json!({"alg": "RS256", "kid": "k1"}), &format!("{body}.{signature}")),
            "does not publish",
        ),
        (
            raw(
                json!({"alg": "ES256", "kid": "k1", "crit": ["b64"], "b64": false}),
                &format!("{body}.{signature}"),
            ),
            "of a kind",
        ),
        (other.unwrap(), "not signed"),
        (good.replace(body, &URL_SAFE_NO_PAD.encode(richer)), "not signed"),
        (format!("{}A", &good[..good.len() - 2]), "not signed"),
        (kinds("logout+jwt"), "of a kind"),
        (kinds("dpop+jwt"), "of a kind"),
        (String::new(), "not signed"),
        ("a.b.c".into(), "not signed"),
    ] {
        let told = because(oidc.caller(&token, now(0)).await);
        assert!(told.contains(why), "{token}: {told}");
    }
    for typ in ["JWT", "at+jwt", "application/at+JWT"] {
        assert!(oidc.caller(&kinds(typ), now(0)).await.is_ok(), "{typ}");
    }
}

#[tokio::test]
async fn keys_are_looked_for_again_but_not_for_every_token() {
    let (provider, oidc) = provider().await;
    let first = signed(&with(provider.claims(), "exp", json!(at(1_000_000))));
    let second = |kid: &str| {
        let claims = with(provider.claims(), "exp", json!(at(1_000_000)));
        encode(&header(Signed::RS256, kid), &claims, &secret("rsa", Signed::RS256)).unwrap()
    };
    assert!(oidc.caller(&first, now(0)).await.is_ok());
    for _ in 0..5 {
        assert!(because(oidc.caller(&second("k2"), now(59)).await).contains("does not publish"));
    }
    assert_eq!(provider.asked(), 1);
    // The provider changes its keys; the old one is good until it is no longer published.
    let (ec, rsa) = (published("ec", Signed::ES256, "k1"), published("rsa", Signed::RS256, "k2"));
    provider.says(Said::Keys(vec![ec, rsa.clone()]));
    assert!(oidc.caller(&second("k2"), now(60)).await.is_ok());
    assert!(oidc.caller(&first, now(61)).await.is_ok());
    provider.says(Said::Keys(vec![rsa]));
    assert!(oidc.caller(&first, now(659)).await.is_ok(), "the keys are not old yet");
    assert!(because(oidc.caller(&first, now(660)).await).contains("does not publish"));
    assert_eq!(provider.asked(), 3);
    // A provider that is away takes nobody's token for a day.
    provider.says(Said::Status(503));
    assert!(oidc.caller(&second("k2"), now(80_000)).await.is_ok());
    let told = oidc.caller(&second("k2"), now(660 + 24 * 3_600)).await;
    assert!(matches!(told, Err(Unknown::Unavailable(_))), "{told:?}");
}

#[tokio::test]
async fn a_token_that_names_no_key_is_held_against_the_only_one_of_its_kind() {
    let (provider, oidc) = provider().await;
    let mut keys =
        [published("ec", Signed::ES256, "k1"), published("rsa", Signed::RS256, "k2")].to_vec();
    keys.iter_mut().for_each(|key| key.common.key_algorithm = None);
    provider.says(Said::Keys(keys.clone()));
    let nameless = |name: &str, signed| {
        encode(&Header::new(signed), &provider.claims(), &secret(name, signed)).unwrap()
    };
    for (name, signed) in [("ec", Signed::ES256), ("rsa", Signed::RS256)] {
        let told = oidc.caller(&nameless(name, signed), now(0)).await;
        assert!(told.is_ok(), "{name}: {told:?}");
    }
    // Of two that it may be, it is neither.
    let mut other = published("other", Signed::ES256, "k3");
    other.common.key_algorithm = None;
    provider.says(Said::Keys([keys, vec![other]].concat()));
    let oidc = Oidc::new(provider.settings()).unwrap();
    let told = because(oidc.caller(&nameless("ec", Signed::ES256), now(0)).await);
    assert!(told.contains("does not publish"), "{told}");
}

#[tokio::test]
async fn an_id_token_is_for_one_client_and_one_sign_in() {
    let (provider, oidc) = provider().await;
    let claims = || with(with(provider.claims(), "aud", json!("web")), "nonce", json!("n-1"));
    for (claims, why) in [
        (claims(), None),
        (with(claims(), "azp", json!("web")), None),
        (with(with(claims(), "aud", json!(["web", "b"])), "azp", json!("web")), None),
        (with(claims(), "nonce", json!("n-2")), Some("another sign-in")),
        (with(claims(), "nonce", Value::Null), Some("another sign-in")),
        (with(claims(), "azp", json!("app")), Some("another client")),
        (with(claims(), "aud", json!(["web", "b"])), Some("another client")),
        (with(claims(), "aud", json!(AUDIENCE)), Some("another audience")),
        (with(claims(), "iss", json!("https://elsewhere")), Some("another issuer")),
        (with(claims(), "exp", json!(at(-31))), Some("expired")),
    ] {
        let told = oidc.signed_in(&signed(&claims), ("web", "n-1"), now(0)).await;
        match why {
            None => assert!(told.is_ok(), "{claims}: {told:?}"),
            Some(why) => assert!(because(told).contains(why), "{claims}"),
        }
    }
    // An access token of the same provider signs nobody in.
    let header = Header { typ: Some("at+jwt".into()), ..header(Signed::ES256, "k1") };
    let access = encode(&header, &claims(), &secret("ec", Signed::ES256)).unwrap();
    let told = because(oidc.signed_in(&access, ("web", "n-1"), now(0)).await);
    assert!(told.contains("of a kind"), "{told}");
}

#[tokio::test]
async fn who_hangs_up_keeps_the_keys_from_nobody() {
    let (provider, oidc) = provider().await;
    let token = signed(&provider.claims());
    let go_on = Arc::new(Notify::new());
    provider.says(Said::Later(go_on.clone()));
    let (asking, shown) = (oidc.clone(), token.clone());
    let asking = tokio::spawn(async move { asking.caller(&shown, now(0)).await });
    while provider.asked() == 0 {
        tokio::task::yield_now().await;
    }
    asking.abort();
    assert!(asking.await.unwrap_err().is_cancelled());
    go_on.notify_one();
    assert!(oidc.caller(&token, now(1)).await.is_ok());
    assert_eq!(provider.asked(), 1);
}

#[tokio::test]
async fn a_provider_that_is_silent_locks_nobody_out_whose_key_is_known() {
    let (provider, oidc) = provider().await;
    let token = signed(&with(provider.claims(), "exp", json!(at(1_000_000))));
    assert!(oidc.caller(&token, now(0)).await.is_ok());
    provider.says(Said::Later(Arc::new(Notify::new())));
    assert!(oidc.caller(&token, now(660)).await.is_ok());
    assert_eq!(provider.asked(), 2, "it was asked, and nobody waits for its answer");
}

#[tokio::test]
async fn an_address_that_nobody_verified_is_no_name() {
    let (provider, _) = provider().await;
    let settings = OidcSettings { name_claim: "email".into(), ..provider.settings() };
    let oidc = Oidc::new(settings).unwrap();
    let claims = with(provider.claims(), "email", json!("kim@example.com"));
    for verified in [json!(false), json!("true"), json!(null)] {
        let claims = with(claims.clone(), "email_verified", verified);
        let told = because(oidc.caller(&signed(&claims), now(0)).await);
        assert!(told.contains("not verified"), "{claims}: {told}");
    }
    // A provider that has no such claim has no address that it has not verified.
    assert!(oidc.caller(&signed(&claims), now(0)).await.is_ok());
    let claims = with(claims, "email_verified", json!(true));
    assert!(oidc.caller(&signed(&claims), now(0)).await.is_ok());
}

#[tokio::test]
async fn a_provider_is_believed_nothing_odd() {
    let (provider, _) = provider().await;
    let token = signed(&provider.claims());
    for said in [Said::Elsewhere, Said::Endless, Said::Status(200), Said::Keys(Vec::new())] {
        provider.says(said);
        let oidc = Oidc::new(provider.settings()).unwrap();
        let told = oidc.caller(&token, now(0)).await;
        assert!(matches!(told, Err(Unknown::Unavailable(_))), "{told:?}");
    }
    let issuer = format!("{}/lying", provider.issuer);
    let oidc = Oidc::new(OidcSettings { issuer, ..provider.settings() }).unwrap();
    assert!(matches!(oidc.caller(&token, now(0)).await, Err(Unknown::Unavailable(_))));
    let jwks_uri = Some(format!("{}/other", provider.issuer));
    let oidc = Oidc::new(OidcSettings { jwks_uri, ..provider.settings() }).unwrap();
    assert!(oidc.caller(&token, now(0)).await.is_ok(), "where its keys are was said by hand");
}
