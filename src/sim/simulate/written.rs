//! A plan of a simulated world as its owner would write it: documents that compile to it again.
//!
//! The model's names are those of the declarations, in the case of Rust; only what a declaration says in
//! another way than the model is said here.

use serde_json::{Map, Value, json};

use crate::{
    declare::schema::API_VERSION,
    model::{
        blocs,
        graph::Join,
        plan::Plan,
        policy::{Concurrency, Gate},
        ring::{Cluster, Ring},
    },
};

/// What a plan rests on, and the plan itself at the end. Nothing is there twice.
pub(super) fn documents(plan: &Plan) -> Vec<Value> {
    let mut documents: Vec<Value> = plan.clusters().map(cluster).collect();
    for ring in &plan.rings {
        documents.extend(ring.policy.gates.iter().map(template));
        for calendar in &ring.policy.calendars {
            let name = part_of(plan, ring, calendar.name.as_str());
            documents.push(document("Calendar", &name, written(calendar)));
        }
        documents.push(document("RingPolicy", &part_of(plan, ring, "policy"), policy(plan, ring)));
    }
    if !plan.residency.is_empty() {
        let rules = plan.residency.iter().map(|rule| {
            let mut rule = written(rule);
            rule.remove("declaredAt");
            rule.remove("policy");
            lift(&mut rule, "demand");
            rule
        });
        let spec = json!({ "rules": rules.collect::<Vec<_>>() });
        documents.push(document("ResidencyPolicy", plan.name.as_str(), spec));
    }
    let mut blocs = Vec::new();
    documents.iter_mut().for_each(|document| name_territories(document, &mut blocs));
    let mut own = document("RingPlan", plan.name.as_str(), ring_plan(plan));
    name_territories(&mut own, &mut blocs);
    documents.push(own);
    blocs.extend(documents);
    let mut seen = std::collections::BTreeSet::new();
    blocs.retain(|document| seen.insert(identity(document)));
    blocs
}

/// Clusters that others name as their failover partner and that no plan has.
pub(super) fn partners(documents: &[Value]) -> Vec<Value> {
    let clusters = documents.iter().filter(|document| document["kind"] == "Cluster");
    let missing = clusters.filter_map(|document| {
        let spec = &document["spec"];
        let partner = spec["failoverPair"].as_str()?;
        let there = |other: &&Value| identity(other) == ("Cluster".into(), partner.into());
        let pair = &document["metadata"]["name"];
        documents.iter().find(there).is_none().then(|| {
            let like = json!({
                "region": spec["region"], "jurisdiction": spec["jurisdiction"], "failoverPair": pair,
            });
            self::document("Cluster", partner, like)
        })
    });
    missing.collect()
}

/// A plan's document with a mistake in it.
pub(super) fn in_error(plan: &Value) -> Value {
    let mut plan = plan.clone();
    if let Some(first) = plan.pointer_mut("/spec/rings/0") {
        first["after"] = json!([first["name"]]);
    }
    plan
}

/// What tells documents apart: kind and name.
pub(super) fn identity(document: &Value) -> (String, String) {
    let text = |at: &str| document.pointer(at).and_then(Value::as_str).unwrap_or_default().into();
    (text("/kind"), text("/metadata/name"))
}

fn document(kind: &str, name: &str, spec: impl Into<Value>) -> Value {
    let spec: Value = spec.into();
    json!({"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn part_of(plan: &Plan, ring: &Ring, part: &str) -> String {
    format!("{}-{}-{part}", plan.name, ring.name)
}

fn cluster(cluster: &Cluster) -> Value {
    let mut spec = written(cluster);
    spec.remove("labels");
    if let Some(Value::Array(sources)) = spec.get_mut("metrics") {
        for source in sources.iter_mut().filter_map(Value::as_object_mut) {
            let kind = source.remove("kind");
            source.extend(kind.map(|kind| ("type".to_owned(), kind)));
        }
    }
    document("Cluster", cluster.name.as_str(), spec)
}

fn template_name(gate: &Gate) -> String {
    if gate.samples.is_some() { format!("{}-counted", gate.name) } else { gate.name.to_string() }
}

fn template(gate: &Gate) -> Value {
    let Gate { signal, provider, query, samples, .. } = gate;
    let mut spec = json!({"signal": signal, "provider": provider, "query": query});
    if let Some(samples) = samples {
        spec["samples"] = json!(samples);
    }
    document("GateTemplate", &template_name(gate), spec)
}

fn policy(plan: &Plan, ring: &Ring) -> Map<String, Value> {
    let policy = &ring.policy;
    let mut spec = written(policy);
    // It is said beside the soak.
    if let Some(Value::Object(soak)) = spec.get_mut("soak") {
        let backfill = soak.remove("backfill");
        spec.extend(backfill.map(|on| ("backfill".to_owned(), on)));
    }
    let budget = json!({ "clusters": policy.failure_budget });
    let at_once = concurrency(policy.concurrency);
    if let Some(back) = policy.rollback.concurrency {
        spec["rollback"]["concurrency"] = concurrency(back);
    }
    let gates: Value = match policy.gates.is_empty() {
        true => json!("none"),
        false => policy.gates.iter().map(gate).collect(),
    };
    spec.insert("failureBudget".into(), budget);
    spec.insert("concurrency".into(), at_once);
    spec.insert("gates".into(), gates);
    let calendars = policy.calendars.iter();
    let calendars: Value =
        calendars.map(|calendar| part_of(plan, ring, calendar.name.as_str())).collect();
    spec.insert("calendars".into(), calendars);
    spec
}

fn concurrency(concurrency: Concurrency) -> Value {
    match concurrency {
        Concurrency::Clusters(n) => json!(n),
        Concurrency::Share(share) => json!(format!("{}%", share * 100.0)),
    }
}

fn gate(gate: &Gate) -> Value {
    let mut spec = written(gate);
    for of_template in ["signal", "provider", "query", "samples"] {
        spec.remove(of_template);
    }
    spec.insert("name".into(), json!(gate.name));
    spec.insert("template".into(), json!(template_name(gate)));
    lift(&mut spec, "judge");
    if let Some(Value::Object(relative)) = spec.get_mut("relative") {
        let share = relative.get("maxDegradation").and_then(Value::as_f64).unwrap_or_default();
        relative.insert("maxDegradation".into(), json!(format!("{}%", share * 100.0)));
    }
    if let Some(Value::Object(ranks)) = spec.get_mut("mannWhitney") {
        lift(ranks, "rules");
        for (of_model, declared) in [("control", "baseline"), ("effect", "effectSize")] {
            let value = ranks.remove(of_model);
            ranks.extend(value.map(|value| (declared.to_owned(), value)));
        }
        // None of those that are simulated leaves samples out.
        let strategy = ranks.remove("outliers");
        ranks.extend(strategy.map(|word| ("outliers".to_owned(), json!({ "strategy": word }))));
    }
    spec.into()
}

fn ring_plan(plan: &Plan) -> Map<String, Value> {
    let mut spec = written(plan);
    for of_others in ["hash", "commit", "graph"] {
        spec.remove(of_others);
    }
    if let Some(lane) = &plan.lanes.hotfix {
        let share = format!("{}%", lane.soak.share * 100.0);
        spec["lanes"]["hotfix"]["soak"]["share"] = json!(share);
    }
    if !plan.residency.is_empty() {
        spec.insert("residency".into(), json!([plan.name]));
    }
    let rings = plan.rings.iter().map(|ring| {
        let clusters: Vec<_> = ring.clusters.iter().map(|cluster| &cluster.name).collect();
        let mut written = json!({
            "name": ring.name,
            "clusters": {"names": clusters},
            "policy": part_of(plan, ring, "policy"),
        });
        let after = plan.graph.after(&ring.name);
        let field = match after.join {
            Join::All => "after",
            Join::Any => "afterAny",
        };
        if !after.rings.is_empty() {
            written[field] = json!(after.rings);
        }
        written
    });
    spec.insert("rings".into(), rings.collect());
    spec
}

/// A part of the model under the names of declarations, without what is not there and without its own
/// name, which stands elsewhere.
fn written(part: &impl serde::Serialize) -> Map<String, Value> {
    let mut value = serde_json::to_value(part).unwrap_or_default();
    rename(&mut value);
    let Value::Object(mut fields) = value else { return Map::new() };
    fields.remove("name");
    fields
}

fn rename(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(rename),
        Value::Object(fields) => {
            let old = std::mem::take(fields);
            for (name, mut value) in old {
                let empty = matches!(&value, Value::Array(items) if items.is_empty());
                if value.is_null() || empty {
                    continue;
                }
                rename(&mut value);
                fields.insert(camel(&name), value);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn camel(name: &str) -> String {
    let mut parts = name.split('_');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |mut name, part| {
        let (head, tail) = part.split_at(part.len().min(1));
        name.push_str(&head.to_uppercase());
        name.push_str(tail);
        name
    })
}

/// `{judge: {threshold: ..}}` is written `{threshold: ..}`; a word alone has no parameters.
fn lift(fields: &mut Map<String, Value>, name: &str) {
    match fields.remove(name) {
        Some(Value::Object(inner)) => fields.extend(inner),
        Some(Value::String(word)) => {
            fields.insert(word, json!({}));
        }
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_)) | None => {}
    }
}

/// A territory is named; what no table knows is declared beside.
fn name_territories(value: &mut Value, declared: &mut Vec<Value>) {
    if let Value::Object(fields) = value
        && let (2, Some(Value::String(name)), Some(members)) =
            (fields.len(), fields.get("name"), fields.get("members"))
    {
        if !blocs::is_country(name) && blocs::blocs().all(|(bloc, _)| bloc != name) {
            declared.push(document("Jurisdiction", name, json!({ "members": members })));
        }
        *value = Value::String(name.clone());
        return;
    }
    match value {
        Value::Array(items) => items.iter_mut().for_each(|v| name_territories(v, declared)),
        Value::Object(fields) => fields.values_mut().for_each(|v| name_territories(v, declared)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
