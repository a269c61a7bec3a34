//! The languages that metric sources are asked in: where a placeholder stands in a query, and how a
//! value is put there so that it stays a value.
//!
//! A value goes into a query only as the content of a quoted string, or where a language knows no
//! quotes, as a name that cannot be anything else; numbers and durations may stand anywhere. So no
//! argument, and no name of a plan or a version, can become a part of the query itself. Where a language
//! can hold a character only by an escape that its documentation leaves open, the character is replaced
//! by `_` instead.

use super::time::Span;

/// A language that queries are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Language {
    /// Prometheus', and that of all who speak its API.
    PromQl,
    /// Datadog's metric queries: tags without quotes, in braces.
    Datadog,
    /// CloudWatch's metric math and Metrics Insights.
    CloudWatch,
    /// InfluxDB 2's.
    Flux,
    /// InfluxDB 1's and 3's.
    InfluxQl,
    /// Graphite's targets: paths of nodes.
    Graphite,
    /// New Relic's.
    Nrql,
    /// A path and a query of a URL, and a JSON pointer as its fragment.
    Url,
}

/// A query, cut at its placeholders. Comments are left out: nothing may hide in them.
#[derive(Debug, PartialEq, Eq)]
pub struct Parsed<'q> {
    /// Its pieces, in their order.
    pub pieces: Vec<Piece<'q>>,
    /// What is not closed at its end.
    pub open: Option<Open>,
}

/// A piece of a query.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'q> {
    /// As it is.
    Text(&'q str),
    /// A placeholder: what stands between its braces, and where it stands itself.
    Slot(&'q str, Place),
}

/// Where a placeholder stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In a string of that quote.
    Quoted(char),
    /// Where the language takes a name without quotes: a tag's value, a node of a path.
    Name,
    /// Where only a number or a duration can be nothing else.
    Bare,
    /// Where nothing is safe; in words.
    Never(&'static str),
}

/// What a query leaves open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// `{{`
    Placeholder,
    /// A quote.
    Quote(char),
    /// A comment, or a regular expression.
    Other(&'static str),
}

impl Language {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Language::PromQl => "PromQL",
            Language::Datadog => "Datadog's query language",
            Language::CloudWatch => "CloudWatch's query language",
            Language::Flux => "Flux",
            Language::InfluxQl => "InfluxQL",
            Language::Graphite => "Graphite's query language",
            Language::Nrql => "NRQL",
            Language::Url => "a URL",
        }
    }

    /// How to write a placeholder where it is safe.
    pub fn example(self) -> &'static str {
        match self {
            Language::PromQl => "use it as a quoted label value, such as service=\"{{plan}}\"",
            Language::Datadog => "use it as the value of a tag, such as {service:{{plan}}}",
            Language::CloudWatch => "use it in quotes, such as ServiceName = '{{plan}}'",
            Language::Flux => "use it in double quotes, such as r.service == \"{{plan}}\"",
            Language::InfluxQl => "use it in quotes, such as \"service\" = '{{plan}}'",
            Language::Graphite => "use it as a node of a path, such as stats.{{plan}}.errors",
            Language::Nrql => "use it in single quotes, such as appName = '{{plan}}'",
            Language::Url => "use it in the path or the query, such as /errors?service={{plan}}",
        }
    }

    /// Cuts a query at its placeholders.
    pub fn parse(self, query: &str) -> Parsed<'_> {
        let mut scan = Scan {
            language: self,
            query,
            at: 0,
            from: 0,
            state: State::Plain,
            pieces: Vec::new(),
            braces: 0,
        };
        let open = scan.run();
        Parsed { pieces: scan.pieces, open }
    }

    /// Writes the value behind `out` as it is written at that place.
    pub fn put(self, place: Place, value: &str, out: &mut String) {
        // What no language takes for anything else in a string, as most names are.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/".contains(&byte);
        if matches!(place, Place::Quoted(_)) && value.bytes().all(plain) {
            out.push_str(value);
        } else {
            out.push_str(&self.fill(place, value).0);
        }
    }

    /// The value as it is written at that place, and whether it is still itself there.
    pub fn fill(self, place: Place, value: &str) -> (String, bool) {
        let text = match (self, place) {
            (Language::PromQl | Language::Flux | Language::InfluxQl, Place::Quoted(quote)) => {
                return (
                    self.escape(value, quote),
                    !value.contains(|c: char| c.is_control() && c != '\n'),
                );
            }
            (Language::Nrql | Language::Graphite, Place::Quoted(_)) => {
                tame(value, |c| !c.is_control() && !matches!(c, '\'' | '"' | '`' | '\\'))
            }
            (Language::Datadog | Language::CloudWatch | Language::Url, Place::Quoted(_)) => {
                tame(value, |c| c.is_ascii_alphanumeric() || "_-./:+@".contains(c))
            }
            // Datadog's tags are in lower case, whatever they were sent as.
            (Language::Datadog, Place::Name) => {
                let tag = |c: char| c.is_ascii_alphanumeric() || "_-./:".contains(c);
                return (tame(value, tag).to_lowercase(), value.chars().all(tag));
            }
            (Language::Url, Place::Name) => return (percent(value), !is_dots(value)),
            (_, Place::Name) => tame(value, |c| c.is_ascii_alphanumeric() || c == '_' || c == '-'),
            (_, Place::Bare) => match self.plain(value) {
                Some(plain) => return (plain, true),
                None => "_".into(),
            },
            (_, Place::Never(_)) => "_".into(),
        };
        let same = text == value;
        (text, same)
    }

    /// A length of time as the language writes it outside of quotes. A range must not be empty.
    pub fn duration(self, span: Span) -> String {
        let millis = span.0.max(1);
        let seconds = millis.div_ceil(1_000);
        match self {
            Language::PromQl | Language::Flux | Language::InfluxQl
                if !millis.is_multiple_of(1_000) =>
            {
                format!("{millis}ms")
            }
            Language::PromQl
            | Language::Flux
            | Language::InfluxQl
            | Language::Graphite
            | Language::Url => format!("{seconds}s"),
            Language::Nrql => format!("{seconds} seconds"),
            Language::Datadog | Language::CloudWatch => seconds.to_string(),
        }
    }

    /// A number as it is, or a duration as the language writes it; nothing for anything else.
    pub fn plain(self, value: &str) -> Option<String> {
        if value.parse::<f64>().is_ok_and(f64::is_finite) {
            return Some(value.to_owned());
        }
        let span = value.parse::<Span>().ok()?;
        // PromQL reads what ringward reads, and shows it as it was written.
        Some(if self == Language::PromQl { value.to_owned() } else { self.duration(span) })
    }

    fn escape(self, value: &str, quote: char) -> String {
        let mut out = String::with_capacity(value.len());
        for c in value.chars() {
            match (self, c) {
                (_, '\\') => out.push_str(r"\\"),
                (_, '\n') => out.push_str(r"\n"),
                (_, c) if c == quote => out.extend(['\\', c]),
                // Flux puts expressions into strings by ${...}.
                (Language::Flux, '$') => out.push_str(r"\x24"),
                (_, c) if c.is_control() => out.push('_'),
                (_, c) => out.push(c),
            }
        }
        out
    }

    fn quotes(self) -> &'static [char] {
        match self {
            Language::PromQl | Language::Nrql => &['"', '\'', '`'],
            Language::Datadog | Language::CloudWatch | Language::InfluxQl | Language::Graphite => {
                &['"', '\'']
            }
            Language::Flux => &['"'],
            Language::Url => &[],
        }
    }

    /// Whether a backslash takes the next character out of its meaning in a string of that quote.
    fn escapes(self, quote: char) -> bool {
        match self {
            Language::PromQl => quote != '`',
            Language::Flux | Language::InfluxQl | Language::Graphite | Language::Nrql => true,
            Language::Datadog | Language::CloudWatch | Language::Url => false,
        }
    }

    /// What begins a comment to the end of its line.
    fn line_comments(self) -> &'static [&'static str] {
        match self {
            Language::PromQl => &["#"],
            Language::Flux => &["//"],
            Language::InfluxQl => &["--"],
            Language::Nrql => &["--", "//"],
            Language::Datadog | Language::CloudWatch | Language::Graphite | Language::Url => &[],
        }
    }

    fn has_block_comments(self) -> bool {
        matches!(self, Language::InfluxQl | Language::Nrql)
    }

    fn has_regexes(self) -> bool {
        matches!(self, Language::Flux | Language::InfluxQl)
    }
}

#[derive(Debug, Clone, Copy)]
enum State {
    Plain,
    Quoted(char),
    Regex,
    /// In a string of Flux, from `${` on.
    Interpolated,
    Fragment,
}

struct Scan<'q> {
    language: Language,
    query: &'q str,
    at: usize,
    /// Where the text begins that is not a piece yet.
    from: usize,
    state: State,
    pieces: Vec<Piece<'q>>,
    braces: usize,
}

impl<'q> Scan<'q> {
    fn run(&mut self) -> Option<Open> {
        while let Some(c) = self.rest().chars().next() {
            if let Some(inner) = self.rest().strip_prefix("{{") {
                let Some((written, _)) = inner.split_once("}}") else {
                    self.text(self.query.len());
                    return Some(Open::Placeholder);
                };
                let end = self.at + written.len() + 4;
                self.text(self.at);
                let place = self.place(end);
                self.pieces.push(Piece::Slot(written, place));
                (self.at, self.from) = (end, end);
                continue;
            }
            if let State::Plain = self.state {
                match self.comment() {
                    Ok(true) => continue,
                    Ok(false) => {}
                    Err(open) => return Some(open),
                }
            }
            self.step(c);
        }
        self.text(self.query.len());
        match self.state {
            State::Plain | State::Fragment => None,
            State::Quoted(quote) => Some(Open::Quote(quote)),
            State::Regex => Some(Open::Other("a regular expression (/)")),
            State::Interpolated => Some(Open::Quote('"')),
        }
    }

    fn rest(&self) -> &'q str {
        &self.query[self.at..]
    }

    /// Everything up to there is a piece.
    fn text(&mut self, end: usize) {
        if self.from < end {
            self.pieces.push(Piece::Text(&self.query[self.from..end]));
        }
        self.from = end;
    }

    /// Leaves out a comment that begins here.
    fn comment(&mut self) -> Result<bool, Open> {
        let rest = self.rest();
        let end = if self.language.line_comments().iter().any(|mark| rest.starts_with(mark)) {
            self.at + rest.find('\n').unwrap_or(rest.len())
        } else if self.language.has_block_comments() && rest.starts_with("/*") {
            let end = rest.find("*/").ok_or(Open::Other("a comment (/*)"))?;
            self.text(self.at);
            // What stood on both sides stays apart.
            self.pieces.push(Piece::Text(" "));
            self.at + end + 2
        } else {
            return Ok(false);
        };
        self.text(self.at);
        (self.at, self.from) = (end, end);
        Ok(true)
    }

    fn step(&mut self, c: char) {
        let language = self.language;
        match self.state {
            State::Plain => match c {
                c if language.quotes().contains(&c) => self.state = State::Quoted(c),
                '/' if language.has_regexes() && self.regex_may_begin() => {
                    self.state = State::Regex
                }
                '{' => self.braces += 1,
                '}' => self.braces = self.braces.saturating_sub(1),
                '#' if language == Language::Url => self.state = State::Fragment,
                _ => {}
            },
            State::Quoted(quote) => match c {
                '\\' if language.escapes(quote) => self.at += 1,
                '$' if language == Language::Flux && self.rest().starts_with("${") => {
                    self.state = State::Interpolated;
                }
                c if c == quote => self.state = State::Plain,
                _ => {}
            },
            State::Regex => match c {
                '\\' => self.at += 1,
                '/' => self.state = State::Plain,
                _ => {}
            },
            // What is in there is a language of its own; nothing after it is taken to be known.
            State::Interpolated | State::Fragment => {}
        }
        // An escape takes the character after it along, whatever its length.
        self.at += self.query[self.at..].chars().next().map_or(0, char::len_utf8);
    }

    /// Whether a `/` here begins a regular expression, and is no division.
    fn regex_may_begin(&self) -> bool {
        let before = self.query[..self.at].trim_end();
        before.ends_with(['~', '(', ',', ':', '=', '['])
            || self.language == Language::InfluxQl && {
                let word =
                    before.rsplit(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
                word.eq_ignore_ascii_case("from") || word.eq_ignore_ascii_case("select")
            }
    }

    /// Where a placeholder stands that begins here and goes on after `end`.
    fn place(&self, end: usize) -> Place {
        let language = self.language;
        match self.state {
            State::Quoted('`') => Place::Never("in backquotes, where nothing can be escaped"),
            State::Quoted(_) if language == Language::Datadog => {
                Place::Never("in quotes, which are no tag's")
            }
            State::Quoted(quote) => Place::Quoted(quote),
            State::Regex => Place::Never("in a regular expression"),
            State::Interpolated => Place::Never("after ${ in a string, which is code"),
            State::Fragment => Place::Never("in a JSON pointer"),
            State::Plain => {
                let before = self.query[..self.at].chars().next_back();
                let after = self.query[end..].chars().next();
                let word =
                    |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || "._-*}".contains(c));
                let goes_on =
                    self.query[end..].starts_with("{{") || word(after.filter(|c| *c != '}'));
                match language {
                    Language::Url => Place::Name,
                    Language::Datadog if self.braces > 0 => match before {
                        Some(c) if c.is_ascii_alphanumeric() || ":_-./}".contains(c) => Place::Name,
                        Some(_) | None => Place::Never("where a tag begins"),
                    },
                    Language::Graphite if word(before) || goes_on => Place::Name,
                    Language::Datadog
                    | Language::Graphite
                    | Language::PromQl
                    | Language::CloudWatch
                    | Language::Flux
                    | Language::InfluxQl
                    | Language::Nrql => Place::Bare,
                }
            }
        }
    }
}

/// With `_` for every character that does not fit.
fn tame(value: &str, fits: impl Fn(char) -> bool) -> String {
    value.chars().map(|c| if fits(c) { c } else { '_' }).collect()
}

/// Every character but the unreserved ones of RFC 3986 by its bytes. A part of a path that is nothing
/// but dots would lead out of it, however it is written.
fn percent(value: &str) -> String {
    if is_dots(value) {
        return "_".repeat(value.len());
    }
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn is_dots(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|b| b == b'.')
}

#[cfg(test)]
mod tests;
