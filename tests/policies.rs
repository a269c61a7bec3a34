//! What is said of a plan as a whole, in the words of the design; and that a plan which keeps its rules
//! is told nothing.

use std::collections::BTreeMap;

use ringward::declare::{Compiled, Snapshot, compile, report};

fn cluster(name: &str, jurisdiction: &str, more: &str) -> String {
    format!(
        "apiVersion: ringward.dev/v1alpha1\nkind: Cluster\nmetadata: {{name: {name}}}\nspec:\n  \
         region: {name}\n  jurisdiction: {jurisdiction}\n  {more}\n  metrics: [{{name: prometheus, \
         type: prometheus, url: \"http://prometheus.{name}:9090\", jurisdiction: {jurisdiction}}}]\n"
    )
}

const RINGS: &str = "\
apiVersion: ringward.dev/v1alpha1
kind: RingPlan
metadata: {name: checkout}
spec:
  dataClasses: [customer-personal]
  residency: [rules]
  target: {kind: Deployment, namespace: shop, name: checkout, container: app}
  policy: quick
  onNewer: queueLatest
  maxSkew: 2

  # Three rings, the second of them in line 17.


  rings:
    - {name: beta, clusters: {names: [corp]}}
    - {name: us-east, after: [beta], clusters: {names: [us-east-1]}}
    - {name: eu-west, after: [us-east], clusters: {names: [eu-west-1]}, policy: approved}
";

const POLICIES: &str = "\
apiVersion: ringward.dev/v1alpha1
kind: RingPolicy
metadata: {name: quick}
spec: {soak: {duration: 1h}, deadline: 15m, gates: none}
---
apiVersion: ringward.dev/v1alpha1
kind: RingPolicy
metadata: {name: approved}
spec: {extends: quick, calendars: [hours], approvals: {count: 2, jurisdiction: EEA}}
---
apiVersion: ringward.dev/v1alpha1
kind: Calendar
metadata: {name: hours}
spec: {timeZone: Europe/Dublin, allow: [{cron: \"0 9 * * Mon-Fri\", duration: 15m}]}
";

/// A fleet of three clusters with one rule in line 8 of its file.
fn with(rule: &str, us_east: &str) -> Compiled {
    let clusters = [
        cluster("corp", "CH", "dataClasses: []"),
        cluster("us-east-1", "US", us_east),
        cluster("eu-west-1", "IE", "dataClasses: [customer-personal]\n  failoverPair: corp"),
    ];
    let rules = format!(
        "# What was promised.\napiVersion: ringward.dev/v1alpha1\nkind: ResidencyPolicy\n\
         metadata: {{name: rules}}\n\nspec:\n  rules:\n    - {rule}\n"
    );
    let files: BTreeMap<String, Vec<u8>> = [
        ("rings/clusters.yaml", clusters.join("---\n")),
        ("rings/checkout.yaml", RINGS.to_owned()),
        ("policies/quick.yaml", POLICIES.to_owned()),
        ("policies/residency.yaml", rules),
    ]
    .into_iter()
    .map(|(path, text)| (path.to_owned(), text.into_bytes()))
    .collect();
    compile(&Snapshot { commit: "c0ffee".into(), files })
}

/// What takes the plan out of service.
fn errors(compiled: &Compiled) -> Vec<&'static str> {
    match &compiled.plans["checkout"] {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(|p| p.rule).collect(),
    }
}

#[test]
fn a_counterexample_is_shown_as_the_design_shows_it() {
    let rule = "{id: GDPR-1, enforcement: hard, classWithin: {class: customer-personal, jurisdiction: EU}}";
    let compiled = with(rule, "dataClasses: [customer-personal]");
    let error: Vec<_> = compiled.diagnostics.iter().filter(|d| d.is_error()).cloned().collect();
    assert_eq!(
        report::text(&error, false),
        "\
error[RES001]: ring `us-east` puts data class `customer-personal` outside EU
  --> rings/checkout.yaml:17:14
   |
17 |     - {name: us-east, after: [beta], clusters: {names: [us-east-1]}}
   |              ^^^^^^^ serves it from cluster us-east-1 (jurisdiction US)
   |
   = rule GDPR-1 (hard), policies/residency.yaml:8
   = help: take us-east-1 out of the ring, or the class off the cluster

"
    );
    assert_eq!(errors(&compiled), ["RES001"]);
    assert_eq!(compiled.clusters.len(), 3, "the clusters themselves are without fault");
}

/// The same rule on the same fleet, but for one word.
#[test]
fn every_rule_passes_a_plan_that_keeps_it_and_refuses_one_that_does_not() {
    for (kept, broken, rule) in [
        (
            "classWithin: {class: customer-personal, jurisdiction: EU}",
            "classWithin: {class: customer-personal, jurisdiction: US}",
            "RES001",
        ),
        (
            "targetsWithin: {rings: [eu-west], jurisdiction: EU}",
            "targetsWithin: {rings: [eu-west], jurisdiction: DE}",
            "RES002",
        ),
        (
            "targetsOutside: {rings: [beta], jurisdiction: EU}",
            "targetsOutside: {rings: [beta], jurisdiction: EFTA}",
            "RES003",
        ),
        ("notFirstIn: {jurisdiction: EU}", "notFirstIn: {jurisdiction: CH}", "RES005"),
        (
            "evidenceWithin: {jurisdiction: EU, disclose: verdict}",
            "evidenceWithin: {jurisdiction: JP, disclose: verdict}",
            "RES010",
        ),
        (
            "approverWithin: {jurisdiction: EU, count: 1}",
            "approverWithin: {jurisdiction: US, count: 1}",
            "RES009",
        ),
        (
            "maxInFlight: {jurisdiction: EU, rings: 1}",
            "maxInFlight: {jurisdiction: AU, rings: 1}",
            "RES010",
        ),
        (
            "pullWithin: {jurisdiction: EU, registries: [{host: r.example, jurisdiction: IE}]}",
            "pullWithin: {jurisdiction: EU, registries: [{host: r.example, jurisdiction: US}]}",
            "RES012",
        ),
        (
            "pullWithin: {jurisdiction: EU, registries: [r.example]}",
            "pullWithin: {jurisdiction: EU, registries: [{host: r.example}]}",
            "RES012",
        ),
        ("stateWithin: {jurisdiction: EU}", "stateWithin: {jurisdiction: AU}", "RES010"),
        (
            "allowEmpty: true, stateWithin: {jurisdiction: AU}",
            "pullWithin: {jurisdiction: AU, registries: [r.example]}",
            "RES010",
        ),
        ("homogeneous: {}", "homogeneous: {rings: [eu-wset]}", "REF001"),
        ("pairExclusive: {}", "independent: {a: us-east, b: eu-west}", "RES006"),
        (
            "allowEmpty: true, independent: {a: us-east, b: elsewhere}",
            "independent: {a: us-east, b: elsewhere}",
            "REF001",
        ),
        (
            "allowEmpty: true, notFirstIn: {jurisdiction: AU}",
            "allowEmpty: false, notFirstIn: {jurisdiction: AU}",
            "RES010",
        ),
    ] {
        let of = |demand: &str| with(&format!("{{id: R-1, enforcement: hard, {demand}}}"), "");
        let kept_by = of(kept);
        assert_eq!(errors(&kept_by), [""; 0], "{kept}: {:?}", kept_by.diagnostics);
        assert_eq!(errors(&of(broken)), [rule], "{broken}");
    }
}
