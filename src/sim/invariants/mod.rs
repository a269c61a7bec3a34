//! What must hold after every event: one file an invariant, by its number. Each keeps its own books
//! from the facts, so that a mistake in the core's state cannot hide itself.
//!
//! Those that a decision alone can break look at every [`Step`]. Those that take more than the core to
//! break (a journal, a restart, a target, an end) are asked by whoever simulates that.

mod i01_order;
mod i02_zero_and_freeze;
mod i03_credit;
mod i04_wall_clock;
mod i05_passes;
mod i06_residency;
mod i07_one_in_motion;
mod i08_intents;
mod i09_repeats;
mod i10_epochs;
mod i11_writer;
mod i12_pause;
mod i13_abort;
mod i14_acknowledged;
mod i15_once;
mod i16_approvals;
mod i17_tombstones;
mod i18_known_good;
mod i19_one_rollback;
mod i20_snapshot;
mod i21_membership;
mod i22_windows;
mod i23_caps;
mod i24_journal;
mod i25_refold;
mod i26_recorded;
mod i27_secrets;
mod i28_other_plans;
mod i29_settled;
mod i30_aborts;
mod i31_dangling;
mod i32_progress;
mod i33_irreversible;
#[cfg(test)]
mod tests;
mod waived;

pub use self::{
    i09_repeats::Repeats,
    i10_epochs::Epochs,
    i11_writer::outdated,
    i14_acknowledged::Acknowledged,
    i24_journal::{Journal, broken as broken_journal},
    i25_refold::{refolded, same},
    i26_recorded::{acknowledged, nothing_more, recorded},
    i27_secrets::CANARY,
    i29_settled::{at_rest, settled},
    i31_dangling::dangling,
    i32_progress::progress,
};
use crate::{
    decide::{
        Decision,
        command::Promote,
        event::{Event, Status},
        fact::Verdict,
        world::{Phase, PlanState, Release, RingRun, Step as ClusterStep, World},
    },
    ids::{ClusterName, IdempotencyKey, PlanName, ReleaseId, RingName},
    model::{ring::Ring, time::Now},
};

/// An event and what came of it.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// What was true before.
    pub before: &'a World,
    /// What happened.
    pub event: &'a Event,
    /// When.
    pub now: Now,
    /// What the core made of it.
    pub decision: &'a Decision,
    /// What is true now.
    pub after: &'a World,
}

impl<'a> Step<'a> {
    /// The plans that the step changed, as they are now.
    fn changed(&self) -> impl Iterator<Item = (&'a PlanName, &'a PlanState)> + use<'a> {
        let before = self.before;
        // A stop of more than one plan gives each a new revision, and lets it look for itself.
        let at_large =
            matches!(self.event, Event::Operator(asked) if asked.action.plan().is_none());
        self.after.plans.iter().filter_map(move |(name, state)| {
            let known = before.plans.get(name);
            let same = at_large || known.is_some_and(|b| std::sync::Arc::ptr_eq(b, state));
            (!same).then_some((name, state.as_ref()))
        })
    }

    /// Whether a promotion takes a release forward, and does not let it go back: by the write that its target
    /// carries, whatever its ring has come to since.
    fn goes_forward(&self, promote: &Promote) -> bool {
        // `restore`, and `restore.2` where it was asked for again.
        let last = promote.intent.as_str().rsplit('/').next();
        last.is_none_or(|last| !last.starts_with("restore"))
    }

    /// A release on a ring as it is now, with the ring's declaration in its snapshot.
    fn on(&self, id: &ReleaseId, ring: &RingName) -> Result<On<'a>, String> {
        let release = self.after.release(id);
        let on = release.and_then(|release| {
            let run = release.ring(ring)?;
            Some(On { release, run, ring: release.plan.ring(ring)? })
        });
        on.ok_or_else(|| format!("nothing is known of {id} on {ring}"))
    }
}

/// A write that its target has accepted, for the first time or again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Landing {
    /// The plan whose target it is.
    pub plan: PlanName,
    /// Where.
    pub cluster: ClusterName,
    /// The write.
    pub key: IdempotencyKey,
    /// Its writer.
    pub epoch: u64,
    /// Whether the target is otherwise than before.
    pub changed: bool,
}

/// A release on a ring.
#[derive(Clone, Copy)]
struct On<'a> {
    release: &'a Release,
    run: &'a RingRun,
    ring: &'a Ring,
}

impl On<'_> {
    /// Whether every ready target is at the digest under our own write, and every required gate's
    /// latest verdict is this writer's Pass.
    fn healthy(&self, world: &World) -> Result<(), String> {
        let plan = world.plans.get(&self.release.id.plan);
        for (cluster, here) in &self.run.clusters {
            if here.step != ClusterStep::Ready {
                continue;
            }
            let state = plan.and_then(|p| p.targets.get(cluster)).and_then(|t| t.state.as_ref());
            let state = state.ok_or_else(|| format!("{cluster} was not seen"))?;
            let at_digest = state.image.as_ref().is_some_and(|i| i.same_as(&self.release.artifact));
            if state.status != Status::Succeeded || !at_digest || state.intent != here.intent {
                return Err(format!("{cluster} is {state:?}, written as {:?}", here.intent));
            }
            for gate in self.ring.policy.gates.iter().filter(|gate| gate.required) {
                let run = self.run.gates.get(&(cluster.clone(), gate.name.clone()));
                let verdict =
                    run.and_then(|run| run.latest.as_ref()).map(|(judged, _)| judged.verdict);
                if verdict != Some(Verdict::Pass) || !run.is_some_and(|run| run.fresh) {
                    let gate = &gate.name;
                    return Err(format!("{gate} on {cluster} last said {verdict:?}"));
                }
            }
        }
        Ok(())
    }
}

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invariant {number} is broken ({says}): {detail}")]
pub struct Violation {
    /// Its number.
    pub number: u8,
    /// What should hold.
    pub says: &'static str,
    /// What is so instead.
    pub detail: String,
}

/// One thing that must hold after every event.
trait Invariant {
    fn number(&self) -> u8;
    fn says(&self) -> &'static str;
    fn check(&mut self, step: &Step<'_>) -> Result<(), String>;
}

/// All of them, with what each remembers.
pub struct Invariants {
    all: Vec<Box<dyn Invariant>>,
}

impl std::fmt::Debug for Invariants {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.all.iter().map(|one| one.number())).finish()
    }
}

impl Default for Invariants {
    fn default() -> Self {
        Self {
            all: vec![
                Box::<i01_order::Order>::default(),
                Box::<i02_zero_and_freeze::ZeroAndFreeze>::default(),
                Box::<i03_credit::Credit>::default(),
                Box::<i04_wall_clock::WallClock>::default(),
                Box::<i05_passes::Passes>::default(),
                Box::<i06_residency::Residency>::default(),
                Box::<i07_one_in_motion::OneInMotion>::default(),
                Box::<i08_intents::Intents>::default(),
                Box::<i12_pause::Pause>::default(),
                Box::<i13_abort::Abort>::default(),
                Box::<i15_once::Once>::default(),
                Box::<i16_approvals::Approvals>::default(),
                Box::<i17_tombstones::Tombstones>::default(),
                Box::<i18_known_good::KnownGoods>::default(),
                Box::<i19_one_rollback::OneRollback>::default(),
                Box::<i20_snapshot::Snapshot>::default(),
                Box::<i21_membership::Membership>::default(),
                Box::<i22_windows::Windows>::default(),
                Box::<i23_caps::Caps>::default(),
                Box::<i24_journal::Refusals>::default(),
                Box::<i27_secrets::Secrets>::default(),
                Box::<i28_other_plans::OtherPlans>::default(),
                Box::<i30_aborts::Aborts>::default(),
                Box::<i33_irreversible::Irreversible>::default(),
            ],
        }
    }
}

impl Invariants {
    /// Looks at one step.
    ///
    /// # Errors
    /// The first invariant that it breaks.
    pub fn check(&mut self, step: &Step<'_>) -> Result<(), Violation> {
        self.all.iter_mut().try_for_each(|one| {
            one.check(step).map_err(|detail| Violation {
                number: one.number(),
                says: one.says(),
                detail,
            })
        })
    }
}

/// Whether a phase is one in which the release can still come to more clusters.
fn is_open(phase: Phase) -> bool {
    match phase {
        Phase::Waiting | Phase::Deploying | Phase::Soaking | Phase::RollingBack => true,
        Phase::Passed | Phase::Failed | Phase::RolledBack | Phase::Aborted | Phase::Superseded => {
            false
        }
    }
}
