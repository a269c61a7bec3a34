//! Waivers of residency rules: asked for by one, agreed to by two others, over after a time.
//!
//! Which approvals count is asked when a waiver is used, and for the release that would use it: who made
//! that release cannot have let it past a rule, whatever they agreed to before it was made.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{
    Draft,
    event::{Action, Actor},
    fact::{Fact, Refusal, Waiver},
    phase::is_settled,
    world::{Illegal, PlanState, Release, WaiverRun},
};
use crate::{
    ids::{PlanName, Principal, RingName, Version, WaiverId},
    model::{
        plan::Plan,
        residency::{Enforcement, Rule},
        time::{Now, Span},
    },
};

/// How many must agree.
pub const APPROVERS: usize = 2;

/// What they must be.
pub const ROLE: &str = "approver";

/// The longest that a waiver lasts from when it was asked for: what is needed for longer is a change in Git.
pub const LONGEST: Span = Span::minutes(7 * 24 * 60);

/// A release as far as waivers ask for it: it may be one that is about to be admitted.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Its version.
    pub version: &'a Version,
    /// Who made it.
    pub author: &'a Principal,
    /// Who asked for it.
    pub by: &'a Principal,
}

impl<'a> From<&'a Release> for Subject<'a> {
    fn from(release: &'a Release) -> Self {
        let version = &release.id.version;
        Self { version, author: &release.author, by: &release.by.name }
    }
}

impl Subject<'_> {
    fn is_by(&self, name: &Principal) -> bool {
        name == self.author || name == self.by
    }
}

/// Those who have agreed and may: approvers, each once, and not who asked for it; nor, where the waiver is
/// used for a release, who made that.
pub fn agreed<'a>(waiver: &'a WaiverRun, used_for: Option<Subject<'_>>) -> BTreeSet<&'a Principal> {
    let counts = |by: &&Actor| {
        may_agree(waiver, by).is_ok() && used_for.is_none_or(|subject| !subject.is_by(&by.name))
    };
    waiver.approvals.iter().map(|(by, _)| by).filter(counts).map(|by| &by.name).collect()
}

/// The waiver by which a rule does not bind a release on a ring now, if there is one.
pub fn in_force<'a>(
    plan: &'a PlanState,
    subject: Subject<'_>,
    ring: &RingName,
    rule: &Rule,
    now: Now,
) -> Option<&'a WaiverId> {
    let valid = |waiver: &WaiverRun| {
        waiver.covers(subject.version, ring)
            && !waiver.is_over(now)
            && agreed(waiver, Some(subject)).len() >= APPROVERS
            && waiver.is_of(rule)
    };
    plan.waivers.iter().find(|(_, waiver)| valid(waiver)).map(|(id, _)| id)
}

/// Whether a release may owe it to a waiver that it came as far as it did.
pub(super) fn may_rest_on(plan: &PlanState, release: &Release) -> bool {
    plan.waivers.values().any(|waiver| {
        waiver.approvals.len() >= APPROVERS && release.submitted.mono < waiver.ends().mono
    })
}

fn may_agree(waiver: &WaiverRun, by: &Actor) -> Result<(), (Refusal, String)> {
    if by.name == waiver.said.by.name {
        let detail = format!("{} asked for this waiver; {APPROVERS} others must agree", by.name);
        return Err((Refusal::SelfApproval, detail));
    }
    if !by.roles.iter().any(|role| role == ROLE) {
        return Err((Refusal::NotAuthorised, format!("{} has not the role {ROLE}", by.name)));
    }
    Ok(())
}

/// A request about waivers of one plan.
pub(super) struct Asked<'a> {
    pub name: &'a PlanName,
    pub plan: &'a PlanState,
    pub by: &'a Actor,
    pub now: Now,
}

impl Asked<'_> {
    /// What comes of [`Action::Waive`]; nothing of any other.
    pub(super) fn ask(&self, action: &Action) -> Result<Vec<Fact>, (Refusal, String)> {
        let Action::Waive { id, rule, policy, release, ring, until, reason, .. } = action else {
            return Ok(Vec::new());
        };
        if self.plan.waivers.contains_key(id) {
            return Err((Refusal::NothingToDo, format!("waiver {id} exists already")));
        }
        let until = until.at(self.now.wall);
        self.in_time(until)?;
        let rule = self.rule(rule, policy.as_ref(), release.as_ref())?;
        self.scope(release.as_ref(), ring.as_ref())?;
        let waiver = Waiver {
            rule: rule.id.clone(),
            policy: rule.policy.clone(),
            content: rule.content(),
            release: release.clone(),
            ring: ring.clone(),
            until,
            reason: reason.clone(),
        };
        let (plan, id, by) = (self.name.clone(), id.clone(), self.by.clone());
        Ok(vec![Fact::WaiverAsked { plan, id, waiver, by }])
    }

    pub(super) fn approve(&self, id: &WaiverId) -> Result<Vec<Fact>, (Refusal, String)> {
        let waiver = self.open(id)?;
        may_agree(waiver, self.by)?;
        let covered = |release: &&std::sync::Arc<Release>| {
            !is_settled(release)
                && waiver.waiver.release.as_ref().is_none_or(|of| *of == release.id.version)
        };
        let own = self.plan.in_order().filter(covered);
        let own = own.map(AsRef::as_ref).find(|r| Subject::from(*r).is_by(&self.by.name));
        if let Some(own) = own {
            let who = &self.by.name;
            let detail =
                format!("{who} made {}, which it is for; somebody else must agree", own.id);
            return Err((Refusal::SelfApproval, detail));
        }
        if agreed(waiver, None).contains(&self.by.name) {
            let detail = format!("{} has agreed to it already", self.by.name);
            return Err((Refusal::NothingToDo, detail));
        }
        let (plan, id, by) = (self.name.clone(), id.clone(), self.by.clone());
        Ok(vec![Fact::WaiverApproved { plan, id, by }])
    }

    pub(super) fn revoke(
        &self,
        id: &WaiverId,
        reason: Option<&String>,
    ) -> Result<Vec<Fact>, (Refusal, String)> {
        self.open(id)?;
        let (plan, id, by) = (self.name.clone(), id.clone(), self.by.clone());
        Ok(vec![Fact::WaiverRevoked { plan, id, by, reason: reason.cloned() }])
    }

    fn open(&self, id: &WaiverId) -> Result<&WaiverRun, (Refusal, String)> {
        let known = self.plan.waivers.get(id);
        let unknown = || (Refusal::UnknownWaiver, format!("plan {} has no waiver {id}", self.name));
        let waiver = known.ok_or_else(unknown)?;
        if waiver.is_over(self.now) {
            let detail = format!("waiver {id} has ended; ask for another");
            return Err((Refusal::AlreadyTerminal, detail));
        }
        Ok(waiver)
    }

    fn in_time(&self, until: Timestamp) -> Result<(), (Refusal, String)> {
        let wall = self.now.wall;
        let last = wall.saturating_add(LONGEST.to_signed()).unwrap_or(wall);
        if until <= wall {
            let detail = "it would be over before it begins: give an instant to come".into();
            return Err((Refusal::ExpiryOutOfRange, detail));
        }
        if until > last {
            let detail = format!(
                "a waiver lasts {LONGEST} at most: end it by {last}, and change in Git what is \
                 needed for longer"
            );
            return Err((Refusal::ExpiryOutOfRange, detail));
        }
        Ok(())
    }

    /// The one rule that is meant: of the release's own snapshot, where it is admitted, and as Git has it
    /// now.
    fn rule(
        &self,
        id: &str,
        policy: Option<&crate::ids::PolicyName>,
        version: Option<&Version>,
    ) -> Result<&Rule, (Refusal, String)> {
        let declared = self.plan.declared.as_deref();
        let release = version.and_then(|version| self.plan.releases.get(version));
        let plan: Option<&Plan> = release.map(|release| release.plan.as_ref()).or(declared);
        let rules = plan.map(|plan| plan.residency.as_slice()).unwrap_or_default();
        let meant: Vec<&Rule> = rules
            .iter()
            .filter(|rule| rule.id == id && policy.is_none_or(|p| rule.policy.as_ref() == Some(p)))
            .collect();
        let Some(first) = meant.first() else {
            let known: BTreeSet<String> = rules.iter().map(named).collect();
            let known: Vec<_> = known.into_iter().collect();
            let detail = match known.as_slice() {
                [] => format!("plan {} has no residency rules", self.name),
                known => format!("it has no residency rule {id}; it has {}", known.join(", ")),
            };
            return Err((Refusal::UnknownRule, detail));
        };
        if meant.iter().any(|rule| rule.policy != first.policy) {
            let known: Vec<_> = meant.iter().map(|rule| named(rule)).collect();
            let detail = format!("more than one policy has a rule {id}: {}", known.join(", "));
            return Err((Refusal::UnknownRule, detail));
        }
        let now = declared.and_then(|plan| plan.residency.iter().find(|r| r.is_named_as(first)));
        let mut all = meant.iter().copied().chain(now);
        if let Some(hard) = all.find(|rule| rule.enforcement == Enforcement::Hard) {
            let detail = format!(
                "rule {id} is hard: nobody can waive it; change Git ({})",
                hard.declared_at
            );
            return Err((Refusal::HardRule, detail));
        }
        let is = now.map(Rule::content);
        let same = |rule: &&Rule| is.as_ref().is_none_or(|is| rule.content() == *is);
        meant.into_iter().find(same).ok_or_else(|| {
            let detail = format!(
                "rule {id} has changed since the release was admitted, which goes by what it was; \
                 release a new version"
            );
            (Refusal::UnknownRule, detail)
        })
    }

    fn scope(
        &self,
        version: Option<&Version>,
        ring: Option<&RingName>,
    ) -> Result<(), (Refusal, String)> {
        let release = version.and_then(|version| self.plan.releases.get(version));
        if let Some(over) = release.filter(|release| is_settled(release)) {
            return Err((Refusal::AlreadyTerminal, format!("{} is over", over.id)));
        }
        let plan = release.map(|release| &release.plan).or(self.plan.declared.as_ref());
        let unknown = ring.filter(|ring| plan.is_none_or(|plan| plan.ring(ring).is_none()));
        unknown.map_or(Ok(()), |ring| {
            Err((Refusal::UnknownRing, format!("plan {} has no ring {ring}", self.name)))
        })
    }
}

/// A rule by its id and its document.
fn named(rule: &Rule) -> String {
    match &rule.policy {
        Some(policy) => format!("{} of {policy}", rule.id),
        None => rule.id.clone(),
    }
}

impl Draft {
    /// The plan was declared anew: nobody has agreed to do without a rule that says something else now.
    pub(super) fn void_waivers(&mut self) -> Result<(), Illegal> {
        let Some(state) = self.state() else { return Ok(()) };
        let Some(declared) = state.declared.clone() else { return Ok(()) };
        let open = state.waivers.iter().filter(|(_, waiver)| !waiver.is_over(self.now));
        let voided = open.filter_map(|(id, run)| {
            let waiver = &run.waiver;
            let is = |rule: &&Rule| rule.id == waiver.rule && rule.policy == waiver.policy;
            let rule = declared.residency.iter().find(is)?;
            let why = match rule.enforcement {
                Enforcement::Hard => "is hard",
                Enforcement::Waivable if rule.content() != waiver.content => "says something else",
                Enforcement::Waivable => return None,
            };
            let (commit, declared_at) = (&declared.commit, &rule.declared_at);
            let why = format!("rule {} {why} since commit {commit} ({declared_at})", rule.id);
            Some(Fact::WaiverVoided { plan: self.plan.clone(), id: id.clone(), why })
        });
        let voided: Vec<_> = voided.collect();
        voided.into_iter().try_for_each(|fact| self.fact(fact))
    }
}
