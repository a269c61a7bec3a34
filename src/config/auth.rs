//! Who is let in beside those with a token of ringward's own, and what they may do.

use std::path::PathBuf;

use reqwest::Url;
use serde::Deserialize;

use super::SettingsError;
use crate::{
    ids::{Jurisdiction, PlanName},
    model::{blocs, time::Span},
};

/// Identities that others vouch for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AuthSettings {
    /// JWTs of an OpenID provider.
    pub oidc: Option<OidcSettings>,
    /// Tokens that a Kubernetes cluster knows: of its ServiceAccounts above all.
    pub kubernetes: Option<KubernetesSettings>,
}

/// An OpenID provider whose JWTs are taken.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OidcSettings {
    /// Its URL, letter for letter as its tokens give it under `iss`.
    pub issuer: String,
    /// What its tokens for ringward give under `aud`.
    pub audience: String,
    /// How they may be signed; RS256 unless told otherwise.
    #[serde(default = "rs256")]
    pub algorithms: Vec<Algorithm>,
    /// Where its keys are; where it is not given, the provider is asked.
    pub jwks_uri: Option<String>,
    /// A file of certificates in PEM, which are trusted in the place of the system's. Read at the start.
    pub ca_file: Option<PathBuf>,
    /// The claim that names who it is.
    #[serde(default = "sub")]
    pub name_claim: String,
    /// The claim that lists their groups.
    #[serde(default = "groups")]
    pub groups_claim: String,
    /// The claim that says in which country they belong, where there is one.
    pub jurisdiction_claim: Option<String>,
    /// By how much its clock and ours may differ, up to five minutes.
    #[serde(default = "leeway")]
    pub leeway: Span,
    /// What its users and groups may do; who is in none of them may do nothing.
    #[serde(default)]
    pub bindings: Vec<Binding>,
    /// How people sign in there with a browser; without it, the dashboard opens to ringward's own tokens
    /// alone.
    pub browser: Option<BrowserSettings>,
}

/// What ringward is to the provider when somebody signs in with a browser: one of its clients, by the
/// authorisation code flow with PKCE.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BrowserSettings {
    /// The client's id. ID tokens give it under `aud`.
    pub client_id: String,
    /// The file that holds the client's secret, where it has one. Read at each sign-in, so that it can be
    /// rotated.
    pub client_secret_file: Option<PathBuf>,
    /// What is asked for beside `openid`, so that ID tokens hold the claims that bindings go by.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// How long somebody is signed in before the provider is asked again, from 5 minutes to 8 hours.
    #[serde(default = "hour")]
    pub session: Span,
}

/// A cluster that is asked whose tokens those are that ringward does not know.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KubernetesSettings {
    /// The kubeconfig that reaches it; where neither it nor a context is given, the cluster that the
    /// server itself runs in.
    pub kubeconfig: Option<PathBuf>,
    /// Its context; the current one where none is named.
    pub context: Option<String>,
    /// The audiences of which a token must name one.
    pub audiences: Vec<String>,
    /// What its ServiceAccounts, users and groups may do; who is in none of them may do nothing.
    #[serde(default)]
    pub bindings: Vec<Binding>,
}

/// Roles for somebody whom another vouches for, as a token has them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Binding {
    /// A user's name.
    pub user: Option<String>,
    /// A group's name.
    pub group: Option<String>,
    /// A ServiceAccount, as `namespace/name`.
    pub service_account: Option<String>,
    /// Their roles.
    pub roles: Vec<String>,
    /// Where they belong to.
    pub jurisdiction: Option<Jurisdiction>,
    /// The plans that the roles reach; none named is all of them.
    pub plans: Vec<PlanName>,
    /// The countries and blocs that the roles reach; none named is all of them.
    pub within: Vec<Jurisdiction>,
}

/// How a JWT may be signed: by a key whose secret half the provider alone has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "RFC 7518 and RFC 8037 name them")]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

fn rs256() -> Vec<Algorithm> {
    vec![Algorithm::RS256]
}

fn sub() -> String {
    "sub".into()
}

fn groups() -> String {
    "groups".into()
}

fn leeway() -> Span {
    Span::seconds(30)
}

fn hour() -> Span {
    Span::minutes(60)
}

/// Where a provider sends browsers back to, beneath the server's `externalUrl`.
const CALLBACK: &str = "/login/callback";

impl AuthSettings {
    /// Says what of them cannot be, where people reach the server by `external_url`.
    pub(super) fn check(&self, external_url: Option<&str>) -> Result<(), SettingsError> {
        if let Some(oidc) = &self.oidc {
            oidc.check()?;
            if let Some(browser) = &oidc.browser {
                browser.check()?;
                BrowserSettings::redirect_uri(external_url)?;
            }
        }
        if let Some(kubernetes) = &self.kubernetes {
            if kubernetes.audiences.is_empty() {
                return wrong(
                    "kubernetes.audiences",
                    "is empty: name what tokens for ringward are made for",
                );
            }
            bindings("kubernetes.bindings", &kubernetes.bindings)?;
        }
        Ok(())
    }
}

impl OidcSettings {
    fn check(&self) -> Result<(), SettingsError> {
        for (name, url) in
            [("oidc.issuer", Some(&self.issuer)), ("oidc.jwksUri", self.jwks_uri.as_ref())]
        {
            if url.is_some_and(|url| !is_trustworthy(url)) {
                return wrong(name, "is no https URL; plain http is for loopback only");
            }
        }
        if self.audience.is_empty() {
            return wrong("oidc.audience", "is empty: name what tokens for ringward are made for");
        }
        if self.algorithms.is_empty() {
            return wrong(
                "oidc.algorithms",
                "is empty: name how the provider signs, such as RS256",
            );
        }
        if self.leeway > Span::minutes(5) {
            return wrong("oidc.leeway", "is more than 5m: set the clocks right");
        }
        if let Some(binding) = self.bindings.iter().find(|b| b.service_account.is_some()) {
            let account = binding.service_account.as_deref().unwrap_or_default();
            let detail = format!(
                "names the serviceAccount {account}: those stand under kubernetes.bindings"
            );
            return wrong("oidc.bindings", &detail);
        }
        bindings("oidc.bindings", &self.bindings)
    }
}

impl BrowserSettings {
    fn check(&self) -> Result<(), SettingsError> {
        if self.client_id.is_empty() {
            return wrong("oidc.browser.clientId", "is empty: name the client that ringward is");
        }
        // RFC 6749, 3.3.
        let inside = |b: u8| b.is_ascii_graphic() && !b"\"\\".contains(&b);
        if !self.scopes.iter().all(|scope| !scope.is_empty() && scope.bytes().all(inside)) {
            return wrong("oidc.browser.scopes", "has one that is no word");
        }
        if self.session < Span::minutes(5) || self.session > Span::seconds(8 * 3600) {
            return wrong("oidc.browser.session", "is not between 5m and 8h");
        }
        Ok(())
    }

    /// The one address that the provider is to send browsers back to.
    ///
    /// # Errors
    /// It is not said where people reach this server, or not so that a session is safe there.
    pub fn redirect_uri(external_url: Option<&str>) -> Result<String, SettingsError> {
        match external_url.filter(|url| is_trustworthy(url)) {
            Some(url) => Ok(format!("{}{CALLBACK}", url.trim_end_matches('/'))),
            None => Err(SettingsError::Auth {
                name: "oidc.browser".into(),
                detail: format!(
                    "needs externalUrl, by https or on loopback: the provider sends browsers back to {CALLBACK} \
                     beneath it"
                ),
            }),
        }
    }
}

/// Whether what it says came from whom it names: by TLS, or on this machine.
pub fn is_trustworthy(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let here =
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let plain = url.username().is_empty() && url.password().is_none();
    plain && (url.scheme() == "https" || (url.scheme() == "http" && here))
}

fn bindings(name: &str, bindings: &[Binding]) -> Result<(), SettingsError> {
    for (n, binding) in bindings.iter().enumerate() {
        let Binding { user, group, service_account, roles, jurisdiction, within, .. } = binding;
        let subjects = [user, group, service_account].into_iter().flatten();
        let account = service_account.as_deref();
        let places = jurisdiction.iter().chain(within);
        let mut unknown = places.filter(|place| !is_place(place.as_str()));
        let detail = if subjects.count() != 1 {
            "names not one of user, group and serviceAccount".into()
        } else if account.is_some_and(|account| !is_account(account)) {
            "names a serviceAccount otherwise than as namespace/name".into()
        } else if roles.is_empty() || !roles.iter().all(|role| is_role(role)) {
            "has no roles, or a role that is no word".into()
        } else if let Some(place) = unknown.next() {
            format!("names `{place}`, which is neither a country code nor a bloc that is built in")
        } else {
            continue;
        };
        return wrong(&format!("{name}[{n}]"), &detail);
    }
    Ok(())
}

/// Namespace and name.
fn is_account(account: &str) -> bool {
    let parts = account.split_once('/');
    parts.is_some_and(|(space, name)| !space.is_empty() && !name.is_empty() && !name.contains('/'))
}

/// Whether it is a word that can name a role.
pub fn is_role(role: &str) -> bool {
    let inside = |c: char| c.is_ascii_alphanumeric() || c == '-';
    (1..=63).contains(&role.len()) && role.chars().all(inside)
}

/// A country, or a bloc that is built in: what declarations say of others is not for them to give roles by.
pub fn is_place(place: &str) -> bool {
    blocs::is_country(place) || blocs::blocs().any(|(bloc, _)| bloc == place)
}

fn wrong(name: &str, detail: &str) -> Result<(), SettingsError> {
    Err(SettingsError::Auth { name: name.into(), detail: detail.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<(), String> {
        let read: AuthSettings = serde_yaml::from_str(text).map_err(|e| e.to_string())?;
        read.check(Some("https://ringward.example.com")).map_err(|e| e.to_string())
    }

    #[test]
    fn a_provider_is_named_and_its_users_are_bound() {
        let good =
            "oidc: {issuer: 'https://login.example.com', audience: ringward, algorithms: [ES256],
            bindings: [{group: platform, roles: [operator], plans: [checkout], within: [EU]},
                {user: kim@example.com, roles: [approver, release-manager], jurisdiction: IE}]}
kubernetes: {audiences: [ringward], bindings: [{serviceAccount: ci/deployer, roles: [operator]}]}";
        assert_eq!(check(good), Ok(()));
        let oidc =
            |rest: &str| check(&format!("oidc: {{issuer: 'https://a', audience: b, {rest}}}"));
        for (rest, says) in [
            ("algorithms: [HS256]", "unknown variant `HS256`"),
            ("algorithms: [none]", "unknown variant `none`"),
            ("algorithms: []", "oidc.algorithms is empty"),
            ("leeway: 6m", "more than 5m"),
            ("jwksUri: 'http://keys.example.com'", "oidc.jwksUri is no https URL"),
            ("browser: {clientId: ''}", "oidc.browser.clientId is empty"),
            ("browser: {clientId: c, scopes: ['a b']}", "no word"),
            ("browser: {clientId: c, session: 4m}", "between 5m and 8h"),
            ("browser: {clientId: c, session: 9h}", "between 5m and 8h"),
            ("browser: {clientId: c, clientSecret: x}", "unknown field `clientSecret`"),
            ("bindings: [{roles: [viewer]}]", "oidc.bindings[0] names not one"),
            ("bindings: [{user: a, group: b, roles: [viewer]}]", "names not one"),
            ("bindings: [{user: a}]", "has no roles"),
            ("bindings: [{user: a, roles: ['x y']}]", "no word"),
            ("bindings: [{user: a, roles: [viewer], within: [UK]}]", "`UK`"),
            ("bindings: [{user: a, roles: [viewer], within: [DACH]}]", "`DACH`"),
            ("bindings: [{serviceAccount: a/b, roles: [viewer]}]", "kubernetes.bindings"),
        ] {
            let error = oidc(rest).unwrap_err();
            assert!(error.contains(says), "{rest}: {error}");
        }
        assert!(check("oidc: {issuer: 'http://a.example', audience: b}").is_err());
        assert_eq!(check("oidc: {issuer: 'http://127.0.0.1:80', audience: b}"), Ok(()));
        for account in ["a", "a/", "/b", "a/b/c"] {
            let bound = format!("bindings: [{{serviceAccount: {account}, roles: [viewer]}}]");
            let error = check(&format!("kubernetes: {{audiences: [a], {bound}}}")).unwrap_err();
            assert!(error.contains("namespace/name"), "{account}: {error}");
        }
        assert!(check("kubernetes: {audiences: []}").unwrap_err().contains("audiences"));
    }

    #[test]
    fn browsers_come_back_to_one_address_that_is_safe() {
        let back = |url| BrowserSettings::redirect_uri(url).map_err(|error| error.to_string());
        for (url, address) in [
            ("https://ringward.example.com", "https://ringward.example.com/login/callback"),
            ("https://example.com/ringward/", "https://example.com/ringward/login/callback"),
            ("http://localhost:7474", "http://localhost:7474/login/callback"),
        ] {
            assert_eq!(back(Some(url)).as_deref(), Ok(address));
        }
        for url in [None, Some("http://ringward.example.com")] {
            assert!(back(url).unwrap_err().contains("oidc.browser needs externalUrl"), "{url:?}");
        }
    }
}
