//! `Notifier` documents -> who is told what.

use super::{At, Diagnostic, Kind, Rule, World, repeats, units};
use crate::{
    declare::schema,
    model::notify::{Notifier, Topic},
};

use std::collections::BTreeMap;

/// Every notifier by its name, and nothing for one that is in error; nothing at all where a document cannot be read
/// that may be any of them. With all problems.
pub(super) fn lower(
    world: &World<'_>,
) -> (Option<BTreeMap<String, Option<Notifier>>>, Vec<Diagnostic>) {
    let units = units(world, Kind::Notifier, |_, doc, problems| {
        one(world, doc.spec_as()?, doc.spec(), problems)
    });
    let problems = units.values().flat_map(|unit| unit.problems.iter().cloned()).collect();
    let sound = |unit: &super::Unit<Notifier>| unit.sound().cloned();
    let mut nameless = world.illegible(Kind::Notifier).filter(|doc| doc.head.name.is_none());
    let named = || units.iter().map(|(name, unit)| (name.clone(), sound(unit))).collect();
    (nameless.next().is_none().then(named), problems)
}

fn one(
    world: &World<'_>,
    spec: &schema::Notifier,
    at: At<'_>,
    problems: &mut Vec<Diagnostic>,
) -> Option<Notifier> {
    let channel = at.require(spec.channel.as_deref(), "channel", problems);
    let plans = at.field("plans");
    for (i, plan) in spec.plans.iter().enumerate() {
        if !world.names.contains_key(&(Kind::RingPlan, plan.as_str())) {
            problems.push(world.undeclared(Kind::RingPlan, plan, plans.item(i)));
        }
    }
    for (i, plan) in repeats(spec.plans.iter().map(|plan| plan.as_str())) {
        let problem = plans.item(i).problem(Rule::Sch004, format!("`{plan}` is named twice"));
        problems.push(problem.help("take it out"));
    }
    let on = match &spec.on {
        None => Topic::DEFAULT.to_vec(),
        Some(on) if on.is_empty() => {
            let place = at.field("on").key();
            let problem = place.problem(Rule::Sch004, "a notifier that tells nothing");
            problems.push(
                problem.help("leave `on` out for what somebody may have to do something about"),
            );
            return None;
        }
        Some(on) => on.iter().map(|topic| (*topic).into()).collect(),
    };
    Some(Notifier { channel: channel?.to_owned(), plans: super::typed(&spec.plans), on })
}
