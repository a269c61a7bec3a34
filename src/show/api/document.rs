//! Makes the generated document whole: what a route may answer whoever handles it, and what its parameters
//! look like.
//!
//! Handlers say what they answer themselves. What is answered before them (nobody is known, too much is
//! asked, a path that cannot be) is the same everywhere, and is said here once.

use serde_json::{Map, Value, json};

/// Parameters that have a form: where they stand, their name, and the pattern that they match.
const FORMS: &[(&str, &str, &str)] = &[
    ("path", "plan", LABEL),
    ("path", "ring", LABEL),
    ("path", "id", LABEL),
    ("path", "version", r"^[A-Za-z0-9][A-Za-z0-9._+\-]{0,99}$"),
    ("header", "Idempotency-Key", r"^[!-~]{1,128}$"),
    ("query", "order", "^(oldest|newest)$"),
    ("query", "format", "^(json|html)$"),
];

/// Parameters that are numbers: their name, the least and the most.
const RANGES: &[(&str, u64, u64)] =
    &[("limit", 1, 1_000), ("pageSize", 1, 500), ("since", 0, i64::MAX as u64)];

const LABEL: &str = r"^[a-z0-9]([a-z0-9\-]{0,61}[a-z0-9])?$";

/// The document with what is the same for all routes.
pub(super) fn whole(mut document: Value) -> Value {
    let without_need: Vec<String> = document["components"]["schemas"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, schema)| schema.get("required").is_none())
        .map(|(name, _)| format!("#/components/schemas/{name}"))
        .collect();
    let paths = document["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut());
    let operations = paths.filter_map(Value::as_object_mut).flat_map(Map::values_mut);
    for operation in operations.filter(|operation| operation["responses"].is_object()) {
        complete(operation, &without_need);
    }
    document
}

/// A body of one of `without_need` may be left out: none at all stands for `{}`.
fn complete(operation: &mut Value, without_need: &[String]) {
    let open = operation.get("security") == Some(&json!([{}]));
    let has_body = operation.get("requestBody").is_some();
    let body = "/requestBody/content/application~1json/schema/$ref";
    let body = operation.pointer(body).and_then(Value::as_str);
    if body.is_some_and(|body| without_need.iter().any(|name| name == body)) {
        operation["requestBody"]["required"] = json!(false);
    }
    let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
    let parameters = parameters.map(std::mem::take).unwrap_or_default();
    let takes = |place: &str, name: &str| {
        parameters.iter().any(|p| p["in"] == place && (name.is_empty() || p["name"] == name))
    };
    let (keyed, bound) = (takes("header", "Idempotency-Key"), takes("header", "If-Match"));
    let known = takes("header", "If-None-Match");
    let chosen = takes("path", "") || takes("query", "") || takes("header", "Last-Event-ID");
    let mut missing = Vec::new();
    if !open {
        missing.extend([
            (401, "Nobody is known by what was shown"),
            (403, "It is not theirs to do"),
            (429, "More than one caller may ask in a time"),
            (503, "It cannot be answered now; nothing was done"),
        ]);
    }
    if keyed || chosen || (has_body && !open) {
        missing.push((400, "It cannot be read"));
    }
    if bound {
        missing.push((412, "What was seen (`If-Match`) is no longer so"));
    }
    if has_body && !open {
        missing.extend([
            (408, "The body took too long"),
            (413, "The body is longer than 64 KiB"),
            (415, "The body is no JSON"),
            (422, "The body, or the key with another body, cannot be"),
        ]);
    }
    let responses = &mut operation["responses"];
    for (status, description) in missing {
        if responses.get(status.to_string()).is_none() {
            responses[status.to_string()] = problem(status, description);
        }
    }
    if known {
        responses["304"] = json!({"description": "It is as it was known", "headers": etag()});
        responses["200"]["headers"] = etag();
    }
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into_iter().map(formed).collect();
    }
}

fn problem(status: u16, description: &str) -> Value {
    let content =
        json!({"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}});
    let header = |name: &str, kind: &str| json!({name: {"schema": {"type": kind}}});
    let headers = match status {
        401 => header("WWW-Authenticate", "string"),
        429 => header("Retry-After", "integer"),
        _ => json!({}),
    };
    json!({"description": description, "headers": headers, "content": content})
}

fn etag() -> Value {
    json!({"ETag": {"description": "Strong: which state it shows", "schema": {"type": "string"}}})
}

fn formed(mut parameter: Value) -> Value {
    let form = FORMS
        .iter()
        .find(|(place, name, _)| parameter["in"] == *place && parameter["name"] == *name);
    if let Some((.., pattern)) = form {
        parameter["schema"]["pattern"] = json!(pattern);
    }
    let range =
        RANGES.iter().find(|(name, ..)| parameter["in"] == "query" && parameter["name"] == *name);
    if let Some((_, least, most)) = range {
        parameter["schema"]["minimum"] = json!(least);
        parameter["schema"]["maximum"] = json!(most);
    }
    parameter
}
