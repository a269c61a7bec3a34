//! People: they release, stop, go on, approve, change their minds, ask twice, and edit what is declared.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};

use super::{
    chance::Chance,
    landscape::{self, Landscape, artifact, by_hand, version},
};
use crate::{
    decide::{
        command::{Command, Lane},
        event::{Action, Actor, Declared, End, Event, News, Problem, Request, Scope},
        phase::is_settled,
        waiting::{WaitingOn, waiting_on},
        world::{Phase, PlanState, Release, World},
    },
    ids::{ClusterName, FreezeId, PlanName, ReleaseId, RingName, Version},
    model::{
        plan::Plan,
        policy::RollbackScope,
        residency::{Enforcement, Place, Witness},
        ring::{Artifact, Cluster},
        time::{Now, Span},
    },
};

/// Something that people do.
#[derive(Debug)]
pub(super) enum Deed {
    /// They ask ringward.
    Ask(Box<Request>),
    /// They change what a plan's declarations say, or those of clusters, and of plans with them.
    Declare(Vec<Event>),
    /// The nodes of a cluster say something else of it than before.
    Witness(ClusterName, Witness),
    /// They set the clocks of ringward's machine.
    SetClock(SignedDuration),
    /// They change a target by hand.
    Drift(PlanName, ClusterName, Artifact),
}

/// Those who work with ringward, and what they remember.
#[derive(Debug)]
pub(super) struct Operators {
    chance: Chance,
    /// When the next of them does something.
    pub(super) next: Span,
    /// What nobody answered, to be asked again.
    unanswered: Vec<(Span, Request)>,
    answered: Vec<Request>,
    asked: u64,
    versions: BTreeMap<PlanName, u64>,
    editions: u64,
    /// What is declared now.
    declared: BTreeMap<PlanName, Declared>,
    /// What is declared where nobody made a mistake.
    valid: BTreeMap<PlanName, Arc<Plan>>,
    /// Every cluster as it is declared, or was before somebody took its declaration away.
    clusters: BTreeMap<ClusterName, Cluster>,
    /// Those whose declaration somebody took away.
    gone: BTreeSet<ClusterName>,
    /// Those whose nodes contradict what is declared of them.
    contradicted: BTreeSet<ClusterName>,
}

const PEOPLE: [(&str, &[&str], &str); 6] = [
    ("dana", &["operator", "approver"], "DE"),
    ("ola", &["operator"], "IE"),
    ("kim", &["approver"], "DE"),
    ("lee", &["approver"], "IE"),
    ("sam", &["approver"], "IE"),
    ("pat", &["approver"], "US"),
];

fn actor((name, roles, place): (&str, &[&str], &str)) -> Actor {
    let roles = roles.iter().map(|role| (*role).into()).collect();
    Actor { name: name.into(), roles, jurisdiction: Some(place.into()) }
}

impl Operators {
    pub(super) fn new(landscape: &Landscape, chance: Chance) -> Self {
        let plans = || landscape.plans.iter().map(|plan| (plan.name.clone(), plan.clone()));
        Self {
            chance,
            next: Span::seconds(1),
            unanswered: Vec::new(),
            answered: Vec::new(),
            asked: 0,
            versions: BTreeMap::new(),
            editions: 1,
            declared: plans().map(|(name, plan)| (name, Declared::Valid(plan))).collect(),
            valid: plans().collect(),
            clusters: landscape.clusters.iter().map(|c| (c.name.clone(), c.clone())).collect(),
            gone: BTreeSet::new(),
            contradicted: BTreeSet::new(),
        }
    }

    /// What the source says of every cluster.
    pub(super) fn places(&self) -> Event {
        let there = self.clusters.values().filter(|cluster| !self.gone.contains(&cluster.name));
        let places = there.map(|cluster| (cluster.name.clone(), Some(Place::from(cluster))));
        Event::Learned(News::Clusters(places.collect()))
    }

    /// What the source says of every plan.
    pub(super) fn declared(&self) -> &BTreeMap<PlanName, Declared> {
        &self.declared
    }

    /// ringward died before it answered: whoever has a key asks again.
    pub(super) fn left_unanswered(&mut self, request: &Request, at: Span) {
        if request.key.is_some() {
            let later = at + self.chance.seconds(1, 120);
            self.unanswered.push((later, request.clone()));
        }
    }

    pub(super) fn answered(&mut self, request: &Request) {
        if request.key.is_some() {
            self.answered.push(request.clone());
        }
    }

    /// What is done now, and by when something is done again.
    pub(super) fn act(&mut self, world: &World, now: Now, at: Span) -> Option<Deed> {
        self.next = at + self.chance.seconds(2, 100);
        if let Some(due) = self.unanswered.iter().position(|(later, _)| *later <= at) {
            return Some(Deed::Ask(Box::new(self.unanswered.swap_remove(due).1)));
        }
        let plans: Vec<_> = self.valid.keys().cloned().collect();
        let plan = self.chance.pick(&plans)?.clone();
        let state = world.plans.get(&plan)?;
        let deploying = |command: &Command| matches!(command, Command::Deploy(_));
        if state.in_flight.values().any(|command| deploying(command)) && self.chance.percent(15) {
            return self.misplace(state, now.wall);
        }
        let by = actor(self.chance.one(PEOPLE));
        // Who sees a target stand at a step has a word for it, more often than not.
        let stands = awaited(world, state, now)
            .find(|(.., waiting)| matches!(waiting, WaitingOn::Promotion(..)));
        let stands = stands.map(|(release, ring, _)| (release.id.clone(), ring));
        let stands = stands.filter(|_| self.chance.percent(70));
        let action = match self.chance.below(100) {
            _ if let Some((release, ring)) = &stands => {
                let (release, ring) = (release.clone(), ring.clone());
                Some(Action::Advance { release, ring, reason: None })
            }
            0..24 => self.submit(&plan),
            24..28 => self.waive(state, now),
            28..40 => self.approve(world, state, now),
            40..43 => {
                let (release, ring) = self.somewhere(state)?;
                Some(Action::Reject { release, ring, reason: None })
            }
            43..50 => Some(Action::Pause { scope: self.scope(state), reason: None }),
            50..62 => self.resume(world, state),
            62..65 => {
                let id: FreezeId = format!("f-{}", self.asked).into();
                let until = now.wall.saturating_add(self.chance.seconds(30, 1_200).to_signed());
                let until = until.ok().filter(|_| self.chance.percent(60)).map(End::At);
                let scope = self.scope(state);
                Some(Action::Freeze { id, scope, until, reason: "an incident".into() })
            }
            65..70 => {
                let freezes: Vec<_> = world.shared.freezes.keys().cloned().collect();
                self.chance.pick(&freezes).cloned().map(|id| Action::Lift { id })
            }
            70..74 => {
                let (release, _) = self.somewhere(state)?;
                let hold = self.chance.percent(30);
                Some(Action::Abort { release, hold, reason: None })
            }
            74..79 => {
                let waits = world.shared.rollbacks.waiting.iter();
                let waits: Vec<_> = waits.filter(|(id, _)| id.plan == plan).cloned().collect();
                // Who sees one wait for its place may want it at once.
                let at_once = self.chance.pick(&waits).filter(|_| self.chance.percent(60)).cloned();
                let (release, ring) = at_once.or_else(|| self.somewhere(state))?;
                let ring = self.chance.percent(60).then_some(ring);
                let scope = self.chance.percent(40).then(|| self.chance.one(RollbackScope::ALL));
                Some(Action::Rollback { release, ring, scope, reason: None })
            }
            79..86 => {
                let (release, ring) = self.somewhere(state)?;
                let ring = self.chance.percent(50).then_some(ring);
                Some(Action::Retry { release, ring, reason: None })
            }
            86..88 => {
                let (release, ring) = self.somewhere(state)?;
                Some(Action::Advance { release, ring, reason: None })
            }
            88..90 => {
                let owing: Vec<_> = state.in_order().filter(|release| release.owes()).collect();
                let release = self.chance.pick(&owing)?.id.clone();
                Some(Action::WriteOff { release, ring: None, reason: "looked at by hand".into() })
            }
            90..91 => return self.repeat(),
            91..93 => return Some(self.edit(&plan, state, now.wall)),
            93..95 => return self.misplace(state, now.wall),
            95..98 => {
                let by = SignedDuration::from_secs(self.chance.below(10_800) as i64);
                let back = self.chance.percent(50);
                return Some(Deed::SetClock(if back { -by } else { by }));
            }
            _ => {
                let clusters: Vec<_> = state.targets.keys().cloned().collect();
                let cluster = self.chance.pick(&clusters)?.clone();
                let by_hand = artifact(&plan, &by_hand(self.asked));
                return Some(Deed::Drift(plan, cluster, by_hand));
            }
        }?;
        self.asked += 1;
        let revision = state.revision;
        let key = self.chance.percent(80).then(|| format!("k-{}", self.asked).into());
        let seen = self.chance.percent(15).then(|| revision - self.chance.below(2).min(revision));
        Some(Deed::Ask(Box::new(Request { by, key, seen, action })))
    }

    fn submit(&mut self, plan: &PlanName) -> Option<Action> {
        let known = self.versions.entry(plan.clone()).or_insert(0);
        // Now and then something that exists, whatever became of it.
        let again = *known > 0 && self.chance.percent(12);
        if !again {
            *known += 1;
        }
        let n = if again { self.chance.between(1, *known) } else { *known };
        let artifact_of = if again { self.chance.between(1, *known) } else { n };
        // The one before; now and then one that is still to come, or itself.
        let required = match self.chance.below(6) {
            0 => n + self.chance.below(3),
            _ => n - 1,
        };
        let requires = (required > 0 && self.chance.percent(10)).then(|| version(required));
        landscape::is_known(n).then(|| Action::Submit {
            release: ReleaseId::new(plan.clone(), version(n)),
            artifact: artifact(plan, &version(artifact_of)),
            author: self.chance.percent(30).then(|| "dana".into()),
            lane: if self.chance.percent(25) { Lane::Hotfix } else { Lane::Normal },
            reason: self.chance.percent(90).then(|| "it cannot wait".into()),
            irreversible: self.chance.percent(8),
            requires,
        })
    }

    /// Mostly what is waited for; now and then anything.
    fn approve(&mut self, world: &World, state: &PlanState, now: Now) -> Option<Action> {
        let wanted: Vec<_> = awaited(world, state, now)
            .filter(|(.., waiting)| matches!(waiting, WaitingOn::Approval { .. }))
            .map(|(release, ring, _)| (release.id.clone(), ring))
            .collect();
        let anything = self.chance.percent(15);
        let (release, ring) = match self.chance.pick(&wanted).filter(|_| !anything) {
            Some(wanted) => wanted.clone(),
            None => self.somewhere(state)?,
        };
        Some(Action::Approve { release, ring, reason: None })
    }

    fn resume(&mut self, world: &World, state: &PlanState) -> Option<Action> {
        let paused: Vec<_> = world.shared.pauses.keys().cloned().collect();
        let scope = match self.chance.pick(&paused) {
            Some(scope) => scope.clone(),
            None => self.scope(state),
        };
        Some(Action::Resume { scope, reason: None })
    }

    fn scope(&mut self, state: &PlanState) -> Scope {
        let place = self.chance.one(["EU", "DE", "US"]);
        let somewhere = self.somewhere(state);
        match (self.chance.below(6), somewhere) {
            (0, _) | (_, None) => Scope::Everything,
            (1, _) => Scope::Jurisdiction(place.into()),
            (2, Some((release, _))) => Scope::Plan(release.plan),
            (3, Some((release, ring))) => Scope::Ring(release.plan, ring),
            (4, Some((release, _))) => Scope::Release(release),
            (_, Some((release, ring))) => Scope::ReleaseRing(release, ring),
        }
    }

    /// A release and a ring of it, mostly of a release that is not over.
    fn somewhere(&mut self, state: &PlanState) -> Option<(ReleaseId, RingName)> {
        let all: Vec<_> = state.in_order().collect();
        let open: Vec<_> = all.iter().filter(|r| !is_settled(r)).copied().collect();
        let any = self.chance.percent(40);
        let from = if open.is_empty() || any { &all } else { &open };
        let release = *self.chance.pick(from)?;
        let ring = self.chance.pick(release.plan.graph.order())?.clone();
        Some((release.id.clone(), ring))
    }

    /// A request that was answered comes again; now and then its key under another request.
    fn repeat(&mut self) -> Option<Deed> {
        let mut request = self.chance.pick(&self.answered)?.clone();
        if self.chance.percent(40) {
            request.action = Action::Lift { id: format!("f-{}", self.chance.below(50)).into() };
        }
        Some(Deed::Ask(Box::new(request)))
    }

    fn edit(&mut self, plan: &PlanName, state: &PlanState, now: Timestamp) -> Deed {
        let in_error = !matches!(self.declared.get(plan), Some(Declared::Valid(_)));
        let problem = Problem {
            rule: "DAG001".into(),
            place: "rings/plan.yaml:3:1".into(),
            message: "rings wait for each other: a -> b -> a".into(),
        };
        let declared = match self.chance.below(10) {
            _ if in_error => Declared::Valid(self.valid[plan].clone()),
            0..2 => Declared::Invalid(vec![problem]),
            2 => Declared::Withdrawn,
            _ => {
                self.editions += 1;
                let (chance, valid) = (&mut self.chance, &self.valid[plan]);
                let edited = match !state.waivers.is_empty() && chance.percent(50) {
                    true => landscape::hardened(valid, self.editions),
                    false => landscape::edited(chance, valid, self.editions, now),
                };
                self.valid.insert(plan.clone(), Arc::new(edited));
                Declared::Valid(self.valid[plan].clone())
            }
        };
        self.declared.insert(plan.clone(), declared.clone());
        Deed::Declare(vec![Event::Declared { plan: plan.clone(), declared }])
    }

    /// What is known of a cluster comes to be contradicted, to expire or to be gone; or is put right.
    fn misplace(&mut self, state: &PlanState, now: Timestamp) -> Option<Deed> {
        let clusters: Vec<_> = self.clusters.keys().cloned().collect();
        let written: Vec<_> = state.in_flight.values().map(|c| c.cluster().clone()).collect();
        // Where something is on its way it matters most.
        let there = self.chance.pick(&written).filter(|_| self.chance.percent(80));
        let name = there.or_else(|| self.chance.pick(&clusters))?.clone();
        if self.contradicted.contains(&name) {
            return Some(Deed::Witness(name.clone(), self.truth(&name)));
        }
        if self.gone.remove(&name) {
            return Some(Deed::Declare(self.redeclared(&name)));
        }
        match self.chance.below(4) {
            0 => {
                self.contradicted.insert(name.clone());
                let elsewhere =
                    Witness { regions: ["elsewhere".into()].into(), ..Witness::default() };
                Some(Deed::Witness(name, elsewhere))
            }
            1 => {
                self.gone.insert(name.clone());
                Some(Deed::Declare(self.redeclared(&name)))
            }
            _ => {
                // Somebody vouches for it, for a time; or for good.
                let until = now.saturating_add(self.chance.seconds(30, 900).to_signed()).ok();
                let until = until.filter(|_| self.chance.percent(70));
                self.clusters.get_mut(&name)?.verified_until = until;
                Some(Deed::Declare(self.redeclared(&name)))
            }
        }
    }

    /// What its nodes say where nobody mislabelled them.
    fn truth(&mut self, name: &ClusterName) -> Witness {
        self.contradicted.remove(name);
        let regions = self.clusters.get(name).map(|cluster| cluster.region.clone());
        Witness { regions: regions.into_iter().collect(), ..Witness::default() }
    }

    /// What the source says once something else is declared of a cluster: of it, and of the plans that
    /// have it. Without it they are in error.
    fn redeclared(&mut self, name: &ClusterName) -> Vec<Event> {
        let mut events = vec![self.places()];
        let cluster = self.clusters[name].clone();
        for (plan, valid) in &mut self.valid {
            if valid.cluster(name).is_none() {
                continue;
            }
            self.editions += 1;
            *valid = Arc::new(landscape::with_cluster(valid, &cluster, self.editions));
            if let Some(Declared::Withdrawn) = self.declared.get(plan) {
                continue;
            }
            let missing = valid.clusters().any(|cluster| self.gone.contains(&cluster.name));
            let declared = match missing {
                true => Declared::Invalid(vec![Problem {
                    rule: "REF001".into(),
                    place: "rings/plan.yaml:9:1".into(),
                    message: format!("there is no cluster {name}"),
                }]),
                false => Declared::Valid(valid.clone()),
            };
            self.declared.insert(plan.clone(), declared.clone());
            events.push(Event::Declared { plan: plan.clone(), declared });
        }
        events
    }

    /// A rule is waived, agreed to or bound again.
    fn waive(&mut self, state: &PlanState, now: Now) -> Option<Action> {
        let plan = state.declared.as_ref()?.clone();
        let known: Vec<_> = state.waivers.keys().cloned().collect();
        if let Some(id) = self.chance.pick(&known).cloned()
            && self.chance.percent(75)
        {
            let plan = plan.name.clone();
            return Some(match self.chance.percent(75) {
                true => Action::ApproveWaiver { plan, id },
                false => Action::RevokeWaiver { plan, id, reason: None },
            });
        }
        // Mostly one that can be.
        let waivable = plan.residency.iter().filter(|r| r.enforcement == Enforcement::Waivable);
        let waivable: Vec<_> = waivable.map(|rule| rule.id.clone()).collect();
        let rule = match self.chance.pick(&waivable).filter(|_| self.chance.percent(90)) {
            Some(rule) => rule.clone(),
            None => self.chance.pick(&plan.residency)?.id.clone(),
        };
        let somewhere = self.somewhere(state);
        let (release, ring) = somewhere.map(|(id, ring)| (id.version, ring)).unzip();
        Some(Action::Waive {
            id: format!("w-{}", self.asked).into(),
            plan: plan.name.clone(),
            rule,
            policy: None,
            release: release.filter(|_| self.chance.percent(20)),
            ring: ring.filter(|_| self.chance.percent(20)),
            until: End::At(
                now.wall.saturating_add(self.chance.seconds(120, 5_400).to_signed()).ok()?,
            ),
            reason: "there is no other way".into(),
        })
    }

    /// Nothing is in error any more, and everything is known of every cluster: what its nodes say then.
    pub(super) fn correct_everything(&mut self) -> Vec<Event> {
        self.gone.clear();
        let doubtful: Vec<_> =
            self.clusters.values().filter(|c| c.verified_until.is_some()).cloned().collect();
        for Cluster { name, .. } in doubtful {
            if let Some(cluster) = self.clusters.get_mut(&name) {
                cluster.verified_until = None;
            }
            self.redeclared(&name);
        }
        let valid = self.valid.iter();
        self.declared =
            valid.map(|(name, plan)| (name.clone(), Declared::Valid(plan.clone()))).collect();
        let contradicted = self.contradicted.clone().into_iter();
        contradicted.map(|c| Event::Learned(News::Witness(c.clone(), self.truth(&c)))).collect()
    }

    /// What brings everything on its way that only people can.
    pub(super) fn help(&mut self, world: &World, now: Now) -> Vec<Request> {
        let ask = |person, action| Request { by: actor(person), key: None, seen: None, action };
        let [dana, ..] = PEOPLE;
        let mut asks = Vec::new();
        for scope in world.shared.pauses.keys() {
            asks.push(ask(dana, Action::Resume { scope: scope.clone(), reason: None }));
        }
        for id in world.shared.freezes.keys() {
            asks.push(ask(dana, Action::Lift { id: id.clone() }));
        }
        for state in world.plans.values() {
            for (release, ring, waiting) in awaited(world, state, now) {
                let id = release.id.clone();
                match waiting {
                    WaitingOn::Approval { .. } => asks.extend(PEOPLE.map(|person| {
                        ask(
                            person,
                            Action::Approve {
                                release: id.clone(),
                                ring: ring.clone(),
                                reason: None,
                            },
                        )
                    })),
                    WaitingOn::Advance(_) => {
                        asks.push(ask(dana, Action::Advance { release: id, ring, reason: None }));
                    }
                    WaitingOn::Promotion(..) => {
                        asks.push(ask(dana, Action::Advance { release: id, ring, reason: None }));
                    }
                    WaitingOn::Prerequisite(required) if can_never_pass(state, &required) => {
                        asks.push(ask(
                            dana,
                            Action::Abort { release: id, hold: false, reason: None },
                        ));
                    }
                    // A rule that came when it was on its way: nothing but a new release keeps it.
                    WaitingOn::Residency { .. } => {
                        let action = Action::Abort { release: id, hold: false, reason: None };
                        asks.push(ask(dana, action));
                    }
                    WaitingOn::Prerequisite(_)
                    | WaitingOn::Turn(_)
                    | WaitingOn::Watch { .. }
                    | WaitingOn::Decision(_)
                    | WaitingOn::Rollbacks(..)
                    | WaitingOn::Before(_)
                    | WaitingOn::Queue(_)
                    | WaitingOn::Pause(..)
                    | WaitingOn::Calendar { .. }
                    | WaitingOn::Freeze { .. }
                    | WaitingOn::Cap(_)
                    | WaitingOn::Pair { .. }
                    | WaitingOn::Skew { .. }
                    | WaitingOn::Policy(..)
                    | WaitingOn::Data { .. }
                    | WaitingOn::Samples { .. }
                    | WaitingOn::Target(..) => {}
                }
            }
        }
        asks
    }
}

/// What each open ring of a plan waits on.
fn awaited<'a>(
    world: &'a World,
    state: &'a PlanState,
    now: Now,
) -> impl Iterator<Item = (&'a Release, RingName, WaitingOn)> {
    let open = state.in_order().filter(|release| !is_settled(release));
    open.flat_map(move |release| {
        release.plan.graph.order().iter().flat_map(move |ring| {
            let waits = waiting_on(world, release, ring, now);
            waits.into_iter().map(move |waiting| (release.as_ref(), ring.clone(), waiting))
        })
    })
}

/// Whether what is required will never have passed everywhere, as things are: it is over.
fn can_never_pass(state: &PlanState, required: &Version) -> bool {
    let Some(required) = state.releases.get(required) else { return true };
    is_settled(required) && required.rings.values().any(|run| run.phase != Phase::Passed)
}

/// The instant that a clock set by `by` shows instead of `wall`.
pub(super) fn shifted(wall: Timestamp, by: SignedDuration) -> Timestamp {
    wall.saturating_add(by).unwrap_or(wall)
}
