//! A shrunk scenario in the format of the others.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::landscape::known_versions;
use crate::{
    decide::{
        command::Lane,
        event::{Action, Answer, Event, Outcome, Reading, Scope, Status, TargetState},
    },
    declare::schema::API_VERSION,
    ids::{IdempotencyKey, PlanName, ReleaseId},
    model::{limits::Limits, residency::Home, ring::Artifact},
    sim::scenario::{
        artifact,
        model::{Asking, Scenario, Step, What},
    },
};

/// The whole file, a step a line.
pub(super) fn scenario_text(scenario: &Scenario) -> String {
    let mut names = Names::default();
    let steps: Vec<_> = scenario.steps.iter().map(|step| line(&mut names, step)).collect();
    let head = json!({
        "apiVersion": API_VERSION,
        "kind": "Scenario",
        "metadata": {"name": scenario.name},
    });
    let mut spec = json!({
        "source": scenario.source,
        "start": scenario.start,
        "fleet": "scripted",
    });
    if scenario.limits != Limits::default() {
        spec["limits"] = json!(scenario.limits);
    }
    if scenario.home != Home::default() {
        spec["place"] = json!(scenario.home);
    }
    let block = |value: &Value| serde_yaml::to_string(value).unwrap_or_default();
    let spec = block(&spec).lines().map(|line| format!("  {line}\n")).collect::<String>();
    let steps: String = steps.iter().map(|step| format!("    - {}\n", flow(step))).collect();
    format!("{}spec:\n{spec}  steps:\n{steps}", block(&head))
}

/// The versions that artifacts stand for.
#[derive(Default)]
struct Names(BTreeMap<PlanName, BTreeMap<Artifact, String>>);

impl Names {
    fn of(&mut self, plan: &PlanName, found: &Artifact) -> String {
        let names = self.0.entry(plan.clone()).or_insert_with(|| {
            let names = known_versions();
            names.map(|version| (artifact(plan, &version), version.to_string())).collect()
        });
        names.get(found).cloned().unwrap_or_else(|| found.to_string())
    }
}

fn line(names: &mut Names, step: &Step) -> Value {
    let mut fields = Map::from_iter([("at".to_owned(), json!(step.at))]);
    match &step.what {
        What::Ask(asking) => ask(names, asking, &mut fields),
        What::EditFile { file, content } => {
            put(&mut fields, "edit", json!({"file": file, "content": content}));
        }
        What::EditDocument(document) => put(&mut fields, "edit", json!({ "document": document })),
        What::Restart { down } => put(&mut fields, "restart", json!({ "down": down })),
        What::Jump(by) => {
            let span = crate::model::time::Span(u64::try_from(by.abs().as_millis()).unwrap_or(0));
            let sign = if by.is_negative() { "-" } else { "" };
            put(&mut fields, "clock", json!({ "jump": format!("{sign}{span}") }));
        }
        What::Drift { cluster, plan, running } => {
            let drift = json!({"cluster": cluster, "plan": plan, "running": running});
            put(&mut fields, "drift", drift);
        }
        What::Witness(cluster, witness) => {
            let (region, place) = (witness.regions.first(), witness.jurisdictions.first());
            let says = json!({"cluster": cluster, "region": region, "jurisdiction": place});
            put(&mut fields, "drift", says);
        }
        What::Hear(event) => put(&mut fields, "hear", hear(names, event)),
        What::Expect(_) => put(&mut fields, "expect", json!({"invariants": "hold"})),
    }
    fields.into()
}

fn ask(names: &mut Names, asking: &Asking, fields: &mut Map<String, Value>) {
    let Asking { by, roles, jurisdiction, key, seen, action } = asking;
    put(fields, "key", json!(key));
    put(fields, "seen", json!(seen));
    let (verb, mut what) = match action {
        Action::Submit {
            release,
            artifact: content,
            author,
            lane,
            reason,
            irreversible,
            requires,
        } => {
            let content = names.of(&release.plan, content);
            let other = (content != release.version.as_str()).then_some(content);
            let lane = match lane {
                Lane::Normal => None,
                Lane::Hotfix => Some(lane),
            };
            let irreversible = irreversible.then_some(true);
            let what = json!({
                "plan": release.plan, "version": release.version, "content": other, "author": author,
                "lane": lane, "reason": reason, "irreversible": irreversible, "requires": requires,
            });
            ("release", what)
        }
        Action::Pause { scope, reason } => ("pause", with_reason(scope_of(scope), reason)),
        Action::Resume { scope, reason } => ("resume", with_reason(scope_of(scope), reason)),
        Action::Approve { release, ring, reason } => {
            ("approve", with_reason(on(release, Some(ring)), reason))
        }
        Action::Reject { release, ring, reason } => {
            ("reject", with_reason(on(release, Some(ring)), reason))
        }
        Action::Abort { release, hold, reason } => {
            let mut what = with_reason(on(release, None), reason);
            what["hold"] = json!(hold.then_some(true));
            ("abort", what)
        }
        Action::Retry { release, ring, reason } => {
            ("retry", with_reason(on(release, ring.as_ref()), reason))
        }
        Action::Rollback { release, ring, scope, reason } => {
            let mut what = with_reason(on(release, ring.as_ref()), reason);
            what["scope"] = json!(scope);
            ("rollback", what)
        }
        Action::Advance { release, ring, reason } => {
            ("advance", with_reason(on(release, Some(ring)), reason))
        }
        Action::Freeze { id, scope, until, reason } => {
            let mut what = scope_of(scope);
            what["id"] = json!(id);
            what["until"] = json!(until);
            what["reason"] = json!(reason);
            ("freeze", what)
        }
        Action::Lift { id } => ("lift", json!({ "id": id })),
        Action::BreakGlass { token, reason, asked } => {
            ("breakGlass", json!({"token": token, "reason": reason, "asked": asked}))
        }
        Action::WriteOff { release, ring, reason } => {
            ("writeOff", with_reason(on(release, ring.as_ref()), &Some(reason.clone())))
        }
        Action::Waive { id, plan, rule, policy, release, ring, until, reason } => {
            let release = release.clone().map(|version| ReleaseId::new(plan.clone(), version));
            let plan = release.is_none().then_some(plan);
            let what = json!({
                "id": id, "plan": plan, "release": release, "ring": ring, "rule": rule,
                "policy": policy, "until": until, "reason": reason,
            });
            ("waive", what)
        }
        Action::ApproveWaiver { plan, id } => ("approve", json!({"plan": plan, "waiver": id})),
        Action::RevokeWaiver { plan, id, reason } => {
            ("revoke", with_reason(json!({"plan": plan, "waiver": id}), reason))
        }
    };
    let others: Vec<_> = roles.iter().filter(|role| *role != "operator").collect();
    what["by"] = json!(by);
    what["roles"] = json!(Some(others).filter(|others| !others.is_empty()));
    if what["jurisdiction"].is_null() {
        what["jurisdiction"] = json!(jurisdiction);
    }
    put(fields, verb, what);
}

fn scope_of(scope: &Scope) -> Value {
    match scope {
        Scope::Everything => json!({"everything": true}),
        Scope::Jurisdiction(place) => json!({ "jurisdiction": place }),
        Scope::Plan(plan) => json!({ "plan": plan }),
        Scope::Ring(plan, ring) => json!({"plan": plan, "ring": ring}),
        Scope::Release(release) => on(release, None),
        Scope::ReleaseRing(release, ring) => on(release, Some(ring)),
    }
}

fn on(release: &ReleaseId, ring: Option<&crate::ids::RingName>) -> Value {
    json!({"release": release.to_string(), "ring": ring})
}

fn with_reason(mut what: Value, reason: &Option<String>) -> Value {
    what["reason"] = json!(reason);
    what
}

fn hear(names: &mut Names, event: &Event) -> Value {
    match event {
        Event::Observed { plan, cluster, state } | Event::Found { plan, cluster, state } => {
            let TargetState { status, image, intent, revision, ready_since, pause } = state;
            let (status, why) = match status {
                Status::Pending => ("Pending", None),
                Status::Progressing(how) => ("Progressing", Some(how)),
                Status::Paused => ("Paused", None),
                Status::Succeeded => ("Succeeded", None),
                Status::Failed(why) => ("Failed", Some(why)),
                Status::Unknown(why) => ("Unknown", Some(why)),
            };
            let running = image.as_ref().map(|image| names.of(plan, image));
            let heard = json!({
                "plan": plan, "cluster": cluster, "status": status, "why": why, "running": running,
                "intent": intent, "revision": revision, "readySince": ready_since, "pause": pause,
            });
            let found = matches!(event, Event::Found { .. });
            if found { json!({ "found": heard }) } else { json!({ "target": heard }) }
        }
        Event::Outcome { key, outcome, .. } => {
            let (outcome, why) = match outcome {
                Outcome::Done => ("done", None),
                Outcome::Refused(why) => ("refused", Some(why)),
            };
            json!({"write": {"key": key, "outcome": outcome, "why": why}})
        }
        Event::Measured { key, answer, .. } => measured(key, answer),
        Event::TookOver
        | Event::Limits(_)
        | Event::Source { .. }
        | Event::Learned(_)
        | Event::Declared { .. }
        | Event::Operator(_)
        | Event::Submitted { .. }
        | Event::Wake { .. } => Value::Null,
    }
}

fn measured(key: &IdempotencyKey, answer: &Answer) -> Value {
    let Answer { value, samples, baseline, parts, infos: _ } = answer;
    let reading = |reading: &Reading| match reading {
        Reading::Value { value, at } => {
            let is = if value.is_finite() { json!(value) } else { json!(value.to_string()) };
            json!({"is": is, "at": at})
        }
        Reading::Absent => json!("_"),
        Reading::Error(why) => json!({ "error": why }),
    };
    json!({"measure": {
        "key": key,
        "value": reading(value),
        "samples": samples.as_ref().map(reading),
        "baseline": baseline.as_ref().map(reading),
        "parts": (!parts.is_empty()).then(|| json!(parts)),
    }})
}

fn put(fields: &mut Map<String, Value>, name: &str, value: Value) {
    if !value.is_null() {
        fields.insert(name.into(), value);
    }
}

/// YAML on one line, with no more quotes than it needs; what is null is left out.
fn flow(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let there = fields.iter().filter(|(_, value)| !value.is_null());
            let fields: Vec<_> = there.map(|(name, v)| format!("{name}: {}", flow(v))).collect();
            format!("{{{}}}", fields.join(", "))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", "))
        }
        Value::String(text) => {
            let plain = |c: char| c.is_ascii_alphanumeric() || "@/-_.".contains(c);
            let word = text.starts_with(|c: char| c.is_ascii_alphabetic())
                && text.chars().all(plain)
                && serde_yaml::from_str::<String>(text).is_ok_and(|read| read == *text)
                && !["no", "yes", "on", "off", "y", "n"].contains(&text.to_lowercase().as_str());
            let span = text.parse::<crate::model::time::Span>().is_ok();
            if word || span { text.clone() } else { value.to_string() }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}
