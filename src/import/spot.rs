//! A value in a file, with the way to it: so that whatever is said of it has a place.

use std::ops::Range;

use crate::declare::text::{Content, File, Node};

/// A value, where it stands, and how one gets there.
#[derive(Debug, Clone)]
pub(super) struct Spot<'a> {
    pub file: &'a File,
    node: &'a Node,
    /// The bytes that a remark about it underlines.
    pub range: Range<usize>,
    /// Such as `spec.metrics[0].interval`.
    pub path: String,
    key: Option<Range<usize>>,
}

impl<'a> Spot<'a> {
    /// A whole document.
    pub(super) fn root(file: &'a File, node: &'a Node) -> Self {
        Self { file, node, range: node.range.clone(), path: String::new(), key: None }
    }

    /// The value of a field; nothing where it is absent or says nothing.
    pub(super) fn get(&self, name: &str) -> Option<Spot<'a>> {
        self.fields().find(|(field, _)| *field == name).map(|(_, spot)| spot)
    }

    /// The value behind several fields.
    pub(super) fn at(&self, path: &[&str]) -> Option<Spot<'a>> {
        path.iter().try_fold(self.clone(), |spot, name| spot.get(name))
    }

    /// Its fields that say something, by name.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&'a str, Spot<'a>)> + use<'a> {
        let (file, path) = (self.file, self.path.clone());
        let entries = match &self.node.content {
            Content::Map(map) => Some(&map.entries),
            Content::Scalar(_) | Content::Seq(_) => None,
        };
        let spot = move |(name, entry): (&'a String, &'a crate::declare::text::Entry)| {
            let dot = if path.is_empty() { "" } else { "." };
            let node = &entry.value;
            let path = format!("{path}{dot}{name}");
            let key = Some(entry.key.clone());
            (name.as_str(), Spot { file, node, range: node.range.clone(), path, key })
        };
        entries.into_iter().flatten().map(spot).filter(|(_, spot)| !spot.is_null())
    }

    /// Its items, where it is a list.
    pub(super) fn items(&self) -> Vec<Spot<'a>> {
        let Content::Seq(items) = &self.node.content else { return Vec::new() };
        let (file, path) = (self.file, &self.path);
        let spot = |(i, node): (usize, &'a Node)| {
            let path = format!("{path}[{i}]");
            Spot { file, node, range: node.range.clone(), path, key: None }
        };
        items.iter().enumerate().map(spot).collect()
    }

    /// The items of a field that is a list.
    pub(super) fn list(&self, name: &str) -> Vec<Spot<'a>> {
        self.get(name).map(|field| field.items()).unwrap_or_default()
    }

    /// Its text, where it is a scalar.
    pub(super) fn text(&self) -> Option<&'a str> {
        self.node.scalar()
    }

    /// The text of a field that is a scalar.
    pub(super) fn word(&self, name: &str) -> Option<&'a str> {
        self.get(name)?.text()
    }

    /// The same place, with the field's name underlined in the place of its value.
    pub(super) fn as_key(&self) -> Spot<'a> {
        let mut spot = self.clone();
        spot.range = self.key.clone().unwrap_or_else(|| self.range.clone());
        spot
    }

    /// `file:line`, for a comment.
    pub(super) fn location(&self) -> String {
        let (line, _) = self.file.line(self.range.start);
        let file: String = self.file.path.chars().filter(|c| !c.is_control()).collect();
        format!("{file}:{line}")
    }

    fn is_null(&self) -> bool {
        matches!(self.text(), Some("" | "~" | "null" | "Null" | "NULL"))
    }
}
