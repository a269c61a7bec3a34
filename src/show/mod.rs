//! Projections for people and programs: what is true, in words, figures and pages.
//!
//! Architecture invariant: nothing here decides. A read looks at the live world through the
//! [`desk::Desk`]; a request is authenticated, authorised, put on the desk, and answered once the
//! answer is durable. Every wording of a hold lives in one file, and no view can hold a secret.

pub mod api;
pub mod auth;
pub mod change;
pub mod channels;
pub mod cli;
pub mod dashboard;
pub mod desk;
pub mod door;
pub mod evidence;
pub mod exit;
#[cfg(test)]
pub(crate) mod fixture;
pub mod flagger;
pub mod measured;
pub mod schema;
pub mod story;
pub mod telemetry;
pub mod tls;
pub mod view;
pub mod words;
