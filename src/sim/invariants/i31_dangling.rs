use super::Violation;
use crate::decide::world::World;

/// Looks for effects whose end nobody will ever hear of.
///
/// # Errors
/// There is one.
pub fn dangling(world: &World) -> Result<(), Violation> {
    let mut keys = world.plans.values().flat_map(|plan| plan.in_flight.keys());
    match keys.next() {
        None => Ok(()),
        Some(key) => Err(Violation {
            number: 31,
            says: "every dangling intent is resolved: done, failed or superseded",
            detail: format!("{key} is still in flight"),
        }),
    }
}
