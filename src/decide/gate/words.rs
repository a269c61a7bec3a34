//! Words that come from outside, as they may be recorded and shown.

/// `text` in at most so many characters, on one line, and without anything that could disturb a terminal
/// or turn the direction of what stands beside it.
pub fn tamed(text: &str, longest: usize) -> String {
    let mut kept = String::new();
    for word in text.split_whitespace() {
        if !kept.is_empty() {
            kept.push(' ');
        }
        kept.extend(word.chars().filter(|c| !c.is_control() && !unseen(*c)));
        if kept.chars().count() > longest {
            break;
        }
    }
    let kept = kept.trim();
    match kept.char_indices().nth(longest) {
        None => kept.to_owned(),
        Some((cut, _)) => format!("{}…", &kept[..cut]),
    }
}

/// Characters that are there and are not seen: marks of direction, joiners, tags (Unicode's category Cf).
fn unseen(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::tamed;

    #[test]
    fn nothing_of_it_disturbs_a_terminal_and_it_is_one_short_line() {
        assert_eq!(tamed("3 of 4\n checks\u{1b}[2J\tpass ", 300), "3 of 4 checks[2J pass");
        assert_eq!(tamed("a\u{202e}b\u{200f}\u{feff}", 300), "ab");
        assert_eq!(tamed("é".repeat(400).as_str(), 3), "ééé…");
        assert_eq!(tamed(&"a b ".repeat(400), 5), "a b a…");
        assert_eq!(tamed(" \u{0} ", 10), "");
    }
}
