//! Webhooks: who asks without a token of ours, each known by a secret that both sides have.

pub(super) mod flagger;
pub(super) mod git;
pub(super) mod release;

use std::{fs, path::Path};

use axum::http::StatusCode;

pub use self::{
    flagger::Flagger,
    git::GitHook,
    release::{HookBody, ReleaseHooks},
};
use super::problem::Problem;

/// Webhooks of a kind that are read at once: nobody is known before theirs was read.
const AT_ONCE: usize = 8;

/// Read each time, so that it can be rotated.
fn secret(path: &Path) -> Result<Vec<u8>, Problem> {
    let read = fs::read(path).map_err(|error| unusable(path, &error.to_string()))?;
    match read.trim_ascii() {
        [] => Err(unusable(path, "it is empty")),
        secret => Ok(secret.to_vec()),
    }
}

/// That a secret is none; why stands in the log alone.
fn unusable(path: &Path, error: &str) -> Problem {
    tracing::error!(path = %path.display(), error, "the secret of webhooks cannot be used");
    let detail = "the secret of these webhooks cannot be used; see the server's log";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "hook-unavailable", detail)
}
