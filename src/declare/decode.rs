//! The second pass: from YAML values to the wire types, with every problem of a document in one run.
//!
//! serde stops at the first mistake. So a value that cannot be decoded is reported, taken out of the
//! document, and the rest is decoded again; each round costs one mistake, and mistakes are few.

use serde::{Deserialize, de::DeserializeOwned};
use serde_path_to_error::Segment;
use serde_yaml::Value;

use super::{
    diagnostic::{Diagnostic, Rule},
    nearest,
    schema::Decode,
    text::{Content, Document, File, Node},
};

/// After so many mistakes in one document, the rest is not worth reading.
const MAX_PROBLEMS: usize = 100;

/// Takes a document of a kind that no source holds, such as a scenario, to its type; none where
/// anything is wrong with it, which is then among the problems.
pub fn document<T: DeserializeOwned>(
    file: &File,
    document: &mut Document,
    problems: &mut Vec<Diagnostic>,
) -> Option<T> {
    let before = problems.len();
    problems.append(&mut document.problems);
    let root = document.root.as_mut()?;
    let text = &file.text[document.range.clone()];
    let value = match serde_yaml::Deserializer::from_str(text).next().map(Value::deserialize) {
        Some(Ok(value)) => value,
        Some(Err(error)) => {
            let byte = document.range.start + error.location().map_or(0, |l| l.index());
            let problem = Diagnostic::new(Rule::Syn001, error.to_string());
            problems.push(problem.at(file, byte..byte + 1));
            return None;
        }
        None => return None,
    };
    let decoded = Peel { file, value, root, problems }.decode();
    decoded.filter(|_| problems.len() == before)
}

/// A document on its way to its wire type.
pub(super) struct Peel<'a> {
    /// The file that it stands in.
    pub file: &'a File,
    /// What is left of it.
    pub value: Value,
    /// The same, with its places; what is taken out of one is taken out of the other.
    pub root: &'a mut Node,
    /// What was wrong.
    pub problems: &'a mut Vec<Diagnostic>,
}

impl Decode for Peel<'_> {
    fn decode<T: DeserializeOwned>(&mut self) -> Option<T> {
        for _ in 0..MAX_PROBLEMS {
            let error = match serde_path_to_error::deserialize::<_, T>(&self.value) {
                Ok(decoded) => return Some(decoded),
                Err(error) => error,
            };
            let mistake = Mistake::read(&error.inner().to_string());
            let mut path: Vec<Step> = error.path().iter().filter_map(Step::of).collect();
            if let Some(field) = mistake.unknown_field() {
                // Whether the path leads to the field or to its parent is serde_path_to_error's choice.
                if path.last() != Some(&Step::Key(field.to_owned())) {
                    path.push(Step::Key(field.to_owned()));
                }
            }
            let range = place(self.root, &path, mistake.unknown_field().is_some());
            self.problems.push(mistake.report().at(self.file, range));
            if !(take_out(&mut self.value, &path) && take_out_node(self.root, &path)) {
                return None;
            }
        }
        None
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    Item(usize),
}

impl Step {
    fn of(segment: &Segment) -> Option<Step> {
        match segment {
            Segment::Map { key } => Some(Step::Key(key.clone())),
            Segment::Seq { index } => Some(Step::Item(*index)),
            Segment::Enum { .. } | Segment::Unknown => None,
        }
    }
}

fn place(root: &Node, path: &[Step], the_key: bool) -> std::ops::Range<usize> {
    let (mut node, mut range) = (root, root.range.clone());
    for step in path {
        node = match (step, &node.content) {
            (Step::Key(key), Content::Map(map)) => {
                let Some(entry) = map.entries.get(key) else { return range };
                range = if the_key { entry.key.clone() } else { entry.value.range.clone() };
                &entry.value
            }
            (Step::Item(i), Content::Seq(items)) => {
                let Some(item) = items.get(*i) else { return range };
                range = item.range.clone();
                item
            }
            (_, Content::Scalar(_) | Content::Map(_) | Content::Seq(_)) => return range,
        };
    }
    range
}

fn take_out(value: &mut Value, path: &[Step]) -> bool {
    let Some((last, parents)) = path.split_last() else { return false };
    let mut at = value;
    for step in parents {
        let next = match step {
            Step::Key(key) => at.get_mut(key.as_str()),
            Step::Item(i) => at.get_mut(*i),
        };
        let Some(next) = next else { return false };
        at = next;
    }
    match (last, at) {
        (Step::Key(key), Value::Mapping(map)) => map.remove(key.as_str()).is_some(),
        (Step::Item(i), Value::Sequence(items)) if *i < items.len() => {
            items.remove(*i);
            true
        }
        _ => false,
    }
}

fn take_out_node(root: &mut Node, path: &[Step]) -> bool {
    let Some((last, parents)) = path.split_last() else { return false };
    let mut node = root;
    for step in parents {
        let next = match (step, &mut node.content) {
            (Step::Key(key), Content::Map(map)) => map.entries.get_mut(key).map(|e| &mut e.value),
            (Step::Item(i), Content::Seq(items)) => items.get_mut(*i),
            (_, Content::Scalar(_) | Content::Map(_) | Content::Seq(_)) => None,
        };
        let Some(next) = next else { return false };
        node = next;
    }
    match (last, &mut node.content) {
        (Step::Key(key), Content::Map(map)) => {
            map.dropped.insert(key.clone());
            map.entries.remove(key).is_some()
        }
        (Step::Item(i), Content::Seq(items)) if *i < items.len() => {
            items.remove(*i);
            true
        }
        (_, Content::Scalar(_) | Content::Map(_) | Content::Seq(_)) => false,
    }
}

/// What serde says, taken apart: it hands out its errors as sentences only.
#[derive(Debug, PartialEq, Eq)]
enum Mistake {
    Field { name: String, known: Vec<String> },
    Variant { name: String, known: Vec<String> },
    Type { found: String, expected: String },
    Value { found: String, expected: String },
    Other(String),
}

impl Mistake {
    fn read(sentence: &str) -> Self {
        let quoted = |text: &str| -> Vec<String> {
            text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
        };
        let expectation = |text: &str| {
            let (found, expected) = text.rsplit_once(", expected ")?;
            let expected = match expected {
                "a string" => "text",
                "a boolean" => "true or false",
                "f64" => "a number",
                "a sequence" => "a list",
                "a map" => "fields, as in {name: value}",
                other if other.starts_with("struct ") => "fields, as in {name: value}",
                other => other,
            };
            Some((found.to_owned(), expected.to_owned()))
        };
        if let Some(rest) = sentence.strip_prefix("unknown field `")
            && let Some((name, rest)) = rest.split_once('`')
        {
            return Mistake::Field { name: name.into(), known: quoted(rest) };
        }
        if let Some(rest) = sentence.strip_prefix("unknown variant `")
            && let Some((name, rest)) = rest.split_once('`')
        {
            return Mistake::Variant { name: name.into(), known: quoted(rest) };
        }
        if let Some(rest) = sentence.strip_prefix("invalid type: ")
            && let Some((found, expected)) = expectation(rest)
        {
            return Mistake::Type { found, expected };
        }
        if let Some(rest) = sentence.strip_prefix("invalid value: ")
            && let Some((found, expected)) = expectation(rest)
        {
            return Mistake::Value { found, expected };
        }
        Mistake::Other(sentence.into())
    }

    fn unknown_field(&self) -> Option<&str> {
        match self {
            Mistake::Field { name, .. } => Some(name),
            Mistake::Variant { .. }
            | Mistake::Type { .. }
            | Mistake::Value { .. }
            | Mistake::Other(_) => None,
        }
    }

    fn report(&self) -> Diagnostic {
        match self {
            Mistake::Field { name, known } => {
                let known: Vec<_> = known.iter().map(String::as_str).collect();
                let help = match nearest(name, known.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None if known.is_empty() => "there are no fields here".to_owned(),
                    None => format!("known here: {}", known.join(", ")),
                };
                Diagnostic::new(Rule::Sch001, format!("unknown field `{name}`")).help(help)
            }
            Mistake::Variant { name, known } => {
                let known: Vec<_> = known.iter().map(String::as_str).collect();
                let help = match nearest(name, known.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`? ({})", known.join(", ")),
                    None => format!("one of {}", known.join(", ")),
                };
                Diagnostic::new(Rule::Sch005, format!("unknown value `{name}`")).help(help)
            }
            Mistake::Type { found, expected } => {
                let help = match expected.as_str() {
                    "text" if !found.starts_with(['m', 's', 'u']) => "put it in quotes",
                    _ => "",
                };
                let message = format!("expected {expected}, found {}", plain(found));
                Diagnostic::new(Rule::Sch002, message).help(help)
            }
            Mistake::Value { found, expected } => {
                let message = format!("{} is not {expected}", plain(found));
                Diagnostic::new(Rule::Sch004, message)
            }
            Mistake::Other(sentence) => Diagnostic::new(Rule::Sch002, sentence.clone()),
        }
    }
}

/// serde's name for what it found, in YAML's words.
fn plain(found: &str) -> String {
    match found {
        "map" => "fields".into(),
        "sequence" => "a list".into(),
        "unit value" => "nothing".into(),
        other => match other.split_once(' ') {
            Some(("string", text)) => text.replace('"', "`"),
            Some(("integer" | "boolean", value)) => value.to_owned(),
            Some(("floating", value)) => value.trim_start_matches("point ").to_owned(),
            Some(_) | None => other.to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// Pins the sentences of serde that are taken apart here.
    #[test]
    fn serdes_sentences_are_understood() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Sample {
            #[serde(rename = "a")]
            _a: Option<String>,
            #[serde(rename = "b")]
            _b: Option<Word>,
        }
        #[derive(Debug, Deserialize)]
        #[serde(rename_all = "camelCase")]
        enum Word {
            One,
            Two,
        }
        let read = |yaml: &str| {
            let value: Value = serde_yaml::from_str(yaml).unwrap();
            Mistake::read(&Sample::deserialize(&value).unwrap_err().to_string())
        };
        let known = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        assert_eq!(read("c: 1"), Mistake::Field { name: "c".into(), known: known(&["a", "b"]) });
        assert_eq!(
            read("b: three"),
            Mistake::Variant { name: "three".into(), known: known(&["one", "two"]) }
        );
        assert_eq!(
            read("a: 1.5"),
            Mistake::Type { found: "floating point `1.5`".into(), expected: "text".into() }
        );
        let _ = (Word::One, Word::Two);
    }
}
