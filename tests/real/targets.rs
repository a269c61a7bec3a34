//! Every kind of target that is a published custom resource, on real API servers: what may be written, and a
//! release through the whole service to its success and back.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use ::kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
    core::DynamicObject,
};
use axum::{Json, Router, routing::any};
use k8s_openapi::api::apps::v1::Deployment;
use ringward::{
    act::WriteError,
    clock::{Clock, SystemClock},
    decide::command::Write,
    ids::ReleaseId,
    model::{
        ring::{ArgoImage, Artifact, HelmValues, Target, TargetKind},
        time::Mono,
    },
    show::auth::ADMIN_TOKEN,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    common::{self, Client, Declarations, RINGS, phase, ring},
    crds::{self, objects},
    kube::deployer,
    stand_ins::{self, BAD, FAULT, Hooks, SECRET},
    support::{self, Cluster, Namespace, Program, clusters, free_ports},
};

/// Which object is written to, and which one a plan names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// The very object that the plan names, of that kind.
    Own(&'static str),
    /// The Deployment that a Rollout takes its template from.
    Referred,
    /// The Deployment that a Canary is over.
    Canary,
    /// The OCIRepository that an object of that kind pulls from.
    Pulled(&'static str),
}

impl Shape {
    /// The kind of what is written to.
    fn written(self) -> &'static str {
        match self {
            Shape::Own(kind) => kind,
            Shape::Referred | Shape::Canary => "Deployment",
            Shape::Pulled(_) => "OCIRepository",
        }
    }

    fn is_deployment(self) -> bool {
        matches!(self, Shape::Referred | Shape::Canary)
    }
}

/// A kind of target.
struct Subject {
    /// What its plan and its objects are called.
    name: &'static str,
    shape: Shape,
    target: TargetKind,
    /// What a plan declares beside the kind, the namespace and the name.
    declared: &'static str,
    /// The specification that names an image, where there is such an object; else of the one that the plan names.
    spec: fn(&str, &Artifact) -> Value,
    /// Whether a version waits for somebody's word on its way.
    waits: bool,
}

const NAME: &str = "registry.example/shop/app";

fn parts(image: &Artifact) -> (&str, &str) {
    image.0.split_once('@').expect("a pinned image")
}

/// A Rollout of two containers.
fn rollout(name: &str, image: &Artifact, strategy: &Value) -> Value {
    let containers = json!([
        {"name": "proxy", "image": "registry.example/proxy:1", "env": [{"name": "A", "value": "b"}]},
        {"name": "app", "image": image},
    ]);
    json!({"replicas": 2, "selector": {"matchLabels": {"app": name}}, "strategy": strategy,
        "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": containers}}})
}

fn oci_repository(_: &str, image: &Artifact) -> Value {
    let (repository, digest) = parts(image);
    json!({"interval": "10m", "url": format!("oci://{repository}"),
        "ref": {"tag": "latest", "digest": digest}})
}

fn subjects() -> Vec<Subject> {
    let container = || "app".to_owned();
    let rollout_of = |name, spec, waits| Subject {
        name,
        shape: Shape::Own("Rollout"),
        target: TargetKind::ArgoRollout { container: container() },
        declared: "container: app",
        spec,
        waits,
    };
    let application = |name, image, source: Option<&str>, declared, spec| Subject {
        name,
        shape: Shape::Own("Application"),
        target: TargetKind::ArgoApplication { image, source: source.map(str::to_owned) },
        declared,
        spec,
        waits: false,
    };
    let values = || HelmValues::Parts {
        repository: "image.repository".into(),
        digest: "image.digest".into(),
    };
    vec![
        rollout_of("rollout", |name, image| rollout(name, image, &json!({"canary": {}})), false),
        rollout_of(
            "stepped",
            |name, image| {
                let steps = json!([{"setWeight": 20}, {"pause": {}}, {"setWeight": 60},
                    {"pause": {"duration": "1s"}}]);
                rollout(name, image, &json!({"canary": {"steps": steps}}))
            },
            true,
        ),
        rollout_of(
            "bluegreen",
            |name, image| {
                let switch = json!({"activeService": "app", "previewService": "preview",
                    "autoPromotionEnabled": false});
                rollout(name, image, &json!({ "blueGreen": switch }))
            },
            true,
        ),
        Subject {
            name: "referring",
            shape: Shape::Referred,
            target: TargetKind::ArgoRollout { container: container() },
            declared: "container: app",
            spec: |name, _| {
                let steps = json!([{"setWeight": 50}, {"pause": {}}]);
                json!({"replicas": 2, "strategy": {"canary": {"steps": steps}}, "workloadRef":
                    {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}})
            },
            waits: true,
        },
        Subject {
            name: "canary",
            shape: Shape::Canary,
            target: TargetKind::FlaggerCanary { container: container() },
            declared: "container: app",
            spec: |name, _| {
                json!({"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
                    "service": {"port": 80}, "analysis": {"interval": "1m", "threshold": 5}})
            },
            waits: false,
        },
        application(
            "application",
            ArgoImage::Kustomize(NAME.into()),
            None,
            "image: registry.example/shop/app",
            |_, image| {
                let images = [format!("{NAME}={image}"), "registry.example/proxy:1".into()];
                json!({"project": "default", "source": {"repoURL": "https://git.example/fleet.git",
                    "path": "shop", "targetRevision": "main", "kustomize": {"images": images}}})
            },
        ),
        application(
            "parameters",
            ArgoImage::Values(values()),
            Some("app"),
            "values: {repository: image.repository, digest: image.digest}, source: app",
            |_, image| {
                let (repository, digest) = parts(image);
                let parameter = |name: &str, value: &str| json!({"name": name, "value": value});
                json!({"project": "default", "sources": [
                    {"repoURL": "https://git.example/values.git", "targetRevision": "main"},
                    {"name": "app", "repoURL": "https://charts.example", "targetRevision": "1.2.3",
                        "helm": {"parameters": [parameter("replicas", "2"),
                            parameter("image.repository", repository),
                            parameter("image.digest", digest)]}},
                ]})
            },
        ),
        application("revision", ArgoImage::Revision, None, "revision: true", |_, image| {
            let (repository, digest) = parts(image);
            json!({"project": "default", "source": {"repoURL": format!("oci://{repository}"),
                "path": ".", "targetRevision": digest}})
        }),
        Subject {
            name: "kustomization",
            shape: Shape::Own("Kustomization"),
            target: TargetKind::FluxKustomization { image: NAME.into() },
            declared: "image: registry.example/shop/app",
            spec: |_, image| {
                let (repository, digest) = parts(image);
                json!({"interval": "10m", "path": "./shop", "prune": true, "wait": true,
                    "sourceRef": {"kind": "GitRepository", "name": "fleet"},
                    "images": [{"name": "proxy", "newTag": "1"},
                        {"name": NAME, "newName": repository, "digest": digest}]})
            },
            waits: false,
        },
        Subject {
            name: "ociartifact",
            shape: Shape::Pulled("Kustomization"),
            target: TargetKind::FluxOciSource,
            declared: "revision: true",
            spec: oci_repository,
            waits: false,
        },
        Subject {
            name: "helmrelease",
            shape: Shape::Own("HelmRelease"),
            target: TargetKind::FluxHelmRelease { values: values() },
            declared: "values: {repository: image.repository, digest: image.digest}",
            spec: |_, image| {
                let (repository, digest) = parts(image);
                json!({"interval": "10m", "chart": {"spec": {"chart": "shop"}},
                    "values": {"replicas": 2, "image": {"repository": repository, "digest": digest}}})
            },
            waits: false,
        },
        Subject {
            name: "ocichart",
            shape: Shape::Pulled("HelmRelease"),
            target: TargetKind::FluxOciChart,
            declared: "revision: true",
            spec: oci_repository,
            waits: false,
        },
    ]
}

impl Subject {
    /// Makes its objects as their owner would.
    async fn create(&self, cluster: &Cluster, space: &Namespace, leave: bool) {
        let owner = PostParams { field_manager: Some("owner".into()), ..PostParams::default() };
        let (name, image) = (self.name, common::image(self.name, '0'));
        let mut annotations = json!({"ringward.dev/managed-by": name});
        if leave {
            annotations["ringward.dev/take-over"] = json!("image");
        }
        let client = cluster.client().await;
        let create = async |kind: &str, annotations: &Value, spec: Value| {
            let object = json!({
                "apiVersion": crds::api_version(kind), "kind": kind,
                "metadata": {"name": name, "annotations": annotations}, "spec": spec,
            });
            let object: DynamicObject = serde_json::from_value(object).expect("an object");
            let api = objects(&client, space.name(), kind);
            api.create(&owner, &object).await.expect("a new object");
        };
        let deploy = async |name: &str, replicas: u32| {
            let mut deployment = support::deployment(name, &image.0, replicas);
            deployment["metadata"]["annotations"] = annotations.clone();
            let deployment: Deployment = serde_json::from_value(deployment).expect("a Deployment");
            space.deployments().create(&owner, &deployment).await.expect("a new Deployment");
        };
        let spec = (self.spec)(name, &image);
        match self.shape {
            Shape::Own(kind) => create(kind, &annotations, spec).await,
            Shape::Referred => {
                deploy(name, 0).await;
                create("Rollout", &json!({}), spec).await;
            }
            Shape::Canary => {
                deploy(name, 0).await;
                deploy(&format!("{name}-primary"), 2).await;
                create("Canary", &json!({}), spec).await;
            }
            Shape::Pulled(kind) => {
                let source = json!({"kind": "OCIRepository", "name": name});
                let pulls = match kind {
                    "HelmRelease" => json!({"interval": "10m", "chartRef": source}),
                    _ => json!({"interval": "10m", "path": "./", "prune": true, "wait": true,
                        "sourceRef": source}),
                };
                create(kind, &json!({}), pulls).await;
                create("OCIRepository", &annotations, spec).await;
            }
        }
    }

    fn target(&self, space: &Namespace) -> Target {
        Target { kind: self.target.clone(), namespace: space.name().into(), name: self.name.into() }
    }

    /// What is written to, as it is.
    async fn object(&self, cluster: &Cluster, space: &Namespace) -> Value {
        if self.shape.is_deployment() {
            return serde_json::to_value(space.get(self.name).await).expect("JSON");
        }
        let api = objects(&cluster.client().await, space.name(), self.shape.written());
        serde_json::to_value(api.get(self.name).await.expect("the object")).expect("JSON")
    }

    /// Changes what is written to, as its owner would.
    async fn edit(&self, cluster: &Cluster, space: &Namespace, change: Value) {
        if self.shape.is_deployment() {
            return space.edit(self.name, change).await;
        }
        let owner = PatchParams { field_manager: Some("owner".into()), ..PatchParams::default() };
        let api: Api<DynamicObject> =
            objects(&cluster.client().await, space.name(), self.shape.written());
        api.patch(self.name, &owner, &Patch::Merge(change)).await.expect("an edit");
    }

    /// Takes an Application's operation away, as Argo CD does once it is over.
    async fn end_operation(&self, cluster: &Cluster, space: &Namespace) {
        if self.shape == Shape::Own("Application") {
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
        if !subject.shape.is_deployment() {
            assert_eq!(without(&before), without(&after), "{name}");
        }
        // A repeat changes nothing, and a higher epoch is not overwritten.
        deployer.write(&two, 1).await.expect(name);
        let repeated = subject.object(cluster, &space).await;
        // A Deployment's own controller writes to it too.
        if !subject.shape.is_deployment() {
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
        let theirs = match subject.shape.is_deployment() {
            true => support::deployment(name, &image.0, 0)["spec"].clone(),
            false => (subject.spec)(name, &image),
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
    let [port] = free_ports();
    let mut spaces = Vec::new();
    for cluster in clusters {
        crds::install(&cluster.client().await).await;
        let space = cluster.namespace("kinds").await;
        for subject in subjects() {
            subject.create(cluster, &space, true).await;
        }
        let hooks =
            Hooks { server: format!("127.0.0.1:{port}"), cluster: cluster.context().to_owned() };
        let stand_ins = stand_ins::start(cluster.client().await, space.name(), hooks);
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
    let secret = folder.path().join("flagger.secret");
    fs::write(&secret, SECRET).expect("a file");
    let settings = {
        let connections = clusters.iter().map(|cluster| {
            let name = cluster.context();
            (name.to_owned(), json!({"kubeconfig": cluster.kubeconfig(), "context": name}))
        });
        let connections: BTreeMap<String, Value> = connections.collect();
        json!({"listen": format!("127.0.0.1:{port}"), "data": folder.path().join("data"),
            // All subjects are watched at once, by one principal.
            "api": {"requestsPerSecond": 2000},
            "hooks": {"flaggerSecretFile": secret},
            "source": {"path": source}, "connections": connections})
    };
    let service = Service::start(folder.path(), port, settings).await;
    let client = service.client.clone();
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
        if subject.waits {
            for ring in RINGS {
                service.advance(&client, name, "1.0", ring).await;
            }
        }
        client.until(name, "1.0", "success", |r| r["phase"] == "Succeeded").await;
        for (cluster, space, _) in &spaces {
            let object = subject.object(cluster, space).await;
            assert!(names(&object, &subject, '1'), "{name}: {object:#}");
        }
        client.release(name, "2.0", BAD).await.good();
        let back = client.until(name, "2.0", "the way back", |r| r["phase"] == "RolledBack").await;
        let why = ring(&back, "eu")["info"].as_str().expect("words");
        assert!(why.contains(FAULT), "{name}: {why}");
        assert_eq!(phase(&back, "us"), "Waiting", "{name}");
        for (cluster, space, _) in &spaces {
            let object = subject.object(cluster, space).await;
            assert!(names(&object, &subject, '1'), "{name}: {object:#}");
        }
    });
    futures::future::join_all(journeys).await;
    assert_eq!(client.get("/v1/audit/verify").await["broken"], Value::Null);
    let facts = client.facts().await;
    let promoted = facts.iter().filter(|(_, what, _)| what == "promoted");
    // Each word was recorded for the one pause that it ended.
    let pauses =
        promoted.map(|(_, _, with)| with["pause"]["id"].as_str().expect("an id").to_owned());
    let pauses: Vec<String> = pauses.collect();
    let waiting = subjects().iter().filter(|subject| subject.waits).count();
    assert_eq!(pauses.len(), waiting * RINGS.len(), "{pauses:?}");
}

/// The binary as it is delivered, until the value is dropped.
struct Service {
    client: Client,
    address: String,
    token: PathBuf,
    _program: Program,
}

impl Service {
    async fn start(folder: &Path, port: u16, settings: Value) -> Self {
        let file = folder.join("ringward.yaml");
        fs::write(&file, settings.to_string()).expect("a file");
        let arguments = ["serve".into(), "--config".into(), file.display().to_string()];
        let program = Path::new(env!("CARGO_BIN_EXE_ringward"));
        let program = Program::start(folder, program, &arguments);
        let (address, token) = (format!("127.0.0.1:{port}"), folder.join("data").join(ADMIN_TOKEN));
        let mut tries = 0;
        let ready = async || {
            let answer = reqwest::get(format!("http://{address}/readyz")).await;
            answer.is_ok_and(|answer| answer.status().is_success())
        };
        // A first start makes the token before it listens.
        while !ready().await {
            tries += 1;
            let log = fs::read_to_string(folder.join("ringward.log")).unwrap_or_default();
            assert!(tries < 400, "it is not ready: {log}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let client = Client::new(&address, common::admin_token(&folder.join("data")));
        Self { client, address, token, _program: program }
    }

    /// Lets a release go on that waits for a word on a ring, by the command line.
    async fn advance(&self, client: &Client, plan: &str, version: &str, name: &str) {
        let waits = |release: &Value| ring(release, name).to_string().contains("waits for a word");
        client.until(plan, version, &format!("a pause on {name}"), waits).await;
        let release = format!("{plan}@{version}");
        let server = format!("http://{}", self.address);
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_ringward"));
        command.args(["advance", &release, "--ring", name, "--reason", "it looks well"]);
        command.args(["--server", &server, "--token"]).arg(&self.token);
        let output = command.output().await.expect("it runs");
        assert!(output.status.success(), "{release} on {name}: {output:?}");
    }
}
