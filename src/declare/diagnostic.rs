//! A mistake in a declaration: its rule, its place, what is wrong, and what to do. Prints nothing.

use std::{fmt, ops::Range};

use serde::Serialize;

use super::text::File;
use crate::model::check::{self, rules};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// Takes every plan that depends on it out of service.
    Error,
    /// Works, and is probably not what was meant.
    Warning,
    /// Advice.
    Note,
}

impl Severity {
    /// The word that people read.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        }
    }
}

impl From<check::Severity> for Severity {
    fn from(severity: check::Severity) -> Self {
        match severity {
            check::Severity::Error => Severity::Error,
            check::Severity::Warning => Severity::Warning,
            check::Severity::Note => Severity::Note,
        }
    }
}

rules! {
    "The rules of a declaration's text, schema, names and shape. Their ids are stable."
    Syn001 "SYN001" Error "the text is not YAML",
    Syn002 "SYN002" Error "a key is given twice",
    Syn003 "SYN003" Error "an alias is used",
    Syn004 "SYN004" Error "values are nested deeper than 64",
    Syn005 "SYN005" Error "a file has more than 10,000 values",
    Syn006 "SYN006" Error "a file is larger than 1 MiB",
    Syn007 "SYN007" Error "a file is not UTF-8",
    Syn008 "SYN008" Error "a tag, or a key that is not plain text",
    Sch001 "SCH001" Error "a field that the kind does not have",
    Sch002 "SCH002" Error "a value of the wrong type",
    Sch003 "SCH003" Error "a field that must be there is missing",
    Sch004 "SCH004" Error "a value out of its range",
    Sch005 "SCH005" Error "a value that is none of the known ones",
    Sch006 "SCH006" Error "a name that is no DNS label",
    Sch007 "SCH007" Error "fields that exclude each other",
    Sch008 "SCH008" Error "something that this version does not do, and that safety may rest on",
    Sch009 "SCH009" Error "an apiVersion or a kind that is not known",
    Ref001 "REF001" Error "a name that nothing declares",
    Ref002 "REF002" Error "a name that is declared twice",
    Ref003 "REF003" Error "a document in the wrong folder",
    Ref004 "REF004" Error "a ring that selects no cluster",
    Ref005 "REF005" Error "policies that extend each other",
    Ref006 "REF006" Error "a plan that rests on a document that cannot be read",
    Ref007 "REF007" Warning "a failover partner that does not name the cluster back",
    Ref008 "REF008" Error "a failover partner that names another cluster",
    Dag001 "DAG001" Error "rings that wait for each other",
    Dag002 "DAG002" Error "a ring that no release can reach",
    Dag003 "DAG003" Error "a cluster that is in a plan twice",
    Dag004 "DAG004" Error "a plan without a ring",
    Dag005 "DAG005" Error "two rings of one name",
    Dag006 "DAG006" Error "two plans that drive the same object",
    Gat001 "GAT001" Error "a gate without a pass condition",
    Gat002 "GAT002" Error "a gate with several judges",
    Gat003 "GAT003" Error "a gate whose provider a cluster does not have",
    Gat004 "GAT004" Error "a template argument that is unknown, missing or malformed",
    Gat005 "GAT005" Error "a placeholder that is unknown or stands where it cannot be filled in safely",
    Gat006 "GAT006" Error "a minimum of samples without a query that counts them",
    Gat007 "GAT007" Error "a gate that cannot reach its minimum in time",
    Gat008 "GAT008" Error "a judge or baseline that this version cannot evaluate",
    Gat009 "GAT009" Error "two gates of one name",
    Gat010 "GAT010" Error "a policy without a required gate that does not say `gates: none`",
    Gat012 "GAT012" Error "a judge without a query that it needs",
    Gat015 "GAT015" Error "a gate in another language than the metric source of a cluster",
    Gat017 "GAT017" Error "counts that do not look back over the time that they are asked for",
    Gat018 "GAT018" Error "a judge that a cluster's kind of metric source cannot answer",
    Gat019 "GAT019" Warning "a soak that ends before its judge has looked back as far as it wants to",
    Gat020 "GAT020" Warning "a minimum over the soak, of samples that are counted more than once",
    Gat021 "GAT021" Warning "a parameter that changes nothing in a gate",
    Gat016 "GAT016" Error "a soak that is to be made up for from history, and a gate of which there is none",
    Rel001 "REL001" Error "a release that its plan cannot take",
    Rel002 "REL002" Error "two documents of one release",
    App001 "APP001" Error "approvals that nobody can give",
}

/// A rule as documentation and tools list it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RuleInfo {
    /// The stable id.
    pub id: &'static str,
    /// How bad a breach is.
    pub severity: Severity,
    /// What it is about, in one line.
    pub summary: &'static str,
}

/// Every rule there is: of the text, and of the plan as a whole.
pub fn rules() -> Vec<RuleInfo> {
    let text = Rule::ALL.iter().map(|rule| RuleInfo {
        id: rule.id(),
        severity: rule.severity(),
        summary: rule.summary(),
    });
    let whole = check::Rule::ALL.iter().map(|rule| RuleInfo {
        id: rule.id(),
        severity: rule.severity().into(),
        summary: rule.summary(),
    });
    text.chain(whole).collect()
}

/// Where in a file something stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// How many characters, on that one line.
    pub len: usize,
    /// The line itself, for the rendering.
    #[serde(skip)]
    pub text: String,
}

/// One problem, complete in itself: it can be shown without the file at hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// The stable id of its rule, such as `DAG001`.
    pub rule: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in one line.
    pub message: String,
    /// The file's path inside the source.
    pub file: String,
    /// Where in the file.
    #[serde(flatten)]
    pub place: Place,
    /// What is said of the underlined part.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub label: String,
    /// What else belongs to it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What to do.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub help: String,
}

impl Diagnostic {
    /// Starts one; its place follows by [`Diagnostic::at`].
    pub fn new(rule: Rule, message: impl Into<String>) -> Self {
        Self::of(rule.id(), rule.severity(), message)
    }

    /// Starts one for a rule of another table, such as the checks of the whole model.
    pub fn of(rule: &'static str, severity: Severity, message: impl Into<String>) -> Self {
        Self {
            rule,
            severity,
            message: shown(message.into()),
            file: String::new(),
            place: Place::default(),
            label: String::new(),
            notes: Vec::new(),
            help: String::new(),
        }
    }

    /// Puts it to the first line of those bytes of the file.
    pub fn at(mut self, file: &File, range: Range<usize>) -> Self {
        let text = &file.text;
        let start = floor(text, range.start.min(text.len()));
        let (line, bytes) = file.line(start);
        let end = floor(text, range.end.clamp(start, bytes.end.max(start)));
        let shown = text[bytes.clone()].trim_end_matches('\r');
        self.file.clone_from(&file.path);
        self.place = Place {
            line,
            column: text[bytes.start..start].chars().count() + 1,
            len: text[start..end].trim_end().chars().count().max(1),
            // A line of a megabyte is no help to anybody, and would be copied for each problem in it.
            text: if shown.len() <= 2_000 { shown.to_owned() } else { String::new() },
        };
        self
    }

    /// Says something of the underlined part.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = shown(label.into());
        self
    }

    /// Adds something that belongs to it.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(shown(note.into()));
        self
    }

    /// Says what to do; nothing where `help` is empty.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = shown(help.into());
        self
    }

    /// Whether it takes plans out of service.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// `file:line:column`.
    pub fn location(&self) -> String {
        format!("{}:{}:{}", self.file, self.place.line, self.place.column)
    }

    /// What is wrong, and what it breaks: for whoever is shown one line of it, and not the whole.
    pub fn in_brief(&self) -> String {
        match self.notes.first() {
            Some(rule) => format!("{} ({rule})", self.message),
            None => self.message.clone(),
        }
    }

    /// Orders by place, and by rule where two stand in one place.
    pub(super) fn key(&self) -> (&str, usize, usize, &str, &str) {
        (&self.file, self.place.line, self.place.column, self.rule, &self.message)
    }
}

/// One line: `file:line:column: error[DAG001]: message`.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = self.severity.name();
        write!(f, "{}: {severity}[{}]: {}", self.location(), self.rule, self.message)
    }
}

/// What somebody else wrote, fit for a terminal and a line: no control characters, and not endless.
fn shown(text: String) -> String {
    const MOST: usize = 400;
    if text.len() <= MOST && !text.contains(char::is_control) {
        return text;
    }
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut short: String = text.chars().take(MOST).map(clean).collect();
    if text.chars().nth(MOST).is_some() {
        short.push('…');
    }
    short
}

fn floor(text: &str, mut byte: usize) -> usize {
    while !text.is_char_boundary(byte) {
        byte -= 1;
    }
    byte
}
