use super::*;

/// The query with every placeholder replaced by the value, and where they stood.
fn filled(language: Language, query: &str, value: &str) -> (String, Vec<Place>) {
    let mut places = Vec::new();
    let mut text = String::new();
    for piece in language.parse(query).pieces {
        match piece {
            Piece::Text(plain) => text.push_str(plain),
            Piece::Slot(_, place) => {
                text.push_str(&language.fill(place, value).0);
                places.push(place);
            }
        }
    }
    (text, places)
}

const HOSTILE: &str = "a\"'`\\${x}\n{b},*)]#/../ -- ";

#[test]
fn no_value_breaks_out_of_its_place() {
    use Language::*;
    let cases = [
        (PromQl, r#"m{a="{{v}}"}"#, r#"m{a="a\"'`\\${x}\n{b},*)]#/../ -- "}"#),
        (PromQl, "m{a='{{v}}'}", r#"m{a='a"\'`\\${x}\n{b},*)]#/../ -- '}"#),
        (Datadog, "avg:m{service:{{v}}}", "avg:m{service:a______x___b______/../_--_}"),
        (CloudWatch, "WHERE a = '{{v}}'", "WHERE a = 'a______x___b______/../_--_'"),
        (Flux, r#"r.a == "{{v}}""#, r#"r.a == "a\"'`\\\x24{x}\n{b},*)]#/../ -- ""#),
        (InfluxQl, "a = '{{v}}'", r"a = 'a\u{22}\'`\\${x}\n{b},*)]#/../ -- '"),
        (Graphite, "stats.{{v}}.n", "stats.a______x___b___________--_.n"),
        (Graphite, "seriesByTag('a={{v}}')", "seriesByTag('a=a____${x}_{b},*)]#/../ -- ')"),
        (Nrql, "a = '{{v}}'", "a = 'a____${x}_{b},*)]#/../ -- '"),
        (Url, "/x/{{v}}", "/x/a%22%27%60%5C%24%7Bx%7D%0A%7Bb%7D%2C%2A%29%5D%23%2F..%2F%20--%20"),
    ];
    for (language, query, expected) in cases {
        let expected = expected.replace(r"\u{22}", "\"");
        let (text, places) = filled(language, query, HOSTILE);
        assert_eq!(text, expected, "{language:?}");
        // What was put in is still one piece of the query: nothing of it opened or closed anything.
        let again = text.replacen(&language.fill(places[0], HOSTILE).0, "{{v}}", 1);
        assert_eq!(again, query, "{language:?}");
        let (plain, _) = filled(language, query, "plain");
        let shape = |text: &str| language.parse(text).open;
        assert_eq!(shape(&text), shape(&plain), "{language:?}");
    }
}

#[test]
fn usual_names_stay_what_they_are() {
    use Language::*;
    for (language, place) in [
        (PromQl, Place::Quoted('"')),
        (Datadog, Place::Name),
        (CloudWatch, Place::Quoted('\'')),
        (Flux, Place::Quoted('"')),
        (InfluxQl, Place::Quoted('\'')),
        (Graphite, Place::Quoted('\'')),
        (Nrql, Place::Quoted('\'')),
    ] {
        for value in ["checkout", "eu-west-1", "2.14.0", "sha256:9f2c", "a_b"] {
            assert_eq!(language.fill(place, value), (value.into(), true), "{language:?}");
        }
    }
    assert_eq!(Graphite.fill(Place::Name, "2.14.0"), ("2_14_0".into(), false));
    assert_eq!(Url.fill(Place::Name, "a b&c"), ("a%20b%26c".into(), true));
    for dots in [".", "..", "..."] {
        assert_eq!(Url.fill(Place::Name, dots), ("_".repeat(dots.len()), false));
    }
    // Datadog knows a tag in lower case only, however it was sent.
    assert_eq!(Datadog.fill(Place::Name, "IE"), ("ie".into(), true));
}

#[test]
fn where_a_placeholder_stands() {
    use Language::*;
    let place = |language: Language, query: &str| {
        let parsed = language.parse(query);
        parsed.pieces.into_iter().find_map(|piece| match piece {
            Piece::Slot(_, place) => Some(place),
            Piece::Text(_) => None,
        })
    };
    for (language, query, expected) in [
        (PromQl, "m[{{v}}]", Place::Bare),
        (PromQl, "m{a=\"\\\"{{v}}\"}", Place::Quoted('"')),
        (Datadog, "avg:m{*}.rollup(sum, {{v}})", Place::Bare),
        (Datadog, "avg:{{v}}{*}", Place::Bare),
        (Datadog, "avg:m{env:x,service:{{v}}} by {host}", Place::Name),
        (Flux, "range(start: -{{v}})", Place::Bare),
        (Flux, "a / 2 |> f(x: \"{{v}}\")", Place::Quoted('"')),
        (Flux, "r.a =~ /\"/ and r.b == \"{{v}}\"", Place::Quoted('"')),
        (InfluxQl, "time > now() - {{v}}", Place::Bare),
        (InfluxQl, "\"a\" =~ /'/ AND b = '{{v}}'", Place::Quoted('\'')),
        (InfluxQl, "SELECT mean(\"{{v}}\")", Place::Quoted('"')),
        (Graphite, "sumSeries(stats.{{v}}.*)", Place::Name),
        (Graphite, "sumSeries({{v}}.n)", Place::Name),
        (Graphite, "movingAverage(a.b, {{v}})", Place::Bare),
        (Graphite, "summarize(a.b, '{{v}}', 'sum')", Place::Quoted('\'')),
        (Nrql, "SINCE {{v}} AGO", Place::Bare),
        (Url, "/a/{{v}}?b=c#/d", Place::Name),
    ] {
        assert_eq!(place(language, query), Some(expected), "{language:?} {query}");
    }
    for (language, query) in [
        (PromQl, "m{a=`{{v}}`}"),
        (Datadog, "avg:m{ {{v}} }"),
        (Datadog, "avg:m{!{{v}}}"),
        (Datadog, "top(m{*}, 5, '{{v}}')"),
        (Flux, "r.a =~ /{{v}}/"),
        (Flux, "\"${r.a} {{v}}\""),
        (InfluxQl, "a =~ /{{v}}/"),
        (Nrql, "`{{v}}` = 1"),
        (Url, "/a#/b/{{v}}"),
    ] {
        let place = place(language, query);
        assert!(matches!(place, Some(Place::Never(_))), "{language:?} {query}: {place:?}");
    }
    // What is left out cannot hold a placeholder, nor confuse the quotes after it.
    for (language, query) in [
        (PromQl, "a # it's {{v}}\n + b"),
        (Flux, "a // \" {{v}}\n |> b"),
        (InfluxQl, "a -- ' {{v}}\n AND /* ' {{v}} */ b"),
        (Nrql, "a -- ' {{v}}\n AND /* ' {{v}} */ b // '"),
    ] {
        assert_eq!(place(language, query), None, "{language:?} {query}");
        assert_eq!(language.parse(query).open, None, "{language:?} {query}");
    }
}

#[test]
fn what_is_left_open() {
    assert_eq!(Language::PromQl.parse("m{a=\"x}").open, Some(Open::Quote('"')));
    assert_eq!(Language::PromQl.parse("m{a=\"{{x\"}").open, Some(Open::Placeholder));
    assert!(matches!(Language::Nrql.parse("a /* b").open, Some(Open::Other(_))));
    assert!(matches!(Language::Flux.parse("a =~ /b").open, Some(Open::Other(_))));
    for text in ["\\", "\"\\", "\"é\\é", "{{", "{{é", "/", "'", "$", "\"${"] {
        for language in [Language::PromQl, Language::Flux, Language::InfluxQl, Language::Graphite] {
            let _ = language.parse(text);
        }
    }
}

#[test]
fn lengths_of_time() {
    let minute = Span::minutes(1);
    assert_eq!(Language::PromQl.duration(minute), "60s");
    assert_eq!(Language::PromQl.duration(Span(1_500)), "1500ms");
    assert_eq!(Language::PromQl.duration(Span::ZERO), "1ms");
    assert_eq!(Language::Nrql.duration(minute), "60 seconds");
    assert_eq!(Language::Datadog.duration(Span(1_500)), "2");
    assert_eq!(Language::PromQl.plain("2m").as_deref(), Some("2m"));
    assert_eq!(Language::CloudWatch.plain("2m").as_deref(), Some("120"));
    assert_eq!(Language::Flux.plain("0.25").as_deref(), Some("0.25"));
    assert_eq!(Language::Flux.plain("inf"), None);
    assert_eq!(Language::Flux.plain("1m) |> drop()"), None);
}
