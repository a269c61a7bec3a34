//! How the demo shows a release: live bars on a terminal, plain lines elsewhere.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal, Write},
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::notes::{Note, rough};
use crate::{
    ids::RingName,
    model::time::Span,
    show::{
        cli::{
            layout::layout,
            style::{Style, Tone},
        },
        view::{ReleaseView, RingView},
    },
};

/// The width of a ring's name with the tree before it, of its phase, and of its soak in figures.
const COLUMNS: (usize, usize, usize) = (16, 13, 9);

/// Where the demo shows what happens.
pub(super) struct Screen {
    style: Style,
    bars: Option<Bars>,
}

/// A line for the release, then one for each ring.
struct Bars {
    all: MultiProgress,
    head: ProgressBar,
    rings: BTreeMap<RingName, ProgressBar>,
}

impl Screen {
    /// Standard output; bars where it is a terminal that can move its cursor.
    pub(super) fn new(style: Style) -> Self {
        let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
        let live = io::stdout().is_terminal() && !dumb;
        let bars = live.then(|| {
            let all = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
            let head = all.add(bar(0, "{wide_msg}"));
            Bars { all, head, rings: BTreeMap::new() }
        });
        Self { style, bars }
    }

    /// A line that stays.
    pub(super) fn say(&self, line: &str) {
        // Whoever reads may have gone; the release goes on without them.
        let _ = match &self.bars {
            Some(bars) => bars.all.println(line),
            None => writeln!(io::stdout(), "{line}").and_then(|()| io::stdout().flush()),
        };
    }

    /// A line about a ring.
    pub(super) fn note(&self, at: Span, note: &Note) {
        let (phase, tone) = self.style.ring(note.phase);
        let phase = self.style.paint(tone, &pad(&phase, COLUMNS.1));
        let at = format!("[+{}]", rough(at));
        let line = format!("{} {} {phase} {}", pad(&at, 9), pad(note.ring.as_str(), 12), note.info);
        self.say(line.trim_end());
    }

    /// How the release is now.
    pub(super) fn show(&mut self, view: &ReleaseView, at: Span) {
        let style = self.style;
        let Some(bars) = &mut self.bars else { return };
        let (phase, tone) = style.release(view.phase);
        bars.head.set_message(format!(
            "{}  {}  {}  by {}  +{}",
            style.paint(Tone::Strong, &view.release.to_string()),
            style.paint(tone, &phase),
            style.text(&view.digest),
            view.author,
            rough(at)
        ));
        let rings: Vec<_> =
            view.rings.iter().map(|ring| (&ring.name, ring.after.as_slice())).collect();
        for (index, tree) in layout(&rings, style.unicode) {
            let Some(ring) = view.rings.get(index) else { continue };
            let bar = bars.rings.entry(ring.name.clone()).or_insert_with(|| {
                let chars = if style.unicode { "━╸─" } else { "=>-" };
                let template = "{prefix} {bar:18.cyan/black.bright} {wide_msg}";
                let template = if style.colour { template } else { "{prefix} {bar:18} {wide_msg}" };
                bars.all.add(bar(1, template).with_style(look(template).progress_chars(chars)))
            });
            draw(bar, ring, &tree, style);
        }
    }

    /// Leaves what is shown where it is; what is said from now on comes below.
    pub(super) fn release(&mut self) {
        if let Some(bars) = self.bars.take() {
            bars.rings.values().chain([&bars.head]).for_each(ProgressBar::abandon);
            // The cursor stands at the end of the last bar.
            self.say("");
        }
    }
}

fn draw(bar: &ProgressBar, ring: &RingView, tree: &str, style: Style) {
    let (phase, tone) = style.ring(ring.phase);
    let name = pad(&format!("{tree}{}", ring.name), COLUMNS.0);
    bar.set_prefix(format!("{name} {}", style.paint(tone, &pad(&phase, COLUMNS.1))));
    let soak = ring.soak.filter(|soak| soak.required_seconds > 0.0);
    bar.set_length(soak.map_or(1, |soak| soak.required_seconds as u64));
    bar.set_position(soak.map_or(0, |soak| soak.credited_seconds as u64));
    let figures = soak.map_or_else(String::new, |soak| {
        let span = |seconds: f64| rough(Span::seconds(seconds as u64));
        // The last credit may reach beyond what was asked for.
        let credited = soak.credited_seconds.min(soak.required_seconds);
        format!("{}/{}", span(credited), span(soak.required_seconds))
    });
    let gates = ring.gates.map_or_else(String::new, |g| format!("{}/{}", g.passing, g.required));
    let places: Vec<_> = ring.jurisdictions.iter().map(|place| place.as_str()).collect();
    bar.set_message(format!(
        "{} {} {} {}",
        pad(&figures, COLUMNS.2),
        pad(&gates, 3),
        pad(&places.join(" "), 5),
        style.text(&ring.info)
    ));
}

fn bar(length: u64, template: &str) -> ProgressBar {
    ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::hidden())
        .with_style(look(template))
}

/// The templates are ours; one that could not be read would be shown as indicatif's own.
fn look(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn pad(text: &str, width: usize) -> String {
    format!("{text:<width$}")
}
