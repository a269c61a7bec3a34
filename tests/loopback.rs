//! The simulated fleet, asked over HTTP by the clients that the product uses.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api, Client, Config,
    api::{ListParams, Patch, PatchParams, WatchEvent, WatchParams},
    config::{KubeConfigOptions, Kubeconfig},
    runtime::watcher::{self, watcher},
};
use ringward::{
    clock::{Clock, SystemClock},
    ids::ClusterName,
    model::{
        ring::{Artifact, Target, TargetKind},
        time::{Mono, Span},
    },
    sim::loopback::{Defect, Fleet, FleetError, Site, Workload},
};
use serde_json::{Value, json};

const DECLARED: &str = "http://prometheus.monitoring.corp:9090";
/// A rollout of 45 s takes some 60 ms.
const SPEED: f64 = 720.0;

fn image(digit: char) -> Artifact {
    Artifact(format!("registry.example/shop/checkout@sha256:{}", digit.to_string().repeat(64)))
}

fn target() -> Target {
    Target {
        kind: TargetKind::Deployment { container: "app".into() },
        namespace: "shop".into(),
        name: "checkout".into(),
    }
}

fn site() -> Site {
    let workload =
        Workload { plan: "checkout".into(), target: target(), image: image('a'), replicas: 3 };
    Site {
        cluster: "corp".into(),
        connection: "corp-admin".into(),
        region: "eu-central-2".into(),
        metrics: [DECLARED.to_owned()].into(),
        workloads: vec![workload],
        deploy_time: Span::seconds(45),
    }
}

struct World {
    fleet: Fleet,
    clock: Arc<dyn Clock>,
    folder: tempfile::TempDir,
}

impl World {
    async fn start() -> Self {
        let wall: Timestamp = "2026-11-02T08:00:00Z".parse().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::compressed(wall, Mono(0), SPEED));
        let folder = tempfile::tempdir().unwrap();
        let fleet = Fleet::start(&[site()], clock.clone(), 7, folder.path()).await.unwrap();
        Self { fleet, clock, folder }
    }

    fn corp(&self) -> ClusterName {
        "corp".into()
    }

    async fn client(&self) -> Client {
        let kubeconfig = Kubeconfig::read_from(self.fleet.kubeconfig()).unwrap();
        client(kubeconfig).await
    }

    async fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.client().await, "shop")
    }

    async fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client().await, "shop")
    }

    async fn ask(&self, query: &str, time: Option<Timestamp>) -> (u16, Value) {
        let url = format!("{}/api/v1/query", self.fleet.metrics()[DECLARED]);
        let mut asked = vec![("query", query.to_owned())];
        asked.extend(time.map(|at| ("time", at.to_string())));
        let answer = reqwest::Client::new().get(url).query(&asked).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn value(&self, query: &str, time: Option<Timestamp>) -> f64 {
        let (status, answer) = self.ask(query, time).await;
        assert_eq!(status, 200, "{answer}");
        let series = answer["data"]["result"].as_array().unwrap();
        assert_eq!(series.len(), 1, "{query}: {answer}");
        series[0]["value"][1].as_str().unwrap().parse().unwrap()
    }

    /// Waits until the Deployment is rolled out as of its generation.
    async fn settled(&self, api: &Api<Deployment>) -> Deployment {
        within("the rollout to end", || async {
            let found = api.get("checkout").await.unwrap();
            let status = found.status.clone().unwrap();
            let wanted = found.spec.as_ref().unwrap().replicas;
            let done = status.observed_generation == found.metadata.generation
                && [status.updated_replicas, status.replicas, status.available_replicas]
                    == [wanted; 3];
            done.then_some(found)
        })
        .await
    }
}

async fn client(kubeconfig: Kubeconfig) -> Client {
    let options = KubeConfigOptions { context: Some("corp-admin".into()), ..Default::default() };
    Client::try_from(Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap()).unwrap()
}

/// Asks again until there is an answer, for five seconds at most.
async fn within<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let answer = tokio::time::timeout(Duration::from_secs(5), asking).await;
    answer.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

fn apply(image: &Artifact, intent: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "checkout", "annotations": {"ringward.dev/intent": intent}},
        "spec": {"template": {"spec": {"containers": [{"name": "app", "image": image}]}}},
    })
}

fn refused(error: kube::Error) -> kube::core::Status {
    let kube::Error::Api(status) = error else { panic!("not a Status: {error:?}") };
    *status
}

fn image_ids(pods: &[Pod]) -> Vec<String> {
    let statuses = pods.iter().flat_map(|pod| pod.status.clone().unwrap().container_statuses);
    let mut ids: Vec<_> = statuses.flatten().map(|status| status.image_id).collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn a_deploy_is_rolled_out_and_its_repeat_changes_nothing() {
    let world = World::start().await;
    let (api, pods) = (world.deployments().await, world.pods().await);
    let before = world.settled(&api).await;
    assert_eq!(before.metadata.generation, Some(1));
    assert_eq!(
        image_ids(&pods.list(&ListParams::default()).await.unwrap().items),
        vec![image('a').0; 3]
    );

    let ringward = PatchParams::apply("ringward");
    let written =
        api.patch("checkout", &ringward, &Patch::Apply(apply(&image('b'), "one"))).await.unwrap();
    assert_eq!(written.metadata.generation, Some(2));
    let status = written.status.as_ref().unwrap();
    assert_eq!(status.observed_generation, Some(1), "its controller has not looked yet");
    assert!(written.metadata.resource_version > before.metadata.resource_version);

    let after = world.settled(&api).await;
    assert_eq!(after.status.as_ref().unwrap().observed_generation, Some(2));
    let labels = ListParams::default().labels("app=checkout");
    assert_eq!(image_ids(&pods.list(&labels).await.unwrap().items), vec![image('b').0; 3]);
    assert_eq!(world.fleet.serving(&world.corp(), &target()).unwrap(), [(image('b'), 3)]);

    let again =
        api.patch("checkout", &ringward, &Patch::Apply(apply(&image('b'), "one"))).await.unwrap();
    assert_eq!(again.metadata.resource_version, after.metadata.resource_version);
    assert_eq!(again.metadata.generation, after.metadata.generation);

    // As with a real API server: an annotation of a Deployment is a change of generation.
    let annotated =
        api.patch("checkout", &ringward, &Patch::Apply(apply(&image('b'), "two"))).await.unwrap();
    assert_eq!(annotated.metadata.generation, Some(3));
    let settled = world.settled(&api).await;
    assert_eq!(image_ids(&pods.list(&labels).await.unwrap().items), vec![image('b').0; 3]);
    let label = PatchParams::apply("someone");
    let labelled = json!({"metadata": {"labels": {"team": "web"}}});
    let labelled = api.patch("checkout", &label, &Patch::Merge(labelled)).await.unwrap();
    assert_eq!(labelled.metadata.generation, settled.metadata.generation);
    assert_ne!(labelled.metadata.resource_version, settled.metadata.resource_version);
}

#[tokio::test]
async fn a_rollout_replaces_one_replica_after_another_and_never_has_too_few() {
    let world = World::start().await;
    let api = world.deployments().await;
    world.fleet.set_deploy_time(&world.corp(), Span::minutes(4)).unwrap();
    let start = api.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    let asked = world.clock.now();
    let ringward = PatchParams::apply("ringward");
    api.patch("checkout", &ringward, &Patch::Apply(apply(&image('b'), "one"))).await.unwrap();
    world.settled(&api).await;
    let took = world.clock.now().mono.since(asked.mono);
    assert!(took >= Span::minutes(4), "{took}");

    let events = api.watch(&WatchParams::default().timeout(1), &start).await.unwrap();
    let seen: Vec<_> = events
        .try_filter_map(|event| async move {
            let WatchEvent::Modified(deployment) = event else { panic!("{event:?}") };
            Ok(deployment.status)
        })
        .map_ok(|status| (status.updated_replicas.unwrap_or(0), status.available_replicas))
        .try_collect()
        .await
        .unwrap();
    let updated: Vec<_> = seen.iter().map(|(updated, _)| *updated).collect();
    assert!(updated.is_sorted_by_key(|n| (*n == 3, *n)) || updated[0] == 3, "{updated:?}");
    assert!(updated.contains(&1) && updated.contains(&2), "{updated:?}");
    assert!(seen.iter().all(|(_, available)| *available >= Some(3)), "{seen:?}");
}

#[tokio::test]
async fn a_field_of_somebody_else_is_a_conflict_that_names_them() {
    let world = World::start().await;
    let api = world.deployments().await;
    let taken = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "app", "image": image('c')}]}}}});
    let hand = PatchParams { field_manager: Some("kubectl-set".into()), ..Default::default() };
    api.patch("checkout", &hand, &Patch::Strategic(taken)).await.unwrap();

    let ringward = PatchParams::apply("ringward");
    let patch = Patch::Apply(apply(&image('b'), "one"));
    let status = refused(api.patch("checkout", &ringward, &patch).await.unwrap_err());
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
    let cause = &status.details.unwrap().causes[0];
    assert_eq!(cause.reason, "FieldManagerConflict");
    assert_eq!(cause.message, "conflict with \"kubectl-set\" using apps/v1");
    assert_eq!(cause.field, ".spec.template.spec.containers[name=\"app\"].image");

    // What was refused left nothing behind; what both want alike is no conflict.
    let found = api.get("checkout").await.unwrap();
    assert!(!found.metadata.annotations.unwrap().contains_key("ringward.dev/intent"));
    api.patch("checkout", &ringward, &Patch::Apply(apply(&image('c'), "one"))).await.unwrap();

    let forced = api.patch("checkout", &ringward.clone().force(), &patch).await.unwrap();
    let owners = forced.metadata.managed_fields.unwrap();
    assert!(owners.iter().all(|owner| owner.manager.as_deref() != Some("kubectl-set")));

    // A field that is applied no longer, and is nobody else's, goes.
    let mut without = apply(&image('b'), "one");
    without["metadata"]["annotations"] = json!({});
    let found = api.patch("checkout", &ringward, &Patch::Apply(without)).await.unwrap();
    let annotations = found.metadata.annotations.unwrap();
    assert_eq!(
        annotations,
        BTreeMap::from([("ringward.dev/managed-by".into(), "checkout".into())])
    );
}

#[tokio::test]
async fn preconditions_and_mistakes_are_refused_as_kubernetes_does() {
    let world = World::start().await;
    let api = world.deployments().await;
    let ringward = PatchParams::apply("ringward");
    let current = api.get("checkout").await.unwrap();

    let mut stale = apply(&image('b'), "one");
    stale["metadata"]["resourceVersion"] = json!("1000000");
    let status =
        refused(api.patch("checkout", &ringward, &Patch::Apply(&stale)).await.unwrap_err());
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
    assert!(status.details.unwrap().causes.is_empty(), "nobody owns a version");
    stale["metadata"]["resourceVersion"] = json!(current.metadata.resource_version);
    let dry = PatchParams { dry_run: true, ..ringward.clone() };
    let tried = api.patch("checkout", &dry, &Patch::Apply(&stale)).await.unwrap();
    assert_eq!(tried.metadata.generation, Some(2));
    assert_eq!(api.get("checkout").await.unwrap().metadata, current.metadata, "a dry run");
    api.patch("checkout", &ringward, &Patch::Apply(&stale)).await.unwrap();

    let status = refused(api.get("nothing").await.unwrap_err());
    assert_eq!((status.code, status.reason.as_str()), (404, "NotFound"));
    assert_eq!(status.message, "deployments.apps \"nothing\" not found");
    let nameless = Patch::Merge(json!({"spec": {"replicas": -1}}));
    let status =
        refused(api.patch("checkout", &PatchParams::default(), &nameless).await.unwrap_err());
    assert_eq!((status.code, status.reason.as_str()), (422, "Invalid"));
    let unknown = ListParams::default().fields("spec.replicas=3");
    assert_eq!(refused(api.list(&unknown).await.unwrap_err()).code, 400);

    let mut kubeconfig = Kubeconfig::read_from(world.fleet.kubeconfig()).unwrap();
    let user = kubeconfig.auth_infos[0].auth_info.as_mut().unwrap();
    user.token = Some("wrong".to_owned().into());
    let stranger: Api<Deployment> = Api::namespaced(client(kubeconfig).await, "shop");
    let status = refused(stranger.get("checkout").await.unwrap_err());
    assert_eq!((status.code, status.reason.as_str()), (401, "Unauthorized"));

    // kubectl shows no token over plain HTTP: the path of the kubeconfig's server does.
    let kubeconfig = Kubeconfig::read_from(world.fleet.kubeconfig()).unwrap();
    let server = kubeconfig.clusters[0].cluster.as_ref().unwrap().server.clone().unwrap();
    let get = async |url: String| reqwest::get(url).await.unwrap().status().as_u16();
    assert_eq!(get(format!("{server}/apis/apps/v1/deployments")).await, 200);
    let (bare, _) = server.split_once("/as/").unwrap();
    assert_eq!(get(format!("{bare}/apis/apps/v1/deployments")).await, 401);
    assert_eq!(get(format!("{bare}/as/guess/apis/apps/v1/deployments")).await, 401);
    assert_eq!(get(format!("{bare}/version")).await, 200);
}

#[tokio::test]
async fn a_watch_goes_on_where_it_was_and_is_told_when_that_is_gone() {
    let world = World::start().await;
    let api = world.deployments().await;
    let start = api.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    for n in 0..3 {
        let patch = json!({"metadata": {"labels": {"n": n.to_string()}}});
        api.patch("checkout", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }
    let only_last = WatchParams::default().labels("n=2");
    let mut events = api.watch(&only_last, &start).await.unwrap().boxed();
    let event = events.try_next().await.unwrap();
    assert!(matches!(event, Some(WatchEvent::Added(_))), "it came into the selection: {event:?}");
    let patch = json!({"metadata": {"labels": {"n": null}}});
    api.patch("checkout", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    let event = events.try_next().await.unwrap();
    assert!(matches!(event, Some(WatchEvent::Deleted(_))), "it left the selection: {event:?}");

    for n in 0..520 {
        let patch = json!({"metadata": {"labels": {"n": n.to_string()}}});
        api.patch("checkout", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }
    let mut events = api.watch(&WatchParams::default(), &start).await.unwrap().boxed();
    let event = events.try_next().await.unwrap();
    let Some(WatchEvent::Error(status)) = event else { panic!("{event:?}") };
    assert_eq!((status.code, status.reason.as_str()), (410, "Expired"));
}

#[tokio::test]
async fn a_watcher_sees_every_cut_and_what_happened_meanwhile() {
    let world = World::start().await;
    let api = world.deployments().await;
    for strategy in
        [watcher::InitialListStrategy::ListWatch, watcher::InitialListStrategy::StreamingList]
    {
        let config = watcher::Config::default().fields("metadata.name=checkout");
        let config = watcher::Config { initial_list_strategy: strategy, ..config };
        let mut events = watcher(api.clone(), config).boxed();
        let mut next = async || {
            tokio::time::timeout(Duration::from_secs(5), events.next()).await.unwrap().unwrap()
        };
        assert!(matches!(next().await, Ok(watcher::Event::Init)));
        assert!(matches!(next().await, Ok(watcher::Event::InitApply(_))));
        assert!(matches!(next().await, Ok(watcher::Event::InitDone)));

        world.fleet.cut_kubernetes(&world.corp(), true).unwrap();
        assert!(next().await.is_err(), "the connection broke");
        assert!(api.get("checkout").await.is_err());
        world.fleet.cut_kubernetes(&world.corp(), false).unwrap();
        let patch =
            json!({"metadata": {"labels": {"seen": format!("{:?}", world.clock.now().mono)}}});
        let patched =
            api.patch("checkout", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
        let seen = loop {
            match next().await {
                Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => {
                    break object;
                }
                Ok(watcher::Event::Init | watcher::Event::InitDone | watcher::Event::Delete(_))
                | Err(_) => {}
            }
        };
        assert_eq!(seen.metadata.resource_version, patched.metadata.resource_version);
    }
}

#[tokio::test]
async fn what_crashes_never_gets_ready_and_its_deadline_passes() {
    let world = World::start().await;
    let (api, pods) = (world.deployments().await, world.pods().await);
    world.fleet.crash(&world.corp(), &image('d')).unwrap();
    let ringward = PatchParams::apply("ringward");
    api.patch("checkout", &ringward, &Patch::Apply(apply(&image('d'), "one"))).await.unwrap();
    let given_up = within("the rollout to be given up", || async {
        let found = api.get("checkout").await.unwrap();
        let status = found.status.unwrap();
        let progressing =
            status.conditions.clone().unwrap().into_iter().find(|c| c.type_ == "Progressing")?;
        (progressing.reason.as_deref() == Some("ProgressDeadlineExceeded")).then_some(status)
    })
    .await;
    assert_eq!(given_up.available_replicas, Some(3), "the old ones serve on");
    let pods_now = pods.list(&ListParams::default()).await.unwrap().items;
    let waiting = pods_now.iter().filter_map(|pod| {
        let status = pod.status.as_ref()?.container_statuses.as_ref()?.first()?;
        status.state.as_ref()?.waiting.as_ref()?.reason.clone()
    });
    assert_eq!(waiting.collect::<Vec<_>>(), ["CrashLoopBackOff"]);

    api.patch("checkout", &ringward, &Patch::Apply(apply(&image('a'), "back"))).await.unwrap();
    world.settled(&api).await;
    assert_eq!(world.fleet.serving(&world.corp(), &target()).unwrap(), [(image('a'), 3)]);
}

const SUCCESS: &str = r#"sum(rate(http_requests_total{service="checkout",code!~"5.."}[2m]))
  / sum(rate(http_requests_total{service="checkout"}[2m]))"#;
const P99: &str = r#"histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket{service="checkout"}[2m])))"#;
const ORDERS: &str = r#"sum(rate(orders_total{service="checkout"}[2m])) * 60"#;
const SAMPLES: &str = r#"sum(increase(http_requests_total{service="checkout"}[60s]))"#;

#[tokio::test]
async fn figures_follow_what_runs() {
    let world = World::start().await;
    let api = world.deployments().await;
    let before = world.clock.now().wall;
    let good = world.value(SUCCESS, None).await;
    assert!((0.998..1.0).contains(&good), "{good}");
    let p99 = world.value(P99, None).await;
    assert!((0.15..0.22).contains(&p99), "{p99}");
    let orders = world.value(ORDERS, None).await;
    assert!((80.0..110.0).contains(&orders), "{orders}");
    let samples = world.value(SAMPLES, None).await;
    assert!((2_000.0..2_800.0).contains(&samples), "{samples}");

    let defect = Defect { failures: 0.08, slowness: 3.0, orders: 0.5 };
    world.fleet.defect(&world.corp(), &image('b'), defect).unwrap();
    let still = world.value(SUCCESS, None).await;
    assert!(still > 0.998, "nothing runs it yet: {still}");
    let ringward = PatchParams::apply("ringward");
    api.patch("checkout", &ringward, &Patch::Apply(apply(&image('b'), "one"))).await.unwrap();
    world.settled(&api).await;
    let bad = within("the window to be all of the new version", || async {
        let value = world.value(SUCCESS, None).await;
        (value < 0.95).then_some(value)
    })
    .await;
    assert!(bad > 0.88, "{bad}");
    within("slowness", || async { (world.value(P99, None).await > 0.45).then_some(()) }).await;
    within("fewer orders", || async { (world.value(ORDERS, None).await < 60.0).then_some(()) })
        .await;

    // The past stays what it was, and an instant has one answer.
    let past = world.value(SUCCESS, Some(before)).await;
    assert!(past > 0.998, "{past}");
    assert_eq!(past, world.value(SUCCESS, Some(before)).await);
}

#[tokio::test]
async fn prometheus_refuses_what_is_no_query_and_knows_nothing_of_others() {
    let world = World::start().await;
    for (query, series) in [
        ("nobody_knows{service=\"checkout\"}", 0),
        ("up{service=\"other\"}", 0),
        ("up{service=\"checkout\"}", 1),
    ] {
        let (status, answer) = world.ask(query, None).await;
        assert_eq!((status, &answer["status"]), (200, &json!("success")));
        assert_eq!(answer["data"]["resultType"], "vector");
        assert_eq!(answer["data"]["result"].as_array().unwrap().len(), series, "{query}");
    }
    for query in ["", "sum(", "x{a=\"{{plan}}\"}[", "rate(x{service=\"{{\"}}[2m])"] {
        let (status, answer) = world.ask(query, None).await;
        assert_eq!(status, 400, "{query}: {answer}");
        assert_eq!(answer["status"], "error");
        assert_eq!(answer["errorType"], "bad_data");
    }
    let url = format!("{}/api/v1/query", world.fleet.metrics()[DECLARED]);
    let http = reqwest::Client::new();
    let at = world.clock.now().wall;
    let seconds = at.as_second().to_string();
    let form = "query=up%7Bservice%3D%22checkout%22%7D&time=".to_owned() + &seconds;
    let form_type = "application/x-www-form-urlencoded";
    let posted = http.post(&url).header("content-type", form_type).body(form).send().await.unwrap();
    let posted: Value = posted.json().await.unwrap();
    assert_eq!(posted["data"]["result"][0]["value"], json!([at.as_second() as f64, "1"]));
    let bad = http.get(&url).query(&[("query", "up"), ("time", "noon")]).send().await.unwrap();
    assert_eq!(bad.status().as_u16(), 400);

    world.fleet.cut_prometheus(&world.corp(), true).unwrap();
    assert!(http.get(&url).query(&[("query", "up")]).send().await.is_err());
    world.fleet.cut_prometheus(&world.corp(), false).unwrap();
    assert!(http.get(&url).query(&[("query", "up{service=\"checkout\"}")]).send().await.is_ok());
}

#[tokio::test]
async fn a_fleet_says_what_is_wrong_with_it() {
    let world = World::start().await;
    let error = world.fleet.cut_kubernetes(&"mars".into(), true).unwrap_err();
    assert_eq!(error.to_string(), "there is no cluster mars in the fleet; its clusters are corp");
    let twin = Site { cluster: "twin".into(), ..site() };
    let started = Fleet::start(&[site(), twin], world.clock.clone(), 1, world.folder.path()).await;
    assert!(matches!(started, Err(FleetError::Shared(..))));
    let nowhere = PathBuf::from("/nonexistent/folder");
    let started = Fleet::start(&[site()], world.clock.clone(), 1, &nowhere).await;
    assert!(matches!(started, Err(FleetError::Kubeconfig(..))));
}

/// The product's own adapters, which cannot tell that the fleet is not there.
mod adapters {
    use futures::stream::BoxStream;
    use ringward::{
        act::{
            Connections, Deployer, Measurer, WriteError,
            cluster::{Connection, Kubeconfigs},
            metrics::{Limits, Metrics, auth::Credentials},
        },
        decide::{
            command::{Measure, Write},
            event::{Reading, Status, TargetState},
        },
        ids::{Region, ReleaseId},
        model::{
            residency::Witness,
            ring::{MetricSource, ProviderKind},
        },
    };

    use super::*;

    fn deployer(world: &World) -> Arc<dyn Deployer> {
        let connection = Connection {
            kubeconfig: Some(world.fleet.kubeconfig().to_owned()),
            context: Some("corp-admin".into()),
            ..Connection::default()
        };
        Kubeconfigs::new([("corp".to_owned(), connection)].into()).deployer("corp").unwrap()
    }

    fn write(key: &str, artifact: Artifact) -> Write {
        Write {
            key: key.into(),
            release: ReleaseId::new("checkout", "2"),
            ring: "internal".into(),
            attempt: 1,
            cluster: "corp".into(),
            connection: "corp".into(),
            target: target(),
            artifact,
        }
    }

    async fn until(
        states: &mut BoxStream<'static, TargetState>,
        wanted: impl Fn(&TargetState) -> bool,
    ) -> Vec<TargetState> {
        let mut seen = Vec::new();
        let looking = async {
            loop {
                seen.push(states.next().await.unwrap());
                if wanted(&seen[seen.len() - 1]) {
                    return;
                }
            }
        };
        let looked = tokio::time::timeout(Duration::from_secs(5), looking).await;
        assert!(looked.is_ok(), "waited in vain after {seen:#?}");
        seen
    }

    #[tokio::test]
    async fn a_release_goes_out_and_back() {
        let world = World::start().await;
        let deployer = deployer(&world);
        let mut states = deployer.watch(&"checkout".into(), &target());
        let first = until(&mut states, |s| s.status == Status::Succeeded).await;
        assert_eq!(first[0].image, Some(image('a')));
        assert_eq!(first[0].intent, None);

        let under = |key: &'static str| {
            move |s: &TargetState| {
                s.status == Status::Succeeded
                    && s.intent.as_ref().is_some_and(|i| i.as_str() == key)
            }
        };
        deployer.write(&write("one", image('b')), 1).await.unwrap();
        let seen = until(&mut states, under("one")).await;
        assert_eq!(seen.last().unwrap().image, Some(image('b')));
        assert!(seen.iter().any(|s| matches!(s.status, Status::Progressing(_))), "{seen:#?}");
        deployer.write(&write("one", image('b')), 1).await.unwrap();

        world.fleet.crash(&world.corp(), &image('d')).unwrap();
        deployer.write(&write("two", image('d')), 1).await.unwrap();
        let seen = until(&mut states, |s| matches!(s.status, Status::Failed(_))).await;
        let Status::Failed(why) = &seen.last().unwrap().status else { unreachable!() };
        assert!(why.contains("CrashLoopBackOff"), "{why}");
        deployer.write(&write("back", image('b')), 2).await.unwrap();
        until(&mut states, under("back")).await;

        let stale = deployer.write(&write("late", image('c')), 1).await.unwrap_err();
        assert!(matches!(&stale, WriteError::Refused(why) if why.contains("epoch 2")), "{stale}");
        world.fleet.cut_kubernetes(&world.corp(), true).unwrap();
        let cut = deployer.write(&write("three", image('c')), 2).await.unwrap_err();
        assert!(matches!(cut, WriteError::Unreachable(_)), "{cut}");
        world.fleet.cut_kubernetes(&world.corp(), false).unwrap();
        deployer.write(&write("three", image('c')), 2).await.unwrap();
        until(&mut states, under("three")).await;
    }

    #[tokio::test]
    async fn an_image_of_somebody_else_is_not_taken() {
        let world = World::start().await;
        let theirs = json!({"spec": {"template": {"spec": {"containers": [
            {"name": "app", "image": image('c')}]}}}});
        let hand = PatchParams { field_manager: Some("helm".into()), ..Default::default() };
        let api = world.deployments().await;
        api.patch("checkout", &hand, &Patch::Strategic(theirs)).await.unwrap();
        let refused = deployer(&world).write(&write("one", image('b')), 1).await.unwrap_err();
        assert!(
            matches!(&refused, WriteError::Refused(why) if why.contains("`helm`")),
            "{refused}"
        );
    }

    #[tokio::test]
    async fn nodes_say_where_they_are() {
        let world = World::start().await;
        let deployer = deployer(&world);
        let says = |regions: &[&str]| {
            let regions = regions.iter().map(|region| (*region).into()).collect();
            Ok(Some(Witness { regions, ..Witness::default() }))
        };
        assert_eq!(deployer.witness().await, says(&["eu-central-2"]));
        let (here, there): (Region, Region) = ("eu-central-2".into(), "us-east-1".into());
        let label = |nodes: &[Option<&Region>]| world.fleet.label_nodes(&world.corp(), nodes);
        label(&[Some(&here), None]).unwrap();
        assert_eq!(deployer.witness().await, says(&["eu-central-2"]), "no label says nothing");
        // The other region is on the third page.
        let mut many = vec![Some(&here); 1_200];
        many.push(Some(&there));
        label(&many).unwrap();
        assert_eq!(deployer.witness().await, says(&["eu-central-2", "us-east-1"]));
        label(&[None, None]).unwrap();
        assert_eq!(deployer.witness().await, says(&[]), "it is there, and says nothing");
        label(&[]).unwrap();
        assert_eq!(deployer.witness().await, Ok(None), "nobody is there to say anything");
        world.fleet.hide_nodes(&world.corp(), true).unwrap();
        let why = deployer.witness().await.unwrap_err();
        assert!(why.contains("403") && why.contains("cannot list resource \"nodes\""), "{why}");
    }

    #[tokio::test]
    async fn gates_are_measured() {
        let world = World::start().await;
        let metrics =
            Metrics::new(Credentials::default(), world.clock.clone(), Limits::default()).unwrap();
        let measure = |query: &str| Measure {
            key: "m".into(),
            release: ReleaseId::new("checkout", "2"),
            ring: "internal".into(),
            attempt: 1,
            cluster: "corp".into(),
            gate: "success-rate".into(),
            source: Some(MetricSource {
                name: "prometheus".into(),
                kind: ProviderKind::Prometheus,
                url: world.fleet.metrics()[DECLARED].clone(),
                jurisdiction: None,
            }),
            query: query.into(),
            samples: Some(SAMPLES.into()),
            baseline_at: Some(world.clock.now().wall),
            due: Mono(0),
            timeout: Span::seconds(10),
            parts: Vec::new(),
            past: None,
        };
        let answer = metrics.measure(&measure(SUCCESS)).await;
        for reading in [&answer.value, answer.baseline.as_ref().unwrap()] {
            assert!(
                matches!(reading, Reading::Value { value, .. } if *value > 0.998),
                "{answer:?}"
            );
        }
        let samples = answer.samples.unwrap();
        assert!(matches!(samples, Reading::Value { value, .. } if value > 2_000.0), "{samples:?}");
        let long = format!("{SUCCESS}{}", " ".repeat(5_000));
        let posted = metrics.measure(&measure(&long)).await.value;
        assert!(matches!(posted, Reading::Value { .. }), "{posted:?}");
        assert_eq!(
            metrics.measure(&measure("nothing{service=\"x\"}")).await.value,
            Reading::Absent
        );
        let malformed = metrics.measure(&measure("sum(")).await.value;
        assert!(matches!(malformed, Reading::Error(_)), "{malformed:?}");
    }
}
