//! A plan like the one in the documentation, and a world that facts are put into by hand.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use super::{
    change::Change,
    desk::{Clerk, Desk},
};
use crate::{
    clock::{Clock, ManualClock},
    decide::{
        command::{Command, Lane, Write},
        decide,
        event::{Actor, Event, Status, TargetState},
        fact::{Fact, Judged, Verdict},
        world::World,
    },
    ids::{IdempotencyKey, ReleaseId},
    model::{
        calendar::{AppliesTo, Calendar, InFlight, Window},
        graph::{After, Join, RingGraph},
        plan::{OnNewer, Plan},
        policy::{
            Approvals, Concurrency, Gate, Judge, OnBreach, OnNoData, Policy, Rollback, Signal, Soak,
        },
        residency::Territory,
        ring::{Artifact, Cluster, MetricSource, ProviderKind, Ring, Target, TargetKind},
        time::{Mono, Now, Span},
    },
    record::{Draft, Memory, Store},
};

/// A value that must never be seen outside: it stands where a secret might slip in.
pub(super) const CANARY: &str = "http://canary:s3cret@metrics.internal";

pub(super) fn gate(name: &str, max: f64) -> Gate {
    Gate {
        name: name.into(),
        signal: Signal::Latency,
        provider: "prometheus".into(),
        query: "histogram_quantile(0.99, latency)".into(),
        samples: None,
        interval: Span::minutes(1),
        initial_delay: Span::ZERO,
        judge: Judge::Threshold { min: None, max: Some(max) },
        min_samples: None,
        min_total_samples: None,
        failure_limit: Some(3),
        consecutive_failure_limit: None,
        consecutive_error_limit: 4,
        on_no_data: OnNoData::Hold,
        no_data_deadline: Span::minutes(15),
        max_age: Span::minutes(3),
        required: true,
        unit: Some("s".into()),
        traffic: None,
    }
}

fn policy(soak: Span) -> Policy {
    Policy {
        name: "standard".into(),
        soak: Soak { duration: soak, on_breach: OnBreach::Reset, backfill: false },
        deadline: Span::minutes(15),
        concurrency: Concurrency::Clusters(1),
        failure_budget: 0,
        gates: vec![gate("latency-p99", 0.4), gate("saturation", 0.9)],
        rollback: Rollback { automatic: true, ..Rollback::default() },
        approvals: None,
        calendars: Vec::new(),
        min_dwell: Span::ZERO,
        after_watch: Span::ZERO,
    }
}

fn cluster(name: &str, jurisdiction: &str) -> Cluster {
    Cluster {
        name: name.into(),
        labels: BTreeMap::new(),
        region: name.trim_end_matches("-1").into(),
        jurisdiction: jurisdiction.into(),
        data_classes: Vec::new(),
        failover_pair: None,
        verified_until: None,
        connection: name.into(),
        metrics: vec![MetricSource {
            name: "prometheus".into(),
            kind: ProviderKind::Prometheus,
            url: CANARY.into(),
            jurisdiction: None,
        }],
    }
}

fn ring(name: &str, clusters: &[(&str, &str)], soak: Span) -> Ring {
    let clusters = clusters.iter().map(|(name, place)| cluster(name, place)).collect();
    Ring { name: name.into(), clusters, policy: policy(soak).into() }
}

/// Two of the EU must agree before eu-west starts, in office hours of Dublin.
pub(super) fn plan() -> Plan {
    let after = |name: &str, rings: &[&str]| {
        let rings = rings.iter().map(|r| (*r).into()).collect();
        (name.into(), After { rings, join: Join::All })
    };
    let mut eu_west = ring("eu-west", &[("eu-west-1", "IE")], Span::seconds(4 * 3600));
    eu_west.policy.approvals = Some(Approvals {
        count: 2,
        roles: vec!["approver".into()],
        jurisdiction: Some(Territory {
            name: "EU".into(),
            members: ["DE".into(), "IE".into()].into(),
        }),
        exclude_author: true,
        expires: None,
    });
    eu_west.policy.calendars = vec![Calendar {
        name: "dublin-hours".into(),
        time_zone: "Europe/Dublin".into(),
        allow: vec![Window { cron: "0 0 9 * * MON-FRI".into(), duration: Span::seconds(8 * 3600) }],
        deny: Vec::new(),
        applies_to: vec![AppliesTo::Start],
        in_flight: InFlight::FinishCluster,
    }];
    Plan {
        name: "checkout".into(),
        hash: "4e1b7a0cafe".into(),
        commit: "c0ffee".into(),
        target: Target {
            kind: TargetKind::Deployment { container: "app".into() },
            namespace: "shop".into(),
            name: "checkout".into(),
        },
        data_classes: Vec::new(),
        on_newer: OnNewer::QueueLatest,
        on_policy_change: Default::default(),
        max_skew: None,
        lanes: Default::default(),
        graph: RingGraph::new(vec![
            after("internal", &[]),
            after("beta", &["internal"]),
            after("us-east", &["beta"]),
            after("eu-west", &["beta"]),
            after("eu-central", &["eu-west"]),
        ])
        .expect("a tree"),
        rings: vec![
            ring("internal", &[("internal-1", "DE")], Span::minutes(10)),
            ring("beta", &[("beta-de-1", "DE"), ("beta-us-1", "US")], Span::seconds(4 * 3600)),
            ring("us-east", &[("us-east-1", "US")], Span::seconds(4 * 3600)),
            eu_west,
            ring("eu-central", &[("eu-central-1", "DE")], Span::seconds(4 * 3600)),
        ],
        residency: Vec::new(),
    }
}

pub(super) fn artifact(version: &str) -> Artifact {
    let digit = version.bytes().last().map_or('0', |b| char::from(b'0' + b % 10));
    Artifact(format!("registry.example/checkout@sha256:{}", digit.to_string().repeat(64)))
}

pub(super) fn actor(name: &str) -> Actor {
    Actor {
        name: name.into(),
        roles: vec!["approver".into(), "operator".into()],
        jurisdiction: Some("IE".into()),
    }
}

pub(super) fn judged(verdict: Verdict, value: f64, detail: &str) -> Judged {
    Judged {
        value: Some(value),
        samples: Some(5000.0),
        against: Some(0.4),
        ..Judged::new(verdict, detail)
    }
}

/// A world on a manual clock, its journal and its desk.
pub(crate) struct Stage {
    pub world: Arc<RwLock<World>>,
    pub clock: Arc<ManualClock>,
    pub store: Arc<Memory>,
    pub desk: Arc<Desk>,
    pub clerk: Option<Clerk>,
}

impl Stage {
    /// At 08:00 UTC on a Friday, with the plan declared.
    pub fn new() -> Self {
        Self::with(plan())
    }

    pub fn with(plan: Plan) -> Self {
        let wall = "2026-10-30T08:00:00Z".parse().expect("an instant");
        let clock = Arc::new(ManualClock::new(Now { wall, mono: Mono(0) }));
        let store = Arc::new(Memory::new());
        let world = Arc::new(RwLock::new(World::default()));
        let (desk, clerk) = Desk::new(world.clone(), clock.clone(), store.clone());
        let stage = Self { world, clock, store, desk: Arc::new(desk), clerk: Some(clerk) };
        stage.put(&[
            Fact::TookOver { epoch: 1 },
            Fact::SourceAccepted { commit: "c0ffee".into() },
            Fact::PlanDeclared { plan: Arc::new(plan) },
        ]);
        stage
    }

    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// Records facts and makes them true.
    pub fn put(&self, facts: &[Fact]) {
        self.record(facts, &[]);
    }

    fn record(&self, facts: &[Fact], commands: &[Command]) {
        let (at, facts) = (self.now(), facts.to_vec());
        let commands: Vec<_> = commands.iter().cloned().map(Arc::new).collect();
        let mut world = self.world.write().unwrap_or_else(PoisonError::into_inner);
        world.fold(at, &facts, &commands).expect("facts that follow");
        self.store.append(1, &[Draft { at, facts, commands }]).expect("a journal in memory");
    }

    pub fn submit(&self, version: &str) -> ReleaseId {
        self.submit_of(ReleaseId::new("checkout", version))
    }

    pub fn submit_of(&self, release: ReleaseId) -> ReleaseId {
        self.put(&[Fact::Submitted {
            release: release.clone(),
            artifact: artifact(release.version.as_str()),
            author: "dana".into(),
            by: actor("dana"),
            lane: Lane::Normal,
            reason: None,
            irreversible: false,
            requires: None,
            policy: "4e1b7a0cafe".into(),
        }]);
        release
    }

    /// Lets a release into a ring, its clusters under our own writes and not ready.
    pub fn start(&self, release: &ReleaseId, ring: &str) {
        let declared = plan();
        let members = &declared.ring(&ring.into()).expect("a ring").clusters;
        let write = |cluster: &Cluster| {
            Command::Deploy(Write {
                key: key(release, ring, &cluster.name, "deploy"),
                release: release.clone(),
                ring: ring.into(),
                attempt: 1,
                cluster: cluster.name.clone(),
                connection: cluster.connection.clone(),
                target: declared.target.clone(),
                artifact: artifact(release.version.as_str()),
            })
        };
        let clusters = members.iter().map(|cluster| cluster.name.clone()).collect();
        let started =
            Fact::RingStarted { release: release.clone(), ring: ring.into(), attempt: 1, clusters };
        self.record(&[started], &members.iter().map(write).collect::<Vec<_>>());
    }

    /// Every cluster of the ring is healthy under our write, and the soak begins.
    pub fn soak(&self, release: &ReleaseId, ring: &str) {
        self.start(release, ring);
        let declared = plan();
        for cluster in &declared.ring(&ring.into()).expect("a ring").clusters {
            self.see(release, ring, cluster.name.as_str(), Status::Succeeded);
            let (release, ring) = (release.clone(), ring.into());
            self.put(&[Fact::ClusterReady { release, ring, cluster: cluster.name.clone() }]);
        }
        let (release, ring) = (release.clone(), ring.into());
        self.put(&[Fact::SoakStarted { release, ring }]);
    }

    pub fn pass(&self, release: &ReleaseId, ring: &str) {
        self.soak(release, ring);
        self.put(&[Fact::RingPassed { release: release.clone(), ring: ring.into() }]);
    }

    /// Something ran there before any release: the way back.
    pub fn adopt(&self, cluster: &str) {
        let (plan, image) = ("checkout", artifact("2.13.0"));
        let (status, image_seen) = (Status::Succeeded, Some(image.clone()));
        let state = TargetState {
            status,
            image: image_seen,
            intent: None,
            revision: None,
            ready_since: None,
            pause: None,
        };
        self.put(&[
            Fact::TargetSeen { plan: plan.into(), cluster: cluster.into(), state },
            Fact::Adopted {
                plan: plan.into(),
                cluster: cluster.into(),
                version: None,
                artifact: image,
            },
        ]);
    }

    pub fn see(&self, release: &ReleaseId, ring: &str, cluster: &str, status: Status) {
        let state = TargetState {
            status,
            image: Some(artifact(release.version.as_str())),
            intent: Some(key(release, ring, &cluster.into(), "deploy")),
            revision: None,
            ready_since: None,
            pause: None,
        };
        self.put(&[Fact::TargetSeen { plan: "checkout".into(), cluster: cluster.into(), state }]);
    }

    pub fn measure(
        &self,
        release: &ReleaseId,
        ring: &str,
        (on, gate): (&str, &str),
        judged: Judged,
    ) {
        self.put(&[Fact::Measured {
            release: release.clone(),
            ring: ring.into(),
            cluster: on.into(),
            gate: gate.into(),
            key: key(release, ring, &on.into(), &format!("{gate}/1")),
            judged,
        }]);
    }

    /// Serves the desk as the loop does: decide, record, make true, tell, answer. It ends with the
    /// desk.
    pub fn serve(&mut self) {
        let (world, store, clock) = (self.world.clone(), self.store.clone(), self.clock.clone());
        let mut clerk = self.clerk.take().expect("it is served once");
        tokio::spawn(async move {
            while let Some(ask) = clerk.asks.recv().await {
                let at = clock.now();
                let answer = {
                    let mut world = world.write().unwrap_or_else(PoisonError::into_inner);
                    let event = Event::Operator(ask.request);
                    let decision = decide(&world, &event, at).expect("the core has no defect");
                    let (facts, commands) = (decision.facts.clone(), decision.commands.clone());
                    let draft = Draft { at, facts, commands };
                    match store.append(1, &[draft]) {
                        Ok(numbers) => {
                            world
                                .fold(at, &decision.facts, &decision.commands)
                                .expect("it follows");
                            let change = Change::of(numbers.start, at, &decision.facts);
                            change.into_iter().for_each(|change| clerk.tell(change));
                            Ok(decision.reply.expect("a request has an answer"))
                        }
                        Err(error) => {
                            clerk.broken(error.to_string());
                            Err(super::desk::Unavailable::NotRecorded(error.to_string()))
                        }
                    }
                };
                let _ = ask.reply.send(answer);
            }
        });
    }
}

fn key(
    release: &ReleaseId,
    ring: &str,
    cluster: &crate::ids::ClusterName,
    what: &str,
) -> IdempotencyKey {
    format!("{release}/{ring}/{cluster}/1/{what}").into()
}
