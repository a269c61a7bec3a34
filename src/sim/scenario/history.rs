//! What has happened, from the journal: every phase that a ring was in, and the timeline that a
//! failure is shown with. It folds the journal by itself, and only when somebody asks.

use std::{collections::BTreeMap, fmt::Write as _};

use super::run::Entry;
use crate::{
    decide::{
        fact::{Fact, Verdict},
        phase::{self, ReleasePhase, RingPhase},
        waiting::HoldKind,
        world::World,
    },
    ids::{ClusterName, GateName, PlanName, ReleaseId, RingName},
    model::time::Span,
};

/// Something worth a line.
#[derive(Debug)]
struct Line {
    at: Span,
    /// Whose it is; everybody's where nobody is named.
    release: Option<ReleaseId>,
    text: String,
}

/// A phase that a ring came to.
#[derive(Debug)]
struct Reached {
    release: ReleaseId,
    ring: RingName,
    phase: RingPhase,
}

/// The journal, read so far.
#[derive(Debug, Default)]
pub struct History {
    world: World,
    read: usize,
    reached: Vec<Reached>,
    release_phases: Vec<(ReleaseId, ReleasePhase)>,
    lines: Vec<Line>,
    /// How many of them a failure has shown.
    told: usize,
    last: BTreeMap<(ReleaseId, RingName), (RingPhase, Vec<HoldKind>)>,
    verdicts: BTreeMap<(ReleaseId, RingName, ClusterName, GateName), Verdict>,
    last_release: BTreeMap<ReleaseId, ReleasePhase>,
}

impl History {
    /// Reads what is new in the journal.
    pub fn read(&mut self, journal: &[Entry]) {
        for entry in &journal[self.read..] {
            for fact in &entry.decision.facts {
                self.fact(entry.at, fact);
            }
            // The run has folded the same entry before; what it refused never came here.
            let folded =
                self.world.fold(entry.now, &entry.decision.facts, &entry.decision.commands);
            debug_assert!(folded.is_ok(), "the journal folds");
            self.sample(entry);
        }
        self.read = journal.len();
    }

    /// Whether the ring was ever in the phase.
    pub fn was(&self, release: &ReleaseId, ring: &RingName, phase: RingPhase) -> bool {
        self.first(release, ring, phase).is_some()
    }

    /// Whether the release was ever in the phase.
    pub fn release_was(&self, release: &ReleaseId, phase: ReleasePhase) -> bool {
        self.release_phases.iter().any(|(r, p)| r == release && *p == phase)
    }

    /// The place in the order of events at which the ring first came to the phase.
    pub fn first(&self, release: &ReleaseId, ring: &RingName, phase: RingPhase) -> Option<usize> {
        self.reached
            .iter()
            .position(|r| r.phase == phase && r.ring == *ring && r.release == *release)
    }

    /// The last `count` lines that concern `release`, or anybody where none is named; without those that
    /// were told before.
    pub fn timeline(&mut self, release: Option<&ReleaseId>, count: usize) -> String {
        let new = &self.lines[std::mem::replace(&mut self.told, self.lines.len())..];
        let concerns = |line: &&Line| match (&line.release, release) {
            (Some(whose), Some(asked)) => whose == asked,
            (None, _) | (_, None) => true,
        };
        let lines: Vec<_> = new.iter().filter(concerns).collect();
        let left_out = lines.len().saturating_sub(count);
        let mut text = String::new();
        if left_out > 0 {
            let _ = writeln!(text, "    {:>8}  {left_out} earlier lines", "...");
        }
        for line in &lines[left_out..] {
            let at = line.at.to_string();
            let whose = line.release.as_ref().filter(|_| release.is_none());
            let whose = whose.map(|id| format!("{id}: ")).unwrap_or_default();
            let _ = writeln!(text, "    {at:>8}  {whose}{}", line.text);
        }
        text
    }

    fn line(&mut self, at: Span, release: Option<&ReleaseId>, text: String) {
        self.lines.push(Line { at, release: release.cloned(), text });
    }

    fn reach(&mut self, release: &ReleaseId, ring: &RingName, phase: RingPhase) {
        let (release, ring) = (release.clone(), ring.clone());
        self.reached.push(Reached { release, ring, phase });
    }

    /// Phases that a ring only passes through inside one decision are told by the facts.
    fn fact(&mut self, at: Span, fact: &Fact) {
        let who = |actor: &crate::decide::event::Actor| actor.name.clone();
        match fact {
            Fact::TookOver { epoch } => {
                self.line(at, None, format!("ringward starts, epoch {epoch}"));
            }
            Fact::PlanInError { plan, problems, .. } => {
                let first = problems.first().map_or("", |p| p.message.as_str());
                self.line(at, None, format!("plan {plan} is in error: {first}"));
            }
            // That everything is declared at the beginning goes without saying.
            Fact::PlanDeclared { plan } if at > Span::ZERO => {
                self.line(at, None, format!("plan {} is declared", plan.name));
            }
            Fact::PlanWithdrawn { plan, .. } => {
                self.line(at, None, format!("plan {plan} is withdrawn"));
            }
            Fact::Submitted { release, author, .. } => {
                self.line(at, Some(release), format!("released by {author}"));
            }
            Fact::SnapshotTightened { release, changes, .. } => {
                self.line(
                    at,
                    Some(release),
                    format!("its policy tightens: {}", changes.join("; ")),
                );
            }
            Fact::Refused { by, kind, detail, .. } => {
                let text = format!("{} is refused: {}, {detail}", who(by), kind.name());
                self.line(at, None, text);
            }
            Fact::GlassBroken { by, asked, .. } => {
                self.line(at, None, format!("{} breaks the glass: {asked}", who(by)));
            }
            Fact::Paused { scope, by, .. } => {
                self.line(at, None, format!("{} pauses {scope:?}", who(by)));
            }
            Fact::Resumed { scope, by, .. } => {
                self.line(at, None, format!("{} resumes {scope:?}", who(by)));
            }
            Fact::Frozen { id, scope, by, .. } => {
                self.line(at, None, format!("{} freezes {scope:?} ({id})", who(by)));
            }
            Fact::Lifted { id, by } => {
                self.line(at, None, format!("{} lifts the freeze {id}", who(by)));
            }
            Fact::Approved { release, ring, by, .. } => {
                self.line(at, Some(release), format!("{ring}: {} approves", who(by)));
            }
            Fact::Advanced { release, ring, by, .. } => {
                self.line(at, Some(release), format!("{ring}: {} advances it", who(by)));
            }
            Fact::Promoted { release, ring, cluster, pause, by, .. } => {
                let text = format!("{ring}: {} promotes it on {cluster} at {}", who(by), pause.at);
                self.line(at, Some(release), text);
            }
            Fact::Aborted { release, by, .. } => {
                self.line(at, Some(release), format!("{} aborts it", who(by)));
            }
            Fact::RingStarted { release, ring, .. } => {
                self.reach(release, ring, RingPhase::Deploying);
            }
            Fact::SoakStarted { release, ring } => self.reach(release, ring, RingPhase::Soaking),
            Fact::RingPassed { release, ring } => self.reach(release, ring, RingPhase::Passed),
            Fact::RingFailed { release, ring, cause } => {
                self.reach(release, ring, RingPhase::Failed);
                self.line(at, Some(release), format!("{ring} fails: {cause}"));
            }
            Fact::Rejected { release, ring, by, .. } => {
                self.reach(release, ring, RingPhase::Failed);
                self.line(at, Some(release), format!("{ring}: {} rejects it", who(by)));
            }
            Fact::RollbackStarted { release, ring, by, .. } => {
                self.reach(release, ring, RingPhase::RollingBack);
                self.line(at, Some(release), format!("{ring} goes back, says {by}"));
            }
            Fact::RollbackQueued { release, ring, queued } => {
                let waits = if *queued { "waits" } else { "waits no more" };
                self.line(at, Some(release), format!("{ring} {waits} for its place to go back"));
            }
            Fact::StartQueued { release, ring, queued } => {
                let waits = if *queued { "waits" } else { "waits no more" };
                self.line(at, Some(release), format!("{ring} {waits} for its place to start"));
            }
            Fact::BlocsDeclared { blocs } => {
                for (name, members) in blocs.iter().filter(|_| at > Span::ZERO) {
                    self.line(at, None, format!("{name} is declared as {members:?}"));
                }
            }
            Fact::LimitsSet { limits } => {
                self.line(at, None, format!("the settings limit {limits:?}"));
            }
            Fact::WatchEnded { release, ring } => {
                self.line(at, Some(release), format!("{ring} is watched no more"));
            }
            Fact::RollbackHastened { release, ring, by, .. } => {
                self.line(at, Some(release), format!("{ring} goes back now, says {}", who(by)));
            }
            Fact::RingRolledBack { release, ring } => {
                self.reach(release, ring, RingPhase::RolledBack);
            }
            Fact::RingAborted { release, ring } => self.reach(release, ring, RingPhase::Aborted),
            Fact::RingSuperseded { release, ring, .. } => {
                self.reach(release, ring, RingPhase::Superseded);
            }
            Fact::Retried { release, ring, by, .. } => {
                self.reach(release, ring, RingPhase::Waiting);
                self.line(at, Some(release), format!("{ring}: {} retries it", who(by)));
            }
            Fact::HistoryMeasured { release, ring, cluster, gate, verdicts, .. } => {
                let passing = verdicts.iter().filter(|v| **v == Verdict::Pass).count();
                let text = format!(
                    "{ring}: by history {gate} on {cluster} passes at {passing} of {} instants",
                    verdicts.len()
                );
                self.line(at, Some(release), text);
            }
            Fact::SoakBackfilled { release, ring, span, why } => {
                let text = format!("{ring}: {span} are credited from history: {why}");
                self.line(at, Some(release), text);
            }
            Fact::SoakReset { release, ring, why } => {
                self.line(at, Some(release), format!("{ring}: back to zero: {why}"));
            }
            Fact::ClusterFailed { release, ring, cluster, cause } => {
                self.line(at, Some(release), format!("{ring}: {cluster} failed: {cause}"));
            }
            Fact::ClusterStuck { release, ring, cluster, cause } => {
                self.line(at, Some(release), format!("{ring}: {cluster} is stuck: {cause}"));
            }
            Fact::Measured { release, ring, cluster, gate, judged, .. } => {
                let key = (release.clone(), ring.clone(), cluster.clone(), gate.clone());
                if self.verdicts.insert(key, judged.verdict) != Some(judged.verdict) {
                    let (verdict, detail) = (judged.verdict, &judged.detail);
                    let text = format!("{ring}: {gate} on {cluster} says {verdict} ({detail})");
                    self.line(at, Some(release), text);
                }
            }
            Fact::LaneTaken { release, .. } => {
                self.line(at, Some(release), "it takes the hotfix lane".into());
            }
            Fact::LaneLapsed { release, rings, .. } => {
                let rings: Vec<_> = rings.iter().map(RingName::as_str).collect();
                let text = format!("the hotfix lane is over for {}", rings.join(", "));
                self.line(at, Some(release), text);
            }
            Fact::DebtRecorded { release, ring, debt } => {
                self.line(at, Some(release), format!("{ring} owes {debt:?}"));
            }
            Fact::DebtPaid { release, ring, debt } => {
                self.line(at, Some(release), format!("{ring} owes {debt:?} no more"));
            }
            Fact::DebtDropped { release, ring, debt, why } => {
                self.line(at, Some(release), format!("{ring} owes {debt:?} no more: {why}"));
            }
            Fact::DebtWrittenOff { release, ring, debt, by, .. } => {
                let text = format!("{ring}: {} answers for {debt:?}", who(by));
                self.line(at, Some(release), text);
            }
            Fact::WaiverAsked { plan, id, waiver, by } => {
                let (rule, until) = (&waiver.rule, waiver.until);
                let text = format!("{} asks for waiver {id} of {rule} until {until}", who(by));
                self.line(at, None, format!("plan {plan}: {text}"));
            }
            Fact::WaiverApproved { plan, id, by } => {
                self.line(at, None, format!("plan {plan}: {} agrees to waiver {id}", who(by)));
            }
            Fact::WaiverRevoked { plan, id, by, .. } => {
                self.line(at, None, format!("plan {plan}: {} revokes waiver {id}", who(by)));
            }
            Fact::WaiverVoided { plan, id, why } => {
                self.line(at, None, format!("plan {plan}: waiver {id} is void: {why}"));
            }
            Fact::PlacesDeclared { clusters } => {
                for (name, place) in clusters.iter().filter(|_| at > Span::ZERO) {
                    let what = place.as_ref().map_or("no more".into(), |p| {
                        format!("in {}, region {}", p.jurisdiction, p.region)
                    });
                    self.line(at, None, format!("{name} is declared {what}"));
                }
            }
            Fact::ClusterWitnessed { cluster, witness } => {
                let places = witness.regions.iter().map(ToString::to_string);
                let places = places.chain(witness.jurisdictions.iter().map(ToString::to_string));
                let places: Vec<_> = places.collect();
                self.line(at, None, format!("{cluster} says that it is in {}", places.join(", ")));
            }
            Fact::DeployRecalled { release, ring, cluster, why } => {
                let text = format!("{ring}: the deploy to {cluster} is called back ({why})");
                self.line(at, Some(release), text);
            }
            Fact::RestoreDenied { release, ring, cluster, why } => {
                let text = match why {
                    Some(why) => format!("{ring}: {cluster} may not be taken back ({why})"),
                    None => format!("{ring}: {cluster} may be taken back again"),
                };
                self.line(at, Some(release), text);
            }
            Fact::HomeStated { .. }
            | Fact::PlanDeclared { .. }
            | Fact::SourceAccepted { .. }
            | Fact::SourceRefused { .. }
            | Fact::Answered { .. }
            | Fact::Adopted { .. }
            | Fact::TargetSeen { .. }
            | Fact::EffectSettled { .. }
            | Fact::EffectSuperseded { .. }
            | Fact::ClusterReady { .. }
            | Fact::SoakRunning { .. }
            | Fact::SoakCredited { .. }
            | Fact::MeasureDropped { .. }
            | Fact::BaselineTaken { .. }
            | Fact::HistoryTaken { .. }
            | Fact::ClusterRestored { .. } => {}
        }
    }

    /// What a look at the world after the entry shows that it did not show before.
    fn sample(&mut self, entry: &Entry) {
        let mut seen = Vec::new();
        let plans: Vec<&PlanName> = match &entry.plan {
            Some(plan) => vec![plan],
            None => self.world.plans.keys().collect(),
        };
        for state in plans.into_iter().filter_map(|plan| self.world.plans.get(plan)) {
            for release in state.in_order() {
                let id = &release.id;
                let phase = phase::of_release(&self.world, release);
                if self.last_release.get(id) != Some(&phase) {
                    seen.push((id.clone(), None, format!("the release is {phase}"), phase));
                }
                for ring in release.plan.graph.order() {
                    let now = phase::of_ring(&self.world, release, ring, entry.now);
                    let holds = phase::holds(&self.world, release, ring, entry.now);
                    let known = self.last.get(&(id.clone(), ring.clone()));
                    if known == Some(&(now, holds.clone())) {
                        continue;
                    }
                    let by: Vec<_> = holds.iter().map(|hold| hold.name()).collect();
                    let by = by.join(", ");
                    let text = match known.filter(|(before, _)| *before == now) {
                        None if holds.is_empty() => format!("{ring} is {now}"),
                        None => format!("{ring} is {now}, held by {by}"),
                        Some(_) if holds.is_empty() => format!("{ring} is held no more"),
                        Some(_) => format!("{ring} is held by {by}"),
                    };
                    seen.push((id.clone(), Some((ring.clone(), now, holds)), text, phase));
                }
            }
        }
        for (release, ring, text, phase) in seen {
            self.line(entry.at, Some(&release), text);
            match ring {
                Some((ring, now, holds)) => {
                    let key = (release.clone(), ring.clone());
                    let before = self.last.insert(key, (now, holds));
                    // All others are told by the facts, in the order in which they came.
                    let derived = matches!(now, RingPhase::Waiting | RingPhase::Held);
                    if derived && before.is_none_or(|(before, _)| before != now) {
                        self.reach(&release, &ring, now);
                    }
                }
                None => {
                    self.last_release.insert(release.clone(), phase);
                    self.release_phases.push((release, phase));
                }
            }
        }
    }
}
