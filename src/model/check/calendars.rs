//! Calendars under which nothing, or no whole deploy, can ever start.
//!
//! What is said must not depend on the day on which it is asked, so a calendar is judged over all the
//! time in which it could matter to anybody.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::{Note, Rule, Subject};
use crate::model::{
    calendar::{AppliesTo, Calendar, Opening},
    plan::Plan,
    ring::Ring,
    time::Span,
};

/// 2026-01-01: no release of ours is older, so what opened only before it has closed for good.
const FIRST: Timestamp = Timestamp::constant(1_767_225_600, 0);

/// 2100-01-01: nobody waits that long.
const LAST: Timestamp = Timestamp::constant(4_102_444_800, 0);

/// How many openings are looked at for one that is long enough.
const PATIENCE: usize = 1_000;

pub(super) fn notes(plan: &Plan) -> Vec<Note> {
    let mut notes = Vec::new();
    let (mut seen, mut judged) = (BTreeSet::new(), BTreeSet::new());
    for ring in &plan.rings {
        let policy = &ring.policy;
        let calendars = &policy.calendars;
        for calendar in calendars {
            if seen.insert(&calendar.name) {
                notes.extend(ever(calendar));
            }
        }
        if !judged.insert(&policy.name) || calendars.iter().any(|c| opens(c, FIRST).is_none()) {
            continue;
        }
        let starts = |c: &&Calendar| c.applies_to.contains(&AppliesTo::Start);
        let start: Vec<&Calendar> = calendars.iter().filter(starts).collect();
        let short: Vec<_> = start.iter().filter_map(|c| too_short(c, ring)).collect();
        let alone = short.is_empty();
        notes.extend(short);
        if alone && let Err(longest) = longest(&start, policy.deadline) {
            notes.push(never_together(&start, ring, longest));
        }
    }
    notes
}

/// Whether it ever opens, and goes on doing so.
fn ever(calendar: &Calendar) -> Option<Note> {
    let name = &calendar.name;
    let note = |rule, message, label: String| Note {
        rule,
        subject: Subject::Calendar(name.clone()),
        message,
        label,
        facts: Vec::new(),
        help: "correct its windows and its denials, or take it out of the policies that name it"
            .into(),
    };
    if opens(calendar, FIRST).is_none() {
        let undenied = Calendar { deny: Vec::new(), ..calendar.clone() };
        let label = match opens(&undenied, FIRST) {
            Some(_) => "its denials leave no window open",
            None => "its windows name a day that never comes",
        };
        let message = format!("calendar `{name}` never opens");
        return Some(note(Rule::Cal001, message, label.into()));
    }
    let end = calendar.deny.iter().filter(|deny| opens(calendar, deny.from).is_none());
    let end = end.min_by_key(|deny| deny.from)?;
    let message = format!("calendar `{name}` closes for good at {}", end.from);
    Some(note(Rule::Cal004, message, end.reason.clone()))
}

fn too_short(calendar: &Calendar, ring: &Ring) -> Option<Note> {
    let policy = &ring.policy;
    let longest = longest(&[calendar], policy.deadline).err()?;
    Some(Note {
        rule: Rule::Cal002,
        subject: Subject::Calendar(calendar.name.clone()),
        message: format!("calendar `{}` never opens for {}", calendar.name, policy.deadline),
        label: format!("it is open for {longest} at the most"),
        facts: vec![format!(
            "the deadline of policy `{}` is {}: a start that could outlast the window is not made",
            policy.name, policy.deadline
        )],
        help: "lengthen its windows, or shorten the deadline".into(),
    })
}

fn never_together(calendars: &[&Calendar], ring: &Ring, longest: Span) -> Note {
    let policy = &ring.policy;
    let names: Vec<_> = calendars.iter().map(|c| format!("`{}`", c.name)).collect();
    let names = names.join(", ");
    Note {
        rule: Rule::Cal003,
        subject: Subject::Ring(ring.name.clone()),
        message: format!(
            "the calendars of ring `{}` are never open together for {}",
            ring.name, policy.deadline
        ),
        label: match longest {
            Span::ZERO => "they are never open together".into(),
            longest => format!("they are open together for {longest} at the most"),
        },
        facts: vec![
            format!("policy `{}` names {names}", policy.name),
            format!(
                "its deadline is {}: a start that could outlast a window is not made",
                policy.deadline
            ),
        ],
        help: "let their windows overlap by more, or shorten the deadline".into(),
    }
}

fn opens(calendar: &Calendar, from: Timestamp) -> Option<Timestamp> {
    calendar.opens_after(from).filter(|at| *at < LAST)
}

/// Whether all are ever open together for `wanted`; the longest that they are, where they are not.
fn longest(calendars: &[&Calendar], wanted: Span) -> Result<(), Span> {
    let (mut at, mut longest) = (FIRST, SignedDuration::ZERO);
    for _ in 0..PATIENCE {
        let openings = calendars.iter().map(|calendar| opens(calendar, at));
        let Some(opening) = openings.collect::<Option<Vec<_>>>() else { break };
        let next = opening.into_iter().max().unwrap_or(at);
        if next > at {
            at = next;
            continue;
        }
        let ends = calendars.iter().filter_map(|calendar| match calendar.at(at) {
            Opening::Open { until } => until,
            Opening::Closed { .. } => Some(at),
        });
        let Some(end) = ends.min() else { return Ok(()) };
        longest = longest.max(end.duration_since(at));
        if longest >= wanted.to_signed() {
            return Ok(());
        }
        at = end;
    }
    Err(Span(u64::try_from(longest.as_millis()).unwrap_or(0)))
}
