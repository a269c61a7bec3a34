//! What a query is after. It is looked over, not evaluated.

use crate::model::time::Span;

/// Where a query names no range, rates are taken over this.
const RANGE: Span = Span::minutes(1);

/// What is asked for, of one service.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Asked {
    /// The `service` matcher's value.
    pub(super) service: String,
    /// The length of time that the figures are taken over.
    pub(super) range: Span,
    pub(super) figure: Figure,
    /// What the result is multiplied by: a rate a minute is a rate times 60.
    pub(super) times: f64,
}

/// The figures that there are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Figure {
    /// Requests of a kind, as a share of all.
    Share(Requests),
    /// Requests of a kind.
    Requests(Requests, Per),
    /// Orders.
    Orders(Per),
    /// A quantile of the requests' duration, in seconds.
    Duration(f64),
    /// How full the replicas are, from 0 to 1.
    Saturation,
    /// 1, while anything of it is scraped.
    Up,
}

/// Requests, by their code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Requests {
    All,
    Failed,
    Served,
}

/// What a count is a count of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Per {
    /// Each second of the range.
    Second,
    /// The whole range.
    Range,
}

/// Reads a query: what it is after, nothing if that is not known here, or where it is malformed.
pub(super) fn read(query: &str) -> Result<Option<Asked>, String> {
    well_formed(query)?;
    let found = selectors(query);
    let Some(first) = found.first() else { return Ok(None) };
    let Some(service) = first.label("service") else { return Ok(None) };
    let second = found
        .get(1)
        .filter(|other| other.name == first.name && query[first.end..other.begin].contains('/'));
    let per = if query.contains("increase(") { Per::Range } else { Per::Second };
    let figure = match first.name {
        "http_requests_total" | "http_request_duration_seconds_count" => match second {
            // What is subtracted from one is the other share.
            Some(_) => Some(Figure::Share(match (first.requests(), subtracted(query)) {
                (Requests::Failed, false) | (Requests::Served, true) => Requests::Failed,
                (Requests::Served, false) | (Requests::Failed, true) => Requests::Served,
                (Requests::All, _) => Requests::All,
            })),
            None => Some(Figure::Requests(first.requests(), per)),
        },
        "http_request_duration_seconds_bucket" => quantile(query).map(Figure::Duration),
        "orders_total" => Some(Figure::Orders(per)),
        "up" => Some(Figure::Up),
        name if SATURATION.contains(&name) => Some(Figure::Saturation),
        _ => None,
    };
    let times = match second {
        None => factor(&query[..first.begin], &query[first.end..]),
        Some(_) => 1.0,
    };
    Ok(figure.map(|figure| Asked {
        service: service.into(),
        range: first.range.unwrap_or(RANGE),
        figure,
        times,
    }))
}

/// Metrics that say how full something is.
const SATURATION: [&str; 4] = [
    "container_cpu_usage_seconds_total",
    "container_memory_working_set_bytes",
    "worker_pool_busy_ratio",
    "cpu_saturation_ratio",
];

/// A metric as a query names it.
struct Selector<'a> {
    name: &'a str,
    /// Where it begins and ends in the query.
    begin: usize,
    end: usize,
    matchers: Vec<(&'a str, &'a str, String)>,
    range: Option<Span>,
}

impl Selector<'_> {
    fn label(&self, name: &str) -> Option<&str> {
        let equal = self.matchers.iter().find(|(label, op, _)| *label == name && *op == "=");
        equal.map(|(_, _, value)| value.as_str())
    }

    fn requests(&self) -> Requests {
        let code = self.matchers.iter().find(|(l, ..)| ["code", "status"].contains(l));
        match code {
            Some((_, "=~" | "=", value)) if value.starts_with('5') => Requests::Failed,
            Some((_, "!~" | "!=", value)) if value.starts_with('5') => Requests::Served,
            Some((_, "=~" | "=", value)) if value.starts_with('2') => Requests::Served,
            Some(_) | None => Requests::All,
        }
    }
}

fn selectors(query: &str) -> Vec<Selector<'_>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(open) = query[at..].find('{').map(|offset| at + offset) {
        let name_at = query[..open].rfind(|c: char| !is_word(c)).map_or(0, |i| i + 1);
        let (matchers, close) = matchers(query, open + 1);
        let range = query[close..].strip_prefix('[').and_then(|rest| rest.split(']').next());
        found.push(Selector {
            name: &query[name_at..open],
            begin: name_at,
            end: close,
            matchers,
            range: range.and_then(|text| text.trim().parse().ok()),
        });
        at = close;
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

/// Reads `label op "value", …}` from `at` on, and where it ends.
fn matchers(query: &str, mut at: usize) -> (Vec<(&str, &str, String)>, usize) {
    let mut found = Vec::new();
    loop {
        let rest = &query[at..];
        let Some(quote) = rest.find(['"', '\'', '}']) else { return (found, query.len()) };
        if rest[quote..].starts_with('}') {
            return (found, at + quote + 1);
        }
        let (label, op) = rest[..quote]
            .trim_matches([',', ' ', '\n'])
            .split_at(rest[..quote].trim_matches([',', ' ', '\n']).find(['=', '!']).unwrap_or(0));
        let (value, end) = quoted(query, at + quote);
        found.push((label.trim(), op.trim(), value));
        at = end;
    }
}

/// Reads the quoted text that begins at `at`, unescaped, and where it ends.
fn quoted(query: &str, at: usize) -> (String, usize) {
    let mut chars = query[at..].char_indices();
    let quote = chars.next().map(|(_, c)| c);
    let mut value = String::new();
    while let Some((offset, c)) = chars.next() {
        match c {
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            c if Some(c) == quote => return (value, at + offset + c.len_utf8()),
            c => value.push(c),
        }
    }
    (value, query.len())
}

fn subtracted(query: &str) -> bool {
    query.trim_start().trim_start_matches('(').trim_start().starts_with("1 -")
}

fn quantile(query: &str) -> Option<f64> {
    let (_, arguments) = query.split_once("histogram_quantile(")?;
    arguments.split(',').next()?.trim().parse().ok().filter(|q| (0.0..1.0).contains(q))
}

/// The number that a rate is multiplied by, before it or behind it.
fn factor(before: &str, behind: &str) -> f64 {
    let first = before.split_once('*').and_then(|(number, _)| number.trim().parse().ok());
    let last = behind.rsplit_once('*').and_then(|(_, number)| number.trim().parse().ok());
    first.or(last).unwrap_or(1.0)
}

/// Whether it could be an expression at all: brackets and quotes closed, nothing left to fill in.
fn well_formed(query: &str) -> Result<(), String> {
    let fault = |at: usize, what: &str| Err(format!("1:{}: parse error: {what}", at + 1));
    if query.trim().is_empty() {
        return fault(0, "no expression found in input");
    }
    let mut open = Vec::new();
    let mut chars = query.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '{' if query[at..].starts_with("{{") => return fault(at + 1, "unexpected <op:{>"),
            '(' | '[' | '{' => open.push(c),
            ')' | ']' | '}' => {
                let fits = matches!(
                    (open.pop(), c),
                    (Some('('), ')') | (Some('['), ']') | (Some('{'), '}')
                );
                if !fits {
                    return fault(at, &format!("unexpected right bracket '{c}'"));
                }
            }
            '"' | '\'' | '`' => {
                let mut closed = false;
                while let Some((_, inner)) = chars.next() {
                    if inner == '\\' && c != '`' {
                        chars.next();
                    } else if inner == c {
                        closed = true;
                        break;
                    }
                }
                if !closed {
                    return fault(at, "unterminated quoted string");
                }
            }
            _ => {}
        }
    }
    match open.pop() {
        Some(bracket) => fault(query.len(), &format!("unclosed left bracket '{bracket}'")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(query: &str) -> Asked {
        read(query).unwrap().unwrap()
    }

    #[test]
    fn queries_are_recognised() {
        let ratio = r#"sum(rate(http_requests_total{service="checkout",code!~"5.."}[2m]))
            / sum(rate(http_requests_total{service="checkout"}[2m]))"#;
        let expected = Asked {
            service: "checkout".into(),
            range: Span::minutes(2),
            figure: Figure::Share(Requests::Served),
            times: 1.0,
        };
        assert_eq!(asked(ratio), expected);
        let errors = ratio.replace("!~", "=~");
        assert_eq!(asked(&errors).figure, Figure::Share(Requests::Failed));
        assert_eq!(asked(&format!("1 - {errors}")).figure, Figure::Share(Requests::Served));
        let count = r#"sum(increase(http_requests_total{service="a"}[1500ms]))"#;
        assert_eq!(asked(count).figure, Figure::Requests(Requests::All, Per::Range));
        assert_eq!(asked(count).range, Span(1_500));
        let p99 = r#"histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket{service="a"}[5m])))"#;
        assert_eq!(asked(p99).figure, Figure::Duration(0.99));
        let orders = r#"sum(rate(orders_total{service="a", region='x'}[5m])) * 60"#;
        assert_eq!(asked(orders).figure, Figure::Orders(Per::Second));
        assert_eq!(asked(orders).times, 60.0);
        assert_eq!(asked(r#"60 * sum(rate(orders_total{service="a"}[5m]))"#).times, 60.0);
    }

    #[test]
    fn what_is_not_known_is_empty_and_what_is_no_query_is_refused() {
        for unknown in ["vector(1)", "up", r#"nobody_knows{service="a"}"#, r#"up{job="a"}"#] {
            assert_eq!(read(unknown), Ok(None), "{unknown}");
        }
        for malformed in ["", " ", "sum(", "a}", "rate(x[5m)]", r#"x{a="b}"#, r#"x{a="{b"}{{c}}"#] {
            assert!(read(malformed).is_err(), "{malformed}");
        }
    }
}
