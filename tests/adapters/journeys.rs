//! A release through the whole service for every kind of target: to success, and a bad one back.

use std::{fmt::Write as _, fs, sync::Arc};

use jiff::Timestamp;
use ringward::{
    app,
    clock::{Clock, SystemClock},
    model::{
        ring::{ArgoImage, Artifact, TargetKind},
        time::{Mono, Span},
    },
    sim::loopback::{Defect, Fleet, Site, Workload},
};
use serde_json::{Value, json};

use crate::{
    common::{self, Client, Declarations, RINGS, image, phase, ring},
    subject::{self, Subject},
};

/// A soak of ten seconds takes half of one.
const SPEED: f64 = 20.0;

/// What a release of that digit brings.
fn brings(subject: &Subject, digit: char) -> Artifact {
    match subject.is_data() {
        true => Artifact(format!("v{digit}")),
        false => image(subject.name, digit),
    }
}

/// One of each kind; a Rollout that refers is driven as a Deployment is.
fn subjects() -> Vec<Subject> {
    subject::all().into_iter().filter(|subject| subject.name != "referring").collect()
}

fn sites() -> Vec<Site> {
    let workload = |subject: &Subject| Workload {
        plan: subject.name.into(),
        target: subject.target(),
        image: brings(subject, '0'),
        replicas: 2,
    };
    let site = |cluster: &str| Site {
        cluster: cluster.into(),
        connection: cluster.into(),
        region: if cluster == "eu" { "eu-west-1".into() } else { "us-east-1".into() },
        metrics: [format!("http://prometheus.{cluster}:9090")].into(),
        workloads: subjects().iter().map(workload).collect(),
        deploy_time: Span::seconds(3),
    };
    RINGS.map(site).into()
}

async fn create(client: &Client, subject: &Subject, version: &str, digit: char) {
    let brings = brings(subject, digit);
    let artifact = match subject.is_data() {
        true => json!({"serve": brings}),
        false => json!({"image": brings}),
    };
    let body = json!({"version": version, "artifact": artifact});
    client.post(&format!("/v1/plans/{}/releases", subject.name), &[], body).await.good();
}

/// A plan as its owner declares it.
fn plan(subject: &Subject) -> String {
    let mut target =
        format!("kind: {}, namespace: shop, name: {}", subject.kind.name(), subject.name);
    match &subject.kind {
        TargetKind::Deployment { container }
        | TargetKind::StatefulSet { container }
        | TargetKind::DaemonSet { container }
        | TargetKind::ArgoRollout { container }
        | TargetKind::FlaggerCanary { container } => {
            let _ = write!(target, ", container: {container}");
        }
        TargetKind::ArgoApplication { image: ArgoImage::Kustomize(image), .. }
        | TargetKind::FluxKustomization { image } => {
            let _ = write!(target, ", image: {image}");
        }
        TargetKind::FluxOciSource | TargetKind::FluxOciChart => target.push_str(", revision: true"),
        TargetKind::UnleashFlag { .. }
        | TargetKind::LaunchDarklyFlag { .. }
        | TargetKind::FlagsmithFlag { .. }
        | TargetKind::CodeDeploy { .. }
        | TargetKind::CloudDeploy { .. }
        | TargetKind::Spinnaker { .. }
        | TargetKind::Harness { .. }
        | TargetKind::Webhook { .. } => {
            panic!("no subject is in a service")
        }
        TargetKind::ArgoApplication { image, .. } => panic!("no subject has {image:?}"),
        TargetKind::FlagdFlag { flag, file, .. } => {
            let _ = write!(target, ", flag: {flag}");
            file.iter().for_each(|file| target.push_str(&format!(", file: {file}")));
        }
        TargetKind::FluxHelmRelease { values } => {
            let values = serde_json::to_string(values).expect("JSON is YAML");
            let _ = write!(target, ", values: {values}");
        }
    }
    format!(
        "apiVersion: ringward.dev/v1alpha1
kind: RingPlan
metadata: {{name: {}}}
spec:
  target: {{{target}}}
  policy: quick
  rings:
    - {{name: eu, clusters: {{names: [eu]}}}}
    - {{name: us, after: [eu], clusters: {{names: [us]}}}}
",
        subject.name
    )
}

fn all_seen(clusters: &Value) -> bool {
    let clusters = clusters["items"].as_array().expect("clusters");
    let ready = |target: &Value| target["status"] == "ready" && !target["knownGood"].is_null();
    clusters.len() == RINGS.len()
        && clusters.iter().all(|cluster| {
            let targets = cluster["targets"].as_array().expect("targets");
            targets.len() == subjects().len() && targets.iter().all(ready)
        })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_of_every_kind_goes_everywhere_and_a_bad_one_comes_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let wall: Timestamp = "2026-11-02T08:00:00Z".parse().expect("an instant");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::compressed(wall, Mono(0), SPEED));
    let fleet = Fleet::start(&sites(), clock.clone(), 7, folder.path()).await.expect("a fleet");
    let declarations = Declarations::of(&fleet);
    let source = folder.path().join("source");
    for (file, text) in [
        ("policies/all.yaml".to_owned(), declarations.policies()),
        ("rings/clusters.yaml".to_owned(), declarations.clusters()),
    ]
    .into_iter()
    .chain(subjects().iter().map(|subject| (format!("rings/{}.yaml", subject.name), plan(subject))))
    {
        let file = source.join(file);
        fs::create_dir_all(file.parent().expect("it lies in a folder")).expect("a folder");
        fs::write(file, text).expect("a file");
    }
    let now = clock.now().wall;
    let running = app::start(common::settings(&fleet, folder.path()), move |base| {
        Arc::new(SystemClock::compressed(now, base, SPEED))
    })
    .await
    .expect("it starts");
    let client = Client::new(running.address, common::admin_token(&running.data));
    client.until_at("/v1/clusters", "all targets to be seen", all_seen).await;

    let serving = |cluster: &str, subject: &Subject| {
        let serving = fleet.serving(&cluster.into(), &subject.target()).expect("a cluster");
        let images = serving.into_iter().map(|(image, _)| image);
        images.collect::<Vec<_>>()
    };
    let journeys = subjects().into_iter().map(async |subject| {
        let name = subject.name;
        create(&client, &subject, "1.0", '1').await;
        client.until(name, "1.0", "success", |release| release["phase"] == "Succeeded").await;
        for cluster in RINGS {
            assert_eq!(serving(cluster, &subject), [brings(&subject, '1')], "{name}");
        }
        let bad = Defect { failures: 0.5, ..Defect::default() };
        fleet.defect(&"eu".into(), &brings(&subject, '2'), bad).expect("a cluster");
        create(&client, &subject, "2.0", '2').await;
        let back = client.until(name, "2.0", "the way back", |r| r["phase"] == "RolledBack").await;
        let why = ring(&back, "eu")["info"].as_str().expect("words");
        assert!(why.contains("success-rate"), "{name}: {why}");
        assert_eq!(phase(&back, "us"), "Waiting", "{name}");
        for cluster in RINGS {
            assert_eq!(serving(cluster, &subject), [brings(&subject, '1')], "{name}");
        }
    });
    futures::future::join_all(journeys).await;

    // Where an analysis finds fault, or a sync fails, the ring fails in its words.
    let words = "Metric \"errors\" assessed Failed";
    let judged = ["rollout", "canary", "application"].map(async |name| {
        let subject = subjects().into_iter().find(|subject| subject.name == name).expect("one");
        fleet.fault(&"eu".into(), &image(name, '3'), words).expect("a cluster");
        client.release(name, "3.0", '3').await.good();
        let back = client.until(name, "3.0", "the way back", |r| r["phase"] == "RolledBack").await;
        let why = ring(&back, "eu")["info"].as_str().expect("words");
        assert!(why.contains(words), "{name}: {why}");
        assert_eq!(serving("eu", &subject), [image(name, '1')], "{name}");
    });
    futures::future::join_all(judged).await;
    let facts = client.facts().await;
    let audited = facts.iter().any(|(_, _, fact)| fact.to_string().contains("assessed Failed"));
    assert!(audited, "the audit has what the analysis said");
    running.stop().await;
}
