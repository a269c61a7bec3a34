use std::collections::BTreeMap;

use ringward::{
    act::metrics::{
        Sample, alerts, cloudwatch, datadog, graphite, influxdb, json, newrelic,
        prometheus::read_range, webhook,
    },
    decide::{event::Reading, gate::reading::read, world::World},
    declare::{Compiled, Diagnostic, Snapshot, compile, report},
    model::time::Span,
    record::{Draft, format::Record},
    show::{
        api::{
            AbortBody, FreezeBody, RollbackBody, SubmitBody, WriteOffBody, extract,
            problem::Problem,
        },
        cli::judge::judge_json,
    },
    sim::scenario,
};

/// A document with one mistake, in a file of its own.
const WRONG: &str =
    "apiVersion: ringward.dev/v1alpha1\nkind: Calendar\nmetadata: {name: zz-wrong}\nspec: 7\n";

/// Two plans that have nothing to do with what is fuzzed.
const GOOD: &str = r#"
apiVersion: ringward.dev/v1alpha1
kind: Cluster
metadata: {name: zz-one}
spec:
  region: zz
  jurisdiction: CH
  metrics: [{name: prometheus, type: prometheus, url: "http://zz:9090"}]
---
apiVersion: ringward.dev/v1alpha1
kind: RingPlan
metadata: {name: zz-plan}
spec:
  target: {kind: Deployment, namespace: zz, name: zz, container: app}
  policy: zz-none
  rings: [{name: only, clusters: {names: [zz-one]}}]
"#;

const NONE: &str = "apiVersion: ringward.dev/v1alpha1\nkind: RingPolicy\nmetadata: {name: zz-none}\n\
                    spec: {soak: {duration: 1m}, gates: none}\n";

/// What a source of alerts or a webhook answers: read, or an error that repeats nothing of it.
pub fn told(bytes: &[u8]) {
    let status = if bytes.len() % 5 == 4 { 503 } else { 200 };
    let errors = [
        alerts::read(status, bytes).err(),
        alerts::read_alertmanager(status, bytes).err(),
        webhook::read(status, bytes).err(),
    ];
    for why in errors.into_iter().flatten() {
        assert!(!why.is_empty() && why.len() < 200, "{why:?}");
        assert!(!why.contains(char::is_control), "{why:?}");
    }
}

/// A file of declarations: every mistake has a place in a file, no mistake hides another file's, what is
/// beside it stays in service, and a plan survives the journal.
pub fn declarations(bytes: &[u8]) {
    let alone = compiled(&[("rings/a.yaml", bytes)]);
    places("rings/a.yaml", bytes, &alone.diagnostics);
    let again = compiled(&[("rings/a.yaml", bytes)]);
    assert_eq!(alone.diagnostics, again.diagnostics, "the same file, the same mistakes");
    for plan in alone.plans.values().flatten() {
        let text = serde_json::to_string(plan.as_ref()).expect("a plan is JSON");
        let back: ringward::model::plan::Plan = serde_json::from_str(&text).expect("and read back");
        assert_eq!(&back, plan.as_ref(), "as it was");
    }
    let errors = alone.diagnostics.iter().any(Diagnostic::is_error);
    assert!(errors || alone.plans.values().all(Result::is_ok), "a plan out of service says why");

    let others = compiled(&[
        ("rings/a.yaml", bytes),
        ("policies/zz.yaml", NONE.as_bytes()),
        ("rings/zz.yaml", GOOD.as_bytes()),
        ("policies/zz-wrong.yaml", WRONG.as_bytes()),
    ]);
    let told = others.diagnostics.iter().any(|d| d.file == "policies/zz-wrong.yaml");
    assert!(told, "the mistake of another file is told as well");
    // What has the same names is in the way, as it should be.
    if !bytes.windows(3).any(|three| three == b"zz-") {
        assert!(others.plans.get("zz-plan").is_some_and(Result::is_ok), "another plan goes on");
    }
    reports(&others.diagnostics);
}

fn compiled(files: &[(&str, &[u8])]) -> Compiled {
    let files = files.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.to_vec()));
    compile(&Snapshot { commit: "c0ffee".into(), files: files.collect::<BTreeMap<_, _>>() })
}

fn places(file: &str, bytes: &[u8], found: &[Diagnostic]) {
    let lines = bytes.split(|byte| *byte == b'\n' || *byte == b'\r').count() + 1;
    for problem in found {
        assert_eq!(problem.file, file, "{problem}");
        assert!((1..=lines).contains(&problem.place.line), "{problem} of {lines} lines");
        assert!(problem.place.column >= 1 && problem.place.len >= 1, "{problem}");
        assert!(!problem.message.is_empty(), "{problem}");
        assert!(!problem.message.contains(char::is_control), "{problem:?}");
    }
}

/// Whatever is wrong can be said in every format.
fn reports(found: &[Diagnostic]) {
    assert_eq!(report::github(found).lines().count(), found.len());
    let sarif: serde_json::Value = serde_json::from_str(&report::sarif(found)).expect("JSON");
    let results = sarif["runs"][0]["results"].as_array().map(Vec::len);
    assert_eq!(results, Some(found.len()));
    let text = report::text(found, false);
    let stray = |c: char| c.is_control() && c != '\n' && c != '\t';
    assert!(!text.contains(stray), "{text:?}");
}

/// A file of scenarios: it is read, or every mistake has its place.
pub fn scenarios(bytes: &[u8]) {
    if let Err(found) = scenario::parse("a.yaml".as_ref(), bytes) {
        assert!(!found.is_empty(), "a refusal says why");
        places("a.yaml", bytes, &found);
        reports(&found);
    }
}

/// An answer of Prometheus' API behind a status in its first two bytes: only success is a number, NaN is
/// none, and what is said of an error does not repeat the answer.
pub fn prometheus(bytes: &[u8]) {
    let (status, body) = bytes.split_at(bytes.len().min(2));
    let status = match status {
        [b'0'..=b'9', _] | [] | [_] => 200,
        [high, low] => u16::from_be_bytes([*high, *low]),
        [_, _, ..] => unreachable!("two bytes at most"),
    };
    let reading = read(status, body);
    let text = serde_json::to_string(&reading).expect("a reading is JSON");
    assert_eq!(serde_json::from_str::<Reading>(&text).expect("and read back"), reading);
    match reading {
        Reading::Value { value, .. } => {
            assert!(status == 200 && !value.is_nan(), "{status}: {value}");
        }
        Reading::Absent => assert_eq!(status, 200),
        Reading::Error(why) => {
            assert!(!why.is_empty() && why.len() < 2_000, "{why}");
            // The labels of several series are named.
            assert!(!why.contains("a canary") || why.contains(" series, "), "{why}");
        }
    }
}

/// An answer of any other metric source, behind a letter that says whose and a status in two bytes: only a
/// success has samples, none is NaN, and what is said of an error repeats no more of the answer than a plain
/// word.
pub fn providers(bytes: &[u8]) {
    let [whose, high, low, body @ ..] = bytes else { return };
    let status = match high {
        b'0'..=b'9' => 200,
        high => u16::from_be_bytes([*high, *low]),
    };
    let until = "2026-01-01T00:00:00Z".parse().expect("an instant");
    let answer: Result<Vec<Sample>, String> = match whose % 8 {
        0 => datadog::read(status, body),
        1 => cloudwatch::read(status, body),
        2 => influxdb::read_csv(status, body),
        3 => influxdb::read_json(status, body, Some(Span::minutes(1)), until),
        4 => graphite::read(status, body, until),
        5 => newrelic::read(status, body),
        6 => json::read(status, body, "/data/rate", "/data/at"),
        _ => read_range(status, body),
    };
    match answer {
        Ok(samples) => {
            assert_eq!(status, 200);
            assert!(samples.iter().all(|sample| !sample.value.is_nan()), "{samples:?}");
            assert!(samples.is_sorted_by_key(|sample| sample.at), "{samples:?}");
        }
        Err(why) => {
            assert!(!why.is_empty() && why.len() < 2_000, "{why}");
            assert!(!why.contains("a canary") && !why.contains(char::is_control), "{why}");
        }
    }
}

/// A question to a judge: it is answered, or refused with the place.
pub fn judge(bytes: &[u8]) {
    let Ok(question) = serde_json::from_slice::<serde_json::Value>(bytes) else { return };
    match judge_json(question) {
        Ok(answer) => assert!(answer.is_object() || answer.is_array(), "{answer}"),
        Err(refused) => assert!(!refused.to_string().is_empty()),
    }
}

/// A body of the API: read and written again it is the same; refused, it is by a client's fault, with a
/// pointer to each part.
pub fn bodies(bytes: &[u8]) {
    body::<SubmitBody>(bytes);
    body::<AbortBody>(bytes);
    body::<RollbackBody>(bytes);
    body::<FreezeBody>(bytes);
    body::<WriteOffBody>(bytes);
}

fn body<T>(bytes: &[u8])
where
    T: serde::de::DeserializeOwned + serde::Serialize + PartialEq + std::fmt::Debug,
{
    match extract::parse::<T>(bytes) {
        Ok(body) => {
            let text = serde_json::to_vec(&body).expect("a body is JSON");
            assert_eq!(extract::parse::<T>(&text).expect("and read back"), body);
        }
        Err(Problem { status, detail, violations, .. }) => {
            assert!(status == 400 || status == 422, "{status}");
            assert!(!detail.is_empty());
            assert_eq!(status == 422, !violations.is_empty(), "{violations:?}");
            for violation in violations {
                assert!(violation.pointer.is_empty() || violation.pointer.starts_with('/'));
            }
        }
    }
}

/// An exported line of the journal: what can be opened is sealed to what opens to the same, and a single
/// changed byte is noticed; folding it does no harm.
pub fn journal(bytes: &[u8]) {
    let Ok(line) = std::str::from_utf8(bytes) else { return };
    let Some(record) = Record::from_line(line) else { return };
    let written = record.to_line();
    let read = std::str::from_utf8(&written).ok().and_then(Record::from_line);
    assert_eq!(read.as_ref(), Some(&record), "a line is the record");
    let Ok(entry) = record.open() else { return };
    let draft = Draft { at: entry.at, facts: entry.facts, commands: entry.commands };
    // What does not follow is refused; nothing that is read brings the fold down.
    let _ = World::default().fold(draft.at, &draft.facts, &draft.commands);
    let sealed = Record::seal(record.prev, record.seq, entry.epoch, &draft).expect("it was read");
    assert!(sealed.intact());
    let opened = sealed.open().expect("what was sealed is opened");
    assert_eq!((&opened.facts, &opened.commands), (&draft.facts, &draft.commands));
    assert_eq!((opened.at, opened.epoch, opened.seq), (draft.at, entry.epoch, record.seq));
    let mut changed = sealed;
    if let Some(byte) = changed.payload.first_mut() {
        *byte ^= 1;
        assert!(!changed.intact());
    }
}
