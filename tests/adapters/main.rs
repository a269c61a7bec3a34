//! Every kind of target, driven on the loopback fleet: one suite that all of them pass, and a release through
//! the whole service for each.

#[path = "../common/mod.rs"]
mod common;
mod conformance;
mod journeys;
mod ofrep;
mod subject;
mod unleash;
#[path = "../common/unleash.rs"]
mod unleash_suite;
