//! A change of policy, weighed: field by field, whether a later plan is tighter, looser or other than a
//! former, and the tightest of both.
//!
//! Tighter means that nothing goes forward, or stays out, that would not have under the former: what it
//! lets through is less. Where that hangs on more than the field alone it is [`Way::Other`], which no
//! release in motion takes: a shorter deadline fails a deploy sooner, and also lets one start later in
//! a window; a shorter interval measures more often, over fewer samples each time.

mod gates;
mod residency;
#[cfg(test)]
mod tests;

use std::fmt::Display;

use super::{
    calendar::{AppliesTo, Calendar, Deny, InFlight, Window},
    graph::{After, Join},
    lane::{Hotfix, Shortened},
    plan::Plan,
    policy::{Approvals, OnBreach, Policy, Rollback, RollbackScope, Soak},
    residency::{Rule, Territory},
    ring::Ring,
};
use crate::ids::RingName;

/// Which way a change goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// It lets less through.
    Tighter,
    /// It lets more through.
    Looser,
    /// Neither can be said of it.
    Other,
}

impl Way {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Way::Tighter => "tighter",
            Way::Looser => "looser",
            Way::Other => "other",
        }
    }
}

/// One thing that a later plan says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The ring; nothing for what concerns the whole plan.
    pub ring: Option<RingName>,
    /// As it is declared: `soak.duration`, `gates.latency.threshold.max`.
    pub field: String,
    /// What it was; nothing where it was not there.
    pub was: Option<String>,
    /// What it is; nothing where it is there no more.
    pub is: Option<String>,
    /// Which way it goes.
    pub way: Way,
}

impl Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(ring) = &self.ring {
            write!(f, "{ring}: ")?;
        }
        let missing = || "none".to_owned();
        let (was, is) = (self.was.clone(), self.is.clone());
        write!(
            f,
            "{} {} -> {}",
            self.field,
            was.unwrap_or_else(missing),
            is.unwrap_or_else(missing)
        )
    }
}

/// Everything that `later` says otherwise than `former`: of the plan first, then ring by ring.
pub fn differences(former: &Plan, later: &Plan) -> Vec<Difference> {
    let mut weigher = Weigher::default();
    whole(&mut weigher, former, later);
    for ring in &former.rings {
        weigher.ring = Some(ring.name.clone());
        match later.ring(&ring.name) {
            Some(now) => {
                _ = policy(&mut weigher, &ring.policy, &now.policy, ring.clusters.len());
                place(&mut weigher, ring, now);
            }
            None => weigher.removed("ring", Way::Other, &ring.name),
        }
    }
    for ring in later.rings.iter().filter(|ring| former.ring(&ring.name).is_none()) {
        weigher.ring = Some(ring.name.clone());
        weigher.added("ring", Way::Other, &ring.name);
    }
    weigher.found
}

/// `former` with all that is tighter in `later`: the rules of the whole plan, and the policies of the
/// rings that `takes` names. Its rings, their order and their clusters stay as they were. Nothing where
/// nothing is tighter.
pub fn tightest(former: &Plan, later: &Plan, takes: impl Fn(&RingName) -> bool) -> Option<Plan> {
    let mut weigher = Weigher::default();
    let mut plan = former.clone();
    (plan.max_skew, plan.residency) = whole(&mut weigher, former, later);
    for ring in plan.rings.iter_mut().filter(|ring| takes(&ring.name)) {
        if let Some(now) = later.ring(&ring.name) {
            let many = ring.clusters.len();
            ring.policy = policy(&mut weigher, &ring.policy, &now.policy, many).into();
        }
    }
    (plan != *former).then(|| {
        plan.commit = later.commit.clone();
        plan.hash = plan.fingerprint();
        plan
    })
}

/// Notes what differs, and keeps the tighter.
#[derive(Debug, Default)]
struct Weigher {
    ring: Option<RingName>,
    found: Vec<Difference>,
}

impl Weigher {
    fn note(&mut self, field: &str, was: Option<String>, is: Option<String>, way: Way) {
        let (ring, field) = (self.ring.clone(), field.to_owned());
        self.found.push(Difference { ring, field, was, is, way });
    }

    fn added(&mut self, field: &str, way: Way, what: impl Display) {
        self.note(field, None, Some(what.to_string()), way);
    }

    fn removed(&mut self, field: &str, way: Way, what: impl Display) {
        self.note(field, Some(what.to_string()), None, way);
    }

    /// The tighter of two values, as `way` has it; the former where that is none of them.
    fn weigh<T: Clone + PartialEq>(
        &mut self,
        field: &str,
        (was, is): (&T, &T),
        say: impl Fn(&T) -> Option<String>,
        way: Way,
    ) -> T {
        if was == is {
            return was.clone();
        }
        self.note(field, say(was), say(is), way);
        match way {
            Way::Tighter => is.clone(),
            Way::Looser | Way::Other => was.clone(),
        }
    }

    /// More of it is tighter.
    fn more<T: Clone + PartialOrd + Display>(&mut self, field: &str, was: &T, is: &T) -> T {
        let way = if is > was { Way::Tighter } else { Way::Looser };
        self.weigh(field, (was, is), said, way)
    }

    /// Less of it is tighter.
    fn less<T: Clone + PartialOrd + Display>(&mut self, field: &str, was: &T, is: &T) -> T {
        let way = if is < was { Way::Tighter } else { Way::Looser };
        self.weigh(field, (was, is), said, way)
    }

    /// To say anything at all is tighter than not to, and more of it is tighter.
    fn least<T: Clone + PartialOrd + Display>(
        &mut self,
        field: &str,
        was: &Option<T>,
        is: &Option<T>,
    ) -> Option<T> {
        // Nothing is less than anything.
        let way = if is > was { Way::Tighter } else { Way::Looser };
        self.weigh(field, (was, is), maybe, way)
    }

    /// To say anything at all is tighter than not to, and less of it is tighter.
    fn most<T: Clone + PartialOrd + Display>(
        &mut self,
        field: &str,
        was: &Option<T>,
        is: &Option<T>,
    ) -> Option<T> {
        let way = match (was, is) {
            (None, Some(_)) => Way::Tighter,
            (Some(was), Some(is)) if is < was => Way::Tighter,
            (Some(_) | None, Some(_) | None) => Way::Looser,
        };
        self.weigh(field, (was, is), maybe, way)
    }

    /// One of the two values of a switch is tighter.
    fn switch(&mut self, field: &str, was: bool, is: bool, tighter: bool) -> bool {
        let way = if is == tighter { Way::Tighter } else { Way::Looser };
        self.weigh(field, (&was, &is), said, way)
    }

    /// Neither is tighter.
    fn other<T: Clone + PartialEq>(
        &mut self,
        field: &str,
        was: &T,
        is: &T,
        say: impl Fn(&T) -> Option<String>,
    ) -> T {
        self.weigh(field, (was, is), say, Way::Other)
    }
}

fn said<T: Display>(value: &T) -> Option<String> {
    Some(value.to_string())
}

fn maybe<T: Display>(value: &Option<T>) -> Option<String> {
    value.as_ref().map(ToString::to_string)
}

/// Several things in their order; nothing where there are none.
fn listed<T: Display>(all: &[T]) -> Option<String> {
    let all: Vec<_> = all.iter().map(ToString::to_string).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

/// A value as it is declared, where nothing better is known of it.
fn raw<T: serde::Serialize>(value: &T) -> Option<String> {
    let value = serde_json::to_value(value).ok().filter(|value| !value.is_null())?;
    Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

type OfPlan = (Option<u32>, Vec<Rule>);

fn whole(weigher: &mut Weigher, was: &Plan, is: &Plan) -> OfPlan {
    let Plan {
        // What it is called, what it comes to and where it comes from are no policy.
        name: _,
        hash: _,
        commit: _,
        target,
        data_classes,
        on_newer,
        on_policy_change,
        max_skew,
        lanes,
        // The rings and their order are compared ring by ring.
        graph: _,
        rings: _,
        residency: rules,
    } = was;
    weigher.other("target", target, &is.target, raw);
    weigher.other("dataClasses", data_classes, &is.data_classes, |all| listed(all));
    weigher.other("onNewer", on_newer, &is.on_newer, raw);
    weigher.other("onPolicyChange", on_policy_change, &is.on_policy_change, raw);
    hotfix(weigher, lanes.hotfix.as_ref(), is.lanes.hotfix.as_ref());
    let max_skew = weigher.most("maxSkew", max_skew, &is.max_skew);
    for name in was.graph.order().iter().filter(|name| is.ring(name).is_some()) {
        weigher.ring = Some(name.clone());
        let (before, after) = (was.graph.after(name), is.graph.after(name));
        let say = |after: &After| {
            let any = if after.join == Join::Any && after.rings.len() > 1 { "any of " } else { "" };
            Some(format!("{any}{}", listed(&after.rings)?))
        };
        weigher.other("after", before, after, say);
    }
    weigher.ring = None;
    (max_skew, residency::rules(weigher, rules, &is.residency))
}

/// The hotfix lane is a looser way on purpose, and no release changes lanes.
fn hotfix(weigher: &mut Weigher, was: Option<&Hotfix>, is: Option<&Hotfix>) {
    let (Some(was), Some(is)) = (was, is) else {
        if let Some(is) = is {
            weigher.added("lanes.hotfix", Way::Other, shortened(&is.soak));
        } else if let Some(was) = was {
            weigher.removed("lanes.hotfix", Way::Other, shortened(&was.soak));
        }
        return;
    };
    let Hotfix { soak, may_not_skip, defer_gates, approvals, time_to_live } = was;
    let say = |soak: &Shortened| Some(shortened(soak));
    weigher.other("lanes.hotfix.soak", soak, &is.soak, say);
    let skip = &is.may_not_skip;
    weigher.other("lanes.hotfix.mayNotSkip", may_not_skip, skip, |all| listed(all));
    let defer = &is.defer_gates;
    weigher.other("lanes.hotfix.deferGates", defer_gates, defer, |all| listed(all));
    weigher.other("lanes.hotfix.approvals", approvals, &is.approvals, raw);
    weigher.other("lanes.hotfix.timeToLive", time_to_live, &is.time_to_live, said);
}

/// `25% of each soak, 10m at the least`
fn shortened(soak: &Shortened) -> String {
    format!("{}% of each soak, {} at the least", soak.share * 100.0, soak.floor)
}

/// Which clusters a ring has is no policy: a release keeps those that it was planned with.
fn place(weigher: &mut Weigher, was: &Ring, is: &Ring) {
    for cluster in &is.clusters {
        match was.cluster(&cluster.name) {
            Some(before) if before != cluster => {
                let facts = format!("the facts of {}", cluster.name);
                weigher.note("clusters", Some(facts.clone()), Some(facts), Way::Other);
            }
            Some(_) => {}
            None => weigher.added("clusters", Way::Other, &cluster.name),
        }
    }
    for cluster in was.clusters.iter().filter(|cluster| is.cluster(&cluster.name).is_none()) {
        weigher.removed("clusters", Way::Other, &cluster.name);
    }
}

fn policy(weigher: &mut Weigher, was: &Policy, is: &Policy, size: usize) -> Policy {
    let Policy {
        name,
        soak: Soak { duration, on_breach, backfill },
        deadline,
        concurrency,
        failure_budget,
        gates,
        rollback: Rollback { automatic, scope, concurrency: back_at_once },
        approvals,
        calendars,
        min_dwell,
        after_watch,
    } = was;
    let (at_once, now_at_once) = (concurrency.of(size), is.concurrency.of(size));
    let fewer = weigher.less("concurrency", &at_once, &now_at_once) != at_once;
    let stern = |on_breach: &OnBreach| match on_breach {
        OnBreach::Freeze => 0,
        OnBreach::Reset => 1,
        OnBreach::Fail => 2,
    };
    let sterner =
        if stern(&is.soak.on_breach) > stern(on_breach) { Way::Tighter } else { Way::Looser };
    let wider = match (*scope, is.rollback.scope) {
        (RollbackScope::Ring, _) | (_, RollbackScope::Exposed) => Way::Tighter,
        (_, RollbackScope::Ring) | (RollbackScope::Exposed, _) => Way::Looser,
        // One names rings that the other does not.
        (
            RollbackScope::Descendants | RollbackScope::Jurisdiction,
            RollbackScope::Descendants | RollbackScope::Jurisdiction,
        ) => Way::Other,
    };
    Policy {
        // The name goes along with nothing that is judged.
        name: name.clone(),
        soak: Soak {
            duration: weigher.more("soak.duration", duration, &is.soak.duration),
            on_breach: weigher.weigh(
                "soak.onBreach",
                (on_breach, &is.soak.on_breach),
                raw,
                sterner,
            ),
            backfill: weigher.switch("backfill", *backfill, is.soak.backfill, false),
        },
        deadline: weigher.other("deadline", deadline, &is.deadline, said),
        concurrency: if fewer { is.concurrency } else { *concurrency },
        failure_budget: weigher.less("failureBudget", failure_budget, &is.failure_budget),
        gates: gates::gates(weigher, gates, &is.gates),
        rollback: Rollback {
            automatic: weigher.switch(
                "rollback.automatic",
                *automatic,
                is.rollback.automatic,
                true,
            ),
            scope: weigher.weigh("rollback.scope", (scope, &is.rollback.scope), raw, wider),
            concurrency: weigher.other(
                "rollback.concurrency",
                back_at_once,
                &is.rollback.concurrency,
                raw,
            ),
        },
        approvals: approval(weigher, approvals.as_ref(), is.approvals.as_ref()),
        calendars: all_calendars(weigher, calendars, &is.calendars),
        min_dwell: weigher.more("minDwell", min_dwell, &is.min_dwell),
        after_watch: weigher.more("afterWatch", after_watch, &is.after_watch),
    }
}

fn approval(
    weigher: &mut Weigher,
    was: Option<&Approvals>,
    is: Option<&Approvals>,
) -> Option<Approvals> {
    let (Some(was), Some(is)) = (was, is) else {
        if let Some(is) = is {
            weigher.added("approvals", Way::Tighter, is.count);
        } else if let Some(was) = was {
            weigher.removed("approvals", Way::Looser, was.count);
        }
        return was.or(is).cloned();
    };
    let Approvals { count, roles, jurisdiction, exclude_author, expires } = was;
    // No role asked for is any role.
    let within = |all: &[String], few: &[String]| {
        all.is_empty() || (!few.is_empty() && few.iter().all(|role| all.contains(role)))
    };
    let who = either(within(roles, &is.roles), within(&is.roles, roles));
    let place = match (jurisdiction, &is.jurisdiction) {
        (None, Some(_)) => Way::Tighter,
        (Some(_), None) => Way::Looser,
        (Some(was), Some(is)) => narrower(was, is),
        (None, None) => Way::Other,
    };
    let named = |territory: &Option<Territory>| {
        territory.as_ref().map(|territory| territory.name.to_string())
    };
    Some(Approvals {
        count: weigher.more("approvals.count", count, &is.count),
        roles: weigher.weigh("approvals.roles", (roles, &is.roles), |all| listed(all), who),
        jurisdiction: weigher.weigh(
            "approvals.jurisdiction",
            (jurisdiction, &is.jurisdiction),
            named,
            place,
        ),
        exclude_author: weigher.switch(
            "approvals.excludeAuthor",
            *exclude_author,
            is.exclude_author,
            true,
        ),
        expires: weigher.most("approvals.expires", expires, &is.expires),
    })
}

/// Which way a territory goes that something must lie in.
fn narrower(was: &Territory, is: &Territory) -> Way {
    either(is.members.is_subset(&was.members), was.members.is_subset(&is.members))
}

fn all_calendars(weigher: &mut Weigher, was: &[Calendar], is: &[Calendar]) -> Vec<Calendar> {
    let mut kept = Vec::new();
    for calendar in was {
        kept.push(match is.iter().find(|now| now.name == calendar.name) {
            Some(now) => one_calendar(weigher, calendar, now),
            None => {
                weigher.removed("calendars", Way::Looser, &calendar.name);
                calendar.clone()
            }
        });
    }
    for calendar in is.iter().filter(|now| !was.iter().any(|was| was.name == now.name)) {
        // One that holds the way back as well lets something stay out.
        let way = match calendar.applies_to.contains(&AppliesTo::Rollback) {
            true => Way::Other,
            false => Way::Tighter,
        };
        weigher.added("calendars", way, &calendar.name);
        kept.extend((way == Way::Tighter).then(|| calendar.clone()));
    }
    kept
}

fn one_calendar(weigher: &mut Weigher, was: &Calendar, is: &Calendar) -> Calendar {
    let Calendar { name, time_zone, allow, deny, applies_to, in_flight } = was;
    let at = |field: &str| format!("calendars.{name}.{field}");
    let strict = |in_flight: &InFlight| match in_flight {
        InFlight::FinishRing => 0,
        InFlight::FinishCluster => 1,
        InFlight::Halt => 2,
    };
    let back = |all: &[AppliesTo]| all.contains(&AppliesTo::Rollback);
    let held = match back(applies_to) == back(&is.applies_to) {
        true => either(
            applies_to.iter().all(|what| is.applies_to.contains(what)),
            is.applies_to.iter().all(|what| applies_to.contains(what)),
        ),
        false => Way::Other,
    };
    // Windows are local times: in another zone the same ones are others.
    let mut windows = (time_zone.clone(), allow.clone());
    if was.allow != is.allow || was.time_zone != is.time_zone {
        let now = (is.time_zone.clone(), is.allow.clone());
        let way = either(opens_within(is, was), opens_within(was, is));
        let say = |(zone, allow): &(String, Vec<Window>)| {
            let open: Vec<_> =
                allow.iter().map(|w| format!("{} for {}", w.cron, w.duration)).collect();
            Some(format!("{} ({zone})", listed(&open).unwrap_or_else(|| "always".into())))
        };
        windows = weigher.weigh(&at("allow"), (&windows, &now), say, way);
    }
    let denied = either(denies_all(&is.deny, deny), denies_all(deny, &is.deny));
    let freezes = |all: &Vec<Deny>| {
        let all: Vec<_> =
            all.iter().map(|d| format!("{} to {} ({})", d.from, d.to, d.reason)).collect();
        listed(&all)
    };
    Calendar {
        name: name.clone(),
        time_zone: windows.0,
        allow: windows.1,
        deny: weigher.weigh(&at("deny"), (deny, &is.deny), freezes, denied),
        applies_to: weigher.weigh(&at("appliesTo"), (applies_to, &is.applies_to), raw, held),
        in_flight: weigher.weigh(
            &at("inFlight"),
            (in_flight, &is.in_flight),
            raw,
            if strict(&is.in_flight) > strict(in_flight) { Way::Tighter } else { Way::Looser },
        ),
    }
}

/// Which way it goes, where it is known whether the one implies the other.
fn either(tighter: bool, looser: bool) -> Way {
    match (tighter, looser) {
        (true, false) => Way::Tighter,
        (false, true) => Way::Looser,
        (true, true) | (false, false) => Way::Other,
    }
}

/// Whether each of the windows of `few` lies in one of `many`'s, as far as their text tells.
fn opens_within(few: &Calendar, many: &Calendar) -> bool {
    let inside = |window: &Window| {
        many.allow
            .iter()
            .any(|known| known.cron == window.cron && known.duration >= window.duration)
    };
    let same_zone = few.time_zone == many.time_zone;
    many.allow.is_empty() || (!few.allow.is_empty() && same_zone && few.allow.iter().all(inside))
}

/// Whether `more` holds whenever one of `all` does.
fn denies_all(more: &[Deny], all: &[Deny]) -> bool {
    all.iter().all(|deny| more.iter().any(|known| known.from <= deny.from && deny.to <= known.to))
}
