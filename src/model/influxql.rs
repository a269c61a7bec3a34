//! What an InfluxQL query is, as far as a gate must know: that it only reads, and how long its buckets are.
//!
//! InfluxDB 1 carries out whatever it is sent: a GET of `DROP MEASUREMENT`, or of `SELECT ... INTO`, is
//! answered with a remark that this is deprecated, and is done. So nothing but one SELECT is sent.
//! Strings, names, regular expressions, comments and durations: InfluxDB 1, "InfluxQL reference".

use super::time::Span;

/// How to write a query that is sent.
pub const READING: &str =
    "ask for one SELECT without INTO: InfluxDB would carry out whatever it is sent";

/// One SELECT that changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Select {
    /// The length of a row's time, where the query groups by time. A row is stamped with its beginning.
    pub bucket: Option<Span>,
}

impl Select {
    /// Reads the query; one with placeholders, too.
    ///
    /// # Errors
    /// In words, where it is more or other than one SELECT that reads.
    pub fn of(query: &str) -> Result<Self, &'static str> {
        let mut tokens = tokens(query);
        while tokens.last() == Some(&";") {
            tokens.pop();
        }
        let is = |word: &str| {
            let word = word.to_owned();
            move |token: &&str| token.eq_ignore_ascii_case(&word)
        };
        if !tokens.first().is_some_and(is("SELECT")) || tokens.contains(&";") {
            return Err("an InfluxQL query must be one SELECT");
        }
        if tokens.iter().any(is("INTO")) {
            return Err("the InfluxQL query writes, by INTO");
        }
        let mut depth = 0_usize;
        let mut bucket = None;
        for (i, token) in tokens.iter().enumerate() {
            match *token {
                "(" => depth += 1,
                ")" => depth = depth.saturating_sub(1),
                // That of a query inside of this one says nothing about the rows that are answered.
                _ if depth == 0 && is("BY")(token) => {
                    let time = tokens[i..].windows(3).find(|w| is("time")(&w[0]) && w[1] == "(");
                    bucket = time.and_then(|found| duration(found[2]));
                }
                _ => {}
            }
        }
        Ok(Self { bucket })
    }
}

/// Words, numbers and signs in their order. What is quoted is one token, `'`; comments are none.
fn tokens(query: &str) -> Vec<&str> {
    let mut found: Vec<&str> = Vec::new();
    let mut at = 0;
    while let Some(c) = query[at..].chars().next() {
        let rest = &query[at..];
        let word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
        let (length, token) = match c {
            _ if rest.starts_with("--") => (rest.find('\n').unwrap_or(rest.len()), None),
            _ if rest.starts_with("/*") => {
                (rest.find("*/").map_or(rest.len(), |end| end + 2), None)
            }
            '\'' | '"' => (quoted(rest, c), Some("'")),
            '/' if regex_may_begin(found.last().copied()) => (quoted(rest, c), Some("'")),
            c if word(c) => {
                let length = rest.find(|c| !word(c)).unwrap_or(rest.len());
                (length, Some(&rest[..length]))
            }
            c if c.is_whitespace() => (c.len_utf8(), None),
            c => (c.len_utf8(), Some(&rest[..c.len_utf8()])),
        };
        found.extend(token);
        at += length;
    }
    found
}

/// Whether a `/` behind that token begins a regular expression, and is no division.
fn regex_may_begin(before: Option<&str>) -> bool {
    before.is_some_and(|token| {
        let before = ["~", "(", ",", "=", "select", "from", "by"];
        before.iter().any(|before| token.eq_ignore_ascii_case(before))
    })
}

/// The length of what begins with a quote and ends with the next that no backslash stands before.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// A duration as InfluxQL writes it, such as `1h30m`; less than a millisecond counts as one.
fn duration(text: &str) -> Option<Span> {
    let mut nanos = 0_u64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, behind) = rest.split_at(digits);
        let unit = behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(unit);
        let of: u64 = match unit {
            "ns" => 1,
            "u" | "µ" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "d" => 86_400_000_000_000,
            "w" => 604_800_000_000_000,
            _ => return None,
        };
        nanos = nanos.checked_add(number.parse::<u64>().ok()?.checked_mul(of)?)?;
        rest = behind;
    }
    (nanos > 0).then(|| Span(nanos.div_ceil(1_000_000)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_select_is_sent_and_nothing_else() {
        for query in [
            "SELECT mean(v) FROM m",
            " select v from m ; ",
            "-- why\nSELECT v FROM m WHERE a = '; DROP MEASUREMENT m' /* INTO */",
            r#"SELECT "into" FROM "a;b" WHERE a =~ /x; INTO '/ AND b = 'it\'s into'"#,
            "SELECT sum(a) / sum(b) FROM m",
        ] {
            assert_eq!(Select::of(query), Ok(Select { bucket: None }), "{query}");
        }
        for query in [
            "",
            "DROP MEASUREMENT m",
            "/* SELECT */ DELETE FROM m",
            "SHOW DATABASES",
            "EXPLAIN SELECT v FROM m",
            "SELECT v FROM m; DROP MEASUREMENT m",
            "SELECT a / b, c / d FROM m; DROP MEASUREMENT m",
            "'SELECT' v FROM m",
        ] {
            assert!(Select::of(query).unwrap_err().contains("one SELECT"), "{query}");
        }
        for query in [
            "SELECT * INTO x FROM m",
            "SELECT v into\"x\" FROM m",
            "SELECT /'/ INTO x FROM m WHERE a = 'b'",
            "SELECT '\\'' INTO x FROM m",
        ] {
            assert!(Select::of(query).unwrap_err().contains("INTO"), "{query}");
        }
    }

    #[test]
    fn a_bucket_is_as_long_as_the_rows_time() {
        let bucket = |query: &str| Select::of(query).unwrap().bucket;
        let of = |by: &str| bucket(&format!("SELECT mean(v) FROM m WHERE time > now() - 1h {by}"));
        for (by, millis) in [
            ("GROUP BY time(10s)", 10_000),
            ("group by host, TIME( 1h30m , -5m ) fill(none)", 5_400_000),
            ("GROUP BY \"host\",time(100ms)", 100),
            ("GROUP BY time(5u)", 1),
            ("GROUP BY time(1d) tz('Europe/Dublin')", 86_400_000),
        ] {
            assert_eq!(of(by), Some(Span(millis)), "{by}");
        }
        for by in
            ["", "GROUP BY host", "GROUP BY time(x)", "GROUP BY time(0s)", "GROUP BY 'time(1m)'"]
        {
            assert_eq!(of(by), None, "{by}");
        }
        let inner = "SELECT max(s) FROM (SELECT sum(v) AS s FROM m GROUP BY time(1m))";
        assert_eq!(bucket(inner), None);
        assert_eq!(bucket(&format!("{inner} GROUP BY time(1h)")), Some(Span(3_600_000)));
    }
}
