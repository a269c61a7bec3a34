//! What the samples of every kind share.

use serde_json::Value;

/// The digest that a sample runs.
pub(super) const ONE: &str =
    "sha256:1111111111111111111111111111111111111111111111111111111111111111";

/// Lays `change` over a sample: field by field, and a list as a whole.
pub(super) fn merge(into: &mut Value, change: Value) {
    match (into, change) {
        (Value::Object(into), Value::Object(change)) => {
            for (key, value) in change {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, change) => *into = change,
    }
}
