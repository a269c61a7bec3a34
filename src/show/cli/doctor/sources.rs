//! Metric sources: whether each answers the plainest question that it understands.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::{StreamExt as _, stream};

use super::{Health, Report};
use crate::{
    act::{
        Measurer as _,
        metrics::{Limits, Metrics, When, auth::Credentials},
    },
    clock::SystemClock,
    config::Settings,
    decide::{
        command::Measure,
        event::Reading,
        gate::query::{Vars, render},
        part::{Ask, Part, Role, Told},
    },
    declare::Compiled,
    ids::ReleaseId,
    model::{
        plan::Plan,
        policy::Gate,
        ring::{Cluster, MetricSource, ProviderKind, Ring},
        time::{Mono, Span},
    },
    show::cli::failure::chain,
};

/// Sources that are asked at once.
const AT_ONCE: usize = 16;
/// How long one answer may take.
const PATIENCE: Span = Span::seconds(10);

pub(super) async fn look(settings: Settings, compiled: &Compiled, report: &mut Report) {
    // One source may serve many clusters: it is asked for the first.
    let mut seen: BTreeSet<(&ProviderKind, &str)> = BTreeSet::new();
    let declared = compiled.clusters.values();
    let all =
        declared.flat_map(|cluster| cluster.metrics.iter().map(move |source| (cluster, source)));
    let sources: Vec<(&Cluster, &MetricSource)> =
        all.filter(|(_, source)| seen.insert((&source.kind, &source.url))).collect();
    let credentials = match Credentials::new(settings.metrics) {
        Ok(credentials) => credentials,
        Err(error) => {
            return report.add(
                Health::Fail,
                "metrics",
                "all",
                chain(&error),
                "mend metrics in the settings",
            );
        }
    };
    let metrics =
        match Metrics::new(credentials, Arc::new(SystemClock::new(Mono(0))), Limits::default()) {
            Ok(metrics) => metrics,
            Err(error) => {
                return report.add(
                    Health::Fail,
                    "metrics",
                    "all",
                    chain(&error),
                    "mend the caFile that it names",
                );
            }
        };
    let asked = sources.into_iter().map(|(cluster, source)| {
        let metrics = &metrics;
        async move { (cluster, source, ask(metrics, compiled, cluster, source).await) }
    });
    let told: Vec<_> = stream::iter(asked).buffered(AT_ONCE).collect().await;
    for (cluster, source, told) in told {
        let which = format!("{} of {}", source.name, cluster.name);
        match told {
            Ok(found) => report.ok("metrics", which, found),
            Err((health, why, cure)) => report.add(health, "metrics", which, why, cure),
        }
    }
}

type Verdict = Result<String, (Health, String, String)>;

async fn ask(
    metrics: &Metrics,
    compiled: &Compiled,
    cluster: &Cluster,
    source: &MetricSource,
) -> Verdict {
    let kind = source.kind.name();
    let query = match &source.kind {
        ProviderKind::Webhook => {
            return Ok("a webhook: not asked, since a question is a message".into());
        }
        ProviderKind::Alertmanager => return alerts(metrics, source).await,
        ProviderKind::Prometheus => Some("vector(1)".to_owned()),
        ProviderKind::Graphite { .. } => Some("constantLine(1)".to_owned()),
        ProviderKind::NewRelic { .. } => {
            Some("SELECT count(*) FROM Transaction SINCE 1 minute AGO".to_owned())
        }
        ProviderKind::Flux { .. } => {
            Some("import \"array\"\narray.from(rows: [{_time: now(), _value: 1.0}])".to_owned())
        }
        ProviderKind::Datadog { .. }
        | ProviderKind::CloudWatch { .. }
        | ProviderKind::InfluxQl { .. }
        | ProviderKind::Json { .. } => declared(compiled, cluster, source),
    };
    let Some(query) = query else {
        let cure = "nothing: it is asked as soon as a gate names it".to_owned();
        return Err((
            Health::Warn,
            format!("type {kind}: no gate asks it, so it was not asked"),
            cure,
        ));
    };
    match metrics.ask(source, &query, When::Now, PATIENCE).await {
        Reading::Value { .. } => Ok(format!("type {kind} answers")),
        Reading::Absent => Ok(format!("type {kind} answers, without data for now")),
        Reading::Error(why) => Err((Health::Fail, why, cure(source))),
    }
}

fn cure(source: &MetricSource) -> String {
    format!(
        "see that this machine reaches it and that `metrics` of the settings has what it asks for: {}",
        source.url
    )
}

async fn alerts(metrics: &Metrics, source: &MetricSource) -> Verdict {
    let ask = Ask::Alerts { source: source.clone(), matchers: BTreeMap::new() };
    let measure = Measure {
        key: "doctor".into(),
        release: ReleaseId::new("doctor", "0"),
        ring: "doctor".into(),
        attempt: 1,
        cluster: "doctor".into(),
        gate: "doctor".into(),
        source: None,
        query: String::new(),
        samples: None,
        baseline_at: None,
        due: Mono(0),
        timeout: PATIENCE,
        parts: vec![Part { role: Role::Alerts, ask }],
        past: None,
    };
    match metrics.measure(&measure).await.parts.pop() {
        Some(Told::Alerts(firing)) => {
            Ok(format!("type alertmanager answers, {} fire", firing.len()))
        }
        Some(Told::Error(why)) => Err((Health::Fail, why, cure(source))),
        Some(Told::Number(_) | Told::Range(_) | Told::Ruled { .. } | Told::Workload(_)) | None => {
            Err((Health::Fail, "it told no alerts".into(), cure(source)))
        }
    }
}

/// The query of the first gate that asks this source on this cluster, as it would be asked.
fn declared(compiled: &Compiled, cluster: &Cluster, source: &MetricSource) -> Option<String> {
    let gates = compiled.plans.values().flatten().flat_map(|plan| {
        let here = |ring: &&Ring| ring.cluster(&cluster.name).is_some();
        let rings = plan.rings.iter().filter(here);
        rings.flat_map(move |ring| ring.policy.gates.iter().map(move |gate| (plan, ring, gate)))
    });
    let mut asks =
        gates.filter(|(_, _, gate)| gate.provider == source.name && !gate.query.is_empty());
    asks.next().map(|(plan, ring, gate)| filled(plan, ring, gate, cluster, source))
}

fn filled(
    plan: &Plan,
    ring: &Ring,
    gate: &Gate,
    cluster: &Cluster,
    source: &MetricSource,
) -> String {
    let version = "0".into();
    let vars = Vars {
        plan: &plan.name,
        ring: &ring.name,
        cluster: &cluster.name,
        region: &cluster.region,
        jurisdiction: &cluster.jurisdiction,
        version: &version,
        digest: "",
        namespace: &plan.target.namespace,
        target: &plan.target.name,
        interval: gate.interval,
    };
    render(&gate.query, source.kind.language(), &vars)
}
