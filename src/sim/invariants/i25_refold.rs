use super::Violation;
use crate::{
    decide::{Decision, world::World},
    model::time::Now,
};

/// Folds a journal from its beginning.
///
/// # Errors
/// The journal does not fold, or not to `live`.
pub fn refolded<'a>(
    journal: impl Iterator<Item = (Now, &'a Decision)>,
    live: &World,
) -> Result<World, Violation> {
    let mut world = World::default();
    for (now, Decision { facts, commands, .. }) in journal {
        world
            .fold(now, facts, commands)
            .map_err(|illegal| broken(format!("at {}: {illegal}", now.wall)))?;
    }
    same(&world, live).map(|()| world)
}

/// Compares what a journal tells with the world as of its last entry.
///
/// # Errors
/// They differ.
pub fn same(told: &World, live: &World) -> Result<(), Violation> {
    if told == live {
        return Ok(());
    }
    let lost = live.plans.keys().find(|name| !told.plans.contains_key(*name));
    let other = told.plans.iter().find(|(name, state)| live.plans.get(*name) != Some(state));
    Err(broken(match (lost, other) {
        (Some(plan), _) => format!("it lacks {plan}"),
        (None, Some((plan, _))) => format!("{plan} is otherwise"),
        (None, None) => "what plans share is otherwise".into(),
    }))
}

fn broken(detail: String) -> Violation {
    Violation {
        number: 25,
        says: "folding the journal gives the live state, field for field",
        detail,
    }
}
