//! Proof of the prover: faults are planted in the simulator, and each must be found by the invariant
//! that it breaks.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Written,
    chance::Chance,
    landscape::Landscape,
    meddle::{Honest, Meddle},
    run::{Broken, Run},
    trace::{Trace, file_of},
    written::identity,
};
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
        time::{Now, Span},
    },
    sim::scenario::{
        read::read,
        run::{Symptom, run_with},
        source::Source,
    },
};

#[test]
fn the_same_seed_is_the_same_run() {
    let run = || Run::new(7, &mut Honest).all(120);
    let (one, other) = (run(), run());
    assert_eq!((one.events, one.crashes, one.time), (other.events, other.crashes, other.time));
    assert!(one.failure.is_none());
}

#[test]
fn a_failure_says_what_shows_it_again() {
    let failure = first_failure(&FAULTS[0]).expect("it is found");
    let text = failure.to_string();
    let again = format!("ringward simulate --seed {} --seeds 1 --steps {STEPS}", failure.seed);
    assert!(text.contains(&again), "{text}");
    assert!(text.contains("invariant 1 is broken"), "{text}");
    assert!(failure.tale.last().is_some_and(|line| line.contains("ringStarted")), "{text}");
    let replayed = FAULTS[0].run(failure.seed).expect("it fails again");
    assert_eq!((replayed.step, replayed.tale), (failure.step, failure.tale));
}

/// How a world must look as declarations, but for what a name or a commit is.
fn plain(plan: &Plan) -> Plan {
    let mut plan = Plan { hash: "".into(), commit: "".into(), ..plan.clone() };
    for rule in &mut plan.residency {
        (rule.policy, rule.declared_at) = (None, String::new());
    }
    for ring in &mut plan.rings {
        ring.policy.name = "".into();
        ring.policy.calendars.iter_mut().for_each(|calendar| calendar.name = "".into());
    }
    plan
}

#[test]
fn a_world_is_declared_as_it_is() {
    let (mut found, mut wrong) = (0, BTreeSet::new());
    for seed in 1..=100 {
        let landscape = Landscape::new(&mut Chance::new(seed));
        let base = Trace::new(landscape.plans.iter().map(Arc::as_ref)).base;
        let files = base.iter().map(|document| {
            let text = serde_yaml::to_string(document).unwrap();
            (file_of(&identity(document)), text.into_bytes())
        });
        let source = Source::of(files.collect());
        for plan in &landscape.plans {
            // A plan that breaks a rule is refused as it is declared, and not when it is released.
            if !breaches(plan, None, &Known::DECLARED).is_empty() {
                continue;
            }
            match source.compiled.plans[&plan.name].as_ref() {
                Ok(declared) if plain(declared) == plain(plan) => found += 1,
                Ok(declared) => {
                    wrong.insert(format!(
                        "{:?}\nis declared as\n{:?}",
                        plain(plan),
                        plain(declared)
                    ));
                }
                Err(problems) => wrong.extend(problems.iter().map(ToString::to_string)),
            }
        }
    }
    let wrong: Vec<_> = wrong.into_iter().take(12).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(found > 100, "{found}");
}

/// Shrinks the first failures of a fault to scenarios, until one shows it; with what was tried.
fn shrunk(fault: &Fault) -> Result<Written, String> {
    let mut meddler = || -> Box<dyn Meddle> { Box::new(fault.meddler()) };
    let failing = (1..=SEEDS).filter(|seed| fault.run(*seed).is_some()).take(4);
    let mut tried = Vec::new();
    for seed in failing {
        tried.push(seed);
        let Some(shrunk) = super::shrink::shrink((seed, STEPS), &mut meddler) else { continue };
        let Symptom::Invariant(number, _) = shrunk.symptom() else { continue };
        if !fault.breaks.contains(number) {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let written = shrunk.write(folder.path()).unwrap();
        let bytes = std::fs::read(&written.file).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let scenario = match read(&written.file, &bytes).as_deref() {
            Ok([scenario]) => scenario.clone(),
            other => panic!("{}: {other:?}\n{text}", fault.what),
        };
        let source = Arc::new(Source::read(&scenario.source)?);
        let with = run_with(&scenario, &source, meddler().as_mut());
        let symptom = with.broken.map(|(symptom, _)| symptom);
        if symptom.as_ref() != Some(shrunk.symptom()) {
            return Err(format!("{}: the file shows {symptom:?}\n{text}", fault.what));
        }
        let outcomes = crate::sim::scenario::run(&written.file).unwrap();
        // What an adapter says wrongly is in what is heard: that fails whoever hears it.
        let heard = matches!(fault.planted, Planted::Flag(Flag::Bodies));
        if outcomes[0].passed == heard {
            let failure = &outcomes[0].failure;
            return Err(format!("{}: without the fault: `{failure}`\n{text}", fault.what));
        }
        if std::env::var_os("RINGWARD_SHOW").is_some() {
            println!("--- {}: {written}\n{text}", fault.what);
        }
        return Ok(written);
    }
    Err(format!("{}: no scenario shows it; failing seeds {tried:?}", fault.what))
}

fn shrink_all(faults: &[&Fault]) {
    let mut missed = Vec::new();
    for fault in faults {
        match shrunk(fault) {
            Ok(written) if written.bytes < 40_000 && written.steps < 100 => {}
            Ok(written) => missed.push(format!("{}: {written}", fault.what)),
            Err(missing) => missed.push(missing),
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn a_failure_shrinks_to_a_scenario_that_shows_it() {
    let expressible: Vec<_> = FAULTS.iter().filter(|fault| fault.untold().is_none()).collect();
    shrink_all(&expressible[..4]);
}

#[test]
#[ignore = "it takes minutes: cargo test --release --lib -- --ignored every_fault_shrinks"]
fn every_fault_shrinks_to_a_scenario_or_says_why_none_can_show_it() {
    let (told, untold): (Vec<&Fault>, Vec<&Fault>) =
        FAULTS.iter().partition(|fault| fault.untold().is_none());
    // Who says that there is none is held to it.
    for fault in untold {
        let mut meddler = || -> Box<dyn Meddle> { Box::new(fault.meddler()) };
        let seed = (1..=SEEDS).find(|seed| fault.run(*seed).is_some());
        let seed = seed.unwrap_or_else(|| panic!("{}: not found", fault.what));
        let shrunk = super::shrink::shrink((seed, STEPS), &mut meddler);
        let breaks = shrunk.as_ref().map(|shrunk| shrunk.symptom());
        let shown = matches!(breaks, Some(Symptom::Invariant(n, _)) if fault.breaks.contains(n));
        assert!(!shown, "{} can be told: {breaks:?}", fault.what);
    }
    shrink_all(&told);
}

/// Counts what the core is asked and what it answers.
#[derive(Debug, Default)]
struct Counter(BTreeSet<&'static str>);

impl Meddle for Counter {
    fn decided(&mut self, _: &World, event: &Event, _: Now, decision: &mut Decision) {
        self.0.insert(event_name(event));
        if let Event::Operator(request) = event {
            self.0.insert(action_name(&request.action));
        }
        self.0.extend(decision.facts.iter().map(fact_name));
        self.0.extend(decision.commands.iter().map(command_name));
    }
}

macro_rules! names {
    ($function:ident $all:ident $type:ident: $($variant:ident)*) => {
        const $all: &[&str] = &[$(concat!(stringify!($type), "::", stringify!($variant))),*];

        /// A variant that is missing here breaks the build.
        fn $function(of: &$type) -> &'static str {
            match of { $($type::$variant { .. } => concat!(stringify!($type), "::", stringify!($variant)),)* }
        }
    };
}

names! {
    event_name EVENTS Event:
    TookOver Limits Source Learned Declared Observed Found Outcome Measured Operator Wake
}
names! { command_name COMMANDS Command: Deploy Restore Measure }
names! {
    action_name ACTIONS Action:
    Submit Pause Resume Approve Reject Abort Retry Rollback Advance Freeze Lift WriteOff
    Waive ApproveWaiver RevokeWaiver
}
names! {
    fact_name FACTS Fact:
    TookOver SourceAccepted SourceRefused PlanDeclared PlanInError PlanWithdrawn Submitted SnapshotTightened Refused
    Answered Paused Resumed Frozen Lifted Approved Rejected Advanced Adopted TargetSeen EffectSettled
    EffectSuperseded RingStarted ClusterReady ClusterFailed SoakStarted SoakRunning SoakCredited HistoryMeasured SoakBackfilled
    SoakReset Measured MeasureDropped BaselineTaken HistoryTaken RingPassed RingFailed RollbackStarted
    ClusterRestored ClusterStuck RingRolledBack RingSuperseded Aborted RingAborted Retried
    LaneTaken LaneLapsed DebtRecorded DebtPaid DebtDropped DebtWrittenOff
    RollbackQueued RollbackHastened LimitsSet StartQueued WatchEnded
    PlacesDeclared BlocsDeclared ClusterWitnessed HomeStated DeployRecalled
    WaiverAsked WaiverApproved WaiverRevoked WaiverVoided
}

#[test]
fn everything_that_can_happen_happens() {
    let mut seen = Counter::default();
    let mut troubles = super::Troubles::new();
    for seed in 1..=100 {
        let outcome = Run::new(seed, &mut seen).all(STEPS);
        for (trouble, count) in outcome.troubles {
            *troubles.entry(trouble).or_default() += count;
        }
    }
    let never = super::Trouble::ALL.iter().filter(|trouble| !troubles.contains_key(trouble));
    let never: Vec<_> = never.map(|trouble| trouble.says()).collect();
    assert!(never.is_empty(), "never: {never:?} of {troubles:?}");
    let all = [EVENTS, COMMANDS, ACTIONS, FACTS].concat();
    let missing: Vec<_> = all.into_iter().filter(|name| !seen.0.contains(name)).collect();
    assert_eq!(missing, NEVER);
}

/// What no simulated world brings about: the source is a follower's, and the simulator has none; and nobody
/// declares a bloc of his own there.
const NEVER: &[&str] =
    &["Event::Source", "Fact::SourceAccepted", "Fact::SourceRefused", "Fact::BlocsDeclared"];

#[test]
fn every_invariant_has_a_fault_that_breaks_it() {
    let broken: BTreeSet<u8> = FAULTS.iter().flat_map(|fault| fault.breaks).copied().collect();
    assert_eq!(broken, (1..=33).collect());
    let names: BTreeSet<&str> = FAULTS.iter().map(|fault| fault.what).collect();
    assert_eq!(names.len(), FAULTS.len());
}

#[test]
#[ignore = "it takes minutes: cargo test --release --lib -- --ignored every_planted_fault"]
fn every_planted_fault_is_found_by_its_invariant() {
    let mut missed = Vec::new();
    for fault in FAULTS {
        match first_failure(fault).map(|failure| failure.broken) {
            Some(Broken::Invariant(found)) if fault.breaks.contains(&found.number) => {}
            Some(other) => missed.push(format!("{}: {other}", fault.what)),
            None => missed.push(format!("{}: not found", fault.what)),
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

const STEPS: u64 = 250;

/// Worlds in which a fault may find its occasion.
const SEEDS: u64 = 600;

/// What is changed behind the journal's back is not in it either, and may be another plan's than the
/// event's: where that is seen first, another world is tried.
fn first_failure(fault: &Fault) -> Option<super::Failure> {
    let unrecorded = matches!(fault.planted, Planted::Folded(_));
    let by_the_way = |broken: &Broken| {
        let Broken::Invariant(found) = broken else { return false };
        unrecorded && [25, 28].contains(&found.number) && !fault.breaks.contains(&found.number)
    };
    let mut failures = (1..=SEEDS).filter_map(|seed| fault.run(seed));
    failures.find(|failure| !by_the_way(&failure.broken))
}

type View = fn(&World, &Event) -> Option<World>;
type Decided = fn(&World, &Event, &mut Decision);

/// A fault: what it does wrong, and what that breaks.
#[derive(Clone, Copy)]
struct Fault {
    what: &'static str,
    breaks: &'static [u8],
    planted: Planted,
}

#[derive(Clone, Copy)]
enum Planted {
    View(View),
    Decided(Decided),
    Folded(fn(&mut World)),
    Recovered(fn(&mut World)),
    /// A deadline that is measured by the wall clock.
    WallClock,
    Flag(Flag),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flag {
    Epochs,
    Doubles,
    Unrecorded,
    Early,
    Loses,
    Wakes,
    Dangling,
    OldWriters,
    Bodies,
}

impl Fault {
    fn run(&self, seed: u64) -> Option<super::Failure> {
        Run::new(seed, &mut self.meddler()).all(STEPS).failure
    }

    fn meddler(&self) -> Meddler {
        Meddler { planted: self.planted, looked: BTreeMap::new() }
    }

    /// Why no scenario can show it, where none can: what reaches ringward is all that a scenario says.
    fn untold(&self) -> Option<&'static str> {
        match self.planted {
            Planted::Flag(flag) => match flag {
                Flag::Epochs | Flag::Doubles => Some("a target breaks its own promise"),
                Flag::Unrecorded | Flag::Early | Flag::Loses | Flag::OldWriters => {
                    Some("the journal, or who waits for it, breaks its own promise")
                }
                Flag::Dangling => Some("nothing is heard of it, and it comes to no end"),
                Flag::Bodies | Flag::Wakes => None,
            },
            Planted::Decided(_) if self.breaks == [31] => Some("it comes to no end"),
            Planted::View(_)
            | Planted::Decided(_)
            | Planted::Folded(_)
            | Planted::Recovered(_)
            | Planted::WallClock => None,
        }
    }
}

struct Meddler {
    planted: Planted,
    looked: BTreeMap<PlanName, Now>,
}

impl std::fmt::Debug for Meddler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a fault")
    }
}

impl Meddler {
    fn has(&self, flag: Flag) -> bool {
        matches!(self.planted, Planted::Flag(planted) if planted == flag)
    }
}

impl Meddle for Meddler {
    fn view(&mut self, world: &World, event: &Event) -> Option<World> {
        if let Planted::View(view) = self.planted { view(world, event) } else { None }
    }

    fn decided(&mut self, world: &World, event: &Event, now: Now, decision: &mut Decision) {
        if let Planted::Decided(decided) = self.planted {
            decided(world, event, decision);
        } else if let (Planted::WallClock, Event::Wake { plan }) = (self.planted, event) {
            let before = self.looked.insert(plan.clone(), now);
            if before.is_some_and(|before| before.mono == now.mono && before.wall != now.wall) {
                decision.facts.extend(late(world, plan));
            }
        }
    }

    fn folded(&mut self, world: &mut World) {
        if let Planted::Folded(folded) = self.planted {
            folded(world);
        }
    }

    fn recovered(&mut self, world: &mut World) {
        if let Planted::Recovered(recovered) = self.planted {
            recovered(world);
        }
    }

    fn forgets_epochs(&self) -> bool {
        self.has(Flag::Epochs)
    }

    fn doubles_effects(&self) -> bool {
        self.has(Flag::Doubles)
    }

    fn acts_unrecorded(&self) -> bool {
        self.has(Flag::Unrecorded)
    }

    fn answers_early(&self) -> bool {
        self.has(Flag::Early)
    }

    fn loses_an_entry(&mut self) -> bool {
        self.has(Flag::Loses)
    }

    fn forgets_wakes(&self) -> bool {
        self.has(Flag::Wakes)
    }

    fn forgets_dangling(&self) -> bool {
        self.has(Flag::Dangling)
    }

    fn repeats_bodies(&self) -> bool {
        self.has(Flag::Bodies)
    }

    fn admits_old_writers(&self) -> bool {
        self.has(Flag::OldWriters)
    }
}

const FAULTS: &[Fault] = &[
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
                let Command::Deploy(write) = command else { continue };
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
                if let Command::Restore(write) = command
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
            decision.facts.retain(|fact| match fact {
                Fact::RingAborted { release, ring } => {
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
        commands: vec![Command::Deploy(write)],
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

fn late(world: &World, plan: &PlanName) -> Option<Fact> {
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
