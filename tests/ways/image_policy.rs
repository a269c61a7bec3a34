//! A Flux `ImagePolicy` of a cluster on loopback.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use ringward::config::ConnectionSettings;
use serde_json::{Value, json};

use crate::{Service, facts, there};

/// What the policy's controller has written, and the version that it is served in.
type Policy = Arc<Mutex<(Value, &'static str)>>;

async fn policy(
    State(policy): State<Policy>,
    Path((version, namespace, name)): Path<(String, String, String)>,
) -> Response {
    let (status, served) = policy.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if version != served {
        return (StatusCode::NOT_FOUND, "404 page not found").into_response();
    }
    let here = (namespace.as_str(), name.as_str()) == ("flux-system", "shop");
    if !here {
        let gone = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
            "message": "not found", "reason": "NotFound", "code": 404});
        return (StatusCode::NOT_FOUND, Json(gone)).into_response();
    }
    Json(json!({
        "apiVersion": format!("image.toolkit.fluxcd.io/{version}"), "kind": "ImagePolicy",
        "metadata": {"name": name, "namespace": namespace}, "status": status,
    }))
    .into_response()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_image_policy_has_chosen_becomes_a_release_with_its_digest_alone() {
    let chosen: Policy = Arc::new(Mutex::new((json!({}), "v1beta2")));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let path =
        "/apis/image.toolkit.fluxcd.io/{version}/namespaces/{namespace}/imagepolicies/{name}";
    let router = Router::new().route(path, get(policy)).with_state(chosen.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });

    let mut service = Service::prepare().await;
    let kubeconfig = service.path().join("flux.kubeconfig");
    let text = format!(
        "apiVersion: v1
kind: Config
clusters: [{{name: flux, cluster: {{server: 'http://127.0.0.1:{port}'}}}}]
users: [{{name: nobody, user: {{}}}}]
contexts: [{{name: flux, context: {{cluster: flux, user: nobody}}}}]
"
    );
    std::fs::write(&kubeconfig, text).expect("a file");
    let documents = "apiVersion: ringward.dev/v1alpha1
kind: ReleaseSource
metadata: {name: flux}
spec:
  plan: checkout
  interval: 10s
  imagePolicy: {cluster: flux, namespace: flux-system, name: shop}
";
    let cluster = "apiVersion: ringward.dev/v1alpha1
kind: Cluster
metadata: {name: flux}
spec: {region: eu-west-1, jurisdiction: IE}
";
    let source = service.path().join("source");
    std::fs::create_dir_all(source.join("releases")).expect("a folder");
    std::fs::write(source.join("releases/flux.yaml"), documents).expect("a file");
    std::fs::write(source.join("rings/flux.yaml"), cluster).expect("a file");
    let mut settings = service.settings();
    let connection =
        ConnectionSettings { kubeconfig: Some(kubeconfig), ..ConnectionSettings::default() };
    settings.connections.insert("flux".into(), connection);
    let client = service.start(settings).await;

    let choose = |status: Value, version| {
        *chosen.lock().unwrap_or_else(PoisonError::into_inner) = (status, version);
    };
    let digest = |digit: &str| format!("sha256:{}", digit.repeat(64));
    let name = "registry.example/shop/checkout";
    choose(json!({"latestImage": format!("{name}:1.0.0@{}", digest("1"))}), "v1beta2");
    let shown = there(&client, "checkout", "1.0.0").await;
    assert_eq!(shown["artifact"], format!("{name}@{}", digest("1")));
    assert_eq!(shown["by"], "watch:flux");
    // A tag alone is no release: what it stands for is not known. With its digest it is one.
    choose(json!({"latestRef": {"name": name, "tag": "1.1.0"}}), "v1");
    let metrics = "/metrics";
    let failed = r#"ringward_release_source_looks_total{outcome="failed",source="flux"} 0"#;
    let seen = async {
        while String::from_utf8_lossy(&client.text(metrics).await).contains(failed) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), seen).await.expect("it fails");
    let reference =
        |digit| json!({"latestRef": {"name": name, "tag": "1.1.0", "digest": digest(digit)}});
    choose(reference("2"), "v1");
    there(&client, "checkout", "1.1.0").await;
    choose(reference("3"), "v1");
    there(&client, "checkout", "1.1.0+sha256.333333333333").await;
    assert_eq!(facts(&client, "submitted").await.len(), 3);
    service.stop().await;
}
