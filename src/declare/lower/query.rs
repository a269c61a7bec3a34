//! Placeholders in queries: where they stand decides what may be put there.
//!
//! A value goes into a query only as the content of a quoted string, escaped, or as a duration or a
//! number. So no argument, and no name of a plan or a version, can become a part of the query itself.

use std::collections::BTreeMap;

use crate::{
    declare::nearest,
    model::{policy::BUILT_IN, time::Span},
};

/// A query, cut at the arguments that are filled in when a gate is lowered.
#[derive(Debug)]
pub(super) struct Query {
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    /// As it is; built-in placeholders stay open in it.
    Text(String),
    /// An argument, and the quote that it stands in.
    Argument { name: String, quote: Option<char> },
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
    pub(super) fn parse(text: &str, arguments: &[&str]) -> (Self, Vec<Fault>) {
        let mut faults = Vec::new();
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut quote = None;
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            if let Some(inner) = rest.strip_prefix("{{") {
                let Some((written, after)) = inner.split_once("}}") else {
                    faults.push(Fault {
                        part: "{{".into(),
                        message: "a placeholder is not closed".into(),
                        help: "close it with }}".into(),
                    });
                    break;
                };
                rest = after;
                let name = written.trim();
                match check(name, written, quote, arguments) {
                    Err(fault) => faults.push(fault),
                    Ok(Slot::BuiltIn) => {
                        plain.push_str("{{");
                        plain.push_str(name);
                        plain.push_str("}}");
                    }
                    Ok(Slot::Argument) => {
                        parts.push(Part::Text(std::mem::take(&mut plain)));
                        parts.push(Part::Argument { name: name.into(), quote });
                    }
                }
                continue;
            }
            let mut taken = c.len_utf8();
            match (quote, c) {
                (None, '#') => {
                    rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
                    continue;
                }
                (None, '"' | '\'' | '`') => quote = Some(c),
                (Some(open), _) if open == c => quote = None,
                (Some('"' | '\''), '\\') => {
                    taken += rest[taken..].chars().next().map_or(0, char::len_utf8);
                }
                (_, _) => {}
            }
            plain.push_str(&rest[..taken]);
            rest = &rest[taken..];
        }
        parts.push(Part::Text(plain));
        if let Some(quote) = quote.filter(|_| faults.is_empty()) {
            let message = format!("a quote ({quote}) is not closed");
            let help = "close it, so that it is certain what stands inside of quotes".into();
            faults.push(Fault { part: String::new(), message, help });
        }
        (Query { parts }, faults)
    }

    /// Whether the argument stands outside of quotes anywhere, and so must be a duration or a number.
    pub(super) fn is_bare(&self, argument: &str) -> bool {
        self.parts.iter().any(|p| match p {
            Part::Argument { name, quote: None } => name == argument,
            Part::Argument { .. } | Part::Text(_) => false,
        })
    }

    /// The query with the arguments' values put in; those without a value leave nothing.
    pub(super) fn render(&self, values: &BTreeMap<&str, &str>) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Argument { name, quote } => {
                    let value = values.get(name.as_str()).copied().unwrap_or_default();
                    match quote {
                        None => text.push_str(value),
                        Some(quote) => escape(value, *quote, &mut text),
                    }
                }
            }
        }
        text.trim_end().to_owned()
    }
}

/// Whether a value may stand outside of quotes.
pub(super) fn is_plain(value: &str) -> bool {
    let number = || value.parse::<f64>().is_ok_and(f64::is_finite);
    value.parse::<Span>().is_ok() || number()
}

fn escape(value: &str, quote: char, text: &mut String) {
    for c in value.chars() {
        match c {
            '\n' => text.push_str("\\n"),
            '\\' => text.push_str("\\\\"),
            c if c == quote => text.extend(['\\', c]),
            c => text.push(c),
        }
    }
}

enum Slot {
    BuiltIn,
    Argument,
}

fn check(
    name: &str,
    written: &str,
    quote: Option<char>,
    arguments: &[&str],
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
    if quote == Some('`') {
        let message =
            format!("`{{{{{name}}}}}` stands in backquotes, where nothing can be escaped");
        let help = "put the string in double quotes".into();
        return Err(Fault { part, message, help });
    }
    // A duration by construction; every other built-in is a name that somebody chose.
    if matches!(slot, Slot::BuiltIn) && quote.is_none() && name != "interval" {
        let message = format!("`{{{{{name}}}}}` stands outside of quotes");
        let help = "use it as a quoted label value, such as service=\"{{plan}}\"".into();
        return Err(Fault { part, message, help });
    }
    Ok(slot)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(text: &str, values: &[(&str, &str)]) -> String {
        let names: Vec<_> = values.iter().map(|(name, _)| *name).collect();
        let (query, faults) = Query::parse(text, &names);
        assert_eq!(faults, []);
        query.render(&values.iter().copied().collect())
    }

    fn faults(text: &str) -> Vec<String> {
        Query::parse(text, &["window"]).1.into_iter().map(|f| f.message).collect()
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
        assert!(is_plain("2m") && is_plain("0.25") && !is_plain("inf") && !is_plain("1m]) or x"));
    }
}
