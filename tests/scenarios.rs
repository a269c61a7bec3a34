//! Every scenario under `tests/scenarios/` passes; and a scenario that expects what is not so fails,
//! and says what is, so that none of them passes for want of looking.

use std::{fs, path::PathBuf};

use ringward::{
    declare::schema::json_schema,
    sim::scenario::{Outcome, Rendered, run},
};

fn here() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios")
}

/// Runs scenarios over the base of the others, without a file of their own among them.
fn run_text(text: &str) -> Vec<Outcome> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("scenario.yaml");
    fs::write(&file, text).unwrap();
    run(file).unwrap()
}

/// A release of `resets`, whose first ring breaches at 8m30s, and one more step, in line 12.
fn healthy_but_for(step: &str) -> Outcome {
    let outcomes = run_text(&scenario(step));
    assert_eq!(outcomes.len(), 1);
    outcomes.into_iter().next().unwrap()
}

fn scenario(step: &str) -> String {
    let base = here().join("base");
    format!(
        r#"apiVersion: ringward.dev/v1alpha1
kind: Scenario
metadata: {{name: one more}}
spec:
  source: {base}
  start: 2026-03-09T07:00:00Z
  known: {{resets: 1.0.0}}
  metrics: [{{gate: success-rate, values: "0.999x8 0.9 0.999x600"}}]
  steps:
    - {{at: 0s, release: {{plan: resets, version: 2.0.0, author: dana}}}}
    - {{at: 1m, resume: {{plan: resets, by: ola}}}}
    - {step}
"#,
        base = base.display(),
    )
}

#[test]
fn every_scenario_passes() {
    let outcomes = run(here()).unwrap();
    assert!(outcomes.len() >= 30, "only {} scenarios were found", outcomes.len());
    let failed = outcomes.iter().filter(|outcome| !outcome.passed).count();
    assert_eq!(failed, 0, "\n{}", Rendered(&outcomes));
    // A scenario that asks nothing of the core shows nothing.
    let idle: Vec<_> = outcomes.iter().filter(|outcome| outcome.events < 10).collect();
    assert!(idle.is_empty(), "{idle:?}");
    let last = Rendered(&outcomes).to_string();
    assert!(last.ends_with(&format!("{} passed, 0 failed", outcomes.len())), "{last}");
}

#[test]
fn a_run_is_the_same_every_time() {
    let file = here().join("what-survives-a-restart.yaml");
    assert_eq!(run(&file).unwrap(), run(&file).unwrap());
}

#[test]
fn what_is_not_so_fails_whichever_way_it_is_expected() {
    let on = "release: resets@2.0.0, ring: first";
    let pairs = [
        (format!("{on}, phase: Soaking"), format!("{on}, phase: Passed"), "it is Soaking"),
        (format!("{on}, soak: 7m"), format!("{on}, soak: 7m1s..1h"), "it is 7m"),
        (format!("{on}, heldBy: []"), format!("{on}, heldBy: [pause]"), "held by nothing"),
        (
            format!("{on}, verdict: {{gate: success-rate, cluster: corp, is: Pass}}"),
            format!("{on}, verdict: {{gate: success-rate, is: Fail}}"),
            "it says Pass (0.999 >= 0.99)",
        ),
        (
            format!("{on}, verdict: {{gate: success-rate, is: Pass}}"),
            format!("{on}, verdict: {{gate: latency, is: Pass}}"),
            "it was not measured",
        ),
        (format!("{on}, never: [Failed]"), format!("{on}, never: [Deploying]"), "it was"),
        (
            "release: resets@2.0.0, never: [Failed]".into(),
            "release: resets@2.0.0, never: [InProgress]".into(),
            "it was",
        ),
        (
            format!("{on}, before: {{ring: second}}"),
            "release: resets@2.0.0, ring: second, before: {ring: first}".into(),
            "never was Deploying",
        ),
        (
            "release: resets@2.0.0, releasePhase: InProgress".into(),
            "release: resets@2.0.0, releasePhase: Succeeded".into(),
            "it is InProgress",
        ),
        (
            "cluster: corp, plan: resets, running: 2.0.0".into(),
            "cluster: corp, plan: resets, running: 1.0.0".into(),
            "it runs 2.0.0",
        ),
        ("refused: nothing-to-do".into(), "refused: stale-state".into(), "it was nothing-to-do"),
        ("refused: nothing-to-do".into(), "refused: GDPR-1".into(), "expected a refusal as GDPR-1"),
        (
            "audit: {contains: nothing-to-do}".into(),
            "audit: {contains: tombstoned}".into(),
            "does not",
        ),
        (
            format!("{on}, phase: Soaking"),
            "release: resets@9.9.9, ring: first, phase: Soaking".into(),
            "there is no release resets@9.9.9 (there is resets@2.0.0)",
        ),
        (
            format!("{on}, phase: Soaking"),
            "release: resets@2.0.0, ring: third, phase: Soaking".into(),
            "no ring third (it has first, second)",
        ),
        (
            "cluster: corp, plan: resets, running: 2.0.0".into(),
            "cluster: corp, running: 2.0.0".into(),
            "say which by `plan`",
        ),
    ];
    let of = |expected: &String| scenario(&format!("{{at: 8m15s, expect: {{{expected}}}}}"));
    let rights: Vec<_> = pairs.iter().map(|(right, ..)| of(right)).collect();
    for right in run_text(&rights.join("---\n")) {
        assert!(right.passed, "{}", right.failure);
    }
    let wrongs: Vec<_> = pairs.iter().map(|(_, wrong, _)| of(wrong)).collect();
    let failed = run_text(&wrongs.join("---\n"));
    assert_eq!(failed.len(), pairs.len());
    for ((_, wrong, says), failed) in pairs.iter().zip(failed) {
        assert!(!failed.passed, "expected {wrong} to fail");
        assert!(failed.failure.contains(", at 8m15s: "), "{}", failed.failure);
        assert!(failed.failure.contains(says), "{says:?} in {}", failed.failure);
    }
}

#[test]
fn a_failure_is_shown_with_its_timeline() {
    let step = "{at: 10m, expect: {release: resets@2.0.0, ring: first, phase: Passed, soak: 20m}}";
    let outcome = healthy_but_for(step);
    let file = outcome.file.clone();
    let text = Rendered(&[outcome]).to_string().replace(&file, "scenario.yaml");
    let expected = "\
FAIL  one more (scenario.yaml)
      line 12, at 10m: expected first to be Passed, it is Soaking; expected first to have soaked 20m, it is 0s
                0s  ringward starts, epoch 1
                0s  released by dana
                0s  the release is InProgress
                0s  first is Deploying
                0s  second is Waiting
               30s  first is Soaking
               30s  first: success-rate on corp says Pass (0.999 >= 0.99)
                1m  ola is refused: nothing-to-do, it is not paused, at least not by a pause of this scope
             8m30s  first: success-rate on corp says Fail (0.9 < 0.99)
             8m30s  first: back to zero: success-rate on corp: 0.9 < 0.99
             9m30s  first: success-rate on corp says Pass (0.999 >= 0.99)
0 passed, 1 failed";
    assert_eq!(text, expected);
}

#[test]
fn a_mistake_in_a_scenario_has_its_place_and_its_cure() {
    let step = |step: &str| healthy_but_for(step).failure;
    let cases = [
        ("{at: 1m, expct: {refused: tombstoned}}", "did you mean `expect`?"),
        ("{at: 1m, expect: {refused: tombstone}}", "did you mean `tombstoned`?"),
        ("{at: 1m, expect: {release: resets@2.0.0, ring: first, phase: Soaked}}", "the phases are"),
        ("{at: 1m, expect: {release: resets@2.0.0, ring: first, heldBy: [paused]}}", "`pause`"),
        ("{at: soon, expect: {refused: tombstoned}}", "such as 90s"),
        ("{at: 1m, expect: {ring: first, phase: Soaking}}", "needs `release`"),
        ("{at: 1m, expect: {release: resets@2.0.0}}", "nothing is expected"),
        ("{at: 1m, expect: {release: resets@2.0.0, never: [Held]}}", "name a `ring`"),
        ("{at: 1m}", "a step does one thing, and this does 0"),
        ("{at: 1m, lift: {id: a}, expect: {refused: tombstoned}}", "and this does 2"),
        ("{at: 1m, pause: {ring: first, by: ola}}", "one of {everything: true}"),
        ("{at: 1m, freeze: {plan: resets, until: later}}", "neither an instant nor a time"),
        ("{at: 1m, drift: {cluster: corp}}", "it is not clear what drifts"),
        ("{at: 1m, drift: {cluster: corp, running: 1.0.0, region: x}}", "what its nodes say now"),
        ("{at: 1m, edit: {file: rings/a.yaml}}", "either {file:"),
        ("{at: 1m, release: {plan: resets, version: 2.0}}", "put it in quotes"),
    ];
    for (written, says) in cases {
        let failure = step(written);
        assert!(failure.contains("scenario.yaml:12:"), "{written}: {failure}");
        assert!(failure.contains(says), "{written}: {says:?} in {failure}");
    }
}

#[test]
fn names_that_nothing_declares_are_told_before_anything_runs() {
    let text = |metrics: &str, source: &str| {
        format!(
            "apiVersion: ringward.dev/v1alpha1\nkind: Scenario\nmetadata: {{name: lost}}\nspec:\n  \
             source: {source}\n  start: 2026-03-09T07:00:00Z\n  metrics:\n    - {metrics}\n  steps:\n    \
             - {{at: 1m, expect: {{refused: tombstoned}}}}\n"
        )
    };
    let base = here().join("base").display().to_string();
    let failure = |metrics: &str, source: &str| run_text(&text(metrics, source))[0].failure.clone();
    let gate = failure("{gate: sucess-rate, values: 1}", &base);
    assert!(gate.contains("yaml:8: no gate `sucess-rate`"), "{gate}");
    assert!(gate.contains("did you mean `success-rate`?"), "{gate}");
    let cluster = failure("{gate: latency, cluster: crop, values: 1}", &base);
    assert!(cluster.contains("no cluster `crop`"), "{cluster}");
    let values = failure("{gate: latency, values: 1xx2}", &base);
    assert!(values.contains("`1xx2` is no series of values"), "{values}");
    let source = failure("{gate: latency, values: 1}", "elsewhere");
    assert!(source.contains("its source cannot be read"), "{source}");
}

#[test]
fn a_step_that_cannot_be_taken_is_a_failure() {
    let down = healthy_but_for("{at: 2m, restart: {down: 5m}}\n    - {at: 3m, lift: {id: a}}");
    assert!(down.failure.contains("line 13: ringward is down at that time"), "{}", down.failure);
    let drift = healthy_but_for("{at: 2m, drift: {cluster: corp, running: 3.0.0}}");
    assert!(drift.failure.contains("plans run in corp; say which by `plan`"), "{}", drift.failure);
}

#[test]
fn a_path_without_a_scenario_is_an_error() {
    let base = run(here().join("base")).unwrap_err();
    assert!(base.to_string().contains("there is no scenario in"), "{base}");
    assert!(run(here().join("nowhere")).unwrap_err().to_string().contains("cannot be read"));
}

/// The demands that the schema knows, in the spelling of file names.
fn demands() -> Vec<String> {
    let mut rules = Vec::new();
    properties_of_rules(&json_schema(), &mut rules);
    let other = ["id", "enforcement", "allowEmpty"];
    let names = rules.iter().filter(|name| !other.contains(&name.as_str()));
    let kebab = |name: &String| {
        let parts = name.chars().map(|c| match c.is_uppercase() {
            true => format!("-{}", c.to_lowercase()),
            false => c.to_string(),
        });
        parts.collect::<String>()
    };
    names.map(kebab).collect()
}

/// The fields of a residency rule: those that stand beside `enforcement`.
fn properties_of_rules(schema: &serde_json::Value, found: &mut Vec<String>) {
    let fields = schema["properties"].as_object().filter(|f| f.contains_key("enforcement"));
    if let Some(fields) = fields {
        found.extend(
            fields.keys().filter(|name| !found.contains(name)).cloned().collect::<Vec<_>>(),
        );
    }
    let inner: Vec<&serde_json::Value> = match schema {
        serde_json::Value::Object(map) => map.values().collect(),
        serde_json::Value::Array(items) => items.iter().collect(),
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_) => Vec::new(),
    };
    inner.into_iter().for_each(|inner| properties_of_rules(inner, found));
}

/// Every rule is seen kept and seen broken; and where it is taken out of the policy, what was refused or
/// held for it is not any more.
#[test]
fn every_residency_rule_is_seen_kept_and_broken() {
    let folder = here().join("residency");
    let demands = demands();
    assert_eq!(demands.len(), ringward::model::residency::Demand::NAMES.len(), "{demands:?}");
    for demand in demands {
        for how in ["kept", "broken"] {
            let outcomes = run(folder.join(format!("{demand}-{how}.yaml")));
            let outcomes = outcomes.unwrap_or_else(|why| panic!("{demand}-{how}: {why:?}"));
            assert!(outcomes.iter().all(|o| o.passed), "{}", Rendered(&outcomes));
        }
        let lawless = tempfile::tempdir().unwrap();
        for part in ["rings", "policies"] {
            fs::create_dir_all(lawless.path().join("base").join(part)).unwrap();
            for file in fs::read_dir(folder.join("base").join(part)).unwrap() {
                let file = file.unwrap().path();
                let text = without_rule(&fs::read_to_string(&file).unwrap(), &demand);
                let name = file.file_name().unwrap();
                fs::write(lawless.path().join("base").join(part).join(name), text).unwrap();
            }
        }
        let broken = lawless.path().join("broken.yaml");
        let text = fs::read_to_string(folder.join(format!("{demand}-broken.yaml"))).unwrap();
        // Where a step breaks the rule itself, it does not come back by that.
        let steps = text.lines().filter(|line| !line.contains("kind: ResidencyPolicy"));
        fs::write(&broken, steps.collect::<Vec<_>>().join("\n")).unwrap();
        let outcomes = run(&broken).unwrap();
        assert!(
            outcomes.iter().any(|o| !o.passed),
            "{demand} is refused or held for another reason"
        );
    }
}

/// The same documents, in which the policy of that name has no rule.
fn without_rule(text: &str, policy: &str) -> String {
    let named = format!("kind: ResidencyPolicy\nmetadata: {{name: {policy}}}\n");
    let documents = text.split("---\n").map(|document| match document.contains(&named) {
        true => format!("apiVersion: ringward.dev/v1alpha1\n{named}spec: {{rules: []}}\n"),
        false => document.to_owned(),
    });
    documents.collect::<Vec<_>>().join("---\n")
}
