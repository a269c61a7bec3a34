//! The estate that is measured: so many plans of ten rings over 500 clusters, declared as text and
//! compiled as users' declarations are.

#![allow(dead_code, reason = "each bench takes what it needs")]

mod traffic;

use std::fmt::Write;

use ringward::declare::{Compiled, Snapshot, compile};

pub use self::traffic::Traffic;

/// The plans of the whole estate.
pub const PLANS: usize = 2_000;

/// A plan's rings, of two clusters each.
pub const RINGS: usize = 10;

/// The clusters.
pub const CLUSTERS: usize = 500;

/// Releases in motion in the whole estate.
pub const MOVING: usize = 500;

/// Where clusters lie: the first half in the EU.
const PLACES: [(&str, &str); 10] = [
    ("eu-west-1", "IE"),
    ("eu-central-1", "DE"),
    ("eu-west-3", "FR"),
    ("eu-north-1", "SE"),
    ("eu-south-1", "IT"),
    ("us-east-1", "US"),
    ("us-west-2", "US"),
    ("ap-northeast-1", "JP"),
    ("ap-southeast-2", "AU"),
    ("sa-east-1", "BR"),
];

/// The declarations of an estate of `plans` plans.
pub fn declared(plans: usize) -> Snapshot {
    let mut files = vec![("policies/policies.yaml".to_owned(), POLICIES.to_owned())];
    let head = "apiVersion: ringward.dev/v1alpha1\n";
    let mut clusters = vec![String::new(); PLACES.len()];
    for i in 0..CLUSTERS {
        let (region, country) = PLACES[i * PLACES.len() / CLUSTERS];
        write!(
            clusters[i * PLACES.len() / CLUSTERS],
            "---\n{head}kind: Cluster\nmetadata: {{name: cluster-{i:03}, labels: {{cell: c{:02}}}}}\n\
             spec:\n  region: {region}\n  jurisdiction: {country}\n  dataClasses: [personal]\n  \
             failoverPair: cluster-{:03}\n  metrics:\n    - {{name: prometheus, type: prometheus, \
             url: \"http://prometheus.cluster-{i:03}:9090\", jurisdiction: {country}}}\n",
            i % 50,
            i ^ 1,
        )
        .expect("text takes everything");
    }
    let clusters = clusters.into_iter().zip(PLACES);
    files.extend(clusters.map(|(text, (region, _))| (format!("rings/{region}.yaml"), text)));
    for plan in 0..plans {
        // One plan in ten handles personal data, and stays in the EU.
        let personal = plan % 10 == 0;
        let mut text = format!(
            "{head}kind: RingPlan\nmetadata: {{name: service-{plan:04}}}\nspec:\n  target: {{kind: \
             Deployment, namespace: shop, name: service-{plan:04}, container: app}}\n  \
             policy: standard\n"
        );
        if personal {
            text.push_str("  dataClasses: [personal]\n  residency: [gdpr]\n");
        }
        text.push_str("  rings:\n");
        for ring in 0..RINGS {
            // Two clusters that are no partners of each other.
            let spread = if personal { CLUSTERS / 4 } else { CLUSTERS / 2 };
            let first = (plan * RINGS + ring) % spread;
            let second = first + spread;
            let after = match ring {
                0 => String::new(),
                ring => format!(", after: [ring-{}]", ring - 1),
            };
            let policy = if ring == 0 { ", policy: quick" } else { "" };
            writeln!(
                text,
                "    - {{name: ring-{ring}{after}{policy}, \
                 clusters: {{names: [cluster-{first:03}, cluster-{second:03}]}}}}",
            )
            .expect("text takes everything");
        }
        files.push((format!("rings/service-{plan:04}.yaml"), text));
    }
    let files = files.into_iter().map(|(path, text)| (path, text.into_bytes())).collect();
    Snapshot { commit: "bench".into(), files }
}

/// The estate, compiled; it has no errors.
pub fn compiled(plans: usize) -> Compiled {
    let compiled = compile(&declared(plans));
    let errors: Vec<_> = compiled.diagnostics.iter().filter(|d| d.is_error()).collect();
    assert!(errors.is_empty(), "{:?}", &errors[..errors.len().min(3)]);
    assert_eq!((compiled.counts.plans, compiled.counts.clusters), (plans, CLUSTERS));
    compiled
}

const POLICIES: &str = r#"apiVersion: ringward.dev/v1alpha1
kind: RingPolicy
metadata: {name: quick}
spec:
  soak: {duration: 30m, onBreach: reset}
  deadline: 10m
  concurrency: 1
  failureBudget: {clusters: 0}
  gates:
    - name: success-rate
      template: success-rate
      interval: 1m
      threshold: {min: 0.99}
      minSamples: 20
      failureLimit: 2
      onNoData: hold
      noDataDeadline: 10m
    - name: latency-p99
      template: latency-p99
      interval: 1m
      relative: {baseline: before, maxDegradation: 50%, direction: increase, floor: 0.05}
      failureLimit: 2
      onNoData: fail
      noDataDeadline: 10m
    - name: orders
      template: orders
      interval: 1m
      threshold: {min: 0.5}
      failureLimit: 3
      noDataDeadline: 10m
      required: false
  rollback: {automatic: true, scope: ring}
---
apiVersion: ringward.dev/v1alpha1
kind: RingPolicy
metadata: {name: standard}
spec:
  extends: quick
  soak: {duration: 1h}
  concurrency: 50%
  calendars: [no-year-end]
---
apiVersion: ringward.dev/v1alpha1
kind: Calendar
metadata: {name: no-year-end}
spec:
  timeZone: Europe/Dublin
  deny:
    - {from: 2030-12-20, to: 2031-01-04, reason: year end}
  appliesTo: [start, advance]
  inFlight: finishRing
---
apiVersion: ringward.dev/v1alpha1
kind: ResidencyPolicy
metadata: {name: gdpr}
spec:
  rules:
    - {id: GDPR-1, enforcement: hard, classWithin: {class: personal, jurisdiction: EU}}
    - {id: GDPR-2, enforcement: hard, evidenceWithin: {jurisdiction: EU, disclose: verdict}}
    - {id: GDPR-3, enforcement: waivable, maxInFlight: {jurisdiction: EU, rings: 2000}}
---
apiVersion: ringward.dev/v1alpha1
kind: GateTemplate
metadata: {name: success-rate}
spec:
  signal: errors
  provider: prometheus
  query: |
    sum(rate(http_requests_total{service="{{plan}}",code!~"5.."}[2m]))
      / sum(rate(http_requests_total{service="{{plan}}"}[2m]))
  samples: sum(increase(http_requests_total{service="{{plan}}"}[{{interval}}]))
---
apiVersion: ringward.dev/v1alpha1
kind: GateTemplate
metadata: {name: latency-p99}
spec:
  signal: latency
  provider: prometheus
  query: |
    histogram_quantile(0.99,
      sum by (le) (rate(http_request_duration_seconds_bucket{service="{{plan}}"}[2m])))
  samples: sum(increase(http_request_duration_seconds_count{service="{{plan}}"}[{{interval}}]))
---
apiVersion: ringward.dev/v1alpha1
kind: GateTemplate
metadata: {name: orders}
spec:
  signal: business
  provider: prometheus
  query: 60 * sum(rate(orders_total{service="{{plan}}"}[5m]))
"#;
