//! The rings of a plan: their clusters and policies.

use std::collections::{BTreeMap, BTreeSet};

use super::{At, Diagnostic, Kind, Rule, World, nearest, repeats};
use crate::{
    declare::schema,
    ids::{ClusterName, RingName},
    model::{
        language::Language,
        nrql,
        policy::{Gate, Judge, Past, Policy},
        ring::{Cluster, ProviderKind, Ring},
    },
};

/// One ring of a plan, with everything that it rests on.
pub(super) fn one(
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
        unmeasurable(policy, clusters, at.field("name"), problems);
        forgetful(policy, clusters, at.field("name"), problems);
        without_history(policy, clusters, at.field("name"), problems);
        unanswerable(policy, clusters, at.field("name"), problems);
        foreign(world, policy, clusters, at.field("name"), problems);
    }
    Some(Ring { name: ring.name.as_deref()?.into(), clusters: clusters?, policy: policy?.clone() })
}

/// Gates that ask for a metric source that a cluster does not have.
fn unmeasurable(policy: &Policy, clusters: &[Cluster], at: At<'_>, problems: &mut Vec<Diagnostic>) {
    let mut asked: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for gate in policy.gates.iter().filter(|gate| gate.judge.reads_source()) {
        asked.entry(&gate.provider).or_default().push(gate.name.as_str());
    }
    for (cluster, (provider, gates)) in
        clusters.iter().flat_map(|c| asked.iter().map(move |a| (c, a)))
    {
        let sources: Vec<_> = cluster.metrics.iter().map(|m| m.name.as_str()).collect();
        if sources.contains(provider) {
            continue;
        }
        let message = format!("cluster `{}` has no metric source `{provider}`", cluster.name);
        let label = format!("policy `{}` asks it for {}", policy.name, gates.join(", "));
        let help = match nearest(provider, sources.iter().copied()) {
            Some(near) => format!("did you mean `{near}`, which the cluster has?"),
            None => format!("declare a metric source `{provider}` on the cluster"),
        };
        problems.push(at.problem(Rule::Gat003, message).label(label).help(help));
    }
}

/// Gates that ask for what was before, by a source that cannot tell.
fn forgetful(policy: &Policy, clusters: &[Cluster], at: At<'_>, problems: &mut Vec<Diagnostic>) {
    for (gate, cluster) in policy.gates.iter().flat_map(|g| clusters.iter().map(move |c| (g, c))) {
        let source = cluster.metrics.iter().find(|source| source.name == gate.provider);
        let Some(kind) = source.map(|s| &s.kind).filter(|kind| gate.judge.can_ask(kind)) else {
            continue;
        };
        let provider = &gate.provider;
        let mut why = format!("`{provider}` cannot be asked about the past");
        let (what, help) = match gate.judge.asks_of_the_past() {
            Some(Past::Instant) if !kind.knows_the_past() => (
                "compare with before the deploy",
                "use `threshold`, or a source that can be asked about the past",
            ),
            Some(Past::Range) if !kind.knows_ranges() => {
                if let Judge::Sequential(_) = gate.judge {
                    (
                        "learn how errors clump",
                        "give `phi`, or use a source that tells whole ranges",
                    )
                } else {
                    (
                        "compare with before the deploy",
                        "compare with `stable`, or use a source that tells whole ranges",
                    )
                }
            }
            // A source that can, asked by a query whose time is fixed.
            Some(Past::Instant | Past::Range) if !movable(gate, kind) => {
                why = format!("what it asks `{provider}` has its time for good");
                ("look at the time before the deploy", nrql::MOVABLE)
            }
            Some(Past::Instant | Past::Range) | None => continue,
        };
        let message =
            format!("gate `{}` cannot {what} on cluster `{}`: {why}", gate.name, cluster.name);
        let label = format!("policy `{}`, a source of type {}", policy.name, kind.name());
        problems.push(at.problem(Rule::Gat008, message).label(label).help(help));
    }
}

/// Whether what a gate asks about the past can be asked as of another time than now.
fn movable(gate: &Gate, kind: &ProviderKind) -> bool {
    let queries = match &gate.judge {
        Judge::Sequential(declared) => [&declared.stable.requests, &declared.stable.errors],
        Judge::Threshold { .. }
        | Judge::Relative { .. }
        | Judge::MannWhitney(_)
        | Judge::BurnRate(_)
        | Judge::Alerts(_)
        | Judge::Webhook
        | Judge::Kubernetes(_) => [&gate.query; 2],
    };
    let names_time = kind.language() == Language::Nrql;
    !names_time || queries.into_iter().all(|query| nrql::is_movable(query))
}

/// Gates whose judge asks what the cluster's source of that name does not tell at all.
fn unanswerable(policy: &Policy, clusters: &[Cluster], at: At<'_>, problems: &mut Vec<Diagnostic>) {
    for (gate, cluster) in policy.gates.iter().flat_map(|g| clusters.iter().map(move |c| (g, c))) {
        let source = cluster.metrics.iter().find(|source| source.name == gate.provider);
        let Some(kind) = source.map(|source| &source.kind) else { continue };
        let counted = gate.samples.is_none() || kind.tells_numbers();
        if gate.judge.can_ask(kind) && counted {
            continue;
        }
        let what = match &gate.judge {
            Judge::Alerts(_) if counted => "alerts",
            Judge::Webhook if counted => "verdicts",
            Judge::Threshold { .. }
            | Judge::Relative { .. }
            | Judge::MannWhitney(_)
            | Judge::Sequential(_)
            | Judge::BurnRate(_)
            | Judge::Alerts(_)
            | Judge::Webhook
            | Judge::Kubernetes(_) => "numbers",
        };
        let message = format!(
            "gate `{}` asks for {what}, and `{}` of cluster `{}` is of type {}",
            gate.name,
            gate.provider,
            cluster.name,
            kind.name()
        );
        let help = match what {
            "alerts" => "name a source of type prometheus or alertmanager",
            "verdicts" => "name a source of type webhook",
            _ => "name a source that tells numbers",
        };
        let label = format!("judged by {} of policy `{}`", gate.judge.name(), policy.name);
        problems.push(at.problem(Rule::Gat018, message).label(label).help(help));
    }
}

/// Soaks that are to be made up for from history, and gates of which there is none.
fn without_history(
    policy: &Policy,
    clusters: &[Cluster],
    at: At<'_>,
    problems: &mut Vec<Diagnostic>,
) {
    if !policy.soak.backfill {
        return;
    }
    let help = "take `backfill` out, or judge by `threshold` or `relative` and by a source that tells \
                ranges of the past";
    let mut problem = |message: String, label: String| {
        problems.push(at.problem(Rule::Gat016, message).label(label).help(help));
    };
    let required = || policy.gates.iter().filter(|gate| gate.required);
    if required().next().is_none() {
        let message =
            "`backfill` without a required gate: there is nothing to measure from history";
        problem(message.into(), format!("policy `{}`", policy.name));
    }
    for gate in required() {
        if !gate.judge.knows_the_past() {
            let judge = gate.judge.name();
            let message = format!(
                "gate `{}` cannot be made up for from history: `{judge}` judges no instant of the past",
                gate.name
            );
            problem(message, format!("policy `{}`", policy.name));
            continue;
        }
        for cluster in clusters {
            let source = cluster.metrics.iter().find(|source| source.name == gate.provider);
            let Some(kind) = source.map(|s| &s.kind).filter(|kind| !kind.knows_ranges()) else {
                continue;
            };
            let message = format!(
                "gate `{}` cannot be made up for on cluster `{}`: `{}` tells no ranges of the past",
                gate.name, cluster.name, gate.provider
            );
            let kind = kind.name();
            problem(message, format!("policy `{}`, a source of type {kind}", policy.name));
        }
    }
}

/// Clusters whose metric source of a gate's name speaks another language than the gate.
fn foreign(
    world: &World<'_>,
    policy: &Policy,
    clusters: &[Cluster],
    at: At<'_>,
    problems: &mut Vec<Diagnostic>,
) {
    let queries = policy.gates.iter().filter(|g| g.judge.reads_numbers() || g.samples.is_some());
    let asked: BTreeSet<&str> = queries.map(|gate| gate.provider.as_str()).collect();
    for (cluster, provider) in clusters.iter().flat_map(|c| asked.iter().map(move |a| (c, *a))) {
        let source = cluster.metrics.iter().find(|source| source.name == provider);
        let meant = world.languages.spoken_by(provider);
        let Some(spoken) = source.map(|s| s.kind.language()).filter(|l| *l != meant) else {
            continue;
        };
        let message = format!(
            "`{provider}` of cluster `{}` takes {}, and the gates that ask it are in {}",
            cluster.name,
            spoken.name(),
            meant.name()
        );
        let label = format!("asked by policy `{}`", policy.name);
        let help = "give metric sources of different kinds different names, and each a template";
        problems.push(at.problem(Rule::Gat015, message).label(label).help(help));
    }
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
pub(super) fn overlaps(
    rings: &[Ring],
    written: &[schema::Ring],
    list: At<'_>,
    problems: &mut Vec<Diagnostic>,
) {
    // By connection: two documents of one are one cluster.
    let mut homes: BTreeMap<&str, (&ClusterName, &RingName)> = BTreeMap::new();
    for ring in rings {
        let names: Vec<_> = ring.clusters.iter().map(|c| c.name.as_str()).collect();
        let within: BTreeSet<_> =
            repeats(names.iter().copied()).into_iter().map(|(_, name)| name).collect();
        for cluster in &ring.clusters {
            let here = (&cluster.name, &ring.name);
            let Some((same, other)) = homes.insert(&cluster.connection, here) else { continue };
            let i = written.iter().position(|r| r.name.as_deref() == Some(ring.name.as_str()));
            let at = list.item(i.unwrap_or_default()).field("name");
            let message = if *same != cluster.name {
                format!(
                    "cluster `{}` in ring `{}` and cluster `{same}` in ring `{other}` are one: both have \
                     the connection `{}`",
                    cluster.name, ring.name, cluster.connection
                )
            } else if within.contains(cluster.name.as_str()) && *other == ring.name {
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
