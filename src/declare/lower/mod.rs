//! Wire -> model: pure, with every problem collected and none thrown.
//!
//! Documents are lowered in the order in which they rest on each other: jurisdictions, clusters,
//! calendars, templates, residency, policies, plans. What is lowered carries its errors along, so that
//! a plan knows of everything it rests on, and a mistake takes out of service exactly the plans that
//! depend on it.

mod calendar;
mod cluster;
mod gate;
mod plan;
mod policy;
mod query;
mod residency;
mod territory;

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_yaml::Value;

use super::{
    Compiled, Counts, Snapshot,
    decode::Peel,
    diagnostic::{Diagnostic, Rule},
    nearest,
    schema::{self, API_VERSION, Kind, OfKind, Spec},
    text::{self, Content, File, Indexed, Node},
};
use crate::model;

/// Checks a snapshot and takes it to the model. The same snapshot gives the same answer.
pub fn compile(snapshot: &Snapshot) -> Compiled {
    let mut files: Vec<Indexed> =
        snapshot.files.iter().map(|(path, bytes)| text::index(path, bytes)).collect();
    let heads: Vec<Vec<Head>> = files.iter_mut().map(read).collect();
    let documents: Vec<Doc<'_>> = files
        .iter()
        .zip(heads)
        .flat_map(|(file, heads)| {
            let roots = file.documents.iter().map(|d| d.root.as_ref());
            roots.zip(heads).map(|(root, head)| Doc { file: &file.file, root, head })
        })
        .collect();
    let mut world = World::new(&documents);
    world.territories = territory::lower(&world);
    world.clusters = cluster::lower(&world);
    world.calendars = calendar::lower(&world);
    world.templates = gate::lower(&world);
    world.residency = residency::lower(&world);
    world.policies = policy::lower(&world);
    let plans = plan::lower(&world, &snapshot.commit);

    let mut diagnostics: Vec<Diagnostic> = Vec::new();
    diagnostics.extend(documents.iter().flat_map(|d| d.head.problems.iter().cloned()));
    diagnostics.extend(world.problems());
    diagnostics.extend(plans.values().flat_map(|p| p.problems.iter().cloned()));
    diagnostics.sort_by(|a, b| a.key().cmp(&b.key()));
    diagnostics.dedup();

    let count = |kind| documents.iter().filter(|d| d.head.kind == Some(kind)).count();
    Compiled {
        commit: snapshot.commit.clone(),
        clusters: world
            .clusters
            .iter()
            .filter_map(|(name, unit)| Some((name.as_str().into(), unit.sound()?.cluster.clone())))
            .collect(),
        counts: Counts {
            files: files.len(),
            documents: documents.len(),
            clusters: count(Kind::Cluster),
            plans: count(Kind::RingPlan),
            policies: count(Kind::RingPolicy),
        },
        plans: plans
            .into_iter()
            .map(|(name, unit)| (name.as_str().into(), unit.verdict()))
            .collect(),
        diagnostics,
    }
}

/// A document as far as it could be read.
struct Head {
    kind: Option<Kind>,
    name: Option<String>,
    metadata: schema::Metadata,
    spec: Option<Spec>,
    problems: Vec<Diagnostic>,
}

/// Reads every document of a file: what it is, what it is called, and its wire type.
fn read(indexed: &mut Indexed) -> Vec<Head> {
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
                    head.problems.push(problem);
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
        Some(name) if kind == Kind::Jurisdiction => {
            if !is_label(&name.to_lowercase()) {
                head.problems.push(bad_name(at, name));
            }
        }
        Some(name) => {
            if !is_label(name) {
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
fn envelope(file: &File, root: &Node) -> Result<Kind, Diagnostic> {
    let whole = At::root(file, root);
    if !matches!(root.content, Content::Map(_)) {
        let problem = whole.problem(Rule::Sch002, "a document is a mapping with `kind` and `spec`");
        return Err(problem);
    }
    let text = |key| root.get(key).and_then(Node::scalar);
    let version = whole.field("apiVersion");
    match text("apiVersion") {
        Some(API_VERSION) => {}
        Some(other) => {
            let message = format!("unknown apiVersion `{other}`");
            return Err(version.problem(Rule::Sch009, message).help(format!("use {API_VERSION}")));
        }
        None => {
            let problem = version.problem(Rule::Sch003, "`apiVersion` is missing");
            return Err(
                problem.help(format!("begin the document with `apiVersion: {API_VERSION}`"))
            );
        }
    }
    let names = || Kind::ALL.iter().map(|k| k.name());
    let kind = whole.field("kind");
    let Some(name) = text("kind") else {
        let problem = kind.problem(Rule::Sch003, "`kind` is missing");
        return Err(problem.help(format!("one of {}", names().collect::<Vec<_>>().join(", "))));
    };
    Kind::ALL.iter().copied().find(|k| k.name() == name).ok_or_else(|| {
        let help = match nearest(name, names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("one of {}", names().collect::<Vec<_>>().join(", ")),
        };
        kind.problem(Rule::Sch009, format!("unknown kind `{name}`")).help(help)
    })
}

fn bad_name(at: At<'_>, name: &str) -> Diagnostic {
    let message = format!("`{name}` is no DNS label");
    let help = "use up to 63 lower-case letters, digits and hyphens, with no hyphen at either end";
    at.problem(Rule::Sch006, message).help(help)
}

fn is_label(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// A document in its file.
struct Doc<'a> {
    file: &'a File,
    root: Option<&'a Node>,
    head: Head,
}

impl Doc<'_> {
    /// Its wire type, where it could be decoded.
    fn spec_as<T: OfKind>(&self) -> Option<&T> {
        self.head.spec.as_ref().and_then(T::of)
    }

    /// Where its `spec` stands.
    fn spec(&self) -> At<'_> {
        self.whole().field("spec")
    }

    /// Where its name stands.
    fn name(&self) -> At<'_> {
        self.whole().field("metadata").field("name")
    }

    fn whole(&self) -> At<'_> {
        match self.root {
            Some(root) => At::root(self.file, root),
            None => At { file: self.file, node: None, key: None, start: 0, end: 0 },
        }
    }
}

/// A cursor over a document's places that follows the wire types down. Where there is nothing, it
/// stays at what it was asked of, so that what is missing is reported where it should be.
#[derive(Debug, Clone, Copy)]
struct At<'a> {
    file: &'a File,
    node: Option<&'a Node>,
    key: Option<(usize, usize)>,
    start: usize,
    end: usize,
}

impl<'a> At<'a> {
    fn root(file: &'a File, node: &'a Node) -> Self {
        At { file, node: Some(node), key: None, start: node.range.start, end: node.range.end }
    }

    fn field(self, name: &str) -> Self {
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

    fn item(self, index: usize) -> Self {
        let item = match self.node.map(|n| &n.content) {
            Some(Content::Seq(items)) => items.get(index),
            Some(Content::Scalar(_) | Content::Map(_)) | None => None,
        };
        item.map_or(At { node: None, ..self }, |node| At::root(self.file, node))
    }

    /// The key that this is the value of.
    fn key(self) -> Self {
        match self.key {
            Some((start, end)) => At { start, end, ..self },
            None => self,
        }
    }

    /// The first `text` inside this value, such as a placeholder in a query.
    fn inside(self, text: &str) -> Self {
        match self.file.text.get(self.start..self.end).and_then(|t| t.find(text)) {
            Some(i) => At { start: self.start + i, end: self.start + i + text.len(), ..self },
            None => self,
        }
    }

    /// Whether the field was there and was taken out because of a problem already reported.
    fn lost(self, name: &str) -> bool {
        match self.node.map(|n| &n.content) {
            Some(Content::Map(map)) => map.dropped.contains(name),
            Some(Content::Scalar(_) | Content::Seq(_)) => false,
            None => true,
        }
    }

    fn problem(self, rule: Rule, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(rule, message).at(self.file, self.start..self.end)
    }

    /// `file:line`.
    fn location(self) -> String {
        format!("{}:{}", self.file.path, self.file.line(self.start).0)
    }

    /// What must be there; reported where it is not.
    fn require<T>(self, value: Option<T>, name: &str, problems: &mut Vec<Diagnostic>) -> Option<T> {
        if value.is_none() && !self.lost(name) {
            problems.push(self.key().problem(Rule::Sch003, format!("`{name}` is missing")));
        }
        value
    }
}

/// Something lowered, with every problem that it has or rests on.
#[derive(Debug)]
struct Unit<T> {
    value: Option<T>,
    problems: Vec<Diagnostic>,
}

impl<T> Unit<T> {
    fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        self.problems.iter().filter(|p| p.is_error())
    }

    /// The value, where nothing is wrong with it.
    fn sound(&self) -> Option<&T> {
        self.value.as_ref().filter(|_| self.errors().next().is_none())
    }
}

/// Lowered documents of one kind, by name.
type Units<T> = BTreeMap<String, Unit<T>>;

/// The documents by name, and what was lowered of them so far.
struct World<'a> {
    documents: &'a [Doc<'a>],
    names: BTreeMap<(Kind, &'a str), usize>,
    /// Of names that are declared twice: it belongs to every one of those documents.
    twice: BTreeMap<(Kind, &'a str), Vec<Diagnostic>>,
    territories: Units<model::residency::Territory>,
    clusters: Units<cluster::Placed<'a>>,
    calendars: Units<calendar::Placed<'a>>,
    templates: Units<gate::Template<'a>>,
    residency: Units<Vec<residency::Placed<'a>>>,
    policies: Units<policy::Placed<'a>>,
}

impl<'a> World<'a> {
    fn new(documents: &'a [Doc<'a>]) -> Self {
        let mut names = BTreeMap::new();
        let mut twice: BTreeMap<_, Vec<Diagnostic>> = BTreeMap::new();
        for (i, doc) in documents.iter().enumerate() {
            let (Some(kind), Some(name)) = (doc.head.kind, &doc.head.name) else { continue };
            let first = *names.entry((kind, name.as_str())).or_insert(i);
            if first != i {
                let message = format!("{} `{name}` is declared twice", kind.name());
                let other = documents[first].name().location();
                let problem = doc.name().problem(Rule::Ref002, message);
                let problem = problem.label("the second time").note(format!("first in {other}"));
                let problem = problem.help("rename one of them, or take it out");
                twice.entry((kind, name.as_str())).or_default().push(problem);
            }
        }
        World {
            documents,
            names,
            twice,
            territories: Units::new(),
            clusters: Units::new(),
            calendars: Units::new(),
            templates: Units::new(),
            residency: Units::new(),
            policies: Units::new(),
        }
    }

    /// The first document of each name, with the problems that all of that name have.
    fn of(&self, kind: Kind) -> impl Iterator<Item = (&'a str, &'a Doc<'a>, Vec<Diagnostic>)> {
        let range = (kind, "")..;
        self.names.range(range).take_while(move |((k, _), _)| *k == kind).map(
            move |((_, name), i)| {
                let doc = &self.documents[*i];
                let mut problems = doc.head.problems.clone();
                problems.extend(self.twice.get(&(kind, *name)).into_iter().flatten().cloned());
                (*name, doc, problems)
            },
        )
    }

    /// What `name` stands for among `units`; takes its errors along, and says so where there is none.
    fn find<'u, T>(
        &self,
        units: &'u Units<T>,
        kind: Kind,
        name: &str,
        at: At<'_>,
        problems: &mut Vec<Diagnostic>,
    ) -> Option<&'u T> {
        let Some(unit) = units.get(name) else {
            problems.push(self.undeclared(kind, name, at));
            return None;
        };
        problems.extend(unit.errors().cloned());
        unit.value.as_ref()
    }

    fn undeclared(&self, kind: Kind, name: &str, at: At<'_>) -> Diagnostic {
        let message = format!("no {} is called `{name}`", kind.name());
        let known = self.names.range((kind, "")..).take_while(|((k, _), _)| *k == kind);
        let names: Vec<&str> = known.map(|((_, name), _)| *name).collect();
        let help = match nearest(name, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if names.is_empty() => format!("declare one under {}/", kind.folder()),
            None if names.len() <= 8 => format!("declared are {}", names.join(", ")),
            None => String::new(),
        };
        at.problem(Rule::Ref001, message).help(help)
    }

    /// Documents that could not be read far enough to tell what they declare, and that may have been
    /// of that kind.
    fn illegible(&self, kind: Kind) -> impl Iterator<Item = &'a Doc<'a>> {
        self.documents.iter().filter(move |doc| {
            let folder = doc.file.path.split('/').next().unwrap_or_default();
            let head = &doc.head;
            match head.kind {
                Some(k) => k == kind && (head.name.is_none() || head.spec.is_none()),
                None => !head.problems.is_empty() && folder == kind.folder(),
            }
        })
    }

    fn problems(&self) -> Vec<Diagnostic> {
        fn of<T>(units: &Units<T>) -> impl Iterator<Item = Diagnostic> {
            units.values().flat_map(|u| u.problems.iter().cloned())
        }
        let mut all: Vec<Diagnostic> = self.twice.values().flatten().cloned().collect();
        all.extend(of(&self.territories));
        all.extend(of(&self.clusters));
        all.extend(of(&self.calendars));
        all.extend(of(&self.templates));
        all.extend(of(&self.residency));
        all.extend(of(&self.policies));
        for (kind, what, help) in NOT_DONE {
            all.extend(self.of(kind).map(|(_, doc, _)| {
                doc.whole().field("kind").problem(Rule::Sch010, what).help(help)
            }));
        }
        all
    }
}

/// Kinds that are recognised, and that nothing is done about.
const NOT_DONE: [(Kind, &str, &str); 2] = [
    (
        Kind::Notifier,
        "this version sends no notifications: the document has no effect",
        "watch /v1/events, or alert on /metrics",
    ),
    (
        Kind::Release,
        "this version takes no releases from Git: the document has no effect",
        "submit it by `ringward release create`",
    ),
];

/// Names that occur more than once in a list, each with the place of its repeat.
fn repeats<'n>(names: impl Iterator<Item = &'n str>) -> Vec<(usize, &'n str)> {
    let mut seen = BTreeSet::new();
    names.enumerate().filter(|(_, name)| !seen.insert(*name)).collect()
}

/// Turns wire names into typed ones.
fn typed<T: From<String>>(names: &[schema::scalar::Text]) -> Vec<T> {
    names.iter().cloned().map(T::from).collect()
}
