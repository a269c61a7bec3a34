//! A release as it goes on: found by its plan, and looked at again whenever it has changed.

use std::{fmt, str::FromStr, time::Duration};

use super::{
    client::{Answer, Client},
    context::Context,
    failure::{Cause, Failure},
};
use crate::{
    ids::{PlanName, ReleaseId, Version, is_label},
    show::view::{PlanView, ReleaseView},
};

/// Between two looks. An unchanged release costs the server no more than a comparison.
const LOOK: Duration = Duration::from_secs(1);

/// `PLAN` or `PLAN@VERSION`, as it stands on a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Which {
    /// The plan.
    pub plan: PlanName,
    /// The version; where there is none, the newest release that is not over, or else the newest.
    pub version: Option<Version>,
}

impl FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (plan, version) = match text.split_once('@') {
            Some((plan, version)) => (plan, Some(version)),
            None => (text, None),
        };
        if !is_label(plan) || version.is_some_and(str::is_empty) {
            return Err(
                "say PLAN or PLAN@VERSION, such as checkout@2.14.0; a ring goes with --ring".into(),
            );
        }
        Ok(Self { plan: plan.into(), version: version.map(Into::into) })
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => write!(f, "{}@{version}", self.plan),
            None => write!(f, "{}", self.plan),
        }
    }
}

impl Which {
    /// The release that is meant.
    ///
    /// # Errors
    /// There is no such plan, or it has no release yet.
    pub async fn release(&self, client: &Client) -> Result<ReleaseId, Failure> {
        if let Some(version) = &self.version {
            return Ok(ReleaseId::new(self.plan.clone(), version.clone()));
        }
        let plan: PlanView = client.get(&["plans", self.plan.as_str()], &[]).await?.read()?;
        newest(&plan).cloned().ok_or_else(|| {
            Failure::new(format!("plan {} has no release yet", self.plan)).help(format!(
                "`ringward release create {} VERSION --image REF@DIGEST` makes one",
                self.plan
            ))
        })
    }
}

/// Of releases that are listed newest first.
fn newest(plan: &PlanView) -> Option<&ReleaseId> {
    let open = plan.releases.iter().find(|release| !release.settled);
    open.or(plan.releases.first()).map(|release| &release.release)
}

/// The path of a release.
pub fn path(release: &ReleaseId) -> [&str; 4] {
    ["plans", release.plan.as_str(), "releases", release.version.as_str()]
}

/// Follows one release.
pub struct Follow<'a> {
    client: &'a Client,
    context: &'a Context,
    release: &'a ReleaseId,
    etag: Option<String>,
    looked: bool,
    lost: bool,
}

impl<'a> Follow<'a> {
    /// From its present state on.
    pub fn new(client: &'a Client, context: &'a Context, release: &'a ReleaseId) -> Self {
        Self { client, context, release, etag: None, looked: false, lost: false }
    }

    /// The present state the first time, and every other once it has changed. A server that goes away
    /// meanwhile is waited for: ringward may be restarted at any time.
    ///
    /// # Errors
    /// The server refuses, or could not be reached the first time.
    pub async fn next(&mut self) -> Result<(Answer, ReleaseView), Failure> {
        loop {
            if self.looked {
                tokio::time::sleep(LOOK).await;
            }
            match self.client.newer(&path(self.release), self.etag.as_deref()).await {
                Ok(answer) => {
                    (self.looked, self.lost) = (true, false);
                    if let Some(answer) = answer {
                        self.etag.clone_from(&answer.etag);
                        let view = answer.read()?;
                        return Ok((answer, view));
                    }
                }
                Err(failure) if failure.cause == Cause::Unreachable && self.looked => {
                    if !self.lost {
                        self.context.progress(&format!("{}; waiting for it", failure.message));
                    }
                    self.lost = true;
                }
                Err(failure) => return Err(failure),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_and_releases_are_named() {
        let which: Which = "checkout".parse().unwrap();
        assert_eq!((which.plan.as_str(), which.version), ("checkout", None));
        let which: Which = "checkout@2.14.0".parse().unwrap();
        assert_eq!(which.version, Some("2.14.0".into()));
        for bad in ["", "@1", "checkout@"] {
            assert!(bad.parse::<Which>().is_err(), "{bad}");
        }
    }
}
