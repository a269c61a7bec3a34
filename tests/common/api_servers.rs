//! Many API servers, each on a port of its own and none with more than it takes to be watched: Deployments with
//! their pods, and a node. Light, so that hundreds fit into a process; they count what is on its way to them, and
//! can be away, mute, or in no hurry.

#![allow(dead_code, reason = "each suite takes what it needs")]

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    sync::watch,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

/// How long a connection may be idle before it is closed: as kube-apiserver has it.
const IDLE: Duration = Duration::from_secs(90);

/// What there is in each cluster.
#[derive(Clone)]
pub struct Layout {
    /// Deployments, `svc-0` and so on.
    pub deployments: usize,
    /// Pods of each.
    pub pods: usize,
    /// Whether each is in a namespace of its own (`shop-0` and so on); otherwise all are in `shop`.
    pub apart: bool,
    /// Other Deployments in the namespace of the first, which nobody asked for.
    pub others: usize,
    /// Whether to list a whole namespace is forbidden.
    pub forbidden: bool,
}

impl Layout {
    pub fn namespace(&self, deployment: usize) -> String {
        if self.apart { format!("shop-{deployment}") } else { "shop".into() }
    }
}

/// How servers behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    Serving,
    /// Nobody listens on their ports.
    Away,
    /// Whoever connects is heard and not answered.
    Mute,
}

/// What is counted over all servers.
#[derive(Default)]
pub struct Counts {
    in_flight: AtomicUsize,
    most: AtomicUsize,
    lists: AtomicU64,
    watches: AtomicU64,
    pods: AtomicU64,
    open: AtomicUsize,
}

impl Counts {
    /// Requests that were heard and not answered: a watch is answered when it is accepted.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::SeqCst)
    }

    /// The most of these that there were at once since the last time that this was asked.
    pub fn most(&self) -> usize {
        self.most.swap(self.in_flight(), Ordering::SeqCst)
    }

    /// Lists of Deployments, watches, lists of pods, and connections that are open.
    pub fn all(&self) -> [u64; 4] {
        let [lists, watches, pods] =
            [&self.lists, &self.watches, &self.pods].map(|count| count.load(Ordering::SeqCst));
        [lists, watches, pods, self.open.load(Ordering::SeqCst) as u64]
    }
}

/// A request that was heard, until it is answered or nobody waits for the answer.
struct Heard<'a>(&'a Counts);

impl<'a> Heard<'a> {
    fn new(counts: &'a Counts) -> Self {
        let now = counts.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        counts.most.fetch_max(now, Ordering::SeqCst);
        Self(counts)
    }
}

impl Drop for Heard<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

/// API servers; dropping them ends them.
pub struct Servers {
    pub counts: Arc<Counts>,
    layout: Layout,
    servers: Vec<Arc<Server>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    tls: bool,
}

struct Server {
    port: u16,
    layout: Layout,
    counts: Arc<Counts>,
    manner: watch::Sender<Manner>,
    /// Whether answers are given; while not, they wait.
    answering: watch::Sender<bool>,
    /// Of each Deployment, whether all of its pods are ready.
    ready: Vec<AtomicBool>,
    /// Which Deployment changed at each version, and the last version.
    changes: Mutex<Vec<(u64, usize)>>,
    version: watch::Sender<u64>,
}

impl Servers {
    /// Starts so many, with TLS where there is something to show.
    pub async fn start(
        count: usize,
        layout: Layout,
        tls: Option<Arc<rustls::ServerConfig>>,
    ) -> Self {
        let counts = Arc::new(Counts::default());
        let (mut servers, mut tasks) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
            let server = Arc::new(Server {
                port: listener.local_addr().expect("a bound address").port(),
                layout: layout.clone(),
                counts: counts.clone(),
                manner: watch::channel(Manner::Serving).0,
                answering: watch::channel(true).0,
                ready: (0..layout.deployments).map(|_| AtomicBool::new(true)).collect(),
                changes: Mutex::default(),
                version: watch::channel(100).0,
            });
            let acceptor = tls.clone().map(TlsAcceptor::from);
            tasks.push(tokio::spawn(server.clone().listen(listener, acceptor)));
            servers.push(server);
        }
        Self { counts, layout, servers, tasks, tls: tls.is_some() }
    }

    /// Writes a kubeconfig with the contexts `c0` and so on.
    pub fn kubeconfig(&self, folder: &Path, authority: Option<&str>) -> PathBuf {
        let scheme = if self.tls { "https" } else { "http" };
        let all = || self.servers.iter().enumerate().map(|(n, server)| (format!("c{n}"), server));
        let clusters = all().map(|(name, server)| {
            let mut cluster = json!({"server": format!("{scheme}://127.0.0.1:{}", server.port)});
            if let Some(authority) = authority {
                cluster["certificate-authority-data"] = json!(authority);
            }
            json!({"name": name, "cluster": cluster})
        });
        let contexts = all().map(
            |(name, _)| json!({"name": name, "context": {"cluster": name, "user": "ringward"}}),
        );
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": clusters.collect::<Vec<_>>(),
            "contexts": contexts.collect::<Vec<_>>(),
            "users": [{"name": "ringward", "user": {"token": "t"}}],
        });
        let path = folder.join("kubeconfig");
        fs::write(&path, config.to_string()).expect("a file");
        path
    }

    pub fn set(&self, servers: impl IntoIterator<Item = usize>, manner: Manner) {
        for n in servers {
            self.servers[n].manner.send_replace(manner);
        }
    }

    /// Lets all answers wait, or lets them go.
    pub fn answer(&self, answering: bool) {
        for server in &self.servers {
            server.answering.send_replace(answering);
        }
    }

    /// Makes a pod of a Deployment ready, or no longer ready, and says so to whoever watches.
    pub fn turn(&self, server: usize, deployment: usize) {
        let server = &self.servers[server];
        server.ready[deployment].fetch_xor(true, Ordering::SeqCst);
        let mut changes = server.changes.lock().expect("not poisoned");
        server.version.send_modify(|version| {
            *version += 1;
            changes.push((*version, deployment));
        });
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
        self.set(0..self.servers.len(), Manner::Away);
    }
}

impl Server {
    async fn listen(self: Arc<Self>, first: TcpListener, tls: Option<TlsAcceptor>) {
        let mut manner = self.manner.subscribe();
        let mut listener = Some(first);
        loop {
            if *manner.borrow_and_update() == Manner::Away {
                listener = None;
                if manner.changed().await.is_err() {
                    return;
                }
                continue;
            }
            let at = match &listener {
                Some(at) => at,
                None => {
                    let Ok(at) = TcpListener::bind(("127.0.0.1", self.port)).await else {
                        sleep(Duration::from_millis(10)).await;
                        continue;
                    };
                    listener.insert(at)
                }
            };
            tokio::select! {
                accepted = at.accept() => {
                    let Ok((stream, _)) = accepted else { continue };
                    let _ = stream.set_nodelay(true);
                    let (server, tls) = (self.clone(), tls.clone());
                    tokio::spawn(async move {
                        server.counts.open.fetch_add(1, Ordering::SeqCst);
                        let _ = match tls {
                            Some(tls) => match tls.accept(stream).await {
                                Ok(stream) => server.talk(stream).await,
                                Err(error) => Err(error),
                            },
                            None => server.talk(stream).await,
                        };
                        server.counts.open.fetch_sub(1, Ordering::SeqCst);
                    });
                }
                _ = manner.changed() => {}
            }
        }
    }

    /// Answers one request after the other, until they are cut off.
    async fn talk(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
        let mut manner = self.manner.subscribe();
        let mut cut = self.manner.subscribe();
        tokio::select! {
            _ = cut.wait_for(|manner| *manner == Manner::Away) => Ok(()),
            ended = async {
                let mut buffer = Vec::new();
                loop {
                    let asked = timeout(IDLE, request(&mut stream, &mut buffer)).await;
                    let Ok(Some(target)) = asked.unwrap_or(Ok(None)) else { return Ok(()) };
                    let heard = Heard::new(&self.counts);
                    let gone = async {
                        let mut answering = self.answering.subscribe();
                        let _ = manner.wait_for(|manner| *manner == Manner::Serving).await;
                        let _ = answering.wait_for(|answering| *answering).await;
                    };
                    tokio::select! {
                        () = gone => {}
                        // Who waits sends nothing more; it ends where they have gone.
                        _ = stream.read_u8() => return Ok(()),
                    }
                    self.answer(&mut stream, &target, heard).await?;
                }
            } => ended,
        }
    }

    async fn answer(
        &self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        target: &str,
        heard: Heard<'_>,
    ) -> io::Result<()> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let url = reqwest::Url::parse(&format!("http://server/?{query}")).expect("a URL");
        let query: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let named = |key: &str, field: &str| {
            let (name, value) = query.get(key)?.split_once('=')?;
            (name == field).then(|| value.to_owned())
        };
        let counts = &self.counts;
        match parts[..] {
            ["apis", "apps", "v1", "namespaces", namespace, "deployments"] => {
                let only = named("fieldSelector", "metadata.name");
                if only.is_none() && self.layout.forbidden {
                    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden",
                        "code": 403, "message": "deployments.apps is forbidden"});
                    return say(stream, 403, &status).await;
                }
                if query.contains_key("watch") {
                    counts.watches.fetch_add(1, Ordering::SeqCst);
                    return self.watch(stream, namespace, only, &query, heard).await;
                }
                counts.lists.fetch_add(1, Ordering::SeqCst);
                let version = *self.version.borrow();
                let wanted = (0..self.layout.deployments)
                    .filter(|n| self.layout.namespace(*n) == namespace)
                    .filter(|n| only.as_ref().is_none_or(|only| *only == name(*n)));
                let mut items: Vec<Value> = wanted.map(|n| self.deployment(n)).collect();
                if only.is_none() && namespace == self.layout.namespace(0) {
                    items.extend((0..self.layout.others).map(|n| {
                        let mut other = self.deployment(0);
                        other["metadata"]["name"] = json!(format!("other-{n}"));
                        other
                    }));
                }
                let limit = query.get("limit").and_then(|limit| limit.parse().ok());
                let more = limit.is_some_and(|limit: usize| items.len() > limit);
                items.truncate(limit.unwrap_or(usize::MAX));
                let next = if more { "more" } else { "" };
                let list = json!({"kind": "DeploymentList", "apiVersion": "apps/v1", "items": items,
                    "metadata": {"resourceVersion": version.to_string(), "continue": next}});
                say(stream, 200, &list).await
            }
            ["api", "v1", "namespaces", _, "pods"] => {
                counts.pods.fetch_add(1, Ordering::SeqCst);
                let app = named("labelSelector", "app").unwrap_or_default();
                let of = app.strip_prefix("svc-").and_then(|n| n.parse::<usize>().ok());
                let pods = of.into_iter().flat_map(|n| (0..self.layout.pods).map(move |p| (n, p)));
                let items: Vec<Value> = pods.map(|(n, p)| self.pod(n, p)).collect();
                let list = json!({"kind": "PodList", "apiVersion": "v1", "items": items,
                    "metadata": {"resourceVersion": self.version.borrow().to_string()}});
                say(stream, 200, &list).await
            }
            ["api", "v1", "nodes"] => {
                let node = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                    "metadata": {"name": "node", "labels": {"topology.kubernetes.io/region": "eu-west-1"}}});
                let list = json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                    "metadata": {"resourceVersion": "1"}, "items": [node]});
                say(stream, 200, &list).await
            }
            _ => say(stream, 404, &json!({"kind": "Status", "code": 404, "message": path})).await,
        }
    }

    async fn watch(
        &self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        namespace: &str,
        only: Option<String>,
        query: &BTreeMap<String, String>,
        heard: Heard<'_>,
    ) -> io::Result<()> {
        let number = |key: &str| query.get(key).and_then(|value| value.parse::<u64>().ok());
        let mut seen = number("resourceVersion").unwrap_or(0);
        let over = sleep(Duration::from_secs(number("timeoutSeconds").unwrap_or(300)));
        let mut over = std::pin::pin!(over);
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await?;
        stream.flush().await?;
        drop(heard);
        let mut version = self.version.subscribe();
        loop {
            version.borrow_and_update();
            let new: Vec<(u64, usize)> = {
                let changes = self.changes.lock().expect("not poisoned");
                changes.iter().rev().take_while(|(at, _)| *at > seen).copied().collect()
            };
            for (at, n) in new.into_iter().rev() {
                seen = at;
                let here = self.layout.namespace(n) == namespace;
                if here && only.as_ref().is_none_or(|only| *only == name(n)) {
                    let line =
                        json!({"type": "MODIFIED", "object": self.deployment(n)}).to_string();
                    let chunk = format!("{:x}\r\n{line}\n\r\n", line.len() + 1);
                    stream.write_all(chunk.as_bytes()).await?;
                    stream.flush().await?;
                }
            }
            tokio::select! {
                changed = version.changed() => if changed.is_err() { return Ok(()) },
                () = &mut over => break,
                read = stream.read_u8() => return read.map(drop),
            }
        }
        stream.write_all(b"0\r\n\r\n").await?;
        stream.flush().await
    }

    /// As an API server has it, with what its managers own.
    fn deployment(&self, n: usize) -> Value {
        let name = name(n);
        let pods = self.layout.pods;
        let up = if self.ready[n].load(Ordering::SeqCst) { pods } else { pods - 1 };
        let version = self.version.borrow().to_string();
        let at = "2026-11-02T08:00:00Z";
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {
                "name": name, "namespace": self.layout.namespace(n), "uid": format!("u-{n}"),
                "resourceVersion": version, "generation": 1, "creationTimestamp": at,
                "labels": {"app": name, "app.kubernetes.io/part-of": "shop", "team": "checkout"},
                "annotations": {"ringward.dev/managed-by": name, "deployment.kubernetes.io/revision": "1"},
                "managedFields": managed(),
            },
            "spec": {
                "replicas": pods, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
                "selector": {"matchLabels": {"app": name}},
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
                "template": {"metadata": {"labels": {"app": name}}, "spec": pod_spec()},
            },
            "status": {
                "observedGeneration": 1, "replicas": pods, "updatedReplicas": pods, "readyReplicas": up,
                "availableReplicas": up, "unavailableReplicas": pods - up,
                "conditions": [
                    {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable", "lastUpdateTime": at,
                        "lastTransitionTime": at, "message": "Deployment has minimum availability."},
                    {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable", "lastUpdateTime": at,
                        "lastTransitionTime": at, "message": "ReplicaSet has successfully progressed."},
                ],
            },
        })
    }

    fn pod(&self, n: usize, p: usize) -> Value {
        let name = name(n);
        let up = p > 0 || self.ready[n].load(Ordering::SeqCst);
        let at = "2026-11-02T08:00:00Z";
        let status = if up { "True" } else { "False" };
        json!({
            "metadata": {
                "name": format!("{name}-5d9c7b-{p}"), "generateName": format!("{name}-5d9c7b-"),
                "namespace": self.layout.namespace(n), "uid": format!("p-{n}-{p}"), "resourceVersion": "90",
                "creationTimestamp": at, "labels": {"app": name, "pod-template-hash": "5d9c7b"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{name}-5d9c7b"),
                    "uid": "r", "controller": true, "blockOwnerDeletion": true}],
                "managedFields": managed(),
            },
            "spec": pod_spec(),
            "status": {
                "phase": "Running", "podIP": "10.0.0.7", "hostIP": "10.0.1.7", "startTime": at, "qosClass": "Burstable",
                "conditions": [
                    {"type": "Initialized", "status": "True", "lastTransitionTime": at},
                    {"type": "Ready", "status": status, "lastTransitionTime": at},
                    {"type": "ContainersReady", "status": status, "lastTransitionTime": at},
                    {"type": "PodScheduled", "status": "True", "lastTransitionTime": at},
                ],
                "containerStatuses": [{"name": "app", "image": image(), "imageID": image(), "ready": up, "started": up,
                    "restartCount": 0, "containerID": "containerd://0", "state": {"running": {"startedAt": at}}}],
            },
        })
    }
}

pub fn name(deployment: usize) -> String {
    format!("svc-{deployment}")
}

pub fn image() -> String {
    format!("registry.example/shop/checkout@sha256:{}", "a".repeat(64))
}

fn pod_spec() -> Value {
    let env =
        (0..8).map(|n| json!({"name": format!("SETTING_{n}"), "value": format!("value-{n}")}));
    json!({
        "containers": [{
            "name": "app", "image": image(), "imagePullPolicy": "IfNotPresent", "env": env.collect::<Vec<_>>(),
            "ports": [{"containerPort": 8080, "name": "http", "protocol": "TCP"}],
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
            "readinessProbe": {"httpGet": {"path": "/ready", "port": "http", "scheme": "HTTP"}, "periodSeconds": 10,
                "timeoutSeconds": 1, "successThreshold": 1, "failureThreshold": 3},
            "livenessProbe": {"httpGet": {"path": "/live", "port": "http", "scheme": "HTTP"}, "periodSeconds": 10,
                "timeoutSeconds": 1, "successThreshold": 1, "failureThreshold": 3},
            "volumeMounts": [{"name": "config", "mountPath": "/etc/app", "readOnly": true}],
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
        }],
        "volumes": [{"name": "config", "configMap": {"name": "app", "defaultMode": 420}}],
        "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
        "schedulerName": "default-scheduler", "serviceAccountName": "app", "securityContext": {"runAsNonRoot": true},
    })
}

/// What two managers own, in as many fields as is usual.
fn managed() -> Value {
    let fields: BTreeMap<String, Value> =
        (0..24).map(|n| (format!("f:field{n}"), json!({".": {}, "f:inner": {}}))).collect();
    let entry = |manager: &str| {
        json!({"manager": manager, "operation": "Update", "apiVersion": "apps/v1", "time": "2026-11-02T08:00:00Z",
            "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": fields.clone()}})
    };
    json!([entry("kubectl"), entry("kube-controller-manager")])
}

/// The target of the next request; nothing where whoever asked has gone.
async fn request(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
) -> io::Result<Option<String>> {
    loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
            buffer.drain(..end + 4);
            return Ok(head.split(' ').nth(1).map(str::to_owned));
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

async fn say(stream: &mut (impl AsyncWrite + Unpin), code: u16, body: &Value) -> io::Result<()> {
    let body = body.to_string();
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {code} X\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.flush().await
}
