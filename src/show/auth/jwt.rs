//! JWTs of an OpenID provider (RFC 7519, RFC 9068): signed by one of its keys in a way that was pinned,
//! of this issuer, for this audience, now.
//!
//! The keys are the provider's to change: they are fetched again when they are old, and when a token
//! names one that is not known, but not for every such token.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use jsonwebtoken::{
    Algorithm as Signed, DecodingKey, Validation, decode,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse},
};
use reqwest::{Certificate, Client, RequestBuilder, StatusCode, Url, redirect};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::{sync, time::timeout};

use super::{
    BadAuth, Caller,
    known::{Unknown, bound},
};
use crate::{
    config::{Algorithm, Binding, OidcSettings, is_trustworthy},
    ids::Jurisdiction,
    model::{
        blocs,
        time::{Mono, Now, Span},
    },
};

/// The most that is read of an answer of the provider's, in bytes.
const LONGEST_ANSWER: usize = 256 * 1024;

/// How long an answer of the provider's may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long somebody whose key is known waits for a look for newer ones.
const GRACE: Duration = Duration::from_secs(1);

/// Between two looks for keys.
const LOOK_AGAIN: Span = Span::seconds(60);

/// Keys that are older are looked for again.
const OLD: Span = Span::seconds(10 * 60);

/// Keys that are older are trusted no more.
const STALE: Span = Span::seconds(24 * 60 * 60);

/// The most keys of one provider.
const MOST_KEYS: usize = 100;

/// The most groups of one user.
const MOST_GROUPS: usize = 1_000;

/// What a token says of itself under `typ`: an access token (RFC 9068), or a JWT of no special kind.
const TYPES: &[&str] = &["at+jwt", "jwt"];

/// What an ID token says: no more than that it is a JWT.
const ID_TYPES: &[&str] = &["jwt"];

const UNSIGNED: Unknown = Unknown::Nobody("the token is not signed as the settings ask");

/// A provider, and its keys as they were last seen.
#[derive(Debug)]
pub(super) struct Oidc {
    settings: OidcSettings,
    http: Client,
    keys: Mutex<Keys>,
    /// Held while the provider is asked.
    looking: Arc<sync::Mutex<()>>,
}

#[derive(Debug, Default)]
struct Keys {
    all: Vec<Jwk>,
    /// Where they are, once the provider has said so.
    uri: Option<Url>,
    seen: Option<Mono>,
    tried: Option<Mono>,
}

#[derive(Debug, Deserialize)]
struct Header {
    alg: String,
    typ: Option<String>,
    kid: Option<String>,
    crit: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Discovered<T> {
    issuer: String,
    #[serde(flatten)]
    rest: T,
}

#[derive(Debug, Deserialize)]
struct Keyring {
    jwks_uri: String,
}

#[derive(Debug, Deserialize)]
struct Published {
    keys: Vec<Value>,
}

impl Oidc {
    pub(super) fn new(settings: OidcSettings) -> Result<Arc<Self>, BadAuth> {
        let mut http = Client::builder()
            .user_agent(concat!("ringward/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .no_proxy()
            .timeout(PATIENCE);
        if let Some(path) = &settings.ca_file {
            let pem = std::fs::read(path)
                .map_err(|source| BadAuth::Unreadable { path: path.clone(), source })?;
            let trusted = Certificate::from_pem_bundle(&pem).ok().filter(|all| !all.is_empty());
            http =
                http.tls_certs_only(trusted.ok_or_else(|| BadAuth::NoCertificate(path.clone()))?);
        }
        let http = http.build().map_err(BadAuth::Client)?;
        let (keys, looking) = (Mutex::default(), Arc::default());
        Ok(Arc::new(Self { settings, http, keys, looking }))
    }

    /// Whether a credential says that it is of this provider; nothing of it is proved.
    pub(super) fn issued(&self, credential: &str) -> bool {
        let mut parts = credential.split('.').skip(1);
        let claims = parts.next().and_then(part::<Map<String, Value>>);
        claims
            .is_some_and(|claims| claims.get("iss").is_some_and(|iss| *iss == self.settings.issuer))
    }

    pub(super) async fn caller(self: &Arc<Self>, token: &str, now: Now) -> Result<Caller, Unknown> {
        let claims = self.claims(token, TYPES, &self.settings.audience, now).await?;
        self.known(&claims)
    }

    /// Who has signed in, by an ID token for that client and that sign-in (OpenID Connect Core 1.0, 3.1.3.7).
    pub(super) async fn signed_in(
        self: &Arc<Self>,
        token: &str,
        (client, nonce): (&str, &str),
        now: Now,
    ) -> Result<Caller, Unknown> {
        let claims = self.claims(token, ID_TYPES, client, now).await?;
        if claims.get("nonce").and_then(Value::as_str) != Some(nonce) {
            return Err(Unknown::Nobody("the provider's answer is of another sign-in"));
        }
        let ours = claims.get("azp").map(|azp| *azp == client);
        if !ours.unwrap_or_else(|| texts(claims.get("aud")).count() == 1) {
            return Err(Unknown::Nobody("the token was made for another client"));
        }
        self.known(&claims)
    }

    /// What a token says, where it is one of the provider's, of such a kind, for that audience, now.
    async fn claims(
        self: &Arc<Self>,
        token: &str,
        types: &[&str],
        audience: &str,
        now: Now,
    ) -> Result<Map<String, Value>, Unknown> {
        let header: Header = token.split('.').next().and_then(part).ok_or(UNSIGNED)?;
        let signed = self.algorithm(&header).ok_or(UNSIGNED)?;
        let kind = header.typ.as_deref().unwrap_or("JWT").to_ascii_lowercase();
        let kind = kind.strip_prefix("application/").unwrap_or(&kind);
        // What is critical to understand, and is not understood, must be refused (RFC 7515, 4.1.11).
        if !types.contains(&kind) || header.crit.is_some() {
            return Err(Unknown::Nobody("the token is of a kind that opens nothing here"));
        }
        let key = self.key(header.kid.as_deref(), signed, now.mono).await?;
        let mut how = Validation::new(signed);
        // The claims are held against our own clock, below.
        how.required_spec_claims.clear();
        how.validate_exp = false;
        how.validate_aud = false;
        let key = DecodingKey::from_jwk(&key).ok();
        let key = key.filter(|key| key.family() == signed.family()).ok_or(UNSIGNED)?;
        let claims = decode::<Map<String, Value>>(token, &key, &how).map_err(|_| UNSIGNED)?.claims;
        self.hold(&claims, audience, now.wall)?;
        Ok(claims)
    }

    /// How it is signed, where that is one of the ways that were pinned.
    fn algorithm(&self, header: &Header) -> Option<Signed> {
        let pinned = self.settings.algorithms.iter().map(|algorithm| algorithm.signed());
        pinned.into_iter().find(|(name, _)| *name == header.alg).map(|(_, signed)| signed)
    }

    /// Whether what the claims say is so, here and now.
    fn hold(
        &self,
        claims: &Map<String, Value>,
        audience: &str,
        now: Timestamp,
    ) -> Result<(), Unknown> {
        let OidcSettings { issuer, leeway, .. } = &self.settings;
        if claims.get("iss").and_then(Value::as_str) != Some(issuer) {
            return Err(Unknown::Nobody("the token is of another issuer"));
        }
        if !texts(claims.get("aud")).any(|aud| aud == audience) {
            return Err(Unknown::Nobody("the token is for another audience"));
        }
        let leeway = leeway.as_seconds();
        let now = now.as_second() as f64;
        let seconds = |name: &str| claims.get(name).map(|at| at.as_f64().unwrap_or(f64::NAN));
        // A comparison with NaN is never so.
        if !seconds("exp").is_some_and(|exp| now < exp + leeway) {
            return Err(Unknown::Nobody("the token has expired, or does not say when it will"));
        }
        if !["nbf", "iat"].iter().all(|name| seconds(name).is_none_or(|at| at <= now + leeway)) {
            return Err(Unknown::Nobody("the token is not good yet"));
        }
        Ok(())
    }

    /// Who it is.
    fn known(&self, claims: &Map<String, Value>) -> Result<Caller, Unknown> {
        let OidcSettings { name_claim, groups_claim, jurisdiction_claim, bindings, .. } =
            &self.settings;
        let name = claims.get(name_claim).and_then(Value::as_str);
        let name = name.ok_or(Unknown::Nobody("the token does not name who shows it"))?;
        // An address that anybody may write into their profile is nobody's name.
        let verified = claims.get("email_verified").is_none_or(|verified| *verified == true);
        if name_claim == "email" && !verified {
            return Err(Unknown::Nobody("the provider has not verified the token's address"));
        }
        let groups: BTreeSet<&str> = texts(claims.get(groups_claim)).take(MOST_GROUPS).collect();
        let place = jurisdiction_claim.as_ref().and_then(|claim| claims.get(claim)?.as_str());
        let place = place.filter(|place| blocs::is_country(place)).map(Jurisdiction::from);
        let theirs = |binding: &Binding| {
            binding.user.as_deref() == Some(name)
                || binding.group.as_deref().is_some_and(|group| groups.contains(group))
        };
        bound(name, place, bindings, theirs)
            .ok_or(Unknown::Nobody("the token names somebody in a way that no name is given here"))
    }

    /// The key that a token names; looked for at the provider where it is not known, or old.
    async fn key(
        self: &Arc<Self>,
        kid: Option<&str>,
        signed: Signed,
        now: Mono,
    ) -> Result<Jwk, Unknown> {
        let known = self.keys().usable(kid, signed, now);
        self.look(known.is_err(), now);
        // Who waits here waits for one look at the provider, whoever began it; who could go on without
        // does not wait for a provider that is silent.
        let looked = self.looking.lock();
        match known {
            Err(_) => drop(looked.await),
            Ok(_) => drop(timeout(GRACE, looked).await),
        }
        self.keys().usable(kid, signed, now)
    }

    /// Begins to look for keys, where it is time to. The look outlives whoever asked for it: else who hangs
    /// up in the middle could keep the keys from everybody.
    fn look(self: &Arc<Self>, wanted: bool, now: Mono) {
        let Ok(looking) = self.looking.clone().try_lock_owned() else { return };
        let mut keys = self.keys();
        let may_look = keys.tried.is_none_or(|tried| now.since(tried) >= LOOK_AGAIN);
        if !may_look || !(wanted || keys.seen.is_none_or(|seen| now.since(seen) >= OLD)) {
            return;
        }
        keys.tried = Some(now);
        let (oidc, uri) = (self.clone(), keys.uri.clone());
        drop(keys);
        tokio::spawn(async move {
            let fetched = oidc.fetch(uri).await;
            let mut keys = oidc.keys();
            match fetched {
                Ok((uri, all)) => (keys.all, keys.uri, keys.seen) = (all, Some(uri), Some(now)),
                Err(error) => {
                    let issuer = &oidc.settings.issuer;
                    tracing::warn!(issuer, error, "the keys of the OpenID provider cannot be had");
                    // It may have moved them.
                    keys.uri = None;
                }
            }
            drop(keys);
            drop(looking);
        });
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the provider for its keys, and says how many there are.
    ///
    /// # Errors
    /// In words: it does not answer as it should, or no key of its may sign as the settings ask.
    pub(super) async fn probe(&self) -> Result<usize, String> {
        let (_, all) = self.fetch(None).await?;
        let keys = Keys { all, ..Keys::default() };
        let pinned = self.settings.algorithms.iter();
        match pinned.map(|algorithm| algorithm.signed()).any(|(_, signed)| keys.may_sign(signed)) {
            true => Ok(keys.all.len()),
            false => Err("none of its keys may sign by any of auth.oidc.algorithms".into()),
        }
    }

    async fn fetch(&self, known: Option<Url>) -> Result<(Url, Vec<Jwk>), String> {
        let uri = match (&self.settings.jwks_uri, known) {
            (Some(uri), _) => Url::parse(uri).map_err(|e| e.to_string())?,
            (None, Some(uri)) => uri,
            (None, None) => address("jwks_uri", &self.discover::<Keyring>().await?.jwks_uri)?,
        };
        let published: Published = self.get(uri.clone()).await?;
        // A key of a kind that we do not know is no reason to know none.
        let keys = published.keys.into_iter().take(MOST_KEYS);
        let keys: Vec<Jwk> = keys
            .filter_map(|key| serde_json::from_value(key).ok())
            .filter(|key| DecodingKey::from_jwk(key).is_ok())
            .collect();
        if keys.is_empty() { Err("it publishes no key".into()) } else { Ok((uri, keys)) }
    }

    /// What the provider says of itself (OpenID Connect Discovery 1.0, 4).
    pub(super) async fn discover<T: for<'de> Deserialize<'de>>(&self) -> Result<T, String> {
        let issuer = &self.settings.issuer;
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let url = Url::parse(&url).map_err(|e| e.to_string())?;
        let found: Discovered<T> = self.get(url).await?;
        if found.issuer != *issuer {
            return Err("it says that it is another issuer".into());
        }
        Ok(found.rest)
    }

    async fn get<T: for<'de> Deserialize<'de>>(&self, url: Url) -> Result<T, String> {
        let (status, body) = self.ask(self.http.get(url)).await?;
        if !status.is_success() {
            return Err(format!("it answers {status}"));
        }
        serde_json::from_slice(&body)
            .map_err(|_| "its answer is not what OpenID Connect says".into())
    }

    /// What the provider is asked with.
    pub(super) fn http(&self) -> &Client {
        &self.http
    }

    /// The provider's answer, whatever it is.
    pub(super) async fn ask(
        &self,
        request: RequestBuilder,
    ) -> Result<(StatusCode, Vec<u8>), String> {
        let broken = |error: reqwest::Error| error.without_url().to_string();
        let mut answer = request.send().await.map_err(broken)?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(broken)? {
            if body.len() + chunk.len() > LONGEST_ANSWER {
                return Err(format!("its answer is longer than {} KiB", LONGEST_ANSWER / 1_024));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((answer.status(), body))
    }

    /// Its issuer's name, letter for letter.
    pub(super) fn issuer(&self) -> &str {
        &self.settings.issuer
    }
}

impl Algorithm {
    /// Its name in a token, and what it is to whoever checks that.
    fn signed(self) -> (&'static str, Signed) {
        match self {
            Algorithm::RS256 => ("RS256", Signed::RS256),
            Algorithm::RS384 => ("RS384", Signed::RS384),
            Algorithm::RS512 => ("RS512", Signed::RS512),
            Algorithm::PS256 => ("PS256", Signed::PS256),
            Algorithm::PS384 => ("PS384", Signed::PS384),
            Algorithm::PS512 => ("PS512", Signed::PS512),
            Algorithm::ES256 => ("ES256", Signed::ES256),
            Algorithm::ES384 => ("ES384", Signed::ES384),
            Algorithm::EdDSA => ("EdDSA", Signed::EdDSA),
        }
    }
}

impl Keys {
    /// The key that a token names, if keys are known that are not too old.
    fn usable(&self, kid: Option<&str>, signed: Signed, now: Mono) -> Result<Jwk, Unknown> {
        match self.seen.map(|seen| now.since(seen)) {
            Some(age) if age < STALE => self.find(kid, signed).ok_or(Unknown::Nobody(
                "the token is signed by a key that its issuer does not publish",
            )),
            Some(_) | None => Err(Unknown::Unavailable("the OpenID provider does not answer")),
        }
    }

    /// The key of that name that may sign so; without a name, the only one that may.
    fn find(&self, kid: Option<&str>, signed: Signed) -> Option<Jwk> {
        let named = |key: &&Jwk| kid.is_none_or(|kid| key.common.key_id.as_deref() == Some(kid));
        let mut fitting = self.all.iter().filter(named).filter(|key| may_sign(key, signed));
        let first = fitting.next()?;
        fitting.next().is_none().then(|| first.clone())
    }

    /// Whether any of them may sign so.
    fn may_sign(&self, signed: Signed) -> bool {
        self.all.iter().any(|key| may_sign(key, signed))
    }
}

/// Whether a key is of that kind, and for that.
fn may_sign(key: &Jwk, signed: Signed) -> bool {
    let common = &key.common;
    let signs = common.public_key_use.as_ref().is_none_or(|to| *to == PublicKeyUse::Signature);
    let alg = common.key_algorithm.is_none_or(|alg| alg == KeyAlgorithm::from(signed));
    let kind = match &key.algorithm {
        AlgorithmParameters::EllipticCurve(of) => match of.curve {
            EllipticCurve::P256 => signed == Signed::ES256,
            EllipticCurve::P384 => signed == Signed::ES384,
            EllipticCurve::P521 | EllipticCurve::Ed25519 | _ => false,
        },
        AlgorithmParameters::RSA(_)
        | AlgorithmParameters::OctetKey(_)
        | AlgorithmParameters::OctetKeyPair(_)
        | _ => DecodingKey::from_jwk(key).is_ok_and(|key| key.family() == signed.family()),
    };
    signs && alg && kind
}

/// An address that the provider gives.
pub(super) fn address(name: &str, given: &str) -> Result<Url, String> {
    if !is_trustworthy(given) {
        return Err(format!("its {name} is no https URL"));
    }
    Url::parse(given).map_err(|e| e.to_string())
}

/// One part of a token, as the JSON that it encodes.
fn part<T: for<'de> Deserialize<'de>>(text: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

/// A claim that is a text or a list of texts.
fn texts(claim: Option<&Value>) -> impl Iterator<Item = &str> {
    let one = claim.and_then(Value::as_str);
    let many = claim.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    one.into_iter().chain(many)
}

#[cfg(test)]
mod tests;
