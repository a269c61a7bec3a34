//! Everything that a gate can ask: metric sources, and the clusters themselves.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{FutureExt, future, future::BoxFuture};

use tokio::sync::Semaphore;

use super::{Connections, Measurer};
use crate::{
    decide::{
        command::Measure,
        event::Answer,
        part::{Ask, Told},
    },
    model::{ring::Target, time::Span},
};

/// Questions on their way to one cluster; those of another wait for none of them.
const AT_ONCE: usize = 4;

/// Metric sources, and the clusters behind their connections.
pub struct Sources {
    metrics: Arc<dyn Measurer>,
    connections: Arc<dyn Connections>,
    turns: Mutex<BTreeMap<String, Arc<Semaphore>>>,
}

impl Sources {
    /// Asks metric sources through `metrics`, and clusters through `connections`.
    pub fn new(metrics: Arc<dyn Measurer>, connections: Arc<dyn Connections>) -> Self {
        Self { metrics, connections, turns: Mutex::default() }
    }

    async fn workload(&self, connection: &str, target: &Target, timeout: Span) -> Told {
        let deployer = match self.connections.deployer(connection) {
            Ok(deployer) => deployer,
            Err(why) => return Told::Error(why),
        };
        let turns = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            let made = || Arc::new(Semaphore::new(AT_ONCE));
            turns.entry(connection.to_owned()).or_insert_with(made).clone()
        };
        let _turn = turns.acquire().await;
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

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use futures::stream::BoxStream;

    use super::*;
    use crate::{
        act::{Deployer, Found, WriteError},
        decide::{
            command::{Promote, Write},
            event::{Reading, TargetState},
            part::{Part, Role, Workload},
        },
        ids::{PlanName, ReleaseId},
        model::{residency::Witness, ring::TargetKind, time::Mono},
    };

    /// A cluster that answers after a moment, or never; it counts who asks at once.
    #[derive(Default)]
    struct Site {
        now: AtomicUsize,
        most: AtomicUsize,
        silent: bool,
    }

    struct Door(Arc<Site>);

    impl Deployer for Door {
        fn write(&self, _: &Write, _: u64) -> BoxFuture<'_, Result<Found, WriteError>> {
            future::pending().boxed()
        }

        fn promote(&self, _: &Promote, _: u64) -> BoxFuture<'_, Result<(), WriteError>> {
            future::pending().boxed()
        }

        fn watch(&self, _: &PlanName, _: &Target) -> BoxStream<'static, TargetState> {
            Box::pin(futures::stream::pending())
        }

        fn workload(&self, _: &Target) -> BoxFuture<'_, Result<Workload, String>> {
            async move {
                let now = self.0.now.fetch_add(1, Ordering::SeqCst) + 1;
                self.0.most.fetch_max(now, Ordering::SeqCst);
                if self.0.silent {
                    future::pending::<()>().await;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
                self.0.now.fetch_sub(1, Ordering::SeqCst);
                Ok(Workload { wanted: 2, ready: 2, restarts: 0, crash_loops: 0 })
            }
            .boxed()
        }

        fn witness(&self) -> BoxFuture<'_, Result<Option<Witness>, String>> {
            future::pending().boxed()
        }
    }

    struct Fleet(BTreeMap<&'static str, Arc<Site>>);

    impl Connections for Fleet {
        fn deployer(&self, connection: &str) -> Result<Arc<dyn Deployer>, String> {
            let site = self.0.get(connection).cloned();
            let site = site.ok_or_else(|| format!("no connection {connection}"))?;
            Ok(Arc::new(Door(site)))
        }
    }

    struct Nothing;

    impl Measurer for Nothing {
        fn measure(&self, measure: &Measure) -> BoxFuture<'_, Answer> {
            let parts = measure.parts.iter().map(|_| Told::Error("not here".into())).collect();
            let answer = Answer {
                value: Reading::Absent,
                samples: None,
                baseline: None,
                parts,
                infos: Vec::new(),
            };
            async { answer }.boxed()
        }
    }

    fn measure(connections: &[&str], timeout: Span) -> Measure {
        let target = Target {
            kind: TargetKind::Deployment { container: "app".into() },
            namespace: "shop".into(),
            name: "checkout".into(),
        };
        let part = |connection: &&str| {
            let connection = (*connection).to_owned();
            Part {
                role: Role::Kubernetes,
                ask: Ask::Workload { connection, target: target.clone() },
            }
        };
        Measure {
            key: "k".into(),
            release: ReleaseId::new("checkout", "1"),
            ring: "beta".into(),
            attempt: 1,
            cluster: "c".into(),
            gate: "pods".into(),
            source: None,
            query: String::new(),
            samples: None,
            baseline_at: None,
            due: Mono(0),
            timeout,
            parts: connections.iter().map(part).collect(),
            past: None,
        }
    }

    #[tokio::test]
    async fn a_cluster_is_asked_so_much_at_once_and_a_silent_one_holds_up_no_other() {
        let silent = Arc::new(Site { silent: true, ..Site::default() });
        let fleet = BTreeMap::from([("eu", Arc::new(Site::default())), ("dead", silent)]);
        let eu = fleet["eu"].clone();
        let sources = Sources::new(Arc::new(Nothing), Arc::new(Fleet(fleet)));
        let many = measure(&["eu"; 20], Span::seconds(5));
        let dead = measure(&["dead", "nowhere", "eu"], Span(300));
        let (many, dead) = future::join(sources.measure(&many), sources.measure(&dead)).await;
        assert!(many.parts.iter().all(|told| matches!(told, Told::Workload(_))), "{many:?}");
        assert_eq!(eu.most.load(Ordering::SeqCst), AT_ONCE);
        let Told::Error(why) = &dead.parts[0] else { panic!("{dead:?}") };
        assert!(why.contains("did not answer within"), "{why}");
        assert_eq!(dead.parts[1], Told::Error("no connection nowhere".into()));
        assert!(matches!(dead.parts[2], Told::Workload(_)), "{dead:?}");
    }
}
