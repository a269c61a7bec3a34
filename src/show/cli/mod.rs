//! Commands over the API, and the offline ones.

pub mod judge;
