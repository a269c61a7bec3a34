//! What reaches clusters and flag services, and beside it the deployers of each connection: a target says which of
//! them it is in.

use std::{collections::BTreeMap, sync::Arc};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream, stream::BoxStream};

use super::{
    Api, cloud_deploy::CloudDeploy, codedeploy::CodeDeploy, harness::Harness, service::Service,
    spinnaker::Spinnaker, webhook::Webhook,
};
use crate::{
    act::{
        Connections, Deployer, Found, WriteError, glance,
        metrics::{
            NoClient,
            auth::Credentials,
            client::{Client, base},
        },
    },
    clock::Clock,
    config::{ConnectionSettings, DeployerSettings},
    decide::{
        command::{Promote, Write},
        event::TargetState,
        part::Workload,
    },
    ids::PlanName,
    model::{
        residency::Witness,
        ring::{Target, TargetKind},
    },
};

/// What of a target's names is each connection's own.
const CONNECTION: &str = "{{connection}}";

/// What reaches clusters and flag services, and beside it the deployers of each connection.
pub struct Deployers {
    others: Arc<dyn Connections>,
    connections: BTreeMap<String, Known>,
    client: Arc<Client>,
    clock: Arc<dyn Clock>,
}

/// What the settings say of a connection.
#[derive(Clone, Default)]
struct Known {
    services: BTreeMap<String, DeployerSettings>,
    clusterless: bool,
}

impl Deployers {
    /// Reaches what is in no deployer by `others`, and the deployers of these connections with these credentials,
    /// which are those of metric sources.
    ///
    /// # Errors
    /// Where the certificates that a service is trusted by cannot be read.
    pub fn new(
        others: Arc<dyn Connections>,
        connections: &BTreeMap<String, ConnectionSettings>,
        credentials: Credentials,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, NoClient> {
        let known = |settings: &ConnectionSettings| Known {
            services: settings.deployers.clone(),
            clusterless: !settings.has_cluster(),
        };
        let connections =
            connections.iter().map(|(name, settings)| (name.clone(), known(settings)));
        let client = Arc::new(Client::new(credentials)?);
        Ok(Self { others, connections: connections.collect(), client, clock })
    }
}

impl Connections for Deployers {
    fn deployer(&self, connection: &str) -> Result<Arc<dyn Deployer>, String> {
        let Known { services, clusterless } =
            self.connections.get(connection).cloned().unwrap_or_default();
        Ok(Arc::new(Beside {
            connection: connection.into(),
            other: self.others.deployer(connection)?,
            services,
            clusterless,
            client: self.client.clone(),
            clock: self.clock.clone(),
        }))
    }
}

/// One connection: its cluster, where it has one, and the deployers beside it.
struct Beside {
    connection: String,
    other: Arc<dyn Deployer>,
    services: BTreeMap<String, DeployerSettings>,
    clusterless: bool,
    client: Arc<Client>,
    clock: Arc<dyn Clock>,
}

/// Whose a target is.
enum Whose {
    /// A deployer's, here with all of its names.
    Deployer(Box<(Service, Target)>),
    /// The cluster's, or a flag service's.
    Other,
    /// Nobody's that the settings know.
    Nobody(String),
}

impl Beside {
    fn whose(&self, target: &Target) -> Whose {
        let Some(name) = target.kind.deployer() else {
            let in_cluster = target.kind.flag().is_none_or(|flag| flag.service.is_none());
            return match self.clusterless && in_cluster {
                true => Whose::Nobody(format!(
                    "connection `{0}` has no cluster: name a context under connections.{0}.context of the server's \
                     settings",
                    self.connection
                )),
                false => Whose::Other,
            };
        };
        let at = format!("connections.{}.deployers.{name}", self.connection);
        let Some(settings) = self.services.get(name) else {
            return Whose::Nobody(format!(
                "nobody knows deployer `{name}`: name its URL and its plans under {at} of the server's settings"
            ));
        };
        let whose = api(&target.kind, settings).and_then(|api| {
            let base = base(&settings.url)?;
            let service = Service {
                connection: self.connection.clone(),
                name: name.to_owned(),
                plans: settings.plans.iter().cloned().collect(),
                api,
                base,
                client: self.client.clone(),
                clock: self.clock.clone(),
                every: settings.interval.to_std(),
            };
            Ok(Whose::Deployer(Box::new((service, self.here(target)))))
        });
        whose.unwrap_or_else(|why| Whose::Nobody(format!("{at} of the server's settings: {why}")))
    }

    /// The target, with what is the connection's own filled in.
    fn here(&self, target: &Target) -> Target {
        let fill = |text: &str| text.replace(CONNECTION, &self.connection);
        let Target { kind, namespace, name } = target;
        Target { kind: kind.clone(), namespace: fill(namespace), name: fill(name) }
    }
}

/// What speaks to the service that a kind of target is in.
///
/// # Errors
/// What its settings lack, in words.
fn api(kind: &TargetKind, settings: &DeployerSettings) -> Result<Arc<dyn Api>, String> {
    match kind {
        TargetKind::Webhook { .. } => Ok(Arc::new(Webhook)),
        TargetKind::CodeDeploy { bundle, .. } => {
            let region = settings.region.clone();
            let region =
                region.ok_or("a CodeDeploy has a `region`, which requests are signed for")?;
            Ok(Arc::new(CodeDeploy { region, bundle: bundle.clone() }))
        }
        TargetKind::CloudDeploy { image, source, .. } => {
            Ok(Arc::new(CloudDeploy { image: image.clone(), source: source.clone() }))
        }
        TargetKind::Spinnaker { parameter, .. } => {
            Ok(Arc::new(Spinnaker { parameter: parameter.clone() }))
        }
        TargetKind::Harness { org, input, .. } => {
            let account = settings.account.clone().ok_or("a Harness has an `account`")?;
            Ok(Arc::new(Harness { account, org: org.clone(), input: input.clone() }))
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
        | TargetKind::FlagdFlag { .. }
        | TargetKind::UnleashFlag { .. }
        | TargetKind::LaunchDarklyFlag { .. }
        | TargetKind::FlagsmithFlag { .. } => Err(format!("{} is no deployer's", kind.name())),
    }
}

impl Deployer for Beside {
    fn write(&self, write: &Write, epoch: u64) -> BoxFuture<'_, Result<Found, WriteError>> {
        match self.whose(&write.target) {
            Whose::Other => self.other.write(write, epoch),
            // It may be put into the settings later: that is no refusal.
            Whose::Nobody(why) => async move { Err(WriteError::Unreachable(why)) }.boxed(),
            Whose::Deployer(found) => {
                let (service, target) = *found;
                let write = Write { target, ..write.clone() };
                async move { service.write(&write, epoch).await }.boxed()
            }
        }
    }

    fn promote(&self, promote: &Promote, epoch: u64) -> BoxFuture<'_, Result<(), WriteError>> {
        let target = &promote.write.target;
        match self.whose(target) {
            Whose::Other => self.other.promote(promote, epoch),
            Whose::Nobody(why) => async move { Err(WriteError::Unreachable(why)) }.boxed(),
            Whose::Deployer(_) => {
                let why = format!("{target} has no controller that pauses");
                async move { Err(WriteError::Refused(why)) }.boxed()
            }
        }
    }

    fn watch(&self, plan: &PlanName, target: &Target) -> BoxStream<'static, TargetState> {
        match self.whose(target) {
            Whose::Other => self.other.watch(plan, target),
            Whose::Nobody(why) => stream::once(async move { TargetState::unknown(why) })
                .chain(stream::pending())
                .boxed(),
            Whose::Deployer(found) => {
                let (service, target) = *found;
                glance::watch(service, target)
            }
        }
    }

    fn workload(&self, target: &Target) -> BoxFuture<'_, Result<Workload, String>> {
        match self.whose(target) {
            Whose::Other => self.other.workload(target),
            Whose::Nobody(why) => async move { Err(why) }.boxed(),
            Whose::Deployer(_) => {
                let why = format!("{target} has no pods that ringward could see");
                async move { Err(why) }.boxed()
            }
        }
    }

    fn witness(&self) -> BoxFuture<'_, Result<Option<Witness>, String>> {
        match self.clusterless {
            true => async { Ok(None) }.boxed(),
            false => self.other.witness(),
        }
    }
}
