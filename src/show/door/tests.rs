use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use axum::routing::get;
use reqwest::{Certificate, Identity};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinHandle,
};

use super::*;
use crate::config::TlsSettings;

const SERVERS: &str = "tests/providers/tls";
const CLIENTS: &str = "tests/tls";

struct Open {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

async fn open(tls: Option<TlsSettings>, connections: usize) -> Open {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    let door = Door { tls: tls.map(|files| Tls::read(files).unwrap()), connections };
    let router = Router::new().route("/", get(async || "hello"));
    let serving = tokio::spawn(door.serve(listener, router, stopped));
    Open { address, stop, serving }
}

/// Copies of a certificate and its key, to be exchanged.
fn files(folder: &Path) -> TlsSettings {
    let files = TlsSettings {
        certificate: folder.join("tls.crt"),
        key: folder.join("tls.key"),
        client_ca: None,
    };
    show(&files, "good");
    files
}

/// Puts a certificate in the place of another as a certificate manager does: by renames.
fn show(files: &TlsSettings, name: &str) {
    for (to, kind) in [(&files.certificate, "pem"), (&files.key, "key")] {
        replace(to, &fs::read(format!("{SERVERS}/{name}.{kind}")).unwrap());
    }
}

fn replace(to: &PathBuf, text: &[u8]) {
    let new = to.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, to).unwrap();
}

/// Who connects anew each time, and trusts the tests' authority.
fn client() -> reqwest::ClientBuilder {
    let ca = Certificate::from_pem(&fs::read(format!("{SERVERS}/ca.pem")).unwrap()).unwrap();
    reqwest::Client::builder().tls_certs_only([ca]).no_proxy().pool_max_idle_per_host(0)
}

async fn ask(client: &reqwest::Client, address: SocketAddr) -> Result<String, String> {
    let asked = client.get(format!("https://localhost:{}/", address.port())).send().await;
    match asked {
        Ok(answer) => Ok(answer.text().await.unwrap()),
        Err(error) => Err(format!("{error:?}")),
    }
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_the_next_and_a_spoiled_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    let open = open(Some(files.clone()), 16).await;
    let client = client().build().unwrap();
    let ask = || ask(&client, open.address);
    assert_eq!(ask().await.as_deref(), Ok("hello"));

    show(&files, "expired");
    let error = ask().await.unwrap_err();
    assert!(error.contains("Expired"), "{error}");
    show(&files, "good");
    assert_eq!(ask().await.as_deref(), Ok("hello"));

    // A key of another certificate, no PEM, and no file at all.
    replace(&files.key, &fs::read(format!("{SERVERS}/expired.key")).unwrap());
    assert_eq!(ask().await.as_deref(), Ok("hello"));
    replace(&files.certificate, b"");
    assert_eq!(ask().await.as_deref(), Ok("hello"));
    fs::remove_file(&files.certificate).unwrap();
    assert_eq!(ask().await.as_deref(), Ok("hello"));
    show(&files, "expired");
    assert!(ask().await.unwrap_err().contains("Expired"), "what is of use is taken again");
}

#[tokio::test]
async fn files_that_are_no_use_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    let error = |files: &TlsSettings| Tls::read(files.clone()).unwrap_err().to_string();
    let other = TlsSettings { key: format!("{SERVERS}/expired.key").into(), ..files.clone() };
    assert!(error(&other).contains("not the certificate's"), "{}", error(&other));
    let none = TlsSettings { key: files.certificate.clone(), ..files.clone() };
    assert!(error(&none).contains("no private key"), "{}", error(&none));
    let gone = TlsSettings { client_ca: Some("/nowhere.pem".into()), ..files.clone() };
    assert!(error(&gone).contains("/nowhere.pem") && error(&gone).contains("tls.clientCa"));
}

#[tokio::test]
async fn who_must_show_a_certificate_does() {
    let folder = tempfile::tempdir().unwrap();
    let client_ca = Some(format!("{CLIENTS}/client-ca.pem").into());
    let open = open(Some(TlsSettings { client_ca, ..files(folder.path()) }), 16).await;
    let nobody = client().build().unwrap();
    assert!(ask(&nobody, open.address).await.is_err());
    let own = Identity::from_pem(&fs::read(format!("{CLIENTS}/client.pem")).unwrap()).unwrap();
    let somebody = client().identity(own).build().unwrap();
    assert_eq!(ask(&somebody, open.address).await.as_deref(), Ok("hello"));
}

#[tokio::test]
async fn who_comes_when_all_places_are_taken_is_turned_away() {
    let open = open(None, 2).await;
    let connect = async || TcpStream::connect(open.address).await.unwrap();
    let hello = async |stream: &mut TcpStream| {
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let mut answer = [0; 512];
        stream.read(&mut answer).await.unwrap_or(0)
    };
    let (mut first, mut second) = (connect().await, connect().await);
    assert!(hello(&mut first).await > 0 && hello(&mut second).await > 0);
    assert_eq!(hello(&mut connect().await).await, 0, "turned away");
    assert!(hello(&mut first).await > 0, "who is in stays in");
    drop(second);
    // Its place is free once its end was seen.
    loop {
        if hello(&mut connect().await).await > 0 {
            break;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_stop_waits_for_nobody_who_is_silent() {
    let open = open(None, 16).await;
    let mut silent = TcpStream::connect(open.address).await.unwrap();
    silent.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = [0; 512];
    assert!(silent.read(&mut answer).await.unwrap() > 0);
    open.stop.send(true).unwrap();
    timeout(Duration::from_secs(5), open.serving).await.expect("at once").unwrap();
}
