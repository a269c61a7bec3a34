//! What a release makes of a target that somebody else changes while it soaks there, on real API servers.

use std::{fs, path::Path, sync::Arc, time::Duration};

use ringward::{
    app,
    clock::{Clock, SystemClock},
    config::{ConnectionSettings, Settings, SourceSettings},
    model::time::{Mono, Span},
};
use serde_json::{Value, json};

use crate::{
    common::{self, Client, credited, phase, ring},
    support::{Cluster, Namespace, clusters},
};

const PLAN: &str = "checkout";
const SPACE: &str = "drift";
/// Minutes pass in seconds.
const SPEED: f64 = 60.0;

fn declare(folder: &Path) {
    let head = "apiVersion: ringward.dev/v1alpha1\n";
    let text = format!(
        "{head}kind: Cluster
metadata: {{name: eu}}
spec: {{region: eu-west-1, jurisdiction: IE}}
---
{head}kind: Cluster
metadata: {{name: us}}
spec: {{region: us-east-1, jurisdiction: US}}
---
{head}kind: RingPlan
metadata: {{name: {PLAN}}}
spec:
  target: {{kind: Deployment, namespace: {SPACE}, name: {PLAN}, container: app}}
  policy: plain
  rings:
    - {{name: eu, clusters: {{names: [eu]}}}}
    - {{name: us, after: [eu], clusters: {{names: [us]}}}}
"
    );
    let policy = format!(
        "{head}kind: RingPolicy
metadata: {{name: plain}}
spec: {{soak: {{duration: 6m}}, deadline: 2h, gates: none}}
"
    );
    for (place, text) in [("rings", text), ("policies", policy)] {
        fs::create_dir_all(folder.join(place)).expect("a folder");
        fs::write(folder.join(place).join("all.yaml"), text).expect("a file");
    }
}

fn settings(folder: &Path, clusters: &[Cluster; 2]) -> Settings {
    let connection = |cluster: &Cluster| {
        let kubeconfig = Some(cluster.kubeconfig());
        let settings = ConnectionSettings { kubeconfig, ..ConnectionSettings::default() };
        (cluster.context().to_owned(), settings)
    };
    Settings {
        listen: ([127, 0, 0, 1], 0).into(),
        data: folder.join("data"),
        source: SourceSettings { path: Some(folder.join("source")), ..SourceSettings::default() },
        connections: clusters.iter().map(connection).collect(),
        ..Settings::default()
    }
}

/// What `kubectl set image` does.
async fn set_image(space: &Namespace, image: &str) {
    let containers = json!([{"name": "app", "image": image}]);
    space.edit(PLAN, json!({"spec": {"template": {"spec": {"containers": containers}}}})).await;
}

fn known(clusters: &Value) -> bool {
    let clusters = clusters["items"].as_array().expect("clusters");
    let mut targets = clusters.iter().flat_map(|cluster| cluster["targets"].as_array());
    clusters.len() == 2 && targets.all(|all| all.len() == 1 && !all[0]["knownGood"].is_null())
}

/// What holds the ring for its target's sake.
fn held(release: &Value) -> Option<String> {
    let holds = ring(release, "eu")["holds"].as_array()?;
    let hold = holds.iter().map(Value::to_string).find(|hold| hold.contains("\"target\""))?;
    Some(hold)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_changes_in_a_soak_holds_the_ring_and_is_never_passed() {
    let Some(clusters) = clusters().await else { return };
    let folder = tempfile::tempdir().expect("a folder");
    declare(&folder.path().join("source"));
    let mut spaces = Vec::new();
    for cluster in clusters {
        let space = cluster.namespace(SPACE).await;
        space.create(PLAN, &common::image(PLAN, '0').0, 2, Some(PLAN)).await;
        spaces.push(space);
    }
    let wall = SystemClock::new(Mono(0)).now().wall;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::compressed(wall, Mono(0), SPEED));
    let same = clock.clone();
    let running = app::start(settings(folder.path(), clusters), move |_| same).await;
    let running = running.expect("it starts");
    let client = Client::new(running.address, common::admin_token(&running.data));
    client.until_at("/v1/clusters", "what runs to be known", known).await;

    client.release(PLAN, "1.0", '1').await.good();
    client.until(PLAN, "1.0", "a soak", |r| credited(r, "eu") > 0.0).await;
    set_image(&spaces[0], &common::image(PLAN, 'c').0).await;
    let stopped = client.until(PLAN, "1.0", "a hold", |r| {
        held(r).is_some_and(|why| why.contains("changed by somebody else"))
    });
    let stopped = stopped.await;
    assert_eq!(phase(&stopped, "us"), "Waiting");
    let before = credited(&stopped, "eu");

    // Twice as long as the soak takes, nothing is credited and nothing goes on.
    let since = clock.now().mono;
    while clock.now().mono.since(since) < Span::minutes(12) {
        let release = client.show(PLAN, "1.0").await;
        assert_eq!((phase(&release, "eu"), phase(&release, "us")), ("Soaking", "Waiting"));
        assert!(credited(&release, "eu") <= before, "{release:#}");
        clock.sleep(Span::seconds(10)).await;
    }
    let held = held(&client.show(PLAN, "1.0").await).expect("it is held still");
    println!("ringward says: {held}");
    assert_eq!(image(&spaces[1]).await, common::image(PLAN, '0').0);
    assert_eq!(image(&spaces[0]).await, common::image(PLAN, 'c').0, "nor is it taken back");

    // Whoever changed it puts it back.
    set_image(&spaces[0], &common::image(PLAN, '1').0).await;
    client.until(PLAN, "1.0", "success", |r| r["phase"] == "Succeeded").await;
    assert_eq!(image(&spaces[1]).await, common::image(PLAN, '1').0);
    let stopped = tokio::time::timeout(Duration::from_secs(5), running.stop()).await;
    stopped.expect("it stops at once");
}

async fn image(space: &Namespace) -> String {
    let deployment = space.get(PLAN).await;
    let spec = deployment.spec.and_then(|spec| spec.template.spec).expect("a pod's template");
    spec.containers[0].image.clone().expect("an image")
}
