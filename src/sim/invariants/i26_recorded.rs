use super::Violation;
use crate::decide::{command::Command, fact::Reply, world::World};

const SAYS: &str = "what could not be recorded is neither acknowledged nor done";

/// Looks at a command that is about to be sent, and at what is durable then.
///
/// # Errors
/// It is not recorded.
pub fn recorded(durable: &World, command: &Command) -> Result<(), Violation> {
    let plan = durable.plans.get(command.plan());
    match plan.is_some_and(|plan| plan.in_flight.contains_key(command.key())) {
        true => Ok(()),
        false => {
            let detail = format!("{} is sent, and the journal does not know it", command.key());
            Err(Violation { number: 26, says: SAYS, detail })
        }
    }
}

/// Looks at a reply that is about to be given, and whether the append before it failed.
///
/// # Errors
/// It did.
pub fn acknowledged(reply: &Reply, append_failed: bool) -> Result<(), Violation> {
    match append_failed {
        false => Ok(()),
        true => {
            let detail = format!("{reply:?} is answered, and was not recorded");
            Err(Violation { number: 26, says: SAYS, detail })
        }
    }
}
