//! ringward's adapters, and the whole of it, against the real components that they drive.
//!
//! Each suite skips itself, in so many words, where its component is not installed; with
//! `RINGWARD_REAL=required` that is a failure instead, so that a pipeline cannot go green on nothing.

#[path = "../common/mod.rs"]
mod common;
mod crds;
mod drift;
mod flags;
#[path = "../common/flags.rs"]
mod flags_suite;
#[path = "../common/git.rs"]
mod git;
mod identity;
mod image_policy;
mod judges;
mod kube;
mod prometheus;
mod registry;
mod sources;
mod stand_ins;
mod support;
mod targets;
mod unleash;
#[path = "../common/unleash.rs"]
mod unleash_owner;
mod whole;
