use reqwest::Url;
use serde_json::{Value, json};

use super::{unleash::Unleash, *};
use crate::model::ring::TargetKind;

fn target() -> Target {
    Target {
        kind: TargetKind::UnleashFlag { service: "unleash".into(), cleanup_after: None },
        namespace: "default".into(),
        name: "dark/mode".into(),
    }
}

fn unleash() -> Unleash {
    Unleash { environment: "production".into() }
}

fn base() -> Url {
    Url::parse("https://unleash.test/base/").unwrap()
}

/// What a look asks next.
pub(super) fn asked(step: Step) -> Outgoing {
    match step {
        Step::Ask(outgoing) => outgoing,
        Step::Seen(flag) => panic!("asks nothing: {flag:?}"),
    }
}

fn read(answer: &Value) -> Result<Flag, Trouble> {
    let answers = [(200, answer.to_string().into_bytes())];
    match unleash().look(&base(), &target(), &answers)? {
        Step::Seen(flag) => Ok(flag),
        Step::Ask(outgoing) => panic!("asks on: {outgoing:?}"),
    }
}

/// As Unleash 8 answers.
fn strategy(id: &str, title: Value, rollout: &str) -> Value {
    json!({"id": id, "featureName": "dark", "title": title, "name": "flexibleRollout",
        "parameters": {"groupId": "dark", "rollout": rollout, "stickiness": "default"},
        "constraints": [], "variants": [], "sortOrder": 0, "disabled": false})
}

fn environment(strategies: Vec<Value>) -> Value {
    let other = json!({"name": "development", "enabled": false, "strategies": []});
    let here = json!({"name": "production", "enabled": true, "strategies": strategies});
    json!({"name": "dark", "archived": false, "environments": [other, here]})
}

#[test]
fn a_note_is_read_as_it_was_written() {
    let all = "ringward.dev/managed-by=dark release=dark@2 intent=dark@2/eu/corp/1/deploy epoch=7 \
               serves=on=25%,off before=off";
    let note = Note::read(all).unwrap();
    assert_eq!(note.to_string(), all);
    assert_eq!((note.serves.as_deref(), note.epoch), (Some("on=25%,off"), Some(7)));
    assert_eq!(Note::read("ringward.dev/managed-by=dark"), Some(Note::of(&"dark".into())));
    assert_eq!(Note::read("gradual"), None);
    assert_eq!(Note::read("ringward.dev/managed-by=d epoch=x").unwrap().epoch, Some(u64::MAX));
}

#[test]
fn the_strategy_that_is_marked_is_the_one() {
    let others = strategy("1", json!("staff"), "100");
    let ours = strategy("2", json!("ringward.dev/managed-by=dark"), "25");
    let flag = read(&environment(vec![others.clone(), ours])).unwrap();
    assert_eq!(flag.serves.to_string(), "on=25%,off");
    let note = Note::of(&"dark".into());
    let change = flag.change.to(&"on".parse().unwrap(), &note).unwrap();
    assert!(change[0].url.path().ends_with("/production/strategies/2"), "{change:?}");
    assert_eq!(flag.note, Some(note));
    let flag = read(&environment(vec![others.clone()])).unwrap();
    assert_eq!((flag.serves.to_string().as_str(), flag.note), ("on", None));
    let Err(Trouble::Refused(why)) = read(&environment(vec![others.clone(), others])) else {
        panic!()
    };
    assert!(why.contains("has 2 strategies") && why.contains("managed-by"), "{why}");
    let Err(Trouble::Refused(_)) = read(&environment(vec![strategy("1", json!(""), "lots")]))
    else {
        panic!()
    };
    let mut off = environment(vec![strategy("1", json!(""), "0")]);
    off["environments"][1]["enabled"] = json!(false);
    assert!(read(&off).unwrap().off);
    off["archived"] = json!(true);
    assert_eq!(read(&off).unwrap_err(), Trouble::Gone);
}

#[test]
fn a_change_is_of_what_was_read_and_of_nothing_else() {
    let flag = read(&environment(vec![strategy("7", json!("ringward.dev/managed-by=dark"), "25")]))
        .unwrap();
    let serve: Serve = "on=50%,off".parse().unwrap();
    let note = Note::of(&"dark".into());
    let outgoing = flag.change.to(&serve, &note).unwrap().remove(0);
    assert_eq!(
        outgoing.url.as_str(),
        "https://unleash.test/base/api/admin/projects/default/features/dark%2Fmode/environments/production/strategies/7"
    );
    let body: Value = serde_json::from_str(&outgoing.body.unwrap()).unwrap();
    assert_eq!(
        body[0],
        json!({"op": "test", "path": "/title", "value": "ringward.dev/managed-by=dark"})
    );
    assert_eq!(body[1], json!({"op": "test", "path": "/parameters/rollout", "value": "25"}));
    assert_eq!(body[3], json!({"op": "replace", "path": "/parameters/rollout", "value": "50"}));
    for odd in ["blue", "off=75%,on", "on=5%,beta"] {
        let why = flag.change.to(&odd.parse().unwrap(), &note).unwrap_err();
        assert!(why.contains("on or off"), "{why}");
    }
}

#[test]
fn what_may_pass_is_tried_again_and_what_will_not_is_refused() {
    let changed = |status, body: &str| unleash().changed((status, body.as_bytes()));
    assert_eq!(changed(200, "{}"), Ok(()));
    assert_eq!(changed(500, r#"{"message":"x\nname: TEST_OPERATION_FAILED"}"#), Err(Trouble::Race));
    let Err(Trouble::Refused(why)) = changed(403, "canary-31ab") else { panic!() };
    assert!(why.contains("change request") && !why.contains("canary"), "{why}");
    assert!(matches!(changed(500, "canary"), Err(Trouble::Unreachable(_))));
    assert!(matches!(changed(401, ""), Err(Trouble::Unreachable(_))));
    assert!(matches!(changed(400, ""), Err(Trouble::Refused(_))));
    assert_eq!(changed(404, ""), Err(Trouble::Gone));
}
