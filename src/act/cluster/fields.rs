//! Reading an object without its type: its fields by JSON pointers, its conditions, and who owns a field.

use jiff::Timestamp;
use kube::core::DynamicObject;
use serde_json::Value;

/// The text at a pointer, such as `/status/phase`.
pub(super) fn text<'a>(object: &'a DynamicObject, pointer: &str) -> Option<&'a str> {
    object.data.pointer(pointer)?.as_str()
}

/// The number at a pointer.
pub(super) fn number(object: &DynamicObject, pointer: &str) -> Option<i64> {
    object.data.pointer(pointer)?.as_i64()
}

/// Whether `true` stands at a pointer.
pub(super) fn yes(object: &DynamicObject, pointer: &str) -> bool {
    object.data.pointer(pointer) == Some(&Value::Bool(true))
}

/// The annotation of that name.
pub(super) fn annotation<'a>(object: &'a DynamicObject, name: &str) -> Option<&'a str> {
    object.metadata.annotations.as_ref()?.get(name).map(String::as_str)
}

/// A condition of a status.
#[derive(Debug, Clone, Copy)]
pub(super) struct Condition<'a>(&'a Value);

impl<'a> Condition<'a> {
    /// The object's condition of that type.
    pub(super) fn of(object: &'a DynamicObject, kind: &str) -> Option<Self> {
        let all = object.data.pointer("/status/conditions")?.as_array()?;
        all.iter().find(|condition| condition["type"] == kind).map(Self)
    }

    /// Whether it holds, does not, or nobody knows: `True`, `False` or `Unknown`.
    pub(super) fn is(self, status: &str) -> bool {
        self.0["status"] == status
    }

    /// What it says, whatever that is.
    pub(super) fn status(self) -> &'a str {
        self.0["status"].as_str().unwrap_or_default()
    }

    pub(super) fn reason(self) -> &'a str {
        self.0["reason"].as_str().unwrap_or_default()
    }

    /// Its message, or its reason where it has none.
    pub(super) fn words(self) -> String {
        let message = self.0["message"].as_str().filter(|message| !message.is_empty());
        message.unwrap_or(self.reason()).to_owned()
    }

    /// The generation that it is true of, where it says so.
    pub(super) fn observed_generation(self) -> Option<i64> {
        self.0["observedGeneration"].as_i64()
    }

    pub(super) fn last_update(self) -> Option<Timestamp> {
        self.0["lastUpdateTime"].as_str()?.parse().ok()
    }
}

/// Why an object that is being deleted has no state worth telling.
pub(super) fn deleted(object: &DynamicObject, kind: &str) -> Option<String> {
    object.metadata.deletion_timestamp.as_ref().map(|_| format!("the {kind} is being deleted"))
}

/// Whether its controller has looked at its generation; one that nobody has observed is not yet at work,
/// whatever the figures say.
pub(super) fn is_observed(object: &DynamicObject) -> bool {
    let observed = number(object, "/status/observedGeneration").unwrap_or(0);
    observed >= object.metadata.generation.unwrap_or(i64::MAX)
}

/// The managers that own the field at a path, such as `["spec", "images"]`. A step `{"name":"app"}` is an
/// item of a keyed list.
pub(super) fn owners<'a>(object: &'a DynamicObject, path: &[&str]) -> Vec<&'a str> {
    let entries = object.metadata.managed_fields.iter().flatten();
    let owns = entries.filter(|entry| {
        entry.subresource.as_deref().unwrap_or_default().is_empty()
            && entry.fields_v1.as_ref().is_some_and(|fields| contains(&fields.0, path))
    });
    owns.filter_map(|entry| entry.manager.as_deref()).collect()
}

/// Whether a set of fields has the field at a path as a whole: nothing of it is told apart.
fn contains(set: &Value, path: &[&str]) -> bool {
    match path.split_first() {
        None => set.as_object().is_some_and(|set| set.keys().all(|key| key == ".")),
        Some((step, rest)) => {
            let prefix = if step.starts_with('{') { "k:" } else { "f:" };
            set.get(format!("{prefix}{step}")).is_some_and(|below| contains(below, rest))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whoever_owns_a_field_is_found_by_its_path() {
        let object: DynamicObject = serde_json::from_value(json!({"metadata": {"managedFields": [
            {"manager": "helm", "operation": "Apply", "fieldsV1": {"f:spec": {"f:images": {}}}},
            {"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:spec": {"f:containers": {
                "k:{\"name\":\"app\"}": {".": {}, "f:image": {}}}}}},
            {"manager": "ringward", "operation": "Update", "fieldsV1": {"f:spec": {"f:images": {}}}},
            {"manager": "controller", "operation": "Update", "subresource": "status",
                "fieldsV1": {"f:spec": {"f:images": {}}}},
        ]}}))
        .unwrap();
        assert_eq!(owners(&object, &["spec", "images"]), ["helm", "ringward"]);
        let image = ["spec", "containers", r#"{"name":"app"}"#, "image"];
        assert_eq!(owners(&object, &image), ["kubectl"]);
        assert!(owners(&object, &["spec", "containers"]).is_empty(), "not as a whole");
    }
}
