//! A Git repository as the source, against the real `git` and a real `git daemon`.

#[path = "common/git.rs"]
mod git;

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use git::{Author, Daemon};
use ringward::declare::{
    compile,
    source::{GitSettings, GitSource, Polled},
};

const CLUSTER: &str = "\
apiVersion: ringward.dev/v1alpha1
kind: Cluster
metadata: {name: eu-west-1}
spec: {region: eu-west-1, jurisdiction: IE}
";

fn settings(url: String, store: &Path) -> GitSettings {
    GitSettings {
        url,
        branch: "main".into(),
        path: None,
        store: store.join("store"),
        timeout: Duration::from_secs(20),
    }
}

fn file_url(author: &Author) -> String {
    format!("file://{}", author.dir.path().display())
}

fn given(polled: Polled) -> ringward::declare::Snapshot {
    let Polled::New(snapshot) = polled else { panic!("expected a snapshot, got {polled:?}") };
    snapshot
}

#[tokio::test]
async fn commits_are_read_from_a_daemon_and_a_rewritten_history_is_refused() {
    let author = Author::new();
    author.write("rings/eu-west-1.yaml", CLUSTER);
    author.write("rings/notes.md", "not a declaration");
    author.write("elsewhere/x.yaml", "not one either");
    let first = author.commit("one cluster");
    let daemon = Daemon::start(author.dir.path().parent().unwrap());
    let name = author.dir.path().file_name().unwrap().to_str().unwrap();
    let url = format!("git://127.0.0.1:{}/{name}", daemon.port);
    let store = tempfile::tempdir().unwrap();
    let mut source = GitSource::new(settings(url.clone(), store.path()), None).unwrap();

    let snapshot = given(source.poll().await);
    assert_eq!(snapshot.commit.as_str(), first);
    assert_eq!(snapshot.files.keys().collect::<Vec<_>>(), ["rings/eu-west-1.yaml"]);
    assert!(compile(&snapshot).clusters.contains_key("eu-west-1"));
    assert_eq!(source.poll().await, Polled::Unchanged);

    // A commit that is in error is a commit like any other: what it breaks is for the checks to say.
    author.write("rings/broken.yaml", "kind: [");
    let broken = author.commit("broken");
    let snapshot = given(source.poll().await);
    assert_eq!(snapshot.commit.as_str(), broken);
    let compiled = compile(&snapshot);
    assert!(compiled.has_errors());
    assert!(compiled.clusters.contains_key("eu-west-1"), "{:?}", compiled.diagnostics);

    // Force-pushed: another history of the same branch.
    author.git(&["reset", "--quiet", "--hard", &first]);
    author.write("rings/eu-west-1.yaml", &CLUSTER.replace("IE", "US"));
    let rewritten = author.commit("as if nothing had been");
    for _ in 0..2 {
        let Polled::Refused { commit, why } = source.poll().await else { panic!("accepted") };
        assert_eq!(commit.as_str(), rewritten);
        assert!(why.contains(&broken) && why.contains("rewritten"), "{why}");
    }

    // Started again with what the journal knows: first what is in force, then the refusal.
    let accepted = Some(broken.as_str().into());
    let mut again = GitSource::new(settings(url.clone(), store.path()), accepted.clone()).unwrap();
    assert_eq!(given(again.poll().await).commit.as_str(), broken);
    assert!(matches!(again.poll().await, Polled::Refused { .. }));

    // The same with a store that was lost: the refusal stands, for want of any other proof.
    let lost = tempfile::tempdir().unwrap();
    let mut lost = GitSource::new(settings(url, lost.path()), accepted).unwrap();
    assert!(matches!(lost.poll().await, Polled::Refused { .. }));

    // A head that descends from the accepted one is accepted again.
    author.git(&["reset", "--quiet", "--hard", &broken]);
    fs::remove_file(author.dir.path().join("rings/broken.yaml")).unwrap();
    let mended = author.commit("mended");
    assert_eq!(given(source.poll().await).commit.as_str(), mended);
    drop(daemon);
    assert!(matches!(source.poll().await, Polled::Unreachable(_)));
}

#[tokio::test]
async fn a_start_without_the_remote_serves_what_was_accepted() {
    let author = Author::new();
    author.write("rings/eu-west-1.yaml", CLUSTER);
    let head = author.commit("one cluster");
    let store = tempfile::tempdir().unwrap();
    let here = settings(file_url(&author), store.path());
    given(GitSource::new(here.clone(), None).unwrap().poll().await);
    let gone = GitSettings { url: "file:///nowhere/at/all.git".into(), ..here };
    let mut source = GitSource::new(gone, Some(head.as_str().into())).unwrap();
    assert_eq!(given(source.poll().await).commit.as_str(), head);
    let Polled::Unreachable(why) = source.poll().await else { panic!("reached") };
    assert!(why.starts_with("git fetch"), "{why}");
}

#[tokio::test]
async fn a_folder_of_the_repository_can_be_the_source() {
    let author = Author::new();
    author.write("deploy/ringward/rings/a b.yaml", CLUSTER);
    author.write("rings/other.yaml", CLUSTER);
    author.commit("two folders");
    let store = tempfile::tempdir().unwrap();
    let mut settings = settings(file_url(&author), store.path());
    settings.path = Some("deploy/ringward".into());
    let mut source = GitSource::new(settings, None).unwrap();
    let snapshot = given(source.poll().await);
    assert_eq!(snapshot.files.keys().collect::<Vec<_>>(), ["rings/a b.yaml"]);
    assert_eq!(snapshot.files["rings/a b.yaml"], CLUSTER.as_bytes());
}

#[tokio::test]
async fn links_hooks_and_submodules_reach_nothing() {
    let author = Author::new();
    author.write("rings/eu-west-1.yaml", CLUSTER);
    let first = author.commit("one cluster");
    let store = tempfile::tempdir().unwrap();
    let mut source = GitSource::new(settings(file_url(&author), store.path()), None).unwrap();
    assert_eq!(given(source.poll().await).commit.as_str(), first);

    let marker = store.path().join("ran");
    let hook = store.path().join("store/hooks/reference-transaction");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, format!("#!/bin/sh\ntouch {}\n", marker.display())).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();

    std::os::unix::fs::symlink("/etc/passwd", author.dir.path().join("rings/x.yaml")).unwrap();
    author.commit("a link");
    let Polled::Refused { why, .. } = source.poll().await else { panic!("followed") };
    assert!(why.contains("rings/x.yaml is a symbolic link"), "{why}");

    fs::remove_file(author.dir.path().join("rings/x.yaml")).unwrap();
    author.git(&["add", "--all"]);
    let entry = format!("160000,{first},rings/sub.yaml");
    author.git(&["update-index", "--add", "--cacheinfo", &entry]);
    author.git(&["commit", "--quiet", "-m", "a submodule"]);
    let snapshot = given(source.poll().await);
    assert_eq!(snapshot.files.keys().collect::<Vec<_>>(), ["rings/eu-west-1.yaml"]);
    assert!(!marker.exists());
}

#[tokio::test]
async fn what_is_not_there_is_said() {
    let author = Author::new();
    author.write("README.md", "nothing yet");
    author.commit("empty");
    let store = tempfile::tempdir().unwrap();
    let here = settings(file_url(&author), store.path());
    let mut source = GitSource::new(here.clone(), None).unwrap();
    let Polled::Refused { why, .. } = source.poll().await else { panic!("every plan withdrawn") };
    assert!(why.contains("no declarations under rings/"), "{why}");
    let other = GitSettings { branch: "release".into(), ..here };
    let mut source = GitSource::new(other, None).unwrap();
    let Polled::Unreachable(why) = source.poll().await else { panic!("a branch from nowhere") };
    assert!(why.contains("release"), "{why}");
}

#[tokio::test]
async fn a_remote_that_never_answers_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("git://{}/r", silent.local_addr().unwrap());
    let store = tempfile::tempdir().unwrap();
    let mut settings = settings(url, store.path());
    settings.timeout = Duration::from_millis(500);
    let mut source = GitSource::new(settings, None).unwrap();
    let Polled::Unreachable(why) = source.poll().await else { panic!("answered") };
    assert!(why.contains("took longer than"), "{why}");
}
