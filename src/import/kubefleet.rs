//! KubeFleet: StagedUpdateStrategy and ClusterStagedUpdateStrategy.
//!
//! Each stage becomes a policy: what it waits for afterwards is the soak, and whom it asks is asked before the ring
//! after it. With a target there is a plan of them, a ring for each stage, one after the other.

use std::{collections::BTreeMap, str::FromStr};

use super::{
    Document,
    draft::{Names, head},
    go, of_group,
    remark::{Remarks, Rule},
    spot::Spot,
    yaml::{Map, Tree, map},
};
use crate::model::time::Span;

const GROUP: &str = "placement.kubernetes-fleet.io";
const KINDS: [&str; 2] = ["StagedUpdateStrategy", "ClusterStagedUpdateStrategy"];

/// The object that a plan changes in each cluster: `KIND/NAMESPACE/NAME`, and a container where it has several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    kind: String,
    namespace: String,
    name: String,
    container: Option<String>,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split('/').map(str::to_owned);
        let target = (parts.next(), parts.next(), parts.next(), parts.next(), parts.next());
        let fits = |part: &String| {
            !part.is_empty()
                && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.')
        };
        match target {
            (Some(kind), Some(namespace), Some(name), container, None)
                if [&kind, &namespace, &name].into_iter().chain(&container).all(fits) =>
            {
                Ok(Self { kind, namespace, name, container })
            }
            _ => Err(
                "a target is KIND/NAMESPACE/NAME/CONTAINER, such as Deployment/shop/checkout/app"
                    .into(),
            ),
        }
    }
}

/// A stage as a ring and its policy.
struct Stage<'a> {
    at: Spot<'a>,
    name: String,
    policy: String,
    labels: Option<BTreeMap<String, String>>,
    soak: Span,
    concurrency: Option<Tree>,
    /// Whether somebody has to agree before it, and after it.
    before: bool,
    after: bool,
}

pub(super) fn import(
    objects: &[Spot<'_>],
    target: Option<&Target>,
    remarks: &mut Remarks,
) -> Vec<Document> {
    let found = of_group(objects, GROUP, &KINDS, "what KubeFleet is known by", remarks);
    let mut names = Names::default();
    let mut documents = Vec::new();
    let mut planned = false;
    for (kind, name, object) in found {
        let Some(spec) = object.get("spec") else {
            remarks.say(
                Rule::Imp009,
                &object,
                format!("{kind} `{name}` has no spec"),
                "give it stages",
            );
            continue;
        };
        remarks.others(&spec, &["stages"]);
        let mut stages: Vec<Stage<'_>> = Vec::new();
        let mut whole = true;
        for stage in spec.list("stages") {
            match read(name, &stage, &mut names, remarks) {
                Some(read) if stages.iter().all(|known| known.name != read.name) => {
                    stages.push(read)
                }
                Some(read) => {
                    let message = format!("stage `{}` is given twice", read.name);
                    remarks.say(Rule::Imp009, &stage, message, "give each a name of its own");
                    whole = false;
                }
                None => whole = false,
            }
        }
        if stages.is_empty() {
            remarks.say(
                Rule::Imp002,
                &spec,
                format!("{kind} `{name}` has no stages"),
                "nothing comes of it",
            );
            continue;
        }
        if let Some(last) = stages.last().filter(|stage| stage.after) {
            let message = "somebody is asked after the last stage, and no ring comes after it";
            remarks.say(
                Rule::Imp002,
                &last.at,
                message,
                "let somebody look by `ringward wait`, or add a ring",
            );
        }
        let origin = format!("{kind} {name}, {}", object.location());
        for (i, stage) in stages.iter().enumerate() {
            let asks = stage.before || i > 0 && stages[i - 1].after;
            documents.push(policy(stage, asks, &origin));
        }
        let Some(target) = target else {
            let message = format!(
                "{kind} `{name}` does not say what a release changes: there is no plan of it"
            );
            let help =
                "give --target KIND/NAMESPACE/NAME/CONTAINER, such as Deployment/shop/checkout/app";
            remarks.say(Rule::Imp008, &object.get("metadata").unwrap_or(object), message, help);
            continue;
        };
        if planned {
            let help = "import each strategy with a target of its own";
            remarks.say(Rule::Imp002, &object, format!("a second plan would change the same object as the first: none is made of `{name}`"), help);
            continue;
        }
        let selects = whole && stages.iter().all(|stage| stage.labels.is_some());
        if !selects {
            let message = format!("there is no plan of `{name}`: not all of its stages are rings");
            let help = "write the plan by hand: a ring left out would let the rings after it start";
            remarks.say(Rule::Imp002, &object.get("metadata").unwrap_or(object), message, help);
            continue;
        }
        planned = true;
        let message = "its rings take the clusters that have these labels";
        let help = "declare each Cluster with the labels that it has as a member of the fleet";
        remarks.say(
            Rule::Imp007,
            &object.get("metadata").unwrap_or_else(|| object.clone()),
            message,
            help,
        );
        let plan = names.take("RingPlan", name, &object, remarks);
        documents.push(Document {
            kind: "RingPlan",
            name: plan,
            head: head("rings", &origin),
            spec: rings(&stages, target).into(),
        });
    }
    documents
}

fn read<'a>(
    strategy: &str,
    at: &Spot<'a>,
    names: &mut Names,
    remarks: &mut Remarks,
) -> Option<Stage<'a>> {
    let Some(name) = at.word("name") else {
        remarks.say(Rule::Imp009, at, "a stage without a name", "give it one");
        return None;
    };
    remarks.others(
        at,
        &[
            "name",
            "labelSelector",
            "sortingLabelKey",
            "maxConcurrency",
            "afterStageTasks",
            "beforeStageTasks",
        ],
    );
    if let Some(sorts) = at.get("sortingLabelKey") {
        let message =
            "clusters are updated in the order of this label there, and of their names here";
        let help = "list the ring's clusters by `names`, in their order";
        remarks.say(Rule::Imp005, &sorts, message, help);
    }
    let mut soak = Span::ZERO;
    let (mut before, mut after) = (false, false);
    for (field, asks) in [("beforeStageTasks", &mut before), ("afterStageTasks", &mut after)] {
        for task in at.list(field) {
            match (task.word("type"), field) {
                (Some("Approval"), _) => *asks = true,
                (Some("TimedWait"), "afterStageTasks") => {
                    match task.word("waitTime").and_then(go::duration) {
                        Some(wait) => soak = wait,
                        None => {
                            let message =
                                "this wait has no length of time: the ring would not wait";
                            remarks.say(
                                Rule::Imp009,
                                &task,
                                message,
                                "give it waitTime, such as 1h",
                            );
                        }
                    }
                }
                (kind, _) => {
                    let kind = kind.unwrap_or("nothing");
                    let message = format!("a task of type `{kind}` is not carried over");
                    remarks.say(
                        Rule::Imp002,
                        &task,
                        message,
                        "judge by gates, or ask by `approvals`",
                    );
                }
            }
        }
    }
    let concurrency = match at.get("maxConcurrency") {
        None => None,
        Some(spot) => {
            let text = spot.text().unwrap_or_default();
            let share = text.strip_suffix('%').and_then(|n| n.parse::<u32>().ok());
            match (text.parse::<u32>(), share) {
                (Ok(n), _) if n > 0 => Some(Tree::Number(n.into())),
                (_, Some(1..=100)) => Some(Tree::text(text)),
                _ => {
                    let message =
                        format!("`{text}` is no number of clusters: one at a time stands in");
                    remarks.say(Rule::Imp004, &spot, message, "such as 2 or 25%");
                    None
                }
            }
        }
    };
    Some(Stage {
        at: at.clone(),
        name: names_of_rings(name, at, remarks),
        policy: names.take("RingPolicy", &format!("{strategy}-{name}"), at, remarks),
        labels: labels(name, at, remarks),
        soak,
        concurrency,
        before,
        after,
    })
}

/// A stage's name as a ring's; those of KubeFleet's API are the same.
fn names_of_rings(name: &str, at: &Spot<'_>, remarks: &mut Remarks) -> String {
    Names::default().take("ring", name, at, remarks)
}

/// The labels that select a stage's clusters; nothing, and told, where that is not all that selects them.
fn labels(name: &str, at: &Spot<'_>, remarks: &mut Remarks) -> Option<BTreeMap<String, String>> {
    let mut refuse = |at: &Spot<'_>, why: &str| {
        let help = "a ring takes clusters that have all of some labels, or by their names";
        remarks.say(Rule::Imp002, at, format!("stage `{name}` is no ring: {why}"), help);
        None
    };
    let Some(selector) = at.get("labelSelector") else {
        return refuse(at, "it selects no cluster");
    };
    let mut labels = BTreeMap::new();
    for (key, value) in selector.get("matchLabels").iter().flat_map(Spot::fields) {
        labels.insert(key.to_owned(), value.text()?.to_owned());
    }
    for expression in selector.list("matchExpressions") {
        let values = expression.list("values");
        match (expression.word("key"), expression.word("operator"), &values[..]) {
            (Some(key), Some("In"), [one]) if one.text().is_some() => {
                labels.insert(key.to_owned(), one.text()?.to_owned());
            }
            (_, operator, _) => {
                let why =
                    format!("it selects by `{}` of several values", operator.unwrap_or("nothing"));
                return refuse(&expression, &why);
            }
        }
    }
    if labels.is_empty() {
        return refuse(&selector, "it selects every cluster");
    }
    Some(labels)
}

fn policy(stage: &Stage<'_>, asks: bool, origin: &str) -> Document {
    let mut spec = map()
        .with("soak", map().with("duration", stage.soak).on_a_line())
        .maybe("concurrency", stage.concurrency.clone())
        .with("gates", Tree::text("none"))
        .noting("nothing was measured: time alone passes this ring");
    if asks {
        let count = map().with("count", 1_u32).on_a_line();
        spec = spec
            .with("approvals", count)
            .noting("before the ring; whoever made the release does not count");
    }
    spec = spec
        .with("rollback", map().with("automatic", Tree::Bool(false)).on_a_line())
        .noting("a stage that fails stops there, and nothing is taken back");
    Document {
        kind: "RingPolicy",
        name: stage.policy.clone(),
        head: head("policies", &format!("stage {} of {origin}", stage.name)),
        spec: spec.into(),
    }
}

fn rings(stages: &[Stage<'_>], target: &Target) -> Map {
    let Target { kind, namespace, name, container } = target;
    let target = map()
        .with("kind", Tree::text(kind))
        .with("namespace", Tree::text(namespace))
        .with("name", Tree::text(name))
        .maybe("container", container.as_ref().map(Tree::text))
        .on_a_line();
    let mut rings = Vec::new();
    let mut before: Option<&str> = None;
    for stage in stages {
        let mut labels = map();
        for (key, value) in stage.labels.iter().flatten() {
            labels = labels.with(key, Tree::text(value));
        }
        let ring = map()
            .with("name", Tree::text(&stage.name))
            .maybe("after", before.map(|name| Tree::List(vec![Tree::text(name)])))
            .with("clusters", map().with("labels", labels.on_a_line()).on_a_line())
            .with("policy", Tree::text(&stage.policy))
            .on_a_line();
        rings.push(ring);
        before = Some(&stage.name);
    }
    map().with("target", target).with("rings", Tree::List(rings))
}
