//! A flag's variants, by the names that releases may give them, and how much of whoever asks each is served to.

use serde_json::Value;

use crate::model::serve::{Serve, is_variant};

/// All of whoever asks, in thousandths of a percent.
pub(super) const ALL: u64 = 100_000;
/// A percent.
const PERCENT: u64 = ALL / 100;

/// A variant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Variant {
    /// What a release may call it, the name that it is shown by first.
    pub(super) names: Vec<String>,
    /// In thousandths of a percent.
    pub(super) share: u64,
}

/// The variants of one flag, in its service's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Variants(Vec<Variant>);

impl Variants {
    /// Of each variant those names stay that a release can say and that are no other's.
    pub(super) fn new(mut all: Vec<Variant>) -> Self {
        for variant in &mut all {
            let mut seen = Vec::new();
            variant.names.retain(|name| {
                let new = is_variant(name) && !seen.contains(name);
                seen.push(name.clone());
                new
            });
        }
        let given: Vec<Vec<String>> = all.iter().map(|variant| variant.names.clone()).collect();
        for variant in &mut all {
            variant
                .names
                .retain(|name| given.iter().filter(|names| names.contains(name)).count() == 1);
        }
        Self(all)
    }

    /// What is served, said as one of `told` says it where that is the same, and else with `rest` last, or with what most
    /// are served where nobody is served that.
    ///
    /// # Errors
    /// A release could not say it; in words that begin with a verb.
    pub(super) fn serves<'a>(
        &self,
        told: impl Iterator<Item = &'a str>,
        rest: usize,
    ) -> Result<Serve, String> {
        let now: Vec<u64> = self.0.iter().map(|variant| variant.share).collect();
        let mut told = told.filter_map(|text| text.parse::<Serve>().ok());
        if let Some(serve) = told.find(|serve| self.shares(serve).as_ref() == Ok(&now)) {
            return Ok(serve);
        }
        let served = |variant: &&Variant| variant.share > 0;
        if now.iter().sum::<u64>() != ALL || now.iter().any(|share| share % PERCENT != 0) {
            return Err("serves shares that are no whole percents: set them to such first".into());
        }
        let most = self.0.iter().max_by_key(|variant| variant.share);
        let rest = self.0.get(rest).filter(served).or(most);
        let mut text = String::new();
        let others = self.0.iter().filter(served).filter(|variant| Some(*variant) != rest);
        for variant in others.chain(rest) {
            let name = variant.names.first().ok_or(
                "serves a variant whose name no release can say: call it by letters, digits, _, . and - alone, and \
                 otherwise than the others",
            )?;
            match Some(variant) == rest {
                true => text.push_str(name),
                false => text.push_str(&format!("{name}={}%,", variant.share / PERCENT)),
            }
        }
        text.parse().map_err(|_| "serves what no release can say".into())
    }

    /// The share of each variant under what a release serves.
    ///
    /// # Errors
    /// It names what is no variant, or one of them twice; in words that begin with a verb.
    pub(super) fn shares(&self, serve: &Serve) -> Result<Vec<u64>, String> {
        let mut shares = vec![0; self.0.len()];
        for (name, percent) in serve.percentages() {
            let place = self.0.iter().position(|variant| variant.names.iter().any(|n| n == name));
            let share = place.and_then(|place| shares.get_mut(place)).ok_or_else(|| {
                let known: Vec<&str> =
                    self.0.iter().filter_map(|v| v.names.first()).map(String::as_str).collect();
                format!("has no variant `{name}`: it has {}", known.join(", "))
            })?;
            if *share > 0 {
                return Err(format!("has one variant that {serve} names twice"));
            }
            *share = u64::from(percent) * PERCENT;
        }
        Ok(shares)
    }
}

/// What a value can be called: what it is, and `on` or `off` for what is true or false.
pub(super) fn called(value: &Value) -> Vec<String> {
    match value {
        Value::Bool(value) => vec![value.to_string(), if *value { "on" } else { "off" }.into()],
        Value::String(text) => vec![text.clone()],
        Value::Number(number) => vec![number.to_string()],
        Value::Null | Value::Array(_) | Value::Object(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn variants(all: &[(&[&str], u64)]) -> Variants {
        let variant = |(names, share): &(&[&str], u64)| Variant {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            share: *share,
        };
        Variants::new(all.iter().map(variant).collect())
    }

    #[test]
    fn what_is_served_is_said_in_one_form_or_as_it_was_told() {
        let flag = variants(&[(&["true", "on"], 25_000), (&["false", "off"], 75_000)]);
        let said =
            |told: &[&str], rest| flag.serves(told.iter().copied(), rest).unwrap().to_string();
        assert_eq!(said(&[], 1), "true=25%,false");
        assert_eq!(said(&[], 0), "false=75%,true");
        assert_eq!(said(&["on=26%,off", "off=75%,on"], 1), "off=75%,on");
        assert_eq!(said(&["on=26%,off"], 1), "true=25%,false");
        let one = variants(&[(&["a"], 0), (&["b"], ALL), (&["c"], 0)]);
        assert_eq!(one.serves([].into_iter(), 0).unwrap().to_string(), "b");
        let three = variants(&[(&["a"], 20_000), (&["b"], 50_000), (&["c"], 30_000)]);
        assert_eq!(three.serves([].into_iter(), 9).unwrap().to_string(), "a=20%,c=30%,b");
        for odd in [12_500, 99_000] {
            let odd = variants(&[(&["a"], odd), (&["b"], 87_500)]);
            assert!(odd.serves([].into_iter(), 0).unwrap_err().contains("whole percents"));
        }
    }

    #[test]
    fn a_name_is_one_variants_own() {
        let flag = variants(&[(&["a b", "one"], 0), (&["two", "one", "2"], ALL), (&["2", "3"], 0)]);
        let serve = |text: &str| text.parse::<Serve>().unwrap();
        assert_eq!(flag.shares(&serve("3=1%,two")), Ok(vec![0, 99_000, 1_000]));
        for text in ["one", "2"] {
            let why = flag.shares(&serve(text)).unwrap_err();
            assert_eq!(why, format!("has no variant `{text}`: it has two, 3"));
        }
        let twice = variants(&[(&["true", "on"], 0), (&["false", "off"], ALL)]);
        assert!(twice.shares(&serve("true=5%,on")).unwrap_err().contains("twice"));
        let nameless = variants(&[(&["a b"], ALL), (&["c"], 0)]);
        assert!(nameless.serves([].into_iter(), 0).unwrap_err().contains("no release can say"));
    }

    #[test]
    fn values_have_names() {
        assert_eq!(called(&json!(true)), ["true", "on"]);
        assert_eq!(called(&json!("blue")), ["blue"]);
        assert_eq!(called(&json!(7)), ["7"]);
        assert!(called(&json!({"a": 1})).is_empty() && called(&Value::Null).is_empty());
    }
}
