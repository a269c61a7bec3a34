use serde_json::{Value, json};

use super::*;
use crate::{
    act::cluster::kind::{self, sample::merge},
    decide::event::{Status, TargetState},
};

/// A file of flags as a person writes it, with more in it than ours.
const FILE: &str = r#"{
  "$schema": "https://flagd.dev/schema/v0/flags.json",
  "flags": {
    "other": {"state":"ENABLED", "variants": {"a": 1.50, "b": 12345678901234567890123}, "defaultVariant": "a"},
    "dark \"mode\"": {},
    "dark": {
      "state": "ENABLED",
      "variants": {"on": true, "off": false, "beta": true},
      "defaultVariant": "off"
    }
  },
  "$evaluators": { "staff": {"in": ["@ours", {"var": "email"}]} }
}
"#;

fn flag() -> FlagdFlag {
    FlagdFlag {
        flag: "dark".into(),
        file: Some("flags.json".into()),
        only: BTreeMap::new(),
        probe: None,
    }
}

fn within(region: &str) -> FlagdFlag {
    FlagdFlag { only: BTreeMap::from([("region".into(), region.into())]), ..flag() }
}

fn map(text: &str) -> Seen {
    let object = json!({"metadata": {"name": "flags"}, "data": {"flags.json": text, "more": "x"}});
    Seen { subject: serde_json::from_value(object).unwrap(), other: None }
}

fn custom(rule: Value) -> Seen {
    let mut own = json!({"state": "ENABLED", "variants": {"on": true, "off": false}, "defaultVariant": "off"});
    merge(&mut own, rule);
    let flags = json!({"dark": own, "other": {"state": "ENABLED"}});
    let object = json!({"metadata": {"name": "flags"}, "spec": {"flagSpec": {"flags": flags}}});
    Seen { subject: serde_json::from_value(object).unwrap(), other: None }
}

fn artifact(text: &str) -> Artifact {
    Artifact(text.into())
}

/// The text after a write.
fn written(kind: &FlagdFlag, text: &str, serve: &str) -> String {
    assert_eq!(kind.refuses(&map(text), &artifact(serve)), None);
    let Edit::Merge { fields, paths } = kind.edit(&map(text), &artifact(serve), "key") else {
        panic!()
    };
    assert_eq!(paths, [["data", "flags.json"]]);
    fields["data"]["flags.json"].as_str().unwrap().to_owned()
}

fn own(text: &str) -> Value {
    serde_json::from_str::<Value>(text).unwrap()["flags"]["dark"].clone()
}

fn read(kind: &FlagdFlag, seen: &Seen) -> TargetState {
    kind::read(kind, seen, &[])
}

#[test]
fn what_is_stored_is_done_and_named_by_what_it_serves() {
    let state = read(&flag(), &map(FILE));
    assert_eq!((state.status, state.image), (Status::Succeeded, Some(artifact("off"))));
    let custom_flag = FlagdFlag { file: None, ..flag() };
    let shares = json!({"targeting": {"fractional": [["off", 75], ["on", 25]]}});
    assert_eq!(read(&custom_flag, &custom(shares)).image, Some(artifact("on=25%,off")));
    // Whether it is enabled is its owner's to say.
    let disabled = custom(json!({"state": "DISABLED"}));
    assert_eq!(read(&custom_flag, &disabled).status, Status::Paused);
}

#[test]
fn one_flags_rule_changes_and_no_other_byte() {
    let quarter = written(&flag(), FILE, "on=25%,off");
    assert_eq!(own(&quarter)["targeting"], json!({"fractional": [["off", 75], ["on", 25]]}));
    assert_eq!(own(&quarter)["defaultVariant"], "off");
    let rule = r#""targeting": {"fractional":[["off",75],["on",25]]},
      "#;
    assert_eq!(quarter.replacen(rule, "", 1), FILE, "but for the rule it is the same text");
    assert_eq!(flag().image(&map(&quarter).subject), Ok(artifact("on=25%,off")));

    let all = written(&flag(), &quarter, "on");
    assert_eq!(all, FILE.replace(r#""defaultVariant": "off""#, r#""defaultVariant": "on""#));
    assert_eq!(written(&flag(), &all, "off"), FILE, "and back to the letter");
}

#[test]
fn whatever_rule_was_there_comes_back() {
    let theirs = json!({"if": [{"in": ["@ours", {"var": "email"}]}, "beta", null], "x": 1.25});
    for rule in [
        theirs.clone(),
        json!({"fractional": [["on", 25], ["off", 75]]}),
        json!({"fractional": [{"var": "email"}, ["off", 75], ["on", 25]]}),
        json!({"fractional": [["off"], ["on"]]}),
    ] {
        let text = document::write(FILE, "dark", "beta", Some(&rule));
        let before = flag().image(&map(&text).subject).unwrap();
        let on = written(&flag(), &text, "on");
        assert_eq!(own(&on).get("targeting"), None);
        assert_eq!(flag().image(&map(&on).subject), Ok(artifact("on")));
        let back = written(&flag(), &on, &before.0);
        assert_eq!(own(&back), own(&text));
        assert_eq!(flag().image(&map(&back).subject), Ok(before));

        let custom_flag = FlagdFlag { file: None, ..flag() };
        let seen = custom(json!({"targeting": rule}));
        let before = custom_flag.image(&seen.subject).unwrap();
        let mut object = serde_json::to_value(&seen.subject).unwrap();
        for serve in ["on", before.0.as_str()] {
            let seen =
                Seen { subject: serde_json::from_value(object.clone()).unwrap(), other: None };
            let Edit::Merge { fields, .. } = custom_flag.edit(&seen, &artifact(serve), "key")
            else {
                panic!()
            };
            patch(&mut object, &fields);
        }
        assert_eq!(object, serde_json::to_value(&seen.subject).unwrap());
    }
}

/// As an API server merges.
fn patch(object: &mut Value, change: &Value) {
    match change {
        Value::Object(fields) => {
            if !object.is_object() {
                *object = json!({});
            }
            for (name, value) in fields {
                if value.is_null() {
                    object.as_object_mut().unwrap().remove(name);
                } else {
                    patch(&mut object[name], value);
                }
            }
        }
        other => *object = other.clone(),
    }
}

#[test]
fn a_region_is_served_before_whatever_rule_the_flag_has() {
    let theirs = json!({"if": [{"var": "staff"}, "beta"]});
    let text = document::write(FILE, "dark", "off", Some(&theirs));
    let kind = within("eu-west-1");
    assert_eq!(kind.image(&map(&text).subject), Ok(artifact("*")));
    let eu = written(&kind, &text, "on=25%,off");
    let condition = json!({"==": [{"var": "region"}, "eu-west-1"]});
    let shares = json!({"fractional": [["off", 75], ["on", 25]]});
    assert_eq!(own(&eu)["targeting"], json!({"if": [condition, shares, theirs]}));
    assert_eq!(kind.image(&map(&eu).subject), Ok(artifact("on=25%,off")));
    let on = written(&kind, &eu, "on");
    assert_eq!(own(&on)["targeting"], json!({"if": [condition, "on", theirs]}));
    assert_eq!(own(&written(&kind, &on, "*")), own(&text));
    // Another region's rule is somebody else's.
    assert_eq!(within("us-east-1").image(&map(&on).subject), Ok(artifact("*")));
}

#[test]
fn what_no_flag_can_serve_is_refused_with_what_it_can() {
    let refused = |text: &str, serve: &str| flag().refuses(&map(text), &artifact(serve)).unwrap();
    assert!(
        refused(FILE, "blue")
            .contains("has no variant `blue` of flag `dark`: it has beta, off, on")
    );
    assert!(refused(FILE, "registry.test/app@sha256:00").contains("nothing that one serves"));
    let gone = FILE.replace("\"dark\": {", "\"light\": {");
    assert!(
        flag()
            .image(&map(&gone).subject)
            .unwrap_err()
            .contains("has no flag `dark` in `flags.json`")
    );
    assert!(flag().image(&map("flags: {}").subject).unwrap_err().contains("has no JSON"));
    let twice = FILE.replace("\"other\"", "\"dark\"");
    assert!(flag().image(&map(&twice).subject).unwrap_err().contains("twice"));
    let frozen = json!({"metadata": {}, "immutable": true, "data": {"flags.json": FILE}});
    let frozen = Seen { subject: serde_json::from_value(frozen).unwrap(), other: None };
    assert!(flag().refuses(&frozen, &artifact("on")).unwrap().contains("immutable"));
}

#[test]
fn everything_that_may_own_what_changes_is_asked_about() {
    let custom_flag = FlagdFlag { file: None, ..flag() };
    let seen = custom(json!({"targeting": {"if": [true, "on"]}}));
    let Edit::Merge { fields, paths } = custom_flag.edit(&seen, &artifact("on=5%,off"), "key")
    else {
        panic!()
    };
    let change = json!({"defaultVariant": "off",
        "targeting": {"if": null, "fractional": [["off", 95], ["on", 5]]}});
    assert_eq!(fields, json!({"spec": {"flagSpec": {"flags": {"dark": change}}}}));
    let below: Vec<String> = paths.iter().map(|path| path[3..].join(".")).collect();
    assert_eq!(
        below,
        [
            "dark.defaultVariant",
            "dark.targeting.fractional",
            "dark.targeting.if",
            "dark.targeting",
            "dark"
        ]
    );
}

#[test]
fn a_probe_knows_what_may_be_answered() {
    let probed = FlagdFlag { probe: Some("flagd".into()), ..within("eu-west-1") };
    let text = written(&probed, FILE, "on=25%,off");
    let probe = probed.probe(&map(&text)).unwrap();
    assert_eq!(probe.served, Some(vec!["off".into(), "on".into()]));
    assert_eq!(probe.context["region"], "eu-west-1");
    assert_eq!(probed.probe(&map(FILE)).unwrap().served, None, "as all others");
}
