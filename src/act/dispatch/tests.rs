use std::{
    collections::{BTreeMap, VecDeque},
    sync::atomic::AtomicUsize,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::BoxStream};
use tokio::{
    sync::{Semaphore, mpsc},
    time::timeout,
};

use super::*;
use crate::{
    act::{Deployer, Found, WriteError},
    decide::{
        command::{Measure, Promote, Write},
        event::{Answer, News, Outcome, Reading, Status},
        part::Workload,
    },
    ids::{ClusterName, ReleaseId},
    model::{
        graph::{After, RingGraph},
        plan::OnNewer,
        policy::{Concurrency, OnBreach, Policy, Rollback, Soak},
        residency::Witness,
        ring::{Artifact, Cluster, MetricSource, ProviderKind, Ring, Target, TargetKind},
        time::{Mono, Span},
    },
};

/// How one attempt ends; an attempt without a script is done.
#[derive(Clone)]
enum Ends {
    Unreachable,
    Refused,
    Never,
    /// Done once somebody opens the gate.
    AtTheGate,
}

/// Every cluster and metric source at once, by a script.
#[derive(Default)]
struct Fleet {
    script: Mutex<BTreeMap<String, VecDeque<Ends>>>,
    attempts: Mutex<Vec<(String, u64)>>,
    feeds: Mutex<BTreeMap<String, mpsc::UnboundedReceiver<TargetState>>>,
    /// By connection, what its cluster says of itself, one answer after the other; then it cannot be seen.
    says: Mutex<BTreeMap<String, VecDeque<Says>>>,
    gate: Gate,
    now: AtomicUsize,
    most: AtomicUsize,
}

struct Gate(Semaphore);

impl Default for Gate {
    fn default() -> Self {
        Self(Semaphore::new(0))
    }
}

impl Fleet {
    fn plan(&self, key: &str, ends: impl IntoIterator<Item = Ends>) {
        lock(&self.script).insert(key.into(), ends.into_iter().collect());
    }

    fn feed(&self, connection: &str) -> mpsc::UnboundedSender<TargetState> {
        let (feed, states) = mpsc::unbounded_channel();
        lock(&self.feeds).insert(connection.into(), states);
        feed
    }

    fn open(&self, times: usize) {
        self.gate.0.add_permits(times);
    }

    fn attempts(&self) -> Vec<String> {
        lock(&self.attempts).iter().map(|(key, _)| key.clone()).collect()
    }

    async fn attempt(&self, key: &IdempotencyKey, epoch: u64) -> Result<(), WriteError> {
        lock(&self.attempts).push((key.to_string(), epoch));
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        let ends = lock(&self.script).get_mut(key.as_str()).and_then(VecDeque::pop_front);
        let result = match ends {
            None => Ok(()),
            Some(Ends::Unreachable) => Err(WriteError::Unreachable("the line is cut".into())),
            Some(Ends::Refused) => Err(WriteError::Refused("no consent".into())),
            Some(Ends::Never) => futures::future::pending().await,
            Some(Ends::AtTheGate) => {
                self.gate.0.acquire().await.unwrap().forget();
                Ok(())
            }
        };
        self.now.fetch_sub(1, Ordering::SeqCst);
        result
    }
}

type Says = Result<Option<Witness>, String>;

struct Door(Arc<Fleet>, String);

impl Deployer for Door {
    fn write(&self, write: &Write, epoch: u64) -> BoxFuture<'_, Result<Found, WriteError>> {
        let key = write.key.clone();
        // A key says what is found under it, if anything is.
        let found = key.as_str().strip_prefix("over ").map(|image| TargetState {
            status: Status::Succeeded,
            image: Some(Artifact(image.into())),
            intent: None,
            revision: None,
            ready_since: None,
            pause: None,
        });
        async move { self.0.attempt(&key, epoch).await.map(|()| found) }.boxed()
    }

    fn promote(&self, promote: &Promote, epoch: u64) -> BoxFuture<'_, Result<(), WriteError>> {
        let key = promote.write.key.clone();
        async move { self.0.attempt(&key, epoch).await }.boxed()
    }

    fn watch(&self, _: &PlanName, _: &Target) -> BoxStream<'static, TargetState> {
        let feed = lock(&self.0.feeds).remove(&self.1);
        let Some(mut feed) = feed else { return futures::stream::pending().boxed() };
        futures::stream::poll_fn(move |context| feed.poll_recv(context)).boxed()
    }

    fn workload(&self, _: &Target) -> BoxFuture<'_, Result<Workload, String>> {
        async { Err("nobody asks here".into()) }.boxed()
    }

    fn witness(&self) -> BoxFuture<'_, Says> {
        let next = lock(&self.0.says).get_mut(&self.1).and_then(VecDeque::pop_front);
        async { next.unwrap_or_else(|| Err("forbidden".into())) }.boxed()
    }
}

struct Doors(Arc<Fleet>);

impl Connections for Doors {
    fn deployer(&self, connection: &str) -> Result<Arc<dyn Deployer>, String> {
        if connection == "nowhere" {
            return Err("no such connection".into());
        }
        Ok(Arc::new(Door(self.0.clone(), connection.into())))
    }
}

impl Measurer for Fleet {
    fn measure(&self, measure: &Measure) -> BoxFuture<'_, Answer> {
        let key = measure.key.clone();
        async move {
            // A measurement has no epoch, and every end of it but in time is the measurer's to say.
            let _ = self.attempt(&key, 0).await;
            Answer {
                value: Reading::Absent,
                samples: None,
                baseline: None,
                parts: Vec::new(),
                infos: Vec::new(),
            }
        }
        .boxed()
    }
}

fn quick() -> Limits {
    Limits {
        attempt: Duration::from_millis(50),
        first_pause: Duration::from_millis(2),
        longest_pause: Duration::from_millis(8),
        ..Limits::default()
    }
}

struct Bench {
    fleet: Arc<Fleet>,
    dispatch: Dispatch,
    events: mpsc::Receiver<Event>,
}

impl Bench {
    fn new(limits: Limits) -> Self {
        let fleet = Arc::new(Fleet::default());
        let (send, events) = mpsc::channel(64);
        let doors = Arc::new(Doors(fleet.clone()));
        let dispatch = Dispatch::new(doors, fleet.clone(), send, limits);
        Self { fleet, dispatch, events }
    }

    async fn event(&mut self) -> Event {
        timeout(Duration::from_secs(5), self.events.recv()).await.expect("an event").unwrap()
    }

    async fn outcome(&mut self) -> (String, Outcome) {
        let event = self.event().await;
        let Event::Outcome { key, outcome, .. } = event else {
            panic!("expected an outcome, got {event:?}")
        };
        (key.to_string(), outcome)
    }

    async fn seen(&mut self) -> (String, TargetState) {
        let event = self.event().await;
        let Event::Observed { cluster, state, .. } = event else {
            panic!("expected a state, got {event:?}")
        };
        (cluster.to_string(), state)
    }

    async fn until_attempts(&self, count: usize) {
        let enough = async {
            while lock(&self.fleet.attempts).len() < count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(5), enough).await.expect("that many attempts");
    }

    /// Long enough for anything that is wrongly under way to be said.
    async fn nothing_more(&mut self) {
        let more = timeout(Duration::from_millis(60), self.events.recv()).await;
        assert!(more.is_err(), "nothing more was expected, got {more:?}");
    }
}

fn target(name: &str) -> Target {
    Target {
        kind: TargetKind::Deployment { container: "app".into() },
        namespace: "shop".into(),
        name: name.into(),
    }
}

fn write(cluster: &str, object: &str, key: &str) -> Write {
    Write {
        key: key.into(),
        release: ReleaseId::new("checkout", "2"),
        ring: "beta".into(),
        attempt: 1,
        cluster: cluster.into(),
        connection: cluster.into(),
        target: target(object),
        artifact: Artifact("registry.test/app:2".into()),
    }
}

fn deploy(cluster: &str, object: &str, key: &str) -> Command {
    Command::Deploy(write(cluster, object, key))
}

fn measure(endpoint: &str, key: &str) -> Measure {
    Measure {
        key: key.into(),
        release: ReleaseId::new("checkout", "2"),
        ring: "beta".into(),
        attempt: 1,
        cluster: "eu".into(),
        gate: "errors".into(),
        source: Some(MetricSource {
            name: "main".into(),
            kind: ProviderKind::Prometheus,
            url: endpoint.into(),
            jurisdiction: None,
        }),
        query: "up".into(),
        samples: None,
        baseline_at: None,
        due: Mono(0),
        timeout: Span(60_000),
        parts: Vec::new(),
        past: None,
    }
}

fn plan(clusters: &[&str], object: &str) -> Plan {
    let cluster = |name: &&str| Cluster {
        name: ClusterName::from(*name),
        labels: BTreeMap::new(),
        region: "r".into(),
        jurisdiction: "DE".into(),
        data_classes: vec![],
        failover_pair: None,
        verified_until: None,
        connection: name.to_string(),
        metrics: vec![],
    };
    let policy = Policy {
        name: "quick".into(),
        soak: Soak { duration: Span::ZERO, on_breach: OnBreach::Reset, backfill: false },
        deadline: Span::minutes(1),
        concurrency: Concurrency::Clusters(1),
        failure_budget: 0,
        gates: vec![],
        rollback: Rollback { automatic: true, ..Rollback::default() },
        approvals: None,
        calendars: vec![],
        min_dwell: Span::ZERO,
        after_watch: Span::ZERO,
    };
    let clusters = clusters.iter().map(cluster).collect();
    Plan {
        name: "checkout".into(),
        hash: "h".into(),
        commit: "c".into(),
        target: target(object),
        data_classes: vec![],
        on_newer: OnNewer::QueueLatest,
        on_policy_change: Default::default(),
        max_skew: None,
        lanes: Default::default(),
        graph: RingGraph::new(vec![("beta".into(), After::default())]).unwrap(),
        rings: vec![Ring { name: "beta".into(), clusters, policy: policy.into() }],
        residency: vec![],
    }
}

fn state(status: Status) -> TargetState {
    TargetState {
        status,
        image: Some(Artifact("registry.test/app:1".into())),
        intent: None,
        revision: None,
        ready_since: None,
        pause: None,
    }
}

#[tokio::test]
async fn each_write_ends_in_one_outcome_under_its_writers_epoch() {
    let mut bench = Bench::new(quick());
    bench.fleet.plan("b", [Ends::Refused]);
    bench.dispatch.dispatch(7, vec![deploy("eu", "a", "a"), deploy("us", "b", "b")]);
    let ends = BTreeMap::from([bench.outcome().await, bench.outcome().await]);
    assert_eq!(ends["a"], Outcome::Done);
    assert_eq!(ends["b"], Outcome::Refused("no consent".into()));
    assert!(lock(&bench.fleet.attempts).iter().all(|(_, epoch)| *epoch == 7));
    bench.nothing_more().await;
}

#[tokio::test]
async fn a_repeat_of_what_is_on_its_way_is_ignored_and_a_later_one_is_made() {
    let mut bench = Bench::new(Limits { attempt: Duration::from_secs(5), ..quick() });
    bench.fleet.plan("a", [Ends::AtTheGate]);
    bench.dispatch.dispatch(1, vec![deploy("eu", "x", "a"), deploy("eu", "x", "a")]);
    bench.until_attempts(1).await;
    bench.dispatch.dispatch(1, vec![deploy("eu", "x", "a")]);
    bench.fleet.open(1);
    assert_eq!(bench.outcome().await, ("a".into(), Outcome::Done));
    bench.nothing_more().await;
    assert_eq!(bench.fleet.attempts(), ["a"]);

    bench.dispatch.dispatch(1, vec![deploy("eu", "x", "a")]);
    assert_eq!(bench.outcome().await, ("a".into(), Outcome::Done));
}

#[tokio::test]
async fn an_outage_is_told_once_and_the_state_again_when_it_is_over() {
    let mut bench = Bench::new(quick());
    let feed = bench.fleet.feed("eu");
    bench.dispatch.watch(&plan(&["eu"], "x"));
    feed.send(state(Status::Succeeded)).unwrap();
    assert_eq!(bench.seen().await, ("eu".into(), state(Status::Succeeded)));

    bench.fleet.plan("a", vec![Ends::Unreachable; 6]);
    bench.dispatch.dispatch(1, vec![deploy("eu", "x", "a")]);
    assert_eq!(bench.seen().await.1, unknown("the line is cut"));
    // The outcome and the state come from two tasks, in either order.
    let mut events = [bench.event().await, bench.event().await];
    events.sort_by_key(|event| matches!(event, Event::Outcome { .. }));
    assert!(
        matches!(&events[0], Event::Observed { state: s, .. } if *s == state(Status::Succeeded))
    );
    assert!(matches!(&events[1], Event::Outcome { outcome: Outcome::Done, .. }));
    assert_eq!(bench.fleet.attempts().len(), 7);
    bench.nothing_more().await;
}

#[tokio::test]
async fn an_attempt_that_hangs_is_given_up_and_made_again() {
    let mut bench = Bench::new(quick());
    bench.fleet.plan("a", [Ends::Never]);
    bench.dispatch.dispatch(1, vec![deploy("eu", "x", "a")]);
    let Status::Unknown(why) = bench.seen().await.1.status else { panic!("must be Unknown") };
    assert!(why.contains("eu did not answer within 50ms"), "{why}");
    assert_eq!(bench.outcome().await, ("a".into(), Outcome::Done));
}

#[tokio::test]
async fn a_restore_overtakes_a_deploy_that_does_not_get_through() {
    let mut bench = Bench::new(Limits { longest_pause: Duration::from_secs(60), ..quick() });
    bench.fleet.plan("deploy", vec![Ends::Unreachable; 1_000]);
    bench.dispatch.dispatch(1, vec![deploy("eu", "x", "deploy")]);
    bench.until_attempts(3).await;
    bench.dispatch.dispatch(1, vec![Command::Restore(write("eu", "x", "restore"))]);
    assert_eq!(bench.seen().await.1, unknown("the line is cut"));
    assert_eq!(bench.outcome().await, ("restore".into(), Outcome::Done));
    bench.nothing_more().await;
    assert_eq!(bench.fleet.attempts().last().unwrap(), "restore");
}

#[tokio::test]
async fn two_writes_to_a_target_never_overlap_and_the_newest_that_waits_wins() {
    let mut bench = Bench::new(Limits { attempt: Duration::from_secs(5), ..quick() });
    bench.fleet.plan("a", [Ends::AtTheGate]);
    let write = |key| vec![deploy("eu", "x", key)];
    bench.dispatch.dispatch(1, write("a"));
    bench.until_attempts(1).await;
    for key in ["b", "c", "a"] {
        bench.dispatch.dispatch(1, write(key));
    }
    bench.nothing_more().await;
    assert_eq!(bench.fleet.attempts(), ["a"]);
    bench.fleet.open(1);
    // What was under way did end, and that is told; what only waited was never made.
    assert_eq!(bench.outcome().await, ("a".into(), Outcome::Done));
    assert_eq!(bench.outcome().await, ("c".into(), Outcome::Done));
    bench.nothing_more().await;
    assert_eq!(bench.fleet.attempts(), ["a", "c"]);
    assert_eq!(bench.fleet.most.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_cluster_that_hangs_fills_its_own_queue_only() {
    let limits = Limits {
        attempt: Duration::from_secs(5),
        writes_per_cluster: 2,
        targets_per_cluster: 3,
        ..quick()
    };
    let mut bench = Bench::new(limits);
    let keys = ["a", "b", "c", "d"];
    for key in keys {
        bench.fleet.plan(key, [Ends::AtTheGate]);
    }
    bench.dispatch.dispatch(1, keys.map(|key| deploy("eu", key, key)));
    bench.dispatch.dispatch(1, vec![deploy("us", "e", "e")]);
    assert_eq!(bench.outcome().await, ("e".into(), Outcome::Done));
    bench.until_attempts(3).await;
    assert_eq!(bench.dispatch.dropped(), 1);
    assert!(!bench.fleet.attempts().contains(&"c".into()), "two at once, no more");
    bench.fleet.open(3);
    let ended = [bench.outcome().await.0, bench.outcome().await.0, bench.outcome().await.0];
    assert_eq!(ended.iter().collect::<std::collections::BTreeSet<_>>().len(), 3);

    // What was dropped is handed in again, and there is room.
    bench.fleet.open(1);
    bench.dispatch.dispatch(1, vec![deploy("eu", "d", "d")]);
    assert_eq!(bench.outcome().await, ("d".into(), Outcome::Done));
    assert_eq!(bench.dispatch.dropped(), 1);
}

#[tokio::test]
async fn a_cancelled_write_is_not_tried_again() {
    let mut bench = Bench::new(Limits { longest_pause: Duration::from_secs(60), ..quick() });
    let feed = bench.fleet.feed("eu");
    bench.dispatch.watch(&plan(&["eu"], "x"));
    feed.send(state(Status::Succeeded)).unwrap();
    bench.seen().await;
    bench.fleet.plan("a", vec![Ends::Unreachable; 1_000]);
    bench.dispatch.dispatch(1, vec![deploy("eu", "x", "a")]);
    bench.until_attempts(4).await;
    assert!(matches!(bench.seen().await.1.status, Status::Unknown(_)));
    bench.dispatch.cancel(&"a".into());
    assert_eq!(bench.seen().await.1, state(Status::Succeeded), "nobody fails to reach it any more");
    bench.nothing_more().await;
    let attempts = bench.fleet.attempts().len();
    bench.nothing_more().await;
    assert_eq!(bench.fleet.attempts().len(), attempts);
}

#[tokio::test]
async fn a_connection_that_is_not_there_is_unknown_and_may_come() {
    let mut bench = Bench::new(quick());
    let mut lost = write("eu", "x", "a");
    lost.connection = "nowhere".into();
    bench.dispatch.dispatch(1, vec![Command::Deploy(lost)]);
    assert_eq!(bench.seen().await.1, unknown("no such connection"));
    bench.nothing_more().await;
}

#[tokio::test]
async fn the_watches_of_a_plan_follow_its_clusters() {
    let mut bench = Bench::new(quick());
    let (eu, us) = (bench.fleet.feed("eu"), bench.fleet.feed("us"));
    bench.dispatch.watch(&plan(&["eu", "us"], "x"));
    eu.send(state(Status::Pending)).unwrap();
    assert_eq!(bench.seen().await, ("eu".into(), state(Status::Pending)));
    us.send(state(Status::Paused)).unwrap();
    assert_eq!(bench.seen().await, ("us".into(), state(Status::Paused)));
    // The same again is no news, and a plan that stayed as it was starts nothing.
    us.send(state(Status::Paused)).unwrap();
    bench.dispatch.watch(&plan(&["eu", "us"], "x"));
    bench.nothing_more().await;

    bench.dispatch.watch(&plan(&["eu"], "x"));
    assert_eq!(bench.seen().await, ("us".into(), unknown("it is no longer watched")));
    assert!(us.is_closed(), "the stream was dropped");

    // Another object in the same cluster: what was seen of the first says nothing about it.
    let other = bench.fleet.feed("eu");
    other.send(state(Status::Succeeded)).unwrap();
    bench.dispatch.watch(&plan(&["eu"], "y"));
    assert_eq!(bench.seen().await, ("eu".into(), unknown("it is no longer watched")));
    assert_eq!(bench.seen().await, ("eu".into(), state(Status::Succeeded)));

    bench.dispatch.unwatch(&"checkout".into());
    assert_eq!(bench.seen().await, ("eu".into(), unknown("it is no longer watched")));
    bench.nothing_more().await;
}

#[tokio::test]
async fn a_target_that_is_written_is_watched() {
    let mut bench = Bench::new(quick());
    let feed = bench.fleet.feed("eu");
    bench.dispatch.dispatch(1, vec![deploy("eu", "x", "a")]);
    assert_eq!(bench.outcome().await, ("a".into(), Outcome::Done));
    feed.send(state(Status::Pending)).unwrap();
    assert_eq!(bench.seen().await, ("eu".into(), state(Status::Pending)));
}

async fn measured(bench: &mut Bench) -> (String, Answer) {
    let event = bench.event().await;
    let Event::Measured { key, answer, .. } = event else {
        panic!("expected a measurement, got {event:?}")
    };
    (key.to_string(), answer)
}

#[tokio::test]
async fn so_many_measurements_wait_and_a_repeat_takes_no_room() {
    let mut bench = Bench::new(Limits { measures_waiting: 2, ..quick() });
    for key in ["a", "b"] {
        bench.fleet.plan(key, [Ends::AtTheGate]);
    }
    let ask = |key: &str| Command::Measure(measure("http://a", key));
    bench.dispatch.dispatch(1, vec![ask("a"), ask("b"), ask("a"), ask("c")]);
    assert_eq!(bench.dispatch.dropped(), 1, "two may wait, and `a` was there already");
    bench.until_attempts(2).await;
    bench.dispatch.cancel(&"b".into());
    bench.fleet.open(2);
    assert_eq!(measured(&mut bench).await.0, "a");
    bench.nothing_more().await;
}

#[tokio::test]
async fn a_dropped_dispatcher_stops() {
    let Bench { fleet, dispatch, mut events } = Bench::new(quick());
    fleet.plan("a", vec![Ends::Unreachable; 1_000_000]);
    fleet.plan("m", [Ends::Never]);
    let measure = Command::Measure(measure("http://a", "m"));
    dispatch.dispatch(1, vec![deploy("eu", "x", "a"), measure]);
    drop(dispatch);
    // The channel closes once no task holds its sender.
    let closed = async { while events.recv().await.is_some() {} };
    timeout(Duration::from_secs(5), closed).await.expect("every task ends");
}

#[tokio::test]
async fn what_a_write_found_is_told_before_how_it_ended() {
    let mut bench = Bench::new(quick());
    bench.dispatch.dispatch(1, vec![deploy("eu", "checkout", "over registry.test/app:1")]);
    let event = bench.event().await;
    let Event::Found { cluster, state, .. } = event else {
        panic!("expected what was found, got {event:?}")
    };
    assert_eq!((cluster.as_str(), state.intent), ("eu", None));
    assert_eq!(state.image, Some(Artifact("registry.test/app:1".into())));
    assert_eq!(bench.outcome().await.1, Outcome::Done);
}

fn in_region(region: &str) -> Witness {
    Witness { regions: [region.into()].into(), ..Witness::default() }
}

#[tokio::test]
async fn a_cluster_is_heard_when_it_says_something_new_and_its_silence_is_not() {
    let limits = Limits { witness_every: Duration::from_millis(2), ..quick() };
    let mut bench = Bench::new(limits);
    let (r, s) = (in_region("r"), in_region("s"));
    let says = [
        Err("forbidden".into()),
        Ok(Some(r.clone())),
        Ok(Some(r.clone())),
        Err("gone".into()),
        Ok(None),
        Ok(Some(r.clone())),
        Ok(Some(s.clone())),
        Ok(Some(Witness::default())),
    ];
    lock(&bench.fleet.says).insert("eu".into(), says.into());
    bench.dispatch.watch(&plan(&["eu"], "x"));
    for witness in [r, s, Witness::default()] {
        let event = bench.event().await;
        let Event::Learned(News::Witness(cluster, heard)) = event else {
            panic!("expected a witness, got {event:?}")
        };
        assert_eq!((cluster.as_str(), heard), ("eu", witness));
    }
    bench.nothing_more().await;
}

#[tokio::test]
async fn a_cluster_is_asked_for_as_long_as_a_plan_is_there() {
    let limits = Limits { witness_every: Duration::from_millis(2), ..quick() };
    let mut bench = Bench::new(limits);
    let answers = (0..100_000).map(|n| Ok(Some(in_region(&format!("r{n}")))));
    lock(&bench.fleet.says).insert("eu".into(), answers.collect());
    let other = |clusters: &[&str]| Plan { name: "other".into(), ..plan(clusters, "y") };
    bench.dispatch.watch(&plan(&["eu"], "x"));
    bench.dispatch.watch(&other(&["eu"]));
    bench.event().await;
    bench.dispatch.unwatch(&"checkout".into());
    for _ in 0..3 {
        assert!(matches!(bench.event().await, Event::Learned(_)), "the other plan is still there");
    }
    bench.dispatch.watch(&other(&[]));
    while let Ok(Some(event)) = timeout(Duration::from_millis(60), bench.events.recv()).await {
        assert!(matches!(event, Event::Learned(_) | Event::Observed { .. }), "{event:?}");
    }
    let left = lock(&bench.fleet.says)["eu"].len();
    bench.nothing_more().await;
    assert_eq!(lock(&bench.fleet.says)["eu"].len(), left, "nobody asks any more");
}
