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

impl AuthSettings {
    /// Says what of them cannot be.
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        if let Some(oidc) = &self.oidc {
            oidc.check()?;
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
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let is_role = |role: &String| (1..=63).contains(&role.len()) && role.chars().all(is_word);
        let places = jurisdiction.iter().chain(within);
        let mut unknown = places.filter(|place| !is_place(place.as_str()));
        let detail = if subjects.count() != 1 {
            "names not one of user, group and serviceAccount".into()
        } else if account.is_some_and(|account| !is_account(account)) {
            "names a serviceAccount otherwise than as namespace/name".into()
        } else if roles.is_empty() || !roles.iter().all(is_role) {
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

/// A country, or a bloc that is built in: what declarations say of others is not for them to give roles by.
fn is_place(place: &str) -> bool {
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
        read.check().map_err(|e| e.to_string())
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
}
