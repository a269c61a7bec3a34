//! How things look: colour where a terminal shows it, glyphs where the locale has them.
//!
//! Colour never says anything alone: the glyph and the word beside it say the same.

use std::io::IsTerminal;

use crate::decide::phase::{ReleasePhase, RingPhase};

/// What the reader's end can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// ANSI colours.
    pub colour: bool,
    /// Characters beyond ASCII.
    pub unicode: bool,
}

/// What a colour means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// It is well.
    Good,
    /// It moves.
    Busy,
    /// Somebody should look.
    Held,
    /// It went wrong.
    Bad,
    /// Not worth the eye.
    Quiet,
    /// A heading.
    Strong,
}

impl Style {
    /// For standard output, as the flags and the surroundings want it.
    pub fn of_stdout(no_color: bool) -> Self {
        let var = |name: &str| std::env::var(name).unwrap_or_default();
        let dumb = ["dumb", "linux"].contains(&var("TERM").as_str());
        let colour = std::io::stdout().is_terminal()
            && !no_color
            && !dumb
            // https://no-color.org: any value that is not empty.
            && var("NO_COLOR").is_empty();
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].map(var);
        Self { colour, unicode: !dumb && is_utf8(locale.iter().find(|value| !value.is_empty())) }
    }

    /// `text` in the tone's colour.
    pub fn paint(self, tone: Tone, text: &str) -> String {
        if !self.colour {
            return text.into();
        }
        let code = match tone {
            Tone::Good => "32",
            Tone::Busy => "36",
            Tone::Held => "33",
            Tone::Bad => "31",
            Tone::Quiet => "2",
            Tone::Strong => "1",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// `✔ Passed`, and its tone.
    pub fn ring(self, phase: RingPhase) -> (String, Tone) {
        let (glyph, ascii, tone) = match phase {
            RingPhase::Waiting => ('•', '.', Tone::Quiet),
            RingPhase::Held => ('॥', '!', Tone::Held),
            RingPhase::Deploying => ('▲', '^', Tone::Busy),
            RingPhase::Soaking => ('◌', '~', Tone::Busy),
            RingPhase::Passed => ('✔', '+', Tone::Good),
            RingPhase::Failed => ('✖', 'x', Tone::Bad),
            RingPhase::RollingBack | RingPhase::RolledBack => ('↶', '<', Tone::Bad),
            RingPhase::Aborted => ('⊘', '-', Tone::Bad),
            RingPhase::Superseded => ('⊘', '-', Tone::Quiet),
        };
        (format!("{} {phase}", if self.unicode { glyph } else { ascii }), tone)
    }

    /// `✔ Succeeded`, and its tone.
    pub fn release(self, phase: ReleasePhase) -> (String, Tone) {
        let (glyph, ascii, tone) = match phase {
            ReleasePhase::Pending => ('•', '.', Tone::Quiet),
            ReleasePhase::InProgress => ('▲', '^', Tone::Busy),
            ReleasePhase::Paused => ('॥', '!', Tone::Held),
            ReleasePhase::Succeeded => ('✔', '+', Tone::Good),
            ReleasePhase::Failed => ('✖', 'x', Tone::Bad),
            ReleasePhase::RolledBack => ('↶', '<', Tone::Bad),
            ReleasePhase::Aborted => ('⊘', '-', Tone::Bad),
            ReleasePhase::Superseded => ('⊘', '-', Tone::Quiet),
        };
        (format!("{} {phase}", if self.unicode { glyph } else { ascii }), tone)
    }

    /// Text that carries an ellipsis, for this end.
    pub fn text(self, text: &str) -> String {
        if self.unicode { text.into() } else { text.replace('…', "...") }
    }
}

/// A locale that says nothing is taken for a modern one; one that says something else is believed.
fn is_utf8(locale: Option<&String>) -> bool {
    locale.is_none_or(|name| {
        let name = name.to_ascii_lowercase();
        name.contains("utf-8") || name.contains("utf8")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Style = Style { colour: false, unicode: true };

    #[test]
    fn colour_is_left_out_where_it_is_not_wanted() {
        assert_eq!(PLAIN.paint(Tone::Bad, "x"), "x");
        assert_eq!(Style { colour: true, ..PLAIN }.paint(Tone::Bad, "x"), "\x1b[31mx\x1b[0m");
    }

    #[test]
    fn every_phase_keeps_its_word_without_glyphs() {
        let ascii = Style { unicode: false, ..PLAIN };
        for phase in RingPhase::ALL {
            let (text, _) = ascii.ring(phase);
            assert!(text.is_ascii() && text.ends_with(phase.name()), "{text}");
        }
        for phase in ReleasePhase::ALL {
            let (text, _) = ascii.release(phase);
            assert!(text.is_ascii() && text.ends_with(phase.name()), "{text}");
        }
    }

    #[test]
    fn a_locale_is_believed() {
        assert!(is_utf8(None));
        assert!(is_utf8(Some(&"en_IE.UTF-8".into())) && is_utf8(Some(&"C.utf8".into())));
        assert!(!is_utf8(Some(&"C".into())) && !is_utf8(Some(&"de_DE.ISO-8859-1".into())));
    }
}
