//! What teams have already, as declarations: the analysis of Argo Rollouts, the canaries of Flagger and the staged
//! strategies of KubeFleet -> `GateTemplate`, `RingPolicy` and `RingPlan`, and a remark for everything that was
//! not carried over or is judged otherwise here.
//!
//! Text in, text out: no file is read and nothing is asked. What means the same is carried over; what does not is
//! refused by name and never guessed. What comes out passes `check`: it is compiled before it leaves.

mod argo;
mod condition;
mod draft;
mod flagger;
mod go;
mod kubefleet;
mod proof;
mod query;
mod reals;
mod remark;
mod spot;
mod yaml;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use self::{kubefleet::Target, remark::Rule};
use self::{
    remark::Remarks,
    spot::Spot,
    yaml::{Tree, map},
};
use crate::declare::{
    Diagnostic,
    diagnostic::Severity,
    schema::API_VERSION,
    text::{self, Indexed},
};

/// Whose documents are read, and what they leave open.
#[derive(Debug, Clone)]
pub enum Upstream {
    /// AnalysisTemplate, ClusterAnalysisTemplate and Rollout.
    ArgoRollouts {
        /// Values of arguments that no Rollout gives.
        args: BTreeMap<String, String>,
    },
    /// Canary and MetricTemplate.
    Flagger {
        /// The mesh that Flagger's own metrics are of, where a Canary does not name it.
        mesh: Option<Mesh>,
    },
    /// StagedUpdateStrategy and ClusterStagedUpdateStrategy.
    KubeFleet {
        /// What each cluster's object is: without it there are policies and no plan.
        target: Option<Target>,
    },
}

/// A mesh whose own documentation says what Flagger's built-in metrics rest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mesh {
    /// By `istio_requests_total` and `istio_request_duration_milliseconds`.
    Istio,
    /// By `response_total` and `response_latency_ms`.
    Linkerd,
}

/// What became of the files.
#[derive(Debug)]
pub struct Imported {
    /// The declarations: templates, policies, plans.
    pub documents: Vec<Document>,
    /// What was not carried over and what is otherwise, by file and line.
    pub remarks: Vec<Diagnostic>,
    /// How many documents were looked at.
    pub read: usize,
}

impl Imported {
    /// Whether a file could not be read, or what came out is not what it should be.
    pub fn has_errors(&self) -> bool {
        self.remarks.iter().any(Diagnostic::is_error)
    }

    /// Whether anything was not carried over as it was.
    pub fn has_warnings(&self) -> bool {
        self.remarks.iter().any(|remark| remark.severity == Severity::Warning)
    }

    /// The declarations as YAML.
    pub fn yaml(&self) -> String {
        let texts: Vec<String> = self.documents.iter().map(Document::yaml).collect();
        texts.join("---\n")
    }
}

/// A declaration.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// As `kind:` has it.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// Where it is from, and where it belongs.
    head: Vec<String>,
    spec: Tree,
}

impl Document {
    /// As YAML, with its comments.
    pub fn yaml(&self) -> String {
        let mut text: String =
            self.head.iter().map(|line| format!("# {}\n", yaml::comment(line))).collect();
        text.push_str(&self.tree().yaml());
        text
    }

    /// As a JSON value.
    pub fn json(&self) -> serde_json::Value {
        self.tree().json()
    }

    /// The folder that it belongs in.
    pub fn folder(&self) -> &'static str {
        if self.kind == "RingPlan" { "rings" } else { "policies" }
    }

    fn tree(&self) -> Tree {
        map()
            .with("apiVersion", Tree::text(API_VERSION))
            .with("kind", Tree::text(self.kind))
            .with("metadata", map().with("name", Tree::text(&self.name)).on_a_line())
            .with("spec", self.spec.clone())
            .into()
    }
}

/// Turns files, by name and content, into declarations.
pub fn import(from: &Upstream, files: &[(String, Vec<u8>)]) -> Imported {
    let indexed: Vec<Indexed> =
        files.iter().map(|(name, bytes)| text::index(name, bytes)).collect();
    let mut remarks = Remarks::default();
    let mut objects = Vec::new();
    for Indexed { file, documents } in &indexed {
        for document in documents {
            for problem in &document.problems {
                remarks.add(problem.clone());
            }
            // A document with two equal keys, or with an alias, is not what it seems to be.
            if let Some(root) = document.root.as_ref().filter(|_| document.problems.is_empty()) {
                flatten(Spot::root(file, root), &mut objects);
            }
        }
    }
    let read = objects.len();
    let mut documents = match from {
        Upstream::ArgoRollouts { args } => argo::import(&objects, args, &mut remarks),
        Upstream::Flagger { mesh } => flagger::import(&objects, *mesh, &mut remarks),
        Upstream::KubeFleet { target } => {
            kubefleet::import(&objects, target.as_ref(), &mut remarks)
        }
    };
    let order =
        |kind: &str| ["GateTemplate", "RingPolicy", "RingPlan"].iter().position(|k| *k == kind);
    documents.sort_by_key(|document| order(document.kind));
    for problem in proof::faults(&documents) {
        remarks.unsound(&problem);
    }
    Imported { documents, remarks: remarks.sorted(), read }
}

/// What `kubectl get -o yaml` puts into a List is looked at one by one.
fn flatten<'a>(object: Spot<'a>, objects: &mut Vec<Spot<'a>>) {
    let is_list =
        object.get("kind").and_then(|kind| kind.text()).is_some_and(|k| k.ends_with("List"));
    match object.get("items") {
        Some(items) if is_list => objects.extend(items.items()),
        Some(_) | None => objects.push(object),
    }
}

/// The objects of an API group, by their kinds and names; a remark for each that is of none of them, or has no name.
fn of_group<'a>(
    objects: &[Spot<'a>],
    group: &str,
    kinds: &[&'static str],
    whose: &str,
    remarks: &mut Remarks,
) -> Vec<(&'static str, &'a str, Spot<'a>)> {
    let mut found = Vec::new();
    for object in objects {
        let kind = object.get("kind");
        let name = kind.as_ref().and_then(Spot::text).unwrap_or_default();
        let version = object.get("apiVersion");
        let version = version.as_ref().and_then(Spot::text).unwrap_or_default();
        let ours = version.split_once('/').is_some_and(|(theirs, _)| theirs == group);
        match kinds.iter().find(|known| ours && **known == name) {
            Some(known) => {
                match object.get("metadata").and_then(|metadata| metadata.word("name")) {
                    Some(name) => found.push((*known, name, object.clone())),
                    None => {
                        let message = format!("this {known} has no name");
                        remarks.say(Rule::Imp009, object, message, "give it metadata.name");
                    }
                }
            }
            None => {
                let what = if name.is_empty() {
                    "a document without a kind".into()
                } else {
                    format!("kind `{name}`")
                };
                let place = kind.unwrap_or_else(|| object.clone());
                let help = format!("{whose} are {}, of {group}", kinds.join(", "));
                remarks.say(Rule::Imp001, &place, format!("{what} is left out"), help);
            }
        }
    }
    found
}
