//! A cursor over the places of a document.

use crate::declare::{
    diagnostic::{Diagnostic, Rule},
    text::{Content, File, Node},
};

/// A cursor over a document's places that follows the wire types down. Where there is nothing, it
/// stays at what it was asked of, so that what is missing is reported where it should be.
#[derive(Debug, Clone, Copy)]
pub(super) struct At<'a> {
    pub file: &'a File,
    node: Option<&'a Node>,
    key: Option<(usize, usize)>,
    pub start: usize,
    pub end: usize,
}

impl<'a> At<'a> {
    pub(super) fn root(file: &'a File, node: &'a Node) -> Self {
        At { file, node: Some(node), key: None, start: node.range.start, end: node.range.end }
    }

    /// Of a document of which nothing could be read.
    pub(super) fn nowhere(file: &'a File) -> Self {
        At { file, node: None, key: None, start: 0, end: 0 }
    }

    pub(super) fn field(self, name: &str) -> Self {
        let entry = match self.node.map(|n| &n.content) {
            Some(Content::Map(map)) => map.entries.get(name),
            Some(Content::Scalar(_) | Content::Seq(_)) | None => None,
        };
        match entry {
            Some(entry) => At {
                key: Some((entry.key.start, entry.key.end)),
                ..At::root(self.file, &entry.value)
            },
            None => At { node: None, ..self.key() },
        }
    }

    pub(super) fn item(self, index: usize) -> Self {
        let item = match self.node.map(|n| &n.content) {
            Some(Content::Seq(items)) => items.get(index),
            Some(Content::Scalar(_) | Content::Map(_)) | None => None,
        };
        item.map_or(At { node: None, ..self }, |node| At::root(self.file, node))
    }

    /// The key that this is the value of.
    pub(super) fn key(self) -> Self {
        match self.key {
            Some((start, end)) => At { start, end, ..self },
            None => self,
        }
    }

    /// The first `text` inside this value, such as a placeholder in a query.
    pub(super) fn inside(self, text: &str) -> Self {
        match self.file.text.get(self.start..self.end).and_then(|t| t.find(text)) {
            Some(i) => At { start: self.start + i, end: self.start + i + text.len(), ..self },
            None => self,
        }
    }

    /// Whether the field was there and was taken out because of a problem already reported.
    pub(super) fn lost(self, name: &str) -> bool {
        match self.node.map(|n| &n.content) {
            Some(Content::Map(map)) => map.dropped.contains(name),
            Some(Content::Scalar(_) | Content::Seq(_)) | None => false,
        }
    }

    /// Whether any field was there and was taken out.
    pub(super) fn damaged(self) -> bool {
        match self.node.map(|n| &n.content) {
            Some(Content::Map(map)) => !map.dropped.is_empty(),
            Some(Content::Scalar(_) | Content::Seq(_)) | None => false,
        }
    }

    pub(super) fn problem(self, rule: Rule, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(rule, message).at(self.file, self.start..self.end)
    }

    /// `file:line`.
    pub(super) fn location(self) -> String {
        format!("{}:{}", self.file.path, self.file.line(self.start).0)
    }

    /// What must be there; reported where it is not.
    pub(super) fn require<T>(
        self,
        value: Option<T>,
        name: &str,
        problems: &mut Vec<Diagnostic>,
    ) -> Option<T> {
        if value.is_none() && !self.lost(name) {
            problems.push(self.key().problem(Rule::Sch003, format!("`{name}` is missing")));
        }
        value
    }
}
