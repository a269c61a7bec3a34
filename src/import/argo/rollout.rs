//! A Rollout: what it is analysed by, and for how long.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    super::{
        draft::{Names, Policy},
        go, proof,
        remark::{Remarks, Rule},
        spot::Spot,
    },
    Analysis, declared,
};
use crate::model::time::Span;

/// The policy of a Rollout; nothing, and told, where it is analysed by nothing that could be carried over.
pub(super) fn policy<'a>(
    name: &str,
    object: &Spot<'a>,
    analyses: &mut [Analysis<'a>],
    given: &BTreeMap<String, String>,
    names: &mut Names,
    remarks: &mut Remarks,
) -> Option<Policy<'a>> {
    let strategy = object.at(&["spec", "strategy"]);
    let canary = strategy.as_ref().and_then(|strategy| strategy.get("canary"));
    let blue_green = strategy.as_ref().and_then(|strategy| strategy.get("blueGreen"));
    let mut runs: Vec<Spot<'a>> = Vec::new();
    let mut lasts = Span::ZERO;
    let mut waits = false;
    if let Some(canary) = &canary {
        let background = canary.get("analysis");
        let first = background.as_ref().and_then(|run| run.word("startingStep"));
        let first = first.and_then(|step| step.parse::<usize>().ok()).unwrap_or(0);
        runs.extend(background);
        let steps = Steps::read(canary, first, remarks);
        (lasts, waits) = (steps.lasts, steps.waits);
        runs.extend(steps.runs);
    }
    if let Some(blue_green) = &blue_green {
        for field in ["prePromotionAnalysis", "postPromotionAnalysis"] {
            if let Some(run) = blue_green.get(field) {
                if field.starts_with("pre") {
                    let message = "it is analysed before it serves; here its gates are measured while it serves";
                    let help = "the Rollout goes on holding its own promotion, where it is the plan's target";
                    remarks.say(Rule::Imp005, &run.as_key(), message, help);
                }
                runs.push(run);
            }
        }
        for field in ["autoPromotionEnabled", "autoPromotionSeconds"] {
            if let Some(at) = blue_green.get(field) {
                let help = "it stays the Rollout's; a person is asked before a ring by `approvals` of its policy";
                remarks.say(
                    Rule::Imp002,
                    &at.as_key(),
                    format!("`{field}` is not carried over"),
                    help,
                );
            }
        }
    }
    let mut gates = Vec::new();
    let mut seen = BTreeSet::new();
    for run in &runs {
        remarks.others(run, &["templates", "args", "startingStep"]);
        let over = declared(run);
        for used in run.list("templates") {
            let Some(template) = used.word("templateName") else { continue };
            let kind = match used.word("clusterScope") {
                Some("true") => "ClusterAnalysisTemplate",
                _ => "AnalysisTemplate",
            };
            let namespace = object.at(&["metadata", "namespace"]).and_then(|name| name.text());
            let same = |a: &&mut Analysis<'_>| a.is(kind, template);
            let near = |a: &Analysis<'_>| {
                a.namespace.is_none() || namespace.is_none() || a.namespace == namespace
            };
            let Some(analysis) = analyses.iter_mut().filter(same).find(|a| near(a)) else {
                let message = format!("{kind} `{template}` is not among the files");
                remarks.say(Rule::Imp008, &used, message, "give its file too");
                continue;
            };
            analysis.used = true;
            gates.extend(analysis.gates(&over, given, Some(&used), remarks));
        }
    }
    // A template that several steps use is one gate.
    gates.retain(|gate| {
        seen.insert((gate.name.clone(), gate.template.name.clone(), gate.args.clone()))
    });
    let mut taken = BTreeSet::new();
    for gate in &mut gates {
        let mut name = gate.name.clone();
        for n in 2.. {
            if taken.insert(name.clone()) {
                break;
            }
            name = format!("{}-{n}", &gate.name[..gate.name.len().min(60)]);
        }
        gate.name = name;
    }
    let gates = proof::keep(gates, remarks);
    let at = object.get("metadata").unwrap_or_else(|| object.clone());
    if gates.iter().all(|gate| !gate.required) {
        let why = match (runs.is_empty(), lasts) {
            (true, Span::ZERO) => "nothing analyses it and nothing pauses it",
            (true, _) => "nothing analyses it: a soak without gates would pass whatever happens",
            (false, _) => "none of its analyses could be carried over",
        };
        let help = "write a RingPolicy with the gates that a ring has to pass";
        remarks.say(Rule::Imp002, &at, format!("Rollout `{name}` gives no policy: {why}"), help);
        return None;
    }
    if waits {
        let message = format!("Rollout `{name}` waits for a person in the middle of its steps");
        let help =
            "here a person agrees before a ring: give the policy of the ring after it `approvals`";
        remarks.say(Rule::Imp002, &at, message, help);
    }
    Some(Policy {
        name: names.take("RingPolicy", name, &at, remarks),
        origin: format!("Rollout {name}, {}", object.location()),
        notes: target(name, object),
        at,
        gates,
        lasts: (lasts > Span::ZERO).then_some(lasts),
        deadline: None,
    })
}

/// The target that a plan would give.
fn target(name: &str, object: &Spot<'_>) -> Vec<String> {
    let namespace =
        object.at(&["metadata", "namespace"]).and_then(|name| name.text()).unwrap_or("...");
    let containers = object.at(&["spec", "template", "spec", "containers"]);
    let containers = containers.map(|list| list.items()).unwrap_or_default();
    let container = match &containers[..] {
        [one] => one.word("name").unwrap_or("..."),
        _ => "...",
    };
    let safe = |text: &str| text.chars().filter(|c| !c.is_control()).take(253).collect::<String>();
    vec![format!(
        "a plan's target: {{kind: ArgoRollout, namespace: {}, name: {}, container: {}}}",
        safe(namespace),
        safe(name),
        safe(container)
    )]
}

/// The steps of a canary.
struct Steps<'a> {
    /// How long they pause in all, from the step on from which it is analysed.
    lasts: Span,
    /// Whether one of them waits for a person.
    waits: bool,
    runs: Vec<Spot<'a>>,
}

impl<'a> Steps<'a> {
    fn read(canary: &Spot<'a>, first: usize, remarks: &mut Remarks) -> Self {
        let mut steps = Self { lasts: Span::ZERO, waits: false, runs: Vec::new() };
        let mut told = BTreeSet::new();
        for (i, step) in canary.list("steps").into_iter().enumerate() {
            // A pause without a length is `pause: {}`.
            for (what, at) in step.fields() {
                match what {
                    "pause" => match at.get("duration") {
                        None => steps.waits = true,
                        Some(duration) => match go::seconds(duration.text().unwrap_or_default()) {
                            Some(span) if i >= first => steps.lasts = steps.lasts + span,
                            Some(_) => {}
                            None => {
                                let message = "this is no length of time";
                                remarks.say(Rule::Imp002, &duration, message, "such as 30s or 10m");
                            }
                        },
                    },
                    "analysis" => steps.runs.push(at),
                    other => {
                        if told.insert(other) {
                            let message = format!("steps of `{other}` are not carried over");
                            let help = "they stay the Rollout's, where it is the plan's target; there are no steps \
                                        inside of a ring here";
                            remarks.say(Rule::Imp002, &at.as_key(), message, help);
                        }
                    }
                }
            }
        }
        steps
    }
}
