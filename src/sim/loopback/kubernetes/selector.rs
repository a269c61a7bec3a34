//! Label and field selectors, as they stand in a query.

use serde_json::Value;

use super::failure::Failure;

/// What a list or a watch is narrowed to.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Selector {
    labels: Vec<Requirement>,
    /// A pointer into the object, the value, and whether it must or must not be that.
    fields: Vec<(&'static str, String, bool)>,
}

#[derive(Debug, Clone, PartialEq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

impl Selector {
    /// Reads the query's `labelSelector` and `fieldSelector`.
    pub(super) fn new(labels: Option<&str>, fields: Option<&str>) -> Result<Self, Failure> {
        let labels = split(labels.unwrap_or_default());
        let fields = fields.unwrap_or_default().split(',').filter(|text| !text.is_empty());
        Ok(Self {
            labels: labels.iter().map(|text| requirement(text)).collect::<Result<_, _>>()?,
            fields: fields.map(field).collect::<Result<_, _>>()?,
        })
    }

    /// Whether an object is among what was asked for.
    pub(super) fn matches(&self, object: &Value) -> bool {
        let label = |key: &str| object["metadata"]["labels"][key].as_str();
        let by_label = self.labels.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => {
                label(key).is_some_and(|found| values.iter().any(|v| v == found))
            }
            Requirement::NotIn(key, values) => {
                label(key).is_none_or(|found| values.iter().all(|v| v != found))
            }
            Requirement::Exists(key) => label(key).is_some(),
            Requirement::Absent(key) => label(key).is_none(),
        });
        let by_field = self.fields.iter().all(|(pointer, value, equal)| {
            let found = object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            (found == value) == *equal
        });
        by_label && by_field
    }
}

/// Splits at the commas outside of parentheses.
fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0_u32;
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(last) = parts.last_mut() {
            last.push(c);
        }
    }
    parts.retain(|part| !part.trim().is_empty());
    parts
}

fn requirement(text: &str) -> Result<Requirement, Failure> {
    let text = text.trim();
    let refuse = || Failure::bad_request(format!("unable to parse requirement: \"{text}\""));
    let key = |text: &str| {
        let key = text.trim();
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        if key.is_empty() || !key.chars().all(fits) { Err(refuse()) } else { Ok(key.to_owned()) }
    };
    let one = |text: &str| vec![text.trim().to_owned()];
    if let Some(absent) = text.strip_prefix('!') {
        return Ok(Requirement::Absent(key(absent)?));
    }
    if let Some((left, right)) = text.split_once("!=") {
        return Ok(Requirement::NotIn(key(left)?, one(right)));
    }
    if let Some((left, right)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return Ok(Requirement::In(key(left)?, one(right)));
    }
    let Some((left, right)) = text.split_once('(') else {
        return Ok(Requirement::Exists(key(text)?));
    };
    let values = right.trim().strip_suffix(')').ok_or_else(refuse)?;
    let values = values.split(',').map(|v| v.trim().to_owned()).collect();
    match left.trim().rsplit_once(' ') {
        Some((left, "in")) => Ok(Requirement::In(key(left)?, values)),
        Some((left, "notin")) => Ok(Requirement::NotIn(key(left)?, values)),
        _ => Err(refuse()),
    }
}

fn field(text: &str) -> Result<(&'static str, String, bool), Failure> {
    let (key, value, equal) = if let Some((key, value)) = text.split_once("!=") {
        (key, value, false)
    } else if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        (key, value, true)
    } else {
        return Err(Failure::bad_request(format!(
            "invalid selector: '{text}'; can't understand '{text}'"
        )));
    };
    let pointer = match key {
        "metadata.name" => "/metadata/name",
        "metadata.namespace" => "/metadata/namespace",
        _ => {
            return Err(Failure::bad_request(format!(
                "\"{key}\" is not a known field selector: only \"metadata.name\", \
                 \"metadata.namespace\""
            )));
        }
    };
    Ok((pointer, value.to_owned(), equal))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selectors_select() {
        let object = json!({"metadata": {"name": "checkout", "namespace": "shop",
            "labels": {"app": "checkout", "tier": "web"}}});
        let matches = |labels, fields| Selector::new(labels, fields).unwrap().matches(&object);
        for yes in ["", "app=checkout", "app==checkout,tier in (web, db)", "app", "!gone", "x!=1"] {
            assert!(matches(Some(yes), None), "{yes}");
        }
        for no in ["app=other", "tier notin (web,db)", "gone", "!app", "app!=checkout"] {
            assert!(!matches(Some(no), None), "{no}");
        }
        assert!(matches(None, Some("metadata.name=checkout,metadata.namespace!=default")));
        assert!(!matches(None, Some("metadata.name=other")));
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for labels in ["a in", "a in (b", "a foo (b)", "=x", "a b"] {
            assert!(Selector::new(Some(labels), None).is_err(), "{labels}");
        }
        for fields in ["spec.replicas=3", "metadata.name"] {
            assert!(Selector::new(None, Some(fields)).is_err(), "{fields}");
        }
    }
}
