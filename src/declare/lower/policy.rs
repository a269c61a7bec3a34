//! `RingPolicy` documents -> policies, with all that they extend folded in.
//!
//! A field that a policy gives replaces its parent's; `soak` is taken field by field; `gates` is one
//! field, so that a list replaces a list and nobody has to guess which gates are left.

use std::collections::{BTreeMap, BTreeSet};

use super::{At, Diagnostic, Doc, Kind, Rule, Units, World, gate, repeats, territory, units};
use crate::{
    declare::schema::{self, scalar},
    ids::GateName,
    model::{
        policy::{Approvals, Concurrency, Gate, Policy, Rollback, Soak},
        shared::Shared,
        time::Span,
    },
};

/// How long a target may take to be ready, where the policy does not say.
pub(super) const DEADLINE: Span = Span::minutes(15);
/// Clusters that deploy at once, where the policy does not say.
pub(super) const CONCURRENCY: Concurrency = Concurrency::Clusters(1);
/// Clusters that may fail, where the policy does not say.
pub(super) const FAILURE_BUDGET: u32 = 0;
/// Whether a failed ring goes back by itself, where the policy does not say.
pub(super) const ROLLBACK: bool = true;
/// How long a release in motion is safe from being replaced, where the policy does not say.
pub(super) const MIN_DWELL: Span = Span::ZERO;
/// How many people must agree, where there are approvals that do not say.
pub(super) const APPROVERS: u32 = 1;
/// The role that may agree, where there are approvals that do not say.
pub(super) const APPROVER_ROLE: &str = "approver";

/// A policy, and where its parts are declared: here or in what it extends.
#[derive(Debug)]
pub(super) struct Placed<'a> {
    pub policy: Shared<Policy>,
    pub soak: At<'a>,
    pub gates: At<'a>,
    pub gate: BTreeMap<GateName, At<'a>>,
    pub approvals: At<'a>,
}

pub(super) fn lower<'a>(world: &World<'a>) -> Units<Placed<'a>> {
    units(world, Kind::RingPolicy, |name, doc, problems| {
        // Without all that it extends, what seems to be missing may be there.
        let (chain, whole) = chain(world, name, doc, problems);
        one(world, name, &chain, whole, problems)
    })
}

/// A policy on the way up from the one that is lowered.
struct Link<'a> {
    spec: &'a schema::RingPolicy,
    at: At<'a>,
}

/// The policy and all that it extends, nearest first; and whether that is all of it.
fn chain<'a>(
    world: &World<'a>,
    name: &'a str,
    doc: &'a Doc<'a>,
    problems: &mut Vec<Diagnostic>,
) -> (Vec<Link<'a>>, bool) {
    let mut links = Vec::new();
    let mut path = vec![name];
    let mut seen = BTreeSet::from([name]);
    let mut doc = doc;
    loop {
        let Some(spec) = doc.spec_as::<schema::RingPolicy>() else { return (links, false) };
        let at = doc.spec();
        links.push(Link { spec, at });
        let Some(parent) = spec.extends.as_deref() else { return (links, !at.lost("extends")) };
        let place = at.field("extends");
        path.push(parent);
        if !seen.insert(parent) {
            let start = path.iter().position(|n| *n == parent).unwrap_or(0);
            problems.push(circle(&path[start..path.len() - 1], &links[start..]));
            return (links, false);
        }
        let Some(i) = world.names.get(&(Kind::RingPolicy, parent)) else {
            problems.push(world.undeclared(Kind::RingPolicy, parent, place));
            return (links, false);
        };
        doc = &world.documents[*i];
        problems.extend(doc.head.problems.iter().filter(|p| p.is_error()).cloned());
        problems
            .extend(world.twice.get(&(Kind::RingPolicy, parent)).into_iter().flatten().cloned());
    }
}

/// Policies that extend each other, told from the first by name, so that each of them says the same.
fn circle(names: &[&str], links: &[Link<'_>]) -> Diagnostic {
    let first = (0..names.len()).min_by_key(|i| names[*i]).unwrap_or(0);
    let around = (0..=names.len()).map(|i| names[(first + i) % names.len()]);
    let cycle = around.collect::<Vec<_>>().join(" -> ");
    let problem = links[first]
        .at
        .field("extends")
        .problem(Rule::Ref005, format!("policies extend each other: {cycle}"));
    problem.help("let one of them stand on its own")
}

/// The nearest policy that has the field, and where it stands there.
fn pick<'a, T>(
    chain: &[Link<'a>],
    field: &str,
    get: impl Fn(&'a schema::RingPolicy) -> Option<T>,
) -> Option<(T, At<'a>)> {
    chain.iter().find_map(|link| Some((get(link.spec)?, link.at.field(field))))
}

fn one<'a>(
    world: &World<'a>,
    name: &str,
    chain: &[Link<'a>],
    whole: bool,
    problems: &mut Vec<Diagnostic>,
) -> Option<Placed<'a>> {
    let own = chain.first()?.at;
    let missing = |field: &str, help: &str, problems: &mut Vec<Diagnostic>| {
        if whole && !chain.iter().any(|link| link.at.lost(field)) {
            let problem = own.key().problem(Rule::Sch003, format!("`{field}` is missing"));
            problems.push(problem.help(help));
        }
    };

    let soak = |get: fn(&schema::Soak) -> Option<&scalar::Duration>| {
        pick(chain, "soak", move |p| p.soak.as_ref().and_then(get))
    };
    let duration = soak(|s| s.duration.as_ref());
    let on_breach = pick(chain, "soak", |p| p.soak.as_ref().and_then(|s| s.on_breach));
    if duration.is_none() && !chain.iter().any(|link| link.at.field("soak").lost("duration")) {
        let help = "say how long a ring must run healthily, as in soak: {duration: 4h}";
        missing("soak", help, problems);
    }
    let soak_at = duration.map_or(own, |(_, at)| at.field("duration"));

    let declared = pick(chain, "gates", |p| p.gates.as_ref());
    if declared.is_none() {
        let help = "say what is measured, or `gates: none` in so many words";
        missing("gates", help, problems);
    }
    let gates_at = declared.map_or(own, |(_, at)| at.key());
    let (gates, gate) = match declared {
        Some((scalar::Gates::Some(list), at)) => {
            gates(world, list, duration.map(|(d, _)| d.0), at, problems)
        }
        Some((scalar::Gates::None, _)) | None => Default::default(),
    };

    let after_watch =
        pick(chain, "afterWatch", |p| p.after_watch).filter(|(d, _)| d.0 > Span::ZERO);
    if let (Some((_, at)), Some((scalar::Gates::None, _))) = (after_watch, declared) {
        let message = "a watch over a ring without gates: nothing would be measured";
        let help = "declare the gates that are watched, or take `afterWatch` out";
        problems.push(at.key().problem(Rule::Gat010, message).help(help));
    }
    let rollback = pick(chain, "rollback", |p| p.rollback.as_ref());
    let approvals = pick(chain, "approvals", |p| p.approvals.as_ref());
    let approvals_at = approvals.map_or(own, |(_, at)| at.key());
    let approvals = approvals.and_then(|(spec, at)| one_approval(world, spec, at, problems));
    let calendars = pick(chain, "calendars", |p| p.calendars.as_ref());
    let calendars = calendars.map_or(Vec::new(), |(names, at)| {
        let named = names.iter().enumerate().filter_map(|(i, name)| {
            world.find(&world.calendars, Kind::Calendar, name, at.item(i), problems)
        });
        named.map(|c| c.calendar.clone()).collect()
    });
    let deadline = pick(chain, "deadline", |p| p.deadline);
    if let Some((_, at)) = deadline.filter(|(d, _)| d.0 == Span::ZERO) {
        let problem = at.problem(Rule::Sch004, "a deadline of no time");
        problems.push(problem.help("say how long a deploy may take, such as 15m"));
    }
    let policy = Policy {
        name: name.into(),
        soak: Soak {
            duration: duration.map(|(d, _)| d.0).unwrap_or_default(),
            on_breach: on_breach.map(|(b, _)| b.into()).unwrap_or_default(),
            backfill: pick(chain, "backfill", |p| p.backfill).is_some_and(|(on, _)| on),
        },
        deadline: deadline.map_or(DEADLINE, |(d, _)| d.0),
        concurrency: pick(chain, "concurrency", |p| p.concurrency)
            .map_or(CONCURRENCY, |(written, _)| written.into()),
        failure_budget: pick(chain, "failureBudget", |p| p.failure_budget.as_ref()?.clusters)
            .map_or(FAILURE_BUDGET, |(n, _)| n.0),
        gates,
        rollback: Rollback {
            automatic: rollback.and_then(|(r, _)| r.automatic).unwrap_or(ROLLBACK),
            scope: rollback.and_then(|(r, _)| r.scope).map(Into::into).unwrap_or_default(),
            concurrency: rollback.and_then(|(r, _)| r.concurrency).map(Into::into),
        },
        approvals,
        calendars,
        after_watch: after_watch.map_or(Span::ZERO, |(d, _)| d.0),
        min_dwell: pick(chain, "minDwell", |p| p.min_dwell).map_or(MIN_DWELL, |(d, _)| d.0),
    };
    let policy = policy.into();
    Some(Placed { policy, soak: soak_at, gates: gates_at, gate, approvals: approvals_at })
}

fn gates<'a>(
    world: &World<'a>,
    list: &[schema::Gate],
    soak: Option<Span>,
    at: At<'a>,
    problems: &mut Vec<Diagnostic>,
) -> (Vec<Gate>, BTreeMap<GateName, At<'a>>) {
    let names = list.iter().map(|g| g.name.as_deref().unwrap_or_default());
    for (i, name) in repeats(names).into_iter().filter(|(_, name)| !name.is_empty()) {
        let problem = at
            .item(i)
            .field("name")
            .problem(Rule::Gat009, format!("two gates are called `{name}`"));
        problems.push(problem.help("give each a name of its own"));
    }
    let required = |gate: &schema::Gate| gate.required.unwrap_or(true);
    if !list.iter().any(required) {
        let message = "no gate of this policy is required: nothing would hold or fail its rings";
        let help = "require one, or say `gates: none` in so many words";
        problems.push(at.key().problem(Rule::Gat010, message).help(help));
    }
    let mut gates = Vec::new();
    let mut places = BTreeMap::new();
    for (i, spec) in list.iter().enumerate() {
        if let Some(gate) = gate::one(world, spec, soak, at.item(i), problems) {
            places.insert(gate.name.clone(), at.item(i).field("name"));
            gates.push(gate);
        }
    }
    (gates, places)
}

pub(super) fn one_approval(
    world: &World<'_>,
    spec: &schema::Approvals,
    at: At<'_>,
    problems: &mut Vec<Diagnostic>,
) -> Option<Approvals> {
    let count = spec.count.map_or(APPROVERS, |n| n.0);
    if count == 0 {
        let problem = at.field("count").problem(Rule::App001, "approvals by nobody");
        problems.push(problem.help("ask for one at the least, or leave `approvals` out"));
    }
    let roles = match &spec.roles {
        None => vec![APPROVER_ROLE.to_owned()],
        Some(roles) => roles.clone(),
    };
    if roles.is_empty() {
        let problem = at.field("roles").problem(Rule::App001, "approvals by no role");
        problems.push(problem.help(format!("name one, or leave `roles` out for {APPROVER_ROLE}")));
    }
    let expires = spec.expires.map(|d| d.0);
    if expires == Some(Span::ZERO) {
        let problem = at.field("expires").problem(Rule::App001, "approvals that expire at once");
        problems.push(problem.help("such as 24h, or leave `expires` out"));
    }
    let jurisdiction = match &spec.jurisdiction {
        None => None,
        Some(name) => Some(territory::find(world, name, at.field("jurisdiction"), problems)?),
    };
    if let Some(nobody) = jurisdiction.as_ref().filter(|t| t.members.is_empty()) {
        let message = format!("approvals from {}, to which no country belongs", nobody.name);
        let problem = at.field("jurisdiction").problem(Rule::App001, message);
        problems.push(problem.help("give it members, or let the approvals come from elsewhere"));
    }
    let exclude_author = spec.exclude_author.unwrap_or(true);
    Some(Approvals { count, roles, jurisdiction, exclude_author, expires })
}
