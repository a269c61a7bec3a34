//! Webhooks: who asks without a token of ours, each known by a secret that both sides have.

pub(super) mod flagger;
pub(super) mod git;
mod look;
pub(super) mod release;

use std::{fs, path::Path};

use axum::http::StatusCode;

pub use self::{
    flagger::Flagger,
    git::GitHook,
    look::{Hook, look},
    release::{HookBody, ReleaseHooks},
};
use super::problem::Problem;

/// Webhooks of a kind that are read at once: nobody is known before theirs was read.
const AT_ONCE: usize = 8;

/// Read each time, so that it can be rotated.
fn secret(path: &Path) -> Result<Vec<u8>, Problem> {
    read(path).map_err(|error| unusable(path, &error))
}

/// The secret that stands in that file; in words, why there is none.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    let read = fs::read(path).map_err(|error| format!("it cannot be read: {error}"))?;
    match read.trim_ascii() {
        [] => Err("it is empty".into()),
        secret => Ok(secret.to_vec()),
    }
}

/// That a secret is none; why stands in the log alone.
fn unusable(path: &Path, error: &str) -> Problem {
    tracing::error!(path = %path.display(), error, "the secret of webhooks cannot be used");
    let detail = "the secret of these webhooks cannot be used; see the server's log";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "hook-unavailable", detail)
}
