//! A fleet that is not there.

pub mod fleet;
pub mod invariants;
pub mod notation;
pub mod scenario;
