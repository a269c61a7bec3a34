//! The first pass over a file: from text to a tree of places, and the limits that any file must keep.
//!
//! The typed decoder knows lines at best, and keeps the last of two equal keys without a word. So this
//! pass finds where every value stands, and refuses what the second pass must never see.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use granit_parser::{Event, Options, Parser};

use super::diagnostic::{Diagnostic, Rule};

/// Bytes that a file may have.
pub const MAX_BYTES: usize = 1024 * 1024;
/// Values and keys that a file may have.
pub const MAX_NODES: usize = 10_000;
/// How deep values may be nested.
pub const MAX_DEPTH: usize = 64;

/// A file with its text, and where its lines begin.
#[derive(Debug)]
pub struct File {
    /// Its path inside the source.
    pub path: String,
    /// Its text; where it was not UTF-8, with replacement characters.
    pub text: String,
    lines: Vec<usize>,
}

impl File {
    /// Takes the text as it came, and remembers where its lines begin.
    pub fn new(path: &str, text: String) -> Self {
        let newlines = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i + 1);
        let lines = std::iter::once(0).chain(newlines).collect();
        Self { path: path.into(), text, lines }
    }

    /// The line (from 1) that the byte stands in, and the bytes of that line without its end.
    pub fn line(&self, byte: usize) -> (usize, Range<usize>) {
        let line = self.lines.partition_point(|start| *start <= byte).max(1);
        let start = self.lines[line - 1];
        let end = self.lines.get(line).map_or(self.text.len(), |next| next - 1);
        (line, start..end.max(start))
    }
}

/// A value and where it stands.
#[derive(Debug)]
pub struct Node {
    /// Its bytes in the file.
    pub range: Range<usize>,
    /// What it is.
    pub content: Content,
}

/// What a value is.
#[derive(Debug)]
pub enum Content {
    /// A scalar, with its text after quotes and escapes.
    Scalar(String),
    /// A mapping.
    Map(Mapping),
    /// A sequence.
    Seq(Vec<Node>),
}

/// The entries of a mapping.
#[derive(Debug, Default)]
pub struct Mapping {
    /// By key.
    pub entries: BTreeMap<String, Entry>,
    /// Keys that were there and were taken out because of a problem already reported: they are not
    /// missing, however much they are absent.
    pub dropped: BTreeSet<String>,
}

/// One entry of a mapping.
#[derive(Debug)]
pub struct Entry {
    /// Where the key stands.
    pub key: Range<usize>,
    /// The value.
    pub value: Node,
}

impl Node {
    /// The value under `key`, where this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.content {
            Content::Map(map) => map.entries.get(key).map(|e| &e.value),
            Content::Scalar(_) | Content::Seq(_) => None,
        }
    }

    /// The text, where this is a scalar.
    pub fn scalar(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar(text) => Some(text),
            Content::Map(_) | Content::Seq(_) => None,
        }
    }
}

/// One document of a file.
#[derive(Debug)]
pub struct Document {
    /// Its bytes, from its start to the start of the next.
    pub range: Range<usize>,
    /// Its tree; none where it could not be read to its end.
    pub root: Option<Node>,
    /// What keeps it from being decoded.
    pub problems: Vec<Diagnostic>,
}

/// A file after the first pass.
#[derive(Debug)]
pub struct Indexed {
    /// The file.
    pub file: File,
    /// Its documents, in order; empty ones are left out.
    pub documents: Vec<Document>,
}

/// Reads a file into its documents. Nothing is thrown: what is wrong is among their problems.
pub fn index(path: &str, bytes: &[u8]) -> Indexed {
    let (text, refused) = match std::str::from_utf8(bytes) {
        _ if bytes.len() > MAX_BYTES => {
            let message = format!("the file is larger than 1 MiB ({} bytes)", bytes.len());
            let problem = (Rule::Syn006, message, "split it into several files", 0..0);
            // The beginning is enough to say which plans it took with it.
            (String::from_utf8_lossy(&bytes[..MAX_BYTES]).into_owned(), Some(problem))
        }
        Ok(text) => (text.strip_prefix('\u{feff}').unwrap_or(text).to_owned(), None),
        Err(error) => {
            let place = error.valid_up_to();
            let text = String::from_utf8_lossy(bytes).into_owned();
            let message = format!("the file is not UTF-8 (byte {place})");
            (text, Some((Rule::Syn007, message, "save it as UTF-8", place..place + 1)))
        }
    };
    let file = File::new(path, text);
    if let Some((rule, message, help, range)) = refused {
        let problem = Diagnostic::new(rule, message).at(&file, range).help(help);
        return Indexed { documents: unread(&file, vec![problem]), file };
    }
    let mut reader = Reader::new(&file);
    let whole = reader.read();
    let Reader { mut documents, problems, .. } = reader;
    if !whole {
        let all = documents.into_iter().flat_map(|d| d.problems).chain(problems).collect();
        documents = unread(&file, all);
    }
    Indexed { file, documents }
}

/// The documents of a file that is refused whole, cut at their `---` so that their names can be told.
/// There is always one, so that the problems have a place to stay.
fn unread(file: &File, problems: Vec<Diagnostic>) -> Vec<Document> {
    let mut starts = vec![0];
    starts.extend(file.text.match_indices("\n---").map(|(i, _)| i + 1));
    starts.push(file.text.len());
    starts
        .windows(2)
        .map(|w| Document { range: w[0]..w[1], root: None, problems: problems.clone() })
        .collect()
}

/// The kind and the name that a document seems to have, where it cannot be read. A guess by lines: it
/// only ever takes something out of service, never into it.
pub fn guess(text: &str) -> (Option<String>, Option<String>) {
    let word = |rest: &str| {
        let word: String = rest
            .trim_start_matches([' ', '"', '\''])
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c))
            .collect();
        (!word.is_empty()).then_some(word)
    };
    let kind = text.lines().find_map(|l| l.strip_prefix("kind:")).and_then(word);
    let mut lines = text.lines().skip_while(|l| !l.starts_with("metadata:"));
    let name = lines.next().and_then(|first| match first.split_once("name:") {
        Some((_, rest)) => word(rest),
        None => lines
            .take_while(|l| l.starts_with([' ', '\t', '#']) || l.trim().is_empty())
            .find_map(|l| l.trim_start().strip_prefix("name:"))
            .and_then(word),
    });
    (kind, name)
}

struct Reader<'a> {
    file: &'a File,
    documents: Vec<Document>,
    /// Of the document that is being read.
    problems: Vec<Diagnostic>,
    open: Vec<Open>,
    nodes: usize,
    /// Where the document that is being read begins; none between documents.
    start: Option<usize>,
    root: Option<Node>,
}

/// A collection that has not ended yet.
enum Open {
    Seq { start: usize, items: Vec<Node> },
    Map { start: usize, map: Mapping, key: Option<(String, Range<usize>)> },
}

impl<'a> Reader<'a> {
    fn new(file: &'a File) -> Self {
        Self {
            file,
            documents: Vec::new(),
            problems: Vec::new(),
            open: Vec::new(),
            nodes: 0,
            start: None,
            root: None,
        }
    }

    /// A byte of the document that is being read, where a character begins.
    fn here(&self, byte: usize) -> usize {
        let byte = byte.clamp(self.start.unwrap_or(0), self.file.text.len());
        (0..=byte).rev().find(|byte| self.file.text.is_char_boundary(*byte)).unwrap_or(0)
    }

    fn problem(&mut self, rule: Rule, message: &str, range: Range<usize>, help: &str) {
        self.problems.push(Diagnostic::new(rule, message).at(self.file, range).help(help));
    }

    /// Whether the file was read to its end; a broken document in it does not keep it from that.
    fn read(&mut self) -> bool {
        let mut options = Options::default();
        options.set_emit_comments(false);
        let mut parser = Parser::new_from_str_with_options(&self.file.text, options);
        while let Some(next) = parser.next_event() {
            match next {
                Ok((event, span)) => {
                    let range = span.byte_range().unwrap_or_else(|| self.here(0)..self.here(0));
                    if !self.take(event, range) {
                        return false;
                    }
                }
                Err(error) => {
                    let byte = self.here(error.marker().byte_offset().unwrap_or(0));
                    self.problem(Rule::Syn001, error.info().as_str(), byte..byte + 1, "");
                    // What is broken before it begins is a document too: its problem needs a place.
                    self.start.get_or_insert(byte);
                    self.finish(None);
                    match parser.proceed_next_document() {
                        Ok(true) => {}
                        Ok(false) | Err(_) => break,
                    }
                }
            }
        }
        // The last document ends with the file; each other ends where the next begins.
        let mut end = self.file.text.len();
        for document in self.documents.iter_mut().rev() {
            // The parser may have looked beyond the next one's beginning when it gave this one up.
            let start = document.range.start.min(end);
            document.range = start..end;
            end = start;
        }
        self.documents.retain(|d| d.root.is_some() || !d.problems.is_empty());
        true
    }

    /// Whether to go on.
    fn take(&mut self, event: Event<'_>, range: Range<usize>) -> bool {
        if event.is_node() {
            self.nodes += 1;
            if self.nodes > MAX_NODES {
                let message = format!("the file has more than {MAX_NODES} values");
                self.problem(Rule::Syn005, &message, range, "split it into several files");
                return false;
            }
            if self.open.len() >= MAX_DEPTH {
                let message = format!("values are nested deeper than {MAX_DEPTH}");
                self.problem(Rule::Syn004, &message, range, "no declaration needs such depth");
                return false;
            }
        }
        if event.tag().is_some() {
            let help = "declarations use plain YAML values; take the tag away";
            self.problem(Rule::Syn008, "a value has a tag", range.clone(), help);
        }
        match event {
            Event::DocumentStart(..) => {
                self.start = Some(if self.documents.is_empty() { 0 } else { range.start });
            }
            Event::DocumentEnd => {
                let root = self.root.take();
                self.finish(root);
            }
            Event::Scalar(text, ..) => {
                self.place(Node { range, content: Content::Scalar(text.into_owned()) });
            }
            Event::SequenceStart(..) => {
                self.open.push(Open::Seq { start: range.start, items: Vec::new() });
            }
            Event::MappingStart(..) => {
                let map = Mapping::default();
                self.open.push(Open::Map { start: range.start, map, key: None });
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let (start, content) = match self.open.pop() {
                    Some(Open::Seq { start, items }) => (start, Content::Seq(items)),
                    Some(Open::Map { start, map, .. }) => (start, Content::Map(map)),
                    None => return true,
                };
                self.place(Node { range: start..range.end.max(start), content });
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                let help = "write the value out, or share it by a policy that others extend";
                self.problem(
                    Rule::Syn003,
                    "an alias stands for another value",
                    range.clone(),
                    help,
                );
                self.place(Node { range, content: Content::Scalar(String::new()) });
            }
            Event::StreamStart | Event::StreamEnd | Event::Anchor(..) | Event::Comment(..) | _ => {}
        }
        true
    }

    /// Puts a finished value where it belongs: into the collection that is open, or at the root.
    fn place(&mut self, node: Node) {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::Seq { items, .. }) => items.push(node),
            Some(Open::Map { map, key, .. }) => match key.take() {
                None => match node.content {
                    Content::Scalar(text) => *key = Some((text, node.range)),
                    Content::Map(_) | Content::Seq(_) => {
                        *key = Some((String::new(), node.range.clone()));
                        let help = "a key is plain text";
                        self.problem(Rule::Syn008, "a key is not plain text", node.range, help);
                    }
                },
                Some((name, place)) => {
                    if let Some(first) = map.entries.get(&name) {
                        let (line, _) = self.file.line(first.key.start);
                        let message = format!("`{name}` is given twice");
                        let help = format!("keep one of them; the first is in line {line}");
                        self.problem(Rule::Syn002, &message, place, &help);
                    } else {
                        map.entries.insert(name, Entry { key: place, value: node });
                    }
                }
            },
        }
    }

    fn finish(&mut self, root: Option<Node>) {
        // A document that holds nothing declares nothing: the tail of a file that ends in `---`.
        let root = root.filter(|r| r.scalar().is_none_or(|text| !text.is_empty()));
        let problems = std::mem::take(&mut self.problems);
        let start = self.start.take().unwrap_or_default();
        self.documents.push(Document { range: start..start, root, problems });
        self.open.clear();
        self.root = None;
    }
}
