//! `Release` documents: what of them is not there yet is asked for, each in its author's name.
//!
//! Architecture invariant: the releases are the memory. One that is there is asked for no more, wherever its document
//! stands by now; one that was refused is asked for again when its document or its plan has changed, and the key of
//! the request says so, so that a start says nothing twice.

use std::{
    collections::BTreeMap,
    sync::{PoisonError, RwLock},
};

use sha2::{Digest as _, Sha256};

use crate::{
    decide::{
        command::Lane,
        event::{Action, Actor, Event, Request},
        world::World,
    },
    declare::{Compiled, DeclaredRelease, source::Source},
    ids::{Commit, IdempotencyKey, PlanName, Principal, ReleaseId, hex},
    model::release::{Wanted, is_name},
};

/// What the last commit declares and was not asked for yet.
#[derive(Debug)]
pub(super) struct Releases {
    authors: BTreeMap<String, Principal>,
    commit: Commit,
    left: BTreeMap<PlanName, Vec<DeclaredRelease>>,
    /// What tells whether a plan is as it was when a release of it was refused.
    plans: BTreeMap<PlanName, String>,
}

impl Releases {
    /// Nothing yet; authors are known by these names.
    pub(super) fn new(authors: BTreeMap<String, Principal>) -> Self {
        let (left, plans) = (BTreeMap::new(), BTreeMap::new());
        Self { authors, commit: "unknown".into(), left, plans }
    }

    /// What a commit declares, in the place of what was declared before.
    pub(super) fn declared(&mut self, compiled: &Compiled) {
        self.commit = compiled.commit.clone();
        self.left.clear();
        for release in &compiled.releases {
            let of_plan = self.left.entry(release.wanted.plan.clone()).or_default();
            of_plan.push(release.clone());
        }
        let plan = |name: &PlanName| match compiled.plans.get(name) {
            Some(Ok(plan)) => plan.hash.to_string(),
            Some(Err(problems)) => problems.iter().map(|problem| format!("{problem}\n")).collect(),
            None => String::new(),
        };
        self.plans = self.left.keys().map(|name| (name.clone(), plan(name))).collect();
    }

    /// Whether something could not be asked for yet.
    pub(super) fn is_left(&self) -> bool {
        !self.left.is_empty()
    }

    /// What is asked for now: of each plan all of it, or nothing where an author cannot be told yet.
    pub(super) async fn asked(&mut self, source: &Source, world: &RwLock<World>) -> Vec<Event> {
        let mut events = Vec::new();
        for (plan, releases) in std::mem::take(&mut self.left) {
            let new: Vec<_> =
                releases.iter().filter(|release| is_new(&release.wanted, release, world)).collect();
            match self.requests(source, &new).await {
                Ok(requests) if requests.is_empty() => {}
                Ok(requests) => events.push(Event::Submitted { plan, requests }),
                Err(why) => {
                    tracing::warn!(%plan, why, "the author of a release cannot be told: it waits");
                    self.left.insert(plan, releases);
                }
            }
        }
        events
    }

    async fn requests(
        &self,
        source: &Source,
        releases: &[&DeclaredRelease],
    ) -> Result<Vec<Request>, String> {
        let mut requests = Vec::with_capacity(releases.len());
        for DeclaredRelease { wanted, file, line } in releases {
            let mail = source.author(&self.commit, file, *line).await?;
            let author = mail.and_then(|mail| self.author(mail, file));
            requests.push(self.request(source, wanted, author));
        }
        Ok(requests)
    }

    /// As whom ringward knows the author of a commit.
    fn author(&self, mail: String, file: &str) -> Option<Principal> {
        let known = self.authors.get(&mail).cloned();
        let author = known.or_else(|| is_name(&mail).then(|| mail.clone().into()));
        if author.is_none() {
            tracing::warn!(
                file,
                author = mail.escape_debug().to_string(),
                "nobody can be called like the author of a release, so nobody is kept from approving it as such: \
                 say under source.authors of the settings who they are"
            );
        }
        author
    }

    fn request(&self, source: &Source, wanted: &Wanted, author: Option<Principal>) -> Request {
        let Wanted { plan, version, artifact, hotfix, reason, irreversible, requires } = wanted;
        // No name of a caller holds a colon, so nobody else is called so or has a key of it.
        let by = match source {
            Source::Dir(_) => "source:directory",
            Source::Git(_) => "source:git",
        };
        let document = serde_json::to_string(wanted).unwrap_or_default();
        let of_plan = self.plans.get(plan).map(String::as_str).unwrap_or_default();
        let digest = Sha256::digest(format!("{document}\n{of_plan}").as_bytes());
        let key = format!("{by}/{plan}@{version}/{}", &hex(&digest)[..16]);
        let action = Action::Submit {
            release: ReleaseId::new(plan.clone(), version.clone()),
            artifact: artifact.clone(),
            author,
            lane: if *hotfix { Lane::Hotfix } else { Lane::Normal },
            reason: reason.clone(),
            irreversible: *irreversible,
            requires: requires.clone(),
        };
        let by = Actor { name: by.into(), roles: Vec::new(), jurisdiction: None };
        Request { by, key: Some(IdempotencyKey::from(key)), seen: None, action }
    }
}

/// Whether a release is not there yet; one that is there of something else is told of, and refused by the core.
fn is_new(wanted: &Wanted, at: &DeclaredRelease, world: &RwLock<World>) -> bool {
    let world = world.read().unwrap_or_else(PoisonError::into_inner);
    let id = ReleaseId::new(wanted.plan.clone(), wanted.version.clone());
    let Some(known) = world.release(&id) else { return true };
    let same = known.artifact.same_as(&wanted.artifact);
    if !same {
        tracing::error!(
            release = %id, place = format!("{}:{}", at.file, at.line), exists = %known.artifact,
            declared = %wanted.artifact,
            "a document changes what an existing release deploys, and nothing is done: it needs a version of its own"
        );
    }
    !same
}
