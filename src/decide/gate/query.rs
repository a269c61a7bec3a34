//! Puts what the scheduler knows into a gate's query.

use crate::{
    ids::{ClusterName, Jurisdiction, PlanName, Region, RingName, Version},
    model::{
        language::{Language, Piece},
        query::Query,
        time::Span,
    },
};

/// What the built-in placeholders of a query stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vars<'a> {
    /// `{{plan}}`
    pub plan: &'a PlanName,
    /// `{{ring}}`
    pub ring: &'a RingName,
    /// `{{cluster}}`
    pub cluster: &'a ClusterName,
    /// `{{region}}`
    pub region: &'a Region,
    /// `{{jurisdiction}}`
    pub jurisdiction: &'a Jurisdiction,
    /// `{{version}}`
    pub version: &'a Version,
    /// `{{digest}}`; empty where the artifact is not pinned.
    pub digest: &'a str,
    /// `{{namespace}}`, the target's.
    pub namespace: &'a str,
    /// `{{target}}`, its name.
    pub target: &'a str,
    /// `{{interval}}`: the time since the last measurement.
    pub interval: Span,
}

/// `query` with each built-in placeholder replaced, once: what a value contains is never read as a
/// placeholder again. A value stays one, whatever it contains: how, is the language's to know.
/// `{{interval}}` is a duration. Anything else in braces stays as it is, and the provider will refuse it.
///
/// A value is not escaped as a regular expression.
pub fn render(query: &Query, language: Language, vars: &Vars<'_>) -> String {
    // Most values are longer than their placeholders.
    let mut out = String::with_capacity(query.len() * 3 / 2);
    query.pieces(language, |piece| match piece {
        Piece::Text(text) => out.push_str(text),
        Piece::Slot(written, place) => match value(written.trim(), vars) {
            Some(Value::Name(name)) => language.put(place, name, &mut out),
            Some(Value::Duration(span)) => out.push_str(&language.duration(span)),
            None => out.extend(["{{", written, "}}"]),
        },
    });
    out
}

/// `text` with each built-in placeholder replaced, once, and nothing escaped: for what is compared, and
/// is no query.
pub fn plain(text: &str, vars: &Vars<'_>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, (written, after))) =
        rest.split_once("{{").and_then(|(before, open)| Some((before, open.split_once("}}")?)))
    {
        out.push_str(before);
        match value(written.trim(), vars) {
            Some(Value::Name(name)) => out.push_str(name),
            Some(Value::Duration(span)) => out.push_str(&span.to_string()),
            None => out.extend(["{{", written, "}}"]),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

enum Value<'v> {
    /// A name that somebody chose.
    Name(&'v str),
    Duration(Span),
}

fn value<'v>(name: &str, vars: &Vars<'v>) -> Option<Value<'v>> {
    Some(Value::Name(match name {
        "plan" => vars.plan.as_str(),
        "ring" => vars.ring.as_str(),
        "cluster" => vars.cluster.as_str(),
        "region" => vars.region.as_str(),
        "jurisdiction" => vars.jurisdiction.as_str(),
        "version" => vars.version.as_str(),
        "digest" => vars.digest,
        "namespace" => vars.namespace,
        "target" => vars.target,
        "interval" => return Some(Value::Duration(vars.interval)),
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of a measurement.
    struct Names(PlanName, RingName, ClusterName, Region, Jurisdiction, Version);

    impl Names {
        fn of(plan: &str) -> Self {
            let ring = "eu-west".into();
            Self(
                plan.into(),
                ring,
                "eu-west-1".into(),
                "eu-west-1".into(),
                "IE".into(),
                "2.14.0".into(),
            )
        }

        fn vars(&self) -> Vars<'_> {
            let Names(plan, ring, cluster, region, jurisdiction, version) = self;
            Vars {
                plan,
                ring,
                cluster,
                region,
                jurisdiction,
                version,
                digest: "sha256:9f2c",
                namespace: "shop",
                target: "checkout-api",
                interval: Span::minutes(1),
            }
        }
    }

    fn render(query: &str, language: Language, vars: &Vars<'_>) -> String {
        super::render(&query.into(), language, vars)
    }

    const PROMQL: Language = Language::PromQl;

    #[test]
    fn every_placeholder_has_its_value() {
        let checkout = Names::of("checkout");
        let vars = checkout.vars();
        let names = crate::model::policy::BUILT_IN;
        let query: String = names.iter().map(|n| format!("\"{{{{{n}}}}}\" ")).collect();
        let expected = [
            "checkout",
            "eu-west",
            "eu-west-1",
            "eu-west-1",
            "IE",
            "2.14.0",
            "sha256:9f2c",
            "shop",
            "checkout-api",
            "60s",
        ];
        let expected: String = expected.iter().map(|value| format!("\"{value}\" ")).collect();
        assert_eq!(render(&query, PROMQL, &vars), expected);
        let query = r#"sum(rate(x{plan="{{ plan }}"}[{{interval}}]))"#;
        assert_eq!(render(query, PROMQL, &vars), r#"sum(rate(x{plan="checkout"}[60s]))"#);
        let odd = Vars { interval: Span(1_500), ..vars };
        assert_eq!(render("[{{interval}}]", PROMQL, &odd), "[1500ms]");
    }

    #[test]
    fn no_value_ends_the_string_that_it_stands_in() {
        let hostile = Names::of("a\"} or vector(1)\\\n'`{{ring}}");
        let hostile = hostile.vars();
        assert_eq!(
            render(r#"x{plan="{{plan}}"}"#, PROMQL, &hostile),
            r#"x{plan="a\"} or vector(1)\\\n'`{{ring}}"}"#
        );
        assert_eq!(render("x[{{plan}}]", PROMQL, &hostile), "x[_]");
        let path = render("stats.{{plan}}.n", Language::Graphite, &hostile);
        assert_eq!(path, "stats.a___or_vector_1_______ring__.n");
    }

    #[test]
    fn what_is_not_known_stays() {
        let checkout = Names::of("checkout");
        let vars = checkout.vars();
        for query in ["{{unknown}}", "x{a=\"b\"}", "{{", "{{plan", "}}", "", "{{{"] {
            assert_eq!(render(query, PROMQL, &vars), query);
        }
        assert_eq!(render("{{nope}}\"{{plan}}\"", PROMQL, &vars), "{{nope}}\"checkout\"");
        assert_eq!(render("\"é{{plan}}é\"", PROMQL, &vars), "\"écheckouté\"");
    }
}
