//! A feature flag of flagd's (flagd.dev/schema/v0): in a ConfigMap's entry, or in a `core.openfeature.dev/v1beta1`
//! FeatureFlag.
//!
//! A release's artifact is what the flag serves: `on`, or `on=25%,off`. It is written as the flag's
//! `defaultVariant` and, for shares, a `fractional` rule over all variants in the order of their names; where a
//! target serves some contexts only, as an `if` before whatever rule the flag has. Whether the flag is enabled is
//! its owner's to say: a disabled one is paused.
//!
//! What was there before may be any rule. As an artifact it is what it says, in JSON, so that the way back
//! is all that it needs: no copy lies anywhere that could be lost or be of another day.

mod document;

use std::collections::BTreeMap;

use kube::core::{ApiResource, DynamicObject};
use serde_json::{Map, Value, json};

use super::{Edit, Kind, Probe, Progress, Seen, Workers, fields, resource};
use crate::{
    decide::event::Status,
    model::{ring::Artifact, serve::Serve},
};

/// The artifact of contexts that have no rule of their own.
const AS_ALL: &str = "*";
/// The longest rule that is kept to go back to, in bytes of JSON.
const LONGEST: usize = 16 * 1024;

/// One flag.
pub(super) struct FlagdFlag {
    /// Its key.
    pub(super) flag: String,
    /// The entry of the ConfigMap that it is in.
    pub(super) file: Option<String>,
    /// What a context must hold to be served by a release.
    pub(super) only: BTreeMap<String, String>,
    /// The probe that is asked what is served.
    pub(super) probe: Option<String>,
}

/// What decides which variant is served.
#[derive(Debug, Clone, PartialEq)]
struct Rule {
    default: String,
    targeting: Option<Value>,
}

impl Rule {
    fn of(flag: &Value) -> Option<Self> {
        let default = flag["defaultVariant"].as_str()?.to_owned();
        // To flagd no rule and an empty one are the same.
        let none = |rule: &&Value| rule.is_null() || **rule == json!({});
        let targeting = flag.get("targeting").filter(|rule| !none(rule)).cloned();
        Some(Self { default, targeting })
    }

    /// What serves `serve` to everybody.
    fn serving(serve: &Serve) -> Self {
        let targeting = (!serve.is_one()).then(|| fractional(serve));
        Self { default: serve.rest().to_owned(), targeting }
    }

    /// The same as an artifact: in short where nothing is lost by it.
    fn artifact(&self) -> Artifact {
        let shares = match &self.targeting {
            None => self.default.parse().ok(),
            Some(rule) => shares(rule, &self.default),
        };
        if let Some(serve) = shares.filter(|serve| Self::serving(serve) == *self) {
            return Artifact(serve.to_string());
        }
        let mut text = json!({"defaultVariant": self.default});
        if let Some(rule) = &self.targeting {
            text["targeting"] = rule.clone();
        }
        Artifact(text.to_string())
    }

    fn parse(artifact: &Artifact) -> Option<Self> {
        if let Ok(serve) = artifact.0.parse::<Serve>() {
            return Some(Self::serving(&serve));
        }
        let read: Value = serde_json::from_str(&artifact.0).ok()?;
        Self::of(&read)
    }
}

fn fractional(serve: &Serve) -> Value {
    json!({"fractional": serve.percentages()})
}

/// The shares of a rule that is nothing but shares.
fn shares(rule: &Value, rest: &str) -> Option<Serve> {
    let buckets = rule.get("fractional")?.as_array()?.iter();
    let buckets = buckets.map(|bucket| Some((bucket.get(0)?.as_str()?, bucket.get(1)?.as_u64()?)));
    Serve::of(&buckets.collect::<Option<Vec<_>>>()?, rest)
}

impl FlagdFlag {
    /// The flag as it stands.
    fn read(&self, object: &DynamicObject) -> Result<Value, String> {
        let flag = match &self.file {
            None => object
                .data
                .pointer("/spec/flagSpec/flags")
                .and_then(|all| all.get(&self.flag))
                .cloned(),
            Some(file) => document::flag(self.text(object, file)?, file, &self.flag)?,
        };
        let flag = flag.ok_or_else(|| match &self.file {
            Some(file) => {
                format!("has no flag `{}` in `{file}`: add it as it is served now", self.flag)
            }
            None => format!("has no flag `{}`: add it as it is served now", self.flag),
        })?;
        match Rule::of(&flag) {
            Some(_) => Ok(flag),
            None => Err(format!(
                "has a flag `{}` without a `defaultVariant`: say which it is",
                self.flag
            )),
        }
    }

    fn text<'o>(&self, object: &'o DynamicObject, file: &str) -> Result<&'o str, String> {
        let entry = object.data.get("data").and_then(|data| data.get(file)).and_then(Value::as_str);
        entry.ok_or_else(|| format!("has no entry `{file}`: name the one with the flags as `file`"))
    }

    fn rule(&self, object: &DynamicObject) -> Result<Rule, String> {
        let flag = self.read(object)?;
        Ok(Rule::of(&flag).unwrap_or_else(|| Rule { default: String::new(), targeting: None }))
    }

    /// What a context must be like, as flagd's JSON logic says it.
    fn condition(&self) -> Value {
        let is = |(name, value): (&String, &String)| json!({"==": [{"var": name}, value]});
        let mut all: Vec<Value> = self.only.iter().map(is).collect();
        match all.len() {
            1 => all.remove(0),
            _ => json!({"and": all}),
        }
    }

    /// The rule for those contexts and the one for all others, where they have one of their own.
    fn own<'r>(&self, targeting: Option<&'r Value>) -> Option<(&'r Value, Option<Value>)> {
        let parts = targeting?.get("if")?.as_array()?;
        let [condition, own, rest @ ..] = parts.as_slice() else { return None };
        let rest = match rest {
            [] => None,
            [rest] => Some(rest.clone()),
            several => Some(json!({"if": several})),
        };
        (*condition == self.condition()).then_some((own, rest))
    }

    fn seen(&self, object: &DynamicObject) -> Result<Artifact, String> {
        let rule = self.rule(object)?;
        if self.only.is_empty() {
            return Ok(rule.artifact());
        }
        let Some((own, _)) = self.own(rule.targeting.as_ref()) else {
            return Ok(Artifact(AS_ALL.into()));
        };
        let serve = match own {
            Value::String(variant) => variant.parse().ok().filter(Serve::is_one),
            shared @ (Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_)) => rests(shared).find_map(|rest| shares(shared, rest)),
        };
        let odd = || {
            format!(
                "has a rule in flag `{}` for the target's contexts that ringward did not write",
                self.flag
            )
        };
        serve.map(|serve| Artifact(serve.to_string())).ok_or_else(odd)
    }

    /// The rule that makes it serve the artifact.
    fn wanted(&self, now: &Rule, artifact: &Artifact) -> Option<Rule> {
        if self.only.is_empty() {
            return Rule::parse(artifact);
        }
        let rest = match self.own(now.targeting.as_ref()) {
            Some((_, rest)) => rest,
            None => now.targeting.clone(),
        };
        let targeting = match artifact.0.as_str() {
            AS_ALL => rest,
            text => {
                let serve: Serve = text.parse().ok()?;
                let own = match serve.is_one() {
                    true => json!(serve.rest()),
                    false => fractional(&serve),
                };
                let mut parts = vec![self.condition(), own];
                parts.extend(rest);
                Some(json!({"if": parts}))
            }
        };
        Some(Rule { default: now.default.clone(), targeting })
    }
}

/// The variants of shares, each of which may be the rest.
fn rests(shared: &Value) -> impl Iterator<Item = &str> {
    let buckets = shared["fractional"].as_array().into_iter().flatten();
    buckets.filter_map(|bucket| bucket[0].as_str())
}

impl Kind for FlagdFlag {
    fn resource(&self) -> ApiResource {
        match self.file {
            Some(_) => resource("", "v1", "ConfigMap", "configmaps"),
            None => resource("core.openfeature.dev", "v1beta1", "FeatureFlag", "featureflags"),
        }
    }

    fn refuses(&self, seen: &Seen, artifact: &Artifact) -> Option<String> {
        let object = &seen.subject;
        if object.data.get("immutable") == Some(&Value::Bool(true)) {
            return Some("is immutable: make one that is not".into());
        }
        let flag = match self.read(object) {
            Ok(flag) => flag,
            Err(why) => return Some(why),
        };
        let Some(rule) = Rule::of(&flag).and_then(|now| self.wanted(&now, artifact)) else {
            return Some(format!(
                "holds a flag, and {artifact} is nothing that one serves: release a variant or shares, as in \
                 on=25%,off"
            ));
        };
        let served: Vec<String> = match artifact.0.parse::<Serve>() {
            Ok(serve) => serve.percentages().iter().map(|(name, _)| (*name).to_owned()).collect(),
            Err(_) => vec![rule.default],
        };
        let variants = flag["variants"].as_object();
        let known = |name: &String| variants.is_some_and(|all| all.contains_key(name));
        let missing = served.iter().find(|name| !known(name))?;
        let all: Vec<&str> = variants.into_iter().flat_map(Map::keys).map(String::as_str).collect();
        Some(format!(
            "has no variant `{missing}` of flag `{}`: it has {}",
            self.flag,
            all.join(", ")
        ))
    }

    fn image(&self, object: &DynamicObject) -> Result<Artifact, String> {
        let artifact = self.seen(object)?;
        match artifact.0.len() {
            0..=LONGEST => Ok(artifact),
            _ => Err(format!(
                "has a rule of more than {} KiB in flag `{}`, which is too long to be kept to go back to",
                LONGEST / 1024,
                self.flag
            )),
        }
    }

    fn edit(&self, seen: &Seen, artifact: &Artifact, _: &str) -> Edit {
        let object = &seen.subject;
        let now =
            self.rule(object).unwrap_or_else(|_| Rule { default: String::new(), targeting: None });
        // What cannot be written was refused before.
        let wanted = self.wanted(&now, artifact).unwrap_or_else(|| now.clone());
        match &self.file {
            Some(file) => {
                let text = self.text(object, file).unwrap_or_default();
                let text =
                    document::write(text, &self.flag, &wanted.default, wanted.targeting.as_ref());
                Edit::Merge {
                    fields: json!({"data": {file: text}}),
                    paths: vec![vec!["data".into(), file.clone()]],
                }
            }
            None => {
                let mut change = json!({"defaultVariant": wanted.default});
                let old =
                    object.data.pointer("/spec/flagSpec/flags").and_then(|all| all.get(&self.flag));
                let old = old.and_then(|flag| flag.get("targeting"));
                let kept = now.targeting.is_none() && wanted.targeting.is_none();
                if let Some(difference) =
                    difference(old, wanted.targeting.as_ref()).filter(|_| !kept)
                {
                    change["targeting"] = difference;
                }
                let way = ["spec", "flagSpec", "flags", &self.flag].map(str::to_owned).to_vec();
                let mut paths = Vec::new();
                leaves(&change, &way, &mut paths);
                // Whoever owns all of the rule, or of the flag, owns what is in it.
                paths.push([way.as_slice(), &["targeting".into()]].concat());
                paths.push(way);
                let fields =
                    json!({"spec": {"flagSpec": {"flags": {(self.flag.clone()): change}}}});
                Edit::Merge { fields, paths }
            }
        }
    }

    fn progress(&self, seen: &Seen) -> Progress {
        let object = &seen.subject;
        if let Some(why) = fields::deleted(object, &self.resource().kind) {
            return Progress::unknown(why);
        }
        match self.read(object) {
            Ok(flag) if flag["state"] == "DISABLED" => Progress::Other(Status::Paused),
            Ok(_) => Progress::AllReady,
            Err(why) => Progress::unknown(format!("it {why}")),
        }
    }

    /// Nothing but what it serves tells one write from the next.
    fn revision(&self, _: &Seen) -> Option<String> {
        None
    }

    fn workers(&self, _: &Seen) -> Option<Workers> {
        None
    }

    fn probe(&self, seen: &Seen) -> Option<Probe> {
        let name = self.probe.clone()?;
        // What a rule of others serves is theirs to know; that it is served at all can be asked.
        let serve =
            self.seen(&seen.subject).ok().and_then(|artifact| artifact.0.parse::<Serve>().ok());
        let served = serve.map(|serve| {
            let served = serve.percentages().into_iter().filter(|(_, share)| *share > 0);
            served.map(|(name, _)| name.to_owned()).collect()
        });
        Some(Probe { name, flag: self.flag.clone(), context: self.only.clone(), served })
    }
}

/// What a merge patch says to make `new` of `old`; nothing where there is nothing to change.
fn difference(old: Option<&Value>, new: Option<&Value>) -> Option<Value> {
    match (old, new) {
        (None, None) => None,
        (Some(_), None) => Some(Value::Null),
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            let changed = names
                .into_iter()
                .filter_map(|name| Some((name.clone(), difference(old.get(name), new.get(name))?)));
            let changed: Map<String, Value> = changed.collect();
            (!changed.is_empty()).then_some(Value::Object(changed))
        }
        (Some(old), Some(new)) if old == new => None,
        (_, Some(new)) => Some(new.clone()),
    }
}

/// The paths of everything that a patch sets or takes away.
fn leaves(patch: &Value, way: &[String], found: &mut Vec<Vec<String>>) {
    match patch {
        Value::Object(fields) => {
            for (name, value) in fields {
                leaves(value, &[way, std::slice::from_ref(name)].concat(), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            found.push(way.to_vec());
        }
    }
}

#[cfg(test)]
mod tests;
