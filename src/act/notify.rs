//! Messages to people and programs outside: how each kind of listener is spoken to.
//!
//! What a listener is sent is a pure function of what is told, one file a kind. [`Courier`] makes one attempt
//! and says how it ended; patience is for whoever keeps the outbox.
//!
//! Architecture invariant: where messages go and what they are signed with is the server's settings' to say,
//! never a declaration's: whoever writes a policy cannot make the server send signed messages anywhere. No
//! answer of a listener becomes part of an error.

mod cdevents;
mod pagerduty;
mod slack;
mod teams;
#[cfg(test)]
mod tests;
mod webhook;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use jiff::Timestamp;
use reqwest::Url;
use sha2::{Digest as _, Sha256};

use super::metrics::{
    NoClient,
    auth::{AuthError, Credentials, is_plain, secret},
    client::{Client, permitted},
    question::Outgoing,
    webhook::sign,
};
use crate::{
    config::{ChannelKind, ChannelSettings, MetricsAuth},
    ids::{ClusterName, PlanName, Principal, ReleaseId, RingName, hex},
    model::{notify::Topic, ring::Artifact, time::Span},
};

/// How long a listener may take over a message.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest text of a message, in characters: listeners refuse longer ones.
const LONGEST: usize = 2_000;

/// Where PagerDuty's API is.
const PAGERDUTY: &str = "https://events.pagerduty.com";

/// Something that is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// Stable: the same however often it is sent. Letters, digits, `_` and `-` only.
    pub id: String,
    /// What kind of thing happened.
    pub topic: Topic,
    /// When.
    pub at: Timestamp,
    /// The journal's entry that it is told of.
    pub seq: u64,
    /// The plan.
    pub plan: Option<PlanName>,
    /// The release.
    pub release: Option<ReleaseId>,
    /// What it deploys.
    pub artifact: Option<Artifact>,
    /// The ring.
    pub ring: Option<RingName>,
    /// The attempt on the ring; 0 where it is about none.
    pub attempt: u32,
    /// The cluster.
    pub cluster: Option<ClusterName>,
    /// Whether something else ran there before.
    pub replaced: bool,
    /// Who asked for it.
    pub by: Option<Principal>,
    /// One sentence, in the words of what was recorded.
    pub said: String,
    /// Where people can look.
    pub link: Option<String>,
}

impl Told {
    /// A line to begin with: `checkout@2.14.0 eu-west: failed`.
    fn title(&self) -> String {
        let release = self.release.as_ref().map(ToString::to_string);
        let plan = self.plan.as_ref().map(ToString::to_string);
        let ring = self.ring.as_ref().map(ToString::to_string);
        let about: Vec<_> = release.or(plan).into_iter().chain(ring).collect();
        match about.as_slice() {
            [] => format!("ringward: {}", in_words(self.topic)),
            about => format!("{}: {}", about.join(" "), in_words(self.topic)),
        }
    }

    /// The sentence, no longer than a listener takes.
    fn sentence(&self) -> String {
        short(&self.said, LONGEST)
    }

    /// Name and value of what it is about, for listeners that show such pairs.
    fn facts(&self) -> Vec<(&'static str, String)> {
        let text = |name, value: Option<String>| value.map(|value| (name, value));
        let some = [
            text("Release", self.release.as_ref().map(ToString::to_string)),
            text("Ring", self.ring.as_ref().map(ToString::to_string)),
            text("Cluster", self.cluster.as_ref().map(ToString::to_string)),
            text("By", self.by.as_ref().map(ToString::to_string)),
            text("Entry", (self.seq > 0).then(|| self.seq.to_string())),
        ];
        some.into_iter().flatten().collect()
    }
}

/// The topic as people say it: `rolled back`.
fn in_words(topic: Topic) -> String {
    let name = topic.name();
    let spaced = name.chars().flat_map(|c| {
        c.is_ascii_uppercase().then_some(' ').into_iter().chain([c.to_ascii_lowercase()])
    });
    spaced.collect()
}

/// The first so many characters.
fn short(text: &str, most: usize) -> String {
    match text.chars().count() > most {
        true => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
        false => text.to_owned(),
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// The listener has it.
    Done,
    /// What listens there has no use for what is told: nothing was sent.
    Nothing,
    /// It may take it later; after so long, if it said so.
    Later(Option<Span>, String),
    /// It will never take this one.
    Refused(String),
    /// It wants nothing more (410).
    Gone,
}

/// Takes messages to channels.
#[derive(Debug)]
pub struct Courier(BTreeMap<String, Channel>);

#[derive(Debug)]
struct Channel {
    settings: ChannelSettings,
    /// Its URL, where that is no secret.
    url: Option<Url>,
    client: Client,
}

/// Why a channel of the settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "a variant's fields are its sentence's words")]
pub enum NoChannel {
    #[error("channel `{channel}` of the settings: {kind} takes {needs}")]
    Lacks { channel: String, kind: &'static str, needs: &'static str },
    #[error(
        "channel `{channel}` of the settings: {kind} has no use for {given}; take it out, it takes {needs}"
    )]
    Idle { channel: String, kind: &'static str, given: &'static str, needs: &'static str },
    #[error(
        "channel `{0}` of the settings: its url is no http or https URL without credentials in it"
    )]
    NotAUrl(String),
    #[error("channel `{channel}` of the settings cannot be used")]
    Credentials { channel: String, source: AuthError },
    #[error("channel `{channel}` of the settings cannot be used")]
    Client { channel: String, source: NoClient },
}

impl Courier {
    /// Over the channels of the settings.
    ///
    /// # Errors
    /// Names the channel and what it lacks.
    pub fn new(channels: BTreeMap<String, ChannelSettings>) -> Result<Self, NoChannel> {
        let open = |(name, settings): (String, ChannelSettings)| {
            Channel::open(&name, settings).map(|channel| (name, channel))
        };
        channels.into_iter().map(open).collect::<Result<_, _>>().map(Self)
    }

    /// The names of the channels.
    pub fn channels(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    /// What listens to a channel, as the settings name it.
    pub fn kind(&self, channel: &str) -> Option<ChannelKind> {
        self.0.get(channel).map(|channel| channel.settings.kind)
    }

    /// What makes a channel the one that it is: with another URL or another secret it is another. Nothing of
    /// them can be read from it; nothing where one of its files cannot be read.
    pub async fn fingerprint(&self, channel: &str) -> Option<String> {
        let Channel { settings, url, .. } = self.0.get(channel)?;
        let mut whole = Sha256::new();
        let url = url.as_ref().map(Url::as_str).unwrap_or_default();
        whole.update(format!("{} {url}", settings.kind.name()));
        let files = [
            &settings.url_file,
            &settings.secret_file,
            &settings.bearer_token_file,
            &settings.routing_key_file,
        ];
        for file in files {
            let content = match file {
                Some(file) => secret(file).await.ok()?,
                None => String::new(),
            };
            whole.update(format!("\n{content}"));
        }
        Some(hex(&whole.finalize()))
    }

    /// Whether a channel has all that a message needs; nobody is asked and nothing is sent.
    ///
    /// # Errors
    /// Says what it lacks.
    pub async fn ready(&self, channel: &str) -> Result<(), String> {
        match self.0.get(channel) {
            Some(channel) => channel.ready().await,
            None => Err("the settings have no such channel".into()),
        }
    }

    /// Makes one attempt to tell a channel.
    pub async fn send(&self, channel: &str, told: &Told, now: Timestamp) -> Sent {
        let Some(channel) = self.0.get(channel) else {
            return Sent::Refused("the settings have no such channel".into());
        };
        match tokio::time::timeout(PATIENCE, channel.send(told, now)).await {
            Ok(sent) => sent,
            Err(_) => Sent::Later(None, "there was no answer in time".into()),
        }
    }
}

impl Channel {
    fn open(name: &str, settings: ChannelSettings) -> Result<Self, NoChannel> {
        let ChannelSettings {
            kind,
            url,
            url_file,
            secret_file,
            bearer_token_file,
            routing_key_file,
            ca_file,
        } = &settings;
        // What each kind must have, what it may have besides, and how that is said.
        let (must, may, needs): (&[&str], &[&str], _) = match kind {
            ChannelKind::Webhook => {
                (&["url", "secretFile"], &["caFile"], "url and secretFile, and caFile")
            }
            ChannelKind::Cdevents => {
                (&["url"], &["bearerTokenFile", "caFile"], "url, and bearerTokenFile and caFile")
            }
            ChannelKind::Slack => {
                (&["urlFile"], &[], "urlFile: the URL of an incoming webhook is a secret")
            }
            ChannelKind::Teams => (&["urlFile"], &[], "urlFile: the URL of a workflow is a secret"),
            ChannelKind::Pagerduty => {
                (&["routingKeyFile"], &["url", "caFile"], "routingKeyFile, and url and caFile")
            }
        };
        let given = [
            ("url", url.is_some()),
            ("urlFile", url_file.is_some()),
            ("secretFile", secret_file.is_some()),
            ("bearerTokenFile", bearer_token_file.is_some()),
            ("routingKeyFile", routing_key_file.is_some()),
            ("caFile", ca_file.is_some()),
        ];
        for (field, given) in given {
            let (channel, kind) = (name.to_owned(), kind.name());
            if given && !must.contains(&field) && !may.contains(&field) {
                return Err(NoChannel::Idle { channel, kind, given: field, needs });
            }
            if !given && must.contains(&field) {
                return Err(NoChannel::Lacks { channel, kind, needs });
            }
        }
        let url = match (settings.kind, &settings.url) {
            (ChannelKind::Pagerduty, None) => Some(PAGERDUTY),
            (_, url) => url.as_deref(),
        };
        let parsed = |url: &str| {
            let url = Url::parse(url).ok().filter(is_plain);
            url.ok_or_else(|| NoChannel::NotAUrl(name.into()))
        };
        let url = url.map(parsed).transpose()?;
        let auth = MetricsAuth {
            bearer_token_file: settings.bearer_token_file.clone(),
            webhook_secret_file: settings.secret_file.clone(),
            ca_file: settings.ca_file.clone(),
            ..MetricsAuth::default()
        };
        // Credentials are for that URL and what lies beneath it, and for nothing else.
        let known = url.iter().map(|url| (url.to_string(), auth.clone())).collect();
        let credentials = Credentials::new(known)
            .map_err(|source| NoChannel::Credentials { channel: name.into(), source })?;
        let client = Client::new(credentials)
            .map_err(|source| NoChannel::Client { channel: name.into(), source })?;
        Ok(Self { settings, url, client })
    }

    async fn send(&self, told: &Told, now: Timestamp) -> Sent {
        let requests = match self.requests(told).await {
            Ok(requests) => requests,
            Err(why) => return Sent::Later(None, why),
        };
        if requests.is_empty() {
            return Sent::Nothing;
        }
        for request in requests {
            let base = request.url.clone();
            if let Err(why) = permitted(&base) {
                return Sent::Later(None, why);
            }
            let (status, retry_after) = match self.client.deliver(&base, request, now).await {
                Ok(answered) => answered,
                Err(why) => return Sent::Later(None, why),
            };
            match judged(status, retry_after) {
                Sent::Done | Sent::Nothing => {}
                ended @ (Sent::Later(..) | Sent::Refused(_) | Sent::Gone) => return ended,
            }
        }
        Sent::Done
    }

    async fn requests(&self, told: &Told) -> Result<Vec<Outgoing>, String> {
        Ok(match self.settings.kind {
            ChannelKind::Webhook => vec![webhook::request(told, self.url().await?)],
            ChannelKind::Slack => vec![slack::request(told, self.url().await?)],
            ChannelKind::Teams => vec![teams::request(told, self.url().await?)],
            ChannelKind::Cdevents => cdevents::requests(told, &self.url().await?),
            ChannelKind::Pagerduty => {
                let key = text(&self.settings.routing_key_file).await?;
                pagerduty::request(told, &key, &self.url().await?).into_iter().collect()
            }
        })
    }

    async fn url(&self) -> Result<Url, String> {
        if let Some(url) = &self.url {
            return Ok(url.clone());
        }
        let url = Url::parse(&text(&self.settings.url_file).await?).ok();
        let http = |url: &Url| ["http", "https"].contains(&url.scheme());
        url.filter(http).ok_or_else(|| "its urlFile holds no http or https URL".to_owned())
    }

    async fn ready(&self) -> Result<(), String> {
        permitted(&self.url().await?)?;
        let settings = &self.settings;
        for file in [&settings.bearer_token_file, &settings.routing_key_file] {
            if file.is_some() {
                text(file).await?;
            }
        }
        if let Some(path) = &settings.secret_file {
            let signed = sign(&text(&settings.secret_file).await?, "", "", Timestamp::UNIX_EPOCH);
            signed.ok_or_else(|| AuthError::NoSecret(path.clone()).to_string())?;
        }
        Ok(())
    }
}

/// What a file of the settings holds.
async fn text(file: &Option<PathBuf>) -> Result<String, String> {
    match file {
        Some(file) => secret(file).await.map_err(|error| error.to_string()),
        None => Err("its settings lack a file".into()),
    }
}

/// What a status says about a message.
fn judged(status: u16, retry_after: Option<Span>) -> Sent {
    match status {
        200..=299 => Sent::Done,
        410 => Sent::Gone,
        // It cannot be made of other bytes than these.
        400 | 413 | 415 | 422 => Sent::Refused(format!("HTTP {status}")),
        // A wrong secret or address may be put right.
        300..=399 => Sent::Later(
            retry_after,
            format!("HTTP {status}: redirects are not followed; give its own URL"),
        ),
        401 | 403 => Sent::Later(
            retry_after,
            format!("HTTP {status}: check the secret that the settings name"),
        ),
        404 => Sent::Later(retry_after, format!("HTTP {status}: check its URL")),
        429 => Sent::Later(retry_after, format!("HTTP {status}: it is told too often")),
        _ => Sent::Later(retry_after, format!("HTTP {status}")),
    }
}
