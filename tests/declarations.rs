//! Declarations as users write them: what compiles, and what is said of each mistake.
//!
//! `tests/declarations/base` is without fault. Every other folder there is named after a rule, is laid
//! over the base, and holds in `expected.txt` exactly what is then said. To write those anew after a
//! change of wording: `RINGWARD_BLESS=1 cargo test --test declarations`, and read the difference.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use ringward::declare::{
    Compiled, Snapshot, compile,
    diagnostic::{Severity, rules},
    report,
    schema::json_schema,
};

type Files = BTreeMap<String, Vec<u8>>;

fn read(root: &Path, at: &Path, files: &mut Files) {
    for entry in fs::read_dir(at).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read(root, &path, files);
        } else if path.extension().is_some_and(|e| e == "yaml") {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap();
            files.insert(name.to_owned(), fs::read(&path).unwrap());
        }
    }
}

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn fixtures() -> PathBuf {
    repository().join("tests/declarations")
}

fn base() -> Files {
    let mut files = Files::new();
    let root = fixtures().join("base");
    read(&root, &root, &mut files);
    files
}

fn compiled(files: Files) -> Compiled {
    compile(&Snapshot { commit: "c0ffee".into(), files })
}

/// The base with one more file, or one of its files replaced.
fn with(path: &str, text: impl Into<Vec<u8>>) -> Compiled {
    let mut files = base();
    files.insert(path.into(), text.into());
    compiled(files)
}

fn ids(compiled: &Compiled) -> Vec<&'static str> {
    compiled.diagnostics.iter().map(|d| d.rule).collect()
}

fn replaced(files: &mut Files, path: &str, from: &str, to: &str) {
    let text = String::from_utf8(files[path].clone()).unwrap();
    assert!(text.contains(from), "{path} has no {from:?}");
    files.insert(path.into(), text.replace(from, to).into_bytes());
}

#[test]
fn what_is_said_of_each_mistake() {
    let bless = std::env::var_os("RINGWARD_BLESS").is_some();
    let mut wrong = Vec::new();
    for entry in fs::read_dir(fixtures()).unwrap() {
        let root = entry.unwrap().path();
        let rule = root.file_name().unwrap().to_str().unwrap().to_owned();
        let mut files = base();
        read(&root, &root, &mut files);
        let compiled = compiled(files);
        let said = report::text(&compiled.diagnostics, false);
        if bless {
            fs::write(root.join("expected.txt"), &said).unwrap();
        }
        let expected = fs::read_to_string(root.join("expected.txt")).unwrap_or_default();
        if said != expected || (rule != "base" && !ids(&compiled).contains(&rule.as_str())) {
            wrong.push(format!("== {rule}\n-- expected\n{expected}-- said\n{said}"));
        }
        // Whatever is wrong in a fixture, it does not concern `search`, which has nothing to do with it.
        let touches_search = ["REF002", "base"].contains(&rule.as_str());
        assert!(touches_search || compiled.plans["search"].is_ok(), "{rule}: {said}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_rule_has_its_mistake() {
    // Files of a size that nobody wants in a repository; tested below.
    let generated = ["SYN005", "SYN006"];
    let known: BTreeSet<_> = rules().iter().map(|r| r.id).collect();
    for rule in &known {
        let folder = fixtures().join(rule);
        assert!(folder.is_dir() || generated.contains(rule), "no fixture shows {rule}");
    }
    assert_eq!(known.len(), rules().len(), "an id is used twice");
}

#[test]
fn our_own_declarations_are_clean() {
    let mut files = Files::new();
    for folder in ["rings", "policies"] {
        read(&repository(), &repository().join(folder), &mut files);
    }
    let compiled = compiled(files);
    assert_eq!(report::text(&compiled.diagnostics, false), "");
    assert_eq!(compiled.clusters.len(), 6);
    let checkout = compiled.plans["checkout"].as_ref().unwrap();
    assert_eq!(checkout.graph.after(&"rest".into()).rings.len(), 2, "a join");
    assert_eq!(checkout.ring(&"eu-west".into()).unwrap().policy.gates.len(), 3, "inherited");
    assert_eq!(compiled.plans["search"].as_ref().unwrap().rings.len(), 4);
}

#[test]
fn limits_hold() {
    let many = format!("a: [{}]\n", "1,".repeat(10_000));
    assert_eq!(ids(&with("rings/many.yaml", many)), ["SYN005"]);
    let large = format!("# {}\n", "x".repeat(1024 * 1024));
    assert_eq!(ids(&with("rings/large.yaml", large)), ["SYN006"]);
    // A bomb of aliases is refused before anything is expanded.
    let mut bomb = String::from("a0: &a0 [x]\n");
    for i in 1..20 {
        let p = i - 1;
        bomb.push_str(&format!("a{i}: &a{i} [*a{p}, *a{p}, *a{p}, *a{p}]\n"));
    }
    assert!(ids(&with("rings/bomb.yaml", bomb)).contains(&"SYN003"));
}

#[test]
fn a_file_that_cannot_be_read_takes_the_plans_in_it_along_and_no_other() {
    let plan = String::from_utf8(base()["rings/search.yaml"].clone()).unwrap();
    for broken in [
        plan.replace("rings:", "rings: ["),
        format!("{plan}# {}\n", "x".repeat(1024 * 1024)),
        plan.replace("target:", "\ttarget:"),
        plan.replace("spec:", "sepc:"),
        plan.replace("v1alpha1", "v1beta1"),
    ] {
        let other = plan.replace("name: search}", "name: other}").replacen("search", "other", 1);
        let mut files = base();
        files.insert("rings/search.yaml".into(), broken.clone().into_bytes());
        files.insert("rings/other.yaml".into(), other.into_bytes());
        let compiled = compiled(files);
        let problems = compiled.plans["search"].as_ref().unwrap_err();
        assert!(problems.iter().any(|p| p.file == "rings/search.yaml"), "{broken}");
        assert!(compiled.plans["other"].is_ok(), "{:?}", compiled.diagnostics);
    }
}

#[test]
fn a_plan_is_in_error_by_what_it_rests_on() {
    for (path, from, to, rule) in [
        ("policies/all.yaml", "duration: 20m", "duration: 20 minutes", "SCH004"),
        ("policies/all.yaml", "default: 2m", "default: two", "GAT004"),
        ("policies/all.yaml", "jurisdiction: EU", "jurisdiction: EUR", "REF001"),
        ("rings/clusters.yaml", "jurisdiction: CH", "jurisdiction: XX", "REF001"),
    ] {
        let mut files = base();
        replaced(
            &mut files,
            "rings/search.yaml",
            "policy: quick",
            "policy: quick\n  residency: [gdpr]",
        );
        assert!(compiled(files.clone()).plans["search"].is_ok());
        replaced(&mut files, path, from, to);
        let compiled = compiled(files);
        let problems = compiled.plans["search"].as_ref().unwrap_err();
        assert!(problems.iter().any(|p| p.rule == rule && p.file == path), "{rule}: {problems:?}");
    }
}

#[test]
fn every_problem_of_every_file_is_found_in_one_run_and_in_order() {
    let mut files = base();
    replaced(
        &mut files,
        "rings/search.yaml",
        "policy: quick",
        "policy: quik\n  onNewer: later\n  color: red",
    );
    replaced(&mut files, "policies/all.yaml", "duration: 20m", "duration: soon");
    files.insert("rings/z.yaml".into(), b"kind: [".to_vec());
    let compiled = compiled(files);
    let found: Vec<_> = compiled.diagnostics.iter().map(|d| (d.file.as_str(), d.rule)).collect();
    assert_eq!(
        found,
        [
            ("policies/all.yaml", "SCH004"),
            ("rings/search.yaml", "REF001"),
            ("rings/search.yaml", "SCH005"),
            ("rings/search.yaml", "SCH001"),
            ("rings/z.yaml", "SYN001"),
        ]
    );
}

#[test]
fn the_hash_is_of_what_is_meant() {
    let hash = |files: Files| compiled(files).plans["search"].as_ref().unwrap().hash.clone();
    let mut files = base();
    replaced(
        &mut files,
        "rings/search.yaml",
        "policy: quick",
        "residency: [gdpr]\n  policy: quick",
    );
    let first = hash(files.clone());
    assert_eq!(first.as_str().len(), 64);
    let mut commented = files.clone();
    replaced(&mut commented, "policies/all.yaml", "apiVersion", "# a remark\n\napiVersion");
    assert_eq!(hash(commented), first, "a remark changes nothing");
    for (path, from, to) in [
        ("policies/all.yaml", "min: 0.99", "min: 0.98"),
        ("policies/all.yaml", "default: 2m", "default: 3m"),
        ("policies/all.yaml", "GDPR-3, enforcement: hard", "GDPR-3, enforcement: waivable"),
        ("rings/clusters.yaml", "eu-central-2", "eu-central-1"),
        ("rings/search.yaml", "after: [internal]", "afterAny: [internal]"),
    ] {
        let mut changed = files.clone();
        replaced(&mut changed, path, from, to);
        assert_ne!(hash(changed), first, "{to}");
    }
}

#[test]
fn rings_take_their_clusters_in_order_and_countries_keep_their_letters() {
    let mut files = base();
    replaced(&mut files, "rings/search.yaml", "[us-west-2]", "[us-west-2, us-east-1, eu-west-1]");
    replaced(&mut files, "rings/clusters.yaml", "jurisdiction: CH", "jurisdiction: NO");
    let compiled = compiled(files);
    let plan = compiled.plans["search"].as_ref().unwrap();
    let ring = plan.ring(&"west".into()).unwrap();
    let names: Vec<_> = ring.clusters.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["us-west-2", "us-east-1", "eu-west-1"]);
    assert_eq!(compiled.clusters["corp"].jurisdiction.as_str(), "NO");
}

#[test]
fn a_bloc_is_narrowed_by_a_document() {
    let bloc = "apiVersion: ringward.dev/v1alpha1\nkind: Jurisdiction\nmetadata: {name: EU}\nspec: {remove: [HU], add: [CH]}\n";
    let mut files = base();
    replaced(
        &mut files,
        "rings/search.yaml",
        "policy: quick",
        "policy: quick\n  residency: [gdpr]",
    );
    // With Switzerland in it, the first ring lies in the EU.
    files.insert("rings/eu.yaml".into(), bloc.into());
    let compiled = compiled(files);
    let plan = match &compiled.plans["search"] {
        Ok(plan) => plan.clone(),
        // Whether that is a breach is for the residency checks to say.
        Err(problems) => {
            assert!(problems.iter().all(|p| p.rule.starts_with("RES")), "{problems:?}");
            return;
        }
    };
    let text = serde_json::to_string(&plan.residency).unwrap();
    assert!(text.contains("\"CH\"") && !text.contains("\"HU\""), "{text}");
}

#[test]
fn formats_say_the_same() {
    let found = with("rings/a, b.yaml", "kind: RingPlan\nmetadata: {name: 100%}\n").diagnostics;
    assert_eq!(found.len(), 1);
    let json: serde_json::Value = serde_json::from_str(&report::json(&found)).unwrap();
    assert_eq!(json[0]["rule"], "SCH003");
    assert_eq!(json[0]["severity"], "error");
    assert_eq!((json[0]["line"].as_u64(), json[0]["column"].as_u64()), (Some(1), Some(1)));
    let sarif: serde_json::Value = serde_json::from_str(&report::sarif(&found)).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    let run = &sarif["runs"][0];
    let result = &run["results"][0];
    let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
    assert_eq!(run["tool"]["driver"]["rules"][index]["id"], result["ruleId"]);
    let location = &result["locations"][0]["physicalLocation"];
    assert_eq!(location["artifactLocation"]["uri"], "rings/a%2C%20b.yaml");
    let github = report::github(&found);
    assert!(github.starts_with("::error file=rings/a%2C b.yaml,line=1,col=1,"), "{github}");
    assert!(github.contains("title=SCH003::`apiVersion` is missing%0A"), "{github}");
    assert_eq!(github.lines().count(), 1);
}

#[test]
fn the_schema_names_every_kind_and_refuses_unknown_fields() {
    let schema = json_schema();
    let kinds: Vec<_> =
        schema["oneOf"].as_array().unwrap().iter().map(|k| k["title"].as_str().unwrap()).collect();
    assert_eq!(kinds.len(), 10);
    let plan = &schema["$defs"]["RingPlan"];
    assert_eq!(plan["additionalProperties"], false);
    let required: Vec<_> = plan["required"].as_array().unwrap().iter().collect();
    assert_eq!(required, ["target", "rings"]);
    // Every reference leads somewhere.
    let text = schema.to_string();
    for part in text.split("\"#/$defs/").skip(1) {
        let name = part.split('"').next().unwrap();
        assert!(schema["$defs"].get(name).is_some(), "{name}");
    }
}

#[test]
fn a_flag_of_a_service_is_declared_by_its_project_and_its_key() {
    for (kind, project) in
        [("UnleashFlag", "default"), ("LaunchDarklyFlag", "shop"), ("FlagsmithFlag", "42")]
    {
        let text = format!(
            "apiVersion: ringward.dev/v1alpha1
kind: RingPlan
metadata: {{name: dark}}
spec:
  target: {{kind: {kind}, service: flags, project: \"{project}\", flag: Dark_mode, cleanupAfter: 30d}}
  policy: quick
  rings:
    - {{name: all, clusters: {{names: [corp]}}}}
"
        );
        let compiled = with("rings/dark.yaml", text);
        let Ok(plan) = &compiled.plans["dark"] else {
            panic!("{}", report::text(&compiled.diagnostics, false))
        };
        assert_eq!(plan.target.to_string(), format!("{kind} {project}/Dark_mode of flags"));
        let flag = plan.target.kind.flag().expect("a flag");
        let days = flag.cleanup_after.map(|after| after.to_string());
        assert_eq!(days.as_deref(), Some("30d"), "{kind} is looked after by `get flags`");
        let service = flag.service.map(|service| service.name().to_owned());
        assert_eq!(service.as_deref(), Some("flags"));
    }
}

#[test]
fn colour_only_where_asked() {
    let found = with("rings/a.yaml", "kind: RingPlan\n").diagnostics;
    assert!(!report::text(&found, false).contains('\u{1b}'));
    assert!(report::text(&found, true).contains('\u{1b}'));
    assert!(found.iter().all(|d| d.severity == Severity::Error));
}

#[test]
fn a_ring_never_shrinks_in_silence() {
    let cluster = String::from_utf8(base()["rings/clusters.yaml"].clone()).unwrap();
    let (_, rest) = cluster.split_once("---\n").unwrap();
    let (beta, _) = rest.split_once("---\n").unwrap();
    let another = beta.replace("beta-us", "beta-eu");
    let mut files = base();
    replaced(
        &mut files,
        "rings/search.yaml",
        "clusters: {names: [corp]}",
        "clusters: {labels: {tier: beta}}",
    );
    for damaged in [
        another.replace("tier: beta", "tier: 1"),
        another.replace("labels: {tier: beta}", "labels: [beta]"),
        another.replace("labels:", "label:"),
        another.replace("spec:", "spec: ["),
        another.replace("kind: Cluster", "kind: Clusterr"),
        another.replace("jurisdiction: US", "jurisdiction: XX"),
        beta.to_owned(),
    ] {
        let mut files = files.clone();
        files.insert("rings/zz.yaml".into(), damaged.clone().into_bytes());
        let compiled = compiled(files);
        assert!(compiled.plans["search"].is_err(), "{damaged}");
    }
    let mut files = files.clone();
    files.insert("rings/zz.yaml".into(), another.into_bytes());
    assert_eq!(compiled(files).plans["search"].as_ref().unwrap().rings[0].clusters.len(), 2);
}

#[test]
fn a_document_behind_a_broken_one_is_still_read() {
    let plan = String::from_utf8(base()["rings/search.yaml"].clone()).unwrap();
    let mut files = base();
    let two = format!("a: [\n---\n{plan}---\n{}", plan.replace("rings:", "rungs:"));
    files.insert("rings/search.yaml".into(), two.replace("rungs", "rings").into_bytes());
    // Declared twice, in the second and in the third document: both were read.
    let compiled = compiled(files);
    assert_eq!(ids(&compiled), ["SYN001", "REF002"]);
}

#[test]
fn what_others_wrote_does_not_reach_the_terminal_raw() {
    let text = "apiVersion: ringward.dev/v1alpha1\nkind: \"\\e[31mred\\n::error::\"\n";
    let found = with("rings/a.yaml", text).diagnostics;
    assert_eq!(found.len(), 1);
    assert!(!found[0].message.contains(char::is_control), "{:?}", found[0].message);
    assert_eq!(report::github(&found).lines().count(), 1);
    let endless = format!("apiVersion: ringward.dev/v1alpha1\nkind: {}\n", "x".repeat(100_000));
    let found = with("rings/a.yaml", endless).diagnostics;
    assert!(report::text(&found, false).len() < 2_000);
}

#[test]
fn what_belongs_to_a_policy_is_inherited_field_by_field() {
    let policies = "\
apiVersion: ringward.dev/v1alpha1
kind: RingPolicy
metadata: {name: slow}
spec:
  extends: middle
  soak: {duration: 3h}
---
apiVersion: ringward.dev/v1alpha1
kind: RingPolicy
metadata: {name: middle}
spec:
  extends: quick
  soak: {onBreach: freeze}
  concurrency: 25%
  deadline: 7m
  calendars: []
  minDwell: 5m
  approvals: {}
";
    let mut files = base();
    files.insert("policies/slow.yaml".into(), policies.into());
    replaced(&mut files, "rings/search.yaml", "policy: quick", "policy: slow");
    let compiled = compiled(files);
    assert!(!compiled.has_errors(), "{}", report::text(&compiled.diagnostics, false));
    let plan = compiled.plans["search"].as_ref().unwrap();
    let policy = serde_json::to_value(&plan.rings[0].policy).unwrap();
    assert_eq!(policy["soak"], serde_json::json!({"duration": "3h", "on_breach": "freeze"}));
    assert_eq!(policy["concurrency"]["share"], 0.25);
    assert_eq!((&policy["deadline"], &policy["min_dwell"]), (&"7m".into(), &"5m".into()));
    assert_eq!(policy["gates"].as_array().unwrap().len(), 3);
    let approvals = &policy["approvals"];
    assert_eq!((&approvals["count"], &approvals["exclude_author"]), (&1.into(), &true.into()));
    // What nobody says has the documented default.
    let gate = &policy["gates"][0];
    assert_eq!((&gate["interval"], &gate["max_age"]), (&"1m".into(), &"2m15s".into()));
    assert_eq!((&gate["failure_limit"], &gate["consecutive_error_limit"]), (&0.into(), &4.into()));
    assert_eq!(policy["rollback"]["automatic"], true);
}

mod whatever_is_written {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        /// No text makes it panic, and no problem stands outside of its file.
        #[test]
        fn is_answered(
            which in 0..3usize,
            at in 0.0..1.0f64,
            cut in 0..40usize,
            put in "[ -~\n\t\u{e9}]{0,12}|[\\[\\]{}:,&*!|>'\"%@`#-]{1,6}",
        ) {
            let mut files = base();
            let path = files.keys().nth(which).unwrap().clone();
            let text = &files[&path];
            let at = (text.len() as f64 * at) as usize;
            let rest = text.len().min(at + cut);
            let changed = [&text[..at], put.as_bytes(), &text[rest..]].concat();
            files.insert(path, changed);
            let compiled = compiled(files.clone());
            for d in &compiled.diagnostics {
                let lines = files[&d.file].split(|b| *b == b'\n').count();
                prop_assert!((1..=lines).contains(&d.place.line), "{d}");
            }
            for plan in compiled.plans.values() {
                if let Err(problems) = plan {
                    prop_assert!(!problems.is_empty());
                    prop_assert!(problems.iter().all(|p| compiled.diagnostics.contains(p)));
                }
            }
            for text in [report::text(&compiled.diagnostics, true), report::sarif(&compiled.diagnostics)] {
                prop_assert!(!text.is_empty() || compiled.diagnostics.is_empty());
            }
        }
    }
}

/// A hotfix lane that says too little or names what is not there.
#[test]
fn a_hotfix_lane_is_read_field_by_field() {
    let plan = |hotfix: &str| {
        let text = format!(
            "apiVersion: ringward.dev/v1alpha1\nkind: RingPlan\nmetadata: {{name: cart}}\nspec:\n  \
             target: {{kind: Deployment, namespace: shop, name: cart, container: app}}\n  policy: quick\n  \
             lanes: {{hotfix: {hotfix}}}\n  rings:\n    - {{name: all, clusters: {{names: [corp]}}}}\n"
        );
        let compiled = with("rings/cart.yaml", text);
        compiled.diagnostics.iter().map(|d| format!("{} {}", d.rule, d.message)).collect::<Vec<_>>()
    };
    let soak = "soak: {share: 50%, floor: 5m}";
    assert_eq!(plan(&format!("{{{soak}, timeToLive: 2h}}")), Vec::<String>::new());
    assert_eq!(plan(&format!("{{{soak}}}")), ["SCH003 `timeToLive` is missing"]);
    assert_eq!(plan("{timeToLive: 2h}"), ["SCH003 `soak` is missing"]);
    assert_eq!(plan("{soak: {share: 50%}, timeToLive: 2h}"), ["SCH003 `floor` is missing"]);
    assert_eq!(
        plan("{soak: {share: 150%, floor: 5m}, timeToLive: 2h}"),
        ["SCH004 no share of a soak"]
    );
    assert_eq!(
        plan(&format!("{{{soak}, timeToLive: 0s}}")),
        ["SCH004 a lane that is over at once"]
    );
    assert_eq!(
        plan(&format!("{{{soak}, mayNotSkip: [al], deferGates: [latncy], timeToLive: 2h}}")),
        ["REF001 the plan has no ring `al`", "REF001 no ring of the plan has a gate `latncy`"]
    );
}

#[test]
fn releases_and_where_they_come_from_stand_beside_the_rings() {
    let digest = "9".repeat(64);
    let text = format!(
        "apiVersion: ringward.dev/v1alpha1
kind: Release
metadata: {{name: later}}
spec:
  plan: search
  version: 1.10.0
  irreversible: true
  artifact:
    image: registry.example.com/search@sha256:{digest}
---
apiVersion: ringward.dev/v1alpha1
kind: Release
metadata: {{name: a-later-name}}
spec:
  plan: search
  version: 1.9.0
  artifact: {{image: 'registry.example.com/search@sha256:{digest}'}}
---
apiVersion: ringward.dev/v1alpha1
kind: ReleaseSource
metadata: {{name: tags}}
spec:
  plan: search
  registry:
    image: registry.example.com/shop/search
    filterTags: {{pattern: '^main-[0-9a-f]+-(?P<ts>\\d+)$', extract: $ts}}
    policy: {{numerical: {{order: asc}}}}
---
apiVersion: ringward.dev/v1alpha1
kind: ReleaseSource
metadata: {{name: flux}}
spec:
  plan: search
  interval: 30s
  imagePolicy: {{cluster: corp, namespace: flux-system, name: search}}
"
    );
    let compiled = with("releases/search.yaml", text);
    assert_eq!(report::text(&compiled.diagnostics, false), "");
    let releases: Vec<_> = compiled
        .releases
        .iter()
        .map(|release| (release.wanted.version.as_str(), release.line, release.wanted.irreversible))
        .collect();
    assert_eq!(releases, [("1.9.0", 17, false), ("1.10.0", 9, true)], "the older one first");
    let sources: Vec<_> =
        compiled.sources.iter().map(|source| (source.name.as_str(), source.interval)).collect();
    let span = ringward::model::time::Span::seconds;
    assert_eq!(sources, [("flux", span(30)), ("tags", span(300))]);
}
