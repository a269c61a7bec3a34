//! What is said of the parts that are not carried over, or are judged otherwise here.

use super::spot::Spot;
use crate::{
    declare::{Diagnostic, diagnostic::Severity},
    model::check::rules,
};

rules! {
    "The rules of an import. Their ids are stable."
    Imp001 "IMP001" Note "a document of another kind",
    Imp002 "IMP002" Warning "a part that is not carried over",
    Imp003 "IMP003" Warning "a metric that does not become a gate",
    Imp004 "IMP004" Warning "a value that stands in for one that is not there",
    Imp005 "IMP005" Warning "what is judged otherwise here",
    Imp006 "IMP006" Note "a name that had to become another",
    Imp007 "IMP007" Note "what has to be declared beside it",
    Imp008 "IMP008" Warning "what is named and was not given",
    Imp009 "IMP009" Error "a document without what it cannot be without",
    Imp010 "IMP010" Error "a declaration that would not pass check",
}

/// What was said so far.
#[derive(Debug, Default)]
pub(super) struct Remarks(Vec<Diagnostic>);

impl Remarks {
    /// Adds one that is complete.
    pub(super) fn add(&mut self, remark: Diagnostic) {
        self.0.push(remark);
    }

    /// Says something of a place: what, and what to do.
    pub(super) fn say(
        &mut self,
        rule: Rule,
        at: &Spot<'_>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let remark = Diagnostic::of(rule.id(), rule.severity(), message);
        self.add(remark.at(at.file, at.range.clone()).label(&at.path).help(help));
    }

    /// The same, and nothing where the same cure was told already.
    pub(super) fn say_once(
        &mut self,
        rule: Rule,
        at: &Spot<'_>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let help = help.into();
        if !self.0.iter().any(|said| said.rule == rule.id() && said.help == help) {
            self.say(rule, at, message, help);
        }
    }

    /// Says of every field that is none of the `known` that it is not carried over.
    pub(super) fn others(&mut self, at: &Spot<'_>, known: &[&str]) {
        for (name, field) in at.fields().filter(|(name, _)| !known.contains(name)) {
            let message = format!("`{name}` is not carried over");
            let help = "look whether anything rests on it; nothing here stands for it";
            self.say(Rule::Imp002, &field.as_key(), message, help);
        }
    }

    /// A declaration came out that does not pass `check`.
    pub(super) fn unsound(&mut self, problem: &Diagnostic) {
        let message = format!("what came out does not pass check: {}", problem.in_brief());
        let remark = Diagnostic::of(Rule::Imp010.id(), Rule::Imp010.severity(), message);
        self.add(
            Diagnostic { file: problem.file.clone(), place: problem.place.clone(), ..remark }
                .help(&problem.help),
        );
    }

    /// All of them by file and line, each once.
    pub(super) fn sorted(mut self) -> Vec<Diagnostic> {
        let key = |d: &Diagnostic| {
            (d.file.clone(), d.place.line, d.place.column, d.rule, d.message.clone())
        };
        self.0.sort_by_key(key);
        self.0.dedup();
        self.0
    }
}
