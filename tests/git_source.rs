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

// ---- another commit beside what is here -----------------------------------------------------------

const POLICY: &str = "\
apiVersion: ringward.dev/v1alpha1
kind: RingPolicy
metadata: {name: quick}
spec:
  soak: {duration: 10m}
  gates:
    - {name: errors, template: errors, threshold: {max: 0.01}, failureLimit: 2}
---
apiVersion: ringward.dev/v1alpha1
kind: GateTemplate
metadata: {name: errors}
spec: {signal: errors, provider: prometheus, query: up}
";

const PLAN: &str = "\
apiVersion: ringward.dev/v1alpha1
kind: RingPlan
metadata: {name: checkout}
spec:
  target: {kind: Deployment, namespace: shop, name: checkout, container: app}
  policy: quick
  onPolicyChange: tighten
  rings:
    - {name: first, clusters: {names: [eu-west-1]}}
    - {name: second, after: [first], clusters: {names: [eu-west-2]}}
";

fn clusters() -> String {
    let metrics =
        "metrics: [{name: prometheus, type: prometheus, url: \"http://prometheus:9090\"}]";
    let one = |n| {
        CLUSTER
            .replace("eu-west-1", &format!("eu-west-{n}"))
            .replace("IE}", &format!("IE, {metrics}}}"))
    };
    (1..=3).map(one).collect::<Vec<_>>().join("---\n")
}

/// A repository that keeps its declarations in a folder, and the binary in it.
fn declared() -> Author {
    let author = Author::new();
    author.write("deploy/rings/clusters.yaml", &clusters());
    author.write("deploy/rings/checkout.yaml", PLAN);
    author.write("deploy/policies/quick.yaml", POLICY);
    author.commit("as it was");
    author.git(&["tag", "v1"]);
    author
}

fn against(author: &Author, arguments: &[&str]) -> (i32, String, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_ringward"))
        .arg("plan")
        .args(arguments)
        .current_dir(author.dir.path())
        .env("LANG", "C.UTF-8")
        // As in a hook of another repository.
        .env("GIT_DIR", "/nowhere")
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_change_is_told_field_by_field_and_for_whom() {
    let author = declared();
    let (code, out, _) = against(&author, &["deploy", "checkout", "--against", "v1"]);
    assert_eq!(code, 0);
    assert!(out.contains("The plan means the same.") && !out.contains("diagnostics"), "{out}");

    let policy = POLICY
        .replace("duration: 10m", "duration: 20m")
        .replace("failureLimit: 2", "failureLimit: 3");
    let gate = "    - {name: late, template: errors, threshold: {max: 1}}\n---";
    author.write("deploy/policies/quick.yaml", &policy.replacen("---", gate, 1));
    let plan =
        PLAN.replace("    - {name: second, after: [first], clusters: {names: [eu-west-2]}}\n", "");
    let rings = "    - {name: second, clusters: {names: [eu-west-2]}}\n    - {name: third, after: [second], \
                 clusters: {names: [eu-west-3]}}\n";
    author.write("deploy/rings/checkout.yaml", &format!("{plan}{rings}"));
    author.write("deploy/rings/more.yaml", &CLUSTER.replace("region: eu-west-1, ", ""));

    let (code, out, err) =
        against(&author, &["deploy", "checkout", "--against", "v1", "-o", "json"]);
    assert_eq!(code, 1, "{out}{err}");
    assert!(err.contains("REF002"), "what takes the plan out of service is told: {err}");
    author.git(&["clean", "--quiet", "-f", "deploy/rings/more.yaml"]);

    let (code, out, err) =
        against(&author, &["deploy", "checkout", "--against", "v1", "-o", "json"]);
    assert_eq!(code, 0, "{out}{err}");
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    let differences: Vec<String> = told["differences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|found| {
            let text = |field: &str| found[field].as_str().unwrap_or("-").to_owned();
            let taken = if found["inMotion"].as_bool().unwrap() { "taken" } else { "new" };
            let [ring, field, was, is, way] = ["ring", "field", "was", "is", "way"].map(text);
            format!("{ring} {field}: {was} -> {is}, {way}, {taken}")
        })
        .collect();
    let of_the_policy = |ring: &str| {
        vec![
            format!("{ring} soak.duration: 10m -> 20m, tighter, taken"),
            format!("{ring} gates.errors.failureLimit: 2 -> 3, looser, new"),
            format!("{ring} gates: - -> late, tighter, taken"),
        ]
    };
    let expected = [
        vec!["second after: first -> -, other, new".to_owned()],
        of_the_policy("first"),
        of_the_policy("second"),
        vec!["third ring: - -> third, other, new".to_owned()],
    ];
    assert_eq!(differences, expected.concat());
    assert_eq!(told["onPolicyChange"], "tighten");
    assert_eq!(told["was"]["ref"], "v1");
    assert_ne!(told["was"]["policy"], told["is"]["policy"]);

    let (_, out, _) = against(&author, &["deploy", "checkout", "--against", "HEAD"]);
    let line = out.lines().find(|line| line.contains("soak.duration")).unwrap();
    let words: Vec<_> = line.split_whitespace().collect();
    assert_eq!(words, ["first", "soak.duration", "10m", "20m", "tighter", "taken"]);
    assert!(out.contains("Releases in motion take what is tighter"), "{out}");

    // Without the word, nobody in motion takes anything.
    author.write(
        "deploy/rings/checkout.yaml",
        &PLAN.replace("onPolicyChange: tighten", "maxSkew: 2"),
    );
    let (_, out, _) = against(&author, &["deploy", "checkout", "--against", "main"]);
    assert!(!out.contains("taken") && out.contains("keep what they started under"), "{out}");
}

#[test]
fn diagnostics_that_come_and_go_are_told_wherever_they_stand() {
    let author = declared();
    let slow = POLICY.replace("duration: 10m", "duration: 0s");
    author.write("deploy/policies/quick.yaml", &format!("# A line more.\n{slow}"));
    let (code, out, err) =
        against(&author, &["deploy", "checkout", "--against", "v1", "-o", "json"]);
    assert_eq!(code, 0, "{err}");
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    let rules = |which: &str| -> Vec<String> {
        let all = told["diagnostics"][which].as_array().unwrap().iter();
        all.map(|found| found["rule"].as_str().unwrap().to_owned()).collect()
    };
    assert!(rules("appear").contains(&"ADV003".to_owned()), "{out}");
    assert!(!rules("appear").contains(&"ADV001".to_owned()), "it was there, a line higher: {out}");
    author.git(&["commit", "--quiet", "-am", "no soak"]);
    author.write("deploy/policies/quick.yaml", POLICY);
    let (_, out, _) = against(&author, &["deploy", "checkout", "--against", "HEAD"]);
    let (before, gone) = out.split_once("diagnostics that vanish").unwrap();
    assert!(gone.contains("ADV003") && !before.contains("ADV003"), "{out}");
}

#[test]
fn what_cannot_be_compared_says_why() {
    let author = declared();
    for name in ["nowhere", "--upload-pack=id", "v1:deploy", ""] {
        let (code, _, err) =
            against(&author, &["deploy", "checkout", &format!("--against={name}")]);
        assert_eq!(code, 1, "{err}");
        assert!(err.contains(&format!("no commit `{name}`")), "{err}");
    }
    author.write("deploy/rings/search.yaml", &PLAN.replace("checkout", "search"));
    let (code, _, err) = against(&author, &["deploy", "search", "--against", "v1"]);
    assert_eq!(code, 1);
    assert!(err.contains("plan search is declared here, and not at v1"), "{err}");
    let (_, _, err) = against(&author, &["deploy", "serch", "--against", "v1"]);
    assert!(err.contains("did you mean `search`?"), "{err}");
    author.git(&["rm", "--quiet", "deploy/rings/checkout.yaml"]);
    let (code, _, err) = against(&author, &["deploy", "checkout", "--against", "v1"]);
    assert_eq!(code, 1);
    assert!(err.contains("plan checkout is declared at v1, and not here"), "{err}");

    author.git(&["rm", "--quiet", "-r", "--cached", "deploy"]);
    author.git(&["commit", "--quiet", "-m", "nothing"]);
    let (code, _, err) = against(&author, &["deploy", "search", "--against", "HEAD"]);
    assert_eq!(code, 1);
    assert!(err.contains("at HEAD: no declarations under deploy/rings/"), "{err}");

    let outside = tempfile::tempdir().unwrap();
    fs::create_dir_all(outside.path().join("rings")).unwrap();
    fs::write(outside.path().join("rings/clusters.yaml"), CLUSTER).unwrap();
    let place = outside.path().to_str().unwrap();
    let (code, _, err) = against(&author, &[place, "checkout", "--against", "v1"]);
    assert_eq!(code, 1);
    assert!(err.contains("lies in no Git repository"), "{err}");
}

// ---- who wrote what ------------------------------------------------------------------------------

#[tokio::test]
async fn whoever_wrote_the_line_is_the_author_wherever_the_file_has_gone_since() {
    let author = Author::new();
    author.write("rings/eu-west-1.yaml", CLUSTER);
    author.write("deploy/releases/one.yaml", "image: a\n");
    author.commit("dana's");
    author.write("deploy/releases/one.yaml", "# a remark\nimage: a\n---\nimage: b\n");
    author.git(&["add", "--all"]);
    let kim = ["-c", "user.email=kim@example.com", "commit", "--quiet", "-m", "kim's"];
    author.git(&kim);
    author.git(&["mv", "deploy/releases/one.yaml", "deploy/releases/moved to.yaml"]);
    author.write("deploy/rings/eu-west-1.yaml", CLUSTER);
    let head = author.commit("moved by dana").as_str().into();
    let store = tempfile::tempdir().unwrap();
    let mut settings = settings(file_url(&author), store.path());
    settings.path = Some("deploy".into());
    let mut source = GitSource::new(settings, None).unwrap();
    given(source.poll().await);
    let file = "releases/moved to.yaml";
    for (line, by) in [(2, "dana@example.com"), (4, "kim@example.com")] {
        assert_eq!(source.author(&head, file, line).await.as_deref(), Ok(by), "line {line}");
    }
    for (file, line) in [(file, 9), ("releases/none.yaml", 1)] {
        let why = source.author(&head, file, line).await.unwrap_err();
        assert!(why.starts_with("git blame"), "{why}");
    }
}
