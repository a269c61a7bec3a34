//! Everything that a gate can ask: metric sources, and the clusters themselves.

use std::sync::Arc;

use futures::{FutureExt, future, future::BoxFuture};

use super::{Connections, Measurer};
use crate::{
    decide::{
        command::Measure,
        event::Answer,
        part::{Ask, Told},
    },
    model::{ring::Target, time::Span},
};

/// Metric sources, and the clusters behind their connections.
pub struct Sources {
    metrics: Arc<dyn Measurer>,
    connections: Arc<dyn Connections>,
}

impl Sources {
    /// Asks metric sources through `metrics`, and clusters through `connections`.
    pub fn new(metrics: Arc<dyn Measurer>, connections: Arc<dyn Connections>) -> Self {
        Self { metrics, connections }
    }

    async fn workload(&self, connection: &str, target: &Target, timeout: Span) -> Told {
        let deployer = match self.connections.deployer(connection) {
            Ok(deployer) => deployer,
            Err(why) => return Told::Error(why),
        };
        match tokio::time::timeout(timeout.to_std(), deployer.workload(target)).await {
            Ok(Ok(workload)) => Told::Workload(workload),
            Ok(Err(why)) => Told::Error(why),
            Err(_) => Told::Error(format!("the cluster did not answer within {timeout}")),
        }
    }
}

impl Measurer for Sources {
    fn measure(&self, measure: &Measure) -> BoxFuture<'_, Answer> {
        let measure = measure.clone();
        async move {
            let asked = measure.parts.iter().enumerate().filter_map(|(i, part)| match &part.ask {
                Ask::Workload { connection, target } => {
                    let told = self.workload(connection, target, measure.timeout);
                    Some(async move { (i, told.await) })
                }
                Ask::Number { .. }
                | Ask::Range { .. }
                | Ask::Alerts { .. }
                | Ask::Webhook { .. } => None,
            });
            let asked = future::join_all(asked);
            let (mut answer, told) = future::join(self.metrics.measure(&measure), asked).await;
            for (i, told) in told {
                if let Some(place) = answer.parts.get_mut(i) {
                    *place = told;
                }
            }
            answer
        }
        .boxed()
    }
}
