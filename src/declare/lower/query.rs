//! Placeholders in queries: where they stand decides what may be put there.
//!
//! What is safe where is the language's to know ([`Language`]); which names there are, and what is said
//! of those that stand in the wrong place, is settled here.

use std::collections::BTreeMap;

use crate::{
    declare::nearest,
    model::{
        language::{Language, Open, Piece, Place},
        policy::BUILT_IN,
    },
};

/// A query, cut at the arguments that are filled in when a gate is lowered.
#[derive(Debug)]
pub(super) struct Query {
    language: Language,
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    /// As it is; built-in placeholders stay open in it.
    Text(String),
    /// An argument, and where it stands.
    Argument { name: String, place: Place },
}

/// Something wrong with a query.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// The part of the query, for its place; empty where it is all of it.
    pub part: String,
    pub message: String,
    pub help: String,
}

impl Query {
    /// Cuts a query at its placeholders. Comments are left out: nothing may hide in them.
    pub(super) fn parse(text: &str, arguments: &[&str], language: Language) -> (Self, Vec<Fault>) {
        let mut faults = Vec::new();
        let mut parts = Vec::new();
        let mut plain = String::new();
        let parsed = language.parse(text);
        for piece in parsed.pieces {
            match piece {
                Piece::Text(text) => plain.push_str(text),
                Piece::Slot(written, place) => {
                    let name = written.trim();
                    match check(name, written, place, arguments, language) {
                        Err(fault) => faults.push(fault),
                        Ok(Slot::BuiltIn) => {
                            plain.push_str("{{");
                            plain.push_str(name);
                            plain.push_str("}}");
                        }
                        Ok(Slot::Argument) => {
                            parts.push(Part::Text(std::mem::take(&mut plain)));
                            parts.push(Part::Argument { name: name.into(), place });
                        }
                    }
                }
            }
        }
        parts.push(Part::Text(plain));
        let certain = "close it, so that it is certain what stands inside of quotes";
        let (part, message, help) = match parsed.open {
            Some(Open::Placeholder) => {
                ("{{", "a placeholder is not closed".into(), "close it with }}")
            }
            Some(Open::Quote(quote)) => ("", format!("a quote ({quote}) is not closed"), certain),
            Some(Open::Other(what)) => ("", format!("{what} is not closed"), certain),
            None => return (Query { language, parts }, faults),
        };
        if faults.is_empty() || !part.is_empty() {
            faults.push(Fault { part: part.into(), message, help: help.into() });
        }
        (Query { language, parts }, faults)
    }

    /// Why a value cannot be put where the argument stands, and what can, if it cannot.
    pub(super) fn misfit(&self, argument: &str, value: &str) -> Option<(String, &'static str)> {
        let places = self.parts.iter().filter_map(|part| match part {
            Part::Argument { name, place } if name == argument => Some(*place),
            Part::Argument { .. } | Part::Text(_) => None,
        });
        let mut unfit = places.filter(|place| !self.language.fill(*place, value).1);
        Some(match unfit.next()? {
            Place::Bare => (
                format!("`{argument}` is neither a duration nor a number: `{value}`"),
                "outside of quotes a query takes nothing else, such as 2m or 0.25",
            ),
            Place::Quoted(_) | Place::Name | Place::Never(_) => (
                format!("{} cannot hold `{argument}` there: `{value}`", self.language.name()),
                "use letters, digits, hyphens and underscores",
            ),
        })
    }

    /// Whether that built-in placeholder stands in it.
    pub(super) fn names(&self, built_in: &str) -> bool {
        let slot = format!("{{{{{built_in}}}}}");
        self.parts.iter().any(|part| match part {
            Part::Text(text) => text.contains(&slot),
            Part::Argument { .. } => false,
        })
    }

    /// The query with the arguments' values put in; those without a value leave nothing.
    pub(super) fn render(&self, values: &BTreeMap<&str, &str>) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Argument { name, place } => {
                    let value = values.get(name.as_str()).copied().unwrap_or_default();
                    text.push_str(&self.language.fill(*place, value).0);
                }
            }
        }
        text.trim_end().to_owned()
    }
}

enum Slot {
    BuiltIn,
    Argument,
}

fn check(
    name: &str,
    written: &str,
    place: Place,
    arguments: &[&str],
    language: Language,
) -> Result<Slot, Fault> {
    let part = format!("{{{{{written}}}}}");
    let slot = if BUILT_IN.contains(&name) {
        Slot::BuiltIn
    } else if arguments.contains(&name) {
        Slot::Argument
    } else {
        let known = BUILT_IN.iter().chain(arguments).copied();
        let help = match nearest(name, known) {
            Some(near) => format!("did you mean `{{{{{near}}}}}`?"),
            None => format!("declare it under `args`; built in are {}", BUILT_IN.join(", ")),
        };
        let message = format!("no argument is called `{name}`");
        return Err(Fault { part, message, help });
    };
    let stands = match (place, &slot) {
        (Place::Never(what), _) => what,
        // A duration by construction; every other built-in is a name that somebody chose.
        (Place::Bare, Slot::BuiltIn) if name != "interval" => match language {
            Language::Datadog | Language::Graphite => "where only a number or a duration is safe",
            Language::PromQl
            | Language::CloudWatch
            | Language::Flux
            | Language::InfluxQl
            | Language::Nrql
            | Language::Url => "outside of quotes",
        },
        (Place::Bare | Place::Quoted(_) | Place::Name, _) => return Ok(slot),
    };
    let message = format!("`{{{{{name}}}}}` stands {stands}");
    Err(Fault { part, message, help: language.example().into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(text: &str, values: &[(&str, &str)]) -> String {
        let names: Vec<_> = values.iter().map(|(name, _)| *name).collect();
        let (query, faults) = Query::parse(text, &names, Language::PromQl);
        assert_eq!(faults, []);
        query.render(&values.iter().copied().collect())
    }

    fn faults(text: &str) -> Vec<String> {
        Query::parse(text, &["window"], Language::PromQl).1.into_iter().map(|f| f.message).collect()
    }

    #[test]
    fn arguments_go_in_and_built_ins_stay_open() {
        let query = r#"rate(m{service="{{ plan }}",code!~"5.."}[{{window}}])"#;
        let expected = r#"rate(m{service="{{plan}}",code!~"5.."}[2m])"#;
        assert_eq!(render(query, &[("window", "2m")]), expected);
    }

    #[test]
    fn nothing_breaks_out_of_its_quotes() {
        let evil = "a\"} or vector(1) #\\\n";
        let rendered = render(r#"m{app="{{app}}"}"#, &[("app", evil)]);
        assert_eq!(rendered, r#"m{app="a\"} or vector(1) #\\\n"}"#);
        assert_eq!(render("m{a='{{app}}'}", &[("app", "it's")]), r"m{a='it\'s'}");
    }

    #[test]
    fn quotes_in_quotes_and_comments_do_not_confuse() {
        assert_eq!(faults(r#"m{a="\"",b="{{plan}}"}"#), [""; 0]);
        assert_eq!(faults("m # it's {{nobody}}\n / m"), [""; 0]);
        assert_eq!(render("m # it's\n / m", &[]), "m \n / m");
    }

    #[test]
    fn places_that_are_not_safe_are_refused() {
        assert_eq!(faults("{{plan}}_total").len(), 1);
        assert_eq!(faults("m{a=`{{plan}}`}").len(), 1);
        assert_eq!(faults("m{a=\"{{nobody}}\"}"), ["no argument is called `nobody`"]);
        assert_eq!(faults("m{a=\"x}"), ["a quote (\") is not closed"]);
        assert_eq!(faults("m{a=\"{{plan\"}"), ["a placeholder is not closed"]);
        let (query, _) = Query::parse("m[{{w}}]", &["w"], Language::PromQl);
        for (value, fits) in [("2m", true), ("0.25", true), ("inf", false), ("1m]) or x", false)] {
            assert_eq!(query.misfit("w", value).is_none(), fits, "{value}");
        }
        let (query, _) = Query::parse("avg:m{a:{{w}}}", &["w"], Language::Datadog);
        assert!(query.misfit("w", "a-b").is_none());
        assert!(query.misfit("w", "a,b:*").unwrap().0.starts_with("Datadog's query language"));
    }
}
