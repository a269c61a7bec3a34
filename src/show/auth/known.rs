//! Who somebody is, by what they show: a token of our own, a JWT of the provider's, or one that a
//! cluster vouches for.

use std::sync::Arc;

use super::{
    BadAuth, Caller, CodeFlow, Grant, Tokens, is_name,
    jwt::Oidc,
    review::{Reviewer, Reviews},
};
use crate::{
    config::{AuthSettings, Binding},
    ids::{Jurisdiction, Principal},
    model::time::Now,
};

/// The longest credential that is looked at, in bytes.
const LONGEST: usize = 16 * 1024;

/// Why nobody is known by what was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unknown {
    /// It is nobody's, or no longer.
    Nobody(&'static str),
    /// Who would know cannot be asked.
    Unavailable(&'static str),
}

/// Everybody who can be known.
#[derive(Debug)]
pub struct Identities {
    tokens: Arc<Tokens>,
    oidc: Option<Arc<Oidc>>,
    browsers: Option<CodeFlow>,
    reviews: Option<Reviews>,
}

impl Identities {
    /// Those with a token of our own, and those whom the settings let others vouch for: a provider, and the
    /// `cluster` that they name. People reach the server by `external_url`.
    ///
    /// # Errors
    /// A file that the settings name is no use, or nobody could come back from the provider.
    pub fn new(
        tokens: Arc<Tokens>,
        settings: AuthSettings,
        cluster: Option<Arc<dyn Reviewer>>,
        external_url: Option<&str>,
    ) -> Result<Self, BadAuth> {
        let AuthSettings { oidc, kubernetes } = settings;
        let browser = oidc.as_ref().and_then(|oidc| oidc.browser.clone());
        let oidc = oidc.map(Oidc::new).transpose()?;
        let browsers = oidc.clone().zip(browser);
        let browsers = browsers
            .map(|(oidc, browser)| CodeFlow::new(browser, oidc, external_url))
            .transpose()?;
        let reviews =
            kubernetes.zip(cluster).map(|(settings, cluster)| Reviews::new(settings, cluster));
        Ok(Self { tokens, oidc, browsers, reviews })
    }

    /// Those with a token of our own alone.
    pub fn own(tokens: Arc<Tokens>) -> Self {
        Self { tokens, oidc: None, browsers: None, reviews: None }
    }

    /// Where people sign in with a browser, if they can.
    pub fn browsers(&self) -> Option<&CodeFlow> {
        self.browsers.as_ref()
    }

    /// The tokens of our own.
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Whose credential that is.
    ///
    /// # Errors
    /// Nobody's, or it cannot be told now.
    pub async fn caller(&self, credential: &str, now: Now) -> Result<Caller, Unknown> {
        if let Some(caller) = self.tokens.caller(credential, now.wall) {
            return Ok(caller);
        }
        let foreign = !credential.starts_with(super::token::PREFIX) && credential.len() <= LONGEST;
        match (&self.oidc, &self.reviews) {
            (Some(oidc), _) if foreign && oidc.issued(credential) => {
                oidc.caller(credential, now).await
            }
            (_, Some(reviews)) if foreign => reviews.caller(credential, now).await,
            (None | Some(_), None | Some(_)) => {
                Err(Unknown::Nobody("the token is unknown, was revoked or has expired"))
            }
        }
    }
}

/// Somebody whom another vouches for, with the roles of every binding that is theirs.
pub(super) fn bound(
    name: &str,
    place: Option<Jurisdiction>,
    bindings: &[Binding],
    theirs: impl Fn(&Binding) -> bool,
) -> Option<Caller> {
    let theirs = || bindings.iter().filter(|binding| theirs(binding));
    let mut places = place.into_iter().chain(theirs().filter_map(|b| b.jurisdiction.clone()));
    let first = places.next();
    // Whoever is said to belong to two places is not known to belong to either.
    let jurisdiction = first.filter(|first| places.all(|place| place == *first));
    let grants = theirs().map(|binding| Grant {
        roles: binding.roles.clone(),
        plans: binding.plans.clone(),
        within: binding.within.clone(),
    });
    is_name(name).then(|| Caller {
        name: Principal::from(name),
        jurisdiction,
        grants: grants.collect(),
        emergency: None,
    })
}
