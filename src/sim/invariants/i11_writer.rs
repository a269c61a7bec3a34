use super::Violation;
use crate::{
    model::time::Now,
    record::{Draft, Store, StoreError},
};

/// Lets a writer whose epoch is over try to record something.
///
/// # Errors
/// The journal took it.
pub fn outdated(store: &dyn Store, epoch: u64, at: Now) -> Result<(), Violation> {
    let draft = Draft { at, facts: Vec::new(), commands: Vec::new() };
    let broken = |detail| Violation {
        number: 11,
        says: "no fact is written by a process that is not the current writer",
        detail,
    };
    match store.append(epoch, &[draft]) {
        Err(StoreError::StaleEpoch { .. }) => Ok(()),
        Err(error) => Err(broken(format!("a writer of epoch {epoch} met: {error}"))),
        Ok(_) => Err(broken(format!("a writer of epoch {epoch} still records"))),
    }
}
