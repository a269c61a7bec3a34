//! Every kind of target, driven on the loopback fleet: one suite that all of them pass, and a release through
//! the whole service for each.

#[path = "../common/mod.rs"]
mod common;
mod conformance;
mod deployers;
#[path = "../common/flags.rs"]
mod flags_suite;
mod flagsmith;
mod journeys;
mod launchdarkly;
mod misbehaving;
mod ofrep;
mod stand_ins;
mod subject;
mod unleash;
#[path = "../common/unleash.rs"]
mod unleash_owner;
