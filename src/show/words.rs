//! The wording of every "not yet": what it is, what would end it, and when. All of it is here.

use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    decide::{
        event::Scope,
        fact::{Debt, Waiver},
        phase,
        waiting::{Full, WaitingOn, earliest::Need},
        waiver::{APPROVERS, ROLE, agreed},
        world::{Cap, DebtRun, Release, RollbackLimit, Said, Step, World},
    },
    ids::{ClusterName, PlanName, PolicyName, ReleaseId, RingName, Version},
    model::{
        graph::Join,
        plan::Plan,
        policy::Approvals,
        residency::{Demand, Disclose, Enforcement},
        time::{Now, Span},
    },
};

/// What ends a reason to wait; what somebody can do something about comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Ender {
    /// Only somebody's doing.
    Person,
    /// A window that opens, or a freeze that runs out.
    Clock,
    /// What is under way, or comes back by itself.
    Progress,
}

/// A reason to wait, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// What it is, short: `approval 1 of 2 (approver, EU)`.
    pub message: String,
    /// What would end it.
    pub ended_by: String,
    /// When that will be, where it is known.
    pub ends: Option<Timestamp>,
    /// Who or what would.
    pub ender: Ender,
}

/// Says why `release` waits on `ring`.
pub fn of(
    waiting: &WaitingOn,
    world: &World,
    release: &Release,
    ring: &RingName,
    now: Now,
) -> Words {
    let words =
        |message: String, ended_by: String, ender| Words { message, ended_by, ends: None, ender };
    let id = &release.id;
    match waiting {
        WaitingOn::Before(rings) => before(rings, world, release, ring, now),
        WaitingOn::Queue(version) => words(
            format!("behind {version}"),
            format!("{version} is done on {ring}"),
            Ender::Progress,
        ),
        WaitingOn::Pause(scope, said) => words(
            paused(scope, said),
            format!("`ringward resume {}`", arguments(scope)),
            Ender::Person,
        ),
        WaitingOn::Calendar { calendar, why, opens } => {
            let declared = release.plan.ring(ring).map(|r| r.policy.calendars.iter());
            let zone = declared.and_then(|mut all| all.find(|c| c.name == *calendar));
            let zone = zone.map_or("UTC", |c| c.time_zone.as_str());
            match opens {
                Some(opens) => Words {
                    message: format!("window opens {}", local(*opens, zone, now)),
                    ended_by: format!("calendar {calendar} opens by itself; until then {why}"),
                    ends: Some(*opens),
                    ender: Ender::Clock,
                },
                None => words(
                    format!("calendar {calendar} never opens: {why}"),
                    format!("a change of calendar {calendar} in Git, for a new release"),
                    Ender::Person,
                ),
            }
        }
        WaitingOn::Freeze { id, until, said } => {
            let message = format!("frozen {}", by(said));
            let lift = format!("`ringward freeze lift {id}`");
            match until {
                None => words(message, lift, Ender::Person),
                Some(until) => Words {
                    message: format!("{message}, until {}", utc(*until, now)),
                    ended_by: format!("it runs out by itself, or {lift}"),
                    ends: Some(*until),
                    ender: Ender::Clock,
                },
            }
        }
        WaitingOn::Approval { by, needed } => {
            let missing = (needed.count as usize).saturating_sub(by.len());
            words(
                format!("approval {} of {}{}", by.len(), needed.count, from(needed)),
                format!(
                    "{missing} more by {}: `ringward approve {id} --ring {ring}`",
                    approver(needed)
                ),
                Ender::Person,
            )
        }
        WaitingOn::Advance(older) => words(
            format!("an operator decides whether it goes before {older}"),
            format!("`ringward advance {id} --ring {ring}`, or {older} is done on {ring}"),
            Ender::Person,
        ),
        WaitingOn::Cap(full) => {
            let (message, ended_by) = cap(full);
            words(message, ended_by, Ender::Progress)
        }
        WaitingOn::Pair { cluster, partner, plan } => words(
            format!("{partner}, the failover partner of {cluster}, is in motion for {plan}"),
            format!("the ring of {plan} with {partner} is done"),
            Ender::Progress,
        ),
        WaitingOn::Residency { rule, policy, enforcement, at, fact } => {
            let git = "a change in Git, for a new release";
            let at = at.as_ref().unwrap_or(ring);
            let how = match enforcement {
                Enforcement::Hard => format!("{git}; nobody can override the rule"),
                Enforcement::Waivable => {
                    format!(
                        "{git}, or {}",
                        waiver((rule, policy.as_ref()), world, release, at, now)
                    )
                }
            };
            words(format!("residency rule {rule}: {fact}"), how, Ender::Person)
        }
        WaitingOn::Skew { ring: behind, limit } => words(
            format!("{behind} would be more than {} behind", versions(*limit)),
            format!("{behind} takes a version that it has still to take"),
            Ender::Progress,
        ),
        WaitingOn::Prerequisite(version) => prerequisite(version, world, release),
        WaitingOn::Policy(problems, first) => words(
            format!("the plan's declarations are in error ({problems}): {first}"),
            "a commit that corrects them; `ringward check` names them all".into(),
            Ender::Person,
        ),
        WaitingOn::Data { cluster, gate, verdict, detail } => {
            let detail = match withheld(&release.plan, cluster) {
                true => String::new(),
                false => format!(", {detail}"),
            };
            words(
                format!("{gate} on {cluster} is {verdict}{detail}"),
                format!("a usable measurement of {gate} on {cluster}"),
                Ender::Progress,
            )
        }
        WaitingOn::Samples { gate, have, need } => words(
            format!("{gate} has {have} of {need} samples"),
            "more traffic; every measurement adds its samples".into(),
            Ender::Progress,
        ),
        WaitingOn::Target(cluster, why) => words(
            format!("{cluster}: {why}"),
            format!("{cluster} is seen healthy at the release"),
            Ender::Progress,
        ),
        WaitingOn::Promotion(cluster, pause) => words(
            format!("{cluster}: its controller waits for a word at {}", pause.at),
            format!("`ringward advance {id} --ring {ring}`, or a promotion in the cluster"),
            Ender::Person,
        ),
        WaitingOn::Watch { ring: before, cluster, gate, verdict } => {
            let says = verdict.map_or_else(
                || "was not measured since ringward started".into(),
                |verdict| format!("is {verdict}"),
            );
            words(
                format!("{before} is watched still, and {gate} on {cluster} {says}"),
                format!("{gate} passes on {cluster}, or the watch over {before} ends"),
                Ender::Progress,
            )
        }
        WaitingOn::Turn(first) => words(
            format!("behind {first}, which goes back first"),
            format!("{first} is back, or stuck"),
            Ender::Progress,
        ),
        WaitingOn::Decision(failed) => decision(failed, release),
        WaitingOn::Rollbacks(limit, ahead) => rollbacks(*limit, *ahead, world, release, ring, now),
    }
}

/// What is missing for a waiver of a rule for a release on a ring.
fn waiver(
    (rule, policy): (&str, Option<&PolicyName>),
    world: &World,
    release: &Release,
    ring: &RingName,
    now: Now,
) -> String {
    let id = &release.id;
    let waivers = world.plans.get(&id.plan).into_iter().flat_map(|plan| &plan.waivers);
    let mut pending = waivers.filter(|(_, run)| {
        let asked = (run.waiver.rule.as_str(), run.waiver.policy.as_ref());
        asked == (rule, policy) && run.covers(&id.version, ring) && !run.is_over(now)
    });
    if let Some((waiver, run)) = pending.next() {
        let missing = APPROVERS.saturating_sub(agreed(run, Some(release.into())).len());
        return format!("{missing} more by {ROLE}s: `ringward waive approve {waiver}`");
    }
    format!(
        "a waiver that {APPROVERS} {ROLE}s agree to: `ringward waive {id} --ring {ring} --rule \
         {rule} --for 24h --reason ...`"
    )
}

/// A waiver's scope as people read it.
pub fn waived(plan: &PlanName, waiver: &Waiver) -> String {
    let what = waiver.release.as_ref().map_or_else(
        || format!("plan {plan}"),
        |version| ReleaseId::new(plan.clone(), version.clone()).to_string(),
    );
    waiver.ring.as_ref().map_or_else(|| what.clone(), |ring| format!("{what} on {ring}"))
}

/// What somebody has to bring about before a release can go on.
pub fn need(need: &Need, world: &World, release: &Release, now: Now) -> String {
    match need {
        Need::Attempt(ring) => format!("a new attempt on {ring}"),
        Need::Hold(ring, waiting) => {
            let what = of(waiting, world, release, ring, now).message;
            match waiting {
                // They say themselves what they cover.
                WaitingOn::Pause(..) | WaitingOn::Freeze { .. } | WaitingOn::Policy(..) => {
                    format!("an end of: {what}")
                }
                WaitingOn::Approval { by, needed } => {
                    let missing = (needed.count as usize).saturating_sub(by.len());
                    let s = if missing == 1 { "" } else { "s" };
                    format!("{missing} more approval{s} on {ring}{}", from(needed))
                }
                WaitingOn::Advance(_)
                | WaitingOn::Decision(_)
                | WaitingOn::Residency { .. }
                | WaitingOn::Prerequisite(_)
                | WaitingOn::Before(_)
                | WaitingOn::Queue(_)
                | WaitingOn::Calendar { .. }
                | WaitingOn::Cap { .. }
                | WaitingOn::Pair { .. }
                | WaitingOn::Skew { .. }
                | WaitingOn::Data { .. }
                | WaitingOn::Samples { .. }
                | WaitingOn::Target(..)
                | WaitingOn::Promotion(..)
                | WaitingOn::Watch { .. }
                | WaitingOn::Turn(_)
                | WaitingOn::Rollbacks(..) => format!("an end on {ring} of: {what}"),
            }
        }
    }
}

/// What a release owes on a ring, and what would settle it.
pub fn debt(debt: &Debt, owed: &DebtRun, release: &Release, ring: &RingName) -> (String, String) {
    let write_off = format!("`ringward write-off {} --ring {ring}`", release.id);
    match debt {
        Debt::Gate(gate) => {
            let normal = release.hotfix.as_ref().and_then(|lane| lane.normal.ring(ring));
            let asked = normal.map(|ring| ring.policy.soak.duration).unwrap_or_default();
            let clusters = release.ring(ring).into_iter().flat_map(|run| &run.clusters);
            let ready = clusters.filter(|(_, here)| here.step == Step::Ready);
            let seen =
                ready.map(|(cluster, _)| owed.seen.get(cluster).copied().unwrap_or_default());
            let least = seen.map(|seen| seen.credited).min().unwrap_or_default().min(asked);
            let (least, asked) = (whole_seconds(least), whole_seconds(asked));
            (
                format!("gate {gate} held nothing, and passed for {least} of {asked}"),
                format!("{gate} passes for {asked} without a break, or {write_off}"),
            )
        }
        Debt::Ahead(of) => (format!("ran ahead of {of}"), format!("{of} passes, or {write_off}")),
    }
}

/// Nobody reads milliseconds of a soak.
fn whole_seconds(span: Span) -> Span {
    Span::seconds(span.0 / 1_000)
}

/// Stands where figures would that a residency rule keeps in their jurisdiction.
pub const WITHHELD: &str = "its figures stay in their jurisdiction";

/// Whether a residency rule keeps a cluster's figures where they were measured, so that nothing but
/// the verdict may be shown (invariant 6).
pub fn withheld(plan: &Plan, cluster: &ClusterName) -> bool {
    let Some(cluster) = plan.cluster(cluster) else { return false };
    plan.residency.iter().any(|rule| match &rule.demand {
        Demand::EvidenceWithin { jurisdiction, disclose } => {
            *disclose == Disclose::Verdict && jurisdiction.contains(&cluster.jurisdiction)
        }
        Demand::ClassWithin { .. }
        | Demand::TargetsWithin { .. }
        | Demand::TargetsOutside { .. }
        | Demand::Homogeneous { .. }
        | Demand::NotFirstIn { .. }
        | Demand::Independent { .. }
        | Demand::MaxInFlight { .. }
        | Demand::PairExclusive
        | Demand::PullWithin { .. }
        | Demand::ApproverWithin { .. }
        | Demand::StateWithin { .. } => false,
    })
}

/// A pause as people read it.
pub fn paused(scope: &Scope, said: &Said) -> String {
    format!("{} paused {}", covered(scope), by(said))
}

/// A scope as people read it.
pub fn covered(scope: &Scope) -> String {
    match scope {
        Scope::Everything => "everything".into(),
        Scope::Jurisdiction(place) => format!("everything in {place}"),
        Scope::Plan(plan) => format!("plan {plan}"),
        Scope::Ring(plan, ring) => format!("ring {ring} of {plan}"),
        Scope::Release(id) => id.to_string(),
        Scope::ReleaseRing(id, ring) => format!("{id} on {ring}"),
    }
}

/// An instant in UTC: the time alone where it is the same day.
pub fn utc(instant: Timestamp, now: Now) -> String {
    let (then, today) = (instant.to_zoned(TimeZone::UTC), now.wall.to_zoned(TimeZone::UTC));
    let format = if then.date() == today.date() { "%H:%MZ" } else { "%Y-%m-%d %H:%MZ" };
    then.strftime(format).to_string()
}

/// An instant in a calendar's own zone: the day of the week where that says enough.
fn local(instant: Timestamp, zone: &str, now: Now) -> String {
    // A zone that is not known here was refused when the calendar was declared.
    let (zone, name) = match TimeZone::get(zone) {
        Ok(found) => (found, zone),
        Err(_) => (TimeZone::UTC, "UTC"),
    };
    let soon = instant.duration_since(now.wall) < jiff::SignedDuration::from_hours(6 * 24);
    let format = if soon { "%a %H:%M" } else { "%Y-%m-%d %H:%M" };
    format!("{} {name}", instant.to_zoned(zone).strftime(format))
}

fn prerequisite(version: &Version, world: &World, release: &Release) -> Words {
    let plan = &release.id.plan;
    let known = world.plans.get(plan).and_then(|state| state.releases.get(version));
    let message = format!("requires {version} on every ring");
    let (ended_by, ender) = match known.map(|required| (required, phase::is_settled(required))) {
        None => (
            format!(
                "{version} is released and passes on every ring, or `ringward abort {}`",
                release.id
            ),
            Ender::Person,
        ),
        Some((required, true)) => (
            format!(
                "`ringward retry {}` and {version} passes on every ring, or `ringward abort {}`",
                required.id, release.id
            ),
            Ender::Person,
        ),
        Some((_, false)) => (format!("{version} passes on every ring"), Ender::Progress),
    };
    Words { message, ended_by, ends: None, ender }
}

fn before(
    rings: &[RingName],
    world: &World,
    release: &Release,
    ring: &RingName,
    now: Now,
) -> Words {
    let mut ender = Ender::Progress;
    let names: Vec<String> = rings
        .iter()
        .map(|before| {
            use phase::RingPhase::*;
            let phase = phase::of_ring(world, release, before, now);
            match phase {
                Failed | RollingBack | RolledBack | Aborted | Superseded => {
                    ender = Ender::Person;
                    format!("{before}, which is {phase}")
                }
                Waiting | Held | Deploying | Soaking | Passed => before.to_string(),
            }
        })
        .collect();
    let (any, each) = match release.plan.graph.after(ring).join {
        Join::Any if names.len() > 1 => ("any of ", "one of them passes"),
        Join::All | Join::Any if names.len() > 1 => ("", "all of them pass"),
        Join::All | Join::Any => ("", "it passes"),
    };
    let separator = if names.iter().any(|name| name.contains(',')) { "; " } else { ", " };
    let message = format!("after {any}{}", names.join(separator));
    Words { message, ended_by: each.into(), ends: None, ender }
}

fn decision(failed: &RingName, release: &Release) -> Words {
    let id = &release.id;
    let went = release.ring(failed).is_some_and(|run| run.back.is_some());
    let message = match went {
        true => format!("{failed} failed, and what goes back with it would be this ring too"),
        false => format!("{failed} failed, and {id} is irreversible: nothing goes back by itself"),
    };
    let retry = format!("`ringward retry {id} --ring {failed}`");
    let ended_by = match went {
        true => format!("{retry}, or a new release"),
        false => format!(
            "{retry}, `ringward rollback {id} --ring {failed} --reason ...`, or a new release"
        ),
    };
    Words { message, ended_by, ends: None, ender: Ender::Person }
}

/// The most rings that are named.
const NAMED: usize = 3;

fn cap(Full { cap, limit, moving, ahead }: &Full) -> (String, String) {
    let (where_, whose) = match cap {
        Cap::Everywhere => (String::new(), "the cap of the server's settings"),
        Cap::Region(region) => (format!(" in {region}"), "the cap of the server's settings"),
        Cap::Jurisdiction(name) => (format!(" in {name}"), "the cap of the server's settings"),
        Cap::Rule(name) => (format!(" in {name}"), "the cap"),
    };
    let free = (*limit as usize).saturating_sub(moving.len());
    let message = match (free, ahead) {
        (0, 0) => format!("{} in motion{where_}, which is {whose}", rings(*limit)),
        (0, ahead) => {
            let (rings, waiting) = (rings(*limit), waiting(*ahead));
            format!("{rings} in motion{where_}, which is {whose}, and {waiting} before it")
        }
        (_, ahead) => format!(
            "of {} in motion{where_}, {whose}, those left are kept for what waits longer: {} before it",
            at_most(*limit),
            waiting(*ahead)
        ),
    };
    let named = moving.iter().take(NAMED).map(|(plan, ring)| format!("{ring} of {plan}"));
    let named = named.collect::<Vec<_>>().join(", ");
    let ended_by = match (moving.len(), free) {
        (0, _) => "what waits longer has started and is done".into(),
        (1, _) => format!("{named} is done"),
        (n, _) if n > NAMED => format!("one of {named} and {} more is done", n - NAMED),
        (_, _) => format!("one of {named} is done"),
    };
    (message, ended_by)
}

fn waiting(n: usize) -> String {
    if n == 1 { "1 waits".into() } else { format!("{n} wait") }
}

fn at_most(n: u32) -> String {
    if n == 1 { "1 ring that may be".into() } else { format!("{n} rings that may be") }
}

fn rollbacks(
    limit: RollbackLimit,
    ahead: usize,
    world: &World,
    release: &Release,
    ring: &RingName,
    now: Now,
) -> Words {
    let by_hand = format!("`ringward rollback {} --ring {ring}` by somebody", release.id);
    let ahead = match ahead {
        0 => String::new(),
        1 => ", and 1 waits before it".into(),
        n => format!(", and {n} wait before it"),
    };
    match limit {
        RollbackLimit::AtOnce(limit) => {
            let under_way = &world.shared.rollbacks.under_way;
            let named = under_way.iter().take(NAMED).map(|(id, ring)| format!("{id} on {ring}"));
            let named = named.collect::<Vec<_>>().join(", ");
            let more = match under_way.len().saturating_sub(NAMED) {
                0 => String::new(),
                n => format!(" and {n} more"),
            };
            let going = if under_way.len() == 1 { "goes" } else { "go" };
            Words {
                message: format!("{named}{more} {going} back, of {limit} at once{ahead}"),
                ended_by: format!("one of them is over; or {by_hand}"),
                ends: None,
                ender: Ender::Progress,
            }
        }
        RollbackLimit::PerHour { limit, free } => {
            let ends =
                free.and_then(|at| now.wall.checked_add(at.since(now.mono).to_signed()).ok());
            let when = ends.map_or_else(|| "later".into(), |at| format!("at {}", utc(at, now)));
            let began = if limit == 1 { "1 rollback".into() } else { format!("{limit} rollbacks") };
            Words {
                message: format!("{began} began within an hour, which is the cap{ahead}"),
                ended_by: format!("the rate allows it {when}; or {by_hand}"),
                ends,
                ender: Ender::Clock,
            }
        }
    }
}

fn by(said: &Said) -> String {
    match &said.reason {
        Some(reason) => format!("by {}: {reason}", said.by.name),
        None => format!("by {}", said.by.name),
    }
}

/// What a command line takes to name the scope.
fn arguments(scope: &Scope) -> String {
    match scope {
        Scope::Everything => "--everything".into(),
        Scope::Jurisdiction(place) => format!("--jurisdiction {place}"),
        Scope::Plan(plan) => plan.to_string(),
        Scope::Ring(plan, ring) => format!("{plan} --ring {ring}"),
        Scope::Release(id) => id.to_string(),
        Scope::ReleaseRing(id, ring) => format!("{id} --ring {ring}"),
    }
}

/// ` (approver, EU)`.
fn from(needed: &Approvals) -> String {
    let place = needed.jurisdiction.iter().map(|territory| territory.name.to_string());
    let all: Vec<String> = needed.roles.iter().cloned().chain(place).collect();
    if all.is_empty() { String::new() } else { format!(" ({})", all.join(", ")) }
}

fn approver(needed: &Approvals) -> String {
    let mut who = match needed.roles.as_slice() {
        [] => "somebody".to_owned(),
        roles => format!("somebody with role {}", roles.join(" or ")),
    };
    if let Some(territory) = &needed.jurisdiction {
        who.push_str(&format!(" from {}", territory.name));
    }
    if needed.exclude_author {
        who.push_str(", not its author");
    }
    who
}

fn rings(n: u32) -> String {
    if n == 1 { "1 ring is".into() } else { format!("{n} rings are") }
}

fn versions(n: u32) -> String {
    if n == 1 { "1 version".into() } else { format!("{n} versions") }
}
