//! Diagnostics for people and programs: text, JSON, SARIF 2.1.0 and GitHub's annotations.
//!
//! Each is a pure function to a string; whether it goes to a terminal is the caller's to know.

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde_json::{Value, json};

use super::diagnostic::{Diagnostic, Severity, rules};

/// In the manner of a good compiler: the line itself, underlined, and what to do. Colour where asked.
pub fn text(diagnostics: &[Diagnostic], colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let mut text = String::new();
    for diagnostic in diagnostics {
        text.push_str(&renderer.render(&[group(diagnostic)]));
        text.push_str("\n\n");
    }
    text
}

fn group(diagnostic: &Diagnostic) -> Group<'_> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let title = level.primary_title(diagnostic.message.as_str()).id(diagnostic.rule);
    let place = &diagnostic.place;
    let mut group = Group::with_title(title);
    if place.text.is_empty() {
        let origin = Origin::path(diagnostic.file.as_str()).line(place.line);
        group = group.element(origin.char_column(place.column));
    } else {
        let byte = |column: usize| {
            place.text.char_indices().nth(column).map_or(place.text.len(), |(byte, _)| byte)
        };
        let span = byte(place.column - 1)..byte(place.column - 1 + place.len);
        let mut annotation = AnnotationKind::Primary.span(span);
        if !diagnostic.label.is_empty() {
            annotation = annotation.label(diagnostic.label.as_str());
        }
        let snippet = Snippet::source(place.text.as_str())
            .line_start(place.line)
            .path(diagnostic.file.as_str())
            .annotation(annotation);
        group = group.element(snippet);
    }
    for note in &diagnostic.notes {
        group = group.element(Level::NOTE.no_name().message(note.as_str()));
    }
    if !diagnostic.help.is_empty() {
        group = group.element(Level::HELP.message(diagnostic.help.as_str()));
    }
    group
}

/// An array of objects; the fields of [`Diagnostic`], those that are empty left out.
pub fn json(diagnostics: &[Diagnostic]) -> String {
    pretty(&json!(diagnostics))
}

/// One run in SARIF 2.1.0, with every rule that there is.
pub fn sarif(diagnostics: &[Diagnostic]) -> String {
    let level = |severity: Severity| match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    let known = rules();
    let rules: Vec<Value> = known
        .iter()
        .map(|rule| {
            json!({
                "id": rule.id,
                "shortDescription": {"text": rule.summary},
                "defaultConfiguration": {"level": level(rule.severity)},
            })
        })
        .collect();
    let results: Vec<Value> = diagnostics
        .iter()
        .map(|d| {
            let mut message = d.message.clone();
            let more = [&d.label].into_iter().chain(&d.notes).filter(|t| !t.is_empty());
            for part in more {
                message.push('\n');
                message.push_str(part);
            }
            if !d.help.is_empty() {
                message.push_str("\nhelp: ");
                message.push_str(&d.help);
            }
            json!({
                "ruleId": d.rule,
                "ruleIndex": known.iter().position(|r| r.id == d.rule),
                "level": level(d.severity),
                "message": {"text": message},
                "locations": [{"physicalLocation": {
                    "artifactLocation": {"uri": uri(&d.file)},
                    "region": {
                        "startLine": d.place.line,
                        "startColumn": d.place.column,
                        "endColumn": d.place.column + d.place.len,
                    },
                }}],
            })
        })
        .collect();
    pretty(&json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "ringward",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    }))
}

/// Workflow commands that GitHub shows beside the lines of a pull request.
pub fn github(diagnostics: &[Diagnostic]) -> String {
    let data = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    let mut text = String::new();
    for d in diagnostics {
        let command = match d.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "notice",
        };
        let mut message = d.message.clone();
        for part in [&d.label].into_iter().chain(&d.notes).chain([&d.help]) {
            if !part.is_empty() {
                message.push('\n');
                message.push_str(part);
            }
        }
        let file = property(&d.file);
        let (line, column, end) = (d.place.line, d.place.column, d.place.column + d.place.len);
        text.push_str(&format!(
            "::{command} file={file},line={line},col={column},endColumn={end},title={}::{}\n",
            property(d.rule),
            data(&message),
        ));
    }
    text
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// A path as a relative URI reference.
fn uri(path: &str) -> String {
    let mut uri = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => {
                uri.push(byte.into());
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}
