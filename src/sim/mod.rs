//! A fleet that is not there: one in simulated time for scenarios, and one on loopback ports for the demo.

pub mod demo;
pub mod fleet;
pub mod invariants;
pub mod loopback;
pub mod notation;
pub mod replay;
pub mod scenario;
pub mod simulate;
