//! Server-side apply, merge patch and strategic merge patch of one object, with their ownership.

use serde_json::Value;

use super::{
    failure::Failure,
    ownership::{Fields, Manager, Path, Shown, Step, key_of, keys, remove_at, value_at},
    store::{Kind, Stored},
};

/// A patch as it arrived.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Patch {
    pub(super) style: Style,
    pub(super) manager: String,
    /// Takes fields from other managers; for [`Style::Apply`] only.
    pub(super) force: bool,
    pub(super) body: Value,
}

/// How a patch is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Server-side apply: the body is all that the manager has an opinion on.
    Apply,
    /// RFC 7386.
    Merge,
    /// The same, with keyed lists merged by item.
    Strategic,
}

impl Patch {
    /// The intent that ringward writes under.
    pub(super) fn intent(&self) -> Option<&str> {
        self.body["metadata"]["annotations"]["ringward.dev/intent"].as_str()
    }

    /// What `live` becomes; `time` is written beside what the manager owns. An object that comes out as
    /// it was is no change.
    pub(super) fn apply(
        &self,
        kind: Kind,
        live: &Stored,
        time: &str,
    ) -> Result<(Value, Vec<Manager>), Failure> {
        self.check_preconditions(kind, &live.object)?;
        let mut body = self.body.clone();
        if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
            for name in ["creationTimestamp", "generation", "managedFields", "uid"] {
                metadata.remove(name);
            }
            metadata.remove("resourceVersion");
        }
        // The status is the controller's: this resource's patch leaves it alone, as the real one does. An
        // Application has none of its own.
        if let Some(body) = body.as_object_mut().filter(|_| kind != Kind::Application) {
            body.remove("status");
        }
        match self.style {
            Style::Apply => self.apply_configuration(live, &body, time),
            Style::Merge | Style::Strategic => Ok(self.update(live, &body, time)),
        }
    }

    fn check_preconditions(&self, kind: Kind, live: &Value) -> Result<(), Failure> {
        let (live, asked) = (&live["metadata"], &self.body["metadata"]);
        let name = live["name"].as_str().unwrap_or_default();
        let said = |field: &str| asked[field].as_str().filter(|text| !text.is_empty());
        if let Some(other) = said("name").filter(|other| *other != name) {
            return Err(Failure::bad_request(format!(
                "the name of the object ({other}) does not match the name on the URL ({name})"
            )));
        }
        let moved = |field| said(field).is_some_and(|v| Some(v) != live[field].as_str());
        if moved("resourceVersion") || moved("uid") {
            return Err(Failure::modified(kind, name));
        }
        if asked["managedFields"].as_array().is_some_and(|list| !list.is_empty())
            && self.style == Style::Apply
        {
            return Err(Failure::bad_request("metadata.managedFields must be nil"));
        }
        Ok(())
    }

    fn apply_configuration(
        &self,
        live: &Stored,
        body: &Value,
        time: &str,
    ) -> Result<(Value, Vec<Manager>), Failure> {
        let ours = |m: &Manager| m.applied && m.name == self.manager;
        let wanted = Fields::of(body);
        let mut object = (*live.object).clone();
        let mut managers = live.managers.clone();
        let mut conflicts = Vec::new();
        for path in wanted.paths().iter().filter(|path| differs(&live.object, body, path)) {
            for other in managers.iter_mut().filter(|m| !ours(m) && m.fields.contains(path)) {
                conflicts.push((other.display(), Shown(path).to_string()));
                other.fields.remove(path);
            }
        }
        if !conflicts.is_empty() && !self.force {
            return Err(Failure::owned_by_others(&conflicts));
        }
        merge(&mut object, body, "", Style::Apply);

        // What this manager applied before and leaves out now goes, unless somebody else owns it too.
        let before = managers.iter().find(|m| ours(m)).map(|m| m.fields.clone());
        let left_out = before.iter().flat_map(Fields::paths).filter(|p| !wanted.contains(p));
        for path in left_out {
            if !managers.iter().any(|m| !ours(m) && m.fields.contains(&path)) {
                remove_at(&mut object, &path);
                // What is empty then a typed object does not write.
                let mut way = path.as_slice();
                while let Some((_, above)) = way.split_last()
                    && value_at(&object, above)
                        .is_some_and(|v| v.as_object().is_some_and(|v| v.is_empty()))
                {
                    remove_at(&mut object, above);
                    way = above;
                }
            }
        }
        match managers.iter_mut().find(|m| ours(m)) {
            Some(own) if own.fields == wanted => {}
            Some(own) => (own.fields, own.time) = (wanted, time.into()),
            None => {
                let (name, time) = (self.manager.clone(), time.into());
                managers.insert(0, Manager { name, applied: true, time, fields: wanted });
            }
        }
        managers.retain(|m| !m.fields.is_empty());
        Ok((object, managers))
    }

    fn update(&self, live: &Stored, body: &Value, time: &str) -> (Value, Vec<Manager>) {
        let mut object = (*live.object).clone();
        merge(&mut object, body, "", self.style);
        let (before, after) = (Fields::of(&live.object), Fields::of(&object));
        let set: Vec<Path> =
            after.paths().into_iter().filter(|p| differs(&live.object, &object, p)).collect();
        let gone = before.paths().into_iter().filter(|p| !after.contains(p));
        let mut managers = live.managers.clone();
        for path in gone.chain(set.iter().cloned()) {
            for manager in &mut managers {
                manager.fields.remove(&path);
            }
        }
        if !set.is_empty() {
            let ours = |m: &&mut Manager| !m.applied && m.name == self.manager;
            let mut fields = Fields::default();
            match managers.iter_mut().find(ours) {
                Some(own) => {
                    set.iter().for_each(|path| own.fields.insert(path));
                    own.time = time.into();
                }
                None => {
                    set.iter().for_each(|path| fields.insert(path));
                    let (name, time) = (self.manager.clone(), time.into());
                    managers.push(Manager { name, applied: false, time, fields });
                }
            }
        }
        managers.retain(|m| !m.fields.is_empty());
        (object, managers)
    }
}

/// Whether a field's value would change.
fn differs(live: &Value, new: &Value, path: &[Step]) -> bool {
    match (value_at(live, path), value_at(new, path)) {
        // An item of a list is there or not: its fields speak for themselves. So do a map's.
        (Some(_), Some(_)) if matches!(path.last(), Some(Step::Item(_))) => false,
        (Some(live), Some(new)) if new.as_object().is_some_and(|map| map.is_empty()) => {
            !live.is_object()
        }
        (live, new) => live != new,
    }
}

/// Merges `patch` into `base`, the value of the field `name`.
pub(super) fn merge(base: &mut Value, patch: &Value, name: &str, style: Style) {
    if let Some(patch) = patch.as_object() {
        if !base.is_object() {
            *base = Value::Object(serde_json::Map::new());
        }
        let Some(base) = base.as_object_mut() else { return };
        for (name, value) in patch {
            // A strategic patch may say in which order it wants a list: order means nothing here.
            if style == Style::Strategic && name.starts_with("$setElementOrder/") {
                continue;
            }
            if value.is_null() && style != Style::Apply {
                base.remove(name);
            } else {
                merge(base.entry(name.clone()).or_insert(Value::Null), value, name, style);
            }
        }
        return;
    }
    let keyed = keys(name).filter(|_| style != Style::Merge);
    if let (Some(keys), Some(items), Some(list)) = (keyed, patch.as_array(), base.as_array_mut()) {
        for item in items {
            let key = key_of(item, keys);
            match list.iter_mut().find(|old| key_of(old, keys) == key) {
                Some(old) => merge(old, item, "", style),
                None => list.push(item.clone()),
            }
        }
        return;
    }
    *base = patch.clone();
}
