//! What people read: the help of every command, and what the commands say of a service that runs.
//!
//! `tests/read/` holds it. What differs from run to run is replaced: figures by `#`, hashes by `@`, folders
//! and addresses by their names; columns are one blank apart. To write the files anew after a change of
//! wording: `RINGWARD_BLESS=1 cargo test --test read`, and read the difference.

mod common;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use axum::{Router, routing::post};
use common::{Client, Declarations, phase, ring};
use ringward::{
    app,
    clock::{Clock, SystemClock},
    model::time::{Mono, Span},
    sim::loopback::Fleet,
};

fn expected() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/read")
}

/// Compares with the file of that name, or writes it.
#[track_caller]
fn reads(name: &str, said: &str) {
    let file = expected().join(format!("{name}.txt"));
    if std::env::var_os("RINGWARD_BLESS").is_some() {
        fs::create_dir_all(expected()).unwrap();
        fs::write(&file, said).unwrap();
        return;
    }
    let written = fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(said, written, "{}: RINGWARD_BLESS=1 writes it anew", file.display());
}

/// What a command says, and how it ends.
fn said(arguments: &[&str], folder: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_ringward"))
        .args(arguments)
        .env_clear()
        .env("HOME", folder)
        .env("LC_ALL", "C.UTF-8")
        .env("COLUMNS", "100")
        .current_dir(folder)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code().unwrap_or(-1);
    format!("{}{}exit {code}\n", text(&output.stdout), text(&output.stderr))
}

/// Without what differs from run to run.
fn settled(text: &str, names: &[(&str, &str)]) -> String {
    let mut text = text.to_owned();
    for (what, name) in names {
        text = text.replace(what, name);
    }
    let mut out = String::new();
    for line in text.lines() {
        // How full this machine's disk is, is its own; and a line is cut in more ways than one.
        let line = match line.split_whitespace().collect::<Vec<_>>().as_slice() {
            [_, "disk", ..] => continue,
            ["fail", "cluster", cluster, ..] => format!("fail cluster {cluster} ..."),
            ["fail", "metrics", ..] => line.split(": ").next().unwrap_or_default().to_owned(),
            ["exit", code] => format!("exit={code}"),
            _ => line.to_owned(),
        };
        if line.starts_with("exit=") {
            out += &line.replace('=', " ");
            out.push('\n');
            continue;
        }
        let words: Vec<_> = line.split_whitespace().map(word).collect();
        out += &words.join(" ");
        out.push('\n');
    }
    out
}

/// A word with its figures and hashes replaced.
fn word(word: &str) -> String {
    let mut out = String::new();
    let mut rest = word;
    while let Some(c) = rest.chars().next() {
        let run = |fits: fn(char) -> bool| rest.find(|c| !fits(c)).unwrap_or(rest.len());
        let hex = run(|c| c.is_ascii_digit() || ('a'..='f').contains(&c));
        let digits = run(|c| c.is_ascii_digit());
        let length = match (hex, digits) {
            // A word such as `Succeeded` has none of the figures that a hash has.
            (hex, _) if hex >= 7 && rest[..hex].contains(|c: char| c.is_ascii_digit()) => {
                out.push('@');
                hex
            }
            (_, 0) => {
                out.push(c);
                c.len_utf8()
            }
            (_, digits) => {
                out.push('#');
                digits
            }
        };
        rest = &rest[length..];
    }
    out.replace("#.#", "#")
}

/// The commands and what is beneath them, as the help lists them.
fn commands(above: &[String], folder: &Path, found: &mut Vec<Vec<String>>) {
    let mut arguments: Vec<&str> = above.iter().map(String::as_str).collect();
    arguments.push("--help");
    let help = said(&arguments, folder);
    let listed = help.split("\nCommands:\n").nth(1).unwrap_or_default();
    for line in listed.lines().take_while(|line| !line.trim().is_empty()) {
        let name = line
            .split_whitespace()
            .next()
            .filter(|_| line.starts_with("  ") && !line.starts_with("   "));
        let Some(name) = name.filter(|name| *name != "help") else { continue };
        let command: Vec<_> = above.iter().cloned().chain([name.to_owned()]).collect();
        found.push(command.clone());
        commands(&command, folder, found);
    }
}

#[test]
fn every_commands_help() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = vec![Vec::new()];
    commands(&[], folder.path(), &mut all);
    assert!(all.len() > 40, "{all:?}");
    for command in all {
        let mut arguments: Vec<&str> = command.iter().map(String::as_str).collect();
        let name = format!("help-{}", arguments.join("-"));
        arguments.push("--help");
        let help = said(&arguments, folder.path());
        reads(
            name.trim_end_matches('-'),
            &help.replace(&folder.path().display().to_string(), "HOME"),
        );
    }
}

#[test]
fn declarations_in_error() {
    let folder = tempfile::tempdir().unwrap();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for part in ["base", "DAG001", "RES001"] {
        copy(&here.join("tests/declarations").join(part), folder.path());
    }
    reads("check", &said(&["check", "."], folder.path()));
    let here = here.display().to_string();
    reads("check-clean", &said(&["check", &here], folder.path()).replace(&here, "HERE"));
    // Of the plan without calendars: what else it says depends on the day.
    let plan = said(&["plan", &here, "search"], folder.path());
    reads("plan", &settled(&plan, &[(&here, "HERE")]));
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let there = to.join(path.file_name().unwrap());
        if path.is_dir() {
            fs::create_dir_all(&there).unwrap();
            copy(&path, &there);
        } else {
            fs::copy(&path, &there).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_runs() {
    let folder = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new(Mono(0)));
    let fleet = common::fleet(Span(200), clock, folder.path()).await;
    let declared =
        Declarations { soak: "1s", approved: vec!["checkout"], ..Declarations::of(&fleet) };
    declared.write(&folder.path().join("source"));
    let notifier = "apiVersion: ringward.dev/v1alpha1\nkind: Notifier\nmetadata: {name: on-call}\n\
                    spec: {channel: ops}\n";
    fs::write(folder.path().join("source/policies/told.yaml"), notifier).unwrap();
    let (ops, nobody) = (listener().await, "http://127.0.0.1:1/");
    let channels = format!(
        "  ops: {{type: webhook, url: '{ops}', secretFile: {0}/secret}}\n  \
         spare: {{type: cdevents, url: '{nobody}'}}\n",
        folder.path().display()
    );
    fs::write(folder.path().join("secret"), "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=\n")
        .unwrap();
    fs::set_permissions(folder.path().join("secret"), fs::Permissions::from_mode(0o600)).unwrap();
    let config = config(&fleet, folder.path(), &channels);
    let mut settings = common::settings(&fleet, folder.path());
    settings.channels = serde_yaml::from_str(&channels).unwrap();
    let running = app::start(settings, |base| Arc::new(SystemClock::new(base))).await.unwrap();
    let client = Client::new(running.address, common::admin_token(&running.data));
    let seen = |clusters: &serde_json::Value| {
        let items = clusters["items"].as_array().map_or(&[][..], Vec::as_slice);
        items.len() == 2
            && items.iter().all(|item| {
                let targets = item["targets"].as_array().map_or(&[][..], Vec::as_slice);
                targets.len() == 2 && targets.iter().all(|target| !target["knownGood"].is_null())
            })
    };
    client.until_at("/v1/clusters", "what runs to be seen", seen).await;
    client.release("search", "1.0", '1').await.good();
    client.until("search", "1.0", "success", |seen| seen["phase"] == "Succeeded").await;
    client.release("checkout", "2.0", '2').await.good();
    let held = |seen: &serde_json::Value| {
        phase(seen, "us") == "Held" && ring(seen, "eu")["phase"] == "Passed"
    };
    client.until("checkout", "2.0", "an approval to be wanted", held).await;
    client.post("/v1/freezes", &[], serde_json::json!({"plan": "search", "reason": "audit"})).await;

    let server = format!("http://{}", running.address);
    let token = running.data.join(ringward::show::auth::ADMIN_TOKEN).display().to_string();
    let at = folder.path().to_owned();
    let says = |name: &'static str, arguments: &[&str]| {
        let shared = ["--server", &server, "--token", &token];
        let arguments: Vec<String> =
            arguments.iter().chain(&shared).map(|text| (*text).to_owned()).collect();
        let (at, server, urls) = (at.clone(), server.clone(), declared.clusters.clone());
        async move {
            let run = tokio::task::spawn_blocking(move || {
                let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
                let text = said(&arguments, &at);
                let place = at.display().to_string();
                let mut names = vec![(place.as_str(), "HERE"), (server.as_str(), "SERVER")];
                names.extend(urls.iter().map(|(_, url)| (url.as_str(), "URL")));
                settled(&text, &names)
            });
            reads(name, &run.await.unwrap());
        }
    };
    says("status", &["status", "checkout"]).await;
    says("status-wide", &["status", "search@1.0", "-o", "wide"]).await;
    says("status-name", &["status", "search@1.0", "-o", "name"]).await;
    says("explain", &["explain", "checkout"]).await;
    says("explain-ring", &["explain", "checkout", "us"]).await;
    says("explain-passed", &["explain", "search@1.0", "eu"]).await;
    says("wait", &["wait", "search@1.0", "--for", "succeeded"]).await;
    says("wait-held", &["wait", "checkout@2.0", "--for", "succeeded"]).await;
    says("release-list", &["release", "list"]).await;
    says("freeze-list", &["freeze", "list"]).await;
    for (name, what) in [
        ("get-plans", "plans"),
        ("get-rings", "rings"),
        ("get-releases", "releases"),
        ("get-clusters", "clusters"),
        ("get-gates", "gates"),
        ("get-flags", "flags"),
        ("get-approvals", "approvals"),
        ("get-pauses", "pauses"),
        ("get-freezes", "freezes"),
        ("get-waivers", "waivers"),
        ("get-debts", "debts"),
        ("get-channels", "channels"),
    ] {
        says(name, &["get", what]).await;
    }
    says("get-clusters-wide", &["get", "clusters", "-o", "wide"]).await;
    says("token-list", &["token", "list", "--data", &running.data.display().to_string()]).await;
    says("audit-verify", &["audit", "verify"]).await;
    says("doctor", &["doctor", "--config", &config]).await;
    says("doctor-name", &["doctor", "--config", &config, "-o", "name"]).await;

    // A cluster that nobody reaches, one that keeps its nodes to itself, and a source that is away.
    fleet.cut_kubernetes(&"us".into(), true).unwrap();
    fleet.hide_nodes(&"eu".into(), true).unwrap();
    fleet.cut_prometheus(&"eu".into(), true).unwrap();
    let ill = "  ops: {type: webhook, url: 'http://127.0.0.1:1/', secretFile: short}\n  \
               pager: {type: pagerduty, routingKeyFile: absent, url: 'http://x/'}\n  \
               chat: {type: slack, url: 'https://hooks.example/x'}\n";
    // Nobody vouches for anybody, or for nobody who has a role.
    let kubeconfig = fleet.kubeconfig().display();
    let vouch = format!(
        "auth:\n  oidc: {{issuer: 'http://127.0.0.1:1', audience: ringward, bindings: [{{group: a, roles: [viewer]}}],\n    \
         browser: {{clientId: web, clientSecretFile: absent}}}}\n  kubernetes: {{audiences: [ringward], kubeconfig: \
         {kubeconfig}, context: eu}}\nexternalUrl: http://localhost:7474\nhooks: {{flaggerSecretFile: absent, releases: \
         {{ci: {{secretFile: short, plans: [nowhere]}}}}}}\n"
    );
    fs::write(folder.path().join("short"), "whsec_c2hvcnQ=").unwrap();
    let config = self::config(&fleet, folder.path(), &format!("{ill}{vouch}"));
    says("doctor-ill", &["doctor", "--config", &config]).await;
    says("doctor-client", &["doctor"]).await;
    running.stop().await;
    says("doctor-stopped", &["doctor"]).await;
}

/// Whoever listens, and takes everything.
async fn listener() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let routes = Router::new().route("/", post(|| async {}));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    url
}

/// The settings as a file, as `serve --config` takes them.
fn config(fleet: &Fleet, folder: &Path, channels: &str) -> String {
    let file = folder.join("ringward.yaml");
    let kubeconfig = fleet.kubeconfig().display();
    let text = format!(
        "data: {0}/data\nsource: {{path: {0}/source}}\nconnections:\n  eu: {{kubeconfig: {kubeconfig}}}\n  \
         us: {{kubeconfig: {kubeconfig}}}\nchannels:\n{channels}",
        folder.display()
    );
    fs::write(&file, text).unwrap();
    file.display().to_string()
}
