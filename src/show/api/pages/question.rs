//! What would happen if somebody did what they ask for on a page: in words, from the world as it is, and what
//! an answer to that binds to.

mod asked_for;

use std::sync::Arc;

use axum::http::StatusCode;

use super::super::{problem::Problem, releases};
use crate::{
    decide::{
        command::{Command, Promote},
        event::Scope,
        phase,
        waiting::{WaitingOn, approvals_that_count, binding, covers, waiting_on},
        world::{Phase, Release, World},
    },
    ids::{ReleaseId, RingName},
    model::{ring::Ring, time::Now},
    show::{
        dashboard::{
            confirm::{Bound, Choice, Question},
            deed::Deed,
        },
        view::{self, DebtView},
        words,
    },
};

/// Rings and effects that are named one by one; more are counted.
pub(super) const NAMED: usize = 12;

/// What there is to say before something is done.
pub(super) struct Look<'a> {
    pub(super) world: &'a World,
    pub(super) now: Now,
}

impl Look<'_> {
    /// What is asked before the deed is done, and what the answer is bound to.
    ///
    /// # Errors
    /// There is nothing to do it to.
    pub(super) fn question(&self, deed: Deed, key: &str) -> Result<Question, Problem> {
        let mut question = Question {
            deed: deed.clone(),
            will: Vec::new(),
            in_flight: Vec::new(),
            bound: Bound::default(),
            choices: Vec::new(),
            wrong: Vec::new(),
            beside: Vec::new(),
            changed: Vec::new(),
            key: key.to_owned(),
        };
        match &deed {
            Deed::Pause(scope) => self.pause(scope, &mut question),
            Deed::Freeze(scope) => {
                self.freeze(scope, &mut question);
                question.choices.push(Choice::Until);
            }
            Deed::Resume(scope) => self.resume(scope, &mut question),
            Deed::Lift(id) => {
                let freeze = self.world.shared.freezes.get(id);
                let freeze = freeze.ok_or_else(|| {
                    Problem::unknown("unknown-freeze", format!("there is no freeze {id} any more"))
                })?;
                let covered = words::covered(&freeze.scope);
                let held = self.covered(&freeze.scope);
                question.will = vec![
                    format!("The freeze of {covered} ends, and what it held goes on at once."),
                    on_rings(&held, "is covered by it", "are covered by it"),
                ];
                question.bound.0 = vec![
                    ("frozen".into(), covered),
                    ("by".into(), freeze.said.by.name.to_string()),
                    ("since".into(), freeze.said.at.wall.to_string()),
                ];
            }
            Deed::Create(plan) => self.create(plan, &mut question)?,
            Deed::AskWaiver(plan, rule, policy) => {
                self.ask_waiver(plan, (rule, policy.as_ref()), &mut question)?;
            }
            Deed::Approve(id, ring) | Deed::Reject(id, ring) => {
                self.agree(&deed, id, ring, &mut question)?;
            }
            Deed::Advance(id, ring) => {
                let (release, _) = self.on(id, ring)?;
                let mut at = Vec::new();
                for waiting in waiting_on(self.world, release, ring, self.now) {
                    if let WaitingOn::Promotion(cluster, pause) = waiting {
                        at.push(format!("{id} goes on in {cluster}, from {}.", pause.at));
                    }
                }
                question.will = match at.is_empty() {
                    true => vec![format!(
                        "{id} takes {ring} as soon as nothing else holds it; an older release in motion \
                         there is superseded."
                    )],
                    false => at,
                };
                question.bound = self.courses(release, std::slice::from_ref(ring));
            }
            Deed::Retry(id, ring) => self.retry(id, ring.as_ref(), &mut question)?,
            Deed::Rollback(id, ring) => self.rollback(id, ring.as_ref(), &mut question)?,
            Deed::Abort(id) => self.abort(id, &mut question)?,
            Deed::WriteOff(id, ring) => self.write_off(id, ring, &mut question)?,
            Deed::ApproveWaiver(plan, id) | Deed::RevokeWaiver(plan, id) => {
                let run = self.world.plans.get(plan).and_then(|state| state.waivers.get(id));
                let run = run.ok_or_else(|| {
                    Problem::unknown("unknown-waiver", format!("plan {plan} has no waiver {id}"))
                })?;
                let covers = words::waived(plan, &run.waiver);
                let until = words::utc(run.waiver.until, self.now);
                question.will = if let Deed::RevokeWaiver(..) = deed {
                    vec![format!(
                        "Rule {} binds {covers} again at once; what it holds stands still.",
                        run.waiver.rule
                    )]
                } else {
                    vec![
                        format!("You agree that rule {} does not bind {covers} until {until}.", run.waiver.rule),
                        "It is in force when two have agreed, neither of whom asked for it or made the \
                         release."
                            .into(),
                    ]
                };
                question.bound.0 = vec![
                    ("rule".into(), run.waiver.rule.clone()),
                    ("for".into(), covers),
                    ("until".into(), until),
                    ("asked for by".into(), run.said.by.name.to_string()),
                    ("content of the rule".into(), run.waiver.content.to_string()),
                ];
            }
        }
        question.will.retain(|line| !line.is_empty());
        Ok(question)
    }

    fn release(&self, id: &ReleaseId) -> Result<&Release, Problem> {
        self.world.release(id).map(Arc::as_ref).ok_or_else(|| releases::unknown_release(id))
    }

    fn on(&self, id: &ReleaseId, ring: &RingName) -> Result<(&Release, &Ring), Problem> {
        let release = self.release(id)?;
        let declared = release.plan.ring(ring).filter(|_| release.ring(ring).is_some());
        let declared = declared.ok_or_else(|| releases::unknown_ring(id, ring))?;
        Ok((release, declared))
    }

    /// The rings that a scope covers, of releases that are not over.
    fn covered(&self, scope: &Scope) -> Vec<String> {
        let none = Default::default();
        let states = self.world.plans.values();
        let open = states.flat_map(|state| state.in_order()).filter(|r| !phase::is_settled(r));
        let rings =
            open.flat_map(|release| release.plan.rings.iter().map(move |ring| (release, ring)));
        let covered = rings.filter(|(release, ring)| {
            let run = release.ring(&ring.name);
            let open = run.is_some_and(|run| {
                matches!(run.phase, Phase::Waiting | Phase::Deploying | Phase::Soaking)
            });
            open && covers(&self.world.shared.blocs, scope, &none, release, ring)
        });
        covered
            .map(|(release, ring)| {
                let phase = phase::of_ring(self.world, release, &ring.name, self.now);
                format!("{} on {} ({phase})", release.id, ring.name)
            })
            .collect()
    }

    /// Deploys of the scope that are on their way: a stop does not reach them.
    fn flying(&self, scope: &Scope) -> Vec<String> {
        let none = Default::default();
        let out = self.world.plans.values().flat_map(|state| {
            state.in_flight.values().filter_map(|command| match command.as_ref() {
                Command::Deploy(write) | Command::Promote(Promote { write, .. }) => {
                    let release = state.releases.get(&write.release.version)?;
                    let ring = release.plan.ring(&write.ring)?;
                    covers(&self.world.shared.blocs, scope, &none, release, ring)
                        .then(|| write.key.to_string())
                }
                Command::Restore(_) | Command::Measure(_) => None,
            })
        });
        out.take(NAMED).collect()
    }

    fn pause(&self, scope: &Scope, question: &mut Question) {
        let covered = words::covered(scope);
        question.will = vec![
            format!("Nothing new is deployed for {covered} until somebody resumes it."),
            "Soak stands still: paused time does not count, and what is credited stays.".into(),
            "Gates are measured on, and a breach still takes a ring back.".into(),
            on_rings(&self.covered(scope), "is held by it", "are held by it"),
        ];
        question.in_flight = self.flying(scope);
    }

    fn freeze(&self, scope: &Scope, question: &mut Question) {
        let covered = words::covered(scope);
        question.will = vec![
            format!(
                "The line stops for {covered}: no ring starts, until the time is over or somebody lifts it."
            ),
            "Rings that go back go on going back.".into(),
            on_rings(&self.covered(scope), "is covered by it", "are covered by it"),
        ];
        question.in_flight = self.flying(scope);
    }

    fn resume(&self, scope: &Scope, question: &mut Question) {
        let covered = words::covered(scope);
        question.will = vec![
            format!(
                "What the pause of {covered} held goes on at once; soak goes on from where it stood."
            ),
            "Other pauses, freezes and holds stay.".into(),
            on_rings(&self.covered(scope), "is covered by it", "are covered by it"),
        ];
        question.bound.0 = match self.world.shared.pauses.get(scope) {
            None => vec![("pause".into(), "there is none".into())],
            Some(pause) => vec![
                ("paused".into(), covered),
                ("by".into(), pause.said.by.name.to_string()),
                ("since".into(), pause.said.at.wall.to_string()),
            ],
        };
    }

    fn agree(
        &self,
        deed: &Deed,
        id: &ReleaseId,
        ring: &RingName,
        question: &mut Question,
    ) -> Result<(), Problem> {
        let (release, declared) = self.on(id, ring)?;
        let Some((run, needed)) = release.ring(ring).zip(declared.policy.approvals.as_ref()) else {
            let detail = format!("ring {ring} needs no approval");
            return Err(Problem::new(StatusCode::CONFLICT, "nothing-to-do", detail));
        };
        let bound = binding(release, declared, run);
        let given = approvals_that_count(release, declared, run, needed, self.now);
        if matches!(deed, Deed::Reject(..)) {
            question.will = vec![format!(
                "{id} does not start on {ring}: the ring fails there, and needs a new attempt (`ringward \
                 retry {id} --ring {ring}`)."
            )];
        } else {
            let enough = given.len() + 1 >= needed.count as usize;
            let others = waiting_on(self.world, release, ring, self.now);
            let others: Vec<String> = others
                .iter()
                .filter(|w| !matches!(w, WaitingOn::Approval { .. }))
                .map(|w| words::of(w, self.world, release, ring, self.now).message)
                .collect();
            let then = match (enough, others.as_slice()) {
                (false, _) => format!(
                    "It is approval {} of {}: more are needed.",
                    given.len() + 1,
                    needed.count
                ),
                (true, []) => format!(
                    "It is the last that is needed, and nothing else holds it: {ring} starts at once."
                ),
                (true, others) => format!(
                    "It is the last that is needed; {ring} starts once this is over too: {}.",
                    others.join("; ")
                ),
            };
            let expires = needed.expires.map(|span| {
                format!("It is good for {span}, for one attempt, and is void if anything that it is bound to changes.")
            });
            question.will = vec![
                format!("You agree that {id} enters {ring}."),
                then,
                expires.unwrap_or_else(|| {
                    "It is good for one attempt, and void if anything that it is bound to changes.".into()
                }),
            ];
        }
        let clusters: Vec<&str> = bound.clusters.iter().map(|c| c.as_str()).collect();
        question.bound.0 = vec![
            ("image".into(), bound.artifact.to_string()),
            ("policy".into(), bound.policy.to_string()),
            ("ring".into(), ring.to_string()),
            ("clusters".into(), clusters.join(", ")),
            ("attempt".into(), bound.attempt.to_string()),
        ];
        Ok(())
    }

    fn retry(
        &self,
        id: &ReleaseId,
        ring: Option<&RingName>,
        question: &mut Question,
    ) -> Result<(), Problem> {
        let release = self.release(id)?;
        let over = |phase: Phase| matches!(phase, Phase::Failed | Phase::RolledBack);
        let rings = rings_in(release, ring, over);
        question.will = vec![
            match rings.as_slice() {
                [] => "No ring of it has failed or was rolled back: there is nothing to try again."
                    .into(),
                rings => format!(
                    "A new attempt on {}: it starts once nothing holds it, and soaks from zero.",
                    joined(rings)
                ),
            },
            "Approvals of the attempt before do not count.".into(),
        ];
        question.bound = self.courses(release, &rings);
        Ok(())
    }

    fn write_off(
        &self,
        id: &ReleaseId,
        ring: &RingName,
        question: &mut Question,
    ) -> Result<(), Problem> {
        self.on(id, ring)?;
        let mut debts = view::debts(self.world, |plan| *plan == id.plan);
        debts.retain(|debt| debt.release == *id && debt.ring == *ring);
        if debts.is_empty() {
            let detail = format!("{id} owes nothing on {ring} any more");
            return Err(Problem::new(StatusCode::CONFLICT, "nothing-to-do", detail));
        }
        question.will =
            debts.iter().map(|debt| format!("Not made up for: {}.", debt.message)).collect();
        question.will.push(format!(
            "You answer for it, by name and in your words, for good: nothing is measured any more to make up for \
             it on {ring}."
        ));
        let bound = |debt: DebtView| (debt.kind.name().to_owned(), debt.of);
        question.bound.0 = debts.into_iter().map(bound).collect();
        Ok(())
    }

    fn rollback(
        &self,
        id: &ReleaseId,
        ring: Option<&RingName>,
        question: &mut Question,
    ) -> Result<(), Problem> {
        let release = self.release(id)?;
        let has = |phase: Phase| {
            matches!(phase, Phase::Deploying | Phase::Soaking | Phase::Passed | Phase::Failed)
        };
        let failed = rings_in(release, ring, |phase| phase == Phase::Failed);
        let all = rings_in(release, ring, has);
        let rings = if ring.is_none() && !failed.is_empty() { &failed } else { &all };
        question.will = vec![match rings.as_slice() {
            [] => "It is out on no such ring: there is nothing to take back.".into(),
            rings => format!("{} goes back on {}.", id, joined(rings)),
        }];
        question.will.extend(self.ways_back(release, rings));
        question.will.push(
            "It never comes again there by itself: somebody has to retry it by name. What goes back at an \
             operator's word waits for no limit."
                .into(),
        );
        if release.irreversible {
            question
                .will
                .push(format!("{id} is irreversible: it is your word alone that takes it back."));
        }
        if ring.is_some() {
            question.choices.push(Choice::One {
                name: "scope",
                label: "What goes back with it",
                of: owned(&[
                    ("", "This ring alone"),
                    ("descendants", "The rings that come after it too"),
                    ("jurisdiction", "The rings that share a jurisdiction with it too"),
                    ("exposed", "Every ring that has it"),
                ]),
            });
        }
        question.bound = self.courses(release, &all);
        Ok(())
    }

    /// Where each cluster of the rings goes back to.
    fn ways_back(&self, release: &Release, rings: &[RingName]) -> Vec<String> {
        let state = self.world.plans.get(&release.id.plan);
        let declared = rings.iter().filter_map(|name| release.plan.ring(name));
        let clusters = declared.flat_map(|ring| &ring.clusters).take(NAMED);
        clusters
            .map(|cluster| {
                let target = state.and_then(|state| state.targets.get(&cluster.name));
                match target.and_then(|target| target.back_from(&release.artifact)) {
                    Some(good) => {
                        let version = good.version.as_ref().map_or_else(
                            || good.artifact.to_string(),
                            |version| version.to_string(),
                        );
                        format!("{} goes back to {version}, its last known good.", cluster.name)
                    }
                    None => format!("{} has no known good: it cannot be taken back, and will be named as stuck.", cluster.name),
                }
            })
            .collect()
    }

    fn abort(&self, id: &ReleaseId, question: &mut Question) -> Result<(), Problem> {
        let release = self.release(id)?;
        let rings = |phases: fn(Phase) -> bool| rings_in(release, None, phases);
        let moving = rings(|phase| matches!(phase, Phase::Deploying | Phase::Soaking));
        let passed = rings(|phase| phase == Phase::Passed);
        let waiting = rings(|phase| phase == Phase::Waiting);
        question.will = vec![
            format!("{id} ends everywhere, for good: it never goes forward again, on any ring."),
            match moving.as_slice() {
                [] => "No ring is in motion with it.".into(),
                rings => format!(
                    "In motion: {}. What is in motion goes back to each cluster's last known good, unless \
                     you say below that it stays.",
                    joined(rings)
                ),
            },
            match passed.as_slice() {
                [] => String::new(),
                rings => format!(
                    "Passed: {}. Those keep it; roll them back if they should not.",
                    joined(rings)
                ),
            },
            match waiting.as_slice() {
                [] => String::new(),
                rings => format!("Not started: {}. Those never start.", joined(rings)),
            },
        ];
        question.choices.push(Choice::Box {
            name: "hold",
            label: "Leave rings in motion as they are, instead of taking them back",
        });
        let every: Vec<RingName> = release.plan.graph.order().to_vec();
        question.bound = self.courses(release, &every);
        question.in_flight = self.flying(&Scope::Release(id.clone()));
        Ok(())
    }

    /// How far a release is on rings, as far as it makes a difference to what would be done.
    fn courses(&self, release: &Release, rings: &[RingName]) -> Bound {
        let course = |ring: &RingName| {
            let run = release.ring(ring)?;
            let course = match run.phase {
                Phase::Waiting => "not started",
                Phase::Deploying | Phase::Soaking => "in motion",
                Phase::Passed => "passed",
                Phase::Failed => "failed",
                Phase::RollingBack => "going back",
                Phase::RolledBack => "gone back",
                Phase::Aborted => "aborted",
                Phase::Superseded => "superseded",
            };
            Some((ring.to_string(), format!("{course}, attempt {}", run.attempt)))
        };
        Bound(rings.iter().filter_map(course).collect())
    }
}

fn owned(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter().map(|(value, word)| ((*value).to_owned(), (*word).to_owned())).collect()
}

fn rings_in(
    release: &Release,
    ring: Option<&RingName>,
    phases: impl Fn(Phase) -> bool,
) -> Vec<RingName> {
    let all = release.plan.graph.order().iter();
    let named = all.filter(|name| ring.is_none_or(|ring| ring == *name));
    named.filter(|name| release.ring(name).is_some_and(|run| phases(run.phase))).cloned().collect()
}

fn joined(rings: &[RingName]) -> String {
    rings.iter().map(|ring| ring.as_str()).collect::<Vec<_>>().join(", ")
}

/// `2 rings are held by it: a, b`.
fn on_rings(rings: &[String], one: &str, many: &str) -> String {
    let named = rings.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    match rings.len() {
        0 => "No release is on its way there now.".into(),
        1 => format!("1 ring {one}: {named}."),
        n if n > NAMED => format!("{n} rings {many}: {named} and {} more.", n - NAMED),
        n => format!("{n} rings {many}: {named}."),
    }
}
