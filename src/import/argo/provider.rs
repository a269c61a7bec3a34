//! Where a metric is measured, and by which query.

use super::super::{remark::Remarks, spot::Spot};
use crate::declare::schema::Provider;

/// A measurement as its provider takes it.
pub(super) struct Asked {
    pub provider: Provider,
    pub query: String,
    /// What has to be declared on each cluster so that it is measured there.
    pub source: String,
}

/// Why a provider's measurement cannot be a gate, and what to do.
pub(super) struct Refused {
    pub message: String,
    pub help: &'static str,
}

/// Reads the provider of a metric.
///
/// # Errors
/// There is none, or it is one that no gate is measured by.
pub(super) fn read(metric: &Spot<'_>, remarks: &mut Remarks) -> Result<Asked, Refused> {
    let refused = |message: String, help| Err(Refused { message, help });
    let provider = metric.get("provider");
    let Some((name, at)) = provider.and_then(|provider| provider.fields().next()) else {
        return refused("it has no provider".into(), "say where it is measured, under provider");
    };
    let (provider, known): (Provider, &[&str]) = match name {
        "prometheus" => (Provider::Prometheus, &["address", "query", "timeout"]),
        "datadog" => (Provider::Datadog, &["query", "apiVersion"]),
        "newRelic" => (Provider::NewRelic, &["query"]),
        "influxdb" => (Provider::InfluxDb, &["query"]),
        "graphite" => (Provider::Graphite, &["address", "query"]),
        "web" => (Provider::Json, &["url", "jsonPath", "timeoutSeconds", "method"]),
        other => return refused(format!("no gate is measured by `{other}`"), instead(other)),
    };
    for part in ["rangeQuery", "queries", "formula", "aggregator", "body", "jsonBody"] {
        if at.get(part).is_some() {
            let help = "ask for one number by one query";
            return refused(format!("it asks by `{part}`"), help);
        }
    }
    remarks.others(&at, known);
    if provider == Provider::Json {
        return web(&at);
    }
    match at.word("query") {
        Some(query) => {
            Ok(Asked { provider, query: query.to_owned(), source: source(provider, &at) })
        }
        None => refused("it has no query".into(), "say what is asked, under query"),
    }
}

/// What has to be declared on each cluster so that a gate is measured there.
fn source(provider: Provider, at: &Spot<'_>) -> String {
    let url = if provider == Provider::Json {
        at.word("url").map(|url| cut(url).0)
    } else {
        at.word("address")
    };
    declaration(provider, url)
}

/// A metric source as a Cluster declares it, in words.
pub(in crate::import) fn declaration(provider: Provider, url: Option<&str>) -> String {
    let kind = crate::declare::schema::word(&provider);
    let url = url.filter(|url| !url.contains("{{")).unwrap_or("...");
    format!(
        "declare it in each Cluster, as in metrics: [{{name: {kind}, type: {kind}, url: \"{url}\"}}]; \
         credentials are the server's settings"
    )
}

fn instead(provider: &str) -> &'static str {
    match provider {
        "job" => "serve its verdict by a metric source of type webhook, and judge by `webhook`",
        "kayenta" => {
            "judge by `mannWhitney`, which is Kayenta's test, with a template of its query"
        }
        "cloudWatch" => {
            "write the query as CloudWatch's metric math, with a source of type cloudwatch"
        }
        _ => "measure it by one of prometheus, datadog, newRelic, influxdb, graphite or web",
    }
}

/// A URL and a JSON path, as a path beneath the source and a JSON pointer.
fn web(at: &Spot<'_>) -> Result<Asked, Refused> {
    let refused = |message: String, help| Err(Refused { message, help });
    if at.word("method").is_some_and(|method| method != "GET") {
        return refused("it asks by another method than GET".into(), "let it be asked by GET");
    }
    let Some(url) = at.word("url") else {
        return refused("it has no url".into(), "say what is asked, under url");
    };
    let path = at.word("jsonPath").unwrap_or_default();
    let Some(pointer) = pointer(path) else {
        let help = "let it lead to one number by fields and places, as in {$.data.rate}";
        return refused(format!("its jsonPath does not lead to one value: `{path}`"), help);
    };
    if url.contains('#') {
        return refused("its url has a fragment".into(), "take it away: none is sent");
    }
    let query = format!("{}#{pointer}", cut(url).1);
    Ok(Asked { provider: Provider::Json, query, source: source(Provider::Json, at) })
}

/// A URL's base, and the path with what follows it.
fn cut(url: &str) -> (&str, String) {
    let host = url.find("://").map_or(0, |scheme| scheme + 3);
    match url[host..].find(['/', '?']) {
        Some(end) if url[host + end..].starts_with('/') => {
            (&url[..host + end], url[host + end..].to_owned())
        }
        Some(end) => (&url[..host + end], format!("/{}", &url[host + end..])),
        None => (url, "/".to_owned()),
    }
}

/// `{$.data.items[0].rate}` as `/data/items/0/rate`; nothing for what selects more than one value.
fn pointer(path: &str) -> Option<String> {
    let path = path.trim();
    let path = path.strip_prefix('{').map_or(Some(path), |inner| inner.strip_suffix('}'))?;
    let mut rest = path.strip_prefix('$').unwrap_or(path);
    let mut pointer = String::new();
    while !rest.is_empty() {
        let (name, tail) = if let Some(tail) = rest.strip_prefix('.') {
            let end = tail.find(['.', '[']).unwrap_or(tail.len());
            tail.split_at(end)
        } else {
            let (index, tail) = rest.strip_prefix('[')?.split_once(']')?;
            let quoted = index.strip_prefix('\'').and_then(|name| name.strip_suffix('\''));
            match quoted {
                Some(name) => (name, tail),
                None if index.bytes().all(|b| b.is_ascii_digit()) => (index, tail),
                None => return None,
            }
        };
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || !name.chars().all(fits) {
            return None;
        }
        pointer.push('/');
        pointer.push_str(name);
        rest = tail;
    }
    Some(pointer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_pointer_where_it_leads_to_one_value() {
        for (path, expected) in [
            ("{$.data.rate}", Some("/data/rate")),
            ("$.a[0]['b-c'].d", Some("/a/0/b-c/d")),
            ("{$}", Some("")),
            ("", Some("")),
            ("{.results.ok}", Some("/results/ok")),
            ("{$..rate}", None),
            ("{$.a[*]}", None),
            ("{$.a[?(@.b>1)]}", None),
            ("{$.a[0:2]}", None),
            ("{$.a", None),
        ] {
            assert_eq!(pointer(path).as_deref(), expected, "{path}");
        }
        assert_eq!(cut("http://h:1/a?b=c"), ("http://h:1", "/a?b=c".into()));
        assert_eq!(cut("http://h?b"), ("http://h", "/?b".into()));
        assert_eq!(cut("http://h"), ("http://h", "/".into()));
    }
}
