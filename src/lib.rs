//! ringward: a release enters the next ring only after the clusters of the ring before ran it
//! healthily for the whole soak, and only where data residency allows it.
//!
//! Data flows one way, and a room imports only rooms before it:
//!
//! ```text
//! declare -> model -> decide -> record -> act -> (the outcome comes back as an event) -> decide
//!                                  \-> show
//! ```
//!
//! `tests/tidy.rs` keeps the walls; ARCHITECTURE.md says why they stand where they stand.

#![cfg_attr(
    test,
    allow(
        clippy::wildcard_enum_match_arm,
        reason = "a test looks for the one variant it is about"
    )
)]

pub mod act;
pub mod app;
pub mod clock;
pub mod config;
pub mod decide;
pub mod declare;
pub mod drive;
pub mod follow;
pub mod ids;
pub mod import;
pub mod incoming;
pub mod model;
pub mod record;
pub mod show;
pub mod sim;
pub mod tell;
