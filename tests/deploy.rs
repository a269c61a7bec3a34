//! What `deploy/` holds fits what the program says of itself.

use std::{collections::BTreeSet, fs, path::Path};

use ringward::config::Settings;
use serde::Deserialize as _;
use serde_json::Value;

fn text(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn documents(path: &str) -> Vec<Value> {
    let text = text(path);
    serde_yaml::Deserializer::from_str(&text).map(|d| Value::deserialize(d).unwrap()).collect()
}

/// Every word of a text that is called like a metric of ours, as it was measured.
fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let names = words.filter(|word| word.starts_with("ringward_"));
    let parts = ["_bucket", "_sum", "_count"];
    let whole = |name: &str| {
        let found = parts.iter().find_map(|part| name.strip_suffix(part));
        found.unwrap_or(name).to_owned()
    };
    names.map(whole).collect()
}

/// The metrics that the program has.
fn known() -> BTreeSet<String> {
    let files = ["src/show/telemetry.rs", "src/show/telemetry/gauges.rs"];
    files.iter().flat_map(|file| metrics(&text(file))).collect()
}

#[test]
fn every_metric_of_the_dashboard_and_the_alerts_is_one() {
    let known = known();
    assert!(known.len() > 15, "{known:?}");
    for path in ["deploy/grafana-dashboard.json", "deploy/alerts.yaml", "tests/alerts.yaml"] {
        let named = metrics(&text(path));
        let missing: Vec<_> = named.difference(&known).collect();
        assert!(!named.is_empty() && missing.is_empty(), "{path}: {missing:?}");
    }
    let shown = metrics(&text("deploy/grafana-dashboard.json"));
    let hidden: Vec<_> = known.difference(&shown).collect();
    assert!(hidden.is_empty(), "no panel shows {hidden:?}");
}

#[test]
fn the_dashboard_is_one() {
    let dashboard: Value = serde_json::from_str(&text("deploy/grafana-dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
    for panel in panels {
        assert!(!panel["title"].as_str().unwrap().is_empty(), "{panel}");
        assert!(!panel["targets"].as_array().unwrap().is_empty(), "{panel}");
        let place = &panel["gridPos"];
        assert!(place["x"].as_u64().unwrap() + place["w"].as_u64().unwrap() <= 24, "{panel}");
    }
}

#[test]
fn the_operators_rules_are_the_same_and_each_is_tested() {
    let rules = &documents("deploy/alerts.yaml")[0]["groups"];
    assert_eq!(*rules, documents("deploy/prometheus-rule.yaml")[0]["spec"]["groups"]);
    let tests = text("tests/alerts.yaml");
    for rule in rules[0]["rules"].as_array().unwrap() {
        let name = rule["alert"].as_str().unwrap();
        let fires = tests.contains(&format!("alertname: {name}\n"));
        let quiet = tests.contains(&format!("alertname: {name}, exp_alerts: []"));
        // A waiver is told of while it is in force, and a refusal when it comes: the rest has its quiet time.
        assert!(fires && (quiet || name == "RingwardEffectsRefused"), "{name} is not tested");
    }
}

#[test]
fn the_manifests_fit_each_other_and_the_program() {
    let manifests = documents("deploy/kubernetes.yaml");
    let of = |kind: &str| manifests.iter().find(|m| m["kind"] == kind).unwrap();
    let settings = of("ConfigMap")["data"]["ringward.yaml"].as_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ringward.yaml");
    fs::write(&file, settings).unwrap();
    let settings = Settings::read(&file).unwrap();
    let set = &of("StatefulSet")["spec"];
    let container = &set["template"]["spec"]["containers"][0];
    assert_eq!(container["ports"][0]["containerPort"], settings.listen.port());
    assert_eq!(set["replicas"], 1, "the journal has one writer");
    let mounts = container["volumeMounts"].as_array().unwrap();
    let mounted = |path: &Path| {
        let at = |m: &Value| Path::new(m["mountPath"].as_str().unwrap()).to_owned();
        mounts.iter().any(|mount| path.starts_with(at(mount)))
    };
    let tls = settings.tls.unwrap();
    for path in [&settings.data, &tls.certificate, &tls.key] {
        assert!(mounted(path), "{}", path.display());
    }
    let names: BTreeSet<_> = mounts.iter().map(|mount| mount["name"].to_string()).collect();
    let volumes = set["template"]["spec"]["volumes"].as_array().unwrap().iter();
    let claims = set["volumeClaimTemplates"].as_array().unwrap().iter();
    let there: BTreeSet<_> = volumes
        .map(|volume| volume["name"].to_string())
        .chain(claims.map(|claim| claim["metadata"]["name"].to_string()))
        .collect();
    assert_eq!(names, there);
    let service = of("Service");
    assert_eq!(service["spec"]["selector"], set["template"]["metadata"]["labels"]);
    let monitor = &documents("deploy/servicemonitor.yaml")[0];
    assert_eq!(monitor["spec"]["selector"]["matchLabels"], service["metadata"]["labels"]);
    assert_eq!(monitor["spec"]["endpoints"][0]["port"], service["spec"]["ports"][0]["name"]);
    assert_eq!(monitor["metadata"]["namespace"], service["metadata"]["namespace"]);
}
