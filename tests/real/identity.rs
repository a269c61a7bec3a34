//! Identities that others vouch for: a real OpenID provider, and a real cluster's ServiceAccounts.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use ::kube::{Api, api::PostParams};
use jiff::Timestamp;
use k8s_openapi::api::{
    authentication::v1::TokenRequest,
    core::v1::{Namespace, ServiceAccount},
};
use reqwest::{Method, StatusCode};
use ringward::{
    app::{self, Running},
    clock::{Clock, SystemClock},
    config::{AuthSettings, Settings, SourceSettings},
    model::time::Mono,
};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::{
    common::Client,
    support::{ADMIN_TOKEN, Program, assets, clusters, free_ports},
};

const AUDIENCE: &str = "https://ringward.example";

/// A service that has nothing to do, and lets in whom `auth` says.
async fn serve(folder: &std::path::Path, auth: Value, speed: f64) -> Running {
    let source = folder.join("source");
    fs::create_dir_all(source.join("rings")).expect("a folder");
    let auth: AuthSettings = serde_json::from_value(auth).expect("settings");
    let settings = Settings {
        listen: ([127, 0, 0, 1], 0).into(),
        data: folder.join("data"),
        source: SourceSettings { path: Some(source), ..SourceSettings::default() },
        auth,
        ..Settings::default()
    };
    let wall: Timestamp = SystemClock::new(Mono(0)).now().wall;
    app::start(settings, move |base| -> Arc<dyn Clock> {
        if speed > 1.0 {
            Arc::new(SystemClock::compressed(wall, base, speed))
        } else {
            Arc::new(SystemClock::new(base))
        }
    })
    .await
    .expect("it starts")
}

async fn status(running: &Running, token: &str, method: Method, path: &str, body: Value) -> u16 {
    let client = Client::new(running.address, token);
    let body = (!body.is_null()).then_some(body);
    client.ask(method, path, &[], body).await.expect("an answer").status.as_u16()
}

async fn look(running: &Running, token: &str) -> u16 {
    status(running, token, Method::GET, "/v1/plans", Value::Null).await
}

/// The folder in which `npm ci` was run over `tests/real/oidc`.
fn provider() -> Option<PathBuf> {
    let folder = std::env::var_os("OIDC_PROVIDER").map(PathBuf::from);
    if folder.is_none() {
        let required = std::env::var("RINGWARD_REAL").is_ok_and(|value| value == "required");
        assert!(!required, "RINGWARD_REAL=required, and OIDC_PROVIDER is not set");
        println!("skipped: OIDC_PROVIDER is not set");
    }
    folder
}

/// An access token for a resource, as a pipeline gets it.
async fn access_token(issuer: &str, resource: &str) -> String {
    let form = format!("grant_type=client_credentials&scope=api&resource={resource}");
    let asked = reqwest::Client::new()
        .post(format!("{issuer}/token"))
        .basic_auth("pipeline", Some("a-secret-of-the-tests"))
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(form);
    let answer = asked.send().await.expect("an answer");
    let answer: Value = answer.json().await.expect("a token");
    answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_openid_provider_vouches_for_a_pipeline() {
    let Some(folder) = provider() else { return };
    let scratch = tempfile::tempdir().expect("a folder");
    let [port] = free_ports();
    let issuer = format!("http://127.0.0.1:{port}");
    let script = folder.join("provider.mjs").display().to_string();
    let node = Program::start(scratch.path(), "node".as_ref(), &[script, port.to_string()]);
    let ready = async {
        let url = format!("{issuer}/.well-known/openid-configuration");
        while reqwest::get(&url).await.is_err() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(30), ready).await.expect("the provider starts");

    let auth = json!({"oidc": {
        "issuer": issuer, "audience": AUDIENCE,
        "bindings": [{"group": "deployers", "roles": ["operator"]}],
    }});
    let running = serve(scratch.path(), auth, 1.0).await;
    let token = access_token(&issuer, AUDIENCE).await;
    assert_eq!(look(&running, &token).await, 200);
    let freeze = json!({"scope": {}, "reason": "by a pipeline"});
    assert_eq!(status(&running, &token, Method::POST, "/v1/freezes", freeze).await, 201);
    let backup = status(&running, &token, Method::GET, "/v1/backup", Value::Null).await;
    assert_eq!(backup, 403, "an operator is no administrator");
    let audit = Client::new(running.address, &token).ask(Method::GET, "/v1/audit", &[], None).await;
    let audit = audit.expect("an answer").good().to_string();
    assert!(audit.contains(r#""name":"pipeline""#), "{audit}");

    let other = access_token(&issuer, "https://elsewhere.example").await;
    assert_eq!(look(&running, &other).await, 401, "it is for somebody else");
    let mut spoiled = token.clone();
    let at = spoiled.len() - 20;
    let letter = if spoiled.as_bytes()[at] == b'A' { "B" } else { "A" };
    spoiled.replace_range(at..=at, letter);
    assert_eq!(look(&running, &spoiled).await, 401);
    // Who is known stays known while the provider is away.
    drop(node);
    assert_eq!(look(&running, &token).await, 200);
    running.stop().await;
}

async fn account_token(client: &::kube::Client, name: &str, audience: Option<&str>) -> String {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "identity");
    let audiences = audience.map(|audience| vec![audience]);
    let request =
        json!({"spec": {"audiences": audiences.unwrap_or_default(), "expirationSeconds": 600}});
    let request: TokenRequest = serde_json::from_value(request).expect("a request");
    let made = accounts.create_token_request(name, &PostParams::default(), &request).await;
    made.expect("a token").status.expect("a status").token
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_cluster_vouches_for_its_service_accounts() {
    if assets().is_none() {
        return;
    }
    let [cluster, _] = clusters().await.expect("its programs are there");
    let client = cluster.client().await;
    let space = serde_json::from_value(json!({"metadata": {"name": "identity"}}));
    let space: Namespace = space.expect("a namespace");
    Api::all(client.clone()).create(&PostParams::default(), &space).await.expect("a namespace");
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "identity");
    for name in ["deployer", "stranger"] {
        let account = serde_json::from_value(json!({"metadata": {"name": name}}));
        accounts.create(&PostParams::default(), &account.expect("one")).await.expect("an account");
    }
    let scratch = tempfile::tempdir().expect("a folder");
    let auth = |context: &str| {
        json!({"kubernetes": {
            "kubeconfig": cluster.kubeconfig(), "context": context, "audiences": [AUDIENCE],
            "bindings": [
                {"serviceAccount": "identity/deployer", "roles": ["operator"], "plans": ["checkout"]},
                {"group": "system:serviceaccounts:identity", "roles": ["viewer"], "plans": ["search"]},
            ],
        }})
    };
    // Half a minute, for which the cluster is believed, is over in half a second.
    let running = serve(scratch.path(), auth(cluster.context()), 60.0).await;
    let deployer = account_token(&client, "deployer", Some(AUDIENCE)).await;
    let stranger = account_token(&client, "stranger", Some(AUDIENCE)).await;
    assert_eq!(look(&running, &deployer).await, 200);
    assert_eq!(look(&running, &stranger).await, 200);
    let pause = |plan: &str| format!("/v1/plans/{plan}/pause");
    let ask = async |token: &str, plan: &str| {
        status(&running, token, Method::POST, &pause(plan), json!({})).await
    };
    // There is no such plan, which is told to those alone who may pause it.
    assert_eq!(ask(&deployer, "checkout").await, 404);
    assert_eq!(ask(&deployer, "search").await, 403);
    assert_eq!(ask(&stranger, "search").await, 403);
    let facts = Client::new(running.address, common_admin(&running)).facts().await;
    let audit = format!("{facts:?}");
    assert!(audit.contains("serviceaccount.identity.deployer"), "{audit}");

    // The same token opens the dashboard, as long as the cluster vouches for it.
    let cookie = sign_in(&running, &deployer).await.expect("a session");
    assert!(page(&running, &cookie).await.contains("serviceaccount.identity.deployer"));
    assert_eq!(sign_in(&running, ADMIN_TOKEN).await, None);

    assert_eq!(look(&running, &account_token(&client, "deployer", None).await).await, 401);
    assert_eq!(look(&running, ADMIN_TOKEN).await, 401, "the cluster's own administrator");
    assert_eq!(look(&running, "eyJhbGciOiJub25lIn0.e30.").await, 401);
    accounts.delete("deployer", &::kube::api::DeleteParams::default()).await.expect("it goes");
    let gone = async {
        while look(&running, &deployer).await != 401 {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(20), gone).await.expect("it is believed for a while only");
    assert!(!page(&running, &cookie).await.contains("serviceaccount.identity.deployer"));
    running.stop().await;

    // Who may not ask the cluster cannot tell, which is nobody's fault who asks.
    let running = serve(scratch.path(), auth(&cluster.nobody()), 1.0).await;
    assert_eq!(look(&running, &stranger).await, StatusCode::SERVICE_UNAVAILABLE.as_u16());
    running.stop().await;
}

/// Signs in on the dashboard; the session's cookie, where the token opens it.
async fn sign_in(running: &Running, token: &str) -> Option<String> {
    let url = format!("http://{}/login", running.address);
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    let form = reqwest::Url::parse_with_params("http://form", [("token", token)]).expect("a form");
    let body = form.query().expect("a token").to_owned();
    let answer = client.build().expect("a client").post(url).body(body).send().await;
    let answer = answer.expect("an answer");
    let cookie = answer.headers().get("set-cookie")?.to_str().expect("text");
    Some(cookie.split(';').next().expect("a cookie").to_owned())
}

/// The first page, as that session shows it.
async fn page(running: &Running, cookie: &str) -> String {
    let url = format!("http://{}/", running.address);
    let answer = reqwest::Client::new().get(url).header("cookie", cookie).send().await;
    answer.expect("an answer").text().await.expect("a page")
}

fn common_admin(running: &Running) -> String {
    super::common::admin_token(&running.data)
}
