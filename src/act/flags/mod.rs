//! Feature flag services, which are in no cluster: one file a service, over HTTP.
//!
//! What a service's file answers for is pure: which request looks at a flag, how the answer is read, and which
//! request changes it. What is common to all is here: consent, epochs, repeats, who else has changed it, and
//! that what was written is read back. Where services are, and what they are shown, is the server's settings'
//! to say, for each cluster's connection: a declaration gives a name.
//!
//! These services have no annotations. What ringward notes stands in one text that the service keeps with what
//! is written ([`note`]), and that is written in the same request.

mod note;
#[cfg(test)]
mod tests;
mod unleash;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream, stream::BoxStream};
use reqwest::Url;
use tokio::time::{sleep, timeout};

use self::{note::Note, unleash::Unleash};
use super::{
    Connections, Deployer, Found, WriteError,
    cluster::Kubeconfigs,
    metrics::{
        NoClient,
        auth::Credentials,
        client::{Client, base},
        question::{Outgoing, refused},
    },
};
use crate::{
    clock::Clock,
    config::FlagServiceSettings,
    decide::{
        command::{Promote, Write},
        event::{Status, TargetState},
        part::Workload,
    },
    ids::PlanName,
    model::{
        residency::Witness,
        ring::{Artifact, Target, TargetKind},
        serve::Serve,
    },
};

/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(10);
/// How often a flag that changes under us is read again within one attempt.
const RACES: usize = 5;
/// Looks without an answer, one after another, before that is told: services are restarted.
const BLIND: u32 = 3;

/// A service's API: pure throughout.
trait Api: Send + Sync {
    /// The request that looks at a flag.
    fn look(&self, base: &Url, target: &Target) -> Outgoing;

    /// The flag that was answered, by status and body.
    ///
    /// # Errors
    /// There is none, or nobody can say what it serves.
    fn read(&self, target: &Target, answer: (u16, &[u8])) -> Result<Flag, Trouble>;

    /// The request that makes what was read serve something else, and keep a note.
    ///
    /// # Errors
    /// A service of this kind cannot serve that; in words that begin with a verb.
    fn change(
        &self,
        base: &Url,
        target: &Target,
        seen: &Flag,
        change: (&Serve, &str),
    ) -> Result<Outgoing, String>;

    /// Whether it was changed, by status and body.
    ///
    /// # Errors
    /// It was not.
    fn changed(&self, answer: (u16, &[u8])) -> Result<(), Trouble>;

    /// How its owner lets a plan have it: what to do, with the text to keep.
    fn consent(&self, text: &str) -> String;
}

/// A flag as its service has it.
#[derive(Debug, Clone, PartialEq)]
struct Flag {
    /// What it serves.
    serves: Serve,
    /// Whether its owner has switched it off.
    off: bool,
    /// The note, where its owner has let a plan have it.
    note: Option<Note>,
    /// By what the service knows what is changed.
    handle: String,
    /// What it must still be like when it is changed, as the service has it: the note's text and the value.
    was: (String, String),
}

/// Why there is no flag, or no change.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Trouble {
    /// It is not there.
    Gone,
    /// Nothing but a person can help; in words that begin with a verb.
    Refused(String),
    /// It may pass; in words.
    Unreachable(String),
    /// It was changed since it was read.
    Race,
}

/// The trouble that any service has, by its status.
fn trouble(status: u16) -> Trouble {
    match status {
        404 => Trouble::Gone,
        401 | 408 | 429 | 500.. => Trouble::Unreachable(refused(status, None)),
        _ => Trouble::Refused(format!("is refused by its service: {}", refused(status, None))),
    }
}

/// Clusters, and beside each the flag services of its connection.
pub struct Doors {
    clusters: Kubeconfigs,
    services: BTreeMap<String, BTreeMap<String, FlagServiceSettings>>,
    client: Arc<Client>,
    clock: Arc<dyn Clock>,
}

impl Doors {
    /// Reaches clusters as they are, and the services of their connections with these credentials, which are
    /// those of metric sources.
    ///
    /// # Errors
    /// Where the certificates that a service is trusted by cannot be read.
    pub fn new(
        clusters: Kubeconfigs,
        services: BTreeMap<String, BTreeMap<String, FlagServiceSettings>>,
        credentials: Credentials,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, NoClient> {
        Ok(Self { clusters, services, client: Arc::new(Client::new(credentials)?), clock })
    }
}

impl Connections for Doors {
    fn deployer(&self, connection: &str) -> Result<Arc<dyn Deployer>, String> {
        let services = self.services.get(connection).cloned().unwrap_or_default();
        Ok(Arc::new(Door {
            connection: connection.into(),
            cluster: self.clusters.deployer(connection)?,
            services,
            client: self.client.clone(),
            clock: self.clock.clone(),
        }))
    }
}

/// One connection: its cluster, and the flag services beside it.
struct Door {
    connection: String,
    cluster: Arc<dyn Deployer>,
    services: BTreeMap<String, FlagServiceSettings>,
    client: Arc<Client>,
    clock: Arc<dyn Clock>,
}

impl Door {
    /// The service that a target is in, where it is in one.
    fn service(&self, target: &Target) -> Option<Result<Service, String>> {
        let name = target.kind.service()?;
        let Some(settings) = self.services.get(name) else {
            return Some(Err(format!(
                "nobody knows flag service `{name}`: name its URL and environment under \
                 connections.{}.flags.{name} of the server's settings",
                self.connection
            )));
        };
        let api: Arc<dyn Api> = match &target.kind {
            TargetKind::UnleashFlag { .. } => {
                Arc::new(Unleash { environment: settings.environment.clone() })
            }
            TargetKind::Deployment { .. }
            | TargetKind::StatefulSet { .. }
            | TargetKind::DaemonSet { .. }
            | TargetKind::ArgoRollout { .. }
            | TargetKind::FlaggerCanary { .. }
            | TargetKind::ArgoApplication { .. }
            | TargetKind::FluxKustomization { .. }
            | TargetKind::FluxOciSource
            | TargetKind::FluxOciChart
            | TargetKind::FluxHelmRelease { .. }
            | TargetKind::FlagdFlag { .. } => return None,
        };
        let explain = |why| format!("flag service `{name}`: {why}");
        Some(base(&settings.url).map_err(explain).map(|base| Service {
            name: name.to_owned(),
            api,
            base,
            client: self.client.clone(),
            clock: self.clock.clone(),
            every: settings.interval.to_std(),
        }))
    }
}

impl Deployer for Door {
    fn write(&self, write: &Write, epoch: u64) -> BoxFuture<'_, Result<Found, WriteError>> {
        match self.service(&write.target) {
            None => self.cluster.write(write, epoch),
            // It may be put into the settings later: that is no refusal.
            Some(Err(why)) => async move { Err(WriteError::Unreachable(why)) }.boxed(),
            Some(Ok(service)) => {
                let write = write.clone();
                async move { service.write(&write, epoch).await }.boxed()
            }
        }
    }

    fn promote(&self, promote: &Promote, epoch: u64) -> BoxFuture<'_, Result<(), WriteError>> {
        match self.service(&promote.write.target) {
            None => self.cluster.promote(promote, epoch),
            Some(_) => {
                let target = &promote.write.target;
                let why = format!("{target} has no controller that pauses");
                async move { Err(WriteError::Refused(why)) }.boxed()
            }
        }
    }

    fn watch(&self, plan: &PlanName, target: &Target) -> BoxStream<'static, TargetState> {
        match self.service(target) {
            None => self.cluster.watch(plan, target),
            Some(Err(why)) => stream::once(async move { TargetState::unknown(why) })
                .chain(stream::pending())
                .boxed(),
            Some(Ok(service)) => service.watch(target.clone()),
        }
    }

    fn workload(&self, target: &Target) -> BoxFuture<'_, Result<Workload, String>> {
        match self.service(target) {
            None => self.cluster.workload(target),
            Some(_) => {
                let why = format!("{target} has no pods of its own");
                async move { Err(why) }.boxed()
            }
        }
    }

    fn witness(&self) -> BoxFuture<'_, Result<Option<Witness>, String>> {
        self.cluster.witness()
    }
}

/// One service, reached.
#[derive(Clone)]
struct Service {
    name: String,
    api: Arc<dyn Api>,
    base: Url,
    client: Arc<Client>,
    clock: Arc<dyn Clock>,
    every: Duration,
}

impl Service {
    async fn exchange(&self, outgoing: Outgoing) -> Result<(u16, Vec<u8>), Trouble> {
        let asked =
            timeout(ANSWER, self.client.exchange(&self.base, outgoing, self.clock.now().wall));
        let explain = |why| Trouble::Unreachable(format!("flag service `{}`: {why}", self.name));
        match asked.await {
            Ok(Ok(answer)) => Ok((answer.status, answer.body)),
            Ok(Err(why)) => Err(explain(why)),
            Err(_) => Err(explain(format!("no answer within {ANSWER:?}"))),
        }
    }

    async fn read(&self, target: &Target) -> Result<Flag, Trouble> {
        let (status, body) = self.exchange(self.api.look(&self.base, target)).await?;
        self.api.read(target, (status, &body))
    }

    async fn write(&self, write: &Write, epoch: u64) -> Result<Found, WriteError> {
        for _ in 0..RACES {
            match self.once(write, epoch).await {
                Ok(found) => return Ok(found),
                Err(Trouble::Race) => {}
                Err(Trouble::Gone) => {
                    return Err(WriteError::Refused(format!("{} does not exist", write.target)));
                }
                Err(Trouble::Refused(why)) => {
                    return Err(WriteError::Refused(format!("{} {why}", write.target)));
                }
                Err(Trouble::Unreachable(why)) => return Err(WriteError::Unreachable(why)),
            }
        }
        let target = &write.target;
        Err(WriteError::Unreachable(format!(
            "{target} was changed by others {RACES} times in a row"
        )))
    }

    async fn once(&self, write: &Write, epoch: u64) -> Result<Found, Trouble> {
        let Write { key, release, target, artifact, .. } = write;
        let flag = self.read(target).await?;
        let plan = &release.plan;
        let note = flag.note.as_ref().ok_or_else(|| {
            let consent = self.api.consent(&Note::of(plan).to_string());
            Trouble::Refused(format!("has not consented to plan `{plan}`; {consent}"))
        })?;
        if note.plan != *plan {
            let consent = self.api.consent(&Note::of(plan).to_string());
            return Err(Trouble::Refused(format!(
                "is managed by plan `{}`, not by `{plan}`; if that is over: {consent}",
                note.plan
            )));
        }
        if let Some(theirs) = note.epoch.filter(|theirs| *theirs > epoch) {
            return Err(Trouble::Refused(format!(
                "was written by a newer writer: it carries epoch {theirs}, this writer's is {epoch}; stop this \
                 process, or the newer one. If that one's data directory is lost, hand what is served over as known \
                 good: {}",
                self.api.consent(&Note::of(plan).to_string())
            )));
        }
        let serves = Artifact(flag.serves.to_string());
        let found = match (&note.intent, &note.before) {
            (None, _) if flag.off => None,
            (None, _) => Some(serves.clone()),
            (Some(_), before) => before.clone().map(Artifact),
        };
        let found_state = found.clone().map(|image| TargetState {
            status: Status::Succeeded,
            image: Some(image),
            ..TargetState::unknown("")
        });
        if note.intent.as_deref() == Some(key.as_str()) && serves == *artifact {
            return Ok(found_state);
        }
        if let Some(ours) =
            note.serves.as_ref().filter(|ours| **ours != serves.0 && serves != *artifact)
        {
            return Err(Trouble::Refused(format!(
                "serves {serves}, and ringward wrote {ours}: somebody else has changed it. Put that back, or hand what \
                 is served over as known good: {}",
                self.api.consent(&Note::of(plan).to_string())
            )));
        }
        let serve = artifact
            .0
            .parse::<Serve>()
            .map_err(|why| Trouble::Refused(format!("holds a flag, and {why}")))?;
        let earlier = note.intent.as_deref();
        let next = Note {
            release: Some(release.to_string()),
            intent: Some(key.to_string()),
            epoch: Some(epoch),
            serves: Some(artifact.to_string()),
            before: found
                .filter(|_| earlier.is_none_or(|earlier| earlier == key.as_str()))
                .map(|a| a.0),
            ..Note::of(plan)
        };
        let change = self.api.change(&self.base, target, &flag, (&serve, &next.to_string()));
        let change = change.map_err(Trouble::Refused)?;
        tracing::info!(%key, from = %serves, to = %artifact, "writing");
        let (status, body) = self.exchange(change).await?;
        self.api.changed((status, &body))?;
        let back = self.read(target).await?;
        if back.serves != serve || back.note.as_ref() != Some(&next) {
            let why = "what was written is not what is read back".to_owned();
            return Err(Trouble::Unreachable(format!("flag service `{}`: {why}", self.name)));
        }
        Ok(found_state)
    }

    /// The target's states; there is nothing to watch, so it is looked at again and again.
    fn watch(self, target: Target) -> BoxStream<'static, TargetState> {
        let look = Look { service: self, target, said: None, blind: 0, existed: false };
        stream::unfold(look, |mut look| async { Some((look.next().await, look)) }).boxed()
    }
}

struct Look {
    service: Service,
    target: Target,
    said: Option<TargetState>,
    /// Looks without an answer since the last one with one.
    blind: u32,
    existed: bool,
}

impl Look {
    async fn next(&mut self) -> TargetState {
        let mut first = self.said.is_none();
        loop {
            if !std::mem::take(&mut first) {
                sleep(self.service.every).await;
            }
            let Some(state) = self.look().await else { continue };
            if self.said.as_ref() != Some(&state) {
                self.said = Some(state.clone());
                return state;
            }
        }
    }

    async fn look(&mut self) -> Option<TargetState> {
        let target = &self.target;
        let why = match self.service.read(target).await {
            Ok(flag) => {
                (self.blind, self.existed) = (0, true);
                let status = if flag.off { Status::Paused } else { Status::Succeeded };
                let intent = flag.note.and_then(|note| note.intent).map(Into::into);
                let image = Some(Artifact(flag.serves.to_string()));
                return Some(TargetState { status, image, intent, ..TargetState::unknown("") });
            }
            Err(Trouble::Unreachable(why)) => {
                self.blind += 1;
                if self.blind < BLIND {
                    return None;
                }
                why
            }
            Err(Trouble::Gone) => {
                let what = if self.existed { "was deleted" } else { "does not exist" };
                format!("{target} {what}")
            }
            Err(Trouble::Refused(why)) => format!("{target} {why}"),
            Err(Trouble::Race) => return None,
        };
        Some(TargetState::unknown(why))
    }
}
