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
    let plans = world.plans.iter().filter(|(name, state)| live.plans.get(*name) != Some(state));
    let plans: Vec<_> = plans.map(|(name, _)| name.as_str()).collect();
    Err(broken(match plans.is_empty() {
        true => "what plans share differs".into(),
        false => format!("it differs in {}", plans.join(", ")),
    }))
}
