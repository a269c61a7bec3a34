//! Effects at the edge: a command goes out, an outcome comes back as an event. Never decides, never
//! writes the store.

pub mod cluster;
pub mod metrics;
