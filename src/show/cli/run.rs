//! `serve` and `demo`: the service itself.

use std::{io::IsTerminal as _, net::SocketAddr, path::PathBuf, sync::Arc};

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use super::{context::Context, failure::Failure};
use crate::{
    app, clock::SystemClock, config::Settings, declare::source::looks_like_a_repository,
    show::exit::Exit,
};

/// Run the service
///
/// Keeps its journal in the data directory, reads declarations from a directory or a Git repository, drives
/// the clusters and serves the API. Settings come from --config (YAML); flags win over it. A first start makes
/// an admin token in the data directory, which this command line finds by itself on the same machine.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES
  ringward serve --source . --data ./data
  ringward serve --source https://git.example.com/platform/rings.git
  ringward serve --config /etc/ringward.yaml --listen 0.0.0.0:7474")]
pub struct Serve {
    /// The settings' file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A directory that holds rings/ and policies/, or a Git repository's URL.
    #[arg(long, value_name = "DIR|URL")]
    source: Option<String>,
    /// The data directory.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where the API listens [default: 127.0.0.1:7474].
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
}

impl Serve {
    /// The settings of the file, with the flags over them.
    ///
    /// # Errors
    /// The file cannot be read, or is none.
    pub fn settings(&self) -> Result<Settings, Failure> {
        let mut settings = match &self.config {
            Some(path) => Settings::read(path).map_err(|error| Failure::of(&error))?,
            None => Settings::default(),
        };
        if let Some(source) = &self.source {
            let (path, url) = match looks_like_a_repository(source) {
                true => (None, Some(source.clone())),
                false => (Some(PathBuf::from(source)), None),
            };
            (settings.source.path, settings.source.url) = (path, url);
        }
        if let Some(data) = &self.data {
            settings.data.clone_from(data);
        }
        settings.listen = self.listen.unwrap_or(settings.listen);
        Ok(settings)
    }
}

/// Runs `serve`: until it is told to stop, by an interrupt or by SIGTERM.
///
/// # Errors
/// It could not start.
pub async fn serve(context: &Context, args: &Serve) -> Result<Exit, Failure> {
    log();
    let settings = args.settings()?;
    let running = app::start(settings, |reached| Arc::new(SystemClock::new(reached))).await;
    let running = running.map_err(|error| Failure::of(&error))?;
    context.progress(&format!("ringward listens on http://{}", running.address));
    stopped().await?;
    context.progress("stopping: what was decided is recorded first");
    running.stop().await;
    Ok(Exit::Done)
}

/// What the service tells goes to standard error; RUST_LOG says how much of it.
fn log() {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into());
    let lines = tracing_subscriber::fmt().with_env_filter(filter.from_env_lossy());
    // It fails where somebody has set up another before, and then that one is told.
    let _ =
        lines.with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal()).try_init();
}

async fn stopped() -> Result<(), Failure> {
    let failed = |error| Failure::new(format!("signals cannot be listened for: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.map_err(failed),
        _ = terminate.recv() => Ok(()),
    }
}
