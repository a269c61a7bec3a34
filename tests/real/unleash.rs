//! Unleash's flags on a real Unleash, over a PostgreSQL of its own.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use tokio::time::{sleep, timeout};

use crate::{
    flags_suite::suite,
    support::{Program, free_ports},
    unleash_owner::Unleash,
};

const TOKEN: &str = "*:*.a-secret-of-the-tests";

/// The folder in which `npm ci` was run over `tests/real/unleash`, and the one with PostgreSQL's programs.
fn servers() -> Option<(PathBuf, PathBuf)> {
    let folder = |name: &str| {
        let folder = std::env::var_os(name).map(PathBuf::from);
        if folder.is_none() {
            let required = std::env::var("RINGWARD_REAL").is_ok_and(|value| value == "required");
            assert!(!required, "RINGWARD_REAL=required, and {name} is not set");
            println!("skipped: {name} is not set");
        }
        folder
    };
    Some((folder("UNLEASH_SERVER")?, folder("POSTGRESQL")?))
}

/// A program of PostgreSQL's and its arguments: it does not run as root.
fn as_nobody_special(program: PathBuf, arguments: &[&str]) -> (PathBuf, Vec<String>) {
    let own: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
    let root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    if !root {
        return (program, own);
    }
    let user = ["--reuid=postgres", "--regid=postgres", "--clear-groups"].map(str::to_owned);
    let all = user.into_iter().chain([program.display().to_string()]).chain(own).collect();
    ("setpriv".into(), all)
}

fn database(programs: &Path, scratch: &Path, port: u16) -> Program {
    let data = scratch.join("data");
    std::fs::create_dir(&data).expect("a folder");
    // Only where this runs as root is there anything to hand over.
    let owned = Command::new("chown").arg("postgres").arg(&data).stderr(Stdio::null()).status();
    drop(owned);
    let open = Command::new("chmod").arg("755").arg(scratch).status();
    assert!(open.is_ok_and(|status| status.success()));
    let data = data.display().to_string();
    let initdb = ["-D", &data, "-A", "trust", "-U", "unleash", "--no-sync"];
    let (program, arguments) = as_nobody_special(programs.join("initdb"), &initdb);
    let made = Command::new(program).args(arguments).stdout(Stdio::null()).status();
    assert!(made.is_ok_and(|status| status.success()), "initdb failed");
    let port = port.to_string();
    let run = [
        "-D",
        &data,
        "-p",
        &port,
        "-k",
        &data,
        "-c",
        "listen_addresses=127.0.0.1",
        "-c",
        "fsync=off",
    ];
    let (program, arguments) = as_nobody_special(programs.join("postgres"), &run);
    Program::start(scratch, &program, &arguments)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_unleash_passes_the_suite() {
    let Some((folder, programs)) = servers() else { return };
    let scratch = tempfile::tempdir().expect("a folder");
    let [port, database_port] = free_ports();
    let database = database(&programs, scratch.path(), database_port);
    let listens = async |port: u16| {
        let tries = async {
            while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(Duration::from_secs(60), tries).await.expect("it listens within a minute");
    };
    listens(database_port).await;
    let script = folder.join("server.mjs").display().to_string();
    let arguments = [script, port.to_string(), database_port.to_string(), TOKEN.to_owned()];
    let server = Program::start(scratch.path(), "node".as_ref(), &arguments);
    listens(port).await;
    let unleash = Unleash { url: format!("http://127.0.0.1:{port}"), token: TOKEN.into() };
    suite(&unleash).await;
    drop((server, database));
}
