//! Who the whole service lets in, and by which door.

mod common;

use std::{
    fs,
    path::Path,
    process::{Command, Output},
    sync::Arc,
};

use ringward::{
    app::{self, Running},
    clock::SystemClock,
    config::{Settings, SourceSettings, TlsSettings},
    show::auth::ADMIN_TOKEN,
};

/// Settings of a service that has nothing to do.
fn settings(folder: &Path) -> Settings {
    let source = folder.join("source");
    fs::create_dir_all(source.join("rings")).expect("a folder");
    Settings {
        listen: ([127, 0, 0, 1], 0).into(),
        data: folder.join("data"),
        source: SourceSettings { path: Some(source), ..SourceSettings::default() },
        ..Settings::default()
    }
}

async fn start(settings: Settings) -> Running {
    app::start(settings, |base| Arc::new(SystemClock::new(base))).await.expect("it starts")
}

/// What the command line says to that server, as its administrator.
fn ringward(running: &Running, scheme: &str, arguments: &[&str]) -> Output {
    let server = format!("{scheme}://{}", running.address);
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringward"));
    command.args(["get", "plans", "--server", &server]).args(arguments);
    command.env("RINGWARD_TOKEN_FILE", running.data.join(ADMIN_TOKEN));
    command.output().expect("it runs")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_trusts_the_authority_that_it_is_given() {
    let folder = tempfile::tempdir().expect("a folder");
    let tls = TlsSettings {
        certificate: "tests/providers/tls/good.pem".into(),
        key: "tests/providers/tls/good.key".into(),
        client_ca: Some("tests/tls/client-ca.pem".into()),
    };
    let running = start(Settings { tls: Some(tls), ..settings(folder.path()) }).await;
    let ca = ["--ca", "tests/providers/tls/ca.pem"];
    let own = ["--cert", "tests/tls/client.pem"];
    let said = ringward(&running, "https", &[ca, own].concat());
    assert!(said.status.success(), "{said:?}");
    for (scheme, arguments) in
        [("https", &own[..]), ("https", &ca[..]), ("http", &[ca, own].concat()[..])]
    {
        let said = ringward(&running, scheme, arguments);
        assert_eq!(said.status.code(), Some(1), "{scheme} {arguments:?}: {said:?}");
    }
    let none = ringward(&running, "https", &["--ca", "tests/tls/client.key"]);
    assert_eq!(none.status.code(), Some(2), "{none:?}");
    running.stop().await;
}
