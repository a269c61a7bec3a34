//! Values that are written out: as YAML as people write it, with comments, and as JSON.

use std::fmt::Write as _;

use crate::model::time::Span;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tree {
    /// Text.
    Text(String),
    /// Lines, which are written one below the other.
    Lines(String),
    /// A number.
    Number(f64),
    /// A truth value.
    Bool(bool),
    /// Values.
    List(Vec<Tree>),
    /// Fields in their order.
    Map(Map),
}

/// Fields in their order.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Map {
    fields: Vec<(String, Tree, String)>,
    on_a_line: bool,
}

/// No fields yet.
pub(super) fn map() -> Map {
    Map::default()
}

impl Map {
    /// With one more field.
    pub(super) fn with(mut self, name: &str, value: impl Into<Tree>) -> Self {
        self.fields.push((name.into(), value.into(), String::new()));
        self
    }

    /// With one more field, where there is a value.
    pub(super) fn maybe(self, name: &str, value: Option<impl Into<Tree>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// A comment behind the last field.
    pub(super) fn noting(mut self, comment: &str) -> Self {
        if let Some((_, _, noted)) = self.fields.last_mut() {
            *noted = comment.into();
        }
        self
    }

    /// All on one line, in braces.
    pub(super) fn on_a_line(mut self) -> Tree {
        self.on_a_line = true;
        Tree::Map(self)
    }
}

impl From<Map> for Tree {
    fn from(map: Map) -> Self {
        Tree::Map(map)
    }
}

impl From<Span> for Tree {
    fn from(span: Span) -> Self {
        Tree::Text(span.to_string())
    }
}

impl From<u32> for Tree {
    fn from(number: u32) -> Self {
        Tree::Number(number.into())
    }
}

impl Map {
    fn yaml(&self, indent: usize, out: &mut String) {
        for (name, value, note) in &self.fields {
            let _ = write!(out, "{:indent$}{}:", "", plain(name));
            value.after_key(indent, note, out);
        }
    }
}

impl Tree {
    /// Text.
    pub(super) fn text(text: impl Into<String>) -> Self {
        Tree::Text(text.into())
    }

    /// As a document.
    pub(super) fn yaml(&self) -> String {
        let mut out = String::new();
        match self {
            Tree::Map(map) => map.yaml(0, &mut out),
            Tree::Text(_) | Tree::Lines(_) | Tree::Number(_) | Tree::Bool(_) | Tree::List(_) => {
                out = self.inline() + "\n";
            }
        }
        out
    }

    /// As a JSON value.
    pub(super) fn json(&self) -> serde_json::Value {
        use serde_json::Value;
        match self {
            Tree::Text(text) | Tree::Lines(text) => Value::from(text.as_str()),
            Tree::Number(number) if number.fract() == 0.0 && number.abs() < 1e15 => {
                Value::from(*number as i64)
            }
            Tree::Number(number) => Value::from(*number),
            Tree::Bool(bool) => Value::from(*bool),
            Tree::List(items) => items.iter().map(Tree::json).collect(),
            Tree::Map(map) => {
                map.fields.iter().map(|(name, value, _)| (name.clone(), value.json())).collect()
            }
        }
    }

    fn after_key(&self, indent: usize, note: &str, out: &mut String) {
        let note = if note.is_empty() { String::new() } else { format!("  # {}", comment(note)) };
        match self {
            Tree::Map(map) if !map.on_a_line && !map.fields.is_empty() => {
                let _ = writeln!(out, "{note}");
                map.yaml(indent + 2, out);
            }
            Tree::List(items) if items.iter().any(|item| matches!(item, Tree::Map(_))) => {
                let _ = writeln!(out, "{note}");
                for item in items {
                    item.as_item(indent + 2, out);
                }
            }
            Tree::Lines(lines) if can_stand(lines) => {
                let _ = writeln!(out, " |{note}");
                for line in lines.lines() {
                    match line {
                        "" => out.push('\n'),
                        line => {
                            let _ = writeln!(out, "{:1$}{line}", "", indent + 2);
                        }
                    }
                }
            }
            Tree::Text(_)
            | Tree::Lines(_)
            | Tree::Number(_)
            | Tree::Bool(_)
            | Tree::List(_)
            | Tree::Map(_) => {
                let _ = writeln!(out, " {}{note}", self.inline());
            }
        }
    }

    fn as_item(&self, indent: usize, out: &mut String) {
        match self {
            Tree::Map(map) if !map.on_a_line && !map.fields.is_empty() => {
                let mut fields = String::new();
                map.yaml(indent + 2, &mut fields);
                // The first field stands behind the hyphen.
                let _ = write!(out, "{:indent$}- {}", "", &fields[indent + 2..]);
            }
            Tree::Text(_)
            | Tree::Lines(_)
            | Tree::Number(_)
            | Tree::Bool(_)
            | Tree::List(_)
            | Tree::Map(_) => {
                let _ = writeln!(out, "{:indent$}- {}", "", self.inline());
            }
        }
    }

    fn inline(&self) -> String {
        match self {
            Tree::Text(text) | Tree::Lines(text) => plain(text),
            Tree::Number(number)
                if number.abs() >= 1e15 || number.abs() < 1e-5 && *number != 0.0 =>
            {
                format!("{number:e}")
            }
            Tree::Number(number) => number.to_string(),
            Tree::Bool(bool) => bool.to_string(),
            Tree::List(items) => {
                let items: Vec<_> = items.iter().map(Tree::inline).collect();
                format!("[{}]", items.join(", "))
            }
            Tree::Map(map) => {
                let fields = map
                    .fields
                    .iter()
                    .map(|(name, value, _)| format!("{}: {}", plain(name), value.inline()));
                format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// Text as a comment can hold it: what would end the line, and everything behind it, ends nothing.
pub(super) fn comment(text: &str) -> String {
    let odd = |c: char| c.is_control() || "\u{2028}\u{2029}\u{feff}\u{fffe}\u{ffff}".contains(c);
    text.chars().map(|c| if odd(c) { '\u{fffd}' } else { c }).collect()
}

/// Whether lines can stand as they are: nothing in them is anything else to YAML.
fn can_stand(lines: &str) -> bool {
    !lines.trim().is_empty()
        && !lines.starts_with([' ', '\n'])
        && lines.chars().all(|c| {
            c == '\n' || !c.is_control() && c != '\u{2028}' && c != '\u{2029}' && c != '\u{feff}'
        })
}

/// Text without quotes where it can only be text, and else in quotes.
fn plain(text: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_./-".contains(c);
    let percent = text.strip_suffix('%').is_some_and(|n| n.parse::<u32>().is_ok());
    let starts_with_letter = text.starts_with(|c: char| c.is_ascii_alphabetic());
    let word = starts_with_letter && text.chars().all(fits) && !is_another(text);
    if word || percent || text.parse::<Span>().is_ok() {
        return text.to_owned();
    }
    quoted(text)
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            c if c.is_control() || "\u{2028}\u{2029}\u{feff}\u{fffe}\u{ffff}".contains(c) => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Whether YAML, of one version or another, takes it for something else than text.
fn is_another(text: &str) -> bool {
    let words = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"];
    words.contains(&text.to_ascii_lowercase().as_str()) || text.parse::<f64>().is_ok()
}

/// Lines without what they are all indented by, and without blanks at their ends.
pub(super) fn lines(text: &str) -> Tree {
    let ends: Vec<&str> = text.lines().map(str::trim_end).collect();
    let by = ends
        .iter()
        .filter(|line| !line.is_empty())
        .map(|line| line.len() - line.trim_start_matches([' ', '\t']).len())
        .min();
    let cut = |line: &&str| line.get(by.unwrap_or(0)..).unwrap_or_default().to_owned();
    let cut: Vec<String> = ends.iter().map(cut).collect();
    let first = cut.iter().position(|line| !line.is_empty()).unwrap_or(0);
    let last = cut.iter().rposition(|line| !line.is_empty()).map_or(first, |last| last + 1);
    // What stands further in on the first line would be taken for the indentation of all.
    let text = cut[first.min(cut.len())..last.min(cut.len())].join("\n");
    Tree::Lines(text.trim_start_matches([' ', '\t']).to_owned() + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for text in [
            "a",
            "no",
            "1.5",
            "90s",
            "25%",
            "a: b",
            "- x",
            "",
            "ümlaut",
            "\u{1}",
            "0x10",
            "2026-01-01",
            "Y",
            "~",
            "1e5",
            "inf",
            "a.b/c-d",
            "#x",
            "{{x}}",
        ] {
            let tree: Tree = map().with("v", Tree::text(text)).noting("with a note").into();
            let back: serde_yaml::Value = serde_yaml::from_str(&tree.yaml()).unwrap();
            assert_eq!(back["v"].as_str(), Some(text), "{}", tree.yaml());
        }
        for number in [0.0, 1.0, -2.5, 0.95_f64.next_up(), 1e300, 5e-324, 123_456_789.0] {
            let tree: Tree = map().with("v", Tree::Number(number)).into();
            let back: serde_yaml::Value = serde_yaml::from_str(&tree.yaml()).unwrap();
            assert_eq!(back["v"].as_f64(), Some(number), "{}", tree.yaml());
        }
    }

    #[test]
    fn nothing_gets_out_of_a_comment() {
        let tree: Tree = map().with("a", Tree::text("b")).noting("x\nkind: y\u{2028}z\0").into();
        assert_eq!(tree.yaml(), "a: b  # x\u{fffd}kind: y\u{fffd}z\u{fffd}\n");
    }

    #[test]
    fn lines_stay_lines() {
        let tree: Tree = map().with("q", lines("\n    sum(\n      x\n\n    )  \n  ")).into();
        assert_eq!(tree.yaml(), "q: |\n  sum(\n    x\n\n  )\n");
        let tree: Tree = map().with("q", lines("a\u{1}b")).into();
        assert_eq!(tree.yaml(), "q: \"a\\u0001b\\n\"\n");
    }
}
