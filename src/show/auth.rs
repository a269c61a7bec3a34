//! Who you are, and what you may do.
//!
//! [`may`] is the one function that says what somebody may do, and every route asks it. [`Identities`]
//! says who somebody is: by a token of our own, or because a provider or a cluster vouches for them.
//!
//! To stop asks less than to go: a stop needs a foot in what is stopped, a go needs all of it. An
//! administrator is no approver: what they may grant themselves is seen when they do it.

mod code_flow;
mod jwt;
mod known;
mod review;
mod token;

pub use crate::model::release::is_name;
pub use code_flow::{CodeFlow, NotSignedIn};
pub use known::{Identities, Unknown};
pub use review::Reviewer;
pub use token::{ADMIN_TOKEN, Emergency, NewToken, TOKENS, Token, TokenError, Tokens};

use std::{io, path::PathBuf};

use sha2::{Digest as _, Sha256};

use crate::{
    config::{OidcSettings, SettingsError},
    decide::event::Actor,
    ids::{Jurisdiction, PlanName, Principal, hex},
    model::{blocs, release::LONGEST_NAME},
};

/// Somebody who is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Their name.
    pub name: Principal,
    /// Where they belong to.
    pub jurisdiction: Option<Jurisdiction>,
    /// What they may do: each by itself, so that the roles of one do not reach as far as another.
    pub grants: Vec<Grant>,
    /// Where they show a token that is for emergencies.
    pub emergency: Option<Emergency>,
}

/// Roles, and how far they reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The roles.
    pub roles: Vec<String>,
    /// The plans that they reach; none named is all of them.
    pub plans: Vec<PlanName>,
    /// The countries and blocs that they reach; none named is all of them.
    pub within: Vec<Jurisdiction>,
}

impl Caller {
    /// Every role that they have, wherever it reaches.
    pub fn roles(&self) -> Vec<String> {
        let all = self.grants.iter().flat_map(|grant| grant.roles.iter().cloned());
        all.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
    }

    /// What the core is told of them who do that: the roles that they have for all that it reaches.
    pub fn actor(&self, verb: Verb, reach: &Reach) -> Actor {
        let mut roles: Vec<String> = Vec::new();
        for role in self.grants.iter().flat_map(|grant| &grant.roles) {
            let having = self.grants.iter().filter(|grant| grant.has(role)).collect::<Vec<_>>();
            if !roles.contains(role) && covered(&having, verb, reach).is_ok() {
                roles.push(role.clone());
            }
        }
        Actor { name: self.name.clone(), roles, jurisdiction: self.jurisdiction.clone() }
    }
}

impl Grant {
    fn has(&self, role: &str) -> bool {
        self.roles.iter().any(|own| own == role)
    }

    fn reaches(&self, place: &Jurisdiction) -> bool {
        let inside =
            |own: &Jurisdiction| own == place || blocs::contains(own.as_str(), place.as_str());
        self.within.is_empty() || self.within.iter().any(inside)
    }
}

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// Look.
    Read,
    /// Pause, abort, freeze.
    Stop,
    /// Create, resume, retry, roll back, advance, lift.
    Go,
    /// Approve or reject.
    Agree,
    /// End what was agreed to: for who operates and for who agrees.
    Withdraw,
    /// Name somebody else as a release's author.
    Attribute,
    /// Take away all that is recorded, whoever it is about.
    Backup,
}

impl Verb {
    /// The role that it needs, in words.
    fn needs(self) -> &'static str {
        match self {
            Verb::Read => "viewer",
            Verb::Stop | Verb::Go => "operator",
            Verb::Agree => "approver",
            Verb::Withdraw => "operator or approver",
            Verb::Attribute | Verb::Backup => "admin",
        }
    }

    fn open_to(self, grant: &Grant) -> bool {
        let operates = grant.has("operator") || grant.has("admin");
        match self {
            Verb::Read => operates || grant.has("viewer") || grant.has("approver"),
            Verb::Stop | Verb::Go => operates,
            Verb::Agree => grant.has("approver"),
            Verb::Withdraw => operates || grant.has("approver"),
            Verb::Attribute | Verb::Backup => grant.has("admin"),
        }
    }
}

/// What it would be done to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// What belongs to no plan, or is filtered by plan afterwards.
    Common,
    /// Every plan everywhere.
    Everything,
    /// Every plan in one jurisdiction.
    Place(Jurisdiction),
    /// One plan, where these clusters lie.
    Plan(PlanName, Vec<Jurisdiction>),
}

/// It is not theirs to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The role is missing.
    #[error("{who} needs the role {role}")]
    Role {
        /// Who.
        who: Principal,
        /// The role.
        role: &'static str,
    },
    /// The role does not reach that plan.
    #[error("the roles of {who} do not reach plan {plan}")]
    Plan {
        /// Who.
        who: Principal,
        /// The plan.
        plan: PlanName,
    },
    /// The role does not reach that place.
    #[error("the roles of {who} do not reach {place}")]
    Place {
        /// Who.
        who: Principal,
        /// Where.
        place: String,
    },
}

/// Whether `caller` may do it: the one function that every route asks.
///
/// # Errors
/// Says what is missing.
pub fn may(caller: &Caller, verb: Verb, reach: &Reach) -> Result<(), Denied> {
    let who = || caller.name.clone();
    let open: Vec<&Grant> = caller.grants.iter().filter(|grant| verb.open_to(grant)).collect();
    if open.is_empty() {
        return Err(Denied::Role { who: who(), role: verb.needs() });
    }
    covered(&open, verb, reach).map_err(|beyond| match beyond {
        Beyond::Plan(plan) => Denied::Plan { who: who(), plan },
        Beyond::Place(place) => Denied::Place { who: who(), place },
    })
}

/// What some grants do not reach.
enum Beyond {
    Plan(PlanName),
    Place(String),
}

/// Whether those grants together reach it.
fn covered(grants: &[&Grant], verb: Verb, reach: &Reach) -> Result<(), Beyond> {
    let of_all_plans = || grants.iter().filter(|grant| grant.plans.is_empty());
    match reach {
        Reach::Common => Ok(()),
        Reach::Everything if of_all_plans().any(|grant| grant.within.is_empty()) => Ok(()),
        Reach::Everything => Err(Beyond::Place("everything".into())),
        Reach::Place(place) if of_all_plans().any(|grant| grant.reaches(place)) => Ok(()),
        Reach::Place(place) => {
            let all = of_all_plans().next().is_none();
            Err(Beyond::Place(if all {
                format!("every plan in {place}")
            } else {
                place.to_string()
            }))
        }
        Reach::Plan(plan, places) => {
            let of_plan = |grant: &&&Grant| grant.plans.is_empty() || grant.plans.contains(plan);
            let here: Vec<_> = grants.iter().filter(of_plan).collect();
            if here.is_empty() {
                return Err(Beyond::Plan(plan.clone()));
            }
            let reached = |place: &Jurisdiction| here.iter().any(|grant| grant.reaches(place));
            let outside = places.iter().find(|place| !reached(place));
            let enough = match verb {
                Verb::Read | Verb::Stop | Verb::Withdraw => {
                    places.is_empty() || places.iter().any(reached)
                }
                Verb::Go | Verb::Agree | Verb::Attribute | Verb::Backup => outside.is_none(),
            };
            match outside {
                Some(place) if !enough => Err(Beyond::Place(place.to_string())),
                Some(_) | None => Ok(()),
            }
        }
    }
}

/// Why the settings let nobody be vouched for.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "a variant's fields are its sentence's words")]
pub enum BadAuth {
    #[error("{}: it cannot be read; the settings name it under auth.oidc.caFile", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{}: it holds no certificate in PEM; the settings name it under auth.oidc.caFile", .0.display())]
    NoCertificate(PathBuf),
    #[error("the client for the OpenID provider cannot be set up")]
    Client(#[source] reqwest::Error),
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

/// Asks a provider whether it would vouch for anybody, and says how many keys it has.
///
/// # Errors
/// In words: the settings cannot be used, or it does not answer as it should.
pub async fn probe(settings: OidcSettings, external_url: Option<&str>) -> Result<usize, String> {
    let words = |error: BadAuth| match std::error::Error::source(&error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    let browser = settings.browser.clone();
    let oidc = jwt::Oidc::new(settings).map_err(words)?;
    let keys = oidc.probe().await?;
    if let Some(browser) = browser {
        CodeFlow::new(browser, oidc, external_url).map_err(words)?.probe().await?;
    }
    Ok(keys)
}

/// What is kept of a secret instead of it: SHA-256 in hexadecimal.
pub fn digest(secret: &str) -> String {
    hex(&Sha256::digest(secret.as_bytes()))
}

#[cfg(test)]
mod tests;
