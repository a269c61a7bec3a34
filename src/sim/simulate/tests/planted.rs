//! The faults that are planted, one at a time.

use std::sync::Arc;

use super::fault::{Fault, Flag, Planted};
use crate::{
    decide::{
        Decision,
        command::{Command, Write},
        event::{Action, Actor, Declared, Event, Scope},
        fact::{Fact, Refusal, Reply, Verdict},
        world::{KnownGood, Phase, Release, RingRun, Step, World},
    },
    ids::{PlanName, ReleaseId},
    model::{
        plan::{OnPolicyChange, Plan},
        residency::{Known, breaches},
        ring::Ring,
        time::Span,
    },
};

/// Each plants one mistake; what it breaks is found by the invariants of those numbers.
pub(super) const FAULTS: &[Fault] = &[
    Fault {
        what: "a ring starts before the one before it has passed",
        breaks: &[1],
        planted: Planted::Decided(|world, event, decision| {
            let Some((release, plan)) = submitted(world, event, decision) else { return };
            let next = plan.rings.iter().find(|r| !plan.graph.after(&r.name).rings.is_empty());
            decision.facts.extend(next.map(|ring| started(&release, ring)));
        }),
    },
    Fault {
        what: "a breach leaves the soak as it is",
        breaks: &[2],
        planted: Planted::Decided(|_, event, decision| {
            if let Event::Measured { .. } = event {
                decision.facts.retain(|fact| !matches!(fact, Fact::SoakReset { .. }));
            }
        }),
    },
    Fault {
        what: "time is credited that was not observed",
        breaks: &[3],
        planted: Planted::Decided(|_, _, decision| {
            for fact in &mut decision.facts {
                if let Fact::SoakCredited { span, .. } = fact {
                    *span = *span + *span;
                }
            }
        }),
    },
    Fault {
        what: "time that nobody observed is credited without proof",
        breaks: &[3],
        planted: Planted::Decided(|_, _, decision| {
            for fact in &mut decision.facts {
                if let Fact::SoakBackfilled { span, .. } = fact {
                    *span = *span + Span::minutes(1);
                }
            }
        }),
    },
    Fault {
        what: "a deadline is measured by the wall clock",
        breaks: &[4],
        planted: Planted::WallClock,
    },
    Fault {
        what: "a measurement that is not there passes",
        breaks: &[5],
        planted: Planted::Decided(|_, _, decision| {
            for fact in &mut decision.facts {
                if let Fact::Measured { judged, .. } = fact
                    && judged.verdict == Verdict::Absent
                {
                    judged.verdict = Verdict::Pass;
                }
            }
        }),
    },
    Fault {
        what: "a release is admitted and deployed where a hard rule forbids it",
        breaks: &[6],
        planted: Planted::Decided(|world, event, decision| {
            let refused = decision.facts.iter().any(|fact| {
                matches!(fact, Fact::Refused { kind: Refusal::ResidencyViolation, .. })
            });
            let taken =
                |plan: &PlanName| world.shared.motion.keys().any(|(moving, _)| moving == plan);
            let Event::Operator(request) = event else { return };
            if refused
                && request.action.plan().is_some_and(|plan| !taken(plan))
                && let Some(admitted) = admitted(world, event)
            {
                *decision = admitted;
            }
        }),
    },
    Fault {
        what: "what contradicts a declaration is not heard of",
        breaks: &[6],
        planted: Planted::View(|world, _| {
            let mut world = world.clone();
            let facts = &mut Arc::make_mut(&mut world.shared).facts;
            let known = facts.clone();
            *facts = Arc::default();
            // What is declared, and what the settings say, is known still.
            Arc::make_mut(facts).declare(&known.clusters);
            Arc::make_mut(facts).home = known.home.clone();
            Some(world)
        }),
    },
    Fault {
        what: "an image is pulled from abroad",
        breaks: &[6],
        planted: Planted::Decided(|world, _, decision| {
            for command in &mut decision.commands {
                let Command::Deploy(write) = Arc::make_mut(command) else { continue };
                if let Some(release) = world.release(&write.release) {
                    write.artifact = release.artifact.clone();
                }
            }
        }),
    },
    Fault {
        what: "a rule over the server's state is not asked",
        breaks: &[6],
        planted: Planted::View(|world, _| {
            let mut world = world.clone();
            let home = &mut Arc::make_mut(&mut Arc::make_mut(&mut world.shared).facts).home;
            let inside = || Some("DE".into());
            (home.data, home.backups) = (inside(), inside());
            Some(world)
        }),
    },
    Fault {
        what: "one approval is enough for a waiver",
        breaks: &[6],
        planted: Planted::View(|world, _| {
            let mut world = world.clone();
            for plan in world.plans.values_mut() {
                for waiver in Arc::make_mut(plan).waivers.values_mut() {
                    let Some((one, at)) = waiver.approvals.first().cloned() else { continue };
                    let other = Actor { name: "another".into(), ..one };
                    waiver.approvals.push((other, at));
                }
            }
            Some(world)
        }),
    },
    Fault {
        what: "a second release enters a ring in motion",
        breaks: &[7],
        planted: Planted::Decided(|world, event, decision| {
            let Some((release, plan)) = submitted(world, event, decision) else { return };
            let state = &world.plans[&release.plan];
            let mut first =
                plan.rings.iter().filter(|r| plan.graph.after(&r.name).rings.is_empty());
            let taken = first.find(|ring| state.in_motion(&ring.name).is_some());
            decision.facts.extend(taken.map(|ring| started(&release, ring)));
        }),
    },
    Fault {
        what: "a status under another intent is taken for ours",
        breaks: &[8],
        planted: Planted::Decided(|world, event, decision| {
            let Event::Observed { plan, cluster, state } = event else { return };
            let stale = each_run(world, plan).find_map(|(release, ring, run)| {
                let here = run.clusters.get(cluster)?;
                let stale = here.step == Step::Deploying && here.intent != state.intent;
                stale.then(|| Fact::ClusterReady {
                    release: release.id.clone(),
                    ring: ring.name.clone(),
                    cluster: cluster.clone(),
                })
            });
            decision.facts.extend(stale);
        }),
    },
    Fault {
        what: "a repeated effect rolls out again",
        breaks: &[9],
        planted: Planted::Flag(Flag::Doubles),
    },
    Fault {
        what: "a target takes the write of an older writer",
        breaks: &[10],
        planted: Planted::Flag(Flag::Epochs),
    },
    Fault {
        what: "an older writer still records",
        breaks: &[11],
        planted: Planted::Flag(Flag::OldWriters),
    },
    Fault {
        what: "a ring starts though it is paused",
        breaks: &[12],
        planted: Planted::Decided(|world, event, decision| {
            let Some((release, plan)) = submitted(world, event, decision) else { return };
            if world.shared.pauses.keys().any(|scope| covers_plan(scope, &release.plan)) {
                let free = plan.rings.iter().find(|ring| {
                    plan.graph.after(&ring.name).rings.is_empty()
                        && world.plans[&release.plan].in_motion(&ring.name).is_none()
                });
                decision.facts.extend(free.map(|ring| started(&release, ring)));
            }
        }),
    },
    Fault {
        what: "an aborted release is tried again",
        breaks: &[13],
        planted: Planted::Decided(|world, event, decision| {
            let Event::Wake { plan } = event else { return };
            let failed = each_run(world, plan)
                .find(|(release, _, run)| release.aborted.is_some() && run.phase == Phase::Failed);
            decision.facts.extend(failed.map(|(release, ring, _)| retried(release, ring)));
        }),
    },
    Fault {
        what: "a request is answered before it is durable",
        breaks: &[14],
        planted: Planted::Flag(Flag::Early),
    },
    Fault {
        what: "keys are forgotten",
        breaks: &[15],
        planted: Planted::View(|world, _| {
            let mut world = world.clone();
            world.answers = Default::default();
            Some(world)
        }),
    },
    Fault {
        what: "the author's own approval counts",
        breaks: &[16],
        planted: Planted::View(|world, _| {
            let mut world = world.clone();
            for plan in world.plans.values_mut() {
                for release in Arc::make_mut(plan).releases.values_mut() {
                    let release = Arc::make_mut(release);
                    release.author = "nobody".into();
                    release.by.name = "nobody".into();
                }
            }
            Some(world)
        }),
    },
    Fault {
        what: "what was rolled back comes back by itself",
        breaks: &[17],
        planted: Planted::Decided(|world, _, decision| {
            let back = decision.facts.iter().find_map(|fact| {
                let Fact::RingRolledBack { release, ring } = fact else { return None };
                let release = world.release(release)?;
                Some(retried(release, release.plan.ring(ring)?))
            });
            decision.facts.extend(back);
        }),
    },
    Fault {
        what: "a rollback goes to the release itself",
        breaks: &[18],
        planted: Planted::Decided(|world, _, decision| {
            for command in &mut decision.commands {
                if let Command::Restore(write) = Arc::make_mut(command)
                    && let Some(release) = world.release(&write.release)
                {
                    write.artifact = release.artifact.clone();
                }
            }
        }),
    },
    Fault {
        what: "a ring is taken back twice",
        breaks: &[19],
        planted: Planted::Decided(|_, _, decision| {
            let back = decision.facts.iter().find_map(|fact| {
                let Fact::RollbackStarted { release, ring, .. } = fact else { return None };
                let (release, ring) = (release.clone(), ring.clone());
                Some([Fact::RingFailed { release, ring, cause: "again".into() }, fact.clone()])
            });
            // What the core concluded after the first is left out.
            if let Some(twice) = back {
                let at = decision.facts.iter().position(|fact| *fact == twice[1]).unwrap_or(0);
                decision.facts.truncate(at + 1);
                decision.commands.clear();
                decision.facts.extend(twice);
            }
        }),
    },
    Fault {
        what: "a pass that was revoked is known good still",
        breaks: &[18],
        planted: Planted::View(|world, _| {
            let mut world = world.clone();
            for plan in world.plans.values_mut() {
                let state = Arc::make_mut(plan);
                for release in state.releases.values() {
                    let failed = release.rings.values().filter(|run| run.phase == Phase::Failed);
                    for (cluster, here) in failed.flat_map(|run| &run.clusters) {
                        let good = KnownGood {
                            version: Some(release.id.version.clone()),
                            artifact: release.artifact.clone(),
                        };
                        let target =
                            Arc::make_mut(&mut state.targets).entry(cluster.clone()).or_default();
                        let known = target.known_good.contains(&good);
                        if here.step == Step::Ready && !known {
                            target.known_good.push(good);
                        }
                    }
                }
            }
            Some(world)
        }),
    },
    Fault {
        what: "the limits on rollbacks are forgotten",
        breaks: &[19],
        planted: Planted::View(|world, _| {
            let mut world = world.clone();
            Arc::make_mut(&mut world.shared).rollbacks.limits = Default::default();
            Some(world)
        }),
    },
    Fault {
        what: "the limits on what is in motion are forgotten",
        breaks: &[23],
        planted: Planted::View(|world, _| {
            let mut world = world.clone();
            Arc::make_mut(&mut world.shared).limits = Default::default();
            Some(world)
        }),
    },
    Fault {
        what: "who came last goes first",
        breaks: &[23],
        planted: Planted::View(|world, _| {
            let mut world = world.clone();
            Arc::make_mut(&mut world.shared).line = Default::default();
            Some(world)
        }),
    },
    Fault {
        what: "an irreversible release goes back by itself",
        breaks: &[33],
        planted: Planted::View(|world, event| {
            let (Event::Observed { plan, .. } | Event::Measured { plan, .. }) = event else {
                return None;
            };
            let mut world = world.clone();
            let state = Arc::make_mut(world.plans.get_mut(plan)?);
            for release in state.releases.values_mut() {
                Arc::make_mut(release).irreversible = false;
            }
            Some(world)
        }),
    },
    Fault {
        what: "a release is judged by a later policy",
        breaks: &[20],
        planted: Planted::Folded(|world| {
            for plan in world.plans.values_mut() {
                // A plan that takes what is tighter may come to the later policy on the record.
                let declared = plan.declared.as_ref();
                let declared = declared.filter(|p| p.on_policy_change == OnPolicyChange::Keep);
                let Some(hash) = declared.map(|plan| plan.hash.clone()) else { continue };
                if plan.releases.values().all(|release| release.plan.hash == hash) {
                    continue;
                }
                for release in Arc::make_mut(plan).releases.values_mut() {
                    let snapshot = Plan { hash: hash.clone(), ..(*release.plan).clone() };
                    Arc::make_mut(release).plan = Arc::new(snapshot);
                }
            }
        }),
    },
    Fault {
        what: "a looser policy reaches a release in motion",
        breaks: &[20],
        planted: Planted::Decided(|_, event, decision| {
            let Event::Declared { declared: Declared::Valid(plan), .. } = event else { return };
            for fact in &mut decision.facts {
                let Fact::SnapshotTightened { snapshot, .. } = fact else { continue };
                let mut loosened = (**snapshot).clone();
                // What the core takes ring by ring is taken as it is declared, tighter or not.
                for ring in &mut loosened.rings {
                    if let Some(now) = plan.ring(&ring.name) {
                        ring.policy = now.policy.clone();
                    }
                }
                *snapshot = Arc::new(loosened);
            }
        }),
    },
    Fault {
        what: "a ring in motion takes another policy",
        breaks: &[20],
        planted: Planted::Decided(|world, event, decision| {
            let Event::Declared { plan, .. } = event else { return };
            for fact in &mut decision.facts {
                let Fact::SnapshotTightened { release, snapshot, .. } = fact else { continue };
                let moving = each_run(world, plan)
                    .find(|(r, _, run)| r.id == *release && run.phase.in_motion());
                let Some((_, moving, _)) = moving else { continue };
                let mut edited = (**snapshot).clone();
                for ring in edited.rings.iter_mut().filter(|ring| ring.name == moving.name) {
                    ring.policy.soak.duration = ring.policy.soak.duration + Span::minutes(1);
                }
                *snapshot = Arc::new(edited);
            }
        }),
    },
    Fault {
        what: "a ring starts without one of its clusters",
        breaks: &[21],
        planted: Planted::Decided(|world, _, decision| {
            let Decision { facts, commands, .. } = decision;
            for fact in facts {
                let Fact::RingStarted { release, ring, clusters, .. } = fact else { continue };
                let plan = world.release(release).map(|release| &release.plan);
                let ring_of = plan.and_then(|plan| plan.ring(ring));
                if clusters.len() > 1 && ring_of.is_some_and(|r| r.policy.approvals.is_none()) {
                    let lost = clusters.pop();
                    commands.retain(|command| {
                        command.key().as_str().split('/').nth(1) != Some(ring.as_str())
                            || Some(command.cluster()) != lost.as_ref()
                    });
                }
            }
        }),
    },
    Fault {
        what: "a ring starts during a freeze",
        breaks: &[22],
        planted: Planted::View(|world, _| {
            let mut world = world.clone();
            Arc::make_mut(&mut world.shared).freezes.clear();
            Some(world)
        }),
    },
    Fault {
        what: "what moves elsewhere is not counted",
        breaks: &[23],
        planted: Planted::View(|world, _| {
            let mut world = world.clone();
            Arc::make_mut(&mut world.shared).motion.clear();
            Some(world)
        }),
    },
    Fault {
        what: "the journal loses an entry",
        breaks: &[24],
        planted: Planted::Flag(Flag::Loses),
    },
    Fault {
        what: "a refusal is not recorded",
        breaks: &[24],
        planted: Planted::Decided(|_, _, decision| {
            decision.facts.retain(|fact| !matches!(fact, Fact::Refused { .. }));
        }),
    },
    Fault {
        what: "a pause is lost by a restart",
        breaks: &[25],
        planted: Planted::Recovered(|world| {
            Arc::make_mut(&mut world.shared).pauses.clear();
        }),
    },
    Fault {
        what: "what could not be recorded is done",
        breaks: &[26],
        planted: Planted::Flag(Flag::Unrecorded),
    },
    Fault {
        what: "an error repeats what a metric source answered",
        breaks: &[27],
        planted: Planted::Flag(Flag::Bodies),
    },
    Fault {
        what: "a plan in error takes another with it",
        breaks: &[28],
        planted: Planted::Decided(|world, event, decision| {
            let Event::Declared { plan, declared: Declared::Invalid(problems) } = event else {
                return;
            };
            let other = world.plans.keys().find(|other| *other != plan);
            decision.facts.extend(other.map(|other| Fact::PlanInError {
                plan: other.clone(),
                commit: "1".into(),
                problems: problems.clone(),
            }));
        }),
    },
    Fault {
        what: "commands that found no room, or were out at a crash, are forgotten",
        breaks: &[29, 31],
        planted: Planted::Flag(Flag::Dangling),
    },
    Fault {
        what: "the way back of an aborted release has no deadline",
        breaks: &[30],
        planted: Planted::Decided(|world, _, decision| {
            let aborted = |id: &ReleaseId| world.release(id).is_some_and(|r| r.aborted.is_some());
            let late = decision.facts.iter().position(|fact| {
                let Fact::ClusterStuck { release, cause, .. } = fact else { return false };
                aborted(release) && cause.starts_with("not back within")
            });
            // Whatever was concluded from it is left out with it.
            if let Some(at) = late {
                decision.facts.truncate(at);
            }
        }),
    },
    Fault {
        what: "an aborted ring that is back stays on its way",
        breaks: &[30],
        planted: Planted::Decided(|world, _, decision| {
            // Where another release takes the ring at once, two would be on it: another fault.
            let taken = decision.facts.iter().filter_map(|fact| match fact {
                Fact::RingStarted { ring, .. } => Some(ring.clone()),
                _ => None,
            });
            let taken: Vec<_> = taken.collect();
            decision.facts.retain(|fact| match fact {
                Fact::RingAborted { release, ring } if !taken.contains(ring) => {
                    world.run(release, ring).is_none_or(|run| run.phase != Phase::RollingBack)
                }
                _ => true,
            });
        }),
    },
    Fault {
        what: "an aborted ring that cannot go back does not say where",
        breaks: &[30],
        planted: Planted::Decided(|_, _, decision| {
            for fact in &mut decision.facts {
                if let Fact::RingFailed { cause, .. } = fact
                    && cause.starts_with("could not go back")
                {
                    *cause = "could not go back".into();
                }
            }
        }),
    },
    Fault {
        what: "the end of an effect is not taken in",
        breaks: &[31],
        planted: Planted::Decided(|_, _, decision| {
            decision.facts.retain(|fact| !matches!(fact, Fact::EffectSettled { .. }));
        }),
    },
    Fault { what: "nobody wakes the core", breaks: &[32], planted: Planted::Flag(Flag::Wakes) },
];

/// A release that was just admitted, and its plan.
fn submitted(world: &World, event: &Event, decision: &Decision) -> Option<(ReleaseId, Arc<Plan>)> {
    let Event::Operator(_) = event else { return None };
    let release = decision.facts.iter().find_map(|fact| {
        let Fact::Submitted { release, .. } = fact else { return None };
        Some(release.clone())
    })?;
    if decision.facts.iter().any(|fact| matches!(fact, Fact::RingStarted { .. })) {
        return None;
    }
    let plan = world.plans.get(&release.plan)?.declared.clone()?;
    Some((release, plan))
}

fn started(release: &ReleaseId, ring: &Ring) -> Fact {
    Fact::RingStarted {
        release: release.clone(),
        ring: ring.name.clone(),
        attempt: 1,
        clusters: ring.clusters.iter().map(|cluster| cluster.name.clone()).collect(),
    }
}

fn retried(release: &Release, ring: &Ring) -> Fact {
    Fact::Retried {
        release: release.id.clone(),
        ring: ring.name.clone(),
        by: Actor { name: "ringward".into(), roles: Vec::new(), jurisdiction: None },
        reason: None,
    }
}

/// What is asked for, admitted and begun whatever any rule says.
fn admitted(world: &World, event: &Event) -> Option<Decision> {
    let Event::Operator(request) = event else { return None };
    let Action::Submit { release, artifact, lane, irreversible, .. } = &request.action else {
        return None;
    };
    let plan = world.plans.get(&release.plan)?.declared.clone()?;
    let ring = plan.rings.iter().find(|ring| {
        plan.graph.after(&ring.name).rings.is_empty()
            && !breaches(&plan, Some(&ring.name), &Known::DECLARED).is_empty()
    })?;
    let cluster = ring.clusters.first()?;
    let write = Write {
        key: format!("{release}/{}/{}/1/deploy", ring.name, cluster.name).into(),
        release: release.clone(),
        ring: ring.name.clone(),
        attempt: 1,
        cluster: cluster.name.clone(),
        connection: cluster.connection.clone(),
        target: plan.target.clone(),
        artifact: artifact.clone(),
    };
    let submitted = Fact::Submitted {
        release: release.clone(),
        artifact: artifact.clone(),
        author: request.by.name.clone(),
        by: request.by.clone(),
        lane: *lane,
        reason: None,
        irreversible: *irreversible,
        requires: None,
        policy: plan.hash.clone(),
    };
    Some(Decision {
        facts: vec![submitted, started(release, ring)],
        commands: vec![Arc::new(Command::Deploy(write))],
        reply: Some(Reply::Done { in_flight: Vec::new() }),
    })
}

fn covers_plan(scope: &Scope, plan: &PlanName) -> bool {
    match scope {
        Scope::Everything => true,
        Scope::Plan(paused) => paused == plan,
        Scope::Jurisdiction(_) | Scope::Ring(..) | Scope::Release(_) | Scope::ReleaseRing(..) => {
            false
        }
    }
}

pub(super) fn late(world: &World, plan: &PlanName) -> Option<Fact> {
    each_run(world, plan).find_map(|(release, ring, run)| {
        // One that soaks is looked at again by itself: nothing else is wrong about it.
        let mut clusters = run.clusters.iter().filter(|_| run.phase == Phase::Soaking);
        let (cluster, _) = clusters.find(|(_, c)| c.step == Step::Ready)?;
        Some(Fact::ClusterFailed {
            release: release.id.clone(),
            ring: ring.name.clone(),
            cluster: cluster.clone(),
            cause: "it is late".into(),
        })
    })
}

fn each_run<'a>(
    world: &'a World,
    plan: &PlanName,
) -> impl Iterator<Item = (&'a Release, &'a Ring, &'a RingRun)> {
    let releases = world.plans.get(plan).into_iter().flat_map(|plan| plan.in_order());
    releases.flat_map(|release| {
        let runs = release.rings.iter();
        runs.filter_map(|(name, run)| {
            Some((release.as_ref(), release.plan.ring(name)?, run.as_ref()))
        })
    })
}
