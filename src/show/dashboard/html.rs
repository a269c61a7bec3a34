//! What pages are written with. Text of others gets in only through [`Text`], which escapes it.

use std::fmt::{self, Display, Write as _};

use jiff::Timestamp;

use super::signs::Sign;
use crate::{
    ids::{ReleaseId, RingName},
    model::time::{Now, Span},
    show::words,
};

/// Somebody else's text, escaped.
pub struct Text<T>(pub T);

impl<T: Display> Display for Text<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

struct Escaping<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl fmt::Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| match c {
            '&' => self.0.write_str("&amp;"),
            '<' => self.0.write_str("&lt;"),
            '>' => self.0.write_str("&gt;"),
            '"' => self.0.write_str("&quot;"),
            '\'' => self.0.write_str("&#39;"),
            c => self.0.write_char(c),
        })
    }
}

/// Somebody else's text as part of a path or of a query.
pub struct InUrl<T>(pub T);

impl<T: Display> Display for InUrl<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.to_string().bytes().try_for_each(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                f.write_char(char::from(byte))
            }
            byte => write!(f, "%{byte:02X}"),
        })
    }
}

/// The page of a release.
pub fn release_path(id: &ReleaseId) -> String {
    format!("/releases/{}/{}", InUrl(&id.plan), InUrl(&id.version))
}

/// The page of a release on a ring.
pub fn ring_path(id: &ReleaseId, ring: &RingName) -> String {
    format!("{}/rings/{}", release_path(id), InUrl(ring))
}

/// An instant, as people and as programs read it.
pub fn time(at: Timestamp, now: Now) -> String {
    format!("<time datetime=\"{at:.0}\">{}</time>", words::utc(at, now))
}

/// How long ago, in whole minutes: nobody reads the seconds of an age.
pub fn ago(at: Timestamp, now: Now) -> String {
    let seconds = now.wall.duration_since(at).as_secs().max(0);
    let said = match seconds / 60 {
        0 => "just now".to_owned(),
        minutes @ 1..2_880 => format!("{} ago", Span::minutes(minutes.unsigned_abs())),
        minutes => format!("{} days ago", minutes / 1_440),
    };
    format!("<time datetime=\"{at:.0}\">{said}</time>")
}

/// Whole seconds as a length of time.
pub fn span(seconds: f64) -> Span {
    Span::seconds(seconds.max(0.0) as u64)
}

/// A sign as a chip: glyph, word and colour.
pub fn chip(sign: Sign) -> String {
    format!(
        "<span class=\"chip {}\"><span aria-hidden=\"true\">{}</span> {}</span>",
        sign.tone.class(),
        sign.glyph,
        sign.word
    )
}

/// The same as a link.
pub fn chip_to(href: &str, about: &str, sign: Sign) -> String {
    format!(
        "<a class=\"chip {}\" href=\"{}\"><span class=\"unseen\">{}: </span>\
         <span aria-hidden=\"true\">{}</span> {}</a>",
        sign.tone.class(),
        Text(href),
        Text(about),
        sign.glyph,
        sign.word
    )
}

/// A bar that fills, with its figures in words beside it.
pub fn bar(done: f64, of: f64, name: &str) -> String {
    let done = done.clamp(0.0, of.max(0.0));
    format!(
        "<progress value=\"{done:.0}\" max=\"{:.0}\" aria-label=\"{}\"></progress>",
        of.max(1.0),
        Text(name)
    )
}

/// A text that stands to be copied, and the button that copies it where there is a script.
pub fn copied(id: &str, text: &str, what: &str) -> String {
    format!(
        "<div class=\"copied\"><pre id=\"{id}\" tabindex=\"0\" aria-label=\"{what}\"><code>{}</code></pre>\
         <button type=\"button\" class=\"copy\" data-copy=\"{id}\">Copy<span class=\"unseen\"> {what}</span>\
         </button></div>",
        Text(text),
        what = Text(what),
    )
}

/// What commands stand between backticks in, as code.
pub fn prose(text: &str) -> String {
    let mut out = String::new();
    for (n, part) in text.split('`').enumerate() {
        let _ = match n % 2 {
            0 => write!(out, "{}", Text(part)),
            _ => write!(out, "<code>{}</code>", Text(part)),
        };
    }
    out
}

/// A box that scrolls sideways by itself, so that the page need not.
pub fn scroll(id: &str, name: &str, inside: &str) -> String {
    format!(
        "<div class=\"scroll\" id=\"{}\" role=\"region\" aria-label=\"{}\" tabindex=\"0\">{inside}</div>",
        Text(id),
        Text(name)
    )
}

/// Terms and what they are; those without anything are left out.
pub fn terms(rows: &[(&str, String)]) -> String {
    let rows = rows.iter().filter(|(_, value)| !value.is_empty());
    let row = |(name, value): &(&str, String)| {
        let wide = if value.len() > 120 { " class=\"wide\"" } else { "" };
        format!("<div{wide}><dt>{name}</dt><dd>{value}</dd></div>")
    };
    let rows: String = rows.map(row).collect();
    format!("<dl class=\"terms\">{rows}</dl>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_stays_text() {
        let odd = Text("<script>alert('x' & \"y\")</script>").to_string();
        assert_eq!(odd, "&lt;script&gt;alert(&#39;x&#39; &amp; &quot;y&quot;)&lt;/script&gt;");
        assert_eq!(InUrl("1.0+b /?&é").to_string(), "1.0%2Bb%20%2F%3F%26%C3%A9");
        assert_eq!(prose("do `a <b>` or c"), "do <code>a &lt;b&gt;</code> or c");
        assert_eq!(prose("an odd ` stays"), "an odd <code> stays</code>");
    }
}
