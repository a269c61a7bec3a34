//! What a plan breaks of its residency rules, with the counterexample.

use super::{Note, Rule, Subject};
use crate::model::{
    plan::Plan,
    residency::{self, Breach, Demand, Known, Territory},
    ring::{Cluster, Ring},
};

/// Breaches beside the counterexample that are named one by one.
const NAMED: usize = 4;

pub(super) fn notes(plan: &Plan) -> Vec<Note> {
    let mut notes = Vec::new();
    for rule in &plan.residency {
        match rule.concerns_nothing(plan) {
            Some(why) if !rule.allow_empty => notes.push(vacuous(plan, rule, why)),
            Some(_) => {}
            None => {
                let breaches = rule.breaches(plan, None, &Known::DECLARED);
                let rings = breaches.chunk_by(|a, b| a.ring == b.ring);
                notes.extend(rings.filter_map(|of_ring| breach(plan, rule, of_ring)));
            }
        }
        notes.extend(two_places(plan, rule));
        notes.extend(out_of_sight(plan, rule));
    }
    notes
}

/// What nothing in Git can tell: the server's settings do, and it denies what they leave open.
fn out_of_sight(plan: &Plan, rule: &residency::Rule) -> Option<Note> {
    let jurisdiction = rule.demand.state()?;
    if rule.concerns_nothing(plan).is_some() {
        return None;
    }
    let name = &jurisdiction.name;
    Some(Note {
        rule: Rule::Res013,
        subject: Subject::Residency(rule.declared_at.clone()),
        message: format!("a check cannot see whether the server keeps its state in {name}"),
        label: format!("binds plan `{}`", plan.name),
        facts: Vec::new(),
        help:
            "give the server's settings `place: {data: CODE, backups: CODE}`; it holds these rings \
               until they lie there"
                .into(),
    })
}

fn vacuous(plan: &Plan, rule: &residency::Rule, why: String) -> Note {
    Note {
        rule: Rule::Res010,
        subject: Subject::Residency(rule.declared_at.clone()),
        message: format!("rule {} concerns nothing in plan `{}`", rule.id, plan.name),
        label: why,
        facts: Vec::new(),
        help: "correct what it names; or say `allowEmpty: true`, if that is meant".into(),
    }
}

/// What a ring breaks of a rule: the first breach is the counterexample, the others are listed.
fn breach(plan: &Plan, rule: &residency::Rule, breaches: &[Breach]) -> Option<Note> {
    let (first, others) = breaches.split_first()?;
    let ring = plan.ring(first.ring.as_ref()?)?;
    let name = &ring.name;
    let cluster = first.cluster.as_ref().and_then(|name| plan.cluster(name));
    let of_cluster = |help: fn(&Cluster) -> String| cluster.map(help).unwrap_or_default();
    let mut label = first.fact.clone();
    let (id, message, help) = match &rule.demand {
        Demand::ClassWithin { class, jurisdiction } => {
            label = of_cluster(|c| {
                format!("serves it from cluster {} (jurisdiction {})", c.name, c.jurisdiction)
            });
            (
                Rule::Res001,
                format!("ring `{name}` puts data class `{class}` outside {}", jurisdiction.name),
                of_cluster(|c| {
                    format!("take {} out of the ring, or the class off the cluster", c.name)
                }),
            )
        }
        Demand::TargetsWithin { jurisdiction, .. } => (
            Rule::Res002,
            format!("ring `{name}` reaches outside {}", jurisdiction.name),
            of_cluster(|c| format!("take {} out of the ring", c.name)),
        ),
        Demand::TargetsOutside { jurisdiction, .. } => (
            Rule::Res003,
            format!("ring `{name}` reaches into {}", jurisdiction.name),
            of_cluster(|c| format!("take {} out of the ring", c.name)),
        ),
        Demand::Homogeneous { .. } => (
            Rule::Res004,
            format!("ring `{name}` spans more than one jurisdiction"),
            "make a ring of each".into(),
        ),
        Demand::NotFirstIn { jurisdiction } => (
            Rule::Res005,
            format!("ring `{name}` may be the first to take a release into {}", jurisdiction.name),
            format!("let it come after a ring without a cluster in {}", jurisdiction.name),
        ),
        Demand::Independent { a, b } => (
            Rule::Res006,
            format!("ring `{name}` depends on ring `{}`", if a == name { b } else { a }),
            "let neither come after the other, at any distance, nor be compared with it".into(),
        ),
        Demand::PairExclusive => (
            Rule::Res007,
            format!("ring `{name}` holds both failover partners"),
            "put them into rings of their own".into(),
        ),
        Demand::EvidenceWithin { jurisdiction, .. } => (
            Rule::Res008,
            format!("the evidence of ring `{name}` is not known to stay in {}", jurisdiction.name),
            format!(
                "measure in {0}, and give the metric source its `jurisdiction`",
                jurisdiction.name
            ),
        ),
        Demand::ApproverWithin { jurisdiction, .. } => (
            Rule::Res009,
            format!("ring `{name}` starts without an approval from {}", jurisdiction.name),
            format!("give its policy `{}` approvals", ring.policy.name),
        ),
        Demand::PullWithin { jurisdiction, .. } => (
            Rule::Res012,
            format!("ring `{name}` is not known to pull its images from {}", jurisdiction.name),
            format!("name a registry of {}, with its `jurisdiction`", jurisdiction.name),
        ),
        // Where the server keeps its state is no declaration's to say.
        Demand::StateWithin { .. } | Demand::MaxInFlight { .. } => return None,
    };
    let enforcement = rule.enforcement.name();
    let mut facts = vec![format!("rule {} ({enforcement}), {}", rule.id, rule.declared_at)];
    facts.extend(others.iter().take(NAMED).map(|other| format!("also: {}", other.fact)));
    if others.len() > NAMED {
        facts.push(format!("and so in {} places more", others.len() - NAMED));
    }
    let subject = Subject::Ring(name.clone());
    Some(Note { rule: id, subject, message, label, facts, help })
}

/// Rings whose approvals must come from one place by their policy, and from another by the rule.
fn two_places(plan: &Plan, rule: &residency::Rule) -> Vec<Note> {
    let Demand::ApproverWithin { jurisdiction, count } = &rule.demand else { return Vec::new() };
    let apart = |ring: &&Ring| {
        let asked = ring.policy.approvals.as_ref().and_then(|a| a.jurisdiction.as_ref());
        jurisdiction.reaches(ring) && asked.is_some_and(|asked| disjoint(asked, jurisdiction))
    };
    let enforcement = rule.enforcement.name();
    let note = |ring: &Ring| Note {
        rule: Rule::App002,
        subject: Subject::Approvals(ring.policy.name.clone()),
        message: format!("nobody can approve ring `{}` of plan `{}`", ring.name, plan.name),
        label: format!("rule {} wants {count} of the approvers in {}", rule.id, jurisdiction.name),
        facts: vec![format!("rule {} ({enforcement}), {}", rule.id, rule.declared_at)],
        help: format!("let the approvals come from {}, or from anywhere", jurisdiction.name),
    };
    plan.rings.iter().filter(apart).map(note).collect()
}

fn disjoint(a: &Territory, b: &Territory) -> bool {
    a.members.is_disjoint(&b.members) && !a.contains(&b.name) && !b.contains(&a.name)
}
