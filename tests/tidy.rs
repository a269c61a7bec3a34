//! Keeps the walls between the rooms of `src/`.
//!
//! One crate has no manifests between its rooms, so nothing but this file stops `decide` from
//! opening a socket. It reads tokens, not types: comments and strings are dropped, `use` groups are
//! multiplied out, and every path that is left is held against the tables below.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// The rooms in the order that data flows, and the rooms that each may name besides itself.
/// A row for a part of a room adds to the room's own row; `a::b` lets in that part of `a` only.
const ROOMS: &[(&str, &str)] = &[
    ("lib", ""),
    ("ids", ""),
    ("clock", "ids model"),
    ("model", "ids"),
    ("declare", "ids model"),
    // What others declared, as declarations: text in, text out.
    ("import", "model declare"),
    ("decide", "ids model"),
    ("record", "ids model decide"),
    ("act", "ids clock model decide config"),
    ("show", "ids clock model declare decide record config"),
    // The command line starts `serve`, `demo`, `test` and `simulate`, and imports what others wrote.
    ("show/cli", "app sim import"),
    // The doctor looks at what a server rests on through the server's own adapters.
    ("show/cli/doctor", "act follow"),
    ("sim", "ids clock model declare decide record act"),
    // The demo is the whole product over a fleet that is not there.
    ("sim/demo", "app config show"),
    // A metric source of the real world, which the settings have credentials for.
    ("sim/replay", "config"),
    ("config", "ids model"),
    // From journal to messages; their words are the views'.
    (
        "tell",
        "ids clock model decide record act show::change show::channels show::desk show::story show::telemetry show::words",
    ),
    ("tell/tests", "config show::fixture show::view"),
    ("app", "tell ids clock model declare decide record act show sim config drive follow incoming"),
    // The loop serves the desk: it takes what is asked there and says what changed.
    ("drive", "ids clock model decide record act show::change show::desk show::telemetry"),
    ("follow", "ids clock model declare decide"),
    // What is found elsewhere is asked for at the desk, as anybody asks.
    ("incoming", "ids clock model decide act show::desk show::telemetry"),
    ("main", "app show"),
];

const TIME_AND_CHANCE: Ban = Ban {
    phrases: &[
        "SystemTime::now",
        "Instant::now",
        "Timestamp::now",
        "Zoned::now",
        "time::Instant",
        "getrandom",
    ],
    range: Range::Outside(&["clock", "ids"]),
    instead: "take `now` as an argument, ask clock::Clock, or mint the id in ids.rs, so that a run can be replayed",
};

const SLEEP: Ban = Ban {
    phrases: &[
        "time::sleep",
        "time::sleep_until",
        "time::interval",
        "time::interval_at",
        "time::timeout",
        "time::timeout_at",
    ],
    // A fetch from a repository has a time-out in real time.
    range: Range::Outside(&["clock", "act", "show", "declare/source"]),
    instead: "wait through clock::Clock, so that simulated time can pass it",
};

const HASHED: Ban = Ban {
    phrases: &["HashMap", "HashSet"],
    range: Range::Inside(&["model", "decide"]),
    instead: "use BTreeMap or BTreeSet: what the core decides may not hang on an order that differs from run to run",
};

const EDGE: Ban = Ban {
    phrases: &["async", "tokio", "std::fs", "std::net", "std::env"],
    range: Range::Inside(&["model", "decide", "import"]),
    instead: "the core is pure and synchronous: do it in act, declare or app, and hand the core its result as an Event",
};

const UNDONE: Ban = Ban {
    phrases: &["todo!", "unimplemented!", "dbg!"],
    range: Range::Outside(&[]),
    instead: "finish it, or return an error that says what is missing",
};

#[test]
fn rooms_name_only_the_rooms_they_may() {
    none(walls(&Tree::checked_out()));
}

#[test]
fn every_room_is_in_the_table() {
    none(unlisted(&Tree::checked_out()));
}

#[test]
fn every_file_is_compiled() {
    none(orphans(&Tree::checked_out()));
}

#[test]
fn only_the_clock_and_ids_touch_time_and_chance() {
    none(TIME_AND_CHANCE.broken(&Tree::checked_out()));
}

#[test]
fn only_the_clock_and_the_edges_sleep() {
    none(SLEEP.broken(&Tree::checked_out()));
}

#[test]
fn the_core_is_free_of_hash_order() {
    none(HASHED.broken(&Tree::checked_out()));
}

#[test]
fn the_core_is_pure_and_synchronous() {
    none(EDGE.broken(&Tree::checked_out()));
}

#[test]
fn nothing_is_left_undone() {
    none(UNDONE.broken(&Tree::checked_out()));
}

fn none(findings: Vec<String>) {
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

// ---- the checks -------------------------------------------------------------------------------

/// Names that may not be written in some rooms.
struct Ban {
    /// Paths; a longer path breaks the ban if it holds one of these in one piece.
    phrases: &'static [&'static str],
    range: Range,
    instead: &'static str,
}

enum Range {
    Inside(&'static [&'static str]),
    Outside(&'static [&'static str]),
}

impl Ban {
    fn broken(&self, tree: &Tree) -> Vec<String> {
        let mut findings = Vec::new();
        for (file, text) in tree.under("src/") {
            let place = place(file);
            let held = match self.range {
                Range::Inside(rooms) => rooms.iter().any(|room| within(&place, room)),
                Range::Outside(rooms) => !rooms.iter().any(|room| within(&place, room)),
            };
            if !held {
                continue;
            }
            for path in paths(&tokens(text)) {
                for phrase in self.phrases {
                    let words: Vec<&str> = phrase.split("::").collect();
                    if path.names.windows(words.len()).any(|part| part == words) {
                        let Self { instead, .. } = self;
                        findings.push(format!(
                            "{file}:{}: `{phrase}` has no place in `{place}`: {instead}",
                            path.line
                        ));
                    }
                }
            }
        }
        findings
    }
}

fn walls(tree: &Tree) -> Vec<String> {
    let mut findings = Vec::new();
    for (file, text) in tree.under("src/") {
        let place = place(file);
        let own = room(&place);
        let allowed: Vec<&str> = ROOMS
            .iter()
            .filter(|(row, _)| within(&place, row))
            .flat_map(|(_, rooms)| rooms.split_whitespace())
            .collect();
        for path in paths(&tokens(text)) {
            let Some(named) = path.past_root(&place) else {
                continue;
            };
            let Some(target) = named.first() else {
                if path.renamed {
                    findings.push(format!(
                        "{file}:{}: the crate's root gets another name, and the walls cannot be read: import from the room",
                        path.line
                    ));
                }
                continue;
            };
            let open = own == *target
                || allowed.iter().any(|way| {
                    let way: Vec<&str> = way.split("::").collect();
                    named.starts_with(&way)
                });
            if open {
                continue;
            }
            let advice = if ROOMS.iter().any(|(row, _)| row == target) {
                "pass the value in, or move what you need to a room on the left; ROOMS in tests/tidy.rs holds the table"
            } else {
                "that is no room: name the room and the item in it (src/lib.rs holds nothing but the rooms)"
            };
            findings.push(format!(
                "{file}:{}: `{place}` may not name `{}`: {advice}",
                path.line,
                named.join("::")
            ));
        }
    }
    findings
}

fn unlisted(tree: &Tree) -> Vec<String> {
    tree.under("src/")
        .filter(|(file, _)| !ROOMS.iter().any(|(row, _)| room(&place(file)) == *row))
        .map(|(file, _)| {
            format!("{file}:1: its room is not in the table: add a row to ROOMS in tests/tidy.rs and to ARCHITECTURE.md")
        })
        .collect()
}

/// Follows `mod`, `#[path]` and `include!` from Cargo's targets, and tells what it did not reach.
fn orphans(tree: &Tree) -> Vec<String> {
    let mut reached = BTreeSet::new();
    let mut queue: Vec<(String, String)> = Vec::new();
    for (file, _) in tree.under("") {
        let parts: Vec<&str> = file.split('/').collect();
        let target = match parts[..] {
            ["src", "lib.rs" | "main.rs"] | ["tests", _] | ["src", "bin", _] => true,
            ["tests", _, "main.rs"] | ["src", "bin", _, "main.rs"] => true,
            _ => tree.manifest.contains(&format!("\"{file}\"")),
        };
        if target {
            queue.push((file.to_owned(), parent(file).to_owned()));
        }
    }
    while let Some((file, folder)) = queue.pop() {
        let Some(text) = tree.files.get(&file).filter(|_| reached.insert(file.clone())) else {
            continue;
        };
        for child in children(&tokens(text)) {
            match child {
                Child::Included(path) => {
                    let path = join(parent(&file), &path);
                    queue.push((path.clone(), parent(&path).to_owned()));
                }
                Child::Module(names) => {
                    let path = join(&folder, &names.join("/"));
                    queue.push((format!("{path}.rs"), path.clone()));
                    queue.push((format!("{path}/mod.rs"), path));
                }
            }
        }
    }
    let mut findings: Vec<String> = tree
        .under("")
        .filter(|(file, _)| !reached.contains(*file))
        .map(|(file, _)| format!("{file}:1: no `mod` and no target of Cargo's names this file, so it is never compiled: name it or delete it"))
        .collect();
    for (number, line) in (1..).zip(tree.manifest.lines()) {
        if line.starts_with("auto") && line.contains("false") {
            findings.push(format!("Cargo.toml:{number}: `{line}` hides test files: leave Cargo's discovery of targets on"));
        }
    }
    findings
}

// ---- where things are -------------------------------------------------------------------------

/// The sources by their path from the repository's root, and Cargo's manifest.
#[derive(Default)]
struct Tree {
    files: BTreeMap<String, String>,
    manifest: String,
}

impl Tree {
    fn checked_out() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut tree = Self {
            manifest: fs::read_to_string(root.join("Cargo.toml")).expect("Cargo.toml is readable"),
            ..Self::default()
        };
        for folder in ["src", "tests"] {
            tree.read(root, folder);
        }
        assert!(tree.files.contains_key("src/lib.rs"), "the walk of src/ found nothing");
        tree
    }

    fn read(&mut self, root: &Path, folder: &str) {
        for entry in fs::read_dir(root.join(folder)).expect("the folder is readable") {
            let entry = entry.expect("the entry is readable");
            let path = join(folder, &entry.file_name().to_string_lossy());
            if entry.path().is_dir() {
                self.read(root, &path);
            } else if path.ends_with(".rs") {
                let text = fs::read_to_string(entry.path()).expect("the source is readable");
                self.files.insert(path, text);
            }
        }
    }

    fn under<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.files
            .iter()
            .filter(move |(file, _)| file.starts_with(folder))
            .map(|(file, text)| (file.as_str(), text.as_str()))
    }
}

/// `src/decide/gate.rs` is `decide/gate`, and `src/decide/mod.rs` is `decide`.
fn place(file: &str) -> String {
    let path = file.trim_start_matches("src/").trim_end_matches(".rs");
    path.trim_end_matches("/mod").to_owned()
}

fn room(place: &str) -> &str {
    place.split('/').next().unwrap_or(place)
}

fn within(place: &str, row: &str) -> bool {
    place.strip_prefix(row).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn join(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." => {}
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

// ---- reading Rust -----------------------------------------------------------------------------

/// A path as it is written, its `use` group multiplied out; a macro's name ends in `!`.
#[derive(Debug)]
struct Written<'a> {
    names: Vec<&'a str>,
    line: usize,
    /// How many inline modules it stands in.
    depth: usize,
    renamed: bool,
}

impl<'a> Written<'a> {
    /// What it names from the crate's root on, if it goes there.
    fn past_root(&self, place: &str) -> Option<&[&'a str]> {
        if place == "main" {
            // The binary is a crate of its own, and sees the rooms from outside.
            return (self.names[0] == "ringward").then(|| &self.names[1..]);
        }
        let mut level = match place {
            "lib" => self.depth,
            _ => place.split('/').count() + self.depth,
        };
        let mut rest = &self.names[..];
        match rest[0] {
            "crate" => (level, rest) = (0, &rest[1..]),
            "self" | "super" => {}
            _ => return None,
        }
        while let Some(first) = rest.first() {
            match *first {
                "super" => level = level.checked_sub(1)?,
                "self" => {}
                _ => break,
            }
            rest = &rest[1..];
        }
        (level == 0).then_some(rest)
    }
}

fn paths(tokens: &[Token]) -> Vec<Written<'_>> {
    let mut found = Vec::new();
    let mut open = 0_usize;
    let mut modules: Vec<usize> = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            _ if token.kind == Kind::Text => {}
            "{" => {
                open += 1;
                if at >= 2 && tokens[at - 2].is("mod") {
                    modules.push(open);
                }
            }
            "}" => {
                modules.pop_if(|module| *module == open);
                open = open.saturating_sub(1);
            }
            _ if token.kind == Kind::Word => {
                at = read_path(tokens, at, Vec::new(), modules.len(), &mut found);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Reads the path or the group that begins at `at`, and returns where it ends.
fn read_path<'a>(
    tokens: &'a [Token],
    mut at: usize,
    mut names: Vec<&'a str>,
    depth: usize,
    found: &mut Vec<Written<'a>>,
) -> usize {
    let is = |at: usize, mark: &str| tokens.get(at).is_some_and(|token| token.is(mark));
    while let Some(token) = tokens.get(at) {
        at += 1;
        if token.is("{") {
            while at < tokens.len() && !is(at, "}") {
                at = read_path(tokens, at, names.clone(), depth, found);
                // What is left of this branch is a new name at most.
                while at < tokens.len() && !is(at, ",") && !is(at, "}") {
                    at += 1;
                }
                at += usize::from(is(at, ","));
            }
            return at + 1;
        }
        names.push(&token.text);
        let goes_on = is(at, "::")
            && tokens
                .get(at + 1)
                .is_some_and(|next| next.kind == Kind::Word || next.is("*") || next.is("{"));
        if goes_on {
            at += 1;
            continue;
        }
        found.push(Written { names, line: token.line, depth, renamed: is(at, "as") });
        break;
    }
    at
}

enum Child {
    /// Names of the modules from the file's folder on: the inline ones around it, then its own.
    Module(Vec<String>),
    /// By `#[path]` or `include!`, from the file's own folder on.
    Included(String),
}

fn children(tokens: &[Token]) -> Vec<Child> {
    let mut found = Vec::new();
    let mut around: Vec<(usize, &str)> = Vec::new();
    let mut open = 0_usize;
    let mut path = None;
    for (at, token) in tokens.iter().enumerate() {
        let before = |steps: usize, text: &str| at >= steps && tokens[at - steps].is(text);
        match token.text.as_str() {
            _ if token.kind == Kind::Text => {
                if before(1, "=") && before(2, "path") && before(3, "[") {
                    path = Some(token.text.clone());
                } else if before(1, "(") && before(2, "include!") {
                    found.push(Child::Included(token.text.clone()));
                }
            }
            "{" => {
                open += 1;
                if before(2, "mod") {
                    around.push((open, &tokens[at - 1].text));
                }
                path = None;
            }
            "}" => {
                around.pop_if(|(module, _)| *module == open);
                open = open.saturating_sub(1);
            }
            ";" => {
                if before(2, "mod") {
                    let name = tokens[at - 1].text.as_str();
                    let names = around.iter().map(|(_, name)| *name).chain([name]);
                    found.push(match path.take() {
                        Some(path) => Child::Included(path),
                        None => Child::Module(names.map(str::to_owned).collect()),
                    });
                }
                path = None;
            }
            _ => {}
        }
    }
    found
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Word,
    Mark,
    /// A string's inside.
    Text,
}

struct Token {
    text: String,
    line: usize,
    kind: Kind,
}

impl Token {
    fn is(&self, text: &str) -> bool {
        self.kind != Kind::Text && self.text == text
    }
}

/// Rust's words and marks without its comments and characters.
fn tokens(source: &str) -> Vec<Token> {
    let chars: Vec<char> = source.chars().collect();
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < chars.len() {
        let rest = &chars[at..];
        let (length, kind) = match rest {
            ['/', '/', ..] => (until(rest, 2, &['\n']), None),
            ['/', '*', ..] => (comment(rest), None),
            ['\'', '\\', ..] => (until(rest, 3, &['\'']) + 1, None),
            ['\'', _, '\'', ..] => (3, None),
            ['\'', ..] => (1, None),
            [':', ':', ..] => (2, Some(Kind::Mark)),
            [space, ..] if space.is_whitespace() => (1, None),
            _ => match string(rest) {
                Some((start, end, length)) => {
                    let text = rest[start..end].iter().collect();
                    tokens.push(Token { text, line, kind: Kind::Text });
                    (length, None)
                }
                None => {
                    let length =
                        rest.iter().take_while(|c| c.is_alphanumeric() || **c == '_').count();
                    match (length, rest.get(length), rest.get(length + 1)) {
                        (0, ..) => (1, Some(Kind::Mark)),
                        (_, Some('!'), next) if next != Some(&'=') => {
                            (length + 1, Some(Kind::Word))
                        }
                        _ => (length, Some(Kind::Word)),
                    }
                }
            },
        };
        let length = length.min(rest.len());
        if let Some(kind) = kind {
            let text = rest[..length].iter().collect();
            tokens.push(Token { text, line, kind });
        }
        line += rest[..length].iter().filter(|c| **c == '\n').count();
        at += length;
    }
    tokens
}

fn until(chars: &[char], from: usize, end: &[char]) -> usize {
    let rest = chars.get(from..).unwrap_or_default();
    from + rest.windows(end.len()).position(|part| part == end).unwrap_or(rest.len())
}

fn comment(chars: &[char]) -> usize {
    let (mut depth, mut at) = (1, 2);
    while depth > 0 && at < chars.len() {
        match chars[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    at
}

/// If a string literal begins here: where its inside begins and ends, and its whole length.
fn string(chars: &[char]) -> Option<(usize, usize, usize)> {
    let mut at = usize::from(matches!(chars[0], 'b' | 'c'));
    let raw = chars.get(at) == Some(&'r');
    at += usize::from(raw);
    let hashes = match raw {
        true => chars[at..].iter().take_while(|c| **c == '#').count(),
        false => 0,
    };
    at += hashes;
    if chars.get(at) != Some(&'"') {
        return None;
    }
    let start = at + 1;
    let end = if raw {
        let mut closing = vec!['"'];
        closing.resize(1 + hashes, '#');
        until(chars, start, &closing)
    } else {
        let mut at = start;
        while at < chars.len() && chars[at] != '"' {
            at += if chars[at] == '\\' { 2 } else { 1 };
        }
        at.min(chars.len())
    };
    Some((start, end, end + 1 + hashes))
}

// ---- the checks catch what they are for -------------------------------------------------------

#[cfg(test)]
mod planted {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> Tree {
        let files = files.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned()));
        Tree { files: files.collect(), manifest: String::new() }
    }

    /// The lines that a check complains about in one file.
    fn lines(check: impl Fn(&Tree) -> Vec<String>, file: &str, text: &str) -> Vec<usize> {
        let findings = check(&tree(&[(file, text)]));
        let line = |finding: &String| finding.split(':').nth(1).and_then(|line| line.parse().ok());
        findings.iter().map(|finding| line(finding).expect("a finding names its line")).collect()
    }

    #[test]
    fn a_forbidden_import_in_every_way_to_write_it() {
        let breaches = [
            "use crate::act::Outcome;",
            "use crate::{\nids::RingName, act::Outcome};",
            "pub use ::std::fmt; fn f() { crate::show::view::draw() }",
            "use super::super::record::Store;",
            "use super::{event::Event, super::drive};",
            "mod tests { use super::super::super::sim::World; }",
            "use crate::*;",
            "use crate as root;",
            "use crate::{self as root};",
            "use crate::version;",
            "let text = \"\\\"\"; crate::act::go();",
            "fn f<'a>(x: &'a str) -> char { crate::act::go(); '\\'' }",
            "impl crate::act::Go for Here {}",
            "macro_rules! go { () => { $crate::act::go() } }",
        ];
        for text in breaches {
            let found = lines(walls, "src/decide/gate.rs", text);
            assert_eq!(found, [1 + text.matches('\n').count()], "{text}");
        }
    }

    #[test]
    fn an_allowed_import_and_prose_pass() {
        let text = r###"
            //! Unlike crate::act this decides. "
            /* use crate::act; /* nested */ crate::show */
            use crate::{ids::RingName, model::{self, ring::{Ring, *}}};
            use super::{event::Event, super::model as declared};
            pub(crate) fn f() -> &'static str { "crate::act::go" }
            pub(in crate::decide) const RAW: &str = r#"crate::act " crate::show"#;
            #[doc = "crate::act"]
            mod tests { use super::*; use super::super::World; }
            const QUOTE: [char; 3] = ['"', '\'', '\u{22}'];
        "###;
        assert_eq!(lines(walls, "src/decide/gate.rs", text), []);
    }

    #[test]
    fn a_row_for_a_part_opens_that_part_only() {
        let app = "use crate::app::serve;";
        assert_eq!(lines(walls, "src/show/view.rs", app), [1]);
        assert_eq!(lines(walls, "src/show/cli/mod.rs", app), []);
        assert_eq!(lines(walls, "src/show/client.rs", app), [1]);
        let desk = "use crate::show::desk::Desk;";
        assert_eq!(lines(walls, "src/drive.rs", desk), []);
        assert_eq!(lines(walls, "src/drive.rs", "use crate::show::{desk, api};"), [1]);
    }

    #[test]
    fn the_binary_sees_the_rooms_from_outside() {
        assert_eq!(lines(walls, "src/main.rs", "fn main() { ringward::app::run() }"), []);
        assert_eq!(lines(walls, "src/main.rs", "use ringward::{app, record};"), [1]);
    }

    #[test]
    fn a_room_without_a_row() {
        assert_eq!(lines(unlisted, "src/helpers/text.rs", ""), [1]);
        assert_eq!(lines(unlisted, "src/decide/text.rs", ""), []);
    }

    #[test]
    fn the_table_names_rooms_only() {
        for name in ROOMS.iter().flat_map(|(row, rooms)| rooms.split_whitespace().chain([*row])) {
            let known = room(&name.replace("::", "/")).to_owned();
            assert!(ROOMS.iter().any(|(row, _)| *row == known), "{name} in ROOMS is no room");
        }
    }

    #[test]
    fn a_file_that_nothing_names() {
        let mut tree = tree(&[
            ("src/lib.rs", "pub mod decide; mod clock { mod zone; } // mod prose;"),
            ("src/main.rs", "fn main() {}"),
            ("src/clock/zone.rs", ""),
            ("src/decide/mod.rs", "mod gate; #[cfg(test)] #[path = \"proofs.rs\"] mod tests;"),
            ("src/decide/gate.rs", "mod judge;"),
            ("src/decide/gate/judge.rs", ""),
            ("src/decide/judge.rs", ""),
            ("src/decide/proofs.rs", ""),
            ("src/prose.rs", ""),
            ("tests/api.rs", "mod support; include!(\"../tests/shared/table.rs\");"),
            ("tests/support/mod.rs", ""),
            ("tests/support/server.rs", ""),
            ("tests/shared/table.rs", ""),
            ("tests/real/main.rs", "mod cluster;"),
            ("tests/real/cluster.rs", ""),
            ("tests/real/git.rs", ""),
            ("tests/named/by_manifest.rs", ""),
        ]);
        tree.manifest =
            "[[test]]\npath = \"tests/named/by_manifest.rs\"\nautotests = false\n".to_owned();
        let findings = orphans(&tree);
        let files: Vec<&str> =
            findings.iter().filter_map(|finding| finding.split(':').next()).collect();
        let lost = [
            "src/decide/judge.rs",
            "src/prose.rs",
            "tests/real/git.rs",
            "tests/support/server.rs",
            "Cargo.toml",
        ];
        assert_eq!(files, lost);
    }

    #[test]
    fn time_and_chance_outside_their_rooms() {
        let text = "use std::time::{Duration, Instant};
            let at = std::time::SystemTime::now();
            let at = jiff::Zoned::now;
            let at = Timestamp::now();
            getrandom::fill(&mut seed);
            let at = Instant::now();
            use std::time::Duration; // Instant::now()";
        let broken = |tree: &Tree| TIME_AND_CHANCE.broken(tree);
        assert_eq!(lines(broken, "src/show/view.rs", text), [1, 2, 3, 4, 5, 6]);
        assert_eq!(lines(broken, "src/clock.rs", text), []);
        assert_eq!(lines(broken, "src/clock_face.rs", text), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn sleep_outside_its_rooms() {
        let text = "tokio::time::sleep(pause).await;\nuse tokio::time::{timeout, Duration};\ntokio::time::interval(beat)";
        let broken = |tree: &Tree| SLEEP.broken(tree);
        assert_eq!(lines(broken, "src/drive.rs", text), [1, 2, 3]);
        assert_eq!(lines(broken, "src/act/dispatch.rs", text), []);
    }

    #[test]
    fn hash_order_and_the_edge_in_the_core() {
        let hashed = "use std::collections::{BTreeMap, HashMap};\nlet seen: HashSet<u8>;";
        let edge = "async fn f() {}\nuse std::{collections::BTreeMap, fs};\n#[tokio::test]\nstd::env::var(\"HOME\")";
        for file in ["src/model/ring.rs", "src/decide.rs"] {
            assert_eq!(lines(|tree| HASHED.broken(tree), file, hashed), [1, 2]);
            assert_eq!(lines(|tree| EDGE.broken(tree), file, edge), [1, 2, 3, 4]);
        }
        assert_eq!(lines(|tree| HASHED.broken(tree), "src/act/mod.rs", hashed), []);
        assert_eq!(lines(|tree| EDGE.broken(tree), "src/act/mod.rs", edge), []);
    }

    #[test]
    fn something_left_undone() {
        let text =
            "todo!()\nstd::unimplemented!(\"later\")\ndbg!(x)\nlet dbg = todo != x; // todo!()";
        assert_eq!(lines(|tree| UNDONE.broken(tree), "src/main.rs", text), [1, 2, 3]);
    }
}
