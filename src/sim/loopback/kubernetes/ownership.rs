//! Which manager owns which field: sets of fields, as `metadata.managedFields` keeps them.
//!
//! Of Kubernetes' schema only what a Deployment needs is known here: which lists are maps by a key,
//! and which values are owned whole.

use std::{collections::BTreeMap, fmt};

use serde_json::{Map, Value, json};

/// Lists that are maps: the list's name, and what tells its items apart.
const KEYED: [(&str, &[&str]); 11] = [
    ("conditions", &["type"]),
    ("containers", &["name"]),
    ("env", &["name"]),
    ("ephemeralContainers", &["name"]),
    ("hostAliases", &["ip"]),
    ("imagePullSecrets", &["name"]),
    ("initContainers", &["name"]),
    ("ownerReferences", &["uid"]),
    ("ports", &["containerPort", "protocol"]),
    ("volumeMounts", &["mountPath"]),
    ("volumes", &["name"]),
];

/// Maps that are owned whole.
const ATOMIC: [&str; 3] = ["labelSelector", "nodeSelector", "selector"];

/// One step from a value into a value inside of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// A field by its name.
    Field(String),
    /// An item of a keyed list, by its key as JSON.
    Item(String),
}

/// The way to a field.
pub(super) type Path = Vec<Step>;

/// A set of fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fields {
    own: bool,
    below: BTreeMap<Step, Fields>,
}

impl Fields {
    /// Every field that `object` gives a value, without what the server alone sets.
    pub(super) fn of(object: &Value) -> Self {
        let mut object = object.as_object().cloned().unwrap_or_default();
        for name in ["apiVersion", "kind", "status"] {
            object.remove(name);
        }
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            for name in SERVER_SET {
                metadata.remove(name);
            }
            if metadata.is_empty() {
                object.remove("metadata");
            }
        }
        let mut fields = Self::within(&Value::Object(object), "");
        fields.own = false;
        fields
    }

    fn within(value: &Value, name: &str) -> Self {
        if let Some(map) =
            value.as_object().filter(|map| !map.is_empty() && !ATOMIC.contains(&name))
        {
            let field = |(name, value): (&String, &Value)| {
                (Step::Field(name.clone()), Self::within(value, name))
            };
            return Self { own: false, below: map.iter().map(field).collect() };
        }
        if let (Some(list), Some(keys)) = (value.as_array(), keys(name)) {
            let item = |value: &Value| {
                let fields = Self { own: true, ..Self::within(value, "") };
                (Step::Item(key_of(value, keys)), fields)
            };
            return Self { own: false, below: list.iter().map(item).collect() };
        }
        Self { own: true, below: BTreeMap::new() }
    }

    /// The fields, each by its path.
    pub(super) fn paths(&self) -> Vec<Path> {
        let mut found = Vec::new();
        self.collect(&mut Vec::new(), &mut found);
        found
    }

    fn collect(&self, at: &mut Path, found: &mut Vec<Path>) {
        if self.own {
            found.push(at.clone());
        }
        for (step, fields) in &self.below {
            at.push(step.clone());
            fields.collect(at, found);
            at.pop();
        }
    }

    pub(super) fn contains(&self, path: &[Step]) -> bool {
        match path.split_first() {
            None => self.own,
            Some((step, rest)) => self.below.get(step).is_some_and(|below| below.contains(rest)),
        }
    }

    pub(super) fn insert(&mut self, path: &[Step]) {
        match path.split_first() {
            None => self.own = true,
            Some((step, rest)) => self.below.entry(step.clone()).or_default().insert(rest),
        }
    }

    pub(super) fn remove(&mut self, path: &[Step]) {
        let Some((step, rest)) = path.split_first() else {
            self.own = false;
            return;
        };
        if let Some(below) = self.below.get_mut(step) {
            below.remove(rest);
            if below.is_empty() {
                self.below.remove(step);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.own && self.below.is_empty()
    }

    fn to_json(&self) -> Value {
        let own = (self.own && !self.below.is_empty()).then(|| (".".to_owned(), json!({})));
        let below = self.below.iter().map(|(step, fields)| {
            let name = match step {
                Step::Field(name) => format!("f:{name}"),
                Step::Item(key) => format!("k:{key}"),
            };
            (name, fields.to_json())
        });
        Value::Object(own.into_iter().chain(below).collect())
    }
}

/// Metadata that no manager owns.
const SERVER_SET: [&str; 8] = [
    "creationTimestamp",
    "generation",
    "managedFields",
    "name",
    "namespace",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// One manager and what it owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Manager {
    pub(super) name: String,
    /// By server-side apply; otherwise by any other kind of write.
    pub(super) applied: bool,
    /// RFC 3339, to the second.
    pub(super) time: String,
    pub(super) fields: Fields,
}

impl Manager {
    /// How a conflict names it.
    pub(super) fn display(&self) -> String {
        let using = if self.applied { "" } else { " using apps/v1" };
        format!("\"{}\"{using}", self.name)
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "manager": self.name,
            "operation": if self.applied { "Apply" } else { "Update" },
            "apiVersion": "apps/v1",
            "time": self.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": self.fields.to_json(),
        })
    }
}

/// A path as the API's messages write it.
pub(super) struct Shown<'a>(pub(super) &'a [Step]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in self.0 {
            match step {
                Step::Field(name) => write!(f, ".{name}")?,
                Step::Item(key) => {
                    let key: Map<String, Value> = serde_json::from_str(key).unwrap_or_default();
                    let key: Vec<_> = key.iter().map(|(k, v)| format!("{k}={v}")).collect();
                    write!(f, "[{}]", key.join(","))?;
                }
            }
        }
        Ok(())
    }
}

/// By what the items of the list `name` are told apart, if they are.
pub(super) fn keys(name: &str) -> Option<&'static [&'static str]> {
    KEYED.iter().find(|(list, _)| *list == name).map(|(_, keys)| *keys)
}

/// An item's key as JSON.
pub(super) fn key_of(item: &Value, keys: &[&str]) -> String {
    let value = |key: &str| {
        let untold = key == "protocol" && item[key].is_null();
        if untold { json!("TCP") } else { item[key].clone() }
    };
    let key: Map<_, _> = keys.iter().map(|key| (key.to_string(), value(key))).collect();
    Value::Object(key).to_string()
}

/// The value at a path, if there is one.
pub(super) fn value_at<'a>(object: &'a Value, path: &[Step]) -> Option<&'a Value> {
    let mut value = object;
    let mut list = "";
    for step in path {
        match step {
            Step::Field(name) => {
                value = value.get(name)?;
                list = name;
            }
            Step::Item(key) => {
                let keys = keys(list)?;
                value = value.as_array()?.iter().find(|item| key_of(item, keys) == *key)?;
                list = "";
            }
        }
    }
    Some(value)
}

/// Takes the value at a path out.
pub(super) fn remove_at(object: &mut Value, path: &[Step]) {
    let Some((last, way)) = path.split_last() else { return };
    let mut value = object;
    let mut list = "";
    for step in way {
        let next = match step {
            Step::Field(name) => {
                list = name;
                value.get_mut(name)
            }
            Step::Item(key) => {
                let keys = keys(list).unwrap_or_default();
                list = "";
                let items = value.as_array_mut();
                items.and_then(|items| items.iter_mut().find(|i| key_of(i, keys) == *key))
            }
        };
        match next {
            Some(next) => value = next,
            None => return,
        }
    }
    match last {
        Step::Field(name) => {
            if let Some(map) = value.as_object_mut() {
                map.remove(name);
            }
        }
        Step::Item(key) => {
            let keys = keys(list).unwrap_or_default();
            if let Some(items) = value.as_array_mut() {
                items.retain(|item| key_of(item, keys) != *key);
            }
        }
    }
}
