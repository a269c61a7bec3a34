//! ringward's adapters against the real components that they drive.
//!
//! Each suite skips itself, in so many words, where its component is not installed; with
//! `RINGWARD_REAL=required` that is a failure instead, so that a pipeline cannot go green on nothing.

mod kube;
mod prometheus;
mod support;
