//! A real OpenID provider, and a service that lets people sign in there. They are two sites to a browser,
//! `127.0.0.1` and `localhost`, so that cookies are kept from each other as they are anywhere.

use std::{
    env, fs,
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::json;

/// Both, while they run.
pub struct Provided {
    children: Vec<Child>,
    server: u16,
    _folder: tempfile::TempDir,
}

impl Provided {
    /// Starts them; nothing where there is no provider and none is required.
    pub fn start() -> Option<Self> {
        let Some(provider) = env::var_os("OIDC_PROVIDER").map(PathBuf::from) else {
            let required = env::var("RINGWARD_REAL").is_ok_and(|real| real == "required");
            assert!(!required, "RINGWARD_REAL=required, and OIDC_PROVIDER is not set");
            eprintln!("skipped: OIDC_PROVIDER is not set");
            return None;
        };
        let folder = tempfile::tempdir().expect("a folder");
        let [at, server] = free_ports();
        let own = format!("http://localhost:{server}");
        let source = folder.path().join("source");
        fs::create_dir_all(source.join("rings")).expect("a folder");
        let secret = folder.path().join("secret");
        fs::write(&secret, "another-secret-of-the-tests\n").expect("a file");
        let settings = json!({
            "listen": format!("127.0.0.1:{server}"), "data": folder.path().join("data"),
            "source": {"path": source}, "externalUrl": own,
            "auth": {"oidc": {
                "issuer": format!("http://127.0.0.1:{at}"), "audience": "https://ringward.example",
                "browser": {"clientId": "dashboard", "clientSecretFile": secret, "scopes": ["groups"]},
                "bindings": [{"group": "deployers", "roles": ["operator"]}],
            }},
        });
        let file = folder.path().join("settings.yaml");
        fs::write(&file, settings.to_string()).expect("a file");
        let start =
            |command: &mut Command| command.stdout(Stdio::null()).spawn().expect("it starts");
        let mut node = Command::new("node");
        node.arg(provider.join("provider.mjs")).args([at.to_string(), own]).stderr(Stdio::null());
        let mut serve = Command::new(env!("CARGO_BIN_EXE_ringward"));
        serve.arg("serve").arg("--config").arg(file).stderr(Stdio::null());
        let provided =
            Self { children: vec![start(&mut node), start(&mut serve)], server, _folder: folder };
        let end = Instant::now() + Duration::from_secs(30);
        for port in [at, server] {
            while TcpStream::connect(("127.0.0.1", port)).is_err() {
                assert!(Instant::now() < end, "nobody listens at {port}");
                sleep(Duration::from_millis(50));
            }
        }
        Some(provided)
    }

    /// The address of a page.
    pub fn at(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.server)
    }
}

impl Drop for Provided {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn free_ports() -> [u16; 2] {
    let bound = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    bound.map(|listener| listener.local_addr().expect("an address").port())
}
