use super::Violation;
use crate::{
    decide::{command::Command, fact::Reply, world::World},
    record::{Draft, Store},
};

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

/// Looks at a journal whose last append has failed: it takes nothing more until it is opened again.
///
/// # Errors
/// It does.
pub fn nothing_more(store: &dyn Store, epoch: u64, drafts: &[Draft]) -> Result<(), Violation> {
    match store.append(epoch, drafts) {
        Err(_) => Ok(()),
        Ok(numbers) => {
            let detail = format!("after a failed append {numbers:?} were taken");
            Err(Violation { number: 26, says: SAYS, detail })
        }
    }
}
