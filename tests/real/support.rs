//! Real Kubernetes clusters without machines: etcd, kube-apiserver, kube-controller-manager, and a
//! kubelet that is not there.
//!
//! The programs are found through `KUBEBUILDER_ASSETS`, as `setup-envtest` lays them out. Everything
//! listens on free ports of the loopback interface and keeps its files in one temporary folder.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use ::kube::{
    Api, Client, Config,
    api::{ListParams, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use axum::http::Request;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Namespace as Space, Pod},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::{sync::OnceCell, time::sleep};

/// The folder of the cluster's programs; none, with a word about it, where they are not installed.
pub fn assets() -> Option<PathBuf> {
    let assets = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    if assets.is_none() {
        let required = std::env::var("RINGWARD_REAL").is_ok_and(|value| value == "required");
        assert!(!required, "RINGWARD_REAL=required, and KUBEBUILDER_ASSETS is not set");
        println!("skipped: KUBEBUILDER_ASSETS is not set");
    }
    assets
}

/// An image reference that is pinned by a digest made of `seed`.
pub fn pinned(repository: &str, seed: &str) -> String {
    format!("{repository}@{}", digest(seed))
}

fn digest(text: &str) -> String {
    let hex: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// A program that ends when this value is dropped, and also when the test process is killed: a shell
/// holds the other end of a pipe and kills it once that end is closed.
pub struct Program {
    keeper: Child,
    /// Where the keeper notes the program's process id.
    pid: PathBuf,
}

impl Program {
    /// Starts it; its output goes to a log in `dir`.
    pub fn start(dir: &Path, program: &Path, arguments: &[String]) -> Self {
        let name = program.file_name().expect("a program has a name").to_string_lossy();
        let log = File::options().create(true).append(true).open(dir.join(format!("{name}.log")));
        let log = log.expect("the log can be written");
        let pid = dir.join(format!("{name}.pid"));
        let keeper = r#"pid=$0; "$@" & echo $! > "$pid"; cat > /dev/null; kill -9 $!; wait"#;
        let keeper = Command::new("sh")
            .args(["-c", keeper])
            .arg(&pid)
            .arg(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("a file handle"))
            .stderr(log)
            .spawn();
        Self { keeper: keeper.expect("sh can be started"), pid }
    }

    fn signal(&self, signal: &str) {
        let pid = fs::read_to_string(&self.pid).expect("the keeper noted it");
        let sent = Command::new("kill").args([signal, pid.trim()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "{signal} cannot be sent");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// Removes a folder once the test process has ended, however it ended.
fn sweep_up_at_the_end(dir: &Path) -> Child {
    let broom = r#"cat > /dev/null; sleep 1; rm -rf "$0""#;
    let child = Command::new("sh").args(["-c", broom]).arg(dir).stdin(Stdio::piped()).spawn();
    child.expect("sh can be started")
}

/// A running cluster.
pub struct Cluster {
    name: String,
    assets: PathBuf,
    dir: PathBuf,
    api_port: u16,
    etcd_port: u16,
    api: Mutex<Option<Program>>,
    _others: Vec<Program>,
    _broom: Child,
}

/// The token of the cluster's administrator: no word of ringward's may ever contain it.
pub const ADMIN_TOKEN: &str = "canary-admin-token-5d1c";
const NOBODY_TOKEN: &str = "canary-nobody-token-88e2";

/// Two clusters for all the tests that leave them running; each test has a namespace of its own.
pub async fn clusters() -> Option<&'static [Cluster; 2]> {
    static CLUSTERS: OnceCell<[Cluster; 2]> = OnceCell::const_new();
    let assets = assets()?;
    let start =
        || async { [Cluster::start(&assets, "eu").await, Cluster::start(&assets, "us").await] };
    Some(CLUSTERS.get_or_init(start).await)
}

impl Cluster {
    /// Starts a cluster and waits until it takes Deployments.
    pub async fn start(assets: &Path, name: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder").keep();
        let [api_port, etcd_port, peer_port, controllers_port] = free_ports();
        let etcd = Program::start(
            &dir,
            &assets.join("etcd"),
            &[
                format!("--data-dir={}", dir.join("etcd").display()),
                format!("--listen-client-urls=http://127.0.0.1:{etcd_port}"),
                format!("--advertise-client-urls=http://127.0.0.1:{etcd_port}"),
                format!("--listen-peer-urls=http://127.0.0.1:{peer_port}"),
                format!("--initial-advertise-peer-urls=http://127.0.0.1:{peer_port}"),
                format!("--initial-cluster=default=http://127.0.0.1:{peer_port}"),
                "--unsafe-no-fsync".into(),
            ],
        );
        let tokens =
            format!("{ADMIN_TOKEN},admin,admin,system:masters\n{NOBODY_TOKEN},nobody,nobody\n");
        fs::write(dir.join("tokens.csv"), tokens).expect("the tokens can be written");
        fs::write(dir.join("kubeconfig"), kubeconfig(name, &dir, api_port))
            .expect("the kubeconfig can be written");
        let mut cluster = Self {
            name: name.into(),
            assets: assets.into(),
            api_port,
            etcd_port,
            api: Mutex::default(),
            _others: vec![etcd],
            _broom: sweep_up_at_the_end(&dir),
            dir,
        };
        cluster.start_api().await;
        let manager = assets.join("kube-controller-manager");
        let mut arguments = vec![
            format!("--kubeconfig={}", cluster.kubeconfig().display()),
            "--controllers=deployment,replicaset,namespace,garbagecollector".into(),
            "--leader-elect=false".into(),
            "--bind-address=127.0.0.1".into(),
            format!("--secure-port={controllers_port}"),
            format!("--cert-dir={}", cluster.dir.join("controllers").display()),
        ];
        // Up to 1.23 it listens on a second, fixed port too, which two clusters cannot share.
        let help = Command::new(&manager).arg("--help").output().expect("it can be started").stdout;
        if String::from_utf8_lossy(&help).contains("--port int") {
            arguments.push("--port=0".into());
        }
        let controllers = Program::start(&cluster.dir, &manager, &arguments);
        cluster._others.push(controllers);
        cluster
    }

    /// The kubeconfig; its contexts are [`Self::context`] and [`Self::nobody`].
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("kubeconfig")
    }

    /// The context of an administrator: the name that the cluster was given.
    pub fn context(&self) -> &str {
        &self.name
    }

    /// The context of a user who may do nothing.
    pub fn nobody(&self) -> String {
        format!("{}-nobody", self.name)
    }

    /// An administrator's client, for the runtime that it is made in.
    pub async fn client(&self) -> Client {
        let kubeconfig = Kubeconfig::read_from(self.kubeconfig()).expect("our own kubeconfig");
        let options =
            KubeConfigOptions { context: Some(self.name.clone()), ..KubeConfigOptions::default() };
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
        Client::try_from(config.expect("our own context")).expect("a client")
    }

    /// Kills the API server.
    pub fn kill_api(&self) {
        drop(self.api.lock().expect("not poisoned").take());
    }

    /// Stops the API server in its tracks, connections open, or lets it go on.
    pub fn freeze_api(&self, frozen: bool) {
        let api = self.api.lock().expect("not poisoned");
        api.as_ref().expect("it runs").signal(if frozen { "-STOP" } else { "-CONT" });
    }

    /// Starts the API server, on the port that it had, and waits until it is ready.
    pub async fn start_api(&self) {
        let certificates = self.dir.join("certificates");
        let key = certificates.join("apiserver.key").display().to_string();
        let program = Program::start(
            &self.dir,
            &self.assets.join("kube-apiserver"),
            &[
                format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_port),
                format!("--secure-port={}", self.api_port),
                "--bind-address=127.0.0.1".into(),
                format!("--cert-dir={}", certificates.display()),
                // It makes this key for its own certificate before it asks for the other two.
                format!("--service-account-key-file={key}"),
                format!("--service-account-signing-key-file={key}"),
                "--service-account-issuer=https://kubernetes.default".into(),
                format!("--token-auth-file={}", self.dir.join("tokens.csv").display()),
                "--authorization-mode=RBAC".into(),
                "--service-cluster-ip-range=10.0.0.0/24".into(),
                "--disable-admission-plugins=ServiceAccount".into(),
            ],
        );
        *self.api.lock().expect("not poisoned") = Some(program);
        for _ in 0..600 {
            sleep(Duration::from_millis(100)).await;
            // The certificate that the client trusts is there only once the server has made it.
            if !certificates.join("apiserver.crt").exists() {
                continue;
            }
            let ask = Request::get("/readyz").body(Vec::new()).expect("a request");
            let client = self.client().await;
            let spaces: Api<Space> = Api::all(client.clone());
            // The default namespace comes a second or two after the server is ready.
            if client.request_text(ask).await.is_ok() && spaces.get("default").await.is_ok() {
                return;
            }
        }
        let log = fs::read_to_string(self.dir.join("kube-apiserver.log")).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(20).collect();
        panic!("kube-apiserver is not ready after a minute: {tail:#?}");
    }

    /// Makes a namespace, with a hollow kubelet that runs its pods as long as the value lives.
    pub async fn namespace(&self, name: &str) -> Namespace {
        let client = self.client().await;
        let api: Api<Space> = Api::all(client.clone());
        let space =
            serde_json::from_value(json!({"metadata": {"name": name}})).expect("a namespace");
        api.create(&PostParams::default(), &space).await.expect("a new namespace");
        let crashing = Arc::new(Mutex::new(BTreeSet::new()));
        let kubelet =
            tokio::spawn(kubelet(Api::namespaced(client.clone(), name), crashing.clone()));
        Namespace { client, name: name.into(), crashing, kubelet }
    }
}

/// A namespace whose pods run.
pub struct Namespace {
    client: Client,
    name: String,
    crashing: Arc<Mutex<BTreeSet<String>>>,
    kubelet: tokio::task::JoinHandle<()>,
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.kubelet.abort();
    }
}

impl Namespace {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its Deployments.
    pub fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.client.clone(), &self.name)
    }

    /// From now on, new pods of this image crash.
    pub fn crash(&self, image: &str) {
        self.crashing.lock().expect("not poisoned").insert(image.into());
    }

    /// The running pods of this image restart so often.
    pub async fn restart(&self, image: &str, times: u32) {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.name);
        for pod in pods.list(&ListParams::default()).await.expect("pods") {
            let statuses = pod.status.and_then(|status| status.container_statuses);
            let mut containers = json!(statuses.unwrap_or_default());
            if containers[0]["image"] != image {
                continue;
            }
            containers[0]["restartCount"] = json!(times);
            let status = Patch::Merge(json!({"status": {"containerStatuses": containers}}));
            let name = pod.metadata.name.expect("a name");
            pods.patch_status(&name, &PatchParams::default(), &status).await.expect("a restart");
        }
    }

    /// Makes a Deployment as its owner would: under another field manager, which leaves the image of
    /// container `app` to ringward where `consent` names the plan.
    pub async fn create(&self, name: &str, image: &str, replicas: u32, consent: Option<&str>) {
        let mut deployment = deployment(name, image, replicas);
        if let Some(plan) = consent {
            deployment["metadata"]["annotations"] = json!({
                "ringward.dev/managed-by": plan,
                "ringward.dev/take-over": "image",
            });
        }
        let deployment: Deployment = serde_json::from_value(deployment).expect("a Deployment");
        let owner = PostParams { field_manager: Some("owner".into()), ..PostParams::default() };
        self.deployments().create(&owner, &deployment).await.expect("a new Deployment");
    }

    /// Changes a Deployment as its owner would.
    pub async fn edit(&self, name: &str, change: Value) {
        let owner = PatchParams { field_manager: Some("owner".into()), ..PatchParams::default() };
        self.deployments().patch(name, &owner, &Patch::Merge(change)).await.expect("an edit");
    }

    /// The Deployment as it is.
    pub async fn get(&self, name: &str) -> Deployment {
        self.deployments().get(name).await.expect("the Deployment")
    }
}

/// A Deployment with one container, `app`.
pub fn deployment(name: &str, image: &str, replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "app", "image": image}]},
            },
        },
    })
}

/// Does for pods what a kubelet does to their status, and nothing else.
async fn kubelet(pods: Api<Pod>, crashing: Arc<Mutex<BTreeSet<String>>>) {
    loop {
        // While the API server is away there is nothing to do.
        if let Ok(list) = pods.list(&ListParams::default()).await {
            for pod in list.items {
                let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
                if phase != Some("Pending") || pod.metadata.deletion_timestamp.is_some() {
                    continue;
                }
                let name = pod.metadata.name.as_deref().expect("a pod has a name");
                let status = Patch::Merge(json!({"status": status_of(&pod, &crashing)}));
                // The pod may have gone in the meantime.
                let _ = pods.patch_status(name, &PatchParams::default(), &status).await;
            }
        }
        sleep(Duration::from_millis(50)).await;
    }
}

fn status_of(pod: &Pod, crashing: &Mutex<BTreeSet<String>>) -> Value {
    let started = pod.metadata.creation_timestamp.as_ref();
    let mut all_run = true;
    let containers: Vec<Value> = pod
        .spec
        .iter()
        .flat_map(|spec| &spec.containers)
        .map(|container| {
            let image = container.image.clone().unwrap_or_default();
            let runs = !crashing.lock().expect("not poisoned").contains(&image);
            all_run &= runs;
            let state = if runs {
                json!({"running": {"startedAt": started}})
            } else {
                json!({"waiting": {"reason": "CrashLoopBackOff"}})
            };
            json!({
                "name": container.name,
                "image": image,
                "imageID": image_id(&image),
                "ready": runs,
                "restartCount": if runs { 0 } else { 3 },
                "state": state,
            })
        })
        .collect();
    let ready = if all_run { "True" } else { "False" };
    json!({
        "phase": "Running",
        "startTime": started,
        "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": started}],
        "containerStatuses": containers,
    })
}

/// What containerd reports: the repository with the digest that was pulled.
pub fn image_id(image: &str) -> String {
    match image.split_once('@') {
        Some(_) => image.into(),
        None => format!("{}@{}", image.rsplit_once(':').map_or(image, |(r, _)| r), digest(image)),
    }
}

fn kubeconfig(name: &str, dir: &Path, port: u16) -> String {
    let user = |name: &str, token: &str| json!({"name": name, "user": {"token": token}});
    let context = |context: &str, user: &str| json!({"name": context, "context": {"cluster": name, "user": user}});
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": {
            "server": format!("https://127.0.0.1:{port}"),
            "certificate-authority": dir.join("certificates/apiserver.crt"),
        }}],
        "users": [user("admin", ADMIN_TOKEN), user("nobody", NOBODY_TOKEN)],
        "contexts": [context(name, "admin"), context(&format!("{name}-nobody"), "nobody")],
    })
    .to_string()
}

/// Ports that were free a moment ago; all are held until the last is known, so that they differ.
pub fn free_ports<const N: usize>() -> [u16; N] {
    let held: [TcpListener; N] =
        std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    held.map(|listener| listener.local_addr().expect("a bound address").port())
}
