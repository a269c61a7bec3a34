//! The server's own settings: where it listens, keeps its journal, reads declarations, and how it
//! reaches clusters and metric sources. Never from Git; secrets only as the names of files.

mod auth;

pub use auth::{
    Algorithm, AuthSettings, Binding, BrowserSettings, KubernetesSettings, OidcSettings, is_place,
    is_role, is_trustworthy,
};

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    net::SocketAddr,
    num::NonZeroU32,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use crate::{
    ids::{Jurisdiction, PlanName, Principal},
    model::{
        blocs,
        limits::{Limits, PerPlace},
        residency::Home,
        time::Span,
    },
};

/// Where the API listens unless told otherwise: this machine only.
pub const LISTEN: &str = "127.0.0.1:7474";

/// The settings of `ringward serve`. A YAML file gives them; flags win over it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Settings {
    /// The address of the API and the dashboard.
    pub listen: SocketAddr,
    /// The certificate that it shows; without one there is no TLS.
    pub tls: Option<TlsSettings>,
    /// How much of it there may be at once.
    pub api: ApiSettings,
    /// Who is let in beside those with a token of ringward's own.
    pub auth: AuthSettings,
    /// The data directory.
    pub data: PathBuf,
    /// Where declarations come from.
    pub source: SourceSettings,
    /// By the name that a `Cluster` gives as its connection; any other name is a context of the
    /// default kubeconfig.
    pub connections: BTreeMap<String, ConnectionSettings>,
    /// Where this server stands, for residency rules; what it does not say is not known. Recorded when
    /// it changes.
    pub place: Home,
    /// By the start of a metric source's URL: how it is trusted, and what it is shown so that it answers.
    pub metrics: BTreeMap<String, MetricsAuth>,
    /// Registries that a `ReleaseSource` may name, by what images begin with: `registry.example.com`. No others are
    /// asked.
    pub registries: BTreeMap<String, RegistrySettings>,
    /// Where people reach this server, for links in messages; there are none without it.
    pub external_url: Option<String>,
    /// By the name that a `Notifier` gives: where messages go, and with what.
    pub channels: BTreeMap<String, ChannelSettings>,
    /// What is limited over all plans. Recorded at every start, so that the journal says which were in
    /// force.
    pub limits: Limits,
    /// Whom it tells how it does, beside whoever asks at `/metrics`.
    pub telemetry: TelemetrySettings,
    /// Who beside a Git host may ask by a webhook.
    pub hooks: HookSettings,
}

/// Webhooks of deployers, which ask before they go on, and of build systems, which ask for releases.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HookSettings {
    /// The file with the secret that tokens of Flagger's hooks are made with. Without it none are served.
    pub flagger_secret_file: Option<PathBuf>,
    /// Build systems, by the name that stands in the URL of each and in the audit.
    pub releases: BTreeMap<String, ReleaseHook>,
}

/// A build system that may ask for releases by signed messages.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReleaseHook {
    /// The file that holds the secret that its messages are signed with: `whsec_` and base64. Read each time, so that
    /// it can be rotated.
    pub secret_file: PathBuf,
    /// The plans that it may release.
    pub plans: Vec<PlanName>,
}

/// Whom the server tells how it does.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TelemetrySettings {
    /// A collector that takes traces and metrics by OTLP; without one, the `OTEL_EXPORTER_OTLP_*` variables
    /// may name it.
    pub otlp: Option<OtlpSettings>,
}

/// A collector of OpenTelemetry's, by OTLP over HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OtlpSettings {
    /// Its URL, beneath which are `/v1/traces` and `/v1/metrics`.
    pub endpoint: String,
    /// A file of headers that each request carries, one `Name: value` a line. Read at the start.
    #[serde(default)]
    pub headers_file: Option<PathBuf>,
    /// The time between two tellings of the metrics.
    #[serde(default = "minute", deserialize_with = "pace")]
    pub interval: Span,
}

fn minute() -> Span {
    Span::minutes(1)
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7474)),
            tls: None,
            api: ApiSettings::default(),
            auth: AuthSettings::default(),
            data: default_data(),
            source: SourceSettings::default(),
            connections: BTreeMap::new(),
            place: Home::default(),
            metrics: BTreeMap::new(),
            registries: BTreeMap::new(),
            external_url: None,
            channels: BTreeMap::new(),
            limits: Limits::default(),
            telemetry: TelemetrySettings::default(),
            hooks: HookSettings::default(),
        }
    }
}

/// How much of the API there may be at once; who comes then is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ApiSettings {
    /// Connections; 4096 unless told otherwise.
    pub connections: NonZeroU32,
    /// What one caller may ask in a second, in the long run; 50 unless told otherwise, and four times as
    /// much at once.
    pub requests_per_second: NonZeroU32,
}

impl Default for ApiSettings {
    fn default() -> Self {
        const CONNECTIONS: NonZeroU32 = NonZeroU32::new(4_096).unwrap();
        const REQUESTS: NonZeroU32 = NonZeroU32::new(50).unwrap();
        Self { connections: CONNECTIONS, requests_per_second: REQUESTS }
    }
}

/// The files of the server's certificate, in PEM. They are read again when they change.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TlsSettings {
    /// The certificate, and behind it those that lead to its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Authorities of clients: whoever connects must show a certificate of one of them. Who they are is
    /// said by their token all the same.
    pub client_ca: Option<PathBuf>,
}

/// Where declarations come from: a directory, or a repository by URL.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SourceSettings {
    /// A directory that holds `rings/` and `policies/`.
    pub path: Option<PathBuf>,
    /// A repository's URL.
    pub url: Option<String>,
    /// Its branch.
    pub branch: String,
    /// The directory inside of the repository that holds `rings/` and `policies/`.
    pub subpath: Option<String>,
    /// By the e-mail address of a commit's author: as whom ringward knows them, where that is another name. The
    /// author of a `Release` does not approve it.
    pub authors: BTreeMap<String, Principal>,
    /// The time between two looks at a repository.
    #[serde(deserialize_with = "pace")]
    pub interval: Span,
    /// The file with the secret that a Git host's webhooks are signed with: each of them is a look at
    /// once. Without it there is no such webhook.
    pub hook_secret_file: Option<PathBuf>,
}

impl Default for SourceSettings {
    fn default() -> Self {
        Self {
            path: None,
            url: None,
            branch: "main".into(),
            subpath: None,
            authors: BTreeMap::new(),
            interval: Span::seconds(30),
            hook_secret_file: None,
        }
    }
}

/// How a cluster is reached.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConnectionSettings {
    /// A kubeconfig; the default one where none is named.
    pub kubeconfig: Option<PathBuf>,
    /// Its context; the connection's name where none is named.
    pub context: Option<String>,
    /// Where its feature flags can be asked for, by the names that targets give.
    #[serde(default)]
    pub probes: BTreeMap<String, ProbeSettings>,
    /// The flag services that stand beside it, by the names that targets give.
    #[serde(default)]
    pub flags: BTreeMap<String, FlagServiceSettings>,
    /// The deployers that stand beside it, by the names that targets give. With deployers, and neither a kubeconfig
    /// nor a context, it has no cluster.
    #[serde(default)]
    pub deployers: BTreeMap<String, DeployerSettings>,
}

impl ConnectionSettings {
    /// Whether there is a cluster behind it, or deployers alone.
    pub fn has_cluster(&self) -> bool {
        self.deployers.is_empty() || self.kubeconfig.is_some() || self.context.is_some()
    }
}

/// A service that deploys, in no cluster, and who may use it. What it is shown so that it answers is under `metrics`,
/// as of any source.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeployerSettings {
    /// Its URL.
    pub url: String,
    /// The plans that may use it: its owner's consent.
    pub plans: Vec<PlanName>,
    /// How often runs are looked at; ten seconds unless told otherwise.
    #[serde(default = "every", deserialize_with = "pace")]
    pub interval: Span,
    /// The region that requests are signed for. Of CodeDeploy.
    #[serde(default)]
    pub region: Option<String>,
    /// The account. Of Harness.
    #[serde(default)]
    pub account: Option<String>,
}

/// A feature flag service, and what of it belongs to one cluster. What it is shown so that it answers is under
/// `metrics`, as of any source.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FlagServiceSettings {
    /// Its URL, without the API's path.
    pub url: String,
    /// The environment whose flags are this cluster's: its name, in LaunchDarkly its key, in Flagsmith its client-side
    /// key.
    pub environment: String,
    /// How often a flag is looked at; ten seconds unless told otherwise.
    #[serde(default = "every", deserialize_with = "pace")]
    pub interval: Span,
}

fn every() -> Span {
    Span::seconds(10)
}

/// The time between two looks, or two tellings: whoever is looked at must come to something else in between.
fn pace<'de, D: Deserializer<'de>>(from: D) -> Result<Span, D::Error> {
    let span = Span::deserialize(from)?;
    match span < Span::seconds(1) {
        true => {
            Err(D::Error::custom(format!("an interval of {span} is too short: give 1s or more")))
        }
        false => Ok(span),
    }
}

/// A service that speaks OFREP. What it is shown so that it answers is under `metrics`, as of any source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProbeSettings {
    /// Its URL, without the protocol's own path.
    pub url: String,
    /// How long it may take until it serves what is stored; two minutes unless told otherwise: a kubelet brings a
    /// ConfigMap to its pods within a minute or two.
    #[serde(default = "within")]
    pub within: Span,
}

fn within() -> Span {
    Span::minutes(2)
}

/// How a metric source is trusted, and what it is shown so that it answers. Never from Git, never
/// shown; secrets are read from their files at each request, so that they can be rotated.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct MetricsAuth {
    /// A file that holds a bearer token.
    pub bearer_token_file: Option<PathBuf>,
    /// A user and the file that holds the password.
    pub basic: Option<BasicAuth>,
    /// The files that hold an AWS access key, which requests are signed with.
    pub aws: Option<AwsKey>,
    /// The file that holds the secret that a webhook's messages are signed with.
    pub webhook_secret_file: Option<PathBuf>,
    /// Further headers, such as a tenant's.
    pub headers: BTreeMap<String, String>,
    /// Further headers, each with the file that holds its value.
    pub header_files: BTreeMap<String, PathBuf>,
    /// A file of certificates in PEM, which are trusted in the place of the system's. Read at the start.
    pub ca_file: Option<PathBuf>,
}

/// How a registry is reached and trusted, and what it is shown. Never from Git, never shown.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RegistrySettings {
    /// Its URL without `/v2`; `https://` and its name where it is not given.
    pub url: Option<String>,
    /// A user that may pull and the file that holds the password, which is read at each look: shown to it, or to whoever
    /// it has hand out its tokens. Without it nobody is named.
    pub basic: Option<BasicAuth>,
    /// A file of certificates in PEM, which are trusted in the place of the system's. Read at the start.
    pub ca_file: Option<PathBuf>,
}

/// A place that messages go to. Never from Git, never shown; secrets are read from their files at each
/// message, so that they can be rotated.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChannelSettings {
    /// What listens there.
    #[serde(rename = "type")]
    pub kind: ChannelKind,
    /// Where it is, for a webhook or CDEvents; for PagerDuty where its API is, if not in the usual place.
    pub url: Option<String>,
    /// The file that holds the URL, where that is the secret: Slack's and Teams' are.
    pub url_file: Option<PathBuf>,
    /// The file that holds the secret that a webhook's messages are signed with: `whsec_` and base64.
    pub secret_file: Option<PathBuf>,
    /// The file that holds a bearer token, for CDEvents.
    pub bearer_token_file: Option<PathBuf>,
    /// The file that holds PagerDuty's routing key.
    pub routing_key_file: Option<PathBuf>,
    /// A file of certificates in PEM, which are trusted in the place of the system's. Read at the start.
    pub ca_file: Option<PathBuf>,
}

/// What listens to a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelKind {
    /// Whoever takes JSON that is signed by the rules of Standard Webhooks.
    Webhook,
    /// A Slack incoming webhook.
    Slack,
    /// A Teams workflow that posts an Adaptive Card.
    Teams,
    /// PagerDuty's Events API, version 2.
    Pagerduty,
    /// Whoever takes CDEvents as CloudEvents.
    Cdevents,
}

impl ChannelKind {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            ChannelKind::Webhook => "webhook",
            ChannelKind::Slack => "slack",
            ChannelKind::Teams => "teams",
            ChannelKind::Pagerduty => "pagerduty",
            ChannelKind::Cdevents => "cdevents",
        }
    }
}

/// A user and the file that holds the password.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BasicAuth {
    /// The user.
    pub username: String,
    /// The file that holds the password.
    pub password_file: PathBuf,
}

/// The files that hold an AWS access key.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AwsKey {
    /// The file that holds its id.
    pub access_key_id_file: PathBuf,
    /// The file that holds its secret.
    pub secret_access_key_file: PathBuf,
    /// The file that holds the token of a session, where the key is of one.
    pub session_token_file: Option<PathBuf>,
}

/// Shows which credentials there are, and none of them.
impl fmt::Debug for MetricsAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            bearer_token_file,
            basic,
            aws,
            webhook_secret_file,
            headers,
            header_files,
            ca_file,
        } = self;
        f.debug_struct("MetricsAuth")
            .field("bearer_token_file", bearer_token_file)
            .field("basic", basic)
            .field("aws", aws)
            .field("webhook_secret_file", webhook_secret_file)
            .field("headers", &headers.keys())
            .field("header_files", header_files)
            .field("ca_file", ca_file)
            .finish()
    }
}

/// Shows where the password lies.
impl fmt::Debug for BasicAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BasicAuth")
            .field("password_file", &self.password_file)
            .finish_non_exhaustive()
    }
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("{}: the settings cannot be read", .0.display())]
    Unreadable(PathBuf, #[source] io::Error),
    /// The file is not what settings look like.
    #[error("{}: these are no settings; README.md shows some", .0.display())]
    Malformed(PathBuf, #[source] serde_yaml::Error),
    /// Both or neither of a directory and a URL.
    #[error("the settings give {0} for declarations; give either source.path or source.url")]
    Source(&'static str),
    /// Identities that cannot be taken so.
    #[error("the settings' auth.{name} {detail}")]
    Auth {
        /// Where.
        name: String,
        /// What is wrong there.
        detail: String,
    },
    /// A place that is no country.
    #[error(
        "the settings give `{0}` under place, which is no ISO 3166-1 alpha-2 country code; use two \
         capital letters, such as DE, IE or US"
    )]
    Place(Jurisdiction),
    /// Links that lead nowhere.
    #[error(
        "the settings give `{0}` as externalUrl, to which nobody can go; give the URL by which people reach \
         this server, such as https://ringward.example.com"
    )]
    ExternalUrl(String),
    /// A limit of a place that cannot be meant.
    #[error(
        "the settings limit `{given}` under limits.inMotion.perJurisdiction, which is neither a country \
         nor a bloc and would limit nothing; did you mean {meant}?"
    )]
    Limit {
        /// What is written.
        given: Jurisdiction,
        /// What there is.
        meant: String,
    },
}

impl Settings {
    /// Reads them from a file.
    ///
    /// # Errors
    /// Names the file, and the line and column of what is wrong in it.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let text =
            fs::read_to_string(path).map_err(|e| SettingsError::Unreadable(path.into(), e))?;
        let read: Self =
            serde_yaml::from_str(&text).map_err(|e| SettingsError::Malformed(path.into(), e))?;
        read.auth.check(read.external_url.as_deref())?;
        let Home { evaluator, data, backups } = &read.place;
        let wrong = [evaluator, data, backups]
            .into_iter()
            .flatten()
            .find(|place| !blocs::is_country(place.as_str()))
            .cloned();
        if let Some(place) = wrong {
            return Err(SettingsError::Place(place));
        }
        if let Some(url) = read.external_url.as_ref().filter(|url| !is_base(url)) {
            return Err(SettingsError::ExternalUrl(url.clone()));
        }
        if let PerPlace::Named(named) = &read.limits.in_motion.per_jurisdiction {
            let mistaken =
                named.keys().find_map(|given| Some((given.clone(), mistaken(given.as_str())?)));
            if let Some((given, meant)) = mistaken {
                return Err(SettingsError::Limit { given, meant });
            }
        }
        Ok(read)
    }
}

/// Whether links can be made of it: a scheme, a host and perhaps a path.
fn is_base(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        !rest.is_empty()
            && !rest.starts_with('/')
            && rest.bytes().all(|b| b.is_ascii_graphic() && !b"?#@\\<>\"".contains(&b))
    })
}

/// What must have been meant by the name of a place that can be none; nothing for one that is known, or that
/// declarations may yet add as a bloc.
fn mistaken(given: &str) -> Option<String> {
    let known =
        |name: &str| blocs::is_country(name) || blocs::blocs().any(|(bloc, _)| bloc == name);
    let upper = given.to_uppercase();
    match upper.as_str() {
        _ if known(given) => None,
        name if known(name) => Some(upper),
        "UK" => Some("GB".into()),
        "EL" => Some("GR".into()),
        name if name.len() == 2 => Some("a code of ISO 3166-1, such as DE, IE or US".into()),
        _ => None,
    }
}

/// `$XDG_DATA_HOME/ringward`, `~/.local/share/ringward`, or `ringward-data` here: the command line
/// finds the admin token of a server on the same machine there.
pub fn default_data() -> PathBuf {
    let home = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).or_else(|| {
        let home = std::env::var_os("HOME").map(PathBuf::from)?;
        Some(home.join(".local/share"))
    });
    home.map_or_else(|| PathBuf::from("ringward-data"), |home| home.join("ringward"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_country() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("ringward.yaml");
        fs::write(&path, "place: {evaluator: IE, data: IE, backups: DE}").expect("written");
        let read = Settings::read(&path).expect("settings").place;
        assert_eq!(read.backups, Some("DE".into()));
        for wrong in ["EU", "ie", "Ireland"] {
            fs::write(&path, format!("place: {{data: {wrong}}}")).expect("written");
            let error = Settings::read(&path).expect_err("no country").to_string();
            assert!(error.contains(wrong) && error.contains("such as DE"), "{error}");
        }
    }

    #[test]
    fn a_limit_of_a_place_that_cannot_be_one_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("ringward.yaml");
        let read = |name: &str| {
            let text = format!("limits: {{inMotion: {{perJurisdiction: {{{name}: 1}}}}}}");
            fs::write(&path, text).expect("written");
            Settings::read(&path)
        };
        for fine in ["EU", "EFTA", "IE", "nordics"] {
            assert!(read(fine).is_ok(), "{fine}");
        }
        for (wrong, meant) in
            [("eu", "EU"), ("ie", "IE"), ("UK", "GB"), ("XX", "such as DE"), ("Eea", "EEA")]
        {
            let error = read(wrong).expect_err(wrong).to_string();
            assert!(error.contains(wrong) && error.contains(meant), "{error}");
        }
    }

    #[test]
    fn nobody_is_looked_at_without_a_pause() {
        let service = "url: 'https://x', environment: e";
        for (before, after) in [
            ("source: {url: 'https://git/x', interval: ", "}"),
            (&*format!("connections: {{eu: {{flags: {{u: {{{service}, interval: "), "}}}}"),
            ("connections: {eu: {deployers: {u: {url: 'https://x', plans: [a], interval: ", "}}}}"),
        ] {
            let read =
                |span: &str| serde_yaml::from_str::<Settings>(&format!("{before}{span}{after}"));
            assert!(read("1s").is_ok(), "{before}");
            let error = read("0s").expect_err("no pause").to_string();
            assert!(error.contains("too short: give 1s or more"), "{error}");
        }
    }

    #[test]
    fn what_is_left_out_has_a_default_and_what_is_unknown_is_refused() {
        let settings: Settings =
            serde_yaml::from_str("source: {url: 'https://git/x', branch: prod}").expect("settings");
        assert_eq!(settings.listen.to_string(), LISTEN);
        assert_eq!(settings.source.branch, "prod");
        assert_eq!(settings.source.interval, Span::seconds(30));
        let error = serde_yaml::from_str::<Settings>("listn: 1.2.3.4:5").expect_err("a typo");
        assert!(error.to_string().contains("listn"), "{error}");
        assert!(error.to_string().contains("listen"), "{error}");
    }

    #[test]
    fn limits_that_nothing_could_pass_are_refused() {
        let read = |text| serde_yaml::from_str::<Settings>(text);
        let settings = read("limits: {rollbacks: {atOnce: 2, perHour: 10}}").expect("settings");
        let limits = settings.limits.rollbacks;
        assert_eq!(
            (limits.at_once.map(u32::from), limits.per_hour.map(u32::from)),
            (Some(2), Some(10))
        );
        assert_eq!(read("listen: 127.0.0.1:1").expect("settings").limits, Limits::default());
        let error = read("limits: {rollbacks: {atOnce: 0}}").expect_err("none ever").to_string();
        assert!(error.contains("limits.rollbacks.atOnce") && error.contains("nonzero"), "{error}");
        let settings =
            read("limits: {inMotion: {rings: 20, perRegion: 2, perJurisdiction: {EU: 3, US: 1}}}");
        let limits = settings.expect("settings").limits.in_motion;
        let number = |n| NonZeroU32::new(n).expect("a number");
        assert_eq!(limits.rings, Some(number(20)));
        assert_eq!(limits.per_region, PerPlace::Each(number(2)));
        let named = [("EU".into(), number(3)), ("US".into(), number(1))].into();
        assert_eq!(limits.per_jurisdiction, PerPlace::Named(named));
        for (wrong, says) in [
            ("{rings: 0}", "nonzero"),
            ("{perRegion: 0}", "nonzero"),
            ("{perRegion: {eu-west-1: 0}}", "nonzero"),
            ("{perRegion: few}", "a number for every place"),
            ("{perregion: 2}", "perRegion"),
        ] {
            let text = format!("limits: {{inMotion: {wrong}}}");
            let error = serde_yaml::from_str::<Settings>(&text).expect_err(wrong).to_string();
            assert!(error.contains(says), "{wrong}: {error}");
        }
        let error = read("limits: {rollbacks: {atonce: 1}}").expect_err("a typo").to_string();
        assert!(error.contains("atOnce"), "{error}");
    }
}
