//! A server that speaks as much of the Kubernetes API as driving and watching targets takes.
//!
//! What it is: Deployments, StatefulSets, DaemonSets, Argo Rollouts and their Pods, to be read, listed, watched
//! and patched (server-side apply with ownership and conflicts, merge and strategic merge patches), behind a
//! bearer token, with a stand-in for each controller that works in the injected clock's time. What it says of
//! `apps/v1`, and when it changes a generation or a resourceVersion, was compared with a real API server; an
//! Argo Rollout's status is as documented.
//!
//! The token may come in the path as well (`/as/TOKEN/…`), which is what the kubeconfig names: kubectl
//! sends no credentials over plain HTTP. A token in the header must be right all the same.
//!
//! Of nodes there is no more than the list of their labels, in pages. Whoever asks what they may do is told
//! that it is everything that can be done here.
//!
//! What it is not: there are no ReplicaSets, namespaces or events, nothing can be created or
//! deleted, nothing is defaulted, and only the fields that a pod's template needs are known to be keyed
//! lists. The controllers' own writes of a status leave no trace in `managedFields`.

mod cluster;
mod controller;
mod failure;
mod objects;
mod ownership;
mod patch;
mod selector;
mod store;
mod watching;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, Query, Request, State},
    http::{
        HeaderMap, StatusCode,
        header::{AUTHORIZATION, CONTENT_TYPE},
    },
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, patch, post},
};
use serde_json::{Value, json};

pub(super) use self::cluster::Cluster;
use self::{
    failure::Failure,
    patch::{Patch, Style},
    selector::Selector,
    store::{Id, Kind},
    watching::{Watch, version},
};

/// What this server says it is.
const VERSION: &str = "v1.33.0+ringward-demo";

type Queried = Query<BTreeMap<String, String>>;

/// What every route is handed.
#[derive(Clone)]
struct Server {
    cluster: Arc<Cluster>,
    /// The one bearer token that is accepted.
    token: Arc<str>,
}

/// The API of one cluster.
pub(super) fn router(cluster: Arc<Cluster>, token: &str) -> Router {
    let server = Server { cluster, token: token.into() };
    let health = || async { "ok" };
    let mut routes = Router::new()
        .route("/livez", get(health))
        .route("/readyz", get(health))
        .route("/version", get(|| async { Json(about()) }))
        .route("/api", get(|| async { Json(json!({"kind": "APIVersions", "versions": ["v1"]})) }))
        .route("/apis", get(|| async { Json(groups()) }))
        .route("/api/v1/nodes", get(nodes))
        .route("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", post(review));
    for version in versions() {
        routes = routes.route(&base(version), get(move || async { Json(resources(version)) }));
    }
    for kind in Kind::ALL {
        let base = base(kind.api_version());
        let plural = kind.plural();
        let one = format!("{base}/namespaces/{{namespace}}/{plural}/{{name}}");
        let everywhere = get(move |server, query| list(kind, server, None, query));
        let within = get(move |server, Path(namespace): Path<String>, query| {
            list(kind, server, Some(namespace), query)
        });
        let object = get(move |server, Path(at)| read(kind, server, at));
        let object = match kind.is_written() {
            true => object.patch(move |server, at, query, headers, body| {
                write(kind, server, at, query, headers, body)
            }),
            false => object,
        };
        if !matches!(kind, Kind::Application | Kind::Pod) {
            let status = patch(move |server, at, body| write_status(kind, server, at, body));
            routes = routes.route(&format!("{one}/status"), status);
        }
        routes = routes
            .route(&format!("{base}/{plural}"), everywhere)
            .route(&format!("{base}/namespaces/{{namespace}}/{plural}"), within)
            .route(&one, object);
    }
    let routes = routes
        .method_not_allowed_fallback(|| async { Failure::method_not_allowed() })
        .fallback(|| async { (StatusCode::NOT_FOUND, "404 page not found\n") });
    let known = |known: bool| middleware::from_fn_with_state((server.clone(), known), authenticate);
    let by_path = routes.clone().layer(known(true)).with_state(server.clone());
    let by_header = routes.layer(known(false)).with_state(server.clone());
    by_header.nest(&path(token), by_path)
}

/// The path that carries the token.
pub(super) fn path(token: &str) -> String {
    format!("/as/{token}")
}

/// Lets in who shows the token, or shows none where they are `known` already.
async fn authenticate(
    State((server, known)): State<(Server, bool)>,
    request: Request,
    next: Next,
) -> Response {
    let open = ["/livez", "/readyz", "/version"].contains(&request.uri().path());
    let shown = match request.headers().get(AUTHORIZATION) {
        None => known,
        Some(value) => {
            let token = value.to_str().ok().and_then(|value| value.strip_prefix("Bearer "));
            token == Some(&*server.token)
        }
    };
    if open || shown { next.run(request).await } else { Failure::unauthorized().into_response() }
}

async fn read(
    kind: Kind,
    State(server): State<Server>,
    (namespace, name): (String, String),
) -> Result<Json<Arc<Value>>, Failure> {
    server.cluster.get(&Id { kind, namespace, name }).map(Json)
}

async fn list(
    kind: Kind,
    State(server): State<Server>,
    namespace: Option<String>,
    Query(query): Queried,
) -> Result<Response, Failure> {
    let said = |name: &str| query.get(name).map(String::as_str);
    let yes = |name: &str| matches!(said(name), Some("true" | "1"));
    let selector = Selector::new(said("labelSelector"), said("fieldSelector"))?;
    let from = version(said("resourceVersion").unwrap_or_default())?;
    if yes("watch") {
        let watch = Watch {
            kind,
            namespace,
            selector,
            from,
            initial_events: yes("sendInitialEvents"),
            bookmarks: yes("allowWatchBookmarks"),
            timeout: said("timeoutSeconds").and_then(|text| text.parse().ok()),
        };
        return Ok(watch.open(server.cluster));
    }
    // One page holds everything: a server may ignore `limit`, and there is little here.
    let (version, mut objects) = server.cluster.list(kind, namespace.as_deref());
    objects.retain(|object| selector.matches(object));
    let list = json!({
        "kind": format!("{}List", kind.name()),
        "apiVersion": kind.api_version(),
        "metadata": {"resourceVersion": version.to_string()},
        "items": objects,
    });
    Ok(Json(list).into_response())
}

/// The nodes' names and labels, as many at once as the query says.
async fn nodes(
    State(server): State<Server>,
    Query(query): Queried,
) -> Result<Json<Value>, Failure> {
    let number = |name: &str| query.get(name).and_then(|text| text.parse::<usize>().ok());
    let (all, from) = (server.cluster.nodes()?, number("continue").unwrap_or(0));
    let limit = number("limit").filter(|limit| *limit > 0).unwrap_or(usize::MAX);
    let next = from.saturating_add(limit);
    let page = all.iter().enumerate().skip(from).take(limit).map(|(i, region)| {
        let mut labels = json!({"kubernetes.io/os": "linux"});
        if let Some(region) = region {
            labels["topology.kubernetes.io/region"] = json!(region);
        }
        json!({
            "kind": "PartialObjectMetadata",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": {"name": format!("node-{}", i + 1), "labels": labels},
        })
    });
    Ok(Json(json!({
        "kind": "PartialObjectMetadataList",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {
            "resourceVersion": "1",
            "continue": if next < all.len() { next.to_string() } else { String::new() },
        },
        "items": page.collect::<Vec<_>>(),
    })))
}

/// Whether one may do what is asked about.
async fn review(
    State(server): State<Server>,
    Json(mut review): Json<Value>,
) -> (StatusCode, Json<Value>) {
    let asked = &review["spec"]["resourceAttributes"];
    let text = |name: &str| asked[name].as_str().unwrap_or_default();
    let asked_of = |kind: &Kind| (kind.group(), kind.plural()) == (text("group"), text("resource"));
    let verbs: &[&str] = match Kind::ALL.into_iter().find(asked_of) {
        Some(kind) if kind.is_written() => &["get", "list", "patch", "watch"],
        Some(_) => &["get", "list", "watch"],
        None if text("resource") == "nodes" && server.cluster.nodes().is_ok() => &["list"],
        None => &[],
    };
    let allowed = verbs.contains(&text("verb"));
    review["status"] = json!({"allowed": allowed});
    (StatusCode::CREATED, Json(review))
}

/// Changes a status, which only a merge patch can.
async fn write_status(
    kind: Kind,
    State(server): State<Server>,
    Path((namespace, name)): Path<(String, String)>,
    Json(body): Json<Value>,
) -> Result<Json<Arc<Value>>, Failure> {
    server.cluster.patch_status(&Id { kind, namespace, name }, &body).map(Json)
}

async fn write(
    kind: Kind,
    State(server): State<Server>,
    Path((namespace, name)): Path<(String, String)>,
    Query(query): Queried,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Arc<Value>>, Failure> {
    let said = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
    let form = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let style = match form.split(';').next().unwrap_or_default().trim() {
        "application/apply-patch+yaml" => Style::Apply,
        "application/merge-patch+json" => Style::Merge,
        "application/strategic-merge-patch+json" => Style::Strategic,
        _ => return Err(Failure::unsupported_media_type()),
    };
    let body = if style == Style::Apply {
        let required = "Required value: is required for apply patch";
        if said("fieldManager").is_empty() {
            let options = ("meta.k8s.io", "PatchOptions", "");
            return Err(Failure::invalid(options, "fieldManager", required));
        }
        configuration(kind, &body)?
    } else {
        let read: Result<Value, _> = serde_json::from_slice(&body);
        read.map_err(|error| Failure::bad_request(format!("error decoding patch: {error}")))?
    };
    if !body.is_object() {
        return Err(Failure::bad_request("the patch is not an object"));
    }
    let manager = match said("fieldManager") {
        "" => agent(&headers),
        name => name.into(),
    };
    let patch = Patch { style, manager, force: said("force") == "true", body };
    let id = Id { kind, namespace, name };
    server.cluster.patch(&id, &patch, said("dryRun") == "All").map(Json)
}

/// Reads an apply's body, YAML or JSON, and that it is meant for that kind.
fn configuration(kind: Kind, body: &[u8]) -> Result<Value, Failure> {
    let read: Result<Value, _> = serde_yaml::from_slice(body);
    let body =
        read.map_err(|error| Failure::bad_request(format!("error decoding YAML: {error}")))?;
    let said = body["apiVersion"].as_str().unwrap_or_default();
    if said != kind.api_version() {
        return Err(Failure::bad_request(format!(
            "Incorrect version specified in apply patch. Specified patch version: {said}, \
             expected: {}",
            kind.api_version()
        )));
    }
    Ok(body)
}

/// Who wrote, where the query does not say: the client's name up to its version.
fn agent(headers: &HeaderMap) -> String {
    let agent = headers.get("user-agent").and_then(|value| value.to_str().ok());
    let name = agent.and_then(|text| text.split(['/', ' ']).next()).filter(|name| !name.is_empty());
    name.unwrap_or("unknown").into()
}

fn about() -> Value {
    json!({"major": "1", "minor": "33", "gitVersion": VERSION, "platform": "loopback"})
}

/// Every version of a group that there is.
fn versions() -> BTreeSet<&'static str> {
    Kind::ALL.map(Kind::api_version).into()
}

/// Where a version's resources are found.
fn base(version: &str) -> String {
    if version.contains('/') { format!("/apis/{version}") } else { format!("/api/{version}") }
}

fn groups() -> Value {
    let groups = versions().into_iter().filter_map(|version| version.split_once('/'));
    let groups = groups.map(|(group, version)| {
        let version = json!({"groupVersion": format!("{group}/{version}"), "version": version});
        json!({"name": group, "versions": [version], "preferredVersion": version})
    });
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups.collect::<Vec<_>>()})
}

/// What discovery tells, so that `kubectl get` and `kubectl set image` work too.
fn resources(version: &str) -> Value {
    let kinds = Kind::ALL.into_iter().filter(|kind| kind.api_version() == version);
    let resources = kinds.map(|kind| {
        let verbs = match kind.is_written() {
            true => json!(["get", "list", "patch", "watch"]),
            false => json!(["get", "list", "watch"]),
        };
        json!({
            "name": kind.plural(),
            "singularName": kind.name().to_lowercase(),
            "namespaced": true,
            "kind": kind.name(),
            "verbs": verbs,
            "shortNames": [kind.short()],
        })
    });
    json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": version,
        "resources": resources.collect::<Vec<_>>(),
    })
}
