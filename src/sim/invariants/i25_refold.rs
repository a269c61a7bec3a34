use super::Violation;
use crate::{
    decide::{
        command::Command,
        fact::Fact,
        world::{Illegal, World},
    },
    model::time::Now,
};

/// Folds a journal from its beginning.
///
/// # Errors
/// The journal does not fold, or not to `live`.
pub fn refolded<'a>(
    journal: impl Iterator<Item = (Now, &'a [Fact], &'a [Command])>,
    live: &World,
) -> Result<World, Violation> {
    let mut world = World::default();
    for (now, facts, commands) in journal {
        world.fold(now, facts, commands).map_err(|Illegal { .. }| {
            broken(format!("the journal does not fold at {}: {facts:?}", now.wall))
        })?;
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
    let plans = told.plans.iter().filter(|(name, state)| live.plans.get(*name) != Some(state));
    let plans: Vec<_> = plans.map(|(name, _)| name.as_str()).collect();
    Err(broken(match plans.is_empty() {
        true => "what plans share differs".into(),
        false => format!("it differs in {}", plans.join(", ")),
    }))
}

fn broken(detail: String) -> Violation {
    Violation {
        number: 25,
        says: "folding the journal gives the live state, field for field",
        detail,
    }
}
