//! The composition root: builds the adapters and joins the rooms. No behaviour of its own.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, RwLock},
};

use futures::{FutureExt as _, future::BoxFuture};
use k8s_openapi::api::authentication::v1::TokenReviewStatus;
use tokio::{
    net::TcpListener,
    sync::{Notify, mpsc, watch},
    task::JoinHandle,
};

use crate::{
    act::{
        Connections,
        cluster::{Connection, Kubeconfigs, TokenReviews},
        deployers::Deployers,
        dispatch::{Dispatch, Limits},
        flags::FlagServices,
        metrics::{
            self, Metrics, NoClient,
            auth::{AuthError, Credentials},
        },
        notify::{Courier, NoChannel},
        releases::{NoRegistry, Places},
        sources::Sources,
    },
    clock::Clock,
    config::{ConnectionSettings, Settings, SettingsError, SourceSettings},
    decide::world::World,
    declare::{
        Compiled,
        source::{BadSource, DirSource, GitSettings, GitSource, Source},
    },
    drive::Drive,
    follow::{Followed, Pace, follow},
    ids::{Commit, Mint, PlanName},
    incoming::Incoming,
    model::time::{Mono, Span},
    record::{Recovered, RecoveryError, SledStore, Store, StoreError, outbox::Outbox, recover},
    show::{
        api,
        auth::{BadAuth, Identities, Reviewer, TokenError, Tokens},
        channels::Channels,
        desk::Desk,
        door::Door,
        telemetry::{
            Telemetry,
            otlp::{Otlp, OtlpError},
        },
        tls::{Tls, TlsError},
    },
    tell::{self, Subscriptions, Tell},
};

/// How often a directory is looked at; only the files' stat data is read.
const DIRECTORY_INTERVAL: Span = Span::seconds(1);

/// Events that may wait for the loop.
const EVENTS: usize = 4_096;

/// How long a fetch from a repository may take.
const FETCH: std::time::Duration = std::time::Duration::from_secs(60);

/// Why the service did not start.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each is the error that it names")]
pub enum AppError {
    #[error("the settings cannot be used")]
    Settings(#[from] SettingsError),
    #[error("the journal cannot be opened")]
    Store(#[from] StoreError),
    #[error("the journal cannot be taken over")]
    Start(#[from] RecoveryError),
    #[error("the source of declarations cannot be used")]
    Source(#[from] BadSource),
    #[error("the credentials of a metric source cannot be used")]
    Credentials(#[from] AuthError),
    #[error("where channels stand in the journal cannot be kept in the data directory")]
    Outbox(#[source] io::Error),
    #[error("a registry cannot be used")]
    Registry(#[from] NoRegistry),
    #[error("a channel cannot be used")]
    Channel(#[from] NoChannel),
    #[error("no HTTP client can be made")]
    Client(#[from] NoClient),
    #[error("the settings name a collector that nothing can be told to")]
    Otlp(#[from] OtlpError),
    #[error("the tokens in the data directory cannot be used")]
    Tokens(#[from] TokenError),
    #[error("the identities that the settings name cannot be used")]
    Auth(#[from] BadAuth),
    #[error("the certificate of the API cannot be used")]
    Tls(#[from] TlsError),
    #[error(
        "cannot listen on {0}: another process may have it; give another address with --listen"
    )]
    Listen(SocketAddr, #[source] io::Error),
}

/// A service that runs.
pub struct Running {
    /// Where the API listens.
    pub address: SocketAddr,
    /// Whether it speaks TLS there.
    pub tls: bool,
    /// The data directory; the admin token of a first start lies in it.
    pub data: PathBuf,
    stop: watch::Sender<bool>,
    telemetry: Arc<Telemetry>,
    drive: JoinHandle<()>,
    serve: JoinHandle<()>,
    incoming: JoinHandle<()>,
    tell: Vec<JoinHandle<()>>,
}

impl Running {
    /// Stops: what was decided is recorded, what is recorded is durable.
    pub async fn stop(self) {
        // It fails where the loop has ended by itself, which is what is wanted.
        let _ = self.stop.send(true);
        let _ = self.drive.await;
        let _ = self.serve.await;
        let _ = self.incoming.await;
        // What a channel was being told is told again after the next start.
        for channel in self.tell {
            channel.abort();
            let _ = channel.await;
        }
        self.telemetry.stop().await;
    }
}

/// Starts the service; `clock` is made from the monotonic time that the journal has reached.
///
/// # Errors
/// Says what is in the way and what to do; nothing was overwritten.
pub async fn start(
    settings: Settings,
    clock: impl FnOnce(Mono) -> Arc<dyn Clock> + Send + 'static,
) -> Result<Running, AppError> {
    let data = settings.data.clone();
    let opened = tokio::task::spawn_blocking(move || -> Result<_, AppError> {
        let store: Arc<dyn Store> = Arc::new(SledStore::open(&data)?);
        let recovered = recover(store.as_ref())?;
        Ok((store, recovered))
    });
    let (store, Recovered { world, checkpoint }) = match opened.await {
        Ok(opened) => opened?,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    };
    let is_plan = |plan: &PlanName| world.plans.get(plan).is_some_and(|state| !state.withdrawn);
    // Before the first plan nobody knows which there will be.
    let known: Option<&dyn Fn(&PlanName) -> bool> =
        if world.plans.is_empty() { None } else { Some(&is_plan) };
    for hook in api::look_at_hooks(&settings, known) {
        let place = hook.place;
        for (cause, cure) in hook.flaws {
            tracing::warn!(place, cause, cure, "a webhook of the settings is of no use");
        }
    }
    let clock = clock(world.reached);
    let (source, interval) = source(&settings.source, &settings.data, &world)?;
    let tokens = Tokens::open(&settings.data)?;
    if let Some(path) = tokens.first_start(&mut Mint::system(), clock.now().wall)? {
        tracing::info!(path = %path.display(), "made an admin token");
    }
    let external_url = settings.external_url.as_deref();
    let cluster = settings.auth.kubernetes.as_ref().map(|k| -> Arc<dyn Reviewer> {
        Arc::new(TokenReviews::new(k.kubeconfig.clone(), k.context.clone()))
    });
    let identities = Identities::new(Arc::new(tokens), settings.auth, cluster, external_url)?;
    let tls = settings.tls.map(Tls::read).transpose()?;
    let secure = tls.is_some();
    if !secure && !settings.listen.ip().is_loopback() {
        tracing::warn!(listen = %settings.listen, "tokens come in the clear: set tls, or listen on loopback behind what has it");
    }
    let listener = TcpListener::bind(settings.listen)
        .await
        .map_err(|error| AppError::Listen(settings.listen, error))?;
    let address = listener.local_addr().map_err(|e| AppError::Listen(settings.listen, e))?;

    let declared = settings.connections.clone();
    let mut services = BTreeMap::new();
    let connections = settings.connections.into_iter().map(|(name, mut c)| {
        services.insert(name.clone(), std::mem::take(&mut c.flags));
        (name, connection(c))
    });
    let connections: BTreeMap<String, Connection> = connections.collect();
    let credentials = Credentials::new(settings.metrics)?;
    let metrics = Metrics::new(credentials.clone(), clock.clone(), metrics::Limits::default())?;
    let seen = Arc::new(Kubeconfigs::new(connections.clone()));
    let places = Places::new(settings.registries, seen, clock.clone())?;
    let clusters = Kubeconfigs::new(connections).with_probes(credentials.clone(), clock.clone())?;
    let flags = FlagServices::new(clusters, services, credentials.clone(), clock.clone())?;
    let connections: Arc<dyn Connections> =
        Arc::new(Deployers::new(Arc::new(flags), &declared, credentials, clock.clone())?);
    let (report, events) = mpsc::channel(EVENTS);
    let dispatch = Dispatch::new(
        connections.clone(),
        Arc::new(Sources::new(Arc::new(metrics), connections)),
        report.clone(),
        Limits::default(),
    );

    let world = Arc::new(RwLock::new(world));
    let (desk, clerk) = Desk::new(world.clone(), clock.clone(), store.clone());
    let desk = Arc::new(desk);
    let collector = Otlp::new(settings.telemetry.otlp.as_ref())?;
    let telemetry = Arc::new(Telemetry::told(&desk, collector));
    let outbox = Outbox::open(&settings.data).map_err(AppError::Outbox)?;
    let subscriptions = Subscriptions::new(outbox.clone());
    let channels = Arc::new(Channels::default());
    telemetry.watch(&channels);
    let incoming = Incoming::new(Arc::new(places), desk.clone(), telemetry.clone());
    let tell = tell::start(Tell {
        desk: desk.clone(),
        courier: Arc::new(Courier::new(settings.channels)?),
        outbox,
        clock: clock.clone(),
        telemetry: telemetry.clone(),
        channels: channels.clone(),
        external_url: settings.external_url,
        notifiers: subscriptions.subscribe(),
    });
    let (stop, stopped) = watch::channel(false);
    let motion = settings.limits.in_motion.clone();
    let drive = Drive {
        world: world.clone(),
        store,
        checkpoint,
        clock: clock.clone(),
        dispatch,
        events,
        clerk,
        telemetry: telemetry.clone(),
        limits: settings.limits,
        home: settings.place,
    };
    let drive = tokio::spawn(drive.run(stopped.clone()));
    let (declare, declared) = watch::channel(Vec::new());
    let incoming = tokio::spawn(incoming.follow(declared, stopped.clone()));
    let told = move |compiled: &mut Compiled| {
        subscriptions.declared(compiled.notifiers.take());
        // It fails where nobody looks any more.
        let _ = declare.send(std::mem::take(&mut compiled.sources));
    };
    let news = Arc::new(Notify::new());
    let pace = Pace { interval, news: news.clone() };
    let followed = Followed { source, authors: settings.source.authors.clone() };
    tokio::spawn(follow(followed, pace, motion, world, clock, report, told));
    let hook = settings.source.hook_secret_file.map(|secret| api::GitHook::new(secret, news));
    let flagger = settings.hooks.flagger_secret_file.map(api::Flagger::new);
    let router = api::router(api::Parts {
        desk,
        identities,
        telemetry: telemetry.clone(),
        channels,
        secure,
        settings: settings.api,
        hook,
        flagger,
        release_hooks: api::ReleaseHooks::new(settings.hooks.releases),
    });
    let door = Door { tls, connections: settings.api.connections.get() as usize };
    let serve = tokio::spawn(door.serve(listener, router, stopped));
    let (tls, data) = (secure, settings.data);
    Ok(Running { address, tls, data, stop, telemetry, drive, serve, incoming, tell })
}

fn source(
    settings: &SourceSettings,
    data: &std::path::Path,
    world: &World,
) -> Result<(Source, Span), AppError> {
    let accepted: Option<Commit> = world.source.commit.clone();
    match (&settings.path, &settings.url) {
        (Some(_), Some(_)) => {
            Err(SettingsError::Source("both a directory and a repository").into())
        }
        (None, None) => Err(SettingsError::Source("neither a directory nor a repository").into()),
        (Some(path), None) => Ok((Source::Dir(DirSource::new(path)), DIRECTORY_INTERVAL)),
        (None, Some(url)) => {
            let git = GitSettings {
                url: url.clone(),
                branch: settings.branch.clone(),
                path: settings.subpath.clone(),
                store: data.join("source.git"),
                timeout: FETCH,
            };
            Ok((Source::Git(GitSource::new(git, accepted)?), settings.interval))
        }
    }
}

fn connection(settings: ConnectionSettings) -> Connection {
    let ConnectionSettings { kubeconfig, context, probes, flags: _, deployers: _ } = settings;
    Connection { kubeconfig, context, probes }
}

impl Reviewer for TokenReviews {
    fn review<'a>(
        &'a self,
        token: &'a str,
        audiences: &'a [String],
    ) -> BoxFuture<'a, Result<TokenReviewStatus, String>> {
        TokenReviews::review(self, token, audiences).boxed()
    }
}
