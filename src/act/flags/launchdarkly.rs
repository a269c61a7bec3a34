//! LaunchDarkly, by its REST API: what a flag's default rule (its fallthrough) serves in an environment.
//!
//! The note is a custom property of the flag, one for each environment, whose values are the note's words: a semantic
//! patch can hold several instructions and is applied as a whole or not at all, so that the rule and the note change in one
//! request. (A tag is shown everywhere and cannot hold a `=`; a comment is told to the audit log, and to nobody who reads
//! the flag.) A semantic patch cannot say what it expects to find: what somebody else changes between our look and our
//! request is overwritten, and what they change after it is seen when the flag is read back. Rules, targets,
//! prerequisites, whether the flag is on and what it serves while it is off are its owner's.

use std::collections::BTreeMap;

use reqwest::Url;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Answer, Api, Change, Flag, Note, Step, Trouble, trouble,
    variants::{ALL, Variant, Variants, called},
};
use crate::{
    act::metrics::question::{Outgoing, beneath},
    model::{ring::Target, serve::Serve},
};

/// The API that answers as it is read here.
const VERSION: &str = "20240415";
const SEMANTIC: &str = "application/json; domain-model=launchdarkly.semanticpatch";
/// The longest value of a custom property, in characters.
const LONGEST: usize = 64;

/// One environment of a LaunchDarkly, by its key.
pub(super) struct LaunchDarkly {
    pub(super) environment: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Feature {
    #[serde(default)]
    archived: bool,
    variations: Vec<Variation>,
    #[serde(default)]
    environments: BTreeMap<String, Environment>,
    #[serde(default)]
    custom_properties: BTreeMap<String, Property>,
}

#[derive(Deserialize)]
struct Variation {
    #[serde(rename = "_id")]
    id: String,
    #[serde(default)]
    name: Option<String>,
    value: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Environment {
    on: bool,
    #[serde(default)]
    off_variation: Option<usize>,
    #[serde(default)]
    fallthrough: Fallthrough,
}

#[derive(Default, Deserialize)]
struct Fallthrough {
    variation: Option<usize>,
    rollout: Option<Rollout>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rollout {
    variations: Vec<Weighted>,
    bucket_by: Option<String>,
    context_kind: Option<String>,
    seed: Option<Value>,
    experiment_allocation: Option<Value>,
}

#[derive(Deserialize)]
struct Weighted {
    variation: usize,
    weight: u64,
}

#[derive(Deserialize)]
struct Property {
    name: String,
    value: Vec<String>,
}

/// The flag that was read.
#[derive(Debug)]
struct Seen {
    url: Url,
    environment: String,
    /// By the flag's order.
    ids: Vec<String>,
    variants: Variants,
    /// By what those who ask are told apart, where it is not by their key as a user.
    told_apart: Option<Map<String, Value>>,
    /// What the custom property is called.
    property: String,
}

impl LaunchDarkly {
    fn place(target: &Target, base: &Url) -> Url {
        let mut url = beneath(base, "api/v2/flags");
        if let Ok(mut path) = url.path_segments_mut() {
            path.extend([&target.namespace, &target.name]);
        }
        url
    }

    fn read(&self, url: Url, (status, body): (u16, &[u8])) -> Result<Flag, Trouble> {
        if status != 200 {
            return Err(trouble(status));
        }
        let none = |_| Trouble::Unreachable("the answer is no flag of LaunchDarkly's".into());
        let Feature { archived, variations, mut environments, mut custom_properties } =
            serde_json::from_slice(body).map_err(none)?;
        if archived {
            return Err(Trouble::Gone);
        }
        let Some(here) = environments.remove(&self.environment) else {
            return Err(Trouble::Refused(format!("has no environment `{}`", self.environment)));
        };
        let mut shares = vec![0; variations.len()];
        let mut told_apart = Map::new();
        match here.fallthrough {
            Fallthrough { rollout: Some(rollout), .. } => {
                if rollout.experiment_allocation.is_some() || rollout.seed.is_some() {
                    return Err(Trouble::Refused(format!(
                        "is in an experiment by its default rule in environment `{}`: end that first",
                        self.environment
                    )));
                }
                for Weighted { variation, weight } in rollout.variations {
                    shares.get_mut(variation).map(|share| *share = weight).ok_or_else(odd)?;
                }
                for (name, by, usual) in [
                    ("rolloutContextKind", rollout.context_kind, "user"),
                    ("rolloutBucketBy", rollout.bucket_by, "key"),
                ] {
                    if let Some(by) = by.filter(|by| by != usual) {
                        told_apart.insert(name.into(), by.into());
                    }
                }
            }
            Fallthrough { variation: Some(variation), .. } => {
                shares.get_mut(variation).map(|share| *share = ALL).ok_or_else(odd)?;
            }
            Fallthrough { variation: None, rollout: None } => return Err(odd()),
        }
        let named = variations.iter().zip(shares).map(|(variation, share)| {
            let mut names: Vec<String> = variation.name.clone().into_iter().collect();
            names.extend(called(&variation.value));
            Variant { names, share }
        });
        let variants = Variants::new(named.collect());
        let property = custom_properties.remove(&property(&self.environment));
        let note = property.as_ref().and_then(|property| Note::read(&joined(&property.value)));
        let told = note.iter().flat_map(Note::told);
        let off = here.off_variation.unwrap_or(usize::MAX);
        Ok(Flag {
            serves: variants.serves(told, off).map_err(Trouble::Refused)?,
            off: !here.on,
            change: Box::new(Seen {
                url,
                environment: self.environment.clone(),
                ids: variations.into_iter().map(|variation| variation.id).collect(),
                variants,
                told_apart: (!told_apart.is_empty()).then_some(told_apart),
                property: property.map_or_else(|| "ringward".into(), |property| property.name),
            }),
            note,
        })
    }
}

fn odd() -> Trouble {
    Trouble::Unreachable("the answer is no flag of LaunchDarkly's with a default rule".into())
}

/// The key of the custom property that is an environment's note.
fn property(environment: &str) -> String {
    format!("ringward.dev.{environment}")
}

impl Change for Seen {
    fn to(&self, serve: &Serve, note: &Note) -> Result<Vec<Outgoing>, String> {
        let shares = self.variants.shares(serve)?;
        let weights = || self.ids.iter().cloned().zip(shares.iter().map(|share| json!(share)));
        let one = self.ids.iter().zip(&shares).find(|(_, share)| **share == ALL);
        let mut rule =
            Map::from_iter([("kind".to_owned(), json!("updateFallthroughVariationOrRollout"))]);
        match (one, &self.told_apart) {
            (Some((id, _)), None) => {
                rule.insert("variationId".into(), json!(id));
            }
            // A rollout to one variation alone keeps by what people are told apart, for the next that has shares.
            (_, told_apart) => {
                rule.insert("rolloutWeights".into(), Map::from_iter(weights()).into());
                rule.extend(told_apart.clone().unwrap_or_default());
            }
        }
        let Self { url, environment, property: name, .. } = self;
        let release = note.release.as_deref().unwrap_or_default();
        let body = json!({
            "environmentKey": environment,
            "comment": format!("ringward: {release} serves {serve}"),
            "instructions": [rule, {
                "kind": "replaceCustomProperties",
                "key": property(environment),
                "name": name,
                "values": pieces(&note.to_string()),
            }],
        });
        let patch = Outgoing::patch(url.clone(), SEMANTIC, body.to_string());
        Ok(vec![patch.header("ld-api-version", VERSION)])
    }
}

impl Api for LaunchDarkly {
    fn look(&self, base: &Url, target: &Target, answers: &[Answer]) -> Result<Step, Trouble> {
        let mut url = Self::place(target, base);
        match answers {
            [] => {
                url.query_pairs_mut().append_pair("env", &self.environment);
                let look = Outgoing::get(url).header("accept", "application/json");
                Ok(Step::Ask(look.header("ld-api-version", VERSION)))
            }
            [(status, body), ..] => self.read(url, (*status, body)).map(Step::Seen),
        }
    }

    fn changed(&self, (status, _): (u16, &[u8])) -> Result<(), Trouble> {
        let environment = &self.environment;
        match status {
            200 => Ok(()),
            409 => Err(Trouble::Race),
            400 => Err(Trouble::Refused(format!(
                "may not be changed in environment `{environment}` (400): a scheduled change or an approval request that \
                 is pending may be in the way; end that first"
            ))),
            403 => Err(Trouble::Refused(format!(
                "may not be changed by ringward's token in environment `{environment}` (403): give its role the actions \
                 updateFallthrough and updateFlagCustomProperties there"
            ))),
            405 => Err(Trouble::Refused(format!(
                "may not be changed in environment `{environment}` without an approval (405): let the token bypass \
                 required approvals there"
            ))),
            status => Err(trouble(status)),
        }
    }

    fn consent(&self, text: &str) -> String {
        format!(
            "give the flag a custom property with the key {} and the value {text}",
            property(&self.environment)
        )
    }
}

/// A note in values that are short enough: its words, and of a word that is too long `name=`, `name+1=` and so on.
fn pieces(note: &str) -> Vec<String> {
    let mut pieces = Vec::new();
    for word in note.split_whitespace() {
        let Some((name, value)) = word.split_once('=').filter(|_| word.chars().count() > LONGEST)
        else {
            pieces.push(word.to_owned());
            continue;
        };
        let mut left: Vec<char> = value.chars().collect();
        for nth in 0.. {
            let mark = if nth == 0 { format!("{name}=") } else { format!("{name}+{nth}=") };
            let room = LONGEST.saturating_sub(mark.chars().count()).max(1).min(left.len());
            let piece: String = left.drain(..room).collect();
            pieces.push(mark + &piece);
            if left.is_empty() {
                break;
            }
        }
    }
    pieces
}

/// The note that was kept in such values, in whatever order they come back.
fn joined(values: &[String]) -> String {
    let mut words: BTreeMap<(&str, usize), &str> = BTreeMap::new();
    for (name, value) in values.iter().filter_map(|value| value.split_once('=')) {
        let (name, nth) = name.rsplit_once('+').unwrap_or((name, "0"));
        words.insert((name, nth.parse().unwrap_or(usize::MAX)), value);
    }
    let mut by_name: BTreeMap<&str, String> = BTreeMap::new();
    for ((name, _), value) in words {
        by_name.entry(name).or_default().push_str(value);
    }
    // Consent is what a note begins with.
    let mut words: Vec<String> =
        by_name.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    words.sort_by_key(|word| Note::read(word).is_none());
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::{super::tests::asked, *};
    use crate::model::ring::TargetKind;

    fn target() -> Target {
        Target {
            kind: TargetKind::LaunchDarklyFlag { service: "ld".into(), cleanup_after: None },
            namespace: "shop".into(),
            name: "dark.mode".into(),
        }
    }

    fn base() -> Url {
        Url::parse("https://app.launchdarkly.test").unwrap()
    }

    fn production() -> LaunchDarkly {
        LaunchDarkly { environment: "production".into() }
    }

    /// As documented: a flag with everything that is its owner's.
    fn answer(fallthrough: Value, property: &[&str]) -> Value {
        json!({
            "name": "Dark mode", "kind": "boolean", "key": "dark.mode", "_version": 2, "archived": false,
            "variations": [
                {"value": true, "name": "Dark", "_id": "86208e6e"},
                {"value": false, "name": "As it was", "_id": "7b32de80"},
            ],
            "defaults": {"onVariation": 0, "offVariation": 1}, "tags": ["ops"],
            "customProperties": {
                "jira": {"name": "Jira issues", "value": ["OPS-1"]},
                "ringward.dev.production": {"name": "Releases", "value": property},
            },
            "environments": {"production": {
                "on": true, "archived": false, "salt": "YWx0", "version": 61, "targets": [],
                "rules": [{"_id": "1", "variation": 0, "clauses": []}], "prerequisites": [],
                "fallthrough": fallthrough, "offVariation": 1, "_environmentName": "Production",
            }},
        })
    }

    fn read(answer: &Value) -> Result<Flag, Trouble> {
        let answers = [(200, answer.to_string().into_bytes())];
        match production().look(&base(), &target(), &answers)? {
            Step::Seen(flag) => Ok(flag),
            Step::Ask(outgoing) => panic!("asks on: {outgoing:?}"),
        }
    }

    fn split(weight: u64, more: Value) -> Value {
        let weights = json!([{"variation": 0, "weight": weight},
            {"variation": 1, "weight": ALL - weight}]);
        let mut rollout = json!({"variations": weights});
        rollout.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"rollout": rollout})
    }

    const CONSENT: &str = "ringward.dev/managed-by=dark";

    fn note(text: &str) -> Note {
        Note::read(text).unwrap()
    }

    #[test]
    fn the_default_rule_of_the_environment_is_what_is_served() {
        let step = production().look(&base(), &target(), &[]).unwrap();
        let asked = asked(step);
        assert_eq!(
            asked.url.as_str(),
            "https://app.launchdarkly.test/api/v2/flags/shop/dark.mode?env=production"
        );
        assert!(asked.headers.contains(&("ld-api-version", VERSION.to_owned())));
        let flag = read(&answer(json!({"variation": 1}), &[])).unwrap();
        assert_eq!((flag.serves.to_string().as_str(), flag.off), ("false", false));
        assert_eq!(flag.note, None);
        let flag = read(&answer(split(25_000, json!({})), &[CONSENT])).unwrap();
        assert_eq!(flag.serves.to_string(), "Dark=25%,false");
        assert_eq!(flag.note, Some(Note::of(&"dark".into())));
        // As the note says it, where that is the same.
        let told = answer(split(25_000, json!({})), &["serves=off=75%,on", CONSENT]);
        assert_eq!(read(&told).unwrap().serves.to_string(), "off=75%,on");
        let mut off = answer(json!({"variation": 0}), &[]);
        off["environments"]["production"]["on"] = json!(false);
        assert!(read(&off).unwrap().off);
        off["archived"] = json!(true);
        assert_eq!(read(&off).unwrap_err(), Trouble::Gone);
    }

    #[test]
    fn what_no_release_can_say_is_refused() {
        let refused = |answer: &Value| match read(answer).unwrap_err() {
            Trouble::Refused(why) => why,
            other => panic!("{other:?}"),
        };
        let experiment = split(50_000, json!({"experimentAllocation": {"defaultVariation": 0}}));
        assert!(refused(&answer(experiment, &[])).contains("in an experiment"));
        assert!(refused(&answer(split(12_500, json!({})), &[])).contains("whole percents"));
        let mut elsewhere = answer(json!({"variation": 0}), &[]);
        elsewhere["environments"] = json!({"test": elsewhere["environments"]["production"]});
        assert!(refused(&elsewhere).contains("no environment `production`"));
        let mut beyond = answer(json!({"variation": 9}), &[]);
        assert!(matches!(read(&beyond), Err(Trouble::Unreachable(_))));
        beyond["environments"]["production"]["fallthrough"] = json!({});
        assert!(matches!(read(&beyond), Err(Trouble::Unreachable(_))));
    }

    fn change(flag: &Flag, serve: &str, text: &str) -> Value {
        let all = flag.change.to(&serve.parse().unwrap(), &note(text)).unwrap();
        let [patch] = all.as_slice() else { panic!("one request") };
        assert_eq!(patch.url.as_str(), "https://app.launchdarkly.test/api/v2/flags/shop/dark.mode");
        assert!(patch.headers.contains(&("content-type", SEMANTIC.to_owned())));
        serde_json::from_str(patch.body.as_ref().unwrap()).unwrap()
    }

    #[test]
    fn the_rule_and_the_note_are_changed_in_one_patch_and_nothing_else_is() {
        let flag = read(&answer(json!({"variation": 1}), &[CONSENT])).unwrap();
        let text = format!("{CONSENT} release=dark@1 epoch=7 serves=on=25%,off");
        assert_eq!(
            change(&flag, "on=25%,off", &text),
            json!({
                "environmentKey": "production",
                "comment": "ringward: dark@1 serves on=25%,off",
                "instructions": [
                    {"kind": "updateFallthroughVariationOrRollout",
                        "rolloutWeights": {"86208e6e": 25_000, "7b32de80": 75_000}},
                    {"kind": "replaceCustomProperties", "key": "ringward.dev.production", "name": "Releases",
                        "values": [CONSENT, "release=dark@1", "epoch=7", "serves=on=25%,off"]},
                ],
            })
        );
        let one = change(&flag, "Dark", CONSENT);
        let rule =
            json!({"kind": "updateFallthroughVariationOrRollout", "variationId": "86208e6e"});
        assert_eq!(one["instructions"][0], rule);
        let why = flag.change.to(&"blue".parse().unwrap(), &note(CONSENT)).unwrap_err();
        assert_eq!(why, "has no variant `blue`: it has Dark, false");
    }

    /// Or whoever was served a variant before would be another crowd after a way back.
    #[test]
    fn by_what_people_are_told_apart_stays() {
        let by = json!({"contextKind": "organization", "bucketBy": "account"});
        let flag = read(&answer(split(25_000, by), &[CONSENT])).unwrap();
        for (serve, weight) in [("on=50%,off", 50_000), ("on", ALL)] {
            let rule = json!({"kind": "updateFallthroughVariationOrRollout",
                "rolloutWeights": {"86208e6e": weight, "7b32de80": ALL - weight},
                "rolloutContextKind": "organization", "rolloutBucketBy": "account"});
            assert_eq!(change(&flag, serve, CONSENT)["instructions"][0], rule);
        }
        let usual = json!({"contextKind": "user", "bucketBy": "key"});
        let flag = read(&answer(split(25_000, usual), &[CONSENT])).unwrap();
        assert_eq!(change(&flag, "on", CONSENT)["instructions"][0]["variationId"], "86208e6e");
    }

    #[test]
    fn a_note_comes_back_in_whatever_order_its_values_do() {
        let long = "x".repeat(150);
        let text =
            format!("{CONSENT} release=dark@1 intent={long} epoch=7 serves=on=25%,off from=off");
        let mut values = pieces(&text);
        assert!(values.iter().all(|value| value.chars().count() <= LONGEST), "{values:?}");
        assert!(values.contains(&format!("intent+2={}", "x".repeat(150 - 57 - 55))), "{values:?}");
        values.reverse();
        assert_eq!(Note::read(&joined(&values)), Some(note(&text)));
        values.sort();
        assert_eq!(Note::read(&joined(&values)), Some(note(&text)));
        assert_eq!(Note::read(&joined(&["else".into()])), None);
    }

    #[test]
    fn an_answer_to_a_change_is_told_by_its_status_alone() {
        let changed = |status| production().changed((status, b"canary-31ab"));
        assert_eq!(changed(200), Ok(()));
        assert_eq!(changed(409), Err(Trouble::Race));
        assert_eq!(changed(404), Err(Trouble::Gone));
        for (status, words) in
            [(405, "approval"), (403, "updateFallthrough"), (400, "scheduled change"), (422, "422")]
        {
            let Err(Trouble::Refused(why)) = changed(status) else { panic!("{status}") };
            assert!(why.contains(words) && !why.contains("canary"), "{why}");
        }
        for status in [401, 429, 500, 503] {
            assert!(matches!(changed(status), Err(Trouble::Unreachable(_))), "{status}");
        }
    }
}
