//! What becomes of other tools' documents, word by word.
//!
//! Each folder of `tests/import/` holds what was given (`in.yaml`), how (`command`), what came out (`out.yaml`) and what
//! was said of it (`said.txt`). To write those anew after a change of wording: `RINGWARD_BLESS=1 cargo test --test
//! import`, and read the difference.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use proptest::prelude::*;
use ringward::import::{Imported, Mesh, Upstream, import};

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import")
}

fn cases() -> Vec<PathBuf> {
    let entries = fs::read_dir(samples()).unwrap().map(|entry| entry.unwrap().path());
    let mut cases: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    cases.sort();
    assert!(cases.len() > 8, "{cases:?}");
    cases
}

fn ringward(folder: &Path, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ringward"))
        .args(arguments)
        .env_clear()
        .env("HOME", folder)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A command that reads nothing has ended by then.
    let _ = stdin.write_all(input);
    drop(stdin);
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The declarations of an output, put into the folders that their heads name.
fn put(out: &str, folder: &Path) {
    for (i, document) in out.split("---\n").filter(|document| !document.is_empty()).enumerate() {
        let head = document.strip_prefix("# ").and_then(|rest| rest.split_once("/:"));
        let (place, _) = head.unwrap_or_else(|| panic!("{document}"));
        fs::create_dir_all(folder.join(place)).unwrap();
        fs::write(folder.join(place).join(format!("{i}.yaml")), document).unwrap();
    }
}

#[test]
fn every_sample_becomes_what_is_written_down_and_passes_check() {
    let bless = std::env::var_os("RINGWARD_BLESS").is_some();
    let mut wrong = Vec::new();
    for case in cases() {
        let command = fs::read_to_string(case.join("command")).unwrap();
        let arguments: Vec<&str> =
            ["import"].into_iter().chain(command.split_whitespace()).collect();
        let output = ringward(&case, &arguments, b"");
        let out = text(&output.stdout);
        let said = format!("{}exit {}\n", text(&output.stderr), output.status.code().unwrap_or(-1));
        for (name, said) in [("out.yaml", &out), ("said.txt", &said)] {
            let file = case.join(name);
            if bless {
                fs::write(&file, said).unwrap();
            } else if *said != fs::read_to_string(&file).unwrap_or_default() {
                wrong.push(format!("{}:\n{said}", file.display()));
            }
        }
        if !out.is_empty() {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir_all(folder.path().join("rings")).unwrap();
            fs::copy(samples().join("beside.yaml"), folder.path().join("rings/beside.yaml"))
                .unwrap();
            put(&out, folder.path());
            let checked = ringward(folder.path(), &["check"], b"");
            assert_eq!(
                checked.status.code(),
                Some(0),
                "{}: {}",
                case.display(),
                text(&checked.stdout)
            );
        }
    }
    assert!(wrong.is_empty(), "{}\nRINGWARD_BLESS=1 writes them anew", wrong.join("\n"));
}

#[test]
fn standard_input_formats_and_exit_codes() {
    let folder = samples().join("argo-blue-green");
    let given = [
        fs::read(folder.join("in.yaml")).unwrap(),
        b"---\n".to_vec(),
        fs::read(folder.join("more.yaml")).unwrap(),
    ]
    .concat();
    let run = |arguments: &[&str]| {
        let output = ringward(&folder, arguments, &given);
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, out, said) = run(&["import", "argo-rollouts", "-"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        out.contains("kind: RingPolicy") && said.contains("--> standard input:"),
        "{out}{said}"
    );
    assert_eq!(run(&["import", "argo-rollouts", "-", "--strict"]).0, Some(1));
    assert_eq!(run(&["import", "argo-rollouts", "in.yaml", "more.yaml", "-o", "yaml"]).0, Some(0));
    let (_, names, _) = run(&["import", "argo-rollouts", "-", "-o", "name"]);
    assert_eq!(names, "GateTemplate/probes\nRingPolicy/till\n");
    let (_, json, said) = run(&["import", "argo-rollouts", "-", "-o", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["documents"][1]["metadata"]["name"], "till");
    assert_eq!(json["documents"][1]["spec"]["soak"]["duration"], "50s");
    let remark =
        json["remarks"].as_array().unwrap().iter().find(|r| r["rule"] == "IMP005").unwrap();
    assert!(
        remark["line"].is_u64()
            && remark["label"] == "spec.strategy.blueGreen.prePromotionAnalysis",
        "{remark}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
    let (code, out, said) = run(&["import", "flagger", "-"]);
    assert_eq!((code, out.as_str()), (Some(1), ""), "{said}");
    assert!(said.contains("nothing was carried over"), "{said}");
    let (code, _, said) = run(&["import", "flagger", "nowhere.yaml"]);
    assert!(code == Some(1) && said.contains("nowhere.yaml cannot be read"), "{said}");
    for wrong in [
        vec!["import"],
        vec!["import", "helm", "-"],
        vec!["import", "flagger"],
        vec!["import", "flagger", "--mesh", "osm", "-"],
        vec!["import", "argo-rollouts", "--arg", "a", "-"],
        vec!["import", "kubefleet", "--target", "a/b", "-"],
    ] {
        assert_eq!(run(&wrong).0, Some(2), "{wrong:?}");
    }
    // With nothing to warn of, `--strict` changes nothing.
    let plain = b"apiVersion: argoproj.io/v1alpha1\nkind: AnalysisTemplate\nmetadata: {name: plain}\nspec:\n  metrics:\n    - \
                  {name: plain, interval: 1m, count: 3, successCondition: 'result[0] >= 1', provider: {prometheus: {query: up}}}\n";
    let output = ringward(&folder, &["import", "argo-rollouts", "--strict", "-"], plain);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

/// A file as every tool's: nothing panics, and what comes out is what it should be.
fn survives(bytes: &[u8]) -> Vec<Imported> {
    let args = BTreeMap::from([("service".to_owned(), "checkout".to_owned())]);
    let upstreams = [
        Upstream::ArgoRollouts { args },
        Upstream::Flagger { mesh: Some(Mesh::Istio) },
        Upstream::KubeFleet { target: "Deployment/shop/checkout/app".parse().ok() },
    ];
    let imported =
        upstreams.iter().map(|upstream| import(upstream, &[("in.yaml".into(), bytes.to_vec())]));
    let imported: Vec<_> = imported.collect();
    for Imported { documents, remarks, .. } in &imported {
        let unsound = remarks.iter().find(|remark| remark.rule == "IMP010");
        assert!(unsound.is_none(), "{unsound:?}: {}", String::from_utf8_lossy(bytes));
        for document in documents {
            let back: serde_json::Value = serde_yaml::from_str(&document.yaml()).unwrap();
            assert_eq!(back["metadata"]["name"], document.name);
        }
    }
    imported
}

#[test]
fn whatever_is_given_nothing_panics() {
    for case in cases() {
        let bytes = fs::read(case.join("in.yaml")).unwrap();
        let step = bytes.len() / 24 + 1;
        for at in (0..bytes.len()).step_by(step) {
            survives(&bytes[..at]);
            let mut changed = bytes.clone();
            changed[at] ^= 0x11;
            survives(&changed);
        }
        // Fields that are taken away, and values that are another kind of value.
        let text = String::from_utf8(bytes).unwrap();
        for (i, _) in text.lines().enumerate().step_by(3) {
            let without: Vec<&str> =
                text.lines().enumerate().filter(|(j, _)| *j != i).map(|(_, line)| line).collect();
            survives(without.join("\n").as_bytes());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_stands_in_the_fields_nothing_panics(
        condition in "(result|\\[0\\]|[<>=!]{1,2}|&&|\\|\\||\\(|\\)|len|isNaN|default|,|-?[0-9.e]{1,4}| |.){0,12}",
        query in "(\\{\\{ ?args\\.[a-z]{1,6} ?\\}\\}|\\{\\{|\\}\\}|\"|'|#|[a-z]+|\\n|.){0,10}",
        name in ".{0,70}",
        time in "([0-9.]{1,4}(ms|s|m|h|d|)){0,3}",
        number in "-?[0-9]{0,12}|.{0,4}",
    ) {
        let quoted = |text: &str| serde_json::to_string(text).unwrap();
        let (condition, query, name) = (quoted(&condition), quoted(&query), quoted(&name));
        let (time, number) = (quoted(&time), quoted(&number));
        let argo = format!(
            "apiVersion: argoproj.io/v1alpha1\nkind: AnalysisTemplate\nmetadata: {{name: {name}}}\nspec: {{args: [{{name: \
             service}}, {{name: {name}, value: {query}}}], metrics: [{{name: {name}, interval: {time}, initialDelay: {time}, count: \
             {number}, failureLimit: {number}, successCondition: {condition}, provider: {{prometheus: {{query: {query}}}}}}}, \
             {{name: b, interval: 1m, count: 3, successCondition: 'result < 1', provider: {{prometheus: {{query: {query}}}}}}}]}}\n"
        );
        survives(argo.as_bytes());
        let flagger = format!(
            "apiVersion: flagger.app/v1beta1\nkind: Canary\nmetadata: {{name: {name}}}\nspec: {{analysis: {{interval: {time}, threshold: \
             {number}, iterations: {number}, stepWeight: {number}, metrics: [{{name: {name}, query: {query}, interval: {time}, thresholdRange: {{max: \
             {number}}}}}, {{name: request-duration, interval: {time}, thresholdRange: {{min: {number}, max: 5}}}}]}}}}\n"
        );
        survives(flagger.as_bytes());
        let fleet = format!(
            "apiVersion: placement.kubernetes-fleet.io/v1\nkind: StagedUpdateStrategy\nmetadata: {{name: {name}}}\nspec: {{stages: [{{name: {name}, \
             maxConcurrency: {number}, labelSelector: {{matchLabels: {{a: {query}}}}}, afterStageTasks: [{{type: TimedWait, waitTime: {time}}}]}}]}}\n"
        );
        survives(fleet.as_bytes());
    }
}
