//! What a document is, what it is called, and its wire type: as far as it can be told.

use serde::Deserialize;
use serde_yaml::Value;

use super::at::At;
use crate::declare::{
    decode::Peel,
    diagnostic::{Diagnostic, Rule},
    nearest,
    schema::{self, API_VERSION, Kind, Spec},
    text::{self, Content, File, Indexed, Node},
};
use crate::ids::is_label;

/// A document as far as it could be read.
pub(super) struct Head {
    pub kind: Option<Kind>,
    pub name: Option<String>,
    pub metadata: schema::Metadata,
    pub spec: Option<Spec>,
    pub problems: Vec<Diagnostic>,
}

/// Reads every document of a file: what it is, what it is called, and its wire type.
pub(super) fn read(indexed: &mut Indexed) -> Vec<Head> {
    let file = &indexed.file;
    indexed
        .documents
        .iter_mut()
        .map(|document| {
            let text = &file.text[document.range.clone()];
            let (guessed, name) = text::guess(text);
            let mut head = Head {
                kind: guessed.and_then(|g| Kind::ALL.iter().copied().find(|k| k.name() == g)),
                name,
                metadata: schema::Metadata::default(),
                spec: None,
                problems: std::mem::take(&mut document.problems),
            };
            let Some(root) = &mut document.root else { return head };
            if let Some(name) = root.get("metadata").and_then(|m| m.get("name")) {
                head.name = name.scalar().map(str::to_owned);
            }
            let envelope = envelope(file, root);
            match envelope {
                Ok(kind) => head.kind = Some(kind),
                Err(problem) => {
                    head.problems.push(*problem);
                    return head;
                }
            }
            if !head.problems.is_empty() {
                return head;
            }
            match serde_yaml::Deserializer::from_str(text).next().map(Value::deserialize) {
                Some(Ok(value)) => decode(file, value, root, &mut head),
                Some(Err(error)) => {
                    // The first pass took it; whatever the second saw, it is not to be trusted.
                    let byte = error.location().map_or(0, |l| l.index());
                    let byte = (document.range.start + byte).min(file.text.len());
                    let problem = Diagnostic::new(Rule::Syn001, error.to_string());
                    head.problems.push(problem.at(file, byte..byte + 1));
                }
                None => {}
            }
            head
        })
        .collect()
}

fn decode(file: &File, value: Value, root: &mut Node, head: &mut Head) {
    let Some(kind) = head.kind else { return };
    let problems = &mut head.problems;
    let mut peel = Peel { file, value, root, problems };
    let decoded = schema::decode_as(kind, &mut peel);
    let whole = At::root(file, root);
    match decoded {
        Some((metadata, spec)) => {
            head.metadata = metadata;
            head.spec = Some(spec);
        }
        None if head.problems.is_empty() => {
            head.problems.push(whole.problem(Rule::Sch003, "`spec` is missing"));
        }
        None => {}
    }
    let at = whole.field("metadata").field("name");
    match &head.metadata.name {
        // A document with problems may have lost its metadata to one of them.
        None if head.problems.is_empty() => {
            let problem = whole.problem(Rule::Sch003, "`metadata.name` is missing");
            head.problems.push(problem.help("name it by a DNS label, such as checkout"));
        }
        None => {}
        Some(name) => {
            // A bloc is called as people call it: EU.
            let lower = name.to_lowercase();
            if !is_label(if kind == Kind::Jurisdiction { &lower } else { name }) {
                head.problems.push(bad_name(at, name));
            }
        }
    }
    let folder = file.path.split('/').next().unwrap_or_default();
    if folder != kind.folder() {
        let message = format!("a {} belongs under {}/", kind.name(), kind.folder());
        let why = match kind.folder() {
            "rings" => "topology and plans are the platform owners' to review",
            "policies" => "how a ring is judged is the service owners' to review",
            _ => "",
        };
        let at = whole.field("kind");
        let help = format!("move the document to a file under {}/", kind.folder());
        let mut problem = at.problem(Rule::Ref003, message).help(help);
        if !why.is_empty() {
            problem = problem.note(why);
        }
        head.problems.push(problem);
    }
}

/// The kind, from a document of the one version there is.
fn envelope(file: &File, root: &Node) -> Result<Kind, Box<Diagnostic>> {
    let whole = At::root(file, root);
    if !matches!(root.content, Content::Map(_)) {
        let problem = whole.problem(Rule::Sch002, "a document is a mapping with `kind` and `spec`");
        return Err(problem.into());
    }
    let text = |key| root.get(key).and_then(Node::scalar);
    let version = whole.field("apiVersion");
    match text("apiVersion") {
        Some(API_VERSION) => {}
        Some(other) => {
            let message = format!("unknown apiVersion `{other}`");
            return Err(version
                .problem(Rule::Sch009, message)
                .help(format!("use {API_VERSION}"))
                .into());
        }
        None => {
            let problem = version.problem(Rule::Sch003, "`apiVersion` is missing");
            return Err(problem
                .help(format!("begin the document with `apiVersion: {API_VERSION}`"))
                .into());
        }
    }
    let names = || Kind::ALL.iter().map(|k| k.name());
    let kind = whole.field("kind");
    let Some(name) = text("kind") else {
        let problem = kind.problem(Rule::Sch003, "`kind` is missing");
        return Err(problem
            .help(format!("one of {}", names().collect::<Vec<_>>().join(", ")))
            .into());
    };
    Kind::ALL.iter().copied().find(|k| k.name() == name).ok_or_else(|| {
        let help = match nearest(name, names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("one of {}", names().collect::<Vec<_>>().join(", ")),
        };
        kind.problem(Rule::Sch009, format!("unknown kind `{name}`")).help(help).into()
    })
}

pub(super) fn bad_name(at: At<'_>, name: &str) -> Diagnostic {
    let message = format!("`{name}` is no DNS label");
    let help = "use up to 63 lower-case letters, digits and hyphens, with no hyphen at either end";
    at.problem(Rule::Sch006, message).help(help)
}
