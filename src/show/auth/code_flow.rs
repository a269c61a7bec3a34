//! Signing in with a browser at the OpenID provider: the authorisation code flow (OpenID Connect Core
//! 1.0, 3.1) with PKCE (RFC 7636), and with the issuer's name in the answer (RFC 9207).
//!
//! Nothing is kept here while somebody is away at the provider, so nobody can fill it up or push others
//! out: `state`, `nonce` and PKCE's verifier all come of one secret that only their browser has.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::{StatusCode, Url, header};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::{
    sync::{Mutex, Semaphore},
    time::timeout,
};

use super::{
    BadAuth, Caller, digest,
    jwt::{Oidc, address},
    known::Unknown,
};
use crate::{
    config::BrowserSettings,
    model::time::{Mono, Now, Span},
};

/// How long what the provider says of itself is good for.
const OLD: Span = Span::seconds(10 * 60);

/// Questions to the provider at once, and how long one waits for its turn.
const QUESTIONS: usize = 8;
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest text of the provider's that is shown to somebody, in characters.
const LONGEST_TEXT: usize = 200;

/// Signing in at a provider.
#[derive(Debug)]
pub struct CodeFlow {
    settings: BrowserSettings,
    oidc: Arc<Oidc>,
    redirect_uri: String,
    endpoints: Mutex<Option<(Mono, Arc<Endpoints>)>>,
    turns: Semaphore,
}

/// What is needed of what the provider says of itself.
#[derive(Debug, Deserialize)]
struct Endpoints {
    authorization_endpoint: String,
    token_endpoint: String,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Vec<String>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

#[derive(Deserialize)]
struct Exchanged {
    id_token: Option<String>,
}

#[derive(Deserialize)]
struct Refused {
    error: String,
}

/// Why somebody is not signed in, in words for them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotSignedIn {
    /// What came back does not belong to what this browser began.
    #[error(
        "The answer belongs to no sign-in that this browser has begun of late. Nothing was done; begin again."
    )]
    Foreign,
    /// It is from another provider, or does not say from which.
    #[error(
        "The answer is not of the provider that was asked. Nothing was done; begin again, and tell your \
         administrator if it stays so."
    )]
    MixedUp,
    /// The provider says no.
    #[error("{0}")]
    Refused(String),
    /// What the provider vouches for is not believed.
    #[error("The provider's answer is not good here: {0}.")]
    Doubtful(&'static str),
    /// The provider cannot be asked.
    #[error("{0} Try again, or sign in with a token.")]
    Unavailable(&'static str),
}

const SILENT: NotSignedIn = NotSignedIn::Unavailable("The OpenID provider does not answer.");

impl CodeFlow {
    pub(super) fn new(
        settings: BrowserSettings,
        oidc: Arc<Oidc>,
        external_url: Option<&str>,
    ) -> Result<Self, BadAuth> {
        let redirect_uri = BrowserSettings::redirect_uri(external_url)?;
        let (endpoints, turns) = (Mutex::default(), Semaphore::new(QUESTIONS));
        Ok(Self { settings, oidc, redirect_uri, endpoints, turns })
    }

    /// Whether people could sign in there now.
    ///
    /// # Errors
    /// In words: the provider does not say where, or the client's secret cannot be read.
    pub(super) async fn probe(&self) -> Result<(), String> {
        let found: Endpoints = self.oidc.discover().await?;
        address("authorization_endpoint", &found.authorization_endpoint)?;
        address("token_endpoint", &found.token_endpoint)?;
        match &self.settings.client_secret_file {
            Some(path) => client_secret(path).await.map(drop).map_err(|why| why.to_string()),
            None => Ok(()),
        }
    }

    /// The provider's host, for people.
    pub fn provider(&self) -> String {
        let url = Url::parse(self.oidc.issuer()).ok();
        let host = url.as_ref().and_then(|url| url.host_str());
        host.unwrap_or(self.oidc.issuer()).to_owned()
    }

    /// Whether browsers come back by TLS.
    pub fn is_secure(&self) -> bool {
        self.redirect_uri.starts_with("https:")
    }

    /// How long somebody stays signed in.
    pub fn session(&self) -> Span {
        self.settings.session
    }

    /// Where a browser that keeps `secret` goes to sign in.
    ///
    /// # Errors
    /// The provider does not say where that is.
    pub async fn leave(&self, secret: &str, now: Mono) -> Result<Url, NotSignedIn> {
        let endpoints = self.endpoints(now).await?;
        let at = address("authorization_endpoint", &endpoints.authorization_endpoint);
        let mut url = at.map_err(|error| self.silent(&error))?;
        let scopes: Vec<&str> = self.settings.scopes.iter().map(String::as_str).collect();
        let scope = [&["openid"], &scopes[..]].concat().join(" ");
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(part(secret, "verifier")));
        url.query_pairs_mut().extend_pairs([
            ("response_type", "code"),
            ("client_id", &self.settings.client_id),
            ("redirect_uri", &self.redirect_uri),
            ("scope", &scope),
            ("state", &part(secret, "state")),
            ("nonce", &part(secret, "nonce")),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ]);
        Ok(url)
    }

    /// Who came back, with what the provider gave their browser along.
    ///
    /// # Errors
    /// Why they are not signed in. Nothing of an answer is shown or used before it is known to belong to
    /// what this browser began.
    pub async fn back(
        &self,
        secret: &str,
        answer: &BTreeMap<String, String>,
        now: Now,
    ) -> Result<Caller, NotSignedIn> {
        let given = |name: &str| answer.get(name).map(String::as_str);
        if given("state").map(digest) != Some(digest(&part(secret, "state"))) {
            return Err(NotSignedIn::Foreign);
        }
        let endpoints = self.endpoints(now.mono).await?;
        let named = given("iss").map(|iss| iss == self.oidc.issuer());
        if !named.unwrap_or(!endpoints.authorization_response_iss_parameter_supported) {
            return Err(NotSignedIn::MixedUp);
        }
        if let Some(error) = given("error") {
            return Err(NotSignedIn::Refused(refused(error, given("error_description"))));
        }
        let Some(code) = given("code").filter(|code| !code.is_empty()) else {
            return Err(NotSignedIn::Doubtful("it holds no code"));
        };
        let token = self.exchange(&endpoints, code, secret).await?;
        let sought = (self.settings.client_id.as_str(), part(secret, "nonce"));
        let known = self.oidc.signed_in(&token, (sought.0, &sought.1), now).await;
        known.map_err(|unknown| match unknown {
            Unknown::Nobody(why) => NotSignedIn::Doubtful(why),
            Unknown::Unavailable(_) => SILENT,
        })
    }

    /// The ID token that a code is good for, once.
    async fn exchange(
        &self,
        endpoints: &Endpoints,
        code: &str,
        secret: &str,
    ) -> Result<String, NotSignedIn> {
        let at = address("token_endpoint", &endpoints.token_endpoint);
        let at = at.map_err(|error| self.silent(&error))?;
        let client = self.settings.client_id.as_str();
        let verifier = part(secret, "verifier");
        let mut fields = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &self.redirect_uri),
            ("code_verifier", &verifier),
        ];
        let mut request = self.oidc.http().post(at);
        let password = match &self.settings.client_secret_file {
            Some(path) => Some(client_secret(path).await?),
            None => None,
        };
        let methods = &endpoints.token_endpoint_auth_methods_supported;
        let takes = |method: &str| methods.iter().any(|m| m == method);
        match &password {
            None => fields.push(("client_id", client)),
            Some(password) if !takes("client_secret_basic") && takes("client_secret_post") => {
                fields.extend([("client_id", client), ("client_secret", password)]);
            }
            // Both are encoded first (RFC 6749, 2.3.1).
            Some(password) => {
                let coded = |text: &str| form(&[("", text)]).trim_start_matches('=').to_owned();
                request = request.basic_auth(coded(client), Some(coded(password)));
            }
        }
        let kind = "application/x-www-form-urlencoded";
        let request = request
            .header(header::CONTENT_TYPE, kind)
            .header(header::ACCEPT, "application/json")
            .body(form(&fields));
        let turn = timeout(PATIENCE, self.turns.acquire()).await;
        let _turn = turn.ok().and_then(Result::ok).ok_or(SILENT)?;
        let (status, body) = self.oidc.ask(request).await.map_err(|e| self.silent(&e))?;
        if status == StatusCode::OK {
            let exchanged: Option<Exchanged> = serde_json::from_slice(&body).ok();
            let token = exchanged.and_then(|exchanged| exchanged.id_token);
            return token.ok_or(NotSignedIn::Doubtful("it holds no ID token"));
        }
        let refused: Option<Refused> = serde_json::from_slice(&body).ok();
        let error = refused.map(|refused| refused.error).unwrap_or_default();
        let issuer = self.oidc.issuer();
        tracing::warn!(issuer, %status, error, "the OpenID provider takes a code for no ID token");
        Err(match error.as_str() {
            "invalid_grant" => NotSignedIn::Refused(
                "The provider does not take the code: it was used before, or is too old. Begin again.".into(),
            ),
            "invalid_client" | "unauthorized_client" => NotSignedIn::Unavailable(
                "The provider does not know ringward as a client: auth.oidc.browser of the server's settings \
                 is to be mended.",
            ),
            _ => NotSignedIn::Unavailable("The provider takes the code for no ID token."),
        })
    }

    async fn endpoints(&self, now: Mono) -> Result<Arc<Endpoints>, NotSignedIn> {
        let known = timeout(PATIENCE, self.endpoints.lock()).await;
        let mut known = known.map_err(|_| SILENT)?;
        if let Some((seen, endpoints)) = &*known
            && now.since(*seen) < OLD
        {
            return Ok(endpoints.clone());
        }
        let found = self.oidc.discover::<Endpoints>().await;
        let endpoints = Arc::new(found.map_err(|error| self.silent(&error))?);
        *known = Some((now, endpoints.clone()));
        Ok(endpoints)
    }

    fn silent(&self, error: &str) -> NotSignedIn {
        tracing::warn!(
            issuer = self.oidc.issuer(),
            error,
            "nobody can sign in at the OpenID provider"
        );
        SILENT
    }
}

/// What a sign-in's secret becomes for one use; none says anything of another, or of the secret.
fn part(secret: &str, of: &str) -> String {
    digest(&format!("{secret} {of}"))
}

/// Fields as forms are sent.
fn form(fields: &[(&str, &str)]) -> String {
    let url = Url::parse_with_params("http://form.invalid", fields);
    url.ok().and_then(|url| url.query().map(str::to_owned)).unwrap_or_default()
}

async fn client_secret(path: &PathBuf) -> Result<String, NotSignedIn> {
    let read = tokio::fs::read_to_string(path).await.map_err(|error| error.to_string());
    match read.map(|text| text.trim().to_owned()) {
        Ok(secret) if !secret.is_empty() => Ok(secret),
        unusable => {
            let error = unusable.err().unwrap_or_else(|| "it is empty".into());
            tracing::error!(path = %path.display(), error, "the secret of auth.oidc.browser cannot be read");
            let words = "The server cannot read its secret for the provider; its log says why.";
            Err(NotSignedIn::Unavailable(words))
        }
    }
}

/// What a provider's error means (RFC 6749, 4.1.2.1; OpenID Connect Core 1.0, 3.1.2.6), and what it adds.
fn refused(error: &str, description: Option<&str>) -> String {
    let means = match error {
        "access_denied" => "The provider did not let you in, or you did not agree.",
        "login_required"
        | "interaction_required"
        | "account_selection_required"
        | "consent_required" => "The provider wants to see you first: begin again.",
        "temporarily_unavailable" | "server_error" => {
            "The provider has trouble of its own. Try again, or sign in with a token."
        }
        "invalid_scope" => {
            "The provider does not know what ringward asks for: auth.oidc.browser.scopes of the server's \
             settings are to be mended."
        }
        "unauthorized_client" | "invalid_request" | "unsupported_response_type" => {
            "The provider does not take how ringward asks: the client that auth.oidc.browser of the server's \
             settings names is to be allowed the authorisation code flow."
        }
        _ => "The provider refused.",
    };
    let said = description.map(|text| text.chars().filter(|c| !c.is_control()));
    let said: String = said.into_iter().flatten().take(LONGEST_TEXT).collect();
    if said.is_empty() { means.into() } else { format!("{means} It says: “{said}”") }
}
