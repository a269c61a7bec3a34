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
    let broken = |detail: String| Violation {
        number: 25,
        says: "folding the journal gives the live state, field for field",
        detail,
    };
    let mut world = World::default();
    for (now, Decision { facts, commands, .. }) in journal {
        world
            .fold(now, facts, commands)
            .map_err(|illegal| broken(format!("at {}: {illegal}", now.wall)))?;
    }
    if world == *live {
        return Ok(world);
    }
    let lost = live.plans.keys().find(|name| !world.plans.contains_key(*name));
    let other = world.plans.iter().find(|(name, state)| live.plans.get(*name) != Some(state));
    Err(broken(match (lost, other) {
        (Some(plan), _) => format!("it lacks {plan}"),
        (None, Some((plan, _))) => format!("{plan} is otherwise"),
        (None, None) => "what plans share is otherwise".into(),
    }))
}
