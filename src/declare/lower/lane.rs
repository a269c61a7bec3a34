//! A plan's `lanes` -> the rules of its hotfix lane.

use std::collections::BTreeSet;

use super::{At, Diagnostic, Rule, World, nearest, policy, typed};
use crate::{
    declare::schema,
    model::{
        lane::{Hotfix, Lanes, Shortened},
        ring::Ring,
        time::Span,
    },
};

/// The lanes of a plan; of its `rings`, all of which could be read, or none.
pub(super) fn lower(
    world: &World<'_>,
    spec: &schema::RingPlan,
    plan: At<'_>,
    rings: Option<&[Ring]>,
    problems: &mut Vec<Diagnostic>,
) -> Lanes {
    let written = spec.lanes.as_ref().and_then(|lanes| lanes.hotfix.as_ref());
    let at = plan.field("lanes").field("hotfix");
    let hotfix = written.and_then(|written| {
        if let Some(rings) = rings {
            names(written, at, rings, problems);
        }
        one(world, written, at, problems)
    });
    Lanes { hotfix }
}

fn one(
    world: &World<'_>,
    spec: &schema::Hotfix,
    at: At<'_>,
    problems: &mut Vec<Diagnostic>,
) -> Option<Hotfix> {
    let place = at.field("soak");
    let soak = at.require(spec.soak.as_ref(), "soak", problems);
    let share = soak.and_then(|soak| place.require(soak.share, "share", problems)).map(|s| s.0);
    if share.is_some_and(|share| share <= 0.0 || share > 1.0) {
        let problem = place.field("share").problem(Rule::Sch004, "no share of a soak");
        problems.push(problem.help("give more than 0% and at most 100%, such as 25%"));
    }
    let floor = soak.and_then(|soak| place.require(soak.floor, "floor", problems)).map(|f| f.0);
    let time_to_live = at.require(spec.time_to_live, "timeToLive", problems).map(|d| d.0);
    if time_to_live == Some(Span::ZERO) {
        let problem = at.field("timeToLive").problem(Rule::Sch004, "a lane that is over at once");
        problems.push(problem.help("say how long a hotfix may take, such as 4h"));
    }
    let approvals = spec.approvals.as_ref();
    let approvals =
        approvals.and_then(|a| policy::one_approval(world, a, at.field("approvals"), problems));
    Some(Hotfix {
        soak: Shortened { share: share?, floor: floor? },
        may_not_skip: typed(&spec.may_not_skip),
        defer_gates: typed(&spec.defer_gates),
        approvals,
        time_to_live: time_to_live?,
    })
}

/// Rings and gates that the plan does not have: what was meant would go unprotected.
fn names(spec: &schema::Hotfix, at: At<'_>, rings: &[Ring], problems: &mut Vec<Diagnostic>) {
    let ring_names: BTreeSet<&str> = rings.iter().map(|ring| ring.name.as_str()).collect();
    let gates = rings.iter().flat_map(|ring| &ring.policy.gates);
    let gate_names: BTreeSet<&str> = gates.map(|gate| gate.name.as_str()).collect();
    let fields = [
        ("mayNotSkip", &spec.may_not_skip, ring_names, "the plan has no ring"),
        ("deferGates", &spec.defer_gates, gate_names, "no ring of the plan has a gate"),
    ];
    for (field, names, known, message) in fields {
        for (i, name) in names.iter().enumerate() {
            if known.contains(name.as_str()) {
                continue;
            }
            let help = match nearest(name, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => {
                    let known: Vec<_> = known.iter().copied().collect();
                    format!("known are {}", known.join(", "))
                }
            };
            let place = at.field(field).item(i);
            problems.push(place.problem(Rule::Ref001, format!("{message} `{name}`")).help(help));
        }
    }
}
