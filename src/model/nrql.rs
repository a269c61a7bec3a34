//! The time that an NRQL query names, and the same query as of an earlier instant.
//!
//! "SINCE", "UNTIL" and their relative and absolute times: New Relic, "NRQL syntax, clauses, and
//! functions". A query without any looks at the last hour; one whose time is written in another way than
//! `SINCE <number> <unit> AGO` has its time for good, and is asked about now only.

use jiff::Timestamp;

use super::time::Span;

/// How to write a query whose time can be moved.
pub const MOVABLE: &str = "write its time as SINCE <number> <unit> AGO, and leave out UNTIL, TIMESERIES \
                           and COMPARE WITH";

/// What a query without a time of its own looks back over.
const USUAL: Span = Span::minutes(60);

/// The query as it would have answered at that instant.
///
/// # Errors
/// Its time cannot be moved; in words.
pub fn as_of(query: &str, at: Timestamp) -> Result<String, String> {
    let fixed = || format!("the query names its own time: {MOVABLE}");
    let (range, length) = window(query).ok_or_else(fixed)?;
    let from = at.saturating_sub(length.to_signed()).unwrap_or(at);
    let (from, to) = (from.as_millisecond(), at.as_millisecond());
    let (before, after) = (&query[..range.start], &query[range.end..]);
    Ok(format!("{before} SINCE {from} UNTIL {to} {after}"))
}

/// Whether the time of a query can be moved; of one with placeholders, too.
pub fn is_movable(query: &str) -> bool {
    window(&query.replace("{{interval}}", "60 seconds")).is_some()
}

/// The bytes in which a query says how far it looks back, and how far that is; none where it says so in a
/// way that cannot be moved.
fn window(query: &str) -> Option<(std::ops::Range<usize>, Span)> {
    let words = words(query);
    let is = |i: usize, word: &str| {
        words.get(i).is_some_and(|(at, len)| query[*at..at + len].eq_ignore_ascii_case(word))
    };
    let count = |word: &str| (0..words.len()).filter(|i| is(*i, word)).count();
    if ["UNTIL", "TIMESERIES", "COMPARE"].iter().any(|word| count(word) > 0) {
        return None;
    }
    let since = match count("SINCE") {
        0 => return Some((query.len()..query.len(), USUAL)),
        1 => (0..words.len()).find(|i| is(*i, "SINCE"))?,
        // One of them is a subquery's.
        _ => return None,
    };
    let text = |i: usize| words.get(i).map(|(at, len)| &query[*at..at + len]);
    let number: u64 = text(since + 1)?.parse().ok()?;
    let unit = text(since + 2)?.to_ascii_lowercase();
    let unit = match unit.strip_suffix('s').unwrap_or(&unit) {
        "second" => 1,
        "minute" => 60,
        "hour" => 3_600,
        "day" => 86_400,
        "week" => 604_800,
        _ => return None,
    };
    if !is(since + 3, "AGO") {
        return None;
    }
    let ((begin, _), (ago, len)) = (words[since], words[since + 3]);
    Some((begin..ago + len, Span::seconds(number.checked_mul(unit)?)))
}

/// Words outside of quotes and comments: where each begins, and its length.
fn words(query: &str) -> Vec<(usize, usize)> {
    let mut found: Vec<(usize, usize)> = Vec::new();
    let mut at = 0;
    while let Some(c) = query[at..].chars().next() {
        let rest = &query[at..];
        let length = match c {
            '\'' | '"' | '`' => quoted(rest, c),
            _ if rest.starts_with("--") || rest.starts_with("//") => {
                rest.find('\n').unwrap_or(rest.len())
            }
            _ if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            c if c.is_alphanumeric() || "_.".contains(c) => {
                let end = rest.find(|c: char| !(c.is_alphanumeric() || "_.".contains(c)));
                let length = end.unwrap_or(rest.len());
                found.push((at, length));
                length
            }
            c => c.len_utf8(),
        };
        at += length;
    }
    found
}

/// The bytes of a quoted text, its quotes included.
fn quoted(text: &str, quote: char) -> usize {
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            c if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_is_relative_is_moved_and_any_other_stays_where_it_is() {
        let at = Timestamp::from_second(1_767_225_600).expect("an instant");
        let moved =
            as_of("SELECT count(*) FROM T WHERE x = 'since 1 day ago' SINCE 5 minutes AGO", at);
        let wanted = "SELECT count(*) FROM T WHERE x = 'since 1 day ago'  SINCE 1767225300000 UNTIL \
                      1767225600000 ";
        assert_eq!(moved.as_deref(), Ok(wanted));
        let moved = as_of("FROM T SELECT count(*) since 1 hour ago LIMIT 1", at);
        let wanted = "FROM T SELECT count(*)  SINCE 1767222000000 UNTIL 1767225600000  LIMIT 1";
        assert_eq!(moved.as_deref(), Ok(wanted));
        // New Relic's own default.
        let moved = as_of("SELECT count(*) FROM T", at);
        assert_eq!(
            moved.as_deref(),
            Ok("SELECT count(*) FROM T SINCE 1767222000000 UNTIL 1767225600000 ")
        );
        assert!(is_movable("SELECT count(*) FROM T SINCE {{interval}} AGO"));
        for fixed in [
            "SELECT count(*) FROM T SINCE today",
            "SELECT count(*) FROM T SINCE '2026-01-01 00:00:00'",
            "SELECT count(*) FROM T SINCE 1 day ago UNTIL 1 hour ago",
            "SELECT count(*) FROM T SINCE 1 day ago TIMESERIES",
            "SELECT count(*) FROM T SINCE 1 day ago COMPARE WITH 1 week ago",
            "SELECT count(*) FROM (SELECT x FROM T SINCE 1 day ago) SINCE 1 day ago",
            "SELECT count(*) FROM T SINCE 1 fortnight ago",
        ] {
            assert!(as_of(fixed, at).is_err() && !is_movable(fixed), "{fixed}");
        }
    }
}
