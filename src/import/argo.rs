//! Argo Rollouts: AnalysisTemplate, ClusterAnalysisTemplate and Rollout.
//!
//! A metric of a template becomes a `GateTemplate` by its query and a gate by its conditions and limits. A Rollout
//! becomes the policy of whoever goes through rings with it; a template that no Rollout among the files uses, one of
//! its own.

mod metric;
mod provider;
mod rollout;

use std::collections::BTreeMap;

use self::metric::Measured;
pub(super) use self::provider::declaration;
use super::{
    Document,
    draft::{Gate, Names, Policy},
    of_group, proof,
    remark::{Remarks, Rule},
    spot::Spot,
};

const GROUP: &str = "argoproj.io";
const KINDS: [&str; 3] = ["AnalysisTemplate", "ClusterAnalysisTemplate", "Rollout"];

/// Stands where nobody says the value of an argument: it matches nothing, and no data never passes.
pub(super) const REPLACE: &str = "REPLACE-ME";

/// The value of an argument, as far as it is known.
#[derive(Debug, Clone, PartialEq)]
enum Value {
    Known(String),
    /// It is known when a run begins, or to a secret: in words.
    Unknowable(&'static str),
    Missing,
}

type Args = BTreeMap<String, Value>;

/// An AnalysisTemplate or a ClusterAnalysisTemplate.
struct Analysis<'a> {
    kind: &'static str,
    name: &'a str,
    namespace: Option<&'a str>,
    at: Spot<'a>,
    args: Args,
    metrics: Vec<Measured<'a>>,
    used: bool,
}

pub(super) fn import(
    objects: &[Spot<'_>],
    given: &BTreeMap<String, String>,
    remarks: &mut Remarks,
) -> Vec<Document> {
    let found = of_group(objects, GROUP, &KINDS, "what Argo Rollouts is known by", remarks);
    let mut names = Names::default();
    let mut analyses: Vec<Analysis<'_>> = Vec::new();
    let mut rollouts = Vec::new();
    for (kind, name, object) in found {
        if kind == "Rollout" {
            rollouts.push((name, object));
            continue;
        }
        let namespace = object.at(&["metadata", "namespace"]).and_then(|name| name.text());
        if let Some(first) = analyses.iter().find(|a| a.is(kind, name) && a.namespace == namespace)
        {
            let message = format!("{kind} `{name}` is given twice");
            let help = format!("keep one of them; the first is at {}", first.at.location());
            remarks.say(Rule::Imp009, &object, message, help);
            continue;
        }
        let Some(spec) = object.get("spec") else {
            remarks.say(
                Rule::Imp009,
                &object,
                format!("{kind} `{name}` has no spec"),
                "give it metrics",
            );
            continue;
        };
        remarks.others(&spec, &["args", "metrics", "dryRun", "measurementRetention"]);
        let args = declared(&spec);
        let metrics = metric::read(kind, name, &spec, &args, &mut names, remarks);
        analyses.push(Analysis { kind, name, namespace, at: object, args, metrics, used: false });
    }
    let mut policies = Vec::new();
    for (name, object) in rollouts {
        policies.extend(rollout::policy(name, &object, &mut analyses, given, &mut names, remarks));
    }
    for analysis in analyses.iter().filter(|analysis| !analysis.used) {
        let gates = analysis.gates(&Args::new(), given, None, remarks);
        let gates = proof::keep(gates, remarks);
        let policy = Policy {
            at: analysis.at.get("metadata").unwrap_or_else(|| analysis.at.clone()),
            name: names.take("RingPolicy", analysis.name, &analysis.at, remarks),
            origin: format!("{} {}, {}", analysis.kind, analysis.name, analysis.at.location()),
            notes: Vec::new(),
            gates,
            lasts: None,
            deadline: None,
        };
        if policy.judges() {
            policies.push(policy);
        }
    }
    documents(&policies, remarks)
}

impl<'a> Analysis<'a> {
    fn is(&self, kind: &str, name: &str) -> bool {
        self.kind == kind && self.name == name
    }

    /// The gates of its metrics, with arguments as `over` and the command line give them. `use_at` is where
    /// somebody uses it.
    fn gates(
        &self,
        over: &Args,
        given: &BTreeMap<String, String>,
        use_at: Option<&Spot<'a>>,
        remarks: &mut Remarks,
    ) -> Vec<Gate<'a>> {
        let mut args = self.args.clone();
        args.extend(over.iter().map(|(name, value)| (name.clone(), value.clone())));
        for (name, value) in &mut args {
            if let (Value::Missing, Some(given)) = (&value, given.get(name)) {
                *value = Value::Known(given.clone());
            }
        }
        self.metrics.iter().filter_map(|metric| metric.gate(&args, use_at, remarks)).collect()
    }
}

/// What a list of arguments says.
fn declared(of: &Spot<'_>) -> Args {
    let one = |argument: Spot<'_>| {
        let name = argument.word("name")?.to_owned();
        let from = argument.get("valueFrom");
        let source = from.and_then(|from| from.fields().next()).map(|(source, _)| source);
        let value = match (argument.word("value"), source) {
            (Some(value), _) => Value::Known(value.to_owned()),
            (None, Some("secretKeyRef")) => Value::Unknowable("the value of a secret"),
            (None, Some("podTemplateHashValue")) => Value::Unknowable("the hash of a pod template"),
            (None, Some(_)) => Value::Unknowable("a field of the Rollout"),
            (None, None) => Value::Missing,
        };
        Some((name, value))
    };
    of.list("args").into_iter().filter_map(one).collect()
}

/// The policies, and the templates that their gates measure by.
fn documents(policies: &[Policy<'_>], remarks: &mut Remarks) -> Vec<Document> {
    let mut documents: Vec<Document> = Vec::new();
    for gate in policies.iter().flat_map(|policy| &policy.gates) {
        let template = gate.template.document();
        if !documents.contains(&template) {
            documents.push(template);
        }
    }
    documents.extend(policies.iter().map(|policy| policy.document(remarks)));
    documents
}
