//! Deployers in no cluster, against stand-ins that answer as their documentation has it: one suite for all of them, with
//! what goes wrong, and a release through the whole service for each.

use std::{fs, sync::Arc, time::Duration};

use futures::{StreamExt, stream::BoxStream};
use jiff::Timestamp;
use ringward::{
    act::{Deployer, Found, WriteError},
    app,
    clock::{Clock, SystemClock},
    config::{Settings, SourceSettings},
    decide::{
        command::Write,
        event::{Status, TargetState},
    },
    ids::ReleaseId,
    model::{
        ring::{Artifact, Target},
        time::Mono,
    },
};
use serde_json::Value;
use tokio::time::timeout;

use crate::{
    common::{self, Client, image, ring},
    stand_ins::{ALL, CodeDeploy, Speaks, Stage, Standing},
};

/// A minute takes three seconds.
const SPEED: f64 = 20.0;

fn write(standing: &Standing, key: &str, digit: char) -> Write {
    let (version, _) = key.split_once('/').expect("a version before a slash");
    Write {
        key: format!("checkout@{key}").into(),
        release: ReleaseId::new("checkout", version),
        ring: "eu".into(),
        attempt: 1,
        cluster: "corp".into(),
        connection: "corp".into(),
        target: standing.speaks.target(),
        artifact: image("checkout", digit),
    }
}

fn refused(result: Result<Found, WriteError>) -> String {
    match result {
        Err(WriteError::Refused(why)) => why,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

fn unreachable(result: Result<Found, WriteError>) -> String {
    match result {
        Err(WriteError::Unreachable(why)) => why,
        other => panic!("expected no way through, got {other:?}"),
    }
}

fn watch(standing: &Standing) -> BoxStream<'static, TargetState> {
    standing.door().watch(&"checkout".into(), &standing.speaks.target())
}

async fn until(
    states: &mut BoxStream<'static, TargetState>,
    wanted: impl Fn(&TargetState) -> bool,
) -> TargetState {
    let mut last = None;
    let found = async {
        loop {
            let state = states.next().await.expect("a watch never ends");
            if wanted(&state) {
                return state;
            }
            last = Some(state);
        }
    };
    let found = timeout(Duration::from_secs(20), found).await;
    found.unwrap_or_else(|_| panic!("it was not seen within 20 s; last was {last:?}"))
}

fn unknown(state: &TargetState, words: &str) -> bool {
    matches!(&state.status, Status::Unknown(why) if why.contains(words))
}

fn good(digit: char) -> impl Fn(&TargetState) -> bool {
    move |state| {
        state.status == Status::Succeeded
            && state.image.as_ref().is_some_and(|image_| image_.same_as(&image("checkout", digit)))
    }
}

fn brought(found: Found) -> Option<Artifact> {
    found.and_then(|found| found.image)
}

#[tokio::test]
async fn a_release_is_started_once_and_seen_through() {
    for speaks in ALL {
        let standing = Standing::start(speaks).await;
        let (door, name) = (standing.door(), speaks.name());
        let mut states = watch(&standing);
        let before = until(&mut states, |_| true).await;
        assert_eq!((before.status, before.intent), (Status::Pending, None), "{name}");
        standing.by_hand(&image("checkout", '0').0, Stage::Succeeded);
        standing.by_hand(&image("checkout", '9').0, Stage::Failed);
        until(&mut states, |state| matches!(state.status, Status::Failed(_))).await;

        let one = write(&standing, "1/eu/corp/1/deploy", '1');
        let found = brought(door.write(&one, 7).await.expect(name)).expect("what ran before");
        assert!(found.same_as(&image("checkout", '0')), "{name}: {found}");
        assert_eq!(standing.shop().runs.len(), 3, "{name}");
        let ours = |state: &TargetState| state.intent.as_ref() == Some(&one.key);
        let state = until(&mut states, ours).await;
        assert!(
            matches!(state.status, Status::Progressing(_) | Status::Pending),
            "{name}: {state:?}"
        );
        // A repeat starts nothing, under a newer epoch neither, and still knows what ran before.
        let again = brought(door.write(&one, 8).await.expect(name));
        assert_eq!((again, standing.shop().runs.len()), (Some(found), 3), "{name}");
        standing.bring(Stage::Succeeded);
        let state = until(&mut states, good('1')).await;
        assert_eq!(state.intent, Some(one.key.clone()), "{name}");
        door.write(&one, 8).await.expect(name);
        assert_eq!(standing.shop().runs.len(), 3, "{name}");

        // The way back is another run, and what ran before it was none of anybody else's.
        let back = write(&standing, "1/eu/corp/1/restore", '0');
        assert_eq!(door.write(&back, 8).await, Ok(None), "{name}");
        standing.bring(Stage::Succeeded);
        let state = until(&mut states, good('0')).await;
        assert_eq!((state.intent, standing.shop().runs.len()), (Some(back.key), 4), "{name}");
        let why = door.workload(&speaks.target()).await.expect_err("it has none");
        assert!(why.contains("no pods"), "{name}: {why}");
        assert_eq!(door.witness().await, Ok(None), "{name}: nobody asks a cluster");
    }
}

#[tokio::test]
async fn nothing_is_run_without_consent_nor_over_a_newer_writer_or_another_plan() {
    for speaks in ALL {
        let standing = Standing::start(speaks).await;
        let (door, name) = (standing.door(), speaks.name());
        let mut other = write(&standing, "1/eu/corp/1/deploy", '1');
        other.release = ReleaseId::new("search", "1");
        other.key = "search@1/eu/corp/1/deploy".into();
        let why = refused(door.write(&other, 3).await);
        assert!(why.contains("may not be run for plan `search`"), "{name}: {why}");
        assert!(why.contains("connections.corp.deployers.desk.plans"), "{name}: {why}");
        let mut tag = write(&standing, "1/eu/corp/1/deploy", '1');
        tag.artifact = Artifact("registry.example/shop/checkout:1".into());
        let why = refused(door.write(&tag, 3).await);
        assert!(why.contains("pinned by a digest"), "{name}: {why}");
        assert_eq!(standing.shop().runs.len(), 0, "{name}");

        door.write(&write(&standing, "1/eu/corp/1/deploy", '1'), 3).await.expect(name);
        standing.bring(Stage::Succeeded);
        let why = refused(door.write(&write(&standing, "2/eu/corp/1/deploy", '2'), 2).await);
        assert!(why.contains("carries epoch 3, this writer's is 2"), "{name}: {why}");
        let connection = |plans: &[&str]| {
            let mut settings = standing.connection();
            let desk = settings.deployers.get_mut("desk").expect("a service");
            desk.plans = plans.iter().map(|plan| (*plan).into()).collect();
            settings
        };
        let stranger = standing.door_of(connection(&["search"]));
        let why = refused(stranger.write(&other, 9).await);
        assert!(
            why.contains("was last run for plan `checkout`, not for `search`"),
            "{name}: {why}"
        );
        // What somebody else has run by hand hands it over.
        standing.by_hand(&image("checkout", '5').0, Stage::Succeeded);
        let found = brought(stranger.write(&other, 2).await.expect(name)).expect("what ran before");
        assert!(found.same_as(&image("checkout", '5')), "{name}: {found}");
    }
}

#[tokio::test]
async fn what_cannot_be_asked_is_unknown_until_it_is_back_and_nothing_is_started_twice() {
    for speaks in ALL {
        let standing = Standing::start(speaks).await;
        let (door, name) = (standing.door(), speaks.name());
        standing.by_hand(&image("checkout", '0').0, Stage::Succeeded);
        let mut states = watch(&standing);
        until(&mut states, good('0')).await;
        let one = write(&standing, "1/eu/corp/1/deploy", '1');
        for status in [503, 429] {
            standing.shop().broken = Some(status);
            until(&mut states, |state| unknown(state, &status.to_string())).await;
            unreachable(door.write(&one, 1).await);
            standing.shop().broken = None;
            until(&mut states, good('0')).await;
        }
        standing.shop().broken = Some(403);
        until(&mut states, |state| unknown(state, "credentials")).await;
        let why = refused(door.write(&one, 1).await);
        assert!(why.contains("credentials"), "{name}: {why}");
        standing.shop().broken = None;

        standing.shop().loses = true;
        let found = brought(door.write(&one, 1).await.expect(name)).expect("what ran before");
        assert!(found.same_as(&image("checkout", '0')), "{name}: {found}");
        assert_eq!(standing.shop().runs.len(), 2, "{name}: it was started all the same");
    }
}

#[tokio::test]
async fn what_is_paused_strange_or_gone_is_no_success() {
    for speaks in ALL {
        let standing = Standing::start(speaks).await;
        let (door, name) = (standing.door(), speaks.name());
        let one = write(&standing, "1/eu/corp/1/deploy", '1');
        assert_eq!(door.write(&one, 1).await, Ok(None), "{name}");
        let mut states = watch(&standing);
        standing.bring(Stage::Paused);
        until(&mut states, |state| state.status == Status::Paused).await;
        standing.bring(Stage::Odd);
        let state = until(&mut states, |state| unknown(state, "does not know")).await;
        assert_eq!(state.intent, Some(one.key.clone()), "{name}");
        standing.bring(Stage::Stopped);
        until(&mut states, |state| matches!(state.status, Status::Failed(_))).await;
        standing.bring(Stage::Failed);
        standing.shop().gone = true;
        until(&mut states, |state| unknown(state, "was deleted")).await;
        let why = refused(door.write(&write(&standing, "1/eu/corp/2/deploy", '1'), 1).await);
        assert!(why.contains("does not exist"), "{name}: {why}");
    }
}

#[tokio::test]
async fn what_goes_on_is_stopped_for_the_way_back_and_waited_for_where_it_is_somebody_elses() {
    for speaks in ALL {
        let standing = Standing::start(speaks).await;
        let (door, name) = (standing.door(), speaks.name());
        standing.by_hand(&image("checkout", '0').0, Stage::Succeeded);
        for (attempt, stage) in [(1, Stage::Runs), (2, Stage::Paused)] {
            let forth = write(&standing, &format!("1/eu/corp/{attempt}/deploy"), '1');
            door.write(&forth, 1).await.expect(name);
            standing.bring(stage);
            let back = write(&standing, &format!("1/eu/corp/{attempt}/restore"), '0');
            door.write(&back, 1).await.expect(name);
            let stages = standing.stages();
            assert_eq!(stages[stages.len() - 2..], [Stage::Stopped, Stage::Runs], "{name}");
            standing.bring(Stage::Succeeded);
        }
        standing.by_hand(&image("checkout", '5').0, Stage::Runs);
        let next = write(&standing, "2/eu/corp/1/deploy", '2');
        let why = unreachable(door.write(&next, 1).await);
        assert!(why.contains("somebody else has started"), "{name}: {why}");
        assert_eq!(standing.stages().last(), Some(&Stage::Runs), "{name}");
        standing.bring(Stage::Succeeded);
        door.write(&next, 1).await.expect(name);
    }
}

#[tokio::test]
async fn what_the_settings_lack_is_named_and_no_cluster_is_asked_where_there_is_none() {
    let standing = Standing::start(&CodeDeploy).await;
    let door = standing.door();
    let first = async |door: &Arc<dyn Deployer>, target: &Target| {
        let state = door.watch(&"checkout".into(), target).next().await.expect("a state");
        let Status::Unknown(why) = state.status else { panic!("{state:?}") };
        why
    };
    let why = first(&door, &common::target("checkout")).await;
    assert!(why.contains("has no cluster: name a context under connections.corp.context"), "{why}");
    let workload = door.workload(&common::target("checkout")).await;
    assert_eq!((workload, door.witness().await), (Err(why), Ok(None)));

    let mut settings = standing.connection();
    settings.deployers.get_mut("desk").expect("a service").region = None;
    let why = first(&standing.door_of(settings.clone()), &CodeDeploy.target()).await;
    assert!(why.contains("connections.corp.deployers.desk") && why.contains("`region`"), "{why}");
    settings.deployers.clear();
    let unknown = standing.door_of(settings);
    let why = first(&unknown, &CodeDeploy.target()).await;
    assert!(why.contains("nobody knows deployer `desk`"), "{why}");
    // It may be put into the settings later: that is no refusal.
    unreachable(unknown.write(&write(&standing, "1/eu/corp/1/deploy", '1'), 1).await);
    assert!(standing.shop().runs.is_empty());
}

const POLICY: &str = "apiVersion: ringward.dev/v1alpha1
kind: RingPolicy
metadata: {name: quick}
spec:
  soak: {duration: 10s}
  deadline: 2m
  gates: none
  rollback: {automatic: true, scope: ring}
";

const CLUSTER: &str = "apiVersion: ringward.dev/v1alpha1
kind: Cluster
metadata: {name: corp}
spec: {region: eu-west-1, jurisdiction: IE}
";

fn declarations(standing: &Standing) -> [(&'static str, String); 3] {
    let plan = format!(
        "apiVersion: ringward.dev/v1alpha1
kind: RingPlan
metadata: {{name: checkout}}
spec:
  target: {}
  policy: quick
  rings:
    - {{name: eu, clusters: {{names: [corp]}}}}
",
        standing.speaks.declared()
    );
    [
        ("policies/all.yaml", POLICY.into()),
        ("rings/clusters.yaml", CLUSTER.into()),
        ("rings/checkout.yaml", plan),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_goes_through_each_of_them_and_a_bad_one_comes_back() {
    let journeys = ALL.map(async |speaks| {
        let (standing, name) = (Standing::start(speaks).await, speaks.name());
        let folder = tempfile::tempdir().expect("a folder");
        for (file, text) in declarations(&standing) {
            let file = folder.path().join("source").join(file);
            fs::create_dir_all(file.parent().expect("it lies in a folder")).expect("a folder");
            fs::write(file, text).expect("a file");
        }
        standing.by_hand(&image("checkout", '0').0, Stage::Succeeded);
        standing.shop().ends = Some("2222");
        let settings = Settings {
            listen: ([127, 0, 0, 1], 0).into(),
            data: folder.path().join("data"),
            source: SourceSettings {
                path: Some(folder.path().join("source")),
                ..SourceSettings::default()
            },
            connections: [("corp".to_owned(), standing.connection())].into(),
            metrics: standing.metrics(),
            ..Settings::default()
        };
        let wall: Timestamp = "2026-11-02T08:00:00Z".parse().expect("an instant");
        let clock = move |base: Mono| {
            Arc::new(SystemClock::compressed(wall, base, SPEED)) as Arc<dyn Clock>
        };
        let running = app::start(settings, clock).await.expect("it starts");
        let client = Client::new(running.address, common::admin_token(&running.data));
        let seen = |clusters: &Value| !clusters["items"][0]["targets"][0]["knownGood"].is_null();
        client.until_at("/v1/clusters", "the target to be seen", seen).await;

        client.release("checkout", "1.0", '1').await.good();
        client.until("checkout", "1.0", "success", |r| r["phase"] == "Succeeded").await;
        client.release("checkout", "2.0", '2').await.good();
        let back = client.until("checkout", "2.0", "the way back", |r| r["phase"] == "RolledBack");
        let back = back.await;
        let why = ring(&back, "eu")["info"].as_str().expect("words").to_owned();
        assert!(why.contains("its run is"), "{name}: {why}");
        let stages = [Stage::Succeeded, Stage::Succeeded, Stage::Failed, Stage::Succeeded];
        assert_eq!(standing.stages(), stages, "{name}");
        let last = standing.shop().runs.last().expect("a run").brings.to_string();
        assert!(last.contains(&"1".repeat(64)), "{name}: {last}");
        running.stop().await;
    });
    futures::future::join_all(journeys).await;
}
