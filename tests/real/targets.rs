//! Every kind of target that is a published custom resource, on real API servers: what may be written, and a
//! release through the whole service to its success and back.

use std::{collections::BTreeMap, fs, time::Duration};

use ::kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
    core::DynamicObject,
};
use axum::{Json, Router, routing::any};
use k8s_openapi::api::apps::v1::Deployment;
use ringward::{
    act::WriteError,
    app,
    clock::{Clock, SystemClock},
    config::{ConnectionSettings, Settings, SourceSettings},
    decide::command::Write,
    ids::ReleaseId,
    model::{
        ring::{ArgoImage, Artifact, HelmValues, Target, TargetKind},
        time::Mono,
    },
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    common::{self, Client, Declarations, RINGS, phase, ring},
    crds::{self, objects},
    kube::deployer,
    stand_ins::{self, BAD, FAULT},
    support::{self, Cluster, Namespace, clusters},
};

/// A kind of target.
struct Subject {
    /// What its plan and its object are called.
    name: &'static str,
    /// The kind of the object that is written to; a Deployment where it is none of the custom resources.
    written: &'static str,
    target: TargetKind,
    /// What a plan declares beside the kind, the namespace and the name.
    declared: &'static str,
    /// The specification that names an image.
    spec: fn(&str, &Artifact) -> Value,
    /// What a bad version fails with.
    fails: &'static str,
}

const NAME: &str = "registry.example/shop/app";

fn parts(image: &Artifact) -> (&str, &str) {
    image.0.split_once('@').expect("a pinned image")
}

fn subjects() -> Vec<Subject> {
    let container = || "app".to_owned();
    vec![
        Subject {
            name: "rollout",
            written: "Rollout",
            target: TargetKind::ArgoRollout { container: container() },
            declared: "container: app",
            spec: |name, image| {
                let containers = json!([
                    {"name": "proxy", "image": "registry.example/proxy:1", "env": [{"name": "A", "value": "b"}]},
                    {"name": "app", "image": image},
                ]);
                json!({"replicas": 2, "selector": {"matchLabels": {"app": name}},
                    "strategy": {"canary": {}},
                    "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": containers}}})
            },
            fails: FAULT,
        },
        Subject {
            name: "canary",
            written: "Deployment",
            target: TargetKind::FlaggerCanary { container: container() },
            declared: "container: app",
            spec: |name, _| {
                json!({"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
                    "service": {"port": 80}, "analysis": {"interval": "1m", "threshold": 5}})
            },
            fails: FAULT,
        },
        Subject {
            name: "application",
            written: "Application",
            target: TargetKind::ArgoApplication {
                image: ArgoImage::Kustomize(NAME.into()),
                source: None,
            },
            declared: "image: registry.example/shop/app",
            spec: |_, image| {
                let images = [format!("{NAME}={image}"), "registry.example/proxy:1".into()];
                json!({"project": "default", "source": {"repoURL": "https://git.example/fleet.git",
                    "path": "shop", "targetRevision": "main", "kustomize": {"images": images}}})
            },
            fails: FAULT,
        },
        Subject {
            name: "kustomization",
            written: "Kustomization",
            target: TargetKind::FluxKustomization { image: NAME.into() },
            declared: "image: registry.example/shop/app",
            spec: |_, image| {
                let (repository, digest) = parts(image);
                json!({"interval": "10m", "path": "./shop", "prune": true, "wait": true,
                    "sourceRef": {"kind": "GitRepository", "name": "fleet"},
                    "images": [{"name": "proxy", "newTag": "1"},
                        {"name": NAME, "newName": repository, "digest": digest}]})
            },
            // It is tried again and again: the ring's deadline ends it.
            fails: FAULT,
        },
        Subject {
            name: "ociartifact",
            written: "OCIRepository",
            target: TargetKind::FluxOciSource,
            declared: "revision: true",
            spec: |_, image| {
                let (repository, digest) = parts(image);
                json!({"interval": "10m", "url": format!("oci://{repository}"),
                    "ref": {"tag": "latest", "digest": digest}})
            },
            fails: FAULT,
        },
        Subject {
            name: "helmrelease",
            written: "HelmRelease",
            target: TargetKind::FluxHelmRelease {
                values: HelmValues::Parts {
                    repository: "image.repository".into(),
                    digest: "image.digest".into(),
                },
            },
            declared: "values: {repository: image.repository, digest: image.digest}",
            spec: |_, image| {
                let (repository, digest) = parts(image);
                json!({"interval": "10m", "chart": {"spec": {"chart": "shop"}},
                    "values": {"replicas": 2, "image": {"repository": repository, "digest": digest}}})
            },
            fails: FAULT,
        },
    ]
}

impl Subject {
    /// Makes its objects as their owner would.
    async fn create(&self, cluster: &Cluster, space: &Namespace, leave: bool) {
        let owner = PostParams { field_manager: Some("owner".into()), ..PostParams::default() };
        let image = common::image(self.name, '0');
        let mut annotations = json!({"ringward.dev/managed-by": self.name});
        if leave {
            annotations["ringward.dev/take-over"] = json!("image");
        }
        let client = cluster.client().await;
        let mut on_named = annotations.clone();
        if self.written == "Deployment" {
            on_named = json!({});
            for (name, replicas) in
                [(self.name.to_owned(), 0), (format!("{}-primary", self.name), 2)]
            {
                let mut deployment = support::deployment(&name, &image.0, replicas);
                deployment["metadata"]["annotations"] = annotations.clone();
                let deployment: Deployment =
                    serde_json::from_value(deployment).expect("a Deployment");
                space.deployments().create(&owner, &deployment).await.expect("a new Deployment");
            }
        }
        if self.written == "OCIRepository" {
            let reads = json!({
                "apiVersion": crds::api_version("Kustomization"), "kind": "Kustomization",
                "metadata": {"name": self.name},
                "spec": {"interval": "10m", "path": "./", "prune": true, "wait": true,
                    "sourceRef": {"kind": "OCIRepository", "name": self.name}},
            });
            let reads: DynamicObject = serde_json::from_value(reads).expect("an object");
            let api = objects(&client, space.name(), "Kustomization");
            api.create(&owner, &reads).await.expect("a new object");
        }
        let kind = if self.written == "Deployment" { "Canary" } else { self.written };
        let api = objects(&client, space.name(), kind);
        let object = json!({
            "apiVersion": crds::api_version(kind), "kind": kind,
            "metadata": {"name": self.name, "annotations": on_named},
            "spec": (self.spec)(self.name, &image),
        });
        let object: DynamicObject = serde_json::from_value(object).expect("an object");
        api.create(&owner, &object).await.expect("a new object");
    }

    fn target(&self, space: &Namespace) -> Target {
        Target { kind: self.target.clone(), namespace: space.name().into(), name: self.name.into() }
    }

    /// What is written to, as it is.
    async fn object(&self, cluster: &Cluster, space: &Namespace) -> Value {
        if self.written == "Deployment" {
            return serde_json::to_value(space.get(self.name).await).expect("JSON");
        }
        let api = objects(&cluster.client().await, space.name(), self.written);
        serde_json::to_value(api.get(self.name).await.expect("the object")).expect("JSON")
    }

    /// Changes what is written to, as its owner would.
    async fn edit(&self, cluster: &Cluster, space: &Namespace, change: Value) {
        if self.written == "Deployment" {
            return space.edit(self.name, change).await;
        }
        let owner = PatchParams { field_manager: Some("owner".into()), ..PatchParams::default() };
        let api: Api<DynamicObject> = objects(&cluster.client().await, space.name(), self.written);
        api.patch(self.name, &owner, &Patch::Merge(change)).await.expect("an edit");
    }

    /// Takes an Application's operation away, as Argo CD does once it is over.
    async fn end_operation(&self, cluster: &Cluster, space: &Namespace) {
        if self.written == "Application" {
            self.edit(cluster, space, json!({"operation": null})).await;
        }
    }

    fn write(&self, cluster: &Cluster, space: &Namespace, key: &str, digit: char) -> Write {
        Write {
            key: format!("{}@{key}/beta/{}/1/deploy", self.name, cluster.context()).into(),
            release: ReleaseId::new(self.name, key),
            ring: "beta".into(),
            attempt: 1,
            cluster: cluster.context().into(),
            connection: cluster.context().into(),
            target: self.target(space),
            artifact: common::image(self.name, digit),
        }
    }
}

/// Whether an object names the image of that digit.
fn names(object: &Value, subject: &Subject, digit: char) -> bool {
    let image = common::image(subject.name, digit);
    object["spec"].to_string().contains(parts(&image).1)
}

#[tokio::test]
async fn whose_image_it_is_is_asked_of_a_real_api_server() {
    let Some([cluster, _]) = clusters().await else { return };
    crds::install(&cluster.client().await).await;
    let space = cluster.namespace("owned").await;
    let deployer = deployer(cluster);
    for subject in subjects() {
        let name = subject.name;
        subject.create(cluster, &space, false).await;
        let two = subject.write(cluster, &space, "2", '1');
        let refused = |result: Result<_, WriteError>| match result {
            Err(WriteError::Refused(why)) => why,
            other => panic!("{name}: expected a refusal, got {other:?}"),
        };
        let why = refused(deployer.write(&two, 1).await.map(|_| ()));
        assert!(why.contains("owned by field manager `owner`"), "{name}: {why}");
        let before = subject.object(cluster, &space).await;
        assert!(names(&before, &subject, '0'), "{name}");

        let leave = json!({"metadata": {"annotations": {"ringward.dev/take-over": "image"}}});
        subject.edit(cluster, &space, leave.clone()).await;
        deployer.write(&two, 1).await.expect(name);
        let after = subject.object(cluster, &space).await;
        assert!(names(&after, &subject, '1') && !names(&after, &subject, '0'), "{name}: {after:#}");
        let annotations = &after["metadata"]["annotations"];
        assert_eq!(annotations["ringward.dev/intent"], json!(two.key.as_str()), "{name}");
        assert_eq!(annotations["ringward.dev/take-over"], "taken", "{name}");
        // All that is not the image is as it was.
        let without = |object: &Value| {
            let text = object["spec"].to_string();
            ['0', '1'].iter().fold(text, |text, digit| {
                text.replace(parts(&common::image(name, *digit)).1, "DIGEST")
            })
        };
        if subject.written != "Deployment" {
            assert_eq!(without(&before), without(&after), "{name}");
        }
        // A repeat changes nothing, and a higher epoch is not overwritten.
        deployer.write(&two, 1).await.expect(name);
        let repeated = subject.object(cluster, &space).await;
        // A Deployment's own controller writes to it too.
        if subject.written != "Deployment" {
            let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
            assert_eq!(version(&repeated), version(&after), "{name}");
        }
        assert_eq!(repeated["spec"], after["spec"], "{name}");
        // What was taken over once is ours until its owner takes it back.
        subject.end_operation(cluster, &space).await;
        let three = subject.write(cluster, &space, "3", '2');
        deployer.write(&three, 1).await.expect(name);
        subject.end_operation(cluster, &space).await;
        let image = common::image(name, '3');
        let theirs = match subject.written {
            "Deployment" => support::deployment(name, &image.0, 0)["spec"].clone(),
            _ => (subject.spec)(name, &image),
        };
        subject.edit(cluster, &space, json!({"spec": theirs})).await;
        let why = refused(deployer.write(&two, 1).await.map(|_| ()));
        assert!(why.contains("owned by field manager `owner`"), "{name}: {why}");
        let newer = json!({"metadata": {"annotations": {"ringward.dev/epoch": "9"}}});
        subject.edit(cluster, &space, newer).await;
        let four = subject.write(cluster, &space, "4", '4');
        let why = refused(deployer.write(&four, 1).await.map(|_| ()));
        assert!(why.contains("epoch 9"), "{name}: {why}");
    }
}

/// A Prometheus that is content with everything.
async fn content() -> (u16, tokio::task::JoinHandle<()>) {
    let answer = || async {
        let at = SystemClock::new(Mono(0)).now().wall.as_millisecond() as f64 / 1000.0;
        let one = json!({"metric": {}, "value": [at, "1"]});
        Json(json!({"status": "success", "data": {"resultType": "vector", "result": [one]}}))
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    let routes = Router::new().route("/api/v1/query", any(answer));
    let serving = tokio::spawn(async move {
        axum::serve(listener, routes).await.expect("it serves until it is dropped");
    });
    (port, serving)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_of_every_kind_goes_through_real_api_servers_and_a_bad_one_comes_back() {
    let Some(clusters) = clusters().await else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let mut spaces = Vec::new();
    for cluster in clusters {
        crds::install(&cluster.client().await).await;
        let space = cluster.namespace("kinds").await;
        for subject in subjects() {
            subject.create(cluster, &space, true).await;
        }
        let stand_ins = stand_ins::start(cluster.client().await, space.name());
        spaces.push((cluster, space, stand_ins));
    }
    let (metrics, _serving) = content().await;
    let declarations = Declarations {
        soak: "2s",
        interval: "500ms",
        deadline: "12s",
        ..Declarations::over(
            RINGS.map(|name| (name.into(), format!("http://127.0.0.1:{metrics}"))).into(),
        )
    };
    let source = folder.path().join("source");
    let plan = |subject: &Subject| {
        let (name, kind, declared) = (subject.name, subject.target.name(), subject.declared);
        let target = format!("{{kind: {kind}, namespace: kinds, name: {name}, {declared}}}");
        let text = declarations.plan(name);
        let own: Vec<&str> = text.lines().filter(|line| !line.starts_with("  target:")).collect();
        own.join("\n").replace("spec:\n", &format!("spec:\n  target: {target}\n")) + "\n"
    };
    let mut files: BTreeMap<String, String> = BTreeMap::from([
        ("policies/all.yaml".into(), declarations.policies()),
        ("rings/clusters.yaml".into(), declarations.clusters()),
    ]);
    files.extend(subjects().iter().map(|s| (format!("rings/{}.yaml", s.name), plan(s))));
    for (file, text) in files {
        let file = source.join(file);
        fs::create_dir_all(file.parent().expect("it lies in a folder")).expect("a folder");
        fs::write(file, text).expect("a file");
    }
    let connections = clusters.iter().map(|cluster| {
        let kubeconfig = Some(cluster.kubeconfig());
        let context = Some(cluster.context().to_owned());
        (
            cluster.context().to_owned(),
            ConnectionSettings { kubeconfig, context, ..ConnectionSettings::default() },
        )
    });
    let settings = Settings {
        listen: ([127, 0, 0, 1], 0).into(),
        data: folder.path().join("data"),
        source: SourceSettings { path: Some(source), ..SourceSettings::default() },
        connections: connections.collect(),
        ..Settings::default()
    };
    let running = app::start(settings, |base| std::sync::Arc::new(SystemClock::new(base))).await;
    let running = running.expect("it starts");
    let client = Client::new(running.address, common::admin_token(&running.data));
    let seen = |clusters: &Value| {
        let clusters = clusters["items"].as_array().expect("clusters");
        let ready = |target: &Value| target["status"] == "ready" && !target["knownGood"].is_null();
        clusters.len() == RINGS.len()
            && clusters.iter().all(|cluster| {
                let targets = cluster["targets"].as_array().expect("targets");
                targets.len() == subjects().len() && targets.iter().all(ready)
            })
    };
    client.until_at("/v1/clusters", "what runs to be seen", seen).await;

    let journeys = subjects().into_iter().map(async |subject| {
        let name = subject.name;
        client.release(name, "1.0", '1').await.good();
        client.until(name, "1.0", "success", |r| r["phase"] == "Succeeded").await;
        for (cluster, space, _) in &spaces {
            let object = subject.object(cluster, space).await;
            assert!(names(&object, &subject, '1'), "{name}: {object:#}");
        }
        client.release(name, "2.0", BAD).await.good();
        let back = client.until(name, "2.0", "the way back", |r| r["phase"] == "RolledBack").await;
        let why = ring(&back, "eu")["info"].as_str().expect("words");
        assert!(why.contains(subject.fails), "{name}: {why}");
        assert_eq!(phase(&back, "us"), "Waiting", "{name}");
        for (cluster, space, _) in &spaces {
            let object = subject.object(cluster, space).await;
            assert!(names(&object, &subject, '1'), "{name}: {object:#}");
        }
    });
    futures::future::join_all(journeys).await;
    assert_eq!(client.get("/v1/audit/verify").await["broken"], Value::Null);
    tokio::time::timeout(Duration::from_secs(5), running.stop()).await.expect("it stops at once");
}
