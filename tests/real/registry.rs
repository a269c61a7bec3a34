//! Against Debian's docker-registry (the distribution project's), behind a password.

use std::{collections::BTreeMap, env, fs, path::PathBuf, sync::Arc, time::Duration};

use reqwest::{Client, RequestBuilder, StatusCode, header};
use ringward::{
    act::{
        cluster::Kubeconfigs,
        releases::{Look as _, Places},
    },
    clock::SystemClock,
    config::{BasicAuth, RegistrySettings},
    model::{
        semver::Range,
        source::{From, Order, ReleaseSource, Repository, Tags},
        time::{Mono, Span},
    },
};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::{prometheus::free_port, support::Program};

const PASSWORD: &str = "canary-pull-41c7";
/// What htpasswd makes of it by bcrypt.
const HASHED: &str = "puller:$2b$04$Oqck2InscJlkBWe0N0GeH.7ggdRv7m55b31wGE.uv9pYGPRc8gJpu";

/// Where the program is: `DOCKER_REGISTRY`, or the PATH; None where the test is to be skipped.
fn program() -> Option<PathBuf> {
    let named = env::var_os("DOCKER_REGISTRY").map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    let found = named.or_else(|| {
        env::split_paths(&path).map(|dir| dir.join("docker-registry")).find(|file| file.is_file())
    });
    if found.is_none() {
        let required = env::var("RINGWARD_REAL").is_ok_and(|v| v == "required");
        assert!(!required, "docker-registry is not installed, and RINGWARD_REAL=required");
        println!("skipped: docker-registry is not installed");
    }
    found
}

/// A repository of it, as somebody pushes to it.
struct Pusher {
    http: Client,
    base: String,
}

impl Pusher {
    fn signed(&self, request: RequestBuilder) -> RequestBuilder {
        request.basic_auth("puller", Some(PASSWORD))
    }

    async fn blob(&self, bytes: &[u8]) -> String {
        let digest = digest(bytes);
        let begun = self.signed(self.http.post(format!("{}/blobs/uploads/", self.base)));
        let begun = begun.send().await.expect("an answer");
        assert_eq!(begun.status(), StatusCode::ACCEPTED);
        let place = begun.headers()[header::LOCATION].to_str().expect("text").to_owned();
        let put = self.http.put(place).query(&[("digest", &digest)]).body(bytes.to_vec());
        let put = self.signed(put).send().await.expect("an answer");
        assert_eq!(put.status(), StatusCode::CREATED);
        digest
    }

    /// Pushes an image of one layer, and returns its digest.
    async fn push(&self, tag: &str, layer: &str) -> String {
        let config = json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}});
        let config = config.to_string();
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({
            "schemaVersion": 2, "mediaType": kind,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "size": config.len(),
                "digest": self.blob(config.as_bytes()).await},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "size": layer.len(),
                "digest": self.blob(layer.as_bytes()).await}],
        });
        let manifest = manifest.to_string();
        let put = self.http.put(format!("{}/manifests/{tag}", self.base));
        let put = put.header(header::CONTENT_TYPE, kind).body(manifest.clone());
        let put = self.signed(put).send().await.expect("an answer");
        assert_eq!(put.status(), StatusCode::CREATED);
        digest(manifest.as_bytes())
    }
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

#[tokio::test]
async fn tags_are_listed_and_their_digests_are_told_as_they_move() {
    let Some(program) = program() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let port = free_port();
    fs::write(at("users"), HASHED).expect("a file");
    let config = format!(
        "version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {}}}}}
http: {{addr: '127.0.0.1:{port}'}}
auth: {{htpasswd: {{realm: ringward, path: {}}}}}
",
        at("data").display(),
        at("users").display()
    );
    fs::write(at("config.yml"), config).expect("a file");
    let arguments = ["serve".to_owned(), at("config.yml").display().to_string()];
    let _registry = Program::start(folder.path(), &program, &arguments);
    let http = Client::builder().no_proxy().build().expect("a client");
    let mut tries = 0;
    while http.get(format!("http://127.0.0.1:{port}/v2/")).send().await.is_err() {
        tries += 1;
        assert!(tries < 200, "docker-registry does not answer");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let host = format!("127.0.0.1:{port}");
    let pusher = Pusher { http, base: format!("http://{host}/v2/shop/checkout") };

    fs::write(at("password"), PASSWORD).expect("a file");
    let places = |basic: Option<BasicAuth>| {
        let settings =
            RegistrySettings { url: Some(format!("http://{host}")), basic, ca_file: None };
        let clusters = Arc::new(Kubeconfigs::new(BTreeMap::new()));
        let clock = Arc::new(SystemClock::new(Mono(0)));
        Places::new([(host.clone(), settings)].into(), clusters, clock).expect("a registry")
    };
    let known =
        places(Some(BasicAuth { username: "puller".into(), password_file: at("password") }));
    let image = Repository::read(&format!("{host}/shop/checkout")).expect("a repository");
    let order = Order::Semver(Range::read("^2").expect("a range"));
    let source = ReleaseSource {
        name: "checkout".into(),
        plan: "checkout".into(),
        from: From::Registry(Tags { image, filter: None, order }),
        interval: Span::minutes(5),
    };
    let trouble = known.look(&source).await.expect_err("nothing was pushed");
    assert!(trouble.why.contains("no such repository"), "{trouble:?}");

    pusher.push("1.9.0", "old").await;
    assert_eq!(known.look(&source).await, Ok(None), "nothing of that range");
    let first = pusher.push("2.9.0", "one").await;
    // More tags than the registry lists at once where it is asked for few; ringward asks for a thousand.
    for patch in 0..8 {
        pusher.push(&format!("2.8.{patch}"), "before").await;
    }
    let pinned = |digest: &str| format!("{host}/shop/checkout@{digest}");
    let newest = known.look(&source).await.expect("an answer").expect("a tag");
    assert_eq!((newest.tag.as_str(), newest.artifact.0.clone()), ("2.9.0", pinned(&first)));
    let moved = pusher.push("2.9.0", "another").await;
    let newest = known.look(&source).await.expect("an answer").expect("a tag");
    assert_eq!((newest.tag.as_str(), newest.artifact.0.clone()), ("2.9.0", pinned(&moved)));
    let later = pusher.push("2.10.0", "later").await;
    let newest = known.look(&source).await.expect("an answer").expect("a tag");
    assert_eq!((newest.tag.as_str(), newest.artifact.0.clone()), ("2.10.0", pinned(&later)));

    let trouble = places(None).look(&source).await.expect_err("nobody is let in");
    assert!(trouble.why.contains("does not let us in"), "{trouble:?}");
    fs::write(at("password"), "another").expect("a file");
    let trouble = known.look(&source).await.expect_err("a wrong password");
    assert!(trouble.why.contains("does not let us in"), "{trouble:?}");
}
