//! Numbers and lengths of time as Go's and Kubernetes' APIs write them.

use crate::model::time::Span;

/// A length of time in Go's notation: `300ms`, `1.5h`, `2h45m`. Nothing for what is none, is negative or is
/// finer than a millisecond.
pub(super) fn duration(text: &str) -> Option<Span> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Span::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut millis = 0_u64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(end);
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let size = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        millis = millis.checked_add(part(number, size)?)?;
        rest = tail;
    }
    Some(Span(millis))
}

/// A decimal number of units of so many milliseconds, where that is a whole number of them.
fn part(number: &str, size: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.len() > 9 {
        return None;
    }
    let read = |digits: &str| if digits.is_empty() { Some(0) } else { digits.parse::<u64>().ok() };
    let scale = 10_u64.pow(u32::try_from(fraction.len()).ok()?);
    let beyond = read(fraction)?.checked_mul(size)?;
    if !beyond.is_multiple_of(scale) {
        return None;
    }
    read(whole)?.checked_mul(size)?.checked_add(beyond / scale)
}

/// Seconds as a number, or a length of time: `30`, `30s`.
pub(super) fn seconds(text: &str) -> Option<Span> {
    match text.parse::<u64>() {
        Ok(seconds) => Some(Span(seconds.checked_mul(1_000)?)),
        Err(_) => duration(text),
    }
}

/// A number that is one.
pub(super) fn number(text: &str) -> Option<f64> {
    let plain = |c: char| c.is_ascii_digit() || "+-.eE".contains(c);
    text.parse::<f64>().ok().filter(|n| n.is_finite() && text.chars().all(plain))
}

/// A word of lower-case letters, digits and hyphens as names must be here: what does not fit becomes a hyphen.
pub(super) fn label(text: &str) -> String {
    let mut label = String::new();
    for c in text.chars() {
        match c {
            c if c.is_ascii_alphanumeric() => label.push(c.to_ascii_lowercase()),
            _ if label.is_empty() || label.ends_with('-') => {}
            _ => label.push('-'),
        }
    }
    label.truncate(63);
    label.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_gos() {
        for (text, millis) in [
            ("300ms", 300),
            ("90s", 90_000),
            ("1.5h", 5_400_000),
            ("2h45m", 9_900_000),
            ("1m1h", 3_660_000),
            (".5s", 500),
            ("0", 0),
            ("0.0005h", 1_800),
        ] {
            assert_eq!(duration(text), Some(Span(millis)), "{text}");
        }
        for text in
            ["", "5", "-1s", "1d", "1us", "1.0001ms", ".s", "s", "1e3s", "99999999999999999999s"]
        {
            assert_eq!(duration(text), None, "{text}");
        }
        assert_eq!((seconds("30"), seconds("30s")), (Some(Span(30_000)), Some(Span(30_000))));
    }

    #[test]
    fn names_become_labels() {
        for (text, expected) in [
            ("404s percentage", "404s-percentage"),
            ("My_Metric", "my-metric"),
            ("--", ""),
            ("a.b", "a-b"),
        ] {
            assert_eq!(label(text), expected);
        }
        assert_eq!(label(&"x".repeat(100)).len(), 63);
    }
}
