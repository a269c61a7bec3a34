//! Tags of a registry on loopback: one that behaves, and ones that do not.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    Router,
    extract::{Path, Query, State},
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::any,
};
use reqwest::header;
use ringward::{
    act::{
        cluster::Kubeconfigs,
        releases::{Look as _, Newest, NoRegistry, Places, Trouble},
    },
    config::{BasicAuth, RegistrySettings},
    model::{
        source::{From, Order, ReleaseSource, Repository, Tags},
        time::Span,
    },
};
use serde_json::json;

use crate::{Service, facts, there};

/// The password that the realm asks for; no word of ringward's may ever contain it.
const PASSWORD: &str = "canary-pull-41c7";

/// How the registry behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Good,
    /// No header tells a digest.
    Silent,
    /// The header tells one that is none.
    Lying,
    Busy,
    Broken,
    Elsewhere,
    NextElsewhere,
    Endless,
    Garbage,
    Huge,
    Gone,
    /// Sends for a token to where no password goes.
    Realm(&'static str),
    /// Hands out no token.
    Tokenless,
    /// Takes no token that it handed out.
    Closed,
}

/// A registry and its realm on one port.
#[derive(Debug)]
struct Registry {
    manner: Mutex<Manner>,
    /// Tags, each with the digit that its digest is made of.
    tags: Mutex<BTreeMap<String, char>>,
    /// Digests that were asked for.
    asked: Mutex<usize>,
    port: u16,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Registry {
    async fn start(manner: Manner) -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let tags = [("1.0.0", '1'), ("1.1.0", '2'), ("latest", '3')];
        let tags = tags.map(|(tag, digit)| (tag.to_owned(), digit)).into();
        let registry = Self {
            manner: Mutex::new(manner),
            tags: Mutex::new(tags),
            asked: Mutex::default(),
            port,
        };
        let registry = Arc::new(registry);
        let router = Router::new()
            .route("/token", any(token))
            .route("/v2/shop/checkout/tags/list", any(list))
            .route("/v2/shop/checkout/manifests/{tag}", any(manifest))
            .with_state(registry.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        registry
    }

    fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn tag(&self, tag: &str, digit: char) {
        lock(&self.tags).insert(tag.into(), digit);
    }

    /// What the settings say of it.
    fn settings(&self, folder: &std::path::Path) -> BTreeMap<String, RegistrySettings> {
        let password_file = folder.join("registry.password");
        std::fs::write(&password_file, PASSWORD).expect("a file");
        let basic = Some(BasicAuth { username: "puller".into(), password_file });
        let url = Some(format!("http://{}", self.host()));
        [(self.host(), RegistrySettings { url, basic, ca_file: None })].into()
    }

    fn behave(&self) -> Manner {
        *lock(&self.manner)
    }
}

type Of = State<Arc<Registry>>;

async fn token(
    State(registry): Of,
    headers: HeaderMap,
    Query(asked): Query<BTreeMap<String, String>>,
) -> Response {
    // puller and the password, as every library encodes them.
    let shown = headers.get(header::AUTHORIZATION).and_then(|text| text.to_str().ok());
    if shown != Some("Basic cHVsbGVyOmNhbmFyeS1wdWxsLTQxYzc=") {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    assert_eq!(asked["scope"], "repository:shop/checkout:pull");
    assert_eq!(asked["service"], "loopback");
    let tokenless = registry.behave() == Manner::Tokenless;
    let token = if tokenless { "canary\r\nx: y" } else { "granted" };
    axum::Json(json!({"token": token, "expires_in": 300})).into_response()
}

/// Asks for a token, or misbehaves.
fn admitted(registry: &Registry, headers: &HeaderMap) -> Result<(), Response> {
    let realm = if let Manner::Realm(realm) = registry.behave() {
        realm.to_owned()
    } else {
        format!("http://{}/token", registry.host())
    };
    let challenge = format!(r#"Bearer realm="{realm}",service="loopback",scope="repository:*:*""#);
    let open = headers.get(header::AUTHORIZATION).is_some_and(|text| text == "Bearer granted");
    if !open || registry.behave() == Manner::Closed {
        let challenge = [(header::WWW_AUTHENTICATE, challenge)];
        return Err((StatusCode::UNAUTHORIZED, challenge, "canary").into_response());
    }
    match registry.behave() {
        Manner::Busy => {
            let later = [(header::RETRY_AFTER, "7")];
            Err((StatusCode::TOO_MANY_REQUESTS, later, "canary").into_response())
        }
        Manner::Broken => Err((StatusCode::INTERNAL_SERVER_ERROR, "canary").into_response()),
        Manner::Elsewhere => {
            let place = [(header::LOCATION, "http://127.0.0.1:1/canary")];
            Err((StatusCode::TEMPORARY_REDIRECT, place).into_response())
        }
        Manner::Gone => Err((StatusCode::NOT_FOUND, "canary").into_response()),
        Manner::Garbage => Err("canary".into_response()),
        Manner::Huge => Err("x".repeat(2 * 1024 * 1024).into_response()),
        Manner::Good
        | Manner::Silent
        | Manner::Lying
        | Manner::NextElsewhere
        | Manner::Endless
        | Manner::Realm(_)
        | Manner::Tokenless
        | Manner::Closed => Ok(()),
    }
}

/// Two tags a page.
async fn list(
    State(registry): Of,
    headers: HeaderMap,
    Query(asked): Query<BTreeMap<String, String>>,
    uri: Uri,
) -> Response {
    if let Err(answer) = admitted(&registry, &headers) {
        return answer;
    }
    let last = asked.get("last").cloned().unwrap_or_default();
    let tags = lock(&registry.tags).clone();
    let rest: Vec<_> = tags.into_keys().filter(|tag| *tag > last).collect();
    let page = &rest[..rest.len().min(2)];
    let mut answer = HeaderMap::new();
    let more = rest.len() > 2;
    let next = if registry.behave() == Manner::NextElsewhere {
        Some("http://127.0.0.1:1/v2/shop/checkout/tags/list".to_owned())
    } else if registry.behave() == Manner::Endless {
        Some(uri.to_string())
    } else {
        more.then(|| format!("/v2/shop/checkout/tags/list?n=2&last={}", page[1]))
    };
    if let Some(next) = next {
        let link = format!(r#"<{next}>; rel="next""#);
        answer.insert(header::LINK, link.parse().expect("a header"));
    }
    (answer, axum::Json(json!({"name": "shop/checkout", "tags": page}))).into_response()
}

async fn manifest(
    State(registry): Of,
    method: Method,
    headers: HeaderMap,
    Path(tag): Path<String>,
) -> Response {
    if let Err(answer) = admitted(&registry, &headers) {
        return answer;
    }
    let accepts = headers[header::ACCEPT].to_str().expect("text");
    for kind in ["oci.image.index.v1", "manifest.list.v2", "oci.image.manifest.v1", "manifest.v2"] {
        assert!(accepts.contains(kind), "{accepts}");
    }
    *lock(&registry.asked) += 1;
    let Some(digit) = lock(&registry.tags).get(&tag).copied() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    if registry.behave() == Manner::Silent {
        return if method == Method::HEAD { ().into_response() } else { "abc".into_response() };
    }
    let lying = registry.behave() == Manner::Lying;
    let told = if lying { "sha256:canary".into() } else { digest(digit) };
    [("docker-content-digest", told)].into_response()
}

fn digest(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

/// One look at that registry.
async fn look(manner: Manner) -> Result<Option<Newest>, Trouble> {
    let registry = Registry::start(manner).await;
    let folder = tempfile::tempdir().expect("a folder");
    look_at(&registry, registry.settings(folder.path())).await
}

async fn look_at(
    registry: &Registry,
    settings: BTreeMap<String, RegistrySettings>,
) -> Result<Option<Newest>, Trouble> {
    let clock = Arc::new(ringward::clock::SystemClock::new(ringward::model::time::Mono(0)));
    let clusters = Arc::new(Kubeconfigs::new(BTreeMap::new()));
    let places = Places::new(settings, clusters, clock).expect("registries");
    let image = format!("{}/shop/checkout", registry.host());
    let image = Repository::read(&image).expect("a repository");
    let range = ringward::model::semver::Range::read(">=1.0.0").expect("a range");
    let tags = Tags { image, filter: None, order: Order::Semver(range) };
    let source = ReleaseSource {
        name: "checkout".into(),
        plan: "checkout".into(),
        from: From::Registry(tags),
        interval: Span::seconds(10),
    };
    places.look(&source).await
}

#[tokio::test]
async fn the_newest_tag_is_found_behind_a_token_and_over_pages() {
    let newest = look(Manner::Good).await.expect("an answer").expect("a tag");
    assert_eq!(newest.tag, "1.1.0");
    let image = newest.artifact.0;
    assert!(image.ends_with(&format!("/shop/checkout@{}", digest('2'))), "{image}");
    // Where no header tells it, the digest is that of the manifest's bytes.
    let newest = look(Manner::Silent).await.expect("an answer").expect("a tag");
    let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(newest.artifact.digest(), Some(abc));
}

#[tokio::test]
async fn whatever_a_registry_does_is_told_without_a_word_of_its_own() {
    for (manner, says) in [
        (Manner::Lying, "tells no digest of tag 1.1.0"),
        (Manner::Busy, "asked too often (429)"),
        (Manner::Broken, "cannot answer now (status 500)"),
        (Manner::Elsewhere, "from elsewhere, where it is not followed"),
        (Manner::NextElsewhere, "its next page is elsewhere"),
        (Manner::Endless, "more than 100 pages"),
        (Manner::Garbage, "no list of tags"),
        (Manner::Huge, "longer than 1024 KiB"),
        (Manner::Gone, "no such repository (404)"),
        (Manner::Realm("ftp://127.0.0.1/token"), "no place for a password"),
        (Manner::Realm("http://u:p@127.0.0.1/token"), "no place for a password"),
        (Manner::Realm("http://169.254.169.254/token"), "never asked"),
        (Manner::Realm("http://[::ffff:169.254.169.254]/token"), "never asked"),
        (Manner::Tokenless, "no token"),
        (Manner::Closed, "does not let us in"),
    ] {
        let trouble = look(manner).await.expect_err("a trouble");
        assert!(trouble.why.contains(says), "{manner:?}: {trouble:?}");
        assert!(!trouble.why.contains("canary"), "{manner:?}: {trouble:?}");
        let waits = (manner == Manner::Busy).then_some(Span::seconds(7));
        assert_eq!(trouble.wait, waits, "{manner:?}");
    }
}

#[tokio::test]
async fn who_is_not_known_is_told_what_to_do() {
    let registry = Registry::start(Manner::Good).await;
    let trouble = look_at(&registry, BTreeMap::new()).await.expect_err("a stranger");
    assert!(trouble.why.contains("give it under `registries`"), "{trouble:?}");
    let url = Some(format!("http://{}", registry.host()));
    let nobody = RegistrySettings { url, ..RegistrySettings::default() };
    let settings = BTreeMap::from([(registry.host(), nobody)]);
    let trouble = look_at(&registry, settings).await.expect_err("nobody is let in");
    assert!(trouble.why.contains("does not let us in"), "{trouble:?}");
    for url in ["ftp://x", "http://u:p@x", "http://169.254.169.254"] {
        let odd = RegistrySettings { url: Some(url.into()), ..RegistrySettings::default() };
        let clusters = Arc::new(Kubeconfigs::new(BTreeMap::new()));
        let clock = Arc::new(ringward::clock::SystemClock::new(ringward::model::time::Mono(0)));
        let refused = Places::new([("x".to_owned(), odd)].into(), clusters, clock);
        assert!(matches!(refused, Err(NoRegistry::Url { .. })), "{url}");
    }
}

/// Until the registry was looked at twice more: the second look is after what is true now.
async fn looked_at(registry: &Registry) {
    let until = *lock(&registry.asked) + 2;
    let waited = async {
        while *lock(&registry.asked) < until {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), waited).await.expect("looks");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_tag_and_a_moved_one_become_releases_and_each_of_them_once() {
    let registry = Registry::start(Manner::Good).await;
    let mut service = Service::prepare().await;
    let source = format!(
        "apiVersion: ringward.dev/v1alpha1
kind: ReleaseSource
metadata: {{name: images}}
spec:
  plan: checkout
  interval: 10s
  registry:
    image: {}/shop/checkout
    policy: {{semver: {{range: '>=1.0.0'}}}}
",
        registry.host()
    );
    let folder = service.path().join("source/releases");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("images.yaml"), source).expect("a file");
    let mut settings = service.settings();
    settings.registries = registry.settings(service.path());
    let client = service.start(settings.clone()).await;

    let shown = there(&client, "checkout", "1.1.0").await;
    let image = |digit| format!("{}/shop/checkout@{}", registry.host(), digest(digit));
    assert_eq!(shown["artifact"], image('2'));
    assert_eq!((&shown["author"], &shown["by"]), (&json!("watch:images"), &json!("watch:images")));

    // A tag that is moved is a version of its own, named by where it was moved to.
    registry.tag("1.1.0", '4');
    let shown = there(&client, "checkout", "1.1.0+sha256.444444444444").await;
    assert_eq!(shown["artifact"], image('4'));
    // Moved back it is what was released already.
    registry.tag("1.1.0", '2');
    looked_at(&registry).await;
    registry.tag("1.2.0", '5');
    there(&client, "checkout", "1.2.0").await;

    // A registry that has lost its newest tags takes the plan back to nothing.
    lock(&registry.tags).retain(|tag, _| tag == "1.0.0");
    registry.tag("1.0.5", '6');
    looked_at(&registry).await;
    service.stop().await;

    let client = service.start(settings).await;
    looked_at(&registry).await;
    registry.tag("1.3.0", '7');
    there(&client, "checkout", "1.3.0").await;
    let made: Vec<_> = facts(&client, "submitted").await;
    let made: Vec<_> = made.iter().map(|fact| fact["release"].as_str().expect("a name")).collect();
    let expected = ["1.1.0", "1.1.0+sha256.444444444444", "1.2.0", "1.3.0"];
    assert_eq!(made, expected.map(|version| format!("checkout@{version}")));
    assert!(facts(&client, "refused").await.is_empty());
    let metrics = String::from_utf8(client.text("/metrics").await).expect("text");
    let looks = r#"ringward_release_source_looks_total{outcome="looked",source="images"}"#;
    assert!(metrics.contains(looks), "{metrics}");
    service.stop().await;
}
