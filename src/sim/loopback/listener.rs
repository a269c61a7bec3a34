//! Somebody outside who is told things: each message as it came, a line of JSON in a file.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    extract::{self, State},
    http::{HeaderMap, StatusCode},
    routing::post,
};
use serde_json::{Value, json};

use super::line::Line;

/// A listener on loopback, at a path for each channel. Dropping it ends it.
pub struct Listener {
    line: Line,
    file: PathBuf,
}

impl Listener {
    /// Starts it; it writes into `file`, which is made anew. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// No port, or a file that cannot be written.
    pub async fn start(file: &Path) -> io::Result<Self> {
        let heard = Arc::new(Mutex::new(
            OpenOptions::new().create(true).write(true).truncate(true).open(file)?,
        ));
        let routes = Router::new().route("/{channel}", post(hear)).with_state(heard);
        Ok(Self { line: Line::open(routes).await?, file: file.to_owned() })
    }

    /// Where a channel's messages go.
    pub fn url(&self, channel: &str) -> String {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let name: String = channel.chars().map(|c| if plain(c) { c } else { '-' }).collect();
        format!("{}/{name}", self.line.url())
    }

    /// What it writes into.
    pub fn file(&self) -> &Path {
        &self.file
    }
}

async fn hear(
    State(file): State<Arc<Mutex<File>>>,
    extract::Path(channel): extract::Path<String>,
    headers: HeaderMap,
    body: String,
) -> StatusCode {
    let signed = headers.iter().filter(|(name, _)| name.as_str().starts_with("webhook-"));
    let signed: BTreeMap<&str, &str> =
        signed.map(|(name, value)| (name.as_str(), value.to_str().unwrap_or_default())).collect();
    let body: Value = serde_json::from_str(&body).unwrap_or(Value::String(body));
    let line = json!({"channel": channel, "headers": signed, "body": body});
    let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
    match writeln!(file, "{line}") {
        Ok(()) => StatusCode::NO_CONTENT,
        // It is told again.
        Err(_) => StatusCode::INSUFFICIENT_STORAGE,
    }
}
