//! Clusters, and beside each the flag services of its connection: a target says which of them it is in.

use std::{collections::BTreeMap, sync::Arc};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream, stream::BoxStream};

use super::{
    Api,
    flagsmith::Flagsmith,
    launchdarkly::LaunchDarkly,
    service::{Service, Turns},
    unleash::Unleash,
};
use crate::{
    act::{
        Connections, Deployer, Found, WriteError,
        cluster::Kubeconfigs,
        glance,
        metrics::{
            NoClient,
            auth::Credentials,
            client::{Client, base},
        },
    },
    clock::Clock,
    config::FlagServiceSettings,
    decide::{
        command::{Promote, Write},
        event::TargetState,
        part::Workload,
    },
    ids::PlanName,
    model::{
        residency::Witness,
        ring::{FlagService, Target},
    },
};

/// Clusters, and beside each the flag services of its connection.
pub struct FlagServices {
    clusters: Kubeconfigs,
    services: BTreeMap<String, BTreeMap<String, FlagServiceSettings>>,
    client: Arc<Client>,
    clock: Arc<dyn Clock>,
    turns: Turns,
}

impl FlagServices {
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
        let client = Arc::new(Client::new(credentials)?);
        Ok(Self { clusters, services, client, clock, turns: Turns::default() })
    }
}

impl Connections for FlagServices {
    fn deployer(&self, connection: &str) -> Result<Arc<dyn Deployer>, String> {
        let services = self.services.get(connection).cloned().unwrap_or_default();
        Ok(Arc::new(Beside {
            connection: connection.into(),
            cluster: self.clusters.deployer(connection)?,
            services,
            client: self.client.clone(),
            clock: self.clock.clone(),
            turns: self.turns.clone(),
        }))
    }
}

/// One connection: its cluster, and the flag services beside it.
struct Beside {
    connection: String,
    cluster: Arc<dyn Deployer>,
    services: BTreeMap<String, FlagServiceSettings>,
    client: Arc<Client>,
    clock: Arc<dyn Clock>,
    turns: Turns,
}

impl Beside {
    /// The service that a target is in, where it is in one.
    fn service(&self, target: &Target) -> Option<Result<Service, String>> {
        let service = target.kind.flag()?.service?;
        let name = service.name();
        let Some(settings) = self.services.get(name) else {
            return Some(Err(format!(
                "nobody knows flag service `{name}`: name its URL and environment under \
                 connections.{}.flags.{name} of the server's settings",
                self.connection
            )));
        };
        let environment = settings.environment.clone();
        let api: Arc<dyn Api> = match service {
            FlagService::Unleash(_) => Arc::new(Unleash { environment }),
            FlagService::LaunchDarkly(_) => Arc::new(LaunchDarkly { environment }),
            FlagService::Flagsmith(_) => Arc::new(Flagsmith { environment }),
        };
        let explain = |why| format!("flag service `{name}`: {why}");
        Some(base(&settings.url).map_err(explain).map(|base| Service {
            name: name.to_owned(),
            api,
            base,
            client: self.client.clone(),
            clock: self.clock.clone(),
            every: settings.interval.to_std(),
            turns: self.turns.clone(),
        }))
    }
}

impl Deployer for Beside {
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
            Some(Ok(service)) => glance::watch(service, target.clone()),
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
