//! How a cluster is reached: a context of a kubeconfig that the server's settings name.
//!
//! A kubeconfig is the server's own and never comes from Git: its `exec` plugins are run.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use kube::{
    Client, Config,
    api::DynamicObject,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::{
    Cluster,
    checkup::{self, Checkup},
    failure, image_policy,
    informer::Informers,
    kubeconfig::{self, Files},
    ofrep::{Asker, Probes},
    turns::{Limits, Silent, Standing, Turns},
};
use crate::{
    act::{
        Connections, Deployer,
        jitter::Jitter,
        metrics::{NoClient, auth::Credentials, client::Client as HttpClient},
    },
    clock::Clock,
    config::ProbeSettings,
    ids::Mint,
    model::{ring::Target, source::PolicyPlace},
};

/// How long it may take until a connection stands.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a connection may be silent. A watch is shorter than that (see [`super::sight`]).
const READ: Duration = Duration::from_secs(30);
/// How long the kubeconfig's own credentials plugin may take.
const CREDENTIALS: Duration = Duration::from_secs(20);
/// Clients that are made at once: each may take a thread and a plugin of its own.
const MAKING: usize = 16;

/// One connection of the server's settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Connection {
    /// The kubeconfig file; where none is given, `$KUBECONFIG` or `~/.kube/config`.
    #[serde(default)]
    pub kubeconfig: Option<PathBuf>,
    /// Its context; where none is given, the one that is called like the connection.
    #[serde(default)]
    pub context: Option<String>,
    /// Where feature flags of this cluster can be asked for, by the names that targets give.
    #[serde(default)]
    pub probes: BTreeMap<String, ProbeSettings>,
}

/// The connections of the server's settings; any other name is a context of the default kubeconfig.
pub struct Kubeconfigs {
    settings: BTreeMap<String, Connection>,
    /// What probes are asked through.
    asker: Option<Asker>,
    common: Arc<Common>,
    made: Mutex<BTreeMap<String, Arc<Cluster>>>,
}

impl Kubeconfigs {
    /// Takes the settings; nothing is read or connected before it is needed.
    pub fn new(settings: BTreeMap<String, Connection>) -> Self {
        Self { settings, asker: None, common: Arc::default(), made: Mutex::default() }
    }

    /// Asks probes with these credentials, which are those of metric sources.
    ///
    /// # Errors
    /// Where the certificates that a probe is trusted by cannot be read.
    pub fn with_probes(
        self,
        credentials: Credentials,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, NoClient> {
        let client = Arc::new(HttpClient::new(credentials)?);
        Ok(Self { asker: Some(Asker { client, clock }), ..self })
    }

    /// Looks at what is behind a connection, and at what it allows of all that those targets need.
    ///
    /// # Errors
    /// In words: no connection can be made, or the API server does not answer.
    pub async fn checkup(&self, connection: &str, targets: &[Target]) -> Result<Checkup, String> {
        checkup::checkup(&self.cluster(connection).link, targets).await
    }

    /// A Flux `ImagePolicy`, by whichever version the cluster serves.
    ///
    /// # Errors
    /// In words: it is not there, or cannot be seen.
    pub async fn image_policy(&self, place: &PolicyPlace) -> Result<DynamicObject, String> {
        image_policy::get(&self.cluster(&place.connection).link, place).await
    }

    fn cluster(&self, connection: &str) -> Arc<Cluster> {
        let mut made = self.made.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(cluster) = made.get(connection) {
            return cluster.clone();
        }
        let settings = self.settings.get(connection).cloned().unwrap_or_default();
        let mut link = Link::new(connection.to_owned(), settings, self.common.clone());
        link.probes.asker = self.asker.clone();
        let link = Arc::new(link);
        let cluster = Arc::new(Cluster { link });
        made.insert(connection.to_owned(), cluster.clone());
        cluster
    }
}

impl std::fmt::Debug for Kubeconfigs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kubeconfigs").field("made", &self.made).finish_non_exhaustive()
    }
}

impl Connections for Kubeconfigs {
    fn deployer(&self, connection: &str) -> Result<Arc<dyn Deployer>, String> {
        Ok(self.cluster(connection))
    }
}

/// Where the credentials of a connection are.
#[derive(Debug, Clone)]
pub(super) enum Way {
    /// A context of a kubeconfig; the current one where none is named. Where no file is, `$KUBECONFIG` or
    /// `~/.kube/config`.
    Kubeconfig(Option<PathBuf>, Option<String>),
    /// The ServiceAccount that this process runs as, in the cluster that it runs in.
    Inside,
}

/// What all connections have in common.
struct Common {
    turns: Turns,
    jitter: Jitter,
    files: Files,
    making: Semaphore,
}

impl Default for Common {
    fn default() -> Self {
        Self {
            turns: Turns::new(Limits::default()),
            jitter: Jitter::new(Mint::system()),
            files: Files::default(),
            making: Semaphore::new(MAKING),
        }
    }
}

/// A connection with the client that was made for it.
pub(super) struct Link {
    name: String,
    from: Way,
    probes: Probes,
    common: Arc<Common>,
    standing: Standing,
    informers: Informers,
    client: tokio::sync::Mutex<Option<Client>>,
}

/// Why a request has no answer that is any use.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// There is nobody to ask, or nothing was answered; in words.
    Nothing(String),
    /// What was answered.
    Error(kube::Error),
}

impl Unanswered {
    /// In words, without a secret.
    pub(super) fn words(&self) -> String {
        match self {
            Unanswered::Nothing(why) => why.clone(),
            Unanswered::Error(error) => failure::words(error),
        }
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Link {
    fn new(name: String, settings: Connection, common: Arc<Common>) -> Self {
        let context = settings.context.unwrap_or_else(|| name.clone());
        let from = Way::Kubeconfig(settings.kubeconfig, Some(context));
        let probes = Probes { asker: None, known: settings.probes };
        Self::over(name, from, probes, common)
    }

    /// A connection that is no target's.
    pub(super) fn by(name: String, from: Way) -> Self {
        let probes = Probes { asker: None, known: Default::default() };
        Self::over(name, from, probes, Arc::default())
    }

    fn over(name: String, from: Way, probes: Probes, common: Arc<Common>) -> Self {
        let standing = common.turns.standing();
        let (informers, client) = (Informers::default(), tokio::sync::Mutex::default());
        Self { name, from, probes, common, standing, informers, client }
    }

    /// The connection's name in the server's settings.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The kubeconfig's context, which people give to kubectl too.
    pub(super) fn context(&self) -> &str {
        match &self.from {
            Way::Kubeconfig(_, context) => context.as_deref().unwrap_or("the current one"),
            Way::Inside => "in-cluster",
        }
    }

    /// Whom to ask what flags serve.
    pub(super) fn probes(&self) -> &Probes {
        &self.probes
    }

    /// The client, made at the first call; where it cannot be made, the next call tries again.
    pub(super) async fn client(&self) -> Result<Client, String> {
        let mut client = self.client.lock().await;
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        let made =
            self.connect().await.map_err(|why| format!("connection `{}`: {why}", self.name))?;
        *client = Some(made.clone());
        Ok(made)
    }

    /// Makes a request that only reads, when its turn has come.
    ///
    /// # Errors
    /// It was not made, not answered, or refused.
    pub(super) async fn ask<T, F>(&self, call: impl FnOnce(Client) -> F) -> Result<T, Unanswered>
    where
        F: Future<Output = kube::Result<T>>,
    {
        let client = self.client().await.map_err(Unanswered::Nothing)?;
        match self.common.turns.take(&self.standing, call(client)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                if failure::is_stranger(&error) {
                    self.forget().await;
                }
                Err(Unanswered::Error(error))
            }
            Err(Silent(why)) => Err(Unanswered::Nothing(why)),
        }
    }

    /// A watch was silent for too long.
    pub(super) fn doubt(&self) {
        self.standing.doubt();
    }

    /// Half to all of a pause.
    pub(super) fn spread(&self, pause: Duration) -> Duration {
        self.common.jitter.spread(pause)
    }

    /// What is watched in the cluster.
    pub(super) fn informers(&self) -> &Informers {
        &self.informers
    }

    /// Makes the client anew at the next call: its credentials were not accepted, and the kubeconfig
    /// may name better ones by now.
    pub(super) async fn forget(&self) {
        *self.client.lock().await = None;
    }

    async fn connect(&self) -> Result<Client, String> {
        let _making = self.common.making.acquire().await;
        let mut config = match self.from.clone() {
            Way::Inside => blocking(Config::incluster).await?.map_err(|error| {
                format!("ringward does not run in a cluster that gives it an account: {error}")
            })?,
            Way::Kubeconfig(path, context) => {
                let common = self.common.clone();
                let named = context.clone();
                let read = move || match path {
                    Some(path) => {
                        let whole = common.files.read(&path)?;
                        Ok((kubeconfig::part(&whole, named.as_deref()), Some(whole)))
                    }
                    None => {
                        let whole = Kubeconfig::read()?;
                        Ok((kubeconfig::part(&whole, named.as_deref()), None))
                    }
                };
                // Held until the client stands, so that others who make one now need not read the file.
                let (part, _whole) = blocking(read).await?.map_err(|e| self.explain(&e))?;
                let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
                let config = Config::from_custom_kubeconfig(part, &options).await;
                config.map_err(|e| self.explain(&e))?
            }
        };
        if config.cluster_url.scheme_str() == Some("http") && config.root_cert.is_none() {
            // It verifies nobody, and need not hold all of the machine's certificates for that.
            config.root_cert = Some(Vec::new());
        }
        config.connect_timeout = Some(CONNECT);
        config.read_timeout = Some(READ);
        config.write_timeout = Some(READ);
        // A pooled connection's idle time is not the server's silence.
        config.reset_reader_on_write = true;
        // The dispatcher alone retries.
        config.default_retry = false;
        // Here the exec plugin is run, which blocks the thread that it is run on.
        let runtime = tokio::runtime::Handle::current();
        let make = move || {
            let _inside = runtime.enter();
            Client::try_from(config)
        };
        blocking(make).await?.map_err(|e| failure::words(&e))
    }

    /// Says what is wrong with the kubeconfig. Its content is never repeated: it holds secrets.
    fn explain(&self, error: &KubeconfigError) -> String {
        let file = match &self.from {
            Way::Kubeconfig(Some(path), _) => format!("kubeconfig {}", path.display()),
            Way::Kubeconfig(None, _) | Way::Inside => {
                "the kubeconfig ($KUBECONFIG or ~/.kube/config)".into()
            }
        };
        let context = self.context();
        match error {
            KubeconfigError::LoadContext(_) => format!("{file} has no context `{context}`"),
            KubeconfigError::LoadClusterOfContext(cluster) => {
                format!("{file}: context `{context}` names cluster `{cluster}`, which is not there")
            }
            KubeconfigError::ReadConfig(why, path) => {
                format!("kubeconfig {} cannot be read: {why}", path.display())
            }
            KubeconfigError::FindPath => format!("{file} is not there"),
            KubeconfigError::Parse(_) => format!("{file} is not valid YAML of a kubeconfig"),
            KubeconfigError::MissingClusterUrl | KubeconfigError::ParseClusterUrl(_) => {
                format!("{file}: the cluster of context `{context}` has no usable `server` URL")
            }
            KubeconfigError::LoadCertificateAuthority(_)
            | KubeconfigError::ParseCertificates(_) => {
                format!("{file}: the certificate authority of context `{context}` cannot be loaded")
            }
            KubeconfigError::LoadClientCertificate(_) | KubeconfigError::LoadClientKey(_) => {
                format!("{file}: the client certificate of context `{context}` cannot be loaded")
            }
            KubeconfigError::CurrentContextNotSet
            | KubeconfigError::KindMismatch
            | KubeconfigError::ApiVersionMismatch
            | KubeconfigError::ParseProxyUrl(_) => {
                format!("{file}: context `{context}` cannot be used: {error}")
            }
        }
    }
}

/// Runs what reads files or starts programs off the threads that everything else runs on.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    match tokio::time::timeout(CREDENTIALS, tokio::task::spawn_blocking(work)).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(_)) => Err("the kubeconfig's credentials could not be had".into()),
        Err(_) => {
            Err(format!("the kubeconfig's credentials plugin did not end within {CREDENTIALS:?}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn why(kubeconfig: &str, context: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        std::fs::write(&path, kubeconfig).unwrap();
        let settings = Connection {
            kubeconfig: Some(path),
            context: Some(context.into()),
            ..Connection::default()
        };
        Link::new("eu".into(), settings, Arc::default())
            .client()
            .await
            .err()
            .expect("must be refused")
    }

    #[tokio::test]
    async fn a_connection_that_cannot_be_made_says_where_and_why() {
        let missing = Connection {
            kubeconfig: Some("/nowhere/config".into()),
            context: None,
            ..Connection::default()
        };
        let words = Link::new("eu".into(), missing, Arc::default()).client().await.err();
        let words = words.expect("must be refused");
        assert!(words.contains("`eu`") && words.contains("/nowhere/config"), "{words}");

        let words = why("apiVersion: v1\nkind: Config\n", "prod").await;
        assert!(words.contains("no context `prod`"), "{words}");
    }

    #[tokio::test]
    async fn no_secret_of_a_kubeconfig_is_repeated() {
        let broken = "users: [{name: u, user: {token: canary-7f3a}}\ncontexts: ]";
        let words = why(broken, "prod").await;
        assert!(!words.contains("canary-7f3a"), "{words}");

        let plugin = "
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]
users:
- name: u
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1
      command: sh
      args: ['-c', 'echo canary-7f3a; echo canary-7f3a >&2; exit 1']
      interactiveMode: Never
contexts: [{name: prod, context: {cluster: c, user: u}}]
";
        let words = why(plugin, "prod").await;
        assert!(!words.contains("canary-7f3a"), "{words}");
        assert!(words.contains("credentials"), "{words}");
    }

    #[tokio::test]
    async fn a_connection_without_settings_is_a_context_of_its_name() {
        let connections = Kubeconfigs::new(BTreeMap::new());
        assert!(connections.deployer("eu").is_ok());
        assert_eq!(connections.made.lock().unwrap()["eu"].link.context(), "eu");
    }
}
