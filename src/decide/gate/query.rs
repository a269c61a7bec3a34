//! Puts what the scheduler knows into a gate's query.

use crate::{
    ids::{ClusterName, Jurisdiction, PlanName, Region, RingName, Version},
    model::time::Span,
};

/// What the built-in placeholders of a query stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vars {
    /// `{{plan}}`
    pub plan: PlanName,
    /// `{{ring}}`
    pub ring: RingName,
    /// `{{cluster}}`
    pub cluster: ClusterName,
    /// `{{region}}`
    pub region: Region,
    /// `{{jurisdiction}}`
    pub jurisdiction: Jurisdiction,
    /// `{{version}}`
    pub version: Version,
    /// `{{digest}}`; empty where the artifact is not pinned.
    pub digest: String,
    /// `{{namespace}}`, the target's.
    pub namespace: String,
    /// `{{target}}`, its name.
    pub target: String,
    /// `{{interval}}`: the time since the last measurement.
    pub interval: Span,
}

/// `query` with each built-in placeholder replaced, once: what a value contains is never read as a
/// placeholder again. Values are escaped as the inside of a quoted PromQL string, so that none can end
/// the string that it stands in; `{{interval}}` is a duration. Anything else in braces stays as it is,
/// and the provider will refuse it.
///
/// A value is not escaped as a regular expression, nor can it be for a place outside of quotes: there a
/// template should have `{{interval}}` only.
pub fn render(query: &str, vars: &Vars) -> String {
    let mut out = String::with_capacity(query.len());
    let mut rest = query;
    while let Some(start) = rest.find("{{") {
        let (before, open) = rest.split_at(start);
        out.push_str(before);
        let known = open.find("}}").and_then(|end| {
            let value = value(open[2..end].trim(), vars)?;
            Some((value, end + 2))
        });
        match known {
            Some((value, end)) => {
                out.push_str(&value);
                rest = &open[end..];
            }
            None => {
                // One brace on, so that the placeholder inside of `{{{plan}}}` is found.
                out.push('{');
                rest = &open[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

fn value(name: &str, vars: &Vars) -> Option<String> {
    let text = match name {
        "plan" => vars.plan.as_str(),
        "ring" => vars.ring.as_str(),
        "cluster" => vars.cluster.as_str(),
        "region" => vars.region.as_str(),
        "jurisdiction" => vars.jurisdiction.as_str(),
        "version" => vars.version.as_str(),
        "digest" => &vars.digest,
        "namespace" => &vars.namespace,
        "target" => &vars.target,
        "interval" => return Some(duration(vars.interval)),
        _ => return None,
    };
    Some(escaped(text))
}

/// Ends no string, whichever quotes it has; exact in the double ones.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str(r"\\"),
            '"' => out.push_str("\\\""),
            // `\'` is a syntax error between double quotes.
            '\'' => out.push_str(r"\x27"),
            '`' => out.push_str(r"\x60"),
            '\n' => out.push_str(r"\n"),
            '\r' => out.push_str(r"\r"),
            c => out.push(c),
        }
    }
    out
}

/// In one unit, as every PromQL dialect reads it; a range must not be empty, so at least 1 ms.
fn duration(span: Span) -> String {
    let millis = span.0.max(1);
    if millis.is_multiple_of(1_000) {
        format!("{}s", millis / 1_000)
    } else {
        format!("{millis}ms")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars() -> Vars {
        Vars {
            plan: "checkout".into(),
            ring: "eu-west".into(),
            cluster: "eu-west-1".into(),
            region: "eu-west-1".into(),
            jurisdiction: "IE".into(),
            version: "2.14.0".into(),
            digest: "sha256:9f2c".into(),
            namespace: "shop".into(),
            target: "checkout-api".into(),
            interval: Span::minutes(1),
        }
    }

    #[test]
    fn every_placeholder_has_its_value() {
        let query: String =
            crate::model::policy::BUILT_IN.iter().map(|n| format!("{{{{{n}}}}} ")).collect();
        assert_eq!(
            render(&query, &vars()),
            "checkout eu-west eu-west-1 eu-west-1 IE 2.14.0 sha256:9f2c shop checkout-api 60s "
        );
        let query = r#"sum(rate(x{plan="{{ plan }}"}[{{interval}}]))"#;
        assert_eq!(render(query, &vars()), r#"sum(rate(x{plan="checkout"}[60s]))"#);
        let odd = Vars { interval: Span(1_500), ..vars() };
        assert_eq!(render("[{{interval}}]", &odd), "[1500ms]");
    }

    #[test]
    fn no_value_ends_the_string_that_it_stands_in() {
        let hostile = Vars { plan: "a\"} or vector(1)\\\n'`{{ring}}".into(), ..vars() };
        assert_eq!(
            render(r#"x{plan="{{plan}}"}"#, &hostile),
            r#"x{plan="a\"} or vector(1)\\\n\x27\x60{{ring}}"}"#
        );
    }

    #[test]
    fn what_is_not_known_stays() {
        for query in ["{{unknown}}", "x{a=\"b\"}", "{{", "{{plan", "}}", "", "{{{"] {
            assert_eq!(render(query, &vars()), query);
        }
        assert_eq!(render("{{{plan}}}", &vars()), "{checkout}");
        assert_eq!(render("{{nope}}{{plan}}", &vars()), "{{nope}}checkout");
        assert_eq!(render("é{{plan}}é", &vars()), "écheckouté");
    }
}
