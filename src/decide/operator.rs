//! What operators ask for: admitted or refused by name, and recorded either way.

use std::{collections::BTreeSet, sync::Arc};

use sha2::{Digest, Sha256};

use super::{
    Decision, Draft,
    command::{Command, Lane, Promote},
    event::{Action, Actor, Request, Scope},
    fact::{Fact, Refusal, Reply},
    residency,
    rollback::{AskedFor, Word, newer_on},
    waiting::{
        HoldKind, WaitingOn, approvals_that_count, binding, covers, may_approve, requirements,
        waiting_on,
    },
    waiver,
    world::{Illegal, Phase, PlanState, Release, World},
};
use crate::{
    ids::{Hash, IdempotencyKey, Jurisdiction, PlanName, ReleaseId, RingName, Version, hex},
    model::{lane, policy::RollbackScope, ring::Ring, time::Now},
};

/// Why a request is refused.
type No = (Refusal, String);

/// What a request comes to: facts to record, or a refusal.
type Verdict = Result<Vec<Fact>, No>;

pub(super) fn decide(world: &World, request: &Request, now: Now) -> Result<Decision, Illegal> {
    if let Some(reply) = told_before(world, request) {
        return Ok(Decision { reply: Some(reply.clone()), ..Decision::default() });
    }
    let name: PlanName = request.action.plan().cloned().unwrap_or_else(|| "".into());
    let mut draft = Draft::new(world, &name, now);
    let reply = draft.answer(world, request)?;
    draft.settle()?;
    draft.promote()?;
    Ok(Decision { reply: Some(reply), ..draft.decision })
}

/// Releases of one plan that come together: each is admitted or refused by what those before it have made of the
/// plan, and only then does any of them start.
pub(super) fn together(
    world: &World,
    plan: &PlanName,
    requests: &[Request],
    now: Now,
) -> Result<Decision, Illegal> {
    let mut draft = Draft::new(world, plan, now);
    for request in requests.iter().filter(|request| told_before(world, request).is_none()) {
        // A draft knows no answers: what a key was used for is asked of the world.
        let mut made = draft.world.clone();
        made.answers = world.answers.clone();
        draft.answer(&made, request)?;
    }
    if !draft.decision.is_empty() {
        draft.settle()?;
        draft.promote()?;
    }
    Ok(draft.decision)
}

/// What the very same request was answered before.
fn told_before<'a>(world: &'a World, request: &Request) -> Option<&'a Reply> {
    let (known, reply) = world.answers.get(request.key.as_ref()?)?;
    (*known == fingerprint(request)).then_some(reply)
}

impl Draft {
    /// Admits or refuses what is asked in `world`, and records either.
    fn answer(&mut self, world: &World, request: &Request) -> Result<Reply, Illegal> {
        let plan = request.action.plan();
        let asked = Asked { world, by: &request.by, now: self.now };
        let conflict = request.key.as_ref().is_some_and(|key| world.answers.get(key).is_some());
        let verdict = match (request.seen, plan.and_then(|plan| world.plans.get(plan))) {
            _ if conflict => {
                let detail = "this idempotency key was used for another request".into();
                Err((Refusal::IdempotencyConflict, detail))
            }
            (Some(seen), Some(state)) if seen != state.revision => {
                let detail = "it has changed since; look again, then repeat the request".into();
                Err((Refusal::StaleState, detail))
            }
            (Some(_) | None, Some(_) | None) => asked.weigh(&request.action),
        };
        let reply = match verdict {
            Ok(facts) => {
                facts.into_iter().try_for_each(|fact| self.fact(fact))?;
                self.follow(&request.action, &request.by)?;
                Reply::Done { in_flight: asked.in_flight(&request.action) }
            }
            Err((kind, detail)) => {
                let asked = name_of(&request.action);
                let by = request.by.clone();
                self.fact(Fact::Refused { by, asked, kind, detail: detail.clone() })?;
                Reply::Refused { kind, detail }
            }
        };
        // The key's first request keeps its answer.
        if let Some(key) = request.key.clone().filter(|_| !conflict) {
            let fingerprint = fingerprint(request);
            self.fact(Fact::Answered { key, fingerprint, answer: reply.clone() })?;
        }
        Ok(reply)
    }

    /// What an admitted request sets going at once.
    fn follow(&mut self, action: &Action, by: &Actor) -> Result<(), Illegal> {
        match action {
            Action::Abort { release, hold, reason } => {
                self.end_everywhere(release, *hold, by, reason.as_deref())
            }
            Action::Rollback { release, ring, scope, reason } => {
                let (Some(state), Some(known)) = (self.state(), self.release(release)) else {
                    return Ok(());
                };
                let asked = AskedFor::new(state, &known, ring.as_ref(), *scope);
                self.take_back(release, &asked, by, reason.as_deref())
            }
            // The new attempt starts under what is asked now, where that is tighter.
            Action::Retry { release, .. } => self.tighten(release),
            Action::Submit { .. }
            | Action::Pause { .. }
            | Action::Resume { .. }
            | Action::Approve { .. }
            | Action::Reject { .. }
            | Action::Advance { .. }
            | Action::Freeze { .. }
            | Action::Lift { .. }
            | Action::BreakGlass { .. }
            | Action::WriteOff { .. }
            | Action::Waive { .. }
            | Action::ApproveWaiver { .. }
            | Action::RevokeWaiver { .. } => Ok(()),
        }
    }

    fn end_everywhere(
        &mut self,
        id: &ReleaseId,
        hold: bool,
        by: &Actor,
        reason: Option<&str>,
    ) -> Result<(), Illegal> {
        let Some(release) = self.release(id) else { return Ok(()) };
        for ring in release.plan.graph.order().iter().rev() {
            match self.phase(id, ring) {
                Some(Phase::Deploying | Phase::Soaking) if !hold => {
                    let why = reason.map(|r| format!(": {r}")).unwrap_or_default();
                    let cause = format!("aborted by {}{why}", by.name);
                    self.start_rollback(id, ring, Word::of(by, cause, None))?;
                }
                Some(Phase::Deploying | Phase::Soaking) => {
                    self.overtake_effects(id, ring)?;
                    self.fact(Fact::RingAborted { release: id.clone(), ring: ring.clone() })?;
                }
                Some(Phase::Waiting) => {
                    self.fact(Fact::RingAborted { release: id.clone(), ring: ring.clone() })?;
                }
                Some(
                    Phase::Passed
                    | Phase::Failed
                    | Phase::RollingBack
                    | Phase::RolledBack
                    | Phase::Aborted
                    | Phase::Superseded,
                )
                | None => {}
            }
        }
        Ok(())
    }
}

/// Who asks, of what world, when.
struct Asked<'a> {
    world: &'a World,
    by: &'a Actor,
    now: Now,
}

impl Asked<'_> {
    fn weigh(&self, action: &Action) -> Verdict {
        match action {
            Action::Submit { .. } => self.submit(action),
            Action::Pause { scope, reason } => {
                self.known(scope)?;
                if self.world.shared.pauses.contains_key(scope) {
                    return Err((Refusal::NothingToDo, "it is paused already".into()));
                }
                let members = self.members(scope);
                let (scope, by, reason) = (scope.clone(), self.by.clone(), reason.clone());
                Ok(vec![Fact::Paused { scope, by, reason, members }])
            }
            Action::Resume { scope, reason } => {
                if !self.world.shared.pauses.contains_key(scope) {
                    self.known(scope)?;
                    let detail = "it is not paused, at least not by a pause of this scope".into();
                    return Err((Refusal::NothingToDo, detail));
                }
                let (scope, by, reason) = (scope.clone(), self.by.clone(), reason.clone());
                Ok(vec![Fact::Resumed { scope, by, reason }])
            }
            Action::Approve { release, ring, reason } => self.approve(release, ring, reason),
            Action::Reject { release, ring, reason } => self.reject(release, ring, reason),
            Action::Abort { release, hold, reason } => {
                let known = self.release(release)?;
                self.open(known)?;
                let (release, hold, reason) = (release.clone(), *hold, reason.clone());
                Ok(vec![Fact::Aborted { release, by: self.by.clone(), reason, hold }])
            }
            Action::Retry { release, ring, reason } => self.retry(release, ring.as_ref(), reason),
            Action::Rollback { release, ring, scope, .. } => {
                self.rollback(release, ring.as_ref(), *scope)
            }
            Action::Advance { release, ring, reason } => self.advance(release, ring, reason),
            Action::Freeze { id, scope, until, reason } => {
                self.known(scope)?;
                if self.world.shared.freezes.contains_key(id) {
                    return Err((Refusal::NothingToDo, format!("freeze {id} exists already")));
                }
                Ok(vec![Fact::Frozen {
                    id: id.clone(),
                    scope: scope.clone(),
                    until: until.map(|end| end.at(self.now.wall)),
                    by: self.by.clone(),
                    reason: reason.clone(),
                    members: self.members(scope),
                }])
            }
            Action::BreakGlass { token, reason, asked } => Ok(vec![Fact::GlassBroken {
                by: self.by.clone(),
                token: token.clone(),
                reason: reason.clone(),
                asked: asked.clone(),
            }]),
            Action::Lift { id } => {
                if !self.world.shared.freezes.contains_key(id) {
                    return Err((Refusal::NothingToDo, format!("there is no freeze {id}")));
                }
                Ok(vec![Fact::Lifted { id: id.clone(), by: self.by.clone() }])
            }
            Action::WriteOff { release, ring, reason } => {
                self.write_off(release, ring.as_ref(), reason)
            }
            Action::Waive { plan, reason, .. } => {
                said("a waiver", Some(reason))?;
                self.waivers(plan)?.ask(action)
            }
            Action::ApproveWaiver { plan, id } => self.waivers(plan)?.approve(id),
            Action::RevokeWaiver { plan, id, reason } => {
                self.waivers(plan)?.revoke(id, reason.as_ref())
            }
        }
    }

    fn waivers<'b>(&'b self, name: &'b PlanName) -> Result<waiver::Asked<'b>, No> {
        Ok(waiver::Asked { name, plan: self.plan(name)?, by: self.by, now: self.now })
    }

    fn submit(&self, action: &Action) -> Verdict {
        let Action::Submit { release, artifact, author, lane, reason, irreversible, requires } =
            action
        else {
            return Ok(Vec::new());
        };
        let state = self.plan(&release.plan)?;
        // What the check found is refused by its own name: the release is, and not only its plan.
        if let Some(breach) = state.problems.iter().find(|p| p.rule.starts_with("RES")) {
            let detail = format!("{} at {}: {}", breach.rule, breach.place, breach.message);
            return Err((Refusal::ResidencyViolation, detail));
        }
        let Some(plan) = state.declared.as_ref().filter(|_| !state.withdrawn) else {
            let detail = match state.problems.first() {
                Some(first) => format!("{}: {}", first.place, first.message),
                None => format!("plan {} is not declared any more", release.plan),
            };
            return Err((Refusal::PlanInError, detail));
        };
        if let Some(first) = state.problems.first() {
            let detail = format!(
                "the declarations of plan {} are in error ({} in all); the first is {} at {}: {}",
                release.plan,
                state.problems.len(),
                first.rule,
                first.place,
                first.message
            );
            return Err((Refusal::PlanInError, detail));
        }
        let fast = match (lane, lane::hotfix(plan)) {
            (Lane::Normal, _) => None,
            (Lane::Hotfix, None) => {
                let detail = format!("plan {} declares no rules for a hotfix lane", release.plan);
                return Err((Refusal::PlanInError, detail));
            }
            (Lane::Hotfix, Some(fast)) => {
                said("the hotfix lane", reason.as_deref())?;
                Some(Arc::new(fast))
            }
        };
        let buried = state.tombstones.iter().find(|(_, buried)| {
            buried.contains_key(&release.version) || buried.values().any(|a| a.same_as(artifact))
        });
        if let Some((ring, _)) = buried {
            let detail = format!(
                "it was rolled back on {ring}; to try that version again, retry it by name, or \
                 release a new one"
            );
            return Err((Refusal::Tombstoned, detail));
        }
        if let Some(known) = state.releases.get(&release.version) {
            let detail = match known.artifact.same_as(artifact) {
                true => format!("release {release} exists already"),
                false => format!(
                    "release {release} exists already, of {}: {artifact} needs a version of its own",
                    known.artifact
                ),
            };
            return Err((Refusal::DuplicateRelease, detail));
        }
        if let Some(required) = requires {
            possible(state, &release.version, required)?;
        }
        let way = fast.as_ref().unwrap_or(plan);
        let author = author.as_ref().unwrap_or(&self.by.name);
        let subject = waiver::Subject { version: &release.version, author, by: &self.by.name };
        if let Some(breach) = residency::against_admission(self.world, way, subject, self.now) {
            let detail = format!("rule {}: {}", breach.rule, breach.fact);
            return Err((Refusal::ResidencyViolation, detail));
        }
        let taken = fast.map(|plan| Fact::LaneTaken { release: release.clone(), plan });
        let submitted = Fact::Submitted {
            release: release.clone(),
            artifact: artifact.clone(),
            author: author.clone(),
            by: self.by.clone(),
            lane: *lane,
            reason: reason.clone(),
            irreversible: *irreversible,
            requires: requires.clone(),
            policy: plan.hash.clone(),
        };
        Ok(std::iter::once(submitted).chain(taken).collect())
    }

    fn write_off(&self, id: &ReleaseId, ring: Option<&RingName>, reason: &str) -> Verdict {
        let release = self.release(id)?;
        if let Some(ring) = ring {
            self.ring(id, ring)?;
        }
        said("writing off a debt", Some(reason))?;
        let rings = release.rings.iter().filter(|(name, _)| ring.is_none_or(|ring| ring == *name));
        let written_off = rings.flat_map(|(ring, run)| {
            run.debts.keys().map(|debt| Fact::DebtWrittenOff {
                release: id.clone(),
                ring: ring.clone(),
                debt: debt.clone(),
                by: self.by.clone(),
                reason: reason.into(),
            })
        });
        let facts: Vec<_> = written_off.collect();
        if facts.is_empty() {
            return Err((Refusal::NothingToDo, "it owes nothing there".into()));
        }
        Ok(facts)
    }

    fn approve(&self, id: &ReleaseId, ring: &RingName, reason: &Option<String>) -> Verdict {
        let (release, declared) = self.ring(id, ring)?;
        let Some(run) = release.ring(ring).filter(|run| run.phase == Phase::Waiting) else {
            let detail = format!("{id} has started on {ring}, or is over there");
            return Err((Refusal::AlreadyTerminal, detail));
        };
        let Some(needed) = &declared.policy.approvals else {
            let detail = format!("ring {ring} needs no approval");
            return Err((Refusal::NothingToDo, detail));
        };
        may_approve(release, self.by, needed)?;
        let given = approvals_that_count(release, declared, run, needed, self.now);
        if given.contains(&self.by.name) {
            let detail = format!("{} has approved it already", self.by.name);
            return Err((Refusal::NothingToDo, detail));
        }
        Ok(vec![Fact::Approved {
            release: id.clone(),
            ring: ring.clone(),
            by: self.by.clone(),
            binding: binding(release, declared, run),
            reason: reason.clone(),
        }])
    }

    fn reject(&self, id: &ReleaseId, ring: &RingName, reason: &Option<String>) -> Verdict {
        let (release, declared) = self.ring(id, ring)?;
        if release.ring(ring).is_none_or(|run| run.phase != Phase::Waiting) {
            let detail = format!("{id} has started on {ring}, or is over there");
            return Err((Refusal::AlreadyTerminal, detail));
        }
        let Some(needed) = &declared.policy.approvals else {
            let detail = format!("ring {ring} needs no approval; pause or abort stops it");
            return Err((Refusal::NothingToDo, detail));
        };
        may_approve(release, self.by, needed)?;
        let (release, ring, reason) = (id.clone(), ring.clone(), reason.clone());
        Ok(vec![Fact::Rejected { release, ring, by: self.by.clone(), reason }])
    }

    fn retry(&self, id: &ReleaseId, ring: Option<&RingName>, reason: &Option<String>) -> Verdict {
        let release = self.release(id)?;
        if release.aborted.is_some() {
            let detail = format!("{id} was aborted, for good; release a new version");
            return Err((Refusal::AlreadyTerminal, detail));
        }
        if let Some(ring) = ring {
            self.ring(id, ring)?;
        }
        let over = |run: Phase| matches!(run, Phase::Failed | Phase::RolledBack);
        let rings: Vec<_> = rings_in(release, ring, over);
        if rings.is_empty() {
            let detail = "no ring of it has failed or was rolled back".into();
            return Err((Refusal::NothingToDo, detail));
        }
        let retried = |ring| Fact::Retried {
            release: id.clone(),
            ring,
            by: self.by.clone(),
            reason: reason.clone(),
        };
        Ok(rings.into_iter().map(retried).collect())
    }

    fn rollback(
        &self,
        id: &ReleaseId,
        ring: Option<&RingName>,
        scope: Option<RollbackScope>,
    ) -> Verdict {
        let (state, release) = (self.plan(&id.plan)?, self.release(id)?);
        if let Some(ring) = ring {
            self.ring(id, ring)?;
        }
        let rings = AskedFor::new(state, release, ring, scope).rings;
        if rings.is_empty() {
            let detail = "it is out on no such ring".into();
            return Err((Refusal::NothingToDo, detail));
        }
        let newer = rings.iter().find_map(|ring| newer_on(state, release, ring));
        if let Some(newer) = newer {
            let detail = format!("{newer} has taken its place there; roll that back instead");
            return Err((Refusal::NothingToDo, detail));
        }
        Ok(Vec::new())
    }

    fn advance(&self, id: &ReleaseId, ring: &RingName, reason: &Option<String>) -> Verdict {
        let (release, _) = self.ring(id, ring)?;
        let waiting = waiting_on(self.world, release, ring, self.now);
        let asked_for = |w| matches!(w, &WaitingOn::Advance(_));
        if waiting.iter().any(asked_for) {
            let (release, ring, reason) = (id.clone(), ring.clone(), reason.clone());
            return Ok(vec![Fact::Advanced { release, ring, by: self.by.clone(), reason }]);
        }
        let mut paused = Vec::new();
        for waiting in &waiting {
            if let WaitingOn::Promotion(cluster, pause) = waiting {
                paused.push((cluster.clone(), pause.clone()));
            }
        }
        if paused.is_empty() {
            let detail = "no operator's word is awaited there; `explain` says what is".into();
            return Err((Refusal::NothingToDo, detail));
        }
        let besides = |w: &&WaitingOn| !matches!(w.hold(), None | Some(HoldKind::Target));
        if let Some(hold) = waiting.iter().filter(besides).find_map(WaitingOn::hold) {
            let detail = format!(
                "its controller waits for a word, and {} holds the ring too: nothing goes forward \
                 there before that has ended; `explain` says what would end it",
                hold.name()
            );
            return Err((Refusal::NothingToDo, detail));
        }
        let promoted = paused.into_iter().map(|(cluster, pause)| Fact::Promoted {
            release: id.clone(),
            ring: ring.clone(),
            cluster,
            pause,
            by: self.by.clone(),
            reason: reason.clone(),
        });
        Ok(promoted.collect())
    }

    fn plan(&self, plan: &PlanName) -> Result<&PlanState, No> {
        let known = self.world.plans.get(plan).map(Arc::as_ref);
        known.ok_or_else(|| (Refusal::UnknownRelease, format!("there is no plan {plan}")))
    }

    fn release(&self, id: &ReleaseId) -> Result<&Release, No> {
        let release = self.plan(&id.plan)?.releases.get(&id.version).map(Arc::as_ref);
        release.ok_or_else(|| (Refusal::UnknownRelease, format!("there is no release {id}")))
    }

    fn ring(&self, id: &ReleaseId, ring: &RingName) -> Result<(&Release, &Ring), No> {
        let release = self.release(id)?;
        let Some(declared) = release.plan.ring(ring) else {
            let rings: Vec<_> = release.plan.rings.iter().map(|r| r.name.as_str()).collect();
            let detail = format!("{id} has no ring {ring}; it has {}", rings.join(", "));
            return Err((Refusal::UnknownRing, detail));
        };
        Ok((release, declared))
    }

    /// That there is anything left to do for `release`.
    fn open(&self, release: &Release) -> Result<(), No> {
        let over = release.rings.values().all(|run| match run.phase {
            Phase::Passed | Phase::RolledBack | Phase::Aborted | Phase::Superseded => true,
            Phase::Waiting
            | Phase::Deploying
            | Phase::Soaking
            | Phase::Failed
            | Phase::RollingBack => false,
        });
        if release.aborted.is_some() || over {
            return Err((Refusal::AlreadyTerminal, format!("{} is over", release.id)));
        }
        Ok(())
    }

    fn known(&self, scope: &Scope) -> Result<(), No> {
        match scope {
            Scope::Everything => Ok(()),
            // A stop of a place that is none would be acknowledged, and stop nothing.
            Scope::Jurisdiction(place) => {
                let blocs = &self.world.shared.blocs;
                if blocs.knows(place) {
                    return Ok(());
                }
                let names: Vec<_> = blocs.names().into_iter().collect();
                let names = names.join(", ");
                let detail = format!("{place} is neither a country's code nor a bloc: {names}");
                Err((Refusal::NothingToDo, detail))
            }
            Scope::Plan(plan) => self.plan(plan).map(|_| ()),
            Scope::Ring(plan, ring) => {
                let state = self.plan(plan)?;
                let declared =
                    state.declared.iter().chain(state.releases.values().map(|r| &r.plan));
                let found = declared.into_iter().any(|plan| plan.ring(ring).is_some());
                let detail = format!("plan {plan} has no ring {ring}");
                if found { Ok(()) } else { Err((Refusal::UnknownRing, detail)) }
            }
            Scope::Release(id) => self.open(self.release(id)?),
            Scope::ReleaseRing(id, ring) => {
                let (release, _) = self.ring(id, ring)?;
                self.open(release)
            }
        }
    }

    /// The countries that a scope stops, where it is a jurisdiction.
    fn members(&self, scope: &Scope) -> BTreeSet<Jurisdiction> {
        match scope {
            Scope::Jurisdiction(place) => self.world.shared.blocs.members(place),
            Scope::Everything
            | Scope::Plan(_)
            | Scope::Ring(..)
            | Scope::Release(_)
            | Scope::ReleaseRing(..) => BTreeSet::new(),
        }
    }

    /// The forward writes of a pause's scope that are out and cannot be called back.
    fn in_flight(&self, action: &Action) -> Vec<IdempotencyKey> {
        let Action::Pause { scope, .. } = action else { return Vec::new() };
        let plans: Vec<_> = match action.plan() {
            Some(plan) => self.world.plans.get(plan).into_iter().collect(),
            None => self.world.plans.values().collect(),
        };
        let out = plans.iter().flat_map(|state| {
            state.in_flight.values().filter_map(|command| match command.as_ref() {
                Command::Deploy(write) | Command::Promote(Promote { write, .. }) => {
                    let release = state.releases.get(&write.release.version)?;
                    let ring = release.plan.ring(&write.ring)?;
                    let (blocs, members) = (&self.world.shared.blocs, BTreeSet::new());
                    covers(blocs, scope, &members, release, ring).then(|| write.key.clone())
                }
                Command::Restore(_) | Command::Measure(_) => None,
            })
        });
        out.collect()
    }
}

/// That a reason was given where one is asked for.
fn said(what: &str, reason: Option<&str>) -> Result<(), No> {
    let given = reason.is_some_and(|reason| !reason.trim().is_empty());
    let detail = || format!("{what} asks for a reason, for the audit: give it one by `--reason`");
    if given { Ok(()) } else { Err((Refusal::ReasonMissing, detail())) }
}

/// Whether a release may wait for `required`: not for itself, however many releases lie between, and
/// not for one that is over.
fn possible(plan: &PlanState, version: &Version, required: &Version) -> Result<(), No> {
    let no = |detail: String| Err((Refusal::ImpossibleRequirement, detail));
    if required == version {
        return no(format!("{version} cannot require itself"));
    }
    let Some(release) = plan.releases.get(required) else { return Ok(()) };
    if requirements(plan, release).any(|earlier| earlier == version) {
        return no(format!("{required} requires {version} already: neither would ever start"));
    }
    let over = release.rings.values().any(|run| run.phase == Phase::Superseded);
    if release.aborted.is_some() || over {
        let how = if over { "superseded" } else { "aborted" };
        return no(format!("{required} was {how}: it will never have passed everywhere"));
    }
    Ok(())
}

fn rings_in(
    release: &Release,
    ring: Option<&RingName>,
    phase: impl Fn(Phase) -> bool,
) -> Vec<RingName> {
    let all = release.plan.graph.order().iter();
    let named = all.filter(|name| ring.is_none_or(|ring| ring == *name));
    named.filter(|name| release.ring(name).is_some_and(|run| phase(run.phase))).cloned().collect()
}

/// What was asked for, in the journal's words.
fn name_of(action: &Action) -> String {
    serde_json::to_string(action).unwrap_or_else(|_| "a request".into())
}

fn fingerprint(request: &Request) -> Hash {
    let text = format!("{} {}", request.by.name, name_of(&request.action));
    let digest = Sha256::digest(text.as_bytes());
    hex(&digest).into()
}
