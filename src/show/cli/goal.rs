//! What `wait` waits for, and whether a release has come to it, may still, or never will.

use std::{fmt, str::FromStr};

use crate::{
    decide::phase::{ReleasePhase, RingPhase},
    ids::RingName,
    model::graph::Join,
    show::{
        exit::Exit,
        view::{HoldView, ReleaseView, RingView},
        words::Ender,
    },
};

/// A state of a release that can be waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Goal {
    /// The release is in that phase.
    Release(ReleasePhase),
    /// The release is in that phase on a ring.
    Ring(RingName, RingPhase),
}

/// How far a release is from a goal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// It is there.
    Reached,
    /// It will not come there by itself.
    Never {
        /// How a command that waits for it ends.
        exit: Exit,
        /// Why, in words.
        why: String,
    },
    /// Only a person or a window can move it.
    Held {
        /// By what, a line each.
        by: Vec<String>,
    },
    /// It moves.
    Moving {
        /// What goes on, in words.
        doing: String,
    },
}

impl Goal {
    /// How far `view` is from it.
    pub fn progress(&self, view: &ReleaseView) -> Progress {
        match self {
            Goal::Release(wanted) => release(view, *wanted),
            Goal::Ring(name, wanted) => match view.rings.iter().find(|ring| ring.name == *name) {
                Some(found) => ring(view, found, *wanted),
                None => {
                    let names: Vec<&str> = view.rings.iter().map(|r| r.name.as_str()).collect();
                    let why = format!(
                        "{} has no ring {name}; its rings are {}",
                        view.release,
                        names.join(", ")
                    );
                    Progress::Never { exit: Exit::Usage, why }
                }
            },
        }
    }
}

fn release(view: &ReleaseView, wanted: ReleasePhase) -> Progress {
    use ReleasePhase::*;
    let reached = view.phase == wanted
        || match wanted {
            // What was on its way has started.
            InProgress => view.phase == Succeeded,
            Pending | Paused | Succeeded | Failed | RolledBack | Aborted | Superseded => false,
        };
    if reached {
        return Progress::Reached;
    }
    // From a failure no release succeeds by itself; but it may still be rolled back.
    let lost = match (wanted, view.phase) {
        (Pending | Paused | InProgress | Succeeded, Failed | RolledBack | Aborted | Superseded) => {
            true
        }
        (Pending, InProgress) => true,
        (
            _,
            Pending | InProgress | Paused | Succeeded | Failed | RolledBack | Aborted | Superseded,
        ) => view.settled,
    };
    if lost {
        return Progress::Never {
            exit: ended(Exit::of_release(view.phase)),
            why: over(view, &view.rings.iter().collect::<Vec<_>>()),
        };
    }
    moving(view, &view.rings.iter().collect::<Vec<_>>())
}

fn ring(view: &ReleaseView, found: &RingView, wanted: RingPhase) -> Progress {
    use RingPhase::*;
    let gone_through = match (wanted, found.phase) {
        // A ring that is further has been there.
        (Deploying, Soaking | Passed) | (Soaking, Passed) => true,
        (wanted, phase) => wanted == phase,
    };
    if gone_through {
        return Progress::Reached;
    }
    let concerned = up_to(view, found);
    let lost = match (wanted, found.phase) {
        (
            Waiting | Held | Deploying | Soaking | Passed,
            Failed | RollingBack | RolledBack | Aborted | Superseded,
        ) => true,
        (Waiting | Held, Deploying | Soaking | Passed) => true,
        (RolledBack | RollingBack, Aborted | Superseded) => true,
        // It cannot come here any more, neither well nor badly.
        (_, Waiting | Held) => view.settled || is_lost(view, found),
        (
            _,
            Deploying | Soaking | Passed | Failed | RollingBack | RolledBack | Aborted | Superseded,
        ) => view.settled,
    };
    if lost {
        let exit = match found.phase {
            Superseded => Exit::Conflict,
            Failed | RollingBack | RolledBack | Aborted => Exit::Failed,
            Waiting | Held | Deploying | Soaking | Passed => ended(Exit::of_release(view.phase)),
        };
        return Progress::Never { exit, why: over(view, &concerned) };
    }
    moving(view, &concerned)
}

/// A release that succeeded cannot be what was waited for in vain with success.
fn ended(exit: Exit) -> Exit {
    if exit == Exit::Done { Exit::Error } else { exit }
}

/// The ring with all that it comes after, near and far.
fn up_to<'a>(view: &'a ReleaseView, ring: &'a RingView) -> Vec<&'a RingView> {
    let mut names = vec![&ring.name];
    let mut rings: Vec<&RingView> = Vec::new();
    // Each ring is behind those that it comes after: one walk from the end meets all of them.
    for earlier in view.rings.iter().rev() {
        if names.contains(&&earlier.name) {
            names.extend(&earlier.after);
            rings.push(earlier);
        }
    }
    rings.reverse();
    rings
}

/// Whether the release cannot come to the ring any more: it, or what it comes after, is over.
fn is_lost(view: &ReleaseView, ring: &RingView) -> bool {
    let mut lost: Vec<&RingName> = Vec::new();
    for ring in &view.rings {
        let behind = |name: &RingName| lost.contains(&name);
        let cut_off = match ring.join {
            Join::All => ring.after.iter().any(behind),
            Join::Any => !ring.after.is_empty() && ring.after.iter().all(behind),
        };
        let is_lost = match ring.phase {
            RingPhase::Failed
            | RingPhase::RollingBack
            | RingPhase::RolledBack
            | RingPhase::Aborted
            | RingPhase::Superseded => true,
            RingPhase::Waiting | RingPhase::Held => cut_off,
            RingPhase::Deploying | RingPhase::Soaking | RingPhase::Passed => false,
        };
        if is_lost {
            lost.push(&ring.name);
        }
    }
    lost.contains(&&ring.name)
}

/// Whether it moves, or what holds all of it.
fn moving(view: &ReleaseView, concerned: &[&RingView]) -> Progress {
    let mut doing = Vec::new();
    let mut by = Vec::new();
    for ring in concerned {
        let stuck: Vec<&HoldView> = ring.holds.iter().filter(|hold| needs_somebody(hold)).collect();
        match ring.phase {
            RingPhase::RollingBack => doing.push(on(ring)),
            RingPhase::Held | RingPhase::Deploying | RingPhase::Soaking if stuck.is_empty() => {
                doing.push(on(ring));
            }
            RingPhase::Held | RingPhase::Deploying | RingPhase::Soaking => {
                by.extend(stuck.iter().map(|hold| {
                    format!(
                        "{}: {} ({}); ended by: {}",
                        ring.name,
                        hold.message,
                        hold.kind.name(),
                        hold.ended_by
                    )
                }));
            }
            RingPhase::Waiting if !is_lost(view, ring) && is_free(view, ring) => {
                doing.push(on(ring))
            }
            RingPhase::Waiting
            | RingPhase::Passed
            | RingPhase::Failed
            | RingPhase::RolledBack
            | RingPhase::Aborted
            | RingPhase::Superseded => {}
        }
    }
    if doing.is_empty() && !by.is_empty() {
        return Progress::Held { by };
    }
    Progress::Moving { doing: doing.join("; ") }
}

fn needs_somebody(hold: &HoldView) -> bool {
    match hold.ender {
        Ender::Person | Ender::Clock => true,
        Ender::Progress => false,
    }
}

/// Whether what the ring comes after has passed: it waits for something else, such as its turn.
fn is_free(view: &ReleaseView, ring: &RingView) -> bool {
    let passed = |name: &RingName| {
        let found = view.rings.iter().find(|ring| ring.name == *name);
        found.is_some_and(|ring| ring.phase == RingPhase::Passed)
    };
    match ring.join {
        Join::All => ring.after.iter().all(passed),
        Join::Any => ring.after.is_empty() || ring.after.iter().any(passed),
    }
}

fn on(ring: &RingView) -> String {
    match ring.info.as_str() {
        "" => format!("{} {}", ring.name, ring.phase),
        info => format!("{} {} ({info})", ring.name, ring.phase),
    }
}

/// Why it is over, by the rings that did not go well; those that were ended with the release say no more
/// than that.
fn over(view: &ReleaseView, concerned: &[&RingView]) -> String {
    let bad = concerned.iter().filter(|ring| match ring.phase {
        RingPhase::Failed | RingPhase::RollingBack | RingPhase::RolledBack => true,
        RingPhase::Waiting
        | RingPhase::Held
        | RingPhase::Deploying
        | RingPhase::Soaking
        | RingPhase::Passed
        | RingPhase::Aborted
        | RingPhase::Superseded => false,
    });
    let bad: Vec<String> = bad.map(|ring| on(ring)).collect();
    match bad.is_empty() {
        true => format!("{} is {}", view.release, view.phase),
        false => format!("{} is {}: {}", view.release, view.phase, bad.join("; ")),
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Goal::Release(phase) => write!(f, "{phase}"),
            Goal::Ring(ring, phase) => write!(f, "{phase} on {ring}"),
        }
    }
}

/// A text that is no goal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("say `succeeded`, `phase=PHASE` or `ring=NAME:PHASE`, such as ring=beta:passed")]
pub struct NoGoal {
    #[source]
    phase: crate::decide::phase::NoPhase,
}

impl FromStr for Goal {
    type Err = NoGoal;

    fn from_str(text: &str) -> Result<Self, NoGoal> {
        let refuse = |phase| NoGoal { phase };
        if let Some(ring) = text.strip_prefix("ring=") {
            // A ring alone is waited for as people mean it.
            let (name, phase) = ring.split_once(':').unwrap_or((ring, "passed"));
            return Ok(Goal::Ring(name.into(), phase.parse().map_err(refuse)?));
        }
        let phase = text.strip_prefix("phase=").unwrap_or(text);
        phase.parse().map(Goal::Release).map_err(refuse)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::samples::{hold, release, ring},
        *,
    };
    use crate::decide::waiting::HoldKind;

    fn progress(goal: &str, view: &ReleaseView) -> Progress {
        goal.parse::<Goal>().unwrap().progress(view)
    }

    #[track_caller]
    fn never(goal: &str, view: &ReleaseView, expected: Exit) -> String {
        let found = progress(goal, view);
        let Progress::Never { exit, why } = &found else { panic!("{found:?}") };
        assert_eq!(*exit, expected, "{why}");
        why.clone()
    }

    #[test]
    fn goals_are_read_and_refused() {
        assert_eq!("succeeded".parse(), Ok(Goal::Release(ReleasePhase::Succeeded)));
        assert_eq!("phase=Paused".parse(), Ok(Goal::Release(ReleasePhase::Paused)));
        let beta = Goal::Ring("beta".into(), RingPhase::Passed);
        assert_eq!("ring=beta:passed".parse(), Ok(beta.clone()));
        assert_eq!("ring=beta".parse(), Ok(beta));
        for bad in ["", "done", "phase=", "ring=beta:done", "phase=soaking"] {
            assert!(bad.parse::<Goal>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_there_is_reached_and_what_was_passed_through_was_reached() {
        let mut view =
            release(&[ring("a", &[], RingPhase::Passed), ring("b", &["a"], RingPhase::Soaking)]);
        for goal in
            ["ring=a:passed", "ring=a:soaking", "ring=b:soaking", "ring=b:deploying", "inprogress"]
        {
            assert_eq!(progress(goal, &view), Progress::Reached, "{goal}");
        }
        assert!(
            matches!(progress("succeeded", &view), Progress::Moving { doing } if doing == "b Soaking")
        );
        view.phase = ReleasePhase::Succeeded;
        assert_eq!(progress("succeeded", &view), Progress::Reached);
    }

    #[test]
    fn a_release_that_failed_will_not_succeed_but_may_still_roll_back() {
        let mut failed = ring("a", &[], RingPhase::RollingBack);
        failed.info = "success-rate 0.9 < 0.995".into();
        let mut view = release(&[failed, ring("b", &["a"], RingPhase::Waiting)]);
        view.phase = ReleasePhase::Failed;
        let why = never("succeeded", &view, Exit::Failed);
        assert_eq!(why, "checkout@2.14.0 is Failed: a RollingBack (success-rate 0.9 < 0.995)");
        never("ring=a:passed", &view, Exit::Failed);
        never("ring=b:passed", &view, Exit::Failed);
        assert!(matches!(progress("rolledback", &view), Progress::Moving { .. }));
        assert!(matches!(progress("ring=a:rolledback", &view), Progress::Moving { .. }));
        view.rings[0].phase = RingPhase::RolledBack;
        (view.phase, view.settled) = (ReleasePhase::RolledBack, true);
        assert_eq!(progress("rolledback", &view), Progress::Reached);
        assert_eq!(progress("ring=a:rolledback", &view), Progress::Reached);
    }

    #[test]
    fn another_branch_that_failed_does_not_end_the_wait_for_a_ring() {
        let mut view = release(&[
            ring("a", &[], RingPhase::Passed),
            ring("us", &["a"], RingPhase::Failed),
            ring("eu", &["a"], RingPhase::Soaking),
            ring("all", &["us", "eu"], RingPhase::Waiting),
        ]);
        view.phase = ReleasePhase::Failed;
        assert!(matches!(progress("ring=eu:passed", &view), Progress::Moving { .. }));
        never("ring=all:passed", &view, Exit::Failed);
        view.rings[3].join = Join::Any;
        assert!(matches!(progress("ring=all:passed", &view), Progress::Moving { .. }));
    }

    #[test]
    fn ends_have_their_codes() {
        let mut view = release(&[ring("a", &[], RingPhase::Aborted)]);
        (view.phase, view.settled) = (ReleasePhase::Aborted, true);
        never("succeeded", &view, Exit::Failed);
        view.rings[0].phase = RingPhase::Superseded;
        view.phase = ReleasePhase::Superseded;
        never("succeeded", &view, Exit::Conflict);
        never("ring=a:passed", &view, Exit::Conflict);
        view.rings[0].phase = RingPhase::Passed;
        view.phase = ReleasePhase::Succeeded;
        never("failed", &view, Exit::Error);
        never("ring=a:held", &view, Exit::Error);
        let why = never("ring=nowhere:passed", &view, Exit::Usage);
        assert!(why.contains("its rings are a"), "{why}");
    }

    #[test]
    fn held_only_where_nothing_else_moves() {
        let approval = hold(HoldKind::Approval, "approval 0 of 1", Ender::Person);
        let mut held = ring("eu", &["a"], RingPhase::Held);
        held.holds = vec![approval.clone(), hold(HoldKind::Cap, "cap", Ender::Progress)];
        let mut view = release(&[
            ring("a", &[], RingPhase::Passed),
            ring("us", &["a"], RingPhase::Soaking),
            held,
            ring("far", &["eu"], RingPhase::Waiting),
        ]);
        // For the whole release the other branch still moves; for the ring it does not matter.
        assert!(matches!(progress("succeeded", &view), Progress::Moving { .. }));
        let Progress::Held { by } = progress("ring=far:passed", &view) else { panic!("it moves") };
        assert_eq!(by, ["eu: approval 0 of 1 (approval); ended by: end it"]);
        view.rings[1].phase = RingPhase::Passed;
        assert!(matches!(progress("succeeded", &view), Progress::Held { .. }));
        // A cap ends by itself.
        view.rings[2].holds.remove(0);
        assert!(matches!(progress("succeeded", &view), Progress::Moving { .. }));
    }

    #[test]
    fn a_soak_that_somebody_paused_is_held_and_one_without_data_is_not() {
        let mut soaking = ring("a", &[], RingPhase::Soaking);
        soaking.holds = vec![hold(HoldKind::Data, "no data", Ender::Progress)];
        let mut view = release(&[soaking]);
        assert!(matches!(progress("succeeded", &view), Progress::Moving { .. }));
        view.rings[0].holds.push(hold(HoldKind::Pause, "paused by ola", Ender::Person));
        assert!(matches!(progress("succeeded", &view), Progress::Held { by } if by.len() == 1));
        let window = hold(HoldKind::Calendar, "window opens Mon 09:00", Ender::Clock);
        view.rings[0] = RingView { holds: vec![window], ..ring("a", &[], RingPhase::Held) };
        assert!(matches!(progress("succeeded", &view), Progress::Held { .. }));
    }

    #[test]
    fn a_ring_that_waits_its_turn_moves() {
        let view = release(&[ring("a", &[], RingPhase::Waiting)]);
        assert!(matches!(progress("succeeded", &view), Progress::Moving { .. }));
    }
}
