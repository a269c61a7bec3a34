//! `RingPlan` documents -> plans: the DAG, its clusters, and everything it rests on in one value.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use sha2::{Digest, Sha256};

use super::{
    At, Diagnostic, Doc, Kind, Rule, Unit, Units, World, bad_name, is_label, nearest, repeats,
    typed,
};
use crate::{
    declare::{
        schema::{self, TargetKind, word},
    },
    ids::{ClusterName, Commit, RingName},
    model::{
        check::{self, Subject},
        graph::{After, GraphError, Join, RingGraph},
        plan::Plan,
        ring::{Cluster, Ring, Target},
    },
};

impl Unit<Arc<Plan>> {
    /// The plan, or the errors that keep it out of service.
    pub(super) fn verdict(self) -> Result<Arc<Plan>, Vec<Diagnostic>> {
        let mut errors: Vec<_> = self.errors().cloned().collect();
        errors.sort_by(|a, b| a.key().cmp(&b.key()));
        errors.dedup();
        match self.value {
            Some(plan) if errors.is_empty() => Ok(plan),
            Some(_) | None => Err(errors),
        }
    }
}

pub(super) fn lower(world: &World<'_>, commit: &Commit) -> Units<Arc<Plan>> {
    world
        .of(Kind::RingPlan)
        .map(|(name, doc, mut problems)| {
            let value = one(world, name, doc, commit, &mut problems);
            if let Some(plan) =
                value.as_ref().filter(|_| !problems.iter().any(Diagnostic::is_error))
            {
                let places = Places { world, doc, plan };
                problems.extend(check::notes(plan).into_iter().map(|note| places.locate(note)));
            }
            (name.to_owned(), Unit { value: value.map(Arc::new), problems })
        })
        .collect()
}

/// Where a plan's parts stand in the text.
struct Places<'w, 'a> {
    world: &'w World<'a>,
    doc: &'a Doc<'a>,
    plan: &'w Plan,
}

impl<'a> Places<'_, 'a> {
    fn locate(&self, note: check::Note) -> Diagnostic {
        let at = self.of(&note.subject).unwrap_or_else(|| self.doc.name());
        let mut diagnostic = Diagnostic::of(note.rule.id(), note.rule.severity().into(), note.message)
            .at(at.file, at.start..at.end)
            .label(note.label)
            .help(note.help);
        diagnostic.notes = note.facts;
        diagnostic
    }

    fn of(&self, subject: &Subject) -> Option<At<'a>> {
        let policy = |name: &str| self.world.policies.get(name)?.value.as_ref();
        match subject {
            Subject::Plan => None,
            Subject::Ring(name) => {
                let spec: &schema::RingPlan = self.doc.spec_as()?;
                let mut rings = spec.rings.iter().flatten();
                let i = rings.position(|r| r.name.as_deref() == Some(name.as_str()))?;
                Some(self.doc.spec().field("rings").item(i).field("name"))
            }
            Subject::Cluster(name) => {
                Some(self.world.clusters.get(name.as_str())?.value.as_ref()?.name)
            }
            Subject::Soak(name) => Some(policy(name.as_str())?.soak),
            Subject::Gates(name) => Some(policy(name.as_str())?.gates),
            Subject::Gate(name, gate) => policy(name.as_str())?.gate.get(gate).copied(),
            Subject::Approvals(name) => Some(policy(name.as_str())?.approvals),
            Subject::Calendar(name) => {
                Some(self.world.calendars.get(name.as_str())?.value.as_ref()?.name)
            }
            Subject::Residency(declared_at) => {
                let spec: &schema::RingPlan = self.doc.spec_as()?;
                let rules = spec.residency.iter().filter_map(|n| self.world.residency.get(n));
                let mut placed = rules.filter_map(|unit| unit.value.as_ref()).flatten();
                let known = self.plan.residency.iter().any(|r| r.declared_at == *declared_at);
                placed.find(|p| known && p.rule.declared_at == *declared_at).map(|p| p.id)
            }
        }
    }
}

fn one(
    world: &World<'_>,
    name: &str,
    doc: &Doc<'_>,
    commit: &Commit,
    problems: &mut Vec<Diagnostic>,
) -> Option<Plan> {
    let spec: &schema::RingPlan = doc.spec_as()?;
    let at = doc.spec();
    let target = at
        .require(spec.target.as_ref(), "target", problems)
        .and_then(|target| one_target(target, at.field("target"), problems));
    if spec.lanes.is_some() {
        let message = "this version has no lane rules: a hotfix goes the way of every release";
        let problem = at.field("lanes").key().problem(Rule::Sch010, message);
        problems.push(problem.help("take `lanes` out"));
    }
    let list = at.field("residency");
    let mut residency = Vec::new();
    for (i, policy) in spec.residency.iter().enumerate() {
        let place = list.item(i);
        let rules = world.find(&world.residency, Kind::ResidencyPolicy, policy, place, problems);
        residency.extend(rules.into_iter().flatten().map(|placed| placed.rule.clone()));
    }
    let written = at.require(spec.rings.as_deref(), "rings", problems)?;
    if written.is_empty() {
        let problem = at.field("rings").key().problem(Rule::Dag004, "a plan without a ring");
        problems.push(problem.help("declare one at the least, as in rings: [{name: all, ...}]"));
        return None;
    }
    let graph = graph(written, at.field("rings"), problems);
    let mut rings = Vec::new();
    for (i, ring) in written.iter().enumerate() {
        rings.extend(one_ring(world, ring, spec, at, i, problems));
    }
    overlaps(&rings, written, at.field("rings"), problems);
    let graph = graph?;
    // What is sound goes on: the rest of the plan is in error anyway.
    let order: BTreeMap<_, _> = graph.order().iter().enumerate().map(|(i, r)| (r, i)).collect();
    rings.sort_by_key(|ring| order.get(&ring.name).copied());
    let mut plan = Plan {
        name: name.into(),
        hash: "".into(),
        commit: commit.clone(),
        target: target?,
        data_classes: typed(&spec.data_classes),
        on_newer: spec.on_newer.map(Into::into).unwrap_or_default(),
        max_skew: spec.max_skew.map(|n| n.0),
        graph: graph.clone(),
        rings,
        residency,
    };
    plan.hash = hash(&plan).into();
    Some(plan)
}

fn one_target(spec: &schema::Target, at: At<'_>, problems: &mut Vec<Diagnostic>) -> Option<Target> {
    let kind = at.require(spec.kind, "kind", problems)?;
    let TargetKind::Deployment = kind else {
        let message = format!("this version cannot drive a target of kind {}", word(&kind));
        problems.push(at.field("kind").problem(Rule::Sch008, message).help("use Deployment"));
        return None;
    };
    let kind = crate::model::ring::TargetKind::Deployment;
    let mut text = |value: &Option<String>, field: &str| {
        let text = at.require(value.clone(), field, problems)?;
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
        if text.is_empty() || text.len() > 253 || !text.chars().all(fits) {
            let message = format!("`{text}` is no name that Kubernetes takes");
            let help = "use lower-case letters, digits, hyphens and dots";
            problems.push(at.field(field).problem(Rule::Sch006, message).help(help));
        }
        Some(text)
    };
    let namespace = text(&spec.namespace, "namespace");
    let name = text(&spec.name, "name");
    let container = text(&spec.container, "container");
    Some(Target { kind, namespace: namespace?, name: name?, container: container? })
}

/// The rings' graph; none where it is no DAG.
fn graph(
    written: &[schema::Ring],
    list: At<'_>,
    problems: &mut Vec<Diagnostic>,
) -> Option<RingGraph> {
    let before = problems.len();
    let mut rings: Vec<(RingName, After)> = Vec::new();
    let mut index: BTreeMap<&str, usize> = BTreeMap::new();
    for (i, ring) in written.iter().enumerate() {
        let at = list.item(i);
        let Some(name) = at.require(ring.name.as_deref(), "name", problems) else { continue };
        if !is_label(name) {
            problems.push(bad_name(at.field("name"), name));
        }
        if let Some(first) = index.get(name) {
            let message = format!("two rings are called `{name}`");
            let other = list.item(*first).field("name").location();
            let problem = at.field("name").problem(Rule::Dag005, message);
            problems.push(problem.note(format!("first in {other}")).help("rename one of them"));
            continue;
        }
        index.insert(name, i);
        let (names, join) = match (&ring.after, &ring.after_any) {
            (Some(_), Some(_)) => {
                let message = "a ring waits either for all or for any";
                let problem = at.field("afterAny").key().problem(Rule::Sch007, message);
                problems.push(problem.help("keep `after` or `afterAny`"));
                continue;
            }
            (None, Some(any)) => (any.as_slice(), Join::Any),
            (Some(all), None) => (all.as_slice(), Join::All),
            (None, None) => (&[][..], Join::All),
        };
        rings.push((name.into(), After { rings: typed(names), join }));
    }
    for (name, after) in &rings {
        let at = list.item(index[name.as_str()]);
        let place = at.field(if after.join == Join::Any { "afterAny" } else { "after" });
        for (j, earlier) in after.rings.iter().enumerate() {
            if !index.contains_key(earlier.as_str()) {
                let message =
                    format!("ring `{name}` comes after `{earlier}`, which is no ring of the plan");
                let help = match nearest(earlier.as_str(), index.keys().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "declare it under `rings`".to_owned(),
                };
                problems.push(place.item(j).problem(Rule::Ref001, message).help(help));
            }
        }
    }
    if problems.len() > before {
        return None;
    }
    let edges = rings.clone();
    match RingGraph::new(rings) {
        Ok(graph) => Some(graph),
        Err(GraphError::Cycle(cycle)) => {
            knots(&cycle, edges, &index, list, problems);
            None
        }
        // Both were looked for above, with their places.
        Err(error @ (GraphError::Duplicate(_) | GraphError::Unknown { .. })) => {
            problems.push(list.key().problem(Rule::Dag001, error.to_string()));
            None
        }
    }
}

/// Every cycle, one after the other, and the rings that no release reaches because of them.
fn knots(
    first: &[RingName],
    mut edges: Vec<(RingName, After)>,
    index: &BTreeMap<&str, usize>,
    list: At<'_>,
    problems: &mut Vec<Diagnostic>,
) {
    let place = |ring: &RingName| list.item(index[ring.as_str()]).field("name");
    let mut tied: BTreeSet<RingName> = BTreeSet::new();
    let mut cycle = first.to_vec();
    loop {
        // It is told from the ring that is declared first, and stands there.
        cycle.pop();
        let start = (0..cycle.len()).min_by_key(|i| index[cycle[*i].as_str()]).unwrap_or(0);
        cycle.rotate_left(start);
        let Some(head) = cycle.first().cloned() else { return };
        cycle.push(head.clone());
        let path: Vec<_> = cycle.iter().map(RingName::as_str).collect();
        let message = format!("rings wait for each other: {}", path.join(" -> "));
        let problem = place(&head).problem(Rule::Dag001, message);
        let problem = problem.label("no release ever starts here");
        problems.push(problem.help("take one `after` out of the circle"));
        tied.extend(cycle);
        for (name, after) in &mut edges {
            if tied.contains(name) {
                after.rings.clear();
            }
        }
        match RingGraph::new(edges.clone()) {
            Err(GraphError::Cycle(next)) => cycle = next,
            Err(GraphError::Duplicate(_) | GraphError::Unknown { .. }) => return,
            Ok(graph) => {
                let mut cut = tied.clone();
                for ring in graph.order() {
                    let after = graph.after(ring);
                    let mut waits = after.rings.iter().map(|r| cut.contains(r));
                    let never = match after.join {
                        Join::All => waits.any(|w| w),
                        Join::Any => waits.len() > 0 && waits.all(|w| w),
                    };
                    if never && !tied.contains(ring) {
                        cut.insert(ring.clone());
                        let behind: Vec<_> =
                            after.rings.iter().filter(|r| cut.contains(*r)).collect();
                        let behind: Vec<_> = behind.iter().map(|r| format!("`{r}`")).collect();
                        let message = format!("no release reaches ring `{ring}`");
                        let problem = place(ring).problem(Rule::Dag002, message);
                        let label = format!("comes after {}", behind.join(", "));
                        problems.push(problem.label(label).help("break the circle before it"));
                    }
                }
                return;
            }
        }
    }
}

fn one_ring(
    world: &World<'_>,
    ring: &schema::Ring,
    plan: &schema::RingPlan,
    spec: At<'_>,
    index: usize,
    problems: &mut Vec<Diagnostic>,
) -> Option<Ring> {
    let at = spec.field("rings").item(index);
    let clusters = at
        .require(ring.clusters.as_ref(), "clusters", problems)
        .map(|selector| select(world, selector, at.field("clusters"), problems));
    let (policy, place) = match (&ring.policy, &plan.policy) {
        (Some(name), _) => (Some(name), at.field("policy")),
        (None, Some(name)) => (Some(name), spec.field("policy")),
        (None, None) => (None, at),
    };
    if policy.is_none() && !at.lost("policy") && !spec.lost("policy") {
        let problem = at.field("name").problem(Rule::Sch003, "a ring without a policy");
        problems.push(problem.help("give it a `policy`, or the plan one for all its rings"));
    }
    let policy = policy
        .and_then(|name| world.find(&world.policies, Kind::RingPolicy, name, place, problems))
        .map(|placed| &placed.policy);
    if let (Some(clusters), Some(policy)) = (&clusters, policy) {
        for gate in &policy.gates {
            for cluster in clusters {
                if !cluster.metrics.iter().any(|m| m.name == gate.provider) {
                    let message = format!(
                        "gate `{}` of policy `{}` asks `{}`, which cluster `{}` does not have",
                        gate.name, policy.name, gate.provider, cluster.name
                    );
                    let sources: Vec<_> = cluster.metrics.iter().map(|m| m.name.as_str()).collect();
                    let help = match sources.as_slice() {
                        [] => format!("declare a metric source `{}` on the cluster", gate.provider),
                        names => format!("its metric sources are {}", names.join(", ")),
                    };
                    problems.push(at.field("name").problem(Rule::Gat003, message).help(help));
                }
            }
        }
    }
    Some(Ring { name: ring.name.as_deref()?.into(), clusters: clusters?, policy: policy?.clone() })
}

/// The clusters of a ring: by name as they are written, by labels in the order of their names.
fn select(
    world: &World<'_>,
    selector: &schema::Selector,
    at: At<'_>,
    problems: &mut Vec<Diagnostic>,
) -> Vec<Cluster> {
    match (&selector.names, &selector.labels) {
        (Some(names), None) if !names.is_empty() => {
            let list = at.field("names");
            let found = names.iter().enumerate().filter_map(|(i, name)| {
                world.find(&world.clusters, Kind::Cluster, name, list.item(i), problems)
            });
            found.map(|placed| placed.cluster.clone()).collect()
        }
        (None, Some(labels)) if !labels.is_empty() => {
            // A cluster that cannot be read may be one of them: the ring must not shrink in silence.
            for doc in world.illegible(Kind::Cluster) {
                let whose = doc.head.name.as_deref().unwrap_or("?");
                let message = "the ring selects by labels, and a cluster's document cannot be read";
                let problem = at.field("labels").key().problem(Rule::Ref006, message);
                let note = format!("cluster {whose}, {}", doc.file.path);
                problems.push(problem.note(note).help("mend that document first"));
                problems.extend(doc.head.problems.iter().filter(|p| p.is_error()).cloned());
            }
            let mut clusters = Vec::new();
            for unit in world.clusters.values() {
                let Some(placed) = &unit.value else { continue };
                let has = |(key, value): (&String, &String)| {
                    placed.cluster.labels.get(key) == Some(value)
                };
                if labels.iter().all(has) {
                    problems.extend(unit.errors().cloned());
                    clusters.push(placed.cluster.clone());
                }
            }
            if clusters.is_empty() {
                let wanted: Vec<_> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
                let message = format!("no cluster has the labels {}", wanted.join(", "));
                let place = at.field("labels");
                let help = "label a cluster so, or name the clusters";
                problems.push(place.problem(Rule::Ref004, message).help(help));
            }
            clusters
        }
        (Some(_), Some(_)) => {
            let message = "a ring selects its clusters by names or by labels";
            let problem = at.key().problem(Rule::Sch007, message);
            problems.push(problem.help("keep one of them"));
            Vec::new()
        }
        (None, None) if at.lost("names") || at.lost("labels") => Vec::new(),
        (Some(_), None) | (None, Some(_)) | (None, None) => {
            let problem = at.key().problem(Rule::Ref004, "a ring without clusters");
            problems.push(problem.help("as in clusters: {names: [eu-west-1]}"));
            Vec::new()
        }
    }
}

/// A cluster runs one version of a service at a time, so it can be in one ring only.
fn overlaps(
    rings: &[Ring],
    written: &[schema::Ring],
    list: At<'_>,
    problems: &mut Vec<Diagnostic>,
) {
    let mut homes: BTreeMap<&ClusterName, &RingName> = BTreeMap::new();
    for ring in rings {
        let names: Vec<_> = ring.clusters.iter().map(|c| c.name.as_str()).collect();
        let within: BTreeSet<_> =
            repeats(names.iter().copied()).into_iter().map(|(_, name)| name).collect();
        for cluster in &ring.clusters {
            let other = match homes.insert(&cluster.name, &ring.name) {
                Some(other) => other,
                None => continue,
            };
            let i = written.iter().position(|r| r.name.as_deref() == Some(ring.name.as_str()));
            let at = list.item(i.unwrap_or_default()).field("name");
            let message = if within.contains(cluster.name.as_str()) && *other == ring.name {
                format!("cluster `{}` is in ring `{}` twice", cluster.name, ring.name)
            } else {
                format!(
                    "cluster `{}` is in ring `{}` and in ring `{other}`",
                    cluster.name, ring.name
                )
            };
            let help = "keep it in one: a release comes to a cluster once";
            problems.push(at.problem(Rule::Dag003, message).help(help));
        }
    }
}

/// Of the plan as it is meant: without the commit, and without the lines that its rules stand in, so
/// that an edit elsewhere in a file voids no approval.
fn hash(plan: &Plan) -> String {
    let mut meant = plan.clone();
    meant.commit = "".into();
    meant.hash = "".into();
    for rule in &mut meant.residency {
        rule.declared_at.clear();
    }
    let mut text = String::new();
    // A plan is made of maps with text keys and finite numbers: nothing that JSON cannot hold.
    let value = serde_json::to_value(&meant).unwrap_or_default();
    canonical(&value, &mut text);
    Sha256::digest(text.as_bytes()).iter().map(|b| format!("{b:02x}")).collect()
}

/// JSON with its keys in order, whatever order serde_json was built to keep.
fn canonical(value: &serde_json::Value, text: &mut String) {
    use serde_json::Value;
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<_, _> = map.iter().collect();
            text.push('{');
            for (key, value) in sorted {
                text.push_str(&Value::String(key.clone()).to_string());
                text.push(':');
                canonical(value, text);
                text.push(',');
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for item in items {
                canonical(item, text);
                text.push(',');
            }
            text.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            text.push_str(&value.to_string());
        }
    }
}
