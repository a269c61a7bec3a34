//! What needs no server.

use std::{fs, io::Write, path::Path, process::Stdio};

use serde_json::{Value, json};

use super::{fake::Fake, *};

/// Every command of the contract.
const COMMANDS: &[&str] = &[
    "serve",
    "demo",
    "check",
    "plan",
    "test",
    "judge",
    "gate",
    "gate replay",
    "release",
    "release create",
    "release list",
    "release show",
    "status",
    "explain",
    "wait",
    "pause",
    "resume",
    "abort",
    "retry",
    "rollback",
    "advance",
    "approve",
    "reject",
    "freeze",
    "freeze add",
    "freeze list",
    "freeze lift",
    "waive",
    "waive list",
    "waive approve",
    "waive revoke",
    "audit",
    "audit show",
    "audit verify",
    "audit export",
    "backup",
    "restore",
    "simulate",
    "import",
    "import argo-rollouts",
    "import flagger",
    "import kubefleet",
    "write-off",
    "token",
    "token create",
    "token list",
    "token revoke",
    "doctor",
    "get",
    "schema",
    "completion",
    "version",
];

#[test]
fn every_command_teaches_itself() {
    for command in COMMANDS {
        let arguments: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        let help = run(&arguments, 0).out;
        has(&help, &["Usage: ringward", "EXAMPLES\n", &format!("ringward {command}")]);
    }
}

#[test]
fn no_command_is_missing_from_the_list_of_those_that_teach() {
    let help = run(&["--help"], 0).out;
    has(&help, &["EXIT CODES", "EXAMPLES", "--server", "--token", "--output", "--no-color"]);
    let commands = help.split("Commands:\n").nth(1).expect("a list of commands");
    let commands = commands.split("\n\n").next().expect("the list");
    let names = commands.lines().filter(|line| !line.starts_with("    "));
    for name in names.filter_map(|line| line.split_whitespace().next()) {
        let known = name == "help";
        assert!(known || COMMANDS.contains(&name), "{name} is not tested");
    }
}

#[test]
fn what_is_no_command_line_is_refused_with_two() {
    for arguments in [
        &["fly"][..],
        &[],
        &["status"],
        &["status", "@1"],
        &["wait", "checkout@1", "--for", "happiness"],
        &["wait", "checkout", "--for", "succeeded"],
        &["approve", "checkout@1"],
        &["release", "create", "checkout", "1"],
        &["freeze", "add"],
        &["freeze", "add", "--reason", "x", "--plan", "a", "--jurisdiction", "DE"],
        &["waive", "checkout"],
        &["waive", "checkout", "--rule", "R-1", "--reason", "x"],
        &["waive", "checkout", "--rule", "R-1", "--for", "1h"],
        &["waive", "checkout", "--for", "1h", "--reason", "x"],
        &[
            "waive",
            "checkout",
            "--rule",
            "R",
            "--for",
            "1h",
            "--until",
            "2026-01-01T00:00:00Z",
            "--reason",
            "x",
        ],
        &["get", "unicorns"],
        &["status", "checkout", "-o", "xml"],
        &["plan"],
        &["plan", "a", "b", "c"],
        &["status", "checkout", "--timeout", "soon"],
        &["status", "checkout", "--server", "nowhere:1"],
    ] {
        let err = run(arguments, 2).err;
        assert!(!err.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_simulation_is_a_document_for_whoever_pipes_it() {
    let simulated = |format: &str| {
        run(&["simulate", "--seed", "7", "--seeds", "2", "--steps", "40", "-o", format], 0).out
    };
    let told: Value = serde_json::from_str(&simulated("json")).expect("JSON and nothing else");
    assert_eq!((&told["seed"], &told["seeds"], &told["steps"]), (&json!(7), &json!(2), &json!(40)));
    assert_eq!((&told["passed"], &told["failed"]), (&json!(2), &json!(0)));
    assert_eq!(told["failures"], json!([]));
    assert!(told["events"].as_u64().is_some_and(|events| events > 0), "{told}");
    assert!(told["elapsedSeconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{told}");
    assert_eq!(simulated("name"), "", "no seed failed");
    has(&simulated("table"), &["2 seeds, ", "2 passed, 0 failed"]);
}

#[test]
fn versions_schemas_and_completions() {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(run(&["version"], 0).out, format!("ringward {version}\n"));
    let json: Value = serde_json::from_str(&run(&["version", "-o", "json"], 0).out).expect("JSON");
    assert_eq!(json, json!({"version": version}));
    let schema: Value = serde_json::from_str(&run(&["schema"], 0).out).expect("JSON");
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        has(&run(&["completion", shell], 0).out, &["ringward", "rollback", "reject"]);
    }
    run(&["completion", "cmd"], 2);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = ringward(&["schema"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    drop(child.stdout.take());
    let ended = ended(child.wait_with_output().expect("it ends"));
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
}

#[test]
fn what_could_not_be_written_is_an_error_and_no_reader_that_went_away() {
    let server = Fake::always(200, json!({"audit": "an entry"}));
    let no_room = || fs::File::options().write(true).open("/dev/full").expect("Linux");
    for arguments in [&["schema"][..], &["audit", "export"]] {
        let mut command = ringward(arguments);
        command.env("RINGWARD_SERVER", &server.url).env("RINGWARD_TOKEN_FILE", &server.token);
        let output = command.stdout(no_room()).stderr(Stdio::piped()).spawn().expect("it runs");
        let ended = ended(output.wait_with_output().expect("it ends"));
        assert_eq!(ended.code, 1, "{arguments:?}");
        has(&ended.err, &["standard output cannot be written", "No space left"]);
    }
}

#[test]
fn declarations_in_order_are_ok() {
    let checked = run(&["check"], 0);
    has(&checked.err, &["ok: 2 plans, 6 clusters, "]);
    assert!(!checked.out.contains("error["), "{}", checked.out);
}

#[test]
fn declarations_in_error_are_shown_where_they_stand() {
    let broken = "tests/declarations/DAG001";
    let checked = run(&["check", broken], 1);
    has(&checked.out, &["error[DAG001]", "tests/declarations/DAG001/rings/"]);
    assert!(!checked.out.contains('\x1b'), "a pipe has no colours");
    has(&checked.err, &["error", " in ", " document"]);
    let json: Value =
        serde_json::from_str(&run(&["check", broken, "--format", "json"], 1).out).expect("JSON");
    let found = json.as_array().expect("a list").iter();
    let found: Vec<&Value> = found.filter(|problem| problem["rule"] == "DAG001").collect();
    assert!(found[0]["file"].as_str().is_some_and(|file| file.starts_with(broken)), "{found:?}");
    let sarif: Value =
        serde_json::from_str(&run(&["check", broken, "--format", "sarif"], 1).out).expect("JSON");
    assert_eq!(sarif["version"], "2.1.0");
    has(
        &run(&["check", broken, "--format", "github"], 1).out,
        &["::error file=tests/declarations"],
    );
    has(&run(&["check", "/nowhere"], 2).err, &["error: ", "/nowhere", "help: "]);
    has(&run(&["check", "src"], 2).err, &["rings/"]);
}

#[test]
fn a_plan_is_shown_as_it_would_go() {
    let monday = "2026-11-02T10:00:00Z";
    let shown = run(&["plan", "checkout", "--at", monday], 0).out;
    has(
        &shown,
        &["internal    now", "├─ us-east", "└─ eu-west", "(after us-east, eu-west)", "GDPR-1"],
    );
    let json = run(&["plan", ".", "checkout", "--at", monday, "-o", "json"], 0).out;
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["rings"][0]["earliest"]["start"], monday);
    assert_eq!(json["rings"][1]["after"], json!(["internal"]));
    assert_eq!(json["rings"][1]["earliest"]["start"], json["rings"][0]["earliest"]["pass"]);
    let names = run(&["plan", "checkout", "-o", "name"], 0).out;
    assert_eq!(names, "internal\nbeta\nus-east\neu-west\nrest\n");
    has(&run(&["plan", "chekout"], 1).err, &["no plan `chekout`", "did you mean `checkout`?"]);
}

#[test]
fn scenarios_pass_fail_and_are_missed() {
    let passing = run(&["test", "tests/scenarios/abort.yaml"], 0).out;
    has(&passing, &["ok ", "passed, 0 failed"]);
    let dir = tempfile::tempdir().expect("a directory");
    let text = fs::read_to_string(Path::new(HERE).join("tests/scenarios/a-first-release.yaml"));
    let text = text
        .expect("a scenario")
        .replace("source: base", &format!("source: {HERE}/tests/scenarios/base"));
    let (start, _) = text.split_once("steps:").expect("steps");
    let wrong = "steps:\n    - {at: 1m, expect: {release: nothing@1, releasePhase: Succeeded}}\n";
    fs::write(dir.path().join("wrong.yaml"), format!("{start}{wrong}")).expect("written");
    let path = dir.path().to_str().expect("text");
    has(&run(&["test", path], 1).out, &["FAIL ", "0 passed, 1 failed"]);
    let empty = tempfile::tempdir().expect("a directory");
    has(&run(&["test", empty.path().to_str().expect("text")], 2).err, &["there is no scenario"]);
    run(&["test", "/nowhere"], 2);
}

#[test]
fn judges_answer_on_standard_output() {
    let judge = |question: &str| {
        let mut child = ringward(&["judge"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        let mut input = child.stdin.take().expect("a pipe");
        input.write_all(question.as_bytes()).expect("written");
        drop(input);
        ended(child.wait_with_output().expect("it ends"))
    };
    let said = judge(r#"{"judge": "threshold", "parameters": {"max": 0.4}, "samples": [0.412]}"#);
    assert_eq!(said.code, 0, "{}", said.err);
    let answer: Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!(answer["verdict"], "Fail");
    for nonsense in ["", "{", r#"{"judge": "gut"}"#] {
        let said = judge(nonsense);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{nonsense}");
        has(&said.err, &["error: ", "help: "]);
    }
}

#[test]
fn tokens_are_made_listed_and_revoked() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().to_str().expect("text");
    let made =
        run(&["token", "create", "kim", "--role", "approver", "--ttl", "2d", "--data", data], 0);
    let token = made.out.trim();
    assert!(token.starts_with("rw_") && token.len() == 67, "{token}");
    has(&made.err, &["kim", "shown only now"]);
    let list = run(&["token", "list", "--data", data], 0).out;
    has(&list, &["kim", "approver"]);
    assert!(!list.contains(token));
    let kept: String = fs::read_dir(data)
        .expect("files")
        .map(|file| fs::read_to_string(file.expect("a file").path()).expect("text"))
        .collect();
    assert!(!kept.contains(token) && kept.contains("kim"), "{kept}");
    has(&run(&["token", "revoke", "kim", "--data", data], 0).err, &["revoked"]);
    run(&["token", "revoke", "kim", "--data", data], 1);
    assert!(!run(&["token", "list", "--data", data], 0).out.contains("kim"));
    run(&["token", "create", "kim", "--data", data], 2);
    has(
        &run(&["token", "list", "--data", "/nowhere"], 1).err,
        &["there is no data directory at /nowhere"],
    );
}
