//! `serve` and `demo`: the service itself.

use std::{
    io::IsTerminal as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use super::{context::Context, failure::Failure};
use crate::{
    app,
    clock::SystemClock,
    config::{LISTEN, Settings},
    declare::source::looks_like_a_repository,
    ids::{PlanName, RingName},
    show::exit::Exit,
    sim::demo,
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
    #[command(flatten)]
    settings: ServerFlags,
}

/// What `serve` is told, and what looks at a server of this machine.
#[derive(Debug, Clone, Default, Args)]
pub struct ServerFlags {
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

impl ServerFlags {
    /// Whether anything is given: otherwise these are the settings of no server in particular.
    pub fn is_given(&self) -> bool {
        let Self { config, source, data, listen } = self;
        config.is_some() || source.is_some() || data.is_some() || listen.is_some()
    }

    /// The settings' file.
    pub fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }

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
    let settings = args.settings.settings()?;
    let running = app::start(settings, |reached| Arc::new(SystemClock::new(reached))).await;
    let running = running.map_err(|error| Failure::of(&error))?;
    let scheme = if running.tls { "https" } else { "http" };
    context.progress(&format!("ringward listens on {scheme}://{}", running.address));
    stopped().await?;
    context.progress("stopping: what was decided is recorded first");
    running.stop().await;
    Ok(Exit::Done)
}

/// See all of it, over a fleet that is not there
///
/// Starts the service over this repository's own rings and policies, with a simulated fleet that speaks the
/// Kubernetes and Prometheus APIs on this machine, creates a release, and shows it going ring by ring. Nothing
/// is needed, and nothing is left behind. With --source it runs your own declarations: a rehearsal.
#[derive(Debug, Args)]
#[command(after_help = "EXAMPLES
  ringward demo                                   half a minute, then it stays to be looked at
  ringward demo --by-hand --speed 60              slow enough to pause, approve and look at things yourself
  ringward demo --fail us-east --exit             a bad release is taken back; ends with 3
  ringward demo --source . --plan search          your own rings and policies, over a fleet made for them
  ringward demo --source . --no-release           the same, and every command is yours")]
pub struct Demo {
    /// The directory with the rings/ and policies/ to run [default: the built-in ones].
    #[arg(long, value_name = "DIR")]
    source: Option<PathBuf>,
    /// The plan that is released [default: checkout, or the first].
    #[arg(long, value_name = "PLAN")]
    plan: Option<String>,
    /// Create no release: start everything, and leave it to you.
    #[arg(long, conflicts_with_all = ["exit", "fail"])]
    no_release: bool,
    /// How much faster than real time, from 1 to 1500.
    #[arg(long, value_name = "N", default_value_t = demo::SPEED)]
    speed: f64,
    /// End with the release, with its exit code.
    #[arg(long)]
    exit: bool,
    /// Give no approvals: they are yours to give, with the approver's token that it makes.
    #[arg(long, conflicts_with = "exit")]
    by_hand: bool,
    /// The ring where the release turns out to be bad.
    #[arg(long, value_name = "RING")]
    fail: Option<String>,
    /// Where the API listens.
    #[arg(long, value_name = "ADDR", default_value = LISTEN)]
    listen: SocketAddr,
    /// What the fleet's traffic is drawn from.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// Runs `demo`: until the release is settled, or until it is told to stop.
///
/// # Errors
/// The flags ask for what is not there, or something did not start.
pub async fn demo(context: &Context, args: &Demo) -> Result<Exit, Failure> {
    let options = demo::Options {
        source: args.source.clone(),
        plan: args.plan.as_deref().map(PlanName::from),
        release: !args.no_release,
        speed: args.speed,
        exit: args.exit,
        by_hand: args.by_hand,
        fail: args.fail.as_deref().map(RingName::from),
        listen: args.listen,
        seed: args.seed,
        style: context.style,
    };
    demo::run(options).await.map_err(|error| {
        let usage = error.is_usage();
        let failure = Failure::of(&error);
        if usage { failure.exit(Exit::Usage) } else { failure }
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_over_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ringward.yaml");
        std::fs::write(&file, "listen: 127.0.0.1:1\ndata: /a\nsource: {path: /b}\n").unwrap();
        let serve = |source: Option<&str>, data: Option<&str>, listen: Option<&str>| {
            let serve = ServerFlags {
                config: Some(file.clone()),
                source: source.map(Into::into),
                data: data.map(Into::into),
                listen: listen.map(|listen| listen.parse().unwrap()),
            };
            serve.settings().unwrap()
        };
        let settings = serve(None, None, None);
        assert_eq!(settings.listen.to_string(), "127.0.0.1:1");
        assert_eq!(settings.data, PathBuf::from("/a"));
        assert_eq!(settings.source.path, Some(PathBuf::from("/b")));
        let settings = serve(Some("https://git.example/r.git"), Some("/c"), Some("[::1]:2"));
        assert_eq!(settings.listen.to_string(), "[::1]:2");
        assert_eq!(settings.data, PathBuf::from("/c"));
        assert_eq!(settings.source.url.as_deref(), Some("https://git.example/r.git"));
        assert_eq!(settings.source.path, None);
        assert_eq!(serve(Some("rings"), None, None).source.path, Some(PathBuf::from("rings")));
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let serve = ServerFlags {
            config: Some("/nowhere/ringward.yaml".into()),
            source: None,
            data: None,
            listen: None,
        };
        assert!(serve.settings().unwrap_err().message.contains("/nowhere/ringward.yaml"));
    }
}
