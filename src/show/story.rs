//! What a fact says, as a sentence for people: in evidence and in messages.
//!
//! Architecture invariant: no sentence adds a figure of a measurement. Why a ring failed may hold one, in the
//! fact's own words; what may not leave a jurisdiction is not in those: it was left out before the fact was recorded.

use super::words::covered;
use crate::{
    decide::{
        event::{Actor, Outcome},
        fact::{Debt, Fact, Verdict},
    },
    ids::{ClusterName, Principal},
};

/// The fact as a sentence without a full stop; it begins in lower case.
pub fn of(fact: &Fact) -> String {
    match fact {
        Fact::TookOver { epoch } => format!("a writer took over, as epoch {epoch}"),
        Fact::SourceAccepted { commit } => format!("commit {commit} is in force"),
        Fact::SourceRefused { commit, why } => format!("commit {commit} was not accepted: {why}"),
        Fact::PlanDeclared { plan } => {
            format!("plan {} is in force as of commit {}", plan.name, plan.commit)
        }
        Fact::PlanInError { plan, problems, .. } => {
            let first = problems.first().map(|p| format!("{}: {}", p.rule, p.message));
            let first = first.unwrap_or_default();
            format!("the declarations of plan {plan} are in error ({}): {first}", problems.len())
        }
        Fact::PlanWithdrawn { plan, .. } => format!("plan {plan} is declared no more"),
        Fact::Submitted { release, author, by, reason, .. } => {
            let asked = match by.name == *author {
                true => format!("{release} was released by {author}"),
                false => format!("{release} by {author} was released by {}", by.name),
            };
            because(asked, reason.as_deref())
        }
        Fact::SnapshotTightened { release, changes, .. } => {
            format!("{release} took tighter rules: {}", changes.join("; "))
        }
        Fact::Refused { by, kind, detail, .. } => {
            format!("a request of {} was refused ({}): {detail}", by.name, kind.name())
        }
        Fact::GlassBroken { by, token, reason, asked } => {
            format!("{} showed the token for emergencies {token} ({reason}): {asked}", by.name)
        }
        Fact::Answered { .. } => "a request with a key was answered".into(),
        Fact::Paused { scope, by, reason, .. } => {
            because(format!("{} was paused by {}", covered(scope), by.name), reason.as_deref())
        }
        Fact::Resumed { scope, by, reason } => {
            because(format!("{} was resumed by {}", covered(scope), by.name), reason.as_deref())
        }
        Fact::Frozen { id, scope, until, by, reason, .. } => {
            let until = until.map(|until| format!(" until {until}")).unwrap_or_default();
            format!("{} was frozen by {} ({id}){until}: {reason}", covered(scope), by.name)
        }
        Fact::Lifted { id, by } => format!("freeze {id} was lifted by {}", by.name),
        Fact::Approved { release, ring, by, reason, .. } => {
            because(format!("{} approved {release} for {ring}", who(by)), reason.as_deref())
        }
        Fact::Rejected { release, ring, by, reason } => {
            because(format!("{} rejected {release} for {ring}", who(by)), reason.as_deref())
        }
        Fact::Advanced { release, ring, by, reason } => {
            because(format!("{} let {release} take {ring}", by.name), reason.as_deref())
        }
        Fact::Promoted { release, ring, cluster, pause, by, reason } => {
            let what = format!(
                "{} let {release} go on in {cluster} of {ring}, from {}",
                by.name, pause.at
            );
            because(what, reason.as_deref())
        }
        Fact::Adopted { cluster, artifact, .. } => {
            format!("{artifact} was found healthy on {cluster} and is its known good")
        }
        Fact::TargetSeen { plan, cluster, .. } => {
            format!("the target of {plan} on {cluster} was seen to change")
        }
        Fact::EffectSettled { key, outcome, .. } => match outcome {
            Outcome::Done => format!("{key} was accepted"),
            Outcome::Refused(why) => format!("{key} was refused: {why}"),
        },
        Fact::EffectSuperseded { key, .. } => format!("{key} was overtaken"),
        Fact::RingStarted { release, ring, attempt, clusters } => {
            let again = if *attempt > 1 { format!(", attempt {attempt}") } else { String::new() };
            format!("{release} started on {ring}{again}: {}", names(clusters))
        }
        Fact::ClusterReady { release, ring, cluster } => {
            format!("{release} is ready on {cluster} of {ring}")
        }
        Fact::ClusterFailed { release, ring, cluster, cause } => {
            format!("{release} failed on {cluster} of {ring}: {cause}")
        }
        Fact::SoakStarted { release, ring } => {
            format!("{release} is ready on all of {ring} and soaks")
        }
        Fact::SoakRunning { ring, running: true, .. } => format!("the soak on {ring} runs"),
        Fact::SoakRunning { ring, running: false, .. } => {
            format!("the soak on {ring} stands still")
        }
        Fact::SoakCredited { ring, span, .. } => format!("{span} were credited on {ring}"),
        Fact::HistoryMeasured { ring, cluster, gate, verdicts, .. } => {
            let passed = verdicts.iter().filter(|verdict| **verdict == Verdict::Pass).count();
            let all = verdicts.len();
            format!("{gate} on {cluster} of {ring} passed {passed} of {all} steps by its history")
        }
        Fact::SoakBackfilled { ring, span, why, .. } => {
            format!("{span} that nobody observed were credited on {ring} by history: {why}")
        }
        Fact::SoakReset { ring, why, .. } => format!("the soak on {ring} is back at zero: {why}"),
        Fact::Measured { ring, cluster, gate, judged, .. } => {
            format!("{gate} on {cluster} of {ring} is {}", judged.verdict)
        }
        Fact::MeasureDropped { key, .. } => format!("the measurement {key} was dropped"),
        Fact::BaselineTaken { cluster, gate, .. } => {
            format!("the baseline of {gate} on {cluster} was taken")
        }
        Fact::HistoryTaken { cluster, gate, .. } => {
            format!("what {gate} is compared with on {cluster} was taken")
        }
        Fact::RingPassed { release, ring } => format!("{release} passed {ring}"),
        Fact::WatchEnded { release, ring } => format!("{release} is watched on {ring} no more"),
        Fact::RingFailed { release, ring, cause } => format!("{release} failed on {ring}: {cause}"),
        Fact::RollbackStarted { release, ring, by, cause, .. } => {
            format!("{release} goes back on {ring} (by {by}): {cause}")
        }
        Fact::RollbackQueued { release, ring, queued: true } => {
            format!("{release} waits to go back on {ring}: as many as may be are going back")
        }
        Fact::RollbackQueued { release, ring, queued: false } => {
            format!("{release} waits no more to go back on {ring}")
        }
        Fact::RollbackHastened { release, ring, by, reason } => because(
            format!("{} asked that {release} go back on {ring} at once", by.name),
            reason.as_deref(),
        ),
        Fact::StartQueued { release, ring, queued: true } => {
            format!("{release} waits for a place on {ring}: as many rings as may be are in motion")
        }
        Fact::StartQueued { release, ring, queued: false } => {
            format!("{release} waits no more for a place on {ring}")
        }
        Fact::LimitsSet { .. } => "the settings' limits are in force".into(),
        Fact::ClusterRestored { release, ring, cluster } => {
            format!("{cluster} of {ring} is back from {release}")
        }
        Fact::ClusterStuck { release, ring, cluster, cause } => {
            format!("{cluster} of {ring} cannot be taken back from {release}: {cause}")
        }
        Fact::RingRolledBack { release, ring } => format!("{ring} is back from {release}"),
        Fact::RingSuperseded { release, ring, by } => {
            format!("{by} took {ring} before {release} started there")
        }
        Fact::Aborted { release, by, reason, hold } => {
            let held = if *hold { ", leaving rings in motion as they are" } else { "" };
            because(format!("{} aborted {release}{held}", by.name), reason.as_deref())
        }
        Fact::RingAborted { release, ring } => format!("{release} is over on {ring}"),
        Fact::Retried { release, ring, by, reason } => because(
            format!("{} asked for a new attempt of {release} on {ring}", by.name),
            reason.as_deref(),
        ),
        Fact::LaneTaken { release, .. } => format!("{release} goes by its plan's hotfix lane"),
        Fact::LaneLapsed { release, rings, .. } => {
            let rings: Vec<_> = rings.iter().map(ToString::to_string).collect();
            format!("the hotfix lane of {release} is over for {}", rings.join(", "))
        }
        Fact::DebtRecorded { release, ring, debt } => {
            format!("{release} did without {} on {ring}", owed(debt))
        }
        Fact::DebtPaid { release, ring, debt } => {
            format!("{release} made up for {} on {ring}", owed(debt))
        }
        Fact::DebtDropped { release, ring, debt, why } => {
            format!("{release} owes {} on {ring} no more: {why}", owed(debt))
        }
        Fact::DebtWrittenOff { release, ring, debt, by, reason } => format!(
            "{} answers for what {release} did without on {ring} ({}): {reason}",
            by.name,
            owed(debt)
        ),
        Fact::PlacesDeclared { .. } => "where clusters lie was declared".into(),
        Fact::BlocsDeclared { .. } => "the members of blocs were declared".into(),
        Fact::ClusterWitnessed { cluster, .. } => format!("{cluster} says where it lies"),
        Fact::HomeStated { .. } => "the settings say where the server stands".into(),
        Fact::DeployRecalled { release, cluster, why, .. } => {
            format!("the deploy of {release} to {cluster} was called back: {why}")
        }
        Fact::RestoreDenied { release, cluster, why: Some(why), .. } => {
            format!("{release} may not be taken back on {cluster}: {why}")
        }
        Fact::RestoreDenied { release, cluster, why: None, .. } => {
            format!("{release} may be taken back on {cluster} again")
        }
        Fact::WaiverAsked { plan, id, waiver, by } => format!(
            "{} asked that rule {} of {plan} shall not bind until {} ({id}): {}",
            by.name, waiver.rule, waiver.until, waiver.reason
        ),
        Fact::WaiverApproved { plan, id, by } => {
            format!("{} agreed to waiver {id} of {plan}", who(by))
        }
        Fact::WaiverRevoked { plan, id, by, reason } => {
            because(format!("{} ended waiver {id} of {plan}", by.name), reason.as_deref())
        }
        Fact::WaiverVoided { plan, id, why } => format!("waiver {id} of {plan} is void: {why}"),
    }
}

/// Who asked for it, where somebody did.
pub fn by(fact: &Fact) -> Option<&Principal> {
    super::change::About::of(fact).by.map(|by| &by.name)
}

fn because(what: String, reason: Option<&str>) -> String {
    match reason {
        Some(reason) => format!("{what}: {reason}"),
        None => what,
    }
}

/// `kim (approver, IE)`
fn who(by: &Actor) -> String {
    let place = by.jurisdiction.as_ref().map(ToString::to_string);
    let known: Vec<_> = by.roles.iter().cloned().chain(place).collect();
    match known.as_slice() {
        [] => by.name.to_string(),
        known => format!("{} ({})", by.name, known.join(", ")),
    }
}

fn names(clusters: &[ClusterName]) -> String {
    const SHOWN: usize = 10;
    let shown: Vec<_> = clusters.iter().take(SHOWN).map(ToString::to_string).collect();
    match clusters.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn owed(debt: &Debt) -> String {
    match debt {
        Debt::Gate(gate) => format!("gate {gate}"),
        Debt::Ahead(ring) => format!("a pass of {ring}"),
    }
}
