//! That what comes out passes `check`: it is compiled, with clusters beside it that have all it asks for.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Document,
    draft::{Gate, Policy},
    remark::{Remarks, Rule},
};
use crate::declare::{Diagnostic, Snapshot, compile, diagnostic::Severity};

/// Where documents stand in what is compiled.
const FILES: [&str; 2] = ["policies/imported.yaml", "rings/imported.yaml"];

/// Every error in what came out.
pub(super) fn faults(documents: &[Document]) -> Vec<Diagnostic> {
    let mut files = BTreeMap::new();
    for (path, folder) in FILES.into_iter().zip(["policies", "rings"]) {
        let texts =
            documents.iter().filter(|document| document.folder() == folder).map(Document::yaml);
        files.insert(path.to_owned(), texts.collect::<Vec<_>>().join("---\n").into_bytes());
    }
    files.insert("rings/beside.yaml".into(), clusters(documents).into_bytes());
    let compiled = compile(&Snapshot { commit: "import".into(), files });
    // That two stages take the same cluster is for whoever declares clusters to see: these are made up.
    let is_one =
        |problem: &Diagnostic| problem.severity == Severity::Error && problem.rule != "DAG003";
    compiled.diagnostics.into_iter().filter(is_one).collect()
}

/// Keeps those gates of a policy that pass `check`, and says of each other one why it does not.
pub(super) fn keep<'a>(gates: Vec<Gate<'a>>, remarks: &mut Remarks) -> Vec<Gate<'a>> {
    let mut kept = Vec::new();
    for gate in gates {
        let mut alone = gate.clone();
        alone.required = true;
        let policy = Policy {
            at: gate.at.clone(),
            name: "alone".into(),
            origin: String::new(),
            notes: Vec::new(),
            gates: vec![alone],
            lasts: None,
            deadline: None,
        };
        let documents = [gate.template.document(), policy.document(&mut Remarks::default())];
        match faults(&documents).into_iter().next() {
            None => kept.push(gate),
            Some(fault) => {
                let message = format!("`{}` is not carried over: {}", gate.name, fault.message);
                remarks.say(Rule::Imp003, &gate.at, message, fault.help);
            }
        }
    }
    kept
}

/// A cluster for each ring of each plan, with its labels, and a source of every kind on each.
fn clusters(documents: &[Document]) -> String {
    const SOURCES: [&str; 6] = [
        "{name: prometheus, type: prometheus, url: 'http://x'}",
        "{name: datadog, type: datadog, url: 'http://x'}",
        "{name: influxdb, type: influxdb, url: 'http://x', org: x}",
        "{name: graphite, type: graphite, url: 'http://x'}",
        "{name: newRelic, type: newRelic, url: 'http://x', account: 1}",
        "{name: json, type: json, url: 'http://x', timestamp: /at}",
    ];
    let sources = SOURCES.join(", ");
    let mut wanted: BTreeSet<String> = BTreeSet::new();
    for document in documents.iter().filter(|document| document.kind == "RingPlan") {
        let json = document.json();
        let rings = json["spec"]["rings"].as_array().cloned().unwrap_or_default();
        wanted.extend(rings.iter().map(|ring| ring["clusters"]["labels"].to_string()));
    }
    let none = ["{}".to_owned()];
    let labels = if wanted.is_empty() { none.to_vec() } else { wanted.into_iter().collect() };
    let one = |(i, labels): (usize, &String)| {
        format!(
            "apiVersion: ringward.dev/v1alpha1\nkind: Cluster\nmetadata: {{name: c{i}, labels: {labels}}}\nspec: \
             {{region: r{i}, jurisdiction: CH, metrics: [{sources}]}}\n"
        )
    };
    labels.iter().enumerate().map(one).collect::<Vec<_>>().join("---\n")
}
